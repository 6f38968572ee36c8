/* SPDX-License-Identifier: Apache-2.0 */
#include "flash.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "simd.h"

#if FC_HAVE_OPENBLAS
#include <cblas.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

/* 2^x for x <= 1: x = n + f, |f| <= 1/2; Taylor of exp(f ln 2) to the seventh order errs 5e-9, below
 * binary32's 6e-8.  Below 2^-126: 0, by a mask, which every vector unit has. */
static inline float power_of_2(float x) {
  float shifted = x + 12582912.0f; /* 1.5 2^23: the last bits are the nearest integer */
  float f = x - (shifted - 12582912.0f);
  float y = 1.5252733e-5f;
  y = y * f + 1.5403530e-4f;
  y = y * f + 1.3333558e-3f;
  y = y * f + 9.6181291e-3f;
  y = y * f + 5.5504109e-2f;
  y = y * f + 2.4022651e-1f;
  y = y * f + 6.9314718e-1f;
  y = y * f + 1.0f;
  uint32_t keep = (uint32_t)(x < -126.0f) - 1u; /* all ones unless it underflows */
  return fc_float_of_bits((fc_float_bits(y) + (fc_float_bits(shifted) << 23)) & keep);
}

/* --- threads --- */

int fc_flash_threads(void) {
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}

int fc_flash_thread(void) {
#ifdef _OPENMP
  return omp_get_thread_num();
#else
  return 0;
#endif
}

enum { LINE = 64 /* bytes of a cache line */ };

float *fc_flash_scratch(int n, size_t floats, size_t *stride) {
  const size_t line = LINE / sizeof(float);
  *stride = (floats + line - 1) / line * line + line;
  return aligned_alloc(LINE, (size_t)n * *stride * sizeof(float));
}

/* --- products --- */

#if FC_HAVE_OPENBLAS
void fc_flash_product(int64_t m, int64_t n, int64_t k, fc_flash_matrix a, bool a_transposed,
                      fc_flash_matrix b, bool b_transposed, float *c, int64_t step, bool add) {
  cblas_sgemm(CblasRowMajor, a_transposed ? CblasTrans : CblasNoTrans,
              b_transposed ? CblasTrans : CblasNoTrans, (int)m, (int)n, (int)k, 1, a.x, (int)a.step, b.x,
              (int)b.step, add ? 1 : 0, c, (int)step);
}
#else
void fc_flash_product(int64_t m, int64_t n, int64_t k, fc_flash_matrix a, bool a_transposed,
                      fc_flash_matrix b, bool b_transposed, float *c, int64_t step, bool add) {
  for (int64_t i = 0; i < m; i++) {
    float *row = c + i * step;
    if (b_transposed && !a_transposed) {
      for (int64_t j = 0; j < n; j++) {
        float sum = fc_flash_dot(a.x + i * a.step, b.x + j * b.step, k);
        row[j] = add ? row[j] + sum : sum;
      }
      continue;
    }
    for (int64_t j = 0; !add && j < n; j++) row[j] = 0;
    for (int64_t t = 0; t < k; t++) {
      float x = a_transposed ? a.x[t * a.step + i] : a.x[i * a.step + t];
      if (!b_transposed)
        fc_flash_add(row, b.x + t * b.step, n, x);
      else
        for (int64_t j = 0; j < n; j++) row[j] += x * b.x[j * b.step + t];
    }
  }
}
#endif

/* --- operands --- */

FC_CLONES static void widen(float *restrict out, const uint16_t *restrict in, int64_t n) {
  FC_SIMD
  for (int64_t i = 0; i < n; i++) out[i] = fc_bf16_decode(in[i]);
}

FC_CLONES static void narrow(uint16_t *restrict out, const float *restrict in, int64_t n, float by) {
  FC_SIMD
  for (int64_t i = 0; i < n; i++) out[i] = fc_bf16_encode(in[i] * by);
}

void fc_flash_load(float *out, const void *in, fc_elem elem, int64_t at, int64_t step, int64_t rows,
                   int64_t cols) {
  for (int64_t r = 0; r < rows; r++) {
    float *to = out + r * cols;
    int64_t from = at + r * step;
    if (elem == FC_ELEM_BF16)
      widen(to, (const uint16_t *)in + from, cols);
    else if (elem == FC_ELEM_E4M3)
      for (int64_t i = 0; i < cols; i++) to[i] = fc_e4m3_decode(((const uint8_t *)in)[from + i]);
    else
      memcpy(to, (const float *)in + from, (size_t)cols * sizeof *to);
  }
}

void fc_flash_store(void *out, fc_elem elem, int64_t at, int64_t step, const float *in, int64_t rows,
                    int64_t cols, const float *scale) {
  for (int64_t r = 0; r < rows; r++) {
    float by = scale ? scale[r] : 1;
    int64_t to = at + r * step;
    if (elem == FC_ELEM_BF16)
      narrow((uint16_t *)out + to, in + r * cols, cols, by);
    else
      for (int64_t i = 0; i < cols; i++) ((float *)out)[to + i] = in[r * cols + i] * by;
  }
}

/* --- softmax --- */

enum { LANES = 16 };

/* Lane by lane: compilers that honour NaNs do not reorder a plain maximum. */
FC_CLONES static float largest(const float *x, int64_t n) {
  float lane[LANES], m = x[0];
  int64_t i = 0;
  for (int j = 0; j < LANES; j++) lane[j] = m;
  for (; i + LANES <= n; i += LANES)
    for (int j = 0; j < LANES; j++) lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
  for (; i < n; i++) m = x[i] > m ? x[i] : m;
  for (int j = 0; j < LANES; j++) m = lane[j] > m ? lane[j] : m;
  return m;
}

FC_CLONES static float exponentials(float *x, int64_t n, float scale, float max) {
  float sum = 0;
  FC_SIMD_SUM(sum)
  for (int64_t i = 0; i < n; i++) {
    x[i] = power_of_2(x[i] * scale - max);
    sum += x[i];
  }
  return sum;
}

float fc_flash_weights(fc_flash_row *row, float *score, int64_t n, int64_t sees, float scale) {
  sees = sees < 0 ? 0 : (sees > n ? n : sees);
  for (int64_t i = sees; i < n; i++) score[i] = 0;
  if (sees <= 0) return 1;
  float max = fmaxf(row->max, largest(score, sees) * scale); /* scale > 0 */
  float grown = row->max < max ? exp2f(row->max - max) : 1;
  row->sum = row->sum * grown + exponentials(score, sees, scale, max);
  row->max = max;
  return grown;
}

float fc_flash_lse(const fc_flash_row *row) {
  return (row->max + log2f(row->sum)) * FC_LN_2;
}

FC_CLONES static void gradients(float *restrict p, float *restrict ds, int64_t n, float scale, float lse,
                                float d, float c) {
  FC_SIMD
  for (int64_t i = 0; i < n; i++) {
    p[i] = power_of_2(p[i] * scale - lse);
    ds[i] = p[i] * (ds[i] - d) * c;
  }
}

void fc_flash_backward(float *score, float *dp, int64_t n, int64_t sees, float scale, float lse, float d,
                       float c) {
  sees = sees < 0 ? 0 : (sees > n ? n : sees);
  gradients(score, dp, sees, scale, lse, d, c);
  for (int64_t i = sees; i < n; i++) score[i] = dp[i] = 0;
}

/* --- vectors --- */

FC_CLONES void fc_flash_scale(float *x, int64_t n, float by) {
  FC_SIMD
  for (int64_t i = 0; i < n; i++) x[i] *= by;
}

FC_CLONES void fc_flash_add(float *out, const float *x, int64_t n, float by) {
  FC_SIMD
  for (int64_t i = 0; i < n; i++) out[i] += by * x[i];
}

FC_CLONES float fc_flash_dot(const float *a, const float *b, int64_t n) {
  float sum = 0;
  FC_SIMD_SUM(sum)
  for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}
