/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_ACCURACY_TRAINING_ROWS_H
#define FC_ACCURACY_TRAINING_ROWS_H

#include <stdbool.h>
#include <stddef.h>

#include <fleetcast/cost/model.h>
#include <fleetcast/cost/plan.h>
#include <fleetcast/cost/profile.h>

/** Published training steps and the plan of each. */

enum { TRAINING_ROWS_MAX = 512 };

typedef struct {
  char what[96];     /* the configuration, without its release */
  const char *group; /* rows that are scored together */
  bool calibrated;   /* a constant of the model was calibrated on this row */
  fc_model model;
  const fc_profile *profile;
  fc_train_plan plan;
  double published_s;
} training_row;

typedef struct {
  training_row row[TRAINING_ROWS_MAX];
  size_t n;
  int left_out; /* models that are no transformers of ours */
} training_rows;

/** Reads the three files of DATA (shared/data/training) with the shipped models and profiles of SCENARIOS.
 *  False: told on stderr. */
bool training_read(training_rows *out, const char *data, const char *scenarios);

#endif
