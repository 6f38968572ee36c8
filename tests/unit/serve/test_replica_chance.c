/* SPDX-License-Identifier: Apache-2.0 */
/* What is drawn, what does not depend on it, and what a run draws from the mains. */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "fixture_models.h"
#include "test_replica_load.h"

static fc_replica_result r, other;

/* --- drafts, imbalance --- */

/* Iterations that n tokens take in the mean: m(n) = 1 + sum of P(k tokens) m(n - k). */
static double mean_steps(int n) {
  static const double p[] = {0, 1 - 0.8, 0.8 * (1 - 0.5), 0.8 * 0.5};
  double m[512] = {0};
  for (int i = 1; i <= n; i++) {
    m[i] = 1;
    for (int k = 1; k <= 3; k++) m[i] += i > k ? p[k] * m[i - k] : 0;
  }
  return m[n];
}

Test(replica_chance, drafts_shorten_a_request_by_their_yield) {
  fc_step_coefficients c = {.base_s = 1e-3};
  fc_step_table *t = linear_table(&c, 1, 16, 3);
  fc_replica_def d = small_replica(t);
  d.n_acceptance = 2;
  d.acceptance[0] = 0.8;
  d.acceptance[1] = 0.5;
  const double yield = 1 + 0.8 + 0.8 * 0.5;
  static const int tokens[] = {3, 40, 64, 65, 400};
  replica_load l = replica_load_new(4000);
  for (size_t k = 0; k < sizeof tokens / sizeof *tokens; k++) {
    for (uint64_t i = 0; i < l.n; i++) {
      l.request[i] = (fc_request){.number = i, .input_tokens = 10, .output_tokens = 1 + (uint32_t)tokens[k]};
      l.request[i].arrival = (fc_time)i * FC_SECOND;
    }
    for (int sampled = 0; sampled < 2; sampled++) {
      d.sample_acceptance = sampled;
      replica_load_run(&r, &d, &l, 1);
      double steps = fc_digest_mean(&r.tpot) * tokens[k] / 1e-3, n = (double)l.n;
      double want = sampled ? mean_steps(tokens[k]) : ceil(tokens[k] / yield);
      double sd =
          sqrt(fmax(0, r.tpot.sum_squares / n - (r.tpot.sum / n) * (r.tpot.sum / n))) * 1e-6 * tokens[k];
      /* a request ends at a whole iteration of a clock that counts tokens: up to half of one late */
      double allowed = 4 * sd / sqrt(n) + (sampled ? 0.5 : 1);
      cr_assert(fabs(steps - want) <= allowed, "%d tokens, sampled %d: %g and %g steps", tokens[k], sampled,
                steps, want);
      cr_assert_eq(r.output_tokens, (uint64_t)(1 + tokens[k]) * l.n);
      if (sampled) cr_assert_gt(r.tpot.max, r.tpot.min + 1);
    }
  }
  replica_load_free(&l);
  fc_step_table_free(t);
}

static fc_replica_def sparse(fc_step_table **t) {
  static fc_serve_plan plan = {.devices = 8,
                               .tp = 1,
                               .attention_dp = 8,
                               .ep = 8,
                               .gemm = FC_DTYPE_FP8,
                               .kv = FC_DTYPE_BF16,
                               .expert_imbalance = 1.3,
                               .memory_fraction = 0.9};
  fc_step_table_def td = fc_step_table_default_def();
  td.max_batch = 32;
  td.max_tokens = 1024;
  td.max_context = 4096;
  cr_assert_eq(
      fc_step_table_of_model(t, &td, &(fc_step_source){&fixture_deepseek_v3, &fixture_h800_profile, &plan}),
      FC_OK);
  fc_replica_def d = fc_replica_default_def();
  d.steps = *t;
  d.policy.max_batch = 32;
  d.policy.token_budget = 512;
  d.kv_blocks = 80000;
  return d;
}

/* Busy time over busy time without imbalance: its mean is one, its spread what n draws leave. */
Test(replica_chance, imbalance_changes_the_spread_not_the_mean) {
  fc_step_table *t;
  fc_replica_def d = sparse(&t);
  replica_load l = replica_load_new(300);
  replica_load_random(&l, 9, 0.02);
  replica_load_run(&r, &d, &l, 1);
  double even = r.busy_s, experts = r.parts.experts_s, iterations = (double)r.iterations;
  d.imbalance_cv = 0.5;
  double sum = 0, squares = 0;
  enum { RUNS = 24 };
  for (uint64_t seed = 1; seed <= RUNS; seed++)
    for (int reference = 0; reference < 2; reference++) {
      d.reference = reference;
      replica_load_run(&r, &d, &l, seed);
      double x = r.parts.experts_s / (double)r.iterations / (experts / iterations) - 1;
      cr_assert(fabs(r.busy_s / even - 1) < 0.05);
      sum += x;
      squares += x * x;
    }
  double mean = sum / (2 * RUNS), sd = sqrt(squares / (2 * RUNS) - mean * mean);
  double want = 0.5 / sqrt(iterations);
  cr_assert(fabs(mean) < 4 * want / sqrt(2.0 * RUNS) + 5e-3, "mean %g", mean);
  cr_assert(sd > 0.4 * want && sd < 2.5 * want, "sd %g, of independent draws %g", sd, want);
  replica_load_free(&l);
  fc_step_table_free(t);
}

/* --- determinism, energy --- */

/* Digests and totals: all else follows from them. */
static bool same_result(const fc_replica_result *a, const fc_replica_result *b) {
  return memcmp(a->e2e.count, b->e2e.count, sizeof a->e2e.count) == 0 &&
         memcmp(a->itl.count, b->itl.count, sizeof a->itl.count) == 0 && a->e2e.sum == b->e2e.sum &&
         a->ttft.sum == b->ttft.sum && a->itl.sum == b->itl.sum && a->busy_s == b->busy_s &&
         a->energy_j == b->energy_j && a->kv_mean == b->kv_mean && a->iterations == b->iterations;
}

Test(replica_chance, same_seed_same_result) {
  fc_step_table *t;
  fc_replica_def d = sparse(&t);
  d.imbalance_cv = 0.3;
  replica_load l = replica_load_new(300);
  replica_load_random(&l, 10, 0.02);
  replica_load_run(&r, &d, &l, 7);
  replica_load_run(&other, &d, &l, 7);
  cr_assert(same_result(&r, &other));
  replica_load_run(&other, &d, &l, 8);
  cr_assert(!same_result(&r, &other));
  replica_load_free(&l);
  fc_step_table_free(t);
}

typedef struct {
  const fc_replica_def *def;
  replica_load load;
  fc_replica_result result;
  fc_status status;
} job;

static void *work(void *argument) {
  job *j = argument;
  fc_request_source source = replica_load_source(&j->load);
  source.done = NULL; /* asserts belong to the test's own thread */
  j->status = fc_replica_run(&j->result, j->def, &source, 7, NULL);
  return NULL;
}

/* One step table for all. */
Test(replica_chance, same_result_on_every_thread) {
  enum { THREADS = 4 };
  static job jobs[THREADS];
  pthread_t thread[THREADS];
  fc_step_table *t;
  fc_replica_def d = sparse(&t);
  d.imbalance_cv = 0.3;
  for (size_t i = 0; i < THREADS; i++) {
    jobs[i] = (job){.def = &d, .load = replica_load_new(1000)};
    replica_load_random(&jobs[i].load, 10, 0.02);
  }
  for (size_t i = 0; i < THREADS; i++) cr_assert_eq(pthread_create(&thread[i], NULL, work, &jobs[i]), 0);
  for (size_t i = 0; i < THREADS; i++) cr_assert_eq(pthread_join(thread[i], NULL), 0);
  replica_load_run(&r, &d, &jobs[0].load, 7);
  for (size_t i = 0; i < THREADS; i++) {
    cr_assert_eq(jobs[i].status, FC_OK);
    cr_assert(same_result(&r, &jobs[i].result));
    replica_load_free(&jobs[i].load);
  }
  fc_step_table_free(t);
}

Test(replica_chance, power_lies_between_idle_and_full) {
  fc_step_table *t;
  fc_replica_def d = sparse(&t);
  replica_load l = replica_load_new(300);
  replica_load_random(&l, 11, 0.02);
  replica_load_run(&r, &d, &l, 1);
  double w = r.energy_j / r.span_s / 8;
  cr_assert(w > fixture_h800.idle_w && w < fixture_h800.idle_w + fixture_h800.tdp_w, "%g W a device", w);
  const fc_step_parts *p = &r.parts;
  cr_assert(p->attention_s > 0 && p->dense_s > 0 && p->experts_s > 0 && p->glue_s > 0 && p->head_s > 0 &&
            p->comm_s > 0 && p->launch_s > 0 && p->host_s > 0);
  replica_load_free(&l);
  fc_step_table_free(t);
}

/* Energy of known iterations: what L1 says they draw. */
Test(replica_chance, energy_is_that_of_the_iterations) {
  static const fc_serve_plan plan = {.devices = 1,
                                     .tp = 1,
                                     .attention_dp = 1,
                                     .ep = 1,
                                     .gemm = FC_DTYPE_BF16,
                                     .kv = FC_DTYPE_BF16,
                                     .memory_fraction = 0.9};
  fc_step_table_def td = fc_step_table_default_def();
  td.max_batch = 16;
  fc_step_table *t;
  cr_assert_eq(
      fc_step_table_of_model(&t, &td, &(fc_step_source){&fixture_llama_8b, &fixture_h100_profile, &plan}),
      FC_OK);
  fc_replica_def d = small_replica(t);
  d.policy.token_budget = 4096;
  d.kv_blocks = 100000;
  replica_load l = replica_load_new(9);
  for (uint64_t i = 0; i < 9; i++) {
    l.request[i] =
        (fc_request){.number = i, .input_tokens = i < 8 ? 500 : 20000, .output_tokens = i < 8 ? 200 : 0};
    l.request[i].arrival = i < 8 ? 0 : FC_SECOND / 100;
  }
  replica_load_run(&r, &d, &l, 1);
  double joules = 0, seconds = 0;
  fc_step_work w = {.prefill = 4000, .prompts = 8, .pairs = 4000 * 250.5};
  double context = 0;
  for (int k = 0; k < 200;
       k++) { /* all prompts; then decodes, the first five beside chunks of the long one */
    if (k > 0) {
      w = (fc_step_work){.decode = 8, .decode_context = 8.0 * (500 + k)};
      double chunk = fmin(4088, 20000 - context);
      if (chunk > 0) {
        w.prefill = chunk;
        w.prompts = 1;
        w.pairs = chunk * (context + 0.5 * (chunk + 1));
        context += chunk;
      }
    }
    fc_serve_iteration it;
    cr_assert_eq(fc_step_table_direct(t, &it, &w), FC_OK);
    joules += it.watts * it.seconds;
    seconds += it.seconds;
  }
  cr_assert_eq(r.iterations, 200);
  cr_assert(fabs(r.busy_s / seconds - 1) < 5e-3, "%g and %g s", r.busy_s, seconds);
  cr_assert(fabs(r.energy_j / joules - 1) < 2e-3, "%g and %g J", r.energy_j, joules);
  replica_load_free(&l);
  fc_step_table_free(t);
}
