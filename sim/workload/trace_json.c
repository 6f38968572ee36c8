/* SPDX-License-Identifier: Apache-2.0 */
#include "trace_build.h"

#include <string.h>

/* One object a line.  Keys that are not ours are read over, so that a value of any kind must be. */

typedef enum { KEY_TIME, KEY_INPUT, KEY_OUTPUT, KEY_HASHES, KEYS } json_key;

static const char *const key_name[KEYS] = {"timestamp", "input_length", "output_length", "hash_ids"};

enum { DEPTH_MAX = 32, NAME_MAX_BYTES = 64 };

typedef struct {
  const char *p, *end;
  fc_trace_reading *r;
  const fc_line *line;
  fc_status status; /* of the world; rows that are malformed leave it */
  bool has[KEYS];
  const char *at[KEYS]; /* their values */
  fc_trace_record row;
  size_t n_hashes;
  fc_slice slip; /* the last key that is not ours */
} json_row;

static bool fail(json_row *j, const char *at, const char *text) {
  (void)fc_trace_bad_row(j->r, j->line, at, "%s", text);
  return false;
}

static void skip_blanks(json_row *j) {
  while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' || *j->p == '\r')) j->p++;
}

static bool next_is(json_row *j, char c) {
  skip_blanks(j);
  if (j->p == j->end || *j->p != c) return false;
  j->p++;
  return true;
}

static bool expect(json_row *j, char c) {
  if (next_is(j, c)) return true;
  char text[] = "'?' is missing here";
  text[1] = c;
  return fail(j, j->p, text);
}

/* A string with its escapes as they stand. */
static bool take_string(json_row *j, fc_slice *out) {
  const char *opening = j->p;
  if (!next_is(j, '"')) return fail(j, j->p, "a text in quotes is missing here");
  const char *from = j->p;
  while (j->p < j->end && *j->p != '"') j->p += *j->p == '\\' && j->p + 1 < j->end ? 2 : 1;
  if (j->p >= j->end) return fail(j, opening, "this quote is never closed");
  *out = (fc_slice){from, (size_t)(j->p - from)};
  j->p++;
  return true;
}

static fc_slice take_word(json_row *j) {
  skip_blanks(j);
  const char *from = j->p;
  while (j->p < j->end && *j->p != ',' && *j->p != '}' && *j->p != ']' && *j->p != ' ' && *j->p != '\t' &&
         *j->p != '\r')
    j->p++;
  return (fc_slice){from, (size_t)(j->p - from)};
}

/* A value of any kind: nesting is counted, so that no depth is recursed into. */
static bool skip_value(json_row *j) {
  char open[DEPTH_MAX];
  size_t depth = 0;
  fc_slice ignored;
  do {
    skip_blanks(j);
    if (j->p == j->end) return fail(j, j->p, "the line ends inside a value");
    char c = *j->p;
    if (c == '"') {
      if (!take_string(j, &ignored)) return false;
    } else if (c == '[' || c == '{') {
      if (depth == DEPTH_MAX) return fail(j, j->p, "nested more than 32 deep");
      open[depth++] = c;
      j->p++;
    } else if (depth > 0 && (c == ']' || c == '}')) {
      if (open[--depth] != (c == ']' ? '[' : '{')) return fail(j, j->p, "closes what was not opened");
      j->p++;
    } else if (depth > 0 && (c == ',' || c == ':')) {
      j->p++;
    } else if (take_word(j).n == 0) {
      return fail(j, j->p, "a value is missing here");
    }
  } while (depth > 0);
  return true;
}

static bool take_id(json_row *j, uint64_t *out) {
  fc_slice word = take_word(j);
  uint64_t value = 0;
  for (size_t i = 0; i < word.n; i++) {
    uint64_t digit = (uint64_t)word.p[i] - '0';
    if (word.p[i] < '0' || digit > 9 || value > (UINT64_MAX - digit) / 10)
      return fail(j, word.p, "a hash id is a whole number below 2^64");
    value = value * 10 + digit;
  }
  *out = value;
  return word.n > 0 || fail(j, word.p, "a hash id is missing here");
}

/* The ids name blocks; each hash names all blocks up to its own, so it is chained. */
static bool take_hashes(json_row *j) {
  if (!expect(j, '[')) return false;
  if (next_is(j, ']')) return true;
  uint64_t id = 0, chain = 0;
  do {
    if (!take_id(j, &id)) return false;
    chain = fc_mix64(chain +
                     fc_mix64(id + UINT64_C(0x9e3779b97f4a7c15))); /* the golden ratio: 0 is no fixed point */
    j->status = fc_trace_add_block(j->r->trace, chain);
    if (j->status) return false;
    j->n_hashes++;
  } while (next_is(j, ','));
  return expect(j, ']');
}

static bool take_number(json_row *j, json_key key) {
  char why[FC_TRACE_WHY];
  fc_slice word = take_word(j);
  bool good;
  if (key == KEY_TIME)
    good = fc_trace_time(&j->row.arrival, word, 6, why);
  else if (key == KEY_INPUT)
    good = fc_trace_tokens(&j->row.input_tokens, word, 1, why);
  else
    good = fc_trace_tokens(&j->row.output_tokens, word, 0, why);
  if (!good) (void)fc_trace_bad_row(j->r, j->line, word.p, "%s %s", key_name[key], why);
  return good;
}

static bool take_pair(json_row *j) {
  fc_slice name;
  if (!take_string(j, &name) || !expect(j, ':')) return false;
  skip_blanks(j);
  for (int k = 0; k < KEYS; k++) {
    if (!fc_slice_is(name, key_name[k])) continue;
    if (j->has[k]) return fail(j, name.p, "this key is there twice");
    j->has[k] = true;
    j->at[k] = j->p;
    return k == KEY_HASHES ? take_hashes(j) : take_number(j, (json_key)k);
  }
  j->slip = name;
  return skip_value(j);
}

static bool is_complete(json_row *j) {
  char copy[NAME_MAX_BYTES] = "";
  if (j->slip.n > 0 && j->slip.n < NAME_MAX_BYTES) memcpy(copy, j->slip.p, j->slip.n);
  for (int k = 0; k < KEYS; k++) {
    if (j->has[k]) continue;
    if (fc_diag_nearest(copy, &key_name[k], 1)) {
      (void)fc_trace_bad_row(j->r, j->line, j->slip.p, "unknown key '%s'; did you mean '%s'?", copy,
                             key_name[k]);
      return false;
    }
    if (k == KEY_HASHES) continue;
    (void)fc_trace_bad_row(j->r, j->line, j->line->text, "'%s' is missing", key_name[k]);
    return false;
  }
  return true;
}

static bool take_row(json_row *j) {
  if (!expect(j, '{')) return false;
  if (!next_is(j, '}')) {
    do
      if (!take_pair(j)) return false;
    while (next_is(j, ','));
    if (!expect(j, '}')) return false;
  }
  skip_blanks(j);
  if (j->p != j->end) return fail(j, j->p, "text after the object");
  if (!is_complete(j)) return false;
  size_t full = j->row.input_tokens / FC_TRACE_BLOCK_TOKENS,
         some = j->row.input_tokens % FC_TRACE_BLOCK_TOKENS != 0;
  if (j->n_hashes > full + some) {
    (void)fc_trace_bad_row(j->r, j->line, j->at[KEY_HASHES], "%zu hash_ids; %u tokens fill %zu blocks",
                           j->n_hashes, j->row.input_tokens, full + some);
    return false;
  }
  size_t kept = j->n_hashes < full ? j->n_hashes : full;
  j->row.n_blocks = (uint16_t)(kept < FC_TRACE_BLOCKS_MAX ? kept : FC_TRACE_BLOCKS_MAX);
  return true;
}

fc_status fc_trace_json_row(fc_trace_reading *r, const fc_line *line) {
  fc_trace *t = r->trace;
  size_t first = t->about.blocks;
  json_row j = {.p = line->text,
                .end = line->text + line->length,
                .r = r,
                .line = line,
                .row = {.prefix = UINT32_MAX, .slo_class = FC_TRACE_NONE}};
  bool good = take_row(&j);
  t->about.blocks = first + (good ? j.row.n_blocks : 0);
  if (!good) return j.status;
  if (j.row.n_blocks > 0) j.row.prefix = (uint32_t)first;
  return fc_trace_add(r, line, &j.row);
}
