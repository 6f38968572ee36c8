/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/report/write.h>

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "csv_rows.h"
#include "documented.h"
#include "fake_result.h"
#include "scratch.h"

static char folder[SCRATCH_ROOM];

static void make_folder(void) {
  scratch_new(folder);
}

static void remove_folder(void) {
  scratch_remove(folder);
}

TestSuite(report, .init = make_folder, .fini = remove_folder);

static const char *const files[] = {"timeseries.csv", "summary.csv", "split.csv",   "jobs.csv",
                                    "events.csv",     "serving.csv", "training.csv"};
enum { FILES = sizeof files / sizeof *files };

static const char *in(const char *sub, const char *name) {
  return scratch_path(scratch_path(folder, sub), name);
}

static const fc_report_options options = {
    .version = "1.2.3", .command = "fleetcast run fake.yaml --seed 7", .seed = 7};

static fc_status write_to(const char *sub, const fc_fleet_result *r, char *why) {
  return fc_report_write(in(sub, ""), r, NULL, &options, why);
}

static int entries(const char *path) {
  DIR *d = opendir(path);
  if (!d) return -1;
  int n = 0;
  while (readdir(d)) n++;
  (void)closedir(d);
  return n - 2;
}

/* --- laws --- */

/* INV-7: rent, owner's cost and H100-equivalents follow from the rows and rates as printed, to the last
 * digit. */
Test(report, money_is_rows_times_rates) {
  fc_fleet_result r = fake_result();
  char why[FC_REPORT_WHY];
  cr_assert_eq(write_to("", &r, why), FC_OK, "%s", why);
  csv *t = read_csv(in("", "timeseries.csv"));
  size_t checked = 0;
  for (size_t i = 0; i < t->n; i++) {
    if (strcmp(get(t, i, "metric"), "device_hours") != 0) continue;
    const char *date = get(t, i, "date"), *pool = get(t, i, "pool"), *category = get(t, i, "category"),
               *service = get(t, i, "service");
#define RATE(m) SUM(t, "date", date, "pool", pool, "metric", m)
#define OWN(m)  SUM(t, "date", date, "pool", pool, "category", category, "service", service, "metric", m)
    double hours = number(t, i, "value");
    cr_expect(OWN("rent_usd") == hours * RATE("rent_rate"));
    cr_expect(OWN("owner_usd") == hours * RATE("owner_rate") + OWN("energy") * RATE("tariff"));
    cr_expect(OWN("h100e_hours") == hours * RATE("h100e_per_device"));
    checked++;
  }
  cr_expect_eq(checked, FAKE_ACCOUNTS * FAKE_BUCKETS);
  free_csv(t);
}

Test(report, summary_is_the_sum_of_the_rows) {
  fc_fleet_result r = fake_result();
  char why[FC_REPORT_WHY];
  cr_assert_eq(write_to("", &r, why), FC_OK, "%s", why);
  csv *t = read_csv(in("", "timeseries.csv")), *s = read_csv(in("", "summary.csv"));
  static const char *const metrics[] = {"device_hours", "h100e_hours", "useful_flop",
                                        "energy",       "rent_usd",    "owner_usd"};
  size_t checked = 0;
  for (size_t i = 0; i < s->n; i++) {
    const char *metric = get(s, i, "metric"), *level = get(s, i, "level");
    bool is_account_metric = false;
    for (size_t k = 0; k < 6; k++) is_account_metric |= strcmp(metric, metrics[k]) == 0;
    if (!is_account_metric || strcmp(get(s, i, "period"), "all") != 0) continue;
    double sum = strcmp(level, "total") == 0 ? SUM(t, "metric", metric)
                 : strcmp(level, "category") == 0
                     ? SUM(t, "metric", metric, "category", get(s, i, "category"))
                     : SUM(t, "metric", metric, "category", get(s, i, "category"), "pool", get(s, i, "pool"),
                           "service", get(s, i, "service"));
    cr_expect(sum == number(s, i, "value"), "%s %s", level, metric);
    checked++;
  }
  cr_expect_gt(checked, 60);
  double years = SUM(s, "period", "2025", "level", "total", "metric", "energy") +
                 SUM(s, "period", "2026", "level", "total", "metric", "energy");
  cr_expect(fabs(years / SUM(s, "period", "all", "level", "total", "metric", "energy") - 1) < 1e-14);
  free_csv(t);
  free_csv(s);
}

/* Not everything is a sum: means, maxima, last values. */
Test(report, services_over_a_period) {
  fc_fleet_result r = fake_result();
  r.service[0][0].tokens_queued = 7;
  r.service[0][2].tokens_queued = 5;
  r.service[0][1].peak_devices = 9999;
  char why[FC_REPORT_WHY];
  cr_assert_eq(write_to("", &r, why), FC_OK, "%s", why);
  csv *s = read_csv(in("", "summary.csv"));
#define CHAT(p, m) SUM(s, "period", p, "level", "service", "service", "chat", "metric", m)
  cr_expect(CHAT("all", "tokens_in") == 6e13);
  cr_expect(CHAT("2025", "tokens_in") == 3e13);
  cr_expect(CHAT("all", "tokens_queued") == 5);
  cr_expect(CHAT("all", "devices_peak") == 9999);
  cr_expect(CHAT("2026", "devices_peak") == 5202);
  double days[] = {30, 31, 31}, mean = 0;
  for (int b = 0; b < 3; b++) mean += (r.cell[0][b].device_s + r.cell[9][b].device_s) / 86400 / 92;
  cr_expect(fabs(CHAT("all", "devices_mean") / mean - 1) < 1e-12);
  double installed = (days[0] * 10007 + days[1] * 11003 + days[2] * 12011) / 92;
  cr_expect(fabs(SUM(s, "period", "all", "level", "pool", "pool", "north", "metric", "installed_devices") /
                     installed -
                 1) < 1e-12);
  free_csv(s);
}

Test(report, hours_by_category_sum_to_the_installed) {
  fc_fleet_result r = fake_result();
  char why[FC_REPORT_WHY];
  cr_assert_eq(write_to("", &r, why), FC_OK, "%s", why);
  csv *s = read_csv(in("", "summary.csv"));
  double used = SUM(s, "period", "all", "level", "total", "metric", "device_hours");
  double installed = SUM(s, "period", "all", "level", "pool", "metric", "installed_device_hours");
  cr_expect(fabs(used - installed) <= 1e-12 * installed);
  free_csv(s);
}

static void expect_law(const fc_fleet_result *r, const char *law) {
  char why[FC_REPORT_WHY];
  cr_expect_eq(write_to("new/deep", r, why), FC_E_LAW);
  cr_expect_eq(strncmp(why, law, strlen(law)), 0, "%s", why);
  cr_expect_eq(entries(in("new", "")), -1, "no folder is left behind");
}

Test(report, a_broken_law_writes_nothing) {
  fc_fleet_result r = fake_result();
  r.cell[3][1].device_s *= 1.000001;
  expect_law(&r, "INV-1:");
  r = fake_result();
  r.cell[3][1].flop = NAN;
  expect_law(&r, "INV-9: a number of timeseries.csv");
  r = fake_result();
  r.job[0].flop = INFINITY;
  expect_law(&r, "INV-9: a number of jobs.csv");
  r = fake_result();
  r.pool[0][0].rent_usd_per_device_s = NAN;
  expect_law(&r, "INV-9:");
}

/* --- files --- */

Test(report, same_result_same_bytes_in_any_folder) {
  fc_fleet_result r = fake_result();
  char why[FC_REPORT_WHY];
  cr_assert_eq(write_to("a", &r, why), FC_OK);
  cr_assert_eq(write_to("b/c", &r, why), FC_OK);
  cr_assert_eq(write_to("a", &r, why), FC_OK); /* over itself */
  cr_expect_eq(entries(in("a", "")), FILES + 1);
  for (int i = 0; i <= FILES; i++) {
    const char *name = i < FILES ? files[i] : "manifest.yaml";
    char *a = slurp(in("a", name)), *b = slurp(in("b/c", name));
    cr_expect_str_eq(a, b, "%s", name);
    cr_expect_null(strstr(a, "/tmp"));
    free(a);
    free(b);
  }
}

static void limit_files(rlim_t bytes) {
  (void)signal(SIGXFSZ, SIG_IGN);
  struct rlimit limit;
  cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
  limit.rlim_cur = bytes;
  cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

Test(report, a_full_disk_leaves_the_old_results) {
  fc_fleet_result r = fake_result();
  char why[FC_REPORT_WHY];
  cr_assert_eq(write_to("a", &r, why), FC_OK);
  char *before = slurp(in("a", "timeseries.csv")), *manifest = slurp(in("a", "manifest.yaml"));
  r.cell[0][0].flop *= 2;
  limit_files(4000);
  cr_expect_eq(write_to("a", &r, why), FC_E_IO);
  cr_expect_eq(errno, EFBIG);
  cr_expect_not_null(strstr(why, "/a/timeseries.csv"), "%s", why);
  cr_expect_eq(write_to("new", &r, why), FC_E_IO);
  limit_files(RLIM_INFINITY);
  char *after = slurp(in("a", "timeseries.csv")), *manifest_after = slurp(in("a", "manifest.yaml"));
  cr_expect_str_eq(before, after);
  cr_expect_str_eq(manifest, manifest_after);
  cr_expect_eq(entries(in("a", "")), FILES + 1);
  cr_expect_eq(entries(in("new", "")), -1);
  free(before);
  free(after);
  free(manifest);
  free(manifest_after);
}

Test(report, nowhere_to_write) {
  fc_fleet_result r = fake_result();
  char why[FC_REPORT_WHY];
  FILE *f = fopen(in("", "plain"), "w");
  cr_assert(f && fclose(f) == 0);
  cr_expect_eq(write_to("plain", &r, why), FC_E_IO);
  cr_expect_eq(errno, ENOTDIR);
  cr_expect_eq(write_to("plain/sub", &r, why), FC_E_IO);
  cr_expect_eq(errno, ENOTDIR);
  cr_expect_eq(fc_report_write("/proc/none", &r, NULL, &options, why), FC_E_IO);
  cr_expect_str_eq(why, "/proc/none");
}

Test(report, interrupted) {
  fc_fleet_result r = fake_result();
  char why[FC_REPORT_WHY];
  atomic_int cancel = 1;
  fc_report_options o = options;
  o.cancel = &cancel;
  cr_expect_eq(fc_report_write(in("new", ""), &r, NULL, &o, why), FC_E_CANCELLED);
  cr_expect_eq(entries(in("new", "")), -1);
}

Test(report, the_manifest_knows_the_files) {
  fc_fleet_result r = fake_result();
  char why[FC_REPORT_WHY];
  cr_assert_eq(write_to("", &r, why), FC_OK);
  char *manifest = slurp(in("", "manifest.yaml"));
  for (int i = 0; i < FILES; i++) {
    char command[512], line[300], digest[65] = "";
    (void)snprintf(command, sizeof command, "sha256sum %s", in("", files[i]));
    FILE *p = popen(command, "r");
    cr_assert(p && fscanf(p, "%64s", digest) == 1);
    (void)pclose(p);
    csv *t = read_csv(in("", files[i]));
    char *bytes = slurp(in("", files[i]));
    (void)snprintf(line, sizeof line, "  - {file: %s, rows: %zu, bytes: %zu, sha256: %s}\n", files[i], t->n,
                   strlen(bytes), digest);
    cr_expect_not_null(strstr(manifest, line), "%s", line);
    free(bytes);
    free_csv(t);
  }
  cr_expect_not_null(strstr(manifest, "\nseed: 7\n"));
  cr_expect_not_null(strstr(manifest, "\ncommand: \"fleetcast run fake.yaml --seed 7\"\n"));
  free(manifest);
}

/* --- the share --- */

/* One account a category, amounts that are powers of two: every sum is a fingerprint. */
static fc_fleet_result fingerprint(void) {
  fc_fleet_result r = fake_result();
  r.accounts = FC_CATEGORY_COUNT;
  for (int c = 0; c < FC_CATEGORY_COUNT; c++) {
    r.account[c] = (fc_account){0, (fc_category)c, c < FC_CATEGORY_IDLE ? "x" : ""};
    for (int b = 0; b < FAKE_BUCKETS; b++)
      r.cell[c][b] = (fc_account_cell){3600.0 * (1 << c), 1 << c, 3.6e6 * (1 << c)};
  }
  for (int b = 0; b < FAKE_BUCKETS; b++) {
    r.pool[0][b].installed_device_s = 3600.0 * ((1 << FC_CATEGORY_COUNT) - 1);
    r.pool[1][b].installed_device_s = 0;
  }
  return r;
}

enum {
  SERVING = 1,
  ROLLOUTS = 2,
  PRE = 4,
  POST = 8,
  EXPERIMENTS = 16,
  FINE = 32,
  FAILED = 64,
  OTHER = 128,
  UNEXPLAINED = 1024
};

Test(report, each_definition_counts_what_it_says) {
  static const struct {
    const char *training, *rl, *unexplained, *other_ai;
    int i, t, o;
  } want[] = {
      {"final_runs", "training", "excluded", "out", SERVING, PRE + ROLLOUTS,
       POST + EXPERIMENTS + FINE + FAILED},
      {"final_runs", "inference", "excluded", "out", SERVING + ROLLOUTS, PRE,
       POST + EXPERIMENTS + FINE + FAILED},
      {"final_runs_and_experiments", "training", "excluded", "in", SERVING, PRE + EXPERIMENTS + ROLLOUTS,
       POST + FINE + FAILED + OTHER},
      {"all_rnd", "training", "excluded", "out", SERVING, ROLLOUTS + PRE + POST + EXPERIMENTS + FINE + FAILED,
       0},
      {"all_rnd", "inference", "excluded", "in", SERVING + ROLLOUTS, PRE + POST + EXPERIMENTS + FINE + FAILED,
       OTHER},
      {"all_rnd", "training", "inference", "out", SERVING + UNEXPLAINED,
       ROLLOUTS + PRE + POST + EXPERIMENTS + FINE + FAILED, 0},
      {"all_rnd", "inference", "training", "in", SERVING + ROLLOUTS,
       PRE + POST + EXPERIMENTS + FINE + FAILED + UNEXPLAINED, OTHER},
  };
  fc_fleet_result r = fingerprint();
  char why[FC_REPORT_WHY];
  cr_assert_eq(write_to("", &r, why), FC_OK, "%s", why);
  csv *t = read_csv(in("", "split.csv"));
  cr_expect_eq(t->n, 4 * 216, "all, 2025, 2026, stock");
  size_t checked = 0;
  for (size_t i = 0; i < t->n; i++) {
    for (size_t k = 0; k < sizeof want / sizeof *want; k++) {
      const char *const pairs[] = {"training_definition",
                                   want[k].training,
                                   "rl_rollouts",
                                   want[k].rl,
                                   "unexplained",
                                   want[k].unexplained,
                                   "other_ai",
                                   want[k].other_ai,
                                   "metric",
                                   "device_hours",
                                   NULL};
      if (!matches(t, i, pairs)) continue;
      double months = strcmp(get(t, i, "period"), "all") == 0    ? 3
                      : strcmp(get(t, i, "period"), "2025") == 0 ? 2
                                                                 : 1;
      double I = number(t, i, "inference"), T = number(t, i, "training"), O = number(t, i, "other");
      cr_expect(I == months * want[k].i && T == months * want[k].t && O == months * want[k].o,
                "case %zu: %g %g %g in %s", k, I, T, O, get(t, i, "period"));
      cr_expect(number(t, i, "share") == I / (I + T + O));
      cr_expect(number(t, i, "share_of_two") == I / (I + T));
      cr_expect(number(t, i, "ratio_inference_to_training") == I / T);
      checked++;
    }
  }
  cr_expect_eq(checked, 4 * sizeof want / sizeof *want);
  free_csv(t);
}

Test(report, a_share_of_nothing_is_empty) {
  fc_fleet_result r = fingerprint();
  r.accounts = FC_CATEGORY_COUNT; /* all of it idle */
  for (int b = 0; b < FAKE_BUCKETS; b++)
    for (int c = 0; c < FC_CATEGORY_COUNT; c++)
      r.cell[c][b] = c == FC_CATEGORY_IDLE ? (fc_account_cell){r.pool[0][b].installed_device_s, 0, 1}
                                           : (fc_account_cell){0};
  char why[FC_REPORT_WHY];
  cr_assert_eq(write_to("", &r, why), FC_OK, "%s", why);
  csv *t = read_csv(in("", "split.csv"));
  for (size_t i = 0; i < t->n; i++) {
    cr_expect_str_eq(get(t, i, "share"), "");
    cr_expect_str_eq(get(t, i, "share_of_two"), "");
    cr_expect_str_eq(get(t, i, "ratio_inference_to_training"), "");
  }
  free_csv(t);
  fc_text page = {0};
  cr_expect_eq(fc_report_page(&page, &r, 1), FC_OK);
  cr_expect_null(strstr(page.bytes, "nan"));
  fc_text_fini(&page);
}

/* --- docs/csv.md --- */

Test(report, the_docs_list_exactly_the_columns) {
  fc_fleet_result r = fake_result();
  char why[FC_REPORT_WHY];
  cr_assert_eq(write_to("", &r, why), FC_OK);
  char *docs = documented_text();
  for (int i = 0; i < FILES; i++) expect_documented_columns(docs, "## ", folder, files[i]);
  expect_documented_manifest(docs, "## ", folder);
  free(docs);
}

Test(report, the_docs_list_exactly_the_metrics) {
  fc_fleet_result r = fake_result();
  char why[FC_REPORT_WHY];
  documented_names names;
  documented_units units;
  bool seen[2][DOCUMENTED] = {{false}};
  cr_assert_eq(write_to("", &r, why), FC_OK);
  char *docs = documented_text();
  size_t n = documented(names, docs, "\n### Metrics\n", units);
  cr_assert_geq(n, 6);
  for (int f = 0; f < 2; f++) {
    csv *t = read_csv(in("", files[f]));
    for (size_t i = 0; i < t->n; i++) {
      size_t k = 0;
      while (k < n && strcmp(names[k], get(t, i, "metric")) != 0) k++;
      cr_assert_lt(k, n, "%s: metric %s is not in docs/csv.md", files[f], get(t, i, "metric"));
      cr_expect_str_eq(units[k], get(t, i, "unit"), "%s", names[k]);
      seen[f][k] = true;
    }
    free_csv(t);
  }
  for (size_t k = 0; k < n; k++) cr_expect(seen[0][k], "docs/csv.md: metric %s is never written", names[k]);
  free(docs);
}

/* --- what the other tables say --- */

Test(report, jobs_events_and_answers) {
  fc_fleet_result r = fake_result();
  char why[FC_REPORT_WHY];
  cr_assert_eq(write_to("", &r, why), FC_OK);
  csv *t = read_csv(in("", "jobs.csv"));
  cr_expect_eq(t->n, 4);
  cr_expect_str_eq(get(t, 0, "end"), "2025-12-26");
  cr_expect_str_eq(get(t, 0, "state"), "done");
  cr_expect(number(t, 0, "device_hours") == 2048 * 55 * 24);
  cr_expect_str_eq(get(t, 1, "end"), "");
  cr_expect_str_eq(get(t, 3, "pool"), "");
  cr_expect_str_eq(get(t, 3, "state"), "impossible");
  free_csv(t);
  t = read_csv(in("", "events.csv"));
  cr_expect_eq(t->n, 2);
  cr_expect_str_eq(get(t, 0, "date"), "2025-11-01T14:00:00Z");
  free_csv(t);
  t = read_csv(in("", "serving.csv"));
  cr_expect_eq(t->n, 3);
  cr_expect_str_eq(get(t, 0, "prefill_plan"), "tp4 dp8 ep32 fp8 kv-bf16 two-batch-overlap");
  cr_expect_str_eq(get(t, 1, "prefill_plan"), "tp1 dp144 ep144 fp8 kv-bf16");
  cr_expect_str_eq(get(t, 2, "feasible"), "false");
  cr_expect_str_eq(get(t, 2, "why"), "weights need 671 GB, an instance has 640 GB");
  cr_expect_str_eq(get(t, 2, "tpot_s"), "");
  free_csv(t);
  t = read_csv(in("", "training.csv"));
  cr_expect_eq(t->n, 3);
  double days = 14.8e12 / (3.2e6 * 0.97) / 86400;
  cr_expect(number(t, 0, "days") == days);
  cr_expect(number(t, 0, "device_hours") == days * 24 * 2048);
  cr_expect(number(t, 1, "tokens") == 1e23 / 2.5e11);
  cr_expect_str_eq(get(t, 2, "run"), "ablations");
  free_csv(t);
}

/* --- the page --- */

Test(report, the_page_is_readable) {
  fc_fleet_result r = fake_result();
  fc_text page = {0};
  cr_assert_eq(fc_report_page(&page, &r, 7), FC_OK);
  for (const char *line = page.bytes; *line;) {
    size_t n = strcspn(line, "\n");
    cr_expect_leq(n, 100, "%.*s", (int)n, line);
    cr_expect(n == 0 || line[n - 1] != ' ', "blank at the end: %.*s", (int)n, line);
    for (size_t i = 0; i < n; i++) cr_expect(line[i] >= ' ' && line[i] <= '~', "%.*s", (int)n, line);
    line += n + (line[n] == '\n');
  }
  static const char *const wanted[] = {"scope: a test; from 2025-11-01 to 2026-02-01, monthly rows; seed 7",
                                       "SUPPLY",
                                       "WORK",
                                       "TOKENS",
                                       "SERVING",
                                       "TRAINING RUNS",
                                       "JOB STREAMS",
                                       "INFERENCE SHARE",
                                       "unexplained",
                                       "claims: 70 % is 2.33x",
                                       "49.0 ms",
                                       "done",
                                       "running, 42 %",
                                       "impossible: weights need 671 GB",
                                       "39.0 %"};
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
    cr_expect_not_null(strstr(page.bytes, wanted[i]), "%s", wanted[i]);
  if (getenv("FC_SHOW_PAGE")) (void)fputs(page.bytes, stderr);
  fc_text_fini(&page);
}
