/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_REPORT_PAGE_H
#define FC_REPORT_PAGE_H

#include "sheet.h"
#include "measure.h"
#include "table.h"

/* The sections of the page that tell of single services and runs (page_work.c). */
void fc_page_tokens(fc_text *out, const fc_fleet_result *result, const totals *sums);
void fc_page_serving(fc_text *out, const fc_fleet_result *result, const totals *sums);
void fc_page_training(fc_text *out, const fc_fleet_result *result, const totals *sums);

#endif
