/* SPDX-License-Identifier: Apache-2.0 */
/* The step stage by stage against the closed form, and as a distribution. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include <fleetcast/cost/train_step.h>
#include <fleetcast/train/step.h>

#include "fixture_models.h"

static fc_train_plan v3(fc_schedule schedule, int64_t pp) {
  return (fc_train_plan){.devices = 2048,
                         .tp = 1,
                         .pp = pp,
                         .cp = 1,
                         .ep = 64,
                         .virtual_stages = 1,
                         .micro_batch = 1,
                         .global_batch = 15360,
                         .sequence = 4096,
                         .zero = 1,
                         .schedule = schedule,
                         .recompute = FC_RECOMPUTE_SELECTIVE,
                         .gemm = FC_DTYPE_FP8,
                         .expert_imbalance = 1,
                         .overlap = 1};
}

static fc_train_plan llama(fc_schedule schedule, int64_t chunks) {
  return (fc_train_plan){.devices = 512,
                         .tp = 8,
                         .pp = 8,
                         .cp = 2,
                         .ep = 1,
                         .virtual_stages = chunks,
                         .micro_batch = 1,
                         .global_batch = 1152,
                         .sequence = 8192,
                         .zero = 1,
                         .schedule = schedule,
                         .gemm = FC_DTYPE_FP8,
                         .tensor_scales = true,
                         .overlap = 0.8};
}

static fc_train_simulation simulate(const fc_model *model, const fc_profile *profile,
                                    const fc_train_plan *plan) {
  fc_train_simulation s;
  char why[256];
  cr_assert_eq(fc_train_step_simulate(&s, model, profile, plan, why), FC_OK, "%s: %s", model->name, why);
  return s;
}

Test(step, closed_form_against_the_graph) {
  /* bounds: uneven stages wait for each other; ZB1P's formula counts forwards, input and weight gradients as
   * equally long, which these are not */
  const struct {
    const fc_model *model;
    const fc_profile *profile;
    fc_train_plan plan;
    double bound;
  } cases[] = {
      {&fixture_llama_405b, &fixture_h100_profile, llama(FC_SCHEDULE_1F1B, 1), 0.01},
      {&fixture_llama_405b, &fixture_h100_profile, llama(FC_SCHEDULE_INTERLEAVED, 4), 0.01},
      {&fixture_llama_405b, &fixture_h100_profile, llama(FC_SCHEDULE_INTERLEAVED, 8), 0.01},
      {&fixture_deepseek_v3, &fixture_h800_profile, v3(FC_SCHEDULE_1F1B, 16), 0.03},
      {&fixture_deepseek_v3, &fixture_h800_profile, v3(FC_SCHEDULE_ZB1P, 16), 0.04},
      {&fixture_deepseek_v3, &fixture_h800_profile, v3(FC_SCHEDULE_DUALPIPE, 16), 0.01},
      {&fixture_deepseek_v3, &fixture_h800_profile, v3(FC_SCHEDULE_DUALPIPEV, 8), 0.01},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fc_train_simulation s = simulate(cases[i].model, cases[i].profile, &cases[i].plan);
    cr_assert(fabs(s.closed_s / s.seconds - 1) <= cases[i].bound, "case %zu: closed %g s, graph %g s", i,
              s.closed_s, s.seconds);
    cr_assert(s.makespan_s < s.seconds && s.idle_s > 0 && s.idle_s < s.makespan_s && s.peak >= 1);
    cr_assert(s.least_layers <= s.most_layers && s.most_layers - s.least_layers <= 8);
  }
}

Test(step, dualpipe_pairs_and_one_f_one_b_does_not) {
  fc_train_plan plan = v3(FC_SCHEDULE_DUALPIPE, 16);
  fc_train_simulation pair = simulate(&fixture_deepseek_v3, &fixture_h800_profile, &plan);
  plan.schedule = FC_SCHEDULE_1F1B;
  fc_train_simulation plain = simulate(&fixture_deepseek_v3, &fixture_h800_profile, &plan);
  cr_assert(pair.critical.pair_s > 0.5 * pair.makespan_s && plain.critical.pair_s == 0);
  cr_assert(pair.peak == 17 && plain.peak == 16);
  cr_assert(plain.critical.hand_over_s > 0 && pair.critical.hand_over_s == 0);
}

Test(step, refuses_with_a_reason) {
  fc_train_simulation s;
  char why[256];
  fc_train_plan plan = v3(FC_SCHEDULE_DUALPIPE, 16);
  plan.global_batch = 128 * 31;
  cr_assert_eq(fc_train_step_simulate(&s, &fixture_deepseek_v3, &fixture_h800_profile, &plan, why),
               FC_E_DOMAIN);
  cr_assert(strstr(why, "DualPipe"), "%s", why);
  plan = v3(FC_SCHEDULE_1F1B, 16);
  plan.global_batch = 128 * (int64_t)1000000;
  cr_assert_eq(fc_train_step_simulate(&s, &fixture_deepseek_v3, &fixture_h800_profile, &plan, why),
               FC_E_DOMAIN);
  cr_assert(strstr(why, "passes"), "%s", why);
}

static fc_step_distribution distribution(const fc_train_plan *plan, fc_step_jitter j, uint64_t seed) {
  fc_step_distribution d;
  cr_assert_eq(
      fc_train_step_distribution(&d, &fixture_llama_405b, &fixture_h100_profile, plan, &j, seed, 300, NULL),
      FC_OK);
  cr_assert(d.median_s <= d.p99_s && d.p99_s <= d.max_s && d.cv >= 0);
  return d;
}

Test(step, distribution_is_of_the_order_that_mlperf_saw) {
  /* MLPerf Training v5.0, 405B on 512 devices: cv 0.0063, 0.0149, 0.0239; p99 over median 1.005, 1.007, 1.039
   */
  fc_train_plan plan = llama(FC_SCHEDULE_INTERLEAVED, 8);
  fc_step_distribution d = distribution(&plan, fc_step_jitter_usual(), 1);
  cr_assert(d.cv >= 0.0063 && d.cv <= 0.0239, "cv %g", d.cv);
  cr_assert(d.p99_s / d.median_s > 1.003 && d.p99_s / d.median_s < 1.06, "p99 %g", d.p99_s / d.median_s);
  cr_assert(d.cv_straggler > d.cv_common && d.cv_common > d.cv_kernel && d.cv_experts == 0);
  double all = sqrt(d.cv_straggler * d.cv_straggler + d.cv_common * d.cv_common + d.cv_kernel * d.cv_kernel);
  cr_assert(fabs(d.cv / all - 1) < 0.1, "terms %g, together %g", all, d.cv);
  fc_step_distribution same = distribution(&plan, fc_step_jitter_usual(), 1);
  cr_assert_eq(memcmp(&same, &d, sizeof d), 0, "the same seed, other draws");
  fc_step_distribution other = distribution(&plan, fc_step_jitter_usual(), 2);
  cr_assert_neq(other.mean_s, d.mean_s);
}

Test(step, no_jitter_is_the_simulation) {
  fc_train_plan plan = llama(FC_SCHEDULE_1F1B, 1);
  fc_step_distribution d = distribution(&plan, (fc_step_jitter){0}, 1);
  fc_train_simulation s = simulate(&fixture_llama_405b, &fixture_h100_profile, &plan);
  cr_assert(fabs(d.mean_s / s.seconds - 1) < 1e-12 && d.cv < 1e-12 && d.max_s == d.median_s);
  d = distribution(&plan, (fc_step_jitter){.straggler_rate = 1, .straggler_share = 0.5}, 1);
  cr_assert(fabs(d.mean_s / s.seconds - 1.5) < 0.1, "every step stalls for half of itself: %g",
            d.mean_s / s.seconds);
}

Test(step, experts_popularity) {
  fc_train_plan plan = v3(FC_SCHEDULE_DUALPIPE, 16);
  double even = fc_train_expert_imbalance(&fixture_deepseek_v3, &plan, 0);
  double free_ = fc_train_expert_imbalance(&fixture_deepseek_v3, &plan, FC_STEP_POPULARITY_SD_FREE);
  double loss = fc_train_expert_imbalance(&fixture_deepseek_v3, &plan, FC_STEP_POPULARITY_SD_LOSS);
  cr_assert(even > 1 && even < 1.05 && free_ > even && free_ < 1.1 && loss > 1.2 && loss < 1.8, "%g %g %g",
            even, free_, loss);
  plan.micro_batch = 4;
  plan.global_batch *= 4;
  cr_assert_lt(fc_train_expert_imbalance(&fixture_deepseek_v3, &plan, 0), even, "more tokens even out");
  fc_train_plan dense = llama(FC_SCHEDULE_1F1B, 1);
  cr_assert_eq(fc_train_expert_imbalance(&fixture_llama_405b, &dense, 1), 1);
  fc_step_distribution d[2];
  const double sd[] = {FC_STEP_POPULARITY_SD_FREE, FC_STEP_POPULARITY_SD_LOSS};
  for (int i = 0; i < 2; i++)
    cr_assert_eq(fc_train_step_distribution(&d[i], &fixture_deepseek_v3, &fixture_h800_profile, &plan,
                                            &(fc_step_jitter){.popularity_sd = sd[i]}, 1, 30, NULL),
                 FC_OK);
  cr_assert(d[1].cv > d[0].cv && d[0].cv > 0 && d[1].cv_experts == d[1].cv);
}

/* Nothing is gained by more devices that all wait; one has nobody to wait for. */
Test(step, the_slowest_of_more_devices_is_slower) {
  cr_assert_eq(fc_train_slowest(1), 0);
  double before = 0;
  for (double n = 2; n <= 65536; n *= 2) {
    double slow = fc_train_slowest(n);
    cr_assert(slow > before && slow < 0.08, "%g devices: %g", n, slow);
    before = slow;
  }
  /* expected largest of 100 standard normals: 2.508 (tables of order statistics) */
  cr_assert_float_eq(fc_train_slowest(100), 2.508 * FC_TRAIN_DEVICE_SD, 0.02 * FC_TRAIN_DEVICE_SD);
}

Test(step, stalls_come_with_devices) {
  fc_step_jitter j = fc_step_jitter_usual();
  cr_assert_float_eq(fc_step_stall_rate(&j, 512), j.straggler_rate, 1e-12);
  double twice = 1 - (1 - j.straggler_rate) * (1 - j.straggler_rate);
  cr_assert_float_eq(fc_step_stall_rate(&j, 1024), twice, 1e-12);
  cr_assert(fc_step_stall_rate(&j, 1e9) <= 1);
}

/* A fixed plan on more data-parallel ranks: the step's spread grows with the devices that may stall. */
Test(step, larger_runs_vary_more) {
  fc_train_plan small = llama(FC_SCHEDULE_1F1B, 1), large = small;
  large.devices *= 8;
  large.global_batch *= 8;
  fc_step_jitter stalls = {.straggler_rate = 0.007, .straggler_share = 0.14};
  fc_step_distribution a = distribution(&small, stalls, 3), b = distribution(&large, stalls, 3);
  cr_assert(b.cv > 1.5 * a.cv && b.mean_s / b.median_s > a.mean_s / a.median_s, "%g against %g", b.cv, a.cv);
}
