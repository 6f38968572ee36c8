/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/kernels/implementation.h>
#include <fleetcast/kernels/operators.h>

#include <math.h>
#include <string.h>

#include "simd.h"

extern const fc_implementations fc_cpu_rows;

/* A row a task: it stays in the first caches between its passes. */

enum { BLOCK = 128 };
#define NORM_EPS 1e-6f

static int embed(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state, (void)queue;
  size_t m = (size_t)p->c.m, n = (size_t)p->c.n;
  const uint16_t *table = args->at[FC_EMBED_TABLE];
  const int32_t *ids = args->at[FC_EMBED_IDS];
  uint16_t *y = args->at[FC_EMBED_Y];
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < m; i++) memcpy(y + i * n, table + (size_t)ids[i] * n, n * sizeof *y);
  return 0;
}

/* --- quantising a block of values --- */

static inline float block_scale(const float *v, size_t count) {
  uint32_t amax = 0;
  FC_SIMD_MAX(amax)
  for (size_t j = 0; j < count; j++) {
    uint32_t a = fc_magnitude_bits(v[j]);
    amax = a > amax ? a : amax;
  }
  return fc_scale_of_bits(amax);
}

static inline void block_encode(const float *restrict v, uint8_t *restrict y, float inverse, size_t count) {
  FC_SIMD
  for (size_t j = 0; j < count; j++) y[j] = fc_e4m3_encode_flat(v[j] * inverse);
}

/* --- norm --- */

static inline float square_sum(const uint16_t *x, size_t n) {
  float sum = 0;
  FC_SIMD_SUM(sum)
  for (size_t j = 0; j < n; j++) {
    float v = fc_bf16_decode(x[j]);
    sum += v * v;
  }
  return sum;
}

static inline float square_sum_residual(const uint16_t *restrict x, const uint16_t *restrict residual,
                                        uint16_t *restrict out, size_t n) {
  float sum = 0;
  FC_SIMD_SUM(sum)
  for (size_t j = 0; j < n; j++) {
    float v = fc_bf16_decode(x[j]) + fc_bf16_decode(residual[j]);
    out[j] = fc_bf16_encode(v);
    sum += v * v;
  }
  return sum;
}

static inline float inverse_rms(float squares, size_t n) {
  return 1 / sqrtf(squares / (float)n + NORM_EPS);
}

typedef struct norm_row {
  const uint16_t *x, *gamma, *residual; /* residual, sum: NULL where there is none */
  uint16_t *sum;
  uint8_t *y;
  float *ys;
  size_t ys_step;
} norm_row;

FC_CLONES
static void norm_one(norm_row row, size_t n) {
  const uint16_t *restrict x = row.x, *restrict gamma = row.gamma, *restrict residual = row.residual;
  float squares = residual ? square_sum_residual(x, residual, row.sum, n) : square_sum(x, n);
  float r = inverse_rms(squares, n), v[BLOCK];
  for (size_t j0 = 0, b = 0; j0 < n; j0 += BLOCK, b++) {
    size_t count = n - j0 < BLOCK ? n - j0 : BLOCK;
    if (residual) {
      FC_SIMD
      for (size_t j = 0; j < count; j++) {
        float sum = fc_bf16_decode(x[j0 + j]) + fc_bf16_decode(residual[j0 + j]);
        v[j] = sum * r * fc_bf16_decode(gamma[j0 + j]);
      }
    } else {
      FC_SIMD
      for (size_t j = 0; j < count; j++) v[j] = fc_bf16_decode(x[j0 + j]) * r * fc_bf16_decode(gamma[j0 + j]);
    }
    float scale = block_scale(v, count);
    row.ys[b * row.ys_step] = scale;
    block_encode(v, row.y + j0, 1 / scale, count);
  }
}

static int norm(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state, (void)queue;
  size_t m = (size_t)p->c.m, n = (size_t)p->c.n;
  bool residual = p->c.op == FC_BENCH_NORM_RESIDUAL;
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < m; i++) {
    norm_row row = {.x = (const uint16_t *)args->at[FC_NORM_X] + i * n,
                    .gamma = args->at[FC_NORM_GAMMA],
                    .y = (uint8_t *)args->at[FC_NORM_Y] + i * n,
                    .ys = (float *)args->at[FC_NORM_YS] + i,
                    .ys_step = m};
    if (residual) {
      row.residual = (const uint16_t *)args->at[FC_NORM_RESIDUAL] + i * n;
      row.sum = (uint16_t *)args->at[FC_NORM_SUM] + i * n;
    }
    norm_one(row, n);
  }
  return 0;
}

/* --- norm backward: dx row by row, dgamma in parts of rows, then their sum --- */

FC_CLONES
static void norm_b_one(const uint16_t *restrict x, const uint16_t *restrict dy,
                       const uint16_t *restrict gamma, uint16_t *restrict dx, float *restrict dgamma,
                       size_t n) {
  float squares = 0, dot = 0;
  FC_SIMD_PRAGMA(omp simd reduction(+ : squares, dot))
  for (size_t j = 0; j < n; j++) {
    float v = fc_bf16_decode(x[j]);
    squares += v * v;
    dot += fc_bf16_decode(dy[j]) * fc_bf16_decode(gamma[j]) * v;
  }
  float r = inverse_rms(squares, n), pull = r * r * r * dot / (float)n;
  FC_SIMD
  for (size_t j = 0; j < n; j++) {
    float v = fc_bf16_decode(x[j]), d = fc_bf16_decode(dy[j]);
    dx[j] = fc_bf16_encode(d * fc_bf16_decode(gamma[j]) * r - v * pull);
    dgamma[j] += d * v * r;
  }
}

FC_CLONES
static void add_columns(float *restrict out, const float *restrict work, size_t parts, size_t n, size_t first,
                        size_t end) {
  for (size_t j = first; j < end; j++) out[j] = 0;
  for (size_t i = 0; i < parts; i++) {
    FC_SIMD
    for (size_t j = first; j < end; j++) out[j] += work[i * n + j];
  }
}

enum { NORM_B_PARTS = 64, NORM_B_ROWS = 32, NORM_B_COLUMNS = 512 };

static int norm_b(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state, (void)queue;
  size_t m = (size_t)p->c.m, n = (size_t)p->c.n;
  /* parts depend on the shape alone: the sum is the same with any number of threads */
  size_t parts = (m + NORM_B_ROWS - 1) / NORM_B_ROWS;
  if (parts > NORM_B_PARTS) parts = NORM_B_PARTS;
  const uint16_t *x = args->at[FC_NORM_B_X], *dy = args->at[FC_NORM_B_DY], *gamma = args->at[FC_NORM_B_GAMMA];
  uint16_t *dx = args->at[FC_NORM_B_DX];
  float *dgamma = args->at[FC_NORM_B_DGAMMA], *work = args->at[FC_NORM_B_WORK];
#pragma omp parallel
  {
#pragma omp for schedule(static)
    for (size_t part = 0; part < parts; part++) {
      float *sums = work + part * n;
      memset(sums, 0, n * sizeof *sums);
      for (size_t i = part * m / parts; i < (part + 1) * m / parts; i++)
        norm_b_one(x + i * n, dy + i * n, gamma, dx + i * n, sums, n);
    }
#pragma omp for schedule(static)
    for (size_t first = 0; first < n; first += NORM_B_COLUMNS)
      add_columns(dgamma, work, parts, n, first, first + NORM_B_COLUMNS < n ? first + NORM_B_COLUMNS : n);
  }
  return 0;
}

/* --- SwiGLU --- */

static inline float sigmoid(float x) {
  return 1 / (1 + fc_expf(-x));
}

FC_CLONES
static void swiglu_one(const uint16_t *restrict x, float weight, uint8_t *restrict y, float *restrict ys,
                       size_t ys_step, size_t n) {
  float v[BLOCK];
  for (size_t j0 = 0, b = 0; j0 < n; j0 += BLOCK, b++) {
    size_t count = n - j0 < BLOCK ? n - j0 : BLOCK;
    FC_SIMD
    for (size_t j = 0; j < count; j++) {
      float gate = fc_bf16_decode(x[j0 + j]), up = fc_bf16_decode(x[n + j0 + j]);
      v[j] = gate * sigmoid(gate) * up * weight;
    }
    float scale = block_scale(v, count);
    ys[b * ys_step] = scale;
    block_encode(v, y + j0, 1 / scale, count);
  }
}

static int swiglu(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state, (void)queue;
  size_t m = (size_t)p->c.m, n = (size_t)p->c.n;
  const uint16_t *x = args->at[FC_SWIGLU_X];
  const float *w = args->at[FC_SWIGLU_W];
  uint8_t *y = args->at[FC_SWIGLU_Y];
  float *ys = args->at[FC_SWIGLU_YS];
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < m; i++) swiglu_one(x + i * 2 * n, w[i], y + i * n, ys + i, m, n);
  return 0;
}

/* dx and the row's dw; y is the forward's. */
FC_CLONES
static float swiglu_b_one(const uint16_t *restrict x, const uint16_t *restrict dy, float weight,
                          uint16_t *restrict dx, size_t n) {
  float dw = 0;
  FC_SIMD_SUM(dw)
  for (size_t j = 0; j < n; j++) {
    float gate = fc_bf16_decode(x[j]), up = fc_bf16_decode(x[n + j]), d = fc_bf16_decode(dy[j]);
    float s = sigmoid(gate), silu = gate * s, outer = d * weight;
    dw += d * silu * up;
    dx[j] = fc_bf16_encode(outer * up * s * (1 + gate * (1 - s)));
    dx[n + j] = fc_bf16_encode(outer * silu);
  }
  return dw;
}

static int swiglu_b(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state, (void)queue;
  size_t m = (size_t)p->c.m, n = (size_t)p->c.n;
  const uint16_t *x = args->at[FC_SWIGLU_X], *dy = args->at[FC_SWIGLU_DY];
  const float *w = args->at[FC_SWIGLU_W];
  uint8_t *y = args->at[FC_SWIGLU_Y];
  uint16_t *dx = args->at[FC_SWIGLU_DX];
  float *ys = args->at[FC_SWIGLU_YS], *dw = args->at[FC_SWIGLU_DW];
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < m; i++) {
    swiglu_one(x + i * 2 * n, w[i], y + i * n, ys + i, m, n);
    dw[i] = swiglu_b_one(x + i * 2 * n, dy + i * n, w[i], dx + i * 2 * n, n);
  }
  return 0;
}

/* --- rotary embedding: a pair of bf16 is one 32-bit word, x0 in its lower half --- */

static inline void rotate_pairs(const uint16_t *x, uint16_t *y, const float *cosine, const float *sine,
                                float sign, size_t pairs) {
  FC_SIMD
  for (size_t i = 0; i < pairs; i++) {
    float x0 = fc_bf16_decode(x[2 * i]), x1 = fc_bf16_decode(x[2 * i + 1]), c = cosine[i], s = sign * sine[i];
    y[2 * i] = fc_bf16_encode(x0 * c - x1 * s);
    y[2 * i + 1] = fc_bf16_encode(x0 * s + x1 * c);
  }
}

FC_CLONES
static void rotate_heads(const uint16_t *x, uint16_t *y, const float *table, float sign, size_t heads,
                         size_t dk) {
  for (size_t h = 0; h < heads; h++)
    rotate_pairs(x + h * dk, y + h * dk, table, table + dk / 2, sign, dk / 2);
}

static int rope(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state, (void)queue;
  size_t m = (size_t)p->c.m, heads = (size_t)p->c.heads, dk = (size_t)p->c.dk, dv = (size_t)p->c.dv;
  bool forward = p->c.op == FC_BENCH_ROPE_KV;
  uint16_t *q = args->at[FC_ROPE_Q], *cache = args->at[FC_ROPE_CACHE];
  const uint16_t *kpe = args->at[FC_ROPE_KPE], *latent = args->at[FC_ROPE_LATENT];
  const float *cossin = args->at[FC_ROPE_COSSIN];
  const int32_t *positions = args->at[FC_ROPE_POSITIONS], *slots = args->at[FC_ROPE_SLOTS];
#pragma omp parallel for schedule(static)
  for (size_t t = 0; t < m; t++) {
    const float *table = cossin + (size_t)positions[t] * dk;
    uint16_t *row = q + t * heads * dk;
    rotate_heads(row, row, table, forward ? 1.0f : -1.0f, heads, dk);
    if (!forward) continue;
    uint16_t *slot = cache + (size_t)slots[t] * (dv + dk);
    memcpy(slot, latent + t * dv, dv * sizeof *slot);
    rotate_heads(kpe + t * dk, slot + dv, table, 1, 1, dk);
  }
  return 0;
}

static const fc_implementation items[] = {
    {FC_BENCH_EMBED, "openmp", NULL, NULL, embed, NULL},
    {FC_BENCH_NORM, "openmp", NULL, NULL, norm, NULL},
    {FC_BENCH_NORM_RESIDUAL, "openmp", NULL, NULL, norm, NULL},
    {FC_BENCH_NORM_B, "openmp", NULL, NULL, norm_b, NULL},
    {FC_BENCH_SWIGLU, "openmp", NULL, NULL, swiglu, NULL},
    {FC_BENCH_SWIGLU_B, "openmp", NULL, NULL, swiglu_b, NULL},
    {FC_BENCH_ROPE_KV, "openmp", NULL, NULL, rope, NULL},
    {FC_BENCH_ROPE_B, "openmp", NULL, NULL, rope, NULL},
};
const fc_implementations fc_cpu_rows = {sizeof items / sizeof *items, items};
