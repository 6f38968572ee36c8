/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CALIBRATE_KRIGE_H
#define FC_CALIBRATE_KRIGE_H

#include <stddef.h>

#include <fleetcast/base/arena.h>
#include <fleetcast/base/status.h>
#include <fleetcast/cost/local.h>

/** Kriging of residuals: a Gaussian process with a smooth (Matern 3/2) and a rough (exponential) part,
 * lengths by maximum posterior, noise robust (Student t, by reweighting).  @source Rasmussen and Williams
 * 2006, chapters 2, 4, 5 */

typedef struct fc_krige_data {
  size_t n; /* measurements */
  const float (*x)[FC_LOCAL_COORDINATES];
  size_t n_coordinates;
  const double *y; /* [n] ln(time / form) */
  const double
      *fixed; /* [n] share of the form's time that is fixed: where noise is of launches, not of work */
  /* points lent by kindred families, behind the own ones; NULL: all points are own */
  size_t n_own;
  const unsigned char *from; /* [n] 0: own; else which family */
  const double *kin; /* [n] correlation of that family's surface with the own one, in (0, 1]; own: 1 */
} fc_krige_data;

struct fc_kernel_function;

typedef struct fc_krige {
  fc_local local; /* arrays owned by the arena; anchors are data[anchor[i]]; n == 0: nothing to correct */
  size_t *anchor; /* [local.n] */
  double *leave_one_out;                    /* [n] prediction of y[i] from the others */
  double *half_width;                       /* [n] of the 90 % interval around it */
  double noise;                             /* sd of one measurement around the surface */
  const struct fc_kernel_function *learned; /* owned by the arena */
} fc_krige;

/** @param max_anchors  at most so many; with more data all of it informs the weights
 *  @return FC_OK | FC_E_NOMEM; data too few (below FC_KRIGE_LEAST) or without spread give local.n == 0 */
FC_NODISCARD
fc_status fc_krige_fit(fc_krige *out, const fc_krige_data *data, size_t max_anchors, fc_arena *arena);

/** The surface of `alone` once more, from more points: own ones first, then those that kindred families lend.
 *  The covariance of points of different families is the kernel's times both correlations (one common factor:
 *  intrinsic coregionalisation, Goovaerts 1997), lengths and amplitudes stay as learned alone.  Every point
 *  becomes an anchor; leave_one_out and half_width are of the own points.
 *  @pre data->kin, data->from and alone->learned are set, alone->local.n > 0
 *  @return FC_OK | FC_E_NOMEM | FC_E_DOMAIN: the covariances are singular */
FC_NODISCARD
fc_status fc_krige_join(fc_krige *out, const fc_krige_data *data, const fc_krige *alone, fc_arena *arena);

enum { FC_KRIGE_LEAST = 4 };

#endif
