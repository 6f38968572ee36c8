/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include <fleetcast/train/step.h>

#include "exhaust.h"
#include "fixture_models.h"

/* A pipeline, a simulation and a distribution, in one life. */
static fc_status live(void *none) {
  (void)none;
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

Test(step_memory, every_single_refusal_is_reported) {
  fc_exhaust(&(fc_exhaustion){.life = live, .least = 30});
}

Test(step_memory, every_permanent_refusal_is_reported) {
  fc_exhaust(&(fc_exhaustion){.life = live, .least = 30, .and_later = true});
}
