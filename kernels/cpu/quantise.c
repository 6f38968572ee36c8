/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/kernels/implementation.h>
#include <fleetcast/kernels/operators.h>

#include <string.h>

#include "simd.h"

extern const fc_implementations fc_cpu_quantise;

/* One pass over rows (quant_a) or over tiles of 128x128 (both layouts), a row or a tile a task. */

enum { BLOCK = 128 };

/* --- rows --- */

static inline void quantise_blocks(const uint16_t *restrict x, uint8_t *restrict y, float *restrict ys,
                                   size_t ys_step, size_t n) {
  for (size_t j0 = 0, b = 0; j0 < n; j0 += BLOCK, b++) {
    size_t count = n - j0 < BLOCK ? n - j0 : BLOCK;
    uint32_t amax = 0;
    FC_SIMD_MAX(amax)
    for (size_t j = 0; j < count; j++) {
      uint32_t a = x[j0 + j] & 0x7fffu; /* order of |x|, as in binary32 */
      amax = a > amax ? a : amax;
    }
    float scale = fc_scale_of_bits(amax << 16), inverse = 1 / scale;
    ys[b * ys_step] = scale;
    FC_SIMD
    for (size_t j = 0; j < count; j++) y[j0 + j] = fc_e4m3_encode_flat(fc_bf16_decode(x[j0 + j]) * inverse);
  }
}

FC_CLONES
static void quantise_row(const uint16_t *x, uint8_t *y, float *ys, size_t ys_step, size_t n) {
  quantise_blocks(x, y, ys, ys_step, n);
}

static int quant(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state, (void)queue;
  size_t m = (size_t)p->c.m, n = (size_t)p->c.n;
  const uint16_t *x = args->at[FC_QUANT_X];
  uint8_t *y = args->at[FC_QUANT_Y];
  float *ys = args->at[FC_QUANT_YS];
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < m; i++) quantise_row(x + i * n, y + i * n, ys + i, m, n);
  return 0;
}

/* --- tiles --- */

typedef struct tile {
  uint16_t x[BLOCK][BLOCK]; /* zeros outside the matrix */
  uint8_t code[BLOCK][BLOCK];
  uint16_t amax[BLOCK];
  float inverse[BLOCK], scale[BLOCK];
} tile;

typedef struct span {
  size_t i0, j0, rows, columns; /* of the matrix that the tile covers */
} span;

static void tile_load(tile *t, const uint16_t *x, size_t n, span at) {
  if (at.rows < BLOCK || at.columns < BLOCK) memset(t->x, 0, sizeof t->x);
  /* cppcheck-suppress uninitvar ; the tile is what is written here */
  for (size_t i = 0; i < at.rows; i++) memcpy(t->x[i], x + (at.i0 + i) * n + at.j0, at.columns * sizeof *x);
}

FC_CLONES
static void tile_rows(const tile *t, uint8_t *y, float *ys, size_t m, size_t n, span at) {
  for (size_t i = 0; i < at.rows; i++)
    quantise_blocks(t->x[i], y + (at.i0 + i) * n + at.j0, ys + at.j0 / BLOCK * m + at.i0 + i, 0, at.columns);
}

/* Largest magnitude of each column. */
FC_CLONES
static void tile_columns(tile *t) {
  memset(t->amax, 0, sizeof t->amax);
  for (size_t i = 0; i < BLOCK; i++) {
    const uint16_t *x = t->x[i]; /* cppcheck-suppress uninitvar ; tile_load has filled it */
    FC_SIMD
    for (size_t j = 0; j < BLOCK; j++) {
      uint16_t a = x[j] & 0x7fffu;
      t->amax[j] = a > t->amax[j] ? a : t->amax[j];
    }
  }
}

FC_CLONES
static void tile_encode(tile *t) {
  for (size_t i = 0; i < BLOCK; i++) {
    const uint16_t *restrict x = t->x[i];
    const float *restrict inverse = t->inverse;
    uint8_t *restrict code = t->code[i];
    FC_SIMD
    for (size_t j = 0; j < BLOCK; j++) code[j] = fc_e4m3_encode_flat(fc_bf16_decode(x[j]) * inverse[j]);
  }
}

/* Exchanges the upper half of each 2 `shift` bits of a with the lower half of b's. */
static inline void exchange(uint64_t *a, uint64_t *b, int shift, uint64_t low) {
  uint64_t moved = ((*a >> shift) ^ *b) & low;
  *a ^= moved << shift;
  *b ^= moved;
}

/* Transposes 8x8 bytes held in 8 words, byte j of word i: blocks of 4, of 2, then bytes. */
static inline void transpose8(uint64_t w[8]) {
  for (size_t i = 0; i < 4; i++) exchange(&w[i], &w[i + 4], 32, 0x00000000ffffffffu);
  for (size_t i = 0; i < 4; i++) exchange(&w[i + (i & 2)], &w[i + (i & 2) + 2], 16, 0x0000ffff0000ffffu);
  for (size_t i = 0; i < 4; i++) exchange(&w[2 * i], &w[2 * i + 1], 8, 0x00ff00ff00ff00ffu);
}

static bool is_little_endian(void) {
  const uint16_t one = 1;
  uint8_t first;
  memcpy(&first, &one, 1);
  return first == 1;
}

/* yt[j, i] = code[i][j] */
FC_CLONES
static void tile_store_transposed(const tile *t, uint8_t *yt, size_t m, span at) {
  if (at.rows < BLOCK || at.columns < BLOCK || !is_little_endian()) {
    for (size_t j = 0; j < at.columns; j++)
      for (size_t i = 0; i < at.rows; i++) yt[(at.j0 + j) * m + at.i0 + i] = t->code[i][j];
    return;
  }
  for (size_t j = 0; j < BLOCK; j += 8)
    for (size_t i = 0; i < BLOCK; i += 8) {
      uint64_t w[8];
      for (size_t r = 0; r < 8; r++) memcpy(&w[r], &t->code[i + r][j], 8);
      transpose8(w);
      for (size_t c = 0; c < 8; c++) memcpy(yt + (at.j0 + j + c) * m + at.i0 + i, &w[c], 8);
    }
}

static span span_of(const fc_problem *p, size_t unit) {
  size_t m = (size_t)p->c.m, n = (size_t)p->c.n, across = (size_t)fc_blocks(p->c.n);
  span at = {.i0 = unit / across * BLOCK, .j0 = unit % across * BLOCK};
  at.rows = m - at.i0 < BLOCK ? m - at.i0 : BLOCK;
  at.columns = n - at.j0 < BLOCK ? n - at.j0 : BLOCK;
  return at;
}

static int quant_transposed(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state, (void)queue;
  size_t m = (size_t)p->c.m, n = (size_t)p->c.n, tiles = (size_t)(fc_blocks(p->c.m) * fc_blocks(p->c.n));
  const uint16_t *x = args->at[FC_QUANT_X];
  uint8_t *y = args->at[FC_QUANT_Y], *yt = args->at[FC_QUANT_YT];
  float *ys = args->at[FC_QUANT_YS], *yts = args->at[FC_QUANT_YTS];
#pragma omp parallel for schedule(static)
  for (size_t unit = 0; unit < tiles; unit++) {
    tile t;
    span at = span_of(p, unit);
    tile_load(&t, x, n, at);
    tile_rows(&t, y, ys, m, n, at);
    tile_columns(&t);
    for (size_t j = 0; j < BLOCK; j++) {
      t.scale[j] = fc_scale_of_bits((uint32_t)t.amax[j] << 16);
      t.inverse[j] = 1 / t.scale[j];
    }
    memcpy(yts + at.i0 / BLOCK * n + at.j0, t.scale, at.columns * sizeof *yts);
    tile_encode(&t);
    tile_store_transposed(&t, yt, m, at);
  }
  return 0;
}

static int quant_weight(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state, (void)queue;
  size_t m = (size_t)p->c.m, n = (size_t)p->c.n, tiles = (size_t)(fc_blocks(p->c.m) * fc_blocks(p->c.n));
  size_t ys_row = (size_t)fc_pad4(fc_blocks(p->c.n)), yts_row = (size_t)fc_pad4(fc_blocks(p->c.m));
  const uint16_t *x = args->at[FC_QUANT_X];
  uint8_t *y = args->at[FC_QUANT_Y], *yt = args->at[FC_QUANT_YT];
  float *ys = args->at[FC_QUANT_YS], *yts = args->at[FC_QUANT_YTS];
#pragma omp parallel for schedule(static)
  for (size_t unit = 0; unit < tiles; unit++) {
    tile t;
    span at = span_of(p, unit);
    tile_load(&t, x, n, at);
    tile_columns(&t);
    uint32_t amax = 0;
    for (size_t j = 0; j < BLOCK; j++) amax = t.amax[j] > amax ? t.amax[j] : amax;
    float scale = fc_scale_of_bits(amax << 16);
    for (size_t j = 0; j < BLOCK; j++) t.inverse[j] = 1 / scale;
    ys[at.i0 / BLOCK * ys_row + at.j0 / BLOCK] = scale;
    yts[at.j0 / BLOCK * yts_row + at.i0 / BLOCK] = scale;
    tile_encode(&t);
    for (size_t i = 0; i < at.rows; i++) memcpy(y + (at.i0 + i) * n + at.j0, t.code[i], at.columns);
    tile_store_transposed(&t, yt, m, at);
  }
  return 0;
}

static const fc_implementation items[] = {
    {FC_BENCH_QUANT, "openmp", NULL, NULL, quant, NULL},
    {FC_BENCH_QUANT_TRANSPOSED, "openmp", NULL, NULL, quant_transposed, NULL},
    {FC_BENCH_QUANT_WEIGHT, "openmp", NULL, NULL, quant_weight, NULL},
};
const fc_implementations fc_cpu_quantise = {sizeof items / sizeof *items, items};
