/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_KERNELS_SOFTMAX_H
#define FC_KERNELS_SOFTMAX_H

#include <fleetcast/kernels/operator.h>

/** Rows of softmax attention in double precision, and how far honest arithmetic may end from them.
 *
 *  For one query q, n visible keys k_j and values v_j, with c = 1/sqrt(dk):
 *      s_j = c q.k_j    m = max s_j    w_j = exp(s_j - m)    l = sum w_j    P_j = w_j / l    o = sum P_j v_j
 *
 *  Where it errs (u: binary32, U: the unit in which products are accumulated, B: bfloat16, 0 in problems of
 *  binary32, X: fc_bound_sum, itself a bound at four standard deviations):
 *   1. A score: dk products, magnitude sum |q_i k_ij| <= |q| |k_j| (Cauchy-Schwarz), and roundings of the
 *      scale, of the scaled score, of the maximum and of their difference, at most 6 of |s_j| + |m|:
 *          delta_j = X(dk, U, c |q| |k_j|) + 6 u (|s_j| + |m|).
 *      exp turns an absolute error into a relative one: w_j (1 + delta_j), first order.
 *   2. w_j is rounded to bfloat16 before it meets v_j on tensor cores, not where it enters l: relative B.
 *   3. exp itself: relative S = FC_U_SPECIAL, of one sign, so it adds up.
 *   4. l: n terms in binary32, X(n, u, 1) relative, and what 1 makes of it: sum P_j delta_j.
 *   5. The products P_j v_j: X(n, U, sum P_j |v_j|); rescaling, division: a few u of |o|.
 *  Errors 1 and 2 of different keys are independent and of either sign: their sum stays within four standard
 *  deviations (the model of fc_bound_sum) of the root of the sum of squares.  Together, with
 *      common = 4 sqrt(sum P_j^2 delta_j^2) + S + X(n, u, 1):
 *      |o error|   <= 4 sqrt(sum P_j^2 (delta_j + B)^2 v_j^2) + (S + X(n, U, 1)) sum P_j |v_j|
 *                     + (common + 4 u) |o|
 *      |lse error| <= common + S (1 + |ln l|) + 2 u (|m| + |lse|). */

/** Keys and values of a context: row[j] is the place of key j among rows of k_step and v_step elements. */
typedef struct fc_softmax_keys {
  const fc_tensor *k, *v;
  const int64_t *row;
  int64_t k_step, v_step, dk, dv;
} fc_softmax_keys;

/** A query: where its elements lie, how many keys it sees (the first ones), where its results go. */
typedef struct fc_softmax_query {
  size_t at; /* in tensor q */
  int64_t sees;
  size_t o_at, lse_at;
} fc_softmax_query;

enum { FC_SOFTMAX_ROWS = 4 /* queries at a time */ };

/** Tells what output tensors `o` and `lse` should hold for n <= FC_SOFTMAX_ROWS queries of tensor `q`. */
void fc_softmax_reference(const fc_problem *p, const fc_softmax_keys *keys, int q, int o, int lse,
                          const fc_softmax_query *query, int n, fc_expect *e);

/** delta_j above; magnitude: c |q| |k_j|. */
double fc_softmax_score_error(const fc_problem *p, double magnitude, double score, double max);
/** Errors common to all keys of a row: `common` above without the random part, and the error of lse. */
double fc_softmax_common_error(double keys, double random);
double fc_softmax_lse_error(double common, double max, double sum);
/** B above. */
double fc_softmax_narrow(const fc_problem *p);

double fc_softmax_dot(const double *a, const double *b, int64_t n);
/** Zeroed memory; asserts that there is some. */
void *fc_softmax_new(size_t n, size_t size);

/** X: binary32 or bfloat16. */
fc_elem fc_softmax_elem(const fc_problem *p);
/** The cost model's view: what all attention operators have. */
void fc_softmax_cost(const fc_problem *p, fc_op *out);

#endif
