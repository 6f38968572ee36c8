/* SPDX-License-Identifier: Apache-2.0 */
/* A cluster of replicas that never fail: one is a replica; many obey symmetry and their routes. */
#include <math.h>
#include <string.h>

#include <criterion/criterion.h>

#include <fleetcast/serve/cluster.h>

#include "test_cluster_load.h"
#include "test_replica_load.h"

static fc_replica_result one;
static fc_cluster_result all, again;

static const fc_step_coefficients COEFFICIENTS = {.base_s = 1e-3,
                                                  .decode_request_s = 1e-5,
                                                  .decode_context_s = 1e-8,
                                                  .prefill_token_s = 1e-5,
                                                  .prefill_pair_s = 1e-9};

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
    cluster_watch(&m, &d);
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

Test(cluster, one_replica_is_a_replica_in_a_closed_loop) {
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  for (uint64_t seed = 1; seed <= 20; seed++) {
    fc_cluster_def d = cluster_of(t, 1, FC_ROUTE_PREFIX);
    d.replica.prefix_cache = true;
    d.replica.kv_blocks = 800;
    double turns = seed % 2 ? 5 : 1;
    size_t clients = 1 + seed; /* below and above the batch */
    fc_load *a = cluster_closed_load(seed, clients, 500, turns),
            *b = cluster_closed_load(seed, clients, 500, turns);
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
    cluster_watch(&l, &d);
    fc_request_source source = replica_load_source(&l);
    cluster_run(&all, &d, &source, 1);
    cluster_watch(&m, &d);
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
      fc_load *load = cluster_closed_load(3, 60, 3000, 5);
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
