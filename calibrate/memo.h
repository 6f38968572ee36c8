/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CALIBRATE_INTERNAL_MEMO_H
#define FC_CALIBRATE_INTERNAL_MEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/calibrate/shape.h>
#include <fleetcast/cost/predict.h>

/** Predictions that were made before: files repeat their shapes, and a look here costs less than a
 * prediction. One a thread.  What is found is what would be computed. */

typedef struct fc_memo_set fc_memo_set;

typedef struct fc_memo {
  fc_memo_set *set; /* NULL: out of memory, nothing is remembered */
  size_t sets, shapes;
  bool wide;             /* has room for all shapes */
  unsigned looks, found; /* of late */
  bool repeats;          /* the file does; else one shape in 32 is remembered, to see when it does */
} fc_memo;

typedef struct fc_memo_key {
  uint64_t word[2];
} fc_memo_key;

/** @param shapes  about so many will come */
void fc_memo_init(fc_memo *memo, size_t shapes);
void fc_memo_fini(fc_memo *memo);
/** What a row of a family (any number that stands for it) says of its shape.  Announces a look, so that
 * memory has answered when it comes; the key is empty where the shape is left out, and is then neither found
 * nor kept. */
void fc_memo_expect(fc_memo_key *key, const fc_memo *memo, uint64_t family, const fc_measure_row *row);
bool fc_memo_find(fc_prediction *out, fc_memo *memo, const fc_memo_key *key);
void fc_memo_keep(const fc_memo *memo, const fc_memo_key *key, const fc_prediction *prediction);

#endif
