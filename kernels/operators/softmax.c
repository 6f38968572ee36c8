/* SPDX-License-Identifier: Apache-2.0 */
#include "softmax.h"

#include <math.h>
#include <stdlib.h>

#include <fleetcast/base/assert.h>

/* n keys, dk and dv wide; letters as in the header. */

/* --- what bounds are made of --- */

double fc_softmax_score_error(const fc_problem *p, double magnitude, double score, double max) {
  return fc_bound_sum((double)p->c.dk, fc_problem_unit(p), magnitude) +
         6 * FC_U_F32 * (fabs(score) + fabs(max));
}

double fc_softmax_common_error(double keys, double random) {
  return 4 * random + FC_U_SPECIAL + fc_bound_sum(keys, FC_U_F32, 1);
}

double fc_softmax_lse_error(double common, double max, double sum) {
  double lse = max + log(sum);
  return common + FC_U_SPECIAL * (1 + fabs(log(sum))) + 2 * FC_U_F32 * (fabs(max) + fabs(lse));
}

double fc_softmax_narrow(const fc_problem *p) {
  return p->c.dtype == FC_DTYPE_FP32 ? 0 : FC_U_BF16;
}

/* --- plain helpers --- */

double fc_softmax_dot(const double *a, const double *b, int64_t n) {
  double sum[4] = {0}; /* four chains, so that the adder is never waited for */
  int64_t i = 0;
  for (; i + 4 <= n; i += 4)
    for (int j = 0; j < 4; j++) sum[j] += a[i + j] * b[i + j];
  for (; i < n; i++) sum[0] += a[i] * b[i];
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

void *fc_softmax_new(size_t n, size_t size) {
  void *made = calloc(n > 0 ? n : 1, size);
  FC_ASSERT(made);
  return made;
}

fc_elem fc_softmax_elem(const fc_problem *p) {
  return p->c.dtype == FC_DTYPE_FP32 ? FC_ELEM_F32 : FC_ELEM_BF16;
}

void fc_softmax_cost(const fc_problem *p, fc_op *out) {
  const fc_bench_case *c = &p->c;
  out->batch = (double)c->batch;
  out->heads = (double)c->heads;
  out->kv_heads = (double)c->kv_heads;
  out->q = (double)c->q;
  out->s = (double)c->s;
  out->dk = (double)c->dk;
  out->dv = (double)c->dv;
}

/* --- rows --- */

typedef struct {
  double *q, *score, *delta; /* [dk], [n], [n] */
  double *o, *size, *square; /* [dv]: sums of w v, w |v|, w^2 (delta + B)^2 v^2 */
  double norm, max, sum, sum_random;
  int64_t n;
} row;

static row row_new(const fc_problem *p, const fc_softmax_keys *keys, int q, const fc_softmax_query *query) {
  size_t n = (size_t)query->sees, dk = (size_t)keys->dk, dv = (size_t)keys->dv;
  row r = {.n = query->sees, .max = -(double)INFINITY};
  r.q = fc_softmax_new(dk + 2 * n + 3 * dv, sizeof(double));
  r.score = r.q + dk;
  r.delta = r.score + n;
  r.o = r.delta + n;
  r.size = r.o + dv;
  r.square = r.size + dv;
  fc_tensor_read(r.q, &p->tensor[q], query->at, (size_t)keys->dk);
  r.norm = sqrt(fc_softmax_dot(r.q, r.q, keys->dk));
  return r;
}

/* Scores, and c |q| |k_j| for the time being where delta will be: it needs the maximum. */
static void row_score(row *r, const fc_softmax_keys *keys, int64_t j, const double *k, double k_norm) {
  double c = 1 / sqrt((double)keys->dk);
  r->score[j] = c * fc_softmax_dot(r->q, k, keys->dk);
  r->delta[j] = c * r->norm * k_norm;
  r->max = fmax(r->max, r->score[j]);
}

static void row_value(const fc_problem *p, row *r, const fc_softmax_keys *keys, int64_t j, const double *v) {
  double w = exp(r->score[j] - r->max);
  double delta = fc_softmax_score_error(p, r->delta[j], r->score[j], r->max);
  double error = w * (delta + fc_softmax_narrow(p));
  r->sum += w;
  r->sum_random += w * w * delta * delta;
  for (int64_t d = 0; d < keys->dv; d++) {
    r->o[d] += w * v[d];
    r->size[d] += w * fabs(v[d]);
    r->square[d] += error * error * v[d] * v[d];
  }
}

static void row_tell(const fc_problem *p, const row *r, const fc_softmax_keys *keys, int o, int lse,
                     const fc_softmax_query *query, fc_expect *e) {
  double n = (double)r->n, l = r->sum, systematic = FC_U_SPECIAL + fc_bound_sum(n, fc_problem_unit(p), 1);
  double common = fc_softmax_common_error(n, sqrt(r->sum_random) / l);
  for (int64_t d = 0; d < keys->dv; d++) {
    double value = r->o[d] / l;
    double bound = 4 * sqrt(r->square[d]) / l + systematic * r->size[d] / l;
    fc_expect_at(e, o, query->o_at + (size_t)d, value, bound + (common + 4 * FC_U_F32) * fabs(value));
  }
  fc_expect_at(e, lse, query->lse_at, r->max + log(l), fc_softmax_lse_error(common, r->max, l));
}

void fc_softmax_reference(const fc_problem *p, const fc_softmax_keys *keys, int q, int o, int lse,
                          const fc_softmax_query *query, int n, fc_expect *e) {
  FC_ASSERT(n >= 1 && n <= FC_SOFTMAX_ROWS);
  row r[FC_SOFTMAX_ROWS] = {0};
  int64_t last = 0;
  for (int i = 0; i < n; i++) {
    FC_ASSERT(query[i].sees >= 1);
    r[i] = row_new(p, keys, q, &query[i]);
    last = query[i].sees > last ? query[i].sees : last;
  }
  double *x = fc_softmax_new((size_t)(keys->dk + keys->dv), sizeof *x);
  for (int64_t j = 0; j < last; j++) {
    fc_tensor_read(x, keys->k, (size_t)(keys->row[j] * keys->k_step), (size_t)keys->dk);
    double norm = sqrt(fc_softmax_dot(x, x, keys->dk));
    for (int i = 0; i < n; i++)
      if (j < r[i].n) row_score(&r[i], keys, j, x, norm);
  }
  for (int64_t j = 0; j < last; j++) {
    fc_tensor_read(x, keys->v, (size_t)(keys->row[j] * keys->v_step), (size_t)keys->dv);
    for (int i = 0; i < n; i++)
      if (j < r[i].n) row_value(p, &r[i], keys, j, x);
  }
  for (int i = 0; i < n; i++) {
    row_tell(p, &r[i], keys, o, lse, &query[i], e);
    free(r[i].q);
  }
  free(x);
}
