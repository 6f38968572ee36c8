/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SERVE_CASE_H
#define FC_SERVE_CASE_H

#include <stdbool.h>
#include <stdint.h>

#include <fleetcast/base/status.h>
#include <fleetcast/cost/engine.h>
#include <fleetcast/cost/model.h>
#include <fleetcast/cost/profile.h>

/** One measured serving case, as benchmark clients run them: a closed loop of `concurrency` clients, ten
 * requests each, lengths drawn evenly from the upper fifth below the nominal ones.  Predicted by the engine's
 * view of a profile (cost/engine.h) and the replica, request by request; where a profile has no operator
 * tables, by its forms. docs/validate.md#truth. */

typedef struct fc_case_side {
  int64_t workers; /* instances */
  int64_t tp, attention_dp, moe_tp, moe_ep;
  int64_t pp; /* 0 counts as 1 */
} fc_case_side;

typedef struct fc_serve_case {
  const char *engine;         /* "vllm", "sglang", "trtllm" */
  const char *gemm, *experts; /* formats as the measurement names them: "fp8", "nvfp4", "int4_wo", ... */
  double input_tokens, output_tokens;
  int64_t concurrency;
  const char *date; /* of the measurement, YYYY-MM-DD: which public recipe it ran; "" or NULL: an early one */
  bool disaggregated;
  fc_case_side decode, prefill; /* not disaggregated: decode alone */
} fc_serve_case;

typedef struct fc_case_answer {
  double ttft_s, tpot_s;                                   /* means over requests */
  double ttft_low_s, ttft_high_s, tpot_low_s, tpot_high_s; /* 90 % */
  bool measured;                                           /* composed of measured operators; else of forms */
} fc_case_answer;

/** Spread of ln(measured / predicted): 90 % quantile of its size among the 61 cases that the engines'
 * overheads were fitted to, over a normal's 1.645; with forms alone, beside the profile's own. */
#define FC_CASE_TPOT_LOG_SD 0.12
#define FC_CASE_TTFT_LOG_SD 0.19

/** @return FC_OK | FC_E_NOMEM | FC_E_DOMAIN | FC_E_INFEASIBLE | FC_E_LAW; sentence into why [256], nullable
 */
FC_NODISCARD
fc_status fc_serve_case_predict(fc_case_answer *out, const fc_serve_case *c, const fc_model *model,
                                const fc_profile *profile, char *why);

#endif
