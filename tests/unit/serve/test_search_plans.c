/* SPDX-License-Identifier: Apache-2.0 */
/* Real models: which plans are looked at, and what comes of them. */
#include <criterion/criterion.h>
#include <string.h>

#include <fleetcast/cost/serve_step.h>
#include <fleetcast/serve/search.h>

#include "fixture_models.h"

static const int64_t batches[] = {32, 128}, budgets[] = {4096};

static fc_search_def llama(const fc_search_device *devices, size_t n, const fc_model *model) {
  fc_search_def d = fc_search_default_def();
  d.model = model;
  d.n_devices = n;
  d.devices = devices;
  d.n_batches = 2;
  d.max_batch = batches;
  d.n_budgets = 1;
  d.token_budget = budgets;
  d.load.input = fc_dist_point(1000);
  d.load.output = fc_dist_point(200);
  d.slo = (fc_search_slo){.ttft_s = 2, .tpot_s = 50e-3};
  d.keep = 12;
  d.front = 3;
  d.requests = 500;
  return d;
}

static const fc_search_device h100 = {.name = "h100",
                                      .profile = &fixture_h100_profile,
                                      .usd_per_s = 2 / 3600.0,
                                      .wish = {.gemm = FC_DTYPE_BF16, .kv = FC_DTYPE_BF16}};

/* 141 GB of weights: one device and two do not hold them. */
Test(search_plans, dense_model_fits_from_four_devices_on) {
  fc_search_def d = llama(&h100, 1, &fixture_llama_70b);
  d.devices_max = 8;
  fc_search_result r;
  char why[256];
  cr_assert_eq(fc_search_run(&r, &d, why), FC_OK, "%s", why);
  bool seen[9] = {false};
  for (size_t i = 0; i < r.n; i++) {
    const fc_search_candidate *c = &r.candidate[i];
    cr_assert_eq(fc_serve_plan_check(&fixture_llama_70b, &c->plan, NULL), FC_OK);
    cr_assert_leq(c->plan.devices, 8);
    seen[c->plan.devices] = true;
    if (c->plan.devices == 1) cr_assert_eq(c->state, FC_SEARCH_MEMORY, "%s", c->why);
    if (c->plan.devices == 4) cr_assert_neq(c->state, FC_SEARCH_MEMORY, "%s", c->why);
  }
  cr_assert(seen[1] && seen[2] && seen[4] && seen[8] && !seen[3] && !seen[6]);
  cr_assert(r.n_met > 0, "%s", r.answer);
  cr_assert_leq(r.excess, d.margin, "simulated %g above the bound", r.excess);
  fc_search_result_fini(&r);
}

/* The same device at two prices: only the price is told. */
Test(search_plans, price_decides_between_equals) {
  fc_search_device two[2] = {h100, h100};
  two[1].name = "dear";
  two[1].usd_per_s *= 1.5;
  fc_search_def d = llama(two, 2, &fixture_llama_8b);
  d.devices_max = 1;
  fc_search_result r;
  cr_assert_eq(fc_search_run(&r, &d, NULL), FC_OK);
  cr_assert_str_eq(r.candidate[0].device, "h100");
  const fc_search_candidate *dear = NULL;
  for (size_t i = 0; i < r.n && !dear; i++)
    if (strcmp(r.candidate[i].device, "dear") == 0) dear = &r.candidate[i];
  cr_assert(dear && dear->state == FC_SEARCH_MET, "the best of every device is simulated");
  cr_assert(strstr(dear->why, "price: 3 USD/h a device against 2"), "%s", dear->why);
  cr_assert_float_eq(dear->usd_per_mtok, 1.5 * r.candidate[0].usd_per_mtok, 1e-9 * dear->usd_per_mtok);
  fc_search_result_fini(&r);
}

Test(search_plans, experts_are_spread) {
  fc_search_device h800 = h100;
  h800.name = "h800";
  h800.profile = &fixture_h800_profile;
  h800.wish.gemm = FC_DTYPE_FP8;
  h800.devices_max = 32;
  fc_search_def d = llama(&h800, 1, &fixture_deepseek_v3);
  d.keep = 3;
  d.front = 1;
  fc_search_result r;
  char why[256];
  cr_assert_eq(fc_search_run(&r, &d, why), FC_OK, "%s", why);
  bool wide = false, tensor = false;
  for (size_t i = 0; i < r.n; i++) {
    wide |= r.candidate[i].plan.ep == 32 && r.candidate[i].plan.attention_dp == 32;
    tensor |= r.candidate[i].plan.tp == 8 && r.candidate[i].plan.ep == 1;
  }
  cr_assert(wide && tensor);
  cr_assert(r.n_met > 0, "%s", r.answer);
  cr_assert_leq(r.n_simulated, d.keep);
  fc_search_result_fini(&r);
}

/* Dropping by the bound loses nothing: the cheapest of all that were simulated is found. */
Test(search_plans, bound_drops_no_winner) {
  fc_search_device two[2] = {h100,
                             {.name = "h800", .profile = &fixture_h800_profile, .usd_per_s = 1.9 / 3600}};
  two[1].wish = h100.wish;
  static const int64_t more[] = {8, 32, 64, 256}, chunks[] = {512, 4096};
  fc_search_def d = llama(two, 2, &fixture_llama_8b);
  d.devices_max = 4;
  d.n_batches = 4;
  d.max_batch = more;
  d.n_budgets = 2;
  d.token_budget = chunks;
  d.keep = 20;
  d.front = 0;
  static const double limit_s[] = {8e-3, 12e-3, 30e-3};
  for (int i = 0; i < 3; i++) {
    d.slo.tpot_s = limit_s[i];
    d.margin = 0.1;
    fc_search_result pruned, all;
    cr_assert_eq(fc_search_run(&pruned, &d, NULL), FC_OK);
    fc_search_def every = d;
    every.margin = 1;
    every.keep = 1000;
    cr_assert_eq(fc_search_run(&all, &every, NULL), FC_OK);
    cr_assert(all.n_met > 0 && pruned.n_met > 0, "%s", all.answer);
    cr_assert(all.proven && pruned.proven);
    cr_assert_lt(pruned.n_simulated, all.n_simulated);
    cr_assert_leq(pruned.candidate[0].usd_per_mtok, all.candidate[0].usd_per_mtok * (1 + d.margin), "%s | %s",
                  pruned.answer, all.answer);
    cr_assert_leq(all.excess, d.margin, "%g", all.excess);
    fc_search_result_fini(&pruned);
    fc_search_result_fini(&all);
  }
}
