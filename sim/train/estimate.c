/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/train/run.h>

#include <math.h>
#include <stdio.h>

#include <fleetcast/cost/train_step.h>
#include <fleetcast/train/step.h>

#include "estimate.h"

double fc_train_checkpoint_s(const fc_failure *failure, double devices) {
  if (failure->checkpoint_s > 0) return failure->checkpoint_s;
  return sqrt(2 * failure->checkpoint_write_s * failure->device_mtbf_s / devices);
}

double fc_train_goodput(const fc_failure *failure, double devices) {
  double mtbf = failure->device_mtbf_s / devices, write = failure->checkpoint_write_s;
  double interval = fc_train_checkpoint_s(failure, devices);
  if (!isfinite(mtbf)) return isfinite(interval) && interval > 0 ? interval / (interval + write) : 1;
  double restart = exp(-failure->restart_s / mtbf);
  if (!(interval > 0)) return restart; /* free checkpoints: nothing but restarts is lost */
  return restart * (interval / mtbf) / expm1((interval + write) / mtbf);
}

static fc_train_plan with_defaults(const fc_train_plan *plan) {
  fc_train_plan p = *plan;
  if (p.virtual_stages < 1) p.virtual_stages = 1;
  if (!(p.expert_imbalance >= 1)) p.expert_imbalance = 1;
  return p;
}

static bool failure_is_valid(const fc_failure *f) {
  return f->device_mtbf_s > 0 && f->restart_s >= 0 && isfinite(f->restart_s) && f->checkpoint_s >= 0 &&
         isfinite(f->checkpoint_s) && f->checkpoint_write_s >= 0 && isfinite(f->checkpoint_write_s);
}

/* One stage has no schedule, and graphs of more passes than this are as regular as the closed form. */
enum { GRAPH_PASSES_MAX = 200000 };

/* Stalls lengthen the mean step. */
static double with_stalls(double seconds, double devices) {
  fc_step_jitter j = fc_step_jitter_usual();
  return seconds * (1 + fc_step_stall_rate(&j, devices) * j.straggler_share);
}

fc_status fc_train_step_of(fc_train_simulation *out, const fc_train_step *closed, const fc_model *model,
                           const fc_profile *profile, const fc_train_plan *plan) {
  *out = (fc_train_simulation){.seconds = with_stalls(closed->seconds, (double)plan->devices),
                               .closed_s = closed->seconds,
                               .idle_s = closed->bubble_s};
  double chunks = fmax(1, (double)plan->virtual_stages);
  if (plan->pp < 2 || (double)plan->pp * chunks * closed->micro_batches > GRAPH_PASSES_MAX) return FC_OK;
  fc_status status = fc_train_step_simulate(out, model, profile, plan, NULL);
  if (status == FC_OK) out->seconds = with_stalls(out->seconds, (double)plan->devices);
  return status;
}

fc_status fc_train_estimate_plan(fc_train_estimate *out, const fc_model *model, const fc_profile *profile,
                                 const fc_train_plan *wish, const fc_failure *failure, char *why) {
  if (why) *why = '\0';
  fc_train_plan plan = with_defaults(wish);
  fc_status status = fc_train_plan_check(model, &plan, why);
  if (status != FC_OK) return status;
  if (!failure_is_valid(failure)) {
    if (why)
      (void)snprintf(why, 256, "failure times must be non-negative, the time between failures positive");
    return FC_E_DOMAIN;
  }
  fc_train_step step;
  status = fc_cost_train_step(&step, model, profile, &plan);
  if (status != FC_OK) {
    if (why)
      (void)snprintf(why, 256, "the profile of %s lacks a kernel that training needs", profile->device_name);
    return status;
  }
  fc_train_simulation graph;
  status = fc_train_step_of(&graph, &step, model, profile, &plan);
  if (status != FC_OK) return status;
  fc_train_memory memory;
  fc_cost_train_memory(&memory, model, &plan);
  const fc_device *device = profile->device;
  double devices = (double)plan.devices, tokens = (double)plan.global_batch * (double)plan.sequence;
  fc_train_estimate e = {
      .plan = plan, .step_s = graph.seconds, .step_log_sd = step.log_sd, .watts = step.watts};
  e.tokens_per_s = tokens / graph.seconds;
  e.flop_per_token = fc_model_train_flop_per_token(model, (double)plan.sequence, model->mtp_layers > 0);
  double peak = device->peak_flop_per_s[FC_DTYPE_BF16];
  if (!(peak > 0)) peak = device->peak_flop_per_s[FC_DTYPE_FP8];
  e.mfu = peak > 0 ? e.flop_per_token * e.tokens_per_s / (devices * peak) : 0;
  e.memory_bytes = memory.total_bytes;
  e.fits = memory.total_bytes <= device->memory_bytes;
  e.bubble = graph.idle_s / graph.seconds;
  e.exposed_comm = (step.comm_s + step.data_s) / step.seconds;
  e.goodput = fc_train_goodput(failure, devices);
  *out = e;
  return FC_OK;
}
