/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BASE_DIST_H
#define FC_BASE_DIST_H

#include <stdbool.h>

/** A one-dimensional probability distribution, by its quantile function: what a scenario states instead of a
 *  number.  Problem and sampling are apart: this type is constant; rng.h and the ensemble draw from it. */
typedef enum {
  FC_DIST_POINT,      /* a: the value */
  FC_DIST_UNIFORM,    /* [a, b] */
  FC_DIST_LOGUNIFORM, /* [a, b], a > 0 */
  FC_DIST_NORMAL,     /* mean a, standard deviation b */
  FC_DIST_LOGNORMAL,  /* median a > 0, sigma of the log b */
  FC_DIST_TRIANGULAR, /* low a, mode c, high b */
} fc_dist_kind;

typedef struct {
  fc_dist_kind kind;
  double a, b, c;
  double min, max; /* truncation; -INFINITY and INFINITY: none */
} fc_dist;

/** The constant `value`. */
fc_dist fc_dist_point(double value);
/** Lognormal from its median and 90th percentile.  @pre 0 < median <= p90 */
fc_dist fc_dist_lognormal_p90(double median, double p90);

/** Parameters finite, ordered and in their domain, min < max, and something left between them?  A zeroed
 *  truncation is therefore found: it is not "none". */
bool fc_dist_is_valid(const fc_dist *dist);

/** The u-quantile, of the truncated distribution where min and max are set.  @pre 0 < u < 1 */
double fc_dist_quantile(const fc_dist *dist, double u);
double fc_dist_median(const fc_dist *dist);
/** Mean of the untruncated distribution. */
double fc_dist_mean(const fc_dist *dist);

/** Standard normal quantile, relative error below 1e-15 (Wichura 1988, AS 241).  @pre 0 < u < 1 */
double fc_normal_quantile(double u);

#endif
