/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_NVIDIA_CUDNN_ATTENTION_GRAPH_H
#define FC_NVIDIA_CUDNN_ATTENTION_GRAPH_H

#include "cudnn_graph.h"

#if defined(FC_HAVE_CUDNN)

/** Attention as graphs of cuDNN operations, bf16 with binary32
 *  inside, causal: query i of q sees keys 0 .. s-q+i.
 *
 *  cuDNN recognises these patterns and runs them as one kernel (backward: three).  cuDNN 9.19's single-node
 *  attention takes no causal mask (9.21's does), hence the composite.
 *  @source the form of the patterns (which operation feeds which, tensors that must not be virtual, the
 *    mask's order: row + s - q >= column) is what cudnn-frontend emits below 9.21: NVIDIA/cudnn-frontend,
 *    scaled_dot_product_flash_attention.h, softmax.h, diagonal_band_mask.h, MIT licence; restated here for C.
 *
 *  Letters as in operators.h: b sequences, h query heads, g key heads, q queries, s keys, dk, dv. */
typedef struct fc_dnn_attention {
  int64_t b, h, g, q, s, dk, dv;
  /* paged keys and values: pages of 64 tokens in the pool, pages of the longest sequence; 0: contiguous. Then
   * s is not used: lengths come from the device */
  int64_t pages, max_pages;
  bool shared; /* values are the first dv elements of the keys (absorbed MLA) */
} fc_dnn_attention;

enum { FC_DNN_PAGE = 64 };

/** Tensors of a graph to bind; 0: not in this graph. */
typedef struct fc_dnn_attention_tensors {
  int q, k, v, o, lse;
  int d_o, dq, dk, dv;        /* backward */
  int dq_sum, row_sum;        /* backward's work: f32 [b,h,q,dk] and [b,h,q] */
  int table, lengths, q_each; /* paged: i32 [b,max_pages], [b], and [b] filled with q */
} fc_dnn_attention_tensors;

/** o = softmax(scale q k^T) v and lse = ln sum exp.  Contiguous or paged. */
fc_dnn_attention_tensors fc_dnn_attention_forward(fc_dnn_graph *graph, const fc_dnn_attention *a);

/** dq, dk, dv from q, k, v, o, lse, do.  Contiguous.  The
 *  order of sums into dq is not fixed (no determinism). */
fc_dnn_attention_tensors fc_dnn_attention_backward(fc_dnn_graph *graph, const fc_dnn_attention *a);

#endif
#endif
