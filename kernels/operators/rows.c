/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/kernels/operators.h>

#include <math.h>

#include "families.h"
#include "quantise.h"

#define NORM_EPS    1e-6
/* Spread of a norm's inputs: epsilon is then a hundredth of their mean square, and shows where it is missing;
 * beside inputs of the order of 1 no format would tell. */
#define NORM_SPREAD 0.01f

static size_t row_units(const fc_problem *p) {
  return (size_t)p->c.m;
}

static void row_cost(const fc_problem *p, fc_op *out) {
  out->m = (double)p->c.m;
  out->n = (double)p->c.n;
}

static void codes_cost(const fc_problem *p, fc_op *out) {
  row_cost(p, out);
  out->dtype = FC_DTYPE_FP8;
}

static double at(const fc_problem *p, int tensor, size_t index) {
  return fc_tensor_at(&p->tensor[tensor], index);
}

/* Indices that look random and are the same everywhere. */
static void fill_indices(fc_problem *p, int tensor, int64_t below) {
  fc_tensor *t = &p->tensor[tensor];
  for (size_t i = 0; i < t->count; i++)
    fc_tensor_set(t, i, (double)(fc_fill_bits(p->seed, (uint64_t)tensor, i) % (uint64_t)below));
}

/* --- EMBED --- */

static void embed_declare(fc_problem *p) {
  int64_t m = p->c.m, n = p->c.n, vocabulary = p->c.k;
  fc_problem_tensor(p, "table", FC_ELEM_BF16, FC_ROLE_WEIGHT, FC_FILL_NORMAL, 1, vocabulary, n, 0, 0);
  fc_problem_tensor(p, "ids", FC_ELEM_I32, FC_ROLE_INPUT, FC_FILL_HOST, 0, m, 0, 0, 0);
  fc_problem_tensor(p, "y", FC_ELEM_BF16, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, m, n, 0, 0);
}

static void embed_prepare(fc_problem *p) {
  fill_indices(p, FC_EMBED_IDS, p->c.k);
}

static void embed_reference(const fc_problem *p, size_t row, fc_expect *e) {
  size_t n = (size_t)p->c.n, id = (size_t)fc_tensor_int(&p->tensor[FC_EMBED_IDS], row);
  for (size_t j = 0; j < n; j++)
    fc_expect_at(e, FC_EMBED_Y, row * n + j, at(p, FC_EMBED_TABLE, id * n + j), 0);
}

/* --- NORM, NORM_RESIDUAL: y = quantise(x / rms(x) gamma) --- */

static void norm_declare(fc_problem *p) {
  int64_t m = p->c.m, n = p->c.n;
  fc_problem_tensor(p, "x", FC_ELEM_BF16, FC_ROLE_INPUT, FC_FILL_NORMAL, NORM_SPREAD, m, n, 0, 0);
  fc_problem_tensor(p, "gamma", FC_ELEM_BF16, FC_ROLE_INPUT, FC_FILL_SCALE, 1, n, 0, 0, 0);
  fc_problem_tensor(p, "y", FC_ELEM_E4M3, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, m, n, 0, 0);
  fc_problem_tensor(p, "ys", FC_ELEM_F32, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, fc_blocks(n), m, 0, 0);
  if (p->c.op != FC_BENCH_NORM_RESIDUAL) return;
  fc_problem_tensor(p, "residual", FC_ELEM_BF16, FC_ROLE_INPUT, FC_FILL_NORMAL, NORM_SPREAD, m, n, 0, 0);
  fc_problem_tensor(p, "sum", FC_ELEM_BF16, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, m, n, 0, 0);
}

static double norm_input(const fc_problem *p, size_t index) {
  double x = at(p, FC_NORM_X, index);
  return p->c.op == FC_BENCH_NORM_RESIDUAL ? x + at(p, FC_NORM_RESIDUAL, index) : x;
}

/* Relative error of 1/rms: half the mean square's (the sum; a rounding of each input, twice in its square;
 * mean and epsilon), and the reciprocal root's. */
static double rms_error(size_t n) {
  return 0.5 * (fc_bound_sum((double)n, FC_U_F32, 1) + 4 * FC_U_F32) + FC_U_SPECIAL;
}

static void norm_reference(const fc_problem *p, size_t row, fc_expect *e) {
  size_t m = (size_t)p->c.m, n = (size_t)p->c.n, first = row * n;
  double squares = 0, v[FC_BLOCK], error[FC_BLOCK];
  for (size_t j = 0; j < n; j++) {
    double x = norm_input(p, first + j);
    squares += x * x;
    if (p->c.op == FC_BENCH_NORM_RESIDUAL) fc_expect_at(e, FC_NORM_SUM, first + j, x, FC_U_F32 * fabs(x));
  }
  double scale = 1 / sqrt(squares / (double)n + NORM_EPS);
  double relative = rms_error(n) + 3 * FC_U_F32; /* input, two products */
  for (size_t j0 = 0; j0 < n; j0 += FC_BLOCK) {
    size_t count = n - j0 < FC_BLOCK ? n - j0 : FC_BLOCK;
    for (size_t j = 0; j < count; j++) {
      v[j] = norm_input(p, first + j0 + j) * scale * at(p, FC_NORM_GAMMA, j0 + j);
      error[j] = fabs(v[j]) * relative;
    }
    fc_block_at block = {FC_NORM_Y, FC_NORM_YS, first + j0, j0 / FC_BLOCK * m + row};
    fc_expect_block(e, block, v, error, count);
  }
}

/* --- NORM_B ---
 *
 *  With r = 1/rms(x), g = dy gamma:  dx = r (g - x r^2 mean(g x)),  dgamma = sum over rows of dy x r.
 *  Units: the rows, then blocks of columns of dgamma. */

enum { DGAMMA_UNIT = 1024 };

static void norm_b_declare(fc_problem *p) {
  int64_t m = p->c.m, n = p->c.n;
  fc_problem_tensor(p, "x", FC_ELEM_BF16, FC_ROLE_INPUT, FC_FILL_NORMAL, NORM_SPREAD, m, n, 0, 0);
  fc_problem_tensor(p, "dy", FC_ELEM_BF16, FC_ROLE_INPUT, FC_FILL_NORMAL, 1, m, n, 0, 0);
  fc_problem_tensor(p, "gamma", FC_ELEM_BF16, FC_ROLE_INPUT, FC_FILL_SCALE, 1, n, 0, 0, 0);
  fc_problem_tensor(p, "dx", FC_ELEM_BF16, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, m, n, 0, 0);
  fc_problem_tensor(p, "dgamma", FC_ELEM_F32, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, n, 0, 0, 0);
  fc_problem_tensor(p, "work", FC_ELEM_F32, FC_ROLE_WORK, FC_FILL_NONE, 0, 1024, n, 0, 0);
}

static size_t norm_b_units(const fc_problem *p) {
  return (size_t)p->c.m + ((size_t)p->c.n + DGAMMA_UNIT - 1) / DGAMMA_UNIT;
}

static double inverse_rms(const fc_problem *p, size_t row) {
  size_t n = (size_t)p->c.n;
  double squares = 0;
  for (size_t j = 0; j < n; j++) {
    double x = at(p, FC_NORM_B_X, row * n + j);
    squares += x * x;
  }
  return 1 / sqrt(squares / (double)n + NORM_EPS);
}

static void dgamma_reference(const fc_problem *p, size_t block, fc_expect *e) {
  size_t m = (size_t)p->c.m, n = (size_t)p->c.n, j0 = block * DGAMMA_UNIT;
  size_t count = n - j0 < DGAMMA_UNIT ? n - j0 : DGAMMA_UNIT;
  double sum[DGAMMA_UNIT] = {0}, magnitude[DGAMMA_UNIT] = {0};
  for (size_t i = 0; i < m; i++) {
    double r = inverse_rms(p, i);
    for (size_t j = 0; j < count; j++) {
      size_t index = i * n + j0 + j;
      double term = at(p, FC_NORM_B_DY, index) * at(p, FC_NORM_B_X, index) * r;
      sum[j] += term;
      magnitude[j] += fabs(term);
    }
  }
  for (size_t j = 0; j < count; j++) {
    double bound =
        fc_bound_sum((double)m, FC_U_F32, magnitude[j]) + (rms_error(n) + 2 * FC_U_F32) * magnitude[j];
    fc_expect_at(e, FC_NORM_B_DGAMMA, j0 + j, sum[j], bound);
  }
}

static void norm_b_reference(const fc_problem *p, size_t unit, fc_expect *e) {
  size_t m = (size_t)p->c.m, n = (size_t)p->c.n, first = unit * n;
  if (unit >= m) {
    dgamma_reference(p, unit - m, e);
    return;
  }
  double r = inverse_rms(p, unit), dot = 0, magnitude = 0;
  for (size_t j = 0; j < n; j++) {
    double term = at(p, FC_NORM_B_DY, first + j) * at(p, FC_NORM_B_GAMMA, j) * at(p, FC_NORM_B_X, first + j);
    dot += term;
    magnitude += fabs(term);
  }
  double cube = r * r * r / (double)n;
  double dot_error = fc_bound_sum((double)n, FC_U_F32, magnitude) + 2 * FC_U_F32 * magnitude;
  for (size_t j = 0; j < n; j++) {
    double x = at(p, FC_NORM_B_X, first + j);
    double own = r * at(p, FC_NORM_B_DY, first + j) * at(p, FC_NORM_B_GAMMA, j), pull = x * cube * dot;
    /* products, the difference, and r, which the second term has three times */
    double bound = fabs(own) * (rms_error(n) + 3 * FC_U_F32) +
                   fabs(pull) * (3 * rms_error(n) + 6 * FC_U_F32) + fabs(x) * cube * dot_error;
    fc_expect_at(e, FC_NORM_B_DX, first + j, own - pull, bound);
  }
}

/* --- SWIGLU, SWIGLU_B: y = quantise(silu(gate) up w) --- */

static void swiglu_declare(fc_problem *p) {
  int64_t m = p->c.m, n = p->c.n;
  fc_problem_tensor(p, "x", FC_ELEM_BF16, FC_ROLE_INPUT, FC_FILL_NORMAL, 1, m, 2 * n, 0, 0);
  /* mean weight of 8 experts whose weights sum to 2.5: DeepSeek-V3 */
  fc_problem_tensor(p, "w", FC_ELEM_F32, FC_ROLE_INPUT, FC_FILL_SCALE, 0.3125f, m, 0, 0, 0);
  fc_problem_tensor(p, "y", FC_ELEM_E4M3, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, m, n, 0, 0);
  fc_problem_tensor(p, "ys", FC_ELEM_F32, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, fc_blocks(n), m, 0, 0);
  if (p->c.op != FC_BENCH_SWIGLU_B) return;
  fc_problem_tensor(p, "dy", FC_ELEM_BF16, FC_ROLE_INPUT, FC_FILL_NORMAL, 1, m, n, 0, 0);
  fc_problem_tensor(p, "dx", FC_ELEM_BF16, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, m, 2 * n, 0, 0);
  fc_problem_tensor(p, "dw", FC_ELEM_F32, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, m, 0, 0, 0);
}

typedef struct gate {
  double sigmoid, sigmoid_error; /* relative */
  double silu, silu_error;       /* relative */
} gate;

/* exp(-x): 2 + 1.173 |x| ulp (__expf) and the rounding of x log2 e;
 * 1 + exp and the division, 2 ulp where approximate (__fdividef). */
static gate gate_of(double x) {
  double s = 1 / (1 + exp(-x));
  double relative = ((2 + 1.173 * fabs(x)) * 0x1p-23 + fabs(x) * FC_U_F32) * (1 - s) + FC_U_F32 + 0x1p-22;
  return (gate){s, relative, x * s, relative + FC_U_F32};
}

static void swiglu_codes(const fc_problem *p, size_t row, fc_expect *e) {
  size_t m = (size_t)p->c.m, n = (size_t)p->c.n;
  double weight = at(p, FC_SWIGLU_W, row), v[FC_BLOCK], error[FC_BLOCK];
  for (size_t j0 = 0; j0 < n; j0 += FC_BLOCK) {
    size_t count = n - j0 < FC_BLOCK ? n - j0 : FC_BLOCK;
    for (size_t j = 0; j < count; j++) {
      size_t index = row * 2 * n + j0 + j;
      gate g = gate_of(at(p, FC_SWIGLU_X, index));
      v[j] = g.silu * at(p, FC_SWIGLU_X, index + n) * weight;
      error[j] = fabs(v[j]) * (g.silu_error + 2 * FC_U_F32);
    }
    fc_block_at block = {FC_SWIGLU_Y, FC_SWIGLU_YS, row * n + j0, j0 / FC_BLOCK * m + row};
    fc_expect_block(e, block, v, error, count);
  }
}

static void swiglu_reference(const fc_problem *p, size_t row, fc_expect *e) {
  swiglu_codes(p, row, e);
  if (p->c.op != FC_BENCH_SWIGLU_B) return;
  size_t n = (size_t)p->c.n, first = row * 2 * n;
  double weight = at(p, FC_SWIGLU_W, row), dw = 0, magnitude = 0, worst = 0, u = FC_U_F32;
  for (size_t j = 0; j < n; j++) {
    double x = at(p, FC_SWIGLU_X, first + j), up = at(p, FC_SWIGLU_X, first + n + j);
    double dy = at(p, FC_SWIGLU_DY, row * n + j), term;
    gate g = gate_of(x);
    dw += term = dy * g.silu * up;
    magnitude += fabs(term);
    worst = fmax(worst, g.silu_error);
    double rest = 1 - g.sigmoid, slope = 1 + x * rest, outer = dy * weight * up * g.sigmoid;
    /* 1 - sigmoid inherits the sigmoid's error; the slope may cancel */
    double slope_error = fabs(x) * (g.sigmoid * g.sigmoid_error + 2 * u) + u * (1 + fabs(x * rest));
    fc_expect_at(e, FC_SWIGLU_DX, first + j, outer * slope,
                 fabs(outer) * (slope_error + fabs(slope) * (g.sigmoid_error + 4 * u)));
    double dup = dy * weight * g.silu;
    fc_expect_at(e, FC_SWIGLU_DX, first + n + j, dup, fabs(dup) * (g.silu_error + 2 * u));
  }
  fc_expect_at(e, FC_SWIGLU_DW, row, dw, fc_bound_sum((double)n, u, magnitude) + (worst + 2 * u) * magnitude);
}

/* --- ROPE_KV, ROPE_B: a unit is a token --- */

enum { ROPE_POSITIONS = 4096 }; /* of the table: a training sequence of DeepSeek-V3 (arXiv:2412.19437, 4.2) */
#define ROPE_BASE 10000.0

static void rope_declare(fc_problem *p) {
  const fc_bench_case *c = &p->c;
  bool forward = c->op == FC_BENCH_ROPE_KV;
  int64_t latent = forward ? c->dv : 0, key = forward ? c->m : 0;
  p->rows[0] = ROPE_POSITIONS;
  p->rows[1] = forward ? (c->m + 63) / 64 * 64 : 0; /* pages of 64 tokens */
  fc_problem_tensor(p, "q", FC_ELEM_BF16, FC_ROLE_INOUT, FC_FILL_NORMAL, 1, c->m, c->heads, c->dk, 0);
  fc_problem_tensor(p, "kpe", FC_ELEM_BF16, FC_ROLE_INPUT, FC_FILL_NORMAL, 1, key, forward ? c->dk : 0, 0, 0);
  fc_problem_tensor(p, "latent", FC_ELEM_BF16, FC_ROLE_INPUT, FC_FILL_NORMAL, 1, key, latent, 0, 0);
  fc_problem_tensor(p, "cossin", FC_ELEM_F32, FC_ROLE_INPUT, FC_FILL_HOST, 0, p->rows[0], c->dk, 0, 0);
  fc_problem_tensor(p, "positions", FC_ELEM_I32, FC_ROLE_INPUT, FC_FILL_HOST, 0, c->m, 0, 0, 0);
  fc_problem_tensor(p, "slots", FC_ELEM_I32, FC_ROLE_INPUT, FC_FILL_HOST, 0, key, 0, 0, 0);
  fc_problem_tensor(p, "cache", FC_ELEM_BF16, FC_ROLE_PARTIAL, FC_FILL_NONE, 0, p->rows[1],
                    forward ? c->dv + c->dk : 0, 0, 0);
}

/* Pages in another order than tokens: page i goes to i * step mod pages. */
static int64_t page_step(int64_t pages) {
  for (int64_t step = pages * 5 / 8 + 1; step < pages; step++) {
    int64_t a = pages, b = step;
    while (b) {
      int64_t rest = a % b;
      a = b;
      b = rest;
    }
    if (a == 1) return step;
  }
  return 1;
}

static void rope_prepare(fc_problem *p) {
  fc_tensor *table = &p->tensor[FC_ROPE_COSSIN];
  size_t dk = (size_t)p->c.dk, half = dk / 2;
  for (size_t t = 0; t < (size_t)p->rows[0]; t++)
    for (size_t i = 0; i < half; i++) {
      double angle = (double)t * pow(ROPE_BASE, -2 * (double)i / (double)dk);
      size_t quarter = (t + i) % 4; /* exact: quarter turns */
      double c = p->exact ? (double)(quarter == 0) - (double)(quarter == 2) : cos(angle);
      double s = p->exact ? (double)(quarter == 1) - (double)(quarter == 3) : sin(angle);
      fc_tensor_set(table, t * dk + i, c);
      fc_tensor_set(table, t * dk + half + i, s);
    }
  /* neighbours in a sequence, from somewhere in its middle on: a position is not the token's index */
  size_t start = 1 + (size_t)(fc_fill_bits(p->seed, FC_ROPE_POSITIONS, 0) % (ROPE_POSITIONS - 1));
  for (size_t t = 0; t < (size_t)p->c.m; t++)
    fc_tensor_set(&p->tensor[FC_ROPE_POSITIONS], t, (double)((start + t) % ROPE_POSITIONS));
  int64_t pages = p->rows[1] / 64;
  if (pages == 0) return; /* a backward pass writes no cache */
  int64_t step = page_step(pages);
  for (size_t t = 0; t < p->tensor[FC_ROPE_SLOTS].count; t++)
    fc_tensor_set(&p->tensor[FC_ROPE_SLOTS], t,
                  (double)((int64_t)(t / 64) * step % pages * 64 + (int64_t)(t % 64)));
}

/* Rotates dk elements at `from` of tensor `source`; the result belongs at `to` of `target`. */
static void rotate(const fc_problem *p, size_t token, int source, size_t from, int target, size_t to,
                   fc_expect *e) {
  size_t dk = (size_t)p->c.dk, half = dk / 2;
  size_t row = (size_t)fc_tensor_int(&p->tensor[FC_ROPE_POSITIONS], token) * dk;
  double sign = p->c.op == FC_BENCH_ROPE_B ? -1 : 1;
  for (size_t i = 0; i < half; i++) {
    double c = at(p, FC_ROPE_COSSIN, row + i), s = sign * at(p, FC_ROPE_COSSIN, row + half + i);
    double x0 = at(p, source, from + 2 * i), x1 = at(p, source, from + 2 * i + 1);
    double bound0 = 2 * FC_U_F32 * (fabs(x0 * c) + fabs(x1 * s)); /* product and sum */
    double bound1 = 2 * FC_U_F32 * (fabs(x0 * s) + fabs(x1 * c));
    fc_expect_at(e, target, to + 2 * i, x0 * c - x1 * s, bound0);
    fc_expect_at(e, target, to + 2 * i + 1, x0 * s + x1 * c, bound1);
  }
}

static void rope_reference(const fc_problem *p, size_t token, fc_expect *e) {
  size_t heads = (size_t)p->c.heads, dk = (size_t)p->c.dk, dv = (size_t)p->c.dv;
  for (size_t h = 0; h < heads; h++) {
    size_t first = (token * heads + h) * dk;
    rotate(p, token, FC_ROPE_Q, first, FC_ROPE_Q, first, e);
  }
  if (p->c.op == FC_BENCH_ROPE_B) return;
  size_t slot = (size_t)fc_tensor_int(&p->tensor[FC_ROPE_SLOTS], token) * (dv + dk);
  for (size_t j = 0; j < dv; j++)
    fc_expect_at(e, FC_ROPE_CACHE, slot + j, at(p, FC_ROPE_LATENT, token * dv + j), 0);
  rotate(p, token, FC_ROPE_KPE, token * dk, FC_ROPE_CACHE, slot + dv, e);
}

static void rope_cost(const fc_problem *p, fc_op *out) {
  bool forward = p->c.op == FC_BENCH_ROPE_KV;
  out->dtype = FC_DTYPE_BF16;
  out->m = (double)p->c.m;
  out->n = (double)(p->c.heads * p->c.dk);
  if (forward) out->k = (double)(p->c.dk + p->c.dv);
}

const fc_operator fc_rows_operators[] = {
    {FC_BENCH_EMBED, true, embed_declare, embed_prepare, row_units, embed_reference, row_cost},
    {FC_BENCH_NORM, false, norm_declare, NULL, row_units, norm_reference, codes_cost},
    {FC_BENCH_NORM_RESIDUAL, false, norm_declare, NULL, row_units, norm_reference, codes_cost},
    {FC_BENCH_NORM_B, false, norm_b_declare, NULL, norm_b_units, norm_b_reference, row_cost},
    {FC_BENCH_SWIGLU, false, swiglu_declare, NULL, row_units, swiglu_reference, codes_cost},
    {FC_BENCH_SWIGLU_B, false, swiglu_declare, NULL, row_units, swiglu_reference, codes_cost},
    {FC_BENCH_ROPE_KV, true, rope_declare, rope_prepare, row_units, rope_reference, rope_cost},
    {FC_BENCH_ROPE_B, true, rope_declare, rope_prepare, row_units, rope_reference, rope_cost},
};
const size_t fc_rows_operators_n = sizeof fc_rows_operators / sizeof *fc_rows_operators;
