/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/kernels/operators.h>

#include <math.h>

#include "families.h"
#include "quantise.h"

double fc_block_scale(double amax) {
  return fmax(amax, (double)1e-4f) / (double)FC_E4M3_MAX;
}

void fc_expect_block(fc_expect *e, fc_block_at at, const double *v, const double *error, size_t count) {
  double amax = 0, amax_error = 0;
  for (size_t j = 0; j < count; j++) {
    amax = fmax(amax, fabs(v[j]));
    amax_error = fmax(amax_error, error[j]);
  }
  double scale = fc_block_scale(amax);
  /* 2 u: a product with 1/448 instead of a division */
  double scale_error = amax_error / (double)FC_E4M3_MAX + 2 * FC_U_F32 * scale;
  fc_expect_at(e, at.ys, at.ys_at, scale, scale_error);
  for (size_t j = 0; j < count; j++) {
    double code = v[j] / scale;
    double bound = (error[j] + fabs(code) * scale_error) / scale + fabs(code) * FC_CODE_UNIT;
    fc_expect_at(e, at.y, at.y_first + j, code, bound);
  }
}

/* --- tensors --- */

/* Spreads with which about half of the blocks end below the least amax, 1e-4, and half above, so that both
 * sides of the maximum are met: the largest of 128 of our normal numbers has its median at 2.59 standard
 * deviations, that of 128 x 128 at 3.20.  Of the sum of four uniforms (fc_fill_normal), P(|x| > z) =
 * (2 - z / sqrt(3))^4 / 12; it is ln 2 / n there. */
#define ROW_SPREAD  (1e-4f / 2.59f)
#define TILE_SPREAD (1e-4f / 3.20f)

static void declare(fc_problem *p) {
  const fc_bench_case *c = &p->c;
  int64_t m = c->m, n = c->n;
  bool weight = c->op == FC_BENCH_QUANT_WEIGHT;
  /* weights are quantised once a step: they come from memory */
  fc_problem_tensor(p, "x", FC_ELEM_BF16, weight ? FC_ROLE_WEIGHT : FC_ROLE_INPUT, FC_FILL_NORMAL,
                    weight ? TILE_SPREAD : ROW_SPREAD, m, n, 0, 0);
  fc_problem_tensor(p, "y", FC_ELEM_E4M3, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, m, n, 0, 0);
  if (weight)
    fc_problem_tensor(p, "ys", FC_ELEM_F32, FC_ROLE_PARTIAL, FC_FILL_NONE, 0, fc_blocks(m),
                      fc_pad4(fc_blocks(n)), 0, 0);
  else
    fc_problem_tensor(p, "ys", FC_ELEM_F32, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, fc_blocks(n), m, 0, 0);
  if (c->op == FC_BENCH_QUANT) return;
  fc_problem_tensor(p, "yt", FC_ELEM_E4M3, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, n, m, 0, 0);
  if (weight)
    fc_problem_tensor(p, "yts", FC_ELEM_F32, FC_ROLE_PARTIAL, FC_FILL_NONE, 0, fc_blocks(n),
                      fc_pad4(fc_blocks(m)), 0, 0);
  else
    fc_problem_tensor(p, "yts", FC_ELEM_F32, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, fc_blocks(m), n, 0, 0);
}

static void cost(const fc_problem *p, fc_op *out) {
  out->dtype = FC_DTYPE_FP8;
  out->m = (double)p->c.m;
  out->n = (double)p->c.n;
}

/* --- QUANT: a unit is a row --- */

static size_t row_units(const fc_problem *p) {
  return (size_t)p->c.m;
}

static const double no_error[FC_BLOCK] = {0};

static void row_reference(const fc_problem *p, size_t row, fc_expect *e) {
  size_t m = (size_t)p->c.m, n = (size_t)p->c.n;
  double v[FC_BLOCK];
  for (size_t j0 = 0; j0 < n; j0 += FC_BLOCK) {
    size_t count = n - j0 < FC_BLOCK ? n - j0 : FC_BLOCK;
    for (size_t j = 0; j < count; j++) v[j] = fc_tensor_at(&p->tensor[FC_QUANT_X], row * n + j0 + j);
    fc_block_at at = {FC_QUANT_Y, FC_QUANT_YS, row * n + j0, j0 / FC_BLOCK * m + row};
    fc_expect_block(e, at, v, no_error, count);
  }
}

/* --- both layouts: a unit is a tile of 128x128 --- */

static size_t tile_units(const fc_problem *p) {
  return (size_t)(fc_blocks(p->c.m) * fc_blocks(p->c.n));
}

typedef struct tile {
  size_t bi, bj, i0, j0, rows, columns;
} tile;

static tile tile_of(const fc_problem *p, size_t unit) {
  size_t m = (size_t)p->c.m, n = (size_t)p->c.n, across = (size_t)fc_blocks(p->c.n);
  tile t = {.bi = unit / across, .bj = unit % across};
  t.i0 = t.bi * FC_BLOCK;
  t.j0 = t.bj * FC_BLOCK;
  t.rows = m - t.i0 < FC_BLOCK ? m - t.i0 : FC_BLOCK;
  t.columns = n - t.j0 < FC_BLOCK ? n - t.j0 : FC_BLOCK;
  return t;
}

static void transposed_reference(const fc_problem *p, size_t unit, fc_expect *e) {
  size_t m = (size_t)p->c.m, n = (size_t)p->c.n;
  const fc_tensor *x = &p->tensor[FC_QUANT_X];
  tile t = tile_of(p, unit);
  double v[FC_BLOCK];
  for (size_t i = t.i0; i < t.i0 + t.rows; i++) {
    for (size_t j = 0; j < t.columns; j++) v[j] = fc_tensor_at(x, i * n + t.j0 + j);
    fc_block_at at = {FC_QUANT_Y, FC_QUANT_YS, i * n + t.j0, t.bj * m + i};
    fc_expect_block(e, at, v, no_error, t.columns);
  }
  for (size_t j = t.j0; j < t.j0 + t.columns; j++) {
    for (size_t i = 0; i < t.rows; i++) v[i] = fc_tensor_at(x, (t.i0 + i) * n + j);
    fc_block_at at = {FC_QUANT_YT, FC_QUANT_YTS, j * m + t.i0, t.bi * n + j};
    fc_expect_block(e, at, v, no_error, t.rows);
  }
}

static void weight_reference(const fc_problem *p, size_t unit, fc_expect *e) {
  size_t m = (size_t)p->c.m, n = (size_t)p->c.n;
  const fc_tensor *x = &p->tensor[FC_QUANT_X];
  tile t = tile_of(p, unit);
  double amax = 0;
  for (size_t i = t.i0; i < t.i0 + t.rows; i++)
    for (size_t j = t.j0; j < t.j0 + t.columns; j++) amax = fmax(amax, fabs(fc_tensor_at(x, i * n + j)));
  double scale = fc_block_scale(amax), scale_error = 2 * FC_U_F32 * scale;
  fc_expect_at(e, FC_QUANT_YS, t.bi * (size_t)fc_pad4(fc_blocks(p->c.n)) + t.bj, scale, scale_error);
  fc_expect_at(e, FC_QUANT_YTS, t.bj * (size_t)fc_pad4(fc_blocks(p->c.m)) + t.bi, scale, scale_error);
  for (size_t i = t.i0; i < t.i0 + t.rows; i++)
    for (size_t j = t.j0; j < t.j0 + t.columns; j++) {
      double code = fc_tensor_at(x, i * n + j) / scale;
      double bound = fabs(code) * (2 * FC_U_F32 + FC_CODE_UNIT);
      fc_expect_at(e, FC_QUANT_Y, i * n + j, code, bound);
      fc_expect_at(e, FC_QUANT_YT, j * m + i, code, bound);
    }
}

/* Exact: amax 0, 1 or 2 makes codes of 0, 224 and 448, far from any tie, and a correctly rounded scale. */
const fc_operator fc_quantise_operators[] = {
    {FC_BENCH_QUANT, true, declare, NULL, row_units, row_reference, cost},
    {FC_BENCH_QUANT_TRANSPOSED, true, declare, NULL, tile_units, transposed_reference, cost},
    {FC_BENCH_QUANT_WEIGHT, true, declare, NULL, tile_units, weight_reference, cost},
};
const size_t fc_quantise_operators_n = sizeof fc_quantise_operators / sizeof *fc_quantise_operators;
