/* SPDX-License-Identifier: Apache-2.0 */
/* The largest rate at which one instance keeps the objective. */
#include <math.h>
#include <string.h>

#include "surface_private.h"

/* Rates tried first, over the closed form's; then as far up or down as it takes.  @source judgement */
static const double FIRST[] = {0.6, 0.85, 1};
static const double UP = 1.25, DOWN = 0.6, LEAST = 1e-3, MOST = 8;
enum { FLOODS = 9 };
enum { REPEATS = 1000 }; /* seeds of repeats begin so much above the design's */
/* A design point so near to the answer, and no more are added for being far. */
static const double NEAR = 0.02;
/* Share of the noise of lengths that is left in a full instance's tokens a second.  @source judgement: seeds
 * differ by a third of it */
static const double PACKING = 0.5;
#define COUNT_OF(a) (sizeof(a) / sizeof *(a))

static void told(const fc_surface_options *o) {
  if (o->simulated) o->simulated(o->context);
}

static fc_status simulate(fc_surface_found *a, const fc_surface_options *o, double rate) {
  const fc_surface_run *run;
  int before = fc_surface_points(a->surface, &run);
  fc_status status = fc_surface_add(a->surface, rate);
  if (status != FC_OK || fc_surface_points(a->surface, &run) == before) return status;
  a->runs++;
  told(o);
  return FC_OK;
}

static bool within(const fc_surface_found *a, const fc_surface_run *r) {
  return !r->overloaded && r->ttft_s <= a->slo.ttft_s && r->tpot_s <= a->slo.tpot_s;
}

/* Of the mean work of so many requests.  It is divided by their own tokens: what is left is how they pack. */
static double work_variance(const fc_surface_found *a, double requests) {
  double cv = a->surface->def.shape.input_cv;
  return PACKING * PACKING * (1 + cv * cv) / fmax(1, requests);
}

/* What a prefill instance can do at all: it is given twice that, by and by. */
static fc_status saturate(fc_surface_found *a, const fc_surface_options *o) {
  a->most = (double)INFINITY;
  if (a->surface->def.instance != FC_INSTANCE_PREFILL) return FC_OK;
  double rate = 2 * a->start;
  for (int i = 0; i < FLOODS; i++) {
    fc_surface_run r;
    fc_status status = fc_surface_simulate(&r, a->surface, rate, a->surface->def.seed);
    if (status != FC_OK) return status;
    a->runs++;
    told(o);
    if (r.throughput_per_s > 0.8 * rate) {
      rate *= 2;
      continue;
    }
    a->most = FC_SURFACE_LOAD_MAX * r.throughput_per_s;
    a->most_at = rate;
    a->most_log_sd = sqrt(work_variance(a, r.completions));
    break;
  }
  return FC_OK;
}

/* Points on both sides of the objective, or as far as one goes. */
static fc_status bracket(fc_surface_found *a, const fc_surface_options *o) {
  fc_status status = FC_OK;
  for (size_t i = 0; i < COUNT_OF(FIRST) && status == FC_OK; i++)
    status = simulate(a, o, fmin(a->start * FIRST[i], a->most * FIRST[i]));
  while (status == FC_OK) {
    const fc_surface_run *r;
    int n = fc_surface_points(a->surface, &r);
    if (!within(a, &r[0])) {
      if (r[0].rate_per_s < LEAST * a->start) return FC_OK;
      status = simulate(a, o, r[0].rate_per_s * DOWN);
    } else if (within(a, &r[n - 1]) && r[n - 1].rate_per_s < fmin(MOST * a->start, a->most)) {
      status = simulate(a, o, fmin(r[n - 1].rate_per_s * UP, a->most));
    } else {
      return FC_OK;
    }
  }
  return status;
}

/* The largest rate where all iterations take `k` times as long: k y(k rate) <= objective. */
static double rate_if(const fc_surface_found *a, double k, double z) {
  fc_slo slo = {a->slo.ttft_s / k, a->slo.tpot_s / k};
  return fmin(fc_surface_rate(a->surface, &slo, z), a->most) / k;
}

/* Half the distance of two rates in logarithms; of the answer's own where one of them is none. */
static double half_span(double low, double high, double middle) {
  if (low > 0 && high > 0) return 0.5 * fabs(log(high / low));
  if (low > 0) return fabs(log(middle / low));
  return high > 0 ? fabs(log(high / middle)) : 0;
}

static double nearest(const fc_surface_found *a) {
  const fc_surface_run *r;
  int n = fc_surface_points(a->surface, &r);
  double least = (double)INFINITY;
  for (int i = 0; i < n; i++) least = fmin(least, fabs(log(r[i].rate_per_s / a->rate)));
  return least;
}

/* The least rate that piles up; INFINITY: none did. */
static double pile(const fc_surface_found *a) {
  const fc_surface_run *r;
  int n = fc_surface_points(a->surface, &r);
  for (int i = 0; i < n; i++)
    if (r[i].overloaded) return r[i].rate_per_s;
  return (double)INFINITY;
}

static fc_status invert(fc_surface_found *a) {
  fc_status status = fc_surface_fit(a->surface);
  if (status != FC_OK) return status;
  if (a->surface->def.instance != FC_INSTANCE_PREFILL) a->most = FC_SURFACE_LOAD_MAX * pile(a);
  a->rate = rate_if(a, 1, 0);
  if (!(a->rate > 0)) return FC_OK;
  a->surface_log_sd = half_span(rate_if(a, 1, 1), rate_if(a, 1, -1), a->rate);
  if (a->rate >= a->most) a->surface_log_sd = fmax(a->surface_log_sd, a->most_log_sd);
  return FC_OK;
}

/* Where the answer is at the end of the hull: a rate past it, up to what piles up; 0: it is not, or that is
 * near. */
static double past_hull(const fc_surface_found *a) {
  double low, high, first = pile(a);
  fc_surface_hull(a->surface, &low, &high);
  if (a->rate < fmin(a->most, high) * (1 - 1e-9)) return 0;
  if (first < (double)INFINITY) return first > high * (1 + 2 * NEAR) ? sqrt(high * first) : 0;
  return high < a->most * (1 - 1e-9) && high < MOST * a->start ? fmin(high * UP, a->most) : 0;
}

/* The answer's rate again, with random numbers of its own. */
static fc_status repeat(fc_surface_found *a, const fc_surface_options *o) {
  fc_surface_run run;
  fc_status status =
      fc_surface_simulate(&run, a->surface, a->rate, a->surface->def.seed + REPEATS + (uint64_t)a->runs);
  if (status != FC_OK) return status;
  fc_surface_put(a->surface, &run);
  a->runs++;
  told(o);
  return FC_OK;
}

/* Adds points where the answer is until it is well enough known. */
static fc_status refine(fc_surface_found *a, const fc_surface_options *o) {
  int most = o->runs_max > 0 ? o->runs_max : FC_SURFACE_RUNS;
  double width = o->width > 0 ? o->width : FC_SURFACE_WIDTH;
  for (;;) {
    fc_status status = invert(a);
    if (status == FC_E_DOMAIN) { /* every point piles up */
      a->rate = 0;
      return FC_OK;
    }
    if (status != FC_OK || !(a->rate > 0) || a->runs >= most) return status;
    double gap = nearest(a), rate = past_hull(a);
    if (!(rate > 0) && gap < NEAR && a->surface_log_sd < width) return FC_OK;
    /* at the answer; where a point is there already, beside it: the slope is what is missing */
    if (!(rate > 0))
      rate = gap >= 0.5 * NEAR ? a->rate : a->rate * (a->runs % 2 ? 1 - 2 * NEAR : 1 + 2 * NEAR);
    int64_t before = a->runs;
    status = simulate(a, o, rate);
    if (status == FC_OK && a->runs == before) status = repeat(a, o); /* it has been there */
    if (status != FC_OK) return status;
  }
}

static const char *limit_of(const fc_surface_found *a) {
  const fc_surface *s = a->surface;
  double low, high;
  fc_surface_hull(s, &low, &high);
  if (a->rate >= fmin(a->most, high) * (1 - 1e-9)) { /* memory, places or time are out */
    double full = (double)s->def.policy.max_batch * (double)s->def.plan.attention_dp;
    if (s->def.instance == FC_INSTANCE_PREFILL) return "utilisation";
    return a->direct.in_flight > 0.9 * full ? "batch" : "KV cache";
  }
  bool ttft = a->ttft_s / a->slo.ttft_s > a->tpot_s / a->slo.tpot_s;
  return ttft ? "TTFT" : "TPOT";
}

/* Memory or places bind: where the two runs on either side of the pile-up lie with other random numbers. */
static fc_status check_pile(fc_surface_found *a, const fc_surface_options *o) {
  double low, high, first = pile(a);
  fc_surface_hull(a->surface, &low, &high);
  double step = first < (double)INFINITY ? log(first / high) : log(UP);
  a->error_sd = 0.5 * step;
  a->surface_log_sd = fmax(a->surface_log_sd, a->error_sd);
  if (!(first < (double)INFINITY)) return FC_OK;
  for (int i = 0; i < 2; i++) {
    fc_surface_run run;
    fc_status status = fc_surface_simulate(&run, a->surface, i ? first : high, o->seed + 1);
    if (status != FC_OK) return status;
    a->runs++;
    told(o);
    if (i == 0 && run.overloaded) a->error = step;
    if (i == 1 && !run.overloaded) a->error = -step;
  }
  return FC_OK;
}

/* The operating point once more, with other random numbers and twice as long. */
static fc_status check(fc_surface_found *a, const fc_surface_options *o) {
  fc_surface *s = a->surface;
  uint32_t completions = s->def.completions;
  s->def.completions *= 2;
  fc_status status = fc_surface_simulate(&a->direct, s, a->rate, o->seed + 1);
  s->def.completions = completions;
  if (status != FC_OK) return status;
  a->runs++;
  told(o);
  fc_surface_value v = fc_surface_at(s, a->rate);
  a->ttft_s = v.ttft_s;
  a->tpot_s = v.tpot_s;
  a->limit = limit_of(a);
  /* as if the curve lay where the direct run says */
  const fc_surface_run *d = &a->direct;
  bool ttft = a->ttft_s / a->slo.ttft_s > a->tpot_s / a->slo.tpot_s;
  double off = ttft ? d->ttft_s / a->ttft_s : d->tpot_s / a->tpot_s,
         sd = sqrt(ttft ? d->ttft_var : d->tpot_var);
  if (strcmp(a->limit, "utilisation") == 0 && a->most < (double)INFINITY) {
    fc_surface_run full;
    status = fc_surface_simulate(&full, s, a->most_at, o->seed + 1);
    if (status != FC_OK) return status;
    a->runs++;
    told(o);
    a->error = log(a->most / (FC_SURFACE_LOAD_MAX * full.throughput_per_s));
    a->error_sd = sqrt(2) * a->most_log_sd;
    return FC_OK;
  }
  if (a->limit[0] == 'K' || a->limit[0] == 'b') return check_pile(a, o);
  double rate[3];
  for (int i = 0; i < 3; i++) {
    double k = off * exp((i - 1) * sd);
    fc_slo slo = {a->slo.ttft_s / k, a->slo.tpot_s / k};
    rate[i] = fc_surface_rate(s, &slo, 0);
  }
  double low, high; /* below the hull: at least so far off */
  fc_surface_hull(s, &low, &high);
  double middle = rate[1] > 0 ? rate[1] : low;
  a->error = log(a->rate / middle);
  a->error_sd = half_span(rate[2], rate[0], middle);
  return FC_OK;
}

fc_status fc_surface_find(fc_surface_found *a, const fc_surface_def *def, const fc_surface_options *o) {
  fc_status status = fc_surface_new(&a->surface, def);
  if (status == FC_OK) status = saturate(a, o);
  if (status == FC_OK) status = bracket(a, o);
  if (status == FC_OK) status = refine(a, o);
  if (status == FC_OK && a->rate > 0) status = check(a, o);
  if (status == FC_OK && a->rate > 0)
    a->rate_log_sd = half_span(rate_if(a, exp(a->log_sd), 0), rate_if(a, exp(-a->log_sd), 0), a->rate);
  return status;
}
