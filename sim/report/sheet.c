/* SPDX-License-Identifier: Apache-2.0 */
#include "sheet.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/assert.h>

void fc_sheet_init(sheet *g, const char *align) {
  *g = (sheet){.align = align, .columns = strlen(align)};
  FC_ASSERT(g->columns <= SHEET_COLUMNS);
}

static char *next_cell(sheet *g) {
  if (g->cells == g->capacity) {
    size_t capacity = g->capacity ? 2 * g->capacity : 64;
    char(*grown)[SHEET_CELL] = realloc(g->cell, capacity * sizeof *grown);
    if (!grown) {
      g->failed = true;
      return NULL;
    }
    g->cell = grown;
    g->capacity = capacity;
  }
  return g->cell[g->cells++];
}

void fc_sheet_cell(sheet *g, const char *format, ...) {
  char *cell = next_cell(g);
  if (!cell) return;
  va_list args;
  va_start(args, format);
  /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): not so */
  int n = vsnprintf(cell, SHEET_CELL, format, args);
  va_end(args);
  if (n >= SHEET_CELL) cell[SHEET_CELL - 3] = cell[SHEET_CELL - 2] = '.';
}

static int prefix_of(double magnitude) {
  int e = magnitude > 0 ? (int)floor(log10(magnitude) / 3) : 0;
  if (magnitude / pow(10, 3 * e) >= 999.5) e++;
  return e < -3 ? -3 : e > 8 ? 8 : e;
}

static void si(char out[SI_TEXT], double value, const char *none) {
  static const char prefix[] = "num kMGTPEZY";
  double magnitude = fabs(value);
  int e = prefix_of(magnitude);
  double v = value / pow(10, 3 * e), m = fabs(v);
  int digits = m < 9.995 ? 2 : m < 99.95 ? 1 : 0;
  if (magnitude == 0 || (e == 0 && value == trunc(value))) digits = 0;
  if (m >= 9999)
    (void)snprintf(out, SI_TEXT, "%.2e", value);
  else if (e == 0)
    (void)snprintf(out, SI_TEXT, "%.*f%s", digits, v, none);
  else
    (void)snprintf(out, SI_TEXT, "%.*f %c", digits, v, prefix[e + 3]);
}

void fc_report_si(char out[SI_TEXT], double value) {
  si(out, value, "");
}

void fc_sheet_si(sheet *g, double value) {
  char text[SI_TEXT];
  si(text, value, "  "); /* the digits stay under those that have a prefix */
  fc_sheet_cell(g, "%s", text);
}

/* Characters of UTF-8, so that names keep their column. */
static size_t width_of(const char *text) {
  size_t n = 0;
  for (; *text; text++) n += ((unsigned char)*text & 0xC0) != 0x80;
  return n;
}

void fc_sheet_print(sheet *g, fc_text *out) {
  size_t width[SHEET_COLUMNS] = {0};
  for (size_t i = 0; i < g->cells; i++) {
    size_t w = width_of(g->cell[i]), c = i % g->columns;
    if (w > width[c]) width[c] = w;
  }
  for (size_t row = 0; row + g->columns <= g->cells; row += g->columns) {
    char line[SHEET_COLUMNS * (4 * SHEET_CELL + 2)];
    size_t used = 0;
    for (size_t c = 0; c < g->columns; c++) {
      const char *cell = g->cell[row + c];
      size_t pad = width[c] - width_of(cell) + (c ? 2 : 0), right = g->align[c] == 'r' ? pad : c ? 2 : 0;
      int n =
          snprintf(line + used, sizeof line - used, "%*s%s%*s", (int)right, "", cell, (int)(pad - right), "");
      used += (size_t)n;
    }
    while (used && line[used - 1] == ' ') used--;
    line[used] = '\0';
    fc_text_printf(out, "%s\n", line);
  }
  if (g->failed) out->failed = true;
  free(g->cell);
  g->cell = NULL;
}

void fc_report_wrap(fc_text *out, int indent, const char *text) {
  enum { LINE = 98 };
  int next = indent ? indent + 4 : 0;
  while (*text) {
    size_t room = (size_t)(LINE - indent), n = strcspn(text, "\n");
    if (n > room) {
      for (n = room; n && text[n] != ' '; n--) continue;
      if (n == 0) n = room; /* one long word */
    }
    fc_text_printf(out, "%*s%.*s\n", indent, "", (int)n, text);
    for (text += n; *text == ' ' || *text == '\n'; text++) continue;
    indent = next;
  }
}
