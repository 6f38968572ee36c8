/* SPDX-License-Identifier: Apache-2.0 */
#include "tree.h"

#include <string.h>
#include <yaml.h>

#include <fleetcast/base/assert.h>

typedef struct {
  yaml_parser_t yaml;
  fc_arena *arena;
  fc_diags *diags;
  const char *source;
  const char *bytes;
  size_t length;
  size_t nodes;
  size_t line, line_at; /* of line_start */
  fc_status status;
} parser;

/* --- bytes: UTF-8 without control characters --- */

/* Length of the well-formed character at p, 0 if there is none (RFC 3629: no overlong forms, no surrogates).
 */
static size_t utf8_length(const unsigned char *p, size_t left, uint32_t *code) {
  static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
  size_t n = *p < 0x80 ? 1 : (*p & 0xE0) == 0xC0 ? 2 : (*p & 0xF0) == 0xE0 ? 3 : (*p & 0xF8) == 0xF0 ? 4 : 0;
  if (n == 0 || n > left) return 0;
  uint32_t c = n == 1 ? *p : *p & (0x7Fu >> n);
  for (size_t i = 1; i < n; i++) {
    if ((p[i] & 0xC0) != 0x80) return 0;
    c = c << 6 | (p[i] & 0x3Fu);
  }
  if (c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) return 0;
  *code = c;
  return n;
}

static bool is_control(uint32_t c) {
  return (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7F ||
         (c >= 0x80 && c < 0xA0 && c != 0x85);
}

/* libyaml leaves its mark at 0:0 for what is wrong at this level, so it is looked for here, before. */
static fc_status check_bytes(const parser *p) {
  fc_pos at = {1, 1};
  const unsigned char *text = (const unsigned char *)p->bytes;
  for (size_t i = 0; i < p->length;) {
    uint32_t c = 0;
    size_t n = utf8_length(text + i, p->length - i, &c);
    if (n == 0)
      return fc_diag_error(p->diags, p->source, at, "byte 0x%02X is not valid UTF-8", (unsigned)text[i]);
    if (c == 0) return fc_diag_error(p->diags, p->source, at, "a NUL byte; the file is not text");
    if (is_control(c)) return fc_diag_error(p->diags, p->source, at, "control character U+%04X", (unsigned)c);
    i += n;
    if (c == '\n' || (c == '\r' && (i == p->length || text[i] != '\n')))
      at = (fc_pos){at.line + 1, 1};
    else if (c != 0xFEFF || i > 3)
      at.column++;
  }
  return FC_OK;
}

/* The byte at a mark, '\0' past the end. */
static char byte_at(const parser *p, yaml_mark_t mark) {
  size_t i = 0;
  for (size_t line = 0; line < mark.line && i < p->length; i++) line += p->bytes[i] == '\n';
  for (size_t column = 0; column < mark.column && i < p->length; column++) {
    i++;
    while (i < p->length && ((unsigned char)p->bytes[i] & 0xC0) == 0x80) i++;
  }
  return i < p->length ? p->bytes[i] : '\0';
}

/* Offset of a line (from 0), at most the length; lines are asked for in order. */
static size_t line_start(parser *p, size_t line) {
  while (p->line < line && p->line_at < p->length) {
    const char *end = memchr(p->bytes + p->line_at, '\n', p->length - p->line_at);
    p->line_at = end ? (size_t)(end - p->bytes) + 1 : p->length;
    p->line++;
  }
  return p->line_at;
}

/* --- events --- */

static fc_pos pos_of(yaml_mark_t mark) {
  return (fc_pos){mark.line + 1, mark.column + 1};
}

#define reject(p, mark, ...)                                                                                 \
  ((p)->status = fc_diag_error((p)->diags, (p)->source, pos_of(mark), __VA_ARGS__), false)

static bool out_of_memory(parser *p) {
  p->status = FC_E_NOMEM;
  return false;
}

static bool next_event(parser *p, yaml_event_t *event) {
  if (yaml_parser_parse(&p->yaml, event)) return true;
  yaml_parser_t *y = &p->yaml;
  if (y->error == YAML_MEMORY_ERROR) return out_of_memory(p);
  if (byte_at(p, y->problem_mark) == '\t')
    return reject(p, y->problem_mark, "a tab cannot indent YAML; use spaces");
  if (y->context) return reject(p, y->problem_mark, "%s: %s", y->context, y->problem);
  return reject(p, y->problem_mark, "%s", y->problem ? y->problem : "malformed YAML");
}

static bool check_properties(parser *p, const yaml_event_t *event, const unsigned char *anchor,
                             const unsigned char *tag) {
  if (anchor)
    return reject(p, event->start_mark,
                  "anchors ('&%.40s') are not supported; write the value out or use include",
                  (const char *)anchor);
  if (tag) return reject(p, event->start_mark, "tags ('%.40s') are not supported", (const char *)tag);
  return true;
}

static fc_node *new_node(parser *p, fc_node_kind kind, yaml_mark_t mark) {
  if (++p->nodes > FC_TREE_NODES) {
    (void)reject(p, mark, "more than %d values in one file", FC_TREE_NODES);
    return NULL;
  }
  fc_node *node = fc_arena_alloc(p->arena, sizeof *node);
  if (!node) {
    (void)out_of_memory(p);
    return NULL;
  }
  node->kind = kind;
  node->source = p->source;
  node->at = pos_of(mark);
  return node;
}

/* Text of a scalar event, checked: escapes can smuggle in what check_bytes rejects in the open. */
static const char *scalar_text(parser *p, const yaml_event_t *event) {
  const unsigned char *value = event->data.scalar.value;
  size_t length = event->data.scalar.length;
  for (size_t i = 0; i < length; i++)
    if (value[i] < 0x20 && value[i] != '\n' && value[i] != '\t') {
      (void)reject(p, event->start_mark, "an escaped control character (0x%02X) in a text",
                   (unsigned)value[i]);
      return NULL;
    }
  const char *text = fc_arena_text(p->arena, (const char *)value, length);
  if (!text) (void)out_of_memory(p);
  return text;
}

static bool parse_node(parser *p, yaml_event_t *event, unsigned depth, fc_node **out);

static uint32_t hash(const char *text) {
  uint32_t h = 2166136261u; /* FNV-1a */
  for (; *text; text++) h = (h ^ (unsigned char)*text) * 16777619u;
  return h;
}

/* One key and its value.  A key given twice is told and its second value dropped. */
static bool parse_entry(parser *p, yaml_event_t *key_event, unsigned depth, fc_node *map) {
  if (key_event->type != YAML_SCALAR_EVENT)
    return reject(p, key_event->start_mark, "a key must be a plain word, not %s",
                  key_event->type == YAML_ALIAS_EVENT ? "an alias" : "a mapping or a list");
  if (!check_properties(p, key_event, key_event->data.scalar.anchor, key_event->data.scalar.tag))
    return false;
  const char *key = scalar_text(p, key_event);
  if (!key) return false;
  yaml_mark_t mark = key_event->start_mark;
  if (*key == '\0') return reject(p, mark, "an empty key");
  if (strcmp(key, "<<") == 0)
    return reject(p, mark, "merge keys ('<<') are not supported; use include, or write the values out");
  if (map->n == FC_TREE_KEYS) return reject(p, mark, "more than %d keys in one mapping", FC_TREE_KEYS);

  yaml_event_t event;
  if (!next_event(p, &event)) return false;
  fc_node *value;
  bool ok = parse_node(p, &event, depth, &value);
  yaml_event_delete(&event);
  if (!ok) return false;
  const fc_node *first = fc_node_find(map, key);
  if (first) {
    (void)reject(p, mark, "'%.64s' is given twice; first in line %zu", key, first->key_at.line);
    return true;
  }
  value->key = key;
  value->key_hash = hash(key);
  value->key_at = pos_of(mark);
  fc_node_append(map, value);
  return true;
}

static bool parse_children(parser *p, fc_node *parent, unsigned depth) {
  yaml_event_type_t stop = parent->kind == FC_NODE_MAP ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
  for (;;) {
    yaml_event_t event;
    if (!next_event(p, &event)) return false;
    bool done = event.type == stop, ok = true;
    if (!done && parent->kind == FC_NODE_MAP) {
      ok = parse_entry(p, &event, depth, parent);
    } else if (!done) {
      fc_node *item;
      ok = parse_node(p, &event, depth, &item);
      if (ok) fc_node_append(parent, item);
    }
    yaml_event_delete(&event);
    if (done || !ok) return ok;
  }
}

static bool parse_node(parser *p, yaml_event_t *event, unsigned depth, fc_node **out) {
  fc_node_kind kind = FC_NODE_SCALAR;
  switch (event->type) {
  case YAML_ALIAS_EVENT:
    return reject(p, event->start_mark,
                  "aliases ('*%.40s') are not supported; write the value out or use include",
                  (const char *)event->data.alias.anchor);
  case YAML_SCALAR_EVENT:
    if (!check_properties(p, event, event->data.scalar.anchor, event->data.scalar.tag)) return false;
    break;
  case YAML_SEQUENCE_START_EVENT:
    if (!check_properties(p, event, event->data.sequence_start.anchor, event->data.sequence_start.tag))
      return false;
    kind = FC_NODE_LIST;
    break;
  case YAML_MAPPING_START_EVENT:
    if (!check_properties(p, event, event->data.mapping_start.anchor, event->data.mapping_start.tag))
      return false;
    kind = FC_NODE_MAP;
    break;
  default: return reject(p, event->start_mark, "malformed YAML");
  }
  if (kind != FC_NODE_SCALAR && depth == FC_TREE_DEPTH)
    return reject(p, event->start_mark, "nested deeper than %d levels", FC_TREE_DEPTH);
  fc_node *node = new_node(p, kind, event->start_mark);
  if (!node) return false;
  *out = node;
  if (kind != FC_NODE_SCALAR) return parse_children(p, node, depth + 1);
  node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
  if (event->data.scalar.style == YAML_LITERAL_SCALAR_STYLE) {
    size_t from = line_start(p, event->start_mark.line + 1), i = from;
    while (i < p->length && p->bytes[i] == ' ') i++;
    node->text_at = (fc_pos){event->start_mark.line + 2, i - from + 1};
  }
  node->length = event->data.scalar.length;
  node->text = scalar_text(p, event);
  return node->text != NULL;
}

/* The one document of the stream. */
static bool parse_stream(parser *p, fc_node **out) {
  yaml_event_t event;
  bool ok = true, done = false;
  *out = NULL;
  while (ok && !done && (ok = next_event(p, &event))) {
    switch (event.type) {
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_END_EVENT: break;
    case YAML_STREAM_END_EVENT:
      done = true;
      if (!*out) ok = reject(p, (yaml_mark_t){0}, "the file is empty");
      break;
    case YAML_DOCUMENT_START_EVENT:
      if (*out) ok = reject(p, event.start_mark, "a second document; one file holds one");
      break;
    default: ok = parse_node(p, &event, 0, out);
    }
    yaml_event_delete(&event);
  }
  return ok;
}

fc_status fc_tree_parse(fc_node **out, fc_arena *arena, const char *source, const char *bytes, size_t length,
                        fc_diags *d) {
  *out = NULL;
  parser p = {
      .arena = arena, .diags = d, .source = source, .bytes = bytes, .length = length, .status = FC_OK};
  if (length > FC_TREE_BYTES)
    return fc_diag_error(d, source, (fc_pos){0}, "%zu bytes is more than the %d MiB that a file may have",
                         length, FC_TREE_BYTES / (1024 * 1024));
  fc_status status = check_bytes(&p);
  if (status != FC_OK) return status;
  if (!yaml_parser_initialize(&p.yaml)) return FC_E_NOMEM;
  yaml_parser_set_encoding(&p.yaml, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(&p.yaml, (const unsigned char *)bytes, length);
  fc_node *root;
  if (parse_stream(&p, &root)) *out = root;
  yaml_parser_delete(&p.yaml);
  return p.status;
}

/* --- nodes --- */

fc_node *fc_node_find(const fc_node *map, const char *key) {
  if (map->kind != FC_NODE_MAP) return NULL;
  uint32_t h = hash(key);
  for (fc_node *child = map->first; child; child = child->next)
    if (child->key_hash == h && strcmp(child->key, key) == 0) return child;
  return NULL;
}

void fc_node_append(fc_node *parent, fc_node *child) {
  FC_ASSERT(parent->kind != FC_NODE_SCALAR);
  if (child->key) child->key_hash = hash(child->key);
  child->next = NULL;
  if (parent->last)
    parent->last->next = child;
  else
    parent->first = child;
  parent->last = child;
  parent->n++;
}

void fc_node_remove(fc_node *map, const fc_node *child) {
  fc_node *before = NULL;
  for (fc_node *n = map->first; n; before = n, n = n->next) {
    if (n != child) continue;
    if (before)
      before->next = n->next;
    else
      map->first = n->next;
    if (map->last == n) map->last = before;
    map->n--;
    return;
  }
}

const char *fc_node_word(const fc_node *node) {
  static const char *const word[] = {"a value", "a mapping", "a list"};
  return word[node->kind];
}
