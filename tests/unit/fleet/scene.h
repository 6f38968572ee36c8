/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TESTS_FLEET_SCENE_H
#define FC_TESTS_FLEET_SCENE_H

#include <fleetcast/fleet/run.h>

#include "fakes.h"
#include "look.h"

#define START (19723 * FC_DAY) /* 2024-01-01 */
#define DAY_S 86400.0

/** One pool of 100 plain devices from before the start, for 60 days from START, daily buckets. */
typedef struct scene {
  fake_profile profile;
  fc_delivery delivery[4];
  fc_pool_def pool[3];
  fc_model model;
  fc_series_point point[8];
  fc_service_def service[3];
  fc_run_def run[6];
  fc_stream_def stream[3];
  fc_other_def other[2];
  fc_policy_def policy[3];
  fc_fleet_def def;
} scene;

/** Fills in place: the definition points into the scene. */
void scene_set(scene *s);
fc_fleet_result *scene_run(const scene *s);

#endif
