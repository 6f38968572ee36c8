/* SPDX-License-Identifier: Apache-2.0 */
#include "shapes.h"

/* Odd shapes, every operator, every format: what a kernel must get
 * right before anything is timed.  Small enough for the emulator. */

static const fc_dtype formats[] = {FC_DTYPE_FP32, FC_DTYPE_BF16, FC_DTYPE_FP8};

static void products(fc_cases *list, fc_dtype dtype) {
  static const int64_t shape[][3] = {{1, 256, 128},   {3, 136, 256},  {65, 264, 384},
                                     {130, 128, 640}, {68, 264, 400}, {132, 392, 256}};
  for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
    fc_bench_case c = {
        .op = FC_BENCH_GEMM, .dtype = dtype, .m = shape[i][0], .n = shape[i][1], .k = shape[i][2]};
    fc_cases_add(list, c);
    /* weight gradient: tokens are the inner size */
    c = (fc_bench_case){
        .op = FC_BENCH_GEMM_WGRAD, .dtype = dtype, .m = 128 * (1 + (int64_t)i % 2), .n = shape[i][1]};
    c.k = 128 * ((shape[i][0] + 127) / 128);
    fc_cases_add(list, c);
  }
}

/* Rows of the experts at the ends: none for most of them, and exactly a tile, a full slab. */
static void grouped_ends(fc_cases *list, fc_dtype dtype) {
  for (int full = 0; full < 2; full++) {
    fc_bench_case c = {.dtype = dtype, .groups = full ? 2 : 8, .n = 256, .k = 128};
    c.op = FC_BENCH_GROUPED;
    c.m = full ? 256 : 3;
    fc_cases_add(list, c);
    c.op = FC_BENCH_GROUPED_MASKED;
    c.max_rows = 128;
    fc_cases_add(list, c);
    c.op = FC_BENCH_GROUPED_WGRAD;
    c.max_rows = 0;
    c.k = c.m;
    c.m = 128;
    fc_cases_add(list, c);
  }
}

static void grouped(fc_cases *list, fc_dtype dtype) {
  static const fc_routing routing[] = {FC_ROUTING_BALANCED, FC_ROUTING_POWER, FC_ROUTING_CAPTURED};
  for (size_t i = 0; i < sizeof routing / sizeof *routing; i++) {
    fc_bench_case c = {
        .dtype = dtype, .groups = 3 + (int64_t)i, .n = 256, .k = 384, .routing = routing[i], .skew = 1.2};
    c.op = FC_BENCH_GROUPED;
    c.m = 150 + 100 * (int64_t)i;
    fc_cases_add(list, c);
    c.op = FC_BENCH_GROUPED_MASKED;
    c.m = 20 + 100 * (int64_t)i;
    c.max_rows = 320;
    fc_cases_add(list, c);
    c.op = FC_BENCH_GROUPED_WGRAD;
    c.max_rows = 0;
    c.m = 128;
    c.k = 100 + 128 * (int64_t)i;
    fc_cases_add(list, c);
  }
}

static void attention(fc_cases *list, fc_dtype dtype) {
  /* batch, heads, kv heads, q, s; the last: several tiles of keys, and of queries, on every backend */
  static const int64_t shape[][5] = {
      {2, 4, 4, 64, 64}, {1, 4, 2, 33, 100}, {1, 2, 1, 1, 65}, {1, 8, 8, 130, 130}, {1, 4, 1, 70, 300}};
  for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
    fc_bench_case c = {.dtype = dtype, .kv_dtype = dtype, .batch = shape[i][0], .heads = shape[i][1]};
    c.kv_heads = shape[i][2];
    c.q = shape[i][3];
    c.s = shape[i][4];
    c.dk = c.dv = 128;
    c.op = FC_BENCH_ATTENTION_PREFILL;
    fc_cases_add(list, c);
    c.op = FC_BENCH_ATTENTION_BACKWARD;
    fc_cases_add(list, c);
    c.kv_heads = c.heads;
    c.dk = 192;
    c.op = FC_BENCH_MLA_PREFILL;
    fc_cases_add(list, c);
    c.op = FC_BENCH_MLA_BACKWARD;
    fc_cases_add(list, c);
  }
}

static void decode(fc_cases *list, fc_dtype dtype) {
  /* batch, heads, kv heads, q, s, ragged */
  static const int64_t shape[][6] = {{3, 16, 2, 1, 130, 1},   {1, 8, 8, 2, 64, 0}, {2, 64, 8, 1, 33, 0},
                                     {4, 128, 16, 2, 200, 1}, {1, 8, 2, 1, 1, 0},  {1, 16, 4, 1, 1100, 0}};
  for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
    fc_bench_case c = {.dtype = dtype, .kv_dtype = dtype, .batch = shape[i][0], .heads = shape[i][1]};
    c.kv_heads = shape[i][2];
    c.q = shape[i][3];
    c.s = shape[i][4];
    c.ragged = shape[i][5] != 0;
    c.dk = c.dv = 128;
    c.op = FC_BENCH_ATTENTION_DECODE;
    fc_cases_add(list, c);
    c.op = FC_BENCH_MLA_DECODE;
    c.kv_heads = 1;
    c.dk = 576;
    c.dv = 512;
    fc_cases_add(list, c);
    c.op = FC_BENCH_ABSORB_K;
    c.n = 512;
    c.k = 128;
    fc_cases_add(list, c);
    c.op = FC_BENCH_ABSORB_V;
    c.n = 128;
    c.k = 512;
    fc_cases_add(list, c);
  }
}

/* 8-bit caches beside wider queries. */
static void decode_narrow(fc_cases *list, fc_dtype dtype) {
  fc_bench_case c = {
      .op = FC_BENCH_ATTENTION_DECODE, .dtype = dtype, .kv_dtype = FC_DTYPE_FP8, .ragged = true};
  c.batch = 2;
  c.heads = 8;
  c.kv_heads = 2;
  c.q = 2;
  c.s = 150;
  c.dk = c.dv = 128;
  fc_cases_add(list, c);
  c.op = FC_BENCH_MLA_DECODE;
  c.kv_heads = 1;
  c.dk = 576;
  c.dv = 512;
  fc_cases_add(list, c);
}

static void rowwise(fc_cases *list) {
  static const fc_bench_op ops[] = {FC_BENCH_NORM,   FC_BENCH_NORM_RESIDUAL,    FC_BENCH_NORM_B,
                                    FC_BENCH_QUANT,  FC_BENCH_QUANT_TRANSPOSED, FC_BENCH_QUANT_WEIGHT,
                                    FC_BENCH_SWIGLU, FC_BENCH_SWIGLU_B};
  static const int64_t shape[][2] = {{1, 128}, {5, 512}, {130, 1536}, {67, 200}, {3, 7168}};
  for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
    for (size_t j = 0; j < sizeof shape / sizeof *shape; j++)
      fc_cases_add(list,
                   (fc_bench_case){.op = ops[i], .dtype = FC_DTYPE_FP8, .m = shape[j][0], .n = shape[j][1]});
  for (size_t j = 0; j < sizeof shape / sizeof *shape; j++) {
    fc_bench_case c = {
        .op = FC_BENCH_EMBED, .dtype = FC_DTYPE_BF16, .m = shape[j][0], .n = shape[j][1], .k = 50};
    fc_cases_add(list, c);
    c = (fc_bench_case){
        .op = FC_BENCH_ROPE_KV, .dtype = FC_DTYPE_BF16, .kv_dtype = FC_DTYPE_BF16, .m = shape[j][0]};
    c.heads = 1 + 3 * (int64_t)j;
    c.dk = j % 2 ? 64 : 8;
    c.dv = j % 2 ? 512 : 64;
    fc_cases_add(list, c);
    c.op = FC_BENCH_ROPE_B;
    c.dv = 0;
    fc_cases_add(list, c);
    c = (fc_bench_case){
        .op = FC_BENCH_CROSS_ENTROPY, .dtype = FC_DTYPE_BF16, .m = shape[j][0], .n = 37 * shape[j][1]};
    if (c.m < 100) fc_cases_add(list, c);
    c = (fc_bench_case){.op = FC_BENCH_ADAMW, .dtype = j % 2 ? FC_DTYPE_BF16 : FC_DTYPE_FP32};
    c.m = shape[j][0] * shape[j][1] + (int64_t)j;
    fc_cases_add(list, c);
    c.op = FC_BENCH_GRAD_NORM;
    c.dtype = FC_DTYPE_FP32;
    fc_cases_add(list, c);
  }
}

static void routing(fc_cases *list) {
  /* tokens, experts, k, groups of experts, groups allowed, hidden */
  static const int64_t shape[][6] = {
      {1, 32, 4, 8, 4, 128}, {33, 256, 8, 8, 4, 256}, {70, 64, 6, 0, 0, 384}, {130, 32, 4, 4, 2, 896}};
  static const fc_bench_op moves[] = {FC_BENCH_PERMUTE, FC_BENCH_PERMUTE_B, FC_BENCH_COMBINE,
                                      FC_BENCH_COMBINE_B};
  for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
    fc_bench_case c = {.op = FC_BENCH_TOPK, .dtype = FC_DTYPE_FP32, .m = shape[i][0], .n = shape[i][1]};
    c.experts = c.n;
    c.top_k = shape[i][2];
    c.route_groups = shape[i][3];
    c.route_top = shape[i][4];
    fc_cases_add(list, c);
    c.op = FC_BENCH_TOPK_B;
    fc_cases_add(list, c);
    for (size_t j = 0; j < sizeof moves / sizeof *moves; j++) {
      fc_bench_case x = {.op = moves[j], .k = shape[i][0], .n = shape[i][5], .top_k = shape[i][2]};
      x.dtype = moves[j] == FC_BENCH_PERMUTE ? FC_DTYPE_FP8 : FC_DTYPE_BF16;
      x.groups = shape[i][1] / (1 + (int64_t)i % 2);
      x.m = i % 2 ? (x.k * x.top_k + 1) / 2 : x.k * x.top_k; /* all pairs here, or half of them */
      x.routing = i == 3 ? FC_ROUTING_CAPTURED : (i == 2 ? FC_ROUTING_POWER : FC_ROUTING_BALANCED);
      x.skew = 1.01;
      fc_cases_add(list, x);
    }
  }
  static const int64_t rows[][2] = {{1, 100}, {3, 1000}, {5, 20011}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    fc_cases_add(list, (fc_bench_case){
                           .op = FC_BENCH_SAMPLE, .dtype = FC_DTYPE_FP32, .m = rows[i][0], .n = rows[i][1]});
}

void fc_shapes_tiny(fc_cases *list) {
  for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
    products(list, formats[i]);
    grouped(list, formats[i]);
    grouped_ends(list, formats[i]);
    if (formats[i] == FC_DTYPE_FP8) continue;
    attention(list, formats[i]);
    decode(list, formats[i]);
    decode_narrow(list, formats[i]);
  }
  rowwise(list);
  routing(list);
  static const fc_bench_op streams[] = {FC_BENCH_COPY, FC_BENCH_READ, FC_BENCH_WRITE};
  for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
    fc_cases_add(list, (fc_bench_case){.op = streams[i], .dtype = FC_DTYPE_FP32, .m = 100003});
  fc_cases_add(list, (fc_bench_case){.op = FC_BENCH_LAUNCH, .dtype = FC_DTYPE_FP32});
}
