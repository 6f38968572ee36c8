/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <glob.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/csv.h>
#include <fleetcast/fleet/run.h>
#include <fleetcast/report/write.h>
#include <fleetcast/scenario/load.h>

#include "scratch.h"

/* The laws that a reader of the files can check, on the frozen and on every shipped scenario:
 *   INV-1  device_hours of a pool's accounts sum to installed_device_hours, date by date
 *   INV-7  rent_usd, owner_usd and h100e_hours are products of the rows and rates as printed, to the last
 * digit summary.csv is timeseries.csv added up in file order, to the last digit split.csv: inference +
 * training + other + what is left out = all of summary.csv */

/* --- a table in memory --- */

enum { COLUMNS = 20 };

typedef struct {
  char *bytes;
  size_t n, capacity, columns;
  char (*name)[64];
  char *(*row)[COLUMNS]; /* texts in one block per row */
} rows;

static rows read_rows(const char *folder, const char *file) {
  rows t = {.name = calloc(COLUMNS, 64)};
  char path[256];
  size_t length;
  (void)snprintf(path, sizeof path, "%s/%s", folder, file);
  cr_assert_eq(fc_file_read(&t.bytes, &length, path, 256 << 20), FC_OK, "%s", path);
  fc_csv_reader *r;
  const fc_csv_field *field;
  cr_assert_eq(fc_csv_open(&r, path, t.bytes, length, NULL), FC_OK);
  t.columns = fc_csv_columns(r);
  cr_assert_leq(t.columns, COLUMNS);
  for (size_t c = 0; c < t.columns; c++) (void)snprintf(t.name[c], 64, "%s", fc_csv_column_name(r, c));
  while (fc_csv_next(r, &field, NULL) == FC_OK && field) {
    if (t.n == t.capacity) {
      t.capacity = t.capacity ? 2 * t.capacity : 1024;
      t.row = realloc(t.row, t.capacity * sizeof *t.row);
    }
    size_t total = 0;
    for (size_t c = 0; c < t.columns; c++) total += field[c].length + 1;
    char *block = malloc(total);
    for (size_t c = 0; c < t.columns; c++) {
      t.row[t.n][c] = memcpy(block, field[c].text, field[c].length + 1);
      block += field[c].length + 1;
    }
    t.n++;
  }
  cr_assert_eq(fc_csv_skipped(r), 0);
  fc_csv_free(r);
  return t;
}

static void free_rows(rows *t) {
  for (size_t i = 0; i < t->n; i++) free(t->row[i][0]);
  free(t->row);
  free(t->name);
  free(t->bytes);
}

static size_t column(const rows *t, const char *name) {
  for (size_t c = 0; c < t->columns; c++)
    if (strcmp(t->name[c], name) == 0) return c;
  cr_assert_fail("no column %s", name);
  return 0;
}

static double value_of(const char *text) {
  fc_csv_field field = {.text = text, .length = strlen(text)};
  double v = NAN;
  cr_assert(fc_csv_number(&v, &field), "'%s'", text);
  return v;
}

/* --- sums by key, in the order of the rows --- */

typedef struct {
  char key[200];
  double sum;
} sum;

typedef struct {
  size_t n, capacity;
  sum *at;
  size_t slot[1 << 16]; /* index + 1 */
} sums;

static double *sum_at(sums *s, bool create, const char *format, ...) FC_PRINTF(3, 4);
static double *sum_at(sums *s, bool create, const char *format, ...) {
  char key[sizeof s->at->key];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(key, sizeof key, format, args);
  va_end(args);
  size_t h = 5381;
  for (const char *p = key; *p; p++) h = h * 33 + (unsigned char)*p;
  for (h &= 0xFFFF; s->slot[h]; h = (h + 1) & 0xFFFF)
    if (strcmp(s->at[s->slot[h] - 1].key, key) == 0) return &s->at[s->slot[h] - 1].sum;
  static double zero;
  zero = 0;
  if (!create) return &zero;
  cr_assert_lt(s->n, 60000);
  if (s->n == s->capacity) {
    s->capacity = s->capacity ? 2 * s->capacity : 256;
    s->at = realloc(s->at, s->capacity * sizeof *s->at);
  }
  (void)strcpy(s->at[s->n].key, key);
  s->at[s->n].sum = 0;
  s->slot[h] = ++s->n;
  return &s->at[s->n - 1].sum;
}

static void check_date(sums *day, const char *date) {
  for (size_t i = 0; i < day->n; i++) {
    char pool[100], category[40], owner[100];
    if (sscanf(day->at[i].key, "device_hours|%99[^|]|%39[^|]|%99[^|]", pool, category, owner) < 2) continue;
    const char *rest = day->at[i].key + strlen("device_hours|");
#define RATE(metric) (*sum_at(day, false, metric "|%s||", pool))
#define OWN(metric)  (*sum_at(day, false, metric "|%s", rest))
    double hours = day->at[i].sum, rate = RATE("rent_rate"), owner_rate = RATE("owner_rate");
    cr_expect(OWN("rent_usd") == hours * rate, "%s %s: rent", date, rest);
    cr_expect(OWN("h100e_hours") == hours * RATE("h100e_per_device"), "%s %s: H100e", date, rest);
    double kwh = OWN("energy"), tariff = RATE("tariff");
    cr_expect(OWN("owner_usd") == hours * owner_rate + kwh * tariff, "%s %s: owner", date, rest);
    *sum_at(day, true, "used|%s||", pool) += hours;
  }
  for (size_t i = 0; i < day->n; i++) {
    char pool[100];
    if (sscanf(day->at[i].key, "installed_device_hours|%99[^|]", pool) != 1) continue;
    double used = *sum_at(day, false, "used|%s||", pool);
    cr_expect(fabs(used - day->at[i].sum) <= 1e-9 * used, "%s %s: %.17g used, %.17g installed", date, pool,
              used, day->at[i].sum);
  }
}

static void clear(sums *s) {
  s->n = 0;
  memset(s->slot, 0, sizeof s->slot);
}

static bool is_account_metric(const char *metric) {
  static const char *const metrics[] = {"device_hours", "h100e_hours", "useful_flop",
                                        "energy",       "rent_usd",    "owner_usd"};
  for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
    if (strcmp(metric, metrics[i]) == 0) return true;
  return false;
}

static void check_timeseries(const rows *t, sums *all) {
  sums *day = calloc(1, sizeof *day);
  const size_t date = column(t, "date"), pool = column(t, "pool"), category = column(t, "category"),
               service = column(t, "service"), metric = column(t, "metric"), value = column(t, "value");
  for (size_t i = 0; i < t->n; i++) {
    if (i && strcmp(t->row[i][date], t->row[i - 1][date]) != 0) {
      check_date(day, t->row[i - 1][date]);
      clear(day);
    }
    char *const *r = t->row[i];
    double v = value_of(r[value]);
    cr_expect(v != 0, "zeros are left out");
    *sum_at(day, true, "%s|%s|%s|%s", r[metric], r[pool], r[category], r[service]) += v;
    if (!is_account_metric(r[metric])) continue;
    *sum_at(all, true, "account|%s|%s|%s|%s", r[metric], r[pool], r[category], r[service]) += v;
    *sum_at(all, true, "category|%s||%s|", r[metric], r[category]) += v;
    *sum_at(all, true, "total|%s|||", r[metric]) += v;
  }
  if (t->n) check_date(day, t->row[t->n - 1][date]);
  free(day->at);
  free(day);
}

static void check_summary(const rows *t, sums *all) {
  const size_t period = column(t, "period"), level = column(t, "level"), pool = column(t, "pool"),
               category = column(t, "category"), service = column(t, "service"), metric = column(t, "metric"),
               value = column(t, "value");
  size_t checked = 0, wanted = 0;
  for (size_t i = 0; i < t->n; i++) {
    char *const *r = t->row[i];
    if (strcmp(r[period], "all") != 0 || !is_account_metric(r[metric])) continue;
    cr_expect(value_of(r[value]) == *sum_at(all, false, "%s|%s|%s|%s|%s", r[level], r[metric], r[pool],
                                            r[category], r[service]),
              "%s %s %s %s %s", r[level], r[metric], r[pool], r[category], r[service]);
    checked++;
  }
  for (size_t i = 0; i < all->n; i++) wanted += all->at[i].sum != 0;
  cr_expect_eq(checked, wanted, "%zu sums, %zu in summary.csv", wanted, checked);
}

static void check_split(const rows *t, sums *all) {
  const size_t period = column(t, "period"), stock = column(t, "flow_or_stock"), metric = column(t, "metric"),
               unexplained = column(t, "unexplained"), other_ai = column(t, "other_ai"),
               I = column(t, "inference"), T = column(t, "training"), O = column(t, "other"),
               share = column(t, "share"), ratio = column(t, "ratio_inference_to_training");
  cr_expect_gt(t->n, 0);
  for (size_t i = 0; i < t->n; i++) {
    char *const *r = t->row[i];
    if (*r[share]) cr_expect(value_of(r[share]) >= 0 && value_of(r[share]) <= 1);
    if (*r[ratio]) cr_expect(value_of(r[ratio]) == value_of(r[I]) / value_of(r[T]));
    if (strcmp(r[period], "all") != 0 || strcmp(r[stock], "flow") != 0) continue;
#define CATEGORY(name) (*sum_at(all, false, "category|%s||%s|", r[metric], name))
    double parts = value_of(r[I]) + value_of(r[T]) + value_of(r[O]) + CATEGORY("idle") + CATEGORY("down");
    if (strcmp(r[unexplained], "excluded") == 0) parts += CATEGORY("unexplained");
    if (strcmp(r[other_ai], "out") == 0) parts += CATEGORY("other_ai");
    double total = *sum_at(all, false, "total|%s|||", r[metric]);
    cr_expect(fabs(parts - total) <= 1e-12 * total, "%s: %.17g of %.17g", r[metric], parts, total);
  }
}

/* ASCII of at most 100 columns, and no number that is not one. */
static void check_page(const fc_fleet_result *result, uint64_t seed) {
  fc_text page = {0};
  cr_assert_eq(fc_report_page(&page, result, seed), FC_OK);
  for (const char *line = page.bytes; *line;) {
    size_t n = strcspn(line, "\n");
    cr_expect_leq(n, 100, "%.*s", (int)n, line);
    for (size_t i = 0; i < n; i++) cr_expect(line[i] >= ' ' && line[i] <= '~', "%.*s", (int)n, line);
    line += n + (line[n] == '\n');
  }
  cr_expect(!strstr(page.bytes, " nan") && !strstr(page.bytes, " inf ") && !strstr(page.bytes, "-nan "));
  fc_text_fini(&page);
}

static void check_scenario(const char *path, const char *data) {
  fc_input *input;
  fc_diags d;
  fc_diags_init(&d);
  fc_load_options load = {.expect = FC_INPUT_SCENARIO, .n_data_dirs = 1, .data_dirs = &data};
  cr_assert_eq(fc_input_load(&input, path, &load, &d), FC_OK, "%s: %s", path, d.n ? d.item[0].text : "");
  const fc_fleet_def *def = fc_input_fleet(input);
  fc_fleet_options options = {.seed = def->seed};
  fc_fleet_result *result;
  char why[FC_REPORT_WHY] = "", folder[SCRATCH_ROOM];
  cr_assert_eq(fc_fleet_run(&result, def, &options, why), FC_OK, "%s: %s", path, why);
  scratch_new(folder);
  fc_report_options report = {.version = "0", .command = "test", .seed = def->seed};
  cr_assert_eq(fc_report_write(folder, result, input, &report, why), FC_OK, "%s: %s", path, why);
  sums *all = calloc(1, sizeof *all);
  rows series = read_rows(folder, "timeseries.csv"), summary = read_rows(folder, "summary.csv"),
       split = read_rows(folder, "split.csv");
  cr_expect_gt(series.n, 0);
  check_timeseries(&series, all);
  check_summary(&summary, all);
  check_split(&split, all);
  check_page(result, def->seed);
  free_rows(&series);
  free_rows(&summary);
  free_rows(&split);
  free(all->at);
  free(all);
  fc_fleet_result_free(result);
  fc_input_free(input);
  scratch_remove(folder);
}

Test(exported_rows, of_the_frozen_scenario) {
  check_scenario(FC_SOURCE_DIR "/tests/golden/frozen/frozen.yaml", FC_SOURCE_DIR "/tests/golden/frozen");
}

/* One case a file of scenarios/. */
static const char shipped[] = FC_SOURCE_DIR "/scenarios/*.yaml";

ParameterizedTestParameters(exported_rows, of_every_shipped_scenario) {
  static size_t index[64];
  glob_t found = {0};
  size_t n = glob(shipped, 0, NULL, &found) == 0 ? found.gl_pathc : 0;
  globfree(&found);
  for (size_t i = 0; i < n && i < 64; i++) index[i] = i;
  return cr_make_param_array(size_t, index, n < 64 ? n : 64);
}

ParameterizedTest(size_t *i, exported_rows, of_every_shipped_scenario) {
  glob_t found = {0};
  cr_assert_eq(glob(shipped, 0, NULL, &found), 0);
  check_scenario(found.gl_pathv[*i], FC_SOURCE_DIR "/scenarios");
  globfree(&found);
}
