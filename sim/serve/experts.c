/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/serve/experts.h>

#include <math.h>
#include <stdlib.h>

#include <fleetcast/base/rng.h>
#include <fleetcast/cost/busiest.h>

/* Sizes: two an octave.  Layers placed apart, and draws of each: the mean is then known to a few per cent. */
enum { SIZES_MAX = 64, LAYERS = 8, DRAWS = 12, EXPERTS_MAX = 4096 };

struct fc_expert_load {
  fc_expert_def def;
  int n;
  double tokens[SIZES_MAX], mean[SIZES_MAX], cv[SIZES_MAX];
};

/* One layer under construction; a slot holds a copy of an expert. */
typedef struct {
  int64_t slots;
  double *share, *load; /* [experts] */
  int *copies;          /* [experts] */
  int *of, *rank;       /* [slots] */
  int *order, *used;    /* [slots], [ranks] */
  double *sum;          /* [ranks] */
} layer;

static void layer_fini(layer *l) {
  free(l->share);
  free(l->load);
  free(l->copies);
  free(l->of);
  free(l->rank);
  free(l->order);
  free(l->used);
  free(l->sum);
}

static fc_status layer_init(layer *l, const fc_expert_def *d) {
  *l = (layer){.slots = d->experts + (d->eplb ? d->redundant : 0)};
  size_t e = (size_t)d->experts, s = (size_t)l->slots, r = (size_t)d->ranks;
  l->share = calloc(e, sizeof *l->share);
  l->load = calloc(e, sizeof *l->load);
  l->copies = calloc(e, sizeof *l->copies);
  l->of = calloc(s, sizeof *l->of);
  l->rank = calloc(s, sizeof *l->rank);
  l->order = calloc(s, sizeof *l->order);
  l->used = calloc(r, sizeof *l->used);
  l->sum = calloc(r, sizeof *l->sum);
  bool ok = l->share && l->load && l->copies && l->of && l->rank && l->order && l->used && l->sum;
  if (ok) return FC_OK;
  layer_fini(l);
  return FC_E_NOMEM;
}

/* --- placement --- */

/* Each further copy to the expert whose copies have most to do. */
static void replicate(layer *l, const fc_expert_def *d) {
  int experts = (int)d->experts;
  for (int e = 0; e < experts; e++) {
    l->copies[e] = 1;
    l->of[e] = e;
  }
  for (int64_t s = d->experts; s < l->slots; s++) {
    int most = 0;
    for (int e = 1; e < experts; e++)
      if (l->share[e] / l->copies[e] > l->share[most] / l->copies[most]) most = e;
    l->copies[most]++;
    l->of[s] = most;
  }
}

/* Heaviest first to the emptiest rank that has room; slots come in descending order of expert, copies last.
 */
static void pack(layer *l, const fc_expert_def *d) {
  int64_t room = (l->slots + d->ranks - 1) / d->ranks;
  for (int64_t i = 0; i < l->slots; i++) { /* insertion: nearly sorted */
    double own = l->share[l->of[i]] / l->copies[l->of[i]];
    int64_t k = i;
    for (; k > 0 && l->share[l->of[l->order[k - 1]]] / l->copies[l->of[l->order[k - 1]]] < own; k--)
      l->order[k] = l->order[k - 1];
    l->order[k] = (int)i;
  }
  for (int64_t r = 0; r < d->ranks; r++) {
    l->used[r] = 0;
    l->sum[r] = 0;
  }
  for (int64_t i = 0; i < l->slots; i++) {
    int s = l->order[i];
    int64_t best = -1;
    for (int64_t r = 0; r < d->ranks; r++)
      if (l->used[r] < room && (best < 0 || l->sum[r] < l->sum[best])) best = r;
    l->rank[s] = (int)best;
    l->used[best]++;
    l->sum[best] += l->share[l->of[s]] / l->copies[l->of[s]];
  }
}

static void scatter(layer *l, const fc_expert_def *d, fc_rng *rng) {
  for (int64_t s = 0; s < l->slots; s++) l->order[s] = (int)s;
  for (int64_t s = l->slots - 1; s > 0; s--) {
    int64_t k = (int64_t)(fc_rng_uniform(rng) * (double)(s + 1));
    int kept = l->order[s];
    l->order[s] = l->order[k];
    l->order[k] = kept;
  }
  for (int64_t s = 0; s < l->slots; s++) l->rank[l->order[s]] = (int)(s * d->ranks / l->slots);
}

/* --- a draw --- */

/* Tokens of n that choose an expert with chance p each: by ones where few do, else the normal limit. */
static double chosen_by(double n, double p, fc_rng *rng) {
  double mean = n * p, variance = mean * (1 - p);
  if (variance > 16) return fmin(n, fmax(0, floor(mean + sqrt(variance) * fc_rng_normal(rng) + 0.5)));
  if (!(p < 1)) return n;
  double at = 0, base = log1p(-p);
  int64_t k = 0;
  if (!(p > 0)) return 0;
  for (;; k++) { /* gaps between those who choose are geometric */
    at += floor(log(fc_rng_uniform(rng)) / base) + 1;
    if (!(at <= n)) return (double)k;
  }
}

static double busiest(layer *l, const fc_expert_def *d, double tokens, fc_rng *rng) {
  double all = 0, most = 0;
  for (int64_t e = 0; e < d->experts; e++) {
    l->load[e] = chosen_by(tokens, fmin(1, l->share[e] * (double)d->top_k), rng);
    all += l->load[e];
  }
  if (!(all > 0)) return 1;
  for (int64_t r = 0; r < d->ranks; r++) l->sum[r] = 0;
  for (int64_t s = 0; s < l->slots; s++) l->sum[l->rank[s]] += l->load[l->of[s]] / l->copies[l->of[s]];
  for (int64_t r = 0; r < d->ranks; r++) most = fmax(most, l->sum[r]);
  return fmax(1, most * (double)d->ranks / all);
}

/* --- the table --- */

static void fill(fc_expert_load *out, int i, layer *l) {
  const fc_expert_def *d = &out->def;
  double tokens = out->tokens[i] * d->groups, sum = 0, within = 0;
  fc_moe_popularity(l->share, (int)d->experts, tokens, (double)d->top_k, d->skew);
  replicate(l, d);
  for (int k = 0; k < LAYERS; k++) {
    /* the same placements and luck for every size and law: tables differ by what they mean to */
    fc_rng rng = fc_rng_keyed(d->seed, FC_STREAM_SIZE, (uint64_t)k, UINT64_C(0x706c616365)); /* "place" */
    if (d->eplb)
      pack(l, d);
    else
      scatter(l, d, &rng);
    double own = 0, squares = 0;
    for (int j = 0; j < DRAWS; j++) {
      double x = busiest(l, d, tokens, &rng);
      own += x / DRAWS;
      squares += x * x / DRAWS;
    }
    sum += own / LAYERS;
    within += fmax(0, squares - own * own) * DRAWS / (DRAWS - 1) / LAYERS;
  }
  out->mean[i] = sum;
  out->cv[i] = sqrt(within / (double)d->layers) / sum;
}

fc_status fc_expert_load_new(fc_expert_load **out, const fc_expert_def *d) {
  *out = NULL;
  if (d->ranks < 2 || d->experts < d->ranks || d->experts > EXPERTS_MAX || d->redundant < 0 ||
      d->redundant > EXPERTS_MAX || d->top_k < 1 || d->top_k > d->experts || d->layers < 1 ||
      !(d->groups > 0) || !(d->skew >= 0 && d->skew <= 10) || !(d->most_tokens >= 1))
    return FC_E_DOMAIN;
  fc_expert_load *load = calloc(1, sizeof *load);
  if (!load) return FC_E_NOMEM;
  load->def = *d;
  layer l;
  if (layer_init(&l, d) != FC_OK) {
    free(load);
    return FC_E_NOMEM;
  }
  while (load->n < SIZES_MAX && (load->n == 0 || load->tokens[load->n - 1] < d->most_tokens)) {
    load->tokens[load->n] = exp2(0.5 * load->n);
    fill(load, load->n++, &l);
  }
  layer_fini(&l);
  *out = load;
  return FC_OK;
}

void fc_expert_load_free(fc_expert_load *load) {
  free(load);
}

static double read_at(const fc_expert_load *load, const double *table, double tokens) {
  double at = tokens > 1 ? 2 * log2(tokens) : 0;
  int i = (int)at;
  if (i >= load->n - 1) return table[load->n - 1];
  return table[i] + (at - i) * (table[i + 1] - table[i]);
}

double fc_expert_load_mean(const fc_expert_load *load, double tokens) {
  return read_at(load, load->mean, tokens);
}

double fc_expert_load_cv(const fc_expert_load *load, double tokens) {
  return read_at(load, load->cv, tokens);
}
