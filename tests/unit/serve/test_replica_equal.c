/* SPDX-License-Identifier: Apache-2.0 */
/* Leaping equals one iteration at a time, on random loads and replicas of every policy. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <fleetcast/base/rng.h>

#include "fixture_models.h"
#include "test_replica_load.h"

static uint64_t below(fc_rng *rng, uint64_t n) {
  return (uint64_t)(fc_rng_uniform(rng) * (double)n);
}

static double log_between(fc_rng *rng, double low, double high) {
  return low * exp(fc_rng_uniform(rng) * log(high / low));
}

/* Prompts that share beginnings: block k of family f, whose first `common` blocks all have. */
enum { FAMILY_BLOCKS = 24 };
typedef struct {
  uint64_t block[8][FAMILY_BLOCKS];
} families;

static void make_families(families *f, fc_rng *rng) {
  for (uint64_t i = 0; i < 8; i++)
    for (uint64_t k = 0; k < FAMILY_BLOCKS; k++) f->block[i][k] = k < 1 + below(rng, 3) ? k : i * 1000 + k;
}

static void random_requests(replica_load *l, fc_rng *rng, const families *f, uint32_t block_tokens,
                            double gap_s, double input, double output) {
  double at = 0;
  for (uint64_t i = 0; i < l->n; i++) {
    fc_request *q = &l->request[i];
    if (below(rng, 4) > 0) at += gap_s * fc_rng_exponential(rng); /* some come together */
    q->arrival = fc_time_from_s(at);
    q->input_tokens = (uint32_t)ceil(log_between(rng, 1, input));
    q->output_tokens = below(rng, 20) ? (uint32_t)ceil(log_between(rng, 1, output)) : 0;
    if (below(rng, 200) == 0) q->input_tokens = 0;
    q->block_tokens = block_tokens;
    q->block = f->block[below(rng, 8)];
    q->n_blocks = (q->input_tokens + block_tokens - 1) / block_tokens;
    if (q->n_blocks > FAMILY_BLOCKS) q->n_blocks = FAMILY_BLOCKS;
  }
}

typedef struct {
  fc_step_coefficients coefficients;
  fc_serve_plan plan;
  fc_step_source source;
  fc_replica_def def;
  double input, output;
} scene;

static void random_replica(scene *s, fc_rng *rng) {
  static const char *const policy[] = {"vllm", "sglang", "trtllm", "trtllm_max_utilisation"};
  static const int64_t block[] = {1, 4, 16, 64};
  fc_replica_def *d = &s->def;
  *d = fc_replica_default_def();
  cr_assert(fc_serve_policy_named(&d->policy, policy[below(rng, 4)]));
  d->policy.max_batch = 1 + (int64_t)below(rng, 40);
  d->policy.token_budget = 1 + (int64_t)log_between(rng, 8, 2000);
  if (below(rng, 3) == 0) d->policy.watermark = 0.05 * fc_rng_uniform(rng);
  int64_t groups = below(rng, 3) ? 1 : 1 + (int64_t)below(rng, 4);
  if (below(rng, 3) == 0) {
    d->n_acceptance = 1 + (int)below(rng, 3);
    for (int i = 0; i < d->n_acceptance; i++) d->acceptance[i] = fc_rng_uniform(rng);
    d->sample_acceptance = below(rng, 2);
  }
  d->block_tokens = block[below(rng, 4)];
  d->prefix_cache = below(rng, 2);
  s->input = log_between(rng, 4, 1500);
  s->output = log_between(rng, 2, 600);
  double tokens = (s->input + s->output) * log_between(rng, 0.6, 12) + 4 * (double)d->block_tokens;
  d->kv_blocks = groups * (1 + (int64_t)(tokens / (double)d->block_tokens));
  if (below(rng, 4) == 0) {
    d->host_step_s = 1e-3 * fc_rng_uniform(rng);
    d->host_request_s = 1e-5 * fc_rng_uniform(rng);
    d->detokenise_s = 1e-5 * fc_rng_uniform(rng);
    d->ingress_s = 0.01 * fc_rng_uniform(rng);
    d->egress_s = 0.01 * fc_rng_uniform(rng);
  }
  double queries = 1 + (double)d->n_acceptance;
  s->coefficients = (fc_step_coefficients){.base_s = 1e-3 * fc_rng_uniform(rng),
                                           .decode_request_s = 1e-4 * fc_rng_uniform(rng),
                                           .decode_context_s = 1e-7 * fc_rng_uniform(rng),
                                           .prefill_token_s = 1e-5 * fc_rng_uniform(rng),
                                           .prefill_pair_s = 1e-9 * fc_rng_uniform(rng)};
  fc_step_table *t;
  if (below(rng, 3) == 0) {
    s->plan = (fc_serve_plan){.devices = groups, .tp = 1, .attention_dp = groups, .ep = 1};
    s->plan.gemm = s->plan.kv = FC_DTYPE_BF16;
    s->plan.memory_fraction = 0.9;
    s->source = (fc_step_source){&fixture_llama_8b, &fixture_h100_profile, &s->plan};
    fc_step_table_def td = fc_step_table_default_def();
    td.max_batch = 64;
    td.max_tokens = 2048;
    td.max_context = 4096;
    td.query_tokens = queries;
    td.graph_padding = below(rng, 2);
    cr_assert_eq(fc_step_table_of_model(&t, &td, &s->source), FC_OK);
  } else {
    t = linear_table(&s->coefficients, groups, 64, queries);
  }
  d->steps = t;
  if (below(rng, 4) == 0) d->policy.look_steps = 1 + (int64_t)below(rng, 20);
  if (below(rng, 4) == 0) d->policy.wait_steps = 1 + (int64_t)below(rng, 20);
  d->policy.wait_share = fc_rng_uniform(rng);
  if (below(rng, 4) == 0) d->policy.balance_steps = 1 + (int64_t)below(rng, 20);
}

static void compare(const fc_replica_result *a, const fc_replica_result *b, uint64_t seed) {
  unsigned long long s = seed;
  cr_assert_eq(a->done, b->done, "seed %llu", s);
  cr_assert_eq(memcmp(a->refused, b->refused, sizeof a->refused), 0, "seed %llu", s);
  cr_assert_eq(a->iterations, b->iterations, "seed %llu: %llu and %llu iterations", s,
               (unsigned long long)a->iterations, (unsigned long long)b->iterations);
  cr_assert_leq(a->leaps, b->leaps, "seed %llu", s);
  cr_assert_eq(a->preemptions, b->preemptions, "seed %llu", s);
  cr_assert_eq(a->prefilled_tokens, b->prefilled_tokens, "seed %llu", s);
  cr_assert_eq(a->cached_tokens, b->cached_tokens, "seed %llu", s);
  cr_assert_eq(a->kv_allocated, b->kv_allocated, "seed %llu", s);
  cr_assert_eq(a->cache_evicted, b->cache_evicted, "seed %llu", s);
  cr_assert_eq(a->kv_peak, b->kv_peak, "seed %llu", s);
  cr_assert_eq(a->batch_mean, b->batch_mean, "seed %llu", s);
  cr_assert_eq(a->itl.n, b->itl.n, "seed %llu: %llu and %llu gaps", s, (unsigned long long)a->itl.n,
               (unsigned long long)b->itl.n);
  cr_assert(fabs(a->itl.sum - b->itl.sum) <= 1e-7 * b->itl.sum, "seed %llu", s);
  cr_assert(fabs(a->itl.sum_squares - b->itl.sum_squares) <= 1e-6 * b->itl.sum_squares, "seed %llu", s);
  for (int percent = 1; percent < 100; percent += 7) {
    double p = 0.01 * percent, x = fc_digest_quantile(&a->itl, p), y = fc_digest_quantile(&b->itl, p);
    cr_assert(fabs(x - y) <= 0.008 * y + 1e-9, "seed %llu: ITL p%.0f %.9g and %.9g", s, 100 * p, x, y);
  }
  cr_assert(fabs(a->busy_s - b->busy_s) <= 1e-9 * b->busy_s, "seed %llu", s);
  cr_assert(fabs(a->energy_j - b->energy_j) <= 1e-6 * b->energy_j, "seed %llu: %g and %g J", s, a->energy_j,
            b->energy_j);
  cr_assert(fabs(a->kv_mean - b->kv_mean) <= 0.02 * b->kv_mean + 1, "seed %llu: cache %g and %g", s,
            a->kv_mean, b->kv_mean);
}

static void parts_sum(const fc_replica_result *r, uint64_t seed) {
  const fc_step_parts *p = &r->parts;
  double sum = p->attention_s + p->dense_s + p->experts_s + p->glue_s + p->head_s + p->comm_s + p->launch_s +
               p->host_s;
  cr_assert(fabs(sum - r->busy_s) <= 1e-6 * r->busy_s + 1e-9, "seed %llu: parts %g, busy %g",
            (unsigned long long)seed, sum, r->busy_s);
}

/* What the random scenes have visited, so that the test knows that it tests. */
typedef struct {
  uint64_t preempted, hits, evicted, refused[FC_REFUSED_REASONS], saved, mixed, apart;
} visited;

static void visit(visited *v, const fc_replica_result *leap) {
  v->preempted += leap->preemptions;
  v->hits += leap->cache_hits;
  v->evicted += leap->cache_evicted;
  for (int i = 0; i < FC_REFUSED_REASONS; i++) v->refused[i] += leap->refused[i];
  v->saved += leap->iterations - leap->leaps;
  v->mixed += leap->mixed_s > 0;
  v->apart += leap->prefill_s > 0 && leap->decode_s > 0 && !(leap->mixed_s > 0);
}

static void one_scene(uint64_t seed, visited *v) {
  static fc_replica_result leap, slow;
  static families f;
  scene s;
  fc_rng rng = fc_rng_keyed(seed, FC_STREAM_TEST, 0, 0);
  random_replica(&s, &rng);
  make_families(&f, &rng);
  replica_load l = replica_load_new(20 + below(&rng, 150)), m = replica_load_new(l.n);
  uint32_t block = (uint32_t)s.def.block_tokens * (uint32_t)(1 + below(&rng, 3));
  random_requests(&l, &rng, &f, block, log_between(&rng, 1e-4, 0.3), s.input, s.output);
  memcpy(m.request, l.request, l.n * sizeof *l.request);
  replica_load_watch(&l, &s.def);
  replica_load_run(&leap, &s.def, &l, seed);
  s.def.reference = true;
  replica_load_watch(&m, &s.def);
  replica_load_run(&slow, &s.def, &m, seed);
  compare(&leap, &slow, seed);
  visit(v, &leap);
  parts_sum(&leap, seed);
  parts_sum(&slow, seed);
  cr_assert_eq(l.recorded, l.n);
  for (uint64_t i = 0; i < l.n; i++) {
    const fc_replica_record *a = &l.record[i], *b = &m.record[i];
    int64_t first = llabs(a->first_token - b->first_token), finish = llabs(a->finish - b->finish);
    cr_assert(first <= 2 && finish <= 2, "seed %llu, request %llu: first token %lld ns, finish %lld ns apart",
              (unsigned long long)seed, (unsigned long long)i, (long long)first, (long long)finish);
    cr_assert(a->arrival <= a->admitted && a->admitted <= a->first_token && a->first_token <= a->finish);
    cr_assert_eq(a->preemptions, b->preemptions);
    cr_assert_eq(a->cached_tokens, b->cached_tokens);
  }
  replica_load_free(&l);
  replica_load_free(&m);
  fc_step_table_free((fc_step_table *)(uintptr_t)s.def.steps);
}

Test(replica_equal, leaping_is_one_iteration_at_a_time) {
  visited v = {0};
  for (uint64_t seed = 1; seed <= 400; seed++) one_scene(seed, &v);
  cr_assert(v.preempted > 1000 && v.hits > 1000 && v.evicted > 1000 && v.saved > 100000);
  cr_assert(
      v.refused[FC_REFUSED_PROMPT] > 20 && v.refused[FC_REFUSED_OUTPUT] > 20 &&
          v.refused[FC_REFUSED_EMPTY] > 10,
      "refused %llu prompts, %llu outputs, %llu empty", (unsigned long long)v.refused[FC_REFUSED_PROMPT],
      (unsigned long long)v.refused[FC_REFUSED_OUTPUT], (unsigned long long)v.refused[FC_REFUSED_EMPTY]);
  cr_assert(v.mixed > 50 && v.apart > 50);
}
