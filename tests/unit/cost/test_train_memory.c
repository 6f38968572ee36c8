/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of training: what each part of a plan adds, in closed form, and one measured peak. */
#include <criterion/criterion.h>
#include <math.h>

#include <fleetcast/cost/train_step.h>

#include "fixture_models.h"

static void within(double got, double want, double tolerance, const char *what) {
  cr_assert(fabs(got / want - 1) <= tolerance, "%s: %.6g, expected %.6g", what, got, want);
}

static fc_model gpt(int64_t layers, int64_t hidden, int64_t heads, int64_t vocab) {
  return (fc_model){
      .name = "gpt",
      .layers = layers,
      .hidden = hidden,
      .vocab = vocab,
      .ffn = 4 * hidden,
      .plain_ffn = true,
      .attention = {.kind = FC_ATTENTION_GQA, .heads = heads, .kv_heads = heads, .head_dim = hidden / heads}};
}

static fc_train_plan plain(int64_t devices, int64_t tp, int64_t pp, int64_t sequence) {
  return (fc_train_plan){.devices = devices,
                         .tp = tp,
                         .pp = pp,
                         .cp = 1,
                         .ep = 1,
                         .virtual_stages = 1,
                         .micro_batch = 1,
                         .global_batch = 64 * devices / (tp * pp),
                         .sequence = sequence,
                         .gemm = FC_DTYPE_BF16};
}

static fc_train_memory fullest(const fc_model *model, const fc_train_plan *plan) {
  fc_train_memory m;
  cr_assert_eq(fc_train_plan_check(model, plan, NULL), FC_OK);
  fc_cost_train_memory(&m, model, plan);
  return m;
}

/* @source Megatron-LM d98e8a64, gpt3_7b_tp1_pp4_memory_speed, golden_values_dev_dgx_h100.json: peak allocated
 * on the last rank, after two steps and after one, when no moments were there yet */
Test(train_memory, last_rank_of_a_measured_gpt) {
  fc_model model = gpt(32, 4096, 32, 131200);
  model.attention.kv_heads = 8;
  fc_train_plan p = plain(8, 1, 4, 8192);
  p.virtual_stages = 8;
  p.global_batch = 8;
  p.zero = 1;
  p.schedule = FC_SCHEDULE_INTERLEAVED;
  p.dropout = true;
  fc_train_memory m;
  cr_assert(fc_cost_train_memory_at(&m, &model, &p, FC_TRAIN_LAST));
  double peak = m.total_bytes - m.fragment_bytes - FC_TRAIN_RESERVED_BYTES;
  within(peak, 60720852992, 0.015, "measured");
  within(peak - m.moment_bytes, 52931256320, 0.015, "measured after the first step");
}

Test(train_memory, the_fullest_is_one_of_the_places) {
  fc_model model = gpt(30, 4096, 32, 32000);
  fc_train_plan p = plain(8, 1, 8, 1024);
  fc_train_memory most = fullest(&model, &p), at[3];
  double largest = 0;
  for (int i = 0; i < 3; i++) {
    cr_assert(fc_cost_train_memory_at(&at[i], &model, &p, (fc_train_place)i));
    largest = fmax(largest, at[i].total_bytes);
  }
  cr_assert_eq(most.total_bytes, largest);
  p = plain(8, 1, 2, 1024);
  cr_assert(!fc_cost_train_memory_at(&at[1], &model, &p, FC_TRAIN_INNER), "two stages have no inner one");
  cr_assert_eq(at[1].total_bytes, 0);
  p = plain(8, 1, 1, 1024);
  most = fullest(&model, &p);
  for (int i = 0; i < 3; i++) {
    cr_assert(fc_cost_train_memory_at(&at[i], &model, &p, (fc_train_place)i));
    cr_assert_eq(at[i].total_bytes, most.total_bytes, "without a pipeline all are alike");
  }
}

/* The second of short-ended stages delays one micro-batch's weight gradients, 32 of (34 + 5as/h) sbh.
 * @source arXiv:2401.10241, table 1 and section 2.2 */
Test(train_memory, zero_bubble_holds_inputs_and_gradients_of_products) {
  fc_model model = gpt(30, 4096, 32, 32000);
  fc_train_plan p = plain(8, 1, 8, 1024);
  p.unfused_attention = true;
  p.schedule = FC_SCHEDULE_ZB1P;
  double sbh = 1024.0 * 4096, scores = 5.0 * 32 * 1024 / 4096;
  within(fullest(&model, &p).activation_bytes, 4 * sbh * (7 * (34 + scores) + 32), 1e-12, "second device");
  p.unfused_attention = false; /* without scores 32 of 32: as one more micro-batch */
  within(fullest(&model, &p).activation_bytes, 4 * sbh * 8 * 32, 1e-12, "all of it is of products");
}

Test(train_memory, dropout_and_score_buffer) {
  fc_model model = gpt(4, 4096, 32, 32000);
  fc_train_plan p = plain(1, 1, 1, 2048), q = p;
  q.dropout = true;
  within(fullest(&model, &q).activation_bytes - fullest(&model, &p).activation_bytes, 4 * 2.0 * 2048 * 4096,
         1e-9, "two masks a layer");
  q = p;
  q.unfused_attention = true;
  within(fullest(&model, &q).buffer_bytes, 2.0 * 32 * 2048 * 2048, 1e-12, "scores of one layer");
  cr_assert_eq(fullest(&model, &p).buffer_bytes, 0);
}

Test(train_memory, gathered_sequence) {
  fc_train_plan p = plain(64, 8, 1, 8192);
  double whole = 2.0 * 8192 * 4096;
  within(fullest(&fixture_llama_8b, &p).buffer_bytes, 2 * whole, 1e-12, "in Megatron's layout");
  p.zero = 3;
  fc_train_memory copied = fullest(&fixture_llama_8b, &p);
  p.async_tp = true;
  within(copied.buffer_bytes - fullest(&fixture_llama_8b, &p).buffer_bytes, 2 * whole, 1e-9,
         "DTensor's rearranged copies");
}

Test(train_memory, states_by_precision) {
  fc_train_plan p = plain(8, 1, 1, 4096);
  p.zero = 3;
  double params = 8.03e9;
  fc_train_memory m = fullest(&fixture_llama_8b, &p);
  cr_assert_eq(m.weight_bytes, 0, "gathered from the master");
  within(m.gradient_bytes + m.optimizer_bytes, 16 * params / 8, 2e-3, "16 bytes a parameter");
  p.zero = 1;
  p.gemm = FC_DTYPE_FP8;
  fc_train_memory narrow = fullest(&fixture_llama_8b, &p);
  p.moments = FC_MOMENTS_FP32;
  fc_train_memory wide = fullest(&fixture_llama_8b, &p);
  within(wide.moment_bytes, 2 * narrow.moment_bytes, 1e-12, "moments in FP32");
  within(wide.optimizer_bytes - narrow.optimizer_bytes, 4 * params / 8, 2e-3, "on an eighth");
  p.narrow_weights = true;
  m = fullest(&fixture_llama_8b, &p);
  within(m.weight_bytes, 2 * params, 2e-3, "8 bits either way round");
  within(wide.weight_bytes - m.weight_bytes, params - 2 * 525.3e6, 2e-3, "no BF16 beside");
  p.gemm = FC_DTYPE_BF16;
  p.moments = FC_MOMENTS_BF16;
  within(fullest(&fixture_llama_8b, &p).moment_bytes, narrow.moment_bytes, 1e-12, "BF16 as stated");
}

/* The optimizer's FP32 copies of BF16 gradients are the peak where activations are small; not before that. */
Test(train_memory, the_update_can_be_the_peak) {
  fc_train_plan p = plain(1, 1, 1, 64);
  p.bf16_gradients = true;
  fc_train_memory m = fullest(&fixture_llama_8b, &p);
  double params = 8.03e9;
  within(m.update_bytes, 4 * params, 2e-3, "an FP32 copy of each");
  within(m.total_bytes - m.fragment_bytes - FC_TRAIN_RESERVED_BYTES, (16 + 4) * params, 2e-3, "the update");
  p.moments = FC_MOMENTS_BF16;
  cr_assert_eq(fullest(&fixture_llama_8b, &p).update_bytes, 0, "reads them as they are");
  p.moments = FC_MOMENTS_FP32;
  p.gemm = FC_DTYPE_FP8;
  p.narrow_weights = true;
  within(fullest(&fixture_llama_8b, &p).update_bytes, 6 * params - 2 * 2 * 525.3e6, 2e-3, "and BF16 casts");
  p = plain(1, 1, 1, 8192);
  p.bf16_gradients = true;
  m = fullest(&fixture_llama_8b, &p);
  cr_assert_gt(m.activation_bytes + m.other_bytes - FC_TRAIN_RESERVED_BYTES, m.update_bytes);
  within(m.other_bytes - FC_TRAIN_RESERVED_BYTES, 8192 * (6.0 * 128256 + 4 * 4096), 1e-9, "logits");
}

/* @source arXiv:2205.05198, section 4.2.1: sbh (10 + 24 / t) without sequence parallelism, sbh 34 / t with it
 */
Test(train_memory, tensor_parallelism_without_that_of_the_sequence) {
  fc_model model = gpt(8, 8192, 64, 32768);
  fc_train_plan p = plain(8, 8, 1, 2048);
  p.dropout = true;
  double sbh = 8 * 2048.0 * 8192;
  within(fullest(&model, &p).activation_bytes, sbh * 34 / 8, 1e-12, "sequence parallel");
  p.eager = FC_EAGER_WHOLE;
  within(fullest(&model, &p).activation_bytes, sbh * (10 + 24.0 / 8), 1e-12, "not");
  cr_assert_eq(fullest(&model, &p).buffer_bytes, 0, "nothing is gathered");
  p.recompute = FC_RECOMPUTE_FULL;
  within(fullest(&model, &p).activation_bytes, sbh * 2, 1e-12, "inputs, whole on every rank");
  p.unfused_attention = true;
  p.recompute = FC_RECOMPUTE_NONE;
  within(fullest(&model, &p).activation_bytes, sbh * (10 + (24 + 5.0 * 64 * 2048 / 8192) / 8), 1e-12,
         "scores");
}

Test(train_memory, gated_activation_in_two) {
  fc_train_plan p = plain(8, 1, 1, 8192), q = p;
  q.eager = FC_EAGER_GLU;
  within(fullest(&fixture_llama_8b, &q).activation_bytes - fullest(&fixture_llama_8b, &p).activation_bytes,
         32 * 8192 * 2.0 * 14336, 1e-9, "silu of one half");
}

/* @source torchtitan 9dec370, parallelize_llama.py: block input, attention's output and products 1, 3, 5, 7
 */
Test(train_memory, every_second_product) {
  fc_train_plan p = plain(8, 1, 1, 8192);
  p.recompute = FC_RECOMPUTE_SELECTIVE;
  p.alternate_products = true;
  double kept = 2 * (4096 + 4096 + 1024 + 4096 + 14336 + 4096.0);
  within(fullest(&fixture_llama_8b, &p).activation_bytes, 32 * 8192 * kept, 1e-12, "kept of each token");
}

/* With everything recomputed, one layer and the gradients of its feed-forward come and go. */
Test(train_memory, a_recomputed_layer_and_its_gradients) {
  fc_model model = gpt(8, 8192, 64, 1024);
  fc_train_plan p = plain(1, 1, 1, 4096);
  p.recompute = FC_RECOMPUTE_FULL;
  double sbh = 4096.0 * 8192;
  within(fullest(&model, &p).other_bytes - FC_TRAIN_RESERVED_BYTES, sbh * (32 + 10), 1e-12, "one layer");
}
