/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/workload/stream.h>

#include <math.h>

enum { QUADRATURE_CELLS = 65536 };

double fc_series_bound(const fc_series *series, fc_time from, fc_time to) {
  double bound = fmax(fc_series_at(series, from), fc_series_at(series, to));
  size_t low = 0, high = series->n;
  while (low < high) { /* first point at or after `from` */
    size_t mid = low + (high - low) / 2;
    if (series->point[mid].at < from)
      low = mid + 1;
    else
      high = mid;
  }
  for (size_t i = low; i < series->n && series->point[i].at <= to; i++)
    bound = fmax(bound, series->point[i].value);
  return bound;
}

fc_arrivals fc_arrivals_start(const fc_series *rate, double scale, fc_time start, uint64_t seed,
                              uint64_t entity) {
  fc_arrivals a = {.rate = rate,
                   .scale = scale,
                   .rng = fc_rng_keyed(seed, FC_STREAM_ARRIVAL, entity, 0),
                   .now = start,
                   .window_end = start};
  a.owed = fc_rng_exponential(&a.rng);
  return a;
}

bool fc_arrivals_next(fc_arrivals *a, fc_time end, fc_time *at) {
  while (a->now < end) {
    if (a->now >= a->window_end) {
      a->window_end = a->now < FC_TIME_MAX - FC_DAY ? a->now + FC_DAY : FC_TIME_MAX;
      a->bound = fc_series_bound(a->rate, a->now, a->window_end) * a->scale;
    }
    double room = a->bound * fc_time_to_s(a->window_end - a->now);
    if (!(room > a->owed)) { /* no candidate in this window */
      a->owed -= room;
      a->now = a->window_end;
      continue;
    }
    fc_time step = fc_time_from_s(a->owed / a->bound);
    a->now = step < a->window_end - a->now ? a->now + step : a->window_end;
    a->owed = fc_rng_exponential(&a->rng);
    double keep = fc_rng_uniform(&a->rng);
    if (a->now >= end) break;
    if (keep * a->bound <= fc_series_at(a->rate, a->now) * a->scale) {
      *at = a->now;
      return true;
    }
  }
  return false;
}

fc_marks fc_marks_draw(const fc_dist *work, const fc_dist *devices, uint64_t seed, uint64_t entity,
                       uint64_t number) {
  fc_rng rng = fc_rng_keyed(seed, FC_STREAM_SIZE, entity, number);
  fc_marks m;
  m.work = fc_dist_quantile(work, fc_rng_uniform(&rng));
  m.devices = fc_dist_quantile(devices, fc_rng_uniform(&rng));
  return m;
}

double fc_dist_truncated_mean(const fc_dist *dist) {
  if (dist->kind == FC_DIST_POINT) return fc_dist_quantile(dist, 0.5);
  if (isinf(dist->min) && isinf(dist->max)) return fc_dist_mean(dist);
  double sum = 0;
  for (int i = 0; i < QUADRATURE_CELLS; i++) sum += fc_dist_quantile(dist, (i + 0.5) / QUADRATURE_CELLS);
  return sum / QUADRATURE_CELLS;
}
