/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_REPORT_MANIFEST_H
#define FC_REPORT_MANIFEST_H

#include <fleetcast/report/write.h>

#include "table.h"

/* manifest.yaml: what made the files of the folder, and what they are. */

/* Its head for the run of a scenario. */
void fc_report_manifest_fleet(fc_text *out, const fc_fleet_result *result, const fc_report_options *options);

/* Its parts, for other kinds of run. */
/* title, version, command, and of the file its kind, name, question */
void fc_report_manifest_begin(fc_text *out, const fc_report_options *options, const char *kind,
                              const char *name, const char *question);
void fc_report_manifest_pair(fc_text *out, const char *key, const char *value);
/* seed, overrides */
void fc_report_manifest_asked(fc_text *out, const fc_report_options *options);
/* outputs, inputs, uncertain, sources, resolved */
FC_NODISCARD
fc_status fc_report_manifest_files(fc_text *out, const fc_input *input, const fc_report_options *options,
                                   const table *tables, size_t n_tables);

#endif
