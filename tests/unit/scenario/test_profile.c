/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/scenario/load.h>

#include <fleetcast/cost/operator.h>

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "scenario_support.h"

/* A profile's local corrections; what is wrong with one: tests/invalid/profile-local-*. */

static const fc_load_options options = {
    .n_data_dirs = 1, .data_dirs = test_data_dirs, .files = &fc_input_disk};

#define LOCAL(anchors)                                                                                       \
  "kind: profile\ndevice: alpha\nkernels:\n"                                                                 \
  "  - kernel: gemm\n    dtype: fp8\n    format: fp8_block\n    impl: deepgemm\n    points: 400\n"           \
  "    coefficients: {t0: 5 us, flop_rate: 800 TFLOP/s, bandwidth: 2.5 TB/s}\n    provenance: measured\n"    \
  "    spread: {systematic: 0.1, shape: 0.1, noise: 0.01, launch: 0.2, memory: 0.3, compute: 0.4}\n"         \
  "    local:\n      coordinates: [ln_k, ln_m]\n      smooth: 0.2\n      rough: 0.1\n      own: 0.05\n"      \
  "      length: [2, 4]\n      rough_length: [1, 3]\n      scale: 1.6\n      floor: 0.01\n"                  \
  "      support: 0.8\n      anchors: |\n" anchors

static const char text[] = LOCAL("        scatter,m,n,k,weight\n        0.25,128,4096,7168,-1.5e-3\n"
                                 "        0.125,0.3,12345678901234567,1e3,0.1\n");

Test(scenario_profile, local_correction_is_read) {
  fc_input *input = parse_ok(text, &options);
  const fc_kernel_fit *fit = &fc_input_profile(input)->kernels[0];
  const fc_local *l = fit->local;
  cr_expect_str_eq(fit->format, "fp8_block");
  cr_expect_eq(fit->points, 400);
  cr_expect_eq(fit->noise, 0.01);
  cr_expect_eq(fit->spread_regime[FC_REGIME_COMPUTE], 0.4);
  cr_assert_not_null(l);
  cr_assert_eq(l->n, 2);
  cr_assert_eq(l->n_coordinates, 2);
  cr_expect_str_eq(fc_local_coordinate_text(FC_KERNEL_GEMM, l->of[0]), "ln_k");
  cr_expect_eq(l->op[0].id, FC_OP_LINEAR);
  cr_expect_eq(l->op[0].m, 128);
  cr_expect_eq(l->op[0].dtype, FC_DTYPE_FP8);
  cr_expect_eq(l->op[0].input_bytes, 1 + 4.0 / 128); /* of the format, no column */
  cr_expect_eq(l->op[1].m, 0.3);
  cr_expect_eq(l->op[1].n, 12345678901234567.0);
  cr_expect_eq(l->op[1].k, 1000);
  cr_expect_eq(l->weight[0], -1.5e-3F);
  cr_expect_eq(l->scatter[1], 0.125F);
  cr_expect_float_eq(l->x[0], logf(7168) / 2, 1e-6F); /* by its length */
  cr_expect_eq(l->weight[2], 0);                      /* padding */
  fc_input_free(input);
}

Test(scenario_profile, local_correction_reads_back) {
  fc_input *input = parse_ok(text, &options);
  expect_round_trip(input, &options);
  fc_text dump = {0};
  cr_assert_eq(fc_input_dump(input, &dump), FC_OK);
  cr_expect(strstr(dump.bytes, "anchors: |\n") != NULL, "%s", dump.bytes);
  cr_expect(strstr(dump.bytes, "0.125,0.3,12345678901234567,1e3,0.1\n") != NULL, "%s", dump.bytes);
  fc_text_fini(&dump);
  fc_input_free(input);
}

/* Every family's columns are taken, with the operator where a family has several. */
Test(scenario_profile, local_correction_of_other_families) {
  fc_input *input = parse_ok(
      "kind: profile\ndevice: alpha\nkernels:\n  - kernel: moe_ffn\n    provenance: measured\n"
      "    coefficients: {flop_rate: 800 TFLOP/s, bandwidth: 2.5 TB/s}\n    local:\n"
      "      {coordinates: [ln_hit], smooth: 0.2, length: [2], rough_length: [1], scale: 1,\n       anchors: "
      "\"tokens,hidden,inter,experts,topk,ep,skew,rows,hit,imbalance,weight,scatter\\n"
      "64,7168,2048,32,8,8,1.2,70.5,30,1.1,1,1\"}\n"
      "  - kernel: gather\n    provenance: measured\n    coefficients: {bandwidth: 2.5 TB/s}\n    local:\n"
      "      coordinates: [ln_rows]\n      smooth: 0.2\n      length: [2]\n      rough_length: [1]\n      "
      "scale: 1\n"
      "      anchors: |\n        op,m,n,k,weight,scatter\n        perm,8,7168,1,1,1\n        "
      "embed,8,7168,0,1,1\n",
      &options);
  const fc_op *moe = fc_input_profile(input)->kernels[0].local->op;
  cr_expect_eq(moe->groups, 30);
  cr_expect_eq(moe->m, 70.5);
  cr_expect_eq(moe->imbalance, 1.1);
  cr_expect(moe->ragged);
  cr_expect_eq(fc_input_profile(input)->kernels[1].local->op[1].id, FC_OP_EMBED);
  expect_round_trip(input, &options);
  fc_input_free(input);
}

Test(scenario_profile, too_many_anchors) {
  fc_text big = {0};
  fc_text_add(&big, LOCAL("        m,n,k,weight,scatter\n"));
  for (int i = 0; i <= FC_LOCAL_ANCHORS_MAX; i++) fc_text_printf(&big, "        %d,1,1,1,1\n", i + 1);
  expect_error(big.bytes, &options, "x.yaml:22:16: error: 4097 anchors; at most 4096 are allowed");
  fc_text_fini(&big);
}

/* Positions count the block's own indentation, and a collector that fills up stops the reading. */
Test(scenario_profile, anchors_in_error_are_told_where_they_stand) {
  expect_error(LOCAL("            m,n,k,weight,scatter\n            1,1,1,x,1\n"), &options,
               "x.yaml:24:19: error: 'weight' = 'x' is not a number");
  fc_text many = {0};
  fc_text_add(&many, LOCAL("        m,n,k,weight,scatter\n"));
  for (int i = 0; i < 100; i++) fc_text_add(&many, "        -1,1,1,1,1\n");
  fc_diags d;
  fc_diags_init(&d);
  fc_input *input;
  cr_expect_eq(fc_input_parse(&input, "x", many.bytes, many.length, &options, &d), FC_E_INPUT);
  cr_expect_eq(d.n, FC_DIAG_MAX);
  fc_text_fini(&many);
}
