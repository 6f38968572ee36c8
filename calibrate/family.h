/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CALIBRATE_INTERNAL_FAMILY_H
#define FC_CALIBRATE_INTERNAL_FAMILY_H

#include <stdint.h>

#include <fleetcast/cost/predict.h>

#include "score.h"

/** Which fits of a profile answer for which rows: found once a family, not once a row. */

/* The profile; shared by all threads.  Most files ask for few of its fits: each is made ready when a family
 * first asks for it. */
typedef struct fc_predictors {
  const fc_device *device;
  size_t n;
  const fc_kernel_fit *fit;
  fc_predictor *predictor; /* of each kernel fit */
  struct fc_readiness *readiness;
  const fc_format **format, **kv_format; /* of each kernel fit; NULL: none, or one that nobody knows */
} fc_predictors;

/* @return FC_OK | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_predictors_init(fc_predictors *out, const fc_profile *profile);
void fc_predictors_fini(fc_predictors *predictors);

/* Rows with the same kernel, impl, dtype and kv_dtype. */
typedef struct fc_row_family {
  fc_slice text[FC_KEY_TEXTS]; /* borrowed from the file */
  uint64_t hash;
  bool known; /* fault tells else */
  fc_measured measured;
  fc_fault fault;
  size_t n;    /* fits that answer, 0: none; the fastest counts */
  bool others; /* they are of other implementations than the rows name */
  const fc_predictor **fit;
  fc_tally tally;
  size_t unmodelled, first_line; /* rows since the last merge, and the first one's line */
  size_t merged;                 /* its index in the whole; SIZE_MAX: not there yet */
} fc_row_family;

/* One thread's. */
typedef struct fc_families {
  size_t n, room, n_slots;
  fc_row_family *item;
  size_t *slot; /* index + 1 by hash; 0: free */
  size_t last;  /* asked for, and the texts that it was asked with */
  fc_slice asked[FC_KEY_TEXTS];
} fc_families;

/* The row's family; new ones are added.  NULL: out of memory.  Moves earlier ones. */
fc_row_family *fc_families_at(fc_families *families, const fc_predictors *predictors,
                              const fc_measure_row *row);
void fc_families_fini(fc_families *families);

/* The fastest of the family's fits for each of n calls, n <= FC_FAMILY_MANY; `seconds` is NaN where none can.
 */
enum { FC_FAMILY_MANY = 64 };
void fc_family_predict(fc_prediction *out, const fc_row_family *family, const fc_op *op, size_t n);

#endif
