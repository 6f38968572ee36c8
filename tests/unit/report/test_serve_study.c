/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/report/serve.h>

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/rng.h>

static fc_study *study_of(double width, double warm_up) {
  fc_study *s;
  fc_study_def def = {.width = width, .warm_up = warm_up};
  cr_assert_eq(fc_study_new(&s, &def), FC_OK);
  return s;
}

/* TTFT and E2E in ns; the second token comes with the last. */
static fc_cluster_record request(uint64_t number, fc_time arrival, double ttft, double e2e) {
  return (fc_cluster_record){.request = {.number = number,
                                         .arrival = arrival,
                                         .admitted = arrival,
                                         .first_token = arrival + (fc_time)ttft,
                                         .finish = arrival + (fc_time)e2e,
                                         .input_tokens = 10,
                                         .output_tokens = 5},
                             .attempts = 1};
}

/* --- the two formulas --- */

Test(serve_study, student_quantiles) {
  /* tables of t(0.975) */
  static const struct {
    double v, t, relative;
  } known[] = {{3, 3.1824463, 2e-3}, {4, 2.7764451, 5e-4}, {9, 2.2621572, 2e-5}, {30, 2.0422725, 1e-6}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    cr_expect_lt(fabs(fc_student_975(known[i].v) / known[i].t - 1), known[i].relative, "v = %g", known[i].v);
}

Test(serve_study, half_width_of_batches) {
  double mean, few[] = {1, 2, 3, 4}, same[] = {2, 2, 2, 2, 2, 2}, alternate[] = {1, 3, 1, 3, 1, 3},
               rising[] = {1, 2, 3, 4, 5, 6};
  cr_expect(isinf(fc_batch_half_width(few, 4, &mean)), "four batches say nothing");
  cr_expect_eq(fc_batch_half_width(same, 6, &mean), 0);
  cr_expect_eq(mean, 2);
  /* negative correlation is not used: plain t interval; sd = sqrt(6/5) */
  double plain = fc_student_975(5) * sqrt(6.0 / 5 / 6);
  cr_expect_lt(fabs(fc_batch_half_width(alternate, 6, &mean) - plain), 1e-12);
  /* a trend is: r = 8.75/17.5 + 1/6 */
  double r = 0.5 + 1.0 / 6, trend = fc_student_975(5) * sqrt(17.5 / 5 / 6 * (1 + r) / (1 - r));
  cr_expect_lt(fabs(fc_batch_half_width(rising, 6, &mean) - trend), 1e-12);
}

/* --- how intervals shrink --- */

/* Exponential of mean 1 s, in ns. */
static double next(fc_rng *rng) {
  return -1e9 * log1p(-fc_rng_uniform(rng));
}

/* Sixteen times the samples: a quarter of the width, in the mean of some runs. */
Test(serve_study, intervals_shrink_as_the_root) {
  enum { RUNS = 12 };
  double width[2] = {0};
  for (int k = 0; k < 2; k++)
    for (uint64_t run = 0; run < RUNS; run++) {
      fc_rng rng = fc_rng_keyed(3, FC_STREAM_TEST, run, 0);
      fc_study *s = study_of(0, 0);
      for (uint64_t i = 0; i < (k ? 32000 : 2000); i++) {
        double y = next(&rng);
        fc_cluster_record q = request(i, 0, y, y);
        (void)fc_study_add(s, &q, NULL);
      }
      fc_study_end(s, NULL);
      fc_interval v = fc_study_mean(s, FC_LATENCY_E2E);
      width[k] += v.high - v.low;
      fc_study_free(s);
    }
  cr_expect(width[0] / width[1] > 3 && width[0] / width[1] < 5.3, "%g", width[0] / width[1]);
}

/* --- looks --- */

/* The look waits for every request below its number, however long one takes. */
Test(serve_study, a_look_waits_for_the_slowest) {
  fc_study *s = study_of(0.05, 0);
  uint64_t first = fc_study_now(s).next_look;
  cr_assert_eq(first, FC_BATCHES_LOOK / 2 * FC_BATCH_FIRST);
  for (uint64_t i = 1; i < 3 * first; i++) {
    fc_cluster_record q = request(i, 0, 1e9, 2e9);
    cr_expect(!fc_study_add(s, &q, NULL), "request %llu", (unsigned long long)i);
  }
  fc_cluster_record slow = request(0, 0, 1e9, 90e9);
  cr_expect(fc_study_add(s, &slow, NULL));
  fc_study_state now = fc_study_now(s);
  cr_expect_eq(now.looked_at, first);
  cr_expect_eq(now.over, 3 * first);
  fc_interval v = fc_study_mean(s, FC_LATENCY_E2E);
  cr_expect_lt(fabs(v.value - (2 + 88.0 / (double)first)), 1e-9);
  fc_study_free(s);
}

Test(serve_study, looks_come_until_it_is_enough) {
  fc_study *s = study_of(0.05, 0.1);
  fc_rng rng = fc_rng_keyed(5, FC_STREAM_TEST, 0, 0);
  uint64_t looks = 0, i = 0, before = 0;
  for (bool enough = false; !enough && i < 1000000; i++) {
    double y = 1e9 + next(&rng);
    fc_cluster_record q = request(i, 0, y, 2 * y);
    if (!fc_study_add(s, &q, NULL)) continue;
    cr_expect_gt(fc_study_now(s).next_look, before);
    before = fc_study_now(s).next_look;
    looks++;
    enough = fc_study_is_enough(s);
    if (!enough) fc_study_go_on(s);
  }
  cr_expect_gt(looks, 1);
  cr_expect_lt(i, 1000000);
  fc_study_state now = fc_study_now(s);
  cr_expect_eq(now.looked_at + now.left_out, i);
  cr_expect(now.left_out >= i / 10 && now.left_out < i / 10 + 2 * now.batch_requests);
  static const double p[] = {0.5, 0.9, 0.99};
  for (size_t k = 0; k < 3; k++) {
    fc_interval v = fc_study_quantile(s, FC_LATENCY_TTFT, p[k]);
    cr_expect(v.known && v.closed && v.low <= v.value && v.value <= v.high);
    cr_expect_leq(v.high - v.value, 0.05 * v.value);
  }
  fc_study_free(s);
}

Test(serve_study, width_0_never_stops) {
  fc_study *s = study_of(0, 0);
  for (uint64_t i = 0; i < 320; i++) {
    fc_cluster_record q = request(i, 0, 1e9, 1e9);
    (void)fc_study_add(s, &q, NULL);
  }
  cr_expect(!fc_study_is_enough(s));
  fc_study_free(s);
}

/* Small samples: no upper bound of P99, and no interval at all below five batches. */
Test(serve_study, small_samples_say_so) {
  fc_study *s = study_of(0, 0);
  for (uint64_t i = 0; i < 200; i++) {
    fc_cluster_record q = request(i, 0, 1e6 * (double)(i % 50 + 1), 1e9);
    (void)fc_study_add(s, &q, NULL);
  }
  fc_study_end(s, NULL);
  cr_expect(fc_study_quantile(s, FC_LATENCY_TTFT, 0.5).closed);
  cr_expect(!fc_study_quantile(s, FC_LATENCY_TTFT, 0.99).closed);
  fc_study_free(s);
  s = study_of(0, 0);
  for (uint64_t i = 0; i < 60; i++) {
    fc_cluster_record q = request(i, 0, 1e9, 1e9);
    (void)fc_study_add(s, &q, NULL);
  }
  fc_study_end(s, NULL);
  cr_expect(!fc_study_quantile(s, FC_LATENCY_TTFT, 0.5).known);
  cr_expect_lt(fabs(fc_study_quantile(s, FC_LATENCY_TTFT, 0.5).value - 1), 0.01);
  cr_expect_eq(fc_study_quantile(s, FC_LATENCY_ITL, 0.5).value, -1, "no gap was told");
  fc_study_free(s);
}

/* --- what is counted --- */

/* Batches merge; nothing is lost or counted twice, whatever the order of the ends. */
Test(serve_study, merging_keeps_every_request) {
  enum { N = 50021 };
  fc_study *s = study_of(0, 0);
  fc_digest *gaps = calloc(1, sizeof *gaps);
  for (uint64_t i = 0; i < N; i++) {
    uint64_t number = i / 100 * 100 + (99 - i % 100); /* a hundred at a time, backwards */
    if (i / 100 == N / 100) number = i;
    fc_cluster_record q = request(number, (fc_time)(number * 1000000), 1e6 * (double)(number % 7 + 1), 4e9);
    fc_digest_add(gaps, 1e7, 4);
    (void)fc_study_add(s, &q, gaps);
  }
  fc_study_end(s, gaps);
  fc_study_state now = fc_study_now(s);
  cr_expect_eq(now.over, N);
  cr_expect_eq(now.looked_at, N);
  double sum = 0;
  for (uint64_t i = 0; i < N; i++) sum += 1e-3 * (double)(i % 7 + 1);
  cr_expect_lt(fabs(fc_study_mean(s, FC_LATENCY_TTFT).value / (sum / N) - 1), 1e-9);
  cr_expect_lt(fabs(fc_study_mean(s, FC_LATENCY_ITL).value - 0.01), 1e-9);
  cr_expect(fc_study_quantile(s, FC_LATENCY_ITL, 0.9).known);
  double end = 1e-9 * ((double)(N - 1) * 1e6 + 4e9);
  cr_expect_lt(fabs(fc_study_rate(s, FC_RATE_REQUESTS).value / (N / end) - 1), 1e-9);
  cr_expect_lt(fabs(fc_study_rate(s, FC_RATE_OUTPUT_TOKENS).value / (5 * N / end) - 1), 1e-9);
  cr_expect_lt(fabs(fc_study_rate(s, FC_RATE_INPUT_TOKENS).value / (10 * N / end) - 1), 1e-9);
  free(gaps);
  fc_study_free(s);
}

/* They are wanted where a batch ends; nowhere else are they looked at. */
Test(serve_study, gaps_are_asked_for) {
  fc_study *always = study_of(0, 0), *asked = study_of(0, 0);
  fc_digest *gaps = calloc(1, sizeof *gaps);
  size_t wanted = 0;
  for (uint64_t i = 0; i < 20011; i++) {
    fc_cluster_record q = request(i, (fc_time)(i * 1000000), 1e6, 4e9);
    fc_digest_add(gaps, 1e7 * (double)(1 + i % 5 + i / 3000), 4);
    bool wants = fc_study_wants_gaps(asked);
    wanted += wants;
    (void)fc_study_add(always, &q, gaps);
    (void)fc_study_add(asked, &q, wants ? gaps : NULL);
  }
  fc_study_end(always, gaps);
  fc_study_end(asked, gaps);
  fc_interval a = fc_study_quantile(always, FC_LATENCY_ITL, 0.9),
              b = fc_study_quantile(asked, FC_LATENCY_ITL, 0.9);
  cr_expect(a.known && a.high > a.value);
  cr_expect_eq(memcmp(&a.value, &b.value, 3 * sizeof(double)), 0);
  cr_expect_lt(wanted, 1000);
  free(gaps);
  fc_study_free(always);
  fc_study_free(asked);
}

Test(serve_study, gaps_known_at_the_end_have_no_interval) {
  fc_study *s = study_of(0, 0);
  fc_digest *gaps = calloc(1, sizeof *gaps);
  for (uint64_t i = 0; i < 500; i++) {
    fc_cluster_record q = request(i, 0, 1e9, 2e9);
    (void)fc_study_add(s, &q, NULL);
  }
  fc_digest_add(gaps, 2e7, 1000);
  fc_study_end(s, gaps);
  fc_interval v = fc_study_quantile(s, FC_LATENCY_ITL, 0.5);
  cr_expect(!v.known);
  cr_expect_lt(fabs(v.value - 0.02), 1e-3);
  free(gaps);
  fc_study_free(s);
}

/* Promises: TTFT 1 s of class 0; E2E 3 s of class 1; a request that is refused or lost keeps none. */
Test(serve_study, goodput_by_class) {
  static const fc_serve_class classes[] = {
      {.name = "a", .ttft_s = 1}, {.name = "b", .e2e_s = 3}, {.name = "c"}};
  fc_study_def def = {.n_classes = 3, .classes = classes};
  fc_study *s;
  cr_assert_eq(fc_study_new(&s, &def), FC_OK);
  for (uint64_t i = 0; i < 800; i++) {
    fc_cluster_record q = request(i, (fc_time)(i * 1000000000), i % 4 ? 0.5e9 : 2e9, i % 8 ? 2.5e9 : 4e9);
    q.request.slo_class = i % 2; /* class 0: i % 4 is 0 or 2; class 1 always ends in 2.5 s */
    if (i % 16 == 1) q.outcome = i % 32 == 1 ? FC_OUTCOME_REFUSED : FC_OUTCOME_LOST;
    (void)fc_study_add(s, &q, NULL);
  }
  fc_study_end(s, NULL);
  cr_expect_lt(fabs(fc_study_class_good(s, 0).value - 0.5), 1e-12);
  cr_expect_lt(fabs(fc_study_class_good(s, 1).value - 7.0 / 8), 1e-12);
  cr_expect_eq(fc_study_class_good(s, 2).value, -1, "none came");
  cr_expect_lt(fabs(fc_study_rate(s, FC_RATE_GOOD_SHARE).value - (0.5 + 7.0 / 8) / 2), 1e-12);
  cr_expect_lt(fc_study_rate(s, FC_RATE_GOOD).value, fc_study_rate(s, FC_RATE_REQUESTS).value);
  fc_study_free(s);
}
