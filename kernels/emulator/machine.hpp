/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_EMULATOR_MACHINE_HPP
#define FC_EMULATOR_MACHINE_HPP

#include <setjmp.h>
#include <ucontext.h>

#include "emulator.hpp"

/** Inside the emulator: one machine runs one block at a time, its threads as fibers.
 *
 *  A fiber runs until it must wait; then another runnable one goes on: in some blocks the one that has waited
 *  longest, in others the one woken last, so that a warp runs ahead of the others as far as it can.  When
 *  none is runnable, one bulk load in flight arrives; when none is in flight either, the block hangs: that is
 *  reported and the launch fails. */

enum {
  FC_THREADS_MAX = 1024,
  FC_SHARED_MAX = 232448, /* 227 KiB a block @source CUDA C++ Programming Guide, compute capability 9.0 */
  FC_WINDOW_BITS = 18,    /* reach of an address in a wgmma descriptor */
  FC_WINDOW = 1 << FC_WINDOW_BITS,
  FC_WINDOWS = 1024,     /* named by the unused bits 52..61 of a descriptor */
  FC_STACK = 256 * 1024, /* room for each, a guard page first */
  FC_GUARD = 4096,
  FC_ACCUMULATORS = 8, /* accumulator arrays in flight in a thread */
  FC_WGMMA_FLIGHT = 512,
  FC_MEETINGS = 8,
  FC_POISON = 0xff, /* a NaN in f32, bf16 and e4m3 */
};

enum fc_waits {
  FC_WAITS_NOT,
  FC_WAITS_BARRIER,
  FC_WAITS_WARP,
  FC_WAITS_MBARRIER,
  FC_WAITS_WGMMA,
  FC_WAITS_DONE,
};

struct fc_copy { /* a bulk copy in flight */
  fc_tensor_map map;
  int at[4];
  unsigned char *shared;
  const unsigned char *global; /* of a copy without a tensor map */
  uint32_t bytes;
  uint64_t *bar;
  int group; /* of a store */
  const char *file;
  int line;
};

struct fc_copy16 {
  unsigned char *shared;
  const unsigned char *global;
  int group;
};

struct fc_accumulator {
  float *d; /* NULL: free */
  int n;
  uint64_t end; /* number of operations after which it is complete */
};

struct fc_fiber {
  fc_emulated_thread thread; /* first: fc_emulated_self points here */
  int number;                /* within the block */
  bool made;
  jmp_buf at;
  unsigned char *stack;
  void *fake_stack; /* of the address sanitiser */
  fc_waits waits;
  const void *what;
  uint32_t parity;
  uint64_t need;
  const char *file;
  int line;
  fc_copy *store; /* bulk stores in flight */
  int n_stores, room_stores, store_group;
  fc_copy16 *copy;
  int n_copies, room_copies, copy_group;
  fc_accumulator accumulator[FC_ACCUMULATORS];
  uint64_t issued;                     /* wgmma operations */
  uint64_t group_end[FC_WGMMA_FLIGHT]; /* ring: `issued` at each commit */
  uint64_t groups;
  bool fenced;
};

typedef void (*fc_meeting_body)(void *const *lane, uint32_t mask);
struct fc_meeting {       /* a collective operation of a warp that some lanes have reached */
  uint32_t mask, arrived; /* arrived 0: free */
  fc_meeting_body body;
  void *lane[32];
};

struct fc_barrier {
  int expected, arrived;
};

struct fc_wgmma {
  fc_emulated_wgmma kind;
  int n, slot, arrived;
  bool accumulate, from_registers;
  uint64_t a, b, sum; /* descriptors; checksum of the operands */
  const char *file;
  int line;
  uint32_t registers[128][4];
};

struct fc_warpgroup {
  fc_wgmma *flight;                        /* ring [FC_WGMMA_FLIGHT] */
  uint64_t first_seen, complete, executed; /* begun by one thread; issued by all; computed */
  float *accumulator[FC_ACCUMULATORS];     /* [64,n] */
};

struct fc_machine_cpu {
  const char *name;
  fc_emulated_body body;
  void *context;
  size_t shared_bytes;
  int n_threads, n_live;
  fc_fiber *fiber, *current;
  unsigned char *stacks, *shared;
  int queue[FC_THREADS_MAX]; /* ring of runnable fibers, each at most once */
  int queue_first, queue_n;
  bool newest_first;
  jmp_buf home;
  ucontext_t home_context, fiber_context;
  void *home_stack_fake;
  const void *home_stack;
  size_t home_stack_bytes;
  bool failed;
  uint64_t random, launches;
  fc_barrier barrier[16];
  fc_meeting meeting[FC_THREADS_MAX / 32][FC_MEETINGS];
  fc_copy *load;
  int n_loads, room_loads, unfenced_inits, n_mbarrier_waits;
  fc_warpgroup group[FC_THREADS_MAX / 128];
  uintptr_t window[FC_WINDOWS];
  int n_windows;
  unsigned char *async_view; /* dynamic shared memory as the asynchronous proxy last saw it */
  uint32_t *async_epoch;     /* for each 16 bytes: `fences` then */
  uint32_t fences;
};

extern __thread fc_machine_cpu *fc_machine_now;

/** Says why and leaves the block; never returns. */
[[noreturn]] void fc_emulator_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/** Waits until somebody calls fc_emulator_wake. */
void fc_emulator_block(fc_waits waits, const void *what, const char *file, int line);
void fc_emulator_wake(fc_fiber *f);
/** Fails when [p, p + bytes) is not aligned or is seen not to be shared memory. */
void fc_emulator_check_shared(const void *p, size_t bytes, size_t align, const char *what, const char *file,
                              int line);
/** The asynchronous proxy wrote, or is about to read, 16-byte pieces of shared memory: what plain stores
 * changed since it last saw a piece must have met a proxy fence. */
void fc_emulator_async_wrote(const void *p, size_t bytes);
void fc_emulator_async_reads(const void *p, const char *file, int line);
/** Meets the lanes of `mask`; the last to come runs body on what all of them bring. */
void fc_emulator_meet(uint32_t mask, void *mine, fc_meeting_body body, const char *file, int line);
uint32_t fc_emulator_random(fc_machine_cpu *m, uint32_t below);

/** One bulk load arrives; false: none in flight. */
bool fc_emulator_deliver(fc_machine_cpu *m);
void fc_emulator_mbarrier_bytes(uint64_t *bar, uint32_t bytes);
/** What an mbarrier waits for, as text. */
void fc_emulator_mbarrier_text(const void *bar, uint32_t parity, char *text, size_t room);
/** Fails when the thread that ends has left something in flight. */
void fc_emulator_check_copies(const fc_fiber *f);
void fc_emulator_check_wgmma(const fc_fiber *f);

/** Address of byte `address` under a swizzle of 0, 32, 64 or 128 bytes. @source PTX ISA, swizzle modes: the
 * 16-byte index within the span is xored with the bits above the 128-byte line */
static inline uintptr_t fc_emulator_swizzle(uintptr_t address, int swizzle) {
  uintptr_t mask = (uintptr_t)(swizzle == 0 ? 0 : swizzle / 16 - 1) << 4;
  return address ^ ((address >> 3) & mask);
}

template <typename T> static inline T *fc_emulator_grow(T *items, int n, int *room) {
  if (n < *room) return items;
  *room = *room == 0 ? 16 : 2 * *room;
  T *grown = static_cast<T *>(__builtin_realloc(items, (size_t)*room * sizeof(T)));
  if (grown == nullptr) fc_emulator_fail(nullptr, 0, "out of memory");
  return grown;
}

#endif
