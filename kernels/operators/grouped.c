/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/kernels/operator.h>
#include <fleetcast/kernels/operators.h>
#include <fleetcast/kernels/routing.h>

#include <math.h>

#include "product.h"

/* Products of the experts on one device: every group its own weights, rows by routing (operators.h). */

enum { BLOCK = 64 /* columns of a unit */, GROUPS_MAX = FC_ROUTING_GROUPS_MAX };

/* Counts and offsets are a pure function of the case and the seed. */
static int64_t routed(const fc_problem *p, int64_t rows, int32_t *counts, int32_t *offsets) {
  fc_routing_counts(&p->c, p->seed, rows, counts);
  return fc_routing_padded(counts, p->c.groups, offsets);
}

static void scales(fc_problem *p, const char *name, fc_role role, int64_t d0, int64_t d1, int64_t d2) {
  bool fp8 = p->c.dtype == FC_DTYPE_FP8;
  fc_problem_tensor(p, name, FC_ELEM_F32, role, FC_FILL_SCALE, FC_PRODUCT_SCALE, fp8 ? d0 : 0, fp8 ? d1 : 0,
                    fp8 ? d2 : 0, 0);
}

static fc_fill fill_of(const fc_problem *p) {
  return p->c.dtype == FC_DTYPE_FP8 ? FC_FILL_FP8 : FC_FILL_NORMAL;
}

static void index_tensors(fc_problem *p) {
  fc_problem_tensor(p, "counts", FC_ELEM_I32, FC_ROLE_INPUT, FC_FILL_HOST, 0, p->c.groups, 0, 0, 0);
  fc_problem_tensor(p, "offsets", FC_ELEM_I32, FC_ROLE_INPUT, FC_FILL_HOST, 0, p->c.groups + 1, 0, 0, 0);
}

static void grouped_prepare(fc_problem *p) {
  int32_t counts[GROUPS_MAX], offsets[GROUPS_MAX + 1];
  bool wgrad = p->c.op == FC_BENCH_GROUPED_WGRAD;
  (void)routed(p, wgrad ? p->c.k : p->c.m, counts, offsets);
  for (int64_t g = 0; g < p->c.groups; g++) {
    /* a slab holds no more; is_sensible cases leave room (cases.c) */
    if (p->c.max_rows > 0 && counts[g] > p->c.max_rows) counts[g] = (int32_t)p->c.max_rows;
    fc_tensor_set(&p->tensor[FC_GROUPED_COUNTS], (size_t)g, counts[g]);
  }
  for (int64_t g = 0; p->c.op != FC_BENCH_GROUPED_MASKED && g <= p->c.groups; g++)
    fc_tensor_set(&p->tensor[FC_GROUPED_OFFSETS], (size_t)g, offsets[g]);
}

/* --- contiguous: prefill, training --- */

static void contiguous_declare(fc_problem *p) {
  const fc_bench_case *c = &p->c;
  int32_t counts[GROUPS_MAX], offsets[GROUPS_MAX + 1];
  int64_t rows = p->rows[0] = routed(p, c->m, counts, offsets);
  fc_elem x = fc_product_elem(c->dtype);
  fc_problem_tensor(p, "a", x, FC_ROLE_INPUT, fill_of(p), 1, rows, c->k, 0, 0);
  scales(p, "a_scale", FC_ROLE_INPUT, fc_blocks(c->k), rows, 0);
  fc_problem_tensor(p, "b", x, FC_ROLE_WEIGHT, fill_of(p), 1, c->groups, c->n, c->k, 0);
  scales(p, "b_scale", FC_ROLE_WEIGHT, c->groups, fc_blocks(c->n), fc_pad4(fc_blocks(c->k)));
  fc_problem_tensor(p, "c", fc_product_out(c->dtype), FC_ROLE_PARTIAL, FC_FILL_NONE, 0, rows, c->n, 0, 0);
  index_tensors(p);
}

static int64_t across(const fc_problem *p) {
  return (p->c.n + BLOCK - 1) / BLOCK;
}

/* A unit is a row and a block of columns. */
static size_t contiguous_units(const fc_problem *p) {
  return (size_t)(p->rows[0] * across(p));
}

/* One row of group g against a block of its weights. */
static void row_reference(const fc_problem *p, fc_product_row a, int64_t g, int64_t from, int64_t out_row,
                          fc_expect *e) {
  const fc_bench_case *c = &p->c;
  int64_t scale_row = fc_pad4(fc_blocks(c->k));
  for (int64_t col = from; col < from + BLOCK && col < c->n; col++) {
    fc_product_row b = {.x = &p->tensor[FC_GROUPED_B], .scale = &p->tensor[FC_GROUPED_BS], .scale_step = 1};
    b.first = (g * c->n + col) * c->k;
    b.scale_first = (g * fc_blocks(c->n) + col / 128) * scale_row;
    fc_product sum = fc_product_of(p, &a, &b, c->k);
    fc_expect_at(e, FC_GROUPED_C, (size_t)(out_row * c->n + col), sum.value, sum.bound);
  }
}

static void contiguous_reference(const fc_problem *p, size_t unit, fc_expect *e) {
  int64_t row = (int64_t)unit / across(p), g = 0;
  const fc_tensor *offsets = &p->tensor[FC_GROUPED_OFFSETS], *counts = &p->tensor[FC_GROUPED_COUNTS];
  while (row >= fc_tensor_int(offsets, (size_t)g + 1)) g++;
  if (row - fc_tensor_int(offsets, (size_t)g) >= fc_tensor_int(counts, (size_t)g)) return; /* padding */
  fc_product_row a = {
      .x = &p->tensor[FC_GROUPED_A], .scale = &p->tensor[FC_GROUPED_AS], .first = row * p->c.k};
  a.scale_first = row;
  a.scale_step = p->rows[0];
  row_reference(p, a, g, (int64_t)unit % across(p) * BLOCK, row, e);
}

static void grouped_cost(const fc_problem *p, fc_op *out) {
  out->m = (double)p->c.m;
  out->n = (double)p->c.n;
  out->k = (double)p->c.k;
  out->groups = (double)p->c.groups;
  out->ragged = p->c.routing != FC_ROUTING_BALANCED;
}

/* --- masked: decode --- */

static void masked_declare(fc_problem *p) {
  const fc_bench_case *c = &p->c;
  fc_elem x = fc_product_elem(c->dtype);
  fc_problem_tensor(p, "a", x, FC_ROLE_INPUT, fill_of(p), 1, c->groups, c->max_rows, c->k, 0);
  scales(p, "a_scale", FC_ROLE_INPUT, c->groups, fc_blocks(c->k), c->max_rows);
  fc_problem_tensor(p, "b", x, FC_ROLE_WEIGHT, fill_of(p), 1, c->groups, c->n, c->k, 0);
  scales(p, "b_scale", FC_ROLE_WEIGHT, c->groups, fc_blocks(c->n), fc_pad4(fc_blocks(c->k)));
  fc_problem_tensor(p, "c", fc_product_out(c->dtype), FC_ROLE_PARTIAL, FC_FILL_NONE, 0, c->groups,
                    c->max_rows, c->n, 0);
  fc_problem_tensor(p, "counts", FC_ELEM_I32, FC_ROLE_INPUT, FC_FILL_HOST, 0, c->groups, 0, 0, 0);
  fc_problem_tensor(p, "offsets", FC_ELEM_I32, FC_ROLE_INPUT, FC_FILL_NONE, 0, 0, 0, 0, 0);
}

static size_t masked_units(const fc_problem *p) {
  return (size_t)(p->c.groups * p->c.max_rows * across(p));
}

static void masked_reference(const fc_problem *p, size_t unit, fc_expect *e) {
  const fc_bench_case *c = &p->c;
  int64_t row = (int64_t)unit / across(p), g = row / c->max_rows, in_slab = row % c->max_rows;
  if (in_slab >= fc_tensor_int(&p->tensor[FC_GROUPED_COUNTS], (size_t)g)) return;
  fc_product_row a = {.x = &p->tensor[FC_GROUPED_A], .scale = &p->tensor[FC_GROUPED_AS], .first = row * c->k};
  a.scale_first = g * fc_blocks(c->k) * c->max_rows + in_slab;
  a.scale_step = c->max_rows;
  row_reference(p, a, g, (int64_t)unit % across(p) * BLOCK, row, e);
}

/* --- weight gradient --- */

static void wgrad_declare(fc_problem *p) {
  const fc_bench_case *c = &p->c;
  int32_t counts[GROUPS_MAX], offsets[GROUPS_MAX + 1];
  int64_t tokens = p->rows[0] = routed(p, c->k, counts, offsets);
  fc_elem x = fc_product_elem(c->dtype);
  fc_problem_tensor(p, "a", x, FC_ROLE_INPUT, fill_of(p), 1, c->m, tokens, 0, 0);
  scales(p, "a_scale", FC_ROLE_INPUT, fc_blocks(tokens), c->m, 0);
  fc_problem_tensor(p, "b", x, FC_ROLE_INPUT, fill_of(p), 1, c->n, tokens, 0, 0);
  scales(p, "b_scale", FC_ROLE_INPUT, fc_blocks(tokens), c->n, 0);
  fc_problem_tensor(p, "c", FC_ELEM_F32, FC_ROLE_INOUT, FC_FILL_NORMAL, 1, c->groups, c->m, c->n, 0);
  index_tensors(p);
}

/* Padding tokens are zeros in the gradient, so that a kernel may run over whole blocks. */
static void wgrad_prepare(fc_problem *p) {
  grouped_prepare(p);
  for (int64_t g = 0; g < p->c.groups; g++) {
    int64_t end = fc_tensor_int(&p->tensor[FC_GROUPED_OFFSETS], (size_t)g) +
                  fc_tensor_int(&p->tensor[FC_GROUPED_COUNTS], (size_t)g);
    int64_t next = fc_tensor_int(&p->tensor[FC_GROUPED_OFFSETS], (size_t)g + 1);
    for (int64_t row = 0; row < p->c.m; row++)
      for (int64_t t = end; t < next; t++)
        fc_tensor_set(&p->tensor[FC_GROUPED_A], (size_t)(row * p->rows[0] + t), 0);
  }
}

static size_t wgrad_units(const fc_problem *p) {
  return (size_t)(p->c.groups * p->c.m * across(p));
}

static void wgrad_reference(const fc_problem *p, size_t unit, fc_expect *e) {
  const fc_bench_case *c = &p->c;
  int64_t g = (int64_t)unit / across(p) / c->m, row = (int64_t)unit / across(p) % c->m;
  int64_t from = (int64_t)unit % across(p) * BLOCK, tokens = p->rows[0];
  int64_t first = fc_tensor_int(&p->tensor[FC_GROUPED_OFFSETS], (size_t)g);
  int64_t k = fc_tensor_int(&p->tensor[FC_GROUPED_COUNTS], (size_t)g);
  fc_product_row a = {.x = &p->tensor[FC_GROUPED_A], .scale = &p->tensor[FC_GROUPED_AS], .scale_step = c->m};
  a.first = row * tokens + first;
  a.scale_first = first / 128 * c->m + row;
  for (int64_t col = from; col < from + BLOCK && col < c->n; col++) {
    fc_product_row b = {
        .x = &p->tensor[FC_GROUPED_B], .scale = &p->tensor[FC_GROUPED_BS], .scale_step = c->n};
    b.first = col * tokens + first;
    b.scale_first = first / 128 * c->n + col;
    fc_product sum = fc_product_of(p, &a, &b, k);
    size_t at = (size_t)((g * c->m + row) * c->n + col);
    double before = fc_tensor_at(&p->tensor[FC_GROUPED_C], at);
    fc_expect_at(e, FC_GROUPED_C, at, before + sum.value,
                 sum.bound + FC_U_F32 * (fabs(before) + fabs(sum.value)));
  }
}

const fc_operator fc_grouped_operators[] = {
    {FC_BENCH_GROUPED, true, contiguous_declare, grouped_prepare, contiguous_units, contiguous_reference,
     grouped_cost},
    {FC_BENCH_GROUPED_MASKED, true, masked_declare, grouped_prepare, masked_units, masked_reference,
     grouped_cost},
    {FC_BENCH_GROUPED_WGRAD, true, wgrad_declare, wgrad_prepare, wgrad_units, wgrad_reference, grouped_cost},
};
const size_t fc_grouped_operators_n = sizeof fc_grouped_operators / sizeof *fc_grouped_operators;
