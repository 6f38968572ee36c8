/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CUDA_WGMMA_CUH
#define FC_CUDA_WGMMA_CUH

/** Matrix instructions of a warpgroup for nvcc; the manual is device.cuh.
 *
 *  One instruction names up to 128 accumulators, and asm operands are numbered: the lists below are written
 * once, in rows of 16, and expanded twice: FC_TEXT gives "%0, %1, ...", FC_OPERAND gives "+f"(d[0]),
 * "+f"(d[1]), ... */

/* clang-format off */
#define FC_TEXT(a, b, c, d, e, f, g, h)                                                                      \
  "%" #a ", %" #b ", %" #c ", %" #d ", %" #e ", %" #f ", %" #g ", %" #h
#define FC_MORE_TEXT(a, b, c, d, e, f, g, h) ", " FC_TEXT(a, b, c, d, e, f, g, h)
#define FC_OPERAND(i0, i1, i2, i3, i4, i5, i6, i7)                                                           \
  "+f"(d[i0]), "+f"(d[i1]), "+f"(d[i2]), "+f"(d[i3]), "+f"(d[i4]), "+f"(d[i5]), "+f"(d[i6]), "+f"(d[i7])
#define FC_MORE_OPERAND(i0, i1, i2, i3, i4, i5, i6, i7) , FC_OPERAND(i0, i1, i2, i3, i4, i5, i6, i7)

/* accumulators 0 .. n-1: F takes the first 8, M every further 8 */
#define FC_D_8(F, M)   F(0, 1, 2, 3, 4, 5, 6, 7)
#define FC_D_16(F, M)  FC_D_8(F, M) M(8, 9, 10, 11, 12, 13, 14, 15)
#define FC_D_32(F, M)  FC_D_16(F, M) M(16, 17, 18, 19, 20, 21, 22, 23) M(24, 25, 26, 27, 28, 29, 30, 31)
#define FC_D_48(F, M)  FC_D_32(F, M) M(32, 33, 34, 35, 36, 37, 38, 39) M(40, 41, 42, 43, 44, 45, 46, 47)
#define FC_D_64(F, M)  FC_D_48(F, M) M(48, 49, 50, 51, 52, 53, 54, 55) M(56, 57, 58, 59, 60, 61, 62, 63)
#define FC_D_80(F, M)  FC_D_64(F, M) M(64, 65, 66, 67, 68, 69, 70, 71) M(72, 73, 74, 75, 76, 77, 78, 79)
#define FC_D_96(F, M)  FC_D_80(F, M) M(80, 81, 82, 83, 84, 85, 86, 87) M(88, 89, 90, 91, 92, 93, 94, 95)
#define FC_D_112(F, M) FC_D_96(F, M) M(96, 97, 98, 99, 100, 101, 102, 103) \
                       M(104, 105, 106, 107, 108, 109, 110, 111)
#define FC_D_128(F, M) FC_D_112(F, M) M(112, 113, 114, 115, 116, 117, 118, 119) \
                       M(120, 121, 122, 123, 124, 125, 126, 127)
/* clang-format on */

/* every n: n, accumulators n/2, the numbers of up to six operands after the accumulators */
#define FC_WGMMA_SHAPES(X)                                                                                   \
  X(16, 8, 8, 9, 10, 11, 12, 13)                                                                             \
  X(32, 16, 16, 17, 18, 19, 20, 21)                                                                          \
  X(64, 32, 32, 33, 34, 35, 36, 37)                                                                          \
  X(96, 48, 48, 49, 50, 51, 52, 53)                                                                          \
  X(128, 64, 64, 65, 66, 67, 68, 69)                                                                         \
  X(160, 80, 80, 81, 82, 83, 84, 85)                                                                         \
  X(192, 96, 96, 97, 98, 99, 100, 101)                                                                       \
  X(256, 128, 128, 129, 130, 131, 132, 133)

template <int N> struct fc_wgmma_has_no_shape { static constexpr bool value = false; };

/* the general templates: an N that is not in the table */
#define FC_WGMMA_GENERAL(name, a_type)                                                                       \
  template <int N> __device__ __forceinline__ void name(float(&)[N / 2], a_type, uint64_t, bool) {           \
    static_assert(fc_wgmma_has_no_shape<N>::value, "no such wgmma shape: see device.cuh");                   \
  }
typedef const uint32_t (&fc_wgmma_a_registers)[4];
FC_WGMMA_GENERAL(fc_wgmma_e4m3, uint64_t)
FC_WGMMA_GENERAL(fc_wgmma_bf16, uint64_t)
FC_WGMMA_GENERAL(fc_wgmma_bf16_tn, uint64_t)
FC_WGMMA_GENERAL(fc_wgmma_bf16_ra, fc_wgmma_a_registers)
FC_WGMMA_GENERAL(fc_wgmma_bf16_ra_tn, fc_wgmma_a_registers)
#undef FC_WGMMA_GENERAL

/* A and B in shared memory; `tail`: scale of A, scale of B, and for bf16 which operands are MN-major */
#define FC_WGMMA_SS(name, n, regs, type, tail, a_no, b_no, acc_no)                                           \
  template <>                                                                                                \
  __device__ __forceinline__ void name<n>(float(&d)[regs], uint64_t a, uint64_t b, bool accumulate) {        \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #acc_no ", 0;\n"                                       \
                 "wgmma.mma_async.sync.aligned.m64n" #n type                                                 \
                 " {" FC_D_##regs(FC_TEXT, FC_MORE_TEXT) "}, %" #a_no ", %" #b_no ", p, " tail ";\n}\n"      \
                 : FC_D_##regs(FC_OPERAND, FC_MORE_OPERAND)                                                  \
                 : "l"(a), "l"(b), "r"((int)accumulate));                                                    \
  }
/* A in registers */
#define FC_WGMMA_RS(name, n, regs, tail, a0, a1, a2, a3, b_no, acc_no)                                       \
  template <>                                                                                                \
  __device__ __forceinline__ void name<n>(float(&d)[regs], fc_wgmma_a_registers a, uint64_t b,               \
                                          bool accumulate) {                                                 \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #acc_no ", 0;\n"                                       \
                 "wgmma.mma_async.sync.aligned.m64n" #n                                                      \
                 "k16.f32.bf16.bf16 {" FC_D_##regs(FC_TEXT, FC_MORE_TEXT) "}, {%" #a0 ", %" #a1 ", %" #a2    \
                                                                          ", %" #a3 "}, %" #b_no             \
                                                                          ", p, " tail ";\n}\n"              \
                 : FC_D_##regs(FC_OPERAND, FC_MORE_OPERAND)                                                  \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"((int)accumulate));                \
  }

#define FC_WGMMA_ALL(n, regs, i0, i1, i2, i3, i4, i5)                                                        \
  FC_WGMMA_SS(fc_wgmma_e4m3, n, regs, "k32.f32.e4m3.e4m3", "1, 1", i0, i1, i2)                               \
  FC_WGMMA_SS(fc_wgmma_bf16, n, regs, "k16.f32.bf16.bf16", "1, 1, 0, 0", i0, i1, i2)                         \
  FC_WGMMA_SS(fc_wgmma_bf16_tn, n, regs, "k16.f32.bf16.bf16", "1, 1, 0, 1", i0, i1, i2)                      \
  FC_WGMMA_RS(fc_wgmma_bf16_ra, n, regs, "1, 1, 0", i0, i1, i2, i3, i4, i5)                                  \
  FC_WGMMA_RS(fc_wgmma_bf16_ra_tn, n, regs, "1, 1, 1", i0, i1, i2, i3, i4, i5)
FC_WGMMA_SHAPES(FC_WGMMA_ALL)

#undef FC_WGMMA_ALL
#undef FC_WGMMA_RS
#undef FC_WGMMA_SS
#undef FC_WGMMA_SHAPES
#undef FC_D_8
#undef FC_D_16
#undef FC_D_32
#undef FC_D_48
#undef FC_D_64
#undef FC_D_80
#undef FC_D_96
#undef FC_D_112
#undef FC_D_128
#undef FC_TEXT
#undef FC_MORE_TEXT
#undef FC_OPERAND
#undef FC_MORE_OPERAND

__device__ __forceinline__ void fc_wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ __forceinline__ void fc_wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

template <int N> __device__ __forceinline__ void fc_wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

template <int R> __device__ __forceinline__ void fc_wgmma_hold(float (&d)[R]) {
#pragma unroll
  for (int i = 0; i < R; i++) asm volatile("" : "+f"(d[i])::"memory");
}

__device__ __forceinline__ uint64_t fc_wgmma_descriptor(const void *shared, int swizzle_bytes,
                                                        int leading_bytes, int stride_bytes) {
  uint64_t mode = swizzle_bytes == 128 ? 1 : (swizzle_bytes == 64 ? 2 : (swizzle_bytes == 32 ? 3 : 0));
  uint64_t address = (uint32_t)__cvta_generic_to_shared(shared);
  return ((address & 0x3ffff) >> 4) | (uint64_t)((leading_bytes & 0x3ffff) >> 4) << 16 |
         (uint64_t)((stride_bytes & 0x3ffff) >> 4) << 32 | mode << 62;
}

#endif
