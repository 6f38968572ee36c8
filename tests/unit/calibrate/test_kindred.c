/* SPDX-License-Identifier: Apache-2.0 */
/* Families that share a surface lend each other points; those that share none do not. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/calibrate/fit.h>
#include <fleetcast/cost/form.h>
#include <fleetcast/cost/predict.h>

enum { FAMILIES = 3, EACH = 60, FRESH = 300 };

static const fc_device device = {
    .name = "synthetic",
    .peak_flop_per_s = {[FC_DTYPE_FP32] = 60e12, [FC_DTYPE_BF16] = 1e15, [FC_DTYPE_FP8] = 2e15},
    .memory_bytes_per_s = 3.35e12,
    .l2_bytes = 50e6,
    .compute_units = 132,
    .scaleup_bytes_per_s = 900e9,
    .scaleup_devices = 8,
    .scaleout_bytes_per_s = 50e9};

static const fc_coef truth = {.t0_s = 3e-6,
                              .flop_per_s = 700e12,
                              .bytes_per_s = 2.7e12,
                              .tile_s = 0.6e-6,
                              .tile_traffic = 0.2,
                              .sharpness = 3};

static double uniform(uint64_t *state) {
  *state = *state * 6364136223846793005U + 1442695040888963407U;
  return ((double)(*state >> 11) + 0.5) / 9007199254740992.0;
}

static fc_op random_product(uint64_t *state) {
  fc_op op = {.id = FC_OP_LINEAR, .dtype = FC_DTYPE_BF16};
  op.m = 128 * (1 + floor(uniform(state) * 60));
  op.n = 512 * (1 + floor(uniform(state) * 30));
  op.k = 512 * (1 + floor(uniform(state) * 30));
  return op;
}

/* A library's choice of kernels, by size: what forms do not know.  Families 0 and 1 share a library. */
static double choice(const fc_op *op, size_t family) {
  double x = log(op->m) * 2.1, y = log(op->n) * 1.7, z = log(op->k) * 1.3;
  return family < 2 ? 0.25 * sin(x + y) * cos(z) : 0.25 * cos(2.3 * x - y) * sin(1.9 * z);
}

static double time_of(const fc_op *op, size_t family) {
  fc_geometry g;
  fc_op_geometry(&g, op, (double)device.compute_units);
  return (family == 1 ? 1.15 : 1) * exp(choice(op, family)) * fc_form_s(FC_FORM_GEMM, &truth, &g);
}

typedef struct {
  fc_point point[FAMILIES * EACH];
  fc_family family[FAMILIES];
  fc_table table;
} scene;

static void make(scene *s, size_t first, size_t n) {
  static const char *const names[FAMILIES] = {"one", "sister", "stranger"};
  uint64_t state = 77;
  memset(s, 0, sizeof *s);
  s->table = (fc_table){.point = s->point, .family = s->family};
  for (size_t f = 0; f < FAMILIES; f++) {
    bool taken = f >= first && f < first + n;
    if (taken)
      s->family[s->table.n_families++] = (fc_family){.kernel = FC_KERNEL_GEMM,
                                                     .format = fc_format_find("bf16", 4),
                                                     .impl = names[f],
                                                     .first = s->table.n_points,
                                                     .n = EACH};
    for (size_t i = 0; i < EACH; i++) { /* drawn whether taken or not, so that shapes stay */
      fc_op op = random_product(&state);
      if (taken) s->point[s->table.n_points++] = (fc_point){.op = op, .seconds = time_of(&op, f)};
    }
  }
}

static fc_fit_result fit(const scene *s, size_t threads) {
  fc_fit_result out;
  cr_assert_eq(fc_fit_table(&out, &s->table, &device, &(fc_fit_options){.threads = threads}), FC_OK);
  return out;
}

/* Mean |ln error| at shapes that no family has, and how many lie inside their interval. */
static double fresh_error(const fc_kernel_fit *fitted, size_t family, double *within) {
  fc_predictor p;
  uint64_t state = 4321;
  double sum = 0, inside = 0;
  fc_predictor_init(&p, fitted, &device);
  for (int i = 0; i < FRESH; i++) {
    fc_op op = random_product(&state);
    fc_prediction q;
    double t = time_of(&op, family);
    cr_assert_eq(fc_predict(&q, &p, &op), FC_OK);
    sum += fabs(log(q.seconds / t));
    inside += q.low_s <= t && t <= q.high_s;
  }
  *within = inside / FRESH;
  return sum / FRESH;
}

Test(kindred, sisters_lend_and_strangers_do_not) {
  static scene alone, pair, strangers;
  double within;
  make(&alone, 0, 1);
  fc_fit_result a = fit(&alone, 1);
  cr_assert_eq(a.fit[0].lent, 0);
  double without = fresh_error(&a.fit[0], 0, &within);

  make(&pair, 0, 2);
  fc_fit_result b = fit(&pair, 1);
  cr_assert(b.fit[0].lent > 0 && b.fit[1].lent > 0, "%g, %g", b.fit[0].lent, b.fit[1].lent);
  double with = fresh_error(&b.fit[0], 0, &within);
  cr_assert(with < 0.85 * without, "%g with a sister's points, %g without", with, without);
  cr_assert(within > 0.8, "%g inside 90 %% intervals", within);

  make(&strangers, 1, 2);
  fc_fit_result c = fit(&strangers, 1);
  double stranger = fresh_error(&c.fit[1], 2, &within);
  scene only;
  make(&only, 2, 1);
  fc_fit_result d = fit(&only, 1);
  double own = fresh_error(&d.fit[0], 2, &within);
  cr_assert(stranger < 1.1 * own, "%g beside a stranger, %g alone", stranger, own);
  fc_fit_result_fini(&a);
  fc_fit_result_fini(&b);
  fc_fit_result_fini(&c);
  fc_fit_result_fini(&d);
}

Test(kindred, threads_change_nothing) {
  static scene s;
  make(&s, 0, FAMILIES);
  fc_fit_result one = fit(&s, 1), three = fit(&s, 3);
  for (size_t f = 0; f < FAMILIES; f++) {
    const fc_local *a = one.fit[f].local, *b = three.fit[f].local;
    cr_assert_eq(a->n, b->n);
    cr_assert_eq(memcmp(a->weight, b->weight, a->n * sizeof *a->weight), 0, "family %zu", f);
    cr_assert_eq(one.report[f].median_error, three.report[f].median_error);
  }
  fc_fit_result_fini(&one);
  fc_fit_result_fini(&three);
}
