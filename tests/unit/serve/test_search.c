/* SPDX-License-Identifier: Apache-2.0 */
/* Instances with known iteration times: the cheapest is known too. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include <fleetcast/serve/search.h>

/* An iteration takes 10 ms and 0.1 ms for every request in it; prompts cost next to nothing. */
static const fc_step_coefficients slow = {
    .base_s = 10e-3, .decode_request_s = 0.1e-3, .prefill_token_s = 1e-9};
/* Twice as fast. */
static const fc_step_coefficients fast = {
    .base_s = 5e-3, .decode_request_s = 0.05e-3, .prefill_token_s = 1e-9};

static const fc_serve_plan one = {.devices = 1, .tp = 1, .attention_dp = 1, .ep = 1};
static const int64_t batches[] = {8, 64}, budgets[] = {2048};

/* Cheap at 1 USD/h, quick at `price` USD/h. */
static void two_instances(fc_search_instance out[2], double price) {
  out[0] = (fc_search_instance){.device = "cheap",
                                .usd_per_s = 1 / 3600.0,
                                .plan = one,
                                .step = fc_step_linear,
                                .context = &slow,
                                .kv_blocks = 4000};
  out[1] = out[0];
  out[1].device = "quick";
  out[1].usd_per_s = price / 3600;
  out[1].context = &fast;
}

static fc_search_def toy(const fc_search_instance *instances, size_t n) {
  fc_search_def d = fc_search_default_def();
  d.n_instances = n;
  d.instances = instances;
  d.n_batches = sizeof batches / sizeof *batches;
  d.max_batch = batches;
  d.n_budgets = 1;
  d.token_budget = budgets;
  d.load.input = fc_dist_point(100);
  d.load.output = fc_dist_point(101);
  d.slo = (fc_search_slo){.ttft_s = 1, .tpot_s = 14.05e-3};
  d.threads = 1;
  return d;
}

static fc_search_result found(const fc_search_def *d) {
  fc_search_result r;
  char why[256];
  cr_assert_eq(fc_search_run(&r, d, why), FC_OK, "%s", why);
  size_t sum = 0;
  for (int i = 0; i < FC_SEARCH_STATES; i++) sum += r.count[i];
  cr_assert_eq(sum, r.n);
  for (size_t i = 0; i < r.n; i++) cr_assert(r.candidate[i].why[0], "%zu has no reason", i);
  cr_assert(r.answer[0]);
  return r;
}

/* 14.05 ms a token is a batch of 40 and 40 / (100 x 14 ms) = 28.6 requests/s on the slow one; the fast one's
 * whole batch of 64 takes 8.2 ms: 78 requests/s.  So it wins below 2.7 times the price, and loses above. */
Test(search, cheapest_is_known) {
  fc_search_instance in[2];
  two_instances(in, 2);
  fc_search_def d = toy(in, 2);
  fc_search_result r = found(&d);
  cr_assert_str_eq(r.candidate[0].device, "quick", "%s", r.answer);
  cr_assert_eq(r.candidate[0].max_batch, 64);
  cr_assert_lt(r.runner_up, r.n_met);
  const fc_search_candidate *other = &r.candidate[r.runner_up];
  cr_assert_str_eq(other->device, "cheap");
  cr_assert_float_eq(other->at.rate_per_s, 28.6, 0.1 * 28.6, "%g", other->at.rate_per_s);
  cr_assert_float_eq(other->bound_rate, 28.6, 0.5, "%g", other->bound_rate);
  cr_assert_eq(other->binds, FC_BINDS_TPOT, "%s", other->why);
  cr_assert(strstr(other->why, "TPOT"), "%s", other->why);
  cr_assert(r.proven);
  /* 1 USD/h over rate x 101 tokens x 3600 s */
  double usd = 1e6 / (other->at.rate_per_s * 101 * 3600);
  cr_assert_float_eq(other->usd_per_mtok, usd, 1e-9 * usd);
  cr_assert(other->usd_low <= usd && usd <= other->usd_high);
  fc_search_result_fini(&r);
  two_instances(in, 4);
  r = found(&d);
  cr_assert_str_eq(r.candidate[0].device, "cheap", "%s", r.answer);
  cr_assert(strstr(r.candidate[r.runner_up].why, "price"), "%s", r.candidate[r.runner_up].why);
  fc_search_result_fini(&r);
}

/* Whatever is simulated keeps below what the closed form says is possible. */
Test(search, bound_holds) {
  fc_search_instance in[2];
  two_instances(in, 2);
  fc_search_def d = toy(in, 2);
  d.margin = 1; /* nothing is dropped */
  fc_search_result all = found(&d);
  cr_assert_eq(all.count[FC_SEARCH_MET], all.n);
  cr_assert_leq(all.excess, 0.1, "%g", all.excess);
  d.margin = 0.1;
  fc_search_result some = found(&d);
  cr_assert_eq(some.candidate[0].option, all.candidate[0].option);
  cr_assert_eq(some.candidate[0].max_batch, all.candidate[0].max_batch);
  fc_search_result_fini(&all);
  fc_search_result_fini(&some);
}

Test(search, looser_objective_never_costs_more) {
  fc_search_instance in[2];
  two_instances(in, 2.5);
  fc_search_def d = toy(in, 2);
  d.margin = 1;
  double last = INFINITY, first = 0;
  for (double tpot = 7e-3; tpot < 30e-3; tpot *= 1.25) {
    d.slo.tpot_s = tpot;
    fc_search_result r = found(&d);
    cr_assert(r.n_met > 0, "%s", r.answer);
    cr_assert_leq(r.candidate[0].usd_per_mtok, last, "at %g s", tpot);
    last = r.candidate[0].usd_per_mtok;
    if (!(first > 0)) first = last;
    fc_search_result_fini(&r);
  }
  cr_assert_lt(last, first);
  for (double ttft = 0.02; ttft < 5; ttft *= 3) {
    d.slo.ttft_s = ttft;
    fc_search_result r = found(&d);
    if (ttft > 0.02) cr_assert_leq(r.candidate[0].usd_per_mtok, last, "at %g s", ttft);
    last = r.candidate[0].usd_per_mtok;
    fc_search_result_fini(&r);
  }
}

Test(search, lower_price_never_costs_more) {
  fc_search_instance in[2];
  double last = INFINITY;
  for (double price = 6; price > 1; price *= 0.7) {
    two_instances(in, price);
    fc_search_def d = toy(in, 2);
    d.rate_per_s = 500;
    fc_search_result r = found(&d);
    cr_assert(r.n_met > 0);
    cr_assert_leq(r.candidate[0].usd_per_mtok, last, "at %g USD/h", price);
    last = r.candidate[0].usd_per_mtok;
    fc_search_result_fini(&r);
  }
}

/* 60 requests/s: three of the slow ones, one of the fast. */
Test(search, instances_are_whole) {
  fc_search_instance in[2];
  two_instances(in, 3.5);
  fc_search_def d = toy(in, 2);
  d.rate_per_s = 60;
  fc_search_result r = found(&d);
  for (size_t i = 0; i < r.n_met; i++) {
    const fc_search_candidate *c = &r.candidate[i];
    cr_assert_float_eq(c->instances, ceil(60 / c->at.rate_per_s), 1e-9);
    cr_assert_float_eq(c->usd_per_mtok, 1e6 * c->instances * c->usd_per_s / (60 * 101), 1e-9);
  }
  cr_assert_str_eq(r.candidate[0].device, "cheap", "%s", r.answer);
  fc_search_result_fini(&r);
  d.devices_max = 2;
  r = found(&d);
  cr_assert_str_eq(r.candidate[0].device, "quick", "%s", r.answer);
  cr_assert_gt(r.count[FC_SEARCH_DEVICES], 0);
  fc_search_result_fini(&r);
}

Test(search, nearest_miss_is_named) {
  fc_search_instance in[2];
  two_instances(in, 2);
  fc_search_def d = toy(in, 2);
  d.slo.tpot_s = 4e-3;
  fc_search_result r = found(&d);
  cr_assert_eq(r.n_met, 0);
  cr_assert(strstr(r.answer, "quick") && strstr(r.answer, "5.05 ms"), "%s", r.answer);
  fc_search_result_fini(&r);
  d.slo = (fc_search_slo){.ttft_s = 2e-3, .tpot_s = 14e-3};
  r = found(&d);
  cr_assert_eq(r.n_met, 0);
  cr_assert(strstr(r.answer, "quick") && strstr(r.answer, "a prompt alone"), "%s", r.answer);
  fc_search_result_fini(&r);
  d = toy(in, 2);
  in[0].kv_blocks = in[1].kv_blocks = 5;
  r = found(&d);
  cr_assert_eq(r.count[FC_SEARCH_MEMORY], r.n);
  cr_assert(strstr(r.answer, "room for 80 tokens"), "%s", r.answer);
  fc_search_result_fini(&r);
}

/* With 8 requests' room the cache binds, whatever the batch limit. */
Test(search, cache_binds) {
  fc_search_instance in[2];
  two_instances(in, 2);
  in[0].kv_blocks = 8 * 13;
  fc_search_def d = toy(in, 1);
  fc_search_result r = found(&d);
  cr_assert(r.n_met > 0);
  cr_assert_eq(r.candidate[0].binds, FC_BINDS_KV, "%s", r.candidate[0].why);
  fc_search_result_fini(&r);
}

Test(search, percentile_costs_more_than_the_mean) {
  fc_search_instance in[2];
  two_instances(in, 2);
  fc_search_def d = toy(in, 1);
  d.load.output = (fc_dist){.kind = FC_DIST_UNIFORM, .a = 2, .b = 200, .min = -INFINITY, .max = INFINITY};
  fc_search_result mean = found(&d);
  d.slo.percentile = 0.99;
  fc_search_result p99 = found(&d);
  cr_assert_gt(p99.candidate[0].usd_per_mtok, mean.candidate[0].usd_per_mtok);
  fc_search_result_fini(&mean);
  fc_search_result_fini(&p99);
}

Test(search, threads_change_nothing) {
  fc_search_instance in[2];
  two_instances(in, 2);
  fc_search_def d = toy(in, 2);
  fc_search_result alone = found(&d);
  d.threads = 4;
  fc_search_result four = found(&d);
  cr_assert_eq(alone.n, four.n);
  cr_assert_str_eq(alone.answer, four.answer);
  for (size_t i = 0; i < alone.n; i++) {
    const fc_search_candidate *a = &alone.candidate[i], *b = &four.candidate[i];
    cr_assert(a->option == b->option && a->max_batch == b->max_batch && a->state == b->state);
    cr_assert_eq(memcmp(&a->at, &b->at, sizeof a->at), 0);
    cr_assert_eq(memcmp(&a->usd_per_mtok, &b->usd_per_mtok, sizeof a->usd_per_mtok), 0);
    cr_assert_str_eq(a->why, b->why);
  }
  fc_search_result_fini(&alone);
  fc_search_result_fini(&four);
}

/* A prompt of 1,000 tokens takes 100 ms, a token of any batch 10 ms: together nine in ten requests meet 14 ms
 * only where few prompts come, apart as many as the prompts' side takes: two in 190 ms. */
static const fc_step_coefficients prompts_hurt = {
    .base_s = 10e-3, .decode_request_s = 1e-6, .prefill_token_s = 90e-6};

static fc_search_def hurting(const fc_search_instance *in) {
  fc_search_def d = toy(in, 1);
  d.load.input = fc_dist_point(1000);
  d.slo = (fc_search_slo){.ttft_s = 1, .tpot_s = 14e-3, .percentile = 0.9};
  return d;
}

static const fc_search_instance hurt = {.device = "toy",
                                        .usd_per_s = 1 / 3600.0,
                                        .plan = {.devices = 1, .tp = 1, .attention_dp = 1, .ep = 1},
                                        .step = fc_step_linear,
                                        .context = &prompts_hurt,
                                        .kv_blocks = 40000,
                                        .link_bytes_per_s = 50e9,
                                        .kv_bytes_per_token = 1e5};

Test(search, apart_wins_where_prompts_hurt) {
  fc_search_instance in = hurt;
  fc_search_def d = hurting(&in);
  fc_search_result whole = found(&d);
  d.apart = true;
  fc_search_result r = found(&d);
  const fc_search_candidate *best = &r.candidate[0];
  cr_assert_gt(r.n, whole.n);
  cr_assert(best->prefills > 0 && best->decodes > 0, "%s", r.answer);
  cr_assert_gt(best->prefills, best->decodes, "%s", r.answer);
  cr_assert_eq(best->instance_devices, best->prefills + best->decodes);
  double each = best->at.rate_per_s / (double)best->prefills; /* of 10.5 */
  cr_assert(each > 6 && each < 10.6, "%g: %s", each, r.answer);
  cr_assert_lt(best->usd_per_mtok, 0.8 * whole.candidate[0].usd_per_mtok);
  cr_assert_leq(r.excess, 0.1, "%g", r.excess);
  cr_assert_lt(r.other_way, r.n_met); /* and by how much the others lost is of the best of them */
  cr_assert_eq(r.candidate[r.other_way].prefills, 0);
  cr_assert(!(r.candidate[r.other_way].usd_per_mtok > whole.candidate[0].usd_per_mtok));
  cr_assert(strstr(r.answer, "prefill"), "%s", r.answer);
  fc_search_result_fini(&whole);
  d.threads = 4;
  fc_search_result four = found(&d);
  cr_assert_str_eq(r.answer, four.answer);
  cr_assert_eq(memcmp(&best->at, &four.candidate[0].at, sizeof best->at), 0);
  fc_search_result_fini(&r);
  fc_search_result_fini(&four);
}

/* A slow link makes TPOT of it: the transfer of a prompt's 100 MB. */
Test(search, apart_needs_a_link) {
  fc_search_instance in = hurt;
  fc_search_def d = hurting(&in);
  d.apart = true;
  in.link_bytes_per_s = 20e6;
  fc_search_result r = found(&d);
  for (size_t i = 0; i < r.n_met; i++) cr_assert_eq(r.candidate[i].prefills, 0, "%s", r.candidate[i].why);
  fc_search_result_fini(&r);
  in.link_bytes_per_s = 0;
  r = found(&d);
  for (size_t i = 0; i < r.n; i++) cr_assert_eq(r.candidate[i].prefills, 0);
  fc_search_result_fini(&r);
}

/* Whatever is forbidden to be larger is not. */
Test(search, apart_keeps_to_the_devices_there_are) {
  fc_search_instance in = hurt;
  fc_search_def d = hurting(&in);
  d.apart = true;
  d.rate_per_s = 15;
  d.devices_max = 4;
  fc_search_result r = found(&d);
  cr_assert_gt(r.n_met, 0, "%s", r.answer);
  for (size_t i = 0; i < r.n_met; i++) cr_assert_leq(r.candidate[i].devices, 4);
  fc_search_result_fini(&r);
}

/* No point of the front is both cheaper and faster than another. */
Test(search, front_is_a_front) {
  fc_search_instance in[2];
  two_instances(in, 2.5);
  fc_search_def d = toy(in, 2);
  d.margin = 1;
  fc_search_result r = found(&d);
  cr_assert(r.candidate[0].front);
  for (size_t i = 0; i < r.n_met; i++) {
    bool beaten = false;
    for (size_t k = 0; k < r.n_met; k++)
      beaten |= r.candidate[k].usd_per_mtok <= r.candidate[i].usd_per_mtok &&
                r.candidate[k].at.tpot_s < r.candidate[i].at.tpot_s;
    cr_assert_eq(r.candidate[i].front, !beaten, "%zu", i);
  }
  fc_search_result_fini(&r);
}

Test(search, faults_are_told) {
  fc_search_instance in[2];
  two_instances(in, 2);
  fc_search_def d = toy(in, 2);
  fc_search_result r;
  char why[256];
  d.slo.tpot_s = 0;
  cr_assert_eq(fc_search_run(&r, &d, why), FC_E_DOMAIN);
  cr_assert(strstr(why, "objectives"), "%s", why);
  d = toy(in, 0);
  cr_assert_eq(fc_search_run(&r, &d, why), FC_E_DOMAIN);
  cr_assert(strstr(why, "device"), "%s", why);
  d = toy(in, 2);
  d.load.output = fc_dist_point(1);
  cr_assert_eq(fc_search_run(&r, &d, why), FC_E_DOMAIN);
  cr_assert(strstr(why, "output"), "%s", why);
  d = toy(in, 2);
  static const atomic_int stop = 1;
  d.cancel = &stop;
  cr_assert_eq(fc_search_run(&r, &d, why), FC_E_CANCELLED);
  cr_assert_null(r.candidate);
}
