/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TRAIN_STEP_H
#define FC_TRAIN_STEP_H

#include <stdbool.h>
#include <stdint.h>

#include <fleetcast/base/status.h>
#include <fleetcast/cost/model.h>
#include <fleetcast/cost/plan.h>
#include <fleetcast/cost/profile.h>
#include <fleetcast/train/schedule.h>

/** A training step stage by stage (embedding, dense and MoE layers, head, MTP each where they are), and as a
 *  distribution.  Model: docs/model.md#training-step. */

typedef struct fc_train_simulation {
  double seconds;    /* of the step */
  double closed_s;   /* what fc_cost_train_step says */
  double makespan_s; /* of the micro-batches; the rest of `seconds` is once a step */
  double idle_s;     /* of the mean rank within the makespan */
  double peak;       /* stage activations on the fullest rank, in those of a micro-batch on one stage */
  fc_critical critical;
  int64_t stages, least_layers, most_layers; /* layers of a stage, MTP modules not counted */
} fc_train_simulation;

/** Layers are dealt in order so that the slowest stage is as fast as can be.
 *  @return FC_OK | FC_E_NOMEM | FC_E_DOMAIN (as fc_train_plan_check: sentence into why [256], nullable; more
 * than 1e7 passes; a kernel that the profile lacks) */
FC_NODISCARD
fc_status fc_train_step_simulate(fc_train_simulation *out, const fc_model *model, const fc_profile *profile,
                                 const fc_train_plan *plan, char *why);

/** What makes one step differ from the next.  Each term varies around the plan's mean, it does not move it;
 * stragglers only add. */
typedef struct fc_step_jitter {
  double kernel_sd;       /* a device's pass against its mean; the slowest of a stage's devices counts */
  double common_sd;       /* all devices together: network, storage, host */
  double popularity_sd;   /* of an expert's share of the rows over its mean share, drawn for every stage and
                             step;   the draw of single tokens comes on top */
  double straggler_rate;  /* steps in which one of FC_STEP_STALL_DEVICES stalls, as a share: more devices,
                             more such steps */
  double straggler_share; /* mean length of such a stall, exponential, as a share of the step */
} fc_step_jitter;

/** Spread of experts' popularity with auxiliary-loss-free balancing and with an auxiliary loss: the largest
 * of 64 experts exceeds the mean by 4 and 72 %, some 2.4 standard deviations.
 *  @source arXiv:2408.15664, table 2, MaxVio_global of the 1 B models */
#define FC_STEP_POPULARITY_SD_FREE 0.017
#define FC_STEP_POPULARITY_SD_LOSS 0.30

/** Devices of the runs that stalls were counted in; each stalls on its own, and all wait for it. */
#define FC_STEP_STALL_DEVICES      512.0

/** kernel_sd 0.01: repeats of one shape in own H100 measurements; the others calibrated on the body (99th
 *  percentile, 0.5 to 0.7 % above the median of two of three runs) and on the outliers (cv 0.0063, 0.0149 and
 * 0.0239) of MLPerf Training v5.0, Llama-3.1-405B on 512 devices; popularity with auxiliary-loss-free
 * balancing. */
fc_step_jitter fc_step_jitter_usual(void);

typedef struct fc_step_distribution {
  double mean_s, cv, median_s, p99_s, max_s;             /* of the draws */
  double cv_kernel, cv_experts, cv_common, cv_straggler; /* with that term alone */
} fc_step_distribution;

/** Steps of a run on `devices` in which at least one stalls, as a share. */
double fc_step_stall_rate(const fc_step_jitter *jitter, double devices);

/** `draws` steps of the simulation; the same for the same seed.
 *  @pre draws >= 2, jitter finite and non-negative, straggler_rate at most 1
 *  @return as fc_train_step_simulate */
FC_NODISCARD
fc_status fc_train_step_distribution(fc_step_distribution *out, const fc_model *model,
                                     const fc_profile *profile, const fc_train_plan *plan,
                                     const fc_step_jitter *jitter, uint64_t seed, int64_t draws, char *why);

/** Rows of the busiest expert-parallel rank over the mean's, expected for one micro-batch: what a plan's
 *  `expert_imbalance` should be.  Popularity and the draw of single tokens, both taken as normal.
 *  @return >= 1; 1 without expert parallelism */
double fc_train_expert_imbalance(const fc_model *model, const fc_train_plan *plan, double popularity_sd);

#endif
