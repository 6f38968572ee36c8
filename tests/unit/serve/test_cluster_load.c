/* SPDX-License-Identifier: Apache-2.0 */
#include "test_cluster_load.h"

#include <criterion/criterion.h>

fc_cluster_def cluster_of(const fc_step_table *steps, int64_t n, fc_route route) {
  fc_cluster_def d = fc_cluster_default_def();
  d.replica.steps = steps;
  d.replica.policy.max_batch = 16;
  d.replica.policy.token_budget = 256;
  d.replica.kv_blocks = 400;
  d.replicas = n;
  d.route = route;
  return d;
}

void cluster_run(fc_cluster_result *out, const fc_cluster_def *def, const fc_request_source *source,
                 uint64_t seed) {
  char why[256] = "";
  fc_status status = fc_cluster_run(out, def, source, seed, why);
  cr_assert_eq(status, FC_OK, "%s: %s", fc_status_text(status), why);
}
