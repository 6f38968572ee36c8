/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CALIBRATE_INTERNAL_FORM_FIT_H
#define FC_CALIBRATE_INTERNAL_FORM_FIT_H

#include <fleetcast/base/arena.h>
#include <fleetcast/calibrate/table.h>
#include <fleetcast/cost/profile.h>

/** The physical form of one family: coefficients, covariance and spread, by robust least squares in ln(time)
 * from several starts, held by weak priors from the datasheet where data is silent. */

/** Points of one family with what the forms look at. */
typedef struct fc_form_points {
  size_t n;
  const fc_geometry *g;
  const double *y;      /* ln(seconds) */
  const double *log_sd; /* of the measurement; 0: not told */
} fc_form_points;

/** Sets form, coef, covariance, spread_systematic, spread_shape and spread_regime of `fit`, whose kernel and
 * dtype are set.  @return FC_OK | FC_E_NOMEM | FC_E_DOMAIN (no start led anywhere: not seen) */
FC_NODISCARD
fc_status fc_form_fit(fc_kernel_fit *fit, const fc_form_points *points, const fc_device *device,
                      fc_arena *arena);

#endif
