/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>

#include <fleetcast/kernels/formats.h>

#include "../../../kernels/cpu/simd.h"

/* Bit-exact formats: against tables built from the definition, not from the code. */

/* The value of an e4m3 code by its definition (OCP 8-bit specification):
 * a sign, four bits of exponent with bias 7, three of mantissa. */
static double e4m3_value(int code) {
  int e = code >> 3 & 15, m = code & 7;
  if ((code & 127) == 127) return (double)NAN;
  double v = e == 0 ? ldexp(m, -9) : ldexp(8 + m, e - 10);
  return code & 128 ? -v : v;
}

Test(formats, every_e4m3_code_decodes_to_its_definition) {
  for (int code = 0; code < 256; code++) {
    double want = e4m3_value(code), got = (double)fc_e4m3_decode((uint8_t)code);
    cr_assert(isnan(want) ? isnan(got) : got == want, "code %d: %g, should be %g", code, got, want);
    if (!isnan(want)) cr_assert_eq(fc_e4m3_encode((float)want), code, "code %d does not come back", code);
  }
}

/* Nearest code, ties to the even one, by search over all codes. */
static int nearest_e4m3(double x) {
  int best = 0;
  for (int code = 1; code < 127; code++) { /* magnitudes */
    double d = fabs(e4m3_value(code) - fabs(x)), was = fabs(e4m3_value(best) - fabs(x));
    if (d < was || (d == was && code % 2 == 0)) best = code;
  }
  return best | (signbit(x) ? 128 : 0);
}

Test(formats, e4m3_rounds_to_nearest_even_and_saturates) {
  /* every midpoint, its neighbours on both sides, and the ends */
  for (int code = 0; code < 126; code++) {
    double middle = (e4m3_value(code) + e4m3_value(code + 1)) / 2;
    const double at[] = {middle, (double)nextafterf((float)middle, 0),
                         (double)nextafterf((float)middle, 1e9F)};
    for (int i = 0; i < 3; i++)
      for (int sign = -1; sign <= 1; sign += 2) {
        double x = sign * at[i];
        cr_assert_eq(fc_e4m3_encode((float)x), nearest_e4m3(x), "%a becomes %d, not %d", x,
                     fc_e4m3_encode((float)x), nearest_e4m3(x));
      }
  }
  cr_assert_eq(fc_e4m3_encode(448), 126);
  cr_assert_eq(fc_e4m3_encode(1e30F), 126);
  cr_assert_eq(fc_e4m3_encode(-(float)INFINITY), 254);
  cr_assert_eq(fc_e4m3_encode((float)NAN) & 127, 127);
  for (uint64_t i = 0; i < 200000; i++) { /* values of all sizes */
    double x = ldexp((double)fc_fill_normal(fc_fill_bits(7, 0, i)), (int)(i % 24) - 14);
    if (fabs(x) < 448) cr_assert_eq(fc_e4m3_encode((float)x), nearest_e4m3((double)(float)x), "%a", x);
  }
}

Test(formats, bf16_is_the_nearer_upper_half_ties_to_even) {
  for (uint64_t i = 0; i < 200000; i++) {
    uint32_t bits = (uint32_t)fc_fill_bits(3, 0, i);
    float x = fc_float_of_bits(bits);
    uint16_t got = fc_bf16_encode(x);
    if (isnan(x)) {
      cr_assert(isnan(fc_bf16_decode(got)));
      continue;
    }
    uint32_t low = bits & 0xffff0000U;
    double down = (double)fc_float_of_bits(low), up = (double)fc_float_of_bits(low + 0x10000U), v = (double)x;
    if (isinf(up))
      continue; /* rounds to infinity or not by the same rule; no finite middle to compare with */
    double to_down = fabs(v - down), to_up = fabs(up - v);
    uint16_t want =
        (uint16_t)((to_up < to_down || (to_up == to_down && (low >> 16 & 1)) ? low + 0x10000U : low) >> 16);
    cr_assert_eq(got, want, "%a", (double)x);
  }
  cr_assert_eq(fc_bf16_encode(fc_float_of_bits(0x3f808000U)), 0x3f80, "a tie goes to the even one");
  cr_assert_eq(fc_bf16_encode(fc_float_of_bits(0x3f818000U)), 0x3f82);
}

/* --- the CPU's vector forms --- */

Test(formats, the_branchless_e4m3_encoder_is_the_same) {
  enum { STEP = 251 }; /* odd: all exponents, mantissas of every kind; 17 million floats */
  for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits += STEP) {
    float x = fc_float_of_bits((uint32_t)bits);
    if (fc_e4m3_encode_flat(x) != fc_e4m3_encode(x))
      cr_assert_eq(fc_e4m3_encode_flat(x), fc_e4m3_encode(x), "%a", (double)x);
  }
  for (int code = 0; code < 126; code++) { /* ties */
    float x = (float)((e4m3_value(code) + e4m3_value(code + 1)) / 2);
    cr_assert_eq(fc_e4m3_encode_flat(x), fc_e4m3_encode(x), "%a", (double)x);
    cr_assert_eq(fc_e4m3_encode_flat(-x), fc_e4m3_encode(-x), "%a", -(double)x);
  }
}

/* |got - want| in units of the last place of want. */
static double ulps(float got, double want) {
  int e;
  (void)frexp(want, &e);
  return fabs((double)got - want) / ldexp(1, e - 24);
}

Test(formats, vector_exp_and_root_are_as_good_as_they_say) {
  double worst_exp = 0, worst_root = 0;
  for (int i = -870000; i <= 870000; i++) {
    float x = (float)i * 1e-4F;
    worst_exp = fmax(worst_exp, ulps(fc_expf(x), exp((double)x)));
  }
  for (uint64_t i = 0; i < 1000000; i++) {
    float x = fc_float_of_bits(0x00800000U + (uint32_t)(i * 2130)); /* all normal numbers' range */
    worst_root = fmax(worst_root, ulps(fc_sqrtf(x), sqrt((double)x)));
  }
  cr_assert(worst_exp <= 2, "%g ulp", worst_exp);
  cr_assert(worst_root <= 3, "%g ulp", worst_root);
  cr_assert_eq(fc_sqrtf(0), 0);
}

Test(formats, synthetic_data_has_the_moments_it_says) {
  enum { N = 400000 };
  double sum = 0, squares = 0, uniform = 0, least = 1, most = 0;
  for (uint64_t i = 0; i < N; i++) {
    double x = (double)fc_fill_value(FC_FILL_NORMAL, 1, 0, fc_fill_bits(1, 2, i));
    double u = (double)fc_fill_value(FC_FILL_UNIFORM, 1, 0, fc_fill_bits(1, 3, i));
    sum += x;
    squares += x * x;
    uniform += u;
    least = fmin(least, u);
    most = fmax(most, u);
  }
  /* five standard errors of a mean, of a variance, of a uniform's mean */
  cr_assert(fabs(sum / N) < 5 / sqrt(N), "%g", sum / N);
  cr_assert(fabs(squares / N - 1) < 5 * sqrt(2.0 / N), "%g", squares / N);
  cr_assert(fabs(uniform / N - 0.5) < 5 * sqrt(1.0 / 12 / N), "%g", uniform / N);
  cr_assert(least > 0 && most < 1);
  for (uint64_t i = 0; i < 1000; i++) {
    double x = (double)fc_fill_value(FC_FILL_NORMAL, 9, 1, fc_fill_bits(1, 2, i));
    cr_assert(fabs(x) <= 2 && x == floor(x), "exact data are small integers: %g", x);
  }
}
