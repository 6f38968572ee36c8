/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>

#include <fleetcast/cost/model.h>

#include "fixture_models.h"

static const fc_model *const models[] = {&fixture_deepseek_v3,  &fixture_kimi_k2,  &fixture_qwen3_235b,
                                         &fixture_gpt_oss_120b, &fixture_llama_8b, &fixture_llama_70b,
                                         &fixture_llama_405b,   &fixture_qwen_72b};

static void close_to(double got, double want, double relative, const char *what) {
  cr_assert(fabs(got - want) <= relative * fabs(want), "%s: %.6g, published %.6g", what, got, want);
}

Test(model, counts_match_what_authors_publish) {
  for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
    const fc_model *m = models[i];
    close_to(fc_model_params(m), m->published_total_params, 0.015, m->name);
    double active = fc_model_active_params(m);
    if (m == &fixture_gpt_oss_120b)
      active -= (double)m->vocab * (double)m->hidden; /* its card leaves it out */
    close_to(active, m->published_active_params, 0.02, m->name);
  }
}

Test(model, cache_bytes_a_token) { /* arXiv:2505.09343, table 1 */
  cr_assert_eq(fc_model_kv_bytes_per_token(&fixture_deepseek_v3, FC_DTYPE_BF16), 70272);
  cr_assert_eq(fc_model_kv_bytes_per_token(&fixture_qwen_72b, FC_DTYPE_BF16), 327680);
  cr_assert_eq(fc_model_kv_bytes_per_token(&fixture_llama_405b, FC_DTYPE_BF16), 516096);
  cr_assert_eq(fc_model_kv_bytes_per_token(&fixture_llama_405b, FC_DTYPE_FP8), 258048);
}

Test(model, training_flop_a_token) { /* arXiv:2505.09343, table 2: causal, 4,096 */
  close_to(fc_model_train_flop_per_token(&fixture_deepseek_v3, 4096, false), 250e9, 0.01, "DeepSeek-V3");
  close_to(fc_model_train_flop_per_token(&fixture_llama_405b, 4096, false), 2448e9, 0.015, "Llama 405B");
}

Test(model, mtp_costs_more_and_context_costs_more) {
  cr_assert_gt(fc_model_train_flop_per_token(&fixture_deepseek_v3, 4096, true),
               fc_model_train_flop_per_token(&fixture_deepseek_v3, 4096, false));
  cr_assert_gt(fc_model_forward_flop_per_token(&fixture_llama_8b, 8192),
               fc_model_forward_flop_per_token(&fixture_llama_8b, 4096));
  /* half of gpt-oss's layers stop growing at 128 tokens */
  double near = fc_model_forward_flop_per_token(&fixture_gpt_oss_120b, 2048);
  double far = fc_model_forward_flop_per_token(&fixture_gpt_oss_120b, 4096);
  cr_assert_float_eq(far - near, 18.0 * 2 * 64 * 128 * 2048, 1);
}
