/* SPDX-License-Identifier: Apache-2.0 */
#include "norm.cuh"

extern "C" {
extern const fc_implementations fc_cuda_rows;
}

/* --- embedding: a warp copies 1,024 elements of a row --- */

enum { EMBED_VECTORS = 4, EMBED_COLUMNS = EMBED_VECTORS * FC_WARP * 8 };

template <bool FAST>
static __global__ void __launch_bounds__(FC_THREADS)
    embed_rows(const uint16_t *table, const int32_t *ids, uint16_t *y, int64_t m, int64_t n, int64_t chunks) {
  int64_t task = fc_warp_task(), row = task / chunks;
  if (row >= m) return;
  int64_t column = task % chunks * EMBED_COLUMNS + threadIdx.x % FC_WARP * 8, from = (int64_t)ids[row] * n;
  uint4 v[EMBED_VECTORS];
#pragma unroll
  for (int i = 0; i < EMBED_VECTORS; i++) {
    int64_t j = column + i * FC_WARP * 8;
    v[i] = fc_load8<FAST>(table, from + j, n - j);
  }
#pragma unroll
  for (int i = 0; i < EMBED_VECTORS; i++) {
    int64_t j = column + i * FC_WARP * 8;
    fc_store8_bf16<FAST>(y + row * n + j, n - j, v[i]);
  }
}

static int embed(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state;
  int64_t m = p->c.m, n = p->c.n, chunks = fc_ceil_div(n, EMBED_COLUMNS), tasks = m * chunks;
  unsigned warps = fc_task_warps(tasks);
  dim3 grid((unsigned)fc_ceil_div(tasks, warps)), block(FC_WARP * warps);
  const uint16_t *table = fc_at<uint16_t>(args, FC_EMBED_TABLE);
  const int32_t *ids = fc_at<int32_t>(args, FC_EMBED_IDS);
  uint16_t *y = fc_at<uint16_t>(args, FC_EMBED_Y);
  if (n % 8 == 0) return FC_LAUNCH((embed_rows<true>), grid, block, 0, queue, table, ids, y, m, n, chunks);
  return FC_LAUNCH((embed_rows<false>), grid, block, 0, queue, table, ids, y, m, n, chunks);
}

/* --- norm --- */

static int norm(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  norm_args a = {};
  a.x = fc_at<uint16_t>(args, FC_NORM_X);
  a.gamma = fc_at<uint16_t>(args, FC_NORM_GAMMA);
  a.y = fc_at<uint8_t>(args, FC_NORM_Y);
  a.ys = fc_at<float>(args, FC_NORM_YS);
  a.m = p->c.m;
  a.n = p->c.n;
  if (p->c.op == FC_BENCH_NORM) return norm_launch<false>(a, fc_kept_units(state), queue);
  a.residual = fc_at<uint16_t>(args, FC_NORM_RESIDUAL);
  a.sum = fc_at<uint16_t>(args, FC_NORM_SUM);
  return norm_launch<true>(a, fc_kept_units(state), queue);
}

static int norm_b(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  norm_b_args a = {};
  a.x = fc_at<uint16_t>(args, FC_NORM_B_X);
  a.dy = fc_at<uint16_t>(args, FC_NORM_B_DY);
  a.gamma = fc_at<uint16_t>(args, FC_NORM_B_GAMMA);
  a.dx = fc_at<uint16_t>(args, FC_NORM_B_DX);
  a.dgamma = fc_at<float>(args, FC_NORM_B_DGAMMA);
  a.work = fc_at<float>(args, FC_NORM_B_WORK);
  a.m = p->c.m;
  a.n = p->c.n;
  int64_t parts = 0;
  int error = norm_b_rows(a, fc_kept_units(state), &parts, queue);
  if (error) return error;
  dim3 grid((unsigned)fc_ceil_div(a.n, FC_WARP));
  return FC_LAUNCH((norm_b_add), grid, dim3(1024), 0, queue, a.dgamma, a.work, parts, a.n);
}

/* --- SwiGLU: a warp takes 4 rows of 256 columns, gate and up --- */

enum { SWIGLU_ROWS = 4, SWIGLU_COLUMNS = 256 };
#define LOG2_E 1.44269504f

__device__ __forceinline__ float sigmoid(float x) {
  return __fdividef(1.0f, 1.0f + fc_exp2(-LOG2_E * x));
}

template <bool FAST>
static __global__ void __launch_bounds__(FC_THREADS)
    swiglu_rows(const uint16_t *x, const float *w, uint8_t *y, float *ys, int64_t m, int64_t n,
                int64_t chunks) {
  int lane = threadIdx.x % FC_WARP, own = lane % 16;
  int64_t task = fc_warp_task(), i0 = task / chunks * SWIGLU_ROWS;
  int64_t column = task % chunks * SWIGLU_COLUMNS + lane * 8, valid = n - column;
  uint4 gate[SWIGLU_ROWS], up[SWIGLU_ROWS];
  float weight[SWIGLU_ROWS], scale = 0;
#pragma unroll
  for (int r = 0; r < SWIGLU_ROWS; r++) {
    int64_t inside = i0 + r < m ? valid : 0, at = (i0 + r) * 2 * n + column;
    gate[r] = fc_load8<FAST>(x, at, inside);
    up[r] = fc_load8<FAST>(x, at + n, inside);
    weight[r] = w[i0 + r < m ? i0 + r : 0];
  }
#pragma unroll
  for (int r = 0; r < SWIGLU_ROWS; r++) {
    float g[8], u[8];
    fc_unpack8(g, gate[r]);
    fc_unpack8(u, up[r]);
#pragma unroll
    for (int j = 0; j < 8; j++) g[j] = g[j] * sigmoid(g[j]) * u[j] * weight[r];
    float amax = fc_block_max(fc_amax8(g));
    fc_store8_e4m3<FAST>(y + (i0 + r) * n + column, i0 + r < m ? valid : 0,
                         fc_pack8_e4m3(g, fc_factor_of(amax)));
    if (own == r) scale = amax;
  }
  if (own < SWIGLU_ROWS && i0 + own < m && column - own * 8 < n)
    ys[column / 128 * m + i0 + own] = fc_scale_of(scale);
}

static int swiglu(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state;
  int64_t m = p->c.m, n = p->c.n, chunks = fc_ceil_div(n, SWIGLU_COLUMNS);
  int64_t tasks = fc_ceil_div(m, SWIGLU_ROWS) * chunks;
  unsigned warps = fc_task_warps(tasks);
  dim3 grid((unsigned)fc_ceil_div(tasks, warps)), block(FC_WARP * warps);
  const uint16_t *x = fc_at<uint16_t>(args, FC_SWIGLU_X);
  const float *w = fc_at<float>(args, FC_SWIGLU_W);
  uint8_t *y = fc_at<uint8_t>(args, FC_SWIGLU_Y);
  float *ys = fc_at<float>(args, FC_SWIGLU_YS);
  if (n % 8 == 0) return FC_LAUNCH((swiglu_rows<true>), grid, block, 0, queue, x, w, y, ys, m, n, chunks);
  return FC_LAUNCH((swiglu_rows<false>), grid, block, 0, queue, x, w, y, ys, m, n, chunks);
}

/* --- SwiGLU backward: WARPS warps a row, 256 columns a step, the next step's loads under way --- */

struct swiglu_b_args {
  const uint16_t *x, *dy;
  const float *w;
  uint8_t *y;
  uint16_t *dx;
  float *ys, *dw;
  int64_t m, n;
};

struct swiglu_b_step {
  uint4 gate, up, dy;
};

template <bool FAST>
__device__ __forceinline__ swiglu_b_step swiglu_b_load(const swiglu_b_args &a, int64_t row, int64_t column) {
  int64_t valid = row < a.m ? a.n - column : 0, at = row * 2 * a.n + column;
  return {fc_load8<FAST>(a.x, at, valid), fc_load8<FAST>(a.x, at + a.n, valid),
          fc_load8<FAST>(a.dy, row * a.n + column, valid)};
}

/* Stores a step's results. @return this thread's part of dw */
template <bool FAST>
__device__ __forceinline__ float swiglu_b_use(const swiglu_b_args &a, const swiglu_b_step &step, float weight,
                                              int64_t row, int64_t column) {
  float g[8], u[8], d[8], y[8], part = 0;
  fc_unpack8(g, step.gate);
  fc_unpack8(u, step.up);
  fc_unpack8(d, step.dy);
#pragma unroll
  for (int j = 0; j < 8; j++) {
    float s = sigmoid(g[j]), silu = g[j] * s, outer = d[j] * weight;
    part += d[j] * silu * u[j];
    y[j] = silu * u[j] * weight;
    g[j] = outer * u[j] * s * (1.0f + g[j] * (1.0f - s));
    d[j] = outer * silu;
  }
  float amax = fc_block_max(fc_amax8(y));
  int64_t valid = row < a.m ? a.n - column : 0, at = row * 2 * a.n + column;
  fc_store8_e4m3<FAST>(a.y + row * a.n + column, valid, fc_pack8_e4m3(y, fc_factor_of(amax)));
  fc_store8_bf16<FAST>(a.dx + at, valid, fc_pack8_bf16(g));
  fc_store8_bf16<FAST>(a.dx + at + a.n, valid, fc_pack8_bf16(d));
  if (valid > 0 && column % 128 == 0) a.ys[column / 128 * a.m + row] = fc_scale_of(amax);
  return part;
}

template <bool FAST, int WARPS>
static __global__ void __launch_bounds__(FC_THREADS, FAST ? 3 : 1) swiglu_b_rows(const swiglu_b_args a) {
  __shared__ float parts[FC_WARPS];
  int lane = threadIdx.x % FC_WARP, warp = threadIdx.x / FC_WARP;
  int64_t row = (int64_t)blockIdx.x * (FC_WARPS / WARPS) + warp / WARPS;
  int64_t column = warp % WARPS * SWIGLU_COLUMNS + lane * 8;
  float weight = row < a.m ? a.w[row] : 0, sum = 0;
  swiglu_b_step next = swiglu_b_load<FAST>(a, row, column);
  for (int64_t first = warp % WARPS * SWIGLU_COLUMNS; first < a.n; first += WARPS * SWIGLU_COLUMNS) {
    swiglu_b_step step = next;
    next = swiglu_b_load<FAST>(a, row, column + WARPS * SWIGLU_COLUMNS);
    sum += swiglu_b_use<FAST>(a, step, weight, row, column);
    column += WARPS * SWIGLU_COLUMNS;
  }
  sum = fc_warp_sum(sum);
  if (WARPS > 1) {
    if (lane == 0) parts[warp] = sum;
    __syncthreads();
    sum = 0;
#pragma unroll
    for (int w = 0; w < WARPS; w++) sum += parts[warp / WARPS * WARPS + w];
  }
  if (lane == 0 && warp % WARPS == 0 && row < a.m) a.dw[row] = sum;
}

static int swiglu_b(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  swiglu_b_args a = {};
  a.x = fc_at<uint16_t>(args, FC_SWIGLU_X);
  a.dy = fc_at<uint16_t>(args, FC_SWIGLU_DY);
  a.w = fc_at<float>(args, FC_SWIGLU_W);
  a.y = fc_at<uint8_t>(args, FC_SWIGLU_Y);
  a.dx = fc_at<uint16_t>(args, FC_SWIGLU_DX);
  a.ys = fc_at<float>(args, FC_SWIGLU_YS);
  a.dw = fc_at<float>(args, FC_SWIGLU_DW);
  a.m = p->c.m;
  a.n = p->c.n;
  dim3 block(FC_THREADS), by_warp((unsigned)fc_ceil_div(a.m, FC_WARPS)), by_block((unsigned)a.m);
  if (a.n % 8 != 0) return FC_LAUNCH((swiglu_b_rows<false, 1>), by_warp, block, 0, queue, a);
  /* a warp a row needs rows enough for 24 warps an SM */
  if (a.m >= 24 * fc_kept_units(state))
    return FC_LAUNCH((swiglu_b_rows<true, 1>), by_warp, block, 0, queue, a);
  return FC_LAUNCH((swiglu_b_rows<true, 8>), by_block, block, 0, queue, a);
}

/* --- rotary embedding: a block a token; heads, then the key, then the latent, as one row of vectors --- */

struct rope_args {
  uint16_t *q, *cache;
  const uint16_t *kpe, *latent;
  const float *cossin;
  const int32_t *positions, *slots; /* slots: forward only */
  int64_t m, heads, dk, dv;
  float sign;
};

enum { ROPE_VECTORS = 4 };

__device__ __forceinline__ uint4 rotate8(uint4 v, float4 c, float4 s) {
  float f[8], y[8];
  const float cosine[4] = {c.x, c.y, c.z, c.w}, sine[4] = {s.x, s.y, s.z, s.w};
  fc_unpack8(f, v);
#pragma unroll
  for (int i = 0; i < 4; i++) {
    y[2 * i] = f[2 * i] * cosine[i] - f[2 * i + 1] * sine[i];
    y[2 * i + 1] = f[2 * i] * sine[i] + f[2 * i + 1] * cosine[i];
  }
  return fc_pack8_bf16(y);
}

/* dk / 8 divides the threads of a block: a thread's vectors all take the same cosines. */
static __global__ void __launch_bounds__(FC_THREADS) rope_fast(const rope_args a) {
  int64_t token = blockIdx.x;
  int head = (int)a.dk / 8, query = (int)a.heads * head, key = a.slots ? head : 0,
      latent = a.slots ? (int)a.dv / 8 : 0;
  const uint4 *q_from = reinterpret_cast<const uint4 *>(a.q) + token * query;
  const uint4 *kpe = reinterpret_cast<const uint4 *>(a.kpe) + token * key;
  const uint4 *from_latent = reinterpret_cast<const uint4 *>(a.latent) + token * latent;
  uint4 *q = reinterpret_cast<uint4 *>(a.q) + token * query;
  uint4 *slot = reinterpret_cast<uint4 *>(a.cache) + (a.slots ? (int64_t)a.slots[token] * (latent + key) : 0);
  const float4 *table = reinterpret_cast<const float4 *>(a.cossin + (int64_t)a.positions[token] * a.dk);
  float4 c = table[threadIdx.x % head], s = table[head + threadIdx.x % head];
  s = make_float4(s.x * a.sign, s.y * a.sign, s.z * a.sign, s.w * a.sign);
  for (int base = threadIdx.x; base < query + key + latent; base += ROPE_VECTORS * FC_THREADS) {
    uint4 v[ROPE_VECTORS];
#pragma unroll
    for (int u = 0; u < ROPE_VECTORS; u++) {
      int i = base + u * FC_THREADS;
      const uint4 *from =
          i < query ? q_from + i : (i < query + key ? kpe + (i - query) : from_latent + (i - query - key));
      v[u] = *(i < query + key + latent ? from : q_from);
    }
#pragma unroll
    for (int u = 0; u < ROPE_VECTORS; u++) {
      int i = base + u * FC_THREADS;
      if (i < query)
        q[i] = rotate8(v[u], c, s);
      else if (i < query + key)
        slot[latent + i - query] = rotate8(v[u], c, s);
      else if (i < query + key + latent)
        slot[i - query - key] = v[u];
    }
  }
}

__device__ __forceinline__ void rotate_pair(uint16_t *to, const uint16_t *from, float c, float s) {
  float x0 = fc_bf16_decode(from[0]), x1 = fc_bf16_decode(from[1]);
  to[0] = fc_bf16_encode(x0 * c - x1 * s);
  to[1] = fc_bf16_encode(x0 * s + x1 * c);
}

static __global__ void __launch_bounds__(FC_THREADS) rope_any(const rope_args a) {
  int64_t token = blockIdx.x, half = a.dk / 2;
  const float *table = a.cossin + a.positions[token] * a.dk;
  uint16_t *q = a.q + token * a.heads * a.dk;
  for (int64_t i = threadIdx.x; i < a.heads * half; i += FC_THREADS)
    rotate_pair(q + 2 * i, q + 2 * i, table[i % half], a.sign * table[half + i % half]);
  if (!a.slots) return;
  uint16_t *slot = a.cache + a.slots[token] * (a.dv + a.dk);
  for (int64_t i = threadIdx.x; i < a.dv; i += FC_THREADS) slot[i] = a.latent[token * a.dv + i];
  for (int64_t i = threadIdx.x; i < half; i += FC_THREADS)
    rotate_pair(slot + a.dv + 2 * i, a.kpe + token * a.dk + 2 * i, table[i], a.sign * table[half + i]);
}

static int rope(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state;
  bool forward = p->c.op == FC_BENCH_ROPE_KV;
  rope_args a = {};
  a.q = fc_at<uint16_t>(args, FC_ROPE_Q);
  a.cossin = fc_at<float>(args, FC_ROPE_COSSIN);
  a.positions = fc_at<int32_t>(args, FC_ROPE_POSITIONS);
  if (forward) {
    a.cache = fc_at<uint16_t>(args, FC_ROPE_CACHE);
    a.kpe = fc_at<uint16_t>(args, FC_ROPE_KPE);
    a.latent = fc_at<uint16_t>(args, FC_ROPE_LATENT);
    a.slots = fc_at<int32_t>(args, FC_ROPE_SLOTS);
  }
  a.m = p->c.m;
  a.heads = p->c.heads;
  a.dk = p->c.dk;
  a.dv = p->c.dv;
  a.sign = forward ? 1.0f : -1.0f;
  dim3 grid((unsigned)a.m), block(FC_THREADS);
  bool fast = a.dk % 8 == 0 && FC_THREADS % (a.dk / 8) == 0 && a.dv % 8 == 0;
  return fast ? FC_LAUNCH((rope_fast), grid, block, 0, queue, a)
              : FC_LAUNCH((rope_any), grid, block, 0, queue, a);
}

static const fc_implementation items[] = {
    {FC_BENCH_EMBED, "fused", nullptr, nullptr, embed, nullptr},
    {FC_BENCH_NORM, "fused", nullptr, fc_keep_units, norm, nullptr},
    {FC_BENCH_NORM_RESIDUAL, "fused", nullptr, fc_keep_units, norm, nullptr},
    {FC_BENCH_NORM_B, "fused", nullptr, fc_keep_units, norm_b, nullptr},
    {FC_BENCH_SWIGLU, "fused", nullptr, nullptr, swiglu, nullptr},
    {FC_BENCH_SWIGLU_B, "fused", nullptr, fc_keep_units, swiglu_b, nullptr},
    {FC_BENCH_ROPE_KV, "fused", nullptr, nullptr, rope, nullptr},
    {FC_BENCH_ROPE_B, "fused", nullptr, nullptr, rope, nullptr},
};
const fc_implementations fc_cuda_rows = {sizeof items / sizeof *items, items};
