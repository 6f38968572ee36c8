/* SPDX-License-Identifier: Apache-2.0 */
/* Many decode iterations at once: between two decisions only the context grows, and evenly, so that the sum
 * of a piecewise linear step time has a closed form, and so has the iteration in which a request arrives. */
#include "replica_private.h"

#include <math.h>

/* Smallest m in [1, most] with m a + h m (m - 1) >= gap; most if none. */
static int64_t reach(double a, double h, double gap, int64_t most) {
  double b = a - h, root = b * b + 4 * h * gap;
  double guess = root > 0 ? 2 * gap / (b + sqrt(root)) : (double)most;
  int64_t m = !(guess < (double)most) ? most : guess < 1 ? 1 : (int64_t)ceil(guess);
  while (m > 1 && (double)(m - 1) * (a + h * (double)(m - 2)) >= gap) m--;
  while (m < most && (double)m * (a + h * (double)(m - 1)) < gap) m++;
  return m;
}

/* Iterations spent at a node, for the breakdown: m of them from weight w of the right one on. */
static void spend(fc_replica *r, const fc_line *l, int i, double at, int64_t m) {
  const fc_log_grid *g = &r->table->x;
  double width = g->at[i + 1] - g->at[i], n = (double)m;
  double right = (n * (at - g->at[i]) + l->dx * 0.5 * n * (n - 1)) / width, left = n - right;
  double *lo = &r->decode_weight[(size_t)l->rows.lo * (size_t)g->n + (size_t)i];
  lo[0] += left * (1 - l->rows.w);
  lo[1] += right * (1 - l->rows.w);
  if (!(l->rows.w > 0)) return;
  double *hi = &r->decode_weight[(size_t)l->rows.hi * (size_t)g->n + (size_t)i];
  hi[0] += left * l->rows.w;
  hi[1] += right * l->rows.w;
}

/* Time of at most *n iterations, fewer if `gap` ns are over before; the number in *n. */
static double walk(fc_replica *r, const fc_line *l, int64_t *n, double gap, bool commit) {
  const fc_step_table *t = r->table;
  double x = l->x, sum = 0;
  int64_t done = 0;
  bool paused = fc_paused(r);
  for (int i = fc_log_grid_find(&t->x, x); done < *n; i++) {
    int64_t left = *n - done, m = left;
    if (i < t->x.n - 2) { /* the last segment goes on for ever */
      double fit = ceil((t->x.at[i + 1] - x) / l->dx);
      if (fit < (double)left) m = fit < 1 ? 1 : (int64_t)fit;
    }
    double a = fc_rows_at(t->decode, t->x.n, l->rows, i, x - t->x.at[i]) + l->extra_ns;
    double slope = t->decode[(size_t)l->rows.lo * (size_t)t->x.n + (size_t)i].slope;
    if (l->rows.w > 0)
      slope += l->rows.w * (t->decode[(size_t)l->rows.hi * (size_t)t->x.n + (size_t)i].slope - slope);
    double h = 0.5 * slope * l->dx, s = (double)m * (a + h * (double)(m - 1));
    bool over = sum + s >= gap;
    if (over) {
      m = reach(a, h, gap - sum, m);
      s = (double)m * (a + h * (double)(m - 1));
    }
    if (commit) {
      spend(r, l, i, x, m);
      if (!paused) fc_digest_add_line(&r->result->itl, a, 2 * h, m, (uint64_t)r->decoding);
    }
    sum += s;
    done += m;
    x += (double)m * l->dx;
    if (over) break;
  }
  *n = done;
  return sum;
}

/* Iterations until `ticks` more have passed. */
static int64_t steps_for(const fc_replica *r, int64_t ticks) {
  if (r->unit) return ticks;
  int64_t n = (int64_t)ceil((double)ticks / r->yield);
  while (n > 1 && fc_tick_at(r, r->k + n - 1) >= r->tick + ticks) n--;
  while (fc_tick_at(r, r->k + n) < r->tick + ticks) n++;
  return n < 1 ? 1 : n;
}

/* Iterations that memory lasts for, at most n; one has room for sure. */
static int64_t steps_in_memory(const fc_replica *r, int64_t n) {
  int64_t ticks = fc_tick_at(r, r->k + n) - r->tick, available = fc_kv_available(r);
  if (r->decoding * (ticks / r->def.block_tokens + 1) <= available) return n;
  int64_t last = r->tick + fc_kv_ticks(r, available, ticks);
  if (r->unit) n = last - r->tick;
  while (n > 1 && fc_tick_at(r, r->k + n) > last) n--;
  return n < 1 ? 1 : n;
}

static bool nobody_can_come(const fc_replica *r) {
  const fc_serve_policy *p = &r->def.policy;
  return r->blocked || r->running >= r->max_running ||
         (p->mixed && p->token_budget * (int64_t)r->groups <= r->decoding * (int64_t)r->queries);
}

/* Time until someone may come in; infinite if no one could. */
static double gap_ns(fc_replica *r) {
  if (nobody_can_come(r)) return r->gated ? fc_gate_gap_ns(r) : (double)INFINITY;
  if (r->requeue != NONE) return 0;
  fc_time visible;
  bool any = fc_feed_peek(r, &visible);
  if (!r->source && fc_is_noisy(r) && (!any || visible > r->until)) {
    any = r->until < FC_TIME_MAX; /* draws made cannot be cut by an offer */
    visible = r->until;
  }
  if (!any) return (double)INFINITY;
  return (double)(visible - r->now.ns) - r->now.rest - FC_INSTANT_SLACK;
}

double fc_experts_ns(const fc_replica *r, fc_between rows, double x) {
  const fc_step_table *t = r->table;
  size_t i = (size_t)fc_log_grid_find(&t->x, x), n = (size_t)t->x.n;
  double lo = t->node[(size_t)rows.lo * n + i].experts, hi = t->node[(size_t)rows.hi * n + i].experts;
  return 1e9 * (lo + rows.w * (hi - lo));
}

/* Draws for n iterations, made even over them; n so few that luck cannot bring an arrival forward past their
 * end: close to it, one by one. */
static double draw_imbalance(fc_replica *r, fc_line *l, int64_t *n, double gap) {
  double experts = fc_experts_ns(r, l->rows, l->x), mean = walk(r, l, n, gap, false) / (double)*n;
  double cv = fc_imbalance_cv(r, (double)r->decoding * r->queries / r->groups);
  if (isfinite(gap) && *n > 1) {
    double margin = 4 * cv * experts * sqrt((double)*n) / mean;
    *n = margin + 1 < (double)*n ? *n - (int64_t)margin - 1 : 1;
  }
  double noise = fmax(-0.9 * mean * (double)*n, fc_imbalance_ns(r, cv, experts, *n));
  l->extra_ns += noise / (double)*n;
  return noise;
}

/* The rest of a leap that is certain now; its iterations are accounted for. */
static void settle(fc_replica *r) {
  fc_under_way *s = &r->step;
  double before = (double)(r->def.kv_blocks - fc_kv_available(r)), b = (double)r->decoding;
  r->host_ns += fc_host_ns(r, b, b * r->yield) * (double)s->n;
  fc_kv_take(r, fc_kv_need(r, fc_tick_at(r, r->k + s->n) - r->tick));
  r->kv_integral += 0.5 * (before + (double)(r->def.kv_blocks - fc_kv_available(r))) * s->ns;
  s->open = false;
}

void fc_leap(fc_replica *r) {
  fc_end first;
  if (!fc_next_end(r, &first)) return;
  bool paused = fc_paused(r);
  int64_t n = paused ? 1 : steps_in_memory(r, steps_for(r, first.tick - r->tick));
  if (r->gated) {
    int64_t most = fc_gate_steps(r);
    if (n > most) n = most;
  }
  double g = r->groups, b = (double)r->decoding, gap = gap_ns(r);
  double theta = r->unit ? (double)r->tick : (double)r->k * r->yield;
  r->line = (fc_line){.rows = r->table->padded[(int64_t)ceil(b / g)],
                      .x = ((double)r->kappa_sum + b * (theta + 1)) / g,
                      .dx = b * r->yield / g,
                      .extra_ns = fc_host_ns(r, b, b * r->yield)};
  r->step = (fc_under_way){.kind = STEP_DECODE, .n = n, .paused = paused, .open = true};
  if (fc_is_noisy(r)) {
    r->experts_ns += draw_imbalance(r, &r->line, &r->step.n, gap);
    gap = (double)INFINITY;
  }
  r->step.ns = walk(r, &r->line, &r->step.n, gap, r->source != NULL);
  if (!r->source) return; /* an offer may cut it */
  settle(r);
}

void fc_leap_commit(fc_replica *r) {
  if (!r->step.open) return;
  r->step.ns = walk(r, &r->line, &r->step.n, (double)INFINITY, true);
  settle(r);
}

void fc_leap_cut(fc_replica *r) {
  if (!r->step.open || r->step.n <= 1 || fc_is_noisy(r)) return;
  double gap = gap_ns(r);
  if (!(gap < r->step.ns)) return;
  r->step.ns = walk(r, &r->line, &r->step.n, gap, false);
  r->step.end = fc_instant_add(r->now, r->step.ns);
}
