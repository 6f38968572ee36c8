/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_FLEET_SUPPLY_H
#define FC_FLEET_SUPPLY_H

#include <stddef.h>
#include <stdint.h>

#include "grid.h"

/** Deliveries, policies on them, and retirements of one pool, worked out before the run: integer lots, the
 *  installed count over time, and the capital that depreciates. */

/** A change of the installed count; several may share an instant. */
typedef struct fc_lot_step {
  fc_time at;
  int64_t delta;     /* devices: > 0 delivered, < 0 retired */
  int64_t installed; /* after it */
  int64_t peak;      /* largest installed count from it on */
} fc_lot_step;

typedef struct fc_supply {
  size_t n_steps;
  fc_lot_step *step;     /* in order of time; within an instant deliveries first */
  int64_t at_start;      /* installed at the start: delivered before it and still alive */
  int64_t peak;          /* largest installed count from the start on */
  fc_time first;         /* first instant with a device; FC_TIME_MAX: never */
  fc_integral installed; /* device-ns: INV-1's other side */
  fc_integral capital;   /* pico-USD/s x ns of straight-line depreciation */
} fc_supply;

/** Capital a device where no all-in price is given, over the price of the device alone.
 *  @source 45.2 k USD all-in a GPU for H200 (SemiAnalysis) over 25 k USD, the middle of Epoch AI's prices of
 *          Hopper devices in 2024 and 2025 */
#define FC_SYSTEM_OVER_PURCHASE 1.8

/** Fills supply[def->n_pools], which the caller zeroed and finishes also on failure. */
FC_NODISCARD
fc_status fc_supply_init(fc_supply *supply, const fc_fleet_def *def, const fc_grid *grid);
void fc_supply_fini(fc_supply *supply);

/** t + seconds, saturating. */
fc_time fc_time_plus_s(fc_time t, double seconds);
/** The date at which a policy ends. */
fc_time fc_policy_until(const fc_policy_def *policy, const fc_fleet_def *def);

#endif
