/* SPDX-License-Identifier: Apache-2.0 */
#include "describe.h"

#include <math.h>

bool fc_describe_uncertain(const fc_field *f) {
  return f->kind == FC_FIELD_NUMBER || f->kind == FC_FIELD_COUNT || f->kind == FC_FIELD_SERIES ||
         f->kind == FC_FIELD_DIST;
}

/* "bytes/s", "time": what the number measures. */
static void describe_dim(fc_text *out, const fc_field *f) {
  static const struct {
    fc_dim dim;
    const char *words;
  } names[] = {
      {DIM_SECONDS, "a time"},
      {DIM_USD, "an amount of money"},
      {DIM_WATTS, "a power"},
      {DIM_BYTES, "an amount of data"},
      {DIM_BYTES_PER_S, "a bandwidth"},
      {DIM_FLOP, "an amount of work"},
      {DIM_FLOP_PER_S, "a rate of work"},
      {DIM_TOKENS, "tokens"},
      {DIM_TOKENS_PER_S, "tokens by time"},
      {DIM_DEVICES, "devices"},
      {DIM_DEVICE_SECONDS, "device-time"},
      {DIM_PER_S, "a rate"},
      {DIM_USD_PER_S, "money by time"},
      {DIM_USD_PER_J, "money by energy"},
  };
  for (size_t i = 0; i < FC_COUNT_OF(names); i++)
    if (fc_dim_equal(names[i].dim, f->dim)) {
      fc_text_add(out, names[i].words);
      return;
    }
  fc_text_add(out, "a number");
}

static void list_words(fc_text *out, const fc_field *f) {
  for (size_t i = 0; i < f->n_words; i++) fc_text_printf(out, "%s%s", i ? ", " : "", f->words[i]);
}

void fc_describe_type(fc_text *out, const fc_field *f) {
  switch (f->kind) {
  case FC_FIELD_NUMBER:
    describe_dim(out, f);
    fc_text_printf(out, ", such as '%s'%s", fc_field_example(f), f->never ? ", or never" : "");
    break;
  case FC_FIELD_COUNT:
  case FC_FIELD_INT:
    fc_text_printf(out, "a whole number%s", fc_field_is_counted(f) ? " of " : "");
    if (fc_field_is_counted(f)) describe_dim(out, f);
    if (f->example || fc_field_is_counted(f)) fc_text_printf(out, ", such as '%s'", fc_field_example(f));
    break;
  case FC_FIELD_BOOL:
    if (f->words) {
      list_words(out, f);
      break;
    }
    fc_text_add(out, "true or false");
    break;
  case FC_FIELD_ENUM:
    fc_text_add(out, "one of ");
    list_words(out, f);
    break;
  case FC_FIELD_TEXT: fc_text_add(out, "a text"); break;
  case FC_FIELD_LINES: fc_text_add(out, "a text of several lines (a block after '|')"); break;
  case FC_FIELD_DATE: fc_text_add(out, "a date, such as '2024-01-31', '2024-01' or '2024-Q1'"); break;
  case FC_FIELD_SERIES:
    fc_text_add(out, "a series of ");
    describe_dim(out, f);
    fc_text_printf(out, ", such as '%s'", fc_field_example(f));
    break;
  case FC_FIELD_DIST:
    fc_text_add(out, "a distribution of ");
    describe_dim(out, f);
    fc_text_printf(out, ", or a number such as '%s'", fc_field_example(f));
    break;
  case FC_FIELD_NUMBERS: fc_text_add(out, "a list of numbers"); break;
  case FC_FIELD_TEXTS: fc_text_add(out, "a list of words"); break;
  case FC_FIELD_OWN:
  case FC_FIELD_STRUCT: fc_text_printf(out, "a mapping: %s", f->sub->name); break;
  case FC_FIELD_LIST: fc_text_printf(out, "a list of mappings: %s", f->sub->name); break;
  case FC_FIELD_REF: fc_text_printf(out, "the name of a %s", fc_input_kind_text(f->refers)); break;
  case FC_FIELD_NAME: fc_text_printf(out, "a name out of '%s'", f->target); break;
  case FC_FIELD_NAMES: fc_text_printf(out, "a list of names out of '%s'", f->target); break;
  }
}

void fc_describe_default(fc_text *out, const fc_field *f) {
  if (f->required)
    fc_text_add(out, "required");
  else if (f->def && *f->def)
    fc_text_add(out, f->def);
  else if (f->kind == FC_FIELD_BOOL)
    fc_text_add(out, f->words ? f->words[0] : "false");
}

static void describe_limit(fc_text *out, const fc_field *f, double v) {
  char text[FC_UNITS_TEXT];
  if (v == 0 || fc_field_is_counted(f) || fc_dim_equal(f->dim, FC_DIM_NONE)) {
    fc_text_printf(out, "%g", v);
  } else {
    fc_quantity_format(text, v, f->dim);
    fc_text_add(out, text);
  }
}

void fc_describe_range(fc_text *out, const fc_field *f) {
  bool numeric = fc_describe_uncertain(f) || f->kind == FC_FIELD_INT || f->kind == FC_FIELD_NUMBERS;
  if (!numeric || !(f->min < f->max)) return;
  describe_limit(out, f, f->min);
  fc_text_add(out, " to ");
  describe_limit(out, f, f->max);
}

size_t fc_describe_schemas(const fc_schema *root, const fc_schema **list, size_t max) {
  size_t n = 0;
  if (max) list[n++] = root;
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < list[i]->n; k++) {
      const fc_schema *sub = list[i]->fields[k].sub;
      bool known = !sub;
      for (size_t j = 0; j < n && !known; j++) known = list[j] == sub;
      if (!known && n < max) list[n++] = sub;
    }
  return n;
}
