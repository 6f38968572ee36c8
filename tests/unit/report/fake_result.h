/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TEST_FAKE_RESULT_H
#define FC_TEST_FAKE_RESULT_H

#include <fleetcast/fleet/run.h>

/* A result that a test writes down by hand: the getters of fleet/run.h read it. Three months over a change of
 * year, two pools, two services, two runs, a stream, other AI, and a residual. */

enum { FAKE_BUCKETS = 3, FAKE_ACCOUNTS = 13 };

struct fc_fleet_result {
  const fc_fleet_def *def;
  const char *law;
  size_t accounts;
  fc_account account[FAKE_ACCOUNTS];
  fc_account_cell cell[FAKE_ACCOUNTS][FAKE_BUCKETS];
  fc_pool_cell pool[2][FAKE_BUCKETS];
  fc_service_cell service[2][FAKE_BUCKETS];
  size_t n_jobs, n_events, n_capacities, n_estimates;
  fc_job_row job[4];
  fc_event_row event[3];
  fc_capacity_row capacity[3];
  fc_estimate_row estimate[3];
};

fc_fleet_result fake_result(void);

#endif
