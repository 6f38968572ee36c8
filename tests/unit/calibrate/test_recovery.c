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
  fc_coef within; /* how near the median over replications comes: relative */
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
     {.t0_s = 4e-6,
      .flop_per_s = 750e12,
      .bytes_per_s = 2.7e12,
      .tile_s = 0.6e-6,
      .tile_traffic = 0.15,
      .sharpness = 2.5},
     {.t0_s = 0.03,
      .flop_per_s = 0.02,
      .bytes_per_s = 0.02,
      .tile_s = 0.12,
      .tile_traffic = 0.1,
      .sharpness = 0.04}},
    {"moe",
     FC_OP_MOE,
     {.t0_s = 25e-6,
      .flop_per_s = 600e12,
      .bytes_per_s = 2.3e12,
      .tile_s = 1e-6,
      .tile_traffic = 0.12,
      .sharpness = 2.5},
     {.t0_s = 0.03,
      .flop_per_s = 0.02,
      .bytes_per_s = 0.02,
      .tile_s = 0.3,
      .tile_traffic = 0.15,
      .sharpness = 0.04}},
    {"attention",
     FC_OP_ATTENTION_P,
     {.t0_s = 6e-6, .flop_per_s = 550e12, .bytes_per_s = 2.2e12, .half_length = 150, .sharpness = 2.5},
     {.t0_s = 0.02, .flop_per_s = 0.02, .bytes_per_s = 0.02, .half_length = 0.15, .sharpness = 0.06}},
    {"memory", FC_OP_COPY, {.t0_s = 3e-6, .bytes_per_s = 2.8e12}, {.t0_s = 0.01, .bytes_per_s = 0.01}},
    {"collective",
     FC_OP_ALL_REDUCE,
     {.t0_s = 10e-6, .bytes_per_s = 330e9, .hop_s = 2e-6, .net_t0_s = 30e-6, .net_bytes_per_s = 40e9},
     {.t0_s = 0.02, .bytes_per_s = 0.02, .hop_s = 0.06, .net_t0_s = 0.03, .net_bytes_per_s = 0.02}},
};

static fc_form form_of(const form *f) {
  static const fc_form of[] = {FC_FORM_GEMM, FC_FORM_MOE, FC_FORM_ATTENTION, FC_FORM_MEMORY,
                               FC_FORM_COLLECTIVE};
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
    (void)snprintf(impl + i * IMPL, IMPL, "r%u", (unsigned)i % 100U);
    t.family[i] = (fc_family){.kernel = fc_op_kernel(f->id),
                              .format = fc_format_find("bf16", 4),
                              .impl = impl + i * IMPL,
                              .first = i * p->points,
                              .n = p->points};
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

/* --- coefficients and coverage --- */

static double coefficient(const fc_coef *coef, size_t j) {
  double v[FC_COEF_COUNT];
  memcpy(v, coef, sizeof v);
  return v[j];
}

static void expect_recovered(const form *f, const fc_fit_result *r) {
  for (size_t j = 0; j < FC_COEF_COUNT; j++) {
    double truth = coefficient(&f->coef, j), found[REPLICATIONS];
    for (size_t i = 0; i < r->n; i++) found[i] = coefficient(&r->fit[i].coef, j);
    double middle = median(found, r->n);
    if (truth > 0)
      cr_expect_float_eq(middle, truth, coefficient(&f->within, j) * truth,
                         "%s: coefficient %zu: %g, true %g", f->name, j, middle, truth);
    else
      cr_expect_eq(middle, 0, "%s: coefficient %zu is not of this form", f->name, j);
  }
}

static void recover(const form *f) {
  plan p = {.families = REPLICATIONS, .points = POINTS};
  fc_table t = table_of(f, &p);
  fc_fit_result r = fit(&t, 0, false);
  expect_recovered(f, &r);
  verdict v = judge(f, &r, 0);
  cr_expect_lt(v.error, 0.01, "%s: median error %.4f", f->name, v.error);
  cr_expect(v.coverage >= 0.85 && v.coverage <= 0.95, "%s: coverage %.3f", f->name, v.coverage);
  double own = 0;
  for (size_t i = 0; i < r.n; i++) own += r.report[i].coverage / (double)r.n;
  cr_expect(own >= 0.85 && own <= 0.95, "%s: coverage of points left out %.3f", f->name, own);
  fc_fit_result_fini(&r);
  table_free(&t);
}

Test(recovery, gemm) {
  recover(&forms[0]);
}

Test(recovery, moe) {
  recover(&forms[1]);
}

Test(recovery, attention) {
  recover(&forms[2]);
}

Test(recovery, memory) {
  recover(&forms[3]);
}

Test(recovery, collective) {
  recover(&forms[4]);
}

/* --- little, doubled and spoiled data --- */

Test(recovery, eight_points_are_sane) {
  for (int i = 0; i < FORMS; i++) {
    plan p = {.families = REPLICATIONS, .points = 8, .seed = 1};
    verdict v = fit_and_judge(&forms[i], &p, false);
    cr_expect_lt(v.error, 0.05, "%s: median error %.4f", forms[i].name, v.error);
    cr_expect_gt(v.coverage, 0.75, "%s: coverage %.3f", forms[i].name, v.coverage);
  }
}

Test(recovery, one_point_is_finite) {
  for (int i = 0; i < FORMS; i++) {
    plan p = {.families = 10, .points = 1, .seed = 5};
    verdict v = fit_and_judge(&forms[i], &p, false);
    cr_expect_lt(v.error, 1, "%s: median error %.3f", forms[i].name, v.error);
  }
}

Test(recovery, outliers_hardly_hurt) {
  for (int i = 0; i < FORMS; i++) {
    plan p = {.families = 20, .points = POINTS, .outliers = 0.05, .seed = 2};
    verdict v = fit_and_judge(&forms[i], &p, false), form_alone = fit_and_judge(&forms[i], &p, true);
    cr_expect_lt(form_alone.error, 0.01, "%s: median error of the form %.4f", forms[i].name,
                 form_alone.error);
    cr_expect_lt(v.error, 0.04, "%s: median error %.4f", forms[i].name, v.error);
    cr_expect(v.coverage >= 0.85, "%s: coverage %.3f", forms[i].name, v.coverage);
  }
}

Test(recovery, repeats_tell_the_noise) {
  for (int i = 0; i < FORMS; i++) {
    plan p = {.families = 20, .points = POINTS, .copies = 4, .seed = 3};
    fc_table t = table_of(&forms[i], &p);
    fc_fit_result r = fit(&t, 0, false);
    double noise[20];
    for (size_t k = 0; k < r.n; k++) {
      noise[k] = r.report[k].noise;
      cr_expect_leq(r.report[k].shapes, POINTS / 4);
      cr_expect_eq(r.fit[k].noise, r.report[k].noise);
    }
    cr_expect_float_eq(median(noise, r.n), NOISE, 0.25 * NOISE, "%s", forms[i].name);
    verdict v = judge(&forms[i], &r, p.seed);
    cr_expect_lt(v.error, 0.012, "%s: median error %.4f", forms[i].name, v.error);
    cr_expect(v.coverage >= 0.85, "%s: coverage %.3f", forms[i].name, v.coverage);
    fc_fit_result_fini(&r);
    table_free(&t);
  }
}

/* --- the same results, whoever computes them --- */

static bool same_fit(const fc_kernel_fit *a, const fc_kernel_fit *b) {
  if (memcmp(&a->coef, &b->coef, sizeof a->coef) != 0 || a->n_covariance != b->n_covariance) return false;
  if (memcmp(a->covariance, b->covariance, a->n_covariance * sizeof(double)) != 0) return false;
  const fc_local *x = a->local, *y = b->local;
  if (!x || !y) return !x && !y;
  return x->n == y->n && x->n_coordinates == y->n_coordinates && x->scale == y->scale &&
         memcmp(x->x, y->x, fc_local_x_floats(x->n, x->n_coordinates) * sizeof(float)) == 0 &&
         memcmp(x->weight, y->weight, fc_local_lane_floats(x->n) * sizeof(float)) == 0 &&
         memcmp(x->scatter, y->scatter, fc_local_lane_floats(x->n) * sizeof(float)) == 0;
}

Test(recovery, threads_change_nothing) {
  plan p = {.families = 6, .points = POINTS, .seed = 4};
  for (int i = 0; i < FORMS; i++) {
    fc_table t = table_of(&forms[i], &p);
    fc_fit_result one = fit(&t, 1, false), two = fit(&t, 2, false);
    for (size_t k = 0; k < one.n; k++)
      cr_expect(same_fit(&one.fit[k], &two.fit[k]), "%s %zu", forms[i].name, k);
    fc_fit_result_fini(&one);
    fc_fit_result_fini(&two);
    table_free(&t);
  }
}

/* --- laws --- */

/* Twice the work, at the same alignment. */
static fc_op twice(const fc_op *op) {
  fc_op more = *op;
  switch (op->id) {
  case FC_OP_LINEAR: more.m *= 2; break;
  case FC_OP_MOE:
    more.tokens *= 2;
    more.m *= 2;
    more.groups = fmin(more.experts, more.m);
    break;
  case FC_OP_ATTENTION_P: more.q = more.s = 2 * op->q; break;
  default: more.payload_bytes *= 2; break;
  }
  return more;
}

static fc_prediction predict(const fc_predictor *predictor, const fc_op *op) {
  fc_prediction p;
  cr_assert_eq(fc_predict(&p, predictor, op), FC_OK);
  return p;
}

/* How often half the work takes longer, by more than `factor`. */
static double falls(const form *f, const fc_fit_result *r, double factor) {
  size_t found = 0, n = 0;
  for (size_t i = 0; i < r->n; i++) {
    fc_predictor predictor;
    fc_predictor_init(&predictor, &r->fit[i], &device);
    for (size_t k = 0; k < 5 * FRESH; k++, n++) {
      fc_rng rng = fc_rng_keyed(SEED, FC_STREAM_REPAIR, i, k);
      fc_op op = draw(f, &rng);
      if (f->id == FC_OP_LINEAR) op.m = ceil(op.m / 16) * 16;
      fc_op more = twice(&op);
      fc_prediction a = predict(&predictor, &op), b = predict(&predictor, &more);
      found += b.seconds < a.seconds / (factor * (1 + 1e-6));
      if (factor < 1.3) cr_expect_geq(b.seconds, a.low_s * (1 - 1e-6), "%s", f->name);
    }
  }
  return (double)found / (double)n;
}

/* By the form alone time never falls.  A local correction may dip by less than the noise; after points that
 * are three to ten times off it may have dents, but few. */
Test(recovery, twice_the_work_takes_no_less) {
  for (int i = 0; i < FORMS; i++) {
    for (int spoiled = 0; spoiled < 2; spoiled++) {
      plan p = {.families = 6, .points = POINTS, .seed = 6, .outliers = spoiled ? 0.02 : 0};
      fc_table t = table_of(&forms[i], &p);
      fc_fit_result alone = fit(&t, 0, true), r = fit(&t, 0, false);
      cr_expect_eq(falls(&forms[i], &alone, 1), 0, "%s", forms[i].name);
      double seen = falls(&forms[i], &r, spoiled ? 1.3 : 1 + NOISE);
      cr_expect_leq(seen, spoiled ? 0.03 : 0, "%s: %.4f", forms[i].name, seen);
      fc_fit_result_fini(&alone);
      fc_fit_result_fini(&r);
      table_free(&t);
    }
  }
}

/* Measurements three times faster than the datasheet allows: predictions stay at its roofline.  What fits the
 * last cache may have come from there; experts may lack a gate; switches may reduce in flight. */
Test(recovery, the_roofline_is_never_beaten) {
  for (int i = 0; i < FORMS; i++) {
    const form *f = &forms[i];
    plan p = {.families = 3, .points = POINTS, .seed = 8};
    fc_table t = table_of(f, &p);
    for (size_t k = 0; k < t.n_points; k++) t.point[k].seconds /= 6;
    fc_fit_result r = fit(&t, 0, false);
    double share = f->id == FC_OP_MOE ? 2.0 / 3 : f->id == FC_OP_ALL_REDUCE ? 0.5 : 1;
    size_t clamped = 0;
    for (size_t k = 0; k < r.n * FRESH; k++) {
      fc_rng rng = fc_rng_keyed(SEED, FC_STREAM_JOB, (uint64_t)i, k);
      fc_op op = draw(f, &rng);
      fc_predictor predictor;
      fc_predictor_init(&predictor, &r.fit[k % r.n], &device);
      fc_prediction seen = predict(&predictor, &op);
      clamped += seen.clamped;
      if (f->id != FC_OP_ALL_REDUCE && share * fc_op_bytes(&op) <= device.l2_bytes) continue;
      double least = share * fc_op_roofline_s(&op, &device);
      if (f->id == FC_OP_ALL_REDUCE)
        least = fmin(least, seen.seconds); /* its roofline counts memory as well */
      cr_expect_geq(seen.seconds, least * (1 - 1e-9), "%s", f->name);
      cr_expect_geq(seen.low_s, least * (1 - 1e-9), "%s", f->name);
    }
    cr_expect_gt(clamped, 0, "%s", f->name);
    fc_fit_result_fini(&r);
    table_free(&t);
  }
}

Test(recovery, beyond_the_points_is_told_and_wider) {
  for (int i = 0; i < FORMS; i++) {
    plan p = {.families = 5, .points = POINTS, .seed = 9};
    fc_table t = table_of(&forms[i], &p);
    fc_fit_result r = fit(&t, 0, false);
    for (size_t k = 0; k < r.n; k++) {
      fc_predictor predictor;
      fc_predictor_init(&predictor, &r.fit[k], &device);
      double near[FRESH];
      fc_op far = {0};
      for (size_t j = 0; j < FRESH; j++) {
        fc_rng rng = fc_rng_keyed(SEED, FC_STREAM_FAILURE, k, j);
        fc_op op = draw(&forms[i], &rng);
        fc_prediction inside = predict(&predictor, &op);
        near[j] = log(inside.high_s / inside.seconds);
        if (fc_op_bytes(&op) > fc_op_bytes(&far)) far = op;
      }
      for (int doubling = 0; doubling < 9; doubling++) far = twice(&far);
      fc_prediction outside = predict(&predictor, &far);
      cr_expect(outside.outside, "%s", forms[i].name);
      double wide = log(outside.high_s / outside.seconds), usual = median(near, FRESH);
      cr_expect_gt(wide, 1.5 * usual, "%s: %.3f, within the points %.3f", forms[i].name, wide, usual);
    }
    fc_fit_result_fini(&r);
    table_free(&t);
  }
}
