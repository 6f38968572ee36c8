/* SPDX-License-Identifier: Apache-2.0 */
/* Routes of a cluster: what each looks at and what it wins. */
#include <math.h>
#include <string.h>

#include <criterion/criterion.h>

#include <fleetcast/serve/cluster.h>

#include "test_cluster_load.h"
#include "test_replica_load.h"

static fc_cluster_result all;

static const fc_step_coefficients COEFFICIENTS = {.base_s = 1e-3,
                                                  .decode_request_s = 1e-5,
                                                  .decode_context_s = 1e-8,
                                                  .prefill_token_s = 1e-5,
                                                  .prefill_pair_s = 1e-9};

/* Sessions stay where their prefix is; spread at random they lose it. */
Test(cluster_routes, prefix_route_hits_more) {
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  double hits[2];
  for (int k = 0; k < 2; k++) {
    fc_cluster_def d = cluster_of(t, 4, k ? FC_ROUTE_PREFIX : FC_ROUTE_RANDOM);
    d.replica.prefix_cache = true;
    d.replica.kv_blocks = 2000;
    fc_load *load = cluster_closed_load(9, 24, 4000, 5);
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
Test(cluster_routes, prefix_guard_spreads_a_hot_prefix) {
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

Test(cluster_routes, length_route_keeps_lengths_apart) {
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
Test(cluster_routes, least_tokens_counts_tokens) {
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
Test(cluster_routes, lengths_without_a_replica_go_anywhere) {
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
Test(cluster_routes, predicted_work_beats_counting_requests) {
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

Test(cluster_routes, classes_are_counted_by_their_limits) {
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
