/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture_models.h"

/* Models: config.json of each on huggingface.co. */
const fc_model fixture_deepseek_v3 = {
    .name = "deepseek-v3",
    .layers = 61,
    .dense_layers = 3,
    .hidden = 7168,
    .vocab = 129280,
    .ffn = 18432,
    .attention = {.kind = FC_ATTENTION_MLA,
                  .heads = 128,
                  .q_lora = 1536,
                  .kv_lora = 512,
                  .nope = 128,
                  .rope = 64,
                  .v = 128},
    .moe = {.experts = 256, .active = 8, .shared = 1, .inter = 2048, .groups = 8, .top_groups = 4},
    .mtp_layers = 1,
    .weights = FC_DTYPE_FP8,
    .published_total_params = 671e9,
    .published_active_params = 37e9,
};

const fc_model fixture_kimi_k2 = {
    .name = "kimi-k2",
    .layers = 61,
    .dense_layers = 1,
    .hidden = 7168,
    .vocab = 163840,
    .ffn = 18432,
    .attention = {.kind = FC_ATTENTION_MLA,
                  .heads = 64,
                  .q_lora = 1536,
                  .kv_lora = 512,
                  .nope = 128,
                  .rope = 64,
                  .v = 128},
    .moe = {.experts = 384, .active = 8, .shared = 1, .inter = 2048, .groups = 1, .top_groups = 1},
    .weights = FC_DTYPE_FP8,
    .published_total_params = 1.04e12,
    .published_active_params = 32.6e9, /* arXiv:2507.20534: 32.6 B; the model card says 32 B */
};

const fc_model fixture_qwen3_235b = {
    .name = "qwen3-235b-a22b",
    .layers = 94,
    .hidden = 4096,
    .vocab = 151936,
    .attention = {.kind = FC_ATTENTION_GQA, .heads = 64, .kv_heads = 4, .head_dim = 128},
    .moe = {.experts = 128, .active = 8, .inter = 1536},
    .weights = FC_DTYPE_BF16,
    .published_total_params = 235e9,
    .published_active_params = 22e9,
};

const fc_model fixture_gpt_oss_120b = {
    .name = "gpt-oss-120b",
    .layers = 36,
    .hidden = 2880,
    .vocab = 201088,
    .attention = {.kind = FC_ATTENTION_GQA,
                  .heads = 64,
                  .kv_heads = 8,
                  .head_dim = 64,
                  .window = 128,
                  .window_layers = 18},
    .moe = {.experts = 128, .active = 4, .inter = 2880},
    .weights = FC_DTYPE_FP4,
    .published_total_params = 116.8e9,
    .published_active_params = 5.1e9, /* the card does not count the embedding */
};

const fc_model fixture_llama_8b = {
    .name = "llama-3.1-8b",
    .layers = 32,
    .hidden = 4096,
    .vocab = 128256,
    .ffn = 14336,
    .attention = {.kind = FC_ATTENTION_GQA, .heads = 32, .kv_heads = 8, .head_dim = 128},
    .weights = FC_DTYPE_BF16,
    .published_total_params = 8.03e9,
    .published_active_params = 8.03e9,
};

const fc_model fixture_llama_70b = {
    .name = "llama-3.1-70b",
    .layers = 80,
    .hidden = 8192,
    .vocab = 128256,
    .ffn = 28672,
    .attention = {.kind = FC_ATTENTION_GQA, .heads = 64, .kv_heads = 8, .head_dim = 128},
    .weights = FC_DTYPE_BF16,
    .published_total_params = 70.6e9,
    .published_active_params = 70.6e9,
};

const fc_model fixture_llama_405b = {
    .name = "llama-3.1-405b",
    .layers = 126,
    .hidden = 16384,
    .vocab = 128256,
    .ffn = 53248,
    .attention = {.kind = FC_ATTENTION_GQA, .heads = 128, .kv_heads = 8, .head_dim = 128},
    .weights = FC_DTYPE_BF16,
    .published_total_params = 405.9e9,
    .published_active_params = 405.9e9,
};

const fc_model fixture_qwen_72b = {
    .name = "qwen2.5-72b",
    .layers = 80,
    .hidden = 8192,
    .vocab = 152064,
    .ffn = 29568,
    .attention = {.kind = FC_ATTENTION_GQA, .heads = 64, .kv_heads = 8, .head_dim = 128},
    .weights = FC_DTYPE_BF16,
    .published_total_params = 72.7e9,
    .published_active_params = 72.7e9,
};

/* Devices: NVIDIA H100 datasheet; H800: NVLink 400 GB/s (arXiv:2505.09343). */
#define HOPPER                                                                                               \
  .peak_flop_per_s = {[FC_DTYPE_FP32] = 67e12,                                                               \
                      [FC_DTYPE_BF16] = 989e12,                                                              \
                      [FC_DTYPE_FP8] = 1979e12,                                                              \
                      [FC_DTYPE_INT8] = 1979e12},                                                            \
  .memory_bytes = 80e9, .memory_bytes_per_s = 3.35e12, .l2_bytes = 50e6, .compute_units = 132,               \
  .scaleup_devices = 8, .scaleout_bytes_per_s = 50e9, .node_devices = 8, .tdp_w = 700, .idle_w = 70,         \
  .server_w = 1450
const fc_device fixture_h100 = {.name = "h100", .title = "H100 SXM", .scaleup_bytes_per_s = 900e9, HOPPER};
const fc_device fixture_h800 = {.name = "h800", .title = "H800 SXM", .scaleup_bytes_per_s = 400e9, HOPPER};

/* Coefficients: prior of the design notes (kernels.md, section 6) unless stated. */
#define SPREAD(systematic, shape) .spread_systematic = (systematic), .spread_shape = (shape)
#define COMPUTE_KERNELS                                                                                      \
  /* DeepGEMM on H800, 7.8 % mean error in the form's fit to 110 points */                                   \
  {.kernel = FC_KERNEL_GEMM,                                                                                 \
   .dtype = FC_DTYPE_FP8,                                                                                    \
   .impl = "deepgemm",                                                                                       \
   .form = FC_FORM_GEMM,                                                                                     \
   .coef = {.t0_s = 4.2e-6,                                                                                  \
            .flop_per_s = 1750e12,                                                                           \
            .bytes_per_s = 2.8e12,                                                                           \
            .tile_s = 0.64e-6,                                                                               \
            .tile_traffic = 0.21,                                                                            \
            .sharpness = 3.4},                                                                               \
   SPREAD(0.05, 0.1)}, /* cuBLASLt bf16, H100: 3-parameter roofline */                                       \
      {.kernel = FC_KERNEL_GEMM,                                                                             \
       .dtype = FC_DTYPE_BF16,                                                                               \
       .impl = "cublaslt",                                                                                   \
       .form = FC_FORM_ATTENTION,                                                                            \
       .coef = {.t0_s = 3.8e-6, .flop_per_s = 755e12, .bytes_per_s = 2.8e12},                                \
       SPREAD(0.05, 0.1)},                                                                                   \
      {.kernel = FC_KERNEL_GROUPED_GEMM,                                                                     \
       .dtype = FC_DTYPE_FP8,                                                                                \
       .impl = "deepgemm",                                                                                   \
       .form = FC_FORM_GEMM,                                                                                 \
       .coef = {.t0_s = 6e-6,                                                                                \
                .flop_per_s = 1450e12,                                                                       \
                .bytes_per_s = 2.7e12,                                                                       \
                .tile_traffic = 0.11,                                                                        \
                .sharpness = 3.4},                                                                           \
       SPREAD(0.05, 0.06)}, /* bf16 grouped: no measurement at hand; the dense rate */                       \
      {.kernel = FC_KERNEL_GROUPED_GEMM,                                                                     \
       .dtype = FC_DTYPE_BF16,                                                                               \
       .impl = "prior",                                                                                      \
       .form = FC_FORM_GEMM,                                                                                 \
       .coef = {.t0_s = 6e-6, .flop_per_s = 700e12, .bytes_per_s = 2.7e12, .sharpness = 3.4},                \
       SPREAD(0.1, 0.1)},                                                                                    \
      {.kernel = FC_KERNEL_GROUPED_GEMM_MASKED,                                                              \
       .dtype = FC_DTYPE_FP8,                                                                                \
       .impl = "deepgemm",                                                                                   \
       .form = FC_FORM_GEMM,                                                                                 \
       .coef = {.t0_s = 6e-6,                                                                                \
                .flop_per_s = 1450e12,                                                                       \
                .bytes_per_s = 2.7e12,                                                                       \
                .tile_traffic = 0.11,                                                                        \
                .sharpness = 3.4},                                                                           \
       SPREAD(0.05, 0.11)}, /* cuDNN 9.19 on H200, 192/128 causal: 522, 599, 643 TF/s at 2k, 4k, 8k */       \
      {.kernel = FC_KERNEL_MLA_PREFILL,                                                                      \
       .dtype = FC_DTYPE_BF16,                                                                               \
       .impl = "cudnn",                                                                                      \
       .form = FC_FORM_ATTENTION,                                                                            \
       .coef = {.t0_s = 5e-6, .flop_per_s = 697e12, .bytes_per_s = 2.8e12, .half_length = 686},              \
       SPREAD(0.05, 0.05)},                                                                                  \
      {.kernel = FC_KERNEL_ATTENTION_PREFILL,                                                                \
       .dtype = FC_DTYPE_BF16,                                                                               \
       .impl = "cudnn",                                                                                      \
       .form = FC_FORM_ATTENTION,                                                                            \
       .coef = {.t0_s = 5e-6, .flop_per_s = 697e12, .bytes_per_s = 2.8e12, .half_length = 686},              \
       SPREAD(0.1, 0.1)}, /* the same, backward, deterministic: 352, 404, 442 TF/s */                        \
      {.kernel = FC_KERNEL_MLA_BACKWARD,                                                                     \
       .dtype = FC_DTYPE_BF16,                                                                               \
       .impl = "cudnn",                                                                                      \
       .form = FC_FORM_ATTENTION,                                                                            \
       .coef = {.t0_s = 5e-6, .flop_per_s = 483e12, .bytes_per_s = 2.8e12, .half_length = 763},              \
       SPREAD(0.1, 0.05)},                                                                                   \
      {.kernel = FC_KERNEL_ATTENTION_BACKWARD,                                                               \
       .dtype = FC_DTYPE_BF16,                                                                               \
       .impl = "cudnn",                                                                                      \
       .form = FC_FORM_ATTENTION,                                                                            \
       .coef = {.t0_s = 5e-6, .flop_per_s = 483e12, .bytes_per_s = 2.8e12, .half_length = 763},              \
       SPREAD(0.1, 0.1)}, /* FlashInfer on H800; t0 less its host share */                                   \
      {.kernel = FC_KERNEL_MLA_DECODE,                                                                       \
       .dtype = FC_DTYPE_BF16,                                                                               \
       .impl = "flashinfer",                                                                                 \
       .form = FC_FORM_ATTENTION,                                                                            \
       .coef = {.t0_s = 10e-6, .flop_per_s = 542e12, .bytes_per_s = 2.4e12},                                 \
       SPREAD(0.05, 0.05)},                                                                                  \
      {.kernel = FC_KERNEL_ATTENTION_DECODE,                                                                 \
       .dtype = FC_DTYPE_BF16,                                                                               \
       .impl = "prior",                                                                                      \
       .form = FC_FORM_ATTENTION,                                                                            \
       .coef = {.t0_s = 10e-6, .flop_per_s = 400e12, .bytes_per_s = 2.4e12},                                 \
       SPREAD(0.1, 0.1)}, /* copy bandwidth 3.0 TB/s; 2.5-2.7 by index */                                    \
      {.kernel = FC_KERNEL_MEMORY,                                                                           \
       .dtype = FC_DTYPE_BF16,                                                                               \
       .impl = "prior",                                                                                      \
       .form = FC_FORM_MEMORY,                                                                               \
       .coef = {.t0_s = 2e-6, .bytes_per_s = 2.7e12},                                                        \
       SPREAD(0.2, 0.1)},                                                                                    \
  {                                                                                                          \
    .kernel = FC_KERNEL_GATHER, .dtype = FC_DTYPE_BF16, .impl = "prior", .form = FC_FORM_MEMORY,             \
    .coef = {.t0_s = 3e-6, .bytes_per_s = 2.5e12}, SPREAD(0.2, 0.1)                                          \
  }

/* Rings: bandwidth of one direction inside the domain and of the 400 Gb/s port outside. */
#define RING(id, inside)                                                                                     \
  {                                                                                                          \
    .kernel = FC_KERNEL_##id, .dtype = FC_DTYPE_BF16, .impl = "nccl", .form = FC_FORM_COLLECTIVE,            \
    .coef = {.t0_s = 8e-6,                                                                                   \
             .hop_s = 1e-6,                                                                                  \
             .bytes_per_s = (inside),                                                                        \
             .net_t0_s = 15e-6,                                                                              \
             .net_bytes_per_s = 45e9},                                                                       \
    SPREAD(0.1, 0.1)                                                                                         \
  }
/* DeepEP V1, H800: EP8 153/158 GB/s over NVLink; EP32 and EP64 58/57 and 51/50 GB/s, own node counted: 43-45
 * GB/s through the port.  Low latency: 77/114 us at EP8, 173/314 at EP64 (128 tokens). */
#define EXPERT(id, a, inside, outside)                                                                       \
  {                                                                                                          \
    .kernel = FC_KERNEL_##id, .dtype = FC_DTYPE_BF16, .impl = "deepep", .form = FC_FORM_COLLECTIVE,          \
    .coef = {.t0_s = (a), .bytes_per_s = (inside), .net_t0_s = (a), .net_bytes_per_s = (outside)},           \
    SPREAD(0.1, 0.1)                                                                                         \
  }
#define COMMUNICATION(link)                                                                                  \
  RING(ALL_REDUCE, link), RING(ALL_GATHER, link), RING(REDUCE_SCATTER, link), RING(ALL_TO_ALL, link),        \
      RING(SEND_RECV, link), EXPERT(EP_DISPATCH, 30e-6, 153e9, 44e9),                                        \
      EXPERT(EP_COMBINE, 30e-6, 158e9, 43e9), EXPERT(EP_DISPATCH_LL, 8e-6, 96e9, 40e9),                      \
      EXPERT(EP_COMBINE_LL, 8e-6, 121e9, 42e9)

static const fc_kernel_fit h100_kernels[] = {COMPUTE_KERNELS, COMMUNICATION(360e9)};
static const fc_kernel_fit h800_kernels[] = {COMPUTE_KERNELS, COMMUNICATION(160e9)};

/* Overheads: order-of-magnitude assumptions, except 20 units for communication (arXiv:2412.19437). */
#define OVERHEADS                                                                                            \
  .launch_s = 1e-6, .iteration_host_s = 1e-3, .step_host_s = 0.05, .contention = 1.3,                        \
  .comm_compute_units = 20, .power_compute_fraction = 0.6, .power_memory_fraction = 0.4
const fc_profile fixture_h100_profile = {.name = "h100",
                                         .device_name = "h100",
                                         .device = &fixture_h100,
                                         .provenance = FC_PROVENANCE_PUBLISHED,
                                         .n_kernels = sizeof h100_kernels / sizeof *h100_kernels,
                                         .kernels = h100_kernels,
                                         OVERHEADS};
const fc_profile fixture_h800_profile = {.name = "h800",
                                         .device_name = "h800",
                                         .device = &fixture_h800,
                                         .provenance = FC_PROVENANCE_PUBLISHED,
                                         .n_kernels = sizeof h800_kernels / sizeof *h800_kernels,
                                         .kernels = h800_kernels,
                                         OVERHEADS};
