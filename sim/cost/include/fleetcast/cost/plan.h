/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_COST_PLAN_H
#define FC_COST_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include <fleetcast/base/status.h>
#include <fleetcast/hw/device.h>

/** How a model is laid over devices. */

typedef enum {
  FC_SCHEDULE_1F1B,
  FC_SCHEDULE_INTERLEAVED,
  FC_SCHEDULE_ZB1P,
  FC_SCHEDULE_DUALPIPE,
  FC_SCHEDULE_DUALPIPEV,
} fc_schedule;

typedef enum { FC_RECOMPUTE_NONE, FC_RECOMPUTE_SELECTIVE, FC_RECOMPUTE_FULL } fc_recompute;

/** How kernels reach the device: captured in graphs; attention and router captured, experts not (Megatron's
 * partial graphs); one by one from the host; the whole step in one graph, optimizer included. */
typedef enum { FC_LAUNCH_GRAPH, FC_LAUNCH_PARTIAL, FC_LAUNCH_EAGER, FC_LAUNCH_WHOLE } fc_launch;

/** What a framework runs as a chain of element-wise kernels, where others have one kernel or none. */
typedef enum {
  FC_EAGER_BIAS = 1,  /* experts' output bias, scaled by the router's weight, in FP32 */
  FC_EAGER_CLAMP = 2, /* the gated activation's inputs are clamped before the fused kernel */
  FC_EAGER_ROPE = 4,  /* rotary embedding with a scale */
  FC_EAGER_SORT =
      8, /* dispatch by the library's all-to-all, rows sorted by expert after it and before combine */
  FC_EAGER_LOSS = 16,   /* softmax and loss copy the logits to FP32 */
  FC_EAGER_WHOLE = 32,  /* before sequence parallelism: norms of every token on every tensor-parallel rank */
  FC_EAGER_FLASH2 = 64, /* FlashAttention-2's kernels, which know nothing of Hopper */
  FC_EAGER_GLU = 128,   /* the gated activation's two halves are made and multiplied apart (memory) */
} fc_eager;

/** Adam's moments: BF16 where products take 8 bits, as DeepSeek-V3, else FP32; or as stated. */
typedef enum { FC_MOMENTS_AS_PRODUCTS, FC_MOMENTS_FP32, FC_MOMENTS_BF16 } fc_moments;

typedef struct fc_train_plan {
  int64_t devices;        /* = tp * pp * cp * dp */
  int64_t tp, pp, cp, ep; /* ep divides dp * cp * tp; experts live on ep ranks */
  int64_t virtual_stages; /* chunks a rank, INTERLEAVED; 1 otherwise */
  int64_t micro_batch;    /* sequences */
  int64_t global_batch;   /* sequences */
  int64_t sequence;       /* tokens */
  int64_t zero;           /* ZeRO stage 0-3 over the data-parallel ranks */
  fc_schedule schedule;
  fc_recompute recompute;
  fc_dtype gemm;           /* format of the linear layers: BF16 or FP8 */
  double expert_imbalance; /* busiest rank's rows over the mean's, >= 1 */
  double overlap;          /* share of expert-, tensor- and context-parallel communication hidden behind
                              compute, in [0, 1] (DualPipe: expert-parallel all of what fits) */
  fc_launch launch;
  bool unfused_attention; /* scores are written to memory, as before FlashAttention */
  bool tensor_scales;     /* 8-bit operands carry one scale a tensor, not one a block */
  bool bf16_dispatch;     /* tokens travel to their experts in BF16 also where these compute in 8 bits */
  bool bf16_gradients;    /* reduced over data-parallel ranks in BF16, not FP32 */
  fc_moments moments;
  bool narrow_weights;     /* 8-bit weights are the only copy that products use: no BF16 one beside */
  bool async_tp;           /* products take the gathered sequence piece by piece */
  bool dropout;            /* after attention and feed-forward; its masks are kept */
  bool serial_data;        /* the data-parallel exchange starts when the last backward has ended */
  bool alternate_products; /* selective recomputation keeps the output of attention and of every second
                              product, as torchtitan's by operator does (memory, of dense models) */
  unsigned eager;          /* sum of fc_eager */
} fc_train_plan;

typedef struct fc_serve_plan {
  int64_t devices;         /* of one instance = tp * attention_dp * pp */
  int64_t tp;              /* attention tensor parallel */
  int64_t attention_dp;    /* data-parallel attention groups */
  int64_t ep;              /* expert parallel, within a stage; 1: experts split by tp */
  int64_t pp;              /* pipeline stages, each with a share of the layers; 0 counts as 1 */
  fc_dtype gemm;           /* linear layers */
  fc_dtype kv;             /* cache */
  double expert_imbalance; /* busiest rank's rows over the mean's, >= 1; measured experts have their own
                              within a scale-up domain */
  bool two_batch_overlap;  /* hide expert-parallel communication behind the other half batch */
  double memory_fraction;  /* of device memory that weights and cache may use */
  double busiest;          /* as expert_imbalance, but known for the tokens of this very iteration: measured
                              experts take it too; 0: not */
} fc_serve_plan;

static inline int64_t fc_serve_stages(const fc_serve_plan *plan) {
  return plan->pp > 1 ? plan->pp : 1;
}

#endif
