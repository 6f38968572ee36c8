/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CALIBRATE_FIT_H
#define FC_CALIBRATE_FIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include <fleetcast/base/arena.h>
#include <fleetcast/base/status.h>
#include <fleetcast/calibrate/table.h>
#include <fleetcast/cost/profile.h>

/** Points in, fitted kernels out.  Each family on its own: physical form by robust non-linear least squares
 * in ln(time) (GSL), local correction by kriging of its residuals, interval from leave-one-out errors.
 * docs/calibrate.md. */

typedef struct fc_fit_options {
  size_t anchors; /* most anchors of a local correction; 0: FC_FIT_ANCHORS */
  bool no_local;  /* forms only */
  size_t threads; /* 0: as many as the machine has.  Results do not depend on it */
  /** Called under a lock after each family.  Nullable. */
  void (*progress)(void *context, double fraction, const char *what);
  void *context;
  const atomic_int *cancel; /* as fc_stop_flag() */
} fc_fit_options;

enum { FC_FIT_ANCHORS = 400 };

/** What the fit of a family found, beyond the kernel itself; for reports. */
typedef struct fc_family_report {
  const fc_family *family;
  const fc_kernel_fit *fit;
  double median_error, p90_error; /* |predicted/measured - 1| of leave-one-out predictions */
  double form_median_error;       /* of the form alone */
  double coverage;                /* of the 90 % interval, leave-one-out */
  double noise;                   /* robust sd of ln among repeats of one shape; 0: no repeats */
  double neighbour;               /* median |ln ratio of residuals| of nearest other shapes; 0: no other */
  size_t shapes;                  /* distinct ones */
  size_t outliers;                /* points farther than 4 robust sd from their leave-one-out prediction */
  size_t worst[5];                /* indices into the table's points; SIZE_MAX: none */
  double fitted_s[5], low_s[5], high_s[5]; /* leave-one-out predictions of those */
} fc_family_report;

typedef struct fc_fit_result {
  size_t n;
  fc_kernel_fit *fit;       /* in the order of the table's families */
  fc_family_report *report; /* the same order */
  fc_arena *arena;          /* [n] own what the fits point to */
} fc_fit_result;

/** @return FC_OK | FC_E_NOMEM | FC_E_CANCELLED */
FC_NODISCARD
fc_status fc_fit_table(fc_fit_result *out, const fc_table *table, const fc_device *device,
                       const fc_fit_options *options);
void fc_fit_result_fini(fc_fit_result *result);

#endif
