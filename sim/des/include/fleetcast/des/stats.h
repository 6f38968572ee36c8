/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_DES_STATS_H
#define FC_DES_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/time.h>

/** Statistics gathered while a simulation runs, in constant memory each.
 *
 *  All are plain values: `= {0}` is the empty statistic (a level also needs its start), a copy is a snapshot.
 * The empty ones are well defined and finite: mean, variance and quantiles 0, half width infinite.
 * Observations must be finite. */

/* --- tally: observations of equal weight --- */

typedef struct {
  uint64_t n;
  double mean, m2; /* m2: sum of squared deviations from the mean */
  double min, max; /* 0 when empty */
} fc_tally;

/** Welford 1962. */
void fc_tally_add(fc_tally *tally, double x);
/** As if every observation of `other` had been added (Chan, Golub & LeVeque 1979). */
void fc_tally_merge(fc_tally *tally, const fc_tally *other);
/** Unbiased; 0 below two observations. */
double fc_tally_variance(const fc_tally *tally);

/* --- level: a quantity that holds its value between changes --- */

typedef struct {
  fc_time start, since; /* since: of the last change */
  double value;
  double integral; /* [value s] up to `since` */
} fc_level;

fc_level fc_level_from(fc_time start, double value);
/** @pre now >= the time of the last change (asserted) */
void fc_level_set(fc_level *level, fc_time now, double value);
/** [value s] from the start to `now`.  @pre as above */
double fc_level_integral(const fc_level *level, fc_time now);
/** Time average; the present value when no time has passed. */
double fc_level_mean(const fc_level *level, fc_time now);

/* --- batches: the mean of a correlated series, with a confidence interval --- */

enum { FC_BATCHES_MAX = 64 };

/** Batch means.  Between 32 and 64 batches of equal size: when all 64 are full, neighbours merge and the size
 *  doubles, so that the length of the run need not be known. */
typedef struct {
  uint64_t size;       /* observations a batch; 0 when empty */
  uint64_t in_current; /* of the batch under way */
  uint32_t n;          /* full batches */
  double current;      /* sum of the batch under way */
  double sum[FC_BATCHES_MAX];
} fc_batches;

void fc_batches_add(fc_batches *batches, double x);
/** Mean of the full batches, or of what there is when none is full. */
double fc_batches_mean(const fc_batches *batches);
/** Half the width of the two-sided interval of the mean at `confidence`, from the spread of the full batches;
 *  +infinity below two of them.  Valid when a batch is long against the correlation time.
 *  @pre 0 < confidence < 1 (asserted) */
double fc_batches_half_width(const fc_batches *batches, double confidence);

/** Quantile of Student's t, relative error below 1e-9.  @pre 0 < p < 1 and freedom >= 1 (asserted) */
double fc_student_quantile(double p, uint64_t freedom);

/* --- histogram: quantiles of non-negative integers, in nanoseconds or in tokens --- */

enum { FC_HISTOGRAM_SUB = 32, FC_HISTOGRAM_MAX = 59 * FC_HISTOGRAM_SUB };

/** 32 buckets an octave: exact below 32, then to 1/32 of the value (HdrHistogram's layout). */
typedef struct {
  uint64_t n;
  uint64_t count[FC_HISTOGRAM_MAX];
} fc_histogram;

/** @pre x >= 0 (asserted) */
void fc_histogram_add(fc_histogram *histogram, int64_t x);
void fc_histogram_merge(fc_histogram *histogram, const fc_histogram *other);
/** The value below which a share p lies, interpolated within its bucket.  @pre 0 <= p <= 1 (asserted) */
double fc_histogram_quantile(const fc_histogram *histogram, double p);

#endif
