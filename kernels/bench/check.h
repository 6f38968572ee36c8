/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BENCH_CHECK_H
#define FC_BENCH_CHECK_H

#include <fleetcast/kernels/operator.h>

/** Compares what an implementation wrote with the operator's reference. */

enum { FC_CHECK_TEXT = 320 };

typedef struct fc_check {
  bool passed;
  size_t compared; /* elements */
  size_t units, units_checked;
  size_t failed;
  double worst;             /* largest |error| / tolerance; above 1: failed */
  char text[FC_CHECK_TEXT]; /* a failure in words: tensor, coordinates, got, wanted, tolerance */
} fc_check;

/** `got`: host copies of what the call left in each tensor, by index (inputs may be NULL).  The reference is
 *  computed for as many units as fit into about `budget_s` seconds of one core (all of a small problem; of a
 * large one a sample with the first and the last, drawn by the problem's seed), on all cores. Of
 * FC_ROLE_OUTPUT tensors every element must have been written: the poison (fc_check_poison) is looked for. */
void fc_check_run(fc_check *out, const fc_problem *p, void *const *got, double budget_s);

/** Byte with which outputs are filled before a call: NaNs in
 *  every floating format; an impossible index in i32. */
int fc_check_poison(fc_elem elem);

#endif
