/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_KERNELS_OPERATOR_H
#define FC_KERNELS_OPERATOR_H

#include <fleetcast/base/status.h>
#include <fleetcast/kernels/problem.h>

/** One operator = one declaration: its tensors, its reference in double precision, its cost.  The same
 *  declaration and the same cases check and time every implementation. */

/** Collects what the reference says and compares on the fly with what an implementation wrote.
 *  An element passes when  !(|got - value| > half a step of the output format at |value| + bound)  and got is
 *  finite where value is: a NaN never passes. */
typedef struct fc_expect fc_expect;

/** Element `index` of tensor `tensor` should be `value` (not rounded to the output format).  `bound` is the
 *  absolute error that the arithmetic before the final rounding may make, derived, not tuned (bounds below);
 *  when the problem is exact it is ignored and the rounded value must be met bit for bit. */
void fc_expect_at(fc_expect *e, int tensor, size_t index, double value, double bound);

/** Probabilistic bound of a sum of `terms` products accumulated with unit roundoff `u`:
 *  4 sqrt(terms) u sum|a_i b_i|.  @source Higham & Mary 2019, SIAM J. Sci. Comput. 41(5), A2815: lambda
 *  sqrt(n) u holds with probability 1 - 2 exp(-lambda^2/2) a term; lambda = 4: 7e-4 at the bound itself */
double fc_bound_sum(double terms, double u, double magnitude);

/** Unit roundoffs. */
#define FC_U_F32         0x1p-24
#define FC_U_BF16        0x1p-8 /* 8 significant bits */
#define FC_U_E4M3        0x1p-4
/** Accumulation inside tensor cores: binary32 truncated, 2^-23 (Fasi et al. 2021, PeerJ CS 7:e330); FP8
 *  operands keep about 14 bits (DeepSeek-V3, arXiv:2412.19437, 3.3.2). */
#define FC_U_TENSOR_BF16 0x1p-23
#define FC_U_TENSOR_FP8  0x1p-13
/** Hardware exp2, exp, sigmoid, rsqrt on GPUs: 2 ulp of binary32 and the range reduction's. @source CUDA C++
 *  Programming Guide, mathematical functions appendix (__expf: 2 + |1.173 x| ulp) */
#define FC_U_SPECIAL     0x1p-21

/** The format in which a problem's products are accumulated. */
double fc_problem_unit(const fc_problem *p);

typedef struct fc_operator {
  fc_bench_op id;
  bool exact; /* has data on which every implementation must be exact */
  /** Adds the tensors of p->c to p. */
  void (*declare)(fc_problem *p);
  /** Writes the host copies of FC_FILL_HOST tensors; every other input is filled by then.  Nullable. */
  void (*prepare)(fc_problem *p);
  /** Independent units into which the result falls; the check takes all of a small problem and a sample,
   * first and last included, of a large one. */
  size_t (*units)(const fc_problem *p);
  /** Plain C in double: reads host copies of inputs, tells what unit `unit` of the result should be.  Called
   *  from several threads with different collectors. */
  void (*reference)(const fc_problem *p, size_t unit, fc_expect *e);
  /** The cost model's view. */
  void (*cost)(const fc_problem *p, fc_op *out);
} fc_operator;

const fc_operator *fc_operator_of(fc_bench_op op);
const char *fc_bench_op_text(fc_bench_op op);

/** Fills in a problem: case, tensors, no data.  @return FC_OK | FC_E_DOMAIN (the shape makes no sense) */
FC_NODISCARD
fc_status fc_problem_init(fc_problem *p, const fc_bench_case *c, uint64_t seed, bool exact);

/** The cost model's operator: FLOP and bytes come from it (fc_op_flop, fc_op_bytes). */
void fc_problem_cost(const fc_problem *p, fc_op *out);

/** For declare(): adds one tensor; dimensions of 0 count as 1. @return its index */
int fc_problem_tensor(fc_problem *p, const char *name, fc_elem elem, fc_role role, fc_fill fill, float spread,
                      int64_t d0, int64_t d1, int64_t d2, int64_t d3);

/** Reads an element of a host copy as a double. */
double fc_tensor_at(const fc_tensor *t, size_t index);
/** Reads n neighbours from element `first` on; much faster than one by one. */
void fc_tensor_read(double *out, const fc_tensor *t, size_t first, size_t n);
/** Writes one. */
void fc_tensor_set(fc_tensor *t, size_t index, double value);
int32_t fc_tensor_int(const fc_tensor *t, size_t index);

#endif
