/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CALIBRATE_INTERNAL_FIT_FAMILY_H
#define FC_CALIBRATE_INTERNAL_FIT_FAMILY_H

#include <fleetcast/calibrate/fit.h>
#include <fleetcast/calibrate/krige.h>
#include <fleetcast/cost/form.h>

/** What the fit of a family leaves for its kindred to borrow.  Owned by the family's arena. */
typedef struct fc_family_work {
  size_t n, first; /* points; the first one's index in the table */
  const fc_family *family;
  const fc_point *point;
  fc_geometry *g;
  double *y, *log_sd, *form, *residual; /* ln seconds; of the median; ln form; y - form */
  double *error, *room, *fixed;         /* leave-one-out prediction - y; scratch; share of fixed time */
  float (*x)[FC_LOCAL_COORDINATES];
  size_t n_coordinates;
  size_t *order; /* by shape */
  fc_krige krige;
} fc_family_work;

static inline double fc_family_units(const fc_device *device) {
  return device->compute_units > 0 ? (double)device->compute_units : 1;
}

/** Fits one family on its own: form, local correction, interval, report.  Touches nothing shared.
 *  @param[out] work  for fc_family_borrow */
FC_NODISCARD
fc_status fc_family_fit(fc_kernel_fit *fit, fc_family_report *report, fc_family_work **work,
                        const fc_table *table, const fc_family *family, const fc_device *device,
                        const fc_fit_options *options, fc_arena *arena);

/** The local correction of family i once more, with points lent by other implementations and formats of the
 * same kernel where their surfaces resemble its own: libraries share kernels.  `fit` and `report` start as
 * copies of fits[i] and its report and change only when leaving one out then errs less.  Reads the others.
 *  @param work [n], as fc_family_fit left them */
FC_NODISCARD
fc_status fc_family_borrow(fc_kernel_fit *fit, fc_family_report *report, size_t i, size_t n,
                           const fc_kernel_fit *fits, fc_family_work *const *work, const fc_device *device,
                           fc_arena *arena);

/* --- what both share --- */

/** The family's own points, as kriging wants them. */
fc_krige_data fc_family_data(const fc_family_work *w);
/** Errors and intervals of what `krige` leaves out one by one: into the fit's spreads and the report. */
void fc_family_look_back(fc_kernel_fit *fit, fc_family_report *report, fc_family_work *w,
                         const fc_krige *krige);
/** Copies the correction and the anchors' shapes, so that the profile can be written.
 *  @param lent  shapes of the points behind the family's own; NULL: none */
FC_NODISCARD
fc_status fc_family_keep(fc_kernel_fit *fit, const fc_krige *krige, const fc_family_work *w,
                         const fc_op *lent, fc_arena *arena);

#endif
