/* SPDX-License-Identifier: Apache-2.0 */
#include "load_parts.h"

#include <math.h>

/* --- random numbers --- */

uint64_t fc_load_entity(const fc_load_def *def, fc_draw draw) {
  /* the highest bit is no other component's: entities are small numbers there */
  return UINT64_C(1) << 63 | def->entity << 8 | (uint64_t)draw;
}

fc_rng fc_load_rng(const fc_load_def *def, fc_draw draw, uint64_t sample) {
  fc_stream component = draw == FC_DRAW_GAP ? FC_STREAM_ARRIVAL : FC_STREAM_SIZE;
  return fc_rng_keyed(def->seed, component, fc_load_entity(def, draw), sample);
}

static const double SQRT_HALF = 0.70710678118654752;

fc_sampler fc_sampler_of(const fc_dist *dist) {
  fc_sampler s = {.dist = *dist, .low = 0, .high = 1, .z_low = -HUGE_VAL, .z_high = HUGE_VAL};
  if (dist->kind != FC_DIST_LOGNORMAL || !(dist->b > 0) || !(dist->max > 0)) return s;
  if (dist->min > 0) s.z_low = log(dist->min / dist->a) / dist->b;
  s.z_high = log(dist->max / dist->a) / dist->b;
  s.low = 0.5 * erfc(-s.z_low * SQRT_HALF);
  s.high = 0.5 * erfc(-s.z_high * SQRT_HALF);
  s.quick = s.low < 0.999 && s.high > 0.001; /* elsewhere probabilities cancel */
  return s;
}

double fc_sampler_at(const fc_sampler *s, double u) {
  const fc_dist *d = &s->dist;
  if (d->kind == FC_DIST_POINT) return d->a;
  if (!s->quick) return fc_dist_quantile(d, u);
  double p = s->low + u * (s->high - s->low);
  double z = p < 1 ? fc_normal_quantile(p) : s->z_high; /* p >= u 0.001 > 0 */
  return d->a * exp(d->b * fmin(fmax(z, s->z_low), s->z_high));
}

bool fc_sampler_is_point(const fc_sampler *s) {
  return s->dist.kind == FC_DIST_POINT;
}

fc_time fc_sampler_time(const fc_sampler *s, double u) {
  double seconds = fc_sampler_at(s, u);
  return seconds > 0 ? fc_time_from_s(seconds) : 0;
}

/* --- gaps of mean 1 --- */

static double weibull_cv(double shape) {
  double mean = lgamma(1 + 1 / shape);
  return sqrt(expm1(lgamma(1 + 2 / shape) - 2 * mean));
}

double fc_weibull_shape(double cv) {
  double low = 0.05, high = 50; /* cv of 3e11 and of 0.025 */
  for (int i = 0; i < 100; i++) {
    double middle = sqrt(low * high);
    if (weibull_cv(middle) > cv)
      low = middle;
    else
      high = middle;
  }
  return sqrt(low * high);
}

/* Marsaglia & Tsang, "A simple method for generating gamma variables", ACM TOMS 26(3), 2000; below shape 1
 * by their power of a uniform. */
static double gamma_draw(fc_rng *rng, double shape) {
  double boost = 1, d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3, c = 1 / sqrt(9 * d);
  if (shape < 1) boost = pow(fc_rng_uniform(rng), 1 / shape);
  for (;;) {
    double x = fc_rng_normal(rng), v = 1 + c * x;
    if (v <= 0) continue;
    v = v * v * v;
    double u = fc_rng_uniform(rng);
    if (u < 1 - 0.0331 * x * x * x * x || log(u) < 0.5 * x * x + d * (1 - v + log(v))) return d * v * boost;
  }
}

static double gap(fc_pacer *p, uint64_t e) {
  switch (p->def->arrive) {
  case FC_ARRIVE_POISSON: return -log(fc_rng_uniform(&p->gaps));
  case FC_ARRIVE_WEIBULL: return p->unit * pow(-log(fc_rng_uniform(&p->gaps)), p->shape);
  case FC_ARRIVE_GAMMA: {
    fc_rng rng = fc_load_rng(p->def, FC_DRAW_GAP, e);
    return p->unit * gamma_draw(&rng, p->shape);
  }
  case FC_ARRIVE_EVENLY:
  case FC_ARRIVE_AT_ONCE:
  case FC_ARRIVE_TRACE: break;
  }
  return 1;
}

/* --- time --- */

enum { SILENCE = 10000000 /* epochs without an arrival: the end */ };

void fc_pacer_init(fc_pacer *p, const fc_load_def *def, size_t first, size_t n) {
  *p = (fc_pacer){.def = def, .gaps = fc_load_rng(def, FC_DRAW_GAP, 0), .first = first, .n = n};
  if (def->arrive == FC_ARRIVE_WEIBULL) {
    double shape = fc_weibull_shape(def->arrival_cv);
    p->shape = 1 / shape;
    p->unit = exp(-lgamma(1 + 1 / shape));
  }
  if (def->arrive == FC_ARRIVE_GAMMA) {
    p->shape = 1 / (def->arrival_cv * def->arrival_cv);
    p->unit = 1 / p->shape;
  }
  if (def->demand) p->demand = fc_demand_start(def->demand, def->seed, fc_load_entity(def, FC_DRAW_GAP));
  p->factor = 1 / (def->rate_per_s * def->rate_scale);
  p->end = def->duration_s > 0 ? fc_time_from_s(def->duration_s) : FC_TIME_MAX / 2;
  if (def->arrive != FC_ARRIVE_TRACE) return;
  p->trace_from = fc_time_from_s(def->from_s);
  fc_time span = fc_trace_at(def->trace, first + n - 1).arrival - fc_trace_at(def->trace, first).arrival;
  if (isfinite(def->until_s))
    p->period = fc_time_from_s(def->until_s) - p->trace_from;
  else if (n > 1) /* to where the next would have come: after a mean gap */
    p->period = span + span / (fc_time)(n - 1);
  double rate = p->period > 0 ? (double)n / fc_time_to_s(p->period) : 0;
  p->factor = (def->rate_per_s > 0 && rate > 0 ? rate / def->rate_per_s : 1) / def->rate_scale;
}

/* `seconds` after the last, without losing parts of a nanosecond. */
static bool step(fc_pacer *p, double seconds, fc_time *at) {
  double ns = seconds * 1e9 + p->carry;
  if (!(ns < (double)(FC_TIME_MAX / 2 - p->from))) return false;
  fc_time whole = (fc_time)(ns + 0.5);
  p->carry = ns - (double)whole;
  p->from += whole;
  *at = p->from;
  return true;
}

/* The gap is spent in epochs of constant rate. */
static bool step_stretched(fc_pacer *p, double owed, fc_time *at) {
  fc_time length = fc_time_from_s(p->def->epoch_s);
  for (int epochs = 0; epochs < SILENCE && p->from < p->end; epochs++) {
    double room = p->epoch_rate * fc_time_to_s(p->epoch_end - p->from);
    if (room > owed) {
      if (!step(p, owed / p->epoch_rate, at)) return false;
      if (p->from > p->epoch_end) *at = p->from = p->epoch_end; /* by rounding */
      return true;
    }
    owed -= room;
    p->from = p->epoch_end;
    p->carry = 0;
    fc_time start = p->def->demand_start + p->from;
    p->epoch_end = p->from + length;
    p->epoch_rate = fmax(0, fc_demand_next(&p->demand, start, start + length).actual) * p->def->rate_scale;
  }
  return false;
}

static bool recorded(const fc_pacer *p, uint64_t e, fc_time *at) {
  uint64_t lap = e / p->n;
  if (lap > 0 && !p->def->repeat) return false;
  fc_time arrival = fc_trace_at(p->def->trace, p->first + e % p->n).arrival - p->trace_from;
  double ns = p->factor * ((double)arrival + (double)lap * (double)p->period);
  if (!(ns < (double)(FC_TIME_MAX / 2))) return false;
  *at = p->factor == 1 ? arrival + (fc_time)lap * p->period : (fc_time)llround(ns);
  return true;
}

bool fc_pacer_next(fc_pacer *p, uint64_t e, fc_time *at) {
  const fc_load_def *def = p->def;
  if (def->arrive == FC_ARRIVE_TRACE) return recorded(p, e, at);
  if (def->trace && def->in_order && !def->repeat && e >= p->n) return false;
  if (def->arrive == FC_ARRIVE_AT_ONCE) {
    *at = 0;
    return true;
  }
  return def->demand ? step_stretched(p, gap(p, e), at) : step(p, p->factor * gap(p, e), at);
}
