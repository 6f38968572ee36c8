/* SPDX-License-Identifier: Apache-2.0 */
#include "fakes.h"

#include <math.h>
#include <stdio.h>

#include <fleetcast/serve/surface.h>
#include <fleetcast/serve/view.h>

/* Where the fake rates lie in a device: members that nothing else of the fleet reads. */
#define PREFILL l2_bytes
#define DECODE  memory_bytes_per_s
#define TRAIN   scaleup_bytes_per_s

const fake_device fake_plain = {.name = "plain",
                                .prefill = 1000,
                                .decode = 100,
                                .train = 100,
                                .h100e = 1,
                                .node = 1,
                                .tdp_w = 700,
                                .idle_w = 100,
                                .server_w = 1000,
                                .system_usd = 50000,
                                .rent_usd_per_s = 2.0 / 3600};

void fake_profile_make(fake_profile *out, const fake_device *d) {
  *out = (fake_profile){.system = {0, d->system_usd}, .rent = {0, d->rent_usd_per_s}};
  out->device = (fc_device){.name = d->name,
                            .PREFILL = d->prefill,
                            .DECODE = d->decode,
                            .TRAIN = d->train,
                            .node_devices = d->node,
                            .tdp_w = d->tdp_w,
                            .idle_w = d->idle_w,
                            .server_w = d->server_w};
  out->device.peak_flop_per_s[FC_DTYPE_FP8] = d->h100e * FC_H100E_OP_PER_S;
  out->device.peak_flop_per_s[FC_DTYPE_BF16] = d->h100e * FC_H100E_OP_PER_S / 2;
  if (d->system_usd > 0) out->device.system_usd = (fc_series){.n = 1, .point = &out->system};
  if (d->rent_usd_per_s > 0) out->device.rent_usd_per_s = (fc_series){.n = 1, .point = &out->rent};
  out->profile = (fc_profile){.name = d->name, .device_name = d->name, .device = &out->device};
}

fc_model fake_model(int64_t hidden, int64_t least_devices) {
  return (fc_model){.name = "fake", .hidden = hidden, .layers = least_devices};
}

fc_pool_def fake_pool(const char *name, const fake_profile *profile, const fc_delivery *delivery, size_t n) {
  return (fc_pool_def){.name = name,
                       .profile = &profile->profile,
                       .n_deliveries = n,
                       .deliveries = delivery,
                       .device_mtbf_s = (double)INFINITY,
                       .repair_s = 86400,
                       .pue = 1,
                       .depreciation_s = 5 * FC_YEAR_S};
}

fc_series fake_series(fc_series_point *point, double value) {
  *point = (fc_series_point){0, value};
  return (fc_series){.interp = FC_SERIES_STEP, .n = 1, .point = point};
}

fc_service_def fake_service(const char *name, const fc_model *model, fc_series tokens_per_s) {
  return (fc_service_def){.name = name,
                          .model = model,
                          .tokens_per_s = tokens_per_s,
                          .request = {.input_tokens = 800, .output_tokens = 200},
                          .slo = {.ttft_s = 2, .tpot_s = 0.05},
                          .deployment = {.automatic = true, .speculative_tokens = 1},
                          .patience_s = 3600,
                          .efficiency_per_year = 1};
}

fc_run_def fake_run(const char *name, const fc_model *model, fc_time date, int64_t devices, double tokens) {
  return (fc_run_def){.name = name,
                      .category = FC_CATEGORY_PRE_TRAINING,
                      .date = date,
                      .model = model,
                      .tokens = tokens,
                      .rollout = {.input_tokens = 1000, .output_tokens = 4000},
                      .devices = devices,
                      .failure = {.device_mtbf_s = (double)INFINITY},
                      .priority = 3,
                      .preemptible = true};
}

fc_stream_def fake_stream(const char *name, const fc_model *model, fc_series rate_per_s, fc_dist work_s,
                          fc_dist devices) {
  return (fc_stream_def){.name = name,
                         .category = FC_CATEGORY_EXPERIMENTS,
                         .model = model,
                         .rate_per_s = rate_per_s,
                         .work_device_s = work_s,
                         .devices = devices,
                         .failure = {.device_mtbf_s = (double)INFINITY},
                         .priority = 6,
                         .preemptible = true};
}

/* --- L1 --- */

fc_status fc_serve_capacity_solve(fc_serve_capacity *out, const fc_model *model, const fc_profile *profile,
                                  const fc_deployment *deployment, const fc_request_shape *shape,
                                  const fc_slo *slo, char *why) {
  const fc_device *d = profile->device;
  (void)model, (void)slo;
  if (!(shape->input_tokens + shape->output_tokens > 0)) return FC_E_DOMAIN;
  if (!(d->PREFILL > 0) || !(d->DECODE > 0)) {
    if (why) snprintf(why, 256, "weights do not fit on %s", d->name);
    return FC_E_INFEASIBLE;
  }
  int64_t prefill = deployment->prefill.devices, decode = deployment->decode.devices;
  *out = (fc_serve_capacity){.deployment = *deployment,
                             .prefill_tokens_per_s = d->PREFILL,
                             .decode_tokens_per_s = d->DECODE,
                             .prefill_unit = prefill > 0 ? prefill : 1,
                             .decode_unit = decode > 0 ? decode : 1,
                             .prefill_watts = d->tdp_w,
                             .decode_watts = 0.5 * (d->tdp_w + d->idle_w),
                             .prefill_limit = "TTFT",
                             .decode_limit = "TPOT"};
  return FC_OK;
}

/* As the closed form, after one simulation. */
fc_serve_plan fc_serve_plan_complete(const fc_model *model, const fc_serve_plan *plan) {
  (void)model;
  return *plan;
}

void fc_serve_formats_of(fc_engine *engine, const fc_serve_plan *plan, const fc_model *model,
                         const fc_device *device) {
  (void)engine, (void)plan, (void)model, (void)device;
}

bool fc_engine_named(fc_engine *out, const char *name) {
  *out = (fc_engine){.name = name};
  return true;
}

/* No tables: the profile as it is. */
fc_status fc_serve_view_make(fc_serve_view *out, const fc_engine *engine, const fc_model *model,
                             const fc_profile *profile, bool measured) {
  (void)model, (void)measured;
  *out = (fc_serve_view){.engine = *engine, .profile = profile};
  return FC_OK;
}

void fc_serve_view_free(fc_serve_view *view) {
  (void)view;
}

fc_status fc_surface_capacity(fc_serve_capacity *out, const fc_model *model, const fc_profile *profile,
                              const fc_deployment *deployment, const fc_request_shape *shape,
                              const fc_slo *slo, const fc_surface_options *options, char *why) {
  if (options->simulated) options->simulated(options->context);
  return fc_serve_capacity_solve(out, model, profile, deployment, shape, slo, why);
}

static fc_status estimate(fc_train_estimate *out, const fc_model *model, const fc_profile *profile,
                          int64_t devices, char *why) {
  const fc_device *d = profile->device;
  if (!(d->TRAIN > 0) || devices < model->layers) {
    if (why) snprintf(why, 256, "needs %lld devices", (long long)model->layers);
    return FC_E_INFEASIBLE;
  }
  double rate = d->TRAIN * (double)devices, flop = 6.0 * (double)model->hidden;
  *out = (fc_train_estimate){.plan = {.devices = devices},
                             .step_s = 1,
                             .tokens_per_s = rate,
                             .flop_per_token = flop,
                             .mfu = rate * flop / ((double)devices * d->peak_flop_per_s[FC_DTYPE_BF16]),
                             .fits = true,
                             .watts = d->tdp_w,
                             .goodput = 1};
  return FC_OK;
}

fc_status fc_train_estimate_plan(fc_train_estimate *out, const fc_model *model, const fc_profile *profile,
                                 const fc_train_plan *plan, const fc_failure *failure, char *why) {
  (void)failure;
  fc_status st = estimate(out, model, profile, plan->devices, why);
  if (st == FC_OK) out->plan = *plan, out->fits = plan->tp <= 8, out->memory_bytes = 99e9;
  return st;
}

fc_status fc_train_estimate_auto(fc_train_estimate *out, const fc_model *model, const fc_profile *profile,
                                 const fc_train_plan *wish, int64_t devices, const fc_failure *failure,
                                 char *why) {
  (void)wish, (void)failure;
  return estimate(out, model, profile, devices, why);
}

double fc_model_forward_flop_per_token(const fc_model *model, double context) {
  (void)context;
  return 2.0 * (double)model->hidden;
}

double fc_device_h100e(const fc_device *device) {
  return device->peak_flop_per_s[FC_DTYPE_FP8] / FC_H100E_OP_PER_S;
}
