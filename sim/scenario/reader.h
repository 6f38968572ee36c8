/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SCENARIO_READER_H
#define FC_SCENARIO_READER_H

#include "field.h"

/** Reading a tree into structs by their tables.  Errors are told and reading goes on; the worst status
 * sticks. */
enum { FC_READER_PATH = 256 };

struct fc_reader {
  fc_input *input;
  fc_arena *arena;
  fc_diags *diags;
  fc_status status;          /* FC_OK, FC_E_INPUT, FC_E_NOMEM: the worst so far */
  const fc_node *root;       /* for NAME and NAMES */
  const char *cited;         /* `source:` of the nearest mapping around, or NULL */
  char path[FC_READER_PATH]; /* "pools[0].lag", for sources and distributions */
  size_t path_length;
};

/** Tells an error at a node's value or key. */
#define fc_reader_error(r, node, ...)                                                                        \
  fc_reader_fail((r), fc_diag_error((r)->diags, (node)->source, (node)->at, __VA_ARGS__))
#define fc_reader_key_error(r, node, ...)                                                                    \
  fc_reader_fail((r), fc_diag_error((r)->diags, (node)->source, (node)->key_at, __VA_ARGS__))
/** Keeps the worst status; always false. */
bool fc_reader_fail(fc_reader *reader, fc_status status);
/** Zeroed memory of the input's, or NULL with the status set. */
void *fc_reader_alloc(fc_reader *reader, size_t count, size_t size);

/** Enters "key" or "[i]"; the result goes to fc_reader_leave. */
size_t fc_reader_enter(fc_reader *reader, const char *key);
size_t fc_reader_enter_item(fc_reader *reader, size_t i);
void fc_reader_leave(fc_reader *reader, size_t mark);

/** Reads a mapping into a struct: all fields, defaults, unknown keys, the schema's check. */
bool fc_read_struct(fc_reader *reader, const fc_schema *schema, void *object, const fc_node *map);
/** Sets the defaults of all fields, of embedded structs too. */
void fc_read_defaults(fc_reader *reader, const fc_schema *schema, void *object);

/* One value each (value.c, series.c); false: told, the target untouched. */
bool fc_read_number(fc_reader *reader, const fc_field *field, const fc_node *node, void *target);
bool fc_read_plain_number(fc_reader *reader, const fc_field *field, const fc_node *node, double *value);
bool fc_read_dist(fc_reader *reader, const fc_field *field, const fc_node *map, fc_dist *dist);
bool fc_read_dist_or_value(fc_reader *reader, const fc_field *field, const fc_node *node, fc_dist *dist);
bool fc_read_series(fc_reader *reader, const fc_field *field, const fc_node *node, fc_series *series);
bool fc_read_date(fc_reader *reader, const fc_field *field, const fc_node *node, fc_time *out);
bool fc_read_word(fc_reader *reader, const fc_field *field, const fc_node *node, const char *const *words,
                  size_t n, size_t *index);
bool fc_check_range(fc_reader *reader, const fc_field *field, const fc_node *node, double value);
/** `{value: …, source: …}` -> its value, with `*cited` the source; any other node as it is. NULL: told. */
const fc_node *fc_read_unwrap(fc_reader *reader, const char *key, const fc_node *node, const char **cited);
/** Tells keys of `map` that are not among `keys`, `source` and `note`. */
bool fc_read_known_keys(fc_reader *reader, const fc_node *map, const char *const *keys, size_t n);

#endif
