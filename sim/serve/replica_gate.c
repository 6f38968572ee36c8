/* SPDX-License-Identifier: Apache-2.0 */
/* Newcomers that wait until the scheduler looks at them (policy: look_steps, wait_steps, balance_steps). */
#include "replica_private.h"

#include <math.h>

/* What has arrived by now goes into the ring, where it can be counted. */
static fc_status pull(fc_replica *r) {
  fc_time visible;
  while (r->source && r->source->peek(r->source->context, &visible) && visible + r->ingress <= r->now.ns) {
    fc_request q;
    r->source->take(r->source->context, &q);
    fc_status status = fc_replica_offer(r, &q);
    if (status != FC_OK) return status;
  }
  while (r->ring_seen < r->ring_n) {
    const fc_request *q = &r->ring[(r->ring_first + r->ring_seen) % r->ring_capacity];
    if (q->arrival + r->ingress > r->now.ns) break;
    if (r->ring_seen++ == r->ring_polled) r->wait_k = r->k;
    r->seen_tokens += q->input_tokens;
  }
  return FC_OK;
}

static bool is_time_to_look(const fc_replica *r) {
  int64_t steps = r->def.policy.look_steps;
  return steps <= 1 || (r->k - r->look_k) % steps == 0;
}

static bool has_company(const fc_replica *r) {
  const fc_serve_policy *p = &r->def.policy;
  double tokens = (double)r->seen_tokens + (double)r->decoding * r->queries;
  return p->wait_steps < 1 || r->k - r->wait_k >= p->wait_steps ||
         tokens >= p->wait_share * (double)p->token_budget * r->groups;
}

static bool is_balanced(const fc_replica *r) {
  int64_t steps = r->def.policy.balance_steps;
  return steps < 1 || !(r->groups > 1) || (double)r->ring_seen >= r->one_each ||
         (r->k - r->balance_k) % steps == 0;
}

/* Who was let in once is not asked again, though memory may keep it waiting. */
fc_status fc_gate_look(fc_replica *r) {
  fc_status status = pull(r);
  if (status != FC_OK || r->ring_seen == r->ring_polled) return status;
  bool idle = (double)r->decoding < r->groups;
  if (!idle && !(is_time_to_look(r) && has_company(r) && is_balanced(r))) return FC_OK;
  if ((double)r->ring_seen >= r->one_each) r->balance_k = r->k;
  r->ring_polled = r->ring_seen;
  return FC_OK;
}

static int64_t until(int64_t steps, int64_t since) {
  return steps - since % steps;
}

int64_t fc_gate_steps(const fc_replica *r) {
  const fc_serve_policy *p = &r->def.policy;
  int64_t least = INT64_MAX;
  if (r->ring_seen <= r->ring_polled) return least;
  if (!is_time_to_look(r)) least = until(p->look_steps, r->k - r->look_k);
  if (!has_company(r) && p->wait_steps - (r->k - r->wait_k) < least)
    least = p->wait_steps - (r->k - r->wait_k);
  if (!is_balanced(r) && until(p->balance_steps, r->k - r->balance_k) < least)
    least = until(p->balance_steps, r->k - r->balance_k);
  return least < 1 ? 1 : least;
}

double fc_gate_gap_ns(const fc_replica *r) {
  fc_time at;
  if (r->ring_seen < r->ring_n)
    at = r->ring[(r->ring_first + r->ring_seen) % r->ring_capacity].arrival;
  else if (!r->source || !r->source->peek(r->source->context, &at))
    return (double)INFINITY;
  return (double)(at + r->ingress - r->now.ns) - r->now.rest - FC_INSTANT_SLACK;
}
