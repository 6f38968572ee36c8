/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/kernels/operator.h>
#include <fleetcast/kernels/operators.h>

#include <math.h>

#include "product.h"

/* Dense products.  m rows, n columns, k inner; a [m,k], b [n,k], c [m,n] = a b^T (operators.h). */

enum { BLOCK = 64 /* columns of a unit */ };

/* --- gemm --- */

static void gemm_declare(fc_problem *p) {
  const fc_bench_case *c = &p->c;
  bool fp8 = c->dtype == FC_DTYPE_FP8;
  fc_elem x = fc_product_elem(c->dtype);
  fc_fill fill = fp8 ? FC_FILL_FP8 : FC_FILL_NORMAL;
  int64_t kb = fp8 ? fc_blocks(c->k) : 0;
  fc_problem_tensor(p, "a", x, FC_ROLE_INPUT, fill, 1, c->m, c->k, 0, 0);
  fc_problem_tensor(p, "a_scale", FC_ELEM_F32, FC_ROLE_INPUT, FC_FILL_SCALE, FC_PRODUCT_SCALE, kb,
                    fp8 ? c->m : 0, 0, 0);
  fc_problem_tensor(p, "b", x, FC_ROLE_WEIGHT, fill, 1, c->n, c->k, 0, 0);
  fc_problem_tensor(p, "b_scale", FC_ELEM_F32, FC_ROLE_WEIGHT, FC_FILL_SCALE, FC_PRODUCT_SCALE,
                    fp8 ? fc_blocks(c->n) : 0, fc_pad4(kb), 0, 0);
  fc_problem_tensor(p, "c", fc_product_out(c->dtype), FC_ROLE_OUTPUT, FC_FILL_NONE, 0, c->m, c->n, 0, 0);
}

static size_t gemm_units(const fc_problem *p) {
  return (size_t)(p->c.m * ((p->c.n + BLOCK - 1) / BLOCK));
}

static void gemm_reference(const fc_problem *p, size_t unit, fc_expect *e) {
  const fc_bench_case *c = &p->c;
  int64_t across = (c->n + BLOCK - 1) / BLOCK, row = (int64_t)unit / across,
          from = (int64_t)unit % across * BLOCK;
  fc_product_row a = {.x = &p->tensor[FC_GEMM_A], .scale = &p->tensor[FC_GEMM_AS]};
  a.first = row * c->k;
  a.scale_first = row;
  a.scale_step = c->m;
  for (int64_t col = from; col < from + BLOCK && col < c->n; col++) {
    fc_product_row b = {.x = &p->tensor[FC_GEMM_B], .scale = &p->tensor[FC_GEMM_BS], .first = col * c->k};
    b.scale_first = col / 128 * fc_pad4(fc_blocks(c->k));
    b.scale_step = 1;
    fc_product sum = fc_product_of(p, &a, &b, c->k);
    fc_expect_at(e, FC_GEMM_C, (size_t)(row * c->n + col), sum.value, sum.bound);
  }
}

static void gemm_cost(const fc_problem *p, fc_op *out) {
  out->m = (double)p->c.m;
  out->n = (double)p->c.n;
  out->k = (double)p->c.k;
}

/* --- weight gradient: c += a b^T, both operands scaled 1x128 along the tokens --- */

static void wgrad_declare(fc_problem *p) {
  const fc_bench_case *c = &p->c;
  bool fp8 = c->dtype == FC_DTYPE_FP8;
  fc_elem x = fc_product_elem(c->dtype);
  fc_fill fill = fp8 ? FC_FILL_FP8 : FC_FILL_NORMAL;
  int64_t kb = fp8 ? fc_blocks(c->k) : 0;
  fc_problem_tensor(p, "a", x, FC_ROLE_INPUT, fill, 1, c->m, c->k, 0, 0);
  fc_problem_tensor(p, "a_scale", FC_ELEM_F32, FC_ROLE_INPUT, FC_FILL_SCALE, FC_PRODUCT_SCALE, kb,
                    fp8 ? c->m : 0, 0, 0);
  fc_problem_tensor(p, "b", x, FC_ROLE_INPUT, fill, 1, c->n, c->k, 0, 0);
  fc_problem_tensor(p, "b_scale", FC_ELEM_F32, FC_ROLE_INPUT, FC_FILL_SCALE, FC_PRODUCT_SCALE, kb,
                    fp8 ? c->n : 0, 0, 0);
  fc_problem_tensor(p, "c", FC_ELEM_F32, FC_ROLE_INOUT, FC_FILL_NORMAL, 1, c->m, c->n, 0, 0);
}

static void wgrad_reference(const fc_problem *p, size_t unit, fc_expect *e) {
  const fc_bench_case *c = &p->c;
  int64_t across = (c->n + BLOCK - 1) / BLOCK, row = (int64_t)unit / across,
          from = (int64_t)unit % across * BLOCK;
  fc_product_row a = {.x = &p->tensor[FC_GEMM_A], .scale = &p->tensor[FC_GEMM_AS]};
  a.first = row * c->k;
  a.scale_first = row;
  a.scale_step = c->m;
  for (int64_t col = from; col < from + BLOCK && col < c->n; col++) {
    fc_product_row b = {.x = &p->tensor[FC_GEMM_B], .scale = &p->tensor[FC_GEMM_BS], .first = col * c->k};
    b.scale_first = col;
    b.scale_step = c->n;
    fc_product sum = fc_product_of(p, &a, &b, c->k);
    size_t at = (size_t)(row * c->n + col);
    double before = fc_tensor_at(&p->tensor[FC_GEMM_C], at);
    /* the last addition may round once more, in binary32 */
    fc_expect_at(e, FC_GEMM_C, at, before + sum.value,
                 sum.bound + FC_U_F32 * (fabs(before) + fabs(sum.value)));
  }
}

/* --- absorbed projections: one small product a head --- */

static void absorb_declare(fc_problem *p) {
  const fc_bench_case *c = &p->c;
  fc_elem x = fc_product_elem(c->dtype);
  int64_t tokens = c->batch * c->q;
  fc_problem_tensor(p, "x", x, FC_ROLE_INPUT, FC_FILL_NORMAL, 1, tokens, c->heads, c->k, 0);
  fc_problem_tensor(p, "x_scale", FC_ELEM_F32, FC_ROLE_INPUT, FC_FILL_NONE, 0, 0, 0, 0, 0);
  fc_problem_tensor(p, "w", x, FC_ROLE_WEIGHT, FC_FILL_NORMAL, 1, c->heads, c->n, c->k, 0);
  fc_problem_tensor(p, "w_scale", FC_ELEM_F32, FC_ROLE_WEIGHT, FC_FILL_NONE, 0, 0, 0, 0, 0);
  fc_problem_tensor(p, "y", fc_product_out(c->dtype), FC_ROLE_OUTPUT, FC_FILL_NONE, 0, tokens, c->heads, c->n,
                    0);
}

static size_t absorb_units(const fc_problem *p) {
  return (size_t)(p->c.batch * p->c.q * p->c.heads);
}

static void absorb_reference(const fc_problem *p, size_t unit, fc_expect *e) {
  const fc_bench_case *c = &p->c;
  fc_product_row a = {.x = &p->tensor[FC_GEMM_A], .first = (int64_t)unit * c->k};
  int64_t head = (int64_t)unit % c->heads;
  for (int64_t col = 0; col < c->n; col++) {
    fc_product_row b = {.x = &p->tensor[FC_GEMM_B], .first = (head * c->n + col) * c->k};
    fc_product sum = fc_product_of(p, &a, &b, c->k);
    fc_expect_at(e, FC_GEMM_C, unit * (size_t)c->n + (size_t)col, sum.value, sum.bound);
  }
}

static void absorb_cost(const fc_problem *p, fc_op *out) {
  out->m = (double)(p->c.batch * p->c.q * p->c.heads);
  out->groups = (double)p->c.heads;
  out->n = (double)p->c.n;
  out->k = (double)p->c.k;
}

const fc_operator fc_gemm_operators[] = {
    {FC_BENCH_GEMM, true, gemm_declare, NULL, gemm_units, gemm_reference, gemm_cost},
    {FC_BENCH_GEMM_WGRAD, true, wgrad_declare, NULL, gemm_units, wgrad_reference, gemm_cost},
    {FC_BENCH_ABSORB_K, true, absorb_declare, NULL, absorb_units, absorb_reference, absorb_cost},
    {FC_BENCH_ABSORB_V, true, absorb_declare, NULL, absorb_units, absorb_reference, absorb_cost},
};
const size_t fc_gemm_operators_n = sizeof fc_gemm_operators / sizeof *fc_gemm_operators;
