/* SPDX-License-Identifier: Apache-2.0 */
/* Number formats and H100-equivalents. */
#include <fleetcast/hw/device.h>

#include <math.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <signal.h>

Test(dtype, texts_are_those_of_the_input_files) {
  static const char *const want[] = {"fp32", "bf16", "fp8", "fp4", "int8"};
  cr_assert_eq(sizeof want / sizeof *want, FC_DTYPE_COUNT);
  for (int i = 0; i < FC_DTYPE_COUNT; i++) cr_assert_str_eq(fc_dtype_text((fc_dtype)i), want[i]);
}

Test(dtype, sizes_in_bytes) {
  cr_assert_eq(fc_dtype_bytes(FC_DTYPE_FP32), 4);
  cr_assert_eq(fc_dtype_bytes(FC_DTYPE_BF16), 2);
  cr_assert_eq(fc_dtype_bytes(FC_DTYPE_FP8), 1);
  cr_assert_eq(fc_dtype_bytes(FC_DTYPE_INT8), 1);
  cr_assert_eq(fc_dtype_bytes(FC_DTYPE_FP4), 0.5);
}

Test(dtype, refuses_what_is_no_format, .signal = SIGABRT) {
  (void)fc_dtype_text((fc_dtype)FC_DTYPE_COUNT);
}

/* A device's 8-bit rate over the H100's.  Expected values: quotients of the datasheets' dense peaks, by hand.
 */
typedef struct {
  char name[16];
  double bf16, fp8, int8, fp4; /* TFLOP/s */
  double h100e;
} case_h100e;

ParameterizedTestParameters(device, h100e) {
  static case_h100e cases[] = {
      {"h100", 989, 1979, 1979, 0, 1},
      {"a100", 312, 0, 624, 0, 0.31531}, /* no FP8: INT8 counts */
      {"h20", 148, 296, 296, 0, 0.14957},
      {"gb200", 2500, 5000, 5000, 10000, 2.5265}, /* FP4 never counts */
      {"b300", 2250, 4500, 0, 13500, 2.2739},     /* no INT8 to speak of: FP8 counts */
      {"tpu-v6e", 918, 0, 1836, 0, 0.92774},
      {"ascend-910b", 376, 0, 0, 0, 0.18999}, /* BF16 alone */
      {"none", 0, 0, 0, 0, 0},
  };
  return cr_make_param_array(case_h100e, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(case_h100e *c, device, h100e) {
  fc_device d = {0};
  d.peak_flop_per_s[FC_DTYPE_BF16] = c->bf16 * 1e12;
  d.peak_flop_per_s[FC_DTYPE_FP8] = c->fp8 * 1e12;
  d.peak_flop_per_s[FC_DTYPE_INT8] = c->int8 * 1e12;
  d.peak_flop_per_s[FC_DTYPE_FP4] = c->fp4 * 1e12;
  double got = fc_device_h100e(&d);
  cr_assert(fabs(got - c->h100e) <= 5e-5 * c->h100e, "%s: %.6g, expected %.6g", c->name, got, c->h100e);
}

/* Twice the rate in every format is twice the equivalents. */
Test(device, h100e_is_proportional) {
  fc_device one = {0}, two = {0};
  for (int i = 0; i < FC_DTYPE_COUNT; i++) {
    one.peak_flop_per_s[i] = (i + 1) * 1e14;
    two.peak_flop_per_s[i] = 2 * one.peak_flop_per_s[i];
  }
  cr_assert_eq(fc_device_h100e(&two), 2 * fc_device_h100e(&one));
}
