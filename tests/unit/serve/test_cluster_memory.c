/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation of a cluster refused once, and for good. */
#include <criterion/criterion.h>

#include <fleetcast/serve/cluster.h>

#include "exhaust.h"
#include "test_replica_load.h"

typedef struct {
  fc_step_table *steps;
  replica_load load;
  bool dynamic, apart;
} scene;

static fc_status one_run(void *subject) {
  scene *s = subject;
  bool dynamic = s->dynamic, apart = s->apart;
  static fc_cluster_result out;
  fc_cluster_def d = fc_cluster_default_def();
  d.replica.steps = s->steps;
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
  fc_request_source source = replica_load_source(&s->load);
  fc_status status = fc_cluster_run(&out, &d, &source, 1, NULL);
  cr_assert_eq(out.by_class != NULL, status == FC_OK);
  if (dynamic && status == FC_OK) cr_assert(out.failures > 0 && out.retries > 0 && out.scaled_up > 0);
  fc_cluster_result_fini(&out);
  return status;
}

Test(cluster_memory, refusals_of_a_run_are_reported) {
  fc_step_coefficients c = {.base_s = 1e-3, .prefill_token_s = 1e-5};
  scene s = {.steps = linear_table(&c, 1, 4, 1), .load = replica_load_new(150)};
  replica_load_share(&s.load, 150);
  for (int mode = 0; mode < 6; mode++) {
    s.dynamic = mode & 2;
    s.apart = mode & 4;
    fc_exhaust(&(fc_exhaustion){.life = one_run, .subject = &s, .and_later = mode & 1, .least = 41});
  }
  replica_load_free(&s.load);
  fc_step_table_free(s.steps);
}
