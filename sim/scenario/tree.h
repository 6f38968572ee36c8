/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SCENARIO_TREE_H
#define FC_SCENARIO_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/arena.h>
#include <fleetcast/base/diag.h>

/** A YAML document as a tree of mappings, lists and scalars, each with its file, line and column.
 *
 *  The subset is small on purpose: one document; UTF-8; no anchors, aliases, tags or merge keys; no key
 * twice; at most FC_TREE_DEPTH levels and FC_TREE_NODES nodes.  Whatever is outside is told with its
 * position. */

enum {
  FC_TREE_DEPTH = 32,
  FC_TREE_NODES = 400000,
  FC_TREE_KEYS = 1000,              /* in one mapping */
  FC_TREE_BYTES = 16 * 1024 * 1024, /* of one file */
};

typedef enum { FC_NODE_SCALAR, FC_NODE_MAP, FC_NODE_LIST } fc_node_kind;

typedef struct fc_node fc_node;
struct fc_node {
  fc_node_kind kind;
  bool plain;         /* a scalar without quotes */
  const char *source; /* file, or "<--set 1>" */
  fc_pos at;
  const char *key; /* in a mapping; NULL in a list */
  uint32_t key_hash;
  fc_pos key_at;
  const char *text; /* of a scalar: NUL-terminated, no NUL inside */
  size_t length;
  fc_pos text_at; /* of a literal block: where its first line's text stands; else {0, 0} */
  size_t n;       /* children */
  fc_node *first, *last, *next;
};

/** Parses `length` bytes.  Strings and nodes live in `arena`; `source` is borrowed for as long.
 *  @param[out] out  the root: NULL when the text cannot be read on; set, although FC_E_INPUT is returned,
 * when what was wrong (a key twice) need not stop a caller from looking for more errors
 *  @return FC_OK | FC_E_INPUT (told to d) | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_tree_parse(fc_node **out, fc_arena *arena, const char *source, const char *bytes, size_t length,
                        fc_diags *d);

/** The child of a mapping with that key, or NULL. */
fc_node *fc_node_find(const fc_node *map, const char *key);
/** Appends `child` under its key (mapping) or at the end (list). */
void fc_node_append(fc_node *parent, fc_node *child);
/** Takes the child with that key out of a mapping. */
void fc_node_remove(fc_node *map, const fc_node *child);
/** "a mapping", "a list", "a value". */
const char *fc_node_word(const fc_node *node);

/** Lays `over` on `under`: a key that both have is merged if both values are mappings, else `over` keeps its
 *  own; keys that only `under` has are moved over. */
void fc_tree_merge(fc_node *over, fc_node *under);

/** Applies one override `key.path=value` to `root`; path parts are keys, `[index]` (from 0), or, in a list,
 * the `name` of an item.  Mappings on the way are made when absent.  The value is YAML.
 *  @param source  how to name it in messages, "<--set 1>"; borrowed for the tree's life */
FC_NODISCARD
fc_status fc_tree_set(fc_node *root, fc_arena *arena, const char *source, const char *assignment,
                      fc_diags *d);

#endif
