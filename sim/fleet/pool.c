/* SPDX-License-Identifier: Apache-2.0 */
#include "parts.h"

#include <math.h>
#include <stdlib.h>

/* The grid on which devices come back from repair: epochs, thinned so that it stays this long at most. */
enum { REPAIR_SLOTS = 65536 };

static bool wears(const fc_pool_def *def) {
  return def->device_mtbf_s > 0 && isfinite(def->device_mtbf_s);
}

static void set_down(fc_fleet *f, size_t p, int64_t delta) {
  fc_pool *pool = &f->pool[p];
  fc_line_book(f, fc_line_at(f, p, fc_slot_down(f)), pool->down_since, f->now, pool->down);
  pool->down_since = f->now;
  pool->down += delta;
}

void fc_pool_idle(fc_fleet *f, size_t p, int64_t delta) {
  fc_pool *pool = &f->pool[p];
  if (f->now > pool->idle_since) {
    fc_line_book(f, fc_line_at(f, p, fc_slot_idle(f)), pool->idle_since, f->now, pool->idle);
    pool->idle_since = f->now;
  }
  pool->idle += delta;
}

/* When a device that breaks now is back: a slot of the repair grid, rounded at random so that the mean time
 * out of service is exactly repair_s.  Slot k ends at start + k repair_ns. */
static size_t draw_back(fc_fleet *f, fc_pool *pool) {
  double wait = fc_rng_exponential(&pool->repairs) * pool->def->repair_s;
  double slots = (fc_time_to_s(f->now - f->def->start) + wait) / fc_time_to_s(f->repair_ns);
  double low = floor(slots);
  double now_slots = (double)(f->now - f->def->start) / (double)f->repair_ns;
  double from = fmax(low, now_slots); /* before the next slot, "now" is the lower end */
  double u = fc_rng_uniform(&pool->repairs);
  if (u * (low + 1 - from) >= slots - from) return from > low ? 0 : (size_t)fmin(low, 1e15);
  return (size_t)fmin(low + 1, 1e15);
}

/* @return false: back at once */
static bool send_to_repair(fc_fleet *f, fc_pool *pool) {
  if (!(pool->def->repair_s > 0)) return false;
  size_t back = draw_back(f, pool);
  if (back < pool->next_back || back == 0) return false;
  if (back < pool->n_back) pool->back[back]++;
  return true;
}

bool fc_pool_break(fc_fleet *f, size_t p) {
  if (!send_to_repair(f, &f->pool[p])) return false;
  set_down(f, p, +1);
  return true;
}

void fc_pool_repair(fc_fleet *f, size_t p) {
  fc_pool *pool = &f->pool[p];
  int64_t devices = 0;
  for (; pool->next_back < pool->n_back && f->def->start + (fc_time)pool->next_back * f->repair_ns <= f->now;
       pool->next_back++)
    devices += pool->back[pool->next_back];
  int64_t gone = devices < pool->debt ? devices : pool->debt;
  pool->debt -= gone;
  devices -= gone;
  if (devices == 0) return;
  set_down(f, p, -devices);
  fc_pool_idle(f, p, devices);
}

static void break_idle(fc_fleet *f, size_t p, int64_t devices) {
  fc_pool *pool = &f->pool[p];
  if (devices > pool->idle) devices = pool->idle;
  int64_t down = 0;
  for (int64_t i = 0; i < devices; i++) down += send_to_repair(f, pool);
  if (down == 0) return;
  set_down(f, p, down);
  fc_pool_idle(f, p, -down);
}

void fc_pool_wear(fc_fleet *f, size_t p) {
  fc_pool *pool = &f->pool[p];
  if (!wears(pool->def) || pool->idle == 0) return;
  double mean = (double)pool->idle * fc_time_to_s(f->epoch_ns) / pool->def->device_mtbf_s;
  break_idle(f, p, (int64_t)fc_rng_poisson(&pool->failures, fmin(mean, 1e12)));
}

/* Retired devices leave: idle ones first, then those of jobs that can be told to stop, then those in repair.
 */
static void retire(fc_fleet *f, size_t p, int64_t devices) {
  fc_pool *pool = &f->pool[p];
  for (int level = FC_LEVELS - 1; level >= 0; level--)
    for (int preemptible = 1; preemptible >= 0; preemptible--)
      while (pool->idle < devices && pool->running[level][preemptible].tail != FC_NO_JOB)
        fc_job_preempt(f, pool->running[level][preemptible].tail, true);
  int64_t from_idle = pool->idle < devices ? pool->idle : devices;
  fc_pool_idle(f, p, -from_idle);
  if (devices > from_idle) {
    set_down(f, p, from_idle - devices);
    pool->debt += devices - from_idle;
  }
  pool->installed -= devices;
}

bool fc_pool_supply(fc_fleet *f, size_t p) {
  fc_pool *pool = &f->pool[p];
  size_t before = pool->next_step;
  for (; pool->next_step < pool->supply.n_steps && pool->supply.step[pool->next_step].at <= f->now;
       pool->next_step++) {
    const fc_lot_step *step = &pool->supply.step[pool->next_step];
    if (pool->installed == 0 && step->delta > 0 && pool->supply.first == step->at)
      fc_fleet_event(f, "first_delivery", pool->def->name, (double)step->delta, "devices");
    pool->future_peak = step->peak;
    if (step->delta < 0) {
      retire(f, p, -step->delta);
      continue;
    }
    pool->installed += step->delta;
    fc_pool_idle(f, p, step->delta);
  }
  return pool->next_step > before;
}

void fc_pool_release_others(fc_fleet *f, size_t p) {
  fc_pool *pool = &f->pool[p];
  for (size_t o = 0; o < f->def->n_others; o++) {
    fc_line_book(f, fc_line_at(f, p, fc_slot_other(f, o)), pool->others_since[o], f->now, pool->others[o]);
    pool->others_since[o] = f->now;
    pool->others[o] = 0;
  }
  fc_pool_idle(f, p, pool->other);
  pool->other = 0;
}

void fc_pool_others(fc_fleet *f, size_t p) {
  fc_pool *pool = &f->pool[p];
  int64_t running = pool->installed - pool->down;
  for (size_t o = 0; o < f->def->n_others; o++) {
    const fc_other_def *other = &f->def->others[o];
    bool listed = other->n_pools == 0;
    for (size_t i = 0; i < other->n_pools; i++) listed = listed || other->pools[i] == (int32_t)p;
    if (!listed) continue;
    int64_t want = llround(fmin(fmax(fc_series_at(&other->share, f->now), 0), 1) * (double)running);
    if (want > pool->idle) fc_pool_clear(f, p, -1, want);
    if (want > pool->idle) want = pool->idle;
    pool->others[o] = want;
    pool->other += want;
    fc_pool_idle(f, p, -want);
  }
}

void fc_pool_close(fc_fleet *f, size_t p) {
  fc_pool_release_others(f, p);
  set_down(f, p, 0);
  fc_pool_idle(f, p, 0);
}

/* Watts of a device at the meter: the server's other parts draw in proportion, and the facility on top. */
static double facility_overhead(const fc_pool_def *def) {
  const fc_device *d = def->profile->device;
  double server = d->server_w > 0 && d->tdp_w > 0 ? d->server_w / d->tdp_w : 1;
  return server * (def->pue > 0 ? def->pue : 1);
}

fc_status fc_pool_init(fc_fleet *f, size_t p) {
  fc_pool *pool = &f->pool[p];
  const fc_pool_def *def = pool->def = &f->def->pools[p];
  size_t twins = 0;
  for (size_t i = 0; i < p; i++) twins += fc_name_equal(f->def->pools[i].name, def->name);
  pool->failures = fc_rng_keyed(f->options.seed, FC_STREAM_FAILURE, fc_entity(def->name, twins), 0);
  pool->repairs = fc_rng_keyed(f->options.seed, FC_STREAM_REPAIR, fc_entity(def->name, twins), 0);
  const fc_device *device = def->profile->device;
  pool->hold = FC_NO_JOB;
  for (int level = 0; level < FC_LEVELS; level++)
    for (int k = 0; k < 2; k++) pool->running[level][k] = (fc_job_list){FC_NO_JOB, FC_NO_JOB};
  pool->installed = pool->idle = pool->supply.at_start;
  pool->future_peak = pool->supply.peak;
  pool->overhead = facility_overhead(def);
  pool->idle_w = device->idle_w * pool->overhead;
  fc_line_at(f, p, fc_slot_idle(f))->watts = fc_line_at(f, p, fc_slot_down(f))->watts = pool->idle_w;
  for (size_t o = 0; o < f->def->n_others; o++)
    fc_line_at(f, p, fc_slot_other(f, o))->watts =
        (device->idle_w + FC_OTHER_AI_DRAW * (device->tdp_w - device->idle_w)) * pool->overhead;
  pool->idle_since = pool->down_since = f->now;
  if (f->repair_ns <= 0) f->repair_ns = f->epoch_ns;
  fc_time length = f->def->end - f->def->start;
  while (length / f->repair_ns >= REPAIR_SLOTS) f->repair_ns += f->epoch_ns;
  pool->n_back = (size_t)(length / f->repair_ns) + 2;
  pool->back = calloc(pool->n_back, sizeof *pool->back);
  pool->others = calloc(f->def->n_others + 1, sizeof *pool->others);
  pool->others_since = calloc(f->def->n_others + 1, sizeof *pool->others_since);
  if (!pool->back || !pool->others || !pool->others_since) return FC_E_NOMEM;
  for (size_t o = 0; o < f->def->n_others; o++) pool->others_since[o] = f->now;
  if (pool->installed > 0) fc_fleet_event(f, "first_delivery", def->name, (double)pool->installed, "devices");
  /* what runs at the start has run before: the number in repair is stationary, and exponential repairs have
     no memory */
  if (wears(def) && pool->idle > 0 && def->repair_s > 0)
    break_idle(f, p,
               (int64_t)fc_rng_poisson(
                   &pool->failures,
                   fmin((double)pool->idle * def->repair_s / (def->repair_s + def->device_mtbf_s), 1e12)));
  return FC_OK;
}

void fc_pool_fini(fc_pool *pool) {
  fc_supply_fini(&pool->supply);
  free(pool->back);
  free(pool->others);
  free(pool->others_since);
}
