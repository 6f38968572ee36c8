/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/series.h>

#include <math.h>
#include <stdbool.h>

#include <fleetcast/base/assert.h>

/* Years from a to b; the difference as unsigned, for it may pass INT64_MAX. */
static double years_between(fc_time a, fc_time b) {
  return (double)((uint64_t)b - (uint64_t)a) / 1e9 / FC_YEAR_S;
}

/* Index of the last point at or before t.  @pre t >= point[0].at */
static size_t last_before(const fc_series *s, fc_time t) {
  size_t low = 0, high = s->n;
  while (high - low > 1) {
    size_t middle = low + (high - low) / 2;
    if (s->point[middle].at <= t)
      low = middle;
    else
      high = middle;
  }
  return low;
}

/* --- growth past the last point, of value v0 ---
 * Logistic and Gompertz approach the ceiling C at a rate k per year that is chosen so that the growth of the
 * first instant, v'/v = ln(factor), is the one asked for:
 *
 *     logistic   v = C / (1 + (C / v0 - 1) e^(-k t)),   k = ln(factor) / (1 - v0 / C)
 *     Gompertz   v = C e^(ln(v0 / C) e^(-k t)),         k = ln(factor) / ln(C / v0)
 */
static double approach_rate(const fc_series *s, double v0) {
  double gap = s->growth == FC_GROWTH_LOGISTIC ? 1 - v0 / s->ceiling : log(s->ceiling / v0);
  return gap != 0 ? log(s->factor_per_year) / gap : 0;
}

static double grown(const fc_series *s, double v0, double years) {
  switch (s->growth) {
  case FC_GROWTH_HOLD: break;
  case FC_GROWTH_EXPONENTIAL: return v0 * pow(s->factor_per_year, years);
  /* the formulas above, rearranged so that v(0) is v0 to the last bit */
  case FC_GROWTH_LOGISTIC: {
    double kt = approach_rate(s, v0) * years;
    return v0 / (exp(-kt) - v0 / s->ceiling * expm1(-kt));
  }
  case FC_GROWTH_GOMPERTZ: return v0 * exp(log(v0 / s->ceiling) * expm1(-approach_rate(s, v0) * years));
  }
  return v0;
}

/* Between two points, at fraction w of the way. */
static double between(const fc_series *s, double v0, double v1, double w) {
  if (s->interp == FC_SERIES_STEP) return v0;
  if (s->interp == FC_SERIES_LINEAR) return v0 + w * (v1 - v0);
  return v0 * pow(v1 / v0, w);
}

double fc_series_at(const fc_series *s, fc_time t) {
  if (s->n == 0) return 0;
  if (t <= s->point[0].at) return s->point[0].value;
  size_t i = last_before(s, t);
  const fc_series_point *p = &s->point[i];
  if (i + 1 == s->n) return grown(s, p->value, years_between(p->at, t));
  return between(s, p[0].value, p[1].value, years_between(p[0].at, t) / years_between(p[0].at, p[1].at));
}

/* --- integrals, in value x years --- */

/* (e^x - 1) / x */
static double expm1_over(double x) {
  return x != 0 ? expm1(x) / x : 1;
}

/* Simpson over [from, to] years past the last point.  Panels of 1/64 of the time in which the value or its
 * growth changes by a factor e: the error, (1/64)^4 / 2880 of the fourth derivative in those units, stays
 * below 1e-9 of the value.  Beyond 64 such times the value is its ceiling to the last bit. */
static double integral_approach(const fc_series *s, double v0, double from, double to) {
  double rate = approach_rate(s, v0), settled = rate > 0 ? 64 / rate : 0, tail = 0;
  if (to > settled) {
    double start = fmax(from, settled);
    tail = (to - start) * grown(s, v0, start);
    to = start;
  }
  if (from >= to) return tail;
  double width = to - from, changes = width * (rate + fabs(log(s->factor_per_year))), sum = 0;
  uint64_t panels = 1 + (uint64_t)(changes * 64);
  double h = width / (double)panels;
  for (uint64_t i = 0; i < panels; i++) {
    double a = from + (double)i * h;
    sum += grown(s, v0, a) + 4 * grown(s, v0, a + h / 2) + grown(s, v0, a + h);
  }
  return tail + sum * h / 6;
}

static double integral_grown(const fc_series *s, double v0, double from, double to) {
  switch (s->growth) {
  case FC_GROWTH_HOLD: break;
  case FC_GROWTH_EXPONENTIAL: {
    double g = log(s->factor_per_year) * (to - from);
    return grown(s, v0, from) * (to - from) * expm1_over(g);
  }
  case FC_GROWTH_LOGISTIC:
  case FC_GROWTH_GOMPERTZ: return integral_approach(s, v0, from, to);
  }
  return v0 * (to - from);
}

/* Over [from, to] within the segment that begins at point i. */
static double integral_segment(const fc_series *s, size_t i, fc_time from, fc_time to) {
  const fc_series_point *p = &s->point[i];
  double width = years_between(from, to);
  if (i + 1 == s->n && s->growth == FC_GROWTH_HOLD) return p->value * width; /* no rounding of the dates */
  if (i + 1 == s->n) return integral_grown(s, p->value, years_between(p->at, from), years_between(p->at, to));
  double length = years_between(p[0].at, p[1].at), w = years_between(p[0].at, from) / length;
  double start = between(s, p[0].value, p[1].value, w);
  if (s->interp == FC_SERIES_STEP) return p->value * width;
  if (s->interp == FC_SERIES_LINEAR)
    return (start + (p[1].value - p[0].value) * (width / length) / 2) * width;
  return start * width * expm1_over(log(p[1].value / p[0].value) * (width / length));
}

double fc_series_mean(const fc_series *s, fc_time from, fc_time to) {
  FC_ASSERT(from < to);
  if (s->n == 0) return 0;
  fc_time at = from;
  double sum = 0;
  if (at < s->point[0].at) {
    fc_time end = to < s->point[0].at ? to : s->point[0].at;
    sum = s->point[0].value * years_between(at, end);
    at = end;
  }
  for (size_t i = at < to ? last_before(s, at) : 0; at < to; i++) {
    fc_time end = i + 1 < s->n && s->point[i + 1].at < to ? s->point[i + 1].at : to;
    sum += integral_segment(s, i, at, end);
    at = end;
  }
  return sum / years_between(from, to);
}

/* --- check --- */

static bool growth_is_valid(const fc_series *s) {
  double v0 = s->point[s->n - 1].value;
  if (s->growth == FC_GROWTH_HOLD) return true;
  if (!isfinite(s->factor_per_year) || s->factor_per_year <= 0) return false;
  if (s->growth == FC_GROWTH_EXPONENTIAL) return true;
  if (s->growth != FC_GROWTH_LOGISTIC && s->growth != FC_GROWTH_GOMPERTZ) return false;
  /* towards the ceiling, never away from it; at the ceiling there is no growth left to state */
  return isfinite(s->ceiling) && s->ceiling > 0 && v0 > 0 && approach_rate(s, v0) >= 0;
}

fc_status fc_series_check(const fc_series *s) {
  if (s->n == 0) return FC_OK;
  if (s->interp != FC_SERIES_STEP && s->interp != FC_SERIES_LINEAR && s->interp != FC_SERIES_LOG)
    return FC_E_DOMAIN;
  for (size_t i = 0; i < s->n; i++) {
    if (!isfinite(s->point[i].value)) return FC_E_DOMAIN;
    if (i && s->point[i].at <= s->point[i - 1].at) return FC_E_DOMAIN;
    if (s->interp == FC_SERIES_LOG && s->point[i].value <= 0) return FC_E_DOMAIN;
  }
  return growth_is_valid(s) ? FC_OK : FC_E_DOMAIN;
}
