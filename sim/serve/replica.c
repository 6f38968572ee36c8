/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/serve/replica.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <fleetcast/base/assert.h>

#include "replica_private.h"

fc_replica_def fc_replica_default_def(void) {
  fc_replica_def def = {.block_tokens = 16};
  bool found = fc_serve_policy_named(&def.policy, "vllm");
  FC_ASSERT(found);
  return def;
}

int64_t fc_replica_kv_blocks(const fc_model *model, const fc_device *device, const fc_serve_plan *plan,
                             int64_t block_tokens, double context) {
  if (!(context > 0)) return 0;
  fc_serve_memory m;
  fc_cost_serve_stage_memory(&m, model, device, plan, context);
  if (!(m.room_bytes > 0) || !(m.kv_bytes_per_request > 0) || block_tokens < 1) return 0;
  double tokens = m.room_bytes / (m.kv_bytes_per_request / context);
  return plan->attention_dp * (int64_t)floor(tokens / (double)block_tokens);
}

static bool is_duration(double s) {
  return isfinite(s) && s >= 0;
}

static const char *fault_of(const fc_replica_def *d) {
  const char *policy = fc_serve_policy_fault(&d->policy);
  if (policy) return policy;
  if (!d->steps) return "no step table";
  const fc_step_table_def *t = &d->steps->def;
  if (d->policy.max_batch > t->max_batch) return "policy: max_batch exceeds the step table's";
  if (d->block_tokens < 1 || d->block_tokens > 1000000) return "block_tokens is outside [1, 1e6]";
  if (d->kv_blocks < t->groups || d->kv_blocks > INT64_C(1000000000000))
    return "kv_blocks is outside [attention groups, 1e12]";
  if (d->max_context < 0) return "max_context is negative";
  if (!(d->cached_share >= 0 && d->cached_share < 1)) return "cached_share is outside [0, 1)";
  if (d->n_acceptance < 0 || d->n_acceptance > 8) return "n_acceptance is outside [0, 8]";
  for (int i = 0; i < d->n_acceptance; i++)
    if (!(d->acceptance[i] >= 0 && d->acceptance[i] <= 1)) return "acceptance is outside [0, 1]";
  if (fabs(t->query_tokens - (1 + (double)d->n_acceptance)) > 0)
    return "the step table's query_tokens must be 1 + n_acceptance";
  if (!(d->imbalance_cv >= 0 && d->imbalance_cv <= 10)) return "imbalance_cv is outside [0, 10]";
  if (!is_duration(d->host_step_s) || !is_duration(d->host_request_s) || !is_duration(d->detokenise_s) ||
      !is_duration(d->ingress_s) || !is_duration(d->egress_s) || !is_duration(d->front_request_s) ||
      !is_duration(d->steps_ahead))
    return "a time on the host is negative or not finite";
  return NULL;
}

fc_status fc_replica_check(const fc_replica_def *def, char *why) {
  const char *fault = fault_of(def);
  if (!fault) return FC_OK;
  if (why) (void)snprintf(why, 256, "%s", fault);
  return FC_E_DOMAIN;
}

/* --- making --- */

void fc_replica_free(fc_replica *r) {
  if (!r) return;
  for (uint32_t i = 0; i < r->slots; i++) free(r->slot[i].block);
  for (size_t i = 0; i < r->ring_n; i++)
    free((void *)(uintptr_t)r->ring[(r->ring_first + i) % r->ring_capacity].block);
  free(r->head_block);
  free(r->ring);
  free(r->slot);
  free(r->heap);
  free(r->phase);
  fc_prefix_fini(&r->prefix);
  free(r->decode_weight);
  free(r->prefill_weight);
  free(r->mixed_weight);
  free(r->own_result);
  free(r);
}

/* Mean and mean square of the tokens of an iteration: sums over k of P(k or more) and (2 k - 1) of it. */
static void set_yield(fc_replica *r) {
  double reach = 1;
  r->yield = r->yield_square = 1;
  for (int i = 0; i < r->def.n_acceptance; i++) {
    reach *= r->def.acceptance[i];
    r->yield += reach;
    r->yield_square += (2 * i + 3) * reach;
  }
}

/* Newcomers that it takes until every group has one, in the mean: they go where one has left.
 * @source coupon collector, G (1 + 1/2 + ... + 1/G) */
static double one_each(int64_t groups) {
  double sum = 0;
  for (int64_t g = 1; g <= groups; g++) sum += 1 / (double)g;
  return (double)groups * sum;
}

static void set_limits(fc_replica *r) {
  const fc_replica_def *d = &r->def;
  int64_t groups = r->table->def.groups;
  r->groups = (double)groups;
  set_yield(r);
  r->unit = !(r->yield > 1);
  r->queries = r->table->def.query_tokens;
  r->max_running = d->policy.max_batch * groups;
  /* a request lives in one group, whose cache its micro-batches share */
  r->blocks_most = d->kv_blocks / (groups / (r->table->def.stages > 1 ? r->table->def.stages : 1));
  r->context_most = d->max_context > 0 ? d->max_context : INT64_MAX / 4;
  r->free_blocks = d->kv_blocks;
  r->kept_blocks = (int64_t)ceil(d->policy.watermark * (double)d->kv_blocks);
  r->reserve = d->policy.reserve_start;
  r->until = FC_TIME_MAX;
  r->one_each = one_each(groups);
  r->gated =
      d->policy.look_steps > 1 || d->policy.wait_steps > 0 || (d->policy.balance_steps > 0 && groups > 1);
  r->ingress = fc_time_from_s(d->ingress_s);
  r->egress = fc_time_from_s(d->egress_s);
}

static fc_status make(fc_replica **out, const fc_replica_def *def, uint64_t seed, uint64_t entity,
                      fc_replica_result *result) {
  *out = NULL;
  fc_replica *r = calloc(1, sizeof *r);
  if (!r) return FC_E_NOMEM;
  r->def = *def;
  r->table = def->steps;
  r->seed = seed;
  r->entity = entity;
  r->noise = fc_rng_keyed(seed, FC_STREAM_SIZE, entity, UINT64_C(0x65787065727473)); /* "experts" */
  r->free_slot = r->oldest = r->newest = r->prefill_first = r->prefill_last = r->requeue = NONE;
  set_limits(r);
  const fc_step_table *t = r->table;
  r->phase = calloc((size_t)def->block_tokens, sizeof *r->phase);
  r->decode_weight = calloc((size_t)t->rows * (size_t)t->x.n, sizeof(double));
  r->prefill_weight = calloc((size_t)t->prefill.n, sizeof(double));
  r->mixed_weight = calloc((size_t)t->mixed.n, sizeof(double));
  r->result = result;
  if (!result) r->result = r->own_result = calloc(1, sizeof *result);
  if (!r->phase || !r->decode_weight || !r->prefill_weight || !r->mixed_weight || !r->result) {
    fc_replica_free(r);
    return FC_E_NOMEM;
  }
  *out = r;
  return FC_OK;
}

fc_status fc_replica_new(fc_replica **out, const fc_replica_def *def, uint64_t seed, uint64_t entity) {
  *out = NULL;
  fc_status status = fc_replica_check(def, NULL);
  return status == FC_OK ? make(out, def, seed, entity, NULL) : status;
}

/* --- running --- */

/* Nothing is planned: on to the next arrival before `until`, if there is one. */
static bool idle_on(fc_replica *r, fc_time until) {
  fc_time visible;
  if (r->requeue != NONE || !fc_feed_peek(r, &visible) || visible >= until) return false;
  if (visible > r->now.ns) {
    r->now = (fc_instant){visible, 0};
    r->refused_in_row = 0;
  }
  if (!r->started) {
    r->started = true;
    r->result->start = visible;
    r->result->end = visible;
  }
  return true;
}

static fc_status stuck(fc_replica *r) {
  if (r->why && r->refused_in_row > FC_REFUSALS_MAX)
    (void)snprintf(r->why, 256, "no progress: %d requests refused in a row at %.9g s, and more come at once",
                   FC_REFUSALS_MAX, fc_time_to_s(r->now.ns));
  else if (r->why)
    (void)snprintf(r->why, 256,
                   "no progress is possible: %lld requests wait, none runs, and the next one gets no memory "
                   "(policy %s: watermark, reserve)",
                   (long long)r->waiting, r->def.policy.name ? r->def.policy.name : "unnamed");
  return FC_E_INFEASIBLE;
}

/* Everything whose end is before `until`. */
static fc_status go(fc_replica *r, fc_time until) {
  uint64_t idle = 0;
  fc_status status = FC_OK;
  for (;;) {
    if (r->step.kind != STEP_NONE) {
      if (r->step.end.ns >= until) return FC_OK;
      status = fc_apply(r);
      idle = 0;
      r->refused_in_row = 0;
    } else if (!r->decoding && r->prefill_first == NONE && r->requeue == NONE && !idle_on(r, until)) {
      return FC_OK;
    }
    if (status == FC_OK) status = fc_plan(r);
    if (status != FC_OK) return status;
    if (r->step.kind != STEP_NONE) continue;
    /* nothing was scheduled: all were refused or over at once, or memory is out for good */
    if (r->blocked && !r->running) return stuck(r);
    if (++idle > FC_IDLE_MAX + r->result->in || r->refused_in_row > FC_REFUSALS_MAX) return stuck(r);
  }
}

fc_status fc_replica_advance(fc_replica *r, fc_time until) {
  r->until = until;
  return go(r, until);
}

fc_status fc_replica_run(fc_replica_result *out, const fc_replica_def *def, const fc_request_source *source,
                         uint64_t seed, char *why) {
  memset(out, 0, sizeof *out);
  fc_status status = fc_replica_check(def, why);
  if (status != FC_OK) return status;
  fc_replica *r;
  status = make(&r, def, seed, 0, out);
  if (status != FC_OK) return status;
  r->source = source;
  r->why = why;
  status = go(r, FC_TIME_MAX);
  if (status == FC_OK) status = fc_replica_take_result(out, r, why);
  fc_replica_free(r);
  return status;
}

/* --- requests from outside --- */

static fc_status ring_grow(fc_replica *r) {
  size_t n = r->ring_capacity ? r->ring_capacity * 2 : 16;
  fc_request *ring = malloc(n * sizeof *ring);
  if (!ring) return FC_E_NOMEM;
  for (size_t i = 0; i < r->ring_n; i++) ring[i] = r->ring[(r->ring_first + i) % r->ring_capacity];
  free(r->ring);
  r->ring = ring;
  r->ring_capacity = n;
  r->ring_first = 0;
  return FC_OK;
}

fc_status fc_replica_offer(fc_replica *r, const fc_request *q) {
  if (r->ring_n == r->ring_capacity) {
    fc_status status = ring_grow(r);
    if (status != FC_OK) return status;
  }
  uint64_t *block = NULL;
  if (r->def.prefix_cache && q->n_blocks) {
    block = malloc(q->n_blocks * sizeof *block);
    if (!block) return FC_E_NOMEM;
    memcpy(block, q->block, q->n_blocks * sizeof *block);
  }
  fc_request *to = &r->ring[(r->ring_first + r->ring_n++) % r->ring_capacity];
  *to = *q;
  to->block = block;
  if (!block) to->n_blocks = 0;
  r->result->in++;
  r->waiting++;
  r->waiting_tokens += q->input_tokens;
  fc_leap_cut(r);
  return FC_OK;
}

fc_time fc_replica_next(const fc_replica *r) {
  if (r->step.kind != STEP_NONE) return r->step.end.ns;
  fc_time visible;
  if (!fc_feed_peek(r, &visible)) return FC_TIME_MAX;
  return visible > r->now.ns ? visible : r->now.ns;
}

fc_replica_state fc_replica_now(const fc_replica *r) {
  return (fc_replica_state){.waiting = r->waiting,
                            .running = r->running,
                            .waiting_tokens = r->waiting_tokens,
                            .kv_used = r->def.kv_blocks - fc_kv_available(r),
                            .kv_total = r->def.kv_blocks,
                            .done = r->result->done};
}

int64_t fc_replica_would_hit(const fc_replica *r, const fc_request *q) {
  int64_t idle;
  if (!r->def.prefix_cache || !q->block_tokens || !q->n_blocks || q->input_tokens < 1) return 0;
  uint32_t whole = (q->input_tokens - 1) / q->block_tokens;
  uint32_t n = fc_prefix_find(&r->prefix, q->block, whole < q->n_blocks ? whole : q->n_blocks, &idle);
  return (int64_t)n * q->block_tokens;
}

static void tell_lost(fc_replica *r, fc_time at, const fc_slot *s,
                      void (*lost)(void *, const fc_replica_record *), void *context) {
  fc_replica_record record;
  fc_record_of(s, at, &record);
  r->result->refused[FC_REFUSED_NOT]++;
  if (lost) lost(context, &record);
}

fc_status fc_replica_fail(fc_replica *r, fc_time at, void (*lost)(void *context, const fc_replica_record *),
                          void *context) {
  const fc_under_way *s = &r->step;
  if (s->kind != STEP_NONE) r->result->end = at;
  if ((s->kind == STEP_DECODE && !s->open) || s->kind == STEP_MIXED) /* blocks that it had grown into */
    fc_kv_give(r, fc_kv_need(r, fc_tick_at(r, r->k + s->n) - r->tick));
  r->step.kind = STEP_NONE;
  while (r->newest != NONE) fc_preempt(r);
  while (r->requeue != NONE) {
    uint32_t i = r->requeue;
    const fc_slot *slot = &r->slot[i];
    r->requeue = slot->next;
    r->waiting--;
    r->waiting_tokens -= slot->target;
    r->lost_out += slot->generated;
    tell_lost(r, at, slot, lost, context);
    fc_slot_free(r, i);
  }
  r->now = (fc_instant){at, 0};
  r->ring_polled = r->ring_n;
  while (fc_feed_head(r)) {
    tell_lost(r, at,
              &(fc_slot){.arrival = r->head.arrival,
                         .admitted = -1,
                         .first_token = -1,
                         .number = r->head.number,
                         .input = r->head.input_tokens,
                         .output = r->head.output_tokens,
                         .session = r->head.session,
                         .turn = r->head.turn,
                         .slo_class = r->head.slo_class},
              lost, context);
    r->waiting--;
    r->waiting_tokens -= r->head.input_tokens;
    fc_feed_drop(r);
  }
  for (int64_t n; (n = fc_prefix_evict(&r->prefix)) > 0;) {
    r->free_blocks += n;
    r->result->kv_freed += (uint64_t)n;
  }
  r->gaps = 0;
  r->blocked = false;
  return FC_OK;
}
