/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/report/write.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
static fc_status prepare(table t[TABLES], table *manifest, const char *folder, const fc_fleet_result *result,
                         const fc_input *input, const fc_report_options *options, char *why) {
  for (int i = 0; i < TABLES; i++) {
    fc_folder_explain(why, folder, names[i]);
    fc_status status = fc_table_open(&t[i], folder, names[i]);
    if (status) return status;
  }
  fc_status status = fill(t, result, options, why);
  if (status) return status;
  for (int i = 0; i < TABLES; i++) {
    if (t[i].not_finite) {
      (void)snprintf(why, FC_REPORT_WHY, "INV-9: a number of %s is not finite", names[i]);
      return FC_E_LAW;
    }
    fc_folder_explain(why, folder, names[i]);
    status = fc_table_sync(&t[i]);
    if (status) return status;
  }
  fc_folder_explain(why, folder, FC_FOLDER_MANIFEST);
  fc_text text = {0};
  status = fc_report_manifest(&text, result, input, options, t, TABLES);
  if (!status) status = fc_table_open(manifest, folder, FC_FOLDER_MANIFEST);
  if (!status) {
    fc_file_write(manifest->file, text.bytes, text.length);
    status = fc_table_sync(manifest);
  }
  int kept = errno;
  fc_text_fini(&text);
  errno = kept;
  return status;
}

fc_status fc_report_write(const char *folder, const fc_fleet_result *result, const fc_input *input,
                          const fc_report_options *options, char *why) {
  table t[TABLES] = {0}, manifest = {0};
  size_t made;
  fc_folder_explain(why, folder, "");
  fc_status status = fc_folder_make(folder, &made);
  if (status) return status;
  status = prepare(t, &manifest, folder, result, input, options, why);
  if (!status) status = fc_folder_no_manifest(folder, why);
  for (int i = 0; !status && i < TABLES; i++) status = fc_folder_commit(&t[i], folder, why);
  if (!status) status = fc_folder_commit(&manifest, folder, why);
  int kept = errno;
  for (int i = 0; i < TABLES; i++) fc_file_abandon(t[i].file);
  fc_file_abandon(manifest.file);
  if (status)
    fc_folder_remove(folder, made);
  else
    *why = '\0';
  errno = kept;
  return status;
}
