/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/report/write.h>

#include "folder.h"
#include "manifest.h"
#include "table.h"

enum { TIMESERIES, SUMMARY, SPLIT, JOBS, EVENTS, SERVING, TRAINING, TABLES };

static const char *const names[TABLES] = {
    [TIMESERIES] = "timeseries.csv", [SUMMARY] = "summary.csv",
    [SPLIT] = "split.csv",           [JOBS] = "jobs.csv",
    [EVENTS] = "events.csv",         [SERVING] = "serving.csv",
    [TRAINING] = "training.csv",
};

static fc_status fill(table t[TABLES], const fc_fleet_result *result, const fc_report_options *options,
                      char *why) {
  fc_status status = fc_report_timeseries_table(&t[TIMESERIES], result, options->cancel, why);
  if (!status) status = fc_report_summary_table(&t[SUMMARY], result);
  if (!status) status = fc_report_split_table(&t[SPLIT], result);
  if (status) return status;
  fc_report_jobs_table(&t[JOBS], result);
  fc_report_events_table(&t[EVENTS], result);
  fc_report_serving_table(&t[SERVING], result);
  fc_report_training_table(&t[TRAINING], result);
  return options->cancel && *options->cancel ? FC_E_CANCELLED : FC_OK;
}

/* Opens, fills and syncs everything, all under temporary names. */
static fc_status prepare(fc_folder *f, const fc_fleet_result *result, const fc_report_options *options) {
  fc_status status = FC_OK;
  table *t;
  for (size_t i = 0; status == FC_OK && i < TABLES; i++) status = fc_folder_add(f, names[i], &t);
  if (status == FC_OK) status = fill(f->t, result, options, f->why);
  for (size_t i = 0; status == FC_OK && i < TABLES; i++) status = fc_folder_sync(f, &f->t[i]);
  return status;
}

fc_status fc_report_write(const char *folder, const fc_fleet_result *result, const fc_input *input,
                          const fc_report_options *options, char *why) {
  fc_folder f;
  fc_status status = fc_folder_open(&f, folder, why);
  if (status == FC_OK) status = prepare(&f, result, options);
  if (status == FC_OK) {
    fc_text head = {0};
    fc_report_manifest_fleet(&head, result, options);
    status = fc_folder_commit(&f, &head, input, options);
  }
  return fc_folder_end(&f, status);
}
