/* SPDX-License-Identifier: Apache-2.0 */
#include "krige.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <gsl/gsl_blas.h>
#include <gsl/gsl_linalg.h>

/* Degrees of freedom of the noise: heavy tails, yet a mean and a variance. */
static const double NU = 4;
enum { ROUNDS = 4 };

/* Student-t noise as a scale mixture: expected precision given the residual, EM. @source Lange, Little,
 * Taylor 1989 */
static void reweigh(double *factor, const double *residual, const fc_kernel_function *k,
                    const fc_krige_points *points) {
  for (size_t i = 0; i < points->n; i++) {
    double z2 = residual[i] * residual[i] / fc_kernel_noise(k, points->fixed[i]);
    factor[i] = fmax((NU + z2) / (NU + 1), NU / (NU + 1));
  }
}

static double noise_of(const fc_kernel_function *k, const fc_krige_points *points, const double *factor,
                       size_t i) {
  return fc_kernel_noise(k, points->fixed[i]) * factor[i];
}

/* --- every point an anchor --- */

typedef struct {
  gsl_matrix *k, *work;
  gsl_vector *a;
  double *residual;
  fc_kernel_rows rows;
} exact_room;

static fc_status exact(double *weight, double *loo, double *factor, const fc_kernel_function *k,
                       const fc_krige_points *points, exact_room *room) {
  size_t n = points->n;
  for (size_t i = 0; i < n; i++) {
    fc_kernel_rows_at(&room->rows, points->x + i * points->d);
    for (size_t l = 0; l <= i; l++)
      gsl_matrix_set(room->k, i, l, (double)room->rows.row[l] * fc_krige_kin(points, i, l));
  }
  gsl_vector_const_view y = gsl_vector_const_view_array(points->y, n);
  for (int round = 0; round < ROUNDS; round++) {
    gsl_matrix_memcpy(room->work, room->k);
    for (size_t i = 0; i < n; i++)
      gsl_matrix_set(room->work, i, i,
                     gsl_matrix_get(room->k, i, i) + noise_of(k, points, factor, i) +
                         1e-6 * (k->smooth + k->rough + k->own));
    if (gsl_linalg_cholesky_decomp1(room->work) || gsl_linalg_cholesky_solve(room->work, &y.vector, room->a))
      return FC_E_DOMAIN;
    if (round == ROUNDS - 1) break;
    for (size_t i = 0; i < n; i++)
      room->residual[i] = noise_of(k, points, factor, i) * gsl_vector_get(room->a, i);
    reweigh(factor, room->residual, k, points);
  }
  if (gsl_linalg_cholesky_invert(room->work)) return FC_E_DOMAIN;
  for (size_t i = 0; i < n; i++) {
    weight[i] = gsl_vector_get(room->a, i);
    loo[i] = points->y[i] - weight[i] / gsl_matrix_get(room->work, i, i);
  }
  return FC_OK;
}

static fc_status solve_exact(double *weight, double *loo, double *factor, const fc_kernel_function *k,
                             const fc_krige_points *points) {
  size_t n = points->n;
  exact_room room = {.k = gsl_matrix_alloc(n, n),
                     .work = gsl_matrix_alloc(n, n),
                     .a = gsl_vector_alloc(n),
                     .residual = calloc(n + 1, sizeof(double))};
  fc_status status = fc_kernel_rows_init(&room.rows, k, points, NULL, n);
  if (!room.k || !room.work || !room.a || !room.residual) status = FC_E_NOMEM;
  if (!status) status = exact(weight, loo, factor, k, points, &room);
  fc_kernel_rows_fini(&room.rows);
  gsl_matrix_free(room.k);
  gsl_matrix_free(room.work);
  gsl_vector_free(room.a);
  free(room.residual);
  return status;
}

/* --- projection on the anchors --- */

typedef struct {
  gsl_matrix *kmm, *kmn, *scaled, *b; /* m x m, m x n, m x n, m x m */
  gsl_vector *a;
  double *residual;
  fc_kernel_rows rows;
} projected_room;

static void fill(projected_room *room, const fc_krige_points *points, const size_t *anchor, size_t m) {
  for (size_t i = 0; i < m; i++) {
    fc_kernel_rows_at(&room->rows, points->x + anchor[i] * points->d);
    for (size_t l = 0; l < m; l++)
      gsl_matrix_set(room->kmm, i, l, (double)room->rows.row[l] * fc_krige_kin(points, anchor[i], anchor[l]));
  }
  for (size_t l = 0; l < points->n; l++) {
    fc_kernel_rows_at(&room->rows, points->x + l * points->d);
    for (size_t i = 0; i < m; i++)
      gsl_matrix_set(room->kmn, i, l, (double)room->rows.row[i] * fc_krige_kin(points, anchor[i], l));
  }
}

/* B = K_mm + K_mn N^-1 K_nm, factored; a = B^-1 K_mn N^-1 y. */
static bool normal_equations(projected_room *room, const double *factor, const fc_kernel_function *k,
                             const fc_krige_points *points) {
  size_t n = points->n, m = room->kmm->size1;
  gsl_matrix_memcpy(room->b, room->kmm);
  for (size_t i = 0; i < m; i++) {
    gsl_matrix_set(room->b, i, i, gsl_matrix_get(room->b, i, i) + 1e-6 * (k->smooth + k->rough + k->own));
    const double *from = room->kmn->data + i * room->kmn->tda;
    double *to = room->scaled->data + i * room->scaled->tda, sum = 0;
    for (size_t l = 0; l < n; l++) {
      double root = 1 / sqrt(noise_of(k, points, factor, l));
      to[l] = from[l] * root;
      sum += to[l] * root * points->y[l];
    }
    gsl_vector_set(room->a, i, sum);
  }
  gsl_blas_dsyrk(CblasLower, CblasNoTrans, 1, room->scaled, 1, room->b);
  return gsl_linalg_cholesky_decomp1(room->b) == 0 && gsl_linalg_cholesky_svx(room->b, room->a) == 0;
}

static void residuals(projected_room *room, const fc_krige_points *points) {
  for (size_t l = 0; l < points->n; l++) room->residual[l] = points->y[l];
  for (size_t i = 0; i < room->kmm->size1; i++) {
    double a = gsl_vector_get(room->a, i);
    const double *row = room->kmn->data + i * room->kmn->tda;
    for (size_t l = 0; l < points->n; l++) room->residual[l] -= a * row[l];
  }
}

static fc_status projected(double *weight, double *loo, double *factor, const fc_kernel_function *k,
                           const fc_krige_points *points, projected_room *room) {
  size_t m = room->kmm->size1;
  for (int round = 0; round < ROUNDS; round++) {
    if (!normal_equations(room, factor, k, points)) return FC_E_DOMAIN;
    residuals(room, points);
    if (round < ROUNDS - 1) reweigh(factor, room->residual, k, points);
  }
  /* leverage of a point: its column of L^-1 K_mn N^-1/2, squared */
  gsl_blas_dtrsm(CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, 1, room->b, room->scaled);
  for (size_t l = 0; l < points->n; l++) {
    double leverage = 0;
    for (size_t i = 0; i < m; i++) {
      double v = gsl_matrix_get(room->scaled, i, l);
      leverage += v * v;
    }
    loo[l] = points->y[l] - room->residual[l] / fmax(1 - leverage, 1e-4);
  }
  for (size_t i = 0; i < m; i++) weight[i] = gsl_vector_get(room->a, i);
  return FC_OK;
}

static fc_status solve_projected(double *weight, double *loo, double *factor, const fc_kernel_function *k,
                                 const fc_krige_points *points, const size_t *anchor, size_t m) {
  size_t n = points->n;
  projected_room room = {.kmm = gsl_matrix_alloc(m, m),
                         .kmn = gsl_matrix_alloc(m, n),
                         .scaled = gsl_matrix_alloc(m, n),
                         .b = gsl_matrix_alloc(m, m),
                         .a = gsl_vector_alloc(m),
                         .residual = calloc(n + 1, sizeof(double))};
  fc_status status = fc_kernel_rows_init(&room.rows, k, points, anchor, m);
  if (!room.kmm || !room.kmn || !room.scaled || !room.b || !room.a || !room.residual) status = FC_E_NOMEM;
  if (!status) {
    fill(&room, points, anchor, m);
    status = projected(weight, loo, factor, k, points, &room);
  }
  fc_kernel_rows_fini(&room.rows);
  gsl_matrix_free(room.kmm);
  gsl_matrix_free(room.kmn);
  gsl_matrix_free(room.scaled);
  gsl_matrix_free(room.b);
  gsl_vector_free(room.a);
  free(room.residual);
  return status;
}

fc_status fc_krige_solve(double *weight, double *loo, double *factor, const fc_kernel_function *k,
                         const fc_krige_points *points, const size_t *anchor, size_t m) {
  for (size_t i = 0; i < points->n; i++) factor[i] = 1;
  if (m == points->n) return solve_exact(weight, loo, factor, k, points);
  return solve_projected(weight, loo, factor, k, points, anchor, m);
}
