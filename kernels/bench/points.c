/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pass.h"

/* The measuring pass: cases in random order, sentinels between them, finished points left alone. */

enum { SENTINEL_EVERY = 30, IMPLEMENTATIONS_MAX = 16 };
/* after the cases and the chains: earlier points of another suite, sentinels */
#define OTHER_ORDER    (SIZE_MAX - 2)
#define SENTINEL_ORDER (SIZE_MAX - 1)
#define OUTLIER_SIGMA  3 /* residuals beyond so many robust standard deviations are measured again */

typedef struct {
  fc_session *s;
  fc_journal *journal;
  const fc_cases *cases;
  size_t total;
  double first_us[2];    /* of the sentinels */
  size_t until_sentinel; /* points */
} pass;

/* A row of a case, with its key columns; its place in the file is case by case, best implementation first. */
static fc_status new_row(fc_row *row, pass *p, const fc_problem *problem, const char *impl, size_t order) {
  *row = (fc_row){.order = order};
  if (fc_row_describe(row, problem, NULL, impl, &p->s->machine)) return FC_OK;
  fc_row_fini(row);
  return FC_E_NOMEM;
}

static bool is_done(const fc_session *s, const fc_row *row) {
  if (s->resumed == 0) return false; /* nothing is met twice within a pass */
  char *key = fc_row_key(row);
  bool found = false;
  for (size_t i = 0; key && !found && i < s->rows.n; i++) {
    char *other = fc_row_key(&s->rows.item[i]);
    found = other && strcmp(key, other) == 0;
    free(other);
  }
  free(key);
  return found;
}

static fc_status keep(pass *p, fc_row *row) {
  fc_status status = fc_journal_add(p->journal, row);
  if (status) {
    (void)snprintf(p->s->why, FC_WHY, "cannot write %s", p->journal->partial);
    fc_row_fini(row);
    return status;
  }
  return fc_rows_add(&p->s->rows, row);
}

/* --- one point --- */

static fc_status set_status(fc_row *row, const char *kind, const char *text) {
  return fc_row_set(row, FC_COLUMN_status, "%s: %s", kind, text) ? FC_OK : FC_E_NOMEM;
}

/* A point taken while the chip ran far below its best clock is dropped, and taken once more. */
static fc_status time_unthrottled(fc_session *s, fc_timing *t, const fc_data *d,
                                  const fc_implementation *impl, void *const *states, char *why) {
  size_t dropped = 0;
  for (int attempt = 0;; attempt++) {
    fc_status status = fc_measure(t, d, impl, states, &s->protocol, s->options.cancel, why);
    if (status) return status;
    if (t->clock_mhz > s->best_clock_mhz) s->best_clock_mhz = t->clock_mhz;
    bool throttled = !d->problem.c.sustained && t->clock_mhz > 0 &&
                     t->clock_mhz < s->protocol.throttled * s->best_clock_mhz;
    if (!throttled || attempt == 1) break;
    dropped += t->samples + t->dropped;
  }
  t->dropped += dropped;
  return FC_OK;
}

/* Checks, then times; what goes wrong with one point is told in its row.  @return FC_E_IO: the device is lost
 */
static fc_status check_and_time(pass *p, const fc_data *d, const fc_implementation *impl, fc_row *row) {
  fc_session *s = p->s;
  char why[FC_WHY] = "";
  void **states;
  const fc_vetted *v = NULL;
  fc_status vetted = fc_session_vet(s, impl, &v);
  if (vetted) return vetted;
  if (v->refused) return set_status(row, "failed", v->why);
  if (fc_data_prepare(&states, d, impl, &s->machine, why)) return set_status(row, "skipped", why);
  fc_check check;
  fc_timing t;
  fc_status status = fc_data_check(&check, d, impl, states[0], FC_CHECK_BUDGET_S, why);
  bool ok = true;
  if (!status && !check.passed) {
    ok = fc_row_set(row, FC_COLUMN_status, "failed: %s", check.text);
  } else if (!status) {
    status = time_unthrottled(s, &t, d, impl, states, why);
    if (!status) ok = fc_row_result(row, &t, d->cache);
  }
  fc_data_release(states, d, impl);
  if (status == FC_E_IO) {
    ok = fc_row_set(row, FC_COLUMN_status, "failed: %s", why);
    status = fc_session_alive(s);
  }
  return status ? status : (ok ? FC_OK : FC_E_NOMEM);
}

static fc_status measure_point(pass *p, const fc_data *d, const fc_implementation *impl, fc_row *row) {
  fc_session_guard(p->s, p->journal, row, impl->name);
  fc_status status = check_and_time(p, d, impl, row);
  fc_session_guard(p->s, NULL, NULL, NULL);
  return status;
}

/* The implementations that can, and why the last of the others cannot. */
static size_t supporting(const fc_session *s, const fc_problem *problem, char *why,
                         const fc_implementation *out[IMPLEMENTATIONS_MAX]) {
  size_t n = 0;
  fc_cursor at = {0};
  (void)snprintf(why, FC_WHY, "no implementation");
  for (const fc_implementation *impl; (impl = fc_session_next(s, problem->c.op, &at)) != NULL;)
    if (n < IMPLEMENTATIONS_MAX && (!impl->supports || impl->supports(problem, &s->machine, why)))
      out[n++] = impl;
  return n;
}

static fc_status skip_case(pass *p, const fc_problem *problem, size_t order, const char *why) {
  fc_row row;
  fc_status status = new_row(&row, p, problem, "", order);
  if (status) return status;
  if (is_done(p->s, &row)) {
    fc_row_fini(&row);
    return FC_OK;
  }
  if (!fc_row_set(&row, FC_COLUMN_status, "skipped: %s", why)) status = FC_E_NOMEM;
  if (status) {
    fc_row_fini(&row);
    return status;
  }
  return keep(p, &row);
}

static fc_status measure_all(pass *p, const fc_data *d, const fc_implementation *const *impl, size_t n,
                             size_t order, const bool *wanted) {
  fc_status status = FC_OK;
  for (size_t i = 0; !status && i < n; i++) {
    if (!wanted[i]) continue;
    fc_row row;
    status = new_row(&row, p, &d->problem, impl[i]->name, order + i);
    if (status) break;
    status = measure_point(p, d, impl[i], &row);
    if (status == FC_E_IO) { /* the point says what it did */
      if (fc_row_set(&row, FC_COLUMN_status, "%s", FC_STATUS_LOST)) (void)keep(p, &row);
    }
    if (status)
      fc_row_fini(&row);
    else
      status = keep(p, &row);
  }
  return status;
}

/* --- sentinels: has the device changed under us? --- */

/* Sentinels stand after all else in the file, in the order in which they were taken. */
static size_t after_cases(const pass *p) {
  return p->cases->n * IMPLEMENTATIONS_MAX;
}

static const char sentinel_site[] = "sentinel";

static fc_status keep_sentinel(pass *p, const fc_problem *shape, const char *impl, const fc_timing *t) {
  fc_problem named = *shape;
  named.c.site = sentinel_site;
  fc_row row;
  fc_status status = new_row(&row, p, &named, impl, SENTINEL_ORDER);
  if (status) return status;
  if (fc_row_result(&row, t, "hot")) return keep(p, &row);
  fc_row_fini(&row);
  return FC_E_NOMEM;
}

/* Takes them when `points` more would be SENTINEL_EVERY since the last, and at the start. */
static fc_status sentinel(pass *p, size_t points) {
  double *first_us = p->first_us;
  if (p->s->options.kernel) return FC_OK;
  if (p->until_sentinel > points) {
    p->until_sentinel -= points;
    return FC_OK;
  }
  p->until_sentinel = SENTINEL_EVERY;
  static const fc_bench_op ops[2] = {FC_BENCH_GEMM, FC_BENCH_COPY};
  fc_session *s = p->s;
  for (int i = 0; i < 2; i++) {
    bool gpu = s->options.device->is_gpu;
    fc_bench_case c = {.op = ops[i], .dtype = i == 0 && gpu ? FC_DTYPE_BF16 : FC_DTYPE_FP32};
    c.m = c.n = c.k = gpu ? 4096 : 512;
    if (i == 1) c = (fc_bench_case){.op = ops[i], .dtype = FC_DTYPE_FP32, .m = gpu ? 1 << 26 : 1 << 22};
    fc_data d;
    char why[FC_WHY];
    if (fc_data_new(&d, s->options.device, &s->machine, &c, s->options.seed, false, 1, why)) continue;
    const fc_implementation *impl[IMPLEMENTATIONS_MAX];
    void **states = NULL;
    fc_timing t;
    fc_status status = FC_E_IO;
    if (supporting(s, &d.problem, why, impl) > 0 &&
        !fc_data_prepare(&states, &d, impl[0], &s->machine, why)) {
      status = fc_measure(&t, &d, impl[0], states, &s->protocol, s->options.cancel, why);
      fc_data_release(states, &d, impl[0]);
    }
    fc_problem shape = d.problem;
    fc_data_free(&d);
    if (status == FC_E_CANCELLED) return status;
    if (status) continue;
    if (!(first_us[i] > 0)) first_us[i] = t.min_us;
    double drift = fabs(t.min_us / first_us[i] - 1);
    if (drift > s->largest_drift) s->largest_drift = drift;
    status = keep_sentinel(p, &shape, impl[0]->name, &t);
    if (status) return status;
  }
  return FC_OK;
}

/* --- a case --- */

static fc_status measure_case(pass *p, size_t index) {
  fc_session *s = p->s;
  const fc_bench_case *c = &p->cases->item[index];
  size_t order = index * IMPLEMENTATIONS_MAX;
  fc_problem shape;
  fc_status status = fc_problem_init(&shape, c, s->options.seed, false);
  if (status) return status;
  const fc_implementation *impl[IMPLEMENTATIONS_MAX];
  char why[FC_WHY];
  size_t n = supporting(s, &shape, why, impl), missing = 0;
  if (n == 0) return skip_case(p, &shape, order, why);
  bool wanted[IMPLEMENTATIONS_MAX];
  for (size_t i = 0; i < n; i++) {
    fc_row row;
    status = new_row(&row, p, &shape, impl[i]->name, order + i);
    if (status) return status;
    wanted[i] = !is_done(s, &row);
    missing += wanted[i];
    fc_row_fini(&row);
  }
  if (missing == 0) return FC_OK;
  status = sentinel(p, missing);
  if (status) return status;
  fc_data d;
  status = fc_data_new(&d, s->options.device, &s->machine, c, s->options.seed + index, false, SIZE_MAX, why);
  if (status == FC_E_NOMEM || status == FC_E_IO) return skip_case(p, &shape, order, why);
  if (status) return status;
  status = measure_all(p, &d, impl, n, order, wanted);
  fc_data_free(&d);
  return status;
}

/* --- outliers: measured once more, both kept --- */

/* ln of a time over the larger of its share of the family's best rate and best bandwidth. */
static double residual(const fc_row *row, double rate, double bandwidth) {
  double t = fc_row_number(row, FC_COLUMN_latency_us), flop = fc_row_number(row, FC_COLUMN_flop);
  double bytes = fc_row_number(row, FC_COLUMN_bytes_moved);
  double least = fmax(rate > 0 ? flop / rate : 0, bandwidth > 0 ? bytes / bandwidth : 0);
  return least > 0 && t > 0 ? log(t / least) : (double)NAN;
}

static bool is_family(const fc_row *a, const fc_row *b) {
  static const fc_column same[] = {FC_COLUMN_kernel, FC_COLUMN_impl, FC_COLUMN_dtype};
  for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
    const char *x = a->field[same[i]], *y = b->field[same[i]];
    if (strcmp(x ? x : "", y ? y : "") != 0) return false;
  }
  return true;
}

/* Is row i beyond OUTLIER_SIGMA of its family (of 8 points or more)? */
static bool is_outlier(const fc_rows *rows, size_t n, size_t i) {
  enum { FEWEST = 8, MOST = 512 };
  double rate = 0, bandwidth = 0, all[MOST];
  size_t count = 0;
  for (size_t j = 0; j < n; j++) {
    const fc_row *r = &rows->item[j];
    double t = fc_row_number(r, FC_COLUMN_latency_us);
    if (!(t > 0) || !is_family(r, &rows->item[i])) continue;
    rate = fmax(rate, fc_row_number(r, FC_COLUMN_flop) / t);
    bandwidth = fmax(bandwidth, fc_row_number(r, FC_COLUMN_bytes_moved) / t);
  }
  for (size_t j = 0; j < n && count < MOST; j++) {
    if (!is_family(&rows->item[j], &rows->item[i])) continue;
    double r = residual(&rows->item[j], rate, bandwidth);
    if (isfinite(r)) all[count++] = r;
  }
  double mine = residual(&rows->item[i], rate, bandwidth);
  if (count < FEWEST || !isfinite(mine)) return false;
  fc_sort(all, count);
  double median = fc_sorted_quantile(all, count, 0.5);
  for (size_t j = 0; j < count; j++) all[j] = fabs(all[j] - median);
  fc_sort(all, count);
  double sigma = 1.4826 * fc_sorted_quantile(all, count, 0.5); /* of a normal, from its median deviation */
  return sigma > 0 && fabs(mine - median) > OUTLIER_SIGMA * sigma;
}

static fc_status measure_again(pass *p, const fc_row *first) {
  fc_session *s = p->s;
  size_t index = first->order / IMPLEMENTATIONS_MAX, which = first->order % IMPLEMENTATIONS_MAX;
  if (index >= p->cases->n) return FC_OK; /* a chain, a sentinel */
  fc_data d;
  char why[FC_WHY];
  const fc_implementation *impl[IMPLEMENTATIONS_MAX];
  fc_status status = fc_data_new(&d, s->options.device, &s->machine, &p->cases->item[index],
                                 s->options.seed + index, false, SIZE_MAX, why);
  if (status) return status == FC_E_NOMEM ? FC_OK : status;
  if (which < supporting(s, &d.problem, why, impl)) {
    fc_row row;
    status = new_row(&row, p, &d.problem, impl[which]->name, first->order);
    if (!status) status = measure_point(p, &d, impl[which], &row);
    if (!status && !fc_row_set(&row, FC_COLUMN_status, "again")) status = FC_E_NOMEM;
    if (status)
      fc_row_fini(&row);
    else
      status = keep(p, &row);
  }
  fc_data_free(&d);
  return status;
}

/* Of a kernel that this pass is about, and not measured again by an earlier one. */
static bool is_wanted_once(const fc_session *s, const fc_row *row) {
  if (s->options.kernel && strcmp(row->field[FC_COLUMN_kernel], s->options.kernel) != 0) return false;
  char *key = fc_row_key(row);
  bool once = key != NULL;
  for (size_t i = 0; once && i < s->rows.n; i++) {
    const char *state = s->rows.item[i].field[FC_COLUMN_status];
    if (!state || strcmp(state, "again") != 0) continue;
    char *other = fc_row_key(&s->rows.item[i]);
    once = other && strcmp(key, other) != 0;
    free(other);
  }
  free(key);
  return once;
}

static fc_status outliers(pass *p) {
  size_t n = p->s->rows.n;
  fc_status status = FC_OK;
  for (size_t i = 0; !status && i < n; i++) {
    const fc_row *row = &p->s->rows.item[i];
    const char *state = row->field[FC_COLUMN_status];
    if (!state || (strcmp(state, "ok") != 0 && strcmp(state, "timeout") != 0) ||
        !is_outlier(&p->s->rows, n, i) || !is_wanted_once(p->s, row))
      continue;
    fc_session_tell(p->s, p->total, p->total, "measuring outliers again");
    fc_row copy = {.order = row->order}; /* rows move when they grow */
    status = measure_again(p, &copy);
  }
  return status;
}

/* --- the pass --- */

/* A permutation drawn by the seed (Fisher and Yates). */
static void shuffle(size_t *order, size_t n, uint64_t seed) {
  for (size_t i = 0; i < n; i++) order[i] = i;
  for (size_t i = n; i > 1; i--) {
    size_t j = (size_t)(fc_fill_bits(seed, 2000, i) % i), t = order[i - 1];
    order[i - 1] = order[j];
    order[j] = t;
  }
}

static void describe_progress(char *out, size_t room, const fc_bench_case *c) {
  (void)snprintf(out, room, "%s%s%s", fc_bench_op_text(c->op), c->site ? " " : "", c->site ? c->site : "");
}

static fc_status run_pass(pass *p, const size_t *order) {
  fc_session *s = p->s;
  fc_status status = FC_OK;
  for (size_t i = 0; !status && i < p->cases->n; i++) {
    const fc_bench_case *c = &p->cases->item[order[i]];
    if (fc_session_cancelled(s)) return FC_E_CANCELLED;
    if (!fc_session_wants(s, c->op)) continue;
    char text[64];
    describe_progress(text, sizeof text, c);
    fc_session_tell(s, i, p->total, text);
    status = measure_case(p, order[i]);
  }
  if (!status && !s->options.kernel) status = fc_session_chains(s, p->journal, after_cases(p));
  if (!status && s->rows.n > s->resumed) status = outliers(p);
  return status;
}

/* Chains and sentinels stand after the cases; SIZE_MAX: neither. */
static size_t special_place(const pass *p, const fc_row *row) {
  const char *at = row->field[FC_COLUMN_site];
  if (at && strcmp(at, sentinel_site) == 0) return SENTINEL_ORDER;
  for (int k = 0; k < FC_CHAIN_COUNT; k++)
    if (strcmp(row->field[FC_COLUMN_kernel], fc_chain_text((fc_chain_kind)k)) == 0) {
      bool parts = row->field[FC_COLUMN_impl] && strcmp(row->field[FC_COLUMN_impl], "parts") == 0;
      return after_cases(p) + 2 * (size_t)k + parts;
    }
  return SIZE_MAX;
}

/* Earlier rows get their place from their key. */
static fc_status place_earlier(pass *p, fc_rows *earlier) {
  fc_status status = FC_OK;
  for (size_t i = 0; !status && i < earlier->n; i++) {
    char *key = fc_row_key(&earlier->item[i]);
    if (!key) return FC_E_NOMEM;
    earlier->item[i].order = special_place(p, &earlier->item[i]);
    for (size_t j = 0; j < p->cases->n && earlier->item[i].order == SIZE_MAX; j++) {
      fc_problem shape;
      if (fc_problem_init(&shape, &p->cases->item[j], p->s->options.seed, false)) continue;
      if (strcmp(fc_bench_op_text(shape.c.op), earlier->item[i].field[FC_COLUMN_kernel]) != 0) continue;
      const fc_implementation *impl[IMPLEMENTATIONS_MAX];
      char why[FC_WHY];
      size_t n = supporting(p->s, &shape, why, impl);
      for (size_t k = 0; k < (n ? n : 1); k++) {
        fc_row row;
        status = new_row(&row, p, &shape, n ? impl[k]->name : "", j * IMPLEMENTATIONS_MAX + k);
        char *candidate = status ? NULL : fc_row_key(&row);
        if (candidate && strcmp(candidate, key) == 0) earlier->item[i].order = row.order;
        free(candidate);
        if (!status) fc_row_fini(&row);
      }
    }
    free(key);
  }
  return status;
}

/* What hung or lost the device is not tried at further shapes. */
static fc_status refuse_again(fc_session *s, const fc_rows *earlier) {
  for (size_t i = 0; i < earlier->n; i++) {
    const char *const *f = (const char *const *)earlier->item[i].field;
    const char *state = f[FC_COLUMN_status];
    if (!state || (strcmp(state, FC_STATUS_HUNG) != 0 && strcmp(state, FC_STATUS_LOST) != 0)) continue;
    for (int op = 0; op < FC_BENCH_OP_COUNT; op++) {
      fc_cursor at = {0};
      if (strcmp(fc_bench_op_text((fc_bench_op)op), f[FC_COLUMN_kernel]) != 0) continue;
      for (const fc_implementation *impl; (impl = fc_session_next(s, (fc_bench_op)op, &at)) != NULL;) {
        if (!f[FC_COLUMN_impl] || strcmp(impl->name, f[FC_COLUMN_impl]) != 0) continue;
        fc_vetted *v = fc_session_vetted(s, impl);
        if (!v) return FC_E_NOMEM;
        v->refused = true;
        (void)snprintf(v->why, sizeof v->why, "hung or lost the device at another shape");
      }
    }
  }
  return FC_OK;
}

fc_status fc_session_resume(fc_session *s, fc_rows *earlier) {
  fc_cases cases;
  fc_status status = fc_cases_build(&cases, fc_session_scale(s), s->options.quick);
  if (status) return status;
  pass p = {.s = s, .cases = &cases};
  status = place_earlier(&p, earlier);
  if (!status) status = refuse_again(s, earlier);
  for (size_t i = 0; !status && i < earlier->n; i++) {
    if (earlier->item[i].order == SIZE_MAX) earlier->item[i].order = OTHER_ORDER;
    status = fc_rows_add(&s->rows, &earlier->item[i]);
    s->resumed++;
  }
  fc_cases_free(&cases);
  return status;
}

fc_status fc_session_measure(fc_session *s, fc_journal *journal) {
  fc_cases cases;
  fc_status status = fc_cases_build(&cases, fc_session_scale(s), s->options.quick);
  if (status) return status;
  size_t *order = calloc(cases.n, sizeof *order);
  if (order) {
    pass p = {.s = s, .journal = journal, .cases = &cases, .total = cases.n};
    shuffle(order, cases.n, s->options.seed);
    status = run_pass(&p, order);
    fc_rows_sort(&s->rows);
  } else {
    status = FC_E_NOMEM;
  }
  free(order);
  fc_cases_free(&cases);
  return status;
}
