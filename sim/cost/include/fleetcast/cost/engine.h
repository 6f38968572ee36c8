/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_COST_ENGINE_H
#define FC_COST_ENGINE_H

#include <stdbool.h>
#include <stddef.h>

#include <fleetcast/base/arena.h>
#include <fleetcast/base/status.h>
#include <fleetcast/cost/profile.h>

/** How a serving engine runs a model's operators: a view of a profile in which steps are composed of the
 *  operators that tables measured, local corrections included, and not of the curated forms.
 *
 *  Of every kernel only implementations remain that this engine would run, in the formats of this deployment;
 * an operator takes the time of the fastest of them at its shape, because engines choose by shape too.  The
 * routed experts of a layer are one operator (`moe_ffn`: permute, both products, activation, combine), under
 * a load that follows a power law.  What no table holds (norms, quantisers, rotary embedding) keeps its form.
 *  docs/validate.md#truth has the errors against measured serving. */

/** All-reduce in one step: seconds of a small one, and the share of a link's bandwidth at which a rank reads.
 *  @source vLLM pull requests 24111 and 24532, `ca_1stage` on H100: 5 us + (n - 1) z at 310 to 320 GB/s of
 * 450, n = 4 and 6, z = 0.5 to 4 MB; B200, n = 8: 8.7 us with the norm fused into it (SGLang pull request
 * 7621) */
#define FC_ONE_SHOT_S     5e-6
#define FC_ONE_SHOT_SHARE 0.7

typedef struct fc_engine {
  const char *name;    /* "vllm", "sglang", "trtllm" */
  const char *gemm;    /* number format of the linear layers: "fp8_block", "nvfp4", "bf16", ... */
  const char *experts; /* of the routed experts; ignored for dense models */
  const char *kv;      /* of the cache: "bf16", "fp8" */
  double expert_skew;  /* exponent of the experts' load, 0 balanced */
  /* overheads, FC_ENGINE_* below unless set otherwise */
  double glue; /* factor on the time of small kernels and on the gaps between kernels: fusion, programmatic
                  launch, two streams */
  double collective; /* factor on collectives' times, an all-reduce in one step (FC_ONE_SHOT_S) among them */
  double step_s;     /* an iteration on the host that nothing hides */
  double request_s;  /* each request in it */
  /* of the host, to launch a layer in an iteration with prompts that no graph holds: the device waits where
   * it is done sooner */
  double eager_layer_s, eager_plain_s; /* with latent attention; with any other and experts */
  double graph_tokens;                 /* graphs hold iterations with prompts up to here */
  double shared_tokens; /* up to here shared experts run on a stream of their own, beside the routed ones */
  bool fuses_shared;    /* without expert parallelism they are one more routed expert instead */
  /* before the first token reaches its client, beside the iterations themselves */
  double way_s;           /* on the wire and in queues, each way: a request so arrives between iterations */
  double front_s;         /* HTTP, tokeniser, detokeniser: fixed */
  double front_request_s; /* more for each request under way: one process serves them all */
  double steps_ahead; /* iterations that are already queued when a request comes: asynchronous scheduling */
} fc_engine;

/** The engine with its overheads.  Formats are empty: the caller's to set.
 *  @return false: no such engine */
bool fc_engine_named(fc_engine *out, const char *name);
/** NULL past the end. */
const char *fc_engine_name(size_t i);

/** The view.  Borrows `from` and `engine`, which must outlive it.
 *  @return FC_OK | FC_E_NOMEM | FC_E_DOMAIN: `from` has no operator tables for the formats; sentence into why
 * [256], nullable */
FC_NODISCARD
fc_status fc_engine_profile(fc_profile *out, const fc_profile *from, const fc_engine *engine, bool mla,
                            bool sparse, fc_arena *arena, char *why);

/** Weight and activation bytes of the experts' format; computed in `dtype`. */
const struct fc_format *fc_engine_experts(const fc_engine *engine);

#endif
