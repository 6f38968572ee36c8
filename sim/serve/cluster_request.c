/* SPDX-License-Identifier: Apache-2.0 */
/* Requests on their way through a cluster: arrival, router, replica, end, another try. */
#include "cluster_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/assert.h>

enum { PASSAGES_MOST = 1 << 28 };

uint64_t fc_in_flight(const fc_cluster *c) {
  const fc_cluster_result *o = c->out;
  return o->in - o->done - o->refused - o->lost;
}

/* --- passages: a ring by number --- */

static fc_passage *passage_of(const fc_cluster *c, uint64_t number) {
  fc_passage *p = &c->passage[number & (c->passages - 1)];
  FC_ASSERT(p->used && p->request.number == number);
  return p;
}

static fc_status passages_grow(fc_cluster *c) {
  uint64_t n = c->passages ? 2 * c->passages : 64;
  if (n > PASSAGES_MOST) {
    if (c->why) (void)snprintf(c->why, 256, "the numbers of requests under way are too far apart");
    return FC_E_DOMAIN;
  }
  fc_passage *grown = calloc(n, sizeof *grown);
  if (!grown) return FC_E_NOMEM;
  for (uint64_t i = 0; i < c->passages; i++)
    if (c->passage[i].used) grown[c->passage[i].request.number & (n - 1)] = c->passage[i];
  free(c->passage);
  c->passage = grown;
  c->passages = n;
  return FC_OK;
}

/* NULL: c->status says why. */
static fc_passage *passage_new(fc_cluster *c, const fc_request *q) {
  while (c->status == FC_OK && (!c->passages || c->passage[q->number & (c->passages - 1)].used))
    c->status = passages_grow(c);
  if (c->status != FC_OK) return NULL;
  fc_passage *p = &c->passage[q->number & (c->passages - 1)];
  *p = (fc_passage){.request = *q, .used = true};
  p->request.block = NULL;
  if (c->def.replica.prefix_cache && q->n_blocks) {
    p->block = malloc(q->n_blocks * sizeof *p->block);
    if (!p->block) {
      p->used = false;
      c->status = FC_E_NOMEM;
      return NULL;
    }
    memcpy(p->block, q->block, q->n_blocks * sizeof *p->block);
    p->request.block = p->block;
  } else {
    p->request.n_blocks = 0;
  }
  return p;
}

static void passage_free(fc_passage *p) {
  free(p->block);
  *p = (fc_passage){0};
}

static void queue_put(const fc_cluster *c, fc_queue *queue, fc_passage *p) {
  if (queue->n++)
    passage_of(c, queue->last)->next = p->request.number;
  else
    queue->first = p->request.number;
  queue->last = p->request.number;
}

static fc_passage *queue_take(const fc_cluster *c, fc_queue *queue) {
  fc_passage *p = passage_of(c, queue->first);
  queue->first = p->next;
  queue->n--;
  return p;
}

/* --- to a replica --- */

void fc_node_refresh(fc_cluster *c, fc_node *node) {
  fc_race_set(&c->steps, node->number, fc_replica_next(node->replica));
  fc_route_refresh(c, node);
}

void fc_count_given(fc_cluster *c, fc_node *node) {
  int64_t *outstanding = &c->outstanding[node->number];
  if (c->n_idle > 0 && *outstanding > 0) c->out->past_idle++;
  if ((*outstanding)++ == 0) {
    c->n_idle--;
    node->busy_since = c->now;
  }
  node->in++;
  c->out->attempts++;
}

static void give(fc_cluster *c, const fc_request *q, uint32_t attempt) {
  fc_node *node = &c->node[fc_route_choose(c, q, attempt)];
  fc_count_given(c, node);
  if (c->def.route == FC_ROUTE_LEAST_WORK) node->work += fc_route_work(c, q->input_tokens, q->output_tokens);
  fc_status status = fc_replica_offer(node->replica, q);
  if (status != FC_OK) c->status = status;
  fc_node_refresh(c, node);
}

static void tell(fc_cluster *c, fc_cluster_record *r) {
  r->come = c->out->in;
  r->under_way = fc_in_flight(c) + 1;
  if (c->def.record) c->def.record(c->def.context, r);
  if (c->source->done) c->source->done(c->source->context, r->request.number, r->request.finish);
}

/* Over without a replica's word. */
static void over_at_router(fc_cluster *c, const fc_request *q, fc_outcome outcome, int64_t replica,
                           uint32_t attempts) {
  fc_cluster_class *k = &c->out->by_class[q->slo_class];
  if (outcome == FC_OUTCOME_LOST) {
    c->out->lost++;
    k->lost++;
  } else {
    c->out->refused++;
    c->out->router_refused++;
    k->refused++;
  }
  tell(c, &(fc_cluster_record){.request = {.number = q->number,
                                           .arrival = q->arrival,
                                           .admitted = c->now,
                                           .first_token = c->now,
                                           .finish = c->now,
                                           .input_tokens = q->input_tokens,
                                           .output_tokens = q->output_tokens,
                                           .session = q->session,
                                           .turn = q->turn,
                                           .slo_class = q->slo_class},
                               .outcome = outcome,
                               .replica = replica,
                               .attempts = attempts});
}

/* Through the router, first or again. */
static void route(fc_cluster *c, fc_passage *p) {
  if (c->n_serving > 0) {
    fc_request q = p->request;
    if (p->attempts) q.arrival = c->now;
    give(c, &q, p->attempts++);
    return;
  }
  if (c->at_router.n >= (uint64_t)c->def.router_queue_limit) {
    fc_passage gone = *p;
    *p = (fc_passage){0};
    over_at_router(c, &gone.request, FC_OUTCOME_REFUSED, -1, gone.attempts);
    free(gone.block);
    return;
  }
  p->due = c->now;
  queue_put(c, &c->at_router, p);
  if (c->at_router.n > c->out->router_peak) c->out->router_peak = c->at_router.n;
}

fc_status fc_class_check(fc_cluster *c, fc_request *q) {
  if (q->slo_class < c->out->n_classes) return FC_OK;
  if (!c->def.n_classes) {
    q->slo_class = 0;
    return FC_OK;
  }
  if (c->why)
    (void)snprintf(c->why, 256, "request %llu is of class %u, of %zu", (unsigned long long)q->number,
                   q->slo_class, c->def.n_classes);
  return FC_E_DOMAIN;
}

void fc_count_in(fc_cluster *c, const fc_request *q) {
  c->out->in++;
  c->out->by_class[q->slo_class].in++;
}

void fc_arrive(fc_cluster *c) {
  fc_request q;
  c->source->take(c->source->context, &q);
  if (q.arrival > c->now) c->now = q.arrival;
  c->idle_controls = 0;
  c->status = fc_class_check(c, &q);
  if (c->status != FC_OK) return;
  fc_count_in(c, &q);
  if (!c->dynamic) {
    give(c, &q, 0);
    return;
  }
  fc_passage *p = passage_new(c, &q);
  if (p) route(c, p);
}

void fc_router_flush(fc_cluster *c) {
  while (c->at_router.n > 0 && c->n_serving > 0 && c->status == FC_OK) {
    fc_passage *p = queue_take(c, &c->at_router);
    c->out->router_wait_s += fc_time_to_s(c->now - p->due);
    fc_request q = p->request;
    q.arrival = c->now;
    give(c, &q, p->attempts++);
  }
}

/* --- again --- */

fc_time fc_retry_next(const fc_cluster *c) {
  return c->retries.n ? passage_of(c, c->retries.first)->due : FC_TIME_MAX;
}

void fc_retry(fc_cluster *c) {
  fc_passage *p = queue_take(c, &c->retries);
  c->out->retries++;
  route(c, p);
}

/* --- over --- */

static void leaves(fc_cluster *c, fc_node *node, const fc_replica_record *r) {
  if (--c->outstanding[node->number] == 0) {
    if (fc_serves(node)) c->n_idle++;
    node->busy_ns += c->now - node->busy_since;
  }
  if (c->def.route == FC_ROUTE_LEAST_WORK) node->work -= fc_route_work(c, r->input_tokens, r->output_tokens);
  c->idle_controls = 0;
}

/* Broke down with its replica. */
void fc_lost(void *context, const fc_replica_record *r) {
  fc_node *node = context;
  fc_cluster *c = node->cluster;
  node->lost++;
  leaves(c, node, r);
  fc_passage *p = passage_of(c, r->number);
  if (p->attempts <= c->def.failure.retries) {
    p->due = fc_after(c->now, fc_time_from_s(c->def.failure.retry_after_s));
    queue_put(c, &c->retries, p);
    return;
  }
  fc_passage gone = *p;
  *p = (fc_passage){0};
  over_at_router(c, &gone.request, FC_OUTCOME_LOST, node->number, gone.attempts);
  free(gone.block);
}

static void count_done(fc_cluster *c, const fc_replica_record *r) {
  fc_cluster_class *k = &c->out->by_class[r->slo_class];
  double first = (double)(r->first_token - r->arrival), all = (double)(r->finish - r->arrival);
  bool ttft = first <= c->slo_ns[2 * (size_t)r->slo_class], tpot = true;
  if (c->digests) {
    fc_digest_add(&k->ttft, first, 1);
    fc_digest_add(&k->e2e, all, 1);
  }
  if (r->output_tokens > 1) {
    double each = (all - first) / (double)(r->output_tokens - 1);
    tpot = each <= c->slo_ns[2 * (size_t)r->slo_class + 1];
    if (c->digests) fc_digest_add(&k->tpot, each, 1);
  }
  k->done++;
  k->within_ttft += ttft;
  k->within_tpot += tpot;
  k->within_both += ttft && tpot;
  k->output_tokens += r->output_tokens;
  k->good_tokens += ttft && tpot ? r->output_tokens : 0;
}

void fc_count_end(fc_cluster *c, fc_node *node, const fc_replica_record *r) {
  fc_cluster_record whole = {.request = *r, .replica = node->number, .attempts = 1};
  leaves(c, node, r);
  if (c->dynamic) {
    fc_passage *p = passage_of(c, r->number);
    whole.request.arrival = p->request.arrival;
    whole.attempts = p->attempts;
    passage_free(p);
  }
  if (r->refused == FC_REFUSED_NOT) {
    node->done++;
    c->out->done++;
    count_done(c, &whole.request);
    if (c->def.route == FC_ROUTE_LEAST_WORK) fc_route_learn(c, r->input_tokens, r->output_tokens);
  } else {
    whole.outcome = FC_OUTCOME_REFUSED;
    node->refused++;
    c->out->refused++;
    c->out->by_class[r->slo_class].refused++;
  }
  tell(c, &whole);
}

/* A replica's word. */
void fc_record(void *context, const fc_replica_record *r) {
  fc_node *node = context;
  fc_cluster *c = node->cluster;
  fc_count_end(c, node, r);
  /* who comes now may still meet the iteration that starts now */
  fc_time arrival;
  while (c->status == FC_OK && c->source->peek(c->source->context, &arrival) && arrival <= c->now)
    fc_arrive(c);
}
