/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/series.h>

#include <criterion/criterion.h>
#include <math.h>

#define YEAR ((fc_time)31557600 * FC_SECOND)

static void close_to(double x, double expected, double relative, const char *what) {
  cr_assert(fabs(x - expected) <= relative * fabs(expected), "%s: %.17g, expected %.17g", what, x, expected);
}

static const fc_series_point point[] = {{0, 10}, {YEAR, 30}, {3 * YEAR, 120}};

static fc_series series(fc_series_interp interp, fc_growth growth, double factor, double ceiling) {
  return (fc_series){interp, 3, point, growth, factor, ceiling};
}

/* The mean by brute force: midpoints. */
static double brute_mean(const fc_series *s, fc_time from, fc_time to) {
  enum { N = 400000 };
  double sum = 0;
  for (int i = 0; i < N; i++) sum += fc_series_at(s, from + (fc_time)((double)(to - from) * ((i + 0.5) / N)));
  return sum / N;
}

Test(series, interpolation) {
  fc_series step = series(FC_SERIES_STEP, FC_GROWTH_HOLD, 0, 0),
            line = series(FC_SERIES_LINEAR, FC_GROWTH_HOLD, 0, 0);
  fc_series curve = series(FC_SERIES_LOG, FC_GROWTH_HOLD, 0, 0);
  const fc_series *all[] = {&step, &line, &curve};
  for (int i = 0; i < 3; i++) { /* all agree on the points, before and past them */
    cr_assert_eq(fc_series_check(all[i]), FC_OK);
    cr_assert_eq(fc_series_at(all[i], -5 * YEAR), 10);
    cr_assert_eq(fc_series_at(all[i], INT64_MIN), 10);
    cr_assert_eq(fc_series_at(all[i], 0), 10);
    cr_assert_eq(fc_series_at(all[i], YEAR), 30);
    cr_assert_eq(fc_series_at(all[i], 3 * YEAR), 120);
    cr_assert_eq(fc_series_at(all[i], FC_TIME_MAX), 120);
  }
  cr_assert_eq(fc_series_at(&step, YEAR - 1), 10);
  cr_assert_eq(fc_series_at(&step, 2 * YEAR), 30);
  close_to(fc_series_at(&line, YEAR / 2), 20, 1e-15, "linear");
  close_to(fc_series_at(&line, 2 * YEAR), 75, 1e-15, "linear");
  close_to(fc_series_at(&curve, YEAR / 2), 10 * sqrt(3), 1e-15, "log");
  close_to(fc_series_at(&curve, 2 * YEAR), 60, 1e-15, "log");
}

Test(series, growth_past_the_last_point) {
  fc_series e = series(FC_SERIES_STEP, FC_GROWTH_EXPONENTIAL, 3, 0);
  close_to(fc_series_at(&e, 5 * YEAR), 120 * 9, 1e-14, "exponential");
  for (int g = FC_GROWTH_LOGISTIC; g <= FC_GROWTH_GOMPERTZ; g++) {
    fc_series s = series(FC_SERIES_STEP, (fc_growth)g, 3, 1000);
    cr_assert_eq(fc_series_check(&s), FC_OK);
    cr_assert_eq(fc_series_at(&s, 3 * YEAR), 120);
    /* initial growth is the one that was asked for */
    double h = 1e-4, early = fc_series_at(&s, 3 * YEAR + (fc_time)(h * (double)YEAR));
    close_to(log(early / 120) / h, log(3), 3e-4, "initial growth");
    close_to(fc_series_at(&s, 150 * YEAR), 1000, 1e-12, "ceiling");
    for (int y = 4; y < 60; y++) {
      double a = fc_series_at(&s, (y - 1) * YEAR), b = fc_series_at(&s, y * YEAR);
      cr_assert(a <= b && b <= 1000 * (1 + 1e-15));
      if (y < 10) cr_assert_lt(a, b);
    }
    /* from above it falls */
    fc_series fall = series(FC_SERIES_STEP, (fc_growth)g, 0.5, 60);
    cr_assert_eq(fc_series_check(&fall), FC_OK);
    cr_assert_lt(fc_series_at(&fall, 4 * YEAR), 120);
    close_to(fc_series_at(&fall, 100 * YEAR), 60, 1e-9, "floor");
    /* no growth asked for, or none left */
    fc_series flat = series(FC_SERIES_STEP, (fc_growth)g, 1, 1000),
              full = series(FC_SERIES_STEP, (fc_growth)g, 2, 120);
    cr_assert_eq(fc_series_at(&flat, 90 * YEAR), 120);
    close_to(fc_series_at(&full, 90 * YEAR), 120, 1e-15, "full");
    close_to(fc_series_mean(&flat, 4 * YEAR, 90 * YEAR), 120, 1e-12, "flat");
    close_to(fc_series_mean(&full, 4 * YEAR, 90 * YEAR), 120, 1e-12, "full");
  }
}

Test(series, means_in_closed_form) {
  fc_series step = series(FC_SERIES_STEP, FC_GROWTH_HOLD, 0, 0),
            line = series(FC_SERIES_LINEAR, FC_GROWTH_HOLD, 0, 0);
  fc_series e = series(FC_SERIES_LOG, FC_GROWTH_EXPONENTIAL, 3, 0);
  close_to(fc_series_mean(&step, -YEAR, 4 * YEAR), (10 + 10 + 30 * 2 + 120) / 5.0, 1e-15, "step");
  close_to(fc_series_mean(&line, -YEAR, 4 * YEAR), (10 + 20 + 75 * 2 + 120) / 5.0, 1e-15, "linear");
  close_to(fc_series_mean(&line, YEAR / 4, YEAR / 2), 17.5, 1e-14, "linear within");
  close_to(fc_series_mean(&e, 0, YEAR), 20 / log(3), 1e-14, "log segment");
  close_to(fc_series_mean(&e, 4 * YEAR, 5 * YEAR), 120 * 6 / log(3), 1e-13, "exponential growth");
  close_to(fc_series_mean(&line, -9 * YEAR, -8 * YEAR), 10, 1e-15, "before");
  close_to(fc_series_mean(&line, YEAR, YEAR + 1), 30, 1e-12, "a nanosecond");
  close_to(fc_series_mean(&step, INT64_MIN, FC_TIME_MAX),
           (10 * 292.271023045 + 70 + 120 * (292.271023045 - 3)) / 584.54204609, 1e-9, "all of time");
}

Test(series, means_by_brute_force) {
  for (int g = FC_GROWTH_HOLD; g <= FC_GROWTH_GOMPERTZ; g++)
    for (int i = FC_SERIES_STEP; i <= FC_SERIES_LOG; i++) {
      fc_series s = series((fc_series_interp)i, (fc_growth)g, 2.5, 5000);
      const fc_time range[][2] = {
          {-YEAR, 6 * YEAR}, {YEAR / 3, 2 * YEAR}, {3 * YEAR, 30 * YEAR}, {10 * YEAR, 11 * YEAR}};
      for (size_t k = 0; k < 4; k++)
        close_to(fc_series_mean(&s, range[k][0], range[k][1]), brute_mean(&s, range[k][0], range[k][1]),
                 i == FC_SERIES_STEP ? 2e-5 : 1e-8, "brute force");
    }
}

/* Means compose, to the accuracy stated for Simpson. */
Test(series, means_of_parts_make_the_whole) {
  for (int g = FC_GROWTH_HOLD; g <= FC_GROWTH_GOMPERTZ; g++) {
    fc_series s = series(FC_SERIES_LOG, (fc_growth)g, 40, 1e9); /* steep, far from its ceiling */
    double whole = fc_series_mean(&s, 0, 20 * YEAR), parts = 0;
    for (int k = 0; k < 2000; k++)
      parts += fc_series_mean(&s, k * (YEAR / 100), (k + 1) * (YEAR / 100)) / 2000;
    close_to(parts, whole, 1e-9, "parts");
  }
}

Test(series, unset_and_single) {
  fc_series none = {0};
  cr_assert_eq(fc_series_check(&none), FC_OK);
  cr_assert_eq(fc_series_at(&none, 5), 0);
  cr_assert_eq(fc_series_mean(&none, 5, 6), 0);
  fc_series one = {.interp = FC_SERIES_LOG, .n = 1, .point = point};
  cr_assert_eq(fc_series_check(&one), FC_OK);
  cr_assert_eq(fc_series_at(&one, YEAR), 10);
  close_to(fc_series_mean(&one, -YEAR, YEAR), 10, 1e-15, "single");
}

Test(series, invalid) {
  const fc_series_point unordered[] = {{5, 1}, {5, 2}}, not_finite[] = {{0, (double)NAN}},
                        infinite[] = {{0, HUGE_VAL}};
  const fc_series_point negative[] = {{0, 1}, {1, -1}}, zero[] = {{0, 0}};
  const fc_series bad[] = {
      {FC_SERIES_STEP, 2, unordered, FC_GROWTH_HOLD, 0, 0},
      {FC_SERIES_STEP, 1, not_finite, FC_GROWTH_HOLD, 0, 0},
      {FC_SERIES_STEP, 1, infinite, FC_GROWTH_HOLD, 0, 0},
      {FC_SERIES_LOG, 2, negative, FC_GROWTH_HOLD, 0, 0},
      {FC_SERIES_LOG, 1, zero, FC_GROWTH_HOLD, 0, 0},
      {(fc_series_interp)9, 3, point, FC_GROWTH_HOLD, 0, 0},
      {FC_SERIES_STEP, 3, point, (fc_growth)9, 2, 0},
      {FC_SERIES_STEP, 3, point, FC_GROWTH_EXPONENTIAL, 0, 0},
      {FC_SERIES_STEP, 3, point, FC_GROWTH_EXPONENTIAL, (double)NAN, 0},
      {FC_SERIES_STEP, 3, point, FC_GROWTH_LOGISTIC, 2, 0},
      {FC_SERIES_STEP, 3, point, FC_GROWTH_LOGISTIC, 2, 100},
      {FC_SERIES_STEP, 3, point, FC_GROWTH_GOMPERTZ, 0.5, 500},
      {FC_SERIES_STEP, 1, zero, FC_GROWTH_GOMPERTZ, 2, 500},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    cr_assert_eq(fc_series_check(&bad[i]), FC_E_DOMAIN, "%zu", i);
}
