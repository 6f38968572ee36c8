/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_REPORT_TABLE_H
#define FC_REPORT_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sha2.h>

#include <fleetcast/base/csv.h>
#include <fleetcast/base/file.h>
#include <fleetcast/fleet/run.h>

/* One CSV file under construction: counts its rows, hashes its bytes, notices a number that is not finite. */

#define QUANTILE "point" /* one run gives one value; an ensemble will give quantiles */

typedef struct {
  const char *name;
  fc_file *file;
  SHA2_CTX sha;
  size_t bytes, rows;
  bool not_finite;
  char sha256[SHA256_DIGEST_STRING_LENGTH]; /* once synced */
} table;

/* errno is the file's on FC_E_IO. */
FC_NODISCARD
fc_status fc_table_open(table *t, const char *folder, const char *name);
FC_NODISCARD
fc_status fc_table_sync(table *t);
void fc_table_header(table *t, const char *columns);
void fc_table_text(table *t, const char *text);
void fc_table_number(table *t, double value);
void fc_table_int(table *t, long long value);
void fc_table_time(table *t, fc_time at); /* negative: empty */
void fc_table_end_row(table *t);

/* What each file holds. */
/* @param[out] why  on FC_E_LAW */
fc_status fc_report_timeseries_table(table *t, const fc_fleet_result *result, const atomic_int *cancel,
                                     char *why);
fc_status fc_report_summary_table(table *t, const fc_fleet_result *result);
fc_status fc_report_split_table(table *t, const fc_fleet_result *result);
void fc_report_jobs_table(table *t, const fc_fleet_result *result);
void fc_report_events_table(table *t, const fc_fleet_result *result);
void fc_report_serving_table(table *t, const fc_fleet_result *result);
void fc_report_training_table(table *t, const fc_fleet_result *result);

/* --- words for plans and results, shared with the page --- */

enum { PLAN_TEXT = 160 };
void fc_report_serve_plan(char out[PLAN_TEXT], const fc_serve_plan *plan);
void fc_report_train_plan(char out[PLAN_TEXT], const fc_train_plan *plan);
const char *fc_report_job_state(fc_job_state state);

/* What an estimate row says of its run, failures included; all 0 for streams, whose jobs differ. */
typedef struct {
  const char *name;
  fc_category category;
  const fc_model *model;
  double tokens, days, device_hours;
} run_plan;
run_plan fc_report_run_plan(const fc_fleet_result *result, const fc_estimate_row *row);

#endif
