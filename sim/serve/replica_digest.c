/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/serve/replica.h>

#include <fleetcast/base/assert.h>

#include "replica_private.h"

void fc_digest_add(fc_digest *d, double ns, uint64_t times) {
  if (!times) return;
  if (ns < d->min || d->n == 0) d->min = ns;
  if (ns > d->max) d->max = ns;
  d->n += times;
  d->sum += ns * (double)times;
  d->sum_squares += ns * ns * (double)times;
  d->count[fc_digest_bucket(ns)] += times;
}

/* `n` values a, a + c, a + 2 c, ..., each `times`; few buckets, found from their edges. */
void fc_digest_add_line(fc_digest *d, double a, double c, int64_t n, uint64_t times) {
  double last = a + c * (double)(n - 1), low = c < 0 ? last : a, high = c < 0 ? a : last, m = (double)n;
  uint32_t from = fc_digest_bucket(a), to = fc_digest_bucket(last);
  if (low < d->min || d->n == 0) d->min = low;
  if (high > d->max) d->max = high;
  d->n += times * (uint64_t)n;
  double line = 0.5 * m * (m - 1);
  d->sum += (double)times * (m * a + c * line);
  d->sum_squares += (double)times * (m * a * a + 2 * a * c * line + c * c * line * (2 * m - 1) / 3);
  if (from == to) {
    d->count[from] += times * (uint64_t)n;
    return;
  }
  int64_t done = 0;
  for (uint32_t b = from; b != to; b += c > 0 ? 1 : -1U) { /* those before the edge to the next bucket */
    double edge = fc_digest_edge(c > 0 ? b + 1 : b), f = (edge - a) / c;
    int64_t upto = f >= m ? n : (int64_t)f;
    while (upto > done && fc_digest_bucket(a + c * (double)(upto - 1)) != b) upto--;
    while (upto < n && fc_digest_bucket(a + c * (double)upto) == b) upto++;
    if (upto <= done) continue;
    d->count[b] += times * (uint64_t)(upto - done);
    done = upto;
  }
  d->count[to] += times * (uint64_t)(n - done);
}

void fc_digest_merge(fc_digest *d, const fc_digest *other) {
  if (!other->n) return;
  if (!d->n || other->min < d->min) d->min = other->min;
  if (other->max > d->max) d->max = other->max;
  d->n += other->n;
  d->sum += other->sum;
  d->sum_squares += other->sum_squares;
  uint32_t last = fc_digest_bucket(other->max);
  for (uint32_t i = fc_digest_bucket(other->min); i <= last; i++) d->count[i] += other->count[i];
}

double fc_digest_quantile(const fc_digest *d, double p) {
  FC_ASSERT(p >= 0 && p <= 1);
  if (!d->n) return 0;
  double want = p * (double)d->n, before = 0;
  uint32_t i = 0;
  while (i + 1 < FC_DIGEST_BUCKETS && before + (double)d->count[i] < want) before += (double)d->count[i++];
  double in = (double)d->count[i], low = fc_digest_edge(i), high = fc_digest_edge(i + 1);
  double x = low + (high - low) * (in > 0 ? (want - before) / in : 0);
  if (x < d->min) x = d->min;
  return 1e-9 * (x > d->max ? d->max : x);
}

double fc_digest_mean(const fc_digest *d) {
  return d->n ? 1e-9 * d->sum / (double)d->n : 0;
}
