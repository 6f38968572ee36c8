/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TRAIN_RUN_H
#define FC_TRAIN_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include <fleetcast/base/status.h>
#include <fleetcast/cost/model.h>
#include <fleetcast/cost/plan.h>
#include <fleetcast/cost/profile.h>

/** One training run in closed form: step time from L1, goodput from failures, then days and device-hours.
 *  Model: docs/model.md#training-run. */

/** Interruptions of a run on n devices: rate n / device_mtbf; each costs detection + restart and the work
 * since the last checkpoint. */
typedef struct fc_failure {
  double device_mtbf_s;      /* mean time between interruptions per device; INFINITY: none
                                Llama 3 405B: 16,384 * 54 d / 419 = 50,700 h (arXiv:2407.21783, section 3.3.4) */
  double restart_s;          /* detection, replacement, reload, warm-up */
  double checkpoint_s;       /* interval; 0: Young/Daly optimum sqrt(2 write MTBF) */
  double checkpoint_write_s; /* time the job stands still for one checkpoint */
} fc_failure;

typedef struct fc_train_estimate {
  fc_train_plan plan;
  double step_s;         /* mean; of the schedule's graph (train/step.h) */
  double step_log_sd;    /* systematic uncertainty of ln(step) */
  double tokens_per_s;   /* of the whole run, no failures */
  double flop_per_token; /* useful: model FLOP, recomputation not counted */
  double mfu;            /* useful FLOP/s over devices * peak BF16: the convention for MFU here */
  double memory_bytes;   /* of the fullest device */
  bool fits;
  double bubble;       /* share of the step: pipeline idle, of the mean rank */
  double exposed_comm; /* share of the step: communication not hidden */
  double watts;        /* mean draw of one device, server and PUE not counted */
  double goodput;      /* productive share of wall time, in (0, 1] */
} fc_train_estimate;

/** Checkpoint interval in use: as stated, else the Young/Daly optimum.  INFINITY without failures. */
double fc_train_checkpoint_s(const fc_failure *failure, double devices);
/** Productive share of wall time, for exponential failures also during restart and checkpoint:
 *      g = e^(-R/M) (tau/M) / (e^((tau+w)/M) - 1),  M = device_mtbf / devices
 *  @source Daly, Future Generation Computer Systems 22 (2006), equation 20 */
double fc_train_goodput(const fc_failure *failure, double devices);

/** Evaluates a plan.
 *  @return FC_OK (also when the plan does not fit: see `fits`) | FC_E_NOMEM | FC_E_DOMAIN (degrees do not
 * divide, unknown model shape; `why` tells)
 *  @param why  [256] nullable */
FC_NODISCARD
fc_status fc_train_estimate_plan(fc_train_estimate *out, const fc_model *model, const fc_profile *profile,
                                 const fc_train_plan *plan, const fc_failure *failure, char *why);

/** Global batch when the wish states none: tokens a step, rounded to whole micro-batches.
 *  @source Llama 3 405B: 16 M tokens (arXiv:2407.21783, section 3.4.1) */
#define FC_TRAIN_BATCH_TOKENS 16e6
/** Share of expert- and tensor-parallel communication hidden when the wish states none.
 *  @source assumption: DeepEP and Megatron overlap most of it; MegaScale-MoE (arXiv:2505.11432) hides all but
 * the first and last chunk */
#define FC_TRAIN_OVERLAP      0.8

/** The fastest plan that fits among standard ones (tp within a node, pp dividing the layers, ep within the
 *  data-parallel ranks, micro-batch 1) for `devices`; fields of `wish` that are non-zero are kept.
 *  @return FC_OK | FC_E_NOMEM | FC_E_INFEASIBLE (nothing fits; `why` tells by how much) */
FC_NODISCARD
fc_status fc_train_estimate_auto(fc_train_estimate *out, const fc_model *model, const fc_profile *profile,
                                 const fc_train_plan *wish, int64_t devices, const fc_failure *failure,
                                 char *why);

#endif
