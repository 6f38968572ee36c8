/* SPDX-License-Identifier: Apache-2.0 */
#include "memo.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SETS_LEAST = 1 << 6, SETS_MOST = 1 << 17, WAYS = 4, LINE = 64 }; /* at most 25 MB */
/* A file repeats when one in 4 of the sample is found, and until one look in 64 is not. */
enum { SHAPES_OF_ONE = 32, LOOKS = 512, WAKE = LOOKS / 4, STAY = LOOKS / 64 };

struct fc_memo_set {
  fc_memo_key key[WAYS]; /* 0: free; one line of the cache */
  fc_prediction prediction[WAYS];
};

static void make_room(fc_memo *memo, size_t shapes) {
  memo->sets = SETS_LEAST;
  while (memo->sets < SETS_MOST && memo->sets * WAYS < shapes) memo->sets *= 2;
  size_t bytes = memo->sets * sizeof *memo->set;
  memo->set = aligned_alloc(LINE, bytes);
  /* written, not only zeroed: pages that are first read and then written cost every thread a flush */
  if (memo->set) memset(memo->set, 0, bytes);
}

/* Room for the sample first; for all once the file repeats. */
void fc_memo_init(fc_memo *memo, size_t shapes) {
  *memo = (fc_memo){.shapes = shapes};
  make_room(memo, shapes / SHAPES_OF_ONE);
}

static void widen(fc_memo *memo) {
  free(memo->set);
  make_room(memo, memo->shapes);
  memo->wide = true;
}

void fc_memo_fini(fc_memo *memo) {
  free(memo->set);
  memo->set = NULL;
}

static void mix(fc_memo_key *key, uint64_t word, uint64_t column) {
  uint64_t a = (key->word[0] ^ word) * 0x9e3779b97f4a7c15u,
           b = (key->word[1] + (word ^ column)) * 0xd6e8feb86659fd93u;
  key->word[0] = a ^ a >> 32;
  key->word[1] = b ^ b >> 29;
}

/* One shape in so many, told sooner than by its key. */
static bool is_sampled(const fc_measure_row *row) {
  uint64_t sum = 0, word;
  for (unsigned i = 0; i < (unsigned)FC_MEASURE_latency_us; i++) {
    memcpy(&word, &row->number[i], sizeof word);
    sum += word;
  }
  return (sum * 0x9e3779b97f4a7c15u >> 32) % SHAPES_OF_ONE == 0;
}

/* Two independent 64-bit hashes of the columns that are not empty: that two shapes of a file share both is as
 * likely as a memory error. */
static void key_of(fc_memo_key *key, uint64_t family, const fc_measure_row *row) {
  *key = (fc_memo_key){{family, ~family}};
  for (unsigned i = 0; i < (unsigned)FC_MEASURE_latency_us; i++) {
    if (isnan(row->number[i])) continue;
    uint64_t word;
    memcpy(&word, &row->number[i], sizeof word);
    mix(key, word ^ (uint64_t)i << 1, i);
  }
  const fc_slice *routing = &row->text[FC_MEASURE_routing];
  for (size_t i = 0; i < routing->length; i++) mix(key, (unsigned char)routing->text[i], i);
  key->word[0] |= 1; /* never free */
}

static fc_memo_set *set_of(const fc_memo *memo, const fc_memo_key *key) {
  return &memo->set[(size_t)(key->word[1] >> 20) & (memo->sets - 1)];
}

void fc_memo_expect(fc_memo_key *key, const fc_memo *memo, uint64_t family, const fc_measure_row *row) {
  key->word[0] = 0;
  if (!memo->set || (!memo->repeats && !is_sampled(row))) return;
  key_of(key, family, row);
  __builtin_prefetch(set_of(memo, key));
}

static bool find(fc_prediction *out, const fc_memo *memo, const fc_memo_key *key) {
  const fc_memo_set *set = set_of(memo, key);
  for (int i = 0; i < WAYS; i++)
    if (set->key[i].word[0] == key->word[0] && set->key[i].word[1] == key->word[1]) {
      *out = set->prediction[i];
      return true;
    }
  return false;
}

bool fc_memo_find(fc_prediction *out, fc_memo *memo, const fc_memo_key *key) {
  if (!key->word[0] || !memo->set) return false;
  bool found = find(out, memo, key);
  memo->found += found;
  if (++memo->looks == LOOKS) {
    memo->repeats = memo->found >= (memo->repeats ? STAY : WAKE);
    memo->looks = memo->found = 0;
    if (memo->repeats && !memo->wide) widen(memo);
  }
  return found;
}

void fc_memo_keep(const fc_memo *memo, const fc_memo_key *key, const fc_prediction *prediction) {
  if (!key->word[0] || !memo->set) return;
  fc_memo_set *set = set_of(memo, key);
  int at = 0;
  while (at < WAYS && set->key[at].word[0]) at++;
  if (at == WAYS) at = (int)(key->word[0] >> 40) % WAYS; /* any goes */
  set->key[at] = *key;
  set->prediction[at] = *prediction;
}
