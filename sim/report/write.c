/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/report/write.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manifest.h"
#include "table.h"

enum { TIMESERIES, SUMMARY, SPLIT, JOBS, EVENTS, SERVING, TRAINING, TABLES };

static const char *const names[TABLES] = {
    [TIMESERIES] = "timeseries.csv", [SUMMARY] = "summary.csv",
    [SPLIT] = "split.csv",           [JOBS] = "jobs.csv",
    [EVENTS] = "events.csv",         [SERVING] = "serving.csv",
    [TRAINING] = "training.csv",
};

static const char manifest_name[] = "manifest.yaml";

static void explain(char *why, const char *folder, const char *name) {
  int kept = errno;
  (void)snprintf(why, FC_REPORT_WHY, "%s%s%s", folder, *name ? "/" : "", name);
  errno = kept;
}

static char *copy_text(const char *text) {
  size_t size = strlen(text) + 1;
  char *copy = malloc(size);
  return copy ? memcpy(copy, text, size) : NULL;
}

/* mkdir -p.  *made is the length of the path of the first folder that was not there; 0: all were. */
static fc_status make_folders(const char *folder, size_t *made) {
  char *path = copy_text(folder);
  if (!path) return FC_E_NOMEM;
  *made = 0;
  int error = 0;
  for (char *p = path + (*path == '/'); !error; p++) {
    char c = *p;
    if (c != '/' && c != '\0') continue;
    *p = '\0';
    if (*path && mkdir(path, 0777) == 0) {
      if (!*made) *made = strlen(path);
    } else if (*path && errno != EEXIST) {
      error = errno;
    }
    *p = c;
    if (c == '\0') break;
  }
  struct stat st;
  if (!error && stat(path, &st)) error = errno;
  if (!error && !S_ISDIR(st.st_mode)) error = ENOTDIR;
  free(path);
  errno = error;
  return error ? FC_E_IO : FC_OK;
}

/* Takes away the empty folders that make_folders made. */
static void remove_folders(const char *folder, size_t made) {
  char *path = made ? copy_text(folder) : NULL;
  for (size_t n = path ? strlen(path) : 0; path && n >= made && n; n--) {
    if (path[n] != '/' && path[n] != '\0') continue;
    path[n] = '\0';
    if (rmdir(path) && errno != ENOENT) break;
  }
  free(path);
}

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
    explain(why, folder, names[i]);
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
    explain(why, folder, names[i]);
    status = fc_table_sync(&t[i]);
    if (status) return status;
  }
  explain(why, folder, manifest_name);
  fc_text text = {0};
  status = fc_report_manifest(&text, result, input, options, t, TABLES);
  if (!status) status = fc_table_open(manifest, folder, manifest_name);
  if (!status) {
    fc_file_write(manifest->file, text.bytes, text.length);
    status = fc_table_sync(manifest);
  }
  int kept = errno;
  fc_text_fini(&text);
  errno = kept;
  return status;
}

static fc_status commit(table *t, const char *folder, char *why) {
  explain(why, folder, t->name);
  fc_file *file = t->file;
  t->file = NULL;
  return fc_file_commit(file);
}

static fc_status remove_old_manifest(const char *folder, char *why) {
  size_t capacity = strlen(folder) + sizeof manifest_name + 1;
  char *path = malloc(capacity);
  if (!path) return FC_E_NOMEM;
  (void)snprintf(path, capacity, "%s/%s", folder, manifest_name);
  explain(why, folder, manifest_name);
  fc_status status = unlink(path) && errno != ENOENT ? FC_E_IO : FC_OK;
  int kept = errno;
  free(path);
  errno = kept;
  return status;
}

fc_status fc_report_write(const char *folder, const fc_fleet_result *result, const fc_input *input,
                          const fc_report_options *options, char *why) {
  table t[TABLES] = {0}, manifest = {0};
  size_t made;
  explain(why, folder, "");
  fc_status status = make_folders(folder, &made);
  if (status) return status;
  status = prepare(t, &manifest, folder, result, input, options, why);
  if (!status) status = remove_old_manifest(folder, why);
  for (int i = 0; !status && i < TABLES; i++) status = commit(&t[i], folder, why);
  if (!status) status = commit(&manifest, folder, why);
  int kept = errno;
  for (int i = 0; i < TABLES; i++) fc_file_abandon(t[i].file);
  fc_file_abandon(manifest.file);
  if (status)
    remove_folders(folder, made);
  else
    *why = '\0';
  errno = kept;
  return status;
}
