/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_COST_LOCAL_H
#define FC_COST_LOCAL_H

#include <stddef.h>

struct fc_op;
struct fc_kernel_fit;
struct fc_form_answer;

/** The local correction: what a kernel's physical form leaves unexplained, by shape, where measurements carry
 * it.
 *
 *  A kriging interpolant over the physical coordinates of a shape: logarithms of its sizes, their alignment,
 * how much of the last wave of tiles is wasted for a few tile sizes, and what the form says bounds it.
 *
 *      ln(time / form) = sum over anchors i of weight_i k(x, x_i),
 *      k = smooth^2 (1 + sqrt(3) r) exp(-sqrt(3) r) + rough^2 exp(-s) + own^2 [x = x_i],
 *      r^2 = sum_j ((x_j - x_ij) / length_j)^2,  s = sum_j |x_j - x_ij| / rough_length_j
 *
 *  Far from every anchor it is 0, and the form alone answers.  Fitted by calibrate/, which chooses anchors,
 * weights and lengths; docs/model.md#local-correction. */

enum { FC_LOCAL_COORDINATES = 24, FC_LOCAL_ANCHORS_MAX = 4096 };

/** Coordinates of a kernel family's shapes (an fc_kernel): their number and names, "ln_m", "wave_128x128",
 * ... */
size_t fc_local_n_coordinates(int kernel);
const char *fc_local_coordinate_text(int kernel, size_t j);
/** Coordinates of one shape on a device with `units` compute units, for a fit whose form and coefficients are
 * set: the last three are the shares of the form's time that are fixed, compute and traffic.  @return how
 * many were written */
size_t fc_local_coordinates(float x[FC_LOCAL_COORDINATES], const struct fc_op *op, double units,
                            const struct fc_kernel_fit *fit);

typedef struct fc_local {
  size_t n;             /* anchors */
  size_t n_coordinates; /* that vary among them; `of` says which */
  unsigned char of[FC_LOCAL_COORDINATES];
  float smooth, rough, own;                 /* amplitudes: standard deviations of ln(time) */
  float length[FC_LOCAL_COORDINATES];       /* of coordinate of[j] */
  float rough_length[FC_LOCAL_COORDINATES]; /* the same for the rough part */
  float scale;                              /* half width of the 90 % interval over the weighted scatter */
  float floor;                              /* least scatter: mean |ln error| */
  float support;                            /* usual support of a shape among the anchors: below it, wider */
  /* n rounded up to whole blocks of FC_LANES (base/lanes.h); padding has weight 0 and lies far away */
  const float *x;         /* [block][coordinate][lane], divided by length */
  const float *weight;    /* [block][lane] */
  const float *scatter;   /* [block][lane]: |ln error| at the anchor when it is left out */
  const struct fc_op *op; /* [n] the anchors' shapes, for writing the profile; NULL: not kept */
} fc_local;

typedef struct fc_local_answer {
  double correction; /* of ln(time) */
  double scatter;    /* local |ln error|, averaged by similarity; 0 where nothing is near */
  double support;    /* similarity of the anchors, 0 (none near) to 1 */
} fc_local_answer;

/** At one shape. */
void fc_local_evaluate(fc_local_answer *out, const fc_local *local, const float x[FC_LOCAL_COORDINATES]);

/** Many shapes of one operator at once: x[coordinate][shape], from the answers of their forms; the same bits
 * as one by one. */
enum { FC_LOCAL_ROWS = 16 };
void fc_local_rows_coordinates(float x[FC_LOCAL_COORDINATES][FC_LOCAL_ROWS], const struct fc_op *op,
                               double units, const struct fc_form_answer *form);
void fc_local_rows_evaluate(fc_local_answer out[FC_LOCAL_ROWS], const fc_local *local,
                            float x[FC_LOCAL_COORDINATES][FC_LOCAL_ROWS]);

/** The correction at an anchor. */
double fc_local_at_anchor(const fc_local *local, size_t i);
/** At all n of them, sooner; the same bits. */
void fc_local_at_anchors(double *out, const fc_local *local);
/** Floats that the arrays of n anchors with c coordinates take: x, then weight and scatter. */
size_t fc_local_x_floats(size_t n, size_t c);
size_t fc_local_lane_floats(size_t n);
/** Writes anchor i of n: coordinates (all of the family's), weight and scatter, into the arrays.  Lengths,
 * `of` and n_coordinates must be set. */
void fc_local_put(const fc_local *local, float *x_array, float *weight_array, float *scatter_array, size_t i,
                  const float x[FC_LOCAL_COORDINATES], double weight, double scatter);

#endif
