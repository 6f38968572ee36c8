/* SPDX-License-Identifier: Apache-2.0 */
/* The search over standard parallel plans. */
#include <fleetcast/train/run.h>

#include <math.h>
#include <stdio.h>

#include <fleetcast/cost/train_step.h>

#include "estimate.h"

typedef struct {
  const fc_model *model;
  const fc_profile *profile;
  const fc_train_plan *wish;
  int64_t devices;
  fc_train_plan best;
  double best_s;      /* a token */
  double least_bytes; /* of plans that do not fit */
  int tried;
  fc_status status;
} search;

/* Sequences a step: the wish, or enough micro-batches for the target, a multiple of what the plan needs. */
static int64_t batch_of(const search *s, const fc_train_plan *p, int64_t dp) {
  if (s->wish->global_batch > 0) return s->wish->global_batch;
  int64_t unit = dp * p->micro_batch;
  int64_t multiple = p->schedule == FC_SCHEDULE_INTERLEAVED ? p->pp : 2;
  double want = FC_TRAIN_BATCH_TOKENS / (double)p->sequence / (double)(unit * multiple);
  int64_t n = (int64_t)fmax(1, round(want)) * multiple;
  bool dual = p->schedule == FC_SCHEDULE_DUALPIPE || p->schedule == FC_SCHEDULE_DUALPIPEV;
  if (dual && n < 2 * p->pp) n = 2 * p->pp;
  return n * unit;
}

static void try_plan(search *s, fc_train_plan p) {
  p.global_batch = batch_of(s, &p, p.devices / (p.tp * p.pp * p.cp));
  if (fc_train_plan_check(s->model, &p, NULL) != FC_OK) return;
  for (int r = FC_RECOMPUTE_NONE; r <= FC_RECOMPUTE_FULL; r++) { /* the first that fits is the fastest */
    p.recompute = (fc_recompute)r;
    if (s->wish->recompute != FC_RECOMPUTE_NONE && p.recompute != s->wish->recompute) continue;
    fc_train_memory memory;
    fc_cost_train_memory(&memory, s->model, &p);
    if (memory.total_bytes > s->profile->device->memory_bytes) {
      s->least_bytes = fmin(s->least_bytes, memory.total_bytes);
      continue;
    }
    fc_train_step step;
    if (fc_cost_train_step(&step, s->model, s->profile, &p) != FC_OK) return;
    s->tried++;
    double tokens = (double)p.global_batch * (double)p.sequence;
    if (!(step.seconds < s->best_s * tokens)) return; /* its graph is hardly faster */
    fc_train_simulation graph;
    fc_status status = fc_train_step_of(&graph, &step, s->model, s->profile, &p);
    if (status == FC_E_NOMEM) s->status = status;
    if (status != FC_OK || !(graph.seconds < s->best_s * tokens)) return;
    s->best_s = graph.seconds / tokens;
    s->best = p;
    return;
  }
}

static void try_schedules(search *s, fc_train_plan p) {
  bool free_choice = s->wish->schedule == FC_SCHEDULE_1F1B;
  if (p.pp == 1) {
    p.schedule = FC_SCHEDULE_1F1B;
    p.virtual_stages = 1;
    try_plan(s, p);
    return;
  }
  if (!free_choice) {
    try_plan(s, p);
    return;
  }
  try_plan(s, p);
  if (p.ep > 1) {
    p.schedule = FC_SCHEDULE_DUALPIPE;
    try_plan(s, p);
  }
  p.schedule = FC_SCHEDULE_INTERLEAVED;
  p.virtual_stages = s->model->layers / p.pp >= 4 ? 4 : 2;
  if (s->model->layers / p.pp >= 2) try_plan(s, p);
}

static void try_experts(search *s, fc_train_plan p) {
  if (s->model->moe.experts == 0 || s->wish->ep > 0) {
    p.ep = s->wish->ep > 0 ? s->wish->ep : 1;
    try_schedules(s, p);
    return;
  }
  for (p.ep = 1; p.ep <= s->model->moe.experts && p.ep <= 64; p.ep *= 2) try_schedules(s, p);
}

static bool wanted(int64_t wish, int64_t value) {
  return wish < 1 || wish == value;
}

static void try_all(search *s) {
  static const int64_t stages[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 15, 16, 18, 20, 24, 32};
  const fc_device *device = s->profile->device;
  int64_t node = device->node_devices > 0 ? device->node_devices : 8;
  fc_train_plan p = *s->wish;
  p.devices = s->devices;
  if (p.micro_batch < 1) p.micro_batch = 1;
  if (p.sequence < 1) p.sequence = 4096; /* DeepSeek-V3's pre-training length (arXiv:2412.19437) */
  if (p.virtual_stages < 1) p.virtual_stages = 1;
  if (p.zero < 1) p.zero = 1;
  bool fp8 = s->model->weights == FC_DTYPE_FP8 && device->peak_flop_per_s[FC_DTYPE_FP8] > 0;
  if (p.gemm == FC_DTYPE_FP32) p.gemm = fp8 ? FC_DTYPE_FP8 : FC_DTYPE_BF16;
  if (!(p.expert_imbalance >= 1)) p.expert_imbalance = 1;
  if (!(p.overlap > 0)) p.overlap = FC_TRAIN_OVERLAP;
  for (int64_t tp = 1; tp <= node; tp *= 2)
    for (int64_t cp = 1; cp <= 8 && (cp == 1 || p.sequence / cp >= 4096 || cp == s->wish->cp); cp *= 2)
      for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        int64_t pp = stages[i];
        if (!wanted(s->wish->tp, tp) || !wanted(s->wish->cp, cp) || !wanted(s->wish->pp, pp)) continue;
        if (pp > s->model->layers || s->devices % (tp * cp * pp) != 0) continue;
        fc_train_plan candidate = p;
        candidate.tp = tp;
        candidate.cp = cp;
        candidate.pp = pp;
        try_experts(s, candidate);
      }
}

fc_status fc_train_estimate_auto(fc_train_estimate *out, const fc_model *model, const fc_profile *profile,
                                 const fc_train_plan *wish, int64_t devices, const fc_failure *failure,
                                 char *why) {
  if (why) *why = '\0';
  search s = {.model = model, .profile = profile, .wish = wish, .devices = devices};
  s.best_s = s.least_bytes = (double)INFINITY;
  if (devices >= 1) try_all(&s);
  if (s.status != FC_OK) return s.status;
  if (s.tried > 0) return fc_train_estimate_plan(out, model, profile, &s.best, failure, why);
  if (!why) return FC_E_INFEASIBLE;
  if (isfinite(s.least_bytes))
    (void)snprintf(why, 256, "%s on %lld x %s: the leanest plan needs %.0f GB a device, which has %.0f GB",
                   model->name ? model->name : "model", (long long)devices, profile->device_name,
                   s.least_bytes / 1e9, profile->device->memory_bytes / 1e9);
  else
    (void)snprintf(why, 256, "no standard plan divides %lld devices with the degrees and batch asked for",
                   (long long)devices);
  return FC_E_INFEASIBLE;
}
