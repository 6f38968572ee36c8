/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/workload/shape.h>

#include <fleetcast/base/assert.h>

enum { WEEK_HOURS = 168 };

/* Nanoseconds since Monday 00:00 local time; 1970-01-01 was a Thursday. */
static fc_time into_week(const fc_shape *shape, fc_time t) {
  fc_time local = t % FC_WEEK + fc_time_from_s(shape->utc_offset_s) + 3 * FC_DAY;
  fc_time into = local % FC_WEEK;
  return into < 0 ? into + FC_WEEK : into;
}

double fc_shape_at(const fc_shape *shape, fc_time t) {
  return shape->factor[into_week(shape, t) / FC_HOUR];
}

double fc_shape_mean(const fc_shape *shape, fc_time from, fc_time to) {
  FC_ASSERT(from < to);
  fc_time into = into_week(shape, from);
  fc_time left = to - from;
  if (into % FC_HOUR + left <= FC_HOUR) return shape->factor[into / FC_HOUR];
  double sum = 0;
  fc_time weeks = left / FC_WEEK;
  if (weeks > 0) {
    double week = 0;
    for (int h = 0; h < WEEK_HOURS; h++) week += shape->factor[h];
    sum = (double)weeks * week * (double)FC_HOUR;
    left -= weeks * FC_WEEK;
  }
  for (fc_time hour = into / FC_HOUR, rest = FC_HOUR - into % FC_HOUR; left > 0; hour++, rest = FC_HOUR) {
    fc_time part = left < rest ? left : rest;
    sum += (double)part * shape->factor[hour % WEEK_HOURS];
    left -= part;
  }
  return sum / (double)(to - from);
}

double fc_shape_peak(const fc_shape *shape) {
  double peak = shape->factor[0];
  for (int h = 1; h < WEEK_HOURS; h++)
    if (shape->factor[h] > peak) peak = shape->factor[h];
  return peak;
}
