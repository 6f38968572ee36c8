/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/kernels/implementation.h>
#include <fleetcast/kernels/operators.h>

#include <math.h>
#include <stdio.h>

/* Router and sampler on CPU cores. T tokens (m), E experts (n), k experts a token; semantics: operators.h. */

enum { EXPERTS_MAX = 1024, CHOICES_MAX = 32 };
#define SCALING 2.5f

static bool topk_supports(const fc_problem *p, const fc_machine *machine, char *why) {
  const fc_bench_case *c = &p->c;
  (void)machine;
  int64_t groups = c->route_groups > 1 ? c->route_groups : 1;
  int64_t kept = c->route_top > 0 && c->route_top < groups ? c->route_top : groups;
  if (c->n <= EXPERTS_MAX && c->top_k <= CHOICES_MAX && c->n % groups == 0 &&
      c->top_k <= c->n / groups * kept)
    return true;
  (void)snprintf(why, FC_WHY, "at most %d experts in equal groups, %d of them a token", EXPERTS_MAX,
                 CHOICES_MAX);
  return false;
}

static float sigmoid(float x) {
  return 1.0f / (1.0f + expf(-x));
}

/* Keeps a list of the best, best first; a later equal one goes behind. */
static int insert(float *best, int32_t *at, int n, int room, float value, int32_t index) {
  if (n == room && !(value > best[n - 1])) return n;
  int i = n < room ? n++ : n - 1;
  for (; i > 0 && value > best[i - 1]; i--) {
    best[i] = best[i - 1];
    at[i] = at[i - 1];
  }
  best[i] = value;
  at[i] = index;
  return n;
}

/* Marks the groups whose two best choices sum highest. */
static void keep_groups(const float *choice, int64_t experts, int64_t groups, int64_t kept, bool *keep) {
  float score[EXPERTS_MAX];
  int32_t at[EXPERTS_MAX];
  int64_t size = experts / groups;
  int n = 0;
  for (int64_t g = 0; g < groups; g++) {
    float one = -INFINITY, two = size > 1 ? -INFINITY : 0;
    for (int64_t i = g * size; i < (g + 1) * size; i++) {
      /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): groups * size <= experts are set */
      float low = fminf(one, choice[i]);
      one = fmaxf(one, choice[i]);
      if (size > 1) two = fmaxf(two, low);
    }
    keep[g] = false;
    n = insert(score, at, n, (int)kept, one + two, (int32_t)g);
  }
  for (int i = 0; i < n; i++) keep[at[i]] = true;
}

static void route(const fc_bench_case *c, const float *logit, const float *bias, int32_t *idx, float *w) {
  float choice[EXPERTS_MAX], s[EXPERTS_MAX], best[CHOICES_MAX], sum = 0;
  bool keep[EXPERTS_MAX] = {true};
  int64_t groups =
      c->route_groups > 1 && c->route_top > 0 && c->route_top < c->route_groups ? c->route_groups : 1;
  if (c->n < 1 || c->top_k < 1) return;
  for (int64_t i = 0; i < c->n; i++) {
    s[i] = sigmoid(logit[i]);
    choice[i] = s[i] + bias[i];
  }
  if (groups > 1) keep_groups(choice, c->n, groups, c->route_top, keep);
  int n = 0;
  int64_t size = c->n / groups;
  for (int64_t g = 0; g < groups; g++)
    for (int64_t i = g * size; keep[g] && i < (g + 1) * size; i++)
      /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): groups * size <= n are set */
      n = insert(best, idx, n, (int)c->top_k, choice[i], (int32_t)i);
  for (int i = 0; i < n; i++) sum += s[idx[i]];
  for (int i = 0; i < n; i++) w[i] = s[idx[i]] / sum * SCALING;
}

static int topk(const fc_problem *p, const fc_args *a, void *state, fc_queue queue) {
  const fc_bench_case *c = &p->c;
  const float *logits = a->at[FC_TOPK_LOGITS], *bias = a->at[FC_TOPK_BIAS];
  int32_t *idx = a->at[FC_TOPK_IDX];
  float *w = a->at[FC_TOPK_W];
  (void)state, (void)queue;
#pragma omp parallel for schedule(static)
  for (int64_t t = 0; t < c->m; t++) route(c, logits + t * c->n, bias, idx + t * c->top_k, w + t * c->top_k);
  return 0;
}

static void route_b(const fc_bench_case *c, const float *logit, const int32_t *idx, const float *dw,
                    float *out) {
  float s[CHOICES_MAX], sum = 0, mean = 0;
  for (int64_t i = 0; i < c->top_k; i++) {
    s[i] = sigmoid(logit[idx[i]]);
    sum += s[i];
  }
  for (int64_t i = 0; i < c->top_k; i++) mean += dw[i] * (s[i] / sum);
  for (int64_t i = 0; i < c->n; i++) out[i] = 0;
  for (int64_t i = 0; i < c->top_k; i++) out[idx[i]] = SCALING / sum * (dw[i] - mean) * (s[i] * (1 - s[i]));
}

static int topk_b(const fc_problem *p, const fc_args *a, void *state, fc_queue queue) {
  const fc_bench_case *c = &p->c;
  const float *logits = a->at[FC_TOPK_LOGITS], *dw = a->at[FC_TOPK_DW];
  const int32_t *idx = a->at[FC_TOPK_IDX];
  float *dlogits = a->at[FC_TOPK_DLOGITS];
  (void)state, (void)queue;
#pragma omp parallel for schedule(static)
  for (int64_t t = 0; t < c->m; t++)
    route_b(c, logits + t * c->n, idx + t * c->top_k, dw + t * c->top_k, dlogits + t * c->n);
  return 0;
}

/* --- sample --- */

enum { KEPT = 50, RUN = 64 };
#define TOP_P 0.95f

/* The largest of a row.  Most runs hold nothing above the
 * worst kept: their maximum, a vector reduction, says so. */
static int largest(const float *logit, int64_t n, float *best, int32_t *at) {
  int kept = 0;
  for (int64_t from = 0; from < n; from += RUN) {
    int64_t to = from + RUN < n ? from + RUN : n;
    float most[8] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY};
    for (int64_t i = from; kept == KEPT && i + 8 <= to; i += 8)
      for (int j = 0; j < 8; j++) most[j] = logit[i + j] > most[j] ? logit[i + j] : most[j];
    float top = most[0];
    for (int j = 1; j < 8; j++) top = most[j] > top ? most[j] : top;
    if (kept == KEPT && to - from == RUN && !(top > best[KEPT - 1])) continue;
    for (int64_t i = from; i < to; i++) kept = insert(best, at, kept, KEPT, logit[i], (int32_t)i);
  }
  return kept;
}

static int32_t pick(const float *logit, int64_t n, float u) {
  float best[KEPT], upto[KEPT] = {0}, total = 0;
  int32_t at[KEPT];
  int kept = largest(logit, n, best, at), cut = 0, i = 0;
  if (kept == 0) return -1;
  for (int j = 0; j < kept; j++) upto[j] = total += expf(best[j] - best[0]);
  while (cut < kept - 1 && upto[cut] < TOP_P * total) cut++;
  while (i < cut && !(upto[i] > u * upto[cut])) i++;
  return at[i];
}

static int sample(const fc_problem *p, const fc_args *a, void *state, fc_queue queue) {
  const float *logits = a->at[FC_SAMPLE_LOGITS], *u = a->at[FC_SAMPLE_U];
  int32_t *id = a->at[FC_SAMPLE_ID];
  (void)state, (void)queue;
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t r = 0; r < p->c.m; r++) id[r] = pick(logits + r * p->c.n, p->c.n, u[r]);
  return 0;
}

static const fc_implementation items[] = {
    {FC_BENCH_TOPK, "openmp", topk_supports, NULL, topk, NULL},
    {FC_BENCH_TOPK_B, "openmp", topk_supports, NULL, topk_b, NULL},
    {FC_BENCH_SAMPLE, "openmp", NULL, NULL, sample, NULL},
};
extern const fc_implementations fc_cpu_router;
const fc_implementations fc_cpu_router = {sizeof items / sizeof *items, items};
