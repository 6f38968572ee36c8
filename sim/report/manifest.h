/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_REPORT_MANIFEST_H
#define FC_REPORT_MANIFEST_H

#include <fleetcast/report/write.h>

#include "table.h"

/* manifest.yaml: what made the files of the folder, and what they are. */
FC_NODISCARD
fc_status fc_report_manifest(fc_text *out, const fc_fleet_result *result, const fc_input *input,
                             const fc_report_options *options, const table *tables, size_t n_tables);

#endif
