/* SPDX-License-Identifier: Apache-2.0 */
#include "page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void head(sheet *g, const char *align, const char *const *name) {
  fc_sheet_init(g, align);
  for (size_t i = 0; i < g->columns; i++) fc_sheet_cell(g, "%s", name[i]);
}

/* Sum of what an owner used, over pools; `category` FC_CATEGORY_COUNT: whatever for. */
static measure owned(const fc_fleet_result *result, const totals *sums, const char *owner,
                     fc_category category) {
  const fc_account *account;
  size_t n = fc_fleet_accounts(result, &account);
  measure m = {{0}};
  for (size_t a = 0; a < n; a++)
    if ((category == FC_CATEGORY_COUNT || account[a].category == category) &&
        strcmp(account[a].owner, owner) == 0)
      fc_report_measure_add(&m, &sums->account[a]);
  return m;
}

/* "18-49 k" */
static void put_range(sheet *g, double low, double high) {
  static const char prefix[] = " kMGTPE";
  size_t power = 0;
  for (; high >= 1000 && power + 2 < sizeof prefix; power++) {
    low /= 1000;
    high /= 1000;
  }
  int digits = high < 9.95 ? 1 : 0;
  fc_sheet_cell(g, "%.*f-%.*f %c", digits, low, digits, high, prefix[power]);
}

void fc_page_tokens(fc_text *out, const fc_fleet_result *result, const totals *sums) {
  static const char *const names[] = {"service", "asked", "served", "dropped",   "queued",
                                      "devices", "90 %",  "peak",   "tok/dev-s", "$/Mtok"};
  const fc_fleet_def *def = fc_fleet_result_def(result);
  if (def->n_services == 0) return;
  fc_text_add(
      out,
      "\nTOKENS, whole run (input with cached + output; queued: at the end; devices: mean, 90 %; rent)\n");
  sheet g;
  head(&g, "lrrrrrrrrr", names);
  for (size_t i = 0; i < def->n_services; i++) {
    service_totals t = fc_report_service(result, i, 0, fc_fleet_buckets(result));
    measure m = owned(result, sums, def->services[i].name, FC_CATEGORY_SERVING);
    double seconds = m.v[METRIC_DEVICE_HOURS] * 3600;
    fc_sheet_cell(&g, "%.20s", def->services[i].name);
    fc_sheet_si(&g, t.tokens_in);
    fc_sheet_si(&g, t.tokens_served);
    fc_sheet_cell(&g, "%.2f %%", t.tokens_in > 0 ? 100 * t.tokens_dropped / t.tokens_in : 0);
    fc_sheet_si(&g, t.tokens_queued);
    fc_sheet_si(&g, t.devices_mean);
    put_range(&g, t.devices_low, t.devices_high);
    fc_sheet_si(&g, t.devices_peak);
    if (seconds > 0)
      fc_sheet_si(&g, t.tokens_served / seconds);
    else
      fc_sheet_cell(&g, "-");
    if (t.tokens_served > 0)
      fc_sheet_cell(&g, "%.3f", m.v[METRIC_RENT_USD] / t.tokens_served * 1e6);
    else
      fc_sheet_cell(&g, "-");
  }
  fc_sheet_print(&g, out);
}

/* --- how each service is served --- */

static void put_time(sheet *g, double s) {
  if (s < 0.99995)
    fc_sheet_cell(g, "%.1f ms", s * 1e3);
  else
    fc_sheet_cell(g, "%.2f s", s);
}

/* Standard deviations of logarithms, as shares. */
static void put_spread(sheet *g, double log_sd) {
  fc_sheet_cell(g, "%.0f %%", 100 * expm1(log_sd));
}

static void put_spreads(sheet *g, double prefill, double decode) {
  fc_sheet_cell(g, "%.0f, %.0f %%", 100 * expm1(prefill), 100 * expm1(decode));
}

/* What binds, short enough for a row of the page. */
static const char *limit_word(const char *limit) {
  if (!limit) return "-";
  if (strcmp(limit, "KV cache") == 0) return "KV";
  return strcmp(limit, "utilisation") == 0 ? "load" : limit;
}

static void put_capacity(sheet *g, const fc_fleet_def *def, const fc_capacity_row *row) {
  const fc_serve_capacity *c = &row->capacity;
  fc_sheet_cell(g, "%.18s", def->services[row->service].name);
  fc_sheet_cell(g, "%.14s", def->pools[row->pool].name);
  fc_sheet_si(g, c->prefill_tokens_per_s);
  fc_sheet_si(g, c->decode_tokens_per_s);
  put_spreads(g, fc_report_rate_log_sd(c, true), fc_report_rate_log_sd(c, false));
  put_time(g, c->ttft_s);
  put_time(g, c->tpot_s);
  fc_sheet_cell(g, "%.*f", c->decode_batch < 99.95 ? 1 : 0, c->decode_batch);
  fc_sheet_cell(g, "%s, %s", limit_word(c->prefill_limit), limit_word(c->decode_limit));
}

static void add_serve_plans(fc_text *out, const fc_fleet_def *def, const fc_capacity_row *row) {
  const fc_serve_capacity *c = &row->capacity;
  const char *service = def->services[row->service].name, *pool = def->pools[row->pool].name;
  char prefill[PLAN_TEXT], decode[PLAN_TEXT];
  fc_report_serve_plan(prefill, &c->deployment.prefill);
  fc_report_serve_plan(decode, &c->deployment.decode);
  if (c->deployment.disaggregated) {
    fc_text_printf(out, "  %s on %s: prefill %lld: %s\n", service, pool, (long long)c->prefill_unit, prefill);
    fc_text_printf(out, "  %*s      decode %lld: %s\n", (int)(strlen(service) + strlen(pool)), "",
                   (long long)c->decode_unit, decode);
  } else {
    fc_text_printf(out, "  %s on %s: %lld: %s\n", service, pool, (long long)c->decode_unit, decode);
  }
}

static void add_impossible(fc_text *out, const char *what, const char *pool, const char *why) {
  char line[512];
  (void)snprintf(line, sizeof line, "%s on %s: impossible: %s", what, pool, why);
  fc_report_wrap(out, 2, line);
}

/* Did the fleet serve it there?  A run that serves nothing anywhere shows every pair. */
static bool is_used(const fc_fleet_result *result, const totals *sums, const fc_capacity_row *row) {
  const fc_account *account;
  size_t n = fc_fleet_accounts(result, &account);
  const char *service = fc_fleet_result_def(result)->services[row->service].name;
  if (!(sums->category[FC_CATEGORY_SERVING].v[METRIC_DEVICE_HOURS] > 0)) return true;
  for (size_t a = 0; a < n; a++)
    if (account[a].category == FC_CATEGORY_SERVING && account[a].pool == row->pool &&
        strcmp(account[a].owner, service) == 0)
      return sums->account[a].v[METRIC_DEVICE_HOURS] > 0;
  return false;
}

/* "-12 %" of a ratio's logarithm. */
static void put_ratio(sheet *g, double log_ratio) {
  fc_sheet_cell(g, "%+.1f %%", 100 * expm1(log_ratio));
}

static bool is_simulated(const fc_fleet_result *result, const totals *sums, const fc_capacity_row *row) {
  return row->feasible && row->capacity.surface.used && is_used(result, sums, row);
}

/* The surface beside the formulas and beside a simulation of its own answer. */
static void add_simulated(fc_text *out, const fc_fleet_result *result, const totals *sums) {
  static const char *const names[] = {"service", "pool",       "runs",   "pre closed", "direct",
                                      "+-",      "dec closed", "direct", "+-"};
  const fc_fleet_def *def = fc_fleet_result_def(result);
  const fc_capacity_row *row;
  size_t n = fc_fleet_capacities(result, &row), shown = 0;
  for (size_t i = 0; i < n; i++) shown += is_simulated(result, sums, &row[i]);
  if (!shown) return;
  fc_text_add(out, "simulated: these rates over the closed form's, and over a direct run's with other random "
                   "numbers\n");
  sheet g;
  head(&g, "llrrrrrrr", names);
  for (size_t i = 0; i < n; i++) {
    if (!is_simulated(result, sums, &row[i])) continue;
    const fc_serve_capacity *c = &row[i].capacity;
    fc_sheet_cell(&g, "%.18s", def->services[row[i].service].name);
    fc_sheet_cell(&g, "%.14s", def->pools[row[i].pool].name);
    fc_sheet_cell(&g, "%lld", (long long)c->surface.runs);
    put_ratio(&g, log(c->prefill_tokens_per_s / c->surface.closed_prefill_tokens_per_s));
    put_ratio(&g, c->surface.prefill_error);
    fc_sheet_cell(&g, "%.1f %%", 196 * hypot(c->surface.prefill_error_sd, c->surface.prefill_log_sd));
    put_ratio(&g, log(c->decode_tokens_per_s / c->surface.closed_decode_tokens_per_s));
    put_ratio(&g, c->surface.decode_error);
    fc_sheet_cell(&g, "%.1f %%", 196 * hypot(c->surface.decode_error_sd, c->surface.decode_log_sd));
  }
  fc_sheet_print(&g, out);
}

void fc_page_serving(fc_text *out, const fc_fleet_result *result, const totals *sums) {
  static const char *const names[] = {"service", "pool", "prefill/s", "decode/s", "sd",
                                      "TTFT",    "TPOT", "batch",     "bound by"};
  const fc_fleet_def *def = fc_fleet_result_def(result);
  const fc_capacity_row *row;
  size_t n = fc_fleet_capacities(result, &row);
  if (n == 0) return;
  fc_text_add(out, "\nSERVING at the objective: tokens/s of one device (prefill: input that misses the "
                   "cache), their sd\n");
  sheet g;
  head(&g, "llrrrrrrl", names);
  size_t unused = 0;
  for (size_t i = 0; i < n; i++)
    if (row[i].feasible && is_used(result, sums, &row[i])) put_capacity(&g, def, &row[i]);
  fc_sheet_print(&g, out);
  add_simulated(out, result, sums);
  fc_text_add(out, "plans, after the devices of an instance:\n");
  for (size_t i = 0; i < n; i++)
    if (!row[i].feasible)
      add_impossible(out, def->services[row[i].service].name, def->pools[row[i].pool].name, row[i].why);
    else if (is_used(result, sums, &row[i]))
      add_serve_plans(out, def, &row[i]);
    else
      unused++;
  if (unused) fc_text_printf(out, "%zu more that could serve and did not: serving.csv\n", unused);
}

/* --- runs --- */

static const fc_estimate_row *estimate_of(const fc_fleet_result *result, size_t run, int32_t pool) {
  const fc_estimate_row *row;
  size_t n = fc_fleet_estimates(result, &row);
  for (size_t i = 0; i < n; i++)
    if ((size_t)row[i].run == run && (pool < 0 || row[i].pool == pool)) return &row[i];
  return NULL;
}

static const fc_job_row *job_of(const fc_fleet_result *result, const fc_run_def *run) {
  const fc_job_row *job;
  size_t n = fc_fleet_jobs(result, &job);
  for (size_t i = 0; i < n; i++)
    if (job[i].number == 0 && strcmp(job[i].owner, run->name) == 0) return &job[i];
  return NULL;
}

static void put_run(sheet *g, const fc_fleet_result *result, const totals *sums, size_t i) {
  const fc_fleet_def *def = fc_fleet_result_def(result);
  const fc_run_def *run = &def->runs[i];
  const fc_job_row *job = job_of(result, run);
  const fc_estimate_row *e = estimate_of(result, i, job ? job->pool : -1);
  fc_sheet_cell(g, "%.20s", run->name);
  fc_sheet_cell(g, "%.12s", job && job->pool >= 0 ? def->pools[job->pool].name : "-");
  fc_sheet_cell(g, "%lld", (long long)run->devices);
  if (job && job->state == FC_JOB_DONE)
    fc_sheet_cell(g, "%.1f", fc_time_to_s(job->end - job->start) / 86400);
  else
    fc_sheet_cell(g, "-");
  fc_sheet_si(g, job ? job->device_s / 3600 : 0);
  if (e && e->feasible) {
    fc_sheet_cell(g, "%.1f %%", 100 * e->estimate.mfu);
    put_spread(g, e->estimate.step_log_sd);
  } else {
    fc_sheet_cell(g, "-");
    fc_sheet_cell(g, "-");
  }
  if (job && job->device_s > 0)
    fc_sheet_cell(g, "%.1f %%", 100 * (1 - job->lost_device_s / job->device_s));
  else
    fc_sheet_cell(g, "-");
  fc_sheet_si(g, owned(result, sums, run->name, FC_CATEGORY_COUNT).v[METRIC_RENT_USD]);
  if (!job)
    fc_sheet_cell(g, "not submitted");
  else if (job->state == FC_JOB_RUNNING || job->state == FC_JOB_QUEUED)
    fc_sheet_cell(g, "%s, %.0f %%", fc_report_job_state(job->state), 100 * job->work_done);
  else
    fc_sheet_cell(g, "%s", fc_report_job_state(job->state));
}

/* Streams: their jobs counted. */
static void add_streams(fc_text *out, const fc_fleet_result *result, const totals *sums) {
  static const char *const names[] = {"stream", "category", "jobs", "done", "device-h", "rent (USD)"};
  const fc_fleet_def *def = fc_fleet_result_def(result);
  if (def->n_streams == 0) return;
  const fc_job_row *job;
  size_t n = fc_fleet_jobs(result, &job);
  fc_text_add(out, "\nJOB STREAMS\n");
  sheet g;
  head(&g, "llrrrr", names);
  for (size_t s = 0; s < def->n_streams; s++) {
    double jobs = 0, done = 0;
    for (size_t i = 0; i < n; i++) {
      if (strcmp(job[i].owner, def->streams[s].name) != 0) continue;
      jobs++;
      done += job[i].state == FC_JOB_DONE;
    }
    measure m = owned(result, sums, def->streams[s].name, FC_CATEGORY_COUNT);
    fc_sheet_cell(&g, "%.24s", def->streams[s].name);
    fc_sheet_cell(&g, "%s", fc_category_text(def->streams[s].category));
    fc_sheet_cell(&g, "%.0f", jobs);
    fc_sheet_cell(&g, "%.0f", done);
    fc_sheet_si(&g, m.v[METRIC_DEVICE_HOURS]);
    fc_sheet_si(&g, m.v[METRIC_RENT_USD]);
  }
  fc_sheet_print(&g, out);
}

void fc_page_training(fc_text *out, const fc_fleet_result *result, const totals *sums) {
  static const char *const names[] = {"run", "pool", "devices", "days",       "device-h",
                                      "MFU", "sd",   "goodput", "rent (USD)", "state"};
  const fc_fleet_def *def = fc_fleet_result_def(result);
  if (def->n_runs) {
    fc_text_add(out, "\nTRAINING RUNS (MFU: useful FLOP over peak BF16, sd: of the step; goodput: kept share "
                     "of the work)\n");
    sheet g;
    head(&g, "llrrrrrrrl", names);
    for (size_t i = 0; i < def->n_runs; i++) put_run(&g, result, sums, i);
    fc_sheet_print(&g, out);
    const fc_estimate_row *row;
    size_t n = fc_fleet_estimates(result, &row);
    for (size_t i = 0; i < n; i++) {
      if ((size_t)row[i].run >= def->n_runs || row[i].feasible) continue;
      fc_text_printf(out, "  %s on %s: impossible: %s\n", def->runs[row[i].run].name,
                     def->pools[row[i].pool].name, row[i].why);
    }
    for (size_t i = 0; i < def->n_runs; i++) {
      const fc_job_row *job = job_of(result, &def->runs[i]);
      const fc_estimate_row *e = estimate_of(result, i, -1);
      if (job && job->state == FC_JOB_IMPOSSIBLE && e && e->feasible)
        fc_text_printf(out, "  %s: impossible: wants %lld devices, more than any of its pools ever has\n",
                       def->runs[i].name, (long long)def->runs[i].devices);
    }
  }
  add_streams(out, result, sums);
}
