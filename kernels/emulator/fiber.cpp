/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.hpp"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Fibers: a stack each, entered once through ucontext, then switched by _setjmp and _longjmp, which make no
 * system call.  A fiber that has ended parks and serves the next block. */

__thread fc_emulated_thread *fc_emulated_self;
__thread fc_emulated_place fc_emulated_here;
__thread fc_machine_cpu *fc_machine_now;

#if defined(__SANITIZE_ADDRESS__)
extern "C" void __sanitizer_start_switch_fiber(void **fake, const void *bottom, size_t size);
extern "C" void __sanitizer_finish_switch_fiber(void *fake, const void **bottom, size_t *size);
static void leave_stack(void **fake, const void *bottom, size_t size) {
  __sanitizer_start_switch_fiber(fake, bottom, size);
}
static void enter_stack(void *fake, const void **bottom, size_t *size) {
  __sanitizer_finish_switch_fiber(fake, bottom, size);
}
#else
static void leave_stack(void **, const void *, size_t) {}
static void enter_stack(void *, const void **, size_t *) {}
#endif

/* --- reports --- */

void fc_emulator_fail(const char *file, int line, const char *format, ...) {
  fc_machine_cpu *m = fc_machine_now;
  fc_fiber *f = m->current;
  uint3 b = fc_emulated_here.block;
  fprintf(stderr, "emulator: %s: block (%u,%u,%u)", m->name, b.x, b.y, b.z);
  if (f != nullptr) {
    uint3 t = f->thread.index;
    fprintf(stderr, " thread (%u,%u,%u)", t.x, t.y, t.z);
  }
  if (file != nullptr) fprintf(stderr, ": %s:%d", file, line);
  fputs(": ", stderr);
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  m->failed = true;
  if (f != nullptr) leave_stack(nullptr, m->home_stack, m->home_stack_bytes);
  _longjmp(m->home, 1);
}

static void waits_text(const fc_machine_cpu *m, const fc_fiber *f, char *text, size_t room) {
  switch (f->waits) {
  case FC_WAITS_BARRIER: {
    const fc_barrier *b = static_cast<const fc_barrier *>(f->what);
    snprintf(text, room, "barrier %d: %d of %d threads came", (int)(b - m->barrier), b->arrived, b->expected);
    break;
  }
  case FC_WAITS_WARP: {
    const fc_meeting *w = static_cast<const fc_meeting *>(f->what);
    snprintf(text, room, "lanes of its warp: mask %08x, came %08x", w->mask, w->arrived);
    break;
  }
  case FC_WAITS_MBARRIER: fc_emulator_mbarrier_text(f->what, f->parity, text, room); break;
  case FC_WAITS_WGMMA: snprintf(text, room, "a wgmma that not all threads of the warpgroup issued"); break;
  default: snprintf(text, room, "nothing"); break;
  }
}

/* threads that wait for the same thing in the same line make one line of the report */
static void report_waits(const fc_machine_cpu *m) {
  char text[256];
  int lines = 0, ended = m->n_threads - m->n_live;
  if (ended > 0) fprintf(stderr, "emulator:   %d threads have ended\n", ended);
  for (int i = 0; i < m->n_threads && lines < 16; i++) {
    const fc_fiber *f = &m->fiber[i];
    int same = 0;
    bool first = f->waits != FC_WAITS_DONE;
    for (int j = 0; j < m->n_threads && first; j++) {
      const fc_fiber *g = &m->fiber[j];
      bool alike = g->waits == f->waits && g->what == f->what && g->line == f->line && g->parity == f->parity;
      first = !(alike && j < i);
      same += alike;
    }
    if (!first) continue;
    waits_text(m, f, text, sizeof text);
    fprintf(stderr, "emulator:   %d threads, thread %d first, wait at %s:%d for %s\n", same, i, f->file,
            f->line, text);
    lines++;
  }
}

/* --- switching --- */

uint32_t fc_emulator_random(fc_machine_cpu *m, uint32_t below) {
  m->random = m->random * 6364136223846793005u + 1442695040888963407u; /* Knuth, MMIX */
  return (uint32_t)((m->random >> 33) % below);
}

void fc_emulator_wake(fc_fiber *f) {
  fc_machine_cpu *m = fc_machine_now;
  f->waits = FC_WAITS_NOT;
  m->queue[(m->queue_first + m->queue_n++) % FC_THREADS_MAX] = f->number;
}

/* goes on with the next runnable fiber; never returns */
[[noreturn]] static void dispatch(fc_machine_cpu *m, void **fake) {
  while (m->queue_n == 0 && m->n_live > 0 && fc_emulator_deliver(m)) {
  }
  if (m->queue_n == 0 && m->n_live > 0) {
    m->current = nullptr;
    fprintf(stderr, "emulator: %s: every thread waits:\n", m->name);
    report_waits(m);
    leave_stack(fake, m->home_stack, m->home_stack_bytes);
    fc_emulator_fail(nullptr, 0, "deadlock");
  }
  if (m->n_live == 0) {
    m->current = nullptr;
    leave_stack(fake, m->home_stack, m->home_stack_bytes);
    _longjmp(m->home, 1);
  }
  m->queue_n--;
  int at = m->newest_first ? (m->queue_first + m->queue_n) % FC_THREADS_MAX : m->queue_first;
  if (!m->newest_first) m->queue_first = (m->queue_first + 1) % FC_THREADS_MAX;
  fc_fiber *next = &m->fiber[m->queue[at]];
  m->current = next;
  fc_emulated_self = &next->thread;
  leave_stack(fake, next->stack, FC_STACK - FC_GUARD);
  _longjmp(next->at, 1);
}

__attribute__((noinline)) void fc_emulator_block(fc_waits waits, const void *what, const char *file,
                                                 int line) {
  fc_fiber *f = fc_machine_now->current;
  f->waits = waits;
  f->what = what;
  f->file = file;
  f->line = line;
  if (_setjmp(f->at) == 0) dispatch(fc_machine_now, &f->fake_stack);
  enter_stack(fc_machine_now->current->fake_stack, nullptr, nullptr);
}

/* the life of a fiber: one thread of block after block */
static void fiber_main() {
  fc_machine_cpu *m = fc_machine_now;
  enter_stack(nullptr, &m->home_stack, &m->home_stack_bytes);
  for (;;) {
    fc_fiber *f = m->current;
    f->waits = FC_WAITS_DONE;
    if (!f->made) {
      f->made = true;
      if (_setjmp(f->at) == 0) {
        leave_stack(&f->fake_stack, m->home_stack, m->home_stack_bytes);
        _longjmp(m->home, 1);
      }
    } else {
      fc_emulator_check_copies(f);
      fc_emulator_check_wgmma(f);
      m->n_live--;
      if (_setjmp(f->at) == 0) dispatch(m, &f->fake_stack);
    }
    enter_stack(m->current->fake_stack, nullptr, nullptr);
    m->body(m->context);
  }
}

static __attribute__((noinline)) void make_fiber(fc_machine_cpu *m, fc_fiber *f) {
  getcontext(&m->fiber_context);
  m->fiber_context.uc_stack.ss_sp = f->stack;
  m->fiber_context.uc_stack.ss_size = FC_STACK - FC_GUARD;
  m->fiber_context.uc_link = nullptr;
  makecontext(&m->fiber_context, fiber_main, 0);
  m->current = f;
  if (_setjmp(m->home) == 0) {
    leave_stack(&m->home_stack_fake, f->stack, FC_STACK - FC_GUARD);
    swapcontext(&m->home_context, &m->fiber_context);
  }
  enter_stack(m->home_stack_fake, nullptr, nullptr);
}

/* --- machines --- */

static fc_machine_cpu *machine_new() {
  fc_machine_cpu *m = static_cast<fc_machine_cpu *>(calloc(1, sizeof *m));
  if (m == nullptr) return nullptr;
  m->fiber = static_cast<fc_fiber *>(calloc(FC_THREADS_MAX, sizeof *m->fiber));
  size_t stacks = (size_t)FC_THREADS_MAX * FC_STACK;
  void *at =
      mmap(nullptr, stacks, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  m->stacks = at == MAP_FAILED ? nullptr : static_cast<unsigned char *>(at);
  m->shared = static_cast<unsigned char *>(aligned_alloc(FC_WINDOW, FC_WINDOW));
  m->async_view = static_cast<unsigned char *>(malloc(FC_WINDOW));
  m->async_epoch = static_cast<uint32_t *>(malloc(FC_WINDOW / 16 * sizeof(uint32_t)));
  bool whole = m->fiber != nullptr && m->stacks != nullptr && m->shared != nullptr;
  if (!whole || m->async_view == nullptr || m->async_epoch == nullptr) return nullptr; /* out of memory */
  for (int i = 0; i < FC_THREADS_MAX; i++) {
    unsigned char *stack = m->stacks + (size_t)i * FC_STACK;
    mprotect(stack, FC_GUARD, PROT_NONE); /* overflow: a fault, not a neighbour's stack */
    m->fiber[i].number = i;
    m->fiber[i].stack = stack + FC_GUARD;
  }
  m->window[0] = (uintptr_t)m->shared >> FC_WINDOW_BITS;
  m->n_windows = 1;
  return m;
}

static void machine_free(fc_machine_cpu *m) {
  for (int i = 0; i < FC_THREADS_MAX; i++) {
    free(m->fiber[i].store);
    free(m->fiber[i].copy);
  }
  for (fc_warpgroup &g : m->group) {
    free(g.flight);
    for (float *accumulator : g.accumulator) free(accumulator);
  }
  munmap(m->stacks, (size_t)FC_THREADS_MAX * FC_STACK);
  free(m->shared);
  free(m->async_view);
  free(m->async_epoch);
  free(m->load);
  free(m->fiber);
  free(m);
}

/* --- a block --- */

static void block_reset(fc_machine_cpu *m, dim3 block) {
  memset(m->shared, FC_POISON, FC_WINDOW);
  memset(m->async_view, FC_POISON, FC_WINDOW);
  memset(m->async_epoch, 0, FC_WINDOW / 16 * sizeof(uint32_t));
  m->fences = 0;
  memset(m->barrier, 0, sizeof m->barrier);
  memset(m->meeting, 0, sizeof m->meeting);
  m->queue_first = m->queue_n = m->n_loads = m->unfenced_inits = m->n_mbarrier_waits = 0;
  for (fc_warpgroup &g : m->group) g.first_seen = g.complete = g.executed = 0;
  for (int i = 0; i < m->n_threads; i++) {
    fc_fiber *f = &m->fiber[i];
    unsigned u = (unsigned)i;
    f->thread.index = uint3{u % block.x, u / block.x % block.y, u / block.x / block.y};
    f->thread.lane = i % 32;
    f->n_stores = f->store_group = f->n_copies = f->copy_group = 0;
    f->issued = f->groups = 0;
    f->fenced = false;
    memset(f->accumulator, 0, sizeof f->accumulator);
    if (!f->made) make_fiber(m, f);
  }
}

static void block_run(fc_machine_cpu *m, uint64_t seed, dim3 block) {
  m->random = seed;
  block_reset(m, block);
  m->n_live = m->n_threads;
  /* an order of this block's own: warps start from any one, upwards or downwards, and go on by turns (oldest
   * first) or one as far ahead as it can (newest first) */
  m->newest_first = fc_emulator_random(m, 2) == 0;
  int warps = (m->n_threads + 31) / 32, first = (int)fc_emulator_random(m, (uint32_t)warps);
  bool upwards = fc_emulator_random(m, 2) == 0;
  for (int i = 0; i < 32 * warps; i++) {
    int warp = (first + (upwards ? i / 32 : warps - 1 - i / 32)) % warps, thread = 32 * warp + i % 32;
    if (thread < m->n_threads) fc_emulator_wake(&m->fiber[thread]);
  }
  m->current = nullptr;
  if (_setjmp(m->home) == 0) dispatch(m, &m->home_stack_fake);
  enter_stack(m->home_stack_fake, nullptr, nullptr);
  if (m->failed) { /* what is left on the stacks is abandoned */
    for (int i = 0; i < FC_THREADS_MAX; i++) m->fiber[i].made = false;
    return;
  }
  m->current = nullptr;
  for (size_t i = m->shared_bytes; i < FC_WINDOW; i++) {
    if (m->shared[i] == FC_POISON) continue;
    uint3 b = fc_emulated_here.block;
    fprintf(stderr, "emulator: %s: block (%u,%u,%u): wrote byte %zu of %zu bytes of dynamic shared memory\n",
            m->name, b.x, b.y, b.z, i, m->shared_bytes);
    m->failed = true;
    return;
  }
}

/* --- a launch --- */

struct launch {
  const char *name;
  fc_emulated_body body;
  void *context;
  dim3 grid, block;
  size_t shared_bytes;
  uint64_t next, blocks; /* next: taken by whoever is free */
  uint64_t seed;         /* another order of threads and arrivals each time */
  int failed;
};

static bool run_blocks(launch *l, fc_machine_cpu *m) {
  m->name = l->name;
  m->body = l->body;
  m->context = l->context;
  m->shared_bytes = l->shared_bytes;
  m->n_threads = (int)(l->block.x * l->block.y * l->block.z);
  m->failed = false;
  fc_emulated_here.block_dim = uint3{l->block.x, l->block.y, l->block.z};
  fc_emulated_here.grid_dim = uint3{l->grid.x, l->grid.y, l->grid.z};
  fc_emulated_here.dynamic_shared = m->shared;
  for (;;) {
    uint64_t i = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);
    if (i >= l->blocks || __atomic_load_n(&l->failed, __ATOMIC_RELAXED) != 0) return true;
    fc_emulated_here.block = uint3{(uint32_t)(i % l->grid.x), (uint32_t)(i / l->grid.x % l->grid.y),
                                   (uint32_t)(i / l->grid.x / l->grid.y)};
    block_run(m, fc_fill_bits(l->seed, 0, i), l->block);
    if (m->failed) return false;
  }
}

static void *worker(void *argument) {
  launch *l = static_cast<launch *>(argument);
  fc_machine_cpu *m = machine_new();
  fc_machine_now = m;
  if (m == nullptr || !run_blocks(l, m)) __atomic_store_n(&l->failed, 1, __ATOMIC_RELAXED);
  if (m != nullptr) machine_free(m);
  fc_machine_now = nullptr;
  return nullptr;
}

int fc_emulator_launch(const char *name, fc_emulated_body body, void *context, dim3 grid, dim3 block,
                       size_t shared_bytes) {
  uint64_t threads = (uint64_t)block.x * block.y * block.z, blocks = (uint64_t)grid.x * grid.y * grid.z;
  if (threads == 0 || threads > FC_THREADS_MAX || blocks == 0 || grid.x > 0x7fffffffu || grid.y > 65535 ||
      grid.z > 65535 || shared_bytes > FC_SHARED_MAX) {
    fprintf(stderr,
            "emulator: %s: no such launch: grid (%u,%u,%u), block (%u,%u,%u), %zu bytes of shared memory\n",
            name, grid.x, grid.y, grid.z, block.x, block.y, block.z, shared_bytes);
    return 9; /* cudaErrorInvalidConfiguration */
  }
  launch l = {name, body, context, grid, block, shared_bytes, 0, blocks, 0, 0};
  if (fc_machine_now == nullptr) fc_machine_now = machine_new();
  if (fc_machine_now == nullptr) {
    fprintf(stderr, "emulator: %s: out of memory\n", name);
    return 2; /* cudaErrorMemoryAllocation */
  }
  l.seed = fc_machine_now->launches++;
  const char *asked = getenv("FC_EMULATOR_THREADS");
  int helpers = asked == nullptr ? 0 : atoi(asked) - 1, n = 0;
  helpers = helpers > 63 ? 63 : helpers;
  pthread_t helper[64];
  while (n < helpers && (uint64_t)n + 1 < blocks && pthread_create(&helper[n], nullptr, worker, &l) == 0) n++;
  if (!run_blocks(&l, fc_machine_now)) __atomic_store_n(&l.failed, 1, __ATOMIC_RELAXED);
  for (int i = 0; i < n; i++) pthread_join(helper[i], nullptr);
  return l.failed != 0 ? 719 : 0; /* cudaErrorLaunchFailure */
}
