/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/cost/local.h>

#include <stdint.h>

#include <fleetcast/base/assert.h>
#include <fleetcast/base/lanes.h>
#include <fleetcast/base/straight.h>
#include <fleetcast/cost/form.h>
#include <fleetcast/cost/operator.h>

/* --- coordinates --- */

#define SHARES "share_fixed", "share_traffic", "share_compute"
#define GEMM_WAVES                                                                                           \
  "wave_64x64", "wave_128x64", "wave_128x128", "wave_128x256", "wave_256x128", "wave_16x128", "wave_32x128", \
      "wave_128x192", "wave_256x256"

static const char *const gemm_names[] = {"ln_m",     "ln_n",      "ln_k",   "align_m", "align_n", "align_k",
                                         GEMM_WAVES, "ln_groups", "ragged", "rung_m",  SHARES};
static const char *const moe_names[] = {
    "ln_tokens", "ln_hidden",     "ln_inter",        "ln_experts", "ln_topk", "ln_ep",
    "skew",      "ln_per_expert", "ln_rows",         "ln_hit",     "wave_16", "wave_64",
    "wave_128",  "rung_tokens",   "rung_per_expert", SHARES};
static const char *const prefill_names[] = {"ln_batch", "ln_heads", "ln_q",     "ln_kv",    "ln_group",
                                            "ln_dim",   "wave_64",  "wave_128", "wave_256", SHARES};
static const char *const decode_names[] = {"ln_batch",   "ln_heads", "ln_q",     "ln_kv",
                                           "ln_group",   "ln_dim",   "split_64", "split_256",
                                           "split_1024", "wave",     SHARES};
static const char *const stream_names[] = {"operator", "ln_rows", "ln_width", "ln_k", SHARES};
static const char *const expert_names[] = {"ln_tokens", "ln_hidden", "ln_experts",
                                           "ln_topk",   "ln_ranks",  SHARES};
static const char *const collective_names[] = {"ln_bytes", "ln_ranks", "ln_domains", SHARES};

#define NAMES(array)                                                                                         \
  { sizeof(array) / sizeof *(array), array }
typedef struct {
  size_t n;
  const char *const *name;
} names;

static names names_of(int kernel) {
  switch ((fc_kernel)kernel) {
  case FC_KERNEL_GEMM:
  case FC_KERNEL_GEMM_WGRAD:
  case FC_KERNEL_GROUPED_GEMM:
  case FC_KERNEL_GROUPED_GEMM_MASKED:
  case FC_KERNEL_MLA_ABSORB_K:
  case FC_KERNEL_MLA_ABSORB_V: return (names)NAMES(gemm_names);
  case FC_KERNEL_MOE_FFN: return (names)NAMES(moe_names);
  case FC_KERNEL_ATTENTION_PREFILL:
  case FC_KERNEL_ATTENTION_BACKWARD:
  case FC_KERNEL_MLA_PREFILL:
  case FC_KERNEL_MLA_BACKWARD: return (names)NAMES(prefill_names);
  case FC_KERNEL_ATTENTION_DECODE:
  case FC_KERNEL_MLA_DECODE: return (names)NAMES(decode_names);
  case FC_KERNEL_MEMORY:
  case FC_KERNEL_GATHER: return (names)NAMES(stream_names);
  case FC_KERNEL_EP_DISPATCH:
  case FC_KERNEL_EP_COMBINE:
  case FC_KERNEL_EP_DISPATCH_LL:
  case FC_KERNEL_EP_COMBINE_LL: return (names)NAMES(expert_names);
  case FC_KERNEL_ALL_REDUCE:
  case FC_KERNEL_ALL_GATHER:
  case FC_KERNEL_REDUCE_SCATTER:
  case FC_KERNEL_ALL_TO_ALL:
  case FC_KERNEL_SEND_RECV: return (names)NAMES(collective_names);
  case FC_KERNEL_COUNT: break;
  }
  return (names){0, NULL};
}

size_t fc_local_n_coordinates(int kernel) {
  return names_of(kernel).n;
}

const char *fc_local_coordinate_text(int kernel, size_t j) {
  names of = names_of(kernel);
  FC_ASSERT(j < of.n);
  return of.name[j];
}

/* Straight-line code (base/straight.h), so that a loop over shapes becomes vectors with the same bits as one
 * by one; coordinate j of a shape goes to x[j * step]. */

FC_STRAIGHT float ln(double x) {
  return (float)fc_straight_ln(x > 1e-9 ? x : 1e-9);
}

/* The exponent of a power of two from 2^-1022 on. */
FC_STRAIGHT double exponent(double x) {
  return fc_straight_whole(fc_straight_bits(x) >> 52) - 1023;
}

/* Trailing zero bits of a whole number, at most `most`: what vector loads and TMA boxes care about.  In steps
 * of 0.3, so that one bit is worth a third of a factor e. */
FC_STRAIGHT float alignment(double x, int most) {
  const double two52 = 4503599627370496.0;
  double within = x > 0 ? x : 0;
  within = within < two52 ? within : 0;
  double near = within + two52 - two52, below = near > within ? near - 1 : near;
  uint64_t n = (fc_straight_bits(below + two52) & 0x000fffffffffffffu) | (uint64_t)1 << most;
  return 0.3F * (float)exponent(fc_straight_whole(n & (~n + 1)));
}

/* Power of two that a size is rounded up to: libraries choose kernels and configurations by such buckets.
 * Forgives 1e-9 of a power. */
FC_STRAIGHT float rung(double x) {
  return 0.7F * (float)(exponent((x > 1 ? x : 1) * (1 - 0.6931471805599453e-9)) + 1);
}

/* ln of (work that whole waves of tiles could do / work asked for), twice: 0 when no tile is wasted. */
FC_STRAIGHT float wasted(double tiles, double tile_work, double work, double units) {
  return 2 * ln(fc_straight_up(tiles / units) * units * tile_work / work);
}

FC_STRAIGHT double or_one(double x) {
  return x > 0 ? x : 1;
}

enum { GEMM_RAGGED = 16 };

FC_STRAIGHT void gemm_coordinates(float *x, size_t step, const fc_op *op, double units) {
  double groups = op->groups > 1 ? op->groups : 1, rows = op->m / groups, m = op->m, n = op->n, k = op->k;
  x[0] = ln(rows);
  x[step] = ln(n);
  x[2 * step] = ln(k);
  x[3 * step] = alignment(rows, 4);
  x[4 * step] = alignment(n, 8);
  x[5 * step] = alignment(k, 8);
#define WAVE(i, bm, bn)                                                                                      \
  x[(i)*step] =                                                                                              \
      wasted(groups * fc_straight_up(rows / (bm)) * fc_straight_up(n / (bn)), (bm) * (bn), m * n, units)
  WAVE(6, 64.0, 64.0);
  WAVE(7, 128.0, 64.0);
  WAVE(8, 128.0, 128.0);
  WAVE(9, 128.0, 256.0);
  WAVE(10, 256.0, 128.0);
  WAVE(11, 16.0, 128.0);
  WAVE(12, 32.0, 128.0);
  WAVE(13, 128.0, 192.0);
  WAVE(14, 256.0, 256.0);
#undef WAVE
  x[15 * step] = ln(groups);
  x[17 * step] = rung(rows);
}

FC_STRAIGHT void moe_coordinates(float *x, size_t step, const fc_op *op, double units) {
  double hit = or_one(op->groups), rows = op->m > 0 ? op->m : 1e-3, each = rows / hit, k = op->k;
  x[0] = ln(op->tokens);
  x[step] = ln(op->n);
  x[2 * step] = ln(k);
  x[3 * step] = ln(op->experts);
  x[4 * step] = ln(op->top_k);
  x[5 * step] = ln(op->ranks);
  x[6 * step] = 2 * (float)op->skew;
  x[7 * step] = ln(each);
  x[8 * step] = ln(rows);
  x[9 * step] = ln(hit);
#define WAVE(i, height)                                                                                      \
  x[(i)*step] = wasted(hit * fc_straight_up(each / (height)) * fc_straight_up(2 * k / 128), (height)*128,    \
                       rows * 2 * k, units)
  WAVE(10, 16.0);
  WAVE(11, 64.0);
  WAVE(12, 128.0);
#undef WAVE
  x[13 * step] = rung(op->tokens);
  x[14 * step] = rung(each);
}

FC_STRAIGHT void attention_shape(float *x, size_t step, const fc_op *op) {
  double kv = op->kv_heads > 0 ? op->kv_heads : op->heads;
  x[0] = ln(op->batch);
  x[step] = ln(op->heads);
  x[2 * step] = ln(op->q);
  x[3 * step] = ln(op->s);
  x[4 * step] = ln(op->heads / kv);
  x[5 * step] = ln(op->dk);
}

FC_STRAIGHT void prefill_coordinates(float *x, size_t step, const fc_op *op, double pairs, double units) {
  attention_shape(x, step, op);
  double matrices = or_one(op->batch) * op->heads, q = op->q;
  /* keys that a tile of queries meets under the causal mask */
#define WAVE(i, height)                                                                                      \
  x[(i)*step] = wasted(matrices * fc_straight_up(q / (height)),                                              \
                       (height) * (op->s - 0.5 * q + 0.5 * (height)), matrices * pairs, units)
  WAVE(6, 64.0);
  WAVE(7, 128.0);
  WAVE(8, 256.0);
#undef WAVE
}

FC_STRAIGHT void decode_coordinates(float *x, size_t step, const fc_op *op, double units) {
  attention_shape(x, step, op);
  double kv = or_one(op->kv_heads), caches = or_one(op->batch) * kv, s = op->s, work = caches * s;
#define SPLIT(i, length)                                                                                     \
  x[(i)*step] = wasted(caches * fc_straight_up(op->heads / kv / 64) * fc_straight_up(s / (length)),          \
                       (length) < s ? (length) : s, work, units)
  SPLIT(6, 64.0);
  SPLIT(7, 256.0);
  SPLIT(8, 1024.0);
#undef SPLIT
  x[9 * step] = wasted(caches, s, work, units);
}

FC_STRAIGHT void stream_coordinates(float *x, size_t step, const fc_op *op) {
  x[0] = 10 * (float)op->id; /* operators of a family are told apart, not ordered */
  x[step] = ln(op->payload_bytes > 0 ? op->payload_bytes : op->m);
  x[2 * step] = ln(or_one(op->n));
  x[3 * step] = ln(or_one(op->k));
}

FC_STRAIGHT void expert_coordinates(float *x, size_t step, const fc_op *op) {
  x[0] = ln(op->m);
  x[step] = ln(op->n);
  x[2 * step] = ln(or_one(op->experts));
  x[3 * step] = ln(or_one(op->top_k));
  x[4 * step] = ln(op->ranks);
}

FC_STRAIGHT void collective_coordinates(float *x, size_t step, const fc_op *op) {
  double domains = op->ranks / op->domain;
  bool outside = op->domain > 0 && op->ranks > op->domain;
  x[0] = ln(op->payload_bytes);
  x[step] = ln(op->ranks);
  x[2 * step] = ln(outside ? domains : 1);
}

/* Of one shape, all but the shares. */
static void shape_coordinates(float *x, const fc_op *op, double units) {
  names of = names_of((int)fc_op_kernel(op->id));
  if (of.name == gemm_names) {
    gemm_coordinates(x, 1, op, units);
    x[GEMM_RAGGED] = op->ragged ? 1.0F : 0.0F;
  } else if (of.name == moe_names) {
    moe_coordinates(x, 1, op, units);
  } else if (of.name == prefill_names) {
    prefill_coordinates(x, 1, op, fc_op_pairs(op->q, op->s, 0), units);
  } else if (of.name == decode_names) {
    decode_coordinates(x, 1, op, units);
  } else if (of.name == stream_names) {
    stream_coordinates(x, 1, op);
  } else if (of.name == expert_names) {
    expert_coordinates(x, 1, op);
  } else {
    collective_coordinates(x, 1, op);
  }
}

/* Of many, each column of their operators first put together, which is what makes vectors of the loops. */

enum { ROWS = FC_LOCAL_ROWS };
/* NOLINTBEGIN(bugprone-macro-parentheses): names of members */
#define COLUMN(member)                                                                                       \
  double member[ROWS];                                                                                       \
  for (size_t i = 0; i < ROWS; i++) member[i] = op[i].member
#define OF(member) .member = member[i]
/* NOLINTEND(bugprone-macro-parentheses) */

FC_WIDE static void gemm_rows(float *x, const fc_op *op, double units) {
  COLUMN(m);
  COLUMN(n);
  COLUMN(k);
  COLUMN(groups);
  for (size_t i = 0; i < ROWS; i++)
    gemm_coordinates(x + i, ROWS, &(fc_op){OF(m), OF(n), OF(k), OF(groups)}, units);
  for (size_t i = 0; i < ROWS; i++) x[(size_t)GEMM_RAGGED * ROWS + i] = op[i].ragged ? 1.0F : 0.0F;
}

FC_WIDE static void moe_rows(float *x, const fc_op *op, double units) {
  COLUMN(m);
  COLUMN(n);
  COLUMN(k);
  COLUMN(groups);
  COLUMN(tokens);
  COLUMN(experts);
  COLUMN(top_k);
  COLUMN(ranks);
  COLUMN(skew);
  for (size_t i = 0; i < ROWS; i++)
    moe_coordinates(
        x + i, ROWS,
        &(fc_op){OF(m), OF(n), OF(k), OF(groups), OF(tokens), OF(experts), OF(top_k), OF(ranks), OF(skew)},
        units);
}

FC_WIDE static void attention_rows(float *x, const fc_op *op, double units, bool decode) {
  COLUMN(batch);
  COLUMN(heads);
  COLUMN(kv_heads);
  COLUMN(q);
  COLUMN(s);
  COLUMN(dk);
#define SHAPE                                                                                                \
  &(fc_op) {                                                                                                 \
    OF(batch), OF(heads), OF(kv_heads), OF(q), OF(s), OF(dk)                                                 \
  }
  if (decode) {
    for (size_t i = 0; i < ROWS; i++) decode_coordinates(x + i, ROWS, SHAPE, units);
  } else {
    double pairs[ROWS];
    for (size_t i = 0; i < ROWS; i++) pairs[i] = fc_op_pairs(q[i], s[i], 0);
    for (size_t i = 0; i < ROWS; i++) prefill_coordinates(x + i, ROWS, SHAPE, pairs[i], units);
  }
#undef SHAPE
}

FC_WIDE static void expert_rows(float *x, const fc_op *op) {
  COLUMN(m);
  COLUMN(n);
  COLUMN(experts);
  COLUMN(top_k);
  COLUMN(ranks);
  for (size_t i = 0; i < ROWS; i++)
    expert_coordinates(x + i, ROWS, &(fc_op){OF(m), OF(n), OF(experts), OF(top_k), OF(ranks)});
}

FC_WIDE static void collective_rows(float *x, const fc_op *op) {
  COLUMN(payload_bytes);
  COLUMN(ranks);
  COLUMN(domain);
  for (size_t i = 0; i < ROWS; i++)
    collective_coordinates(x + i, ROWS, &(fc_op){OF(payload_bytes), OF(ranks), OF(domain)});
}
#undef COLUMN
#undef OF

static void shape_rows(float *x, const fc_op *op, double units) {
  names of = names_of((int)fc_op_kernel(op->id));
  if (of.name == gemm_names)
    gemm_rows(x, op, units);
  else if (of.name == moe_names)
    moe_rows(x, op, units);
  else if (of.name == prefill_names || of.name == decode_names)
    attention_rows(x, op, units, of.name == decode_names);
  else if (of.name == expert_names)
    expert_rows(x, op);
  else if (of.name == collective_names)
    collective_rows(x, op);
  else
    for (size_t i = 0; i < ROWS; i++) stream_coordinates(x + i, ROWS, &op[i]);
}

/* Twice: a regime's share is worth as much as a factor e^2 in size; capped, because a term may exceed its
 * maximum. */
FC_STRAIGHT float share_coordinate(double share) {
  return 2 * (float)(share < 3 ? share : 3);
}

size_t fc_local_coordinates(float x[FC_LOCAL_COORDINATES], const fc_op *op, double units,
                            const fc_kernel_fit *fit) {
  size_t n = names_of((int)fc_op_kernel(op->id)).n - FC_REGIME_COUNT;
  double share[FC_REGIME_COUNT];
  fc_geometry g;
  shape_coordinates(x, op, units);
  fc_op_geometry(&g, op, units);
  fc_form_shares(share, fit->form, &fit->coef, &g);
  for (int r = 0; r < FC_REGIME_COUNT; r++) x[n++] = share_coordinate(share[r]);
  return n;
}

void fc_local_rows_coordinates(float x[FC_LOCAL_COORDINATES][FC_LOCAL_ROWS], const fc_op *op, double units,
                               const fc_form_answer *form) {
  size_t n = names_of((int)fc_op_kernel(op->id)).n - FC_REGIME_COUNT;
  shape_rows(x[0], op, units);
  for (size_t i = 0; i < ROWS; i++)
    for (size_t r = 0; r < FC_REGIME_COUNT; r++) x[n + r][i] = share_coordinate(form[i].share[r]);
}
