/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TRAIN_ROLLOUT_H
#define FC_TRAIN_ROLLOUT_H

#include <stdint.h>

/** Reinforcement learning whose rollouts have a pool of their own, beside the devices that train
 *  (docs/train.md#what-is-composed). */
typedef struct fc_rollout_pool {
  double generate_s; /* the pool's time for the tokens of one step, all its slots busy; > 0 */
  double wait;       /* from the start of a step's rollouts to their last answer, over that; >= 1 */
  double update_s;   /* of a step on the devices that train; > 0 */
  double publish_s;  /* weights to the pool, which stands still meanwhile; >= 0 */
  int64_t lag;       /* updates that the weights which generate may be behind: 0 is on-policy */
} fc_rollout_pool;

/** Time from step to step in the long run: the slowest of the pool, the updates, and the loop of rollouts,
 *  update and weights, of which lag + 1 steps are under way at a time.  The mean weight of the heaviest
 * circuit of their (max, plus) recurrence.  @source Baccelli, Cohen, Olsder, Quadrat 1992, theorem 3.23 */
double fc_rollout_cycle_s(const fc_rollout_pool *pool);

#endif
