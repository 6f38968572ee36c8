/* SPDX-License-Identifier: Apache-2.0 */
/* Laws of a cluster, and what a run comes to. */
#include "cluster_private.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "replica_private.h"

static fc_status broken(const fc_cluster *c, const char *law, uint64_t left, uint64_t right) {
  if (c->why)
    (void)snprintf(c->why, 256, "law broken: %s: %llu and %llu", law, (unsigned long long)left,
                   (unsigned long long)right);
  return FC_E_LAW;
}

/* --- laws --- */

static fc_status check_node(const fc_cluster *c, const fc_node *node) {
  const fc_replica_result *r = node->replica->result;
  uint64_t refused = 0, over = node->done + node->refused + node->lost;
  for (int i = FC_REFUSED_NOT + 1; i < FC_REFUSED_REASONS; i++) refused += r->refused[i];
  if (node->in != over + r->in_flight || node->in != r->in)
    return broken(c, "attempts of a replica = done + refused + lost + in flight", node->in,
                  over + r->in_flight);
  if (node->done != r->done || node->refused != refused || node->lost != r->refused[FC_REFUSED_NOT])
    return broken(c, "a replica's ends are the cluster's", over, r->done + refused);
  if ((uint64_t)c->outstanding[node->number] != r->in_flight)
    return broken(c, "the router's count of a replica = its own", (uint64_t)c->outstanding[node->number],
                  r->in_flight);
  fc_time ns = 0;
  for (int i = 0; i < FC_REPLICA_CONDITIONS; i++) ns += node->ns[i];
  if (ns != c->out->end - c->out->start)
    return broken(c, "conditions of a replica sum to the span", (uint64_t)ns,
                  (uint64_t)(c->out->end - c->out->start));
  return FC_OK;
}

static fc_status check_requests(const fc_cluster *c) {
  const fc_cluster_result *o = c->out;
  uint64_t attempts = 0, done = 0, in = 0, over = 0;
  for (uint32_t i = 0; i < c->n; i++) {
    attempts += c->node[i].in;
    done += c->node[i].done;
  }
  for (size_t i = 0; i < o->n_classes; i++) {
    in += o->by_class[i].in;
    over += o->by_class[i].done + o->by_class[i].refused + o->by_class[i].lost;
  }
  if (o->attempts != attempts) return broken(c, "attempts = those of replicas", o->attempts, attempts);
  if (o->done != done) return broken(c, "requests done = those of replicas", o->done, done);
  if (o->in != in) return broken(c, "requests = those of classes", o->in, in);
  if (o->in != over + o->in_flight)
    return broken(c, "requests in = done + refused + lost + in flight", o->in, over + o->in_flight);
  bool shortest = c->def.route == FC_ROUTE_LEAST_REQUESTS || c->def.route == FC_ROUTE_LEAST_TOKENS ||
                  c->def.route == FC_ROUTE_LEAST_WORK;
  if (shortest && o->past_idle)
    return broken(c, "no request goes past an idle replica (INV-10)", o->past_idle, 0);
  return FC_OK;
}

/* Two ways to count: a replica's time in each condition, and each condition's replicas over time. */
static fc_status check_devices(const fc_cluster *c) {
  for (int k = 0; k < FC_REPLICA_CONDITIONS; k++) {
    uint64_t ns = 0;
    for (uint32_t i = 0; i < c->n; i++) ns += (uint64_t)c->node[i].ns[k];
    if (ns != c->integral[k])
      return broken(c, "time of replicas in a condition = replicas over time", ns, c->integral[k]);
  }
  return FC_OK;
}

/* --- sums --- */

static double held_s(const double *seconds) {
  return seconds[FC_REPLICA_LOADING] + seconds[FC_REPLICA_UP] + seconds[FC_REPLICA_DRAINING] +
         seconds[FC_REPLICA_DOWN];
}

static void fill_replica(const fc_cluster *c, const fc_node *node) {
  const fc_replica_result *r = node->replica->result;
  const fc_step_table_def *t = &node->replica->table->def;
  fc_cluster_replica *o = &c->out->by_replica[node->number];
  double idle_w = t->idle_w * (double)t->devices;
  *o = (fc_cluster_replica){.in = node->in,
                            .done = node->done,
                            .refused = node->refused,
                            .lost = node->lost,
                            .starts = node->starts,
                            .failures = node->failures,
                            .input_tokens = r->input_tokens,
                            .output_tokens = r->output_tokens,
                            .cached_tokens = r->cached_tokens,
                            .preemptions = r->preemptions,
                            .iterations = r->iterations,
                            .busy_s = r->busy_s,
                            .kv_peak = r->kv_peak,
                            .batch_mean = r->batch_mean};
  for (int k = 0; k < FC_REPLICA_CONDITIONS; k++) {
    o->seconds[k] = fc_time_to_s(node->ns[k]);
    c->out->device_s[k] += o->seconds[k] * (double)t->devices;
  }
  /* the replica counts idle power from its first to its last iteration; here while it is held */
  o->energy_j = r->energy_j + idle_w * (held_s(o->seconds) - r->span_s);
}

static void fill_class(fc_cluster_class *k, double span_s) {
  uint64_t over = k->done + k->refused + k->lost;
  k->in_flight = k->in - over;
  k->attainment = over ? (double)k->within_both / (double)over : 1;
  if (!(span_s > 0)) return;
  k->goodput_per_s = (double)k->within_both / span_s;
  k->good_tokens_per_s = (double)k->good_tokens / span_s;
}

static void fill_total(const fc_cluster *c) {
  fc_cluster_result *o = c->out;
  fc_replica_result *t = &o->total;
  double steps = 0;
  t->start = o->start;
  t->end = o->end;
  t->span_s = o->span_s;
  for (uint32_t i = 0; i < c->n; i++) steps += (double)c->node[i].replica->decode_steps;
  for (uint32_t i = 0; i < c->n; i++) {
    const fc_replica *r = c->node[i].replica;
    fc_replica_result_add(t, r->result, steps > 0 ? (double)r->decode_steps / steps : 0);
    t->energy_j += o->by_replica[i].energy_j;
    if (c->digests) continue;
    fc_digest_merge(&o->by_class[0].ttft, &r->result->ttft);
    fc_digest_merge(&o->by_class[0].tpot, &r->result->tpot);
    fc_digest_merge(&o->by_class[0].e2e, &r->result->e2e);
  }
  for (size_t i = 0; i < o->n_classes; i++) {
    fill_class(&o->by_class[i], o->span_s);
    fc_digest_merge(&t->ttft, &o->by_class[i].ttft);
    fc_digest_merge(&t->tpot, &o->by_class[i].tpot);
    fc_digest_merge(&t->e2e, &o->by_class[i].e2e);
  }
  if (!(o->span_s > 0)) return;
  t->requests_per_s = (double)t->done / o->span_s;
  t->output_tokens_per_s = (double)t->output_tokens / o->span_s;
}

static fc_status fill_devices(const fc_cluster *c) {
  fc_cluster_result *o = c->out;
  double sum = 0, held = held_s(o->device_s),
         able = o->device_s[FC_REPLICA_UP] + o->device_s[FC_REPLICA_DRAINING];
  for (int k = 0; k < FC_REPLICA_CONDITIONS; k++) sum += o->device_s[k];
  o->total_device_s = (double)c->n * (double)c->node[0].replica->table->def.devices * o->span_s;
  o->availability = held > 0 ? able / held : 1;
  if (!(fabs(sum - o->total_device_s) <= 1e-9 * o->total_device_s))
    return broken(c, "device-seconds sum to the total [ns]", (uint64_t)(1e9 * sum),
                  (uint64_t)(1e9 * o->total_device_s));
  return FC_OK;
}

/* --- gaps between tokens while the run goes on --- */

static void gaps_of(const void *run, fc_digest *out) {
  const fc_cluster *c = run;
  if (c->gaps) {
    *out = *c->gaps;
    return;
  }
  memset(out, 0, sizeof *out);
  for (uint32_t i = 0; i < c->n; i++) fc_digest_merge(out, &c->node[i].replica->result->itl);
}

void fc_gaps_offer(fc_cluster *c) {
  if (c->def.gaps) *c->def.gaps = (fc_gaps){.run = c, .sum = gaps_of};
}

void fc_gaps_keep(fc_cluster *c) {
  if (!c->gaps) return;
  memset(c->gaps, 0, sizeof *c->gaps);
  for (uint32_t i = 0; i < c->n; i++) fc_digest_merge(c->gaps, &c->node[i].replica->result->itl);
}

/* --- all of it --- */

fc_status fc_cluster_collect(fc_cluster *c) {
  fc_cluster_result *o = c->out;
  o->in_flight = fc_in_flight(c);
  o->end = c->now;
  for (uint32_t i = 0; i < c->n; i++)
    if (c->node[i].replica->result->end > o->end) o->end = c->node[i].replica->result->end;
  o->span_s = fc_time_to_s(o->end - o->start);
  c->now = o->end;
  for (uint32_t i = 0; i < c->n; i++) { /* closes the books */
    fc_node *node = &c->node[i];
    fc_condition_set(c, node, node->condition);
    fc_status status = fc_replica_take_result(node->replica->result, node->replica, c->why);
    if (status == FC_OK) status = check_node(c, node);
    if (status != FC_OK) return status;
    fill_replica(c, node);
  }
  fc_status status = check_requests(c);
  if (status == FC_OK) status = check_devices(c);
  if (status != FC_OK) return status;
  fill_total(c);
  return fill_devices(c);
}
