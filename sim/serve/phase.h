/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SERVE_INTERNAL_PHASE_H
#define FC_SERVE_INTERNAL_PHASE_H

#include <fleetcast/cost/serve_step.h>
#include <fleetcast/serve/capacity.h>

/** Operating points of one phase under one plan.  Model: docs/model.md#serving-capacity. */

/* A request mix and objective, spread out. */
typedef struct fc_demand {
  const fc_model *model;
  const fc_profile *profile;
  fc_slo slo;
  double fresh, cached, output; /* tokens of a request: to prefill, found in the cache, generated */
  double yield, queries;        /* tokens and queries of a request per decode iteration */
} fc_demand;

typedef enum {
  FC_FAULT_NONE,
  FC_FAULT_PLAN,
  FC_FAULT_MEMORY,
  FC_FAULT_TTFT,
  FC_FAULT_TPOT,
  FC_FAULT_PROFILE
} fc_fault;

/* Rates are tokens/s of one device: fresh input for prefill, output for decode. */
typedef struct fc_phase {
  fc_fault fault;
  double best; /* with a fault: the least seconds, or bytes needed, that it missed by */
  fc_serve_plan plan;
  double rate, utilisation, ttft_s, tpot_s, batch, watts, log_sd;
  double kv_tokens;     /* a device */
  double prefill_share; /* both in one: share of the time that is due to prefill */
  const char *limit;
} fc_phase;

/** Prompts one after another on an instance of their own. */
fc_phase fc_phase_prefill(const fc_demand *demand, const fc_serve_plan *plan, bool hand_over);
/** Generation on an instance of its own. */
fc_phase fc_phase_decode(const fc_demand *demand, const fc_serve_plan *plan);
/** Both on one instance: chunks of prompts ride along with decode iterations.  `rate`: output tokens. */
fc_phase fc_phase_mixed(const fc_demand *demand, const fc_serve_plan *plan);

#endif
