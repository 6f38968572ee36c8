/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/train/rollout.h>

#include <math.h>

double fc_rollout_cycle_s(const fc_rollout_pool *p) {
  double loop = p->wait * p->generate_s + p->update_s + p->publish_s;
  return fmax(fmax(p->generate_s + p->publish_s, p->update_s), loop / (double)(p->lag + 1));
}
