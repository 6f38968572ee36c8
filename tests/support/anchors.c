/* SPDX-License-Identifier: Apache-2.0 */
#include "anchors.h"

#include <math.h>

#include <fleetcast/cost/operator.h>
#include <fleetcast/cost/serve_step.h>
#include <fleetcast/cost/train_step.h>

typedef struct {
  anchor *out;
  size_t n;
} list;

static void put(list *l, anchor a) {
  if (l->n < ANCHORS_MAX) l->out[l->n++] = a;
}

double anchor_error(const anchor *a) {
  return a->composed / (0.5 * (a->low + a->high)) - 1;
}

/* --- operators in DeepSeek's training trace: 4,096 tokens a device, EP64, 112 units, in situ --- */

static void operators(list *l, const fc_profile *h800) {
  static const char trace[] = "deepseek-ai/profile-data, train.json";
  static const struct {
    const char *id, *what;
    fc_op op;
    double low_ms, high_ms;
  } cases[] = {
      {"op_o_proj",
       "o_proj 4096x7168x16384 fp8",
       {.id = FC_OP_LINEAR, .m = 4096, .n = 7168, .k = 16384},
       0.89,
       0.93},
      {"op_q_b",
       "q_b 4096x24576x1536 fp8",
       {.id = FC_OP_LINEAR, .m = 4096, .n = 24576, .k = 1536},
       0.36,
       0.37},
      {"op_kv_b",
       "kv_b 4096x32768x512 fp8",
       {.id = FC_OP_LINEAR, .m = 4096, .n = 32768, .k = 512},
       0.24,
       0.25},
      {"op_gg_up",
       "grouped up 31104x4096x7168, 4 experts",
       {.id = FC_OP_GROUPED, .m = 31104, .n = 4096, .k = 7168, .groups = 4},
       1.74,
       2.13},
      {"op_gg_down",
       "grouped down 31104x7168x2048, 4 experts",
       {.id = FC_OP_GROUPED, .m = 31104, .n = 7168, .k = 2048, .groups = 4},
       0.95,
       1.19},
      {"op_attn_fwd",
       "MLA attention forward 4096, 128 heads",
       {.id = FC_OP_MLA_P, .heads = 128, .kv_heads = 128, .q = 4096, .s = 4096, .dk = 192, .dv = 128},
       1.20,
       1.28},
      {"op_attn_bwd",
       "MLA attention backward",
       {.id = FC_OP_MLA_B, .heads = 128, .kv_heads = 128, .q = 4096, .s = 4096, .dk = 192, .dv = 128},
       3.58,
       3.86},
      {"op_dispatch",
       "dispatch fp8 EP64, in situ",
       {.id = FC_OP_DISPATCH,
        .m = 4096,
        .n = 7168,
        .ranks = 64,
        .domain = 8,
        .top_k = 8,
        .route_groups = 8,
        .route_top = 4},
       4.15,
       4.60},
      {"op_combine",
       "combine bf16 EP64, in situ",
       {.id = FC_OP_EP_REDUCE,
        .m = 4096,
        .n = 7168,
        .ranks = 64,
        .domain = 8,
        .top_k = 8,
        .route_groups = 8,
        .route_top = 4},
       5.85,
       6.55},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fc_op op = cases[i].op;
    bool attention = op.dk > 0, network = op.ranks > 0;
    op.dtype = attention || op.id == FC_OP_EP_REDUCE ? FC_DTYPE_BF16 : FC_DTYPE_FP8;
    if (!network) op.units = 112;
    fc_op_cost cost = {.seconds = (double)NAN};
    if (fc_op_evaluate(&cost, &op, h800) != FC_OK) cost.seconds = (double)NAN;
    double in_situ = network ? fmax(1, h800->contention) : 1;
    put(l, (anchor){cases[i].id, cases[i].what, "ms", trace, cases[i].low_ms, cases[i].high_ms,
                    cost.seconds * in_situ * 1e3, hypot(cost.log_sd_systematic, cost.log_sd_shape)});
  }
}

/* --- training --- */

static double step_s(const fc_model *model, const fc_profile *profile, const fc_train_plan *plan,
                     double *log_sd) {
  fc_train_step s;
  *log_sd = 0;
  if (fc_cost_train_step(&s, model, profile, plan) != FC_OK) return (double)NAN;
  *log_sd = s.log_sd;
  return s.seconds;
}

/* Four MoE layers, forward and backward, without ends: compute, and expert-parallel time. */
static void trace_layers(list *l, const anchor_inputs *in) {
  fc_model four = *in->deepseek_v3;
  four.layers = 4;
  four.dense_layers = four.mtp_layers = 0;
  four.vocab = 1;
  fc_train_plan plan = {.devices = 64,
                        .tp = 1,
                        .pp = 1,
                        .cp = 1,
                        .ep = 64,
                        .virtual_stages = 1,
                        .micro_batch = 1,
                        .global_batch = 64,
                        .sequence = 4096,
                        .zero = 1,
                        .recompute = FC_RECOMPUTE_SELECTIVE,
                        .gemm = FC_DTYPE_FP8,
                        .expert_imbalance = 1,
                        .overlap = 1};
  static const char trace[] = "deepseek-ai/profile-data, train.json; kernels.md 1c";
  fc_train_step s;
  if (fc_cost_train_step(&s, &four, in->h800, &plan) != FC_OK) return;
  double compute = (s.attention_s + s.dense_s + s.experts_s + s.glue_s) * 1e3;
  put(l, (anchor){"trace_compute", "4 MoE layers F+B: compute streams", "ms", trace, 124.3, 124.3, compute,
                  s.log_sd});
  put(l, (anchor){"trace_attention", "  attention cores (16.9 %)", "ms", trace, 21.0, 21.0,
                  s.attention_s * 1e3, 0});
  put(l, (anchor){"trace_gemm", "  GEMM and grouped GEMM (57.5 %)", "ms", trace, 71.5, 71.5,
                  (s.dense_s + s.experts_s) * 1e3, 0});
  put(l, (anchor){"trace_glue", "  memory-bound rest with gate (25.6 %)", "ms", trace, 31.8, 31.8,
                  s.glue_s * 1e3, 0});
  plan.overlap = 1e-9; /* beside compute, nothing hidden */
  if (fc_cost_train_step(&s, &four, in->h800, &plan) != FC_OK) return;
  put(l, (anchor){"trace_ep", "4 MoE layers F+B: dispatch and combine", "ms", trace, 114.5, 114.5,
                  s.comm_s * 1e3, 0});
}

static void training(list *l, const anchor_inputs *in) {
  double sd;
  if (in->h800) {
    fc_train_plan plan = {.devices = 2048,
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
    double s = step_s(in->deepseek_v3, in->h800, &plan, &sd);
    put(l, (anchor){"v3_gpu_hours", "DeepSeek-V3 on 2,048 H800, a trillion tokens", "K GPU-h",
                    "arXiv:2412.19437, table 1", 180, 180, s * 2048 / 3600 / (15360.0 * 4096) * 1e9, sd});
  }
  if (in->h100) {
    fc_train_plan plan = {.devices = 512,
                          .tp = 8,
                          .pp = 8,
                          .cp = 2,
                          .ep = 1,
                          .virtual_stages = 8,
                          .micro_batch = 1,
                          .tensor_scales = true,
                          .global_batch = 1152,
                          .sequence = 8192,
                          .zero = 1,
                          .schedule = FC_SCHEDULE_INTERLEAVED,
                          .gemm = FC_DTYPE_FP8,
                          .overlap = 0.8};
    put(l, (anchor){"mlperf_h100", "Llama 405B on 512 H100, step (FP8, TP8 PP8 CP2)", "s",
                    "MLPerf Training v5.0", 55.1, 55.1, step_s(in->llama_405b, in->h100, &plan, &sd), sd});
    plan = (fc_train_plan){.devices = 8192,
                           .tp = 8,
                           .pp = 16,
                           .cp = 1,
                           .ep = 1,
                           .virtual_stages = 4,
                           .micro_batch = 1,
                           .global_batch = 2048,
                           .sequence = 8192,
                           .zero = 1,
                           .schedule = FC_SCHEDULE_INTERLEAVED,
                           .gemm = FC_DTYPE_BF16,
                           .overlap = 0.8};
    double s = step_s(in->llama_405b, in->h100, &plan, &sd);
    double useful = fc_model_train_flop_per_token(in->llama_405b, 8192, false) * 2048 * 8192;
    put(l, (anchor){"llama3_mfu", "Llama 405B on 8,192 H100, BF16, TP8 PP16", "TFLOP/s a GPU",
                    "arXiv:2407.21783, table 4", 430, 430, useful / s / 8192 / 1e12, sd});
  }
  if (in->gb200) {
    fc_train_plan plan = {.devices = 512,
                          .tp = 4,
                          .pp = 8,
                          .cp = 2,
                          .ep = 1,
                          .virtual_stages = 8,
                          .micro_batch = 1,
                          .tensor_scales = true,
                          .global_batch = 896,
                          .sequence = 8192,
                          .zero = 1,
                          .schedule = FC_SCHEDULE_INTERLEAVED,
                          .gemm = FC_DTYPE_FP8,
                          .overlap = 0.8};
    put(l, (anchor){"mlperf_gb200", "Llama 405B on 512 GB200, step (FP8, TP4 PP8 CP2)", "s",
                    "MLPerf Training v5.0", 19.43, 19.6, step_s(in->llama_405b, in->gb200, &plan, &sd), sd});
    plan = (fc_train_plan){.devices = 256,
                           .tp = 1,
                           .pp = 4,
                           .cp = 1,
                           .ep = 64,
                           .virtual_stages = 4,
                           .micro_batch = 1,
                           .global_batch = 4096,
                           .sequence = 4096,
                           .zero = 1,
                           .schedule = FC_SCHEDULE_INTERLEAVED,
                           .recompute = FC_RECOMPUTE_SELECTIVE,
                           .gemm = FC_DTYPE_FP8,
                           .launch = FC_LAUNCH_PARTIAL,
                           .bf16_dispatch = true,
                           .bf16_gradients = true,
                           .expert_imbalance = 1};
    double s = step_s(in->deepseek_v3, in->gb200, &plan, &sd);
    put(l, (anchor){"mb_v3_gb200", "DeepSeek-V3 on 256 GB200, MXFP8, PP4 EP64", "tokens/s a GPU",
                    "Megatron-Bridge 26.02", 3955, 4021, 4096.0 * 4096 / s / 256, sd});
  }
}

/* --- serving --- */

static double iteration_s(const anchor_inputs *in, const fc_profile *profile, int64_t n, double imbalance,
                          fc_serve_load load, double *log_sd) {
  fc_serve_plan plan = {.devices = n,
                        .tp = 1,
                        .attention_dp = n,
                        .ep = n,
                        .gemm = FC_DTYPE_FP8,
                        .kv = FC_DTYPE_BF16,
                        .expert_imbalance = imbalance,
                        .two_batch_overlap = n > 8,
                        .memory_fraction = 0.9};
  fc_serve_iteration it;
  *log_sd = 0;
  if (fc_cost_serve_iteration(&it, in->deepseek_v3, profile, &plan, &load) != FC_OK) return (double)NAN;
  *log_sd = it.log_sd;
  return it.seconds;
}

static void serving(list *l, const anchor_inputs *in) {
  double sd, t;
  static const char sglang[] = "lmsys.org 2025-05-05", day[] = "deepseek-ai/profile-data; InferSim";
  if (in->h100) {
    fc_serve_load prefill = {.prefill_tokens = 32 * 16384, .prefill_requests = 32 * 4};
    t = iteration_s(in, in->h100, 32, 1, prefill, &sd);
    put(l, (anchor){"sgl_prefill", "V3 prefill EP32 H100, 16,384 tokens a GPU, balanced", "tokens/s a node",
                    sglang, 59337, 59337, 8 * 16384 / t, sd});
    fc_serve_load decode = {.decode_requests = 72 * 256, .decode_context = 2000};
    t = iteration_s(in, in->h100, 72, 1.2, decode, &sd);
    put(l, (anchor){"sgl_decode", "V3 decode EP72 H100, 256 requests a GPU, 2,000 cached", "tokens/s a node",
                    sglang, 22282, 22282, 8 * 256 / t, sd});
  }
  if (in->h800) {
    fc_serve_load prefill = {.prefill_tokens = 32 * 16384, .prefill_requests = 32 * 4};
    t = iteration_s(in, in->h800, 32, 1, prefill, &sd);
    put(l, (anchor){"ds_prefill", "V3 prefill EP32 H800, 4 x 4,096 tokens a GPU, balanced", "tokens/s a GPU",
                    day, 7839, 7839, 16384 / t, sd});
    fc_serve_load decode = {.decode_requests = 128 * 128, .decode_context = 4096};
    t = iteration_s(in, in->h800, 128, 1, decode, &sd);
    put(l, (anchor){"ds_decode", "V3 decode EP128 H800, 128 requests a GPU, 4,096 cached, balanced",
                    "tokens/s a GPU", day, 2324, 2324, 128 / t, sd});
  }
  if (in->h200) {
    /* 1,024 in, 2,048 out: half a prompt token rides with every generated one */
    fc_serve_load decode = {
        .decode_requests = 1024, .decode_context = 2048, .prefill_tokens = 512, .prefill_requests = 8};
    t = iteration_s(in, in->h200, 8, 1.2, decode, &sd);
    put(l, (anchor){"trt_h200", "R1 DEP8 H200, 1,024 in, 2,048 out, 128 requests a GPU", "tokens/s a GPU",
                    "TensorRT-LLM docs, best practice on DeepSeek-R1", 1436.2, 1436.2, 128 / t, sd});
  }
}

/* InferSim's own model of a prefill layer, 8,192 tokens a device, EP32, H800 (its total is 15 % above the
 * measured rate). */
static void infersim(list *l, const fc_profile *h800) {
  static const struct {
    const char *id, *what;
    fc_op op[2];
    double us;
  } cases[] = {
      {"is_o_proj",
       "InferSim layer: o_proj 8192x7168x16384",
       {{.id = FC_OP_LINEAR, .m = 8192, .n = 7168, .k = 16384}},
       1280},
      {"is_q_b",
       "InferSim layer: q_b 8192x24576x1536",
       {{.id = FC_OP_LINEAR, .m = 8192, .n = 24576, .k = 1536}},
       458},
      {"is_shared",
       "InferSim layer: shared expert",
       {{.id = FC_OP_LINEAR, .m = 8192, .n = 4096, .k = 7168},
        {.id = FC_OP_LINEAR, .m = 8192, .n = 7168, .k = 2048}},
       506},
      {"is_routed",
       "InferSim layer: routed experts, 65,536 rows on 8",
       {{.id = FC_OP_GROUPED, .m = 65536, .n = 4096, .k = 7168, .groups = 8},
        {.id = FC_OP_GROUPED, .m = 65536, .n = 7168, .k = 2048, .groups = 8}},
       4258},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    double us = 0;
    for (int j = 0; j < 2 && cases[i].op[j].m > 0; j++) {
      fc_op op = cases[i].op[j];
      op.dtype = FC_DTYPE_FP8;
      fc_op_cost cost;
      us += fc_op_evaluate(&cost, &op, h800) == FC_OK ? cost.seconds * 1e6 : (double)NAN;
    }
    put(l, (anchor){cases[i].id, cases[i].what, "us", "InferSim README example (modelled)", cases[i].us,
                    cases[i].us, us, 0});
  }
}

size_t anchors_compute(anchor out[ANCHORS_MAX], const anchor_inputs *inputs) {
  list l = {.out = out};
  if (inputs->h800) {
    operators(&l, inputs->h800);
    trace_layers(&l, inputs);
    infersim(&l, inputs->h800);
  }
  training(&l, inputs);
  serving(&l, inputs);
  return l.n;
}
