/* SPDX-License-Identifier: Apache-2.0 */
#include "tree.h"

#include <stdlib.h>
#include <string.h>

/* --- merging --- */

void fc_tree_merge(fc_node *over, fc_node *under) {
  for (fc_node *child = under->first, *next; child; child = next) {
    next = child->next;
    fc_node *mine = fc_node_find(over, child->key);
    if (!mine)
      fc_node_append(over, child);
    else if (mine->kind == FC_NODE_MAP && child->kind == FC_NODE_MAP)
      fc_tree_merge(mine, child);
  }
}

/* --- one override from the command line --- */

typedef struct {
  fc_arena *arena;
  fc_diags *diags;
  const char *source;
  const char *text; /* whole assignment */
  const char *p;    /* in the path */
  const char *equals;
} override;

static fc_pos here(const override *o) {
  return (fc_pos){1, (size_t)(o->p - o->text) + 1};
}

enum { PART_MAX = 64 };

/* A key or a name up to '.', '[' or the end of the path. */
static bool take_part(override *o, char part[PART_MAX + 1]) {
  size_t n = strcspn(o->p, ".[=");
  if (n == 0 || n > PART_MAX) return false;
  memcpy(part, o->p, n);
  part[n] = '\0';
  o->p += n;
  return true;
}

static fc_node *list_item_named(const fc_node *list, const char *name) {
  for (fc_node *item = list->first; item; item = item->next) {
    const fc_node *key = fc_node_find(item, "name");
    if (key && key->kind == FC_NODE_SCALAR && strcmp(key->text, name) == 0) return item;
  }
  return NULL;
}

static fc_status no_such_name(const override *o, fc_pos at, const fc_node *list, const char *name) {
  enum { MAX = 256 };
  const char *names[MAX];
  size_t n = 0;
  for (const fc_node *item = list->first; item && n < MAX; item = item->next) {
    const fc_node *key = fc_node_find(item, "name");
    if (key && key->kind == FC_NODE_SCALAR) names[n++] = key->text;
  }
  const char *near = fc_diag_nearest(name, names, n);
  if (near)
    return fc_diag_error(o->diags, o->source, at, "no item named '%s'; did you mean '%s'?", name, near);
  return fc_diag_error(o->diags, o->source, at, "no item named '%s' in '%s'", name,
                       list->key ? list->key : "the list");
}

/* "[3]" */
static fc_status take_index(override *o, fc_node *list, fc_node **item) {
  fc_pos at = here(o);
  char *end;
  unsigned long index = strtoul(o->p + 1, &end, 10);
  if (o->p[1] < '0' || o->p[1] > '9' || *end != ']')
    return fc_diag_error(o->diags, o->source, at, "expected an index such as [0]");
  if (list->kind != FC_NODE_LIST)
    return fc_diag_error(o->diags, o->source, at, "an index, but this is %s", fc_node_word(list));
  if (index >= list->n)
    return fc_diag_error(o->diags, o->source, at, "index %lu, but the list has %zu items", index, list->n);
  fc_node *node = list->first;
  while (index-- > 0) node = node->next;
  o->p = end + 1;
  *item = node;
  return FC_OK;
}

static fc_status new_child(const override *o, fc_node *map, const char *key, fc_pos at, fc_node **out) {
  fc_node *node = fc_arena_alloc(o->arena, sizeof *node);
  char *copy = fc_arena_text(o->arena, key, strlen(key));
  if (!node || !copy) return FC_E_NOMEM;
  *node = (fc_node){.kind = FC_NODE_MAP, .source = o->source, .at = at, .key = copy, .key_at = at};
  fc_node_append(map, node);
  *out = node;
  return FC_OK;
}

/* One step down the path from `*node`. */
static fc_status step(override *o, fc_node **node) {
  if (*o->p == '[') return take_index(o, *node, node);
  fc_pos at = here(o);
  char part[PART_MAX + 1];
  if (!take_part(o, part))
    return fc_diag_error(o->diags, o->source, at, "expected a key of at most 64 letters");
  if ((*node)->kind == FC_NODE_SCALAR)
    return fc_diag_error(o->diags, o->source, at, "'%s' is inside a value, not a mapping", part);
  if ((*node)->kind == FC_NODE_LIST) {
    fc_node *item = list_item_named(*node, part);
    if (!item) return no_such_name(o, at, *node, part);
    *node = item;
    return FC_OK;
  }
  fc_node *child = fc_node_find(*node, part);
  if (child) {
    *node = child;
    return FC_OK;
  }
  return new_child(o, *node, part, at, node);
}

static void shift_columns(fc_node *node, size_t by) {
  if (node->at.line == 1) node->at.column += by;
  if (node->key && node->key_at.line == 1) node->key_at.column += by;
  for (fc_node *child = node->first; child; child = child->next) shift_columns(child, by);
}

/* The target becomes the value, but stays where it hangs. */
static void become(fc_node *target, const fc_node *value, const override *o) {
  fc_node old = *target;
  *target = *value;
  target->key = old.key;
  target->key_hash = old.key_hash;
  target->next = old.next;
  target->key_at = (fc_pos){1, 1};
  target->source = o->source;
}

fc_status fc_tree_set(fc_node *root, fc_arena *arena, const char *source, const char *assignment,
                      fc_diags *d) {
  const char *equals = strchr(assignment, '=');
  override o = {arena, d, source, assignment, assignment, equals};
  if (!equals || equals == assignment || equals[1] == '\0')
    return fc_diag_error(d, source, here(&o), "expected key.path=value, such as pools.h100.lag=0 s");
  fc_node *value;
  fc_status status = fc_tree_parse(&value, arena, source, equals + 1, strlen(equals + 1), d);
  if (status != FC_OK) return status;
  shift_columns(value, (size_t)(equals + 1 - assignment));

  fc_node *node = root;
  while (status == FC_OK) {
    status = step(&o, &node);
    if (status != FC_OK || o.p == equals) break;
    if (*o.p == '.')
      o.p++;
    else if (*o.p != '[')
      status = fc_diag_error(d, source, here(&o), "expected '.', '[' or '='");
  }
  if (status == FC_OK) become(node, value, &o);
  return status;
}
