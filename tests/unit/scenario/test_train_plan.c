/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/scenario/load.h>

#include <criterion/criterion.h>
#include <string.h>

#include "scenario_support.h"
#include "train_plan_text.h"

static const fc_load_options with_data = {
    .n_data_dirs = 1, .data_dirs = test_data_dirs, .files = &fc_input_disk};

#define HEAD "kind: train_plan\nmodel: tiny\ntokens: 1 T tokens\n"

Test(train_plan_input, little_is_needed) {
  fc_input *input = parse_ok(HEAD "devices: [{device: alpha, counts: [8]}]\n", &with_data);
  const fc_train_plan_def *d = fc_input_train_plan(input);
  cr_assert_not_null(d);
  cr_expect_null(fc_input_plan(input));
  cr_expect_str_eq(d->name, "x");
  cr_expect_eq(d->n_devices, 1);
  cr_expect_str_eq(d->devices[0].profile->name, "alpha");
  cr_expect_eq(d->devices[0].counts[0], 8);
  cr_expect_eq(d->sequence, 4096);
  cr_expect_eq(d->batch_tokens, FC_TRAIN_BATCH_TOKENS);
  cr_expect_eq(d->margin, FC_TRAIN_SEARCH_MARGIN);
  cr_expect_eq(d->objective, FC_TRAIN_CHEAPEST);
  cr_expect_eq(d->limits.memory, 1);
  cr_expect_eq(d->limits.days_s, 0);
  cr_expect_eq(d->plan.n_tp, 0);
  cr_expect_eq(d->failure.device_mtbf_s, 0);
  expect_round_trip(input, &with_data);
  fc_input_free(input);
}

Test(train_plan_input, every_key) {
  fc_input *input = parse_ok(training_plan, &with_data);
  const fc_train_plan_def *d = fc_input_train_plan(input);
  cr_expect_eq(d->n_devices, 2);
  cr_expect_eq(d->devices[0].n_counts, 2);
  cr_expect_float_eq(d->devices[0].price_usd_per_s * 3600, 2, 1e-12);
  cr_expect_eq(d->devices[1].devices_max, 256);
  cr_expect_eq(d->objective, FC_TRAIN_FASTEST);
  cr_expect_eq(d->plan.n_ep, 2);
  cr_expect_eq(d->plan.ep[1], 8);
  cr_expect_eq(d->plan.zero[0], 0);
  cr_expect_eq(fc_train_plan_schedule(d->plan.schedule[1]), FC_SCHEDULE_DUALPIPEV);
  cr_expect_eq(fc_train_plan_recompute(d->plan.recompute[1]), FC_RECOMPUTE_FULL);
  cr_expect_eq(fc_train_plan_gemm(d->plan.gemm[1]), FC_DTYPE_FP8);
  cr_expect_eq(fc_train_plan_gemm("no such"), -1);
  cr_expect(d->plan.base.serial_data && d->plan.base.unfused_attention && d->plan.base.tensor_scales);
  cr_expect(d->plan.base.moments == FC_MOMENTS_BF16 && d->plan.base.narrow_weights);
  cr_expect(d->plan.base.async_tp && d->plan.base.dropout);
  cr_expect_eq(d->plan.base.launch, FC_LAUNCH_EAGER);
  cr_expect_eq(d->limits.days_s, 30 * 86400.0);
  cr_expect_eq(d->limits.cost_usd, 3e6);
  cr_expect_eq(d->failure.checkpoint_write_s, 4);
  expect_round_trip(input, &with_data);
  fc_input_free(input);
}

/* The verb takes both kinds of plan, and no third. */
Test(train_plan_input, is_a_plan) {
  fc_load_options options = with_data;
  options.expect = FC_INPUT_PLAN;
  fc_input *input = parse_ok(HEAD "devices: [{device: alpha, counts: [8]}]\n", &options);
  cr_expect_eq(fc_input_kind_of(input), FC_INPUT_TRAIN_PLAN);
  fc_input_free(input);
  expect_error("kind: train\n", &options, "x.yaml:1:7: error: a train, but a plan is wanted here");
  options.expect = FC_INPUT_TRAIN_PLAN;
  expect_error("kind: plan\n", &options, "x.yaml:1:7: error: a plan, but a train_plan is wanted here");
}

Test(train_plan_input, what_is_wrong_is_told_where) {
  static const struct {
    const char *text, *error;
  } wrong[] = {
      {HEAD "devices: [{device: alpha}]\n",
       "x.yaml:4:11: error: a device wants either 'counts' or 'devices_max'"},
      {HEAD "devices: [{device: alpha, counts: [8], devices_max: 8}]\n",
       "x.yaml:4:11: error: a device wants either 'counts' or 'devices_max'"},
      {HEAD "devices: [{device: alpha, counts: [8.5]}]\n",
       "x.yaml:4:35: error: 'counts' wants whole numbers, not 8.5"},
      {HEAD "devices: [{device: alpha, counts: [8]}]\nplan: {schedule: [1f1b, dualpip]}\n",
       "x.yaml:5:25: error: no schedule 'dualpip'; did you mean 'dualpipe'?"},
      {HEAD "devices: [{device: alpha, counts: [8]}]\nplan: {gemm: [int4]}\n",
       "x.yaml:5:15: error: no gemm 'int4'; did you mean 'int8'?"},
      {HEAD "devices: [{device: alpha, counts: [8]}]\nplan: {zero: [4]}\n",
       "x.yaml:5:15: error: 'zero' = 4 is outside [0, 3]"},
      {HEAD "devices: [{device: alpha, counts: [8]}]\nobjectiv: fastest\n",
       "x.yaml:5:1: error: unknown key 'objectiv'; did you mean 'objective'?"},
      {HEAD "devices: [{device: alpha, counts: [8]}]\nlimits: {day: 3 d}\n",
       "x.yaml:5:10: error: unknown key 'day'; did you mean 'days'?"},
      {HEAD "devices: [{device: alpha, profile: beta, counts: [8]}]\n",
       "x.yaml:4:36: error: profile 'beta' is of device 'beta', not 'alpha'"},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
    expect_error(wrong[i].text, &with_data, wrong[i].error);
}
