/* SPDX-License-Identifier: Apache-2.0 */
#include "measure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/time.h>

const metric_text fc_report_metric[METRIC_COUNT] = {
#define METRIC_TEXT(name, text, unit) {text, unit},
    METRIC_MAP(METRIC_TEXT)
#undef METRIC_TEXT
};

static const double s_per_h = 3600, j_per_kwh = 3.6e6;

double fc_report_bucket_hours(const fc_fleet_result *result, size_t from, size_t to) {
  return fc_time_to_s(fc_fleet_bucket_start(result, to) - fc_fleet_bucket_start(result, from)) / s_per_h;
}

pool_rates fc_report_rates(const fc_fleet_result *result, size_t pool, size_t bucket) {
  const fc_pool_def *def = &fc_fleet_result_def(result)->pools[pool];
  fc_pool_cell cell = fc_fleet_pool_cell(result, pool, bucket);
  double hours = cell.installed_device_s / s_per_h;
  return (pool_rates){.installed_devices = hours / fc_report_bucket_hours(result, bucket, bucket + 1),
                      .installed_device_hours = hours,
                      .h100e_per_device = fc_device_h100e(def->profile->device),
                      .rent_rate = cell.rent_usd_per_device_s * s_per_h,
                      .owner_rate = cell.owner_usd_per_device_s * s_per_h,
                      .tariff = cell.tariff_usd_per_j * j_per_kwh};
}

measure fc_report_measure(const fc_fleet_result *result, size_t account, size_t bucket,
                          const pool_rates *rates) {
  fc_account_cell cell = fc_fleet_account_cell(result, account, bucket);
  measure m;
  double hours = cell.device_s / s_per_h, kwh = cell.joule / j_per_kwh;
  m.v[METRIC_DEVICE_HOURS] = hours;
  m.v[METRIC_H100E_HOURS] = hours * rates->h100e_per_device;
  m.v[METRIC_USEFUL_FLOP] = cell.flop;
  m.v[METRIC_ENERGY] = kwh;
  m.v[METRIC_RENT_USD] = hours * rates->rent_rate;
  m.v[METRIC_OWNER_USD] = hours * rates->owner_rate + kwh * rates->tariff;
  return m;
}

void fc_report_measure_add(measure *to, const measure *m) {
  for (int i = 0; i < METRIC_COUNT; i++) to->v[i] += m->v[i];
}

periods fc_report_periods(const fc_fleet_result *result) {
  size_t buckets = fc_fleet_buckets(result);
  periods out = {.at = calloc(buckets + 2, sizeof *out.at)};
  if (!out.at || buckets == 0) return out;
  out.at[out.n++] = (period){.label = "all", .to = buckets};
  int32_t first = fc_time_to_civil(fc_fleet_bucket_start(result, 0)).year;
  bool several = fc_time_to_civil(fc_fleet_bucket_start(result, buckets - 1)).year != first;
  for (size_t b = 0; several && b < buckets; b++) {
    int32_t year = fc_time_to_civil(fc_fleet_bucket_start(result, b)).year;
    if (out.n == 1 || year != first) {
      period *p = &out.at[out.n++];
      (void)snprintf(p->label, sizeof p->label, "%d", (int)year);
      p->from = b;
      first = year;
    }
    out.at[out.n - 1].to = b + 1;
  }
  period *p = &out.at[out.n++];
  *p = (period){.stock = true, .from = buckets - 1, .to = buckets};
  fc_time_format(p->label, fc_fleet_bucket_start(result, buckets - 1));
  return out;
}

fc_status fc_report_totals(totals *out, const fc_fleet_result *result, const period *p) {
  const fc_account *account;
  size_t n = fc_fleet_accounts(result, &account);
  *out = (totals){.account = calloc(n ? n : 1, sizeof *out->account)};
  if (!out->account) return FC_E_NOMEM;
  for (size_t b = p->from; b < p->to; b++) {
    for (size_t a = 0; a < n; a++) { /* the order of the rows in timeseries.csv */
      pool_rates rates = fc_report_rates(result, (size_t)account[a].pool, b);
      measure m = fc_report_measure(result, a, b, &rates);
      fc_report_measure_add(&out->account[a], &m);
      fc_report_measure_add(&out->category[account[a].category], &m);
      fc_report_measure_add(&out->all, &m);
    }
  }
  return FC_OK;
}

double fc_report_rate_log_sd(const fc_serve_capacity *c, bool prefill) {
  double kernels = prefill ? c->prefill_log_sd : c->decode_log_sd,
         surface = prefill ? c->surface.prefill_log_sd : c->surface.decode_log_sd;
  return hypot(kernels, surface);
}

/* Devices for the same load, over those that there are, with the rates `z` spreads off. */
static double need(const fc_fleet_result *result, size_t service, int32_t pool, double z) {
  const fc_request_shape *r = &fc_fleet_result_def(result)->services[service].request;
  const fc_capacity_row *row;
  size_t n = fc_fleet_capacities(result, &row);
  for (size_t i = 0; i < n; i++) {
    if (row[i].service != (int32_t)service || row[i].pool != pool || !row[i].feasible) continue;
    const fc_serve_capacity *c = &row[i].capacity;
    double prefill = r->input_tokens * (1 - r->cache_hit) / c->prefill_tokens_per_s,
           decode = r->output_tokens / c->decode_tokens_per_s;
    double more = prefill * exp(-z * fc_report_rate_log_sd(c, true)) +
                  decode * exp(-z * fc_report_rate_log_sd(c, false));
    return isfinite(more) && prefill + decode > 0 ? more / (prefill + decode) : 1;
  }
  return 1;
}

service_totals fc_report_service(const fc_fleet_result *result, size_t service, size_t from, size_t to) {
  service_totals t = {0};
  for (size_t b = from; b < to; b++) {
    fc_service_cell cell = fc_fleet_service_cell(result, service, b);
    t.tokens_in += cell.tokens_in;
    t.tokens_served += cell.tokens_served;
    t.tokens_dropped += cell.tokens_dropped;
    t.tokens_queued = cell.tokens_queued; /* at the end */
    if (cell.peak_devices > t.devices_peak) t.devices_peak = cell.peak_devices;
  }
  const fc_account *account;
  size_t n = fc_fleet_accounts(result, &account);
  const char *name = fc_fleet_result_def(result)->services[service].name;
  const double z = 1.6448536269514722; /* 5 % and 95 % */
  double hours = 0, low = 0, high = 0;
  for (size_t a = 0; a < n; a++) {
    if (account[a].category != FC_CATEGORY_SERVING || strcmp(account[a].owner, name) != 0) continue;
    double here = 0;
    for (size_t b = from; b < to; b++) here += fc_fleet_account_cell(result, a, b).device_s / s_per_h;
    hours += here;
    low += here * need(result, service, account[a].pool, z);
    high += here * need(result, service, account[a].pool, -z);
  }
  double span = fc_report_bucket_hours(result, from, to);
  t.devices_mean = hours / span;
  t.devices_low = low / span;
  t.devices_high = high / span;
  return t;
}
