/* SPDX-License-Identifier: Apache-2.0 */
/* Laws, limits and adversaries of a replica. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <fleetcast/base/rng.h>

#include "test_replica_load.h"

static fc_replica_result r, other;

/* --- one request, by hand --- */

Test(replica_laws, one_request_by_hand) {
  fc_step_coefficients c = {.base_s = 1e-3, .decode_request_s = 1e-4, .prefill_token_s = 1e-5};
  fc_step_table *t = linear_table(&c, 1, 16, 1);
  fc_replica_def d = small_replica(t);
  replica_load l = replica_load_new(1);
  l.request[0] = (fc_request){.arrival = 5 * FC_SECOND, .input_tokens = 600, .output_tokens = 101};
  replica_load_watch(&l, &d);
  replica_load_run(&r, &d, &l, 1);
  /* chunks of 256, 256, 88: 3 x 1 ms + 600 x 10 us; then 100 steps of 1.1 ms */
  cr_assert_eq(l.record[0].admitted, 5 * FC_SECOND);
  cr_assert_leq(llabs(l.record[0].first_token - (5 * FC_SECOND + 9000000)), 1);
  cr_assert_leq(llabs(l.record[0].finish - (5 * FC_SECOND + 119000000)), 1);
  cr_assert_eq(r.iterations, 103);
  cr_assert_eq(r.leaps, 4);
  cr_assert_eq(r.kv_peak, ceil(700.0 / 16));
  cr_assert(fabs(fc_digest_mean(&r.tpot) - 1.1e-3) < 1e-8);
  cr_assert(fabs(r.busy_s - 0.119) < 1e-9 && fabs(r.span_s - 0.119) < 1e-8);
  cr_assert(fabs(r.prefill_s - 0.009) < 1e-9 && fabs(r.decode_s - 0.11) < 1e-9);
  cr_assert(fabs(r.parts.host_s - 0.103) < 1e-9);
  replica_load_free(&l);
  fc_step_table_free(t);
}

Test(replica_laws, host_and_client_times_by_hand) {
  fc_step_coefficients c = {.base_s = 1e-3};
  fc_step_table *t = linear_table(&c, 1, 16, 1);
  fc_replica_def d = small_replica(t);
  d.host_step_s = 2e-4;
  d.host_request_s = 1e-4;
  d.detokenise_s = 3e-5;
  d.ingress_s = 0.5;
  d.egress_s = 0.25;
  replica_load l = replica_load_new(1);
  l.request[0] = (fc_request){.input_tokens = 10, .output_tokens = 11};
  replica_load_watch(&l, &d);
  replica_load_run(&r, &d, &l, 1);
  double step = 1e-3 + 2e-4 + 1e-4 + 3e-5;
  cr_assert(fabs(fc_digest_mean(&r.ttft) - (0.75 + step)) < 1e-7);
  cr_assert(fabs(fc_digest_mean(&r.e2e) - (0.75 + 11 * step)) < 1e-7);
  cr_assert(fabs(r.parts.host_s - 11 * step) < 1e-9);
  cr_assert(fabs(r.queue_mean) < 1e-9);
  replica_load_free(&l);
  fc_step_table_free(t);
}

/* Four attention groups: a prompt is the work of one, the others wait; four prompts take as long as one. */
Test(replica_laws, a_prompt_is_prefilled_by_its_own_group) {
  fc_step_coefficients c = {.base_s = 1e-3, .decode_request_s = 1e-4, .prefill_token_s = 1e-5};
  fc_step_table *t = linear_table(&c, 4, 16, 1);
  fc_replica_def d = small_replica(t);
  replica_load l = replica_load_new(4);
  for (uint64_t n = 1; n <= 4; n += 3) {
    l.n = n;
    for (uint64_t i = 0; i < n; i++)
      l.request[i] = (fc_request){.number = i, .input_tokens = 512, .output_tokens = 11};
    replica_load_watch(&l, &d);
    replica_load_run(&r, &d, &l, 1);
    /* two chunks of 256 in each group: the linear times count the work of all four groups */
    for (uint64_t i = 0; i < n; i++) {
      cr_assert_leq(llabs(l.record[i].first_token - (2000000 + 4 * 512 * 10000)), 2);
      cr_assert_leq(llabs(l.record[i].finish - l.record[i].first_token - 10 * (1000000 + 4 * 100000)), 2);
    }
  }
  replica_load_free(&l);
  fc_step_table_free(t);
}

/* Attention groups have schedulers of their own: four requests in four groups take the host no longer than
 * one in one. */
Test(replica_laws, each_group_has_a_host) {
  fc_step_coefficients c = {.base_s = 1e-3};
  for (int64_t groups = 1; groups <= 4; groups += 3) {
    fc_step_table *t = linear_table(&c, groups, 16, 1);
    fc_replica_def d = small_replica(t);
    d.host_request_s = 1e-4;
    replica_load l = replica_load_new((uint64_t)groups);
    for (uint64_t i = 0; i < l.n; i++)
      l.request[i] = (fc_request){.number = i, .input_tokens = 10, .output_tokens = 11};
    replica_load_watch(&l, &d);
    replica_load_run(&r, &d, &l, 1);
    cr_assert(fabs(fc_digest_mean(&r.tpot) - 1.1e-3) < 1e-8, "%lld groups: %g", (long long)groups,
              fc_digest_mean(&r.tpot));
    replica_load_free(&l);
    fc_step_table_free(t);
  }
}

/* --- metamorphic --- */

Test(replica_laws, half_the_times_half_the_delays) {
  fc_step_coefficients c = plain_coefficients(),
                       h = {c.base_s / 2, c.decode_request_s / 2, c.decode_context_s / 2,
                            c.prefill_token_s / 2, c.prefill_pair_s / 2};
  fc_step_table *t = linear_table(&c, 1, 16, 1), *u = linear_table(&h, 1, 16, 1);
  replica_load l = replica_load_new(3000), m = replica_load_new(3000);
  replica_load_random(&l, 3, 0.03);
  memcpy(m.request, l.request, l.n * sizeof *l.request);
  for (uint64_t i = 0; i < l.n; i++) {
    l.request[i].arrival &= ~INT64_C(1);
    m.request[i].arrival = l.request[i].arrival / 2;
  }
  fc_replica_def d = small_replica(t), e = small_replica(u);
  replica_load_watch(&l, &d);
  replica_load_watch(&m, &e);
  replica_load_run(&r, &d, &l, 1);
  replica_load_run(&other, &e, &m, 1);
  cr_assert_eq(r.iterations, other.iterations);
  cr_assert_gt(r.preemptions, 0);
  for (uint64_t i = 0; i < l.n; i++)
    cr_assert_leq(llabs(l.record[i].finish - 2 * m.record[i].finish), 4, "request %llu",
                  (unsigned long long)i);
  replica_load_free(&l);
  replica_load_free(&m);
  fc_step_table_free(t);
  fc_step_table_free(u);
}

/* First come first served without preemption, one batch: a larger cache admits no one later. */
Test(replica_laws, more_memory_never_hurts_throughput_without_preemption) {
  fc_step_coefficients c = {.base_s = 2e-3}; /* a step is as long whatever is in it */
  fc_step_table *t = linear_table(&c, 1, 16, 1);
  replica_load l = replica_load_new(500);
  replica_load_random(&l, 4, 0.001);
  fc_time before = FC_TIME_MAX;
  for (int64_t blocks = 60; blocks < 1000; blocks += 40) {
    fc_replica_def d = small_replica(t);
    cr_assert(fc_serve_policy_named(&d.policy, "trtllm"));
    d.policy.max_batch = 16;
    d.kv_blocks = blocks;
    replica_load_watch(&l, &d);
    replica_load_run(&r, &d, &l, 1);
    cr_assert_eq(r.preemptions, 0);
    cr_assert_leq(r.end, before, "%lld blocks end later", (long long)blocks);
    before = r.end;
  }
  replica_load_free(&l);
  fc_step_table_free(t);
}

static void run_policy(fc_replica_result *out, const char *name, const fc_step_table *t, int64_t blocks,
                       replica_load *l) {
  fc_replica_def d = small_replica(t);
  cr_assert(fc_serve_policy_named(&d.policy, name));
  d.policy.max_batch = 16;
  d.policy.token_budget = 256;
  d.kv_blocks = blocks;
  replica_load_run(out, &d, l, 1);
}

Test(replica_laws, policies_differ_as_their_rules_do) {
  fc_step_coefficients c = plain_coefficients();
  fc_step_table *t = linear_table(&c, 1, 16, 1);
  replica_load l = replica_load_new(2000);
  replica_load_random(&l, 5, 0.08);
  run_policy(&r, "vllm", t, 2000, &l);
  run_policy(&other, "sglang", t, 2000, &l);
  /* prompts in iterations of their own: decodes wait, and no step holds both */
  cr_assert(r.mixed_s > 0 && !(other.mixed_s > 0));
  cr_assert_gt(fc_digest_quantile(&other.itl, 0.99), fc_digest_quantile(&r.itl, 0.99));
  replica_load_random(&l, 6, 0.03);
  run_policy(&r, "vllm", t, 200, &l);
  cr_assert_gt(r.preemptions, 100);
  run_policy(&other, "sglang", t, 200, &l);
  cr_assert(other.preemptions < r.preemptions, "%llu and %llu", (unsigned long long)other.preemptions,
            (unsigned long long)r.preemptions);
  double expected = other.batch_mean;
  run_policy(&other, "trtllm", t, 200, &l);
  cr_assert_eq(other.preemptions, 0);
  cr_assert(other.batch_mean < expected && expected < r.batch_mean);
  run_policy(&other, "trtllm_max_utilisation", t, 200, &l);
  cr_assert_gt(other.preemptions, 100);
  replica_load_free(&l);
  fc_step_table_free(t);
}

/* --- adversaries --- */

Test(replica_laws, a_million_at_once) {
  enum { MILLION = 1000000 };
  fc_step_coefficients c = plain_coefficients();
  fc_step_table *t = linear_table(&c, 1, 16, 1);
  fc_replica_def d = small_replica(t);
  replica_load l = replica_load_new(MILLION);
  for (uint64_t i = 0; i < l.n; i++) {
    l.request[i].input_tokens = 1 + (uint32_t)(i % 50);
    l.request[i].output_tokens = 2;
  }
  replica_load_run(&r, &d, &l, 1);
  cr_assert_eq(r.done, MILLION);
  cr_assert_eq(r.batch_peak, 16);
  cr_assert_lt(r.bytes_per_resident, 200);
  replica_load_free(&l);
  fc_step_table_free(t);
}

Test(replica_laws, refusals_are_told_and_counted) {
  fc_step_coefficients c = plain_coefficients();
  fc_step_table *t = linear_table(&c, 1, 16, 1);
  fc_replica_def d = small_replica(t);
  d.kv_blocks = 4;
  d.max_context = 60;
  replica_load l = replica_load_new(6);
  l.request[0].input_tokens = 65;                                                    /* five blocks */
  l.request[1] = (fc_request){.number = 1, .input_tokens = 40, .output_tokens = 21}; /* 61 > 60 */
  l.request[2] = (fc_request){.number = 2, .input_tokens = 0, .output_tokens = 4};
  l.request[3] = (fc_request){.number = 3, .input_tokens = 40, .output_tokens = 20};
  l.request[4] = (fc_request){.number = 4, .input_tokens = UINT32_MAX, .output_tokens = UINT32_MAX};
  l.request[5] = (fc_request){.number = 5, .input_tokens = 60, .output_tokens = 0};
  replica_load_watch(&l, &d);
  replica_load_run(&r, &d, &l, 1);
  static const fc_refusal want[] = {FC_REFUSED_PROMPT, FC_REFUSED_OUTPUT, FC_REFUSED_EMPTY,
                                    FC_REFUSED_NOT,    FC_REFUSED_PROMPT, FC_REFUSED_NOT};
  for (uint64_t i = 0; i < l.n; i++) cr_assert_eq(l.record[i].refused, want[i], "request %d", (int)i);
  cr_assert_eq(r.done, 2);
  cr_assert_eq(r.refused[FC_REFUSED_PROMPT], 2);
  cr_assert_eq(r.refused[FC_REFUSED_OUTPUT], 1);
  cr_assert_eq(r.refused[FC_REFUSED_EMPTY], 1);
  replica_load_free(&l);
  fc_step_table_free(t);
}

Test(replica_laws, zero_outputs_end_with_their_prompt) {
  fc_step_coefficients c = plain_coefficients();
  fc_step_table *t = linear_table(&c, 1, 16, 1);
  fc_replica_def d = small_replica(t);
  replica_load l = replica_load_new(100);
  for (uint64_t i = 0; i < l.n; i++) l.request[i] = (fc_request){.number = i, .input_tokens = 300};
  replica_load_watch(&l, &d);
  replica_load_run(&r, &d, &l, 1);
  cr_assert_eq(r.output_tokens, 0);
  cr_assert_eq(r.tpot.n, 0);
  cr_assert_eq(r.itl.n, 0);
  cr_assert_eq(r.decode_s, 0);
  for (uint64_t i = 0; i < l.n; i++) cr_assert_eq(l.record[i].first_token, l.record[i].finish);
  replica_load_free(&l);
  fc_step_table_free(t);
}

Test(replica_laws, one_block_of_cache) {
  fc_step_coefficients c = plain_coefficients();
  fc_step_table *t = linear_table(&c, 1, 16, 1);
  fc_replica_def d = small_replica(t);
  d.kv_blocks = 1;
  replica_load l = replica_load_new(50);
  for (uint64_t i = 0; i < l.n; i++)
    l.request[i] = (fc_request){.number = i, .input_tokens = 8, .output_tokens = 8};
  replica_load_run(&r, &d, &l, 1);
  cr_assert_eq(r.done, 50);
  cr_assert_eq(r.batch_peak, 1);
  cr_assert_eq(r.preemptions, 0);
  replica_load_free(&l);
  fc_step_table_free(t);
}

Test(replica_laws, no_request_at_all) {
  fc_step_coefficients c = plain_coefficients();
  fc_step_table *t = linear_table(&c, 1, 16, 1);
  fc_replica_def d = small_replica(t);
  replica_load l = replica_load_new(0);
  replica_load_run(&r, &d, &l, 1);
  cr_assert_eq(r.in, 0);
  cr_assert_eq(r.span_s, 0);
  cr_assert_eq(fc_digest_quantile(&r.ttft, 0.99), 0);
  cr_assert_eq(r.requests_per_s, 0);
  replica_load_free(&l);
  fc_step_table_free(t);
}

/* A client that sends the next empty prompt as soon as the last is refused. */
static bool always(void *context, fc_time *at) {
  (void)context;
  *at = 0;
  return true;
}
static void another(void *context, fc_request *out) {
  (void)context;
  *out = (fc_request){.input_tokens = 0, .output_tokens = 1};
}

Test(replica_laws, a_livelock_is_told) {
  fc_step_coefficients c = plain_coefficients();
  fc_step_table *t = linear_table(&c, 1, 16, 1);
  fc_replica_def d = small_replica(t);
  char why[256] = "";
  fc_request_source source = {NULL, always, another, NULL};
  cr_assert_eq(fc_replica_run(&r, &d, &source, 1, why), FC_E_INFEASIBLE);
  cr_assert(strstr(why, "no progress"), "%s", why);
  fc_step_table_free(t);
}

Test(replica_laws, bad_definitions_are_told) {
  fc_step_coefficients c = plain_coefficients();
  fc_step_table *t = linear_table(&c, 2, 16, 1);
  char why[256];
  fc_replica_def good = small_replica(t), d = good;
  cr_assert_eq(fc_replica_check(&good, why), FC_OK);
#define BAD(field, value, word)                                                                              \
  d = good;                                                                                                  \
  d.field = (value);                                                                                         \
  cr_assert_eq(fc_replica_check(&d, why), FC_E_DOMAIN, #field);                                              \
  cr_assert(strstr(why, word), "%s", why)
  BAD(steps, NULL, "step table");
  BAD(kv_blocks, 1, "kv_blocks");
  BAD(block_tokens, 0, "block_tokens");
  BAD(policy.max_batch, 17, "max_batch");
  BAD(policy.token_budget, 0, "token_budget");
  BAD(policy.watermark, (double)NAN, "watermark");
  BAD(policy.watermark, 1, "watermark");
  BAD(n_acceptance, 1, "query_tokens");
  BAD(imbalance_cv, -1, "imbalance_cv");
  BAD(host_step_s, (double)INFINITY, "host");
  BAD(max_context, -1, "max_context");
#undef BAD
  fc_step_table_free(t);
}

/* --- a closed loop --- */

/* Clients who send the next request as soon as the last is over. */
typedef struct {
  uint64_t next, total;
  fc_time ready[4];
  int n_ready;
} clients;

static bool ready(void *context, fc_time *at) {
  clients *c = context;
  if (!c->n_ready || c->next >= c->total) return false;
  *at = c->ready[0];
  return true;
}

static void send(void *context, fc_request *out) {
  clients *c = context;
  *out = (fc_request){.arrival = c->ready[0], .number = c->next++, .input_tokens = 10, .output_tokens = 100};
  for (int i = 1; i < c->n_ready; i++) c->ready[i - 1] = c->ready[i];
  c->n_ready--;
}

static void answered(void *context, uint64_t number, fc_time at) {
  clients *c = context;
  (void)number;
  c->ready[c->n_ready++] = at;
}

Test(replica_laws, a_closed_loop_keeps_its_clients_busy) {
  fc_step_coefficients k = {.base_s = 1e-3};
  fc_step_table *t = linear_table(&k, 1, 16, 1);
  fc_replica_def d = small_replica(t);
  for (int reference = 0; reference < 2; reference++) {
    d.reference = reference;
    clients c = {.total = 4000, .n_ready = 4};
    fc_request_source source = {&c, ready, send, answered};
    char why[256] = "";
    cr_assert_eq(fc_replica_run(&r, &d, &source, 1, why), FC_OK, "%s", why);
    cr_assert_eq(r.done, 4000);
    /* four at a time, 100 steps of 1 ms each: none waits */
    cr_assert(fabs(r.span_s - 1000 * 0.1) < 1e-6, "%g s", r.span_s);
    cr_assert_eq(r.ttft.max, r.ttft.min);
  }
  fc_step_table_free(t);
}
