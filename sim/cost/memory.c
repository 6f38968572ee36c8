/* SPDX-License-Identifier: Apache-2.0 */
/* What a device must hold: serving and training.  Model: docs/model.md#memory. */
#include <math.h>

#include <fleetcast/cost/serve_step.h>
#include <fleetcast/cost/train_step.h>

#include "meter.h"
#include "params.h"
#include "stage.h"

static double embedding_params(const fc_model *model) {
  return (double)model->vocab * (double)model->hidden;
}

/* Cache elements of one layer and token on one rank: MLA's latent is whole on every rank of tp. */
static double cache_elements(const fc_model *model, double tp) {
  const fc_attention *a = &model->attention;
  if (a->kind == FC_ATTENTION_MLA) return (double)(a->kv_lora + a->rope);
  return 2 * (double)a->head_dim * fmax(1, (double)a->kv_heads / tp);
}

void fc_cost_serve_memory(fc_serve_memory *out, const fc_model *model, const fc_device *device,
                          const fc_serve_plan *plan, double context) {
  double tp = (double)plan->tp, layers = (double)model->layers, moe = fc_params_moe_layers(model);
  double ways = plan->ep > 1 ? (double)plan->ep * (tp > (double)plan->ep ? tp / (double)plan->ep : 1) : tp;
  double split = layers * fc_params_attention(model) + (layers - moe) * fc_params_ffn(model) +
                 moe * fc_params_expert(model) * (double)model->moe.shared;
  double experts = moe * fc_params_expert(model) * (double)model->moe.experts;
  double heads =
      embedding_params(model) * (model->tied_embeddings ? 1 : 2) +
      moe * (double)model->moe.experts * (double)model->hidden * tp; /* router: whole on every rank */
  /* embedding, head and router stay in BF16, as the released FP8 and FP4 checkpoints do */
  out->weight_bytes = (split / tp + experts / ways) * fc_dtype_size(plan->gemm) + heads / tp * 2;
  if (model->mtp_layers > 0 && model->moe.experts > 0)
    out->weight_bytes += (double)model->mtp_layers * fc_params_expert(model) * (double)model->moe.experts /
                         ways * fc_dtype_size(plan->gemm);
  out->room_bytes = device->memory_bytes * plan->memory_fraction - out->weight_bytes;
  double windowed = model->attention.window > 0 ? (double)model->attention.window_layers : 0;
  double near = fmin(context, model->attention.window > 0 ? (double)model->attention.window : context);
  out->kv_bytes_per_request =
      cache_elements(model, tp) * fc_dtype_size(plan->kv) * ((layers - windowed) * context + windowed * near);
}

/* --- training --- */

static bool is_narrow(fc_dtype dtype) {
  return dtype == FC_DTYPE_FP8 || dtype == FC_DTYPE_FP4;
}

/* Saved by one attention block, bytes a token before splitting by tp.  Narrow linear layers keep their inputs
 * in 8 bits.  Selective recomputation drops norm outputs and MLA's up-projections; DeepSeek-V3 then keeps the
 * attention output in 12 bits. @source arXiv:2205.05198 (what a layer saves), arXiv:2412.19437 3.2.3
 * and 3.3.3 */
static double attention_saved(const fc_model *model, double e, bool light) {
  const fc_attention *a = &model->attention;
  double H = (double)model->hidden, h = (double)a->heads, input = 2 * H + (light ? 0 : e * H);
  if (a->kind == FC_ATTENTION_GQA) {
    double d = (double)a->head_dim;
    return input + 2 * d * (h + 2 * (double)a->kv_heads) + 2 * h * d;
  }
  double qk = (double)(a->nope + a->rope), v = (double)a->v;
  double latent = 2 * (double)(a->q_lora + a->kv_lora + a->rope);
  double output = (light && e == 1 ? 1.5 : 2) * h * v;
  return input + latent + output + (light ? 0 : 2 * h * (2 * qk + v));
}

/* Inputs of the activation: gate and up, or up alone; SwiGLU's in 8 bits in DeepSeek-V3. */
static double ffn_saved(double hidden, double inner, double e, bool light, bool plain) {
  double up = (e == 1 && light ? 1.0 : 2.0) * (plain ? 1 : 2) * inner;
  return e * hidden + up + (light ? 0 : e * inner);
}

/* What attention through memory keeps more, of a token that sees `context`: softmax, its dropout's mask and
 * output (5 bytes a score), and two masks of the hidden size.  @source arXiv:2205.05198, section 4.1 */
static double unfused_saved(const fc_model *model, const fc_train_plan *plan) {
  double scores = plan->recompute == FC_RECOMPUTE_NONE ? (double)plan->sequence : 0;
  return 5 * (double)model->attention.heads * scores + 2 * (double)model->hidden;
}

/* Bytes that one layer keeps for backward, of one token, before splitting by tp; `routed`: of each (token,
 * expert) pair that a rank receives. */
static double layer_saved(const fc_model *model, const fc_train_plan *plan) {
  double H = (double)model->hidden, e = is_narrow(plan->gemm) ? 1 : 2;
  bool unfused = plan->unfused_attention, plain = model->plain_ffn;
  bool light = plan->recompute != FC_RECOMPUTE_NONE && !unfused; /* there, the scores alone come again */
  if (plan->recompute == FC_RECOMPUTE_FULL) return 2 * H;
  double saved = attention_saved(model, e, light) + 2 * H + (unfused ? unfused_saved(model, plan) : 0);
  if (model->moe.experts == 0) return saved + ffn_saved(H, (double)model->ffn, e, light, plain);
  double inner = (double)model->moe.inter, skew = plan->expert_imbalance > 1 ? plan->expert_imbalance : 1;
  return saved + (double)model->moe.shared * ffn_saved(H, inner, e, light, false) +
         (double)model->moe.active * skew * ffn_saved(H, inner, e, light, false);
}

enum { FIRST, INNER, LAST };

/* Stage activations that a device holds, in micro-batches.
 * @source DualPipe README (PP, PP, PP+1); interleaved: arXiv:2205.05198, section 4.2.3, and its warm-up of
 * 2(p - rank - 1) + (v - 1)p chunks in Megatron-LM's schedules.py */
static double in_flight(const fc_train_plan *plan, double micro_batches, int place) {
  double p = (double)plan->pp, v = fmax(1, (double)plan->virtual_stages);
  double after = place == FIRST ? p - 1 : place == INNER ? p - 2 : 0; /* stages behind this one */
  double n = after + 1;
  if (plan->schedule == FC_SCHEDULE_INTERLEAVED) n = ((v - 1) * p + 2 * after + 1) / v;
  if (plan->schedule == FC_SCHEDULE_ZB1P) n = p;
  if (plan->schedule == FC_SCHEDULE_DUALPIPE) n = p + 1;
  if (plan->schedule == FC_SCHEDULE_DUALPIPEV) n = p + 0.5; /* 2p + 1 of half the size */
  return fmin(n, micro_batches);
}

/* Communication: the sequence gathered over tp, two messages between stages, dispatch and combine of one
 * layer, sent and received, in BF16; with ZeRO-3 two layers' weights and a table of the vocabulary, gathered.
 */
static double buffers(const fc_model *m, const fc_train_plan *plan, double tokens, double layer_params) {
  double row = 2 * (double)m->hidden, tp = (double)plan->tp, bytes = 0;
  if (plan->tp > 1) bytes += 2 * tokens * row;
  if (plan->pp > 1) bytes += 2 * tokens * row / tp;
  double skew = plan->expert_imbalance > 1 ? plan->expert_imbalance : 1;
  if (plan->ep > 1) bytes += 2 * tokens / tp * row * (1 + (double)m->moe.active * skew);
  if (plan->zero >= 3) bytes += 2 * (2 * layer_params + embedding_params(m) / tp);
  return bytes;
}

/* What comes and goes: with full recomputation one layer whole; the logits of a micro-batch, which are gone
 * when the layers' backward begins: in BF16 with an FP32 softmax (6 bytes) or, in a chain, BF16, its FP32
 * copy, log-softmax and their gradient (14). @source Megatron-LM, vocab_parallel_cross_entropy; torch's
 * cross_entropy over logits.float(), as torchtitan's losses.py */
static double transient(const fc_model *m, const fc_train_plan *plan, double tokens, bool head) {
  double tp = (double)plan->tp, layer = 0;
  if (plan->recompute == FC_RECOMPUTE_FULL) {
    fc_train_plan none = *plan;
    none.recompute = FC_RECOMPUTE_NONE;
    layer = layer_saved(m, &none) * tokens / tp;
  }
  double logits = head ? tokens * (double)m->vocab / tp * (plan->eager & FC_EAGER_LOSS ? 14 : 6) : 0;
  return fmax(layer, logits);
}

/* Adds what one device with `stage` on it holds; in DualPipe `stage` is the mean of its two. */
static void device_memory(fc_train_memory *out, const fc_model *m, const fc_train_plan *plan,
                          const fc_stage *stage, int place) {
  double tp = (double)plan->tp, cp = (double)plan->cp;
  double dp = (double)plan->devices / (tp * (double)plan->pp * cp), ranks = dp * cp;
  bool sparse = m->moe.experts > 0, narrow = is_narrow(plan->gemm);
  double stages_held = plan->schedule == FC_SCHEDULE_DUALPIPE ? 2 : 1;
  const double *count = stage->count;
  double layers = count[FC_KIND_LAYER] + count[FC_KIND_MTP], all = layers + count[FC_KIND_DENSE];
  double experts = sparse ? layers * (double)m->moe.experts * fc_params_expert(m) : 0;
  double per_layer =
      sparse ? fc_params_expert(m) * (double)m->moe.shared + (double)m->moe.experts * (double)m->hidden
             : fc_params_ffn(m);
  double tables = (count[FC_KIND_EMBEDDING] + count[FC_KIND_HEAD]) * embedding_params(m);
  if (m->tied_embeddings && plan->pp == 1) tables *= 0.5;
  /* tables and routers are kept in BF16 alone */
  double linear = all * fc_params_attention(m) + layers * per_layer + count[FC_KIND_DENSE] * fc_params_ffn(m);
  linear *= stages_held / tp;
  tables *= stages_held / tp;
  experts *= stages_held / (plan->ep > 1 ? (double)plan->ep : tp);
  double expert_ranks = plan->ep > 1 ? ranks * tp / (double)plan->ep : ranks;
  double layer_params = all > 0 ? (linear + experts) / all : 0;
  double whole = linear + tables + experts, shard = (linear + tables) / ranks + experts / expert_ranks;
  double share = whole > 0 ? shard / whole : 1;
  out->weight_bytes = (2 * whole + (narrow ? linear + experts : 0)) * (plan->zero >= 3 ? share : 1);
  out->gradient_bytes = (plan->bf16_gradients ? 2 : 4) * (plan->zero >= 2 ? shard : whole);
  out->optimizer_bytes = (narrow ? 8 : 12) * (plan->zero >= 1 ? shard : whole);
  double tokens = (double)plan->micro_batch * (double)plan->sequence / cp;
  double micro_batches = (double)plan->global_batch / (dp * (double)plan->micro_batch);
  double layer = layer_saved(m, plan) * tokens / tp;
  out->activation_bytes = in_flight(plan, micro_batches, place) * all * layer;
  out->buffer_bytes = buffers(m, plan, tokens, layer_params);
  out->fragment_bytes = FC_TRAIN_FRAGMENTED * out->activation_bytes;
  out->other_bytes = FC_TRAIN_RESERVED_BYTES + transient(m, plan, tokens, count[FC_KIND_HEAD] > 0);
  out->total_bytes = out->weight_bytes + out->gradient_bytes + out->optimizer_bytes + out->activation_bytes +
                     out->buffer_bytes + out->fragment_bytes + out->other_bytes;
}

/* Layers are k p - 2 where the ends shall hold one less than the rest, for the embedding and the head.
 * @source Llama 3 (arXiv:2407.21783, section 3.3.2: 126 layers on 16 stages), arXiv:2401.10241, section 5.1
 */
static double first_more(const fc_model *model, const fc_train_plan *plan) {
  bool dual = plan->schedule == FC_SCHEDULE_DUALPIPE || plan->schedule == FC_SCHEDULE_DUALPIPEV;
  return plan->pp > 2 && !dual && (model->layers + 2) % plan->pp == 0 ? -1 : 0;
}

void fc_cost_train_memory(fc_train_memory *out, const fc_model *model, const fc_train_plan *plan) {
  fc_stage of[3];
  double most = ceil((double)model->layers / (double)plan->pp);
  int n = fc_stage_deal(of, model, plan, most, first_more(model, plan));
  *out = (fc_train_memory){0};
  for (int i = 0; i < n; i++) {
    fc_train_memory one;
    device_memory(&one, model, plan, &of[i], i == 2 ? LAST : i);
    if (one.total_bytes > out->total_bytes) *out = one;
  }
}

double fc_train_memory_spare(const fc_train_memory *memory, const fc_device *device) {
  return device->memory_bytes - memory->total_bytes;
}
