/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct fc_expect {
  const fc_problem *p;
  void *const *got;
  size_t compared, failed;
  double worst; /* and where: */
  int tensor;
  size_t index;
  double got_value, wanted, tolerance;
};

double fc_bound_sum(double terms, double u, double magnitude) {
  return 4 * sqrt(terms) * u * magnitude;
}

/* Half the distance between neighbours of the format at magnitude x. */
static double half_step(fc_elem elem, double x) {
  int e;
  if (elem == FC_ELEM_I32) return 0;
  (void)frexp(x, &e); /* x = f 2^e, f in [1/2, 1) */
  switch (elem) {
  case FC_ELEM_BF16: return ldexp(1, (e < -125 ? -125 : e) - 9);
  case FC_ELEM_E4M3: return ldexp(1, (e < -5 ? -5 : e) - 5);
  default: return ldexp(1, (e < -125 ? -125 : e) - 25);
  }
}

static double rounded(fc_elem elem, double x) {
  switch (elem) {
  case FC_ELEM_BF16: return (double)fc_bf16_decode(fc_bf16_encode((float)x));
  case FC_ELEM_E4M3: return (double)fc_e4m3_decode(fc_e4m3_encode((float)x));
  default: return (double)(float)x;
  }
}

static double element(const fc_tensor *t, const void *data, size_t index) {
  fc_tensor view = *t;
  view.host = (void *)(uintptr_t)data;
  return fc_tensor_at(&view, index);
}

void fc_expect_at(fc_expect *e, int tensor, size_t index, double value, double bound) {
  const fc_tensor *t = &e->p->tensor[tensor];
  double got = element(t, e->got[tensor], index), tolerance;
  e->compared++;
  if (e->p->exact) {
    value = rounded(t->elem, value);
    tolerance = 0;
  } else {
    tolerance = bound + half_step(t->elem, fabs(value) + bound);
    if (t->elem == FC_ELEM_E4M3) value = fmax(fmin(value, (double)FC_E4M3_MAX), -(double)FC_E4M3_MAX);
  }
  double error = fabs(got - value);
  if (isinf(value) && got == value) error = 0;
  bool ok = error <= tolerance * (1 + 1e-9);
  double ratio = ok ? (tolerance > 0 ? error / tolerance : 0) : (tolerance > 0 ? error / tolerance : 1e300);
  if (!ok) e->failed++;
  if (!ok && !(ratio > 1)) ratio = 1e300; /* a NaN */
  if (e->compared > 1 && !(ratio > e->worst)) return;
  e->worst = ratio;
  e->tensor = tensor;
  e->index = index;
  e->got_value = got;
  e->wanted = value;
  e->tolerance = tolerance;
}

/* "c[3, 17]": without leading dimensions of 1. */
static void coordinates(char *out, size_t room, const fc_tensor *t, size_t index) {
  int64_t at[FC_TENSOR_RANK];
  for (int i = FC_TENSOR_RANK - 1; i >= 0; i--) {
    at[i] = (int64_t)(index % (size_t)t->dim[i]);
    index /= (size_t)t->dim[i];
  }
  int first = 0, n = snprintf(out, room, "%s[", t->name);
  while (first < FC_TENSOR_RANK - 1 && t->dim[first] == 1) first++;
  for (int i = first; i < FC_TENSOR_RANK && n > 0 && (size_t)n < room; i++)
    n += snprintf(out + n, room - (size_t)n, "%s%lld", i > first ? ", " : "", (long long)at[i]);
  if (n > 0 && (size_t)n < room) (void)snprintf(out + n, room - (size_t)n, "]");
}

int fc_check_poison(fc_elem elem) {
  return elem == FC_ELEM_I32 ? 0x7f : 0xff;
}

/* Is an element as it was before the call, or not a number? */
static bool is_unwritten(fc_elem elem, const void *data, size_t i) {
  switch (elem) {
  case FC_ELEM_I32: return ((const uint32_t *)data)[i] == 0x7f7f7f7fu;
  case FC_ELEM_F32: return (((const uint32_t *)data)[i] & 0x7fffffffu) > 0x7f800000u;
  case FC_ELEM_BF16: return (((const uint16_t *)data)[i] & 0x7fffu) > 0x7f80u;
  case FC_ELEM_E4M3: return (((const uint8_t *)data)[i] & 0x7fu) == 0x7fu;
  }
  return true;
}

/* The first such element, or the count. */
static size_t first_unwritten(const fc_tensor *t, const void *data) {
  size_t first = t->count;
#pragma omp parallel for schedule(static) reduction(min : first)
  for (size_t j = 0; j < t->count; j++)
    if (is_unwritten(t->elem, data, j) && j < first) first = j;
  return first;
}

static bool all_written(fc_check *out, const fc_problem *p, void *const *got) {
  for (size_t i = 0; i < p->n_tensors; i++) {
    const fc_tensor *t = &p->tensor[i];
    if (t->role != FC_ROLE_OUTPUT && t->role != FC_ROLE_INOUT) continue;
    size_t first = first_unwritten(t, got[i]);
    if (first == t->count) continue;
    char where[96];
    coordinates(where, sizeof where, t, first);
    (void)snprintf(out->text, sizeof out->text, "%s was not written, or is not a number", where);
    out->worst = (double)INFINITY;
    return false;
  }
  return true;
}

/* Seconds that one unit of the reference takes a core: 1 ns a FLOP, 4 ns a byte of traffic; measured on a
 * server core of 4 GHz for twelve operators, good to a factor of 3, which is all that a budget needs. */
static double unit_seconds(const fc_problem *p, size_t units) {
  fc_op op;
  fc_problem_cost(p, &op);
  return (1e-9 * fc_op_flop(&op) + 4e-9 * fc_op_bytes(&op)) / (double)units;
}

enum { UNITS_MIN = 64, HEAVY_UNITS_MIN = 4, UNITS_SILENT = 4 };

/* Unit i of n out of `units`: the ends, and one drawn from each stratum between. */
static size_t sampled(const fc_problem *p, size_t i, size_t n, size_t units) {
  if (n == units) return i;
  if (i == 0) return 0;
  if (i == n - 1) return units - 1;
  double u = ((double)(fc_fill_bits(p->seed, 1000, i) >> 11) + 0.5) * 0x1p-53;
  return (size_t)(((double)i + u) / (double)n * (double)units);
}

static void merge(fc_expect *into, const fc_expect *from) {
  size_t compared = into->compared + from->compared, failed = into->failed + from->failed;
  if (from->compared > 0 && (into->compared == 0 || from->worst > into->worst)) *into = *from;
  into->compared = compared;
  into->failed = failed;
}

void fc_check_run(fc_check *out, const fc_problem *p, void *const *got, double budget_s) {
  *out = (fc_check){0};
  const fc_operator *o = fc_operator_of(p->c.op);
  fc_expect all = {.p = p, .got = got};
  size_t units = o->units(p), n = units;
  if (units > HEAVY_UNITS_MIN) {
    double one = unit_seconds(p, units), fit = budget_s / one;
    size_t least = one > budget_s ? HEAVY_UNITS_MIN : UNITS_MIN;
    if (fit < (double)units) n = fit > (double)least ? (size_t)fit : least;
  }
  if (!all_written(out, p, got)) return;
#pragma omp parallel
  {
    fc_expect mine = {.p = p, .got = got};
#pragma omp for schedule(dynamic, 1) nowait
    for (size_t i = 0; i < n; i++) o->reference(p, sampled(p, i, n, units), &mine);
#pragma omp critical
    merge(&all, &mine);
  }
  out->units = units;
  out->units_checked = n;
  out->compared = all.compared;
  out->failed = all.failed;
  out->worst = all.worst;
  /* a reference may leave close calls unnamed: of a few units possibly all */
  bool silent = all.compared == 0 && units > UNITS_SILENT;
  out->passed = all.failed == 0 && !silent;
  if (silent) (void)snprintf(out->text, sizeof out->text, "the reference named no element");
  if (all.failed == 0) return;
  char where[96];
  coordinates(where, sizeof where, &p->tensor[all.tensor], all.index);
  (void)snprintf(out->text, sizeof out->text,
                 "%s is %.9g, should be %.9g within %.3g; %zu of %zu compared elements are off", where,
                 all.got_value, all.wanted, all.tolerance, all.failed, all.compared);
}
