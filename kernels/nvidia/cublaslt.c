/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/kernels/operators.h>

#include <stdio.h>
#include <stdlib.h>

#include "cublaslt_product.h"

/* Dense products by cuBLASLt: one call each.  Letters and layouts:
 * operators.h; what cuBLASLt asks for: cublaslt_product.h. */

static bool is_absorb(const fc_problem *p) {
  return p->c.op == FC_BENCH_ABSORB_K || p->c.op == FC_BENCH_ABSORB_V;
}

/* Rows of each product: the tokens, for absorbed projections. */
static int64_t rows_of(const fc_problem *p) {
  return is_absorb(p) ? p->c.batch * p->c.q : p->c.m;
}

static bool supports(const fc_problem *p, const fc_machine *machine, char *why) {
  if (is_absorb(p) && p->c.dtype == FC_DTYPE_FP8) {
    (void)snprintf(why, FC_WHY, "absorbed projections have no fp8 scales");
    return false;
  }
  return fc_lt_supports(&p->c, rows_of(p), p->c.n, p->c.k, machine, why);
}

static fc_lt_product product_of(const fc_problem *p, const fc_args *args) {
  const fc_bench_case *c = &p->c;
  bool fp8 = c->dtype == FC_DTYPE_FP8, wgrad = c->op == FC_BENCH_GEMM_WGRAD;
  fc_lt_product x = {
      .fp8 = fp8, .b_blocks = !wgrad, .f32_out = wgrad, .accumulate = wgrad, .a = args->at[FC_GEMM_A]};
  x.b = args->at[FC_GEMM_B];
  x.c = args->at[FC_GEMM_C];
  x.a_scale = fp8 ? args->at[FC_GEMM_AS] : NULL;
  x.b_scale = fp8 ? args->at[FC_GEMM_BS] : NULL;
  x.m = rows_of(p);
  x.n = c->n;
  x.k = x.a_row = x.b_row = c->k;
  x.c_row = c->n;
  if (is_absorb(p)) { /* head i: rows x[t,i,:] and y[t,i,:] of the tokens t */
    x.batch = c->heads;
    x.a_row = c->heads * c->k;
    x.a_matrix = c->k;
    x.b_matrix = c->n * c->k;
    x.c_row = c->heads * c->n;
    x.c_matrix = c->n;
  }
  return x;
}

static int prepare(const fc_problem *p, const fc_args *args, const fc_machine *machine, void **state,
                   char *why) {
  (void)machine;
  fc_lt_plan *plan = malloc(sizeof *plan);
  if (!plan) {
    (void)snprintf(why, FC_WHY, "out of memory");
    return 1;
  }
  fc_lt_product x = product_of(p, args);
  if (fc_lt_plan_init(plan, &x, *state, why)) { /* the first set's algorithm serves all */
    free(plan);
    return 1;
  }
  *state = plan;
  return 0;
}

static int launch(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)p, (void)args;
  return fc_lt_plan_launch(state, queue);
}

static void release(void *state) {
  if (!state) return;
  fc_lt_plan_fini(state);
  free(state);
}

static const fc_implementation items[] = {
    {FC_BENCH_GEMM, "cublaslt", supports, prepare, launch, release},
    {FC_BENCH_GEMM_WGRAD, "cublaslt", supports, prepare, launch, release},
    {FC_BENCH_ABSORB_K, "cublaslt", supports, prepare, launch, release},
    {FC_BENCH_ABSORB_V, "cublaslt", supports, prepare, launch, release},
};

extern const fc_implementations fc_nvidia_cublaslt;
const fc_implementations fc_nvidia_cublaslt = {sizeof items / sizeof *items, items};
