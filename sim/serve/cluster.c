/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/serve/cluster.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster_private.h"
#include "replica_private.h"

enum { REPLICAS_MOST = 100000, CONTROLS_MOST = 10000000 };

fc_cluster_def fc_cluster_default_def(void) {
  return (fc_cluster_def){
      .replica = fc_replica_default_def(),
      .replicas = 1,
      .prefix_share = 0.3,
      .guard_ratio = 1.5,
      .guard_requests = 64,
      .n_lengths = 1,
      .length_share = {1, 1, 1, 1, 1, 1, 1, 1},
      .scale = {.target = 1,
                .replicas_min = 1,
                .replicas_max = 1,
                .interval_s = 15,
                .tolerance = 0.1,
                .down_wait_s = 300,
                .provision_s = fc_dist_point(0)},
      .failure = {.shape = 1, .repair_s = fc_dist_point(0), .retries = 5, .retry_after_s = 0.05},
      .router_queue_limit = INT64_MAX,
      .threads = 1};
}

/* --- the definition --- */

static bool is_amount(double x) {
  return isfinite(x) && x >= 0;
}

static const char *scale_fault(const fc_cluster_def *d) {
  const fc_scale_def *s = &d->scale;
  if ((unsigned)s->on >= FC_SCALES) return "scale.on is no metric";
  if (s->on == FC_SCALE_NONE) return NULL;
  if (!(s->target > 0) || !isfinite(s->target)) return "scale.target is not positive";
  if (s->replicas_min < 0) return "scale.replicas_min is negative";
  if (s->replicas_max < 1 || s->replicas_max > REPLICAS_MOST) return "scale.replicas_max is outside [1, 1e5]";
  if (s->replicas_max < s->replicas_min) return "scale.replicas_max is below replicas_min";
  if (s->replicas_max < d->replicas) return "scale.replicas_max is below replicas";
  if (!(s->interval_s >= 1e-6) || !isfinite(s->interval_s)) return "scale.interval_s is below 1e-6";
  if (!is_amount(s->tolerance)) return "scale.tolerance is negative";
  if (!is_amount(s->up_wait_s) || !is_amount(s->down_wait_s))
    return "a wait of scale is negative or not finite";
  if (s->up_most < 0 || s->down_most < 0) return "scale: replicas a change are negative";
  if (!fc_dist_is_valid(&s->provision_s)) return "scale.provision_s is no distribution";
  return NULL;
}

static const char *failure_fault(const fc_failure_def *f) {
  if (!is_amount(f->mean_s)) return "failure.mean_s is negative or not finite";
  if (!(f->shape >= 0.1 && f->shape <= 10)) return "failure.shape is outside [0.1, 10]";
  if (!fc_dist_is_valid(&f->repair_s)) return "failure.repair_s is no distribution";
  if (!is_amount(f->retry_after_s)) return "failure.retry_after_s is negative or not finite";
  return NULL;
}

static const char *route_fault(const fc_cluster_def *d) {
  if (!fc_route_name(d->route)) return "route is none";
  if (!(d->prefix_share >= 0 && d->prefix_share <= 1)) return "prefix_share is outside [0, 1]";
  if (!is_amount(d->guard_ratio) || d->guard_requests < 0) return "a guard of the prefix route is negative";
  if (d->n_lengths < 1 || d->n_lengths > FC_LENGTHS_MAX) return "n_lengths is outside [1, 8]";
  for (int i = 0; i < d->n_lengths; i++) {
    if (!(d->length_share[i] > 0) || !isfinite(d->length_share[i])) return "length_share is not positive";
    if (i > 0 && i < d->n_lengths - 1 && d->length_below[i] <= d->length_below[i - 1])
      return "length_below does not increase";
  }
  if (d->router_queue_limit < 0) return "router_queue_limit is negative";
  return NULL;
}

static const char *fault_of(const fc_cluster_def *d) {
  if (d->replicas < (d->scale.on == FC_SCALE_NONE) || d->replicas > REPLICAS_MOST)
    return "replicas is outside [1, 1e5] (0 with a scaler)";
  const char *fault = route_fault(d);
  if (!fault) fault = scale_fault(d);
  if (!fault) fault = failure_fault(&d->failure);
  if (fault) return fault;
  if (d->replica.role != FC_ROLE_WHOLE) return "replica.role is not FC_ROLE_WHOLE";
  if (!is_amount(d->weights_bytes) || !is_amount(d->load_extra_s)) return "cold start: a value is negative";
  if (d->weights_bytes > 0 && !(d->load_bytes_per_s > 0)) return "load_bytes_per_s is not positive";
  if (d->n_classes > 65536 || (d->n_classes && !d->slo)) return "n_classes is above 65,536, or slo is NULL";
  for (size_t i = 0; i < d->n_classes; i++)
    if (!(d->slo[i].ttft_s > 0) || !(d->slo[i].tpot_s > 0)) return "a limit of an SLO class is not positive";
  if (d->threads < 1 || d->threads > 256) return "threads is outside [1, 256]";
  if (!is_amount(d->timeline_s)) return "timeline_s is negative";
  if (d->timeline_s > 0 && d->timeline_s < 1e-6) return "timeline_s is below 1e-6";
  return NULL;
}

fc_status fc_cluster_check(const fc_cluster_def *def, char *why) {
  const char *fault = fault_of(def);
  if (!fault) return fc_replica_check(&def->replica, why);
  if (why) (void)snprintf(why, 256, "%s", fault);
  return FC_E_DOMAIN;
}

fc_status fc_race_init(fc_race *race, uint32_t n) {
  race->leaves = 1;
  while (race->leaves < n) race->leaves *= 2;
  race->node = malloc(2 * (size_t)race->leaves * sizeof *race->node);
  if (!race->node) return FC_E_NOMEM;
  for (uint32_t i = 0; i < race->leaves; i++) race->node[race->leaves + i] = (fc_entry){INT64_MAX, i};
  for (uint32_t i = race->leaves; i-- > 1;) race->node[i] = race->node[2 * (size_t)i];
  return FC_OK;
}

/* --- making --- */

/* Each replica is of one class of lengths, so that among the first k all have their share. */
static void share_lengths(fc_cluster *c) {
  if (c->def.route != FC_ROUTE_LENGTH) return;
  double total = 0, given[FC_LENGTHS_MAX] = {0};
  for (int k = 0; k < c->def.n_lengths; k++) total += c->def.length_share[k];
  for (uint32_t i = 0; i < c->n; i++) {
    int most = 0;
    double lack = -(double)INFINITY;
    for (int k = 0; k < c->def.n_lengths; k++) {
      double l = c->def.length_share[k] / total * (double)(i + 1) - given[k];
      if (!(l > lack)) continue;
      lack = l;
      most = k;
    }
    given[most]++;
    c->node[i].length = most;
  }
}

static fc_status make_arrays(fc_cluster *c) {
  fc_cluster_result *o = c->out;
  o->n_replicas = c->n;
  o->n_classes = c->def.n_classes ? c->def.n_classes : 1;
  o->by_replica = calloc(c->n, sizeof *o->by_replica);
  o->by_class = calloc(o->n_classes, sizeof *o->by_class);
  c->node = calloc(c->n, sizeof *c->node);
  c->serving = calloc(c->n, sizeof *c->serving);
  c->outstanding = calloc(c->n, sizeof *c->outstanding);
  c->slo_ns = calloc(2 * o->n_classes, sizeof *c->slo_ns);
  if (!o->by_replica || !o->by_class || !c->node || !c->serving || !c->outstanding || !c->slo_ns)
    return FC_E_NOMEM;
  for (size_t i = 0; i < o->n_classes; i++) {
    c->slo_ns[2 * i] = c->def.n_classes ? 1e9 * c->def.slo[i].ttft_s : (double)INFINITY;
    c->slo_ns[2 * i + 1] = c->def.n_classes ? 1e9 * c->def.slo[i].tpot_s : (double)INFINITY;
  }
  fc_status status = fc_race_init(&c->steps, c->n);
  if (status == FC_OK) status = fc_race_init(&c->life, c->n);
  int loads = !fc_route_needs_load(c->def.route) ? 0 : c->def.route == FC_ROUTE_LENGTH ? c->def.n_lengths : 1;
  for (int k = 0; k < loads && status == FC_OK; k++) status = fc_race_init(&c->load[k], c->n);
  return status;
}

static fc_status make_replicas(fc_cluster *c) {
  fc_replica_def d = c->def.replica;
  d.record = fc_record;
  d.stretch = NULL;
  for (uint32_t i = 0; i < c->n; i++) {
    fc_node *node = &c->node[i];
    node->cluster = c;
    node->number = i;
    node->since = c->now;
    d.context = node;
    fc_status status = fc_replica_new(&node->replica, &d, c->seed, i);
    if (status != FC_OK) return status;
    node->replica->why = c->why;
  }
  share_lengths(c);
  return FC_OK;
}

static void start(fc_cluster *c) {
  const fc_cluster_def *d = &c->def;
  c->counted = c->out->start = c->now;
  c->count[FC_REPLICA_OFF] = c->n;
  c->dynamic = d->scale.on != FC_SCALE_NONE || d->failure.mean_s > 0;
  c->digests = c->dynamic || d->n_classes > 1;
  double load_s = d->load_extra_s + (d->weights_bytes > 0 ? d->weights_bytes / d->load_bytes_per_s : 0);
  c->load_ns = fc_time_from_s(load_s);
  c->last_change = -1;
  c->next_scale = FC_TIME_MAX;
  c->next_sample = d->sample && d->timeline_s > 0 ? c->now : FC_TIME_MAX;
  if (d->scale.on != FC_SCALE_NONE) c->next_scale = fc_after(c->now, fc_time_from_s(d->scale.interval_s));
  for (uint32_t i = 0; i < (uint32_t)d->replicas; i++) fc_come_up(c, &c->node[i]);
}

/* --- running --- */

static fc_time next_control(const fc_cluster *c) {
  fc_time at = fc_race_first(&c->life).value, retry = fc_retry_next(c);
  if (c->next_scale < at) at = c->next_scale;
  if (c->next_sample < at) at = c->next_sample;
  return retry < at ? retry : at;
}

static void control(fc_cluster *c, fc_time at) {
  c->now = at;
  fc_entry life = fc_race_first(&c->life);
  if (life.value == at)
    fc_life_change(c, &c->node[fc_entry_number(life)]);
  else if (c->next_scale == at)
    fc_scale_now(c);
  else if (c->next_sample == at)
    fc_sample_now(c);
  else
    fc_retry(c);
  if (++c->idle_controls <= CONTROLS_MOST) return;
  if (c->why)
    (void)snprintf(c->why, 256, "no progress: %d events of replicas and scaler in a row without a request's",
                   CONTROLS_MOST);
  c->status = FC_E_INFEASIBLE;
}

static void step(fc_cluster *c, fc_entry first) {
  fc_node *node = &c->node[fc_entry_number(first)];
  c->now = first.value;
  fc_status status = fc_replica_advance(node->replica, first.value + 1);
  if (status != FC_OK) c->status = status;
  fc_node_refresh(c, node);
  fc_leave_if_drained(c, node);
}

static fc_status stuck(fc_cluster *c) {
  if (c->why)
    (void)snprintf(c->why, 256, "%llu requests wait and no replica will come up",
                   (unsigned long long)fc_in_flight(c));
  return FC_E_INFEASIBLE;
}

static void all_events(fc_cluster *c) {
  while (c->status == FC_OK) {
    fc_time arrival;
    if (!c->source->peek(c->source->context, &arrival)) {
      if (!fc_in_flight(c)) return;
      arrival = FC_TIME_MAX;
    }
    fc_entry first = fc_race_first(&c->steps);
    fc_time at = arrival < first.value ? arrival : first.value,
            other = c->dynamic ? next_control(c) : c->next_sample;
    if (other <= at && other < FC_TIME_MAX)
      control(c, other);
    else if (at == FC_TIME_MAX)
      c->status = stuck(c);
    else if (arrival <= first.value)
      fc_arrive(c);
    else
      step(c, first);
  }
}

static void fini(fc_cluster *c) {
  for (uint32_t i = 0; c->node && i < c->n; i++) fc_replica_free(c->node[i].replica);
  for (uint64_t i = 0; i < c->passages; i++) free(c->passage[i].block);
  free(c->passage);
  free(c->node);
  free(c->serving);
  free(c->outstanding);
  free(c->slo_ns);
  free(c->gaps);
  free(c->steps.node);
  free(c->life.node);
  for (int k = 0; k < FC_LENGTHS_MAX; k++) free(c->load[k].node);
}

void fc_cluster_result_fini(fc_cluster_result *result) {
  free(result->by_replica);
  free(result->by_class);
  memset(result, 0, sizeof *result);
}

fc_status fc_cluster_run(fc_cluster_result *out, const fc_cluster_def *def, const fc_request_source *source,
                         uint64_t seed, char *why) {
  memset(out, 0, sizeof *out);
  fc_status status = fc_cluster_check(def, why);
  if (status != FC_OK) return status;
  bool scales = def->scale.on != FC_SCALE_NONE;
  fc_cluster c = {.def = *def, .source = source, .out = out, .seed = seed, .why = why};
  c.n = (uint32_t)(scales ? def->scale.replicas_max : def->replicas);
  fc_time first;
  if (source->peek(source->context, &first) && first < 0) c.now = first;
  c.status = make_arrays(&c);
  if (c.status == FC_OK) c.status = make_replicas(&c);
  if (c.status == FC_OK) {
    start(&c);
    fc_gaps_offer(&c);
    if (fc_runs_free(&c))
      fc_run_free(&c);
    else
      all_events(&c);
  }
  if (c.status == FC_OK) c.status = fc_cluster_collect(&c);
  fini(&c);
  if (c.status != FC_OK) fc_cluster_result_fini(out);
  return c.status;
}
