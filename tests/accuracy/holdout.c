/* SPDX-License-Identifier: Apache-2.0 */
#include "holdout.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/calibrate/transfer.h>
#include <fleetcast/cost/format.h>

#include "split.h"

/* --- groups of rows --- */

enum { FOLDS = 8, SYSTEMS_MAX = 16 };

static uint64_t columns_hash(const data_file *file, const data_row *row, const char *const *column,
                             size_t n) {
  char text[256];
  size_t used = 0;
  for (size_t j = 0; j < n; j++) {
    const char *field;
    size_t length;
    if (!data_field(file, row, column[j], &field, &length)) length = 0;
    int more = snprintf(text + used, sizeof text - used, "%.*s,", (int)length, length ? field : "");
    if (more > 0 && (size_t)more < sizeof text - used) used += (size_t)more;
  }
  return split_hash(1, text, used);
}

/* Sets fold[i] of the family's rows: their group, or FOLDS: never held out.  Models are few, so each is a
 * fold (the first ones met); sites are many, so a fold has an eighth of them. */
static void assign_folds(const data_file *file, size_t family, unsigned char *fold) {
  static const char *const model[] = {"hidden", "inter", "experts", "topk"}, *const site[] = {"n", "k"};
  bool moe = data_family_is(&file->family[family], "moe_ffn"),
       gemm = data_family_is(&file->family[family], "gemm");
  uint64_t met[FOLDS];
  size_t n = 0;
  for (size_t i = 0; i < file->n; i++) {
    if (file->row[i].family != family) continue;
    fold[i] = FOLDS;
    if (gemm) fold[i] = (unsigned char)(columns_hash(file, &file->row[i], site, 2) % FOLDS);
    if (!moe) continue;
    uint64_t hash = columns_hash(file, &file->row[i], model, 4);
    size_t k = 0;
    while (k < n && met[k] != hash) k++;
    if (k == n && n < FOLDS) met[n++] = hash;
    fold[i] = (unsigned char)k;
  }
}

typedef struct {
  data_file *file;
  const unsigned char *fold;
  split_row *order; /* room */
  bool all;
} grouping;

/* The rows of one family when fold k is held out.  A family that is but one group is left alone. */
static size_t set_roles(const grouping *g, size_t family, unsigned char k) {
  size_t n = 0, tests = 0;
  for (size_t i = 0; i < g->file->n; i++) {
    data_row *row = &g->file->row[i];
    if (row->family != family) continue;
    row->training = row->test = false;
    if (g->fold[i] == k)
      tests++;
    else
      g->order[n++] = (split_row){row->hash, i};
  }
  if (tests == 0 || n < SPLIT_LEAST) return 0;
  split_sort(g->order, n);
  size_t most = g->all || n < SPLIT_TRAINING_MAX ? n : SPLIT_TRAINING_MAX;
  for (size_t i = 0; i < most; i++) g->file->row[g->order[i].index].training = true;
  for (size_t i = 0; i < g->file->n; i++)
    if (g->file->row[i].family == family && g->fold[i] == k) g->file->row[i].test = true;
  return tests;
}

bool holdout_groups(data_file *file, bool all, const trial_options *options) {
  unsigned char *fold = malloc(file->n + 1);
  split_row *order = malloc((file->n + 1) * sizeof *order);
  bool ok = fold && order;
  for (size_t i = 0; ok && i < file->n; i++) file->row[i].training = file->row[i].test = false;
  for (size_t f = 0; ok && f < file->n_families; f++) assign_folds(file, f, fold);
  grouping g = {.file = file, .fold = fold, .order = order, .all = all};
  double fit_s = 0, predict_s = 0;
  for (unsigned char k = 0; ok && k < FOLDS; k++) {
    size_t tests = 0;
    for (size_t f = 0; f < file->n_families; f++)
      if (file->family[f].chosen) tests += set_roles(&g, f, k);
    if (tests > 0) ok = trial_run(file, options, &fit_s, &predict_s);
    (void)printf("%-9s fold %u of %d: %zu rows held out\n", file->system, k + 1U, FOLDS, tests);
    (void)fflush(stdout);
  }
  free(fold);
  free(order);
  return ok;
}

/* --- systems --- */

typedef struct {
  const data_file *file;
  const trial_result *trial;
  size_t n, self;
  fc_kernel_fit moved; /* valid until the next choice: families are scored one after the other */
  fc_arena arena;
} transfers;

static const fc_kernel_fit *choose_other(void *context, const fc_family *family) {
  transfers *t = context;
  const fc_device *to = t->file[t->self].device;
  const fc_kernel_fit *best = NULL;
  size_t from = 0;
  double least = HUGE_VAL;
  for (size_t i = 0; i < t->n; i++) {
    const fc_kernel_fit *fit = i == t->self ? NULL : trial_find(&t->trial[i], family);
    double distance = fit ? fc_transfer_distance(t->file[i].device, to, family->format->dtype) : HUGE_VAL;
    if (!fit || (best && !(distance < least))) continue;
    best = fit;
    least = distance;
    from = i;
  }
  if (!best || fc_transfer(&t->moved, best, t->file[from].device, to, &t->arena) != FC_OK) return NULL;
  return &t->moved;
}

bool holdout_systems(data_file *file, size_t n, const trial_options *options) {
  trial_result fitted[SYSTEMS_MAX] = {0};
  size_t ready = 0;
  if (n > SYSTEMS_MAX) return false;
  while (ready < n && trial_fit(&fitted[ready], &file[ready], options)) ready++;
  bool ok = ready == n;
  for (size_t i = 0; ok && i < n; i++) {
    for (size_t r = 0; r < file[i].n; r++) file[i].row[r].test = file[i].family[file[i].row[r].family].chosen;
    transfers t = {.file = file, .trial = fitted, .n = n, .self = i};
    double seconds = 0;
    ok = trial_score(&file[i], choose_other, &t, &seconds);
    fc_arena_fini(&t.arena);
  }
  for (size_t i = 0; i < ready; i++) trial_free(&fitted[i]);
  return ok;
}
