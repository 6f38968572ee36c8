/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/scenario/load.h>

#include <criterion/criterion.h>
#include <string.h>

#include "scenario_support.h"

/* Excerpts of the config.json of each family: what the importer reads, and some of what it passes over. */

static const char deepseek_v3[] =
    "{\"architectures\": [\"DeepseekV3ForCausalLM\"], \"attention_bias\": false, \"model_type\": "
    "\"deepseek_v3\",\n"
    "\"auto_map\": {\"AutoConfig\": \"configuration_deepseek.DeepseekV3Config\"}, \"first_k_dense_replace\": "
    "3,\n"
    "\"hidden_size\": 7168, \"intermediate_size\": 18432, \"kv_lora_rank\": 512, \"moe_intermediate_size\": "
    "2048,\n"
    "\"n_group\": 8, \"n_routed_experts\": 256, \"n_shared_experts\": 1, \"num_attention_heads\": 128,\n"
    "\"num_experts_per_tok\": 8, \"num_hidden_layers\": 61, \"num_key_value_heads\": 128, "
    "\"num_nextn_predict_layers\": 1,\n"
    "\"q_lora_rank\": 1536, \"qk_nope_head_dim\": 128, \"qk_rope_head_dim\": 64, \"tie_word_embeddings\": "
    "false,\n"
    "\"quantization_config\": {\"fmt\": \"e4m3\", \"quant_method\": \"fp8\", \"weight_block_size\": [128, "
    "128]},\n"
    "\"topk_group\": 4, \"torch_dtype\": \"bfloat16\", \"v_head_dim\": 128, \"vocab_size\": 129280}\n";

Test(scenario_hf, deepseek_v3_is_the_shipped_model) {
  fc_input *have = parse_ok(deepseek_v3, NULL),
           *want = load_ok(FC_SOURCE_DIR "/scenarios/models/deepseek-v3.yaml", NULL);
  const fc_model *a = fc_input_model(have), *b = fc_input_model(want);
  cr_assert_not_null(a);
  cr_expect(a->layers == b->layers && a->dense_layers == b->dense_layers && a->hidden == b->hidden);
  cr_expect(a->vocab == b->vocab && a->ffn == b->ffn && a->tied_embeddings == b->tied_embeddings);
  cr_expect(a->mtp_layers == b->mtp_layers && a->weights == b->weights);
  cr_expect(a->attention.kind == b->attention.kind && a->attention.heads == b->attention.heads);
  cr_expect(a->attention.q_lora == b->attention.q_lora && a->attention.kv_lora == b->attention.kv_lora);
  cr_expect(a->attention.nope == b->attention.nope && a->attention.rope == b->attention.rope);
  cr_expect(a->attention.v == b->attention.v && a->moe.experts == b->moe.experts &&
            a->moe.active == b->moe.active);
  cr_expect(a->moe.shared == b->moe.shared && a->moe.inter == b->moe.inter && a->moe.groups == b->moe.groups);
  cr_expect(a->moe.top_groups == b->moe.top_groups);
  cr_expect_str_eq(a->name, "deepseek_v3");
  fc_input_free(have);
  fc_input_free(want);
}

Test(scenario_hf, llama) {
  fc_input *input =
      parse_ok("{\"model_type\": \"llama\", \"hidden_size\": 4096, \"intermediate_size\": 14336,\n"
               "\"num_attention_heads\": 32, \"num_hidden_layers\": 32, \"num_key_value_heads\": 8,\n"
               "\"tie_word_embeddings\": false, \"vocab_size\": 128256, \"pretraining_tp\": 1}\n",
               NULL);
  const fc_model *m = fc_input_model(input);
  cr_expect(m->attention.kind == FC_ATTENTION_GQA && m->attention.head_dim == 128 &&
            m->attention.kv_heads == 8);
  cr_expect(m->ffn == 14336 && m->moe.experts == 0 && m->weights == FC_DTYPE_BF16);
  fc_input_free(input);
}

Test(scenario_hf, qwen3_moe) {
  fc_input *input =
      parse_ok("{\"model_type\": \"qwen3_moe\", \"head_dim\": 128, \"hidden_size\": 4096,\n"
               "\"intermediate_size\": 12288, \"moe_intermediate_size\": 1536, \"num_attention_heads\": 64,\n"
               "\"num_experts\": 128, \"num_experts_per_tok\": 8, \"num_hidden_layers\": 94,\n"
               "\"num_key_value_heads\": 4, \"sliding_window\": null, \"vocab_size\": 151936}\n",
               NULL);
  const fc_model *m = fc_input_model(input);
  cr_expect(m->moe.experts == 128 && m->moe.active == 8 && m->moe.inter == 1536 && m->moe.shared == 0);
  cr_expect(m->attention.head_dim == 128 && m->attention.window == 0);
  fc_input_free(input);
}

Test(scenario_hf, gpt_oss) {
  fc_input *input = parse_ok(
      "{\"model_type\": \"gpt_oss\", \"head_dim\": 64, \"hidden_size\": 2880, \"intermediate_size\": 2880,\n"
      "\"layer_types\": [\"sliding_attention\", \"full_attention\", \"sliding_attention\", "
      "\"full_attention\"],\n"
      "\"num_attention_heads\": 64, \"num_experts_per_tok\": 4, \"num_hidden_layers\": 4,\n"
      "\"num_key_value_heads\": 8, \"num_local_experts\": 128, \"sliding_window\": 128, \"vocab_size\": "
      "201088,\n"
      "\"quantization_config\": {\"quant_method\": \"mxfp4\"}}\n",
      NULL);
  const fc_model *m = fc_input_model(input);
  cr_expect(m->moe.experts == 128 && m->moe.inter == 2880 && m->ffn == 0 && m->weights == FC_DTYPE_FP4);
  cr_expect(m->attention.window == 128 && m->attention.window_layers == 2);
  fc_input_free(input);
}

Test(scenario_hf, errors_point_into_the_config) {
  expect_error("{\"model_type\": \"lama\"}\n", NULL,
               "x.yaml:1:16: error: 'model_type' = 'lama'; did you mean 'llama'?");
  expect_error("{\"model_type\": \"llama\", \"hidden_size\": -4,\n\"num_attention_heads\": 32, "
               "\"num_hidden_layers\": 32,\n"
               "\"intermediate_size\": 8, \"vocab_size\": 5}\n",
               NULL, "x.yaml:1:40: error: 'hidden' = -4 is outside [1, 1e+06]");
}

Test(scenario_hf, overrides_use_our_keys) {
  const char *set[] = {"name=mine", "attention.heads=64"};
  fc_load_options options = {.n_set = 2, .set = set};
  fc_input *input = parse_ok(deepseek_v3, &options);
  cr_expect_str_eq(fc_input_model(input)->name, "mine");
  cr_expect_eq(fc_input_model(input)->attention.heads, 64);
  fc_input_free(input);
}
