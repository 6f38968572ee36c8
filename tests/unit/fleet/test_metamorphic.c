/* SPDX-License-Identifier: Apache-2.0 */
/* What must change in step when the scenario changes. */
#include <fleetcast/fleet/run.h>

#include <math.h>
#include <string.h>

#include <criterion/criterion.h>

#include "look.h"
#include "random_def.h"

#define START (19723 * FC_DAY)

/* Halving all times halves all delays. */
Test(metamorphic, time_scales) {
  fc_time wait[2][4000];
  size_t n[2];
  for (int half = 0; half < 2; half++) {
    double k = half ? 0.5 : 1;
    fake_profile profile;
    fake_profile_make(&profile, &fake_plain);
    fc_delivery delivery = {.date = START, .devices = 7};
    fc_pool_def pool = fake_pool("a", &profile, &delivery, 1);
    fc_model model = fake_model(1000, 1);
    fc_series_point rate;
    fc_stream_def stream = fake_stream("jobs", &model, fake_series(&rate, 6.0 / 5000 / k),
                                       fc_dist_lognormal_p90(4000 * k, 10000 * k), fc_dist_point(1));
    stream.failure = (fc_failure){.device_mtbf_s = 1e5 * k, .restart_s = 60 * k, .checkpoint_s = 600 * k};
    fc_fleet_def def = {.start = START,
                        .end = START + fc_time_from_s(3e6 * k),
                        .epoch_s = 3600 * k,
                        .n_pools = 1,
                        .pools = &pool,
                        .n_streams = 1,
                        .streams = &stream};
    pool.repair_s = 0;
    fc_fleet_result *r = look_run(&def, 9);
    const fc_job_row *job;
    n[half] = fc_fleet_jobs(r, &job);
    cr_assert(n[half] > 3000 && n[half] < 4000, "%zu", n[half]);
    for (size_t j = 0; j < n[half]; j++) wait[half][j] = job[j].start < 0 ? -1 : job[j].start - job[j].submit;
    fc_fleet_result_free(r);
  }
  cr_assert_eq(n[0], n[1]);
  size_t waited = 0;
  for (size_t j = 0; j < n[0]; j++) {
    fc_time difference = wait[0][j] - 2 * wait[1][j];
    waited += wait[0][j] > 0;
    cr_assert((wait[0][j] < 0) == (wait[1][j] < 0) && (difference < 100000 && difference > -100000),
              "job %zu: %lld", j, (long long)difference);
  }
  cr_assert_gt(waited, 1000);
}

/* The pools in another order, names and preferences kept: the same result by name. */
Test(metamorphic, pools_may_be_listed_in_any_order) {
  size_t compared = 0;
  for (uint64_t seed = 1; seed <= 60; seed++) {
    static random_def s;
    random_def_make(&s, seed);
    static int32_t all[RANDOM_POOLS], mapped[2][RANDOM_POOLS];
    for (int p = 0; p < RANDOM_POOLS; p++) all[p] = p;
    for (size_t i = 0; i < s.def.n_policies; i++) s.policy[i].name = "";
    /* "all pools" means in the order of the list: name them */
    for (int i = 0; i < RANDOM_SERVICES; i++)
      if (s.service[i].n_pools == 0) s.service[i].pools = all, s.service[i].n_pools = RANDOM_POOLS;
    for (int i = 0; i < RANDOM_RUNS; i++)
      if (s.run[i].n_pools == 0) s.run[i].pools = all, s.run[i].n_pools = RANDOM_POOLS;
    for (int i = 0; i < RANDOM_STREAMS; i++)
      if (s.stream[i].n_pools == 0) s.stream[i].pools = all, s.stream[i].n_pools = RANDOM_POOLS;
    fc_fleet_result *a = NULL, *b = NULL;
    fc_fleet_options o = {.seed = seed};
    if (fc_fleet_run(&a, &s.def, &o, NULL) != FC_OK) continue;

    static random_def t;
    t = s; /* deliveries and profiles are still those of s */
    for (int p = 0; p < RANDOM_POOLS; p++) {
      t.pool[RANDOM_POOLS - 1 - p] = s.pool[p];
      mapped[0][p] = RANDOM_POOLS - 1 - all[p];
      mapped[1][p] = RANDOM_POOLS - 1 - s.order[p];
    }
    t.def.pools = t.pool, t.def.services = t.service, t.def.runs = t.run, t.def.streams = t.stream;
    t.def.others = t.other, t.def.policies = t.policy;
    for (int i = 0; i < RANDOM_SERVICES; i++) t.service[i].pools = mapped[s.service[i].pools == s.order];
    for (int i = 0; i < RANDOM_RUNS; i++) t.run[i].pools = mapped[s.run[i].pools == s.order];
    for (int i = 0; i < RANDOM_STREAMS; i++) t.stream[i].pools = mapped[s.stream[i].pools == s.order];
    for (int i = 0; i < RANDOM_OTHERS; i++)
      if (t.other[i].n_pools > 0) t.other[i].pools = mapped[1];
    for (int i = 0; i < RANDOM_POLICIES; i++) {
      if (t.policy[i].pool >= 0) t.policy[i].pool = RANDOM_POOLS - 1 - t.policy[i].pool;
      if (t.policy[i].to >= 0) t.policy[i].to = RANDOM_POOLS - 1 - t.policy[i].to;
    }
    cr_assert_eq(fc_fleet_run(&b, &t.def, &o, NULL), FC_OK);
    const fc_account *account;
    size_t n = fc_fleet_accounts(a, &account);
    for (size_t i = 0; i < n; i++) {
      double there =
          look_device_s(b, RANDOM_POOLS - 1 - account[i].pool, account[i].category, account[i].owner);
      double here = look_device_s(a, account[i].pool, account[i].category, account[i].owner);
      cr_assert(look_close(here, there, 1e-12), "seed %llu, pool %d, %s of %s: %.17g, %.17g",
                (unsigned long long)seed, account[i].pool, fc_category_text(account[i].category),
                account[i].owner, here, there);
      compared += here > 0;
    }
    fc_fleet_result_free(a);
    fc_fleet_result_free(b);
  }
  cr_assert_gt(compared, 300);
}

/* INV-8: one more device never lowers what a service gets through, for any size of instance. */
Test(metamorphic, one_more_device_never_serves_less) {
  fake_profile profile;
  fake_profile_make(&profile, &fake_plain);
  fc_model model = fake_model(1000, 1);
  fc_series_point point;
  static const int64_t unit[][2] = {{1, 1}, {4, 8}, {32, 18}, {3, 7}, {16, 144}};
  for (size_t u = 0; u < sizeof unit / sizeof *unit; u++) {
    double before = -1;
    for (int devices = 0; devices < 400; devices++) {
      fc_delivery delivery = {.date = START, .devices = devices};
      fc_pool_def pool = fake_pool("a", &profile, &delivery, 1);
      fc_service_def service = fake_service("chat", &model, fake_series(&point, 120000));
      service.deployment =
          (fc_deployment){.disaggregated = true, .prefill.devices = unit[u][0], .decode.devices = unit[u][1]};
      fc_fleet_def def = {.start = START,
                          .end = START + 6 * FC_HOUR,
                          .epoch_s = 3600,
                          .n_pools = 1,
                          .pools = &pool,
                          .n_services = 1,
                          .services = &service};
      fc_fleet_result *r = look_run(&def, 1);
      double served = look_tokens_served(r, 0);
      cr_assert(served >= before - 6, "%d devices in instances of %d and %d: %g after %g", devices,
                (int)unit[u][0], (int)unit[u][1], served, before);
      before = served;
      fc_fleet_result_free(r);
    }
    cr_assert_gt(before, 0);
  }
}

/* A new pool that nobody uses, and a new stream, shift nobody's draws. */
Test(metamorphic, arrivals_do_not_depend_on_company) {
  static random_def s;
  for (uint64_t seed = 1; seed <= 10; seed++) {
    random_def_make(&s, seed);
    s.def.n_streams = RANDOM_STREAMS;
    s.def.n_pools = RANDOM_POOLS;
    s.def.n_services = s.def.n_others = s.def.n_policies = 0;
    fc_fleet_result *a = look_run(&s.def, seed);
    fc_stream_def first = s.stream[0];
    s.stream[0] = s.stream[1];
    s.stream[1] = first; /* "tries" comes twice, "tunes" once: the twin keeps its place */
    s.def.n_runs = 0;
    fc_fleet_result *b = look_run(&s.def, seed);
    const fc_job_row *x, *y;
    size_t n = fc_fleet_jobs(a, &x), m = fc_fleet_jobs(b, &y), same = 0;
    for (size_t i = 0, k = 0; i < n; i++) {
      if (strcmp(x[i].owner, "tunes") != 0) continue;
      while (k < m && strcmp(y[k].owner, "tunes") != 0) k++;
      cr_assert(k < m && x[i].submit == y[k].submit, "seed %llu", (unsigned long long)seed);
      same++, k++;
    }
    cr_assert(same > 0 || s.rate[1].value < 1e-4);
    fc_fleet_result_free(a);
    fc_fleet_result_free(b);
  }
}

/* Without failures, bursts and streams nothing is random. */
Test(metamorphic, without_variance_the_seed_does_not_matter) {
  static random_def s;
  for (uint64_t seed = 1; seed <= 20; seed++) {
    random_def_make(&s, seed);
    s.def.n_streams = 0;
    for (int p = 0; p < RANDOM_POOLS; p++) s.pool[p].device_mtbf_s = (double)INFINITY;
    for (int i = 0; i < RANDOM_SERVICES; i++) s.service[i].burst_sigma = 0;
    for (int i = 0; i < RANDOM_RUNS; i++) s.run[i].failure.device_mtbf_s = (double)INFINITY;
    fc_fleet_result *a, *b;
    fc_fleet_options o = {.seed = 1}, q = {.seed = 2};
    fc_status st = fc_fleet_run(&a, &s.def, &o, NULL);
    cr_assert_eq(fc_fleet_run(&b, &s.def, &q, NULL), st);
    if (st) continue;
    cr_assert_eq(look_hash(a), look_hash(b), "seed %llu", (unsigned long long)seed);
    fc_fleet_result_free(a);
    fc_fleet_result_free(b);
  }
}
