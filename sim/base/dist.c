/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/dist.h>

#include <math.h>

#include <fleetcast/base/assert.h>

static const double Z90 = 1.2815515655446004; /* the 0.9-quantile of the standard normal */
static const double SQRT_HALF = 0.70710678118654752;

fc_dist fc_dist_point(double value) {
  return (fc_dist){.kind = FC_DIST_POINT, .a = value, .min = -HUGE_VAL, .max = HUGE_VAL};
}

fc_dist fc_dist_lognormal_p90(double median, double p90) {
  FC_ASSERT(median > 0 && median <= p90);
  return (fc_dist){.kind = FC_DIST_LOGNORMAL,
                   .a = median,
                   .b = log(p90 / median) / Z90,
                   .min = -HUGE_VAL,
                   .max = HUGE_VAL};
}

/* --- standard normal --- */

static double ratio(const double numerator[8], const double denominator[8], double r) {
  double n = numerator[7], d = denominator[7];
  for (int i = 6; i >= 0; i--) {
    n = n * r + numerator[i];
    d = d * r + denominator[i];
  }
  return n / d;
}

/* Algorithm AS 241, PPND16 (M. Wichura, Applied Statistics 37(3), 1988); lowest power first. */
static double normal_quantile(double u) {
  static const double a[8] = {3.3871328727963666080e0,  1.3314166789178437745e+2, 1.9715909503065514427e+3,
                              1.3731693765509461125e+4, 4.5921953931549871457e+4, 6.7265770927008700853e+4,
                              3.3430575583588128105e+4, 2.5090809287301226727e+3};
  static const double b[8] = {1.0,
                              4.2313330701600911252e+1,
                              6.8718700749205790830e+2,
                              5.3941960214247511077e+3,
                              2.1213794301586595867e+4,
                              3.9307895800092710610e+4,
                              2.8729085735721942674e+4,
                              5.2264952788528545610e+3};
  static const double c[8] = {1.42343711074968357734e0,  4.63033784615654529590e0, 5.76949722146069140550e0,
                              3.64784832476320460504e0,  1.27045825245236838258e0, 2.41780725177450611770e-1,
                              2.27238449892691845833e-2, 7.74545014278341407640e-4};
  static const double d[8] = {1.0,
                              2.05319162663775882187e0,
                              1.67638483018380384940e0,
                              6.89767334985100004550e-1,
                              1.48103976427480074590e-1,
                              1.51986665636164571966e-2,
                              5.47593808499534494600e-4,
                              1.05075007164441684324e-9};
  static const double e[8] = {6.65790464350110377720e0,  5.46378491116411436990e0,  1.78482653991729133580e0,
                              2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
                              2.71155556874348757815e-5, 2.01033439929228813265e-7};
  static const double f[8] = {1.0,
                              5.99832206555887937690e-1,
                              1.36929880922735805310e-1,
                              1.48753612908506148525e-2,
                              7.86869131145613259100e-4,
                              1.84631831751005468180e-5,
                              1.42151175831644588870e-7,
                              2.04426310338993978564e-15};
  double q = u - 0.5;
  if (fabs(q) <= 0.425) return q * ratio(a, b, 0.180625 - q * q);
  double r = sqrt(-log(q < 0 ? u : 1 - u));
  double z = r <= 5 ? ratio(c, d, r - 1.6) : ratio(e, f, r - 5);
  return q < 0 ? -z : z;
}

double fc_normal_quantile(double u) {
  FC_ASSERT(u > 0 && u < 1);
  return normal_quantile(u);
}

/* Probability below z; erfc keeps its relative accuracy in the tail, and above(z) = below(-z). */
static double below(double z) {
  return 0.5 * erfc(-z * SQRT_HALF);
}

/* Mass of [low, high], without cancellation in either tail. */
static double normal_mass(double low, double high) {
  return low > 0 ? below(-low) - below(-high) : below(high) - below(low);
}

/* The u-quantile of a standard normal that is known to lie in [low, high]. */
static double normal_between(double u, double low, double high) {
  double mass = normal_mass(low, high), p = below(low) + u * mass;
  if (p < 0.5) return p > 0 ? normal_quantile(p) : low;
  double q = below(-high) + (1 - u) * mass;
  return q > 0 ? -normal_quantile(q) : high;
}

/* --- triangular --- */

static double triangular_below(const fc_dist *t, double x) {
  if (x <= t->a) return 0;
  if (x >= t->b) return 1;
  double width = t->b - t->a;
  if (x < t->c) return (x - t->a) * (x - t->a) / (width * (t->c - t->a));
  return 1 - (t->b - x) * (t->b - x) / (width * (t->b - t->c));
}

static double triangular_quantile(const fc_dist *t, double u) {
  double low = triangular_below(t, t->min), p = low + u * (triangular_below(t, t->max) - low);
  double width = t->b - t->a;
  if (p * width < t->c - t->a) return t->a + sqrt(p * width * (t->c - t->a));
  return t->b - sqrt((1 - p) * width * (t->b - t->c));
}

/* --- all --- */

/* In units of standard deviations of the value, or of its logarithm. */
static double standardised(const fc_dist *d, double x) {
  if (d->kind == FC_DIST_NORMAL) return (x - d->a) / d->b;
  return x > 0 ? log(x / d->a) / d->b : -HUGE_VAL;
}

static bool parameters_are_valid(const fc_dist *d) {
  if (!isfinite(d->a)) return false;
  switch (d->kind) {
  case FC_DIST_POINT: return true;
  case FC_DIST_UNIFORM: return isfinite(d->b) && d->a <= d->b;
  case FC_DIST_LOGUNIFORM: return isfinite(d->b) && d->a > 0 && d->a <= d->b;
  case FC_DIST_NORMAL: return isfinite(d->b) && d->b >= 0;
  case FC_DIST_LOGNORMAL: return isfinite(d->b) && d->a > 0 && d->b >= 0;
  case FC_DIST_TRIANGULAR: return isfinite(d->b) && d->a <= d->c && d->c <= d->b;
  }
  return false;
}

bool fc_dist_is_valid(const fc_dist *d) {
  if (!parameters_are_valid(d) || !(d->min < d->max)) return false;
  switch (d->kind) {
  case FC_DIST_NORMAL:
  case FC_DIST_LOGNORMAL:
    if (d->b > 0) return normal_mass(standardised(d, d->min), standardised(d, d->max)) > 0;
    break;
  case FC_DIST_UNIFORM:
  case FC_DIST_LOGUNIFORM:
  case FC_DIST_TRIANGULAR:
    if (d->a < d->b) return d->min < d->b && d->max > d->a;
    break;
  case FC_DIST_POINT: break;
  }
  return d->min <= d->a && d->a <= d->max;
}

double fc_dist_quantile(const fc_dist *d, double u) {
  FC_ASSERT(u > 0 && u < 1);
  double low = fmax(d->a, d->min), high = fmin(d->b, d->max), x = d->a;
  switch (d->kind) {
  case FC_DIST_POINT: return d->a;
  case FC_DIST_UNIFORM: x = low + u * (high - low); break;
  case FC_DIST_LOGUNIFORM: x = low * pow(high / low, u); break;
  case FC_DIST_NORMAL:
    if (d->b > 0) x = d->a + d->b * normal_between(u, standardised(d, d->min), standardised(d, d->max));
    break;
  case FC_DIST_LOGNORMAL:
    if (d->b > 0) x = d->a * exp(d->b * normal_between(u, standardised(d, d->min), standardised(d, d->max)));
    break;
  case FC_DIST_TRIANGULAR:
    if (d->a < d->b) x = triangular_quantile(d, u);
    break;
  }
  return fmin(fmax(x, d->min), d->max); /* rounding must not leave the interval */
}

double fc_dist_median(const fc_dist *d) {
  return fc_dist_quantile(d, 0.5);
}

double fc_dist_mean(const fc_dist *d) {
  switch (d->kind) {
  case FC_DIST_UNIFORM: return d->a + (d->b - d->a) / 2;
  case FC_DIST_LOGUNIFORM: return d->a < d->b ? (d->b - d->a) / log(d->b / d->a) : d->a;
  case FC_DIST_LOGNORMAL: return d->a * exp(d->b * d->b / 2);
  case FC_DIST_TRIANGULAR: return (d->a + d->b + d->c) / 3;
  case FC_DIST_POINT:
  case FC_DIST_NORMAL: break;
  }
  return d->a;
}
