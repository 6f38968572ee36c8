/* SPDX-License-Identifier: Apache-2.0 */
/* Who passes whom. */
#include <fleetcast/fleet/run.h>

#include <math.h>
#include <string.h>

#include <criterion/criterion.h>

#include "fakes.h"
#include "look.h"

#define START (19723 * FC_DAY)

typedef struct scene {
  fake_profile profile;
  fc_delivery delivery[2];
  fc_pool_def pool[2];
  fc_model model;
  fc_series_point rate[2];
  fc_stream_def stream[2];
  fc_run_def run[4];
  int32_t zero[1], one[1];
  fc_fleet_def def;
} scene;

/* Two pools of 100 and 50 devices; everything on the first. */
static void set(scene *s) {
  memset(s, 0, sizeof *s);
  fake_profile_make(&s->profile, &fake_plain);
  s->delivery[0] = (fc_delivery){.date = START, .devices = 100};
  s->delivery[1] = (fc_delivery){.date = START, .devices = 50};
  s->pool[0] = fake_pool("a", &s->profile, &s->delivery[0], 1);
  s->pool[1] = fake_pool("b", &s->profile, &s->delivery[1], 1);
  s->model = fake_model(1000, 1);
  s->one[0] = 1;
  s->def = (fc_fleet_def){.start = START,
                          .end = START + 60 * FC_DAY,
                          .epoch_s = 3600,
                          .bucket = FC_BUCKET_DAY,
                          .n_pools = 1,
                          .pools = s->pool,
                          .streams = s->stream,
                          .runs = s->run};
}

static fc_stream_def stream(scene *s, int i, const char *name, double per_day, double hours, double devices) {
  fc_series rate = fake_series(&s->rate[i], per_day / 86400);
  return fake_stream(name, &s->model, rate, fc_dist_point(hours * 3600 * devices), fc_dist_point(devices));
}

/* 95 % load of jobs of ten devices and five hours would keep a gang of 90 out for ever: it waits a day, then
 * the pool empties for it. */
Test(queue, a_gang_does_not_starve) {
  scene s;
  set(&s);
  s.stream[0] = stream(&s, 0, "small", 0.95 * 24 / 5 * 10, 5, 10);
  s.def.n_streams = 1;
  s.run[0] = fake_run("gang", &s.model, START + 10 * FC_DAY + FC_HOUR, 90, 90 * 100 * 36000.0);
  s.run[0].priority = 6;
  s.def.n_runs = 1;
  fc_fleet_result *r = look_run(&s.def, 1);
  const fc_job_row *job;
  size_t n = fc_fleet_jobs(r, &job), gang = 0, passed = 0;
  while (strcmp(job[gang].owner, "gang") != 0) gang++;
  for (size_t j = gang + 1; j < n; j++) passed += job[j].start >= 0 && job[j].start < job[gang].start;
  fc_time wait = job[gang].start - job[gang].submit;
  cr_assert(wait > 12 * FC_HOUR && wait <= FC_DAY + 6 * FC_HOUR, "%g h", fc_time_to_s(wait) / 3600);
  cr_assert(passed > 10, "smaller ones pass it meanwhile: %zu", passed);
  fc_fleet_result_free(r);
}

/* What a gang can preempt may go on starting beside it. */
Test(queue, what_can_be_preempted_is_not_held_up) {
  scene s;
  set(&s);
  s.run[0] = fake_run("holder", &s.model, START, 60, 60 * 100 * 20 * 86400.0);
  s.run[0].preemptible = false;
  s.run[1] = fake_run("waiting", &s.model, START + FC_DAY, 80, 80 * 100 * 86400.0);
  s.run[2] = fake_run("filler", &s.model, START + 5 * FC_DAY, 30, 30 * 100 * 3 * 86400.0);
  s.run[2].priority = 8;
  s.run[3] = fake_run("stubborn", &s.model, START + 5 * FC_DAY, 10, 10 * 100 * 86400.0);
  s.run[3].priority = 8;
  s.run[3].preemptible = false;
  s.def.n_runs = 4;
  fc_fleet_result *r = look_run(&s.def, 1);
  const fc_job_row *job;
  fc_fleet_jobs(r, &job);
  cr_assert_eq(job[1].start, START + 20 * FC_DAY);
  cr_assert_eq(job[2].start, START + 5 * FC_DAY);
  cr_assert_eq(job[3].start, START + 20 * FC_DAY, "it could not be sent away: it waits");
  fc_fleet_result_free(r);
}

Test(queue, one_class_is_first_come_first_served) {
  scene s;
  set(&s);
  s.stream[0] = stream(&s, 0, "jobs", 0.9 * 24 / 5 * 10, 5, 10);
  s.def.n_streams = 1;
  fc_fleet_result *r = look_run(&s.def, 1);
  const fc_job_row *job;
  size_t n = fc_fleet_jobs(r, &job), waited = 0;
  for (size_t j = 1; j < n && job[j].start >= 0; j++) {
    cr_assert(job[j].start >= job[j - 1].start);
    waited += job[j].start > job[j].submit;
  }
  cr_assert_gt(waited, 50);
  fc_fleet_result_free(r);
}

/* A long queue for one pool does not keep others out of another. */
Test(queue, a_full_pool_does_not_block_an_empty_one) {
  scene s;
  set(&s);
  s.def.n_pools = 2;
  s.stream[0] = stream(&s, 0, "full", 100, 24, 20);
  s.stream[0].pools = s.zero, s.stream[0].n_pools = 1;
  s.stream[1] = stream(&s, 1, "free", 10, 1, 10);
  s.stream[1].pools = s.one, s.stream[1].n_pools = 1;
  s.def.n_streams = 2;
  fc_fleet_result *r = look_run(&s.def, 1);
  const fc_job_row *job;
  size_t n = fc_fleet_jobs(r, &job), free_jobs = 0, queued = 0;
  for (size_t j = 0; j < n; j++) {
    queued += job[j].state == FC_JOB_QUEUED;
    if (strcmp(job[j].owner, "free") != 0) continue;
    free_jobs++;
    cr_assert(job[j].state == FC_JOB_DONE || job[j].submit > s.def.end - FC_HOUR);
    cr_assert_eq(job[j].start, job[j].submit);
  }
  cr_assert(free_jobs > 400 && queued > 4000);
  fc_fleet_result_free(r);
}

/* The preempted go where there is room. */
Test(queue, the_preempted_move_to_another_pool) {
  scene s;
  set(&s);
  s.def.n_pools = 2;
  s.run[0] = fake_run("low", &s.model, START, 50, 50 * 100 * 10 * 86400.0);
  s.run[0].failure.checkpoint_s = 3600;
  s.run[0].failure.restart_s = 1800;
  s.run[1] = fake_run("high", &s.model, START + 3 * FC_DAY + FC_HOUR / 2, 100, 100 * 100 * 86400.0);
  s.run[1].priority = 0;
  s.run[1].pools = s.zero, s.run[1].n_pools = 1;
  s.def.n_runs = 2;
  fc_fleet_result *r = look_run(&s.def, 1);
  const fc_job_row *job;
  fc_fleet_jobs(r, &job);
  cr_assert_eq(job[1].start, job[1].submit);
  cr_assert_eq(job[0].pool, 1);
  cr_assert_eq(job[0].preemptions, 1);
  cr_assert_eq(job[0].end, START + 10 * FC_DAY + FC_HOUR, "half an hour lost, half an hour to restart");
  fc_fleet_result_free(r);
}

/* At one priority the first to be submitted starts first, whoever owns it. */
Test(queue, owners_take_turns_by_submission) {
  scene s;
  set(&s);
  s.run[0] = fake_run("holder", &s.model, START, 100, 100 * 100 * 86400.0);
  s.run[1] = fake_run("later", &s.model, START + 2 * FC_HOUR, 60, 60 * 100 * 86400.0);
  s.run[2] = fake_run("earlier", &s.model, START + FC_HOUR, 60, 60 * 100 * 86400.0);
  s.def.n_runs = 3;
  fc_fleet_result *r = look_run(&s.def, 1);
  const fc_job_row *job; /* in order of submission */
  fc_fleet_jobs(r, &job);
  cr_assert_str_eq(job[1].owner, "earlier");
  cr_assert_eq(job[1].start, START + FC_DAY);
  cr_assert_eq(job[2].start, START + 2 * FC_DAY);
  fc_fleet_result_free(r);
}

/* Of equally unimportant jobs the one that was placed last goes: it has least to lose. */
Test(queue, the_latest_is_preempted_first) {
  scene s;
  set(&s);
  s.run[0] = fake_run("old", &s.model, START, 50, 50 * 100 * 10 * 86400.0);
  s.run[1] = fake_run("new", &s.model, START + FC_DAY, 50, 50 * 100 * 10 * 86400.0);
  s.run[2] = fake_run("high", &s.model, START + 2 * FC_DAY, 40, 40 * 100 * 86400.0);
  s.run[2].priority = 1;
  s.def.n_runs = 3;
  fc_fleet_result *r = look_run(&s.def, 1);
  const fc_job_row *job;
  fc_fleet_jobs(r, &job);
  cr_assert_eq(job[0].preemptions, 0);
  cr_assert_eq(job[1].preemptions, 1);
  fc_fleet_result_free(r);
}

/* Priorities outside 0 ... 9 count as the nearest. */
Test(queue, priorities_are_clamped) {
  scene s;
  set(&s);
  s.run[0] = fake_run("low", &s.model, START, 80, 80 * 100 * 10 * 86400.0);
  s.run[0].priority = 1000;
  s.run[1] = fake_run("high", &s.model, START + FC_DAY, 80, 80 * 100 * 86400.0);
  s.run[1].priority = -1000;
  s.def.n_runs = 2;
  fc_fleet_result *r = look_run(&s.def, 1);
  const fc_job_row *job;
  fc_fleet_jobs(r, &job);
  cr_assert_eq(job[1].start, START + FC_DAY);
  fc_fleet_result_free(r);
}
