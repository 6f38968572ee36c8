/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/cost/predict.h>

#include <math.h>

#include <fleetcast/base/lanes.h>
#include <fleetcast/base/straight.h>

#include "meter.h"

/* --- the roofline of one call --- */

static double link_floor_s(const fc_predictor *p, const fc_geometry *g, bool reduced) {
  double least = reduced ? 0.5 : 1; /* as in operator.c: switches may reduce in flight */
  return fc_straight_larger(least * g->wire_in * p->per_scaleup_s, least * g->wire_net * p->per_scaleout_s);
}

/* Repeated calls may find all their bytes in the last cache: only what does not fit it must come from memory.
 * Experts without a gate have two matrices instead of three, which a row does not tell. */
static double floor_s(const fc_predictor *p, const fc_op *op, const fc_geometry *g) {
  switch (p->fit->form) {
  case FC_FORM_COLLECTIVE: return link_floor_s(p, g, op->id == FC_OP_ALL_REDUCE);
  case FC_FORM_MEMORY: return g->bytes > p->device->l2_bytes ? g->bytes * p->per_byte_s : 0;
  default: break;
  }
  double least = p->fit->form == FC_FORM_MOE ? 2.0 / 3 : 1;
  double memory = least * g->bytes > p->device->l2_bytes ? g->bytes * p->per_byte_s : 0;
  double compute = g->flop * p->per_flop_s * (g->all_units / g->units);
  return least * fc_straight_larger(memory, compute);
}

/* --- half the work, for the law that twice the work never takes less --- */

static bool is_whole(double x) {
  return x == fc_straight_round(x);
}

/* The largest size up to half of it whose alignment is the same: other kernels serve other alignments, and
 * those may be slower.  0: none. */
static double aligned_half(double size) {
  enum { FULL = 16 };
  double unit = 1, per = 0.5; /* 1 / (2 unit), exactly */
  while (unit < FULL && is_whole(size * per)) {
    unit *= 2;
    per *= 0.5;
  }
  double half = size * per, near = fc_straight_round(half);
  half = near > half ? near - 1 : near;
  if (unit < FULL && is_whole(0.5 * half)) half -= 1;
  return half * unit;
}

static bool halve(fc_op *op) {
  switch (op->id) {
  case FC_OP_MOE:
    if (op->tokens < 2) return false;
    op->tokens /= 2;
    op->m /= 2;
    op->groups = fc_straight_smaller(op->groups, fc_straight_larger(op->m, 1));
    return true;
  case FC_OP_ATTENTION_P:
  case FC_OP_MLA_P:
  case FC_OP_ATTENTION_B:
  case FC_OP_MLA_B:
    if (op->q < 2) return false;
    op->s -= op->q / 2;
    op->q /= 2;
    return true;
  case FC_OP_ATTENTION_D:
  case FC_OP_MLA_D:
    if (op->s < 2) return false;
    op->s /= 2;
    return true;
  default: break;
  }
  if (op->payload_bytes > 0) {
    if (op->payload_bytes < 2) return false;
    op->payload_bytes /= 2;
    return true;
  }
  double groups = op->groups > 1 ? op->groups : 1, rows = aligned_half(op->m / groups);
  if (rows < 1) return false;
  op->m = rows * groups;
  return true;
}

/* --- many calls --- */

enum {
  MANY = 64, /* together */
  ROWS = FC_LOCAL_ROWS,
  FEW = 6 /* fewer than this are done sooner one by one */
};

typedef struct {
  fc_geometry g[MANY];
  fc_form_answer form[MANY];
  fc_local_answer local[MANY];
  double seconds[MANY]; /* form and correction */
} answers;

FC_WIDE static void exp_all(double x[MANY], size_t n) {
  if (n < FEW) {
    for (size_t i = 0; i < n; i++) x[i] = fc_straight_exp(x[i]);
    return;
  }
  for (size_t i = 0; i < MANY; i++) x[i] = fc_straight_exp(x[i]);
}

static void forms(answers *out, const fc_predictor *p, const fc_op *op, size_t n) {
  for (size_t i = 0; i < n; i++) fc_op_geometry(&out->g[i], &op[i], p->units);
  fc_form_answers(out->form, p->fit->form, &p->fit->coef, out->g, n);
  for (size_t i = 0; i < n; i++) {
    out->seconds[i] = out->form[i].seconds;
    out->local[i] = (fc_local_answer){0};
  }
}

static void correct_rows(fc_local_answer *out, const fc_predictor *p, const fc_op *op,
                         const fc_form_answer *form) {
  float x[FC_LOCAL_COORDINATES][ROWS];
  fc_local_rows_coordinates(x, op, p->units, form);
  fc_local_rows_evaluate(out, p->fit->local, x);
}

static void correct_some(fc_local_answer *out, const fc_predictor *p, const fc_op *op,
                         const fc_form_answer *form, size_t n) {
  fc_op some[ROWS];
  fc_form_answer their[ROWS];
  fc_local_answer answer[ROWS];
  for (size_t i = 0; i < ROWS; i++) {
    size_t of = i < n ? i : 0;
    some[i] = op[of];
    their[i] = form[of];
  }
  correct_rows(answer, p, some, their);
  for (size_t i = 0; i < n; i++) out[i] = answer[i];
}

static void correct(answers *a, const fc_predictor *p, const fc_op *op, size_t n) {
  if (!p->fit->local) return;
  size_t i = 0;
  for (; i + ROWS <= n; i += ROWS) correct_rows(&a->local[i], p, &op[i], &a->form[i]);
  if (n - i >= FEW) {
    correct_some(&a->local[i], p, &op[i], &a->form[i], n - i);
  } else {
    for (; i < n; i++) {
      float x[FC_LOCAL_COORDINATES];
      (void)fc_local_coordinates(x, &op[i], p->units, p->fit);
      fc_local_evaluate(&a->local[i], p->fit->local, x);
    }
  }
  double factor[MANY] = {0};
  for (i = 0; i < n; i++) factor[i] = a->local[i].correction;
  exp_all(factor, n);
  for (i = 0; i < n; i++) a->seconds[i] *= factor[i];
}

static double beyond(double value, double low, double high) {
  if (!(high > 0) || !(value > 0)) return 0;
  return value > high ? log(value / high) : low > 0 && value < low ? log(low / value) : 0;
}

static double outside_by(const fc_predictor *p, const fc_geometry *g) {
  return fc_straight_larger(beyond(g->flop, p->fit->min_flop, p->fit->max_flop),
                            beyond(g->bytes, p->fit->min_bytes, p->fit->max_bytes));
}

/* Half width of the 90 % interval of ln(time). */
static double half_width(const fc_predictor *p, const answers *a, size_t i, double outside) {
  const fc_kernel_fit *fit = p->fit;
  const fc_local *local = fit->local;
  double own, extra = FC_RANGE_WIDENING * outside;
  if (local) {
    own = (double)local->scale * fc_straight_larger(a->local[i].scatter, (double)local->floor);
    double usual = (double)local->support, support = a->local[i].support,
           near = support < usual ? support / usual : 1;
    double open = ((double)(local->smooth * local->smooth) + (double)(local->rough * local->rough) +
                   (double)(local->own * local->own)) *
                  (1 - near * near);
    extra = sqrt(extra * extra + open);
  } else {
    double shape = fit->spread_regime[fc_form_largest(a->form[i].share)];
    own = FC_Z90 * (shape > 0 ? shape : fit->spread_shape);
  }
  double common = FC_Z90 * fit->spread_systematic;
  extra *= FC_Z90;
  return sqrt(own * own + common * common + extra * extra);
}

/* --- what twice the work may never fall below --- */

/* From each anchor down, half the work so many times; and what steps between anchors may exceed theirs by.
 * Of 2.5 million shapes drawn about the anchors of the shipped A100, H100, H200 and B200 profiles, half the
 * work binds in 4,573: one of them is left out by this, 29 by the factors below. */
enum { STEPS = 3 };
#define STEP_SLACK 0.1

/* Steps are told apart by the ratio of the forms, in tenths from 1 on: where a form falls too far, the
 * correction makes up for it. */
static size_t step_bin(double whole_s, double half_s) {
  const double per_ratio = 10, last = FC_STEP_BINS - 1;
  double at = (whole_s / half_s - 1) * per_ratio;
  return at > 0 ? (size_t)(at < last ? at : last) : 0;
}

/* A step between shapes of about its ratio may be as large. */
static void add_step(double most[FC_STEP_BINS], size_t bin, double step) {
  for (size_t i = bin > 0 ? bin - 1 : 0; i <= bin + 1 && i < FC_STEP_BINS; i++) most[i] = fmax(most[i], step);
}

/* From some anchors down, at most MANY / (STEPS + 1) of them. */
static void add_steps(double most[FC_STEP_BINS], const fc_predictor *p, const double *correction,
                      const fc_op *anchor, size_t n) {
  fc_op op[MANY];
  bool first[MANY];
  answers a;
  size_t all = 0, at = 0;
  for (size_t i = 0; i < n; i++) {
    op[all] = anchor[i];
    first[all++] = true;
    for (int step = 0; step < STEPS; step++) {
      op[all] = op[all - 1];
      if (!halve(&op[all])) break;
      first[all++] = false;
    }
  }
  forms(&a, p, op, all);
  correct(&a, p, op, all);
  for (size_t k = 0; k < all; k++) {
    if (first[k]) a.local[k].correction = correction[at++];
    if (!first[k])
      add_step(most, step_bin(a.form[k - 1].seconds, a.form[k].seconds),
               a.local[k].correction - a.local[k - 1].correction);
  }
}

/* The correction of half the work over that of the whole, less the least width: the largest among anchors. */
static void most_steps(fc_predictor *p, const double *correction, double least_width) {
  enum { TOGETHER = MANY / (STEPS + 1) };
  const fc_local *local = p->fit->local;
  double most[FC_STEP_BINS], largest = -(double)INFINITY;
  for (size_t i = 0; i < FC_STEP_BINS; i++) most[i] = largest;
  for (size_t i = 0; i < local->n; i += TOGETHER)
    add_steps(most, p, correction + i, local->op + i, local->n - i < TOGETHER ? local->n - i : TOGETHER);
  for (size_t i = 0; i < FC_STEP_BINS; i++) largest = fmax(largest, most[i]);
  for (size_t i = 0; i < FC_STEP_BINS; i++) {
    double step = isfinite(most[i]) ? most[i] : largest;
    p->most_step[i] = isfinite(step) ? exp(step - least_width + STEP_SLACK) : (double)INFINITY;
  }
}

/* What the lower bound of a shape may be over its form, by regime: from the anchors, which the surface hardly
 * exceeds. Without their shapes, one figure for all. */
static void most_of(fc_predictor *p) {
  const fc_local *local = p->fit->local;
  double least_width = (double)local->scale * (double)local->floor, correction[FC_LOCAL_ANCHORS_MAX];
  fc_local_at_anchors(correction, local);
  for (size_t i = 0; i < local->n; i++) {
    double factor = exp(correction[i] - least_width);
    p->most = fmax(p->most, factor);
    if (!local->op) continue;
    fc_geometry g;
    fc_op_geometry(&g, &local->op[i], p->units);
    double *most = &p->most_factor[fc_form_regime(p->fit->form, &p->fit->coef, &g)];
    *most = fmax(*most, factor);
  }
  for (int r = 0; r < FC_REGIME_COUNT; r++)
    if (!(p->most_factor[r] > 0)) p->most_factor[r] = p->most;
  for (size_t i = 0; i < FC_STEP_BINS; i++) p->most_step[i] = (double)INFINITY;
  if (local->op) most_steps(p, correction, least_width);
}

/* Whether half the work, which takes form_s by its form, is below the whole, whatever its correction is. */
static bool is_less(const fc_predictor *p, const fc_form_answer *half, double form_s, double seconds) {
  double most = fc_straight_smaller(p->most, p->most_factor[fc_form_largest(half->share)]);
  return !(half->seconds * most > seconds &&
           half->seconds * p->most_step[step_bin(form_s, half->seconds)] > form_s);
}

void fc_predictor_init(fc_predictor *out, const fc_kernel_fit *fit, const fc_device *device) {
  fc_meter_device of;
  fc_meter_device_init(&of, device, NULL);
  *out = (fc_predictor){
      .fit = fit, .device = device, .units = of.units, .per_flop_s = of.per_flop_s[fit->dtype]};
  out->per_byte_s = of.per_byte_s;
  out->per_scaleup_s = of.per_scaleup_s;
  out->per_scaleout_s = of.per_scaleout_s;
  if (fit->local) most_of(out);
}

/* Not below the lower bound of half the work: a drop within the interval may be real (another kernel takes
 * over), a larger one is noise in the points. */
static void never_less(double seconds[MANY], const fc_predictor *p, const answers *whole, const fc_op *op,
                       size_t n) {
  if (!p->fit->local) return; /* the forms are monotone */
  fc_op half[MANY];
  size_t of[MANY] = {0}, halves = 0, some = 0;
  answers a;
  for (size_t i = 0; i < n; i++) {
    half[halves] = op[i];
    of[halves] = i;
    halves += halve(&half[halves]);
  }
  forms(&a, p, half, halves);
  for (size_t i = 0; i < halves; i++) {
    if (is_less(p, &a.form[i], whole->form[of[i]].seconds, seconds[of[i]])) continue;
    half[some] = half[i];
    of[some] = of[i];
    a.g[some] = a.g[i];
    a.form[some] = a.form[i];
    a.seconds[some++] = a.form[i].seconds;
  }
  correct(&a, p, half, some);
  double factor[MANY] = {0};
  for (size_t i = 0; i < some; i++) factor[i] = -half_width(p, &a, i, outside_by(p, &a.g[i]));
  exp_all(factor, some);
  for (size_t i = 0; i < some; i++)
    seconds[of[i]] = fc_straight_larger(a.seconds[i] * factor[i], seconds[of[i]]);
}

static bool is_sound(const answers *a, size_t i) {
  return isfinite(a->form[i].seconds) && a->form[i].seconds >= 0 && a->g[i].flop >= 0 && a->g[i].bytes >= 0;
}

static void predict_some(fc_prediction *out, const fc_predictor *p, const fc_op *op, size_t n) {
  answers a;
  double seconds[MANY], outside[MANY], factor[MANY] = {0};
  forms(&a, p, op, n);
  correct(&a, p, op, n);
  for (size_t i = 0; i < n; i++) {
    seconds[i] = a.seconds[i];
    outside[i] = outside_by(p, &a.g[i]);
    factor[i] = half_width(p, &a, i, outside[i]);
  }
  never_less(seconds, p, &a, op, n);
  exp_all(factor, n);
  for (size_t i = 0; i < n; i++) {
    fc_prediction *to = &out[i];
    double floor = floor_s(p, &op[i], &a.g[i]);
    to->clamped = seconds[i] < floor;
    to->outside = outside[i] > 0;
    to->seconds = to->clamped ? floor : seconds[i];
    to->low_s = fc_straight_larger(to->seconds / factor[i], fc_straight_smaller(floor, to->seconds));
    to->high_s = to->seconds * factor[i];
    if (!(is_sound(&a, i) && isfinite(to->high_s))) to->seconds = (double)NAN;
  }
}

void fc_predict_all(fc_prediction *out, const fc_predictor *p, const fc_op *op, size_t n) {
  for (size_t i = 0; i < n; i += MANY) predict_some(out + i, p, op + i, n - i < MANY ? n - i : MANY);
}

fc_status fc_predict(fc_prediction *out, const fc_predictor *p, const fc_op *op) {
  predict_some(out, p, op, 1);
  return isnan(out->seconds) ? FC_E_DOMAIN : FC_OK;
}
