/* SPDX-License-Identifier: Apache-2.0 */
/* Speed of the fleet: 10^6 accelerators in six pools, five services by the hour, four job streams, other AI,
 * failures and preemption, three years of hourly epochs.  L1 is answered by the tests' stand-ins: its time is
 * not the fleet's.
 *
 *      bench_fleet [JOBS [REPEATS [LOAD]]]      default 100000 3 1;  --quick: 5000 1
 *
 *  LOAD scales the work of the jobs: at 1 they ask for three tenths of the devices, at 4 for more than there
 * are. */
#include <fleetcast/fleet/run.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../unit/fleet/fakes.h"

enum { POOLS = 6, SERVICES = 5, STREAMS = 4, RUNS = 3 };

#define START   (19723 * FC_DAY) /* 2024-01-01 */
#define LENGTH  (1096 * FC_DAY)  /* three years: 26,304 hours */
#define DEVICES 1e6

typedef struct scene {
  fake_profile profile[POOLS];
  fc_delivery delivery[POOLS][2];
  fc_pool_def pool[POOLS];
  fc_model model;
  fc_shape shape;
  fc_series_point demand[SERVICES][2], rate[STREAMS], share;
  fc_service_def service[SERVICES];
  fc_run_def run[RUNS];
  fc_stream_def stream[STREAMS];
  fc_other_def other;
  fc_fleet_def def;
} scene;

static void supply(scene *s) {
  static const char *const name[POOLS] = {"h100", "b200", "mi300x", "tpu-v6e", "h20", "a100"};
  for (int p = 0; p < POOLS; p++) {
    fake_device d = fake_plain;
    d.name = name[p];
    d.node = 8;
    d.h100e = 0.5 + 0.5 * p;
    d.train = 100 * d.h100e;
    fake_profile_make(&s->profile[p], &d);
    s->delivery[p][0] = (fc_delivery){.date = START - 100 * FC_DAY, .devices = DEVICES / POOLS / 2};
    s->delivery[p][1] = (fc_delivery){.date = START, .over_s = 300 * 86400.0, .devices = DEVICES / POOLS / 2};
    s->pool[p] = fake_pool(name[p], &s->profile[p], s->delivery[p], 2);
    s->pool[p].device_mtbf_s = 50700 * 3600.0;
  }
}

static void demand(scene *s) {
  static const char *const name[SERVICES] = {"chat", "api", "search", "code", "agents"};
  for (int h = 0; h < 168; h++) s->shape.factor[h] = 1 + 0.6 * sin(2 * 3.14159265358979 * h / 24);
  for (int i = 0; i < SERVICES; i++) {
    double devices = DEVICES * 0.03 * (1 + i);
    s->demand[i][0] = (fc_series_point){START, devices / 2.8e-3 / 8};
    s->demand[i][1] = (fc_series_point){START + LENGTH, devices / 2.8e-3 * 1.5};
    fc_series tokens = {.interp = FC_SERIES_LOG, .n = 2, .point = s->demand[i]};
    s->service[i] = fake_service(name[i], &s->model, tokens);
    s->service[i].shape = &s->shape;
    s->service[i].burst_sigma = 0.2;
    s->service[i].burst_time_s = 3600;
    s->service[i].headroom = 0.1;
  }
}

static void work(scene *s, double jobs, double load) {
  static const char *const name[STREAMS] = {"experiments", "tuning", "post", "sweeps"};
  for (int i = 0; i < STREAMS; i++) {
    double work_s =
        0.3 * load * DEVICES * fc_time_to_s(LENGTH) / jobs * 1.75; /* of 1.75 H100e a device on average */
    fc_dist size = fc_dist_lognormal_p90(work_s * 0.5, work_s * 2);
    fc_dist gang = fc_dist_lognormal_p90(256, 2048);
    gang.min = 8, gang.max = 16384;
    s->stream[i] = fake_stream(name[i], &s->model,
                               fake_series(&s->rate[i], jobs / STREAMS / fc_time_to_s(LENGTH)), size, gang);
    s->stream[i].priority = 3 + i;
    s->stream[i].failure = (fc_failure){
        .device_mtbf_s = 50700 * 3600.0, .restart_s = 600, .checkpoint_s = 1800, .checkpoint_write_s = 10};
  }
  for (int i = 0; i < RUNS; i++) {
    s->run[i] = fake_run("frontier", &s->model, START + i * 200 * FC_DAY, 32768, 32768 * 100 * 90 * 86400.0);
    s->run[i].failure = s->stream[0].failure;
    s->run[i].priority = 0;
    s->run[i].preemptible = false;
  }
}

static void make(scene *s, double jobs, double load) {
  memset(s, 0, sizeof *s);
  s->model = fake_model(7168, 1);
  supply(s);
  demand(s);
  work(s, jobs, load);
  s->other = (fc_other_def){.name = "ads", .share = fake_series(&s->share, 0.1)};
  s->def = (fc_fleet_def){.name = "bench",
                          .start = START,
                          .end = START + LENGTH,
                          .epoch_s = 3600,
                          .seed = 1,
                          .bucket = FC_BUCKET_MONTH,
                          .n_pools = POOLS,
                          .pools = s->pool,
                          .n_services = SERVICES,
                          .services = s->service,
                          .n_runs = RUNS,
                          .runs = s->run,
                          .n_streams = STREAMS,
                          .streams = s->stream,
                          .n_others = 1,
                          .others = &s->other};
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void cpu_name(char *out, size_t size) {
  snprintf(out, size, "unknown CPU");
  FILE *file = fopen("/proc/cpuinfo", "r");
  char line[256];
  while (file && fgets(line, sizeof line, file))
    if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
      snprintf(out, size, "%.*s", (int)strcspn(strchr(line, ':') + 2, "\n"), strchr(line, ':') + 2);
      break;
    }
  if (file) fclose(file);
}

static void print_shares(const fc_fleet_result *r) {
  double sum[FC_CATEGORY_COUNT] = {0}, all = 0;
  const fc_account *account;
  size_t n = fc_fleet_accounts(r, &account);
  for (size_t a = 0; a < n; a++)
    for (size_t b = 0; b < fc_fleet_buckets(r); b++)
      sum[account[a].category] += fc_fleet_account_cell(r, a, b).device_s;
  for (int c = 0; c < FC_CATEGORY_COUNT; c++) all += sum[c];
  for (int c = 0; c < FC_CATEGORY_COUNT; c++)
    if (sum[c] > 0) printf("  %s %.1f %%", fc_category_text((fc_category)c), 100 * sum[c] / all);
  printf("\n");
}

static int once(const scene *s, int repeat) {
  fc_fleet_result *r;
  double before = seconds();
  fc_status st = fc_fleet_run(&r, &s->def, NULL, NULL);
  double wall = seconds() - before;
  if (st) {
    fprintf(stderr, "bench_fleet: %s %s\n", fc_status_text(st), r ? fc_fleet_result_law(r) : "");
    fc_fleet_result_free(r);
    return 1;
  }
  const fc_job_row *job;
  size_t jobs = fc_fleet_jobs(r, &job), done = 0;
  int64_t failures = 0, preemptions = 0;
  for (size_t j = 0; j < jobs; j++) {
    done += job[j].state == FC_JOB_DONE;
    failures += job[j].failures;
    preemptions += job[j].preemptions;
  }
  double events = (double)fc_fleet_events_executed(r);
  if (repeat == 0) {
    printf("jobs %zu (%zu done), failures %lld, preemptions %lld, events %.0f\n", jobs, done,
           (long long)failures, (long long)preemptions, events);
    print_shares(r);
  }
  printf("%.3f s  %.0f events/s  %.0f jobs/s\n", wall, events / wall, (double)jobs / wall);
  fc_fleet_result_free(r);
  return 0;
}

int main(int argc, char **argv) {
  bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
  double jobs = quick ? 5000 : argc > 1 ? strtod(argv[1], NULL) : 1e5;
  int repeats = quick ? 1 : argc > 2 ? (int)strtol(argv[2], NULL, 10) : 3;
  double load = !quick && argc > 3 ? strtod(argv[3], NULL) : 1;
  static scene s;
  char cpu[128];
  cpu_name(cpu, sizeof cpu);
  make(&s, jobs, load);
  printf("%s, one core; %.0f devices, %d pools, %lld epochs\n", cpu, DEVICES, POOLS,
         (long long)(LENGTH / FC_HOUR));
  for (int i = 0; i < repeats; i++)
    if (once(&s, i)) return 1;
  return 0;
}
