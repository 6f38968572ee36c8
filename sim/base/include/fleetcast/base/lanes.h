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

/** Of vectors `type` of `count` floats, with `ints` of as many integers:
 *
 *  name_abs, name_sqrt; name_max: lane by lane, the larger of two.
 *  name_exp_minus: x = exp(-x) for x >= 0 by 2^n times a polynomial of degree 5, relative error below 3e-7;
 *  beyond 60 e^-60, so that no product with it is a denormal, which would be slow.  @source minimax on
 *  [-1/2, 1/2] ln 2, after Cephes' expf */
/* clang-format off */
/* NOLINTBEGIN(bugprone-macro-parentheses): types */
#define FC_LANES_FUNCTIONS(name, type, ints, count)                                                          \
  FC_LANES_INLINE void name##_abs(type *x) { *x = (type)((ints)*x & ((ints){0} + INT32_MAX)); }              \
  FC_LANES_INLINE void name##_sqrt(type *x) {                                                                \
    float each[count];                                                                                       \
    memcpy(each, x, sizeof each);                                                                            \
    for (int l = 0; l < (count); l++) each[l] = sqrtf(each[l]);                                              \
    memcpy(x, each, sizeof each);                                                                            \
  }                                                                                                          \
  FC_LANES_INLINE void name##_max(type *x, const type *other) {                                              \
    float each[count], others[count];                                                                        \
    memcpy(each, x, sizeof each);                                                                            \
    memcpy(others, other, sizeof others);                                                                    \
    for (int l = 0; l < (count); l++) each[l] = others[l] > each[l] ? others[l] : each[l];                   \
    memcpy(x, each, sizeof each);                                                                            \
  }                                                                                                          \
  FC_LANES_INLINE void name##_exp_minus(type *x) {                                                           \
    ints small = *x < 60.0F;                                                                                 \
    type most = (type){0} + 60.0F;                                                                           \
    type v = (type)((small & (ints)*x) | (~small & (ints)most));                                             \
    type n = -1.44269504F * v + 12582912.0F - 12582912.0F; /* to the nearest, by the unit bit of a float */  \
    type r = (-v - n * 0.693359375F) + n * 2.12194440e-4F;                                                   \
    type p = 1.9875691500e-4F * r + 1.3981999507e-3F;                                                        \
    p = p * r + 8.3334519073e-3F;                                                                            \
    p = p * r + 4.1665795894e-2F;                                                                            \
    p = p * r + 1.6666665459e-1F;                                                                            \
    p = p * r + 5.0000001201e-1F;                                                                            \
    p = p * r * r + r + 1.0F;                                                                                \
    ints power = (__builtin_convertvector(n, ints) + 127) << 23;                                             \
    *x = p * (type)power;                                                                                    \
  }
/* NOLINTEND(bugprone-macro-parentheses) */
/* clang-format on */

FC_LANES_FUNCTIONS(fc_lanes, fc_lanes, fc_int_lanes, FC_LANES)

/** Sixteen, for loops over shapes. */
enum { FC_WIDE_LANES = 16 };
typedef float fc_wide __attribute__((vector_size(4 * 16)));
typedef int32_t fc_int_wide __attribute__((vector_size(4 * 16)));

FC_LANES_FUNCTIONS(fc_wide, fc_wide, fc_int_wide, FC_WIDE_LANES)

#endif
