/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "describe.h"

/* JSON Schema, draft 2020-12.  YAML quantities are strings to an editor: a pattern checks their shape and the
 * description says the unit. */

enum { SCHEMAS_MAX = 64 };

#define NUMBER_PATTERN "[-+]?([0-9]+\\\\.?[0-9]*|\\\\.[0-9]+)([eE][-+]?[0-9]+)?"
#define DATE_PATTERN   "^[0-9]{4}-([0-9]{2}(-[0-9]{2}(T[0-9:]+Z?)?)?|Q[1-4])$"

/* A name that is a JSON pointer without escapes. */
static void add_slug(fc_text *out, const char *name) {
  for (; *name; name++) fc_text_printf(out, "%c", *name == ' ' ? '_' : *name);
}

static void add_plain_number(fc_text *out, const fc_field *f) {
  bool plain = fc_dim_equal(f->dim, FC_DIM_NONE) || fc_field_is_counted(f);
  const char *type = f->kind == FC_FIELD_COUNT || f->kind == FC_FIELD_INT ? "integer" : "number";
  if (plain)
    fc_text_printf(out, "{\"type\": \"%s\", \"minimum\": %.17g, \"maximum\": %.17g}, ", type, f->min, f->max);
  else
    fc_text_add(out, "{\"const\": 0}, ");
  fc_text_printf(out, "{\"type\": \"string\", \"pattern\": \"^(" NUMBER_PATTERN "%s%s)$\"}",
                 plain ? "( ?[^ 0-9].*)?" : " ?[^ 0-9].*", f->never ? "|never" : "");
}

/* A number in all its forms. */
static void add_number(fc_text *out, const fc_field *f) {
  fc_text_add(out, "\"oneOf\": [");
  add_plain_number(out, f);
  if (f->kind != FC_FIELD_INT) fc_text_add(out, ", {\"$ref\": \"#/$defs/distribution\"}");
  fc_text_add(out, ", {\"$ref\": \"#/$defs/annotated\"}]");
}

static void add_series(fc_text *out, const fc_field *f) {
  fc_text_add(out, "\"oneOf\": [");
  add_plain_number(out, f);
  fc_text_add(out, ", {\"$ref\": \"#/$defs/distribution\"}, {\"$ref\": \"#/$defs/annotated\"}, "
                   "{\"$ref\": \"#/$defs/points\"}, {\"$ref\": \"#/$defs/series\"}]");
}

static void add_words(fc_text *out, const fc_field *f) {
  fc_text_add(out, "\"enum\": [");
  for (size_t i = 0; i < f->n_words; i++) {
    if (i) fc_text_add(out, ", ");
    fc_text_quote(out, f->words[i]);
  }
  fc_text_add(out, "]");
}

static void add_ref(fc_text *out, const char *name) {
  fc_text_add(out, "\"$ref\": \"#/$defs/");
  add_slug(out, name);
  fc_text_add(out, "\"");
}

static void add_items(fc_text *out, const fc_field *f) {
  if (f->min_items) fc_text_printf(out, ", \"minItems\": %zu", f->min_items);
  if (f->max_items) fc_text_printf(out, ", \"maxItems\": %zu", f->max_items);
}

static void add_type(fc_text *out, const fc_field *f) {
  switch (f->kind) {
  case FC_FIELD_NUMBER:
  case FC_FIELD_COUNT:
  case FC_FIELD_INT:
  case FC_FIELD_DIST: add_number(out, f); break;
  case FC_FIELD_SERIES: add_series(out, f); break;
  case FC_FIELD_BOOL:
    if (f->words)
      add_words(out, f);
    else
      fc_text_add(out, "\"type\": \"boolean\"");
    break;
  case FC_FIELD_ENUM: add_words(out, f); break;
  case FC_FIELD_TEXT: fc_text_add(out, "\"type\": [\"string\", \"number\"]"); break;
  case FC_FIELD_DATE:
    fc_text_add(out, "\"oneOf\": [{\"type\": \"string\", \"pattern\": \"" DATE_PATTERN
                     "\"}, {\"$ref\": \"#/$defs/annotated\"}]");
    break;
  case FC_FIELD_NUMBERS:
    fc_text_add(out, "\"type\": \"array\", \"items\": {\"oneOf\": [");
    add_plain_number(out, f);
    fc_text_add(out, "]}");
    add_items(out, f);
    break;
  case FC_FIELD_TEXTS:
    fc_text_add(out, "\"type\": \"array\", \"items\": {\"type\": \"string\"}");
    add_items(out, f);
    break;
  case FC_FIELD_OWN:
  case FC_FIELD_STRUCT: add_ref(out, f->sub->name); break;
  case FC_FIELD_LIST:
    fc_text_add(out, "\"type\": \"array\", \"items\": {");
    add_ref(out, f->sub->name);
    fc_text_add(out, "}");
    add_items(out, f);
    break;
  case FC_FIELD_REF:
  case FC_FIELD_NAME:
  case FC_FIELD_LINES: fc_text_add(out, "\"type\": \"string\""); break;
  case FC_FIELD_NAMES:
    fc_text_add(out, "\"type\": \"array\", \"minItems\": 1, \"items\": {\"type\": \"string\"}");
    break;
  }
}

static void add_description(fc_text *out, const fc_field *f) {
  fc_text words = {0};
  fc_text_printf(&words, "%s  ", f->help);
  fc_describe_type(&words, f);
  if (!f->required) {
    size_t before = words.length;
    fc_text_add(&words, "; default ");
    size_t body = words.length;
    fc_describe_default(&words, f);
    if (words.length == body && !words.failed) words.bytes[words.length = before] = '\0';
  }
  if (words.failed)
    out->failed = true;
  else
    fc_text_quote(out, words.bytes);
  fc_text_fini(&words);
}

/* The members of an object schema; `extra` are further properties, ready-made; `root`: of a whole file. */
static void add_object(fc_text *out, const fc_schema *schema, const char *extra, bool root) {
  fc_text_add(out, "\"type\": \"object\", \"additionalProperties\": false,\n      \"description\": ");
  fc_text_quote(out, schema->help);
  fc_text_printf(out,
                 ",\n      \"properties\": {%s\n        \"source\": {\"type\": \"string\"}, \"note\": "
                 "{\"type\": \"string\"}",
                 extra);
  for (size_t i = 0; i < schema->n; i++) {
    const fc_field *f = &schema->fields[i];
    if (strcmp(f->key, "source") == 0) continue;
    fc_text_printf(out, ",\n        \"%s\": {\"description\": ", f->key);
    add_description(out, f);
    fc_text_add(out, ", ");
    add_type(out, f);
    fc_text_add(out, "}");
  }
  fc_text_add(out, "\n      }");
  fc_text_add(out, ",\n      \"required\": [");
  bool first = true;
  if (root) fc_text_add(out, "\"kind\""); /* the rest may be in an included file */
  for (size_t i = 0; i < schema->n && !root; i++) {
    if (!schema->fields[i].required) continue;
    fc_text_printf(out, "%s\"%s\"", first ? "" : ", ", schema->fields[i].key);
    first = false;
  }
  fc_text_add(out, "]");
}

static void add_common_defs(fc_text *out) {
  fc_text_add(
      out,
      "    \"annotated\": {\n"
      "      \"type\": \"object\", \"description\": \"A value with its source.\", \"required\": "
      "[\"value\"],\n"
      "      \"properties\": {\"value\": {}, \"source\": {\"type\": \"string\"}, \"note\": {\"type\": "
      "\"string\"}},\n"
      "      \"additionalProperties\": false\n"
      "    },\n"
      "    \"distribution\": {\n"
      "      \"type\": \"object\", \"description\": \"A distribution instead of a number.\", \"required\": "
      "[\"dist\"],\n"
      "      \"properties\": {\n"
      "        \"dist\": {\"enum\": [\"uniform\", \"loguniform\", \"normal\", \"lognormal\", "
      "\"triangular\"]},\n"
      "        \"min\": {}, \"max\": {}, \"mode\": {}, \"mean\": {}, \"sd\": {}, \"median\": {}, \"sigma\": "
      "{}, \"p10\": {},\n"
      "        \"p90\": {}, \"p95\": {}, \"source\": {\"type\": \"string\"}, \"note\": {\"type\": "
      "\"string\"}\n"
      "      },\n"
      "      \"additionalProperties\": false\n"
      "    },\n"
      "    \"points\": {\n"
      "      \"type\": \"array\", \"minItems\": 1, \"description\": \"Dated values, in order.\",\n"
      "      \"items\": {\n"
      "        \"type\": \"object\", \"required\": [\"date\", \"value\"], \"additionalProperties\": false,\n"
      "        \"properties\": {\"date\": {\"type\": \"string\"}, \"value\": {}, \"source\": {\"type\": "
      "\"string\"},\n"
      "                       \"note\": {\"type\": \"string\"}}\n"
      "      }\n"
      "    },\n"
      "    \"series\": {\n"
      "      \"type\": \"object\", \"description\": \"Dated values with interpolation, or a start with "
      "growth.\",\n"
      "      \"anyOf\": [{\"required\": [\"points\"]}, {\"required\": [\"start\", \"value\"]}],\n"
      "      \"properties\": {\n"
      "        \"interp\": {\"enum\": [\"step\", \"linear\", \"log\"]}, \"points\": {\"$ref\": "
      "\"#/$defs/points\"},\n"
      "        \"start\": {\"type\": \"string\"}, \"value\": {}, \"source\": {\"type\": \"string\"}, "
      "\"note\": {\"type\": \"string\"},\n"
      "        \"growth\": {\n"
      "          \"type\": \"object\", \"additionalProperties\": false,\n"
      "          \"properties\": {\"kind\": {\"enum\": [\"hold\", \"exponential\", \"logistic\", "
      "\"gompertz\"]},\n"
      "                         \"factor_per_year\": {}, \"rate\": {}, \"ceiling\": {}, \"source\": "
      "{\"type\": \"string\"},\n"
      "                         \"note\": {\"type\": \"string\"}}\n"
      "        }\n"
      "      },\n"
      "      \"additionalProperties\": false\n"
      "    }");
}

fc_status fc_input_schema(fc_input_kind kind, fc_text *out) {
  const fc_schema *list[SCHEMAS_MAX];
  size_t n = fc_describe_schemas(fc_schema_of(kind), list, SCHEMAS_MAX);
  fc_text extra = {0};
  fc_text_printf(&extra,
                 "\n        \"kind\": {\"const\": \"%s\"},"
                 "\n        \"include\": {\"type\": [\"string\", \"array\"], \"description\": \"Files that "
                 "this one overrides.\"},",
                 fc_input_kind_text(kind));
  fc_text_printf(out,
                 "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n  \"title\": "
                 "\"fleetcast %s\",\n  ",
                 fc_input_kind_text(kind));
  add_object(out, list[0], extra.failed ? "" : extra.bytes, true);
  if (extra.failed) out->failed = true;
  fc_text_fini(&extra);
  fc_text_add(out, ",\n  \"$defs\": {\n");
  for (size_t i = 1; i < n; i++) {
    fc_text_add(out, "    \"");
    add_slug(out, list[i]->name);
    fc_text_add(out, "\": {\n      ");
    add_object(out, list[i], "", false);
    fc_text_add(out, "\n    },\n");
  }
  add_common_defs(out);
  fc_text_add(out, "\n  }\n}\n");
  return fc_text_status(out);
}
