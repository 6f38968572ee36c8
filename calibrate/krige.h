/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CALIBRATE_INTERNAL_KRIGE_H
#define FC_CALIBRATE_INTERNAL_KRIGE_H

#include <stdbool.h>
#include <stddef.h>

#include <fleetcast/calibrate/krige.h>

/** Hyperparameters, all logarithms, in one vector: length[d], rough_length[d], smooth, rough, noise, own,
 * jitter. */
enum { FC_KRIGE_PARAMETERS = 2 * FC_LOCAL_COORDINATES + 5 };

typedef struct fc_kernel_function {
  size_t d; /* coordinates that vary */
  double length[FC_LOCAL_COORDINATES], rough_length[FC_LOCAL_COORDINATES];
  double smooth, rough; /* variances */
  double noise;         /* variance of one measurement */
  double jitter; /* more of it, times the squared share of fixed time: launches jitter by so many us, not % */
  double own;    /* variance of what repeats of one shape share and no other shape has */
} fc_kernel_function;

void fc_kernel_from(fc_kernel_function *out, const double *theta, size_t d);
/** Shapes with only the coordinates that vary: [n][d]. */
typedef struct fc_krige_points {
  size_t n, d;
  const float *x;
  const double *y;
  const double *fixed;       /* share of the fixed time, squared */
  const double *factor;      /* how much noisier than usual each point is held to be; NULL: 1 */
  const unsigned char *from; /* as in fc_krige_data; NULL: all own */
  const double *kin;
} fc_krige_points;

/** Share of the kernel that points i and l have in common. */
static inline double fc_krige_kin(const fc_krige_points *points, size_t i, size_t l) {
  if (!points->kin || points->from[i] == points->from[l]) return 1;
  return points->kin[i] * points->kin[l];
}

static inline double fc_kernel_noise(const fc_kernel_function *k, double fixed) {
  return k->noise + k->jitter * fixed;
}

/** Covariances of one shape with many, at once. */
typedef struct fc_kernel_rows {
  size_t d, n, stride;
  float *x; /* [d][stride] */
  float per[FC_LOCAL_COORDINATES], per_rough[FC_LOCAL_COORDINATES], smooth, rough, own;
  float *row; /* [stride] the answer; beyond n nothing that means anything */
} fc_kernel_rows;

/** @param at  indices into points, m of them; NULL: the first m */
FC_NODISCARD
fc_status fc_kernel_rows_init(fc_kernel_rows *out, const fc_kernel_function *k, const fc_krige_points *points,
                              const size_t *at, size_t m);
void fc_kernel_rows_fini(fc_kernel_rows *rows);
void fc_kernel_rows_at(fc_kernel_rows *rows, const float *x);

/** Maximum a posteriori hyperparameters.  `theta` holds the start and gets the answer; prior and sd are the
 * prior's; at most `steps` of the search.
 *  @return FC_OK | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_krige_learn(double *theta, const double *prior, const double *sd, const fc_krige_points *points,
                         int steps, double *value);

/** Weights on the anchors from all points, and leave-one-out predictions.
 *  @param anchor  indices into points; when they are all points in order (m == n) the answer is exact, else
 * by projection on the anchors (deterministic training conditional, Quinonero-Candela and Rasmussen 2005)
 *  @param weight  [m]; loo [n]; noise_factor [n]: how much noisier than usual each point was found */
FC_NODISCARD
fc_status fc_krige_solve(double *weight, double *loo, double *noise_factor, const fc_kernel_function *k,
                         const fc_krige_points *points, const size_t *anchor, size_t m);

#endif
