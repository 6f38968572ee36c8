/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SERVE_CAPACITY_H
#define FC_SERVE_CAPACITY_H

#include <stdbool.h>
#include <stdint.h>

#include <fleetcast/base/status.h>
#include <fleetcast/cost/model.h>
#include <fleetcast/cost/plan.h>
#include <fleetcast/cost/profile.h>

/** What one deployment of a model serves under its service-level objective: the closed form that the fleet
 *  starts from, and that serve/surface.h corrects by the request-level engine.
 *
 *  Prefill: an instance prefills prompts one after another (chunked to a token budget); its utilisation is
 *  limited so that mean waiting (M/D/1) plus prefill time keeps the TTFT objective.  Decode: the largest
 * batch whose iteration keeps the TPOT objective and whose KV cache fits.  Both from L1 iterations. Model:
 * docs/model.md#serving-capacity. */

/** Lengths of a request. */
typedef struct fc_request_shape {
  double input_tokens;  /* prompt, cached part included */
  double output_tokens; /* generated, reasoning included */
  double cache_hit;     /* share of input tokens found in the prefix cache, in [0, 1) */
  /* Coefficients of variation of log-normal lengths, drawn apart; 0: all alike.  The closed form takes
   * from them only that a longer output is met longer. */
  double input_cv, output_cv;
} fc_request_shape;

/** Spread of lengths where a scenario states none.
 *  @source Azure LLM inference trace 2023, conversation (github.com/Azure/AzurePublicDataset, 19,366
 *          requests): 0.960 and 0.771; correlation of their logarithms 0.09, taken as none.  For comparison
 *          its code part: 0.964 and 2.15; Mooncake's conversation trace: 1.31 and 0.73 */
#define FC_REQUEST_INPUT_CV  0.96
#define FC_REQUEST_OUTPUT_CV 0.77

typedef struct fc_slo {
  double ttft_s; /* mean time to first token, queueing included */
  double tpot_s; /* time per output token after the first: (e2e - TTFT) / (output - 1) */
} fc_slo;

typedef struct fc_deployment {
  bool automatic;       /* choose both plans: fewest device-seconds a request under the SLO */
  int64_t device_limit; /* automatic: leave out plans that need more devices; half of them for each phase
                           where the phases are apart; 0: any */
  bool disaggregated;   /* prefill and decode on instances of their own; else one plan (decode's) does both */
  fc_serve_plan prefill, decode;
  double speculative_tokens; /* tokens a decode iteration yields per request: 1 without speculation; with MTP
                                1 + acceptance */
} fc_deployment;

/** What the request-level engine said of the rates, where it was asked (serve/surface.h).  Of the two phases'
 *  rates; an instance that does both has one answer, told twice. */
typedef struct fc_capacity_surface {
  bool used;                                                      /* else: the closed form alone */
  int64_t runs;                                                   /* simulations, checks included */
  double closed_prefill_tokens_per_s, closed_decode_tokens_per_s; /* the closed form's */
  double prefill_log_sd, decode_log_sd;                           /* of ln(rate): emulator and runs */
  double prefill_error, decode_error;                             /* ln(surface / direct), of the rate */
  double prefill_error_sd, decode_error_sd;                       /* of that: the direct run's noise */
  double direct_ttft_s, direct_tpot_s; /* at the operating point, simulated with other random numbers */
  double cut;                          /* share of requests shortened to what a group's cache holds */
} fc_capacity_surface;

typedef struct fc_serve_capacity {
  fc_deployment deployment;          /* as used: the automatic one filled in */
  double prefill_tokens_per_s;       /* input tokens that miss the cache, a device of a prefill instance */
  double decode_tokens_per_s;        /* output tokens, a device of a decode instance */
  int64_t prefill_unit, decode_unit; /* devices of one instance */
  double ttft_s, tpot_s;             /* at that operating point */
  double decode_batch;               /* requests in flight, a device */
  double kv_tokens;                  /* cache tokens in use, a device */
  double prefill_utilisation;
  double prefill_watts, decode_watts;   /* mean draw of one device, server and PUE not counted */
  double prefill_log_sd, decode_log_sd; /* systematic uncertainty of ln(rate) */
  double prefill_budget, decode_budget; /* prompt tokens of an iteration and attention group that were best;
                                           where prefill is apart, 0 for decode */
  fc_capacity_surface surface;
  const char *prefill_limit,
      *decode_limit; /* what binds: "TTFT", "TPOT", "KV cache", "batch", "utilisation" */
} fc_serve_capacity;

/* Assumptions of the closed form; the request-level engine needs none of them. */

/** Highest utilisation of a prefill server: above it the mean says little.  @source judgement */
#define FC_SERVE_UTILISATION_MAX 0.95
/** Requests of one attention group.  @source vLLM's default max_num_seqs on H100-class devices */
#define FC_SERVE_GROUP_BATCH_MAX 1024
/** Expert imbalance when the plan states none.
 *  @source SGLang: EP32 prefill is 18 % faster with perfect balancing than with its default placement (59,337
 *          over 50,302 tokens/s a node, lmsys.org 2025-05-05) */
#define FC_SERVE_IMBALANCE       1.2
/** Share of memory for weights and cache when the plan states none.
 *  @source vLLM's default gpu_memory_utilization */
#define FC_SERVE_MEMORY_FRACTION 0.9

/** `plan` with what it leaves open filled in: devices, tp, attention_dp, ep (0: one another's consequence),
 *  formats (FP32, the zero of the type: weights as released, cache BF16), imbalance, memory fraction. */
fc_serve_plan fc_serve_plan_complete(const fc_model *model, const fc_serve_plan *plan);

/** Solves for the capacity.
 *  @return FC_OK | FC_E_DOMAIN (non-positive lengths or objectives)
 *        | FC_E_INFEASIBLE (weights do not fit, or no batch meets the objective; `why` tells which)
 *  @param why  [256] a sentence for the user on FC_E_INFEASIBLE; nullable */
FC_NODISCARD
fc_status fc_serve_capacity_solve(fc_serve_capacity *out, const fc_model *model, const fc_profile *profile,
                                  const fc_deployment *deployment, const fc_request_shape *shape,
                                  const fc_slo *slo, char *why);

#endif
