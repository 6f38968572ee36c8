/* SPDX-License-Identifier: Apache-2.0 */
/* Instances of which some compute prompts and some decode: which there are, and the most that each could
 * serve. */
#include "search_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What one plan could do on one side. */
typedef struct {
  size_t option;
  int64_t limit; /* token budget, or batch */
  double rate;   /* requests */
  double time_s; /* of a prompt; of a token */
  double share;  /* device-seconds a request */
} side;

static int by_share(const void *a, const void *b) {
  const side *x = a, *y = b;
  if (x->share != y->share) return x->share < y->share ? -1 : 1;
  if (x->option != y->option) return x->option < y->option ? -1 : 1;
  return (x->limit > y->limit) - (x->limit < y->limit);
}

static double held_tokens(const fc_search *s, const fc_search_option *o) {
  return (double)o->kv_blocks * (double)s->def->block_tokens;
}

static bool has_room(const fc_search *s, const fc_search_option *o) {
  return held_tokens(s, o) / (double)o->plan.attention_dp >= s->lengths.longest;
}

static double front_s(const fc_search_def *def) {
  return def->engine ? def->engine->front_s + 2 * def->engine->way_s : 0;
}

/* Prompts a second, in iterations of whichever size does most. */
static double prompt_rate(fc_search_bound *b) {
  enum { SPLITS = 4 };
  double input = b->s->lengths.input, best = 0, top = b->budget;
  if (!b->s->def->policy.chunked) top = fmax(top, input);
  double bottom = fmin(top, input);
  for (int i = 0; i <= SPLITS; i++) {
    double tokens = bottom * pow(top / bottom, (double)i / SPLITS);
    best = fmax(best, tokens / input / fc_search_iteration_s(b, 0, tokens));
  }
  return best;
}

/* Of a prompt while every group has one: each is computed by its own, whose chunk the others wait for. */
static double loaded_prompt_s(fc_search_bound *b) {
  double input = b->s->lengths.input, chunks = 1;
  if (b->s->def->policy.chunked) chunks = ceil(input * b->groups / b->budget);
  return chunks * fc_search_iteration_s(b, 0, b->groups * input / chunks);
}

/* Whose budget does most. */
static bool prefill_side(side *out, fc_search *s, size_t option) {
  const fc_search_def *def = s->def;
  const fc_search_option *o = &s->option[option];
  *out = (side){.option = option};
  for (size_t i = 0; i < def->n_budgets; i++) {
    fc_search_bound b = fc_search_bound_of(s, o, def->token_budget[i]);
    double rate = prompt_rate(&b), least_s = fc_search_prompt_s(&b) + front_s(def);
    if (b.broken || least_s > def->slo.ttft_s || !(rate > out->rate)) continue;
    out->rate = rate;
    out->time_s = loaded_prompt_s(&b);
    out->limit = def->token_budget[i];
  }
  out->share = (double)o->plan.devices / out->rate;
  return out->rate > 0;
}

static double decode_rate(fc_search *s, const fc_search_option *o, int64_t max_batch, double limit_s,
                          double *at_s) {
  fc_search_bound b = fc_search_bound_of(s, o, 1);
  b.decodes = true;
  double most = fmax(1, fmin((double)max_batch * b.groups, held_tokens(s, o) / s->lengths.context));
  double rate = fc_search_best_rate(&b, most, limit_s, at_s);
  return b.broken ? 0 : rate;
}

/* Whose smallest batch limit does as much as any: a larger one changes nothing by the closed form. */
static bool decode_side(side *out, fc_search *s, size_t option) {
  const fc_search_def *def = s->def;
  const fc_search_option *o = &s->option[option];
  *out = (side){.option = option};
  for (size_t i = 0; i < def->n_batches; i++) {
    double at_s, rate = decode_rate(s, o, def->max_batch[i], def->slo.tpot_s, &at_s);
    if (!(rate > 1.0001 * out->rate)) continue;
    out->rate = rate;
    out->time_s = at_s;
    out->limit = def->max_batch[i];
  }
  out->share = (double)o->plan.devices / out->rate;
  return out->rate > 0;
}

/* Those that no other undercuts both in share and in time, cheapest first. */
static size_t keep_best(side *x, size_t n) {
  size_t kept = 0;
  double fastest = (double)INFINITY;
  qsort(x, n, sizeof *x, by_share);
  for (size_t i = 0; i < n && kept < FC_SEARCH_SIDES; i++) {
    if (!(x[i].time_s < fastest)) continue;
    fastest = x[i].time_s;
    x[kept++] = x[i];
  }
  return kept;
}

/* --- two sides --- */

static int64_t divisor(int64_t a, int64_t b) {
  return b ? divisor(b, a % b) : a;
}

static fc_status add_candidate(fc_search *s, const side *p, const side *d, int64_t x, int64_t y) {
  const fc_search_option *prefill = &s->option[p->option], *decode = &s->option[d->option];
  fc_search_candidate *grown = realloc(s->out->candidate, (s->out->n + 1) * sizeof *grown);
  if (!grown) return FC_E_NOMEM;
  s->out->candidate = grown;
  fc_search_pair *pair = realloc(s->pair, (s->n_pairs + 1) * sizeof *pair);
  if (!pair) return FC_E_NOMEM;
  s->pair = pair;
  grown[s->out->n++] =
      (fc_search_candidate){.device = decode->device,
                            .usd_per_s = decode->usd_per_s,
                            .plan = decode->plan,
                            .max_batch = d->limit,
                            .token_budget = p->limit,
                            .kv_blocks = decode->kv_blocks,
                            .instance_devices = x * prefill->plan.devices + y * decode->plan.devices,
                            .prefills = x,
                            .decodes = y,
                            .prefill_plan = prefill->plan,
                            .prefill_kv_blocks = prefill->kv_blocks,
                            .weight_bytes = decode->weight_bytes,
                            .option = s->n_options + s->n_pairs};
  pair[s->n_pairs++] = (fc_search_pair){p->option, d->option};
  return FC_OK;
}

/* Ratios by what they cost, then by their size. */
static fc_status add_ratios(fc_search *s, const side *p, const side *d) {
  enum { MOST = FC_SEARCH_RATIO_MOST };
  bool taken[MOST + 1][MOST + 1] = {{false}};
  const fc_search_option *prefill = &s->option[p->option], *decode = &s->option[d->option];
  fc_status status = FC_OK;
  for (int k = 0; k < FC_SEARCH_RATIOS && status == FC_OK; k++) {
    double least = (double)INFINITY;
    int64_t best_x = 0, best_y = 0;
    for (int64_t x = 1; x <= MOST; x++)
      for (int64_t y = 1; y <= MOST; y++) {
        fc_search_candidate c = {.usd_per_s = decode->usd_per_s};
        c.instance_devices = x * prefill->plan.devices + y * decode->plan.devices;
        if (taken[x][y] || divisor(x, y) > 1) continue;
        if (s->def->devices_max > 0 && c.instance_devices > s->def->devices_max) continue;
        double usd = fc_search_usd(s, &c, fmin((double)x * p->rate, (double)y * d->rate));
        if (!(usd < (1 - 1e-9) * least)) continue;
        least = usd;
        best_x = x;
        best_y = y;
      }
    if (!best_x) break;
    taken[best_x][best_y] = true;
    status = add_candidate(s, p, d, best_x, best_y);
  }
  return status;
}

/* Of the options [first, last) of one device. */
static fc_status add_device(fc_search *s, size_t first, size_t last) {
  size_t n_prefill = 0, n_decode = 0;
  side *prefill = malloc((last - first) * sizeof *prefill);
  side *decode = malloc((last - first) * sizeof *decode);
  fc_status status = prefill && decode ? FC_OK : FC_E_NOMEM;
  for (size_t i = first; i < last && status == FC_OK; i++) {
    const fc_search_option *o = &s->option[i];
    if (!(o->link_bytes_per_s > 0) || !has_room(s, o)) continue;
    n_prefill += prefill_side(&prefill[n_prefill], s, i);
    n_decode += decode_side(&decode[n_decode], s, i);
  }
  if (status == FC_OK) {
    n_prefill = keep_best(prefill, n_prefill);
    n_decode = keep_best(decode, n_decode);
  }
  for (size_t i = 0; i < n_prefill && status == FC_OK; i++)
    for (size_t k = 0; k < n_decode && status == FC_OK; k++) status = add_ratios(s, &prefill[i], &decode[k]);
  free(prefill);
  free(decode);
  return status;
}

fc_status fc_search_add_apart(fc_search *s) {
  fc_status status = FC_OK;
  for (size_t first = 0, last; first < s->n_options && status == FC_OK; first = last) {
    for (last = first + 1; last < s->n_options; last++)
      if (strcmp(s->option[last].device, s->option[first].device) != 0) break;
    status = add_device(s, first, last);
  }
  return status;
}

/* --- the bound --- */

void fc_search_screen_apart(fc_search *s, size_t i) {
  fc_search_candidate *c = &s->out->candidate[i];
  const fc_search_def *def = s->def;
  const fc_search_pair *pair = &s->pair[c->option - s->n_options];
  const fc_search_option *decode = &s->option[pair->decode];
  fc_search_bound b = fc_search_bound_of(s, &s->option[pair->prefill], c->token_budget);
  double prompts = (double)c->prefills * prompt_rate(&b), y = (double)c->decodes, any_s;
  c->screen_ttft_s = fc_search_prompt_s(&b) + front_s(def);
  s->cap[i] = fmin(prompts, y * decode_rate(s, decode, c->max_batch, 1e300, &any_s));
  c->bound_rate = fmin(prompts, y * decode_rate(s, decode, c->max_batch, def->slo.tpot_s, &c->screen_tpot_s));
  c->bound_usd_per_mtok = fc_search_usd(s, c, c->bound_rate);
  double devices = fc_search_instances(def, c->bound_rate) * (double)c->instance_devices;
  bool too_many = def->devices_max > 0 && devices * (1 - def->margin) > (double)def->devices_max;
  c->state = too_many ? FC_SEARCH_DEVICES : FC_SEARCH_UNTRIED;
}
