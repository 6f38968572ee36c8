/* SPDX-License-Identifier: Apache-2.0 */
#include "krige.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <gsl/gsl_linalg.h>
#include <gsl/gsl_multimin.h>

#include <fleetcast/base/lanes.h>

void fc_kernel_from(fc_kernel_function *out, const double *theta, size_t d) {
  *out = (fc_kernel_function){.d = d};
  for (size_t j = 0; j < d; j++) {
    out->length[j] = exp(theta[j]);
    out->rough_length[j] = exp(theta[d + j]);
  }
  out->smooth = exp(2 * theta[2 * d]);
  out->rough = exp(2 * theta[2 * d + 1]);
  out->noise = exp(2 * theta[2 * d + 2]);
  out->own = exp(2 * theta[2 * d + 3]);
  out->jitter = exp(2 * theta[2 * d + 4]);
}

/* Negative log posterior of the hyperparameters and its gradient.  Pairs i > l, in rows of whole vectors. */
typedef struct {
  const fc_krige_points *points;
  const double *centre, *sd; /* prior */
  size_t p, stride;          /* parameters; n rounded up to vectors */
  gsl_matrix *k;
  gsl_vector *a;
  float *x;              /* [d][stride] */
  float *near, *far, *e; /* [n][stride] smooth part, rough part, smooth variance times exp(-r) */
  float *w;              /* [stride] */
} objective;

/* Row i of the three parts, up to the vector that holds i. */
FC_WIDE static void fill_row(const objective *o, const float *per, const float *per_rough,
                             const float *variance, size_t i) {
  const size_t d = o->points->d;
  for (size_t l = 0; l <= i; l += FC_LANES) {
    fc_lanes square = {0}, sum = {0}, v;
    for (size_t j = 0; j < d; j++) {
      fc_lanes_load(&v, o->x + j * o->stride + l);
      v -= o->x[j * o->stride + i];
      fc_lanes_abs(&v);
      sum += v * per_rough[j];
      v *= per[j];
      square += v * v;
    }
    fc_lanes r = 3.0F * square;
    fc_lanes_sqrt(&r);
    fc_lanes e = r;
    fc_lanes_exp_minus(&e);
    e *= variance[0];
    fc_lanes_store(o->e + i * o->stride + l, &e);
    e *= 1.0F + r;
    fc_lanes_store(o->near + i * o->stride + l, &e);
    fc_lanes_exp_minus(&sum);
    sum *= variance[1];
    fc_lanes_store(o->far + i * o->stride + l, &sum);
  }
}

static double factor_of(const objective *o, size_t i) {
  return o->points->factor ? o->points->factor[i] : 1;
}

static void fill(objective *o, const fc_kernel_function *k) {
  float per[FC_LOCAL_COORDINATES], per_rough[FC_LOCAL_COORDINATES];
  float variance[2] = {(float)k->smooth, (float)k->rough};
  for (size_t j = 0; j < k->d; j++) {
    per[j] = (float)(1 / k->length[j]);
    per_rough[j] = (float)(1 / k->rough_length[j]);
  }
  for (size_t i = 0; i < o->points->n; i++) {
    fill_row(o, per, per_rough, variance, i);
    double *row = o->k->data + i * o->k->tda;
    const float *near = o->near + i * o->stride, *far = o->far + i * o->stride;
    for (size_t l = 0; l < i; l++) row[l] = (double)(near[l] + far[l]) + (far[l] == variance[1] ? k->own : 0);
    /* the six digits of a float */
    row[i] = (k->smooth + k->rough) * (1 + 1e-6) + k->own +
             fc_kernel_noise(k, o->points->fixed[i]) * factor_of(o, i);
  }
}

/* y' K^-1 y / 2 + ln |K| / 2, a = K^-1 y; false: K is not positive definite. */
static bool likelihood(objective *o, double *value) {
  size_t n = o->points->n;
  if (gsl_linalg_cholesky_decomp1(o->k)) return false;
  gsl_vector_const_view y = gsl_vector_const_view_array(o->points->y, n);
  if (gsl_linalg_cholesky_solve(o->k, &y.vector, o->a)) return false;
  double sum = 0;
  for (size_t i = 0; i < n; i++)
    sum += 0.5 * o->points->y[i] * gsl_vector_get(o->a, i) + log(gsl_matrix_get(o->k, i, i));
  *value = sum;
  return isfinite(sum);
}

typedef struct {
  fc_lanes near, far, square[FC_LOCAL_COORDINATES], sum[FC_LOCAL_COORDINATES];
} gradient_sums;

/* Adds pairs (i, l < i), weighted by o->w, which is 0 from i on. */
FC_WIDE static void add_row(gradient_sums *s, const objective *o, size_t i) {
  const size_t d = o->points->d;
  for (size_t l = 0; l <= i; l += FC_LANES) {
    fc_lanes w, we, wf, v;
    fc_lanes_load(&w, o->w + l);
    fc_lanes_load(&we, o->e + i * o->stride + l);
    fc_lanes_load(&wf, o->far + i * o->stride + l);
    fc_lanes_load(&v, o->near + i * o->stride + l);
    we *= w;
    wf *= w;
    s->near += w * v;
    s->far += wf;
    for (size_t j = 0; j < d; j++) {
      fc_lanes_load(&v, o->x + j * o->stride + l);
      v -= o->x[j * o->stride + i];
      fc_lanes_abs(&v);
      s->sum[j] += wf * v;
      s->square[j] += we * v * v;
    }
  }
}

static double total(const fc_lanes *x) {
  float each[FC_LANES];
  double sum = 0;
  fc_lanes_store(each, x);
  for (int l = 0; l < FC_LANES; l++) sum += (double)each[l];
  return sum;
}

static void gradient_of(objective *o, const fc_kernel_function *k, double *g) {
  size_t n = o->points->n, d = o->points->d;
  double trace = 0, own = 0, noise = 0, jitter = 0;
  const float same = (float)k->rough; /* the rough part of equal shapes */
  gradient_sums s;
  memset(&s, 0, sizeof s);
  for (size_t i = 0; i < n; i++) {
    const double *row = o->k->data + i * o->k->tda;
    double ai = gsl_vector_get(o->a, i);
    const float *far = o->far + i * o->stride;
    for (size_t l = 0; l < i; l++) {
      double w = row[l] - ai * gsl_vector_get(o->a, l); /* K^-1 - a a' */
      if (far[l] == same) own += w;
      o->w[l] = (float)w;
    }
    for (size_t l = i; l < o->stride; l++) o->w[l] = 0;
    add_row(&s, o, i);
    trace += row[i] - ai * ai;
    noise += (row[i] - ai * ai) * factor_of(o, i);
    jitter += (row[i] - ai * ai) * factor_of(o, i) * o->points->fixed[i];
  }
  for (size_t j = 0; j < d; j++) {
    g[j] = 3 * total(&s.square[j]) / (k->length[j] * k->length[j]);
    g[d + j] = total(&s.sum[j]) / k->rough_length[j];
  }
  g[2 * d] = 2 * total(&s.near) + trace * k->smooth;
  g[2 * d + 1] = 2 * total(&s.far) + trace * k->rough;
  g[2 * d + 2] = noise * k->noise;
  g[2 * d + 3] = (2 * own + trace) * k->own;
  g[2 * d + 4] = jitter * k->jitter;
}

static const double WALL = 1e10;

static void evaluate(const gsl_vector *theta, void *context, double *value, gsl_vector *gradient) {
  objective *o = context;
  double g[FC_KRIGE_PARAMETERS] = {0}, v = WALL, limited[FC_KRIGE_PARAMETERS] = {0};
  fc_kernel_function k;
  /* far from the prior nothing is learned and numbers overflow */
  for (size_t j = 0; j < o->p; j++) {
    double t = gsl_vector_get(theta, j), far = 6 * o->sd[j];
    limited[j] = fmin(fmax(t, o->centre[j] - far), o->centre[j] + far);
  }
  fc_kernel_from(&k, limited, o->points->d);
  fill(o, &k);
  if (likelihood(o, &v)) {
    if (gradient && gsl_linalg_cholesky_invert(o->k) == 0) gradient_of(o, &k, g);
  } else {
    v = WALL;
  }
  for (size_t j = 0; j < o->p; j++) {
    double z = (gsl_vector_get(theta, j) - o->centre[j]) / o->sd[j];
    v += 0.5 * z * z;
    g[j] += z / o->sd[j];
  }
  if (value) *value = v;
  if (gradient)
    for (size_t j = 0; j < o->p; j++) gsl_vector_set(gradient, j, g[j]);
}

static double only_value(const gsl_vector *theta, void *context) {
  double value;
  evaluate(theta, context, &value, NULL);
  return value;
}

static void only_gradient(const gsl_vector *theta, void *context, gsl_vector *gradient) {
  evaluate(theta, context, NULL, gradient);
}

static void both(const gsl_vector *theta, void *context, double *value, gsl_vector *gradient) {
  evaluate(theta, context, value, gradient);
}

/* @return the objective there */
static double descend(objective *o, gsl_multimin_fdfminimizer *m, double *theta, int steps) {
  gsl_vector_view start = gsl_vector_view_array(theta, o->p);
  gsl_multimin_function_fdf f = {only_value, only_gradient, both, o->p, o};
  if (gsl_multimin_fdfminimizer_set(m, &f, &start.vector, 0.1, 0.1)) return WALL;
  double last = m->f;
  for (int step = 0; step < steps; step++) {
    if (gsl_multimin_fdfminimizer_iterate(m)) break;
    if (step % 5 == 4) { /* the rest would not be seen in a prediction */
      if (last - m->f < 0.02) break;
      last = m->f;
    }
  }
  for (size_t j = 0; j < o->p; j++) {
    double far = 6 * o->sd[j], t = gsl_vector_get(m->x, j);
    if (isfinite(t)) theta[j] = fmin(fmax(t, o->centre[j] - far), o->centre[j] + far);
  }
  return m->f;
}

static fc_status allocate(objective *o) {
  size_t n = o->points->n, d = o->points->d;
  o->stride = (n + FC_LANES - 1) / FC_LANES * FC_LANES;
  o->k = gsl_matrix_alloc(n, n);
  o->a = gsl_vector_alloc(n);
  o->x = calloc((d + 3 * n + 1) * o->stride, sizeof *o->x);
  if (!o->k || !o->a || !o->x) return FC_E_NOMEM;
  o->near = o->x + d * o->stride;
  o->far = o->near + n * o->stride;
  o->e = o->far + n * o->stride;
  o->w = o->e + n * o->stride;
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < d; j++) o->x[j * o->stride + i] = o->points->x[i * d + j];
  return FC_OK;
}

fc_status fc_krige_learn(double *theta, const double *prior, const double *sd, const fc_krige_points *points,
                         int steps, double *value) {
  size_t p = 2 * points->d + 5;
  objective o = {.points = points, .centre = prior, .sd = sd, .p = p};
  fc_status status = allocate(&o);
  gsl_multimin_fdfminimizer *m = gsl_multimin_fdfminimizer_alloc(gsl_multimin_fdfminimizer_vector_bfgs2, p);
  if (!m) status = FC_E_NOMEM;
  if (!status) {
    double least = descend(&o, m, theta, steps);
    if (value) *value = least;
  }
  gsl_multimin_fdfminimizer_free(m);
  gsl_matrix_free(o.k);
  gsl_vector_free(o.a);
  free(o.x);
  return status;
}
