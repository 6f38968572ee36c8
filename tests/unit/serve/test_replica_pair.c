/* SPDX-License-Identifier: Apache-2.0 */
/* Prefill and decode apart; replicas that are stepped from outside. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <fleetcast/base/rng.h>

#include "test_replica_load.h"

static fc_disagg_result d, e;
static fc_replica_result one, two;

static fc_replica_def plain(const fc_step_table *steps) {
  fc_replica_def r = fc_replica_default_def();
  r.steps = steps;
  r.policy.max_batch = 16;
  r.policy.token_budget = 256;
  r.kv_blocks = 400;
  return r;
}

static fc_step_table *table(void) {
  static const fc_step_coefficients c = {.base_s = 1e-3,
                                         .decode_request_s = 1e-5,
                                         .decode_context_s = 1e-8,
                                         .prefill_token_s = 1e-5,
                                         .prefill_pair_s = 1e-9};
  return linear_table(&c, 1, 16, 1);
}

static void run_pair(fc_disagg_result *out, fc_disagg_def *def, replica_load *l) {
  char why[256] = "";
  replica_load_watch(l, &def->decode);
  fc_request_source source = replica_load_source(l);
  cr_assert_eq(fc_disagg_run(out, def, &source, 1, why), FC_OK, "%s", why);
  cr_assert_eq(l->done, l->n);
  cr_assert_eq(l->recorded, l->n);
}

Test(replica_pair, one_request_by_hand) {
  fc_step_coefficients c = {.base_s = 1e-3, .decode_request_s = 1e-4, .prefill_token_s = 1e-5};
  fc_step_table *t = linear_table(&c, 1, 16, 1);
  fc_disagg_def def = {.prefill = plain(t), .decode = plain(t), .prefill_replicas = 1, .decode_replicas = 1};
  def.kv_bytes_per_token = 1e5;
  def.link_bytes_per_s = 1e9;
  def.link_latency_s = 1e-4;
  replica_load l = replica_load_new(1);
  l.request[0] = (fc_request){.input_tokens = 200, .output_tokens = 101};
  run_pair(&d, &def, &l);
  /* 1 ms + 200 x 10 us; 20 MB at 1 GB/s + 0.1 ms; 100 steps of 1.1 ms */
  cr_assert_leq(llabs(l.record[0].first_token - 3000000), 1);
  cr_assert_leq(llabs(l.record[0].finish - (3000000 + 20100000 + 110000000)), 2);
  cr_assert(fabs(d.transfer_mean_s - 0.0201) < 1e-8);
  cr_assert(fabs(d.link_utilisation - 0.020 / 0.1331) < 1e-6);
  cr_assert_eq(d.transferred_tokens, 200);
  cr_assert(fabs(fc_digest_mean(&d.decode.e2e) - 0.1331) < 1e-8);
  cr_assert(fabs(fc_digest_mean(&d.decode.tpot) - 0.1301 / 100) < 1e-8);
  replica_load_free(&l);
  fc_step_table_free(t);
}

/* Two prompts prefilled at the same time on two replicas share one link. */
Test(replica_pair, transfers_contend) {
  fc_step_coefficients c = {.base_s = 1e-3};
  fc_step_table *t = linear_table(&c, 1, 16, 1);
  fc_disagg_def def = {.prefill = plain(t), .decode = plain(t), .prefill_replicas = 2, .decode_replicas = 2};
  def.kv_bytes_per_token = 1e5;
  def.link_bytes_per_s = 1e9;
  replica_load l = replica_load_new(2);
  for (uint64_t i = 0; i < 2; i++)
    l.request[i] = (fc_request){.number = i, .input_tokens = 100 + 100 * (uint32_t)i, .output_tokens = 2};
  run_pair(&d, &def, &l); /* 10 ms, then 20 ms after another */
  cr_assert_leq(llabs(l.record[0].finish - 12000000), 2);
  cr_assert_leq(llabs(l.record[1].finish - 32000000), 2);
  def.link_shared = true; /* both for 20 ms, the rest alone */
  run_pair(&d, &def, &l);
  cr_assert_leq(llabs(l.record[0].finish - 22000000), 2);
  cr_assert_leq(llabs(l.record[1].finish - 32000000), 2);
  cr_assert(fabs(d.transfer_mean_s - 0.025) < 1e-8);
  replica_load_free(&l);
  fc_step_table_free(t);
}

Test(replica_pair, leaping_is_one_iteration_at_a_time) {
  fc_step_table *t = table();
  for (uint64_t seed = 1; seed <= 40; seed++) {
    fc_disagg_def def = {.prefill = plain(t), .decode = plain(t)};
    def.prefill_replicas = 1 + (int64_t)(seed % 3);
    def.decode_replicas = 1 + (int64_t)(seed % 2);
    def.kv_bytes_per_token = 1e5;
    def.link_bytes_per_s = 2e9;
    def.link_shared = seed % 4 > 1;
    def.decode.kv_blocks = seed % 5 ? 400 : 120;
    if (seed % 7 == 0) cr_assert(fc_serve_policy_named(&def.decode.policy, "sglang"));
    def.decode.policy.max_batch = 16;
    replica_load l = replica_load_new(300), m = replica_load_new(300);
    replica_load_random(&l, seed, 0.02);
    memcpy(m.request, l.request, l.n * sizeof *l.request);
    run_pair(&d, &def, &l);
    def.prefill.reference = def.decode.reference = true;
    run_pair(&e, &def, &m);
    cr_assert_eq(d.decode.iterations, e.decode.iterations, "seed %llu", (unsigned long long)seed);
    cr_assert(d.decode.leaps < e.decode.leaps);
    cr_assert_eq(d.decode.preemptions, e.decode.preemptions);
    cr_assert_eq(d.transferred_tokens, e.transferred_tokens);
    for (uint64_t i = 0; i < l.n; i++)
      cr_assert_leq(llabs(l.record[i].finish - m.record[i].finish), 3, "seed %llu, request %llu",
                    (unsigned long long)seed, (unsigned long long)i);
    cr_assert_eq(d.prefill.input_tokens, d.prefill.prefilled_tokens);
    replica_load_free(&l);
    replica_load_free(&m);
  }
  fc_step_table_free(t);
}

Test(replica_pair, bad_definitions_are_told) {
  fc_step_table *t = table();
  replica_load l = replica_load_new(1);
  fc_request_source source = replica_load_source(&l);
  fc_disagg_def good = {.prefill = plain(t), .decode = plain(t), .prefill_replicas = 1, .decode_replicas = 1};
  good.link_bytes_per_s = 1e9;
  char why[256];
  fc_disagg_def bad = good;
  bad.link_bytes_per_s = 0;
  cr_assert_eq(fc_disagg_run(&d, &bad, &source, 1, why), FC_E_DOMAIN);
  cr_assert(strstr(why, "link_bytes_per_s"), "%s", why);
  bad = good;
  bad.decode_replicas = 0;
  cr_assert_eq(fc_disagg_run(&d, &bad, &source, 1, why), FC_E_DOMAIN);
  bad = good;
  bad.decode.kv_blocks = 0;
  cr_assert_eq(fc_disagg_run(&d, &bad, &source, 1, why), FC_E_DOMAIN);
  replica_load_free(&l);
  fc_step_table_free(t);
}

/* --- from outside --- */

/* Offers and advances, in steps that fall anywhere, come to the same as a run. */
Test(replica_pair, stepping_from_outside_equals_a_run) {
  fc_step_table *t = table();
  for (uint64_t seed = 1; seed <= 30; seed++) {
    fc_replica_def def = plain(t);
    if (seed % 3 == 1) cr_assert(fc_serve_policy_named(&def.policy, "sglang"));
    def.policy.max_batch = 16;
    def.policy.token_budget = 256;
    def.kv_blocks = seed % 4 ? 400 : 120;
    replica_load l = replica_load_new(300), m = replica_load_new(300);
    replica_load_random(&l, seed, 0.05);
    memcpy(m.request, l.request, l.n * sizeof *l.request);
    replica_load_watch(&l, &def);
    replica_load_run(&one, &def, &l, 1);
    replica_load_watch(&m, &def);
    (void)replica_load_source(&m);
    fc_replica *r;
    cr_assert_eq(fc_replica_new(&r, &def, 1, 0), FC_OK);
    fc_rng rng = fc_rng_keyed(seed, FC_STREAM_TEST, 1, 0);
    for (uint64_t i = 0; i < m.n; i++) {
      fc_time at = m.request[i].arrival;
      if (fc_rng_uniform(&rng) < 0.5)
        cr_assert_eq(fc_replica_advance(r, at - (fc_time)(1e6 * fc_rng_uniform(&rng))), FC_OK);
      cr_assert_eq(fc_replica_advance(r, at), FC_OK);
      cr_assert_geq(fc_replica_next(r), at);
      cr_assert_eq(fc_replica_offer(r, &m.request[i]), FC_OK);
    }
    while (fc_replica_next(r) < FC_TIME_MAX)
      cr_assert_eq(fc_replica_advance(r, fc_replica_next(r) + 1), FC_OK);
    fc_replica_state s = fc_replica_now(r);
    cr_assert(s.waiting == 0 && s.running == 0 && s.waiting_tokens == 0 && s.kv_used == 0,
              "%lld %lld %lld %lld", (long long)s.waiting, (long long)s.running, (long long)s.waiting_tokens,
              (long long)s.kv_used);
    cr_assert_eq(fc_replica_take_result(&two, r, NULL), FC_OK);
    cr_assert_eq(one.iterations, two.iterations, "seed %llu", (unsigned long long)seed);
    cr_assert_eq(one.preemptions, two.preemptions);
    cr_assert_eq(one.itl.n, two.itl.n);
    for (uint64_t i = 0; i < l.n; i++)
      cr_assert_leq(llabs(l.record[i].finish - m.record[i].finish), 2, "seed %llu, request %llu",
                    (unsigned long long)seed, (unsigned long long)i);
    fc_replica_free(r);
    replica_load_free(&l);
    replica_load_free(&m);
  }
  fc_step_table_free(t);
}

static void count_lost(void *context, const fc_replica_record *record) {
  uint64_t *n = context;
  cr_assert_eq(record->refused, FC_REFUSED_NOT);
  ++*n;
}

Test(replica_pair, a_failure_loses_all_and_leaves_nothing) {
  fc_step_table *t = table();
  static const uint64_t block[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  for (fc_time at = FC_SECOND / 100; at < 4 * FC_SECOND; at += FC_SECOND / 7) {
    fc_replica_def def = plain(t);
    def.prefix_cache = true;
    def.kv_blocks = 200;
    fc_replica *r;
    cr_assert_eq(fc_replica_new(&r, &def, 1, 0), FC_OK);
    replica_load l = replica_load_new(100);
    replica_load_random(&l, 3, 0.02);
    uint64_t i = 0, lost = 0;
    for (; i < l.n && l.request[i].arrival <= at; i++) {
      l.request[i].block = block;
      l.request[i].block_tokens = 32;
      l.request[i].n_blocks = l.request[i].input_tokens / 32 < 8 ? l.request[i].input_tokens / 32 : 8;
      cr_assert_eq(fc_replica_advance(r, l.request[i].arrival), FC_OK);
      cr_assert_eq(fc_replica_offer(r, &l.request[i]), FC_OK);
    }
    cr_assert_eq(fc_replica_advance(r, at), FC_OK);
    cr_assert_eq(fc_replica_fail(r, at, count_lost, &lost), FC_OK);
    fc_replica_state s = fc_replica_now(r);
    cr_assert(s.waiting == 0 && s.running == 0 && s.waiting_tokens == 0 && s.kv_used == 0,
              "%lld %lld %lld %lld", (long long)s.waiting, (long long)s.running, (long long)s.waiting_tokens,
              (long long)s.kv_used);
    cr_assert_eq(fc_replica_next(r), FC_TIME_MAX);
    cr_assert_eq(lost + s.done, i);
    for (; i < l.n; i++) { /* back at work */
      if (l.request[i].arrival < at) l.request[i].arrival = at;
      cr_assert_eq(fc_replica_offer(r, &l.request[i]), FC_OK);
    }
    cr_assert_eq(fc_replica_advance(r, FC_TIME_MAX), FC_OK);
    cr_assert_eq(fc_replica_take_result(&one, r, NULL), FC_OK);
    cr_assert_eq(one.done + lost, l.n);
    fc_replica_free(r);
    replica_load_free(&l);
  }
  fc_step_table_free(t);
}
