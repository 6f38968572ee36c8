/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of the cache: free, owned by a request, shared through the prefix cache. */
#include "replica_private.h"

#include <fleetcast/base/assert.h>

int64_t fc_kv_available(const fc_replica *r) {
  return r->free_blocks + r->prefix.idle_blocks;
}

int64_t fc_kv_own(const fc_replica *r, const fc_slot *s) {
  int64_t held = s->state == SLOT_DECODE ? s->kappa + r->tick : s->target;
  return fc_kv_blocks_of(r, held) - (int64_t)s->n_held * s->weight;
}

int64_t fc_kv_need(const fc_replica *r, int64_t ticks) {
  int64_t size = r->def.block_tokens, rounds = ticks / size, need = rounds * r->decoding;
  int64_t at = r->tick % size;
  for (int64_t left = ticks - rounds * size; left > 0; left--) {
    need += r->phase[at];
    if (++at == size) at = 0;
  }
  return need;
}

int64_t fc_kv_ticks(const fc_replica *r, int64_t blocks, int64_t most) {
  int64_t size = r->def.block_tokens;
  int64_t rounds = blocks / r->decoding, ticks = rounds * size, at = r->tick % size;
  if (rounds > most / size) return most;
  for (blocks -= rounds * r->decoding; ticks < most && r->phase[at] <= blocks; ticks++) {
    blocks -= r->phase[at];
    if (++at == size) at = 0;
  }
  return ticks;
}

void fc_kv_take(fc_replica *r, int64_t blocks) {
  while (r->free_blocks < blocks) {
    int64_t freed = fc_prefix_evict(&r->prefix);
    FC_ASSERT(freed > 0); /* whoever takes has looked at what is available */
    r->result->cache_evicted += (uint64_t)freed;
    r->result->kv_freed += (uint64_t)freed;
    r->free_blocks += freed;
  }
  r->free_blocks -= blocks;
  r->own_blocks += blocks;
  r->result->kv_allocated += (uint64_t)blocks;
  int64_t used = r->def.kv_blocks - fc_kv_available(r);
  if (used > r->kv_peak) r->kv_peak = used;
}

void fc_kv_give(fc_replica *r, int64_t blocks) {
  r->free_blocks += blocks;
  r->own_blocks -= blocks;
  r->result->kv_freed += (uint64_t)blocks;
}

fc_status fc_kv_publish(fc_replica *r, fc_slot *s) {
  int64_t size = (int64_t)s->weight * r->def.block_tokens;
  while (s->n_held < s->n_blocks && ((int64_t)s->n_held + 1) * size <= s->input) {
    bool held;
    fc_status status = fc_prefix_add(&r->prefix, s->block[s->n_held], s->weight, &held);
    if (status != FC_OK) return status;
    s->n_held++;
    r->final_blocks -= s->weight;
    if (held) /* someone else computed the same meanwhile */
      fc_kv_give(r, s->weight);
    else
      r->own_blocks -= s->weight;
  }
  return FC_OK;
}

void fc_kv_release(fc_replica *r, fc_slot *s) {
  fc_kv_give(r, fc_kv_own(r, s));
  r->final_blocks -= fc_kv_blocks_of(r, (int64_t)s->input + s->output) - (int64_t)s->n_held * s->weight;
  while (s->n_held > 0)
    fc_prefix_leave(&r->prefix, s->block[--s->n_held]); /* the end of a prompt goes first */
}
