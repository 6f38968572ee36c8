/* SPDX-License-Identifier: Apache-2.0 */
/* Requests on their way through a replica: arrival, admission, preemption, end. */
#include "replica_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* --- arrival --- */

bool fc_feed_peek(const fc_replica *r, fc_time *visible) {
  if (r->has_head) {
    *visible = r->head.arrival + r->ingress;
    return true;
  }
  /* those who wait before a closed gate bring nothing on by themselves */
  size_t next = r->gated && !r->ring_polled && r->decoding > 0 ? r->ring_seen : 0;
  if (next < r->ring_n)
    *visible = r->ring[(r->ring_first + next) % r->ring_capacity].arrival;
  else if (!r->source || !r->source->peek(r->source->context, visible))
    return false;
  *visible += r->ingress;
  return true;
}

static fc_refusal refusal(const fc_replica *r, const fc_request *q) {
  if (q->input_tokens < 1) return FC_REFUSED_EMPTY;
  int64_t input = q->input_tokens,
          slack = (int64_t)ceil(r->yield) - 1; /* a step may end past the last token */
  if (input > r->context_most || fc_kv_blocks_of(r, input) > r->blocks_most) return FC_REFUSED_PROMPT;
  if (fc_kv_blocks_of(r, input) + r->kept_blocks > r->def.kv_blocks) return FC_REFUSED_PROMPT;
  int64_t all = input + q->output_tokens;
  if (all > r->context_most || fc_kv_blocks_of(r, all + slack) > r->blocks_most) return FC_REFUSED_OUTPUT;
  return FC_REFUSED_NOT;
}

static void refuse(fc_replica *r, fc_refusal why) {
  const fc_request *q = &r->head;
  fc_time now = (r->now.ns > q->arrival ? r->now.ns : q->arrival) + r->egress;
  r->result->refused[why]++;
  if (r->def.record)
    r->def.record(r->def.context, &(fc_replica_record){.number = q->number,
                                                       .arrival = q->arrival,
                                                       .admitted = now,
                                                       .first_token = now,
                                                       .finish = now,
                                                       .input_tokens = q->input_tokens,
                                                       .output_tokens = q->output_tokens,
                                                       .session = q->session,
                                                       .turn = q->turn,
                                                       .slo_class = q->slo_class,
                                                       .refused = why});
  if (r->source && r->source->done) r->source->done(r->source->context, q->number, now);
}

void fc_feed_drop(fc_replica *r) {
  free(r->head_block);
  r->head_block = NULL;
  r->has_head = false;
}

bool fc_feed_head(fc_replica *r) {
  fc_time visible;
  while (!r->has_head) {
    if (r->gated && !r->ring_polled) return false;
    if (!fc_feed_peek(r, &visible) || visible > r->now.ns) return false;
    if (r->source && !r->gated) {
      r->source->take(r->source->context, &r->head);
      r->result->in++;
      r->waiting++;
      r->waiting_tokens += r->head.input_tokens;
    } else {
      r->head = r->ring[r->ring_first];
      r->head_block = (uint64_t *)(uintptr_t)r->head.block;
      r->ring_first = (r->ring_first + 1) % r->ring_capacity;
      r->ring_n--;
      if (r->ring_polled) r->ring_polled--;
      if (r->ring_seen) {
        r->ring_seen--;
        r->seen_tokens -= r->head.input_tokens;
      }
    }
    r->has_head = true;
    fc_refusal why = refusal(r, &r->head);
    if (why == FC_REFUSED_NOT) break;
    refuse(r, why);
    r->waiting--;
    r->waiting_tokens -= r->head.input_tokens;
    fc_feed_drop(r);
    if (++r->refused_in_row > FC_REFUSALS_MAX) return false;
  }
  return true;
}

/* --- slots --- */

static fc_status slots_grow(fc_replica *r) {
  uint32_t n = r->slots ? r->slots + r->slots / 2 : 16;
  if (n < r->slots || n >= NONE) return FC_E_NOMEM;
  fc_slot *slot = realloc(r->slot, (size_t)n * sizeof *slot);
  if (!slot) return FC_E_NOMEM;
  r->slot = slot;
  for (uint32_t i = n; i-- > r->slots;) {
    slot[i] = (fc_slot){.next = r->free_slot};
    r->free_slot = i;
  }
  r->slots = n;
  return FC_OK;
}

static fc_status slot_new(fc_replica *r, uint32_t *out) {
  if (r->free_slot == NONE) {
    fc_status status = slots_grow(r);
    if (status != FC_OK) return status;
  }
  const fc_request *q = &r->head;
  uint32_t i = r->free_slot;
  fc_slot *s = &r->slot[i];
  uint32_t next = s->next;
  *s = (fc_slot){.arrival = q->arrival,
                 .admitted = -1,
                 .first_token = -1,
                 .number = q->number,
                 .input = q->input_tokens,
                 .output = q->output_tokens,
                 .session = q->session,
                 .turn = q->turn,
                 .slo_class = q->slo_class,
                 .target = q->input_tokens,
                 .next = next};
  if (r->def.prefix_cache && q->n_blocks && q->block_tokens) {
    if (q->block_tokens % r->def.block_tokens != 0) {
      if (r->why)
        (void)snprintf(r->why, 256, "request %llu: blocks of %u tokens are no multiple of the replica's %lld",
                       (unsigned long long)q->number, q->block_tokens, (long long)r->def.block_tokens);
      return FC_E_DOMAIN;
    }
    s->weight = (uint32_t)(q->block_tokens / r->def.block_tokens);
    s->n_blocks = q->n_blocks;
    s->block = r->head_block;
    r->head_block = NULL;
    if (!s->block) {
      s->block = malloc(q->n_blocks * sizeof *s->block);
      if (!s->block) return FC_E_NOMEM;
      memcpy(s->block, q->block, q->n_blocks * sizeof *s->block);
    }
  }
  r->free_slot = next;
  *out = i;
  int64_t n = r->running + 1;
  if (n > r->slots_peak) r->slots_peak = n;
  return FC_OK;
}

void fc_slot_free(fc_replica *r, uint32_t i) {
  free(r->slot[i].block);
  r->slot[i] = (fc_slot){.next = r->free_slot};
  r->free_slot = i;
}

static void link_running(fc_replica *r, uint32_t i) {
  fc_slot *s = &r->slot[i];
  s->older = r->newest;
  s->newer = NONE;
  if (r->newest != NONE)
    r->slot[r->newest].newer = i;
  else
    r->oldest = i;
  r->newest = i;
  r->running++;
}

static void unlink_running(fc_replica *r, fc_slot *s) {
  if (s->older != NONE)
    r->slot[s->older].newer = s->newer;
  else
    r->oldest = s->newer;
  if (s->newer != NONE)
    r->slot[s->newer].older = s->older;
  else
    r->newest = s->older;
  r->running--;
}

/* --- admission --- */

/* What the next in line would need. */
typedef struct {
  int64_t target, rest, output; /* tokens to have, not yet generated */
  uint32_t hits, looked_up, weight;
  int64_t need, final;
  int64_t available; /* beside what it shares */
} claim;

static claim claim_of(const fc_replica *r, uint32_t again) {
  const fc_request *q = &r->head;
  const fc_slot *s = again == NONE ? NULL : &r->slot[again];
  claim c = {.target = s ? s->target : q->input_tokens};
  int64_t input = s ? s->input : q->input_tokens, output = s ? s->output : q->output_tokens, idle = 0;
  c.output = output - (s ? s->generated : 0);
  c.available = fc_kv_available(r);
  uint32_t n = s ? s->n_blocks : r->def.prefix_cache && q->block_tokens ? q->n_blocks : 0;
  if (n) {
    c.weight = s ? s->weight : (uint32_t)(q->block_tokens / r->def.block_tokens);
    int64_t size = c.weight * r->def.block_tokens, whole = size > 0 ? (input - 1) / size : 0;
    /* the last prompt token is computed in any case, for the first logits */
    c.looked_up = whole < n ? (uint32_t)whole : n;
    c.hits = fc_prefix_find(&r->prefix, s ? s->block : q->block, c.looked_up, &idle);
    c.available -= idle;
  }
  int64_t shared = (int64_t)c.hits * c.weight;
  c.rest = c.target - shared * r->def.block_tokens;
  if (r->def.cached_share > 0) { /* the last prompt token is computed in any case */
    int64_t brought = (int64_t)(r->def.cached_share * (double)input);
    if (brought > input - 1) brought = input - 1;
    if (c.target - c.rest < brought) c.rest = c.target - brought;
  }
  c.need = fc_kv_blocks_of(r, c.target) - shared;
  c.final = fc_kv_blocks_of(r, input + output) - shared;
  return c;
}

static bool fits(const fc_replica *r, const claim *c, int64_t spare) {
  const fc_serve_policy *p = &r->def.policy;
  int64_t left = c->available - spare;
  int64_t kept = r->running > 0 ? r->kept_blocks : 0; /* who had to leave comes back in any case */
  if (c->need > left - kept) return false;
  if (p->reserve == FC_RESERVE_FULL) return c->final <= left - (r->final_blocks - r->own_blocks) + spare;
  if (p->reserve != FC_RESERVE_EXPECTED) return true;
  double to_come = (double)(r->ends_sum - r->decoding * r->tick + r->prefill_to_come);
  double clipped = (double)(c->output < p->reserve_clip ? c->output : p->reserve_clip);
  double room = (double)(left * r->def.block_tokens) - r->reserve * to_come;
  return r->running == 0 || (double)c->rest + clipped <= room;
}

static void seat(fc_replica *r, uint32_t i, const claim *c, bool handed_over) {
  fc_slot *s = &r->slot[i];
  for (uint32_t k = 0; k < c->hits; k++) fc_prefix_use(&r->prefix, s->block[k]);
  r->result->cache_lookups += c->looked_up;
  r->result->cache_hits += c->hits;
  s->n_held = c->hits;
  fc_kv_take(r, c->need);
  r->final_blocks += c->final;
  s->cached = s->present = (uint32_t)(c->target - c->rest);
  if (handed_over) s->cached = s->present = s->target;
  s->chunk = 0;
  s->state = SLOT_PREFILL;
  r->prefill_to_come += c->output;
  r->waiting--;
  r->waiting_tokens -= s->cached;
  if (s->admitted < 0) {
    s->admitted = r->now.ns;
    r->queue_ns += (double)(r->now.ns - s->arrival) - (double)r->ingress;
    r->result->cached_tokens += handed_over ? 0 : s->cached;
  }
  link_running(r, i);
  if (handed_over) return;
  s->next = NONE;
  if (r->prefill_last != NONE)
    r->slot[r->prefill_last].next = i;
  else
    r->prefill_first = i;
  r->prefill_last = i;
}

fc_status fc_admit(fc_replica *r, int64_t spare, int64_t room, bool first, uint32_t *out) {
  *out = NONE;
  if (r->blocked || r->running >= r->max_running) return FC_OK;
  uint32_t again = r->requeue;
  if (again == NONE && !fc_feed_head(r)) return FC_OK;
  claim c = claim_of(r, again);
  if (!r->def.policy.chunked && c.rest > room && !first) return FC_OK;
  bool handed_over = r->def.role == FC_ROLE_DECODE && again == NONE;
  if (handed_over) /* decodes in this very iteration */
    spare += fc_kv_blocks_of(r, c.target + fc_tick_at(r, r->k + 1) - r->tick) - fc_kv_blocks_of(r, c.target);
  if (!fits(r, &c, spare)) {
    r->blocked = true;
    return FC_OK;
  }
  if (again != NONE) {
    r->requeue = r->slot[again].next;
  } else {
    fc_status status = slot_new(r, &again);
    if (status != FC_OK) return status;
    fc_feed_drop(r);
    if (handed_over) r->slot[again].generated = 1;
    if (handed_over) c.output--;
  }
  seat(r, again, &c, handed_over);
  *out = again;
  return FC_OK;
}

/* --- decoding: in and out --- */

static fc_status heap_put(fc_replica *r, fc_end e) {
  if (r->heap_n == r->heap_capacity) {
    size_t n = r->heap_capacity ? r->heap_capacity + r->heap_capacity / 2 : 16;
    fc_end *heap = realloc(r->heap, n * sizeof *heap);
    if (!heap) return FC_E_NOMEM;
    r->heap = heap;
    r->heap_capacity = n;
  }
  size_t i = r->heap_n++;
  for (; i > 0 && e.tick < r->heap[(i - 1) / 4].tick; i = (i - 1) / 4) r->heap[i] = r->heap[(i - 1) / 4];
  r->heap[i] = e;
  return FC_OK;
}

static void heap_sink(fc_end *heap, size_t n, size_t i, fc_end e) {
  for (size_t child; (child = 4 * i + 1) < n; i = child) {
    size_t end = child + 4 < n ? child + 4 : n;
    for (size_t k = child + 1; k < end; k++)
      if (heap[k].tick < heap[child].tick) child = k;
    if (e.tick <= heap[child].tick) break;
    heap[i] = heap[child];
  }
  heap[i] = e;
}

static bool is_live(const fc_replica *r, fc_end e) {
  const fc_slot *s = &r->slot[e.slot];
  return s->state == SLOT_DECODE && s->ends == e.tick;
}

/* Entries of preempted requests stay until they surface, or are most. */
static void heap_tidy(fc_replica *r) {
  size_t n = 0;
  for (size_t i = 0; i < r->heap_n; i++)
    if (is_live(r, r->heap[i])) r->heap[n++] = r->heap[i];
  r->heap_n = n;
  for (size_t i = n / 4 + 1; i-- > 0;)
    if (i < n) heap_sink(r->heap, n, i, r->heap[i]);
}

bool fc_next_end(fc_replica *r, fc_end *out) {
  while (r->heap_n && !is_live(r, r->heap[0])) fc_pop_end(r);
  if (!r->heap_n) return false;
  *out = r->heap[0];
  return true;
}

void fc_pop_end(fc_replica *r) {
  r->heap_n--;
  if (r->heap_n) heap_sink(r->heap, r->heap_n, 0, r->heap[r->heap_n]);
}

/* Iterations until `tokens` are there, by renewal theory: the last one ends E[y (y - 1)] / (2 E[y]) past them
 * in the mean. */
static int64_t many_steps(const fc_replica *r, fc_rng *rng, double tokens) {
  double mean = r->yield, variance = r->yield_square - mean * mean;
  double over = (r->yield_square - mean) / (2 * mean);
  double sd = sqrt(tokens * variance / (mean * mean * mean));
  double steps = floor((tokens + over) / mean + sd * fc_rng_normal(rng) + 0.5);
  double least = ceil(tokens / r->queries);
  return (int64_t)(steps < least ? least : steps > tokens ? tokens : steps);
}

/* Ticks that a request decodes for `tokens` more: as many, or with drafts drawn as iterations it takes. */
static int64_t ticks_for(const fc_replica *r, const fc_slot *s, int64_t tokens) {
  if (r->unit || !r->def.sample_acceptance) return tokens;
  fc_rng rng = fc_rng_keyed(r->seed, FC_STREAM_JOB, s->number, s->preemptions);
  int64_t steps = tokens > FC_TOKENS_DRAWN ? many_steps(r, &rng, (double)tokens) : 0;
  for (int64_t left = steps > 0 ? 0 : tokens; left > 0; steps++) {
    left--;
    for (int k = 0; k < r->def.n_acceptance && left > 0 && fc_rng_uniform(&rng) < r->def.acceptance[k]; k++)
      left--;
  }
  int64_t ticks = (int64_t)floor((double)steps * r->yield + 0.5);
  return ticks < 1 ? 1 : ticks;
}

static fc_status start_decode(fc_replica *r, uint32_t i) {
  fc_slot *s = &r->slot[i];
  int64_t size = r->def.block_tokens;
  s->state = SLOT_DECODE;
  s->kappa = s->target - r->tick;
  s->ends = r->tick + ticks_for(r, s, (int64_t)s->output - s->generated);
  r->kappa_sum += s->kappa;
  r->ends_sum += s->ends;
  r->outputs_sum += s->output;
  r->decoding++;
  r->phase[(-s->kappa % size + size) % size]++;
  if (r->heap_n > 64 && r->heap_n > 2 * (size_t)r->decoding) heap_tidy(r);
  return heap_put(r, (fc_end){s->ends, i});
}

void fc_leave_decode(fc_replica *r, fc_slot *s) {
  int64_t size = r->def.block_tokens;
  r->kappa_sum -= s->kappa;
  r->ends_sum -= s->ends;
  r->outputs_sum -= s->output;
  r->decoding--;
  r->phase[(-s->kappa % size + size) % size]--;
}

fc_status fc_join(fc_replica *r, uint32_t i) {
  fc_slot *s = &r->slot[i];
  fc_status status = fc_kv_publish(r, s);
  if (status != FC_OK) return status;
  r->prefill_to_come -= (int64_t)s->output - s->generated;
  fc_time now = r->now.ns;
  if (r->def.role == FC_ROLE_DECODE && s->first_token < 0) {
    s->first_token = now; /* made where the prompt was prefilled */
  } else {
    if (s->first_token < 0)
      s->first_token = now;
    else
      fc_digest_add(&r->result->itl, (double)(now - s->last_token), 1);
    if (s->output > 0) {
      s->generated++;
      r->generated++;
    }
  }
  if (s->generated >= s->output || r->def.role == FC_ROLE_PREFILL) {
    fc_finish(r, i);
    return FC_OK;
  }
  fc_gaps_add(r, now);
  return start_decode(r, i);
}

/* --- preemption, end --- */

static void prefill_unlink(fc_replica *r, uint32_t i) {
  uint32_t before = NONE, at = r->prefill_first;
  for (; at != i; at = r->slot[at].next) before = at;
  if (before == NONE)
    r->prefill_first = r->slot[i].next;
  else
    r->slot[before].next = r->slot[i].next;
  if (r->prefill_last == i) r->prefill_last = before;
}

/* SGLang's estimate after a retraction. */
static void raise_reserve(fc_replica *r) {
  const fc_serve_policy *p = &r->def.policy;
  if (p->reserve != FC_RESERVE_EXPECTED || !(r->outputs_sum > 0)) return;
  double to_come = (double)(r->ends_sum - r->decoding * r->tick);
  double share = ((double)r->outputs_sum - to_come + (double)(p->preempted_steps * r->decoding)) /
                 (double)r->outputs_sum;
  r->reserve = share < 1 ? share : 1;
}

void fc_preempt(fc_replica *r) {
  uint32_t i = r->newest;
  fc_slot *s = &r->slot[i];
  int64_t generated = s->generated;
  fc_time last = r->now.ns;
  if (s->state == SLOT_DECODE) {
    generated = s->output - (s->ends - r->tick);
    if (generated > (int64_t)s->output - 1) generated = (int64_t)s->output - 1;
    if (generated < s->generated) generated = s->generated;
    if (r->gaps > 0) {
      last = r->gap[r->gaps - 1].at;
      if (--r->gap[r->gaps - 1].n == 0) r->gaps--;
    }
    fc_kv_release(r, s);
    fc_leave_decode(r, s);
    s->last_token = last;
  } else {
    prefill_unlink(r, i);
    r->prefill_to_come -= (int64_t)s->output - s->generated;
    r->waiting_tokens -= (int64_t)s->target - s->present;
    fc_kv_release(r, s);
  }
  r->thrown += s->present - s->cached;
  s->generated = (uint32_t)generated;
  s->target = s->input + s->generated;
  s->state = SLOT_REQUEUED;
  if (s->preemptions < UINT16_MAX) s->preemptions++;
  unlink_running(r, s);
  s->next = r->requeue;
  r->requeue = i;
  r->waiting++;
  r->waiting_tokens += s->target;
  r->result->preemptions++;
  r->blocked = false;
  r->preempted_now = true;
  raise_reserve(r);
}

void fc_record_of(const fc_slot *s, fc_time finish, fc_replica_record *out) {
  *out = (fc_replica_record){.number = s->number,
                             .arrival = s->arrival,
                             .admitted = s->admitted < 0 ? finish : s->admitted,
                             .first_token = s->first_token < 0 ? finish : s->first_token,
                             .finish = finish,
                             .input_tokens = s->input,
                             .output_tokens = s->output,
                             .cached_tokens = s->cached < s->input ? s->cached : s->input,
                             .preemptions = s->preemptions,
                             .session = s->session,
                             .turn = s->turn,
                             .slo_class = s->slo_class};
}

/* Requests that were offered ahead of their time. */
static int64_t to_come(const fc_replica *r) {
  size_t low = 0, high = r->ring_n; /* the first that has not arrived yet */
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (r->ring[(r->ring_first + middle) % r->ring_capacity].arrival <= r->now.ns)
      low = middle + 1;
    else
      high = middle;
  }
  return (int64_t)(r->ring_n - low);
}

/* What its client waits for in front of the engine, beside ingress. */
static fc_time front_of(const fc_replica *r) {
  const fc_replica_def *d = &r->def;
  if (!(d->front_request_s > 0) && !(d->steps_ahead > 0)) return 0;
  double ns = 1e9 * d->front_request_s * (double)(r->running + r->waiting - to_come(r));
  if (r->running > 1) ns += d->steps_ahead * r->pace_ns;
  return (fc_time)(ns + 0.5);
}

void fc_finish(fc_replica *r, uint32_t i) {
  fc_slot *s = &r->slot[i];
  fc_replica_result *out = r->result;
  fc_time front = front_of(r), egress = r->egress + front, finish = r->now.ns + egress,
          first = s->first_token + egress;
  fc_kv_release(r, s);
  if (s->state == SLOT_DECODE) fc_leave_decode(r, s);
  unlink_running(r, s);
  out->done++;
  out->input_tokens += s->input;
  out->output_tokens += r->def.role == FC_ROLE_PREFILL ? s->generated : s->output;
  r->done_prefilled += s->present - s->cached;
  double ttft = (double)(first - s->arrival), e2e = (double)(finish - s->arrival);
  fc_digest_add(&out->ttft, ttft, 1);
  fc_digest_add(&out->e2e, e2e, 1);
  if (s->output > 1 && r->def.role == FC_ROLE_WHOLE)
    fc_digest_add(&out->tpot, (e2e - ttft) / (double)(s->output - 1), 1);
  if (r->def.record) {
    fc_replica_record record;
    fc_record_of(s, finish, &record);
    record.first_token = first;
    record.front = front;
    r->def.record(r->def.context, &record);
  }
  uint64_t number = s->number;
  fc_slot_free(r, i);
  r->blocked = false;
  if (r->source && r->source->done) r->source->done(r->source->context, number, finish);
}
