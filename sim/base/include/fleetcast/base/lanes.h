/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BASE_LANES_H
#define FC_BASE_LANES_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/** Eight floats at once, in the vectors of GCC and clang, for sums over similarities of shapes.  Lanes do not
 * meet and nothing is contracted: every vector width gives the same bits.  Passed by pointer, because how
 * they travel by value depends on the processor. */

enum { FC_LANES = 8 };
typedef float fc_lanes __attribute__((vector_size(4 * 8)));
typedef int32_t fc_int_lanes __attribute__((vector_size(4 * 8)));

#define FC_LANES_INLINE static inline __attribute__((always_inline))

/** One code for every vector width, chosen when the program is loaded. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE__) &&              \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FC_WIDE __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FC_WIDE
#endif

FC_LANES_INLINE void fc_lanes_load(fc_lanes *x, const float *from) {
  memcpy(x, from, sizeof *x);
}

FC_LANES_INLINE void fc_lanes_store(float *to, const fc_lanes *x) {
  memcpy(to, x, sizeof *x);
}

FC_LANES_INLINE void fc_lanes_abs(fc_lanes *x) {
  *x = (fc_lanes)((fc_int_lanes)*x & ((fc_int_lanes){0} + INT32_MAX));
}

FC_LANES_INLINE void fc_lanes_sqrt(fc_lanes *x) {
  float each[FC_LANES];
  memcpy(each, x, sizeof each);
  for (int l = 0; l < FC_LANES; l++) each[l] = sqrtf(each[l]);
  memcpy(x, each, sizeof each);
}

/** Lane by lane, the larger of two. */
FC_LANES_INLINE void fc_lanes_max(fc_lanes *x, const fc_lanes *other) {
  fc_int_lanes larger = *other > *x;
  *x = (fc_lanes)((larger & (fc_int_lanes)*other) | (~larger & (fc_int_lanes)*x));
}

/** x = exp(-x) for x >= 0 by 2^n times a polynomial of degree 5, relative error below 3e-7; beyond 60 e^-60,
 * so that no product with it is a denormal, which would be slow.  @source minimax on [-1/2, 1/2] ln 2, after
 * Cephes' expf */
FC_LANES_INLINE void fc_lanes_exp_minus(fc_lanes *x) {
  fc_int_lanes small = *x < 60.0F;
  fc_lanes most = (fc_lanes){0} + 60.0F;
  fc_lanes v = (fc_lanes)((small & (fc_int_lanes)*x) | (~small & (fc_int_lanes)most));
  fc_lanes n = -1.44269504F * v + 12582912.0F - 12582912.0F; /* to the nearest, by the unit bit of a float */
  fc_lanes r = (-v - n * 0.693359375F) + n * 2.12194440e-4F;
  fc_lanes p = 1.9875691500e-4F * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  fc_int_lanes power = (__builtin_convertvector(n, fc_int_lanes) + 127) << 23;
  *x = p * (fc_lanes)power;
}

#endif
