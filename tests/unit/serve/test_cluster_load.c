/* SPDX-License-Identifier: Apache-2.0 */
#include "test_cluster_load.h"

#include <math.h>

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

void cluster_keep(void *context, const fc_cluster_record *r) {
  replica_load *l = context;
  cr_assert_lt(r->request.number, l->n);
  l->record[r->request.number] = r->request;
  l->recorded++;
}

void cluster_watch(replica_load *l, fc_cluster_def *d) {
  d->context = l;
  d->record = cluster_keep;
}

fc_load *cluster_closed_load(uint64_t seed, size_t concurrency, uint64_t requests, double turns) {
  fc_load_def d = fc_load_default_def();
  d.seed = seed;
  d.arrive = FC_ARRIVE_AT_ONCE;
  d.concurrency = concurrency;
  d.requests = requests;
  d.input = fc_dist_lognormal_cv(200, 1);
  d.output = fc_dist_lognormal_cv(60, 1);
  d.input_max = 1500;
  d.output_max = 400;
  d.context_max = 4000;
  d.block_tokens = 32;
  if (turns > 1) d.session.turns = (fc_dist){FC_DIST_UNIFORM, 1, turns, 0, -INFINITY, INFINITY};
  d.session.think_s = (fc_dist){FC_DIST_UNIFORM, 0.01, 0.3, 0, -INFINITY, INFINITY};
  d.session.new_tokens = fc_dist_point(40);
  fc_load *load;
  cr_assert_eq(fc_load_new(&load, &d, "test", NULL), FC_OK);
  return load;
}
