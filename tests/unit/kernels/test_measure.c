/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <journal.h>
#include <measure.h>

#include <fleetcast/kernels/operators.h>

/* The protocol on a device whose times are known: 10 us a call, with noise that a script adds. */

typedef struct {
  double call_s;    /* of one call */
  double noise;     /* relative, alternating */
  double clock[64]; /* successive readings; 0: ends the script, the last stays */
  size_t replays, clocks, flushes, launches_recorded;
  size_t hiccup; /* this replay takes twenty times as long; 0: none */
  int fail_at;   /* replay that fails; 0: none */
} script;

static script the; /* one test a process: Criterion forks */

typedef struct {
  size_t n;
} recording;

static int fake_record(void **out, const fc_bench_launch *launch, size_t n, bool by_queue) {
  (void)launch, (void)by_queue;
  recording *r = malloc(sizeof *r);
  if (!r) return 1;
  r->n = the.launches_recorded = n;
  *out = r;
  return 0;
}

static int fake_replay(void *recorded, double *seconds) {
  const recording *r = recorded;
  the.replays++;
  if (the.fail_at && the.replays >= (size_t)the.fail_at) return 7;
  *seconds = (double)r->n * the.call_s * (the.replays == the.hiccup ? 20 : 1) *
             (1 + (the.replays % 2 ? the.noise : -the.noise));
  return 0;
}

static int fake_flush(void) {
  the.flushes++;
  return 0;
}

static double fake_clock(void) {
  double mhz = the.clock[the.clocks];
  if (the.clocks + 1 < 64 && the.clock[the.clocks + 1] > 0) the.clocks++;
  return mhz;
}

static const char *fake_text(int error) {
  return error == 7 ? "fell off the bus" : "?";
}

static const fc_bench_device fake = {.name = "fake",
                                     .text = fake_text,
                                     .record = fake_record,
                                     .replay = fake_replay,
                                     .discard = free,
                                     .flush = fake_flush,
                                     .clock_mhz = fake_clock};

static fc_status measure(fc_timing *t, bool sustained, char *why) {
  static const fc_implementation impl = {.op = FC_BENCH_GEMM, .name = "fake"};
  fc_args args[3] = {{{0}}};
  void *states[3] = {0};
  fc_data d = {.device = &fake, .sets = 3, .args = args};
  d.problem.c = (fc_bench_case){.op = FC_BENCH_GEMM, .sustained = sustained};
  fc_protocol p = fc_protocol_default(true, true);
  p.sustained_s = 0.01;
  p.warm_max_s = 0.01;
  p.max_total_s = 2; /* what a busy machine may take; one test waits for it */
  return fc_measure(t, &d, &impl, states, &p, NULL, why);
}

Test(measure, a_steady_device) {
  fc_timing t;
  char why[FC_WHY] = "";
  the = (script){.call_s = 10e-6, .clock = {1980}};
  cr_assert_eq(measure(&t, false, why), FC_OK, "%s", why);
  cr_assert(fabs(t.median_us - 10) < 1e-9 && fabs(t.min_us - 10) < 1e-9 && t.iqr_us < 1e-9, "%g",
            t.median_us);
  cr_assert(t.samples >= 7 && !t.timed_out && t.dropped == 0 && t.clock_mhz == 1980);
  cr_assert(the.launches_recorded >= 20, "a replay of 200 us holds 20 calls of 10 us, not %zu",
            the.launches_recorded);
  /* burst: a rest before each replay but the four that decide how many launches a replay holds */
  cr_assert_eq(the.flushes, the.replays - 4, "%zu of %zu", the.flushes, the.replays);
}

Test(measure, launches_go_round_the_sets) {
  fc_timing t;
  char why[FC_WHY] = "";
  the = (script){.call_s = 1e-3, .clock = {1980}};
  cr_assert_eq(measure(&t, false, why), FC_OK);
  cr_assert_eq(the.launches_recorded, 3, "%zu", the.launches_recorded);
  the = (script){.call_s = 20e-3, .clock = {1980}};
  cr_assert_eq(measure(&t, false, why), FC_OK);
  cr_assert_eq(the.launches_recorded, 1, "a long call is not repeated for that");
  cr_assert_not(t.went_round);
}

Test(measure, one_hiccup_does_not_decide_the_replay) {
  fc_timing t;
  char why[FC_WHY] = "";
  for (size_t at = 1; at <= 4; at++) {
    the = (script){.call_s = 1e-3, .clock = {1980}, .hiccup = at};
    cr_assert_eq(measure(&t, false, why), FC_OK);
    cr_assert(the.launches_recorded == 3 && t.went_round, "hiccup at %zu: %zu", at, the.launches_recorded);
  }
}

Test(measure, noise_is_stated) {
  fc_timing t;
  char why[FC_WHY] = "";
  the = (script){.call_s = 10e-6, .noise = 0.1, .clock = {1980}};
  cr_assert_eq(measure(&t, false, why), FC_OK);
  cr_assert(t.timed_out, "a spread of 20 %% is not settled in %zu samples", t.samples);
  cr_assert(fabs(t.min_us - 9) < 1e-9 && t.iqr_us > 1 && t.p90_us <= 11 + 1e-9);
}

Test(measure, many_samples_know_the_median_of_an_unsteady_cpu) {
  static const fc_implementation impl = {.op = FC_BENCH_GEMM, .name = "fake"};
  fc_args args[1] = {{{0}}};
  void *states[1] = {0};
  fc_data d = {.device = &fake, .sets = 1, .args = args};
  fc_protocol p = fc_protocol_default(false, false);
  p.warm_max_s = p.min_total_s = 1e-3;
  p.max_total_s = 5;
  fc_timing t;
  char why[FC_WHY] = "";
  the = (script){.call_s = 1e-4, .noise = 0.05, .clock = {4000}};
  cr_assert_eq(fc_measure(&t, &d, &impl, states, &p, NULL, why), FC_OK, "%s", why);
  /* IQR 10 % of 100 us: 0.929 x 10 us / sqrt(n) <= 1 % of the median from n = 86; of an odd number the median
   * is 105 us: 79 */
  cr_assert(!t.timed_out && t.samples >= 79 && t.samples <= 86, "%zu samples", t.samples);
}

Test(measure, a_throttled_point_is_taken_once_more) {
  fc_timing t;
  char why[FC_WHY] = "";
  the = (script){.call_s = 10e-6, .clock = {1980, 1400, 1980, 1975}};
  cr_assert_eq(measure(&t, false, why), FC_OK);
  cr_assert(t.dropped >= 7 && t.samples >= 7, "%zu dropped", t.dropped);
  cr_assert_eq(t.clock_mhz, 1975);
}

Test(measure, sustained_is_the_last_half_without_rests) {
  fc_timing t;
  char why[FC_WHY] = "";
  the = (script){.call_s = 10e-6, .clock = {1980}};
  cr_assert_eq(measure(&t, true, why), FC_OK);
  cr_assert_eq(the.flushes, 0);
  cr_assert(t.samples > 0 && t.samples < the.replays);
}

Test(measure, a_failing_device_is_told) {
  fc_timing t;
  char why[FC_WHY] = "";
  for (int at = 1; at < 12; at++) {
    the = (script){.call_s = 10e-6, .clock = {1980}, .fail_at = at};
    cr_assert_eq(measure(&t, false, why), FC_E_IO);
    cr_assert(strstr(why, "fell off the bus"), "%s", why);
  }
}

/* --- what the launches rotate over --- */

Test(data, weights_come_in_copies_that_exceed_the_cache) {
  fc_bench_case c = {.op = FC_BENCH_GEMM, .dtype = FC_DTYPE_FP32, .m = 2, .n = 256, .k = 1024};
  fc_machine machine;
  fc_data d;
  char why[FC_WHY] = "";
  cr_assert_eq(fc_bench_cpu.open(&machine, why), 0);
  cr_assert_eq(fc_data_new(&d, &fc_bench_cpu, &machine, &c, 1, false, SIZE_MAX, why), FC_OK, "%s", why);
  double weights = 4.0 * 256 * 1024;
  cr_assert((double)d.sets * weights >= 12e6, "%zu copies", d.sets); /* thrice a second-level cache of 4 MB */
  cr_assert_str_eq(d.cache, "cold_l2");
  for (size_t s = 1; s < d.sets; s++) {
    cr_assert_eq(d.args[s].at[FC_GEMM_A], d.args[0].at[FC_GEMM_A], "activations stay warm");
    cr_assert_neq(d.args[s].at[FC_GEMM_B], d.args[s - 1].at[FC_GEMM_B]);
    cr_assert_arr_neq(d.args[s].at[FC_GEMM_B], d.args[0].at[FC_GEMM_B], (size_t)weights);
  }
  fc_data_free(&d);
  cr_assert_eq(fc_data_new(&d, &fc_bench_cpu, &machine, &c, 1, false, 2, why), FC_OK, "%s", why);
  cr_assert(d.sets == 2 && strcmp(d.cache, "hot") == 0, "two copies stay in the cache");
  fc_data_free(&d);
}

/* --- the journal --- */

static fc_row some_row(int i) {
  fc_row row = {.order = (size_t)i};
  cr_assert(fc_row_set(&row, FC_COLUMN_kernel, "gemm") && fc_row_set(&row, FC_COLUMN_m, "%d", i) &&
            fc_row_set(&row, FC_COLUMN_gpu, "G, \"1\"") && fc_row_set(&row, FC_COLUMN_status, "ok"));
  return row;
}

static void in_a_folder(char path[64]) {
  char folder[] = "/tmp/fc_journal_XXXXXX";
  cr_assert(mkdtemp(folder));
  (void)snprintf(path, 64, "%s/m.csv", folder);
}

Test(journal, goes_on_where_it_was_and_ends_in_one_file) {
  char path[64], partial[80];
  in_a_folder(path);
  (void)snprintf(partial, sizeof partial, "%s.partial", path);
  fc_machine machine = {.gpu = "G, \"1\""};
  fc_journal j;
  fc_rows earlier, rows = {0};
  fc_diags d;
  fc_diags_init(&d);
  cr_assert_eq(fc_journal_open(&j, path, &machine, false, &earlier, &d), FC_OK);
  cr_assert_eq(earlier.n, 0);
  for (int i = 3; i > 0; i--) {
    fc_row row = some_row(i);
    cr_assert_eq(fc_journal_add(&j, &row), FC_OK);
    fc_row_fini(&row);
  }
  fc_journal_close(&j);
  FILE *f = fopen(partial, "a"); /* a kill in the middle of a line */
  cr_assert(f && fputs("gemm,half a li", f) >= 0 && fclose(f) == 0);
  cr_assert(access(path, F_OK) != 0, "no file before the pass is complete");

  cr_assert_eq(fc_journal_open(&j, path, &machine, false, &rows, &d), FC_OK);
  cr_assert_eq(rows.n, 3);
  for (size_t i = 0; i < rows.n; i++) rows.item[i].order = (size_t)fc_row_number(&rows.item[i], FC_COLUMN_m);
  fc_rows_sort(&rows);
  cr_assert_eq(fc_journal_finish(&j, &rows), FC_OK);
  fc_journal_close(&j);
  fc_rows_fini(&rows);
  cr_assert(access(partial, F_OK) != 0);

  cr_assert_eq(fc_rows_read(&rows, path, &d), FC_OK);
  cr_assert_eq(rows.n, 3);
  for (size_t i = 0; i < 3; i++) cr_assert_eq(fc_row_number(&rows.item[i], FC_COLUMN_m), (double)i + 1);
  cr_assert_str_eq(rows.item[0].field[FC_COLUMN_gpu], "G, \"1\"", "quotes and commas survive");
  fc_rows_fini(&rows);
}

Test(journal, another_devices_pass_is_not_continued) {
  char path[64];
  in_a_folder(path);
  fc_machine one = {.gpu = "G, \"1\""}, other = {.gpu = "H200"};
  fc_journal j;
  fc_rows earlier;
  fc_diags d;
  fc_diags_init(&d);
  cr_assert_eq(fc_journal_open(&j, path, &one, false, &earlier, &d), FC_OK);
  fc_row row = some_row(1);
  cr_assert_eq(fc_journal_add(&j, &row), FC_OK);
  fc_row_fini(&row);
  fc_journal_close(&j);
  cr_assert_eq(fc_journal_open(&j, path, &other, false, &earlier, &d), FC_E_INPUT);
  cr_assert(d.n == 2 && strstr(d.item[0].text, "another device"), "%s", d.item[0].text);
}

Test(journal, a_folder_that_is_not_there) {
  fc_machine machine = {.gpu = "G"};
  fc_journal j;
  fc_rows earlier;
  cr_assert_eq(fc_journal_open(&j, "/nowhere/at/all/m.csv", &machine, false, &earlier, NULL), FC_E_IO);
  cr_assert_eq(errno, ENOENT);
}
