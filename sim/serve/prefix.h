/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SERVE_PREFIX_H
#define FC_SERVE_PREFIX_H

#include <stdbool.h>
#include <stdint.h>

#include <fleetcast/base/status.h>

/** Named prompt blocks in the cache: by hash, counted by users; those without one are kept until room is
 *  needed, least recently used first.  Tells cost in blocks of the replica. */
typedef struct fc_prefix_node {
  uint64_t hash;
  uint32_t users, weight; /* weight: blocks of the replica that it covers */
  uint32_t older, newer;  /* of the unused; 0 the list's own node */
} fc_prefix_node;

typedef struct fc_prefix {
  fc_prefix_node *node;       /* [0]: head of the list of unused */
  uint32_t *slot;             /* hash table: node, 0 none */
  uint32_t n, capacity, free; /* free: list by `older` */
  uint64_t mask;
  int64_t idle_blocks, live_blocks; /* without users; with */
} fc_prefix;

void fc_prefix_fini(fc_prefix *prefix);
/** Leading blocks of `block` that are held, at most `n`; `idle`: blocks of the replica among them that no one
 *  uses now. */
uint32_t fc_prefix_find(const fc_prefix *prefix, const uint64_t *block, uint32_t n, int64_t *idle);
/** One more user of a block that is held. */
void fc_prefix_use(fc_prefix *prefix, uint64_t hash);
/** One user less; without any it is the most recently used of the idle. */
void fc_prefix_leave(fc_prefix *prefix, uint64_t hash);
/** A new block with one user.  @return FC_OK | FC_E_NOMEM; *held: it was there already, and gets the user */
FC_NODISCARD
fc_status fc_prefix_add(fc_prefix *prefix, uint64_t hash, uint32_t weight, bool *held);
/** Throws the least recently used idle block out.  @return its weight, 0: none idle */
int64_t fc_prefix_evict(fc_prefix *prefix);

#endif
