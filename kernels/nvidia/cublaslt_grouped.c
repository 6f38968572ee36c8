/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/kernels/operators.h>

#include <stdio.h>
#include <stdlib.h>

#include "cublaslt_product.h"

/* Products of the experts as a loop: one cuBLASLt call an expert, in one queue.  What frameworks do without a
 * grouped kernel, and DeepSeek for expert weight gradients (profile-data, train.json: 32 calls for 4 layers
 * of 4 experts, 2 matrices each): the baseline that a grouped kernel must beat.
 *
 * Two liberties, both in the loop's favour and outside the time, hence its times are a lower bound:
 *  - prepare() reads the counts back to the host, where cuBLASLt wants its sizes.  A framework would have to
 * do so in each layer (a synchronisation), or not use this at all: GROUPED_MASKED exists because it cannot;
 *  - prepare() packs the 1x128 scales of each expert's rows, which cuBLASLt takes without a stride of their
 * own (cublaslt_product.h).  A framework's quantiser would write them so. */

typedef struct loop {
  int64_t groups;         /* experts with rows */
  float *scales;          /* on the device: packed 1x128 scales of a, expert by expert; NULL: not needed */
  int32_t *count, *first; /* [G] rows, and where they begin: a row of a (wgrad: a token) */
  fc_lt_plan plan[];      /* [groups] */
} loop;

static bool is_wgrad(const fc_problem *p) {
  return p->c.op == FC_BENCH_GROUPED_WGRAD;
}

static bool is_masked(const fc_problem *p) {
  return p->c.op == FC_BENCH_GROUPED_MASKED;
}

static bool supports(const fc_problem *p, const fc_machine *machine, char *why) {
  const fc_bench_case *c = &p->c;
  /* rows of an expert are rounded up to a multiple of 4 for the scales: there must be room for it */
  if (is_masked(p)) return fc_lt_supports(c, c->max_rows, c->n, c->k, machine, why);
  if (is_wgrad(p)) return fc_lt_supports(c, c->m, c->n, 128, machine, why); /* tokens: multiples of 128 */
  return fc_lt_supports(c, 4, c->n, c->k, machine, why);
}

/* Where each expert's rows lie, read back from the device. */
static int read_routing(const fc_problem *p, const fc_args *args, loop *l, char *why) {
  size_t bytes = (size_t)p->c.groups * sizeof *l->count;
  cudaError_t error = cudaMemcpy(l->count, args->at[FC_GROUPED_COUNTS], bytes, cudaMemcpyDeviceToHost);
  if (error == cudaSuccess && !is_masked(p))
    error = cudaMemcpy(l->first, args->at[FC_GROUPED_OFFSETS], bytes, cudaMemcpyDeviceToHost);
  if (error != cudaSuccess) return fc_cuda_failed("reading counts", error, why);
  int64_t limit = is_masked(p) ? p->c.max_rows : p->rows[0];
  for (int64_t g = 0; g < p->c.groups; g++) {
    if (is_masked(p)) l->first[g] = (int32_t)(g * p->c.max_rows);
    int64_t end = l->count[g] + (is_masked(p) ? 0 : (int64_t)l->first[g]);
    if (l->count[g] < 0 || l->first[g] < 0 || end > limit) {
      (void)snprintf(why, FC_WHY, "expert %d: %d rows do not fit", (int)g, l->count[g]);
      return 1;
    }
  }
  return 0;
}

/* Rows that cuBLASLt is asked for: with scales, a multiple of 4; those beyond the count are padding rows. */
static int64_t rows_of(const fc_problem *p, int32_t count) {
  return p->c.dtype == FC_DTYPE_FP8 ? fc_pad4(count) : count;
}

/* AS [blk(k), P] (masked: [G, blk(k), max_rows]) into one [blk(k), rows] an expert. */
static int pack_scales(const fc_problem *p, const fc_args *args, loop *l, char *why) {
  size_t kb = (size_t)fc_blocks(p->c.k), total = 0,
         pitch = (size_t)(is_masked(p) ? p->c.max_rows : p->rows[0]);
  for (int64_t g = 0; g < p->c.groups; g++) total += (size_t)rows_of(p, l->count[g]) * kb;
  cudaError_t error = cudaMalloc((void **)&l->scales, (total ? total : 1) * sizeof(float));
  if (error != cudaSuccess) return fc_cuda_failed("cudaMalloc of packed scales", error, why);
  float *to = l->scales;
  for (int64_t g = 0; g < p->c.groups && error == cudaSuccess; g++) {
    size_t rows = (size_t)rows_of(p, l->count[g]);
    const float *from = args->at[FC_GROUPED_AS];
    from += is_masked(p) ? (size_t)g * kb * pitch : (size_t)l->first[g];
    if (rows > 0)
      error = cudaMemcpy2D(to, rows * sizeof(float), from, pitch * sizeof(float), rows * sizeof(float), kb,
                           cudaMemcpyDeviceToDevice);
    to += rows * kb;
  }
  return error == cudaSuccess ? 0 : fc_cuda_failed("packing scales", error, why);
}

/* Elements of the operands' format into a tensor. */
static const void *element(const fc_problem *p, const void *base, int64_t at) {
  return (const char *)base + (size_t)at * (p->c.dtype == FC_DTYPE_FP8 ? 1 : 2);
}

/* c[rows of g] = a[rows of g] b[g]^T */
static fc_lt_product forward_of(const fc_problem *p, const fc_args *args, const loop *l, int64_t g,
                                float *scales) {
  const fc_bench_case *c = &p->c;
  bool fp8 = c->dtype == FC_DTYPE_FP8;
  fc_lt_product x = {.fp8 = fp8, .b_blocks = true, .m = rows_of(p, l->count[g]), .n = c->n, .k = c->k};
  x.a = element(p, args->at[FC_GROUPED_A], l->first[g] * c->k);
  x.b = element(p, args->at[FC_GROUPED_B], g * c->n * c->k);
  x.c = (uint16_t *)args->at[FC_GROUPED_C] + l->first[g] * c->n;
  x.a_row = x.b_row = c->k;
  x.c_row = c->n;
  if (!fp8) return x;
  x.a_scale = scales;
  x.b_scale = (const float *)args->at[FC_GROUPED_BS] + g * fc_blocks(c->n) * fc_pad4(fc_blocks(c->k));
  return x;
}

/* c[g] += a b^T over the tokens of g, padding included: it is zeros, and the sum's length a multiple of 128.
 * Their scales are whole rows of [blk(P), m]: nothing to pack. */
static fc_lt_product wgrad_of(const fc_problem *p, const fc_args *args, const loop *l, int64_t g) {
  const fc_bench_case *c = &p->c;
  bool fp8 = c->dtype == FC_DTYPE_FP8;
  int64_t first = l->first[g], block = first / 128;
  fc_lt_product x = {.fp8 = fp8, .f32_out = true, .accumulate = true, .m = c->m, .n = c->n};
  x.k = fc_blocks(l->count[g]) * 128;
  x.a = element(p, args->at[FC_GROUPED_A], first);
  x.b = element(p, args->at[FC_GROUPED_B], first);
  x.c = (float *)args->at[FC_GROUPED_C] + g * c->m * c->n;
  x.a_row = x.b_row = p->rows[0];
  x.c_row = c->n;
  if (!fp8) return x;
  x.a_scale = (const float *)args->at[FC_GROUPED_AS] + block * c->m;
  x.b_scale = (const float *)args->at[FC_GROUPED_BS] + block * c->n;
  return x;
}

static void release(void *state) {
  loop *l = state;
  if (!l) return;
  for (int64_t i = 0; i < l->groups; i++) fc_lt_plan_fini(&l->plan[i]);
  (void)cudaFree(l->scales);
  free(l->count);
  free(l);
}

/* One plan an expert that has rows.  An expert's choice of algorithm serves the others of its shape, the
 * first set's (NULL in the first) all sets. */
static int plan_all(const fc_problem *p, const fc_args *args, const loop *set, loop *l, char *why) {
  float *scales = l->scales;
  for (int64_t g = 0; g < p->c.groups; g++) {
    if (l->count[g] == 0) continue;
    fc_lt_product x = is_wgrad(p) ? wgrad_of(p, args, l, g) : forward_of(p, args, l, g, scales);
    if (scales) scales += x.m * fc_blocks(p->c.k);
    const fc_lt_plan *like = l->groups > 0 ? &l->plan[l->groups - 1] : NULL;
    if (set && l->groups < set->groups) like = &set->plan[l->groups];
    if (fc_lt_plan_init(&l->plan[l->groups], &x, like, why)) return 1;
    l->groups++;
  }
  return 0;
}

static int prepare(const fc_problem *p, const fc_args *args, const fc_machine *machine, void **state,
                   char *why) {
  (void)machine;
  size_t groups = (size_t)p->c.groups;
  loop *l = calloc(1, sizeof *l + groups * sizeof l->plan[0]);
  int32_t *routing = calloc(2 * groups, sizeof *routing);
  if (!l || !routing) {
    free(routing);
    free(l);
    (void)snprintf(why, FC_WHY, "out of memory");
    return 1;
  }
  l->count = routing;
  l->first = routing + groups;
  bool pack = p->c.dtype == FC_DTYPE_FP8 && !is_wgrad(p);
  int failed = read_routing(p, args, l, why);
  if (!failed && pack) failed = pack_scales(p, args, l, why);
  if (!failed) failed = plan_all(p, args, *state, l, why);
  if (failed)
    release(l);
  else
    *state = l;
  return failed;
}

static int launch(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)p, (void)args;
  const loop *l = state;
  int error = 0;
  for (int64_t i = 0; i < l->groups && !error; i++) error = fc_lt_plan_launch(&l->plan[i], queue);
  return error;
}

static const fc_implementation items[] = {
    {FC_BENCH_GROUPED, "cublaslt-loop", supports, prepare, launch, release},
    {FC_BENCH_GROUPED_MASKED, "cublaslt-loop", supports, prepare, launch, release},
    {FC_BENCH_GROUPED_WGRAD, "cublaslt-loop", supports, prepare, launch, release},
};

extern const fc_implementations fc_nvidia_grouped;
const fc_implementations fc_nvidia_grouped = {sizeof items / sizeof *items, items};
