/* SPDX-License-Identifier: Apache-2.0 */
/* One thing at a time, against numbers done by hand. */
#include <fleetcast/fleet/run.h>

#include <math.h>
#include <string.h>

#include <criterion/criterion.h>

#include "fakes.h"
#include "look.h"

#define START (19723 * FC_DAY) /* 2024-01-01 */
#define DAY_S 86400.0

/* One pool of 100 plain devices from before the start, for 60 days from START, daily buckets. */
typedef struct scene {
  fake_profile profile;
  fc_delivery delivery[4];
  fc_pool_def pool[3];
  fc_model model;
  fc_series_point point[8];
  fc_service_def service[3];
  fc_run_def run[6];
  fc_stream_def stream[3];
  fc_other_def other[2];
  fc_policy_def policy[3];
  int32_t first_pool[1], second_pool[1];
  fc_fleet_def def;
} scene;

static scene *set(scene *s) {
  memset(s, 0, sizeof *s);
  fake_profile_make(&s->profile, &fake_plain);
  s->delivery[0] = (fc_delivery){.date = START - FC_DAY, .devices = 100};
  s->pool[0] = fake_pool("a", &s->profile, s->delivery, 1);
  s->model = fake_model(1000, 1);
  s->second_pool[0] = 1;
  s->def = (fc_fleet_def){.name = "test",
                          .start = START,
                          .end = START + 60 * FC_DAY,
                          .epoch_s = 3600,
                          .seed = 1,
                          .bucket = FC_BUCKET_DAY,
                          .n_pools = 1,
                          .pools = s->pool,
                          .services = s->service,
                          .runs = s->run,
                          .streams = s->stream,
                          .others = s->other,
                          .policies = s->policy};
  return s;
}

static fc_fleet_result *go(const scene *s) {
  return look_run(&s->def, 1);
}

Test(basic, an_empty_fleet_idles) {
  scene s;
  fc_fleet_result *r = go(set(&s));
  cr_assert_eq(fc_fleet_buckets(r), 60);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_IDLE, ""), 60 * DAY_S * 100);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_DOWN, ""), 0);
  /* 100 W idle, server 1000/700, PUE 1 */
  cr_assert(look_close(look_joule(r, 0, FC_CATEGORY_IDLE, ""), 60 * DAY_S * 100 * 100 * 1000 / 700, 1e-12));
  fc_fleet_result_free(r);
}

Test(basic, the_residual_may_be_unexplained) {
  scene s;
  set(&s);
  s.def.residual_is_unexplained = true;
  fc_fleet_result *r = go(&s);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_UNEXPLAINED, ""), 60 * DAY_S * 100);
  fc_fleet_result_free(r);
}

Test(basic, a_fleet_without_devices_or_pools) {
  scene s;
  set(&s);
  s.pool[0].n_deliveries = 0;
  fc_fleet_result *r = go(&s);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_IDLE, ""), 0);
  fc_fleet_result_free(r);
  s.def.n_pools = 0;
  r = go(&s);
  cr_assert_eq(fc_fleet_accounts(r, NULL), 0);
  fc_fleet_result_free(r);
}

/* --- serving --- */

/* 800 in at 1000/s, 200 out at 100/s: 2.8 device-seconds a request of 1000 tokens. */
Test(basic, serving_devices_by_hand) {
  scene s;
  set(&s);
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 10000));
  s.def.n_services = 1;
  fc_fleet_result *r = go(&s);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_SERVING, "chat"), 28 * 60 * DAY_S);
  fc_service_cell c = fc_fleet_service_cell(r, 0, 3);
  cr_assert_eq(c.tokens_in, 10000 * DAY_S);
  cr_assert_eq(c.tokens_served, 10000 * DAY_S);
  cr_assert_eq(c.tokens_dropped + c.tokens_queued, 0);
  cr_assert_eq(c.peak_devices, 28);
  cr_assert(look_close(look_flop(r, 0, FC_CATEGORY_SERVING, "chat"), 60 * DAY_S * 10000 * 2000, 1e-12));
  /* 8 devices prefill at 700 W, 20 decode at 400 W; the server adds 3/7 */
  cr_assert(look_close(look_joule(r, 0, FC_CATEGORY_SERVING, "chat"),
                       60 * DAY_S * (8 * 700 + 20 * 400) * 10 / 7, 1e-9));
  fc_fleet_result_free(r);
}

Test(basic, headroom_and_units_round_up) {
  scene s;
  set(&s);
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 10000));
  s.service[0].headroom = 0.1; /* 8.8 prefill, 22 decode */
  s.service[0].deployment = (fc_deployment){.disaggregated = true, .prefill.devices = 4, .decode.devices = 8};
  s.def.n_services = 1;
  fc_fleet_result *r = go(&s);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_SERVING, "chat"), (12 + 24) * 60 * DAY_S);
  fc_fleet_result_free(r);
}

Test(basic, week_peak_scaling_holds_the_peak) {
  scene s;
  fc_shape shape = {.name = "step"};
  for (int h = 0; h < 168; h++) shape.factor[h] = h % 24 < 12 ? 0.5 : 1.5;
  set(&s);
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 10000));
  s.service[0].shape = &shape;
  s.def.n_services = 1;
  fc_fleet_result *r = go(&s);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_SERVING, "chat"), 28 * 60 * DAY_S);
  cr_assert_eq(fc_fleet_service_cell(r, 0, 0).peak_devices, 42);
  fc_fleet_result_free(r);
  s.service[0].scaling = FC_SCALING_PEAK;
  r = go(&s);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_SERVING, "chat"), 42 * 60 * DAY_S);
  cr_assert_eq(fc_fleet_service_cell(r, 0, 0).tokens_served, 10000 * DAY_S);
  fc_fleet_result_free(r);
}

Test(basic, overload_queues_then_drops) {
  scene s;
  set(&s);
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 100000));
  s.service[0].patience_s = 7200;
  s.def.n_services = 1;
  fc_fleet_result *r = go(&s);
  double rate = 100 / 2.8e-3; /* 100 devices, all busy */
  fc_service_cell first = fc_fleet_service_cell(r, 0, 0), later = fc_fleet_service_cell(r, 0, 30);
  cr_assert(look_close(first.tokens_served, rate * DAY_S, 1e-8));
  cr_assert(look_close(later.tokens_served, rate * DAY_S, 1e-8));
  /* what is served has waited for all its patience: the queue is that of two hours of arrivals, less what
   * leaves */
  cr_assert(later.tokens_queued > 0 && later.tokens_queued <= 7200 * 100000.0, "%g", later.tokens_queued);
  cr_assert(look_close(later.tokens_dropped, (100000 - rate) * DAY_S, 1e-8));
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_IDLE, ""), 0);
  fc_fleet_result_free(r);
}

Test(basic, a_service_overflows_into_its_second_pool) {
  scene s;
  set(&s);
  s.delivery[1] = (fc_delivery){.date = START, .devices = 10};
  s.pool[1] = fake_pool("b", &s.profile, &s.delivery[1], 1);
  s.def.n_pools = 2;
  static const int32_t order[] = {1, 0};
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 10000));
  s.service[0].pools = order;
  s.service[0].n_pools = 2;
  s.def.n_services = 1;
  fc_fleet_result *r = go(&s);
  cr_assert_eq(look_device_s(r, 1, FC_CATEGORY_SERVING, "chat"), 10 * 60 * DAY_S);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_SERVING, "chat"), 18 * 60 * DAY_S);
  fc_fleet_result_free(r);
}

Test(basic, services_by_priority) {
  scene s;
  set(&s);
  s.service[0] = fake_service("late", &s.model, fake_series(&s.point[0], 20000)); /* 56 devices */
  s.service[0].priority = 5;
  s.service[1] = fake_service("first", &s.model, fake_series(&s.point[1], 30000)); /* 84 */
  s.def.n_services = 2;
  fc_fleet_result *r = go(&s);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_SERVING, "first"), 84 * 60 * DAY_S);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_SERVING, "late"), 16 * 60 * DAY_S);
  fc_fleet_result_free(r);
}

Test(basic, efficiency_grows_from_the_start) {
  scene s;
  set(&s);
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 30000));
  s.service[0].efficiency_per_year = exp(FC_YEAR_S / (30 * DAY_S) * log(2)); /* twofold in 30 days */
  s.def.n_services = 1;
  fc_fleet_result *r = go(&s);
  fc_service_cell c = fc_fleet_service_cell(r, 0, 30);
  cr_assert_eq(c.peak_devices, 42);
  fc_fleet_result_free(r);
}

Test(basic, nothing_can_serve_is_infeasible) {
  scene s;
  fake_device none = fake_plain;
  none.decode = 0;
  set(&s);
  fake_profile_make(&s.profile, &none);
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 1));
  s.def.n_services = 1;
  char why[256];
  fc_fleet_result *r;
  cr_assert_eq(fc_fleet_run(&r, &s.def, NULL, why), FC_E_INFEASIBLE);
  cr_assert_null(r);
  cr_assert_str_eq(why, "service 'chat': weights do not fit on plain");
}

/* --- jobs --- */

Test(basic, a_run_ends_to_the_nanosecond) {
  scene s;
  set(&s);
  s.run[0] = fake_run("r", &s.model, START + 5 * FC_HOUR, 40, 40 * 100 * 10 * DAY_S);
  s.def.n_runs = 1;
  fc_fleet_result *r = go(&s);
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

Test(basic, gangs_are_whole_nodes_and_writes_take_time) {
  scene s;
  fake_device d = fake_plain;
  d.node = 8;
  set(&s);
  fake_profile_make(&s.profile, &d);
  s.run[0] = fake_run("r", &s.model, START, 33, 33 * 100 * 10 * DAY_S);
  s.run[0].failure.checkpoint_s = 900;
  s.run[0].failure.checkpoint_write_s = 100;
  s.def.n_runs = 1;
  fc_fleet_result *r = go(&s);
  const fc_job_row *job;
  fc_fleet_jobs(r, &job);
  cr_assert_eq(job->devices, 40);
  cr_assert(look_close(fc_time_to_s(job->end - job->start), 10 * DAY_S * 10 / 9, 1e-12));
  cr_assert(look_close(job->flop, 6000.0 * 33 * 100 * 10 * DAY_S, 1e-12),
            "padding and writes compute nothing");
  fc_fleet_result_free(r);
}

Test(basic, an_impossible_run_is_told) {
  scene s;
  set(&s);
  s.run[0] = fake_run("huge", &s.model, START, 101, 1);
  s.model.layers = 2;
  s.run[1] = fake_run("tiny", &s.model, START, 1, 1);
  s.def.n_runs = 2;
  fc_fleet_result *r = go(&s);
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

Test(basic, a_run_waits_for_its_delivery) {
  scene s;
  set(&s);
  s.delivery[1] = (fc_delivery){.date = START + 20 * FC_DAY, .devices = 50};
  s.pool[0].n_deliveries = 2;
  s.run[0] = fake_run("r", &s.model, START, 120, 120 * 100 * DAY_S);
  s.def.n_runs = 1;
  fc_fleet_result *r = go(&s);
  const fc_job_row *job;
  fc_fleet_jobs(r, &job);
  cr_assert_eq(job->start, START + 20 * FC_DAY);
  cr_assert_eq(job->end, START + 21 * FC_DAY);
  fc_fleet_result_free(r);
}

Test(basic, serving_preempts_and_the_work_goes_on) {
  scene s;
  fc_shape shape = {.name = "step"};
  for (int h = 0; h < 168; h++) shape.factor[h] = h % 24 < 12 ? 0.5 : 1.5;
  set(&s);
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 20000)); /* 28 or 84 */
  s.service[0].shape = &shape;
  s.def.n_services = 1;
  s.run[0] = fake_run("r", &s.model, START, 50, 50 * 100 * 3 * DAY_S); /* days only by night */
  s.run[0].failure.checkpoint_s = 1800;
  s.run[0].failure.restart_s = 600;
  s.def.n_runs = 1;
  fc_fleet_result *r = go(&s);
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
  r = go(&s);
  fc_fleet_jobs(r, &job);
  cr_assert_eq(job->preemptions, 0);
  cr_assert_eq(job->end, START + 3 * FC_DAY);
  cr_assert(look_tokens_dropped(r, 0) > 0);
  fc_fleet_result_free(r);
}

Test(basic, a_more_important_run_preempts) {
  scene s;
  set(&s);
  s.run[0] = fake_run("low", &s.model, START, 80, 80 * 100 * 10 * DAY_S);
  s.run[0].failure.checkpoint_s = 7 * 3600;
  s.run[1] = fake_run("high", &s.model, START + FC_DAY, 80, 80 * 100 * 2 * DAY_S);
  s.run[1].priority = 1;
  s.def.n_runs = 2;
  fc_fleet_result *r = go(&s);
  const fc_job_row *job;
  fc_fleet_jobs(r, &job);
  cr_assert_eq(job[1].start, START + FC_DAY);
  cr_assert_eq(job[1].end, START + 3 * FC_DAY);
  cr_assert_eq(job[0].preemptions, 1);
  cr_assert_eq(job[0].lost_device_s, 80 * 3 * 3600.0); /* 24 h hold three checkpoints of 7 h */
  cr_assert_eq(job[0].end, START + 3 * FC_DAY + 9 * FC_DAY + 3 * FC_HOUR);
  fc_fleet_result_free(r);
}

Test(basic, a_run_above_a_service_takes_its_devices) {
  scene s;
  set(&s);
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 30000)); /* 84 */
  s.service[0].priority = 4;
  s.def.n_services = 1;
  s.run[0] = fake_run("r", &s.model, START + FC_DAY, 50, 50 * 100 * DAY_S);
  s.def.n_runs = 1;
  fc_fleet_result *r = go(&s);
  cr_assert_eq(look_device_s_at(r, 0, FC_CATEGORY_SERVING, "chat", 0), 84 * DAY_S);
  cr_assert_eq(look_device_s_at(r, 0, FC_CATEGORY_SERVING, "chat", 1), 50 * (DAY_S - 3600) + 84 * 3600);
  cr_assert_eq(look_device_s_at(r, 0, FC_CATEGORY_PRE_TRAINING, "r", 1), 50 * (DAY_S - 3600));
  fc_fleet_result_free(r);
}

Test(basic, an_rl_run_splits_its_gang) {
  scene s;
  set(&s);
  s.run[0] = fake_run("rl", &s.model, START, 80, 0);
  s.run[0].category = FC_CATEGORY_POST_TRAINING;
  s.run[0].tokens = 100 * 20 * 4 * DAY_S;             /* 20 devices for 4 days */
  s.run[0].rollout_tokens = 60 * 4 * DAY_S / 0.01025; /* 1000 in / 4000 out: 41 device-seconds per 4000 */
  s.def.n_runs = 1;
  fc_fleet_result *r = go(&s);
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

/* --- supply --- */

Test(basic, lots_arrive_and_retire_on_their_days) {
  scene s;
  set(&s);
  s.delivery[0] = (fc_delivery){.date = START + 2 * FC_DAY, .over_s = 10 * DAY_S, .devices = 101};
  s.delivery[1] = (fc_delivery){.date = START - 20 * FC_DAY, .devices = 7};
  s.pool[0].n_deliveries = 2;
  s.pool[0].lag_s = 3 * DAY_S;
  s.pool[0].life_s = 30 * DAY_S;
  fc_fleet_result *r = go(&s);
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

Test(basic, retirement_stops_a_run_gently) {
  scene s;
  set(&s);
  s.pool[0].life_s = 11 * DAY_S; /* all hundred leave on day 10 */
  s.delivery[1] = (fc_delivery){.date = START + 12 * FC_DAY, .devices = 60};
  s.pool[0].n_deliveries = 2;
  s.run[0] = fake_run("r", &s.model, START + FC_HOUR, 60, 60 * 100 * 15 * DAY_S);
  s.run[0].preemptible = false;
  s.run[0].failure.checkpoint_s = 36000;
  s.def.n_runs = 1;
  fc_fleet_result *r = go(&s);
  const fc_job_row *job;
  fc_fleet_jobs(r, &job);
  cr_assert_eq(job->preemptions, 1);
  cr_assert_eq(job->lost_device_s, 0);
  cr_assert_eq(job->end, START + FC_HOUR + 17 * FC_DAY);
  fc_fleet_result_free(r);
}

Test(basic, policies_on_deliveries) {
  scene s;
  set(&s);
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
  fc_fleet_result *r = go(&s);
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

Test(basic, policies_on_demand_and_efficiency) {
  scene s;
  set(&s);
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
  fc_fleet_result *r = go(&s);
  static const double devices[] = {28, 84, 42, 14};
  for (size_t i = 0; i < 4; i++)
    cr_assert_eq(look_device_s_at(r, 0, FC_CATEGORY_SERVING, "chat", (size_t[]){9, 10, 15, 20}[i]),
                 devices[i] * DAY_S);
  cr_assert_eq(fc_fleet_service_cell(r, 0, 12).tokens_in, 30000 * DAY_S);
  fc_fleet_result_free(r);
}

Test(basic, other_ai_takes_its_share_first) {
  scene s;
  set(&s);
  s.other[0] = (fc_other_def){.name = "ads", .share = fake_series(&s.point[0], 0.3)};
  s.other[1] = (fc_other_def){.name = "vision", .share = fake_series(&s.point[1], 0.9)};
  s.def.n_others = 2;
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[2], 10000));
  s.def.n_services = 1;
  fc_fleet_result *r = go(&s);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_OTHER_AI, "ads"), 30 * 60 * DAY_S);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_OTHER_AI, "vision"), 70 * 60 * DAY_S);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_SERVING, "chat"), 0);
  fc_fleet_result_free(r);
}

Test(basic, money_of_the_owner) {
  scene s;
  set(&s);
  s.pool[0].depreciation_s = 31 * DAY_S; /* delivered a day before the start: written off on day 30 */
  s.pool[0].hosting_usd_per_w_s = 1e-6;
  s.pool[0].tariff_usd_per_j = 3e-8;
  fc_fleet_result *r = go(&s);
  fc_pool_cell early = fc_fleet_pool_cell(r, 0, 0), late = fc_fleet_pool_cell(r, 0, 30);
  cr_assert(look_close(early.owner_usd_per_device_s, 50000 / (31 * DAY_S) + 1e-3, 1e-9));
  cr_assert(look_close(late.owner_usd_per_device_s, 1e-3, 1e-12));
  cr_assert(look_close(early.rent_usd_per_device_s, 2.0 / 3600, 1e-9));
  cr_assert_eq(early.tariff_usd_per_j, 3e-8);
  fc_fleet_result_free(r);
}

/* --- limits --- */

Test(basic, one_device_one_minute) {
  scene s;
  set(&s);
  s.delivery[0].devices = 1;
  s.def.end = START + FC_MINUTE;
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 1));
  s.def.n_services = 1;
  s.run[0] = fake_run("r", &s.model, START + FC_SECOND, 1, 100);
  s.def.n_runs = 1;
  fc_fleet_result *r = go(&s);
  cr_assert_eq(fc_fleet_buckets(r), 1);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_SERVING, "chat"), 60);
  cr_assert_eq(fc_fleet_service_cell(r, 0, 0).tokens_served, 60);
  fc_fleet_result_free(r);
}

Test(basic, epochs_longer_than_the_run_and_across_buckets) {
  scene s;
  static const double epoch_s[] = {1e9, 100000, 7 * 3600, 1800};
  for (size_t i = 0; i < 4; i++) {
    set(&s);
    s.def.epoch_s = epoch_s[i];
    s.def.bucket = FC_BUCKET_HOUR;
    s.def.end = START + 5 * FC_DAY + FC_HOUR / 3;
    s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 10000));
    s.def.n_services = 1;
    fc_fleet_result *r = go(&s);
    cr_assert_eq(fc_fleet_buckets(r), 121);
    cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_SERVING, "chat"), 28 * (5 * DAY_S + 1200));
    for (size_t b = 0; b < 120; b++) cr_assert_eq(fc_fleet_service_cell(r, 0, b).tokens_served, 36e6);
    cr_assert_eq(fc_fleet_service_cell(r, 0, 120).tokens_served, 12e6);
    fc_fleet_result_free(r);
  }
}

Test(basic, no_demand_needs_no_devices) {
  scene s;
  set(&s);
  s.service[0] = fake_service("none", &s.model, fake_series(&s.point[0], 0));
  s.service[1] = fake_service("unset", &s.model, (fc_series){0});
  s.stream[0] =
      fake_stream("never", &s.model, fake_series(&s.point[1], 0), fc_dist_point(1), fc_dist_point(1));
  s.stream[1] = fake_stream("unset", &s.model, (fc_series){0}, fc_dist_point(1), fc_dist_point(1));
  s.run[0] = fake_run("after", &s.model, START + 1000 * FC_DAY, 1, 1);
  s.def.n_services = s.def.n_streams = 2;
  s.def.n_runs = 1;
  fc_fleet_result *r = go(&s);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_IDLE, ""), 60 * DAY_S * 100);
  cr_assert_eq(fc_fleet_jobs(r, NULL), 0);
  fc_fleet_result_free(r);
}

Test(basic, work_of_nothing_takes_a_nanosecond) {
  scene s;
  set(&s);
  s.run[0] = fake_run("empty", &s.model, START, 1, 0);
  s.stream[0] =
      fake_stream("tiny", &s.model, fake_series(&s.point[0], 1e-4), fc_dist_point(0), fc_dist_point(0));
  s.def.n_runs = s.def.n_streams = 1;
  fc_fleet_result *r = go(&s);
  const fc_job_row *job;
  size_t n = fc_fleet_jobs(r, &job);
  cr_assert_gt(n, 100);
  for (size_t j = 0; j < n; j++) cr_assert(job[j].state == FC_JOB_DONE && job[j].end == job[j].start + 1);
  fc_fleet_result_free(r);
}

Test(basic, a_huge_demand_is_mostly_dropped) {
  scene s;
  set(&s);
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 1e18));
  s.service[0].deployment = (fc_deployment){.disaggregated = true, .prefill.devices = 3, .decode.devices = 7};
  s.def.n_services = 1;
  fc_fleet_result *r = go(&s);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_SERVING, "chat"),
               (30 + 70) * 60 * DAY_S); /* 70 decode bind at 35,000/s */
  cr_assert(look_tokens_dropped(r, 0) > 0.99e18 * 59 * DAY_S);
  fc_fleet_result_free(r);
}

/* --- control --- */

/* INV-9, by an L1 that answers nonsense: the run fails and still shows its result. */
Test(basic, a_broken_law_is_told_with_the_result) {
  scene s;
  set(&s);
  fake_device bad = fake_plain;
  bad.tdp_w = (double)NAN;
  fake_profile_make(&s.profile, &bad);
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 1000));
  s.def.n_services = 1;
  fc_fleet_result *r;
  cr_assert_eq(fc_fleet_run(&r, &s.def, NULL, NULL), FC_E_LAW);
  cr_assert_not_null(r);
  cr_assert_eq(strncmp(fc_fleet_result_law(r), "INV-", 4), 0, "%s", fc_fleet_result_law(r));
  fc_fleet_result_free(r);
}

static void count(void *context, double share, fc_time now) {
  (void)now;
  cr_assert(share >= 0 && share <= 1);
  ++*(int *)context;
}

Test(basic, progress_is_told_and_a_run_can_be_cancelled) {
  scene s;
  int calls = 0;
  volatile sig_atomic_t cancel = 0;
  fc_fleet_options o = {.seed = 1, .progress = count, .context = &calls, .cancel = &cancel};
  fc_fleet_result *r;
  cr_assert_eq(fc_fleet_run(&r, &set(&s)->def, &o, NULL), FC_OK);
  cr_assert(calls > 50 && calls <= 201);
  fc_fleet_result_free(r);
  cancel = 1;
  cr_assert_eq(fc_fleet_run(&r, &s.def, &o, NULL), FC_E_CANCELLED);
  cr_assert_null(r);
}
