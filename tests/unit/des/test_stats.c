/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/des/stats.h>

#include <criterion/criterion.h>
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>

#include <fleetcast/base/rng.h>

static void close_to(double x, double expected, double relative, const char *what) {
  cr_assert(fabs(x - expected) <= relative * fabs(expected), "%s: %.17g, expected %.17g", what, x, expected);
}

Test(tally, small_and_ill_conditioned) {
  fc_tally t = {0};
  for (int i = 1; i <= 5; i++) fc_tally_add(&t, 1e9 + i);
  cr_assert_eq(t.n, 5);
  cr_assert_eq(t.mean, 1e9 + 3);
  cr_assert_eq(fc_tally_variance(&t), 2.5);
  cr_assert_eq(t.min, 1e9 + 1);
  cr_assert_eq(t.max, 1e9 + 5);
}

Test(tally, negative_only) {
  fc_tally t = {0};
  fc_tally_add(&t, -3);
  fc_tally_add(&t, -5);
  cr_assert_eq(t.max, -3);
  cr_assert_eq(t.min, -5);
}

Test(tally, empty_is_finite_and_neutral) {
  fc_tally a = {0}, b = {0}, one = {0};
  fc_tally_merge(&a, &b);
  cr_assert_eq(a.n, 0);
  cr_assert_eq(a.mean, 0);
  cr_assert_eq(fc_tally_variance(&a), 0);
  fc_tally_add(&one, 7);
  cr_assert_eq(fc_tally_variance(&one), 0);
  fc_tally_merge(&a, &one);
  fc_tally_merge(&a, &b);
  cr_assert_eq(a.n, 1);
  cr_assert_eq(a.mean, 7);
  cr_assert_eq(a.min, 7);
}

Test(tally, merged_parts_are_the_whole) {
  fc_rng r = fc_rng_keyed(1, FC_STREAM_TEST, 0, 0);
  fc_tally whole = {0}, merged = {0};
  for (int part = 0; part < 20; part++) {
    fc_tally t = {0};
    for (int i = 0; i < part * part; i++) {
      double x = fc_rng_normal(&r) + part;
      fc_tally_add(&whole, x);
      fc_tally_add(&t, x);
    }
    fc_tally_merge(&merged, &t);
  }
  cr_assert_eq(merged.n, whole.n);
  close_to(merged.mean, whole.mean, 1e-13, "mean");
  close_to(fc_tally_variance(&merged), fc_tally_variance(&whole), 1e-13, "variance");
  cr_assert_eq(merged.min, whole.min);
  cr_assert_eq(merged.max, whole.max);
}

Test(level, average_over_time) {
  fc_level l = fc_level_from(10 * FC_SECOND, 4);
  cr_assert_eq(fc_level_mean(&l, 10 * FC_SECOND), 4); /* no time has passed */
  cr_assert_eq(fc_level_mean(&l, 11 * FC_SECOND), 4);
  fc_level_set(&l, 12 * FC_SECOND, 1);
  fc_level_set(&l, 12 * FC_SECOND, 2); /* twice at once: the first held for no time */
  cr_assert_eq(fc_level_integral(&l, 15 * FC_SECOND), 14);
  cr_assert_eq(fc_level_mean(&l, 15 * FC_SECOND), 14.0 / 5);
  fc_level all = fc_level_from(INT64_MIN, 3);
  close_to(fc_level_mean(&all, FC_TIME_MAX), 3, 1e-15, "all of time");
}

Test(batches, mean_and_sizes) {
  fc_batches b = {0};
  cr_assert_eq(fc_batches_mean(&b), 0);
  cr_assert_eq(fc_batches_half_width(&b, 0.95), HUGE_VAL);
  for (int i = 1; i <= 1000; i++) {
    fc_batches_add(&b, i);
    uint64_t covered = (uint64_t)b.n * b.size;
    cr_assert(covered + b.in_current == (uint64_t)i, "every observation is in one batch");
    cr_assert(b.n <= FC_BATCHES_MAX && (i < 64 || b.n >= FC_BATCHES_MAX / 2));
    close_to(fc_batches_mean(&b), ((double)covered + 1) / 2, 1e-12, "mean");
  }
  cr_assert_eq(b.size, 16);
}

/* The interval covers the truth as often as it says: 4,000 runs of an AR(1) series, correlation time 10; the
 * share that covers has sd sqrt(.95 .05 / 4000) = 0.0034 around 0.95 less a small bias of batch means. */
Test(batches, coverage) {
  enum { RUNS = 4000, N = 6000 };
  fc_rng r = fc_rng_keyed(2, FC_STREAM_TEST, 0, 0);
  int covered = 0;
  for (int run = 0; run < RUNS; run++) {
    fc_batches b = {0};
    double x = fc_rng_normal(&r) / sqrt(1 - 0.81);
    for (int i = 0; i < N; i++) {
      x = 0.9 * x + fc_rng_normal(&r);
      fc_batches_add(&b, x);
    }
    covered += fabs(fc_batches_mean(&b)) <= fc_batches_half_width(&b, 0.95);
  }
  cr_assert(covered >= 0.93 * RUNS && covered <= 0.965 * RUNS, "%d of %d", covered, RUNS);
}

Test(student, against_gsl) {
  const uint64_t freedom[] = {1, 2, 3, 4, 7, 31, 62, 63, 500, 9999, 10000, 10001, 1000000};
  const double p[] = {0.5001, 0.6, 0.9, 0.975, 0.995, 0.99999, 0.01, 0.3};
  for (size_t i = 0; i < sizeof freedom / sizeof *freedom; i++)
    for (size_t k = 0; k < sizeof p / sizeof *p; k++)
      close_to(fc_student_quantile(p[k], freedom[i]), gsl_cdf_tdist_Pinv(p[k], (double)freedom[i]), 1e-8,
               "t");
  close_to(fc_student_quantile(0.975, 10), 2.2281388519649385, 1e-11, "table");
  cr_assert_eq(fc_student_quantile(0.5, 5), 0);
}

Test(histogram, exact_below_the_resolution) {
  static fc_histogram h;
  cr_assert_eq(fc_histogram_quantile(&h, 0.5), 0);
  for (int64_t x = 0; x < 64; x++) fc_histogram_add(&h, x);
  cr_assert_eq(fc_histogram_quantile(&h, 0), 0);
  cr_assert_eq(fc_histogram_quantile(&h, 0.5), 31);
  cr_assert_eq(fc_histogram_quantile(&h, 1), 63);
}

Test(histogram, ends_of_the_range) {
  static fc_histogram h;
  fc_histogram_add(&h, 0);
  fc_histogram_add(&h, INT64_MAX);
  cr_assert_eq(fc_histogram_quantile(&h, 0), 0);
  close_to(fc_histogram_quantile(&h, 1), 0x1p63, 1e-15, "top");
}

static int ascending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

Test(histogram, quantiles_of_ten_decades_to_a_thirty_second) {
  enum { N = 100000 };
  static int64_t x[N];
  static fc_histogram h, other;
  fc_rng r = fc_rng_keyed(3, FC_STREAM_TEST, 0, 0);
  for (int i = 0; i < N; i++) {
    x[i] = (int64_t)exp(fc_rng_uniform(&r) * 24);
    fc_histogram_add(i % 2 ? &h : &other, x[i]);
  }
  fc_histogram_merge(&h, &other);
  cr_assert_eq(h.n, N);
  qsort(x, N, sizeof *x, ascending);
  for (double p = 0.001; p < 1; p += 0.001) {
    double exact = (double)x[(size_t)ceil(p * N) - 1];
    cr_assert_leq(fabs(fc_histogram_quantile(&h, p) - exact), exact / 32 + 1e-9, "%g-quantile", p);
  }
}
