/* SPDX-License-Identifier: Apache-2.0 */
#include "krige.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "order.h"

/* Points that the lengths are learned from: more change predictions by less than their noise, and cost the
 * cube. */
enum {
  LEARN_MOST = 400,
  FIRST_MOST = 200,
  FIRST_STEPS = 80,
  SECOND_STEPS = 60,
  SCATTER_MOST = 600,
  LENT_LEAST = 200
};

/* Everything of one fit. */
typedef struct {
  const fc_krige_data *data;
  fc_arena *arena;
  fc_krige *out;
  fc_krige_points points; /* all; varying coordinates only */
  size_t own;             /* points of the family itself */
  fc_kernel_function k;
  double *weight, *error, *smoothed, *nearest; /* error etc. by point */
  fc_kernel_rows rows;                         /* of the anchors */
} fit;

/* --- inputs --- */

/* Spread of the residuals, blind to a few outliers. */
static double spread_of(const double *y, size_t n) {
  double *room = malloc((n + 1) * sizeof *room), spread = 0.1;
  if (room) {
    memcpy(room, y, n * sizeof *room);
    spread = fc_robust_sd(room, n);
  }
  free(room);
  return fmax(spread, 0.02);
}

/* Which coordinates vary. */
static void find_varying(fc_local *local, const fc_krige_data *data) {
  for (size_t j = 0; j < data->n_coordinates; j++) {
    float least = data->x[0][j], most = least;
    for (size_t i = 1; i < data->n; i++) {
      least = fminf(least, data->x[i][j]);
      most = fmaxf(most, data->x[i][j]);
    }
    if (most - least > 1e-5F) local->of[local->n_coordinates++] = (unsigned char)j;
  }
}

/* Copies those, [n][d]. */
static fc_status compress(fit *f) {
  const fc_krige_data *data = f->data;
  const fc_local *local = &f->out->local;
  size_t d = local->n_coordinates;
  float *x = fc_arena_array(f->arena, data->n * d + 1, sizeof *x);
  double *fixed = fc_arena_array(f->arena, data->n + 1, sizeof *fixed);
  if (!x || !fixed) return FC_E_NOMEM;
  for (size_t i = 0; i < data->n; i++) fixed[i] = fmin(data->fixed[i] * data->fixed[i], 1);
  for (size_t i = 0; i < data->n; i++)
    for (size_t j = 0; j < d; j++) x[i * d + j] = data->x[i][local->of[j]];
  f->points = (fc_krige_points){
      .n = data->n, .d = d, .x = x, .y = data->y, .fixed = fixed, .from = data->from, .kin = data->kin};
  f->own = data->kin ? data->n_own : data->n;
  return FC_OK;
}

/* What the fits of some 300 families of operator tables have in common (five systems of aiconfigurator
 * 095f58a, 400 points each; medians, spreads about those of the families): smooth lengths five times the
 * data's own spread, rough ones three times; the smooth part as high as the residuals' own spread, the rough
 * one an eighth of it; 2 % noise, 0.7 % that repeats of a shape share, 3 % of the launch time. */
static void prior(const fit *f, double *theta, double *sd) {
  size_t n = f->points.n, d = f->points.d;
  double spread = spread_of(f->points.y, n);
  for (size_t j = 0; j < d; j++) {
    double sum = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
      double v = (double)f->points.x[i * d + j];
      sum += v;
      square += v * v;
    }
    double m = sum / (double)n, own = sqrt(fmax(square / (double)n - m * m, 0.04));
    theta[j] = log(5 * own);
    theta[d + j] = log(3.3 * own);
    sd[j] = sd[d + j] = 0.9;
  }
  double *amplitude = theta + 2 * d, *open = sd + 2 * d;
  amplitude[0] = log(1.35 * spread);
  open[0] = 0.5;
  amplitude[1] = log(0.13 * spread);
  open[1] = 0.8;
  amplitude[2] = log(0.02);
  amplitude[3] = log(0.007);
  amplitude[4] = log(0.03);
  open[2] = open[3] = open[4] = 1;
}

/* A random order that depends on nothing but n. */
static fc_status shuffled(size_t **out, size_t n, fc_arena *arena) {
  size_t *order = fc_arena_array(arena, n, sizeof *order);
  if (!order) return FC_E_NOMEM;
  for (size_t i = 0; i < n; i++) order[i] = i;
  uint64_t state = 0x9e3779b97f4a7c15U;
  for (size_t i = n; i > 1; i--) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    size_t j = (size_t)((state >> 33) % i), t = order[i - 1];
    order[i - 1] = order[j];
    order[j] = t;
  }
  *out = order;
  return FC_OK;
}

/* Starts, moved from the prior's centre: as it is; noise of launches, not of time; shapes that tell less of
 * one another; rougher.  Each is tried for a few steps, the most probable goes on.  A quarter of the families
 * end elsewhere, and better, than from the centre alone. */
static fc_status learn_first(double *theta, const double *centre, const double *sd,
                             const fc_krige_points *points) {
  enum { STARTS = 4, TRY_STEPS = 20 };
  size_t d = points->d, p = 2 * d + 5;
  double least = HUGE_VAL;
  for (int start = 0; start < STARTS; start++) {
    double t[FC_KRIGE_PARAMETERS], value = HUGE_VAL, *amplitude = t + 2 * d;
    memcpy(t, centre, p * sizeof *t);
    if (start == 1) {
      amplitude[2] -= 0.7;
      amplitude[4] += 1.6;
    }
    for (size_t j = 0; start == 2 && j < 2 * d; j++) t[j] -= 0.7;
    if (start == 3) {
      amplitude[0] -= 0.7;
      amplitude[1] += 1.4;
    }
    fc_status status = fc_krige_learn(t, centre, sd, points, TRY_STEPS, &value);
    if (status) return status;
    if (value < least) {
      least = value;
      memcpy(theta, t, p * sizeof *t);
    }
  }
  return fc_krige_learn(theta, centre, sd, points, FIRST_STEPS, NULL);
}

/* Once with equal noise, then with what looks like outliers discounted: else a few of them pass for noise of
 * all. */
static fc_status learn_twice(fit *f, const fc_krige_points *some, double *weight, double *loo,
                             double *factor) {
  double theta[FC_KRIGE_PARAMETERS], centre[FC_KRIGE_PARAMETERS] = {0}, sd[FC_KRIGE_PARAMETERS] = {0};
  prior(f, centre, sd);
  memcpy(theta, centre, sizeof theta);
  fc_krige_points first = *some;
  if (first.n > FIRST_MOST) first.n = FIRST_MOST;
  fc_status status = learn_first(theta, centre, sd, &first);
  fc_kernel_from(&f->k, theta, some->d);
  if (!status) status = fc_krige_solve(weight, loo, factor, &f->k, some, NULL, some->n);
  if (status) return status == FC_E_DOMAIN ? FC_OK : status;
  fc_krige_points weighted = *some;
  weighted.factor = factor;
  status = fc_krige_learn(theta, centre, sd, &weighted, SECOND_STEPS, NULL);
  fc_kernel_from(&f->k, theta, some->d);
  return status;
}

static fc_status learn(fit *f, const size_t *order) {
  size_t n = f->points.n < LEARN_MOST ? f->points.n : LEARN_MOST, d = f->points.d;
  float *x = malloc((n * d + 1) * sizeof *x);
  double *y = malloc((5 * n + 1) * sizeof *y), *fixed = y ? y + n : NULL;
  fc_status status = x && y ? FC_OK : FC_E_NOMEM;
  if (!status) {
    for (size_t i = 0; i < n; i++) {
      memcpy(x + i * d, f->points.x + order[i] * d, d * sizeof *x);
      y[i] = f->points.y[order[i]];
      fixed[i] = f->points.fixed[order[i]];
    }
    fc_krige_points some = {.n = n, .d = d, .x = x, .y = y, .fixed = fixed};
    status = learn_twice(f, &some, y + 2 * n, y + 3 * n, y + 4 * n);
  }
  free(x);
  free(y);
  return status;
}

/* --- anchors --- */

/* All points, in order, or the first of a random order whose shapes differ. */
static fc_status choose(fit *f, const size_t *order, size_t most) {
  size_t n = f->points.n, d = f->points.d, m = 0;
  size_t *anchor = fc_arena_array(f->arena, n < most ? n : most, sizeof *anchor);
  if (!anchor) return FC_E_NOMEM;
  f->out->anchor = anchor;
  if (n <= most) {
    for (m = 0; m < n; m++) anchor[m] = m;
    f->out->local.n = n;
    return FC_OK;
  }
  for (size_t i = 0; i < n && m < most; i++) {
    bool seen = false;
    for (size_t a = 0; a < m && !seen; a++)
      seen = memcmp(f->points.x + anchor[a] * d, f->points.x + order[i] * d, d * sizeof(float)) == 0;
    if (!seen) anchor[m++] = order[i];
  }
  f->out->local.n = m;
  return FC_OK;
}

/* All own points, and of those lent as many, evenly, as half the own ones, or LENT_LEAST: more answer later
 * and hardly better. */
static fc_status choose_joint(fit *f) {
  size_t lent = f->points.n - f->own, most = f->own / 2 > LENT_LEAST ? f->own / 2 : (size_t)LENT_LEAST;
  size_t room = most < lent ? most : lent, m = 0;
  size_t *anchor = fc_arena_array(f->arena, f->own + room + 1, sizeof *anchor);
  if (!anchor) return FC_E_NOMEM;
  for (size_t i = 0; i < f->own; i++) anchor[m++] = i;
  for (size_t i = 0; i < room; i++) anchor[m++] = f->own + i * lent / room;
  f->out->anchor = anchor;
  f->out->local.n = m;
  return FC_OK;
}

/* --- intervals --- */

/* Of a point among the anchors but itself: mean error weighted by similarity, and similarity of the nearest.
 */
static void look_around(fit *f, size_t i, double *smoothed, double *nearest) {
  double sum = 0, weight = 0, most = 0, total = f->k.smooth + f->k.rough + f->k.own;
  fc_kernel_rows_at(&f->rows, f->points.x + i * f->points.d);
  for (size_t a = 0; a < f->out->local.n; a++) {
    size_t at = f->out->anchor[a];
    if (at == i) continue;
    double near = (double)f->rows.row[a] / total * fc_krige_kin(&f->points, i, at);
    sum += near * f->error[at];
    weight += near;
    most = fmax(most, near);
  }
  *smoothed = weight > 1e-6 ? sum / weight : 0;
  *nearest = most;
}

/* Split-conformal quantile: of n scores the ceil((n+1) 0.9)-th. @source Vovk, Gammerman, Shafer 2005 */
static double conformal(double *score, size_t n) {
  size_t rank = (size_t)ceil(((double)n + 1) * 0.9);
  if (rank > n) return 1.2 * fc_select(score, n, n - 1);
  return fc_select(score, n, rank - 1);
}

static fc_status calibrate(fit *f, const size_t *order) {
  fc_local *local = &f->out->local;
  size_t n = f->own, some = n < SCATTER_MOST ? n : SCATTER_MOST;
  double *score = fc_arena_array(f->arena, some + 1, sizeof *score);
  double *sorted = fc_arena_array(f->arena, n + 1, sizeof *sorted);
  if (!score || !sorted || fc_kernel_rows_init(&f->rows, &f->k, &f->points, f->out->anchor, local->n))
    return FC_E_NOMEM;
  memcpy(sorted, f->error, n * sizeof *sorted);
  local->floor = (float)fmax(0.3 * fc_select(sorted, n, n / 2), 1e-4);
  for (size_t i = 0; i < some; i++) {
    size_t at = order[i];
    look_around(f, at, &f->smoothed[i], &f->nearest[i]);
    score[i] = f->error[at] / fmax((double)local->floor, f->smoothed[i]);
  }
  local->scale = (float)fmax(conformal(score, some), 0.5);
  memcpy(score, f->nearest, some * sizeof *score);
  local->support = (float)fmax(fc_select(score, some, some / 5), 1e-3);
  for (size_t i = 0; i < n; i++) {
    double smoothed, nearest;
    look_around(f, i, &smoothed, &nearest);
    f->out->half_width[i] = (double)local->scale * fmax((double)local->floor, smoothed);
  }
  fc_kernel_rows_fini(&f->rows);
  return FC_OK;
}

static fc_status pack(fit *f) {
  fc_local *local = &f->out->local;
  const fc_krige_data *data = f->data;
  for (size_t j = 0; j < local->n_coordinates; j++) {
    local->length[j] = (float)f->k.length[j];
    local->rough_length[j] = (float)f->k.rough_length[j];
  }
  local->smooth = (float)sqrt(f->k.smooth);
  local->rough = (float)sqrt(f->k.rough);
  local->own = (float)sqrt(f->k.own);
  size_t lanes = fc_local_lane_floats(local->n);
  float *x = fc_arena_array(f->arena, fc_local_x_floats(local->n, local->n_coordinates) + 1, sizeof *x);
  float *weight = fc_arena_array(f->arena, lanes, sizeof *weight);
  float *scatter = fc_arena_array(f->arena, lanes, sizeof *scatter);
  if (!x || !weight || !scatter) return FC_E_NOMEM;
  for (size_t a = 0; a < local->n; a++) {
    size_t at = f->out->anchor[a];
    double kin = data->kin ? data->kin[at] : 1;
    fc_local_put(local, x, weight, scatter, a, data->x[at], kin * f->weight[a], f->error[at]);
  }
  local->x = x;
  local->weight = weight;
  local->scatter = scatter;
  return FC_OK;
}

static fc_status solve(fit *f) {
  size_t n = f->points.n;
  double *factor = fc_arena_array(f->arena, n, sizeof *factor);
  f->weight = fc_arena_array(f->arena, f->out->local.n, sizeof *f->weight);
  f->error = fc_arena_array(f->arena, n, sizeof *f->error);
  f->smoothed = fc_arena_array(f->arena, n, sizeof *f->smoothed);
  f->nearest = fc_arena_array(f->arena, n, sizeof *f->nearest);
  if (!factor || !f->weight || !f->error || !f->smoothed || !f->nearest) return FC_E_NOMEM;
  fc_status status = fc_krige_solve(f->weight, f->out->leave_one_out, factor, &f->k, &f->points,
                                    f->out->anchor, f->out->local.n);
  for (size_t i = 0; i < n && !status; i++) f->error[i] = fabs(f->points.y[i] - f->out->leave_one_out[i]);
  return status;
}

static fc_status run(fit *f, size_t max_anchors) {
  size_t *order;
  find_varying(&f->out->local, f->data);
  fc_status status = compress(f);
  if (status || f->points.d == 0) return status;
  status = shuffled(&order, f->points.n, f->arena);
  if (!status) status = learn(f, order);
  if (!status)
    status = choose(f, order, max_anchors < FC_LOCAL_ANCHORS_MAX ? max_anchors : FC_LOCAL_ANCHORS_MAX);
  if (!status) status = solve(f);
  if (!status) status = calibrate(f, order);
  if (!status) status = pack(f);
  f->out->noise = sqrt(f->k.noise);
  fc_kernel_function *learned = fc_arena_alloc(f->arena, sizeof *learned);
  if (!learned) return FC_E_NOMEM;
  *learned = f->k;
  f->out->learned = learned;
  return status;
}

static fc_status join(fit *f, const fc_krige *alone) {
  size_t *order;
  f->k = *alone->learned;
  memcpy(f->out->local.of, alone->local.of, sizeof alone->local.of);
  f->out->local.n_coordinates = alone->local.n_coordinates;
  fc_status status = compress(f);
  if (!status) status = shuffled(&order, f->own, f->arena);
  if (!status) status = choose_joint(f);
  if (!status) status = solve(f);
  if (!status) status = calibrate(f, order);
  if (!status) status = pack(f);
  f->out->noise = alone->noise;
  f->out->learned = alone->learned;
  return status;
}

static fc_status results(fc_krige *out, size_t n, fc_arena *arena) {
  *out = (fc_krige){0};
  out->leave_one_out = fc_arena_array(arena, n + 1, sizeof *out->leave_one_out);
  out->half_width = fc_arena_array(arena, n + 1, sizeof *out->half_width);
  return out->leave_one_out && out->half_width ? FC_OK : FC_E_NOMEM;
}

fc_status fc_krige_fit(fc_krige *out, const fc_krige_data *data, size_t max_anchors, fc_arena *arena) {
  fc_status status = results(out, data->n, arena);
  if (status || data->n < FC_KRIGE_LEAST || max_anchors == 0) return status;
  fit f = {.data = data, .arena = arena, .out = out};
  status = run(&f, max_anchors);
  if (status == FC_E_DOMAIN) { /* singular beyond repair: the form answers alone */
    out->local = (fc_local){0};
    status = FC_OK;
  }
  return status;
}

fc_status fc_krige_join(fc_krige *out, const fc_krige_data *data, const fc_krige *alone, fc_arena *arena) {
  fc_status status = results(out, data->n, arena);
  fit f = {.data = data, .arena = arena, .out = out};
  return status ? status : join(&f, alone);
}
