/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "csv_rows.h"
#include "documented.h"
#include "fake_training.h"
#include "scratch.h"

static const fc_report_options options = {.version = "0", .command = "fleetcast train x.yaml", .seed = 1};
static const char *const csvs[] = {"step.csv",          "memory.csv", "phases.csv",  "run.csv",
                                   "interruptions.csv", "ledger.csv", "variants.csv"};
enum { CSVS = sizeof csvs / sizeof *csvs };

static void write_all(const char *folder, const fake_training *f) {
  char why[FC_REPORT_WHY];
  fc_status status = fc_report_train_write(folder, &f->answer, NULL, &options, why);
  cr_assert_eq(status, FC_OK, "%s: %s", fc_status_text(status), why);
}

Test(train_files, rows_say_what_the_answer_says) {
  static fake_training f;
  char folder[SCRATCH_ROOM];
  fake_train(&f);
  scratch_new(folder);
  write_all(folder, &f);
  csv *t = read_csv(scratch_path(folder, "step.csv"));
  double sum = 0;
  for (size_t i = 0; i + 1 < t->n; i++) sum += number(t, i, "seconds");
  cr_expect_float_eq(sum, number(t, t->n - 1, "seconds"), 1e-12, "parts sum to the step, 'other' included");
  cr_expect_str_eq(get(t, t->n - 1, "part"), "step");
  free_csv(t);
  t = read_csv(scratch_path(folder, "run.csv"));
  for (size_t i = 0; i < t->n; i++) {
    cr_expect(number(t, i, "low") <= number(t, i, "median") && number(t, i, "median") <= number(t, i, "high"),
              "%s", get(t, i, "figure"));
    if (strcmp(get(t, i, "figure"), "device_hours") != 0) continue;
    cr_expect_float_eq(number(t, i, "error"), number(t, i, "median") / 1700 - 1, 1e-12);
    cr_expect_str_eq(get(t, i, "inside"),
                     number(t, i, "low") <= 1700 && number(t, i, "high") >= 1700 ? "1" : "0");
  }
  free_csv(t);
  t = read_csv(scratch_path(folder, "ledger.csv"));
  double reported = 0;
  for (size_t i = 0; i < t->n; i++)
    if (strcmp(get(t, i, "view"), "reported") == 0 && strcmp(get(t, i, "part"), "implicit") == 0)
      reported += number(t, i, "mean_usd");
  cr_expect_float_eq(reported, 3400, 1e-9, "the reported figure is taken apart without a rest");
  free_csv(t);
  t = read_csv(scratch_path(folder, "variants.csv"));
  cr_expect_eq(t->n, 2);
  cr_expect_str_eq(get(t, 1, "why"), "it does not fit");
  cr_expect_str_eq(get(t, 1, "step_s"), "");
  free_csv(t);
  scratch_remove(folder);
}

Test(train_files, pictures_are_xml_with_finite_numbers) {
  static const char *const pictures[] = {"run.svg", "ledger.svg", "variants.svg"};
  static fake_training f;
  char folder[SCRATCH_ROOM];
  fake_train(&f);
  scratch_new(folder);
  write_all(folder, &f);
  for (size_t i = 0; i < 3; i++) {
    char *text = slurp(scratch_path(folder, pictures[i]));
    cr_expect(strncmp(text, "<svg ", 5) == 0 && strstr(text, "</svg>"), "%s", pictures[i]);
    cr_expect(strstr(text, "fake &amp; run") && !strstr(text, "& run") && !strstr(text, "main <1>"),
              "escaped");
    cr_expect(!strstr(text, "nan") && !strstr(text, "inf") && strstr(text, "<rect x"), "%s", pictures[i]);
    free(text);
  }
  scratch_remove(folder);
}

Test(train_files, the_page_tells_it) {
  static const char *const wanted[] = {"fake & run",      "how long?",     "STEP",
                                       "WHERE A STEP",    "THE RUN",       "WHAT HELD",
                                       "at rent",         "owner's books", "THE REPORTED FIGURE",
                                       "it leaves out:",  "VARIANTS",      "cannot be",
                                       "it does not fit", "inside",        "Young/Daly",
                                       "not stated"};
  static fake_training f;
  fc_text page = {0};
  fake_train(&f);
  cr_assert_eq(fc_report_train_page(&page, &f.answer), FC_OK);
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
    cr_expect(strstr(page.bytes, wanted[i]) != NULL, "no '%s' in\n%s", wanted[i], page.bytes);
  for (const char *p = page.bytes; *p; p += strcspn(p, "\n"), p += *p == '\n')
    cr_expect_leq(strcspn(p, "\n"), 100, "%.110s", p);
  fc_text_fini(&page);
}

Test(train_files, same_answer_same_bytes_and_no_half_folder) {
  static fake_training f;
  char a[SCRATCH_ROOM], b[SCRATCH_ROOM], command[300], why[FC_REPORT_WHY];
  fake_train(&f);
  scratch_new(a);
  scratch_new(b);
  write_all(a, &f);
  write_all(b, &f);
  (void)snprintf(command, sizeof command, "diff -r %s %s", a, b);
  cr_expect_eq(system(command), 0);
  f.answer.phase[0].watts = (double)NAN;
  cr_expect_eq(fc_report_train_write(scratch_path(a, "new"), &f.answer, NULL, &options, why), FC_E_LAW);
  cr_expect(strstr(why, "INV-9"), "%s", why);
  FILE *none = fopen(scratch_path(a, "new/manifest.yaml"), "r");
  cr_expect_null(none);
  scratch_remove(a);
  scratch_remove(b);
}

/* --- docs/csv.md --- */

Test(train_files, the_docs_list_exactly_the_columns) {
  static fake_training f;
  char folder[SCRATCH_ROOM];
  fake_train(&f);
  scratch_new(folder);
  write_all(folder, &f);
  char *docs = documented_text();
  for (size_t i = 0; i < CSVS; i++) expect_documented_columns(docs, "### train: ", folder, csvs[i]);
  expect_documented_manifest(docs, "### train: ", folder);
  free(docs);
  scratch_remove(folder);
}
