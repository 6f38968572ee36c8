/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TEST_REPLICA_LOAD_H
#define FC_TEST_REPLICA_LOAD_H

#include <fleetcast/serve/replica.h>

/** Requests from an array, the records that come back, and random replicas. */
typedef struct replica_load {
  fc_request *request;
  uint64_t n, next, done;
  fc_time last_done;         /* latest finish that was told */
  fc_replica_record *record; /* [n] by number; nullable */
  uint64_t recorded;
} replica_load;

/** `n` zeroed requests, numbered, of one token in and out, and room for their records. */
replica_load replica_load_new(uint64_t n);
void replica_load_free(replica_load *load);
fc_request_source replica_load_source(replica_load *load);
/** def's callbacks go to the load. */
void replica_load_watch(replica_load *load, fc_replica_def *def);

/** Runs from the first request on; the test fails where the status is not FC_OK. */
void replica_load_run(fc_replica_result *out, const fc_replica_def *def, replica_load *load, uint64_t seed);

/** A table of exact times; lives until freed by fc_step_table_free. */
fc_step_table *linear_table(const fc_step_coefficients *coefficients, int64_t groups, int64_t max_batch,
                            double query_tokens);

/** 2 ms a step, 10 us a prompt token, and a little for batch and context. */
fc_step_coefficients plain_coefficients(void);
/** Batch 16, budget 256, 400 blocks of 16. */
fc_replica_def small_replica(const fc_step_table *steps);
/** Poisson arrivals; up to 600 tokens in, under 200 out. */
void replica_load_random(replica_load *load, uint64_t seed, double gap_s);
/** `per_s` a second, of 100 to 189 tokens that share five beginnings, and 30 tokens out. */
void replica_load_share(replica_load *load, int per_s);

#endif
