/* SPDX-License-Identifier: Apache-2.0 */
/* What L1 says of every service, run and stream on every pool that it may use: asked once, before the run. */
#include "parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "result.h"

/* Rollouts are not a service: any latency will do. */
#define ROLLOUT_TTFT_S 3600.0
#define ROLLOUT_TPOT_S 1.0
/* Lengths of a stream's rollouts; as fc_run_def's defaults. */
#define ROLLOUT_INPUT  1000.0
#define ROLLOUT_OUTPUT 4000.0
/* What a stand-in model's step is estimated with where nothing is said. */
enum { STREAM_SEQUENCE = 4096, STREAM_MAX_DEVICES = 16384 };

static bool is_listed(const int32_t *pools, size_t n, size_t pool) {
  for (size_t i = 0; i < n; i++)
    if (pools[i] == (int32_t)pool) return true;
  return n == 0;
}

static int clamp_level(int priority) {
  return priority < 0 ? 0 : priority >= FC_LEVELS ? FC_LEVELS - 1 : priority;
}

int64_t fc_work_gang(const fc_work *work, int64_t want) {
  int64_t nodes = want / work->node + (want % work->node != 0);
  return nodes > INT64_MAX / work->node ? INT64_MAX : nodes * work->node;
}

/* --- services --- */

/* FLOP of one request: the uncached end of the prompt, then each output token at its mean context. */
static double request_flop(const fc_model *model, const fc_request_shape *r) {
  double fresh = r->input_tokens * (1 - r->cache_hit), flop = 0;
  double head =
      2 * (double)model->vocab * (double)model->hidden; /* of one token: a prompt needs its last one's */
  if (fresh > 0)
    flop +=
        head +
        fresh * (fc_model_forward_flop_per_token(model, 0.5 * r->input_tokens * (1 + r->cache_hit)) - head);
  if (r->output_tokens > 0)
    flop +=
        r->output_tokens * fc_model_forward_flop_per_token(model, r->input_tokens + 0.5 * r->output_tokens);
  return flop;
}

static void site_fill(fc_site *site, const fc_serve_capacity *c, const fc_request_shape *r,
                      const fc_pool *pool) {
  double total = r->input_tokens + r->output_tokens;
  double fresh = r->input_tokens * (1 - r->cache_hit);
  site->split = c->deployment.disaggregated;
  site->prefill_s = fresh > 0 ? fresh / total / c->prefill_tokens_per_s : 0;
  site->decode_s = r->output_tokens > 0 ? r->output_tokens / total / c->decode_tokens_per_s : 0;
  site->prefill_unit = c->prefill_unit > 0 ? c->prefill_unit : 1;
  site->decode_unit = c->decode_unit > 0 ? c->decode_unit : 1;
  site->prefill_w = c->prefill_watts * pool->overhead;
  site->decode_w = c->decode_watts * pool->overhead;
  site->efficiency = 1;
}

/* The answers of all pools to one service. */
static fc_status take_capacities(fc_fleet *f, size_t s, fc_capacity_row **row) {
  const fc_service_def *def = &f->def->services[s];
  fc_service *service = &f->service[s];
  double total = def->request.input_tokens + def->request.output_tokens;
  service->flop_per_token = total > 0 ? request_flop(def->model, &def->request) / total : 0;
  bool any = false;
  const char *first_why = "no pool is listed";
  const fc_capacity_row *end = f->result->capacity + f->result->n_capacities;
  for (; *row < end && (*row)->service == (int32_t)s; (*row)++) {
    fc_capacity_row *r = *row;
    fc_site *site = &service->site[r->pool];
    site->listed = true;
    if (!r->feasible) {
      if (first_why[0] == 'n') first_why = r->why;
      continue;
    }
    site->feasible = any = true;
    site_fill(site, &r->capacity, &def->request, &f->pool[r->pool]);
  }
  if (any || f->def->n_pools == 0 || def->tokens_per_s.n == 0) return FC_OK;
  if (f->why) (void)snprintf(f->why, 256, "service '%.60s': %.160s", def->name ? def->name : "", first_why);
  return FC_E_INFEASIBLE;
}

fc_status fc_fleet_plan_services(fc_fleet *f) {
  size_t n = f->def->n_services * f->def->n_pools;
  f->result->capacity = calloc(n + 1, sizeof *f->result->capacity);
  if (!f->result->capacity) return FC_E_NOMEM;
  for (size_t s = 0; s < f->def->n_services; s++)
    for (size_t p = 0; p < f->def->n_pools; p++)
      if (is_listed(f->def->services[s].pools, f->def->services[s].n_pools, p))
        f->result->capacity[f->result->n_capacities++] =
            (fc_capacity_row){.service = (int32_t)s, .pool = (int32_t)p};
  fc_status st = fc_fleet_solve_capacities(f);
  fc_capacity_row *row = f->result->capacity;
  for (size_t s = 0; s < f->def->n_services && !st; s++) {
    f->service[s].level = clamp_level(f->def->services[s].priority);
    f->service[s].site = calloc(f->def->n_pools + 1, sizeof *f->service[s].site);
    st = f->service[s].site ? take_capacities(f, s, &row) : FC_E_NOMEM;
  }
  return st;
}

/* --- jobs --- */

/* Generation for RL on one pool. */
typedef struct rollout {
  double device_s_per_token, flop_per_token, watts; /* per output token; facility watts of a device */
} rollout;

static fc_status plan_rollout(rollout *out, const fc_fleet *f, const fc_model *model, const fc_pool *pool,
                              const fc_request_shape *r, char *why) {
  fc_serve_capacity c;
  fc_deployment deployment = {.automatic = true, .speculative_tokens = 1, .device_limit = pool->supply.peak};
  fc_slo slo = {.ttft_s = ROLLOUT_TTFT_S, .tpot_s = ROLLOUT_TPOT_S};
  fc_serve_view view;
  const fc_profile *profile;
  fc_status st = fc_fleet_view(&view, &profile, f, model, pool->def->profile, &deployment);
  if (!st) st = fc_serve_capacity_solve(&c, model, profile, &deployment, r, &slo, why);
  fc_serve_view_free(&view);
  if (st) return st;
  double prompt_s = r->input_tokens * (1 - r->cache_hit) / c.prefill_tokens_per_s;
  double output_s = r->output_tokens / c.decode_tokens_per_s;
  out->device_s_per_token = (prompt_s + output_s) / r->output_tokens;
  out->flop_per_token = request_flop(model, r) / r->output_tokens;
  out->watts =
      pool->overhead * (prompt_s * c.prefill_watts + output_s * c.decode_watts) / (prompt_s + output_s);
  return FC_OK;
}

static bool plan_is_whole(const fc_train_plan *plan) {
  return plan->tp > 0 && plan->pp > 0 && plan->ep > 0 && plan->micro_batch > 0 && plan->global_batch > 0 &&
         plan->sequence > 0;
}

static fc_status estimate_run(fc_train_estimate *out, const fc_run_def *def, const fc_profile *profile,
                              const fc_failure *failure, char *why) {
  fc_train_plan plan = def->plan;
  if (!plan_is_whole(&plan))
    return fc_train_estimate_auto(out, def->model, profile, &plan, def->devices, failure, why);
  plan.devices = def->devices;
  if (plan.cp <= 0) plan.cp = 1;
  if (plan.virtual_stages <= 0) plan.virtual_stages = 1;
  if (!(plan.expert_imbalance >= 1)) plan.expert_imbalance = 1;
  fc_status st = fc_train_estimate_plan(out, def->model, profile, &plan, failure, why);
  if (st || out->fits) return st;
  (void)snprintf(why, 256, "the plan needs %.1f GB of a device's %.1f GB", out->memory_bytes / 1e9,
                 profile->device->memory_bytes / 1e9);
  return FC_E_INFEASIBLE;
}

static fc_failure with_mtbf(fc_failure failure, const fc_pool_def *pool) {
  if (!(failure.device_mtbf_s > 0))
    failure.device_mtbf_s = pool->device_mtbf_s > 0 ? pool->device_mtbf_s : (double)INFINITY;
  return failure;
}

/* Work between two checkpoints: as stated, else the optimum of Young (1974); INFINITY: there are none. */
static double checkpoint_interval_s(const fc_work *work, int64_t gang) {
  if (work->checkpoint_s > 0) return work->checkpoint_s;
  return isfinite(work->mtbf_s) ? sqrt(2 * work->write_s * work->mtbf_s / (double)gang) : (double)INFINITY;
}

double fc_work_period_s(const fc_work *work, int64_t gang) {
  return checkpoint_interval_s(work, gang) + work->write_s;
}

/* Device-seconds of updates and of rollouts, and what they compute, spread over the gang that will hold them.
 */
static fc_status plan_run(fc_fleet *f, size_t o, size_t p, fc_estimate_row *row) {
  const fc_run_def *def = &f->def->runs[o];
  const fc_pool *pool = &f->pool[p];
  fc_work *work = &f->owner[o].work[p];
  if (def->devices <= 0) {
    (void)snprintf(row->why, sizeof row->why, "a gang of no devices");
    return FC_E_INFEASIBLE;
  }
  fc_failure failure = with_mtbf(def->failure, pool->def);
  double update_s = 0, update_flop = 0;
  if (def->tokens > 0 || def->flop > 0) {
    fc_status st = estimate_run(&row->estimate, def, pool->def->profile, &failure, row->why);
    if (st) return st;
    double flop_per_s = row->estimate.tokens_per_s * row->estimate.flop_per_token;
    update_flop = def->tokens > 0 ? def->tokens * row->estimate.flop_per_token : def->flop;
    update_s = (double)def->devices * update_flop / flop_per_s;
  }
  double rollout_s = 0;
  rollout roll = {0};
  if (def->rollout_tokens > 0) {
    fc_status st = plan_rollout(&roll, f, def->model, pool, &def->rollout, row->why);
    if (st) return st;
    rollout_s = def->rollout_tokens * roll.device_s_per_token;
  }
  int64_t gang = fc_work_gang(work, def->devices);
  double interval_s = checkpoint_interval_s(work, gang);
  double writes = work->write_s > 0 && isfinite(interval_s) ? work->write_s / interval_s : 0;
  work->seconds = (update_s + rollout_s) / (double)def->devices * (1 + writes);
  work->rollout_share = rollout_s > 0 ? rollout_s / (update_s + rollout_s) : 0;
  int64_t rollouts = llround(work->rollout_share * (double)gang);
  fc_line *kept = fc_line_at(f, p, fc_slot_job(f, o, FC_LINE_KEPT));
  fc_line *rolled = fc_line_at(f, p, fc_slot_job(f, o, FC_LINE_ROLLOUT));
  /* all of the work's FLOP lies on the devices that do it; where rounding leaves none, on the others */
  double roll_flop = def->rollout_tokens * roll.flop_per_token;
  double kept_flop = update_flop + (rollouts == 0 ? roll_flop : 0);
  double rolled_flop = roll_flop + (rollouts == gang ? update_flop : 0);
  if (rollouts < gang && work->seconds > 0)
    kept->flop_per_device_s = kept_flop / ((double)(gang - rollouts) * work->seconds);
  if (rollouts > 0 && work->seconds > 0)
    rolled->flop_per_device_s = rolled_flop / ((double)rollouts * work->seconds);
  kept->watts = row->estimate.watts * pool->overhead;
  rolled->watts = roll.watts;
  return FC_OK;
}

/* The stand-in's step on a gang of the usual size; a larger one where the model does not fit. */
static fc_status plan_stream(fc_fleet *f, size_t o, size_t p, fc_estimate_row *row) {
  const fc_stream_def *def = &f->def->streams[o - f->def->n_runs];
  const fc_pool *pool = &f->pool[p];
  fc_work *work = &f->owner[o].work[p];
  const fc_device *device = pool->def->profile->device;
  double h100e = fc_device_h100e(device);
  if (!(h100e > 0)) {
    (void)snprintf(row->why, sizeof row->why, "the device has no 8-bit or 16-bit peak rate");
    return FC_E_INFEASIBLE;
  }
  work->device_s_per_work = 1 / h100e;
  work->rollout_share = fmin(fmax(def->rollout_share, 0), 1);
  fc_failure failure = with_mtbf(def->failure, pool->def);
  fc_train_plan wish = {.sequence = STREAM_SEQUENCE};
  fc_status st = FC_E_INFEASIBLE;
  int64_t gang =
      fc_work_gang(work, llround(fmin(fmax(fc_dist_median(&def->devices), 1), STREAM_MAX_DEVICES)));
  for (; st == FC_E_INFEASIBLE && gang <= (int64_t)2 * STREAM_MAX_DEVICES; gang *= 2)
    st = fc_train_estimate_auto(&row->estimate, def->model, pool->def->profile, &wish, gang, &failure,
                                row->why);
  if (st) return st;
  fc_line *kept = fc_line_at(f, p, fc_slot_job(f, o, FC_LINE_KEPT));
  fc_line *rolled = fc_line_at(f, p, fc_slot_job(f, o, FC_LINE_ROLLOUT));
  kept->flop_per_device_s = row->estimate.mfu * device->peak_flop_per_s[FC_DTYPE_BF16];
  kept->watts = row->estimate.watts * pool->overhead;
  if (!(work->rollout_share > 0)) return FC_OK;
  rollout roll;
  fc_request_shape lengths = {.input_tokens = ROLLOUT_INPUT, .output_tokens = ROLLOUT_OUTPUT};
  st = plan_rollout(&roll, f, def->model, pool, &lengths, row->why);
  if (st) return st;
  rolled->flop_per_device_s = roll.flop_per_token / roll.device_s_per_token;
  rolled->watts = roll.watts;
  return FC_OK;
}

static fc_status plan_work(fc_fleet *f, size_t o, size_t p) {
  fc_work *work = &f->owner[o].work[p];
  const fc_pool *pool = &f->pool[p];
  const fc_device *device = pool->def->profile->device;
  work->listed = true;
  work->node = device->node_devices > 0 ? device->node_devices : 1;
  work->mtbf_s = with_mtbf(*f->owner[o].failure, pool->def).device_mtbf_s;
  work->checkpoint_s = f->owner[o].failure->checkpoint_s;
  work->write_s = fmax(f->owner[o].failure->checkpoint_write_s, 0);
  fc_estimate_row *row = &f->result->estimate[f->result->n_estimates++];
  *row = (fc_estimate_row){.run = (int32_t)o, .pool = (int32_t)p};
  bool is_run = o < f->def->n_runs;
  fc_status st = is_run ? plan_run(f, o, p, row) : plan_stream(f, o, p, row);
  if (st == FC_E_INFEASIBLE || st == FC_E_DOMAIN) {
    if (row->why[0] == '\0') (void)snprintf(row->why, sizeof row->why, "%s", fc_status_text(st));
    /* a stream's work is device time, whatever its stand-in: its FLOP are then unknown, counted as none */
    work->feasible = !is_run && work->device_s_per_work > 0;
    if (work->feasible && !(fc_line_at(f, p, fc_slot_job(f, o, FC_LINE_KEPT))->watts > 0))
      fc_line_at(f, p, fc_slot_job(f, o, FC_LINE_KEPT))->watts = device->tdp_w * pool->overhead;
    if (work->feasible)
      fc_line_at(f, p, fc_slot_job(f, o, FC_LINE_ROLLOUT))->watts = device->tdp_w * pool->overhead;
    st = FC_OK;
  } else {
    row->feasible = work->feasible = st == FC_OK;
  }
  fc_line_at(f, p, fc_slot_job(f, o, FC_LINE_LOST))->watts =
      fc_line_at(f, p, fc_slot_job(f, o, FC_LINE_KEPT))->watts;
  fc_line_at(f, p, fc_slot_job(f, o, FC_LINE_STALL))->watts = pool->idle_w;
  return st;
}

static void fill_owner(fc_fleet *f, size_t o) {
  fc_owner *owner = &f->owner[o];
  size_t twins = 0;
  if (o < f->def->n_runs) {
    const fc_run_def *def = &f->def->runs[o];
    owner->name = def->name;
    owner->category = def->category;
    owner->failure = &def->failure;
    owner->level = clamp_level(def->priority);
    owner->preemptible = def->preemptible;
  } else {
    const fc_stream_def *def = &f->def->streams[o - f->def->n_runs];
    owner->name = def->name;
    owner->category = def->category;
    owner->failure = &def->failure;
    owner->level = clamp_level(def->priority);
    owner->preemptible = def->preemptible;
  }
  for (size_t i = 0; i < o; i++) twins += fc_name_equal(f->owner[i].name, owner->name);
  owner->entity = fc_entity(owner->name, twins);
  owner->queue = (fc_job_list){FC_NO_JOB, FC_NO_JOB};
  owner->hint = FC_NO_JOB;
}

static fc_status plan_owner(fc_fleet *f, size_t o, const int32_t *pools, size_t n_pools) {
  fc_owner *owner = &f->owner[o];
  owner->work = calloc(f->def->n_pools + 1, sizeof *owner->work);
  owner->order = calloc(f->def->n_pools + n_pools + 1, sizeof *owner->order);
  if (!owner->work || !owner->order) return FC_E_NOMEM;
  for (size_t i = 0; i < (n_pools > 0 ? n_pools : f->def->n_pools); i++) {
    size_t p = n_pools > 0 ? (size_t)pools[i] : i;
    if (p >= f->def->n_pools || owner->work[p].listed) continue;
    fc_status st = plan_work(f, o, p);
    if (st) return st;
    if (owner->work[p].feasible) owner->order[owner->n_order++] = (int32_t)p;
  }
  return FC_OK;
}

fc_status fc_fleet_plan_jobs(fc_fleet *f) {
  const fc_fleet_def *def = f->def;
  f->result->estimate = calloc(f->n_owners * def->n_pools + 1, sizeof *f->result->estimate);
  if (!f->result->estimate) return FC_E_NOMEM;
  for (size_t o = 0; o < f->n_owners; o++) {
    fill_owner(f, o);
    bool is_run = o < def->n_runs;
    fc_status st =
        is_run ? plan_owner(f, o, def->runs[o].pools, def->runs[o].n_pools)
               : plan_owner(f, o, def->streams[o - def->n_runs].pools, def->streams[o - def->n_runs].n_pools);
    if (st) return st;
  }
  return FC_OK;
}
