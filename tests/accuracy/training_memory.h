/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TEST_TRAINING_MEMORY_H
#define FC_TEST_TRAINING_MEMORY_H

#include <stddef.h>

/** Peak memory that others measured against what the model composes for the same run. */
typedef struct {
  const char *group, *what;
  double published_bytes;
  double half_unit_bytes; /* it stands for as much more or less: half of its last digit */
  double composed_bytes;  /* of what was read: handed out by the allocator, reserved, or of the first step */
} memory_row;

enum { MEMORY_ROWS_MAX = 96 };

/** Fills `row`.  @return how many; 0: a shipped model is missing */
size_t training_memory(memory_row row[MEMORY_ROWS_MAX], const char *scenarios);

#endif
