/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TRAIN_INTERNAL_SCHEDULE_H
#define FC_TRAIN_INTERNAL_SCHEDULE_H

#include <stdbool.h>

#include <fleetcast/train/schedule.h>

/** One call of a rank: any of a forward, a backward (with or without its weight gradients) and weight
 * gradients that were deferred; forward and backward together are an overlapped pair.  Stage -1: none. */
typedef struct {
  int32_t f_stage, f_micro, b_stage, b_micro, w_stage, w_micro;
  bool with_weight; /* the backward includes its weight gradients */
} fc_call;

typedef struct {
  int32_t stage, micro;
} fc_deferred;

struct fc_pipeline {
  fc_schedule schedule;
  int32_t ranks, chunks, micro, stages;
  size_t n_calls;
  fc_call *call;         /* of rank r: [first[r], first[r + 1]) */
  size_t *first;         /* [ranks + 1] */
  size_t *next;          /* [ranks] */
  double *end;           /* [n_calls] when it ended */
  size_t *from;          /* [n_calls] the call that it waited for last; NO_CALL */
  bool *handed;          /* [n_calls] and that one is on another rank */
  size_t *f_call;        /* [stages * micro] who ran it; NO_CALL: not yet */
  size_t *b_call;        /* [stages * micro] */
  double *busy;          /* [ranks] */
  double *idle;          /* [ranks] */
  double *peak;          /* [ranks] */
  double *held;          /* [ranks] */
  fc_deferred *deferred; /* [2 * stages * micro]: queue of weight gradients while orders are written */
};

#define FC_NO_CALL ((size_t)-1)

/** Appends the calls of every rank in order.  Counts only when `pipeline->call` is NULL. */
void fc_pipeline_order(fc_pipeline *pipeline);

#endif
