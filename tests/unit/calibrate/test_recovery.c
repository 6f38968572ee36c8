/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/calibrate/fit.h>

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <fleetcast/base/rng.h>
#include <fleetcast/cost/format.h>
#include <fleetcast/cost/predict.h>

/** Kernels whose coefficients are known, timed with 3 % of noise: fits must find them again. */

enum { FORMS = 5, REPLICATIONS = 60, POINTS = 80, FRESH = 40, IMPL = 8, SEED = 7 };
static const double NOISE = 0.03;

static const fc_device device = {
    .name = "test",
    .peak_flop_per_s = {[FC_DTYPE_BF16] = 989e12, [FC_DTYPE_FP8] = 1979e12},
    .memory_bytes = 80e9,
    .memory_bytes_per_s = 3.35e12,
    .l2_bytes = 50e6,
    .compute_units = 132,
    .scaleup_bytes_per_s = 900e9,
    .scaleup_devices = 8,
    .scaleout_bytes_per_s = 50e9,
    .node_devices = 8,
};

typedef struct {
  const char *name;
  fc_op_id id;
  fc_coef coef;
  double within[FC_COEF_COUNT]; /* of the median over replications; 0: not used */
} form;

/* --- shapes --- */

static double log_uniform(fc_rng *rng, double low, double high) {
  return floor(low * pow(high / low, fc_rng_uniform(rng)) + 0.5);
}

static double one_of(fc_rng *rng, const double *choice, size_t n) {
  size_t i = (size_t)(fc_rng_uniform(rng) * (double)n);
  return choice[i < n ? i : n - 1];
}

static void draw_moe(fc_op *op, fc_rng *rng) {
  static const double width[] = {2048, 4096, 7168}, inner[] = {1024, 2048, 4096}, ep[] = {1, 4, 8, 32};
  op->tokens = log_uniform(rng, 16, 65536);
  op->n = one_of(rng, width, 3);
  op->k = one_of(rng, inner, 3);
  op->ranks = one_of(rng, ep, 4);
  op->top_k = 8;
  op->experts = 128 / op->ranks;
  op->m = op->tokens * op->top_k / op->ranks;
  op->groups = fmin(op->experts, op->m);
  op->imbalance = 1;
}

static void draw_attention(fc_op *op, fc_rng *rng) {
  static const double heads[] = {8, 16, 32, 64};
  op->batch = log_uniform(rng, 1, 16);
  op->heads = op->kv_heads = one_of(rng, heads, 4);
  op->q = op->s = log_uniform(rng, 32, 16384);
  op->dk = op->dv = 128;
  op->cache_bytes = 4 * op->kv_heads * op->dk;
}

static fc_op draw(const form *f, fc_rng *rng) {
  static const double side[] = {512, 1024, 2048, 4096, 7168, 8192, 16384}, ranks[] = {2, 4, 8, 16, 32, 64};
  fc_op op = {.id = f->id, .dtype = FC_DTYPE_BF16, .weight_bytes = 2, .input_bytes = 2};
  switch (f->id) {
  case FC_OP_LINEAR:
    op.m = log_uniform(rng, 1, 16384);
    op.n = one_of(rng, side, 7);
    op.k = one_of(rng, side, 7);
    break;
  case FC_OP_MOE: draw_moe(&op, rng); break;
  case FC_OP_ATTENTION_P: draw_attention(&op, rng); break;
  case FC_OP_ALL_REDUCE:
    op.payload_bytes = log_uniform(rng, 1e3, 1e9);
    op.ranks = one_of(rng, ranks, 6);
    op.domain = 8;
    break;
  default: op.payload_bytes = log_uniform(rng, 1e3, 4e9); break;
  }
  return op;
}

static const form forms[FORMS] = {
    {"gemm",
     FC_OP_LINEAR,
     {.t0_s = 4e-6, .flop_per_s = 750e12, .bytes_per_s = 2.7e12, .tile_s = 0.6e-6, .tile_traffic = 0.15, .sharpness = 2.5},
     {0}},
    {"moe",
     FC_OP_MOE,
     {.t0_s = 25e-6, .flop_per_s = 600e12, .bytes_per_s = 2.3e12, .tile_s = 1e-6, .tile_traffic = 0.12, .sharpness = 2.5},
     {0}},
    {"attention",
     FC_OP_ATTENTION_P,
     {.t0_s = 6e-6, .flop_per_s = 550e12, .bytes_per_s = 2.2e12, .half_length = 150, .sharpness = 2.5},
     {0}},
    {"memory", FC_OP_COPY, {.t0_s = 3e-6, .bytes_per_s = 2.8e12}, {0}},
    {"collective",
     FC_OP_ALL_REDUCE,
     {.t0_s = 10e-6, .bytes_per_s = 330e9, .hop_s = 2e-6, .net_t0_s = 30e-6, .net_bytes_per_s = 40e9},
     {0}},
};

static fc_form form_of(const form *f) {
  static const fc_form of[] = {FC_FORM_GEMM, FC_FORM_MOE, FC_FORM_ATTENTION, FC_FORM_MEMORY, FC_FORM_COLLECTIVE};
  return of[f - forms];
}

static double true_s(const form *f, const fc_op *op) {
  fc_geometry g;
  fc_op_geometry(&g, op, (double)device.compute_units);
  return fc_form_s(form_of(f), &f->coef, &g);
}

/* --- tables: one family a replication --- */

typedef struct {
  size_t families, points;
  double outliers; /* share of points three to ten times too slow or too fast */
  size_t copies;   /* of each shape; 0 counts as 1 */
  uint64_t seed;
} plan;

static fc_table table_of(const form *f, const plan *p) {
  size_t n = p->families * p->points, copies = p->copies ? p->copies : 1;
  fc_table t = {.n_points = n, .n_families = p->families};
  t.point = calloc(n, sizeof *t.point);
  t.family = calloc(p->families, sizeof *t.family);
  char *impl = calloc(p->families, IMPL);
  cr_assert(t.point && t.family && impl);
  t.texts = impl;
  for (size_t i = 0; i < n; i++) {
    size_t family = i / p->points, at = i % p->points;
    fc_rng shape = fc_rng_keyed(SEED + p->seed, FC_STREAM_TEST, family, at / copies);
    fc_rng noise = fc_rng_keyed(SEED + p->seed, FC_STREAM_SIZE, family, at);
    fc_point *point = &t.point[i];
    *point = (fc_point){.family = (uint32_t)family, .line = (uint32_t)(i + 2)};
    point->op = draw(f, &shape);
    double ln = NOISE * fc_rng_normal(&noise);
    if (fc_rng_uniform(&noise) < p->outliers)
      ln += (fc_rng_uniform(&noise) < 0.5 ? -1 : 1) * log(3 + 7 * fc_rng_uniform(&noise));
    point->seconds = true_s(f, &point->op) * exp(ln);
  }
  for (size_t i = 0; i < p->families; i++) {
    (void)snprintf(impl + i * IMPL, IMPL, "r%02zu", i);
    t.family[i] = (fc_family){.kernel = fc_op_kernel(f->id), .format = fc_format_find("bf16", 4),
                              .impl = impl + i * IMPL, .first = i * p->points, .n = p->points};
  }
  return t;
}

static void table_free(fc_table *t) {
  free(t->point);
  free(t->family);
  free(t->texts);
}

static fc_fit_result fit(const fc_table *t, size_t threads, bool no_local) {
  fc_fit_options options = {.threads = threads, .no_local = no_local};
  fc_fit_result r;
  cr_assert_eq(fc_fit_table(&r, t, &device, &options), FC_OK);
  cr_assert_eq(r.n, t->n_families);
  return r;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *v, size_t n) {
  qsort(v, n, sizeof *v, ascending);
  return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* --- on fresh shapes --- */

typedef struct {
  double error;    /* median of |predicted / true - 1|, of all families */
  double coverage; /* of a measurement of the fresh shape */
} verdict;

static verdict judge(const form *f, const fc_fit_result *r, uint64_t seed) {
  double *error = malloc(r->n * FRESH * sizeof *error);
  cr_assert(error);
  size_t n = 0, covered = 0;
  for (size_t i = 0; i < r->n; i++) {
    fc_predictor predictor;
    fc_predictor_init(&predictor, &r->fit[i], &device);
    for (size_t k = 0; k < FRESH; k++) {
      fc_rng rng = fc_rng_keyed(SEED + seed, FC_STREAM_DEMAND, i, k);
      fc_op op = draw(f, &rng);
      double truth = true_s(f, &op), seen = truth * exp(NOISE * fc_rng_normal(&rng));
      fc_prediction p;
      cr_assert_eq(fc_predict(&p, &predictor, &op), FC_OK);
      cr_assert(p.low_s <= p.seconds && p.seconds <= p.high_s);
      covered += p.low_s <= seen && seen <= p.high_s;
      error[n++] = fabs(p.seconds / truth - 1);
    }
  }
  verdict v = {.error = median(error, n), .coverage = (double)covered / (double)n};
  free(error);
  return v;
}

static verdict fit_and_judge(const form *f, const plan *p, bool no_local) {
  fc_table t = table_of(f, p);
  fc_fit_result r = fit(&t, 0, no_local);
  verdict v = judge(f, &r, p->seed);
  fc_fit_result_fini(&r);
  table_free(&t);
  return v;
}

Test(recovery, dump) {
  static const char *const name[] = {"t0", "flop", "bytes", "tile", "traffic", "sharp", "half_len", "half_b", "hop", "net_t0", "net_w", "net_h"};
  for (int i = 0; i < FORMS; i++) {
    plan p = {.families = REPLICATIONS, .points = POINTS};
    fc_table t = table_of(&forms[i], &p);
    fc_fit_result r = fit(&t, 0, false);
    verdict v = judge(&forms[i], &r, 0);
    fprintf(stderr, "%s: error %.4f coverage %.4f\n", forms[i].name, v.error, v.coverage);
    double loc = 0;
    for (size_t k = 0; k < r.n; k++) loc += r.fit[k].local != NULL;
    fprintf(stderr, "  local %g\n", loc);
    for (size_t c = 0; c < FC_COEF_COUNT; c++) {
      double truth = ((const double *)&forms[i].coef)[c], ratio[REPLICATIONS], absr[REPLICATIONS];
      if (!(truth > 0)) continue;
      for (size_t k = 0; k < r.n; k++) ratio[k] = ((const double *)&r.fit[k].coef)[c] / truth, absr[k] = fabs(log(ratio[k]));
      fprintf(stderr, "  %s median %.3f", name[c], median(ratio, r.n));
      fprintf(stderr, " abs %.3f worst %.3f\n", median(absr, r.n), absr[r.n - 1]);
    }
    fc_fit_result_fini(&r);
    table_free(&t);
    plan variants[] = {{60, 8, 0, 1, 1}, {60, 80, 0.05, 1, 2}, {60, 80, 0, 4, 3}, {60, 30, 0, 1, 4}};
    for (int k = 0; k < 4; k++) {
      v = fit_and_judge(&forms[i], &variants[k], false);
      verdict w = fit_and_judge(&forms[i], &variants[k], true);
      fprintf(stderr, "  variant %d: error %.4f coverage %.3f; form only %.4f %.3f\n", k, v.error, v.coverage, w.error, w.coverage);
    }
  }
}
