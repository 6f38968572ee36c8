/* SPDX-License-Identifier: Apache-2.0 */
/* Many shapes at once give the bits that one by one gives, for every kernel of a shipped profile. */
#include <fleetcast/cost/predict.h>

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "shipped.h"

enum { MANY = 150 }; /* more than are predicted together, and not a whole number of blocks */

static double random01(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (double)(*state >> 11) * 0x1p-53;
}

static double near(double size, uint64_t *state) {
  return size > 1 ? ceil(size * exp(random01(state) - 0.5)) : size;
}

/* Shapes about the anchors; every third an anchor itself. */
static void make_shapes(fc_op *op, size_t n, const fc_local *local, uint64_t *state) {
  fc_op_id id = local->op[0].id; /* a family may have several operators */
  for (size_t i = 0; i < n; i++) {
    op[i] = local->op[(size_t)(random01(state) * (double)local->n)];
    op[i].id = id;
    if (i % 3 == 0) continue;
    op[i].m = near(op[i].m, state);
    op[i].n = near(op[i].n, state);
    op[i].tokens = near(op[i].tokens, state);
    op[i].batch = near(op[i].batch, state);
    op[i].q = near(op[i].q, state);
    op[i].s = op[i].q + near(op[i].s, state);
    op[i].payload_bytes = near(op[i].payload_bytes, state);
  }
}

static bool same(double a, double b) {
  return memcmp(&a, &b, sizeof a) == 0;
}

static void expect_same_forms(const fc_kernel_fit *fit, const fc_op *op, size_t n, double units) {
  static fc_geometry g[MANY];
  fc_form_answer all[MANY];
  for (size_t i = 0; i < n; i++) fc_op_geometry(&g[i], &op[i], units);
  fc_form_answers(all, fit->form, &fit->coef, g, n);
  for (size_t i = 0; i < n; i++) {
    double share[FC_REGIME_COUNT];
    fc_form_shares(share, fit->form, &fit->coef, &g[i]);
    cr_assert(same(all[i].seconds, fc_form_s(fit->form, &fit->coef, &g[i])));
    for (int r = 0; r < FC_REGIME_COUNT; r++) cr_assert(same(all[i].share[r], share[r]));
  }
}

static void expect_same_corrections(const fc_kernel_fit *fit, const fc_op *op, double units) {
  static fc_geometry g[FC_LOCAL_ROWS];
  fc_form_answer form[FC_LOCAL_ROWS];
  fc_local_answer all[FC_LOCAL_ROWS];
  static float x[FC_LOCAL_COORDINATES][FC_LOCAL_ROWS];
  for (size_t i = 0; i < FC_LOCAL_ROWS; i++) fc_op_geometry(&g[i], &op[i], units);
  fc_form_answers(form, fit->form, &fit->coef, g, FC_LOCAL_ROWS);
  fc_local_rows_coordinates(x, op, units, form);
  fc_local_rows_evaluate(all, fit->local, x);
  for (size_t i = 0; i < FC_LOCAL_ROWS; i++) {
    float alone[FC_LOCAL_COORDINATES];
    size_t c = fc_local_coordinates(alone, &op[i], units, fit);
    for (size_t j = 0; j < c; j++)
      cr_assert(same((double)alone[j], (double)x[j][i]), "%s %s", fc_kernel_text(fit->kernel),
                fc_local_coordinate_text((int)fit->kernel, j));
    fc_local_answer one;
    fc_local_evaluate(&one, fit->local, alone);
    cr_assert(same(one.correction, all[i].correction) && same(one.scatter, all[i].scatter) &&
              same(one.support, all[i].support));
  }
}

static void expect_same_predictions(const fc_predictor *p, fc_op *op, size_t n) {
  static fc_prediction all[MANY];
  fc_prediction one;
  if (n > 20) op[17].m = op[17].payload_bytes = op[17].heads = -1; /* no shape */
  fc_predict_all(all, p, op, n);
  for (size_t i = 0; i < n; i++) {
    if (fc_predict(&one, p, &op[i]) != FC_OK) {
      cr_assert(isnan(all[i].seconds));
      continue;
    }
    cr_assert(same(one.seconds, all[i].seconds) && same(one.low_s, all[i].low_s) &&
                  same(one.high_s, all[i].high_s) && one.clamped == all[i].clamped &&
                  one.outside == all[i].outside,
              "%s: %.17g and %.17g", fc_kernel_text(p->fit->kernel), one.seconds, all[i].seconds);
  }
}

/* Only the first size varies, as in a sweep: the other coordinates are the same in all shapes. */
static void make_sweep(fc_op *op, size_t n, const fc_local *local) {
  for (size_t i = 0; i < n; i++) {
    op[i] = local->op[local->n / 2];
    op[i].m += (double)i;
    op[i].tokens += (double)i;
    op[i].s += (double)i;
    op[i].payload_bytes += 16 * (double)i;
  }
}

static void expect_same_at_anchors(const fc_local *local) {
  static double all[FC_LOCAL_ANCHORS_MAX];
  fc_local_at_anchors(all, local);
  for (size_t i = 0; i < local->n; i++) cr_assert(same(all[i], fc_local_at_anchor(local, i)));
}

Test(rows, many_at_once_are_those_one_by_one) {
  const fc_profile *profile = shipped_profile(FC_SOURCE_DIR "/scenarios", "h100");
  cr_assert(profile);
  static const size_t counts[] = {1, 5, 16, 21, 64, MANY};
  bool seen[FC_KERNEL_COUNT] = {false};
  uint64_t state = 1;
  size_t fits = 0;
  for (size_t k = 0; k < profile->n_kernels; k++) {
    const fc_kernel_fit *fit = &profile->kernels[k];
    if (!fit->local || (seen[fit->kernel] && k % 4)) continue;
    seen[fit->kernel] = true;
    fits++;
    fc_predictor p;
    fc_predictor_init(&p, fit, profile->device);
    static fc_op op[MANY];
    make_shapes(op, MANY, fit->local, &state);
    expect_same_forms(fit, op, MANY, p.units);
    expect_same_corrections(fit, op, p.units);
    make_sweep(op, MANY, fit->local);
    expect_same_corrections(fit, op, p.units);
    expect_same_predictions(&p, op, MANY);
    expect_same_at_anchors(fit->local);
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
      make_shapes(op, counts[c], fit->local, &state);
      expect_same_predictions(&p, op, counts[c]);
    }
  }
  cr_expect_gt(fits, 20);
  shipped_free();
}

/* Twice the work, at the same alignment; false: not told here. */
static bool twice(fc_op *op) {
  if (op->tokens > 0) {
    op->tokens *= 2;
    op->m *= 2;
  } else if (op->id == FC_OP_ATTENTION_D || op->id == FC_OP_MLA_D) {
    op->s *= 2;
  } else if (op->q > 0) {
    op->s += op->q;
    op->q *= 2;
  } else if (op->payload_bytes > 0) {
    op->payload_bytes *= 2;
  } else if (fmod(op->m / (op->groups > 1 ? op->groups : 1), 16) == 0) {
    op->m *= 2; /* full alignment, before and after */
  } else {
    return false;
  }
  return true;
}

/* Half the work is left out by what the anchors tell, which is no bound: one shape in 20,000 falls below. */
Test(rows, twice_the_work_is_hardly_ever_below_the_interval_of_once) {
  const fc_profile *profile = shipped_profile(FC_SOURCE_DIR "/scenarios", "h100");
  cr_assert(profile);
  uint64_t state = 7;
  size_t told = 0, below = 0;
  for (size_t k = 0; k < profile->n_kernels; k++) {
    const fc_kernel_fit *fit = &profile->kernels[k];
    if (!fit->local) continue;
    fc_predictor p;
    fc_predictor_init(&p, fit, profile->device);
    static fc_op once[MANY], both[MANY];
    static fc_prediction a[MANY], b[MANY];
    make_shapes(once, MANY, fit->local, &state);
    for (size_t i = 0; i < MANY; i++) {
      double groups = once[i].groups > 1 ? once[i].groups : 1;
      if (!(once[i].tokens > 0)) once[i].m = 16 * groups * ceil(once[i].m / groups / 16);
      both[i] = once[i];
      (void)twice(&both[i]);
      if (both[i].m > once[i].groups && once[i].tokens > 0 && once[i].m < once[i].groups)
        both[i].groups = once[i].groups = fmax(once[i].m, 1);
    }
    fc_predict_all(a, &p, once, MANY);
    fc_predict_all(b, &p, both, MANY);
    for (size_t i = 0; i < MANY; i++) {
      fc_op op = once[i];
      if (!twice(&op) || isnan(a[i].seconds)) continue;
      told++;
      below += !(b[i].seconds >= a[i].low_s * (1 - 1e-9));
    }
  }
  cr_expect_gt(told, 5000);
  cr_expect_leq(below, told / 2000, "%zu of %zu", below, told);
  shipped_free();
}
