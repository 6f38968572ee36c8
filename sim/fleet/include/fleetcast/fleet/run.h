/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_FLEET_RUN_H
#define FC_FLEET_RUN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/status.h>
#include <fleetcast/base/time.h>
#include <fleetcast/fleet/def.h>

/** Runs a scenario: who gets which device, when.  Pure function of (def, options.seed): same bytes for the
 *  same seed.  Laws INV-1, 2, 3, 6, 7, 9 are checked on every run (docs/invariants.md). */

typedef struct fc_fleet_options {
  uint64_t seed;
  /** Called now and then with the share of simulated time done; nullable. */
  void (*progress)(void *context, double share, fc_time now);
  void *context;
  const atomic_int *cancel; /* set non-zero from a signal handler: returns FC_E_CANCELLED; nullable */
  /* What the capacity surface needs; results depend on none of these. */
  size_t threads;    /* 0: one a processor */
  const char *cache; /* folder of capacities that are known already; NULL: none */
  /** Before the run, after each simulation of a service on a pool (names, how many so far); a note on the
   *  cache.  One call at a time, from any thread; nullable. */
  void (*planned)(void *context, const char *service, const char *pool, size_t simulations);
  void (*note)(void *context, const char *text);
} fc_fleet_options;

/** One account: what devices of one pool were used for.  `owner` is the service, run, stream or other_ai
 * entry by name; "" for idle, down, unexplained. */
typedef struct fc_account {
  int32_t pool;
  fc_category category;
  const char *owner;
} fc_account;

/** What is known of one account in one bucket. Everything else is derived from these and the pool's rates. */
typedef struct fc_account_cell {
  double device_s; /* exact integral of a device count over time, from 128-bit integers */
  double flop;     /* useful */
  double joule;    /* facility energy: device draw, its server, PUE */
} fc_account_cell;

typedef struct fc_pool_cell {
  double installed_device_s;
  double rent_usd_per_device_s;  /* mean over the bucket */
  double owner_usd_per_device_s; /* capital straight-line + hosting; energy is priced from joules */
  double tariff_usd_per_j;
} fc_pool_cell;

typedef struct fc_service_cell {
  double tokens_in, tokens_served, tokens_dropped; /* in the bucket */
  double tokens_queued;                            /* at its end */
  double peak_devices;                             /* largest allocation in the bucket */
} fc_service_cell;

typedef enum { FC_JOB_DONE, FC_JOB_RUNNING, FC_JOB_QUEUED, FC_JOB_IMPOSSIBLE } fc_job_state;

typedef struct fc_job_row {
  const char *owner;
  uint64_t number; /* within its stream; 0 for a dated run */
  fc_category category;
  int32_t pool; /* -1: never placed */
  int64_t devices;
  fc_time submit, start, end; /* start, end: -1 when not yet */
  fc_job_state state;
  double work_done; /* share of its work finished and kept */
  double device_s, lost_device_s;
  double flop; /* useful, kept */
  int64_t failures, preemptions;
} fc_job_row;

typedef struct fc_event_row {
  fc_time at;
  const char *kind; /* "policy", "first_delivery", "unmet", "job_impossible", … */
  const char *what; /* name */
  double value;
  const char *unit;
} fc_event_row;

/** How a service is served on one pool, or how a run trains: the L1 answer behind the fleet's. */
typedef struct fc_capacity_row {
  int32_t service, pool;
  bool feasible;
  char why[256];
  fc_serve_capacity capacity;
} fc_capacity_row;

typedef struct fc_estimate_row {
  int32_t run, pool; /* run: index into runs, or n_runs + stream index */
  bool feasible;
  char why[256];
  fc_train_estimate estimate;
} fc_estimate_row;

typedef struct fc_fleet_result fc_fleet_result;

/** @return FC_OK | FC_E_NOMEM | FC_E_CANCELLED | FC_E_LAW (a law broke; fc_fleet_result is still returned so
 *          that its message can be shown) | FC_E_INFEASIBLE (no pool can serve a service; `why` tells) */
FC_NODISCARD
fc_status fc_fleet_run(fc_fleet_result **out, const fc_fleet_def *def, const fc_fleet_options *options,
                       char *why);
void fc_fleet_result_free(fc_fleet_result *result);

/* Getters: borrowed until the result is freed. */
const fc_fleet_def *fc_fleet_result_def(const fc_fleet_result *result);
const char *fc_fleet_result_law(const fc_fleet_result *result); /* the broken law, or NULL */
size_t fc_fleet_buckets(const fc_fleet_result *result);
fc_time fc_fleet_bucket_start(const fc_fleet_result *result, size_t bucket); /* [buckets]: the end */
size_t fc_fleet_accounts(const fc_fleet_result *result, const fc_account **accounts);
fc_account_cell fc_fleet_account_cell(const fc_fleet_result *result, size_t account, size_t bucket);
fc_pool_cell fc_fleet_pool_cell(const fc_fleet_result *result, size_t pool, size_t bucket);
fc_service_cell fc_fleet_service_cell(const fc_fleet_result *result, size_t service, size_t bucket);
size_t fc_fleet_jobs(const fc_fleet_result *result, const fc_job_row **rows);
size_t fc_fleet_events(const fc_fleet_result *result, const fc_event_row **rows);
size_t fc_fleet_capacities(const fc_fleet_result *result, const fc_capacity_row **rows);
size_t fc_fleet_estimates(const fc_fleet_result *result, const fc_estimate_row **rows);
uint64_t fc_fleet_events_executed(const fc_fleet_result *result);

#endif
