/* SPDX-License-Identifier: Apache-2.0 */
/* Fits of points whose truth is known: a form's own times with noise on them. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/calibrate/fit.h>
#include <fleetcast/cost/form.h>
#include <fleetcast/cost/predict.h>

enum { FRESH = 200 };

static const fc_device device = {
    .name = "synthetic",
    .peak_flop_per_s = {[FC_DTYPE_FP32] = 60e12, [FC_DTYPE_BF16] = 1e15, [FC_DTYPE_FP8] = 2e15},
    .memory_bytes_per_s = 3.35e12,
    .l2_bytes = 50e6,
    .compute_units = 132,
    .scaleup_bytes_per_s = 900e9,
    .scaleup_devices = 8,
    .scaleout_bytes_per_s = 50e9};

/* --- random shapes --- */

static double uniform(uint64_t *state) {
  *state = *state * 6364136223846793005U + 1442695040888963407U;
  return ((double)(*state >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(uint64_t *state) {
  double r = sqrt(-2 * log(uniform(state)));
  return r * cos(6.283185307179586 * uniform(state));
}

/* A power of two from 2^low to 2^high. */
static double power(uint64_t *state, int low, int high) {
  return ldexp(1, low + (int)(uniform(state) * (high - low + 1)));
}

static fc_op random_op(fc_op_id id, uint64_t *state) {
  fc_op op = {.id = id, .dtype = FC_DTYPE_BF16};
  switch (id) {
  case FC_OP_LINEAR:
    op.m = power(state, 0, 14);
    op.n = 512 * (1 + floor(uniform(state) * 30));
    op.k = 512 * (1 + floor(uniform(state) * 30));
    break;
  case FC_OP_MOE:
    op.tokens = power(state, 3, 15);
    op.n = 1024 * (2 + floor(uniform(state) * 6));
    op.k = 512 * (1 + floor(uniform(state) * 4));
    op.top_k = 8;
    op.ranks = power(state, 0, 3);
    op.experts = 128 / op.ranks;
    op.m = op.tokens * op.top_k / op.ranks;
    op.groups = fmin(op.experts, op.m);
    break;
  case FC_OP_ATTENTION_P:
    op.batch = power(state, 0, 4);
    op.heads = op.kv_heads = power(state, 2, 6);
    op.q = op.s = power(state, 7, 13);
    op.dk = op.dv = 128;
    break;
  case FC_OP_ALL_REDUCE:
    op.payload_bytes = power(state, 10, 29);
    op.ranks = power(state, 1, 3);
    op.domain = 8;
    break;
  default: op.payload_bytes = power(state, 14, 30); break;
  }
  return op;
}

static const fc_coef truth_of_gemm = {.t0_s = 3e-6,
                                      .flop_per_s = 750e12,
                                      .bytes_per_s = 2.7e12,
                                      .tile_s = 0.6e-6,
                                      .tile_traffic = 0.2,
                                      .sharpness = 2.5};

static fc_coef truth(fc_op_id id) {
  fc_coef c = truth_of_gemm;
  if (id == FC_OP_ATTENTION_P) c.half_length = 300;
  if (id == FC_OP_ALL_REDUCE) c = (fc_coef){.t0_s = 12e-6, .bytes_per_s = 300e9, .hop_s = 3e-6};
  return c;
}

static fc_form form_of(fc_op_id id) {
  switch (id) {
  case FC_OP_LINEAR: return FC_FORM_GEMM;
  case FC_OP_MOE: return FC_FORM_MOE;
  case FC_OP_ATTENTION_P: return FC_FORM_ATTENTION;
  case FC_OP_ALL_REDUCE: return FC_FORM_COLLECTIVE;
  default: return FC_FORM_MEMORY;
  }
}

static double true_seconds(const fc_op *op) {
  fc_coef c = truth(op->id);
  fc_geometry g;
  fc_op_geometry(&g, op, 132);
  return fc_form_s(form_of(op->id), &c, &g);
}

/* --- tables --- */

typedef struct {
  fc_table table;
  fc_family family;
} made;

static void make(made *out, fc_op_id id, size_t n, double noise, uint64_t seed) {
  fc_point *point = calloc(n, sizeof *point);
  cr_assert(point);
  for (size_t i = 0; i < n; i++) {
    point[i].op = random_op(id, &seed);
    point[i].seconds = true_seconds(&point[i].op) * exp(noise * normal(&seed));
  }
  *out = (made){
      .family = {.kernel = fc_op_kernel(id), .format = fc_format_find("bf16", 4), .impl = "x", .n = n}};
  out->table = (fc_table){.n_points = n, .n_families = 1, .point = point, .n_rows = n};
  out->table.family = &out->family;
}

static void fit_made(fc_fit_result *out, made *m, bool no_local) {
  fc_fit_options options = {.threads = 1, .no_local = no_local};
  m->table.family = &m->family;
  cr_assert_eq(fc_fit_table(out, &m->table, &device, &options), FC_OK);
}

/* Median |error| and coverage on fresh shapes, which are noisy themselves. */
static double fresh(const fc_kernel_fit *fit, fc_op_id id, double noise, uint64_t seed, size_t *inside) {
  double error[FRESH];
  fc_predictor predictor;
  fc_predictor_init(&predictor, fit, &device);
  for (size_t i = 0; i < FRESH; i++) {
    fc_op op = random_op(id, &seed);
    double t = true_seconds(&op) * exp(noise * normal(&seed));
    fc_prediction p;
    cr_assert_eq(fc_predict(&p, &predictor, &op), FC_OK);
    *inside += p.low_s <= t && t <= p.high_s;
    size_t at = i;
    double e = fabs(p.seconds / t - 1);
    for (; at > 0 && error[at - 1] > e; at--) error[at] = error[at - 1];
    error[at] = e;
  }
  return error[FRESH / 2];
}

static const fc_op_id KINDS[] = {FC_OP_LINEAR, FC_OP_MOE, FC_OP_ATTENTION_P, FC_OP_ALL_REDUCE, FC_OP_COPY};
enum { N_KINDS = sizeof KINDS / sizeof *KINDS };

/* --- what must hold --- */

Test(fit, recovers_rates_and_fixed_time) {
  for (int k = 0; k < N_KINDS; k++) {
    made m;
    fc_fit_result r;
    make(&m, KINDS[k], 300, 0.03, 7 + (uint64_t)k);
    fit_made(&r, &m, true);
    fc_coef want = truth(KINDS[k]), got = r.fit[0].coef;
    cr_assert(fabs(got.bytes_per_s / want.bytes_per_s - 1) < 0.06, "%d: bandwidth %g", k, got.bytes_per_s);
    /* a collective's fixed time and its hops are told apart only by the ranks */
    cr_assert(fabs(got.t0_s / want.t0_s - 1) < 0.2, "%d: fixed time %g", k, got.t0_s);
    if (want.flop_per_s > 0 && KINDS[k] != FC_OP_COPY)
      cr_assert(fabs(got.flop_per_s / want.flop_per_s - 1) < 0.06, "%d: rate %g", k, got.flop_per_s);
    fc_fit_result_fini(&r);
    free(m.table.point);
  }
}

Test(fit, intervals_cover_fresh_shapes) {
  enum { ROUNDS = 12 };
  for (int k = 0; k < N_KINDS; k++) {
    size_t inside = 0;
    for (uint64_t round = 0; round < ROUNDS; round++) {
      made m;
      fc_fit_result r;
      make(&m, KINDS[k], 120, 0.04, 1000 * (uint64_t)(k + 1) + round);
      fit_made(&r, &m, false);
      double median = fresh(&r.fit[0], KINDS[k], 0.04, 77 + round, &inside);
      cr_assert(median < 0.045, "%d: median %g", k, median); /* the noise's own is 0.027 */
      fc_fit_result_fini(&r);
      free(m.table.point);
    }
    double share = (double)inside / (ROUNDS * FRESH);
    cr_assert(share > 0.85 && share < 0.95, "kind %d: the 90 %% interval held %g", k, share);
  }
}

Test(fit, eight_points_are_sane) {
  for (int k = 0; k < N_KINDS; k++) {
    double worst = 0;
    for (uint64_t round = 0; round < 8; round++) {
      made m;
      fc_fit_result r;
      size_t inside = 0;
      make(&m, KINDS[k], 8, 0.03, 50 * (uint64_t)(k + 1) + round);
      fit_made(&r, &m, false);
      worst = fmax(worst, fresh(&r.fit[0], KINDS[k], 0, 5 + round, &inside));
      fc_fit_result_fini(&r);
      free(m.table.point);
    }
    cr_assert(worst < 0.25, "kind %d: median error %g from eight points", k, worst);
  }
}

Test(fit, outliers_and_repeats_do_not_move_it) {
  made m;
  fc_fit_result r;
  size_t inside = 0;
  make(&m, FC_OP_LINEAR, 300, 0.02, 3);
  for (size_t i = 0; i < 300; i += 20) m.table.point[i].seconds *= 4; /* 5 % are four times too long */
  for (size_t i = 1; i < 100; i += 2) m.table.point[i] = m.table.point[i - 1]; /* and many come twice */
  fit_made(&r, &m, false);
  double median = fresh(&r.fit[0], FC_OP_LINEAR, 0, 9, &inside);
  cr_assert(median < 0.03, "median error %g", median);
  cr_assert(r.report[0].outliers >= 10, "%zu outliers told of 15", r.report[0].outliers);
  cr_assert(r.report[0].shapes < 300);
  fc_fit_result_fini(&r);
  free(m.table.point);
}

Test(fit, number_of_threads_changes_nothing) {
  enum { N = 60 };
  made parts[N_KINDS];
  fc_family family[N_KINDS];
  fc_point point[N_KINDS * N];
  for (int k = 0; k < N_KINDS; k++) {
    make(&parts[k], KINDS[k], N, 0.03, 11 + (uint64_t)k);
    memcpy(point + k * N, parts[k].table.point, N * sizeof *point);
    family[k] = parts[k].family;
    family[k].first = (size_t)(k * N);
    free(parts[k].table.point);
  }
  fc_table table = {
      .n_points = sizeof point / sizeof *point, .n_families = N_KINDS, .point = point, .family = family};
  fc_fit_result one, three;
  cr_assert_eq(fc_fit_table(&one, &table, &device, &(fc_fit_options){.threads = 1}), FC_OK);
  cr_assert_eq(fc_fit_table(&three, &table, &device, &(fc_fit_options){.threads = 3}), FC_OK);
  for (int k = 0; k < N_KINDS; k++) {
    const fc_kernel_fit *a = &one.fit[k], *b = &three.fit[k];
    cr_assert_eq(memcmp(&a->coef, &b->coef, sizeof a->coef), 0);
    cr_assert_eq(memcmp(a->covariance, b->covariance, a->n_covariance * sizeof(double)), 0);
    cr_assert_eq(a->local->n, b->local->n);
    cr_assert_eq(memcmp(a->local->weight, b->local->weight, a->local->n * sizeof(float)), 0);
  }
  fc_fit_result_fini(&one);
  fc_fit_result_fini(&three);
}

Test(fit, keeps_the_roofline_and_says_when_it_extrapolates) {
  made m;
  fc_fit_result r;
  make(&m, FC_OP_LINEAR, 200, 0.05, 21);
  for (size_t i = 0; i < 200; i += 3) m.table.point[i].seconds *= 0.2; /* faster than the device can be */
  fit_made(&r, &m, false);
  cr_assert(!(r.fit[0].coef.flop_per_s > 1e15) && !(r.fit[0].coef.bytes_per_s > 3.35e12));
  fc_predictor predictor;
  fc_predictor_init(&predictor, &r.fit[0], &device);
  uint64_t seed = 4;
  for (int i = 0; i < 2000; i++) {
    fc_op op = random_op(FC_OP_LINEAR, &seed);
    fc_prediction p;
    cr_assert_eq(fc_predict(&p, &predictor, &op), FC_OK);
    cr_assert(p.seconds >= fc_op_flop(&op) / 1e15 * (1 - 1e-12) && p.low_s <= p.seconds &&
              p.seconds <= p.high_s);
  }
  fc_op far = {.id = FC_OP_LINEAR, .dtype = FC_DTYPE_BF16, .m = 1 << 20, .n = 65536, .k = 65536};
  fc_op near = {.id = FC_OP_LINEAR, .dtype = FC_DTYPE_BF16, .m = 1 << 13, .n = 8192, .k = 8192};
  fc_prediction p, q;
  cr_assert_eq(fc_predict(&p, &predictor, &far), FC_OK);
  cr_assert_eq(fc_predict(&q, &predictor, &near), FC_OK);
  cr_assert(p.outside && p.high_s / p.low_s > q.high_s / q.low_s);
  fc_fit_result_fini(&r);
  free(m.table.point);
}

Test(fit, twice_the_work_is_never_below_the_interval_of_once) {
  for (int k = 0; k < N_KINDS; k++) {
    made m;
    fc_fit_result r;
    make(&m, KINDS[k], 200, 0.25, 31); /* noise that would make it dip */
    fit_made(&r, &m, false);
    fc_predictor predictor;
    fc_predictor_init(&predictor, &r.fit[0], &device);
    uint64_t seed = 8;
    for (int i = 0; i < 300; i++) {
      fc_op once = random_op(KINDS[k], &seed), twice = once;
      if (once.payload_bytes > 0) twice.payload_bytes *= 2;
      if (KINDS[k] == FC_OP_MOE) twice.tokens *= 2;
      if (KINDS[k] == FC_OP_ATTENTION_P) twice.q *= 2, twice.s += once.q;
      if (once.m > 0) twice.m *= 2;
      if (KINDS[k] == FC_OP_MOE && twice.m > once.groups)
        once.groups = twice.groups = fmin(once.experts, once.m);
      if (KINDS[k] == FC_OP_LINEAR && once.m < 16) continue; /* another alignment */
      fc_prediction a, b;
      cr_assert_eq(fc_predict(&a, &predictor, &once), FC_OK);
      cr_assert_eq(fc_predict(&b, &predictor, &twice), FC_OK);
      cr_assert(b.seconds >= a.low_s * (1 - 1e-9), "kind %d: %g s, then %g s", k, a.seconds, b.seconds);
    }
    fc_fit_result_fini(&r);
    free(m.table.point);
  }
}
