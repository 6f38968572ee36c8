/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/cost/predict.h>

#include <math.h>

#include "meter.h"

/* --- the roofline of one call --- */

static double link_floor_s(const fc_predictor *p, const fc_geometry *g, bool reduced) {
  double least = reduced ? 0.5 : 1; /* as in operator.c: switches may reduce in flight */
  return fmax(least * g->wire_in * p->per_scaleup_s, least * g->wire_net * p->per_scaleout_s);
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
  return least * fmax(memory, compute);
}

/* --- half the work, for the law that twice the work never takes less --- */

/* The largest size up to half of it whose alignment is the same: other kernels serve other alignments, and
 * those may be slower.  0: none. */
static double aligned_half(double size) {
  enum { FULL = 16 };
  double unit = 1;
  while (unit < FULL && fmod(size, 2 * unit) == 0) unit *= 2;
  double half = floor(size / (2 * unit));
  if (unit < FULL && fmod(half, 2) == 0) half -= 1;
  return half * unit;
}

static bool halve(fc_op *op) {
  switch (op->id) {
  case FC_OP_MOE:
    if (op->tokens < 2) return false;
    op->tokens /= 2;
    op->m /= 2;
    op->groups = fmin(op->groups, fmax(1, op->m));
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

/* --- prediction --- */

typedef struct {
  double form_s, seconds;
  fc_geometry g;
  fc_local_answer local;
} answer;

static void form_only(answer *out, const fc_predictor *p, const fc_op *op) {
  fc_op_geometry(&out->g, op, p->units);
  out->form_s = out->seconds = fc_form_s(p->fit->form, &p->fit->coef, &out->g);
  out->local = (fc_local_answer){0};
}

static void correct(answer *a, const fc_predictor *p, const fc_op *op) {
  if (!p->fit->local) return;
  float x[FC_LOCAL_COORDINATES];
  (void)fc_local_coordinates(x, op, p->units, p->fit);
  fc_local_evaluate(&a->local, p->fit->local, x);
  a->seconds = a->form_s * exp(a->local.correction);
}

static double beyond(double value, double low, double high) {
  if (!(high > 0) || !(value > 0)) return 0;
  return value > high ? log(value / high) : low > 0 && value < low ? log(low / value) : 0;
}

static double outside_by(const fc_predictor *p, const answer *a) {
  return fmax(beyond(a->g.flop, p->fit->min_flop, p->fit->max_flop),
              beyond(a->g.bytes, p->fit->min_bytes, p->fit->max_bytes));
}

/* Half width of the 90 % interval of ln(time). */
static double half_width(const fc_predictor *p, const answer *a, double outside) {
  const fc_kernel_fit *fit = p->fit;
  const fc_local *local = fit->local;
  double own, extra = FC_RANGE_WIDENING * outside;
  if (local) {
    own = (double)local->scale * fmax((double)local->floor, a->local.scatter);
    double usual = (double)local->support, near = a->local.support < usual ? a->local.support / usual : 1;
    double open = ((double)(local->smooth * local->smooth) + (double)(local->rough * local->rough) +
                   (double)(local->own * local->own)) *
                  (1 - near * near);
    extra = sqrt(extra * extra + open);
  } else {
    double shape = fit->spread_regime[fc_form_regime(fit->form, &fit->coef, &a->g)];
    own = FC_Z90 * (shape > 0 ? shape : fit->spread_shape);
  }
  double common = FC_Z90 * fit->spread_systematic;
  extra *= FC_Z90;
  return sqrt(own * own + common * common + extra * extra);
}

/* What the lower bound of a shape may be over its form, by regime: from the anchors, which the surface hardly
 * exceeds. Without their shapes, one figure for all. */
static void most_of(fc_predictor *p) {
  const fc_local *local = p->fit->local;
  double least_width = (double)local->scale * (double)local->floor;
  for (size_t i = 0; i < local->n; i++) {
    double factor = exp(fc_local_at_anchor(local, i) - least_width);
    p->most = fmax(p->most, factor);
    if (!local->op) continue;
    fc_geometry g;
    fc_op_geometry(&g, &local->op[i], p->units);
    double *most = &p->most_factor[fc_form_regime(p->fit->form, &p->fit->coef, &g)];
    *most = fmax(*most, factor);
  }
  for (int r = 0; r < FC_REGIME_COUNT; r++)
    if (!(p->most_factor[r] > 0)) p->most_factor[r] = p->most;
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
static double never_less(const fc_predictor *p, const fc_op *op, double seconds) {
  if (!p->fit->local) return seconds; /* the forms are monotone */
  fc_op half = *op;
  answer a;
  if (!halve(&half)) return seconds;
  form_only(&a, p, &half);
  if (a.form_s * p->most > seconds && /* else it is below, whatever its correction is */
      a.form_s * p->most_factor[fc_form_regime(p->fit->form, &p->fit->coef, &a.g)] > seconds) {
    correct(&a, p, &half);
    seconds = fmax(seconds, a.seconds * exp(-half_width(p, &a, outside_by(p, &a))));
  }
  return seconds;
}

fc_status fc_predict(fc_prediction *out, const fc_predictor *p, const fc_op *op) {
  answer a;
  form_only(&a, p, op);
  if (!(isfinite(a.form_s) && a.form_s >= 0 && a.g.flop >= 0 && a.g.bytes >= 0)) return FC_E_DOMAIN;
  correct(&a, p, op);
  double seconds = never_less(p, op, a.seconds), floor = floor_s(p, op, &a.g);
  double outside = outside_by(p, &a);
  out->clamped = seconds < floor;
  out->outside = outside > 0;
  out->seconds = out->clamped ? floor : seconds;
  double factor = exp(half_width(p, &a, outside));
  out->low_s = fmax(fmin(floor, out->seconds), out->seconds / factor);
  out->high_s = out->seconds * factor;
  return isfinite(out->high_s) ? FC_OK : FC_E_DOMAIN;
}
