/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/kernels/operators.h>

#include <math.h>

#include "families.h"

/* --- CROSS_ENTROPY: a unit is a row --- */

static void ce_declare(fc_problem *p) {
  int64_t m = p->c.m, n = p->c.n;
  fc_problem_tensor(p, "logits", FC_ELEM_BF16, FC_ROLE_INPUT, FC_FILL_NORMAL, 2, m, n, 0, 0);
  fc_problem_tensor(p, "labels", FC_ELEM_I32, FC_ROLE_INPUT, FC_FILL_HOST, 0, m, 0, 0, 0);
  fc_problem_tensor(p, "dlogits", FC_ELEM_BF16, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, m, n, 0, 0);
  fc_problem_tensor(p, "loss", FC_ELEM_F32, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, m, 0, 0, 0);
}

static void ce_prepare(fc_problem *p) {
  fc_tensor *labels = &p->tensor[FC_CE_LABELS];
  for (size_t i = 0; i < labels->count; i++)
    fc_tensor_set(labels, i, (double)(fc_fill_bits(p->seed, FC_CE_LABELS, i) % (uint64_t)p->c.n));
}

static size_t ce_units(const fc_problem *p) {
  return (size_t)p->c.m;
}

/* exp(d) of d <= 0 in binary32: 2 + 1.173 |d| ulp of the function (__expf), and the rounding of d */
static double exp_error(double d) {
  return (2 + 1.173 * fabs(d)) * 0x1p-23 + fabs(d) * FC_U_F32;
}

static void ce_reference(const fc_problem *p, size_t row, fc_expect *e) {
  size_t n = (size_t)p->c.n, first = row * n;
  const fc_tensor *x = &p->tensor[FC_CE_LOGITS];
  size_t label = (size_t)fc_tensor_int(&p->tensor[FC_CE_LABELS], row);
  double most = (double)-INFINITY, sum = 0, sum_error = 0;
  for (size_t j = 0; j < n; j++) most = fmax(most, fc_tensor_at(x, first + j));
  for (size_t j = 0; j < n; j++) {
    double d = fc_tensor_at(x, first + j) - most, w = exp(d);
    sum += w;
    sum_error += w * exp_error(d);
  }
  /* an online sum is rescaled at each new maximum, ln n + 1 times on
   * average in random order, and in a tree over at most 1,024 threads */
  double rescale = log((double)n) + 1 + 10;
  double sum_relative =
      (sum_error + fc_bound_sum((double)n, FC_U_F32, sum)) / sum + rescale * (FC_U_SPECIAL + FC_U_F32);
  for (size_t j = 0; j < n; j++) {
    double d = fc_tensor_at(x, first + j) - most, share = exp(d) / sum;
    double bound = share * (exp_error(d) + sum_relative + FC_U_SPECIAL);
    fc_expect_at(e, FC_CE_DLOGITS, first + j, j == label ? share - 1 : share,
                 j == label ? bound + FC_U_F32 : bound);
  }
  double log_sum = log(sum), target = fc_tensor_at(x, first + label);
  double loss_error =
      sum_relative + FC_U_SPECIAL * (1 + log_sum) + 2 * FC_U_F32 * (fabs(most) + fabs(target));
  fc_expect_at(e, FC_CE_LOSS, row, most + log_sum - target, loss_error);
}

static void ce_cost(const fc_problem *p, fc_op *out) {
  out->dtype = FC_DTYPE_BF16;
  out->m = (double)p->c.m;
  out->n = (double)p->c.n;
}

/* --- ADAMW: a unit is 4,096 parameters --- */

enum { ADAMW_UNIT = 4096 };

static bool narrow_moments(const fc_problem *p) {
  return p->c.dtype == FC_DTYPE_BF16;
}

static void adamw_declare(fc_problem *p) {
  int64_t m = p->c.m;
  fc_elem moment = narrow_moments(p) ? FC_ELEM_BF16 : FC_ELEM_F32;
  /* DeepSeek-V3's initial spread (arXiv:2412.19437, 4.2); of
   * the order of 1 it would hide the step in its roundings */
  fc_problem_tensor(p, "p", FC_ELEM_F32, FC_ROLE_INOUT, FC_FILL_NORMAL, 0.006f, m, 0, 0, 0);
  /* gradients so small that epsilon is a tenth of the root of their square, as late in a training: of the
     order of 1 they would hide that it is missing */
  fc_problem_tensor(p, "g", FC_ELEM_F32, FC_ROLE_INPUT, FC_FILL_NORMAL, 1e-7f, m, 0, 0, 0);
  fc_problem_tensor(p, "m1", moment, FC_ROLE_INOUT, FC_FILL_NORMAL, 1e-7f, m, 0, 0, 0);
  /* squares: not negative */
  fc_problem_tensor(p, "m2", moment, FC_ROLE_INOUT, FC_FILL_SCALE, 1e-14f, m, 0, 0, 0);
  fc_problem_tensor(p, "w", FC_ELEM_BF16, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, m, 0, 0, 0);
}

static size_t adamw_units(const fc_problem *p) {
  return ((size_t)p->c.m + ADAMW_UNIT - 1) / ADAMW_UNIT;
}

static void adamw_at(const fc_problem *p, size_t i, double correct1, double correct2, fc_expect *e) {
  const double lr = 2.2e-4, b1 = 0.9, b2 = 0.95, eps = 1e-8, decay = 0.1, u = FC_U_F32;
  double w = fc_tensor_at(&p->tensor[FC_ADAMW_P], i), g = fc_tensor_at(&p->tensor[FC_ADAMW_G], i);
  double old1 = fc_tensor_at(&p->tensor[FC_ADAMW_M1], i), old2 = fc_tensor_at(&p->tensor[FC_ADAMW_M2], i);
  double m1 = b1 * old1 + (1 - b1) * g, m2 = b2 * old2 + (1 - b2) * g * g;
  /* roundings: constant, product (g g: two), sum */
  double error1 = 3 * u * (fabs(b1 * old1) + fabs((1 - b1) * g)), error2 = 4 * u * m2;
  fc_expect_at(e, FC_ADAMW_M1, i, m1, error1);
  fc_expect_at(e, FC_ADAMW_M2, i, m2, error2);
  double below = sqrt(m2 * correct2) + eps, step = m1 * correct1 / below;
  /* the root halves m2's relative error; correction factors, products, root, sum, quotient */
  double step_error = error1 * correct1 / below + fabs(step) * (2 * u + 6 * u + FC_U_SPECIAL);
  double next = w - lr * (step + decay * w);
  double next_error = lr * (step_error + 3 * u * (fabs(step) + 2 * fabs(decay * w))) + u * fabs(w);
  fc_expect_at(e, FC_ADAMW_P, i, next, next_error);
  fc_expect_at(e, FC_ADAMW_W, i, next, next_error + u * fabs(next)); /* rounded twice */
}

static void adamw_reference(const fc_problem *p, size_t unit, fc_expect *e) {
  size_t m = (size_t)p->c.m, first = unit * ADAMW_UNIT, end = first + ADAMW_UNIT < m ? first + ADAMW_UNIT : m;
  double correct1 = 1 / (1 - pow(0.9, 100)), correct2 = 1 / (1 - pow(0.95, 100)); /* step 100 */
  for (size_t i = first; i < end; i++) adamw_at(p, i, correct1, correct2, e);
}

static void adamw_cost(const fc_problem *p, fc_op *out) {
  out->m = (double)p->c.m;
  out->n =
      8 + 4 + 2 + (narrow_moments(p) ? 8 : 16); /* bytes a parameter: P, G, W, two moments read and written */
}

/* --- GRAD_NORM: one unit --- */

static void gnorm_declare(fc_problem *p) {
  fc_problem_tensor(p, "g", FC_ELEM_F32, FC_ROLE_WEIGHT, FC_FILL_NORMAL, 1, p->c.m, 0, 0, 0);
  fc_problem_tensor(p, "norm", FC_ELEM_F32, FC_ROLE_OUTPUT, FC_FILL_NONE, 0, 1, 0, 0, 0);
  fc_problem_tensor(p, "work", FC_ELEM_F32, FC_ROLE_WORK, FC_FILL_NONE, 0, 4096, 0, 0, 0);
}

static size_t gnorm_units(const fc_problem *p) {
  (void)p;
  return 1;
}

static void gnorm_reference(const fc_problem *p, size_t unit, fc_expect *e) {
  (void)unit;
  const fc_tensor *g = &p->tensor[FC_GNORM_G];
  double sum = 0;
  for (size_t i = 0; i < g->count; i++) {
    double x = fc_tensor_at(g, i);
    sum += x * x;
  }
  double norm = sqrt(sum), u = FC_U_F32;
  /* the root halves the sum's relative error */
  double relative = sum > 0 ? (fc_bound_sum((double)g->count, u, sum) / sum + u) / 2 + FC_U_SPECIAL : 0;
  fc_expect_at(e, FC_GNORM_NORM, 0, norm, norm * relative);
}

static void gnorm_cost(const fc_problem *p, fc_op *out) {
  out->dtype = FC_DTYPE_FP32;
  out->m = (double)p->c.m;
}

const fc_operator fc_training_operators[] = {
    {FC_BENCH_CROSS_ENTROPY, false, ce_declare, ce_prepare, ce_units, ce_reference, ce_cost},
    {FC_BENCH_ADAMW, false, adamw_declare, NULL, adamw_units, adamw_reference, adamw_cost},
    {FC_BENCH_GRAD_NORM, false, gnorm_declare, NULL, gnorm_units, gnorm_reference, gnorm_cost},
};
const size_t fc_training_operators_n = sizeof fc_training_operators / sizeof *fc_training_operators;
