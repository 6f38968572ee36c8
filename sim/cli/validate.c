/* SPDX-License-Identifier: Apache-2.0 */
#include "validate.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fleetcast/base/csv.h>
#include <fleetcast/base/stop.h>

#include "terminal.h"

/* `fleetcast validate`: measured serving cases, predicted with the shipped profile of each system. */

/* --- predicting --- */

typedef struct {
  validate_cases *cases;
  atomic_size_t next;
  atomic_int status;
  pthread_mutex_t lock;
  progress progress;
  size_t done; /* under the lock */
} pool;

/* Cases are independent and each has a place of its own: the number of threads changes nothing. */
static void *worker(void *context) {
  pool *p = context;
  for (;;) {
    size_t i = atomic_fetch_add(&p->next, 1);
    if (i >= p->cases->n || *fc_stop_flag() || atomic_load(&p->status)) return NULL;
    validate_case *c = &p->cases->item[i];
    if (!*c->why) {
      fc_status status = fc_serve_case_predict(&c->answer, &c->c, c->model, c->profile, c->why);
      if (status == FC_E_NOMEM || status == FC_E_LAW) atomic_store(&p->status, (int)status);
      if (status && !*c->why) (void)snprintf(c->why, CASE_WHY, "%s", fc_status_text(status));
    }
    (void)pthread_mutex_lock(&p->lock);
    cli_progress_tell(&p->progress, (double)++p->done / (double)p->cases->n, c->model_name);
    (void)pthread_mutex_unlock(&p->lock);
  }
}

static fc_status predict_all(validate_cases *cases, const settings *s) {
  enum { MOST = 64 };
  pthread_t thread[MOST];
  pool p = {.cases = cases, .progress = cli_progress(s->quiet)};
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  size_t n = s->jobs ? s->jobs : online > 0 ? (size_t)online : 1, started = 0;
  if (n > MOST) n = MOST;
  if (pthread_mutex_init(&p.lock, NULL)) return FC_E_NOMEM;
  for (; started + 1 < n; started++)
    if (pthread_create(&thread[started], NULL, worker, &p)) break; /* fewer hands, same work */
  (void)worker(&p);
  for (size_t i = 0; i < started; i++) (void)pthread_join(thread[i], NULL);
  (void)pthread_mutex_destroy(&p.lock);
  cli_progress_clear(&p.progress);
  if (*fc_stop_flag()) return FC_E_CANCELLED;
  return (fc_status)atomic_load(&p.status);
}

/* --- the rows --- */

void validate_write(fc_file *file, const validate_cases *cases) {
  static const char *const more[] = {"predicted_ttft_ms", "predicted_tpot_ms", "low_ttft_ms", "high_ttft_ms",
                                     "low_tpot_ms",       "high_tpot_ms",      "reason"};
  enum { NUMBERS = 6 };
  for (size_t i = 0; i < cases->n_columns; i++) fc_csv_write_text(file, cases->column[i]);
  for (size_t i = 0; i < sizeof more / sizeof *more; i++) fc_csv_write_text(file, more[i]);
  fc_csv_end_row(file);
  for (size_t i = 0; i < cases->n; i++) {
    const validate_case *c = &cases->item[i];
    const fc_case_answer *a = &c->answer;
    const double s[NUMBERS] = {a->ttft_s,      a->tpot_s,     a->ttft_low_s,
                               a->ttft_high_s, a->tpot_low_s, a->tpot_high_s};
    for (size_t j = 0; j < cases->n_columns; j++) fc_csv_write_text(file, c->field[j]);
    for (int j = 0; j < NUMBERS; j++) {
      char text[32];
      (void)snprintf(text, sizeof text, "%.6g", 1e3 * s[j]);
      fc_csv_write_text(file, *c->why ? "" : text);
    }
    fc_csv_write_text(file, c->why);
    fc_csv_end_row(file);
  }
}

/* --- the table --- */

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double quantile(double *x, size_t n, double p) {
  if (n == 0) return (double)NAN;
  qsort(x, n, sizeof *x, ascending);
  double at = p * (double)(n - 1);
  size_t low = (size_t)at, high = low + 1 < n ? low + 1 : low;
  return x[low] + (at - (double)low) * (x[high] - x[low]);
}

typedef enum { OF_TPOT, OF_TTFT } metric;

typedef bool choice(const validate_case *c, const char *of);

static bool of_system(const validate_case *c, const char *of) {
  return strcmp(c->system, of) == 0;
}
static bool of_model(const validate_case *c, const char *of) {
  return strcmp(c->model_name, of) == 0;
}
static bool of_mode(const validate_case *c, const char *of) {
  return strcmp(c->mode, of) == 0;
}
static bool of_all(const validate_case *c, const char *of) {
  (void)c, (void)of;
  return true;
}

/* Median and 90th percentile of |predicted/measured - 1|, its signed median, share inside the interval. */
static void add_errors(fc_text *out, const validate_cases *cases, choice *chosen, const char *of, metric m,
                       double *room) {
  double *size = room, *sign = room + cases->n;
  size_t n = 0, inside = 0;
  for (size_t i = 0; i < cases->n; i++) {
    const validate_case *c = &cases->item[i];
    const fc_case_answer *a = &c->answer;
    double measured = m == OF_TPOT ? c->tpot_s : c->ttft_s, predicted = m == OF_TPOT ? a->tpot_s : a->ttft_s;
    if (*c->why || !(measured > 0) || !chosen(c, of)) continue;
    double low = m == OF_TPOT ? a->tpot_low_s : a->ttft_low_s,
           high = m == OF_TPOT ? a->tpot_high_s : a->ttft_high_s;
    sign[n] = predicted / measured - 1;
    size[n] = fabs(sign[n]);
    inside += low <= measured && measured <= high;
    n++;
  }
  double share[] = {quantile(size, n, 0.5), quantile(size, n, 0.9), quantile(sign, n, 0.5),
                    n ? (double)inside / (double)n : (double)NAN};
  for (size_t i = 0; i < sizeof share / sizeof *share; i++) {
    if (isnan(share[i]))
      fc_text_printf(out, " %8s", "-");
    else
      fc_text_printf(out, " %8.1f", 100 * share[i]);
  }
}

static void add_line(fc_text *out, const validate_cases *cases, const char *kind, const char *name,
                     choice *chosen, double *room) {
  size_t n = 0, left = 0;
  for (size_t i = 0; i < cases->n; i++) {
    const validate_case *c = &cases->item[i];
    if (!chosen(c, name)) continue;
    n++;
    left += *c->why != '\0';
  }
  fc_text_printf(out, "%-7s %-18s %6zu %8zu", kind, *name ? name : "-", n, left);
  add_errors(out, cases, chosen, name, OF_TPOT, room);
  fc_text_add(out, " ");
  add_errors(out, cases, chosen, name, OF_TTFT, room);
  fc_text_add(out, "\n");
}

static const char *system_of(const validate_case *c) {
  return c->system;
}
static const char *model_of(const validate_case *c) {
  return c->model_name;
}
static const char *mode_of(const validate_case *c) {
  return c->mode;
}

/* One line a different value, in the order in which they appear. */
static void add_group(fc_text *out, const validate_cases *cases, const char *kind,
                      const char *(*value)(const validate_case *), choice *chosen, double *room) {
  for (size_t i = 0; i < cases->n; i++) {
    size_t j = 0;
    while (j < i && strcmp(value(&cases->item[j]), value(&cases->item[i])) != 0) j++;
    if (j == i) add_line(out, cases, kind, value(&cases->item[i]), chosen, room);
  }
}

typedef struct {
  double value;
  size_t index;
} ranked;

static int by_value(const void *a, const void *b) {
  const ranked *x = a, *y = b;
  if (x->value != y->value) return x->value < y->value ? -1 : 1;
  return x->index < y->index ? -1 : 1;
}

/* Ranks from 0, ties averaged, in the place of the values. */
static void rank(double *x, ranked *room, size_t n) {
  for (size_t i = 0; i < n; i++) room[i] = (ranked){x[i], i};
  qsort(room, n, sizeof *room, by_value);
  for (size_t i = 0, j; i < n; i = j) {
    for (j = i + 1; j < n && room[j].value == room[i].value; j++) continue;
    for (size_t k = i; k < j; k++) x[room[k].index] = 0.5 * (double)(i + j - 1);
  }
}

/* Spearman's, of tokens a second and device in the steady state: concurrency / TPOT / devices. */
static double rank_correlation(const validate_cases *cases, double *room) {
  double *a = room, *b = room + cases->n, ma = 0, mb = 0, sab = 0, saa = 0, sbb = 0;
  ranked *order = calloc(cases->n + 1, sizeof *order);
  size_t n = 0;
  for (size_t i = 0; order && i < cases->n; i++) {
    const validate_case *c = &cases->item[i];
    if (*c->why || !(c->tpot_s > 0)) continue;
    double each = (double)c->c.concurrency / c->devices;
    a[n] = each / c->answer.tpot_s;
    b[n++] = each / c->tpot_s;
  }
  if (n < 3) {
    free(order);
    return (double)NAN;
  }
  rank(a, order, n);
  rank(b, order, n);
  free(order);
  for (size_t i = 0; i < n; i++) ma += a[i] / (double)n, mb += b[i] / (double)n;
  for (size_t i = 0; i < n; i++) {
    sab += (a[i] - ma) * (b[i] - mb);
    saa += (a[i] - ma) * (a[i] - ma);
    sbb += (b[i] - mb) * (b[i] - mb);
  }
  return sab / sqrt(saa * sbb);
}

/* Why cases were not modelled, in the order in which the reasons appear. */
static void add_reasons(fc_text *out, const validate_cases *cases) {
  bool told = false;
  for (size_t i = 0; i < cases->n; i++) {
    const char *why = cases->item[i].why;
    size_t first = 0, n = 0;
    while (first < i && strcmp(cases->item[first].why, why) != 0) first++;
    if (!*why || first < i) continue;
    for (size_t k = i; k < cases->n; k++) n += strcmp(cases->item[k].why, why) == 0;
    if (!told) fc_text_add(out, "\nnot modelled:\n");
    told = true;
    fc_text_printf(out, "%7zu  %s (%sline %zu)\n", n, why, n > 1 ? "first: " : "", cases->item[i].line);
  }
}

void validate_table(fc_text *out, const validate_cases *cases) {
  double *room = calloc(2 * cases->n + 1, sizeof *room);
  if (!room) return;
  fc_text_printf(out, "%-7s %-18s %6s %8s %35s  %35s\n", "", "", "", "not",
                 "TPOT: |error|, bias, in interval, %", "TTFT: |error|, bias, in interval, %");
  fc_text_printf(out, "%-7s %-18s %6s %8s", "by", "", "cases", "modelled");
  for (int i = 0; i < 2; i++)
    fc_text_printf(out, " %8s %8s %8s %8s%s", "median", "p90", "bias", "inside", i ? "\n" : " ");
  add_group(out, cases, "system", system_of, of_system, room);
  add_group(out, cases, "model", model_of, of_model, room);
  add_group(out, cases, "mode", mode_of, of_mode, room);
  add_line(out, cases, "all", "", of_all, room);
  add_reasons(out, cases);
  double r = rank_correlation(cases, room);
  if (!isnan(r)) fc_text_printf(out, "\nrank correlation of tokens/s a device: %.3f\n", r);
  fc_text_add(out,
              "TTFT: arrival to first token, queue included; TPOT: (E2E - TTFT) / (output - 1); means over "
              "requests\n");
  free(room);
}

/* --- the verb --- */

static int show(const validate_cases *cases, const settings *s) {
  fc_text text = {0};
  validate_table(&text, cases);
  int code = EXIT_FAILED;
  if (fc_text_status(&text)) {
    (void)fputs("fleetcast: out of memory\n", stderr);
  } else if (s->out && strcmp(s->out, "-") == 0) {
    (void)fputs(text.bytes, stderr);
    code = EXIT_OK;
  } else {
    code = cli_print(text.bytes);
  }
  fc_text_fini(&text);
  return code;
}

static int write_rows(const validate_cases *cases, const char *path) {
  fc_file *file;
  fc_status status = fc_file_create(&file, strcmp(path, "-") == 0 ? "/dev/stdout" : path);
  if (!status) {
    validate_write(file, cases);
    status = fc_file_commit(file);
  }
  if (!status) return EXIT_OK;
  (void)fprintf(stderr, "fleetcast: %s: %s\n", path, strerror(errno));
  return EXIT_IO;
}

int cli_validate(const settings *s) {
  validate_cases cases;
  const char *path = s->operand.item[0];
  if (strcmp(path, "-") != 0 && cli_refuse_to_replace(s->out, &path, 1) != EXIT_OK) return EXIT_USAGE;
  int code = validate_read(&cases, s->operand.item[0], s);
  if (code == EXIT_OK) {
    fc_stop_catch();
    fc_status status = predict_all(&cases, s);
    if (status == FC_E_CANCELLED) {
      validate_free(&cases);
      return cli_die_of_signal();
    }
    if (status) {
      (void)fprintf(stderr, "fleetcast: %s\n", fc_status_text(status));
      code = EXIT_FAILED;
    }
  }
  if (code == EXIT_OK && s->out) code = write_rows(&cases, s->out);
  if (code == EXIT_OK) code = show(&cases, s);
  validate_free(&cases);
  return code;
}
