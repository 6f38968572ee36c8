/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/cost/serve_step.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <fleetcast/cost/engine.h>

#include "layer.h"

fc_status fc_serve_plan_check(const fc_model *model, const fc_serve_plan *p, char *why) {
  const char *text = NULL;
  int64_t experts = model->moe.experts, stages = fc_serve_stages(p), wide = p->tp * p->attention_dp;
  if (p->pp < 0 || p->tp < 1 || p->attention_dp < 1 || p->ep < 1 || p->devices < 1)
    text = "every degree must be at least 1";
  else if (wide * stages != p->devices)
    text = stages > 1 ? "tp * attention_dp * pp must equal devices" : "tp * attention_dp must equal devices";
  else if (stages > model->layers)
    text = "more stages than layers";
  else if (model->attention.heads % p->tp != 0)
    text = "tp must divide the attention heads";
  else if (experts == 0 && p->ep != 1)
    text = "ep must be 1 for a dense model";
  else if (wide % p->ep != 0 || (p->ep % p->tp != 0 && p->tp % p->ep != 0))
    text = "ep must divide devices, and divide or be divided by tp";
  else if (experts > 0 && p->ep > experts)
    text = "more expert-parallel ranks than experts";
  if (!text) return FC_OK;
  if (why)
    (void)snprintf(why, 256, "%s (devices %lld, tp %lld, attention_dp %lld, ep %lld)", text,
                   (long long)p->devices, (long long)p->tp, (long long)p->attention_dp, (long long)p->ep);
  return FC_E_DOMAIN;
}

/* Fills a layer with one attention group's share of `load`; `part` of the batch (1, or 1/2 with two-batch
 * overlap). */
static void layer_of(fc_layer *l, fc_meter *meter, const fc_model *model, const fc_serve_plan *plan,
                     const fc_serve_load *load, double part) {
  /* micro-batches, one a stage, are to a layer what attention groups are */
  double groups = (double)(plan->attention_dp * fc_serve_stages(plan));
  double ep = (double)plan->ep, tp = (double)plan->tp;
  double queries = load->query_tokens > 0 ? load->query_tokens : 1;
  *l = (fc_layer){.meter = meter, .model = model, .tp = tp, .cp = 1};
  l->ep = model->moe.experts > 0 ? ep : 1;
  l->moe_tp = l->ep > 1 ? (tp > ep ? tp / ep : 1) : tp;
  l->domain = fmax(1, (double)meter->profile->device->scaleup_devices);
  l->imbalance = fmax(1, plan->busiest > 0 ? plan->busiest : plan->expert_imbalance);
  l->busiest = plan->busiest;
  fc_layer_formats(l, plan->gemm, plan->kv);
  if (load->decode_requests > 0)
    l->decode = (fc_attention_load){load->decode_requests / groups * part, queries, load->decode_context};
  if (load->prefill_tokens > 0) {
    double sequences = (load->prefill_requests > 0 ? load->prefill_requests : groups) / groups * part;
    double q = load->prefill_tokens / groups * part / sequences;
    l->prefill = (fc_attention_load){sequences, q, load->prefill_context + q};
  }
  l->tokens = l->decode.batch * l->decode.q + l->prefill.batch * l->prefill.q;
  /* an expert group spans ep/tp attention groups */
  l->moe_tokens = l->tokens * (l->ep > tp ? l->ep / tp : 1);
  l->masked = l->low_latency = !(load->prefill_tokens > 0);
}

/* Trunk, drafted layers, head: everything of an iteration (or of its half). */
static void emit(const fc_layer *l, double query_tokens) {
  const fc_model *model = l->model;
  double layers = (double)model->layers,
         moe = model->moe.experts > 0 ? layers - (double)model->dense_layers : 0;
  /* each drafted token runs one more layer (an MTP module or a draft head like it) and the head */
  double drafts = query_tokens > 1 && l->decode.batch > 0 ? query_tokens - 1 : 0;
  bool sparse = moe > 0;
  fc_layer_embedding(l, 1);
  fc_layer_attention(l, layers + drafts);
  fc_layer_dense(l, layers - moe + (sparse ? 0 : drafts));
  if (sparse) fc_layer_moe(l, moe + drafts);
  if (drafts > 0) fc_layer_mtp_projection(l, drafts);
  fc_layer_head(l, l->decode.batch * l->decode.q + l->prefill.batch, 1);
  if (drafts > 0) fc_layer_head(l, l->decode.batch, drafts);
}

/* The device is done before the host has launched what no graph holds. */
static double idle_of(const fc_layer *l, const fc_serve_load *load, double halves, double device_s) {
  const fc_engine *e = l->meter->profile->engine;
  if (!e || !(load->prefill_tokens > 0) || halves * l->tokens <= e->graph_tokens) return 0;
  bool latent = l->model->attention.kind == FC_ATTENTION_MLA, sparse = l->model->moe.experts > 0;
  double each = latent ? e->eager_layer_s : sparse ? e->eager_plain_s : 0;
  return fmax(0, each * (double)l->model->layers - device_s);
}

/* A micro-batch from a stage to the next: hidden state and residual. */
static void hand_over(const fc_layer *l, const fc_serve_plan *plan) {
  double stages = (double)fc_serve_stages(plan);
  if (!(stages > 1)) return;
  fc_op op = {.id = FC_OP_SEND_RECV, .dtype = FC_DTYPE_BF16, .ranks = 2};
  op.domain = (double)plan->devices <= l->domain ? 2 : 1;
  op.payload_bytes = 2 * 2 * l->tokens * (double)l->model->hidden / l->tp;
  (void)fc_meter_add(l->meter, FC_PASS_FORWARD, FC_PART_CP, &op, stages);
}

/* All stages wait for the slowest: layers that do not divide go to all but the last, which has the head. */
static double wait_s(const fc_model *model, const fc_serve_plan *plan, double head_s, double layers_s) {
  double stages = (double)fc_serve_stages(plan), layers = (double)model->layers;
  double inner = ceil(layers / stages), last = layers - inner * (stages - 1);
  if (last < 1) last = 1;
  double slowest = fmax(inner / layers * layers_s, last / layers * layers_s + head_s);
  return fmax(0, stages * slowest - layers_s - head_s);
}

static bool is_number(double x) {
  return isfinite(x) && x >= 0;
}

fc_status fc_cost_serve_iteration(fc_serve_iteration *out, const fc_model *model, const fc_profile *profile,
                                  const fc_serve_plan *plan, const fc_serve_load *load) {
  if (!is_number(load->decode_requests) || !is_number(load->decode_context) ||
      !is_number(load->query_tokens) || !is_number(load->prefill_tokens) ||
      !is_number(load->prefill_requests) || !is_number(load->prefill_context) ||
      !(load->decode_requests + load->prefill_tokens > 0))
    return FC_E_DOMAIN;
  fc_status status = fc_serve_plan_check(model, plan, NULL);
  if (status != FC_OK) return status;

  fc_meter meter;
  fc_meter_init(&meter, profile);
  fc_bill bill = {0};
  meter.bill = &bill;
  bool split = plan->two_batch_overlap && plan->ep > 1;
  double halves = split ? 2 : 1;
  meter.weight = halves;
  fc_layer l;
  layer_of(&l, &meter, model, plan, load, 1 / halves);
  /* high-throughput dispatch runs on compute units of its own; the low-latency one waits on the network */
  if (split && !l.low_latency) meter.units = fmax(1, meter.units - profile->comm_compute_units);
  emit(&l, load->query_tokens);
  hand_over(&l, plan);
  if (meter.missing) return FC_E_DOMAIN;

  const double *s = bill.s[FC_PASS_FORWARD];
  *out = (fc_serve_iteration){.attention_s = halves * s[FC_PART_ATTENTION],
                              .dense_s = halves * s[FC_PART_DENSE],
                              .experts_s = halves * s[FC_PART_EXPERTS],
                              .glue_s = halves * s[FC_PART_GLUE],
                              .head_s = halves * s[FC_PART_HEAD],
                              .launch_s = halves * s[FC_PART_LAUNCH],
                              .host_s = profile->iteration_host_s};
  double busy = out->attention_s + out->dense_s + out->experts_s + out->glue_s + out->head_s + out->launch_s;
  double ep = halves * s[FC_PART_EP], tp = halves * s[FC_PART_TP];
  /* two batches alternate on two resources: the busier one sets the pace */
  out->comm_hidden_s = split ? fmin(ep, busy) : 0;
  out->comm_s = ep - out->comm_hidden_s + tp + halves * s[FC_PART_CP];
  if (plan->pp > 1)
    out->comm_s += wait_s(model, plan, out->head_s, busy - out->head_s + ep - out->comm_hidden_s + tp);
  out->idle_s = idle_of(&l, load, halves, busy + out->comm_s);
  out->host_s += out->idle_s;
  out->seconds = busy + out->comm_s + out->host_s;
  out->flop = meter.flop;
  out->bytes = meter.bytes;
  out->watts = fmin(meter.device.idle_w + meter.dynamic_j / out->seconds,
                    meter.device.idle_w + meter.device.dynamic_w);
  out->log_sd = hypot(fc_meter_log_sd(&meter), FC_SERVE_COMPOSITION_LOG_SD);
  out->clamped = meter.clamped;
  out->outside = meter.outside;
  out->substituted = meter.substituted;
  return isfinite(out->seconds) ? FC_OK : FC_E_DOMAIN;
}

void fc_cost_serve_stage_memory(fc_serve_memory *out, const fc_model *model, const fc_device *device,
                                const fc_serve_plan *plan, double context) {
  fc_cost_serve_memory(out, model, device, plan, context);
  double stages = (double)fc_serve_stages(plan), layers = (double)model->layers;
  if (!(stages > 1)) return;
  double table = 2 * (double)model->vocab * (double)model->hidden / (double)plan->tp; /* BF16 */
  double tables = model->tied_embeddings ? table : 2 * table;
  double share = ceil(layers / stages) / layers;
  out->weight_bytes = share * fmax(0, out->weight_bytes - tables) + table;
  out->kv_bytes_per_request *= share;
  out->room_bytes = device->memory_bytes * plan->memory_fraction - out->weight_bytes;
}
