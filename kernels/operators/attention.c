/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/kernels/operator.h>
#include <fleetcast/kernels/operators.h>

#include <math.h>
#include <stdlib.h>

#include "families.h"
#include "softmax.h"

/* Causal attention of new tokens over a contiguous context, and its gradients.  b sequences, h query heads, g
 * key/value heads, q new tokens, s context (q included), dk, dv: operators.h. */

/* --- forward --- */

static void forward_declare(fc_problem *p, fc_role result) {
  const fc_bench_case *c = &p->c;
  fc_elem x = fc_softmax_elem(p);
  fc_problem_tensor(p, "q", x, FC_ROLE_INPUT, FC_FILL_NORMAL, 1, c->batch, c->q, c->heads, c->dk);
  fc_problem_tensor(p, "k", x, FC_ROLE_INPUT, FC_FILL_NORMAL, 1, c->batch, c->s, c->kv_heads, c->dk);
  fc_problem_tensor(p, "v", x, FC_ROLE_INPUT, FC_FILL_NORMAL, 1, c->batch, c->s, c->kv_heads, c->dv);
  fc_problem_tensor(p, "o", x, result, FC_FILL_NONE, 0, c->batch, c->q, c->heads, c->dv);
  fc_problem_tensor(p, "lse", FC_ELEM_F32, result, FC_FILL_NONE, 0, c->batch, c->heads, c->q, 0);
}

static void prefill_declare(fc_problem *p) {
  forward_declare(p, FC_ROLE_OUTPUT);
}

/* A unit: FC_SOFTMAX_ROWS queries of a head. */
static int64_t row_blocks(const fc_bench_case *c) {
  return (c->q + FC_SOFTMAX_ROWS - 1) / FC_SOFTMAX_ROWS;
}

static size_t prefill_units(const fc_problem *p) {
  return (size_t)(p->c.batch * p->c.heads * row_blocks(&p->c));
}

static void prefill_reference(const fc_problem *p, size_t unit, fc_expect *e) {
  const fc_bench_case *c = &p->c;
  int64_t h = c->heads, g = c->kv_heads, block = (int64_t)unit % row_blocks(c);
  int64_t head = (int64_t)unit / row_blocks(c) % h, b = (int64_t)unit / row_blocks(c) / h;
  int64_t *row = fc_softmax_new((size_t)c->s, sizeof *row);
  for (int64_t j = 0; j < c->s; j++) row[j] = (b * c->s + j) * g + head / (h / g);
  fc_softmax_keys keys = {.k = &p->tensor[FC_ATTN_K], .v = &p->tensor[FC_ATTN_V], .row = row};
  keys.k_step = keys.dk = c->dk;
  keys.v_step = keys.dv = c->dv;
  fc_softmax_query query[FC_SOFTMAX_ROWS] = {0};
  int n = 0;
  for (int64_t i = block * FC_SOFTMAX_ROWS; i < c->q && n < FC_SOFTMAX_ROWS; i++, n++) {
    int64_t at = (b * c->q + i) * h + head;
    query[n] = (fc_softmax_query){.at = (size_t)(at * c->dk), .sees = c->s - c->q + i + 1};
    query[n].o_at = (size_t)(at * c->dv);
    query[n].lse_at = (size_t)((b * h + head) * c->q + i);
  }
  fc_softmax_reference(p, &keys, FC_ATTN_Q, FC_ATTN_O, FC_ATTN_LSE, query, n, e);
  free(row);
}

/* --- backward ---
 *
 *      D_i = sum_d dO_id O_id    dP_ij = dO_i.V_j    dS_ij = P_ij (dP_ij - D_i)
 *      dQ_i = c sum_j dS_ij K_j    dK_j = c sum_i dS_ij Q_i    dV_j = sum_i P_ij dO_i
 *
 *  Where it errs, in the letters of softmax.h; implementations read O and LSE of their own forward pass:
 *   1. P_ij = exp(s_ij - LSE_i): relative delta_ij (score), S (exp) and L_i, LSE_i's error and rounding.
 *   2. D_i: O_i errs as softmax.h says, and is rounded to X.  Through sum_d dO_id the rounding of P becomes
 *      4 sqrt(sum_j P_ij^2 (delta_ij + B)^2 dP_ij^2), the rounding of O 4 B' sqrt(sum_d dO_id^2 O_id^2)
 *      (B': half a step of X), the accumulation of O X(n, U, max|dO_id| sqrt(sum_j P_ij |V_j|^2))
 *      (independent columns, (sum_j P_ij |V_jd|)^2 <= sum_j P_ij V_jd^2), the scalar product
 *      X(dv, u, |dO_i| |O_i|).
 *   3. dP_ij: X(dv, U, |dO_i| |V_j|); the difference: 2 u of its operands.
 *   4. P and dS are rounded to bfloat16 before they enter a product on tensor cores: relative B each.
 *   5. The sums over j or i, also when blocks are added by binary32 atomics: X(n, U, sum of magnitudes); with
 *      several query heads to a key head, parts may be rounded to X before they are added.
 *  Errors of one pair (i, j) are independent of another's; those of a row (L_i, D_i) are common to its
 *  pairs: they add up in dQ_i, where they multiply known sums, and are independent terms in dK_j and dV_j. */

/* Rows of each gradient that are looked at in a large problem. */
enum { SAMPLE = 24 };
/* Problems up to so many (query, key) pairs of a unit are looked at whole. */
static const double ALL_PAIRS = 1 << 16;
/* FLOP that the row statistics of a unit may take: a second or two.  Beyond it only the last queries are
 * known, hence only the gradients of the last keys. */
static const double UNIT_FLOP = 0x1p32;

static void backward_declare(fc_problem *p) {
  const fc_bench_case *c = &p->c;
  fc_elem x = fc_softmax_elem(p);
  forward_declare(p, FC_ROLE_WORK);
  fc_problem_tensor(p, "do", x, FC_ROLE_INPUT, FC_FILL_NORMAL, 1, c->batch, c->q, c->heads, c->dv);
  fc_problem_tensor(p, "dq", x, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, c->batch, c->q, c->heads, c->dk);
  fc_problem_tensor(p, "dk", x, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, c->batch, c->s, c->kv_heads, c->dk);
  fc_problem_tensor(p, "dv", x, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, c->batch, c->s, c->kv_heads, c->dv);
}

static size_t backward_units(const fc_problem *p) {
  return (size_t)(p->c.batch * p->c.kv_heads);
}

/* Row-major doubles and the norms of their rows. */
typedef struct {
  double *x, *norm;
  int64_t wide;
} matrix;

static matrix matrix_new(int64_t rows, int64_t wide) {
  matrix m = {.wide = wide};
  m.x = fc_softmax_new((size_t)(rows * (wide + 1)), sizeof(double));
  m.norm = m.x + rows * wide;
  return m;
}

/* Row r of m is row `first + r * step` of t. */
static void matrix_read(matrix *m, const fc_tensor *t, int64_t rows, int64_t first, int64_t step) {
  for (int64_t r = 0; r < rows; r++) {
    double *x = m->x + r * m->wide;
    fc_tensor_read(x, t, (size_t)((first + r * step) * m->wide), (size_t)m->wide);
    m->norm[r] = sqrt(fc_softmax_dot(x, x, m->wide));
  }
}

/* What all pairs of a query share. */
typedef struct {
  double lse, max, d;        /* LSE_i, m_i, D_i */
  double lse_error, d_error; /* L_i, error of D_i */
} stat;

/* One key/value head of one sequence, and the query head at hand. */
typedef struct {
  const fc_problem *p;
  double scale;
  int64_t b, kv, head;
  int64_t before, from; /* s - q; first query whose statistics are known */
  matrix k, v, q, d_o;
  stat *row;    /* [q] */
  double *line; /* scores and dP of a query: 2 [s]; its O [dv] */
  double *key;  /* gradients of the sampled keys: see key_size() */
} pass;

/* Everything that a query's pairs share: one sweep for the scores, one for the sums. */
static void row_stat(pass *a, int64_t i) {
  const fc_problem *p = a->p;
  int64_t n = a->before + i + 1, dv = p->c.dv;
  const double *q = a->q.x + i * p->c.dk, *d_o = a->d_o.x + i * dv;
  double *score = a->line, *dp = score + p->c.s, *o = dp + p->c.s, m = -(double)INFINITY;
  for (int64_t j = 0; j < n; j++) {
    score[j] = a->scale * fc_softmax_dot(q, a->k.x + j * p->c.dk, p->c.dk);
    dp[j] = fc_softmax_dot(d_o, a->v.x + j * dv, dv);
    m = fmax(m, score[j]);
  }
  double l = 0, d = 0, random = 0, d_random = 0, v_square = 0, narrow = fc_softmax_narrow(p);
  for (int64_t t = 0; t < dv; t++) o[t] = 0;
  for (int64_t j = 0; j < n; j++) {
    double w = exp(score[j] - m), delta;
    delta = fc_softmax_score_error(p, a->scale * a->q.norm[i] * a->k.norm[j], score[j], m);
    l += w;
    d += w * dp[j];
    random += w * w * delta * delta;
    d_random += w * w * (delta + narrow) * (delta + narrow) * dp[j] * dp[j];
    v_square += w * a->v.norm[j] * a->v.norm[j];
    for (int64_t t = 0; t < dv; t++) o[t] += w * a->v.x[j * dv + t];
  }
  double rounded = 0, largest = 0, step = narrow > 0 ? narrow : FC_U_F32;
  for (int64_t t = 0; t < dv; t++) {
    rounded += d_o[t] * d_o[t] * o[t] * o[t] / (l * l);
    largest = fmax(largest, fabs(d_o[t]));
  }
  double common = fc_softmax_common_error((double)n, sqrt(random) / l),
         o_norm = sqrt(fc_softmax_dot(o, o, dv)) / l;
  stat r = {.lse = m + log(l), .max = m, .d = d / l};
  r.lse_error = fc_softmax_lse_error(common, m, l) + FC_U_F32 * fabs(r.lse);
  r.d_error = 4 * sqrt(d_random) / l + (common + 4 * FC_U_F32) * fabs(r.d) + 4 * step * sqrt(rounded) +
              fc_bound_sum((double)n, fc_problem_unit(p), largest * sqrt(v_square / l)) +
              fc_bound_sum((double)dv, FC_U_F32, a->d_o.norm[i] * o_norm);
  a->row[i] = r;
}

/* A (query, key) pair: its P and dS and their independent errors. */
typedef struct {
  double p, ds, p_error, ds_error;
} pair;

static pair pair_of(const pass *a, int64_t i, int64_t j) {
  const fc_problem *p = a->p;
  const stat *r = &a->row[i];
  double s = a->scale * fc_softmax_dot(a->q.x + i * p->c.dk, a->k.x + j * p->c.dk, p->c.dk);
  double dp = fc_softmax_dot(a->d_o.x + i * p->c.dv, a->v.x + j * p->c.dv, p->c.dv);
  double error =
      fc_softmax_narrow(p) + fc_softmax_score_error(p, a->scale * a->q.norm[i] * a->k.norm[j], s, r->max);
  double dp_error = fc_bound_sum((double)p->c.dv, fc_problem_unit(p), a->d_o.norm[i] * a->v.norm[j]);
  pair x = {.p = exp(s - r->lse)};
  x.ds = x.p * (dp - r->d);
  x.p_error = x.p * error;
  x.ds_error = fabs(x.ds) * error + x.p * (dp_error + 2 * FC_U_F32 * (fabs(dp) + fabs(r->d)));
  return x;
}

/* --- gradients of queries --- */

/* k-th of n rows spread over [from, to): the first, the last, the others anywhere in their share, drawn anew
 * for each seed and each head. */
static int64_t sampled(const pass *a, int64_t k, int64_t n, int64_t from, int64_t to) {
  int64_t rows = to - from, at = from + k * rows / n, next = from + (k + 1) * rows / n;
  if (k == 0 || next <= at + 1) return at;
  uint64_t bits = fc_fill_bits(a->p->seed, (uint64_t)(a->b * a->p->c.kv_heads + a->kv), (uint64_t)k);
  return k == n - 1 ? to - 1 : at + (int64_t)(bits % (uint64_t)(next - at));
}

static int64_t samples(const fc_bench_case *c, int64_t rows) {
  return (double)c->q * (double)c->s <= ALL_PAIRS || rows < SAMPLE ? rows : SAMPLE;
}

static void query_gradient(const pass *a, int64_t i, double *sum, fc_expect *e) {
  const fc_problem *p = a->p;
  int64_t n = a->before + i + 1, dk = p->c.dk;
  double *size = sum + dk, *square = size + dk,
         *weighted = square + dk; /* of P K: what an error of D_i moves */
  for (int64_t t = 0; t < 4 * dk; t++) sum[t] = 0;
  for (int64_t j = 0; j < n; j++) {
    pair x = pair_of(a, i, j);
    const double *k = a->k.x + j * dk;
    for (int64_t t = 0; t < dk; t++) {
      sum[t] += x.ds * k[t];
      size[t] += fabs(x.ds * k[t]);
      square[t] += x.ds_error * x.ds_error * k[t] * k[t];
      weighted[t] += x.p * k[t];
    }
  }
  double systematic = FC_U_SPECIAL + fc_bound_sum((double)n, fc_problem_unit(p), 1);
  size_t at = (size_t)(((a->b * p->c.q + i) * p->c.heads + a->head) * dk);
  for (int64_t t = 0; t < dk; t++) {
    double bound = 4 * sqrt(square[t]) + systematic * size[t] +
                   (a->row[i].lse_error + 4 * FC_U_F32) * fabs(sum[t]) +
                   a->row[i].d_error * fabs(weighted[t]);
    fc_expect_at(e, FC_ATTN_DQ, at + (size_t)t, a->scale * sum[t], a->scale * bound);
  }
}

/* --- gradients of keys and values --- */

enum { SUM, SIZE, SQUARE, PART, KEY_SUMS };

/* Adds a pair's share w x[t], w erring by `error`, to the sums of n columns. */
static void key_add(double *sums, const double *x, int64_t n, double w, double error) {
  for (int64_t t = 0; t < n; t++) {
    double term = w * x[t];
    sums[PART * n + t] += term;
    sums[SIZE * n + t] += fabs(term);
    sums[SQUARE * n + t] += error * error * x[t] * x[t];
  }
}

/* A head's part is complete; it may have been rounded to X before it was added to the others'. */
static void key_part(double *sums, int64_t n, double step) {
  for (int64_t t = 0; t < n; t++) {
    double part = sums[PART * n + t];
    sums[SUM * n + t] += part;
    sums[SQUARE * n + t] += step * step * part * part;
    sums[PART * n + t] = 0;
  }
}

static void key_gradient(pass *a, int64_t j, double *sums) {
  const fc_problem *p = a->p;
  int64_t dk = p->c.dk, dv = p->c.dv, first = j > a->before ? j - a->before : 0;
  for (int64_t i = first; i < p->c.q; i++) {
    pair x = pair_of(a, i, j);
    const stat *r = &a->row[i];
    key_add(sums, a->q.x + i * dk, dk, x.ds, x.ds_error + fabs(x.ds) * r->lse_error + x.p * r->d_error);
    key_add(sums + KEY_SUMS * dk, a->d_o.x + i * dv, dv, x.p, x.p_error + x.p * r->lse_error);
  }
  double narrow = fc_softmax_narrow(p), step = narrow > 0 ? narrow : FC_U_F32;
  if (p->c.heads == p->c.kv_heads) step = 0;
  key_part(sums, dk, step);
  key_part(sums + KEY_SUMS * dk, dv, step);
}

static void key_tell(const pass *a, int tensor, int64_t j, const double *sums, int64_t n, double scale,
                     fc_expect *e) {
  const fc_bench_case *c = &a->p->c;
  int64_t group = c->heads / c->kv_heads;
  double terms = (double)(c->q * group);
  double systematic = FC_U_SPECIAL + fc_bound_sum(terms, fc_problem_unit(a->p), 1);
  size_t at = (size_t)(((a->b * c->s + j) * c->kv_heads + a->kv) * n);
  for (int64_t t = 0; t < n; t++) {
    double value = sums[SUM * n + t];
    double bound =
        4 * sqrt(sums[SQUARE * n + t]) + systematic * sums[SIZE * n + t] + 4 * FC_U_F32 * fabs(value);
    fc_expect_at(e, tensor, at + (size_t)t, scale * value, scale * bound);
  }
}

/* --- a unit: a key/value head of a sequence --- */

static int64_t key_size(const fc_bench_case *c) {
  return KEY_SUMS * (c->dk + c->dv);
}

static pass pass_new(const fc_problem *p, size_t unit) {
  const fc_bench_case *c = &p->c;
  int64_t g = c->kv_heads, b = (int64_t)unit / g, kv = (int64_t)unit % g;
  pass a = {.p = p, .scale = 1 / sqrt((double)c->dk), .b = b, .kv = kv, .before = c->s - c->q};
  int64_t group = c->heads / g;
  double flop = 2 * (double)c->s * (double)(c->dk + 2 * c->dv) * (double)group;
  double known = UNIT_FLOP / flop;
  a.from = known < (double)c->q ? c->q - (int64_t)fmax(1, known) : 0;
  a.k = matrix_new(c->s, c->dk);
  a.v = matrix_new(c->s, c->dv);
  a.q = matrix_new(c->q, c->dk);
  a.d_o = matrix_new(c->q, c->dv);
  matrix_read(&a.k, &p->tensor[FC_ATTN_K], c->s, b * c->s * g + kv, g);
  matrix_read(&a.v, &p->tensor[FC_ATTN_V], c->s, b * c->s * g + kv, g);
  a.row = fc_softmax_new((size_t)c->q, sizeof *a.row);
  a.line = fc_softmax_new((size_t)(2 * c->s + c->dv + 4 * c->dk), sizeof(double));
  a.key = fc_softmax_new((size_t)(samples(c, c->s) * key_size(c)), sizeof(double));
  return a;
}

static void pass_free(pass *a) {
  free(a->k.x);
  free(a->v.x);
  free(a->q.x);
  free(a->d_o.x);
  free(a->row);
  free(a->line);
  free(a->key);
}

static void backward_reference(const fc_problem *p, size_t unit, fc_expect *e) {
  const fc_bench_case *c = &p->c;
  pass a = pass_new(p, unit);
  int64_t group = c->heads / c->kv_heads, dk = c->dk;
  int64_t first_key = a.from > 0 ? a.before + a.from : 0, keys = samples(c, c->s - first_key);
  for (a.head = a.kv * group; a.head < (a.kv + 1) * group; a.head++) {
    matrix_read(&a.q, &p->tensor[FC_ATTN_Q], c->q, a.b * c->q * c->heads + a.head, c->heads);
    matrix_read(&a.d_o, &p->tensor[FC_ATTN_DO], c->q, a.b * c->q * c->heads + a.head, c->heads);
    for (int64_t i = a.from; i < c->q; i++) row_stat(&a, i);
    int64_t queries = samples(c, c->q - a.from);
    for (int64_t k = 0; k < queries; k++)
      query_gradient(&a, sampled(&a, k, queries, a.from, c->q), a.line + 2 * c->s + c->dv, e);
    for (int64_t k = 0; k < keys; k++)
      key_gradient(&a, sampled(&a, k, keys, first_key, c->s), a.key + k * key_size(c));
  }
  for (int64_t k = 0; k < keys; k++) {
    int64_t j = sampled(&a, k, keys, first_key, c->s);
    const double *sums = a.key + k * key_size(c);
    key_tell(&a, FC_ATTN_DK, j, sums, dk, a.scale, e);
    key_tell(&a, FC_ATTN_DV, j, sums + KEY_SUMS * dk, c->dv, 1, e);
  }
  pass_free(&a);
}

const fc_operator fc_attention_operators[] = {
    {FC_BENCH_ATTENTION_PREFILL, false, prefill_declare, NULL, prefill_units, prefill_reference,
     fc_softmax_cost},
    {FC_BENCH_MLA_PREFILL, false, prefill_declare, NULL, prefill_units, prefill_reference, fc_softmax_cost},
    {FC_BENCH_ATTENTION_BACKWARD, false, backward_declare, NULL, backward_units, backward_reference,
     fc_softmax_cost},
    {FC_BENCH_MLA_BACKWARD, false, backward_declare, NULL, backward_units, backward_reference,
     fc_softmax_cost},
};
const size_t fc_attention_operators_n = sizeof fc_attention_operators / sizeof *fc_attention_operators;
