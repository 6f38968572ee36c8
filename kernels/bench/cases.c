/* SPDX-License-Identifier: Apache-2.0 */
#include "cases.h"

#include <stdlib.h>

#include "shapes.h"

/* --- the list --- */

void fc_cases_add(fc_cases *list, fc_bench_case c) {
  if (list->n == list->capacity) {
    size_t capacity = list->capacity ? 2 * list->capacity : 256;
    fc_bench_case *item = realloc(list->item, capacity * sizeof *item);
    if (!item) {
      list->out_of_memory = true;
      return;
    }
    list->item = item;
    list->capacity = capacity;
  }
  list->item[list->n++] = c;
}

void fc_cases_free(fc_cases *cases) {
  free(cases->item);
  *cases = (fc_cases){0};
}

/* --- models --- */

/* DeepSeek-V3's config.json: hidden_size 7168, moe_intermediate_size 2048, intermediate_size 18432,
 * q_lora_rank 1536, kv_lora_rank 512, num_attention_heads 128, qk_nope_head_dim 128, qk_rope_head_dim 64,
 * v_head_dim 128, n_routed_experts 256, num_experts_per_tok 8, n_group 8, topk_group 4, vocab_size 129280.
 * The GQA heads are those of Llama-3.1-70B (64, 8 of keys and values, 128 wide). */
static const fc_dims v3 = {.hidden = 7168,
                           .inter = 2048,
                           .dense = 18432,
                           .q_rank = 1536,
                           .kv_rank = 512,
                           .heads = 128,
                           .nope = 128,
                           .rope = 64,
                           .v = 128,
                           .experts = 256,
                           .top_k = 8,
                           .groups = 8,
                           .top_groups = 4,
                           .vocab = 129280,
                           .gqa_heads = 64,
                           .gqa_kv_heads = 8,
                           .gqa_dim = 128};
/* an eighth of every width; E and k shrink together, so that tokens an expert keep their ratio */
static const fc_dims eighth = {.hidden = 896,
                               .inter = 256,
                               .dense = 2304,
                               .q_rank = 192,
                               .kv_rank = 64,
                               .heads = 16,
                               .nope = 16,
                               .rope = 8,
                               .v = 16,
                               .experts = 32,
                               .top_k = 4,
                               .groups = 8,
                               .top_groups = 4,
                               .vocab = 16160,
                               .gqa_heads = 8,
                               .gqa_kv_heads = 2,
                               .gqa_dim = 64};

#define LIST(...)                                                                                            \
  {                                                                                                          \
    .n = sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t), .item = { __VA_ARGS__ }                   \
  }

static const fc_grid gpu_grid = {
    .dims = &v3,
    .gemm = FC_DTYPE_FP8,
    .plain = FC_DTYPE_BF16,
    .rows = LIST(16, 64, 128, 256, 512, 1024, 2048, 4096, 16384),
    .odd_rows = LIST(68, 132, 260, 516, 1028), /* fp8 scales come in fours */
    .train_rows = LIST(1024, 4096, 16384),
    .head_rows = LIST(1, 16, 64, 256, 1024),
    .absorb_rows = LIST(1, 16, 64, 128, 256, 512),
    .groups = LIST(1, 4, 8, 32),
    .group_rows = LIST(128, 512, 2048, 8192),
    .most_group_rows = 32768,
    .masked_groups = LIST(1, 2, 4, 8, 16, 32),
    .masked_rows = LIST(4, 16, 64, 128, 256, 1024),
    .most_masked_rows = 4096,
    .skew_groups = 16,
    .skew_rows = 16384,
    .wgrad_groups = LIST(4, 8),
    .prefill = LIST(1024, 2048, 4096, 8192, 16384),
    .backward = LIST(1024, 2048, 4096, 8192),
    .decode_batch = LIST(1, 8, 32, 64, 128, 256),
    .decode_context = LIST(1024, 4096, 16384, 65536),
    .most_cached = 1048576,
    .tokens = LIST(128, 512, 2048, 8192, 32768),
    .sample_rows = LIST(1, 16, 64, 256),
    .parameters = LIST(1 << 20, 1 << 24, 1 << 28),
    .stream = 1 << 28,
    .cached_stream = 1 << 22,
    .square = 8192,
};

static const fc_grid cpu_grid = {
    .dims = &eighth,
    .gemm = FC_DTYPE_FP32,
    .plain = FC_DTYPE_FP32,
    .rows = LIST(1, 16, 64, 256, 1024),
    .odd_rows = LIST(65, 257),
    .train_rows = LIST(256, 1024),
    .head_rows = LIST(1, 16, 64),
    .absorb_rows = LIST(1, 16, 64, 256),
    .groups = LIST(1, 4, 8),
    .group_rows = LIST(16, 64, 256),
    .most_group_rows = 1024,
    .masked_groups = LIST(1, 4, 8, 32),
    .masked_rows = LIST(1, 4, 16, 64),
    .most_masked_rows = 256,
    .skew_groups = 16,
    .skew_rows = 512,
    .wgrad_groups = LIST(4),
    .prefill = LIST(64, 256, 1024),
    .backward = LIST(64, 256),
    .decode_batch = LIST(1, 8, 32),
    .decode_context = LIST(128, 1024, 8192),
    .most_cached = 65536,
    .tokens = LIST(16, 128, 1024),
    .sample_rows = LIST(1, 16, 64),
    .parameters = LIST(1 << 16, 1 << 20, 1 << 22),
    .stream = 1 << 24,
    .cached_stream = 1 << 17,
    .square = 768,
};

/* `most` of a list, evenly, first and last included. */
static fc_list thinned(fc_list l, size_t most) {
  if (l.n <= most) return l;
  fc_list out = {.n = most};
  for (size_t i = 0; i < most; i++) out.item[i] = l.item[i * (l.n - 1) / (most - 1)];
  return out;
}

/* Quick: three sizes of a dense product, two of the rest; the pruning limits stay. */
static fc_grid thinned_grid(fc_grid g) {
  fc_list *const three[] = {&g.rows, &g.prefill, NULL};
  fc_list *const two[] = {
      &g.train_rows,     &g.head_rows,     &g.absorb_rows,  &g.groups,     &g.group_rows,
      &g.masked_rows,    &g.masked_groups, &g.wgrad_groups, &g.backward,   &g.decode_batch,
      &g.decode_context, &g.tokens,        &g.sample_rows,  &g.parameters, NULL};
  for (fc_list *const *l = three; *l; l++) **l = thinned(**l, 3);
  for (fc_list *const *l = two; *l; l++) **l = thinned(**l, 2);
  g.quick = true;
  return g;
}

const fc_grid *fc_grid_of(fc_bench_scale scale) {
  return scale == FC_SCALE_GPU ? &gpu_grid : &cpu_grid;
}

fc_status fc_cases_build(fc_cases *out, fc_bench_scale scale, bool quick) {
  *out = (fc_cases){0};
  if (scale == FC_SCALE_TINY) {
    fc_shapes_tiny(out);
  } else {
    fc_grid g = *fc_grid_of(scale);
    if (quick) g = thinned_grid(g);
    fc_shapes_ceilings(out, &g);
    fc_shapes_dense(out, &g);
    fc_shapes_grouped(out, &g);
    fc_shapes_attention(out, &g);
    fc_shapes_rows(out, &g);
    fc_shapes_routing(out, &g);
  }
  if (!out->out_of_memory) return FC_OK;
  fc_cases_free(out);
  return FC_E_NOMEM;
}
