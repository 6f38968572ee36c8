/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include <fleetcast/cost/serve_step.h>
#include <fleetcast/serve/capacity.h>

#include "fixture_models.h"

static const fc_request_shape chat = {.input_tokens = 2000, .output_tokens = 500};
static const fc_slo easy = {.ttft_s = 2, .tpot_s = 0.05};

static const fc_deployment v3_split = {.disaggregated = true,
                                       .speculative_tokens = 1,
                                       .prefill = {.devices = 32,
                                                   .tp = 1,
                                                   .attention_dp = 32,
                                                   .ep = 32,
                                                   .gemm = FC_DTYPE_FP8,
                                                   .kv = FC_DTYPE_BF16,
                                                   .expert_imbalance = 1.2,
                                                   .two_batch_overlap = true,
                                                   .memory_fraction = 0.9},
                                       .decode = {.devices = 144,
                                                  .tp = 1,
                                                  .attention_dp = 144,
                                                  .ep = 144,
                                                  .gemm = FC_DTYPE_FP8,
                                                  .kv = FC_DTYPE_BF16,
                                                  .expert_imbalance = 1.2,
                                                  .two_batch_overlap = true,
                                                  .memory_fraction = 0.9}};

static const fc_deployment llama_mixed = {.decode = {.devices = 4,
                                                     .tp = 4,
                                                     .attention_dp = 1,
                                                     .ep = 1,
                                                     .gemm = FC_DTYPE_BF16,
                                                     .kv = FC_DTYPE_BF16,
                                                     .memory_fraction = 0.9}};

static fc_serve_capacity solve(const fc_model *model, const fc_deployment *d, fc_request_shape shape,
                               fc_slo slo) {
  fc_serve_capacity c;
  char why[256];
  cr_assert_eq(fc_serve_capacity_solve(&c, model, &fixture_h800_profile, d, &shape, &slo, why), FC_OK, "%s",
               why);
  cr_assert(c.ttft_s <= slo.ttft_s * (1 + 1e-9) && c.tpot_s <= slo.tpot_s * (1 + 1e-9), "%g s, %g s",
            c.ttft_s, c.tpot_s);
  cr_assert(isfinite(c.prefill_tokens_per_s) && c.prefill_tokens_per_s > 0);
  cr_assert(isfinite(c.decode_tokens_per_s) && c.decode_tokens_per_s > 0);
  cr_assert(c.prefill_watts >= 70 && c.prefill_watts <= 700 && c.decode_watts >= 70 && c.decode_watts <= 700);
  cr_assert(c.prefill_utilisation > 0 && c.prefill_utilisation <= FC_SERVE_UTILISATION_MAX);
  return c;
}

static double device_s(const fc_serve_capacity *c, fc_request_shape s) {
  return s.input_tokens * (1 - s.cache_hit) / c->prefill_tokens_per_s +
         s.output_tokens / c->decode_tokens_per_s;
}

Test(capacity, decode_is_the_largest_batch_within_the_objective) {
  fc_serve_capacity c = solve(&fixture_deepseek_v3, &v3_split, chat, (fc_slo){.ttft_s = 2, .tpot_s = 0.04});
  cr_assert_str_eq(c.decode_limit, "TPOT");
  fc_serve_load load = {.decode_requests = c.decode_batch * 144, .decode_context = 2250};
  fc_serve_iteration it;
  cr_assert_eq(
      fc_cost_serve_iteration(&it, &fixture_deepseek_v3, &fixture_h800_profile, &v3_split.decode, &load),
      FC_OK);
  cr_assert_float_eq(it.seconds, c.tpot_s, 1e-12);
  cr_assert_float_eq(c.decode_tokens_per_s, c.decode_batch / it.seconds, 1e-6);
  load.decode_requests += 144;
  cr_assert_eq(
      fc_cost_serve_iteration(&it, &fixture_deepseek_v3, &fixture_h800_profile, &v3_split.decode, &load),
      FC_OK);
  cr_assert_gt(it.seconds, 0.04, "one request more a device breaks the objective");
}

Test(capacity, cache_limits_long_contexts) { /* INV-5 */
  fc_request_shape shape = {.input_tokens = 30000, .output_tokens = 2000};
  fc_serve_capacity c = solve(&fixture_deepseek_v3, &v3_split, shape, (fc_slo){.ttft_s = 20, .tpot_s = 0.5});
  cr_assert_str_eq(c.decode_limit, "KV cache");
  fc_serve_memory m;
  fc_cost_serve_memory(&m, &fixture_deepseek_v3, &fixture_h800, &v3_split.decode, 31000);
  cr_assert_leq(c.decode_batch * m.kv_bytes_per_request, m.room_bytes);
  cr_assert_float_eq(c.kv_tokens, c.decode_batch * 31000, 1);
}

/* The objective is used up, or the instance as busy as it may be. */
Test(capacity, prefill_is_bound_by_waiting_or_by_utilisation) {
  int waiting = 0, busy = 0;
  for (double ttft = 0.1; ttft < 5; ttft *= 1.02) {
    fc_serve_capacity c;
    fc_slo slo = {.ttft_s = ttft, .tpot_s = 0.05};
    fc_status status = fc_serve_capacity_solve(&c, &fixture_deepseek_v3, &fixture_h800_profile, &v3_split,
                                               &chat, &slo, NULL);
    if (status != FC_OK) {
      cr_assert_eq(waiting + busy, 0, "infeasible at %g s, not below", ttft);
      continue;
    }
    if (strcmp(c.prefill_limit, "TTFT") == 0) {
      waiting++;
      cr_assert_eq(c.ttft_s, ttft);
    } else {
      busy++;
      cr_assert_str_eq(c.prefill_limit, "utilisation");
      cr_assert(c.ttft_s <= ttft && c.prefill_utilisation > 0.94);
    }
  }
  cr_assert(waiting > 2 && busy > 2, "%d, %d", waiting, busy);
}

Test(capacity, looser_objectives_never_cost_capacity) {
  const fc_deployment *deployments[] = {&v3_split, &llama_mixed};
  const fc_model *models[] = {&fixture_deepseek_v3, &fixture_llama_70b};
  for (size_t i = 0; i < 2; i++) {
    double before = (double)INFINITY;
    for (double k = 1; k <= 8; k *= 1.5) {
      fc_serve_capacity c =
          solve(models[i], deployments[i], chat, (fc_slo){.ttft_s = 0.7 * k, .tpot_s = 0.035 * k});
      double now = device_s(&c, chat);
      cr_assert_leq(now, before * (1 + 1e-9), "%s at %g", models[i]->name, k);
      before = now;
    }
  }
}

Test(capacity, cached_prompts_are_cheaper_but_not_free) {
  fc_request_shape shape = {.input_tokens = 8000, .output_tokens = 200, .cache_hit = 0.5}, bare = shape,
                   fresh = shape;
  bare.cache_hit = 0;
  fresh.cache_hit = 0;
  fresh.input_tokens = 4000;
  fc_serve_capacity cached = solve(&fixture_deepseek_v3, &v3_split, shape, easy);
  fc_serve_capacity whole = solve(&fixture_deepseek_v3, &v3_split, bare, easy);
  fc_serve_capacity half = solve(&fixture_deepseek_v3, &v3_split, fresh, easy);
  cr_assert_lt(device_s(&cached, shape), device_s(&whole, bare));
  cr_assert_lt(cached.prefill_tokens_per_s, half.prefill_tokens_per_s,
               "fresh tokens attend to the cached ones");
}

Test(capacity, mixed_instances_add_up) {
  fc_serve_capacity c = solve(&fixture_llama_70b, &llama_mixed, chat, easy);
  cr_assert(!c.deployment.disaggregated);
  cr_assert_eq(c.prefill_unit, 4);
  /* in flight = completions a second x time in decode (Little): batch a device */
  double requests = 1 / device_s(&c, chat);
  cr_assert_float_eq(requests * chat.output_tokens * c.tpot_s, c.decode_batch, 1e-6 * c.decode_batch);
}

/* Verifying two tokens costs an iteration nearly twice the attention and dispatch, so at large batches it
 * buys little; it reaches objectives that one token an iteration cannot. */
Test(capacity, speculation_reaches_tighter_objectives) {
  fc_deployment d = v3_split;
  fc_slo tight = {.ttft_s = 2, .tpot_s = 0.025};
  fc_serve_capacity c;
  cr_assert_eq(
      fc_serve_capacity_solve(&c, &fixture_deepseek_v3, &fixture_h800_profile, &d, &chat, &tight, NULL),
      FC_E_INFEASIBLE);
  d.speculative_tokens = 1.85; /* MTP acceptance 80-90 % (arXiv:2505.09343, section 2.3.3) */
  (void)solve(&fixture_deepseek_v3, &d, chat, tight);
}

Test(capacity, automatic_is_at_least_as_good_as_a_given_plan) {
  fc_deployment automatic = {.automatic = true};
  fc_serve_capacity given = solve(&fixture_deepseek_v3, &v3_split, chat, easy);
  fc_serve_capacity chosen = solve(&fixture_deepseek_v3, &automatic, chat, easy);
  cr_assert_leq(device_s(&chosen, chat), device_s(&given, chat) * (1 + 1e-9));
  cr_assert_gt(chosen.prefill_unit, 0);
  static const fc_model *const models[] = {&fixture_llama_8b,     &fixture_llama_70b,  &fixture_llama_405b,
                                           &fixture_gpt_oss_120b, &fixture_qwen3_235b, &fixture_kimi_k2};
  for (size_t i = 0; i < sizeof models / sizeof *models; i++) (void)solve(models[i], &automatic, chat, easy);
}

Test(capacity, says_why_it_cannot) {
  static const struct {
    const fc_model *model;
    fc_deployment deployment;
    fc_request_shape shape;
    fc_slo slo;
    fc_status status;
    const char *word;
  } cases[] = {
      {&fixture_llama_405b,
       {.decode = {.devices = 8, .tp = 8, .attention_dp = 1, .ep = 1, .gemm = FC_DTYPE_BF16}},
       {2000, 500, 0, 0, 0},
       {2, 0.05},
       FC_E_INFEASIBLE,
       "GB"},
      {&fixture_llama_70b,
       {.automatic = true},
       {2000, 500, 0, 0, 0},
       {2, 0.0001},
       FC_E_INFEASIBLE,
       "ms a token"},
      {&fixture_llama_70b,
       {.automatic = true},
       {100000, 500, 0, 0, 0},
       {0.01, 0.05},
       FC_E_INFEASIBLE,
       "first token"},
      {&fixture_llama_70b, {.automatic = true}, {0, 500, 0, 0, 0}, {2, 0.05}, FC_E_DOMAIN, "positive"},
      {&fixture_llama_70b, {.automatic = true}, {100, 500, 1, 0, 0}, {2, 0.05}, FC_E_DOMAIN, "cache_hit"},
      {&fixture_llama_70b,
       {.decode = {.devices = 3, .tp = 3, .attention_dp = 1, .ep = 1}},
       {100, 500, 0, 0, 0},
       {2, 0.05},
       FC_E_DOMAIN,
       "heads"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fc_serve_capacity c;
    char why[256] = "";
    fc_status status = fc_serve_capacity_solve(&c, cases[i].model, &fixture_h800_profile,
                                               &cases[i].deployment, &cases[i].shape, &cases[i].slo, why);
    cr_assert_eq(status, cases[i].status, "case %zu: %s", i, why);
    cr_assert(strstr(why, cases[i].word), "case %zu: '%s' should mention '%s'", i, why, cases[i].word);
  }
}
