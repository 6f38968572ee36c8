/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/serve/capacity.h>

#include <math.h>
#include <stdio.h>

#include "phase.h"

fc_serve_plan fc_serve_plan_complete(const fc_model *model, const fc_serve_plan *plan) {
  fc_serve_plan p = *plan;
  if (p.tp < 1) p.tp = p.devices > 0 && p.attention_dp > 0 ? p.devices / p.attention_dp : 1;
  if (p.tp < 1) p.tp = 1;
  if (p.attention_dp < 1) p.attention_dp = p.devices > p.tp ? p.devices / p.tp : 1;
  if (p.devices < 1) p.devices = p.tp * p.attention_dp;
  if (p.ep < 1) p.ep = model->moe.experts > 0 && p.attention_dp > 1 ? p.devices : 1;
  if (p.gemm == FC_DTYPE_FP32) p.gemm = model->weights == FC_DTYPE_FP32 ? FC_DTYPE_BF16 : model->weights;
  if (p.kv == FC_DTYPE_FP32) p.kv = FC_DTYPE_BF16;
  if (!(p.expert_imbalance >= 1)) p.expert_imbalance = model->moe.experts > 0 ? FC_SERVE_IMBALANCE : 1;
  if (!(p.memory_fraction > 0)) p.memory_fraction = FC_SERVE_MEMORY_FRACTION;
  return p;
}

fc_status fc_phase_demand_of(fc_phase_demand *d, const fc_model *model, const fc_profile *profile,
                             const fc_deployment *deployment, const fc_request_shape *shape,
                             const fc_slo *slo) {
  if (!(shape->input_tokens > 0) || !isfinite(shape->input_tokens) || !(shape->output_tokens > 0) ||
      !isfinite(shape->output_tokens) || !(shape->cache_hit >= 0 && shape->cache_hit < 1) ||
      !(shape->input_cv >= 0 && shape->input_cv <= 10) ||
      !(shape->output_cv >= 0 && shape->output_cv <= 10) || !(slo->ttft_s > 0) || !(slo->tpot_s > 0) ||
      !(deployment->speculative_tokens >= 0) || deployment->speculative_tokens > 16)
    return FC_E_DOMAIN;
  *d = (fc_phase_demand){.model = model, .profile = profile, .slo = *slo};
  d->cached = shape->input_tokens * shape->cache_hit;
  d->fresh = shape->input_tokens - d->cached;
  d->output = shape->output_tokens;
  d->output_cv = shape->output_cv;
  d->yield = fmax(1, deployment->speculative_tokens);
  d->queries = ceil(d->yield - 1e-9);
  return FC_OK;
}

/* --- candidate plans --- */

enum { PLANS_MAX = 40 };

/* Tensor parallel within a scale-up domain; for experts also data-parallel attention with wide expert
 * parallelism, with and without two-batch overlap. */
static int plans_of(fc_serve_plan out[PLANS_MAX], const fc_model *model, const fc_device *device,
                    const fc_serve_plan *wish) {
  int n = 0;
  /* past the domain as far as two common nodes: slow, but some models fit nowhere else */
  int64_t domain = device->scaleup_devices > 16 ? device->scaleup_devices : 16;
  for (int64_t tp = 1; tp <= domain && tp <= 64; tp *= 2) {
    fc_serve_plan p = *wish;
    p.devices = p.tp = tp;
    p.attention_dp = p.ep = 1;
    p.two_batch_overlap = false;
    p = fc_serve_plan_complete(model, &p);
    if (fc_serve_plan_check(model, &p, NULL) == FC_OK) out[n++] = p;
  }
  if (model->moe.experts == 0) return n;
  static const int64_t wide[] = {4, 8, 16, 32, 64, 144}; /* 144: the widest published (DeepSeek, day 6) */
  for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
    for (int overlap = 0; overlap < 2; overlap++) {
      fc_serve_plan p = *wish;
      p.devices = p.attention_dp = p.ep = wide[i];
      p.tp = 1;
      p.two_batch_overlap = overlap == 1;
      p = fc_serve_plan_complete(model, &p);
      if (n < PLANS_MAX && fc_serve_plan_check(model, &p, NULL) == FC_OK) out[n++] = p;
    }
  return n;
}

/* Better: fewer device-seconds a token; among faults the one that comes closest to an answer. */
static void keep_better(fc_phase *best, const fc_phase *candidate) {
  bool first = best->plan.devices == 0;
  if (candidate->fault == FC_FAULT_NONE) {
    if (first || best->fault != FC_FAULT_NONE || candidate->rate > best->rate) *best = *candidate;
  } else if (first || (best->fault != FC_FAULT_NONE &&
                       (candidate->fault > best->fault ||
                        (candidate->fault == best->fault && candidate->best < best->best)))) {
    *best = *candidate;
  }
}

/* --- answers --- */

static fc_status tell(char *why, const fc_phase_demand *d, const fc_phase *phase, const char *which) {
  if (!why) return phase->fault == FC_FAULT_PLAN ? FC_E_DOMAIN : FC_E_INFEASIBLE;
  const char *model = d->model->name ? d->model->name : "model", *device = d->profile->device_name;
  if (!device) device = "device";
  switch (phase->fault) {
  case FC_FAULT_NONE: break;
  case FC_FAULT_PLAN:
    if (fc_serve_plan_check(d->model, &phase->plan, why) == FC_OK)
      (void)snprintf(why, 256, "no plan divides %s", model);
    return FC_E_DOMAIN;
  case FC_FAULT_MEMORY:
    (void)snprintf(
        why, 256, "%s: %s needs %.0f GB a device for weights and one request on %lld x %s, which has %.0f GB",
        which, model, phase->best / 1e9, (long long)phase->plan.devices, device,
        d->profile->device->memory_bytes * phase->plan.memory_fraction / 1e9);
    break;
  case FC_FAULT_TTFT:
    (void)snprintf(why, 256,
                   "%s: %s on %lld x %s needs %.3g s to the first token, over the objective of %.3g s", which,
                   model, (long long)phase->plan.devices, device, phase->best, d->slo.ttft_s);
    break;
  case FC_FAULT_TPOT:
    (void)snprintf(
        why, 256,
        "%s: %s on %lld x %s takes %.3g ms a token at the smallest batch, over the objective of %.3g ms",
        which, model, (long long)phase->plan.devices, device, phase->best * 1e3, d->slo.tpot_s * 1e3);
    break;
  case FC_FAULT_PROFILE:
    (void)snprintf(why, 256, "%s: the profile of %s lacks a kernel that %s needs", which, device, model);
    break;
  }
  return FC_E_INFEASIBLE;
}

static void answer_split(fc_serve_capacity *out, const fc_phase *p, const fc_phase *g) {
  out->deployment.disaggregated = true;
  out->deployment.prefill = p->plan;
  out->deployment.decode = g->plan;
  out->prefill_tokens_per_s = p->rate;
  out->decode_tokens_per_s = g->rate;
  out->prefill_unit = p->plan.devices;
  out->decode_unit = g->plan.devices;
  out->ttft_s = p->ttft_s;
  out->tpot_s = g->tpot_s;
  out->decode_batch = g->batch;
  out->kv_tokens = g->kv_tokens;
  out->prefill_utilisation = p->utilisation;
  out->prefill_watts = p->watts;
  out->decode_watts = g->watts;
  out->prefill_log_sd = p->log_sd;
  out->decode_log_sd = g->log_sd;
  out->prefill_budget = p->budget;
  out->decode_budget = g->budget;
  out->prefill_limit = p->limit;
  out->decode_limit = g->limit;
}

/* Both phases share the devices; rates are set so that their device-seconds add up to what a request takes.
 */
static void answer_mixed(fc_serve_capacity *out, const fc_phase_demand *d, const fc_phase *g) {
  fc_phase p = *g;
  double requests = g->rate / d->output; /* a device and second */
  p.rate = requests * d->fresh / fmax(g->prefill_share, 1e-9);
  fc_phase gen = *g;
  gen.rate = g->rate / fmax(1 - g->prefill_share, 1e-9);
  answer_split(out, &p, &gen);
  out->deployment.disaggregated = false;
}

static double device_s(const fc_phase_demand *d, double prefill_rate, double decode_rate) {
  return d->fresh / prefill_rate + d->output / decode_rate;
}

static fc_status solve_given(fc_serve_capacity *out, const fc_phase_demand *d,
                             const fc_deployment *deployment, char *why) {
  fc_serve_plan decode = fc_serve_plan_complete(d->model, &deployment->decode);
  if (!deployment->disaggregated) {
    fc_phase g = fc_phase_mixed(d, &decode);
    if (g.fault != FC_FAULT_NONE) return tell(why, d, &g, "serving");
    answer_mixed(out, d, &g);
    return FC_OK;
  }
  fc_serve_plan prefill = fc_serve_plan_complete(d->model, &deployment->prefill);
  fc_phase p = fc_phase_prefill(d, &prefill, true);
  if (p.fault != FC_FAULT_NONE) return tell(why, d, &p, "prefill");
  fc_phase g = fc_phase_decode(d, &decode);
  if (g.fault != FC_FAULT_NONE) return tell(why, d, &g, "decode");
  answer_split(out, &p, &g);
  return FC_OK;
}

static fc_status solve_automatic(fc_serve_capacity *out, const fc_phase_demand *d,
                                 const fc_deployment *deployment, char *why) {
  fc_serve_plan plans[PLANS_MAX];
  fc_phase p = {0}, g = {0}, both = {0};
  const fc_device *device = d->profile->device;
  int64_t limit = deployment->device_limit > 0 ? deployment->device_limit : INT64_MAX;
  int n = plans_of(plans, d->model, device, &deployment->prefill);
  for (int i = 0; i < n; i++) {
    if (plans[i].devices > limit / 2) continue;
    fc_phase candidate = fc_phase_prefill(d, &plans[i], true);
    keep_better(&p, &candidate);
  }
  n = plans_of(plans, d->model, device, &deployment->decode);
  for (int i = 0; i < n; i++) {
    if (plans[i].devices > limit) continue;
    fc_phase candidate = fc_phase_decode(d, &plans[i]);
    if (plans[i].devices <= limit / 2) keep_better(&g, &candidate);
    /* what cannot decode alone cannot do both; what is far slower at decoding alone will not win */
    if (candidate.fault != FC_FAULT_NONE || candidate.rate < 0.5 * g.rate) continue;
    candidate = fc_phase_mixed(d, &plans[i]);
    keep_better(&both, &candidate);
  }
  bool split = p.plan.devices && g.plan.devices && p.fault == FC_FAULT_NONE && g.fault == FC_FAULT_NONE;
  bool mixed = both.plan.devices && both.fault == FC_FAULT_NONE;
  if (!split && !mixed) {
    if (g.plan.devices && g.fault != FC_FAULT_NONE) return tell(why, d, &g, "decode");
    if (p.plan.devices) return tell(why, d, &p, "prefill");
    if (why && limit < INT64_MAX)
      (void)snprintf(why, 256, "no standard plan of %s fits %lld devices",
                     d->model->name ? d->model->name : "the model", (long long)limit);
    else if (why)
      (void)snprintf(why, 256, "no standard plan divides the model");
    return FC_E_INFEASIBLE;
  }
  if (split && mixed) mixed = d->output / both.rate <= device_s(d, p.rate, g.rate);
  if (mixed)
    answer_mixed(out, d, &both);
  else
    answer_split(out, &p, &g);
  return FC_OK;
}

fc_status fc_serve_capacity_solve(fc_serve_capacity *out, const fc_model *model, const fc_profile *profile,
                                  const fc_deployment *deployment, const fc_request_shape *shape,
                                  const fc_slo *slo, char *why) {
  if (why) *why = '\0';
  fc_phase_demand d;
  if (fc_phase_demand_of(&d, model, profile, deployment, shape, slo) != FC_OK) {
    if (why) (void)snprintf(why, 256, "lengths and objectives must be positive, cache_hit below 1");
    return FC_E_DOMAIN;
  }
  fc_serve_capacity answer = {.deployment = *deployment};
  answer.deployment.speculative_tokens = d.yield;
  fc_status status = deployment->automatic ? solve_automatic(&answer, &d, deployment, why)
                                           : solve_given(&answer, &d, deployment, why);
  if (status == FC_OK) *out = answer;
  return status;
}
