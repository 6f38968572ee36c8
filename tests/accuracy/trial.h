/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_ACCURACY_TRIAL_H
#define FC_ACCURACY_TRIAL_H

#include <fleetcast/calibrate/fit.h>
#include <fleetcast/calibrate/table.h>

#include "data.h"

/** One experiment: fit some rows of a file as a user would (a CSV file, fc_fit_table), predict others. */

typedef struct trial_options {
  size_t jobs, anchors;
  bool no_local;
} trial_options;

typedef struct trial_result {
  fc_table table;
  fc_fit_result result;
  double seconds; /* of the fit */
} trial_result;

/** Fits the training rows of `file`.  False: told on stderr. */
bool trial_fit(trial_result *out, const data_file *file, const trial_options *options);
void trial_free(trial_result *trial);
/** The fit of the same kernel, formats and implementation; NULL: none. */
const fc_kernel_fit *trial_find(const trial_result *trial, const fc_family *family);

/** Which fit predicts a family; NULL: none does. */
typedef const fc_kernel_fit *trial_choose(void *context, const fc_family *family);

/** Predicts the test rows of `file`: sets error, covered and scored.  False: told on stderr. */
bool trial_score(data_file *file, trial_choose *choose, void *context, double *seconds);

/** Fits and scores one file's own rows. */
bool trial_run(data_file *file, const trial_options *options, double *fit_seconds, double *predict_seconds);

#endif
