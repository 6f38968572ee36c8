/* SPDX-License-Identifier: Apache-2.0 */
#include "shapes.h"

/* One MoE layer of DeepSeek-V3 as the calls that it is made of, for the check that the parts sum to the
 * whole.  Its device holds an eighth of the experts and, balanced, receives as many rows as it sends. */

typedef struct {
  fc_cases *list;
  const fc_grid *g;
  const fc_dims *d;
  int64_t tokens, context, rows, experts;
  bool training;
} layer;

enum { EXPERT_RANKS = 8 };

const char *fc_chain_text(fc_chain_kind kind) {
  static const char *const text[FC_CHAIN_COUNT] = {"chain_decode", "chain_prefill", "chain_train"};
  return text[kind];
}

static void row_op(const layer *l, fc_bench_op op, int64_t m, int64_t n) {
  fc_cases_add(l->list, (fc_bench_case){.op = op, .dtype = FC_DTYPE_FP8, .m = m, .n = n});
}

static void product(const layer *l, fc_dtype dtype, int64_t n, int64_t k) {
  fc_cases_add(l->list, (fc_bench_case){.op = FC_BENCH_GEMM, .dtype = dtype, .m = l->tokens, .n = n, .k = k});
}

/* Gradients of a product: casts, the input's, the weight's. */
static void product_backward(const layer *l, fc_dtype dtype, int64_t n, int64_t k) {
  if (dtype == FC_DTYPE_FP8) row_op(l, FC_BENCH_QUANT_TRANSPOSED, l->tokens, n);
  product(l, dtype, k, n);
  fc_cases_add(l->list,
               (fc_bench_case){.op = FC_BENCH_GEMM_WGRAD, .dtype = dtype, .m = n, .n = k, .k = l->tokens});
}

static void rope(const layer *l, fc_bench_op op) {
  fc_bench_case c = {
      .op = op, .dtype = FC_DTYPE_BF16, .kv_dtype = FC_DTYPE_BF16, .m = l->tokens, .dk = l->d->rope};
  c.heads = l->d->heads + (op == FC_BENCH_ROPE_B);
  c.dv = op == FC_BENCH_ROPE_B ? 0 : l->d->kv_rank;
  fc_cases_add(l->list, c);
}

static void attention(const layer *l, fc_bench_op op) {
  const fc_dims *d = l->d;
  fc_bench_case c = {
      .op = op, .dtype = l->g->plain, .kv_dtype = l->g->plain, .heads = d->heads, .kv_heads = d->heads};
  c.batch = 1;
  c.q = c.s = l->tokens;
  c.dk = d->nope + d->rope;
  c.dv = d->v;
  fc_cases_add(l->list, c);
}

static void attention_decode(const layer *l) {
  const fc_dims *d = l->d;
  fc_bench_case c = {
      .dtype = l->g->plain, .kv_dtype = l->g->plain, .batch = l->tokens, .q = 1, .s = l->context};
  c.heads = d->heads;
  fc_bench_case absorb = c;
  absorb.op = FC_BENCH_ABSORB_K;
  absorb.s = 1;
  absorb.n = d->kv_rank;
  absorb.k = d->nope;
  fc_cases_add(l->list, absorb);
  rope(l, FC_BENCH_ROPE_KV);
  c.op = FC_BENCH_MLA_DECODE;
  c.kv_heads = 1;
  c.dk = d->kv_rank + d->rope;
  c.dv = d->kv_rank;
  fc_cases_add(l->list, c);
  absorb.op = FC_BENCH_ABSORB_V;
  absorb.n = d->v;
  absorb.k = d->kv_rank;
  fc_cases_add(l->list, absorb);
}

static void attention_block(const layer *l, bool decode) {
  const fc_dims *d = l->d;
  row_op(l, FC_BENCH_NORM_RESIDUAL, l->tokens, d->hidden);
  product(l, l->g->gemm, d->q_rank + d->kv_rank + d->rope, d->hidden);
  row_op(l, FC_BENCH_NORM, l->tokens, d->q_rank);
  row_op(l, FC_BENCH_NORM, l->tokens, d->kv_rank);
  product(l, l->g->gemm, d->heads * (d->nope + d->rope), d->q_rank);
  if (decode) {
    attention_decode(l);
  } else {
    product(l, l->g->gemm, d->heads * (d->nope + d->v), d->kv_rank);
    rope(l, FC_BENCH_ROPE_KV);
    attention(l, FC_BENCH_MLA_PREFILL);
  }
  row_op(l, FC_BENCH_QUANT, l->tokens, d->heads * d->v);
  product(l, l->g->gemm, d->hidden, d->heads * d->v);
}

static void routed(const layer *l, fc_bench_op op, fc_dtype dtype) {
  fc_bench_case c = {
      .op = op, .dtype = dtype, .k = l->tokens, .m = l->rows, .n = l->d->hidden, .top_k = l->d->top_k};
  c.groups = l->experts;
  fc_cases_add(l->list, c);
}

static void grouped(const layer *l, bool decode, int64_t n, int64_t k) {
  fc_bench_case c = {
      .op = FC_BENCH_GROUPED, .dtype = l->g->gemm, .m = l->rows, .n = n, .k = k, .groups = l->experts};
  if (decode) {
    c.op = FC_BENCH_GROUPED_MASKED;
    int64_t each = (l->rows + l->experts - 1) / l->experts;
    c.max_rows = (each + 127) / 128 * 128;
  }
  fc_cases_add(l->list, c);
}

static void grouped_backward(const layer *l, int64_t n, int64_t k) {
  row_op(l, FC_BENCH_QUANT_TRANSPOSED, l->rows, n);
  grouped(l, false, k, n);
  fc_bench_case c = {.op = FC_BENCH_GROUPED_WGRAD, .dtype = l->g->gemm, .m = n, .n = k, .k = l->rows};
  c.groups = l->experts;
  fc_cases_add(l->list, c);
}

static void topk(const layer *l, fc_bench_op op) {
  const fc_dims *d = l->d;
  fc_bench_case c = {
      .op = op, .dtype = FC_DTYPE_FP32, .m = l->tokens, .n = d->experts, .experts = d->experts};
  c.top_k = d->top_k;
  c.route_groups = d->groups;
  c.route_top = d->top_groups;
  fc_cases_add(l->list, c);
}

static void experts_block(const layer *l, bool decode) {
  const fc_dims *d = l->d;
  row_op(l, FC_BENCH_NORM_RESIDUAL, l->tokens, d->hidden);
  product(l, l->g->plain, d->experts, d->hidden);
  topk(l, FC_BENCH_TOPK);
  if (!decode) routed(l, FC_BENCH_PERMUTE, FC_DTYPE_FP8); /* low-latency dispatch delivers by expert */
  grouped(l, decode, 2 * d->inter, d->hidden);
  row_op(l, FC_BENCH_SWIGLU, l->rows, d->inter);
  grouped(l, decode, d->hidden, d->inter);
  routed(l, FC_BENCH_COMBINE, FC_DTYPE_BF16);
  product(l, l->g->gemm, 2 * d->inter, d->hidden);
  row_op(l, FC_BENCH_SWIGLU, l->tokens, d->inter);
  product(l, l->g->gemm, d->hidden, d->inter);
}

static void experts_backward(const layer *l) {
  const fc_dims *d = l->d;
  product_backward(l, l->g->gemm, d->hidden, d->inter);
  row_op(l, FC_BENCH_SWIGLU_B, l->tokens, d->inter);
  product_backward(l, l->g->gemm, 2 * d->inter, d->hidden);
  routed(l, FC_BENCH_COMBINE_B, FC_DTYPE_BF16);
  grouped_backward(l, d->hidden, d->inter);
  row_op(l, FC_BENCH_SWIGLU_B, l->rows, d->inter);
  grouped_backward(l, 2 * d->inter, d->hidden);
  routed(l, FC_BENCH_PERMUTE_B, FC_DTYPE_BF16);
  topk(l, FC_BENCH_TOPK_B);
  product_backward(l, l->g->plain, d->experts, d->hidden);
  row_op(l, FC_BENCH_NORM_B, l->tokens, d->hidden);
}

static void attention_backward(const layer *l) {
  const fc_dims *d = l->d;
  product_backward(l, l->g->gemm, d->hidden, d->heads * d->v);
  attention(l, FC_BENCH_MLA_BACKWARD);
  rope(l, FC_BENCH_ROPE_B);
  product_backward(l, l->g->gemm, d->heads * (d->nope + d->v), d->kv_rank);
  product_backward(l, l->g->gemm, d->heads * (d->nope + d->rope), d->q_rank);
  row_op(l, FC_BENCH_NORM_B, l->tokens, d->q_rank);
  row_op(l, FC_BENCH_NORM_B, l->tokens, d->kv_rank);
  product_backward(l, l->g->gemm, d->q_rank + d->kv_rank + d->rope, d->hidden);
  row_op(l, FC_BENCH_NORM_B, l->tokens, d->hidden);
}

fc_status fc_chain_build(fc_cases *out, fc_bench_scale scale, fc_chain_kind kind) {
  *out = (fc_cases){0};
  const fc_grid *g = fc_grid_of(scale);
  bool decode = kind == FC_CHAIN_DECODE, gpu = scale == FC_SCALE_GPU;
  layer l = {.list = out, .g = g, .d = g->dims, .experts = g->dims->experts / EXPERT_RANKS};
  l.tokens = decode ? (gpu ? 128 : 32) : (gpu ? 4096 : 256);
  l.context = gpu ? 4096 : 1024;
  l.rows = l.tokens * g->dims->top_k;
  l.training = kind == FC_CHAIN_TRAIN;
  attention_block(&l, decode);
  experts_block(&l, decode);
  if (l.training) {
    experts_backward(&l);
    attention_backward(&l);
  }
  if (!out->out_of_memory) return FC_OK;
  fc_cases_free(out);
  return FC_E_NOMEM;
}
