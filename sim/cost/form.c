/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/cost/form.h>

#include <math.h>
#include <stddef.h>

#include <fleetcast/base/lanes.h>
#include <fleetcast/base/straight.h>

/* Straight-line code (base/straight.h) for the same bits one by one and in rows. */

typedef enum { LARGER, SUM, ROOT, POWER } smooth; /* what the exponent makes of the smooth maximum */

static smooth smooth_of(double q) {
  return !(q > 0) ? LARGER : q == 1 ? SUM : q == 2 ? ROOT : POWER;
}

FC_STRAIGHT double smooth_max(double a, double b, double q, smooth kind) {
  double high = a > b ? a : b, low = a > b ? b : a, out = high;
  if (kind == SUM) return high + low;
  if (kind == LARGER) return high;
  double r = low / high;
  if (kind == ROOT) out = high * sqrt(1 + r * r);
  if (kind == POWER) {
    double x = q * fc_straight_ln(r);
    out = high * fc_straight_exp(fc_straight_ln(1 + fc_straight_exp(x)) / q);
    out = x < -36 ? high : out; /* below rounding */
  }
  return low > 0 ? out : high;
}

double fc_form_smooth_max(double a, double b, double q) {
  smooth kind = smooth_of(q);
  double high = a > b ? a : b, low = a > b ? b : a;
  if (kind == POWER && (!(low > 0) || q * fc_straight_ln(low / high) < -36)) return high; /* sooner */
  return smooth_max(a, b, q, kind);
}

enum { N_BM = 3, N_BN = 4 };
static const double BM[N_BM] = {64, 128, 256};
static const double BN[N_BN] = {64, 128, 192, 256};
static const double PER_BM[N_BM] = {1.0 / 64, 1.0 / 128, 1.0 / 256};
static const double PER_BN[N_BN] = {1.0 / 64, 1.0 / 128, 1.0 / 192, 1.0 / 256};

/* What counts of a shape and of the coefficients when tiles are counted. */
typedef struct {
  double rows, n, k, groups, ragged, units, all_units;
} tiled;

static tiled tiled_of(const fc_geometry *g) {
  return (tiled){g->rows,           g->n,     g->k,        g->groups > 1 ? g->groups : 1,
                 g->ragged ? 1 : 0, g->units, g->all_units};
}

static double or_infinite(double rate) { /* what is not told takes no time */
  return rate > 0 ? rate : (double)INFINITY;
}

/* Row tiles of all groups. */
FC_STRAIGHT double row_tiles(double rows, double groups, double ragged, double per_bm) {
  double each = rows / groups * per_bm, whole = groups * fc_straight_up(each);
  /* E[ceil(m/bm)] = m/bm + 1/2 when m varies by more than a tile; a group in use has one at least */
  double drawn = groups * (each + 0.5 > 1 ? each + 0.5 : 1);
  double all = groups > 1 ? drawn : whole;
  return ragged > 0 ? all : whole;
}

FC_STRAIGHT double tiles_s(const fc_coef *coef, double flop_per_s, tiled g) {
  double per_units = 1 / g.units, work = 2 * g.k * (g.all_units / flop_per_s);
  double traffic = 64 * coef->tile_traffic, column_tiles[N_BN], best = (double)INFINITY;
#pragma GCC unroll 4
  for (int j = 0; j < N_BN; j++) column_tiles[j] = fc_straight_up(g.n * PER_BN[j]);
#pragma GCC unroll 3 /* N_BM, N_BN: then loops over rows become vectors */
  for (int i = 0; i < N_BM; i++) {
    double rows = row_tiles(g.rows, g.groups, g.ragged, PER_BM[i]) * per_units;
    double penalty = 1 + traffic * PER_BM[i], column = work * BM[i];
#pragma GCC unroll 4
    for (int j = 0; j < N_BN; j++) {
      double t = fc_straight_up(rows * column_tiles[j]) *
                 (column * BN[j] * (penalty + traffic * PER_BN[j]) + coef->tile_s);
      best = t < best ? t : best;
    }
  }
  return best;
}

/* Gate and up side by side, then down: two launches that share the coefficients. */
FC_STRAIGHT double moe_compute_s(const fc_coef *coef, double flop_per_s, tiled up, double inner) {
  tiled down = up;
  up.n = 2 * inner;
  up.k = down.n;
  down.k = inner;
  return tiles_s(coef, flop_per_s, up) + tiles_s(coef, flop_per_s, down);
}

double fc_form_tiles_s(const fc_coef *coef, const fc_geometry *g) {
  return tiles_s(coef, or_infinite(coef->flop_per_s), tiled_of(g));
}

static double attention_compute_s(const fc_coef *coef, const fc_geometry *g) {
  if (!(coef->flop_per_s > 0)) return 0;
  double share = coef->half_length > 0 ? g->length / (g->length + coef->half_length) : 1;
  return share > 0 ? g->flop / (coef->flop_per_s * share) * (g->all_units / g->units) : 0;
}

/* --- one shape --- */

/* Terms of the whole: fixed, traffic and compute. */
typedef struct {
  double fixed, memory, compute;
} terms;

static terms kernel_terms(fc_form form, const fc_coef *coef, const fc_geometry *g) {
  terms t = {coef->t0_s, g->bytes / or_infinite(coef->bytes_per_s), 0};
  switch (form) {
  case FC_FORM_GEMM: t.compute = fc_form_tiles_s(coef, g); break;
  case FC_FORM_MOE:
    t.compute = moe_compute_s(coef, or_infinite(coef->flop_per_s), tiled_of(g), g->inner);
    break;
  case FC_FORM_ATTENTION: t.compute = attention_compute_s(coef, g); break;
  default: break;
  }
  return t;
}

static double kernel_s(const terms *t, double sharpness) {
  return t->fixed + fc_form_smooth_max(t->compute, t->memory, sharpness);
}

double fc_form_gemm_s(const fc_coef *coef, const fc_geometry *g) {
  terms t = kernel_terms(FC_FORM_GEMM, coef, g);
  return kernel_s(&t, coef->sharpness);
}

double fc_form_attention_s(const fc_coef *coef, const fc_geometry *g) {
  terms t = kernel_terms(FC_FORM_ATTENTION, coef, g);
  return kernel_s(&t, coef->sharpness);
}

double fc_form_moe_s(const fc_coef *coef, const fc_geometry *g) {
  terms t = kernel_terms(FC_FORM_MOE, coef, g);
  return kernel_s(&t, coef->sharpness);
}

double fc_form_memory_s(const fc_coef *coef, const fc_geometry *g) {
  return coef->t0_s + (coef->bytes_per_s > 0 ? (g->bytes + coef->half_bytes) / coef->bytes_per_s : 0);
}

double fc_form_collective_s(const fc_coef *coef, const fc_geometry *g) {
  if (!(g->ranks > 1)) return 0;
  double inside =
      coef->bytes_per_s > 0 && g->wire_in > 0 ? (g->wire_in + coef->half_bytes) / coef->bytes_per_s : 0;
  double hops = coef->hop_s > 0 ? coef->hop_s * log2(g->ranks) : 0;
  if (g->ranks <= g->domain) return coef->t0_s + hops + inside;
  double outside =
      coef->net_bytes_per_s > 0 ? (g->wire_net + coef->net_half_bytes) / coef->net_bytes_per_s : 0;
  double alpha = coef->net_t0_s > 0 ? coef->net_t0_s : coef->t0_s;
  return alpha + hops + (inside > outside ? inside : outside);
}

double fc_form_s(fc_form form, const fc_coef *coef, const fc_geometry *g) {
  switch (form) {
  case FC_FORM_GEMM: return fc_form_gemm_s(coef, g);
  case FC_FORM_ATTENTION: return fc_form_attention_s(coef, g);
  case FC_FORM_MEMORY: return fc_form_memory_s(coef, g);
  case FC_FORM_COLLECTIVE: return fc_form_collective_s(coef, g);
  case FC_FORM_MOE: return fc_form_moe_s(coef, g);
  }
  return (double)NAN;
}

static terms collective_terms(const fc_coef *coef, const fc_geometry *g) {
  bool outside = g->ranks > g->domain;
  terms t = {outside && coef->net_t0_s > 0 ? coef->net_t0_s : coef->t0_s, 0, 0};
  t.memory = outside ? g->wire_net / or_infinite(coef->net_bytes_per_s)
                     : g->wire_in / or_infinite(coef->bytes_per_s);
  t.fixed += g->ranks > 1 && coef->hop_s > 0 ? coef->hop_s * log2(g->ranks) : 0;
  return t;
}

static void share_out(double share[FC_REGIME_COUNT], const terms *t, double seconds) {
  double per = seconds > 0 ? 1 / seconds : 0;
  share[FC_REGIME_LAUNCH] = t->fixed * per;
  share[FC_REGIME_MEMORY] = t->memory * per;
  share[FC_REGIME_COMPUTE] = t->compute * per;
}

static void answer_one(fc_form_answer *out, fc_form form, const fc_coef *coef, const fc_geometry *g) {
  bool collective = form == FC_FORM_COLLECTIVE;
  terms t = collective ? collective_terms(coef, g) : kernel_terms(form, coef, g);
  out->seconds =
      collective || form == FC_FORM_MEMORY ? fc_form_s(form, coef, g) : kernel_s(&t, coef->sharpness);
  share_out(out->share, &t, out->seconds);
}

void fc_form_shares(double share[FC_REGIME_COUNT], fc_form form, const fc_coef *coef, const fc_geometry *g) {
  fc_form_answer a;
  answer_one(&a, form, coef, g);
  for (int r = 0; r < FC_REGIME_COUNT; r++) share[r] = a.share[r];
}

fc_regime fc_form_largest(const double share[FC_REGIME_COUNT]) {
  if (share[FC_REGIME_LAUNCH] > 0.5) return FC_REGIME_LAUNCH;
  return share[FC_REGIME_COMPUTE] > share[FC_REGIME_MEMORY] ? FC_REGIME_COMPUTE : FC_REGIME_MEMORY;
}

fc_regime fc_form_regime(fc_form form, const fc_coef *coef, const fc_geometry *g) {
  double share[FC_REGIME_COUNT];
  fc_form_shares(share, form, coef, g);
  return fc_form_largest(share);
}

/* --- many shapes --- */

enum { ROWS = 16 };

typedef struct {
  double rows[ROWS], n[ROWS], k[ROWS], groups[ROWS], ragged[ROWS], units[ROWS], all_units[ROWS], inner[ROWS];
} tiled_rows;

static void gather(tiled_rows *out, const fc_geometry *g) {
  for (size_t i = 0; i < ROWS; i++) {
    tiled one = tiled_of(&g[i]);
    out->rows[i] = one.rows;
    out->n[i] = one.n;
    out->k[i] = one.k;
    out->groups[i] = one.groups;
    out->ragged[i] = one.ragged;
    out->units[i] = one.units;
    out->all_units[i] = one.all_units;
    out->inner[i] = g[i].inner;
  }
}

FC_WIDE static void compute_rows(double compute[ROWS], const fc_coef *coef, const tiled_rows *g, bool moe) {
  const double flop_per_s = or_infinite(coef->flop_per_s);
#define ROW(i)                                                                                               \
  (tiled) {                                                                                                  \
    g->rows[i], g->n[i], g->k[i], g->groups[i], g->ragged[i], g->units[i], g->all_units[i]                   \
  }
  double out[ROWS];
  if (moe) {
    for (size_t i = 0; i < ROWS; i++) out[i] = moe_compute_s(coef, flop_per_s, ROW(i), g->inner[i]);
  } else {
    for (size_t i = 0; i < ROWS; i++) out[i] = tiles_s(coef, flop_per_s, ROW(i));
  }
  for (size_t i = 0; i < ROWS; i++) compute[i] = out[i];
#undef ROW
}

FC_WIDE static void smooth_max_rows(double t[ROWS], const double compute[ROWS], const double memory[ROWS],
                                    double q) {
  double out[ROWS];
  switch (smooth_of(q)) {
  case LARGER:
    for (size_t i = 0; i < ROWS; i++) out[i] = smooth_max(compute[i], memory[i], q, LARGER);
    break;
  case SUM:
    for (size_t i = 0; i < ROWS; i++) out[i] = smooth_max(compute[i], memory[i], q, SUM);
    break;
  case ROOT:
    for (size_t i = 0; i < ROWS; i++) out[i] = smooth_max(compute[i], memory[i], q, ROOT);
    break;
  case POWER:
    for (size_t i = 0; i < ROWS; i++) out[i] = smooth_max(compute[i], memory[i], q, POWER);
    break;
  }
  for (size_t i = 0; i < ROWS; i++) t[i] = out[i];
}

static void answer_rows(fc_form_answer *out, fc_form form, const fc_coef *coef, const fc_geometry *g) {
  double compute[ROWS], memory[ROWS], t[ROWS];
  if (form == FC_FORM_ATTENTION) {
    for (size_t i = 0; i < ROWS; i++) compute[i] = attention_compute_s(coef, &g[i]);
  } else {
    tiled_rows tiles;
    gather(&tiles, g);
    compute_rows(compute, coef, &tiles, form == FC_FORM_MOE);
  }
  for (size_t i = 0; i < ROWS; i++) memory[i] = g[i].bytes / or_infinite(coef->bytes_per_s);
  smooth_max_rows(t, compute, memory, coef->sharpness);
  for (size_t i = 0; i < ROWS; i++) {
    out[i].seconds = coef->t0_s + t[i];
    share_out(out[i].share, &(terms){coef->t0_s, memory[i], compute[i]}, out[i].seconds);
  }
}

void fc_form_answers(fc_form_answer *out, fc_form form, const fc_coef *coef, const fc_geometry *g, size_t n) {
  size_t i = 0;
  if (form != FC_FORM_COLLECTIVE && form != FC_FORM_MEMORY)
    for (; i + ROWS <= n; i += ROWS) answer_rows(out + i, form, coef, g + i);
  for (; i < n; i++) answer_one(&out[i], form, coef, &g[i]);
}
