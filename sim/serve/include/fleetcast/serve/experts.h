/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SERVE_EXPERTS_H
#define FC_SERVE_EXPERTS_H

#include <stdbool.h>
#include <stdint.h>

#include <fleetcast/base/status.h>

/** How unevenly tokens load the ranks that experts are spread over.
 *
 *  Experts' popularity follows the power law that operator tables are drawn from (cost/busiest.h).  The
 * experts of each of a few layers are placed at random, or balanced: redundant copies of the most popular
 * ones, then the heaviest to the emptiest rank, by expected loads as EPLB does; tokens then choose, and the
 * busiest rank counts. Tabulated by the number of tokens once: an iteration reads mean and spread.  Layers
 * are drawn apart, so that of an iteration's `layers` the spread is a single layer's over their root.
 *  @source EPLB: deepseek-ai/EPLB, "global load balancing" (replicate, then pack) */
typedef struct fc_expert_load fc_expert_load;

typedef struct fc_expert_def {
  int64_t experts, top_k, ranks; /* ranks >= 2, experts >= ranks, at most 4,096 */
  int64_t layers;                /* with experts */
  double groups;                 /* attention groups whose tokens meet in these ranks */
  double skew;                   /* exponent; 0: all alike */
  bool eplb;
  int64_t redundant;  /* copies beside the experts, with eplb; 0: balanced placement alone */
  double most_tokens; /* of a group, that will be asked for */
  uint64_t seed;
} fc_expert_def;

/** @return FC_OK | FC_E_NOMEM | FC_E_DOMAIN */
FC_NODISCARD
fc_status fc_expert_load_new(fc_expert_load **out, const fc_expert_def *def);
void fc_expert_load_free(fc_expert_load *load);
/** Rows of the busiest rank over the mean's, >= 1, when every attention group has `tokens`; mean over layers.
 */
double fc_expert_load_mean(const fc_expert_load *load, double tokens);
/** Coefficient of variation from iteration to iteration of that. */
double fc_expert_load_cv(const fc_expert_load *load, double tokens);

#endif
