/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation refused once, and for good. */
#include <criterion/criterion.h>

#include <fleetcast/serve/surface.h>

#include "exhaust.h"

static fc_surface_def small(void) {
  static const fc_step_coefficients times = {
      .base_s = 10e-3, .decode_request_s = 0.1e-3, .prefill_token_s = 1e-7};
  fc_surface_def d = {.instance = FC_INSTANCE_WHOLE,
                      .plan = {.devices = 1, .tp = 1, .attention_dp = 1, .ep = 1},
                      .shape = {.input_tokens = 100, .output_tokens = 20},
                      .completions = 30,
                      .step = fc_step_linear,
                      .context = &times,
                      .kv_blocks = 1000};
  cr_assert(fc_serve_policy_named(&d.policy, "vllm"));
  d.policy.max_batch = 4;
  d.policy.token_budget = 512;
  return d;
}

static fc_status one_surface(void *none) {
  (void)none;
  fc_surface_def d = small();
  fc_surface *s;
  fc_status status = fc_surface_new(&s, &d);
  cr_assert_eq(s != NULL, status == FC_OK);
  if (status == FC_OK) status = fc_surface_add(s, 4);
  if (status == FC_OK) status = fc_surface_add(s, 8);
  if (status == FC_OK) status = fc_surface_fit(s);
  fc_surface_free(s);
  return status;
}

static fc_status one_map(void *none) {
  (void)none;
  static const fc_surface_box box = {80, 100, 15, 20, 0, 0.1};
  static const fc_slo slo = {0.5, 0.0125};
  fc_surface_def d = small();
  fc_surface_map *m;
  fc_status status = fc_surface_map_new(&m, &d, &box, &slo, 4);
  cr_assert_eq(m != NULL, status == FC_OK);
  fc_surface_map_free(m);
  return status;
}

static void refuse_each(fc_status (*one)(void *)) {
  for (int and_later = 0; and_later < 2; and_later++)
    fc_exhaust(&(fc_exhaustion){.life = one, .and_later = and_later, .least = 31});
}

Test(surface_memory, refusals_are_reported) {
  refuse_each(one_surface);
}

Test(surface_memory, refusals_to_a_map_are_reported) {
  refuse_each(one_map);
}
