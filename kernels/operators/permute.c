/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/kernels/operator.h>
#include <fleetcast/kernels/operators.h>
#include <fleetcast/kernels/routing.h>

#include <math.h>
#include <stdlib.h>

/* Rows to experts and back.  T tokens (c.k), R rows (c.m), H hidden (c.n), G experts, P padded rows. */

enum { WORK = 65536 };

/* P, and by the way counts and offsets (nullable). */
static int64_t padded(const fc_problem *p, int32_t *counts_out, int32_t *offsets_out) {
  int32_t counts[FC_ROUTING_GROUPS_MAX];
  fc_routing_counts_distinct(&p->c, p->seed, p->c.k, counts);
  for (int64_t g = 0; counts_out && g < p->c.groups; g++) counts_out[g] = counts[g];
  return fc_routing_padded(counts, p->c.groups, offsets_out);
}

static bool is_sensible(const fc_problem *p) {
  return p->c.groups <= FC_ROUTING_GROUPS_MAX && fc_routing_possible(&p->c, p->c.k);
}

static void cost(const fc_problem *p, fc_op *out) {
  out->m = (double)p->c.m;
  out->n = (double)p->c.n;
  out->k = (double)p->c.k;
}

static size_t tokens_units(const fc_problem *p) {
  return (size_t)p->c.k;
}

/* --- permute --- */

static void permute_declare(fc_problem *p) {
  const fc_bench_case *c = &p->c;
  int64_t rows = p->rows[0] = is_sensible(p) ? padded(p, NULL, NULL) : 0;
  fc_problem_tensor(p, "x", FC_ELEM_E4M3, FC_ROLE_INPUT, FC_FILL_FP8, 1, c->k, c->n, 0, 0);
  fc_problem_tensor(p, "x_scale", FC_ELEM_F32, FC_ROLE_INPUT, FC_FILL_SCALE, 0.01f, fc_blocks(c->n), c->k, 0,
                    0);
  fc_problem_tensor(p, "idx", FC_ELEM_I32, FC_ROLE_INPUT, FC_FILL_HOST, 0, c->k, c->top_k, 0, 0);
  fc_problem_tensor(p, "y", FC_ELEM_E4M3, FC_ROLE_PARTIAL, FC_FILL_NONE, 0, rows, c->n, 0, 0);
  fc_problem_tensor(p, "y_scale", FC_ELEM_F32, FC_ROLE_PARTIAL, FC_FILL_NONE, 0, fc_blocks(c->n), rows, 0, 0);
  fc_problem_tensor(p, "row", FC_ELEM_I32, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, c->k, c->top_k, 0, 0);
  fc_problem_tensor(p, "counts", FC_ELEM_I32, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, c->groups, 0, 0, 0);
  fc_problem_tensor(p, "offsets", FC_ELEM_I32, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, c->groups + 1, 0, 0, 0);
  fc_problem_tensor(p, "work", FC_ELEM_I32, FC_ROLE_WORK, FC_FILL_NONE, 0, WORK, 0, 0, 0);
}

static void permute_prepare(fc_problem *p) {
  if (is_sensible(p)) fc_routing_choose(&p->c, p->seed, p->c.k, p->tensor[FC_PERMUTE_IDX].host);
}

/* A unit for each token, and one for counts and offsets. */
static size_t permute_units(const fc_problem *p) {
  return (size_t)p->c.k + 1;
}

/* Counts by IDX itself, not by the generator: offsets, and how many rows each expert has before `token`. */
static void tally(const fc_problem *p, size_t token, int32_t *counts, int32_t *before, int32_t *offsets) {
  size_t k = (size_t)p->c.top_k;
  for (int64_t g = 0; g < p->c.groups; g++) counts[g] = before[g] = 0;
  for (size_t i = 0; i < (size_t)p->c.k * k; i++) {
    int32_t g = fc_tensor_int(&p->tensor[FC_PERMUTE_IDX], i);
    if (g < 0) continue;
    counts[g]++;
    before[g] += i < token * k;
  }
  (void)fc_routing_padded(counts, p->c.groups, offsets);
}

static void permute_reference(const fc_problem *p, size_t token, fc_expect *e) {
  int32_t counts[FC_ROUTING_GROUPS_MAX], before[FC_ROUTING_GROUPS_MAX], offsets[FC_ROUTING_GROUPS_MAX + 1];
  if (!is_sensible(p)) return;
  tally(p, token, counts, before, offsets);
  size_t k = (size_t)p->c.top_k, tokens = (size_t)p->c.k, h = (size_t)p->c.n, rows = (size_t)p->rows[0];
  if (token == tokens) {
    for (int64_t g = 0; g < p->c.groups; g++) fc_expect_at(e, FC_PERMUTE_COUNTS, (size_t)g, counts[g], 0);
    for (int64_t g = 0; g <= p->c.groups; g++) fc_expect_at(e, FC_PERMUTE_OFFSETS, (size_t)g, offsets[g], 0);
    return;
  }
  for (size_t j = 0; j < k; j++) {
    int32_t g = fc_tensor_int(&p->tensor[FC_PERMUTE_IDX], token * k + j);
    int32_t row = g < 0 ? -1 : offsets[g] + before[g];
    fc_expect_at(e, FC_PERMUTE_ROW, token * k + j, row, 0);
    if (row < 0) continue;
    for (size_t i = 0; i < h; i++)
      fc_expect_at(e, FC_PERMUTE_Y, (size_t)row * h + i,
                   fc_tensor_at(&p->tensor[FC_PERMUTE_X], token * h + i), 0);
    for (size_t b = 0; b < (h + 127) / 128; b++)
      fc_expect_at(e, FC_PERMUTE_YS, b * rows + (size_t)row,
                   fc_tensor_at(&p->tensor[FC_PERMUTE_XS], b * tokens + token), 0);
  }
}

/* --- combine and its gradient --- */

static void combine_declare(fc_problem *p) {
  const fc_bench_case *c = &p->c;
  int64_t rows = p->rows[0] = is_sensible(p) ? padded(p, NULL, NULL) : 0;
  bool backward = c->op == FC_BENCH_COMBINE_B, weighted = c->op != FC_BENCH_PERMUTE_B;
  int64_t out = backward ? 0 : c->k, in = backward ? c->k : 0;
  fc_problem_tensor(p, "y", FC_ELEM_BF16, FC_ROLE_INPUT, FC_FILL_NORMAL, 1, rows, c->n, 0, 0);
  fc_problem_tensor(p, "row", FC_ELEM_I32, FC_ROLE_INPUT, FC_FILL_HOST, 0, c->k, c->top_k, 0, 0);
  fc_problem_tensor(p, "w", FC_ELEM_F32, FC_ROLE_INPUT, FC_FILL_SCALE, 0.3f, weighted ? c->k : 0,
                    weighted ? c->top_k : 0, 0, 0); /* 2.5 shared among 8 experts: 0.3 each */
  fc_problem_tensor(p, "out", FC_ELEM_BF16, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, out, out ? c->n : 0, 0, 0);
  if (!backward) return;
  fc_problem_tensor(p, "dout", FC_ELEM_BF16, FC_ROLE_INPUT, FC_FILL_NORMAL, 1, in, c->n, 0, 0);
  fc_problem_tensor(p, "dy", FC_ELEM_BF16, FC_ROLE_PARTIAL, FC_FILL_NONE, 0, rows, c->n, 0, 0);
  fc_problem_tensor(p, "dw", FC_ELEM_F32, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, in, c->top_k, 0, 0);
}

/* Rows as permute gives them. */
static void combine_prepare(fc_problem *p) {
  int32_t next[FC_ROUTING_GROUPS_MAX + 1];
  if (!is_sensible(p)) return;
  int32_t *row = p->tensor[FC_COMBINE_ROW].host;
  (void)padded(p, NULL, next);
  fc_routing_choose(&p->c, p->seed, p->c.k, row);
  for (int64_t i = 0; i < p->c.k * p->c.top_k; i++)
    if (row[i] >= 0) row[i] = next[row[i]]++;
}

static void combine_reference(const fc_problem *p, size_t token, fc_expect *e) {
  size_t k = (size_t)p->c.top_k, h = (size_t)p->c.n;
  bool weighted = p->c.op == FC_BENCH_COMBINE;
  if (!is_sensible(p)) return;
  for (size_t i = 0; i < h; i++) {
    double sum = 0, magnitude = 0, terms = 0;
    for (size_t j = 0; j < k; j++) {
      int32_t row = fc_tensor_int(&p->tensor[FC_COMBINE_ROW], token * k + j);
      if (row < 0) continue;
      double w = weighted ? fc_tensor_at(&p->tensor[FC_COMBINE_W], token * k + j) : 1;
      double x = w * fc_tensor_at(&p->tensor[FC_COMBINE_Y], (size_t)row * h + i);
      sum += x;
      magnitude += fabs(x);
      terms++;
    }
    /* a few terms in binary32: the certain bound, a product and terms - 1 sums each */
    fc_expect_at(e, FC_COMBINE_OUT, token * h + i, sum, terms * FC_U_F32 * magnitude);
  }
}

static void combine_b_reference(const fc_problem *p, size_t token, fc_expect *e) {
  size_t k = (size_t)p->c.top_k, h = (size_t)p->c.n;
  if (!is_sensible(p)) return;
  for (size_t j = 0; j < k; j++) {
    int32_t row = fc_tensor_int(&p->tensor[FC_COMBINE_ROW], token * k + j);
    double w = fc_tensor_at(&p->tensor[FC_COMBINE_W], token * k + j), sum = 0, magnitude = 0;
    for (size_t i = 0; row >= 0 && i < h; i++) {
      double d = fc_tensor_at(&p->tensor[FC_COMBINE_DOUT], token * h + i);
      double x = d * fc_tensor_at(&p->tensor[FC_COMBINE_Y], (size_t)row * h + i);
      sum += x;
      magnitude += fabs(x);
      fc_expect_at(e, FC_COMBINE_DY, (size_t)row * h + i, w * d, FC_U_F32 * fabs(w * d));
    }
    /* products of two bfloat16 are exact in binary32: only the sum rounds */
    fc_expect_at(e, FC_COMBINE_DW, token * k + j, sum, fc_bound_sum((double)h, FC_U_F32, magnitude));
  }
}

const fc_operator fc_permute_operators[] = {
    {FC_BENCH_PERMUTE, true, permute_declare, permute_prepare, permute_units, permute_reference, cost},
    {FC_BENCH_PERMUTE_B, true, combine_declare, combine_prepare, tokens_units, combine_reference, cost},
    {FC_BENCH_COMBINE, true, combine_declare, combine_prepare, tokens_units, combine_reference, cost},
    {FC_BENCH_COMBINE_B, true, combine_declare, combine_prepare, tokens_units, combine_b_reference, cost},
};
const size_t fc_permute_operators_n = sizeof fc_permute_operators / sizeof *fc_permute_operators;
