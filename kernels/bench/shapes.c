/* SPDX-License-Identifier: Apache-2.0 */
#include "shapes.h"

/* Sites of DeepSeek-V3's layers (design notes, kernels.md 1a, 1b), at the sizes of a grid. */

/* --- ceilings --- */

void fc_shapes_ceilings(fc_cases *list, const fc_grid *g) {
  static const fc_bench_op streams[] = {FC_BENCH_COPY, FC_BENCH_READ, FC_BENCH_WRITE};
  for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
    fc_cases_add(list,
                 (fc_bench_case){.op = streams[i], .site = "memory", .dtype = FC_DTYPE_FP32, .m = g->stream});
  for (size_t i = 0; i < 2; i++)
    fc_cases_add(list, (fc_bench_case){.op = streams[i],
                                       .site = "cache",
                                       .dtype = FC_DTYPE_FP32,
                                       .m = g->cached_stream,
                                       .in_cache = true});
  for (int sustained = 0; sustained < 2; sustained++) {
    fc_bench_case peak = {
        .op = FC_BENCH_GEMM, .site = "peak", .dtype = g->plain, .sustained = sustained == 1};
    peak.m = peak.n = peak.k = g->square;
    fc_cases_add(list, peak);
    peak.dtype = g->gemm;
    if (g->gemm != g->plain) fc_cases_add(list, peak);
  }
  for (int64_t graph = 0; graph < 2; graph++)
    fc_cases_add(list, (fc_bench_case){.op = FC_BENCH_LAUNCH,
                                       .site = graph ? "graph" : "queue",
                                       .dtype = FC_DTYPE_FP32,
                                       .k = graph});
}

/* --- dense --- */

typedef struct {
  const char *name;
  int64_t n, k;
} site;

enum { DENSE_SITES = 8, TRAINED_SITES = 6 };

static void dense_sites(site out[DENSE_SITES], const fc_dims *d) {
  const site all[DENSE_SITES] = {
      {"qkv_a", d->q_rank + d->kv_rank + d->rope, d->hidden},
      {"q_b", d->heads * (d->nope + d->rope), d->q_rank},
      {"kv_b", d->heads * (d->nope + d->v), d->kv_rank},
      {"o_proj", d->hidden, d->heads * d->v},
      {"shared_up", 2 * d->inter, d->hidden},
      {"shared_down", d->hidden, d->inter},
      {"dense_up", 2 * d->dense, d->hidden}, /* dense layers are 3 of 61: forward only */
      {"dense_down", d->hidden, d->dense},
  };
  for (int i = 0; i < DENSE_SITES; i++) out[i] = all[i];
}

static void gemm(fc_cases *list, const char *name, fc_dtype dtype, int64_t m, int64_t n, int64_t k) {
  fc_cases_add(list,
               (fc_bench_case){.op = FC_BENCH_GEMM, .site = name, .dtype = dtype, .m = m, .n = n, .k = k});
}

static void absorbed(fc_cases *list, const fc_grid *g, int64_t tokens) {
  const fc_dims *d = g->dims;
  fc_bench_case c = {
      .op = FC_BENCH_ABSORB_K, .dtype = g->plain, .batch = tokens, .q = 1, .s = 1, .heads = d->heads};
  c.n = d->kv_rank;
  c.k = d->nope;
  fc_cases_add(list, c);
  c.op = FC_BENCH_ABSORB_V;
  c.n = d->v;
  c.k = d->kv_rank;
  fc_cases_add(list, c);
}

static const char *const gradient_of[TRAINED_SITES] = {
    "qkv_a_dgrad", "q_b_dgrad", "kv_b_dgrad", "o_proj_dgrad", "shared_up_dgrad", "shared_down_dgrad"};

/* Gradients of a product [rows, n, k]: the input's, which swaps n and k, and the weight's. */
static void gradients(fc_cases *list, const char *input, const char *weight, fc_dtype dtype, int64_t rows,
                      int64_t n, int64_t k) {
  gemm(list, input, dtype, rows, k, n);
  fc_cases_add(
      list,
      (fc_bench_case){.op = FC_BENCH_GEMM_WGRAD, .site = weight, .dtype = dtype, .m = n, .n = k, .k = rows});
}

void fc_shapes_dense(fc_cases *list, const fc_grid *g) {
  const fc_dims *d = g->dims;
  site s[DENSE_SITES];
  dense_sites(s, d);
  for (int i = 0; i < DENSE_SITES; i++) {
    bool often = i == 0 || (i % 2 == 1 && i < TRAINED_SITES); /* qkv_a, q_b, o_proj, shared_down */
    if (g->quick && !often) continue;
    for (size_t j = 0; j < g->rows.n; j++) gemm(list, s[i].name, g->gemm, g->rows.item[j], s[i].n, s[i].k);
    bool one_past = (i == 3 || i == 4) && !g->quick;
    for (size_t j = 0; one_past && j < g->odd_rows.n; j++)
      gemm(list, s[i].name, g->gemm, g->odd_rows.item[j], s[i].n, s[i].k);
    for (size_t j = 0; i < TRAINED_SITES && j < g->train_rows.n; j++)
      gradients(list, gradient_of[i], s[i].name, g->gemm, g->train_rows.item[j], s[i].n, s[i].k);
  }
  for (size_t j = 0; j < g->rows.n; j++) gemm(list, "gate", g->plain, g->rows.item[j], d->experts, d->hidden);
  for (size_t j = 0; !g->quick && j < g->train_rows.n; j++)
    gradients(list, "gate_dgrad", "gate", g->plain, g->train_rows.item[j], d->experts, d->hidden);
  for (size_t j = 0; j < g->rows.n; j++)
    gemm(list, "square", g->plain, g->rows.item[j], g->square, g->square);
  for (size_t j = 0; j < g->head_rows.n; j++)
    gemm(list, "lm_head", g->plain, g->head_rows.item[j], d->vocab, d->hidden);
  if (!g->quick)
    gradients(list, "lm_head_dgrad", "lm_head", g->plain, g->train_rows.item[0], d->vocab, d->hidden);
  for (size_t j = 0; j < g->absorb_rows.n; j++) absorbed(list, g, g->absorb_rows.item[j]);
}

/* --- grouped --- */

typedef struct {
  fc_routing routing;
  double skew;
} spread;

/* Uniformly random, the two exponents that aiconfigurator
 * measures (design notes, kernels.md 6), a captured load. */
static const spread spreads[] = {
    {FC_ROUTING_POWER, 0}, {FC_ROUTING_POWER, 1.01}, {FC_ROUTING_POWER, 1.2}, {FC_ROUTING_CAPTURED, 0}};

static void skewed(fc_cases *list, const fc_grid *g, fc_bench_case *c, int64_t rows) {
  c->groups = g->skew_groups;
  c->m = rows;
  for (size_t i = 0; i < sizeof spreads / sizeof *spreads; i++) {
    if (g->quick && i != 0 && i != 2) continue;
    c->routing = spreads[i].routing;
    c->skew = spreads[i].skew;
    fc_cases_add(list, *c);
  }
}

static void contiguous(fc_cases *list, const fc_grid *g, const site *s) {
  fc_bench_case c = {.op = FC_BENCH_GROUPED, .site = s->name, .dtype = g->gemm, .n = s->n, .k = s->k};
  for (size_t i = 0; i < g->groups.n; i++)
    for (size_t j = 0; j < g->group_rows.n; j++) {
      c.groups = g->groups.item[i];
      c.m = c.groups * g->group_rows.item[j];
      if (c.m <= g->most_group_rows) fc_cases_add(list, c);
    }
  if (c.m > 0 && !g->quick) { /* the largest, as a training step runs it: back to back */
    c.groups = g->groups.item[g->groups.n / 2];
    c.m = g->most_group_rows;
    c.sustained = true;
    fc_cases_add(list, c);
    c.sustained = false;
  }
  skewed(list, g, &c, g->skew_rows);
}

static void masked(fc_cases *list, const fc_grid *g, const site *s) {
  fc_bench_case c = {.op = FC_BENCH_GROUPED_MASKED, .site = s->name, .dtype = g->gemm, .n = s->n, .k = s->k};
  for (size_t i = 0; i < g->masked_groups.n; i++)
    for (size_t j = 0; j < g->masked_rows.n; j++) {
      c.groups = g->masked_groups.item[i];
      c.m = c.groups * g->masked_rows.item[j];
      c.max_rows = g->masked_rows.item[j] < 128 ? 128 : g->masked_rows.item[j];
      if (c.m <= g->most_masked_rows) fc_cases_add(list, c);
    }
  c.max_rows = g->most_masked_rows / 4; /* room for the worst draw */
  skewed(list, g, &c, c.max_rows);
}

void fc_shapes_grouped(fc_cases *list, const fc_grid *g) {
  const fc_dims *d = g->dims;
  const site sites[] = {{"up", 2 * d->inter, d->hidden}, {"down", d->hidden, d->inter}};
  for (size_t i = 0; i < sizeof sites / sizeof *sites; i++) {
    contiguous(list, g, &sites[i]);
    masked(list, g, &sites[i]);
    for (size_t j = 0; j < g->wgrad_groups.n; j++)
      for (size_t l = 0; l < g->group_rows.n; l++) {
        fc_bench_case c = {.op = FC_BENCH_GROUPED_WGRAD, .site = sites[i].name, .dtype = g->gemm};
        c.m = sites[i].n;
        c.n = sites[i].k;
        c.groups = g->wgrad_groups.item[j];
        c.k = c.groups * g->group_rows.item[l];
        if (c.k <= g->most_group_rows) fc_cases_add(list, c);
      }
  }
}

/* --- attention --- */

static void prefill(fc_cases *list, const fc_grid *g, bool mla, int64_t q, int64_t s, bool backward) {
  const fc_dims *d = g->dims;
  fc_bench_case c = {.dtype = g->plain, .kv_dtype = g->plain, .batch = 1, .q = q, .s = s};
  c.heads = mla ? d->heads : d->gqa_heads;
  c.kv_heads = mla ? d->heads : d->gqa_kv_heads;
  c.dk = mla ? d->nope + d->rope : d->gqa_dim;
  c.dv = mla ? d->v : d->gqa_dim;
  c.op = mla ? FC_BENCH_MLA_PREFILL : FC_BENCH_ATTENTION_PREFILL;
  if (backward) c.op = mla ? FC_BENCH_MLA_BACKWARD : FC_BENCH_ATTENTION_BACKWARD;
  fc_cases_add(list, c);
  c.sustained =
      !g->quick && q == s && q == (backward ? g->backward : g->prefill).item[1]; /* a middle length */
  if (c.sustained) fc_cases_add(list, c);
}

static void decode(fc_cases *list, const fc_grid *g, bool mla, int64_t batch, int64_t context, int64_t q,
                   bool ragged) {
  const fc_dims *d = g->dims;
  fc_bench_case c = {
      .dtype = g->plain, .kv_dtype = g->plain, .batch = batch, .q = q, .s = context, .ragged = ragged};
  c.op = mla ? FC_BENCH_MLA_DECODE : FC_BENCH_ATTENTION_DECODE;
  c.heads = mla ? d->heads : d->gqa_heads;
  c.kv_heads = mla ? 1 : d->gqa_kv_heads;
  c.dk = mla ? d->kv_rank + d->rope : d->gqa_dim;
  c.dv = mla ? d->kv_rank : d->gqa_dim;
  fc_cases_add(list, c);
}

void fc_shapes_attention(fc_cases *list, const fc_grid *g) {
  for (int mla = 0; mla < 2; mla++) {
    for (size_t i = 0; i < g->prefill.n; i++)
      prefill(list, g, mla, g->prefill.item[i], g->prefill.item[i], false);
    int64_t longest = g->prefill.item[g->prefill.n - 1];
    for (int64_t part = 2; part <= 8; part *= 2)
      prefill(list, g, mla, longest / part, longest, false); /* chunks */
    for (size_t i = 0; i < g->backward.n; i++)
      prefill(list, g, mla, g->backward.item[i], g->backward.item[i], true);
    for (size_t i = 0; i < g->decode_batch.n; i++)
      for (size_t j = 0; j < g->decode_context.n; j++) {
        int64_t batch = g->decode_batch.item[i], context = g->decode_context.item[j];
        if (batch * context <= g->most_cached) decode(list, g, mla, batch, context, 1, false);
      }
    int64_t batch = g->decode_batch.item[g->decode_batch.n / 2],
            context = g->decode_context.item[g->quick ? 0 : 1];
    decode(list, g, mla, batch, context, 1, true);
    if (!g->quick) decode(list, g, mla, batch, context, 2, false);
  }
}

/* --- row-wise --- */

static void rowwise(fc_cases *list, fc_bench_op op, const char *name, int64_t m, int64_t n) {
  fc_cases_add(list, (fc_bench_case){.op = op, .site = name, .dtype = FC_DTYPE_FP8, .m = m, .n = n});
}

static void rope(fc_cases *list, const fc_grid *g, int64_t tokens) {
  const fc_dims *d = g->dims;
  fc_bench_case c = {.op = FC_BENCH_ROPE_KV, .dtype = FC_DTYPE_BF16, .kv_dtype = FC_DTYPE_BF16, .m = tokens};
  c.heads = d->heads;
  c.dk = d->rope;
  c.dv = d->kv_rank;
  fc_cases_add(list, c);
  c.op = FC_BENCH_ROPE_B;
  c.heads = d->heads + 1;
  c.dv = 0;
  fc_cases_add(list, c);
}

void fc_shapes_rows(fc_cases *list, const fc_grid *g) {
  const fc_dims *d = g->dims;
  for (size_t i = 0; i < g->tokens.n; i++) {
    int64_t t = g->tokens.item[i];
    fc_cases_add(
        list,
        (fc_bench_case){.op = FC_BENCH_EMBED, .dtype = FC_DTYPE_BF16, .m = t, .n = d->hidden, .k = d->vocab});
    rowwise(list, FC_BENCH_NORM, "q_norm", t, d->q_rank);
    if (!g->quick) rowwise(list, FC_BENCH_NORM, "kv_norm", t, d->kv_rank);
    rowwise(list, FC_BENCH_NORM, "hidden", t, d->hidden);
    rowwise(list, FC_BENCH_NORM_RESIDUAL, "hidden", t, d->hidden);
    rowwise(list, FC_BENCH_NORM_B, "hidden", t, d->hidden);
    if (!g->quick) rowwise(list, FC_BENCH_NORM_B, "q_norm", t, d->q_rank);
    rowwise(list, FC_BENCH_QUANT, "hidden", t, d->hidden);
    rowwise(list, FC_BENCH_QUANT_TRANSPOSED, "hidden", t, d->hidden);
    rowwise(list, FC_BENCH_SWIGLU, "inter", t, d->inter);
    rowwise(list, FC_BENCH_SWIGLU_B, "inter", t, d->inter);
    rope(list, g, t);
  }
  rowwise(list, FC_BENCH_QUANT_WEIGHT, "up", 2 * d->inter, d->hidden);
  if (!g->quick) rowwise(list, FC_BENCH_QUANT_WEIGHT, "down", d->hidden, d->inter);
  rowwise(list, FC_BENCH_QUANT_WEIGHT, "o_proj", d->hidden, d->heads * d->v);
  for (size_t i = 0; i < g->sample_rows.n; i++) {
    fc_bench_case c = {.op = FC_BENCH_CROSS_ENTROPY, .dtype = FC_DTYPE_BF16, .n = d->vocab};
    c.m = 4 * g->sample_rows.item[i];
    fc_cases_add(list, c);
    c.op = FC_BENCH_SAMPLE;
    c.dtype = FC_DTYPE_FP32;
    c.m = g->sample_rows.item[i];
    fc_cases_add(list, c);
  }
  for (size_t i = 0; i < g->parameters.n; i++) {
    fc_bench_case c = {.op = FC_BENCH_ADAMW, .dtype = FC_DTYPE_BF16, .m = g->parameters.item[i]};
    fc_cases_add(list, c);
    c.dtype = FC_DTYPE_FP32;
    fc_cases_add(list, c);
    c.op = FC_BENCH_GRAD_NORM;
    fc_cases_add(list, c);
  }
}

/* --- routing --- */

void fc_shapes_routing(fc_cases *list, const fc_grid *g) {
  const fc_dims *d = g->dims;
  static const fc_bench_op moves[] = {FC_BENCH_PERMUTE, FC_BENCH_PERMUTE_B, FC_BENCH_COMBINE,
                                      FC_BENCH_COMBINE_B};
  for (size_t i = 0; i < g->tokens.n; i++) {
    int64_t t = g->tokens.item[i];
    fc_bench_case c = {
        .op = FC_BENCH_TOPK, .dtype = FC_DTYPE_FP32, .m = t, .n = d->experts, .top_k = d->top_k};
    c.experts = d->experts;
    c.route_groups = d->groups;
    c.route_top = d->top_groups;
    fc_cases_add(list, c);
    c.op = FC_BENCH_TOPK_B;
    fc_cases_add(list, c);
    for (size_t j = 0; j < sizeof moves / sizeof *moves; j++) {
      fc_bench_case x = {.op = moves[j], .dtype = FC_DTYPE_FP8, .k = t, .m = t * d->top_k, .n = d->hidden};
      if (moves[j] != FC_BENCH_PERMUTE) x.dtype = FC_DTYPE_BF16;
      x.groups = d->experts;
      x.top_k = d->top_k;
      if (t * d->top_k > 2 * g->most_group_rows) continue;
      fc_cases_add(list, x);
      if (i != g->tokens.n / 2 || g->quick) continue;
      x.routing = FC_ROUTING_POWER;
      x.skew = 1.2;
      fc_cases_add(list, x);
    }
  }
}
