/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/serve/policy.h>

#include <string.h>

/* Values and their sources: policy.h. */
static const fc_serve_policy POLICY[] = {
    {.name = "vllm", .max_batch = 1024, .token_budget = 8192, .mixed = true, .chunked = true},
    {.name = "sglang",
     .max_batch = 2048,
     .token_budget = 8192,
     .chunked = true,
     .reserve = FC_RESERVE_EXPECTED,
     .reserve_start = 0.7,
     .reserve_floor = 0.7 * 0.14,
     .reserve_fall = 0.7 * (1 - 0.14) / 600,
     .preempted_steps = 20,
     .reserve_clip = 4096},
    {.name = "trtllm", .max_batch = 2048, .token_budget = 8192, .mixed = true, .reserve = FC_RESERVE_FULL},
    {.name = "trtllm_no_evict",
     .max_batch = 2048,
     .token_budget = 8192,
     .mixed = true,
     .reserve = FC_RESERVE_FULL},
    {.name = "trtllm_max_utilisation", .max_batch = 2048, .token_budget = 8192, .mixed = true},
};
enum { N_POLICY = sizeof POLICY / sizeof *POLICY };

bool fc_serve_policy_named(fc_serve_policy *out, const char *name) {
  for (size_t i = 0; i < N_POLICY; i++)
    if (strcmp(POLICY[i].name, name) == 0) {
      *out = POLICY[i];
      return true;
    }
  return false;
}

const char *fc_serve_policy_name(size_t i) {
  return i < N_POLICY ? POLICY[i].name : NULL;
}

const char *fc_serve_policy_fault(const fc_serve_policy *p) {
  if (p->max_batch < 1 || p->max_batch > 1000000) return "policy: max_batch is outside [1, 1e6]";
  if (p->token_budget < 1 || p->token_budget > 10000000) return "policy: token_budget is outside [1, 1e7]";
  if (p->look_steps < 0 || p->wait_steps < 0 || p->balance_steps < 0)
    return "policy: look_steps, wait_steps or balance_steps is negative";
  if (!(p->wait_share >= 0 && p->wait_share <= 1)) return "policy: wait_share is outside [0, 1]";
  if (!(p->watermark >= 0 && p->watermark < 1)) return "policy: watermark is outside [0, 1)";
  if (p->reserve != FC_RESERVE_EXPECTED) return NULL;
  if (!(p->reserve_start >= 0 && p->reserve_start <= 1)) return "policy: reserve_start is outside [0, 1]";
  if (!(p->reserve_floor >= 0 && p->reserve_floor <= p->reserve_start))
    return "policy: reserve_floor is outside [0, reserve_start]";
  if (!(p->reserve_fall >= 0 && p->reserve_fall <= 1)) return "policy: reserve_fall is outside [0, 1]";
  if (p->reserve_clip < 1) return "policy: reserve_clip is below 1";
  return p->preempted_steps >= 0 ? NULL : "policy: preempted_steps is negative";
}
