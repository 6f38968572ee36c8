/* SPDX-License-Identifier: Apache-2.0 */
/* What fits, by the graph of its schedule, in the order of the closed form, until nothing better is left. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/cost/train_step.h>

#include "plan_search_private.h"

/* Of one group and wave: enough to keep all hands busy, few enough for what is found to end the search. */
enum { WAVE = 16 };

/* A plan in the order of its group. */
typedef struct {
  found is;
  size_t place; /* as tried: breaks ties */
  size_t group;
  bool timed;
} ranked;

/* Timed by its graph. */
typedef struct {
  const found *from;
  size_t group;
  double short_bytes;
  fc_train_candidate is;
  fc_status status;
} finalist;

typedef struct {
  search *s;
  size_t n_ranked;
  ranked *ranked;
  size_t *begin; /* [n_groups + 1] */
  size_t n, first, capacity;
  finalist *item; /* [n], those of the wave from `first` on */
} race;

static double first_of(const search *s, const fc_train_candidate *c) {
  return s->def->objective == FC_TRAIN_FASTEST ? c->wall_s : c->usd;
}

static double second_of(const search *s, const fc_train_candidate *c) {
  return s->def->objective == FC_TRAIN_FASTEST ? c->usd : c->wall_s;
}

/* Within the limits first; equals in the order of the definition. */
static bool is_better(const search *s, const fc_train_candidate *a, const fc_train_candidate *b) {
  bool ok = a->state == FC_TRAIN_FEASIBLE, other = b->state == FC_TRAIN_FEASIBLE;
  if (ok != other) return ok;
  double x = first_of(s, a), y = first_of(s, b);
  if (x != y) return x < y;
  return second_of(s, a) < second_of(s, b);
}

/* --- order --- */

/* --- time --- */

static void time_one(void *context, size_t i) {
  const race *r = context;
  finalist *one = &r->item[r->first + i];
  const fc_train_search_def *d = r->s->def;
  const group *g = &r->s->group[one->group];
  fc_train_plan plan = fc_train_found_plan(r->s, one->from);
  fc_train_candidate *c = &one->is;
  *c = (fc_train_candidate){.device = g->device, .short_bytes = one->short_bytes};
  one->status =
      fc_train_estimate_plan(&c->estimate, d->model, d->devices[c->device].profile, &plan, &d->failure, NULL);
  if (one->status != FC_OK) return;
  double step_tokens = (double)plan.global_batch * (double)plan.sequence;
  c->closed_s = one->from->token_s * step_tokens;
  double token_s = c->estimate.step_s / step_tokens;
  c->wall_s = d->tokens * token_s / g->goodput;
  c->device_s = c->wall_s * (double)g->devices;
  c->usd = c->device_s * d->devices[c->device].usd_per_s;
  c->state = token_s > g->late_token_s   ? FC_TRAIN_LATE
             : token_s > g->dear_token_s ? FC_TRAIN_DEAR
                                         : FC_TRAIN_FEASIBLE;
}

static fc_status add(race *r, const found *from, size_t g, double short_bytes) {
  if (r->n == r->capacity) {
    size_t capacity = r->capacity ? 2 * r->capacity : 64;
    finalist *grown = realloc(r->item, capacity * sizeof *grown);
    if (!grown) return FC_E_NOMEM;
    r->item = grown;
    r->capacity = capacity;
  }
  r->item[r->n++] = (finalist){.from = from, .group = g, .short_bytes = short_bytes};
  return FC_OK;
}

static fc_status run_wave(race *r) {
  fc_status status = fc_train_search_hands(r->s, time_one, r, r->n - r->first);
  for (size_t i = r->first; i < r->n && status == FC_OK; i++) status = r->item[i].status;
  return status;
}

static bool is_other(const fc_train_plan *p, const fc_train_candidate *than) {
  if (!than) return true;
  const fc_train_plan *q = &than->estimate.plan;
  return p->tp != q->tp || p->pp != q->pp || p->cp != q->cp || p->ep != q->ep;
}

/* Least time of a token in a group by the graph, of plans with other degrees than `than`. */
static double least_of(const race *r, size_t g, const fc_train_candidate *than) {
  double least = (double)INFINITY;
  for (size_t i = 0; i < r->n; i++) {
    const fc_train_candidate *c = &r->item[i].is;
    if (r->item[i].group == g && !(c->short_bytes > 0) && is_other(&c->estimate.plan, than))
      least = fmin(least, 1 / c->estimate.tokens_per_s);
  }
  return least;
}

static fc_status pick(race *r, size_t g, const fc_train_candidate *than) {
  double least = least_of(r, g, than);
  size_t picked = 0;
  for (size_t i = r->begin[g]; i < r->begin[g + 1] && picked < WAVE; i++) {
    ranked *one = &r->ranked[i];
    if (one->is.token_s * (1 - r->s->def->margin) > least) break;
    fc_train_plan plan = fc_train_found_plan(r->s, &one->is);
    if (one->timed || !is_other(&plan, than)) continue;
    one->timed = true;
    picked++;
    fc_status status = add(r, &one->is, g, 0);
    if (status != FC_OK) return status;
  }
  return FC_OK;
}

/* Until no plan that is left could be its group's best; `than`: best with other degrees, on its device. */
static fc_status converge(race *r, const fc_train_candidate *than) {
  for (;;) {
    r->first = r->n;
    for (size_t g = 0; g < r->s->n_groups; g++) {
      if (than && r->s->group[g].device != than->device) continue;
      fc_status status = pick(r, g, than);
      if (status != FC_OK) return status;
    }
    if (r->n == r->first) return FC_OK;
    fc_status status = run_wave(r);
    if (status != FC_OK) return status;
  }
}

/* What lacks a little memory and would be faster than its group's best. */
static fc_status time_near(race *r) {
  r->first = r->n;
  for (size_t i = 0; i < r->s->n_units; i++) {
    const unit *u = &r->s->unit[i];
    size_t g = (size_t)(u->of - r->s->group);
    if (!(u->near.token_s * (1 - r->s->def->margin) < least_of(r, g, NULL))) continue;
    fc_status status = add(r, &u->near, g, u->near_short);
    if (status != FC_OK) return status;
  }
  return run_wave(r);
}

/* --- the answer --- */

static void insert(const search *s, fc_train_candidate *list, size_t *n, const fc_train_candidate *c) {
  size_t at = *n;
  while (at > 0 && is_better(s, c, &list[at - 1])) at--;
  memmove(&list[at + 1], &list[at], (*n - at) * sizeof *list);
  list[at] = *c;
  (*n)++;
}

static void take_groups(const race *r) {
  fc_train_search_result *out = r->s->out;
  for (size_t g = 0; g < r->s->n_groups; g++) {
    const fc_train_candidate *best = NULL;
    for (size_t i = 0; i < r->n; i++) {
      const fc_train_candidate *c = &r->item[i].is;
      if (r->item[i].group == g && (!best || c->wall_s < best->wall_s)) best = c;
    }
    if (best) insert(r->s, out->best, &out->n, best);
  }
  for (size_t i = 0; i < out->n; i++) out->n_feasible_groups += out->best[i].state == FC_TRAIN_FEASIBLE;
}

static void note_graphs(const race *r) {
  fc_train_search_result *out = r->s->out;
  out->graphs = r->n;
  out->graph_low = r->n ? (double)INFINITY : 1;
  for (size_t i = 0; i < r->n; i++) {
    double ratio = r->item[i].is.estimate.step_s / r->item[i].is.closed_s;
    out->graph_low = fmin(out->graph_low, ratio);
    out->graph_high = fmax(out->graph_high, ratio);
  }
}

/* Of those within the limits; a neighbour with the same degrees tells nothing. */
static void take_runner_up(const race *r) {
  fc_train_search_result *out = r->s->out;
  const fc_train_candidate *second = NULL, *best = &out->best[0];
  for (size_t i = 0; i < r->n; i++) {
    const fc_train_candidate *c = &r->item[i].is;
    if (c->short_bytes > 0 || c->state != FC_TRAIN_FEASIBLE) continue;
    if (c->device == best->device && !is_other(&c->estimate.plan, best)) continue;
    if (!second || is_better(r->s, c, second)) second = c;
  }
  if (second) out->runner_up = *second;
}

/* Would be better than the best, of every device the best one. */
static void take_near(const race *r) {
  fc_train_search_result *out = r->s->out;
  for (size_t d = 0; d < r->s->def->n_devices; d++) {
    const fc_train_candidate *near = NULL;
    for (size_t i = 0; i < r->n; i++) {
      const fc_train_candidate *c = &r->item[i].is;
      if (!(c->short_bytes > 0) || c->device != d || c->state != FC_TRAIN_FEASIBLE) continue;
      if (out->n_feasible_groups && !is_better(r->s, c, &out->best[0])) continue;
      if (!near || is_better(r->s, c, near)) near = c;
    }
    if (near) insert(r->s, out->near, &out->n_near, near);
  }
  for (size_t i = 0; i < out->n_near; i++) out->near[i].state = FC_TRAIN_MEMORY;
}

static void mark_front(fc_train_search_result *out) {
  for (size_t i = 0; i < out->n; i++) {
    fc_train_candidate *c = &out->best[i];
    c->front = true;
    for (size_t k = 0; k < out->n && c->front; k++) {
      const fc_train_candidate *o = &out->best[k];
      bool no_worse = o->usd <= c->usd && o->wall_s <= c->wall_s;
      if (no_worse && (o->usd < c->usd || o->wall_s < c->wall_s || k < i)) c->front = false;
    }
  }
}

/* --- the race --- */

static int by_time(const void *a, const void *b) {
  const ranked *x = a, *y = b;
  if (x->group != y->group) return x->group < y->group ? -1 : 1;
  if (x->is.token_s != y->is.token_s) return x->is.token_s < y->is.token_s ? -1 : 1;
  return (x->place > y->place) - (x->place < y->place);
}

static fc_status line_up(race *r) {
  search *s = r->s;
  for (size_t i = 0; i < s->n_units; i++) r->n_ranked += s->unit[i].n;
  r->ranked = malloc((r->n_ranked + 1) * sizeof *r->ranked);
  r->begin = calloc(s->n_groups + 1, sizeof *r->begin);
  s->out->best = calloc(s->n_groups + 1, sizeof *s->out->best);
  s->out->near = calloc(s->def->n_devices + 1, sizeof *s->out->near);
  s->out->nothing = calloc(s->def->n_devices + 1, sizeof *s->out->nothing);
  if (!r->ranked || !r->begin || !s->out->best || !s->out->near || !s->out->nothing) return FC_E_NOMEM;
  size_t n = 0;
  for (size_t i = 0; i < s->n_units; i++) {
    size_t g = (size_t)(s->unit[i].of - s->group);
    for (size_t k = 0; k < s->unit[i].n; k++, n++)
      r->ranked[n] = (ranked){.is = s->unit[i].found[k], .place = n, .group = g};
    r->begin[g + 1] = n;
  }
  for (size_t g = 0; g < s->n_groups; g++)
    if (r->begin[g + 1] < r->begin[g]) r->begin[g + 1] = r->begin[g];
  qsort(r->ranked, n, sizeof *r->ranked, by_time);
  return FC_OK;
}

static fc_status decide(race *r) {
  fc_train_search_result *out = r->s->out;
  fc_status status = line_up(r);
  if (status == FC_OK) status = converge(r, NULL);
  if (status != FC_OK) return status;
  take_groups(r);
  if (out->n_feasible_groups) {
    status = converge(r, &out->best[0]);
    if (status != FC_OK) return status;
    take_runner_up(r);
  }
  status = time_near(r);
  if (status != FC_OK) return status;
  take_near(r);
  mark_front(out);
  note_graphs(r);
  return FC_OK;
}

fc_status fc_train_search_conclude(search *s) {
  race r = {.s = s};
  fc_status status = decide(&r);
  free(r.ranked);
  free(r.begin);
  free(r.item);
  return status;
}
