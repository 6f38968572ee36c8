/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "describe.h"

enum { PATH_MAX_LENGTH = 160, KEYS_MAX = 512 };

typedef struct {
  const char *query;
  size_t length; /* of the query */
  fc_text *out;
  size_t found;
  const char *keys[KEYS_MAX]; /* all keys, for "did you mean" */
  size_t n_keys;
} search;

/* "scenario.pools.lag" matches "scenario.pools.lag", "pools.lag" and "lag". */
static bool matches(const char *path, const char *query, size_t length) {
  size_t n = strlen(path);
  if (length > n || strcmp(path + n - length, query) != 0) return false;
  return length == n || path[n - length - 1] == '.';
}

static void explain_field(fc_text *out, const char *path, const fc_field *f) {
  fc_text_printf(out, "%s\n  %s\n  ", path, f->help);
  fc_describe_type(out, f);
  size_t mark = out->length;
  fc_text_add(out, "; default ");
  size_t body = out->length;
  if (!f->required) fc_describe_default(out, f);
  if (out->length == body && !out->failed) {
    out->length = mark;
    out->bytes[mark] = '\0';
  }
  if (f->required) fc_text_add(out, "; required");
  fc_text range = {0};
  fc_describe_range(&range, f);
  if (range.length) fc_text_printf(out, "; from %s", range.bytes);
  if (range.failed) out->failed = true;
  fc_text_fini(&range);
  if (f->kind == FC_FIELD_NUMBER || f->kind == FC_FIELD_COUNT) fc_text_add(out, "; may be a distribution");
  fc_text_add(out, "\n");
}

static void walk(search *s, const fc_schema *schema, char path[PATH_MAX_LENGTH], size_t length) {
  for (size_t i = 0; i < schema->n; i++) {
    const fc_field *f = &schema->fields[i];
    size_t n = strlen(f->key);
    if (length + 1 + n + 1 > PATH_MAX_LENGTH) continue;
    path[length] = '.';
    memcpy(path + length + 1, f->key, n + 1);
    if (s->n_keys < KEYS_MAX) s->keys[s->n_keys++] = f->key;
    if (matches(path, s->query, s->length)) {
      if (s->found++) fc_text_add(s->out, "\n");
      explain_field(s->out, path, f);
    }
    if (f->sub) walk(s, f->sub, path, length + 1 + n);
  }
}

/* Without "[3]": an item is explained as its list's. */
static void strip_indices(char out[PATH_MAX_LENGTH], const char *key) {
  size_t n = 0;
  for (bool inside = false; *key && n + 1 < PATH_MAX_LENGTH; key++) {
    if (*key == '[') inside = true;
    if (!inside) out[n++] = *key;
    if (*key == ']') inside = false;
  }
  out[n] = '\0';
}

fc_status fc_input_explain(const char *key, fc_text *out, fc_diags *d) {
  char query[PATH_MAX_LENGTH], path[PATH_MAX_LENGTH];
  strip_indices(query, key);
  search s = {.query = query, .length = strlen(query), .out = out};
  for (int kind = FC_INPUT_ANY + 1; kind < FC_INPUT_KINDS; kind++) {
    const char *word = fc_input_kind_text((fc_input_kind)kind);
    size_t n = strlen(word);
    memcpy(path, word, n + 1);
    walk(&s, fc_schema_of((fc_input_kind)kind), path, n);
  }
  if (s.found && *query) return fc_text_status(out);
  const char *last = strrchr(query, '.');
  const char *near = fc_diag_nearest(last ? last + 1 : query, s.keys, s.n_keys);
  if (near) return fc_diag_error(d, NULL, (fc_pos){0}, "no key '%.64s'; did you mean '%s'?", key, near);
  return fc_diag_error(d, NULL, (fc_pos){0}, "no key '%.64s'", key);
}
