/* SPDX-License-Identifier: Apache-2.0 */
/* Digests: their stated error, and lines of values added at once. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <fleetcast/base/rng.h>

#include "replica_private.h"

static fc_digest a, b;

static int ascending(const void *x, const void *y) {
  double u = *(const double *)x, v = *(const double *)y;
  return (u > v) - (u < v);
}

Test(replica_digest, quantiles_are_within_the_stated_error) {
  enum { N = 20000 };
  static double value[N];
  fc_rng rng = fc_rng_keyed(1, FC_STREAM_TEST, 0, 0);
  for (size_t i = 0; i < N; i++) {
    value[i] = exp(4 + 22 * fc_rng_uniform(&rng));
    fc_digest_add(&a, value[i], 1);
  }
  qsort(value, N, sizeof *value, ascending);
  for (size_t i = 0; i < N; i += 7) {
    double q = 1e9 * fc_digest_quantile(&a, ((double)i + 1) / N);
    cr_assert(fabs(q / value[i] - 1) <= 1.0 / 128, "rank %zu: %g and %g", i, q, value[i]);
  }
  cr_assert(fabs(1e9 * fc_digest_quantile(&a, 0) / value[0] - 1) < 1.0 / 128);
  cr_assert(fabs(1e9 * fc_digest_quantile(&a, 1) / value[N - 1] - 1) < 1e-12);
  cr_assert_eq(a.min, value[0]);
}

Test(replica_digest, an_empty_one_is_zero) {
  static const fc_digest empty;
  cr_assert_eq(fc_digest_quantile(&empty, 0.5), 0);
  cr_assert_eq(fc_digest_mean(&empty), 0);
  fc_digest_add(&a, 5, 0);
  fc_digest_merge(&a, &empty);
  cr_assert_eq(memcmp(a.count, empty.count, sizeof a.count), 0);
  cr_assert_eq(a.n, 0);
}

/* Every bucket, for steps up and down, within and across buckets. */
Test(replica_digest, a_line_is_its_values) {
  fc_rng rng = fc_rng_keyed(2, FC_STREAM_TEST, 0, 0);
  for (int k = 0; k < 3000; k++) {
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    int64_t n = 1 + (int64_t)(300 * fc_rng_uniform(&rng));
    double first = exp(18 * fc_rng_uniform(&rng)), last = first * exp(2 * fc_rng_uniform(&rng) - 0.5);
    double step = n > 1 && k % 5 ? (last - first) / (double)(n - 1) : 0;
    uint64_t times = 1 + (uint64_t)(k % 3);
    fc_digest_add_line(&a, first, step, n, times);
    for (int64_t i = 0; i < n; i++) fc_digest_add(&b, first + step * (double)i, times);
    cr_assert_eq(memcmp(a.count, b.count, sizeof a.count), 0, "line %d: %g + %g i, %lld", k, first, step,
                 (long long)n);
    cr_assert_eq(a.n, b.n);
    cr_assert(fabs(a.sum / b.sum - 1) < 1e-12 && fabs(a.sum_squares / b.sum_squares - 1) < 1e-12);
    cr_assert(fabs(a.min / b.min - 1) < 1e-12 && fabs(a.max / b.max - 1) < 1e-12);
  }
}

Test(replica_digest, merging_is_adding_all) {
  fc_rng rng = fc_rng_keyed(3, FC_STREAM_TEST, 0, 0);
  static fc_digest both;
  for (int i = 0; i < 1000; i++) {
    double x = exp(20 * fc_rng_uniform(&rng));
    fc_digest_add(i % 3 ? &a : &b, x, 1);
    fc_digest_add(&both, x, 1);
  }
  fc_digest_merge(&a, &b);
  cr_assert_eq(memcmp(a.count, both.count, sizeof a.count), 0);
  cr_assert(a.n == both.n && a.min == both.min && a.max == both.max);
}
