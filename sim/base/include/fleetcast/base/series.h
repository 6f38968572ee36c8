/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BASE_SERIES_H
#define FC_BASE_SERIES_H

#include <stddef.h>

#include <fleetcast/base/status.h>
#include <fleetcast/base/time.h>

/** A quantity as a function of the date: a dated list, or a growth rule, or a dated list that goes on by a
 *  growth rule past its last point. */
typedef enum {
  FC_SERIES_STEP,   /* the last point at or before t */
  FC_SERIES_LINEAR, /* straight between points */
  FC_SERIES_LOG,    /* straight in the logarithm: constant growth between points; all values > 0 */
} fc_series_interp;

typedef struct {
  fc_time at;
  double value;
} fc_series_point;

typedef enum {
  FC_GROWTH_HOLD,        /* past the last point: its value */
  FC_GROWTH_EXPONENTIAL, /* value * factor_per_year ^ years */
  FC_GROWTH_LOGISTIC,    /* towards `ceiling`, initial growth factor_per_year */
  FC_GROWTH_GOMPERTZ,    /* towards `ceiling`, initial growth factor_per_year */
} fc_growth;

typedef struct {
  fc_series_interp interp;
  size_t n;                     /* >= 1 for a set series; 0: not given */
  const fc_series_point *point; /* strictly increasing in time; borrowed */
  fc_growth growth;             /* past the last point */
  double factor_per_year, ceiling;
} fc_series;

/** Value at t; before the first point, the first value.  An unset series gives 0. */
double fc_series_at(const fc_series *series, fc_time t);
/** Mean over [from, to): in closed form, but for the logistic and the Gompertz, Simpson's rule to 1e-9
 * relative.
 *  @pre from < to (asserted) */
double fc_series_mean(const fc_series *series, fc_time from, fc_time to);
/** Points ordered, values finite, logarithmic values positive, growth in its domain: factor > 0, and for the
 *  logistic and the Gompertz ceiling and last value > 0 with the growth towards the ceiling?
 *  @return FC_OK | FC_E_DOMAIN */
fc_status fc_series_check(const fc_series *series);

#endif
