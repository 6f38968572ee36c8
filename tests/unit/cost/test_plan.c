/* SPDX-License-Identifier: Apache-2.0 */
/* Plans at random, refusals, and memory against published rows. */
#include <criterion/criterion.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include <fleetcast/base/rng.h>
#include <fleetcast/cost/train_step.h>

#include "fixture_models.h"

/* --- plans at random: refused with a reason, or finite and no faster than the roofline --- */

static int64_t pick(fc_rng *rng, const int64_t *values, size_t n) {
  return values[(size_t)(fc_rng_uniform(rng) * (double)n)];
}

static fc_train_plan draw_plan(fc_rng *rng) {
  static const int64_t degree[] = {1, 1, 1, 2, 2, 4, 8, 8, 16, 3, 0, -1, INT64_MAX},
                       devices[] = {8, 64, 64, 512, 2048, 12},
                       batch[] = {64, 512, 1024, 4096, 7, 0, INT64_MAX},
                       length[] = {1, 2048, 4096, 8192, 131072, 4095};
#define PICK(a) pick(rng, (a), sizeof(a) / sizeof *(a))
  fc_train_plan p = {.devices = PICK(devices),
                     .tp = PICK(degree),
                     .pp = PICK(degree),
                     .cp = PICK(degree),
                     .ep = PICK(degree),
                     .virtual_stages = PICK(degree)};
  p.micro_batch = fc_rng_uniform(rng) < 0.8 ? 1 : PICK(degree);
  p.global_batch = PICK(batch);
  p.sequence = PICK(length);
#undef PICK
  p.zero = (int64_t)(fc_rng_uniform(rng) * 5);
  p.schedule = (fc_schedule)(fc_rng_uniform(rng) * 5.2);
  p.recompute = (fc_recompute)(fc_rng_uniform(rng) * 3.1);
  p.launch = (fc_launch)(fc_rng_uniform(rng) * 3.1);
  p.gemm = (fc_dtype)(fc_rng_uniform(rng) * FC_DTYPE_COUNT);
  p.expert_imbalance = fc_rng_uniform(rng) < 0.9 ? 1 + fc_rng_uniform(rng) : fc_rng_normal(rng) * 100;
  p.overlap = fc_rng_uniform(rng) * 1.05;
  p.unfused_attention = fc_rng_uniform(rng) < 0.2;
  p.tensor_scales = fc_rng_uniform(rng) < 0.3;
  p.bf16_dispatch = fc_rng_uniform(rng) < 0.3;
  p.bf16_gradients = fc_rng_uniform(rng) < 0.3;
  p.moments = (fc_moments)(fc_rng_uniform(rng) * 3);
  p.narrow_weights = fc_rng_uniform(rng) < 0.3;
  p.async_tp = fc_rng_uniform(rng) < 0.3;
  p.dropout = fc_rng_uniform(rng) < 0.3;
  p.alternate_products = fc_rng_uniform(rng) < 0.3;
  p.serial_data = fc_rng_uniform(rng) < 0.3;
  return p;
}

/* Useful FLOP at the peak of the format or, for what runs in BF16, of BF16: the least that a device can take.
 */
static double least_s(const fc_model *model, const fc_profile *profile, const fc_train_plan *p) {
  double flop = fc_model_train_flop_per_token(model, (double)p->sequence, model->mtp_layers > 0);
  double peak =
      fmax(profile->device->peak_flop_per_s[FC_DTYPE_FP8], profile->device->peak_flop_per_s[FC_DTYPE_BF16]);
  return flop * (double)p->sequence * (double)p->global_batch / (double)p->devices / peak;
}

Test(plan, random_plans_are_refused_with_a_reason_or_finite_and_above_the_roofline) {
  static const fc_model *const models[] = {&fixture_deepseek_v3, &fixture_llama_8b, &fixture_llama_405b,
                                           &fixture_gpt_oss_120b, &fixture_qwen3_235b};
  fc_rng rng = fc_rng_keyed(11, FC_STREAM_TEST, 0, 0);
  int ran = 0, refused = 0;
  for (int i = 0; i < 60000; i++) {
    const fc_model *model = models[i % 5];
    fc_train_plan p = draw_plan(&rng);
    fc_train_step s;
    char why[256] = "";
    if (fc_train_plan_check(model, &p, why) != FC_OK) {
      refused++;
      cr_assert(strlen(why) > 20, "refused without a reason: '%s'", why);
      cr_assert_eq(fc_cost_train_step(&s, model, &fixture_h100_profile, &p), FC_E_DOMAIN);
      continue;
    }
    ran++;
    cr_assert_eq(fc_cost_train_step(&s, model, &fixture_h100_profile, &p), FC_OK);
    double floor_s = least_s(model, &fixture_h100_profile, &p);
    cr_assert(s.seconds >= 0.98 * floor_s && isfinite(s.seconds), "%s, %d: %g s, roofline %g s", model->name,
              i, s.seconds, floor_s);
    fc_train_memory m;
    fc_cost_train_memory(&m, model, &p);
    double sum = m.weight_bytes + m.gradient_bytes + m.optimizer_bytes + m.activation_bytes + m.buffer_bytes +
                 m.fragment_bytes + m.other_bytes;
    cr_assert(isfinite(m.total_bytes) && m.total_bytes > 0 && fabs(sum / m.total_bytes - 1) < 1e-12);
    cr_assert(m.activation_bytes >= 0 && m.optimizer_bytes > 0 && m.buffer_bytes >= 0);
    cr_assert(m.weight_bytes > 0 || (p.zero == 3 && !p.bf16_gradients), "who gathers from the master?");
    cr_assert(m.moment_bytes < m.optimizer_bytes && m.update_bytes >= 0);
  }
  cr_assert(ran > 300 && refused > 3000, "%d ran, %d refused: the draw visits too little", ran, refused);
}

Test(plan, refuses_what_cannot_be) {
  static const fc_train_plan good = {.devices = 64,
                                     .tp = 1,
                                     .pp = 4,
                                     .cp = 1,
                                     .ep = 8,
                                     .virtual_stages = 1,
                                     .micro_batch = 1,
                                     .global_batch = 1024,
                                     .sequence = 4096,
                                     .gemm = FC_DTYPE_FP8,
                                     .expert_imbalance = 1};
  cr_assert_eq(fc_train_plan_check(&fixture_deepseek_v3, &good, NULL), FC_OK);
  fc_train_plan many = good, few = good, unknown = good, skewed = good, nan = good, hidden = good,
                launch = good, int8 = good;
  many.schedule = FC_SCHEDULE_INTERLEAVED;
  many.virtual_stages = 40;
  few.schedule = FC_SCHEDULE_DUALPIPEV;
  few.global_batch = 16 * 7;
  unknown.schedule = (fc_schedule)17;
  skewed.expert_imbalance = 9;
  nan.expert_imbalance = (double)NAN;
  hidden.overlap = (double)NAN;
  launch.launch = (fc_launch)5;
  int8.gemm = FC_DTYPE_INT8;
  const struct {
    const fc_train_plan *plan;
    const char *word;
  } bad[] = {{&many, "virtual"},  {&few, "DualPipeV"},  {&unknown, "schedule"}, {&skewed, "imbalance"},
             {&nan, "imbalance"}, {&hidden, "overlap"}, {&launch, "launch"},    {&int8, "bf16"}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char why[256] = "";
    cr_assert_eq(fc_train_plan_check(&fixture_deepseek_v3, bad[i].plan, why), FC_E_DOMAIN, "case %zu", i);
    cr_assert(strstr(why, bad[i].word), "'%s' should mention '%s'", why, bad[i].word);
  }
}

/* --- memory --- */

static void within(double got, double want, double tolerance, const char *what) {
  cr_assert(fabs(got / want - 1) <= tolerance, "%s: %.4g, published %.4g", what, got, want);
}

/* A GPT of GPT-3's shape. */
static fc_model gpt(int64_t layers, int64_t hidden, int64_t heads, int64_t vocab) {
  return (fc_model){
      .name = "gpt",
      .layers = layers,
      .hidden = hidden,
      .vocab = vocab,
      .tied_embeddings = true,
      .ffn = 4 * hidden,
      .plain_ffn = true,
      .attention = {.kind = FC_ATTENTION_GQA, .heads = heads, .kv_heads = heads, .head_dim = hidden / heads}};
}

/* @source ZeRO, arXiv:1910.02054, table 1: GB a device for 7.5 B parameters, FP16 weights and gradients, Adam
 * in FP32 (16 bytes a parameter) */
Test(memory, zero_table_1) {
  static const struct {
    int64_t ways;
    double gigabytes[3]; /* stages 1, 2, 3 */
  } rows[] = {{1, {120, 120, 120}},     {4, {52.5, 41.3, 30}},     {16, {35.6, 21.6, 7.5}},
              {64, {31.4, 16.6, 1.88}}, {256, {30.4, 15.4, 0.47}}, {1024, {30.1, 15.1, 0.12}}};
  fc_model model = gpt(37, 4096, 32, 12200); /* 12 L H^2 + V H = 7.5 B */
  cr_assert_float_eq(fc_model_params(&model), 7.5e9, 0.01e9);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    for (int64_t zero = 1; zero <= 3; zero++) {
      fc_train_plan p = {
          .devices = rows[i].ways, .tp = 1, .pp = 1, .cp = 1, .ep = 1, .virtual_stages = 1, .micro_batch = 1};
      p.global_batch = rows[i].ways;
      p.sequence = 1024;
      p.gemm = FC_DTYPE_BF16;
      p.zero = zero;
      p.bf16_gradients = true;
      fc_train_memory m;
      fc_cost_train_memory(&m, &model, &p);
      double want = rows[i].gigabytes[zero - 1];
      /* printed to two digits at the small end: 0.12 stands for 0.115 to 0.125 */
      within((m.weight_bytes + m.gradient_bytes + m.optimizer_bytes) / 1e9, want, want < 0.5 ? 0.045 : 0.03,
             "ZeRO");
    }
}

/* @source arXiv:2205.05198, table 2: bytes of a layer for s tokens, b sequences, hidden h, a heads, t ways of
 * tensor and sequence parallelism: sbh/t (34 + 5as/h) stored whole, 34 sbh/t without the scores, 2 sbh/t
 * recomputed; and section 5: leaving the scores out saves 70 % for GPT-3 and 65 % for MT-NLG */
Test(memory, activations_of_a_gpt_layer) {
  static const struct {
    int64_t layers, hidden, heads;
    double saved;
  } rows[] = {{96, 12288, 96, 0.70}, {105, 20480, 128, 0.65}, {48, 6144, 64, 0.73}, {128, 25600, 160, 0.67}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    fc_model model = gpt(rows[i].layers, rows[i].hidden, rows[i].heads, 51200);
    fc_train_plan p = {
        .devices = 8, .tp = 8, .pp = 1, .cp = 1, .ep = 1, .virtual_stages = 1, .micro_batch = 1};
    p.global_batch = 1;
    p.sequence = 2048;
    p.gemm = FC_DTYPE_BF16;
    p.unfused_attention = true;
    double sbh = 2048.0 * (double)rows[i].hidden / 8 * (double)rows[i].layers;
    double scores = 5.0 * (double)rows[i].heads * 2048 / (double)rows[i].hidden;
    const double want[] = {sbh * (34 + scores), sbh * 34, sbh * 2};
    fc_train_memory m[3];
    for (int r = 0; r < 3; r++) {
      p.recompute = (fc_recompute)r;
      fc_cost_train_memory(&m[r], &model, &p);
      within(m[r].activation_bytes, want[r], 1e-12, "a layer's activations");
    }
    if (i < 2) within(1 - m[1].activation_bytes / m[0].activation_bytes, rows[i].saved, 0.03, "saved");
  }
}

/* @source arXiv:2205.05198, section 4.2.3: 1F1B's first stage keeps all L layers' worth, interleaving 1 +
 * (p-1)/(p m) times that; DualPipe's README: PP + 1 stages' */
Test(memory, activations_in_flight) {
  fc_model model = gpt(96, 12288, 96, 51200);
  fc_train_plan p = {
      .devices = 64, .tp = 8, .pp = 8, .cp = 1, .ep = 1, .virtual_stages = 1, .micro_batch = 1};
  p.global_batch = 64;
  p.sequence = 2048;
  p.gemm = FC_DTYPE_BF16;
  p.unfused_attention = true;
  double layer = 2048.0 * 12288 / 8 * (34 + 80);
  static const struct {
    fc_schedule schedule;
    int64_t chunks;
    double layers;
  } rows[] = {{FC_SCHEDULE_1F1B, 1, 96},
              {FC_SCHEDULE_INTERLEAVED, 3, 96 * (1 + 7.0 / 24)},
              {FC_SCHEDULE_ZB1P, 1, 96},
              {FC_SCHEDULE_DUALPIPE, 1, 12 * 9},
              {FC_SCHEDULE_DUALPIPEV, 1, 6 * 17}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    p.schedule = rows[i].schedule;
    p.virtual_stages = rows[i].chunks;
    cr_assert_eq(fc_train_plan_check(&model, &p, NULL), FC_OK);
    fc_train_memory m;
    fc_cost_train_memory(&m, &model, &p);
    within(m.activation_bytes, rows[i].layers * layer, 1e-9, "in flight");
  }
}

Test(memory, says_by_how_much) {
  fc_train_plan p = {
      .devices = 64, .tp = 8, .pp = 1, .cp = 1, .ep = 1, .virtual_stages = 1, .micro_batch = 1};
  p.global_batch = 64;
  p.sequence = 8192;
  p.gemm = FC_DTYPE_BF16;
  p.zero = 1;
  fc_train_memory m;
  fc_cost_train_memory(&m, &fixture_llama_8b, &p);
  double spare = fc_train_memory_spare(&m, &fixture_h100);
  cr_assert(spare > 0 && fabs(spare + m.total_bytes - fixture_h100.memory_bytes) < 1);
  fc_cost_train_memory(&m, &fixture_llama_405b, &p);
  cr_assert_lt(fc_train_memory_spare(&m, &fixture_h100), -100e9);
}

/* Ends that hold one layer less: the second device is the fullest, with p - 1 micro-batches of all its
 * layers.
 * @source Llama 3 (arXiv:2407.21783, 3.3.2), arXiv:2401.10241, 5.1 */
Test(memory, short_ends_leave_the_second_device_fullest) {
  fc_train_plan p = {.devices = 8, .tp = 1, .pp = 8, .cp = 1, .ep = 1, .virtual_stages = 1, .micro_batch = 1};
  p.global_batch = 64;
  p.sequence = 1024;
  p.gemm = FC_DTYPE_BF16;
  p.unfused_attention = true;
  fc_model model = gpt(30, 4096, 32, 32000);
  double layer = 1024.0 * 4096 * (34 + 5.0 * 32 * 1024 / 4096);
  fc_train_memory m;
  fc_cost_train_memory(&m, &model, &p);
  within(m.activation_bytes, 4 * 7 * layer, 1e-12, "second of short-ended stages");
  model.layers = 32;
  fc_cost_train_memory(&m, &model, &p);
  within(m.activation_bytes, 4 * 8 * layer, 1e-12, "first of even stages");
}

/* Chains of kernels cost time of the layers that have them, and nothing where there are none. */
Test(plan, chains_cost_what_they_stream) {
  fc_train_plan p = {.devices = 64,
                     .tp = 1,
                     .pp = 1,
                     .cp = 1,
                     .ep = 64,
                     .virtual_stages = 1,
                     .micro_batch = 4,
                     .global_batch = 1280,
                     .sequence = 4096,
                     .gemm = FC_DTYPE_BF16,
                     .expert_imbalance = 1};
  static const fc_eager chains[] = {FC_EAGER_BIAS, FC_EAGER_CLAMP, FC_EAGER_ROPE, FC_EAGER_SORT};
  fc_train_step plain, one;
  cr_assert_eq(fc_cost_train_step(&plain, &fixture_gpt_oss_120b, &fixture_h100_profile, &p), FC_OK);
  double rows = 16384.0 * 4 * 2880, least[] = {68 * rows, 18 * 2 * rows, 36 * 16384.0 * 72 * 64, 16 * rows};
  for (size_t i = 0; i < sizeof chains / sizeof *chains; i++) {
    p.eager = chains[i];
    cr_assert_eq(fc_cost_train_step(&one, &fixture_gpt_oss_120b, &fixture_h100_profile, &p), FC_OK);
    double bytes = 36 * 5 * least[i];
    cr_assert_float_eq(one.bytes - plain.bytes, bytes, 1e-6 * bytes, "chain %zu: %g bytes", i,
                       one.bytes - plain.bytes);
    cr_assert(one.seconds - plain.seconds >= bytes / fixture_h100.memory_bytes_per_s);
  }
  p.ep = 1;
  p.eager = FC_EAGER_BIAS | FC_EAGER_CLAMP | FC_EAGER_SORT;
  fc_train_step dense, chained;
  fc_train_plan d = p;
  d.eager = 0;
  cr_assert_eq(fc_cost_train_step(&dense, &fixture_llama_8b, &fixture_h100_profile, &d), FC_OK);
  cr_assert_eq(fc_cost_train_step(&chained, &fixture_llama_8b, &fixture_h100_profile, &p), FC_OK);
  cr_assert_eq(dense.seconds, chained.seconds);
}

Test(memory, what_comes_and_goes) {
  fc_train_plan p = {.devices = 8, .tp = 1, .pp = 1, .cp = 1, .ep = 1, .virtual_stages = 1, .micro_batch = 1};
  p.global_batch = 8;
  p.sequence = 8192;
  p.gemm = FC_DTYPE_BF16;
  fc_train_memory fused, eager, two, three;
  fc_cost_train_memory(&fused, &fixture_llama_8b, &p);
  p.eager = FC_EAGER_LOSS;
  fc_cost_train_memory(&eager, &fixture_llama_8b, &p);
  within(eager.other_bytes - fused.other_bytes, 6.0 * 8192 * 128256 + 4.0 * 8192 * 4096, 1e-9,
         "FP32 tensors of the logits and the last norm's copy");
  within(eager.fragment_bytes - fused.fragment_bytes, 2.0 * 8192 * 128256, 1e-9, "the freed BF16 logits");
  p.zero = 2;
  fc_cost_train_memory(&two, &fixture_llama_8b, &p);
  p.zero = 3;
  fc_cost_train_memory(&three, &fixture_llama_8b, &p);
  double gathered = three.buffer_bytes - two.buffer_bytes;
  /* three layers of 218 M parameters and two tables of 525 M, in BF16 */
  within(gathered, 2 * (3 * 218.1e6 + 2 * 525.3e6), 0.001, "gathered weights");
}
