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
} fc_krige_data;

typedef struct fc_krige {
  fc_local local; /* arrays owned by the arena; anchors are data[anchor[i]]; n == 0: nothing to correct */
  size_t *anchor; /* [local.n] */
  double *leave_one_out; /* [n] prediction of y[i] from the others */
  double *half_width;    /* [n] of the 90 % interval around it */
  double noise;          /* sd of one measurement around the surface */
} fc_krige;

/** @param max_anchors  at most so many; with more data all of it informs the weights
 *  @return FC_OK | FC_E_NOMEM; data too few (below FC_KRIGE_LEAST) or without spread give local.n == 0 */
FC_NODISCARD
fc_status fc_krige_fit(fc_krige *out, const fc_krige_data *data, size_t max_anchors, fc_arena *arena);

enum { FC_KRIGE_LEAST = 4 };

#endif
