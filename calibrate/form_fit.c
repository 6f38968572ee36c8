/* SPDX-License-Identifier: Apache-2.0 */
#include "form_fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/calibrate/regress.h>
#include <fleetcast/cost/form.h>

#include "order.h"

/* Points that the coefficients are fitted to: more move them by less than their own uncertainty. */
enum { FIT_MOST = 300, STARTS = 4, FIRST_STEPS = 12, LAST_STEPS = 60 };

/* --- which coefficients a form has, and what is known of them beforehand --- */

typedef enum { FROM_VALUE, FROM_PEAK, FROM_MEMORY, FROM_SCALEUP, FROM_SCALEOUT } origin;

/* ln(coefficient) ~ normal(ln(value * datasheet figure), sd): weak, so that data speaks where there is any.
 * Fixed times and efficiencies: fits of InferSim's and aiconfigurator's H800 and H100 tables, design notes
 * kernels.md section 6 (t0 3.7 to 6 us, te 0.64 us, c 0.1 to 0.2, 75 to 90 % of the datasheet's rates). */
typedef struct {
  size_t offset; /* in fc_coef */
  double value, sd;
  origin from;
  bool above_one; /* parameter is ln(coefficient - 1) */
} coefficient;

#define AT(member) offsetof(fc_coef, member)
static const coefficient gemm_coefficients[] = {
    {AT(t0_s), 4e-6, 1, FROM_VALUE, false},           {AT(flop_per_s), 0.75, 0.5, FROM_PEAK, false},
    {AT(bytes_per_s), 0.8, 0.5, FROM_MEMORY, false},  {AT(tile_s), 0.6e-6, 1, FROM_VALUE, false},
    {AT(tile_traffic), 0.15, 1.5, FROM_VALUE, false}, {AT(sharpness), 1.5, 0.7, FROM_VALUE, true},
};
static const coefficient moe_coefficients[] = {
    {AT(t0_s), 30e-6, 1.5, FROM_VALUE, false},        {AT(flop_per_s), 0.6, 0.6, FROM_PEAK, false},
    {AT(bytes_per_s), 0.7, 0.6, FROM_MEMORY, false},  {AT(tile_s), 1e-6, 1.2, FROM_VALUE, false},
    {AT(tile_traffic), 0.15, 1.5, FROM_VALUE, false}, {AT(sharpness), 1.5, 0.7, FROM_VALUE, true},
};
static const coefficient attention_coefficients[] = {
    {AT(t0_s), 6e-6, 1, FROM_VALUE, false},          {AT(flop_per_s), 0.55, 0.6, FROM_PEAK, false},
    {AT(bytes_per_s), 0.7, 0.6, FROM_MEMORY, false}, {AT(half_length), 150, 1.5, FROM_VALUE, false},
    {AT(sharpness), 1.5, 0.7, FROM_VALUE, true},
};
static const coefficient memory_coefficients[] = {
    {AT(t0_s), 3e-6, 1, FROM_VALUE, false},
    {AT(bytes_per_s), 0.8, 0.5, FROM_MEMORY, false},
};
/* hop, link and network latencies: NCCL on NVSwitch and DeepEP, ../README tables of docs/model.md#collectives
 */
static const coefficient collective_coefficients[] = {
    {AT(t0_s), 10e-6, 1, FROM_VALUE, false},
    {AT(bytes_per_s), 0.7, 0.6, FROM_SCALEUP, false},
    {AT(hop_s), 2e-6, 1, FROM_VALUE, false},
    {AT(net_t0_s), 25e-6, 1, FROM_VALUE, false},
    {AT(net_bytes_per_s), 0.8, 0.6, FROM_SCALEOUT, false},
};

typedef struct {
  size_t p;
  const coefficient *c;
} coefficients;

static coefficients of_form(fc_form form) {
#define TABLE(array)                                                                                         \
  (coefficients) {                                                                                           \
    sizeof(array) / sizeof *(array), array                                                                   \
  }
  switch (form) {
  case FC_FORM_GEMM: return TABLE(gemm_coefficients);
  case FC_FORM_MOE: return TABLE(moe_coefficients);
  case FC_FORM_ATTENTION: return TABLE(attention_coefficients);
  case FC_FORM_COLLECTIVE: return TABLE(collective_coefficients);
  case FC_FORM_MEMORY: break;
  }
  return TABLE(memory_coefficients);
}

static fc_form form_of(fc_kernel kernel) {
  static const fc_form form[] = {
#define FORM(name, text, form) FC_FORM_##form,
      FC_KERNEL_MAP(FORM)
#undef FORM
  };
  return form[kernel];
}

/* --- the regression --- */

typedef struct {
  fc_form form;
  coefficients of;
  size_t n;
  const fc_geometry *g;
  const double *y;
  double most[FC_REGRESS_MAX]; /* what the datasheet allows: no rate above it */
} problem;

static void coef_from(fc_coef *coef, const problem *pr, const double *theta) {
  *coef = (fc_coef){0};
  for (size_t j = 0; j < pr->of.p; j++) {
    double v = fmin(exp(fmin(theta[j], 80)), pr->most[j]);
    if (pr->of.c[j].above_one) v += 1;
    memcpy((char *)coef + pr->of.c[j].offset, &v, sizeof v);
  }
}

static void residuals(const void *context, const double *theta, double *r) {
  const problem *pr = context;
  fc_coef coef;
  coef_from(&coef, pr, theta);
  for (size_t i = 0; i < pr->n; i++) r[i] = log(fc_form_s(pr->form, &coef, &pr->g[i])) - pr->y[i];
}

static double datasheet(origin from, const fc_device *device, fc_dtype dtype) {
  double peak = device->peak_flop_per_s[dtype];
  if (!(peak > 0))
    peak = device->peak_flop_per_s[FC_DTYPE_BF16]; /* computed in the next format that it has */
  if (!(peak > 0)) peak = device->peak_flop_per_s[FC_DTYPE_FP32];
  switch (from) {
  case FROM_PEAK: return peak;
  case FROM_MEMORY: return device->memory_bytes_per_s;
  case FROM_SCALEUP: return device->scaleup_bytes_per_s / 2; /* one direction */
  case FROM_SCALEOUT: return device->scaleout_bytes_per_s;
  case FROM_VALUE: break;
  }
  return 1;
}

static void priors(problem *pr, const fc_device *device, fc_dtype dtype, double *prior, double *sd) {
  /* what a device does not have is not used: any figure will do */
  static const double none[] = {1, 1e14, 1e12, 1e11, 1e10};
  for (size_t j = 0; j < pr->of.p; j++) {
    const coefficient *c = &pr->of.c[j];
    double figure = datasheet(c->from, device, dtype);
    prior[j] = log(c->value * (figure > 0 ? figure : none[c->from]));
    pr->most[j] = figure > 0 && c->from != FROM_VALUE ? figure : HUGE_VAL;
    sd[j] = c->sd;
  }
}

/* What the data itself suggests: the best rates seen, the least time. */
static void data_start(const problem *pr, const double *prior, double rate_quantile, double *room,
                       double *theta) {
  memcpy(theta, prior, pr->of.p * sizeof *theta);
  for (size_t j = 0; j < pr->of.p; j++) {
    size_t n = 0;
    for (size_t i = 0; i < pr->n; i++) {
      const fc_geometry *g = &pr->g[i];
      double t = exp(pr->y[i]), work = 0;
      switch (pr->of.c[j].from) {
      case FROM_PEAK: work = g->flop; break;
      case FROM_MEMORY: work = g->bytes; break;
      case FROM_SCALEUP: work = g->ranks <= g->domain ? g->wire_in : 0; break;
      case FROM_SCALEOUT: work = g->ranks > g->domain ? g->wire_net : 0; break;
      case FROM_VALUE: break;
      }
      if (work > 0) room[n++] = log(work / t);
    }
    if (n) theta[j] = fc_select(room, n, (size_t)(rate_quantile * (double)(n - 1)));
  }
  memcpy(room, pr->y, pr->n * sizeof *room);
  theta[0] = fc_select(room, pr->n, pr->n / 50) - 0.2;
}

/* The best of several starts, first with few steps, then to the end. */
static fc_status best_of(fc_regress_result *best, fc_regress *regress, const problem *pr, double *room) {
  double theta[FC_REGRESS_MAX];
  bool found = false;
  regress->max_iterations = FIRST_STEPS;
  for (int start = 0; start < STARTS; start++) {
    static const double quantile[STARTS] = {0, 0.9, 0.99, 0.6};
    memcpy(theta, regress->prior, pr->of.p * sizeof *theta);
    if (start) data_start(pr, regress->prior, quantile[start], room, theta);
    fc_regress_result r;
    fc_status status = fc_regress_solve(&r, regress, theta);
    if (status == FC_E_NOMEM) return status;
    if (status || (found && !(r.objective < best->objective))) continue;
    *best = r;
    found = true;
  }
  if (!found) return FC_E_DOMAIN;
  regress->max_iterations = LAST_STEPS;
  memcpy(theta, best->theta, sizeof theta);
  return fc_regress_solve(best, regress, theta);
}

/* --- results --- */

/* d ln(coefficient) / d parameter. */
static double slope(const coefficient *c, double theta) {
  return c->above_one ? exp(theta) / (1 + exp(theta)) : 1;
}

static fc_status keep_covariance(fc_kernel_fit *fit, const problem *pr, const fc_regress_result *r,
                                 fc_arena *arena) {
  size_t p = pr->of.p, order[FC_REGRESS_MAX];
  for (size_t j = 0; j < p; j++) order[j] = j;
  for (size_t i = 1; i < p; i++) /* in the order of fc_coef */
    for (size_t j = i; j > 0 && pr->of.c[order[j]].offset < pr->of.c[order[j - 1]].offset; j--) {
      size_t t = order[j];
      order[j] = order[j - 1];
      order[j - 1] = t;
    }
  double *lower = fc_arena_array(arena, p * (p + 1) / 2, sizeof *lower);
  if (!lower) return FC_E_NOMEM;
  size_t at = 0;
  for (size_t i = 0; i < p; i++)
    for (size_t j = 0; j <= i; j++) {
      size_t a = order[i], b = order[j];
      lower[at++] =
          r->covariance[a * p + b] * slope(&pr->of.c[a], r->theta[a]) * slope(&pr->of.c[b], r->theta[b]);
    }
  fit->covariance = lower;
  fit->n_covariance = at;
  return FC_OK;
}

/* Uncertainty of the surface itself, common to neighbouring shapes: root mean square of g' V g by finite
 * differences. */
static double systematic(const problem *pr, const fc_regress_result *r, double *base, double *moved) {
  size_t p = pr->of.p, n = pr->n < 100 ? pr->n : 100;
  problem some = *pr;
  some.n = n;
  double *jac = calloc(n * p + 1, sizeof *jac), sum = 0;
  if (!jac) return 0.05;
  residuals(&some, r->theta, base);
  for (size_t j = 0; j < p; j++) {
    double theta[FC_REGRESS_MAX];
    memcpy(theta, r->theta, sizeof theta);
    theta[j] += 1e-4;
    residuals(&some, theta, moved);
    for (size_t i = 0; i < n; i++) jac[i * p + j] = (moved[i] - base[i]) / 1e-4;
  }
  for (size_t i = 0; i < n; i++)
    for (size_t a = 0; a < p; a++)
      for (size_t b = 0; b < p; b++) sum += jac[i * p + a] * r->covariance[a * p + b] * jac[i * p + b];
  free(jac);
  return n ? sqrt(fmax(sum, 0) / (double)n) : 0;
}

static void spreads(fc_kernel_fit *fit, const problem *pr, const double *r, double *room) {
  memcpy(room, r, pr->n * sizeof *room);
  fit->spread_shape = fc_robust_sd(room, pr->n);
  for (int regime = 0; regime < FC_REGIME_COUNT; regime++) {
    size_t n = 0;
    for (size_t i = 0; i < pr->n; i++)
      if (fc_form_regime(pr->form, &fit->coef, &pr->g[i]) == (fc_regime)regime) room[n++] = r[i];
    /* too few of them say little: those of all shapes stand in */
    fit->spread_regime[regime] = n >= 10 ? fc_robust_sd(room, n) : fit->spread_shape;
  }
}

static fc_status fit_with(fc_kernel_fit *fit, problem *pr, const fc_form_points *points,
                          const fc_device *device, double *room, fc_arena *arena) {
  double prior[FC_REGRESS_MAX], sd[FC_REGRESS_MAX], *r = room + pr->n, *weight = r + pr->n;
  priors(pr, device, fit->dtype, prior, sd);
  double noise = 0.1;
  fc_regress regress = {.n = pr->n, .p = pr->of.p, .residuals = residuals, .context = pr, .weight = weight};
  regress.tolerance = 1e-4; /* of logarithms: far below what the data knows */
  regress.prior = prior;
  regress.prior_sd = sd;
  fc_regress_result best = {0};
  for (int round = 0; round < 2; round++) { /* with the noise that the first one leaves */
    for (size_t i = 0; i < pr->n; i++) {
      double own = points->log_sd ? points->log_sd[i] : 0;
      weight[i] = 1 / (noise * noise + own * own);
    }
    regress.scale = noise; /* of unweighted residuals: soft-L1 begins at one sd */
    fc_status status = best_of(&best, &regress, pr, room);
    if (status) return status;
    residuals(pr, best.theta, r);
    memcpy(room, r, pr->n * sizeof *room);
    noise = fmin(fmax(fc_robust_sd(room, pr->n), 0.01), 0.15); /* few points far from the prior stay data */
  }
  coef_from(&fit->coef, pr, best.theta);
  spreads(fit, pr, r, room);
  fit->spread_systematic = systematic(pr, &best, r, room);
  return keep_covariance(fit, pr, &best, arena);
}

fc_status fc_form_fit(fc_kernel_fit *fit, const fc_form_points *points, const fc_device *device,
                      fc_arena *arena) {
  fit->form = form_of(fit->kernel);
  size_t n = points->n < FIT_MOST ? points->n : FIT_MOST;
  fc_geometry *g = malloc((n + 1) * sizeof *g);
  double *y = malloc((4 * n + 4) * sizeof *y);
  fc_status status = g && y ? FC_OK : FC_E_NOMEM;
  if (!status) {
    for (size_t i = 0; i < n; i++) { /* evenly through the points */
      size_t at = i * points->n / n;
      g[i] = points->g[at];
      y[i] = points->y[at];
    }
    problem pr = {.form = fit->form, .of = of_form(fit->form), .n = n, .g = g, .y = y};
    fc_form_points some = {n, g, y, points->n == n ? points->log_sd : NULL};
    status = fit_with(fit, &pr, &some, device, y + n, arena);
  }
  free(g);
  free(y);
  return status;
}
