/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_REPORT_SHEET_H
#define FC_REPORT_SHEET_H

#include <stddef.h>

#include <fleetcast/scenario/text.h>

/* Aligned columns of text.  `align` has a letter a column: l or r; a column is as wide as its widest cell. */

enum { SHEET_COLUMNS = 12, SHEET_CELL = 40 };

typedef struct {
  const char *align;
  size_t columns, cells, capacity;
  char (*cell)[SHEET_CELL];
  bool failed;
} sheet;

void fc_sheet_init(sheet *g, const char *align);
/** The next cell, left to right, row by row; a long text is cut with "..". */
void fc_sheet_cell(sheet *g, const char *format, ...) FC_PRINTF(2, 3);
/** A number with an SI prefix and three digits: "4.30 M", "512  ". */
void fc_sheet_si(sheet *g, double value);
/** Prints and frees: first row as it is, two blanks between columns, no blanks at the end of a line. */
void fc_sheet_print(sheet *g, fc_text *out);

enum { SI_TEXT = 24 };
/** "4.30 M": three digits, a prefix if one helps. */
void fc_report_si(char out[SI_TEXT], double value);

/** Words of `text` on lines of at most 98 characters, the first indented by `indent`, the others by 4 more.
 */
void fc_report_wrap(fc_text *out, int indent, const char *text);

#endif
