/* SPDX-License-Identifier: Apache-2.0 */
#include "memo.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS = 1 << 18 };

void fc_memo_init(fc_memo *memo) {
  memo->slot = calloc(SLOTS, sizeof *memo->slot);
}

void fc_memo_fini(fc_memo *memo) {
  free(memo->slot);
  memo->slot = NULL;
}

/* Two independent 64-bit hashes: that two shapes of a file share both is as likely as a memory error. */
static void hash(uint64_t key[2], uint64_t family, const fc_op *op) {
  enum { WORDS = sizeof *op / sizeof(uint64_t) };
  _Static_assert(sizeof *op % sizeof(uint64_t) == 0, "an operator is whole words");
  uint64_t word[WORDS], a = family * 0x9e3779b97f4a7c15u, b = ~family;
  memcpy(word, op, sizeof word);
  for (size_t i = 0; i < WORDS; i++) {
    a = (a ^ word[i]) * 0x9e3779b97f4a7c15u;
    a ^= a >> 32;
    b = (b + word[i]) * 0xd6e8feb86659fd93u;
    b ^= b >> 29;
  }
  key[0] = a | 1; /* never free */
  key[1] = b;
}

fc_memo_slot *fc_memo_at(const fc_memo *memo, uint64_t family, const fc_op *op, bool *known) {
  *known = false;
  if (!memo->slot) return NULL;
  uint64_t key[2];
  hash(key, family, op);
  fc_memo_slot *slot = &memo->slot[(key[1] >> 20) % SLOTS];
  *known = slot->key[0] == key[0] && slot->key[1] == key[1];
  memcpy(slot->key, key, sizeof key);
  return slot;
}
