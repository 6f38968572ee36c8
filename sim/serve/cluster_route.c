/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets a request. */
#include "cluster_private.h"

#include <math.h>

#include <fleetcast/base/rng.h>

const char *fc_route_name(fc_route route) {
  static const char *const name[FC_ROUTES] = {"round-robin", "random", "least-requests", "least-tokens",
                                              "two-choices", "prefix", "length",         "least-work"};
  return (unsigned)route < FC_ROUTES ? name[route] : NULL;
}

/* --- predicted work --- */

/* A token's share of an iteration of half the largest batch. */
static double token_s(const fc_cluster *c, double context) {
  const fc_replica_def *d = &c->def.replica;
  double batch = ceil(0.5 * (double)d->policy.max_batch) * (double)fc_step_table_groups(d->steps);
  return fc_step_table_seconds(d->steps,
                               &(fc_step_work){.decode = batch, .decode_context = batch * context}) /
         batch;
}

int64_t fc_route_work(const fc_cluster *c, uint32_t input, uint32_t output) {
  const fc_replica_def *d = &c->def.replica;
  double p = input, chunks = ceil(p / (double)d->policy.token_budget), s = 0;
  if (p > 0)
    s = chunks * fc_step_table_seconds(d->steps, &(fc_step_work){.prefill = p / chunks,
                                                                 .prompts = 1,
                                                                 .pairs = 0.5 * p * (p + 1) / chunks});
  if (c->def.output_known) s += (double)output * token_s(c, p + 0.5 * (double)output);
  return 1 + (int64_t)(1e9 * s);
}

void fc_route_learn(fc_cluster *c, uint32_t input, uint32_t output) {
  if (c->def.output_known) return;
  c->mean_in += (double)input;
  c->mean_out += (double)output;
  double n = (double)(c->out->done);
  if (c->out->done % 64 != 1) return; /* the mean moves slowly */
  c->mean_ns = (int64_t)(1e9 * c->mean_out / n * token_s(c, (c->mean_in + 0.5 * c->mean_out) / n));
  for (uint32_t i = 0; i < c->n; i++) fc_route_refresh(c, &c->node[i]);
}

/* --- choices --- */

bool fc_route_needs_load(fc_route route) {
  return route != FC_ROUTE_ROUND_ROBIN && route != FC_ROUTE_RANDOM && route != FC_ROUTE_TWO_CHOICES;
}

void fc_route_refresh(fc_cluster *c, fc_node *node) {
  if (!fc_route_needs_load(c->def.route)) return;
  int64_t requests = c->outstanding[node->number], load = requests;
  if (!fc_serves(node))
    load = INT64_MAX;
  else if (c->def.route == FC_ROUTE_LEAST_TOKENS) /* then requests, of which there are below 2^20 */
    load += fc_replica_now(node->replica).waiting_tokens * (INT64_C(1) << 20);
  else if (c->def.route == FC_ROUTE_LEAST_WORK)
    load = node->work + c->mean_ns * requests;
  fc_race_set_ranked(&c->load[node->length], node->number, load, node->turn);
}

static uint32_t next_of(const fc_cluster *c, uint32_t i) {
  return i + 1 < c->n ? i + 1 : 0;
}

/* Least loaded; of those that take prompts of a length, if there are any. */
static uint32_t least(const fc_cluster *c, int length) {
  fc_entry best = fc_race_first(&c->load[length]);
  if (best.value == INT64_MAX)
    for (int k = 0; k < FC_LENGTHS_MAX && c->load[k].node; k++) {
      fc_entry e = fc_race_first(&c->load[k]);
      if (e.value < best.value || (e.value == best.value && e.rank < best.rank)) best = e;
    }
  return fc_entry_number(best);
}

static uint32_t draw(fc_rng *rng, uint32_t n) {
  uint32_t k = (uint32_t)(fc_rng_uniform(rng) * (double)n);
  return k < n ? k : n - 1;
}

static fc_rng route_rng(const fc_cluster *c, uint64_t number, uint32_t attempt) {
  return fc_rng_keyed(c->seed, FC_STREAM_JOB, number, UINT64_C(0x726f757465000000) + attempt); /* "route" */
}

static uint32_t two_choices(const fc_cluster *c, const fc_request *q, uint32_t attempt) {
  if (c->n_serving == 1) return c->serving[0];
  fc_rng rng = route_rng(c, q->number, attempt);
  uint32_t a = draw(&rng, c->n_serving), b = draw(&rng, c->n_serving - 1);
  if (b >= a) b++;
  a = c->serving[a];
  b = c->serving[b];
  return c->outstanding[b] < c->outstanding[a] ? b : a;
}

static uint32_t round_robin(const fc_cluster *c) {
  uint32_t i = c->cursor;
  while (!fc_serves(&c->node[i])) i = next_of(c, i);
  return i;
}

static uint32_t longest_prefix(const fc_cluster *c, const fc_request *q) {
  uint32_t emptiest = least(c, 0), best = emptiest;
  int64_t most = 0, hit = 0;
  for (uint32_t s = 0; s < c->n_serving; s++)
    if (c->outstanding[c->serving[s]] > most) most = c->outstanding[c->serving[s]];
  int64_t fewest = c->outstanding[emptiest];
  if (most - fewest > c->def.guard_requests && (double)most > c->def.guard_ratio * (double)fewest)
    return emptiest;
  for (uint32_t k = 0, i = c->cursor; k < c->n; k++, i = next_of(c, i)) {
    if (!fc_serves(&c->node[i])) continue;
    int64_t tokens = fc_replica_would_hit(c->node[i].replica, q);
    if (tokens < hit || (tokens == hit && (tokens == 0 || c->outstanding[i] >= c->outstanding[best])))
      continue;
    hit = tokens;
    best = i;
  }
  return (double)hit >= c->def.prefix_share * (double)q->input_tokens && hit > 0 ? best : emptiest;
}

static uint32_t by_length(const fc_cluster *c, const fc_request *q) {
  int length = 0;
  while (length < c->def.n_lengths - 1 && q->input_tokens >= c->def.length_below[length]) length++;
  return least(c, length);
}

static uint32_t choose(const fc_cluster *c, const fc_request *q, uint32_t attempt) {
  switch (c->def.route) {
  case FC_ROUTE_ROUND_ROBIN: return round_robin(c);
  case FC_ROUTE_RANDOM: {
    fc_rng rng = route_rng(c, q->number, attempt);
    return c->serving[draw(&rng, c->n_serving)];
  }
  case FC_ROUTE_TWO_CHOICES: return two_choices(c, q, attempt);
  case FC_ROUTE_PREFIX: return longest_prefix(c, q);
  case FC_ROUTE_LENGTH: return by_length(c, q);
  case FC_ROUTE_LEAST_REQUESTS:
  case FC_ROUTE_LEAST_TOKENS:
  case FC_ROUTE_LEAST_WORK:
  case FC_ROUTES: break;
  }
  return least(c, 0);
}

uint32_t fc_route_blind(fc_cluster *c, const fc_request *q) {
  uint32_t i = c->n > 1 ? choose(c, q, 0) : 0;
  c->cursor = next_of(c, i);
  return i;
}

uint32_t fc_route_choose(fc_cluster *c, const fc_request *q, uint32_t attempt) {
  uint32_t i = c->n > 1 ? choose(c, q, attempt) : 0;
  c->cursor = next_of(c, i);
  c->node[i].turn = ++c->turn;
  return i;
}
