/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TEST_FIXTURE_MODELS_H
#define FC_TEST_FIXTURE_MODELS_H

#include <fleetcast/cost/model.h>
#include <fleetcast/cost/profile.h>

/** Models and two devices as constants, so that tests of cost, serve and train need no loader. */
extern const fc_model fixture_deepseek_v3, fixture_kimi_k2, fixture_qwen3_235b, fixture_gpt_oss_120b;
extern const fc_model fixture_llama_8b, fixture_llama_70b, fixture_llama_405b, fixture_qwen_72b;
extern const fc_device fixture_h100, fixture_h800;
extern const fc_profile fixture_h100_profile, fixture_h800_profile;

#endif
