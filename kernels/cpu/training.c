/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/kernels/implementation.h>
#include <fleetcast/kernels/operators.h>

#include <math.h>

#include "simd.h"

extern const fc_implementations fc_cpu_training;

/* --- cross-entropy: a row a task; maximum, sum of exponentials, gradient --- */

FC_CLONES
static float row_max(const uint16_t *x, size_t n) {
  int16_t most = INT16_MIN;
  FC_SIMD_MAX(most)
  for (size_t j = 0; j < n; j++) {
    /* negative numbers in reverse: the order of floats is that of these integers */
    int16_t bits = (int16_t)x[j], key = (int16_t)(bits ^ (bits < 0 ? 0x7fff : 0));
    most = key > most ? key : most;
  }
  return fc_bf16_decode((uint16_t)(most ^ (most < 0 ? 0x7fff : 0)));
}

FC_CLONES
static float row_sum_exp(const uint16_t *x, size_t n, float most) {
  float sum = 0;
  FC_SIMD_SUM(sum)
  for (size_t j = 0; j < n; j++) sum += fc_expf(fc_bf16_decode(x[j]) - most);
  return sum;
}

FC_CLONES
static void row_softmax(const uint16_t *restrict x, uint16_t *restrict y, size_t n, float most,
                        float inverse) {
  FC_SIMD
  for (size_t j = 0; j < n; j++) y[j] = fc_bf16_encode(fc_expf(fc_bf16_decode(x[j]) - most) * inverse);
}

static int cross_entropy(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state, (void)queue;
  size_t m = (size_t)p->c.m, n = (size_t)p->c.n;
  const uint16_t *logits = args->at[FC_CE_LOGITS];
  const int32_t *labels = args->at[FC_CE_LABELS];
  uint16_t *dlogits = args->at[FC_CE_DLOGITS];
  float *loss = args->at[FC_CE_LOSS];
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < m; i++) {
    const uint16_t *x = logits + i * n;
    size_t label = (size_t)labels[i];
    float most = row_max(x, n), sum = row_sum_exp(x, n, most), target = fc_bf16_decode(x[label]);
    row_softmax(x, dlogits + i * n, n, most, 1 / sum);
    dlogits[i * n + label] = fc_bf16_encode(fc_expf(target - most) / sum - 1);
    loss[i] = most + logf(sum) - target;
  }
  return 0;
}

/* --- AdamW: a chunk of parameters a task --- */

enum { CHUNK = 16384 };

typedef struct adamw {
  float *restrict p;
  const float *restrict g;
  void *m1, *m2;
  uint16_t *restrict w;
} adamw;

#define LR       2.2e-4f
#define BETA1    0.9f
#define BETA2    0.95f
#define REST1    0.1f /* 1 - 0.9f would be off by 2^-22 */
#define REST2    0.05f
#define EPSILON  1e-8f
#define DECAY    0.1f
/* 1 / (1 - 0.9^100), 1 / (1 - 0.95^100): step 100 */
#define CORRECT1 1.00002656f
#define CORRECT2 1.00595579f

static inline float adamw_next(float p, float m1, float m2) {
  return p - LR * (m1 * CORRECT1 / (fc_sqrtf(m2 * CORRECT2) + EPSILON) + DECAY * p);
}

FC_CLONES
static void adamw_f32(const adamw *a, size_t first, size_t end) {
  float *restrict p = a->p, *restrict m1 = a->m1, *restrict m2 = a->m2;
  const float *restrict g = a->g;
  uint16_t *restrict w = a->w;
  FC_SIMD
  for (size_t i = first; i < end; i++) {
    float next1 = BETA1 * m1[i] + REST1 * g[i], next2 = BETA2 * m2[i] + REST2 * (g[i] * g[i]);
    m1[i] = next1;
    m2[i] = next2;
    p[i] = adamw_next(p[i], next1, next2);
    w[i] = fc_bf16_encode(p[i]);
  }
}

FC_CLONES
static void adamw_bf16(const adamw *a, size_t first, size_t end) {
  float *restrict p = a->p;
  uint16_t *restrict m1 = a->m1, *restrict m2 = a->m2;
  const float *restrict g = a->g;
  uint16_t *restrict w = a->w;
  FC_SIMD
  for (size_t i = first; i < end; i++) {
    float next1 = BETA1 * fc_bf16_decode(m1[i]) + REST1 * g[i];
    float next2 = BETA2 * fc_bf16_decode(m2[i]) + REST2 * (g[i] * g[i]);
    m1[i] = fc_bf16_encode(next1);
    m2[i] = fc_bf16_encode(next2);
    p[i] = adamw_next(p[i], next1, next2);
    w[i] = fc_bf16_encode(p[i]);
  }
}

static int adamw_launch(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state, (void)queue;
  size_t m = (size_t)p->c.m, chunks = (m + CHUNK - 1) / CHUNK;
  adamw a = {args->at[FC_ADAMW_P], args->at[FC_ADAMW_G], args->at[FC_ADAMW_M1], args->at[FC_ADAMW_M2],
             args->at[FC_ADAMW_W]};
  bool narrow = p->tensor[FC_ADAMW_M1].elem == FC_ELEM_BF16;
#pragma omp parallel for schedule(static)
  for (size_t c = 0; c < chunks; c++) {
    size_t first = c * CHUNK, end = first + CHUNK < m ? first + CHUNK : m;
    if (narrow)
      adamw_bf16(&a, first, end);
    else
      adamw_f32(&a, first, end);
  }
  return 0;
}

/* --- gradient norm: partial sums in an order that no number of threads changes --- */

enum { PARTS = 4096 };

FC_CLONES
static float sum_squares(const float *g, size_t n) {
  float sum = 0;
  FC_SIMD_SUM(sum)
  for (size_t i = 0; i < n; i++) sum += g[i] * g[i];
  return sum;
}

static int grad_norm(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state, (void)queue;
  size_t m = (size_t)p->c.m, part = (m + PARTS - 1) / PARTS;
  part = (part + 63) / 64 * 64;
  const float *g = args->at[FC_GNORM_G];
  float *work = args->at[FC_GNORM_WORK], *norm = args->at[FC_GNORM_NORM];
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < PARTS; i++) {
    size_t first = i * part < m ? i * part : m, end = first + part < m ? first + part : m;
    work[i] = sum_squares(g + first, end - first);
  }
  double sum = 0;
  for (size_t i = 0; i < PARTS; i++) sum += (double)work[i];
  *norm = (float)sqrt(sum);
  return 0;
}

static const fc_implementation items[] = {
    {FC_BENCH_CROSS_ENTROPY, "openmp", NULL, NULL, cross_entropy, NULL},
    {FC_BENCH_ADAMW, "openmp", NULL, NULL, adamw_launch, NULL},
    {FC_BENCH_GRAD_NORM, "openmp", NULL, NULL, grad_norm, NULL},
};
const fc_implementations fc_cpu_training = {sizeof items / sizeof *items, items};
