/* SPDX-License-Identifier: Apache-2.0 */
#include "rowwise.cuh"

extern "C" {
extern const fc_implementations fc_cuda_training;
}

/* --- cross-entropy: a block a row ---
 *
 * First pass: each thread keeps a running maximum and a sum of exponentials relative to it, rescaled once for
 * 4 vectors. Second pass: reads the row again, from the second-level cache (one row an SM: 132 x 259 KB of 50
 * MB), and writes the gradient past it. */

enum { CE_THREADS = 1024, CE_VECTORS = 4, CE_STEP = CE_THREADS * CE_VECTORS * 8 };
#define LOG2_E    1.44269504f
#define LOWEST    -3.0e38f /* finite: differences of two of them are 0, not NaN */
#define MINUS_INF 0xff80u  /* as a bf16 */

struct softmax_sum {
  float most, sum;
};

__device__ __forceinline__ softmax_sum softmax_merge(softmax_sum a, softmax_sum b) {
  float most = fmaxf(a.most, b.most);
  return {most, a.sum * fc_exp2((a.most - most) * LOG2_E) + b.sum * fc_exp2((b.most - most) * LOG2_E)};
}

__device__ __forceinline__ softmax_sum softmax_warp(softmax_sum s) {
#pragma unroll
  for (int d = 16; d > 0; d /= 2) {
    softmax_sum other = {__shfl_xor_sync(0xffffffffu, s.most, d), __shfl_xor_sync(0xffffffffu, s.sum, d)};
    s = softmax_merge(s, other);
  }
  return s;
}

template <bool FAST>
__device__ __forceinline__ void ce_load(uint4 (&v)[CE_VECTORS], const uint16_t *x, int64_t row, int64_t first,
                                        int64_t n) {
#pragma unroll
  for (int i = 0; i < CE_VECTORS; i++) {
    int64_t column = first + i * CE_THREADS * 8;
    v[i] = fc_load8<FAST>(x, row * n + column, n - column, MINUS_INF);
  }
}

__device__ __forceinline__ softmax_sum ce_add(softmax_sum s, const uint4 (&v)[CE_VECTORS]) {
  float f[8], most = s.most, sum = 0;
#pragma unroll
  for (int i = 0; i < CE_VECTORS; i++) {
    fc_unpack8(f, v[i]);
#pragma unroll
    for (int j = 0; j < 8; j++) most = fmaxf(most, f[j]);
  }
#pragma unroll
  for (int i = 0; i < CE_VECTORS; i++) {
    fc_unpack8(f, v[i]);
#pragma unroll
    for (int j = 0; j < 8; j++) sum += fc_exp2((f[j] - most) * LOG2_E);
  }
  return {most, s.sum * fc_exp2((s.most - most) * LOG2_E) + sum};
}

/* The whole row's, to every thread. */
__device__ __forceinline__ softmax_sum ce_reduce(softmax_sum s) {
  __shared__ float most[FC_WARP], sum[FC_WARP];
  int lane = threadIdx.x % FC_WARP, warp = threadIdx.x / FC_WARP;
  s = softmax_warp(s);
  if (lane == 0) most[warp] = s.most, sum[warp] = s.sum;
  __syncthreads();
  softmax_sum other = {most[lane], sum[lane]};
  return softmax_warp(other);
}

template <bool FAST>
static __global__ void __launch_bounds__(CE_THREADS, 1)
    cross_entropy_rows(const uint16_t *x, const int32_t *labels, uint16_t *dx, float *loss, int64_t n) {
  int64_t row = blockIdx.x, label = labels[row], mine = (int64_t)threadIdx.x * 8;
  softmax_sum s = {LOWEST, 0};
  uint4 v[CE_VECTORS];
  for (int64_t first = mine; first < n; first += CE_STEP) {
    ce_load<FAST>(v, x, row, first, n);
    s = ce_add(s, v);
  }
  s = ce_reduce(s);
  float inverse = 1.0f / s.sum;
  for (int64_t first = mine; first < n; first += CE_STEP) {
    ce_load<FAST>(v, x, row, first, n);
#pragma unroll
    for (int i = 0; i < CE_VECTORS; i++) {
      int64_t column = first + i * CE_THREADS * 8;
      int hit = (int)(label - column); /* n is far below 2^31 */
      float f[8];
      fc_unpack8(f, v[i]);
#pragma unroll
      for (int j = 0; j < 8; j++)
        f[j] = fc_exp2((f[j] - s.most) * LOG2_E) * inverse - (j == hit ? 1.0f : 0.0f);
      uint4 y = fc_pack8_bf16(f);
      if constexpr (FAST) {
        if (column < n) fc_store_stream(dx + row * n + column, y);
      } else {
        fc_store8_bf16<FAST>(dx + row * n + column, n - column, y);
      }
    }
  }
  if (threadIdx.x == 0) loss[row] = s.most + logf(s.sum) - fc_bf16_decode(x[row * n + label]);
}

static int cross_entropy(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state;
  int64_t n = p->c.n;
  dim3 grid((unsigned)p->c.m), block(CE_THREADS);
  const uint16_t *x = fc_at<uint16_t>(args, FC_CE_LOGITS);
  const int32_t *labels = fc_at<int32_t>(args, FC_CE_LABELS);
  uint16_t *dx = fc_at<uint16_t>(args, FC_CE_DLOGITS);
  float *loss = fc_at<float>(args, FC_CE_LOSS);
  if (n % 8 == 0) return FC_LAUNCH((cross_entropy_rows<true>), grid, block, 0, queue, x, labels, dx, loss, n);
  return FC_LAUNCH((cross_entropy_rows<false>), grid, block, 0, queue, x, labels, dx, loss, n);
}

/* --- AdamW: 2 groups of 4 parameters a thread, all loads before the first store --- */

enum { ADAMW_GROUPS = 2 };
#define LR       2.2e-4f
#define BETA1    0.9f
#define BETA2    0.95f
#define REST1    0.1f
#define REST2    0.05f
#define EPSILON  1e-8f
#define DECAY    0.1f
#define CORRECT1 1.00002656f /* 1 / (1 - 0.9^100): step 100 */
#define CORRECT2 1.00595579f /* 1 / (1 - 0.95^100) */

struct adamw_args {
  float *p;
  const float *g;
  void *m1, *m2;
  uint16_t *w;
  int64_t m;
};

__device__ __forceinline__ void adamw_one(float &p, float g, float &m1, float &m2) {
  m1 = BETA1 * m1 + REST1 * g;
  m2 = BETA2 * m2 + REST2 * (g * g);
  p -= LR * (m1 * CORRECT1 / (sqrtf(m2 * CORRECT2) + EPSILON) + DECAY * p);
}

/* Four moments: 16 bytes of f32, 8 of bf16. */
template <bool NARROW> __device__ __forceinline__ uint4 moments_load(const void *from, int64_t group) {
  if constexpr (NARROW) {
    uint2 v = static_cast<const uint2 *>(from)[group];
    return make_uint4(v.x << 16, v.x & 0xffff0000u, v.y << 16, v.y & 0xffff0000u);
  } else {
    return static_cast<const uint4 *>(from)[group];
  }
}

template <bool NARROW>
__device__ __forceinline__ void moments_store(void *to, int64_t group, const float (&f)[4]) {
  if constexpr (NARROW)
    static_cast<uint2 *>(to)[group] = make_uint2(fc_pack_bf16(f[0], f[1]), fc_pack_bf16(f[2], f[3]));
  else
    static_cast<float4 *>(to)[group] = make_float4(f[0], f[1], f[2], f[3]);
}

__device__ __forceinline__ void floats_of(float (&f)[4], uint4 v) {
  f[0] = __uint_as_float(v.x), f[1] = __uint_as_float(v.y);
  f[2] = __uint_as_float(v.z), f[3] = __uint_as_float(v.w);
}

/* The last m mod 4 parameters, one by one. */
template <bool NARROW> __device__ __forceinline__ void adamw_tail(const adamw_args &a, int64_t i) {
  float m1, m2;
  uint16_t *n1 = static_cast<uint16_t *>(a.m1), *n2 = static_cast<uint16_t *>(a.m2);
  float *w1 = static_cast<float *>(a.m1), *w2 = static_cast<float *>(a.m2);
  m1 = NARROW ? fc_bf16_decode(n1[i]) : w1[i];
  m2 = NARROW ? fc_bf16_decode(n2[i]) : w2[i];
  adamw_one(a.p[i], a.g[i], m1, m2);
  a.w[i] = fc_bf16_encode(a.p[i]);
  if (NARROW)
    n1[i] = fc_bf16_encode(m1), n2[i] = fc_bf16_encode(m2);
  else
    w1[i] = m1, w2[i] = m2;
}

template <bool NARROW> __global__ void __launch_bounds__(FC_THREADS) adamw_step(const adamw_args a) {
  int64_t groups = a.m / 4, first = (int64_t)blockIdx.x * FC_THREADS * ADAMW_GROUPS + threadIdx.x;
  uint4 p[ADAMW_GROUPS], g[ADAMW_GROUPS], m1[ADAMW_GROUPS], m2[ADAMW_GROUPS];
#pragma unroll
  for (int u = 0; u < ADAMW_GROUPS; u++) {
    int64_t i = first + u * FC_THREADS;
    if (i >= groups) continue;
    p[u] = reinterpret_cast<const uint4 *>(a.p)[i];
    g[u] = reinterpret_cast<const uint4 *>(a.g)[i];
    m1[u] = moments_load<NARROW>(a.m1, i);
    m2[u] = moments_load<NARROW>(a.m2, i);
  }
#pragma unroll
  for (int u = 0; u < ADAMW_GROUPS; u++) {
    int64_t i = first + u * FC_THREADS;
    if (i >= groups) continue;
    float fp[4], fg[4], f1[4], f2[4];
    floats_of(fp, p[u]);
    floats_of(fg, g[u]);
    floats_of(f1, m1[u]);
    floats_of(f2, m2[u]);
#pragma unroll
    for (int j = 0; j < 4; j++) adamw_one(fp[j], fg[j], f1[j], f2[j]);
    reinterpret_cast<float4 *>(a.p)[i] = make_float4(fp[0], fp[1], fp[2], fp[3]);
    reinterpret_cast<uint2 *>(a.w)[i] = make_uint2(fc_pack_bf16(fp[0], fp[1]), fc_pack_bf16(fp[2], fp[3]));
    moments_store<NARROW>(a.m1, i, f1);
    moments_store<NARROW>(a.m2, i, f2);
  }
  if (blockIdx.x == 0 && groups * 4 + threadIdx.x < a.m) adamw_tail<NARROW>(a, groups * 4 + threadIdx.x);
}

static int adamw(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state;
  adamw_args a = {fc_at<float>(args, FC_ADAMW_P), fc_at<float>(args, FC_ADAMW_G),    args->at[FC_ADAMW_M1],
                  args->at[FC_ADAMW_M2],          fc_at<uint16_t>(args, FC_ADAMW_W), p->c.m};
  dim3 grid((unsigned)fc_ceil_div(p->c.m, 4 * FC_THREADS * ADAMW_GROUPS)), block(FC_THREADS);
  if (p->tensor[FC_ADAMW_M1].elem == FC_ELEM_BF16)
    return FC_LAUNCH((adamw_step<true>), grid, block, 0, queue, a);
  return FC_LAUNCH((adamw_step<false>), grid, block, 0, queue, a);
}

/* --- gradient norm: partial sums in WORK, then one block; the order depends on m and the number of SMs alone
 * --- */

enum { GNORM_PARTS = 4096, GNORM_LOADS = 4, GNORM_ADD = 1024 };

__device__ __forceinline__ float square_sum4(uint4 v) {
  float f[4];
  floats_of(f, v);
  return (f[0] * f[0] + f[1] * f[1]) + (f[2] * f[2] + f[3] * f[3]);
}

static __global__ void __launch_bounds__(FC_THREADS) gnorm_parts(const float *g, float *work, int64_t m) {
  __shared__ float scratch[FC_WARP];
  int64_t vectors = m / 4, step = (int64_t)gridDim.x * FC_THREADS;
  int64_t i = (int64_t)blockIdx.x * FC_THREADS + threadIdx.x;
  float sums[GNORM_LOADS] = {0, 0, 0, 0}, all[1];
  for (; i + (GNORM_LOADS - 1) * step < vectors; i += GNORM_LOADS * step) {
    uint4 v[GNORM_LOADS];
#pragma unroll
    for (int u = 0; u < GNORM_LOADS; u++) v[u] = fc_load_stream(g + 4 * (i + u * step));
#pragma unroll
    for (int u = 0; u < GNORM_LOADS; u++) sums[u] += square_sum4(v[u]);
  }
  for (; i < vectors; i += step) sums[0] += square_sum4(fc_load_stream(g + 4 * i));
  int64_t tail = vectors * 4 + threadIdx.x;
  if (blockIdx.x == 0 && tail < m) sums[0] += g[tail] * g[tail];
  all[0] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  fc_cta_sum(all, scratch);
  if (threadIdx.x == 0) work[blockIdx.x] = all[0];
}

static __global__ void __launch_bounds__(GNORM_ADD) gnorm_add(const float *work, float *norm, int parts) {
  __shared__ float scratch[FC_WARP];
  float sum[1] = {0};
  for (int i = threadIdx.x; i < parts; i += GNORM_ADD) sum[0] += work[i];
  fc_cta_sum(sum, scratch);
  if (threadIdx.x == 0) *norm = sqrtf(sum[0]);
}

static int grad_norm(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  int64_t parts = fc_ceil_div(p->c.m, 4 * FC_THREADS * GNORM_LOADS), most = fc_kept_units(state) * 8;
  if (most > GNORM_PARTS) most = GNORM_PARTS;
  if (parts > most) parts = most;
  float *work = fc_at<float>(args, FC_GNORM_WORK), *norm = fc_at<float>(args, FC_GNORM_NORM);
  const float *g = fc_at<float>(args, FC_GNORM_G);
  int error = FC_LAUNCH((gnorm_parts), dim3((unsigned)parts), dim3(FC_THREADS), 0, queue, g, work, p->c.m);
  if (error) return error;
  return FC_LAUNCH((gnorm_add), dim3(1), dim3(GNORM_ADD), 0, queue, work, norm, (int)parts);
}

static const fc_implementation items[] = {
    {FC_BENCH_CROSS_ENTROPY, "fused", nullptr, nullptr, cross_entropy, nullptr},
    {FC_BENCH_ADAMW, "fused", nullptr, nullptr, adamw, nullptr},
    {FC_BENCH_GRAD_NORM, "fused", nullptr, fc_keep_units, grad_norm, nullptr},
};
const fc_implementations fc_cuda_training = {sizeof items / sizeof *items, items};
