/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CPU_SIMD_H
#define FC_CPU_SIMD_H

#include <stdint.h> /* also tells __GLIBC__ */

#include <fleetcast/kernels/formats.h>

/** What the CPU's row kernels share: loops that compilers turn into vector instructions.
 *  A kernel works on one row or tile, without OpenMP inside, and is marked FC_CLONES: the
 *  compiler makes a version for each vector extension, and the loader picks one (x86-64,
 *  GCC, glibc; elsewhere one version).  The versions may sum in different orders. */

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__) &&                 \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FC_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FC_CLONES
#endif

#define FC_SIMD_PRAGMA(text) _Pragma(#text)
#define FC_SIMD              FC_SIMD_PRAGMA(omp simd)
/* NOLINTBEGIN(bugprone-macro-parentheses): a clause of OpenMP lists names, not expressions */
#define FC_SIMD_SUM(x)       FC_SIMD_PRAGMA(omp simd reduction(+ : x))
#define FC_SIMD_MAX(x)       FC_SIMD_PRAGMA(omp simd reduction(max : x))
/* NOLINTEND(bugprone-macro-parentheses) */

/** Bits of |x|: ordered as |x| is, so that a largest magnitude is an integer maximum. */
static inline uint32_t fc_magnitude_bits(float x) {
  return fc_float_bits(x) & 0x7fffffffu;
}

static inline int32_t fc_least(int32_t a, int32_t b) {
  return a < b ? a : b;
}

static inline int32_t fc_most(int32_t a, int32_t b) {
  return a > b ? a : b;
}

/** fc_e4m3_encode without a choice between its two roundings, which GCC turns into a branch and then cannot
 * vectorise. Below 2^-6 the subnormals' code is the larger one and at most 8, above it is the larger one and
 * at least 8: the code is max(normal, min(small, 8)).  The same for every float. */
static inline uint8_t fc_e4m3_encode_flat(float x) {
  uint32_t bits = fc_float_bits(x);
  int32_t magnitude = (int32_t)(bits & 0x7fffffffu), a = fc_least(magnitude, 0x43e00000); /* 448 */
  int32_t normal = ((a + 0x7ffff + ((a >> 20) & 1)) >> 20) - ((127 - 7) << 3);
  int32_t small = (int32_t)fc_float_bits(fc_float_of_bits((uint32_t)a) + 16384.0f) - 0x46800000;
  int32_t code = fc_most(normal, fc_least(small, 8));
  int32_t nan = -(int32_t)((uint32_t)(0x7f800000 - magnitude) >> 31) & 0x7f; /* a negative difference */
  return (uint8_t)(((bits >> 24) & 0x80u) | (uint32_t)(code | nan));
}

/** Square root to 3 ulp for 0 and normal numbers; vectorises although the library's may set errno.  Three
 * Newton steps from the exponent's half (relative errors 3e-2, 2e-3, 5e-6, 3e-11), one on the root itself. */
static inline float fc_sqrtf(float x) {
  float y = fc_float_of_bits(0x5f3759dfu - (fc_float_bits(x) >> 1)), half = 0.5f * x;
  y = y * (1.5f - half * y * y);
  y = y * (1.5f - half * y * y);
  y = y * (1.5f - half * y * y);
  float root = x * y;
  return root + 0.5f * y * (x - root * root);
}

/** max(amax, 1e-4) / 448 of bits of amax. */
static inline float fc_scale_of_bits(uint32_t amax) {
  float a = fc_float_of_bits(amax);
  return (a < 1e-4f ? 1e-4f : a) / FC_E4M3_MAX;
}

/** e^x within 2 ulp for |x| < 87, saturated beyond; vectorises, as the library's does not.  e^x = 2^k e^r
 * with |r| <= ln 2 / 2, the Taylor polynomial of degree 7: its remainder there is below 6e-9. */
static inline float fc_expf(float x) {
  /* clamped as integers, where minima are no branches: 88 in
   * the order of signed, -87 in that of unsigned ones */
  uint32_t bits = (uint32_t)fc_least((int32_t)fc_float_bits(x), 0x42b00000);
  x = fc_float_of_bits(bits < 0xc2ae0000u ? bits : 0xc2ae0000u);
  float shifted = x * 1.44269504f + 12582912.0f; /* 1.5 2^23: the sum's last bits are the nearest integer */
  float k = shifted - 12582912.0f;
  float r = (x - k * 0.693145752f) - k * 1.42855995e-6f; /* ln 2 in two parts; the first has 16 bits */
  float p = 1.98412698e-4f;
  p = p * r + 1.38888889e-3f;
  p = p * r + 8.33333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return fc_float_of_bits(fc_float_bits(p) + (fc_float_bits(shifted) << 23));
}

#endif
