/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CUDA_ROWWISE_CUH
#define FC_CUDA_ROWWISE_CUH

/** What the row-wise kernels share.  A "vector" is 8 neighbours of bf16: 16 bytes, one load.  Half a warp
 * holds a block of 128, the range of one quantisation scale.  FAST: rows begin at multiples of 16 bytes;
 * otherwise loads and stores go element by element through the same code. */

#include "device.cuh"

enum { FC_WARP = 32, FC_WARPS = 8, FC_THREADS = FC_WARP * FC_WARPS };

/** Number of this warp among all of the grid. */
__device__ __forceinline__ int64_t fc_warp_task() {
  return (int64_t)blockIdx.x * (blockDim.x / FC_WARP) + threadIdx.x / FC_WARP;
}

/* --- vectors --- */

__device__ __forceinline__ void fc_unpack8(float (&f)[8], uint4 v) {
  const uint32_t w[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    f[2 * i] = __uint_as_float(w[i] << 16);
    f[2 * i + 1] = __uint_as_float(w[i] & 0xffff0000u);
  }
}

__device__ __forceinline__ uint4 fc_pack8_bf16(const float (&f)[8]) {
  return make_uint4(fc_pack_bf16(f[0], f[1]), fc_pack_bf16(f[2], f[3]), fc_pack_bf16(f[4], f[5]),
                    fc_pack_bf16(f[6], f[7]));
}

__device__ __forceinline__ uint2 fc_pack8_e4m3(const float (&f)[8], float factor) {
  uint32_t w[4];
#pragma unroll
  for (int i = 0; i < 4; i++) w[i] = fc_pack_e4m3(f[2 * i] * factor, f[2 * i + 1] * factor);
  return make_uint2(w[0] | (w[1] << 16), w[2] | (w[3] << 16));
}

/** The first `valid` of 8 elements at base[at] (any number; below 1: none), the others `fill` (bits of a
 * bf16). FAST: written so that many loads start before the first is waited for.  No branch (what is outside
 * is read at base and dropped), and an ordinary load: read-only ones (ld.global.nc) the assembler moves
 * behind later stores to save registers, and two are in flight at a time (seen in the order of instructions
 * of nvcc 13.0). */
template <bool FAST>
__device__ __forceinline__ uint4 fc_load8(const uint16_t *base, int64_t at, int64_t valid,
                                          uint32_t fill = 0) {
  if constexpr (FAST) {
    bool inside = valid > 0;
    uint4 v = *reinterpret_cast<const uint4 *>(base + (inside ? at : 0));
    uint32_t both = fill | (fill << 16);
    return make_uint4(inside ? v.x : both, inside ? v.y : both, inside ? v.z : both, inside ? v.w : both);
  } else {
    uint32_t w[8];
#pragma unroll
    for (int i = 0; i < 8; i++) w[i] = i < valid ? (uint32_t)base[at + i] : fill;
    return make_uint4(w[0] | (w[1] << 16), w[2] | (w[3] << 16), w[4] | (w[5] << 16), w[6] | (w[7] << 16));
  }
}

template <bool FAST> __device__ __forceinline__ void fc_store8_bf16(uint16_t *p, int64_t valid, uint4 v) {
  if constexpr (FAST) {
    if (valid > 0) *reinterpret_cast<uint4 *>(p) = v;
  } else {
    const uint32_t w[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 8; i++)
      if (i < valid) p[i] = (uint16_t)(w[i / 2] >> (16 * (i % 2)));
  }
}

template <bool FAST> __device__ __forceinline__ void fc_store8_e4m3(uint8_t *p, int64_t valid, uint2 v) {
  if constexpr (FAST) {
    if (valid > 0) *reinterpret_cast<uint2 *>(p) = v;
  } else {
#pragma unroll
    for (int i = 0; i < 8; i++)
      if (i < valid) p[i] = (uint8_t)((i < 4 ? v.x : v.y) >> (8 * (i % 4)));
  }
}

__device__ __forceinline__ float fc_amax8(const float (&f)[8]) {
  float a = 0;
#pragma unroll
  for (int i = 0; i < 8; i++) a = fmaxf(a, fabsf(f[i]));
  return a;
}

/* --- reductions --- */

/** Over 16 lanes: a block of 128. */
__device__ __forceinline__ float fc_block_max(float x) {
#pragma unroll
  for (int d = 8; d > 0; d /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, d));
  return x;
}

__device__ __forceinline__ float fc_warp_max(float x) {
  x = fc_block_max(x);
  return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 16));
}

__device__ __forceinline__ float fc_warp_sum(float x) {
#pragma unroll
  for (int d = 16; d > 0; d /= 2) x += __shfl_xor_sync(0xffffffffu, x, d);
  return x;
}

/** Sums N numbers over the threads of a block, in an order that depends on nothing.  `scratch` [N][32] in
 * shared memory; a caller in a loop alternates between two, so that one barrier a call is enough. */
template <int N> __device__ __forceinline__ void fc_cta_sum(float (&x)[N], float *scratch) {
  int lane = threadIdx.x % FC_WARP, warp = threadIdx.x / FC_WARP, warps = blockDim.x / FC_WARP;
#pragma unroll
  for (int i = 0; i < N; i++) {
    x[i] = fc_warp_sum(x[i]);
    if (lane == 0) scratch[i * FC_WARP + warp] = x[i];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < N; i++) x[i] = fc_warp_sum(lane < warps ? scratch[i * FC_WARP + lane] : 0.0f);
}

/* --- quantisation --- */

__device__ __forceinline__ float fc_scale_of(float amax) {
  return fmaxf(amax, 1e-4f) / FC_E4M3_MAX;
}

/** 448 / max(amax, 1e-4), good to 2 ulp: what codes are multiplied with. */
__device__ __forceinline__ float fc_factor_of(float amax) {
  return __fdividef(FC_E4M3_MAX, fmaxf(amax, 1e-4f));
}

/* --- host side --- */

/** Implementations keep nothing but the number of SMs, in the state pointer itself. */
static inline int fc_keep_units(const fc_problem *p, const fc_args *args, const fc_machine *machine,
                                void **state, char *why) {
  (void)p, (void)args, (void)why;
  int units = machine->compute_units > 0 ? machine->compute_units : 132; /* H100 SXM */
  *state = reinterpret_cast<void *>(static_cast<uintptr_t>(units));
  return 0;
}

static inline int64_t fc_kept_units(const void *state) {
  return static_cast<int64_t>(reinterpret_cast<uintptr_t>(state));
}

static inline int64_t fc_ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/** Warps of a block when each warp has a task of its own: few tasks spread over more SMs one by one. */
static inline unsigned fc_task_warps(int64_t tasks) {
  return tasks < FC_WARPS * 132 ? 1 : FC_WARPS;
}

template <typename T> static inline T *fc_at(const fc_args *args, int tensor) {
  return static_cast<T *>(args->at[tensor]);
}

#endif
