/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CUDA_NORM_CUH
#define FC_CUDA_NORM_CUH

/** RMSNorm, forward with quantisation and backward.  Three shapes of kernel: a warp a row (n up to 2,048), a
 * block a row, rows in a loop and the next one on its way into shared memory meanwhile (n up to 16,384), and
 * one that is right for any n. */

#include "rowwise.cuh"

#define FC_NORM_EPS 1e-6f

struct norm_args {
  const uint16_t *x, *gamma, *residual; /* residual, sum: with a residual */
  uint8_t *y;
  float *ys;
  uint16_t *sum;
  int64_t m, n;
};

/* Values of a vector, and the sum with its residual stored on the first visit. */
template <bool RESIDUAL> __device__ __forceinline__ void norm_values(float (&f)[8], uint4 x, uint4 residual) {
  fc_unpack8(f, x);
  if constexpr (RESIDUAL) {
    float r[8];
    fc_unpack8(r, residual);
#pragma unroll
    for (int i = 0; i < 8; i++) f[i] += r[i];
  }
}

__device__ __forceinline__ float square_sum8(const float (&f)[8]) {
  float s = 0;
#pragma unroll
  for (int i = 0; i < 8; i++) s += f[i] * f[i];
  return s;
}

/* Scales, quantises and stores one vector; all lanes of a warp take part. */
__device__ __forceinline__ void norm_store(const norm_args &a, float (&f)[8], uint4 gamma, float r,
                                           int64_t row, int64_t column, bool inside) {
  float g[8];
  fc_unpack8(g, gamma);
#pragma unroll
  for (int i = 0; i < 8; i++) f[i] = f[i] * r * g[i];
  float amax = fc_block_max(fc_amax8(f));
  if (!inside) return;
  *reinterpret_cast<uint2 *>(a.y + row * a.n + column) = fc_pack8_e4m3(f, fc_factor_of(amax));
  if (column % 128 == 0) a.ys[column / 128 * a.m + row] = fc_scale_of(amax);
}

/* --- a warp a row --- */

template <bool RESIDUAL, int VECTORS>
static __global__ void __launch_bounds__(FC_THREADS) norm_by_warp(const norm_args a) {
  int64_t row = (int64_t)blockIdx.x * FC_WARPS + threadIdx.x / FC_WARP;
  int lane = threadIdx.x % FC_WARP;
  bool live = row < a.m;
  uint4 x[VECTORS], residual[RESIDUAL ? VECTORS : 1];
#pragma unroll
  for (int v = 0; v < VECTORS; v++) {
    int64_t column = (v * FC_WARP + lane) * 8, valid = live ? a.n - column : 0;
    x[v] = fc_load8<true>(a.x, row * a.n + column, valid);
    if constexpr (RESIDUAL) residual[v] = fc_load8<true>(a.residual, row * a.n + column, valid);
  }
  float squares = 0;
#pragma unroll
  for (int v = 0; v < VECTORS; v++) {
    int64_t column = (v * FC_WARP + lane) * 8;
    float f[8];
    norm_values<RESIDUAL>(f, x[v], residual[RESIDUAL ? v : 0]);
    squares += square_sum8(f);
    if (RESIDUAL) fc_store8_bf16<true>(a.sum + row * a.n + column, live ? a.n - column : 0, fc_pack8_bf16(f));
  }
  float r = rsqrtf(fc_warp_sum(squares) / (float)a.n + FC_NORM_EPS);
#pragma unroll
  for (int v = 0; v < VECTORS; v++) {
    int64_t column = (v * FC_WARP + lane) * 8;
    float f[8];
    norm_values<RESIDUAL>(f, x[v], residual[RESIDUAL ? v : 0]);
    norm_store(a, f, fc_load8<true>(a.gamma, column, a.n - column), r, row, column, live && column < a.n);
  }
}

/* --- a block a row ---
 *
 * A thread copies the vectors that it will read itself, so that waiting for its own copies is enough. */

enum { NORM_VECTORS = 4 };

/* Starts copying a row's vectors of this thread; always one group of copies. */
template <int VECTORS>
__device__ __forceinline__ void start_row(uint4 *to, const uint16_t *from, int64_t row, int64_t m,
                                          int64_t n) {
#pragma unroll
  for (int v = 0; v < VECTORS; v++) {
    int i = v * blockDim.x + threadIdx.x;
    if (row < m && i * 8 < n) fc_copy_async16(to + i, from + row * n + i * 8);
  }
}

template <bool RESIDUAL, int THREADS, int BLOCKS>
static __global__ void __launch_bounds__(THREADS, BLOCKS) norm_by_block(const norm_args a) {
  FC_DYNAMIC_SHARED(uint4, rows); /* [2 stages][1 or 2 tensors][NORM_VECTORS blockDim] */
  __shared__ float scratch[2][FC_WARP];
  const int span = NORM_VECTORS * blockDim.x, stage = span * (RESIDUAL ? 2 : 1);
  uint4 gamma[NORM_VECTORS];
#pragma unroll
  for (int v = 0; v < NORM_VECTORS; v++) {
    int column = (v * blockDim.x + threadIdx.x) * 8;
    gamma[v] = fc_load8<true>(a.gamma, column, a.n - column);
  }
  start_row<NORM_VECTORS>(rows, a.x, blockIdx.x, a.m, a.n);
  if (RESIDUAL) start_row<NORM_VECTORS>(rows + span, a.residual, blockIdx.x, a.m, a.n);
  fc_copy_async_commit();
  int turn = 0;
  for (int64_t row = blockIdx.x; row < a.m; row += gridDim.x, turn ^= 1) {
    uint4 *here = rows + turn * stage, *next = rows + (turn ^ 1) * stage;
    start_row<NORM_VECTORS>(next, a.x, row + gridDim.x, a.m, a.n);
    if (RESIDUAL) start_row<NORM_VECTORS>(next + span, a.residual, row + gridDim.x, a.m, a.n);
    fc_copy_async_commit();
    fc_copy_async_wait<1>();
    float f[8], squares[1] = {0};
#pragma unroll
    for (int v = 0; v < NORM_VECTORS; v++) {
      int i = v * blockDim.x + threadIdx.x, column = i * 8;
      if (column >= a.n) continue;
      norm_values<RESIDUAL>(f, here[i], here[RESIDUAL ? span + i : i]);
      squares[0] += square_sum8(f);
      if (RESIDUAL) *reinterpret_cast<uint4 *>(a.sum + row * a.n + column) = fc_pack8_bf16(f);
    }
    fc_cta_sum(squares, scratch[turn]);
    float r = rsqrtf(squares[0] / (float)a.n + FC_NORM_EPS);
#pragma unroll
    for (int v = 0; v < NORM_VECTORS; v++) {
      int i = v * blockDim.x + threadIdx.x, column = i * 8;
      bool inside = column < a.n;
      uint4 none = make_uint4(0, 0, 0, 0);
      norm_values<RESIDUAL>(f, inside ? here[i] : none, RESIDUAL && inside ? here[span + i] : none);
      norm_store(a, f, gamma[v], r, row, column, inside);
    }
  }
}

/* --- any n --- */

template <bool RESIDUAL> __device__ __forceinline__ float norm_value(const norm_args &a, int64_t at) {
  float x = fc_bf16_decode(a.x[at]);
  return RESIDUAL ? x + fc_bf16_decode(a.residual[at]) : x;
}

template <bool RESIDUAL> __global__ void __launch_bounds__(FC_THREADS) norm_any(const norm_args a) {
  __shared__ float scratch[FC_WARP];
  int64_t row = blockIdx.x, first = row * a.n;
  float squares[1] = {0};
  for (int64_t j = threadIdx.x; j < a.n; j += FC_THREADS) {
    float x = norm_value<RESIDUAL>(a, first + j);
    squares[0] += x * x;
    if (RESIDUAL) a.sum[first + j] = fc_bf16_encode(x);
  }
  fc_cta_sum(squares, scratch);
  float r = rsqrtf(squares[0] / (float)a.n + FC_NORM_EPS);
  for (int64_t b = threadIdx.x / FC_WARP; b * 128 < a.n; b += FC_WARPS) {
    float f[4], amax = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      int64_t j = b * 128 + i * FC_WARP + threadIdx.x % FC_WARP;
      f[i] = j < a.n ? norm_value<RESIDUAL>(a, first + j) * r * fc_bf16_decode(a.gamma[j]) : 0.0f;
      amax = fmaxf(amax, fabsf(f[i]));
    }
    amax = fc_warp_max(amax);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      int64_t j = b * 128 + i * FC_WARP + threadIdx.x % FC_WARP;
      if (j < a.n) a.y[first + j] = (uint8_t)fc_pack_e4m3(f[i] * fc_factor_of(amax), 0.0f);
    }
    if (threadIdx.x % FC_WARP == 0) a.ys[b * a.m + row] = fc_scale_of(amax);
  }
}

template <bool RESIDUAL> static int norm_launch(const norm_args &a, int64_t units, fc_queue queue) {
  dim3 by_warp((unsigned)fc_ceil_div(a.m, FC_WARPS)), block(FC_THREADS);
  if (a.n % 8 != 0 || a.n > 16384)
    return FC_LAUNCH((norm_any<RESIDUAL>), dim3((unsigned)a.m), block, 0, queue, a);
  if (a.n <= 512) return FC_LAUNCH((norm_by_warp<RESIDUAL, 2>), by_warp, block, 0, queue, a);
  if (a.n <= 1024) return FC_LAUNCH((norm_by_warp<RESIDUAL, 4>), by_warp, block, 0, queue, a);
  if (a.n <= 1536) return FC_LAUNCH((norm_by_warp<RESIDUAL, 6>), by_warp, block, 0, queue, a);
  if (a.n <= 2048) return FC_LAUNCH((norm_by_warp<RESIDUAL, 8>), by_warp, block, 0, queue, a);
  unsigned threads = (unsigned)(fc_ceil_div(a.n, 8 * NORM_VECTORS * FC_WARP) * FC_WARP);
  size_t shared = sizeof(uint4) * NORM_VECTORS * threads * 2 * (RESIDUAL ? 2 : 1);
  /* as many blocks as are resident: registers for 4 (3 with a residual) of 256 threads, or 1 of 512 */
  const int resident = RESIDUAL ? 3 : 4;
  int64_t most = units * (threads > 256 ? 1 : resident);
  dim3 grid((unsigned)(a.m < most ? a.m : most));
  if (threads > 256)
    return FC_LAUNCH((norm_by_block<RESIDUAL, 512, 1>), grid, dim3(threads), shared, queue, a);
  return FC_LAUNCH((norm_by_block<RESIDUAL, 256, resident>), grid, dim3(threads), shared, queue, a);
}

/* --- backward ---
 *
 * dx row by row; dgamma in registers while a block passes over its rows, then as partial sums [parts][n],
 * which a second kernel adds in order of the parts. */

struct norm_b_args {
  const uint16_t *x, *dy, *gamma;
  uint16_t *dx;
  float *dgamma, *work;
  int64_t m, n;
};

enum { NORM_B_PARTS = 1024 }; /* rows of WORK */

template <int VECTORS, int THREADS, int BLOCKS>
static __global__ void __launch_bounds__(THREADS, BLOCKS) norm_b_by_block(const norm_b_args a) {
  FC_DYNAMIC_SHARED(uint4, rows); /* [2 stages][x, dy][VECTORS blockDim] */
  __shared__ float scratch[2][2 * FC_WARP];
  const int span = VECTORS * blockDim.x;
  uint4 gamma[VECTORS];
  float sums[VECTORS][8];
#pragma unroll
  for (int v = 0; v < VECTORS; v++) {
    int column = (v * blockDim.x + threadIdx.x) * 8;
    gamma[v] = fc_load8<true>(a.gamma, column, a.n - column);
#pragma unroll
    for (int i = 0; i < 8; i++) sums[v][i] = 0;
  }
  start_row<VECTORS>(rows, a.x, blockIdx.x, a.m, a.n);
  start_row<VECTORS>(rows + span, a.dy, blockIdx.x, a.m, a.n);
  fc_copy_async_commit();
  int turn = 0;
  for (int64_t row = blockIdx.x; row < a.m; row += gridDim.x, turn ^= 1) {
    uint4 *here = rows + turn * 2 * span, *next = rows + (turn ^ 1) * 2 * span;
    start_row<VECTORS>(next, a.x, row + gridDim.x, a.m, a.n);
    start_row<VECTORS>(next + span, a.dy, row + gridDim.x, a.m, a.n);
    fc_copy_async_commit();
    fc_copy_async_wait<1>();
    float x[8], dy[8], g[8], both[2] = {0, 0}; /* sum of x^2, of dy gamma x */
#pragma unroll
    for (int v = 0; v < VECTORS; v++) {
      int i = v * blockDim.x + threadIdx.x;
      if (i * 8 >= a.n) continue;
      fc_unpack8(x, here[i]);
      fc_unpack8(dy, here[span + i]);
      fc_unpack8(g, gamma[v]);
      both[0] += square_sum8(x);
#pragma unroll
      for (int j = 0; j < 8; j++) both[1] += dy[j] * g[j] * x[j];
    }
    fc_cta_sum(both, scratch[turn]);
    float r = rsqrtf(both[0] / (float)a.n + FC_NORM_EPS), pull = r * r * r * both[1] / (float)a.n;
#pragma unroll
    for (int v = 0; v < VECTORS; v++) {
      int i = v * blockDim.x + threadIdx.x;
      if (i * 8 >= a.n) continue;
      fc_unpack8(x, here[i]);
      fc_unpack8(dy, here[span + i]);
      fc_unpack8(g, gamma[v]);
#pragma unroll
      for (int j = 0; j < 8; j++) {
        sums[v][j] += dy[j] * x[j] * r;
        dy[j] = dy[j] * g[j] * r - x[j] * pull;
      }
      *reinterpret_cast<uint4 *>(a.dx + row * a.n + i * 8) = fc_pack8_bf16(dy);
    }
  }
#pragma unroll
  for (int v = 0; v < VECTORS; v++) {
    int column = (v * blockDim.x + threadIdx.x) * 8;
    if (column >= a.n) continue;
    float4 *to = reinterpret_cast<float4 *>(a.work + blockIdx.x * a.n + column);
    to[0] = make_float4(sums[v][0], sums[v][1], sums[v][2], sums[v][3]);
    to[1] = make_float4(sums[v][4], sums[v][5], sums[v][6], sums[v][7]);
  }
}

/* Any n; a thread keeps its columns' sums in its row of WORK. */
static __global__ void __launch_bounds__(FC_THREADS) norm_b_any(const norm_b_args a) {
  __shared__ float scratch[2][2 * FC_WARP];
  float *work = a.work + blockIdx.x * a.n;
  for (int64_t j = threadIdx.x; j < a.n; j += FC_THREADS) work[j] = 0;
  int turn = 0;
  for (int64_t row = blockIdx.x; row < a.m; row += gridDim.x, turn ^= 1) {
    int64_t first = row * a.n;
    float both[2] = {0, 0};
    for (int64_t j = threadIdx.x; j < a.n; j += FC_THREADS) {
      float x = fc_bf16_decode(a.x[first + j]);
      both[0] += x * x;
      both[1] += fc_bf16_decode(a.dy[first + j]) * fc_bf16_decode(a.gamma[j]) * x;
    }
    fc_cta_sum(both, scratch[turn]);
    float r = rsqrtf(both[0] / (float)a.n + FC_NORM_EPS), pull = r * r * r * both[1] / (float)a.n;
    for (int64_t j = threadIdx.x; j < a.n; j += FC_THREADS) {
      float x = fc_bf16_decode(a.x[first + j]), dy = fc_bf16_decode(a.dy[first + j]);
      work[j] += dy * x * r;
      a.dx[first + j] = fc_bf16_encode(dy * fc_bf16_decode(a.gamma[j]) * r - x * pull);
    }
  }
}

/* A block adds 32 columns: warp w the parts w, w + 32, .., then the warps' sums, always in the same order. */
static __global__ void __launch_bounds__(1024)
    norm_b_add(float *dgamma, const float *work, int64_t parts, int64_t n) {
  __shared__ float sums[FC_WARP][FC_WARP + 1];
  int lane = threadIdx.x % FC_WARP, warp = threadIdx.x / FC_WARP;
  int64_t column = (int64_t)blockIdx.x * FC_WARP + lane;
  float sum = 0;
  if (column < n) {
#pragma unroll 4
    for (int64_t part = warp; part < parts; part += FC_WARP) sum += work[part * n + column];
  }
  sums[warp][lane] = sum;
  __syncthreads();
  sum = fc_warp_sum(sums[lane][warp]); /* column `warp`, over the 32 warps */
  column = (int64_t)blockIdx.x * FC_WARP + warp;
  if (lane == 0 && column < n) dgamma[column] = sum;
}

static int norm_b_rows(const norm_b_args &a, int64_t units, int64_t *parts, fc_queue queue) {
  bool fast = a.n % 8 == 0 && a.n <= 16384;
  int vectors = a.n <= 2048 ? 1 : (a.n <= 8192 ? 2 : 4);
  unsigned threads = (unsigned)(fc_ceil_div(a.n, 8 * vectors * FC_WARP) * FC_WARP);
  int64_t resident = !fast || vectors == 1 ? 8 : (vectors == 2 ? 2 : 1), most = units * resident;
  if (most > NORM_B_PARTS) most = NORM_B_PARTS;
  *parts = a.m < most ? a.m : most;
  dim3 grid((unsigned)*parts);
  size_t shared = sizeof(uint4) * 2 * 2 * threads * (size_t)vectors;
  if (!fast) return FC_LAUNCH((norm_b_any), grid, dim3(FC_THREADS), 0, queue, a);
  if (vectors == 1) return FC_LAUNCH((norm_b_by_block<1, 256, 4>), grid, dim3(threads), shared, queue, a);
  if (vectors == 2) return FC_LAUNCH((norm_b_by_block<2, 512, 2>), grid, dim3(threads), shared, queue, a);
  return FC_LAUNCH((norm_b_by_block<4, 512, 1>), grid, dim3(threads), shared, queue, a);
}

#endif
