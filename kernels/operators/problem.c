/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/kernels/operator.h>

#include <fleetcast/base/assert.h>
#include <fleetcast/kernels/routing.h>

#include "families.h"

const char *fc_bench_op_text(fc_bench_op op) {
#define FC_BENCH_OP_TEXT(id, text, cost) text,
  static const char *const name[FC_BENCH_OP_COUNT] = {FC_BENCH_OP_MAP(FC_BENCH_OP_TEXT)};
#undef FC_BENCH_OP_TEXT
  return name[op];
}

static fc_op_id cost_id(fc_bench_op op) {
#define FC_BENCH_OP_COST(id, text, cost) FC_OP_##cost,
  static const fc_op_id of[FC_BENCH_OP_COUNT] = {FC_BENCH_OP_MAP(FC_BENCH_OP_COST)};
#undef FC_BENCH_OP_COST
  return of[op];
}

const fc_operator *fc_operator_of(fc_bench_op op) {
  for (size_t f = 0; f < fc_operator_families_n; f++)
    for (size_t i = 0; i < *fc_operator_families[f].n; i++)
      if (fc_operator_families[f].item[i].id == op) return &fc_operator_families[f].item[i];
  return NULL;
}

int fc_problem_tensor(fc_problem *p, const char *name, fc_elem elem, fc_role role, fc_fill fill, float spread,
                      int64_t d0, int64_t d1, int64_t d2, int64_t d3) {
  FC_ASSERT(p->n_tensors < FC_TENSORS_MAX);
  fc_tensor *t = &p->tensor[p->n_tensors];
  *t = (fc_tensor){.name = name, .elem = elem, .role = role, .fill = fill, .spread = spread};
  /* trailing dimensions of 0 are absent, the others move right: the last is contiguous */
  int64_t given[FC_TENSOR_RANK] = {d0, d1, d2, d3};
  int rank = FC_TENSOR_RANK;
  while (rank > 0 && given[rank - 1] == 0) rank--;
  t->count = rank > 0 ? 1 : 0;
  for (int i = 0; i < FC_TENSOR_RANK; i++) t->dim[i] = 1;
  for (int i = 0; i < rank; i++) {
    FC_ASSERT(given[i] >= 0);
    t->dim[FC_TENSOR_RANK - rank + i] = given[i];
    t->count *= (size_t)given[i];
  }
  return (int)p->n_tensors++;
}

double fc_tensor_at(const fc_tensor *t, size_t index) {
  FC_VALIDATE(t->host && index < t->count);
  switch (t->elem) {
  case FC_ELEM_F32: return (double)((const float *)t->host)[index];
  case FC_ELEM_BF16: return (double)fc_bf16_decode(((const uint16_t *)t->host)[index]);
  case FC_ELEM_E4M3: return (double)fc_e4m3_decode(((const uint8_t *)t->host)[index]);
  case FC_ELEM_I32: return (double)((const int32_t *)t->host)[index];
  }
  return 0;
}

void fc_tensor_read(double *out, const fc_tensor *t, size_t first, size_t n) {
  FC_ASSERT(n == 0 || (t->host && first < t->count && n <= t->count - first));
  switch (t->elem) {
  case FC_ELEM_F32:
    for (size_t i = 0; i < n; i++) out[i] = (double)((const float *)t->host)[first + i];
    break;
  case FC_ELEM_BF16:
    for (size_t i = 0; i < n; i++) out[i] = (double)fc_bf16_decode(((const uint16_t *)t->host)[first + i]);
    break;
  case FC_ELEM_E4M3:
    for (size_t i = 0; i < n; i++) out[i] = (double)fc_e4m3_decode(((const uint8_t *)t->host)[first + i]);
    break;
  case FC_ELEM_I32:
    for (size_t i = 0; i < n; i++) out[i] = (double)((const int32_t *)t->host)[first + i];
    break;
  }
}

void fc_tensor_set(fc_tensor *t, size_t index, double value) {
  FC_VALIDATE(t->host && index < t->count);
  switch (t->elem) {
  case FC_ELEM_F32: ((float *)t->host)[index] = (float)value; break;
  case FC_ELEM_BF16: ((uint16_t *)t->host)[index] = fc_bf16_encode((float)value); break;
  case FC_ELEM_E4M3: ((uint8_t *)t->host)[index] = fc_e4m3_encode((float)value); break;
  case FC_ELEM_I32: ((int32_t *)t->host)[index] = (int32_t)value; break;
  }
}

int32_t fc_tensor_int(const fc_tensor *t, size_t index) {
  FC_VALIDATE(t->host && index < t->count && t->elem == FC_ELEM_I32);
  return ((const int32_t *)t->host)[index];
}

double fc_problem_unit(const fc_problem *p) {
  switch (p->c.dtype) {
  case FC_DTYPE_FP8: return FC_U_TENSOR_FP8;
  case FC_DTYPE_BF16: return FC_U_TENSOR_BF16;
  default: return FC_U_F32;
  }
}

/* Every extent that a case gives is positive and small
 * enough that sizes fit; each operator asks for its own. */
static bool is_sensible(const fc_bench_case *c) {
  const int64_t all[] = {c->m, c->n, c->k,  c->groups, c->max_rows, c->batch, c->heads,        c->kv_heads,
                         c->q, c->s, c->dk, c->dv,     c->experts,  c->top_k, c->route_groups, c->route_top};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (all[i] < 0 || all[i] > INT64_C(1) << 34) return false;
  return c->q <= c->s && c->skew >= 0 && c->skew < 10;
}

/* What attention divides by, and what routing can deal out. */
static bool is_whole(const fc_bench_case *c) {
  switch (c->op) {
  case FC_BENCH_ATTENTION_PREFILL:
  case FC_BENCH_ATTENTION_DECODE:
  case FC_BENCH_ATTENTION_BACKWARD:
  case FC_BENCH_MLA_PREFILL:
  case FC_BENCH_MLA_DECODE:
  case FC_BENCH_MLA_BACKWARD:
    return c->batch > 0 && c->q > 0 && c->dk > 0 && c->dv > 0 && c->kv_heads > 0 && c->heads > 0 &&
           c->heads % c->kv_heads == 0;
  case FC_BENCH_GROUPED:
  case FC_BENCH_GROUPED_MASKED:
  case FC_BENCH_GROUPED_WGRAD: return c->groups > 0 && c->groups <= FC_ROUTING_GROUPS_MAX;
  case FC_BENCH_PERMUTE:
  case FC_BENCH_PERMUTE_B:
  case FC_BENCH_COMBINE:
  case FC_BENCH_COMBINE_B: return fc_routing_possible(c, c->k);
  case FC_BENCH_LAUNCH: return true;
  case FC_BENCH_ROPE_KV:
  case FC_BENCH_ROPE_B: return c->m > 0 && c->heads > 0 && c->dk > 0 && c->dk % 2 == 0;
  case FC_BENCH_ADAMW:
  case FC_BENCH_GRAD_NORM:
  case FC_BENCH_COPY:
  case FC_BENCH_READ:
  case FC_BENCH_WRITE: return c->m > 0;
  case FC_BENCH_ABSORB_K:
  case FC_BENCH_ABSORB_V: return c->batch > 0 && c->q > 0 && c->heads > 0 && c->n > 0 && c->k > 0;
  case FC_BENCH_GEMM:
  case FC_BENCH_GEMM_WGRAD:
  case FC_BENCH_EMBED: return c->m > 0 && c->n > 0 && c->k > 0;
  default: return c->m > 0 && c->n > 0;
  }
}

fc_status fc_problem_init(fc_problem *p, const fc_bench_case *c, uint64_t seed, bool exact) {
  const fc_operator *o = fc_operator_of(c->op);
  if (!o || !is_sensible(c) || !is_whole(c) || (exact && !o->exact)) return FC_E_DOMAIN;
  *p = (fc_problem){.c = *c, .seed = seed, .exact = exact};
  o->declare(p);
  for (size_t i = 0; i < p->n_tensors; i++)
    if (p->tensor[i].count > SIZE_MAX / 64) return FC_E_DOMAIN;
  return FC_OK;
}

void fc_problem_cost(const fc_problem *p, fc_op *out) {
  *out = (fc_op){.dtype = p->c.dtype};
  fc_operator_of(p->c.op)->cost(p, out);
  out->id = cost_id(p->c.op);
}
