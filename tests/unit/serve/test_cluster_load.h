/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TEST_CLUSTER_LOAD_H
#define FC_TEST_CLUSTER_LOAD_H

#include <fleetcast/serve/cluster.h>
#include <fleetcast/workload/load.h>

#include "test_replica_load.h"

/** Replicas of batch 16, budget 256, 400 blocks of 16. */
fc_cluster_def cluster_of(const fc_step_table *steps, int64_t n, fc_route route);

/** The test fails where the status is not FC_OK. */
void cluster_run(fc_cluster_result *out, const fc_cluster_def *def, const fc_request_source *source,
                 uint64_t seed);

/** Puts a request's record where its number is; `context` is a replica_load. */
void cluster_keep(void *context, const fc_cluster_record *r);
/** All records of a run go to `l`. */
void cluster_watch(replica_load *l, fc_cluster_def *d);

/** A closed loop of clients and sessions with prefixes: the next request comes the moment one ends.  The
 * caller frees it. */
fc_load *cluster_closed_load(uint64_t seed, size_t concurrency, uint64_t requests, double turns);

#endif
