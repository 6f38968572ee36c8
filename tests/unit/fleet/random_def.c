/* SPDX-License-Identifier: Apache-2.0 */
#include "random_def.h"

#include <math.h>
#include <string.h>

#include <fleetcast/base/rng.h>

#define START (19723 * FC_DAY + 7 * FC_HOUR + 13 * FC_MINUTE) /* no round hour */

/* Every draw is a statement of its own: the order within an initialiser is the compiler's choice. */
static double real(fc_rng *r, double low, double high) {
  return low + (high - low) * fc_rng_uniform(r);
}

static int64_t whole(fc_rng *r, int64_t low, int64_t high) { /* [low, high] */
  return low + (int64_t)(fc_rng_u64(r) % (uint64_t)(high - low + 1));
}

static bool coin(fc_rng *r, double p) {
  return fc_rng_uniform(r) < p;
}

static fc_time date(fc_rng *r, const fc_fleet_def *def) {
  return def->start - 20 * FC_DAY +
         (fc_time)(fc_rng_uniform(r) * (double)(def->end - def->start + 30 * FC_DAY));
}

static fc_failure failure(fc_rng *r) {
  fc_failure f;
  f.device_mtbf_s = coin(r, 0.3) ? (double)INFINITY : real(r, 1e5, 1e8);
  f.restart_s = coin(r, 0.2) ? 0 : real(r, 0, 7200);
  f.checkpoint_s = coin(r, 0.3) ? 0 : real(r, 100, 20000);
  f.checkpoint_write_s = coin(r, 0.3) ? 0 : real(r, 0, 300);
  return f;
}

static void make_pools(random_def *s, fc_rng *r) {
  static const char *const name[RANDOM_POOLS] = {"a", "b", "c", "d"};
  for (int p = 0; p < RANDOM_POOLS; p++) {
    fake_device d = fake_plain;
    d.name = name[p];
    d.node = coin(r, 0.5) ? 1 : whole(r, 2, 8);
    d.h100e = real(r, 0.2, 4);
    if (coin(r, 0.1)) d.train = 0;
    if (p > 0 && coin(r, 0.1)) d.decode = 0;
    fake_profile_make(&s->profile[p], &d);
    for (int i = 0; i < 3; i++) {
      fc_delivery *lot = &s->delivery[p][i];
      lot->date = date(r, &s->def);
      lot->over_s = coin(r, 0.5) ? 0 : real(r, 0, 30 * 86400.0);
      lot->devices = coin(r, 0.1) ? 0 : real(r, 0, 300);
    }
    fc_pool_def *pool = &s->pool[p];
    *pool = fake_pool(name[p], &s->profile[p], s->delivery[p], (size_t)whole(r, 0, 3));
    if (coin(r, 0.7)) pool->device_mtbf_s = real(r, 1e5, 1e7);
    pool->repair_s = coin(r, 0.2) ? 0 : real(r, 60, 5 * 86400.0);
    pool->lag_s = coin(r, 0.5) ? 0 : real(r, 0, 10 * 86400.0);
    pool->life_s = coin(r, 0.5) ? 0 : real(r, 86400, 30 * 86400.0);
    pool->pue = real(r, 1, 1.5);
    s->order[p] = p;
  }
  for (int p = RANDOM_POOLS - 1; p > 0; p--) {
    int64_t q = whole(r, 0, p);
    int32_t t = s->order[p];
    s->order[p] = s->order[q];
    s->order[q] = t;
  }
}

static void make_services(random_def *s, fc_rng *r) {
  static const char *const name[RANDOM_SERVICES] = {"chat", "api", "code",
                                                    "chat"}; /* a name may come twice */
  for (int h = 0; h < 168; h++) s->shape.factor[h] = 1 + 0.9 * sin(0.2617993877991494 * h);
  for (int i = 0; i < RANDOM_SERVICES; i++) {
    s->demand[i][0].at = s->def.start, s->demand[i][1].at = s->def.end;
    s->demand[i][0].value = real(r, 1, 60000);
    s->demand[i][1].value = real(r, 1, 60000);
    fc_series tokens = {.interp = FC_SERIES_LOG, .n = 2, .point = s->demand[i]};
    fc_service_def *service = &s->service[i];
    *service = fake_service(name[i], &s->model, tokens);
    if (coin(r, 0.5)) service->shape = &s->shape;
    service->burst_sigma = coin(r, 0.5) ? 0 : real(r, 0, 1);
    service->burst_time_s = real(r, 0, 20000);
    service->headroom = coin(r, 0.5) ? 0 : real(r, 0, 0.5);
    service->patience_s = coin(r, 0.2) ? 0 : coin(r, 0.1) ? (double)INFINITY : real(r, 0, 90000);
    service->priority = (int)whole(r, 0, 9);
    service->scaling = coin(r, 0.5) ? FC_SCALING_HOURLY : FC_SCALING_PEAK;
    service->efficiency_per_year = real(r, 0.5, 10);
    service->request.cache_hit = coin(r, 0.5) ? 0 : real(r, 0, 0.9);
    if (coin(r, 0.6)) {
      service->deployment = (fc_deployment){.disaggregated = coin(r, 0.7)};
      service->deployment.prefill.devices = whole(r, 1, 16);
      service->deployment.decode.devices = whole(r, 1, 40);
    }
    if (coin(r, 0.4)) service->pools = s->order, service->n_pools = RANDOM_POOLS;
  }
}

static void make_jobs(random_def *s, fc_rng *r) {
  static const char *const name[] = {"v1", "v2", "rl", "big", "late", "tries", "tunes", "tries"};
  for (int i = 0; i < RANDOM_RUNS; i++) {
    int64_t devices = coin(r, 0.1) ? 100000 : whole(r, 1, 400);
    fc_run_def *run = &s->run[i];
    fc_time at = date(r, &s->def);
    *run = fake_run(name[i], &s->model, at, devices, (double)devices * 100 * real(r, 1, 20 * 86400.0));
    run->failure = failure(r);
    run->priority = (int)whole(r, 0, 9);
    run->preemptible = coin(r, 0.6);
    if (coin(r, 0.3))
      run->rollout_tokens = run->tokens * real(r, 0, 2), run->category = FC_CATEGORY_POST_TRAINING;
    if (coin(r, 0.1)) run->tokens = 0;
    if (coin(r, 0.3)) run->pools = s->order, run->n_pools = (size_t)whole(r, 1, RANDOM_POOLS);
  }
  for (int i = 0; i < RANDOM_STREAMS; i++) {
    fc_dist work = fc_dist_lognormal_p90(real(r, 1e4, 1e6), 4e6),
            gang = fc_dist_lognormal_p90(8, real(r, 16, 200));
    bool load = coin(r, 0.4);
    fc_series series = fake_series(&s->rate[i], load ? real(r, 0, 200) : real(r, 0, 2e-3));
    fc_stream_def *stream = &s->stream[i];
    *stream = fake_stream(name[5 + i], &s->model, load ? (fc_series){0} : series, work, gang);
    if (load) stream->load_devices = series;
    stream->failure = failure(r);
    stream->priority = (int)whole(r, 0, 9);
    stream->preemptible = coin(r, 0.7);
    stream->rollout_share = coin(r, 0.7) ? 0 : real(r, 0, 1);
    if (coin(r, 0.3)) stream->pools = s->order, stream->n_pools = (size_t)whole(r, 1, RANDOM_POOLS);
  }
}

static void make_policies(random_def *s, fc_rng *r) {
  for (int i = 0; i < RANDOM_OTHERS; i++) {
    s->other[i] = (fc_other_def){.name = "ads", .share = fake_series(&s->share[i], real(r, 0, 0.7))};
    if (coin(r, 0.5)) s->other[i].pools = s->order, s->other[i].n_pools = (size_t)whole(r, 1, RANDOM_POOLS);
  }
  for (int i = 0; i < RANDOM_POLICIES; i++) {
    fc_policy_def *policy = &s->policy[i];
    policy->name = "policy";
    policy->kind = (fc_policy_kind)whole(r, 0, 3);
    policy->date = date(r, &s->def);
    policy->until = coin(r, 0.3) ? 0 : policy->date + whole(r, 0, 20 * FC_DAY);
    policy->pool = (int32_t)whole(r, -1, RANDOM_POOLS - 1);
    policy->to = (int32_t)whole(r, -1, RANDOM_POOLS - 1);
    policy->service = (int32_t)whole(r, -1, RANDOM_SERVICES - 1);
    policy->factor = coin(r, 0.2) ? 0 : real(r, 0, 2);
  }
}

void random_def_make(random_def *s, uint64_t seed) {
  memset(s, 0, sizeof *s);
  fc_rng rng = fc_rng_keyed(seed, FC_STREAM_TEST, 0, 0), *r = &rng;
  s->model = fake_model(1000, whole(r, 1, 40));
  s->def = (fc_fleet_def){.name = "random",
                          .start = START,
                          .seed = seed,
                          .pools = s->pool,
                          .services = s->service,
                          .runs = s->run,
                          .streams = s->stream,
                          .others = s->other,
                          .policies = s->policy,
                          .n_pools = RANDOM_POOLS};
  s->def.end = START + whole(r, 2 * FC_HOUR, 70 * FC_DAY);
  s->def.epoch_s = coin(r, 0.6) ? 3600 : real(r, 600, 40000);
  s->def.bucket = (fc_bucket)whole(r, 0, 2);
  s->def.residual_is_unexplained = coin(r, 0.5);
  s->def.n_services = (size_t)whole(r, 0, RANDOM_SERVICES);
  s->def.n_runs = (size_t)whole(r, 0, RANDOM_RUNS);
  s->def.n_streams = (size_t)whole(r, 0, RANDOM_STREAMS);
  s->def.n_others = (size_t)whole(r, 0, RANDOM_OTHERS);
  s->def.n_policies = (size_t)whole(r, 0, RANDOM_POLICIES);
  make_pools(s, r);
  make_services(s, r);
  make_jobs(s, r);
  make_policies(s, r);
}
