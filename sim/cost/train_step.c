/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/cost/train_step.h>

#include <math.h>
#include <string.h>

#include <fleetcast/base/dist.h>

#include "layer.h"
#include "params.h"
#include "stage.h"
#include "train_chains.h"

double fc_pipeline_bubble_s(fc_schedule schedule, double p, double v, const fc_pipeline_pass *t) {
  switch (schedule) {
  case FC_SCHEDULE_1F1B: return (p - 1) * (t->forward_s + t->backward_s);
  case FC_SCHEDULE_INTERLEAVED: return (p - 1) * (t->forward_s + t->backward_s) / fmax(1, v);
  case FC_SCHEDULE_ZB1P: return (p - 1) * fmax(0, t->forward_s + t->backward_s - 2 * t->weight_s);
  case FC_SCHEDULE_DUALPIPE:
  case FC_SCHEDULE_DUALPIPEV:
    return fmax(0, p / 2 - 1) * fmax(0, t->overlapped_s + t->backward_s - 3 * t->weight_s);
  }
  return (double)NAN;
}

static bool is_dual(const fc_train_plan *plan) {
  return plan->schedule == FC_SCHEDULE_DUALPIPE || plan->schedule == FC_SCHEDULE_DUALPIPEV;
}

/* One step's inputs, spread out. */
typedef struct {
  const fc_model *model;
  const fc_train_plan *plan;
  fc_meter *meter;
  double dp, micro_batches, tokens; /* tokens of a micro-batch on a rank */
  double slowest;                   /* how much longer the slowest device computes than the mean one */
  fc_bill bill[FC_KIND_COUNT];
  fc_layer layer;
} step;

static void step_init(step *st, fc_meter *meter, const fc_model *model, const fc_profile *profile,
                      const fc_train_plan *plan) {
  memset(st, 0, sizeof *st);
  st->model = model;
  st->plan = plan;
  st->meter = meter;
  int64_t replicas = plan->devices / (plan->tp * plan->pp * plan->cp);
  st->dp = (double)replicas;
  st->micro_batches = (double)plan->global_batch / (st->dp * (double)plan->micro_batch);
  double sequence = (double)plan->sequence, cp = (double)plan->cp, micro = (double)plan->micro_batch;
  st->tokens = micro * sequence / cp;
  st->slowest = fc_train_slowest((double)plan->devices);
  fc_layer *l = &st->layer;
  *l = (fc_layer){.meter = meter, .model = model, .training = true, .tp = (double)plan->tp, .cp = cp};
  l->ep = model->moe.experts > 0 ? (double)plan->ep : 1;
  l->moe_tp = l->ep > 1 ? 1 : l->tp;
  l->domain = fmax(1, (double)profile->device->scaleup_devices);
  l->imbalance = plan->expert_imbalance > 1 ? plan->expert_imbalance : 1;
  fc_layer_formats(l, plan->gemm, FC_DTYPE_BF16);
  l->tokens = st->tokens;
  l->moe_tokens = l->ep > 1 ? l->ep * st->tokens / l->tp : st->tokens;
  /* with cp every rank holds pieces from both ends: half the context on average, as without */
  double q = sequence / cp;
  l->prefill = (fc_attention_load){micro, q, 0.5 * (sequence + q)};
  l->recompute_light = plan->recompute == FC_RECOMPUTE_SELECTIVE;
  l->unfused = plan->unfused_attention;
  l->whole_norms = (plan->eager & FC_EAGER_WHOLE) != 0;
  l->tensor_scales = plan->tensor_scales;
  l->bf16_dispatch = plan->bf16_dispatch;
  meter->training = true;
  if (l->ep > 1 && (is_dual(plan) || plan->overlap > 0))
    meter->units = fmax(1, meter->units - profile->comm_compute_units);
  else
    meter->contention = 1; /* nothing runs beside dispatch and combine */
}

double fc_train_slowest(double devices) {
  /* Blom's approximation of the expected largest of n normals */
  return devices > 1 ? FC_TRAIN_DEVICE_SD * fc_normal_quantile((devices - 0.375) / (devices + 0.25)) : 0;
}

static void emit_block(const fc_layer *l, fc_train_block which) {
  switch (which) {
  case FC_BLOCK_ATTENTION: fc_layer_attention(l, 1); break;
  case FC_BLOCK_MOE: fc_layer_moe(l, 1); break;
  case FC_BLOCK_FFN: fc_layer_dense(l, 1); break;
  }
}

static void bill_add(fc_bill *to, const fc_bill *from, double count) {
  for (int pass = 0; pass < FC_PASS_COUNT; pass++) {
    for (int part = 0; part < FC_PART_COUNT; part++) to->s[pass][part] += count * from->s[pass][part];
    to->calls[pass] += count * from->calls[pass];
  }
}

/* Profiles hold the newest attention; on devices older than Hopper there is no other. */
static void older_attention(const step *st, fc_bill *bill) {
  const fc_device *device = st->meter->profile->device;
  if (!(st->plan->eager & FC_EAGER_FLASH2) || !(device->peak_flop_per_s[FC_DTYPE_FP8] > 0)) return;
  for (int pass = 0; pass < FC_PASS_COUNT; pass++) bill->s[pass][FC_PART_ATTENTION] *= FC_TRAIN_FLASH2;
}

/* Half a layer with its backward, `per_device` of them; full recomputation runs the forward operators once
 * more. */
static void bill_block(step *st, fc_bill *bill, fc_train_block which, double per_device) {
  fc_meter *meter = st->meter;
  meter->bill = bill;
  meter->weight = st->micro_batches * per_device;
  emit_block(&st->layer, which);
  older_attention(st, bill);
  fc_train_chains(&st->layer, st->plan, which, true);
  if (st->plan->recompute != FC_RECOMPUTE_FULL) return;
  fc_bill again = {0};
  meter->bill = &again;
  fc_layer forward = st->layer;
  forward.training = false;
  forward.again = true;
  emit_block(&forward, which);
  older_attention(st, &again);
  fc_train_chains(&forward, st->plan, which, false);
  for (int part = 0; part < FC_PART_COUNT; part++)
    bill->s[FC_PASS_INPUT][part] += again.s[FC_PASS_FORWARD][part];
  bill->calls[FC_PASS_INPUT] += again.calls[FC_PASS_FORWARD];
}

static void emit_kinds(step *st) {
  const fc_model *model = st->model;
  bool sparse = model->moe.experts > 0;
  double stages = (double)st->plan->pp, layers = (double)model->layers, mtp = (double)model->mtp_layers;
  double dense = sparse ? (double)model->dense_layers : 0;
  fc_bill attention = {0};
  bill_block(st, &attention, FC_BLOCK_ATTENTION, (layers + mtp) / stages);
  if (st->plan->launch == FC_LAUNCH_PARTIAL) memset(attention.calls, 0, sizeof attention.calls);
  bill_block(st, &st->bill[FC_KIND_LAYER], sparse ? FC_BLOCK_MOE : FC_BLOCK_FFN,
             (layers - dense + mtp) / stages);
  bill_add(&st->bill[FC_KIND_LAYER], &attention, 1);
  if (dense > 0) {
    bill_block(st, &st->bill[FC_KIND_DENSE], FC_BLOCK_FFN, dense / stages);
    bill_add(&st->bill[FC_KIND_DENSE], &attention, 1);
  }
  fc_meter *meter = st->meter;
  meter->weight = st->micro_batches / stages;
  meter->bill = &st->bill[FC_KIND_EMBEDDING];
  fc_layer_embedding(&st->layer, 1);
  meter->weight *= 1 + mtp;
  meter->bill = &st->bill[FC_KIND_HEAD];
  fc_layer_head(&st->layer, st->tokens, 1);
  if (mtp == 0) return;
  meter->weight = st->micro_batches * mtp / stages;
  meter->bill = &st->bill[FC_KIND_MTP]; /* projection, layer, head */
  fc_layer_mtp_projection(&st->layer, 1);
  bill_add(meter->bill, &st->bill[FC_KIND_LAYER], 1);
  bill_add(meter->bill, &st->bill[FC_KIND_HEAD], 1);
}

/* Busy time and communication of a pass. */
typedef struct {
  double busy, attention, ep, tp, cp;
} lane;

/* Clocks differ between devices, memory does not: `slowest` is not of what streams. */
static lane lane_of(const fc_bill *bill, fc_pass pass, double slowest) {
  double busy = fc_bill_sum(bill, pass, FC_PART_ATTENTION, FC_PART_HEAD);
  busy += slowest * (busy - bill->s[pass][FC_PART_GLUE]);
  return (lane){.busy = busy + bill->s[pass][FC_PART_LAUNCH],
                .attention = (1 + slowest) * bill->s[pass][FC_PART_ATTENTION],
                .ep = bill->s[pass][FC_PART_EP],
                .tp = bill->s[pass][FC_PART_TP],
                .cp = bill->s[pass][FC_PART_CP]};
}

/* What happens to passes beside their operators. */
typedef struct {
  double host_s; /* of the host, for one launch; 0: captured */
  double beside; /* share of the compute units that communication takes while it is hidden */
  double slowest;
} setting;

/* By the host, some of it or all. */
static bool is_launched(const fc_train_plan *plan) {
  return plan->launch == FC_LAUNCH_PARTIAL || plan->launch == FC_LAUNCH_EAGER;
}

static setting setting_of(const step *st, bool with_host) {
  const fc_profile *profile = st->meter->profile;
  setting s = {.slowest = st->slowest,
               .host_s = with_host && is_launched(st->plan) ? FC_TRAIN_HOST_LAUNCH_S : 0};
  bool set_aside = st->meter->units < st->meter->device.units; /* once for all, for dispatch and combine */
  if (!set_aside) s.beside = fmin(1, profile->comm_compute_units / st->meter->device.units);
  return s;
}

/* What communication costs when so much of it hides behind compute: the rest, and the units that the hidden
 * part takes from what runs beside it. */
static double exposed(double comm, double hidden, double beside) {
  return comm - hidden + beside * hidden;
}

/* Tensor parallel: the share that the plan hides; in backward the scatter, half of it, hides behind the
 * weight gradients in any case (LinearWithGradAccumulationAndAsyncCommunication of Megatron-LM, and TE's
 * layers), but not in plans older than sequence parallelism. */
static double tensor_hidden(const fc_train_plan *plan, const lane *l, double weight_s) {
  double asked = fmin(plan->overlap * l->tp, l->busy);
  bool async = weight_s > 0 && !(plan->eager & FC_EAGER_WHOLE);
  return async ? fmax(asked, fmin(0.5 * l->tp, weight_s)) : asked;
}

/* Context parallel: keys and values travel while attention works on those that came before, of which the last
 * of cp rounds has none (ring attention, arXiv:2310.01889). */
static double ring_hidden(const fc_train_plan *plan, const lane *l) {
  double cp = (double)plan->cp;
  return fmin(l->cp, l->attention * (cp - 1) / cp);
}

/* F, B, W, F&B of what a bill holds.  Host and device only partly take turns: the root of the sum of squares,
 * which fits the A100 rows best of the powers 1 to 3. */
static fc_pipeline_pass passes_of(const fc_bill *bill, const fc_train_plan *plan, setting s) {
  lane f = lane_of(bill, FC_PASS_FORWARD, s.slowest), b = lane_of(bill, FC_PASS_INPUT, s.slowest),
       w = lane_of(bill, FC_PASS_WEIGHT, s.slowest);
  bool dual = is_dual(plan);
  double ep_share = dual ? 0 : plan->overlap; /* DualPipe's lone passes hide nothing of EP */
  b.ep += w.ep;
  b.tp += w.tp;
  b.cp += w.cp;
  b.busy += w.busy;
  double forward = f.busy + exposed(f.tp, tensor_hidden(plan, &f, 0), s.beside) +
                   exposed(f.cp, ring_hidden(plan, &f), s.beside);
  double backward = b.busy + exposed(b.tp, tensor_hidden(plan, &b, w.busy), s.beside) +
                    exposed(b.cp, ring_hidden(plan, &b), s.beside);
  double host_f = s.host_s * bill->calls[FC_PASS_FORWARD];
  double host_b = s.host_s * (bill->calls[FC_PASS_INPUT] + bill->calls[FC_PASS_WEIGHT]);
  fc_pipeline_pass pass = {.weight_s = w.busy};
  pass.forward_s = hypot(forward + exposed(f.ep, fmin(ep_share * f.ep, f.busy), 0), host_f);
  pass.backward_s = hypot(backward + exposed(b.ep, fmin(ep_share * b.ep, b.busy), 0), host_b);
  pass.overlapped_s =
      dual ? hypot(fmax(forward + backward, f.ep + b.ep), host_f + host_b) : pass.forward_s + pass.backward_s;
  return pass;
}

/* Tensor cores that are busier than when `sustained` was measured draw more; the power limit stays, so that
 * the clock falls by the cube root (power grows with its cube).  @source own H100, product of 8,192 cubed in
 * BF16: 1,370 us rested, 1,498 busy four fifths of the time, 1,595 to 1,690 back to back
 * (kernels/results/h100): from four fifths to all the time 1.08, as the cube root has it */
static void throttle(step *st) {
  const fc_profile *profile = st->meter->profile;
  if (!(profile->sustained > 1) || !(profile->loaded > 0)) return;
  const fc_bill *bill = &st->bill[FC_KIND_LAYER];
  fc_pipeline_pass pass = passes_of(bill, st->plan, setting_of(st, true));
  double tensor = 0;
  for (int i = 0; i < FC_PASS_COUNT; i++)
    tensor += fc_bill_sum(bill, (fc_pass)i, FC_PART_ATTENTION, FC_PART_EXPERTS);
  double busy = (1 + st->slowest) * tensor / pass.overlapped_s;
  st->slowest = (1 + st->slowest) * fmax(1, cbrt(busy / profile->loaded)) - 1;
}

/* --- once a step --- */

typedef struct {
  double dense, experts;            /* parameters of the mean rank, before sharding */
  double dense_ranks, expert_ranks; /* data-parallel copies of each */
} rank_params;

static rank_params params_of(const step *st) {
  const fc_model *m = st->model;
  const fc_train_plan *p = st->plan;
  double layers = (double)m->layers, moe = fc_params_moe_layers(m), tp = (double)p->tp, pp = (double)p->pp;
  double mtp = (double)m->mtp_layers;
  rank_params r = {0};
  double split = (layers + mtp) * fc_params_attention(m) + (layers - moe) * fc_params_ffn(m) +
                 (moe > 0 ? moe + mtp : 0) * fc_params_expert(m) * (double)m->moe.shared +
                 (double)m->vocab * (double)m->hidden * (m->tied_embeddings ? 1 : 2);
  r.dense = split / (tp * pp);
  if (moe > 0)
    r.experts =
        (moe + mtp) * fc_params_expert(m) * (double)m->moe.experts / (st->layer.ep * st->layer.moe_tp * pp);
  double copies = p->schedule == FC_SCHEDULE_DUALPIPE ? 2 : 1; /* every stage lives on two ranks */
  r.dense *= copies;
  r.experts *= copies;
  r.dense_ranks = st->dp * (double)p->cp;
  r.expert_ranks = st->layer.ep > 1 ? st->dp * (double)(p->cp * p->tp) / st->layer.ep : r.dense_ranks;
  return r;
}

/* Seconds of calls outside the micro-batches. */
static double once(step *st, fc_bill *bill, fc_op op, double count) {
  if (!(count > 0)) return 0;
  st->meter->bill = bill;
  st->meter->weight = 1;
  return count * fc_meter_add(st->meter, FC_PASS_FORWARD, FC_PART_GLUE, &op, count);
}

/* AdamW traffic a parameter: FP32 parameter and gradient, BF16 weight written, moments FP32 (30) or, as
 * DeepSeek-V3 keeps them beside FP8, BF16 (22). @source arXiv:2412.19437, section 3.3.2; kernels.md 1b */
static double adamw_bytes(fc_dtype gemm) {
  return gemm == FC_DTYPE_FP8 || gemm == FC_DTYPE_FP4 ? 22 : 30;
}

static double optimizer_s(step *st, const rank_params *r) {
  const fc_train_plan *p = st->plan;
  fc_bill bill = {0};
  double own =
      p->zero >= 1 ? r->dense / r->dense_ranks + r->experts / r->expert_ranks : r->dense + r->experts;
  double t = once(st, &bill, (fc_op){.id = FC_OP_GRAD_NORM, .dtype = FC_DTYPE_FP32, .m = own}, 1);
  t += once(st, &bill,
            (fc_op){.id = FC_OP_ADAMW, .dtype = FC_DTYPE_FP32, .m = own, .n = adamw_bytes(p->gemm)}, 1);
  if (st->layer.gemm == FC_DTYPE_FP8 || st->layer.gemm == FC_DTYPE_FP4)
    t += once(st, &bill,
              (fc_op){.id = FC_OP_QUANT_WEIGHT, .dtype = st->layer.gemm, .m = r->dense + r->experts, .n = 1},
              1);
  fc_op norm = {
      .id = FC_OP_ALL_REDUCE, .dtype = FC_DTYPE_BF16, .payload_bytes = 8, .ranks = (double)p->devices};
  norm.domain = st->layer.domain;
  return t + once(st, &bill, norm, p->devices > 1 ? 1 : 0);
}

/* Reduce gradients in FP32 (Megatron's and DeepSeek's accumulation format), gather BF16 weights. */
typedef struct {
  double reduce_s, gather_s;
} data_parallel;

/* Gathers and scatters run round a ring: every rank waits for all others, one after the other.  Beyond what
 * the form's hops have. */
static double ring_s(const fc_op *op) {
  double boxes = fmax(1, op->ranks / fmin(op->domain, op->ranks)), inside = op->ranks - boxes;
  return FC_TRAIN_RING_IN_S * inside + FC_TRAIN_RING_NET_S * (boxes - 1);
}

/* Exchanges a step, each of a bucket of parameters; fully sharded: of a layer. */
static double buckets_of(const step *st, double params, double ranks) {
  if (st->plan->zero == 3) return (double)st->model->layers / (double)st->plan->pp;
  return ceil(params / fmax(FC_TRAIN_BUCKET, FC_TRAIN_BUCKET_RANK * ranks));
}

static data_parallel data_parallel_of(step *st, double params, double ranks, double stride) {
  data_parallel out = {0};
  if (!(ranks > 1) || !(params > 0)) return out;
  fc_bill bill = {0};
  fc_op op = {.dtype = FC_DTYPE_BF16, .ranks = ranks, .domain = fmax(1, st->layer.domain / stride)};
  double times = st->plan->zero >= 2 ? st->micro_batches : 1;
  double wait = buckets_of(st, params, ranks) * ring_s(&op);
  op.payload_bytes = (st->plan->bf16_gradients ? 2 : 4) * params;
  op.id = st->plan->zero >= 1 ? FC_OP_REDUCE_SCATTER : FC_OP_ALL_REDUCE;
  out.reduce_s = once(st, &bill, op, times) + times * wait * (st->plan->zero >= 1 ? 1 : 0);
  if (st->plan->zero == 0) return out;
  op.id = FC_OP_ALL_GATHER;
  op.payload_bytes = (st->plan->narrow_weights ? fmin(2, fc_dtype_size(st->plan->gemm)) : 2) * params;
  times = st->plan->zero == 3 ? 2 * st->micro_batches : 1;
  out.gather_s = once(st, &bill, op, times) + times * wait;
  return out;
}

/* What is left of an exchange of t seconds that starts chunk by chunk: `window_s` of passes hides all but the
 * last (or first) chunk's share, that chunk's own pass its own. */
static double left_over(double t, double window_s, double pass_s, double chunks) {
  return fmax(0, fmax(t - window_s, (t - pass_s) / chunks));
}

/* Reduction hides behind the last micro-batch's backward, gathering behind the first one's forward; with
 * chunks (interleaved) behind those of a round of micro-batches, because a chunk is done with all of them
 * before the next begins (Megatron-LM, overlap_grad_reduce and overlap_param_gather); when they recur every
 * micro-batch (ZeRO-2, 3), behind all of them.  What hides takes compute units from the passes. */
static double data_exposed_s(step *st, const rank_params *r, const fc_pipeline_pass *pass) {
  const fc_train_plan *p = st->plan;
  data_parallel a = data_parallel_of(st, r->dense, r->dense_ranks, (double)p->tp);
  data_parallel b =
      data_parallel_of(st, r->experts, r->expert_ranks, st->layer.ep > 1 ? st->layer.ep : st->layer.tp);
  double reduce = a.reduce_s + b.reduce_s, gather = a.gather_s + b.gather_s;
  double chunks = p->schedule == FC_SCHEDULE_INTERLEAVED ? (double)p->virtual_stages : 1;
  double round = ((chunks - 1) * (double)p->pp + 1) / chunks;
  double back = (p->zero >= 2 ? st->micro_batches : round) * pass->backward_s;
  double ahead = (p->zero == 3 ? st->micro_batches : round) * pass->forward_s;
  double late =
      p->serial_data ? reduce : left_over(reduce, back, p->zero >= 2 ? back : pass->backward_s, chunks);
  double early = left_over(gather, ahead, p->zero == 3 ? ahead : pass->forward_s, chunks);
  return late + early + setting_of(st, false).beside * (reduce - late + gather - early);
}

/* Activations to the next stage and gradients back, when the schedule does not hide them. */
static double stage_hand_over_s(step *st) {
  const fc_train_plan *p = st->plan;
  if (p->pp < 2 || is_dual(p) || p->schedule == FC_SCHEDULE_INTERLEAVED) return 0;
  fc_bill bill = {0};
  fc_op op = {.id = FC_OP_SEND_RECV, .dtype = FC_DTYPE_BF16, .ranks = 2};
  op.payload_bytes = 2 * st->tokens * (double)st->model->hidden / (double)p->tp;
  int64_t stage_devices = p->devices / p->pp;
  op.domain = 2 * (double)stage_devices <= st->layer.domain ? 2 : 1;
  return once(st, &bill, op, 2 * st->micro_batches) / st->micro_batches;
}

/* --- the step --- */

static void stage_bill(fc_bill *out, const step *st, const fc_stage *stage) {
  *out = (fc_bill){0};
  for (int k = 0; k < FC_KIND_COUNT; k++)
    if (stage->count[k] > 0) bill_add(out, &st->bill[k], stage->count[k]);
}

static double over_passes(const fc_bill *bill, fc_part part) {
  return bill->s[FC_PASS_FORWARD][part] + bill->s[FC_PASS_INPUT][part] + bill->s[FC_PASS_WEIGHT][part];
}

/* Stages of the model that one device holds, of as many as the README's PP counts. */
static double stages_held(const fc_train_plan *plan) {
  return plan->schedule == FC_SCHEDULE_DUALPIPEV ? 2 : 1;
}

/* Micro-batches' time without idling.  DualPipe pairs forwards with backwards except when filling and
 * draining: the middle ranks, which the bubble formula counts, run PP + 1 of each alone, of the PP stages'
 * size (sim/train/schedule.c replays it).  Pairs wait for the pacing device, `pass`; what runs alone is those
 * ranks' own, `fill`, which hides nothing of its dispatch. */
static double busy_s(const step *st, const fc_pipeline_pass *pass, const fc_pipeline_pass *fill) {
  double m = st->micro_batches, held = stages_held(st->plan);
  if (!is_dual(st->plan)) return m * (pass->forward_s + pass->backward_s);
  double alone = fmin(m, ((double)st->plan->pp * held + 1) / held);
  return (m - alone) * pass->overlapped_s + alone * (fill->forward_s + fill->backward_s);
}

static double bubble_s(const fc_train_plan *plan, const fc_pipeline_pass *fill) {
  double held = stages_held(plan);
  return fc_pipeline_bubble_s(plan->schedule, (double)plan->pp * held, (double)plan->virtual_stages, fill) /
         held;
}

/* A stage's passes.  DualPipe pairs layer with layer: what one kind leaves idle hides nothing of another's.
 */
static fc_pipeline_pass stage_pass(const step *st, const fc_stage *stage, setting s) {
  if (!is_dual(st->plan)) {
    fc_bill bill;
    stage_bill(&bill, st, stage);
    return passes_of(&bill, st->plan, s);
  }
  fc_pipeline_pass sum = {0};
  for (int k = 0; k < FC_KIND_COUNT; k++) {
    if (!(stage->count[k] > 0)) continue;
    fc_pipeline_pass one = passes_of(&st->bill[k], st->plan, s);
    sum.forward_s += stage->count[k] * one.forward_s;
    sum.backward_s += stage->count[k] * one.backward_s;
    sum.weight_s += stage->count[k] * one.weight_s;
    sum.overlapped_s += stage->count[k] * one.overlapped_s;
  }
  return sum;
}

static bool is_same(const fc_stage *a, const fc_stage *b) {
  bool same = true;
  for (int k = 0; k < FC_KIND_COUNT; k++) same = same && a->count[k] == b->count[k];
  return same;
}

/* The deal that `pacing` is from; 0: none. */
static int deal_of(fc_stage of[3], const fc_model *model, const fc_train_plan *plan, const fc_stage *pacing) {
  int64_t most = model->layers / (plan->pp > 1 ? plan->pp - 1 : 1) + 1;
  for (int64_t n = (model->layers + plan->pp - 1) / plan->pp; n <= most; n++)
    for (int64_t more = 0; more <= model->dense_layers; more++) {
      int kinds = fc_stage_deal(of, model, plan, (double)n, (double)more);
      for (int i = 0; i < kinds; i++)
        if (is_same(&of[i], pacing)) return kinds;
    }
  return 0;
}

/* What fills and drains the pipeline: in DualPipe a device without ends, elsewhere the mean of the others. */
static fc_stage filling(const fc_model *model, const fc_train_plan *plan, const fc_stage *pacing) {
  fc_stage of[3];
  int kinds = deal_of(of, model, plan, pacing);
  if (kinds > 1 && is_dual(plan)) return of[1].count[FC_KIND_LAYER] > 0 ? of[1] : *pacing;
  if (kinds < 3) return *pacing;
  double others = (double)plan->pp - 1;
  for (int k = 0; k < FC_KIND_COUNT; k++)
    of[0].count[k] =
        (of[0].count[k] + (others - 1) * of[1].count[k] + of[2].count[k] - pacing->count[k]) / others;
  return of[0];
}

static double hand_over_of(step *st, fc_pipeline_pass *pass) {
  double hand_over = stage_hand_over_s(st);
  pass->forward_s += 0.5 * hand_over;
  pass->backward_s += 0.5 * hand_over;
  pass->overlapped_s += hand_over;
  return hand_over;
}

/* The parts of the pacing stage, all micro-batches; what is left of `busy` is communication. */
static void parts_of(fc_train_step *out, const fc_bill *bill, double slowest, double busy, double waiting) {
  double m = out->micro_batches, pace = m * (1 + slowest);
  for (int k = 0; k < FC_PASS_COUNT; k++) out->launches += m * bill->calls[k];
  out->attention_s = pace * over_passes(bill, FC_PART_ATTENTION);
  out->dense_s = pace * over_passes(bill, FC_PART_DENSE);
  out->experts_s = pace * over_passes(bill, FC_PART_EXPERTS);
  out->glue_s = m * over_passes(bill, FC_PART_GLUE);
  out->head_s = pace * over_passes(bill, FC_PART_HEAD);
  out->launch_s = m * over_passes(bill, FC_PART_LAUNCH) + waiting;
  out->comm_s = fmax(0, busy - (out->attention_s + out->dense_s + out->experts_s + out->glue_s + out->head_s +
                                out->launch_s));
}

fc_status fc_cost_train_step(fc_train_step *out, const fc_model *model, const fc_profile *profile,
                             const fc_train_plan *plan) {
  fc_status status = fc_train_plan_check(model, plan, NULL);
  if (status != FC_OK) return status;
  fc_meter meter;
  fc_meter_init(&meter, profile);
  step st;
  step_init(&st, &meter, model, profile, plan);
  emit_kinds(&st);
  throttle(&st);

  double cost[FC_KIND_COUNT];
  for (int k = 0; k < FC_KIND_COUNT; k++)
    cost[k] = passes_of(&st.bill[k], plan, setting_of(&st, true)).overlapped_s;
  fc_stage stage = fc_stage_pacing(model, plan, cost);
  fc_bill bill;
  stage_bill(&bill, &st, &stage);
  fc_pipeline_pass pass = stage_pass(&st, &stage, setting_of(&st, true));
  fc_pipeline_pass unwaited = stage_pass(&st, &stage, setting_of(&st, false));
  (void)hand_over_of(&st, &pass);
  (void)hand_over_of(&st, &unwaited);
  fc_stage filler = filling(model, plan, &stage);
  fc_pipeline_pass fill = stage_pass(&st, &filler, setting_of(&st, true));
  (void)hand_over_of(&st, &fill);

  rank_params params = params_of(&st);
  double busy = busy_s(&st, &pass, &fill);
  *out = (fc_train_step){.micro_batches = st.micro_batches, .pass = pass};
  out->stage_layers = stage.count[FC_KIND_LAYER] + stage.count[FC_KIND_DENSE];
  parts_of(out, &bill, st.slowest, busy, busy_s(&st, &pass, &pass) - busy_s(&st, &unwaited, &unwaited));
  out->bubble_s = bubble_s(plan, &fill);
  out->data_s = data_exposed_s(&st, &params, &pass);
  out->optimizer_s = optimizer_s(&st, &params);
  out->host_s = plan->launch == FC_LAUNCH_WHOLE ? 0 : profile->step_host_s;
  out->seconds = busy + out->bubble_s + out->data_s + out->optimizer_s + out->host_s;
  if (meter.missing) return FC_E_DOMAIN;
  out->flop = meter.flop;
  out->bytes = meter.bytes;
  out->watts = meter.device.idle_w + fmin(meter.dynamic_j / out->seconds, meter.device.dynamic_w);
  out->log_sd = hypot(fc_meter_log_sd(&meter), FC_TRAIN_COMPOSITION_LOG_SD);
  out->clamped = meter.clamped;
  out->outside = meter.outside;
  out->substituted = meter.substituted;
  return isfinite(out->seconds) ? FC_OK : FC_E_DOMAIN;
}

fc_status fc_cost_train_kinds(fc_train_kinds *out, const fc_model *model, const fc_profile *profile,
                              const fc_train_plan *plan) {
  fc_status status = fc_train_plan_check(model, plan, NULL);
  if (status != FC_OK) return status;
  fc_meter meter;
  fc_meter_init(&meter, profile);
  step st;
  step_init(&st, &meter, model, profile, plan);
  emit_kinds(&st);
  throttle(&st);
  *out = (fc_train_kinds){.micro_batches = st.micro_batches, .expert_ranks = st.layer.ep};
  static const fc_kind of[] = {FC_KIND_LAYER, FC_KIND_DENSE, FC_KIND_EMBEDDING, FC_KIND_HEAD, FC_KIND_MTP};
  fc_pipeline_pass *to[] = {&out->layer, &out->dense, &out->embedding, &out->head, &out->mtp};
  for (size_t i = 0; i < sizeof of / sizeof *of; i++)
    *to[i] = passes_of(&st.bill[of[i]], plan, setting_of(&st, true));
  out->hand_over_s = 0.5 * hand_over_of(&st, &(fc_pipeline_pass){0});
  double experts = over_passes(&st.bill[FC_KIND_LAYER], FC_PART_EXPERTS);
  out->expert_share = out->layer.overlapped_s > 0 ? fmin(1, experts / out->layer.overlapped_s) : 0;
  return meter.missing ? FC_E_DOMAIN : FC_OK;
}
