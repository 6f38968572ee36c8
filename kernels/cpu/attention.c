/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/kernels/implementation.h>
#include <fleetcast/kernels/operators.h>

#include "flash.h"

/* Causal attention and its gradients, tile by tile: operands as binary32, products by fc_flash_product, tiles
 * above the diagonal skipped.  A thread takes a key/value head of a sequence (forward: and a block of
 * queries) with all the query heads that share it, so that a tile of keys is read once for them.
 *
 * b sequences, h query heads, g key/value heads, q new tokens, s context, dk, dv: operators.h. */

/* Rows of a query tile (all heads of the group) and keys of a tile: measured best of ten pairs at dk = 192,
 * dv = 128; all tiles then take 0.8 MB, less than half of a server core's second cache. */
enum { ROWS = 256, KEYS = 192 };

/* A tile: some queries of all heads of a group against some keys. */
typedef struct {
  int64_t b, kv, group;  /* sequence, key/value head, heads that share it */
  int64_t from, queries; /* first query, how many */
  int64_t rows;          /* group * queries, head by head */
  int64_t key, keys;     /* first key, how many */
} tile;

static int64_t queries_of_tile(const fc_bench_case *c) {
  int64_t group = c->heads / c->kv_heads, n = ROWS / group;
  return n < 1 ? 1 : (n > c->q ? c->q : n);
}

static int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/* First element of query `from` of head j of the group in a tensor [b,q,h,wide]. */
static int64_t query_at(const fc_bench_case *c, const tile *t, int64_t j, int64_t wide) {
  return ((t->b * c->q + t->from) * c->heads + t->kv * t->group + j) * wide;
}

/* Keys that row r of the tile sees from t->key on; negative: none. */
static int64_t sees(const fc_bench_case *c, const tile *t, int64_t r) {
  return c->s - c->q + t->from + r % t->queries + 1 - t->key;
}

static void load_queries(float *out, const fc_problem *p, const fc_args *args, const tile *t, int tensor,
                         int64_t wide) {
  for (int64_t j = 0; j < t->group; j++)
    fc_flash_load(out + j * t->queries * wide, args->at[tensor], p->tensor[tensor].elem,
                  query_at(&p->c, t, j, wide), p->c.heads * wide, t->queries, wide);
}

static void store_queries(const float *in, const fc_problem *p, const fc_args *args, const tile *t,
                          int tensor, int64_t wide, const float *scale) {
  for (int64_t j = 0; j < t->group; j++)
    fc_flash_store(args->at[tensor], p->tensor[tensor].elem, query_at(&p->c, t, j, wide), p->c.heads * wide,
                   in + j * t->queries * wide, t->queries, wide, scale ? scale + j * t->queries : NULL);
}

/* The tile's keys or values: where they are, when they are binary32, else decoded into `room`. */
static fc_flash_matrix keys_of(const fc_problem *p, const fc_args *args, const tile *t, int tensor,
                               int64_t wide, float *room) {
  int64_t step = p->c.kv_heads * wide, at = (t->b * p->c.s + t->key) * step + t->kv * wide;
  if (p->tensor[tensor].elem == FC_ELEM_F32)
    return (fc_flash_matrix){(const float *)args->at[tensor] + at, step};
  fc_flash_load(room, args->at[tensor], p->tensor[tensor].elem, at, step, t->keys, wide);
  return (fc_flash_matrix){room, wide};
}

/* --- forward --- */

typedef struct {
  int threads;
  size_t stride;
  float *scratch;
  int64_t ranges; /* backward: parts into which the queries of a key/value head fall */
  float *part;    /* [b,g,ranges] of d_k, d_v [s]: gradients by part; NULL: one part */
} plan;

/* A thread's scratch: q, o, scores, keys, values, state and scale of each row. */
static size_t forward_floats(const fc_bench_case *c) {
  int64_t rows = queries_of_tile(c) * (c->heads / c->kv_heads);
  return (size_t)(rows * (c->dk + c->dv + KEYS + 3) + KEYS * (c->dk + c->dv));
}

static void forward_keys(const fc_problem *p, const fc_args *args, const tile *t, float *q,
                         fc_flash_row *row) {
  const fc_bench_case *c = &p->c;
  float *o = q + t->rows * c->dk, *score = o + t->rows * c->dv, *room = score + t->rows * KEYS;
  float scale = FC_LOG2_E / sqrtf((float)c->dk);
  fc_flash_matrix k = keys_of(p, args, t, FC_ATTN_K, c->dk, room);
  fc_flash_product(t->rows, t->keys, c->dk, (fc_flash_matrix){q, c->dk}, false, k, true, score, KEYS, false);
  for (int64_t r = 0; r < t->rows; r++) {
    float by = fc_flash_weights(&row[r], score + r * KEYS, t->keys, sees(c, t, r), scale);
    if (by != 1) fc_flash_scale(o + r * c->dv, c->dv, by);
  }
  fc_flash_matrix v = keys_of(p, args, t, FC_ATTN_V, c->dv, room + KEYS * c->dk);
  fc_flash_product(t->rows, c->dv, t->keys, (fc_flash_matrix){score, KEYS}, false, v, false, o, c->dv, true);
}

static void forward_tile(const fc_problem *p, const fc_args *args, tile t, float *q) {
  const fc_bench_case *c = &p->c;
  float *o = q + t.rows * c->dk, *scale = o + t.rows * (c->dv + KEYS) + KEYS * (c->dk + c->dv);
  fc_flash_row *row = (fc_flash_row *)(void *)(scale + t.rows);
  load_queries(q, p, args, &t, FC_ATTN_Q, c->dk);
  memset(o, 0, (size_t)(t.rows * c->dv) * sizeof *o);
  for (int64_t r = 0; r < t.rows; r++) row[r] = (fc_flash_row){.max = -INFINITY};
  int64_t last = c->s - c->q + t.from + t.queries;
  for (t.key = 0; t.key < last; t.key += KEYS) {
    t.keys = smaller(KEYS, last - t.key);
    forward_keys(p, args, &t, q, row);
  }
  for (int64_t r = 0; r < t.rows; r++) {
    int64_t head = t.kv * t.group + r / t.queries, i = t.from + r % t.queries;
    ((float *)args->at[FC_ATTN_LSE])[(t.b * c->heads + head) * c->q + i] = fc_flash_lse(&row[r]);
    scale[r] = 1 / row[r].sum;
  }
  store_queries(o, p, args, &t, FC_ATTN_O, c->dv, scale);
}

static void forward(const fc_problem *p, const fc_args *args, const plan *s) {
  const fc_bench_case *c = &p->c;
  int64_t wide = queries_of_tile(c), blocks = (c->q + wide - 1) / wide, pairs = c->batch * c->kv_heads;
#pragma omp parallel for schedule(dynamic, 1) num_threads(s->threads)
  for (int64_t item = 0; item < blocks * pairs; item++) {
    /* the last queries see most keys: the longest items first */
    tile t = {.group = c->heads / c->kv_heads, .from = (blocks - 1 - item / pairs) * wide};
    t.b = item % pairs / c->kv_heads;
    t.kv = item % pairs % c->kv_heads;
    t.queries = smaller(wide, c->q - t.from);
    t.rows = t.queries * t.group;
    forward_tile(p, args, t, s->scratch + (size_t)fc_flash_thread() * s->stride);
  }
}

static bool supports(const fc_problem *p, const fc_machine *machine, char *why) {
  (void)machine;
  bool known = p->c.dtype == FC_DTYPE_FP32 || p->c.dtype == FC_DTYPE_BF16;
  if (!known) (void)snprintf(why, FC_WHY, "operands are f32 or bf16");
  return known;
}

static void plan_release(void *state) {
  plan *s = state;
  if (s) {
    free(s->scratch);
    free(s->part);
  }
  free(s);
}

static int out_of_memory(char *why) {
  (void)snprintf(why, FC_WHY, "out of memory");
  return 1;
}

static int plan_make(size_t floats, void **state, char *why) {
  plan *s = calloc(1, sizeof *s);
  if (s) {
    s->threads = fc_flash_threads();
    s->scratch = fc_flash_scratch(s->threads, floats, &s->stride);
  }
  if (s && s->scratch) {
    *state = s;
    return 0;
  }
  plan_release(s);
  return out_of_memory(why);
}

static int forward_prepare(const fc_problem *p, const fc_args *args, const fc_machine *machine, void **state,
                           char *why) {
  (void)args, (void)machine;
  return plan_make(forward_floats(&p->c), state, why);
}

static int forward_launch(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)queue;
  forward(p, args, state);
  return 0;
}

/* --- backward ---
 *
 * A thread takes a key/value head: its keys, values and their gradients stay in scratch (binary32), queries
 * pass by:
 *     P = exp(Q K^T c - LSE)   dV += P^T dO   dP = dO V^T   dS = c P (dP - D)   dQ += dS K   dK += dS^T Q */

typedef struct {
  float *q, *d_o, *d_q, *score, *dp, *lse, *d; /* a query tile: [rows] of dk, dv, dk, KEYS, KEYS, 1, 1 */
  float *k, *v, *d_k, *d_v;                    /* [s] of dk, dv, dk, dv */
  float *o;                                    /* [dv] */
} gradients;

static size_t backward_floats(const fc_bench_case *c) {
  int64_t rows = queries_of_tile(c) * (c->heads / c->kv_heads);
  return (size_t)(rows * (2 * (c->dk + KEYS + 1) + c->dv) + 2 * c->s * (c->dk + c->dv) + c->dv);
}

static gradients gradients_in(float *scratch, const fc_bench_case *c) {
  int64_t rows = queries_of_tile(c) * (c->heads / c->kv_heads);
  gradients x = {.q = scratch};
  x.d_o = x.q + rows * c->dk;
  x.d_q = x.d_o + rows * c->dv;
  x.score = x.d_q + rows * c->dk;
  x.dp = x.score + rows * KEYS;
  x.lse = x.dp + rows * KEYS;
  x.d = x.lse + rows;
  x.k = x.d + rows;
  x.v = x.k + c->s * c->dk;
  x.d_k = x.v + c->s * c->dv;
  x.d_v = x.d_k + c->s * c->dk;
  x.o = x.d_v + c->s * c->dv;
  return x;
}

/* D and LSE (base 2) of the tile's rows. */
static void backward_rows(const fc_problem *p, const fc_args *args, const tile *t, gradients *x) {
  const fc_bench_case *c = &p->c;
  for (int64_t r = 0; r < t->rows; r++) {
    int64_t head = t->kv * t->group + r / t->queries, i = t->from + r % t->queries;
    int64_t at = ((t->b * c->q + i) * c->heads + head) * c->dv;
    fc_flash_load(x->o, args->at[FC_ATTN_O], p->tensor[FC_ATTN_O].elem, at, 0, 1, c->dv);
    x->d[r] = fc_flash_dot(x->o, x->d_o + r * c->dv, c->dv);
    x->lse[r] = ((const float *)args->at[FC_ATTN_LSE])[(t->b * c->heads + head) * c->q + i] * FC_LOG2_E;
  }
}

static void backward_keys(const fc_bench_case *c, const tile *t, gradients *x) {
  float scale = 1 / sqrtf((float)c->dk);
  fc_flash_matrix q = {x->q, c->dk}, d_o = {x->d_o, c->dv}, p = {x->score, KEYS}, ds = {x->dp, KEYS};
  fc_flash_matrix k = {x->k + t->key * c->dk, c->dk}, v = {x->v + t->key * c->dv, c->dv};
  fc_flash_product(t->rows, t->keys, c->dk, q, false, k, true, x->score, KEYS, false);
  fc_flash_product(t->rows, t->keys, c->dv, d_o, false, v, true, x->dp, KEYS, false);
  for (int64_t r = 0; r < t->rows; r++)
    fc_flash_backward(x->score + r * KEYS, x->dp + r * KEYS, t->keys, sees(c, t, r), scale * FC_LOG2_E,
                      x->lse[r], x->d[r], scale);
  fc_flash_product(t->keys, c->dv, t->rows, p, true, d_o, false, x->d_v + t->key * c->dv, c->dv, true);
  fc_flash_product(t->keys, c->dk, t->rows, ds, true, q, false, x->d_k + t->key * c->dk, c->dk, true);
  fc_flash_product(t->rows, c->dk, t->keys, ds, false, k, false, x->d_q, c->dk, true);
}

static void store_keys(const fc_problem *p, const fc_args *args, int64_t b, int64_t kv, int64_t key,
                       int64_t keys, const float *d_k, const float *d_v) {
  const fc_bench_case *c = &p->c;
  int64_t g = c->kv_heads, first = (b * c->s + key) * g + kv;
  fc_flash_store(args->at[FC_ATTN_DK], p->tensor[FC_ATTN_DK].elem, first * c->dk, g * c->dk, d_k, keys, c->dk,
                 NULL);
  fc_flash_store(args->at[FC_ATTN_DV], p->tensor[FC_ATTN_DV].elem, first * c->dv, g * c->dv, d_v, keys, c->dv,
                 NULL);
}

/* Queries of part `range` of a key/value head: every ranges-th tile, so that parts see about as many keys. */
static void backward_range(const fc_problem *p, const fc_args *args, const plan *s, tile t, int64_t range) {
  const fc_bench_case *c = &p->c;
  gradients x = gradients_in(s->scratch + (size_t)fc_flash_thread() * s->stride, c);
  int64_t g = c->kv_heads, head = t.b * g + t.kv, first = t.b * c->s * g + t.kv, wide = queries_of_tile(c);
  if (s->part) {
    x.d_k = s->part + (head * s->ranges + range) * c->s * (c->dk + c->dv);
    x.d_v = x.d_k + c->s * c->dk;
  }
  fc_flash_load(x.k, args->at[FC_ATTN_K], p->tensor[FC_ATTN_K].elem, first * c->dk, g * c->dk, c->s, c->dk);
  fc_flash_load(x.v, args->at[FC_ATTN_V], p->tensor[FC_ATTN_V].elem, first * c->dv, g * c->dv, c->s, c->dv);
  memset(x.d_k, 0, (size_t)(c->s * (c->dk + c->dv)) * sizeof *x.d_k);
  for (t.from = range * wide; t.from < c->q; t.from += s->ranges * wide) {
    t.queries = smaller(wide, c->q - t.from);
    t.rows = t.queries * t.group;
    load_queries(x.q, p, args, &t, FC_ATTN_Q, c->dk);
    load_queries(x.d_o, p, args, &t, FC_ATTN_DO, c->dv);
    backward_rows(p, args, &t, &x);
    memset(x.d_q, 0, (size_t)(t.rows * c->dk) * sizeof *x.d_q);
    int64_t last = c->s - c->q + t.from + t.queries;
    for (t.key = 0; t.key < last; t.key += KEYS) {
      t.keys = smaller(KEYS, last - t.key);
      backward_keys(c, &t, &x);
    }
    store_queries(x.d_q, p, args, &t, FC_ATTN_DQ, c->dk, NULL);
  }
  if (!s->part) store_keys(p, args, t.b, t.kv, 0, c->s, x.d_k, x.d_v);
}

/* Adds the parts' gradients of some keys of a head. */
static void join(const fc_problem *p, const fc_args *args, const plan *s, int64_t head, int64_t key) {
  const fc_bench_case *c = &p->c;
  int64_t keys = smaller(KEYS, c->s - key), size = c->s * (c->dk + c->dv);
  float *d_k = s->part + head * s->ranges * size + key * c->dk,
        *d_v = d_k + (c->s - key) * c->dk + key * c->dv;
  for (int64_t range = 1; range < s->ranges; range++) {
    fc_flash_add(d_k, d_k + range * size, keys * c->dk, 1);
    fc_flash_add(d_v, d_v + range * size, keys * c->dv, 1);
  }
  store_keys(p, args, head / c->kv_heads, head % c->kv_heads, key, keys, d_k, d_v);
}

static int backward_launch(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)queue;
  const plan *s = state;
  const fc_bench_case *c = &p->c;
  int64_t heads = c->batch * c->kv_heads, blocks = (c->s + KEYS - 1) / KEYS;
#pragma omp parallel for schedule(dynamic, 1) num_threads(s->threads)
  for (int64_t item = 0; item < heads * s->ranges; item++) {
    int64_t head = item / s->ranges;
    tile t = {.b = head / c->kv_heads, .kv = head % c->kv_heads, .group = c->heads / c->kv_heads};
    backward_range(p, args, s, t, item % s->ranges);
  }
  if (!s->part) return 0;
#pragma omp parallel for schedule(dynamic, 1) num_threads(s->threads)
  for (int64_t item = 0; item < heads * blocks; item++) join(p, args, s, item / blocks, item % blocks * KEYS);
  return 0;
}

static int backward_prepare(const fc_problem *p, const fc_args *args, const fc_machine *machine, void **state,
                            char *why) {
  (void)machine;
  const fc_bench_case *c = &p->c;
  size_t backward = backward_floats(c), needed = forward_floats(c);
  if (plan_make(backward > needed ? backward : needed, state, why)) return 1;
  plan *s = *state;
  /* heads alone keep the threads busy when there are twice as many */
  int64_t heads = c->batch * c->kv_heads, tiles = (c->q + queries_of_tile(c) - 1) / queries_of_tile(c);
  s->ranges = smaller(tiles, (2 * (int64_t)s->threads + heads - 1) / heads);
  if (s->ranges > 1) {
    s->part = malloc((size_t)(heads * s->ranges * c->s * (c->dk + c->dv)) * sizeof *s->part);
    if (!s->part) {
      plan_release(s);
      *state = NULL;
      return out_of_memory(why);
    }
  }
  forward(p, args, s);
  return 0;
}

extern const fc_implementations fc_cpu_attention;

static const fc_implementation item[] = {
    {FC_BENCH_ATTENTION_PREFILL, FC_FLASH_NAME, supports, forward_prepare, forward_launch, plan_release},
    {FC_BENCH_MLA_PREFILL, FC_FLASH_NAME, supports, forward_prepare, forward_launch, plan_release},
    {FC_BENCH_ATTENTION_BACKWARD, FC_FLASH_NAME, supports, backward_prepare, backward_launch, plan_release},
    {FC_BENCH_MLA_BACKWARD, FC_FLASH_NAME, supports, backward_prepare, backward_launch, plan_release},
};
const fc_implementations fc_cpu_attention = {sizeof item / sizeof *item, item};
