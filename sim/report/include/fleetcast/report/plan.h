/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_REPORT_PLAN_H
#define FC_REPORT_PLAN_H

#include <fleetcast/report/write.h>
#include <fleetcast/serve/search.h>
#include <fleetcast/serve/view.h>

/** What a search for the cheapest deployment found (docs/plan.md). */
typedef struct fc_plan_answer {
  const fc_plan_def *def;
  const fc_search_def *search;
  const fc_search_result *result;
  const fc_serve_view *views; /* [search->n_devices]; NULL: not told */
  uint64_t seed;
} fc_plan_answer;

/** The cheapest, the runner-up and why it lost, the best of every device, the Pareto front, what was left
 *  out.  @return FC_OK | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_report_plan_page(fc_text *out, const fc_plan_answer *answer);

/** plans.csv, pareto.csv, manifest.yaml; as fc_report_write. */
FC_NODISCARD
fc_status fc_report_plan_write(const char *folder, const fc_plan_answer *answer, const fc_input *input,
                               const fc_report_options *options, char *why);

#endif
