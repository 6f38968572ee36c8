/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CALIBRATE_REPORT_H
#define FC_CALIBRATE_REPORT_H

#include <stddef.h>

#include <fleetcast/base/file.h>
#include <fleetcast/base/status.h>
#include <fleetcast/calibrate/fit.h>
#include <fleetcast/calibrate/table.h>
#include <fleetcast/cost/profile.h>

/** A calibration on one page: how good the profile is, kernel by kernel, where it errs, what to measure next,
 * what was not measured at all.  One HTML file without scripts or references, for screen (light and dark) and
 * paper; the same inputs give the same bytes.  How to read it: docs/calibrate.md#report. */

typedef struct fc_report_input {
  const fc_table *table;
  const char *const *paths; /* of the table's files, by fc_point.file */
  size_t n_paths;
  const fc_fit_result *fit;
  const fc_device *device;
  const fc_profile *profile; /* as assembled: what was not measured is told from it; NULL: no such section */
  const char *title;         /* NULL: the device's */
  const char *backend;       /* "cpu", "cuda"; NULL: not told */
  const char *measured;      /* date of the measurement file, as text; NULL: not told */
  const char *command;       /* NULL: not told */
  const char *version;       /* NULL: not told */
  double bench_s, fit_s;     /* what measuring and fitting took; 0: not told */
} fc_report_input;

/** The file is the caller's to commit; errors of writing stick to it.  @return FC_OK | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_calibration_report(fc_file *file, const fc_report_input *input);

#endif
