/* SPDX-License-Identifier: Apache-2.0 */
#include "scores.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/file.h>

enum { KEY_FIELDS = 5, CLASSES = 4 };
static const char *const class_text[CLASSES] = {"gemm", "attention+mla", "moe_ffn", "collectives"};
static const double WORSE = 1.03, COVERED_LEAST = 0.85, COVERED_MOST = 0.95;

static int class_of(const score *s) {
  const char *kernel = strchr(s->key, ',') + 1;
  if (strncmp(kernel, "gemm", 4) == 0) return 0;
  if (strncmp(kernel, "attention", 9) == 0 || strncmp(kernel, "mla", 3) == 0) return 1;
  return strncmp(kernel, "moe", 3) == 0 ? 2 : 3;
}

/* --- order statistics --- */

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Linear between the two nearest, as numpy does. */
static double quantile(double *v, size_t n, double q) {
  if (n == 0) return (double)NAN;
  qsort(v, n, sizeof *v, ascending);
  double at = q * (double)(n - 1);
  size_t low = (size_t)at;
  return low + 1 < n ? v[low] + (at - (double)low) * (v[low + 1] - v[low]) : v[low];
}

/* --- a list --- */

static score *append(score_list *out) {
  if (out->n == out->room) {
    size_t room = out->room ? 2 * out->room : 64;
    score *grown = realloc(out->item, room * sizeof *grown);
    if (!grown) return NULL;
    out->item = grown;
    out->room = room;
  }
  out->item[out->n] = (score){.median = (double)NAN, .p90 = (double)NAN, .coverage = (double)NAN};
  return &out->item[out->n++];
}

static int by_key(const void *a, const void *b) {
  return strcmp(((const score *)a)->key, ((const score *)b)->key);
}

void scores_sort(score_list *scores) {
  if (scores->n > 0) qsort(scores->item, scores->n, sizeof *scores->item, by_key);
}

const score *scores_find(const score_list *scores, const char *key) {
  for (size_t i = 0; i < scores->n; i++)
    if (strcmp(scores->item[i].key, key) == 0) return &scores->item[i];
  return NULL;
}

void scores_free(score_list *scores) {
  free(scores->item);
  *scores = (score_list){0};
}

bool scores_add(score_list *out, const data_file *file) {
  double *error = malloc((file->n + 1) * sizeof *error);
  for (size_t f = 0; error && f < file->n_families; f++) {
    const data_family *family = &file->family[f];
    size_t n = 0, covered = 0;
    for (size_t i = 0; family->chosen && i < file->n; i++) {
      if (file->row[i].family != f || !file->row[i].scored) continue;
      error[n++] = file->row[i].error;
      covered += file->row[i].covered;
    }
    if (n == 0) continue;
    score *s = append(out);
    if (!s) break;
    (void)snprintf(s->key, sizeof s->key, "%s,%.*s", file->system, (int)family->length, family->key);
    s->points = n;
    s->covered = covered;
    s->median = quantile(error, n, 0.5);
    s->p90 = quantile(error, n, 0.9);
    s->coverage = (double)covered / (double)n;
  }
  bool ok = error != NULL;
  free(error);
  return ok;
}

/* --- files --- */

static size_t column_of(const char *header, size_t length, const char *name) {
  size_t column = 0, n = strlen(name);
  for (const char *p = header, *end = header + length; p < end; column++) {
    const char *comma = memchr(p, ',', (size_t)(end - p));
    size_t width = (size_t)((comma ? comma : end) - p);
    if (width == n && memcmp(p, name, n) == 0) return column;
    p += width + 1;
  }
  return SIZE_MAX;
}

static double number_at(const char *line, const char *end, size_t column) {
  if (column == SIZE_MAX) return (double)NAN;
  for (; column > 0 && line; column--) {
    const char *comma = memchr(line, ',', (size_t)(end - line));
    line = comma ? comma + 1 : NULL;
  }
  return line && line < end && *line != ',' ? strtod(line, NULL) : (double)NAN;
}

static bool read_line(score *s, const char *line, const char *end, const size_t column[4]) {
  const char *stop = line;
  for (int field = 0; field < KEY_FIELDS; field++) {
    stop = memchr(field ? stop + 1 : stop, ',', (size_t)(end - stop - (field ? 1 : 0)));
    if (!stop) return false;
  }
  if ((size_t)(stop - line) >= sizeof s->key) return false;
  memcpy(s->key, line, (size_t)(stop - line));
  s->key[stop - line] = '\0';
  s->median = number_at(line, end, column[0]);
  s->p90 = number_at(line, end, column[1]);
  s->coverage = number_at(line, end, column[2]);
  double points = number_at(line, end, column[3]);
  s->points = points > 0 ? (size_t)points : 0;
  return true;
}

bool scores_read(score_list *out, const char *path) {
  static const char *const name[4] = {"median", "p90", "coverage", "test"};
  *out = (score_list){0};
  char *bytes = NULL;
  size_t length = 0, column[4] = {0};
  if (fc_file_read(&bytes, &length, path, (size_t)16 << 20) != FC_OK) {
    perror(path);
    return false;
  }
  bool ok = true;
  for (const char *line = bytes; ok && *line;) {
    const char *end = strchr(line, '\n');
    if (!end) end = line + strlen(line);
    if (line == bytes) {
      for (int j = 0; j < 4; j++) column[j] = column_of(line, (size_t)(end - line), name[j]);
      ok = column[0] != SIZE_MAX;
    } else if (end > line) {
      score *s = append(out);
      ok = s && read_line(s, line, end, column);
    }
    line = *end ? end + 1 : end;
  }
  if (!ok) (void)fprintf(stderr, "%s: not a file of scores\n", path);
  free(bytes);
  return ok;
}

bool scores_write(score_list *scores, const score_list *old, bool keep, const char *path) {
  bool ok = true;
  for (size_t i = 0; keep && i < old->n; i++) {
    if (scores_find(scores, old->item[i].key)) continue;
    score *s = append(scores);
    if (s) *s = old->item[i];
    ok = ok && s;
  }
  scores_sort(scores);
  fc_file *file = NULL;
  if (ok && fc_file_create(&file, path) == FC_OK) {
    fc_file_printf(file, "system,kernel,impl,dtype,kv_dtype,test,median,p90,coverage\n");
    for (size_t i = 0; i < scores->n; i++) {
      const score *s = &scores->item[i];
      fc_file_printf(file, "%s,%zu,%.4g,%.4g,%.4g\n", s->key, s->points, s->median, s->p90, s->coverage);
    }
    if (fc_file_commit(file) == FC_OK) return true;
  }
  perror(path);
  return false;
}

/* --- summaries --- */

typedef struct {
  size_t n, points, covered, worse, compared;
  double median, worst, p90, coverage[3]; /* least, median, most */
} summary;

static bool is_worse(const score *s, const score *base) {
  return base && s->median > base->median * 1.02 + 0.0005;
}

/* Of one class (-1: all), or of the families of it that `among` has. */
static bool summarise(summary *out, const score_list *scores, int class, const score_list *among,
                      const score_list *baseline) {
  *out = (summary){0};
  double *room = malloc((3 * scores->n + 1) * sizeof *room), *p90 = room + scores->n,
         *coverage = p90 + scores->n;
  if (!room) return false;
  for (size_t i = 0; i < scores->n; i++) {
    const score *s = &scores->item[i], *base = baseline ? scores_find(baseline, s->key) : NULL;
    if ((class >= 0 && class_of(s) != class) || (among && !scores_find(among, s->key))) continue;
    room[out->n] = s->median;
    p90[out->n] = s->p90;
    coverage[out->n++] = s->coverage;
    out->points += s->points;
    out->covered += s->covered;
    out->compared += base != NULL;
    out->worse += is_worse(s, base);
  }
  out->median = quantile(room, out->n, 0.5);
  out->worst = quantile(room, out->n, 1);
  out->p90 = quantile(p90, out->n, 0.5);
  for (int k = 0; k < 3; k++) out->coverage[k] = quantile(coverage, out->n, 0.5 * k);
  free(room);
  return true;
}

void scores_print_families(const score_list *scores, const score_list *baseline) {
  (void)printf("%-9s %-18s %-44s %-18s %-5s %6s %7s %7s %6s %8s\n", "system", "kernel", "impl", "dtype", "kv",
               "points", "median", "p90", "cover", "baseline");
  for (size_t i = 0; i < scores->n; i++) {
    const score *s = &scores->item[i], *base = baseline ? scores_find(baseline, s->key) : NULL;
    char field[KEY_FIELDS][160];
    const char *p = s->key;
    for (int j = 0; j < KEY_FIELDS; j++) {
      size_t n = strcspn(p, ",");
      (void)snprintf(field[j], sizeof field[j], "%.*s", (int)n, p);
      p += n + (p[n] == ',');
    }
    (void)printf("%-9s %-18s %-44.44s %-18s %-5s %6zu %6.2f%% %6.1f%% %5.1f%%", field[0], field[1], field[2],
                 field[3], field[4], s->points, 100 * s->median, 100 * s->p90, 100 * s->coverage);
    if (base) (void)printf(" %6.2f%%%s", 100 * base->median, is_worse(s, base) ? "  worse" : "");
    (void)printf("\n");
  }
}

static void print_class(const char *name, const summary *s, const summary *base) {
  (void)printf("%-14s %4zu families  median %5.2f%%  worst %5.1f%%  p90 %5.1f%%  coverage %3.0f/%3.0f/%3.0f%%"
               " (of all points %4.1f%%)",
               name, s->n, 100 * s->median, 100 * s->worst, 100 * s->p90, 100 * s->coverage[0],
               100 * s->coverage[1], 100 * s->coverage[2], 100 * (double)s->covered / (double)s->points);
  if (base)
    (void)printf("  baseline %5.2f%% p90 %5.1f%%, worse than it %zu", 100 * base->median, 100 * base->p90,
                 s->worse);
  (void)printf("\n");
}

void scores_print(const score_list *scores, const score_list *baseline) {
  for (int c = 0; c <= CLASSES; c++) {
    summary own, base;
    if (!summarise(&own, scores, c < CLASSES ? c : -1, NULL, baseline) || own.n == 0) continue;
    bool compared = baseline && summarise(&base, baseline, c < CLASSES ? c : -1, scores, NULL) && base.n > 0;
    print_class(c < CLASSES ? class_text[c] : "all", &own, compared ? &base : NULL);
  }
  for (size_t i = 0; baseline && i < scores->n; i++) {
    const score *s = &scores->item[i], *base = scores_find(baseline, s->key);
    if (is_worse(s, base))
      (void)printf("worse than the baseline: %s: %.4f, baseline %.4f\n", s->key, s->median, base->median);
  }
}

bool scores_gate(const score_list *scores, const score_list *expected, bool with_coverage) {
  bool ok = true;
  for (int c = 0; c < CLASSES; c++) {
    summary own, all, old;
    if (!summarise(&all, scores, c, NULL, NULL) || !summarise(&own, scores, c, expected, NULL) ||
        !summarise(&old, expected, c, scores, NULL))
      return false;
    double covered = all.points ? (double)all.covered / (double)all.points : 0.9;
    bool good = !with_coverage || (covered >= COVERED_LEAST && covered <= COVERED_MOST);
    if (!good) (void)printf("FAILED: %s: the 90 %% interval holds %.1f %%\n", class_text[c], 100 * covered);
    ok = ok && good;
    if (own.n == 0) continue;
    good = own.median <= old.median * WORSE && own.p90 <= old.p90 * WORSE;
    if (!good)
      (void)printf("FAILED: %s: median %.4f, p90 %.4f; expected %.4f, %.4f\n", class_text[c], own.median,
                   own.p90, old.median, old.p90);
    ok = ok && good;
  }
  return ok;
}
