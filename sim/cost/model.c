/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/cost/model.h>

#include "meter.h"
#include "params.h"

/* Weights of the linear layers of one layer's attention. */
double fc_params_attention(const fc_model *model) {
  const fc_attention *a = &model->attention;
  double H = (double)model->hidden, h = (double)a->heads;
  if (a->kind == FC_ATTENTION_GQA) {
    double d = (double)a->head_dim;
    return H * d * (2 * h + 2 * (double)a->kv_heads);
  }
  double qk = (double)(a->nope + a->rope), kv = (double)a->kv_lora, q = (double)a->q_lora;
  double queries = q > 0 ? H * q + q * h * qk : H * h * qk;
  return queries + H * (kv + (double)a->rope) + kv * h * (double)(a->nope + a->v) + h * (double)a->v * H;
}

double fc_params_ffn(const fc_model *model) {
  return (model->plain_ffn ? 2 : 3) * (double)model->hidden * (double)model->ffn;
}

double fc_params_expert(const fc_model *model) {
  return 3 * (double)model->hidden * (double)model->moe.inter;
}

double fc_params_moe_layers(const fc_model *model) {
  return model->moe.experts > 0 ? (double)(model->layers - model->dense_layers) : 0;
}

/* Layers, embedding, head; `experts` routed experts counted in an MoE layer.  Norm weights (two vectors a
 * layer) are counted, biases are not known. */
static double params_with(const fc_model *model, double experts) {
  double H = (double)model->hidden, L = (double)model->layers, moe = fc_params_moe_layers(model);
  double total = L * (fc_params_attention(model) + 2 * H) + (L - moe) * fc_params_ffn(model);
  if (moe > 0)
    total += moe * (fc_params_expert(model) * (experts + (double)model->moe.shared) +
                    (double)model->moe.experts * H);
  return total + (double)model->vocab * H * (model->tied_embeddings ? 1 : 2) + H;
}

double fc_model_params(const fc_model *model) {
  return params_with(model, (double)model->moe.experts);
}

double fc_model_active_params(const fc_model *model) {
  return params_with(model, (double)model->moe.active);
}

double fc_model_kv_bytes_per_token(const fc_model *model, fc_dtype dtype) {
  const fc_attention *a = &model->attention;
  double elements = a->kind == FC_ATTENTION_MLA ? (double)(a->kv_lora + a->rope)
                                                : 2 * (double)a->kv_heads * (double)a->head_dim;
  return (double)model->layers * elements * fc_dtype_size(dtype);
}

/* Attention core, FLOP of one query against `context` keys over all layers. */
static double core_flop(const fc_model *model, double context) {
  const fc_attention *a = &model->attention;
  double sizes = a->kind == FC_ATTENTION_MLA ? (double)(a->nope + a->rope + a->v) : 2 * (double)a->head_dim;
  double windowed = a->window > 0 ? (double)a->window_layers : 0;
  double near = a->window > 0 && context > (double)a->window ? (double)a->window : context;
  return 2 * (double)a->heads * sizes * (((double)model->layers - windowed) * context + windowed * near);
}

/* Linear layers of the trunk, without embedding and head. */
static double trunk_linear(const fc_model *model) {
  double moe = fc_params_moe_layers(model), L = (double)model->layers;
  double total = L * fc_params_attention(model) + (L - moe) * fc_params_ffn(model);
  if (moe > 0)
    total += moe * (fc_params_expert(model) * (double)(model->moe.active + model->moe.shared) +
                    (double)model->moe.experts * (double)model->hidden);
  return total;
}

double fc_model_forward_flop_per_token(const fc_model *model, double context) {
  return 2 * (trunk_linear(model) + (double)model->vocab * (double)model->hidden) + core_flop(model, context);
}

double fc_model_train_flop_per_token(const fc_model *model, double sequence, bool with_mtp) {
  double forward = fc_model_forward_flop_per_token(model, sequence / 2);
  if (with_mtp && model->mtp_layers > 0) {
    /* each: a projection 2H -> H, one layer of the last kind, the shared head */
    double H = (double)model->hidden, last = fc_params_attention(model);
    last += model->moe.experts > 0
                ? fc_params_expert(model) * (double)(model->moe.active + model->moe.shared) +
                      (double)model->moe.experts * H
                : fc_params_ffn(model);
    forward += (double)model->mtp_layers * (2 * (last + 2 * H * H + (double)model->vocab * H) +
                                            core_flop(model, sequence / 2) / (double)model->layers);
  }
  return 3 * forward;
}
