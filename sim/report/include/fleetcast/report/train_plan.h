/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_REPORT_TRAIN_PLAN_H
#define FC_REPORT_TRAIN_PLAN_H

#include <fleetcast/report/write.h>
#include <fleetcast/train/plan_search.h>

/** What a search for the best way to train a model found (docs/plan.md#training). */
typedef struct fc_train_plan_answer {
  const fc_train_plan_def *def;
  const fc_train_search_def *search;
  const fc_train_search_result *result;
} fc_train_plan_answer;

/** The best, the runner-up and why it lost, near misses, the best of every device and count with the Pareto
 *  front, what was tried.  @return FC_OK | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_report_train_plan_page(fc_text *out, const fc_train_plan_answer *answer);

/** plans.csv, counts.csv, front.svg, manifest.yaml; as fc_report_write. */
FC_NODISCARD
fc_status fc_report_train_plan_write(const char *folder, const fc_train_plan_answer *answer,
                                     const fc_input *input, const fc_report_options *options, char *why);

#endif
