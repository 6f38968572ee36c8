/* SPDX-License-Identifier: Apache-2.0 */
#include "calendar.h"

#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/assert.h>

_Static_assert(PULL_MAX <= CHUNK_MAX && PULL_MAX < NEAR_MAX, "what is pulled is one chunk and leaves room");

#define EDGE_NONE (~(fc_event_key)0)

typedef struct fc_event_block {
  struct fc_event_block *next;
  fc_event_chunk chunk[];
} block;

typedef fc_event_entry entry;
typedef fc_event_chunk chunk;
typedef fc_event_bucket bucket;

void fc_calendar_init(fc_calendar *c) {
  memset(c, 0, sizeof *c);
  c->edge = EDGE_NONE;
  for (int i = 0; i < DIGITS * BUCKETS; i++) c->bucket[i / BUCKETS][i % BUCKETS].fill = CHUNK_MAX;
}

void fc_calendar_fini(fc_calendar *c) {
  for (block *b = c->blocks, *next; b; b = next) {
    next = b->next;
    free(b);
  }
  free(c->ties);
}

/* --- chunks: a pool that grows by a quarter and is given back with the calendar --- */

static bool reserve_chunks(fc_calendar *c, size_t n) {
  if (c->free_n >= n) return true;
  size_t more = n - c->free_n, quarter = c->chunk_n / 4;
  if (more < quarter) more = quarter;
  if (more < 32) more = 32;
  block *b = malloc(sizeof *b + more * sizeof(chunk));
  if (!b) return false;
  b->next = c->blocks;
  c->blocks = b;
  for (size_t i = more; i-- > 0;) {
    b->chunk[i].next = c->free;
    c->free = &b->chunk[i];
  }
  c->free_n += more;
  c->chunk_n += more;
  return true;
}

static void release_chunk(fc_calendar *c, chunk *k) {
  k->next = c->free;
  c->free = k;
  c->free_n++;
}

/* --- ties --- */

static bool reserve_ties(fc_calendar *c, size_t n) {
  if (n <= c->ties_max) return true;
  size_t max = n + n / 2;
  entry *grown = realloc(c->ties, max * sizeof *grown);
  if (!grown) return false;
  c->ties = grown;
  c->ties_max = max;
  return true;
}

static void ties_up(entry *heap, size_t i, entry e) {
  for (; i > 0 && heap[(i - 1) / 2].order > e.order; i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
  heap[i] = e;
}

static void ties_down(entry *heap, size_t n, size_t i, entry e) {
  for (size_t child; (child = 2 * i + 1) < n; i = child) {
    if (child + 1 < n && heap[child + 1].order < heap[child].order) child++;
    if (heap[child].order > e.order) break;
    heap[i] = heap[child];
  }
  heap[i] = e;
}

static void ties_heapify(fc_calendar *c) {
  for (size_t i = c->ties_n / 2; i-- > 0;) ties_down(c->ties, c->ties_n, i, c->ties[i]);
}

static entry ties_pop(fc_calendar *c) {
  entry first = c->ties[0];
  if (--c->ties_n) ties_down(c->ties, c->ties_n, 0, c->ties[c->ties_n]);
  return first;
}

/* --- wheel --- */

static void wheel_open(fc_calendar *c, unsigned level, unsigned digit) {
  bucket *b = &c->bucket[level][digit];
  chunk *k = c->free;
  c->free = k->next;
  c->free_n--;
  k->next = b->top;
  k->skip = b->top ? b->top->next : NULL;
  b->top = k;
  b->fill = 0;
  b->chunks++;
  c->used[level][digit / 64] |= UINT64_C(1) << digit % 64;
  c->levels |= 1u << level;
}

/* @pre entry->time >= base, a chunk is free */
static inline void wheel_put(fc_calendar *c, const entry *e) {
  /* the 1 keeps the count of zeros defined and changes no level */
  unsigned level = (63u - (unsigned)__builtin_clzll((e->time ^ c->base) | 1)) / DIGIT_BITS;
  unsigned digit = (unsigned)(e->time >> level * DIGIT_BITS) % BUCKETS;
  bucket *b = &c->bucket[level][digit];
  if (b->fill == CHUNK_MAX) wheel_open(c, level, digit);
  b->top->item[b->fill++] = *e;
}

/* Empties a bucket; what it held is returned. */
static bucket wheel_take(fc_calendar *c, unsigned level, unsigned digit) {
  bucket taken = c->bucket[level][digit];
  c->bucket[level][digit] = (bucket){.fill = CHUNK_MAX};
  c->used[level][digit / 64] &= ~(UINT64_C(1) << digit % 64);
  uint64_t any = 0;
  for (unsigned i = 0; i < BUCKETS / 64; i++) any |= c->used[level][i];
  if (!any) c->levels &= ~(1u << level);
  return taken;
}

/* First non-empty bucket from `digit` on; BUCKETS: none. */
static unsigned wheel_next(const fc_calendar *c, unsigned level, unsigned digit) {
  for (unsigned i = digit / 64; i < BUCKETS / 64; i++) {
    uint64_t bits = c->used[level][i];
    if (i == digit / 64) bits &= ~UINT64_C(0) << digit % 64;
    if (bits) return i * 64 + (unsigned)__builtin_ctzll(bits);
  }
  return BUCKETS;
}

static size_t bucket_n(const bucket *b) {
  return b->chunks ? (size_t)(b->chunks - 1) * CHUNK_MAX + b->fill : 0;
}

/* All of its lines: 512 bytes are eight. */
static void prefetch_chunk(const chunk *k) {
  for (size_t line = 0; line < sizeof *k; line += 64) __builtin_prefetch((const char *)k + line);
}

/* Copies the top chunk of a taken bucket out and gives the chunk back.  @return entries copied */
static unsigned bucket_pop(fc_calendar *c, bucket *b, entry out[CHUNK_MAX]) {
  chunk *k = b->top;
  unsigned n = b->fill;
  for (unsigned i = 0; i < n; i++) out[i] = k->item[i]; /* few: a call of memcpy takes longer */
  b->top = k->next;
  b->fill = CHUNK_MAX;
  b->chunks--;
  if (k->skip) prefetch_chunk(k->skip);
  release_chunk(c, k);
  return n;
}

/* --- between the tiers --- */

/* The later half of a full near goes back; its place in the wheel is open because base <= now <= its time. */
static bool spill(fc_calendar *c, uint64_t now) {
  enum { KEEP = NEAR_MAX / 2, MOVE = NEAR_MAX - KEEP };
  if (!reserve_chunks(c, MOVE)) return false;
  if (c->ties_n && !reserve_ties(c, c->ties_n + MOVE)) return false;
  if (!c->levels) c->base = now;
  uint64_t tie = (uint64_t)(c->edge >> 64);
  for (int i = 0; i < MOVE; i++) {
    if (c->ties_n && c->near[i].time == tie)
      ties_up(c->ties, c->ties_n++, c->near[i]);
    else
      wheel_put(c, &c->near[i]);
  }
  c->edge = fc_event_key_of(&c->near[MOVE - 1]) - 1;
  memmove(c->near, c->near + MOVE, KEEP * sizeof *c->near);
  c->near_n = KEEP;
  return true;
}

bool fc_calendar_put_far(fc_calendar *c, uint64_t order, uint64_t time, uint32_t slot, uint64_t now) {
  const entry e = {order, time, slot};
  fc_event_key key = fc_event_key_of(&e);
  if (key <= c->edge) {
    if (!spill(c, now)) return false;
    if (key <= c->edge) {
      fc_calendar_put_near(c, order, time, slot);
      return true;
    }
  }
  if (c->ties_n && e.time == (uint64_t)(c->edge >> 64)) {
    if (!reserve_ties(c, c->ties_n + 1)) return false;
    ties_up(c->ties, c->ties_n++, e);
    return true;
  }
  if (!c->free && !reserve_chunks(c, 1)) return false;
  wheel_put(c, &e);
  return true;
}

/* The next few of the heap; when it empties, near takes the rest of their nanosecond. */
static void pull_ties(fc_calendar *c) {
  uint64_t time = c->ties[0].time;
  unsigned n = c->ties_n < PULL_MAX ? (unsigned)c->ties_n : PULL_MAX;
  for (unsigned i = n; i-- > 0;) c->near[i] = ties_pop(c);
  c->near_n = n;
  if (c->ties_n)
    c->edge = fc_event_key_of(&c->ties[0]) - 1;
  else
    c->edge = c->levels ? (fc_event_key)time << 64 | UINT64_MAX : EDGE_NONE;
}

/* A whole nanosecond of more entries than near holds. */
static bool pull_nanosecond(fc_calendar *c, unsigned digit) {
  if (!reserve_ties(c, bucket_n(&c->bucket[0][digit]))) return false;
  bucket taken = wheel_take(c, 0, digit);
  /* chunks come newest first: filled from the end they are in sequence already, and so a heap, where
   * priorities agree */
  c->ties_n = bucket_n(&taken);
  for (size_t end = c->ties_n; taken.chunks;) {
    entry item[CHUNK_MAX];
    unsigned n = bucket_pop(c, &taken, item);
    end -= n;
    memcpy(c->ties + end, item, n * sizeof *item);
  }
  ties_heapify(c);
  pull_ties(c);
  return true;
}

/* Prefetches the slots of a bucket's entries. */
static void warm(const fc_calendar *c, const bucket *b) {
  unsigned n = b->fill;
  for (const chunk *k = b->top; k; k = k->next, n = CHUNK_MAX) {
    if (k->skip) prefetch_chunk(k->skip);
    for (unsigned i = 0; i < n; i++) __builtin_prefetch(&c->slots[k->item[i].slot]);
  }
}

/* Spreads a bucket over the levels below. */
static bool cascade(fc_calendar *c, unsigned level, unsigned digit) {
  size_t n = bucket_n(&c->bucket[level][digit]);
  /* read chunks are given back as it goes: only the part-full ones of each target come on top */
  if (!reserve_chunks(c, n < BUCKETS ? n : BUCKETS)) return false;
  /* One bucket ahead: with 10^6 pending, the wait for a slot and for its page's address is the largest single
   * cost, and a prefetch at the last moment hides but half of it. */
  unsigned ahead = wheel_next(c, level, digit + 1);
  if (ahead < BUCKETS && bucket_n(&c->bucket[level][ahead]) <= WARM_MAX) warm(c, &c->bucket[level][ahead]);
  bucket taken = wheel_take(c, level, digit);
  while (taken.chunks) {
    entry item[CHUNK_MAX];
    unsigned m = bucket_pop(c, &taken, item);
    for (unsigned i = 0; i < m; i++) wheel_put(c, &item[i]);
  }
  return true;
}

/* Brings the bucket and as many of those after it on its level as near has room for. */
static void pull(fc_calendar *c, unsigned level, unsigned digit) {
  entry item[PULL_MAX + CHUNK_MAX];
  unsigned n = 0, last = digit;
  for (unsigned d = digit; d < BUCKETS; d = wheel_next(c, level, d + 1)) {
    if (n + bucket_n(&c->bucket[level][d]) > PULL_MAX) break;
    bucket taken = wheel_take(c, level, d);
    n += bucket_pop(c, &taken, item + n);
    last = d;
  }
  /* the buckets came in order: from the back, hardly anything has to be shifted */
  while (n-- > 0) fc_calendar_put_near(c, item[n].order, item[n].time, item[n].slot);
  unsigned shift = level * DIGIT_BITS;
  uint64_t end = ((c->base >> shift) - digit + last) << shift | ((UINT64_C(1) << shift) - 1);
  c->edge = c->levels ? (fc_event_key)end << 64 | UINT64_MAX : EDGE_NONE;
}

fc_refill fc_calendar_refill(fc_calendar *c, uint64_t last) {
  FC_VALIDATE(c->near_n == 0);
  if (c->ties_n) {
    if (c->ties[0].time > last) return FC_REFILL_NONE;
    pull_ties(c);
    return FC_REFILL_DONE;
  }
  while (c->levels) {
    unsigned level = (unsigned)__builtin_ctz(c->levels), digit = wheel_next(c, level, 0);
    unsigned shift = level * DIGIT_BITS;
    /* the bucket's first nanosecond: the digits of base above it, its own, zeros */
    uint64_t start = (((c->base >> shift) & ~(uint64_t)(BUCKETS - 1)) | digit) << shift;
    if (start > last) return FC_REFILL_NONE; /* not before its time: base must not overtake the clock */
    c->base = start;
    if (bucket_n(&c->bucket[level][digit]) <= PULL_MAX) {
      pull(c, level, digit);
      return FC_REFILL_DONE;
    }
    if (level == 0) return pull_nanosecond(c, digit) ? FC_REFILL_DONE : FC_REFILL_NOMEM;
    if (!cascade(c, level, digit)) return FC_REFILL_NOMEM;
  }
  return FC_REFILL_NONE;
}

/* --- sweep --- */

static void sweep_bucket(fc_calendar *c, unsigned level, unsigned digit, fc_event_alive *alive,
                         const void *context) {
  bucket taken = wheel_take(c, level, digit);
  while (taken.chunks) {
    entry item[CHUNK_MAX];
    unsigned n = bucket_pop(c, &taken, item);
    for (unsigned i = 0; i < n; i++)
      if (alive(context, &item[i])) wheel_put(c, &item[i]);
  }
}

void fc_calendar_sweep(fc_calendar *c, fc_event_alive *alive, const void *context) {
  uint32_t near_n = 0;
  for (uint32_t i = 0; i < c->near_n; i++)
    if (alive(context, &c->near[i])) c->near[near_n++] = c->near[i];
  c->near_n = near_n;

  size_t ties_n = 0;
  for (size_t i = 0; i < c->ties_n; i++)
    if (alive(context, &c->ties[i])) c->ties[ties_n++] = c->ties[i];
  c->ties_n = ties_n;
  ties_heapify(c);

  for (unsigned level = 0; level < DIGITS; level++)
    for (unsigned d = wheel_next(c, level, 0); d < BUCKETS; d = wheel_next(c, level, d + 1))
      sweep_bucket(c, level, d, alive, context);
}
