/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/csv.h>

#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/assert.h>

#include "file_private.h"

/* --- reading --- */

struct fc_csv_reader {
  char *source;
  const char *p, *end; /* what is left to read */
  size_t line;         /* of p, 1-based */
  size_t columns, skipped;
  char *names; /* the header's row buffer, kept */
  const char **name;
  fc_csv_field *field; /* of the last row */
  char *buffer;        /* their texts */
  size_t used, capacity;
};

typedef enum { ROW_END, ROW_BLANK, ROW_GOOD, ROW_BAD, ROW_NOMEM } row_kind;

typedef struct {
  size_t n;       /* fields found */
  size_t limit;   /* fields kept */
  fc_pos at;      /* of the first */
  fc_pos surplus; /* of the first that was not kept */
} row_state;

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

/* Goes on with the line after the one that holds p. */
static row_kind bad_row(fc_csv_reader *r, const char *p, fc_diags *d, fc_pos at, const char *text) {
  (void)fc_diag_error(d, r->source, at, "%s", text);
  const char *eol = find(p, r->end, '\n');
  r->p = eol < r->end ? eol + 1 : eol;
  r->line = at.line + 1;
  return ROW_BAD;
}

static bool reserve(fc_csv_reader *r, size_t more) {
  if (more <= r->capacity - r->used) return true;
  if (more > SIZE_MAX / 4 || r->used > SIZE_MAX / 4) return false;
  size_t capacity = (r->used + more) * 2;
  char *grown = realloc(r->buffer, capacity);
  if (!grown) return false;
  r->buffer = grown;
  r->capacity = capacity;
  return true;
}

static bool append(fc_csv_reader *r, const char *p, const char *end) {
  size_t n = (size_t)(end - p);
  if (!reserve(r, n + 1)) return false; /* room for the NUL too */
  if (n) memcpy(r->buffer + r->used, p, n);
  r->used += n;
  return true;
}

/* A character that no field may hold as it stands, or end. */
static const char *find_forbidden(const char *p, const char *end, const char **text) {
  const char *nul = find(p, end, '\0'), *cr = find(p, nul, '\r');
  *text = cr < nul ? "a carriage return inside a line" : "a NUL byte";
  return cr < nul ? cr : nul;
}

static void put_field(fc_csv_reader *r, row_state *row, size_t length, fc_pos at) {
  if (row->n == row->limit) row->surplus = at;
  if (row->n < row->limit) r->field[row->n] = (fc_csv_field){.length = length, .at = at};
  row->n++;
}

/* Texts are found once the buffer no longer moves: each is followed by one NUL. */
static void point_texts(fc_csv_reader *r, const row_state *row) {
  const char *text = r->buffer;
  size_t n = row->n < row->limit ? row->n : row->limit;
  for (size_t i = 0; i < n; i++) {
    r->field[i].text = text;
    text += r->field[i].length + 1;
  }
}

/* The usual row: one line without a quote.  Copied at once, its commas become the NULs. */
static row_kind take_plain(fc_csv_reader *r, row_state *row, const char *eol, fc_diags *d) {
  const char *start = r->p, *end = eol;
  if (end > start && end[-1] == '\r') end--;
  if (end == start) {
    r->p = eol < r->end ? eol + 1 : eol;
    r->line++;
    return ROW_BLANK;
  }
  const char *why, *bad = find_forbidden(start, end, &why);
  if (bad < end) return bad_row(r, bad, d, (fc_pos){r->line, characters(start, bad) + 1}, why);
  if (!append(r, start, end)) return ROW_NOMEM;
  r->buffer[r->used++] = '\0';
  char *text = r->buffer, *stop = text + (end - start);
  fc_pos at = {r->line, 1};
  for (;;) {
    char *comma = text == stop ? NULL : memchr(text, ',', (size_t)(stop - text));
    char *field_end = comma ? comma : stop;
    put_field(r, row, (size_t)(field_end - text), at);
    if (!comma) break;
    at.column += characters(text, field_end) + 1;
    *comma = '\0';
    text = comma + 1;
  }
  r->p = eol < r->end ? eol + 1 : eol;
  r->line++;
  return ROW_GOOD;
}

typedef struct {
  const char *p;    /* where we are */
  const char *from; /* of this line */
  const char *eol;
  size_t line;
} cursor;

static fc_pos position(const cursor *c, const char *p) {
  return (fc_pos){c->line, characters(c->from, p) + 1};
}

/* From the opening quote to past the closing one. */
static row_kind take_quoted(fc_csv_reader *r, cursor *c, fc_pos opening, fc_diags *d) {
  const char *p = c->p + 1;
  for (;;) {
    const char *quote = find(p, r->end, '"');
    const char *nul = find(p, quote, '\0');
    for (const char *lf; (lf = find(p, nul, '\n')) < nul;) { /* the text goes over lines */
      if (!append(r, p, lf + 1)) return ROW_NOMEM;
      c->from = p = lf + 1;
      c->line++;
    }
    if (nul < quote) return bad_row(r, nul, d, position(c, nul), "a NUL byte");
    if (quote == r->end) {
      c->line = opening.line;
      (void)bad_row(r, r->end, d, opening, "this quote is never closed");
      return ROW_BAD;
    }
    bool doubled = quote + 1 < r->end && quote[1] == '"';
    if (!append(r, p, doubled ? quote + 1 : quote)) return ROW_NOMEM;
    p = quote + (doubled ? 2 : 1);
    if (!doubled) break;
  }
  c->p = p;
  if (c->eol < p) c->eol = find(p, r->end, '\n');
  bool ends = p == c->eol || *p == ',' || (*p == '\r' && p + 1 == c->eol);
  return ends ? ROW_GOOD
              : bad_row(r, p, d, position(c, p), "text after the closing quote; a comma is missing");
}

static row_kind take_bare(fc_csv_reader *r, cursor *c, fc_diags *d) {
  const char *end = find(c->p, c->eol, ',');
  if (end == c->eol && end > c->p && end[-1] == '\r') end--;
  const char *why, *bad = find_forbidden(c->p, end, &why), *quote = find(c->p, bad, '"');
  if (quote < bad)
    return bad_row(r, quote, d, position(c, quote), "a quote inside a field that does not begin with one");
  if (bad < end) return bad_row(r, bad, d, position(c, bad), why);
  if (!append(r, c->p, end)) return ROW_NOMEM;
  c->p = end;
  return ROW_GOOD;
}

static row_kind take_mixed(fc_csv_reader *r, row_state *row, const char *eol, fc_diags *d) {
  cursor c = {.p = r->p, .from = r->p, .eol = eol, .line = r->line};
  fc_pos at = {c.line, 1};
  for (const char *counted = c.p;; counted = c.p) {
    const char *from = c.from;
    size_t start = r->used;
    bool quoted = c.p < c.eol && *c.p == '"';
    row_kind kind = quoted ? take_quoted(r, &c, at, d) : take_bare(r, &c, d);
    if (kind != ROW_GOOD) return kind;
    put_field(r, row, r->used - start, at);
    r->buffer[r->used++] = '\0'; /* append left room */
    if (c.p == r->end || *c.p != ',') break;
    /* columns are counted on, not from the line's start: a long row stays linear */
    at = c.from == from ? (fc_pos){c.line, at.column + characters(counted, c.p) + 1}
                        : (fc_pos){c.line, characters(c.from, c.p) + 2};
    c.p++;
  }
  r->p = c.eol < r->end ? c.eol + 1 : c.eol;
  r->line = c.line + 1;
  return ROW_GOOD;
}

static row_kind take_row(fc_csv_reader *r, row_state *row, fc_diags *d) {
  if (r->p == r->end) return ROW_END;
  const char *eol = find(r->p, r->end, '\n');
  row->n = 0;
  row->at = (fc_pos){r->line, 1};
  r->used = 0;
  row_kind kind = find(r->p, eol, '"') < eol ? take_mixed(r, row, eol, d) : take_plain(r, row, eol, d);
  if (kind == ROW_GOOD) point_texts(r, row);
  return kind;
}

static fc_status check_header(const fc_csv_reader *r, const row_state *row, fc_diags *d) {
  if (row->n > row->limit)
    return fc_diag_error(d, r->source, row->surplus, "more than %d columns", (int)FC_CSV_COLUMNS_MAX);
  for (size_t i = 1; i < row->n; i++)
    for (size_t k = 0; k < i; k++)
      if (r->field[i].length == r->field[k].length &&
          memcmp(r->field[i].text, r->field[k].text, r->field[i].length) == 0)
        return fc_diag_error(d, r->source, r->field[i].at, "column '%s' is there twice", r->field[i].text);
  return FC_OK;
}

static fc_status take_header(fc_csv_reader *r, fc_diags *d) {
  row_state row = {.limit = FC_CSV_COLUMNS_MAX};
  row_kind kind = take_row(r, &row, d);
  if (kind == ROW_NOMEM) return FC_E_NOMEM;
  if (kind == ROW_BAD) return FC_E_INPUT; /* told */
  if (kind == ROW_END) return fc_diag_error(d, r->source, ((fc_pos){0, 0}), "the file is empty");
  if (kind == ROW_BLANK) return fc_diag_error(d, r->source, row.at, "a header row is missing");
  fc_status status = check_header(r, &row, d);
  if (status) return status;
  r->name = malloc((row.n + 1) * sizeof *r->name);
  if (!r->name) return FC_E_NOMEM;
  for (size_t i = 0; i < row.n; i++) r->name[i] = r->field[i].text;
  r->columns = row.n;
  r->names = r->buffer;
  r->buffer = NULL;
  r->used = r->capacity = 0;
  return FC_OK;
}

static char *copy_text(const char *text) {
  size_t size = strlen(text) + 1;
  char *copy = malloc(size);
  return copy ? memcpy(copy, text, size) : NULL;
}

fc_status fc_csv_open(fc_csv_reader **out, const char *source, const char *bytes, size_t length,
                      fc_diags *d) {
  *out = NULL;
  fc_csv_reader *r = calloc(1, sizeof *r);
  if (!r) return FC_E_NOMEM;
  if (length >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0) { /* byte order mark */
    bytes += 3;
    length -= 3;
  }
  r->p = length ? bytes : "";
  r->end = r->p + length;
  r->line = 1;
  r->source = copy_text(source ? source : "");
  r->field = malloc(FC_CSV_COLUMNS_MAX * sizeof *r->field);
  fc_status status = r->source && r->field ? take_header(r, d) : FC_E_NOMEM;
  if (status)
    fc_csv_free(r);
  else
    *out = r;
  return status;
}

void fc_csv_free(fc_csv_reader *reader) {
  if (!reader) return;
  free(reader->source);
  free(reader->names);
  free(reader->name);
  free(reader->field);
  free(reader->buffer);
  free(reader);
}

size_t fc_csv_columns(const fc_csv_reader *reader) {
  return reader->columns;
}

const char *fc_csv_column_name(const fc_csv_reader *reader, size_t column) {
  FC_ASSERT(column < reader->columns);
  return reader->name[column];
}

ptrdiff_t fc_csv_column(const fc_csv_reader *reader, const char *name) {
  for (size_t i = 0; i < reader->columns; i++)
    if (strcmp(reader->name[i], name) == 0) return (ptrdiff_t)i;
  return -1;
}

fc_status fc_csv_next(fc_csv_reader *reader, const fc_csv_field **out, fc_diags *d) {
  *out = NULL;
  for (;;) {
    row_state row = {.limit = reader->columns};
    row_kind kind = take_row(reader, &row, d);
    if (kind == ROW_END) return FC_OK;
    if (kind == ROW_NOMEM) return FC_E_NOMEM;
    if (kind == ROW_BLANK) {
      if (reader->columns > 1) continue;
      reader->field[0] = (fc_csv_field){.text = "", .at = row.at};
      *out = reader->field;
      return FC_OK;
    }
    if (kind == ROW_GOOD && row.n != reader->columns)
      (void)fc_diag_error(d, reader->source, row.n > reader->columns ? row.surplus : row.at,
                          "%zu field%s in this row; the header has %zu", row.n, row.n == 1 ? "" : "s",
                          reader->columns);
    if (kind == ROW_GOOD && row.n == reader->columns) {
      *out = reader->field;
      return FC_OK;
    }
    reader->skipped++;
  }
}

size_t fc_csv_skipped(const fc_csv_reader *reader) {
  return reader->skipped;
}

/* --- numbers --- */

static size_t digits(const char **p) {
  const char *start = *p;
  while (**p >= '0' && **p <= '9') ++*p;
  return (size_t)(*p - start);
}

/* [sign] digits [. digits] [e [sign] digits], at least one digit in the mantissa */
static bool is_decimal(const char *p, const char **point) {
  *point = NULL;
  if (*p == '+' || *p == '-') p++;
  size_t n = digits(&p);
  if (*p == '.') {
    *point = p++;
    n += digits(&p);
  }
  if (n == 0) return false;
  if (*p == 'e' || *p == 'E') {
    p++;
    if (*p == '+' || *p == '-') p++;
    if (digits(&p) == 0) return false;
  }
  return *p == '\0';
}

bool fc_csv_number(double *out, const fc_csv_field *field) {
  enum { LONGEST = 511 };
  const char *point;
  if (field->length > LONGEST || !is_decimal(field->text, &point)) return false;
  const char *separator = localeconv()->decimal_point;
  char local[LONGEST + 17];
  const char *text = field->text;
  if (point && strcmp(separator, ".") != 0) {
    (void)snprintf(local, sizeof local, "%.*s%s%s", (int)(point - text), text, separator, point + 1);
    text = local;
  }
  double value = strtod(text, NULL);
  if (!isfinite(value)) return false;
  *out = value;
  return true;
}

static size_t put_uint(char *out, uint64_t n) {
  char back[20];
  size_t i = sizeof back;
  do {
    back[--i] = (char)('0' + n % 10);
    n /= 10;
  } while (n);
  memcpy(out, back + i, sizeof back - i);
  return sizeof back - i;
}

size_t fc_csv_int_format(char out[FC_CSV_NUMBER_TEXT], long long value) {
  size_t sign = value < 0;
  if (sign) *out = '-';
  size_t n = sign + put_uint(out + sign, sign ? -(uint64_t)value : (uint64_t)value);
  out[n] = '\0';
  return n;
}

__extension__ typedef unsigned __int128 wide;

/* n / 10^decimals, without the zeros at its end. */
static size_t put_decimal(char *out, uint64_t n, int decimals) {
  while (decimals > 0 && n % 10 == 0) {
    n /= 10;
    decimals--;
  }
  char digit[20];
  size_t all = put_uint(digit, n), after = (size_t)decimals, before = all > after ? all - after : 0, used = 0;
  if (before)
    memcpy(out, digit, before);
  else
    out[0] = '0';
  used = before ? before : 1;
  if (after) {
    out[used++] = '.';
    for (size_t i = all; i < after; i++) out[used++] = '0';
    memcpy(out + used, digit + before, all - before);
    used += all - before;
  }
  out[used] = '\0';
  return used;
}

/* As the loop of prints and reads in fc_csv_number_format, in whole numbers: value = m 2^-shift, exactly.
 * @return 0: not in the range of values that this is for */
static size_t format_exact(char *out, double value) {
  static const double ten[] = {1e-4, 1e-3, 1e-2, 1e-1, 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,
                               1e6,  1e7,  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
  enum { LOW = -4, HIGH = 15 };
  double size = fabs(value);
  if (!(size >= ten[0] && size < ten[HIGH - LOW])) return 0;
  uint64_t raw;
  memcpy(&raw, &size, sizeof raw);
  uint64_t m = (raw & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1) << 52;
  int shift = 1075 - (int)(raw >> 52), exponent = LOW; /* shift: 3 to 66 */
  while (size >= ten[exponent - LOW + 1]) exponent++;
  size_t sign = value < 0;
  if (sign) *out = '-';
  wide power = 1;
  for (int i = exponent; i < 14; i++) power *= 10;
  for (int digits = 15;; digits++, power *= 10) {
    wide exact = power * m;
    uint64_t n = (uint64_t)(exact >> shift);
    wide rest = exact - ((wide)n << shift), half = (wide)1 << (shift - 1);
    bool up = rest > half || (rest == half && n % 2);
    n += up;
    wide off = up ? 2 * half - rest : rest; /* of what lies `power` apart; below a power of two half as far */
    wide limit = !up && m == UINT64_C(1) << 52 ? power / 2 : power;
    if (digits == 17 || 2 * off < limit || (2 * off == limit && m % 2 == 0))
      return sign + put_decimal(out + sign, n, digits - 1 - exponent);
  }
}

size_t fc_csv_number_format(char out[FC_CSV_NUMBER_TEXT], double value) {
  FC_ASSERT(isfinite(value));
  if (fabs(value) < 1e15 && value == trunc(value)) return fc_csv_int_format(out, (long long)value);
  size_t length = format_exact(out, value);
  if (length) return length;
  for (int precision = 15; precision <= 17; precision++) {
    (void)snprintf(out, FC_CSV_NUMBER_TEXT, "%.*g", precision, value);
    if (strtod(out, NULL) == value) break;
  }
  const char *separator = localeconv()->decimal_point;
  char *at = strcmp(separator, ".") == 0 ? NULL : strstr(out, separator);
  if (at) {
    size_t n = strlen(separator);
    *at = '.';
    memmove(at + 1, at + n, strlen(at + n) + 1);
  }
  return strlen(out);
}

/* --- writing --- */

static void begin_field(fc_file *file) {
  if (file->mid_row) fc_file_write(file, ",", 1);
  file->mid_row = true;
}

void fc_csv_write_text(fc_file *file, const char *text) {
  begin_field(file);
  size_t plain = strcspn(text, ",\"\r\n");
  if (text[plain] == '\0') {
    fc_file_write(file, text, plain);
    return;
  }
  fc_file_write(file, "\"", 1);
  while (*text) {
    size_t n = strcspn(text, "\"");
    fc_file_write(file, text, n);
    text += n;
    if (*text) {
      fc_file_write(file, "\"\"", 2);
      text++;
    }
  }
  fc_file_write(file, "\"", 1);
}

void fc_csv_write_number(fc_file *file, double value) {
  char text[FC_CSV_NUMBER_TEXT];
  size_t length = fc_csv_number_format(text, value);
  begin_field(file);
  fc_file_write(file, text, length);
}

void fc_csv_write_int(fc_file *file, long long value) {
  char text[FC_CSV_NUMBER_TEXT];
  size_t length = fc_csv_int_format(text, value);
  begin_field(file);
  fc_file_write(file, text, length);
}

void fc_csv_end_row(fc_file *file) {
  fc_file_write(file, "\n", 1);
  file->mid_row = false;
}
