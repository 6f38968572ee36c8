/* SPDX-License-Identifier: Apache-2.0 */
/* The laws, checked on every run: docs/invariants.md. */
#include "parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "result.h"

/* Relative slack of sums of floating-point numbers. */
#define SLACK 1e-9

static void broken(fc_fleet *f, const char *law, const char *where, size_t bucket, double left,
                   double right) {
  fc_fleet_result *r = f->result;
  if (r->law[0] != '\0') return; /* the first is told */
  char date[FC_TIME_TEXT];
  fc_time_format(date, f->grid->at[bucket]);
  (void)snprintf(r->law, sizeof r->law, "%s (%.80s, from %s): %.17g against %.17g", law, where ? where : "",
                 date, left, right);
}

static bool near(double a, double b) {
  return fabs(a - b) <= SLACK * fmax(fabs(a), fabs(b));
}

/* INV-1: the device time of all accounts is the installed device time, exactly; the two sides are integrated
 * apart: lots on one, allocations on the other. */
static fc_status check_devices(fc_fleet *f) {
  size_t n = f->grid->n;
  fc_wide *sum = calloc(n + 1, sizeof *sum), *one = calloc(n + 1, sizeof *one);
  fc_status st = sum && one ? FC_OK : FC_E_NOMEM;
  for (size_t p = 0; p < f->def->n_pools && !st; p++) {
    fc_integral_read(&f->pool[p].supply.installed, f->grid, sum);
    for (size_t slot = 0; slot < f->n_slots; slot++) {
      const fc_line *line = fc_line_at(f, p, slot);
      if (!line->time.cell) continue;
      fc_integral_read(&line->time, f->grid, one);
      for (size_t b = 0; b < n; b++) {
        sum[b] -= one[b];
        if (one[b] < 0)
          broken(f, "INV-1 an account is negative", f->def->pools[p].name, b, (double)one[b], 0);
      }
    }
    for (size_t b = 0; b < n; b++)
      if (sum[b] != 0)
        broken(f, "INV-1 installed device-ns less all accounts", f->def->pools[p].name, b, (double)sum[b], 0);
  }
  free(sum);
  free(one);
  return st;
}

/* INV-2: tokens in = served + queued + dropped, exactly, in every bucket and in all. */
static void check_tokens(fc_fleet *f) {
  for (size_t s = 0; s < f->def->n_services; s++) {
    const fc_service *service = &f->service[s];
    const char *name = f->def->services[s].name;
    fc_wide queued = 0, waiting = 0;
    for (size_t b = 0; b < f->grid->n; b++) {
      const struct fc_service_sum *sum = &service->sum[b];
      fc_wide left = queued + sum->in - sum->served - sum->dropped;
      if (left != sum->queued) broken(f, "INV-2 tokens queued", name, b, (double)sum->queued, (double)left);
      if (sum->queued < 0) broken(f, "INV-2 a negative queue", name, b, (double)sum->queued, 0);
      queued = sum->queued;
    }
    for (size_t i = 0; i < service->n_ring; i++)
      waiting += service->ring[(service->head + i) % service->capacity].tokens;
    if (waiting != service->queued || service->in != service->served + service->dropped + service->queued)
      broken(f, "INV-2 tokens in the queue", name, f->grid->n - 1, (double)waiting, (double)service->queued);
  }
}

/* INV-2 for work: what jobs did is what their accounts hold; a finished job did all of its work, once. */
static fc_status check_jobs(fc_fleet *f) {
  fc_wide jobs = 0, lines = 0;
  for (size_t j = 0; j < f->n_jobs; j++) {
    const fc_job *job = &f->job[j];
    jobs += job->kept + job->lost;
    if (job->state == FC_JOB_DONE && job->left_ns != 0)
      broken(f, "INV-2 a finished job has work left [ns]", f->owner[job->owner].name, 0, (double)job->left_ns,
             0);
    if (job->placements > 0 && !job->moved && job->kept_ns + job->left_ns != job->total_ns)
      broken(f, "INV-2 a job's work is not conserved [ns]", f->owner[job->owner].name, 0,
             (double)(job->kept_ns + job->left_ns), (double)job->total_ns);
  }
  fc_wide *one = calloc(f->grid->n + 1, sizeof *one);
  if (!one) return FC_E_NOMEM;
  for (size_t p = 0; p < f->def->n_pools; p++)
    for (size_t slot = fc_slot_job(f, 0, 0); slot < fc_slot_other(f, 0); slot++) {
      if (!fc_line_at(f, p, slot)->time.cell) continue;
      fc_integral_read(&fc_line_at(f, p, slot)->time, f->grid, one);
      for (size_t b = 0; b < f->grid->n; b++) lines += one[b];
    }
  free(one);
  if (jobs != lines)
    broken(f, "INV-2 device-ns of jobs and of their accounts", "", 0, (double)jobs, (double)lines);
  return FC_OK;
}

/* INV-7: FLOP of the jobs' rows are those of their accounts; no pool draws more than its devices can. */
static void check_integrals(fc_fleet *f) {
  const fc_fleet_result *r = f->result;
  double rows = 0, cells = 0;
  for (size_t j = 0; j < f->n_jobs; j++) rows += f->job[j].flop;
  for (size_t a = 0; a < r->n_accounts; a++) {
    if (r->account[a].category == FC_CATEGORY_SERVING) continue;
    for (size_t b = 0; b < f->grid->n; b++) cells += r->cell[a * f->grid->n + b].flop;
  }
  if (!near(rows, cells)) broken(f, "INV-7 FLOP of jobs and of their accounts", "", 0, rows, cells);
  for (size_t p = 0; p < f->def->n_pools; p++) {
    double most = f->pool[p].idle_w;
    for (size_t slot = 0; slot < f->n_slots; slot++) most = fmax(most, fc_line_at(f, p, slot)->watts);
    for (size_t s = 0; s < f->def->n_services; s++)
      most = fmax(most, fmax(f->service[s].site[p].prefill_w, f->service[s].site[p].decode_w));
    for (size_t b = 0; b < f->grid->n; b++) {
      double joule = 0, limit = most * r->pool_cell[p * f->grid->n + b].installed_device_s;
      for (size_t a = 0; a < r->n_accounts; a++)
        if (r->account[a].pool == (int32_t)p) joule += r->cell[a * f->grid->n + b].joule;
      if (!(joule >= 0 && joule <= limit * (1 + SLACK)))
        broken(f, "INV-7 joules of a pool and their limit", f->def->pools[p].name, b, joule, limit);
    }
  }
}

/* INV-9: every number is finite. */
static void check_finite(fc_fleet *f) {
  const fc_fleet_result *r = f->result;
  size_t n = f->grid->n;
  for (size_t i = 0; i < r->n_accounts * n; i++) {
    const fc_account_cell *c = &r->cell[i];
    double sum = c->device_s + c->flop + c->joule;
    if (!isfinite(sum)) broken(f, "INV-9 an account is not finite", r->account[i / n].owner, i % n, sum, 0);
  }
  for (size_t i = 0; i < f->def->n_pools * n; i++) {
    const fc_pool_cell *c = &r->pool_cell[i];
    double sum =
        c->installed_device_s + c->rent_usd_per_device_s + c->owner_usd_per_device_s + c->tariff_usd_per_j;
    if (!isfinite(sum)) broken(f, "INV-9 a pool is not finite", f->def->pools[i / n].name, i % n, sum, 0);
  }
  for (size_t i = 0; i < f->def->n_services * n; i++) {
    const fc_service_cell *c = &r->service_cell[i];
    double sum = c->tokens_in + c->tokens_served + c->tokens_dropped + c->tokens_queued + c->peak_devices;
    if (!isfinite(sum))
      broken(f, "INV-9 a service is not finite", f->def->services[i / n].name, i % n, sum, 0);
  }
  for (size_t j = 0; j < r->n_jobs; j++) {
    const fc_job_row *row = &r->job[j];
    double sum = row->work_done + row->device_s + row->lost_device_s + row->flop;
    if (!isfinite(sum)) broken(f, "INV-9 a job is not finite", row->owner, 0, sum, 0);
  }
}

fc_status fc_laws_check(fc_fleet *f) {
  if (f->ran_back) broken(f, "INV-3 the clock ran back", "", 0, 0, 0);
  if (f->idler) broken(f, "INV-10 devices were idle beside one who waited", f->idler, 0, 0, 0);
  fc_status st = check_devices(f);
  if (st) return st;
  check_tokens(f);
  st = check_jobs(f);
  if (st) return st;
  check_integrals(f);
  check_finite(f);
  return f->result->law[0] != '\0' ? FC_E_LAW : FC_OK;
}
