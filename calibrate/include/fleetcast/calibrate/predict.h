/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CALIBRATE_PREDICT_H
#define FC_CALIBRATE_PREDICT_H

#include <stdatomic.h>
#include <stddef.h>

#include <fleetcast/base/diag.h>
#include <fleetcast/base/file.h>
#include <fleetcast/base/status.h>
#include <fleetcast/cost/profile.h>

/** Every row of a measurement file predicted by a profile.
 *
 *  The row's implementation is used when the profile has it for that kernel and format, else the fastest that
 * the profile has at that shape. */

/** One line of the summary. */
typedef struct fc_score {
  const char *kernel, *impl, *dtype, *kv_dtype; /* as in the file */
  size_t points, outside, clamped;
  double median, mean, p90; /* of |predicted/measured - 1|; NaN without a measured latency */
  double bias;              /* median of predicted/measured - 1 */
  double coverage;          /* share of measured times within [low, high] */
} fc_score;

typedef struct fc_scores {
  size_t n;        /* families, then kernels */
  fc_score *score; /* by kernel, format, implementation */
  size_t n_kernels;
  fc_score *kernel;                           /* by kernel */
  size_t rows, others, unmodelled, malformed; /* others: name an implementation that the profile lacks */
  double seconds;                             /* spent */
  void *texts;
} fc_scores;

typedef struct fc_predict_options {
  size_t threads;           /* 0: as many as the machine has; bytes do not depend on it */
  fc_file *out;             /* rows with predicted_us,low_us,high_us behind; NULL: only scores */
  const atomic_int *cancel; /* nullable */
} fc_predict_options;

/** A row that cannot be modelled keeps its place with the three columns empty, and is counted; malformed rows
 * are diagnostics, counted, and kept the same way.
 *  @return FC_OK | FC_E_INPUT (told to d) | FC_E_NOMEM | FC_E_CANCELLED */
FC_NODISCARD
fc_status fc_predict_file(fc_scores *out, const fc_profile *profile, const char *source, const char *bytes,
                          size_t length, const fc_predict_options *options, fc_diags *d);
void fc_scores_fini(fc_scores *scores);

#endif
