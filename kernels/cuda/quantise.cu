/* SPDX-License-Identifier: Apache-2.0 */
#include "rowwise.cuh"

extern "C" {
extern const fc_implementations fc_cuda_quantise;
}

/* --- quant_a: a warp takes 8 rows of 256 columns, all loads before the first use --- */

enum { ROWS = 8, COLUMNS = 256 };

template <bool FAST>
static __global__ void __launch_bounds__(FC_THREADS)
    quantise_rows(const uint16_t *x, uint8_t *y, float *ys, int64_t m, int64_t n, int64_t chunks) {
  int lane = threadIdx.x % FC_WARP;
  int64_t task = fc_warp_task();
  int64_t i0 = task / chunks * ROWS, column = task % chunks * COLUMNS + lane * 8, valid = n - column;
  uint4 v[ROWS];
#pragma unroll
  for (int r = 0; r < ROWS; r++) v[r] = fc_load8<FAST>(x, (i0 + r) * n + column, i0 + r < m ? valid : 0);
  float scale = 0;
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    float f[8];
    fc_unpack8(f, v[r]);
    float amax = fc_block_max(fc_amax8(f));
    fc_store8_e4m3<FAST>(y + (i0 + r) * n + column, i0 + r < m ? valid : 0,
                         fc_pack8_e4m3(f, fc_factor_of(amax)));
    if (lane % 16 == r) scale = amax; /* lane r of a half stores row r's: neighbours in memory */
  }
  int row = lane % 16;
  if (row < ROWS && i0 + row < m && column - row * 8 < n)
    ys[column / 128 * m + i0 + row] = fc_scale_of(scale);
}

static int quant(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state;
  int64_t m = p->c.m, n = p->c.n, chunks = fc_ceil_div(n, COLUMNS), tasks = fc_ceil_div(m, ROWS) * chunks;
  unsigned warps = fc_task_warps(tasks);
  dim3 grid((unsigned)fc_ceil_div(tasks, warps)), block(FC_WARP * warps);
  const uint16_t *x = fc_at<uint16_t>(args, FC_QUANT_X);
  uint8_t *y = fc_at<uint8_t>(args, FC_QUANT_Y);
  float *ys = fc_at<float>(args, FC_QUANT_YS);
  if (n % 8 == 0) return FC_LAUNCH((quantise_rows<true>), grid, block, 0, queue, x, y, ys, m, n, chunks);
  return FC_LAUNCH((quantise_rows<false>), grid, block, 0, queue, x, y, ys, m, n, chunks);
}

/* --- both layouts: a block takes a tile of 128x128 ---
 *
 * Thread t holds 8 rows of 8 columns: rows 8 (t / 16) .., columns 8 (t % 16) ..  A row of the tile is half a
 * warp, as a block of 128 is elsewhere; a column goes through shared memory.  The transpose is built in
 * shared memory from words of 8 bytes: column j, rows 8a..8a+7 at word a ^ (j / 8 % 16) of its 128 bytes, so
 * that neither the writing (one a, 16 columns 8 apart) nor the reading (16 bytes a thread, along a column)
 * meets a bank twice. */

enum { TILE = 128 };

struct tile_scratch {
  uint4 transposed[TILE * TILE / 16];
  float amax[FC_WARPS][TILE];
  float factor[TILE];
};

/* The largest magnitude of each column, to everybody who needs it; and its scale. */
__device__ __forceinline__ void column_factors(tile_scratch *s, const float (&mine)[8], float *yts,
                                               int64_t valid) {
  int t = threadIdx.x, c = t % 16;
#pragma unroll
  for (int j = 0; j < 8; j++) {
    float a = fmaxf(mine[j], __shfl_xor_sync(0xffffffffu, mine[j], 16));
    if (t % FC_WARP < 16) s->amax[t / FC_WARP][8 * c + j] = a;
  }
  __syncthreads();
  if (t < TILE) {
    float a = 0;
#pragma unroll
    for (int w = 0; w < FC_WARPS; w++) a = fmaxf(a, s->amax[w][t]);
    s->factor[t] = fc_factor_of(a);
    if (t < valid) yts[t] = fc_scale_of(a);
  }
  __syncthreads();
}

/* Packs a thread's 8x8 codes column by column: `code[r]` holds row r's 8 bytes. */
__device__ __forceinline__ void put_transposed(tile_scratch *s, const uint2 (&code)[8]) {
  int a = threadIdx.x / 16, c = threadIdx.x % 16;
  uint2 *words = reinterpret_cast<uint2 *>(s->transposed);
#pragma unroll
  for (int j = 0; j < 8; j++) {
    uint32_t low = 0, high = 0;
#pragma unroll
    for (int r = 0; r < 4; r++) {
      low |= (((j < 4 ? code[r].x : code[r].y) >> (8 * (j % 4))) & 255u) << (8 * r);
      high |= (((j < 4 ? code[r + 4].x : code[r + 4].y) >> (8 * (j % 4))) & 255u) << (8 * r);
    }
    words[(8 * c + j) * 16 + (a ^ c)] = make_uint2(low, high);
  }
}

/* Stores the transpose: `rows` of the matrix along m, 16 bytes a thread. */
__device__ __forceinline__ void store_transposed(const tile_scratch *s, uint8_t *yt, int64_t m, int64_t rows,
                                                 int64_t columns) {
#pragma unroll
  for (int u = 0; u < TILE * TILE / 16 / FC_THREADS; u++) {
    int i = u * FC_THREADS + threadIdx.x, column = i / 8, k = i % 8, c = column / 8;
    uint4 v = s->transposed[column * 8 + (k ^ (c / 2))];
    if (c % 2 == 1) v = make_uint4(v.z, v.w, v.x, v.y);
    if (column >= columns) continue;
    uint8_t *to = yt + (int64_t)column * m + 16 * k;
    if (m % 16 == 0 && 16 * k + 16 <= rows) {
      *reinterpret_cast<uint4 *>(to) = v;
      continue;
    }
    const uint32_t w[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int b = 0; b < 16; b++)
      if (16 * k + b < rows) to[b] = (uint8_t)(w[b / 4] >> (8 * (b % 4)));
  }
}

struct tile_at {
  int64_t i0, j0, column, rows, valid; /* a thread's first column, its rows and columns inside the matrix */
};

template <bool FAST>
__device__ __forceinline__ tile_at tile_load(uint4 (&v)[8], const uint16_t *x, int64_t m, int64_t n) {
  tile_at at;
  int64_t across = (n + TILE - 1) / TILE;
  at.i0 = blockIdx.x / across * TILE;
  at.j0 = blockIdx.x % across * TILE;
  at.column = at.j0 + threadIdx.x % 16 * 8;
  at.valid = n - at.column;
  int64_t first = at.i0 + threadIdx.x / 16 * 8;
  at.rows = m - first;
#pragma unroll
  for (int r = 0; r < 8; r++)
    v[r] = fc_load8<FAST>(x, (first + r) * n + at.column, r < at.rows ? at.valid : 0);
  return at;
}

template <bool FAST>
static __global__ void __launch_bounds__(FC_THREADS, FAST ? 3 : 2)
    quantise_transposed(const uint16_t *x, uint8_t *y, float *ys, uint8_t *yt, float *yts, int64_t m,
                        int64_t n) {
  __shared__ tile_scratch s;
  uint4 v[8];
  tile_at at = tile_load<FAST>(v, x, m, n);
  int64_t first = at.i0 + threadIdx.x / 16 * 8;
  float column_amax[8] = {0, 0, 0, 0, 0, 0, 0, 0}, scale = 0;
  int row = threadIdx.x % 16; /* whose scale this thread stores */
#pragma unroll
  for (int r = 0; r < 8; r++) {
    float f[8];
    fc_unpack8(f, v[r]);
    float row_amax = 0;
#pragma unroll
    for (int j = 0; j < 8; j++) {
      row_amax = fmaxf(row_amax, fabsf(f[j]));
      column_amax[j] = fmaxf(column_amax[j], fabsf(f[j]));
    }
    row_amax = fc_block_max(row_amax);
    fc_store8_e4m3<FAST>(y + (first + r) * n + at.column, r < at.rows ? at.valid : 0,
                         fc_pack8_e4m3(f, fc_factor_of(row_amax)));
    if (row == r) scale = row_amax;
  }
  if (row < 8 && row < at.rows) ys[at.j0 / TILE * m + first + row] = fc_scale_of(scale);
  column_factors(&s, column_amax, yts + at.i0 / TILE * n + at.j0, n - at.j0);
  uint2 code[8];
#pragma unroll
  for (int r = 0; r < 8; r++) {
    float f[8];
    fc_unpack8(f, v[r]);
#pragma unroll
    for (int j = 0; j < 8; j++) f[j] *= s.factor[threadIdx.x % 16 * 8 + j];
    code[r] = fc_pack8_e4m3(f, 1.0f);
  }
  put_transposed(&s, code);
  __syncthreads();
  store_transposed(&s, yt + at.j0 * m + at.i0, m, m - at.i0, n - at.j0);
}

template <bool FAST>
static __global__ void __launch_bounds__(FC_THREADS, FAST ? 3 : 2)
    quantise_weight(const uint16_t *x, uint8_t *y, float *ys, uint8_t *yt, float *yts, int64_t m, int64_t n,
                    int64_t ys_row, int64_t yts_row) {
  __shared__ tile_scratch s;
  uint4 v[8];
  tile_at at = tile_load<FAST>(v, x, m, n);
  int64_t first = at.i0 + threadIdx.x / 16 * 8;
  float amax = 0;
#pragma unroll
  for (int r = 0; r < 8; r++) {
    float f[8];
    fc_unpack8(f, v[r]);
    amax = fmaxf(amax, fc_amax8(f));
  }
  amax = fc_warp_max(amax);
  if (threadIdx.x % FC_WARP == 0) s.factor[threadIdx.x / FC_WARP] = amax;
  __syncthreads();
#pragma unroll
  for (int w = 0; w < FC_WARPS; w++) amax = fmaxf(amax, s.factor[w]);
  if (threadIdx.x == 0) {
    int64_t bi = at.i0 / TILE, bj = at.j0 / TILE;
    ys[bi * ys_row + bj] = fc_scale_of(amax);
    yts[bj * yts_row + bi] = fc_scale_of(amax);
  }
  float factor = fc_factor_of(amax);
  uint2 code[8];
#pragma unroll
  for (int r = 0; r < 8; r++) {
    float f[8];
    fc_unpack8(f, v[r]);
    code[r] = fc_pack8_e4m3(f, factor);
    fc_store8_e4m3<FAST>(y + (first + r) * n + at.column, r < at.rows ? at.valid : 0, code[r]);
  }
  put_transposed(&s, code);
  __syncthreads();
  store_transposed(&s, yt + at.j0 * m + at.i0, m, m - at.i0, n - at.j0);
}

static int tiles(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state;
  int64_t m = p->c.m, n = p->c.n;
  dim3 grid((unsigned)(fc_blocks(m) * fc_blocks(n))), block(FC_THREADS);
  const uint16_t *x = fc_at<uint16_t>(args, FC_QUANT_X);
  uint8_t *y = fc_at<uint8_t>(args, FC_QUANT_Y), *yt = fc_at<uint8_t>(args, FC_QUANT_YT);
  float *ys = fc_at<float>(args, FC_QUANT_YS), *yts = fc_at<float>(args, FC_QUANT_YTS);
  bool fast = n % 8 == 0;
  int64_t a = fc_pad4(fc_blocks(n)), b = fc_pad4(fc_blocks(m));
  if (p->c.op == FC_BENCH_QUANT_WEIGHT)
    return fast ? FC_LAUNCH((quantise_weight<true>), grid, block, 0, queue, x, y, ys, yt, yts, m, n, a, b)
                : FC_LAUNCH((quantise_weight<false>), grid, block, 0, queue, x, y, ys, yt, yts, m, n, a, b);
  return fast ? FC_LAUNCH((quantise_transposed<true>), grid, block, 0, queue, x, y, ys, yt, yts, m, n)
              : FC_LAUNCH((quantise_transposed<false>), grid, block, 0, queue, x, y, ys, yt, yts, m, n);
}

static const fc_implementation items[] = {
    {FC_BENCH_QUANT, "fused", nullptr, nullptr, quant, nullptr},
    {FC_BENCH_QUANT_TRANSPOSED, "fused", nullptr, nullptr, tiles, nullptr},
    {FC_BENCH_QUANT_WEIGHT, "fused", nullptr, nullptr, tiles, nullptr},
};
const fc_implementations fc_cuda_quantise = {sizeof items / sizeof *items, items};
