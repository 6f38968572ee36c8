/* SPDX-License-Identifier: Apache-2.0 */
/* Serving iterations, training steps and their memory: identities and limits.  Published runs:
 * test_anchors.c. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include <fleetcast/cost/serve_step.h>
#include <fleetcast/cost/train_step.h>

#include "fixture_models.h"

static fc_serve_plan wide(int64_t n, bool overlap) {
  return (fc_serve_plan){.devices = n,
                         .tp = 1,
                         .attention_dp = n,
                         .ep = n,
                         .gemm = FC_DTYPE_FP8,
                         .kv = FC_DTYPE_BF16,
                         .expert_imbalance = 1,
                         .two_batch_overlap = overlap,
                         .memory_fraction = 0.9};
}

static fc_serve_plan split(int64_t tp) {
  return (fc_serve_plan){.devices = tp,
                         .tp = tp,
                         .attention_dp = 1,
                         .ep = 1,
                         .gemm = FC_DTYPE_BF16,
                         .kv = FC_DTYPE_BF16,
                         .expert_imbalance = 1,
                         .memory_fraction = 0.9};
}

static fc_serve_iteration serve(const fc_model *model, fc_serve_plan plan, fc_serve_load load) {
  fc_serve_iteration it;
  cr_assert_eq(fc_cost_serve_iteration(&it, model, &fixture_h800_profile, &plan, &load), FC_OK);
  double sum = it.attention_s + it.dense_s + it.experts_s + it.glue_s + it.head_s + it.comm_s + it.launch_s +
               it.host_s;
  cr_assert(fabs(sum - it.seconds) <= 1e-12 * it.seconds, "parts sum to %g, not %g", sum, it.seconds);
  cr_assert(it.watts >= 70 && it.watts <= 700);
  return it;
}

Test(serve_step, parts_sum_and_grow_with_load) {
  static const fc_model *const models[] = {&fixture_deepseek_v3, &fixture_qwen3_235b, &fixture_llama_70b,
                                           &fixture_gpt_oss_120b};
  for (size_t m = 0; m < 4; m++)
    for (int plan = 0; plan < 3; plan++) {
      bool sparse = models[m]->moe.experts > 0;
      fc_serve_plan p = plan == 0 ? split(8) : wide(16, plan == 2);
      if (!sparse && plan > 0) continue;
      double before = 0;
      for (double n = 1; n <= 256; n *= 2) {
        fc_serve_iteration it =
            serve(models[m], p,
                  (fc_serve_load){.decode_requests = n * (double)p.attention_dp, .decode_context = 2000});
        cr_assert_geq(it.seconds, before, "%s: %g requests", models[m]->name, n);
        before = it.seconds;
      }
      fc_serve_load load = {.decode_requests = 64, .decode_context = 2000};
      double alone = serve(models[m], p, load).seconds;
      load.prefill_tokens = 4096;
      cr_assert_gt(serve(models[m], p, load).seconds, alone);
      load.prefill_context = 60000;
      cr_assert_gt(serve(models[m], p, load).seconds, alone);
    }
}

Test(serve_step, imbalance_and_speculation_cost_time) {
  fc_serve_plan p = wide(32, false);
  fc_serve_load load = {.decode_requests = 32 * 64, .decode_context = 4000};
  double even = serve(&fixture_deepseek_v3, p, load).seconds;
  p.expert_imbalance = 2;
  cr_assert_gt(serve(&fixture_deepseek_v3, p, load).seconds, even);
  p.expert_imbalance = 1;
  load.query_tokens = 2;
  double drafted = serve(&fixture_deepseek_v3, p, load).seconds;
  cr_assert(drafted > even && drafted < 2 * even, "two tokens at once: %g against %g", drafted, even);
}

Test(serve_step, overlap_hides_at_most_what_there_is) {
  fc_serve_load load = {.prefill_tokens = 32 * 8192};
  fc_serve_iteration bare = serve(&fixture_deepseek_v3, wide(32, false), load);
  fc_serve_iteration both = serve(&fixture_deepseek_v3, wide(32, true), load);
  cr_assert_eq(bare.comm_hidden_s, 0);
  cr_assert_gt(both.comm_hidden_s, 0);
  cr_assert_lt(both.seconds, bare.seconds);
}

/* One token at a time is bound by reading the weights once: 70 B x 2 bytes over 8 devices. */
Test(serve_step, small_batches_read_every_weight) {
  fc_serve_iteration it =
      serve(&fixture_llama_70b, split(8), (fc_serve_load){.decode_requests = 1, .decode_context = 10});
  double floor_s = 69.5e9 * 2 / 8 / fixture_h800.memory_bytes_per_s;
  cr_assert(it.seconds > floor_s && it.seconds < 2.5 * floor_s, "%g s against %g s", it.seconds, floor_s);
}

Test(serve_step, refuses_what_does_not_divide) {
  static const struct {
    fc_serve_plan plan;
    const char *word;
  } bad[] = {{{.devices = 8, .tp = 3, .attention_dp = 1, .ep = 1}, "tp * attention_dp"},
             {{.devices = 3, .tp = 3, .attention_dp = 1, .ep = 1}, "heads"},
             {{.devices = 8, .tp = 8, .attention_dp = 1, .ep = 3}, "ep must divide"},
             {{.devices = 512, .tp = 1, .attention_dp = 512, .ep = 512}, "more expert"},
             {{.devices = 0}, "at least 1"}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char why[256] = "";
    cr_assert_eq(fc_serve_plan_check(&fixture_deepseek_v3, &bad[i].plan, why), FC_E_DOMAIN);
    cr_assert(strstr(why, bad[i].word), "'%s' should mention '%s'", why, bad[i].word);
  }
  fc_serve_iteration it;
  fc_serve_plan plan = wide(8, false);
  cr_assert_eq(
      fc_cost_serve_iteration(&it, &fixture_deepseek_v3, &fixture_h800_profile, &plan, &(fc_serve_load){0}),
      FC_E_DOMAIN);
  cr_assert_eq(fc_cost_serve_iteration(&it, &fixture_deepseek_v3, &fixture_h800_profile, &plan,
                                       &(fc_serve_load){.decode_requests = (double)NAN}),
               FC_E_DOMAIN);
}

Test(serve_step, memory) {
  fc_serve_memory m;
  fc_serve_plan p = split(8);
  fc_cost_serve_memory(&m, &fixture_llama_70b, &fixture_h100, &p, 1000);
  cr_assert_float_eq(m.weight_bytes, 70.55e9 * 2 / 8, 0.02e9);
  cr_assert_float_eq(m.kv_bytes_per_request, 327680.0 * 1000 / 8, 1);
  p = wide(144, true);
  fc_cost_serve_memory(&m, &fixture_deepseek_v3, &fixture_h100, &p, 1000);
  cr_assert_float_eq(m.kv_bytes_per_request, 70272.0 * 1000, 1, "the latent is whole on every rank");
  cr_assert(m.weight_bytes > 15e9 && m.weight_bytes < 30e9, "%g", m.weight_bytes);
  p = split(1);
  fc_cost_serve_memory(&m, &fixture_llama_405b, &fixture_h100, &p, 1000);
  cr_assert_lt(m.room_bytes, 0);
  p = split(8);
  fc_cost_serve_memory(&m, &fixture_gpt_oss_120b, &fixture_h100, &p, 10128);
  cr_assert_float_eq(m.kv_bytes_per_request, 2.0 * 64 * 2 * 18 * (10128 + 128), 1,
                     "windowed layers hold their window");
}

static const fc_train_plan v3_plan = {.devices = 2048,
                                      .tp = 1,
                                      .pp = 16,
                                      .cp = 1,
                                      .ep = 64,
                                      .virtual_stages = 1,
                                      .micro_batch = 1,
                                      .global_batch = 15360,
                                      .sequence = 4096,
                                      .zero = 1,
                                      .schedule = FC_SCHEDULE_DUALPIPE,
                                      .recompute = FC_RECOMPUTE_SELECTIVE,
                                      .gemm = FC_DTYPE_FP8,
                                      .expert_imbalance = 1,
                                      .overlap = 1};

static fc_train_step train(const fc_model *model, const fc_profile *profile, fc_train_plan plan) {
  fc_train_step s;
  char why[256];
  cr_assert_eq(fc_train_plan_check(model, &plan, why), FC_OK, "%s", why);
  cr_assert_eq(fc_cost_train_step(&s, model, profile, &plan), FC_OK);
  double sum = s.attention_s + s.dense_s + s.experts_s + s.glue_s + s.head_s + s.launch_s + s.comm_s +
               s.bubble_s + s.data_s + s.optimizer_s + s.host_s;
  cr_assert(fabs(sum - s.seconds) <= 1e-9 * s.seconds, "parts sum to %g, not %g", sum, s.seconds);
  cr_assert(s.watts >= 70 && s.watts <= 700);
  double useful = fc_model_train_flop_per_token(model, (double)plan.sequence, false) *
                  (double)(plan.global_batch * plan.sequence) / (double)plan.devices;
  cr_assert(s.flop > 0.97 * useful, "%s executes %g FLOP a device, useful are %g", model->name, s.flop,
            useful);
  return s;
}

Test(train_step, deepseek_v3_fits_where_it_was_trained) {
  fc_train_step s = train(&fixture_deepseek_v3, &fixture_h800_profile, v3_plan);
  cr_assert_eq(s.micro_batches, 120);
  fc_train_memory m;
  fc_cost_train_memory(&m, &fixture_deepseek_v3, &v3_plan);
  cr_assert(m.total_bytes > 40e9 && m.total_bytes < fixture_h800.memory_bytes, "%g GB", m.total_bytes / 1e9);
}

Test(train_step, recomputation_executes_more_and_keeps_less) {
  fc_train_plan plan = v3_plan;
  plan.schedule = FC_SCHEDULE_1F1B;
  double flop = 0, bytes = (double)INFINITY;
  for (int r = FC_RECOMPUTE_NONE; r <= FC_RECOMPUTE_FULL; r++) {
    plan.recompute = (fc_recompute)r;
    fc_train_step s = train(&fixture_deepseek_v3, &fixture_h800_profile, plan);
    fc_train_memory m;
    fc_cost_train_memory(&m, &fixture_deepseek_v3, &plan);
    cr_assert(s.flop > flop && m.activation_bytes < bytes);
    flop = s.flop;
    bytes = m.activation_bytes;
  }
}

Test(train_step, better_schedules_idle_less) {
  fc_train_plan plan = v3_plan;
  plan.ep = 1; /* no expert communication: only bubbles differ */
  plan.schedule = FC_SCHEDULE_1F1B;
  plan.global_batch = 128 * 32;
  fc_train_step s = train(&fixture_deepseek_v3, &fixture_h800_profile, plan);
  double plain = s.bubble_s / s.seconds;
  static const fc_schedule better[] = {FC_SCHEDULE_DUALPIPE, FC_SCHEDULE_ZB1P, FC_SCHEDULE_INTERLEAVED};
  for (size_t i = 0; i < 3; i++) {
    plan.schedule = better[i];
    plan.virtual_stages = 2;
    s = train(&fixture_deepseek_v3, &fixture_h800_profile, plan);
    cr_assert(s.bubble_s / s.seconds < plain, "schedule %d: %g against %g", (int)better[i],
              s.bubble_s / s.seconds, plain);
  }
}

Test(train_step, zero_stages_trade_memory) {
  fc_train_plan plan = {.devices = 64,
                        .tp = 1,
                        .pp = 1,
                        .cp = 1,
                        .ep = 1,
                        .virtual_stages = 1,
                        .micro_batch = 1,
                        .global_batch = 512,
                        .sequence = 8192,
                        .gemm = FC_DTYPE_BF16,
                        .overlap = 0.8};
  double before = (double)INFINITY;
  for (plan.zero = 0; plan.zero <= 3; plan.zero++) {
    fc_train_memory m;
    fc_cost_train_memory(&m, &fixture_llama_8b, &plan);
    cr_assert_lt(m.total_bytes, before);
    before = m.total_bytes;
    (void)train(&fixture_llama_8b, &fixture_h100_profile, plan);
  }
  plan.zero = 0;
  fc_train_memory m;
  fc_cost_train_memory(&m, &fixture_llama_8b, &plan);
  /* 8.03 B parameters: 2 + 4 + 12 bytes each (ZeRO, arXiv:1910.02054, counts 16 with BF16 gradients) */
  cr_assert_float_eq(m.weight_bytes + m.gradient_bytes + m.optimizer_bytes, 18 * 8.03e9, 0.01e9 * 18);
}

Test(train_step, refuses_what_does_not_divide) {
  static const struct {
    size_t member;
    int64_t value;
    const char *word;
  } bad[] = {{offsetof(fc_train_plan, pp), 15, "divide devices"},
             {offsetof(fc_train_plan, ep), 96, "ep must divide"},
             {offsetof(fc_train_plan, tp), 0, "at least 1"},
             {offsetof(fc_train_plan, global_batch), 1000, "global_batch"},
             {offsetof(fc_train_plan, global_batch), 128 * 31, "DualPipe"},
             {offsetof(fc_train_plan, pp), 64, "layers"},
             {offsetof(fc_train_plan, zero), 4, "zero"}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    fc_train_plan plan = v3_plan;
    memcpy((char *)&plan + bad[i].member, &bad[i].value, sizeof bad[i].value);
    char why[256] = "";
    cr_assert_eq(fc_train_plan_check(&fixture_deepseek_v3, &plan, why), FC_E_DOMAIN, "case %zu", i);
    cr_assert(strstr(why, bad[i].word), "'%s' should mention '%s'", why, bad[i].word);
  }
}

/* The parts that a change of the plan or the profile may move, and in which direction. */
Test(train_step, loaded_clocks_slow_tensor_cores_alone) {
  fc_profile loaded = fixture_h800_profile;
  loaded.sustained = 1.25;
  fc_train_step before = train(&fixture_deepseek_v3, &fixture_h800_profile, v3_plan),
                after = train(&fixture_deepseek_v3, &loaded, v3_plan);
  cr_assert_float_eq(after.experts_s / before.experts_s, 1.25, 1e-9);
  cr_assert_float_eq(after.attention_s / before.attention_s, 1.25, 1e-9);
  cr_assert(after.glue_s >= before.glue_s && after.glue_s < 1.05 * before.glue_s,
            "the router's product alone");
  fc_serve_plan plan = wide(32, true);
  fc_serve_load load = {.decode_requests = 32 * 64, .decode_context = 2000};
  fc_serve_iteration a, b;
  cr_assert_eq(fc_cost_serve_iteration(&a, &fixture_deepseek_v3, &fixture_h800_profile, &plan, &load), FC_OK);
  cr_assert_eq(fc_cost_serve_iteration(&b, &fixture_deepseek_v3, &loaded, &plan, &load), FC_OK);
  cr_assert_eq(a.seconds, b.seconds, "serving is measured as it runs");
  /* a kernel's own figure goes before the profile's */
  fc_kernel_fit kernels[64];
  cr_assert_leq(loaded.n_kernels, 64);
  memcpy(kernels, loaded.kernels, loaded.n_kernels * sizeof *kernels);
  for (size_t i = 0; i < loaded.n_kernels; i++)
    if (kernels[i].kernel == FC_KERNEL_GROUPED_GEMM) kernels[i].sustained = 1;
  loaded.kernels = kernels;
  fc_train_step own = train(&fixture_deepseek_v3, &loaded, v3_plan);
  cr_assert(own.experts_s < after.experts_s && own.experts_s > before.experts_s);
}

Test(train_step, launches_from_the_host) {
  fc_train_plan plan = v3_plan;
  plan.schedule = FC_SCHEDULE_1F1B;
  double before = 0;
  for (int launch = FC_LAUNCH_GRAPH; launch <= FC_LAUNCH_EAGER; launch++) {
    plan.launch = (fc_launch)launch;
    fc_train_step s = train(&fixture_deepseek_v3, &fixture_h800_profile, plan);
    cr_assert_gt(s.seconds, before);
    before = s.seconds;
  }
  /* tiny passes take what the host takes: root of squares, to a per cent where the device needs a tenth */
  fc_train_plan tiny = {
      .devices = 1, .tp = 1, .pp = 1, .cp = 1, .ep = 1, .virtual_stages = 1, .micro_batch = 1};
  tiny.global_batch = 64;
  tiny.sequence = 16;
  tiny.gemm = FC_DTYPE_BF16;
  tiny.launch = FC_LAUNCH_EAGER;
  fc_model small = fixture_llama_8b;
  small.hidden = 256;
  small.ffn = 512;
  small.vocab = 512;
  small.attention.heads = 4;
  small.attention.kv_heads = 4;
  small.attention.head_dim = 64;
  fc_train_step s;
  cr_assert_eq(fc_cost_train_step(&s, &small, &fixture_h100_profile, &tiny), FC_OK);
  double host = s.launches * FC_TRAIN_HOST_LAUNCH_S;
  cr_assert(s.pass.forward_s * 64 + s.pass.backward_s * 64 > host && s.launch_s > 0.9 * host, "%g of %g",
            s.launch_s, host);
}

Test(train_step, plans_facts_cost_what_they_should) {
  fc_train_plan plan = v3_plan;
  plan.schedule = FC_SCHEDULE_1F1B;
  plan.overlap = 0;
  fc_train_step base = train(&fixture_deepseek_v3, &fixture_h800_profile, plan);
  plan.bf16_dispatch = true;
  cr_assert_gt(train(&fixture_deepseek_v3, &fixture_h800_profile, plan).comm_s, base.comm_s);
  plan.bf16_dispatch = false;
  plan.overlap = 1e-9; /* something runs beside: contention */
  fc_train_step beside = train(&fixture_deepseek_v3, &fixture_h800_profile, plan);
  cr_assert(beside.comm_s > 1.2 * base.comm_s, "%g against %g", beside.comm_s, base.comm_s);
  fc_train_plan dense = {
      .devices = 64, .tp = 1, .pp = 1, .cp = 1, .ep = 1, .virtual_stages = 1, .micro_batch = 1};
  dense.global_batch = 64;
  dense.sequence = 4096;
  dense.gemm = FC_DTYPE_BF16;
  fc_train_step d = train(&fixture_llama_8b, &fixture_h100_profile, dense);
  dense.serial_data = true;
  fc_train_step serial = train(&fixture_llama_8b, &fixture_h100_profile, dense);
  cr_assert_gt(serial.data_s, d.data_s);
  dense.bf16_gradients = true;
  cr_assert_lt(train(&fixture_llama_8b, &fixture_h100_profile, dense).data_s, serial.data_s);
  dense.unfused_attention = true;
  cr_assert_gt(train(&fixture_llama_8b, &fixture_h100_profile, dense).attention_s, 3 * d.attention_s);
}

static const fc_train_plan dense_plan = {.devices = 64,
                                         .tp = 8,
                                         .pp = 1,
                                         .cp = 1,
                                         .ep = 1,
                                         .virtual_stages = 1,
                                         .micro_batch = 1,
                                         .global_batch = 64,
                                         .sequence = 8192,
                                         .zero = 1,
                                         .gemm = FC_DTYPE_BF16};

static fc_train_step dense_step(fc_train_plan plan) {
  return train(&fixture_llama_8b, &fixture_h100_profile, plan);
}

Test(train_step, rings_wait_for_every_rank) {
  fc_train_plan plan = dense_plan;
  plan.tp = 1;
  plan.serial_data = true; /* nothing hides the reduction */
  double gap[2];
  for (int wide = 0; wide < 2; wide++) {
    plan.devices = wide ? 1024 : 64;
    plan.global_batch = plan.devices;
    fc_train_step s = dense_step(plan);
    double boxes = (double)plan.devices / 8, params = fc_model_params(&fixture_llama_8b);
    double buckets = ceil(params / fmax(FC_TRAIN_BUCKET, FC_TRAIN_BUCKET_RANK * (double)plan.devices));
    double ring = FC_TRAIN_RING_IN_S * ((double)plan.devices - boxes) + FC_TRAIN_RING_NET_S * (boxes - 1);
    gap[wide] = s.data_s - buckets * ring;
    cr_assert_gt(s.data_s, buckets * ring);
  }
  /* what is left is bandwidth, which hardly grows any more */
  cr_assert_float_eq(gap[1] / gap[0], 1, 0.35, "%g, %g", gap[0], gap[1]);
  plan.gemm = FC_DTYPE_FP8;
  double wide_s = dense_step(plan).data_s;
  plan.narrow_weights = true;
  cr_assert_lt(dense_step(plan).data_s, wide_s);
}

Test(train_step, tensor_parallel_travels_in_its_format_and_behind_weight_gradients) {
  fc_train_plan plan = dense_plan;
  fc_train_step wide = dense_step(plan);
  plan.gemm = FC_DTYPE_FP8;
  double narrow =
      dense_step(plan).comm_s / wide.comm_s; /* gathers halve: a half forward, all of what shows backward */
  cr_assert(narrow > 0.5 && narrow < 0.8, "%g", narrow);
  plan.gemm = FC_DTYPE_BF16;
  plan.eager = FC_EAGER_WHOLE; /* before: nothing hides, norms of all tokens */
  fc_train_step old = dense_step(plan);
  cr_assert(old.comm_s > 1.2 * wide.comm_s && old.comm_s < 1.35 * wide.comm_s, "%g",
            old.comm_s / wide.comm_s);
  cr_assert(old.glue_s > 1.5 * wide.glue_s, "%g", old.glue_s / wide.glue_s);
  plan.eager = 0;
  plan.overlap = 0.9;
  cr_assert_lt(dense_step(plan).comm_s, 0.4 * wide.comm_s);
}

Test(train_step, rings_of_context_hide_behind_attention) {
  fc_train_plan plan = dense_plan;
  plan.tp = 1;
  plan.cp = 8;
  plan.devices = 8;
  plan.global_batch = 1;
  double share[2];
  for (int i = 0; i < 2; i++) {
    plan.sequence = i ? 262144 : 8192;
    fc_train_step s = dense_step(plan);
    share[i] = s.comm_s / s.seconds;
  }
  cr_assert(share[1] < 0.02 && share[0] > 2 * share[1], "%g, %g", share[0], share[1]);
}

Test(train_step, busier_tensor_cores_clock_lower) {
  fc_profile loaded = fixture_h100_profile;
  loaded.sustained = 1.25;
  fc_train_step before = train(&fixture_llama_8b, &loaded, dense_plan);
  loaded.loaded = 0.25;
  fc_train_step after = train(&fixture_llama_8b, &loaded, dense_plan);
  double slower = after.dense_s / before.dense_s;
  cr_assert(slower > 1.1 && slower < cbrt(4) + 1e-9, "%g", slower);
  cr_assert_float_eq(after.attention_s / before.attention_s, slower, 1e-9);
  cr_assert_float_eq(after.glue_s, before.glue_s, 1e-9 * before.glue_s);
  loaded.loaded = 1;
  cr_assert_eq(train(&fixture_llama_8b, &loaded, dense_plan).seconds, before.seconds);
}

Test(train_step, software_of_its_time) {
  fc_train_plan plan = dense_plan;
  fc_train_step now = dense_step(plan);
  plan.eager = FC_EAGER_FLASH2;
  cr_assert_float_eq(dense_step(plan).attention_s / now.attention_s, FC_TRAIN_FLASH2, 1e-9);
  fc_device old = *fixture_h100_profile.device;
  old.peak_flop_per_s[FC_DTYPE_FP8] = 0;
  fc_profile profile = fixture_h100_profile;
  profile.device = &old;
  cr_assert_float_eq(train(&fixture_llama_8b, &profile, plan).attention_s, now.attention_s,
                     1e-9 * now.attention_s);
  plan.eager = 0;
  profile = fixture_h100_profile;
  profile.step_host_s = 0.05;
  double graph_s = train(&fixture_llama_8b, &profile, plan).seconds;
  plan.launch = FC_LAUNCH_WHOLE;
  cr_assert_float_eq(graph_s - train(&fixture_llama_8b, &profile, plan).seconds, 0.05, 1e-9);
}
