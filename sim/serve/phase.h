/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SERVE_INTERNAL_PHASE_H
#define FC_SERVE_INTERNAL_PHASE_H

#include <fleetcast/cost/serve_step.h>
#include <fleetcast/serve/capacity.h>
#include <fleetcast/serve/step_table.h>

/** Operating points of one phase under one plan.  Model: docs/model.md#serving-capacity. */

/* A request mix and objective, spread out. */
typedef struct fc_phase_demand {
  const fc_model *model;
  const fc_profile *profile;
  fc_slo slo;
  double fresh, cached, output; /* tokens of a request: to prefill, found in the cache, generated */
  double yield, queries;        /* tokens and queries of a request per decode iteration */
  double output_cv;             /* of the output's length */
  fc_step_function step;        /* NULL: L1; else times known otherwise, of fc_phase_trend */
  const void *context;          /* of step */
} fc_phase_demand;

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
  double budget;        /* prompt tokens of an iteration and group; 0: none */
  double prefill_share; /* both in one: share of the time that is due to prefill */
  const char *limit;
} fc_phase;

/** Mean wait of Poisson prompts for batches of up to c that take `service` each, utilisation rho: the
 * residual batch and, shared by c, the queue of M/D/1, which it is at c = 1.  A test holds it to 10 % of a
 * simulated bulk server for c of 1 to 64 and rho of 0.6 to 0.95; below that it errs to the long side by up to
 * a fifth (c = 2). Prompts go to the group that is free first, as DeepSeek's prefill balancer does
 * (open-infra-index day 6). */
double fc_phase_bulk_wait(double service, double rho, double c);

/** The same closed forms at a given load: what the surface kriges around.  Not the objective's. */
typedef struct fc_trend {
  double ttft_s, tpot_s; /* 0 where the phase has none; INFINITY: more than the instance can do */
  double in_flight;      /* requests that decode, of the instance */
} fc_trend;

typedef enum { FC_SIDE_PREFILL, FC_SIDE_DECODE, FC_SIDE_WHOLE, FC_SIDES } fc_side;

/** `rate`: requests a second of an instance; `budget`: prompt tokens of an iteration and group.
 *  @return FC_OK | FC_E_DOMAIN */
FC_NODISCARD
fc_status fc_phase_trend(fc_trend *out, const fc_phase_demand *demand, const fc_serve_plan *plan,
                         fc_side side, double budget, double rate);

/** @return FC_OK | FC_E_DOMAIN */
FC_NODISCARD
fc_status fc_phase_demand_of(fc_phase_demand *out, const fc_model *model, const fc_profile *profile,
                             const fc_deployment *deployment, const fc_request_shape *shape,
                             const fc_slo *slo);

/** Prompts one after another on an instance of their own. */
fc_phase fc_phase_prefill(const fc_phase_demand *demand, const fc_serve_plan *plan, bool hand_over);
/** Generation on an instance of its own. */
fc_phase fc_phase_decode(const fc_phase_demand *demand, const fc_serve_plan *plan);
/** Both on one instance: chunks of prompts ride along with decode iterations.  `rate`: output tokens. */
fc_phase fc_phase_mixed(const fc_phase_demand *demand, const fc_serve_plan *plan);

#endif
