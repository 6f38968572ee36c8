/* SPDX-License-Identifier: Apache-2.0 */
#include "fit_family.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/assert.h>
#include <fleetcast/calibrate/krige.h>
#include <fleetcast/cost/form.h>
#include <fleetcast/cost/predict.h>

#include "form_fit.h"
#include "order.h"

/* Points within so many robust sd of their prediction are the family's own scatter. */
static const double OUTLIER = 4;
enum { NEIGHBOURS_MOST = 300 };

typedef fc_family_work work;

static fc_status allocate(work *w, const fc_table *table, const fc_family *family, fc_arena *arena) {
  size_t n = family->n;
  *w = (work){.n = n, .first = family->first, .family = family, .point = table->point + family->first};
  w->g = fc_arena_array(arena, n, sizeof *w->g);
  w->y = fc_arena_array(arena, 7 * n + 1, sizeof *w->y);
  w->x = fc_arena_array(arena, n, sizeof *w->x);
  w->order = fc_arena_array(arena, n, sizeof *w->order);
  if (!w->g || !w->y || !w->x || !w->order) return FC_E_NOMEM;
  w->log_sd = w->y + n;
  w->form = w->log_sd + n;
  w->residual = w->form + n;
  w->error = w->residual + n;
  w->room = w->error + n;
  w->fixed = w->room + n;
  return FC_OK;
}

static void describe(work *w, const fc_device *device) {
  for (size_t i = 0; i < w->n; i++) {
    const fc_point *p = &w->point[i];
    fc_op_geometry(&w->g[i], &p->op, fc_family_units(device));
    w->y[i] = log(p->seconds);
    w->log_sd[i] = p->log_sd;
  }
}

static void subtract_form(work *w, const fc_kernel_fit *fit, const fc_device *device) {
  for (size_t i = 0; i < w->n; i++) {
    w->n_coordinates = fc_local_coordinates(w->x[i], &w->point[i].op, fc_family_units(device), fit);
    double share[FC_REGIME_COUNT];
    fc_form_shares(share, fit->form, &fit->coef, &w->g[i]);
    w->fixed[i] = share[FC_REGIME_LAUNCH];
    w->form[i] = log(fc_form_s(fit->form, &fit->coef, &w->g[i]));
    w->residual[i] = w->y[i] - w->form[i];
  }
}

static void range_of(fc_kernel_fit *fit, const work *w) {
  for (size_t i = 0; i < w->n; i++) {
    double flop = w->g[i].flop, bytes = w->g[i].bytes;
    if (i == 0) {
      fit->min_flop = fit->max_flop = flop;
      fit->min_bytes = fit->max_bytes = bytes;
    }
    fit->min_flop = fmin(fit->min_flop, flop);
    fit->max_flop = fmax(fit->max_flop, flop);
    fit->min_bytes = fmin(fit->min_bytes, bytes);
    fit->max_bytes = fmax(fit->max_bytes, bytes);
  }
}

/* --- noise --- */

/* Points are zeroed before they are filled: what is not told apart by members compares equal. */
static int compare_shapes(const work *w, size_t i, size_t j) {
  /* NOLINTNEXTLINE(cert-exp42-c,cert-flp37-c,bugprone-suspicious-memory-comparison) */
  int order = memcmp(&w->point[i].op, &w->point[j].op, sizeof(fc_op));
  return order ? order : (i > j) - (i < j);
}

static bool same_shape(const work *w, size_t i, size_t j) {
  /* NOLINTNEXTLINE(cert-exp42-c,cert-flp37-c,bugprone-suspicious-memory-comparison) */
  return memcmp(&w->point[i].op, &w->point[j].op, sizeof(fc_op)) == 0;
}

static void sift(const work *w, size_t root, size_t end) {
  size_t *a = w->order;
  for (size_t child; (child = 2 * root + 1) < end; root = child) {
    if (child + 1 < end && compare_shapes(w, a[child], a[child + 1]) < 0) child++;
    if (compare_shapes(w, a[root], a[child]) >= 0) return;
    size_t t = a[root];
    a[root] = a[child];
    a[child] = t;
  }
}

/* Heap sort: POSIX's qsort passes no context. */
static void sort_by_shape(work *w) {
  size_t n = w->n, *a = w->order;
  for (size_t i = 0; i < n; i++) a[i] = i;
  for (size_t root = n / 2; root-- > 0;) sift(w, root, n);
  for (size_t end = n; end-- > 1;) {
    size_t t = a[end];
    a[end] = a[0];
    a[0] = t;
    sift(w, 0, end);
  }
}

/* Robust sd of one measurement from differences between repeats of a shape; and how many shapes there are. */
static double repeat_noise(const work *w, size_t *shapes) {
  size_t n = 0;
  *shapes = w->n > 0;
  for (size_t i = 1; i < w->n; i++) {
    if (same_shape(w, w->order[i - 1], w->order[i]))
      w->room[n++] = fabs(w->y[w->order[i]] - w->y[w->order[i - 1]]);
    else
      ++*shapes;
  }
  /* median |difference| of two normals: 0.6745 sqrt(2) sd */
  return n ? fc_median(w->room, n) / (0.6745 * 1.41421356) : 0;
}

/* Median disagreement of the residual with that of the nearest other shape. */
static double neighbour_noise(const work *w) {
  size_t n = w->n < NEIGHBOURS_MOST ? w->n : NEIGHBOURS_MOST, kept = 0;
  for (size_t i = 0; i < n; i++) {
    size_t at = i * w->n / n, nearest = at;
    double least = HUGE_VAL;
    for (size_t j = 0; j < w->n; j++) {
      double square = 0;
      for (size_t c = 0; c < w->n_coordinates; c++) {
        double d = (double)(w->x[at][c] - w->x[j][c]);
        square += d * d;
      }
      if (square > 0 && square < least) least = square, nearest = j;
    }
    if (nearest != at) w->room[kept++] = fabs(w->residual[at] - w->residual[nearest]);
  }
  return kept ? fc_median(w->room, kept) : 0;
}

/* --- results --- */

static void regimes(fc_kernel_fit *fit, const work *w) {
  memcpy(w->room, w->error, w->n * sizeof *w->room);
  fit->spread_shape = fc_robust_sd(w->room, w->n);
  for (int regime = 0; regime < FC_REGIME_COUNT; regime++) {
    size_t n = 0;
    for (size_t i = 0; i < w->n; i++)
      if (fc_form_regime(fit->form, &fit->coef, &w->g[i]) == (fc_regime)regime) w->room[n++] = w->error[i];
    fit->spread_regime[regime] = n >= 10 ? fc_robust_sd(w->room, n) : fit->spread_shape;
  }
}

static void keep_worst(fc_family_report *report, const work *w, size_t first, const double *half) {
  enum { N = sizeof report->worst / sizeof *report->worst };
  for (size_t k = 0; k < N; k++) report->worst[k] = SIZE_MAX;
  for (size_t i = 0; i < w->n; i++) {
    size_t k = N;
    while (k > 0 && (report->worst[k - 1] == SIZE_MAX ||
                     fabs(w->error[i]) > fabs(w->error[report->worst[k - 1] - first])))
      k--;
    if (k == N) continue;
    for (size_t l = N - 1; l > k; l--) report->worst[l] = report->worst[l - 1];
    report->worst[k] = first + i;
  }
  for (size_t k = 0; k < N && report->worst[k] != SIZE_MAX; k++) {
    size_t i = report->worst[k] - first;
    report->fitted_s[k] = exp(w->y[i] + w->error[i]);
    report->low_s[k] = report->fitted_s[k] * exp(-half[i]);
    report->high_s[k] = report->fitted_s[k] * exp(half[i]);
  }
}

static void summarise(fc_family_report *report, const work *w, const double *half) {
  size_t n = w->n, inside = 0;
  for (size_t i = 0; i < n; i++) {
    inside += fabs(w->error[i]) <= half[i];
    w->room[i] = fabs(expm1(w->error[i]));
  }
  report->coverage = (double)inside / (double)n;
  report->median_error = fc_median(w->room, n);
  report->p90_error = fc_select(w->room, n, (size_t)(0.9 * (double)(n - 1)));
  for (size_t i = 0; i < n; i++) w->room[i] = fabs(expm1(-w->residual[i]));
  report->form_median_error = fc_median(w->room, n);
  memcpy(w->room, w->error, n * sizeof *w->room);
  double sd = fc_robust_sd(w->room, n);
  for (size_t i = 0; i < n; i++) report->outliers += fabs(w->error[i]) > OUTLIER * fmax(sd, 1e-3);
}

/* Copies the correction and the anchors' shapes, so that the profile can be written. */
fc_status fc_family_keep(fc_kernel_fit *fit, const fc_krige *krige, const work *w, const fc_op *lent,
                         fc_arena *arena) {
  if (krige->local.n == 0) return FC_OK;
  fc_local *local = fc_arena_alloc(arena, sizeof *local);
  fc_op *op = fc_arena_array(arena, krige->local.n, sizeof *op);
  if (!local || !op) return FC_E_NOMEM;
  *local = krige->local;
  for (size_t i = 0; i < local->n; i++) {
    size_t at = krige->anchor[i];
    if (at >= w->n) FC_ASSERT(lent != NULL);
    op[i] = at < w->n ? w->point[at].op : lent[at - w->n];
  }
  local->op = op;
  fit->local = local;
  return FC_OK;
}

/* Errors and intervals of what `krige` leaves out one by one. */
void fc_family_look_back(fc_kernel_fit *fit, fc_family_report *report, work *w, const fc_krige *krige) {
  double plain = FC_Z90 * hypot(fit->spread_shape, fit->spread_systematic);
  bool local = krige->local.n > 0;
  for (size_t i = 0; i < w->n; i++) {
    w->error[i] = (local ? krige->leave_one_out[i] : 0) - w->residual[i];
    if (!local) krige->half_width[i] = plain;
  }
  if (local) regimes(fit, w);
  summarise(report, w, krige->half_width);
  keep_worst(report, w, w->first, krige->half_width);
}

fc_krige_data fc_family_data(const work *w) {
  return (fc_krige_data){.n = w->n,
                         .x = (const float(*)[FC_LOCAL_COORDINATES])w->x,
                         .n_coordinates = w->n_coordinates,
                         .y = w->residual,
                         .fixed = w->fixed};
}

static fc_status correct(fc_kernel_fit *fit, fc_family_report *report, work *w, const fc_fit_options *options,
                         fc_arena *arena) {
  fc_krige_data data = fc_family_data(w);
  size_t most = options->no_local ? 0 : options->anchors ? options->anchors : (size_t)FC_FIT_ANCHORS;
  fc_status status = fc_krige_fit(&w->krige, &data, most, arena);
  if (status) return status;
  fc_family_look_back(fit, report, w, &w->krige);
  return fc_family_keep(fit, &w->krige, w, NULL, arena);
}

fc_status fc_family_fit(fc_kernel_fit *fit, fc_family_report *report, fc_family_work **out,
                        const fc_table *table, const fc_family *family, const fc_device *device,
                        const fc_fit_options *options, fc_arena *arena) {
  *fit = (fc_kernel_fit){.kernel = family->kernel,
                         .dtype = family->format->dtype,
                         .format = family->format->text,
                         .kv_format = family->kv_format ? family->kv_format->text : NULL,
                         .impl = family->impl,
                         .points = (double)family->n,
                         .provenance = FC_PROVENANCE_MEASURED};
  *report = (fc_family_report){.family = family, .fit = fit};
  work *w = fc_arena_alloc(arena, sizeof *w);
  *out = w;
  if (!w) return FC_E_NOMEM;
  fc_status status = allocate(w, table, family, arena);
  if (status) return status;
  describe(w, device);
  range_of(fit, w);
  status = fc_form_fit(fit, &(fc_form_points){w->n, w->g, w->y, w->log_sd}, device, arena);
  if (status) return status;
  subtract_form(w, fit, device);
  sort_by_shape(w);
  fit->noise = report->noise = repeat_noise(w, &report->shapes);
  report->neighbour = neighbour_noise(w);
  return correct(fit, report, w, options, arena);
}
