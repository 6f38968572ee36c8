/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TRAIN_SCHEDULE_H
#define FC_TRAIN_SCHEDULE_H

#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/status.h>
#include <fleetcast/cost/plan.h>

/** Pipeline schedules pass by pass: a graph of forwards and backwards over stages, micro-batches and ranks,
 *  with times that may differ by stage and by pass.  For uniform stages its idle time is the formula of
 *  fc_pipeline_bubble_s exactly; a test holds it to that.
 *
 *  Stages are in the model's order.  A rank holds: 1F1B, ZB1P: its own; interleaved: stages rank + k ranks;
 *  DualPipe: its own for one half of the micro-batches, the mirrored one for the other half; DualPipeV:
 * stages rank and 2 ranks - 1 - rank.
 *  @source PipeDream-1F1B as in Megatron-LM; interleaved: arXiv:2104.04473; ZB1P: ZB-H1 of arXiv:2401.10241;
 *          DualPipe, DualPipeV: deepseek-ai/DualPipe */

/** Times of one micro-batch on one stage [s]. */
typedef struct fc_stage_pass {
  double forward_s;
  double input_s;                         /* gradients of the inputs */
  double weight_s;                        /* gradients of the weights; deferred where the schedule defers */
  double pair_forward_s, pair_backward_s; /* shares of an overlapped pair: the forward's stage gives the
                                             first, the backward's the second (DualPipe, DualPipeV) */
} fc_stage_pass;

/** Where the longest chain of passes spends its time [s]; sums to the makespan. */
typedef struct fc_critical {
  double forward_s, backward_s, weight_s, pair_s, hand_over_s;
} fc_critical;

typedef struct fc_pipeline_run {
  double makespan_s;
  const double *idle_s; /* [ranks] */
  const double *peak;   /* [ranks] most stage activations held at once, from the start of a forward to the end
                           of   the pass that needs them last */
  fc_critical critical;
} fc_pipeline_run;

/** The order of passes of one schedule, and room for a run.  Used by one thread at a time. */
typedef struct fc_pipeline fc_pipeline;

/** @param chunks  stages a rank, INTERLEAVED; 1 otherwise
 *  @return FC_OK | FC_E_NOMEM | FC_E_DOMAIN: fewer than 1 of anything, more than 1e7 passes; DualPipe needs
 * an even number of ranks and of micro-batches, at least 2 a rank, DualPipeV at least 2 a rank; interleaved
 *          a number of micro-batches that ranks divide.  *out is NULL unless FC_OK */
FC_NODISCARD
fc_status fc_pipeline_new(fc_pipeline **out, fc_schedule schedule, int64_t ranks, int64_t chunks,
                          int64_t micro_batches);
void fc_pipeline_free(fc_pipeline *pipeline);

int64_t fc_pipeline_stages(const fc_pipeline *pipeline);
int64_t fc_pipeline_micro_batches(const fc_pipeline *pipeline);
/** The rank that runs a stage for a micro-batch. */
int64_t fc_pipeline_rank(const fc_pipeline *pipeline, int64_t stage, int64_t micro_batch);

/** Runs every pass as soon as its rank and its inputs are there; allocates nothing.
 *  @param stage        [stages]
 *  @param hand_over_s  from the end of a pass to its use on another rank
 *  @param factor       [stages * micro-batches], by stage; multiplies that micro-batch's times on the stage;
 * NULL: 1 `out` borrows from the pipeline until its next run. */
void fc_pipeline_play(fc_pipeline_run *out, fc_pipeline *pipeline, const fc_stage_pass *stage,
                      double hand_over_s, const double *factor);

#endif
