/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_COST_INTERNAL_PARAMS_H
#define FC_COST_INTERNAL_PARAMS_H

#include <fleetcast/cost/model.h>

/** Parameter counts by how they are split over devices; shared by model.c and the memory models. */
double fc_params_attention(const fc_model *model);  /* linear weights of one layer */
double fc_params_ffn(const fc_model *model);        /* of one dense feed-forward */
double fc_params_expert(const fc_model *model);     /* of one expert */
double fc_params_moe_layers(const fc_model *model); /* number of layers with experts */

#endif
