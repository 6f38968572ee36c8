/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include <criterion/criterion.h>

#include <fleetcast/workload/demand.h>
#include <fleetcast/workload/shape.h>
#include <fleetcast/workload/stream.h>

#define MONDAY (19723 * FC_DAY) /* 2024-01-01 */

static fc_shape ramp(double utc_offset_s) {
  fc_shape shape = {.name = "ramp", .utc_offset_s = utc_offset_s};
  for (int h = 0; h < 168; h++) shape.factor[h] = h;
  return shape;
}

static bool close_to(double a, double b, double tolerance) {
  return fabs(a - b) <= tolerance * fmax(fabs(a), fabs(b));
}

/* --- shape --- */

Test(shape, starts_on_monday_local_time) {
  fc_shape utc = ramp(0), china = ramp(8 * 3600), west = ramp(-7 * 3600);
  cr_assert_eq(fc_shape_at(&utc, MONDAY), 0);
  cr_assert_eq(fc_shape_at(&utc, MONDAY - 1), 167);
  cr_assert_eq(fc_shape_at(&utc, MONDAY + 25 * FC_HOUR + FC_MINUTE), 25);
  cr_assert_eq(fc_shape_at(&china, MONDAY), 8);
  cr_assert_eq(fc_shape_at(&west, MONDAY), 161);
  cr_assert_eq(fc_shape_at(&utc, -3 * FC_DAY), 0, "1969-12-29 was a Monday");
  cr_assert_eq(fc_shape_peak(&utc), 167);
}

Test(shape, mean_is_exact) {
  fc_shape s = ramp(0);
  cr_assert_eq(fc_shape_mean(&s, MONDAY, MONDAY + FC_HOUR), 0);
  cr_assert_eq(fc_shape_mean(&s, MONDAY + FC_HOUR / 2, MONDAY + 3 * FC_HOUR / 2), 0.5);
  cr_assert_eq(fc_shape_mean(&s, MONDAY, MONDAY + FC_WEEK), 83.5);
  cr_assert_eq(fc_shape_mean(&s, MONDAY + 17, MONDAY + 17 + 3 * FC_WEEK), 83.5);
  cr_assert_eq(fc_shape_mean(&s, MONDAY - FC_HOUR, MONDAY + FC_HOUR), 83.5);
  cr_assert_eq(fc_shape_mean(&s, MONDAY + 5, MONDAY + 6), 0);
  double weeks = fc_shape_mean(&s, MONDAY, MONDAY + 2 * FC_WEEK + 2 * FC_HOUR);
  cr_assert(close_to(weeks, (2 * 83.5 * 168 + 1) / 338, 1e-15));
}

/* --- demand --- */

Test(demand, factors_weigh_by_time) {
  fc_factor f[] = {{0, 10, 3}, {5, 20, 0.5}};
  cr_assert_eq(fc_factors_mean(f, 0, 0, 10), 1);
  cr_assert_eq(fc_factors_mean(f, 2, 0, 5), 3);
  cr_assert_eq(fc_factors_mean(f, 2, 0, 10), (3 * 5 + 1.5 * 5) / 10);
  cr_assert_eq(fc_factors_mean(f, 2, 5, 25), (1.5 * 5 + 0.5 * 10 + 5) / 20);
  cr_assert_eq(fc_factors_mean(f, 2, 30, 40), 1);
  fc_factor empty = {7, 7, 9};
  cr_assert_eq(fc_factors_mean(&empty, 1, 0, 10), 1);
}

Test(demand, is_the_product_of_its_parts) {
  fc_series_point point = {0, 50};
  fc_series rate = {.n = 1, .point = &point};
  fc_shape shape = ramp(0);
  fc_factor factor = {MONDAY + FC_HOUR, FC_TIME_MAX, 2};
  fc_demand_def def = {.rate = &rate, .shape = &shape, .n_factors = 1, .factors = &factor};
  fc_demand d = fc_demand_start(&def, 1, 2);
  fc_demand_epoch e = fc_demand_next(&d, MONDAY + 3 * FC_HOUR, MONDAY + 4 * FC_HOUR);
  cr_assert_eq(e.level, 100);
  cr_assert_eq(e.forecast, 300);
  cr_assert_eq(e.actual, 300);
}

/* The burst: mean 1, sd of its logarithm, correlation exp(-dt/tau); and the forecast is unbiased. */
Test(demand, bursts_have_their_moments) {
  fc_series_point point = {0, 1};
  fc_series rate = {.n = 1, .point = &point};
  fc_demand_def def = {.rate = &rate, .burst_sigma = 0.5, .burst_s = 5 * 3600};
  fc_demand d = fc_demand_start(&def, 7, 0);
  enum { N = 400000 };
  double sum = 0, log_sum = 0, log_square = 0, product = 0, error = 0, last = 0;
  for (int i = 0; i < N; i++) {
    fc_demand_epoch e = fc_demand_next(&d, MONDAY + i * FC_HOUR, MONDAY + (i + 1) * FC_HOUR);
    double l = log(e.actual) + 0.125;
    sum += e.actual;
    error += e.actual - e.forecast;
    log_sum += l;
    log_square += l * l;
    if (i > 0) product += l * last;
    last = l;
  }
  /* effective sample: N / 10 for an AR(1) with rho = exp(-1/5) */
  double sd = 0.5 / sqrt(N / 10.0);
  cr_assert(fabs(sum / N - 1) < 4 * sd, "%g", sum / N);
  cr_assert(fabs(error / N) < 4 * 0.5 / sqrt(N), "%g", error / N);
  cr_assert(fabs(log_sum / N) < 4 * sd);
  cr_assert(close_to(sqrt(log_square / N), 0.5, 0.02));
  cr_assert(close_to(product / log_square, exp(-0.2), 0.02));
}

Test(demand, services_do_not_share_their_luck) {
  fc_series_point point = {0, 1};
  fc_series rate = {.n = 1, .point = &point};
  fc_demand_def def = {.rate = &rate, .burst_sigma = 0.5, .burst_s = 3600};
  fc_demand a = fc_demand_start(&def, 7, 0), b = fc_demand_start(&def, 7, 0), c = fc_demand_start(&def, 7, 1);
  double x = fc_demand_next(&a, 0, FC_HOUR).actual, y = fc_demand_next(&b, 0, FC_HOUR).actual;
  cr_assert_eq(x, y);
  cr_assert_neq(x, fc_demand_next(&c, 0, FC_HOUR).actual);
}

/* --- streams --- */

Test(stream, bounds_hold_between_points) {
  fc_series_point p[] = {{0, 1}, {10 * FC_DAY, 5}, {11 * FC_DAY, 2}};
  fc_series s = {.interp = FC_SERIES_LINEAR, .n = 3, .point = p};
  cr_assert_eq(fc_series_bound(&s, 9 * FC_DAY, 12 * FC_DAY), 5);
  cr_assert_eq(fc_series_bound(&s, -5, -4), 1);
  cr_assert_eq(fc_series_bound(&s, 11 * FC_DAY, 12 * FC_DAY), 2);
  fc_series unset = {0};
  cr_assert_eq(fc_series_bound(&unset, 0, 1), 0);
}

/* Counts in equal stretches are Poisson of the integrated rate. */
Test(stream, arrivals_follow_the_rate) {
  fc_series_point p[] = {{0, 1e-3}, {100 * FC_DAY, 9e-3}, {200 * FC_DAY, 0}};
  fc_series s = {.interp = FC_SERIES_LINEAR, .n = 3, .point = p};
  fc_arrivals a = fc_arrivals_start(&s, 2, 0, 11, 0);
  fc_time at = 0, last = 0;
  double count[20] = {0};
  while (fc_arrivals_next(&a, 250 * FC_DAY, &at)) {
    cr_assert(at >= last && at < 200 * FC_DAY);
    count[at / (10 * FC_DAY)]++;
    last = at;
  }
  double chi2 = 0;
  for (int i = 0; i < 20; i++) {
    double mean = 2 * fc_series_mean(&s, i * 10 * FC_DAY, (i + 1) * 10 * FC_DAY) * 864000;
    chi2 += (count[i] - mean) * (count[i] - mean) / mean;
  }
  cr_assert(chi2 < 45.3, "chi-square of 20 cells: %g, 99.9 %% below 45.3", chi2);
}

Test(stream, constant_rate_scales_with_time) {
  fc_series_point slow = {0, 1e-4}, fast = {0, 2e-4};
  fc_series s = {.n = 1, .point = &slow}, f = {.n = 1, .point = &fast};
  fc_arrivals a = fc_arrivals_start(&s, 1, MONDAY, 3, 5), b = fc_arrivals_start(&f, 1, MONDAY, 3, 5);
  for (int i = 0; i < 1000; i++) {
    fc_time x, y;
    cr_assert(fc_arrivals_next(&a, FC_TIME_MAX, &x) && fc_arrivals_next(&b, FC_TIME_MAX, &y));
    fc_time off = (x - MONDAY) - 2 * (y - MONDAY);
    cr_assert(off > -100000 && off < 100000, "arrival %d: %lld ns", i, (long long)off);
  }
}

Test(stream, no_rate_no_arrivals) {
  fc_series_point zero = {0, 0};
  fc_series s = {.n = 1, .point = &zero}, unset = {0};
  fc_time at;
  fc_arrivals a = fc_arrivals_start(&s, 1, 0, 1, 1), b = fc_arrivals_start(&unset, 1, 0, 1, 1);
  cr_assert_not(fc_arrivals_next(&a, 1000 * FC_DAY, &at));
  cr_assert_not(fc_arrivals_next(&b, 1000 * FC_DAY, &at));
  cr_assert_not(fc_arrivals_next(&b, 0, &at));
}

Test(stream, marks_depend_on_nothing_else) {
  fc_dist work = fc_dist_lognormal_p90(10, 100), gang = fc_dist_point(8);
  fc_marks a = fc_marks_draw(&work, &gang, 1, 2, 3), b = fc_marks_draw(&work, &gang, 1, 2, 3);
  cr_assert(a.work == b.work && a.devices == 8);
  cr_assert_neq(a.work, fc_marks_draw(&work, &gang, 1, 2, 4).work);
  cr_assert_neq(a.work, fc_marks_draw(&work, &gang, 1, 3, 3).work);
}

Test(stream, truncated_means) {
  fc_dist uniform = {.kind = FC_DIST_UNIFORM, .a = 0, .b = 10, .min = 5, .max = (double)INFINITY};
  cr_assert(close_to(fc_dist_truncated_mean(&uniform), 7.5, 1e-9));
  fc_dist lognormal = fc_dist_lognormal_p90(10, 100);
  double whole = fc_dist_truncated_mean(&lognormal);
  cr_assert_eq(whole, fc_dist_mean(&lognormal));
  fc_dist point = fc_dist_point(3);
  cr_assert_eq(fc_dist_truncated_mean(&point), 3);
  /* lognormal up to m: e^(mu + s^2/2) Phi((ln m - mu)/s - s) / Phi((ln m - mu)/s) */
  lognormal.max = 100;
  double s = log(10) / 1.2815515655446004, z = 1.2815515655446004;
  double theory = whole * erfc(-(z - s) / sqrt(2)) / erfc(-z / sqrt(2));
  cr_assert(close_to(fc_dist_truncated_mean(&lognormal), theory, 1e-6));
}
