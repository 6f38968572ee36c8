/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/workload/demand.h>

#include <math.h>
#include <stdbool.h>

#include <fleetcast/base/assert.h>

static fc_time later(fc_time a, fc_time b) {
  return a > b ? a : b;
}

static fc_time earlier(fc_time a, fc_time b) {
  return a < b ? a : b;
}

/* First instant after `from` at which one of the factors changes, at most `to`. */
static fc_time next_change(const fc_factor *factors, size_t n, fc_time from, fc_time to) {
  fc_time next = to;
  for (size_t i = 0; i < n; i++) {
    if (factors[i].from > from) next = earlier(next, factors[i].from);
    if (factors[i].until > from) next = earlier(next, factors[i].until);
  }
  return next;
}

double fc_factors_mean(const fc_factor *factors, size_t n, fc_time from, fc_time to) {
  FC_ASSERT(from < to);
  if (n == 0) return 1;
  double sum = 0;
  for (fc_time t = from; t < to;) {
    fc_time next = later(next_change(factors, n, t, to), t + 1);
    double product = 1;
    for (size_t i = 0; i < n; i++)
      if (factors[i].from <= t && t < factors[i].until) product *= factors[i].factor;
    if (t == from && next == to) return product;
    sum += product * (double)(next - t);
    t = next;
  }
  return sum / (double)(to - from);
}

/* Past the last point of a series that holds, the value itself: no rounding, no quadrature. */
static double level_mean(const fc_series *rate, fc_time from, fc_time to) {
  if (rate->n > 0 && rate->growth == FC_GROWTH_HOLD && from >= rate->point[rate->n - 1].at)
    return rate->point[rate->n - 1].value;
  return fc_series_mean(rate, from, to);
}

fc_demand fc_demand_start(const fc_demand_def *def, uint64_t seed, uint64_t entity) {
  fc_demand d = {.def = *def, .rng = fc_rng_keyed(seed, FC_STREAM_DEMAND, entity, 0)};
  if (def->burst_sigma > 0) d.x = fc_rng_normal(&d.rng);
  return d;
}

fc_demand_epoch fc_demand_next(fc_demand *d, fc_time from, fc_time to) {
  const fc_demand_def *def = &d->def;
  fc_demand_epoch e;
  e.level = level_mean(def->rate, from, to) * fc_factors_mean(def->factors, def->n_factors, from, to);
  e.forecast = def->shape ? e.level * fc_shape_mean(def->shape, from, to) : e.level;
  e.actual = e.forecast;
  if (!(def->burst_sigma > 0)) return e;
  double sigma = def->burst_sigma;
  double rho = def->burst_s > 0 ? exp(-fc_time_to_s(to - from) / def->burst_s) : 0;
  /* E[exp(sigma x' - sigma^2/2) | x] of x' = rho x + sqrt(1 - rho^2) z */
  e.forecast *= exp(sigma * rho * d->x - 0.5 * sigma * sigma * rho * rho);
  d->x = rho * d->x + sqrt(1 - rho * rho) * fc_rng_normal(&d->rng);
  e.actual *= exp(sigma * d->x - 0.5 * sigma * sigma);
  return e;
}
