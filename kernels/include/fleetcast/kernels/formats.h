/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_KERNELS_FORMATS_H
#define FC_KERNELS_FORMATS_H

#include <stdint.h>
#include <string.h>

/** Number formats and synthetic data, in one text for the host and for the GPU: a tensor filled on a GPU is
 *  bit for bit the one that a CPU fills.  C and CUDA C++; pure. */

#if defined(__CUDACC__)
#define FC_HD __host__ __device__ __forceinline__
#else
#define FC_HD static inline
#endif

/* --- bits --- */

FC_HD uint32_t fc_float_bits(float x) {
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}

FC_HD float fc_float_of_bits(uint32_t u) {
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}

/* --- bfloat16: the upper half of a binary32 --- */

/** Round to nearest, ties to even; a NaN stays a (quiet) NaN. */
FC_HD uint16_t fc_bf16_encode(float x) {
  uint32_t u = fc_float_bits(x);
  uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  uint32_t nan = (u >> 16) | 0x40u;
  return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

FC_HD float fc_bf16_decode(uint16_t b) {
  return fc_float_of_bits((uint32_t)b << 16);
}

/* --- e4m3: 1 sign, 4 exponent (bias 7), 3 mantissa bits; no infinity, 0x7f is NaN, largest 448 ---
 *  @source OCP 8-bit Floating Point Specification 1.0; saturating as cvt.rn.satfinite.e4m3x2.f32 does */

#define FC_E4M3_MAX 448.0f

/** Round to nearest, ties to even; beyond 448 (and infinity): +-448; NaN: 0x7f. */
FC_HD uint8_t fc_e4m3_encode(float x) {
  uint32_t u = fc_float_bits(x), sign = (u >> 24) & 0x80u, a = u & 0x7fffffffu;
  /* normal: keep 3 mantissa bits; the carry of rounding may raise the exponent */
  uint32_t normal = ((a + 0x7ffffu + ((a >> 20) & 1u)) >> 20) - ((127u - 7u) << 3);
  /* subnormal, below 2^-6: the sum's last bit weighs 2^-9, the step of e4m3's subnormals */
  uint32_t small = fc_float_bits(fc_float_of_bits(a) + 16384.0f) - 0x46800000u; /* 2^14: ulp 2^-9 */
  uint32_t code = a < 0x3c800000u ? small : normal;
  code = a > 0x43e00000u ? 0x7eu : code; /* 448 and beyond */
  code = a > 0x7f800000u ? 0x7fu : code;
  return (uint8_t)(sign | code);
}

FC_HD float fc_e4m3_decode(uint8_t c) {
  uint32_t sign = (uint32_t)(c & 0x80u) << 24, e = (c >> 3) & 15u, m = c & 7u;
  float normal = fc_float_of_bits(((e + 120u) << 23) | (m << 20));
  float small = (float)m * 0.001953125f; /* 2^-9 */
  float value = e ? normal : small;
  if ((c & 0x7fu) == 0x7fu) value = fc_float_of_bits(0x7fc00000u);
  return fc_float_of_bits(fc_float_bits(value) | sign);
}

/* --- synthetic data: a pure function of (seed, tensor, element) --- */

/** How a tensor is filled.  "Exact" is the mode in which results are exact in floating point, so that the
 *  check is bitwise (nccl-tests, verifiable/): small integers for values, powers of two for scales. */
typedef enum fc_fill {
  FC_FILL_NONE,    /* outputs and work space: poison */
  FC_FILL_NORMAL,  /* mean 0, standard deviation `spread`; exact: one of -2 -1 0 1 2 */
  FC_FILL_FP8,     /* e4m3 codes of normal values whose 3 sigma lie at 448; exact: -2 -1 0 1 2 */
  FC_FILL_SCALE,   /* uniform in spread * [0.5, 1.5]; exact: 1/2, 1 or 2 */
  FC_FILL_UNIFORM, /* in (0, 1) */
  FC_FILL_ZERO,
  FC_FILL_HOST, /* indices and tables: the operator's prepare() writes them */
} fc_fill;

/** Mixes a counter into 64 random bits. @source splitmix64 finaliser, Steele, Lea, Flood 2014 */
FC_HD uint64_t fc_fill_bits(uint64_t seed, uint64_t tensor, uint64_t element) {
  uint64_t z = (seed + tensor * 0xd1342543de82ef95u) ^ (element * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/** Sum of four 16-bit uniforms, centred and scaled to variance 1 (range +-3.46): integer arithmetic and one
 *  multiplication, hence the same on every machine. */
FC_HD float fc_fill_normal(uint64_t bits) {
  int32_t sum = (int32_t)(bits & 0xffffu) + (int32_t)((bits >> 16) & 0xffffu) +
                (int32_t)((bits >> 32) & 0xffffu) + (int32_t)(bits >> 48);
  return (float)(sum - 131070) * 2.6429e-5f; /* sqrt(3) / 65535 */
}

FC_HD float fc_fill_value(fc_fill fill, float spread, int exact, uint64_t bits) {
  float uniform = ((float)(uint32_t)(bits >> 41) + 0.5f) * 1.1920929e-7f; /* 23 bits, 2^-23 */
  switch (fill) {
  case FC_FILL_NORMAL: return exact ? (float)((int32_t)(bits % 5u) - 2) : fc_fill_normal(bits) * spread;
  case FC_FILL_FP8:
    return exact ? (float)((int32_t)(bits % 5u) - 2) : fc_fill_normal(bits) * (FC_E4M3_MAX / 3.0f);
  case FC_FILL_SCALE: {
    uint32_t third = (uint32_t)(bits % 3u);
    return exact ? (third == 0 ? 0.5f : (third == 1 ? 1.0f : 2.0f)) : (0.5f + uniform) * spread;
  }
  case FC_FILL_UNIFORM: return uniform;
  default: return 0.0f;
  }
}

#endif
