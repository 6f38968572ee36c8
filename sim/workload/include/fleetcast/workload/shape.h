/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_WORKLOAD_SHAPE_H
#define FC_WORKLOAD_SHAPE_H

#include <fleetcast/base/time.h>

/** The weekly breath of a load: 168 hourly factors of mean 1.  Loaded from scenarios/shapes/NAME.yaml. */
typedef struct fc_shape {
  const char *name;
  double factor[168];  /* hours: 24 or 168 numbers > = 0 of any mean, normalised on loading; [0]: Monday 00-01
                          local time (24 numbers: every day alike) */
  double utc_offset_s; /* utc_offset: local time minus UTC (default 0 h) */
} fc_shape;

/** Factor at t: the hour's, no interpolation, so that hourly epochs see the mean exactly. */
double fc_shape_at(const fc_shape *shape, fc_time t);
/** Mean factor over [from, to), exact.  @pre from < to */
double fc_shape_mean(const fc_shape *shape, fc_time from, fc_time to);
/** Largest factor of the week. */
double fc_shape_peak(const fc_shape *shape);

#endif
