/* SPDX-License-Identifier: Apache-2.0 */
/* How well fits predict what they were not fitted to, on published measurements; docs/calibrate.md#accuracy.
 *
 *  usage: accuracy DATA_DIR BASELINE.csv EXPECTED.csv [options]
 *    --update     write EXPECTED.csv          --families  one line a family
 *    --system S   only this system            --kernel K  only this kernel
 *    --sample P   only P % of the families    --seed N    another split (1); nothing is expected of it
 *    --jobs N     threads (all)               --anchors N, --no-local: of the fit
 *    --all        fit nine tenths of all rows
 *    --loso       leave one system out: another system's fit, transferred
 *    --lomo       leave one out: a model (moe_ffn), a site (gemm)
 *  Exit status: 0, 1 (worse than expected), 2 (failed), 77 (no data). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "holdout.h"
#include "split.h"

static const char USAGE[] =
    "usage: accuracy DATA_DIR BASELINE.csv EXPECTED.csv [--update] [--families] [--system S] [--kernel K]\n"
    "                [--sample P] [--seed N] [--jobs N] [--anchors N] [--no-local] [--all | --loso | "
    "--lomo]\n";

enum { SYSTEMS = 5 };
static const char *const systems[SYSTEMS] = {"a100_sxm", "b200_sxm", "gb200", "h100_sxm", "h200_sxm"};

typedef struct {
  const char *path[3]; /* data, baseline, expected */
  bool update, families, all, loso, lomo;
  const char *system, *kernel;
  size_t sample, seed;
  trial_options trial;
} options;

/* --- options --- */

static bool flag(options *o, const char *arg) {
  struct {
    const char *name;
    bool *to;
  } flags[] = {{"--update", &o->update}, {"--families", &o->families}, {"--no-local", &o->trial.no_local},
               {"--all", &o->all},       {"--loso", &o->loso},         {"--lomo", &o->lomo}};
  for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
    if (strcmp(arg, flags[i].name) == 0) return *flags[i].to = true;
  return false;
}

static bool valued(options *o, const char *arg, const char *value) {
  struct {
    const char *name;
    size_t *to;
  } numbers[] = {{"--sample", &o->sample},
                 {"--seed", &o->seed},
                 {"--jobs", &o->trial.jobs},
                 {"--anchors", &o->trial.anchors}};
  if (strcmp(arg, "--system") == 0) return (o->system = value) != NULL;
  if (strcmp(arg, "--kernel") == 0) return (o->kernel = value) != NULL;
  for (size_t i = 0; value && i < sizeof numbers / sizeof *numbers; i++) {
    if (strcmp(arg, numbers[i].name) != 0) continue;
    char *end;
    *numbers[i].to = strtoul(value, &end, 10);
    return *value >= '0' && *value <= '9' && *end == '\0';
  }
  return false;
}

static bool parse(options *o, int argc, char **argv) {
  *o = (options){.sample = 100, .seed = 1};
  int n = 0;
  for (int i = 1; i < argc; i++) {
    if (flag(o, argv[i])) continue;
    if (strncmp(argv[i], "--", 2) == 0) {
      if (!valued(o, argv[i], i + 1 < argc ? argv[i + 1] : NULL)) return false;
      i++;
    } else if (n < 3) {
      o->path[n++] = argv[i];
    } else {
      return false;
    }
  }
  return n == 3 && o->all + o->loso + o->lomo <= 1;
}

/* --- which families, which rows --- */

/* A part of all families by a hash of their name; with --loso the same in every system, since those lend
 * fits. */
static void choose_families(const options *o, data_file *file) {
  for (size_t f = 0; f < file->n_families; f++) {
    data_family *family = &file->family[f];
    char text[256];
    int n =
        snprintf(text, sizeof text, "%s,%.*s", o->loso ? "" : file->system, (int)family->length, family->key);
    family->chosen = family->n >= SPLIT_LEAST && (!o->kernel || data_family_is(family, o->kernel)) &&
                     split_hash(0, text, (size_t)n) % 100 < o->sample;
  }
}

/* The first rows by hash are fitted, the rest tested; or nine tenths of them. */
static void split_rows(const options *o, data_file *file) {
  for (size_t i = 0; i < file->n; i++) {
    data_row *row = &file->row[i];
    const data_family *family = &file->family[row->family];
    bool first = row->rank < (o->all ? family->n * 9 / 10 : split_training(family->n));
    row->training = family->chosen && first;
    row->test = family->chosen && !first;
  }
}

static size_t n_chosen(const data_file *file) {
  size_t n = 0;
  for (size_t f = 0; f < file->n_families; f++) n += file->family[f].chosen;
  return n;
}

/* --- modes --- */

static bool run_file(const options *o, data_file *file, score_list *out) {
  double fit_s = 0, predict_s = 0;
  choose_families(o, file);
  if (n_chosen(file) == 0) return true;
  split_rows(o, file);
  bool ok =
      o->lomo ? holdout_groups(file, o->all, &o->trial) : trial_run(file, &o->trial, &fit_s, &predict_s);
  if (!o->lomo)
    (void)printf("%-9s %4zu families, fitted in %.1f s, predicted in %.2f s\n", file->system, n_chosen(file),
                 fit_s, predict_s);
  (void)fflush(stdout);
  return ok && scores_add(out, file);
}

static bool run_each(const options *o, score_list *out) {
  bool ok = true, any = false;
  for (int i = 0; ok && i < SYSTEMS; i++) {
    if (o->system && strcmp(o->system, systems[i]) != 0) continue;
    data_file file;
    any = true;
    ok = data_read(&file, o->path[0], systems[i], o->seed) && run_file(o, &file, out);
    data_free(&file);
  }
  if (!any) (void)fprintf(stderr, "no system '%s'\n", o->system);
  return ok && any;
}

/* Every system's fit is needed, whichever is scored. */
static bool run_loso(const options *o, score_list *out) {
  data_file file[SYSTEMS] = {{0}};
  bool ok = true;
  for (int i = 0; ok && i < SYSTEMS; i++) {
    ok = data_read(&file[i], o->path[0], systems[i], o->seed);
    if (!ok) break;
    choose_families(o, &file[i]);
    split_rows(o, &file[i]);
  }
  ok = ok && holdout_systems(file, SYSTEMS, &o->trial);
  for (int i = 0; ok && i < SYSTEMS; i++)
    if (!o->system || strcmp(o->system, systems[i]) == 0) ok = scores_add(out, &file[i]);
  for (int i = 0; i < SYSTEMS; i++) data_free(&file[i]);
  return ok;
}

static int report(const options *o, score_list *own, const score_list *baseline, const score_list *expected) {
  bool usual = !o->all && !o->loso && !o->lomo;
  bool whole = o->sample >= 100 && !o->system && !o->kernel;
  scores_sort(own);
  if (!usual && !o->all) baseline = NULL; /* it was not asked this */
  if (o->families) scores_print_families(own, baseline);
  scores_print(own, baseline);
  if (o->update) return scores_write(own, expected, !whole, o->path[2]) ? 0 : 2;
  if (o->seed != 1 || o->trial.no_local || o->trial.anchors) return 0; /* nothing is expected of these */
  return scores_gate(own, expected, usual) ? 0 : 1;
}

int main(int argc, char **argv) {
  options o;
  if (!parse(&o, argc, argv)) {
    (void)fputs(USAGE, stderr);
    return 2;
  }
  if (access(o.path[0], R_OK) != 0) {
    (void)printf("skipped: no data in %s\n", o.path[0]);
    return 77;
  }
  score_list own = {0}, baseline = {0}, expected = {0};
  bool ok = scores_read(&baseline, o.path[1]);
  if (ok && (!o.update || access(o.path[2], R_OK) == 0)) ok = scores_read(&expected, o.path[2]);
  ok = ok && (o.loso ? run_loso(&o, &own) : run_each(&o, &own));
  int code = ok ? report(&o, &own, &baseline, &expected) : 2;
  scores_free(&own);
  scores_free(&baseline);
  scores_free(&expected);
  devices_free();
  return code;
}
