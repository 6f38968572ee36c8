/* SPDX-License-Identifier: Apache-2.0 */
/* In which order the ranks of each schedule run their passes. */
#include "schedule_private.h"

/* A rank being written.  A flow is a direction of DualPipe or a stage of DualPipeV; f and b count its
 * micro-batches so far. */
typedef struct {
  fc_pipeline *p;
  int32_t rank, f[2], b[2];
  int32_t head, tail; /* of the queue of deferred weight gradients */
  bool flip;          /* flow 1 comes first */
} writer;

static void put(writer *w, fc_call call) {
  fc_pipeline *p = w->p;
  if (p->call) p->call[p->n_calls] = call;
  p->n_calls++;
}

static void forward(writer *w, int32_t stage, int32_t micro) {
  put(w, (fc_call){stage, micro, -1, -1, -1, -1, false});
}

static void backward(writer *w, int32_t stage, int32_t micro, bool defer) {
  put(w, (fc_call){-1, -1, stage, micro, -1, -1, !defer});
  if (!defer || !w->p->call) {
    w->tail += defer;
    return;
  }
  w->p->deferred[w->tail++] = (fc_deferred){stage, micro};
}

static void weight(writer *w) {
  fc_call call = {-1, -1, -1, -1, 0, 0, false};
  if (w->p->call) {
    call.w_stage = w->p->deferred[w->head].stage;
    call.w_micro = w->p->deferred[w->head].micro;
  }
  w->head++;
  put(w, call);
}

/* --- one direction --- */

/* Megatron's (interleaved) 1F1B. */
static void order_interleaved(writer *w) {
  const fc_pipeline *p = w->p;
  int32_t ranks = p->ranks, chunks = p->chunks, r = w->rank;
  int32_t total = p->micro * chunks, group = ranks * chunks;
  int32_t warm = chunks > 1 ? (ranks - r - 1) * 2 + (chunks - 1) * ranks : ranks - r - 1;
  if (warm > total) warm = total;
  for (int32_t k = 0; k < total + warm; k++) {
    if (k < total) forward(w, r + ranks * (k % group / ranks), k / group * ranks + k % ranks);
    int32_t b = k - warm;
    if (b < 0) continue;
    backward(w, r + ranks * (chunks - 1 - b % group / ranks), b / group * ranks + b % ranks, false);
  }
}

/* ZB-H1: rank r may owe r weight gradients, which holds activations at those of 1F1B's first rank; what is
 * owed fills the wait for the last backwards. */
static void order_zero_bubble(writer *w) {
  int32_t m = w->p->micro, r = w->rank, warm = w->p->ranks - r;
  if (warm > m) warm = m;
  for (int32_t i = 0; i < warm; i++) forward(w, r, i);
  for (int32_t i = 0; i < m; i++) {
    backward(w, r, i, true);
    if (w->tail - w->head > r || i + warm >= m) weight(w);
    if (i + warm < m) forward(w, r, i + warm);
  }
  while (w->head < w->tail) weight(w);
}

/* --- two flows --- */

/* DualPipe's second flow enters at the other end; DualPipeV's second passes the rank on the way back. */
static int32_t flow_stage(const writer *w, int flow) {
  return flow == 0 ? w->rank : w->p->stages - 1 - w->rank;
}

/* DualPipe's halves of the micro-batches travel in opposite directions; in DualPipeV all pass a rank twice.
 */
static int32_t flow_micro(const writer *w, int flow, int32_t i) {
  return w->p->schedule == FC_SCHEDULE_DUALPIPE && flow == 1 ? w->p->micro / 2 + i : i;
}

static void dual_f(writer *w, int phase) {
  int flow = phase ^ w->flip;
  forward(w, flow_stage(w, flow), flow_micro(w, flow, w->f[flow]++));
}

static void dual_b(writer *w, int phase, bool defer) {
  int flow = phase ^ w->flip;
  backward(w, flow_stage(w, flow), flow_micro(w, flow, w->b[flow]), defer);
  w->b[flow]++;
}

static void dual_fb(writer *w, int f_phase, int b_phase) {
  int f = f_phase ^ w->flip, b = b_phase ^ w->flip;
  fc_call call = {.w_stage = -1, .w_micro = -1, .with_weight = true};
  call.f_stage = flow_stage(w, f);
  call.f_micro = flow_micro(w, f, w->f[f]++);
  call.b_stage = flow_stage(w, b);
  call.b_micro = flow_micro(w, b, w->b[b]++);
  put(w, call);
}

/* The eight steps of both schedules: `h` ranks lie between this one and the end where a flow enters, `half`
 * is how many such places there are, `rounds` how many micro-batches of a flow pass the middle. */
static void order_dual(writer *w, int32_t h, int32_t half, int32_t rounds) {
  int32_t left = half - h - 1;
  bool middle = left == 0, defer = false;
  for (int32_t i = 0; i < left * 2; i++) dual_f(w, 0);
  for (int32_t i = 0; i < h + 1; i++) dual_f(w, 0), dual_f(w, 1);
  for (int32_t i = 0; i < left; i++) dual_b(w, 1, true), weight(w), dual_f(w, 1);
  for (int32_t i = 0; i < rounds - 2 * half + h + 1; i++) {
    if (i == 0 && middle)
      dual_f(w, 0), dual_b(w, 1, false);
    else
      dual_fb(w, 0, 1);
    dual_fb(w, 1, 0);
  }
  for (int32_t i = 0; i < left; i++) dual_b(w, 1, false), dual_fb(w, 1, 0);
  for (int32_t i = 0; i < h + 1; i++) {
    if (i == (h + 1) / 2 && h % 2 == 1) defer = true;
    dual_b(w, 1, defer);
    if (i == (h + 1) / 2 && h % 2 == 0) defer = true;
    dual_b(w, 0, defer);
  }
  for (int32_t i = 0; i < left; i++) weight(w), dual_b(w, 0, true);
  for (int32_t i = 0; i < h + 1; i++) weight(w);
}

void fc_pipeline_order(fc_pipeline *p) {
  p->n_calls = 0;
  for (int32_t r = 0; r < p->ranks; r++) {
    writer w = {.p = p, .rank = r};
    if (p->first) p->first[r] = p->n_calls;
    int32_t far = p->ranks - 1 - r;
    switch (p->schedule) {
    case FC_SCHEDULE_1F1B:
    case FC_SCHEDULE_INTERLEAVED: order_interleaved(&w); break;
    case FC_SCHEDULE_ZB1P: order_zero_bubble(&w); break;
    case FC_SCHEDULE_DUALPIPE:
      w.flip = r >= p->ranks / 2;
      order_dual(&w, r < far ? r : far, p->ranks / 2, p->micro / 2);
      break;
    case FC_SCHEDULE_DUALPIPEV: order_dual(&w, r, p->ranks, p->micro); break;
    }
  }
  if (p->first) p->first[p->ranks] = p->n_calls;
}
