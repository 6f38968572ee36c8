/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fleetcast/calibrate/design.h>

#include "fake_fit.h"

static bool same(double a, double b) {
  return fabs(a - b) <= 1e-12 * fabs(b);
}

Test(design, columns_are_the_inverse_of_reading_a_row) {
  fake_fit f;
  fake_fit_init(&f);
  for (size_t i = 0; i < f.table.n_points; i++) {
    const fc_point *point = &f.point[i];
    fc_measure_row row;
    fc_call back;
    char why[FC_SHAPE_WHY] = "";
    fc_design_columns(&row, &point->op, &f.family[point->family]);
    cr_assert(fc_measure_shape(&back, &row, &f.device, why), "point %zu: %s", i, why);
    cr_assert_eq(back.op.id, point->op.id);
    cr_assert(same(fc_op_flop(&back.op), fc_op_flop(&point->op)) &&
                  same(fc_op_bytes(&back.op), fc_op_bytes(&point->op)),
              "point %zu", i);
  }
}

/* Every operator that a measurement file can name. */
Test(design, columns_of_every_kernel_read_back) {
  static const char *const kernels[] = {"gemm",
                                        "gemm_wgrad",
                                        "grouped_gemm",
                                        "grouped_gemm_masked",
                                        "grouped_gemm_wgrad",
                                        "moe_ffn",
                                        "mla_absorb_k",
                                        "mla_absorb_v",
                                        "mla_prefill",
                                        "mla_decode",
                                        "mla_backward",
                                        "attention_prefill",
                                        "attention_decode",
                                        "attention_backward",
                                        "all_reduce",
                                        "all_gather",
                                        "reduce_scatter",
                                        "all_to_all",
                                        "ep_dispatch",
                                        "ep_combine",
                                        "embed",
                                        "norm_q",
                                        "norm_q_residual",
                                        "norm_b",
                                        "quant_a",
                                        "quant_a_t",
                                        "quant_w",
                                        "swiglu_q",
                                        "swiglu_b",
                                        "rope_kv",
                                        "rope_b",
                                        "topk",
                                        "topk_b",
                                        "perm",
                                        "perm_b",
                                        "comb",
                                        "comb_b",
                                        "sample",
                                        "ce",
                                        "adamw",
                                        "gnorm",
                                        "ceiling_copy",
                                        "ceiling_read",
                                        "ceiling_write"};
  fake_fit f;
  fake_fit_init(&f);
  for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
    fc_measure_row row = {0}, again;
    fc_call call, back;
    char why[FC_SHAPE_WHY] = "";
    for (size_t c = 0; c < FC_MEASURE_NUMBER_COUNT; c++) row.number[c] = 64 * (double)(1 + c % 2);
    row.number[FC_MEASURE_topk] = row.number[FC_MEASURE_ep] = row.number[FC_MEASURE_nodes] = 2;
    row.number[FC_MEASURE_skew] = 0;
    row.number[FC_MEASURE_tp] = row.number[FC_MEASURE_q_len] = 1;
    for (size_t c = 0; c < FC_MEASURE_TEXT_COUNT; c++) row.text[c] = (fc_slice){"", 0};
    row.text[FC_MEASURE_kernel] = (fc_slice){kernels[i], strlen(kernels[i])};
    row.text[FC_MEASURE_dtype] = (fc_slice){"bf16", 4};
    cr_assert(fc_measure_shape(&call, &row, &f.device, why), "%s: %s", kernels[i], why);
    fc_family family = {
        .kernel = call.kernel, .format = call.format, .kv_format = call.kv_format, .impl = ""};
    fc_design_columns(&again, &call.op, &family);
    cr_assert(fc_measure_shape(&back, &again, &f.device, why), "%s: %s", kernels[i], why);
    cr_assert(back.op.id == call.op.id && same(fc_op_flop(&back.op), fc_op_flop(&call.op)) &&
                  same(fc_op_bytes(&back.op), fc_op_bytes(&call.op)) && same(back.op.m, call.op.m) &&
                  same(back.op.ranks + 1, call.op.ranks + 1) && same(back.op.domain + 1, call.op.domain + 1),
              "%s", kernels[i]);
  }
}

Test(design, proposals_are_new_valid_wide_and_of_several_families) {
  fake_fit f;
  fake_fit_init(&f);
  fc_design design;
  cr_assert_eq(fc_design_propose(&design, &f.table, &f.fit, &f.device, 12), FC_OK);
  cr_assert(design.n >= 4 && design.n <= 12); /* two families' grids are measured whole */
  cr_assert_gt(design.candidates, 100);
  size_t count[FAKE_FAMILIES] = {0};
  for (size_t i = 0; i < design.n; i++) {
    const fc_proposal *p = &design.item[i];
    count[p->family]++;
    cr_assert(i == 0 || design.item[i - 1].worth >= p->worth);
    cr_assert(p->worth > 0 && p->worth <= log(p->now.high_s / p->now.low_s));
    cr_assert(p->op.kv_heads <= p->op.heads && p->op.q <= fmax(p->op.s, p->op.q));
    for (size_t j = 0; j < FAKE_POINTS; j++) {
      const fc_op *known = &f.point[f.family[p->family].first + j].op;
      cr_assert_neq(memcmp(known, &p->op, sizeof *known), 0, "already measured");
    }
  }
  for (size_t i = 0; i < FAKE_FAMILIES; i++) cr_assert_leq(count[i], 3);
  fc_design_fini(&design);
}

Test(design, is_the_same_every_time_and_a_table_to_read_again) {
  fake_fit f;
  fake_fit_init(&f);
  char *text[2];
  for (int i = 0; i < 2; i++) {
    fc_design design;
    fc_file *file;
    char path[64];
    (void)snprintf(path, sizeof path, "/tmp/fc_test_design.%ld.csv", (long)getpid());
    cr_assert_eq(fc_design_propose(&design, &f.table, &f.fit, &f.device, 0), FC_OK);
    cr_assert_eq(fc_file_create(&file, path), FC_OK);
    fc_design_write(file, &design, &f.table);
    text[i] = fake_read_back(file, path);
    cr_assert_not_null(text[i]);
    fc_design_fini(&design);
  }
  cr_assert_str_eq(text[0], text[1]);
  cr_assert_eq(strncmp(text[0], "kernel,impl,dtype,kv_dtype,m,n,k,", 33), 0);
  free(text[0]);
  free(text[1]);
}

Test(design, nothing_to_choose_is_no_error) {
  fake_fit f;
  fake_fit_init(&f);
  fc_design design;
  f.table.n_families = 1;
  f.family[0].n = 1; /* one point spans no grid */
  cr_assert_eq(fc_design_propose(&design, &f.table, &f.fit, &f.device, 5), FC_OK);
  cr_assert_eq(design.n, 0);
  fc_design_fini(&design);
  f.table.n_families = 0;
  cr_assert_eq(fc_design_propose(&design, &f.table, &f.fit, &f.device, 5), FC_OK);
  cr_assert_eq(design.n, 0);
  fc_design_fini(&design);
}

/* What repeats scatter cannot be measured away: a noisy family is worth nothing. */
Test(design, noise_is_not_worth_measuring) {
  fake_fit f;
  fake_fit_init(&f);
  f.report[0].noise = 10;
  fc_design design;
  cr_assert_eq(fc_design_propose(&design, &f.table, &f.fit, &f.device, 0), FC_OK);
  for (size_t i = 0; i < design.n; i++) cr_assert_neq(design.item[i].family, 0);
  fc_design_fini(&design);
}
