/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CALIBRATE_DESIGN_H
#define FC_CALIBRATE_DESIGN_H

#include <stdbool.h>
#include <stddef.h>

#include <fleetcast/base/file.h>
#include <fleetcast/base/status.h>
#include <fleetcast/calibrate/fit.h>
#include <fleetcast/calibrate/table.h>
#include <fleetcast/cost/predict.h>

/** What to measure next: the shapes that would narrow a profile's intervals most.
 *
 *  A candidate is a measured shape with other values in one or two of its columns, taken from those that the
 * family's points have there: sizes that belong together in a model stay together.  It must be valid, not
 * measured yet, and take no more than twice the longest measured time.  It is worth the width of its 90 %
 * interval, ln(high/low), less what repeats of one shape scatter, which no point can take away.  Points are
 * taken greedily: each lowers what its neighbours are worth by sqrt(1 - r^2), r the correlation of their
 * residuals by the local correction's lengths, as the kriging variance falls after one more observation.  A
 * family gets a quarter of the points at most.
 *  @source active learning by greatest predictive variance: MacKay 1992, Cohn, Ghahramani and Jordan 1996;
 * sequential choice that lowers the kriging variance: Sacks, Welch, Mitchell and Wynn 1989; survey: Settles
 * 2009 */

enum { FC_DESIGN_POINTS = 16, FC_DESIGN_CANDIDATES = 2000 };

typedef struct fc_proposal {
  size_t family; /* index into the table's families */
  fc_op op;
  fc_prediction now; /* what the profile says today */
  double worth;      /* of ln(high/low): what measuring it could take away, neighbours counted */
} fc_proposal;

typedef struct fc_design {
  size_t n;
  fc_proposal *item; /* most worth first */
  size_t candidates; /* looked at */
} fc_design;

/** @param points  at most so many; 0: FC_DESIGN_POINTS
 *  @return FC_OK (fewer, or none, where there is nothing to choose) | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_design_propose(fc_design *out, const fc_table *table, const fc_fit_result *fit,
                            const fc_device *device, size_t points);
void fc_design_fini(fc_design *design);

/** Writes a measurement file without latencies: the format's shape columns, then predicted_us,low_us,high_us.
 */
void fc_design_write(fc_file *file, const fc_design *design, const fc_table *table);

/** The columns of the measurement format that describe a shape: the inverse of fc_measure_shape().  Numbers
 * that do not apply are NaN; texts are static or of the family; `routing` says balanced or power for grouped
 * products. */
void fc_design_columns(fc_measure_row *out, const fc_op *op, const fc_family *family);
/** The names of those columns, "m", "kv_len". */
const char *fc_design_column_text(fc_measure_number column);

#endif
