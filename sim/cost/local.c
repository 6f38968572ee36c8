/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/cost/local.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

#include <fleetcast/base/assert.h>
#include <fleetcast/base/lanes.h>
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

static float ln(double x) {
  return (float)log(x > 1e-9 ? x : 1e-9);
}

/* Trailing zero bits of a whole number, at most `most`: what vector loads and TMA boxes care about.  In steps
 * of 0.3, so that one bit is worth a third of a factor e. */
static float alignment(double x, int most) {
  uint64_t n = x > 0 && x < 9e15 ? (uint64_t)x : 0;
  int bits = 0;
  while (bits < most && n % 2 == 0) n /= 2, bits++;
  return 0.3F * (float)bits;
}

/* Power of two that a size is rounded up to: libraries choose kernels and configurations by such buckets. */
static float rung(double x) {
  return 0.7F * (float)ceil(log2(x > 1 ? x : 1) - 1e-9);
}

static double up(double x) {
  return ceil(x - 1e-9);
}

/* ln of (work that whole waves of tiles could do / work asked for), twice: 0 when no tile is wasted. */
static float wasted(double tiles, double tile_work, double work, double units) {
  return 2 * ln(up(tiles / units) * units * tile_work / work);
}

typedef struct {
  double bm, bn;
} tile;

static size_t gemm_coordinates(float *x, const fc_op *op, double units) {
  static const tile tiles[] = {{64, 64},  {128, 64}, {128, 128}, {128, 256}, {256, 128},
                               {16, 128}, {32, 128}, {128, 192}, {256, 256}};
  double groups = op->groups > 1 ? op->groups : 1, rows = op->m / groups;
  size_t n = 0;
  x[n++] = ln(rows);
  x[n++] = ln(op->n);
  x[n++] = ln(op->k);
  x[n++] = alignment(rows, 4);
  x[n++] = alignment(op->n, 8);
  x[n++] = alignment(op->k, 8);
  for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
    double count = groups * up(rows / tiles[i].bm) * up(op->n / tiles[i].bn);
    x[n++] = wasted(count, tiles[i].bm * tiles[i].bn, op->m * op->n, units);
  }
  x[n++] = ln(groups);
  x[n++] = op->ragged ? 1.0F : 0.0F;
  x[n++] = rung(rows);
  return n;
}

static size_t moe_coordinates(float *x, const fc_op *op, double units) {
  static const double height[] = {16, 64, 128};
  double hit = op->groups > 0 ? op->groups : 1, rows = op->m > 0 ? op->m : 1e-3, each = rows / hit;
  size_t n = 0;
  x[n++] = ln(op->tokens);
  x[n++] = ln(op->n);
  x[n++] = ln(op->k);
  x[n++] = ln(op->experts);
  x[n++] = ln(op->top_k);
  x[n++] = ln(op->ranks);
  x[n++] = 2 * (float)op->skew;
  x[n++] = ln(each);
  x[n++] = ln(rows);
  x[n++] = ln(hit);
  for (size_t i = 0; i < 3; i++) {
    double count = hit * up(each / height[i]) * up(2 * op->k / 128);
    x[n++] = wasted(count, height[i] * 128, rows * 2 * op->k, units);
  }
  x[n++] = rung(op->tokens);
  x[n++] = rung(each);
  return n;
}

static size_t attention_shape(float *x, const fc_op *op) {
  double kv = op->kv_heads > 0 ? op->kv_heads : op->heads;
  size_t n = 0;
  x[n++] = ln(op->batch);
  x[n++] = ln(op->heads);
  x[n++] = ln(op->q);
  x[n++] = ln(op->s);
  x[n++] = ln(op->heads / kv);
  x[n++] = ln(op->dk);
  return n;
}

static size_t prefill_coordinates(float *x, const fc_op *op, double units) {
  static const double height[] = {64, 128, 256};
  size_t n = attention_shape(x, op);
  double batch = op->batch > 0 ? op->batch : 1, q = op->q, s = op->s;
  for (size_t i = 0; i < 3; i++) {
    double count = batch * op->heads * up(q / height[i]);
    /* keys that a tile of queries meets under the causal mask */
    double keys = s - 0.5 * q + 0.5 * height[i];
    x[n++] = wasted(count, height[i] * keys, batch * op->heads * fc_op_pairs(q, s, 0), units);
  }
  return n;
}

static size_t decode_coordinates(float *x, const fc_op *op, double units) {
  static const double split[] = {64, 256, 1024};
  size_t n = attention_shape(x, op);
  double batch = op->batch > 0 ? op->batch : 1, kv = op->kv_heads > 0 ? op->kv_heads : 1;
  double work = batch * kv * op->s;
  for (size_t i = 0; i < 3; i++) {
    double count = batch * kv * up(op->heads / kv / 64) * up(op->s / split[i]);
    x[n++] = wasted(count, split[i] < op->s ? split[i] : op->s, work, units);
  }
  x[n++] = wasted(batch * kv, op->s, work, units);
  return n;
}

static size_t stream_coordinates(float *x, const fc_op *op) {
  size_t n = 0;
  x[n++] = 10 * (float)op->id; /* operators of a family are told apart, not ordered */
  x[n++] = ln(op->payload_bytes > 0 ? op->payload_bytes : op->m);
  x[n++] = ln(op->n > 0 ? op->n : 1);
  x[n++] = ln(op->k > 0 ? op->k : 1);
  return n;
}

static size_t expert_coordinates(float *x, const fc_op *op) {
  size_t n = 0;
  x[n++] = ln(op->m);
  x[n++] = ln(op->n);
  x[n++] = ln(op->experts > 0 ? op->experts : 1);
  x[n++] = ln(op->top_k > 0 ? op->top_k : 1);
  x[n++] = ln(op->ranks);
  return n;
}

static size_t collective_coordinates(float *x, const fc_op *op) {
  size_t n = 0;
  x[n++] = ln(op->payload_bytes);
  x[n++] = ln(op->ranks);
  x[n++] = ln(op->domain > 0 && op->ranks > op->domain ? op->ranks / op->domain : 1);
  return n;
}

static size_t shape_coordinates(float *x, const fc_op *op, double units) {
  names of = names_of((int)fc_op_kernel(op->id));
  if (of.name == gemm_names) return gemm_coordinates(x, op, units);
  if (of.name == moe_names) return moe_coordinates(x, op, units);
  if (of.name == prefill_names) return prefill_coordinates(x, op, units);
  if (of.name == decode_names) return decode_coordinates(x, op, units);
  if (of.name == stream_names) return stream_coordinates(x, op);
  if (of.name == expert_names) return expert_coordinates(x, op);
  return collective_coordinates(x, op);
}

size_t fc_local_coordinates(float x[FC_LOCAL_COORDINATES], const fc_op *op, double units,
                            const fc_kernel_fit *fit) {
  size_t n = shape_coordinates(x, op, units);
  double share[FC_REGIME_COUNT];
  fc_geometry g;
  fc_op_geometry(&g, op, units);
  fc_form_shares(share, fit->form, &fit->coef, &g);
  /* twice: a regime's share is worth as much as a factor e^2 in size; capped, because a term may exceed its
   * maximum */
  for (int r = 0; r < FC_REGIME_COUNT; r++) x[n++] = 2 * (float)(share[r] < 3 ? share[r] : 3);
  return n;
}

/* --- arrays --- */

static size_t blocks(size_t n) {
  return (n + FC_LANES - 1) / FC_LANES;
}

size_t fc_local_x_floats(size_t n, size_t c) {
  return blocks(n) * c * FC_LANES;
}

size_t fc_local_lane_floats(size_t n) {
  return blocks(n) * FC_LANES;
}

void fc_local_put(const fc_local *local, float *x_array, float *weight_array, float *scatter_array, size_t i,
                  const float x[FC_LOCAL_COORDINATES], double weight, double scatter) {
  size_t block = i / FC_LANES, lane = i % FC_LANES, c = local->n_coordinates;
  for (size_t j = 0; j < c; j++)
    x_array[(block * c + j) * FC_LANES + lane] = x[local->of[j]] / local->length[j];
  weight_array[i] = (float)weight;
  scatter_array[i] = (float)scatter;
  if (i + 1 != local->n) return;
  for (size_t pad = local->n; pad < blocks(local->n) * FC_LANES; pad++) {
    for (size_t j = 0; j < c; j++) x_array[(block * c + j) * FC_LANES + pad % FC_LANES] = 1e4F;
    weight_array[pad] = scatter_array[pad] = 0;
  }
}

/* --- evaluation --- */

typedef struct {
  fc_lanes weighted, scatter, similar, nearest;
} sums;

enum {
  CHUNK = 32
}; /* blocks that go through one step after the other: their chains of operations then overlap */

/* Squared distances and sums of distances of a chunk of blocks. */
FC_LANES_INLINE void distances(fc_lanes *square, fc_lanes *sum, size_t n, const float *x, size_t c,
                               const float *at, const float *ratio) {
  for (size_t b = 0; b < n; b++) {
    fc_lanes square_b = {0}, sum_b = {0}, v;
    for (size_t j = 0; j < c; j++, x += FC_LANES) {
      fc_lanes_load(&v, x);
      v = at[j] - v;
      square_b += v * v;
      fc_lanes_abs(&v);
      sum_b += v * ratio[j];
    }
    square[b] = square_b;
    sum[b] = sum_b;
  }
}

FC_WIDE static void add_blocks(sums *out, const fc_local *local, const float *at, const float *ratio) {
  const float *x = local->x, *weight = local->weight, *scatter = local->scatter;
  const size_t c = local->n_coordinates, n = blocks(local->n);
  const float smooth = local->smooth * local->smooth, rough = local->rough * local->rough;
  const float own = local->own * local->own, per_total = 1 / (smooth + rough + own);
  fc_lanes square[CHUNK], sum[CHUNK], r[CHUNK], e[CHUNK], v, all_own = (fc_lanes){0} + own;
  sums s = {0};
  for (size_t first = 0; first < n; first += CHUNK) {
    const size_t m = n - first < CHUNK ? n - first : CHUNK;
    distances(square, sum, m, x, c, at, ratio);
    x += m * c * FC_LANES;
    for (size_t b = 0; b < m; b++) {
      r[b] = 3.0F * square[b];
      fc_lanes_sqrt(&r[b]);
    }
    for (size_t b = 0; b < m; b++) {
      e[b] = r[b];
      fc_lanes_exp_minus(&e[b]);
    }
    for (size_t b = 0; b < m; b++) fc_lanes_exp_minus(&sum[b]);
    for (size_t b = 0; b < m; b++, weight += FC_LANES, scatter += FC_LANES) {
      fc_lanes k = smooth * (1.0F + r[b]) * e[b] + rough * sum[b];
      fc_int_lanes same = square[b] == 0.0F;
      k += (fc_lanes)(same & (fc_int_lanes)all_own);
      fc_lanes near = k * per_total;
      fc_lanes_load(&v, weight);
      s.weighted += v * k;
      fc_lanes_load(&v, scatter);
      s.scatter += near * v;
      s.similar += near;
      fc_lanes_max(&s.nearest, &near);
    }
  }
  *out = s;
}

static void answer_at(fc_local_answer *out, const fc_local *local, const float *at) {
  sums total = {0};
  float ratio[FC_LOCAL_COORDINATES];
  for (size_t j = 0; j < local->n_coordinates; j++) ratio[j] = local->length[j] / local->rough_length[j];
  add_blocks(&total, local, at, ratio);
  double weighted = 0, scatter = 0, similar = 0, nearest = 0;
  for (int l = 0; l < FC_LANES; l++) {
    weighted += (double)total.weighted[l];
    scatter += (double)total.scatter[l];
    similar += (double)total.similar[l];
    nearest = fmax(nearest, (double)total.nearest[l]);
  }
  out->correction = weighted;
  out->scatter = similar > 1e-6 ? scatter / similar : 0;
  out->support = nearest;
}

void fc_local_evaluate(fc_local_answer *out, const fc_local *local, const float x[FC_LOCAL_COORDINATES]) {
  float at[FC_LOCAL_COORDINATES];
  for (size_t j = 0; j < local->n_coordinates; j++) at[j] = x[local->of[j]] / local->length[j];
  answer_at(out, local, at);
}

double fc_local_at_anchor(const fc_local *local, size_t i) {
  float at[FC_LOCAL_COORDINATES];
  size_t block = i / FC_LANES, lane = i % FC_LANES;
  for (size_t j = 0; j < local->n_coordinates; j++)
    at[j] = local->x[(block * local->n_coordinates + j) * FC_LANES + lane];
  fc_local_answer answer;
  answer_at(&answer, local, at);
  return answer.correction;
}
