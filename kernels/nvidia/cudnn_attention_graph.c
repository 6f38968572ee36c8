/* SPDX-License-Identifier: Apache-2.0 */
#include "cudnn_attention_graph.h"

#if defined(FC_HAVE_CUDNN)

#include <math.h>

/* [rows of a sequence, heads, width] in memory; cuDNN's order is batch, head, row, element */
static fc_dnn_shape heads_of(int64_t b, int64_t rows, int64_t heads, int64_t width) {
  return (fc_dnn_shape){{b, heads, rows, width}, {rows * heads * width, width, heads * width, 1}};
}

static int64_t context_of(const fc_dnn_attention *a) {
  return a->pages > 0 ? a->max_pages * FC_DNN_PAGE : a->s;
}

/* scores [b,h,q,s] */
static fc_dnn_shape scores_of(const fc_dnn_attention *a) {
  return fc_dnn_packed(a->b, a->h, a->q, context_of(a));
}

/* one number a row of scores: [b,h,q,1] */
static fc_dnn_shape rows_of(const fc_dnn_attention *a) {
  return fc_dnn_packed(a->b, a->h, a->q, 1);
}

static int apply(fc_dnn_graph *g, cudnnPointwiseMode_t mode, int x, int b) {
  return fc_dnn_pointwise_add(g, (fc_dnn_pointwise){.mode = mode, .x = x, .b = b});
}

/* --- masks --- */

static int index_along(fc_dnn_graph *g, int x, int64_t axis, cudnnDataType_t compute) {
  return fc_dnn_pointwise_add(g, (fc_dnn_pointwise){.mode = CUDNN_POINTWISE_GEN_INDEX,
                                                    .x = x,
                                                    .compute = compute,
                                                    .out = CUDNN_DATA_INT32,
                                                    .axis = axis});
}

static int integers(fc_dnn_graph *g, cudnnPointwiseMode_t mode, int x, int b) {
  return fc_dnn_pointwise_add(
      g,
      (fc_dnn_pointwise){.mode = mode, .x = x, .b = b, .compute = CUDNN_DATA_INT32, .out = CUDNN_DATA_INT32});
}

static int truth(fc_dnn_graph *g, cudnnPointwiseMode_t mode, int x, int b) {
  return fc_dnn_pointwise_add(
      g, (fc_dnn_pointwise){
             .mode = mode, .x = x, .b = b, .compute = CUDNN_DATA_BOOLEAN, .out = CUDNN_DATA_BOOLEAN});
}

static int keep_where(fc_dnn_graph *g, int scores, int condition) {
  int nothing = fc_dnn_float(g, -HUGE_VALF);
  return fc_dnn_pointwise_add(
      g,
      (fc_dnn_pointwise){.mode = CUDNN_POINTWISE_BINARY_SELECT, .x = scores, .b = nothing, .t = condition});
}

/* Rows beyond q_each and columns beyond lengths do not exist. */
static int padding_mask(fc_dnn_graph *g, int scores, const fc_dnn_attention_tensors *t) {
  int row = index_along(g, scores, 2, CUDNN_DATA_INT32), column = index_along(g, scores, 3, CUDNN_DATA_INT32);
  int row_is = truth(g, CUDNN_POINTWISE_CMP_LT, row, t->q_each);
  int column_is = truth(g, CUDNN_POINTWISE_CMP_LT, column, t->lengths);
  return keep_where(g, scores, truth(g, CUDNN_POINTWISE_LOGICAL_AND, row_is, column_is));
}

/* row + s - q >= column; where s = q the shift is left out, which more engines know */
static int causal_mask(fc_dnn_graph *g, const fc_dnn_attention *a, int scores,
                       const fc_dnn_attention_tensors *t) {
  int row = index_along(g, scores, 2, CUDNN_DATA_FLOAT), column = index_along(g, scores, 3, CUDNN_DATA_FLOAT);
  if (a->pages > 0) {
    row = integers(g, CUDNN_POINTWISE_ADD, row, t->lengths);
    row = integers(g, CUDNN_POINTWISE_SUB, row, t->q_each);
  } else if (a->s != a->q) {
    row = integers(g, CUDNN_POINTWISE_ADD, row, fc_dnn_int(g, (int32_t)a->s));
    row = integers(g, CUDNN_POINTWISE_SUB, row, fc_dnn_int(g, (int32_t)a->q));
  }
  return keep_where(g, scores, truth(g, CUDNN_POINTWISE_CMP_GE, row, column));
}

/* A single query is the last token and sees all: with lengths known, the padding mask is enough. */
static int masked(fc_dnn_graph *g, const fc_dnn_attention *a, int scores, const fc_dnn_attention_tensors *t) {
  if (a->pages > 0) scores = padding_mask(g, scores, t);
  if (a->pages == 0 || a->q > 1) scores = causal_mask(g, a, scores, t);
  return scores;
}

static int scaled(fc_dnn_graph *g, const fc_dnn_attention *a, int x) {
  return apply(g, CUDNN_POINTWISE_MUL, x, fc_dnn_float(g, 1 / sqrtf((float)a->dk)));
}

/* --- forward --- */

/* Keys as [b,g,dk,s] and values as [b,g,s,dv], loaded through the page table when there is one. */
static void keys_and_values(fc_dnn_graph *g, const fc_dnn_attention *a, fc_dnn_attention_tensors *t,
                            int *keys, int *values) {
  if (a->pages == 0) {
    *keys = t->k =
        fc_dnn_tensor(g, CUDNN_DATA_BFLOAT16, fc_dnn_transposed(heads_of(a->b, a->s, a->g, a->dk)));
    *values = t->v = fc_dnn_tensor(g, CUDNN_DATA_BFLOAT16, heads_of(a->b, a->s, a->g, a->dv));
    return;
  }
  int64_t s = context_of(a);
  fc_dnn_shape value_pages = heads_of(a->pages, FC_DNN_PAGE, a->g, a->dv);
  if (a->shared) { /* rows of dk elements of which the first dv count */
    value_pages = heads_of(a->pages, FC_DNN_PAGE, a->g, a->dk);
    value_pages.dim[3] = a->dv;
  }
  t->k = fc_dnn_tensor(g, CUDNN_DATA_BFLOAT16, heads_of(a->pages, FC_DNN_PAGE, a->g, a->dk));
  t->v = fc_dnn_tensor(g, CUDNN_DATA_BFLOAT16, value_pages);
  t->table = fc_dnn_tensor(g, CUDNN_DATA_INT32, fc_dnn_packed(a->b, 1, a->max_pages, 1));
  t->lengths = fc_dnn_tensor(g, CUDNN_DATA_INT32, fc_dnn_packed(a->b, 1, 1, 1));
  t->q_each = fc_dnn_tensor(g, CUDNN_DATA_INT32, fc_dnn_packed(a->b, 1, 1, 1));
  *keys = fc_dnn_virtual(g, CUDNN_DATA_BFLOAT16, fc_dnn_transposed(fc_dnn_packed(a->b, a->g, s, a->dk)));
  *values = fc_dnn_virtual(g, CUDNN_DATA_BFLOAT16, fc_dnn_packed(a->b, a->g, s, a->dv));
  fc_dnn_paged_add(g, t->k, t->lengths, t->table, *keys);
  fc_dnn_paged_add(g, t->v, t->lengths, t->table, *values);
}

fc_dnn_attention_tensors fc_dnn_attention_forward(fc_dnn_graph *g, const fc_dnn_attention *a) {
  fc_dnn_attention_tensors t = {0};
  int keys, values;
  t.q = fc_dnn_tensor(g, CUDNN_DATA_BFLOAT16, heads_of(a->b, a->q, a->h, a->dk));
  keys_and_values(g, a, &t, &keys, &values);
  t.o = fc_dnn_tensor(g, CUDNN_DATA_BFLOAT16, heads_of(a->b, a->q, a->h, a->dv));
  t.lse = fc_dnn_tensor(g, CUDNN_DATA_FLOAT, rows_of(a));

  int scores = fc_dnn_virtual(g, CUDNN_DATA_FLOAT, scores_of(a));
  fc_dnn_matmul_add(g, t.q, keys, scores, t.q_each, t.lengths, 0);
  scores = masked(g, a, scaled(g, a, scores), &t);

  int largest = fc_dnn_virtual(g, CUDNN_DATA_FLOAT, rows_of(a));
  fc_dnn_reduce_add(g, CUDNN_REDUCE_TENSOR_MAX, scores, largest);
  int power = apply(g, CUDNN_POINTWISE_EXP, apply(g, CUDNN_POINTWISE_SUB, scores, largest), 0);
  int sum = fc_dnn_virtual(g, CUDNN_DATA_FLOAT, rows_of(a));
  fc_dnn_reduce_add(g, CUDNN_REDUCE_TENSOR_ADD, power, sum);
  int log_sum = apply(g, CUDNN_POINTWISE_LOG, sum, 0);
  fc_dnn_pointwise_add(
      g, (fc_dnn_pointwise){.mode = CUDNN_POINTWISE_ADD, .x = largest, .b = log_sum, .y = t.lse});
  /* the second product's operands have the format of the first's */
  int p = fc_dnn_pointwise_add(
      g, (fc_dnn_pointwise){.mode = CUDNN_POINTWISE_DIV, .x = power, .b = sum, .out = CUDNN_DATA_BFLOAT16});
  fc_dnn_matmul_add(g, p, values, t.o, t.q_each, 0, t.lengths);
  return t;
}

/* --- backward --- */

/* x [b,h,q,s] in binary32 as a bf16 operand [b,h,s,q] */
static int turned(fc_dnn_graph *g, const fc_dnn_attention *a, int x) {
  int y = fc_dnn_virtual(g, CUDNN_DATA_BFLOAT16, fc_dnn_transposed(scores_of(a)));
  fc_dnn_reshape_add(g, x, y);
  return y;
}

/* out [b,g,s,width] = x [b,h,s,q] y [b,h,q,width], summed over the query heads of each key head */
static void gradient(fc_dnn_graph *g, const fc_dnn_attention *a, int x, int y, int64_t width, int out) {
  if (a->h == a->g) {
    fc_dnn_matmul_add(g, x, y, out, 0, 0, 0);
    return;
  }
  int every_head = fc_dnn_virtual(g, CUDNN_DATA_BFLOAT16, fc_dnn_packed(a->b, a->h, a->s, width));
  fc_dnn_matmul_add(g, x, y, every_head, 0, 0, 0);
  fc_dnn_reduce_add(g, CUDNN_REDUCE_TENSOR_ADD, every_head, out);
}

static fc_dnn_attention_tensors backward_tensors(fc_dnn_graph *g, const fc_dnn_attention *a) {
  fc_dnn_attention_tensors t = {0};
  fc_dnn_shape query = heads_of(a->b, a->q, a->h, a->dk), result = heads_of(a->b, a->q, a->h, a->dv);
  fc_dnn_shape key = heads_of(a->b, a->s, a->g, a->dk), value = heads_of(a->b, a->s, a->g, a->dv);
  t.q = fc_dnn_tensor(g, CUDNN_DATA_BFLOAT16, query);
  t.k = fc_dnn_tensor(g, CUDNN_DATA_BFLOAT16, fc_dnn_transposed(key));
  t.v = fc_dnn_tensor(g, CUDNN_DATA_BFLOAT16, fc_dnn_transposed(value));
  t.o = fc_dnn_tensor(g, CUDNN_DATA_BFLOAT16, result);
  t.lse = fc_dnn_tensor(g, CUDNN_DATA_FLOAT, rows_of(a));
  t.d_o = fc_dnn_tensor(g, CUDNN_DATA_BFLOAT16, result);
  t.dq = fc_dnn_tensor(g, CUDNN_DATA_BFLOAT16, query);
  t.dk = fc_dnn_tensor(g, CUDNN_DATA_BFLOAT16, key);
  t.dv = fc_dnn_tensor(g, CUDNN_DATA_BFLOAT16, value);
  /* parts of dq are added up here by all blocks of keys; cuDNN 9.6 and later zeroes it by itself */
  t.dq_sum = fc_dnn_tensor(g, CUDNN_DATA_FLOAT, fc_dnn_packed(a->b, a->h, a->q, a->dk));
  t.row_sum = fc_dnn_tensor(g, CUDNN_DATA_FLOAT, rows_of(a));
  return t;
}

fc_dnn_attention_tensors fc_dnn_attention_backward(fc_dnn_graph *g, const fc_dnn_attention *a) {
  fc_dnn_attention_tensors t = backward_tensors(g, a);

  /* row_sum = sum over dv of do o */
  fc_dnn_shape product = {{a->b, a->h, a->q, a->dv}, {a->h * a->q * a->dv, a->q * a->dv, a->h * a->dv, 1}};
  int d_o_o = fc_dnn_virtual(g, CUDNN_DATA_FLOAT, product);
  fc_dnn_pointwise_add(g, (fc_dnn_pointwise){.mode = CUDNN_POINTWISE_MUL, .x = t.d_o, .b = t.o, .y = d_o_o});
  int row = fc_dnn_virtual(g, CUDNN_DATA_FLOAT, rows_of(a));
  fc_dnn_reduce_add(g, CUDNN_REDUCE_TENSOR_ADD, d_o_o, row);
  int one = fc_dnn_float(g, 1); /* the pattern has a factor here, for dropout */
  fc_dnn_pointwise_add(g,
                       (fc_dnn_pointwise){.mode = CUDNN_POINTWISE_MUL, .x = row, .b = one, .y = t.row_sum});

  /* p = exp(scale q k^T - lse), dv = p^T do */
  int scores = fc_dnn_virtual(g, CUDNN_DATA_FLOAT, scores_of(a));
  fc_dnn_matmul_add(g, t.q, t.k, scores, 0, 0, 0);
  scores = apply(g, CUDNN_POINTWISE_SUB, scaled(g, a, scores), t.lse);
  int p = apply(g, CUDNN_POINTWISE_EXP, masked(g, a, scores, &t), 0);
  gradient(g, a, turned(g, a, p), t.d_o, a->dv, t.dv);

  /* ds = scale p (do v^T - row_sum), dk = ds^T q */
  int ds = fc_dnn_virtual(g, CUDNN_DATA_FLOAT, scores_of(a));
  fc_dnn_matmul_add(g, t.d_o, t.v, ds, 0, 0, 0);
  ds = apply(g, CUDNN_POINTWISE_MUL, apply(g, CUDNN_POINTWISE_SUB, ds, t.row_sum), p);
  ds = scaled(g, a, ds);
  gradient(g, a, turned(g, a, ds), t.q, a->dk, t.dk);

  /* dq = ds k */
  int keys = fc_dnn_virtual(g, CUDNN_DATA_BFLOAT16, heads_of(a->b, a->s, a->g, a->dk));
  fc_dnn_reshape_add(g, t.k, keys);
  fc_dnn_matmul_add(g, ds, keys, t.dq_sum, 0, 0, 0);
  fc_dnn_pointwise_add(g, (fc_dnn_pointwise){.mode = CUDNN_POINTWISE_IDENTITY, .x = t.dq_sum, .y = t.dq});
  return t;
}

#else

/* built without cudnn_backend.h; ISO C wants a translation unit to declare something */
typedef int fc_dnn_attention_graph_absent;

#endif
