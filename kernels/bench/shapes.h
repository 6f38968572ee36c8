/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BENCH_SHAPES_H
#define FC_BENCH_SHAPES_H

#include "cases.h"

/** How a model's dimensions and a grid of sizes become cases; private to the case table. */

/** Widths of a model, in the words of its config.json (cases.c). */
typedef struct fc_dims {
  int64_t hidden, inter, dense, q_rank, kv_rank, heads, nope, rope, v;
  int64_t experts, top_k, groups, top_groups, vocab;
  int64_t gqa_heads, gqa_kv_heads, gqa_dim;
} fc_dims;

typedef struct fc_list {
  size_t n;
  int64_t item[16];
} fc_list;

/** Sizes of a scale.  Lists of rows are tokens. */
typedef struct fc_grid {
  const fc_dims *dims;
  fc_dtype gemm, plain; /* formats of linear layers; of what stays in a wider one */
  bool quick;
  fc_list rows, odd_rows; /* dense products; one past a tile, at two sites */
  fc_list train_rows, head_rows, absorb_rows;
  fc_list groups, group_rows; /* contiguous: experts, rows each; not beyond most_group_rows in all */
  int64_t most_group_rows;
  fc_list masked_groups, masked_rows;
  int64_t most_masked_rows;
  int64_t skew_groups, skew_rows;
  fc_list wgrad_groups;
  fc_list prefill, backward;            /* sequence lengths */
  fc_list decode_batch, decode_context; /* not beyond most_cached tokens in all */
  int64_t most_cached;
  fc_list tokens; /* row-wise operators */
  fc_list sample_rows, parameters;
  int64_t stream, cached_stream, square; /* elements of ceilings, size of the square product */
} fc_grid;

const fc_grid *fc_grid_of(fc_bench_scale scale);

void fc_cases_add(fc_cases *list, fc_bench_case c);
void fc_shapes_tiny(fc_cases *list);
void fc_shapes_ceilings(fc_cases *list, const fc_grid *g);
void fc_shapes_dense(fc_cases *list, const fc_grid *g);
void fc_shapes_grouped(fc_cases *list, const fc_grid *g);
void fc_shapes_attention(fc_cases *list, const fc_grid *g);
void fc_shapes_rows(fc_cases *list, const fc_grid *g);
void fc_shapes_routing(fc_cases *list, const fc_grid *g);

#endif
