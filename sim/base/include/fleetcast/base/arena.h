/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BASE_ARENA_H
#define FC_BASE_ARENA_H

#include <stddef.h>

#include <fleetcast/base/status.h>

/** A bump allocator: everything that belongs to one scenario dies together.
 *
 *  Zero-initialise it (`fc_arena a = {0}`); blocks come zeroed and aligned for any type. Not thread-safe. */
typedef struct fc_arena {
  struct fc_arena_block *head;
} fc_arena;

/** `size` zeroed bytes, or NULL when memory runs out.  Size 0 gives a valid unique pointer. */
void *fc_arena_alloc(fc_arena *arena, size_t size);
/** `count * size` zeroed bytes, NULL on overflow or when memory runs out. */
void *fc_arena_array(fc_arena *arena, size_t count, size_t size);
/** A NUL-terminated copy of `length` bytes. */
char *fc_arena_text(fc_arena *arena, const char *text, size_t length);
/** Frees all; the arena is empty and usable again. */
void fc_arena_fini(fc_arena *arena);

#endif
