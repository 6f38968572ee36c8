/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BENCH_MEASURE_H
#define FC_BENCH_MEASURE_H

#include <stdatomic.h>

#include <fleetcast/base/status.h>

#include "data.h"

/** The measuring protocol (docs/kernels.md#protocol). */

typedef struct fc_protocol {
  double replay_s;                     /* a replay holds enough launches to take so long */
  double window_s, settle, warm_max_s; /* warm up until two windows agree to `settle` */
  int min_samples;
  double min_total_s, max_total_s;
  double max_iqr;   /* interquartile range over the median: steady enough */
  double max_error; /* standard error of the median over it: known well enough, steady or not; 0: not asked */
  double sustained_s;
  double rest;      /* burst: idle for so many times a replay before the next, so that power does not limit */
  double throttled; /* a point below so much of the best clock seen is dropped, and taken once more */
  double clock_drift; /* a point whose clock moved by more is repeated once */
} fc_protocol;

/** Of a GPU, and of a CPU, whose samples are short because a whole pass is. */
fc_protocol fc_protocol_default(bool gpu, bool quick);

typedef struct fc_timing {
  size_t samples, dropped;
  double median_us, min_us, p90_us, iqr_us; /* of one launch */
  double clock_mhz;
  bool timed_out;  /* max_total_s passed before the spread was small enough */
  bool went_round; /* each replay used all sets of the data; else the first few, which stay in caches */
} fc_timing;

/** Times launches of one implementation that rotate over the sets of `d`.  @return FC_OK | FC_E_NOMEM |
 * FC_E_IO (told into `why`) | FC_E_CANCELLED (`*cancel` became non-zero) */
FC_NODISCARD
fc_status fc_measure(fc_timing *out, const fc_data *d, const fc_implementation *impl, void *const *states,
                     const fc_protocol *protocol, const atomic_int *cancel, char *why);

/** The same for a list of launches that is replayed as a whole: a chain.  Times are of the whole list. */
FC_NODISCARD
fc_status fc_measure_list(fc_timing *out, const fc_bench_device *device, const fc_bench_launch *launch,
                          size_t n, const fc_protocol *protocol, const atomic_int *cancel, char *why);

/** Ascending. */
void fc_sort(double *value, size_t n);
/** Quantile by linear interpolation of a sorted array.  @pre n >= 1 */
double fc_sorted_quantile(const double *sorted, size_t n, double q);

#endif
