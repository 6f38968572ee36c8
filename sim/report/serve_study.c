/* SPDX-License-Identifier: Apache-2.0 */
#include "serve_study.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/assert.h>

static const int digest_of[FC_LATENCIES] = {
    [FC_LATENCY_TTFT] = 0, [FC_LATENCY_TPOT] = 1, [FC_LATENCY_E2E] = 2};

static fc_digest *digest(const fc_study *s, fc_latency latency, size_t batch) {
  if (latency == FC_LATENCY_ITL) return s->gaps + batch;
  return s->by_number + (size_t)digest_of[latency] * FC_BATCHES + batch;
}

fc_status fc_study_new(fc_study **out, const fc_study_def *def) {
  *out = NULL;
  FC_ASSERT(def->n_classes <= FC_CLASSES_MAX && def->warm_up >= 0 && def->warm_up <= 0.9);
  fc_study *s = calloc(1, sizeof *s);
  if (!s) return FC_E_NOMEM;
  s->def = *def;
  s->size = FC_BATCH_FIRST;
  s->look = FC_BATCHES_LOOK / 2;
  s->by_number = calloc((size_t)BY_NUMBER * FC_BATCHES, sizeof *s->by_number);
  s->gaps = calloc(FC_BATCHES, sizeof *s->gaps);
  s->before = calloc(1, sizeof *s->before);
  s->all = calloc(1, sizeof *s->all);
  if (!s->by_number || !s->gaps || !s->before || !s->all) {
    fc_study_free(s);
    return FC_E_NOMEM;
  }
  *out = s;
  return FC_OK;
}

void fc_study_free(fc_study *s) {
  if (!s) return;
  free(s->by_number);
  free(s->gaps);
  free(s->before);
  free(s->all);
  free(s);
}

/* --- merging neighbours --- */

static void merge_digests(fc_digest *d) {
  for (size_t i = 0; i < FC_BATCHES / 2; i++) {
    if (i) d[i] = d[2 * i];
    fc_digest_merge(&d[i], &d[2 * i + 1]);
  }
  memset(d + FC_BATCHES / 2, 0, FC_BATCHES / 2 * sizeof *d);
}

static void merge_ends(fc_study *s) {
  for (size_t i = 0; i < FC_BATCHES / 2; i++) {
    end_batch *to = &s->end[i];
    const end_batch b = s->end[2 * i + 1];
    *to = s->end[2 * i];
    if (b.end > to->end) to->end = b.end;
    to->over += b.over;
    to->done += b.done;
    to->input_tokens += b.input_tokens;
    to->output_tokens += b.output_tokens;
    to->good += b.good;
    for (size_t c = 0; c < FC_CLASSES_MAX; c++) {
      to->class_over[c] += b.class_over[c];
      to->class_good[c] += b.class_good[c];
    }
    s->number_over[i] = s->number_over[2 * i] + s->number_over[2 * i + 1];
  }
  memset(s->end + FC_BATCHES / 2, 0, FC_BATCHES / 2 * sizeof *s->end);
  memset(s->number_over + FC_BATCHES / 2, 0, FC_BATCHES / 2 * sizeof *s->number_over);
}

/* How many of the requests that the next look wants are over. */
static void count_below(fc_study *s) {
  s->below = 0;
  for (size_t i = 0; i < s->look; i++) s->below += s->number_over[i];
}

static void collapse(fc_study *s) {
  for (size_t k = 0; k < BY_NUMBER; k++) merge_digests(s->by_number + k * FC_BATCHES);
  merge_digests(s->gaps);
  merge_ends(s);
  s->size *= 2;
  s->look = (s->look + 1) / 2;
  count_below(s);
}

/* --- adding --- */

static bool keeps(const fc_serve_class *c, double ttft, double tpot, double e2e) {
  return (!(c->ttft_s > 0) || ttft <= 1e9 * c->ttft_s) && (!(c->tpot_s > 0) || tpot <= 1e9 * c->tpot_s) &&
         (!(c->e2e_s > 0) || e2e <= 1e9 * c->e2e_s);
}

/* What came since the last full batch. */
static void cut_gaps(fc_study *s, size_t batch, const fc_digest *gaps) {
  fc_digest *to = &s->gaps[batch], *old = s->before;
  if (gaps->n == old->n) return;
  to->min = gaps->min; /* of all so far: bounds, not the batch's own */
  to->max = gaps->max;
  to->n += gaps->n - old->n;
  to->sum += gaps->sum - old->sum;
  to->sum_squares += gaps->sum_squares - old->sum_squares;
  for (size_t i = 0; i < FC_DIGEST_BUCKETS; i++) to->count[i] += gaps->count[i] - old->count[i];
  *old = *gaps;
  s->gaps_known = true;
}

static void add_end(fc_study *s, const fc_replica_record *q, bool done, double ttft, double tpot,
                    double e2e) {
  end_batch *b = &s->end[s->over / s->size];
  size_t class = q->slo_class < s->def.n_classes ? q->slo_class : 0;
  bool good = done && (!s->def.n_classes || keeps(&s->def.classes[class], ttft, tpot, e2e));
  if (q->finish > b->end) b->end = q->finish;
  b->over++;
  b->good += good;
  b->class_over[class]++;
  b->class_good[class] += good;
  if (!done) return;
  b->done++;
  b->input_tokens += q->input_tokens;
  b->output_tokens += q->output_tokens;
}

bool fc_study_wants_gaps(const fc_study *s) {
  return (s->over + 1) % s->size == 0; /* merged batches end where one of the smaller ones does */
}

bool fc_study_add(fc_study *s, const fc_cluster_record *record, const fc_digest *gaps) {
  const fc_replica_record *q = &record->request;
  bool done = record->outcome == FC_OUTCOME_DONE;
  while (q->number / s->size >= FC_BATCHES || s->over / s->size >= FC_BATCHES) collapse(s);
  size_t batch = (size_t)(q->number / s->size);
  double ttft = (double)(q->first_token - q->arrival), e2e = (double)(q->finish - q->arrival), tpot = 0;
  if (!s->begun || q->arrival < s->start) s->start = q->arrival;
  s->begun = true;
  if (q->output_tokens > 1) tpot = (e2e - ttft) / (double)(q->output_tokens - 1);
  if (done) {
    fc_digest_add(digest(s, FC_LATENCY_TTFT, batch), ttft, 1);
    fc_digest_add(digest(s, FC_LATENCY_E2E, batch), e2e, 1);
    if (q->output_tokens > 1) fc_digest_add(digest(s, FC_LATENCY_TPOT, batch), tpot, 1);
  }
  add_end(s, q, done, ttft, tpot, e2e);
  s->number_over[batch]++;
  s->over++;
  if (gaps && s->over % s->size == 0) cut_gaps(s, (size_t)(s->over / s->size) - 1, gaps);
  if (batch >= s->look || ++s->below < s->look * s->size) return false;
  s->looked = s->look;
  return true;
}

void fc_study_go_on(fc_study *s) {
  s->looked = 0;
  s->look = 2 * ((3 * s->look + 3) / 4);
  if (s->look > FC_BATCHES_LOOK)
    collapse(s);
  else
    count_below(s);
}

void fc_study_end(fc_study *s, const fc_digest *gaps) {
  s->looked = (size_t)(s->over / s->size);
  s->rest = s->over % s->size != 0;
  if (gaps && s->gaps_known && s->rest)
    cut_gaps(s, s->looked, gaps);
  else if (gaps && !s->gaps_known)
    fc_study_gaps(s, gaps);
}

void fc_study_gaps(fc_study *s, const fc_digest *gaps) {
  s->gaps_whole = true;
  s->gaps[0] = *gaps;
}

/* --- what is looked at --- */

size_t fc_study_first(const fc_study *s) {
  size_t first = (size_t)ceil(s->def.warm_up * (double)s->looked - 1e-9);
  return first < s->looked ? first : 0;
}

fc_study_state fc_study_now(const fc_study *s) {
  size_t first = fc_study_first(s), last = s->looked;
  uint64_t whole = s->rest ? s->over : last * s->size;
  return (fc_study_state){.over = s->over,
                          .left_out = first * s->size,
                          .looked_at = whole - first * s->size,
                          .next_look = s->look * s->size,
                          .batches = last - first,
                          .batch_requests = s->size};
}

static const fc_digest *pooled(const fc_study *s, fc_latency latency) {
  memset(s->all, 0, sizeof *s->all);
  size_t last = s->looked + s->rest, first = fc_study_first(s);
  if (latency == FC_LATENCY_ITL && s->gaps_whole) return &s->gaps[0];
  for (size_t i = first; i < last; i++) fc_digest_merge(s->all, digest(s, latency, i));
  return s->all;
}

/* Without a distribution: samples of a request are all but independent of most others, gaps are not. */
static void order_statistic(fc_interval *v, const fc_digest *d, double p) {
  const double z = 1.959963984540054;
  double e = z * sqrt(p * (1 - p) / (double)d->n);
  v->closed = p + e < 1;
  v->low = fmin(v->low, fc_digest_quantile(d, fmax(0, p - e)));
  v->high = fmax(v->high, fc_digest_quantile(d, fmin(1, p + e)));
}

static fc_interval from_batches(double value, const double *batch, size_t n) {
  double mean, half = fc_batch_half_width(batch, n, &mean);
  fc_interval v = {.value = value, .low = value, .high = value, .known = isfinite(half), .closed = true};
  if (!v.known) return v;
  half = hypot(half, mean - value); /* quantiles of small batches are biased */
  v.low = fmax(0, value - half);
  v.high = value + half;
  return v;
}

static fc_interval interval(const fc_study *s, fc_latency latency, double p) {
  double batch[FC_BATCHES];
  size_t n = 0;
  const fc_digest *d = pooled(s, latency);
  if (!d->n) return (fc_interval){.value = -1, .low = -1, .high = -1};
  double value = p > 0 ? fc_digest_quantile(d, p) : fc_digest_mean(d);
  for (size_t i = fc_study_first(s); i < s->looked; i++) {
    const fc_digest *one = digest(s, latency, i);
    if (one->n) batch[n++] = p > 0 ? fc_digest_quantile(one, p) : fc_digest_mean(one);
  }
  if (latency == FC_LATENCY_ITL && s->gaps_whole) n = 0;
  fc_interval v = from_batches(value, batch, n);
  if (v.known && p > 0 && latency != FC_LATENCY_ITL) order_statistic(&v, d, p);
  return v;
}

fc_interval fc_study_quantile(const fc_study *s, fc_latency latency, double p) {
  FC_ASSERT(p > 0 && p < 1);
  return interval(s, latency, p);
}

fc_interval fc_study_mean(const fc_study *s, fc_latency latency) {
  return interval(s, latency, 0);
}

bool fc_study_is_enough(const fc_study *s) {
  static const double p[] = {0.5, 0.9, 0.99};
  if (!(s->def.width > 0)) return false;
  for (int latency = 0; latency < FC_LATENCIES; latency++) {
    if (pooled(s, (fc_latency)latency)->n == 0 && s->looked) continue; /* nothing generates a second token */
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) {
      fc_interval v = interval(s, (fc_latency)latency, p[i]);
      double half = fmax(v.high - v.value, v.value - v.low);
      if (!v.known || !v.closed || !(half <= s->def.width * v.value)) return false;
    }
  }
  return true;
}

/* --- rates --- */

static double amount(const end_batch *b, fc_rate rate) {
  switch (rate) {
  case FC_RATE_REQUESTS: return (double)b->done;
  case FC_RATE_INPUT_TOKENS: return (double)b->input_tokens;
  case FC_RATE_OUTPUT_TOKENS: return (double)b->output_tokens;
  default: return (double)b->good;
  }
}

/* Sum of `a` over sum of `b`, with the spread of a - ratio b from batch to batch; n full ones, perhaps a rest
 */
static fc_interval ratio(const double *a, const double *b, size_t n, bool rest) {
  double sum_a = 0, sum_b = 0, left[FC_BATCHES];
  for (size_t i = 0; i < n + rest; i++) {
    sum_a += a[i];
    sum_b += b[i];
  }
  if (!(sum_b > 0)) return (fc_interval){.value = -1, .low = -1, .high = -1};
  double r = sum_a / sum_b, mean_b = sum_b / (double)(n + rest), mean;
  for (size_t i = 0; i < n; i++) left[i] = (a[i] - r * b[i]) / mean_b;
  double half = fc_batch_half_width(left, n, &mean);
  fc_interval v = {.value = r, .low = r, .high = r, .known = isfinite(half), .closed = true};
  if (v.known) {
    v.low = fmax(0, r - half);
    v.high = r + half;
  }
  return v;
}

fc_interval fc_study_rate(const fc_study *s, fc_rate rate) {
  double a[FC_BATCHES] = {0}, b[FC_BATCHES] = {0};
  size_t first = fc_study_first(s), n = s->looked - first;
  fc_time before = first ? s->end[first - 1].end : s->start;
  for (size_t i = 0; i < n + s->rest; i++) {
    const end_batch *e = &s->end[first + i];
    a[i] = amount(e, rate);
    b[i] = rate == FC_RATE_GOOD_SHARE ? (double)e->over : fc_time_to_s(e->end - before);
    if (e->end > before) before = e->end;
  }
  fc_interval v = ratio(a, b, n, s->rest);
  if (rate == FC_RATE_GOOD_SHARE) v.high = fmin(1, v.high);
  return v;
}

fc_interval fc_study_class_good(const fc_study *s, size_t class) {
  double a[FC_BATCHES] = {0}, b[FC_BATCHES] = {0};
  size_t first = fc_study_first(s), n = s->looked - first;
  for (size_t i = 0; i < n + s->rest; i++) {
    a[i] = s->end[first + i].class_good[class];
    b[i] = s->end[first + i].class_over[class];
  }
  fc_interval v = ratio(a, b, n, s->rest);
  v.high = fmin(1, v.high);
  return v;
}
