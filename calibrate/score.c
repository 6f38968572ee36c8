/* SPDX-License-Identifier: Apache-2.0 */
#include "score.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/arena.h>

/* --- tallies --- */

static bool reserve(fc_tally *t, size_t more) {
  if (more <= t->room - t->n) return true;
  size_t room = 2 * (t->n + more) + 64;
  if (room > SIZE_MAX / sizeof *t->error) return false;
  float *grown = realloc(t->error, room * sizeof *grown);
  if (!grown) return false;
  t->error = grown;
  t->room = room;
  return true;
}

bool fc_score_tally_add(fc_tally *tally, float error) {
  if (!reserve(tally, 1)) return false;
  tally->error[tally->n++] = error;
  return true;
}

bool fc_score_tally_move(fc_tally *to, fc_tally *from) {
  if (from->n > 0) {
    if (!reserve(to, from->n)) return false;
    memcpy(to->error + to->n, from->error, from->n * sizeof *from->error);
  }
  to->n += from->n;
  to->points += from->points;
  to->outside += from->outside;
  to->clamped += from->clamped;
  to->within += from->within;
  *from = (fc_tally){.error = from->error, .room = from->room};
  return true;
}

void fc_score_tally_fini(fc_tally *tally) {
  free(tally->error);
  *tally = (fc_tally){0};
}

/* --- order statistics --- */

static void swap(float *a, float *b) {
  float t = *a;
  *a = *b;
  *b = t;
}

static void insertion_sort(float *v, size_t n) {
  for (size_t i = 1; i < n; i++) {
    float x = v[i];
    size_t j = i;
    for (; j > 0 && v[j - 1] > x; j--) v[j] = v[j - 1];
    v[j] = x;
  }
}

/* Hoare's: afterwards v[k] is what sorting would put there, nothing before it is larger, nothing behind it
 * smaller. */
static void select_kth(float *v, size_t n, size_t k) {
  enum { SMALL = 12 };
  while (n > SMALL) {
    size_t middle = n / 2;
    if (v[middle] < v[0]) swap(&v[middle], &v[0]);
    if (v[n - 1] < v[0]) swap(&v[n - 1], &v[0]);
    if (v[n - 1] < v[middle]) swap(&v[n - 1], &v[middle]);
    float pivot = v[middle];
    size_t i = 0, j = n - 1;
    for (;;) {
      while (v[i] < pivot) i++;
      while (v[j] > pivot) j--;
      if (i >= j) break;
      swap(&v[i++], &v[j--]);
    }
    size_t left = i == j ? i : j + 1; /* v[0..left) <= pivot <= v[left..n) */
    if (k < left) {
      n = left;
    } else {
      v += left;
      n -= left;
      k -= left;
    }
  }
  insertion_sort(v, n);
}

double fc_score_quantile(float *value, size_t n, double p) {
  double at = p * (double)(n - 1);
  size_t k = (size_t)at;
  select_kth(value, n, k);
  double low = (double)value[k], share = at - (double)k;
  if (!(share > 0)) return low;
  float next = value[k + 1];
  for (size_t i = k + 2; i < n; i++)
    if (value[i] < next) next = value[i];
  return low + share * ((double)next - low);
}

/* --- scores --- */

/* Reorders the errors. */
static void score(fc_score *out, fc_tally *t) {
  const double none = (double)NAN;
  out->points = t->points;
  out->outside = t->outside;
  out->clamped = t->clamped;
  out->median = out->mean = out->p90 = out->bias = out->coverage = none;
  if (t->n == 0) return;
  double sum = 0;
  for (size_t i = 0; i < t->n; i++) sum += fabs((double)t->error[i]);
  out->mean = sum / (double)t->n;
  out->coverage = (double)t->within / (double)t->n;
  out->bias = fc_score_quantile(t->error, t->n, 0.5);
  for (size_t i = 0; i < t->n; i++) t->error[i] = fabsf(t->error[i]);
  out->median = fc_score_quantile(t->error, t->n, 0.5);
  out->p90 = fc_score_quantile(t->error, t->n, 0.9);
}

static int by_address(const fc_format *a, const fc_format *b) { /* rows of one table */
  return !a || !b ? (a != NULL) - (b != NULL) : (a > b) - (a < b);
}

static int compare(const void *left, const void *right) {
  const fc_scored *a = left, *b = right;
  bool empty = a->tally.points == 0, other_empty = b->tally.points == 0;
  if (empty != other_empty) return empty ? 1 : -1; /* those that no fit answered for: last, and not scored */
  if (a->row != b->row) return a->row < b->row ? -1 : 1;
  int order = by_address(a->format, b->format);
  if (!order) order = by_address(a->kv_format, b->kv_format);
  for (int i = 0; i < FC_KEY_TEXTS && !order; i++) order = strcmp(a->text[i], b->text[i]);
  return order;
}

static bool name(fc_score *out, fc_arena *texts, const fc_scored *family, bool kernel_only) {
  const char **to[FC_KEY_TEXTS] = {&out->kernel, &out->impl, &out->dtype, &out->kv_dtype};
  bool ok = true;
  for (int i = 0; i < FC_KEY_TEXTS; i++) {
    const char *text = kernel_only && i > 0 ? "" : family->text[i];
    *to[i] = fc_arena_text(texts, text, strlen(text));
    ok = ok && *to[i];
  }
  return ok;
}

/* The families of one kernel together, then each alone: each reorders its errors. */
static bool score_kernel(fc_scores *out, fc_arena *texts, fc_scored *family, size_t n) {
  fc_tally all = {0};
  bool ok = true;
  for (size_t i = 0; i < n && ok; i++) {
    fc_tally copy = family[i].tally; /* moving leaves the room to `copy`, which is the family's */
    ok = fc_score_tally_move(&all, &copy);
  }
  if (ok && all.points > 0) {
    ok = name(&out->kernel[out->n_kernels], texts, family, true);
    score(&out->kernel[out->n_kernels++], &all);
    for (size_t i = 0; i < n && ok; i++) {
      if (family[i].tally.points == 0) continue;
      ok = name(&out->score[out->n], texts, &family[i], false);
      score(&out->score[out->n++], &family[i].tally);
    }
  }
  fc_score_tally_fini(&all);
  return ok;
}

fc_status fc_scores_fill(fc_scores *out, fc_scored *family, size_t n) {
  fc_arena *texts = calloc(1, sizeof *texts);
  out->texts = texts;
  out->score = calloc(n + 1, sizeof *out->score);
  out->kernel = calloc(n + 1, sizeof *out->kernel);
  if (!texts || !out->score || !out->kernel) return FC_E_NOMEM;
  if (n > 1) qsort(family, n, sizeof *family, compare);
  while (n > 0 && family[n - 1].tally.points == 0) n--;
  bool ok = true;
  for (size_t i = 0, j; i < n && ok; i = j) {
    for (j = i + 1; j < n && family[j].row == family[i].row;) j++;
    ok = score_kernel(out, texts, family + i, j - i);
  }
  return ok ? FC_OK : FC_E_NOMEM;
}

void fc_scores_fini(fc_scores *scores) {
  if (scores->texts) fc_arena_fini(scores->texts);
  free(scores->texts);
  free(scores->score);
  free(scores->kernel);
  *scores = (fc_scores){0};
}

/* --- numbers as text --- */

/* The decimal digits of value over 10^exponent, six of them; the exponent of the first. */
static uint32_t six_digits(double value, int *exponent) {
  static const double up[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11};
  static const double steps[] = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1e0, 1e1,  1e2,
                                 1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9, 1e10, 1e11};
  int e = -6;
  while (e < 11 && value >= steps[e + 7]) e++;
  double scaled = e <= 5 ? value * up[5 - e] : value / up[e - 5];
  uint32_t digits = (uint32_t)(scaled + 0.5);
  if (digits >= 1000000) { /* rounded up to the next power of ten */
    digits = 100000;
    e++;
  }
  *exponent = e;
  return digits;
}

size_t fc_short_number(char *out, double value) {
  if (!(value >= 1e-6 && value < 1e11)) {
    int n = snprintf(out, FC_SHORT_NUMBER, "%.6g", value);
    return n > 0 ? (size_t)n : 0;
  }
  int e;
  uint32_t digits = six_digits(value, &e);
  char text[6];
  for (int i = 5; i >= 0; i--, digits /= 10) text[i] = (char)('0' + digits % 10);
  int shown = 6;
  while (shown > 1 && text[shown - 1] == '0') shown--;
  size_t n = 0;
  if (e < 0) {
    out[n++] = '0';
    out[n++] = '.';
    for (int i = -1; i > e; i--) out[n++] = '0';
    for (int i = 0; i < shown; i++) out[n++] = text[i];
    return n;
  }
  for (int i = 0; i <= e; i++) out[n++] = i < 6 ? text[i] : '0';
  if (shown > e + 1) {
    out[n++] = '.';
    for (int i = e + 1; i < shown; i++) out[n++] = text[i];
  }
  return n;
}
