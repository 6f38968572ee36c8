/* SPDX-License-Identifier: Apache-2.0 */
/* A cluster of replicas that never fail: one is a replica; many obey symmetry and their routes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <fleetcast/base/rng.h>
#include <fleetcast/serve/cluster.h>
#include <fleetcast/workload/load.h>

#include "test_cluster_load.h"
#include "test_replica_load.h"

static fc_replica_result one;
static fc_cluster_result all, again;

static const fc_step_coefficients COEFFICIENTS = {.base_s = 1e-3,
                                                  .decode_request_s = 1e-5,
                                                  .decode_context_s = 1e-8,
                                                  .prefill_token_s = 1e-5,
                                                  .prefill_pair_s = 1e-9};

static void keep(void *context, const fc_cluster_record *r) {
  replica_load *l = context;
  cr_assert_lt(r->request.number, l->n);
  l->record[r->request.number] = r->request;
  l->recorded++;
}

static void watch(replica_load *l, fc_cluster_def *d) {
  d->context = l;
  d->record = keep;
}

/* --- one replica is a replica --- */

static void same(const fc_replica_result *a, const fc_cluster_result *b) {
  const fc_replica_result *t = &b->total;
  cr_assert_eq(memcmp(&a->ttft, &t->ttft, sizeof a->ttft), 0);
  cr_assert_eq(memcmp(&a->tpot, &t->tpot, sizeof a->tpot), 0);
  cr_assert_eq(memcmp(&a->e2e, &t->e2e, sizeof a->e2e), 0);
  cr_assert_eq(memcmp(&a->itl, &t->itl, sizeof a->itl), 0);
  cr_assert_eq(memcmp(&a->parts, &t->parts, sizeof a->parts), 0);
  cr_assert(a->iterations == t->iterations && a->leaps == t->leaps && a->end == t->end);
  cr_assert(a->preemptions == t->preemptions && a->kv_allocated == t->kv_allocated);
  cr_assert(a->prefilled_tokens == t->prefilled_tokens && a->cache_hits == t->cache_hits);
  cr_assert(!(fabs(a->busy_s - t->busy_s) > 0) && !(fabs(a->batch_mean - t->batch_mean) > 0));
  cr_assert(!(fabs(a->kv_peak - t->kv_peak) > 0));
}

Test(cluster, one_replica_is_a_replica_to_the_nanosecond) {
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  for (uint64_t seed = 1; seed <= 60; seed++) {
    fc_cluster_def d = cluster_of(t, 1, (fc_route)(seed % FC_ROUTES));
    if (seed % 3 == 1) cr_assert(fc_serve_policy_named(&d.replica.policy, "sglang"));
    d.replica.policy.max_batch = 16;
    d.replica.policy.token_budget = 256;
    d.replica.kv_blocks = seed % 4 ? 400 : 120;
    d.replica.ingress_s = seed % 5 ? 0 : 1e-4;
    d.replica.egress_s = seed % 7 ? 0 : 2e-4;
    replica_load l = replica_load_new(400), m = replica_load_new(400);
    replica_load_random(&l, seed, 0.05);
    memcpy(m.request, l.request, l.n * sizeof *l.request);
    fc_replica_def r = d.replica;
    replica_load_watch(&l, &r);
    replica_load_run(&one, &r, &l, seed);
    watch(&m, &d);
    fc_request_source source = replica_load_source(&m);
    cluster_run(&all, &d, &source, seed);
    same(&one, &all);
    cr_assert_eq(m.done, m.n);
    cr_assert_eq(m.recorded, m.n);
    cr_assert_eq(all.in, all.done + all.refused);
    for (uint64_t i = 0; i < l.n; i++) {
      cr_assert_eq(l.record[i].finish, m.record[i].finish, "seed %llu, request %llu",
                   (unsigned long long)seed, (unsigned long long)i);
      cr_assert_eq(l.record[i].first_token, m.record[i].first_token);
      cr_assert_eq(l.record[i].admitted, m.record[i].admitted);
    }
    fc_cluster_result_fini(&all);
    replica_load_free(&l);
    replica_load_free(&m);
  }
  fc_step_table_free(t);
}

/* A closed loop of clients and sessions with prefixes: the next request comes the moment one ends. */
static fc_load *closed_load(uint64_t seed, size_t concurrency, uint64_t requests, double turns) {
  fc_load_def d = fc_load_default_def();
  d.seed = seed;
  d.arrive = FC_ARRIVE_AT_ONCE;
  d.concurrency = concurrency;
  d.requests = requests;
  d.input = fc_dist_lognormal_cv(200, 1);
  d.output = fc_dist_lognormal_cv(60, 1);
  d.input_max = 1500;
  d.output_max = 400;
  d.context_max = 4000;
  d.block_tokens = 32;
  if (turns > 1) d.session.turns = (fc_dist){FC_DIST_UNIFORM, 1, turns, 0, -INFINITY, INFINITY};
  d.session.think_s = (fc_dist){FC_DIST_UNIFORM, 0.01, 0.3, 0, -INFINITY, INFINITY};
  d.session.new_tokens = fc_dist_point(40);
  fc_load *load;
  cr_assert_eq(fc_load_new(&load, &d, "test", NULL), FC_OK);
  return load;
}

Test(cluster, one_replica_is_a_replica_in_a_closed_loop) {
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  for (uint64_t seed = 1; seed <= 20; seed++) {
    fc_cluster_def d = cluster_of(t, 1, FC_ROUTE_PREFIX);
    d.replica.prefix_cache = true;
    d.replica.kv_blocks = 800;
    double turns = seed % 2 ? 5 : 1;
    size_t clients = 1 + seed; /* below and above the batch */
    fc_load *a = closed_load(seed, clients, 500, turns), *b = closed_load(seed, clients, 500, turns);
    fc_request_source from_a = fc_load_source(a), from_b = fc_load_source(b);
    cr_assert_eq(fc_replica_run(&one, &d.replica, &from_a, seed, NULL), FC_OK);
    cluster_run(&all, &d, &from_b, seed);
    cr_assert_eq(one.in, all.in);
    same(&one, &all);
    cr_assert_eq(one.cache_hits > 0, turns > 1);
    fc_cluster_result_fini(&all);
    fc_load_free(a);
    fc_load_free(b);
  }
  fc_step_table_free(t);
}

/* --- symmetry, determinism --- */

static const fc_route EVEN[] = {FC_ROUTE_ROUND_ROBIN, FC_ROUTE_LEAST_REQUESTS, FC_ROUTE_LEAST_TOKENS,
                                FC_ROUTE_LEAST_WORK,  FC_ROUTE_TWO_CHOICES,    FC_ROUTE_RANDOM};

/* No replica is preferred by its number: equals take turns. */
Test(cluster, equal_replicas_get_equal_shares) {
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  for (size_t k = 0; k < sizeof EVEN / sizeof *EVEN; k++)
    for (int load = 0; load < 2; load++) { /* nearly idle, busy */
      fc_cluster_def d = cluster_of(t, 7, EVEN[k]);
      replica_load l = replica_load_new(21000);
      replica_load_random(&l, 5, load ? 0.012 : 1);
      fc_request_source source = replica_load_source(&l);
      cluster_run(&all, &d, &source, 1);
      for (size_t i = 0; i < 7; i++)
        cr_assert(fabs((double)all.by_replica[i].in / 3000 - 1) < 0.09, "%s: replica %zu got %llu of 21000",
                  fc_route_name(EVEN[k]), i, (unsigned long long)all.by_replica[i].in);
      fc_cluster_result_fini(&all);
      replica_load_free(&l);
    }
  fc_step_table_free(t);
}

/* Requests by other names are served alike where names decide nothing. */
Test(cluster, what_a_request_is_called_does_not_matter) {
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  for (size_t k = 0; k < 4; k++) {
    fc_cluster_def d = cluster_of(t, 3, EVEN[k]);
    replica_load l = replica_load_new(2000), m = replica_load_new(2000);
    replica_load_random(&l, 8, 0.03);
    memcpy(m.request, l.request, l.n * sizeof *l.request);
    for (uint64_t i = 0; i < m.n; i++) m.request[i].number = m.n - 1 - i;
    watch(&l, &d);
    fc_request_source source = replica_load_source(&l);
    cluster_run(&all, &d, &source, 1);
    watch(&m, &d);
    source = replica_load_source(&m);
    cluster_run(&again, &d, &source, 2); /* nor does the seed */
    for (uint64_t i = 0; i < l.n; i++) cr_assert_eq(l.record[i].finish, m.record[m.n - 1 - i].finish);
    fc_cluster_result_fini(&all);
    fc_cluster_result_fini(&again);
    replica_load_free(&l);
    replica_load_free(&m);
  }
  fc_step_table_free(t);
}

Test(cluster, same_seed_same_bytes) {
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  for (int route = 0; route < FC_ROUTES; route++) {
    fc_cluster_def d = cluster_of(t, 5, (fc_route)route);
    d.replica.prefix_cache = true;
    d.n_lengths = 2;
    d.length_below[0] = 150;
    for (int k = 0; k < 2; k++) {
      fc_load *load = closed_load(3, 60, 3000, 5);
      fc_request_source source = fc_load_source(load);
      cluster_run(k ? &again : &all, &d, &source, 1);
      fc_load_free(load);
    }
    cr_assert_eq(memcmp(all.by_replica, again.by_replica, 5 * sizeof *all.by_replica), 0);
    cr_assert_eq(memcmp(all.by_class, again.by_class, sizeof *all.by_class), 0);
    cr_assert_eq(memcmp(&all.total.itl, &again.total.itl, sizeof all.total.itl), 0);
    cr_assert_eq(all.end, again.end);
    fc_cluster_result_fini(&all);
    fc_cluster_result_fini(&again);
  }
  fc_step_table_free(t);
}

/* --- replicas apart --- */

/* Told: in order of their ends. */
static void in_order(void *context, const fc_cluster_record *r) {
  replica_load *l = context;
  cr_assert_geq(r->request.finish, l->last_done);
  keep(context, r);
}

/* An open loop that no router looks at: apart, on any number of threads, as on one clock. */
Test(cluster, apart_is_as_on_one_clock) {
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
    watch(&l, &d);
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
Test(cluster, apart_nobody_waits_for_those_to_come) {
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  replica_load l = replica_load_new(3000), m = replica_load_new(3000);
  replica_load_random(&l, 3, 0.02);
  memcpy(m.request, l.request, l.n * sizeof *l.request);
  fc_cluster_def d = cluster_of(t, 3, FC_ROUTE_ROUND_ROBIN);
  d.replica.front_request_s = 1e-3;
  d.replica.steps_ahead = 1.2;
  for (int apart = 0; apart < 2; apart++) {
    watch(apart ? &m : &l, &d);
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
Test(cluster, tells_of_a_run_under_way) {
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

/* --- routes --- */

/* Sessions stay where their prefix is; spread at random they lose it. */
Test(cluster, prefix_route_hits_more) {
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  double hits[2];
  for (int k = 0; k < 2; k++) {
    fc_cluster_def d = cluster_of(t, 4, k ? FC_ROUTE_PREFIX : FC_ROUTE_RANDOM);
    d.replica.prefix_cache = true;
    d.replica.kv_blocks = 2000;
    fc_load *load = closed_load(9, 24, 4000, 5);
    fc_request_source source = fc_load_source(load);
    cluster_run(&all, &d, &source, 1);
    hits[k] = (double)all.total.cache_hits / (double)all.total.cache_lookups;
    fc_cluster_result_fini(&all);
    fc_load_free(load);
  }
  cr_assert(hits[1] > 1.3 * hits[0], "%g, at random %g", hits[1], hits[0]);
  fc_step_table_free(t);
}

/* Everyone asks for the same prefix: the guard spreads them, without it one replica gets all. */
Test(cluster, prefix_guard_spreads_a_hot_prefix) {
  static const uint64_t block[4] = {1, 2, 3, 4};
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  for (int guarded = 0; guarded < 2; guarded++) {
    fc_cluster_def d = cluster_of(t, 4, FC_ROUTE_PREFIX);
    d.replica.prefix_cache = true;
    d.guard_requests = guarded ? 8 : INT64_MAX;
    replica_load l = replica_load_new(2000);
    replica_load_random(&l, 4, 0.004);
    for (uint64_t i = 0; i < l.n; i++) {
      l.request[i].arrival += i ? FC_SECOND : 0; /* the first one's prompt is cached by then */
      l.request[i].input_tokens = 140;
      l.request[i].block = block;
      l.request[i].block_tokens = 32;
      l.request[i].n_blocks = 4;
    }
    fc_request_source source = replica_load_source(&l);
    cluster_run(&all, &d, &source, 1);
    uint64_t most = 0, fewest = UINT64_MAX;
    for (size_t i = 0; i < 4; i++) {
      if (all.by_replica[i].in > most) most = all.by_replica[i].in;
      if (all.by_replica[i].in < fewest) fewest = all.by_replica[i].in;
    }
    if (guarded)
      cr_assert(fewest > 200, "fewest %llu", (unsigned long long)fewest);
    else
      cr_assert(most > 1990, "most %llu", (unsigned long long)most);
    fc_cluster_result_fini(&all);
    replica_load_free(&l);
  }
  fc_step_table_free(t);
}

static void short_and_long(void *context, const fc_cluster_record *r) {
  uint64_t *wrong = context; /* even replicas take the short, odd ones the long */
  *wrong += (r->request.input_tokens >= 300) != (r->replica % 2 == 1);
}

Test(cluster, length_route_keeps_lengths_apart) {
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  fc_cluster_def d = cluster_of(t, 6, FC_ROUTE_LENGTH);
  d.n_lengths = 2;
  d.length_below[0] = 300;
  uint64_t wrong = 0;
  d.context = &wrong;
  d.record = short_and_long;
  replica_load l = replica_load_new(2000);
  replica_load_random(&l, 4, 0.02);
  fc_request_source source = replica_load_source(&l);
  cluster_run(&all, &d, &source, 1);
  cr_assert_eq(wrong, 0);
  fc_cluster_result_fini(&all);
  replica_load_free(&l);
  fc_step_table_free(t);
}

static void note_replica(void *context, const fc_cluster_record *r) {
  int64_t *replica = context;
  replica[r->request.number] = r->replica;
}

/* A long prompt here, two short ones there: the next goes there, though there are more. */
Test(cluster, least_tokens_counts_tokens) {
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  fc_cluster_def d = cluster_of(t, 2, FC_ROUTE_LEAST_TOKENS);
  int64_t replica[4] = {-1, -1, -1, -1};
  d.context = replica;
  d.record = note_replica;
  replica_load l = replica_load_new(4);
  for (uint64_t i = 0; i < 4; i++) {
    l.request[i].arrival = (fc_time)i * 1000;
    l.request[i].input_tokens = i ? 100 : 3000;
  }
  fc_request_source source = replica_load_source(&l);
  cluster_run(&all, &d, &source, 1);
  cr_assert(replica[0] == 0 && replica[1] == 1 && replica[2] == 1 && replica[3] == 1);
  fc_cluster_result_fini(&all);
  replica_load_free(&l);
  fc_step_table_free(t);
}

/* No replica of their own: long prompts go to the least loaded of all. */
Test(cluster, lengths_without_a_replica_go_anywhere) {
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  fc_cluster_def d = cluster_of(t, 2, FC_ROUTE_LENGTH);
  d.n_lengths = 2;
  d.length_below[0] = 10;
  d.length_share[1] = 1e-3;
  replica_load l = replica_load_new(1000);
  replica_load_random(&l, 4, 0.05);
  fc_request_source source = replica_load_source(&l);
  cluster_run(&all, &d, &source, 1);
  for (size_t i = 0; i < 2; i++) cr_assert(all.by_replica[i].in > 450);
  fc_cluster_result_fini(&all);
  replica_load_free(&l);
  fc_step_table_free(t);
}

/* Sizes that vary much: who knows them waits less than who counts heads. */
Test(cluster, predicted_work_beats_counting_requests) {
  fc_step_coefficients k = {.prefill_token_s = 1e-5};
  fc_step_table *t = linear_table(&k, 1, 1, 1);
  double mean[2];
  for (int by_work = 0; by_work < 2; by_work++) {
    fc_cluster_def d = cluster_of(t, 6, by_work ? FC_ROUTE_LEAST_WORK : FC_ROUTE_LEAST_REQUESTS);
    d.replica.policy.max_batch = 1;
    d.replica.policy.token_budget = 4096;
    d.replica.kv_blocks = 100000;
    replica_load l = replica_load_new(20000);
    replica_load_random(&l, 4, 0.0014);
    for (uint64_t i = 0; i < l.n; i++) {
      l.request[i].input_tokens = l.request[i].input_tokens % 10 ? 100 : 4000;
      l.request[i].output_tokens = 0;
    }
    fc_request_source source = replica_load_source(&l);
    cluster_run(&all, &d, &source, 1);
    mean[by_work] = fc_digest_mean(&all.total.e2e);
    fc_cluster_result_fini(&all);
    replica_load_free(&l);
  }
  cr_assert(mean[1] < 0.9 * mean[0], "%g, by requests %g", mean[1], mean[0]);
  fc_step_table_free(t);
}

/* --- SLO classes --- */

typedef struct {
  const fc_cluster_def *def;
  uint64_t within[2], over[2];
  double ttft[2];
} tally;

static void count_within(void *context, const fc_cluster_record *r) {
  tally *s = context;
  const fc_replica_record *q = &r->request;
  uint32_t k = q->slo_class;
  s->over[k]++;
  if (r->outcome != FC_OUTCOME_DONE) return;
  double ttft = fc_time_to_s(q->first_token - q->arrival), e2e = fc_time_to_s(q->finish - q->arrival);
  bool ok = ttft <= s->def->slo[k].ttft_s;
  if (q->output_tokens > 1) ok = ok && (e2e - ttft) / (q->output_tokens - 1) <= s->def->slo[k].tpot_s;
  s->within[k] += ok;
  s->ttft[k] += ttft;
}

Test(cluster, classes_are_counted_by_their_limits) {
  static const fc_slo_class slo[] = {{"chat", 0.05, 0.0022}, {"batch", INFINITY, 0.01}};
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  fc_cluster_def d = cluster_of(t, 3, FC_ROUTE_LEAST_REQUESTS);
  d.n_classes = 2;
  d.slo = slo;
  tally s = {.def = &d};
  d.context = &s;
  d.record = count_within;
  replica_load l = replica_load_new(4000);
  replica_load_random(&l, 6, 0.0029);
  for (uint64_t i = 0; i < l.n; i++) l.request[i].slo_class = i % 3 == 0;
  l.request[5].input_tokens = 100000; /* refused: misses */
  fc_request_source source = replica_load_source(&l);
  cluster_run(&all, &d, &source, 1);
  for (size_t k = 0; k < 2; k++) {
    const fc_cluster_class *c = &all.by_class[k];
    cr_assert_eq(c->in, s.over[k]);
    cr_assert_eq(c->within_both, s.within[k]);
    if (k == 0) cr_assert(c->within_both < c->within_ttft && c->within_both < c->within_tpot);
    cr_assert(fabs(c->attainment - (double)s.within[k] / (double)s.over[k]) < 1e-12);
    cr_assert(fabs(c->goodput_per_s * all.span_s / (double)s.within[k] - 1) < 1e-12);
    cr_assert(fabs(fc_digest_mean(&c->ttft) * (double)c->done / s.ttft[k] - 1) < 1e-6);
  }
  cr_assert_eq(all.by_class[0].refused + all.by_class[1].refused, 1);
  cr_assert(all.by_class[0].attainment > 0.02 && all.by_class[0].attainment < 0.98, "%g",
            all.by_class[0].attainment);
  cr_assert_eq(all.by_class[1].within_ttft, all.by_class[1].done);
  fc_cluster_result_fini(&all);
  replica_load_free(&l);
  fc_step_table_free(t);
}

/* --- what is wrong with a definition --- */

static void refused(const fc_cluster_def *bad, const char *word) {
  char why[256] = "";
  replica_load l = replica_load_new(1);
  fc_request_source source = replica_load_source(&l);
  cr_assert_eq(fc_cluster_run(&all, bad, &source, 1, why), FC_E_DOMAIN, "%s", word);
  cr_assert(strstr(why, word), "%s: %s", word, why);
  cr_assert_null(all.by_class);
  replica_load_free(&l);
}

Test(cluster, bad_definitions_are_told) {
  static const fc_slo_class none = {"none", 0, 1};
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  const fc_cluster_def good = cluster_of(t, 1, FC_ROUTE_RANDOM);
#define BAD(field, value, word)                                                                              \
  do {                                                                                                       \
    fc_cluster_def bad = good;                                                                               \
    bad.scale.on = FC_SCALE_ON_BUSY;                                                                         \
    bad.field = (value);                                                                                     \
    refused(&bad, word);                                                                                     \
  } while (0)
  BAD(replicas, -1, "replicas");
  BAD(replicas, 2, "replicas_max");
  BAD(route, FC_ROUTES, "route");
  BAD(prefix_share, (double)NAN, "prefix_share");
  BAD(guard_requests, -1, "guard");
  BAD(n_lengths, 9, "n_lengths");
  BAD(length_share[0], 0, "length_share");
  BAD(scale.on, FC_SCALES, "scale.on");
  BAD(scale.target, 0, "scale.target");
  BAD(scale.replicas_min, 2, "replicas_max");
  BAD(scale.interval_s, 0, "interval_s");
  BAD(scale.tolerance, (double)NAN, "tolerance");
  BAD(scale.down_wait_s, -1, "wait");
  BAD(scale.up_most, -1, "change");
  BAD(scale.provision_s.min, 1, "provision_s");
  BAD(failure.mean_s, -1, "failure.mean_s");
  BAD(failure.shape, 0, "failure.shape");
  BAD(failure.repair_s.a, (double)NAN, "repair_s");
  BAD(failure.retry_after_s, (double)INFINITY, "retry_after_s");
  BAD(weights_bytes, 1, "load_bytes_per_s");
  BAD(load_extra_s, -1, "cold start");
  BAD(router_queue_limit, -1, "router_queue_limit");
  BAD(n_classes, 1, "slo");
  BAD(threads, 0, "threads");
  BAD(timeline_s, -1, "timeline_s");
  BAD(replica.kv_blocks, 0, "kv_blocks");
  BAD(replica.role, FC_ROLE_DECODE, "role");
#undef BAD
  fc_cluster_def bad = good;
  bad.n_classes = 1;
  bad.slo = &none;
  refused(&bad, "limit");
  cr_assert_eq(fc_cluster_check(&good, NULL), FC_OK);
  cr_assert_null(fc_route_name(FC_ROUTES));
  fc_step_table_free(t);
}

Test(cluster, a_class_that_is_not_there_is_told) {
  static const fc_slo_class slo = {"only", 1, 1};
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  fc_cluster_def d = cluster_of(t, 1, FC_ROUTE_RANDOM);
  d.n_classes = 1;
  d.slo = &slo;
  replica_load l = replica_load_new(5);
  l.request[3].slo_class = 2;
  for (int apart = 0; apart < 2; apart++) {
    d.open_loop = apart;
    fc_request_source source = replica_load_source(&l);
    char why[256] = "";
    cr_assert_eq(fc_cluster_run(&all, &d, &source, 1, why), FC_E_DOMAIN);
    cr_assert(strstr(why, "request 3 is of class 2"), "%s", why);
  }
  replica_load_free(&l);
  fc_step_table_free(t);
}
