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
} fc_schedule;

typedef enum { FC_RECOMPUTE_NONE, FC_RECOMPUTE_SELECTIVE, FC_RECOMPUTE_FULL } fc_recompute;

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
} fc_train_plan;

typedef struct fc_serve_plan {
  int64_t devices;         /* of one instance = tp * attention_dp */
  int64_t tp;              /* attention tensor parallel */
  int64_t attention_dp;    /* data-parallel attention groups */
  int64_t ep;              /* expert parallel; 1: experts split by tp */
  fc_dtype gemm;           /* linear layers */
  fc_dtype kv;             /* cache */
  double expert_imbalance; /* busiest rank's rows over the mean's, >= 1 */
  bool two_batch_overlap;  /* hide expert-parallel communication behind the other half batch */
  double memory_fraction;  /* of device memory that weights and cache may use */
} fc_serve_plan;

#endif
