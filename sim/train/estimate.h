/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TRAIN_INTERNAL_ESTIMATE_H
#define FC_TRAIN_INTERNAL_ESTIMATE_H

#include <fleetcast/cost/train_step.h>
#include <fleetcast/train/step.h>

/** The step by its graph, or by the closed form where there is nothing to schedule or too much to play.
 *  @return FC_OK | FC_E_NOMEM | FC_E_DOMAIN */
FC_NODISCARD
fc_status fc_train_step_of(fc_train_simulation *out, const fc_train_step *closed, const fc_model *model,
                           const fc_profile *profile, const fc_train_plan *plan);

#endif
