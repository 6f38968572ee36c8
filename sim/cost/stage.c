/* SPDX-License-Identifier: Apache-2.0 */
#include "stage.h"

#include <math.h>

static double stage_cost(const fc_stage *stage, const double cost_s[FC_KIND_COUNT]) {
  double sum = 0;
  for (int k = 0; k < FC_KIND_COUNT; k++) sum += stage->count[k] * cost_s[k];
  return sum;
}

int fc_stage_deal(fc_stage out[3], const fc_model *model, const fc_train_plan *plan, double n) {
  double stages = (double)plan->pp, layers = (double)model->layers;
  double dense = model->moe.experts > 0 ? (double)model->dense_layers : 0;
  out[0] = out[1] = out[2] = (fc_stage){0};
  double first = stages > 1 ? n : layers;
  out[0].count[FC_KIND_DENSE] = fmin(dense, first);
  out[0].count[FC_KIND_LAYER] = first - out[0].count[FC_KIND_DENSE];
  out[0].count[FC_KIND_EMBEDDING] = 1;
  out[1].count[FC_KIND_LAYER] = stages > 2 ? fmin(n, layers - n) : 0;
  out[2].count[FC_KIND_LAYER] = fmax(0, layers - n * (stages - 1));
  fc_stage *last = stages > 1 ? &out[2] : &out[0];
  last->count[FC_KIND_HEAD] = 1;
  last->count[FC_KIND_MTP] = (double)model->mtp_layers;
  if (!(stages > 1)) return 1;
  if (plan->schedule != FC_SCHEDULE_DUALPIPE) return 3;
  for (int k = 0; k < FC_KIND_COUNT; k++) out[0].count[k] = 0.5 * (out[0].count[k] + out[2].count[k]);
  return 2;
}

fc_stage fc_stage_pacing(const fc_model *model, const fc_train_plan *plan,
                         const double cost_s[FC_KIND_COUNT]) {
  int64_t layers = model->layers, stages = plan->pp;
  int64_t least = (layers + stages - 1) / stages;
  /* a heavy head may be worth emptying the last stage of layers */
  int64_t most = stages > 1 ? (layers + stages - 2) / (stages - 1) : least;
  double best = (double)INFINITY;
  fc_stage chosen = {0};
  for (int64_t n = least; n <= most; n++) {
    fc_stage of[3];
    int kinds = fc_stage_deal(of, model, plan, (double)n), worst = 0;
    double slowest = 0;
    for (int i = 0; i < kinds; i++) {
      double cost = stage_cost(&of[i], cost_s);
      if (cost > slowest) {
        slowest = cost;
        worst = i;
      }
    }
    if (slowest < best) {
      best = slowest;
      chosen = of[worst];
    }
  }
  return chosen;
}
