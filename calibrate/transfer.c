/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/calibrate/transfer.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <fleetcast/cost/local.h>
#include <fleetcast/cost/operator.h>

/* Error that a transfer adds, as a standard deviation of ln(time) common to all shapes: that between near
 * twins, and more for a datasheet farther off.
 * @source leave-one-system-out on five public tables (docs/calibrate.md#transfer): median errors of H100 and
 * H200, B200 and GB200 from each other 8 to 13 % on GEMM, attention and experts, 2 to 20 % on collectives; of
 * A100 from H100, 1.3 apart, 30 to 55 % */
static double transfer_log_sd(fc_form form, double distance) {
  double near = form == FC_FORM_COLLECTIVE ? 0.1 : 0.15, far = 0.35 * fmin(distance, 3);
  return sqrt(near * near + far * far);
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

static bool scale_coefficients(fc_kernel_fit *fit, const fc_device *from, const fc_device *to) {
  fc_coef *c = &fit->coef;
  if (fit->form != FC_FORM_COLLECTIVE)
    return scale(&c->flop_per_s, peak_of(from, fit->dtype), peak_of(to, fit->dtype)) &&
           scale(&c->bytes_per_s, from->memory_bytes_per_s, to->memory_bytes_per_s);
  return scale(&c->bytes_per_s, from->scaleup_bytes_per_s, to->scaleup_bytes_per_s) &&
         scale(&c->net_bytes_per_s, from->scaleout_bytes_per_s, to->scaleout_bytes_per_s);
}

/* The same anchors and weights; coordinates by the other device's compute units and the moved form. */
static fc_status move_local(fc_kernel_fit *out, const fc_local *local, const fc_device *to, fc_arena *arena) {
  if (!local || !local->op) {
    out->local = NULL;
    return FC_OK;
  }
  size_t lanes = fc_local_lane_floats(local->n);
  fc_local *moved = fc_arena_alloc(arena, sizeof *moved);
  float *x = fc_arena_array(arena, fc_local_x_floats(local->n, local->n_coordinates), sizeof *x);
  float *weight = fc_arena_array(arena, 2 * lanes, sizeof *weight);
  if (!moved || !x || !weight) return FC_E_NOMEM;
  *moved = *local;
  for (size_t i = 0; i < local->n; i++) {
    float at[FC_LOCAL_COORDINATES];
    (void)fc_local_coordinates(at, &local->op[i], units_of(to), out);
    fc_local_put(moved, x, weight, weight + lanes, i, at, (double)local->weight[i],
                 (double)local->scatter[i]);
  }
  moved->x = x;
  moved->weight = weight;
  moved->scatter = weight + lanes;
  out->local = moved;
  return FC_OK;
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
      hypot(fit->spread_systematic, transfer_log_sd(fit->form, fc_transfer_distance(from, to, fit->dtype)));
  moved.source = source_of(fit, from, arena);
  if (!moved.source) return FC_E_NOMEM;
  *out = moved;
  return FC_OK;
}
