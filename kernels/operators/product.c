/* SPDX-License-Identifier: Apache-2.0 */
#include "product.h"

#include <math.h>

fc_elem fc_product_elem(fc_dtype dtype) {
  return dtype == FC_DTYPE_FP8 ? FC_ELEM_E4M3 : (dtype == FC_DTYPE_BF16 ? FC_ELEM_BF16 : FC_ELEM_F32);
}

fc_elem fc_product_out(fc_dtype dtype) {
  return dtype == FC_DTYPE_FP32 ? FC_ELEM_F32 : FC_ELEM_BF16;
}

static double scale_of(const fc_product_row *r, int64_t block) {
  if (!r->scale || r->scale->count == 0) return 1;
  return fc_tensor_at(r->scale, (size_t)(r->scale_first + block * r->scale_step));
}

/* A block of 128 products in the FP8 tensor core: eight steps at most, each aligns its terms to the largest
 * and keeps 14 bits.  Elsewhere the sum errs as binary32 sums do. */
enum { FP8_STEPS = 8 };

fc_product fc_product_of(const fc_problem *p, const fc_product_row *a, const fc_product_row *b, int64_t k) {
  bool fp8 = p->c.dtype == FC_DTYPE_FP8;
  double value = 0, magnitude = 0, in_blocks = 0;
  for (int64_t from = 0; from < k; from += 128) {
    double sum = 0, size = 0, largest = 0;
    for (int64_t i = from; i < k && i < from + 128; i++) {
      double x = fc_tensor_at(a->x, (size_t)(a->first + i)) * fc_tensor_at(b->x, (size_t)(b->first + i));
      sum += x;
      size += fabs(x);
      largest = fmax(largest, fmax(fabs(x), fabs(sum)));
    }
    double scale = scale_of(a, from / 128) * scale_of(b, from / 128);
    value += sum * scale;
    magnitude += (fp8 ? fabs(sum) : size) * scale;
    in_blocks += largest * scale;
  }
  double bound = fc_bound_sum((double)k, fc_problem_unit(p), magnitude);
  if (fp8) /* scaling and adding the blocks rounds in binary32 */
    bound = FP8_STEPS * FC_U_TENSOR_FP8 * in_blocks + fc_bound_sum((double)k / 64, FC_U_F32, magnitude);
  return (fc_product){value, bound};
}
