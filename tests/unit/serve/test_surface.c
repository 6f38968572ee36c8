/* SPDX-License-Identifier: Apache-2.0 */
/* The capacity surface where the truth is known, and the answers that the fleet reads. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fleetcast/base/file.h>
#include <fleetcast/serve/surface.h>

#include "fixture_models.h"

static const fc_slo no_objective = {(double)INFINITY, (double)INFINITY};

/* --- one server, one prompt at a time, 0.1 s each: M/D/1 --- */

static const fc_step_coefficients one_at_a_time = {.base_s = 0.1};

static fc_surface_def server(const fc_step_coefficients *times) {
  fc_surface_def d = {.instance = FC_INSTANCE_PREFILL,
                      .plan = {.devices = 1, .tp = 1, .attention_dp = 1, .ep = 1},
                      .shape = {.input_tokens = 100, .output_tokens = 10},
                      .seed = 1,
                      .completions = 20000,
                      .step = fc_step_linear,
                      .context = times,
                      .kv_blocks = 100000};
  cr_assert(fc_serve_policy_named(&d.policy, "vllm"));
  d.policy.max_batch = 64;
  d.policy.token_budget = 100;
  return d;
}

static double md1(double rate) {
  return 0.1 + 0.1 * 0.1 * rate / (2 * (1 - 0.1 * rate));
}

static fc_surface *fitted(const fc_surface_def *def, const double *rates, size_t n) {
  fc_surface *s;
  cr_assert_eq(fc_surface_new(&s, def), FC_OK);
  for (size_t i = 0; i < n; i++) cr_assert_eq(fc_surface_add(s, rates[i]), FC_OK);
  cr_assert_eq(fc_surface_fit(s), FC_OK);
  return s;
}

static const double design[] = {3, 5, 7, 8, 9};
enum { DESIGN = sizeof design / sizeof *design };

Test(surface, finds_md1_between_its_points) {
  fc_surface_def d = server(&one_at_a_time);
  int outside = 0, all = 0;
  for (uint64_t seed = 1; seed <= 12; seed++) {
    d.seed = seed;
    fc_surface *s = fitted(&d, design, DESIGN);
    for (double rate = 3.5; rate < 9; rate += 1) {
      fc_surface_value v = fc_surface_at(s, rate);
      double error = log(v.ttft_s / md1(rate));
      cr_assert(!v.outside && v.ttft_log_sd > 0);
      cr_expect(!(fabs(error) > 0.01 + 4 * v.ttft_log_sd) && v.ttft_log_sd < 0.25,
                "seed %d, rate %g: %g s, exact %g s", (int)seed, rate, v.ttft_s, md1(rate));
      outside += !(fabs(error) <= 1.96 * v.ttft_log_sd);
      all++;
    }
    fc_surface_free(s);
  }
  cr_expect_leq(outside, all / 8, "%d of %d outside their 95 %% interval", outside, all);
}

/* 0.3 s: a wait of 0.2 s, at a load of 0.8. */
Test(surface, inverts_md1) {
  fc_surface_def d = server(&one_at_a_time);
  fc_surface *s = fitted(&d, design, DESIGN);
  fc_slo slo = {0.3, (double)INFINITY};
  double rate = fc_surface_rate(s, &slo, 0), low = fc_surface_rate(s, &slo, 2),
         high = fc_surface_rate(s, &slo, -2);
  cr_expect(!(fabs(rate / 8 - 1) > 0.02), "%g", rate);
  cr_expect(low <= rate && rate <= high && low < high, "%g, %g, %g", low, rate, high);
  fc_surface_free(s);
}

Test(surface, is_flat_or_rising_and_tells_its_hull) {
  fc_surface_def d = server(&one_at_a_time);
  d.completions = 300; /* so noisy that points fall */
  fc_surface *s = fitted(&d, design, DESIGN);
  double low, high, before = 0;
  fc_surface_hull(s, &low, &high);
  cr_expect_eq(low, 3);
  for (double rate = low; rate <= high; rate *= 1.01) {
    fc_surface_value v = fc_surface_at(s, rate);
    cr_expect(v.ttft_s >= before, "%g s at %g, %g s before", v.ttft_s, rate, before);
    cr_expect_not(v.outside);
    before = v.ttft_s;
  }
  cr_expect(fc_surface_at(s, 0.9 * low).outside);
  cr_expect(fc_surface_at(s, 1.1 * high).outside);
  cr_expect_eq(fc_surface_at(s, 1.1 * high).ttft_s, fc_surface_at(s, high).ttft_s, "no extrapolation");
  cr_expect_eq(fc_surface_rate(s, &no_objective, 0), high);
  cr_expect_eq(fc_surface_rate(s, &(fc_slo){0.05, 1}, 0), 0, "less than a prompt takes");
  fc_surface_free(s);
}

/* What piles up is no point of the emulator. */
Test(surface, leaves_overload_out) {
  fc_surface_def d = server(&one_at_a_time);
  fc_surface *s = fitted(&d, design, DESIGN);
  cr_assert_eq(fc_surface_add(s, 14), FC_OK);
  cr_assert_eq(fc_surface_fit(s), FC_OK);
  const fc_surface_run *run;
  cr_expect_eq(fc_surface_points(s, &run), DESIGN + 1);
  cr_expect(run[DESIGN].overloaded);
  cr_expect(!(fabs(run[DESIGN].throughput_per_s - 10) > 0.05), "%g", run[DESIGN].throughput_per_s);
  double low, high;
  fc_surface_hull(s, &low, &high);
  cr_expect_eq(high, 9);
  fc_surface_free(s);
  s = fitted(&d, design, 1);
  fc_surface_free(s);
  cr_assert_eq(fc_surface_new(&s, &d), FC_OK);
  cr_assert_eq(fc_surface_add(s, 20), FC_OK);
  cr_expect_eq(fc_surface_fit(s), FC_E_DOMAIN, "nothing but overload");
  fc_surface_free(s);
}

/* All times halved: twice the rate at half the objective, to rounding of nanoseconds. */
Test(surface, twice_as_fast_serves_twice) {
  const fc_step_coefficients slow = {.base_s = 0.02, .decode_request_s = 1e-4, .prefill_token_s = 1e-5},
                             fast = {.base_s = 0.01, .decode_request_s = 5e-5, .prefill_token_s = 5e-6};
  const fc_step_coefficients *times[] = {&slow, &fast};
  double rate[2];
  for (int i = 0; i < 2; i++) {
    fc_surface_def d = server(times[i]);
    d.instance = FC_INSTANCE_WHOLE;
    d.policy.token_budget = 2048;
    d.shape = (fc_request_shape){.input_tokens = 300, .output_tokens = 50, .input_cv = 1, .output_cv = 0.5};
    d.completions = 2000;
    double rates[] = {10, 20, 30, 35};
    for (int k = 0; k < 4; k++) rates[k] *= i + 1;
    fc_surface *s = fitted(&d, rates, 4);
    rate[i] = fc_surface_rate(s, &(fc_slo){0.05 / (i + 1), 0.0245 / (i + 1)}, 0);
    fc_surface_free(s);
  }
  cr_expect_gt(rate[0], 10);
  cr_expect(!(fabs(rate[1] / rate[0] / 2 - 1) > 1e-3), "%g and %g", rate[0], rate[1]);
}

/* Decode alone: a fixed iteration, then one request more makes it longer; Little's law. */
Test(surface, decode_steps_take_what_they_take) {
  const fc_step_coefficients flat = {.base_s = 0.02};
  fc_surface_def d = server(&flat);
  d.instance = FC_INSTANCE_DECODE;
  d.policy.max_batch = 512;
  d.policy.token_budget = 8192;
  d.shape = (fc_request_shape){.input_tokens = 300, .output_tokens = 100, .output_cv = 0.8};
  fc_surface *s;
  cr_assert_eq(fc_surface_new(&s, &d), FC_OK);
  fc_surface_run run;
  cr_assert_eq(fc_surface_simulate(&run, s, 50, 7), FC_OK);
  /* a request that comes waits for the next iteration: half of one more */
  cr_expect(run.tpot_s > 0.02 && run.tpot_s < 0.0212, "%g", run.tpot_s);
  cr_expect_eq(run.ttft_s, 0);
  cr_expect(!(fabs(run.in_flight / (50 * 100 * run.tpot_s) - 1) > 1e-9));
  cr_expect(!(fabs(run.throughput_per_s / 50 - 1) > 0.03), "%g", run.throughput_per_s);
  cr_expect_not(run.overloaded);
  fc_surface_free(s);
}

/* Points that are known already count as if simulated. */
Test(surface, takes_known_points) {
  fc_surface_def d = server(&one_at_a_time);
  d.completions = 500;
  fc_surface *s = fitted(&d, design, DESIGN), *again;
  const fc_surface_run *run;
  int n = fc_surface_points(s, &run);
  cr_assert_eq(fc_surface_new(&again, &d), FC_OK);
  for (int i = n; i-- > 0;) fc_surface_put(again, &run[i]);
  cr_assert_eq(fc_surface_fit(again), FC_OK);
  cr_expect_eq(fc_surface_at(again, 6).ttft_s, fc_surface_at(s, 6).ttft_s);
  fc_surface_free(s);
  fc_surface_free(again);
}

Test(surface, refuses_what_it_cannot_simulate) {
  fc_surface_def d = server(&one_at_a_time);
  fc_surface *s;
  d.kv_blocks = 2;
  cr_expect_eq(fc_surface_new(&s, &d), FC_E_INFEASIBLE);
  d = server(&one_at_a_time);
  d.shape.input_tokens = 0;
  cr_expect_eq(fc_surface_new(&s, &d), FC_E_DOMAIN);
  d = server(&one_at_a_time);
  d.shape.output_cv = -1;
  cr_expect_eq(fc_surface_new(&s, &d), FC_E_DOMAIN);
  atomic_int cancel = 1;
  d = server(&one_at_a_time);
  d.cancel = &cancel;
  cr_assert_eq(fc_surface_new(&s, &d), FC_OK);
  cr_expect_eq(fc_surface_add(s, 5), FC_E_CANCELLED);
  fc_surface_free(s);
}

/* --- over mixes --- */

static fc_surface_def mixed_instance(const fc_step_coefficients *times) {
  fc_surface_def d = server(times);
  d.instance = FC_INSTANCE_WHOLE;
  d.policy.token_budget = 2048;
  d.shape = (fc_request_shape){.input_cv = 0.5, .output_cv = 0.5};
  d.completions = 3000;
  return d;
}

static const fc_surface_box box = {
    .input_low = 200, .input_high = 800, .output_low = 30, .output_high = 120, .hit_low = 0, .hit_high = 0.5};
static const fc_step_coefficients mixed_times = {
    .base_s = 0.02, .decode_request_s = 1e-4, .prefill_token_s = 1e-5};

/* Mixes and loads that are not among the design's. */
Test(surface, a_map_agrees_with_direct_simulations) {
  fc_surface_def d = mixed_instance(&mixed_times);
  fc_slo slo = {0.08, 0.026};
  fc_surface_map *m;
  cr_assert_eq(fc_surface_map_new(&m, &d, &box, &slo, 32), FC_OK);
  int far = 0, all = 0;
  for (int i = 0; i < 12; i++) {
    fc_request_shape shape = {.input_tokens = 230 + 50 * (double)(i % 6) + 17 * i,
                              .output_tokens = 35 + 8 * (double)(11 - i),
                              .cache_hit = 0.04 * (double)(i % 5)};
    double rate = fc_surface_map_rate(m, &shape, &slo, 0) * (0.5 + 0.04 * i);
    cr_assert_gt(rate, 0);
    fc_surface_value v = fc_surface_map_at(m, &shape, rate);
    fc_surface_run run;
    cr_assert_eq(fc_surface_map_simulate(&run, m, &shape, rate, 99), FC_OK);
    double error = log(v.tpot_s / run.tpot_s), sd = hypot(v.tpot_log_sd, sqrt(run.tpot_var));
    cr_expect(!(fabs(error) > 0.05), "%d: TPOT %g s, direct %g s", i, v.tpot_s, run.tpot_s);
    far += !(fabs(error) <= 2 * sd + 0.005);
    error = log(v.ttft_s / run.ttft_s), sd = hypot(v.ttft_log_sd, sqrt(run.ttft_var));
    cr_expect(!(fabs(error) > 0.2), "%d: TTFT %g s, direct %g s", i, v.ttft_s, run.ttft_s);
    far += !(fabs(error) <= 2 * sd + 0.005);
    all += 2;
  }
  cr_expect_leq(far, all / 6, "%d of %d outside two spreads", far, all);
  fc_surface_map_free(m);
}

Test(surface, a_map_rises_and_tells_its_hull) {
  fc_surface_def d = mixed_instance(&mixed_times);
  fc_slo slo = {0.08, 0.026};
  d.completions = 300;
  fc_surface_map *m;
  cr_assert_eq(fc_surface_map_new(&m, &d, &box, &slo, 12), FC_OK);
  fc_request_shape shape = {.input_tokens = 400, .output_tokens = 60, .cache_hit = 0.2};
  double most = fc_surface_map_rate(m, &shape, &no_objective, 0), before = 0;
  cr_assert_gt(most, 0);
  for (double share = 0.5; share < 1; share += 0.05) {
    fc_surface_value v = fc_surface_map_at(m, &shape, share * most);
    cr_expect(!v.outside && v.tpot_s >= before, "%g s, %g s before", v.tpot_s, before);
    before = v.tpot_s;
  }
  cr_expect(fc_surface_map_at(m, &shape, 1.2 * most).outside);
  shape.input_tokens = 1000;
  cr_expect(fc_surface_map_at(m, &shape, 0.7 * most).outside);
  shape = (fc_request_shape){.input_tokens = 400, .output_tokens = 60, .cache_hit = 0.6};
  cr_expect(fc_surface_map_at(m, &shape, 0.7 * most).outside);
  fc_surface_map_free(m);
  fc_surface_box bad = box;
  bad.hit_high = 1;
  cr_expect_eq(fc_surface_map_new(&m, &d, &bad, &slo, 12), FC_E_DOMAIN);
  cr_expect_eq(fc_surface_map_new(&m, &d, &box, &slo, 3), FC_E_DOMAIN);
  cr_expect_eq(fc_surface_map_new(&m, &d, &box, &(fc_slo){0.001, 0.001}, 12), FC_E_INFEASIBLE);
}

/* --- the fleet's question, on a real model --- */

static const fc_request_shape chat = {
    .input_tokens = 2000, .output_tokens = 300, .cache_hit = 0.25, .input_cv = 0.96, .output_cv = 0.77};
static const fc_slo easy = {.ttft_s = 2, .tpot_s = 0.05};
static const fc_deployment tp4 = {.decode = {.devices = 4, .tp = 4, .attention_dp = 1, .ep = 1}};
static const fc_deployment apart = {.disaggregated = true,
                                    .prefill = {.devices = 4, .tp = 4, .attention_dp = 1, .ep = 1},
                                    .decode = {.devices = 4, .tp = 4, .attention_dp = 1, .ep = 1}};

static int simulations, notes;
static void simulated(void *context) {
  (void)context;
  simulations++;
}
static void noted(void *context, const char *text) {
  (void)context;
  cr_expect(strstr(text, "surface-"), "%s", text);
  notes++;
}

static fc_surface_options quick(void) {
  return (fc_surface_options){.seed = 1, .completions = 1500, .simulated = simulated, .note = noted};
}

static fc_serve_capacity ask(const fc_deployment *d, const fc_slo *slo, const fc_surface_options *o) {
  fc_serve_capacity c;
  char why[256];
  cr_assert_eq(fc_surface_capacity(&c, &fixture_llama_70b, &fixture_h800_profile, d, &chat, slo, o, why),
               FC_OK, "%s", why);
  return c;
}

Test(surface, agrees_with_a_direct_simulation) {
  fc_surface_options o = quick();
  o.completions = 4000;
  const fc_deployment *deployments[] = {&tp4, &apart};
  for (int i = 0; i < 2; i++) {
    fc_serve_capacity c = ask(deployments[i], &easy, &o);
    cr_assert(c.surface.used && c.surface.runs > 3);
    cr_expect_eq(c.deployment.disaggregated, i == 1);
    double sd = hypot(c.surface.prefill_error_sd, c.surface.prefill_log_sd);
    cr_expect(!(fabs(c.surface.prefill_error) > 3 * sd + 0.05), "%g +- %g", c.surface.prefill_error, sd);
    sd = hypot(c.surface.decode_error_sd, c.surface.decode_log_sd);
    cr_expect(!(fabs(c.surface.decode_error) > 3 * sd + 0.05), "%g +- %g", c.surface.decode_error, sd);
    cr_expect(c.ttft_s <= easy.ttft_s * (1 + 1e-9) && c.tpot_s <= easy.tpot_s * (1 + 1e-9), "%g s, %g s",
              c.ttft_s, c.tpot_s);
    cr_expect(c.prefill_log_sd > 0.1 && c.decode_log_sd > 0.1, "%g, %g", c.prefill_log_sd, c.decode_log_sd);
    /* the closed form knows no variance, but is no stranger */
    double closed = c.surface.closed_decode_tokens_per_s;
    cr_expect(c.decode_tokens_per_s > 0.5 * closed && c.decode_tokens_per_s < 1.3 * closed, "%g and %g",
              c.decode_tokens_per_s, closed);
    cr_expect(c.decode_watts > 70 && c.decode_watts <= 700 && c.prefill_watts > 70 && c.prefill_watts <= 700);
  }
}

Test(surface, looser_objectives_never_cost_capacity) {
  fc_surface_options o = quick();
  double before = 0;
  for (double k = 1; k < 3; k *= 1.3) {
    fc_slo slo = {easy.ttft_s, 0.035 * k};
    double rate = ask(&apart, &slo, &o).decode_tokens_per_s;
    cr_expect(rate >= before * 0.98, "%g, %g before", rate, before); /* within what a run's noise is */
    before = rate;
  }
}

Test(surface, keeps_the_closed_forms_refusal) {
  fc_serve_capacity c;
  fc_surface_options o = quick();
  char why[256], closed[256];
  fc_slo hard = {.ttft_s = 2, .tpot_s = 1e-3};
  simulations = 0;
  cr_expect_eq(
      fc_surface_capacity(&c, &fixture_llama_70b, &fixture_h800_profile, &tp4, &chat, &hard, &o, why),
      FC_E_INFEASIBLE);
  cr_expect_eq(
      fc_serve_capacity_solve(&c, &fixture_llama_70b, &fixture_h800_profile, &tp4, &chat, &hard, closed),
      FC_E_INFEASIBLE);
  cr_expect_str_eq(why, closed);
  cr_expect_eq(simulations, 0);
}

/* --- the cache --- */

static void expect_same(const fc_serve_capacity *a, const fc_serve_capacity *b) {
#define SAME(m) cr_expect(a->m == b->m, #m ": %a and %a", (double)a->m, (double)b->m)
  SAME(prefill_tokens_per_s);
  SAME(decode_tokens_per_s);
  SAME(ttft_s);
  SAME(tpot_s);
  SAME(decode_batch);
  SAME(kv_tokens);
  SAME(prefill_watts);
  SAME(decode_watts);
  SAME(prefill_log_sd);
  SAME(decode_log_sd);
  SAME(prefill_unit);
  SAME(decode_unit);
  SAME(prefill_utilisation);
  SAME(prefill_budget);
  SAME(surface.runs);
  SAME(surface.used);
  SAME(surface.prefill_log_sd);
  SAME(surface.decode_log_sd);
  SAME(surface.prefill_error);
  SAME(surface.decode_error);
  SAME(surface.prefill_error_sd);
  SAME(surface.cut);
  SAME(surface.direct_ttft_s);
  SAME(surface.direct_tpot_s);
  SAME(surface.closed_decode_tokens_per_s);
  SAME(deployment.disaggregated);
  SAME(deployment.decode.tp);
  SAME(deployment.decode.memory_fraction);
  SAME(deployment.decode.gemm);
  SAME(deployment.prefill.devices);
  SAME(deployment.speculative_tokens);
#undef SAME
  cr_expect_str_eq(a->prefill_limit, b->prefill_limit);
  cr_expect_str_eq(a->decode_limit, b->decode_limit);
}

/* The only file of a folder. */
static void only_file(char out[512], const char *folder) {
  char command[600];
  (void)snprintf(command, sizeof command, "ls '%s'", folder);
  FILE *p = popen(command, "r");
  char name[300] = "", more[300] = "";
  cr_assert(p && fgets(name, sizeof name, p), "no file in %s", folder);
  cr_assert_not(fgets(more, sizeof more, p), "%s and %s", name, more);
  (void)pclose(p);
  name[strcspn(name, "\n")] = '\0';
  cr_assert_lt(snprintf(out, 512, "%s/%s", folder, name), 512);
}

static void remove_folder(const char *folder) {
  char command[600];
  (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
  cr_assert_eq(system(command), 0);
}

Test(surface, a_cached_answer_is_the_answer) {
  char base[] = "/tmp/fc-surface-XXXXXX", folder[64], file[512];
  cr_assert(mkdtemp(base));
  (void)snprintf(folder, sizeof folder, "%s/deep/er", base);
  fc_surface_options o = quick();
  fc_serve_capacity fresh = ask(&apart, &easy, &o);
  o.cache = folder;
  simulations = notes = 0;
  fc_serve_capacity written = ask(&apart, &easy, &o);
  cr_expect_gt(simulations, 3);
  expect_same(&written, &fresh);
  simulations = 0;
  fc_serve_capacity read = ask(&apart, &easy, &o);
  cr_expect_eq(simulations, 0, "read, not simulated");
  expect_same(&read, &fresh);
  only_file(file, folder);
  char *text, *half;
  size_t length, rest;
  cr_assert_eq(fc_file_read(&text, &length, file, 1 << 20), FC_OK);
  /* cut short, changed in one digit, of another make: told, ignored, written anew */
  for (int damage = 0; damage < 3; damage++) {
    FILE *f = fopen(file, "w");
    cr_assert(f);
    char *copy = malloc(length);
    memcpy(copy, text, length);
    if (damage == 1) copy[length / 2] ^= 1;
    if (damage == 2) copy[0] ^= 1;
    (void)fwrite(copy, 1, damage ? length : length / 2, f);
    (void)fclose(f);
    free(copy);
    notes = simulations = 0;
    read = ask(&apart, &easy, &o);
    cr_expect(notes == 1 && simulations > 3, "damage %d: %d notes, %d simulations", damage, notes,
              simulations);
    expect_same(&read, &fresh);
    cr_assert_eq(fc_file_read(&half, &rest, file, 1 << 20), FC_OK);
    cr_expect(rest == length && memcmp(half, text, length) == 0, "damage %d: not repaired", damage);
    free(half);
  }
  free(text);
  /* something else asked: something else simulated */
  fc_slo other = {easy.ttft_s, easy.tpot_s * 1.1};
  simulations = 0;
  (void)ask(&apart, &other, &o);
  cr_expect_gt(simulations, 3);
  remove_folder(base);
}

Test(surface, an_unwritable_cache_is_no_error) {
  fc_surface_options o = quick();
  fc_serve_capacity fresh = ask(&tp4, &easy, &o);
  o.cache = "/proc/nowhere/at/all";
  fc_serve_capacity c = ask(&tp4, &easy, &o);
  expect_same(&c, &fresh);
}
