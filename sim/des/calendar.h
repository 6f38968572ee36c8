/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_DES_CALENDAR_H
#define FC_DES_CALENDAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/des/sim.h>

/** The calendar of pending events behind sim.c: a priority queue over unique 128-bit keys (time, order).
 *
 *  Three tiers, soonest first.  docs/des.md says why.
 *  - near: a sorted array of at most NEAR_MAX entries, all with key <= edge.  A small simulation never leaves
 * it.
 *  - ties: a heap of entries that share one nanosecond, in use only when more of them fall due than near
 * holds.
 *  - wheel: a radix calendar.  A time is read as DIGITS digits of base 256; an entry lies in the bucket
 * (level, digit) of the highest digit in which its time differs from `base`.  All of level 0 precedes all of
 * level 1 and so on, hence the first non-empty bucket of the lowest level holds the next entries.  Bucket
 * widths are powers of 256 ns whatever the times are: nothing is sampled, no resize, at most 8 moves an
 * entry.
 *
 *  Law: base <= the clock whenever the wheel holds anything, so that whatever is scheduled has a bucket.
 *  Cancelled entries stay until they are reached or swept; sim.c knows which are alive. */

__extension__ typedef unsigned __int128 fc_event_key;

typedef struct {
  uint64_t order; /* priority above, sequence number below: unique */
  uint64_t time;  /* fc_time with the sign bit flipped: sorts as unsigned */
  uint32_t slot;
} fc_event_entry;

enum {
  NEAR_MAX = 32,  /* measured: 24..48 are alike, 16 and 64 worse */
  PULL_MAX = 16,  /* most entries that one refill brings: leaves room to insert before the next spill */
  DIGITS = 8,     /* of a 64-bit time */
  DIGIT_BITS = 8, /* 256 buckets a level: their ends fit the first-level cache while a bucket is spread */
  BUCKETS = 1 << DIGIT_BITS,
  CHUNK_MAX = 20, /* entries of a chunk: 512 bytes */
  WARM_MAX = 512, /* entries of a bucket whose slots are prefetched as it is spread: half of a 32 KiB cache */
};

typedef struct fc_event_chunk {
  struct fc_event_chunk *next, *skip; /* skip: the one after next, to be prefetched in time */
  fc_event_entry item[CHUNK_MAX];
} fc_event_chunk;

typedef struct {
  fc_event_chunk *top; /* the one chunk that may be part full; NULL: empty bucket */
  uint32_t fill;       /* entries in top; CHUNK_MAX when there is no top, so that one test finds both */
  uint32_t chunks;
} fc_event_bucket;

/** What an event does, apart from when.  The calendar only warms the cache with it: it moves 24-byte entries,
 *  and a slot stays where it is until its entry is next. */
typedef struct {
  uint64_t order; /* of its calendar entry, which is alive while they agree; 0: free */
  fc_event_fn *action;
  void *subject;
  uint64_t datum; /* free: the next free slot */
} fc_event_slot;

typedef struct fc_calendar {
  fc_event_key edge; /* near takes keys up to this one; all ones: there is nothing but near */
  uint32_t near_n;
  fc_event_entry near[NEAR_MAX]; /* latest first: the next event is the last item */

  fc_event_entry *ties; /* binary heap, soonest first; all of the time of edge */
  size_t ties_n, ties_max;

  uint64_t base;
  uint32_t levels; /* bit set: level not empty */
  uint64_t used[DIGITS][BUCKETS / 64];
  fc_event_bucket bucket[DIGITS][BUCKETS];

  fc_event_chunk *free;
  size_t free_n, chunk_n;
  struct fc_event_block *blocks;

  fc_event_slot *slots; /* sim.c's; 1-based: slot 0 is never used */
} fc_calendar;

typedef bool fc_event_alive(const void *context, const fc_event_entry *entry);

void fc_calendar_init(fc_calendar *calendar);
void fc_calendar_fini(fc_calendar *calendar);
/** fc_calendar_put where near has no place for it.  @param now the clock, flipped */
bool fc_calendar_put_far(fc_calendar *calendar, uint64_t order, uint64_t time, uint32_t slot, uint64_t now);

typedef enum { FC_REFILL_DONE, FC_REFILL_NONE, FC_REFILL_NOMEM } fc_refill;
/** Brings the next entries into the empty near.  NONE: the calendar is empty or all lies after `last`. */
fc_refill fc_calendar_refill(fc_calendar *calendar, uint64_t last);
/** Drops every entry that is not alive. */
void fc_calendar_sweep(fc_calendar *calendar, fc_event_alive *alive, const void *context);

static inline fc_event_key fc_event_key_of(const fc_event_entry *e) {
  return (fc_event_key)e->time << 64 | e->order;
}

/* @pre near_n < NEAR_MAX.  Field by field: a copy of 16 bytes at once would wait for the two 8-byte stores
 * that wrote them to reach the cache; M/M/1 gains 5 %.  Ordering the first two without a branch gained
 * nothing. */
static inline void fc_calendar_put_near(fc_calendar *c, uint64_t order, uint64_t time, uint32_t slot) {
  fc_event_entry *at = c->near + c->near_n++;
  for (; at > c->near; at--) {
    uint64_t next_order = at[-1].order, next_time = at[-1].time;
    __asm__("" : "+r"(next_order), "+r"(next_time)); /* emits nothing; keeps gcc from joining the two */
    if (((fc_event_key)next_time << 64 | next_order) > ((fc_event_key)time << 64 | order)) break;
    *at = (fc_event_entry){next_order, next_time, at[-1].slot};
  }
  *at = (fc_event_entry){order, time, slot};
}

/** Adds an entry.  @return false, nothing changed, when memory ran out */
static inline bool fc_calendar_put(fc_calendar *c, fc_event_entry entry, uint64_t now) {
  fc_event_key key = fc_event_key_of(&entry);
  if (key > c->edge || c->near_n == NEAR_MAX)
    return fc_calendar_put_far(c, entry.order, entry.time, entry.slot, now);
  fc_calendar_put_near(c, entry.order, entry.time, entry.slot);
  return true;
}

#endif
