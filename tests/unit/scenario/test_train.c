/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/scenario/load.h>

#include <criterion/criterion.h>
#include <string.h>

#include "scenario_support.h"
#include "train_text.h"

static const fc_load_options with_data = {
    .n_data_dirs = 1, .data_dirs = test_data_dirs, .files = &fc_input_disk};

#define HEAD "kind: train\nmodel: tiny\ndevice: alpha\ndevices: 8\n"

Test(train_input, little_is_needed) {
  fc_input *input = parse_ok(HEAD "phases: [{name: all, tokens: 1 B tokens}]\n", &with_data);
  const fc_train_def *d = fc_input_train(input);
  cr_assert_not_null(d);
  cr_expect_null(fc_input_serve(input));
  cr_expect_str_eq(d->name, "x");
  cr_expect_str_eq(d->profile->name, "alpha");
  cr_expect_eq(d->replications, 400);
  cr_expect_eq(d->n_hazards, 0);
  cr_expect_eq(d->recovery.checkpoint_s, 0);
  cr_expect_eq(d->recovery.write_s.a, 5);
  cr_expect_eq(d->ledger.cost[FC_COST_PUE].a, 1.35);
  cr_expect_eq(d->ledger.cost[FC_COST_RENT].a, 0, "of the device");
  cr_expect_eq(d->ledger.cost[FC_COST_LIFE].kind, FC_DIST_UNIFORM);
  cr_expect_float_eq(d->ledger.cost[FC_COST_INTEREST].a * FC_YEAR_S, 0.1025, 1e-12);
  cr_expect(!d->ledger.stated[FC_COST_PUE]);
  expect_round_trip(input, &with_data);
  fc_input_free(input);
}

Test(train_input, every_key) {
  fc_input *input = parse_ok(training, &with_data);
  const fc_train_def *d = fc_input_train(input);
  cr_expect_eq(d->n_phases, 4);
  cr_expect_eq(d->phases[0].n_ramp, 2);
  cr_expect_eq(d->phases[0].ramp[1].global_batch, 48);
  cr_expect_eq(d->phases[3].device_s, 5000 * 3600.0);
  cr_expect_eq(d->phases[2].rollouts->wait, 1.4);
  cr_expect_eq(d->phases[2].rollouts->deployment.decode.tp, 2);
  cr_expect_eq(d->hazards[0].law, FC_HAZARD_WEIBULL);
  cr_expect_eq(d->hazards[0].restart_s.a, 420);
  cr_expect_eq(d->hazards[1].slowdown.b, 1.3);
  cr_expect(d->hazards[2].planned);
  cr_expect(d->recovery.shrinks);
  cr_expect_eq(d->ledger.cost[FC_COST_CHIP].a, 25000);
  cr_expect(d->ledger.stated[FC_COST_CHIP]);
  cr_expect_eq(d->ledger.n_others, 1);
  cr_expect(d->ledger.others[0].included);
  cr_expect_eq(d->reported.window_s, 20 * 86400.0);
  expect_round_trip(input, &with_data);
  fc_input_free(input);
}

/* A phase without a plan has the run's; with one, formats are the run's and degrees its own. */
Test(train_input, what_phases_and_variants_take_over) {
  fc_input *input = parse_ok(training, &with_data);
  const fc_train_def *d = fc_input_train(input);
  cr_expect(memcmp(&d->phases[0].plan, &d->plan, sizeof d->plan) == 0);
  const fc_train_plan *own = &d->phases[1].plan;
  cr_expect(own->tp == 0 && own->pp == 0 && own->recompute == FC_RECOMPUTE_NONE && own->sequence == 32768);
  cr_expect(own->gemm == FC_DTYPE_FP8 && own->expert_imbalance == 1.1 && own->overlap == 0.7 &&
            own->zero == 1);
  cr_expect(own->serial_data);
  cr_expect(d->phases[2].plan.gemm == FC_DTYPE_BF16 && d->phases[2].plan.tp == 4);
  const fc_train_variant *v = d->variants;
  cr_expect(v[0].model == d->model && v[0].profile == d->profile && v[0].devices == 64);
  cr_expect(v[0].plan.gemm == FC_DTYPE_BF16 && v[0].plan.tp == 2 && v[0].plan.recompute == FC_RECOMPUTE_FULL);
  cr_expect(v[1].devices == 32 && v[1].plan.tp == 1 && v[1].plan.pp == 2);
  cr_expect_str_eq(v[1].profile->name, "beta");
  /* detection and restart of a hazard that states none are the run's */
  cr_expect(d->hazards[1].restart_s.a == 360 && d->hazards[1].detect_s.kind == FC_DIST_UNIFORM);
  fc_input_free(input);
}

static const struct {
  const char *yaml, *message;
} bad[] = {
    {HEAD "phases: [{name: a, tokens: 1 T tokens}]\nledgr: {}\n",
     "x.yaml:6:1: error: unknown key 'ledgr'; did you mean 'ledger'?"},
    {HEAD "phases: []\n", "x.yaml:5:9: error: 'phases' has 0 items; at least 1 are wanted"},
    {HEAD "phases: [{name: a}]\n", "x.yaml:5:10: error: phase 'a' wants either 'tokens' or 'device_hours'"},
    {HEAD "phases: [{name: a, tokens: 1 T tokens, device_hours: 1 GPU-h}]\n",
     "x.yaml:5:10: error: phase 'a' wants either 'tokens' or 'device_hours'"},
    {HEAD "phases: [{name: a, device_hours: 1 GPU-h, ramp: [{until: 1, global_batch: 1}]}]\n",
     "x.yaml:5:10: error: phase 'a': 'device_hours' are taken as they are, without 'ramp' or 'rollouts'"},
    {HEAD
     "phases: [{name: a, tokens: 10, ramp: [{until: 5, global_batch: 1}, {until: 5, global_batch: 2}]}]\n",
     "x.yaml:5:68: error: 'until' must ascend along the ramp"},
    {HEAD "phases: [{name: a, tokens: 10, ramp: [{until: 11, global_batch: 1}]}]\n",
     "x.yaml:5:39: error: the ramp goes beyond the phase's tokens"},
    {HEAD "phases: [{name: a, tokens: 10}]\nfailures: [{name: f}]\n",
     "x.yaml:6:12: error: this hazard lacks the key 'mtbf'"},
    {HEAD "phases: [{name: a, tokens: 10}]\nfailures: [{name: f, mtbf: 3 GB}]\n",
     "x.yaml:6:28: error: 'mtbf' = 3 GB is in bytes; s is wanted, such as '50700 h'"},
    {HEAD "phases: [{name: a, tokens: 10}]\nledger: {utilisation: 120 %}\n",
     "x.yaml:6:23: error: 'utilisation' = 1.2 is outside [0.01, 1]"},
    {HEAD "phases: [{name: a, device_hours: 1 GPU-h}]\nvariants: [{name: v}]\n",
     "x.yaml:6:1: error: variants compare the first phase, and that states no 'tokens'"},
    {HEAD "phases: [{name: a, tokens: 10}]\nvariants: [{name: v, device: gama}]\n",
     "x.yaml:6:30: error: no device 'gama'"},
};

Test(train_input, errors_have_a_place) {
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    fc_diags d;
    fc_diags_init(&d);
    fc_input *input;
    fc_status status = fc_input_parse(&input, "x.yaml", bad[i].yaml, strlen(bad[i].yaml), &with_data, &d);
    char text[512] = "";
    if (d.n) fc_diag_format(text, sizeof text, &d.item[0]);
    cr_expect_eq(status, FC_E_INPUT, "%zu", i);
    cr_expect(strncmp(text, bad[i].message, strlen(bad[i].message)) == 0, "%zu: %s\nwanted %s", i, text,
              bad[i].message);
    if (status == FC_OK) fc_input_free(input);
  }
}
