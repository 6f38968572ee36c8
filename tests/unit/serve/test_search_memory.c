/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation refused once, and for good. */
#include <criterion/criterion.h>

#include <fleetcast/serve/search.h>

#include "exhaust.h"

static fc_status one_search(void *apart) {
  static const fc_step_coefficients times = {
      .base_s = 10e-3, .decode_request_s = 0.1e-3, .prefill_token_s = 1e-7};
  static const int64_t batch = 4, budget = 512;
  fc_search_instance in = {.device = "toy",
                           .usd_per_s = 1e-3,
                           .plan = {.devices = 1, .tp = 1, .attention_dp = 1, .ep = 1},
                           .step = fc_step_linear,
                           .context = &times,
                           .kv_blocks = 100,
                           .link_bytes_per_s = 1e9,
                           .kv_bytes_per_token = 1e4};
  fc_search_def d = fc_search_default_def();
  d.n_instances = d.n_batches = d.n_budgets = 1;
  d.instances = &in;
  d.max_batch = &batch;
  d.token_budget = &budget;
  d.load.input = fc_dist_point(100);
  d.load.output = fc_dist_point(50);
  d.slo = (fc_search_slo){.ttft_s = 1, .tpot_s = 20e-3};
  d.requests = 100;
  d.apart = *(bool *)apart;
  d.threads = 1;
  fc_search_result r;
  fc_status status = fc_search_run(&r, &d, NULL);
  cr_assert_eq(r.candidate != NULL, status == FC_OK);
  fc_search_result_fini(&r);
  return status;
}

Test(search_memory, refusals_are_reported) {
  bool apart = false;
  for (int and_later = 0; and_later < 2; and_later++)
    fc_exhaust(&(fc_exhaustion){.life = one_search, .subject = &apart, .and_later = and_later, .least = 51});
}

/* Many more: the first all, then ever fewer. */
Test(search_memory, refusals_apart_are_reported) {
  bool apart = true;
  fc_exhaustion e = {.life = one_search, .subject = &apart};
  size_t k = 0;
  while (fc_exhaust_at(&e, k)) k += 1 + k / 16;
  cr_assert_gt(k, 100, "only %zu allocations", k);
}
