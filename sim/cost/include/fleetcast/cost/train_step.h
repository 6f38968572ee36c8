/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_COST_TRAIN_STEP_H
#define FC_COST_TRAIN_STEP_H

#include <stdbool.h>

#include <fleetcast/base/status.h>
#include <fleetcast/cost/model.h>
#include <fleetcast/cost/plan.h>
#include <fleetcast/cost/profile.h>

/** L1 of training: one optimizer step of a model under a parallel plan.
 *  Model: docs/model.md#training-step. */

/** Passes of one micro-batch on the stage that sets the pace, in the notation of the DualPipe README. */
typedef struct fc_pipeline_pass {
  double forward_s;    /* F */
  double backward_s;   /* B: full, input and weight gradients */
  double weight_s;     /* W: the weight gradients in B */
  double overlapped_s; /* F&B: a forward and a backward run together (DualPipe); else unused */
} fc_pipeline_pass;

/** Idle time of a pipeline of `stages` with uniform stages:
 *      1F1B (p-1)(F+B) | interleaved (p-1)(F+B)/v | ZB1P (p-1)(F+B-2W) | DualPipe (p/2-1)(F&B+B-3W)
 *  @source DualPipe README (deepseek-ai/DualPipe); interleaved: arXiv:2104.04473, section 2.2 */
double fc_pipeline_bubble_s(fc_schedule schedule, double stages, double chunks, const fc_pipeline_pass *pass);

/** Where the time of a step goes; the parts sum to `seconds`. */
typedef struct fc_train_step {
  double seconds;
  double attention_s, dense_s, experts_s, glue_s, head_s; /* compute of the pacing stage, all micro-batches */
  double launch_s;
  double comm_s; /* expert, tensor, context, pipeline communication that nothing hides */
  double bubble_s;
  double data_s; /* data-parallel reduction and gathering that nothing hides */
  double optimizer_s;
  double host_s;
  double micro_batches;
  double stage_layers; /* layers of the pacing stage */
  fc_pipeline_pass pass;
  double flop, bytes;                /* executed by the mean device, recomputation included */
  double watts;                      /* mean draw of the mean device */
  double log_sd;                     /* spread of ln(seconds): the profile's kernels, and composing them */
  int clamped, outside, substituted; /* operators at their roofline, outside their fit, by a sibling kernel */
} fc_train_step;

/** Do the degrees divide what they must?  A sentence into `why` [256], nullable.  @return FC_OK | FC_E_DOMAIN
 */
FC_NODISCARD
fc_status fc_train_plan_check(const fc_model *model, const fc_train_plan *plan, char *why);

/** @return FC_OK | FC_E_DOMAIN (as fc_train_plan_check; or the profile lacks a kernel family and its
 * siblings) */
FC_NODISCARD
fc_status fc_cost_train_step(fc_train_step *out, const fc_model *model, const fc_profile *profile,
                             const fc_train_plan *plan);

/** Memory of the fullest device. */
typedef struct fc_train_memory {
  double weight_bytes;     /* compute copies: BF16, and FP8 when the linear layers run in it */
  double gradient_bytes;   /* FP32 accumulation */
  double optimizer_bytes;  /* FP32 master and two moments */
  double activation_bytes; /* of all micro-batches in flight */
  double other_bytes;      /* logits, communication buffers, context */
  double total_bytes;
} fc_train_memory;

/** @pre fc_train_plan_check is FC_OK */
void fc_cost_train_memory(fc_train_memory *out, const fc_model *model, const fc_train_plan *plan);

/** Bytes a device keeps for the CUDA context, NCCL and dispatch buffers, workspaces and fragmentation.
 *  @source assumption: DeepEP's own buffers take 1-2 GB at EP64, a context with NCCL channels 1-2 GB */
#define FC_TRAIN_RESERVED_BYTES     3e9

/** Composition error: of ln(step), beside the kernels' own.  Root mean square over the five published runs of
 *  docs/model.md#errors (0.36, 0.17, 0.38, 0.28, 0.27): states how far off composing has been; corrects
 *  nothing. */
#define FC_TRAIN_COMPOSITION_LOG_SD 0.30

#endif
