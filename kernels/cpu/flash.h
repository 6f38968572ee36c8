/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_KERNELS_CPU_FLASH_H
#define FC_KERNELS_CPU_FLASH_H

#include <stdbool.h>

#include <fleetcast/kernels/problem.h>

/** What the attention implementations of the CPU share: tiles of operands as binary32, softmax a tile at a
 * time (Milakov & Gimelshein 2018, arXiv:1805.02867; Dao et al. 2022, arXiv:2205.14135).  Compiled for
 * several vector widths, chosen when the program starts.  Pure; threads share nothing. */

#if FC_HAVE_OPENBLAS
#define FC_FLASH_NAME "openblas" /* the products are the library's */
#else
#define FC_FLASH_NAME "openmp"
#endif

#define FC_LOG2_E 1.44269504088896340736f
#define FC_LN_2   0.69314718055994530942f

/** A row-major matrix: first element, elements from a row to the next. */
typedef struct fc_flash_matrix {
  const float *x;
  int64_t step;
} fc_flash_matrix;

/** c [m,n] (rows `step` apart) = a b + (add ? c : 0), k products a sum; a and b are stored transposed where
 * so said: a [m,k] or [k,m], b [k,n] or [n,k].  One thread, when called from a team of several. */
void fc_flash_product(int64_t m, int64_t n, int64_t k, fc_flash_matrix a, bool a_transposed,
                      fc_flash_matrix b, bool b_transposed, float *c, int64_t step, bool add);

/** Threads of a team, and the number of the calling one. */
int fc_flash_threads(void);
int fc_flash_thread(void);
/** A scratch area of `floats` for each of n threads, each on its own cache lines (*stride floats apart).
 *  @return NULL: out of memory; free() releases it */
float *fc_flash_scratch(int n, size_t floats, size_t *stride);

/** out [rows, cols] = rows of an operand, `step` elements apart, from element `at` on. */
void fc_flash_load(float *out, const void *in, fc_elem elem, int64_t at, int64_t step, int64_t rows,
                   int64_t cols);
/** The other way: row r of `in` times scale[r] (NULL: 1), rounded to the format. */
void fc_flash_store(void *out, fc_elem elem, int64_t at, int64_t step, const float *in, int64_t rows,
                    int64_t cols, const float *scale);

/** What a row of queries has seen so far: maximum of scale *
 *  score (base 2) and sum of 2^(scale * score - max). */
typedef struct fc_flash_row {
  float max, sum;
} fc_flash_row;

/** Puts weights in place of n raw scores, zeros in place of those from `sees` on (any number: cut to 0 .. n).
 *  @return by what the row's earlier output is to be multiplied; not 1 only when the maximum grew */
float fc_flash_weights(fc_flash_row *row, float *score, int64_t n, int64_t sees, float scale);
/** x *= by. */
void fc_flash_scale(float *x, int64_t n, float by);
/** out += by * x. */
void fc_flash_add(float *out, const float *x, int64_t n, float by);
/** sum a b. */
float fc_flash_dot(const float *a, const float *b, int64_t n);
/** Natural logarithm of the row's sum of exponentials. */
float fc_flash_lse(const fc_flash_row *row);

/** Backward: p [n] = 2^(scale * score - lse) of the first `sees` keys, 0
 *  of the others; ds = p (dp - d) c in place of dp.  lse in base 2. */
void fc_flash_backward(float *score, float *dp, int64_t n, int64_t sees, float scale, float lse, float d,
                       float c);

#endif
