/* SPDX-License-Identifier: Apache-2.0 */
/* One candidate, request by request: the highest rate at which it meets the objective. */
#include "search_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <fleetcast/base/diag.h>
#include <fleetcast/serve/case.h>
#include <fleetcast/serve/view.h>

/* Of a run, by number: what fills it up and what runs dry is not looked at.  A run is eight times what is
 * under way at most, and two minutes: an instance given 3 % more than it can do then lets requests wait some
 * 2 s in the mean.  Neither depends on the objective.  @source judgement */
static const double WARM_UP = 0.3, RUN_DRY = 0.15, RUN_S = 120, REQUESTS_MOST = 131072;
/* Rates are tried up to so much above what the closed form gives without an objective.  @source judgement */
static const double HEADROOM = 1.1;
enum { FILLS = 8, CONTEXT_MAX = 131072 /* of the step table, where nothing smaller holds */ };
/* Of the step table: a tenth of what a case is off by (docs/serve.md#truth). */
static const double TOLERANCE = 0.02;

fc_status fc_search_load(fc_load **out, const fc_search_def *def, double rate, uint64_t requests, char *why) {
  fc_load_def l = def->load;
  l.seed = def->seed;
  l.rate_per_s = rate;
  l.requests = requests;
  l.duration_s = 0;
  if (l.trace) l.repeat = true;
  fc_diags d;
  fc_diags_init(&d);
  fc_status status = fc_load_new(out, &l, "load", &d);
  if (status == FC_E_INPUT && why) (void)snprintf(why, 256, "%.240s", d.n ? d.item[0].text : "load");
  return status == FC_E_INPUT ? FC_E_DOMAIN : status;
}

/* --- one run --- */

typedef struct {
  uint64_t first, n;   /* numbers looked at: [first, first + n) */
  double *ttft, *tpot; /* [n]; NAN: no such request is over, or it has no second token */
} sample;

static void record(void *context, const fc_replica_record *q) {
  sample *s = context;
  if (q->refused != FC_REFUSED_NOT || q->number < s->first || q->number - s->first >= s->n) return;
  double ttft = fc_time_to_s(q->first_token - q->arrival);
  s->ttft[q->number - s->first] = ttft;
  if (q->output_tokens < 2) return;
  s->tpot[q->number - s->first] =
      (fc_time_to_s(q->finish - q->arrival) - ttft) / (double)(q->output_tokens - 1);
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Mean (percentile 0) or percentile of those that are numbers; reorders. */
static double statistic(double *x, size_t n, double percentile) {
  size_t m = 0;
  double sum = 0;
  for (size_t i = 0; i < n; i++)
    if (!isnan(x[i])) {
      sum += x[i];
      x[m++] = x[i];
    }
  if (m == 0) return 0;
  if (!(percentile > 0)) return sum / (double)m;
  qsort(x, m, sizeof *x, by_size);
  size_t rank = (size_t)ceil(percentile * (double)m);
  return x[rank > 0 ? rank - 1 : 0];
}

/* Batch means: the mean of the batches' statistics, and half its 95 % interval. */
static void estimate(double *value, double *half, double *x, size_t n, double percentile) {
  double sum = 0, squares = 0;
  for (size_t b = 0; b < FC_SEARCH_BATCHES; b++) {
    size_t from = n * b / FC_SEARCH_BATCHES, to = n * (b + 1) / FC_SEARCH_BATCHES;
    double y = statistic(x + from, to - from, percentile);
    sum += y;
    squares += y * y;
  }
  double mean = sum / FC_SEARCH_BATCHES;
  double variance = fmax(0, squares - sum * mean) / (FC_SEARCH_BATCHES - 1);
  *value = mean;
  *half = FC_SEARCH_T * sqrt(variance / FC_SEARCH_BATCHES);
}

typedef struct {
  fc_search *s;
  fc_search_candidate *c;
  fc_replica_def def;
  fc_step_table *steps, *prefill_steps;
  fc_disagg_def apart;
  double fewest; /* requests of a run */
  sample sample;
  fc_replica_result *result; /* of the instance, or of those that decode: in one of these */
  fc_replica_result *own;
  fc_disagg_result *both; /* apart; else NULL */
  int n_rates;
  double top;             /* the highest rate of the grid */
  fc_search_point *point; /* [n_rates], rate 0: not run yet */
} trial;

static void fill_point(fc_search_point *p, trial *t, double rate) {
  const fc_replica_result *r = t->result;
  const fc_search_def *def = t->s->def;
  sample *x = &t->sample;
  const fc_replica_result *first = t->both ? &t->both->prefill : r;
  double refused = 0, preempted = (double)r->preemptions, n = t->both ? (double)t->c->decodes : 1;
  for (int i = 0; i < FC_REFUSED_REASONS; i++)
    refused += (double)r->refused[i] + (t->both ? (double)first->refused[i] : 0);
  if (t->both) preempted += (double)first->preemptions;
  *p = (fc_search_point){.rate_per_s = rate, .batch_mean = r->batch_mean};
  p->kv_share = r->kv_mean / (double)t->c->kv_blocks / n;
  p->preempted = preempted / fmax(1, (double)first->done);
  p->refused = refused / fmax(1, (double)first->in);
  estimate(&p->ttft_s, &p->ttft_half_s, x->ttft, x->n, def->slo.percentile);
  estimate(&p->tpot_s, &p->tpot_half_s, x->tpot, x->n, def->slo.percentile);
}

static double rate_of(const trial *t, int k) {
  return t->top * pow(FC_SEARCH_RATE_STEP, k - (t->n_rates - 1));
}

static uint64_t requests_of(const trial *t, double rate) {
  return (uint64_t)fmax(t->fewest, fmin(RUN_S * rate, REQUESTS_MOST));
}

static void look_at(sample *s, uint64_t requests) {
  s->first = (uint64_t)(WARM_UP * (double)requests);
  s->n = (uint64_t)((1 - RUN_DRY) * (double)requests) - s->first;
}

static fc_status run_at(trial *t, int k) {
  if (t->point[k].rate_per_s > 0) return FC_OK;
  if (t->s->def->cancel && *t->s->def->cancel) return FC_E_CANCELLED;
  double rate = rate_of(t, k);
  uint64_t requests = requests_of(t, rate);
  look_at(&t->sample, requests);
  for (uint64_t i = 0; i < t->sample.n; i++) t->sample.ttft[i] = t->sample.tpot[i] = (double)NAN;
  fc_load *load;
  fc_status status = fc_search_load(&load, t->s->def, rate, requests, NULL);
  if (status != FC_OK) return status;
  fc_request_source source = fc_load_source(load);
  uint64_t seed = t->s->def->seed;
  status = t->both ? fc_disagg_run(t->both, &t->apart, &source, seed, NULL)
                   : fc_replica_run(t->result, &t->def, &source, seed, NULL);
  if (status == FC_OK) status = fc_load_status(load);
  fc_load_free(load);
  if (status == FC_OK) fill_point(&t->point[k], t, rate);
  return status;
}

/* --- the search over rates --- */

/* `side` of the interval: +1 surely within, 0 the estimate, -1 perhaps within. */
static bool within(const fc_search_point *p, const fc_search_slo *slo, int side) {
  return p->refused == 0 && p->ttft_s + side * p->ttft_half_s <= slo->ttft_s &&
         p->tpot_s + side * p->tpot_half_s <= slo->tpot_s;
}

/* Highest rate of the grid that is within; -1: none.  The way there depends on nothing but the answers, so
 * that whoever is within wherever another is never ends below it. */
static fc_status bisect(int *out, trial *t, int side) {
  int low = -1, high = t->n_rates;
  while (high - low > 1) {
    int middle = low + (high - low) / 2;
    fc_status status = run_at(t, middle);
    if (status != FC_OK) return status;
    if (within(&t->point[middle], &t->s->def->slo, side))
      low = middle;
    else
      high = middle;
  }
  *out = low;
  return FC_OK;
}

static fc_search_binds binds_of(const trial *t, const fc_search_point *p) {
  const fc_search_slo *slo = &t->s->def->slo;
  double ttft = p->ttft_s / slo->ttft_s, tpot = p->tpot_s / slo->tpot_s;
  if (p->refused > 0) return FC_BINDS_KV;
  if (tpot > 1 && tpot >= ttft) return FC_BINDS_TPOT;
  /* requests wait: for memory, for a place, or for the prompts before them */
  if (p->preempted > 0.01 || p->kv_share > 0.9) return FC_BINDS_KV;
  if (p->batch_mean > 0.9 * (double)t->c->max_batch * fc_search_groups(&t->c->plan)) return FC_BINDS_BATCH;
  return ttft > 1 ? FC_BINDS_TTFT : FC_BINDS_TPOT;
}

static void price(trial *t) {
  fc_search_candidate *c = t->c;
  const fc_search_def *def = t->s->def;
  double rate = c->at.rate_per_s;
  c->instances = fc_search_instances(def, rate);
  c->devices = c->instances * (double)c->instance_devices;
  c->usd_per_mtok = fc_search_usd(t->s, c, rate);
  c->usd_low = fc_search_usd(t->s, c, c->rate_high);
  c->usd_high = fc_search_usd(t->s, c, c->rate_low);
  /* rates go with the inverse of the iteration time */
  double z = 1.96 * c->log_sd, more = hypot(log(c->rate_high / rate), z);
  double less = c->rate_low > 0 ? hypot(log(rate / c->rate_low), z) : (double)INFINITY;
  c->usd_least = fc_search_usd(t->s, c, rate * exp(more));
  c->usd_most = fc_search_usd(t->s, c, rate * exp(-less));
  c->usd_full = 1e6 * c->usd_per_s * (double)c->instance_devices / (rate * t->s->lengths.output);
  if (def->devices_max > 0 && c->devices > (double)def->devices_max) c->state = FC_SEARCH_DEVICES;
}

static fc_status search_rates(trial *t) {
  int best, low, high;
  fc_search_candidate *c = t->c;
  fc_status status = bisect(&best, t, 0);
  if (status == FC_OK && best < 0) status = run_at(t, 0);
  if (status != FC_OK) return status;
  c->state = best < 0 ? FC_SEARCH_MISSED : FC_SEARCH_MET;
  c->at = t->point[best < 0 ? 0 : best];
  c->binds = best < 0 ? binds_of(t, &c->at) : FC_BINDS_NOTHING;
  if (best < 0) return FC_OK;
  if (best + 1 < t->n_rates) { /* the bisection has been there */
    c->past = t->point[best + 1];
    c->binds = binds_of(t, &c->past);
  }
  status = bisect(&low, t, 1);
  if (status == FC_OK) status = bisect(&high, t, -1);
  if (status != FC_OK) return status;
  c->rate_low = low < 0 ? 0 : rate_of(t, low < best ? low : best);
  c->rate_high = rate_of(t, high > best ? high : best);
  fc_serve_iteration it;
  fc_step_work work = {.decode = fmax(1, c->at.batch_mean)};
  work.decode_context = work.decode * t->s->lengths.context;
  if (fc_step_table_direct(t->steps, &it, &work) == FC_OK) c->log_sd = it.log_sd;
  const fc_profile *profile = fc_search_option_of(t->s, c)->source.profile;
  if (profile && profile->engine) c->log_sd = FC_CASE_TPOT_LOG_SD;
  price(t);
  return FC_OK;
}

/* --- making it --- */

static fc_status make_steps(fc_step_table **out, const trial *t, const fc_search_option *o,
                            int64_t max_batch) {
  fc_step_table_def def = fc_step_table_default_def();
  int64_t held = o->kv_blocks / o->plan.attention_dp * t->s->def->block_tokens;
  def.max_batch = max_batch;
  def.max_tokens = t->c->token_budget;
  def.max_context =
      (int64_t)fmin((double)(held < CONTEXT_MAX ? held : CONTEXT_MAX), t->s->lengths.longest + 1);
  if (!t->s->def->policy.chunked && def.max_context > def.max_tokens) def.max_tokens = def.max_context;
  def.tolerance = TOLERANCE;
  if (!o->step) {
    fc_step_source source = {.model = o->source.model, .profile = o->source.profile, .plan = &o->plan};
    return fc_step_table_of_model(out, &def, &source);
  }
  def.step = o->step;
  def.context = o->context;
  def.devices = o->plan.devices;
  def.stages = fc_serve_stages(&o->plan);
  def.groups = o->plan.attention_dp * def.stages;
  return fc_step_table_new(out, &def);
}

/* The link as `serve` has it where none is stated. */
static fc_status make_apart(trial *t) {
  enum { PROMPTS_MOST = 64 }; /* under way in an instance and group */
  const fc_search *s = t->s;
  const fc_search_candidate *c = t->c;
  const fc_search_option *o = &s->option[s->pair[c->option - s->n_options].prefill];
  fc_status status = make_steps(&t->prefill_steps, t, o, PROMPTS_MOST);
  t->both = calloc(1, sizeof *t->both);
  if (status == FC_OK && !t->both) status = FC_E_NOMEM;
  if (status != FC_OK) return status;
  t->apart = (fc_disagg_def){.prefill = t->def, .decode = t->def};
  t->apart.prefill.record = NULL;
  t->apart.prefill.steps = t->prefill_steps;
  t->apart.prefill.kv_blocks = c->prefill_kv_blocks;
  t->apart.prefill.policy.max_batch = PROMPTS_MOST;
  t->apart.prefill_replicas = c->prefills;
  t->apart.decode_replicas = c->decodes;
  t->apart.kv_bytes_per_token = o->kv_bytes_per_token;
  int64_t here = c->prefills * c->prefill_plan.devices, there = c->decodes * c->plan.devices;
  t->apart.link_bytes_per_s = o->link_bytes_per_s * (double)(here < there ? here : there);
  t->apart.link_shared = true;
  t->result = &t->both->decode;
  return FC_OK;
}

static fc_status make(trial *t, double cap) {
  const fc_search *s = t->s;
  fc_status status = make_steps(&t->steps, t, fc_search_option_of(s, t->c), t->c->max_batch);
  if (status != FC_OK) return status;
  t->def = fc_replica_default_def();
  t->def.policy = s->def->policy;
  t->def.policy.max_batch = t->c->max_batch;
  t->def.policy.token_budget = t->c->token_budget;
  t->def.steps = t->steps;
  t->def.kv_blocks = t->c->kv_blocks;
  t->def.block_tokens = s->def->block_tokens;
  if (s->def->engine) fc_serve_overheads(&t->def, s->def->engine);
  t->def.detokenise_s = s->def->token_s;
  t->def.context = &t->sample;
  t->def.record = record;
  double held = (double)t->c->kv_blocks * (double)s->def->block_tokens / s->lengths.context;
  double batch = fmin(held, (double)t->c->max_batch * fc_search_groups(&t->c->plan));
  if (t->c->prefills) batch *= (double)t->c->decodes;
  t->fewest = fmax((double)s->def->requests, FILLS * batch);
  t->top = cap * HEADROOM;
  look_at(&t->sample, requests_of(t, t->top));
  t->n_rates = (int)ceil(log(FC_SEARCH_RATE_SPAN) / log(FC_SEARCH_RATE_STEP)) + 1;
  if (t->c->prefills)
    status = make_apart(t);
  else
    t->result = t->own = calloc(1, sizeof *t->own);
  if (status != FC_OK) return status;
  t->point = calloc((size_t)t->n_rates, sizeof *t->point);
  t->sample.ttft = malloc(t->sample.n * sizeof(double));
  t->sample.tpot = malloc(t->sample.n * sizeof(double));
  return t->result && t->point && t->sample.ttft && t->sample.tpot ? FC_OK : FC_E_NOMEM;
}

fc_status fc_search_trial(fc_search *s, size_t i) {
  trial t = {.s = s, .c = &s->out->candidate[i]};
  fc_status status = make(&t, s->cap[i]);
  if (status == FC_OK) status = search_rates(&t);
  if (status == FC_E_DOMAIN || status == FC_E_INFEASIBLE) { /* a shape that no kernel of the profile knows */
    t.c->state = FC_SEARCH_PROFILE;
    status = FC_OK;
  }
  fc_step_table_free(t.steps);
  fc_step_table_free(t.prefill_steps);
  free(t.own);
  free(t.both);
  free(t.point);
  free(t.sample.ttft);
  free(t.sample.tpot);
  return status;
}
