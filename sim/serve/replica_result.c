/* SPDX-License-Identifier: Apache-2.0 */
/* Laws, and what a run comes to. */
#include "replica_private.h"

#include <math.h>
#include <stdio.h>

static fc_status broken(char *why, const char *law, uint64_t left, uint64_t right) {
  if (why)
    (void)snprintf(why, 256, "law broken: %s: %llu and %llu", law, (unsigned long long)left,
                   (unsigned long long)right);
  return FC_E_LAW;
}

/* Prompt tokens computed, and tokens made, by the requests that are still here. */
static void in_flight(const fc_replica *r, uint64_t *computed, uint64_t *made) {
  for (uint32_t i = 0; i < r->slots; i++) {
    const fc_slot *s = &r->slot[i];
    if (s->state == SLOT_FREE) continue;
    if (s->state != SLOT_REQUEUED) *computed += s->present - s->cached;
    int64_t decoded = s->state == SLOT_DECODE ? s->output - (s->ends - r->tick) : s->generated;
    *made += (uint64_t)decoded - (r->def.role == FC_ROLE_DECODE);
  }
}

static fc_status check_laws(const fc_replica *r, char *why) {
  const fc_replica_result *o = r->result;
  uint64_t refused = 0, computed = 0, made = 0, here = (uint64_t)(r->waiting + r->running);
  for (int i = 0; i < FC_REFUSED_REASONS; i++) refused += o->refused[i];
  if (o->in != o->done + refused + here)
    return broken(why, "requests in = done + refused + in flight", o->in, o->done + refused + here);
  in_flight(r, &computed, &made);
  uint64_t prefilled = r->done_prefilled + r->thrown + computed;
  if (o->prefilled_tokens != prefilled)
    return broken(why, "prompt tokens computed = of those over + thrown away + in flight",
                  o->prefilled_tokens, prefilled);
  uint64_t out = o->output_tokens + made + r->lost_out;
  if (r->def.role == FC_ROLE_DECODE) out -= o->done; /* the first was made elsewhere */
  if (r->unit && !r->lost_out && r->generated != out)
    return broken(why, "tokens made = of those over + in flight", r->generated, out);
  uint64_t resident = (uint64_t)(r->def.kv_blocks - r->free_blocks);
  if (o->kv_allocated - o->kv_freed != resident)
    return broken(why, "blocks allocated - freed = resident", o->kv_allocated - o->kv_freed, resident);
  uint64_t owned = (uint64_t)(r->own_blocks + r->prefix.live_blocks + r->prefix.idle_blocks);
  if (owned != resident) return broken(why, "blocks resident = owned + shared", resident, owned);
  if (r->kv_peak > r->def.kv_blocks || r->free_blocks < 0)
    return broken(why, "blocks in use <= capacity", (uint64_t)r->kv_peak, (uint64_t)r->def.kv_blocks);
  if (!r->running &&
      (r->own_blocks || r->prefix.live_blocks || r->kappa_sum || r->ends_sum || r->final_blocks))
    return broken(why, "an empty replica holds nothing", (uint64_t)r->own_blocks,
                  (uint64_t)r->prefix.live_blocks);
  return FC_OK;
}

/* --- the breakdown, from the time spent at each node --- */

static double spread(fc_step_parts *p, const fc_step_node *node, const double *weight, size_t n) {
  double dynamic_j = 0;
  for (size_t i = 0; i < n; i++) {
    double w = weight[i];
    if (!(w > 0 || w < 0)) continue;
    p->attention_s += w * node[i].attention;
    p->dense_s += w * node[i].dense;
    p->experts_s += w * node[i].experts;
    p->glue_s += w * node[i].glue;
    p->head_s += w * node[i].head;
    p->comm_s += w * node[i].comm;
    p->launch_s += w * node[i].launch;
    p->host_s += w * node[i].host;
    dynamic_j += w * node[i].dynamic_j;
  }
  return dynamic_j;
}

static void fill_parts(fc_replica_result *o, const fc_replica *r) {
  const fc_step_table *t = r->table;
  fc_step_parts p = {0};
  double j = spread(&p, t->node, r->decode_weight, (size_t)t->rows * (size_t)t->x.n);
  j += spread(&p, t->prefill.node, r->prefill_weight, (size_t)t->prefill.n);
  j += spread(&p, t->mixed.node, r->mixed_weight, (size_t)t->mixed.n);
  p.attention_s += 1e-9 * (r->core_ns + r->cell_ns);
  p.head_s += 1e-9 * r->head_ns;
  *(t->idle_hidden ? &p.host_s : &p.comm_s) += 1e-9 * r->exposed_ns;
  p.experts_s += 1e-9 * r->experts_ns;
  p.host_s += 1e-9 * r->host_ns;
  j += 1e-9 * (t->core_w * r->core_ns + t->cell_w * r->cell_ns);
  o->parts = p;
  o->energy_j = j + t->def.idle_w * (double)t->def.devices * o->span_s;
}

fc_status fc_replica_take_result(fc_replica_result *out, fc_replica *r, char *why) {
  fc_replica_result *o = r->result;
  fc_status status = check_laws(r, why);
  if (status != FC_OK) return status;
  o->in_flight = (uint64_t)(r->waiting + r->running);
  o->recomputed_tokens = r->thrown;
  o->kv_resident = (uint64_t)(r->def.kv_blocks - r->free_blocks);
  o->span_s = fc_time_to_s(o->end - o->start);
  o->prefill_s = 1e-9 * r->kind_ns[STEP_PREFILL];
  o->decode_s = 1e-9 * r->kind_ns[STEP_DECODE];
  o->mixed_s = 1e-9 * r->kind_ns[STEP_MIXED];
  o->busy_s = o->prefill_s + o->decode_s + o->mixed_s;
  o->batch_mean = r->decode_steps > 0 ? r->batch_steps / (double)r->decode_steps : 0;
  o->batch_peak = (double)r->batch_peak;
  o->kv_peak = (double)r->kv_peak;
  o->table_error = r->table->error.max;
  double residents = (double)(r->slots_peak > 0 ? r->slots_peak : 1);
  o->bytes_per_resident =
      ((double)r->slots * sizeof(fc_slot) + (double)r->heap_capacity * sizeof(fc_end)) / residents;
  if (o->span_s > 0) {
    o->kv_mean = 1e-9 * r->kv_integral / o->span_s;
    o->queue_mean = 1e-9 * r->queue_ns / o->span_s;
    o->requests_per_s = (double)o->done / o->span_s;
    o->output_tokens_per_s = (double)o->output_tokens / o->span_s;
  }
  fill_parts(o, r);
  if (out != o) *out = *o;
  return FC_OK;
}

/* --- sums over replicas --- */

static void add_parts(fc_step_parts *to, const fc_step_parts *from) {
  to->attention_s += from->attention_s;
  to->dense_s += from->dense_s;
  to->experts_s += from->experts_s;
  to->glue_s += from->glue_s;
  to->head_s += from->head_s;
  to->comm_s += from->comm_s;
  to->launch_s += from->launch_s;
  to->host_s += from->host_s;
}

static void add_counts(fc_replica_result *to, const fc_replica_result *one) {
  to->in += one->in;
  to->done += one->done;
  for (int i = 0; i < FC_REFUSED_REASONS; i++) to->refused[i] += one->refused[i];
  to->in_flight += one->in_flight;
  to->input_tokens += one->input_tokens;
  to->output_tokens += one->output_tokens;
  to->cached_tokens += one->cached_tokens;
  to->prefilled_tokens += one->prefilled_tokens;
  to->preemptions += one->preemptions;
  to->recomputed_tokens += one->recomputed_tokens;
  to->kv_allocated += one->kv_allocated;
  to->kv_freed += one->kv_freed;
  to->kv_resident += one->kv_resident;
  to->cache_lookups += one->cache_lookups;
  to->cache_hits += one->cache_hits;
  to->cache_evicted += one->cache_evicted;
  to->iterations += one->iterations;
  to->leaps += one->leaps;
}

void fc_replica_result_add(fc_replica_result *to, const fc_replica_result *one, double decode_share) {
  add_counts(to, one);
  to->busy_s += one->busy_s;
  to->prefill_s += one->prefill_s;
  to->decode_s += one->decode_s;
  to->mixed_s += one->mixed_s;
  add_parts(&to->parts, &one->parts);
  to->batch_mean += one->batch_mean * decode_share;
  to->batch_peak = fmax(to->batch_peak, one->batch_peak);
  to->kv_peak = fmax(to->kv_peak, one->kv_peak);
  if (to->span_s > 0) {
    to->kv_mean += one->kv_mean * one->span_s / to->span_s;
    to->queue_mean += one->queue_mean * one->span_s / to->span_s;
  }
  to->bytes_per_resident = fmax(to->bytes_per_resident, one->bytes_per_resident);
  to->table_error = fmax(to->table_error, one->table_error);
  fc_digest_merge(&to->itl, &one->itl);
}
