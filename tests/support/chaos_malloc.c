/* SPDX-License-Identifier: Apache-2.0 */
#include "chaos_malloc.h"

#include <stdlib.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *p);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *p);

static struct {
  bool armed, and_later, fired;
  size_t calls, victim, bytes;
  long live;
} chaos;

void fc_chaos_arm(size_t k, bool and_later) {
  chaos.armed = true;
  chaos.and_later = and_later;
  chaos.fired = false;
  chaos.calls = chaos.bytes = 0;
  chaos.victim = k;
  chaos.live = 0;
}

bool fc_chaos_disarm(void) {
  chaos.armed = false;
  return chaos.fired;
}

long fc_chaos_live(void) {
  return chaos.live;
}

size_t fc_chaos_bytes(void) {
  return chaos.bytes;
}

static bool refused(size_t bytes) {
  chaos.bytes += bytes;
  size_t call = chaos.calls++;
  bool refuse = chaos.armed && (call == chaos.victim || (chaos.and_later && call > chaos.victim));
  chaos.fired = chaos.fired || refuse;
  return refuse;
}

static void *counted(void *p) {
  chaos.live += p != NULL;
  return p;
}

void *__wrap_malloc(size_t size) {
  return refused(size) ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t n, size_t size) {
  return refused(n * size) ? NULL : counted(__real_calloc(n, size));
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
  return refused(size) ? NULL : counted(__real_aligned_alloc(alignment, size));
}

void *__wrap_realloc(void *p, size_t size) {
  if (refused(size)) return NULL;
  void *q = __real_realloc(p, size);
  if (!p) (void)counted(q);
  return q;
}

void __wrap_free(void *p) {
  chaos.live -= p != NULL;
  __real_free(p);
}
