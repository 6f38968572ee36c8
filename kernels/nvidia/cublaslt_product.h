/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_NVIDIA_CUBLASLT_PRODUCT_H
#define FC_NVIDIA_CUBLASLT_PRODUCT_H

#include "dynamic.h"

/** One product  c = a b^T  or  c += a b^T  by cuBLASLt: what its implementations of dense and of grouped
 *  products are made of.  a [m,k], b [n,k], c [m,n] as elsewhere in kernels/: row-major.
 *
 *  cuBLASLt is column-major and computes D[M,N] = op(A) op(B).  Our c read column-major is c^T [n,m], so
 *      A = our b, column-major [k,n], op T        M = n
 *      B = our a, column-major [k,m], op N        N = m
 *      D = our c, column-major [n,m]              K = k
 *  which is "TN", the one form that FP8 has on compute capability 9.0.
 *
 *  Scales of FP8 operands.  @source cuBLAS documentation, "128-element 1D and 128x128 2D block scaling for
 *  FP8 data types" and its "scaling factors layouts":
 *  - modes (A, B) may be (VEC128, VEC128), (VEC128, BLK128x128), (BLK128x128, VEC128); not BLK128x128 twice:
 *    so our weights' 128x128 scales go with A, our activations' 1x128 with B, and there is no need to swap;
 *  - VEC128_32F: M-major [M,L], for B N-major [N,L], L = ceil(K/128), with no stride of their own: our 1x128,
 *    [blk(k), rows], when the product takes all the rows of the scales' matrix.  A part of it needs a copy;
 *  - BLK128x128_32F: K-major, L rounded up to 4 between columns, [ceil(M/128)] columns: our 128x128;
 *  - M and N are multiples of 4; scales start at 16 bytes; D
 *    is bf16, fp16 or f32; compute capability 9.0 only;
 *  - all FP8 products: dimensions and addresses are multiples of 16 bytes ("tensor core usage"). */
typedef struct fc_lt_product {
  bool fp8;        /* e4m3 with scales; else bf16 */
  bool b_blocks;   /* scales of b are 128x128; else 1x128 */
  bool f32_out;    /* c is f32; else bf16 */
  bool accumulate; /* c += */
  const void *a, *b;
  const float *a_scale, *b_scale; /* NULL unless fp8 */
  void *c;
  int64_t m, n, k;
  int64_t a_row, b_row, c_row; /* elements from row to row */
  int64_t batch, a_matrix, b_matrix,
      c_matrix; /* products, elements from one to the next; batch 0 or 1: one */
} fc_lt_product;

/** A prepared product: descriptors and the chosen algorithm. */
typedef struct fc_lt_plan {
  fc_lt_product x;
  cublasLtMatmulDesc_t operation;
  cublasLtMatrixLayout_t a, b, c;
  cublasLtMatmulAlgo_t algorithm;
} fc_lt_plan;

/** What cuBLASLt needs of an operator's shape before any pointer is known: library, device, formats,
 * multiples. m, n, k as above.  @return false with the reason in why [FC_WHY] */
bool fc_lt_supports(const fc_bench_case *c, int64_t m, int64_t n, int64_t k, const fc_machine *machine,
                    char *why);

/** Describes the product and races the eight best algorithms of cuBLASLt's heuristic, on scratch in place of
 * c: one launch to warm up, three between events; the fastest stays.  Where memory for the scratch is short,
 * the heuristic's first choice stays.  `like`: nullable; a plan of the same shape whose choice is taken over.
 *  Synchronises the device.  @return 0, or 1 with the reason in why [FC_WHY]; then `plan` needs no fini */
int fc_lt_plan_init(fc_lt_plan *plan, const fc_lt_product *x, const fc_lt_plan *like, char *why);

/** Queues it.  @return 0 or a cublasStatus_t */
int fc_lt_plan_launch(const fc_lt_plan *plan, fc_queue queue);

void fc_lt_plan_fini(fc_lt_plan *plan);

#endif
