/* SPDX-License-Identifier: Apache-2.0 */
/* Serving, limits and control, one thing at a time, against numbers done by hand. */
#include "scene.h"

#include <math.h>
#include <string.h>

#include <criterion/criterion.h>

Test(basic, an_empty_fleet_idles) {
  scene s;
  scene_set(&s);
  fc_fleet_result *r = scene_run(&s);
  cr_assert_eq(fc_fleet_buckets(r), 60);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_IDLE, ""), 60 * DAY_S * 100);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_DOWN, ""), 0);
  /* 100 W idle, server 1000/700, PUE 1 */
  cr_assert(look_close(look_joule(r, 0, FC_CATEGORY_IDLE, ""), 60 * DAY_S * 100 * 100 * 1000 / 700, 1e-12));
  fc_fleet_result_free(r);
}

Test(basic, the_residual_may_be_unexplained) {
  scene s;
  scene_set(&s);
  s.def.residual_is_unexplained = true;
  fc_fleet_result *r = scene_run(&s);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_UNEXPLAINED, ""), 60 * DAY_S * 100);
  fc_fleet_result_free(r);
}

Test(basic, a_fleet_without_devices_or_pools) {
  scene s;
  scene_set(&s);
  s.pool[0].n_deliveries = 0;
  fc_fleet_result *r = scene_run(&s);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_IDLE, ""), 0);
  fc_fleet_result_free(r);
  s.def.n_pools = 0;
  r = scene_run(&s);
  cr_assert_eq(fc_fleet_accounts(r, NULL), 0);
  fc_fleet_result_free(r);
}

/* --- serving --- */

/* 800 in at 1000/s, 200 out at 100/s: 2.8 device-seconds a request of 1000 tokens. */
Test(basic, serving_devices_by_hand) {
  scene s;
  scene_set(&s);
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 10000));
  s.def.n_services = 1;
  fc_fleet_result *r = scene_run(&s);
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
  scene_set(&s);
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 10000));
  s.service[0].headroom = 0.1; /* 8.8 prefill, 22 decode */
  s.service[0].deployment = (fc_deployment){.disaggregated = true, .prefill.devices = 4, .decode.devices = 8};
  s.def.n_services = 1;
  fc_fleet_result *r = scene_run(&s);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_SERVING, "chat"), (12 + 24) * 60 * DAY_S);
  fc_fleet_result_free(r);
}

Test(basic, week_peak_scaling_holds_the_peak) {
  scene s;
  fc_shape shape = {.name = "step"};
  for (int h = 0; h < 168; h++) shape.factor[h] = h % 24 < 12 ? 0.5 : 1.5;
  scene_set(&s);
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 10000));
  s.service[0].shape = &shape;
  s.def.n_services = 1;
  fc_fleet_result *r = scene_run(&s);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_SERVING, "chat"), 28 * 60 * DAY_S);
  cr_assert_eq(fc_fleet_service_cell(r, 0, 0).peak_devices, 42);
  fc_fleet_result_free(r);
  s.service[0].scaling = FC_SCALING_PEAK;
  r = scene_run(&s);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_SERVING, "chat"), 42 * 60 * DAY_S);
  cr_assert_eq(fc_fleet_service_cell(r, 0, 0).tokens_served, 10000 * DAY_S);
  fc_fleet_result_free(r);
}

Test(basic, overload_queues_then_drops) {
  scene s;
  scene_set(&s);
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 100000));
  s.service[0].patience_s = 7200;
  s.def.n_services = 1;
  fc_fleet_result *r = scene_run(&s);
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
  scene_set(&s);
  s.delivery[1] = (fc_delivery){.date = START, .devices = 10};
  s.pool[1] = fake_pool("b", &s.profile, &s.delivery[1], 1);
  s.def.n_pools = 2;
  static const int32_t order[] = {1, 0};
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 10000));
  s.service[0].pools = order;
  s.service[0].n_pools = 2;
  s.def.n_services = 1;
  fc_fleet_result *r = scene_run(&s);
  cr_assert_eq(look_device_s(r, 1, FC_CATEGORY_SERVING, "chat"), 10 * 60 * DAY_S);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_SERVING, "chat"), 18 * 60 * DAY_S);
  fc_fleet_result_free(r);
}

Test(basic, services_by_priority) {
  scene s;
  scene_set(&s);
  s.service[0] = fake_service("late", &s.model, fake_series(&s.point[0], 20000)); /* 56 devices */
  s.service[0].priority = 5;
  s.service[1] = fake_service("first", &s.model, fake_series(&s.point[1], 30000)); /* 84 */
  s.def.n_services = 2;
  fc_fleet_result *r = scene_run(&s);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_SERVING, "first"), 84 * 60 * DAY_S);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_SERVING, "late"), 16 * 60 * DAY_S);
  fc_fleet_result_free(r);
}

Test(basic, efficiency_grows_from_the_start) {
  scene s;
  scene_set(&s);
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 30000));
  s.service[0].efficiency_per_year = exp(FC_YEAR_S / (30 * DAY_S) * log(2)); /* twofold in 30 days */
  s.def.n_services = 1;
  fc_fleet_result *r = scene_run(&s);
  fc_service_cell c = fc_fleet_service_cell(r, 0, 30);
  cr_assert_eq(c.peak_devices, 42);
  fc_fleet_result_free(r);
}

Test(basic, nothing_can_serve_is_infeasible) {
  scene s;
  fake_device none = fake_plain;
  none.decode = 0;
  scene_set(&s);
  fake_profile_make(&s.profile, &none);
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 1));
  s.def.n_services = 1;
  char why[256];
  fc_fleet_result *r;
  cr_assert_eq(fc_fleet_run(&r, &s.def, NULL, why), FC_E_INFEASIBLE);
  cr_assert_null(r);
  cr_assert_str_eq(why, "service 'chat': weights do not fit on plain");
}

/* --- limits --- */

Test(basic, one_device_one_minute) {
  scene s;
  scene_set(&s);
  s.delivery[0].devices = 1;
  s.def.end = START + FC_MINUTE;
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 1));
  s.def.n_services = 1;
  s.run[0] = fake_run("r", &s.model, START + FC_SECOND, 1, 100);
  s.def.n_runs = 1;
  fc_fleet_result *r = scene_run(&s);
  cr_assert_eq(fc_fleet_buckets(r), 1);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_SERVING, "chat"), 60);
  cr_assert_eq(fc_fleet_service_cell(r, 0, 0).tokens_served, 60);
  fc_fleet_result_free(r);
}

Test(basic, epochs_longer_than_the_run_and_across_buckets) {
  scene s;
  static const double epoch_s[] = {1e9, 100000, 7 * 3600, 1800};
  for (size_t i = 0; i < 4; i++) {
    scene_set(&s);
    s.def.epoch_s = epoch_s[i];
    s.def.bucket = FC_BUCKET_HOUR;
    s.def.end = START + 5 * FC_DAY + FC_HOUR / 3;
    s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 10000));
    s.def.n_services = 1;
    fc_fleet_result *r = scene_run(&s);
    cr_assert_eq(fc_fleet_buckets(r), 121);
    cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_SERVING, "chat"), 28 * (5 * DAY_S + 1200));
    for (size_t b = 0; b < 120; b++) cr_assert_eq(fc_fleet_service_cell(r, 0, b).tokens_served, 36e6);
    cr_assert_eq(fc_fleet_service_cell(r, 0, 120).tokens_served, 12e6);
    fc_fleet_result_free(r);
  }
}

Test(basic, no_demand_needs_no_devices) {
  scene s;
  scene_set(&s);
  s.service[0] = fake_service("none", &s.model, fake_series(&s.point[0], 0));
  s.service[1] = fake_service("unset", &s.model, (fc_series){0});
  s.stream[0] =
      fake_stream("never", &s.model, fake_series(&s.point[1], 0), fc_dist_point(1), fc_dist_point(1));
  s.stream[1] = fake_stream("unset", &s.model, (fc_series){0}, fc_dist_point(1), fc_dist_point(1));
  s.run[0] = fake_run("after", &s.model, START + 1000 * FC_DAY, 1, 1);
  s.def.n_services = s.def.n_streams = 2;
  s.def.n_runs = 1;
  fc_fleet_result *r = scene_run(&s);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_IDLE, ""), 60 * DAY_S * 100);
  cr_assert_eq(fc_fleet_jobs(r, NULL), 0);
  fc_fleet_result_free(r);
}

Test(basic, work_of_nothing_takes_a_nanosecond) {
  scene s;
  scene_set(&s);
  s.run[0] = fake_run("empty", &s.model, START, 1, 0);
  s.stream[0] =
      fake_stream("tiny", &s.model, fake_series(&s.point[0], 1e-4), fc_dist_point(0), fc_dist_point(0));
  s.def.n_runs = s.def.n_streams = 1;
  fc_fleet_result *r = scene_run(&s);
  const fc_job_row *job;
  size_t n = fc_fleet_jobs(r, &job);
  cr_assert_gt(n, 100);
  for (size_t j = 0; j < n; j++) cr_assert(job[j].state == FC_JOB_DONE && job[j].end == job[j].start + 1);
  fc_fleet_result_free(r);
}

Test(basic, a_huge_demand_is_mostly_dropped) {
  scene s;
  scene_set(&s);
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 1e18));
  s.service[0].deployment = (fc_deployment){.disaggregated = true, .prefill.devices = 3, .decode.devices = 7};
  s.def.n_services = 1;
  fc_fleet_result *r = scene_run(&s);
  cr_assert_eq(look_device_s(r, 0, FC_CATEGORY_SERVING, "chat"),
               (30 + 70) * 60 * DAY_S); /* 70 decode bind at 35,000/s */
  cr_assert(look_tokens_dropped(r, 0) > 0.99e18 * 59 * DAY_S);
  fc_fleet_result_free(r);
}

/* --- control --- */

/* INV-9, by an L1 that answers nonsense: the run fails and still shows its result. */
Test(basic, a_broken_law_is_told_with_the_result) {
  scene s;
  scene_set(&s);
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
  atomic_int cancel = 0;
  fc_fleet_options o = {.seed = 1, .progress = count, .context = &calls, .cancel = &cancel};
  fc_fleet_result *r;
  scene_set(&s);
  cr_assert_eq(fc_fleet_run(&r, &s.def, &o, NULL), FC_OK);
  cr_assert(calls > 50 && calls <= 201);
  fc_fleet_result_free(r);
  cancel = 1;
  cr_assert_eq(fc_fleet_run(&r, &s.def, &o, NULL), FC_E_CANCELLED);
  cr_assert_null(r);
}

static void count_planned(void *context, const char *service, const char *pool, size_t simulations) {
  cr_assert(strcmp(service, "chat") == 0 || strcmp(service, "code") == 0);
  cr_assert(*pool && simulations == 1);
  ++*(int *)context;
}

Test(basic, the_surface_is_asked_once_a_service_and_pool) {
  scene s;
  scene_set(&s);
  s.def.n_pools = 2;
  s.pool[1] = fake_pool("second", &s.profile, s.delivery, 1);
  s.service[0] = fake_service("chat", &s.model, fake_series(&s.point[0], 1000));
  s.service[1] = fake_service("code", &s.model, fake_series(&s.point[1], 2000));
  s.def.n_services = 2;
  uint64_t closed = 0;
  for (int threads = 0; threads <= 3; threads++) {
    int calls = 0;
    fc_fleet_options o = {.seed = 1, .context = &calls, .threads = (size_t)threads, .planned = count_planned};
    s.def.serving = threads ? FC_SERVING_SURFACE : FC_SERVING_CLOSED_FORM;
    fc_fleet_result *r;
    cr_assert_eq(fc_fleet_run(&r, &s.def, &o, NULL), FC_OK);
    cr_assert_eq(calls, threads ? 4 : 0, "%d threads: %d", threads, calls);
    if (!threads) closed = look_hash(r); /* the fakes answer alike */
    cr_assert_eq(look_hash(r), closed);
    fc_fleet_result_free(r);
  }
}
