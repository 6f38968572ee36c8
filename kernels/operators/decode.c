/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/kernels/operator.h>
#include <fleetcast/kernels/operators.h>

#include <stdlib.h>

#include "families.h"
#include "softmax.h"

/* Attention of q new tokens of b sequences over a paged cache.  h
 * query heads, g key/value heads; pages of 64 tokens: operators.h. */

enum { PAGE = 64 };

/* --- contexts and pages: pure functions of the case and the seed --- */

static int64_t pages_of(int64_t tokens) {
  return (tokens + PAGE - 1) / PAGE;
}

/* Context of sequence i.  Ragged: uniform in [s - s/2 + 1, s + s/2 - 1],
 * in pairs that mirror each other about s, so that the sum is b s exactly
 * (an odd last one has s) and the cost model's figures are the call's. */
static int64_t context_of(const fc_problem *p, int64_t i) {
  const fc_bench_case *c = &p->c;
  int64_t reach = c->s / 2 - 1;
  if (reach > c->s - c->q) reach = c->s - c->q; /* the new tokens are part of the context */
  if (!c->ragged || reach <= 0 || (c->batch % 2 == 1 && i == c->batch - 1)) return c->s;
  uint64_t bits = fc_fill_bits(p->seed, FC_DECODE_LENGTHS, (uint64_t)(i / 2));
  int64_t off = (int64_t)(bits % (uint64_t)(2 * reach + 1)) - reach;
  return c->s + (i % 2 == 0 ? off : -off);
}

static void decode_prepare(fc_problem *p) {
  fc_tensor *table = &p->tensor[FC_DECODE_TABLE], *lengths = &p->tensor[FC_DECODE_LENGTHS];
  int64_t wide = p->rows[0], pages = p->rows[1], next = 0;
  int64_t *page = fc_softmax_new((size_t)pages, sizeof *page);
  for (int64_t i = 0; i < pages; i++) { /* Fisher and Yates, from the inside out: a random permutation */
    int64_t j = (int64_t)(fc_fill_bits(p->seed, FC_DECODE_TABLE, (uint64_t)i) % (uint64_t)(i + 1));
    page[i] = page[j];
    page[j] = i;
  }
  for (int64_t i = 0; i < p->c.batch; i++) {
    int64_t used = pages_of(context_of(p, i));
    fc_tensor_set(lengths, (size_t)i, (double)context_of(p, i));
    for (int64_t j = 0; j < wide; j++) /* unused entries name a page too: they may be fetched */
      fc_tensor_set(table, (size_t)(i * wide + j), j < used ? (double)page[next++] : 0);
  }
  free(page);
}

static void decode_declare(fc_problem *p) {
  const fc_bench_case *c = &p->c;
  bool mla = c->op == FC_BENCH_MLA_DECODE;
  for (int64_t i = 0; i < c->batch; i++) {
    int64_t used = pages_of(context_of(p, i));
    p->rows[0] = used > p->rows[0] ? used : p->rows[0];
    p->rows[1] += used;
  }
  fc_elem x = fc_softmax_elem(p), cache = c->kv_dtype == FC_DTYPE_FP8 ? FC_ELEM_E4M3 : x;
  int64_t pages = p->rows[1], g = mla ? 1 : c->kv_heads;
  fc_problem_tensor(p, "q", x, FC_ROLE_INPUT, FC_FILL_NORMAL, 1, c->batch, c->q, c->heads, c->dk);
  fc_problem_tensor(p, "k_pages", cache, FC_ROLE_WEIGHT, FC_FILL_NORMAL, 1, pages, PAGE, g, c->dk);
  fc_problem_tensor(p, "v_pages", cache, FC_ROLE_WEIGHT, FC_FILL_NORMAL, 1, mla ? 0 : pages, mla ? 0 : PAGE,
                    mla ? 0 : g, mla ? 0 : c->dv);
  fc_problem_tensor(p, "o", x, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, c->batch, c->q, c->heads, c->dv);
  fc_problem_tensor(p, "lse", FC_ELEM_F32, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, c->batch, c->heads, c->q, 0);
  fc_problem_tensor(p, "table", FC_ELEM_I32, FC_ROLE_INPUT, FC_FILL_HOST, 0, c->batch, p->rows[0], 0, 0);
  fc_problem_tensor(p, "lengths", FC_ELEM_I32, FC_ROLE_INPUT, FC_FILL_HOST, 0, c->batch, 0, 0, 0);
}

/* --- reference; a unit: FC_SOFTMAX_ROWS queries of a head of a sequence --- */

static int64_t row_blocks(const fc_bench_case *c) {
  return (c->q + FC_SOFTMAX_ROWS - 1) / FC_SOFTMAX_ROWS;
}

static size_t decode_units(const fc_problem *p) {
  return (size_t)(p->c.batch * p->c.heads * row_blocks(&p->c));
}

static void decode_reference(const fc_problem *p, size_t unit, fc_expect *e) {
  const fc_bench_case *c = &p->c;
  bool mla = c->op == FC_BENCH_MLA_DECODE;
  int64_t h = c->heads, g = mla ? 1 : c->kv_heads, block = (int64_t)unit % row_blocks(c);
  int64_t head = (int64_t)unit / row_blocks(c) % h, b = (int64_t)unit / row_blocks(c) / h;
  int64_t s = fc_tensor_int(&p->tensor[FC_DECODE_LENGTHS], (size_t)b);
  int64_t *row = fc_softmax_new((size_t)s, sizeof *row);
  for (int64_t j = 0; j < s; j++) {
    int64_t page = fc_tensor_int(&p->tensor[FC_DECODE_TABLE], (size_t)(b * p->rows[0] + j / PAGE));
    row[j] = (page * PAGE + j % PAGE) * g + head / (h / g);
  }
  fc_softmax_keys keys = {.k = &p->tensor[FC_DECODE_K], .row = row, .dk = c->dk, .dv = c->dv};
  keys.v = mla ? keys.k : &p->tensor[FC_DECODE_V];
  keys.k_step = c->dk;
  keys.v_step = mla ? c->dk : c->dv; /* a value is the head of its key */
  fc_softmax_query query[FC_SOFTMAX_ROWS] = {0};
  int n = 0;
  for (int64_t i = block * FC_SOFTMAX_ROWS; i < c->q && n < FC_SOFTMAX_ROWS; i++, n++) {
    int64_t at = (b * c->q + i) * h + head;
    query[n] = (fc_softmax_query){.at = (size_t)(at * c->dk), .sees = s - c->q + i + 1};
    query[n].o_at = (size_t)(at * c->dv);
    query[n].lse_at = (size_t)((b * h + head) * c->q + i);
  }
  fc_softmax_reference(p, &keys, FC_DECODE_Q, FC_DECODE_O, FC_DECODE_LSE, query, n, e);
  free(row);
}

static void decode_cost(const fc_problem *p, fc_op *out) {
  const fc_bench_case *c = &p->c;
  double element = (double)fc_elem_size(p->tensor[FC_DECODE_K].elem);
  fc_softmax_cost(p, out);
  out->cache_bytes = element * (double)c->kv_heads * (double)(c->dk + c->dv);
  if (c->op != FC_BENCH_MLA_DECODE) return;
  out->kv_heads = 1;
  out->cache_bytes = element * (double)c->dk;
}

const fc_operator fc_decode_operators[] = {
    {FC_BENCH_ATTENTION_DECODE, false, decode_declare, decode_prepare, decode_units, decode_reference,
     decode_cost},
    {FC_BENCH_MLA_DECODE, false, decode_declare, decode_prepare, decode_units, decode_reference, decode_cost},
};
const size_t fc_decode_operators_n = sizeof fc_decode_operators / sizeof *fc_decode_operators;
