/* SPDX-License-Identifier: Apache-2.0 */
/* How many L1 evaluations a second one core does: training steps, serving iterations, capacities, plan
 * searches and schedule graphs of DeepSeek-V3; how many training plans it tries.  Every call has other inputs
 * and every result is used.  Usage: bench_cost [SECONDS] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <fleetcast/cost/serve_step.h>
#include <fleetcast/cost/train_step.h>
#include <fleetcast/serve/capacity.h>
#include <fleetcast/train/plan_search.h>
#include <fleetcast/train/run.h>
#include <fleetcast/train/schedule.h>
#include <fleetcast/train/step.h>

#include "fixture_models.h"

/* Processor time, so that a busy machine does not count against the code. */
static double now_s(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void cpu_name(char *out, size_t capacity) {
  (void)snprintf(out, capacity, "unknown CPU");
  FILE *f = fopen("/proc/cpuinfo", "r");
  if (!f) return;
  char line[256];
  while (fgets(line, sizeof line, f)) {
    const char *colon = strchr(line, ':');
    if (strncmp(line, "model name", 10) != 0 || !colon) continue;
    (void)snprintf(out, capacity, "%s", colon + 2);
    out[strcspn(out, "\n")] = '\0';
    break;
  }
  (void)fclose(f);
}

/* Each case: seconds (or rate) of call i; 0 is a failure. */
static double train_step(uint64_t i) {
  fc_train_plan plan = {
      .devices = 2048, .tp = 1, .pp = 16, .cp = 1, .ep = 64, .virtual_stages = 1, .micro_batch = 1};
  plan.global_batch = 128 * (32 + 2 * (int64_t)(i % 64));
  plan.sequence = 2048 + 16 * (int64_t)(i / 64 % 128);
  plan.zero = 1;
  plan.schedule = FC_SCHEDULE_DUALPIPE;
  plan.recompute = FC_RECOMPUTE_SELECTIVE;
  plan.gemm = FC_DTYPE_FP8;
  plan.overlap = 1;
  plan.expert_imbalance = 1 + 1e-3 * (double)(i % 101);
  fc_train_step step;
  return fc_cost_train_step(&step, &fixture_deepseek_v3, &fixture_h800_profile, &plan) == FC_OK ? step.seconds
                                                                                                : 0;
}

static fc_serve_plan wide(int64_t n) {
  return (fc_serve_plan){.devices = n,
                         .tp = 1,
                         .attention_dp = n,
                         .ep = n,
                         .gemm = FC_DTYPE_FP8,
                         .kv = FC_DTYPE_BF16,
                         .expert_imbalance = 1.2,
                         .two_batch_overlap = true,
                         .memory_fraction = 0.9};
}

static double decode_iteration(uint64_t i) {
  fc_serve_plan plan = wide(144);
  fc_serve_load load = {.decode_requests = 144 * (1 + (double)(i % 255)),
                        .decode_context = 1000 + (double)(i % 8191)};
  fc_serve_iteration it;
  return fc_cost_serve_iteration(&it, &fixture_deepseek_v3, &fixture_h800_profile, &plan, &load) == FC_OK
             ? it.seconds
             : 0;
}

static double prefill_iteration(uint64_t i) {
  fc_serve_plan plan = wide(32);
  fc_serve_load load = {.prefill_tokens = 32 * (512 + (double)(i % 8191)),
                        .prefill_context = (double)(i % 1021)};
  fc_serve_iteration it;
  return fc_cost_serve_iteration(&it, &fixture_deepseek_v3, &fixture_h800_profile, &plan, &load) == FC_OK
             ? it.seconds
             : 0;
}

static double capacity(uint64_t i) {
  fc_deployment deployment = {.automatic = true};
  fc_request_shape shape = {.input_tokens = 1000 + (double)(i % 4093),
                            .output_tokens = 500 + (double)(i % 1009)};
  fc_slo slo = {.ttft_s = 2, .tpot_s = 0.05};
  fc_serve_capacity c;
  return fc_serve_capacity_solve(&c, &fixture_deepseek_v3, &fixture_h800_profile, &deployment, &shape, &slo,
                                 NULL) == FC_OK
             ? c.decode_tokens_per_s
             : 0;
}

static double search(uint64_t i) {
  fc_train_plan wish = {.sequence = 4096 + 64 * (int64_t)(i % 63)};
  fc_failure failure = {.device_mtbf_s = 50700 * 3600.0, .restart_s = 600, .checkpoint_write_s = 5};
  fc_train_estimate e;
  return fc_train_estimate_auto(&e, &fixture_deepseek_v3, &fixture_h800_profile, &wish, 2048, &failure,
                                NULL) == FC_OK
             ? e.step_s
             : 0;
}

static double simulated(uint64_t i) {
  fc_train_plan plan = {
      .devices = 2048, .tp = 1, .pp = 16, .cp = 1, .ep = 64, .virtual_stages = 1, .micro_batch = 1};
  plan.global_batch = 15360;
  plan.sequence = 2048 + 16 * (int64_t)(i % 128);
  plan.zero = 1;
  plan.schedule = FC_SCHEDULE_DUALPIPE;
  plan.recompute = FC_RECOMPUTE_SELECTIVE;
  plan.gemm = FC_DTYPE_FP8;
  plan.overlap = 1;
  fc_train_simulation s;
  return fc_train_step_simulate(&s, &fixture_deepseek_v3, &fixture_h800_profile, &plan, NULL) == FC_OK
             ? s.seconds
             : 0;
}

/* Schedules of 16 ranks and 120 micro-batches (112 or 128 where ranks must divide them), other times at every
 * run. */
static int run_pipeline(const char *name, fc_schedule schedule, int64_t chunks, int64_t micro,
                        double seconds) {
  enum { RANKS = 16, STAGES_MAX = 64 };
  fc_pipeline *pipeline;
  if (fc_pipeline_new(&pipeline, schedule, RANKS, chunks, micro) != FC_OK) return 1;
  fc_stage_pass stage[STAGES_MAX];
  double start = now_s(), spent = 0, sum = 0;
  uint64_t n = 0;
  for (; spent < seconds; n++, spent = now_s() - start) {
    for (int k = 0; k < STAGES_MAX; k++) {
      double t = 1 + 1e-3 * (double)((n + (uint64_t)k) % 101);
      stage[k] = (fc_stage_pass){t, t, t, 0.9 * t, 1.8 * t};
    }
    fc_pipeline_run played;
    fc_pipeline_play(&played, pipeline, stage, 0.01, NULL);
    sum += played.makespan_s;
  }
  fc_pipeline_free(pipeline);
  (void)printf(
      "%-18s %10.0f /s  %8.2f us each  (%llu graphs of 16 ranks x %d micro-batches, checksum %.9g)\n", name,
      (double)n / spent, spent / (double)n * 1e6, (unsigned long long)n, (int)micro, sum);
  return !(sum > 0);
}

/* Every plan of DeepSeek-V3 on 2,048 H800, by one thread; another number of tokens each time. */
static int run_plans(double seconds) {
  static const int64_t counts[] = {2048}, batch[] = {15360};
  fc_train_search_device device = {"h800", &fixture_h800_profile, 2 / 3600.0, 1, counts};
  fc_train_search_def def = {
      .model = &fixture_deepseek_v3,
      .n_devices = 1,
      .devices = &device,
      .global_batch = {1, batch},
      .failure = {.device_mtbf_s = 50700 * 3600.0, .restart_s = 600, .checkpoint_write_s = 5},
      .margin = FC_TRAIN_SEARCH_MARGIN,
      .threads = 1};
  double start = now_s(), spent = 0, sum = 0;
  uint64_t searches = 0, plans = 0;
  for (; spent < seconds; searches++, spent = now_s() - start) {
    fc_train_search_result r;
    def.tokens = 14.8e12 + (double)searches;
    if (fc_train_search_run(&r, &def, NULL) != FC_OK || !r.n_feasible_groups) return 1;
    plans += r.tried;
    sum += r.best[0].usd;
    fc_train_search_result_fini(&r);
  }
  (void)printf("%-18s %10.0f /s  %8.2f us each  (%llu searches of %llu plans, checksum %.9g)\n",
               "train plans", (double)plans / spent, spent / (double)plans * 1e6,
               (unsigned long long)searches, (unsigned long long)(plans / searches), sum);
  return 0;
}

static int run(const char *name, double (*call)(uint64_t), double seconds) {
  double start = now_s(), sum = 0, spent = 0;
  uint64_t n = 0, failed = 0;
  for (uint64_t batch = 1; spent < seconds; batch *= 2) {
    for (uint64_t i = 0; i < batch; i++, n++) {
      double value = call(n);
      failed += !(value > 0);
      sum += value;
    }
    spent = now_s() - start;
    if (batch > 1024) batch = 1024;
  }
  (void)printf("%-18s %10.0f /s  %8.2f us each  (%llu calls, checksum %.9g)\n", name, (double)n / spent,
               spent / (double)n * 1e6, (unsigned long long)n, sum);
  if (failed) (void)printf("%s: %llu calls failed\n", name, (unsigned long long)failed);
  return failed != 0;
}

int main(int argc, char **argv) {
  double seconds = argc > 1 ? (strcmp(argv[1], "--quick") == 0 ? 0.05 : strtod(argv[1], NULL)) : 1;
  char cpu[128];
  cpu_name(cpu, sizeof cpu);
  (void)printf("%s, one core\n", cpu);
  int failed = run("train step", train_step, seconds);
  failed |= run("decode iteration", decode_iteration, seconds);
  failed |= run("prefill iteration", prefill_iteration, seconds);
  failed |= run("capacity, auto", capacity, seconds);
  failed |= run("train plan search", search, seconds);
  failed |= run("train step, graph", simulated, seconds);
  failed |= run_plans(seconds);
  failed |= run_pipeline("1f1b", FC_SCHEDULE_1F1B, 1, 120, seconds);
  failed |= run_pipeline("interleaved x 4", FC_SCHEDULE_INTERLEAVED, 4, 128, seconds);
  failed |= run_pipeline("zb1p", FC_SCHEDULE_ZB1P, 1, 120, seconds);
  failed |= run_pipeline("dualpipe", FC_SCHEDULE_DUALPIPE, 1, 120, seconds);
  failed |= run_pipeline("dualpipev", FC_SCHEDULE_DUALPIPEV, 1, 120, seconds);
  return failed;
}
