/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CALIBRATE_REGRESS_H
#define FC_CALIBRATE_REGRESS_H

#include <stdbool.h>
#include <stddef.h>

#include <fleetcast/base/status.h>

/** Robust non-linear least squares with weak priors, on GSL's trust region (Levenberg-Marquardt with geodesic
 *  acceleration off, scaled, finite differences).
 *
 *      minimise  sum_i w_i rho( r_i(theta) / scale )  +  sum_j ((theta_j - prior_j) / prior_sd_j)^2
 *
 *  rho is soft-L1, 2 (sqrt(1 + z^2) - 1), by iterated weights; scale <= 0: plain least squares.  Tested on
 * NIST's certified regressions. */

enum { FC_REGRESS_MAX = 12 }; /* parameters */

typedef struct fc_regress {
  size_t n, p; /* residuals, parameters; p <= FC_REGRESS_MAX */
  /** Writes n residuals at theta.  Must be finite near the solution; others are taken as very bad. */
  void (*residuals)(const void *context, const double *theta, double *r);
  /** Writes the n x p Jacobian, row-major.  NULL: finite differences. */
  void (*jacobian)(const void *context, const double *theta, double *jac);
  const void *context;
  const double *weight;           /* [n]; NULL: all 1 */
  double scale;                   /* of the residuals for rho; <= 0: plain least squares */
  const double *prior, *prior_sd; /* [p]; sd <= 0 or NULL: no prior on that parameter */
  size_t max_iterations;          /* 0: 200 */
  double tolerance; /* relative, of a step and of the gradient; 0: 1e-13, as far as a double goes */
} fc_regress;

typedef struct fc_regress_result {
  double theta[FC_REGRESS_MAX];
  double covariance[FC_REGRESS_MAX * FC_REGRESS_MAX]; /* row-major: (J'WJ + prior)^-1 sigma^2 */
  double sigma; /* of the weighted residuals: root of their mean square over n - p degrees of freedom */
  double objective;
  size_t iterations;
  bool converged;
} fc_regress_result;

/** From one starting point.  @return FC_OK | FC_E_NOMEM | FC_E_DOMAIN (no finite residuals at the start) */
FC_NODISCARD
fc_status fc_regress_solve(fc_regress_result *out, const fc_regress *problem, const double *start);

#endif
