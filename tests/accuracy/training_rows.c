/* SPDX-License-Identifier: Apache-2.0 */
#include "training_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shipped.h"

enum { COLUMNS_MAX = 24, LINE_MAX_ = 1024 };

/* Splits a line at its commas, in place. */
static int split(char *line, char *field[COLUMNS_MAX]) {
  int n = 0;
  line[strcspn(line, "\r\n")] = '\0';
  for (char *at = line; n < COLUMNS_MAX; at++) {
    field[n++] = at;
    at = strchr(at, ',');
    if (!at) break;
    *at = '\0';
  }
  return n;
}

static FILE *open_table(const char *dir, const char *name) {
  char path[512];
  (void)snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen(path, "r");
  if (!f) (void)fprintf(stderr, "cannot open %s\n", path);
  return f;
}

static training_row *fresh(training_rows *out) {
  if (out->n == TRAINING_ROWS_MAX) return NULL;
  training_row *row = &out->row[out->n];
  *row = (training_row){.plan = {.tp = 1, .pp = 1, .cp = 1, .ep = 1, .virtual_stages = 1, .zero = 1}};
  row->plan.expert_imbalance = 1;
  return row;
}

/* --- MLPerf Training v5.0 --- */

/* Plan: the submissions' own columns; chunks and format of mlcommons/training_results_v5.0, NVIDIA,
 * llama31_405b: interleaved by 8 with FP8 of one scale a tensor, weights gathered in FP8, gradients reduced
 * in BF16. */
static bool read_mlperf(training_rows *out, const char *data, const fc_model *model, const char *scenarios) {
  FILE *f = open_table(data, "mlperf_v50_llama405b_512gpu.csv");
  if (!f) return false;
  char line[LINE_MAX_], *c[COLUMNS_MAX];
  bool ok = fgets(line, sizeof line, f) != NULL;
  while (ok && fgets(line, sizeof line, f)) {
    if (split(line, c) < 15) continue;
    training_row *row = fresh(out);
    bool h100 = strcmp(c[1], "H100") == 0;
    const fc_profile *profile = shipped_profile(scenarios, h100 ? "h100" : "gb200");
    ok = row && profile;
    if (!ok) break;
    row->group = h100 ? "MLPerf 405B, 512 H100" : "MLPerf 405B, 512 GB200";
    row->model = *model;
    row->profile = profile;
    fc_train_plan *p = &row->plan;
    p->devices = atoll(c[2]);
    p->tp = atoll(c[3]);
    p->pp = atoll(c[4]);
    p->cp = atoll(c[5]);
    p->global_batch = atoll(c[7]);
    p->sequence = 8192;
    p->micro_batch = 1;
    p->virtual_stages = 8;
    p->schedule = FC_SCHEDULE_INTERLEAVED;
    p->gemm = FC_DTYPE_FP8;
    p->tensor_scales = p->bf16_gradients = p->narrow_weights = true;
    p->overlap = 0.8;
    row->published_s = strtod(c[10], NULL);
    (void)snprintf(row->what, sizeof row->what, "MLPerf v5.0 Llama 405B, %s %s, tp%s pp%s cp%s", c[2], c[1],
                   c[3], c[4], c[5]);
    out->n++;
  }
  (void)fclose(f);
  return ok;
}

/* --- Megatron-Bridge 26.02 --- */

/* What the recipes of that release say beside the table's columns.  @source NVIDIA-NeMo/Megatron-Bridge
 * v0.3.1, scripts/performance/configs: cuda_graph_scope, recompute_modules; no all-to-all overlap
 * (moe_a2a_overlap False), balanced routing forced, BF16 gradient reduction, dispatch in BF16 */
typedef struct {
  const char *name;    /* of the table */
  const char *shipped; /* model */
  const char *group;
  struct {
    fc_launch launch;
    fc_recompute recompute;
  } gb200, gb300;
  unsigned eager;
} recipe;

/* What src/megatron/bridge/models/gpt_oss/gpt_oss_provider.py of that release sets and the other recipes do
 * not: experts' biases, activations clamped at 7, YaRN's scale of 1.35, the plain all-to-all dispatcher. */
enum { GPT_OSS_CHAINS = FC_EAGER_BIAS | FC_EAGER_CLAMP | FC_EAGER_ROPE | FC_EAGER_SORT };

static const recipe recipes[] = {
    {"DeepSeekV3",
     "deepseek-v3",
     "Bridge DeepSeek-V3",
     {FC_LAUNCH_PARTIAL, FC_RECOMPUTE_SELECTIVE},
     {FC_LAUNCH_EAGER, FC_RECOMPUTE_SELECTIVE},
     0},
    {"GPT OSS 120B",
     "gpt-oss-120b",
     "Bridge gpt-oss",
     {FC_LAUNCH_EAGER, FC_RECOMPUTE_SELECTIVE},
     {FC_LAUNCH_PARTIAL, FC_RECOMPUTE_NONE},
     GPT_OSS_CHAINS},
    {"Qwen3_235B_a22B",
     "qwen3-235b-a22b",
     "Bridge Qwen3",
     {FC_LAUNCH_PARTIAL, FC_RECOMPUTE_NONE},
     {FC_LAUNCH_PARTIAL, FC_RECOMPUTE_NONE},
     0},
    {"Qwen3_30B_a3B",
     "qwen3-30b-a3b",
     "Bridge Qwen3",
     {FC_LAUNCH_EAGER, FC_RECOMPUTE_NONE},
     {FC_LAUNCH_EAGER, FC_RECOMPUTE_NONE},
     0},
    {"Kimi_K2",
     "kimi-k2",
     "Bridge Kimi K2",
     {FC_LAUNCH_PARTIAL, FC_RECOMPUTE_SELECTIVE},
     {FC_LAUNCH_EAGER, FC_RECOMPUTE_SELECTIVE},
     0},
    {"LLAMA3.1_405B",
     "llama-3.1-405b",
     "Bridge Llama",
     {FC_LAUNCH_EAGER, FC_RECOMPUTE_NONE},
     {FC_LAUNCH_EAGER, FC_RECOMPUTE_NONE},
     0},
    {"LLAMA3_70B",
     "llama-3.1-70b",
     "Bridge Llama",
     {FC_LAUNCH_EAGER, FC_RECOMPUTE_NONE},
     {FC_LAUNCH_EAGER, FC_RECOMPUTE_NONE},
     0},
};

static const recipe *recipe_of(const char *name) {
  for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++)
    if (strcmp(recipes[i].name, name) == 0) return &recipes[i];
  return NULL;
}

static void bridge_plan(training_row *row, const recipe *r, char **c, bool gb200) {
  fc_train_plan *p = &row->plan;
  bool sparse = row->model.moe.experts > 0;
  p->devices = atoll(c[4]);
  p->global_batch = atoll(c[6]);
  p->micro_batch = atoll(c[7]);
  p->sequence = atoll(c[8]);
  p->tp = atoll(c[9]);
  p->pp = atoll(c[10]);
  p->cp = atoll(c[11]);
  if (c[12][0] != 'n') p->virtual_stages = atoll(c[12]);
  if (c[13][0] != 'n') p->ep = atoll(c[13]);
  if (atoll(c[18]) > 0) p->zero = 3;
  p->schedule = p->virtual_stages > 1 ? FC_SCHEDULE_INTERLEAVED : FC_SCHEDULE_1F1B;
  p->gemm = strcmp(c[5], "BF16") == 0    ? FC_DTYPE_BF16
            : strcmp(c[5], "NVFP4") == 0 ? FC_DTYPE_FP4
                                         : FC_DTYPE_FP8;
  p->tensor_scales = strcmp(c[5], "FP8") == 0;
  p->bf16_dispatch = p->bf16_gradients = true;
  p->overlap = sparse ? 0 : 0.8;
  p->launch = gb200 ? r->gb200.launch : r->gb300.launch;
  p->recompute = gb200 ? r->gb200.recompute : r->gb300.recompute;
  p->eager = r->eager;
}

/* The constants that were calibrated: FC_TRAIN_GLUE, and the gb300 profile's `sustained`. */
static bool is_calibrated(const char *release, const recipe *r, bool gb200, fc_dtype gemm) {
  if (strcmp(release, "26.02 NeMo Container") != 0) return false;
  if (strcmp(r->group, "Bridge Qwen3") == 0) return true;
  return strcmp(r->group, "Bridge Llama") == 0 && !gb200 && gemm == FC_DTYPE_FP8;
}

static bool bridge_row(training_rows *out, char **c, const char *scenarios) {
  const recipe *r = recipe_of(c[2]);
  if (!r) {
    out->left_out++; /* hybrids with state-space layers */
    return true;
  }
  bool gb200 = strstr(c[3], "GB200") != NULL;
  training_row *row = fresh(out);
  const fc_model *model = shipped_model(scenarios, r->shipped);
  const fc_profile *profile = shipped_profile(scenarios, gb200 ? "gb200" : "gb300");
  if (!row || !model || !profile) return false;
  row->model = *model;
  row->profile = profile;
  row->group = r->group;
  bridge_plan(row, r, c, gb200);
  const fc_train_plan *p = &row->plan;
  row->calibrated = is_calibrated(c[0], r, gb200, p->gemm);
  row->published_s =
      (double)p->global_batch * (double)p->sequence / (strtod(c[14], NULL) * (double)p->devices);
  (void)snprintf(row->what, sizeof row->what, "Bridge %s, %s %s, %s, tp%s pp%s cp%s ep%lld mbs%s%s", c[2],
                 c[4], c[3] + 4, c[5], c[9], c[10], c[11], (long long)p->ep, c[7],
                 p->zero == 3 ? " FSDP" : "");
  out->n++;
  return true;
}

static bool read_bridge(training_rows *out, const char *data, const char *scenarios) {
  FILE *f = open_table(data, "megatron_bridge_26_02_gb_systems.csv");
  if (!f) return false;
  char line[LINE_MAX_], *c[COLUMNS_MAX];
  bool ok = fgets(line, sizeof line, f) != NULL;
  while (ok && fgets(line, sizeof line, f))
    if (split(line, c) >= 19) ok = bridge_row(out, c, scenarios);
  (void)fclose(f);
  return ok;
}

/* --- vTrain --- */

/* GPT-2's shape with Megatron-LM's padded vocabulary, FP16, every layer recomputed, 1F1B, no gradient
 * buckets, on one DGX A100.  @source arXiv:2312.12391; VIA-Research/vTrain, src/config.py and
 * config/validation/single */
static void gpt_row(training_row *row, char **c) {
  int64_t hidden = atoll(c[3]), heads = atoll(c[4]);
  row->model = (fc_model){.name = "gpt",
                          .layers = atoll(c[5]),
                          .hidden = hidden,
                          .vocab = 51200,
                          .tied_embeddings = true,
                          .ffn = 4 * hidden,
                          .plain_ffn = true,
                          .attention = {.kind = FC_ATTENTION_GQA, .heads = heads, .kv_heads = heads}};
  row->model.attention.head_dim = hidden / heads;
  row->plan = (fc_train_plan){.devices = atoll(c[0]),
                              .global_batch = atoll(c[1]),
                              .micro_batch = atoll(c[2]),
                              .sequence = atoll(c[6]),
                              .tp = atoll(c[7]),
                              .pp = atoll(c[9]),
                              .cp = 1,
                              .ep = 1,
                              .virtual_stages = 1,
                              .gemm = FC_DTYPE_BF16,
                              .recompute = FC_RECOMPUTE_FULL,
                              .launch = FC_LAUNCH_EAGER,
                              .unfused_attention = true,
                              .eager = FC_EAGER_WHOLE,
                              .bf16_gradients = true,
                              .serial_data = true};
  row->published_s = strtod(c[10], NULL) * 1e-3;
}

static bool read_vtrain(training_rows *out, const char *data, const char *scenarios) {
  const fc_profile *profile = shipped_profile(scenarios, "a100");
  FILE *f = open_table(data, "dense_a100_steps.csv");
  if (!f || !profile) {
    if (f) (void)fclose(f);
    return false;
  }
  char line[LINE_MAX_], *c[COLUMNS_MAX];
  bool ok = fgets(line, sizeof line, f) != NULL;
  for (int i = 0; ok && fgets(line, sizeof line, f); i++) {
    if (split(line, c) < 11) continue;
    training_row *row = fresh(out);
    ok = row != NULL;
    if (!ok) break;
    gpt_row(row, c);
    row->profile = profile;
    row->calibrated = i % 2 == 0;
    row->group = row->calibrated ? "vTrain A100, even rows" : "vTrain A100, odd rows";
    out->n++;
  }
  (void)fclose(f);
  return ok;
}

bool training_read(training_rows *out, const char *data, const char *scenarios) {
  out->n = 0;
  out->left_out = 0;
  const fc_model *model = shipped_model(scenarios, "llama-3.1-405b");
  return model && read_mlperf(out, data, model, scenarios) && read_bridge(out, data, scenarios) &&
         read_vtrain(out, data, scenarios);
}
