/* SPDX-License-Identifier: Apache-2.0 */
/* Replicas apart: routes that look at no replica run each on a thread of its own, as on one clock. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <fleetcast/serve/cluster.h>

#include "test_cluster_load.h"
#include "test_replica_load.h"

static fc_cluster_result all, again;

static const fc_step_coefficients COEFFICIENTS = {.base_s = 1e-3,
                                                  .decode_request_s = 1e-5,
                                                  .decode_context_s = 1e-8,
                                                  .prefill_token_s = 1e-5,
                                                  .prefill_pair_s = 1e-9};

/* Told: in order of their ends. */
static void in_order(void *context, const fc_cluster_record *r) {
  replica_load *l = context;
  cr_assert_geq(r->request.finish, l->last_done);
  cluster_keep(context, r);
}

/* An open loop that no router looks at: apart, on any number of threads, as on one clock. */
Test(cluster_apart, apart_is_as_on_one_clock) {
  static const fc_slo_class slo[] = {{"a", 0.05, 0.002}, {"b", 0.1, 0.01}};
  static const uint64_t block[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  static const fc_step_coefficients whole = {.base_s = 1e-3}; /* arrivals at the very end of a step */
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1), *even = linear_table(&whole, 1, 16, 1);
  for (uint64_t seed = 1; seed <= 16; seed++) {
    uint64_t n = seed % 4 ? 6000 : 100;
    int64_t replicas = seed % 5 ? (int64_t)(seed % 5) * 3 : 1;
    bool ties = seed % 3 == 2;
    fc_cluster_def d =
        cluster_of(ties ? even : t, replicas, seed % 2 ? FC_ROUTE_RANDOM : FC_ROUTE_ROUND_ROBIN);
    d.replica.ingress_s = seed % 3 ? 0 : 1e-4;
    d.replica.egress_s = seed % 7 > 2 ? 0 : 2e-4;
    d.replica.kv_blocks = seed % 4 > 1 ? 400 : 120;
    d.replica.prefix_cache = seed % 8 > 3;
    d.n_classes = seed % 3 == 1 ? 2 : 0;
    d.slo = slo;
    replica_load l = replica_load_new(n), m = replica_load_new(n);
    bool prompts = seed > 10 && ties; /* alone: a step is an iteration */
    replica_load_random(&l, seed, (prompts ? 0.002 : 0.03) / (double)replicas);
    for (uint64_t i = 0; i < n; i++) {
      if (prompts) l.request[i].output_tokens = 1;
      if (ties) l.request[i].arrival -= l.request[i].arrival % (FC_SECOND / 1000);
      l.request[i].slo_class = i % 7 == 0;
      l.request[i].block = block;
      l.request[i].block_tokens = 32;
      l.request[i].n_blocks = l.request[i].input_tokens / 32 < 8 ? l.request[i].input_tokens / 32 : 8;
    }
    memcpy(m.request, l.request, n * sizeof *l.request);
    cluster_watch(&l, &d);
    fc_request_source source = replica_load_source(&l);
    cluster_run(&all, &d, &source, seed);
    for (int threads = 1; threads <= 5; threads += 2) {
      d.open_loop = true;
      d.threads = threads;
      d.context = &m;
      d.record = in_order;
      source = replica_load_source(&m);
      cluster_run(&again, &d, &source, seed);
      cr_assert_eq(m.recorded, n);
      cr_assert_eq(m.done, n);
      cr_assert_eq(memcmp(m.record, l.record, n * sizeof *l.record), 0);
      cr_assert_eq(memcmp(all.by_replica, again.by_replica, all.n_replicas * sizeof *all.by_replica), 0);
      cr_assert_eq(memcmp(all.by_class, again.by_class, all.n_classes * sizeof *all.by_class), 0);
      cr_assert_eq(memcmp(&all.total, &again.total, sizeof all.total), 0);
      cr_assert(all.past_idle == again.past_idle && all.end == again.end && all.attempts == again.attempts);
      fc_cluster_result_fini(&again);
    }
    fc_cluster_result_fini(&all);
    replica_load_free(&l);
    replica_load_free(&m);
  }
  fc_step_table_free(t);
  fc_step_table_free(even);
}

/* What is in front of the engine knows the requests that have come, not those that are drawn already. */
Test(cluster_apart, apart_nobody_waits_for_those_to_come) {
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  replica_load l = replica_load_new(3000), m = replica_load_new(3000);
  replica_load_random(&l, 3, 0.02);
  memcpy(m.request, l.request, l.n * sizeof *l.request);
  fc_cluster_def d = cluster_of(t, 3, FC_ROUTE_ROUND_ROBIN);
  d.replica.front_request_s = 1e-3;
  d.replica.steps_ahead = 1.2;
  for (int apart = 0; apart < 2; apart++) {
    cluster_watch(apart ? &m : &l, &d);
    d.open_loop = apart;
    fc_request_source source = replica_load_source(apart ? &m : &l);
    source.done = NULL; /* wants them in order; what is in front makes them overtake */
    cluster_run(&all, &d, &source, 1);
    fc_cluster_result_fini(&all);
  }
  cr_assert_eq(memcmp(m.record, l.record, l.n * sizeof *l.record), 0);
  replica_load_free(&l);
  replica_load_free(&m);
  fc_step_table_free(t);
}

typedef struct {
  fc_gaps gaps;
  uint64_t n, gaps_n[4000], come[4000], under_way[4000];
  fc_digest last;
} looks;

static void look_at_gaps(void *context, const fc_cluster_record *r) {
  looks *l = context;
  cr_assert_lt(l->n, 4000);
  l->gaps.sum(l->gaps.run, &l->last);
  cr_assert(l->n == 0 || l->last.n >= l->gaps_n[l->n - 1]);
  l->gaps_n[l->n] = l->last.n;
  l->come[l->n] = r->come;
  l->under_way[l->n++] = r->under_way;
}

/* While it runs: gaps so far, which in the end are all, and who is there: the same for any number of threads.
 */
Test(cluster_apart, tells_of_a_run_under_way) {
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  looks *x = calloc(1, sizeof *x), *first = calloc(1, sizeof *first);
  for (int threads = 0; threads <= 3; threads++) { /* 0: on one clock */
    fc_cluster_def d = cluster_of(t, 3, FC_ROUTE_ROUND_ROBIN);
    replica_load l = replica_load_new(4000);
    replica_load_random(&l, 5, 0.02);
    memset(x, 0, sizeof *x);
    d.gaps = &x->gaps;
    d.context = x;
    d.record = look_at_gaps;
    d.open_loop = threads > 0;
    d.threads = threads ? threads : 1;
    fc_request_source source = replica_load_source(&l);
    cluster_run(&all, &d, &source, 1);
    cr_assert_eq(x->n, l.n);
    cr_assert_eq(x->come[x->n - 1], l.n);
    cr_assert_eq(x->under_way[x->n - 1], 1);
    if (threads) cr_assert_eq(memcmp(&x->last, &all.total.itl, sizeof x->last), 0);
    cr_assert_eq(x->last.n, all.total.itl.n);
    if (threads == 0) *first = *x;
    cr_assert_eq(memcmp(x->come, first->come, sizeof x->come), 0);
    cr_assert_eq(memcmp(x->under_way, first->under_way, sizeof x->under_way), 0);
    if (threads > 1) cr_assert_eq(memcmp(x->gaps_n, first->gaps_n, sizeof x->gaps_n), 0);
    if (threads == 1) *first = *x;
    fc_cluster_result_fini(&all);
    replica_load_free(&l);
  }
  free(x);
  free(first);
  fc_step_table_free(t);
}
