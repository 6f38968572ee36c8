/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.hpp"

#include <stdio.h>

/* Barriers of threads, barriers in shared memory, exchange between the lanes of a warp. */

void fc_emulator_check_shared(const void *p, size_t bytes, size_t align, const char *what, const char *file,
                              int line) {
  fc_machine_cpu *m = fc_machine_now;
  const unsigned char *c = static_cast<const unsigned char *>(p);
  if (((uintptr_t)c & (align - 1)) != 0)
    fc_emulator_fail(file, line, "%s: address %p is not aligned to %zu bytes", what, p, align);
  if (c >= m->shared && c < m->shared + FC_WINDOW && (size_t)(c - m->shared) + bytes > m->shared_bytes)
    fc_emulator_fail(file, line, "%s: bytes %zu to %zu of %zu bytes of dynamic shared memory", what,
                     (size_t)(c - m->shared), (size_t)(c - m->shared) + bytes, m->shared_bytes);
  if (c >= m->stacks && c < m->stacks + (size_t)FC_THREADS_MAX * FC_STACK)
    fc_emulator_fail(file, line, "%s: address %p is a thread's own, not shared memory", what, p);
  if (c == nullptr) fc_emulator_fail(file, line, "%s: a null address", what);
}

/* --- barriers of threads --- */

void fc_emulator_barrier(int id, int threads, bool wait, const char *file, int line) {
  fc_machine_cpu *m = fc_machine_now;
  if (id < 1 || id > 15) fc_emulator_fail(file, line, "barrier %d: there are 1 to 15", id);
  if (threads <= 0 || threads % 32 != 0 || threads > m->n_threads)
    fc_emulator_fail(file, line, "barrier %d of %d threads: a multiple of 32, at most the block", id,
                     threads);
  fc_barrier *b = &m->barrier[id];
  if (b->expected != 0 && b->expected != threads)
    fc_emulator_fail(file, line, "barrier %d of %d threads: others said %d", id, threads, b->expected);
  b->expected = threads;
  if (++b->arrived < b->expected) {
    if (wait) fc_emulator_block(FC_WAITS_BARRIER, b, file, line);
    return;
  }
  b->expected = b->arrived = 0;
  for (int i = 0; i < m->n_threads; i++) {
    fc_fiber *f = &m->fiber[i];
    if (f->waits == FC_WAITS_BARRIER && f->what == b) fc_emulator_wake(f);
  }
}

void fc_emulator_syncthreads(const char *file, int line) {
  fc_machine_cpu *m = fc_machine_now;
  fc_barrier *b = &m->barrier[0];
  b->expected = m->n_threads;
  if (++b->arrived < b->expected) {
    fc_emulator_block(FC_WAITS_BARRIER, b, file, line);
    return;
  }
  b->arrived = 0;
  for (int i = 0; i < m->n_threads; i++) {
    fc_fiber *f = &m->fiber[i];
    if (f->waits == FC_WAITS_BARRIER && f->what == b) fc_emulator_wake(f);
  }
}

/* --- barriers in shared memory ---
 *
 * 64 bits: mark (8), phase (1), arrivals expected (14), arrivals pending (14), bytes outstanding (27, signed)
 */

struct mbarrier {
  unsigned phase, expected, pending;
  int64_t bytes;
};

static const uint64_t mbarrier_mark = 0xb5;

static mbarrier mbarrier_load(const uint64_t *bar) {
  uint64_t v = *bar;
  mbarrier b;
  b.phase = (unsigned)(v >> 55) & 1u;
  b.expected = (unsigned)(v >> 41) & 0x3fffu;
  b.pending = (unsigned)(v >> 27) & 0x3fffu;
  b.bytes = (int64_t)(v << 37) >> 37;
  return b;
}

static void mbarrier_store(uint64_t *bar, mbarrier b) {
  *bar = mbarrier_mark << 56 | (uint64_t)b.phase << 55 | (uint64_t)b.expected << 41 |
         (uint64_t)b.pending << 27 | ((uint64_t)b.bytes & 0x7ffffffu);
}

static void mbarrier_check(const uint64_t *bar, const char *file, int line) {
  fc_emulator_check_shared(bar, 8, 8, "mbarrier", file, line);
  if (*bar >> 56 != mbarrier_mark)
    fc_emulator_fail(file, line, "mbarrier %p was not initialised", (const void *)bar);
}

void fc_emulator_mbarrier_text(const void *bar, uint32_t parity, char *text, size_t room) {
  mbarrier b = mbarrier_load(static_cast<const uint64_t *>(bar));
  const unsigned char *c = static_cast<const unsigned char *>(bar), *shared = fc_machine_now->shared;
  bool dynamic = c >= shared && c < shared + FC_WINDOW;
  char where[48];
  if (dynamic)
    snprintf(where, sizeof where, "at dynamic byte %d", (int)(c - shared));
  else
    snprintf(where, sizeof where, "%p", bar);
  snprintf(text, room, "mbarrier %s, parity %u: its phase %u lacks %u of %u arrivals and %lld bytes", where,
           parity, b.phase, b.pending, b.expected, (long long)b.bytes);
}

/* ends the phase when nothing is missing */
static void mbarrier_settle(uint64_t *bar, mbarrier b) {
  fc_machine_cpu *m = fc_machine_now;
  bool ends = b.pending == 0 && b.bytes == 0;
  if (ends) {
    b.phase ^= 1u;
    b.pending = b.expected;
  }
  mbarrier_store(bar, b);
  for (int i = 0; i < m->n_threads && ends && m->n_mbarrier_waits > 0; i++) {
    fc_fiber *f = &m->fiber[i];
    if (f->waits == FC_WAITS_MBARRIER && f->what == bar && f->parity != b.phase) {
      m->n_mbarrier_waits--;
      fc_emulator_wake(f);
    }
  }
}

void fc_mbarrier_init(uint64_t *bar, int arrivals, const char *file, int line) {
  fc_emulator_check_shared(bar, 8, 8, "mbarrier", file, line);
  if (arrivals < 1 || arrivals > FC_THREADS_MAX)
    fc_emulator_fail(file, line, "mbarrier of %d arrivals", arrivals);
  mbarrier b = {0, (unsigned)arrivals, (unsigned)arrivals, 0};
  mbarrier_store(bar, b);
  fc_machine_now->unfenced_inits++;
}

void fc_mbarrier_init_fence() {
  fc_machine_now->unfenced_inits = 0;
}

void fc_mbarrier_arrive(uint64_t *bar, const char *file, int line) {
  fc_mbarrier_expect(bar, 0, file, line);
}

void fc_mbarrier_expect(uint64_t *bar, uint32_t bytes, const char *file, int line) {
  mbarrier_check(bar, file, line);
  mbarrier b = mbarrier_load(bar);
  if (b.pending == 0)
    fc_emulator_fail(file, line, "mbarrier %p: more than its %u arrivals in a phase", (void *)bar,
                     b.expected);
  b.pending--;
  b.bytes += bytes;
  if (b.bytes > (1 << 20) - 1) /* @source PTX ISA, tx-count of an mbarrier */
    fc_emulator_fail(file, line, "mbarrier %p expects %lld bytes, at most 2^20 - 1", (void *)bar,
                     (long long)b.bytes);
  mbarrier_settle(bar, b);
}

void fc_emulator_mbarrier_bytes(uint64_t *bar, uint32_t bytes) {
  mbarrier_check(bar, __FILE__, __LINE__);
  mbarrier b = mbarrier_load(bar);
  b.bytes -= bytes;
  mbarrier_settle(bar, b);
}

void fc_mbarrier_wait(uint64_t *bar, uint32_t parity, const char *file, int line) {
  fc_machine_cpu *m = fc_machine_now;
  mbarrier_check(bar, file, line);
  if (parity > 1) fc_emulator_fail(file, line, "parity %u", parity);
  if (mbarrier_load(bar).phase != parity) return;
  m->current->parity = parity;
  m->n_mbarrier_waits++;
  fc_emulator_block(FC_WAITS_MBARRIER, bar, file, line);
}

/* --- lanes of a warp --- */

void fc_emulator_meet(uint32_t mask, void *mine, fc_meeting_body body, const char *file, int line) {
  fc_machine_cpu *m = fc_machine_now;
  fc_fiber *f = m->current;
  int lane = f->thread.lane, warp = f->number / 32, there = m->n_threads - 32 * warp;
  if (there < 32) mask &= (1u << there) - 1; /* lanes that the block does not have */
  if ((mask >> lane & 1) == 0) fc_emulator_fail(file, line, "lane %d is not in mask %08x", lane, mask);
  fc_meeting *w = nullptr, *spare = nullptr;
  for (fc_meeting &each : m->meeting[warp]) {
    if (each.arrived != 0 && each.mask == mask) w = &each;
    if (each.arrived == 0) spare = &each;
  }
  if (w == nullptr) {
    if (spare == nullptr)
      fc_emulator_fail(file, line, "more than %d masks at once in a warp", (int)FC_MEETINGS);
    w = spare;
    w->mask = mask;
    w->body = body;
  }
  if (w->body != body)
    fc_emulator_fail(file, line, "lanes %08x of the warp are at another collective operation", w->arrived);
  w->lane[lane] = mine;
  w->arrived |= 1u << lane;
  if (w->arrived != mask) {
    fc_emulator_block(FC_WAITS_WARP, w, file, line);
    return;
  }
  body(w->lane, mask);
  w->arrived = 0;
  for (int i = 0; i < 32; i++) {
    if ((mask >> i & 1) != 0 && i != lane) fc_emulator_wake(&m->fiber[32 * warp + i]);
  }
}

static void shuffle_body(void *const *lane, uint32_t mask) {
  for (int i = 0; i < 32; i++) {
    if ((mask >> i & 1) == 0) continue;
    fc_emulated_shuffle *s = static_cast<fc_emulated_shuffle *>(lane[i]);
    int from = s->source < 0 ? i : s->source;
    bool named = (mask >> from & 1) != 0; /* a lane that is not named has no value to give */
    s->out = named ? static_cast<fc_emulated_shuffle *>(lane[from])->in : ~(uint64_t)0;
  }
}

void fc_emulator_shuffle(uint32_t mask, fc_emulated_shuffle *s, const char *file, int line) {
  fc_emulator_meet(mask, s, shuffle_body, file, line);
}

struct ballot {
  bool vote;
  uint32_t votes;
};

static void ballot_body(void *const *lane, uint32_t mask) {
  uint32_t votes = 0;
  for (int i = 0; i < 32; i++) {
    if ((mask >> i & 1) != 0 && static_cast<ballot *>(lane[i])->vote) votes |= 1u << i;
  }
  for (int i = 0; i < 32; i++) {
    if ((mask >> i & 1) != 0) static_cast<ballot *>(lane[i])->votes = votes;
  }
}

uint32_t fc_emulator_ballot(uint32_t mask, bool vote, const char *file, int line) {
  ballot b = {vote, 0};
  fc_emulator_meet(mask, &b, ballot_body, file, line);
  return b.votes;
}

static void elect_body(void *const *lane, uint32_t mask) {
  int elected = __builtin_ctz(mask);
  for (int i = 0; i < 32; i++) {
    if ((mask >> i & 1) != 0) *static_cast<bool *>(lane[i]) = i == elected;
  }
}

bool fc_emulator_elect(const char *file, int line) {
  bool elected = false;
  fc_emulator_meet(0xffffffffu, &elected, elect_body, file, line);
  return elected;
}
