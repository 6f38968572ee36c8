/* SPDX-License-Identifier: Apache-2.0 */
/* The fleet's question: the closed form's deployment, at the engine's rates. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "surface_private.h"

/* Objectives of the closed form that an automatic deployment is chosen by, where the engine cannot keep the
 * real one with what the objective itself chose. */
static const double TIGHTER[] = {1, 0.7, 0.5};
/* Engine over closed form at which no other plan or budget is looked for.  @source judgement */
static const double ENOUGH = 0.8;
enum { BUDGETS = 4 };
#define COUNT_OF(a) (sizeof(a) / sizeof *(a))

typedef struct {
  const fc_phase_demand *demand;
  const fc_request_shape *shape;
  const fc_slo *slo;
  const fc_surface_options *options;
  char *why; /* nullable */
} question;

static fc_surface_def def_of(const question *q, const fc_serve_capacity *start, fc_instance instance) {
  fc_surface_def d = {.model = q->demand->model, .profile = q->demand->profile, .instance = instance};
  d.plan = instance == FC_INSTANCE_PREFILL ? start->deployment.prefill : start->deployment.decode;
  bool found = fc_serve_policy_named(&d.policy, "vllm");
  (void)found;
  d.policy.max_batch = FC_SERVE_GROUP_BATCH_MAX;
  if (instance == FC_INSTANCE_PREFILL) d.policy.token_budget = (int64_t)start->prefill_budget;
  if (instance == FC_INSTANCE_WHOLE) /* the closed form's chunk, and room for the decodes beside it */
    d.policy.token_budget =
        (int64_t)(start->decode_budget + ceil(start->decode_batch * (double)d.plan.devices /
                                              (double)d.plan.attention_dp * q->demand->queries));
  d.speculative_tokens = q->demand->yield;
  d.shape = *q->shape;
  if (instance == FC_INSTANCE_DECODE) d.kv_port_bytes_per_s = d.profile->device->scaleout_bytes_per_s;
  d.seed = q->options->seed;
  d.completions = q->options->completions ? q->options->completions : FC_SURFACE_COMPLETIONS;
  d.cancel = q->options->cancel;
  return d;
}

static void fill_prefill(fc_serve_capacity *c, const fc_surface_found *a, double fresh) {
  c->prefill_tokens_per_s = a->rate * fresh / (double)a->surface->def.plan.devices;
  c->prefill_log_sd = a->rate_log_sd;
  c->ttft_s = a->ttft_s;
  c->prefill_utilisation = fmin(1, a->rate / (a->most / FC_SURFACE_LOAD_MAX));
  c->prefill_watts = a->direct.watts;
  c->prefill_limit = a->limit;
  c->surface.prefill_log_sd = a->surface_log_sd;
  c->surface.prefill_error = a->error;
  c->surface.prefill_error_sd = a->error_sd;
  c->surface.direct_ttft_s = a->direct.ttft_s;
}

static void fill_decode(fc_serve_capacity *c, const fc_surface_found *a, const fc_phase_demand *d) {
  double devices = (double)a->surface->def.plan.devices;
  c->decode_tokens_per_s = a->rate * d->output / devices;
  c->decode_log_sd = a->rate_log_sd;
  c->tpot_s = a->tpot_s;
  c->decode_watts = a->direct.watts;
  c->decode_limit = a->limit;
  c->decode_batch = a->direct.in_flight / devices;
  c->kv_tokens =
      c->decode_batch * (d->cached + d->fresh + 0.5 * d->output * (1 + d->output_cv * d->output_cv));
  c->surface.decode_log_sd = a->surface_log_sd;
  c->surface.decode_error = a->error;
  c->surface.decode_error_sd = a->error_sd;
  c->surface.direct_tpot_s = a->direct.tpot_s;
}

static double request_device_s(const fc_phase_demand *d, const fc_serve_capacity *c) {
  return d->fresh / c->prefill_tokens_per_s + d->output / c->decode_tokens_per_s;
}

/* Both phases share the devices: the closed form says how, the engine how much in all. */
static void fill_whole(fc_serve_capacity *c, const fc_surface_found *a, const fc_phase_demand *d) {
  double factor = a->rate * request_device_s(d, c) / (double)a->surface->def.plan.devices;
  double prefill = c->prefill_tokens_per_s * factor, decode = c->decode_tokens_per_s * factor;
  fill_prefill(c, a, d->fresh);
  fill_decode(c, a, d);
  c->prefill_tokens_per_s = prefill;
  c->decode_tokens_per_s = decode;
  c->prefill_utilisation = a->direct.prefill_share;
}

static fc_status never(const question *q, const fc_surface_found *a, const char *which) {
  const fc_surface_run *r;
  int n = fc_surface_points(a->surface, &r);
  if (!q->why || n == 0) return FC_E_INFEASIBLE;
  bool ttft = r[0].ttft_s > a->slo.ttft_s;
  if (ttft)
    (void)snprintf(q->why, 256,
                   "%s: %.3g s to the first token at the least load simulated, over the objective of %.3g s",
                   which, r[0].ttft_s, a->slo.ttft_s);
  else
    (void)snprintf(q->why, 256,
                   "%s: %.3g ms a token at the least load simulated, over the objective of "
                   "%.3g ms",
                   which, r[0].tpot_s * 1e3, a->slo.tpot_s * 1e3);
  return FC_E_INFEASIBLE;
}

static double start_rate(const question *q, const fc_serve_capacity *c, fc_instance instance) {
  const fc_phase_demand *d = q->demand;
  if (instance == FC_INSTANCE_PREFILL) return c->prefill_tokens_per_s * (double)c->prefill_unit / d->fresh;
  if (instance == FC_INSTANCE_DECODE) return c->decode_tokens_per_s * (double)c->decode_unit / d->output;
  return (double)c->decode_unit / request_device_s(d, c);
}

/* One phase of a deployment, simulated; c keeps what it held where that fails. */
static fc_status ask(fc_serve_capacity *c, const question *q, fc_instance instance) {
  static const char *const word[] = {"prefill", "decode", "serving"};
  fc_surface_found a = {.slo = *q->slo};
  a.start = start_rate(q, c, instance);
  a.log_sd = instance == FC_INSTANCE_PREFILL ? c->prefill_log_sd : c->decode_log_sd;
  fc_surface_def def = def_of(q, c, instance);
  fc_status status = fc_surface_find(&a, &def, q->options);
  c->surface.runs += a.runs;
  if (status == FC_OK && !(a.rate > 0)) status = never(q, &a, word[instance]);
  if (status == FC_OK) {
    if (instance == FC_INSTANCE_PREFILL)
      fill_prefill(c, &a, q->demand->fresh);
    else if (instance == FC_INSTANCE_DECODE)
      fill_decode(c, &a, q->demand);
    else
      fill_whole(c, &a, q->demand);
    c->surface.cut = fmax(c->surface.cut, a.direct.cut);
  }
  fc_surface_free(a.surface);
  return status;
}

/* How much there is of what one is after: the rate of the phase, or of both. */
static double worth(const question *q, const fc_serve_capacity *c, fc_instance instance) {
  if (instance == FC_INSTANCE_PREFILL) return c->prefill_tokens_per_s;
  return instance == FC_INSTANCE_DECODE ? c->decode_tokens_per_s : 1 / request_device_s(q->demand, c);
}

/* The closed form's token budget, and smaller ones where the engine falls far short of it. */
static fc_status ask_budgets(fc_serve_capacity *best, const fc_serve_capacity *closed, const question *q,
                             fc_instance instance) {
  fc_serve_capacity start = *closed;
  fc_status found = FC_E_INFEASIBLE;
  double *budget = instance == FC_INSTANCE_PREFILL ? &start.prefill_budget : &start.decode_budget;
  int64_t runs = 0;
  for (int i = 0; i < BUDGETS; i++) {
    fc_serve_capacity c = start;
    fc_status status = ask(&c, q, instance);
    runs += c.surface.runs;
    if (status != FC_OK && status != FC_E_INFEASIBLE) return status;
    bool better = status == FC_OK && (found != FC_OK || worth(q, &c, instance) > worth(q, best, instance));
    if (better) *best = c;
    best->surface.runs = runs;
    bool enough = status == FC_OK && worth(q, &c, instance) > ENOUGH * worth(q, closed, instance);
    if (status == FC_OK) found = FC_OK;
    if (enough || (i > 0 && !better) || instance == FC_INSTANCE_DECODE || *budget < 1024) break;
    *budget *= 0.5;
  }
  return found;
}

/* The best of each kind so far, over the closed form's proposals. */
typedef struct {
  bool has[3];
  fc_serve_capacity best[3]; /* by fc_instance */
} proposals;

static fc_status consider(proposals *p, const fc_serve_capacity *closed, const question *q,
                          fc_instance instance, bool *enough) {
  fc_serve_capacity c = *closed;
  fc_status status = ask_budgets(&c, closed, q, instance);
  int64_t runs = c.surface.runs + p->best[instance].surface.runs;
  *enough = status == FC_OK && worth(q, &c, instance) > ENOUGH * worth(q, closed, instance);
  if (status == FC_OK &&
      (!p->has[instance] || worth(q, &c, instance) > worth(q, &p->best[instance], instance)))
    p->best[instance] = c;
  if (status == FC_OK) p->has[instance] = true;
  p->best[instance].surface.runs = runs;
  return status == FC_E_INFEASIBLE ? FC_OK : status;
}

static fc_status consider_all(proposals *p, const fc_serve_capacity *closed, const question *q,
                              bool *enough) {
  if (!closed->deployment.disaggregated) return consider(p, closed, q, FC_INSTANCE_WHOLE, enough);
  bool prefill = false, decode = false;
  fc_status status = consider(p, closed, q, FC_INSTANCE_PREFILL, &prefill);
  if (status == FC_OK) status = consider(p, closed, q, FC_INSTANCE_DECODE, &decode);
  *enough = prefill && decode;
  return status;
}

/* Prefill of one, decode of the other. */
static fc_serve_capacity pair_of(const proposals *p) {
  const fc_serve_capacity *f = &p->best[FC_INSTANCE_PREFILL], *g = &p->best[FC_INSTANCE_DECODE];
  fc_serve_capacity c = *g;
  c.deployment.prefill = f->deployment.prefill;
  c.prefill_tokens_per_s = f->prefill_tokens_per_s;
  c.prefill_unit = f->prefill_unit;
  c.ttft_s = f->ttft_s;
  c.prefill_utilisation = f->prefill_utilisation;
  c.prefill_watts = f->prefill_watts;
  c.prefill_log_sd = f->prefill_log_sd;
  c.prefill_budget = f->prefill_budget;
  c.prefill_limit = f->prefill_limit;
  c.surface.prefill_log_sd = f->surface.prefill_log_sd;
  c.surface.prefill_error = f->surface.prefill_error;
  c.surface.prefill_error_sd = f->surface.prefill_error_sd;
  c.surface.direct_ttft_s = f->surface.direct_ttft_s;
  c.surface.cut = fmax(f->surface.cut, g->surface.cut);
  return c;
}

static fc_status choose(fc_serve_capacity *out, const proposals *p, const question *q) {
  bool split = p->has[FC_INSTANCE_PREFILL] && p->has[FC_INSTANCE_DECODE], whole = p->has[FC_INSTANCE_WHOLE];
  if (!split && !whole) return FC_E_INFEASIBLE;
  if (split) *out = pair_of(p);
  const fc_serve_capacity *w = &p->best[FC_INSTANCE_WHOLE];
  if (whole && (!split || worth(q, w, FC_INSTANCE_WHOLE) >= worth(q, out, FC_INSTANCE_WHOLE))) *out = *w;
  out->surface.runs = 0;
  for (int i = 0; i < 3; i++) out->surface.runs += p->best[i].surface.runs;
  return FC_OK;
}

static bool same(const fc_serve_capacity *a, const fc_serve_capacity *b) {
  const fc_deployment *x = &a->deployment, *y = &b->deployment;
  const fc_serve_plan *xp = &x->prefill, *yp = &y->prefill, *xd = &x->decode, *yd = &y->decode;
  return x->disaggregated == y->disaggregated && xp->tp == yp->tp && xp->devices == yp->devices &&
         xp->ep == yp->ep && xp->two_batch_overlap == yp->two_batch_overlap && xd->tp == yd->tp &&
         xd->devices == yd->devices && xd->ep == yd->ep && xd->two_batch_overlap == yd->two_batch_overlap;
}

static fc_status simulate_all(fc_serve_capacity *out, const fc_serve_capacity *first, const question *q,
                              const fc_deployment *deployment) {
  const fc_phase_demand *d = q->demand;
  proposals p = {0};
  fc_serve_capacity c = *first, before;
  size_t tries = deployment->automatic ? COUNT_OF(TIGHTER) : 1;
  for (size_t i = 0; i < tries; i++) {
    bool enough = false;
    if (i > 0) {
      before = c;
      fc_slo tight = {q->slo->ttft_s * TIGHTER[i], q->slo->tpot_s * TIGHTER[i]};
      if (fc_serve_capacity_solve(&c, d->model, d->profile, deployment, q->shape, &tight, NULL) != FC_OK)
        break;
      if (same(&c, &before)) continue;
    }
    fc_status status = consider_all(&p, &c, q, &enough);
    if (status != FC_OK) return status;
    if (enough) break;
  }
  fc_status status = choose(out, &p, q);
  if (status != FC_OK) return status;
  out->surface.used = true;
  out->surface.closed_prefill_tokens_per_s = first->prefill_tokens_per_s;
  out->surface.closed_decode_tokens_per_s = first->decode_tokens_per_s;
  return FC_OK;
}

fc_status fc_surface_capacity(fc_serve_capacity *out, const fc_model *model, const fc_profile *profile,
                              const fc_deployment *deployment, const fc_request_shape *shape,
                              const fc_slo *slo, const fc_surface_options *options, char *why) {
  fc_serve_capacity first;
  fc_phase_demand d;
  fc_surface_key key;
  fc_status status = fc_serve_capacity_solve(&first, model, profile, deployment, shape, slo, why);
  if (status == FC_OK) status = fc_phase_demand_of(&d, model, profile, &first.deployment, shape, slo);
  if (status == FC_OK && options->cache)
    status = fc_surface_key_of(&key, &first, deployment, &d, shape, options);
  if (status != FC_OK) return status;
  fc_surface_answer answer = {.capacity = first};
  if (!options->cache || !fc_surface_cache_read(&answer, &key, options)) {
    question q = {&d, shape, slo, options, answer.why};
    answer.status = simulate_all(&answer.capacity, &first, &q, deployment);
    if (answer.status != FC_OK && answer.status != FC_E_INFEASIBLE) return answer.status;
    if (answer.status == FC_OK) answer.why[0] = '\0';
    if (options->cache) fc_surface_cache_write(&answer, &key, options);
  }
  if (why) (void)snprintf(why, sizeof answer.why, "%s", answer.why);
  if (answer.status == FC_OK) *out = answer.capacity;
  return answer.status;
}
