/* SPDX-License-Identifier: Apache-2.0 */
#include "phase.h"

#include <math.h>

/* Token budgets of one iteration and attention group. @source vLLM max_num_batched_tokens 2048-16384, SGLang
 * chunked-prefill-size 2048-16384 by device memory */
static const double BUDGET[] = {1024, 2048, 4096, 8192, 16384};
enum { N_BUDGET = sizeof BUDGET / sizeof *BUDGET };

static fc_phase failed(fc_fault fault, const fc_serve_plan *plan, double best) {
  return (fc_phase){.fault = fault, .plan = *plan, .best = best};
}

static fc_status iterate(fc_serve_iteration *out, const fc_phase_demand *d, const fc_serve_plan *plan,
                         const fc_serve_load *load) {
  if (d->step) return d->step(d->context, out, load);
  return fc_cost_serve_iteration(out, d->model, d->profile, plan, load);
}

/* Of a decoding request, over time: who generates more stays longer, E[O (I + O/2)] / E[O]. */
static double mean_context(const fc_phase_demand *d) {
  return d->cached + d->fresh + 0.5 * d->output * (1 + d->output_cv * d->output_cv);
}

/* Requests of one attention group that the cache holds; 0: not even one. */
static double cache_requests(const fc_phase_demand *d, const fc_serve_plan *plan, fc_serve_memory *memory) {
  const fc_device *device = d->profile->device;
  double whole = d->cached + d->fresh + d->output;
  fc_cost_serve_memory(memory, d->model, device, plan, whole);
  if (memory->kv_bytes_per_request > memory->room_bytes) return 0;
  fc_cost_serve_memory(memory, d->model, device, plan, mean_context(d));
  if (!(memory->kv_bytes_per_request > 0)) return FC_SERVE_GROUP_BATCH_MAX;
  return fmax(1, floor(memory->room_bytes / memory->kv_bytes_per_request));
}

static fc_phase out_of_memory(const fc_serve_plan *plan, const fc_serve_memory *memory) {
  return failed(FC_FAULT_MEMORY, plan, memory->weight_bytes + memory->kv_bytes_per_request);
}

/* --- prefill --- */

/* Prompts of one batch, per group, packed into iterations of at most `budget` tokens. */
typedef struct {
  double prompts;    /* in a batch */
  double iterations; /* that a batch takes */
  fc_serve_load load;
} batch;

static batch batch_of(const fc_phase_demand *d, const fc_serve_plan *plan, double budget) {
  double groups = (double)plan->attention_dp;
  batch b = {.prompts = fmax(1, floor(budget / d->fresh)), .iterations = fmax(1, ceil(d->fresh / budget))};
  double chunk = d->fresh / b.iterations;
  b.load =
      (fc_serve_load){.prefill_tokens = groups * b.prompts * chunk, .prefill_requests = groups * b.prompts};
  b.load.prefill_context =
      d->cached + 0.5 * (d->fresh - chunk); /* mean over the chunks; attention is linear in it */
  return b;
}

/* Cache of the fresh tokens leaves over the group's network ports. */
static double hand_over_s(const fc_phase_demand *d, const fc_serve_plan *plan) {
  double port = d->profile->device->scaleout_bytes_per_s;
  if (!(port > 0)) return 0;
  return d->fresh * fc_model_kv_bytes_per_token(d->model, plan->kv) / (port * (double)plan->tp);
}

double fc_phase_bulk_wait(double service, double rho, double c) {
  return service * (0.5 * (1 - 1 / c) + rho / (2 * (1 - rho) * c));
}

fc_phase fc_phase_prefill(const fc_phase_demand *d, const fc_serve_plan *plan, bool hand_over) {
  if (fc_serve_plan_check(d->model, plan, NULL) != FC_OK) return failed(FC_FAULT_PLAN, plan, 0);
  fc_serve_memory memory;
  fc_cost_serve_memory(&memory, d->model, d->profile->device, plan, d->cached + d->fresh);
  if (memory.kv_bytes_per_request > memory.room_bytes) return out_of_memory(plan, &memory);
  double least = (double)INFINITY, transfer = hand_over ? hand_over_s(d, plan) : 0;
  fc_phase best = {.fault = FC_FAULT_TTFT, .plan = *plan};
  for (int i = 0; i < N_BUDGET; i++) {
    batch b = batch_of(d, plan, BUDGET[i]);
    if (i > 0 && BUDGET[i - 1] >= d->fresh * 8) break; /* a larger batch only waits longer */
    fc_serve_iteration it;
    if (iterate(&it, d, plan, &b.load) != FC_OK) return failed(FC_FAULT_PROFILE, plan, 0);
    double service = b.iterations * it.seconds, slack = d->slo.ttft_s - transfer - service;
    least = fmin(least, service + transfer);
    /* a batch takes c prompts at a time: fc_phase_bulk_wait <= slack */
    double c = (double)plan->attention_dp * b.prompts;
    double y = c * (slack / service - 0.5 * (1 - 1 / c));
    if (!(y >= 0)) continue;
    double rho = 2 * y / (1 + 2 * y);
    bool capped = rho > FC_SERVE_UTILISATION_MAX;
    if (capped) rho = FC_SERVE_UTILISATION_MAX;
    double rate = rho * (double)plan->attention_dp * b.prompts * d->fresh / service / (double)plan->devices;
    if (!(rate > best.rate)) continue;
    double idle = d->profile->device->idle_w;
    best = (fc_phase){.plan = *plan, .rate = rate, .utilisation = rho, .log_sd = it.log_sd};
    /* uncapped, the wait uses up the slack: the objective itself, without rounding */
    best.ttft_s = capped ? service + transfer + fc_phase_bulk_wait(service, rho, c) : d->slo.ttft_s;
    best.watts = idle + rho * (it.watts - idle);
    best.batch = (double)plan->attention_dp * b.prompts / (double)plan->devices;
    best.limit = capped ? "utilisation" : "TTFT";
    best.budget = BUDGET[i];
  }
  best.best = least;
  return best;
}

/* --- decode --- */

static bool decode_at(fc_serve_iteration *it, const fc_phase_demand *d, const fc_serve_plan *plan,
                      double requests) {
  fc_serve_load load = {.decode_requests = requests * (double)plan->attention_dp, .query_tokens = d->queries};
  load.decode_context = mean_context(d);
  return iterate(it, d, plan, &load) == FC_OK;
}

static void fill_decode(fc_phase *out, const fc_phase_demand *d, const fc_serve_plan *plan, double requests) {
  double share = (double)plan->attention_dp / (double)plan->devices;
  out->plan = *plan;
  out->batch = requests * share;
  out->kv_tokens = out->batch * mean_context(d);
}

fc_phase fc_phase_decode(const fc_phase_demand *d, const fc_serve_plan *plan) {
  if (fc_serve_plan_check(d->model, plan, NULL) != FC_OK) return failed(FC_FAULT_PLAN, plan, 0);
  fc_serve_memory memory;
  double cache = cache_requests(d, plan, &memory);
  if (!(cache >= 1)) return out_of_memory(plan, &memory);
  double most = fmin(cache, FC_SERVE_GROUP_BATCH_MAX);
  fc_phase out = {.limit = cache < FC_SERVE_GROUP_BATCH_MAX ? "KV cache" : "batch"};
  fc_serve_iteration it, at;
  double limit_s = d->slo.tpot_s * d->yield;
  if (!decode_at(&it, d, plan, most)) return failed(FC_FAULT_PROFILE, plan, 0);
  double low = most;
  if (it.seconds > limit_s) { /* largest integer batch within the objective */
    if (!decode_at(&it, d, plan, 1)) return failed(FC_FAULT_PROFILE, plan, 0);
    if (it.seconds > limit_s) return failed(FC_FAULT_TPOT, plan, it.seconds / d->yield);
    low = 1;
    for (double high = most; high - low > 1;) {
      double middle = floor(0.5 * (low + high));
      if (!decode_at(&at, d, plan, middle)) return failed(FC_FAULT_PROFILE, plan, 0);
      if (at.seconds <= limit_s) {
        low = middle;
        it = at;
      } else {
        high = middle;
      }
    }
    out.limit = "TPOT";
  }
  fill_decode(&out, d, plan, low);
  out.tpot_s = it.seconds / d->yield;
  out.rate = out.batch * d->yield / it.seconds;
  out.watts = it.watts;
  out.log_sd = it.log_sd;
  out.utilisation = 1;
  return out;
}

/* --- both --- */

/* One operating point of a mixed instance: `requests` in flight per group, chunks of `budget` tokens. */
typedef struct {
  fc_serve_iteration bare, full;
  double share; /* of iterations that carry a chunk */
  double mean_s, tpot_s, ttft_s;
} point;

static fc_fault mixed_at(point *out, const fc_phase_demand *d, const fc_serve_plan *plan, double requests,
                         double budget) {
  /* steady state: every finished request is replaced by a prompt */
  double wanted = requests * d->yield * d->fresh / d->output;
  double chunk = fmin(budget, d->fresh);
  if (d->fresh < budget) chunk = fmin(floor(budget / d->fresh), ceil(wanted / d->fresh)) * d->fresh;
  *out = (point){.share = wanted / chunk, .ttft_s = (double)INFINITY, .tpot_s = (double)INFINITY};
  if (!(out->share <= FC_SERVE_UTILISATION_MAX)) return FC_FAULT_TTFT;
  double groups = (double)plan->attention_dp;
  if (!decode_at(&out->bare, d, plan, requests)) return FC_FAULT_PROFILE;
  fc_serve_load load = {.decode_requests = requests * groups, .query_tokens = d->queries};
  load.decode_context = mean_context(d);
  load.prefill_tokens = chunk * groups;
  load.prefill_requests = fmax(1, chunk / d->fresh) * groups;
  load.prefill_context = d->cached + 0.5 * fmax(0, d->fresh - chunk);
  if (iterate(&out->full, d, plan, &load) != FC_OK) return FC_FAULT_PROFILE;
  out->mean_s = (1 - out->share) * out->bare.seconds + out->share * out->full.seconds;
  out->tpot_s = out->mean_s / d->yield;
  double service = fmax(1, d->fresh / chunk) * out->full.seconds;
  out->ttft_s = service + out->share * service / (2 * (1 - out->share));
  if (!(out->tpot_s <= d->slo.tpot_s)) return FC_FAULT_TPOT;
  return out->ttft_s <= d->slo.ttft_s ? FC_FAULT_NONE : FC_FAULT_TTFT;
}

static void fill_mixed(fc_phase *out, const fc_phase_demand *d, const fc_serve_plan *plan, const point *p,
                       double requests) {
  fill_decode(out, d, plan, requests);
  out->rate = out->batch * d->yield / p->mean_s;
  out->tpot_s = p->tpot_s;
  out->ttft_s = p->ttft_s;
  out->utilisation = p->share;
  out->prefill_share = p->share * (p->full.seconds - p->bare.seconds) / p->mean_s;
  double busy = p->share * p->full.seconds / p->mean_s;
  out->watts = busy * p->full.watts + (1 - busy) * p->bare.watts;
  out->log_sd = busy * p->full.log_sd + (1 - busy) * p->bare.log_sd;
}

fc_phase fc_phase_mixed(const fc_phase_demand *d, const fc_serve_plan *plan) {
  if (fc_serve_plan_check(d->model, plan, NULL) != FC_OK) return failed(FC_FAULT_PLAN, plan, 0);
  fc_serve_memory memory;
  double cache = cache_requests(d, plan, &memory);
  if (!(cache >= 1)) return out_of_memory(plan, &memory);
  double most = fmin(cache, FC_SERVE_GROUP_BATCH_MAX);
  fc_phase best = {.plan = *plan, .fault = FC_FAULT_TTFT, .best = (double)INFINITY};
  for (int i = 0; i < N_BUDGET; i++) {
    point p, at;
    fc_fault fault = mixed_at(&at, d, plan, 1, BUDGET[i]);
    if (fault == FC_FAULT_PROFILE) return failed(fault, plan, 0);
    if (fault != FC_FAULT_NONE) {
      double missed = fault == FC_FAULT_TPOT ? at.tpot_s : at.ttft_s;
      if (best.fault != FC_FAULT_NONE && missed < best.best) best.fault = fault, best.best = missed;
      continue;
    }
    double low = 1;
    p = at;
    fc_fault binding = mixed_at(&at, d, plan, most, BUDGET[i]);
    if (binding == FC_FAULT_NONE) {
      low = most;
      p = at;
    }
    for (double high = most; high - low > 1;) {
      double middle = floor(0.5 * (low + high));
      fault = mixed_at(&at, d, plan, middle, BUDGET[i]);
      if (fault == FC_FAULT_NONE) {
        low = middle;
        p = at;
      } else {
        high = middle;
        binding = fault;
      }
    }
    fc_phase found = {.limit = binding == FC_FAULT_TPOT   ? "TPOT"
                               : binding == FC_FAULT_TTFT ? "TTFT"
                                                          : "KV cache"};
    if (binding == FC_FAULT_NONE && cache >= FC_SERVE_GROUP_BATCH_MAX) found.limit = "batch";
    fill_mixed(&found, d, plan, &p, low);
    found.budget = BUDGET[i];
    if (found.rate > best.rate) best = found;
    if (BUDGET[i] >= d->fresh * 8) break;
  }
  return best;
}

/* --- at a given load --- */

static fc_status prefill_trend(fc_trend *out, const fc_phase_demand *d, const fc_serve_plan *plan,
                               double budget, double rate) {
  batch b = batch_of(d, plan, budget);
  fc_serve_iteration it;
  if (iterate(&it, d, plan, &b.load) != FC_OK) return FC_E_DOMAIN;
  double c = (double)plan->attention_dp * b.prompts, service = b.iterations * it.seconds,
         rho = rate * service / c;
  out->ttft_s = rho < 1 ? service + fc_phase_bulk_wait(service, rho, c) : (double)INFINITY;
  return FC_OK;
}

/* An iteration with `requests` decoding a group, whatever the objective. */
static fc_fault busy_at(point *out, const fc_phase_demand *d, const fc_serve_plan *plan, fc_side side,
                        double budget, double requests) {
  fc_phase_demand any = *d;
  any.slo = (fc_slo){.ttft_s = (double)INFINITY, .tpot_s = (double)INFINITY};
  if (side == FC_SIDE_WHOLE) return mixed_at(out, &any, plan, requests, budget);
  *out = (point){0};
  if (!decode_at(&out->bare, d, plan, requests)) return FC_FAULT_PROFILE;
  out->mean_s = out->bare.seconds;
  out->tpot_s = out->mean_s / d->yield;
  return FC_FAULT_NONE;
}

/* Little's law: requests under way = rate x iterations of one x time of an iteration with so many. */
static fc_status decode_trend(fc_trend *out, const fc_phase_demand *d, const fc_serve_plan *plan,
                              fc_side side, double budget, double rate) {
  double groups = (double)plan->attention_dp, low = 1e-3, high = FC_SERVE_GROUP_BATCH_MAX;
  out->ttft_s = side == FC_SIDE_WHOLE ? (double)INFINITY : 0;
  out->tpot_s = out->in_flight = (double)INFINITY;
  for (int i = 0; i < 60 && high - low > 1e-6 * high; i++) {
    double n = i == 0 ? high : sqrt(low * high);
    point p;
    fc_fault fault = busy_at(&p, d, plan, side, budget, n);
    if (fault == FC_FAULT_PROFILE) return FC_E_DOMAIN;
    bool enough = fault == FC_FAULT_NONE && n * groups * d->yield / p.mean_s >= rate * d->output;
    if (i == 0 && !enough && side == FC_SIDE_DECODE) return FC_OK; /* not even with the largest batch */
    if (enough) {
      high = n;
      *out = (fc_trend){.tpot_s = p.tpot_s, .in_flight = n * groups};
      if (side == FC_SIDE_WHOLE) out->ttft_s = p.ttft_s;
    } else if (fault == FC_FAULT_NONE) {
      low = n;
    } else {
      high = n; /* prompts alone fill the iterations */
    }
  }
  return FC_OK;
}

fc_status fc_phase_trend(fc_trend *out, const fc_phase_demand *d, const fc_serve_plan *plan, fc_side side,
                         double budget, double rate) {
  *out = (fc_trend){0};
  if (!d->step && fc_serve_plan_check(d->model, plan, NULL) != FC_OK) return FC_E_DOMAIN;
  if (side == FC_SIDE_PREFILL) return prefill_trend(out, d, plan, budget, rate);
  return decode_trend(out, d, plan, side, budget, rate);
}
