/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BASE_STRAIGHT_H
#define FC_BASE_STRAIGHT_H

#include <stdint.h>
#include <string.h>

/** Logarithm, exponential and rounding of doubles without a branch, a call or a conversion to integers, so
 *  that loops over them become vectors of any width, with the same bits one by one and on every x86-64. */

#define FC_STRAIGHT static inline __attribute__((always_inline))

FC_STRAIGHT uint64_t fc_straight_bits(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

FC_STRAIGHT double fc_straight_double(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/** A whole number below 2^52 as a double: its bits behind those of 2^52. */
FC_STRAIGHT double fc_straight_whole(uint64_t n) {
  return fc_straight_double(n | 0x4330000000000000u) - 4503599627370496.0;
}

/** To the nearest whole number, |x| < 2^51: 1.5 * 2^52 has the unit as its last bit. */
FC_STRAIGHT double fc_straight_round(double x) {
  const double unit_bit = 6755399441055744.0;
  return x + unit_bit - unit_bit;
}

/** fmax and fmin without a call; b where a is NaN. */
FC_STRAIGHT double fc_straight_larger(double a, double b) {
  return a > b ? a : b;
}

FC_STRAIGHT double fc_straight_smaller(double a, double b) {
  return a < b ? a : b;
}

/** ceil(x - 1e-9), x >= 0: forgives the rounding of a reciprocal. */
FC_STRAIGHT double fc_straight_up(double x) {
  return fc_straight_round(x + (0.5 - 1e-9));
}

/** ln x of a normal x > 0, relative error below 1e-15; else some number, or NaN.
 *  x = 2^e m, m in [0.7, 1.42), ln m = 2 artanh(z), z = (m - 1)/(m + 1), by its series to z^21. */
FC_STRAIGHT double fc_straight_ln(double x) {
  const uint64_t root_half = 0x3fe6a09e667f3bcdu; /* of 1/2 */
  uint64_t bits = fc_straight_bits(x) - root_half;
  /* 2048 keeps exponents below 0 a whole number */
  double e = fc_straight_whole((bits + 0x8000000000000000u) >> 52) - 2048;
  double m = fc_straight_double((bits & 0x000fffffffffffffu) + root_half);
  double z = (m - 1) / (m + 1), w = z * z, w2 = w * w, w4 = w2 * w2;
  double low = (1.0 / 3 + w * (1.0 / 5)) + w2 * (1.0 / 7 + w * (1.0 / 9));
  double high = (1.0 / 11 + w * (1.0 / 13)) + w2 * (1.0 / 15 + w * (1.0 / 17));
  double tail = 1.0 / 19 + w * (1.0 / 21);
  double series = low + w4 * (high + w4 * tail);
  /* ln 2 in two parts: the first has 32 bits, so that its product with e is exact */
  return e * 0.693147180369123816490 + (2 * z + (2 * z * w * series + e * 1.90821492927058770002e-10));
}

/** exp(x), |x| <= 700, relative error below 1e-15; beyond, exp of the nearer end.
 *  x = n ln 2 + r, |r| <= ln 2 / 2; the power series of exp(r) to r^13. */
FC_STRAIGHT double fc_straight_exp(double x) {
  x = x > 700 ? 700 : x;
  x = x < -700 ? -700 : x;
  const double unit_bit = 6755399441055744.0;
  double shifted = x * 1.44269504088896340736 + unit_bit, n = shifted - unit_bit;
  double r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
  double r2 = r * r, r4 = r2 * r2, r8 = r4 * r4;
  double a = (1.0 / 2 + r * (1.0 / 6)) + r2 * (1.0 / 24 + r * (1.0 / 120));
  double b = (1.0 / 720 + r * (1.0 / 5040)) + r2 * (1.0 / 40320 + r * (1.0 / 362880));
  double c = (1.0 / 3628800 + r * (1.0 / 39916800)) + r2 * (1.0 / 479001600 + r * (1.0 / 6227020800));
  double tail = a + r4 * b + r8 * c;
  return (1 + (r + r2 * tail)) * fc_straight_double((fc_straight_bits(shifted) + 1023) << 52);
}

#endif
