/* SPDX-License-Identifier: Apache-2.0 */
/* The bubble formulas against an event-driven replay of each schedule's order of operations. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/cost/train_step.h>

enum { RANKS_MAX = 16, CALLS_MAX = 1024, CHUNKS_MAX = 4, MICRO_MAX = 128 };

/* One call of a rank: a forward and/or a backward, each of (flow, micro-batch); a flow is a direction of
 * DualPipe or a model chunk of the interleaved schedule. */
typedef struct {
  double seconds;
  int f_flow, f, b_flow, b; /* f, b: -1: none */
} call;

typedef struct {
  int ranks, n[RANKS_MAX];
  bool bidirectional;
  int chunks;
  call call[RANKS_MAX][CALLS_MAX];
  double f_done[RANKS_MAX][CHUNKS_MAX][MICRO_MAX], b_done[RANKS_MAX][CHUNKS_MAX][MICRO_MAX];
  double idle[RANKS_MAX];
} replay;

static void push(replay *p, int rank, double seconds, int f_flow, int f, int b_flow, int b) {
  p->call[rank][p->n[rank]++] = (call){seconds, f_flow, f, b_flow, b};
}

/* Where a forward of `flow` on `rank` comes from; false: it is the first.  Backwards mirror it. */
static bool upstream(const replay *p, bool backward, int rank, int flow, int *from, int *from_flow) {
  bool down = p->bidirectional ? (flow == 0) != backward : !backward;
  int next = down ? rank - 1 : rank + 1;
  *from_flow = flow;
  *from = next;
  if (next >= 0 && next < p->ranks) return true;
  if (p->bidirectional) return false;
  *from = down ? p->ranks - 1 : 0; /* from the neighbouring chunk at the other end */
  *from_flow = down ? flow - 1 : flow + 1;
  return *from_flow >= 0 && *from_flow < p->chunks;
}

static bool ready(const replay *p, const call *c, int rank, double *at) {
  int from, flow;
  if (c->f >= 0 && upstream(p, false, rank, c->f_flow, &from, &flow)) {
    double done = p->f_done[from][flow][c->f];
    if (isnan(done)) return false;
    *at = fmax(*at, done);
  }
  if (c->b >= 0) {
    double done = upstream(p, true, rank, c->b_flow, &from, &flow) ? p->b_done[from][flow][c->b]
                                                                   : p->f_done[rank][c->b_flow][c->b];
    if (isnan(done)) return false;
    *at = fmax(*at, done);
  }
  return true;
}

/* Runs all calls in order; makespan. */
static double play(replay *p) {
  for (int r = 0; r < RANKS_MAX; r++)
    for (int k = 0; k < CHUNKS_MAX; k++)
      for (int i = 0; i < MICRO_MAX; i++) p->f_done[r][k][i] = p->b_done[r][k][i] = (double)NAN;
  int next[RANKS_MAX] = {0};
  double now[RANKS_MAX] = {0}, busy[RANKS_MAX] = {0}, end = 0;
  for (bool moved = true; moved;) {
    moved = false;
    for (int r = 0; r < p->ranks; r++)
      while (next[r] < p->n[r]) {
        const call *c = &p->call[r][next[r]];
        double at = now[r];
        if (!ready(p, c, r, &at)) break;
        now[r] = at + c->seconds;
        busy[r] += c->seconds;
        if (c->f >= 0) p->f_done[r][c->f_flow][c->f] = now[r];
        if (c->b >= 0) p->b_done[r][c->b_flow][c->b] = now[r];
        next[r]++;
        moved = true;
      }
  }
  for (int r = 0; r < p->ranks; r++) {
    cr_assert_eq(next[r], p->n[r], "rank %d is stuck at call %d", r, next[r]);
    end = fmax(end, now[r]);
  }
  for (int r = 0; r < p->ranks; r++) p->idle[r] = end - busy[r];
  return end;
}

/* Megatron's interleaved 1F1B; one chunk: plain 1F1B. @source arXiv:2104.04473, Megatron-LM schedules.py */
static void fill_interleaved(replay *p, int ranks, int chunks, int micro, const fc_pipeline_pass *t) {
  p->ranks = ranks;
  p->chunks = chunks;
  int total = micro * chunks, group = ranks * chunks;
  for (int r = 0; r < ranks; r++) {
    int warm = chunks > 1 ? (ranks - r - 1) * 2 + (chunks - 1) * ranks : ranks - r - 1;
    if (warm > total) warm = total;
    for (int k = 0; k < total + warm; k++) {
      if (k < total)
        push(p, r, t->forward_s / chunks, k % group / ranks, k / group * ranks + k % ranks, 0, -1);
      int b = k - warm;
      if (b >= 0)
        push(p, r, t->backward_s / chunks, 0, -1, chunks - 1 - b % group / ranks,
             b / group * ranks + b % ranks);
    }
  }
}

typedef struct {
  replay *p;
  int rank, f[2], b[2];
  bool second;
  const fc_pipeline_pass *t;
} dual;

static void dual_f(dual *d, int phase) {
  int flow = phase ^ d->second;
  push(d->p, d->rank, d->t->forward_s, flow, d->f[flow]++, 0, -1);
}

static void dual_b(dual *d, int phase, bool zero_bubble) {
  int flow = phase ^ d->second;
  push(d->p, d->rank, d->t->backward_s - (zero_bubble ? d->t->weight_s : 0), 0, -1, flow, d->b[flow]++);
}

static void dual_fb(dual *d, int f_phase, int b_phase) {
  int f = f_phase ^ d->second, b = b_phase ^ d->second;
  push(d->p, d->rank, d->t->overlapped_s, f, d->f[f]++, b, d->b[b]++);
}

static void dual_w(dual *d) {
  push(d->p, d->rank, d->t->weight_s, 0, -1, 0, -1);
}

/* @source deepseek-ai/DualPipe, dualpipe.py, DualPipe.step: its eight steps, in its order */
static void fill_dualpipe(replay *p, int ranks, int micro, const fc_pipeline_pass *t) {
  p->ranks = ranks;
  p->bidirectional = true;
  p->chunks = 2;
  for (int r = 0; r < ranks; r++) {
    int half = ranks / 2, h = r < ranks - 1 - r ? r : ranks - 1 - r;
    dual d = {.p = p, .rank = r, .second = r >= half, .t = t};
    bool middle = h == half - 1, zero_bubble = false;
    for (int i = 0; i < (half - h - 1) * 2; i++) dual_f(&d, 0);
    for (int i = 0; i < h + 1; i++) dual_f(&d, 0), dual_f(&d, 1);
    for (int i = 0; i < half - h - 1; i++) dual_b(&d, 1, true), dual_w(&d), dual_f(&d, 1);
    for (int i = 0; i < micro / 2 - ranks + h + 1; i++) {
      if (i == 0 && middle)
        dual_f(&d, 0), dual_b(&d, 1, false);
      else
        dual_fb(&d, 0, 1);
      dual_fb(&d, 1, 0);
    }
    for (int i = 0; i < half - h - 1; i++) dual_b(&d, 1, false), dual_fb(&d, 1, 0);
    for (int i = 0; i < h + 1; i++) {
      if (i == (h + 1) / 2 && h % 2 == 1) zero_bubble = true;
      dual_b(&d, 1, zero_bubble);
      if (i == (h + 1) / 2 && h % 2 == 0) zero_bubble = true;
      dual_b(&d, 0, zero_bubble);
    }
    for (int i = 0; i < half - h - 1; i++) dual_w(&d), dual_b(&d, 0, true);
    for (int i = 0; i < h + 1; i++) dual_w(&d);
  }
}

static void near(double got, double want, const char *what) {
  cr_assert(fabs(got - want) <= 1e-9 * fmax(1, fabs(want)), "%s: %.12g, expected %.12g", what, got, want);
}

static replay *fresh(void) {
  replay *p = calloc(1, sizeof *p);
  cr_assert_not_null(p);
  return p;
}

Test(pipeline, one_f_one_b_replay_equals_formula) {
  static const int ranks[] = {2, 4, 8, 16};
  fc_pipeline_pass t = {.forward_s = 1.3, .backward_s = 2.9, .weight_s = 1.1};
  for (size_t i = 0; i < 4; i++) {
    replay *p = fresh();
    fill_interleaved(p, ranks[i], 1, 2 * ranks[i], &t);
    double bubble = fc_pipeline_bubble_s(FC_SCHEDULE_1F1B, ranks[i], 1, &t);
    near(play(p), 2 * ranks[i] * 4.2 + bubble, "makespan");
    near(p->idle[0], bubble, "idle of rank 0");
    free(p);
  }
}

Test(pipeline, interleaved_replay_equals_formula) {
  static const int chunks[] = {2, 4};
  fc_pipeline_pass t = {.forward_s = 1, .backward_s = 2, .weight_s = 1};
  for (size_t i = 0; i < 2; i++)
    for (int ranks = 2; ranks <= 8; ranks *= 2) {
      replay *p = fresh();
      fill_interleaved(p, ranks, chunks[i], 3 * ranks, &t);
      near(play(p), 3 * ranks * 3.0 + fc_pipeline_bubble_s(FC_SCHEDULE_INTERLEAVED, ranks, chunks[i], &t),
           "makespan");
      free(p);
    }
}

Test(pipeline, dualpipe_replay_equals_formula) {
  static const struct {
    int ranks, micro;
    double overlapped;
  } cases[] = {{4, 8, 3},    {8, 16, 3},  {8, 20, 3},   {16, 32, 3},
               {16, 120, 3}, {4, 8, 2.6}, {8, 20, 2.6}, {16, 120, 2.6}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fc_pipeline_pass t = {
        .forward_s = 1, .backward_s = 2, .weight_s = 1, .overlapped_s = cases[i].overlapped};
    replay *p = fresh();
    int n = cases[i].ranks, m = cases[i].micro;
    fill_dualpipe(p, n, m, &t);
    double bubble = fc_pipeline_bubble_s(FC_SCHEDULE_DUALPIPE, n, 1, &t);
    double makespan = play(p);
    near(p->idle[n / 2], bubble, "idle of a middle rank");
    near(makespan, (m - n - 1) * t.overlapped_s + (n + 1) * 3.0 + bubble, "makespan");
    free(p);
  }
}

Test(pipeline, formulas_of_the_readme) {
  fc_pipeline_pass t = {.forward_s = 1, .backward_s = 2, .weight_s = 0.9, .overlapped_s = 2.5};
  near(fc_pipeline_bubble_s(FC_SCHEDULE_1F1B, 8, 1, &t), 7 * 3.0, "1F1B");
  near(fc_pipeline_bubble_s(FC_SCHEDULE_ZB1P, 8, 1, &t), 7 * (3 - 1.8), "ZB1P");
  near(fc_pipeline_bubble_s(FC_SCHEDULE_DUALPIPE, 8, 1, &t), 3 * (2.5 + 2 - 2.7), "DualPipe");
  near(fc_pipeline_bubble_s(FC_SCHEDULE_1F1B, 1, 1, &t), 0, "one stage");
}
