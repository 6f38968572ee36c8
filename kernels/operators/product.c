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

enum { BLOCK = 128 };

typedef struct block {
  double sum, size, largest; /* of the products: sum, sum of magnitudes, largest magnitude met on the way */
} block;

/* Without the largest, which only 8-bit operands need: four chains, so that the adder is never waited for. */
static block plain_block_of(const double *a, const double *b, size_t n) {
  double sum[4] = {0}, size[4] = {0};
  size_t i = 0;
  for (; i + 4 <= n; i += 4)
    for (size_t j = 0; j < 4; j++) {
      double product = a[i + j] * b[i + j];
      sum[j] += product;
      size[j] += fabs(product);
    }
  for (; i < n; i++) {
    sum[0] += a[i] * b[i];
    size[0] += fabs(a[i] * b[i]);
  }
  return (block){.sum = (sum[0] + sum[1]) + (sum[2] + sum[3]),
                 .size = (size[0] + size[1]) + (size[2] + size[3])};
}

static block block_of(const double *a, const double *b, size_t n) {
  block x = {0};
  for (size_t i = 0; i < n; i++) {
    double product = a[i] * b[i], size = fabs(product);
    x.sum += product;
    x.size += size;
    /* plain comparisons: a call of fmax costs more than all the rest */
    if (size > x.largest) x.largest = size;
    if (fabs(x.sum) > x.largest) x.largest = fabs(x.sum);
  }
  return x;
}

fc_product fc_product_of(const fc_problem *p, const fc_product_row *a, const fc_product_row *b, int64_t k) {
  bool fp8 = p->c.dtype == FC_DTYPE_FP8;
  double value = 0, magnitude = 0, in_blocks = 0, left[BLOCK], right[BLOCK];
  for (int64_t from = 0; from < k; from += BLOCK) {
    size_t n = (size_t)(k - from < BLOCK ? k - from : BLOCK);
    fc_tensor_read(left, a->x, (size_t)(a->first + from), n);
    fc_tensor_read(right, b->x, (size_t)(b->first + from), n);
    block x = fp8 ? block_of(left, right, n) : plain_block_of(left, right, n);
    double scale = scale_of(a, from / BLOCK) * scale_of(b, from / BLOCK);
    value += x.sum * scale;
    magnitude += (fp8 ? fabs(x.sum) : x.size) * scale;
    in_blocks += x.largest * scale;
  }
  double bound = fc_bound_sum((double)k, fc_problem_unit(p), magnitude);
  if (fp8) /* scaling and adding the blocks rounds in binary32 */
    bound = FP8_STEPS * FC_U_TENSOR_FP8 * in_blocks + fc_bound_sum((double)k / 64, FC_U_F32, magnitude);
  return (fc_product){value, bound};
}
