/* SPDX-License-Identifier: Apache-2.0 */
/* Composed training steps against published ones; docs/model.md#errors.
 *
 *  usage: training DATA SCENARIOS EXPECTED.csv [--update]
 *  Prints three tables: errors by group, every configuration but vTrain's, and peak memory.  Exit status: 0,
 * 1 (a group's median got worse than expected, or misses its bound), 2 (failed), 77 (no data). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fleetcast/cost/train_step.h>

#include "error_quantile.h"
#include "shipped.h"
#include "training_memory.h"
#include "training_rows.h"

enum { GROUPS_MAX = 24 };

typedef struct {
  char name[64];
  double error[TRAINING_ROWS_MAX]; /* ln(composed / published) */
  size_t n;
  double bound; /* of the median, stated by the issue; 0: none */
} group;

typedef struct {
  group of[GROUPS_MAX];
  size_t n;
} groups;

static memory_row memory[MEMORY_ROWS_MAX];
static training_rows rows; /* half a megabyte: not for the stack */
static groups scored, expected;

static group *group_named(groups *g, const char *name, double bound) {
  for (size_t i = 0; i < g->n; i++)
    if (strcmp(g->of[i].name, name) == 0) return &g->of[i];
  if (g->n == GROUPS_MAX) abort();
  group *fresh = &g->of[g->n++];
  (void)snprintf(fresh->name, sizeof fresh->name, "%s", name);
  fresh->n = 0;
  fresh->bound = bound;
  return fresh;
}

static void add(const char *name, double bound, double error) {
  group *g = group_named(&scored, name, bound);
  g->error[g->n++] = error;
}

static bool is(const training_row *row, const char *part) {
  return strstr(row->group, part) != NULL;
}

/* Also in the groups that the bounds are stated for. */
static void score(const training_row *row, double error) {
  bool bridge = is(row, "Bridge");
  add(row->group, is(row, "MLPerf") ? 0.08 : is(row, "odd") ? 0.10 : 0, error);
  if (is(row, "DeepSeek") || is(row, "Qwen3") || is(row, "gpt-oss")) {
    add("Bridge DeepSeek-V3, Qwen3, gpt-oss", 0.10, error);
    if (!row->calibrated) add("Bridge DeepSeek-V3, Qwen3, gpt-oss: not calibrated on", 0, error);
  }
  if (bridge && !row->calibrated) add("Bridge, all rows not calibrated on", 0, error);
  if (!bridge && !is(row, "MLPerf")) add("vTrain A100, all rows", 0.10, error);
}

static double compose(const training_row *row) {
  fc_train_step s;
  char why[256] = "";
  if (fc_train_plan_check(&row->model, &row->plan, why) != FC_OK) {
    (void)fprintf(stderr, "%s: %s\n", row->what, why);
    return (double)NAN;
  }
  return fc_cost_train_step(&s, &row->model, row->profile, &row->plan) == FC_OK ? s.seconds : (double)NAN;
}

static void print_groups(void) {
  (void)printf("| training steps | rows | median error | 90 %% within | median of composed / published |\n"
               "|---|---|---|---|---|\n");
  for (size_t i = 0; i < scored.n; i++) {
    const group *g = &scored.of[i];
    (void)printf("| %s | %zu | %.1f %% | %.1f %% | %.3f |\n", g->name, g->n,
                 100 * error_quantile(g->error, g->n, 0.5, true),
                 100 * error_quantile(g->error, g->n, 0.9, true),
                 1 + error_quantile(g->error, g->n, 0.5, false));
  }
}

/* Both releases of a configuration in one line. */
static void print_rows(const double composed[TRAINING_ROWS_MAX]) {
  (void)printf("\n| configuration | published, s a step | composed | error | |\n|---|---|---|---|---|\n");
  for (size_t i = 0; i < rows.n; i++) {
    const training_row *row = &rows.row[i];
    bool told = row->what[0] == '\0';
    for (size_t k = 0; !told && k < i; k++) told = strcmp(rows.row[k].what, row->what) == 0;
    if (told) continue;
    double sum = 0, n = 0;
    bool calibrated = false;
    char published[64] = "";
    for (size_t k = i; k < rows.n; k++) {
      if (strcmp(rows.row[k].what, row->what) != 0) continue;
      size_t at = strlen(published);
      (void)snprintf(published + at, sizeof published - at, "%s%.2f", n > 0 ? ", " : "",
                     rows.row[k].published_s);
      sum += rows.row[k].published_s;
      n++;
      calibrated |= rows.row[k].calibrated;
    }
    (void)printf("| %s | %s | %.2f | %+.0f %% | %s |\n", row->what, published, composed[i],
                 100 * (composed[i] / (sum / n) - 1), calibrated ? "one calibrated on" : "");
  }
}

/* Share by which the composed figure leaves the interval that a rounded one stands for. */
static double beyond_digit(const memory_row *row) {
  double off = fabs(row->composed_bytes - row->published_bytes) - row->half_unit_bytes;
  return fmax(0, off) / row->published_bytes;
}

static bool is_blind(const memory_row *row) {
  return strstr(row->group, "blind") != NULL;
}

/* How many rows keep the bound, those that the model was made with and the blind. */
static void print_shares(size_t n) {
  int of[2] = {0}, within[2] = {0}, digit[2] = {0};
  for (size_t i = 0; i < n; i++) {
    int blind = is_blind(&memory[i]) ? 1 : 0;
    of[blind]++;
    within[blind] += fabs(memory[i].composed_bytes / memory[i].published_bytes - 1) <= 0.03;
    digit[blind] += beyond_digit(&memory[i]) <= 0.03;
  }
  (void)printf("\n| peak memory | rows | within 3 %% | within 3 %% of what its digits stand for |\n"
               "|---|---|---|---|\n");
  for (int i = 0; i < 2; i++)
    (void)printf("| %s | %d | %d | %d |\n", i == 0 ? "seen" : "blind", of[i], within[i], digit[i]);
}

static void print_memory(size_t n) {
  (void)printf("\n| peak memory | run | published, GB | composed | error | beyond its last digit |\n"
               "|---|---|---|---|---|---|\n");
  for (size_t i = 0; i < n; i++)
    (void)printf("| %s | %s | %.1f | %.1f | %+.1f %% | %.1f %% |\n", memory[i].group, memory[i].what,
                 memory[i].published_bytes / 1e9, memory[i].composed_bytes / 1e9,
                 100 * (memory[i].composed_bytes / memory[i].published_bytes - 1),
                 100 * beyond_digit(&memory[i]));
  print_shares(n);
}

static bool read_expected(const char *path) {
  FILE *f = fopen(path, "r");
  char line[256];
  if (!f || !fgets(line, sizeof line, f)) return false;
  while (fgets(line, sizeof line, f)) {
    char *median = strrchr(line, ';');
    if (!median) continue;
    *median = '\0';
    group_named(&expected, line, 0)->bound = strtod(median + 1, NULL);
  }
  return fclose(f) == 0;
}

static bool write_expected(const char *path) {
  FILE *f = fopen(path, "w");
  if (!f) return false;
  (void)fprintf(f, "group;median_error\n");
  for (size_t i = 0; i < scored.n; i++)
    (void)fprintf(f, "%s;%.4f\n", scored.of[i].name,
                  error_quantile(scored.of[i].error, scored.of[i].n, 0.5, true));
  return fclose(f) == 0;
}

/* Medians may not grow by more than half a point. */
static bool gate(void) {
  bool good = scored.n == expected.n;
  if (!good) (void)printf("other groups than expected: --update\n");
  for (size_t i = 0; i < scored.n; i++) {
    const group *g = &scored.of[i];
    double median = error_quantile(g->error, g->n, 0.5, true),
           was = group_named(&expected, g->name, 0)->bound;
    if (!(median <= was + 0.005)) {
      (void)printf("worse: %s: median error %.1f %%, was %.1f %%\n", g->name, 100 * median, 100 * was);
      good = false;
    }
    if (g->bound > 0 && !(median <= g->bound)) {
      (void)printf("missed: %s: median error %.1f %%, wanted %.0f %%\n", g->name, 100 * median,
                   100 * g->bound);
      good = false;
    }
  }
  return good;
}

int main(int argc, char **argv) {
  if (argc < 4) {
    (void)fprintf(stderr, "usage: training DATA SCENARIOS EXPECTED.csv [--update]\n");
    return 2;
  }
  if (access(argv[1], R_OK) != 0) {
    (void)printf("skipped: no data in %s\n", argv[1]);
    return 77;
  }
  static double composed[TRAINING_ROWS_MAX];
  int code = training_read(&rows, argv[1], argv[2]) ? 0 : 2;
  for (size_t i = 0; code == 0 && i < rows.n; i++) {
    composed[i] = compose(&rows.row[i]);
    if (!(composed[i] > 0)) code = 2;
    score(&rows.row[i], log(composed[i] / rows.row[i].published_s));
  }
  size_t n_memory = code == 0 ? training_memory(memory, argv[2]) : 0;
  if (code == 0 && n_memory == 0) code = 2;
  for (size_t i = 0; code == 0 && i < n_memory; i++) {
    if (!(memory[i].composed_bytes > 0)) code = 2;
    double error = log(memory[i].composed_bytes / memory[i].published_bytes);
    add(is_blind(&memory[i]) ? "memory, blind, all rows" : "memory, all rows", 0.03, error);
    add(memory[i].group, 0, error);
  }
  if (code == 0) {
    print_groups();
    print_rows(composed);
    print_memory(n_memory);
    bool update = argc > 4 && strcmp(argv[4], "--update") == 0;
    if (update)
      code = write_expected(argv[3]) ? 0 : 2;
    else
      code = !read_expected(argv[3]) ? 2 : gate() ? 0 : 1;
  }
  shipped_free();
  return code;
}
