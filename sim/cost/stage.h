/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_COST_INTERNAL_STAGE_H
#define FC_COST_INTERNAL_STAGE_H

#include <fleetcast/cost/model.h>
#include <fleetcast/cost/plan.h>

/** How layers are dealt over pipeline ranks. */

/** Kinds of work that a stage may hold; counts below are per kind. */
typedef enum {
  FC_KIND_LAYER, /* the model's last kind: MoE, or dense in a dense model */
  FC_KIND_DENSE, /* leading dense layers of an MoE model */
  FC_KIND_EMBEDDING,
  FC_KIND_HEAD,
  FC_KIND_MTP, /* one multi-token-prediction module with its head */
  FC_KIND_COUNT
} fc_kind;

typedef struct fc_stage {
  double count[FC_KIND_COUNT];
} fc_stage;

/** Devices that differ: [0] the first stage's, [1] an inner one's, [2] the last's, when inner stages hold n
 * layers and the first `more` than that (leading dense layers are cheap). DualPipe pairs stage i with stage
 * p-1-i and a device does half of each: counts are the pair's mean, [0] the ends'.  DualPipeV's first rank
 * holds the first and the last stage, whole.
 *  @return how many of the three exist */
int fc_stage_deal(fc_stage out[3], const fc_model *model, const fc_train_plan *plan, double n, double more);
/** The device that sets the pace, given seconds of one micro-batch by kind.  Inner stages hold n layers; the
 *  first as many or more and the embedding, the last what is left, head and MTP; the split is chosen to make
 * the slowest fastest. */
fc_stage fc_stage_pacing(const fc_model *model, const fc_train_plan *plan,
                         const double cost_s[FC_KIND_COUNT]);

#endif
