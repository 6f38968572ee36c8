/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/calibrate/table.h>

#include <errno.h>
#include <math.h>
#include <sha2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/arena.h>
#include <fleetcast/base/file.h>

#include "measure.h"

enum { FILE_MAX_BYTES = 1 << 30, FAMILIES_MAX = 4096, IMPL_SHOWN = 80 };

/* Interquartile range of a normal distribution over its standard deviation. */
#define IQR_PER_SD 1.349

typedef struct {
  fc_table *out;
  fc_arena texts;
  fc_diags *d;
  const fc_table_options *options;
  SHA2_CTX sha;
  size_t point_room, family_room, impl_room;
  size_t n_impl;
  const char **impl; /* every implementation met, taken or not: for "did you mean" */
  bool impl_met;
  /* of the file being read */
  const char *source;
  size_t file;
} reader;

/* --- families --- */

static bool same_text(const char *text, const fc_slice *slice) {
  return strlen(text) == slice->length &&
         (slice->length == 0 || memcmp(text, slice->text, slice->length) == 0);
}

/* Twice the room when n of them are there. */
static bool grow(void **items, size_t *room, size_t n, size_t size) {
  if (n < *room) return true;
  size_t more = *room ? 2 * *room : 64;
  if (more > SIZE_MAX / 2 / size) return false;
  void *grown = realloc(*items, more * size);
  if (!grown) return false;
  *items = grown;
  *room = more;
  return true;
}

/* A copy that lives as long as the table. */
static const char *keep_impl(reader *r, const fc_slice *impl) {
  for (size_t i = 0; i < r->n_impl; i++)
    if (same_text(r->impl[i], impl)) return r->impl[i];
  if (!grow((void **)&r->impl, &r->impl_room, r->n_impl, sizeof *r->impl)) return NULL;
  const char *copy = fc_arena_text(&r->texts, impl->length ? impl->text : "", impl->length);
  if (copy) r->impl[r->n_impl++] = copy;
  return copy;
}

static fc_status find_family(size_t *out, reader *r, const fc_rows *rows, const fc_measured *measured,
                             const fc_slice *impl) {
  fc_table *t = r->out;
  fc_kernel kernel = fc_op_kernel(measured->id);
  for (size_t i = t->n_families; i-- > 0;) {
    const fc_family *f = &t->family[i];
    if (f->kernel == kernel && f->format == measured->format && f->kv_format == measured->kv_format &&
        same_text(f->impl, impl)) {
      *out = i;
      return FC_OK;
    }
  }
  if (t->n_families == FAMILIES_MAX)
    return fc_diag_error(r->d, r->source, ((fc_pos){rows->start_line, 1}),
                         "more than %d kernels, formats and implementations", FAMILIES_MAX);
  const char *name = keep_impl(r, impl);
  if (!name || !grow((void **)&t->family, &r->family_room, t->n_families, sizeof *t->family))
    return FC_E_NOMEM;
  *out = t->n_families++;
  t->family[*out] = (fc_family){
      .kernel = kernel, .format = measured->format, .kv_format = measured->kv_format, .impl = name};
  return FC_OK;
}

/* --- rows --- */

typedef struct {
  fc_measured measured;
  size_t family;
  fc_slice text[FC_MEASURE_kv_dtype + 1]; /* kernel to kv_dtype */
  bool any, known;
  fc_fault fault;
} last_row;

static bool same_slice(const fc_slice *a, const fc_slice *b) {
  return a->length == b->length && (a->length == 0 || memcmp(a->text, b->text, a->length) == 0);
}

static bool same_family(const last_row *last, const fc_measure_row *row) {
  for (int i = 0; i <= (int)FC_MEASURE_kv_dtype; i++)
    if (!same_slice(&last->text[i], &row->text[i])) return false;
  return last->any;
}

static bool is_used(const fc_slice *status) {
  return status->length == 0 || same_text("ok", status) || same_text("timeout", status) ||
         same_text("again", status);
}

static void tell(reader *r, const fc_rows *rows, int role, const char *why) {
  fc_pos at = {rows->start_line, 1};
  if (role >= 0) at = fc_rows_position(rows, role);
  (void)fc_diag_error(r->d, r->source, at, "%s", why);
  r->out->n_bad++;
}

static double log_sd(const fc_measure_row *row) {
  double n = row->number[FC_MEASURE_samples], iqr = row->number[FC_MEASURE_iqr_us],
         latency = row->number[FC_MEASURE_latency_us];
  return n > 0 && iqr > 0 ? iqr / IQR_PER_SD / latency / sqrt(n) : 0;
}

/* Whose row it is, as cheaply as when it is the last one's. */
static fc_status find(last_row *last, reader *r, const fc_rows *rows, const fc_measure_row *row) {
  if (!same_family(last, row)) {
    memcpy(last->text, row->text, sizeof last->text);
    last->any = true;
    last->known = fc_measured_find(&last->measured, row, &last->fault);
    if (last->known) return find_family(&last->family, r, rows, &last->measured, &row->text[FC_MEASURE_impl]);
    /* a kernel that nobody models is left out; a slip of the pen is told */
    if (last->fault.role == (int)FC_MEASURE_kernel && strstr(last->fault.why, "did you mean"))
      fc_diag_warning(r->d, r->source, fc_rows_position(rows, last->fault.role), "%s", last->fault.why);
  }
  if (last->known) return FC_OK;
  if (last->fault.role == (int)FC_MEASURE_kernel && row->text[FC_MEASURE_kernel].length > 0)
    r->out->n_left_out++;
  else
    tell(r, rows, last->fault.role, last->fault.why);
  return FC_OK;
}

static bool is_wanted(reader *r, const fc_slice *impl, fc_status *status) {
  if (!r->options->impl) return true;
  if (same_text(r->options->impl, impl)) return r->impl_met = true;
  if (r->n_impl < FAMILIES_MAX && !keep_impl(r, impl)) *status = FC_E_NOMEM;
  return false;
}

static fc_status add_point(reader *r, const fc_point *point) {
  fc_table *t = r->out;
  if (!grow((void **)&t->point, &r->point_room, t->n_points, sizeof *t->point)) return FC_E_NOMEM;
  t->point[t->n_points++] = *point;
  t->family[point->family].n++;
  return FC_OK;
}

static fc_status take_row(reader *r, last_row *last, const fc_rows *rows, const fc_measure_row *row) {
  fc_status status = FC_OK;
  if (!is_used(&row->text[FC_MEASURE_status])) {
    r->out->n_left_out++;
    return FC_OK;
  }
  if (!is_wanted(r, &row->text[FC_MEASURE_impl], &status)) return status;
  status = find(last, r, rows, row);
  if (status || !last->known) return status;
  double us = row->number[FC_MEASURE_latency_us];
  if (!(us > 0)) {
    char why[FC_SHAPE_WHY];
    (void)snprintf(why, sizeof why,
                   isnan(us) ? "column 'latency_us' is empty" : "column 'latency_us': %g is not positive",
                   us);
    tell(r, rows, FC_ROLE_NUMBER(FC_MEASURE_latency_us), why);
    return FC_OK;
  }
  fc_point point = {.seconds = us * 1e-6,
                    .log_sd = log_sd(row),
                    .family = (uint32_t)last->family,
                    .file = (uint32_t)r->file,
                    .line = (uint32_t)rows->start_line};
  fc_fault fault;
  if (!fc_measured_op(&point.op, &last->measured, row, r->options->device, &fault)) {
    tell(r, rows, fault.role, fault.why);
    return FC_OK;
  }
  return add_point(r, &point);
}

/* --- files --- */

static fc_status read_text(reader *r, const char *bytes, size_t length) {
  static const int needed[] = {FC_MEASURE_kernel, FC_MEASURE_dtype, FC_ROLE_NUMBER(FC_MEASURE_latency_us)};
  fc_columns columns;
  fc_status status =
      fc_columns_read(&columns, r->source, bytes, length, needed, sizeof needed / sizeof *needed, r->d);
  if (status) return status;
  fc_rows rows;
  fc_rows_init(&rows, &columns, columns.body, bytes + length, columns.body_line);
  fc_measure_row row = {0};
  for (int i = 0; i < (int)FC_MEASURE_NUMBER_COUNT; i++) row.number[i] = (double)NAN;
  last_row last = {0};
  for (fc_row_kind kind; !status && (kind = fc_rows_next(&rows, &row)) != FC_ROW_END;) {
    r->out->n_rows++;
    if (kind == FC_ROW_GOOD) {
      status = take_row(r, &last, &rows, &row);
    } else {
      (void)fc_diag_error(r->d, r->source, rows.at, "%s", rows.why);
      r->out->n_bad++;
    }
  }
  return status;
}

static fc_status read_file(reader *r) {
  char *stored, *unpacked = NULL;
  size_t length, unpacked_length = 0;
  fc_status status = fc_file_read(&stored, &length, r->source, FILE_MAX_BYTES);
  if (!status) {
    SHA256Update(&r->sha, (const uint8_t *)stored, length);
    bool packed = fc_gz_is(stored, length);
    if (packed) status = fc_gz_unpack(&unpacked, &unpacked_length, stored, length, FILE_MAX_BYTES);
    if (!status) status = read_text(r, packed ? unpacked : stored, packed ? unpacked_length : length);
  }
  if (status == FC_E_IO)
    (void)fc_diag_error(r->d, r->source, ((fc_pos){0, 0}), "cannot be read: %s",
                        errno == EBADMSG ? "not a whole gzip file" : strerror(errno));
  int error = errno;
  free(unpacked);
  free(stored);
  errno = error;
  return status;
}

/* --- order --- */

static int by_pointer(const fc_format *a, const fc_format *b) { /* rows of one table */
  return !a || !b ? (a != NULL) - (b != NULL) : (a > b) - (a < b);
}

static int compare(const fc_family *a, const fc_family *b) {
  if (a->kernel != b->kernel) return a->kernel < b->kernel ? -1 : 1;
  int order = by_pointer(a->format, b->format);
  if (!order) order = by_pointer(a->kv_format, b->kv_format);
  return order ? order : strcmp(a->impl, b->impl);
}

/* Families by insertion: some hundreds; `rank[i]` is where family i went.  Points then go to their places. */
static fc_status sort(fc_table *t) {
  size_t n = t->n_families, *order = malloc((n + 1) * sizeof *order), *rank = malloc((n + 1) * sizeof *rank);
  fc_family *family = malloc((n + 1) * sizeof *family);
  fc_point *point = malloc((t->n_points + 1) * sizeof *point);
  fc_status status = order && rank && family && point ? FC_OK : FC_E_NOMEM;
  if (!status) {
    for (size_t i = 0; i < n; i++) {
      size_t j = i;
      for (; j > 0 && compare(&t->family[order[j - 1]], &t->family[i]) > 0; j--) order[j] = order[j - 1];
      order[j] = i;
    }
    size_t first = 0;
    for (size_t i = 0; i < n; i++) {
      family[i] = t->family[order[i]];
      family[i].first = first;
      rank[order[i]] = i;
      first += family[i].n;
      family[i].n = 0;
    }
    for (size_t i = 0; i < t->n_points; i++) {
      fc_family *f = &family[rank[t->point[i].family]];
      fc_point *p = &point[f->first + f->n++];
      *p = t->point[i];
      p->family = (uint32_t)(f - family);
    }
    free(t->family);
    free(t->point);
    t->family = family;
    t->point = point;
    family = NULL;
    point = NULL;
  }
  free(order);
  free(rank);
  free(family);
  free(point);
  return status;
}

/* --- all --- */

static fc_status judge(const reader *r, const char *source) {
  const fc_table *t = r->out;
  const fc_pos nowhere = {0, 0};
  const char *impl = r->options->impl;
  if (impl && !r->impl_met && r->n_impl > 0) {
    const char *near = fc_diag_nearest(impl, r->impl, r->n_impl);
    return fc_diag_error(r->d, source, nowhere, "no row has implementation '%.*s'%s%.*s%s", IMPL_SHOWN, impl,
                         near ? "; did you mean '" : "", IMPL_SHOWN, near ? near : "", near ? "'?" : "");
  }
  if (t->n_points > 0) return FC_OK;
  return fc_diag_error(r->d, source, nowhere, "no usable row: %zu read, %zu malformed, %zu left out",
                       t->n_rows, t->n_bad, t->n_left_out);
}

static void drop_empty_families(fc_table *t) {
  size_t n = 0;
  for (size_t i = 0; i < t->n_families; i++) /* sorted: points keep their order */
    if (t->family[i].n > 0) {
      for (size_t k = 0; k < t->family[i].n; k++) t->point[t->family[i].first + k].family = (uint32_t)n;
      t->family[n++] = t->family[i];
    }
  t->n_families = n;
}

fc_status fc_table_read(fc_table *out, const char *const *paths, size_t n_paths,
                        const fc_table_options *options, fc_diags *d) {
  *out = (fc_table){0};
  reader r = {.out = out, .d = d, .options = options};
  SHA256Init(&r.sha);
  fc_status status = FC_OK;
  for (; r.file < n_paths && !status; r.file++) {
    r.source = paths[r.file];
    status = read_file(&r);
  }
  int error = errno;
  (void)SHA256End(&r.sha, out->sha256);
  if (!status) status = judge(&r, n_paths > 0 ? paths[0] : NULL);
  if (!status) status = sort(out);
  if (!status) drop_empty_families(out);
  free(r.impl);
  if (!status) {
    fc_arena *texts = malloc(sizeof *texts);
    if (texts)
      *texts = r.texts;
    else
      status = FC_E_NOMEM;
    out->texts = texts;
  }
  if (status) {
    fc_arena_fini(&r.texts);
    out->texts = NULL;
    fc_table_fini(out);
  }
  errno = error;
  return status;
}

void fc_table_fini(fc_table *table) {
  free(table->point);
  free(table->family);
  if (table->texts) fc_arena_fini(table->texts);
  free(table->texts);
  *table = (fc_table){0};
}
