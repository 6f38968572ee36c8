/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_ACCURACY_SPLIT_H
#define FC_ACCURACY_SPLIT_H

#include <stddef.h>
#include <stdint.h>

/** Which rows of a family are fitted and which are kept for the test: by a hash of their text, so that anyone
 * splits alike, in any language.  baseline.py does the same. */

enum { SPLIT_LEAST = 30, SPLIT_TRAINING_MAX = 400 };

/** 64-bit FNV-1a of "SEED:" and the line without its newline.  Seed 0: of the line alone. */
uint64_t split_hash(uint64_t seed, const char *line, size_t length);

/** Rows fitted of n: min(400, floor(0.7 n)). */
size_t split_training(size_t n);

typedef struct split_row {
  uint64_t hash;
  size_t index; /* in file order: settles ties */
} split_row;

/** Orders rows by hash, then index: the first split_training(n) are fitted. */
void split_sort(split_row *rows, size_t n);

#endif
