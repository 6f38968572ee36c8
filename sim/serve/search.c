/* SPDX-License-Identifier: Apache-2.0 */
#include "search_private.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fleetcast/serve/replica.h>

fc_search_def fc_search_default_def(void) {
  static const int64_t batches[] = {8, 16, 32, 64, 128, 256, 512, 1024};
  static const int64_t budgets[] = {2048, 8192};
  fc_search_def d = {.block_tokens = fc_replica_default_def().block_tokens,
                     .n_batches = sizeof batches / sizeof *batches,
                     .n_budgets = sizeof budgets / sizeof *budgets,
                     .max_batch = batches,
                     .token_budget = budgets,
                     .load = fc_load_default_def(),
                     .margin = 0.1,
                     .keep = 96,
                     .front = 12,
                     .requests = 2000,
                     .seed = 1};
  (void)fc_serve_policy_named(&d.policy, "vllm");
  return d;
}

const char *fc_search_state_text(fc_search_state state) {
  static const char *const text[FC_SEARCH_STATES] = {
      [FC_SEARCH_MET] = "meets the objective",
      [FC_SEARCH_MISSED] = "misses the objective at any rate",
      [FC_SEARCH_DEARER] = "cannot be as cheap as the best",
      [FC_SEARCH_UNTRIED] = "not simulated",
      [FC_SEARCH_MEMORY] = "no room for a request beside the weights",
      [FC_SEARCH_TTFT] = "a prompt alone takes longer than the TTFT objective",
      [FC_SEARCH_TPOT] = "the smallest batch takes longer than the TPOT objective",
      [FC_SEARCH_DEVICES] = "more devices than there are",
      [FC_SEARCH_PROFILE] = "the profile lacks a kernel",
  };
  return text[state];
}

const char *fc_search_binds_text(fc_search_binds binds) {
  static const char *const text[] = {"nothing", "TTFT", "TPOT", "KV cache", "batch limit"};
  return text[binds];
}

/* --- the definition --- */

static const char *fault_of(const fc_search_def *d) {
  if (!d->n_devices && !d->n_instances) return "no device to choose from";
  if (d->n_devices && !d->model) return "no model";
  if (!d->n_batches || !d->n_budgets) return "no batch limit or token budget";
  if (!(d->slo.ttft_s > 0) || !(d->slo.tpot_s > 0)) return "objectives must be positive";
  if (d->slo.percentile != 0 && !(d->slo.percentile >= 0.5 && d->slo.percentile < 1))
    return "percentile must be 0 (mean) or in [50 %, 100 %)";
  if (!(d->margin >= 0 && d->margin <= 1)) return "margin must be in [0, 1]";
  if (!(d->rate_per_s >= 0) || !isfinite(d->rate_per_s)) return "rate must not be negative";
  if (d->block_tokens < 1 || d->requests < 100 || d->keep < 1)
    return "block, requests and keep are too small";
  if (d->load.concurrency || d->load.demand || d->load.arrive == FC_ARRIVE_AT_ONCE)
    return "the load must be an open loop at one rate";
  for (size_t i = 0; i < d->n_devices; i++)
    if (!(d->devices[i].usd_per_s > 0)) return "every device needs a price";
  for (size_t i = 0; i < d->n_instances; i++)
    if (!(d->instances[i].usd_per_s > 0)) return "every instance needs a price";
  for (size_t i = 0; i < d->n_batches; i++)
    if (d->max_batch[i] < 1 || (i > 0 && d->max_batch[i] <= d->max_batch[i - 1]))
      return "batch limits must be positive and ascend";
  for (size_t i = 0; i < d->n_budgets; i++)
    if (d->token_budget[i] < 1) return "token budgets must be positive";
  fc_serve_policy p = d->policy;
  p.max_batch = p.token_budget = 1;
  return fc_serve_policy_fault(&p);
}

/* From the load's own draws, which are the same at every rate. */
static fc_status measure(fc_search *s, char *why) {
  enum { DRAWS = 4096 };
  fc_load *load;
  fc_status status = fc_search_load(&load, s->def, 1, DRAWS, why);
  if (status != FC_OK) return status;
  fc_request_source source = fc_load_source(load);
  double input = 0, output = 0, held = 0;
  fc_time at;
  fc_request q;
  int n = 0;
  for (; n < DRAWS && source.peek(source.context, &at); n++) {
    source.take(source.context, &q);
    source.done(source.context, q.number, at);
    double in = q.input_tokens, out = q.output_tokens;
    input += in;
    output += out;
    held += out * (in + 0.5 * out);
    s->lengths.longest = fmax(s->lengths.longest, in + out);
  }
  status = fc_load_status(load);
  fc_load_free(load);
  if (status == FC_OK && n > 0 && output >= 2 * n) {
    s->lengths.input = s->out->input_mean = input / n;
    s->lengths.output = s->out->output_mean = output / n;
    s->lengths.context = held / output;
    return FC_OK;
  }
  if (why && status == FC_OK) (void)snprintf(why, 256, "the load has fewer than 2 output tokens a request");
  return status == FC_OK ? FC_E_DOMAIN : status;
}

/* --- hands --- */

/* Units are independent and each has a place of its own, so that the number of hands changes nothing. */
typedef struct {
  fc_search *s;
  const size_t *unit; /* [n] candidates */
  size_t n;
  bool simulate; /* else bound */
  atomic_size_t next;
  atomic_int status;
} pool;

static void *worker(void *context) {
  pool *p = context;
  for (;;) {
    size_t turn = atomic_fetch_add(&p->next, 1);
    if (turn >= p->n || atomic_load(&p->status) != FC_OK) return NULL;
    if (!p->simulate) {
      fc_search_screen(p->s, p->unit[turn]);
      continue;
    }
    fc_status status = fc_search_trial(p->s, p->unit[turn]);
    if (status != FC_OK) atomic_store(&p->status, (int)status);
  }
}

static fc_status run_all(fc_search *s, const size_t *unit, size_t n, bool simulate) {
  enum { MOST = 64 };
  pthread_t thread[MOST];
  pool p = {.s = s, .unit = unit, .n = n, .simulate = simulate};
  size_t hands = s->def->threads, started = 0;
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  if (!hands) hands = online > 0 ? (size_t)online : 1;
  if (hands > n) hands = n;
  if (hands > MOST) hands = MOST;
  for (; started + 1 < hands; started++)
    if (pthread_create(&thread[started], NULL, worker, &p)) break; /* fewer hands, same work */
  (void)worker(&p);
  for (size_t i = 0; i < started; i++) (void)pthread_join(thread[i], NULL);
  return (fc_status)atomic_load(&p.status);
}

/* --- which are simulated --- */

typedef struct {
  double usd;
  size_t i;
} ranked;

static int by_usd(const void *a, const void *b) {
  const ranked *x = a, *y = b;
  if (x->usd != y->usd) return x->usd < y->usd ? -1 : 1;
  return (x->i > y->i) - (x->i < y->i);
}

typedef struct {
  fc_search *s;
  size_t n;      /* that may be simulated */
  ranked *order; /* [n] by bound */
  bool *done;    /* [n] */
  size_t *wave;
  size_t in_wave;
} queue;

/* Of equal size whatever the number of threads: what a wave finds prunes the next. */
enum { WAVE = 16 };

static void take(queue *q, size_t at) {
  if (q->done[at]) return;
  q->done[at] = true;
  q->wave[q->in_wave++] = q->order[at].i;
}

static fc_status run_wave(queue *q) {
  fc_status status = run_all(q->s, q->wave, q->in_wave, true);
  q->s->out->n_simulated += q->in_wave;
  q->in_wave = 0;
  if (q->s->def->progress && status == FC_OK)
    q->s->def->progress(q->s->def->context, q->s->out->n_simulated, q->s->def->keep);
  return status;
}

/* Of a device; of those apart, or of the others. */
static bool same_device(const fc_search_candidate *a, const fc_search_candidate *b) {
  return strcmp(a->device, b->device) == 0;
}

static bool same_way(const fc_search_candidate *a, const fc_search_candidate *b) {
  return !a->prefills == !b->prefills;
}

typedef bool (*likeness)(const fc_search_candidate *a, const fc_search_candidate *b);

/* Of all that are like `a`; like NULL: of all. */
static double best_usd(const fc_search *s, likeness like, const fc_search_candidate *a) {
  double best = (double)INFINITY;
  for (size_t i = 0; i < s->out->n; i++) {
    const fc_search_candidate *c = &s->out->candidate[i];
    if (c->state == FC_SEARCH_MET && (!like || like(a, c))) best = fmin(best, c->usd_per_mtok);
  }
  return best;
}

static bool hopeless(const queue *q, size_t at, double best) {
  return q->order[at].usd * (1 - q->s->def->margin) > best;
}

static const fc_search_candidate *ranked_at(const queue *q, size_t at) {
  return &q->s->out->candidate[q->order[at].i];
}

/* The least bound of every device: each is told why it lost. */
static void take_devices(queue *q, size_t room) {
  for (size_t at = 0; at < q->n && q->in_wave < room && q->in_wave < WAVE; at++) {
    bool first = true;
    for (size_t k = 0; k < at && first; k++) first = !same_device(ranked_at(q, k), ranked_at(q, at));
    if (first) take(q, at);
  }
}

static fc_status simulate_cheapest(queue *q, size_t keep) {
  fc_status status = FC_OK;
  take_devices(q, keep);
  while (status == FC_OK) {
    double best = best_usd(q->s, NULL, NULL);
    size_t room = keep > q->s->out->n_simulated ? keep - q->s->out->n_simulated : 0;
    for (size_t at = 0; at < q->n && q->in_wave < WAVE && q->in_wave < room; at++)
      if (!hopeless(q, at, best)) take(q, at);
    if (q->in_wave == 0) break;
    status = run_wave(q);
  }
  return status;
}

/* What is told of the best of every device, and of every way, is true of it only if that is known to be its
 * best. */
static fc_status simulate_kinds(queue *q, size_t keep, likeness like) {
  fc_status status = FC_OK;
  while (status == FC_OK) {
    size_t room = keep > q->s->out->n_simulated ? keep - q->s->out->n_simulated : 0;
    for (size_t at = 0; at < q->n && q->in_wave < WAVE && q->in_wave < room; at++)
      if (!q->done[at] && !hopeless(q, at, best_usd(q->s, like, ranked_at(q, at)))) take(q, at);
    if (q->in_wave == 0) break;
    status = run_wave(q);
  }
  return status;
}

/* By the closed form, nothing is both cheaper and faster a token. */
static fc_status simulate_front(queue *q) {
  double fastest = (double)INFINITY;
  size_t room = q->s->def->keep > q->s->out->n_simulated ? q->s->def->keep - q->s->out->n_simulated : 0;
  if (room > WAVE) room = WAVE;
  for (size_t at = 0; at < q->n && q->in_wave < room; at++) {
    double tpot = q->s->out->candidate[q->order[at].i].screen_tpot_s;
    if (!(tpot < fastest)) continue;
    fastest = tpot;
    take(q, at);
  }
  return q->in_wave ? run_wave(q) : FC_OK;
}

static fc_status simulate(fc_search *s) {
  queue q = {.s = s};
  size_t most = s->out->n + 1;
  q.order = malloc(most * sizeof *q.order);
  q.done = calloc(most, sizeof *q.done);
  q.wave = malloc((most + WAVE) * sizeof *q.wave);
  fc_status status = q.order && q.done && q.wave ? FC_OK : FC_E_NOMEM;
  for (size_t i = 0; i < s->out->n && status == FC_OK; i++)
    if (s->out->candidate[i].state == FC_SEARCH_UNTRIED)
      q.order[q.n++] = (ranked){s->out->candidate[i].bound_usd_per_mtok, i};
  if (status == FC_OK && q.n) {
    qsort(q.order, q.n, sizeof *q.order, by_usd);
    size_t front = s->def->front < s->def->keep ? s->def->front : s->def->keep - 1;
    status = simulate_cheapest(&q, s->def->keep - front);
    if (status == FC_OK) status = simulate_kinds(&q, s->def->keep - front, same_way);
    if (status == FC_OK) status = simulate_kinds(&q, s->def->keep - front, same_device);
    if (status == FC_OK) status = simulate_front(&q);
  }
  double best = best_usd(s, NULL, NULL);
  s->out->proven = true;
  for (size_t at = 0; at < q.n && status == FC_OK; at++) {
    if (q.done[at]) continue;
    if (hopeless(&q, at, best))
      s->out->candidate[q.order[at].i].state = FC_SEARCH_DEARER;
    else
      s->out->proven = false;
  }
  free(q.order);
  free(q.done);
  free(q.wave);
  return status;
}

/* --- the order of the answer --- */

static double overshoot(const fc_search_candidate *c) {
  return c->state == FC_SEARCH_MISSED ? fmax(c->at.ttft_s, c->at.tpot_s) : c->bound_usd_per_mtok;
}

static int by_answer(const void *a, const void *b) {
  const fc_search_candidate *x = a, *y = b;
  if (x->state != y->state) return x->state < y->state ? -1 : 1;
  bool met = x->state == FC_SEARCH_MET;
  double u = met ? x->usd_per_mtok : overshoot(x), v = met ? y->usd_per_mtok : overshoot(y);
  if (u != v && !isnan(u) && !isnan(v)) return u < v ? -1 : 1;
  if (met && x->usd_full != y->usd_full) return x->usd_full < y->usd_full ? -1 : 1;
  if (x->option != y->option) return x->option < y->option ? -1 : 1;
  if (x->max_batch != y->max_batch) return x->max_batch < y->max_batch ? -1 : 1;
  return (x->token_budget > y->token_budget) - (x->token_budget < y->token_budget);
}

static void conclude(fc_search *s) {
  fc_search_result *out = s->out;
  qsort(out->candidate, out->n, sizeof *out->candidate, by_answer);
  double fastest = (double)INFINITY;
  out->excess = -1;
  out->runner_up = out->other_way = out->n;
  for (size_t i = 0; i < out->n; i++) {
    fc_search_candidate *c = &out->candidate[i];
    out->count[c->state]++;
    if (c->at.rate_per_s > 0 && c->rate_high > 0)
      out->excess = fmax(out->excess, c->at.rate_per_s / c->bound_rate - 1);
    if (c->state != FC_SEARCH_MET) continue;
    out->n_met++;
    c->front = c->at.tpot_s < fastest;
    fastest = fmin(fastest, c->at.tpot_s);
    const fc_search_candidate *best = &out->candidate[0];
    if (out->runner_up == out->n && c->option != best->option) out->runner_up = i;
    if (out->other_way == out->n && !c->prefills != !best->prefills) out->other_way = i;
  }
}

static fc_status search(fc_search *s, char *why) {
  fc_status status = measure(s, why);
  if (status == FC_OK) status = fc_search_enumerate(s);
  if (status != FC_OK) return status;
  s->cap = calloc(s->out->n + 1, sizeof *s->cap);
  size_t *all = malloc((s->out->n + 1) * sizeof *all);
  status = s->cap && all ? FC_OK : FC_E_NOMEM;
  for (size_t i = 0; i < s->out->n && all; i++) all[i] = i;
  if (status == FC_OK) status = run_all(s, all, s->out->n, false);
  free(all);
  if (status == FC_OK) status = simulate(s);
  if (status != FC_OK) return status;
  if (s->out->n) conclude(s);
  fc_search_explain(s);
  return FC_OK;
}

fc_status fc_search_run(fc_search_result *out, const fc_search_def *def, char *why) {
  *out = (fc_search_result){0};
  if (why) *why = '\0';
  const char *fault = fault_of(def);
  if (fault) {
    if (why) (void)snprintf(why, 256, "%s", fault);
    return FC_E_DOMAIN;
  }
  fc_search s = {.def = def, .out = out};
  fc_status status = search(&s, why);
  free(s.option);
  free(s.pair);
  free(s.cap);
  if (status != FC_OK) fc_search_result_fini(out);
  return status;
}

void fc_search_result_fini(fc_search_result *result) {
  free(result->candidate);
  *result = (fc_search_result){0};
}
