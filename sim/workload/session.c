/* SPDX-License-Identifier: Apache-2.0 */
#include "load_parts.h"

#include <math.h>
#include <stdlib.h>

#include <fleetcast/base/assert.h>

#include "trace_build.h"

/* --- a heap --- */

static bool is_before(const fc_waiting *a, const fc_waiting *b) {
  return a->at < b->at || (a->at == b->at && a->order < b->order);
}

void fc_waiters_push(fc_waiters *w, fc_waiting item) {
  size_t i = w->n++;
  while (i > 0 && is_before(&item, &w->item[(i - 1) / 2])) {
    w->item[i] = w->item[(i - 1) / 2];
    i = (i - 1) / 2;
  }
  w->item[i] = item;
}

fc_waiting fc_waiters_pop(fc_waiters *w) {
  FC_ASSERT(w->n > 0);
  fc_waiting first = w->item[0], last = w->item[--w->n];
  size_t i = 0;
  for (size_t child; (child = 2 * i + 1) < w->n; i = child) {
    if (child + 1 < w->n && is_before(&w->item[child + 1], &w->item[child])) child++;
    if (!is_before(&w->item[child], &last)) break;
    w->item[i] = w->item[child];
  }
  w->item[i] = last;
  return first;
}

/* --- sessions, by the number of their request --- */

static size_t home(const fc_sessions *s, uint64_t request) {
  return fc_mix64(request) & (s->n_buckets - 1);
}

void fc_sessions_enter(fc_sessions *s, uint32_t slot) {
  size_t i = home(s, s->session[slot].request);
  while (s->bucket[i]) i = (i + 1) & (s->n_buckets - 1);
  s->bucket[i] = slot + 1;
}

uint32_t fc_sessions_leave(fc_sessions *s, uint64_t request) {
  size_t mask = s->n_buckets - 1, i = home(s, request);
  for (;; i = (i + 1) & mask) {
    FC_ASSERT(s->bucket[i]); /* else `done` was told of a request that is not under way */
    if (s->session[s->bucket[i] - 1].request == request) break;
  }
  uint32_t slot = s->bucket[i] - 1;
  /* close the gap: whoever could have stood here moves up */
  for (size_t k = (i + 1) & mask; s->bucket[k]; k = (k + 1) & mask) {
    size_t from_home = (k - home(s, s->session[s->bucket[k] - 1].request)) & mask;
    if (from_home < ((k - i) & mask)) continue;
    s->bucket[i] = s->bucket[k];
    i = k;
  }
  s->bucket[i] = 0;
  return slot;
}

fc_status fc_sessions_reserve(fc_sessions *s) {
  enum { FIRST = 64 };
  if (s->n < s->capacity) return FC_OK;
  size_t capacity = s->capacity ? 2 * s->capacity : FIRST, n_buckets = 2 * capacity;
  if (capacity > UINT32_MAX / 2) return FC_E_NOMEM;
  fc_session *session = realloc(s->session, capacity * sizeof *session);
  if (session) s->session = session;
  uint32_t *spare = realloc(s->spare, capacity * sizeof *spare);
  if (spare) s->spare = spare;
  fc_waiting *item = realloc(s->waiting.item, capacity * sizeof *item);
  if (item) s->waiting.item = item;
  uint32_t *bucket = session && spare && item ? calloc(n_buckets, sizeof *bucket) : NULL;
  if (!bucket) return FC_E_NOMEM;
  uint32_t *old = s->bucket;
  size_t n_old = s->n_buckets;
  s->bucket = bucket;
  s->n_buckets = n_buckets;
  for (size_t i = 0; i < n_old; i++)
    if (old[i]) fc_sessions_enter(s, old[i] - 1);
  free(old);
  for (size_t i = s->capacity; i < capacity; i++) spare[i] = (uint32_t)i;
  s->capacity = capacity;
  return FC_OK;
}

void fc_sessions_fini(fc_sessions *s) {
  free(s->session);
  free(s->spare);
  free(s->bucket);
  free(s->waiting.item);
}

/* spare[0..n) are taken, the others free, in any order */
uint32_t fc_sessions_begin(fc_sessions *s) {
  FC_ASSERT(s->n < s->capacity);
  return s->spare[s->n++];
}

void fc_sessions_end(fc_sessions *s, uint32_t slot) {
  FC_ASSERT(s->n > 0);
  s->spare[--s->n] = slot;
}

/* --- counts of lengths: exact below 256, then 128 cells an octave --- */

static size_t cell_of(uint32_t tokens) {
  if (tokens < 1u << FC_COUNT_EXACT_BITS) return tokens;
  unsigned octave = 31 - (unsigned)__builtin_clz(tokens); /* >= 8 */
  return (1u << FC_COUNT_EXACT_BITS) + (octave - FC_COUNT_EXACT_BITS) * FC_COUNT_FINE +
         (tokens >> (octave - 7) & (FC_COUNT_FINE - 1));
}

/* The middle of a cell, so that no value is further than 0.4 % from it. */
static uint32_t cell_value(size_t cell) {
  if (cell < 1u << FC_COUNT_EXACT_BITS) return (uint32_t)cell;
  size_t above = cell - (1u << FC_COUNT_EXACT_BITS);
  unsigned octave = FC_COUNT_EXACT_BITS + (unsigned)(above / FC_COUNT_FINE), shift = octave - 7;
  return ((uint32_t)(FC_COUNT_FINE + above % FC_COUNT_FINE) << shift) + (1u << shift) / 2;
}

void fc_counts_add(fc_length_counts *c, uint32_t tokens) {
  c->sum += tokens;
  c->squares += (double)tokens * tokens;
  if (tokens > c->max) c->max = tokens;
  c->count[cell_of(tokens)]++;
}

static uint32_t quantile(const fc_length_counts *c, uint64_t n, double q) {
  uint64_t rank = (uint64_t)ceil(q * (double)n),
           below = 0; /* the smallest value that q of all do not exceed */
  for (size_t i = 0; i < FC_COUNTS; i++) {
    below += c->count[i];
    if (below < rank) continue;
    uint32_t value = cell_value(i);
    return value < c->max ? value : c->max;
  }
  return c->max;
}

fc_load_lengths fc_counts_of(const fc_length_counts *c, uint64_t n) {
  if (n == 0) return (fc_load_lengths){0};
  double mean = c->sum / (double)n, variance = n > 1 ? (c->squares - c->sum * mean) / (double)(n - 1) : 0;
  return (fc_load_lengths){.mean = mean,
                           .sd = variance > 0 ? sqrt(variance) : 0,
                           .p50 = quantile(c, n, 0.5),
                           .p90 = quantile(c, n, 0.9),
                           .p99 = quantile(c, n, 0.99),
                           .max = c->max};
}
