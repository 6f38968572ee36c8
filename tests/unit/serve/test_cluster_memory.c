/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation of a cluster refused once, and for good. */
#include <criterion/criterion.h>

#include <fleetcast/serve/cluster.h>

#include "chaos_malloc.h"
#include "test_replica_load.h"

static const uint64_t block[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

static fc_status one_run(const fc_step_table *t, replica_load *l, bool dynamic, bool apart) {
  static fc_cluster_result out;
  fc_cluster_def d = fc_cluster_default_def();
  d.replica.steps = t;
  d.replica.policy.max_batch = 4;
  d.replica.kv_blocks = 100;
  d.replica.prefix_cache = true;
  d.replicas = 2;
  d.route = apart ? FC_ROUTE_RANDOM : FC_ROUTE_PREFIX;
  d.open_loop = apart;
  fc_gaps gaps;
  d.gaps = &gaps;
  if (dynamic) {
    d.failure.mean_s = 0.4;
    d.failure.repair_s = fc_dist_point(0.1);
    d.scale.on = FC_SCALE_ON_REQUESTS;
    d.scale.target = 5;
    d.scale.replicas_max = 3;
    d.scale.interval_s = 0.1;
  }
  fc_request_source source = replica_load_source(l);
  fc_status status = fc_cluster_run(&out, &d, &source, 1, NULL);
  cr_assert_eq(out.by_class != NULL, status == FC_OK);
  if (dynamic && status == FC_OK) cr_assert(out.failures > 0 && out.retries > 0 && out.scaled_up > 0);
  fc_cluster_result_fini(&out);
  return status;
}

Test(cluster_memory, refusals_of_a_run_are_reported) {
  fc_step_coefficients c = {.base_s = 1e-3, .prefill_token_s = 1e-5};
  fc_step_table *t = linear_table(&c, 1, 4, 1);
  replica_load l = replica_load_new(150);
  for (uint64_t i = 0; i < l.n; i++) {
    l.request[i].arrival = (fc_time)i * FC_SECOND / 150;
    l.request[i].input_tokens = 100 + (uint32_t)(7 * i % 90);
    l.request[i].output_tokens = 30;
    l.request[i].block = block + i % 5;
    l.request[i].block_tokens = 16;
    l.request[i].n_blocks = 6;
  }
  for (int mode = 0; mode < 6; mode++)
    for (size_t k = 0;; k++) {
      fc_chaos_arm(k, mode & 1);
      fc_status status = one_run(t, &l, mode & 2, mode & 4);
      bool fired = fc_chaos_disarm();
      cr_assert_eq(fc_chaos_live(), 0, "allocation %zu refused: %ld blocks leaked", k, fc_chaos_live());
      cr_assert_eq(status, fired ? FC_E_NOMEM : FC_OK, "allocation %zu: %s", k, fc_status_text(status));
      if (fired) continue;
      cr_assert_gt(k, 40, "only %zu allocations", k);
      break;
    }
  replica_load_free(&l);
  fc_step_table_free(t);
}
