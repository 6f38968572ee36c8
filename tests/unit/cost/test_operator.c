/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>

#include <fleetcast/cost/form.h>
#include <fleetcast/cost/operator.h>

#include "fixture_models.h"

/* A small generator: shapes need variety, not quality (Steele et al. 2014, splitmix64). */
static double uniform(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static double whole(uint64_t *state, double low, double high) {
  return floor(low * pow(high / low, uniform(state)));
}

static fc_op random_op(uint64_t *state, fc_op_id id) {
  static const fc_dtype dtypes[] = {FC_DTYPE_BF16, FC_DTYPE_FP8, FC_DTYPE_FP4, FC_DTYPE_INT8, FC_DTYPE_FP32};
  fc_op op = {.id = id, .dtype = dtypes[(int)(uniform(state) * 5)]};
  op.groups = whole(state, 1, 64);
  op.m = op.groups * whole(state, 1, 4096);
  op.n = whole(state, 1, 65536);
  op.k = whole(state, 1, 32768);
  op.ragged = uniform(state) < 0.5;
  op.batch = whole(state, 1, 512);
  op.kv_heads = whole(state, 1, 16);
  op.heads = op.kv_heads * whole(state, 1, 16);
  op.q = whole(state, 1, 8192);
  op.s = op.q + whole(state, 1, 65536);
  op.dk = 64 * whole(state, 1, 9);
  op.dv = 64 * whole(state, 1, 9);
  op.cache_bytes = op.kv_heads * (op.dk + op.dv) * 2;
  op.window = uniform(state) < 0.3 ? whole(state, 64, 8192) : 0;
  op.payload_bytes = whole(state, 1, 1e10);
  op.ranks = whole(state, 1, 1024);
  op.domain = whole(state, 1, 72);
  op.top_k = whole(state, 1, 16);
  op.route_groups = uniform(state) < 0.5 ? 8 : 0;
  op.route_top = op.route_groups > 0 ? whole(state, 1, 8) : 0;
  op.imbalance = 1 + uniform(state);
  op.units = uniform(state) < 0.5 ? whole(state, 1, 132) : 0;
  return op;
}

/* A fit for every family and format, of any form, faster or slower than the hardware can be. */
static void random_profile(uint64_t *state, fc_profile *profile, fc_kernel_fit *fits) {
  *profile = fixture_h100_profile;
  profile->kernels = fits;
  profile->n_kernels = 0;
  for (int k = 0; k < FC_KERNEL_COUNT; k++)
    for (int d = 0; d < FC_DTYPE_COUNT; d++) {
      fc_kernel_fit *fit = &fits[profile->n_kernels++];
      *fit = (fc_kernel_fit){.kernel = (fc_kernel)k, .dtype = (fc_dtype)d};
      fit->form = k >= FC_KERNEL_ALL_REDUCE ? FC_FORM_COLLECTIVE : (fc_form)(uniform(state) * 3);
      fit->coef = (fc_coef){.t0_s = 1e-6 * uniform(state),
                            .flop_per_s = whole(state, 1e13, 1e17),
                            .bytes_per_s = whole(state, 1e10, 1e14),
                            .tile_s = 1e-6 * uniform(state),
                            .tile_traffic = uniform(state),
                            .sharpness = uniform(state) < 0.3 ? 0 : 1 + 7 * uniform(state),
                            .half_length = 1000 * uniform(state),
                            .half_bytes = 1e6 * uniform(state),
                            .hop_s = 1e-6 * uniform(state),
                            .net_t0_s = 1e-5 * uniform(state),
                            .net_bytes_per_s = whole(state, 1e9, 1e13)};
      fit->spread_systematic = 0.1;
      fit->spread_shape = 0.1;
      fit->max_flop = uniform(state) < 0.5 ? 1e12 : 0;
    }
}

Test(operator, nothing_beats_its_roofline) { /* INV-4 */
  static fc_kernel_fit fits[FC_KERNEL_COUNT * FC_DTYPE_COUNT];
  uint64_t state = 4;
  int clamped = 0, free_running = 0;
  for (int i = 0; i < 300; i++) {
    fc_profile profile;
    random_profile(&state, &profile, fits);
    for (int id = 0; id < FC_OP_COUNT; id++) {
      fc_op op = random_op(&state, (fc_op_id)id);
      fc_op_cost cost;
      cr_assert_eq(fc_op_evaluate(&cost, &op, &profile), FC_OK, "%s", fc_op_text(op.id));
      double floor_s = fc_op_roofline_s(&op, profile.device);
      cr_assert(isfinite(cost.seconds) && cost.seconds >= floor_s * (1 - 1e-12),
                "%s: %g s under the roofline's %g s", fc_op_text(op.id), cost.seconds, floor_s);
      cr_assert(cost.joules >= 0 && cost.joules <= profile.device->tdp_w * cost.seconds * (1 + 1e-12),
                "%s: %g J in %g s", fc_op_text(op.id), cost.joules, cost.seconds);
      cr_assert(cost.joules >= profile.device->idle_w * cost.seconds * (1 - 1e-12));
      clamped += cost.clamped;
      free_running += !cost.clamped;
    }
  }
  cr_assert(clamped > 500 && free_running > 500, "both sides must occur: %d, %d", clamped, free_running);
}

Test(operator, larger_is_never_faster) {
  static fc_kernel_fit fits[FC_KERNEL_COUNT * FC_DTYPE_COUNT];
  static const size_t dims[] = {offsetof(fc_op, m),
                                offsetof(fc_op, n),
                                offsetof(fc_op, k),
                                offsetof(fc_op, batch),
                                offsetof(fc_op, heads),
                                offsetof(fc_op, s),
                                offsetof(fc_op, payload_bytes),
                                offsetof(fc_op, imbalance),
                                offsetof(fc_op, cache_bytes)};
  uint64_t state = 11;
  for (int i = 0; i < 100; i++) {
    fc_profile profile;
    random_profile(&state, &profile, fits);
    for (int id = 0; id < FC_OP_COUNT; id++)
      for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
        fc_op op = random_op(&state, (fc_op_id)id), larger = op;
        double *dim = (double *)((char *)&larger + dims[d]);
        *dim *= 1 + 3 * uniform(&state);
        fc_op_cost a, b;
        cr_assert_eq(fc_op_evaluate(&a, &op, &profile), FC_OK);
        cr_assert_eq(fc_op_evaluate(&b, &larger, &profile), FC_OK);
        cr_assert(b.seconds >= a.seconds * (1 - 1e-9), "%s, member at %zu: %g s, then %g s",
                  fc_op_text(op.id), dims[d], a.seconds, b.seconds);
      }
  }
}

static void near(double got, double want, double relative, const char *what) {
  cr_assert(fabs(got - want) <= relative * fabs(want), "%s: %.9g, expected %.9g", what, got, want);
}

Test(operator, formulas_of_the_kernel_table) { /* design notes, kernels.md 1a and 1b, at T = 4096 */
  fc_op qkv_a = {.id = FC_OP_LINEAR, .dtype = FC_DTYPE_FP8, .m = 4096, .n = 2112, .k = 7168};
  near(fc_op_flop(&qkv_a), 2.0 * 4096 * 2112 * 7168, 0, "qkv_a FLOP");
  near(fc_op_bytes(&qkv_a), 4096.0 * 7168 * (1 + 4.0 / 128) + 2112.0 * 7168 + 2.0 * 4096 * 2112, 1e-15,
       "qkv_a bytes");
  fc_op prefill = {.id = FC_OP_MLA_P,
                   .dtype = FC_DTYPE_BF16,
                   .heads = 128,
                   .kv_heads = 128,
                   .q = 4096,
                   .s = 4096,
                   .dk = 192,
                   .dv = 128};
  near(fc_op_flop(&prefill), 128 * 4096.0 * 4096 * 320, 1e-15, "h S^2 320");
  near(fc_op_bytes(&prefill), 2 * 128 * 4096.0 * (2 * 192 + 2 * 128), 1e-15, "attn_p bytes");
  prefill.id = FC_OP_MLA_B;
  near(fc_op_flop(&prefill), 128 * 4096.0 * 4096 * 832, 1e-15, "h S^2 832");
  fc_op decode = {.id = FC_OP_MLA_D,
                  .dtype = FC_DTYPE_BF16,
                  .batch = 128,
                  .heads = 128,
                  .kv_heads = 1,
                  .q = 1,
                  .s = 4096,
                  .dk = 576,
                  .dv = 512,
                  .cache_bytes = 1152};
  near(fc_op_flop(&decode), 2 * 128.0 * 128 * 4096 * 1088, 1e-15, "attn_d FLOP");
  near(fc_op_bytes(&decode), 1152 * 128.0 * 4096 + 2 * 128.0 * 128 * 1088, 1e-15, "attn_d bytes");
  fc_op adamw = {.id = FC_OP_ADAMW, .dtype = FC_DTYPE_FP32, .m = 1e9, .n = 22};
  near(fc_op_bytes(&adamw), 22e9, 0, "AdamW bytes");
}

Test(operator, causal_pairs) {
  cr_assert_float_eq(fc_op_pairs(4, 4, 0), 8, 0);
  cr_assert_float_eq(fc_op_pairs(1, 100, 0), 99.5, 0);
  cr_assert_float_eq(fc_op_pairs(10, 1000, 128), 1280, 0);
  cr_assert_float_eq(fc_op_pairs(1000, 1000, 128), 128.0 * 128 / 2 + 872 * 128, 1e-9);
  cr_assert_float_eq(fc_op_pairs(100, 100, 128), fc_op_pairs(100, 100, 0), 0);
}

Test(operator, alpha_beta_is_exact) {
  fc_coef coef = {
      .t0_s = 10e-6, .hop_s = 1e-6, .bytes_per_s = 100e9, .net_t0_s = 20e-6, .net_bytes_per_s = 50e9};
  fc_op op = {.id = FC_OP_ALL_REDUCE, .dtype = FC_DTYPE_BF16, .payload_bytes = 1e9, .ranks = 8, .domain = 8};
  fc_geometry g = {.ranks = 8, .domain = 8};
  fc_op_wire(&op, &g.wire_in, &g.wire_net);
  near(g.wire_in, 2 * 7.0 / 8 * 1e9, 1e-15, "ring: 2 (n-1)/n, nccl-tests PERFORMANCE.md");
  cr_assert_eq(g.wire_net, 0);
  near(fc_form_collective_s(&coef, &g), 10e-6 + 3e-6 + 1.75e9 / 100e9, 1e-14, "inside one domain");
  op.ranks = g.ranks = 32;
  fc_op_wire(&op, &g.wire_in, &g.wire_net);
  near(g.wire_net, 2 * 3.0 / 4 * 1e9 / 8, 1e-15, "an eighth of the payload over each port");
  near(fc_form_collective_s(&coef, &g), 20e-6 + 5e-6 + fmax(1.75e9 / 100e9, 0.1875e9 / 50e9), 1e-14,
       "two tiers");
  op.id = FC_OP_ALL_GATHER;
  op.ranks = 8;
  fc_op_wire(&op, &g.wire_in, &g.wire_net);
  near(g.wire_in, 7.0 / 8 * 1e9, 1e-15, "all-gather");
  op.ranks = g.ranks = 1;
  fc_op_wire(&op, &g.wire_in, &g.wire_net);
  cr_assert_eq(g.wire_in + g.wire_net + fc_form_collective_s(&coef, &g), 0);
}

/* Copies a token makes: DeepEP counts 8 experts in at most 4 of 8 nodes. */
Test(operator, dispatch_counts_a_token_once_a_node) {
  fc_op op = {.id = FC_OP_DISPATCH,
              .dtype = FC_DTYPE_BF16,
              .m = 1,
              .n = 0.5,
              .ranks = 64,
              .domain = 8,
              .top_k = 8,
              .route_groups = 8,
              .route_top = 4};
  double in, net;
  fc_op_wire(&op, &in, &net); /* one byte a row */
  near(net, 4 * (1 - pow(0.75, 8)) * 7 / 8, 1e-12, "network");
  near(in, 32 * (1 - pow(31.0 / 32, 8)) * 7 / 8, 1e-12, "inside");
  op.id = FC_OP_DISPATCH_LL;
  fc_op_wire(&op, &in, &net);
  near(net, 8 * 56.0 / 64, 1e-15, "low latency: a copy per expert");
  near(in, 8 * 7.0 / 64, 1e-15, "low latency, own node");
}

/* Several groups in a domain: simulated, 8 of 256 experts from 4 of 8 groups, drawn without replacement (10^6
 * tokens). */
Test(operator, groups_that_share_a_domain_share_a_copy) {
  static const struct { double ranks, domains_hit; } simulated[] = {{16, 1.927}, {32, 2.928}, {64, 3.629}};
  for (size_t i = 0; i < sizeof simulated / sizeof *simulated; i++) {
    double nodes = simulated[i].ranks / 8, in, net;
    fc_op op = {.id = FC_OP_DISPATCH, .dtype = FC_DTYPE_BF16, .m = 1, .n = 0.5, .domain = 8, .top_k = 8};
    op.ranks = simulated[i].ranks;
    op.route_groups = 8;
    op.route_top = 4;
    fc_op_wire(&op, &in, &net);
    near(net / ((nodes - 1) / nodes), simulated[i].domains_hit, 0.01, "domains hit");
  }
}

/* Published DeepEP latencies (H800, 128 tokens, 7168, top-8) that the fixture's coefficients are meant to
 * give. */
Test(operator, low_latency_dispatch_near_deepep) {
  static const struct {
    fc_op_id id;
    fc_dtype dtype;
    double ranks, us;
  } cases[] = {{FC_OP_DISPATCH_LL, FC_DTYPE_FP8, 8, 77},     {FC_OP_DISPATCH_LL, FC_DTYPE_FP8, 64, 173},
               {FC_OP_DISPATCH_LL, FC_DTYPE_FP8, 256, 194},  {FC_OP_EP_REDUCE_LL, FC_DTYPE_BF16, 8, 114},
               {FC_OP_EP_REDUCE_LL, FC_DTYPE_BF16, 64, 314}, {FC_OP_EP_REDUCE_LL, FC_DTYPE_BF16, 256, 360},
               {FC_OP_DISPATCH_LL, FC_DTYPE_FP8, 16, 118},   {FC_OP_EP_REDUCE_LL, FC_DTYPE_BF16, 16, 195},
               {FC_OP_DISPATCH_LL, FC_DTYPE_FP8, 32, 155},   {FC_OP_EP_REDUCE_LL, FC_DTYPE_BF16, 32, 273}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fc_op op = {.id = cases[i].id,
                .dtype = cases[i].dtype,
                .m = 128,
                .n = 7168,
                .ranks = cases[i].ranks,
                .domain = 8,
                .top_k = 8};
    fc_op_cost cost;
    cr_assert_eq(fc_op_evaluate(&cost, &op, &fixture_h800_profile), FC_OK);
    near(cost.seconds, cases[i].us * 1e-6, 0.15, fc_op_text(op.id));
  }
}

Test(operator, roofline_corners) {
  fc_coef coef = {.flop_per_s = 1e15, .bytes_per_s = 1e12};
  fc_geometry g = {.flop = 1e12, .bytes = 1, .units = 100, .all_units = 100, .length = 1, .groups = 1};
  near(fc_form_attention_s(&coef, &g), 1e-3, 1e-12, "compute-bound");
  g.units = 50;
  near(fc_form_attention_s(&coef, &g), 2e-3, 1e-12, "half the units");
  g.bytes = 1e12;
  near(fc_form_attention_s(&coef, &g), 1, 1e-12, "memory-bound");
  coef.half_length = 1;
  g.bytes = 0;
  g.units = 100;
  near(fc_form_attention_s(&coef, &g), 2e-3, 1e-12, "half the rate at s0");
}

Test(operator, waves_step_at_tile_boundaries) {
  fc_coef coef = {.flop_per_s = 132e12};
  fc_geometry g = {.rows = 128 * 12, .n = 128 * 11, .k = 1000, .groups = 1, .units = 132, .all_units = 132};
  near(fc_form_gemm_s(&coef, &g), 2 * 128.0 * 128 * 1000 / 1e12, 1e-9, "one full wave of 132 tiles");
  g.rows += 1;
  cr_assert_gt(fc_form_gemm_s(&coef, &g), 1.05 * 2 * 128.0 * 128 * 1000 / 1e12);
  for (double m = 1; m < 3000; m += 7) { /* never faster for one row more */
    fc_geometry a = g, b = g;
    a.rows = m;
    b.rows = m + 1;
    cr_assert_leq(fc_form_gemm_s(&coef, &a), fc_form_gemm_s(&coef, &b) * (1 + 1e-12));
  }
}

Test(operator, smooth_maximum) {
  near(fc_form_smooth_max(3, 4, 2), 5, 1e-15, "q = 2");
  near(fc_form_smooth_max(3, 4, 1), 7, 1e-15, "q = 1");
  near(fc_form_smooth_max(3, 4, 0), 4, 1e-15, "max");
  near(fc_form_smooth_max(3, 4, 4), pow(81 + 256, 0.25), 1e-14, "q = 4");
  near(fc_form_smooth_max(3, 4, 5.5), pow(pow(3, 5.5) + pow(4, 5.5), 1 / 5.5), 1e-14, "any q");
  near(fc_form_smooth_max(0, 4, 3), 4, 1e-15, "zero");
  near(fc_form_smooth_max(1e-30, 4, 3), 4, 1e-15, "tiny");
}

Test(operator, interval_widens_outside_the_fitted_range) {
  fc_kernel_fit fit = {.kernel = FC_KERNEL_MEMORY,
                       .dtype = FC_DTYPE_BF16,
                       .form = FC_FORM_MEMORY,
                       .coef = {.bytes_per_s = 1e12}};
  fit.spread_shape = 0.06;
  fit.min_bytes = 1e6;
  fit.max_bytes = 1e9;
  fc_profile profile = fixture_h100_profile;
  profile.kernels = &fit;
  profile.n_kernels = 1;
  fc_op op = {.id = FC_OP_GRAD_NORM, .dtype = FC_DTYPE_BF16, .m = 1e8};
  fc_op_cost cost;
  cr_assert_eq(fc_op_evaluate(&cost, &op, &profile), FC_OK);
  cr_assert(!cost.outside && cost.log_sd_shape == 0.06);
  op.m = 1e9 / 4 * exp(0.8);
  cr_assert_eq(fc_op_evaluate(&cost, &op, &profile), FC_OK);
  cr_assert(cost.outside);
  cr_assert_float_eq(cost.log_sd_shape, 0.1, 1e-9, "0.06 and 0.08 in quadrature");
  op.m = 1e6 / 4 / exp(0.8);
  cr_assert_eq(fc_op_evaluate(&cost, &op, &profile), FC_OK);
  cr_assert_float_eq(cost.log_sd_shape, 0.1, 1e-9);
}

Test(operator, missing_kernels_are_stood_in_for_or_refused) {
  fc_kernel_fit fit = {.kernel = FC_KERNEL_ATTENTION_PREFILL,
                       .dtype = FC_DTYPE_BF16,
                       .form = FC_FORM_ATTENTION,
                       .coef = {.flop_per_s = 5e14}};
  fc_profile profile = fixture_h100_profile;
  profile.kernels = &fit;
  profile.n_kernels = 1;
  fc_op op = {.id = FC_OP_MLA_B,
              .dtype = FC_DTYPE_BF16,
              .heads = 8,
              .kv_heads = 8,
              .q = 512,
              .s = 512,
              .dk = 64,
              .dv = 64};
  fc_op_cost cost;
  cr_assert_eq(fc_op_evaluate(&cost, &op, &profile), FC_OK);
  cr_assert(cost.substituted && cost.log_sd_shape >= FC_SUBSTITUTE_LOG_SD);
  op.id = FC_OP_LINEAR;
  cr_assert_eq(fc_op_evaluate(&cost, &op, &profile), FC_E_DOMAIN);
}

Test(operator, profile_lookup_falls_back_to_wider_formats_only) {
  const fc_profile *p = &fixture_h100_profile;
  cr_assert_eq(fc_profile_find(p, FC_KERNEL_GEMM, FC_DTYPE_FP4)->dtype, FC_DTYPE_FP8);
  cr_assert_eq(fc_profile_find(p, FC_KERNEL_GEMM, FC_DTYPE_INT8)->dtype, FC_DTYPE_BF16);
  cr_assert_eq(fc_profile_find(p, FC_KERNEL_MLA_DECODE, FC_DTYPE_FP8)->dtype, FC_DTYPE_BF16);
  cr_assert_null(fc_profile_find(p, FC_KERNEL_MLA_DECODE, FC_DTYPE_FP32));
}
