/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CLI_VALIDATE_H
#define FC_CLI_VALIDATE_H

#include <fleetcast/base/file.h>
#include <fleetcast/serve/case.h>

#include "verbs.h"

/* Measured serving cases: reading, predicting, scoring. */

enum { CASE_WHY = 256 };

typedef struct {
  char **field; /* [columns] as read */
  size_t line;
  fc_serve_case c;
  const char *model_name, *system, *mode; /* fields */
  const fc_model *model;                  /* NULL: see why */
  const fc_profile *profile;
  double devices;        /* of the whole deployment */
  double ttft_s, tpot_s; /* measured; NAN: not told */
  fc_case_answer answer; /* where why is empty */
  char why[CASE_WHY];    /* why it is not modelled */
} validate_case;

typedef struct named_input {
  char *name;
  fc_input *input;           /* NULL: there is none */
  const fc_profile *profile; /* of a profile: with tables, if need be another's */
} named_input;

typedef struct {
  size_t n_columns, n, room;
  char **column;
  validate_case *item;
  named_input *input; /* models and profiles that were looked for */
  size_t n_inputs;
  fc_arena moved; /* owns what was transferred */
} validate_cases;

/* Reads the cases and finds the model and the profile of each.  @return an exit status, told to stderr */
int validate_read(validate_cases *out, const char *path, const settings *s);
void validate_free(validate_cases *cases);
/* The input with six columns of predictions and one of reasons behind. */
void validate_write(fc_file *file, const validate_cases *cases);
/* A page of errors by system, model and mode. */
void validate_table(fc_text *out, const validate_cases *cases);

/* Does it hold fits of operator tables? */
bool validate_has_tables(const fc_profile *profile);
/* The one whose device's datasheet is nearest; NULL of none. */
const fc_profile *validate_nearest(const fc_profile *const *candidates, size_t n, const fc_device *to);
/* `to` with the tables of `from`, moved by datasheet (docs/calibrate.md#transfer). */
FC_NODISCARD
fc_status validate_transfer(fc_profile *out, const fc_profile *to, const fc_profile *from, fc_arena *arena);

#endif
