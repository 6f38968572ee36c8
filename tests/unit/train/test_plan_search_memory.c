/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include <fleetcast/train/plan_search.h>

#include "chaos_malloc.h"
#include "fixture_models.h"

/* A search whose lists grow, with pipelines to play. */
static fc_status live(void) {
  static const int64_t counts[] = {16}, tp[] = {2, 4}, pp[] = {1, 2}, one[] = {1}, batch[] = {64};
  fc_train_search_device d = {"h100", &fixture_h100_profile, 1e-3, 1, counts};
  fc_train_search_def def = {.model = &fixture_llama_8b,
                             .n_devices = 1,
                             .devices = &d,
                             .tokens = 1e12,
                             .tp = {2, tp},
                             .pp = {2, pp},
                             .virtual_stages = {1, one},
                             .micro_batch = {1, one},
                             .global_batch = {1, batch},
                             .failure = {.device_mtbf_s = 1e8, .restart_s = 600, .checkpoint_write_s = 5},
                             .margin = FC_TRAIN_SEARCH_MARGIN,
                             .threads = 1};
  fc_train_search_result r;
  fc_status status = fc_train_search_run(&r, &def, NULL);
  if (status == FC_OK) cr_assert_gt(r.n_feasible_groups, 0);
  if (status != FC_OK) cr_assert_null(r.best);
  fc_train_search_result_fini(&r);
  return status;
}

static void exhaust(bool and_later) {
  size_t k = 0;
  for (;; k++) {
    fc_chaos_arm(k, and_later);
    fc_status st = live();
    bool fired = fc_chaos_disarm();
    cr_assert_eq(fc_chaos_live(), 0, "allocation %zu refused: %ld blocks leaked", k, fc_chaos_live());
    cr_assert_eq(st, fired ? FC_E_NOMEM : FC_OK, "allocation %zu", k);
    if (!fired) break;
  }
  cr_assert_geq(k, 15, "only %zu allocations: the scenario visits too little", k);
}

Test(plan_search_memory, every_single_refusal_is_reported) {
  exhaust(false);
}

Test(plan_search_memory, every_permanent_refusal_is_reported) {
  exhaust(true);
}
