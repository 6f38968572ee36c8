/* SPDX-License-Identifier: Apache-2.0 */
#include "training_memory.h"

#include <math.h>
#include <stdio.h>

#include <fleetcast/cost/train_step.h>

#include "shipped.h"

/* What torch's allocator has handed out at the peak. */
static double allocated(const fc_model *model, const fc_train_plan *plan) {
  fc_train_memory m;
  if (fc_train_plan_check(model, plan, NULL) != FC_OK) return 0;
  fc_cost_train_memory(&m, model, plan);
  return m.total_bytes - m.fragment_bytes - FC_TRAIN_RESERVED_BYTES;
}

/* What it has reserved of the device, which is what torchtitan prints. */
static double reserved(const fc_model *model, const fc_train_plan *plan) {
  fc_train_memory m;
  if (fc_train_plan_check(model, plan, NULL) != FC_OK) return 0;
  fc_cost_train_memory(&m, model, plan);
  return m.total_bytes - FC_TRAIN_RESERVED_BYTES;
}

/* Handed out at the peak of a run's first step, whose passes have no moments of the optimizer yet. */
static double first_step(const fc_model *model, const fc_train_plan *plan) {
  fc_train_memory m;
  if (fc_train_plan_check(model, plan, NULL) != FC_OK) return 0;
  fc_cost_train_memory(&m, model, plan);
  double states = m.weight_bytes + m.gradient_bytes + m.optimizer_bytes;
  return fmax(allocated(model, plan) - m.moment_bytes, states + m.update_bytes);
}

static void put(memory_row *row, size_t *n, memory_row fresh) {
  if (*n < MEMORY_ROWS_MAX) row[(*n)++] = fresh;
}

/* --- Zero bubble pipeline parallelism --- */

typedef struct {
  const char *what;
  int64_t layers, hidden, heads, stages, micro, batches;
  double gigabytes[3]; /* 1F1B, interleaved by single layers, ZB-1p; 0: not measured */
} gpt_row;

/* Peak of torch.cuda.max_memory_allocated in 10^6 bytes (zb_schedules.py), tables 4, 6, 11 and 12; A100, one
 * pipeline, sequence 1,024, FP16 with FP16 gradients (megatron/arguments.py: FP32 with --bf16 alone), no
 * FlashAttention, nothing recomputed.  Vocabulary not stated: 32,000 gives the sizes in the models' names.
 * @source arXiv:2401.10241 and sail-sg/zero-bubble-pipeline-parallelism, examples/pretrain_zero_bubble.sh */
static const gpt_row gpts[] = {
    {"1.5 B, p 8, b 6", 22, 2304, 24, 8, 6, 64, {30, 40, 32}},
    {"6.2 B, p 8, b 3", 30, 4096, 32, 8, 3, 64, {39, 48, 42}},
    {"14.6 B, p 16, b 1", 46, 5120, 40, 16, 1, 64, {32, 39, 33}},
    {"28.3 B, p 32, b 1", 62, 6144, 48, 32, 1, 128, {43, 58, 44}},
    {"6.2 B, p 16, b 6", 30, 4096, 32, 16, 6, 64, {61, 0, 62}},
    {"14.6 B, p 24, b 2", 46, 5120, 40, 24, 2, 96, {44, 0, 46}},
    {"28.3 B, p 32, b 2", 62, 6144, 48, 32, 2, 128, {69, 0, 73}},
    {"1.5 B, p 8, b 12", 22, 2304, 24, 8, 12, 64, {57, 0, 61}},
    {"6.2 B, p 8, b 6", 30, 4096, 32, 8, 6, 64, {66, 0, 71}},
    {"14.6 B, p 16, b 2", 46, 5120, 40, 16, 2, 64, {50, 0, 51}},
    {"1.5 B, p 8, b 6, m 2", 22, 2304, 24, 8, 6, 2, {11, 0, 0}},
    {"1.5 B, p 8, b 6, m 4", 22, 2304, 24, 8, 6, 4, {18, 0, 0}},
    {"1.5 B, p 8, b 6, m 8", 22, 2304, 24, 8, 6, 8, {29, 0, 0}},
    {"6.2 B, p 8, b 3, m 2", 30, 4096, 32, 8, 3, 2, {21, 0, 0}},
    {"6.2 B, p 8, b 3, m 4", 30, 4096, 32, 8, 3, 4, {28, 0, 0}},
    {"6.2 B, p 8, b 3, m 8", 30, 4096, 32, 8, 3, 8, {39, 0, 0}},
    {"14.6 B, p 16, b 1, m 4", 46, 5120, 40, 16, 1, 4, {19, 0, 0}},
    {"14.6 B, p 16, b 1, m 8", 46, 5120, 40, 16, 1, 8, {24, 0, 0}},
    {"14.6 B, p 16, b 1, m 16", 46, 5120, 40, 16, 1, 16, {32, 0, 0}},
};

static void zero_bubble(memory_row *row, size_t *n) {
  static const char *const group[] = {"memory, 1F1B", "memory, interleaved by layers", "memory, ZB-1p"};
  static const fc_schedule schedule[] = {FC_SCHEDULE_1F1B, FC_SCHEDULE_INTERLEAVED, FC_SCHEDULE_ZB1P};
  for (size_t i = 0; i < sizeof gpts / sizeof *gpts; i++) {
    const gpt_row *g = &gpts[i];
    fc_model model = {.name = "gpt",
                      .layers = g->layers,
                      .hidden = g->hidden,
                      .vocab = 32000,
                      .tied_embeddings = true,
                      .ffn = 4 * g->hidden,
                      .plain_ffn = true,
                      .attention = {.kind = FC_ATTENTION_GQA, .heads = g->heads, .kv_heads = g->heads}};
    model.attention.head_dim = g->hidden / g->heads;
    fc_train_plan plan = {.devices = g->stages,
                          .tp = 1,
                          .pp = g->stages,
                          .cp = 1,
                          .ep = 1,
                          .micro_batch = g->micro,
                          .global_batch = g->micro * g->batches,
                          .sequence = 1024,
                          .gemm = FC_DTYPE_BF16,
                          .unfused_attention = true,
                          .bf16_gradients = true};
    for (int k = 0; k < 3; k++) {
      if (!(g->gigabytes[k] > 0)) continue;
      plan.schedule = schedule[k];
      plan.virtual_stages = k == 1 ? (g->layers + 2) / g->stages : 1;
      put(row, n, (memory_row){group[k], g->what, 1e9 * g->gigabytes[k], 5e8, allocated(&model, &plan)});
    }
  }
}

/* --- torchtitan --- */

/* Llama 3.1 on H100, fully sharded, float8 products over BF16 copies, every layer recomputed, loss over FP32
 * copies of the logits; GiB that the allocator reserved (train.py, max_reserved_gib).  Pipelines whose
 * weights stay gathered have no counterpart here.
 * @source pytorch/torchtitan, benchmarks/llama3_h100_202412_torchtitan.md, tables 2 and 4 */
static bool torchtitan(memory_row *row, size_t *n, const char *scenarios) {
  static const struct {
    const char *what, *model;
    int64_t devices, tp, cp, micro, batch, sequence;
    double gibibytes;
    bool async;
  } runs[] = {
      {"8 B, FSDP 8, 32 K", "llama-3.1-8b", 8, 1, 1, 1, 8, 32768, 83.9, false},
      {"8 B, FSDP 4, CP 2, 64 K", "llama-3.1-8b", 8, 1, 2, 1, 4, 65536, 84.2, false},
      {"8 B, FSDP 2, CP 4, 128 K", "llama-3.1-8b", 8, 1, 4, 1, 2, 131072, 84.0, false},
      {"8 B, FSDP 1, CP 8, 256 K", "llama-3.1-8b", 8, 1, 8, 1, 1, 262144, 84.5, false},
      {"70 B, FSDP 32, TP 8", "llama-3.1-70b", 256, 8, 1, 16, 512, 8192, 71.9, false},
      {"70 B, FSDP 32, TP 8, async TP", "llama-3.1-70b", 256, 8, 1, 16, 512, 8192, 67.6, true},
  };
  for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
    const fc_model *model = shipped_model(scenarios, runs[i].model);
    if (!model) return false;
    fc_train_plan plan = {.devices = runs[i].devices,
                          .tp = runs[i].tp,
                          .pp = 1,
                          .cp = runs[i].cp,
                          .ep = 1,
                          .virtual_stages = 1,
                          .micro_batch = runs[i].micro,
                          .global_batch = runs[i].batch,
                          .sequence = runs[i].sequence,
                          .zero = 3,
                          .gemm = FC_DTYPE_BF16,
                          .recompute = FC_RECOMPUTE_FULL,
                          .async_tp = runs[i].async,
                          .eager = FC_EAGER_LOSS};
    put(row, n,
        (memory_row){"memory, torchtitan, fully sharded", runs[i].what, 1073741824 * runs[i].gibibytes, 5.4e7,
                     reserved(model, &plan)});
  }
  return true;
}

/* --- Megatron-Bridge --- */

/* @source NVIDIA-NeMo/Megatron-Bridge v0.6.0, docs/training/moe-optimization.md (five steps of Qwen3 30B-A3B
 * on 16 H100, BF16, plain all-to-all) */
static const fc_model qwen3_30b = {
    .name = "qwen3-30b-a3b",
    .layers = 48,
    .hidden = 2048,
    .vocab = 151936,
    .attention = {.kind = FC_ATTENTION_GQA, .heads = 32, .kv_heads = 4, .head_dim = 128},
    .moe = {.experts = 128, .active = 8, .inter = 768},
    .weights = FC_DTYPE_BF16,
};
static const fc_train_plan qwen3_plan = {.devices = 16,
                                         .tp = 1,
                                         .pp = 1,
                                         .cp = 1,
                                         .ep = 16,
                                         .virtual_stages = 1,
                                         .micro_batch = 1,
                                         .global_batch = 1024,
                                         .sequence = 4096,
                                         .zero = 1,
                                         .gemm = FC_DTYPE_BF16,
                                         .bf16_dispatch = true,
                                         .bf16_gradients = true};

static void bridge(memory_row *row, size_t *n) {
  put(row, n,
      (memory_row){"memory, Megatron-Bridge Qwen3", "30 B, EP 16", 61.351e9, 5e5,
                   allocated(&qwen3_30b, &qwen3_plan)});
}

/* Llama 3 70B fine-tuned whole on 32 H100, sequence 4,096, 8 bits with one scale a tensor, weights in 8 bits
 * alone, BF16 gradients, FP32 moments.  Read as the peak of the first step: train_utils.py of v0.4.0 reports
 * once, after the first logged iteration, and issue 3164 complains of just that; docs/train.md#memory has
 * what speaks for it and against.
 * @source Megatron-Bridge v0.6.0, skills/nemo-mbridge-perf-memory-tuning; v0.4.0,
 * scripts/performance/configs/llama/llama3_llm_finetune.py, utils/precision.py */
static bool bridge_tuning(memory_row *row, size_t *n, const char *scenarios) {
  static const struct {
    const char *what;
    int64_t tp, pp, chunks;
    double gigabytes;
  } runs[] = {{"70 B, TP 4, PP 4, VP 5", 4, 4, 5, 58.8},
              {"70 B, TP 4, PP 4, VP 10", 4, 4, 10, 60.2},
              {"70 B, TP 4, PP 8, VP 5", 4, 8, 5, 53.2},
              {"70 B, TP 8, PP 4, VP 5", 8, 4, 5, 50.2}};
  const fc_model *model = shipped_model(scenarios, "llama-3.1-70b");
  for (size_t i = 0; model && i < sizeof runs / sizeof *runs; i++) {
    fc_train_plan plan = {.devices = 32,
                          .tp = runs[i].tp,
                          .pp = runs[i].pp,
                          .cp = 1,
                          .ep = 1,
                          .virtual_stages = runs[i].chunks,
                          .micro_batch = 1,
                          .global_batch = 32,
                          .sequence = 4096,
                          .zero = 1,
                          .schedule = FC_SCHEDULE_INTERLEAVED,
                          .gemm = FC_DTYPE_FP8,
                          .tensor_scales = true,
                          .moments = FC_MOMENTS_FP32,
                          .narrow_weights = true,
                          .bf16_gradients = true};
    put(row, n,
        (memory_row){"memory, Megatron-Bridge Llama", runs[i].what, 1e9 * runs[i].gigabytes, 5e7,
                     first_step(model, &plan)});
  }
  return model != NULL;
}

/* --- never looked at before they were composed --- */

/* Llama 2 7B on one node of H800, FlashAttention, distributed optimizer, FP32 gradients, no sequence
 * parallelism; GiB.  Sequence not stated: 2,048, the one of its example.  The gated activation is no fused
 * kernel in the tool's list of what a layer keeps; without that, which the first two rows showed, -6.0 and
 * -8.5 %.
 * @source NVIDIA/Megatron-LM pull request 482, tools/get_training_info/README.md */
static bool analysis_tool(memory_row *row, size_t *n, const char *scenarios) {
  static const struct {
    const char *what;
    int64_t tp, pp, micro, batch;
    double gibibytes;
  } runs[] = {{"Llama 2 7 B, DP 8", 1, 1, 2, 2048, 69.1},
              {"Llama 2 7 B, DP 4, PP 2", 1, 2, 2, 2048, 49.8},
              {"Llama 2 7 B, DP 4, TP 2", 2, 1, 4, 512, 55.7},
              {"Llama 2 7 B, TP 8", 8, 1, 4, 128, 28.8}};
  const fc_model *model = shipped_model(scenarios, "llama-2-7b");
  for (size_t i = 0; model && i < sizeof runs / sizeof *runs; i++) {
    fc_train_plan plan = {.devices = 8,
                          .tp = runs[i].tp,
                          .pp = runs[i].pp,
                          .cp = 1,
                          .ep = 1,
                          .virtual_stages = 1,
                          .micro_batch = runs[i].micro,
                          .global_batch = runs[i].batch,
                          .sequence = 2048,
                          .zero = 1,
                          .gemm = FC_DTYPE_BF16,
                          .dropout = true,
                          .eager = FC_EAGER_WHOLE | FC_EAGER_GLU};
    put(row, n,
        (memory_row){"memory, blind: Megatron-LM", runs[i].what, 1073741824 * runs[i].gibibytes, 5.4e7,
                     allocated(model, &plan)});
  }
  return model != NULL;
}

/* GPT of 7 B on a DGX H100: 4 stages of 8 chunks, what the last rank's writer saw; and tensor parallelism
 * without that of the sequence.
 * @source Megatron-LM d98e8a64, tests/functional_tests/test_cases/gpt/gpt3_7b_tp1_pp4_memory_speed and
 * gpt3_7b_tp4_pp1_memory_speed, golden_values_dev_dgx_h100.json */
static void functional(memory_row *row, size_t *n) {
  static const fc_model gpt = {
      .name = "gpt3-7b",
      .layers = 32,
      .hidden = 4096,
      .vocab = 131200,
      .ffn = 16384,
      .plain_ffn = true,
      .attention = {.kind = FC_ATTENTION_GQA, .heads = 32, .kv_heads = 8, .head_dim = 128},
      .weights = FC_DTYPE_BF16,
  };
  fc_train_plan plan = {.devices = 8,
                        .tp = 1,
                        .pp = 4,
                        .cp = 1,
                        .ep = 1,
                        .virtual_stages = 8,
                        .micro_batch = 1,
                        .global_batch = 8,
                        .sequence = 8192,
                        .zero = 1,
                        .schedule = FC_SCHEDULE_INTERLEAVED,
                        .gemm = FC_DTYPE_BF16,
                        .dropout = true};
  fc_train_memory m = {0};
  if (fc_train_plan_check(&gpt, &plan, NULL) == FC_OK)
    (void)fc_cost_train_memory_at(&m, &gpt, &plan, FC_TRAIN_LAST);
  double peak = m.total_bytes - m.fragment_bytes - FC_TRAIN_RESERVED_BYTES;
  put(row, n,
      (memory_row){"memory, blind: Megatron-LM", "GPT 7 B, PP 4, VP 8, last rank", 60720852992, 0, peak});
  put(row, n,
      (memory_row){"memory, blind: Megatron-LM", "the same after one step", 52931256320, 0,
                   peak - m.moment_bytes});
  fc_model wide = gpt;
  wide.vocab = 131584;
  plan.tp = 4;
  plan.pp = plan.virtual_stages = 1;
  plan.micro_batch = 2;
  plan.schedule = FC_SCHEDULE_1F1B;
  plan.eager = FC_EAGER_WHOLE;
  put(row, n,
      (memory_row){"memory, blind: Megatron-LM", "GPT 7 B, TP 4", 57143791616, 0, allocated(&wide, &plan)});
  put(row, n,
      (memory_row){"memory, blind: Megatron-LM", "the same after one step", 50289487872, 0,
                   first_step(&wide, &plan)});
}

/* Moonlight 16B-A3B on 8 H100, BF16 gradients and moments; of its six rows the two that recompute nothing or
 * what FlashAttention does anyway.  Qwen3 30B-A3B with HybridEP and expert communication overlapped.
 * @source Megatron-Bridge 067f987d, skills/nemo-mbridge-perf-activation-recompute and
 * nemo-mbridge-perf-moe-hardware-configs */
static void bridge_blind(memory_row *row, size_t *n) {
  static const fc_model moonlight = {
      .name = "moonlight-16b-a3b",
      .layers = 27,
      .dense_layers = 1,
      .hidden = 2048,
      .vocab = 163840,
      .ffn = 11264,
      .attention = {.kind = FC_ATTENTION_MLA, .heads = 16, .kv_lora = 512, .nope = 128, .rope = 64, .v = 128},
      .moe = {.experts = 64, .active = 6, .shared = 2, .inter = 1408},
      .weights = FC_DTYPE_BF16,
  };
  fc_train_plan plan = {.devices = 8,
                        .tp = 2,
                        .pp = 1,
                        .cp = 1,
                        .ep = 8,
                        .virtual_stages = 1,
                        .micro_batch = 1,
                        .global_batch = 4,
                        .sequence = 4096,
                        .zero = 1,
                        .gemm = FC_DTYPE_BF16,
                        .bf16_dispatch = true,
                        .moments = FC_MOMENTS_BF16,
                        .bf16_gradients = true};
  static const struct {
    const char *what;
    double gigabytes;
  } runs[] = {{"Moonlight 16 B, TP 2, EP 8", 36.618}, {"the same, core_attn again", 36.614}};
  for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
    put(row, n,
        (memory_row){"memory, blind: Megatron-Bridge", runs[i].what, 1e9 * runs[i].gigabytes, 5e5,
                     allocated(&moonlight, &plan)});
  put(row, n,
      (memory_row){"memory, blind: Megatron-Bridge", "Qwen3 30 B, core_attn again", 63.14e9, 5e6,
                   allocated(&qwen3_30b, &qwen3_plan)});
  put(row, n,
      (memory_row){"memory, blind: Megatron-Bridge", "Qwen3 30 B, HybridEP, overlapped", 1073741824 * 62.166,
                   5e5, allocated(&qwen3_30b, &qwen3_plan)});
}

/* torchtitan's rows with its own selective recomputation: Llama 3.1 8B, two sequences of 8,192 a device; BF16
 * without torch.compile, with it, and with float8 products, which are not told apart.  H200: a compiled loss,
 * later versions.
 * @source pytorch/torchtitan, benchmarks/llama3_h100_202412_torchtitan.md, tables 1 and 3;
 * benchmarks/llama3-8b_h200_202506_trainy-whitefiber.md */
static bool torchtitan_blind(memory_row *row, size_t *n, const char *scenarios) {
  static const struct {
    const char *what;
    int64_t devices;
    bool compiled_loss;
    double gibibytes;
  } runs[] = {
      {"8 B, FSDP 8, not compiled", 8, false, 82.4},
      {"8 B, FSDP 8, compiled", 8, false, 77.0},
      {"8 B, FSDP 8, compiled, float8", 8, false, 76.8},
      {"8 B, FSDP 128, not compiled", 128, false, 67.0},
      {"8 B, FSDP 128, compiled", 128, false, 62.0},
      {"8 B, FSDP 128, compiled, float8", 128, false, 61.8},
      {"8 B, FSDP 32, H200", 32, true, 47.96},
      {"8 B, FSDP 64, H200", 64, true, 46.97},
  };
  const fc_model *model = shipped_model(scenarios, "llama-3.1-8b");
  for (size_t i = 0; model && i < sizeof runs / sizeof *runs; i++) {
    fc_train_plan plan = {.devices = runs[i].devices,
                          .tp = 1,
                          .pp = 1,
                          .cp = 1,
                          .ep = 1,
                          .virtual_stages = 1,
                          .micro_batch = 2,
                          .global_batch = 2 * runs[i].devices,
                          .sequence = 8192,
                          .zero = 3,
                          .gemm = FC_DTYPE_BF16,
                          .recompute = FC_RECOMPUTE_SELECTIVE,
                          .alternate_products = true,
                          .eager = runs[i].compiled_loss ? 0 : FC_EAGER_LOSS};
    put(row, n,
        (memory_row){"memory, blind: torchtitan", runs[i].what, 1073741824 * runs[i].gibibytes, 5.4e7,
                     reserved(model, &plan)});
  }
  return model != NULL;
}

size_t training_memory(memory_row row[MEMORY_ROWS_MAX], const char *scenarios) {
  size_t n = 0;
  zero_bubble(row, &n);
  bridge(row, &n);
  if (!bridge_tuning(row, &n, scenarios) || !torchtitan(row, &n, scenarios)) return 0;
  functional(row, &n);
  bridge_blind(row, &n);
  return analysis_tool(row, &n, scenarios) && torchtitan_blind(row, &n, scenarios) ? n : 0;
}
