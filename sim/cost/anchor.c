/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/cost/anchor.h>

#include <string.h>

/* clang-format off */
#define COLUMN(name, member) {(name), offsetof(fc_op, member), false}
#define RAGGED               {"ragged", offsetof(fc_op, ragged), true}

static const fc_anchor_column gemm_columns[] = {
    COLUMN("m", m), COLUMN("n", n), COLUMN("k", k), COLUMN("groups", groups), RAGGED};
static const fc_anchor_column moe_columns[] = {
    COLUMN("tokens", tokens), COLUMN("hidden", n), COLUMN("inter", k), COLUMN("experts", experts),
    COLUMN("topk", top_k), COLUMN("ep", ranks), COLUMN("skew", skew), COLUMN("rows", m), COLUMN("hit", groups),
    COLUMN("imbalance", imbalance)};
static const fc_anchor_column attention_columns[] = {
    COLUMN("batch", batch), COLUMN("heads", heads), COLUMN("kv_heads", kv_heads), COLUMN("head_dim", dk),
    COLUMN("q_len", q), COLUMN("kv_len", s), COLUMN("window", window)};
static const fc_anchor_column mla_columns[] = {
    COLUMN("batch", batch), COLUMN("heads", heads), COLUMN("head_dim", dk), COLUMN("q_len", q),
    COLUMN("kv_len", s)};
static const fc_anchor_column stream_columns[] = {
    COLUMN("m", m), COLUMN("n", n), COLUMN("k", k), COLUMN("topk", top_k), COLUMN("bytes", payload_bytes)};
static const fc_anchor_column expert_columns[] = {
    COLUMN("tokens", m), COLUMN("hidden", n), COLUMN("experts", experts), COLUMN("topk", top_k),
    COLUMN("gpus", ranks), COLUMN("domain", domain), COLUMN("route_groups", route_groups),
    COLUMN("route_top", route_top), COLUMN("imbalance", imbalance)};
static const fc_anchor_column collective_columns[] = {
    COLUMN("bytes", payload_bytes), COLUMN("gpus", ranks), COLUMN("domain", domain)};
/* clang-format on */

static fc_op_id only_operator(fc_kernel kernel) {
  fc_op_id found = FC_OP_COUNT;
  for (int id = 0; id < FC_OP_COUNT; id++) {
    if (fc_op_kernel((fc_op_id)id) != kernel) continue;
    if (found != FC_OP_COUNT) return FC_OP_COUNT;
    found = (fc_op_id)id;
  }
  return found;
}

fc_op_id fc_anchor_op(fc_kernel kernel, const char *text, size_t length) {
  for (int id = 0; id < FC_OP_COUNT; id++) {
    const char *name = fc_op_text((fc_op_id)id);
    if (fc_op_kernel((fc_op_id)id) == kernel && strlen(name) == length && memcmp(name, text, length) == 0)
      return (fc_op_id)id;
  }
  return FC_OP_COUNT;
}

#define OF(array)                                                                                            \
  (fc_anchor_columns) {                                                                                      \
    sizeof(array) / sizeof *(array), (array), only_operator(kernel)                                          \
  }

fc_anchor_columns fc_anchor_columns_of(fc_kernel kernel) {
  switch (kernel) {
  case FC_KERNEL_GEMM:
  case FC_KERNEL_GEMM_WGRAD:
  case FC_KERNEL_GROUPED_GEMM:
  case FC_KERNEL_GROUPED_GEMM_MASKED:
  case FC_KERNEL_MLA_ABSORB_K:
  case FC_KERNEL_MLA_ABSORB_V: return OF(gemm_columns);
  case FC_KERNEL_MOE_FFN: return OF(moe_columns);
  case FC_KERNEL_ATTENTION_PREFILL:
  case FC_KERNEL_ATTENTION_DECODE:
  case FC_KERNEL_ATTENTION_BACKWARD: return OF(attention_columns);
  case FC_KERNEL_MLA_PREFILL:
  case FC_KERNEL_MLA_DECODE:
  case FC_KERNEL_MLA_BACKWARD: return OF(mla_columns);
  case FC_KERNEL_MEMORY:
  case FC_KERNEL_GATHER: return OF(stream_columns);
  case FC_KERNEL_EP_DISPATCH:
  case FC_KERNEL_EP_COMBINE:
  case FC_KERNEL_EP_DISPATCH_LL:
  case FC_KERNEL_EP_COMBINE_LL: return OF(expert_columns);
  case FC_KERNEL_ALL_REDUCE:
  case FC_KERNEL_ALL_GATHER:
  case FC_KERNEL_REDUCE_SCATTER:
  case FC_KERNEL_ALL_TO_ALL:
  case FC_KERNEL_SEND_RECV: return OF(collective_columns);
  case FC_KERNEL_COUNT: break;
  }
  return (fc_anchor_columns){0, NULL, FC_OP_COUNT};
}

double fc_anchor_get(const fc_op *op, const fc_anchor_column *column) {
  const char *at = (const char *)op + column->offset;
  if (column->flag) return (double)*(const bool *)at;
  double value;
  memcpy(&value, at, sizeof value);
  return value;
}

void fc_anchor_set(fc_op *op, const fc_anchor_column *column, double value) {
  char *at = (char *)op + column->offset;
  if (column->flag)
    *(bool *)at = value != 0;
  else
    memcpy(at, &value, sizeof value);
}

/* DeepSeek's sizes, which all MLA models so far share; small ones of a CPU in proportion.  @source
 * arXiv:2412.19437: 128 + 64 and 128 expanded, 512 + 64 latent */
enum { MLA_QK = 192, MLA_V = 128, MLA_LATENT = 512, MLA_ROPE = 64 };

void fc_anchor_complete(fc_op *op, fc_kernel kernel, const fc_format *format, const fc_format *kv) {
  double cached = kv ? kv->activation_bytes : 2;
  op->dtype = format->dtype;
  op->weight_bytes = format->weight_bytes;
  op->input_bytes = format->activation_bytes;
  switch (kernel) {
  case FC_KERNEL_MOE_FFN: op->ragged = op->skew > 0; break;
  case FC_KERNEL_ATTENTION_PREFILL:
  case FC_KERNEL_ATTENTION_DECODE:
  case FC_KERNEL_ATTENTION_BACKWARD:
    op->dv = op->dk;
    op->cache_bytes = 2 * op->kv_heads * op->dk * cached;
    break;
  case FC_KERNEL_MLA_PREFILL:
  case FC_KERNEL_MLA_BACKWARD:
    op->kv_heads = op->heads;
    if (!(op->dk > 0)) op->dk = MLA_QK;
    op->dv = op->dk * MLA_V / MLA_QK;
    break;
  case FC_KERNEL_MLA_DECODE:
    op->kv_heads = 1;
    if (!(op->dk > 0)) op->dk = MLA_LATENT + MLA_ROPE;
    op->dv = op->dk * MLA_LATENT / (MLA_LATENT + MLA_ROPE);
    op->cache_bytes = op->dk * cached;
    break;
  default: break;
  }
}
