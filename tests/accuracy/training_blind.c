/* SPDX-License-Identifier: Apache-2.0 */
/* Composed training steps against published ones that no part of the model was chosen on;
 * docs/train.md#steps.
 *
 *  usage: training_blind ROWS.csv SCENARIOS EXPECTED.csv [--update | --rows]
 *  Prints errors by group; with --rows every row, machine-readable, with where its time goes.  Exit status:
 * 0, 1 (a group's median got worse than expected), 2 (failed). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/cost/train_step.h>

#include "error_quantile.h"
#include "shipped.h"

enum { COLUMNS = 25, LINE_MAX_ = 1024, ROWS_MAX = 256, GROUPS_MAX = 32 };

/* Columns of the file. */
enum {
  GROUP,
  WHAT,
  MODEL,
  DEVICE,
  DEVICES,
  TP,
  PP,
  CP,
  EP,
  CHUNKS,
  MICRO,
  BATCH,
  SEQUENCE,
  ZERO,
  RECOMPUTE,
  FORMAT,
  LAUNCH,
  OVERLAP,
  FLAGS,
  PUBLISHED,
  UNIT,
  STEP,
  SOURCE,
  ASSUMED,
  SINCE /* facts of the software that the model has had no words for before */
};

typedef struct {
  char group[64], what[96];
  fc_train_step step;
  double published_s, error; /* ln(composed / published) */
} blind_row;

typedef struct {
  const char *name;
  double error[ROWS_MAX];
  size_t n;
  double before; /* median error when the rows were composed for the first time */
  double was;    /* and when it was last recorded */
} blind_group;

static blind_row rows[ROWS_MAX];
static size_t n_rows;
static blind_group groups[GROUPS_MAX];
static size_t n_groups;

/* Splits a line at its semicolons, in place. */
static int split(char *line, char *field[COLUMNS]) {
  int n = 0;
  line[strcspn(line, "\r\n")] = '\0';
  for (char *at = line; n < COLUMNS; at++) {
    field[n++] = at;
    at = strchr(at, ';');
    if (!at) break;
    *at = '\0';
  }
  return n;
}

/* --- what rows refer to --- */

/* "gpt LAYERS HIDDEN HEADS VOCABULARY", or a shipped model's name. */
static bool model_of(fc_model *out, const char *name, const char *scenarios) {
  if (strncmp(name, "gpt ", 4) != 0) {
    const fc_model *model = shipped_model(scenarios, name);
    if (model) *out = *model;
    return model != NULL;
  }
  char *at = NULL;
  long long layers = strtoll(name + 4, &at, 10), hidden = strtoll(at, &at, 10);
  long long heads = strtoll(at, &at, 10), vocab = strtoll(at, &at, 10);
  if (layers < 1 || hidden < 1 || heads < 1 || vocab < 1 || *at) return false;
  *out = (fc_model){.name = "gpt",
                    .layers = layers,
                    .hidden = hidden,
                    .vocab = vocab,
                    .tied_embeddings = true,
                    .ffn = 4 * hidden,
                    .plain_ffn = true,
                    .attention = {.kind = FC_ATTENTION_GQA, .heads = heads, .kv_heads = heads}};
  out->attention.head_dim = hidden / heads;
  return true;
}

static int word_of(const char *word, const char *const words[], int n) {
  for (int i = 0; i < n; i++)
    if (strcmp(word, words[i]) == 0) return i;
  return -1;
}

/* False: an unknown word. */
static bool set_flags(fc_train_plan *p, fc_model *model, char *flags) {
  for (char *word = strtok(flags, " "); word; word = strtok(NULL, " ")) {
    static const char *const words[] = {"tensor_scales",  "bf16_dispatch", "bf16_gradients", "unfused",
                                        "serial_data",    "bias",          "clamp",          "rope",
                                        "sort",           "no_mtp",        "whole",          "flash2",
                                        "narrow_weights", "one_graph"};
    switch (word_of(word, words, sizeof words / sizeof *words)) {
    case 0: p->tensor_scales = true; break;
    case 1: p->bf16_dispatch = true; break;
    case 2: p->bf16_gradients = true; break;
    case 3: p->unfused_attention = true; break;
    case 4: p->serial_data = true; break;
    case 5: p->eager |= FC_EAGER_BIAS; break;
    case 6: p->eager |= FC_EAGER_CLAMP; break;
    case 7: p->eager |= FC_EAGER_ROPE; break;
    case 8: p->eager |= FC_EAGER_SORT; break;
    case 9: model->mtp_layers = 0; break;
    case 10: p->eager |= FC_EAGER_WHOLE; break;
    case 11: p->eager |= FC_EAGER_FLASH2; break;
    case 12: p->narrow_weights = true; break;
    case 13: p->launch = FC_LAUNCH_WHOLE; break;
    default: return false;
    }
  }
  return true;
}

static int64_t whole(const char *text) {
  return strtoll(text, NULL, 10);
}

static bool plan_of(fc_train_plan *p, fc_model *model, char **c) {
  static const char *const recompute[] = {"none", "selective", "full"};
  static const char *const launch[] = {"graph", "partial", "eager"};
  static const char *const format[] = {"bf16", "fp8", "fp4"};
  static const fc_dtype dtype[] = {FC_DTYPE_BF16, FC_DTYPE_FP8, FC_DTYPE_FP4};
  int r = word_of(c[RECOMPUTE], recompute, 3), l = word_of(c[LAUNCH], launch, 3),
      f = word_of(c[FORMAT], format, 3);
  if (r < 0 || l < 0 || f < 0) return false;
  *p = (fc_train_plan){.devices = whole(c[DEVICES]),
                       .tp = whole(c[TP]),
                       .pp = whole(c[PP]),
                       .cp = whole(c[CP]),
                       .ep = whole(c[EP]),
                       .virtual_stages = whole(c[CHUNKS]),
                       .micro_batch = whole(c[MICRO]),
                       .global_batch = whole(c[BATCH]),
                       .sequence = whole(c[SEQUENCE]),
                       .zero = whole(c[ZERO]),
                       .recompute = (fc_recompute)r,
                       .launch = (fc_launch)l,
                       .gemm = dtype[f],
                       .overlap = strtod(c[OVERLAP], NULL),
                       .expert_imbalance = 1};
  p->schedule = p->virtual_stages > 1 ? FC_SCHEDULE_INTERLEAVED : FC_SCHEDULE_1F1B;
  return set_flags(p, model, c[FLAGS]) && set_flags(p, model, c[SINCE]);
}

/* --- composing --- */

static blind_group *group_named(const char *name) {
  for (size_t i = 0; i < n_groups; i++)
    if (strcmp(groups[i].name, name) == 0) return &groups[i];
  if (n_groups == GROUPS_MAX) abort();
  groups[n_groups].name = name;
  return &groups[n_groups++];
}

static void score(const char *group, double error) {
  blind_group *g = group_named(group);
  g->error[g->n++] = error;
}

static bool compose(char **c, const char *scenarios) {
  fc_model model;
  fc_train_plan plan;
  const fc_profile *profile = shipped_profile(scenarios, c[DEVICE]);
  if (!profile || n_rows == ROWS_MAX || !model_of(&model, c[MODEL], scenarios) || !plan_of(&plan, &model, c))
    return false;
  blind_row *row = &rows[n_rows];
  char why[256] = "";
  if (fc_train_plan_check(&model, &plan, why) != FC_OK ||
      fc_cost_train_step(&row->step, &model, profile, &plan) != FC_OK) {
    (void)fprintf(stderr, "%s: %s\n", c[WHAT], why);
    return false;
  }
  (void)snprintf(row->group, sizeof row->group, "%s", c[GROUP]);
  (void)snprintf(row->what, sizeof row->what, "%s", c[WHAT]);
  row->published_s = strtod(c[STEP], NULL);
  row->error = log(row->step.seconds / row->published_s);
  n_rows++;
  return row->published_s > 0;
}

static bool read_rows(const char *path, const char *scenarios) {
  FILE *f = fopen(path, "r");
  char line[LINE_MAX_], *c[COLUMNS];
  bool ok = f && fgets(line, sizeof line, f);
  for (int i = 2; ok && fgets(line, sizeof line, f); i++) {
    ok = split(line, c) == COLUMNS && compose(c, scenarios);
    if (!ok) (void)fprintf(stderr, "%s:%d: no row\n", path, i);
  }
  if (f) (void)fclose(f);
  for (size_t i = 0; i < n_rows; i++) score("all", rows[i].error);
  for (size_t i = 0; i < n_rows; i++) score(rows[i].group, rows[i].error);
  return ok && n_rows > 0;
}

/* --- telling --- */

static void print_groups(void) {
  (void)printf("| published steps | rows | median error, blind | now | 90 %% within | median of composed / "
               "published |\n"
               "|---|---|---|---|---|---|\n");
  for (size_t i = 0; i < n_groups; i++) {
    const blind_group *g = &groups[i];
    (void)printf("| %s | %zu | %.1f %% | %.1f %% | %.1f %% | %.3f |\n", g->name, g->n, 100 * g->before,
                 100 * error_quantile(g->error, g->n, 0.5, true),
                 100 * error_quantile(g->error, g->n, 0.9, true),
                 1 + error_quantile(g->error, g->n, 0.5, false));
  }
}

static void print_rows(void) {
  (void)printf("group;what;published_s;composed_s;error;attention;dense;experts;glue;head;launch;comm;bubble;"
               "data;optimizer;host\n");
  for (size_t i = 0; i < n_rows; i++) {
    const blind_row *r = &rows[i];
    const fc_train_step *s = &r->step;
    (void)printf("%s;%s;%.4g;%.4g;%+.3f;%.4g;%.4g;%.4g;%.4g;%.4g;%.4g;%.4g;%.4g;%.4g;%.4g;%.4g\n", r->group,
                 r->what, r->published_s, s->seconds, expm1(r->error), s->attention_s, s->dense_s,
                 s->experts_s, s->glue_s, s->head_s, s->launch_s, s->comm_s, s->bubble_s, s->data_s,
                 s->optimizer_s, s->host_s);
  }
}

static bool read_expected(const char *path) {
  FILE *f = fopen(path, "r");
  char line[256];
  if (!f || !fgets(line, sizeof line, f)) return false;
  while (fgets(line, sizeof line, f)) {
    char *before = strchr(line, ';'), *now = before ? strchr(before + 1, ';') : NULL;
    if (!now) continue;
    *before = '\0';
    for (size_t i = 0; i < n_groups; i++)
      if (strcmp(groups[i].name, line) == 0) {
        groups[i].before = strtod(before + 1, NULL);
        groups[i].was = strtod(now + 1, NULL);
      }
  }
  return fclose(f) == 0;
}

static bool write_expected(const char *path) {
  FILE *f = fopen(path, "w");
  if (!f) return false;
  (void)fprintf(f, "group;median_error_blind;median_error\n");
  for (size_t i = 0; i < n_groups; i++)
    (void)fprintf(f, "%s;%.4f;%.4f\n", groups[i].name, groups[i].before,
                  error_quantile(groups[i].error, groups[i].n, 0.5, true));
  return fclose(f) == 0;
}

/* Medians may not grow by more than half a point. */
static bool gate(void) {
  bool good = true;
  for (size_t i = 0; i < n_groups; i++) {
    double median = error_quantile(groups[i].error, groups[i].n, 0.5, true);
    if (median <= groups[i].was + 0.005) continue;
    (void)printf("worse: %s: median error %.1f %%, was %.1f %%\n", groups[i].name, 100 * median,
                 100 * groups[i].was);
    good = false;
  }
  return good;
}

int main(int argc, char **argv) {
  if (argc < 4) {
    (void)fprintf(stderr, "usage: training_blind ROWS.csv SCENARIOS EXPECTED.csv [--update | --rows]\n");
    return 2;
  }
  const char *mode = argc > 4 ? argv[4] : "";
  int code = read_rows(argv[1], argv[2]) ? 0 : 2;
  bool expected = code == 0 && read_expected(argv[3]);
  if (code == 0 && strcmp(mode, "--rows") == 0) {
    print_rows();
  } else if (code == 0) {
    print_groups();
    if (strcmp(mode, "--update") == 0)
      code = write_expected(argv[3]) ? 0 : 2;
    else
      code = !expected ? 2 : gate() ? 0 : 1;
  }
  shipped_free();
  return code;
}
