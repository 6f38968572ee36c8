/* SPDX-License-Identifier: Apache-2.0 */
#include "step_table_private.h"

#include <math.h>
#include <stdlib.h>

#include <fleetcast/base/rng.h>

enum { CAPTURED = 512, TILE = 64, PROBES = 256, BITS_MAX = 4, X_FIRST = 16 };

/* --- calls of the function; everything in shares of a group --- */

typedef struct {
  fc_step_table *table;
  fc_status status;
  bool fine; /* look between the nodes */
} builder;

static bool sane(double x) {
  return isfinite(x) && x >= 0;
}

static fc_serve_iteration call(builder *b, const fc_step_work *work) {
  fc_serve_iteration it = {0};
  if (b->status != FC_OK) return it;
  const fc_step_table_def *def = &b->table->def;
  fc_serve_load load = fc_step_load(def, work);
  b->table->error.calls++;
  b->status = def->step(def->context, &it, &load);
  double parts = it.attention_s + it.dense_s + it.experts_s + it.glue_s + it.head_s + it.comm_s +
                 it.launch_s + it.host_s;
  if (b->status == FC_OK && (!sane(it.seconds) || !sane(parts))) b->status = FC_E_DOMAIN;
  it.dense_s += it.seconds - parts;
  return it;
}

static fc_step_node node_of(const fc_step_table_def *def, const fc_serve_iteration *it) {
  fc_step_node n = {it->attention_s, it->dense_s,  it->experts_s, it->glue_s, it->head_s,
                    it->comm_s,      it->launch_s, it->host_s,    0};
  n.dynamic_j = fmax(0, it->watts - def->idle_w) * it->seconds * (double)def->devices;
  return n;
}

/* A prompt of p tokens that attend to y keys each in the mean; several, when one alone would see more. */
static fc_step_work prompt(double p, double y) {
  fc_step_work w = {.prefill = p, .prompts = 1, .pairs = p * y};
  double q = fmax(1, 2 * y - 1);
  if (q < p) w.prompts = p / q;
  return w;
}

/* --- grids --- */

static int64_t top_bits(double x, int bits) {
  uint64_t raw;
  memcpy(&raw, &x, sizeof raw);
  return (int64_t)(raw >> (52 - bits));
}

static fc_status grid_new(fc_log_grid *g, double first, double last, int bits) {
  *g = (fc_log_grid){.bits = bits, .base = top_bits(first, bits)};
  g->n = (int)(top_bits(last, bits) - g->base) + 2;
  if (g->n < 2) g->n = 2;
  g->at = calloc((size_t)g->n, sizeof *g->at);
  if (!g->at) return FC_E_NOMEM;
  for (int i = 0; i < g->n; i++) {
    uint64_t raw = (uint64_t)(g->base + i) << (52 - bits);
    memcpy(&g->at[i], &raw, sizeof raw);
  }
  return FC_OK;
}

/* Slopes to the next node; the last one goes on as before. */
static void slope(fc_knot *k, const double *at, int n) {
  for (int i = 0; i + 1 < n; i++) k[i].slope = (k[i + 1].value - k[i].value) / (at[i + 1] - at[i]);
  k[n - 1].slope = k[n - 2].slope;
}

/* --- decode --- */

/* Tiles of rows that b requests fill. */
static double tiles(const fc_step_table_def *def, int64_t b) {
  return ceil((double)b * def->query_tokens / TILE);
}

static bool is_row(const fc_step_table_def *def, int64_t b, int64_t last) {
  if (b == last || b <= 2 || b == 4) return true;
  if (tiles(def, b) > tiles(def, b - 1) || tiles(def, b + 1) > tiles(def, b))
    return true; /* times jump here */
  if (!def->graph_padding && (b <= 32 || (b <= TILE && b % 4 == 0))) return true;
  return b <= CAPTURED && b % 8 == 0;
}

static fc_status rows_new(fc_step_table *t) {
  int64_t most = t->def.max_batch;
  for (int pass = 0; pass < 2; pass++) {
    int n = 0;
    for (int64_t b = 1; b <= most + 7; b++) {
      if (!is_row(&t->def, b, most) || (b > most && b != fc_step_padded(&t->def, most))) continue;
      if (pass) t->batch[n] = (int32_t)b;
      n++;
    }
    if (pass || n < 1) break; /* the largest batch is one */
    t->rows = n;
    t->batch = calloc((size_t)n, sizeof *t->batch);
    t->padded = calloc((size_t)most + 1, sizeof *t->padded);
    t->exact = calloc((size_t)most + 1, sizeof *t->exact);
    if (!t->batch || !t->padded || !t->exact) return FC_E_NOMEM;
  }
  for (int64_t b = 1; b <= most; b++) {
    int64_t want[2] = {b, fc_step_padded(&t->def, b)};
    for (int k = 0; k < 2; k++) {
      int i = 0;
      while (i + 1 < t->rows && t->batch[i + 1] <= want[k]) i++;
      fc_between *at = k ? &t->padded[b] : &t->exact[b];
      *at = (fc_between){i, i, 0};
      if (t->batch[i] == want[k] || i + 1 == t->rows) continue;
      at->hi = i + 1;
      at->w = (double)(want[k] - t->batch[i]) / (double)(t->batch[i + 1] - t->batch[i]);
    }
  }
  return FC_OK;
}

/* From two nodes on to the next, f of their distance away. */
static fc_step_node node_beyond(const fc_step_node *a, const fc_step_node *b, double f) {
  return (fc_step_node){b->attention + f * (b->attention - a->attention),
                        b->dense + f * (b->dense - a->dense),
                        b->experts + f * (b->experts - a->experts),
                        b->glue + f * (b->glue - a->glue),
                        b->head + f * (b->head - a->head),
                        b->comm + f * (b->comm - a->comm),
                        b->launch + f * (b->launch - a->launch),
                        b->host + f * (b->host - a->host),
                        b->dynamic_j + f * (b->dynamic_j - a->dynamic_j)};
}

static void decode_row(builder *b, int row) {
  fc_step_table *t = b->table;
  size_t first = (size_t)row * (size_t)t->x.n;
  double batch = t->batch[row];
  for (int i = 0; i < t->x.n; i++) {
    size_t at = first + (size_t)i;
    if (i >= 2 && t->x.at[i - 1] > batch * (double)t->def.max_context) { /* nothing is there */
      double f = (t->x.at[i] - t->x.at[i - 1]) / (t->x.at[i - 1] - t->x.at[i - 2]);
      t->node[at] = node_beyond(&t->node[at - 2], &t->node[at - 1], f);
      t->decode[at].value = t->decode[at - 1].value + f * (t->decode[at - 1].value - t->decode[at - 2].value);
    } else {
      fc_serve_iteration it = call(b, &(fc_step_work){.decode = batch, .decode_context = t->x.at[i]});
      t->node[at] = node_of(&t->def, &it);
      t->decode[at].value = 1e9 * it.seconds;
    }
    t->core[at].value = 1e9 * t->node[at].attention;
  }
  slope(&t->decode[first], t->x.at, t->x.n);
  slope(&t->core[first], t->x.at, t->x.n);
}

/* Attention of decodes beside a prompt, where it is not that of decodes alone: what overlaps with prefill's
 * communication has fewer compute units. */
static double core_beside(builder *b, double batch, double context) {
  fc_step_work w = prompt(1, 1);
  double alone = call(b, &w).attention_s;
  w.decode = batch;
  w.decode_context = context;
  return call(b, &w).attention_s - alone;
}

static void core_row(builder *b, int row) {
  fc_step_table *t = b->table;
  fc_knot *core = &t->core[(size_t)row * (size_t)t->x.n];
  double batch = t->batch[row];
  for (int i = 0; i < t->x.n; i++) {
    if (i >= 2 && t->x.at[i - 1] > batch * (double)t->def.max_context)
      core[i].value = core[i - 1].value + (core[i - 1].value - core[i - 2].value) *
                                              (t->x.at[i] - t->x.at[i - 1]) /
                                              (t->x.at[i - 1] - t->x.at[i - 2]);
    else
      core[i].value = 1e9 * core_beside(b, batch, t->x.at[i]);
  }
  slope(core, t->x.at, t->x.n);
}

static bool core_differs(builder *b) {
  const fc_step_table_def *def = &b->table->def;
  double batch = ceil(0.5 * (double)def->max_batch), context = batch * ceil(0.5 * (double)def->max_context);
  double alone = call(b, &(fc_step_work){.decode = batch, .decode_context = context}).attention_s;
  return fabs(core_beside(b, batch, context) - alone) > 1e-3 * alone;
}

static void decode_fill(builder *b) {
  fc_step_table *t = b->table;
  size_t n = (size_t)t->rows * (size_t)t->x.n;
  t->decode = calloc(n, sizeof *t->decode);
  t->core = calloc(n, sizeof *t->core);
  t->node = calloc(n, sizeof *t->node);
  if (!t->decode || !t->core || !t->node) b->status = FC_E_NOMEM;
  for (int r = 0; r < t->rows && b->status == FC_OK; r++) decode_row(b, r);
  if (b->status != FC_OK || !core_differs(b)) return;
  for (int r = 0; r < t->rows && b->status == FC_OK; r++) core_row(b, r);
}

/* --- prefill attention --- */

static void cells_fill(builder *b) {
  fc_step_table *t = b->table;
  t->cells = calloc((size_t)t->p.n * (size_t)t->y.n, sizeof *t->cells);
  if (!t->cells) b->status = FC_E_NOMEM;
  for (int i = 0; i < t->p.n && b->status == FC_OK; i++) {
    fc_knot *row = &t->cells[(size_t)i * (size_t)t->y.n];
    double p = t->p.at[i];
    fc_step_work fresh = prompt(p, 0.5 * (p + 1));
    double dense = call(b, &fresh).dense_s;
    for (int j = 0; j < t->y.n; j++) {
      fc_step_work w = prompt(p, t->y.at[j]);
      fc_serve_iteration it = call(b, &w);
      /* MLA expands keys and values of the whole context anew: dense work, but of the context */
      row[j].value = 1e9 * (it.attention_s + fmax(0, it.dense_s - dense));
    }
    slope(row, t->y.at, t->y.n);
  }
}

/* W of attention, from what more context adds. */
static double added_w(builder *b, const fc_step_work *near, const fc_step_work *far) {
  fc_serve_iteration one = call(b, near), more = call(b, far);
  double s = more.attention_s - one.attention_s;
  if (b->status != FC_OK || !(s > 0)) return 0;
  return fmax(0, (node_of(&b->table->def, &more).dynamic_j - node_of(&b->table->def, &one).dynamic_j) / s);
}

static void attention_fill(builder *b) {
  fc_step_table *t = b->table;
  double half = ceil(0.5 * (double)t->def.max_batch), context = ceil((double)t->def.max_context / 8);
  double p = ceil(0.5 * (double)t->def.max_tokens);
  fc_step_work near = {.decode = half, .decode_context = half * context}, far = near;
  far.decode_context *= 3;
  t->core_w = added_w(b, &near, &far);
  near = prompt(p, p + context);
  far = prompt(p, p + 3 * context);
  t->cell_w = added_w(b, &near, &far);
  /* drafted layers attend to the prompts of a mixed iteration too */
  t->cell_factor = 1;
  if (!(t->def.query_tokens > 1)) return;
  double alone = call(b, &far).attention_s;
  far.decode = half;
  far.decode_context = half * context;
  double core = call(b, &(fc_step_work){.decode = half, .decode_context = far.decode_context}).attention_s;
  double together = call(b, &far).attention_s;
  if (alone > 0) t->cell_factor = (together - core) / alone;
}

/* --- terms of the tokens alone --- */

static bool is_token_node(int64_t m, int64_t last) {
  if (m == last || (m & (m - 1)) == 0) return true;
  if (m <= TILE) return m <= 8 || m % 4 == 0; /* experts come into use one by one */
  if (m <= CAPTURED) return m % 16 <= 1;
  return m <= 8192 ? m % TILE <= 1 : m % 256 <= 1;
}

typedef struct {
  fc_step_node node;
  double busy, fixed, hidden; /* [ns] */
} token_terms;

static token_terms terms_of(builder *b, double m, bool mixed) {
  fc_step_table *t = b->table;
  double decode = mixed ? 1 : 0, p = fmax(1, m - decode * t->def.query_tokens);
  fc_step_work w = prompt(p, 0.5 * (p + 1));
  w.decode = decode;
  w.decode_context = decode;
  fc_serve_iteration it = call(b, &w);
  double ep = 0, comm = it.comm_s;
  if (it.idle_s > 0) { /* whatever the device does more comes off it */
    ep = it.seconds - it.comm_s - (it.host_s - it.idle_s);
    it.host_s -= it.idle_s;
    t->idle_hidden = true;
  }
  if (it.comm_hidden_s > 0) { /* under more attention all that can be hidden is */
    fc_step_work far = prompt(p, 1e3 * (double)t->def.max_context);
    far.decode = w.decode;
    far.decode_context = w.decode_context;
    comm = call(b, &far).comm_s;
    ep = it.comm_s + it.comm_hidden_s - comm;
  }
  fc_step_node n = node_of(&t->def, &it);
  n.dynamic_j -= t->cell_w * it.attention_s;
  n.attention = 0;
  n.comm = comm;
  double busy = n.dense + n.experts + n.glue + n.launch + n.head;
  return (token_terms){n, 1e9 * busy, 1e9 * (n.host + comm), 1e9 * ep};
}

/* Marks whole numbers between lo and hi until lines between the marks will do. */
static void bisect(builder *b, bool *mark, int64_t lo, int64_t hi, double at_lo, double at_hi, bool mixed) {
  if (hi - lo < 2 || b->status != FC_OK) return;
  int64_t m = lo + (hi - lo) / 2;
  double at = terms_of(b, (double)m, mixed).busy;
  double line = at_lo + (at_hi - at_lo) * (double)(m - lo) / (double)(hi - lo);
  if (fabs(at - line) <= 0.25 * b->table->def.tolerance * at) return;
  mark[m] = true;
  bisect(b, mark, lo, m, at_lo, at, mixed);
  bisect(b, mark, m, hi, at, at_hi, mixed);
}

static void whole_slope(fc_knot *k, const int32_t *at, int n) {
  for (int i = 0; i + 1 < n; i++) k[i].slope = (k[i + 1].value - k[i].value) / (double)(at[i + 1] - at[i]);
  k[n - 1].slope = n > 1 ? k[n - 2].slope : 0;
}

static void mark_tokens(builder *b, bool *mark, int64_t last, bool mixed) {
  int64_t before = 0;
  double at_before = 0;
  for (int64_t m = 1; m <= last && b->status == FC_OK; m++) {
    if (!is_token_node(m, last)) continue;
    mark[m] = true;
    if (!b->fine) continue;
    double at = terms_of(b, (double)m, mixed).busy;
    if (before) bisect(b, mark, before, m, at_before, at, mixed);
    before = m;
    at_before = at;
  }
}

static void token_nodes(builder *b, fc_token_table *k, const bool *mark, int64_t last, bool mixed) {
  for (int64_t m = 1; m <= last; m++) k->n += mark[m];
  size_t n = (size_t)k->n;
  k->at = calloc(n, sizeof *k->at);
  k->segment = calloc((size_t)last + 1, sizeof *k->segment);
  k->busy = calloc(n, sizeof *k->busy);
  k->fixed = calloc(n, sizeof *k->fixed);
  k->hidden = calloc(n, sizeof *k->hidden);
  k->node = calloc(n, sizeof *k->node);
  if (!k->at || !k->segment || !k->busy || !k->fixed || !k->hidden || !k->node) {
    b->status = FC_E_NOMEM;
    return;
  }
  int i = 0;
  for (int64_t m = 1; m <= last; m++) {
    if (mark[m]) {
      token_terms t = terms_of(b, (double)m, mixed);
      k->at[i] = (int32_t)m;
      k->node[i] = t.node;
      k->busy[i].value = t.busy;
      k->fixed[i].value = t.fixed;
      k->hidden[i++].value = t.hidden;
    }
    k->segment[m] = i - 1 < k->n - 2 ? i - 1 : k->n - 2;
  }
  whole_slope(k->busy, k->at, k->n);
  whole_slope(k->fixed, k->at, k->n);
  whole_slope(k->hidden, k->at, k->n);
}

static void tokens_fill(builder *b, fc_token_table *k, bool mixed) {
  const fc_step_table_def *def = &b->table->def;
  int64_t last = def->max_tokens + (int64_t)ceil((double)def->max_batch * def->query_tokens) + 8;
  bool *mark = calloc((size_t)last + 1, sizeof *mark);
  if (!mark) {
    b->status = FC_E_NOMEM;
    return;
  }
  mark_tokens(b, mark, last, mixed);
  if (b->status == FC_OK) token_nodes(b, k, mark, last, mixed);
  free(mark);
}

/* Head of r sequences less that of one; whole tokens enough for all. */
static void heads_fill(builder *b) {
  fc_step_table *t = b->table;
  t->heads = (int)ceil((double)t->def.max_batch * t->def.query_tokens) + 64;
  t->head_ns = calloc((size_t)t->heads + 1, sizeof *t->head_ns);
  if (!t->head_ns) b->status = FC_E_NOMEM;
  double one = 0;
  for (int r = 1, before = 0; r <= t->heads && b->status == FC_OK; r++) {
    if (r > 2 && r != 4 && r % 8 > 0 && r % TILE != 1 && r != t->heads) continue;
    fc_step_work w = {.prefill = t->heads, .prompts = r};
    w.pairs = w.prefill * 0.5 * (w.prefill / r + 1);
    double head = 1e9 * call(b, &w).head_s;
    if (r == 1) one = head;
    t->head_ns[r] = head - one;
    for (int i = before + 1; i < r && before > 0; i++)
      t->head_ns[i] = t->head_ns[before] +
                      (t->head_ns[r] - t->head_ns[before]) * (double)(i - before) / (double)(r - before);
    before = r;
  }
}

/* --- making --- */

static void token_table_fini(fc_token_table *k) {
  free(k->at);
  free(k->segment);
  free(k->busy);
  free(k->fixed);
  free(k->hidden);
  free(k->node);
  *k = (fc_token_table){0};
}

static void contents_free(fc_step_table *t) {
  free(t->x.at);
  free(t->p.at);
  free(t->y.at);
  free(t->batch);
  free(t->padded);
  free(t->exact);
  free(t->decode);
  free(t->core);
  free(t->node);
  free(t->cells);
  free(t->head_ns);
  token_table_fini(&t->prefill);
  token_table_fini(&t->mixed);
}

void fc_step_table_free(fc_step_table *t) {
  if (!t) return;
  contents_free(t);
  free(t);
}

static double log_uniform(fc_rng *rng, double low, double high) {
  return floor(low * exp(fc_rng_uniform(rng) * log(high / low)));
}

/* A random iteration: decodes alone, with a prompt, or prompts alone. */
static fc_step_work probe(const fc_step_table_def *def, fc_rng *rng, int kind) {
  double most = (double)def->max_batch, context = (double)def->max_context;
  fc_step_work w = {0};
  if (kind < 2) {
    w.decode = log_uniform(rng, 1, most + 1);
    w.decode_context = w.decode * log_uniform(rng, fmin(16, context), context);
  }
  if (kind < 1) return w;
  double p = log_uniform(rng, 1, (double)def->max_tokens + 1);
  double cached = log_uniform(rng, 1, context) - 1;
  w.prefill = p;
  w.prompts = 1;
  w.pairs = p * (cached + 0.5 * (p + 1));
  return w;
}

static void measure(builder *b) {
  fc_step_table *t = b->table;
  fc_rng rng = fc_rng_keyed(0, FC_STREAM_TEST, 0, 0);
  t->error.max = t->error.mean = 0;
  t->error.probes = INT64_C(3) * PROBES;
  for (int i = 0; i < 3 * PROBES && b->status == FC_OK; i++) {
    fc_step_work w = probe(&t->def, &rng, i % 3);
    fc_serve_iteration it = {0};
    b->status = fc_step_group_direct(t, &it, &w);
    t->error.calls++;
    double table = fc_step_group_seconds(t, &w);
    double e = it.seconds > 0 ? fabs(table / it.seconds - 1) : fabs(table);
    if (!(e <= t->error.max)) t->error.max = e;
    t->error.mean += e / (3 * PROBES);
  }
}

static void count_bytes(fc_step_table *t) {
  int64_t rows = (int64_t)t->rows * t->x.n, tokens = t->prefill.n + t->mixed.n;
  t->error.bytes = rows * (int64_t)(2 * sizeof(fc_knot) + sizeof(fc_step_node)) +
                   (int64_t)t->p.n * t->y.n * (int64_t)sizeof(fc_knot) +
                   tokens * (int64_t)(3 * sizeof(fc_knot) + sizeof(fc_step_node)) +
                   2 * (int64_t)t->prefill.at[t->prefill.n - 1] * (int64_t)sizeof(int32_t) +
                   t->heads * (int64_t)sizeof(double) + 2 * t->def.max_batch * (int64_t)sizeof(fc_between);
}

static fc_status fill(fc_step_table *t, int bits) {
  builder b = {.table = t, .fine = bits > 1};
  double most = (double)t->def.max_batch, context = (double)t->def.max_context;
  if (grid_new(&t->x, X_FIRST, fmax(X_FIRST, most * context), bits) != FC_OK ||
      grid_new(&t->p, 1, (double)t->def.max_tokens, bits) != FC_OK ||
      grid_new(&t->y, 1, context, bits) != FC_OK || rows_new(t) != FC_OK)
    return FC_E_NOMEM;
  attention_fill(&b);
  decode_fill(&b);
  if (b.status == FC_OK) cells_fill(&b);
  if (b.status == FC_OK) tokens_fill(&b, &t->prefill, false);
  if (b.status == FC_OK) tokens_fill(&b, &t->mixed, true);
  if (b.status == FC_OK) heads_fill(&b);
  if (b.status == FC_OK) measure(&b);
  if (b.status == FC_OK) count_bytes(t);
  return b.status;
}

fc_step_table_def fc_step_table_default_def(void) {
  return (fc_step_table_def){.devices = 1,
                             .groups = 1,
                             .max_batch = 256,
                             .max_tokens = 8192,
                             .max_context = 131072,
                             .query_tokens = 1,
                             .graph_padding = true,
                             .tolerance = 0.01};
}

fc_status fc_step_table_new(fc_step_table **out, const fc_step_table_def *def) {
  *out = NULL;
  if (!def->step || def->devices < 1 || def->groups < 1 || def->max_batch < 1 || def->max_batch > 100000 ||
      def->max_tokens < 1 || def->max_tokens > 10000000 || def->max_context < 1 ||
      def->max_context > 100000000 || !(def->query_tokens >= 1 && def->query_tokens <= 64) ||
      !(def->tolerance > 0) || !sane(def->idle_w))
    return FC_E_DOMAIN;
  fc_step_table *t = calloc(1, sizeof *t);
  if (!t) return FC_E_NOMEM;
  fc_status status = FC_OK;
  for (int bits = 1; bits <= BITS_MAX; bits++) { /* twice as fine until it will do */
    int64_t calls = t->error.calls;
    double before = bits > 1 ? t->error.max : (double)INFINITY;
    contents_free(t);
    *t = (fc_step_table){.def = *def, .error.calls = calls};
    status = fill(t, bits);
    if (status != FC_OK || t->error.max <= def->tolerance) break;
    if (!(t->error.max < 0.7 * before)) break; /* what is left is no matter of the grid */
  }
  if (status != FC_OK) {
    fc_step_table_free(t);
    return status;
  }
  *out = t;
  return FC_OK;
}
