/* SPDX-License-Identifier: Apache-2.0 */
#include "measure.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* --- scanning --- */

static const char *find(const char *p, const char *end, char c) {
  const char *found = p < end ? memchr(p, c, (size_t)(end - p)) : NULL;
  return found ? found : end;
}

/* Characters of UTF-8 text: bytes that are not continuations. */
static size_t characters(const char *p, const char *end) {
  size_t n = 0;
  for (; p < end; p++) n += ((unsigned char)*p & 0xC0) != 0x80;
  return n;
}

static const char *find_forbidden(const char *p, const char *end, const char **why) {
  const char *nul = find(p, end, '\0'), *cr = find(p, nul, '\r');
  *why = cr < nul ? "a carriage return inside a line" : "a NUL byte";
  return cr < nul ? cr : nul;
}

/* --- numbers --- */

/* Digits with at most one point, few enough that both the digits and the power of ten are exact doubles: then
 * one division rounds correctly.  All else goes to fc_csv_number. */
enum { EXACT_DIGITS = 15 };

static bool number_slowly(double *out, const char *p, const char *end) {
  char text[512];
  size_t length = (size_t)(end - p);
  if (length >= sizeof text) return false;
  memcpy(text, p, length);
  text[length] = '\0';
  return fc_csv_number(out, &(fc_csv_field){.text = text, .length = length});
}

static inline bool is_digit(char c) {
  return (unsigned char)(c - '0') < 10;
}

/* @return past the number, at a comma or end; NULL: not a plain one */
static inline const char *number_fast(double *out, const char *p, const char *end) {
  static const double power[EXACT_DIGITS + 1] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
  uint64_t digits = 0;
  const char *start = p, *point = NULL;
  for (; p < end && is_digit(*p); p++) digits = digits * 10 + (unsigned char)(*p - '0');
  size_t n = (size_t)(p - start), decimals = 0;
  if (p < end && *p == '.') {
    point = ++p;
    for (; p < end && is_digit(*p); p++) digits = digits * 10 + (unsigned char)(*p - '0');
    decimals = (size_t)(p - point);
  }
  if (n + decimals == 0 || n + decimals > EXACT_DIGITS || (p < end && *p != ',')) return NULL;
  *out = decimals ? (double)digits / power[decimals] : (double)digits;
  return p;
}

/* --- one row --- */

typedef struct {
  size_t n;       /* fields found */
  fc_pos surplus; /* of the first that has no column */
  int bad;        /* role of the first number that is none; -1: all are */
  fc_pos bad_at;
  fc_slice bad_text;
} fields;

static fc_row_kind bad(fc_rows *r, const char *p, fc_pos at, const char *why) {
  const char *eol = find(p, r->end, '\n');
  r->stop = eol;
  if (eol > r->start && eol[-1] == '\r') r->stop--;
  r->p = eol < r->end ? eol + 1 : eol;
  r->line = at.line + 1;
  r->at = at;
  (void)snprintf(r->why, sizeof r->why, "%s", why);
  return FC_ROW_BAD;
}

static inline void put_text(fc_measure_row *row, int role, const char *p, const char *end) {
  row->text[role] = (fc_slice){p, (size_t)(end - p)};
}

static void put_number(fc_measure_row *row, fields *f, int role, const char *p, const char *end, fc_pos at) {
  double *out = &row->number[role - FC_MEASURE_TEXT_COUNT];
  *out = (double)NAN;
  if (p == end || number_slowly(out, p, end) || f->bad >= 0) return;
  f->bad = role;
  f->bad_at = at;
  f->bad_text = (fc_slice){p, (size_t)(end - p)};
}

/* Files are sorted, mostly: a row that begins with the texts of the row before leaves them in `row`. */
static bool same_head(const fc_rows *r) {
  return r->head_length > 0 && (size_t)(r->stop - r->start) > r->head_length &&
         memcmp(r->start, r->head, r->head_length) == 0;
}

/* The usual row: one line without a quote. */
static void take_plain(fc_rows *r, fc_measure_row *row, fields *f) {
  const fc_columns *columns = r->columns;
  const unsigned char *role = columns->role;
  const char *p = r->start, *end = r->stop;
  bool head = !same_head(r);
  if (head) {
    r->head_length = 0;
  } else {
    p += r->head_length;
    f->n = r->head_fields;
  }
  for (size_t n = columns->n;;) {
    int of = f->n < n ? role[f->n] : FC_ROLE_NONE;
    const char *from = p;
    if (head && of >= (int)FC_MEASURE_TEXT_COUNT) { /* the first that is no text */
      head = false;
      r->head = r->start;
      r->head_length = (size_t)(p - r->start);
      r->head_fields = f->n;
    }
    if (f->n == n) f->surplus = (fc_pos){r->line, characters(r->start, p) + 1};
    if (p < end && *p == ',') { /* empty */
      if (of < (int)FC_MEASURE_TEXT_COUNT)
        put_text(row, of, p, p);
      else if (of != FC_ROLE_NONE)
        row->number[of - FC_MEASURE_TEXT_COUNT] = (double)NAN;
    } else if (of == FC_ROLE_NONE) {
      p = find(p, end, ',');
    } else if (of < (int)FC_MEASURE_TEXT_COUNT) {
      p = find(p, end, ',');
      put_text(row, of, from, p);
    } else {
      p = number_fast(&row->number[of - FC_MEASURE_TEXT_COUNT], from, end);
      if (!p) {
        p = find(from, end, ',');
        put_number(row, f, of, from, p, (fc_pos){r->line, 0});
        if (f->bad == of) f->bad_at.column = characters(r->start, f->bad_text.text) + 1;
      }
    }
    f->n++;
    if (p == end) break;
    p++;
  }
}

typedef struct {
  const char *p, *from, *eol; /* where we are; where this line begins and ends */
  size_t line;
} cursor;

static fc_pos position(const cursor *c, const char *p) {
  return (fc_pos){c->line, characters(c->from, p) + 1};
}

/* From the opening quote to past the closing one. */
static fc_row_kind take_quoted(fc_rows *r, cursor *c, bool *doubled) {
  fc_pos opening = position(c, c->p);
  const char *p = c->p + 1;
  for (;;) {
    const char *quote = find(p, r->end, '"'), *nul = find(p, quote, '\0');
    for (const char *lf; (lf = find(p, nul, '\n')) < nul;) { /* the text goes over lines */
      c->from = p = lf + 1;
      c->line++;
    }
    if (nul < quote) return bad(r, nul, position(c, nul), "a NUL byte");
    if (quote == r->end) return bad(r, r->end, opening, "this quote is never closed");
    bool again = quote + 1 < r->end && quote[1] == '"';
    p = quote + (again ? 2 : 1);
    if (!again) break;
    *doubled = true;
  }
  c->p = p;
  if (c->eol < p) c->eol = find(p, r->end, '\n');
  if (p == c->eol || *p == ',' || (*p == '\r' && p + 1 == c->eol)) return FC_ROW_GOOD;
  return bad(r, p, position(c, p), "text after the closing quote; a comma is missing");
}

static fc_row_kind take_bare(fc_rows *r, cursor *c) {
  const char *end = find(c->p, c->eol, ',');
  if (end == c->eol && end > c->p && end[-1] == '\r') end--;
  const char *why, *bad_byte = find_forbidden(c->p, end, &why), *quote = find(c->p, bad_byte, '"');
  if (quote < bad_byte)
    return bad(r, quote, position(c, quote), "a quote inside a field that does not begin with one");
  if (bad_byte < end) return bad(r, bad_byte, position(c, bad_byte), why);
  c->p = end;
  return FC_ROW_GOOD;
}

/* A row with quotes, which may go over lines.  What it says is kept only where no quote is doubled: no name
 * has one. */
static fc_row_kind take_mixed(fc_rows *r, fc_measure_row *row, fields *f) {
  cursor c = {.p = r->start, .from = r->start, .eol = find(r->start, r->end, '\n'), .line = r->line};
  for (;; c.p++) {
    fc_pos at = row || f->n == r->columns->n ? position(&c, c.p) : (fc_pos){0};
    const char *from = c.p;
    bool quoted = c.p < c.eol && *c.p == '"', doubled = false;
    fc_row_kind kind = quoted ? take_quoted(r, &c, &doubled) : take_bare(r, &c);
    if (kind != FC_ROW_GOOD) return kind;
    int of = f->n < r->columns->n ? r->columns->role[f->n] : FC_ROLE_NONE;
    if (f->n == r->columns->n) f->surplus = at;
    f->n++;
    const char *a = from + quoted, *b = c.p - quoted;
    if (row && of < (int)FC_MEASURE_TEXT_COUNT) put_text(row, of, a, b);
    if (row && of != FC_ROLE_NONE && of >= (int)FC_MEASURE_TEXT_COUNT) put_number(row, f, of, a, b, at);
    if (row && doubled && of < (int)FC_MEASURE_TEXT_COUNT && f->bad < 0) {
      f->bad = of;
      f->bad_at = at;
      f->bad_text = row->text[of];
    }
    if (c.p == r->end || *c.p != ',') break;
  }
  r->stop = c.p;
  r->p = c.eol < r->end ? c.eol + 1 : c.eol;
  r->line = c.line + 1;
  return FC_ROW_GOOD;
}

/* Counts of fields first: shifted columns make numbers bad. */
static fc_row_kind judge(fc_rows *r, const fields *f) {
  size_t n = r->columns->n;
  if (f->n != n) {
    r->at = f->n > n ? f->surplus : (fc_pos){r->start_line, 1};
    (void)snprintf(r->why, sizeof r->why, "%zu field%s in this row; the header has %zu", f->n,
                   f->n == 1 ? "" : "s", n);
    return FC_ROW_BAD;
  }
  if (f->bad < 0) return FC_ROW_GOOD;
  r->at = f->bad_at;
  int shown = f->bad_text.length < 40 ? (int)f->bad_text.length : 40;
  (void)snprintf(r->why, sizeof r->why, "column '%s': '%.*s' is not a %s", fc_role_text(f->bad), shown,
                 f->bad_text.text, f->bad < (int)FC_MEASURE_TEXT_COUNT ? "name" : "number");
  return FC_ROW_BAD;
}

static fc_row_kind take_row(fc_rows *r, fc_measure_row *row, const char *eol, fields *f) {
  r->stop = eol > r->start && eol[-1] == '\r' ? eol - 1 : eol;
  if (!r->plain) {
    if (find(r->start, eol, '"') < eol) {
      if (row) r->head_length = 0;
      return take_mixed(r, row, f);
    }
    const char *why, *at = find_forbidden(r->start, r->stop, &why);
    if (at < r->stop) return bad(r, at, (fc_pos){r->line, characters(r->start, at) + 1}, why);
  }
  if (row) take_plain(r, row, f);
  r->p = eol < r->end ? eol + 1 : eol;
  r->line++;
  return FC_ROW_GOOD;
}

void fc_rows_init(fc_rows *out, const fc_columns *columns, const char *p, const char *end, size_t line) {
  *out = (fc_rows){.columns = columns, .p = p, .end = end, .line = line};
  out->plain = find(p, end, '"') == end && find(p, end, '\r') == end && find(p, end, '\0') == end;
}

fc_row_kind fc_rows_next(fc_rows *r, fc_measure_row *row) {
  for (;;) {
    if (r->p == r->end) return FC_ROW_END;
    const char *eol = find(r->p, r->end, '\n');
    r->start = r->p;
    r->start_line = r->line;
    size_t length = (size_t)(eol - r->p);
    if ((length == 0 || (length == 1 && *r->p == '\r')) && r->columns->n > 1) { /* a blank line */
      r->p = eol < r->end ? eol + 1 : eol;
      r->line++;
      continue;
    }
    fields f = {.bad = -1};
    if (row) row->line = r->line;
    fc_row_kind kind = take_row(r, row, eol, &f);
    return kind == FC_ROW_GOOD && row ? judge(r, &f) : kind;
  }
}

fc_pos fc_rows_position(const fc_rows *rows, int role) {
  size_t column = 0;
  while (column < rows->columns->n && rows->columns->role[column] != role) column++;
  fc_pos first = {rows->start_line, 1};
  if (column == rows->columns->n) return first;
  cursor c = {.p = rows->start, .from = rows->start, .line = rows->start_line};
  for (bool quoted = false; c.p < rows->stop && (column > 0 || quoted); c.p++) {
    if (*c.p == '"') quoted = !quoted;
    if (*c.p == ',' && !quoted) column--;
    if (*c.p != '\n') continue;
    c.from = c.p + 1;
    c.line++;
  }
  return position(&c, c.p);
}

/* --- the header --- */

static void name_roles(fc_columns *out, const fc_csv_reader *reader) {
  for (size_t i = 0; i < out->n; i++) {
    out->role[i] = FC_ROLE_NONE;
    for (int role = 0; role < FC_ROLE_COUNT; role++)
      if (strcmp(fc_csv_column_name(reader, i), fc_role_text(role)) == 0) {
        out->role[i] = (unsigned char)role;
        out->has[role] = true;
      }
  }
}

static fc_status complain_column(const fc_csv_reader *reader, const char *source, int role, fc_diags *d) {
  const char *near = NULL;
  for (size_t i = 0; i < fc_csv_columns(reader) && !near; i++) {
    const char *name = fc_csv_column_name(reader, i), *wanted = fc_role_text(role);
    near = fc_diag_nearest(wanted, &name, 1);
  }
  return fc_diag_error(d, source, ((fc_pos){1, 1}), "column '%s' is missing%s%.40s%s", fc_role_text(role),
                       near ? "; there is '" : "", near ? near : "", near ? "'" : "");
}

fc_status fc_columns_read(fc_columns *out, const char *source, const char *bytes, size_t length,
                          const int *needed, size_t n_needed, fc_diags *d) {
  fc_csv_reader *reader;
  *out = (fc_columns){0};
  fc_status status = fc_csv_open(&reader, source, bytes, length, d);
  if (status) return status;
  out->n = fc_csv_columns(reader);
  name_roles(out, reader);
  for (size_t i = 0; i < n_needed && !status; i++)
    if (!out->has[needed[i]]) status = complain_column(reader, source, needed[i], d);
  fc_csv_free(reader);
  if (status) return status;
  size_t mark = length >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
  fc_rows rows = {.columns = out, .p = bytes + mark, .end = bytes + length, .line = 1};
  (void)fc_rows_next(&rows, NULL);
  out->header = rows.start;
  out->header_end = rows.stop;
  out->body = rows.p;
  out->body_line = rows.line;
  return FC_OK;
}
