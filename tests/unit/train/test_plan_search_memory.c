/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include <fleetcast/train/plan_search.h>

#include "exhaust.h"
#include "fixture_models.h"

/* A search whose lists grow, with pipelines to play. */
static fc_status live(void *none) {
  (void)none;
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

Test(plan_search_memory, every_single_refusal_is_reported) {
  fc_exhaust(&(fc_exhaustion){.life = live, .least = 15});
}

Test(plan_search_memory, every_permanent_refusal_is_reported) {
  fc_exhaust(&(fc_exhaustion){.life = live, .least = 15, .and_later = true});
}
