/* SPDX-License-Identifier: Apache-2.0 */
#include "stage.h"

#include <math.h>

static double stage_cost(const fc_stage *stage, const double cost_s[FC_KIND_COUNT]) {
  double sum = 0;
  for (int k = 0; k < FC_KIND_COUNT; k++) sum += stage->count[k] * cost_s[k];
  return sum;
}

/* Layers of the last stage when the first holds `more` than the inner ones' n. */
static double left(double layers, double stages, double n, double more) {
  return fmax(0, layers - n * (stages - 1) - more);
}

int fc_stage_deal(fc_stage out[3], const fc_model *model, const fc_train_plan *plan, double n, double more) {
  double stages = (double)plan->pp, layers = (double)model->layers;
  double dense = model->moe.experts > 0 ? (double)model->dense_layers : 0;
  bool both_ends = plan->schedule == FC_SCHEDULE_DUALPIPEV; /* on the first rank */
  out[0] = out[1] = out[2] = (fc_stage){0};
  double first = stages > 1 ? fmin(n + more, layers) : layers, last = left(layers, stages, n, more);
  if (stages > 1 && both_ends) first = fmax(0, layers - n * (stages - 1));
  out[0].count[FC_KIND_DENSE] = fmin(dense, first);
  out[0].count[FC_KIND_LAYER] = first - out[0].count[FC_KIND_DENSE];
  out[0].count[FC_KIND_EMBEDDING] = 1;
  out[1].count[FC_KIND_LAYER] = stages > 2 || (stages > 1 && both_ends) ? fmin(n, layers) : 0;
  out[2].count[FC_KIND_LAYER] = last;
  fc_stage *end = stages > 1 && !both_ends ? &out[2] : &out[0];
  end->count[FC_KIND_HEAD] = 1;
  end->count[FC_KIND_MTP] = (double)model->mtp_layers;
  if (!(stages > 1)) return 1;
  if (both_ends) return 2;
  if (plan->schedule != FC_SCHEDULE_DUALPIPE) return 3;
  for (int k = 0; k < FC_KIND_COUNT; k++) out[0].count[k] = 0.5 * (out[0].count[k] + out[2].count[k]);
  return 2;
}

/* Which of the devices that differ is the slowest; its cost. */
static double slowest_of(fc_stage *out, const fc_model *model, const fc_train_plan *plan, double n,
                         double more, const double cost_s[FC_KIND_COUNT]) {
  fc_stage of[3];
  int kinds = fc_stage_deal(of, model, plan, n, more);
  double slowest = -1;
  for (int i = 0; i < kinds; i++) {
    double cost = stage_cost(&of[i], cost_s);
    if (!(cost > slowest)) continue;
    slowest = cost;
    *out = of[i];
  }
  return slowest;
}

fc_stage fc_stage_pacing(const fc_model *model, const fc_train_plan *plan,
                         const double cost_s[FC_KIND_COUNT]) {
  int64_t layers = model->layers, stages = plan->pp;
  int64_t least = (layers + stages - 1) / stages;
  /* a heavy head may be worth emptying the last stage of layers */
  int64_t most = stages > 1 ? (layers + stages - 2) / (stages - 1) : least;
  int64_t cheap = stages > 1 && model->moe.experts > 0 ? model->dense_layers : 0;
  double best = (double)INFINITY;
  fc_stage chosen = {0};
  for (int64_t n = least; n <= most; n++)
    for (int64_t more = 0; more <= cheap; more++) {
      fc_stage worst = {0};
      double slowest = slowest_of(&worst, model, plan, (double)n, (double)more, cost_s);
      if (!(slowest < best)) continue;
      best = slowest;
      chosen = worst;
    }
  return chosen;
}
