/* SPDX-License-Identifier: Apache-2.0 */
/* Replicas come up, break down, are repaired; the scaler wants more or fewer. */
#include "cluster_private.h"

#include <math.h>

#include <fleetcast/base/rng.h>

fc_time fc_after(fc_time t, fc_time more) {
  return more > FC_TIME_MAX - t ? FC_TIME_MAX : t + more;
}

static void count_up_to(fc_cluster *c, fc_time at) {
  uint64_t ns = (uint64_t)(at - c->counted);
  for (int i = 0; i < FC_REPLICA_CONDITIONS; i++) c->integral[i] += ns * (uint64_t)c->count[i];
  c->counted = at;
}

void fc_condition_set(fc_cluster *c, fc_node *node, fc_replica_condition to) {
  fc_replica_condition from = node->condition;
  node->ns[from] += c->now - node->since;
  node->since = c->now;
  count_up_to(c, c->now);
  c->count[from]--;
  c->count[to]++;
  node->condition = to;
  if (from == FC_REPLICA_UP) { /* the last one takes its seat */
    uint32_t last = c->serving[--c->n_serving];
    c->serving[node->seat] = last;
    c->node[last].seat = node->seat;
    if (!c->outstanding[node->number]) c->n_idle--;
  }
  if (to == FC_REPLICA_UP) {
    node->seat = c->n_serving;
    c->serving[c->n_serving++] = node->number;
    if (!c->outstanding[node->number]) c->n_idle++;
  }
  fc_route_refresh(c, node);
}

/* --- life --- */

static fc_time drawn(fc_cluster *c, const fc_dist *dist, const fc_node *node, uint64_t sample) {
  fc_rng rng = fc_rng_keyed(c->seed, FC_STREAM_REPAIR, node->number, sample);
  double s = dist->kind == FC_DIST_POINT ? dist->a : fc_dist_quantile(dist, fc_rng_uniform(&rng));
  return fc_time_from_s(s > 0 ? s : 0);
}

static fc_time lifetime(fc_cluster *c, const fc_node *node) {
  const fc_failure_def *f = &c->def.failure;
  if (!(f->mean_s > 0)) return FC_TIME_MAX;
  fc_rng rng = fc_rng_keyed(c->seed, FC_STREAM_FAILURE, node->number, node->starts);
  double e = fc_rng_exponential(&rng);
  if (fabs(f->shape - 1) > 0) e = pow(e, 1 / f->shape) / tgamma(1 + 1 / f->shape);
  return fc_time_from_s(f->mean_s * e);
}

void fc_come_up(fc_cluster *c, fc_node *node) {
  node->starts++;
  node->work = 0;
  fc_condition_set(c, node, FC_REPLICA_UP);
  fc_race_set(&c->life, node->number, fc_after(c->now, lifetime(c, node)));
  fc_router_flush(c);
}

static void load_weights(fc_cluster *c, fc_node *node) {
  fc_condition_set(c, node, FC_REPLICA_LOADING);
  fc_race_set(&c->life, node->number, fc_after(c->now, c->load_ns));
}

/* All that it held is gone. */
static void clear(fc_cluster *c, fc_node *node) {
  fc_status status = fc_replica_advance(node->replica, c->now);
  if (status == FC_OK) status = fc_replica_fail(node->replica, c->now, fc_lost, node);
  if (status != FC_OK) c->status = status;
  fc_node_refresh(c, node);
}

static void break_down(fc_cluster *c, fc_node *node) {
  bool draining = node->condition == FC_REPLICA_DRAINING;
  node->failures++;
  c->out->failures++;
  fc_condition_set(c, node, draining ? FC_REPLICA_OFF : FC_REPLICA_DOWN);
  fc_race_set(&c->life, node->number,
              draining ? FC_TIME_MAX
                       : fc_after(c->now, drawn(c, &c->def.failure.repair_s, node, node->failures)));
  clear(c, node);
}

void fc_life_change(fc_cluster *c, fc_node *node) {
  switch (node->condition) {
  case FC_REPLICA_PROVISIONING:
  case FC_REPLICA_DOWN: load_weights(c, node); return;
  case FC_REPLICA_LOADING: fc_come_up(c, node); return;
  case FC_REPLICA_UP:
  case FC_REPLICA_DRAINING: break_down(c, node); return;
  case FC_REPLICA_OFF:
  case FC_REPLICA_CONDITIONS: return;
  }
}

static void give_back(fc_cluster *c, fc_node *node) {
  fc_condition_set(c, node, FC_REPLICA_OFF);
  fc_race_set(&c->life, node->number, FC_TIME_MAX);
}

void fc_leave_if_drained(fc_cluster *c, fc_node *node) {
  if (node->condition != FC_REPLICA_DRAINING || c->outstanding[node->number] > 0) return;
  give_back(c, node);
  clear(c, node);
}

/* --- the scaler --- */

static bool on_its_way(const fc_node *node) {
  return node->condition == FC_REPLICA_PROVISIONING || node->condition == FC_REPLICA_LOADING;
}

/* Share of the interval in which it had requests. */
static double busy_share(fc_cluster *c, fc_node *node, double interval) {
  bool busy = c->outstanding[node->number] > 0;
  if (busy) node->busy_ns += c->now - node->busy_since;
  node->busy_since = c->now;
  double share = (double)node->busy_ns / interval;
  node->busy_ns = 0;
  return share;
}

/* The metric, summed over replicas. */
static double metric(fc_cluster *c) {
  double sum = 0, interval = 1e9 * c->def.scale.interval_s;
  for (uint32_t i = 0; i < c->n; i++) {
    fc_node *node = &c->node[i];
    if (c->def.scale.on == FC_SCALE_ON_BUSY) {
      double share = busy_share(c, node, interval);
      if (fc_serves(node)) sum += share;
      continue;
    }
    if (!fc_serves(node)) continue;
    fc_replica_state s = fc_replica_now(node->replica);
    switch (c->def.scale.on) {
    case FC_SCALE_ON_REQUESTS: sum += (double)c->outstanding[i]; break;
    case FC_SCALE_ON_WAITING: sum += (double)s.waiting; break;
    case FC_SCALE_ON_TOKENS: sum += (double)s.waiting_tokens; break;
    case FC_SCALE_ON_MEMORY: sum += (double)s.kv_used / (double)s.kv_total; break;
    case FC_SCALE_NONE:
    case FC_SCALE_ON_BUSY:
    case FC_SCALES: break;
    }
  }
  if (c->def.scale.on == FC_SCALE_ON_REQUESTS || c->def.scale.on == FC_SCALE_ON_WAITING)
    sum += (double)c->at_router.n;
  return sum;
}

static int64_t wish(fc_cluster *c, int64_t have) {
  const fc_scale_def *s = &c->def.scale;
  double want = metric(c) / s->target, most = (double)s->replicas_max;
  bool near = have > 0 && fabs(want / (double)have - 1) <= s->tolerance;
  /* a hair less, so that a whole number that rounding raised stays one */
  int64_t n = near ? have : want >= most ? s->replicas_max : (int64_t)ceil(want - 1e-9);
  if (n < s->replicas_min) n = s->replicas_min;
  if (n < 1 && c->at_router.n > 0) n = 1; /* who waits would wait for ever */
  return n > s->replicas_max ? s->replicas_max : n;
}

/* The first to come back from draining, or a new one. */
static bool one_more(fc_cluster *c) {
  fc_node *pick = NULL;
  for (uint32_t i = 0; i < c->n; i++) {
    fc_node *node = &c->node[i];
    if (node->condition == FC_REPLICA_DRAINING) {
      fc_condition_set(c, node, FC_REPLICA_UP);
      return true;
    }
    if (!pick && node->condition == FC_REPLICA_OFF) pick = node;
  }
  if (!pick) return false;
  fc_condition_set(c, pick, FC_REPLICA_PROVISIONING);
  fc_time delay = drawn(c, &c->def.scale.provision_s, pick, (UINT64_C(1) << 63) + pick->wishes++);
  fc_race_set(&c->life, pick->number, fc_after(c->now, delay));
  return true;
}

static bool one_less(fc_cluster *c) {
  fc_node *pick = NULL;
  for (uint32_t i = c->n; i-- > 0;) {
    fc_node *node = &c->node[i];
    if (on_its_way(node)) {
      give_back(c, node);
      return true;
    }
    if (fc_serves(node) && (!pick || c->outstanding[i] < c->outstanding[pick->number])) pick = node;
  }
  if (!pick) return false;
  fc_condition_set(c, pick, FC_REPLICA_DRAINING);
  fc_leave_if_drained(c, pick);
  return true;
}

void fc_scale_now(fc_cluster *c) {
  const fc_scale_def *s = &c->def.scale;
  c->next_scale = fc_after(c->now, fc_time_from_s(s->interval_s));
  int64_t have = c->count[FC_REPLICA_PROVISIONING] + c->count[FC_REPLICA_LOADING] + c->count[FC_REPLICA_UP];
  int64_t want = wish(c, have), changed = 0;
  bool first = c->last_change < 0;
  double since = first ? 0 : fc_time_to_s(c->now - c->last_change);
  if (want > have && (first || since >= s->up_wait_s)) {
    if (s->up_most > 0 && want - have > s->up_most) want = have + s->up_most;
    while (have + changed < want && one_more(c)) changed++;
    c->out->scaled_up += (uint64_t)changed;
  } else if (want < have && (first || since >= s->down_wait_s)) {
    if (s->down_most > 0 && have - want > s->down_most) want = have - s->down_most;
    while (have - changed > want && one_less(c)) changed++;
    c->out->scaled_down += (uint64_t)changed;
  }
  if (changed) c->last_change = c->now;
  fc_router_flush(c);
}

/* --- the timeline --- */

void fc_sample_now(fc_cluster *c) {
  c->next_sample = fc_after(c->now, fc_time_from_s(c->def.timeline_s));
  fc_cluster_sample s = {.at = c->now,
                         .at_router = (int64_t)c->at_router.n,
                         .retrying = (int64_t)c->retries.n,
                         .in = c->out->in,
                         .done = c->out->done,
                         .refused = c->out->refused,
                         .lost = c->out->lost};
  for (int i = 0; i < FC_REPLICA_CONDITIONS; i++) s.replicas[i] = c->count[i];
  for (uint32_t i = 0; i < c->n; i++) {
    if (c->node[i].condition == FC_REPLICA_OFF) continue;
    fc_replica_state r = fc_replica_now(c->node[i].replica);
    s.waiting += r.waiting;
    s.running += r.running;
    s.waiting_tokens += r.waiting_tokens;
    s.kv_used += r.kv_used;
  }
  c->def.sample(c->def.context, &s);
}
