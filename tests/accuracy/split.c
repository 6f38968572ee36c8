/* SPDX-License-Identifier: Apache-2.0 */
#include "split.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t fnv1a(uint64_t hash, const char *bytes, size_t n) {
  for (size_t i = 0; i < n; i++) hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
  return hash;
}

uint64_t split_hash(uint64_t seed, const char *line, size_t length) {
  char prefix[24];
  int n = seed ? snprintf(prefix, sizeof prefix, "%" PRIu64 ":", seed) : 0;
  return fnv1a(fnv1a(UINT64_C(0xcbf29ce484222325), prefix, (size_t)n), line, length);
}

size_t split_training(size_t n) {
  size_t share = n * 7 / 10;
  return share < SPLIT_TRAINING_MAX ? share : SPLIT_TRAINING_MAX;
}

static int by_hash(const void *a, const void *b) {
  const split_row *x = a, *y = b;
  if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
  return (x->index > y->index) - (x->index < y->index);
}

void split_sort(split_row *rows, size_t n) {
  qsort(rows, n, sizeof *rows, by_hash);
}
