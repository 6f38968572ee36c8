/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CALIBRATE_INTERNAL_MEMO_H
#define FC_CALIBRATE_INTERNAL_MEMO_H

#include <stdbool.h>
#include <stdint.h>

#include <fleetcast/cost/predict.h>

/** Predictions that were made before: files repeat their shapes, and a look here costs a tenth of a
 * prediction.  One a thread.  A slot holds the latest of the shapes that fall on it; what is found is what
 * would be computed. */

typedef struct fc_memo_slot {
  uint64_t key[2]; /* 0, 0: free */
  fc_prediction prediction;
} fc_memo_slot;

typedef struct fc_memo {
  fc_memo_slot *slot; /* NULL: out of memory, nothing is remembered */
} fc_memo;

void fc_memo_init(fc_memo *memo);
void fc_memo_fini(fc_memo *memo);
/** The slot of a call of a family (any number that stands for it); `*known`: it holds the answer, else the
 * caller's to fill in.  NULL: nothing is remembered. */
fc_memo_slot *fc_memo_at(const fc_memo *memo, uint64_t family, const fc_op *op, bool *known);

#endif
