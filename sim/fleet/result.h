/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_FLEET_RESULT_H
#define FC_FLEET_RESULT_H

#include <fleetcast/fleet/run.h>

#include "grid.h"

struct fc_fleet_result {
  const fc_fleet_def *def;
  fc_grid grid;
  char law[256]; /* "": none broken */
  size_t n_accounts;
  fc_account *account;
  fc_account_cell *cell;         /* [accounts][buckets] */
  fc_pool_cell *pool_cell;       /* [pools][buckets] */
  fc_service_cell *service_cell; /* [services][buckets] */
  size_t n_jobs;
  fc_job_row *job;
  size_t n_events, event_capacity;
  fc_event_row *event;
  size_t n_capacities;
  fc_capacity_row *capacity;
  size_t n_estimates;
  fc_estimate_row *estimate;
  uint64_t events_executed;
};

#endif
