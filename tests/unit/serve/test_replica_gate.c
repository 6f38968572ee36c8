/* SPDX-License-Identifier: Apache-2.0 */
/* Newcomers that wait until the scheduler looks at them, and what clients wait for in front of the engine. */
#include <math.h>

#include <criterion/criterion.h>

#include "test_replica_load.h"

/* A step is 2 ms, whatever it holds. */
static const fc_step_coefficients even = {.base_s = 2e-3};

static fc_replica_def replica_of(fc_step_table *steps) {
  fc_replica_def d = small_replica(steps);
  d.policy.max_batch = 16;
  return d;
}

/* One request decodes for long; others come one by one meanwhile, `gap_s` apart. */
static replica_load one_and_newcomers(uint64_t n, double gap_s) {
  replica_load l = replica_load_new(n);
  for (uint64_t i = 0; i < n; i++) {
    l.request[i].arrival = fc_time_from_s(i ? 0.1 + gap_s * (double)i : 0);
    l.request[i].input_tokens = 10;
    l.request[i].output_tokens = i ? 2 : 1500;
  }
  return l;
}

static double wait_s(const fc_replica_record *r) {
  return fc_time_to_s(r->admitted - r->arrival);
}

Test(replica_gate, a_look_every_so_many_steps_is_waited_for) {
  enum { STEPS = 20, N = 41 };
  static fc_replica_result r;
  fc_step_table *t = linear_table(&even, 1, 16, 1);
  fc_replica_def d = replica_of(t);
  cr_assert(fc_serve_policy_named(&d.policy, "sglang"));
  d.policy.max_batch = 16;
  d.policy.look_steps = STEPS;
  replica_load l = one_and_newcomers(N, 0.0511);
  replica_load_watch(&l, &d);
  replica_load_run(&r, &d, &l, 1);
  double sum = 0, most = 0;
  for (uint64_t i = 1; i < N; i++) {
    double w = wait_s(&l.record[i]);
    cr_assert_leq(w, 2e-3 * STEPS + 1e-9, "request %llu waited %g s", (unsigned long long)i, w);
    sum += w / (N - 1);
    most = fmax(most, w);
  }
  cr_assert(sum > 0.3 * 2e-3 * STEPS && sum < 0.7 * 2e-3 * STEPS, "mean %g s", sum); /* half an interval */
  cr_assert_gt(most, 0.8 * 2e-3 * STEPS);
  fc_step_table_free(t);
  replica_load_free(&l);
}

Test(replica_gate, company_or_patience_ends_a_wait) {
  enum { N = 30 };
  static fc_replica_result r;
  fc_step_table *t = linear_table(&even, 1, 16, 1);
  fc_replica_def d = replica_of(t);
  d.policy.wait_steps = 50;
  d.policy.wait_share = 31.0 / 256; /* three prompts and who decodes */
  replica_load l = one_and_newcomers(N, 0.02);
  replica_load_watch(&l, &d);
  replica_load_run(&r, &d, &l, 1);
  for (uint64_t i = 1; i + 2 < N; i += 3) { /* threes start together, when the last of them is there */
    cr_assert_eq(l.record[i].admitted, l.record[i + 1].admitted);
    cr_assert_eq(l.record[i].admitted, l.record[i + 2].admitted);
    cr_assert_leq(wait_s(&l.record[i + 2]), 2e-3 + 1e-9);
  }
  d.policy.wait_share = 1; /* never: patience alone */
  replica_load_run(&r, &d, &l, 1);
  double longest = 0;
  for (uint64_t i = 1; i < N; i++) longest = fmax(longest, wait_s(&l.record[i]));
  cr_assert_leq(longest, 51 * 2e-3 + 1e-9);
  cr_assert_geq(longest, 49 * 2e-3);
  fc_step_table_free(t);
  replica_load_free(&l);
}

Test(replica_gate, prompts_start_when_every_group_has_one) {
  enum { N = 60, GROUPS = 4 };
  static fc_replica_result r;
  fc_step_table *t = linear_table(&even, GROUPS, 16, 1);
  fc_replica_def d = replica_of(t);
  d.policy.balance_steps = 50;
  replica_load l = one_and_newcomers(N, 5e-3);
  for (uint64_t i = 0; i < GROUPS; i++) { /* all groups decode */
    l.request[i].arrival = 0;
    l.request[i].output_tokens = 1500;
  }
  replica_load_watch(&l, &d);
  replica_load_run(&r, &d, &l, 1);
  uint64_t together = 0;
  for (uint64_t i = GROUPS; i + 1 < N; i++) {
    cr_assert_leq(wait_s(&l.record[i]), 50 * 2e-3 + 1e-9);
    together += l.record[i].admitted == l.record[i + 1].admitted;
  }
  /* 4 (1 + 1/2 + 1/3 + 1/4) = 8.3: nine at a time */
  cr_assert(together >= 40 && together <= 52, "%llu came in with the next", (unsigned long long)together);
  fc_step_table_free(t);
  replica_load_free(&l);
}

Test(replica_gate, offered_or_fetched_is_the_same) {
  static fc_replica_result a, b;
  fc_step_coefficients c = plain_coefficients();
  for (uint64_t seed = 1; seed <= 12; seed++) {
    int64_t groups = seed % 3 ? 1 : 3;
    fc_step_table *t = linear_table(&c, groups, 16, 1);
    fc_replica_def d = small_replica(t);
    d.kv_blocks *= groups;
    d.policy.look_steps = seed % 2 ? 7 : 0;
    d.policy.wait_steps = seed % 4 > 1 ? 9 : 0;
    d.policy.wait_share = 0.5;
    d.policy.balance_steps = 5;
    replica_load l = replica_load_new(150);
    replica_load_random(&l, seed, 0.01);
    replica_load_watch(&l, &d);
    replica_load_run(&a, &d, &l, seed);
    fc_replica *r;
    cr_assert_eq(fc_replica_new(&r, &d, seed, 0), FC_OK);
    for (uint64_t i = 0; i < l.n; i++) {
      cr_assert_eq(fc_replica_advance(r, l.request[i].arrival), FC_OK);
      cr_assert_eq(fc_replica_offer(r, &l.request[i]), FC_OK);
    }
    cr_assert_eq(fc_replica_advance(r, FC_TIME_MAX), FC_OK);
    cr_assert_eq(fc_replica_take_result(&b, r, NULL), FC_OK);
    cr_assert_eq(a.done, b.done);
    cr_assert_eq(a.iterations, b.iterations);
    cr_assert_eq(a.end, b.end);
    cr_assert(a.ttft.n == b.ttft.n && a.ttft.sum == b.ttft.sum && a.ttft.max == b.ttft.max, "seed %llu",
              (unsigned long long)seed);
    fc_replica_free(r);
    fc_step_table_free(t);
    replica_load_free(&l);
  }
}

Test(replica_gate, the_front_delays_every_token_alike) {
  enum { N = 8 };
  static fc_replica_result plain, late;
  fc_step_table *t = linear_table(&even, 1, 16, 1);
  fc_replica_def d = replica_of(t);
  replica_load l = replica_load_new(N);
  for (uint64_t i = 0; i < N; i++) {
    l.request[i].input_tokens = 10;
    l.request[i].output_tokens = 100; /* all end together */
  }
  replica_load_watch(&l, &d);
  replica_load_run(&plain, &d, &l, 1);
  fc_time first = l.record[0].first_token, finish = l.record[0].finish;
  d.front_request_s = 1e-3;
  d.steps_ahead = 1.5;
  replica_load_watch(&l, &d);
  fc_request_source source = replica_load_source(&l);
  source.done = NULL; /* those who leave last have waited least */
  cr_assert_eq(fc_replica_run(&late, &d, &source, 1, NULL), FC_OK);
  fc_time front = fc_time_from_s(N * 1e-3 + 1.5 * 2e-3);
  cr_assert_eq(l.record[0].front, front);
  cr_assert_eq(l.record[0].first_token, first + front);
  cr_assert_eq(l.record[0].finish, finish + front);
  cr_assert_eq(late.tpot.sum, plain.tpot.sum); /* the pace stays */
  cr_assert_gt(fc_digest_mean(&late.ttft), fc_digest_mean(&plain.ttft) + 4e-3);
  fc_step_table_free(t);
  replica_load_free(&l);
}
