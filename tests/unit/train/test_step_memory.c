/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include <fleetcast/train/step.h>

#include "chaos_malloc.h"
#include "fixture_models.h"

/* A pipeline, a simulation and a distribution, in one life. */
static fc_status live(void) {
  fc_train_plan plan = {
      .devices = 8, .tp = 1, .pp = 4, .cp = 1, .ep = 1, .virtual_stages = 2, .micro_batch = 1};
  plan.global_batch = 16;
  plan.sequence = 4096;
  plan.schedule = FC_SCHEDULE_INTERLEAVED;
  plan.gemm = FC_DTYPE_BF16;
  fc_pipeline *pipeline;
  fc_status status = fc_pipeline_new(&pipeline, FC_SCHEDULE_DUALPIPEV, 2, 1, 8);
  if (status != FC_OK) cr_assert_null(pipeline);
  fc_pipeline_free(pipeline);
  if (status != FC_OK) return status;
  fc_train_simulation s;
  status = fc_train_step_simulate(&s, &fixture_llama_8b, &fixture_h100_profile, &plan, NULL);
  if (status != FC_OK) return status;
  fc_step_distribution d;
  fc_step_jitter j = fc_step_jitter_usual();
  return fc_train_step_distribution(&d, &fixture_llama_8b, &fixture_h100_profile, &plan, &j, 1, 10, NULL);
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
  cr_assert_geq(k, 30, "only %zu allocations: the scenario visits too little", k);
}

Test(step_memory, every_single_refusal_is_reported) {
  exhaust(false);
}

Test(step_memory, every_permanent_refusal_is_reported) {
  exhaust(true);
}
