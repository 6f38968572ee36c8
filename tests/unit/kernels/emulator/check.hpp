/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TEST_EMULATOR_CHECK_HPP
#define FC_TEST_EMULATOR_CHECK_HPP

#include <stdio.h>
#include <stdlib.h>

#include "device.cuh"

/** Each test returns how many of its checks failed. */
int test_threads();
int test_copies();
int test_matrix();
int test_faults();

#define CHECK(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition)) {                                                                                      \
      printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                         \
      failures++;                                                                                            \
    }                                                                                                        \
  } while (0)

/** 128-byte swizzle of tile [rows][128 bytes], written from its picture, not from address bits: piece p of
 * row r lies where piece p xor (r mod 8) would. */
static inline int swizzled_128(int row, int byte) {
  return row * 128 + ((byte / 16) ^ (row % 8)) * 16 + byte % 16;
}

static inline uint32_t next_random(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u; /* Numerical Recipes */
  return *state >> 8;
}

#endif
