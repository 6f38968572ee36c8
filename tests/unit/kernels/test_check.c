/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>
#include <data.h>
#include <device.h>
#include <session.h>
#include <fleetcast/kernels/operators.h>

/* A check that cannot fail checks nothing: a right result
 * passes, every kind of wrong one is caught and named. */

typedef enum { RIGHT, ONE_WRONG, ONE_NAN, ONE_UNWRITTEN, ALL_SCALED, LAST_ROUNDED_AWAY } fault;

static fc_check check_with(fault f, bool exact, fc_dtype dtype) {
  fc_bench_case c = {.op = FC_BENCH_GEMM, .dtype = dtype, .m = 33, .n = 72, .k = 256};
  fc_machine machine;
  char why[FC_WHY] = "";
  cr_assert_eq(fc_bench_cpu.open(&machine, why), 0);
  fc_data d;
  cr_assert_eq(fc_data_new(&d, &fc_bench_cpu, &machine, &c, 5, exact, 1, why), FC_OK, "%s", why);
  const fc_implementation *impl = NULL;
  for (size_t i = 0; i < fc_bench_cpu.n_tables && !impl; i++)
    for (size_t j = 0; j < fc_bench_cpu.tables[i]->n && !impl; j++) {
      const fc_implementation *row = &fc_bench_cpu.tables[i]->item[j];
      if (row->op == c.op && (!row->supports || row->supports(&d.problem, &machine, why))) impl = row;
    }
  cr_assert(impl);
  memset(d.args[0].at[FC_GEMM_C], 0xff, (size_t)33 * 72 * fc_elem_size(d.problem.tensor[FC_GEMM_C].elem));
  fc_bench_launch launch = {impl, &d.problem, &d.args[0], NULL};
  cr_assert_eq(fc_bench_cpu.run(&launch), 0);
  void *got[FC_TENSORS_MAX] = {0};
  got[FC_GEMM_C] = d.args[0].at[FC_GEMM_C];
  fc_tensor out = d.problem.tensor[FC_GEMM_C];
  out.host = got[FC_GEMM_C];
  enum { AT = 17 * 72 + 31 };
  double was = fc_tensor_at(&out, AT);
  switch (f) {
  case RIGHT: break;
  case ONE_WRONG: fc_tensor_set(&out, AT, was + (exact ? 1 : 5)); break;
  case ONE_NAN: fc_tensor_set(&out, AT, (double)NAN); break;
  case ONE_UNWRITTEN:
    memset((char *)out.host + AT * fc_elem_size(out.elem), 0xff, fc_elem_size(out.elem));
    break;
  case ALL_SCALED:
    for (size_t i = 0; i < out.count; i++) fc_tensor_set(&out, i, 1.02 * fc_tensor_at(&out, i));
    break;
  case LAST_ROUNDED_AWAY: fc_tensor_set(&out, out.count - 1, 0); break;
  }
  fc_check check;
  fc_check_run(&check, &d.problem, got, 10);
  fc_data_free(&d);
  return check;
}

Test(check, a_right_result_passes) {
  static const fc_dtype formats[] = {FC_DTYPE_FP32, FC_DTYPE_BF16, FC_DTYPE_FP8};
  for (int i = 0; i < 3; i++)
    for (int exact = 0; exact < 2; exact++) {
      fc_check c = check_with(RIGHT, exact, formats[i]);
      cr_assert(c.passed, "%s", c.text);
      cr_assert_eq(c.compared, (size_t)33 * 72);
      cr_assert(!exact || c.worst == 0, "exact data must match bit for bit");
    }
}

Test(check, every_wrong_one_is_caught_and_named) {
  static const fault faults[] = {ONE_WRONG, ONE_NAN, ONE_UNWRITTEN, ALL_SCALED, LAST_ROUNDED_AWAY};
  static const fc_dtype formats[] = {FC_DTYPE_FP32, FC_DTYPE_BF16, FC_DTYPE_FP8};
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
    for (int j = 0; j < 3; j++) {
      fc_check c = check_with(faults[i], false, formats[j]);
      cr_assert(!c.passed && !(c.worst <= 1), "fault %zu, %s passed", i, fc_dtype_text(formats[j]));
      const char *where =
          faults[i] == LAST_ROUNDED_AWAY ? "c[32, 71]" : (faults[i] == ALL_SCALED ? "c[" : "c[17, 31]");
      cr_assert(strstr(c.text, where), "fault %zu: '%s' does not say %s", i, c.text, where);
    }
}

Test(check, exact_data_leave_no_room) {
  fc_check c = check_with(ONE_WRONG, true, FC_DTYPE_FP32);
  cr_assert(!c.passed && c.failed == 1, "%s", c.text);
}

Test(check, large_problems_are_sampled_with_both_ends) {
  fc_bench_case c = {.op = FC_BENCH_COPY, .dtype = FC_DTYPE_FP32, .m = 1 << 24};
  fc_machine machine;
  char why[FC_WHY] = "";
  cr_assert_eq(fc_bench_cpu.open(&machine, why), 0);
  fc_data d;
  cr_assert_eq(fc_data_new(&d, &fc_bench_cpu, &machine, &c, 5, false, 1, why), FC_OK, "%s", why);
  float *x = d.args[0].at[FC_STREAM_X], *y = d.args[0].at[FC_STREAM_Y];
  void *got[FC_TENSORS_MAX] = {0};
  got[FC_STREAM_Y] = y;
  for (int wrong = 0; wrong < 3; wrong++) {
    memcpy(y, x, sizeof(float) << 24);
    if (wrong == 1) y[0] += 1;
    if (wrong == 2) y[(1 << 24) - 1] += 1;
    fc_check check;
    fc_check_run(&check, &d.problem, got, 1e-3);
    cr_assert(check.units_checked < check.units, "%zu of %zu", check.units_checked, check.units);
    cr_assert_eq(check.passed, wrong == 0, "%s", check.text);
  }
  fc_data_free(&d);
}

/* --- what a call must leave alone --- */

typedef enum { NOTHING_ELSE, BEHIND_THE_END, AN_INPUT } damage;

static damage done; /* Criterion forks: one test a process */

static int damaging_copy(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state, (void)queue;
  float *x = args->at[FC_STREAM_X], *y = args->at[FC_STREAM_Y];
  memcpy(y, x, (size_t)p->c.m * sizeof *y);
  if (done == BEHIND_THE_END) y[p->c.m] = 0;
  if (done == AN_INPUT) x[7] += 1;
  return 0;
}

Test(check, writes_elsewhere_are_found) {
  fc_bench_case c = {.op = FC_BENCH_COPY, .dtype = FC_DTYPE_FP32, .m = 1001};
  const fc_implementation impl = {.op = FC_BENCH_COPY, .name = "damaging", .launch = damaging_copy};
  static const char *const says[] = {"", "bytes behind the end of y", "x, an input"};
  fc_machine machine;
  char why[FC_WHY] = "";
  cr_assert_eq(fc_bench_cpu.open(&machine, why), 0);
  for (int i = NOTHING_ELSE; i <= AN_INPUT; i++) {
    fc_data d;
    fc_check check;
    done = (damage)i;
    cr_assert_eq(fc_data_new(&d, &fc_bench_cpu, &machine, &c, 5, false, 1, why), FC_OK, "%s", why);
    cr_assert_eq(fc_data_check(&check, &d, &impl, NULL, 1, why), FC_OK, "%s", why);
    cr_assert_eq(check.passed, i == NOTHING_ELSE, "%s", check.text);
    cr_assert(strstr(check.text, says[i]), "'%s' does not say '%s'", check.text, says[i]);
    fc_data_free(&d);
  }
}

/* Nothing compares what a read leaves: that it reads all of it is seen here. */
Test(check, the_read_ceiling_reads_every_element) {
  fc_bench_case c = {.op = FC_BENCH_READ, .dtype = FC_DTYPE_FP32, .m = 100003};
  fc_machine machine;
  char why[FC_WHY] = "";
  cr_assert_eq(fc_bench_cpu.open(&machine, why), 0);
  fc_data d;
  cr_assert_eq(fc_data_new(&d, &fc_bench_cpu, &machine, &c, 5, false, 1, why), FC_OK, "%s", why);
  const fc_implementation *impl = NULL;
  for (size_t i = 0; i < fc_bench_cpu.n_tables; i++)
    for (size_t j = 0; j < fc_bench_cpu.tables[i]->n; j++)
      if (fc_bench_cpu.tables[i]->item[j].op == c.op) impl = &fc_bench_cpu.tables[i]->item[j];
  cr_assert(impl);
  fc_bench_launch launch = {impl, &d.problem, &d.args[0], NULL};
  cr_assert_eq(fc_bench_cpu.run(&launch), 0);
  uint32_t sum = 0;
  for (int64_t i = 0; i < c.m; i++) sum += ((const uint32_t *)d.args[0].at[FC_STREAM_X])[i];
  cr_assert_eq(((const uint32_t *)d.args[0].at[FC_STREAM_Y])[0], sum);
  fc_data_free(&d);
}

#ifdef NDEBUG
enum { SEEDS = 2 };
#else
enum { SEEDS = 1 }; /* up to ten times as long, and other data take the same paths */
#endif

/* Every implementation of the CPU on every odd shape, random and exact. */
Test(check, all_cpu_implementations, .timeout = 240) {
  for (uint64_t seed = 1; seed <= SEEDS; seed++) {
    fc_session s;
    fc_session_options options = {.device = &fc_bench_cpu, .seed = seed};
    cr_assert_eq(fc_session_open(&s, &options), FC_OK);
    cr_assert_eq(fc_session_check(&s), FC_OK, "%s", s.why);
    cr_assert_eq(s.checks.failed, 0, "%s", s.checks.first_failure);
    cr_assert(s.checks.passed > 300, "%zu passed, %zu skipped", s.checks.passed, s.checks.skipped);
    fc_session_close(&s);
  }
}
