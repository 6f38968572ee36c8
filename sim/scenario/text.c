/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/scenario/text.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for `more` bytes and the NUL. */
static bool reserve(fc_text *text, size_t more) {
  if (text->failed) return false;
  size_t need = text->length + more + 1;
  if (need <= text->capacity) return true;
  size_t capacity = text->capacity ? text->capacity : 1024;
  while (capacity < need) capacity *= 2;
  char *bytes = realloc(text->bytes, capacity);
  if (!bytes) {
    text->failed = true;
    return false;
  }
  text->bytes = bytes;
  text->capacity = capacity;
  return true;
}

static void add_bytes(fc_text *text, const char *bytes, size_t length) {
  if (!reserve(text, length)) return;
  memcpy(text->bytes + text->length, bytes, length);
  text->length += length;
  text->bytes[text->length] = '\0';
}

void fc_text_add(fc_text *text, const char *string) {
  add_bytes(text, string, strlen(string));
}

void fc_text_printf(fc_text *text, const char *format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  int n = vsnprintf(NULL, 0, format, args);
  va_end(args);
  if (n >= 0 && reserve(text, (size_t)n)) {
    (void)vsnprintf(text->bytes + text->length, (size_t)n + 1, format, again);
    text->length += (size_t)n;
  }
  va_end(again);
}

void fc_text_quote(fc_text *text, const char *string) {
  add_bytes(text, "\"", 1);
  for (const char *p = string; *p; p++) {
    if (*p == '"' || *p == '\\') {
      add_bytes(text, "\\", 1);
      add_bytes(text, p, 1);
    } else if (*p == '\n') {
      add_bytes(text, "\\n", 2);
    } else if (*p == '\t') {
      add_bytes(text, "\\t", 2);
    } else {
      add_bytes(text, p, 1);
    }
  }
  add_bytes(text, "\"", 1);
}

fc_status fc_text_status(const fc_text *text) {
  return text->failed ? FC_E_NOMEM : FC_OK;
}

void fc_text_fini(fc_text *text) {
  free(text->bytes);
  *text = (fc_text){0};
}
