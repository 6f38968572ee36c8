/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TESTS_FLEET_RANDOM_DEF_H
#define FC_TESTS_FLEET_RANDOM_DEF_H

#include "fakes.h"

enum {
  RANDOM_POOLS = 4,
  RANDOM_SERVICES = 4,
  RANDOM_RUNS = 5,
  RANDOM_STREAMS = 3,
  RANDOM_OTHERS = 2,
  RANDOM_POLICIES = 5
};

/** A scenario drawn from its seed: everything that a definition may hold, in small.  Points into itself. */
typedef struct random_def {
  fake_profile profile[RANDOM_POOLS];
  fc_delivery delivery[RANDOM_POOLS][3];
  fc_pool_def pool[RANDOM_POOLS];
  fc_model model;
  fc_shape shape;
  fc_series_point demand[RANDOM_SERVICES][2], rate[RANDOM_STREAMS], share[RANDOM_OTHERS];
  int32_t order[RANDOM_POOLS];
  fc_service_def service[RANDOM_SERVICES];
  fc_run_def run[RANDOM_RUNS];
  fc_stream_def stream[RANDOM_STREAMS];
  fc_other_def other[RANDOM_OTHERS];
  fc_policy_def policy[RANDOM_POLICIES];
  fc_fleet_def def;
} random_def;

void random_def_make(random_def *out, uint64_t seed);

#endif
