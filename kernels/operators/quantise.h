/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_OPERATORS_QUANTISE_H
#define FC_OPERATORS_QUANTISE_H

#include <fleetcast/kernels/operator.h>

/** What every operator that ends in a quantisation expects of codes and scales (operators.h: quantisers). */

enum { FC_BLOCK = 128 };

/** Relative error of a code before its rounding, beyond the errors of x and of amax: the scale's division,
 * the product with a reciprocal, and the reciprocal, which may be a GPU's approximate one. */
#define FC_CODE_UNIT (2 * FC_U_F32 + FC_U_SPECIAL)

/** Where the codes and the scale of a block are. */
typedef struct fc_block_at {
  int y, ys;             /* tensors */
  size_t y_first, ys_at; /* first code (neighbours follow), and the scale */
} fc_block_at;

/** max(amax, 1e-4) / 448, unrounded (1e-4 is the nearest binary32). */
double fc_block_scale(double amax);

/** Expects `count` <= 128 neighbours with one scale: values `v`, each computed with an absolute error of at
 * most `error` before it is quantised.  The scale may be off by what the largest value may; a code by its own
 * value's error and by the scale's, since implementations divide by the scale that they store. */
void fc_expect_block(fc_expect *e, fc_block_at at, const double *v, const double *error, size_t count);

#endif
