/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include <fleetcast/base/assert.h>

#include "input.h"

/* The resolved input as YAML.  What is absent and has no default is left out; the rest reads back bit by bit.
 */

typedef struct {
  const fc_input *input;
  fc_text *out;
  const fc_schema *schema; /* of the root, for names of its lists' items */
} dumper;

static const void *at_offset(const void *object, size_t offset) {
  return (const char *)object + offset;
}

static void indent(fc_text *out, unsigned depth) {
  for (unsigned i = 0; i < depth; i++) fc_text_add(out, "  ");
}

/* In a reader's unit where that loses nothing, else in base units with all digits. */
static void write_quantity(fc_text *out, double v, fc_dim dim) {
  char text[FC_UNITS_TEXT];
  double back;
  fc_dim same;
  if (isinf(v)) {
    fc_text_add(out, "never");
    return;
  }
  fc_quantity_format(text, v, dim);
  if (fc_quantity_parse(&back, &same, text, strlen(text), NULL) && back == v) {
    fc_text_add(out, text);
    return;
  }
  fc_dim_format(text, dim);
  fc_text_printf(out, "%.17g", v);
  if (!fc_dim_equal(dim, FC_DIM_NONE)) fc_text_printf(out, " %s", text);
}

static void write_parameter(fc_text *out, const char *key, double v, fc_dim dim) {
  if (isinf(v)) return;
  fc_text_printf(out, ", %s: ", key);
  write_quantity(out, v, dim);
}

static void write_dist(fc_text *out, const fc_dist *d, fc_dim dim) {
  switch (d->kind) {
  case FC_DIST_POINT: write_quantity(out, d->a, dim); return;
  case FC_DIST_UNIFORM:
  case FC_DIST_LOGUNIFORM:
  case FC_DIST_TRIANGULAR:
    fc_text_add(out, d->kind == FC_DIST_UNIFORM      ? "{dist: uniform"
                     : d->kind == FC_DIST_LOGUNIFORM ? "{dist: loguniform"
                                                     : "{dist: triangular");
    write_parameter(out, "min", d->a, dim);
    if (d->kind == FC_DIST_TRIANGULAR) write_parameter(out, "mode", d->c, dim);
    write_parameter(out, "max", d->b, dim);
    break;
  case FC_DIST_NORMAL:
  case FC_DIST_LOGNORMAL:
    fc_text_add(out, d->kind == FC_DIST_NORMAL ? "{dist: normal" : "{dist: lognormal");
    write_parameter(out, d->kind == FC_DIST_NORMAL ? "mean" : "median", d->a, dim);
    if (d->kind == FC_DIST_NORMAL)
      write_parameter(out, "sd", d->b, dim);
    else
      write_parameter(out, "sigma", d->b, FC_DIM_NONE);
    write_parameter(out, "min", d->min, dim);
    write_parameter(out, "max", d->max, dim);
    break;
  }
  fc_text_add(out, "}");
}

static const fc_slot *slot_of(const dumper *d, const void *target) {
  const fc_slot *slot = d->input->slots.items;
  for (size_t i = 0; i < d->input->slots.n; i++)
    if (slot[i].target == target) return &slot[i];
  return NULL;
}

static void write_number(const dumper *d, const void *target, double v, fc_dim dim) {
  const fc_slot *slot = slot_of(d, target);
  if (slot)
    write_dist(d->out, &slot->is.dist, dim);
  else
    write_quantity(d->out, v, dim);
}

static void write_series(const dumper *d, const fc_field *f, const fc_series *s, unsigned depth) {
  static const char *const interp[] = {"step", "linear", "log"};
  static const char *const growth[] = {"hold", "exponential", "logistic", "gompertz"};
  if (s->n == 1 && s->growth == FC_GROWTH_HOLD) {
    fc_text_add(d->out, " ");
    write_number(d, &s->point[0].value, s->point[0].value, f->dim);
    fc_text_add(d->out, "\n");
    return;
  }
  fc_text_add(d->out, "\n");
  indent(d->out, depth + 1);
  fc_text_printf(d->out, "interp: %s\n", interp[s->interp]);
  indent(d->out, depth + 1);
  fc_text_add(d->out, "points:\n");
  for (size_t i = 0; i < s->n; i++) {
    char date[FC_TIME_TEXT];
    fc_time_format(date, s->point[i].at);
    indent(d->out, depth + 2);
    fc_text_printf(d->out, "- {date: %s, value: ", date);
    write_number(d, &s->point[i].value, s->point[i].value, f->dim);
    fc_text_add(d->out, "}\n");
  }
  if (s->growth == FC_GROWTH_HOLD) return;
  indent(d->out, depth + 1);
  fc_text_printf(d->out, "growth: {kind: %s, factor_per_year: ", growth[s->growth]);
  write_number(d, &s->factor_per_year, s->factor_per_year, FC_DIM_NONE);
  if (s->growth != FC_GROWTH_EXPONENTIAL) write_parameter(d->out, "ceiling", s->ceiling, f->dim);
  fc_text_add(d->out, "}\n");
}

/* The `name` of item i of the root's list `target`. */
static const char *name_of_item(const dumper *d, const char *target, int32_t i) {
  const fc_field *list = fc_schema_find(d->schema, target);
  const char *items = *(const char *const *)at_offset(d->input->object, list->offset);
  const fc_field *name = fc_schema_find(list->sub, "name");
  return *(const char *const *)at_offset(items + (size_t)i * list->sub->size, name->offset);
}

static const char *name_of_reference(const dumper *d, const fc_field *f, const void *object) {
  if (f->name_of) return f->name_of(object);
  const void *target = *(const void *const *)at_offset(object, f->offset);
  const fc_loaded *loaded = d->input->loaded.items;
  for (size_t i = 0; target && i < d->input->loaded.n; i++)
    if (loaded[i].object == target) return loaded[i].name;
  return NULL;
}

static void dump_fields(const dumper *d, const fc_schema *schema, const void *object, unsigned depth,
                        bool dash);

/* Is there something to write?  An absent value is 0 or NULL, or a 0 that the key's range excludes. */
static bool is_given(const dumper *d, const fc_field *f, const void *object) {
  if (f->kind == FC_FIELD_REF) return name_of_reference(d, f, object) != NULL;
  const void *at = at_offset(object, f->offset);
  double v;
  switch (f->kind) {
  case FC_FIELD_NUMBER:
    v = *(const double *)at;
    return (v >= f->min && v <= f->max) || (f->never && isinf(v));
  case FC_FIELD_COUNT: v = (double)*(const int64_t *)at; return v >= f->min && v <= f->max;
  case FC_FIELD_TEXT:
  case FC_FIELD_LINES: return *(const char *const *)at && **(const char *const *)at;
  case FC_FIELD_OWN: return *(const void *const *)at != NULL;
  case FC_FIELD_DATE: return f->required || *(const fc_time *)at != 0;
  case FC_FIELD_SERIES: return ((const fc_series *)at)->n > 0;
  case FC_FIELD_NAME: return *(const int32_t *)at >= 0;
  case FC_FIELD_NUMBERS:
  case FC_FIELD_TEXTS:
  case FC_FIELD_LIST:
  case FC_FIELD_NAMES: return *(const size_t *)at_offset(object, f->count_offset) > 0;
  case FC_FIELD_STRUCT: return !f->is_set || f->is_set(object);
  default: return true;
  }
}

static void write_enum(fc_text *out, const fc_field *f, int value) {
  for (size_t i = 0; i < f->n_words; i++)
    if ((f->values ? f->values[i] : (int)i) == value) fc_text_add(out, f->words[i]);
}

/* What fits on the key's line. */
static void write_scalar(const dumper *d, const fc_field *f, const void *object) {
  const void *at = f->kind == FC_FIELD_REF ? NULL : at_offset(object, f->offset);
  char date[FC_TIME_TEXT];
  bool yes;
  switch (f->kind) {
  case FC_FIELD_NUMBER: write_number(d, at, *(const double *)at, f->dim); break;
  case FC_FIELD_COUNT:
    if (slot_of(d, at))
      write_number(d, at, 0, f->dim);
    else
      fc_text_printf(d->out, "%lld", (long long)*(const int64_t *)at);
    break;
  case FC_FIELD_INT: fc_text_printf(d->out, "%d", *(const int *)at); break;
  case FC_FIELD_BOOL:
    yes = *(const bool *)at;
    fc_text_add(d->out, f->words ? f->words[yes] : yes ? "true" : "false");
    break;
  case FC_FIELD_ENUM: write_enum(d->out, f, *(const int *)at); break;
  case FC_FIELD_TEXT: fc_text_quote(d->out, *(const char *const *)at); break;
  case FC_FIELD_DATE:
    fc_time_format(date, *(const fc_time *)at);
    fc_text_add(d->out, date);
    break;
  case FC_FIELD_DIST: write_dist(d->out, at, f->dim); break;
  case FC_FIELD_NAME: fc_text_quote(d->out, name_of_item(d, f->target, *(const int32_t *)at)); break;
  case FC_FIELD_REF: fc_text_quote(d->out, name_of_reference(d, f, object)); break;
  default: break;
  }
  fc_text_add(d->out, "\n");
}

static void write_numbers(const dumper *d, const fc_field *f, const void *object) {
  const double *v = *(const double *const *)at_offset(object, f->offset);
  size_t n = *(const size_t *)at_offset(object, f->count_offset);
  fc_text_add(d->out, "[");
  for (size_t i = 0; i < n; i++) {
    if (i) fc_text_add(d->out, ", ");
    write_quantity(d->out, v[i], f->dim);
  }
  fc_text_add(d->out, "]\n");
}

static void write_texts(const dumper *d, const fc_field *f, const void *object) {
  const char *const *text = *(const char *const *const *)at_offset(object, f->offset);
  size_t n = *(const size_t *)at_offset(object, f->count_offset);
  fc_text_add(d->out, "[");
  for (size_t i = 0; i < n; i++) {
    if (i) fc_text_add(d->out, ", ");
    fc_text_quote(d->out, text[i]);
  }
  fc_text_add(d->out, "]\n");
}

/* A literal block, where it reads back the same: lines that end, none blank or indented first. */
static void write_lines(const dumper *d, const char *text, unsigned depth) {
  size_t n = strlen(text);
  bool literal = n > 1 && text[n - 1] == '\n' && text[n - 2] != '\n' && !strchr(" \t\n", text[0]);
  if (!literal) {
    fc_text_quote(d->out, text);
    fc_text_add(d->out, "\n");
    return;
  }
  fc_text_add(d->out, "|\n");
  for (size_t length; *text; text += length + 1) {
    length = strcspn(text, "\n");
    if (length) indent(d->out, depth + 1);
    fc_text_printf(d->out, "%.*s\n", (int)length, text);
  }
}

static void write_names(const dumper *d, const fc_field *f, const void *object) {
  const int32_t *index = *(const int32_t *const *)at_offset(object, f->offset);
  size_t n = *(const size_t *)at_offset(object, f->count_offset);
  fc_text_add(d->out, "[");
  for (size_t i = 0; i < n; i++) {
    if (i) fc_text_add(d->out, ", ");
    fc_text_quote(d->out, name_of_item(d, f->target, index[i]));
  }
  fc_text_add(d->out, "]\n");
}

static void write_list(const dumper *d, const fc_field *f, const void *object, unsigned depth) {
  const char *items = *(const char *const *)at_offset(object, f->offset);
  size_t n = *(const size_t *)at_offset(object, f->count_offset);
  fc_text_add(d->out, "\n");
  for (size_t i = 0; i < n; i++) {
    indent(d->out, depth + 1);
    fc_text_add(d->out, "- ");
    dump_fields(d, f->sub, items + i * f->sub->size, depth + 2, true);
  }
}

static void cut_back(fc_text *out, size_t length) {
  if (out->failed) return;
  out->length = length;
  out->bytes[length] = '\0';
}

/* `dash`: the first key stands on the line of the list's "- ". */
static void dump_fields(const dumper *d, const fc_schema *schema, const void *object, unsigned depth,
                        bool dash) {
  for (size_t i = 0; i < schema->n; i++) {
    const fc_field *f = &schema->fields[i];
    if (!is_given(d, f, object)) continue;
    size_t before = d->out->length;
    if (!dash) indent(d->out, depth);
    fc_text_printf(d->out, "%s:", f->key);
    size_t body = d->out->length;
    switch (f->kind) {
    case FC_FIELD_STRUCT:
      fc_text_add(d->out, "\n");
      dump_fields(d, f->sub, at_offset(object, f->offset), depth + 1, false);
      if (d->out->length == body + 1) cut_back(d->out, before);
      break;
    case FC_FIELD_OWN:
      fc_text_add(d->out, "\n");
      dump_fields(d, f->sub, *(const void *const *)at_offset(object, f->offset), depth + 1, false);
      break;
    case FC_FIELD_LIST: write_list(d, f, object, depth); break;
    case FC_FIELD_SERIES: write_series(d, f, at_offset(object, f->offset), depth); break;
    default:
      fc_text_add(d->out, " ");
      if (f->kind == FC_FIELD_NUMBERS)
        write_numbers(d, f, object);
      else if (f->kind == FC_FIELD_TEXTS)
        write_texts(d, f, object);
      else if (f->kind == FC_FIELD_LINES)
        write_lines(d, *(const char *const *)at_offset(object, f->offset), depth);
      else if (f->kind == FC_FIELD_NAMES)
        write_names(d, f, object);
      else
        write_scalar(d, f, object);
    }
    if (d->out->length > before) dash = false;
  }
}

fc_status fc_input_dump(const fc_input *input, fc_text *out) {
  const fc_schema *schema = fc_schema_of(input->kind);
  dumper d = {input, out, schema};
  fc_text_printf(out, "kind: %s\n", fc_input_kind_text(input->kind));
  dump_fields(&d, schema, input->object, 0, false);
  return fc_text_status(out);
}
