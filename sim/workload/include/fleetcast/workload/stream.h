/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_WORKLOAD_STREAM_H
#define FC_WORKLOAD_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include <fleetcast/base/dist.h>
#include <fleetcast/base/rng.h>
#include <fleetcast/base/series.h>
#include <fleetcast/base/time.h>

/** Arrivals of a Poisson process whose rate is a series, by thinning (Lewis & Shedler 1979): candidates at
 * the largest rate of a day, kept with probability rate / largest.  The candidates are a unit-rate process in
 *  stretched time, so that at constant rate the n-th arrival is the sum of n exponentials over the rate,
 *  wherever the days begin. */
typedef struct fc_arrivals {
  const fc_series *rate; /* borrowed; times scale: arrivals/s */
  double scale;
  fc_rng rng;
  fc_time now; /* last candidate */
  fc_time window_end;
  double bound; /* >= rate * scale until window_end */
  double owed;  /* unit exponential not yet spent */
} fc_arrivals;

fc_arrivals fc_arrivals_start(const fc_series *rate, double scale, fc_time start, uint64_t seed,
                              uint64_t entity);
/** The next arrival before `end`.  @return false: there is none */
bool fc_arrivals_next(fc_arrivals *arrivals, fc_time end, fc_time *at);

/** Largest value of the series in [from, to]. */
double fc_series_bound(const fc_series *series, fc_time from, fc_time to);

/** The marks of one job: a pure function of (seed, entity, number), so that no other draw shifts them. */
typedef struct fc_marks {
  double work;    /* of dist `work` */
  double devices; /* of dist `devices` */
} fc_marks;

fc_marks fc_marks_draw(const fc_dist *work, const fc_dist *devices, uint64_t seed, uint64_t entity,
                       uint64_t number);

/** Mean of a distribution with its truncation: exact where there is none, else by quadrature over the
 * quantile function (midpoint rule, 65,536 cells; relative error below 1e-4 for a lognormal of sigma <= 2).
 */
double fc_dist_truncated_mean(const fc_dist *dist);

#endif
