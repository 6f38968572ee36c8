/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/kernels/implementation.h>
#include <fleetcast/kernels/operators.h>
#include <fleetcast/kernels/routing.h>

#include <stdio.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#endif

/* Rows to experts and back on CPU cores. T tokens (k), R rows (m), H hidden (n), G experts, P padded rows. */

enum { WORK = 65536, BLOCK = 512 };

static bool supports(const fc_problem *p, const fc_machine *machine, char *why) {
  (void)machine;
  if (fc_routing_possible(&p->c, p->c.k)) return true;
  (void)snprintf(why, FC_WHY, "%lld tokens cannot have so many rows at %lld distinct experts",
                 (long long)p->c.k, (long long)p->c.top_k);
  return false;
}

/* --- permute: every part of the tokens counts, all counts are summed, every part places its rows --- */

/* In parts, so that a part's rows follow those of the parts before
 * it: the order is by token whatever the number of threads. */
static int64_t parts_of(const fc_bench_case *c) {
  int64_t parts = 1, room = WORK / c->groups;
#ifdef _OPENMP
  parts = omp_get_max_threads();
#endif
  parts = parts < room ? parts : room;
  return parts < c->k ? parts : c->k;
}

static void count(const fc_bench_case *c, const int32_t *idx, int64_t part, int64_t parts, int32_t *hist) {
  for (int64_t g = 0; g < c->groups; g++) hist[g] = 0;
  for (int64_t i = c->k * part / parts * c->top_k; i < c->k * (part + 1) / parts * c->top_k; i++)
    if (idx[i] >= 0) hist[idx[i]]++;
}

/* hist [parts,G]: counts become each part's first row. */
static void scan(const fc_bench_case *c, int64_t parts, int32_t *hist, int32_t *counts, int32_t *offsets) {
  for (int64_t g = 0; g < c->groups; g++) {
    counts[g] = 0;
    for (int64_t part = 0; part < parts; part++) counts[g] += hist[part * c->groups + g];
  }
  (void)fc_routing_padded(counts, c->groups, offsets);
  for (int64_t g = 0; g < c->groups; g++) {
    int32_t next = offsets[g];
    for (int64_t part = 0; part < parts; part++) {
      int32_t n = hist[part * c->groups + g];
      hist[part * c->groups + g] = next;
      next += n;
    }
  }
}

static void place(const fc_problem *p, const fc_args *a, int64_t part, int64_t parts, int32_t *next) {
  const fc_bench_case *c = &p->c;
  const uint8_t *x = a->at[FC_PERMUTE_X];
  const float *xs = a->at[FC_PERMUTE_XS];
  const int32_t *idx = a->at[FC_PERMUTE_IDX];
  uint8_t *y = a->at[FC_PERMUTE_Y];
  float *ys = a->at[FC_PERMUTE_YS];
  int32_t *row = a->at[FC_PERMUTE_ROW];
  for (int64_t t = c->k * part / parts; t < c->k * (part + 1) / parts; t++)
    for (int64_t i = t * c->top_k; i < (t + 1) * c->top_k; i++) {
      int32_t r = row[i] = idx[i] < 0 ? -1 : next[idx[i]]++;
      if (r < 0) continue;
      memcpy(y + r * c->n, x + t * c->n, (size_t)c->n);
      for (int64_t b = 0; b < fc_blocks(c->n); b++) ys[b * p->rows[0] + r] = xs[b * c->k + t];
    }
}

static int permute(const fc_problem *p, const fc_args *a, void *state, fc_queue queue) {
  const fc_bench_case *c = &p->c;
  int32_t *hist = a->at[FC_PERMUTE_WORK];
  int64_t parts = parts_of(c);
  (void)state, (void)queue;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < parts; i++) count(c, a->at[FC_PERMUTE_IDX], i, parts, hist + i * c->groups);
  scan(c, parts, hist, a->at[FC_PERMUTE_COUNTS], a->at[FC_PERMUTE_OFFSETS]);
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < parts; i++) place(p, a, i, parts, hist + i * c->groups);
  return 0;
}

/* --- combine --- */

/* Columns `from` .. of one token, at most BLOCK: sums stay in the first cache. */
static void combine_block(const fc_bench_case *c, const uint16_t *y, const int32_t *row, const float *w,
                          int64_t from, uint16_t *out) {
  float sum[BLOCK];
  int64_t n = c->n - from < BLOCK ? c->n - from : BLOCK;
  for (int64_t i = 0; i < n; i++) sum[i] = 0;
  for (int64_t j = 0; j < c->top_k; j++) {
    if (row[j] < 0) continue;
    const uint16_t *from_y = y + row[j] * c->n + from;
    float weight = w ? w[j] : 1;
    for (int64_t i = 0; i < n; i++) sum[i] += weight * fc_bf16_decode(from_y[i]);
  }
  for (int64_t i = 0; i < n; i++) out[from + i] = fc_bf16_encode(sum[i]);
}

static int combine(const fc_problem *p, const fc_args *a, void *state, fc_queue queue) {
  const fc_bench_case *c = &p->c;
  const int32_t *row = a->at[FC_COMBINE_ROW];
  const float *w = c->op == FC_BENCH_PERMUTE_B ? NULL : a->at[FC_COMBINE_W];
  uint16_t *out = a->at[FC_COMBINE_OUT];
  (void)state, (void)queue;
#pragma omp parallel for schedule(static)
  for (int64_t t = 0; t < c->k; t++)
    for (int64_t from = 0; from < c->n; from += BLOCK)
      combine_block(c, a->at[FC_COMBINE_Y], row + t * c->top_k, w ? w + t * c->top_k : NULL, from,
                    out + t * c->n);
  return 0;
}

/* dy = w dout; the dot product of y and dout, in eight sums so that it vectorises. */
static float combine_b_row(int64_t n, const uint16_t *y, const uint16_t *dout, float w, uint16_t *dy) {
  float sum[8] = {0};
  int64_t whole = n / 8 * 8;
  for (int64_t i = 0; i < whole; i += 8)
    for (int j = 0; j < 8; j++) sum[j] += fc_bf16_decode(y[i + j]) * fc_bf16_decode(dout[i + j]);
  for (int64_t i = whole; i < n; i++) sum[0] += fc_bf16_decode(y[i]) * fc_bf16_decode(dout[i]);
  for (int64_t i = 0; i < n; i++) dy[i] = fc_bf16_encode(w * fc_bf16_decode(dout[i]));
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

static int combine_b(const fc_problem *p, const fc_args *a, void *state, fc_queue queue) {
  const fc_bench_case *c = &p->c;
  const uint16_t *y = a->at[FC_COMBINE_Y], *dout = a->at[FC_COMBINE_DOUT];
  const int32_t *row = a->at[FC_COMBINE_ROW];
  const float *w = a->at[FC_COMBINE_W];
  uint16_t *dy = a->at[FC_COMBINE_DY];
  float *dw = a->at[FC_COMBINE_DW];
  (void)state, (void)queue;
#pragma omp parallel for schedule(static)
  for (int64_t t = 0; t < c->k; t++)
    for (int64_t i = t * c->top_k; i < (t + 1) * c->top_k; i++) {
      dw[i] = 0;
      if (row[i] < 0) continue;
      dw[i] = combine_b_row(c->n, y + row[i] * c->n, dout + t * c->n, w[i], dy + row[i] * c->n);
    }
  return 0;
}

static const fc_implementation items[] = {
    {FC_BENCH_PERMUTE, "openmp", supports, NULL, permute, NULL},
    {FC_BENCH_PERMUTE_B, "openmp", supports, NULL, combine, NULL},
    {FC_BENCH_COMBINE, "openmp", supports, NULL, combine, NULL},
    {FC_BENCH_COMBINE_B, "openmp", supports, NULL, combine_b, NULL},
};
extern const fc_implementations fc_cpu_permute;
const fc_implementations fc_cpu_permute = {sizeof items / sizeof *items, items};
