/* SPDX-License-Identifier: Apache-2.0 */
/* Stochastic kriging of a few points: ordinary kriging with known noise, mixed over the trend's stretch. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "surface_private.h"

/* Grids of the process's parameters, over ln(rate) and ln(y).  @source judgement: from wiggles of a tenth in
 * load to a straight line, from nothing to a factor of e */
static const double LENGTH[] = {0.1, 0.2, 0.4, 0.8, 1.6};
static const double TAU[] = {0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1};
#define COUNT_OF(a) (sizeof(a) / sizeof *(a))
#define NUGGET      1e-9
/* Correlation of two runs' noise: they share their random numbers.  @source M/D/1, as WIDEN in surface.c */
#define COMMON      0.7

/* The mix's coordinates matter so much less than the load: the trend holds most of what they do.
 * @source judgement */
#define MIX_LENGTH  2.0

static double matern(double r) {
  r *= sqrt(5);
  return (1 + r + r * r / 3) * exp(-r);
}

static double covariance(const fc_emulator *k, const double a[FC_COORDINATES],
                         const double b[FC_COORDINATES]) {
  double square = 0;
  for (int i = 0; i < FC_COORDINATES; i++) {
    double d = (a[i] - b[i]) / (i ? MIX_LENGTH * k->length : k->length);
    square += d * d;
  }
  return k->tau * k->tau * matern(sqrt(square));
}

static bool factor(fc_emulator *k) {
  for (int i = 0; i < k->n; i++)
    for (int j = 0; j <= i; j++) {
      double sum = covariance(k, k->x[i], k->x[j]);
      sum += i == j ? k->noise[i] + NUGGET : COMMON * sqrt(k->noise[i] * k->noise[j]);
      for (int m = 0; m < j; m++) sum -= k->chol[i][m] * k->chol[j][m];
      if (i > j) {
        k->chol[i][j] = sum / k->chol[j][j];
        continue;
      }
      if (!(sum > 0)) return false;
      k->chol[i][i] = sqrt(sum);
    }
  return true;
}

/* out = K^-1 in */
static void solve(const fc_emulator *k, double *out, const double *in) {
  for (int i = 0; i < k->n; i++) {
    double sum = in[i];
    for (int j = 0; j < i; j++) sum -= k->chol[i][j] * out[j];
    out[i] = sum / k->chol[i][i];
  }
  for (int i = k->n; i-- > 0;) {
    double sum = out[i];
    for (int j = i + 1; j < k->n; j++) sum -= k->chol[j][i] * out[j];
    out[i] = sum / k->chol[i][i];
  }
}

static double dot(const double *a, const double *b, int n) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

/* With length and tau set: b, weights and the restricted likelihood. */
static bool settle(fc_emulator *k, const double *y) {
  double one[FC_SURFACE_POINTS] = {0}, log_det = 0;
  for (int i = 0; i < k->n; i++) one[i] = 1;
  if (!factor(k)) return false;
  solve(k, k->ones, one);
  k->ones_sum = dot(one, k->ones, k->n);
  k->base = dot(k->ones, y, k->n) / k->ones_sum;
  for (int i = 0; i < k->n; i++) k->rest[i] = y[i] - k->base;
  solve(k, k->weight, k->rest);
  for (int i = 0; i < k->n; i++) log_det += 2 * log(k->chol[i][i]);
  k->likelihood = -0.5 * (log_det + log(k->ones_sum) + dot(k->rest, k->weight, k->n));
  return isfinite(k->likelihood);
}

static bool fit(fc_emulator *k, const double *y) {
  double best = -HUGE_VAL, length = 0, tau = 0;
  for (size_t l = 0; l < COUNT_OF(LENGTH); l++)
    for (size_t t = 0; t < COUNT_OF(TAU); t++) {
      k->length = LENGTH[l];
      k->tau = TAU[t];
      if (!settle(k, y) || !(k->likelihood > best)) continue;
      best = k->likelihood;
      length = k->length;
      tau = k->tau;
    }
  if (!(tau > 0)) return false;
  k->length = length;
  k->tau = tau;
  return settle(k, y);
}

/* ln(y / trend) at x, and its variance. */
static void predict(const fc_emulator *k, const double x[FC_COORDINATES], double *mean, double *variance) {
  double c[FC_SURFACE_POINTS] = {0}, w[FC_SURFACE_POINTS] = {0};
  for (int i = 0; i < k->n; i++) c[i] = covariance(k, x, k->x[i]);
  solve(k, w, c);
  double gap = 1 - dot(c, k->ones, k->n); /* what not knowing b adds */
  *mean = k->base + dot(c, k->weight, k->n);
  *variance = fmax(0, k->tau * k->tau - dot(c, w, k->n) + gap * gap / k->ones_sum);
}

/* --- over the stretch --- */

/* How likely a stretch is before anything was simulated.  @source closed form and engine over 25 services and
 * pools of the baseline: rates differ by 0.12 (sd of the logarithm) */
#define STRETCH_SD 0.15
/* Factor on the emulator's spread, for parameters that are taken as known.  @source the exact M/D/1 at six
 * loads, 60 seeds: 95 % intervals then hold it in 95 %, without it in 86 % (test_surface.c has a share of it)
 */
#define WIDEN      1.5

void fc_emulators_fini(fc_emulators *e) {
  free(e->at);
  free(e->worth);
  *e = (fc_emulators){0};
}

static bool fit_at(fc_emulator *k, fc_emulator_points points, const void *context, double stretch) {
  double y[FC_SURFACE_POINTS], z = log(stretch) / STRETCH_SD;
  k->stretch = stretch;
  if (!points(k, y, context, stretch) || k->n == 0 || !fit(k, y)) return false;
  k->likelihood -= 0.5 * z * z;
  return true;
}

fc_status fc_emulators_fit(fc_emulators *e, fc_emulator_points points, const void *context) {
  enum { ONE = FC_STRETCHES / 2 };
  static const double NEGLIGIBLE = 1e-3;
  fc_emulators_fini(e);
  e->at = malloc(FC_STRETCHES * sizeof *e->at);
  e->worth = malloc(FC_STRETCHES * sizeof *e->worth);
  if (!e->at || !e->worth) return FC_E_NOMEM;
  double best = -HUGE_VAL, sum = 0;
  for (int i = 0; i < FC_STRETCHES; i++)
    if (fit_at(&e->at[e->n], points, context, pow(FC_STRETCH_STEP, i - ONE))) {
      best = fmax(best, e->at[e->n].likelihood);
      e->n++;
    }
  int kept = 0;
  for (int i = 0; i < e->n; i++) {
    double worth = exp(e->at[i].likelihood - best);
    if (worth < NEGLIGIBLE) continue;
    if (i > kept) e->at[kept] = e->at[i];
    sum += e->worth[kept++] = worth;
  }
  e->n = kept;
  for (int i = 0; i < e->n; i++) e->worth[i] /= sum;
  return e->n > 0 ? FC_OK : FC_E_DOMAIN;
}

void fc_emulators_at(const fc_emulators *e, const double x[FC_COORDINATES],
                     double (*trend)(const void *context, double stretch), const void *context, double *log_y,
                     double *log_sd) {
  double mean = 0, square = 0;
  for (int i = 0; i < e->n; i++) {
    double y, variance;
    predict(&e->at[i], x, &y, &variance);
    y += trend(context, e->at[i].stretch);
    mean += e->worth[i] * y;
    square += e->worth[i] * (variance + y * y);
  }
  *log_y = mean;
  *log_sd = WIDEN * sqrt(fmax(0, square - mean * mean));
}
