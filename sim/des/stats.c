/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/des/stats.h>

#include <math.h>

#include <fleetcast/base/assert.h>
#include <fleetcast/base/dist.h>

/* --- tally --- */

void fc_tally_add(fc_tally *t, double x) {
  t->min = t->n && t->min < x ? t->min : x;
  t->max = t->n && t->max > x ? t->max : x;
  double d = x - t->mean;
  t->mean += d / (double)++t->n;
  t->m2 += d * (x - t->mean);
}

void fc_tally_merge(fc_tally *t, const fc_tally *o) {
  if (o->n == 0) return;
  if (t->n == 0) {
    *t = *o;
    return;
  }
  double n = (double)t->n, m = (double)o->n, d = o->mean - t->mean;
  t->mean += d * (m / (n + m));
  t->m2 += o->m2 + d * d * (n * m / (n + m));
  t->n += o->n;
  t->min = fmin(t->min, o->min);
  t->max = fmax(t->max, o->max);
}

double fc_tally_variance(const fc_tally *t) {
  return t->n > 1 ? t->m2 / (double)(t->n - 1) : 0;
}

/* --- level --- */

/* As unsigned, for it may pass INT64_MAX. */
static double seconds_between(fc_time a, fc_time b) {
  return (double)((uint64_t)b - (uint64_t)a) / 1e9;
}

fc_level fc_level_from(fc_time start, double value) {
  return (fc_level){.start = start, .since = start, .value = value};
}

double fc_level_integral(const fc_level *l, fc_time now) {
  FC_ASSERT(now >= l->since);
  return l->integral + l->value * seconds_between(l->since, now);
}

void fc_level_set(fc_level *l, fc_time now, double value) {
  l->integral = fc_level_integral(l, now);
  l->since = now;
  l->value = value;
}

double fc_level_mean(const fc_level *l, fc_time now) {
  return now > l->start ? fc_level_integral(l, now) / seconds_between(l->start, now) : l->value;
}

/* --- batches --- */

static void merge_neighbours(fc_batches *b) {
  for (uint32_t i = 0; i < FC_BATCHES_MAX / 2; i++)
    b->sum[i] = b->sum[(size_t)2 * i] + b->sum[(size_t)2 * i + 1];
  b->n = FC_BATCHES_MAX / 2;
  b->size *= 2;
}

void fc_batches_add(fc_batches *b, double x) {
  if (b->size == 0) b->size = 1;
  b->current += x;
  if (++b->in_current < b->size) return;
  if (b->n == FC_BATCHES_MAX) {
    merge_neighbours(b); /* the batch under way is now half of one of the new size */
    return;
  }
  b->sum[b->n++] = b->current;
  b->current = 0;
  b->in_current = 0;
}

double fc_batches_mean(const fc_batches *b) {
  if (b->n == 0) return b->in_current ? b->current / (double)b->in_current : 0;
  double sum = 0;
  for (uint32_t i = 0; i < b->n; i++) sum += b->sum[i];
  return sum / ((double)b->n * (double)b->size);
}

double fc_batches_half_width(const fc_batches *b, double confidence) {
  FC_ASSERT(confidence > 0 && confidence < 1);
  if (b->n < 2) return HUGE_VAL;
  fc_tally t = {0};
  for (uint32_t i = 0; i < b->n; i++) fc_tally_add(&t, b->sum[i] / (double)b->size);
  return fc_student_quantile(0.5 + confidence / 2, b->n - 1) * sqrt(fc_tally_variance(&t) / (double)b->n);
}

/* Probability within [-t, t]: Abramowitz & Stegun 26.7.3 and 26.7.4, a finite sum for whole degrees of
 * freedom. */
static double student_within(double t, uint64_t freedom) {
  double theta = atan2(t, sqrt((double)freedom)), c2 = cos(theta) * cos(theta), term, sum = 0;
  bool odd = freedom % 2;
  term = odd ? cos(theta) : 1;
  for (uint64_t k = odd ? 3 : 2; k <= freedom; k += 2) {
    sum += term;
    term *= c2 * (double)(k - 1) / (double)k;
  }
  const double two_over_pi = 0.63661977236758134;
  return odd ? two_over_pi * (theta + sin(theta) * sum) : sin(theta) * sum;
}

double fc_student_quantile(double p, uint64_t freedom) {
  FC_ASSERT(p > 0 && p < 1 && freedom >= 1);
  if (p < 0.5) return -fc_student_quantile(1 - p, freedom);
  double z = fc_normal_quantile(p), v = (double)freedom;
  if (freedom > 10000) { /* Cornish-Fisher, A & S 26.7.5; the next term is of order v^-3 */
    double z2 = z * z;
    return z * (1 + ((z2 + 1) / 4 + ((5 * z2 + 16) * z2 + 3) / (96 * v)) / v);
  }
  double low = z, high = 2 * z + 1, within = 2 * p - 1; /* heavier tails than the normal's */
  while (student_within(high, freedom) < within) high *= 2;
  while (high - low > 1e-12 * high) {
    double middle = low + (high - low) / 2;
    if (student_within(middle, freedom) < within)
      low = middle;
    else
      high = middle;
  }
  return high;
}

/* --- histogram --- */

enum { SUB_BITS = 5 };
_Static_assert(1 << SUB_BITS == FC_HISTOGRAM_SUB, "buckets an octave");

/* Values of SUB_BITS bits or fewer have a bucket each; longer ones are cut to their highest SUB_BITS + 1
 * bits. */
static unsigned bucket_of(uint64_t x) {
  unsigned bits = 63u - (unsigned)__builtin_clzll(x | 1);
  unsigned shift = bits > SUB_BITS ? bits - SUB_BITS : 0;
  return shift * FC_HISTOGRAM_SUB + (unsigned)(x >> shift);
}

static double bucket_low(unsigned bucket) {
  unsigned shift = bucket < 2 * FC_HISTOGRAM_SUB ? 0 : bucket / FC_HISTOGRAM_SUB - 1;
  return ldexp((double)(bucket - shift * FC_HISTOGRAM_SUB), (int)shift);
}

void fc_histogram_add(fc_histogram *h, int64_t x) {
  FC_ASSERT(x >= 0);
  h->count[bucket_of((uint64_t)x)]++;
  h->n++;
}

void fc_histogram_merge(fc_histogram *h, const fc_histogram *o) {
  for (unsigned i = 0; i < FC_HISTOGRAM_MAX; i++) h->count[i] += o->count[i];
  h->n += o->n;
}

double fc_histogram_quantile(const fc_histogram *h, double p) {
  FC_ASSERT(p >= 0 && p <= 1);
  if (h->n == 0) return 0;
  double rank = p * (double)h->n, seen = 0;
  unsigned i = 0, last = 0;
  for (; i < FC_HISTOGRAM_MAX; i++) {
    if (h->count[i] == 0) continue;
    last = i;
    if (seen + (double)h->count[i] >= rank) break;
    seen += (double)h->count[i];
  }
  double low = bucket_low(last), width = bucket_low(last + 1) - low;
  if (last < 2 * FC_HISTOGRAM_SUB) return low; /* one whole number: nothing to interpolate */
  return low + width * fmin(1, fmax(0, (rank - seen) / (double)h->count[last]));
}
