/* SPDX-License-Identifier: Apache-2.0 */
/* Laws on random scenarios: fc_fleet_run checks INV-1, 2, 3, 7, 9 and 10 itself (FC_E_LAW fails the test);
 * INV-1 and INV-2 are checked again from outside, on the exported numbers. */
#include <fleetcast/fleet/run.h>

#include <math.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include "look.h"
#include "random_def.h"

static uint64_t seeds(void) { /* more by hand: FC_TEST_SEEDS=20000 test_fleet_laws */
  const char *text = getenv("FC_TEST_SEEDS");
  return text ? strtoull(text, NULL, 10) : 300;
}

/* INV-1 from the exported numbers: double precision, relative 1e-12. */
static void check_devices(const fc_fleet_result *r, uint64_t seed) {
  const fc_account *account;
  size_t n = fc_fleet_accounts(r, &account);
  for (size_t p = 0; p < fc_fleet_result_def(r)->n_pools; p++)
    for (size_t b = 0; b < fc_fleet_buckets(r); b++) {
      double sum = 0;
      for (size_t a = 0; a < n; a++)
        if (account[a].pool == (int32_t)p) sum += fc_fleet_account_cell(r, a, b).device_s;
      double installed = fc_fleet_pool_cell(r, p, b).installed_device_s;
      cr_assert(fabs(sum - installed) <= 1e-12 * installed, "seed %llu, pool %zu, bucket %zu: %.17g of %.17g",
                (unsigned long long)seed, p, b, sum, installed);
    }
}

/* INV-2 from the exported numbers. */
static void check_tokens(const fc_fleet_result *r, uint64_t seed) {
  for (size_t s = 0; s < fc_fleet_result_def(r)->n_services; s++) {
    double queued = 0;
    for (size_t b = 0; b < fc_fleet_buckets(r); b++) {
      fc_service_cell c = fc_fleet_service_cell(r, s, b);
      double left = queued + c.tokens_in - c.tokens_served - c.tokens_dropped;
      cr_assert(fabs(left - c.tokens_queued) <= 1e-12 * (queued + c.tokens_in),
                "seed %llu, service %zu, bucket %zu", (unsigned long long)seed, s, b);
      cr_assert(c.tokens_served >= 0 && c.tokens_dropped >= 0 && c.tokens_queued >= 0);
      queued = c.tokens_queued;
    }
  }
}

static void check_jobs(const fc_fleet_result *r, uint64_t seed) {
  const fc_job_row *job;
  size_t n = fc_fleet_jobs(r, &job);
  const fc_fleet_def *def = fc_fleet_result_def(r);
  for (size_t j = 0; j < n; j++) {
    const fc_job_row *row = &job[j];
    cr_assert(row->submit >= def->start && row->submit < def->end);
    cr_assert(row->work_done >= 0 && row->work_done <= 1 && row->lost_device_s <= row->device_s);
    switch (row->state) {
    case FC_JOB_DONE:
      cr_assert(row->start >= row->submit && row->end > row->start && row->end <= def->end);
      cr_assert_eq(row->work_done, 1, "seed %llu", (unsigned long long)seed);
      break;
    case FC_JOB_RUNNING: cr_assert(row->start >= row->submit && row->end == -1); break;
    case FC_JOB_QUEUED: cr_assert(row->end == -1); break;
    case FC_JOB_IMPOSSIBLE: cr_assert(row->start == -1 && row->device_s == 0 && row->pool == -1); break;
    }
    if (row->failures + row->preemptions == 0 && row->state == FC_JOB_DONE)
      cr_assert(look_close(row->device_s, (double)row->devices * fc_time_to_s(row->end - row->start), 1e-12));
  }
}

Test(laws, hold_on_random_scenarios) {
  size_t jobs = 0, failures = 0, preemptions = 0, infeasible = 0;
  for (uint64_t seed = 1; seed <= seeds(); seed++) {
    static random_def s;
    random_def_make(&s, seed);
    fc_fleet_result *r;
    char why[256];
    fc_fleet_options o = {.seed = seed};
    fc_status st = fc_fleet_run(&r, &s.def, &o, why);
    if (st == FC_E_INFEASIBLE) {
      infeasible++;
      continue;
    }
    cr_assert_eq(st, FC_OK, "seed %llu: %s: %s", (unsigned long long)seed, fc_status_text(st),
                 r ? fc_fleet_result_law(r) : why);
    check_devices(r, seed);
    check_tokens(r, seed);
    check_jobs(r, seed);
    const fc_job_row *job;
    size_t n = fc_fleet_jobs(r, &job);
    jobs += n;
    for (size_t j = 0; j < n; j++)
      failures += (size_t)job[j].failures, preemptions += (size_t)job[j].preemptions;
    fc_fleet_result_free(r);
  }
  cr_assert(jobs > 20 * seeds() && failures > seeds() && preemptions > seeds() && infeasible < seeds() / 10,
            "the scenarios are too tame: %zu jobs, %zu failures, %zu preemptions, %zu infeasible", jobs,
            failures, preemptions, infeasible);
}

/* INV-6 */
Test(laws, the_same_seed_gives_the_same_bytes) {
  for (uint64_t seed = 1; seed <= 20; seed++) {
    static random_def s, t;
    random_def_make(&s, seed);
    random_def_make(&t, seed); /* other addresses */
    fc_fleet_result *a = look_run(&s.def, seed), *b = look_run(&t.def, seed);
    cr_assert_eq(look_hash(a), look_hash(b), "seed %llu", (unsigned long long)seed);
    fc_fleet_result_free(a);
    fc_fleet_result_free(b);
  }
}

/* A golden for compilers and optimisation levels: debug, release and clang builds must agree.  Its scenario
 * keeps away from libm, whose last bits depend on the processor. */
Test(laws, a_known_scenario_gives_known_bytes) {
  static random_def s;
  random_def_make(&s, 7);
  s.def.n_services = RANDOM_SERVICES, s.def.n_streams = RANDOM_STREAMS, s.def.n_runs = RANDOM_RUNS;
  s.def.n_others = s.def.n_policies = 0;
  s.def.end = s.def.start + 40 * FC_DAY;
  s.def.bucket = FC_BUCKET_DAY;
  for (int i = 0; i < RANDOM_SERVICES; i++) {
    fc_service_def *service = &s.service[i];
    s.demand[i][0].value = 5000 * (i + 1);
    service->tokens_per_s = (fc_series){.interp = FC_SERIES_STEP, .n = 1, .point = s.demand[i]};
    service->shape = NULL;
    service->burst_sigma = 0;
    service->efficiency_per_year = 1;
  }
  for (int i = 0; i < RANDOM_STREAMS; i++) {
    s.rate[i].value = 1e-4;
    s.stream[i].rate_per_s = (fc_series){.interp = FC_SERIES_STEP, .n = 1, .point = &s.rate[i]};
    s.stream[i].load_devices = (fc_series){0};
    s.stream[i].work_device_s = fc_dist_point(1e6);
    s.stream[i].devices = fc_dist_point(20 + i);
  }
  fc_fleet_result *r = look_run(&s.def, 7);
  const fc_job_row *job;
  cr_assert_gt(fc_fleet_jobs(r, &job), 500);
  cr_assert_eq(look_hash(r), UINT64_C(0x34b8c9ab51e43bc9), "the hash is now 0x%016llx",
               (unsigned long long)look_hash(r));
  fc_fleet_result_free(r);
}
