/* SPDX-License-Identifier: Apache-2.0 */
/* Routes that look at no replica, requests that no other brings: replicas run apart, in threads.  While
 * others run a window of the stream, the caller's thread counts the ends of the window before, in order of
 * time as if there had been one clock, and then draws the next. */
#include "cluster_private.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replica_private.h"

enum { A_NODE = 128, LEAST = 1024, MOST = 65536, WHY = 256, HANDS_MOST = 256 };

typedef struct {
  fc_request request;
  size_t block_at;
  uint32_t node, next; /* next of the same node */
} item;

typedef struct {
  item *item;
  uint32_t n, *first, *last; /* first, last: by node, NONE */
  uint64_t *block;
  size_t blocks, block_capacity;
  fc_time until; /* the arrival after; FC_TIME_MAX: it is the last */
} window;

/* What became of a node's requests in a window. */
typedef struct {
  fc_replica_record *record;
  size_t n, capacity, read;
  fc_status status;
  char why[WHY];
} ends;

/* Of a window that runs, or is counted. */
typedef struct {
  window w;
  ends *of; /* by node */
} turn;

enum { TURNS = 3 }; /* drawn, running, counted */

typedef struct {
  fc_cluster *c;
  uint32_t size; /* of a window */
  turn turn[TURNS];
  fc_race race; /* of the first ends of the turn that is counted */
  fc_time egress;
  turn *running;
  atomic_uint next; /* node to run */
  pthread_mutex_t lock;
  pthread_cond_t start, finish;
  uint64_t generation; /* of windows */
  int busy;
  bool over;
} crew;

bool fc_runs_free(const fc_cluster *c) {
  bool blind = c->def.route == FC_ROUTE_ROUND_ROBIN || c->def.route == FC_ROUTE_RANDOM;
  return c->def.open_loop && blind && !c->dynamic && c->next_sample == FC_TIME_MAX;
}

/* --- drawing --- */

static fc_status keep_blocks(window *w, item *it, const fc_request *q) {
  it->block_at = w->blocks;
  if (!q->n_blocks) return FC_OK;
  if (w->blocks + q->n_blocks > w->block_capacity) {
    size_t n = 2 * w->block_capacity + q->n_blocks;
    uint64_t *grown = realloc(w->block, n * sizeof *grown);
    if (!grown) return FC_E_NOMEM;
    w->block = grown;
    w->block_capacity = n;
  }
  memcpy(w->block + w->blocks, q->block, q->n_blocks * sizeof *q->block);
  w->blocks += q->n_blocks;
  return FC_OK;
}

static void pull(crew *p, window *w) {
  fc_cluster *c = p->c;
  fc_time arrival = FC_TIME_MAX;
  w->n = 0;
  w->blocks = 0;
  for (uint32_t i = 0; i < c->n; i++) w->first[i] = NONE;
  bool more = false;
  while (c->status == FC_OK && (more = c->source->peek(c->source->context, &arrival)) && w->n < p->size) {
    item *it = &w->item[w->n];
    c->source->take(c->source->context, &it->request);
    c->status = fc_class_check(c, &it->request);
    if (c->status == FC_OK && c->def.replica.prefix_cache) c->status = keep_blocks(w, it, &it->request);
    it->node = fc_route_blind(c, &it->request);
    it->next = NONE;
    if (w->first[it->node] == NONE)
      w->first[it->node] = w->n;
    else
      w->item[w->last[it->node]].next = w->n;
    w->last[it->node] = w->n++;
  }
  w->until = more ? arrival : FC_TIME_MAX;
}

/* --- running --- */

static void keep_end(void *context, const fc_replica_record *r) {
  ends *e = context;
  if (e->status != FC_OK) return;
  if (e->n == e->capacity) {
    size_t n = e->capacity ? 2 * e->capacity : 64;
    fc_replica_record *grown = realloc(e->record, n * sizeof *grown);
    if (!grown) {
      e->status = FC_E_NOMEM;
      return;
    }
    e->record = grown;
    e->capacity = n;
  }
  e->record[e->n++] = *r;
}

static void run_node(crew *p, turn *t, uint32_t number) {
  const window *w = &t->w;
  ends *e = &t->of[number];
  fc_replica *r = p->c->node[number].replica;
  fc_status status = FC_OK;
  e->n = e->read = 0;
  r->def.context = e;
  r->why = e->why;
  for (uint32_t i = w->first[number]; i != NONE && status == FC_OK; i = w->item[i].next) {
    fc_request q = w->item[i].request;
    q.block = w->block ? w->block + w->item[i].block_at : NULL;
    status = fc_replica_offer(r, &q);
  }
  if (status == FC_OK) status = fc_replica_advance(r, w->until);
  if (status != FC_OK) e->status = status;
}

static void lend_a_hand(crew *p) {
  for (;;) {
    unsigned i = atomic_fetch_add(&p->next, 1U);
    if (i >= p->c->n) return;
    run_node(p, p->running, i);
  }
}

static void *hand(void *context) {
  crew *p = context;
  (void)pthread_mutex_lock(&p->lock);
  for (uint64_t seen = 0;;) {
    while (!p->over && p->generation == seen) (void)pthread_cond_wait(&p->start, &p->lock);
    if (p->over) break;
    seen = p->generation;
    (void)pthread_mutex_unlock(&p->lock);
    lend_a_hand(p);
    (void)pthread_mutex_lock(&p->lock);
    if (--p->busy == 0) (void)pthread_cond_signal(&p->finish);
  }
  (void)pthread_mutex_unlock(&p->lock);
  return NULL;
}

/* --- counting --- */

static void set_first(crew *p, const turn *t, uint32_t number) {
  const ends *e = &t->of[number];
  const fc_replica_record *r = e->read < e->n ? &e->record[e->read] : NULL;
  fc_race_set(&p->race, number, r ? r->finish - r->front - p->egress : FC_TIME_MAX);
}

static void count(crew *p, turn *t) {
  fc_cluster *c = p->c;
  const window *w = &t->w;
  for (uint32_t i = 0; i < c->n; i++) set_first(p, t, i);
  for (uint32_t k = 0; c->status == FC_OK;) {
    fc_time arrival = k < w->n ? w->item[k].request.arrival : FC_TIME_MAX;
    fc_entry first = fc_race_first(&p->race);
    if (arrival == FC_TIME_MAX && first.value == FC_TIME_MAX) return;
    if (arrival <= first.value) {
      if (arrival > c->now) c->now = arrival;
      fc_count_in(c, &w->item[k].request);
      fc_count_given(c, &c->node[w->item[k].node]);
      k++;
    } else {
      uint32_t i = fc_entry_number(first);
      c->now = first.value;
      fc_count_end(c, &c->node[i], &t->of[i].record[t->of[i].read++]);
      set_first(p, t, i);
    }
  }
}

/* --- the run --- */

static void begin(crew *p, turn *t, int hands) {
  (void)pthread_mutex_lock(&p->lock);
  p->running = t;
  atomic_store(&p->next, 0U);
  p->busy = hands;
  p->generation++;
  (void)pthread_cond_broadcast(&p->start);
  (void)pthread_mutex_unlock(&p->lock);
}

static void end(crew *p, const turn *t) {
  fc_cluster *c = p->c;
  lend_a_hand(p);
  (void)pthread_mutex_lock(&p->lock);
  while (p->busy > 0) (void)pthread_cond_wait(&p->finish, &p->lock);
  (void)pthread_mutex_unlock(&p->lock);
  for (uint32_t i = 0; i < c->n && c->status == FC_OK; i++) {
    c->status = t->of[i].status;
    if (c->status != FC_OK && c->why) memcpy(c->why, t->of[i].why, WHY);
  }
}

static void windows(crew *p, int hands) {
  fc_cluster *c = p->c;
  turn *before = NULL, *t = &p->turn[0];
  pull(p, &t->w);
  for (int next = 1; c->status == FC_OK; next = (next + 1) % TURNS) {
    bool last = t->w.until == FC_TIME_MAX;
    begin(p, t, hands);
    if (before) count(p, before);
    if (!last) pull(p, &p->turn[next].w);
    end(p, t);
    fc_gaps_keep(c);
    before = t;
    if (last) break;
    t = &p->turn[next];
  }
  if (c->status == FC_OK) count(p, before);
}

static fc_status window_init(window *w, const crew *p) {
  w->item = calloc(p->size, sizeof *w->item);
  w->first = calloc(p->c->n, sizeof *w->first);
  w->last = calloc(p->c->n, sizeof *w->last);
  return w->item && w->first && w->last ? FC_OK : FC_E_NOMEM;
}

static void window_fini(window *w) {
  free(w->item);
  free(w->first);
  free(w->last);
  free(w->block);
}

static fc_status crew_init(crew *p, fc_cluster *c) {
  uint64_t size = (uint64_t)c->n * A_NODE;
  p->size = (uint32_t)(size < LEAST ? LEAST : size > MOST ? MOST : size);
  p->egress = fc_time_from_s(c->def.replica.egress_s);
  for (uint32_t i = 0; i < c->n; i++) c->node[i].replica->def.record = keep_end;
  fc_status status = fc_race_init(&p->race, c->n);
  for (int k = 0; k < TURNS && status == FC_OK; k++) {
    p->turn[k].of = calloc(c->n, sizeof *p->turn[k].of);
    status = p->turn[k].of ? window_init(&p->turn[k].w, p) : FC_E_NOMEM;
  }
  if (status == FC_OK && c->def.gaps) {
    c->gaps = calloc(1, sizeof *c->gaps);
    if (!c->gaps) status = FC_E_NOMEM;
  }
  return status;
}

static void crew_fini(crew *p) {
  for (uint32_t i = 0; i < p->c->n; i++) p->c->node[i].replica->why = p->c->why;
  for (int k = 0; k < TURNS; k++) {
    for (uint32_t i = 0; p->turn[k].of && i < p->c->n; i++) free(p->turn[k].of[i].record);
    free(p->turn[k].of);
    window_fini(&p->turn[k].w);
  }
  free(p->race.node);
}

void fc_run_free(fc_cluster *c) {
  crew p = {.c = c};
  pthread_t thread[HANDS_MOST];
  int started = 0, wanted = c->def.threads - 1;
  if ((uint32_t)wanted >= c->n) wanted = (int)c->n - 1;
  c->status = crew_init(&p, c);
  if (c->status == FC_OK) {
    if (pthread_mutex_init(&p.lock, NULL) || pthread_cond_init(&p.start, NULL) ||
        pthread_cond_init(&p.finish, NULL))
      c->status = FC_E_NOMEM;
  }
  if (c->status == FC_OK) {
    while (started < wanted && !pthread_create(&thread[started], NULL, hand, &p)) started++; /* or fewer */
    windows(&p, started);
    (void)pthread_mutex_lock(&p.lock);
    p.over = true;
    (void)pthread_cond_broadcast(&p.start);
    (void)pthread_mutex_unlock(&p.lock);
    for (int i = 0; i < started; i++) (void)pthread_join(thread[i], NULL);
    (void)pthread_cond_destroy(&p.start);
    (void)pthread_cond_destroy(&p.finish);
    (void)pthread_mutex_destroy(&p.lock);
  }
  crew_fini(&p);
}
