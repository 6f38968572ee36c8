/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation refused once, and for good. */
#include <criterion/criterion.h>

#include <fleetcast/base/rng.h>

#include "exhaust.h"
#include "fixture_models.h"
#include "test_replica_load.h"

typedef struct {
  fc_step_table *steps;
  replica_load load;
} scene;

static fc_status one_run(void *subject) {
  scene *s = subject;
  static fc_replica_result out;
  fc_replica_def d = fc_replica_default_def();
  d.steps = s->steps;
  d.policy.max_batch = 16;
  d.kv_blocks = 100;
  d.prefix_cache = true;
  fc_request_source source = replica_load_source(&s->load);
  return fc_replica_run(&out, &d, &source, 1, NULL);
}

static fc_status one_pair(void *subject) {
  scene *s = subject;
  static fc_disagg_result out;
  fc_disagg_def d = {.prefill = fc_replica_default_def(), .prefill_replicas = 2, .decode_replicas = 2};
  d.prefill.steps = s->steps;
  d.prefill.policy.max_batch = 16;
  d.prefill.kv_blocks = 100;
  d.prefill.prefix_cache = true;
  d.decode = d.prefill;
  d.link_bytes_per_s = d.kv_bytes_per_token = 1e6;
  fc_request_source source = replica_load_source(&s->load);
  return fc_disagg_run(&out, &d, &source, 1, NULL);
}

static fc_status one_table(void *none) {
  (void)none;
  static const fc_serve_plan plan = {.devices = 1,
                                     .tp = 1,
                                     .attention_dp = 1,
                                     .ep = 1,
                                     .gemm = FC_DTYPE_BF16,
                                     .kv = FC_DTYPE_BF16,
                                     .memory_fraction = 0.9};
  fc_step_table_def d = fc_step_table_default_def();
  d.max_batch = 16;
  d.max_tokens = 64;
  d.max_context = 128;
  d.tolerance = 1e-5; /* several rounds */
  fc_step_table *made;
  fc_status status =
      fc_step_table_of_model(&made, &d, &(fc_step_source){&fixture_llama_8b, &fixture_h100_profile, &plan});
  cr_assert_eq(made != NULL, status == FC_OK);
  fc_step_table_free(made);
  return status;
}

static void exhaust(fc_status (*work)(void *), size_t least) {
  fc_step_coefficients c = {.base_s = 1e-3, .prefill_token_s = 1e-5};
  scene s = {.steps = linear_table(&c, 1, 16, 1), .load = replica_load_new(60)};
  replica_load_share(&s.load, 100);
  for (int and_later = 0; and_later < 2; and_later++)
    fc_exhaust(&(fc_exhaustion){.life = work, .subject = &s, .and_later = and_later, .least = least});
  replica_load_free(&s.load);
  fc_step_table_free(s.steps);
}

Test(replica_memory, refusals_of_a_run_are_reported) {
  exhaust(one_run, 21);
}
Test(replica_memory, refusals_of_a_pair_are_reported) {
  exhaust(one_pair, 41);
}
Test(replica_memory, refusals_of_a_table_are_reported) {
  exhaust(one_table, 41);
}

Test(replica_memory, a_resident_request_takes_under_200_bytes) {
  static fc_replica_result out;
  fc_step_coefficients c = {.base_s = 1e-3};
  fc_step_table *t = linear_table(&c, 1, 4000, 1);
  fc_replica_def d = fc_replica_default_def();
  d.steps = t;
  d.policy.max_batch = 4000;
  d.policy.token_budget = 100000;
  d.kv_blocks = 1000000;
  for (uint64_t n = 10; n <= 4000; n = n * 3 / 2) {
    replica_load l = replica_load_new(n);
    for (uint64_t i = 0; i < n; i++) l.request[i].output_tokens = 100;
    replica_load_run(&out, &d, &l, 1);
    cr_assert_eq(out.batch_peak, (double)n);
    if (n > 16)
      cr_assert_leq(out.bytes_per_resident, 200, "%llu requests: %g", (unsigned long long)n,
                    out.bytes_per_resident);
    replica_load_free(&l);
  }
  fc_step_table_free(t);
}
