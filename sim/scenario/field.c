/* SPDX-License-Identifier: Apache-2.0 */
#include "field.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <fleetcast/base/assert.h>

#include "input.h"
#include "reader.h"

const fc_field *fc_schema_find(const fc_schema *schema, const char *key) {
  for (size_t i = 0; i < schema->n; i++)
    if (strcmp(schema->fields[i].key, key) == 0) return &schema->fields[i];
  return NULL;
}

static void *at_offset(void *object, size_t offset) {
  return (char *)object + offset;
}

/* --- defaults --- */

/* A default is written as a user would; the tables are ours, so a bad one is a bug. */
static double default_number(const fc_field *f) {
  if (!f->def) return 0;
  if (strcmp(f->def, "never") == 0) return (double)INFINITY;
  double v = 0;
  fc_dim dim;
  bool ok = fc_quantity_parse(&v, &dim, f->def, strlen(f->def), NULL);
  FC_ASSERT(ok && (fc_dim_equal(dim, f->dim) || fc_dim_equal(dim, FC_DIM_NONE)));
  return v;
}

static size_t default_word(const fc_field *f) {
  for (size_t i = 0; f->def && i < f->n_words; i++)
    if (strcmp(f->words[i], f->def) == 0) return i;
  FC_ASSERT(!f->def);
  return 0;
}

static int enum_value(const fc_field *f, size_t word) {
  return f->values ? f->values[word] : (int)word;
}

static void set_default(fc_reader *r, const fc_field *f, void *object) {
  if (f->offset == FC_NOWHERE) return;
  void *target = at_offset(object, f->offset);
  switch (f->kind) {
  case FC_FIELD_NUMBER: *(double *)target = default_number(f); break;
  case FC_FIELD_COUNT: *(int64_t *)target = (int64_t)default_number(f); break;
  case FC_FIELD_INT: *(int *)target = (int)default_number(f); break;
  case FC_FIELD_BOOL: *(bool *)target = f->def && strcmp(f->def, "true") == 0; break;
  case FC_FIELD_ENUM: *(int *)target = enum_value(f, default_word(f)); break;
  case FC_FIELD_DIST: *(fc_dist *)target = fc_dist_point(default_number(f)); break;
  case FC_FIELD_NAME: *(int32_t *)target = -1; break;
  case FC_FIELD_TEXT: *(const char **)target = f->def; break;
  case FC_FIELD_STRUCT: fc_read_defaults(r, f->sub, target); break;
  default: break; /* zero: absent */
  }
}

void fc_read_defaults(fc_reader *r, const fc_schema *schema, void *object) {
  for (size_t i = 0; i < schema->n; i++) set_default(r, &schema->fields[i], object);
}

/* --- one field --- */

static bool read_bool(fc_reader *r, const fc_field *f, const fc_node *node, bool *out) {
  const char *cited = NULL;
  node = fc_read_unwrap(r, f->key, node, &cited);
  if (!node) return false;
  bool yes = node->kind == FC_NODE_SCALAR && strcmp(node->text, "true") == 0;
  if (!yes && (node->kind != FC_NODE_SCALAR || strcmp(node->text, "false") != 0))
    return fc_reader_error(r, node, "'%s' must be true or false", f->key);
  *out = yes;
  return true;
}

static bool read_text(fc_reader *r, const fc_field *f, const fc_node *node, const char **out) {
  const char *cited = NULL;
  node = fc_read_unwrap(r, f->key, node, &cited);
  if (!node) return false;
  if (node->kind != FC_NODE_SCALAR)
    return fc_reader_error(r, node, "'%s' must be a text, not %s", f->key, fc_node_word(node));
  if (node->length == 0) return fc_reader_error(r, node, "'%s' is empty", f->key);
  *out = node->text;
  return true;
}

static bool check_items(fc_reader *r, const fc_field *f, const fc_node *list) {
  if (list->n < f->min_items)
    return fc_reader_error(r, list, "'%s' has %zu items; at least %zu are wanted", f->key, list->n,
                           f->min_items);
  if (f->max_items && list->n > f->max_items)
    return fc_reader_error(r, list, "'%s' has %zu items; at most %zu are allowed", f->key, list->n,
                           f->max_items);
  return true;
}

static bool read_numbers(fc_reader *r, const fc_field *f, const fc_node *list, void *object) {
  if (list->kind != FC_NODE_LIST)
    return fc_reader_error(r, list, "'%s' must be a list of numbers, not %s", f->key, fc_node_word(list));
  if (!check_items(r, f, list)) return false;
  double *v = fc_reader_alloc(r, list->n, sizeof *v);
  if (!v) return false;
  bool ok = true;
  size_t i = 0;
  for (const fc_node *item = list->first; item; item = item->next, i++)
    ok = fc_read_plain_number(r, f, item, &v[i]) && fc_check_range(r, f, item, v[i]) && ok;
  *(const double **)at_offset(object, f->offset) = v;
  *(size_t *)at_offset(object, f->count_offset) = list->n;
  return ok;
}

static bool read_texts(fc_reader *r, const fc_field *f, const fc_node *list, void *object) {
  if (list->kind != FC_NODE_LIST)
    return fc_reader_error(r, list, "'%s' must be a list of words, not %s", f->key, fc_node_word(list));
  if (!check_items(r, f, list)) return false;
  const char **text = fc_reader_alloc(r, list->n, sizeof *text);
  if (!text) return false;
  bool ok = true;
  size_t i = 0;
  for (const fc_node *item = list->first; item; item = item->next, i++) {
    text[i] = item->text;
    if (item->kind != FC_NODE_SCALAR || item->length == 0)
      ok = fc_reader_error(r, item, "'%s' must be a list of words", f->key);
  }
  *(const char *const **)at_offset(object, f->offset) = text;
  *(size_t *)at_offset(object, f->count_offset) = list->n;
  return ok;
}

/* A mapping into a struct of its own. */
static bool read_own(fc_reader *r, const fc_field *f, const fc_node *node, void *object) {
  void *own = fc_reader_alloc(r, 1, f->sub->size);
  if (!own || !fc_read_struct(r, f->sub, own, node)) return false;
  *(const void **)at_offset(object, f->offset) = own;
  return true;
}

/* Two items of one name could not be told apart, by a reference or by --set. */
static bool check_names(fc_reader *r, const fc_field *f, const fc_node *list) {
  const fc_field *name = fc_schema_find(f->sub, "name");
  if (!name || !name->required) return true;
  bool ok = true;
  for (const fc_node *a = list->first; a; a = a->next) {
    const fc_node *key = fc_node_find(a, "name");
    if (!key || key->kind != FC_NODE_SCALAR) continue;
    for (const fc_node *b = list->first; b != a; b = b->next) {
      const fc_node *other = fc_node_find(b, "name");
      if (!other || other->kind != FC_NODE_SCALAR || strcmp(other->text, key->text) != 0) continue;
      ok = fc_reader_error(r, key, "'%s' has two items named '%.64s'", f->key, key->text);
      break;
    }
  }
  return ok;
}

static bool read_list(fc_reader *r, const fc_field *f, const fc_node *list, void *object) {
  if (list->kind != FC_NODE_LIST)
    return fc_reader_error(r, list, "'%s' must be a list, not %s", f->key, fc_node_word(list));
  if (!check_items(r, f, list) || !check_names(r, f, list)) return false;
  char *items = fc_reader_alloc(r, list->n, f->sub->size);
  if (!items) return false;
  bool ok = true;
  size_t i = 0;
  for (const fc_node *item = list->first; item; item = item->next, i++) {
    size_t mark = fc_reader_enter_item(r, i);
    ok = fc_read_struct(r, f->sub, items + i * f->sub->size, item) && ok;
    fc_reader_leave(r, mark);
  }
  *(const void **)at_offset(object, f->offset) = items;
  *(size_t *)at_offset(object, f->count_offset) = list->n;
  return ok;
}

static bool read_reference(fc_reader *r, const fc_field *f, const fc_node *node, void *object) {
  if (node->kind != FC_NODE_SCALAR || node->length == 0)
    return fc_reader_error(r, node, "'%s' must be the name of a %s", f->key, fc_input_kind_text(f->refers));
  const void *target = NULL;
  fc_status status = fc_input_resolve(r->input, f->refers, node->text, node, &target);
  if (f->offset != FC_NOWHERE) *(const void **)at_offset(object, f->offset) = target;
  return status == FC_OK ? true : fc_reader_fail(r, status);
}

/* The index of the root's list item that a node names. */
static bool read_name(fc_reader *r, const fc_field *f, const fc_node *node, int32_t *out) {
  if (node->kind != FC_NODE_SCALAR)
    return fc_reader_error(r, node, "'%s' must be a name, not %s", f->key, fc_node_word(node));
  const fc_node *list = fc_node_find(r->root, f->target);
  enum { MAX = 256 };
  const char *names[MAX];
  size_t n = 0;
  int32_t i = 0;
  for (const fc_node *item = list && list->kind == FC_NODE_LIST ? list->first : NULL; item;
       item = item->next, i++) {
    const fc_node *name = fc_node_find(item, "name");
    if (!name || name->kind != FC_NODE_SCALAR) continue;
    if (strcmp(name->text, node->text) == 0) {
      *out = i;
      return true;
    }
    if (n < MAX) names[n++] = name->text;
  }
  const char *near = fc_diag_nearest(node->text, names, n);
  if (near)
    return fc_reader_error(r, node, "no item of '%s' is named '%.40s'; did you mean '%s'?", f->target,
                           node->text, near);
  return fc_reader_error(r, node, "no item of '%s' is named '%.40s'", f->target, node->text);
}

static bool read_names(fc_reader *r, const fc_field *f, const fc_node *list, void *object) {
  if (list->kind != FC_NODE_LIST)
    return fc_reader_error(r, list, "'%s' must be a list of names, not %s", f->key, fc_node_word(list));
  if (list->n == 0) return fc_reader_error(r, list, "'%s' is empty; leave it out to mean all", f->key);
  int32_t *index = fc_reader_alloc(r, list->n, sizeof *index);
  if (!index) return false;
  bool ok = true;
  size_t i = 0;
  for (const fc_node *item = list->first; item; item = item->next, i++) {
    if (!read_name(r, f, item, &index[i])) {
      ok = false;
      continue;
    }
    for (size_t k = 0; k < i && ok; k++)
      if (index[k] == index[i]) ok = fc_reader_error(r, item, "'%s' names '%.40s' twice", f->key, item->text);
  }
  *(const int32_t **)at_offset(object, f->offset) = index;
  *(size_t *)at_offset(object, f->count_offset) = list->n;
  return ok;
}

static bool read_field(fc_reader *r, const fc_field *f, const fc_node *node, void *object) {
  if (f->kind == FC_FIELD_REF) return read_reference(r, f, node, object);
  void *target = at_offset(object, f->offset);
  size_t index;
  switch (f->kind) {
  case FC_FIELD_NUMBER:
  case FC_FIELD_COUNT:
  case FC_FIELD_INT: return fc_read_number(r, f, node, target);
  case FC_FIELD_BOOL:
    if (!f->words) return read_bool(r, f, node, target);
    if (!fc_read_word(r, f, node, f->words, f->n_words, &index)) return false;
    *(bool *)target = index == 1;
    return true;
  case FC_FIELD_ENUM:
    if (!fc_read_word(r, f, node, f->words, f->n_words, &index)) return false;
    *(int *)target = enum_value(f, index);
    return true;
  case FC_FIELD_TEXT:
  case FC_FIELD_LINES: return read_text(r, f, node, target);
  case FC_FIELD_DATE: return fc_read_date(r, f, node, target);
  case FC_FIELD_SERIES: return fc_read_series(r, f, node, target);
  case FC_FIELD_DIST: return fc_read_dist_or_value(r, f, node, target);
  case FC_FIELD_NUMBERS: return read_numbers(r, f, node, object);
  case FC_FIELD_TEXTS: return read_texts(r, f, node, object);
  case FC_FIELD_OWN: return read_own(r, f, node, object);
  case FC_FIELD_STRUCT: return fc_read_struct(r, f->sub, target, node);
  case FC_FIELD_LIST: return read_list(r, f, node, object);
  case FC_FIELD_REF: break; /* above */
  case FC_FIELD_NAME: return read_name(r, f, node, target);
  case FC_FIELD_NAMES: return read_names(r, f, node, object);
  }
  return false;
}

/* --- one struct --- */

enum { MAX_FIELDS = 48 };

static bool check_keys(fc_reader *r, const fc_schema *schema, const fc_node *map) {
  const char *keys[MAX_FIELDS];
  FC_ASSERT(schema->n <= MAX_FIELDS);
  size_t n = 0;
  for (size_t i = 0; i < schema->n; i++) keys[n++] = schema->fields[i].key;
  return fc_read_known_keys(r, map, keys, n);
}

bool fc_read_struct(fc_reader *r, const fc_schema *schema, void *object, const fc_node *map) {
  fc_read_defaults(r, schema, object);
  if (map->kind != FC_NODE_MAP)
    return map->key
               ? fc_reader_error(r, map, "'%s' must be a mapping, not %s", map->key, fc_node_word(map))
               : fc_reader_error(r, map, "a %s must be a mapping, not %s", schema->name, fc_node_word(map));
  bool ok = check_keys(r, schema, map);
  const char *outer = r->cited;
  const fc_node *source = fc_node_find(map, "source");
  if (source && source->kind == FC_NODE_SCALAR) r->cited = source->text;
  size_t i = 0;
  for (; i < schema->n && r->status != FC_E_NOMEM && !fc_diags_full(r->diags); i++) {
    const fc_field *f = &schema->fields[i];
    const fc_node *node = fc_node_find(map, f->key);
    if (!node) {
      if (f->required) ok = fc_reader_error(r, map, "this %s lacks the key '%s'", schema->name, f->key);
      continue;
    }
    size_t mark = fc_reader_enter(r, f->key);
    ok = read_field(r, f, node, object) && ok;
    fc_reader_leave(r, mark);
  }
  ok = ok && i == schema->n;
  if (schema->check && ok) schema->check(r, object, map);
  r->cited = outer;
  return ok && r->status != FC_E_NOMEM;
}
