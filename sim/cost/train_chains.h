/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_COST_INTERNAL_TRAIN_CHAINS_H
#define FC_COST_INTERNAL_TRAIN_CHAINS_H

#include <fleetcast/cost/plan.h>

#include "layer.h"

/** Half a layer. */
typedef enum { FC_BLOCK_ATTENTION, FC_BLOCK_MOE, FC_BLOCK_FFN } fc_train_block;

/** Adds to the meter's bill what the plan's framework runs beside the layer's operators (fc_eager). */
void fc_train_chains(const fc_layer *layer, const fc_train_plan *plan, fc_train_block which, bool backward);

#endif
