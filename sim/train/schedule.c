/* SPDX-License-Identifier: Apache-2.0 */
#include "schedule_private.h"

#include <math.h>
#include <stdlib.h>

#include <fleetcast/base/assert.h>

enum { PASSES_MAX = 10000000 };

static bool is_possible(fc_schedule schedule, int64_t ranks, int64_t chunks, int64_t micro) {
  if (ranks < 1 || chunks < 1 || micro < 1) return false;
  if (ranks > PASSES_MAX || chunks > PASSES_MAX / ranks || micro > PASSES_MAX / (ranks * chunks))
    return false;
  switch (schedule) {
  case FC_SCHEDULE_1F1B:
  case FC_SCHEDULE_ZB1P: return chunks == 1;
  case FC_SCHEDULE_INTERLEAVED: return chunks == 1 || micro % ranks == 0;
  case FC_SCHEDULE_DUALPIPE: return chunks == 1 && ranks % 2 == 0 && micro % 2 == 0 && micro >= 2 * ranks;
  case FC_SCHEDULE_DUALPIPEV: return chunks == 1 && micro >= 2 * ranks;
  }
  return false;
}

static bool reserve(fc_pipeline *p) {
  size_t ranks = (size_t)p->ranks, cells = (size_t)p->stages * (size_t)p->micro, calls = p->n_calls;
  p->first = calloc(ranks + 1, sizeof *p->first);
  p->next = calloc(ranks, sizeof *p->next);
  p->busy = calloc(4 * ranks, sizeof *p->busy);
  p->end = calloc(calls, sizeof *p->end);
  p->from = calloc(calls, sizeof *p->from);
  p->handed = calloc(calls, sizeof *p->handed);
  p->f_call = calloc(2 * cells, sizeof *p->f_call);
  p->deferred = calloc(2 * cells, sizeof *p->deferred);
  p->call = calloc(calls, sizeof *p->call);
  if (!p->first || !p->next || !p->busy || !p->end || !p->from || !p->handed || !p->f_call || !p->deferred ||
      !p->call)
    return false;
  p->idle = p->busy + ranks;
  p->peak = p->idle + ranks;
  p->held = p->peak + ranks;
  p->b_call = p->f_call + cells;
  return true;
}

fc_status fc_pipeline_new(fc_pipeline **out, fc_schedule schedule, int64_t ranks, int64_t chunks,
                          int64_t micro_batches) {
  *out = NULL;
  if (!is_possible(schedule, ranks, chunks, micro_batches)) return FC_E_DOMAIN;
  fc_pipeline *p = calloc(1, sizeof *p);
  if (!p) return FC_E_NOMEM;
  p->schedule = schedule;
  p->ranks = (int32_t)ranks;
  p->chunks = (int32_t)chunks;
  p->micro = (int32_t)micro_batches;
  p->stages = (int32_t)(ranks * chunks * (schedule == FC_SCHEDULE_DUALPIPEV ? 2 : 1));
  fc_pipeline_order(p); /* counts */
  if (!reserve(p)) {
    fc_pipeline_free(p);
    return FC_E_NOMEM;
  }
  fc_pipeline_order(p);
  *out = p;
  return FC_OK;
}

void fc_pipeline_free(fc_pipeline *p) {
  if (!p) return;
  free(p->first);
  free(p->next);
  free(p->busy);
  free(p->end);
  free(p->from);
  free(p->handed);
  free(p->f_call);
  free(p->deferred);
  free(p->call);
  free(p);
}

int64_t fc_pipeline_stages(const fc_pipeline *p) {
  return p->stages;
}

int64_t fc_pipeline_micro_batches(const fc_pipeline *p) {
  return p->micro;
}

static int32_t rank_of(const fc_pipeline *p, int32_t stage, int32_t micro) {
  switch (p->schedule) {
  case FC_SCHEDULE_DUALPIPE: return micro < p->micro / 2 ? stage : p->ranks - 1 - stage;
  case FC_SCHEDULE_DUALPIPEV: return stage < p->ranks ? stage : p->stages - 1 - stage;
  case FC_SCHEDULE_1F1B:
  case FC_SCHEDULE_ZB1P:
  case FC_SCHEDULE_INTERLEAVED: break;
  }
  return stage % p->ranks;
}

int64_t fc_pipeline_rank(const fc_pipeline *p, int64_t stage, int64_t micro_batch) {
  FC_ASSERT(stage >= 0 && stage < p->stages && micro_batch >= 0 && micro_batch < p->micro);
  return rank_of(p, (int32_t)stage, (int32_t)micro_batch);
}

/* --- play --- */

typedef struct {
  fc_pipeline *p;
  const fc_stage_pass *stage;
  const double *factor;
  double hand_over_s;
} game;

static size_t cell(const fc_pipeline *p, int32_t stage, int32_t micro) {
  return (size_t)stage * (size_t)p->micro + (size_t)micro;
}

static double factor_of(const game *g, int32_t stage, int32_t micro) {
  return g->factor ? g->factor[cell(g->p, stage, micro)] : 1;
}

static double seconds_of(const game *g, const fc_call *c) {
  double t = 0;
  bool pair = c->f_stage >= 0 && c->b_stage >= 0;
  if (c->f_stage >= 0) {
    const fc_stage_pass *s = &g->stage[c->f_stage];
    t += factor_of(g, c->f_stage, c->f_micro) * (pair ? s->pair_forward_s : s->forward_s);
  }
  if (c->b_stage >= 0) {
    const fc_stage_pass *s = &g->stage[c->b_stage];
    double alone = s->input_s + (c->with_weight ? s->weight_s : 0);
    t += factor_of(g, c->b_stage, c->b_micro) * (pair ? s->pair_backward_s : alone);
  }
  if (c->w_stage >= 0) t += factor_of(g, c->w_stage, c->w_micro) * g->stage[c->w_stage].weight_s;
  return t;
}

/* Waits for the call `before`, which ran on `other`; false: it has not run. */
static bool wait_for(const game *g, size_t before, int32_t rank, int32_t other, size_t self, double *at) {
  fc_pipeline *p = g->p;
  if (before == FC_NO_CALL) return false;
  bool handed = other != rank;
  double there = p->end[before] + (handed ? g->hand_over_s : 0);
  if (there > *at) {
    *at = there;
    p->from[self] = before;
    p->handed[self] = handed;
  }
  return true;
}

static bool is_ready(const game *g, const fc_call *c, int32_t rank, size_t self, double *at) {
  fc_pipeline *p = g->p;
  if (c->f_stage > 0 && !wait_for(g, p->f_call[cell(p, c->f_stage - 1, c->f_micro)], rank,
                                  rank_of(p, c->f_stage - 1, c->f_micro), self, at))
    return false;
  if (c->b_stage < 0) return true;
  bool last = c->b_stage + 1 == p->stages;
  size_t before =
      last ? p->f_call[cell(p, c->b_stage, c->b_micro)] : p->b_call[cell(p, c->b_stage + 1, c->b_micro)];
  return wait_for(g, before, rank, last ? rank : rank_of(p, c->b_stage + 1, c->b_micro), self, at);
}

/* A forward's activations stay until the pass that needs them last has ended. */
static void hold(fc_pipeline *p, const fc_call *c, int32_t rank) {
  if (c->f_stage >= 0) p->held[rank] += 1;
  if (p->held[rank] > p->peak[rank]) p->peak[rank] = p->held[rank];
  if (c->b_stage >= 0 && c->with_weight) p->held[rank] -= 1;
  if (c->w_stage >= 0) p->held[rank] -= 1;
}

/* Runs what rank r can; false: nothing. */
static bool advance(const game *g, int32_t r) {
  fc_pipeline *p = g->p;
  size_t i = p->next[r], stop = p->first[r + 1], begin = i;
  for (; i < stop; i++) {
    const fc_call *c = &p->call[i];
    double at = 0;
    p->from[i] = FC_NO_CALL;
    p->handed[i] = false;
    if (i > p->first[r]) {
      at = p->end[i - 1];
      p->from[i] = i - 1;
    }
    if (!is_ready(g, c, r, i, &at)) break;
    double t = seconds_of(g, c);
    p->end[i] = at + t;
    p->busy[r] += t;
    if (c->f_stage >= 0) p->f_call[cell(p, c->f_stage, c->f_micro)] = i;
    if (c->b_stage >= 0) p->b_call[cell(p, c->b_stage, c->b_micro)] = i;
    hold(p, c, r);
  }
  p->next[r] = i;
  return i > begin;
}

static void reset(fc_pipeline *p) {
  size_t cells = (size_t)p->stages * (size_t)p->micro;
  for (size_t i = 0; i < 2 * cells; i++) p->f_call[i] = FC_NO_CALL;
  for (int32_t r = 0; r < p->ranks; r++) {
    p->next[r] = p->first[r];
    p->busy[r] = p->peak[r] = p->held[r] = 0;
  }
}

/* Backwards along what each call waited for. */
static void trace(fc_critical *out, const game *g, size_t last) {
  const fc_pipeline *p = g->p;
  *out = (fc_critical){0};
  for (size_t i = last; i != FC_NO_CALL; i = p->from[i]) {
    const fc_call *c = &p->call[i];
    double t = seconds_of(g, c);
    if (c->f_stage >= 0 && c->b_stage >= 0)
      out->pair_s += t;
    else if (c->f_stage >= 0)
      out->forward_s += t;
    else if (c->b_stage >= 0)
      out->backward_s += t;
    else
      out->weight_s += t;
    if (p->handed[i]) out->hand_over_s += g->hand_over_s;
  }
}

void fc_pipeline_play(fc_pipeline_run *out, fc_pipeline *p, const fc_stage_pass *stage, double hand_over_s,
                      const double *factor) {
  game g = {p, stage, factor, hand_over_s};
  reset(p);
  for (bool moved = true; moved;) {
    moved = false;
    for (int32_t r = 0; r < p->ranks; r++) moved |= advance(&g, r);
  }
  size_t last = 0;
  double makespan = -1;
  for (int32_t r = 0; r < p->ranks; r++) {
    FC_ASSERT(p->next[r] == p->first[r + 1]); /* the orders have no cycle */
    size_t end = p->first[r + 1] - 1;
    if (p->end[end] <= makespan) continue;
    makespan = p->end[end];
    last = end;
  }
  for (int32_t r = 0; r < p->ranks; r++) p->idle[r] = makespan - p->busy[r];
  *out = (fc_pipeline_run){.makespan_s = makespan, .idle_s = p->idle, .peak = p->peak};
  trace(&out->critical, &g, last);
}
