/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/cost/form.h>

#include <math.h>

double fc_form_smooth_max(double a, double b, double q) {
  double high = a > b ? a : b, low = a > b ? b : a;
  if (!(q > 0) || !(low > 0)) return high;
  double r = low / high;
  if (q == 1) return high + low;
  if (q == 2) return high * sqrt(1 + r * r);
  double x = q * log(r);
  if (x < -36) return high; /* below rounding */
  return high * exp(log(1 + exp(x)) / q);
}

/* ceil for 0 <= x < 2^51 by rounding at the unit bit of a double: two additions, no conversion, no library
 * call. Forgives 1e-9 of a reciprocal's rounding. */
static inline double round_up(double x) {
  const double unit_bit = 6755399441055744.0; /* 1.5 * 2^52 */
  return x + (0.5 - 1e-9) + unit_bit - unit_bit;
}

enum { N_BM = 3, N_BN = 4 };
static const double BM[N_BM] = {64, 128, 256};
static const double BN[N_BN] = {64, 128, 192, 256};
static const double PER_BM[N_BM] = {1.0 / 64, 1.0 / 128, 1.0 / 256};
static const double PER_BN[N_BN] = {1.0 / 64, 1.0 / 128, 1.0 / 192, 1.0 / 256};

/* Row tiles of all groups. */
static double row_tiles(const fc_geometry *g, double per_bm) {
  if (g->groups <= 1) return round_up(g->rows * per_bm);
  double tiles = g->rows / g->groups * per_bm;
  if (!g->ragged) return g->groups * round_up(tiles);
  /* E[ceil(m/bm)] = m/bm + 1/2 when m varies by more than a tile; a group in use has one at least */
  tiles += 0.5;
  return g->groups * (tiles > 1 ? tiles : 1);
}

double fc_form_tiles_s(const fc_coef *coef, const fc_geometry *g) {
  double per_units = 1 / g->units;
  double per_rate = coef->flop_per_s > 0 ? g->all_units / coef->flop_per_s : 0;
  double work = 2 * g->k * per_rate;
  double traffic = 64 * coef->tile_traffic, column_tiles[N_BN], t[N_BN], best = (double)INFINITY;
  for (int j = 0; j < N_BN; j++) column_tiles[j] = round_up(g->n * PER_BN[j]);
  for (int i = 0; i < N_BM; i++) {
    double rows = row_tiles(g, PER_BM[i]) * per_units, penalty = 1 + traffic * PER_BM[i],
           column = work * BM[i];
    for (int j = 0; j < N_BN; j++)
      t[j] = round_up(rows * column_tiles[j]) *
             (column * BN[j] * (penalty + traffic * PER_BN[j]) + coef->tile_s);
    for (int j = 0; j < N_BN; j++)
      if (t[j] < best) best = t[j];
  }
  return best;
}

double fc_form_gemm_s(const fc_coef *coef, const fc_geometry *g) {
  double memory = coef->bytes_per_s > 0 ? g->bytes / coef->bytes_per_s : 0;
  return coef->t0_s + fc_form_smooth_max(fc_form_tiles_s(coef, g), memory, coef->sharpness);
}

static double attention_compute_s(const fc_coef *coef, const fc_geometry *g) {
  if (!(coef->flop_per_s > 0)) return 0;
  double share = coef->half_length > 0 ? g->length / (g->length + coef->half_length) : 1;
  return share > 0 ? g->flop / (coef->flop_per_s * share) * (g->all_units / g->units) : 0;
}

double fc_form_attention_s(const fc_coef *coef, const fc_geometry *g) {
  double memory = coef->bytes_per_s > 0 ? g->bytes / coef->bytes_per_s : 0;
  return coef->t0_s + fc_form_smooth_max(attention_compute_s(coef, g), memory, coef->sharpness);
}

/* Gate and up side by side, then down: two launches that share the coefficients. */
static double moe_compute_s(const fc_coef *coef, const fc_geometry *g) {
  fc_geometry up = *g, down = *g;
  up.n = 2 * g->inner;
  up.k = g->n;
  down.k = g->inner;
  return fc_form_tiles_s(coef, &up) + fc_form_tiles_s(coef, &down);
}

double fc_form_moe_s(const fc_coef *coef, const fc_geometry *g) {
  double memory = coef->bytes_per_s > 0 ? g->bytes / coef->bytes_per_s : 0;
  return coef->t0_s + fc_form_smooth_max(moe_compute_s(coef, g), memory, coef->sharpness);
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

void fc_form_shares(double share[FC_REGIME_COUNT], fc_form form, const fc_coef *coef, const fc_geometry *g) {
  double t = fc_form_s(form, coef, g), fixed = coef->t0_s, compute = 0, bytes = g->bytes,
         rate = coef->bytes_per_s;
  switch (form) {
  case FC_FORM_GEMM: compute = fc_form_tiles_s(coef, g); break;
  case FC_FORM_MOE: compute = moe_compute_s(coef, g); break;
  case FC_FORM_ATTENTION: compute = attention_compute_s(coef, g); break;
  case FC_FORM_COLLECTIVE:
    bytes = g->wire_in;
    if (g->ranks > g->domain) {
      if (coef->net_t0_s > 0) fixed = coef->net_t0_s;
      bytes = g->wire_net;
      rate = coef->net_bytes_per_s;
    }
    fixed += g->ranks > 1 && coef->hop_s > 0 ? coef->hop_s * log2(g->ranks) : 0;
    break;
  case FC_FORM_MEMORY: break;
  }
  double per = t > 0 ? 1 / t : 0;
  share[FC_REGIME_LAUNCH] = fixed * per;
  share[FC_REGIME_MEMORY] = rate > 0 ? bytes / rate * per : 0;
  share[FC_REGIME_COMPUTE] = compute * per;
}

fc_regime fc_form_regime(fc_form form, const fc_coef *coef, const fc_geometry *g) {
  double share[FC_REGIME_COUNT];
  fc_form_shares(share, form, coef, g);
  if (share[FC_REGIME_LAUNCH] > 0.5) return FC_REGIME_LAUNCH;
  return share[FC_REGIME_COMPUTE] > share[FC_REGIME_MEMORY] ? FC_REGIME_COMPUTE : FC_REGIME_MEMORY;
}
