/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/arena.h>

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct fc_arena_block {
  struct fc_arena_block *next;
  size_t used, capacity;
  alignas(max_align_t) unsigned char bytes[];
} block;

enum { BLOCK_BYTES = 64 * 1024 };

void *fc_arena_alloc(fc_arena *arena, size_t size) {
  if (size > SIZE_MAX / 2) return NULL;
  const size_t align = alignof(max_align_t);
  size_t rounded = (size + align) / align * align; /* at least one unit: pointers stay unique */
  block *b = arena->head;
  if (!b || b->capacity - b->used < rounded) {
    size_t capacity = rounded > BLOCK_BYTES ? rounded : BLOCK_BYTES;
    b = calloc(1, sizeof *b + capacity);
    if (!b) return NULL;
    b->capacity = capacity;
    b->next = arena->head;
    arena->head = b;
  }
  void *p = b->bytes + b->used;
  b->used += rounded;
  return p;
}

void *fc_arena_array(fc_arena *arena, size_t count, size_t size) {
  if (size != 0 && count > SIZE_MAX / size) return NULL;
  return fc_arena_alloc(arena, count * size);
}

char *fc_arena_text(fc_arena *arena, const char *text, size_t length) {
  if (length == SIZE_MAX) return NULL;
  char *copy = fc_arena_alloc(arena, length + 1);
  if (copy && length) memcpy(copy, text, length);
  return copy;
}

void fc_arena_fini(fc_arena *arena) {
  for (block *b = arena->head, *next; b; b = next) {
    next = b->next;
    free(b);
  }
  arena->head = NULL;
}
