/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/calibrate/regress.h>

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <gsl/gsl_errno.h>
#include <gsl/gsl_linalg.h>
#include <gsl/gsl_multifit_nlinear.h>

/* GSL aborts on errors unless told otherwise: they are statuses here. */
static void no_abort(void) {
  (void)gsl_set_error_handler_off();
}

static void gsl_quiet(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  (void)pthread_once(&once, no_abort);
}

enum { ROUNDS = 4, ITERATIONS = 200 };
static const double BAD = 1e6; /* a residual that is not finite */

/* The problem as GSL sees it: n residuals times the root of their weight, then one a prior. */
typedef struct {
  const fc_regress *problem;
  double *root_weight; /* [n] of this round */
  double *r;           /* [n] */
} state;

static size_t n_priors(const fc_regress *p) {
  size_t k = 0;
  for (size_t j = 0; p->prior_sd && j < p->p; j++) k += p->prior_sd[j] > 0;
  return k;
}

static int residuals(const gsl_vector *theta, void *context, gsl_vector *f) {
  const state *st = context;
  const fc_regress *p = st->problem;
  double at[FC_REGRESS_MAX];
  /* neither vector need be contiguous: f is a column of the Jacobian while differences are taken */
  for (size_t j = 0; j < p->p; j++) at[j] = gsl_vector_get(theta, j);
  p->residuals(p->context, at, st->r);
  for (size_t i = 0; i < p->n; i++)
    gsl_vector_set(f, i, (isfinite(st->r[i]) ? st->r[i] : BAD) * st->root_weight[i]);
  size_t row = p->n;
  for (size_t j = 0; p->prior_sd && j < p->p; j++)
    if (p->prior_sd[j] > 0) gsl_vector_set(f, row++, (at[j] - p->prior[j]) / p->prior_sd[j]);
  return GSL_SUCCESS;
}

static int jacobian(const gsl_vector *theta, void *context, gsl_matrix *jac) {
  const state *st = context;
  const fc_regress *p = st->problem;
  p->jacobian(p->context, theta->data, jac->data);
  for (size_t i = 0; i < p->n; i++)
    for (size_t j = 0; j < p->p; j++) jac->data[i * jac->tda + j] *= st->root_weight[i];
  size_t row = p->n;
  for (size_t j = 0; p->prior_sd && j < p->p; j++) {
    if (!(p->prior_sd[j] > 0)) continue;
    for (size_t k = 0; k < p->p; k++) jac->data[row * jac->tda + k] = j == k ? 1 / p->prior_sd[j] : 0;
    row++;
  }
  return GSL_SUCCESS;
}

/* One minimisation at fixed weights, from theta to theta. */
static int minimise(gsl_multifit_nlinear_workspace *w, state *st, double *theta, size_t *iterations) {
  const fc_regress *p = st->problem;
  gsl_multifit_nlinear_fdf fdf = {
      .f = residuals, .df = p->jacobian ? jacobian : NULL, .n = p->n + n_priors(p), .p = p->p, .params = st};
  gsl_vector_view start = gsl_vector_view_array(theta, p->p);
  int info = 0;
  if (gsl_multifit_nlinear_init(&start.vector, &fdf, w)) return GSL_FAILURE;
  size_t most = p->max_iterations ? p->max_iterations : ITERATIONS;
  double small = p->tolerance > 0 ? p->tolerance : 1e-13;
  int code = gsl_multifit_nlinear_driver(most, small, small, 0, NULL, NULL, &info, w);
  memcpy(theta, gsl_multifit_nlinear_position(w)->data, p->p * sizeof *theta);
  *iterations += gsl_multifit_nlinear_niter(w);
  return code == GSL_ENOPROG ? GSL_SUCCESS : code;
}

/* sqrt(w rho'(z) ) with rho' = 1 / sqrt(1 + z^2). */
static double reweigh(const fc_regress *p, const double *theta, double *r, double *root_weight) {
  double change = 0;
  p->residuals(p->context, theta, r);
  for (size_t i = 0; i < p->n; i++) {
    double z = isfinite(r[i]) ? r[i] / p->scale : BAD, w = p->weight ? p->weight[i] : 1;
    double root = sqrt(w / sqrt(1 + z * z));
    change = fmax(change, fabs(root - root_weight[i]));
    root_weight[i] = root;
  }
  return change;
}

/* (J'J)^-1 sigma^2 by Cholesky on the scaled normal matrix; unknown directions keep their prior's variance or
 * a large one. */
static void covariance_of(fc_regress_result *out, const gsl_matrix *jac, size_t p, double sigma) {
  double normal[FC_REGRESS_MAX * FC_REGRESS_MAX], scale[FC_REGRESS_MAX];
  gsl_matrix_view a = gsl_matrix_view_array(normal, p, p);
  for (size_t i = 0; i < p; i++)
    for (size_t j = 0; j < p; j++) {
      double sum = 0;
      for (size_t k = 0; k < jac->size1; k++)
        sum += jac->data[k * jac->tda + i] * jac->data[k * jac->tda + j];
      normal[i * p + j] = sum;
    }
  for (size_t i = 0; i < p; i++) scale[i] = normal[i * p + i] > 0 ? 1 / sqrt(normal[i * p + i]) : 1;
  for (size_t i = 0; i < p; i++)
    for (size_t j = 0; j < p; j++) normal[i * p + j] *= scale[i] * scale[j];
  for (size_t i = 0; i < p; i++) normal[i * p + i] += 1e-14;
  bool ok = gsl_linalg_cholesky_decomp1(&a.matrix) == GSL_SUCCESS &&
            gsl_linalg_cholesky_invert(&a.matrix) == GSL_SUCCESS;
  for (size_t i = 0; i < p; i++)
    for (size_t j = 0; j < p; j++)
      out->covariance[i * p + j] = ok ? normal[i * p + j] * scale[i] * scale[j] * sigma * sigma : (i == j);
}

static void finish(fc_regress_result *out, const fc_regress *p, gsl_multifit_nlinear_workspace *w) {
  const gsl_vector *f = gsl_multifit_nlinear_residual(w);
  double sum = 0, data = 0;
  for (size_t i = 0; i < f->size; i++) {
    sum += f->data[i] * f->data[i];
    if (i < p->n) data += f->data[i] * f->data[i];
  }
  out->objective = sum;
  size_t freedom = p->n > p->p ? p->n - p->p : 1;
  out->sigma = sqrt(data / (double)freedom);
  /* with priors the residuals are already in units of their spread only if weights say so: sigma scales both
   */
  covariance_of(out, gsl_multifit_nlinear_jac(w), p->p, n_priors(p) > 0 ? 1 : out->sigma);
}

static fc_status solve(fc_regress_result *out, const fc_regress *p, gsl_multifit_nlinear_workspace *w,
                       state *st) {
  int code = GSL_FAILURE;
  bool robust = p->scale > 0;
  for (size_t i = 0; i < p->n; i++) st->root_weight[i] = sqrt(p->weight ? p->weight[i] : 1);
  for (int round = 0; round < (robust ? ROUNDS : 1); round++) {
    if (robust && reweigh(p, out->theta, st->r, st->root_weight) < 1e-3 && round > 1) break;
    code = minimise(w, st, out->theta, &out->iterations);
    for (size_t j = 0; j < p->p; j++)
      if (!isfinite(out->theta[j])) return FC_E_DOMAIN;
  }
  out->converged = code == GSL_SUCCESS;
  finish(out, p, w);
  return isfinite(out->objective) ? FC_OK : FC_E_DOMAIN;
}

fc_status fc_regress_solve(fc_regress_result *out, const fc_regress *p, const double *start) {
  gsl_quiet();
  *out = (fc_regress_result){0};
  memcpy(out->theta, start, p->p * sizeof *start);
  gsl_multifit_nlinear_parameters how = gsl_multifit_nlinear_default_parameters();
  how.fdtype = GSL_MULTIFIT_NLINEAR_CTRDIFF;
  size_t rows = p->n + n_priors(p);
  if (rows < p->p) return FC_E_DOMAIN; /* fewer residuals and priors than parameters: nothing to hold them */
  gsl_multifit_nlinear_workspace *w =
      gsl_multifit_nlinear_alloc(gsl_multifit_nlinear_trust, &how, rows, p->p);
  double *buffer = calloc(2 * p->n + 1, sizeof *buffer);
  state st = {p, buffer, buffer + p->n};
  fc_status status = w && buffer ? solve(out, p, w, &st) : FC_E_NOMEM;
  free(buffer);
  gsl_multifit_nlinear_free(w);
  return status;
}
