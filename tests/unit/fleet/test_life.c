/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs, supply, policies and money, one thing at a time, against numbers done by hand. */
#include "scene.h"

#include <math.h>
#include <string.h>

#include <criterion/criterion.h>

/* --- jobs --- */

Test(life, a_run_ends_to_the_nanosecond) {
  scene s;
  scene_set(&s);
  s.run[0] = fake_run("r", &s.model, START + 5 * FC_HOUR, 40, 40 * 100 * 10 * DAY_S);
  s.def.n_runs = 1;
  fc_fleet_result *r = scene_run(&s);
  const fc_job_row *job;
  cr_assert_eq(fc_fleet_jobs(r, &job), 1);
  cr_assert_eq(job->start, START + 5 * FC_HOUR);
  cr_assert_eq(job->end, START + 5 * FC_HOUR + 10 * FC_DAY);
  cr_assert_eq(job->state, FC_JOB_DONE);
  cr_assert_eq(job->device_s, 40 * 10 * DAY_S);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_PRE_TRAINING, "r"), 40 * 10 * DAY_S);
  cr_assert(look_close(job->flop, 6000.0 * 40 * 100 * 10 * DAY_S, 1e-12));
  fc_fleet_result_free(r);
}

Test(life, gangs_are_whole_nodes_and_writes_take_time) {
  scene s;
  fake_device d = fake_plain;
  d.node = 8;
  scene_set(&s);
  fake_profile_make(&s.profile, &d);
  s.run[0] = fake_run("r", &s.model, START, 33, 33 * 100 * 10 * DAY_S);
  s.run[0].failure.checkpoint_s = 900;
  s.run[0].failure.checkpoint_write_s = 100;
  s.def.n_runs = 1;
  fc_fleet_result *r = scene_run(&s);
  const fc_job_row *job;
  fc_fleet_jobs(r, &job);
  cr_assert_eq(job->devices, 40);
  cr_assert(look_close(fc_time_to_s(job->end - job->start), 10 * DAY_S * 10 / 9, 1e-12));
  cr_assert(look_close(job->flop, 6000.0 * 33 * 100 * 10 * DAY_S, 1e-12),
            "padding and writes compute nothing");
  fc_fleet_result_free(r);
}

Test(life, an_impossible_run_is_told) {
  scene s;
  scene_set(&s);
  s.run[0] = fake_run("huge", &s.model, START, 101, 1);
  s.model.layers = 2;
  s.run[1] = fake_run("tiny", &s.model, START, 1, 1);
  s.def.n_runs = 2;
  fc_fleet_result *r = scene_run(&s);
  const fc_job_row *job;
  const fc_event_row *event;
  fc_fleet_jobs(r, &job);
  cr_assert_eq(job[0].state, FC_JOB_IMPOSSIBLE);
  cr_assert_eq(job[1].state, FC_JOB_IMPOSSIBLE);
  cr_assert_eq(job[0].pool, -1);
  size_t n = fc_fleet_events(r, &event), told = 0;
  for (size_t i = 0; i < n; i++) told += strcmp(event[i].kind, "job_impossible") == 0;
  cr_assert_eq(told, 2);
  fc_fleet_result_free(r);
}

Test(life, a_run_waits_for_its_delivery) {
  scene s;
  scene_set(&s);
  s.delivery[1] = (fc_delivery){.date = START + 20 * FC_DAY, .devices = 50};
  s.pool[0].n_deliveries = 2;
  s.run[0] = fake_run("r", &s.model, START, 120, 120 * 100 * DAY_S);
  s.def.n_runs = 1;
  fc_fleet_result *r = scene_run(&s);
  const fc_job_row *job;
  fc_fleet_jobs(r, &job);
  cr_assert_eq(job->start, START + 20 * FC_DAY);
  cr_assert_eq(job->end, START + 21 * FC_DAY);
  fc_fleet_result_free(r);
}

Test(life, serving_preempts_and_the_work_goes_on) {
  scene s;
  fc_shape shape = {.name = "step"};
  for (int h = 0; h < 168; h++) shape.factor[h] = h % 24 < 12 ? 0.5 : 1.5;
  scene_set(&s);
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 20000)); /* 28 or 84 */
  s.service[0].shape = &shape;
  s.def.n_services = 1;
  s.run[0] = fake_run("r", &s.model, START, 50, 50 * 100 * 3 * DAY_S); /* days only by night */
  s.run[0].failure.checkpoint_s = 1800;
  s.run[0].failure.restart_s = 600;
  s.def.n_runs = 1;
  fc_fleet_result *r = scene_run(&s);
  const fc_job_row *job;
  fc_fleet_jobs(r, &job);
  cr_assert_eq(job->state, FC_JOB_DONE);
  /* the first night 12 h; later ones 10 min of restart, then 23 checkpoints and 20 min lost: 11.5 h kept */
  cr_assert_eq(job->preemptions, 6);
  cr_assert_eq(job->lost_device_s, 50 * (6 * 600 + 5 * 1200.0));
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_FAILED, "r"), job->lost_device_s);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_PRE_TRAINING, "r"), 50 * 3 * DAY_S);
  cr_assert_eq(look_tokens_dropped(r, 0), 0);
  fc_fleet_result_free(r);

  s.run[0].preemptible = false;
  r = scene_run(&s);
  fc_fleet_jobs(r, &job);
  cr_assert_eq(job->preemptions, 0);
  cr_assert_eq(job->end, START + 3 * FC_DAY);
  cr_assert(look_tokens_dropped(r, 0) > 0);
  fc_fleet_result_free(r);
}

Test(life, a_more_important_run_preempts) {
  scene s;
  scene_set(&s);
  s.run[0] = fake_run("low", &s.model, START, 80, 80 * 100 * 10 * DAY_S);
  s.run[0].failure.checkpoint_s = 7 * 3600;
  s.run[1] = fake_run("high", &s.model, START + FC_DAY, 80, 80 * 100 * 2 * DAY_S);
  s.run[1].priority = 1;
  s.def.n_runs = 2;
  fc_fleet_result *r = scene_run(&s);
  const fc_job_row *job;
  fc_fleet_jobs(r, &job);
  cr_assert_eq(job[1].start, START + FC_DAY);
  cr_assert_eq(job[1].end, START + 3 * FC_DAY);
  cr_assert_eq(job[0].preemptions, 1);
  cr_assert_eq(job[0].lost_device_s, 80 * 3 * 3600.0); /* 24 h hold three checkpoints of 7 h */
  cr_assert_eq(job[0].end, START + 3 * FC_DAY + 9 * FC_DAY + 3 * FC_HOUR);
  fc_fleet_result_free(r);
}

Test(life, a_run_above_a_service_takes_its_devices) {
  scene s;
  scene_set(&s);
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 30000)); /* 84 */
  s.service[0].priority = 4;
  s.def.n_services = 1;
  s.run[0] = fake_run("r", &s.model, START + FC_DAY, 50, 50 * 100 * DAY_S);
  s.def.n_runs = 1;
  fc_fleet_result *r = scene_run(&s);
  cr_assert_eq(look_device_s_at(r, 0, FC_CATEGORY_SERVING, "chat", 0), 84 * DAY_S);
  cr_assert_eq(look_device_s_at(r, 0, FC_CATEGORY_SERVING, "chat", 1), 50 * (DAY_S - 3600) + 84 * 3600);
  cr_assert_eq(look_device_s_at(r, 0, FC_CATEGORY_PRE_TRAINING, "r", 1), 50 * (DAY_S - 3600));
  fc_fleet_result_free(r);
}

Test(life, an_rl_run_splits_its_gang) {
  scene s;
  scene_set(&s);
  s.run[0] = fake_run("rl", &s.model, START, 80, 0);
  s.run[0].category = FC_CATEGORY_POST_TRAINING;
  s.run[0].tokens = 100 * 20 * 4 * DAY_S;             /* 20 devices for 4 days */
  s.run[0].rollout_tokens = 60 * 4 * DAY_S / 0.01025; /* 1000 in / 4000 out: 41 device-seconds per 4000 */
  s.def.n_runs = 1;
  fc_fleet_result *r = scene_run(&s);
  const fc_job_row *job;
  fc_fleet_jobs(r, &job);
  cr_assert(look_close(fc_time_to_s(job->end - job->start), 4 * DAY_S, 1e-12));
  cr_assert(look_close(look_device_s(r, 0, FC_CATEGORY_RL_ROLLOUTS, "rl"), 60 * 4 * DAY_S, 1e-12));
  cr_assert(look_close(look_device_s(r, 0, FC_CATEGORY_POST_TRAINING, "rl"), 20 * 4 * DAY_S, 1e-12));
  cr_assert(look_close(look_flop(r, 0, FC_CATEGORY_POST_TRAINING, "rl"), s.run[0].tokens * 6000, 1e-9));
  cr_assert(look_close(look_flop(r, 0, FC_CATEGORY_RL_ROLLOUTS, "rl"), s.run[0].rollout_tokens * 1.25 * 2000,
                       1e-9));
  fc_fleet_result_free(r);
}

/* A plan given in full is evaluated as it is, for the gang that is asked; what L1 said is in the result. */
Test(life, plans_and_what_l1_said_of_them) {
  scene s;
  scene_set(&s);
  fc_train_plan plan = {.tp = 8, .pp = 2, .ep = 1, .micro_batch = 1, .global_batch = 64, .sequence = 4096};
  s.run[0] = fake_run("fits", &s.model, START, 32, 32 * 100 * DAY_S);
  s.run[0].plan = plan;
  s.run[1] = fake_run("too wide", &s.model, START, 32, 1);
  s.run[1].plan = plan;
  s.run[1].plan.tp = 16;
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 1000));
  s.def.n_runs = 2;
  s.def.n_services = 1;
  fc_fleet_result *r = scene_run(&s);
  const fc_estimate_row *estimate;
  const fc_capacity_row *capacity;
  cr_assert_eq(fc_fleet_estimates(r, &estimate), 2);
  cr_assert(estimate[0].feasible && estimate[0].estimate.plan.devices == 32 &&
            estimate[0].estimate.plan.cp == 1);
  cr_assert(!estimate[1].feasible && estimate[1].run == 1 && estimate[1].pool == 0);
  cr_assert_str_eq(estimate[1].why, "the plan needs 99.0 GB of a device's 0.0 GB");
  cr_assert_eq(fc_fleet_capacities(r, &capacity), 1);
  cr_assert(capacity[0].feasible && capacity[0].capacity.decode_tokens_per_s == 100);
  cr_assert_gt(fc_fleet_events_executed(r), 1440);
  cr_assert_eq(fc_fleet_bucket_start(r, 60), s.def.end);
  cr_assert_eq(fc_fleet_result_def(r), &s.def);
  cr_assert_null(fc_fleet_result_law(r));
  const fc_job_row *job;
  fc_fleet_jobs(r, &job);
  cr_assert_eq(job[0].state, FC_JOB_DONE);
  cr_assert_eq(job[1].state, FC_JOB_IMPOSSIBLE);
  fc_fleet_result_free(r);
  fc_fleet_result_free(NULL);
}

/* --- supply --- */

Test(life, lots_arrive_and_retire_on_their_days) {
  scene s;
  scene_set(&s);
  s.delivery[0] = (fc_delivery){.date = START + 2 * FC_DAY, .over_s = 10 * DAY_S, .devices = 101};
  s.delivery[1] = (fc_delivery){.date = START - 20 * FC_DAY, .devices = 7};
  s.pool[0].n_deliveries = 2;
  s.pool[0].lag_s = 3 * DAY_S;
  s.pool[0].life_s = 30 * DAY_S;
  fc_fleet_result *r = scene_run(&s);
  static const struct {
    size_t day;
    double devices;
  } expect[] = {{0, 7},        {4, 7},    {5, 17},  {6, 27},  {12, 88}, {13, 98 - 7 + 7},
                {14, 108 - 7}, {34, 101}, {35, 91}, {43, 10}, {44, 0}};
  /* day 13: the seven retire (running since START - 17 d), and the ninth lot is there */
  static const double lots[] = {10, 20, 30, 40, 51, 61, 71, 81, 91, 101};
  for (size_t i = 0; i < sizeof expect / sizeof *expect; i++) {
    double day = (double)expect[i].day, sum = day < 13 ? 7 : 0;
    for (int k = 9; k >= 0; k--)
      if (day >= 5 + k) {
        sum += lots[k];
        break;
      }
    for (int k = 9; k >= 0; k--)
      if (day >= 35 + k) {
        sum -= lots[k];
        break;
      }
    cr_assert_eq(fc_fleet_pool_cell(r, 0, expect[i].day).installed_device_s, sum * DAY_S, "day %zu",
                 expect[i].day);
  }
  fc_fleet_result_free(r);
}

Test(life, retirement_stops_a_run_gently) {
  scene s;
  scene_set(&s);
  s.pool[0].life_s = 11 * DAY_S; /* all hundred leave on day 10 */
  s.delivery[1] = (fc_delivery){.date = START + 12 * FC_DAY, .devices = 60};
  s.pool[0].n_deliveries = 2;
  s.run[0] = fake_run("r", &s.model, START + FC_HOUR, 60, 60 * 100 * 15 * DAY_S);
  s.run[0].preemptible = false;
  s.run[0].failure.checkpoint_s = 36000;
  s.def.n_runs = 1;
  fc_fleet_result *r = scene_run(&s);
  const fc_job_row *job;
  fc_fleet_jobs(r, &job);
  cr_assert_eq(job->preemptions, 1);
  cr_assert_eq(job->lost_device_s, 0);
  cr_assert_eq(job->end, START + FC_HOUR + 17 * FC_DAY);
  fc_fleet_result_free(r);
}

Test(life, policies_on_deliveries) {
  scene s;
  scene_set(&s);
  s.delivery[1] = (fc_delivery){.date = START + 10 * FC_DAY, .over_s = 10 * DAY_S, .devices = 1000};
  s.pool[0].n_deliveries = 2;
  s.pool[1] = fake_pool("b", &s.profile, NULL, 0);
  s.def.n_pools = 2;
  s.policy[0] = (fc_policy_def){.name = "ban",
                                .kind = FC_POLICY_REDIRECT,
                                .date = START + 15 * FC_DAY,
                                .until = START + 18 * FC_DAY,
                                .pool = 0,
                                .to = 1,
                                .service = -1,
                                .factor = 0.25};
  s.policy[1] = (fc_policy_def){.name = "tax",
                                .kind = FC_POLICY_SCALE_DELIVERIES,
                                .date = START + 16 * FC_DAY,
                                .pool = 1,
                                .to = -1,
                                .service = -1,
                                .factor = 0.5};
  s.def.n_policies = 2;
  fc_fleet_result *r = scene_run(&s);
  cr_assert_eq(fc_fleet_pool_cell(r, 0, 40).installed_device_s, (100 + 500 + 75 + 200) * DAY_S);
  /* lots of 100: three quarters of day 15's, and half of that on days 16 and 17 */
  cr_assert_eq(fc_fleet_pool_cell(r, 1, 40).installed_device_s, 150 * DAY_S);
  const fc_event_row *event;
  size_t n = fc_fleet_events(r, &event), told = 0;
  for (size_t i = 0; i < n; i++)
    if (strcmp(event[i].kind, "policy") == 0)
      cr_assert_eq(event[i].at, START + (fc_time)(15 + told++) * FC_DAY);
  cr_assert_eq(told, 2);
  fc_fleet_result_free(r);
}

Test(life, policies_on_demand_and_efficiency) {
  scene s;
  scene_set(&s);
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 10000)); /* 28 */
  s.def.n_services = 1;
  s.policy[0] = (fc_policy_def){.kind = FC_POLICY_SCALE_DEMAND,
                                .date = START + 10 * FC_DAY,
                                .until = START + 20 * FC_DAY,
                                .pool = -1,
                                .to = -1,
                                .service = 0,
                                .factor = 3};
  s.policy[1] = (fc_policy_def){.kind = FC_POLICY_SCALE_EFFICIENCY,
                                .date = START + 15 * FC_DAY,
                                .pool = -1,
                                .to = -1,
                                .service = -1,
                                .factor = 2};
  s.def.n_policies = 2;
  fc_fleet_result *r = scene_run(&s);
  static const double devices[] = {28, 84, 42, 14};
  for (size_t i = 0; i < 4; i++)
    cr_assert_eq(look_device_s_at(r, 0, FC_CATEGORY_SERVING, "chat", (size_t[]){9, 10, 15, 20}[i]),
                 devices[i] * DAY_S);
  cr_assert_eq(fc_fleet_service_cell(r, 0, 12).tokens_in, 30000 * DAY_S);
  fc_fleet_result_free(r);
}

Test(life, other_ai_takes_its_share_first) {
  scene s;
  scene_set(&s);
  s.other[0] = (fc_other_def){.name = "ads", .share = fake_series(&s.point[0], 0.3)};
  s.other[1] = (fc_other_def){.name = "vision", .share = fake_series(&s.point[1], 0.9)};
  s.def.n_others = 2;
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[2], 10000));
  s.def.n_services = 1;
  fc_fleet_result *r = scene_run(&s);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_OTHER_AI, "ads"), 30 * 60 * DAY_S);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_OTHER_AI, "vision"), 70 * 60 * DAY_S);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_SERVING, "chat"), 0);
  fc_fleet_result_free(r);
}

Test(life, money_of_the_owner) {
  scene s;
  scene_set(&s);
  s.pool[0].depreciation_s = 31 * DAY_S; /* delivered a day before the start: written off on day 30 */
  s.pool[0].hosting_usd_per_w_s = 1e-6;
  s.pool[0].tariff_usd_per_j = 3e-8;
  fc_fleet_result *r = scene_run(&s);
  fc_pool_cell early = fc_fleet_pool_cell(r, 0, 0), late = fc_fleet_pool_cell(r, 0, 30);
  cr_assert(look_close(early.owner_usd_per_device_s, 50000 / (31 * DAY_S) + 1e-3, 1e-9));
  cr_assert(look_close(late.owner_usd_per_device_s, 1e-3, 1e-12));
  cr_assert(look_close(early.rent_usd_per_device_s, 2.0 / 3600, 1e-9));
  cr_assert_eq(early.tariff_usd_per_j, 3e-8);
  fc_fleet_result_free(r);
}
