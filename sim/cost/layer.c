/* SPDX-License-Identifier: Apache-2.0 */
#include "layer.h"

#include <math.h>

#include <fleetcast/cost/busiest.h>
#include <fleetcast/cost/drawn.h>
#include <fleetcast/cost/engine.h>
#include <fleetcast/cost/format.h>

static void add(const fc_layer *l, fc_pass pass, fc_part part, const fc_op *op, double count) {
  if (count > 0) (void)fc_meter_add(l->meter, pass, part, op, count);
}

static bool is_narrow(fc_dtype dtype) {
  return dtype == FC_DTYPE_FP8 || dtype == FC_DTYPE_FP4;
}

void fc_layer_formats(fc_layer *l, fc_dtype gemm, fc_dtype kv) {
  l->storage = gemm;
  l->gemm = fc_meter_dtype(l->meter, FC_KERNEL_GEMM, gemm);
  l->grouped = fc_meter_dtype(l->meter, FC_KERNEL_GROUPED_GEMM, gemm);
  l->attention = l->mla = FC_DTYPE_BF16;
  l->cache_element = fc_dtype_size(kv);
}

/* Backward of y[rows,n] = x[rows,k] W: dx, dW, and in narrow formats the casts that feed them. */
static void linear_backward(const fc_layer *l, fc_part part, double rows, double n, double k, fc_dtype dtype,
                            double count) {
  add(l, FC_PASS_INPUT, part, &(fc_op){.id = FC_OP_LINEAR, .dtype = dtype, .m = rows, .n = k, .k = n}, count);
  add(l, FC_PASS_WEIGHT, part,
      &(fc_op){.id = l->tensor_scales || dtype == FC_DTYPE_FP4 ? FC_OP_LINEAR : FC_OP_WGRAD,
               .dtype = dtype,
               .m = n,
               .n = k,
               .k = rows},
      count);
  if (!is_narrow(dtype)) return;
  add(l, FC_PASS_INPUT, FC_PART_GLUE,
      &(fc_op){.id = FC_OP_QUANT_TRANSPOSED, .dtype = dtype, .m = rows, .n = n}, count);
  add(l, FC_PASS_WEIGHT, FC_PART_GLUE, &(fc_op){.id = FC_OP_QUANT, .dtype = dtype, .m = rows, .n = k}, count);
}

static void linear_as(const fc_layer *l, fc_part part, double rows, double n, double k, fc_dtype dtype,
                      fc_dtype storage, double count) {
  fc_op op = {
      .id = FC_OP_LINEAR, .dtype = dtype, .m = rows, .n = n, .k = k, .weight_bytes = fc_dtype_size(storage)};
  add(l, FC_PASS_FORWARD, part, &op, count);
  if (l->training) linear_backward(l, part, rows, n, k, dtype, count);
}

static void linear(const fc_layer *l, fc_part part, double rows, double n, double k, double count) {
  linear_as(l, part, rows, n, k, l->gemm, l->training ? l->gemm : l->storage, count);
}

/* Tokens whose norms this rank does: training splits them over tp (sequence parallel), unless it is older. */
static double own_tokens(const fc_layer *l) {
  return (l->training || l->again) && !l->whole_norms ? l->tokens / l->tp : l->tokens;
}

static void norm(const fc_layer *l, fc_op_id id, double rows, double width, double count) {
  fc_op op = {.id = id, .dtype = l->gemm, .m = rows, .n = width};
  add(l, FC_PASS_FORWARD, FC_PART_GLUE, &op, count);
  if (!l->training) return;
  add(l, FC_PASS_INPUT, FC_PART_GLUE,
      &(fc_op){.id = FC_OP_NORM_B, .dtype = FC_DTYPE_BF16, .m = rows, .n = width}, count);
  if (l->recompute_light) add(l, FC_PASS_INPUT, FC_PART_GLUE, &op, count);
}

static void quantise(const fc_layer *l, double rows, double width, double count) {
  if (is_narrow(l->gemm))
    add(l, FC_PASS_FORWARD, FC_PART_GLUE,
        &(fc_op){.id = FC_OP_QUANT, .dtype = l->gemm, .m = rows, .n = width}, count);
}

/* Tensor parallelism around a block: inference all-reduces the output; training gathers before and scatters
 * after, and mirrors both in backward (Megatron sequence parallelism, arXiv:2205.05198).  What is gathered is
 * an operand and travels in its format.  @source NVIDIA/TransformerEngine, pytorch/distributed.py:
 * gather_along_first_dim quantises first, in FP8 and NVFP4 alike */
static void tensor_parallel(const fc_layer *l, double count) {
  if (!(l->tp > 1)) return;
  fc_op op = {.id = FC_OP_ALL_REDUCE, .dtype = FC_DTYPE_BF16, .ranks = l->tp, .domain = l->domain};
  op.payload_bytes = 2 * l->tokens * (double)l->model->hidden;
  if (!l->training) {
    add(l, FC_PASS_FORWARD, FC_PART_TP, &op, count);
    return;
  }
  op.id = FC_OP_REDUCE_SCATTER;
  add(l, FC_PASS_FORWARD, FC_PART_TP, &op, count);
  add(l, FC_PASS_INPUT, FC_PART_TP, &op, count);
  op.id = FC_OP_ALL_GATHER;
  if (is_narrow(l->gemm)) op.payload_bytes *= fc_dtype_size(l->gemm) / 2;
  add(l, FC_PASS_FORWARD, FC_PART_TP, &op, count);
  add(l, FC_PASS_INPUT, FC_PART_TP, &op, count);
}

/* --- attention --- */

static double heads_here(const fc_layer *l) {
  return fmax(1, (double)l->model->attention.heads / l->tp);
}

static double kv_heads_here(const fc_layer *l) {
  return fmax(1, (double)l->model->attention.kv_heads / l->tp);
}

/* Ring of context parallelism: every other rank's keys and values pass by; backward also their gradients. */
static void context_parallel(const fc_layer *l, double kv_width, double count) {
  if (!(l->cp > 1)) return;
  fc_op op = {.id = FC_OP_SEND_RECV, .dtype = FC_DTYPE_BF16, .ranks = l->cp};
  op.domain = fmax(1, l->domain / l->tp);
  op.payload_bytes = 2 * l->tokens * kv_width;
  double steps = count * (l->cp - 1);
  add(l, FC_PASS_FORWARD, FC_PART_CP, &op, steps);
  op.payload_bytes *= 2;
  add(l, FC_PASS_INPUT, FC_PART_CP, &op, steps);
}

/* Scores through memory, masked but not skipped: two products, softmax (read, write) and dropout (read,
 * write, a byte of mask); backward four products and both again (softmax reads two).  @source Megatron-LM's
 * core attention, arXiv:2205.05198, section 4 */
static void core_unfused(const fc_layer *l, const fc_op *op, double count) {
  double heads = op->batch * op->heads, rows = heads * op->q, scores = rows * op->s;
  fc_op product = {.id = FC_OP_LINEAR, .dtype = op->dtype, .groups = heads};
  product.m = rows;
  fc_op stream = {.id = FC_OP_COPY, .dtype = FC_DTYPE_BF16};
  fc_op wide = product, narrow = product;
  wide.n = op->s; /* queries against keys */
  wide.k = op->dk;
  narrow.n = op->dv; /* probabilities against values */
  narrow.k = op->s;
  for (int backward = 0; backward <= (l->training ? 1 : 0); backward++) {
    fc_pass pass = backward ? FC_PASS_INPUT : FC_PASS_FORWARD;
    add(l, pass, FC_PART_ATTENTION, &wide, count);
    add(l, pass, FC_PART_ATTENTION, &narrow, count * (backward ? 3 : 1));
    stream.payload_bytes = (backward ? 3 : 2) * scores;
    add(l, pass, FC_PART_ATTENTION, &stream, count);
    stream.payload_bytes = 2.5 * scores;
    add(l, pass, FC_PART_ATTENTION, &stream, count);
  }
}

/* A causal core call over `count` layers that see `window` tokens. */
static void core_prefill(const fc_layer *l, fc_op op, double window, double count) {
  if (l->unfused && count > 0) {
    core_unfused(l, &op, count);
    return;
  }
  op.window = window;
  if (window > 0) op.s = fmin(op.s, op.q + window);
  add(l, FC_PASS_FORWARD, FC_PART_ATTENTION, &op, count);
  if (!l->training) return;
  op.id = op.id == FC_OP_MLA_P ? FC_OP_MLA_B : FC_OP_ATTENTION_B;
  add(l, FC_PASS_INPUT, FC_PART_ATTENTION, &op, count);
}

static void core(const fc_layer *l, fc_op op, bool prefill, double count) {
  const fc_model *model = l->model;
  double window = (double)model->attention.window;
  double near = window > 0 ? count * (double)model->attention.window_layers / (double)model->layers : 0;
  if (prefill) {
    core_prefill(l, op, 0, count - near);
    core_prefill(l, op, window, near);
    return;
  }
  add(l, FC_PASS_FORWARD, FC_PART_ATTENTION, &op, count - near);
  if (near > 0) {
    op.s = fmin(op.s, window);
    add(l, FC_PASS_FORWARD, FC_PART_ATTENTION, &op, near);
  }
}

/* Queries rotated in place, keys rotated on their way into the cache with what else is cached: `cached`
 * elements. */
static void rope(const fc_layer *l, double queries, double keys, double cached, double count) {
  add(l, FC_PASS_FORWARD, FC_PART_GLUE,
      &(fc_op){.id = FC_OP_ROPE_KV, .dtype = FC_DTYPE_BF16, .m = l->tokens, .n = queries, .k = cached},
      count);
  if (l->training)
    add(l, FC_PASS_INPUT, FC_PART_GLUE,
        &(fc_op){.id = FC_OP_ROPE_B, .dtype = FC_DTYPE_BF16, .m = l->tokens, .n = queries + keys}, count);
}

/* Over all heads: ranks exchange two sums of squares a token, so that summing and scaling are kernels of
 * their own. */
static void qk_norm(const fc_layer *l, double queries, double keys, double count) {
  double passes = l->tp > 1 ? 2 : 1;
  norm(l, FC_OP_NORM, l->tokens, queries, passes * count);
  norm(l, FC_OP_NORM, l->tokens, keys, passes * count);
  if (!(l->tp > 1)) return;
  fc_op op = {.id = FC_OP_ALL_REDUCE, .dtype = FC_DTYPE_BF16, .ranks = l->tp, .domain = l->domain};
  op.payload_bytes = 2 * 4 * l->tokens;
  add(l, FC_PASS_FORWARD, FC_PART_TP, &op, count);
  if (l->training) add(l, FC_PASS_INPUT, FC_PART_TP, &op, count);
}

static void attention_gqa(const fc_layer *l, double count) {
  const fc_attention *a = &l->model->attention;
  double H = (double)l->model->hidden, d = (double)a->head_dim, h = heads_here(l), g = kv_heads_here(l);
  linear(l, FC_PART_DENSE, l->tokens, d * (h + 2 * g), H, count);
  if (a->qk_norm) qk_norm(l, d * h, d * g, count);
  rope(l, d * h, d * g, 2 * d * g, count);
  fc_op op = {.dtype = l->attention, .heads = h, .kv_heads = g, .dk = d, .dv = d};
  if (l->prefill.batch > 0) {
    op.id = FC_OP_ATTENTION_P;
    op.batch = l->prefill.batch;
    op.q = l->prefill.q;
    op.s = l->prefill.s;
    core(l, op, true, count);
  }
  if (l->decode.batch > 0) {
    op.id = FC_OP_ATTENTION_D;
    op.batch = l->decode.batch;
    op.q = l->decode.q;
    op.s = l->decode.s;
    op.cache_bytes = 2 * g * d * l->cache_element;
    core(l, op, false, count);
  }
  context_parallel(l, 2 * d * g, count);
  quantise(l, l->tokens, h * d, count);
  linear(l, FC_PART_DENSE, l->tokens, H, h * d, count);
}

/* Decode works in the latent space: queries absorb W_UK, outputs pass through W_UV. */
static void mla_decode(const fc_layer *l, double h, double count) {
  const fc_attention *a = &l->model->attention;
  double rank = (double)a->kv_lora, rows = l->decode.batch * l->decode.q;
  fc_dtype dtype = fc_meter_dtype(l->meter, FC_KERNEL_GEMM, FC_DTYPE_BF16);
  bool engine = l->meter->profile->engine != NULL;
  fc_op bmm = {.dtype = dtype, .m = rows * h, .groups = h, .n = rank, .k = (double)a->nope};
  bmm.id = engine ? FC_OP_ABSORB_K : FC_OP_LINEAR;
  add(l, FC_PASS_FORWARD, FC_PART_ATTENTION, &bmm, count);
  bmm.id = engine ? FC_OP_ABSORB_V : FC_OP_LINEAR;
  bmm.n = (double)a->v;
  bmm.k = rank;
  add(l, FC_PASS_FORWARD, FC_PART_ATTENTION, &bmm, count);
  fc_op op = {.id = FC_OP_MLA_D, .dtype = l->mla, .batch = l->decode.batch, .heads = h, .kv_heads = 1};
  op.q = l->decode.q;
  op.s = l->decode.s;
  op.dk = rank + (double)a->rope;
  op.dv = rank;
  /* fp8 cache: latent fp8 with four fp32 scales, rotary part bf16: 656 bytes. @source FlashMLA README */
  op.cache_bytes =
      l->cache_element == 1 ? rank + rank / 128 * 4 + 2 * (double)a->rope : op.dk * l->cache_element;
  core(l, op, false, count);
}

static void mla_prefill(const fc_layer *l, double h, double count) {
  const fc_attention *a = &l->model->attention;
  double qk = (double)(a->nope + a->rope), v = (double)a->v, rank = (double)a->kv_lora;
  /* keys and values of the whole context are expanded from the latent cache, earlier chunks' too; training
   * expands its own tokens and passes the result round */
  double expanded = l->training ? l->tokens : l->prefill.batch * l->prefill.s;
  linear(l, FC_PART_DENSE, expanded, h * ((double)a->nope + v), rank, count);
  if (l->recompute_light) /* DeepSeek-V3 recomputes the up-projections (arXiv:2412.19437, 3.2.3) */
    add(l, FC_PASS_INPUT, FC_PART_DENSE,
        &(fc_op){
            .id = FC_OP_LINEAR, .dtype = l->gemm, .m = expanded, .n = h * ((double)a->nope + v), .k = rank},
        count);
  fc_op op = {.id = FC_OP_MLA_P, .dtype = l->mla, .batch = l->prefill.batch, .heads = h, .kv_heads = h};
  op.q = l->prefill.q;
  op.s = l->prefill.s;
  op.dk = qk;
  op.dv = v;
  core(l, op, true, count);
}

static void attention_mla(const fc_layer *l, double count) {
  const fc_attention *a = &l->model->attention;
  double H = (double)l->model->hidden, T = l->tokens, h = heads_here(l);
  double qk = (double)(a->nope + a->rope), rank = (double)a->kv_lora, down = rank + (double)a->rope;
  double q_rank = (double)a->q_lora;
  if (q_rank > 0) { /* down-projections of queries and keys fused; not split by tp */
    linear(l, FC_PART_DENSE, T, q_rank + down, H, count);
    norm(l, FC_OP_NORM, T, q_rank, count);
    linear(l, FC_PART_DENSE, T, h * qk, q_rank, count);
    if (l->training && l->recompute_light)
      add(l, FC_PASS_INPUT, FC_PART_DENSE,
          &(fc_op){.id = FC_OP_LINEAR, .dtype = l->gemm, .m = T, .n = h * qk, .k = q_rank}, count);
  } else {
    linear(l, FC_PART_DENSE, T, h * qk + down, H, count);
  }
  norm(l, FC_OP_NORM, T, rank, count);
  rope(l, h * (double)a->rope, (double)a->rope, down, count);
  if (l->prefill.batch > 0) mla_prefill(l, h, count);
  if (l->decode.batch > 0) mla_decode(l, h, count);
  context_parallel(l, h * (double)(a->nope + a->v) + (double)a->rope, count);
  quantise(l, T, h * (double)a->v, count);
  linear(l, FC_PART_DENSE, T, H, h * (double)a->v, count);
}

void fc_layer_attention(const fc_layer *l, double count) {
  norm(l, FC_OP_NORM_RESIDUAL, own_tokens(l), (double)l->model->hidden, count);
  if (l->model->attention.kind == FC_ATTENTION_MLA)
    attention_mla(l, count);
  else
    attention_gqa(l, count);
  tensor_parallel(l, count);
}

/* --- feed-forward --- */

static void swiglu(const fc_layer *l, double rows, double width, double count) {
  fc_op op = {.id = FC_OP_SWIGLU, .dtype = l->gemm, .m = rows, .n = width};
  add(l, FC_PASS_FORWARD, FC_PART_GLUE, &op, count);
  if (l->training)
    add(l, FC_PASS_INPUT, FC_PART_GLUE,
        &(fc_op){.id = FC_OP_SWIGLU_B, .dtype = FC_DTYPE_BF16, .m = rows, .n = width},
        count); /* recomputes the activation as it goes */
}

static void gated_ffn(const fc_layer *l, double inner, double count) {
  double H = (double)l->model->hidden, width = inner / l->tp;
  linear(l, FC_PART_DENSE, l->tokens, (l->model->plain_ffn ? 1 : 2) * width, H, count);
  swiglu(l, l->tokens, width, count);
  linear(l, FC_PART_DENSE, l->tokens, H, width, count);
}

void fc_layer_dense(const fc_layer *l, double count) {
  norm(l, FC_OP_NORM_RESIDUAL, own_tokens(l), (double)l->model->hidden, count);
  gated_ffn(l, (double)l->model->ffn, count);
  tensor_parallel(l, count);
}

/* Experts of this rank that get at least one of `rows` when routing is random. */
static double active_groups(double groups, double rows, bool ragged) {
  if (!ragged || rows >= 16 * groups) return fmin(groups, fmax(1, rows));
  return groups <= 1 ? 1 : fmax(1, groups * -expm1(rows * log1p(-1 / groups)));
}

typedef struct {
  double rows, groups; /* (token, expert) pairs on the busiest rank; experts in use there */
  bool ragged;
} share;

/* One call per group inside one operator: the host launches it once. */
static void add_loop(const fc_layer *l, fc_pass pass, const fc_op *one, double groups, double count) {
  add(l, pass, FC_PART_EXPERTS, one, count * groups);
  l->meter->bill->calls[pass] -= count * (groups - 1);
}

/* A product for all experts: one kernel or, in training, a library call for each where that is faster, as
 * frameworks have both. */
static void product(const fc_layer *l, fc_pass pass, const fc_op *op, double count) {
  if (l->training) {
    fc_op one = {.id = FC_OP_LINEAR, .dtype = op->dtype, .m = op->m / op->groups, .n = op->n, .k = op->k};
    one.weight_bytes = op->weight_bytes;
    double loop =
        op->groups * (fc_meter_seconds(l->meter, FC_PART_EXPERTS, &one) + l->meter->profile->launch_s);
    if (loop < fc_meter_seconds(l->meter, FC_PART_EXPERTS, op)) {
      add_loop(l, pass, &one, op->groups, count);
      return;
    }
  }
  add(l, pass, FC_PART_EXPERTS, op, count);
}

static void grouped(const fc_layer *l, const share *e, double n, double k, double count) {
  fc_op_id id = l->masked ? FC_OP_GROUPED_MASKED : FC_OP_GROUPED;
  fc_op op = {
      .id = id, .dtype = l->grouped, .m = e->rows, .n = n, .k = k, .groups = e->groups, .ragged = e->ragged};
  op.weight_bytes = fc_dtype_size(l->training ? l->grouped : l->storage);
  product(l, FC_PASS_FORWARD, &op, count);
  if (!l->training) return;
  op.n = k;
  op.k = n;
  product(l, FC_PASS_INPUT, &op, count);
  /* weight gradients: one call per expert, as DeepSeek's trace does */
  fc_op wgrad = {.id = FC_OP_WGRAD, .dtype = l->gemm, .m = n, .n = k, .k = e->rows / e->groups};
  add_loop(l, FC_PASS_WEIGHT, &wgrad, e->groups, count);
  if (!is_narrow(l->grouped)) return;
  add(l, FC_PASS_INPUT, FC_PART_GLUE,
      &(fc_op){.id = FC_OP_QUANT_TRANSPOSED, .dtype = l->grouped, .m = e->rows, .n = n}, count);
  add(l, FC_PASS_WEIGHT, FC_PART_GLUE, &(fc_op){.id = FC_OP_QUANT, .dtype = l->grouped, .m = e->rows, .n = k},
      count);
}

/* Dispatch and combine; backward runs the pair again in reverse (gradient of combine is a dispatch). */
static void expert_parallel(const fc_layer *l, double tokens, double count) {
  if (!(l->ep > 1)) return;
  const fc_moe *moe = &l->model->moe;
  fc_op op = {
      .dtype = l->grouped, .m = tokens, .n = (double)l->model->hidden, .ranks = l->ep, .domain = l->domain};
  if (l->bf16_dispatch) op.dtype = FC_DTYPE_BF16;
  op.top_k = (double)moe->active;
  op.imbalance = l->imbalance;
  if (moe->groups > 0 && moe->top_groups > 0) {
    op.route_groups = (double)moe->groups;
    op.route_top = (double)moe->top_groups;
  }
  op.id = l->low_latency ? FC_OP_DISPATCH_LL : FC_OP_DISPATCH;
  add(l, FC_PASS_FORWARD, FC_PART_EP, &op, count);
  if (l->training) add(l, FC_PASS_INPUT, FC_PART_EP, &op, count);
  op.dtype = FC_DTYPE_BF16;
  op.id = l->low_latency ? FC_OP_EP_REDUCE_LL : FC_OP_EP_REDUCE;
  add(l, FC_PASS_FORWARD, FC_PART_EP, &op, count);
  if (l->training) add(l, FC_PASS_INPUT, FC_PART_EP, &op, count);
}

/* Rows of tokens to their experts, and back; backward mirrors both. */
static void permute(const fc_layer *l, const share *e, double tokens_out, double count) {
  double H = (double)l->model->hidden;
  fc_op expand = {.id = FC_OP_PERMUTE, .dtype = l->grouped, .m = e->rows, .n = H, .k = tokens_out};
  fc_op reduce = {.id = FC_OP_COMBINE, .dtype = FC_DTYPE_BF16, .m = e->rows, .n = H, .k = tokens_out};
  if (!l->masked) add(l, FC_PASS_FORWARD, FC_PART_GLUE, &expand, count); /* low latency delivers by expert */
  if (!l->masked || !(l->ep > 1)) add(l, FC_PASS_FORWARD, FC_PART_GLUE, &reduce, count);
  if (!l->training) return;
  expand.id = FC_OP_PERMUTE_B;
  expand.dtype = FC_DTYPE_BF16;
  reduce.id = FC_OP_COMBINE_B;
  add(l, FC_PASS_INPUT, FC_PART_GLUE, &expand, count);
  add(l, FC_PASS_INPUT, FC_PART_GLUE, &reduce, count);
}

/* Is the shared expert one more routed expert, which every token chooses? */
static bool is_fused(const fc_layer *l) {
  const fc_engine *engine = l->meter->profile->engine;
  return engine && engine->fuses_shared && !l->training && l->model->moe.shared > 0 && !(l->ep > 1);
}

static void router(const fc_layer *l, double tokens, double count) {
  double H = (double)l->model->hidden, experts = (double)l->model->moe.experts;
  fc_dtype dtype = fc_meter_dtype(l->meter, FC_KERNEL_GEMM, FC_DTYPE_BF16);
  linear_as(l, FC_PART_GLUE, tokens, experts, H, dtype, dtype, count);
  add(l, FC_PASS_FORWARD, FC_PART_GLUE,
      &(fc_op){.id = FC_OP_TOPK, .dtype = FC_DTYPE_FP32, .m = tokens, .n = experts}, count);
  if (l->training)
    add(l, FC_PASS_INPUT, FC_PART_GLUE,
        &(fc_op){.id = FC_OP_TOPK_B, .dtype = FC_DTYPE_FP32, .m = tokens, .n = experts}, count);
}

/* Shared experts on a stream of their own, beside the routed ones: small products that mostly wait leave what
 * they take of the memory's bandwidth and of the peak. */
static void shared_beside(const fc_layer *l, double inner, double count) {
  fc_meter *m = l->meter;
  const fc_device *device = m->profile->device;
  double H = (double)l->model->hidden, width = inner / l->tp, before = m->seconds;
  fc_bill bill = *m->bill;
  gated_ffn(l, inner, count);
  fc_op up = {.id = FC_OP_LINEAR, .dtype = l->gemm, .m = l->tokens, .n = 2 * width, .k = H};
  up.weight_bytes = fc_dtype_size(l->storage);
  fc_op down = up;
  down.n = H;
  down.k = width;
  double least = count * (fc_op_roofline_s(&up, device) + fc_op_roofline_s(&down, device));
  *m->bill = bill;
  m->bill->s[FC_PASS_FORWARD][FC_PART_DENSE] += least;
  m->seconds = before + m->weight * least;
}

static void shared_experts(const fc_layer *l, double count) {
  const fc_moe *moe = &l->model->moe;
  const fc_engine *engine = l->meter->profile->engine;
  double inner = (double)(moe->inter * moe->shared);
  if (!(inner > 0) || is_fused(l)) return;
  if (engine && !l->training && l->tokens <= engine->shared_tokens)
    shared_beside(l, inner, count);
  else
    gated_ffn(l, inner, count);
}

/* The routed experts as one measured operator.  With attention split by data, the group's tokens are gathered
 * before and scattered after; with attention split by tensors every rank holds them all. */
static void measured_experts(const fc_layer *l, double count) {
  const fc_model *model = l->model;
  const fc_engine *engine = l->meter->profile->engine;
  const fc_format *format = fc_engine_experts(engine);
  double groups = l->ep > l->tp ? l->ep / l->tp : 1, tokens = l->tokens * groups;
  fc_op op = {.id = FC_OP_MOE, .dtype = format->dtype, .weight_bytes = format->weight_bytes};
  op.input_bytes = format->activation_bytes;
  op.n = (double)model->hidden;
  op.k = (double)model->moe.inter / l->moe_tp;
  op.tokens = tokens;
  op.top_k = (double)model->moe.active;
  op.ranks = l->ep;
  op.experts = fmax((double)model->moe.experts / l->ep, 1);
  op.skew = engine->expert_skew;
  op.ragged = op.skew > 0;
  fc_moe_busiest(&op.m, &op.groups, tokens, op.top_k, (double)model->moe.experts, l->ep, op.skew);
  if (l->busiest > 0 && l->ep > 1) op.m = fmax(1, tokens * op.top_k / l->ep * l->busiest);
  op.imbalance = op.m * l->ep / (tokens * op.top_k);
  /* to the busiest rank's experts it is as if more tokens had come */
  double drawn = fc_moe_drawn(tokens * op.imbalance, op.top_k, (double)model->moe.experts, op.skew);
  op.groups = fmin(fmax(drawn * op.experts, 1), fmax(op.m, 1));
  if (is_fused(l)) {
    double shared = (double)model->moe.shared;
    op.m += shared * tokens;
    op.groups += shared;
    op.experts += shared;
    op.top_k += shared;
  }
  add(l, FC_PASS_FORWARD, FC_PART_EXPERTS, &op, count);
  if (!(groups > 1)) return;
  fc_op all = {.id = FC_OP_ALL_GATHER, .dtype = FC_DTYPE_BF16, .ranks = groups, .domain = l->domain};
  all.payload_bytes = 2 * l->tokens * (double)model->hidden;
  add(l, FC_PASS_FORWARD, FC_PART_TP, &all, count);
  all.id = FC_OP_REDUCE_SCATTER;
  add(l, FC_PASS_FORWARD, FC_PART_TP, &all, count);
}

void fc_layer_moe(const fc_layer *l, double count) {
  const fc_moe *moe = &l->model->moe;
  double H = (double)l->model->hidden, inner = (double)moe->inter / l->moe_tp;
  /* as one operator, tokens whole on every tensor-parallel rank: as far as measured serving has validated it;
   * wider, engines dispatch to grouped products */
  enum { RANKS = 8 };
  bool engine = l->meter->profile->engine && !l->training && l->ep <= fmin(l->domain, RANKS);
  double sent =
      l->ep > 1 && !engine ? l->tokens / l->tp : l->tokens; /* tokens that this rank routes and sends */
  norm(l, FC_OP_NORM_RESIDUAL, own_tokens(l), H, count);
  router(l, sent, count);
  if (engine) {
    measured_experts(l, count);
    shared_experts(l, count);
    tensor_parallel(l, count);
    return;
  }
  share e = {.rows = l->moe_tokens * (double)moe->active / l->ep * l->imbalance, .ragged = l->imbalance > 1};
  e.groups = active_groups(ceil((double)moe->experts / l->ep), e.rows, e.ragged);
  expert_parallel(l, sent, count);
  permute(l, &e, fmin(e.rows, l->moe_tokens), count);
  grouped(l, &e, 2 * inner, H, count);
  swiglu(l, e.rows, inner, count);
  grouped(l, &e, H, inner, count);
  if (moe->shared > 0) gated_ffn(l, (double)(moe->inter * moe->shared), count);
  /* with expert parallelism the tokens stay split: only a shared expert split by tp needs them together */
  if (!(l->ep > 1) || (l->training && moe->shared > 0)) tensor_parallel(l, count);
}

/* --- ends --- */

void fc_layer_embedding(const fc_layer *l, double count) {
  fc_op op = {.id = FC_OP_EMBED, .dtype = FC_DTYPE_BF16, .m = own_tokens(l), .n = (double)l->model->hidden};
  add(l, FC_PASS_FORWARD, FC_PART_HEAD, &op, count);
  if (l->training) add(l, FC_PASS_WEIGHT, FC_PART_HEAD, &op, count);
}

void fc_layer_head(const fc_layer *l, double rows, double count) {
  if (!(rows > 0)) return;
  double H = (double)l->model->hidden, V = (double)l->model->vocab / l->tp;
  fc_dtype dtype = fc_meter_dtype(l->meter, FC_KERNEL_GEMM, FC_DTYPE_BF16);
  norm(l, FC_OP_NORM_RESIDUAL, l->training && !l->whole_norms ? rows / l->tp : rows, H, count);
  linear_as(l, FC_PART_HEAD, rows, V, H, dtype, dtype, count);
  fc_op op = {.id = FC_OP_SAMPLE, .dtype = FC_DTYPE_FP32, .m = rows, .n = V};
  if (l->training) op = (fc_op){.id = FC_OP_CROSS_ENTROPY, .dtype = FC_DTYPE_BF16, .m = rows, .n = V};
  add(l, FC_PASS_FORWARD, FC_PART_HEAD, &op, count);
}

void fc_layer_mtp_projection(const fc_layer *l, double count) {
  double H = (double)l->model->hidden;
  linear(l, FC_PART_DENSE, l->tokens, H, 2 * H, count);
}
