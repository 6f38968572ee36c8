/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CALIBRATE_INTERNAL_FIT_FAMILY_H
#define FC_CALIBRATE_INTERNAL_FIT_FAMILY_H

#include <fleetcast/calibrate/fit.h>

/** Fits one family: form, local correction, interval, report.  Touches nothing shared. */
FC_NODISCARD
fc_status fc_family_fit(fc_kernel_fit *fit, fc_family_report *report, const fc_table *table,
                        const fc_family *family, const fc_device *device, const fc_fit_options *options,
                        fc_arena *arena);

#endif
