/* SPDX-License-Identifier: Apache-2.0 */
#include "training_memory.h"

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
      put(row, n, (memory_row){group[k], g->what, 1e9 * g->gigabytes[k], allocated(&model, &plan)});
    }
  }
}

/* --- torchtitan --- */

/* Llama 3.1 on H100, fully sharded, float8 products over BF16 copies, every layer recomputed, loss over FP32
 * copies of the logits; GiB that the allocator reserved.  Rows with its own selective recomputation, and
 * pipelines whose weights stay gathered, have no counterpart here.
 * @source pytorch/torchtitan, benchmarks/llama3_h100_202412_torchtitan.md, tables 2 and 4 */
static bool torchtitan(memory_row *row, size_t *n, const char *scenarios) {
  static const struct {
    const char *what, *model;
    int64_t devices, tp, cp, micro, batch, sequence;
    double gibibytes;
  } runs[] = {
      {"8 B, FSDP 8, 32 K", "llama-3.1-8b", 8, 1, 1, 1, 8, 32768, 83.9},
      {"8 B, FSDP 4, CP 2, 64 K", "llama-3.1-8b", 8, 1, 2, 1, 4, 65536, 84.2},
      {"8 B, FSDP 2, CP 4, 128 K", "llama-3.1-8b", 8, 1, 4, 1, 2, 131072, 84.0},
      {"8 B, FSDP 1, CP 8, 256 K", "llama-3.1-8b", 8, 1, 8, 1, 1, 262144, 84.5},
      {"70 B, FSDP 32, TP 8, async TP", "llama-3.1-70b", 256, 8, 1, 16, 512, 8192, 67.6},
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
                          .eager = FC_EAGER_LOSS};
    put(row, n,
        (memory_row){"memory, torchtitan, fully sharded", runs[i].what, 1073741824 * runs[i].gibibytes,
                     allocated(model, &plan)});
  }
  return true;
}

/* --- Megatron-Bridge --- */

/* @source NVIDIA-NeMo/Megatron-Bridge v0.6.0, docs/training/moe-optimization.md (five steps of Qwen3 30B-A3B
 * on 16 H100, BF16, plain all-to-all) */
static void bridge(memory_row *row, size_t *n) {
  static const fc_model qwen3_30b = {
      .name = "qwen3-30b-a3b",
      .layers = 48,
      .hidden = 2048,
      .vocab = 151936,
      .attention = {.kind = FC_ATTENTION_GQA, .heads = 32, .kv_heads = 4, .head_dim = 128},
      .moe = {.experts = 128, .active = 8, .inter = 768},
      .weights = FC_DTYPE_BF16,
  };
  fc_train_plan plan = {.devices = 16,
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
  put(row, n,
      (memory_row){"memory, Megatron-Bridge Qwen3", "30 B, EP 16", 61.351e9, allocated(&qwen3_30b, &plan)});
}

/* Llama 3 70B fine-tuned whole on 32 H100, sequence 4,096, 8 bits with one scale a tensor, BF16 gradients;
 * the model's 8-bit plans keep moments as DeepSeek-V3 does, this framework in FP32.
 * @source Megatron-Bridge v0.6.0, skills/nemo-mbridge-perf-memory-tuning; v0.5.0,
 * scripts/performance/configs/llama/llama3_llm_finetune.py */
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
                          .bf16_gradients = true};
    put(row, n,
        (memory_row){"memory, Megatron-Bridge Llama", runs[i].what, 1e9 * runs[i].gigabytes,
                     allocated(model, &plan)});
  }
  return model != NULL;
}

size_t training_memory(memory_row row[MEMORY_ROWS_MAX], const char *scenarios) {
  size_t n = 0;
  zero_bubble(row, &n);
  bridge(row, &n);
  return bridge_tuning(row, &n, scenarios) && torchtitan(row, &n, scenarios) ? n : 0;
}
