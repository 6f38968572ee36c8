/* SPDX-License-Identifier: Apache-2.0 */
#include "memo.h"

#include <stdlib.h>
#include <string.h>

enum { SETS_LEAST = 1 << 6, SETS_MOST = 1 << 17, WAYS = 4 }; /* at most 29 MB */

struct fc_memo_slot {
  fc_memo_key key; /* 0: free */
  fc_prediction prediction;
};

void fc_memo_init(fc_memo *memo, size_t shapes) {
  memo->sets = SETS_LEAST;
  while (memo->sets < SETS_MOST && memo->sets * WAYS < shapes) memo->sets *= 2;
  size_t bytes = memo->sets * WAYS * sizeof *memo->slot;
  memo->slot = malloc(bytes);
  /* written, not only zeroed: pages that are first read and then written cost every thread a flush */
  if (memo->slot) memset(memo->slot, 0, bytes);
}

void fc_memo_fini(fc_memo *memo) {
  free(memo->slot);
  memo->slot = NULL;
}

static void mix(fc_memo_key *key, uint64_t word) {
  uint64_t a = (key->word[0] ^ word) * 0x9e3779b97f4a7c15u, b = (key->word[1] + word) * 0xd6e8feb86659fd93u;
  key->word[0] = a ^ a >> 32;
  key->word[1] = b ^ b >> 29;
}

/* Two independent 64-bit hashes: that two shapes of a file share both is as likely as a memory error. */
void fc_memo_key_of(fc_memo_key *key, uint64_t family, const fc_measure_row *row) {
  *key = (fc_memo_key){{family, ~family}};
  for (int i = 0; i < (int)FC_MEASURE_latency_us; i++) {
    uint64_t word;
    memcpy(&word, &row->number[i], sizeof word);
    mix(key, word);
  }
  const fc_slice *routing = &row->text[FC_MEASURE_routing];
  for (size_t i = 0; i < routing->length; i++) mix(key, (unsigned char)routing->text[i]);
  key->word[0] |= 1; /* never free */
}

static fc_memo_slot *set_of(const fc_memo *memo, const fc_memo_key *key) {
  return &memo->slot[(size_t)((key->word[1] >> 20) % memo->sets) * WAYS];
}

bool fc_memo_find(fc_prediction *out, const fc_memo *memo, const fc_memo_key *key) {
  if (!memo->slot) return false;
  const fc_memo_slot *set = set_of(memo, key);
  for (int i = 0; i < WAYS; i++)
    if (set[i].key.word[0] == key->word[0] && set[i].key.word[1] == key->word[1]) {
      *out = set[i].prediction;
      return true;
    }
  return false;
}

void fc_memo_keep(const fc_memo *memo, const fc_memo_key *key, const fc_prediction *prediction) {
  if (!memo->slot) return;
  fc_memo_slot *set = set_of(memo, key);
  memmove(set + 1, set, (WAYS - 1) * sizeof *set); /* the oldest goes */
  set->key = *key;
  set->prediction = *prediction;
}
