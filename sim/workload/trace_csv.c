/* SPDX-License-Identifier: Apache-2.0 */
#include "trace_build.h"

#include <string.h>

static const char *const azure[FC_TRACE_COLUMNS] = {"TIMESTAMP", "ContextTokens", "GeneratedTokens"};
static const char *const own[FC_TRACE_COLUMNS] = {"arrival_s",    "input_tokens",  "output_tokens",
                                                  "prefix_group", "prefix_tokens", "class"};

enum { REQUIRED = FC_TRACE_OUTPUT + 1, NAME_MAX_BYTES = 64, UNQUOTED_MAX = 256 };

/* --- a line into fields --- */

/* One field from p on.  @return its end: a comma, or `end`; NULL: `*bad` says where it is wrong */
static const char *take_field(fc_slice *out, const char *p, const char *end, const char **bad) {
  while (p < end && (*p == ' ' || *p == '\t')) p++;
  if (p == end || *p != '"') {
    const char *comma = p < end ? memchr(p, ',', (size_t)(end - p)) : NULL;
    const char *stop = comma ? comma : end;
    *out = fc_slice_trim((fc_slice){p, (size_t)(stop - p)});
    return stop;
  }
  const char *opening = p++, *from = p;
  while ((p = p < end ? memchr(p, '"', (size_t)(end - p)) : NULL) && p + 1 < end && p[1] == '"') p += 2;
  if (!p) {
    *bad = opening;
    return NULL;
  }
  *out = (fc_slice){from, (size_t)(p - from)};
  for (p++; p < end && (*p == ' ' || *p == '\t');) p++;
  if (p < end && *p != ',') {
    *bad = p;
    return NULL;
  }
  return p;
}

/* @return fields found, at most FC_TRACE_FIELDS_MAX + 1; 0: `*bad` is set */
static size_t split(fc_trace_csv *csv, const fc_line *line, const char **bad) {
  const char *p = line->text, *end = p + line->length;
  for (size_t n = 0;; p++) {
    if (n == FC_TRACE_FIELDS_MAX) return n + 1;
    csv->start[n] = p;
    p = take_field(&csv->field[n], p, end, bad);
    if (!p) return 0;
    n++;
    if (p == end) return n;
  }
}

/* --- the header --- */

static int find_name(const char *const *names, fc_slice text) {
  for (int i = 0; i < FC_TRACE_COLUMNS; i++)
    if (names[i] && fc_slice_is(text, names[i])) return i;
  return -1;
}

static const char *nearest(const char *const *names, size_t n, fc_slice text, char copy[NAME_MAX_BYTES]) {
  if (text.n >= NAME_MAX_BYTES) return NULL;
  memcpy(copy, text.p, text.n);
  copy[text.n] = '\0';
  return fc_diag_nearest(copy, names, n);
}

static size_t matches(const fc_trace_csv *csv, const char *const *names, size_t n_names) {
  char copy[NAME_MAX_BYTES];
  size_t n = 0;
  for (size_t i = 0; i < csv->n; i++)
    n += find_name(names, csv->field[i]) >= 0 ? 4 : nearest(names, n_names, csv->field[i], copy) != NULL;
  return n;
}

/* A column of neither name: a slip where the right one is missing, else not ours. */
static fc_status check_foreign(const fc_trace_csv *csv, const fc_trace_reading *r, const fc_line *line,
                               const char *const *names, size_t n_names) {
  char copy[NAME_MAX_BYTES];
  fc_status status = FC_OK;
  for (size_t i = 0; i < csv->n; i++) {
    fc_slice text = csv->field[i];
    if (find_name(names, text) >= 0) continue;
    const char *meant = nearest(names, n_names, text, copy);
    fc_pos at = fc_trace_position(line, text.p);
    int n = (int)(text.n < NAME_MAX_BYTES ? text.n : NAME_MAX_BYTES);
    if (meant && csv->place[find_name(names, (fc_slice){meant, strlen(meant)})] < 0)
      status =
          fc_diag_error(r->d, r->source, at, "unknown column '%.*s'; did you mean '%s'?", n, text.p, meant);
    else
      fc_diag_warning(r->d, r->source, at, "column '%.*s' is not used", n, text.p);
  }
  return status;
}

fc_status fc_trace_csv_header(fc_trace_csv *csv, const fc_trace_reading *r, const fc_line *line) {
  const char *bad = NULL;
  csv->n = split(csv, line, &bad);
  if (csv->n == 0)
    return fc_diag_error(r->d, r->source, fc_trace_position(line, bad),
                         "a quote is never closed, or text follows it");
  if (csv->n > FC_TRACE_FIELDS_MAX)
    return fc_diag_error(r->d, r->source, fc_trace_position(line, line->text), "more than %d columns",
                         (int)FC_TRACE_FIELDS_MAX);
  size_t as_azure = matches(csv, azure, REQUIRED), as_own = matches(csv, own, FC_TRACE_COLUMNS);
  if (as_azure + as_own == 0)
    return fc_diag_error(r->d, r->source, fc_trace_position(line, line->text),
                         "this is no trace: its first line is neither a JSON object nor a header with "
                         "'arrival_s' or 'TIMESTAMP'");
  csv->format = as_azure > as_own ? FC_TRACE_AZURE : FC_TRACE_OWN;
  const char *const *names = as_azure > as_own ? azure : own;
  fc_status status = FC_OK;
  for (int c = 0; c < FC_TRACE_COLUMNS; c++) csv->place[c] = -1;
  for (size_t i = 0; i < csv->n; i++) {
    int c = find_name(names, csv->field[i]);
    if (c < 0) continue;
    if (csv->place[c] >= 0)
      status = fc_diag_error(r->d, r->source, fc_trace_position(line, csv->field[i].p),
                             "column '%s' is there twice", names[c]);
    csv->place[c] = (int)i;
  }
  if (check_foreign(csv, r, line, names, csv->format == FC_TRACE_AZURE ? REQUIRED : FC_TRACE_COLUMNS))
    status = FC_E_INPUT;
  for (int c = 0; c < REQUIRED; c++)
    if (csv->place[c] < 0)
      status = fc_diag_error(r->d, r->source, fc_trace_position(line, line->text), "column '%s' is missing",
                             names[c]);
  return status;
}

/* --- a row --- */

static fc_slice field_of(const fc_trace_csv *csv, fc_trace_column column) {
  return csv->place[column] < 0 ? (fc_slice){"", 0} : csv->field[csv->place[column]];
}

static const char *start_of(const fc_trace_csv *csv, fc_trace_column column) {
  fc_slice text = csv->field[csv->place[column]];
  return text.n > 0 ? text.p : csv->start[csv->place[column]];
}

static fc_status refuse(const fc_trace_csv *csv, fc_trace_reading *r, const fc_line *line,
                        fc_trace_column column, const char *why) {
  const char *const *names = csv->format == FC_TRACE_AZURE ? azure : own;
  return fc_trace_bad_row(r, line, start_of(csv, column), "%s %s", names[column], why);
}

/* A name with its doubled quotes made single; a longer one than the room stays as it stands. */
static fc_slice unquoted(fc_slice name, char room[UNQUOTED_MAX]) {
  if (name.n > UNQUOTED_MAX || !memchr(name.p, '"', name.n)) return name;
  size_t n = 0;
  for (size_t i = 0; i < name.n; i++) {
    room[n++] = name.p[i];
    if (name.p[i] == '"' && i + 1 < name.n && name.p[i + 1] == '"') i++;
  }
  return (fc_slice){room, n};
}

/* Group and class.  @return FC_OK | FC_E_NOMEM | FC_E_INPUT (the row is malformed, and told) */
static fc_status take_names(const fc_trace_csv *csv, fc_trace_reading *r, const fc_line *line,
                            fc_trace_record *row) {
  fc_trace *t = r->trace;
  char why[FC_TRACE_WHY], room[UNQUOTED_MAX];
  uint32_t tokens = 0, class = 0;
  fc_slice group = field_of(csv, FC_TRACE_GROUP), shared = field_of(csv, FC_TRACE_GROUP_TOKENS);
  fc_slice name = field_of(csv, FC_TRACE_CLASS);
  fc_status status = FC_OK;
  if (shared.n > 0 && !fc_trace_tokens(&tokens, shared, 0, why)) {
    (void)refuse(csv, r, line, FC_TRACE_GROUP_TOKENS, why);
    return FC_E_INPUT;
  }
  if (tokens > 0 && group.n == 0) {
    (void)refuse(csv, r, line, FC_TRACE_GROUP_TOKENS, "needs a prefix_group");
    return FC_E_INPUT;
  }
  if (name.n > 0) {
    status = fc_trace_intern(t, &t->classes, &class, unquoted(name, room));
    if (!status && class >= FC_TRACE_NONE) {
      (void)refuse(csv, r, line, FC_TRACE_CLASS, "is one too many: there are 65535 others");
      return FC_E_INPUT;
    }
    row->slo_class = (uint16_t) class;
  }
  if (group.n > 0 && !status) status = fc_trace_intern(t, &t->groups, &row->prefix, unquoted(group, room));
  if (status || tokens == 0) return status;
  fc_trace_name *known = &t->groups.name[row->prefix];
  if (known->tokens > 0 && known->tokens != tokens) {
    (void)fc_trace_bad_row(r, line, start_of(csv, FC_TRACE_GROUP_TOKENS),
                           "prefix_tokens of group '%s' was %u, here it is %u", known->text, known->tokens,
                           tokens);
    return FC_E_INPUT;
  }
  known->tokens = tokens;
  return FC_OK;
}

fc_status fc_trace_csv_row(fc_trace_csv *csv, fc_trace_reading *r, const fc_line *line) {
  const char *bad = NULL;
  size_t n = split(csv, line, &bad);
  if (n == 0) return fc_trace_bad_row(r, line, bad, "a quote is never closed, or text follows it");
  if (n != csv->n)
    return fc_trace_bad_row(r, line,
                            n > csv->n && csv->n < FC_TRACE_FIELDS_MAX ? csv->start[csv->n] : line->text,
                            "%s%zu field%s in this row; the header has %zu",
                            n > FC_TRACE_FIELDS_MAX ? "at least " : "", n, n == 1 ? "" : "s", csv->n);
  fc_trace_record row = {.prefix = UINT32_MAX, .slo_class = FC_TRACE_NONE};
  char why[FC_TRACE_WHY];
  fc_slice at = field_of(csv, FC_TRACE_AT);
  if (!(csv->format == FC_TRACE_AZURE ? fc_trace_date(&row.arrival, at, why)
                                      : fc_trace_time(&row.arrival, at, 9, why)))
    return refuse(csv, r, line, FC_TRACE_AT, why);
  if (!fc_trace_tokens(&row.input_tokens, field_of(csv, FC_TRACE_INPUT), 1, why))
    return refuse(csv, r, line, FC_TRACE_INPUT, why);
  if (!fc_trace_tokens(&row.output_tokens, field_of(csv, FC_TRACE_OUTPUT), 0, why))
    return refuse(csv, r, line, FC_TRACE_OUTPUT, why);
  fc_status status = take_names(csv, r, line, &row);
  if (status) return status == FC_E_INPUT ? FC_OK : status;
  return fc_trace_add(r, line, &row);
}
