/* SPDX-License-Identifier: Apache-2.0 */
/* A run from end to end: set-up, the tick that plans serving, and the books at the end. */
#include <fleetcast/fleet/run.h>

#include <math.h>
#include <stdlib.h>

#include <fleetcast/base/assert.h>

#include "parts.h"
#include "result.h"

static fc_event_fn on_tick;

/* --- the tick: at every epoch, bucket and change of supply --- */

static fc_time next_tick(const fc_fleet *f) {
  fc_time next = f->next_epoch;
  if (f->grid->at[f->bucket + 1] < next) next = f->grid->at[f->bucket + 1];
  for (size_t p = 0; p < f->def->n_pools; p++) {
    const fc_pool *pool = &f->pool[p];
    if (pool->next_step < pool->supply.n_steps && pool->supply.step[pool->next_step].at < next)
      next = pool->supply.step[pool->next_step].at;
  }
  return next;
}

static void report_unmet(fc_fleet *f) {
  for (size_t s = 0; s < f->def->n_services; s++) {
    double dropped = (double)f->service[s].sum[f->bucket].dropped;
    if (dropped > 0) fc_fleet_event(f, "unmet", f->def->services[s].name, dropped, "tokens");
  }
}

static bool supply_is_due(const fc_fleet *f) {
  for (size_t p = 0; p < f->def->n_pools; p++) {
    const fc_pool *pool = &f->pool[p];
    if (pool->next_step < pool->supply.n_steps && pool->supply.step[pool->next_step].at <= f->now)
      return true;
  }
  return false;
}

/* A gang that its pool has become too small for holds it no longer. */
static void drop_vain_holds(fc_fleet *f) {
  for (size_t p = 0; p < f->def->n_pools; p++) {
    fc_pool *pool = &f->pool[p];
    if (pool->hold == FC_NO_JOB) continue;
    const fc_job *job = &f->job[pool->hold];
    if (fc_work_gang(&f->owner[job->owner].work[p], job->want) > pool->installed) pool->hold = FC_NO_JOB;
  }
}

/* All serving devices go back and are given out anew, by priority; at each priority services first, in the
 * order of the scenario, then the jobs that wait. */
static void plan(fc_fleet *f, bool epoch) {
  const fc_fleet_def *def = f->def;
  for (size_t s = 0; s < def->n_services; s++) fc_service_release(f, s);
  for (size_t p = 0; p < def->n_pools; p++) {
    fc_pool_release_others(f, p);
    (void)fc_pool_supply(f, p);
    if (!epoch) continue;
    fc_pool_repair(f, p);
    fc_pool_wear(f, p);
  }
  drop_vain_holds(f);
  if (epoch) {
    fc_time to = f->next_epoch < def->end ? f->next_epoch : def->end;
    for (size_t s = 0; s < def->n_services; s++) fc_service_epoch(f, s, to);
  }
  for (size_t p = 0; p < def->n_pools; p++) fc_pool_others(f, p);
  for (int level = 0; level < FC_LEVELS; level++) {
    for (size_t s = 0; s < def->n_services; s++)
      if (f->service[s].level == level) fc_service_place(f, s);
    fc_queue_run_level(f, level, -1);
  }
  for (size_t s = 0; s < def->n_services; s++) fc_service_check(f, s);
  fc_queue_check(f);
  for (size_t p = 0; p < def->n_pools; p++)
    FC_VALIDATE(f->pool[p].installed == f->pool[p].idle + f->pool[p].down + f->pool[p].in_jobs +
                                            f->pool[p].serving + f->pool[p].other);
}

static bool is_cancelled(fc_fleet *f) {
  const fc_fleet_def *def = f->def;
  double share = (double)(f->now - def->start) / (double)(def->end - def->start);
  if (f->options.progress && share >= f->progress) {
    f->options.progress(f->options.context, share, f->now);
    f->progress = share + 0.005;
  }
  if (!f->options.cancel || *f->options.cancel == 0) return false;
  fc_fleet_fail(f, FC_E_CANCELLED);
  return true;
}

static void on_tick(fc_sim *sim, void *subject, uint64_t datum) {
  fc_fleet *f = subject;
  (void)datum;
  f->ran_back = f->ran_back || fc_sim_now(sim) < f->now;
  f->now = fc_sim_now(sim);
  if (is_cancelled(f)) return;
  for (size_t s = 0; s < f->def->n_services; s++) fc_service_advance(f, s);
  if (f->now >= f->grid->at[f->bucket + 1]) {
    report_unmet(f);
    f->bucket++;
  }
  bool epoch = f->now >= f->next_epoch;
  if (epoch) f->next_epoch = f->now > FC_TIME_MAX - f->epoch_ns ? FC_TIME_MAX : f->now + f->epoch_ns;
  if (epoch || supply_is_due(f)) plan(f, epoch);
  for (size_t s = 0; s < f->def->n_services; s++) fc_service_book(f, s, false);
  fc_time next = next_tick(f);
  if (next < f->def->end) (void)fc_sim_at(sim, next, FC_AT_TICK, on_tick, f, 0);
}

static void on_policy(fc_sim *sim, void *subject, uint64_t k) {
  fc_fleet *f = subject;
  f->now = fc_sim_now(sim);
  fc_fleet_event(f, "policy", f->def->policies[k].name, f->def->policies[k].factor, "factor");
}

/* --- set-up and books --- */

static fc_status set_up(fc_fleet *f) {
  const fc_fleet_def *def = f->def;
  fc_fleet_result *r = f->result;
  fc_status st = fc_grid_init(&r->grid, def->start, def->end, def->bucket);
  if (st) return st;
  f->grid = &r->grid;
  f->now = f->next_epoch = def->start;
  f->epoch_ns = fc_time_from_s(def->epoch_s > 0 ? def->epoch_s : 3600);
  if (f->epoch_ns < FC_SECOND) f->epoch_ns = FC_SECOND;
  f->n_owners = def->n_runs + def->n_streams;
  f->n_slots = def->n_services + f->n_owners * FC_JOB_LINES + def->n_others + 2;
  f->pool = calloc(def->n_pools + 1, sizeof *f->pool);
  f->service = calloc(def->n_services + 1, sizeof *f->service);
  f->owner = calloc(f->n_owners + 1, sizeof *f->owner);
  f->line = calloc(def->n_pools * f->n_slots + 1, sizeof *f->line);
  if (!f->pool || !f->service || !f->owner || !f->line) return FC_E_NOMEM;
  st = fc_sim_new(&f->sim, def->start);
  if (st) return st;
  fc_supply *supply = calloc(def->n_pools + 1, sizeof *supply);
  if (!supply) return FC_E_NOMEM;
  st = fc_supply_init(supply, def, f->grid);
  for (size_t p = 0; p < def->n_pools; p++) f->pool[p].supply = supply[p];
  free(supply);
  for (size_t p = 0; p < def->n_pools && !st; p++) st = fc_pool_init(f, p);
  if (!st) st = fc_fleet_plan_services(f);
  for (size_t s = 0; s < def->n_services && !st; s++) st = fc_service_init(f, s);
  if (!st) st = fc_fleet_plan_jobs(f);
  if (!st) st = fc_jobs_init(f);
  return st;
}

static void start_events(fc_fleet *f) {
  const fc_fleet_def *def = f->def;
  for (size_t k = 0; k < def->n_policies; k++) {
    fc_time at = def->policies[k].date > def->start ? def->policies[k].date : def->start;
    if (at < def->end && fc_policy_until(&def->policies[k], def) > def->start)
      (void)fc_sim_at(f->sim, at, FC_AT_TICK - 1, on_policy, f, k);
  }
  (void)fc_sim_at(f->sim, def->start, FC_AT_TICK, on_tick, f, 0);
}

static fc_status close_books(fc_fleet *f) {
  const fc_fleet_def *def = f->def;
  f->now = def->end;
  for (size_t s = 0; s < def->n_services; s++) {
    fc_service_advance(f, s);
    fc_service_book(f, s, true);
  }
  report_unmet(f);
  for (size_t p = 0; p < def->n_pools; p++) fc_pool_close(f, p);
  fc_jobs_close(f);
  if (f->status) return f->status;
  fc_status st = fc_result_build(f);
  return st ? st : fc_laws_check(f);
}

static void fleet_fini(fc_fleet *f) {
  const fc_fleet_def *def = f->def;
  for (size_t p = 0; f->pool && p < def->n_pools; p++) fc_pool_fini(&f->pool[p]);
  for (size_t s = 0; f->service && s < def->n_services; s++) fc_service_fini(&f->service[s]);
  for (size_t o = 0; f->owner && o < f->n_owners; o++) {
    free(f->owner[o].work);
    free(f->owner[o].order);
  }
  for (size_t i = 0; f->line && i < def->n_pools * f->n_slots; i++) {
    fc_integral_fini(&f->line[i].time);
    free(f->line[i].flop); /* and its joules */
  }
  free(f->pool);
  free(f->service);
  free(f->owner);
  free(f->line);
  free(f->job);
  fc_sim_free(f->sim);
}

fc_status fc_fleet_run(fc_fleet_result **out, const fc_fleet_def *def, const fc_fleet_options *options,
                       char *why) {
  FC_ASSERT(out && def && def->end > def->start);
  *out = NULL;
  if (why) why[0] = '\0';
  fc_fleet f = {.def = def, .why = why, .options = {.seed = def->seed}};
  if (options) f.options = *options;
  f.result = calloc(1, sizeof *f.result);
  if (!f.result) return FC_E_NOMEM;
  f.result->def = def;
  fc_status st = set_up(&f);
  if (!st && f.status) st = f.status;
  if (!st) {
    start_events(&f);
    st = fc_sim_run(f.sim, def->end);
    if (f.status) st = f.status;
  }
  if (!st) st = close_books(&f);
  fleet_fini(&f);
  if (st && st != FC_E_LAW) {
    fc_fleet_result_free(f.result);
    return st;
  }
  *out = f.result;
  return st;
}
