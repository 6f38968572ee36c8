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
  double launches;     /* kernels that its device launches in the micro-batches */
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

/** Passes of one micro-batch through one piece of the model on one device; of DualPipe's the overlapped pair.
 */
typedef struct fc_train_kinds {
  fc_pipeline_pass layer, dense; /* of the last kind (MoE, or dense in a dense model); leading dense ones */
  fc_pipeline_pass embedding, head, mtp;
  double hand_over_s;  /* to the next stage, where the schedule does not hide it */
  double expert_share; /* routed experts' part of `layer` */
  double expert_ranks;
  double micro_batches;
} fc_train_kinds;

/** What fc_cost_train_step is composed of, for schedules stage by stage (fleetcast/train/step.h).
 *  @return as fc_cost_train_step */
FC_NODISCARD
fc_status fc_cost_train_kinds(fc_train_kinds *out, const fc_model *model, const fc_profile *profile,
                              const fc_train_plan *plan);

/** The host's time for one operator of the list that no graph captures; eager frameworks launch several
 * kernels for each.  The one calibration of training: median over the even rows of 360 A100 steps (vTrain,
 * arXiv:2312.12391), whose odd rows it then meets at 5 % (docs/model.md#errors); 62 to 68 us do as well. */
#define FC_TRAIN_HOST_LAUNCH_S 64e-6
/** Frameworks' element-wise kernels over ideal streams: casts that are not fused, two layouts, masks, second
 * passes. Least error over the four Qwen3 rows of Megatron-Bridge 26.02 on GB200 and GB300, flat from 1.5
 * to 2. DeepSeek's public trace, held out, shows 1.9. */
#define FC_TRAIN_GLUE          1.7

/** Devices of one make differ in what their power limit lets them clock: standard deviation of compute-bound
 * time over its mean.  All wait for the slowest.
 *  @source arXiv:2208.11035 (V100, MI60, five clusters): 8 % variation of matrix products between GPUs of a
 * cluster, outliers not counted, read as a box plot's whiskers, 5.4 standard deviations apart; what is
 * bound by memory hardly varies */
#define FC_TRAIN_DEVICE_SD     0.015

/** A step of NCCL's ring within a scale-up domain and between two.  Its gathers and scatters know no other
 * algorithm (all-reduces have trees).
 *  @source NVIDIA/nccl 2.19, src/graph/tuning.cc: hwLat of the ring's Simple protocol, NVLink 3.4 us, network
 * 14 us; ranks - boxes steps of the one, boxes - 1 of the other */
#define FC_TRAIN_RING_IN_S     3.4e-6
#define FC_TRAIN_RING_NET_S    14e-6
/** Parameters of a bucket of gradients, and as many for each data-parallel rank if that is more.
 *  @source Megatron-LM, core/distributed/distributed_data_parallel.py: max(40 M, 1 M x ranks) */
#define FC_TRAIN_BUCKET        40e6
#define FC_TRAIN_BUCKET_RANK   1e6

/** Attention of FlashAttention-2 over that of the profile on Hopper and later.
 *  @source arXiv:2407.08608: FlashAttention-2 reaches 35 % of the H100's peak, FlashAttention-3 is 1.5 to 2.0
 * times as fast forward and 1.5 to 1.75 backward; the profile's forward kernel reaches 56 % */
#define FC_TRAIN_FLASH2        1.6

/** How much longer the slowest of so many devices computes than the mean one, expected, as a share; 0 for
 * one. */
double fc_train_slowest(double devices);

/** Memory of one device at its peak; all but the last two sum to `total_bytes`. */
typedef struct fc_train_memory {
  double weight_bytes;     /* compute copies: BF16, and FP8 when the linear layers run in it */
  double gradient_bytes;   /* FP32 or BF16 accumulation */
  double optimizer_bytes;  /* FP32 master and two moments */
  double activation_bytes; /* of all micro-batches in flight */
  double buffer_bytes;     /* communication; attention's score buffer */
  double fragment_bytes;   /* lost between allocations */
  double other_bytes;      /* what comes and goes, at its most: a layer's backward, the logits or the update's
                              copies beyond activations and buffers; context */
  double total_bytes;
  double moment_bytes; /* of optimizer_bytes what the first update brings: before it they are not there */
  double update_bytes; /* while the optimizer runs, with activations gone: FP32 copies of BF16 gradients,
                          casts of the master to be written in 8 bits.  @source Megatron-LM d98e8a64,
                          distrib_optimizer.py; Transformer Engine 2.9, cast_master_weights_to_fp8 */
} fc_train_memory;

typedef enum { FC_TRAIN_FIRST, FC_TRAIN_INNER, FC_TRAIN_LAST } fc_train_place;

/** Of the fullest device.  @pre fc_train_plan_check is FC_OK */
void fc_cost_train_memory(fc_train_memory *out, const fc_model *model, const fc_train_plan *plan);

/** Of a device with the first, the second (where most inner stages hold less) or the last pipeline stage;
 *  without a pipeline of any.  @pre as fc_cost_train_memory  @return false: there is no such device, `out` is
 * zero */
bool fc_cost_train_memory_at(fc_train_memory *out, const fc_model *model, const fc_train_plan *plan,
                             fc_train_place place);

/** Bytes that the device has left, negative: short of so many. */
double fc_train_memory_spare(const fc_train_memory *memory, const fc_device *device);

/** Bytes a device keeps for the CUDA context, NCCL's channels and libraries' workspaces.
 *  @source assumption: a context takes half a GB, channels and workspaces as much.  It was 2 GB until
 * DeepSeek-V3's own plan came out 0.1 GB over its 80: this choice saw that run's answer */
#define FC_TRAIN_RESERVED_BYTES     1e9
/** Share of the activations lost between allocations of a caching allocator.
 *  @source assumption: expandable segments leave a few per cent; ZeRO (arXiv:1910.02054, section 6.3) saw up
 * to 30 % of memory unusable without care.  Eleven published pairs of peaks (Megatron-Bridge 067f987d,
 * examples/model_verification_cards): 2.4 to 21 % more reserved than allocated, 3.4 % in the median */
#define FC_TRAIN_FRAGMENTED         0.03

/** Composition error: of ln(step), beside the kernels' own.  Root mean square over the 43 runs of MLPerf v5.0
 * and Megatron-Bridge 26.02, DeepSeek-V3 on H800 and Llama 3 on 8,192 H100 (docs/model.md#errors): before the
 * slowest device, stalls and chains of kernels were added with these runs in view. On them it is 0.09 now;
 * runs that nobody has looked at need not be as near, so the interval stays.  Corrects nothing. */
#define FC_TRAIN_COMPOSITION_LOG_SD 0.18

#endif
