/* SPDX-License-Identifier: Apache-2.0 */
/* Prefill and decode on replicas of their own, the cache between them over a link that transfers share. */
#include "replica_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* A request between its first token and its place in a decode replica. */
typedef struct {
  fc_request request;
  fc_time first_token, admitted;
  fc_time prefilled; /* when its transfer was asked for */
  uint32_t cached_tokens, preemptions;
  fc_time front;
  double left_bytes;
  uint32_t next; /* in the link's queue, or free */
} passage;

typedef struct {
  const fc_disagg_def *def;
  const fc_request_source *source;
  fc_replica **prefill, **decode;
  size_t n_prefill, n_decode;
  passage *passage; /* by the number that replicas know a request by */
  uint32_t n_passages, free_passage;
  uint32_t first, last; /* on the link, in order of arrival */
  uint32_t on_link;
  fc_time link_at;         /* state of the transfers is as of then */
  double busy_ns, wait_ns; /* of the link; sum of transfer times */
  uint64_t transferred;    /* tokens */
  uint64_t transfers;
  fc_disagg_result *out;
  fc_status status;
} pair;

/* --- passages --- */

static uint32_t passage_new(pair *p) {
  if (p->free_passage == NONE) {
    uint32_t n = p->n_passages ? 2 * p->n_passages : 64;
    passage *grown = n < NONE / 2 ? realloc(p->passage, n * sizeof *grown) : NULL;
    if (!grown) {
      p->status = FC_E_NOMEM;
      return NONE;
    }
    p->passage = grown;
    for (uint32_t i = n; i-- > p->n_passages;) {
      grown[i] = (passage){.next = p->free_passage};
      p->free_passage = i;
    }
    p->n_passages = n;
  }
  uint32_t i = p->free_passage;
  p->free_passage = p->passage[i].next;
  return i;
}

static void passage_free(pair *p, uint32_t i) {
  p->passage[i] = (passage){.next = p->free_passage};
  p->free_passage = i;
}

/* The request is over for its client. */
static void over(pair *p, uint32_t i, fc_replica_record *record) {
  passage *a = &p->passage[i];
  record->number = a->request.number;
  record->arrival = a->request.arrival;
  record->output_tokens = a->request.output_tokens;
  if (record->refused == FC_REFUSED_NOT) {
    fc_digest *ttft = &p->out->decode.ttft, *tpot = &p->out->decode.tpot, *e2e = &p->out->decode.e2e;
    double first = (double)(record->first_token - record->arrival),
           all = (double)(record->finish - record->arrival);
    fc_digest_add(ttft, first, 1);
    fc_digest_add(e2e, all, 1);
    if (record->output_tokens > 1)
      fc_digest_add(tpot, (all - first) / (double)(record->output_tokens - 1), 1);
  }
  const fc_replica_def *d = &p->def->decode;
  uint64_t number = record->number;
  fc_time at = record->finish;
  if (d->record) d->record(d->context, record);
  passage_free(p, i);
  if (p->source->done) p->source->done(p->source->context, number, at);
}

/* --- the link --- */

/* Transfers that share it: all move on to `now`. */
static void link_advance(pair *p, fc_time now) {
  double ns = (double)(now - p->link_at);
  if (p->on_link > 0) p->busy_ns += ns;
  if (p->def->link_shared && p->on_link > 0) {
    double bytes = 1e-9 * ns * p->def->link_bytes_per_s / (double)p->on_link;
    for (uint32_t i = p->first; i != NONE; i = p->passage[i].next) p->passage[i].left_bytes -= bytes;
  } else if (p->first != NONE) {
    p->passage[p->first].left_bytes -= 1e-9 * ns * p->def->link_bytes_per_s;
  }
  p->link_at = now;
}

/* When the next transfer ends. */
static fc_time link_next(const pair *p) {
  if (p->first == NONE) return FC_TIME_MAX;
  double least = p->passage[p->first].left_bytes, share = 1;
  if (p->def->link_shared) {
    share = (double)p->on_link;
    for (uint32_t i = p->first; i != NONE; i = p->passage[i].next)
      least = fmin(least, p->passage[i].left_bytes);
  }
  fc_time more = fc_time_from_s(fmax(0, least) * share / p->def->link_bytes_per_s);
  return more > FC_TIME_MAX - p->link_at ? FC_TIME_MAX : p->link_at + more;
}

static void link_enter(pair *p, uint32_t i, fc_time now) {
  passage *a = &p->passage[i];
  link_advance(p, now);
  double tokens = (double)a->request.input_tokens;
  a->left_bytes = tokens * p->def->kv_bytes_per_token;
  a->prefilled = now;
  a->next = NONE;
  if (p->last != NONE)
    p->passage[p->last].next = i;
  else
    p->first = i;
  p->last = i;
  p->on_link++;
  p->transfers++;
  p->transferred += a->request.input_tokens;
}

static fc_replica *least_loaded(fc_replica **of, size_t n, bool by_tokens) {
  fc_replica *best = of[0];
  int64_t least = INT64_MAX;
  for (size_t i = 0; i < n; i++) {
    fc_replica_state s = fc_replica_now(of[i]);
    int64_t load = by_tokens ? s.waiting_tokens : s.waiting + s.running;
    if (load < least) {
      least = load;
      best = of[i];
    }
  }
  return best;
}

/* Transfers that have ended by `now` go on to a decode replica. */
static void link_leave(pair *p, fc_time now) {
  const double done = 1e-9 * p->def->link_bytes_per_s; /* within a ns */
  link_advance(p, now);
  uint32_t before = NONE, next;
  for (uint32_t i = p->first; i != NONE && p->status == FC_OK; i = next) {
    passage *a = &p->passage[i];
    next = a->next;
    if (a->left_bytes > done) {
      if (!p->def->link_shared) return;
      before = i;
      continue;
    }
    if (before == NONE)
      p->first = next;
    else
      p->passage[before].next = next;
    if (p->last == i) p->last = before;
    p->on_link--;
    fc_request q = a->request;
    q.arrival = now + fc_time_from_s(p->def->link_latency_s);
    p->wait_ns += (double)(q.arrival - a->prefilled);
    q.number = i;
    q.n_blocks = 0; /* freed already; what decodes shares nothing */
    q.block = NULL;
    p->status = fc_replica_offer(least_loaded(p->decode, p->n_decode, false), &q);
  }
}

/* --- ends --- */

static void prefilled(void *context, const fc_replica_record *record) {
  pair *p = context;
  uint32_t i = (uint32_t)record->number;
  passage *a = &p->passage[i];
  a->admitted = record->admitted;
  a->first_token = record->first_token;
  a->cached_tokens = record->cached_tokens;
  a->front = record->front;
  a->preemptions = record->preemptions;
  if (record->refused == FC_REFUSED_NOT && a->request.output_tokens > 1) { /* blocks are free at once */
    fc_time egress = fc_time_from_s(p->def->prefill.egress_s);
    link_enter(p, i, record->finish - egress - record->front);
    return;
  }
  fc_replica_record whole = *record;
  over(p, i, &whole);
}

static void decoded(void *context, const fc_replica_record *record) {
  pair *p = context;
  uint32_t i = (uint32_t)record->number;
  const passage *a = &p->passage[i];
  fc_replica_record whole = *record;
  whole.finish += a->front - record->front; /* each token is as late as the first */
  whole.front = a->front;
  whole.admitted = a->admitted;
  whole.first_token = a->first_token;
  whole.cached_tokens = a->cached_tokens;
  whole.preemptions += a->preemptions;
  if (record->refused != FC_REFUSED_NOT) whole.admitted = whole.first_token = whole.finish;
  over(p, i, &whole);
}

/* --- the run --- */

static fc_time earliest(fc_replica *const *of, size_t n, size_t *which) {
  fc_time least = FC_TIME_MAX;
  for (size_t i = 0; i < n; i++) {
    fc_time at = fc_replica_next(of[i]);
    if (at < least) {
      least = at;
      *which = i;
    }
  }
  return least;
}

static void arrive(pair *p) {
  fc_request q;
  p->source->take(p->source->context, &q);
  uint32_t i = passage_new(p);
  if (i == NONE) return;
  p->passage[i] = (passage){.request = q, .next = NONE};
  p->passage[i].request.block = NULL;
  q.number = i;
  if (q.output_tokens > 1)
    q.output_tokens = 1; /* the rest is generated elsewhere, and takes no memory here */
  p->status = fc_replica_offer(least_loaded(p->prefill, p->n_prefill, true), &q);
}

static void all_events(pair *p) {
  while (p->status == FC_OK) {
    fc_time arrival = FC_TIME_MAX;
    if (!p->source->peek(p->source->context, &arrival)) arrival = FC_TIME_MAX;
    size_t a = 0, b = 0;
    fc_time prefill = earliest(p->prefill, p->n_prefill, &a), link = link_next(p),
            decode = earliest(p->decode, p->n_decode, &b);
    fc_time now = arrival < prefill ? arrival : prefill;
    if (link < now) now = link;
    if (decode < now) now = decode;
    if (now == FC_TIME_MAX) return;
    /* at the same time: who arrives, what was prefilled, what was sent, who decodes */
    if (now == arrival)
      arrive(p);
    else if (now == prefill)
      p->status = fc_replica_advance(p->prefill[a], now + 1);
    else if (now == link)
      link_leave(p, now);
    else
      p->status = fc_replica_advance(p->decode[b], now + 1);
  }
}

/* What is a mean or a rate is of all replicas together over the span of the whole run. */
static void add_result(fc_replica_result *to, const fc_replica_result *one, double span_s,
                       double decode_share) {
  to->span_s = span_s;
  fc_replica_result_add(to, one, decode_share);
  to->energy_j += one->energy_j;
  if (!(span_s > 0)) return;
  to->requests_per_s += (double)one->done / span_s;
  to->output_tokens_per_s += (double)one->output_tokens / span_s;
}

static void span_of(fc_replica **of, size_t n, fc_time *start, fc_time *end) {
  for (size_t i = 0; i < n; i++) {
    if (!of[i]->started) continue;
    if (of[i]->result->start < *start) *start = of[i]->result->start;
    if (of[i]->result->end > *end) *end = of[i]->result->end;
  }
}

static fc_status collect(fc_replica_result *to, fc_replica **of, size_t n, fc_time start, fc_time end,
                         char *why) {
  double span_s = end > start ? fc_time_to_s(end - start) : 0, steps = 0;
  for (size_t i = 0; i < n; i++) steps += (double)of[i]->decode_steps;
  to->start = start;
  to->end = end;
  for (size_t i = 0; i < n; i++) {
    fc_replica_result *one = of[i]->result;
    fc_status status = fc_replica_take_result(one, of[i], why);
    if (status != FC_OK) return status;
    const fc_step_table_def *t =
        &of[i]->table->def; /* idle before and after its own first and last step too */
    one->energy_j += t->idle_w * (double)t->devices * (span_s - one->span_s);
    add_result(to, one, span_s, steps > 0 ? (double)of[i]->decode_steps / steps : 0);
  }
  return FC_OK;
}

static const char *fault_of(const fc_disagg_def *d) {
  if (d->prefill_replicas < 1 || d->prefill_replicas > 100000) return "prefill_replicas is outside [1, 1e5]";
  if (d->decode_replicas < 1 || d->decode_replicas > 100000) return "decode_replicas is outside [1, 1e5]";
  if (!(d->kv_bytes_per_token >= 0) || !isfinite(d->kv_bytes_per_token))
    return "kv_bytes_per_token is negative";
  if (!(d->link_bytes_per_s > 0) || !isfinite(d->link_bytes_per_s)) return "link_bytes_per_s is not positive";
  if (!(d->link_latency_s >= 0) || !isfinite(d->link_latency_s)) return "link_latency_s is negative";
  return NULL;
}

static fc_status pool_new(fc_replica ***out, fc_replica_def def, fc_replica_role role, size_t n,
                          uint64_t seed, uint64_t first, pair *p) {
  def.role = role;
  def.context = p;
  def.record = role == FC_ROLE_PREFILL ? prefilled : decoded;
  def.stretch = NULL;
  *out = calloc(n, sizeof(fc_replica *));
  if (!*out) return FC_E_NOMEM;
  fc_status status = FC_OK;
  for (size_t i = 0; i < n && status == FC_OK; i++)
    status = fc_replica_new(&(*out)[i], &def, seed, first + i);
  return status;
}

static void gaps_of(const void *run, fc_digest *out) {
  const pair *p = run;
  memset(out, 0, sizeof *out);
  for (size_t i = 0; i < p->n_decode; i++) fc_digest_merge(out, &p->decode[i]->result->itl);
}

static void pool_free(fc_replica **of, size_t n) {
  for (size_t i = 0; of && i < n; i++) fc_replica_free(of[i]);
  free(of);
}

fc_status fc_disagg_run(fc_disagg_result *out, const fc_disagg_def *def, const fc_request_source *source,
                        uint64_t seed, char *why) {
  memset(out, 0, sizeof *out);
  const char *fault = fault_of(def);
  if (fault && why) (void)snprintf(why, 256, "%s", fault);
  if (fault) return FC_E_DOMAIN;
  fc_status status = fc_replica_check(&def->prefill, why);
  if (status == FC_OK) status = fc_replica_check(&def->decode, why);
  if (status != FC_OK) return status;
  pair p = {.def = def, .source = source, .out = out, .free_passage = NONE, .first = NONE, .last = NONE};
  p.n_prefill = (size_t)def->prefill_replicas;
  p.n_decode = (size_t)def->decode_replicas;
  p.status = pool_new(&p.prefill, def->prefill, FC_ROLE_PREFILL, p.n_prefill, seed, 0, &p);
  if (p.status == FC_OK)
    p.status = pool_new(&p.decode, def->decode, FC_ROLE_DECODE, p.n_decode, seed, p.n_prefill, &p);
  if (p.status == FC_OK)
    for (size_t i = 0; i < p.n_prefill + p.n_decode; i++)
      (i < p.n_prefill ? p.prefill[i] : p.decode[i - p.n_prefill])->why = why;
  if (def->gaps) *def->gaps = (fc_gaps){.run = &p, .sum = gaps_of};
  all_events(&p);
  fc_time start = FC_TIME_MAX, end = 0;
  if (p.status == FC_OK) {
    span_of(p.prefill, p.n_prefill, &start, &end);
    span_of(p.decode, p.n_decode, &start, &end);
    p.status = collect(&out->prefill, p.prefill, p.n_prefill, start, end, why);
  }
  if (p.status == FC_OK) p.status = collect(&out->decode, p.decode, p.n_decode, start, end, why);
  out->transfer_mean_s = p.transfers > 0 ? 1e-9 * p.wait_ns / (double)p.transfers : 0;
  out->link_utilisation = out->prefill.span_s > 0 ? 1e-9 * p.busy_ns / out->prefill.span_s : 0;
  out->transferred_tokens = p.transferred;
  pool_free(p.prefill, p.n_prefill);
  pool_free(p.decode, p.n_decode);
  free(p.passage);
  return p.status;
}
