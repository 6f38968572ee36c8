/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/cost/operator.h>

#include <math.h>

#include <fleetcast/cost/engine.h>
#include <fleetcast/cost/train_step.h>
#include <string.h>

#include "meter.h"

const char *fc_op_text(fc_op_id id) {
#define FC_OP_TEXT(id, name, kernel, flop, bytes) name,
  static const char *const text[FC_OP_COUNT] = {FC_OP_MAP(FC_OP_TEXT)};
#undef FC_OP_TEXT
  return text[id];
}

fc_kernel fc_op_kernel(fc_op_id id) {
#define FC_OP_KERNEL(id, name, kernel, flop, bytes) FC_KERNEL_##kernel,
  static const fc_kernel of[FC_OP_COUNT] = {FC_OP_MAP(FC_OP_KERNEL)};
#undef FC_OP_KERNEL
  return of[id];
}

double fc_op_pairs(double q, double s, double window) {
  double before = s - q;
  if (!(window > 0) || s <= window) return q * before + 0.5 * q * q;
  if (before >= window) return q * window;
  double growing = window - before;
  return growing * before + 0.5 * growing * growing + (q - growing) * window;
}

/* Block scales of 8-bit operands: one fp32 for 128 elements. @source DeepGEMM, DeepSeek-V3 (arXiv:2412.19437)
 */
static inline double scales(double element_bytes) {
  return element_bytes == 1 ? 4.0 / 128 : 0;
}

/* The letters of FC_OP_MAP; `b` and `G` count as 1 when absent. */
#define FC_OP_LETTERS(o)                                                                                     \
  const double M = (o)->m, N = (o)->n, K = (o)->k, G = (o)->groups > 0 ? (o)->groups : 1;                    \
  const double E = (o)->input_bytes > 0 ? (o)->input_bytes : fc_dtype_size((o)->dtype);                      \
  const double W = (o)->weight_bytes > 0 ? (o)->weight_bytes : fc_dtype_size((o)->dtype);                    \
  const double top = (o)->top_k > 0 ? (o)->top_k : 1;                                                        \
  const double b = (o)->batch > 0 ? (o)->batch : 1, h = (o)->heads, g = (o)->kv_heads;                       \
  const double q = (o)->q, s = (o)->s, dk = (o)->dk, dv = (o)->dv, c = (o)->cache_bytes,                     \
               Z = (o)->payload_bytes;                                                                       \
  (void)M, (void)N, (void)K, (void)G, (void)E, (void)W, (void)top, (void)b, (void)h, (void)g;                \
  (void)q, (void)s, (void)dk, (void)dv, (void)c, (void)Z

double fc_op_flop(const fc_op *op) {
  FC_OP_LETTERS(op);
#define P fc_op_pairs(op->q, op->s, op->window)
  switch (op->id) {
#define FC_OP_FLOP(id, name, kernel, flop, bytes)                                                            \
  case FC_OP_##id: return flop;
    FC_OP_MAP(FC_OP_FLOP)
#undef FC_OP_FLOP
  case FC_OP_COUNT: break;
  }
#undef P
  return (double)NAN;
}

double fc_op_bytes(const fc_op *op) {
  FC_OP_LETTERS(op);
  switch (op->id) {
#define FC_OP_BYTES(id, name, kernel, flop, bytes)                                                           \
  case FC_OP_##id: return bytes;
    FC_OP_MAP(FC_OP_BYTES)
#undef FC_OP_BYTES
  case FC_OP_COUNT: break;
  }
  return (double)NAN;
}

/* Expected number of distinct boxes that k of n equally likely boxes' draws hit. */
static double distinct(double n, double k) {
  double miss = 1 - 1 / n, all = 1;
  for (int i = 0; i < (int)(k + 0.5); i++) all *= miss;
  return n * (1 - all);
}

/* C(n, k) as a double; small arguments. */
static double choose(double n, double k) {
  double c = 1;
  for (int i = 1; i <= (int)(k + 0.5); i++) c *= (n - k + i) / i;
  return k >= 0 && k <= n ? c : 0;
}

/* Expected number of `boxes` (domains or ranks, experts laid out in order) that a token's k experts lie in,
 * when it draws them from `top` of `groups` groups of experts.  Boxes within a group: those of the chosen
 * groups.  Groups within a box: j of a box's m groups are among the chosen ones, hypergeometric, and miss all
 * draws with probability (1 - j/top)^k. */
static double boxes_hit(double boxes, double k, double groups, double top) {
  if (!(groups > 0) || !(top > 0) || top >= groups) return distinct(boxes, k);
  double m = groups / boxes, miss = 0;
  if (m <= 1) return distinct(top / m, k);
  int most = (int)fmin(m, top);
  for (int j = 0; j <= most; j++)
    miss += choose(m, j) * choose(groups - m, top - j) / choose(groups, top) * pow(1 - j / top, k);
  return boxes * (1 - miss);
}

static void wire_expert(const fc_op *op, bool low_latency, double row_bytes, double *inside,
                        double *network) {
  double n = op->ranks, d = op->domain < n ? op->domain : n, tokens = op->m;
  double skew = op->imbalance > 1 ? op->imbalance : 1;
  double volume = tokens * row_bytes * skew;
  if (low_latency) { /* a copy per expert */
    *inside = volume * op->top_k * (d - 1) / n;
    *network = volume * op->top_k * (n - d) / n;
    return;
  }
  double nodes = n / d;
  *network = nodes > 1
                 ? volume * boxes_hit(nodes, op->top_k, op->route_groups, op->route_top) * (nodes - 1) / nodes
                 : 0;
  *inside = volume * boxes_hit(n, op->top_k, op->route_groups, op->route_top) * (d - 1) / d;
}

void fc_op_wire(const fc_op *op, double *inside, double *network) {
  double n = op->ranks, d = op->domain < n ? op->domain : n, z = op->payload_bytes, nodes = n / d;
  *inside = *network = 0;
  if (!(n > 1)) return;
  double e = fc_dtype_size(op->dtype);
  switch (op->id) {
  case FC_OP_ALL_REDUCE:
    *inside = 2 * z * (d - 1) / d;
    *network = 2 * z / d * (nodes - 1) / nodes;
    break;
  case FC_OP_ALL_GATHER:
  case FC_OP_REDUCE_SCATTER:
    *inside = z * (d - 1) / d;
    *network = z / d * (nodes - 1) / nodes;
    break;
  case FC_OP_ALL_TO_ALL:
    *inside = z * (d - 1) / n;
    *network = z * (n - d) / n;
    break;
  case FC_OP_SEND_RECV:
    if (d > 1)
      *inside = z;
    else
      *network = z;
    break;
  case FC_OP_DISPATCH: wire_expert(op, false, op->n * (e + scales(e)), inside, network); break;
  case FC_OP_EP_REDUCE: wire_expert(op, false, op->n * 2, inside, network); break;
  case FC_OP_DISPATCH_LL: wire_expert(op, true, op->n * (e + scales(e)), inside, network); break;
  case FC_OP_EP_REDUCE_LL: wire_expert(op, true, op->n * 2, inside, network); break;
  default: break;
  }
}

static inline bool is_collective(fc_op_id id) {
  return id >= FC_OP_ALL_REDUCE;
}

static inline bool on_tensor_cores(fc_op_id id) {
  switch (fc_op_kernel(id)) {
  case FC_KERNEL_MEMORY:
  case FC_KERNEL_GATHER: return false;
  default: return !is_collective(id);
  }
}

/* Compute is bound by the units in use, traffic by the device's bandwidth. */
static double roofline_s(const fc_op *op, const fc_meter_device *device, const fc_geometry *g) {
  if (is_collective(op->id)) {
    /* a switch that reduces in flight halves what a rank must send of an all-reduce (NVLink SHARP) */
    double least = op->id == FC_OP_ALL_REDUCE ? 0.5 : 1;
    double inside = least * g->wire_in * device->per_scaleup_s,
           outside = least * g->wire_net * device->per_scaleout_s;
    return inside > outside ? inside : outside;
  }
  double memory = g->bytes * device->per_byte_s;
  if (!on_tensor_cores(op->id)) return memory;
  double compute = g->flop * device->per_flop_s[op->dtype] * (device->units / g->units);
  return compute > memory ? compute : memory;
}

static void geometry_of(fc_geometry *g, const fc_op *op, double all_units, double units) {
  *g = (fc_geometry){.units = units, .all_units = all_units};
  if (is_collective(op->id)) {
    g->ranks = op->ranks;
    g->domain = op->domain;
    fc_op_wire(op, &g->wire_in, &g->wire_net);
    g->bytes = 2 * (g->wire_in > g->wire_net ? g->wire_in : g->wire_net);
    return;
  }
  g->flop = fc_op_flop(op);
  g->bytes = fc_op_bytes(op);
  g->groups = op->groups > 0 ? op->groups : 1;
  g->rows = op->m;
  g->n = op->n;
  g->k = op->k;
  g->ragged = op->ragged;
  g->inner = op->k;
  g->length = op->id == FC_OP_ATTENTION_D || op->id == FC_OP_MLA_D ? op->s : op->q;
}

void fc_op_geometry(fc_geometry *out, const fc_op *op, double all_units) {
  geometry_of(out, op, all_units, op->units > 0 ? op->units : all_units);
}

static double outside_by(double value, double low, double high) {
  if (!(high > 0) || !(value > 0)) return 0;
  if (value > high) return log(value / high);
  if (low > 0 && value < low) return log(low / value);
  return 0;
}

static void cost_of(fc_op_cost *out, const fc_op *op, const fc_fit_choice *choice,
                    const fc_meter_device *device, double units, bool corrected) {
  const fc_kernel_fit *fit = choice->fit;
  fc_geometry g;
  geometry_of(&g, op, device->units, units);
  double t = fc_form_s(fit->form, &fit->coef, &g);
  if (corrected && fit->local) {
    float x[FC_LOCAL_COORDINATES];
    fc_local_answer answer;
    (void)fc_local_coordinates(x, op, device->units, fit);
    fc_local_evaluate(&answer, fit->local, x);
    t *= exp(answer.correction);
  }
  double floor_s = roofline_s(op, device, &g);
  out->clamped = t < floor_s;
  if (out->clamped) t = floor_s;
  out->seconds = t;
  out->flop = g.flop;
  out->bytes = g.bytes;
  double dynamic_j = g.bytes * device->per_byte_s * device->memory_w;
  if (on_tensor_cores(op->id)) dynamic_j += g.flop * device->per_flop_s[op->dtype] * device->compute_w;
  double most_j = device->dynamic_w * t;
  out->joules = (dynamic_j < most_j ? dynamic_j : most_j) + device->idle_w * t;
  double by_flop = outside_by(g.flop, fit->min_flop, fit->max_flop);
  double by_bytes = outside_by(g.bytes, fit->min_bytes, fit->max_bytes);
  double beyond = by_flop > by_bytes ? by_flop : by_bytes;
  out->outside = beyond > 0;
  out->substituted = choice->substituted;
  out->log_sd_systematic = fit->spread_systematic;
  out->log_sd_shape = fit->spread_shape;
  if (beyond > 0 || choice->substituted) {
    double extra = FC_RANGE_WIDENING * beyond + (choice->substituted ? FC_SUBSTITUTE_LOG_SD : 0);
    out->log_sd_shape = sqrt(fit->spread_shape * fit->spread_shape + extra * extra);
  }
}

double fc_op_roofline_s(const fc_op *op, const fc_device *device) {
  fc_meter_device of;
  fc_meter_device_init(&of, device, NULL);
  fc_geometry g;
  geometry_of(&g, op, of.units, op->units > 0 ? op->units : of.units);
  return roofline_s(op, &of, &g);
}

fc_status fc_op_evaluate(fc_op_cost *out, const fc_op *op, const fc_profile *profile) {
  fc_meter meter;
  fc_meter_init(&meter, profile);
  const fc_fit_choice *choice = fc_meter_choice(&meter, fc_op_kernel(op->id), op->dtype);
  if (!choice->fit) return FC_E_DOMAIN;
  fc_op_cost cost;
  cost_of(&cost, op, choice, &meter.device, op->units > 0 ? op->units : meter.device.units, false);
  if (!(isfinite(cost.seconds) && cost.seconds >= 0 && cost.flop >= 0 && cost.bytes >= 0)) return FC_E_DOMAIN;
  *out = cost;
  return FC_OK;
}

/* The fastest of an engine's candidates, which lie together. */
static void cost_of_engine(fc_op_cost *out, const fc_op *op, const fc_fit_choice *choice,
                           const fc_meter *meter, double units) {
  const fc_kernel_fit *end = meter->profile->kernels + meter->profile->n_kernels, *first = choice->fit;
  cost_of(out, op, choice, &meter->device, units, true);
  for (const fc_kernel_fit *fit = first + 1;
       fit < end && fit->kernel == first->kernel && fit->dtype == first->dtype; fit++) {
    fc_op_cost cost;
    cost_of(&cost, op, &(fc_fit_choice){fit, choice->substituted}, &meter->device, units, true);
    if (cost.seconds < out->seconds) *out = cost;
  }
}

/* Engines reduce small messages in one step, every rank reading all others' (FC_ONE_SHOT_*), and leave the
 * rest to NCCL: the faster of the two. */
static void one_shot(fc_op_cost *cost, const fc_op *op, const fc_meter *meter) {
  if (op->id != FC_OP_ALL_REDUCE || op->ranks > op->domain) return;
  double read_s = (op->ranks - 1) * op->payload_bytes * meter->device.per_scaleup_s / FC_ONE_SHOT_SHARE;
  cost->seconds = fmin(cost->seconds, FC_ONE_SHOT_S + read_s);
}

/* In-situ over isolated time of an operator. */
static double scale_of(const fc_meter *meter, fc_op_id id, const fc_kernel_fit *fit, fc_part part) {
  const fc_profile *profile = meter->profile;
  if (part == FC_PART_EP) return meter->contention;
  if (profile->engine)
    return part == FC_PART_GLUE ? profile->engine->glue
           : part == FC_PART_TP ? profile->engine->collective
                                : 1;
  if (!meter->training) return 1;
  if (on_tensor_cores(id)) return fit->sustained > 0 ? fit->sustained : fmax(1, profile->sustained);
  return part == FC_PART_GLUE ? FC_TRAIN_GLUE : 1;
}

/* Seconds of one call in situ; negative: the profile has no such kernel nor a sibling. */
static double time_of(fc_op_cost *cost, fc_meter *meter, fc_part part, const fc_op *op) {
  const fc_fit_choice *choice = fc_meter_choice(meter, fc_op_kernel(op->id), op->dtype);
  if (!choice->fit) return -1;
  double units = op->units > 0 ? op->units : meter->units;
  if (meter->profile->engine) {
    cost_of_engine(cost, op, choice, meter, units);
    one_shot(cost, op, meter);
  } else {
    cost_of(cost, op, choice, &meter->device, units, false);
  }
  return cost->seconds * scale_of(meter, op->id, choice->fit, part);
}

double fc_meter_seconds(fc_meter *meter, fc_part part, const fc_op *op) {
  fc_op_cost cost;
  double t = time_of(&cost, meter, part, op);
  return t >= 0 ? t : (double)INFINITY;
}

double fc_meter_add(fc_meter *meter, fc_pass pass, fc_part part, const fc_op *op, double count) {
  fc_kernel kernel = fc_op_kernel(op->id);
  fc_op_cost cost = {0};
  double t = time_of(&cost, meter, part, op);
  if (t < 0) {
    meter->missing = true;
    meter->missing_kernel = kernel;
    return 0;
  }
  meter->bill->s[pass][part] += count * t;
  meter->bill->s[pass][FC_PART_LAUNCH] += count * meter->profile->launch_s;
  meter->bill->calls[pass] += count;
  double calls = count * meter->weight;
  meter->flop += calls * cost.flop;
  meter->bytes += calls * cost.bytes;
  meter->dynamic_j += calls * (cost.joules - meter->device.idle_w * cost.seconds);
  meter->seconds += calls * t;
  meter->systematic[kernel] += calls * t * cost.log_sd_systematic;
  double shape = calls * t * cost.log_sd_shape;
  meter->shape_variance += shape * shape;
  meter->clamped += cost.clamped;
  meter->outside += cost.outside;
  meter->substituted += cost.substituted;
  return t;
}
