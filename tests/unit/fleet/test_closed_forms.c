/* SPDX-License-Identifier: Apache-2.0 */
/* Against queueing and renewal theory.  Confidence: 99.9 % per check at fixed seeds; batch means for waits.
 */
#include <fleetcast/fleet/run.h>

#include <math.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include "fakes.h"
#include "look.h"

#define START (19723 * FC_DAY)

enum { BATCHES = 40 };

/* A pool of `devices` and one stream of one-device jobs. */
typedef struct station {
  fake_profile profile;
  fc_delivery delivery;
  fc_pool_def pool;
  fc_model model;
  fc_series_point rate;
  fc_stream_def stream;
  fc_fleet_def def;
} station;

static void open_station(station *s, double devices, double rate_per_s, fc_dist work_s, double jobs) {
  *s = (station){.delivery = {.date = START, .devices = devices}};
  fake_profile_make(&s->profile, &fake_plain);
  s->pool = fake_pool("a", &s->profile, &s->delivery, 1);
  s->model = fake_model(1000, 1);
  s->stream = fake_stream("jobs", &s->model, fake_series(&s->rate, rate_per_s), work_s, fc_dist_point(1));
  s->def = (fc_fleet_def){.name = "station",
                          .start = START,
                          .end = START + fc_time_from_s(jobs / rate_per_s),
                          .epoch_s = 86400,
                          .bucket = FC_BUCKET_MONTH,
                          .n_pools = 1,
                          .pools = &s->pool,
                          .n_streams = 1,
                          .streams = &s->stream};
}

/* Mean wait by batch means, the first tenth left out.  @return the half-width at 99.9 %: t(39) = 3.56 */
static double mean_wait(const fc_fleet_result *r, double *mean) {
  const fc_job_row *job;
  size_t n = fc_fleet_jobs(r, &job), first = n / 10, size = (n - first) / BATCHES;
  double sum = 0, square = 0;
  for (size_t b = 0; b < BATCHES; b++) {
    double wait = 0;
    for (size_t j = first + b * size; j < first + (b + 1) * size; j++)
      wait += job[j].start >= 0 ? fc_time_to_s(job[j].start - job[j].submit) : 0;
    sum += wait / (double)size;
    square += wait / (double)size * (wait / (double)size);
  }
  *mean = sum / BATCHES;
  return 3.56 * sqrt((square - sum * sum / BATCHES) / (BATCHES - 1) / BATCHES);
}

static void expect_wait(double devices, double rate_per_s, fc_dist work_s, double jobs, double wait_s) {
  static station s;
  open_station(&s, devices, rate_per_s, work_s, jobs);
  fc_fleet_result *r = look_run(&s.def, 42);
  double mean, half = mean_wait(r, &mean);
  cr_assert(fabs(mean - wait_s) <= half, "mean wait %g +- %g s, theory %g s", mean, half, wait_s);
  cr_assert(half < 0.15 * wait_s, "too few jobs to tell: +- %g of %g s", half, wait_s);
  fc_fleet_result_free(r);
}

/* M/G/1: Pollaczek-Khinchine, W = lambda E[S^2] / (2 (1 - rho)). */
Test(closed_forms, one_device_and_fixed_work) {
  static const double rho[] = {0.5, 0.8};
  for (size_t i = 0; i < 2; i++)
    expect_wait(1, rho[i] / 1000, fc_dist_point(1000), 2e5, rho[i] * 1000 / (2 * (1 - rho[i])));
}

Test(closed_forms, one_device_and_lognormal_work) {
  fc_dist work = fc_dist_lognormal_p90(600, 1800);
  double sigma = log(3) / 1.2815515655446004, mean = 600 * exp(sigma * sigma / 2);
  double second = mean * mean * exp(sigma * sigma), rate = 0.7 / mean;
  expect_wait(1, rate, work, 4e5, rate * second / (2 * 0.3));
}

Test(closed_forms, one_device_and_uniform_work) {
  fc_dist work = {
      .kind = FC_DIST_UNIFORM, .a = 200, .b = 1000, .min = -(double)INFINITY, .max = (double)INFINITY};
  double second = 600 * 600 + 800.0 * 800 / 12, rate = 0.8 / 600;
  expect_wait(1, rate, work, 3e5, rate * second / (2 * 0.2));
}

/* M/D/c (Crommelin 1932): W/D = sum_i e^(-i c rho) [sum_{j >= ic} (i c rho)^j / j! - (1/rho) sum_{j > ic}
 * ...]. */
static double m_d_c_wait(int c, double rho) {
  double wait = 0;
  for (int i = 1; i < 2000; i++) {
    double mean = i * c * rho, tail = 0, first = exp(i * c * log(mean) - mean - lgamma(i * c + 1.0)),
           term = first;
    for (int j = i * c + 1; term > 1e-18 * first && j < i * c + 5000; j++) tail += term *= mean / j;
    double add = first + tail - tail / rho;
    wait += add;
    if (add < 1e-15) break;
  }
  return wait;
}

Test(closed_forms, several_devices_and_fixed_work) {
  cr_assert(look_close(m_d_c_wait(1, 0.8), 2, 1e-9), "M/D/1 is a special case: %g", m_d_c_wait(1, 0.8));
  expect_wait(4, 4 * 0.8 / 1000, fc_dist_point(1000), 4e5, 1000 * m_d_c_wait(4, 0.8));
  expect_wait(20, 20 * 0.95 / 1000, fc_dist_point(1000), 1e6, 1000 * m_d_c_wait(20, 0.95));
}

/* M/G/inf: jobs that never wait; busy devices are Poisson of mean lambda E[S].  Their time average over T has
 * variance of about lambda E[S^2] / T. */
Test(closed_forms, devices_without_end) {
  static station s;
  fc_dist work = fc_dist_lognormal_p90(40000, 100000);
  open_station(&s, 1e6, 1, work, 1);
  s.stream.rate_per_s = (fc_series){0};
  s.stream.load_devices = fake_series(&s.rate, 500);
  s.def.end = START + 400 * FC_DAY;
  fc_fleet_result *r = look_run(&s.def, 3);
  size_t n = fc_fleet_buckets(r);
  double busy = 0, time = 0;
  for (size_t b = 1; b < n; b++) {
    busy += look_device_s_at(r, 0, FC_CATEGORY_EXPERIMENTS, "jobs", b);
    time += fc_time_to_s(fc_fleet_bucket_start(r, b + 1) - fc_fleet_bucket_start(r, b));
  }
  double sigma = log(2.5) / 1.2815515655446004, mean = 40000 * exp(sigma * sigma / 2);
  double sd = sqrt(500 * mean * exp(sigma * sigma) / time);
  cr_assert(fabs(busy / time - 500) < 3.3 * sd, "%g busy, sd %g", busy / time, sd);
  fc_fleet_result_free(r);
}

/* Devices fail and are repaired: mean down = N repair / (mtbf + repair), whatever the epoch. */
Test(closed_forms, devices_down) {
  static const double epoch_s[] = {3600, 86400, 4000};
  for (size_t i = 0; i < 3; i++) {
    static station s;
    open_station(&s, 1e5, 1, fc_dist_point(1), 1);
    s.def.n_streams = 0;
    s.def.epoch_s = epoch_s[i];
    s.def.end = START + 300 * FC_DAY;
    s.pool.device_mtbf_s = 2e7;
    s.pool.repair_s = 30 * 3600;
    fc_fleet_result *r = look_run(&s.def, 5);
    double down = look_device_s(r, 0, FC_CATEGORY_DOWN, "") / fc_time_to_s(s.def.end - START);
    double mean = 1e5 * s.pool.repair_s / (s.pool.repair_s + s.pool.device_mtbf_s);
    double sd = sqrt(2 * mean * s.pool.repair_s / fc_time_to_s(s.def.end - START));
    /* a device fails at most once an epoch, and none that came back within it: a bias of epoch / mtbf */
    cr_assert(fabs(down - mean) < 3.3 * sd + mean * epoch_s[i] / s.pool.device_mtbf_s,
              "epoch %g: %g down, theory %g +- %g", epoch_s[i], down, mean, sd);
    double first = look_device_s_at(r, 0, FC_CATEGORY_DOWN, "", 0) / (31 * 86400.0);
    cr_assert(fabs(first - mean) < 0.15 * mean, "stationary from the start: %g", first);
    fc_fleet_result_free(r);
  }
}

/* A gang of n: failures at rate n/mtbf; each loses what no checkpoint holds, on average 1/l - p/(e^(l p) - 1)
 * of a period p, and the restart. */
Test(closed_forms, failures_of_a_gang) {
  static station s;
  open_station(&s, 2000, 1, fc_dist_point(1), 1);
  s.def.n_streams = 0;
  s.def.end = START + 2000 * FC_DAY;
  fc_run_def run = fake_run("r", &s.model, START, 1000, 1000 * 100 * 1500 * 86400.0);
  run.failure =
      (fc_failure){.device_mtbf_s = 2e7, .restart_s = 600, .checkpoint_s = 7000, .checkpoint_write_s = 200};
  s.def.n_runs = 1;
  s.def.runs = &run;
  fc_fleet_result *r = look_run(&s.def, 8);
  const fc_job_row *job;
  fc_fleet_jobs(r, &job);
  cr_assert_eq(job->state, FC_JOB_DONE);
  double wall = fc_time_to_s(job->end - job->start), rate = 1000 / 2e7, period = 7200;
  double failures = wall * rate;
  cr_assert(fabs((double)job->failures - failures) < 3.3 * sqrt(failures), "%lld of %g",
            (long long)job->failures, failures);
  double each = 600 + 1 / rate - period / expm1(rate * period);
  double lost = job->lost_device_s / 1000, sd = sqrt((double)job->failures) * period / sqrt(12);
  cr_assert(fabs(lost - each * (double)job->failures) < 3.3 * sd + 0.02 * lost, "%g lost, theory %g +- %g",
            lost, each * (double)job->failures, sd);
  cr_assert(look_close(look_device_s(r, 0, FC_CATEGORY_PRE_TRAINING, "r"),
                       1000 * 1500 * 86400.0 * (1 + 200.0 / 7000), 1e-12));
  fc_fleet_result_free(r);
}

/* Young (1974): the interval sqrt(2 write mtbf / n) loses less time than half or twice it. */
Test(closed_forms, young_interval_is_the_best) {
  static station s;
  open_station(&s, 2000, 1, fc_dist_point(1), 1);
  s.def.n_streams = 0;
  s.def.end = START + 3000 * FC_DAY;
  double best = sqrt(2 * 300 * 2e7 / 1000), wall[4];
  for (size_t i = 0; i < 4; i++) {
    fc_run_def run = fake_run("r", &s.model, START, 1000, 1000 * 100 * 2000 * 86400.0);
    run.failure = (fc_failure){.device_mtbf_s = 2e7,
                               .checkpoint_s = (double[]){0, best, best / 3, best * 3}[i],
                               .checkpoint_write_s = 300};
    s.def.n_runs = 1;
    s.def.runs = &run;
    fc_fleet_result *r = look_run(&s.def, 8);
    const fc_job_row *job;
    fc_fleet_jobs(r, &job);
    cr_assert_eq(job->state, FC_JOB_DONE);
    wall[i] = fc_time_to_s(job->end - job->start);
    fc_fleet_result_free(r);
  }
  cr_assert(look_close(wall[0], wall[1], 1e-9), "0 means the optimum");
  cr_assert(wall[1] < wall[2] && wall[1] < wall[3], "%g against %g and %g", wall[1], wall[2], wall[3]);
}
