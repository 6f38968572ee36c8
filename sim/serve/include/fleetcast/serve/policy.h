/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SERVE_POLICY_H
#define FC_SERVE_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** What a serving engine's scheduler decides before each iteration: whom it admits, how many prompt tokens
 *  ride along, what it keeps free.  Three engines by name, each a set of values that may be changed one by
 *  one. All queue first come first served, and take memory back from who came last. */

/** Memory that admission sets aside for what the running requests will still generate. */
typedef enum {
  FC_RESERVE_NONE,     /* none: who grows past the end preempts the last comer (recompute) */
  FC_RESERVE_EXPECTED, /* a share of the tokens still to come, which relaxes with every decode step */
  FC_RESERVE_FULL      /* all of them: never preempts */
} fc_reserve;

typedef struct fc_serve_policy {
  const char *name;
  int64_t max_batch; /* requests running at a time in an attention group, >= 1 */
  int64_t
      token_budget; /* of one iteration and attention group, >= 1: prompts, and with `mixed` decodes too */
  bool mixed;       /* chunks ride along with decodes; else prompts first, in iterations of their own */
  bool chunked; /* a prompt may be cut; else it goes whole (alone, where it exceeds the budget by itself) */
  fc_reserve reserve;
  double watermark; /* share of the cache kept free at admission, in [0, 1) */
  /* FC_RESERVE_EXPECTED: the share, its floor, its fall in a decode step, what a preemption adds as tokens
   * of each running request, tokens to come counted at most */
  double reserve_start, reserve_floor, reserve_fall;
  int64_t preempted_steps, reserve_clip;
  /* When newcomers are looked at while others decode; 0: before every iteration (default).  Where fewer
   * requests decode than there are groups, and after a prompt where look_steps says so, at once. */
  int64_t look_steps;    /* decode iterations from one look to the next, since the last prompt */
  int64_t wait_steps;    /* decode iterations that newcomers wait for company, at most */
  double wait_share;     /* share of the token budget that prompts and decodes must fill to end that wait */
  int64_t balance_steps; /* attention split by data: prompts start when there is one for every group, or
                            every so many decode iterations */
} fc_serve_policy;

/** `vllm` (default), `sglang`, `trtllm` (= `trtllm_no_evict`), `trtllm_max_utilisation`.
 *
 *  vllm      V1 scheduler: decodes first, then chunks up to max_num_batched_tokens, waiting requests while
 *            budget and max_num_seqs last; recompute preemption of the last comer; 8,192 tokens, 1,024
 * requests (devices of 70 GiB and more; 2,048 and 256 on smaller ones and the A100), no watermark.  Blocks of
 * a whole prompt are taken at admission, where V1 takes them chunk by chunk: the same unless prompts are of
 * the cache's size.
 *            @source vllm/v1/core/sched/scheduler.py, vllm/engine/arg_utils.py (defaults by usage context)
 *  sglang    a prefill batch whenever the queue is not empty and memory allows; decodes wait meanwhile;
 * chunked prefill of 8,192 tokens; reserve 0.7 x conservativeness of at most 4,096 tokens to come, falling to
 * 0.14 of it in 600 steps; after a retraction (decoded + 20 steps a request) over all to come; a blocked
 * queue is looked at again when a request leaves.
 *            @source sglang/srt/managers/{schedule_policy,scheduler,schedule_batch}.py, global_config
 *  trtllm    in-flight fused batching; GUARANTEED_NO_EVICT: blocks for prompt and all output at admission;
 *            whole prompts within 8,192 tokens, 2,048 requests.
 *  trtllm_max_utilisation  MAX_UTILIZATION: no reserve, pauses the last comer when memory is out.
 *            @source TensorRT-LLM docs, "Batch Manager / Capacity Scheduler Policy", build defaults
 *            max_num_tokens 8192, max_batch_size 2048; a paused request is recomputed: judgement
 *  look_steps is SGLang's --scheduler-recv-interval (default 1; a prompt ends the interval), wait_steps and
 *  wait_share TensorRT-LLM's batch_wait_timeout_iters and batch_wait_max_tokens_ratio (default 0),
 * balance_steps its attention_dp_config.timeout_iters where enable_balance is set.
 *            @source sglang/srt/managers/scheduler_recv_skipper.py,
 * tensorrt_llm/_torch/pyexecutor/py_executor.py
 *  @return false: no such policy; `out` untouched */
bool fc_serve_policy_named(fc_serve_policy *out, const char *name);
/** Names, for messages; NULL past the end. */
const char *fc_serve_policy_name(size_t i);
/** @return NULL, or a sentence about the first value outside its domain */
const char *fc_serve_policy_fault(const fc_serve_policy *policy);

#endif
