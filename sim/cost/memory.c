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
 * output (5 bytes a score).  @source arXiv:2205.05198, section 4.1 */
static double unfused_saved(const fc_model *model, const fc_train_plan *plan) {
  double scores = plan->recompute == FC_RECOMPUTE_NONE ? (double)plan->sequence : 0;
  return 5 * (double)model->attention.heads * scores;
}

/* Width of the feed-forwards that a token passes: routed, of the rows that the busiest rank receives. */
static double ffn_width(const fc_model *model, const fc_train_plan *plan) {
  if (model->moe.experts == 0) return (double)model->ffn;
  double skew = plan->expert_imbalance > 1 ? plan->expert_imbalance : 1;
  return (double)model->moe.inter * ((double)model->moe.shared + (double)model->moe.active * skew);
}

static bool again_by_operator(const fc_model *model, const fc_train_plan *plan) {
  return plan->recompute == FC_RECOMPUTE_SELECTIVE && plan->alternate_products && model->moe.experts == 0;
}

/* Where every second product's output is kept (of q, k, v, o, gate, up, down: the odd ones), attention's and
 * the layer's input.  @source torchtitan 9dec370, parallelize_llama.py, _save_list */
static double alternate_saved(const fc_model *model) {
  const fc_attention *a = &model->attention;
  double H = (double)model->hidden, d = (double)a->head_dim;
  return 2 * H + 2 * d * (2 * (double)a->heads + (double)a->kv_heads) + 2 * (double)model->ffn +
         (model->plain_ffn ? 0 : 2 * H);
}

/* Bytes that one layer keeps for backward, of one token, before splitting by tp; of dropout's masks a byte an
 * element each. */
static double layer_saved(const fc_model *model, const fc_train_plan *plan) {
  double H = (double)model->hidden, e = is_narrow(plan->gemm) ? 1 : 2;
  bool unfused = plan->unfused_attention, plain = model->plain_ffn;
  bool light = plan->recompute != FC_RECOMPUTE_NONE && !unfused; /* there, the scores alone come again */
  if (plan->recompute == FC_RECOMPUTE_FULL) return 2 * H;
  if (again_by_operator(model, plan)) return alternate_saved(model);
  double saved = attention_saved(model, e, light) + 2 * H + (unfused ? unfused_saved(model, plan) : 0);
  if (unfused || plan->dropout) saved += 2 * H;
  if (plan->eager & FC_EAGER_GLU && !plain) saved += 2 * ffn_width(model, plan); /* silu of one half */
  if (model->moe.experts == 0) return saved + ffn_saved(H, (double)model->ffn, e, light, plain);
  double inner = (double)model->moe.inter, skew = plan->expert_imbalance > 1 ? plan->expert_imbalance : 1;
  return saved + (double)model->moe.shared * ffn_saved(H, inner, e, light, false) +
         (double)model->moe.active * skew * ffn_saved(H, inner, e, light, false);
}

/* Of it, what every rank of tp holds whole where there is no sequence parallelism: the layer's input, inputs
 * of norms and of the products behind them, masks: 10 of 34 sbh of a GPT layer.
 * @source arXiv:2205.05198, section 4.2.1 */
static double whole_saved(const fc_model *model, const fc_train_plan *plan) {
  double H = (double)model->hidden, e = is_narrow(plan->gemm) ? 1 : 2;
  if (!(plan->eager & FC_EAGER_WHOLE)) return 0;
  if (plan->recompute == FC_RECOMPUTE_FULL || again_by_operator(model, plan)) return 2 * H;
  bool light = plan->recompute != FC_RECOMPUTE_NONE && !plan->unfused_attention;
  double masks = plan->unfused_attention || plan->dropout ? 2 * H : 0;
  return 4 * H + (light ? 0 : e * H) + (model->moe.experts == 0 ? e * H : 0) + masks;
}

/* Bytes that one layer keeps of one token on one rank of tp. */
static double rank_saved(const fc_model *model, const fc_train_plan *plan) {
  double whole = whole_saved(model, plan);
  return whole + (layer_saved(model, plan) - whole) / (double)plan->tp;
}

/* Share of it that weight gradients still need when the input's are done: inputs of the products and the
 * gradients of their outputs (32 sbh of a GPT layer).  MLA's is taken as all.
 * @source arXiv:2401.10241, table 1 */
static double weight_share(const fc_model *model, const fc_train_plan *plan) {
  const fc_attention *a = &model->attention;
  if (a->kind != FC_ATTENTION_GQA) return 1;
  double H = (double)model->hidden, d = (double)a->head_dim, h = (double)a->heads;
  double attention = 4 * H + 2 * d * (2 * h + 2 * (double)a->kv_heads);
  double routed = model->moe.experts > 0 ? (double)(model->moe.shared + model->moe.active) : 1;
  double ffn = 4 * H * routed + (model->plain_ffn ? 4 : 6) * ffn_width(model, plan);
  return fmin(1, (attention + ffn) / layer_saved(model, plan));
}

/* Stage activations that a device holds, in micro-batches, with `after` stages behind this one.
 * @source DualPipe README (PP, PP, PP+1); interleaved: arXiv:2205.05198, section 4.2.3, and its warm-up of
 * 2(p - rank - 1) + (v - 1)p chunks in Megatron-LM's schedules.py; ZB-1p: arXiv:2401.10241, section 2.2 and
 * table 2 (its memory is the first device's; those behind delay as many weight gradients as they hold fewer
 * micro-batches) */
static double in_flight(const fc_model *model, const fc_train_plan *plan, double micro_batches,
                        double after) {
  double p = (double)plan->pp, v = fmax(1, (double)plan->virtual_stages);
  double n = after + 1;
  if (plan->schedule == FC_SCHEDULE_INTERLEAVED) n = ((v - 1) * p + 2 * after + 1) / v;
  if (plan->schedule == FC_SCHEDULE_ZB1P) n += (p - 1 - after) * weight_share(model, plan);
  if (plan->schedule == FC_SCHEDULE_DUALPIPE) n = p + 1;
  if (plan->schedule == FC_SCHEDULE_DUALPIPEV) n = p + 0.5; /* 2p + 1 of half the size */
  return fmin(n, micro_batches);
}

/* Parameters of one device, after splitting by tp and ep. */
typedef struct {
  double linear, tables, experts; /* dense products; embedding and head; routed experts */
  double shard;                   /* what one data-parallel rank optimises when they share */
  double narrow_shard;            /* of it products' */
  double layer;                   /* of one layer */
} held;

/* Tables and routers are kept in BF16 alone. */
static held parameters(const fc_model *m, const fc_train_plan *plan, const fc_stage *stage, double ranks) {
  const double *count = stage->count;
  double tp = (double)plan->tp, layers = count[FC_KIND_LAYER] + count[FC_KIND_MTP];
  double all = layers + count[FC_KIND_DENSE];
  bool sparse = m->moe.experts > 0;
  double per_layer =
      sparse ? fc_params_expert(m) * (double)m->moe.shared + (double)m->moe.experts * (double)m->hidden
             : fc_params_ffn(m);
  held h = {.tables = (count[FC_KIND_EMBEDDING] + count[FC_KIND_HEAD]) * embedding_params(m)};
  if (m->tied_embeddings && plan->pp == 1) h.tables *= 0.5;
  h.linear = all * fc_params_attention(m) + layers * per_layer + count[FC_KIND_DENSE] * fc_params_ffn(m);
  h.experts = sparse ? layers * (double)m->moe.experts * fc_params_expert(m) : 0;
  double stages_held = plan->schedule == FC_SCHEDULE_DUALPIPE ? 2 : 1;
  h.linear *= stages_held / tp;
  h.tables *= stages_held / tp;
  h.experts *= stages_held / (plan->ep > 1 ? (double)plan->ep : tp);
  double expert_ranks = plan->ep > 1 ? ranks * tp / (double)plan->ep : ranks;
  h.narrow_shard = h.linear / ranks + h.experts / expert_ranks;
  h.shard = h.narrow_shard + h.tables / ranks;
  h.layer = all > 0 ? (h.linear + h.experts) / all : 0;
  return h;
}

/* Communication: the sequence gathered over tp, two messages between stages, dispatch and combine of one
 * layer, sent and received, in BF16.  Where PyTorch's DTensor gathers or scatters the sequence, that is not
 * the outermost dimension: each buffer is there once more, rearranged, unless products take it piece by
 * piece. With ZeRO-3 three layers' weights (in use, being gathered, and the last one's buffer) and the
 * tables, which wrap the whole, gathered.  Attention through memory adds to a score buffer that stays.
 * @source torch/distributed/_functional_collectives.py (all_gather_tensor: chunk and cat); torchtitan
 * 9dec370, apply_fsdp; torch/distributed/fsdp/_fully_shard/_fsdp_param_group.py; Megatron-LM,
 * DotProductAttention */
static double buffers(const fc_model *m, const fc_train_plan *plan, double tokens, const held *h) {
  double row = 2 * (double)m->hidden, tp = (double)plan->tp, bytes = 0;
  if (plan->tp > 1 && !(plan->eager & FC_EAGER_WHOLE))
    bytes += (plan->zero >= 3 && !plan->async_tp ? 4 : 2) * tokens * row;
  if (plan->pp > 1) bytes += 2 * tokens * row / tp;
  double skew = plan->expert_imbalance > 1 ? plan->expert_imbalance : 1;
  if (plan->ep > 1) bytes += 2 * tokens / tp * row * (1 + (double)m->moe.active * skew);
  if (plan->zero >= 3) bytes += 2 * (3 * h->layer + h->tables);
  if (plan->unfused_attention) bytes += 2 * (double)m->attention.heads / tp * (double)plan->sequence * tokens;
  return bytes;
}

/* Elements of a micro-batch's logits on one rank. */
static double logits(const fc_model *m, const fc_train_plan *plan, double tokens) {
  return tokens * (double)m->vocab / (double)plan->tp;
}

/* What comes and goes.  In a layer's backward: gradients of the feed-forward's activation and of its inputs,
 * with full recomputation the layer whole, with ZeRO-3 the gradients of its weights (BF16, and FP32 to be
 * reduced).  At the head, gone before that: inputs of norm and head, and logits in BF16 with an FP32 softmax
 * (6 bytes an element) or, in a chain, the norm's FP32 copy and three FP32 tensors: log-softmax, the loss's
 * gradient and its own (12; 16 where the vocabulary is split, whose chain exponentiates once more).
 * @source Megatron-LM, vocab_parallel_cross_entropy; torch's cross_entropy over logits.float() and torchtitan
 * 9dec370, train.py, norms.py; torch/distributed/tensor/parallel/loss.py */
static double transient(const fc_model *m, const fc_train_plan *plan, double tokens, bool head,
                        const held *h) {
  double t = tokens / (double)plan->tp, H = (double)m->hidden;
  double rows = plan->eager & FC_EAGER_WHOLE ? tokens : t; /* of norms */
  bool chain = plan->eager & FC_EAGER_LOSS;
  double layer = 2 * H * rows + (m->plain_ffn ? 2 : 4) * ffn_width(m, plan) * t;
  if (plan->zero >= 3) layer += 6 * h->layer;
  if (plan->recompute == FC_RECOMPUTE_FULL || again_by_operator(m, plan)) {
    fc_train_plan none = *plan;
    none.recompute = FC_RECOMPUTE_NONE;
    layer += rank_saved(m, &none) * tokens;
  }
  double each = !chain ? 6 : plan->tp > 1 ? 16 : 12;
  return head ? fmax(layer, each * logits(m, plan, tokens) + (chain ? 8 : 4) * H * rows) : layer;
}

/* Weights, gradients and what the optimizer keeps.  ZeRO-3 that reduces in FP32 gathers from the FP32 master,
 * no BF16 shard beside it.  Eight-bit weights alone: a copy either way round, since products of 8-bit
 * operands take them in one layout.
 * @source FSDP2's mixed precision (torchtitan 9dec370); Transformer Engine 2.9, Float8Tensor._transpose */
static void states(fc_train_memory *out, const fc_train_plan *plan, const held *h) {
  bool narrow = is_narrow(plan->gemm), shared = plan->zero >= 1;
  double products = h->linear + h->experts, whole = products + h->tables;
  double share = whole > 0 ? h->shard / whole : 1, owned = shared ? h->shard : whole;
  out->weight_bytes = 2 * whole + (narrow && !plan->narrow_weights ? products : 0);
  if (plan->zero >= 3) out->weight_bytes *= plan->bf16_gradients ? share : 0;
  out->gradient_bytes = (plan->bf16_gradients ? 2 : 4) * (plan->zero >= 2 ? h->shard : whole);
  bool small = plan->moments == FC_MOMENTS_BF16 || (plan->moments == FC_MOMENTS_AS_PRODUCTS && narrow);
  out->moment_bytes = (small ? 4 : 8) * owned;
  out->optimizer_bytes = 4 * owned + out->moment_bytes;
  out->update_bytes = plan->bf16_gradients && !small ? 4 * owned : 0; /* else it reads them as they are */
  if (narrow && plan->narrow_weights) out->update_bytes += 2 * (shared ? h->narrow_shard : products);
}

/* Adds what one device with `stage` on it holds; in DualPipe `stage` is the mean of its two. */
static void device_memory(fc_train_memory *out, const fc_model *m, const fc_train_plan *plan,
                          const fc_stage *stage, double after) {
  double tp = (double)plan->tp, cp = (double)plan->cp;
  double dp = (double)plan->devices / (tp * (double)plan->pp * cp);
  const double *count = stage->count;
  bool head = count[FC_KIND_HEAD] > 0;
  double all = count[FC_KIND_LAYER] + count[FC_KIND_MTP] + count[FC_KIND_DENSE];
  held h = parameters(m, plan, stage, dp * cp);
  states(out, plan, &h);
  double tokens = (double)plan->micro_batch * (double)plan->sequence / cp;
  double micro_batches = (double)plan->global_batch / (dp * (double)plan->micro_batch);
  double layer = rank_saved(m, plan) * tokens;
  out->activation_bytes = in_flight(m, plan, micro_batches, after) * all * layer;
  out->buffer_bytes = buffers(m, plan, tokens, &h);
  out->fragment_bytes = FC_TRAIN_FRAGMENTED * out->activation_bytes;
  if (head && plan->eager & FC_EAGER_LOSS) out->fragment_bytes += 2 * logits(m, plan, tokens);
  double comes = transient(m, plan, tokens, head, &h);
  /* the update has them gone */
  comes = fmax(comes, out->update_bytes - out->activation_bytes - out->buffer_bytes);
  out->other_bytes = FC_TRAIN_RESERVED_BYTES + comes;
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

bool fc_cost_train_memory_at(fc_train_memory *out, const fc_model *model, const fc_train_plan *plan,
                             fc_train_place place) {
  fc_stage of[3];
  double most = ceil((double)model->layers / (double)plan->pp), p = (double)plan->pp;
  int n = fc_stage_deal(of, model, plan, most, first_more(model, plan));
  int i = n == 1 ? 0 : (int)place;
  *out = (fc_train_memory){0};
  if (i >= n || (i == 1 && !(of[i].count[FC_KIND_LAYER] > 0))) return false;
  device_memory(out, model, plan, &of[i], i == 0 ? p - 1 : i == 1 ? p - 2 : 0);
  return true;
}

void fc_cost_train_memory(fc_train_memory *out, const fc_model *model, const fc_train_plan *plan) {
  static const fc_train_place places[] = {FC_TRAIN_FIRST, FC_TRAIN_INNER, FC_TRAIN_LAST};
  *out = (fc_train_memory){0};
  for (int i = 0; i < 3; i++) {
    fc_train_memory one;
    if (fc_cost_train_memory_at(&one, model, plan, places[i]) && one.total_bytes > out->total_bytes)
      *out = one;
  }
}

double fc_train_memory_spare(const fc_train_memory *memory, const fc_device *device) {
  return device->memory_bytes - memory->total_bytes;
}
