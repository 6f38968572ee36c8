/* SPDX-License-Identifier: Apache-2.0 */
/* Replicas that come and go: the scaler, failures, what becomes of requests, who pays for which second. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <fleetcast/base/rng.h>
#include <fleetcast/serve/cluster.h>

#include "test_cluster_load.h"
#include "test_replica_load.h"

static fc_cluster_result all, again;

static const fc_step_coefficients COEFFICIENTS = {
    .base_s = 1e-3, .decode_request_s = 1e-5, .decode_context_s = 1e-8, .prefill_token_s = 1e-5};

enum { SAMPLES_MAX = 100000 };
static fc_cluster_sample sample[SAMPLES_MAX];
static size_t n_samples;

static void keep_sample(void *context, const fc_cluster_sample *s) {
  (void)context;
  cr_assert_lt(n_samples, SAMPLES_MAX);
  cr_assert_eq(s->in,
               s->done + s->refused + s->lost +
                   (uint64_t)(s->at_router + s->retrying + s->waiting + s->running),
               "at %g s", fc_time_to_s(s->at));
  sample[n_samples++] = *s;
}

static fc_cluster_def life_of(const fc_step_table *steps, int64_t n) {
  fc_cluster_def d = cluster_of(steps, n, FC_ROUTE_LEAST_REQUESTS);
  d.replica.kv_blocks = 800;
  return d;
}

static void run(fc_cluster_result *out, const fc_cluster_def *d, replica_load *l, uint64_t seed) {
  n_samples = 0;
  fc_request_source source = replica_load_source(l);
  cluster_run(out, d, &source, seed);
  cr_assert_eq(l->done, l->n);
  cr_assert_eq(out->in, l->n);
  cr_assert_eq(out->in_flight, 0);
  double sum = 0;
  for (int k = 0; k < FC_REPLICA_CONDITIONS; k++) sum += out->device_s[k];
  cr_assert(fabs(sum / out->total_device_s - 1) < 1e-9);
}

/* Requests of 200 tokens in and 100 out: 16 at a time on a replica take about 0.12 s, so 130/s. */
static void constant(replica_load *l, uint64_t seed, double rate, double start_s, uint64_t from,
                     uint64_t to) {
  fc_rng rng = fc_rng_keyed(seed, FC_STREAM_TEST, from, 0);
  double at = start_s;
  for (uint64_t i = from; i < to; i++) {
    at += fc_rng_exponential(&rng) / rate;
    l->request[i] =
        (fc_request){.arrival = fc_time_from_s(at), .number = i, .input_tokens = 200, .output_tokens = 100};
  }
}

/* --- the scaler --- */

static fc_cluster_def scaled(const fc_step_table *steps, fc_scale on, double target) {
  fc_cluster_def d = life_of(steps, 1);
  d.scale.on = on;
  d.scale.target = target;
  d.scale.replicas_max = 20;
  d.scale.interval_s = 2;
  d.scale.down_wait_s = 20;
  d.scale.provision_s = fc_dist_point(3);
  d.load_extra_s = 1;
  d.timeline_s = 1;
  d.sample = keep_sample;
  return d;
}

/* 20/s, then 400/s for two minutes, then 20/s. */
static replica_load a_step(void) {
  replica_load l = replica_load_new(2000 + 48000 + 4000);
  constant(&l, 1, 20, 0, 0, 2000);
  constant(&l, 1, 400, fc_time_to_s(l.request[1999].arrival), 2000, 50000);
  constant(&l, 1, 20, fc_time_to_s(l.request[49999].arrival), 50000, 54000);
  return l;
}

static int64_t held(const fc_cluster_sample *s) {
  return s->replicas[FC_REPLICA_PROVISIONING] + s->replicas[FC_REPLICA_LOADING] + s->replicas[FC_REPLICA_UP];
}

static double mean_up(double from_s, double to_s) {
  double sum = 0, n = 0;
  for (size_t i = 0; i < n_samples; i++) {
    double at = fc_time_to_s(sample[i].at);
    if (at < from_s || at >= to_s) continue;
    sum += (double)sample[i].replicas[FC_REPLICA_UP];
    n++;
  }
  return n > 0 ? sum / n : 0;
}

Test(cluster_life, scaler_follows_a_step_and_keeps_its_wait) {
  static const struct {
    fc_scale on;
    double target;
  } by[] = {{FC_SCALE_ON_REQUESTS, 10}, {FC_SCALE_ON_MEMORY, 0.25}, {FC_SCALE_ON_BUSY, 0.9}};
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  for (size_t k = 0; k < sizeof by / sizeof *by; k++) {
    fc_cluster_def d = scaled(t, by[k].on, by[k].target);
    replica_load l = a_step();
    run(&all, &d, &l, 1);
    double before = mean_up(20, 100), high = mean_up(160, 215), after = mean_up(300, 400);
    cr_assert(before >= 1 && before < 2.5, "%zu: %g before", k, before);
    cr_assert(high > before + 2 && high < 20, "%zu: %g in the high", k, high);
    cr_assert(after < high - 2, "%zu: %g after", k, after);
    fc_time last = -FC_HOUR;
    for (size_t i = 1; i < n_samples; i++) { /* seen every second, on the scaler's own grid */
      int64_t change = held(&sample[i]) - held(&sample[i - 1]);
      if (change < 0) /* a sample is at most 1 s late */
        cr_assert(sample[i].at - last >= 19 * FC_SECOND, "%zu: fewer at %g s, %g s after a change", k,
                  fc_time_to_s(sample[i].at), fc_time_to_s(sample[i].at - last));
      if (change) last = sample[i].at;
    }
    cr_assert(all.scaled_up > 2 && all.scaled_down > 2);
    cr_assert_eq(all.lost + all.refused, 0); /* draining loses nothing */
    cr_assert(all.device_s[FC_REPLICA_LOADING] > 0 && all.device_s[FC_REPLICA_PROVISIONING] > 0);
    double draining = all.device_s[FC_REPLICA_DRAINING]; /* requests take some 0.15 s */
    cr_assert(draining > 0 && draining < 0.5 * (double)all.scaled_down, "%zu: %g s draining", k, draining);
    fc_cluster_result_fini(&all);
    replica_load_free(&l);
  }
  fc_step_table_free(t);
}

/* The first change comes at an evaluation; it is felt a provisioning and a cold start later, not before. */
Test(cluster_life, a_new_replica_takes_provisioning_and_cold_start) {
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  fc_cluster_def d = scaled(t, FC_SCALE_ON_REQUESTS, 10);
  d.load_extra_s = 0.5;
  d.weights_bytes = 150e9;
  d.load_bytes_per_s = 10e9; /* 15 s */
  replica_load l = replica_load_new(20000);
  constant(&l, 3, 400, 0, 0, 20000);
  run(&all, &d, &l, 1);
  for (size_t i = 0; i < n_samples; i++) { /* wished for at 2 s, there at 5 s, up at 20.5 s */
    double at = fc_time_to_s(sample[i].at);
    int64_t up = sample[i].replicas[FC_REPLICA_UP], loading = sample[i].replicas[FC_REPLICA_LOADING];
    if (at < 20.4) cr_assert_eq(up, 1, "%lld up at %g s", (long long)up, at);
    if (at > 5.1 && at < 20.4) cr_assert_gt(loading, 0);
    if (at > 20.6) cr_assert_gt(up, 1);
  }
  fc_cluster_result_fini(&all);
  replica_load_free(&l);
  fc_step_table_free(t);
}

/* From none: the router keeps requests until a replica is up. */
Test(cluster_life, none_to_begin_with) {
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  fc_cluster_def d = scaled(t, FC_SCALE_ON_BUSY, 0.9);
  d.replicas = 0;
  d.scale.replicas_min = 0;
  replica_load l = replica_load_new(500);
  constant(&l, 3, 20, 0, 0, 500);
  run(&all, &d, &l, 1);
  cr_assert_eq(all.done, 500);
  cr_assert(all.router_peak > 60 && all.router_peak < 180, "%llu", (unsigned long long)all.router_peak);
  cr_assert(all.total.ttft.max > 5.9e9 && all.total.ttft.max < 7e9); /* 2 + 3 + 1 s */
  fc_cluster_result_fini(&all);
  d.router_queue_limit = 10;
  run(&all, &d, &l, 1);
  cr_assert_eq(all.router_peak, 10);
  cr_assert(all.router_refused > 50 && all.router_refused == all.refused);
  cr_assert_eq(all.done + all.refused, 500);
  fc_cluster_result_fini(&all);
  replica_load_free(&l);
  fc_step_table_free(t);
}

/* An idle replica that is not wanted leaves at once. */
Test(cluster_life, an_idle_replica_drains_in_no_time) {
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  fc_cluster_def d = scaled(t, FC_SCALE_ON_REQUESTS, 10);
  d.replicas = 5;
  replica_load l = replica_load_new(2);
  l.request[1].arrival = 10 * FC_SECOND;
  run(&all, &d, &l, 1);
  cr_assert_eq(all.scaled_down, 4);
  cr_assert(all.device_s[FC_REPLICA_DRAINING] < 1e-12);
  fc_cluster_result_fini(&all);
  replica_load_free(&l);
  fc_step_table_free(t);
}

/* A server busy 45 % of the time, that should be 20 %: three; 20 % of the interval are what each is then. */
Test(cluster_life, busy_time_is_counted_whole) {
  fc_step_coefficients k = {.prefill_token_s = 1e-3};
  fc_step_table *t = linear_table(&k, 1, 16, 1);
  fc_cluster_def d = scaled(t, FC_SCALE_ON_BUSY, 0.2);
  d.scale.interval_s = 100;
  d.scale.down_wait_s = 1e6;
  replica_load l = replica_load_new(400);
  for (uint64_t i = 0; i < l.n; i++) {
    l.request[i].arrival = (fc_time)i * FC_SECOND + FC_SECOND / 10;
    l.request[i].input_tokens = 450; /* 0.45 s */
    l.request[i].output_tokens = 0;
  }
  run(&all, &d, &l, 1);
  cr_assert_eq(n_samples > 300 ? sample[290].replicas[FC_REPLICA_UP] : -1, 3, "%lld",
               (long long)sample[290].replicas[FC_REPLICA_UP]);
  fc_cluster_result_fini(&all);
  replica_load_free(&l);
  fc_step_table_free(t);
}

/* A steady load within tolerance moves nothing. */
Test(cluster_life, bounds_and_tolerance_hold) {
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  fc_cluster_def d = scaled(t, FC_SCALE_ON_REQUESTS, 0.01); /* wants far more than there may be */
  d.scale.replicas_max = 3;
  replica_load l = replica_load_new(4000);
  constant(&l, 3, 20, 0, 0, 4000);
  run(&all, &d, &l, 1);
  for (size_t i = 0; i < n_samples; i++) cr_assert_leq(held(&sample[i]), 3);
  fc_cluster_result_fini(&all);
  d.scale.tolerance = 1e9;
  run(&all, &d, &l, 1);
  cr_assert_eq(all.scaled_up + all.scaled_down, 0);
  fc_cluster_result_fini(&all);
  d.scale.tolerance = 0.1;
  d.scale.up_most = 1;
  d.scale.up_wait_s = 30;
  run(&all, &d, &l, 1);
  for (size_t i = 1; i < n_samples; i++)
    if (sample[i].at < 31 * FC_SECOND) cr_assert_leq(held(&sample[i]), 2);
  fc_cluster_result_fini(&all);
  replica_load_free(&l);
  fc_step_table_free(t);
}

/* --- failures --- */

static fc_cluster_def failing(const fc_step_table *steps, double mtbf_s, double mttr_s, double shape) {
  fc_cluster_def d = life_of(steps, 4);
  d.failure.mean_s = mtbf_s;
  d.failure.shape = shape;
  d.failure.repair_s = fc_dist_point(mttr_s);
  return d;
}

Test(cluster_life, availability_is_mtbf_over_mtbf_and_mttr) {
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  static const double shape[] = {1, 0.7, 3};
  for (size_t k = 0; k < 3; k++) {
    fc_cluster_def d = failing(t, 300, 40, shape[k]);
    d.load_extra_s = 60;
    replica_load l = replica_load_new(20000);
    constant(&l, 3, 0.02, 0, 0, 20000); /* 10^6 s: some 2,500 failures a replica */
    run(&all, &d, &l, 1);
    double theory = 300.0 / 400, n = (double)all.failures;
    /* delta method: cv of lifetimes, 5 standard deviations */
    double cv2 = tgamma(1 + 2 / shape[k]) / pow(tgamma(1 + 1 / shape[k]), 2) - 1;
    double sd = theory * (1 - theory) * sqrt(cv2 / n);
    cr_assert(fabs(all.availability - theory) < 5 * sd, "shape %g: %g, theory %g +- %g", shape[k],
              all.availability, theory, sd);
    cr_assert(fabs(n / (4 * all.span_s / 400) - 1) < 5 * sqrt(cv2 / n), "%g failures", n);
    cr_assert(fabs(all.device_s[FC_REPLICA_DOWN] / (40 * n) - 1) < 0.001);
    cr_assert(fabs(all.device_s[FC_REPLICA_LOADING] / (60 * n) - 1) < 0.001);
    fc_cluster_result_fini(&all);
    replica_load_free(&l);
  }
  fc_step_table_free(t);
}

typedef struct {
  replica_load *load;
  uint64_t outcome[3], again;
} ends;

static void count_end(void *context, const fc_cluster_record *r) {
  ends *e = context;
  const fc_replica_record *q = &r->request;
  cr_assert_eq(q->arrival, e->load->request[q->number].arrival, "the first attempt's");
  cr_assert_geq(q->finish, q->first_token);
  cr_assert_geq(q->first_token, q->arrival);
  e->outcome[r->outcome]++;
  e->again += r->attempts > 1;
}

Test(cluster_life, requests_are_conserved_under_failures) {
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  static const uint64_t block[6] = {1, 2, 3, 4, 5, 6};
  for (uint64_t seed = 1; seed <= 60; seed++) {
    fc_cluster_def d = failing(t, 0.2 + 0.3 * (double)(seed % 5), seed % 3 ? 0.4 : 0, 1);
    d.route = (fc_route)(seed % FC_ROUTES);
    d.failure.retries = (uint32_t)(seed % 3);
    d.failure.retry_after_s = seed % 2 ? 0.05 : 0;
    d.replica.prefix_cache = seed % 4 > 1;
    d.replica.kv_blocks = seed % 5 ? 400 : 100;
    d.load_extra_s = seed % 7 ? 0 : 0.1;
    if (seed % 6 == 5) d.router_queue_limit = 3;
    if (seed % 4 == 3) { /* a scaler too, that never rests */
      d.scale = scaled(t, FC_SCALE_ON_TOKENS, 300).scale;
      d.scale.interval_s = 0.1;
      d.scale.down_wait_s = 0.1;
      d.scale.provision_s = (fc_dist){FC_DIST_UNIFORM, 0, 0.5, 0, -INFINITY, INFINITY};
    }
    replica_load l = replica_load_new(1500);
    constant(&l, seed, 150, 0, 0, 1500);
    for (uint64_t i = 0; i < l.n; i++) {
      l.request[i].block = block;
      l.request[i].block_tokens = 32;
      l.request[i].n_blocks = (uint32_t)(i % 7);
    }
    ends e = {.load = &l};
    d.context = &e;
    d.record = count_end;
    run(&all, &d, &l, seed);
    cr_assert_eq(e.outcome[FC_OUTCOME_DONE], all.done);
    cr_assert_eq(e.outcome[FC_OUTCOME_REFUSED], all.refused);
    cr_assert_eq(e.outcome[FC_OUTCOME_LOST], all.lost);
    cr_assert_eq(all.done + all.refused + all.lost, l.n);
    cr_assert_gt(all.failures, 3);
    if (d.failure.retries == 0) cr_assert(all.retries == 0 && all.lost > 0);
    if (d.failure.retries > 0) cr_assert(e.again > 0 && all.retries >= e.again);
    uint64_t lost = 0;
    for (size_t i = 0; i < all.n_replicas; i++) lost += all.by_replica[i].lost;
    cr_assert_eq(lost, all.retries + all.lost); /* none is still waiting to try again */
    run(&again, &d, &l, seed);
    cr_assert_eq(memcmp(all.by_replica, again.by_replica, all.n_replicas * sizeof *all.by_replica), 0);
    cr_assert_eq(memcmp(all.by_class, again.by_class, sizeof *all.by_class), 0);
    fc_cluster_result_fini(&all);
    fc_cluster_result_fini(&again);
    replica_load_free(&l);
  }
  fc_step_table_free(t);
}

/* A retry takes its client the time of both attempts. */
Test(cluster_life, one_failure_by_hand) {
  fc_step_coefficients k = {.prefill_token_s = 1e-3};
  fc_step_table *t = linear_table(&k, 1, 16, 1);
  fc_cluster_def d = life_of(t, 1);
  d.failure.mean_s = 1;
  d.failure.shape = 10;
  d.failure.repair_s = fc_dist_point(2);
  d.failure.retry_after_s = 0.25;
  d.load_extra_s = 0.5;
  d.replica.policy.token_budget = 4096;
  replica_load l = replica_load_new(1);
  l.request[0] = (fc_request){.input_tokens = 600};
  l.request[0].arrival = FC_SECOND / 2;
  n_samples = 0;
  run(&all, &d, &l, 1);
  double fails_s = all.span_s - 2.5 - 0.6; /* up 2.5 s later, 0.6 s of prefill */
  if (all.failures == 0) {
    cr_assert(fabs(all.span_s - 1.1) < 1e-6);
  } else {
    cr_assert_eq(all.failures, 1);
    cr_assert(fails_s > 0.5 && fails_s < 1.1, "%g", fails_s);
    cr_assert(fabs(all.device_s[FC_REPLICA_DOWN] - 2) < 1e-9);
    cr_assert(fabs(all.device_s[FC_REPLICA_LOADING] - 0.5) < 1e-9);
    cr_assert(fabs(all.router_wait_s - 2.25) < 1e-6);
    cr_assert(fabs(fc_digest_mean(&all.total.ttft) - (all.span_s - 0.5)) < 1e-6);
  }
  fc_cluster_result_fini(&all);
  replica_load_free(&l);
  fc_step_table_free(t);
}

/* Who breaks down while draining is not repaired: it was to go. */
Test(cluster_life, a_draining_replica_that_fails_is_gone) {
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  fc_cluster_def d = failing(t, 5, 3, 10);
  d.replicas = 2;
  d.failure.retries = 0;
  d.scale = scaled(t, FC_SCALE_ON_REQUESTS, 10).scale;
  d.scale.replicas_max = 2;
  replica_load l = replica_load_new(3);
  for (uint64_t i = 0; i < 3; i++) l.request[i] = (fc_request){.number = i, .input_tokens = 1};
  l.request[0].output_tokens = l.request[1].output_tokens = 11000; /* 11 s */
  l.request[2].arrival = 7 * FC_SECOND;
  run(&all, &d, &l, 1);
  cr_assert_eq(all.failures, 2);
  cr_assert_eq(all.lost, 2);
  cr_assert_eq(all.done, 1);
  cr_assert(fabs(all.device_s[FC_REPLICA_DOWN] - 3) < 1e-6, "%g", all.device_s[FC_REPLICA_DOWN]);
  cr_assert(all.device_s[FC_REPLICA_DRAINING] > 1);
  fc_cluster_result_fini(&all);
  replica_load_free(&l);
  fc_step_table_free(t);
}

/* --- the timeline --- */

Test(cluster_life, samples_add_up) {
  fc_step_table *t = linear_table(&COEFFICIENTS, 1, 16, 1);
  fc_cluster_def d = failing(t, 5, 1, 1);
  d.timeline_s = 0.1;
  d.sample = keep_sample;
  d.failure.retry_after_s = 0.4;
  replica_load l = replica_load_new(5000);
  constant(&l, 3, 200, 0, 0, 5000);
  run(&all, &d, &l, 1);
  cr_assert_eq(n_samples, (size_t)(all.span_s / 0.1) + 1);
  for (size_t i = 0; i < n_samples; i++) {
    int64_t n = 0;
    for (int k = 0; k < FC_REPLICA_CONDITIONS; k++) n += sample[i].replicas[k];
    cr_assert_eq(n, 4);
    cr_assert_eq(sample[i].at, (fc_time)i * FC_SECOND / 10);
    if (i) cr_assert_geq(sample[i].done, sample[i - 1].done);
  }
  fc_cluster_result_fini(&all);
  replica_load_free(&l);
  fc_step_table_free(t);
}
