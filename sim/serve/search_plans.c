/* SPDX-License-Identifier: Apache-2.0 */
/* Which candidates there are, and the most that each could serve. */
#include "search_private.h"

#include <math.h>
#include <stdlib.h>

#include <fleetcast/serve/capacity.h>
#include <fleetcast/serve/replica.h>

/* --- enumeration --- */

enum { DEGREES_MAX = 1024, DOMAIN_LEAST = 16 };

static fc_status add_option(fc_search *s, const fc_search_option *o) {
  fc_search_option *grown = realloc(s->option, (s->n_options + 1) * sizeof *grown);
  if (!grown) return FC_E_NOMEM;
  s->option = grown;
  grown[s->n_options++] = *o;
  return FC_OK;
}

static fc_status add_plan(fc_search *s, const fc_search_device *d, const fc_serve_plan *plan) {
  const fc_model *model = s->def->model;
  if (fc_serve_plan_check(model, plan, NULL) != FC_OK) {
    s->out->undivided++;
    return FC_OK;
  }
  fc_serve_plan stored = *plan;
  if (d->stored != FC_DTYPE_FP32) stored.gemm = d->stored;
  fc_serve_memory memory;
  fc_cost_serve_stage_memory(&memory, model, d->profile->device, &stored, s->lengths.context);
  fc_search_option o = {.device = d->name,
                        .usd_per_s = d->usd_per_s,
                        .plan = *plan,
                        .source = {.model = model, .profile = d->profile},
                        .weight_bytes = memory.weight_bytes,
                        .link_bytes_per_s = d->profile->device->scaleout_bytes_per_s,
                        .kv_bytes_per_token = fc_model_kv_bytes_per_token(model, plan->kv)};
  o.kv_blocks =
      fc_replica_kv_blocks(model, d->profile->device, &stored, s->def->block_tokens, s->lengths.context);
  return add_option(s, &o);
}

/* Experts: over all devices, by tensor parallelism alone, or over some where groups are several. */
static fc_status add_experts(fc_search *s, const fc_search_device *d, int64_t tp, int64_t dp, int64_t pp) {
  const fc_model *model = s->def->model;
  bool sparse = model->moe.experts > 0;
  int64_t ep = 1;
  for (int i = 0; i < 2; i++) {
    fc_serve_plan p = d->wish;
    p.devices = tp * dp * pp;
    p.tp = tp;
    p.attention_dp = dp;
    p.ep = ep;
    p.pp = pp;
    if (p.two_batch_overlap && ep == 1) p.two_batch_overlap = false;
    p = fc_serve_plan_complete(model, &p);
    fc_status status =
        dp > 1 && ep == 1 ? FC_OK : add_plan(s, d, &p); /* groups share experts, or are instances */
    if (status != FC_OK || !sparse || tp * dp == 1) return status;
    ep = tp * dp;
  }
  return FC_OK;
}

static fc_status add_device(fc_search *s, const fc_search_device *d) {
  int64_t domain = d->profile->device->scaleup_devices, most = d->devices_max;
  if (domain < 1) domain = 1;
  if (most < 1) most = domain > DOMAIN_LEAST ? domain : DOMAIN_LEAST;
  if (s->def->devices_max > 0 && most > s->def->devices_max) most = s->def->devices_max;
  if (most > DEGREES_MAX) most = DEGREES_MAX;
  int64_t heads = s->def->model->attention.heads;
  fc_status status = FC_OK;
  int64_t stages = d->stages_max > 1 ? d->stages_max : 1;
  for (int64_t pp = 1; pp <= stages && status == FC_OK; pp *= 2)
    for (int64_t tp = 1; tp * pp <= most && tp <= domain && status == FC_OK; tp++) {
      if (heads % tp != 0) continue;
      status = add_experts(s, d, tp, 1, pp);
      if (s->def->model->moe.experts == 0) continue;
      for (int64_t dp = 2; tp * dp * pp <= most && status == FC_OK; dp *= 2)
        status = add_experts(s, d, tp, dp, pp);
    }
  return status;
}

static fc_status add_candidates(fc_search *s, size_t option) {
  const fc_search_def *def = s->def;
  const fc_search_option *o = &s->option[option];
  size_t most = s->out->n + def->n_batches * def->n_budgets;
  fc_search_candidate *grown = realloc(s->out->candidate, most * sizeof *grown);
  if (!grown) return FC_E_NOMEM;
  s->out->candidate = grown;
  double held = (double)o->kv_blocks * (double)def->block_tokens / s->lengths.context;
  for (size_t b = 0; b < def->n_batches; b++) {
    /* past twice what the cache holds a limit changes nothing */
    if (b > 0 && (double)def->max_batch[b - 1] * fc_search_groups(&o->plan) > 2 * held) break;
    for (size_t c = 0; c < def->n_budgets; c++)
      grown[s->out->n++] = (fc_search_candidate){.device = o->device,
                                                 .usd_per_s = o->usd_per_s,
                                                 .plan = o->plan,
                                                 .max_batch = def->max_batch[b],
                                                 .token_budget = def->token_budget[c],
                                                 .kv_blocks = o->kv_blocks,
                                                 .instance_devices = o->plan.devices,
                                                 .weight_bytes = o->weight_bytes,
                                                 .option = option};
  }
  return FC_OK;
}

fc_status fc_search_enumerate(fc_search *s) {
  const fc_search_def *def = s->def;
  fc_status status = FC_OK;
  for (size_t i = 0; i < def->n_devices && status == FC_OK; i++) status = add_device(s, &def->devices[i]);
  for (size_t i = 0; i < def->n_instances && status == FC_OK; i++) {
    const fc_search_instance *in = &def->instances[i];
    status = add_option(s, &(fc_search_option){.device = in->device,
                                               .usd_per_s = in->usd_per_s,
                                               .plan = in->plan,
                                               .step = in->step,
                                               .context = in->context,
                                               .kv_blocks = in->kv_blocks,
                                               .link_bytes_per_s = in->link_bytes_per_s,
                                               .kv_bytes_per_token = in->kv_bytes_per_token});
  }
  for (size_t i = 0; i < s->n_options && status == FC_OK; i++) status = add_candidates(s, i);
  return status == FC_OK && def->apart ? fc_search_add_apart(s) : status;
}

/* --- cost --- */

double fc_search_instances(const fc_search_def *def, double rate) {
  /* a rate that misses a whole number by rounding alone does not need another */
  return def->rate_per_s > 0 ? fmax(1, ceil(def->rate_per_s / rate - 1e-9)) : 1;
}

double fc_search_usd(const fc_search *s, const fc_search_candidate *c, double rate) {
  if (!(rate > 0)) return (double)INFINITY;
  double served = s->def->rate_per_s > 0 ? s->def->rate_per_s : rate;
  double devices = fc_search_instances(s->def, rate) * (double)c->instance_devices;
  return 1e6 * c->usd_per_s * devices / (served * s->lengths.output);
}

/* --- the bound --- */

fc_search_bound fc_search_bound_of(const fc_search *s, const fc_search_option *o, int64_t token_budget) {
  fc_search_bound b = {.s = s, .option = o, .source = o->source, .groups = fc_search_groups(&o->plan)};
  b.budget = b.groups * (double)token_budget;
  return b;
}

double fc_search_iteration_s(fc_search_bound *b, double decode, double prefill) {
  const fc_search_lengths *l = &b->s->lengths;
  double chunk = fmin(prefill, l->input);
  fc_serve_load load = {.decode_requests = decode, .decode_context = l->context};
  if (prefill > 0) {
    load.prefill_tokens = prefill;
    load.prefill_requests = fmax(fmin(prefill, b->groups), prefill / l->input);
    load.prefill_context = 0.5 * (l->input - chunk);
  }
  fc_serve_iteration it = {0};
  const fc_search_option *o = b->option;
  fc_status status = o->step
                         ? o->step(o->context, &it, &load)
                         : fc_cost_serve_iteration(&it, b->source.model, b->source.profile, &o->plan, &load);
  if (status != FC_OK) b->broken = true;
  const fc_search_def *def = b->s->def;
  double host = ((def->engine ? def->engine->request_s : 0) / b->groups + def->token_s) * decode;
  return it.seconds + host;
}

/* Mean time between two tokens of `decode` requests with the prompts that keep as many under way: spread
 * evenly or bunched, whichever is least. INFINITY: prompts alone fill the budget. */
static double between_tokens(fc_search_bound *b, double decode) {
  enum { SPLITS = 4 };
  const fc_search_lengths *l = &b->s->lengths;
  bool mixed = b->s->def->policy.mixed;
  if (b->decodes) return fc_search_iteration_s(b, decode, 0);
  double tokens = decode * l->input / (l->output - 1), room = b->budget - (mixed ? decode : 0);
  double least = (double)INFINITY;
  double top = fmax(room, b->s->def->policy.chunked ? 0 : l->input);
  double alone = fc_search_iteration_s(b, decode, 0);
  if (mixed && tokens > top) return least;
  double bottom = mixed ? tokens : fmin(top, l->input);
  for (int i = 0; i <= SPLITS && top > 0; i++) {
    double chunk = fmin(top, bottom * pow(top / bottom, (double)i / SPLITS)), share = tokens / chunk;
    double t = mixed ? (1 - share) * alone + share * fc_search_iteration_s(b, decode, chunk)
                     : alone + share * fc_search_iteration_s(b, 0, chunk);
    least = fmin(least, t);
  }
  return least;
}

double fc_search_best_rate(fc_search_bound *b, double most, double limit_s, double *at_s) {
  enum { POINTS = 12 };
  double low = 1, high = floor(most), t = between_tokens(b, 1);
  *at_s = t;
  if (!(t <= limit_s) || most < 1) return 0;
  if (between_tokens(b, high) <= limit_s) low = high;
  while (high - low > 1) {
    double middle = floor(0.5 * (low + high));
    if (between_tokens(b, middle) <= limit_s)
      low = middle;
    else
      high = middle;
  }
  double best = 0, output = b->s->lengths.output - 1;
  for (int i = 0; i <= POINTS; i++) { /* tiles: a smaller batch may do more */
    double batch = fmax(1, floor(pow(low, (double)i / POINTS) + 1e-9));
    t = between_tokens(b, batch);
    if (!(t <= limit_s) || !(batch / t / output > best)) continue;
    best = batch / t / output;
    *at_s = t;
  }
  return best;
}

double fc_search_prompt_s(fc_search_bound *b) {
  const fc_search_lengths *l = &b->s->lengths;
  double chunks = b->s->def->policy.chunked ? ceil(l->input * b->groups / b->budget) : 1;
  return chunks * fc_search_iteration_s(b, 0, l->input / chunks);
}

void fc_search_screen(fc_search *s, size_t i) {
  fc_search_candidate *c = &s->out->candidate[i];
  const fc_search_def *def = s->def;
  if (c->prefills) {
    fc_search_screen_apart(s, i);
    return;
  }
  fc_search_bound b = fc_search_bound_of(s, &s->option[c->option], c->token_budget);
  c->state = FC_SEARCH_UNTRIED;
  double held = (double)c->kv_blocks * (double)def->block_tokens;
  if (held / (double)c->plan.attention_dp < s->lengths.longest) {
    c->state = FC_SEARCH_MEMORY;
    return;
  }
  double front = def->engine ? def->engine->front_s + 2 * def->engine->way_s : 0;
  c->screen_ttft_s = fc_search_prompt_s(&b) + front;
  double most = fmax(1, fmin((double)c->max_batch * b.groups, held / s->lengths.context)), at_s;
  s->cap[i] = fc_search_best_rate(&b, most, 1e300, &at_s);
  c->bound_rate = fc_search_best_rate(&b, most, def->slo.tpot_s, &c->screen_tpot_s);
  c->bound_usd_per_mtok = fc_search_usd(s, c, c->bound_rate);
  double devices = fc_search_instances(def, c->bound_rate) * (double)c->instance_devices;
  if (b.broken)
    c->state = FC_SEARCH_PROFILE;
  else if (c->screen_ttft_s > def->slo.ttft_s)
    c->state = FC_SEARCH_TTFT;
  else if (!(c->bound_rate > 0))
    c->state = FC_SEARCH_TPOT;
  else if (def->devices_max > 0 && devices * (1 - def->margin) > (double)def->devices_max)
    c->state = FC_SEARCH_DEVICES;
}
