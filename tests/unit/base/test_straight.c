/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/straight.h>

#include <criterion/criterion.h>
#include <math.h>

static bool close_to(double got, double want, double relative) {
  return fabs(got - want) <= relative * fabs(want);
}

Test(straight, logarithm) {
  cr_expect_eq(fc_straight_ln(1), 0);
  for (int i = -2900; i <= 2900; i++) {
    double x = exp(0.1234 * i / 1.0 * 2);
    if (x > 1e-300 && x < 1e300) cr_expect(close_to(fc_straight_ln(x), log(x), 1e-15), "ln %.17g", x);
    double y = 1 + 1e-4 * i; /* where the result is small */
    if (i) cr_expect(close_to(fc_straight_ln(y), log(y), 1e-15), "ln %.17g", y);
  }
}

Test(straight, exponential) {
  cr_expect_eq(fc_straight_exp(0), 1);
  for (int i = -7000; i <= 7000; i++) {
    double x = 0.0999 * i;
    cr_expect(close_to(fc_straight_exp(x), exp(x), 1e-15), "exp %.17g", x);
  }
  cr_expect_eq(fc_straight_exp(1e9), fc_straight_exp(700));
  cr_expect_eq(fc_straight_exp(-1e9), fc_straight_exp(-700));
  cr_expect(isnan(fc_straight_exp((double)NAN)));
}

Test(straight, rounding) {
  static const double x[] = {0, 1e-12, 1e-3, 0.5, 1, 1 + 1e-12, 1.0001, 2.5, 1e6 + 0.1, 4e9, 1e15};
  for (size_t i = 0; i < sizeof x / sizeof *x; i++) cr_expect_eq(fc_straight_up(x[i]), ceil(x[i] - 1e-9));
  cr_expect_eq(fc_straight_round(2.4), 2);
  cr_expect_eq(fc_straight_round(-2.6), -3);
  cr_expect_eq(fc_straight_whole((uint64_t)1 << 51), 0x1p51);
}
