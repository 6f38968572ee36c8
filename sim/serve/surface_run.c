/* SPDX-License-Identifier: Apache-2.0 */
/* One instance at one rate, request by request. */
#include <math.h>
#include <stdlib.h>

#include <fleetcast/base/assert.h>
#include <fleetcast/base/rng.h>
#include <fleetcast/workload/load.h>

#include "surface_private.h"

enum { BATCHES = 16 };
/* How long is looked at.  Decode begins with as many requests as the trend says, half done: what that is off
 * by fades within the burn-in.  A whole instance begins empty, and the trend's residence is up to a third of
 * the engine's.  @source judgement */
static const double DECODE_BURN = 0.5, WHOLE_BURN = 6, LOOK = 3, PREFILL_BURN = 0.1;
/* Requests pile up when the last quarter's mean is so much over the second's.  @source judgement */
static const double PILE = 1.5;
/* ... or when less than this share of the load is done: decode waits for memory. */
static const double KEEPS_UP = 0.95;
static const double TOLERANCE = 0.02; /* of the step table, as in the search */
enum { ITERATIONS = 150 };
enum { TABLE_CONTEXT = 131072, BLOCK = 16 /* vLLM's default */ };

/* --- the load: Poisson, and for decode what is under way at the start --- */

static fc_dist lengths(double mean, double cv) {
  return cv > 0 ? fc_dist_lognormal_cv(mean, cv) : fc_dist_point(mean);
}

static uint32_t tokens_of(double x, double least, double most) {
  return (uint32_t)fmax(least, fmin(round(x), most));
}

/* Under way at a random instant: lengths in proportion to how long they stay, evenly far along. */
static fc_request begun(const fc_surface *s, uint64_t seed, uint64_t number) {
  const fc_request_shape *shape = &s->def.shape;
  fc_rng rng = fc_rng_keyed(seed, FC_STREAM_SIZE, UINT64_C(0x7374617274), number); /* "start" */
  fc_dist in = lengths(shape->input_tokens, shape->input_cv),
          out = lengths(shape->output_tokens, shape->output_cv);
  if (out.kind == FC_DIST_LOGNORMAL) out.a *= exp(out.b * out.b);
  double input = fmin(fc_dist_quantile(&in, fc_rng_uniform(&rng)), s->input_max),
         output = fmin(fc_dist_quantile(&out, fc_rng_uniform(&rng)), s->output_max),
         done = fc_rng_uniform(&rng) * output;
  fc_request q = {.number = number};
  q.output_tokens = tokens_of(output - done + 1, 2, s->output_max);
  q.input_tokens = tokens_of(input + done, 1, (double)s->input_max + s->output_max - q.output_tokens);
  return q;
}

static fc_status load_of(fc_load **out, const fc_surface *s, double rate, double until_s, uint64_t seed) {
  const fc_request_shape *shape = &s->def.shape;
  fc_load_def l = fc_load_default_def();
  l.seed = seed;
  l.rate_per_s = rate;
  l.duration_s = until_s;
  l.input = lengths(shape->input_tokens, shape->input_cv);
  l.output = lengths(shape->output_tokens, shape->output_cv);
  l.input_max = s->input_max;
  l.output_max = s->output_max;
  l.block_tokens = 0;
  l.context_max = s->input_max + s->output_max;
  fc_diags d;
  fc_diags_init(&d);
  fc_status status = fc_load_new(out, &l, "surface", &d);
  return status == FC_E_INPUT ? FC_E_DOMAIN : status;
}

/* Everything that comes before the end. */
static fc_status offer_all(fc_replica *r, fc_load *load, const fc_surface *s, uint64_t first, uint64_t seed) {
  fc_status status = FC_OK;
  for (uint64_t i = 0; i < first && status == FC_OK; i++) {
    fc_request q = begun(s, seed, i);
    status = fc_replica_offer(r, &q);
  }
  fc_request_source source = fc_load_source(load);
  for (fc_time at; status == FC_OK && source.peek(source.context, &at);) {
    fc_request q;
    source.take(source.context, &q);
    source.done(source.context, q.number, q.arrival);
    q.number += first;
    status = fc_replica_offer(r, &q);
  }
  return status == FC_OK ? fc_load_status(load) : status;
}

/* --- what is looked at --- */

typedef struct {
  double sum[BATCHES], n[BATCHES];
} batches;

typedef struct {
  double from_ns, span_ns; /* by the time at which requests end */
  double fetch_s_per_token;
  bool decode; /* the first token was made elsewhere, when the request came */
  batches ttft, tpot;
  double done, refused;
} sample;

static void record(void *context, const fc_replica_record *q) {
  sample *s = context;
  double at = ((double)q->finish - s->from_ns) / s->span_ns;
  if (!(at >= 0 && at < 1)) return;
  if (q->refused != FC_REFUSED_NOT) {
    s->refused++;
    return;
  }
  int b = (int)(at * BATCHES);
  s->done++;
  double first = s->decode ? 0 : fc_time_to_s(q->first_token - q->arrival);
  s->ttft.sum[b] += first;
  s->ttft.n[b]++;
  if (q->output_tokens < 2) return;
  double rest = fc_time_to_s(q->finish - q->arrival) - first + s->fetch_s_per_token * q->input_tokens;
  s->tpot.sum[b] += rest / (double)(q->output_tokens - 1);
  s->tpot.n[b]++;
}

/* Mean, the variance of its logarithm, and the last quarter over the second. */
static void estimate(const batches *x, double *mean, double *variance, double *growth) {
  double sum = 0, n = 0, second[2] = {0}, last[2] = {0};
  for (int b = 0; b < BATCHES; b++) {
    sum += x->sum[b];
    n += x->n[b];
    double *quarter = b / (BATCHES / 4) == 1 ? second : b / (BATCHES / 4) == 3 ? last : NULL;
    if (!quarter) continue;
    quarter[0] += x->sum[b];
    quarter[1] += x->n[b];
  }
  *mean = n > 0 ? sum / n : 0;
  *growth = second[0] > 0 && last[1] > 0 ? last[0] / last[1] / (second[0] / second[1]) : 1;
  double squares = 0, products = 0, before = 0;
  for (int b = 0; b < BATCHES; b++) { /* ratio estimator: weights are the batches' requests */
    double d = (x->sum[b] - *mean * x->n[b]) * BATCHES / fmax(n, 1);
    squares += d * d;
    if (b) products += d * before;
    before = d;
  }
  double r = squares > 0 ? fmin(0.9, fmax(0, products / squares + 1.0 / BATCHES)) : 0;
  *variance = squares / (BATCHES - 1) / BATCHES * (1 + r) / (1 - r);
  if (*mean > 0) *variance /= *mean * *mean;
}

/* --- a run --- */

typedef struct {
  double burn_s, until_s; /* what ends in [burn, until) counts; nothing comes after */
  uint64_t first;
} stretch;

static fc_status stretch_of(stretch *out, const fc_surface *s, double rate) {
  const fc_surface_def *def = &s->def;
  double need_s = def->completions / rate;
  *out = (stretch){0};
  if (def->instance == FC_INSTANCE_PREFILL) { /* ITERATIONS full ones at least */
    double prompts = fmax(1, (double)def->policy.token_budget / s->demand.fresh);
    need_s = fmax(need_s, ITERATIONS * prompts * (double)def->plan.attention_dp / rate);
    out->burn_s = PREFILL_BURN * need_s;
    out->until_s = out->burn_s + need_s;
    return FC_OK;
  }
  fc_trend t;
  bool decode = def->instance == FC_INSTANCE_DECODE;
  double groups = (double)def->plan.attention_dp, most = (double)def->policy.max_batch * groups;
  fc_status status = fc_phase_trend(&t, &s->demand, &def->plan, decode ? FC_SIDE_DECODE : FC_SIDE_WHOLE,
                                    (double)def->policy.token_budget, rate);
  if (status != FC_OK) return status;
  double tokens = s->demand.cached + s->demand.fresh +
                  0.5 * s->demand.output * (1 + s->demand.output_cv * s->demand.output_cv);
  most = fmin(most, 0.97 * (double)(s->kv_blocks * BLOCK) / tokens);
  double flight = fmin(t.in_flight, most), residence = flight / rate;
  out->burn_s = decode ? DECODE_BURN * residence : fmax(WHOLE_BURN * residence, 0.5 * need_s);
  out->until_s = out->burn_s + fmax(need_s, LOOK * residence);
  if (decode) out->first = (uint64_t)flight;
  return FC_OK;
}

static fc_replica_def replica_of(const fc_surface *s, sample *looked_at) {
  static const fc_replica_role role[] = {[FC_INSTANCE_PREFILL] = FC_ROLE_PREFILL,
                                         [FC_INSTANCE_DECODE] = FC_ROLE_DECODE,
                                         [FC_INSTANCE_WHOLE] = FC_ROLE_WHOLE};
  fc_replica_def r = fc_replica_default_def();
  r.steps = s->steps;
  r.policy = s->def.policy;
  r.role = role[s->def.instance];
  r.kv_blocks = s->kv_blocks;
  r.block_tokens = BLOCK;
  if (s->def.instance != FC_INSTANCE_DECODE) r.cached_share = s->def.shape.cache_hit;
  if (s->def.instance != FC_INSTANCE_PREFILL) r.n_acceptance = (int)s->demand.queries - 1;
  double low = 0, high = 1; /* each draft holds with one chance a: 1 + a + a^2 + ... = yield */
  for (int i = 0; i < 60; i++) {
    double a = 0.5 * (low + high), sum = 1, reach = 1;
    for (int k = 0; k < r.n_acceptance; k++) sum += reach *= a;
    if (sum < s->demand.yield)
      low = a;
    else
      high = a;
  }
  for (int k = 0; k < r.n_acceptance; k++) r.acceptance[k] = high;
  r.context = looked_at;
  r.record = record;
  return r;
}

/* (d ln TPOT / d ln rate)^2 x variance of the offered load; 0 beyond what the trend can do. */
static double load_noise(const fc_surface *s, double rate, double completions) {
  static const double STEP = 1.03;
  double cv = s->demand.output_cv, tpot[2];
  fc_side side = s->def.instance == FC_INSTANCE_DECODE ? FC_SIDE_DECODE : FC_SIDE_WHOLE;
  for (int i = 0; i < 2; i++) {
    fc_trend t;
    if (fc_phase_trend(&t, &s->demand, &s->def.plan, side, (double)s->def.policy.token_budget,
                       i ? rate * STEP : rate / STEP) != FC_OK)
      return 0;
    tpot[i] = t.tpot_s;
  }
  double slope = 0.5 * log(tpot[1] / tpot[0]) / log(STEP);
  return isfinite(slope) ? slope * slope * (1 + cv * cv) / fmax(1, completions) : 0;
}

static void fill(fc_surface_run *out, const fc_surface *s, const fc_replica_result *before,
                 const fc_replica_result *r, const sample *x) {
  double growth_ttft, growth_tpot, span = 1e-9 * x->span_ns;
  estimate(&x->ttft, &out->ttft_s, &out->ttft_var, &growth_ttft);
  estimate(&x->tpot, &out->tpot_s, &out->tpot_var, &growth_tpot);
  if (s->def.instance == FC_INSTANCE_DECODE)
    out->ttft_s = out->ttft_var = 0;
  else if (s->def.instance == FC_INSTANCE_PREFILL)
    out->tpot_s = out->tpot_var = 0;
  if (out->tpot_s > 0) out->tpot_var += load_noise(s, out->rate_per_s, x->done);
  out->in_flight = out->rate_per_s * s->demand.output * out->tpot_s; /* Little */
  out->busy = (r->busy_s - before->busy_s) / span;
  double busy = r->busy_s - before->busy_s,
         prompts = r->prefill_s + r->mixed_s - before->prefill_s - before->mixed_s;
  out->prefill_share = busy > 0 ? prompts / busy : 0;
  out->watts = (r->energy_j - before->energy_j) / (r->span_s - before->span_s) / (double)s->def.plan.devices;
  out->completions = x->done;
  out->throughput_per_s = x->done / span;
  if (s->def.instance == FC_INSTANCE_PREFILL)
    out->throughput_per_s = (double)(r->prefilled_tokens - before->prefilled_tokens) / s->demand.fresh / span;
  bool behind = out->tpot_s > 0 && out->throughput_per_s < KEEPS_UP * out->rate_per_s;
  out->overloaded = x->refused > 0.01 * x->done || !(x->done > 0) || behind ||
                    (out->ttft_s > 0 && growth_ttft > PILE && out->busy > 0.97) ||
                    (out->tpot_s > 0 && growth_tpot > PILE);
}

static fc_status run_to(fc_surface_run *out, const fc_surface *s, fc_replica *r, const stretch *t,
                        const sample *x) {
  fc_replica_result *result = calloc(2, sizeof *result);
  if (!result) return FC_E_NOMEM;
  fc_status status = fc_replica_advance(r, fc_time_from_s(t->burn_s));
  if (status == FC_OK) status = fc_replica_take_result(&result[0], r, NULL);
  if (status == FC_OK) status = fc_replica_advance(r, fc_time_from_s(t->until_s));
  if (status == FC_OK) status = fc_replica_take_result(&result[1], r, NULL);
  if (status == FC_OK) fill(out, s, &result[0], &result[1], x);
  free(result);
  return status;
}

fc_status fc_surface_simulate(fc_surface_run *out, const fc_surface *s, double rate, uint64_t seed) {
  FC_ASSERT(rate > 0 && isfinite(rate));
  *out = (fc_surface_run){.rate_per_s = rate};
  if (s->def.cancel && *s->def.cancel) return FC_E_CANCELLED;
  stretch t;
  fc_status status = stretch_of(&t, s, rate);
  if (status != FC_OK) return status;
  sample x = {.from_ns = 1e9 * t.burn_s, .span_ns = 1e9 * (t.until_s - t.burn_s)};
  x.decode = s->def.instance == FC_INSTANCE_DECODE;
  if (x.decode && s->def.kv_port_bytes_per_s > 0)
    x.fetch_s_per_token = fc_model_kv_bytes_per_token(s->def.model, s->def.plan.kv) /
                          (s->def.kv_port_bytes_per_s * (double)s->def.plan.tp);
  fc_load *load;
  status = load_of(&load, s, rate, t.until_s, seed);
  if (status != FC_OK) return status;
  fc_replica *r = NULL;
  fc_replica_def def = replica_of(s, &x);
  status = fc_replica_new(&r, &def, seed, 0);
  if (status == FC_OK) status = offer_all(r, load, s, t.first, seed);
  if (status == FC_OK) status = run_to(out, s, r, &t, &x);
  if (status == FC_OK) {
    fc_load_summary sum = fc_load_so_far(load);
    out->cut = sum.requests ? (double)sum.cut / (double)sum.requests : 0;
  }
  fc_replica_free(r);
  fc_load_free(load);
  return status;
}

/* --- the instance --- */

static fc_status make_steps(fc_surface *s) {
  const fc_surface_def *d = &s->def;
  fc_step_table_def t = fc_step_table_default_def();
  t.max_batch = d->policy.max_batch;
  t.max_tokens = d->policy.token_budget;
  t.max_context = (int64_t)s->input_max + s->output_max + 1;
  t.query_tokens = d->instance == FC_INSTANCE_PREFILL ? 1 : s->demand.queries;
  t.tolerance = TOLERANCE;
  if (d->step) {
    t.step = d->step;
    t.context = d->context;
    t.devices = d->plan.devices;
    t.groups = d->plan.attention_dp;
    return fc_step_table_new(&s->steps, &t);
  }
  fc_step_source source = {.model = d->model, .profile = d->profile, .plan = &d->plan};
  return fc_step_table_of_model(&s->steps, &t, &source);
}

fc_status fc_surface_new(fc_surface **out, const fc_surface_def *def) {
  *out = NULL;
  fc_phase_demand demand;
  fc_deployment deployment = {.speculative_tokens = def->speculative_tokens};
  fc_status status = fc_phase_demand_of(&demand, def->model, def->profile, &deployment, &def->shape,
                                        &(fc_slo){.ttft_s = 1, .tpot_s = 1});
  if (status != FC_OK) return status;
  if (!def->step && fc_serve_plan_check(def->model, &def->plan, NULL) != FC_OK) return FC_E_DOMAIN;
  demand.step = def->step;
  demand.context = def->context;
  fc_surface *s = calloc(1, sizeof *s);
  if (!s) return FC_E_NOMEM;
  s->def = *def;
  s->demand = demand;
  const fc_request_shape *q = &def->shape;
  double whole = q->input_tokens + q->output_tokens;
  s->kv_blocks = def->kv_blocks;
  if (!def->step)
    s->kv_blocks = fc_replica_kv_blocks(def->model, def->profile->device, &def->plan, BLOCK, whole);
  /* a request lives in one group's cache; with its last block and the tokens of one more iteration */
  int64_t own = s->kv_blocks / def->plan.attention_dp * BLOCK;
  double room = (double)own - BLOCK - 16;
  room = fmin(room, TABLE_CONTEXT - 1.0);
  double input = fmin(FC_SURFACE_LONGEST * q->input_tokens, room * q->input_tokens / whole),
         output = fmin(FC_SURFACE_LONGEST * q->output_tokens, room * q->output_tokens / whole);
  if (!(input >= q->input_tokens) || !(output >= q->output_tokens)) {
    free(s);
    return FC_E_INFEASIBLE;
  }
  s->input_max = (uint32_t)fmax(1, ceil(input));
  s->output_max = (uint32_t)fmax(2, ceil(output));
  status = make_steps(s);
  if (status == FC_OK)
    *out = s;
  else
    free(s);
  return status;
}
