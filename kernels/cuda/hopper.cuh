/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CUDA_HOPPER_CUH
#define FC_CUDA_HOPPER_CUH

/** The primitives of device.cuh for nvcc and sm_90a: one instruction each.  @source PTX ISA 8.x and 9.0 */

#include <cuda.h> /* CUtensorMap; no -lcuda: the encoder comes through cudaGetDriverEntryPointByVersion */
#include <cuda_runtime.h>

#include "wgmma.cuh"

/* --- host side --- */

template <typename T> struct fc_exactly {
  typedef T type; /* keeps an argument out of deduction: it converts to the kernel's parameter type */
};

template <typename... P>
static inline int fc_launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, fc_queue queue,
                            typename fc_exactly<P>::type... arguments) {
  /* every device grants 48 KiB, the kernel's static arrays (16 KiB at most here) included, without asking;
   * never lowered: a recorded graph may hold a larger launch.  No stream operations: may be captured */
  if (shared_bytes > 32 * 1024) {
    cudaFuncAttributes now;
    cudaError_t error = cudaFuncGetAttributes(&now, (const void *)kernel);
    if (error == cudaSuccess && now.maxDynamicSharedSizeBytes < (int)(shared_bytes + now.sharedSizeBytes)) {
      int most = now.maxDynamicSharedSizeBytes > (int)shared_bytes ? now.maxDynamicSharedSizeBytes
                                                                   : (int)shared_bytes;
      error = cudaFuncSetAttribute((const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most);
    }
    if (error != cudaSuccess) return (int)error;
  }
  void *pointers[sizeof...(P) + 1] = {(void *)&arguments..., nullptr};
  return (int)cudaLaunchKernel((const void *)kernel, grid, block, pointers, shared_bytes,
                               (cudaStream_t)queue);
}

#define FC_LAUNCH(kernel, grid, block, shared_bytes, queue, ...)                                             \
  fc_launch(kernel, grid, block, shared_bytes, queue, ##__VA_ARGS__)

#define FC_DYNAMIC_SHARED(type, name)                                                                        \
  extern __shared__ __align__(1024) unsigned char fc_dynamic_shared[];                                       \
  type *name = reinterpret_cast<type *>(fc_dynamic_shared)

typedef CUtensorMap fc_tensor_map;

typedef CUresult (*fc_tensor_map_encoder)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *,
                                          const cuuint64_t *, const cuuint64_t *, const cuuint32_t *,
                                          const cuuint32_t *, CUtensorMapInterleave, CUtensorMapSwizzle,
                                          CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

/** The driver's encoder, or NULL without a driver. */
static inline fc_tensor_map_encoder fc_tensor_map_encoder_of_driver(void) {
  static fc_tensor_map_encoder cached = nullptr; /* every thread would write the same pointer */
  if (cached == nullptr) {
    void *entry = nullptr;
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    cudaError_t e =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault, &found);
    if (e == cudaSuccess && found == cudaDriverEntryPointSuccess) cached = (fc_tensor_map_encoder)entry;
  }
  return cached;
}

static inline int fc_tensor_map_encode(fc_tensor_map *out, fc_elem elem, int rank, const void *base,
                                       const int64_t *dim, const int64_t *stride_bytes, const int *box,
                                       int swizzle_bytes) {
  fc_tensor_map_encoder encode = fc_tensor_map_encoder_of_driver();
  if (encode == nullptr) return (int)cudaErrorInsufficientDriver;
  if (rank < 2 || rank > 4) return (int)cudaErrorInvalidValue;
  CUtensorMapDataType type = elem == FC_ELEM_F32    ? CU_TENSOR_MAP_DATA_TYPE_FLOAT32
                             : elem == FC_ELEM_BF16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                             : elem == FC_ELEM_I32  ? CU_TENSOR_MAP_DATA_TYPE_INT32
                                                    : CU_TENSOR_MAP_DATA_TYPE_UINT8;
  CUtensorMapSwizzle swizzle = swizzle_bytes == 128  ? CU_TENSOR_MAP_SWIZZLE_128B
                               : swizzle_bytes == 64 ? CU_TENSOR_MAP_SWIZZLE_64B
                               : swizzle_bytes == 32 ? CU_TENSOR_MAP_SWIZZLE_32B
                                                     : CU_TENSOR_MAP_SWIZZLE_NONE;
  cuuint64_t dims[4], strides[4];
  cuuint32_t boxes[4], steps[4];
  for (int i = 0; i < rank; i++) {
    dims[i] = (cuuint64_t)dim[i];
    boxes[i] = (cuuint32_t)box[i];
    steps[i] = 1;
    if (i + 1 < rank) strides[i] = (cuuint64_t)stride_bytes[i];
  }
  return (int)encode(out, type, (cuuint32_t)rank, const_cast<void *>(base), dims, strides, boxes, steps,
                     CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                     CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

/* --- synchronisation --- */

__device__ __forceinline__ uint32_t fc_shared_address(const void *p) {
  return (uint32_t)__cvta_generic_to_shared(p);
}

__device__ __forceinline__ void fc_barrier_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

__device__ __forceinline__ void fc_barrier_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

__device__ __forceinline__ bool fc_elect_one() {
  uint32_t elected;
  asm volatile("{\n.reg .pred p;\nelect.sync _|p, 0xffffffff;\nselp.u32 %0, 1, 0, p;\n}" : "=r"(elected));
  return elected != 0;
}

__device__ __forceinline__ void fc_mbarrier_init(uint64_t *bar, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(fc_shared_address(bar)), "r"(arrivals)
               : "memory");
}

__device__ __forceinline__ void fc_mbarrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ __forceinline__ void fc_mbarrier_arrive(uint64_t *bar) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(fc_shared_address(bar)) : "memory");
}

__device__ __forceinline__ void fc_mbarrier_expect(uint64_t *bar, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(fc_shared_address(bar)),
               "r"(bytes)
               : "memory");
}

__device__ __forceinline__ void fc_mbarrier_wait(uint64_t *bar, uint32_t parity) {
  uint32_t address = fc_shared_address(bar), done;
  do {
    asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                 "selp.u32 %0, 1, 0, p;\n}"
                 : "=r"(done)
                 : "r"(address), "r"(parity)
                 : "memory");
  } while (done == 0);
}

__device__ __forceinline__ void fc_async_fence() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

template <int N> __device__ __forceinline__ void fc_registers_raise() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}

template <int N> __device__ __forceinline__ void fc_registers_lower() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

/* --- bulk copies --- */

#define FC_TMA_LOAD    "cp.async.bulk.tensor."
#define FC_TMA_LOAD_TO ".shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, "

__device__ __forceinline__ void fc_tma_load_2d(void *shared, const fc_tensor_map *map, uint64_t *bar, int x,
                                               int y) {
  asm volatile(FC_TMA_LOAD "2d" FC_TMA_LOAD_TO "{%3, %4}], [%2];" ::"r"(fc_shared_address(shared)), "l"(map),
               "r"(fc_shared_address(bar)), "r"(x), "r"(y)
               : "memory");
}

__device__ __forceinline__ void fc_tma_load_3d(void *shared, const fc_tensor_map *map, uint64_t *bar, int x,
                                               int y, int z) {
  asm volatile(FC_TMA_LOAD "3d" FC_TMA_LOAD_TO "{%3, %4, %5}], [%2];" ::"r"(fc_shared_address(shared)),
               "l"(map), "r"(fc_shared_address(bar)), "r"(x), "r"(y), "r"(z)
               : "memory");
}

__device__ __forceinline__ void fc_tma_load_4d(void *shared, const fc_tensor_map *map, uint64_t *bar, int x,
                                               int y, int z, int w) {
  asm volatile(FC_TMA_LOAD "4d" FC_TMA_LOAD_TO "{%3, %4, %5, %6}], [%2];" ::"r"(fc_shared_address(shared)),
               "l"(map), "r"(fc_shared_address(bar)), "r"(x), "r"(y), "r"(z), "r"(w)
               : "memory");
}

#undef FC_TMA_LOAD
#undef FC_TMA_LOAD_TO

__device__ __forceinline__ void fc_tma_store_2d(const fc_tensor_map *map, const void *shared, int x, int y) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map),
               "r"(fc_shared_address(shared)), "r"(x), "r"(y)
               : "memory");
}

__device__ __forceinline__ void fc_tma_store_3d(const fc_tensor_map *map, const void *shared, int x, int y,
                                                int z) {
  asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map),
               "r"(fc_shared_address(shared)), "r"(x), "r"(y), "r"(z)
               : "memory");
}

__device__ __forceinline__ void fc_tma_store_commit() {
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

template <int N> __device__ __forceinline__ void fc_tma_store_wait() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
}

__device__ __forceinline__ void fc_tma_prefetch(const fc_tensor_map *map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

__device__ __forceinline__ void fc_bulk_load(void *shared, const void *global, uint32_t bytes,
                                             uint64_t *bar) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
          fc_shared_address(shared)),
      "l"(__cvta_generic_to_global(global)), "r"(bytes), "r"(fc_shared_address(bar))
      : "memory");
}

__device__ __forceinline__ void fc_copy_async16(void *shared, const void *global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(fc_shared_address(shared)),
               "l"(__cvta_generic_to_global(global))
               : "memory");
}

__device__ __forceinline__ void fc_copy_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

template <int N> __device__ __forceinline__ void fc_copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/* --- matrix instructions of a warp --- */

__device__ __forceinline__ void fc_mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void fc_ldmatrix_x4(uint32_t (&r)[4], const void *shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(fc_shared_address(shared))
               : "memory");
}

__device__ __forceinline__ void fc_ldmatrix_x4_trans(uint32_t (&r)[4], const void *shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(fc_shared_address(shared))
               : "memory");
}

__device__ __forceinline__ void fc_ldmatrix_x2(uint32_t (&r)[2], const void *shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(fc_shared_address(shared))
               : "memory");
}

__device__ __forceinline__ void fc_stmatrix_x4(void *shared, const uint32_t (&r)[4]) {
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(fc_shared_address(shared)),
      "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
      : "memory");
}

/* --- conversions, special functions, cache hints --- */

__device__ __forceinline__ uint16_t fc_pack_e4m3(float low, float high) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 890
  uint16_t packed; /* the first source goes to the upper half */
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %2, %1;" : "=h"(packed) : "f"(low), "f"(high));
  return packed;
#else /* before Ada there is no instruction for it */
  return (uint16_t)(fc_e4m3_encode(low) | fc_e4m3_encode(high) << 8);
#endif
}

__device__ __forceinline__ uint32_t fc_pack_bf16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %2, %1;" : "=r"(packed) : "f"(low), "f"(high));
  return packed;
}

__device__ __forceinline__ float fc_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/* not .nc: ptxas moves loads of the read-only path behind later stores to save registers, and few stay in
 * flight */
__device__ __forceinline__ uint4 fc_load_stream(const void *global) {
  uint4 v;
  asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(__cvta_generic_to_global(global))
               : "memory");
  return v;
}

__device__ __forceinline__ void fc_prefetch(const void *global, uint32_t bytes) {
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(__cvta_generic_to_global(global)),
               "r"(bytes));
}

/* a predicate, not a branch: the lanes stay together */
__device__ __forceinline__ void fc_add4(bool there, float *global, float4 v) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %5, 0;\n@p red.global.add.v4.f32 [%0], {%1, %2, %3, %4};\n}" ::"l"(
          __cvta_generic_to_global(global)),
      "f"(v.x), "f"(v.y), "f"(v.z), "f"(v.w), "r"((int)there)
      : "memory");
}

__device__ __forceinline__ void fc_store_stream(void *global, uint4 v) {
  asm volatile("st.global.cs.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(global)),
               "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
               : "memory");
}

#endif
