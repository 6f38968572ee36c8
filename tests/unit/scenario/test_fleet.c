/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/scenario/load.h>

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fleet_text.h"
#include "scenario_support.h"

static const fc_load_options with_data = {
    .n_data_dirs = 1, .data_dirs = test_data_dirs, .files = &fc_input_disk};

Test(scenario_fleet, all_keys_arrive) {
  fc_input *input = parse_ok(fleet, &with_data);
  const fc_fleet_def *def = fc_input_fleet(input);
  cr_assert_not_null(def);
  cr_expect(def->residual_is_unexplained && def->bucket == FC_BUCKET_DAY && def->seed == 7 &&
            def->epoch_s == 7200);
  cr_assert(def->n_pools == 2 && def->n_services == 2 && def->n_runs == 2 && def->n_streams == 2);
  cr_assert(def->n_others == 1 && def->n_policies == 2);

  const fc_pool_def *a = &def->pools[0], *b = &def->pools[1];
  cr_expect_str_eq(a->profile->name, "alpha");
  cr_expect_str_eq(a->profile->device->name, "alpha");
  cr_expect(isinf(a->device_mtbf_s) && b->device_mtbf_s == 50700.0 * 3600);
  cr_expect(a->n_deliveries == 2 && a->deliveries[0].devices == 1000 &&
            a->deliveries[1].over_s == 91.25 * 86400);
  cr_expect(b->deliveries[0].devices == 10000 && b->repair_s == 86400 && b->pue == 1.35);
  cr_expect(fabs(b->hosting_usd_per_w_s / (0.150 / (FC_YEAR_S / 12)) - 1) < 1e-14);
  cr_expect(a->rent_usd_per_s.n == 1 && b->rent_usd_per_s.n == 0);

  const fc_service_def *chat = &def->services[0], *api = &def->services[1];
  cr_expect(chat->n_pools == 2 && chat->pools[0] == 1 && chat->pools[1] == 0);
  cr_expect(api->n_pools == 2 && api->pools[0] == 0 && api->pools[1] == 1); /* default all */
  cr_expect(!chat->deployment.automatic && chat->deployment.disaggregated &&
            chat->deployment.prefill.tp == 4);
  cr_expect(chat->deployment.decode.devices == 8 && chat->deployment.decode.kv == 0);
  cr_expect(api->deployment.automatic && api->deployment.speculative_tokens == 1);
  cr_expect(chat->slo.tpot_s == 30e-3 && api->slo.ttft_s == 2);
  cr_expect(chat->shape && !api->shape && chat->scaling == FC_SCALING_PEAK && api->patience_s == 3600);
  double mean = 0;
  for (int i = 0; i < 168; i++) mean += chat->shape->factor[i] / 168;
  cr_expect(fabs(mean - 1) < 1e-14);

  const fc_run_def *pre = &def->runs[0], *rl = &def->runs[1];
  cr_expect(pre->tokens == 14.8e12 && pre->plan.pp == 2 && pre->plan.schedule == FC_SCHEDULE_DUALPIPE &&
            !pre->preemptible);
  cr_expect(pre->category == FC_CATEGORY_PRE_TRAINING && rl->category == FC_CATEGORY_POST_TRAINING);
  cr_expect(rl->rollout.input_tokens == 1000 && rl->rollout.output_tokens == 8000 &&
            rl->rollout_tokens == 1e9);
  cr_expect(pre->failure.device_mtbf_s == 3.6e6 && pre->failure.restart_s == 600 && rl->priority == 3);

  const fc_stream_def *exp = &def->streams[0], *ft = &def->streams[1];
  cr_expect(exp->rate_per_s.point[0].value == 40.0 / 86400 && exp->work_device_s.kind == FC_DIST_LOGNORMAL);
  cr_expect(exp->devices.min == 8 && exp->devices.max == 256 && exp->category == FC_CATEGORY_EXPERIMENTS);
  cr_expect(ft->category == FC_CATEGORY_FINE_TUNING && ft->work_device_s.kind == FC_DIST_POINT);
  cr_expect(ft->load_devices.point[0].value == 50 && ft->preemptible && ft->priority == 6);

  cr_expect(def->others[0].n_pools == 1 && fabs(def->others[0].share.point[0].value - 0.2) < 1e-15);
  cr_expect(def->policies[0].pool == 0 && def->policies[0].to == 1 && def->policies[0].until == def->end);
  cr_expect(def->policies[1].service == 1 && def->policies[1].pool == -1 &&
            def->policies[1].until < def->end);
  cr_expect_eq(fc_input_n_uncertain(input), 2); /* the streams' are drawn job by job */
  expect_round_trip(input, &with_data);
  fc_input_free(input);
}

Test(scenario_fleet, overrides_by_name) {
  const char *set[] = {"pools.b.deliveries[0].count=77", "pools.b.lag=9 d", "services.api.slo.tpot=20 ms",
                       "policies.ban.factor=0.5"};
  fc_load_options options = with_data;
  options.n_set = 4;
  options.set = set;
  fc_input *input = parse_ok(fleet, &options);
  const fc_fleet_def *def = fc_input_fleet(input);
  cr_expect_eq(def->pools[1].deliveries[0].devices, 77);
  cr_expect_eq(def->pools[1].lag_s, 9 * 86400.0);
  cr_expect_eq(def->services[1].slo.tpot_s, 20e-3);
  cr_expect_eq(def->policies[0].factor, 0.5);
  fc_input_free(input);
}

/* A file is read once, however often it is named. */
Test(scenario_fleet, references_are_shared) {
  fc_input *input = parse_ok(fleet, &with_data);
  const fc_fleet_def *def = fc_input_fleet(input);
  cr_expect_eq(def->services[0].model, def->runs[0].model);
  cr_expect_eq(fc_input_n_files(input), 6); /* two devices, two profiles, one model, one shape */
  fc_input_free(input);
}

Test(scenario_fleet, works_without_files) {
  fc_input *input = parse_ok(fleet, NULL);
  cr_expect_null(fc_input_fleet(input)->pools[0].profile);
  cr_expect_eq(fc_input_n_files(input), 0);
  fc_input_free(input);
}
