/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/calibrate/krige.h>

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <criterion/criterion.h>

#include <fleetcast/base/rng.h>

/** Surfaces that are known, seen with noise: kriging must find them again. */

enum { MOST = 700, FRESH = 300, DIMENSIONS = 3, SEED = 11 };
static const double NOISE = 0.02;

typedef struct {
  size_t n, d;
  float x[MOST][FC_LOCAL_COORDINATES];
  double y[MOST], fixed[MOST];
} sample;

/* Two coordinates matter, the third does not; coordinate 3 is the same everywhere. */
static double surface(const float *x) {
  return 0.25 * sin((double)x[0]) + 0.1 * (double)x[1] - 0.2;
}

static void place(float *x, fc_rng *rng) {
  for (size_t j = 0; j < DIMENSIONS; j++) x[j] = (float)(6 * fc_rng_uniform(rng));
  x[DIMENSIONS] = 1;
}

static void draw(sample *s, size_t n, uint64_t seed, double amplitude, double noise) {
  memset(s, 0, sizeof *s);
  s->n = n;
  s->d = DIMENSIONS + 1;
  fc_rng rng = fc_rng_keyed(SEED, FC_STREAM_TEST, n, seed);
  for (size_t i = 0; i < n; i++) {
    place(s->x[i], &rng);
    s->y[i] = amplitude * surface(s->x[i]) + noise * fc_rng_normal(&rng);
  }
}

/* As fc_fit_table does: small matrices are faster on one thread. */
extern void openblas_set_num_threads(int n);

static void one_thread(void) {
  openblas_set_num_threads(1);
}

TestSuite(krige, .init = one_thread);

static fc_krige fit(const sample *s, size_t anchors, fc_arena *arena) {
  fc_krige_data data = {.n = s->n, .x = s->x, .n_coordinates = s->d, .y = s->y, .fixed = s->fixed};
  fc_krige k;
  cr_assert_eq(fc_krige_fit(&k, &data, anchors, arena), FC_OK);
  return k;
}

static fc_local_answer at(const fc_krige *k, const float *x) {
  fc_local_answer a = {0};
  fc_local_evaluate(&a, &k->local, x);
  return a;
}

/* Root mean square error on fresh places. */
static double fresh_error(const fc_krige *k, double amplitude) {
  double sum = 0;
  fc_rng rng = fc_rng_keyed(SEED, FC_STREAM_DEMAND, 0, 0);
  for (size_t i = 0; i < FRESH; i++) {
    float x[FC_LOCAL_COORDINATES] = {0};
    place(x, &rng);
    double e = at(k, x).correction - amplitude * surface(x);
    sum += e * e;
  }
  return sqrt(sum / FRESH);
}

static double own_error(const fc_krige *k, const sample *s) {
  double sum = 0;
  for (size_t i = 0; i < s->n; i++) sum += pow(k->leave_one_out[i] - s->y[i], 2);
  return sqrt(sum / (double)s->n);
}

/* --- recovery --- */

Test(krige, a_smooth_surface_is_found) {
  static sample s;
  fc_arena arena = {0};
  draw(&s, 200, 0, 1, NOISE);
  fc_krige k = fit(&s, 400, &arena);
  cr_expect_eq(k.local.n, 200);
  double error = fresh_error(&k, 1);
  cr_expect_lt(error, 0.6 * NOISE, "%.4f: the surface itself, without the noise of points", error);
  fc_arena_fini(&arena);
}

Test(krige, errors_of_points_left_out_are_honest) {
  double own = 0, fresh = 0, found = 0;
  enum { TRIES = 10 };
  for (uint64_t i = 0; i < TRIES; i++) {
    static sample s;
    fc_arena arena = {0};
    draw(&s, 120, i, 1, NOISE);
    fc_krige k = fit(&s, 400, &arena);
    own += own_error(&k, &s) / TRIES;
    fresh += hypot(fresh_error(&k, 1), NOISE) / TRIES;
    found += k.noise / TRIES;
    fc_arena_fini(&arena);
  }
  cr_expect_float_eq(own, fresh, 0.15 * fresh, "left out %.4f, fresh %.4f", own, fresh);
  cr_expect_float_eq(found, NOISE, 0.5 * NOISE, "noise %.4f", found);
}

Test(krige, intervals_hold_nine_of_ten) {
  size_t inside = 0, n = 0;
  for (uint64_t i = 0; i < 10; i++) {
    static sample s;
    fc_arena arena = {0};
    draw(&s, 120, 100 + i, 1, NOISE);
    fc_krige k = fit(&s, 400, &arena);
    for (size_t j = 0; j < s.n; j++, n++) inside += fabs(k.leave_one_out[j] - s.y[j]) <= k.half_width[j];
    fc_arena_fini(&arena);
  }
  double share = (double)inside / (double)n;
  cr_expect(share >= 0.85 && share <= 0.95, "%.3f", share);
}

/* Where there is only noise, hardly anything is corrected. */
Test(krige, noise_is_not_a_surface) {
  static sample s;
  fc_arena arena = {0};
  draw(&s, 200, 1, 0, NOISE);
  fc_krige k = fit(&s, 400, &arena);
  cr_expect_lt(fresh_error(&k, 0), 0.5 * NOISE, "%.4f", fresh_error(&k, 0));
  fc_arena_fini(&arena);
}

/* --- repeats, outliers, many points --- */

Test(krige, repeats_are_averaged) {
  static sample s;
  fc_arena arena = {0};
  draw(&s, 160, 2, 1, NOISE);
  fc_rng rng = fc_rng_keyed(SEED, FC_STREAM_TEST, 1, 1);
  for (size_t i = 0; i < s.n; i++)
    if (i % 4) {
      memcpy(s.x[i], s.x[i - i % 4], sizeof s.x[i]);
      s.y[i] = surface(s.x[i]) + NOISE * fc_rng_normal(&rng);
    }
  fc_krige k = fit(&s, 400, &arena);
  double error = fresh_error(&k, 1);
  cr_expect_lt(error, 2 * NOISE, "%.4f from 40 places", error);
  double sum = 0;
  for (size_t i = 0; i < s.n; i += 4) sum += pow(at(&k, s.x[i]).correction - surface(s.x[i]), 2);
  double there = sqrt(sum / 40);
  cr_expect_lt(there, 0.75 * NOISE, "%.4f: the mean of four has half the noise", there);
  fc_arena_fini(&arena);
}

Test(krige, outliers_are_discounted) {
  static sample s;
  fc_arena arena = {0};
  draw(&s, 200, 3, 1, NOISE);
  for (size_t i = 10; i < s.n; i += 20) s.y[i] += i % 40 == 10 ? 1.5 : -1.5;
  fc_krige k = fit(&s, 400, &arena);
  /* a point that is off by 1.5 may keep a dent of its own, but its surroundings are as they were */
  double error[FRESH], middle = 0;
  fc_rng rng = fc_rng_keyed(SEED, FC_STREAM_DEMAND, 0, 0);
  for (size_t i = 0; i < FRESH; i++) {
    float x[FC_LOCAL_COORDINATES] = {0};
    place(x, &rng);
    error[i] = fabs(at(&k, x).correction - surface(x));
  }
  size_t below = 0;
  for (size_t i = 0; i < FRESH; i++) below += error[i] < 1.5 * NOISE;
  middle = (double)below / FRESH;
  cr_expect_gt(middle, 0.5, "%.2f of places within 1.5 sd", middle);
  fc_arena_fini(&arena);
}

Test(krige, fewer_anchors_than_points) {
  static sample s;
  fc_arena arena = {0};
  draw(&s, 600, 4, 1, NOISE);
  fc_krige all = fit(&s, 1000, &arena), few = fit(&s, 100, &arena);
  cr_expect_eq(all.local.n, 600);
  cr_expect_eq(few.local.n, 100);
  bool seen[MOST] = {false};
  for (size_t i = 0; i < few.local.n; i++) {
    cr_assert_lt(few.anchor[i], s.n);
    cr_expect(!seen[few.anchor[i]], "an anchor twice");
    seen[few.anchor[i]] = true;
  }
  cr_expect_lt(fresh_error(&all, 1), 0.4 * NOISE, "%.4f", fresh_error(&all, 1));
  cr_expect_lt(fresh_error(&few, 1), 0.8 * NOISE, "%.4f: all points inform the weights",
               fresh_error(&few, 1));
  fc_arena_fini(&arena);
}

/* --- edges --- */

Test(krige, far_away_nothing_is_corrected) {
  static sample s;
  fc_arena arena = {0};
  draw(&s, 100, 5, 1, NOISE);
  fc_krige k = fit(&s, 400, &arena);
  float x[FC_LOCAL_COORDINATES] = {1e4F, -1e4F, 1e4F, 1};
  fc_local_answer a = at(&k, x);
  cr_expect_lt(fabs(a.correction), 1e-3, "%g", a.correction);
  cr_expect_lt(a.support, 0.01, "%g", a.support);
  cr_expect_gt(at(&k, s.x[0]).support, 0.3);
  fc_arena_fini(&arena);
}

Test(krige, what_does_not_vary_is_no_coordinate) {
  static sample s;
  fc_arena arena = {0};
  draw(&s, 60, 6, 1, NOISE);
  fc_krige k = fit(&s, 400, &arena);
  cr_expect_eq(k.local.n_coordinates, DIMENSIONS);
  for (size_t j = 0; j < DIMENSIONS; j++) cr_expect_eq(k.local.of[j], j);
  fc_arena_fini(&arena);
}

static void expect_none(const sample *s, size_t anchors) {
  fc_arena arena = {0};
  fc_krige k = fit(s, anchors, &arena);
  cr_expect_eq(k.local.n, 0);
  for (size_t i = 0; i < s->n; i++) cr_expect(isfinite(k.leave_one_out[i]) && isfinite(k.half_width[i]));
  fc_arena_fini(&arena);
}

Test(krige, too_little_is_left_to_the_form) {
  static sample s;
  draw(&s, FC_KRIGE_LEAST - 1, 7, 1, NOISE);
  expect_none(&s, 400);
  draw(&s, 50, 8, 1, NOISE);
  expect_none(&s, 0);
  for (size_t i = 1; i < s.n; i++) memcpy(s.x[i], s.x[0], sizeof s.x[0]); /* one place */
  expect_none(&s, 400);
}

Test(krige, degenerate_data_stays_finite) {
  static sample s;
  fc_arena arena = {0};
  for (int kind = 0; kind < 3; kind++) {
    draw(&s, 40, 9, 1, NOISE);
    for (size_t i = 0; i < s.n; i++) {
      if (kind == 0) s.y[i] = 0;                                      /* the form was exact */
      if (kind == 1) memcpy(s.x[i], s.x[i % 2], sizeof s.x[i]);       /* two places */
      if (kind == 2) s.x[i][2] = s.x[i][1] = s.x[i][0], s.y[i] *= 50; /* a line, and huge */
    }
    fc_krige k = fit(&s, 400, &arena);
    for (size_t i = 0; i < s.n; i++) {
      cr_expect(isfinite(k.leave_one_out[i]) && isfinite(k.half_width[i]), "kind %d", kind);
      if (k.local.n == 0) continue;
      fc_local_answer a = at(&k, s.x[i]);
      cr_expect(isfinite(a.correction) && isfinite(a.scatter) && isfinite(a.support), "kind %d", kind);
      if (kind == 0) cr_expect_lt(fabs(a.correction), 1e-6);
    }
  }
  fc_arena_fini(&arena);
}

Test(krige, same_data_same_bytes) {
  static sample s;
  fc_arena arena = {0};
  draw(&s, 150, 10, 1, NOISE);
  fc_krige a = fit(&s, 60, &arena), b = fit(&s, 60, &arena);
  cr_assert_eq(a.local.n, b.local.n);
  size_t floats = fc_local_x_floats(a.local.n, a.local.n_coordinates),
         lanes = fc_local_lane_floats(a.local.n);
  cr_expect_eq(memcmp(a.local.x, b.local.x, floats * sizeof(float)), 0);
  cr_expect_eq(memcmp(a.local.weight, b.local.weight, lanes * sizeof(float)), 0);
  cr_expect_eq(memcmp(a.leave_one_out, b.leave_one_out, s.n * sizeof(double)), 0);
  cr_expect_eq(memcmp(a.half_width, b.half_width, s.n * sizeof(double)), 0);
  fc_arena_fini(&arena);
}
