/* SPDX-License-Identifier: Apache-2.0 */
#include "train.h"
#include "verbs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/stop.h>
#include <fleetcast/train/rollout.h>
#include <fleetcast/train/step.h>

static const double bytes_per_gb = 1e9;

/* A stated plan is not refused for less than what the memory model errs by: people ran it.
 * @source docs/model.md#memory: at most 3 % on published rows */
static const double memory_error = 0.03;
/* Goodput of a closed form below which it has no answer: a simulated life is given up at a hundredth. */
static const double no_headway = 1e-6;

/* --- a plan --- */

static bool plan_is_whole(const fc_train_plan *p) {
  return p->tp > 0 && p->pp > 0 && p->ep > 0 && p->micro_batch > 0 && p->global_batch > 0 && p->sequence > 0;
}

static fc_train_plan with_defaults(fc_train_plan p, int64_t devices) {
  p.devices = devices;
  if (p.cp < 1) p.cp = 1;
  if (p.virtual_stages < 1) p.virtual_stages = 1;
  if (!(p.expert_imbalance >= 1)) p.expert_imbalance = 1;
  return p;
}

/* As given where it is whole, else the fastest that fits. */
static fc_status estimate(fc_train_estimate *out, const fc_model *model, const fc_profile *profile,
                          fc_train_plan plan, int64_t devices, const fc_failure *failure, char *why) {
  if (model->moe.experts == 0 && plan.ep == 0) plan.ep = 1;
  if (!plan_is_whole(&plan)) return fc_train_estimate_auto(out, model, profile, &plan, devices, failure, why);
  plan = with_defaults(plan, devices);
  fc_status status = fc_train_estimate_plan(out, model, profile, &plan, failure, why);
  if (status != FC_OK || out->memory_bytes <= (1 + memory_error) * profile->device->memory_bytes)
    return status;
  (void)snprintf(why, 256, "the plan needs %.1f GB of a device's %.1f GB: %.1f GB too many",
                 out->memory_bytes / bytes_per_gb, profile->device->memory_bytes / bytes_per_gb,
                 (out->memory_bytes - profile->device->memory_bytes) / bytes_per_gb);
  return FC_E_INFEASIBLE;
}

/* Parts are the closed form's; what the schedule's graph adds to it, or saves, is idle time. */
static fc_status parts(fc_train_step *step, fc_train_memory *memory, const fc_model *model,
                       const fc_profile *profile, const fc_train_estimate *e) {
  fc_status status = fc_cost_train_step(step, model, profile, &e->plan);
  if (status != FC_OK) return status;
  fc_cost_train_memory(memory, model, &e->plan);
  step->bubble_s = fmax(step->bubble_s + e->step_s - step->seconds, 0);
  step->seconds = e->step_s;
  return FC_OK;
}

/* What the closed form takes: unexpected stops alone, at medians. */
static fc_failure failure_of(const training *t) {
  const fc_recovery_def *r = &t->recovery;
  double rate = fc_recovery_rate(r), restart = 0;
  for (size_t i = 0; i < r->n_hazards; i++) {
    fc_recovery_def one = *r;
    one.n_hazards = 1;
    one.hazards = &r->hazards[i];
    double stop = fc_dist_median(&r->hazards[i].detect_s) + fc_dist_median(&r->hazards[i].restart_s);
    if (rate > 0) restart += fc_recovery_rate(&one) / rate * stop;
  }
  double interval = fc_recovery_interval_s(r);
  return (fc_failure){.device_mtbf_s = rate > 0 ? (double)r->devices / rate : (double)INFINITY,
                      .restart_s = restart,
                      .checkpoint_s = isfinite(interval) ? interval : 0,
                      .checkpoint_write_s = isfinite(interval) ? fc_dist_median(&r->checkpoint_write_s) : 0};
}

/* --- phases --- */

/* Stretches of the ramp, then the rest at the plan's own batch. */
static fc_status compose_updates(fc_train_phase_answer *a, const training *t, const fc_train_phase *p,
                                 const fc_failure *failure, char *why) {
  const fc_train_estimate *e = &a->estimate;
  double done = 0;
  for (size_t i = 0; i < p->n_ramp; i++) {
    fc_train_estimate other;
    fc_train_plan plan = e->plan;
    plan.global_batch = p->ramp[i].global_batch;
    fc_status status = fc_train_estimate_plan(&other, t->def->model, t->def->profile, &plan, failure, why);
    if (status != FC_OK) return status;
    double tokens = p->ramp[i].until_tokens - done;
    a->update_s += tokens / other.tokens_per_s;
    a->steps += tokens / ((double)plan.global_batch * (double)plan.sequence);
    done = p->ramp[i].until_tokens;
  }
  a->update_s += (p->tokens - done) / e->tokens_per_s;
  a->steps += (p->tokens - done) / ((double)e->plan.global_batch * (double)e->plan.sequence);
  return FC_OK;
}

/* From step to step: noise, which averages out over a run. */
static fc_status compose_jitter(fc_train_phase_answer *a, const training *t, uint64_t seed, char *why) {
  enum { DRAWS = 200 };
  fc_step_jitter jitter = fc_step_jitter_usual();
  fc_step_distribution d;
  fc_status status = fc_train_step_distribution(&d, t->def->model, t->def->profile, &a->estimate.plan,
                                                &jitter, seed, DRAWS, why);
  if (status != FC_OK) return status;
  a->step_cv = d.cv;
  a->step_p99 = d.p99_s / d.mean_s;
  return FC_OK;
}

/* Weights as released, every device of an instance its share through its port; instances pass them on. */
static double publish_s(const training *t, const fc_train_rollouts *r, const fc_serve_capacity *c) {
  if (r->publish_s > 0) return r->publish_s;
  double port = t->def->profile->device->scaleout_bytes_per_s, unit = fmax(1, (double)c->decode_unit);
  double bytes = fc_model_params(t->def->model) * fc_dtype_bytes(t->def->model->weights);
  return port > 0 ? bytes / unit / port : 0;
}

/* A pool of its own, beside the updates: what is longer than they is waited for. */
static void rollouts_apart(fc_train_phase_answer *a, const training *t, const fc_train_rollouts *r,
                           const fc_serve_capacity *c, double device_s, double watts) {
  double pool = (double)r->devices, rest = (double)t->def->devices - pool, steps = fmax(1, a->steps);
  double idle_w = t->def->profile->device->idle_w;
  fc_rollout_pool p = {.generate_s = device_s / pool / steps,
                       .wait = r->wait,
                       .update_s = a->update_s / steps,
                       .publish_s = publish_s(t, r, c),
                       .lag = r->lag};
  double all_s =
      p.wait * p.generate_s + p.update_s + (steps - 1) * fc_rollout_cycle_s(&p); /* the first fills */
  double train_j = a->update_s * a->watts + (all_s - a->update_s) * idle_w;
  double pool_j = device_s / pool * watts + (all_s - device_s / pool) * idle_w;
  a->rollout_s = all_s - a->update_s;
  a->watts = (rest * train_j + pool * pool_j) / ((rest + pool) * all_s);
}

/* Generation: on all devices between the updates, or apart. */
static fc_status compose_rollouts(fc_train_phase_answer *a, const training *t, const fc_train_rollouts *r,
                                  char *why) {
  fc_serve_capacity c;
  fc_deployment deployment = r->deployment;
  if (deployment.automatic) deployment.device_limit = r->devices > 0 ? r->devices : t->def->devices;
  fc_status status =
      fc_serve_capacity_solve(&c, t->def->model, t->def->profile, &deployment, &r->shape, &r->slo, why);
  if (status != FC_OK) return status;
  double prompt_s = r->shape.input_tokens * (1 - r->shape.cache_hit) / c.prefill_tokens_per_s;
  double output_s = r->shape.output_tokens / c.decode_tokens_per_s;
  double device_s = r->tokens * (prompt_s + output_s) / r->shape.output_tokens;
  double watts = (prompt_s * c.prefill_watts + output_s * c.decode_watts) / (prompt_s + output_s);
  if (r->devices > 0) {
    rollouts_apart(a, t, r, &c, device_s, watts);
    return FC_OK;
  }
  a->rollout_s = r->wait * device_s / (double)t->def->devices;
  a->watts = (a->update_s * a->watts + a->rollout_s * watts) / (a->update_s + a->rollout_s);
  return FC_OK;
}

static fc_status compose(training *t, size_t i, char *why) {
  const fc_train_phase *p = &t->def->phases[i];
  fc_train_phase_answer *a = &t->answer.phase[i];
  *a = (fc_train_phase_answer){
      .name = p->name, .composed = p->tokens > 0, .reported_device_s = p->reported_device_s};
  t->phase_name[i] = p->name;
  t->phase[i].setup_s = p->setup_s;
  if (!a->composed) {
    a->work_s = t->phase[i].work_s = p->device_s / (double)t->def->devices;
    a->watts = t->def->profile->device->tdp_w;
    a->closed_form_device_s = p->device_s;
    return FC_OK;
  }
  int64_t apart = p->rollouts ? p->rollouts->devices : 0, trains = t->def->devices - apart;
  if (trains < 1) {
    (void)snprintf(why, 256, "rollouts on %lld devices leave none of the run's %lld for updates",
                   (long long)apart, (long long)t->def->devices);
    return FC_E_DOMAIN;
  }
  fc_failure failure = failure_of(t);
  fc_status status = estimate(&a->estimate, t->def->model, t->def->profile, p->plan, trains, &failure, why);
  if (status == FC_OK) status = parts(&a->step, &a->memory, t->def->model, t->def->profile, &a->estimate);
  a->watts = a->estimate.watts;
  a->tokens = p->tokens;
  if (status == FC_OK) status = compose_updates(a, t, p, &failure, why);
  if (status == FC_OK) status = compose_jitter(a, t, t->recovery.seed, why);
  if (status == FC_OK && p->rollouts) status = compose_rollouts(a, t, p->rollouts, why);
  if (status != FC_OK) return status;
  a->work_s = t->phase[i].work_s = a->update_s + a->rollout_s;
  t->phase[i].log_sd = a->estimate.step_log_sd;
  if (a->estimate.goodput > no_headway)
    a->closed_form_device_s = (double)t->def->devices * a->work_s / a->estimate.goodput;
  return FC_OK;
}

/* --- the run --- */

static void fill_recovery(training *t, uint64_t seed, size_t threads) {
  const fc_train_def *d = t->def;
  const fc_train_recovery *r = &d->recovery;
  int64_t node = d->profile->device->node_devices > 0 ? d->profile->device->node_devices : 8;
  if (node > d->devices) node = d->devices;
  t->recovery = (fc_recovery_def){.devices = d->devices,
                                  .node_devices = node,
                                  .spare_nodes = r->spare_nodes,
                                  .n_phases = d->n_phases,
                                  .phases = t->phase,
                                  .n_hazards = d->n_hazards,
                                  .hazards = d->hazards,
                                  .checkpoint_s = r->checkpoint_s,
                                  .checkpoint_write_s = r->write_s,
                                  .checkpoint_flush_s = r->flush_s,
                                  .repair_s = r->repair_s,
                                  .replications = (size_t)d->replications,
                                  .threads = threads,
                                  .seed = seed,
                                  .cancel = fc_stop_flag()};
}

/* A shrunk run leaves out a data-parallel rank of its first composed phase. */
static int64_t group_of(const training *t) {
  for (size_t i = 0; i < t->def->n_phases; i++) {
    const fc_train_plan *p = &t->answer.phase[i].estimate.plan;
    if (t->answer.phase[i].composed) return p->tp * p->pp * p->cp;
  }
  return 0;
}

/* --- money --- */

/* 0: not stated. */
static void fill_price(fc_dist *cost, double usd) {
  if (!(fc_dist_quantile(cost, 1 - 1e-9) > 0)) *cost = fc_dist_point(usd);
}

/* Servers against network in what is not chips, and all three without an all-in price.
 * @source Cottier et al. 2024, The rising costs of training frontier AI models: of development cost, chips 23
 *         to 32 %, servers 15 to 22 %, interconnect 9 to 13 %; midpoints */
static const double chip_part = 27.5, server_part = 18.5, network_part = 11;

static fc_status fill_costs(training *t, uint64_t seed, char *why) {
  const fc_train_def *d = t->def;
  const fc_device *device = d->profile->device;
  fc_ledger_def *l = &t->costs;
  *l = (fc_ledger_def){.n_others = d->ledger.n_others,
                       .others = d->ledger.others,
                       .server_w = device->server_w,
                       .tdp_w = device->tdp_w,
                       .idle_w = device->idle_w,
                       .devices = d->devices,
                       .spare_devices = t->recovery.spare_nodes * t->recovery.node_devices,
                       .n_phases = d->n_phases,
                       .phase = t->phase_name,
                       .reported = {d->reported.device_s, d->reported.usd, d->reported.wall_s},
                       .seed = seed};
  memcpy(l->cost, d->ledger.cost, sizeof l->cost);
  double chip = cli_price_at(&device->purchase_usd, d->date),
         system = cli_price_at(&device->system_usd, d->date);
  fill_price(&l->cost[FC_COST_RENT], cli_price_at(&device->rent_usd_per_s, d->date));
  fill_price(&l->cost[FC_COST_CHIP], chip);
  chip = fc_dist_median(&l->cost[FC_COST_CHIP]);
  double rest = system > chip ? system - chip : chip * (server_part + network_part) / chip_part;
  fill_price(&l->cost[FC_COST_SERVER], rest * server_part / (server_part + network_part));
  fill_price(&l->cost[FC_COST_NETWORK], rest * network_part / (server_part + network_part));
  double joule = 0, work = 0;
  for (size_t i = 0; i < d->n_phases; i++) {
    work += t->answer.phase[i].work_s;
    joule += t->answer.phase[i].work_s * t->answer.phase[i].watts;
  }
  l->busy_w = joule / work;
  if (fc_dist_median(&l->cost[FC_COST_RENT]) > 0) return fc_ledger_check(l, why);
  (void)snprintf(why, 256, "no market price of '%.64s' is known: state 'ledger.rent'",
                 d->profile->device_name);
  return FC_E_DOMAIN;
}

/* --- variants --- */

static void compose_variant(training *t, size_t i) {
  const fc_train_variant *v = &t->def->variants[i];
  fc_train_variant_answer *a = &t->variant[i];
  fc_failure failure = failure_of(t);
  *a =
      (fc_train_variant_answer){.name = v->name, .model = v->model->name, .tokens = t->def->phases[0].tokens};
  fc_status status = estimate(&a->estimate, v->model, v->profile, v->plan, v->devices, &failure, a->why);
  if (status == FC_OK) status = parts(&a->step, &a->memory, v->model, v->profile, &a->estimate);
  a->feasible = status == FC_OK && a->estimate.goodput > no_headway;
  if (status == FC_OK && !a->feasible)
    (void)snprintf(a->why, sizeof a->why, "failures come faster than checkpoints: it makes no headway");
  if (!a->feasible) {
    if (!*a->why) (void)snprintf(a->why, sizeof a->why, "%s", fc_status_text(status));
    return;
  }
  a->device_s = (double)v->devices * a->tokens / a->estimate.tokens_per_s / a->estimate.goodput;
  double rent = v->profile == t->def->profile
                    ? fc_dist_median(&t->costs.cost[FC_COST_RENT])
                    : cli_price_at(&v->profile->device->rent_usd_per_s, t->def->date);
  a->usd = a->device_s * rent;
}

/* --- all --- */

static fc_status check_references(const fc_train_def *d, char *why) {
  bool whole = d->model && d->profile && d->profile->device;
  for (size_t i = 0; i < d->n_variants; i++)
    whole = whole && d->variants[i].model && d->variants[i].profile && d->variants[i].profile->device;
  if (whole) return FC_OK;
  (void)snprintf(why, 256, "a model or a device is missing");
  return FC_E_DOMAIN;
}

fc_status cli_training_make(training *t, const fc_train_def *def, uint64_t seed, size_t threads, char *why) {
  *t = (training){.def = def};
  fc_status status = check_references(def, why);
  if (status != FC_OK) return status;
  fill_recovery(t, seed, threads);
  for (size_t i = 0; i < def->n_phases; i++) {
    char reason[256] = "";
    status = compose(t, i, reason);
    if (status == FC_OK) continue;
    (void)snprintf(why, 256, "%.48s: %.200s", def->phases[i].name, *reason ? reason : fc_status_text(status));
    return status;
  }
  if (def->recovery.shrinks) t->recovery.group_devices = group_of(t);
  status = fc_recovery_check(&t->recovery, why);
  if (status == FC_OK) status = fill_costs(t, seed, why);
  if (status != FC_OK) return status;
  t->sample = calloc(t->recovery.replications, sizeof *t->sample);
  t->ledger = calloc(1, sizeof *t->ledger);
  t->variant = calloc(def->n_variants + 1, sizeof *t->variant);
  if (!t->sample || !t->ledger || !t->variant) return FC_E_NOMEM;
  for (size_t i = 0; i < def->n_variants; i++) compose_variant(t, i);
  t->answer.def = def;
  t->answer.seed = seed;
  t->answer.n_phases = def->n_phases;
  t->answer.recovery = &t->recovery;
  t->answer.n_samples = t->recovery.replications;
  t->answer.sample = t->sample;
  t->answer.costs = &t->costs;
  t->answer.ledger = t->ledger;
  t->answer.n_variants = def->n_variants;
  t->answer.variant = t->variant;
  return FC_OK;
}

fc_status cli_training_run(training *t, char *why) {
  fc_status status = fc_recovery_run(t->sample, &t->recovery, why);
  if (status != FC_OK) return status;
  return fc_ledger_make(t->ledger, &t->costs, t->sample, t->recovery.replications, why);
}

void cli_training_free(training *t) {
  free(t->sample);
  free(t->ledger);
  free(t->variant);
}
