/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <fleetcast/report/write.h>

#include "measure.h"
#include "table.h"

/* --- timeseries.csv --- */

typedef struct {
  table *table;
  char date[FC_TIME_TEXT];
} series;

/* Absent means zero. */
static void put(series *s, const char *pool, const char *category, const char *service, const char *metric,
                double value, const char *unit) {
  if (value == 0) return;
  fc_table_text(s->table, s->date);
  fc_table_text(s->table, pool);
  fc_table_text(s->table, category);
  fc_table_text(s->table, service);
  fc_table_text(s->table, metric);
  fc_table_number(s->table, value);
  fc_table_text(s->table, unit);
  fc_table_text(s->table, QUANTILE);
  fc_table_end_row(s->table);
}

static void put_pool(series *s, const char *pool, const pool_rates *r) {
  put(s, pool, "", "", "installed_devices", r->installed_devices, "devices");
  put(s, pool, "", "", "installed_device_hours", r->installed_device_hours, "device-h");
  put(s, pool, "", "", "h100e_per_device", r->h100e_per_device, "H100e/device");
  put(s, pool, "", "", "rent_rate", r->rent_rate, "USD/device-h");
  put(s, pool, "", "", "owner_rate", r->owner_rate, "USD/device-h");
  put(s, pool, "", "", "tariff", r->tariff, "USD/kWh");
}

static void put_service(series *s, const char *service, const service_totals *t) {
  const char *serving = fc_category_text(FC_CATEGORY_SERVING);
  put(s, "", serving, service, "tokens_in", t->tokens_in, "tokens");
  put(s, "", serving, service, "tokens_served", t->tokens_served, "tokens");
  put(s, "", serving, service, "tokens_dropped", t->tokens_dropped, "tokens");
  put(s, "", serving, service, "tokens_queued", t->tokens_queued, "tokens");
  put(s, "", serving, service, "devices_mean", t->devices_mean, "devices");
  put(s, "", serving, service, "devices_low", t->devices_low, "devices");
  put(s, "", serving, service, "devices_high", t->devices_high, "devices");
  put(s, "", serving, service, "devices_peak", t->devices_peak, "devices");
}

/* INV-1 on the numbers as written. */
static fc_status check_sum(char *why, const char *date, const char *pool, double installed, double used) {
  if (fabs(used - installed) <= 1e-9 * fmax(installed, used) || !isfinite(used))
    return FC_OK; /* INV-9 finds NaN */
  (void)snprintf(why, FC_REPORT_WHY, "INV-1: %s, %s: %.15g device-hours used, %.15g installed", pool, date,
                 used, installed);
  return FC_E_LAW;
}

fc_status fc_report_timeseries_table(table *t, const fc_fleet_result *result, const atomic_int *cancel,
                                     char *why) {
  fc_table_header(t, "date,pool,category,service,metric,value,unit,quantile");
  const fc_fleet_def *def = fc_fleet_result_def(result);
  const fc_account *account;
  size_t accounts = fc_fleet_accounts(result, &account);
  double *used = malloc((def->n_pools ? def->n_pools : 1) * sizeof *used);
  if (!used) return FC_E_NOMEM;
  fc_status status = FC_OK;
  for (size_t b = 0; !status && b < fc_fleet_buckets(result); b++) {
    series s = {.table = t};
    fc_time_format(s.date, fc_fleet_bucket_start(result, b));
    for (size_t p = 0; p < def->n_pools; p++) {
      pool_rates rates = fc_report_rates(result, p, b);
      put_pool(&s, def->pools[p].name, &rates);
      used[p] = 0;
    }
    for (size_t i = 0; i < def->n_services; i++) {
      service_totals sums = fc_report_service(result, i, b, b + 1);
      put_service(&s, def->services[i].name, &sums);
    }
    for (size_t a = 0; a < accounts; a++) {
      size_t p = (size_t)account[a].pool;
      pool_rates rates = fc_report_rates(result, p, b);
      measure m = fc_report_measure(result, a, b, &rates);
      for (int k = 0; k < METRIC_COUNT; k++)
        put(&s, def->pools[p].name, fc_category_text(account[a].category), account[a].owner,
            fc_report_metric[k].name, m.v[k], fc_report_metric[k].unit);
      used[p] += m.v[METRIC_DEVICE_HOURS];
    }
    for (size_t p = 0; !status && p < def->n_pools; p++)
      status = check_sum(why, s.date, def->pools[p].name,
                         fc_report_rates(result, p, b).installed_device_hours, used[p]);
    if (!status && cancel && *cancel) status = FC_E_CANCELLED;
  }
  free(used);
  return status;
}

/* --- summary.csv --- */

typedef struct {
  table *table;
  const char *period, *level, *pool, *category, *service;
} total_row;

static void put_total(const total_row *r, const char *metric, double value, const char *unit) {
  if (value == 0) return;
  fc_table_text(r->table, r->period);
  fc_table_text(r->table, r->level);
  fc_table_text(r->table, r->pool);
  fc_table_text(r->table, r->category);
  fc_table_text(r->table, r->service);
  fc_table_text(r->table, metric);
  fc_table_number(r->table, value);
  fc_table_text(r->table, unit);
  fc_table_text(r->table, QUANTILE);
  fc_table_end_row(r->table);
}

static void put_measure(const total_row *r, const measure *m) {
  for (int k = 0; k < METRIC_COUNT; k++)
    put_total(r, fc_report_metric[k].name, m->v[k], fc_report_metric[k].unit);
}

static void put_period(table *t, const fc_fleet_result *result, const period *p, const totals *sums) {
  const fc_fleet_def *def = fc_fleet_result_def(result);
  put_measure(&(total_row){t, p->label, "total", "", "", ""}, &sums->all);
  for (int c = 0; c < FC_CATEGORY_COUNT; c++)
    put_measure(&(total_row){t, p->label, "category", "", fc_category_text((fc_category)c), ""},
                &sums->category[c]);
  for (size_t i = 0; i < def->n_pools; i++) {
    total_row r = {t, p->label, "pool", def->pools[i].name, "", ""};
    double hours = 0;
    for (size_t b = p->from; b < p->to; b++) hours += fc_report_rates(result, i, b).installed_device_hours;
    put_total(&r, "installed_device_hours", hours, "device-h");
    put_total(&r, "installed_devices", hours / fc_report_bucket_hours(result, p->from, p->to), "devices");
  }
  for (size_t i = 0; i < def->n_services; i++) {
    total_row r = {t, p->label, "service", "", fc_category_text(FC_CATEGORY_SERVING), def->services[i].name};
    service_totals s = fc_report_service(result, i, p->from, p->to);
    put_total(&r, "tokens_in", s.tokens_in, "tokens");
    put_total(&r, "tokens_served", s.tokens_served, "tokens");
    put_total(&r, "tokens_dropped", s.tokens_dropped, "tokens");
    put_total(&r, "tokens_queued", s.tokens_queued, "tokens");
    put_total(&r, "devices_mean", s.devices_mean, "devices");
    put_total(&r, "devices_low", s.devices_low, "devices");
    put_total(&r, "devices_high", s.devices_high, "devices");
    put_total(&r, "devices_peak", s.devices_peak, "devices");
  }
  const fc_account *account;
  size_t n = fc_fleet_accounts(result, &account);
  for (size_t a = 0; a < n; a++) {
    total_row r = {t,
                   p->label,
                   "account",
                   def->pools[account[a].pool].name,
                   fc_category_text(account[a].category),
                   account[a].owner};
    put_measure(&r, &sums->account[a]);
  }
}

fc_status fc_report_summary_table(table *t, const fc_fleet_result *result) {
  fc_table_header(t, "period,level,pool,category,service,metric,value,unit,quantile");
  periods ps = fc_report_periods(result);
  fc_status status = ps.at ? FC_OK : FC_E_NOMEM;
  for (size_t i = 0; !status && i < ps.n; i++) {
    if (ps.at[i].stock) continue; /* the last rows of timeseries.csv */
    totals sums;
    status = fc_report_totals(&sums, result, &ps.at[i]);
    if (!status) put_period(t, result, &ps.at[i], &sums);
    free(sums.account);
  }
  free(ps.at);
  return status;
}

/* --- jobs.csv, events.csv --- */

const char *fc_report_job_state(fc_job_state state) {
  static const char *const text[] = {
      [FC_JOB_DONE] = "done",
      [FC_JOB_RUNNING] = "running",
      [FC_JOB_QUEUED] = "queued",
      [FC_JOB_IMPOSSIBLE] = "impossible",
  };
  return text[state];
}

void fc_report_jobs_table(table *t, const fc_fleet_result *result) {
  fc_table_header(t, "owner,number,category,pool,devices,submit,start,end,state,work_done,device_hours,"
                     "lost_device_hours,useful_flop,failures,preemptions");
  const fc_fleet_def *def = fc_fleet_result_def(result);
  const fc_job_row *job;
  size_t n = fc_fleet_jobs(result, &job);
  for (; n; n--, job++) {
    fc_table_text(t, job->owner);
    fc_table_int(t, (long long)job->number);
    fc_table_text(t, fc_category_text(job->category));
    fc_table_text(t, job->pool < 0 ? "" : def->pools[job->pool].name);
    fc_table_int(t, job->devices);
    fc_table_time(t, job->submit);
    fc_table_time(t, job->start);
    fc_table_time(t, job->end);
    fc_table_text(t, fc_report_job_state(job->state));
    fc_table_number(t, job->work_done);
    fc_table_number(t, job->device_s / 3600);
    fc_table_number(t, job->lost_device_s / 3600);
    fc_table_number(t, job->flop);
    fc_table_int(t, job->failures);
    fc_table_int(t, job->preemptions);
    fc_table_end_row(t);
  }
}

void fc_report_events_table(table *t, const fc_fleet_result *result) {
  fc_table_header(t, "date,kind,what,value,unit");
  const fc_event_row *event;
  size_t n = fc_fleet_events(result, &event);
  for (; n; n--, event++) {
    fc_table_time(t, event->at);
    fc_table_text(t, event->kind);
    fc_table_text(t, event->what);
    fc_table_number(t, event->value);
    fc_table_text(t, event->unit);
    fc_table_end_row(t);
  }
}
