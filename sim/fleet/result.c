/* SPDX-License-Identifier: Apache-2.0 */
#include "result.h"

#include <math.h>
#include <stdlib.h>

#include <fleetcast/base/assert.h>

#include "parts.h"

const char *fc_category_text(fc_category category) {
  static const char *const text[] = {
#define FC_CATEGORY_TEXT(name, word) word,
      FC_CATEGORY_MAP(FC_CATEGORY_TEXT)
#undef FC_CATEGORY_TEXT
  };
  FC_ASSERT((unsigned)category < FC_CATEGORY_COUNT);
  return text[category];
}

/* --- accounts --- */

/* Account of a slot of a pool: lost work and standing still are both `failed`. */
static fc_account account_of(const fc_fleet *f, size_t p, size_t slot) {
  const fc_fleet_def *def = f->def;
  fc_account a = {.pool = (int32_t)p, .owner = ""};
  size_t jobs = fc_slot_job(f, 0, 0), others = fc_slot_other(f, 0);
  if (slot < jobs) {
    a.category = FC_CATEGORY_SERVING;
    a.owner = def->services[slot].name;
  } else if (slot < others) {
    const fc_owner *owner = &f->owner[(slot - jobs) / FC_JOB_LINES];
    switch ((slot - jobs) % FC_JOB_LINES) {
    case FC_LINE_KEPT: a.category = owner->category; break;
    case FC_LINE_ROLLOUT: a.category = FC_CATEGORY_RL_ROLLOUTS; break;
    default: a.category = FC_CATEGORY_FAILED; break;
    }
    a.owner = owner->name;
  } else if (slot < fc_slot_down(f)) {
    a.category = FC_CATEGORY_OTHER_AI;
    a.owner = def->others[slot - others].name;
  } else if (slot == fc_slot_down(f)) {
    a.category = FC_CATEGORY_DOWN;
  } else {
    a.category = def->residual_is_unexplained ? FC_CATEGORY_UNEXPLAINED : FC_CATEGORY_IDLE;
  }
  if (!a.owner) a.owner = "";
  return a;
}

static bool same_account(const fc_account *a, const fc_account *b) {
  return a->pool == b->pool && a->category == b->category && a->owner == b->owner;
}

static void add_line(const fc_fleet *f, const fc_line *line, const fc_wide *time, fc_account_cell *cell) {
  for (size_t b = 0; b < f->grid->n; b++) {
    double device_s = (double)time[b] / 1e9;
    cell[b].device_s += device_s;
    cell[b].flop += line->flop ? line->flop[b] : line->flop_per_device_s * device_s;
    cell[b].joule += line->joule ? line->joule[b] : line->watts * device_s;
  }
}

static fc_status build_accounts(fc_fleet *f) {
  fc_fleet_result *r = f->result;
  size_t n = f->grid->n, used = 0;
  for (size_t i = 0; i < f->def->n_pools * f->n_slots; i++)
    used += f->line[i].time.cell != NULL || i % f->n_slots >= fc_slot_down(f);
  r->account = calloc(used + 1, sizeof *r->account);
  r->cell = calloc(used * n + 1, sizeof *r->cell);
  fc_wide *time = calloc(n + 1, sizeof *time);
  fc_status st = r->account && r->cell && time ? FC_OK : FC_E_NOMEM;
  for (size_t i = 0; i < f->def->n_pools * f->n_slots && !st; i++) {
    if (!f->line[i].time.cell && i % f->n_slots < fc_slot_down(f)) continue;
    fc_account a = account_of(f, i / f->n_slots, i % f->n_slots);
    if (r->n_accounts == 0 || !same_account(&r->account[r->n_accounts - 1], &a))
      r->account[r->n_accounts++] = a;
    fc_integral_read(&f->line[i].time, f->grid, time);
    add_line(f, &f->line[i], time, &r->cell[(r->n_accounts - 1) * n]);
  }
  free(time);
  return st;
}

/* --- pools, services, jobs --- */

static fc_status build_pools(fc_fleet *f) {
  fc_fleet_result *r = f->result;
  size_t n = f->grid->n;
  r->pool_cell = calloc(f->def->n_pools * n + 1, sizeof *r->pool_cell);
  fc_wide *installed = calloc(n + 1, sizeof *installed), *capital = calloc(n + 1, sizeof *capital);
  fc_status st = r->pool_cell && installed && capital ? FC_OK : FC_E_NOMEM;
  for (size_t p = 0; p < f->def->n_pools && !st; p++) {
    const fc_pool_def *def = &f->def->pools[p];
    const fc_device *device = def->profile->device;
    const fc_series *rent = def->rent_usd_per_s.n > 0 ? &def->rent_usd_per_s : &device->rent_usd_per_s;
    fc_integral_read(&f->pool[p].supply.installed, f->grid, installed);
    fc_integral_read(&f->pool[p].supply.capital, f->grid, capital);
    for (size_t b = 0; b < n; b++) {
      fc_pool_cell *cell = &r->pool_cell[p * n + b];
      cell->installed_device_s = (double)installed[b] / 1e9;
      cell->rent_usd_per_device_s =
          rent->n > 0 ? fc_series_mean(rent, f->grid->at[b], f->grid->at[b + 1]) : 0;
      cell->owner_usd_per_device_s = def->hosting_usd_per_w_s * device->server_w;
      if (installed[b] > 0) cell->owner_usd_per_device_s += (double)capital[b] * 1e-12 / (double)installed[b];
      cell->tariff_usd_per_j = def->tariff_usd_per_j;
    }
  }
  free(installed);
  free(capital);
  return st;
}

static fc_status build_services(fc_fleet *f) {
  fc_fleet_result *r = f->result;
  size_t n = f->grid->n;
  r->service_cell = calloc(f->def->n_services * n + 1, sizeof *r->service_cell);
  if (!r->service_cell) return FC_E_NOMEM;
  for (size_t s = 0; s < f->def->n_services; s++)
    for (size_t b = 0; b < n; b++) {
      const struct fc_service_sum *sum = &f->service[s].sum[b];
      r->service_cell[s * n + b] = (fc_service_cell){.tokens_in = (double)sum->in,
                                                     .tokens_served = (double)sum->served,
                                                     .tokens_dropped = (double)sum->dropped,
                                                     .tokens_queued = (double)sum->queued,
                                                     .peak_devices = (double)sum->peak_devices};
    }
  return FC_OK;
}

static fc_status build_jobs(fc_fleet *f) {
  fc_fleet_result *r = f->result;
  r->job = calloc(f->n_jobs + 1, sizeof *r->job);
  if (!r->job) return FC_E_NOMEM;
  r->n_jobs = f->n_jobs;
  for (size_t j = 0; j < f->n_jobs; j++) {
    const fc_job *job = &f->job[j];
    const fc_owner *owner = &f->owner[job->owner];
    r->job[j] =
        (fc_job_row){.owner = owner->name ? owner->name : "",
                     .number = job->number,
                     .category = owner->category,
                     .pool = job->pool,
                     .devices = job->placements > 0 ? job->devices : job->want,
                     .submit = job->submit,
                     .start = job->start,
                     .end = job->end,
                     .state = job->state,
                     .work_done = job->placements > 0 ? 1 - (double)job->left_ns / (double)job->total_ns : 0,
                     .device_s = (double)(job->kept + job->lost) / 1e9,
                     .lost_device_s = (double)job->lost / 1e9,
                     .flop = job->flop,
                     .failures = job->failures,
                     .preemptions = job->preemptions};
  }
  return FC_OK;
}

fc_status fc_result_build(fc_fleet *f) {
  f->result->events_executed = fc_sim_executed(f->sim);
  fc_status st = build_accounts(f);
  if (!st) st = build_pools(f);
  if (!st) st = build_services(f);
  return st ? st : build_jobs(f);
}

/* --- getters --- */

void fc_fleet_result_free(fc_fleet_result *r) {
  if (!r) return;
  fc_grid_fini(&r->grid);
  free(r->account);
  free(r->cell);
  free(r->pool_cell);
  free(r->service_cell);
  free(r->job);
  free(r->event);
  free(r->capacity);
  free(r->estimate);
  free(r);
}

const fc_fleet_def *fc_fleet_result_def(const fc_fleet_result *r) {
  return r->def;
}

const char *fc_fleet_result_law(const fc_fleet_result *r) {
  return r->law[0] != '\0' ? r->law : NULL;
}

size_t fc_fleet_buckets(const fc_fleet_result *r) {
  return r->grid.n;
}

fc_time fc_fleet_bucket_start(const fc_fleet_result *r, size_t bucket) {
  FC_ASSERT(bucket <= r->grid.n);
  return r->grid.at[bucket];
}

size_t fc_fleet_accounts(const fc_fleet_result *r, const fc_account **accounts) {
  if (accounts) *accounts = r->account;
  return r->n_accounts;
}

fc_account_cell fc_fleet_account_cell(const fc_fleet_result *r, size_t account, size_t bucket) {
  FC_ASSERT(account < r->n_accounts && bucket < r->grid.n);
  return r->cell[account * r->grid.n + bucket];
}

fc_pool_cell fc_fleet_pool_cell(const fc_fleet_result *r, size_t pool, size_t bucket) {
  FC_ASSERT(pool < r->def->n_pools && bucket < r->grid.n);
  return r->pool_cell[pool * r->grid.n + bucket];
}

fc_service_cell fc_fleet_service_cell(const fc_fleet_result *r, size_t service, size_t bucket) {
  FC_ASSERT(service < r->def->n_services && bucket < r->grid.n);
  return r->service_cell[service * r->grid.n + bucket];
}

size_t fc_fleet_jobs(const fc_fleet_result *r, const fc_job_row **rows) {
  if (rows) *rows = r->job;
  return r->n_jobs;
}

size_t fc_fleet_events(const fc_fleet_result *r, const fc_event_row **rows) {
  if (rows) *rows = r->event;
  return r->n_events;
}

size_t fc_fleet_capacities(const fc_fleet_result *r, const fc_capacity_row **rows) {
  if (rows) *rows = r->capacity;
  return r->n_capacities;
}

size_t fc_fleet_estimates(const fc_fleet_result *r, const fc_estimate_row **rows) {
  if (rows) *rows = r->estimate;
  return r->n_estimates;
}

uint64_t fc_fleet_events_executed(const fc_fleet_result *r) {
  return r->events_executed;
}
