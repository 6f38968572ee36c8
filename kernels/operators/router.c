/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/assert.h>
#include <fleetcast/kernels/operator.h>
#include <fleetcast/kernels/operators.h>

#include <math.h>
#include <stdlib.h>

/* The router and the sampler.  T tokens, E experts, k experts a token; decisions are exact or not made: where
 * binary32 arithmetic may decide otherwise than double, the reference names nothing. */

enum { EXPERTS_MAX = 1024, CHOICES_MAX = 32 };
#define SCALING 2.5 /* routed_scaling_factor of DeepSeek-V3's configuration */

/* --- rounding of a score --- */

/* s = sigmoid(x) = 1 / (1 + exp(-x)) in binary32.  exp errs by (2 + 1.173 |x|)
 * 2^-23 of itself (operator.h, FC_U_SPECIAL's source), of which s (1 - s) reaches
 * s; the sum rounds by 2^-24 of itself, a fast division by 2 ulp, 2^-22. */
static double sigmoid_error(double x, double s) {
  return s * (1 - s) * (2 + 1.173 * fabs(x)) * 0x1p-23 + s * (FC_U_F32 + 0x1p-22);
}

static double sigmoid(double x) {
  return 1 / (1 + exp(-x));
}

/* --- the choice --- */

typedef struct candidate {
  double choice, logit, bias;
  int32_t expert;
} candidate;

/* Best first; equal ones in order of index. */
static int by_choice(const void *a, const void *b) {
  const candidate *x = a, *y = b;
  if (x->choice > y->choice) return -1;
  if (x->choice < y->choice) return 1;
  return (x->expert > y->expert) - (x->expert < y->expert);
}

/* The same inputs give the same score in any arithmetic: a tie that the index decides. */
static bool is_tie(const candidate *a, const candidate *b) {
  return a->logit == b->logit && a->bias == b->bias;
}

/* May binary32 see these two, a before b, the other way round?  `error` bounds that of one score. */
static bool is_close(const candidate *a, const candidate *b, double error) {
  return !is_tie(a, b) && !(a->choice - b->choice > 2 * error);
}

typedef struct group {
  double score;
  candidate best[2];
  bool unclear; /* a close third: which pair is summed is not sure */
  int64_t index;
} group;

static int by_score(const void *a, const void *b) {
  const group *x = a, *y = b;
  if (x->score > y->score) return -1;
  if (x->score < y->score) return 1;
  return (x->index > y->index) - (x->index < y->index);
}

typedef struct router {
  candidate all[EXPERTS_MAX]; /* of the groups kept, best first */
  int64_t n;
  double error; /* of a score + bias in binary32, at most */
  bool unclear; /* the groups kept are not sure */
} router;

/* A cut between groups is clear when every group kept is ahead of every one dropped by more than the errors:
 * two scores' and the sum's rounding on each side. */
static bool is_clear_cut(const group *g, int64_t groups, int64_t kept, double error) {
  for (int64_t i = 0; i < kept; i++)
    for (int64_t j = kept; j < groups; j++) {
      bool tie = is_tie(&g[i].best[0], &g[j].best[0]) && is_tie(&g[i].best[1], &g[j].best[1]) &&
                 !g[i].unclear && !g[j].unclear;
      double rounding = (fabs(g[i].score) + fabs(g[j].score)) * FC_U_F32;
      if (!tie && !(g[i].score - g[j].score > 4 * error + rounding)) return false;
    }
  return true;
}

static void keep_groups(router *r, int64_t groups, int64_t kept) {
  FC_ASSERT(groups >= 1 && kept <= groups && groups <= r->n && r->n <= EXPERTS_MAX);
  int64_t size = r->n / groups;
  group g[EXPERTS_MAX] = {0};
  for (int64_t i = 0; i < groups; i++) {
    candidate *c = r->all + i * size;
    g[i] = (group){.index = i};
    qsort(c, (size_t)size, sizeof *c, by_choice);
    g[i].best[0] = c[0];
    if (size > 1) g[i].best[1] = c[1];
    g[i].score = c[0].choice + (size > 1 ? c[1].choice : 0);
    g[i].unclear = size > 2 && is_close(&c[1], &c[2], r->error);
  }
  qsort(g, (size_t)groups, sizeof *g, by_score);
  r->unclear = !is_clear_cut(g, groups, kept, r->error);
  bool keep[EXPERTS_MAX] = {false};
  for (int64_t i = 0; i < kept; i++) keep[g[i].index] = true;
  int64_t n = 0;
  for (int64_t i = 0; i < r->n; i++)
    if (keep[i / size]) r->all[n++] = r->all[i];
  r->n = n;
}

static void route(router *r, const fc_problem *p, int64_t token) {
  const fc_bench_case *c = &p->c;
  double bias_most = 0;
  *r = (router){.n = c->n};
  for (int64_t i = 0; i < c->n; i++) {
    candidate *x = &r->all[i];
    x->logit = fc_tensor_at(&p->tensor[FC_TOPK_LOGITS], (size_t)(token * c->n + i));
    x->bias = fc_tensor_at(&p->tensor[FC_TOPK_BIAS], (size_t)i);
    x->choice = sigmoid(x->logit) + x->bias;
    x->expert = (int32_t)i;
    bias_most = fmax(bias_most, fabs(x->bias));
  }
  /* sigmoid_error at its largest: s (1 - s) <= 1/4, |x| s (1 - s) <= 0.224, s <= 1; the sum with the bias */
  r->error = (2 * 0.25 + 1.173 * 0.224) * 0x1p-23 + FC_U_F32 + 0x1p-22 + (1 + bias_most) * FC_U_F32;
  if (c->route_groups > 1 && c->route_top > 0 && c->route_top < c->route_groups)
    keep_groups(r, c->route_groups, c->route_top);
  qsort(r->all, (size_t)r->n, sizeof r->all[0], by_choice);
}

/* --- topk --- */

static bool is_routable(const fc_bench_case *c) {
  int64_t groups = c->route_groups > 1 ? c->route_groups : 1;
  int64_t kept = c->route_top > 0 && c->route_top < groups ? c->route_top : groups;
  return c->n >= 1 && c->n <= EXPERTS_MAX && c->n % groups == 0 && c->top_k >= 1 && c->top_k <= CHOICES_MAX &&
         c->top_k <= c->n / groups * kept;
}

/* Exact data: logits and biases of -2 .. 2, hence 25 different candidates and many exact ties.  Weights are
 * quotients, never exact: that data checks the choice alone. */
static void topk_declare(fc_problem *p) {
  const fc_bench_case *c = &p->c;
  bool backward = c->op == FC_BENCH_TOPK_B;
  fc_role out = backward ? FC_ROLE_INPUT : FC_ROLE_OUTPUT;
  fc_role weights = p->exact ? FC_ROLE_PARTIAL : out;
  fc_fill table = backward ? FC_FILL_HOST : FC_FILL_NONE;
  fc_problem_tensor(p, "logits", FC_ELEM_F32, FC_ROLE_INPUT, FC_FILL_NORMAL, 1, c->m, c->n, 0, 0);
  fc_problem_tensor(p, "bias", FC_ELEM_F32, FC_ROLE_INPUT, FC_FILL_NORMAL, 0.05f, c->n, 0, 0, 0);
  fc_problem_tensor(p, "idx", FC_ELEM_I32, out, table, 0, c->m, c->top_k, 0, 0);
  fc_problem_tensor(p, "w", FC_ELEM_F32, weights, table, 0, c->m, c->top_k, 0, 0);
  if (!backward) return;
  fc_problem_tensor(p, "dw", FC_ELEM_F32, FC_ROLE_INPUT, FC_FILL_NORMAL, 1, c->m, c->top_k, 0, 0);
  fc_problem_tensor(p, "dlogits", FC_ELEM_F32, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, c->m, c->n, 0, 0);
}

static size_t rows_units(const fc_problem *p) {
  return (size_t)p->c.m;
}

static void rows_cost(const fc_problem *p, fc_op *out) {
  out->m = (double)p->c.m;
  out->n = (double)p->c.n;
}

static void topk_reference(const fc_problem *p, size_t token, fc_expect *e) {
  router r;
  if (!is_routable(&p->c)) return;
  route(&r, p, (int64_t)token);
  int64_t k = p->c.top_k;
  if (r.unclear) return;
  for (int64_t i = 0; i < k && i + 1 < r.n; i++)
    if (is_close(&r.all[i], &r.all[i + 1], r.error)) return;
  double sum = 0, relative = 0;
  for (int64_t i = 0; i < k; i++) {
    double s = sigmoid(r.all[i].logit);
    sum += s;
    relative = fmax(relative, sigmoid_error(r.all[i].logit, s) / s);
  }
  /* numerator, denominator and its k sums, a fast division, a product */
  relative = 2 * relative + ((double)k + 1) * FC_U_F32 + 0x1p-22;
  for (int64_t i = 0; i < k; i++) {
    double w = sigmoid(r.all[i].logit) / sum * SCALING;
    fc_expect_at(e, FC_TOPK_IDX, token * (size_t)k + (size_t)i, r.all[i].expert, 0);
    if (!p->exact) fc_expect_at(e, FC_TOPK_W, token * (size_t)k + (size_t)i, w, w * relative);
  }
}

/* --- topk_b --- */

static void topk_b_prepare(fc_problem *p) {
  if (!is_routable(&p->c)) return;
  size_t k = (size_t)p->c.top_k;
  for (size_t t = 0; t < (size_t)p->c.m; t++) {
    router r;
    double sum = 0;
    route(&r, p, (int64_t)t);
    for (size_t i = 0; i < k; i++) sum += sigmoid(r.all[i].logit);
    for (size_t i = 0; i < k; i++) {
      fc_tensor_set(&p->tensor[FC_TOPK_IDX], t * k + i, r.all[i].expert);
      fc_tensor_set(&p->tensor[FC_TOPK_W], t * k + i, sigmoid(r.all[i].logit) / sum * SCALING);
    }
  }
}

static void topk_b_reference(const fc_problem *p, size_t token, fc_expect *e) {
  size_t k = (size_t)p->c.top_k, n = (size_t)p->c.n;
  double s[CHOICES_MAX], err[CHOICES_MAX], sum = 0, sum_error = 0, mean = 0, mean_error = 0;
  size_t at[CHOICES_MAX];
  if (!is_routable(&p->c)) return;
  for (size_t i = 0; i < k; i++) {
    at[i] = token * n + (size_t)fc_tensor_int(&p->tensor[FC_TOPK_IDX], token * k + i);
    double x = fc_tensor_at(&p->tensor[FC_TOPK_LOGITS], at[i]);
    s[i] = sigmoid(x);
    err[i] = sigmoid_error(x, s[i]);
    sum += s[i];
    sum_error += err[i];
  }
  sum_error += (double)k * FC_U_F32 * sum;
  /* mean = sum_j dw_j s_j / S: each product carries s's error, S's, a division's and k + 1 roundings */
  for (size_t i = 0; i < k; i++) {
    double dw = fc_tensor_at(&p->tensor[FC_TOPK_DW], token * k + i);
    mean += dw * s[i] / sum;
    mean_error +=
        fabs(dw) * s[i] / sum * (err[i] / s[i] + sum_error / sum + 0x1p-22 + ((double)k + 1) * FC_U_F32);
  }
  for (size_t c = 0; c < n; c++) {
    double value = 0, bound = 0;
    for (size_t i = 0; i < k; i++) {
      if (at[i] != token * n + c) continue;
      double dw = fc_tensor_at(&p->tensor[FC_TOPK_DW], token * k + i), d = dw - mean;
      double d_error = mean_error + fabs(d) * FC_U_F32;
      double slope = s[i] * (1 - s[i]), slope_error = err[i] + slope * 2 * FC_U_F32; /* |1 - 2 s| <= 1 */
      slope_error += s[i] * (1 - s[i]) * FC_U_F32;
      value = SCALING / sum * d * slope;
      bound = SCALING / sum * (d_error * slope + fabs(d) * slope_error) +
              fabs(value) * (sum_error / sum + 0x1p-22 + 3 * FC_U_F32);
    }
    fc_expect_at(e, FC_TOPK_DLOGITS, token * n + c, value, bound);
  }
}

/* --- sample --- */

enum { KEPT = 50 };
#define TOP_P 0.95

static void sample_declare(fc_problem *p) {
  const fc_bench_case *c = &p->c;
  /* spread 3: between the tallest and the 50th logit of a vocabulary
   * lies about 1, the distribution is broad and top-p cuts inside it */
  fc_problem_tensor(p, "logits", FC_ELEM_F32, FC_ROLE_INPUT, FC_FILL_NORMAL, 3, c->m, c->n, 0, 0);
  fc_problem_tensor(p, "u", FC_ELEM_F32, FC_ROLE_INPUT, FC_FILL_UNIFORM, 1, c->m, 0, 0, 0);
  fc_problem_tensor(p, "id", FC_ELEM_I32, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, c->m, 0, 0, 0);
  fc_problem_tensor(p, "work", FC_ELEM_I32, FC_ROLE_WORK, FC_FILL_NONE, 0, c->m, 2048, 0, 0);
}

/* The largest logits of a row, equal ones by index. @return how many */
static int largest(const fc_problem *p, size_t row, double *logit, int32_t *id) {
  size_t n = (size_t)p->c.n;
  int kept = 0;
  for (size_t i = 0; i < n; i++) {
    double x = fc_tensor_at(&p->tensor[FC_SAMPLE_LOGITS], row * n + i);
    if (kept == KEPT && !(x > logit[KEPT - 1])) continue;
    int at = kept < KEPT ? kept++ : KEPT - 1;
    for (; at > 0 && x > logit[at - 1]; at--) {
      logit[at] = logit[at - 1];
      id[at] = id[at - 1];
    }
    logit[at] = x;
    id[at] = (int32_t)i;
  }
  return kept;
}

static void sample_reference(const fc_problem *p, size_t row, fc_expect *e) {
  double logit[KEPT], upto[KEPT] = {0}, total = 0, u = fc_tensor_at(&p->tensor[FC_SAMPLE_U], row);
  int32_t id[KEPT];
  int n = largest(p, row, logit, id), cut = 0, pick = 0;
  FC_ASSERT(n >= 1);
  for (int i = 0; i < n; i++) upto[i] = total += exp(logit[i] - logit[0]);
  /* a mass in binary32: exp errs by (2 + 1.173 d) 2^-23, its argument d by 2^-24 d, each of at most n sums by
   * 2^-24; a quotient or a product of two of them by twice that and one more rounding */
  double d = logit[0] - logit[n - 1];
  double error = 2 * ((2 + 1.173 * d) * 0x1p-23 + (d + n) * FC_U_F32) + 0x1p-22;
  while (cut < n - 1 && upto[cut] < TOP_P * total) cut++;
  while (pick < cut && !(upto[pick] > u * upto[cut])) pick++;
  for (int i = 0; i < n; i++) {
    if (fabs(upto[i] - TOP_P * total) <= error * total) return;
    if (i < cut && fabs(upto[i] - u * upto[cut]) <= error * upto[cut]) return;
  }
  fc_expect_at(e, FC_SAMPLE_ID, row, id[pick], 0);
}

const fc_operator fc_router_operators[] = {
    {FC_BENCH_TOPK, true, topk_declare, NULL, rows_units, topk_reference, rows_cost},
    {FC_BENCH_TOPK_B, false, topk_declare, topk_b_prepare, rows_units, topk_b_reference, rows_cost},
    {FC_BENCH_SAMPLE, true, sample_declare, NULL, rows_units, sample_reference, rows_cost},
};
const size_t fc_router_operators_n = sizeof fc_router_operators / sizeof *fc_router_operators;
