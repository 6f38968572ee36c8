/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_KERNELS_PRODUCT_H
#define FC_KERNELS_PRODUCT_H

#include <fleetcast/kernels/operator.h>

/** The reference's inner product: a row of one operand with a row of the other, scales included. */

/** Mean of the random block scales: codes reach 448 at 3
 *  sigma, so values have a standard deviation near 1. */
#define FC_PRODUCT_SCALE (3.0f / FC_E4M3_MAX)

/** A row of k values in a tensor from element `first` on; where there is a scale, that of block b of 128 is
 *  element scale_first + b * scale_step. */
typedef struct fc_product_row {
  const fc_tensor *x, *scale; /* scale: NULL or empty: none */
  int64_t first, scale_first, scale_step;
} fc_product_row;

typedef struct fc_product {
  double value, bound;
} fc_product;

/** Sum over k of a b, and what an implementation's accumulation may be off by:
 *  fc_bound_sum; FP8: 128 products each are summed in the tensor core's short
 *  accumulator (14 bits of the largest term), then scaled and added in binary32. */
fc_product fc_product_of(const fc_problem *p, const fc_product_row *a, const fc_product_row *b, int64_t k);

fc_elem fc_product_elem(fc_dtype dtype);
/** Format of the result: f32 for f32 operands, else bf16. */
fc_elem fc_product_out(fc_dtype dtype);

#endif
