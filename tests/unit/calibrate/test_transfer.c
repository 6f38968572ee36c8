/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/calibrate/transfer.h>

#include <math.h>
#include <stdio.h>

#include "profile_text.h"
#include "shipped.h"

typedef struct {
  fc_input *profile, *h100, *h200;
  fc_arena arena;
} scene;

static fc_input *shipped_device(const char *name) {
  char path[512];
  (void)snprintf(path, sizeof path, FC_SOURCE_DIR "/scenarios/devices/%s.yaml", name);
  fc_input *input;
  cr_assert_eq(fc_input_load(&input, path, NULL, NULL), FC_OK);
  return input;
}

static scene set_up(void) {
  return (scene){.profile = load_profile(profile_text, sizeof profile_text - 1),
                 .h100 = shipped_device("h100"),
                 .h200 = shipped_device("h200")};
}

static void tear_down(scene *s) {
  fc_arena_fini(&s->arena);
  fc_input_free(s->profile);
  fc_input_free(s->h100);
  fc_input_free(s->h200);
}

static const fc_kernel_fit *kernel(const scene *s, size_t i) {
  return &fc_input_profile(s->profile)->kernels[i];
}

Test(transfer, to_the_same_device_changes_nothing_but_the_spread) {
  scene s = set_up();
  const fc_device *alpha = fc_input_profile(s.profile)->device;
  for (size_t i = 0; i < fc_input_profile(s.profile)->n_kernels; i++) {
    const fc_kernel_fit *from = kernel(&s, i);
    fc_kernel_fit to;
    cr_assert_eq(fc_transfer(&to, from, alpha, alpha, &s.arena), FC_OK);
    cr_expect(memcmp(&to.coef, &from->coef, sizeof to.coef) == 0);
    cr_expect_eq(to.provenance, FC_PROVENANCE_TRANSFERRED);
    cr_expect(to.spread_systematic > from->spread_systematic);
    cr_expect_eq(to.spread_shape, from->spread_shape);
    cr_expect_eq(to.max_flop, from->max_flop);
    cr_expect(strncmp(to.source, "transferred from alpha by datasheet ratios", 42) == 0, "%s", to.source);
    cr_assert_eq(to.local != NULL, from->local != NULL);
    if (!to.local) continue;
    size_t floats = fc_local_x_floats(to.local->n, to.local->n_coordinates);
    cr_expect(memcmp(to.local->x, from->local->x, floats * sizeof(float)) == 0);
    cr_expect_eq(to.local->op, from->local->op); /* shared */
  }
  tear_down(&s);
}

/* The A100 clocks at 1.41 GHz, the H100 at 1.98: fixed times are as many clocks. */
Test(transfer, fixed_times_scale_with_the_clock) {
  scene s = set_up();
  fc_input *a100 = shipped_device("a100");
  const fc_device *from = fc_input_device(s.h100), *to = fc_input_device(a100);
  const double longer = 1.98 / 1.41;
  fc_kernel_fit gemm, collective;
  cr_assert_eq(fc_transfer(&gemm, kernel(&s, 0), from, to, &s.arena), FC_OK);
  cr_expect_float_eq(gemm.coef.t0_s / kernel(&s, 0)->coef.t0_s, longer, 1e-12);
  cr_expect_float_eq(gemm.coef.tile_s / kernel(&s, 0)->coef.tile_s, longer, 1e-12);
  cr_assert_eq(fc_transfer(&collective, kernel(&s, 5), from, to, &s.arena), FC_OK);
  cr_expect_float_eq(collective.coef.hop_s / kernel(&s, 5)->coef.hop_s, longer, 1e-12);
  fc_device unknown = *to;
  unknown.clock_hz = 0;
  cr_assert_eq(fc_transfer(&gemm, kernel(&s, 0), from, &unknown, &s.arena), FC_OK);
  cr_expect_eq(gemm.coef.t0_s, kernel(&s, 0)->coef.t0_s);
  fc_input_free(a100);
  tear_down(&s);
}

/* Coordinates move with compute units and the form's shares; what the anchors were found to do does not.
 * Weights nearly cancel, so that the old ones at new coordinates would be off by factors of e. */
Test(transfer, keeps_the_corrections_at_the_anchors) {
  scene s = set_up();
  fc_input *a100 = shipped_device("a100");
  const fc_profile *h100 = shipped_profile(FC_SOURCE_DIR "/scenarios", "h100");
  cr_assert_not_null(h100);
  size_t met = 0, off = 0;
  for (size_t i = 0; i < h100->n_kernels; i++) {
    const fc_kernel_fit *from = &h100->kernels[i];
    fc_kernel_fit to;
    if (!from->local || fc_transfer(&to, from, h100->device, fc_input_device(a100), &s.arena)) continue;
    cr_assert_not_null(to.local);
    for (size_t a = 0; a < to.local->n; a++, met++)
      off += fabs(fc_local_at_anchor(to.local, a) - fc_local_at_anchor(from->local, a)) > 0.1;
  }
  cr_expect_gt(met, 1000);
  cr_expect_lt(off, met / 100, "%zu of %zu", off, met);
  shipped_free();
  fc_input_free(a100);
  tear_down(&s);
}

/* The H200 is the H100 with faster memory. */
Test(transfer, to_the_h200_scales_bandwidth_alone) {
  scene s = set_up();
  const fc_device *h100 = fc_input_device(s.h100), *h200 = fc_input_device(s.h200);
  const fc_kernel_fit *from = kernel(&s, 0);
  fc_kernel_fit to;
  cr_assert_eq(fc_transfer(&to, from, h100, h200, &s.arena), FC_OK);
  cr_expect_float_eq(to.coef.bytes_per_s / from->coef.bytes_per_s, 4.8 / 3.35, 1e-12);
  cr_expect_eq(to.coef.flop_per_s, from->coef.flop_per_s);
  cr_expect_eq(to.coef.t0_s, from->coef.t0_s);
  cr_expect_eq(to.coef.tile_s, from->coef.tile_s);
  cr_assert_eq(fc_transfer(&to, kernel(&s, 5), h100, h200, &s.arena), FC_OK); /* a collective: same links */
  cr_expect(memcmp(&to.coef, &kernel(&s, 5)->coef, sizeof to.coef) == 0);
  tear_down(&s);
}

/* The A100 has no FP8: its BF16 peak counts, as in the simulator. */
Test(transfer, a_missing_format_counts_as_the_next_wider) {
  scene s = set_up();
  fc_input *a100 = shipped_device("a100");
  const fc_device *from = fc_input_device(s.h100), *to = fc_input_device(a100);
  fc_kernel_fit out;
  cr_assert_eq(fc_transfer(&out, kernel(&s, 0), from, to, &s.arena), FC_OK);
  cr_expect_float_eq(out.coef.flop_per_s / kernel(&s, 0)->coef.flop_per_s,
                     to->peak_flop_per_s[FC_DTYPE_BF16] / from->peak_flop_per_s[FC_DTYPE_FP8], 1e-12);
  fc_device lone = *to;
  lone.scaleup_bytes_per_s = 0;
  cr_expect_eq(fc_transfer(&out, kernel(&s, 5), from, &lone, &s.arena), FC_E_DOMAIN);
  fc_input_free(a100);
  tear_down(&s);
}

Test(transfer, distance_is_a_distance) {
  scene s = set_up();
  const fc_device *h100 = fc_input_device(s.h100), *h200 = fc_input_device(s.h200);
  cr_expect_eq(fc_transfer_distance(h100, h100, FC_DTYPE_FP8), 0);
  cr_expect_float_eq(fc_transfer_distance(h100, h200, FC_DTYPE_FP8), log(4.8 / 3.35), 1e-12);
  cr_expect_float_eq(fc_transfer_distance(h200, h100, FC_DTYPE_FP8), log(4.8 / 3.35), 1e-12);
  tear_down(&s);
}
