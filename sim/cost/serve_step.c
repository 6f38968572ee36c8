/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/cost/serve_step.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "layer.h"

fc_status fc_serve_plan_check(const fc_model *model, const fc_serve_plan *p, char *why) {
  const char *text = NULL;
  int64_t experts = model->moe.experts;
  if (p->tp < 1 || p->attention_dp < 1 || p->ep < 1 || p->devices < 1)
    text = "every degree must be at least 1";
  else if (p->tp * p->attention_dp != p->devices)
    text = "tp * attention_dp must equal devices";
  else if (model->attention.heads % p->tp != 0)
    text = "tp must divide the attention heads";
  else if (experts == 0 && p->ep != 1)
    text = "ep must be 1 for a dense model";
  else if (p->devices % p->ep != 0 || (p->ep % p->tp != 0 && p->tp % p->ep != 0))
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
  double groups = (double)plan->attention_dp, ep = (double)plan->ep, tp = (double)plan->tp;
  double queries = load->query_tokens > 0 ? load->query_tokens : 1;
  *l = (fc_layer){.meter = meter, .model = model, .tp = tp, .cp = 1};
  l->ep = model->moe.experts > 0 ? ep : 1;
  l->moe_tp = l->ep > 1 ? (tp > ep ? tp / ep : 1) : tp;
  l->domain = fmax(1, (double)meter->profile->device->scaleup_devices);
  l->imbalance = plan->expert_imbalance > 1 ? plan->expert_imbalance : 1;
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
  out->comm_s = ep - out->comm_hidden_s + tp;
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
