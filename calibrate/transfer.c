/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/calibrate/transfer.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <fleetcast/cost/local.h>
#include <fleetcast/cost/operator.h>

#include "krige.h"

/* Error that a transfer adds, as a standard deviation of ln(time) common to all shapes: that between near
 * twins, and more for a datasheet farther off.
 * @source leave-one-system-out on five public tables (docs/calibrate.md#transfer): median errors of H100 and
 * H200, B200 and GB200 from each other 3 to 8 %, nine in ten within 18 %; of A100 from H100, 1.3 apart, 5 to
 * 12 % where the library runs the same kind of kernel, 18 to 85 % where it runs another */
static double transfer_log_sd(double distance) {
  return hypot(0.1, 0.35 * fmin(distance, 3));
}

/* A format without a peak computes as the next wider one: as the simulator has it. */
static double peak_of(const fc_device *device, fc_dtype dtype) {
  static const fc_dtype wider[FC_DTYPE_COUNT] = {[FC_DTYPE_FP32] = FC_DTYPE_FP32,
                                                 [FC_DTYPE_BF16] = FC_DTYPE_FP32,
                                                 [FC_DTYPE_FP8] = FC_DTYPE_BF16,
                                                 [FC_DTYPE_FP4] = FC_DTYPE_FP8,
                                                 [FC_DTYPE_INT8] = FC_DTYPE_BF16};
  while (!(device->peak_flop_per_s[dtype] > 0) && wider[dtype] != dtype) dtype = wider[dtype];
  return device->peak_flop_per_s[dtype];
}

static double units_of(const fc_device *device) {
  return device->compute_units > 0 ? (double)device->compute_units : 1;
}

static double square_of_log(double from, double to) {
  if (!(from > 0 && to > 0)) return from == to ? 0 : (double)INFINITY;
  double d = log(to / from);
  return d * d;
}

double fc_transfer_distance(const fc_device *from, const fc_device *to, fc_dtype dtype) {
  return sqrt(square_of_log(peak_of(from, dtype), peak_of(to, dtype)) +
              square_of_log(from->memory_bytes_per_s, to->memory_bytes_per_s) +
              square_of_log(units_of(from), units_of(to)));
}

/* The other device's value of a rate that the kernel uses; false: one of them has no such thing. */
static bool scale(double *rate, double from, double to) {
  if (!(*rate > 0)) return true;
  if (!(from > 0 && to > 0)) return false;
  *rate *= to / from;
  return true;
}

/* Launches, prologues, waves and hops are instructions: they last as many clocks. */
static void scale_fixed_times(fc_coef *c, const fc_device *from, const fc_device *to) {
  if (!(from->clock_hz > 0 && to->clock_hz > 0)) return;
  double longer = from->clock_hz / to->clock_hz;
  c->t0_s *= longer;
  c->tile_s *= longer;
  c->hop_s *= longer;
}

static bool scale_coefficients(fc_kernel_fit *fit, const fc_device *from, const fc_device *to) {
  fc_coef *c = &fit->coef;
  scale_fixed_times(c, from, to);
  if (fit->form != FC_FORM_COLLECTIVE)
    return scale(&c->flop_per_s, peak_of(from, fit->dtype), peak_of(to, fit->dtype)) &&
           scale(&c->bytes_per_s, from->memory_bytes_per_s, to->memory_bytes_per_s);
  return scale(&c->bytes_per_s, from->scaleup_bytes_per_s, to->scaleup_bytes_per_s) &&
         scale(&c->net_bytes_per_s, from->scaleout_bytes_per_s, to->scaleout_bytes_per_s);
}

/* What the moved correction is solved with.  The anchors' values are known to what the source's fit left
 * open, and a near twin's kernel choices differ by more. @source noise of public operator tables, as in
 * krige.c */
static const double MOVED_NOISE = 0.02;

/* Weights that give the anchors, at their coordinates on the other device, the corrections they had: the old
 * weights belong to the old coordinates, and nearly cancel. */
static fc_status solve_again(double *weight, const fc_local *local, const float *x, fc_arena *arena) {
  size_t n = local->n, d = local->n_coordinates;
  double *y = fc_arena_array(arena, 4 * n + 1, sizeof *y);
  if (!y) return FC_E_NOMEM;
  double *fixed = y + n, *loo = fixed + n, *factor = loo + n;
  for (size_t i = 0; i < n; i++) y[i] = fc_local_at_anchor(local, i), fixed[i] = 0;
  fc_kernel_function k = {.d = d, .noise = MOVED_NOISE * MOVED_NOISE};
  k.smooth = (double)(local->smooth * local->smooth);
  k.rough = (double)(local->rough * local->rough);
  k.own = (double)(local->own * local->own);
  for (size_t j = 0; j < d; j++) {
    k.length[j] = (double)local->length[j];
    k.rough_length[j] = (double)local->rough_length[j];
  }
  fc_krige_points points = {.n = n, .d = d, .x = x, .y = y, .fixed = fixed};
  return fc_krige_solve(weight, loo, factor, &k, &points, NULL, n);
}

/* Coordinates of the anchors by the other device's compute units and the moved form, then weights. */
static fc_status move_anchors(fc_local *moved, const fc_local *local, const fc_kernel_fit *fit, double units,
                              fc_arena *arena) {
  size_t n = local->n, d = local->n_coordinates, lanes = fc_local_lane_floats(n);
  float *x = fc_arena_array(arena, fc_local_x_floats(n, d) + 1, sizeof *x);
  float *lane = fc_arena_array(arena, 2 * lanes, sizeof *lane);
  float(*at)[FC_LOCAL_COORDINATES] = fc_arena_array(arena, n + 1, sizeof *at);
  float *varying = fc_arena_array(arena, n * d + 1, sizeof *varying);
  double *weight = fc_arena_array(arena, n + 1, sizeof *weight);
  if (!x || !lane || !at || !varying || !weight) return FC_E_NOMEM;
  for (size_t i = 0; i < n; i++) {
    (void)fc_local_coordinates(at[i], &local->op[i], units, fit);
    for (size_t j = 0; j < d; j++) varying[i * d + j] = at[i][local->of[j]];
  }
  fc_status status = solve_again(weight, local, varying, arena);
  if (status) return status;
  for (size_t i = 0; i < n; i++)
    fc_local_put(moved, x, lane, lane + lanes, i, at[i], weight[i], (double)local->scatter[i]);
  moved->x = x;
  moved->weight = lane;
  moved->scatter = lane + lanes;
  return FC_OK;
}

/* The same anchors with the same corrections.  Singular: the form answers alone. */
static fc_status move_local(fc_kernel_fit *out, const fc_local *local, const fc_device *to, fc_arena *arena) {
  out->local = NULL;
  if (!local || !local->op) return FC_OK;
  fc_local *moved = fc_arena_alloc(arena, sizeof *moved);
  if (!moved) return FC_E_NOMEM;
  *moved = *local;
  fc_status status = move_anchors(moved, local, out, units_of(to), arena);
  if (!status) out->local = moved;
  return status == FC_E_DOMAIN ? FC_OK : status;
}

static const char *source_of(const fc_kernel_fit *fit, const fc_device *from, fc_arena *arena) {
  const char *own = fit->source ? fit->source : "";
  size_t room = strlen(own) + strlen(from->name) + 64;
  char *text = fc_arena_alloc(arena, room);
  if (text)
    (void)snprintf(text, room, "transferred from %s by datasheet ratios%s%s", from->name,
                   *own ? "; there: " : "", own);
  return text;
}

fc_status fc_transfer(fc_kernel_fit *out, const fc_kernel_fit *fit, const fc_device *from,
                      const fc_device *to, fc_arena *arena) {
  fc_kernel_fit moved = *fit;
  if (!scale_coefficients(&moved, from, to)) return FC_E_DOMAIN;
  fc_status status = move_local(&moved, fit->local, to, arena);
  if (status) return status;
  moved.provenance = FC_PROVENANCE_TRANSFERRED;
  moved.spread_systematic =
      hypot(fit->spread_systematic, transfer_log_sd(fc_transfer_distance(from, to, fit->dtype)));
  moved.source = source_of(fit, from, arena);
  if (!moved.source) return FC_E_NOMEM;
  *out = moved;
  return FC_OK;
}
