/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/kernels/implementation.h>
#include <fleetcast/kernels/operators.h>

#include "flash.h"

/* Attention of a few new tokens over a paged cache.  A thread takes a sequence, or where there are few of
 * them a part of one (split along the context, joined afterwards), and streams its pages once: each page
 * meets the queries of all heads while it is in the first caches.
 *
 * b sequences, h query heads, g key/value heads, q new tokens, dk, dv, pages of 64: operators.h. */

enum {
  PAGE = 64,
  PARTS = 4, /* parts a thread, so that contexts of different lengths even out */
};

typedef struct {
  int threads;
  int64_t splits, pages; /* parts of a context, and the pages of each */
  size_t stride;
  float *scratch;
  float *part;       /* [b,splits,h*q,dv]: outputs of parts, not yet divided; NULL: one part */
  fc_flash_row *row; /* [b,splits,h*q] */
} plan;

/* What a call's parts share. */
typedef struct {
  const fc_problem *p;
  const fc_args *args;
  const plan *plan;
  const int32_t *table, *lengths;
  int64_t g, group, rows; /* key/value heads, query heads of each, rows of a group: group * q, head by head */
  bool mla;
} call;

/* A thread's scratch. */
typedef struct {
  float *q, *o, *score, *k, *v; /* [h*q] of dk and dv, [rows] of PAGE, [PAGE] of dk and dv */
  fc_flash_row *row;            /* [h*q] */
} room;

static size_t room_floats(const fc_bench_case *c) {
  int64_t all = c->heads * c->q;
  return (size_t)(all * (c->dk + c->dv + PAGE + 2) + PAGE * (c->dk + c->dv));
}

static room room_of(const call *a) {
  const fc_bench_case *c = &a->p->c;
  int64_t all = c->heads * c->q;
  room x = {.q = a->plan->scratch + (size_t)fc_flash_thread() * a->plan->stride};
  x.o = x.q + all * c->dk;
  x.score = x.o + all * c->dv;
  x.k = x.score + all * PAGE;
  x.v = x.k + PAGE * c->dk;
  x.row = (fc_flash_row *)(void *)(x.v + PAGE * c->dv);
  return x;
}

static call call_of(const fc_problem *p, const fc_args *args, const plan *s) {
  call a = {.p = p, .args = args, .plan = s, .mla = p->c.op == FC_BENCH_MLA_DECODE};
  a.table = args->at[FC_DECODE_TABLE];
  a.lengths = args->at[FC_DECODE_LENGTHS];
  a.g = a.mla ? 1 : p->c.kv_heads;
  a.group = p->c.heads / a.g;
  a.rows = a.group * p->c.q;
  return a;
}

/* Queries of sequence b, head by head, then token by token: heads of a group are neighbours. */
static void load_queries(const call *a, int64_t b, float *out) {
  const fc_bench_case *c = &a->p->c;
  for (int64_t j = 0; j < c->heads; j++)
    fc_flash_load(out + j * c->q * c->dk, a->args->at[FC_DECODE_Q], a->p->tensor[FC_DECODE_Q].elem,
                  (b * c->q * c->heads + j) * c->dk, c->heads * c->dk, c->q, c->dk);
}

/* n tokens of a page of key/value head `kv`: where they are, when they are binary32, else decoded. */
static fc_flash_matrix page_of(const call *a, int tensor, int64_t page, int64_t kv, int64_t n, int64_t wide,
                               float *out) {
  int64_t step = a->g * wide, at = page * PAGE * step + kv * wide;
  fc_elem elem = a->p->tensor[tensor].elem;
  if (elem == FC_ELEM_F32) return (fc_flash_matrix){(const float *)a->args->at[tensor] + at, step};
  fc_flash_load(out, a->args->at[tensor], elem, at, step, n, wide);
  return (fc_flash_matrix){out, wide};
}

/* One page of one key/value head: tokens `from` .. `from + n` of a context of `length`. */
static void page_step(const call *a, room *x, int64_t page, int64_t kv, int64_t from, int64_t n,
                      int64_t length) {
  const fc_bench_case *c = &a->p->c;
  float *o = x->o + kv * a->rows * c->dv, scale = FC_LOG2_E / sqrtf((float)c->dk);
  fc_flash_matrix q = {x->q + kv * a->rows * c->dk, c->dk}, score = {x->score, PAGE};
  fc_flash_matrix k = page_of(a, FC_DECODE_K, page, kv, n, c->dk, x->k), v = k;
  fc_flash_product(a->rows, n, c->dk, q, false, k, true, x->score, PAGE, false);
  for (int64_t r = 0; r < a->rows; r++) {
    int64_t sees = length - c->q + r % c->q + 1 - from; /* causal among the new tokens */
    float by = fc_flash_weights(&x->row[kv * a->rows + r], x->score + r * PAGE, n, sees, scale);
    if (by != 1) fc_flash_scale(o + r * c->dv, c->dv, by);
  }
  if (!a->mla) v = page_of(a, FC_DECODE_V, page, kv, n, c->dv, x->v); /* else the head of the key */
  fc_flash_product(a->rows, c->dv, n, score, false, v, false, o, c->dv, true);
}

/* The result of a sequence from outputs o [h*q,dv], not yet divided, and their rows. */
static void finish(const call *a, int64_t b, float *o, const fc_flash_row *row) {
  const fc_bench_case *c = &a->p->c;
  for (int64_t r = 0; r < c->heads * c->q; r++) {
    int64_t head = r / c->q, i = r % c->q;
    float by = 1 / row[r].sum;
    ((float *)a->args->at[FC_DECODE_LSE])[b * c->heads * c->q + r] = fc_flash_lse(&row[r]);
    fc_flash_store(a->args->at[FC_DECODE_O], a->p->tensor[FC_DECODE_O].elem,
                   ((b * c->q + i) * c->heads + head) * c->dv, 0, o + r * c->dv, 1, c->dv, &by);
  }
}

static void part(const call *a, int64_t b, int64_t split) {
  const fc_bench_case *c = &a->p->c;
  const plan *s = a->plan;
  int64_t all = c->heads * c->q, at = (b * s->splits + split) * all, length = a->lengths[b];
  room x = room_of(a);
  if (s->part) {
    x.o = s->part + at * c->dv;
    x.row = s->row + at;
  }
  int64_t end = (split + 1) * s->pages * PAGE;
  end = end < length ? end : length;
  load_queries(a, b, x.q);
  memset(x.o, 0, (size_t)(all * c->dv) * sizeof *x.o);
  for (int64_t r = 0; r < all; r++) x.row[r] = (fc_flash_row){.max = -INFINITY};
  for (int64_t from = split * s->pages * PAGE; from < end; from += PAGE) {
    int64_t n = end - from < PAGE ? end - from : PAGE, page = a->table[b * a->p->rows[0] + from / PAGE];
    for (int64_t kv = 0; kv < a->g; kv++) page_step(a, &x, page, kv, from, n, length);
  }
  if (!s->part) finish(a, b, x.o, x.row);
}

/* Joins the parts of a sequence. */
static void join(const call *a, int64_t b) {
  const fc_bench_case *c = &a->p->c;
  const plan *s = a->plan;
  int64_t all = c->heads * c->q;
  room x = room_of(a);
  memset(x.o, 0, (size_t)(all * c->dv) * sizeof *x.o);
  for (int64_t r = 0; r < all; r++) {
    fc_flash_row total = {.max = -INFINITY};
    for (int64_t i = 0; i < s->splits; i++)
      total.max = fmaxf(total.max, s->row[(b * s->splits + i) * all + r].max);
    for (int64_t i = 0; i < s->splits; i++) {
      int64_t at = (b * s->splits + i) * all + r;
      if (!(s->row[at].sum > 0)) continue; /* beyond the end of a short context */
      float by = exp2f(s->row[at].max - total.max);
      total.sum += by * s->row[at].sum;
      fc_flash_add(x.o + r * c->dv, s->part + at * c->dv, c->dv, by);
    }
    x.row[r] = total;
  }
  finish(a, b, x.o, x.row);
}

static int launch(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)queue;
  const plan *s = state;
  const call a = call_of(p, args, s);
#pragma omp parallel for schedule(dynamic, 1) num_threads(s->threads)
  for (int64_t item = 0; item < p->c.batch * s->splits; item++) part(&a, item / s->splits, item % s->splits);
  if (!s->part) return 0;
#pragma omp parallel for schedule(dynamic, 1) num_threads(s->threads)
  for (int64_t b = 0; b < p->c.batch; b++) join(&a, b);
  return 0;
}

static void release(void *state) {
  plan *s = state;
  if (s) {
    free(s->scratch);
    free(s->part);
    free(s->row);
  }
  free(s);
}

static int prepare(const fc_problem *p, const fc_args *args, const fc_machine *machine, void **state,
                   char *why) {
  (void)args, (void)machine;
  const fc_bench_case *c = &p->c;
  plan *s = calloc(1, sizeof *s);
  if (!s) goto failed;
  s->threads = fc_flash_threads();
  int64_t splits = ((int64_t)PARTS * s->threads + c->batch - 1) / c->batch;
  s->pages = (p->rows[0] + splits - 1) / splits;
  s->splits = (p->rows[0] + s->pages - 1) / s->pages;
  s->scratch = fc_flash_scratch(s->threads, room_floats(c), &s->stride);
  if (!s->scratch) goto failed;
  if (s->splits > 1) {
    size_t rows = (size_t)(c->batch * s->splits * c->heads * c->q);
    s->part = malloc(rows * (size_t)c->dv * sizeof *s->part);
    s->row = malloc(rows * sizeof *s->row);
    if (!s->part || !s->row) goto failed;
  }
  *state = s;
  return 0;
failed:
  release(s);
  (void)snprintf(why, FC_WHY, "out of memory");
  return 1;
}

static bool supports(const fc_problem *p, const fc_machine *machine, char *why) {
  (void)machine;
  bool known = p->c.dtype == FC_DTYPE_FP32 || p->c.dtype == FC_DTYPE_BF16;
  if (!known) (void)snprintf(why, FC_WHY, "operands are f32 or bf16");
  return known;
}

extern const fc_implementations fc_cpu_decode;

static const fc_implementation item[] = {
    {FC_BENCH_ATTENTION_DECODE, FC_FLASH_NAME, supports, prepare, launch, release},
    {FC_BENCH_MLA_DECODE, FC_FLASH_NAME, supports, prepare, launch, release},
};
const fc_implementations fc_cpu_decode = {sizeof item / sizeof *item, item};
