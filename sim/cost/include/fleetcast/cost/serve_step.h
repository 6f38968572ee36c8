/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_COST_SERVE_STEP_H
#define FC_COST_SERVE_STEP_H

#include <stdbool.h>

#include <fleetcast/base/status.h>
#include <fleetcast/cost/model.h>
#include <fleetcast/cost/plan.h>
#include <fleetcast/cost/profile.h>

/** L1 of inference: one iteration of one instance (a set of plan->devices that steps together).
 *  Model: docs/model.md#serving-iteration. */

/** Work of one iteration, of the whole instance; spread evenly over its attention groups. */
typedef struct fc_serve_load {
  double decode_requests;  /* that yield tokens in this iteration */
  double decode_context;   /* mean tokens of each in the cache */
  double query_tokens;     /* per decode request: 1; with speculation 1 + drafted.  0 counts as 1 */
  double prefill_tokens;   /* new prompt tokens */
  double prefill_requests; /* sequences they belong to; 0 counts as one per attention group */
  double prefill_context;  /* mean tokens before the chunk: cached, or of earlier chunks */
} fc_serve_load;

/** Where the time of an iteration goes; the parts sum to `seconds`. */
typedef struct fc_serve_iteration {
  double seconds;
  double attention_s; /* cores and absorbed projections */
  double dense_s;     /* projections, dense and shared feed-forward */
  double experts_s;   /* routed experts */
  double glue_s;      /* norms, quantisation, router, permute */
  double head_s;      /* embedding, LM head, sampling */
  double comm_s;      /* communication that nothing hides; pipelines: also the wait for the slowest stage */
  double launch_s;    /* gaps between kernels */
  double host_s; /* scheduler on the host, and what it takes longer to launch than the device to compute */
  double comm_hidden_s;
  double idle_s;                     /* of host_s: the device waits for launches; more work would hide it */
  double flop, bytes;                /* of one device */
  double watts;                      /* mean draw of one device */
  double log_sd;                     /* spread of ln(seconds): the profile's kernels, and composing them */
  int clamped, outside, substituted; /* operators at their roofline, outside their fit, by a sibling kernel */
} fc_serve_iteration;

/** What of a plan must divide; sentence into `why` [256], nullable.  @return FC_OK | FC_E_DOMAIN */
FC_NODISCARD
fc_status fc_serve_plan_check(const fc_model *model, const fc_serve_plan *plan, char *why);

/** @return FC_OK | FC_E_DOMAIN (empty or negative load, a plan that does not divide, a profile that lacks a
 *          kernel family and its siblings)
 *  @pre profile->device is set */
FC_NODISCARD
fc_status fc_cost_serve_iteration(fc_serve_iteration *out, const fc_model *model, const fc_profile *profile,
                                  const fc_serve_plan *plan, const fc_serve_load *load);

/** Memory of one device of an instance. */
typedef struct fc_serve_memory {
  double weight_bytes;
  double room_bytes;           /* for the cache: memory_fraction * memory - weights; may be negative */
  double kv_bytes_per_request; /* at `context`, on the device that holds most of it */
} fc_serve_memory;

/** Weights of a rank and cache of a request of `context` tokens; windowed layers hold their window. */
void fc_cost_serve_memory(fc_serve_memory *out, const fc_model *model, const fc_device *device,
                          const fc_serve_plan *plan, double context);

/** The same of the fullest device where the layers are dealt over plan->pp stages: the first holds the
 * embedding, the last the head. */
void fc_cost_serve_stage_memory(fc_serve_memory *out, const fc_model *model, const fc_device *device,
                                const fc_serve_plan *plan, double context);

/** Composition error: of ln(iteration), beside the kernels' own.  Root mean square over the five published
 *  deployments of docs/model.md#errors (0.14, 0.30, 0.07, 0.18, 0.21): states how far off composing has been;
 *  corrects nothing. */
#define FC_SERVE_COMPOSITION_LOG_SD 0.20

#endif
