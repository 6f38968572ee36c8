/* SPDX-License-Identifier: Apache-2.0 */
#include "trial.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <fleetcast/cost/predict.h>

static double now_s(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void tell(const char *what, fc_status status, const fc_diags *d) {
  char text[512];
  (void)fprintf(stderr, "%s: %s\n", what, fc_status_text(status));
  for (size_t i = 0; i < d->n; i++) {
    (void)fc_diag_format(text, sizeof text, &d->item[i]);
    (void)fprintf(stderr, "%s\n", text);
  }
}

/* The chosen rows through a file on disk, as measurements come.  `row_of[line - 2]` is the row of a point. */
static bool table_of(fc_table *out, const data_file *file, bool training, size_t *row_of) {
  const char *tmp = getenv("TMPDIR");
  char folder[512], path[600];
  (void)snprintf(folder, sizeof folder, "%s/fleetcast-accuracy-XXXXXX", tmp && *tmp ? tmp : "/tmp");
  if (!mkdtemp(folder)) {
    perror(folder);
    return false;
  }
  (void)snprintf(path, sizeof path, "%s/%s.csv", folder, training ? "train" : "test");
  bool written = data_write(file, training, path, row_of) != SIZE_MAX;
  fc_diags d;
  fc_diags_init(&d);
  const char *paths[] = {path};
  fc_table_options options = {.device = file->device};
  fc_status status = written ? fc_table_read(out, paths, 1, &options, &d) : FC_E_IO;
  if (status || d.n > 0) tell(path, status, &d);
  (void)unlink(path);
  (void)rmdir(folder);
  return status == FC_OK;
}

bool trial_fit(trial_result *out, const data_file *file, const trial_options *options) {
  *out = (trial_result){0};
  size_t *row_of = malloc((file->n + 1) * sizeof *row_of);
  bool ok = row_of && table_of(&out->table, file, true, row_of);
  free(row_of);
  if (!ok) return false;
  fc_fit_options fit = {.threads = options->jobs, .anchors = options->anchors, .no_local = options->no_local};
  double start = now_s();
  fc_status status = fc_fit_table(&out->result, &out->table, file->device, &fit);
  out->seconds = now_s() - start;
  if (status == FC_OK) return true;
  (void)fprintf(stderr, "%s: fit: %s\n", file->system, fc_status_text(status));
  fc_table_fini(&out->table);
  return false;
}

void trial_free(trial_result *trial) {
  fc_fit_result_fini(&trial->result);
  fc_table_fini(&trial->table);
}

const fc_kernel_fit *trial_find(const trial_result *trial, const fc_family *family) {
  for (size_t i = 0; i < trial->table.n_families; i++) {
    const fc_family *f = &trial->table.family[i];
    if (f->kernel == family->kernel && f->format == family->format && f->kv_format == family->kv_format &&
        strcmp(f->impl, family->impl) == 0)
      return &trial->result.fit[i];
  }
  return NULL;
}

static void score_point(data_row *row, const fc_predictor *predictor, const fc_point *point) {
  fc_prediction p;
  if (fc_predict(&p, predictor, &point->op) != FC_OK) return;
  row->scored = true;
  row->error = fabs(p.seconds / point->seconds - 1);
  row->covered = p.low_s <= point->seconds && point->seconds <= p.high_s;
}

bool trial_score(data_file *file, trial_choose *choose, void *context, double *seconds) {
  fc_table table;
  size_t *row_of = malloc((file->n + 1) * sizeof *row_of);
  bool ok = row_of && table_of(&table, file, false, row_of);
  double start = now_s();
  for (size_t i = 0; ok && i < table.n_families; i++) {
    const fc_family *family = &table.family[i];
    const fc_kernel_fit *fit = choose(context, family);
    if (!fit) continue;
    fc_predictor predictor;
    fc_predictor_init(&predictor, fit, file->device);
    for (size_t k = 0; k < family->n; k++) {
      const fc_point *point = &table.point[family->first + k];
      score_point(&file->row[row_of[point->line - 2]], &predictor, point);
    }
  }
  *seconds += now_s() - start;
  free(row_of);
  if (ok) fc_table_fini(&table);
  return ok;
}

static const fc_kernel_fit *choose_own(void *context, const fc_family *family) {
  return trial_find(context, family);
}

bool trial_run(data_file *file, const trial_options *options, double *fit_seconds, double *predict_seconds) {
  trial_result t;
  if (!trial_fit(&t, file, options)) return false;
  *fit_seconds += t.seconds;
  bool ok = trial_score(file, choose_own, &t, predict_seconds);
  trial_free(&t);
  return ok;
}
