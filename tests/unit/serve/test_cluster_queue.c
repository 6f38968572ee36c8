/* SPDX-License-Identifier: Apache-2.0 */
/* Servers of one request at a time behind a router: closed forms where there are, and their order. */
#include <math.h>

#include <criterion/criterion.h>

#include <fleetcast/base/rng.h>
#include <fleetcast/des/stats.h>
#include <fleetcast/serve/cluster.h>

#include "test_cluster_load.h"
#include "test_replica_load.h"

static fc_cluster_result all;

enum { WARM = 4000 };

typedef struct {
  fc_rng arrival, size;
  double at, mean_gap;
  uint64_t n, next;
  bool exponential;
  fc_batches sojourn;
  double sum, sum_squares; /* of sizes, in mean services */
} stream;

static bool peek(void *context, fc_time *arrival) {
  stream *s = context;
  *arrival = fc_time_from_s(s->at);
  return s->next < s->n;
}

static void take(void *context, fc_request *out) {
  stream *s = context;
  uint32_t size = s->exponential ? (uint32_t)ceil(1000 * fc_rng_exponential(&s->size) + 1e-12) : 1000;
  *out = (fc_request){.arrival = fc_time_from_s(s->at), .number = s->next++, .input_tokens = size};
  s->at += fc_rng_exponential(&s->arrival) * s->mean_gap;
}

static void record(void *context, const fc_cluster_record *r) {
  stream *s = context;
  cr_assert_eq(r->outcome, FC_OUTCOME_DONE);
  if (r->request.number >= WARM)
    fc_batches_add(&s->sojourn, fc_time_to_s(r->request.finish - r->request.arrival));
}

/* Mean time in a system of n servers, one request at a time each, mean service 1 ms; half its interval. */
static double sojourn(fc_route route, int64_t n, bool exponential, double rho, uint64_t seed, double *half) {
  double mean_tokens = exponential ? 1000.5 : 1000;
  fc_step_coefficients k = {.prefill_token_s = 1e-3 / mean_tokens};
  fc_step_table *t = linear_table(&k, 1, 1, 1);
  fc_cluster_def d = cluster_of(t, n, route);
  d.replica.policy.max_batch = 1;
  d.replica.policy.token_budget = 10000000;
  d.replica.block_tokens = 64;
  d.replica.kv_blocks = 100000000;
  stream s = {.arrival = fc_rng_keyed(seed, FC_STREAM_ARRIVAL, 0, 0),
              .size = fc_rng_keyed(seed, FC_STREAM_SIZE, 0, 0),
              .mean_gap = 1e-3 / rho / (double)n,
              .n = 400000,
              .exponential = exponential};
  d.context = &s;
  d.record = record;
  cluster_run(&all, &d, &(fc_request_source){&s, peek, take, NULL}, seed);
  fc_step_table_free(t);
  *half = fc_batches_half_width(&s.sojourn, 1 - 0.01 / 10);
  return fc_batches_mean(&s.sojourn);
}

static void hold(const char *name, double mean, double half, double theory) {
  cr_assert(fabs(mean - theory) <= half + 1e-4 * theory, "%s: %.6g +- %.2g s, theory %.6g s", name, mean,
            half, theory);
  cr_assert(half < 0.1 * theory, "%s: +- %.2g s says little", name, half);
}

/* A Poisson stream split at random is as many Poisson streams. */
Test(cluster_queue, random_split_is_independent_queues) {
  double half, rho = 0.7, mean = sojourn(FC_ROUTE_RANDOM, 5, false, rho, 11, &half);
  hold("5 x M/D/1", mean, half, 1e-3 * (1 + rho / (2 * (1 - rho))));
  fc_cluster_result_fini(&all);
  mean = sojourn(FC_ROUTE_RANDOM, 5, true, rho, 12, &half);
  hold("5 x M/M/1", mean, half, 1e-3 / (1 - rho));
  for (size_t i = 0; i < 5; i++) { /* binomial shares, 5 standard deviations */
    double share = (double)all.by_replica[i].in / (double)all.in;
    cr_assert(fabs(share - 0.2) < 5 * sqrt(0.2 * 0.8 / (double)all.in), "%g", share);
  }
  fc_cluster_result_fini(&all);
}

/* In turn: gaps of a replica are Erlang-2; E_2/M/1 by its root, E_2/D/1 has none as short. */
Test(cluster_queue, round_robin_is_erlang_arrivals) {
  double half, rho = 0.8, mean = sojourn(FC_ROUTE_ROUND_ROBIN, 2, true, rho, 13, &half), sigma = 0.5;
  /* sigma = A*(mu (1 - sigma)), A* the transform of Erlang-2 gaps of mean 1 / (mu rho) */
  for (int i = 0; i < 200; i++) {
    double x = 2 * rho / (2 * rho + 1 - sigma);
    sigma = x * x;
  }
  hold("E_2/M/1", mean, half, 1e-3 / (1 - sigma));
  cr_assert_leq(all.by_replica[0].in - all.by_replica[1].in, 1);
  fc_cluster_result_fini(&all);
}

/* Two M/M/1 behind the shorter queue: between M/M/2, which no router can beat, and a split at random. */
Test(cluster_queue, shortest_queue_beats_two_choices_beats_turns_beats_chance) {
  static const fc_route route[] = {FC_ROUTE_LEAST_REQUESTS, FC_ROUTE_TWO_CHOICES, FC_ROUTE_ROUND_ROBIN,
                                   FC_ROUTE_RANDOM};
  double before = 0, before_half = 0, rho = 0.9, half;
  for (size_t i = 0; i < 4; i++) {
    double mean = sojourn(route[i], 8, true, rho, 14, &half);
    cr_assert(mean - half > before + before_half, "%s: %g +- %g after %g +- %g", fc_route_name(route[i]),
              mean, half, before, before_half);
    before = mean;
    before_half = half;
    if (i == 0) { /* M/M/8, Erlang's C */
      double a = 8 * rho, term = 1, sum = 1;
      for (int k = 1; k < 8; k++) sum += term *= a / k;
      term *= a / 8 / (1 - rho);
      double mm8 = 1e-3 * (1 + term / (sum + term) / (8 * (1 - rho)));
      cr_assert(mean + half > mm8, "%g below M/M/8's %g", mean, mm8);
      cr_assert(mean < 2.2 * mm8, "%g, M/M/8 %g", mean, mm8);
      cr_assert_eq(all.past_idle, 0);
    } else if (i == 3) {
      cr_assert_gt(all.past_idle, 0);
    }
    fc_cluster_result_fini(&all);
  }
}
