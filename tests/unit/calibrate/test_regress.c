/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/calibrate/regress.h>

#include <math.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include <fleetcast/base/rng.h>

#include "nist.h"

/* --- certified problems --- */

typedef struct {
  const nist_problem *of;
  nist_id id;
} certified;

static double cubic_ratio(const double *b, double x) {
  return (b[0] + x * (b[1] + x * (b[2] + x * b[3]))) / (1 + x * (b[4] + x * (b[5] + x * b[6])));
}

static double model(nist_id id, const double *b, double x) {
  switch (id) {
  case NIST_MISRA1A:
  case NIST_BOXBOD: return b[0] * (1 - exp(-b[1] * x));
  case NIST_CHWIRUT2: return exp(-b[0] * x) / (b[1] + b[2] * x);
  case NIST_LANCZOS3: return b[0] * exp(-b[1] * x) + b[2] * exp(-b[3] * x) + b[4] * exp(-b[5] * x);
  case NIST_DANWOOD: return b[0] * pow(x, b[1]);
  case NIST_KIRBY2: return (b[0] + x * (b[1] + x * b[2])) / (1 + x * (b[3] + x * b[4]));
  case NIST_HAHN1:
  case NIST_THURBER: return cubic_ratio(b, x);
  case NIST_MGH17: return b[0] + b[1] * exp(-x * b[3]) + b[2] * exp(-x * b[4]);
  case NIST_RAT42: return b[0] / (1 + exp(b[1] - b[2] * x));
  case NIST_RAT43: return b[0] / pow(1 + exp(b[1] - b[2] * x), 1 / b[3]);
  case NIST_ECKERLE4: return b[0] / b[1] * exp(-0.5 * pow((x - b[2]) / b[1], 2));
  case NIST_BENNETT5: return b[0] * pow(b[1] + x, -1 / b[2]);
  case NIST_MGH09: return b[0] * (x * x + x * b[1]) / (x * x + x * b[2] + b[3]);
  case NIST_MGH10: return b[0] * exp(b[1] / (x + b[2]));
  case NIST_COUNT: break;
  }
  return (double)NAN;
}

static void nist_residuals(const void *context, const double *theta, double *r) {
  const certified *c = context;
  for (size_t i = 0; i < c->of->n; i++) r[i] = model(c->id, theta, c->of->data[2 * i + 1]) - c->of->data[2 * i];
}

static fc_regress_result solve_nist(nist_id id, const double *start, size_t iterations) {
  certified c = {&nist[id], id};
  fc_regress problem = {.n = c.of->n, .p = c.of->p, .residuals = nist_residuals, .context = &c};
  problem.max_iterations = iterations;
  fc_regress_result result;
  cr_assert_eq(fc_regress_solve(&result, &problem, start), FC_OK, "%s", c.of->name);
  return result;
}

/* Digits that agree: -log10 of the relative error. */
static double digits(double got, double want) {
  double error = fabs(got - want) / fabs(want);
  return error > 0 ? -log10(error) : 16;
}

static double least_digits(const nist_problem *of, const double *theta) {
  double least = 16;
  for (size_t j = 0; j < of->p; j++) least = fmin(least, digits(theta[j], of->certified[j]));
  return least;
}

static const struct {
  nist_id id;
  int start;
} known_failures[1];

Test(regress, dump) {
  for (int id = 0; id < NIST_COUNT; id++)
    for (int start = 0; start < 2; start++) {
      fc_regress_result r = solve_nist((nist_id)id, nist[id].start[start], 2000);
      double sd = 16;
      for (size_t j = 0; j < nist[id].p; j++)
        sd = fmin(sd, digits(sqrt(r.covariance[j * nist[id].p + j]), nist[id].sd[j]));
      fprintf(stderr, "%s %d: digits %.1f sd %.1f rss %.1f iterations %zu converged %d\n", nist[id].name, start + 1,
              least_digits(&nist[id], r.theta), sd, digits(r.objective, nist[id].rss), r.iterations, r.converged);
    }
  (void)known_failures;
}
