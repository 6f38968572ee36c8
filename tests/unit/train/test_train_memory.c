/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include <fleetcast/train/ledger.h>
#include <fleetcast/train/recovery.h>

#include "exhaust.h"

static const char *const phases[] = {"all"};

static fc_status live(void *none) {
  (void)none;
  static fc_recovery_phase phase = {.work_s = 1e6};
  fc_hazard h = {.name = "fault",
                 .law = FC_HAZARD_WEIBULL, /* more events than the calendar begins with */
                 .shape = 1,
                 .mtbf_s = fc_dist_point(6.4e6),
                 .slowdown = fc_dist_point(1),
                 .detect_s = fc_dist_point(60),
                 .restart_s = fc_dist_point(60)};
  fc_recovery_def d = {.devices = 64,
                       .node_devices = 8,
                       .spare_nodes = 1,
                       .n_phases = 1,
                       .phases = &phase,
                       .n_hazards = 1,
                       .hazards = &h,
                       .checkpoint_s = 1e4,
                       .checkpoint_write_s = fc_dist_point(5),
                       .checkpoint_flush_s = fc_dist_point(5),
                       .repair_s = fc_dist_point(1),
                       .replications = 2};
  fc_recovery_sample sample[2];
  fc_status status = fc_recovery_run(sample, &d, NULL);
  if (status != FC_OK) return status;
  fc_ledger_def l = {.devices = 64, .n_phases = 1, .phase = phases};
  for (int i = 0; i < FC_COST_COUNT; i++)
    l.cost[i] = fc_dist_point(i == FC_COST_LIFE ? 1e8 : i == FC_COST_PUE ? 1 : 0);
  l.cost[FC_COST_UTILISATION] = fc_dist_point(1);
  static fc_ledger out;
  return fc_ledger_make(&out, &l, sample, 2, NULL);
}

Test(train_memory, every_allocation_may_fail) {
  fc_exhaust(&(fc_exhaustion){.life = live, .least = 5});
}
