/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_EMULATOR_INTRINSICS_HPP
#define FC_EMULATOR_INTRINSICS_HPP

/** Functions of one thread that CUDA has and C++ has not: bits, atomics, fast mathematics, conversions.
 *  Included by emulator.hpp. */

/* --- bits --- */

static inline int __popc(uint32_t x) {
  return __builtin_popcount(x);
}
static inline int __ffs(int x) {
  return __builtin_ffs(x);
}
static inline int __clz(int x) {
  return x == 0 ? 32 : __builtin_clz((unsigned)x);
}
static inline uint32_t __float_as_uint(float x) {
  return fc_float_bits(x);
}
static inline int __float_as_int(float x) {
  return (int)fc_float_bits(x);
}
static inline float __uint_as_float(uint32_t x) {
  return fc_float_of_bits(x);
}
static inline float __int_as_float(int x) {
  return fc_float_of_bits((uint32_t)x);
}
template <typename T> static inline T __ldg(const T *p) {
  return *p;
}

/* --- minimum and maximum of equal types, as CUDA overloads them --- */

#define FC_MIN_MAX(type)                                                                                     \
  static inline type min(type a, type b) {                                                                   \
    return b < a ? b : a;                                                                                    \
  }                                                                                                          \
  static inline type max(type a, type b) {                                                                   \
    return a < b ? b : a;                                                                                    \
  }
FC_MIN_MAX(int)
FC_MIN_MAX(unsigned)
FC_MIN_MAX(long)
FC_MIN_MAX(unsigned long)
FC_MIN_MAX(long long)
FC_MIN_MAX(unsigned long long)
#undef FC_MIN_MAX
static inline float min(float a, float b) {
  return fminf(a, b);
}
static inline float max(float a, float b) {
  return fmaxf(a, b);
}

/* --- atomics: real ones, blocks may run on several threads of the machine --- */

#define FC_ATOMICS(type)                                                                                     \
  static inline type atomicAdd(type *p, type v) {                                                            \
    return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);                                                       \
  }                                                                                                          \
  static inline type atomicExch(type *p, type v) {                                                           \
    return __atomic_exchange_n(p, v, __ATOMIC_RELAXED);                                                      \
  }                                                                                                          \
  static inline type atomicMax(type *p, type v) {                                                            \
    type old = __atomic_load_n(p, __ATOMIC_RELAXED);                                                         \
    while (old < v && !__atomic_compare_exchange_n(p, &old, v, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {  \
    }                                                                                                        \
    return old;                                                                                              \
  }                                                                                                          \
  static inline type atomicMin(type *p, type v) {                                                            \
    type old = __atomic_load_n(p, __ATOMIC_RELAXED);                                                         \
    while (v < old && !__atomic_compare_exchange_n(p, &old, v, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {  \
    }                                                                                                        \
    return old;                                                                                              \
  }                                                                                                          \
  static inline type atomicCAS(type *p, type expected, type v) {                                             \
    __atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);                 \
    return expected;                                                                                         \
  }
FC_ATOMICS(int)
FC_ATOMICS(unsigned)
FC_ATOMICS(unsigned long long)
#undef FC_ATOMICS

static inline float atomicAdd(float *p, float v) {
  float old, sum;
  __atomic_load(p, &old, __ATOMIC_RELAXED);
  do sum = old + v;
  while (!__atomic_compare_exchange(p, &old, &sum, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return old;
}

/* --- mathematics: here correctly rounded or nearly; on a GPU within the ulps that operator.h allows for ---
 */

static inline float rsqrtf(float x) {
  return 1.0f / sqrtf(x);
}
#define __expf(x)  expf(x) /* names that glibc has too: as macros */
#define __logf(x)  logf(x)
#define __log2f(x) log2f(x)
static inline float __fdividef(float x, float y) {
  return x / y;
}
static inline float __frcp_rn(float x) {
  return 1.0f / x;
}
static inline float __fadd_rn(float x, float y) {
  return x + y;
}
static inline float __fmul_rn(float x, float y) {
  return x * y;
}
static inline float __fdiv_rn(float x, float y) {
  return x / y;
}
static inline float __fsqrt_rn(float x) {
  return sqrtf(x);
}
static inline float __fmaf_rn(float x, float y, float z) {
  return fmaf(x, y, z);
}
static inline int __float2int_rn(float x) {
  return (int)rintf(x);
}

/** ex2.approx.ftz: subnormal arguments and results are zero. */
static inline float fc_exp2(float x) {
  float y = exp2f(x);
  return y < 1.17549435e-38f ? 0.0f : y; /* 2^-126; a NaN passes */
}

/* --- conversions, cache hints --- */

static inline uint16_t fc_pack_e4m3(float low, float high) {
  return (uint16_t)(fc_e4m3_encode(low) | (unsigned)fc_e4m3_encode(high) << 8);
}
static inline uint32_t fc_pack_bf16(float low, float high) {
  return fc_bf16_encode(low) | (uint32_t)fc_bf16_encode(high) << 16;
}
static inline void fc_prefetch(const void *, uint32_t) {}

static inline void fc_add4(bool there, float *global, float4 v) {
  if (!there) return;
  global[0] += v.x;
  global[1] += v.y;
  global[2] += v.z;
  global[3] += v.w;
}

static inline uint4 fc_load_stream(const void *global) {
  return *static_cast<const uint4 *>(global);
}
static inline void fc_store_stream(void *global, uint4 v) {
  *static_cast<uint4 *>(global) = v;
}

#endif
