/* SPDX-License-Identifier: Apache-2.0 */
/* The emulator of an instance: its design, its fit, its inverse. */
#include <fleetcast/serve/surface.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/assert.h>

#include "surface_private.h"

#define TREND_STEP 0.02
/* Steps of the grid on which the emulator is made monotone and inverted. */
enum { GRID = 256, MIDDLE = FC_TREND_NODES / 2 };

/* --- design --- */

int fc_surface_points(const fc_surface *surface, const fc_surface_run **runs) {
  *runs = surface->run;
  return surface->n;
}

void fc_surface_put(fc_surface *s, const fc_surface_run *run) {
  FC_ASSERT(s->n < FC_SURFACE_POINTS);
  int at = s->n++;
  for (; at > 0 && s->run[at - 1].rate_per_s > run->rate_per_s; at--) s->run[at] = s->run[at - 1];
  s->run[at] = *run;
  s->fitted = false;
}

fc_status fc_surface_add(fc_surface *s, double rate) {
  if (s->n == FC_SURFACE_POINTS) return FC_OK;
  for (int i = 0; i < s->n; i++)
    if (fabs(s->run[i].rate_per_s / rate - 1) < 1e-9) return FC_OK;
  fc_surface_run run;
  fc_status status = fc_surface_simulate(&run, s, rate, s->def.seed);
  if (status == FC_OK) fc_surface_put(s, &run);
  return status;
}

/* --- fit --- */

fc_status fc_surface_trend(fc_trend *out, const fc_surface *s, double rate) {
  static const fc_side side[] = {[FC_INSTANCE_PREFILL] = FC_SIDE_PREFILL,
                                 [FC_INSTANCE_DECODE] = FC_SIDE_DECODE,
                                 [FC_INSTANCE_WHOLE] = FC_SIDE_WHOLE};
  return fc_phase_trend(out, &s->demand, &s->def.plan, side[s->def.instance],
                        (double)s->def.policy.token_budget, rate);
}

/* Between nodes a straight line: as good a trend. */
static double log_trend(const fc_surface *s, bool first, double rate, double stretch) {
  double at = (log(rate / stretch) - s->origin) / TREND_STEP + MIDDLE;
  int i = (int)floor(at);
  if (i < 0 || i > FC_TREND_NODES - 2) return (double)NAN;
  const double *low = s->trend[i], *high = s->trend[i + 1];
  double w = at - i;
  return low[!first] + (w > 0 ? w * (high[!first] - low[!first]) : 0);
}

/* Everything that a fit or a question will read. */
static fc_status fill_trend(fc_surface *s) {
  if (!s->trend) {
    s->trend = malloc(FC_TREND_NODES * sizeof *s->trend);
    if (!s->trend) return FC_E_NOMEM;
    for (int i = 0; i < FC_TREND_NODES; i++) s->trend[i][0] = s->trend[i][1] = (double)NAN;
    s->origin = log(s->low);
  }
  double most = 0.5 * FC_STRETCHES * log(FC_STRETCH_STEP) / TREND_STEP + 1;
  int middle = MIDDLE, low = middle + (int)floor((log(s->low) - s->origin) / TREND_STEP - most),
      high = middle + (int)ceil((log(s->high) - s->origin) / TREND_STEP + most);
  if (low < 0) low = 0;
  if (high > FC_TREND_NODES - 1) high = FC_TREND_NODES - 1;
  for (int i = low; i <= high; i++) {
    if (!isnan(s->trend[i][0])) continue;
    fc_trend t;
    fc_status status = fc_surface_trend(&t, s, exp(s->origin + (i - middle) * TREND_STEP));
    if (status != FC_OK) return status;
    s->trend[i][0] = log(t.ttft_s);
    s->trend[i][1] = log(t.tpot_s);
  }
  return FC_OK;
}

/* What the emulators ask: one latency, at a rate. */
typedef struct {
  const fc_surface *surface;
  bool first;
  double rate;
} asked;

static double asked_trend(const void *context, double stretch) {
  const asked *a = context;
  return log_trend(a->surface, a->first, a->rate, stretch);
}

static bool asked_points(fc_emulator *k, double *y, const void *context, double stretch) {
  const asked *a = context;
  const fc_surface *s = a->surface;
  k->n = 0;
  for (int i = 0; i < s->n; i++) {
    const fc_surface_run *r = &s->run[i];
    if (r->overloaded || r->rate_per_s > s->high) continue;
    memset(k->x[k->n], 0, sizeof k->x[k->n]);
    k->x[k->n][0] = log(r->rate_per_s);
    k->noise[k->n] = a->first ? r->ttft_var : r->tpot_var;
    y[k->n] = log(a->first ? r->ttft_s : r->tpot_s) - log_trend(s, a->first, r->rate_per_s, stretch);
    if (!isfinite(y[k->n++])) return false;
  }
  return true;
}

fc_status fc_surface_fit(fc_surface *s) {
  s->low = s->high = 0;
  for (int i = 0; i < s->n && !s->run[i].overloaded; i++) { /* nothing counts past the first pile-up */
    if (i == 0) s->low = s->run[i].rate_per_s;
    s->high = s->run[i].rate_per_s;
  }
  if (!(s->high > 0)) return FC_E_DOMAIN;
  fc_status status = fill_trend(s);
  if (status != FC_OK) return status;
  if (s->def.instance != FC_INSTANCE_DECODE)
    status = fc_emulators_fit(&s->ttft, asked_points, &(asked){s, true, 0});
  if (status == FC_OK && s->def.instance != FC_INSTANCE_PREFILL)
    status = fc_emulators_fit(&s->tpot, asked_points, &(asked){s, false, 0});
  s->fitted = status == FC_OK;
  return status;
}

void fc_surface_hull(const fc_surface *s, double *low, double *high) {
  FC_ASSERT(s->fitted);
  *low = s->low;
  *high = s->high;
}

/* --- answers --- */

static void one_at(const fc_emulators *e, const fc_surface *s, bool first, double rate, double *log_y,
                   double *log_sd) {
  const double x[FC_COORDINATES] = {log(rate)};
  fc_emulators_at(e, x, asked_trend, &(asked){s, first, rate}, log_y, log_sd);
}

void fc_surface_free(fc_surface *s) {
  if (!s) return;
  fc_emulators_fini(&s->ttft);
  fc_emulators_fini(&s->tpot);
  fc_step_table_free(s->steps);
  free(s->trend);
  free(s);
}

static double grid_rate(const fc_surface *s, int i) {
  return s->low * pow(s->high / s->low, (double)i / GRID);
}

/* Running maximum from the least rate of the hull on. */
static void monotone_at(const fc_emulators *k, const fc_surface *s, bool first, double rate, double *y,
                        double *log_sd) {
  double most, sd, at;
  one_at(k, s, first, rate, &most, log_sd);
  if (s->high > s->low)
    for (int i = 0; i < GRID && grid_rate(s, i) < rate; i++) {
      one_at(k, s, first, grid_rate(s, i), &at, &sd);
      most = fmax(most, at);
    }
  *y = exp(most);
}

fc_surface_value fc_surface_at(const fc_surface *s, double rate) {
  FC_ASSERT(s->fitted && rate > 0);
  fc_surface_value v = {.outside = rate < s->low * (1 - 1e-12) || rate > s->high * (1 + 1e-12)};
  rate = fmin(fmax(rate, s->low), s->high);
  if (s->def.instance != FC_INSTANCE_DECODE) monotone_at(&s->ttft, s, true, rate, &v.ttft_s, &v.ttft_log_sd);
  if (s->def.instance != FC_INSTANCE_PREFILL)
    monotone_at(&s->tpot, s, false, rate, &v.tpot_s, &v.tpot_log_sd);
  return v;
}

/* ln(y / objective) of the worse of the two, z spreads up. */
static double excess(const fc_surface *s, const fc_slo *slo, double rate, double z) {
  double worst = -HUGE_VAL, y, sd;
  if (s->def.instance != FC_INSTANCE_DECODE) {
    one_at(&s->ttft, s, true, rate, &y, &sd);
    worst = fmax(worst, y + z * sd - log(slo->ttft_s));
  }
  if (s->def.instance != FC_INSTANCE_PREFILL) {
    one_at(&s->tpot, s, false, rate, &y, &sd);
    worst = fmax(worst, y + z * sd - log(slo->tpot_s));
  }
  return worst;
}

double fc_surface_rate(const fc_surface *s, const fc_slo *slo, double z) {
  FC_ASSERT(s->fitted);
  if (!(excess(s, slo, s->low, z) <= 0)) return 0;
  double low = s->low, high = 0;
  for (int i = 1; i <= GRID && !(high > 0); i++) { /* the first crossing: the maximum runs from below */
    double rate = grid_rate(s, i);
    if (excess(s, slo, rate, z) <= 0)
      low = rate;
    else
      high = rate;
  }
  if (!(high > 0)) return s->high;
  for (int i = 0; i < 40; i++) {
    double middle = 0.5 * (low + high);
    if (excess(s, slo, middle, z) <= 0)
      low = middle;
    else
      high = middle;
  }
  return low;
}
