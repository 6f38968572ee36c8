/* SPDX-License-Identifier: Apache-2.0 */
/* Why a candidate lost, in a sentence. */
#include "search_private.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DEGREES = 72 };
static const char *degrees_of(const fc_serve_plan *plan, char out[DEGREES]) {
  int n = snprintf(out, DEGREES, "tp %lld", (long long)plan->tp);
  if (plan->attention_dp > 1 || plan->ep > 1)
    n += snprintf(out + n, DEGREES - (size_t)n, " dp %lld ep %lld", (long long)plan->attention_dp,
                  (long long)plan->ep);
  if (plan->pp > 1) (void)snprintf(out + n, DEGREES - (size_t)n, " pp %lld", (long long)plan->pp);
  return out;
}

void fc_search_name(char out[FC_SEARCH_NAME], const fc_search_candidate *c) {
  char plan[DEGREES], prefill[DEGREES];
  (void)degrees_of(&c->plan, plan);
  if (c->prefills)
    (void)snprintf(out, FC_SEARCH_NAME,
                   "%lld x %.40s (prefill %lld x %s, budget %lld; decode %lld x %s, batch %lld)",
                   (long long)c->instance_devices, c->device, (long long)c->prefills,
                   degrees_of(&c->prefill_plan, prefill), (long long)c->token_budget, (long long)c->decodes,
                   plan, (long long)c->max_batch);
  else
    (void)snprintf(out, FC_SEARCH_NAME, "%lld x %.40s (%s, batch %lld, budget %lld)",
                   (long long)c->instance_devices, c->device, plan, (long long)c->max_batch,
                   (long long)c->token_budget);
}

static const char *statistic_of(const fc_search_slo *slo, char out[16]) {
  if (slo->percentile > 0)
    (void)snprintf(out, 16, "P%g", 100 * slo->percentile);
  else
    (void)snprintf(out, 16, "mean");
  return out;
}

/* What the next rate of the grid fails by. */
static void limit_of(char out[160], const fc_search_def *def, const fc_search_candidate *c) {
  char which[16];
  const fc_search_point *p = c->state == FC_SEARCH_MET ? &c->past : &c->at;
  const fc_search_slo *slo = &def->slo;
  (void)statistic_of(slo, which);
  bool ttft = p->ttft_s / slo->ttft_s > p->tpot_s / slo->tpot_s;
  char value[80];
  if (ttft)
    (void)snprintf(value, sizeof value, "%s TTFT %.3g s of %.3g s", which, p->ttft_s, slo->ttft_s);
  else
    (void)snprintf(value, sizeof value, "%s TPOT %.3g ms of %.3g ms", which, 1e3 * p->tpot_s,
                   1e3 * slo->tpot_s);
  if (!(p->rate_per_s > 0)) {
    (void)snprintf(out, 160, "all that the closed form allows");
    return;
  }
  const char *cause = "";
  char share[48] = "";
  if (c->binds == FC_BINDS_KV) {
    cause = ", the KV cache";
    (void)snprintf(share, sizeof share, " %.0f %% full in the mean", 100 * p->kv_share);
  } else if (c->binds == FC_BINDS_BATCH) {
    cause = ", the batch limit reached";
  }
  (void)snprintf(out, 160, "%.60s at %.3g requests/s%.30s%.30s", value, p->rate_per_s, cause, share);
}

static double tokens_of(const fc_search *s, const fc_search_candidate *c) {
  return c->at.rate_per_s * s->lengths.output / (double)c->instance_devices;
}

/* By what a device does, what it costs, or what whole instances leave idle: whichever weighs most. */
static void why_lost(fc_search *s, fc_search_candidate *c, const fc_search_candidate *best) {
  double speed = tokens_of(s, best) / tokens_of(s, c), price = c->usd_per_s / best->usd_per_s;
  double idle = (c->usd_per_mtok / c->usd_full) / (best->usd_per_mtok / best->usd_full);
  double more = 100 * (c->usd_per_mtok / best->usd_per_mtok - 1);
  char limit[160];
  /* what is wrong with a device's profile is so for all its plans */
  bool same = strcmp(c->device, best->device) == 0;
  bool overlap = same ? c->usd_low <= best->usd_high : c->usd_least <= best->usd_most;
  const char *tie = overlap ? "; the intervals overlap" : "";
  if (more <= 0) tie = "; a tie, told apart by order alone";
  limit_of(limit, s->def, c);
  if (price > speed && price > idle)
    (void)snprintf(c->why, sizeof c->why,
                   "price: %.3g USD/h a device against %.3g, for %.4g output tokens/s against %.4g: %.1f %% "
                   "dearer (%s)%s",
                   3600 * c->usd_per_s, 3600 * best->usd_per_s, tokens_of(s, c), tokens_of(s, best), more,
                   limit, tie);
  else if (idle > speed)
    (void)snprintf(
        c->why, sizeof c->why,
        "whole instances: the load would fill %.3g of them and takes %.0f, of %lld device%s each: %.1f %% "
        "dearer (%s)%s",
        s->def->rate_per_s / c->at.rate_per_s, c->instances, (long long)c->instance_devices,
        c->instance_devices > 1 ? "s" : "", more, limit, tie);
  else
    (void)snprintf(c->why, sizeof c->why,
                   "%s: %.4g output tokens/s a device against %.4g: %.1f %% dearer (%s)%s",
                   fc_search_binds_text(c->binds), tokens_of(s, c), tokens_of(s, best), more, limit, tie);
}

static void why_out(fc_search *s, fc_search_candidate *c, const fc_search_candidate *best) {
  const fc_search_slo *slo = &s->def->slo;
  char limit[160];
  long long room = c->kv_blocks / c->plan.attention_dp * s->def->block_tokens;
  switch (c->state) {
  case FC_SEARCH_MISSED:
    limit_of(limit, s->def, c);
    (void)snprintf(c->why, sizeof c->why, "misses the objective at any rate: %s", limit);
    break;
  case FC_SEARCH_DEARER:
    (void)snprintf(c->why, sizeof c->why, "at least %.3g USD a million tokens, the best %.3g",
                   c->bound_usd_per_mtok, best ? best->usd_per_mtok : 0);
    break;
  case FC_SEARCH_MEMORY:
    (void)snprintf(c->why, sizeof c->why,
                   "weights of %.3g GB a device leave room for %lld tokens; the longest request has %.0f",
                   c->weight_bytes / 1e9, room, s->lengths.longest);
    break;
  case FC_SEARCH_TTFT:
    (void)snprintf(c->why, sizeof c->why, "a prompt alone takes %.3g s, the objective is %.3g s",
                   c->screen_ttft_s, slo->ttft_s);
    break;
  case FC_SEARCH_TPOT:
    (void)snprintf(c->why, sizeof c->why, "one request alone takes %.3g ms a token, the objective is %.3g ms",
                   1e3 * c->screen_tpot_s, 1e3 * slo->tpot_s);
    break;
  default: (void)snprintf(c->why, sizeof c->why, "%s", fc_search_state_text(c->state)); break;
  }
}

/* How far over its objective, as a factor; what does not fit has none. */
static double miss_of(const fc_search_candidate *c, const fc_search_slo *slo) {
  switch (c->state) {
  case FC_SEARCH_MISSED: return fmax(c->at.ttft_s / slo->ttft_s, c->at.tpot_s / slo->tpot_s);
  case FC_SEARCH_TTFT: return fmax(c->screen_ttft_s / slo->ttft_s, c->screen_tpot_s / slo->tpot_s);
  case FC_SEARCH_TPOT: return fmax(c->screen_ttft_s / slo->ttft_s, c->screen_tpot_s / slo->tpot_s);
  case FC_SEARCH_DEVICES: return 1e100;
  case FC_SEARCH_MEMORY: return 1e200;
  default: return 1e300;
  }
}

static void answer_nearest(fc_search *s) {
  fc_search_result *out = s->out;
  const fc_search_candidate *near = NULL;
  char name[FC_SEARCH_NAME];
  for (size_t i = 0; i < out->n; i++) {
    const fc_search_candidate *c = &out->candidate[i];
    if (!near || miss_of(c, &s->def->slo) < miss_of(near, &s->def->slo)) near = c;
  }
  if (!near) {
    (void)snprintf(out->answer, sizeof out->answer, "Nothing to choose from: no plan divides the model.");
    return;
  }
  fc_search_name(name, near);
  (void)snprintf(out->answer, sizeof out->answer, "Nothing meets the objective. Nearest: %s: %s.", name,
                 near->why);
}

static void answer_best(fc_search *s) {
  fc_search_result *out = s->out;
  const fc_search_candidate *c = &out->candidate[0];
  char name[FC_SEARCH_NAME], which[16];
  fc_search_name(name, c);
  (void)snprintf(
      out->answer, sizeof out->answer,
      "%.0f instance%s of %s: %.4g USD a million output tokens [%.4g, %.4g], %.3g requests/s an "
      "instance (by the simulation alone [%.3g, %.3g]), %s TTFT %.3g s, TPOT %.3g ms%s. In brackets: "
      "95 %%, with iterations known to %.0f %%.",
      c->instances, c->instances > 1 ? "s" : "", name, c->usd_per_mtok, c->usd_least, c->usd_most,
      c->at.rate_per_s, c->rate_low, c->rate_high, statistic_of(&s->def->slo, which), c->at.ttft_s,
      1e3 * c->at.tpot_s, out->proven ? "" : "; others could be cheaper, but were not simulated",
      100 * expm1(c->log_sd));
}

void fc_search_explain(fc_search *s) {
  fc_search_result *out = s->out;
  const fc_search_candidate *best = out->n_met ? &out->candidate[0] : NULL;
  for (size_t i = 0; i < out->n && out->candidate; i++) {
    fc_search_candidate *c = &out->candidate[i];
    if (best && c->state == FC_SEARCH_MET && i > 0)
      why_lost(s, c, best);
    else if (c->state != FC_SEARCH_MET)
      why_out(s, c, best);
    else
      limit_of(c->why, s->def, c); /* the best: what keeps it from serving more */
  }
  if (best)
    answer_best(s);
  else
    answer_nearest(s);
}
