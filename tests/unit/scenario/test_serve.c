/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/scenario/load.h>

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "scenario_support.h"
#include "serve_text.h"

static const fc_load_options with_data = {
    .n_data_dirs = 1, .data_dirs = test_data_dirs, .files = &fc_input_disk};

/* What a file leaves out comes from the engine's policy, the model and the benchmark clients. */
Test(serve_input, little_is_needed) {
  fc_input *input = parse_ok("kind: serve\nmodel: tiny\ndevice: alpha\nload: {rate: 3 /s}\n", &with_data);
  const fc_serve_def *d = fc_input_serve(input);
  cr_assert_not_null(d);
  cr_expect_null(fc_input_fleet(input));
  cr_expect_str_eq(d->name, "x");
  cr_expect_str_eq(d->profile->name, "alpha");
  cr_expect_eq(d->plan.devices, 1);
  cr_expect_eq(d->plan.gemm, FC_DTYPE_BF16);
  cr_expect_eq(d->plan.memory_fraction, 0.9);
  fc_serve_policy vllm;
  cr_assert(fc_serve_policy_named(&vllm, "vllm"));
  cr_expect_str_eq(d->engine.scheduler.name, "vllm");
  cr_expect_eq(d->engine.scheduler.max_batch, vllm.max_batch);
  cr_expect_eq(d->engine.scheduler.mixed, vllm.mixed);
  cr_expect_eq(d->engine.block_tokens, 16);
  cr_expect_eq(d->load.arrive, FC_SERVE_ARRIVE_AUTO);
  cr_expect_eq(d->load.rate_per_s, 3);
  cr_expect_eq(d->load.input.a, 1024);
  cr_expect_eq(d->load.session.turns.a, 1);
  cr_expect_eq(d->stop.width, 0.05);
  cr_expect_eq(d->stop.warm_up, 0.1);
  cr_expect_null(d->apart);
  expect_round_trip(input, &with_data);
  fc_input_free(input);
}

/* A value that is stated wins over the policy's, also where it is 0 or false. */
Test(serve_input, scheduler_overrides) {
  fc_input *input =
      parse_ok("kind: serve\nmodel: tiny\ndevice: alpha\nload: {rate: 3 /s}\n"
               "engine: {scheduler: {policy: sglang, mixed: true, reserve_floor: 0, max_batch: 7}}\n",
               &with_data);
  const fc_serve_policy *p = &fc_input_serve(input)->engine.scheduler;
  fc_serve_policy sglang;
  cr_assert(fc_serve_policy_named(&sglang, "sglang"));
  cr_expect_str_eq(p->name, "sglang");
  cr_expect(p->mixed && !sglang.mixed);
  cr_expect(p->reserve_floor == 0 && sglang.reserve_floor > 0);
  cr_expect_eq(p->max_batch, 7);
  cr_expect_eq(p->token_budget, sglang.token_budget);
  cr_expect_eq(p->reserve, FC_RESERVE_EXPECTED);
  cr_expect_eq(p->reserve_start, sglang.reserve_start);
  expect_round_trip(input, &with_data);
  fc_input_free(input);
}

Test(serve_input, every_key) {
  fc_input *input = parse_ok(everything, &with_data);
  const fc_serve_def *d = fc_input_serve(input);
  cr_assert_not_null(d->apart);
  cr_expect_eq(d->apart->plan.tp, 2);
  cr_expect_eq(d->apart->plan.devices, 2);
  cr_expect_str_eq(d->apart->scheduler.name, "trtllm");
  cr_expect(!d->apart->link_shared);
  cr_expect_eq(d->apart->link_bytes_per_s, 400e9);
  cr_expect_eq(d->engine.n_acceptance, 2);
  cr_expect_eq(d->engine.acceptance[1], 0.5);
  cr_expect_eq(d->engine.host.token_s, 2e-6);
  cr_expect_eq(d->load.arrive, FC_SERVE_ARRIVE_GAMMA);
  cr_expect_eq(d->load.demand->rate_per_s.n, 2);
  cr_expect_not_null(d->load.demand->shape);
  cr_expect_eq(d->load.prefix.groups, 10);
  cr_expect_eq(d->load.session.tool_s.a, 2);
  cr_expect_eq(d->load.output.kind, FC_DIST_UNIFORM);
  cr_expect_eq(d->n_classes, 2);
  cr_expect_eq(d->classes[0].tpot_s, 0.05);
  cr_expect_eq(d->classes[1].ttft_s, 0);
  cr_expect_eq(d->price_usd_per_s, 2.0 / 3600);
  cr_expect(d->requests && d->timeline);
  expect_round_trip(input, &with_data);
  fc_input_free(input);
}

Test(serve_input, overrides_reach_in) {
  static const char *const set[] = {"engine.scheduler.max_batch=9", "load.rate=4 /s"};
  fc_load_options options = with_data;
  options.n_set = 2;
  options.set = set;
  fc_input *input = parse_ok("kind: serve\nmodel: tiny\ndevice: alpha\nload: {rate: 3 /s}\n", &options);
  cr_expect_eq(fc_input_serve(input)->engine.scheduler.max_batch, 9);
  cr_expect_eq(fc_input_serve(input)->load.rate_per_s, 4);
  fc_input_free(input);
}

Test(serve_input, a_cluster) {
  fc_input *input = parse_ok(several, &with_data);
  const fc_serve_cluster *c = fc_input_serve(input)->cluster;
  cr_assert_not_null(c);
  cr_expect_eq(c->route, FC_ROUTE_LENGTH);
  cr_expect_eq(c->n_length_share, 3);
  cr_expect_eq(c->length_below[1], 4000);
  cr_expect_eq(c->scale.on, FC_SCALE_ON_MEMORY);
  cr_expect_eq(c->scale.target, 0.6);
  cr_expect_eq(c->scale.provision_s.kind, FC_DIST_LOGNORMAL);
  cr_expect_eq(c->failure.mean_s, 30 * 86400.0);
  cr_expect_eq(c->failure.repair_s.a, 7200);
  cr_expect_eq(c->retries, 3);
  cr_expect_eq(c->load_bytes_per_s, 1e10);
  expect_round_trip(input, &with_data);
  fc_input_free(input);
}

/* The defaults of the tables are the engine's. */
Test(serve_input, defaults_of_a_cluster) {
  fc_input *input = parse_ok("kind: serve\nmodel: tiny\ndevice: alpha\nload: {rate: 3 /s}\n"
                             "cluster: {scaling: {on: busy}, failures: {mtbf: 1 d}}\n",
                             &with_data);
  const fc_serve_cluster *c = fc_input_serve(input)->cluster;
  fc_cluster_def d = fc_cluster_default_def();
  cr_expect_eq(c->replicas, d.replicas);
  cr_expect_eq(c->route, d.route);
  cr_expect_eq(c->prefix_share, d.prefix_share);
  cr_expect_eq(c->guard_ratio, d.guard_ratio);
  cr_expect_eq(c->guard_requests, d.guard_requests);
  cr_expect_eq(c->output_known, d.output_known);
  cr_expect_eq(c->scale.replicas_min, d.scale.replicas_min);
  cr_expect_eq(c->scale.replicas_max, d.scale.replicas_max);
  cr_expect_eq(c->scale.interval_s, d.scale.interval_s);
  cr_expect_eq(c->scale.tolerance, d.scale.tolerance);
  cr_expect_eq(c->scale.down_wait_s, d.scale.down_wait_s);
  cr_expect_eq(c->failure.shape, d.failure.shape);
  cr_expect_eq(c->retries, d.failure.retries);
  cr_expect_eq(c->failure.retry_after_s, d.failure.retry_after_s);
  fc_input_free(input);
  for (int i = 0; i < FC_ROUTES; i++) { /* the words too, but for hyphens */
    char text[160], word[32];
    (void)strcpy(word, fc_route_name((fc_route)i));
    for (char *p = word; *p; p++)
      if (*p == '-') *p = '_';
    (void)snprintf(text, sizeof text,
                   "kind: serve\nmodel: tiny\ndevice: alpha\nload: {}\ncluster: {route: %s}\n", word);
    input = parse_ok(text, &with_data);
    cr_expect_eq(fc_input_serve(input)->cluster->route, (fc_route)i, "%s", word);
    fc_input_free(input);
  }
}

/* Without files references stay NULL, and nothing is derived from them. */
Test(serve_input, without_files) {
  fc_input *input = parse_ok("kind: serve\nmodel: tiny\ndevice: alpha\nload: {rate: 3 /s}\n", NULL);
  cr_expect_null(fc_input_serve(input)->model);
  cr_expect_eq(fc_input_serve(input)->plan.devices, 0);
  fc_input_free(input);
}
