/* SPDX-License-Identifier: Apache-2.0 */
#include "prefix.h"

#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/assert.h>

/* Finaliser of MurmurHash3: hashes of a trace may be small counters. */
static uint64_t mix(uint64_t h) {
  h ^= h >> 33;
  h *= UINT64_C(0xff51afd7ed558ccd);
  h ^= h >> 33;
  h *= UINT64_C(0xc4ceb9fe1a85ec53);
  return h ^ h >> 33;
}

void fc_prefix_fini(fc_prefix *p) {
  free(p->node);
  free(p->slot);
  *p = (fc_prefix){0};
}

/* Slot that holds the hash, or the empty one where it would go. */
static uint64_t place(const fc_prefix *p, uint64_t hash) {
  uint64_t i = mix(hash) & p->mask;
  while (p->slot[i] && p->node[p->slot[i]].hash != hash) i = (i + 1) & p->mask;
  return i;
}

static uint32_t lookup(const fc_prefix *p, uint64_t hash) {
  return p->n ? p->slot[place(p, hash)] : 0;
}

static fc_status grow(fc_prefix *p) {
  uint32_t capacity = p->capacity ? p->capacity * 2 : 64;
  if (capacity >= UINT32_C(1) << 30) return FC_E_NOMEM;
  fc_prefix_node *node = realloc(p->node, capacity * sizeof *node);
  if (!node) return FC_E_NOMEM;
  p->node = node;
  uint32_t *slot = calloc((size_t)capacity * 2, sizeof *slot);
  if (!slot) return FC_E_NOMEM;
  if (!p->capacity) node[0] = (fc_prefix_node){0};
  uint32_t first = p->capacity ? p->capacity : 1;
  for (uint32_t i = capacity; i-- > first;) {
    node[i] = (fc_prefix_node){.older = p->free};
    p->free = i;
  }
  free(p->slot);
  p->slot = slot;
  p->mask = (uint64_t)capacity * 2 - 1;
  for (uint32_t i = 1; i < first; i++) /* all in use: the free list was empty */
    p->slot[place(p, node[i].hash)] = i;
  p->capacity = capacity;
  return FC_OK;
}

/* --- the list of idle blocks: node[0].newer is the oldest, node[0].older the most recent --- */

static void unlink_idle(fc_prefix *p, uint32_t i) {
  fc_prefix_node *n = &p->node[i];
  p->node[n->older].newer = n->newer;
  p->node[n->newer].older = n->older;
}

static void link_newest(fc_prefix *p, uint32_t i) {
  fc_prefix_node *n = &p->node[i], *end = &p->node[0];
  n->older = end->older;
  n->newer = 0;
  p->node[end->older].newer = i;
  end->older = i;
}

uint32_t fc_prefix_find(const fc_prefix *p, const uint64_t *block, uint32_t n, int64_t *idle) {
  *idle = 0;
  for (uint32_t k = 0; k < n; k++) {
    uint32_t i = lookup(p, block[k]);
    if (!i) return k;
    if (!p->node[i].users) *idle += p->node[i].weight;
  }
  return n;
}

static void use(fc_prefix *p, uint32_t i) {
  fc_prefix_node *n = &p->node[i];
  if (n->users++) return;
  unlink_idle(p, i);
  p->idle_blocks -= n->weight;
  p->live_blocks += n->weight;
}

void fc_prefix_use(fc_prefix *p, uint64_t hash) {
  uint32_t i = lookup(p, hash);
  FC_ASSERT(i);
  use(p, i);
}

void fc_prefix_leave(fc_prefix *p, uint64_t hash) {
  uint32_t i = lookup(p, hash);
  FC_ASSERT(i && p->node[i].users > 0);
  fc_prefix_node *n = &p->node[i];
  if (--n->users) return;
  link_newest(p, i);
  p->idle_blocks += n->weight;
  p->live_blocks -= n->weight;
}

fc_status fc_prefix_add(fc_prefix *p, uint64_t hash, uint32_t weight, bool *held) {
  uint32_t i = lookup(p, hash);
  *held = i != 0;
  if (i) {
    use(p, i);
    return FC_OK;
  }
  if (!p->free) {
    fc_status status = grow(p);
    if (status != FC_OK) return status;
  }
  i = p->free;
  p->free = p->node[i].older;
  p->node[i] = (fc_prefix_node){.hash = hash, .users = 1, .weight = weight};
  p->slot[place(p, hash)] = i;
  p->n++;
  p->live_blocks += weight;
  return FC_OK;
}

/* Out of the hash table: later ones of the run move up. */
static void erase(fc_prefix *p, uint64_t at) {
  for (uint64_t i = at;;) {
    p->slot[at] = 0;
    for (;;) {
      i = (i + 1) & p->mask;
      if (!p->slot[i]) return;
      uint64_t home = mix(p->node[p->slot[i]].hash) & p->mask;
      if (((i - home) & p->mask) >= ((i - at) & p->mask)) break;
    }
    p->slot[at] = p->slot[i];
    at = i;
  }
}

int64_t fc_prefix_evict(fc_prefix *p) {
  uint32_t i = p->n ? p->node[0].newer : 0;
  if (!i) return 0;
  fc_prefix_node *n = &p->node[i];
  unlink_idle(p, i);
  erase(p, place(p, n->hash));
  int64_t weight = n->weight;
  p->idle_blocks -= weight;
  *n = (fc_prefix_node){.older = p->free};
  p->free = i;
  p->n--;
  return weight;
}
