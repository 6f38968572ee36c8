/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_REPORT_MEASURE_H
#define FC_REPORT_MEASURE_H

#include <stdbool.h>
#include <stddef.h>

#include <fleetcast/fleet/run.h>

/* What the tables say, in the units of the tables, computed once and in one order: whoever multiplies the
 * printed rows by the printed rates, or adds them up as they stand, gets the printed sums to the last digit.
 */

#define METRIC_MAP(X)                                                                                        \
  X(DEVICE_HOURS, "device_hours", "device-h")                                                                \
  X(H100E_HOURS, "h100e_hours", "H100e-h")                                                                   \
  X(USEFUL_FLOP, "useful_flop", "FLOP")                                                                      \
  X(ENERGY, "energy", "kWh")                                                                                 \
  X(RENT_USD, "rent_usd", "USD")                                                                             \
  X(OWNER_USD, "owner_usd", "USD")

typedef enum {
#define METRIC_ENUM(name, text, unit) METRIC_##name,
  METRIC_MAP(METRIC_ENUM)
#undef METRIC_ENUM
      METRIC_COUNT
} metric_id;

typedef struct {
  const char *name, *unit;
} metric_text;

extern const metric_text fc_report_metric[METRIC_COUNT];

typedef struct {
  double v[METRIC_COUNT];
} measure;

/* One pool in one bucket. */
typedef struct {
  double installed_devices, installed_device_hours, h100e_per_device;
  double rent_rate, owner_rate; /* USD per device-hour */
  double tariff;                /* USD per kWh */
} pool_rates;

double fc_report_bucket_hours(const fc_fleet_result *result, size_t from, size_t to);
pool_rates fc_report_rates(const fc_fleet_result *result, size_t pool, size_t bucket);
measure fc_report_measure(const fc_fleet_result *result, size_t account, size_t bucket,
                          const pool_rates *rates);
void fc_report_measure_add(measure *to, const measure *m);

/* Buckets [from, to). */
typedef struct {
  char label[FC_TIME_TEXT]; /* "all", "2026"; of the stock the instant at which its bucket starts */
  bool stock;
  size_t from, to;
} period;

typedef struct {
  size_t n;
  period *at; /* to free() */
} periods;

/* The whole run; each calendar year if there are several; the last bucket as a stock.  Empty without memory.
 */
periods fc_report_periods(const fc_fleet_result *result);

typedef struct {
  measure category[FC_CATEGORY_COUNT], all;
  measure *account; /* one an account, to free() */
} totals;

FC_NODISCARD
fc_status fc_report_totals(totals *out, const fc_fleet_result *result, const period *p);

/* One service over a period.  devices_low, _high: the mean with the rates' spread at its 95 % and 5 %
 * quantiles, as if devices followed the rates and kernels erred alike everywhere. */
typedef struct {
  double tokens_in, tokens_served, tokens_dropped, tokens_queued, devices_mean, devices_peak;
  double devices_low, devices_high;
} service_totals;

/* Spread of ln(rate) of a phase: kernels and surface. */
double fc_report_rate_log_sd(const fc_serve_capacity *c, bool prefill);

service_totals fc_report_service(const fc_fleet_result *result, size_t service, size_t from, size_t to);

/* --- the inference share (docs/csv.md#split) --- */

typedef enum {
  TRAINING_FINAL_RUNS,
  TRAINING_FINAL_AND_EXPERIMENTS,
  TRAINING_ALL_RND,
  TRAINING_COUNT
} training_id;
typedef enum {
  UNEXPLAINED_EXCLUDED,
  UNEXPLAINED_INFERENCE,
  UNEXPLAINED_TRAINING,
  UNEXPLAINED_COUNT
} unexplained_id;

typedef struct {
  metric_id metric;
  training_id training;
  bool rl_is_inference;
  unexplained_id unexplained;
  bool other_ai; /* in the denominator, as neither of the two */
} split_def;

typedef struct {
  double inference, training, other;
} split;

extern const char *const fc_report_training_text[TRAINING_COUNT];
extern const char *const fc_report_unexplained_text[UNEXPLAINED_COUNT];

split fc_report_split(const measure category[FC_CATEGORY_COUNT], const split_def *def);

#endif
