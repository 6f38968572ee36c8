/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/kernels/operator.h>
#include <fleetcast/kernels/operators.h>

#include <math.h>

#include "product.h"

/* Dense products.  m rows, n columns, k inner; a [m,k], b [n,k], c [m,n] = a b^T (operators.h). */

enum { BLOCK = 64 /* columns of a unit */ };

/* --- gemm, and the weight gradient c += a b^T, both operands scaled 1x128 along the tokens --- */

static bool is_wgrad(const fc_problem *p) {
  return p->c.op == FC_BENCH_GEMM_WGRAD;
}

static void gemm_declare(fc_problem *p) {
  const fc_bench_case *c = &p->c;
  bool fp8 = c->dtype == FC_DTYPE_FP8, wgrad = is_wgrad(p);
  fc_elem x = fc_product_elem(c->dtype), y = wgrad ? FC_ELEM_F32 : fc_product_out(c->dtype);
  fc_fill fill = fp8 ? FC_FILL_FP8 : FC_FILL_NORMAL;
  fc_role b = wgrad ? FC_ROLE_INPUT : FC_ROLE_WEIGHT;
  int64_t kb = fp8 ? fc_blocks(c->k) : 0, rows = fp8 ? c->m : 0;
  int64_t b0 = wgrad ? kb : fc_blocks(c->n), b1 = wgrad ? c->n : fc_pad4(kb);
  fc_problem_tensor(p, "a", x, FC_ROLE_INPUT, fill, 1, c->m, c->k, 0, 0);
  fc_problem_tensor(p, "a_scale", FC_ELEM_F32, FC_ROLE_INPUT, FC_FILL_SCALE, FC_PRODUCT_SCALE, kb, rows, 0,
                    0);
  fc_problem_tensor(p, "b", x, b, fill, 1, c->n, c->k, 0, 0);
  fc_problem_tensor(p, "b_scale", FC_ELEM_F32, b, FC_FILL_SCALE, FC_PRODUCT_SCALE, fp8 ? b0 : 0, fp8 ? b1 : 0,
                    0, 0);
  if (wgrad)
    fc_problem_tensor(p, "c", y, FC_ROLE_INOUT, FC_FILL_NORMAL, 1, c->m, c->n, 0, 0);
  else
    fc_problem_tensor(p, "c", y, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, c->m, c->n, 0, 0);
}

static int64_t across(const fc_problem *p) {
  return (p->c.n + BLOCK - 1) / BLOCK;
}

static size_t gemm_units(const fc_problem *p) {
  return (size_t)(p->c.m * across(p));
}

/* Row `col` of b with its scales. */
static fc_product_row weight_row(const fc_problem *p, int64_t col) {
  const fc_bench_case *c = &p->c;
  fc_product_row b = {.x = &p->tensor[FC_GEMM_B], .scale = &p->tensor[FC_GEMM_BS], .first = col * c->k};
  b.scale_first = is_wgrad(p) ? col : col / 128 * fc_pad4(fc_blocks(c->k));
  b.scale_step = is_wgrad(p) ? c->n : 1;
  return b;
}

static void gemm_reference(const fc_problem *p, size_t unit, fc_expect *e) {
  const fc_bench_case *c = &p->c;
  int64_t row = (int64_t)unit / across(p), from = (int64_t)unit % across(p) * BLOCK;
  fc_product_row a = {.x = &p->tensor[FC_GEMM_A], .scale = &p->tensor[FC_GEMM_AS], .first = row * c->k};
  a.scale_first = row;
  a.scale_step = c->m;
  for (int64_t col = from; col < from + BLOCK && col < c->n; col++) {
    fc_product_row b = weight_row(p, col);
    fc_product sum = fc_product_of(p, &a, &b, c->k);
    size_t at = (size_t)(row * c->n + col);
    if (is_wgrad(p)) { /* the last addition may round once more, in binary32 */
      double before = fc_tensor_at(&p->tensor[FC_GEMM_C], at);
      sum.bound += FC_U_F32 * (fabs(before) + fabs(sum.value));
      sum.value += before;
    }
    fc_expect_at(e, FC_GEMM_C, at, sum.value, sum.bound);
  }
}

static void gemm_cost(const fc_problem *p, fc_op *out) {
  out->m = (double)p->c.m;
  out->n = (double)p->c.n;
  out->k = (double)p->c.k;
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
    {FC_BENCH_GEMM_WGRAD, true, gemm_declare, NULL, gemm_units, gemm_reference, gemm_cost},
    {FC_BENCH_ABSORB_K, true, absorb_declare, NULL, absorb_units, absorb_reference, absorb_cost},
    {FC_BENCH_ABSORB_V, true, absorb_declare, NULL, absorb_units, absorb_reference, absorb_cost},
};
const size_t fc_gemm_operators_n = sizeof fc_gemm_operators / sizeof *fc_gemm_operators;
