/* SPDX-License-Identifier: Apache-2.0 */
#include "train_chains.h"

/* Reads and writes a chain's `bytes` in all: every kernel of it passes through memory. */
static void stream(const fc_layer *l, fc_pass pass, fc_part part, double bytes) {
  fc_op op = {.id = FC_OP_COPY, .dtype = FC_DTYPE_BF16, .payload_bytes = bytes / 2};
  (void)fc_meter_add(l->meter, pass, part, &op, 1);
}

/* Bytes an element, forward and backward, kernel by kernel.  @source Megatron-LM core_v0.16.0: experts.py,
 * _apply_bias, in FP32 because the router's weight is (scale, add, join, cast: 4 + 10 + 8 + 6; cast, to the
 * product's gradient, joined, to bias and to weight by a product and a sum: 6 + 6 + 4 + 12 + 12);
 * fused_bias_geglu.py, weighted_bias_quick_geglu_impl (clamp, join: 4 + 4; clamp, join: 6 + 4);
 * rope_utils.py, _apply_rotary_pos_emb_bshd, which TE's kernel gives way to where the scale is not 1 (two
 * products, rotate, add, join: 24; 20), less what the fused kernel takes; token_dispatcher.py,
 * sort_chunks_by_idxs (twice 4) */
enum { BIAS_F = 28, BIAS_B = 40, CLAMP_F = 8, CLAMP_B = 10, ROPE_F = 20, ROPE_B = 16, SORT = 8 };

/* NCCL's all-to-all of every row for each of its experts, over the kernels that the layer's bill holds. */
static void plain_all_to_all(const fc_layer *l, bool backward) {
  double tokens = l->tokens / l->tp, hidden = (double)l->model->hidden;
  fc_op op = {.id = FC_OP_DISPATCH, .dtype = FC_DTYPE_BF16, .m = tokens, .n = hidden, .ranks = l->ep};
  if (!l->bf16_dispatch) op.dtype = l->grouped;
  op.domain = l->domain;
  op.top_k = (double)l->model->moe.active;
  op.imbalance = l->imbalance;
  double kernels = fc_meter_seconds(l->meter, FC_PART_EP, &op);
  op.id = FC_OP_EP_REDUCE;
  op.dtype = FC_DTYPE_BF16;
  kernels += fc_meter_seconds(l->meter, FC_PART_EP, &op);
  op.id = FC_OP_ALL_TO_ALL;
  op.payload_bytes = 2 * tokens * op.top_k * hidden * l->imbalance;
  double more = 2 * fc_meter_seconds(l->meter, FC_PART_EP, &op) - kernels;
  l->meter->bill->s[FC_PASS_FORWARD][FC_PART_EP] += more;
  if (backward) l->meter->bill->s[FC_PASS_INPUT][FC_PART_EP] += more;
}

void fc_train_chains(const fc_layer *l, const fc_train_plan *plan, fc_train_block which, bool backward) {
  unsigned eager = plan->eager;
  if (eager == 0) return;
  const fc_model *m = l->model;
  if (which == FC_BLOCK_ATTENTION && m->attention.kind == FC_ATTENTION_GQA && (eager & FC_EAGER_ROPE)) {
    double heads = (double)(m->attention.heads + m->attention.kv_heads) / l->tp;
    double elements = l->tokens * heads * (double)m->attention.head_dim;
    stream(l, FC_PASS_FORWARD, FC_PART_ATTENTION, ROPE_F * elements);
    if (backward) stream(l, FC_PASS_INPUT, FC_PART_ATTENTION, ROPE_B * elements);
  }
  if (which != FC_BLOCK_MOE) return;
  double rows = l->moe_tokens * (double)m->moe.active / l->ep * l->imbalance;
  double out = rows * (double)m->hidden, gated = 2 * rows * (double)m->moe.inter / l->moe_tp;
  if (eager & FC_EAGER_BIAS) {
    stream(l, FC_PASS_FORWARD, FC_PART_EXPERTS, BIAS_F * out);
    if (backward) stream(l, FC_PASS_INPUT, FC_PART_EXPERTS, BIAS_B * out);
  }
  if (eager & FC_EAGER_CLAMP) { /* recomputed with the activation */
    bool again = plan->recompute == FC_RECOMPUTE_SELECTIVE;
    stream(l, FC_PASS_FORWARD, FC_PART_EXPERTS, CLAMP_F * gated);
    if (backward) stream(l, FC_PASS_INPUT, FC_PART_EXPERTS, (CLAMP_B + (again ? CLAMP_F : 0)) * gated);
  }
  if (!(eager & FC_EAGER_SORT) || !(l->ep > 1)) return;
  plain_all_to_all(l, backward);
  if (m->moe.experts <= (int64_t)l->ep) return; /* one expert: sorted as they come */
  stream(l, FC_PASS_FORWARD, FC_PART_EXPERTS, SORT * out);
  if (backward) stream(l, FC_PASS_INPUT, FC_PART_EXPERTS, SORT * out);
}
