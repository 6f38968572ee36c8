/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/dist.h>

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <gsl/gsl_cdf.h>
#include <math.h>

#define INF HUGE_VAL

static void close_to(double x, double expected, double relative, const char *what) {
  cr_assert(fabs(x - expected) <= relative * fabs(expected) + 1e-300, "%s: %.17g, expected %.17g", what, x,
            expected);
}

Test(dist, normal_quantile_against_gsl_and_known_values) {
  cr_assert_eq(fc_normal_quantile(0.5), 0);
  close_to(fc_normal_quantile(0.975), 1.9599639845400545, 1e-15, "0.975");
  close_to(fc_normal_quantile(0.9), 1.2815515655446004, 1e-15, "0.9");
  close_to(fc_normal_quantile(1e-20), -9.262340089798408, 1e-15, "1e-20");
  for (double u = 1e-300; u < 1e-3; u *= 7)
    close_to(fc_normal_quantile(u), gsl_cdf_ugaussian_Pinv(u), 1e-13, "tail");
  for (double u = 0.001; u < 0.9995; u += 0.001) {
    double z = fc_normal_quantile(u);
    /* GSL's own inverse is good to 1e-14 or so here; the round trip through erfc is the sharper test */
    close_to(0.5 * erfc(-z / sqrt(2)), u, 4e-15, "round trip");
  }
}

/* Distribution functions of the untruncated, written down apart from the code under test. */
static double below(const fc_dist *d, double x) {
  switch (d->kind) {
  case FC_DIST_UNIFORM: return gsl_cdf_flat_P(x, d->a, d->b);
  case FC_DIST_LOGUNIFORM: return x <= d->a ? 0 : x >= d->b ? 1 : log(x / d->a) / log(d->b / d->a);
  case FC_DIST_NORMAL: return gsl_cdf_gaussian_P(x - d->a, d->b);
  case FC_DIST_LOGNORMAL: return x > 0 ? gsl_cdf_lognormal_P(x, log(d->a), d->b) : 0;
  case FC_DIST_TRIANGULAR:
    if (x <= d->a) return 0;
    if (x >= d->b) return 1;
    if (x <= d->c && d->c > d->a) return (x - d->a) * (x - d->a) / ((d->b - d->a) * (d->c - d->a));
    return 1 - (d->b - x) * (d->b - x) / ((d->b - d->a) * (d->b - d->c));
  default: return x >= d->a;
  }
}

static const fc_dist good[] = {
    {FC_DIST_UNIFORM, -2, 5, 0, -INF, INF},   {FC_DIST_UNIFORM, -2, 5, 0, 0, 1},
    {FC_DIST_UNIFORM, 0, 1, 0, -3, 0.25},     {FC_DIST_LOGUNIFORM, 1e-3, 1e6, 0, -INF, INF},
    {FC_DIST_LOGUNIFORM, 1, 100, 0, 2, 1e9},  {FC_DIST_NORMAL, 10, 3, 0, -INF, INF},
    {FC_DIST_NORMAL, 10, 3, 0, 0, INF},       {FC_DIST_NORMAL, 0, 1, 0, 1, 2},
    {FC_DIST_NORMAL, 0, 1, 0, -INF, -6},      {FC_DIST_NORMAL, 0, 1, 0, 5, INF},
    {FC_DIST_NORMAL, 0, 1, 0, 7, 7.5},        {FC_DIST_LOGNORMAL, 2, 0.7, 0, -INF, INF},
    {FC_DIST_LOGNORMAL, 2, 0.7, 0, 0, 3},     {FC_DIST_LOGNORMAL, 2, 0.7, 0, 10, 100},
    {FC_DIST_TRIANGULAR, 1, 4, 2, -INF, INF}, {FC_DIST_TRIANGULAR, 1, 4, 1, -INF, INF},
    {FC_DIST_TRIANGULAR, 1, 4, 4, -INF, INF}, {FC_DIST_TRIANGULAR, 1, 4, 2, 1.5, 3.5},
};

ParameterizedTestParameters(dist, quantiles_invert_the_distribution) {
  static size_t i[sizeof good / sizeof *good];
  for (size_t k = 0; k < sizeof good / sizeof *good; k++) i[k] = k;
  return cr_make_param_array(size_t, i, sizeof i / sizeof *i);
}

ParameterizedTest(size_t *i, dist, quantiles_invert_the_distribution) {
  const fc_dist *d = &good[*i];
  cr_assert(fc_dist_is_valid(d));
  double low = below(d, d->min), mass = below(d, d->max) - low, last = -INF;
  bool upper = d->kind == FC_DIST_NORMAL && d->min > d->a; /* there 1 - F is the accurate one */
  if (upper) mass = gsl_cdf_gaussian_Q(d->min - d->a, d->b) - gsl_cdf_gaussian_Q(d->max - d->a, d->b);
  for (int k = 1; k < 1000; k++) {
    double u = k / 1000.0, x = fc_dist_quantile(d, u);
    cr_assert(x >= d->min && x <= d->max && x >= last, "%g-quantile %g", u, x);
    last = x;
    double back = upper
                      ? (gsl_cdf_gaussian_Q(d->min - d->a, d->b) - gsl_cdf_gaussian_Q(x - d->a, d->b)) / mass
                      : (below(d, x) - low) / mass;
    cr_assert_float_eq(back, u, 2e-9, "%g-quantile %.17g gives %.17g", u, x, back);
  }
  cr_assert_eq(fc_dist_median(d), fc_dist_quantile(d, 0.5));
  /* the ends of what a 53-bit uniform can ask for */
  cr_assert(isfinite(fc_dist_quantile(d, 0x1p-53)) && isfinite(fc_dist_quantile(d, 1 - 0x1p-53)));
}

Test(dist, mean_is_the_integral_of_the_quantiles) {
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    if (isfinite(good[i].min) || isfinite(good[i].max)) continue;
    enum { N = 2000000 };
    double sum = 0;
    for (int k = 0; k < N; k++) sum += fc_dist_quantile(&good[i], (k + 0.5) / N);
    close_to(sum / N, fc_dist_mean(&good[i]), 2e-5, "mean");
  }
}

Test(dist, point_and_lognormal_by_p90) {
  fc_dist p = fc_dist_point(-3.5), l = fc_dist_lognormal_p90(4, 10);
  cr_assert(fc_dist_is_valid(&p) && fc_dist_is_valid(&l));
  cr_assert_eq(fc_dist_quantile(&p, 0.01), -3.5);
  cr_assert_eq(fc_dist_mean(&p), -3.5);
  close_to(fc_dist_median(&l), 4, 1e-15, "median");
  close_to(fc_dist_quantile(&l, 0.9), 10, 1e-14, "p90");
  fc_dist same = fc_dist_lognormal_p90(4, 4);
  cr_assert(fc_dist_is_valid(&same));
  cr_assert_eq(fc_dist_quantile(&same, 0.99), 4);
  cr_assert_eq(fc_dist_mean(&same), 4);
}

Test(dist, degenerate_widths_are_points) {
  const fc_dist d[] = {{FC_DIST_UNIFORM, 2, 2, 0, -INF, INF},
                       {FC_DIST_LOGUNIFORM, 2, 2, 0, -INF, INF},
                       {FC_DIST_NORMAL, 2, 0, 0, 0, INF},
                       {FC_DIST_LOGNORMAL, 2, 0, 0, 0, 5},
                       {FC_DIST_TRIANGULAR, 2, 2, 2, 1, 3}};
  for (size_t i = 0; i < sizeof d / sizeof *d; i++) {
    cr_assert(fc_dist_is_valid(&d[i]), "%zu", i);
    cr_assert_eq(fc_dist_quantile(&d[i], 0.3), 2, "%zu", i);
    cr_assert_eq(fc_dist_mean(&d[i]), 2, "%zu", i);
  }
}

Test(dist, invalid) {
  const double nan = (double)NAN;
  const fc_dist bad[] = {
      {FC_DIST_POINT, nan, 0, 0, -INF, INF},    {FC_DIST_POINT, INF, 0, 0, -INF, INF},
      {FC_DIST_POINT, 3, 0, 0, 4, 5},           {FC_DIST_POINT, 0, 0, 0, 0, 0},
      {FC_DIST_UNIFORM, 2, 1, 0, -INF, INF},    {FC_DIST_UNIFORM, 0, INF, 0, -INF, INF},
      {FC_DIST_UNIFORM, 0, 1, 0, 1, 2},         {FC_DIST_UNIFORM, 0, 1, 0, nan, 2},
      {FC_DIST_LOGUNIFORM, 0, 1, 0, -INF, INF}, {FC_DIST_LOGUNIFORM, -1, 1, 0, -INF, INF},
      {FC_DIST_NORMAL, 0, -1, 0, -INF, INF},    {FC_DIST_NORMAL, 0, nan, 0, -INF, INF},
      {FC_DIST_NORMAL, 0, 1, 0, 2, 1},          {FC_DIST_NORMAL, 0, 1, 0, 50, 60},
      {FC_DIST_NORMAL, 5, 1, 0, 0, 0},          {FC_DIST_LOGNORMAL, 0, 1, 0, -INF, INF},
      {FC_DIST_LOGNORMAL, 1, -1, 0, -INF, INF}, {FC_DIST_LOGNORMAL, 1, 1, 0, -INF, 0},
      {FC_DIST_TRIANGULAR, 0, 1, 2, -INF, INF}, {FC_DIST_TRIANGULAR, 0, 1, nan, -INF, INF},
      {FC_DIST_TRIANGULAR, 0, 1, 0.5, 1, 2},    {(fc_dist_kind)99, 1, 1, 1, -INF, INF},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) cr_assert(!fc_dist_is_valid(&bad[i]), "%zu", i);
}
