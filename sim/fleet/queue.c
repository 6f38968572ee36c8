/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits and who starts: by priority, within a priority by submission; smaller jobs may pass a waiting
 * gang, for a day.  Rules and reasons: docs/fleet.md#queue. */
#include "parts.h"

/* --- lists of jobs, linked by index --- */

static void list_insert(fc_fleet *f, fc_job_list *list, uint32_t before, uint32_t j) {
  uint32_t prev = before == FC_NO_JOB ? list->tail : f->job[before].prev;
  f->job[j].prev = prev;
  f->job[j].next = before;
  if (prev == FC_NO_JOB)
    list->head = j;
  else
    f->job[prev].next = j;
  if (before == FC_NO_JOB)
    list->tail = j;
  else
    f->job[before].prev = j;
}

void fc_list_push(fc_fleet *f, fc_job_list *list, uint32_t j) {
  list_insert(f, list, FC_NO_JOB, j);
}

void fc_list_remove(fc_fleet *f, fc_job_list *list, uint32_t j) {
  fc_job *job = &f->job[j];
  if (job->prev == FC_NO_JOB)
    list->head = job->next;
  else
    f->job[job->prev].next = job->next;
  if (job->next == FC_NO_JOB)
    list->tail = job->prev;
  else
    f->job[job->next].prev = job->prev;
  job->prev = job->next = FC_NO_JOB;
}

/* Where j belongs in a queue by index, which is the order of submission: before the job returned.  Jobs come
 * back in bursts, the latest first, so that the last place is near the next. */
static uint32_t place_in(const fc_fleet *f, const fc_owner *owner, uint32_t j) {
  bool hinted = owner->hint != FC_NO_JOB && f->job[owner->hint].state == FC_JOB_QUEUED;
  uint32_t before = hinted ? owner->hint : owner->queue.head;
  while (before != FC_NO_JOB && before < j) before = f->job[before].next;
  uint32_t prev = before == FC_NO_JOB ? owner->queue.tail : f->job[before].prev;
  for (; prev != FC_NO_JOB && prev > j; prev = f->job[prev].prev) before = prev;
  return before;
}

void fc_job_enqueue(fc_fleet *f, uint32_t j) {
  fc_job *job = &f->job[j];
  fc_owner *owner = &f->owner[job->owner];
  uint32_t before =
      owner->queue.tail == FC_NO_JOB || owner->queue.tail < j ? FC_NO_JOB : place_in(f, owner, j);
  list_insert(f, &owner->queue, before, j);
  if (before != FC_NO_JOB) owner->hint = j;
  job->state = FC_JOB_QUEUED;
  job->queued_since = f->now;
  f->n_queued[job->level]++;
}

/* --- what a job may have --- */

int64_t fc_pool_available(const fc_pool *pool, int level) {
  int64_t devices = pool->idle;
  for (int k = level + 1; k < FC_LEVELS; k++) devices += pool->preemptible[k];
  return devices;
}

void fc_pool_clear(fc_fleet *f, size_t p, int level, int64_t devices) {
  fc_pool *pool = &f->pool[p];
  for (int k = FC_LEVELS - 1; k > level; k--) /* the least important first, of those the latest */
    while (pool->idle < devices && pool->running[k][1].tail != FC_NO_JOB)
      fc_job_preempt(f, pool->running[k][1].tail, false);
}

/* Is the pool held for a job that comes before this one and that could not take its devices back? */
static bool is_held(const fc_fleet *f, const fc_pool *pool, uint32_t j) {
  if (pool->hold == FC_NO_JOB || pool->hold == j) return false;
  const fc_job *job = &f->job[j], *holder = &f->job[pool->hold];
  if (holder->level != job->level) return holder->level < job->level && !job->preemptible;
  return pool->hold < j;
}

/* A gang that has waited for long holds the first pool that is large enough for it. */
static void hold(fc_fleet *f, uint32_t j) {
  const fc_job *job = &f->job[j];
  if (fc_time_to_s(f->now - job->queued_since) < FC_BACKFILL_S) return;
  const fc_owner *owner = &f->owner[job->owner];
  for (size_t i = 0; i < owner->n_order; i++)
    if (f->pool[owner->order[i]].hold == j) return;
  for (size_t i = 0; i < owner->n_order; i++) {
    fc_pool *pool = &f->pool[owner->order[i]];
    if (fc_work_gang(&owner->work[owner->order[i]], job->want) > pool->installed) continue;
    if (pool->hold != FC_NO_JOB) {
      const fc_job *holder = &f->job[pool->hold];
      if (holder->level < job->level || (holder->level == job->level && pool->hold < j)) continue;
    }
    pool->hold = j;
    return;
  }
}

/* Where idle devices suffice, by preference; else where preemption makes room. */
static bool try_start(fc_fleet *f, uint32_t j, int32_t only) {
  const fc_job *job = &f->job[j];
  const fc_owner *owner = &f->owner[job->owner];
  int32_t room = -1;
  for (size_t i = 0; i < owner->n_order; i++) {
    int32_t p = owner->order[i];
    if (only >= 0 && p != only) continue;
    const fc_pool *pool = &f->pool[p];
    int64_t gang = fc_work_gang(&owner->work[p], job->want);
    if (gang <= pool->idle && !is_held(f, pool, j)) {
      fc_job_place(f, j, p, gang);
      return true;
    }
    if (room < 0 && gang > pool->idle && gang <= fc_pool_available(pool, job->level) && !is_held(f, pool, j))
      room = p;
  }
  if (room < 0) return false;
  int64_t gang = fc_work_gang(&owner->work[room], job->want);
  fc_pool_clear(f, (size_t)room, job->level, gang);
  fc_job_place(f, j, room, gang);
  return true;
}

/* --- the pass --- */

/* An owner's place in a pass. */
typedef struct cursor {
  uint32_t job;
  int looked;    /* jobs that could not start */
  int64_t least; /* the smallest of them: nothing as large can start either */
} cursor;

static bool can_use(const fc_owner *owner, int32_t only) {
  return owner->queue.head != FC_NO_JOB && (only < 0 || owner->work[only].feasible);
}

static void run_owner(fc_fleet *f, cursor *c, int32_t only) {
  uint32_t j = c->job;
  c->job = f->job[j].next;
  if (f->job[j].want < c->least) {
    if (try_start(f, j, only)) return;
    c->least = f->job[j].want;
  }
  c->looked++;
  hold(f, j);
  if (c->looked > FC_BACKFILL_DEPTH) c->job = FC_NO_JOB;
}

void fc_queue_run_level(fc_fleet *f, int level, int32_t only) {
  if (f->n_queued[level] == 0) return;
  enum { AT_ONCE = 64 };
  cursor c[AT_ONCE];
  for (size_t first = 0; first < f->n_owners;
       first += AT_ONCE) { /* merged by submission, 64 owners at a time */
    size_t n = f->n_owners - first < AT_ONCE ? f->n_owners - first : AT_ONCE;
    for (size_t i = 0; i < n; i++) {
      const fc_owner *owner = &f->owner[first + i];
      bool in = owner->level == level && can_use(owner, only);
      c[i] = (cursor){.job = in ? owner->queue.head : FC_NO_JOB, .least = INT64_MAX};
    }
    for (;;) {
      size_t best = n;
      for (size_t i = 0; i < n; i++)
        if (c[i].job != FC_NO_JOB && (best == n || c[i].job < c[best].job)) best = i;
      if (best == n) break;
      run_owner(f, &c[best], only);
    }
  }
}

void fc_queue_run(fc_fleet *f, int32_t only) {
  uint64_t preempted = f->n_preempted;
  for (int level = 0; level < FC_LEVELS; level++) /* the preempted may go elsewhere */
    fc_queue_run_level(f, level, f->n_preempted == preempted ? only : -1);
}

void fc_queue_check(fc_fleet *f) {
  for (size_t o = 0; o < f->n_owners; o++) {
    const fc_owner *owner = &f->owner[o];
    uint32_t j = owner->queue.head;
    for (size_t i = 0; j != FC_NO_JOB && i < owner->n_order; i++) {
      const fc_pool *pool = &f->pool[owner->order[i]];
      if (fc_work_gang(&owner->work[owner->order[i]], f->job[j].want) <= pool->idle && !is_held(f, pool, j))
        f->idler = owner->name ? owner->name : "";
    }
  }
}

/* --- submission --- */

static bool is_possible(const fc_fleet *f, uint32_t j) {
  const fc_job *job = &f->job[j];
  const fc_owner *owner = &f->owner[job->owner];
  for (size_t i = 0; i < owner->n_order; i++) {
    int32_t p = owner->order[i];
    if (fc_work_gang(&owner->work[p], job->want) <= f->pool[p].future_peak) return true;
  }
  return false;
}

void fc_queue_submit(fc_fleet *f, uint32_t j) {
  fc_job *job = &f->job[j];
  const fc_owner *owner = &f->owner[job->owner];
  if (!is_possible(f, j)) {
    job->state = FC_JOB_IMPOSSIBLE;
    fc_fleet_event(f, "job_impossible", owner->name, (double)job->want, "devices");
    return;
  }
  bool alone = owner->queue.head == FC_NO_JOB;
  fc_job_enqueue(f, j);
  /* nothing has come free since the last pass: only this job is new, and it may not pass a long queue */
  int ahead = 0;
  for (uint32_t k = owner->queue.head; !alone && k != j && ahead <= FC_BACKFILL_DEPTH; k = f->job[k].next)
    ahead++;
  if (ahead > FC_BACKFILL_DEPTH) return;
  uint64_t preempted = f->n_preempted;
  if (try_start(f, j, -1) && f->n_preempted != preempted) fc_queue_run(f, -1);
}
