/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_REPORT_TRAIN_PLAN_SVG_H
#define FC_REPORT_TRAIN_PLAN_SVG_H

#include <fleetcast/report/train_plan.h>

#include "table.h"

/* Days against cost of the best plans; a line along the Pareto front. */
void fc_train_plan_front_svg(table *t, const fc_train_plan_answer *answer);

#endif
