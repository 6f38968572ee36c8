/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "csv_rows.h"
#include "documented.h"
#include "planned.h"
#include "scratch.h"

static const fc_report_options options = {.version = "0", .command = "fleetcast plan x.yaml", .seed = 1};

static void write_all(const char *folder, const planned *p) {
  char why[FC_REPORT_WHY];
  fc_status status = fc_report_train_plan_write(folder, &p->answer, NULL, &options, why);
  cr_assert_eq(status, FC_OK, "%s: %s", fc_status_text(status), why);
}

Test(train_plan_files, rows_say_what_the_answer_says) {
  planned p;
  char folder[SCRATCH_ROOM];
  planned_make(&p);
  scratch_new(folder);
  write_all(folder, &p);
  csv *t = read_csv(scratch_path(folder, "plans.csv"));
  cr_expect_eq(t->n, p.result.n + 1 + p.result.n_near);
  cr_expect_str_eq(get(t, 0, "role"), "best");
  cr_expect_float_eq(number(t, 0, "days") * 86400, p.result.best[0].wall_s, 1e-6 * p.result.best[0].wall_s);
  for (size_t i = 0; i < t->n; i++) {
    double hours = number(t, i, "device_hours"), usd = number(t, i, "usd");
    cr_expect_float_eq(hours * number(t, i, "usd_per_device_h"), usd, 1e-9 * usd);
    cr_expect_float_eq(number(t, i, "days") * 24 * number(t, i, "devices"), hours, 1e-9 * hours);
    cr_expect_eq(number(t, i, "tp") * number(t, i, "pp") * number(t, i, "cp") * number(t, i, "dp"),
                 number(t, i, "devices"));
    cr_expect(number(t, i, "usd_low") < usd && usd < number(t, i, "usd_high"));
    cr_expect_eq(number(t, i, "short_bytes") > 0, strcmp(get(t, i, "role"), "near miss") == 0);
    cr_expect_gt(strlen(get(t, i, "why")), 10);
  }
  free_csv(t);
  t = read_csv(scratch_path(folder, "counts.csv"));
  double sum = 0;
  for (size_t i = 0; i < t->n; i++) sum += number(t, i, "plans");
  cr_expect_eq(sum, (double)p.result.tried, "every plan is counted once");
  free_csv(t);
  scratch_remove(folder);
  planned_free(&p);
}

Test(train_plan_files, the_picture_is_xml_with_finite_numbers) {
  planned p;
  char folder[SCRATCH_ROOM];
  planned_make(&p);
  scratch_new(folder);
  for (int empty = 0; empty < 2; empty++) {
    write_all(folder, &p);
    char *text = slurp(scratch_path(folder, "front.svg"));
    cr_expect(strncmp(text, "<svg ", 5) == 0 && strstr(text, "</svg>"));
    cr_expect(strstr(text, "plan &amp; run") && strstr(text, "h&lt;800&gt;") && !strstr(text, "h<800>"));
    cr_expect(!strstr(text, "nan") && !strstr(text, "inf"));
    cr_expect_eq(strstr(text, "<circle") != NULL, empty == 0);
    free(text);
    p.result.n = p.result.n_feasible_groups = 0; /* nothing at all */
  }
  scratch_remove(folder);
  planned_free(&p);
}

Test(train_plan_files, the_page_tells_it) {
  static const char *const wanted[] = {"plan & run",        "on what <1>?",    "cheapest, within 30 days",
                                       "% of the memory",   "WHAT LIMITS",     "RUNNER-UP LOST BY",
                                       "OTHER DEVICE",      "NEAR MISSES",     "GB more",
                                       "nothing is both",   "PLANS:",          "past the deadline",
                                       "within all limits", "a margin of 5 %", "late"};
  planned p;
  fc_text page = {0};
  planned_make(&p);
  cr_assert_eq(fc_report_train_plan_page(&page, &p.answer), FC_OK);
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
    cr_expect(strstr(page.bytes, wanted[i]) != NULL, "no '%s' in\n%s", wanted[i], page.bytes);
  fc_text_fini(&page);
  planned_free(&p);
}

Test(train_plan_files, same_answer_same_bytes_and_no_half_folder) {
  planned p;
  char a[SCRATCH_ROOM], b[SCRATCH_ROOM], command[300], why[FC_REPORT_WHY];
  planned_make(&p);
  scratch_new(a);
  scratch_new(b);
  write_all(a, &p);
  write_all(b, &p);
  (void)snprintf(command, sizeof command, "diff -r %s %s", a, b);
  cr_expect_eq(system(command), 0);
  p.result.best[0].estimate.watts = (double)NAN;
  cr_expect_eq(fc_report_train_plan_write(scratch_path(a, "new"), &p.answer, NULL, &options, why), FC_E_LAW);
  cr_expect(strstr(why, "INV-9"), "%s", why);
  cr_expect_neq(access(scratch_path(a, "new"), F_OK), 0);
  scratch_remove(a);
  scratch_remove(b);
  planned_free(&p);
}

/* --- docs/csv.md --- */

Test(train_plan_files, the_docs_list_exactly_the_columns) {
  static const char *const csvs[] = {"plans.csv", "counts.csv"};
  planned p;
  char folder[SCRATCH_ROOM];
  planned_make(&p);
  scratch_new(folder);
  write_all(folder, &p);
  char *docs = documented_text();
  for (size_t i = 0; i < 2; i++) expect_documented_columns(docs, "### train_plan: ", folder, csvs[i]);
  free(docs);
  scratch_remove(folder);
  planned_free(&p);
}
