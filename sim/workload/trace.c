/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/workload/trace.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/assert.h>

#include "trace_build.h"

/* --- what the readers of rows call --- */

fc_pos fc_trace_position(const fc_line *line, const char *at) {
  size_t column = 1;
  for (const char *p = line->text; p < at; p++) column += ((unsigned char)*p & 0xC0) != 0x80;
  return (fc_pos){line->number, column};
}

fc_status fc_trace_bad_row(fc_trace_reading *r, const fc_line *line, const char *at, const char *format,
                           ...) {
  if (r->trace->about.malformed++ < FC_TRACE_TOLD) {
    char text[192];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fc_diag_warning(r->d, r->source, fc_trace_position(line, at), "row skipped: %s", text);
  }
  return FC_OK;
}

/* One more of `size` bytes fits after `n`. */
static void *room_for_one(void *array, size_t n, size_t *capacity, size_t size) {
  enum { FIRST = 1024 };
  if (n < *capacity) return array;
  size_t more = *capacity ? 2 * *capacity : FIRST;
  if (more > SIZE_MAX / 2 / size) return NULL;
  void *grown = realloc(array, more * size);
  if (grown) *capacity = more;
  return grown;
}

fc_status fc_trace_add_block(fc_trace *t, uint64_t hash) {
  if (t->about.blocks == UINT32_MAX) return FC_E_NOMEM; /* a record counts them in 32 bits */
  uint64_t *grown = room_for_one(t->hash, t->about.blocks, &t->hash_capacity, sizeof *grown);
  if (!grown) return FC_E_NOMEM;
  t->hash = grown;
  t->hash[t->about.blocks++] = hash;
  return FC_OK;
}

fc_status fc_trace_add(fc_trace_reading *r, const fc_line *line, const fc_trace_record *record) {
  fc_trace *t = r->trace;
  size_t n = t->about.requests;
  fc_trace_record *grown = room_for_one(t->record, n, &t->capacity, sizeof *grown);
  if (!grown) return FC_E_NOMEM;
  t->record = grown;
  if (n > 0 && record->arrival < t->record[n - 1].arrival && t->about.out_of_order++ == 0)
    r->first_late = line->number;
  t->record[t->about.requests++] = *record;
  return FC_OK;
}

/* --- names --- */

static uint64_t hash_text(fc_slice text) {
  uint64_t h = text.n;
  for (size_t i = 0; i < text.n; i++) h = fc_mix64(h + (unsigned char)text.p[i] + 1);
  return h;
}

static uint32_t *slot_of(const fc_trace_names *names, fc_slice text) {
  for (size_t i = hash_text(text) & (names->n_slots - 1);; i = (i + 1) & (names->n_slots - 1)) {
    uint32_t *slot = &names->slot[i];
    if (*slot == 0 || fc_slice_is(text, names->name[*slot - 1].text)) return slot;
  }
}

/* At most half of the slots are taken. */
static fc_status room_for_name(fc_trace_names *names) {
  enum { FIRST = 64 };
  fc_trace_name *name = room_for_one(names->name, names->n, &names->capacity, sizeof *name);
  if (!name) return FC_E_NOMEM;
  names->name = name;
  if (2 * (names->n + 1) <= names->n_slots) return FC_OK;
  size_t more = names->n_slots ? 2 * names->n_slots : FIRST;
  uint32_t *slot = calloc(more, sizeof *slot);
  if (!slot) return FC_E_NOMEM;
  free(names->slot);
  names->slot = slot;
  names->n_slots = more;
  for (size_t i = 0; i < names->n; i++)
    *slot_of(names, (fc_slice){name[i].text, strlen(name[i].text)}) = (uint32_t)i + 1;
  return FC_OK;
}

fc_status fc_trace_intern(fc_trace *t, fc_trace_names *names, uint32_t *out, fc_slice text) {
  const char *nul = memchr(text.p, '\0', text.n); /* names are C texts */
  if (nul) text.n = (size_t)(nul - text.p);
  if (names->n == UINT32_MAX - 1) return FC_E_NOMEM;
  fc_status status = room_for_name(names);
  if (status) return status;
  uint32_t *slot = slot_of(names, text);
  if (*slot == 0) {
    const char *copy = fc_arena_text(&t->texts, text.p, text.n);
    if (!copy) return FC_E_NOMEM;
    names->name[names->n++] = (fc_trace_name){.text = copy};
    *slot = (uint32_t)names->n;
  }
  *out = *slot - 1;
  return FC_OK;
}

static void free_names(fc_trace_names *names) {
  free(names->name);
  free(names->slot);
}

/* --- order --- */

static void merge(fc_trace_record *to, const fc_trace_record *a, size_t na, const fc_trace_record *b,
                  size_t nb) {
  const fc_trace_record *a_end = a + na, *b_end = b + nb;
  while (a < a_end && b < b_end) *to++ = b->arrival < a->arrival ? *b++ : *a++;
  while (a < a_end) *to++ = *a++;
  while (b < b_end) *to++ = *b++;
}

/* Bottom-up merge sort: stable. */
static fc_status sort(fc_trace *t) {
  size_t n = t->about.requests;
  fc_trace_record *from = t->record, *to = malloc(n * sizeof *to);
  if (!to) return FC_E_NOMEM;
  for (size_t width = 1; width < n; width *= 2) {
    for (size_t i = 0; i < n; i += 2 * width) {
      size_t na = n - i < width ? n - i : width, nb = n - i - na < width ? n - i - na : width;
      merge(to + i, from + i, na, from + i + na, nb);
    }
    fc_trace_record *swap = from;
    from = to;
    to = swap;
  }
  free(to);
  t->record = from;
  t->capacity = n;
  return FC_OK;
}

/* --- the file --- */

static void skip_mark(fc_line *line) { /* byte order mark */
  if (line->number != 1 || line->length < 3 || memcmp(line->text, "\xEF\xBB\xBF", 3) != 0) return;
  line->text += 3;
  line->length -= 3;
}

static bool is_blank(const fc_line *line) {
  return !line->too_long && fc_slice_trim((fc_slice){line->text, line->length}).n == 0;
}

static fc_status next_line(fc_trace_reading *r, fc_lines *lines, fc_line *line) {
  size_t last;
  do {
    last = line->number;
    fc_status status = fc_lines_next(lines, line);
    if (status == FC_E_INPUT)
      return fc_diag_error(r->d, r->source, ((fc_pos){last + 1, 1}),
                           "the gzip data are damaged or cut off here");
    if (status || !line->text) return status;
    skip_mark(line);
  } while (is_blank(line));
  return FC_OK;
}

static fc_status read_rows(fc_trace_reading *r, fc_lines *lines) {
  fc_line line = {0};
  fc_status status = next_line(r, lines, &line);
  if (status) return status;
  if (!line.text) return fc_diag_error(r->d, r->source, ((fc_pos){0, 0}), "the file is empty");
  fc_trace_csv csv = {.format = FC_TRACE_MOONCAKE};
  bool json = fc_slice_trim((fc_slice){line.text, line.length}).p[0] == '{' && !line.too_long;
  if (!json) {
    status = fc_trace_csv_header(&csv, r, &line);
    if (!status) status = next_line(r, lines, &line);
  }
  r->trace->about.format = csv.format;
  while (!status && line.text) {
    if (line.too_long)
      (void)fc_trace_bad_row(r, &line, line.text, "a line of more than %d bytes", (int)FC_TRACE_LINE_MAX);
    else
      status = json ? fc_trace_json_row(r, &line) : fc_trace_csv_row(&csv, r, &line);
    if (!status) status = next_line(r, lines, &line);
  }
  return status;
}

static fc_status tell_totals(const fc_trace_reading *r) {
  static const fc_pos nowhere = {0, 0};
  const fc_trace_info *a = &r->trace->about;
  if (a->malformed > FC_TRACE_TOLD)
    fc_diag_warning(r->d, r->source, nowhere, "%zu more malformed rows were skipped, %zu in all",
                    a->malformed - FC_TRACE_TOLD, a->malformed);
  if (a->requests == 0 && a->malformed > 0)
    return fc_diag_error(r->d, r->source, nowhere, "not one of its %zu rows can be read", a->malformed);
  if (a->requests == 0) return fc_diag_error(r->d, r->source, nowhere, "there is no request in it");
  if (a->out_of_order > 0)
    (void)fc_diag_add(r->d, FC_NOTE, r->source, (fc_pos){r->first_late, 1},
                      "%zu row%s earlier than the row before; sorted by time", a->out_of_order,
                      a->out_of_order == 1 ? " is" : "s are");
  return FC_OK;
}

static fc_status finish(const fc_trace_reading *r) {
  fc_trace *t = r->trace;
  fc_status status = tell_totals(r);
  if (!status && t->about.out_of_order > 0) status = sort(t);
  if (status) return status;
  size_t n = t->about.requests;
  FC_ASSERT(n > 0 && t->record);
  t->about.span = t->record[n - 1].arrival - t->record[0].arrival;
  if (t->about.format == FC_TRACE_AZURE) {
    t->about.start = t->record[0].arrival;
    for (size_t i = 0; i < n; i++) t->record[i].arrival -= t->about.start;
  }
  t->about.block_tokens = t->about.blocks > 0 ? FC_TRACE_BLOCK_TOKENS : 0;
  t->about.groups = t->groups.n;
  t->about.classes = t->classes.n;
  return FC_OK;
}

static fc_status read_trace(fc_trace **out, const char *source, fc_lines *lines, fc_diags *d) {
  fc_trace *t = calloc(1, sizeof *t);
  fc_status status = t ? FC_OK : FC_E_NOMEM;
  if (t) {
    fc_trace_reading r = {.trace = t, .source = source, .d = d};
    status = read_rows(&r, lines);
    if (!status) status = finish(&r);
  }
  int error = errno;
  if (status)
    fc_trace_free(t);
  else
    *out = t;
  fc_lines_free(lines);
  errno = error;
  return status;
}

fc_status fc_trace_read(fc_trace **out, const char *path, fc_diags *d) {
  *out = NULL;
  fc_lines *lines;
  fc_status status = fc_lines_open(&lines, path);
  return status ? status : read_trace(out, path, lines, d);
}

fc_status fc_trace_parse(fc_trace **out, const char *source, const void *bytes, size_t length, fc_diags *d) {
  *out = NULL;
  fc_lines *lines;
  fc_status status = fc_lines_of(&lines, bytes, length);
  return status ? status : read_trace(out, source, lines, d);
}

void fc_trace_free(fc_trace *t) {
  if (!t) return;
  free(t->record);
  free(t->hash);
  free_names(&t->groups);
  free_names(&t->classes);
  fc_arena_fini(&t->texts);
  free(t);
}

/* --- what it holds --- */

const fc_trace_info *fc_trace_about(const fc_trace *trace) {
  return &trace->about;
}

const char *fc_trace_class_name(const fc_trace *trace, size_t i) {
  FC_ASSERT(i < trace->classes.n);
  return trace->classes.name[i].text;
}

const char *fc_trace_group_name(const fc_trace *trace, size_t i) {
  FC_ASSERT(i < trace->groups.n);
  return trace->groups.name[i].text;
}

uint32_t fc_trace_group_tokens(const fc_trace *trace, size_t i) {
  FC_ASSERT(i < trace->groups.n);
  return trace->groups.name[i].tokens;
}

fc_trace_row fc_trace_at(const fc_trace *trace, size_t i) {
  FC_ASSERT(i < trace->about.requests);
  const fc_trace_record *record = &trace->record[i];
  bool blocks = record->n_blocks > 0;
  return (fc_trace_row){.arrival = record->arrival,
                        .input_tokens = record->input_tokens,
                        .output_tokens = record->output_tokens,
                        .group = blocks ? UINT32_MAX : record->prefix,
                        .slo_class = record->slo_class,
                        .n_blocks = record->n_blocks,
                        .block = blocks ? trace->hash + record->prefix : NULL};
}
