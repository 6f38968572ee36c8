/* SPDX-License-Identifier: Apache-2.0 */
/* Intervals of a run's statistics hold as often as they say. */
#include <fleetcast/report/serve.h>

#include <criterion/criterion.h>
#include <math.h>

#include <fleetcast/base/rng.h>

enum { TRIALS = 200, SAMPLES = 4000 };

/* Exponential of mean 1 s; with memory: x of an AR(1) process made exponential by its normal score. */
static double next(fc_rng *rng, double *x, double memory) {
  *x = memory * *x + sqrt(1 - memory * memory) * fc_rng_normal(rng);
  return 1e9 * -log1p(-0.5 * erfc(-*x / sqrt(2)));
}

/* Its only token comes at its end, after `latency` ns. */
static fc_cluster_record request(uint64_t number, fc_time latency) {
  fc_time arrival = (fc_time)number * 1000;
  return (fc_cluster_record){.request = {.number = number,
                                         .arrival = arrival,
                                         .admitted = arrival,
                                         .first_token = arrival + latency,
                                         .finish = arrival + latency,
                                         .input_tokens = 10,
                                         .output_tokens = 5},
                             .attempts = 1};
}

static int covered(double memory, double p, double truth) {
  int inside = 0;
  for (uint64_t trial = 0; trial < TRIALS; trial++) {
    fc_rng rng = fc_rng_keyed(7, FC_STREAM_TEST, trial, (uint64_t)(1000 * memory));
    double x = fc_rng_normal(&rng);
    fc_study *s;
    cr_assert_eq(fc_study_new(&s, &(fc_study_def){0}), FC_OK);
    for (uint64_t i = 0; i < SAMPLES; i++) {
      fc_cluster_record q = request(i, (fc_time)next(&rng, &x, memory));
      (void)fc_study_add(s, &q, NULL);
    }
    fc_study_end(s, NULL);
    fc_interval v = p > 0 ? fc_study_quantile(s, FC_LATENCY_TTFT, p) : fc_study_mean(s, FC_LATENCY_TTFT);
    cr_assert(v.known);
    inside += v.low <= truth && truth <= v.high;
    fc_study_free(s);
  }
  return inside;
}

Test(serve_coverage, intervals_cover_independent_samples, .timeout = 120) {
  cr_expect_geq(covered(0, 0, 1), TRIALS * 91 / 100);
  cr_expect_geq(covered(0, 0.5, log(2)), TRIALS * 91 / 100);
  cr_expect_geq(covered(0, 0.9, log(10)), TRIALS * 91 / 100);
  cr_expect_geq(covered(0, 0.99, log(100)), TRIALS * 91 / 100);
}

/* Correlation over about 20 samples: intervals for independent ones would be 4 times too narrow. */
Test(serve_coverage, intervals_cover_samples_with_memory, .timeout = 120) {
  cr_expect_geq(covered(0.95, 0, 1), TRIALS * 88 / 100);
  cr_expect_geq(covered(0.95, 0.5, log(2)), TRIALS * 88 / 100);
  cr_expect_geq(covered(0.95, 0.9, log(10)), TRIALS * 88 / 100);
}
