/* SPDX-License-Identifier: Apache-2.0 */
/* One boundary after another: what the next iterations hold, and what they leave. */
#include "replica_private.h"

#include <math.h>

int64_t fc_tick_at(const fc_replica *r, int64_t k) {
  return r->unit ? k : (int64_t)floor((double)k * r->yield + 1e-9);
}

/* Each attention group has a scheduler of its own; one process detokenises for all. */
double fc_host_ns(const fc_replica *r, double sequences, double tokens) {
  const fc_replica_def *d = &r->def;
  return 1e9 * (d->host_step_s + d->host_request_s * sequences / r->groups + d->detokenise_s * tokens);
}

/* --- imbalance --- */

/* Log-normal of mean 1; many draws by the mean and variance of their sum. */
double fc_imbalance_ns(fc_replica *r, double cv, double experts_ns, int64_t n) {
  double sum = 0;
  if (!(experts_ns > 0) || !(cv > 0)) return 0;
  if (n > FC_DRAWS_MAX) return experts_ns * cv * sqrt((double)n) * fc_rng_normal(&r->noise);
  double variance = log1p(cv * cv), sd = sqrt(variance);
  for (int64_t i = 0; i < n; i++) sum += exp(sd * fc_rng_normal(&r->noise) - 0.5 * variance) - 1;
  return experts_ns * sum;
}

/* --- gaps between tokens, where decodes pause for prompts --- */

void fc_gaps_add(fc_replica *r, fc_time at) {
  if (r->def.policy.mixed) return;
  if (r->gaps > 0 && (r->gap[r->gaps - 1].at == at || r->gaps == GAPS)) {
    r->gap[r->gaps - 1].n++; /* beyond GAPS prefills in a row: counted from the last one kept */
    return;
  }
  r->gap[r->gaps++] = (fc_gap){at, 1};
}

bool fc_paused(const fc_replica *r) {
  return r->gaps > 1 || (r->gaps == 1 && r->gap[0].at != r->now.ns);
}

/* --- prompts --- */

typedef struct {
  int64_t room, each; /* tokens left of the budget; most of one request */
  int64_t tokens, prompts, ends, longest;
  double pairs;
} batch;

/* Gives a request its chunk.  @return false: nothing left for it */
static bool give(const fc_replica *r, batch *b, fc_slot *s) {
  int64_t rest = (int64_t)s->target - s->present, chunk = rest;
  s->chunk = 0;
  if (r->def.policy.chunked) {
    if (chunk > b->each) chunk = b->each;
    if (chunk > b->room) chunk = b->room;
    if (chunk <= 0) return false;
  } else if (rest > b->room && b->tokens > 0) {
    return false;
  }
  s->chunk = (uint32_t)chunk;
  b->room -= chunk;
  b->tokens += chunk;
  b->prompts++;
  b->ends += chunk == rest;
  if (chunk > b->longest) b->longest = chunk;
  b->pairs += (double)chunk * ((double)s->present + 0.5 * (double)(chunk + 1));
  return true;
}

static fc_status schedule_prompts(fc_replica *r, batch *b, int64_t spare) {
  int64_t groups = (int64_t)r->groups, budget = r->def.policy.token_budget, decodes = 0;
  if (r->def.policy.mixed) decodes = r->decoding * (int64_t)r->queries;
  *b = (batch){.room = budget * groups - decodes, .each = budget - (decodes + groups - 1) / groups};
  if (b->room <= 0) return FC_OK;
  if (b->each < 1) b->each = 1;
  bool full = false;
  for (uint32_t i = r->prefill_first; i != NONE; i = r->slot[i].next) full = !give(r, b, &r->slot[i]) || full;
  while (!full && !r->preempted_now && b->room > 0) {
    uint32_t i;
    fc_status status = fc_admit(r, spare, b->room, b->tokens == 0, &i);
    if (status != FC_OK) return status;
    if (i == NONE) break;
    fc_slot *s = &r->slot[i];
    if (s->present == s->target) { /* came with its cache */
      status = fc_join(r, i);
      if (status != FC_OK) return status;
      b->room -= (int64_t)r->queries;
      if (r->def.policy.mixed) spare = fc_kv_need(r, fc_tick_at(r, r->k + 1) - r->tick);
    } else {
      full = !give(r, b, s);
    }
  }
  return FC_OK;
}

/* Preempts until the next decode iteration has its blocks: even the last one, whom drawn drafts may have led
 * past what it was let in for.  @return blocks that it takes */
static int64_t make_room(fc_replica *r) {
  for (;;) {
    int64_t need = fc_kv_need(r, fc_tick_at(r, r->k + 1) - r->tick);
    if (need <= fc_kv_available(r)) return need;
    fc_preempt(r);
  }
}

/* --- an iteration with prompts in it --- */

static void spend_mixed(fc_replica *r, const fc_mixed_step *m, double decodes) {
  double *weight = decodes > 0 ? r->mixed_weight : r->prefill_weight;
  weight[m->node] += 1 - m->weight;
  weight[m->node + 1] += m->weight;
  r->core_ns += m->core;
  r->cell_ns += m->cell;
  r->head_ns += m->head;
  r->exposed_ns += m->exposed;
}

static void plan_prompts(fc_replica *r, const batch *b) {
  bool mixed = r->def.policy.mixed && r->decoding > 0;
  double g = r->groups, p = (double)b->tokens / g, decodes = mixed ? (double)r->decoding : 0;
  if ((double)b->longest > p) p = (double)b->longest; /* the busiest group sets the pace */
  fc_step_work w = {.prefill = p,
                    .prompts = (double)b->prompts > g ? (double)b->prompts / g : 1,
                    .pairs = p * b->pairs / (double)b->tokens};
  if (mixed) {
    double theta = r->unit ? (double)r->tick : (double)r->k * r->yield;
    w.decode = ceil(decodes / g);
    w.decode_context = ((double)r->kappa_sum + decodes * (theta + 1)) / g;
  }
  fc_mixed_step m = fc_step_table_mixed(r->table, &w);
  spend_mixed(r, &m, decodes);
  double host = fc_host_ns(r, decodes + (double)b->prompts, decodes * r->yield + (double)b->ends), noise = 0;
  if (fc_is_noisy(r)) {
    const fc_step_node *n = &m.table->node[m.node];
    double experts = n[0].experts + m.weight * (n[1].experts - n[0].experts);
    noise = fc_imbalance_ns(r, fc_imbalance_cv(r, w.prefill + w.decode * r->queries), 1e9 * experts, 1);
    if (noise < -m.ns) noise = -m.ns;
  }
  r->experts_ns += noise;
  r->host_ns += host;
  double ns = m.ns + host + noise, before = (double)(r->def.kv_blocks - fc_kv_available(r));
  if (mixed) {
    fc_kv_take(r, fc_kv_need(r, fc_tick_at(r, r->k + 1) - r->tick));
    fc_digest_add(&r->result->itl, ns, (uint64_t)r->decoding);
  }
  r->kv_integral += 0.5 * (before + (double)(r->def.kv_blocks - fc_kv_available(r))) * ns;
  r->step = (fc_under_way){.kind = mixed ? STEP_MIXED : STEP_PREFILL, .n = 1, .ns = ns, .prefill = b->tokens};
}

/* --- planning --- */

static fc_status plan_decode(fc_replica *r) {
  if (!r->decoding) return FC_OK;
  if (r->def.reference) return fc_reference_step(r);
  fc_leap(r);
  return FC_OK;
}

fc_status fc_plan(fc_replica *r) {
  r->step = (fc_under_way){0};
  r->preempted_now = false;
  int64_t spare = 0;
  if (r->def.policy.mixed && r->decoding > 0) spare = make_room(r);
  batch b;
  fc_status status = r->gated ? fc_gate_look(r) : FC_OK;
  if (status == FC_OK) status = schedule_prompts(r, &b, spare);
  if (status != FC_OK) return status;
  if (r->decoding > r->batch_peak) r->batch_peak = r->decoding;
  if (b.tokens > 0) {
    plan_prompts(r, &b);
  } else {
    if (r->decoding > 0) (void)make_room(r); /* those who came with their cache grow too */
    status = plan_decode(r);
  }
  if (r->step.kind != STEP_NONE) {
    r->step.end = fc_instant_add(r->now, r->step.ns);
    r->result->leaps++;
  }
  return status;
}

/* --- the end of what was planned --- */

static void stretch_of(const fc_replica *r, fc_time start) {
  const fc_under_way *s = &r->step;
  fc_replica_stretch out = {
      .start = start, .end = s->end.ns, .iterations = s->n, .prefill_tokens = s->prefill};
  if (s->kind != STEP_PREFILL) {
    out.decoding = r->decoding;
    out.context_tokens = r->kappa_sum + r->decoding * r->tick;
  }
  out.kv_blocks = r->def.kv_blocks - fc_kv_available(r);
  r->def.stretch(r->def.context, &out);
}

static void close_gaps(fc_replica *r) {
  if (r->step.paused)
    for (int i = 0; i < r->gaps; i++)
      fc_digest_add(&r->result->itl, (double)(r->now.ns - r->gap[i].at), (uint64_t)r->gap[i].n);
  r->gaps = 0;
}

static fc_status end_decodes(fc_replica *r) {
  int64_t before = r->tick;
  r->k += r->step.n;
  r->tick = fc_tick_at(r, r->k);
  r->generated += (uint64_t)((r->tick - before) * r->decoding);
  r->batch_steps += (double)r->decoding * (double)r->step.n;
  r->decode_steps += r->step.n;
  const fc_serve_policy *p = &r->def.policy;
  if (p->reserve == FC_RESERVE_EXPECTED)
    r->reserve = fmax(p->reserve_floor, r->reserve - p->reserve_fall * (double)r->step.n);
  close_gaps(r);
  fc_end e;
  while (fc_next_end(r, &e) && e.tick <= r->tick) {
    fc_pop_end(r);
    fc_finish(r, e.slot);
  }
  if (!p->mixed && r->decoding > 0) r->gap[r->gaps++] = (fc_gap){r->now.ns, r->decoding};
  return FC_OK;
}

static fc_status end_prompts(fc_replica *r) {
  uint32_t before = NONE, next;
  for (uint32_t i = r->prefill_first; i != NONE; i = next) {
    fc_slot *s = &r->slot[i];
    next = s->next;
    s->present += s->chunk;
    r->result->prefilled_tokens += s->chunk;
    r->waiting_tokens -= s->chunk;
    s->chunk = 0;
    if (s->present < s->target) {
      before = i;
      continue;
    }
    if (before == NONE)
      r->prefill_first = next;
    else
      r->slot[before].next = next;
    if (r->prefill_last == i) r->prefill_last = before;
    fc_status status = fc_join(r, i);
    if (status != FC_OK) return status;
  }
  return FC_OK;
}

fc_status fc_apply(fc_replica *r) {
  fc_time start = r->now.ns;
  fc_leap_commit(r);
  if (r->def.stretch) stretch_of(r, start);
  r->now = r->step.end;
  r->kind_ns[r->step.kind] += r->step.ns;
  r->result->iterations += (uint64_t)r->step.n;
  r->result->end = r->now.ns;
  fc_status status = FC_OK;
  if (r->step.kind != STEP_PREFILL && r->def.steps_ahead > 0) r->pace_ns = r->step.ns / (double)r->step.n;
  if (r->step.kind != STEP_PREFILL) status = end_decodes(r);
  if (status == FC_OK && r->step.kind != STEP_DECODE) {
    r->look_k = r->k;
    status = end_prompts(r);
  }
  r->step.kind = STEP_NONE;
  return status;
}
