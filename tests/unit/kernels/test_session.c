/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <session.h>
#include <fleetcast/kernels/operators.h>

/* A pass over the table on a device of which one kernel is broken: wrong, or deadly to the device. */

static bool alive = true; /* one test a process */
static int calls_of_bad;

static const fc_implementation *cpu_topk(void) {
  for (size_t i = 0; i < fc_bench_cpu.n_tables; i++)
    for (size_t j = 0; j < fc_bench_cpu.tables[i]->n; j++)
      if (fc_bench_cpu.tables[i]->item[j].op == FC_BENCH_TOPK) return &fc_bench_cpu.tables[i]->item[j];
  return NULL;
}

static int good(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  return cpu_topk()->launch(p, args, state, queue);
}

/* Right but for one weight. */
static int wrong(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  int error = good(p, args, state, queue);
  calls_of_bad++;
  ((float *)args->at[FC_TOPK_W])[0] *= 1.001F;
  return error;
}

static int deadly(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)p, (void)args, (void)state, (void)queue;
  calls_of_bad++;
  alive = false;
  return 1;
}

static bool is_alive(void) {
  return alive;
}

static fc_bench_device device_with(const fc_implementation *rows, size_t n) {
  static fc_implementations table;
  static const fc_implementations *const tables[] = {&table};
  table = (fc_implementations){n, rows};
  fc_bench_device d = fc_bench_cpu;
  d.tables = tables;
  d.n_tables = 1;
  d.alive = is_alive;
  return d;
}

static const char *status_of(const fc_rows *rows, const char *impl, size_t nth) {
  for (size_t i = 0; i < rows->n; i++)
    if (strcmp(rows->item[i].field[FC_COLUMN_impl], impl) == 0 && nth-- == 0)
      return rows->item[i].field[FC_COLUMN_status];
  return "no such row";
}

static bool was_timed(const char *status) {
  return strcmp(status, "ok") == 0 || strcmp(status, "timeout") == 0;
}

static fc_status pass(fc_session *s, const fc_bench_device *d, const char *path) {
  fc_session_options options = {.device = d, .seed = 1, .quick = true, .kernel = "topk"};
  cr_assert_eq(fc_session_open(s, &options), FC_OK);
  fc_journal j;
  fc_rows earlier;
  fc_diags diags;
  fc_diags_init(&diags);
  cr_assert_eq(fc_journal_open(&j, path, &s->machine, false, &earlier, &diags), FC_OK);
  cr_assert_eq(fc_session_resume(s, &earlier), FC_OK);
  fc_rows_fini(&earlier);
  fc_status status = fc_session_measure(s, &j);
  if (!status) cr_assert_eq(fc_journal_finish(&j, &s->rows), FC_OK);
  fc_journal_close(&j);
  return status;
}

Test(session, a_wrong_kernel_is_never_timed_and_says_why) {
  const fc_implementation rows[] = {{.op = FC_BENCH_TOPK, .name = "bad", .launch = wrong},
                                    {.op = FC_BENCH_TOPK, .name = "good", .launch = good}};
  fc_bench_device d = device_with(rows, 2);
  fc_session s;
  cr_assert_eq(pass(&s, &d, NULL), FC_OK);
  cr_assert_eq(s.rows.n, 4, "two shapes, two implementations: %zu", s.rows.n);
  for (size_t i = 0; i < 2; i++) {
    cr_assert(strstr(status_of(&s.rows, "bad", i), "failed: fp32, m 1 n 32"), "%s",
              status_of(&s.rows, "bad", i));
    cr_assert(strstr(status_of(&s.rows, "bad", i), "w[0] is"), "%s", status_of(&s.rows, "bad", i));
    cr_assert(was_timed(status_of(&s.rows, "good", i)), "%s", status_of(&s.rows, "good", i));
  }
  cr_assert_eq(calls_of_bad, 1, "once found wrong it is not called again: %d", calls_of_bad);
  cr_assert_eq(s.checks.failed, 1);
  fc_session_close(&s);
}

Test(session, a_lost_device_ends_the_pass_and_the_next_goes_on_after_it) {
  char folder[] = "/tmp/fc_session_XXXXXX", path[64];
  cr_assert(mkdtemp(folder));
  (void)snprintf(path, sizeof path, "%s/m.csv", folder);
  const fc_implementation rows[] = {{.op = FC_BENCH_TOPK, .name = "good", .launch = good},
                                    {.op = FC_BENCH_TOPK, .name = "deadly", .launch = deadly}};
  fc_bench_device d = device_with(rows, 2);
  fc_session s;
  cr_assert_eq(pass(&s, &d, path), FC_E_IO);
  cr_assert(access(path, F_OK) != 0);
  fc_session_close(&s);

  alive = true; /* a new process finds it well again */
  cr_assert_eq(pass(&s, &d, path), FC_OK, "%s", s.why);
  cr_assert_eq(calls_of_bad, 1, "what lost the device once is not tried again: %d", calls_of_bad);
  cr_assert_eq(s.rows.n, 4);
  int lost = 0;
  for (size_t i = 0; i < 2; i++) {
    cr_assert(was_timed(status_of(&s.rows, "good", i)));
    const char *status = status_of(&s.rows, "deadly", i);
    lost += strcmp(status, FC_STATUS_LOST) == 0;
    cr_assert(strncmp(status, "failed: ", 8) == 0, "%s", status);
  }
  cr_assert_eq(lost, 1);
  fc_session_close(&s);
}

/* The guard is given the line that stands there if the work never ends. */
static char seen[512];

static void guard(void *context, int journal, const char *line, const char *text) {
  (void)context, (void)journal;
  if (line && text && !*seen) (void)snprintf(seen, sizeof seen, "%s", line);
}

Test(session, the_guard_knows_the_point_in_hand) {
  const fc_implementation rows[] = {{.op = FC_BENCH_TOPK, .name = "good", .launch = good}};
  fc_bench_device d = device_with(rows, 1);
  fc_session s;
  fc_session_options options = {.device = &d, .seed = 1, .quick = true, .kernel = "topk", .guard = guard};
  cr_assert_eq(fc_session_open(&s, &options), FC_OK);
  fc_journal none = {0};
  cr_assert_eq(fc_session_measure(&s, &none), FC_OK);
  cr_assert(strncmp(seen, "topk,good,fp32", 14) == 0 && strstr(seen, FC_STATUS_HUNG), "%s", seen);
  fc_session_close(&s);
}
