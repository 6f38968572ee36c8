/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TEST_CLUSTER_LOAD_H
#define FC_TEST_CLUSTER_LOAD_H

#include <fleetcast/serve/cluster.h>

/** Replicas of batch 16, budget 256, 400 blocks of 16. */
fc_cluster_def cluster_of(const fc_step_table *steps, int64_t n, fc_route route);

/** The test fails where the status is not FC_OK. */
void cluster_run(fc_cluster_result *out, const fc_cluster_def *def, const fc_request_source *source,
                 uint64_t seed);

#endif
