/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/des/sim.h>

#include <stdlib.h>

#include <fleetcast/base/assert.h>

#include "calendar.h"

typedef fc_event_slot slot;

enum { STOPPED = 1, FAILED = 2 };

struct fc_sim {
  fc_time now;
  uint64_t sequence; /* of the last event scheduled; 56 bits last 2 years at 10^9 a second */
  uint64_t executed;
  uint32_t free_slot; /* head of the list; 0: empty */
  uint32_t slot_n, slot_max;
  unsigned halt;
  uint64_t cancelled;
  size_t dead; /* cancelled, still in the calendar */
  bool running;
  fc_calendar calendar;
};

/* Signed times to unsigned ones of the same order. */
static inline uint64_t flip(fc_time t) {
  return (uint64_t)t ^ UINT64_C(1) << 63;
}

static inline fc_time unflip(uint64_t t) {
  return (fc_time)(t ^ UINT64_C(1) << 63);
}

fc_status fc_sim_new(fc_sim **out, fc_time start) {
  *out = NULL;
  fc_sim *sim = malloc(sizeof *sim);
  if (!sim) return FC_E_NOMEM;
  *sim = (fc_sim){.now = start};
  fc_calendar_init(&sim->calendar);
  *out = sim;
  return FC_OK;
}

void fc_sim_free(fc_sim *sim) {
  if (!sim) return;
  fc_calendar_fini(&sim->calendar);
  free(sim->calendar.slots);
  free(sim);
}

fc_time fc_sim_now(const fc_sim *sim) {
  return sim->now;
}

size_t fc_sim_pending(const fc_sim *sim) {
  return sim->sequence - sim->executed - sim->cancelled;
}

uint64_t fc_sim_executed(const fc_sim *sim) {
  return sim->executed;
}

void fc_sim_stop(fc_sim *sim) {
  sim->halt |= STOPPED;
}

static void release_slot(fc_sim *sim, uint32_t i) {
  sim->calendar.slots[i].order = 0;
  sim->calendar.slots[i].datum = sim->free_slot;
  sim->free_slot = i;
}

/* Puts one more slot on the empty free list. */
static bool grow_slots(fc_sim *sim) {
  if (sim->slot_n == sim->slot_max) {
    if (sim->slot_max > UINT32_MAX / 2) return false;
    uint32_t max = sim->slot_max ? 2 * sim->slot_max : 64;
    slot *grown = realloc(sim->calendar.slots, max * sizeof *grown);
    if (!grown) return false;
    if (!sim->calendar.slots) {
      grown[0] = (slot){0};
      sim->slot_n = 1;
    }
    sim->calendar.slots = grown;
    sim->slot_max = max;
  }
  sim->calendar.slots[sim->slot_n] = (slot){0};
  sim->free_slot = sim->slot_n++;
  return true;
}

fc_event_id fc_sim_at(fc_sim *sim, fc_time when, int priority, fc_event_fn *action, void *subject,
                      uint64_t datum) {
  FC_ASSERT(when >= sim->now && priority >= -128 && priority <= 127 && action);
  uint64_t order = (uint64_t)(priority + 128) << 56 | (sim->sequence + 1);
  if ((!sim->free_slot && !grow_slots(sim)) ||
      !fc_calendar_put(&sim->calendar, (fc_event_entry){order, flip(when), sim->free_slot}, flip(sim->now))) {
    sim->halt |= FAILED;
    return FC_EVENT_NONE;
  }
  uint32_t i = sim->free_slot;
  slot *s = &sim->calendar.slots[i];
  sim->free_slot = (uint32_t)s->datum;
  *s = (slot){order, action, subject, datum};
  sim->sequence++;
  return (fc_event_id){i, (uint32_t)order};
}

bool fc_sim_is_pending(const fc_sim *sim, fc_event_id event) {
  uint32_t i = event.index1;
  return i && i < sim->slot_n && sim->calendar.slots[i].order &&
         (uint32_t)sim->calendar.slots[i].order == event.generation;
}

static bool is_alive(const void *context, const fc_event_entry *e) {
  const fc_sim *sim = context;
  return sim->calendar.slots[e->slot].order == e->order;
}

bool fc_sim_cancel(fc_sim *sim, fc_event_id event) {
  if (!fc_sim_is_pending(sim, event)) return false;
  release_slot(sim, event.index1);
  /* O(1) on average: a sweep of n entries comes after at least n / 2 cancellations */
  sim->cancelled++;
  if (++sim->dead > fc_sim_pending(sim) + 1024) {
    fc_calendar_sweep(&sim->calendar, is_alive, sim);
    sim->dead = 0;
  }
  return true;
}

/* Runs the last item of near, unless it was cancelled. */
static inline void execute_next(fc_sim *sim) {
  const fc_event_entry *e = &sim->calendar.near[--sim->calendar.near_n];
  slot *s = &sim->calendar.slots[e->slot];
  if (s->order != e->order) {
    sim->dead--;
    return;
  }
  fc_event_fn *action = s->action;
  void *subject = s->subject;
  uint64_t datum = s->datum;
  sim->now = unflip(e->time);
  release_slot(sim, e->slot);
  sim->executed++;
  action(sim, subject, datum);
}

/* The next entries into near, their slots on the way to the cache.  @return false: nothing up to `last` */
static bool refill(fc_sim *sim, uint64_t last) {
  switch (fc_calendar_refill(&sim->calendar, last)) {
  case FC_REFILL_NONE: return false;
  case FC_REFILL_NOMEM: sim->halt |= FAILED; return false;
  case FC_REFILL_DONE: break;
  }
  for (uint32_t i = sim->calendar.near_n; i-- > 0;)
    __builtin_prefetch(&sim->calendar.slots[sim->calendar.near[i].slot]);
  return true;
}

fc_status fc_sim_run(fc_sim *sim, fc_time until) {
  FC_ASSERT(!sim->running);
  sim->running = true;
  sim->halt &= (unsigned)~STOPPED;
  bool to_end = until == FC_TIME_MAX;
  uint64_t last = to_end ? UINT64_MAX : flip(until) - 1;
  if (to_end || until > sim->now) {
    const fc_calendar *c = &sim->calendar;
    while (!sim->halt) {
      if (c->near_n == 0 && !refill(sim, last)) break;
      if (c->near[c->near_n - 1].time > last) break;
      execute_next(sim);
    }
    if (!sim->halt && !to_end) sim->now = until;
  }
  sim->running = false;
  return sim->halt & FAILED ? FC_E_NOMEM : FC_OK;
}
