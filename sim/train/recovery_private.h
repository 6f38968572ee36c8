/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TRAIN_RECOVERY_PRIVATE_H
#define FC_TRAIN_RECOVERY_PRIVATE_H

#include <fleetcast/train/recovery.h>

/** One replication; everything else is drawn from streams keyed by its number.
 *  @return as fc_recovery_run, but FC_E_INFEASIBLE for a run that makes no headway */
fc_status fc_recovery_life(fc_recovery_sample *out, const fc_recovery_def *def, uint64_t replication);
/** Units of a hazard that can strike. */
double fc_hazard_units(const fc_recovery_def *def, const fc_hazard *hazard);
/** Does it stop the run without a plan? */
bool fc_hazard_is_fault(const fc_hazard *hazard);

#endif
