/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_COST_PREDICT_H
#define FC_COST_PREDICT_H

#include <stdbool.h>

#include <fleetcast/base/status.h>
#include <fleetcast/cost/operator.h>

/** One call of one operator by one fitted kernel, with its 90 % interval: form, then local correction; never
 * faster than the roofline, never below the lower bound that form and correction give half the work (rows,
 * tokens, queries, context or bytes, at the same alignment).  Without a local correction time never falls as
 * work grows. */

typedef struct fc_prediction {
  double seconds, low_s, high_s; /* 90 % interval */
  bool clamped;                  /* the roofline's seconds */
  bool outside;                  /* beyond the range of the fit: the interval is wider */
} fc_prediction;

enum { FC_STEP_BINS = 20 };

/** Of a fit on a device; made once, then used for many calls; holds pointers to both. */
typedef struct fc_predictor {
  const fc_kernel_fit *fit;
  const fc_device *device;
  double units, per_flop_s, per_byte_s, per_scaleup_s, per_scaleout_s;
  double most, most_factor[FC_REGIME_COUNT]; /* largest lower bound over form among the anchors, and those of
                                                a regime */
  double most_step[FC_STEP_BINS]; /* of half the work over that of the whole, by the ratio of their forms */
} fc_predictor;

void fc_predictor_init(fc_predictor *out, const fc_kernel_fit *fit, const fc_device *device);
/** @return FC_OK | FC_E_DOMAIN (a shape that is negative, not finite or empty) */
FC_NODISCARD
fc_status fc_predict(fc_prediction *out, const fc_predictor *predictor, const fc_op *op);
/** Those of n calls, with the bits that one by one gives, sooner; `seconds` is NaN where that is FC_E_DOMAIN.
 *  @pre one operator: the same `id` in all */
void fc_predict_all(fc_prediction *out, const fc_predictor *predictor, const fc_op *op, size_t n);

/** Normal quantile of a two-sided 90 % interval. */
#define FC_Z90 1.6448536269514722

#endif
