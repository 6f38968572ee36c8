/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CUDA_DEVICE_CUH
#define FC_CUDA_DEVICE_CUH

/** What the kernels of this folder are written in: CUDA C++ and the Hopper instructions below, each one small
 *  wrapper.  nvcc compiles them to PTX; with FC_EMULATED a C++ compiler compiles the same kernels against
 *  kernels/emulator/, which runs every thread of a block as a fiber and gives each instruction below its
 *  documented meaning.  So each kernel is checked against its reference on machines without a GPU.
 *
 *  Kernels may use: threadIdx blockIdx blockDim gridDim; __shared__ arrays of static size; __syncthreads
 *  __syncwarp __shfl_sync __shfl_xor_sync __shfl_up_sync __shfl_down_sync __ballot_sync __any_sync __all_sync
 *  __popc __ffs __clz __ldg; atomicAdd atomicMax atomicMin (32-bit) and float atomicAdd; __threadfence;
 *  uint2 uint4 int2 int4 float2 float4 and make_*; rsqrtf __expf __logf expf logf exp2f log2f sqrtf fmaxf
 *  fminf fabsf floorf __fdividef __float_as_uint __uint_as_float __float_as_int; #pragma unroll;
 *  __launch_bounds__; __grid_constant__; templates.  No waiting for another block (blocks run one after
 *  another in emulation), no clusters, no cooperative groups.  Formats: fleetcast/kernels/formats.h. */

#include <stdint.h>

#include <fleetcast/kernels/formats.h>
#include <fleetcast/kernels/implementation.h>
#include <fleetcast/kernels/operators.h>

#if defined(FC_EMULATED)
#include "../emulator/emulator.hpp"
#else
#include "hopper.cuh"
#endif

/* --- host side ---
 *
 *  int FC_LAUNCH(kernel, dim3 grid, dim3 block, size_t shared_bytes, fc_queue queue, arguments...)
 *      Launches; raises the kernel's dynamic shared memory limit first where static and dynamic memory
 *      together may exceed 48 KiB (static: at most 16 KiB where dynamic is used).  0 or a cudaError.
 *      A templated kernel goes in parentheses: FC_LAUNCH((gemm<128, 4>), ...).
 *  FC_DYNAMIC_SHARED(type, name)     inside a kernel: the dynamic shared memory, 1,024-byte aligned
 *
 *  typedef ... fc_tensor_map         CUtensorMap; kernels take it as `const __grid_constant__ fc_tensor_map`
 *  int fc_tensor_map_encode(fc_tensor_map *out, fc_elem elem, int rank (2..4), const void *base,
 *                           const int64_t *dim, const int64_t *stride_bytes (of dims 1.. ; 0: contiguous),
 *                           const int *box, int swizzle_bytes)
 *      swizzle_bytes: 0, or 32, 64, 128 and then as many bytes in a row of the box.  Out of bounds reads 0.
 *      0 or an error (no driver, an argument beyond cuTensorMapEncodeTiled's limits).
 *
 * --- device side: synchronisation ---
 *
 *  void fc_barrier_sync(int id, int threads)           bar.sync id, threads   (id 1..15)
 *  void fc_barrier_arrive(int id, int threads)         bar.arrive
 *  bool fc_elect_one()                                 true in one lane of a converged warp
 *  void fc_mbarrier_init(uint64_t *bar, int arrivals)
 *  void fc_mbarrier_init_fence()                       shows inits to the async proxy; then __syncthreads
 *  void fc_mbarrier_arrive(uint64_t *bar)
 *  void fc_mbarrier_expect(uint64_t *bar, uint32_t bytes)   arrive.expect_tx
 *  void fc_mbarrier_wait(uint64_t *bar, uint32_t parity)    until the phase of that parity has completed
 *  void fc_async_fence()                               fence.proxy.async.shared::cta
 *  template <int N> void fc_registers_raise()          setmaxnreg.inc.sync.aligned.u32 N
 *  template <int N> void fc_registers_lower()          ptxas needs __launch_bounds__(threads, 1) for both
 *
 * --- copies between global and shared memory by the bulk copy engine ---
 *
 *  void fc_tma_load_2d(void *shared, const fc_tensor_map *map, uint64_t *bar, int x, int y)
 *      x: the contiguous dimension
 *  void fc_tma_load_3d(..., int x, int y, int z)   fc_tma_load_4d(..., int x, int y, int z, int w)
 *  void fc_tma_store_2d(const fc_tensor_map *map, const void *shared, int x, int y)   fc_tma_store_3d
 *  void fc_tma_store_commit()
 *  template <int N> void fc_tma_store_wait()           N groups may stay (of reading)
 *  void fc_tma_prefetch(const fc_tensor_map *map)
 *  void fc_bulk_load(void *shared, const void *global, uint32_t bytes, uint64_t *bar)   16-byte multiples
 *  void fc_copy_async16(void *shared, const void *global)   cp.async.cg 16 bytes
 *  void fc_copy_async_commit()     template <int N> void fc_copy_async_wait()
 *
 * --- matrix instructions of a warpgroup (128 threads, warp index a multiple of 4) ---
 *
 *  Fragment of D (m64 x N, f32): thread t of the warpgroup, w = t / 32, l = t % 32, holds
 *      d[4 i + 2 j + c] = D[16 w + l / 4 + 8 j][8 i + 2 (l % 4) + c]      i < N/8, j, c in {0, 1}
 *  uint64_t fc_wgmma_descriptor(const void *shared, int swizzle_bytes, int leading_bytes, int stride_bytes)
 *      K-major operand in a 128-byte swizzled tile: leading ignored (pass 1), stride = 1,024 (8 rows x 128
 *      bytes); advance along K inside the swizzle atom by adding bytes >> 4 to the descriptor.
 *      MN-major bf16 operand in 128-byte swizzled tiles of 64 elements by k rows: stride = 1,024 (8 k),
 *      leading = bytes between neighbouring tiles of 64; advance 16 along k by adding 2,048 >> 4.
 *      Tiles start at multiples of 1,024 bytes.
 *  void fc_wgmma_fence()   void fc_wgmma_commit()   template <int N> void fc_wgmma_wait()
 *  template <int R> void fc_wgmma_hold(float (&d)[R])
 *      No instruction: keeps the compiler from moving arithmetic on d across this line; call it on d before
 *      fc_wgmma_fence and after fc_wgmma_wait.
 *  template <int N> void fc_wgmma_e4m3(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate)   k32
 *  template <int N> void fc_wgmma_bf16(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate)   k16
 *      A and B K-major
 *  template <int N> void fc_wgmma_bf16_ra(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b,
 *                                         bool accumulate)
 *      k16, B K-major, A from registers: a[0] row l/4, k 2(l%4)+{0,1}; a[1] row +8; a[2] k +8; a[3] both
 *  template <int N> void fc_wgmma_bf16_tn(...a, b...)      B MN-major ("transposed": N contiguous)
 *  template <int N> void fc_wgmma_bf16_ra_tn(...)          A from registers, B MN-major
 *      N: 16 32 64 96 128 160 192 256.
 *  void fc_mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
 *      mma.sync m16n8k16, d += a b
 *  void fc_ldmatrix_x4(uint32_t (&r)[4], const void *shared)   fc_ldmatrix_x4_trans   fc_ldmatrix_x2
 *  void fc_stmatrix_x4(void *shared, const uint32_t (&r)[4])
 *
 * --- conversions and special functions ---
 *
 *  uint16_t fc_pack_e4m3(float low, float high)        cvt.rn.satfinite.e4m3x2.f32
 *  uint32_t fc_pack_bf16(float low, float high)        cvt.rn.bf16x2.f32
 *  float fc_exp2(float x)                              ex2.approx.ftz.f32
 *  uint4 fc_load_stream(const void *global)            ld.global.L1::no_allocate.v4 (read once)
 *  void fc_prefetch(const void *global, uint32_t bytes)   cp.async.bulk.prefetch.L2 (multiples of 16)
 *  void fc_add4(bool there, float *global, float4 v)   red.global.add.v4.f32 where `there`
 *  void fc_store_stream(void *global, uint4 v)         st.global.cs.v4 */

#endif
