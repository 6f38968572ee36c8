/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_EMULATOR_HPP
#define FC_EMULATOR_HPP

/** Runs the kernels of kernels/cuda/ on a CPU, with no part of CUDA: the meaning of every primitive that
 *  kernels/cuda/device.cuh lists.  Each thread of a block is a fiber; blocks run one after another
 *  (FC_EMULATOR_THREADS=n: on n threads of the machine).  A failed launch returns non-zero and says why on
 *  stderr.
 *
 *  What a run that passes proves: indices, bounds of tensors and of dynamic shared memory, barrier counts,
 *  phases and transaction bytes, descriptors, swizzles and fragments agree with the documented meaning of the
 *  instructions; nothing hangs in the orders that were run; and nothing is used before it was waited for
 *  where the emulator is on guard:
 *   - dynamic shared memory starts as NaN, and its end is checked after each block;
 *   - a bulk load poisons its destination when issued and arrives when nothing else can run, in any order; a
 *     bulk store reads when it is waited for; cp.async the same: early reads and early reuse give NaN or a
 *     wrong tensor;
 *   - accumulators of wgmma are NaN until waited for; its operands must be the same bytes when the first
 *     thread issues and when the result is waited for;
 *   - what plain stores changed in dynamic shared memory must have met some fc_async_fence since, before a
 *     wgmma or a bulk store reads it.
 *
 *  What it cannot prove: absence of races of plain loads and stores that the orders of fibers hide (a fiber
 *  runs until it waits, the lanes of a warp too), fences by the right thread, memory ordering between blocks,
 *  convergence where .aligned asks for it, stale data in static __shared__ arrays (they are not poisoned),
 *  bounds of plain accesses to global memory (build with the address sanitiser), register counts, time, exact
 *  rounding inside tensor cores (here: f32, in order), whatever the PTX manual leaves undefined. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <fleetcast/kernels/formats.h>
#include <fleetcast/kernels/problem.h>

/* --- the language --- */

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
#define __shared__   static __thread /* one a thread of the machine: blocks run one after another on each */

struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct alignas(8) int2 {
  int32_t x, y;
};
struct alignas(16) int4 {
  int32_t x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct uint3 {
  uint32_t x, y, z;
};
struct dim3 {
  uint32_t x, y, z;
  constexpr dim3(uint32_t x_ = 1, uint32_t y_ = 1, uint32_t z_ = 1) : x(x_), y(y_), z(z_) {}
};

static inline uint2 make_uint2(uint32_t x, uint32_t y) {
  return uint2{x, y};
}
static inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) {
  return uint4{x, y, z, w};
}
static inline int2 make_int2(int32_t x, int32_t y) {
  return int2{x, y};
}
static inline int4 make_int4(int32_t x, int32_t y, int32_t z, int32_t w) {
  return int4{x, y, z, w};
}
static inline float2 make_float2(float x, float y) {
  return float2{x, y};
}
static inline float4 make_float4(float x, float y, float z, float w) {
  return float4{x, y, z, w};
}

/* --- where a thread is --- */

struct fc_emulated_thread {
  uint3 index;
  int lane;
};
struct fc_emulated_place {
  uint3 block, block_dim, grid_dim;
  void *dynamic_shared;
};
extern __thread fc_emulated_thread *fc_emulated_self;
extern __thread fc_emulated_place fc_emulated_here;

#define threadIdx                     (fc_emulated_self->index)
#define blockIdx                      (fc_emulated_here.block)
#define blockDim                      (fc_emulated_here.block_dim)
#define gridDim                       (fc_emulated_here.grid_dim)

#define FC_DYNAMIC_SHARED(type, name) type *name = static_cast<type *>(fc_emulated_here.dynamic_shared)

/* every primitive knows the line that called it, for reports */
#define FC_CALLER                     const char *file = __builtin_FILE(), int line = __builtin_LINE()

/* --- launch --- */

typedef void (*fc_emulated_body)(void *context);
int fc_emulator_launch(const char *name, fc_emulated_body body, void *context, dim3 grid, dim3 block,
                       size_t shared_bytes);

template <typename T> struct fc_exactly { typedef T type; };

template <typename... P>
static inline int fc_launch(const char *name, void (*kernel)(P...), dim3 grid, dim3 block,
                            size_t shared_bytes, fc_queue, typename fc_exactly<P>::type... arguments) {
  auto call = [&] { kernel(arguments...); };
  return fc_emulator_launch(
      name, [](void *context) { (*static_cast<decltype(call) *>(context))(); }, &call, grid, block,
      shared_bytes);
}

#define FC_LAUNCH(kernel, grid, block, shared_bytes, queue, ...)                                             \
  fc_launch(#kernel, kernel, grid, block, shared_bytes, queue, ##__VA_ARGS__)

/* --- tensors of the bulk copy engine --- */

struct fc_tensor_map {
  unsigned char *base;
  int64_t dim[4], stride[4]; /* stride in bytes; of dim 0 the element's size */
  int32_t box[4];
  int32_t rank, swizzle, elem_size;
};

int fc_tensor_map_encode(fc_tensor_map *out, fc_elem elem, int rank, const void *base, const int64_t *dim,
                         const int64_t *stride_bytes, const int *box, int swizzle_bytes);

/* --- synchronisation --- */

void fc_emulator_barrier(int id, int threads, bool wait, const char *file, int line);
void fc_emulator_syncthreads(const char *file, int line);
bool fc_emulator_elect(const char *file, int line);

static inline void __syncthreads(FC_CALLER) {
  fc_emulator_syncthreads(file, line);
}
static inline void fc_barrier_sync(int id, int threads, FC_CALLER) {
  fc_emulator_barrier(id, threads, true, file, line);
}
static inline void fc_barrier_arrive(int id, int threads, FC_CALLER) {
  fc_emulator_barrier(id, threads, false, file, line);
}
static inline bool fc_elect_one(FC_CALLER) {
  return fc_emulator_elect(file, line);
}

void fc_mbarrier_init(uint64_t *bar, int arrivals, FC_CALLER);
void fc_mbarrier_init_fence();
void fc_mbarrier_arrive(uint64_t *bar, FC_CALLER);
void fc_mbarrier_expect(uint64_t *bar, uint32_t bytes, FC_CALLER);
void fc_mbarrier_wait(uint64_t *bar, uint32_t parity, FC_CALLER);

void fc_async_fence();
static inline void __threadfence() {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
static inline void __threadfence_block() {}

template <int N> static inline void fc_registers_raise() {
  static_assert(N % 8 == 0 && N >= 24 && N <= 256, "setmaxnreg takes a multiple of 8 from 24 to 256");
}
template <int N> static inline void fc_registers_lower() {
  fc_registers_raise<N>();
}

/* --- exchange within a warp --- */

struct fc_emulated_shuffle {
  uint64_t in, out;
  int source; /* lane; -1: itself */
};
void fc_emulator_shuffle(uint32_t mask, fc_emulated_shuffle *s, const char *file, int line);
uint32_t fc_emulator_ballot(uint32_t mask, bool vote, const char *file, int line);

template <typename T>
static inline T fc_emulated_exchange(uint32_t mask, T value, int source, const char *file, int line) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles take 4 or 8 bytes");
  fc_emulated_shuffle s = {0, 0, source};
  memcpy(&s.in, &value, sizeof value);
  fc_emulator_shuffle(mask, &s, file, line);
  memcpy(&value, &s.out, sizeof value);
  return value;
}
template <typename T>
static inline T __shfl_sync(uint32_t mask, T value, int source, int width = 32, FC_CALLER) {
  int lane = fc_emulated_self->lane;
  return fc_emulated_exchange(mask, value, (lane & ~(width - 1)) + (source & (width - 1)), file, line);
}
template <typename T>
static inline T __shfl_xor_sync(uint32_t mask, T value, int bits, int width = 32, FC_CALLER) {
  int lane = fc_emulated_self->lane, source = lane ^ bits, end = (lane & ~(width - 1)) + width;
  return fc_emulated_exchange(mask, value, source < end ? source : -1, file, line);
}
template <typename T>
static inline T __shfl_up_sync(uint32_t mask, T value, unsigned delta, int width = 32, FC_CALLER) {
  int lane = fc_emulated_self->lane, source = lane - (int)delta, first = lane & ~(width - 1);
  return fc_emulated_exchange(mask, value, source >= first ? source : -1, file, line);
}
template <typename T>
static inline T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = 32, FC_CALLER) {
  int lane = fc_emulated_self->lane, source = lane + (int)delta, end = (lane & ~(width - 1)) + width;
  return fc_emulated_exchange(mask, value, source < end ? source : -1, file, line);
}
static inline uint32_t __ballot_sync(uint32_t mask, int vote, FC_CALLER) {
  return fc_emulator_ballot(mask, vote != 0, file, line);
}
static inline int __any_sync(uint32_t mask, int vote, FC_CALLER) {
  return fc_emulator_ballot(mask, vote != 0, file, line) != 0;
}
static inline int __all_sync(uint32_t mask, int vote, FC_CALLER) {
  return fc_emulator_ballot(mask, vote == 0, file, line) == 0;
}
static inline void __syncwarp(uint32_t mask = 0xffffffffu, FC_CALLER) {
  fc_emulator_ballot(mask, false, file, line);
}

/* --- copies --- */

void fc_emulator_tma_load(void *shared, const fc_tensor_map *map, uint64_t *bar, int rank, const int *at,
                          const char *file, int line);
void fc_emulator_tma_store(const fc_tensor_map *map, const void *shared, int rank, const int *at,
                           const char *file, int line);
void fc_emulator_store_wait(int groups);
void fc_emulator_copy_wait(int groups);

static inline void fc_tma_load_2d(void *shared, const fc_tensor_map *map, uint64_t *bar, int x, int y,
                                  FC_CALLER) {
  const int at[4] = {x, y, 0, 0};
  fc_emulator_tma_load(shared, map, bar, 2, at, file, line);
}
static inline void fc_tma_load_3d(void *shared, const fc_tensor_map *map, uint64_t *bar, int x, int y, int z,
                                  FC_CALLER) {
  const int at[4] = {x, y, z, 0};
  fc_emulator_tma_load(shared, map, bar, 3, at, file, line);
}
static inline void fc_tma_load_4d(void *shared, const fc_tensor_map *map, uint64_t *bar, int x, int y, int z,
                                  int w, FC_CALLER) {
  const int at[4] = {x, y, z, w};
  fc_emulator_tma_load(shared, map, bar, 4, at, file, line);
}
static inline void fc_tma_store_2d(const fc_tensor_map *map, const void *shared, int x, int y, FC_CALLER) {
  const int at[4] = {x, y, 0, 0};
  fc_emulator_tma_store(map, shared, 2, at, file, line);
}
static inline void fc_tma_store_3d(const fc_tensor_map *map, const void *shared, int x, int y, int z,
                                   FC_CALLER) {
  const int at[4] = {x, y, z, 0};
  fc_emulator_tma_store(map, shared, 3, at, file, line);
}
void fc_tma_store_commit();
template <int N> static inline void fc_tma_store_wait() {
  fc_emulator_store_wait(N);
}
static inline void fc_tma_prefetch(const fc_tensor_map *) {}
void fc_bulk_load(void *shared, const void *global, uint32_t bytes, uint64_t *bar, FC_CALLER);
void fc_copy_async16(void *shared, const void *global, FC_CALLER);
void fc_copy_async_commit();
template <int N> static inline void fc_copy_async_wait() {
  fc_emulator_copy_wait(N);
}

/* --- matrix instructions --- */

enum fc_emulated_wgmma { FC_WGMMA_E4M3, FC_WGMMA_BF16, FC_WGMMA_BF16_TN };
void fc_emulator_wgmma(fc_emulated_wgmma kind, int n, float *d, uint64_t a, const uint32_t *a_registers,
                       uint64_t b, bool accumulate, const char *file, int line);
void fc_emulator_wgmma_wait(int groups, const char *file, int line);

uint64_t fc_wgmma_descriptor(const void *shared, int swizzle_bytes, int leading_bytes, int stride_bytes,
                             FC_CALLER);
void fc_wgmma_fence();
void fc_wgmma_commit();
template <int N> static inline void fc_wgmma_wait(FC_CALLER) {
  fc_emulator_wgmma_wait(N, file, line);
}
template <int R> static inline void fc_wgmma_hold(float (&)[R]) {}

template <int N> static inline void fc_emulated_wgmma_shape() {
  static_assert(N == 16 || N == 32 || N == 64 || N == 96 || N == 128 || N == 160 || N == 192 || N == 256,
                "no such wgmma shape: see device.cuh");
}
template <int N>
static inline void fc_wgmma_e4m3(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate, FC_CALLER) {
  fc_emulated_wgmma_shape<N>();
  fc_emulator_wgmma(FC_WGMMA_E4M3, N, d, a, nullptr, b, accumulate, file, line);
}
template <int N>
static inline void fc_wgmma_bf16(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate, FC_CALLER) {
  fc_emulated_wgmma_shape<N>();
  fc_emulator_wgmma(FC_WGMMA_BF16, N, d, a, nullptr, b, accumulate, file, line);
}
template <int N>
static inline void fc_wgmma_bf16_tn(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate, FC_CALLER) {
  fc_emulated_wgmma_shape<N>();
  fc_emulator_wgmma(FC_WGMMA_BF16_TN, N, d, a, nullptr, b, accumulate, file, line);
}
template <int N>
static inline void fc_wgmma_bf16_ra(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate,
                                    FC_CALLER) {
  fc_emulated_wgmma_shape<N>();
  fc_emulator_wgmma(FC_WGMMA_BF16, N, d, 0, a, b, accumulate, file, line);
}
template <int N>
static inline void fc_wgmma_bf16_ra_tn(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate,
                                       FC_CALLER) {
  fc_emulated_wgmma_shape<N>();
  fc_emulator_wgmma(FC_WGMMA_BF16_TN, N, d, 0, a, b, accumulate, file, line);
}

void fc_mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], FC_CALLER);
void fc_emulator_ldmatrix(uint32_t *r, int matrices, bool transposed, const void *shared, const char *file,
                          int line);
void fc_stmatrix_x4(void *shared, const uint32_t (&r)[4], FC_CALLER);
static inline void fc_ldmatrix_x4(uint32_t (&r)[4], const void *shared, FC_CALLER) {
  fc_emulator_ldmatrix(r, 4, false, shared, file, line);
}
static inline void fc_ldmatrix_x4_trans(uint32_t (&r)[4], const void *shared, FC_CALLER) {
  fc_emulator_ldmatrix(r, 4, true, shared, file, line);
}
static inline void fc_ldmatrix_x2(uint32_t (&r)[2], const void *shared, FC_CALLER) {
  fc_emulator_ldmatrix(r, 2, false, shared, file, line);
}

#include "intrinsics.hpp"

#endif
