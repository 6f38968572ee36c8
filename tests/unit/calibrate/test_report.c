/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fleetcast/calibrate/report.h>

#include "fake_fit.h"

static const char *const paths[] = {"a&b.csv"};

static char *page(const fc_report_input *input) {
  fc_file *file;
  char path[64];
  static int n;
  (void)snprintf(path, sizeof path, "/tmp/fc_test_report.%ld.%d.html", (long)getpid(), n++);
  cr_assert_eq(fc_file_create(&file, path), FC_OK);
  cr_assert_eq(fc_calibration_report(file, input), FC_OK);
  char *text = fake_read_back(file, path);
  cr_assert_not_null(text);
  return text;
}

static fc_report_input whole_input(const fake_fit *f, fc_profile *profile) {
  *profile =
      (fc_profile){.name = "fake", .device = &f->device, .n_kernels = FAKE_FAMILIES, .kernels = f->kernel};
  return (fc_report_input){.table = &f->table,
                           .paths = paths,
                           .n_paths = 1,
                           .fit = &f->fit,
                           .device = &f->device,
                           .profile = profile,
                           .backend = "cuda",
                           .measured = "2026-11-26",
                           .version = "0.1.0",
                           .command = "fleetcast fit 'a&b.csv' --device <fake>",
                           .bench_s = 200,
                           .fit_s = 1.5};
}

/* Elements that need no end tag here. */
static bool is_open_ended(const char *name) {
  static const char *const all[] = {"!doctype", "meta", "path", "th", "br"};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (strcmp(name, all[i]) == 0) return true;
  return false;
}

/* Tags nest; nothing that should be escaped is not. */
static void check_balance(const char *text) {
  char open[64][16];
  size_t depth = 0;
  for (const char *p = text; (p = strchr(p, '<')); p++) {
    char name[16];
    size_t n = 0;
    bool end = p[1] == '/';
    for (const char *q = p + 1 + end; (isalnum((unsigned char)*q) || *q == '!') && n < 15; q++)
      name[n++] = *q;
    name[n] = '\0';
    cr_assert_gt(n, 0, "a bare '<' before %.40s", p);
    if (is_open_ended(name)) continue;
    if (!end) {
      cr_assert_lt(depth, 64);
      (void)strcpy(open[depth++], name);
      continue;
    }
    cr_assert_gt(depth, 0, "</%s> too many", name);
    cr_assert_str_eq(open[--depth], name);
  }
  cr_assert_eq(depth, 0, "<%s> is never closed", depth ? open[depth - 1] : "");
}

static size_t count(const char *text, const char *what) {
  size_t n = 0;
  for (const char *p = text; (p = strstr(p, what)); p++) n++;
  return n;
}

/* No number came out as one that is none. */
static void check_numbers(const char *text) {
  static const char *const bad[] = {">nan", ">-nan", " nan", "Mnan", "\"nan", "inf<", "inf ", "Minf", "-inf"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) cr_assert_null(strstr(text, bad[i]), "%s", bad[i]);
}

Test(report, is_well_formed_and_needs_nothing_else) {
  fake_fit f;
  fc_profile profile;
  fake_fit_init(&f);
  fc_report_input input = whole_input(&f, &profile);
  char *text = page(&input);
  check_balance(text);
  cr_assert_null(strstr(text, "<script"));
  cr_assert_null(strstr(text, "http"));
  check_numbers(text);
  free(text);
}

Test(report, has_every_family_and_every_section) {
  fake_fit f;
  fc_profile profile;
  fake_fit_init(&f);
  f.kernel[3].provenance = FC_PROVENANCE_TRANSFERRED;
  f.kernel[3].source = "from elsewhere";
  fc_report_input input = whole_input(&f, &profile);
  char *text = page(&input);
  cr_assert_eq(count(text, "<figure"), FAKE_FAMILIES);
  for (size_t i = 0; i < FAKE_FAMILIES; i++)
    cr_assert_not_null(strstr(text, fc_kernel_text(f.family[i].kernel)));
  static const char *const sections[] = {"Kernel by kernel", "Measured and fitted", "Worst points",
                                         "Measure next",     "Not measured",        "from elsewhere"};
  for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
    cr_assert_not_null(strstr(text, sections[i]), "%s", sections[i]);
  free(text);
}

Test(report, escapes_names) {
  fake_fit f;
  fc_profile profile;
  fake_fit_init(&f);
  fc_report_input input = whole_input(&f, &profile);
  char *text = page(&input);
  cr_assert_not_null(strstr(text, "Fake &lt;1&gt; &amp; Co"));
  cr_assert_not_null(strstr(text, "&lt;ours&gt; &amp; &quot;theirs&quot;"));
  cr_assert_not_null(strstr(text, "a&amp;b.csv"));
  cr_assert_null(strstr(text, "<ours>"));
  free(text);
}

Test(report, same_inputs_give_the_same_bytes) {
  fake_fit f, g;
  fc_profile profile, other;
  fake_fit_init(&f);
  fake_fit_init(&g);
  fc_report_input a = whole_input(&f, &profile), b = whole_input(&g, &other);
  char *first = page(&a), *second = page(&b);
  cr_assert_str_eq(first, second);
  free(first);
  free(second);
}

/* A report may lack whatever its caller does not know; statistics may be undefined. */
Test(report, little_is_enough) {
  fake_fit f;
  fake_fit_init(&f);
  for (size_t i = 0; i < FAKE_FAMILIES; i++) {
    f.report[i].median_error = f.report[i].p90_error = f.report[i].coverage = (double)NAN;
    for (size_t j = 0; j < 5; j++) f.report[i].worst[j] = SIZE_MAX;
  }
  fc_report_input input = {.table = &f.table, .fit = &f.fit, .device = &f.device};
  char *text = page(&input);
  check_balance(text);
  cr_assert_null(strstr(text, "Worst points"));
  check_numbers(text);
  free(text);
}

/* 110 families: the first dozen in sight, the others folded; the file stays small. */
Test(report, a_large_table_is_folded) {
  enum { MANY = 110 };
  static fc_family family[MANY];
  static fc_kernel_fit fit[MANY];
  static fc_family_report report[MANY];
  fake_fit f;
  fake_fit_init(&f);
  for (size_t i = 0; i < MANY; i++) {
    family[i] = f.family[i % FAKE_FAMILIES];
    fit[i] = f.kernel[i % FAKE_FAMILIES];
    report[i] = f.report[i % FAKE_FAMILIES];
  }
  f.table.n_families = f.fit.n = MANY;
  f.table.family = family;
  f.fit.fit = fit;
  f.fit.report = report;
  fc_report_input input = {.table = &f.table, .fit = &f.fit, .device = &f.device};
  char *text = page(&input);
  check_balance(text);
  cr_assert_eq(count(text, "<figure"), MANY);
  cr_assert_eq(count(text, "<details>"), 1);
  cr_assert_lt(strlen(text), 5 << 20);
  free(text);
}
