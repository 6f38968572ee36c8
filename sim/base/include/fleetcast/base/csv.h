/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BASE_CSV_H
#define FC_BASE_CSV_H

#include <stdbool.h>
#include <stddef.h>

#include <fleetcast/base/diag.h>
#include <fleetcast/base/file.h>

/** RFC 4180 CSV with a header row, read from memory and written to an fc_file.
 *
 *  The reader keeps nothing but positions: a field is a borrowed slice, unquoted into a buffer of the
 * reader's when it has to be.  UTF-8 with an optional BOM; LF, CRLF; a NUL byte, a row with the wrong number
 * of fields, a quote inside a bare field, text after a closing quote or a lone CR is a diagnostic with line
 * and column; an unterminated quote too, and reading ends there.  Blank lines are skipped where there are two
 * columns or more.  Written rows end in LF. */

enum { FC_CSV_COLUMNS_MAX = 4096 };

typedef struct {
  const char *text; /* NUL-terminated, borrowed until the next row */
  size_t length;
  fc_pos at;
} fc_csv_field;

typedef struct fc_csv_reader fc_csv_reader;

/** Starts reading and takes the header row.  `bytes` is borrowed for the reader's life.
 *  @return FC_OK | FC_E_INPUT (empty, no header, duplicate column; told to d) | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_csv_open(fc_csv_reader **out, const char *source, const char *bytes, size_t length, fc_diags *d);
void fc_csv_free(fc_csv_reader *reader);
size_t fc_csv_columns(const fc_csv_reader *reader);
const char *fc_csv_column_name(const fc_csv_reader *reader, size_t column);
/** Index of a column, or -1. */
ptrdiff_t fc_csv_column(const fc_csv_reader *reader, const char *name);
/** The next row.  `*row` is an array of fc_csv_columns() fields, or NULL at the end.  A malformed row is told
 *  to d, counted, and skipped.  @return FC_OK | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_csv_next(fc_csv_reader *reader, const fc_csv_field **row, fc_diags *d);
/** Rows skipped because they were malformed. */
size_t fc_csv_skipped(const fc_csv_reader *reader);
/** Whole-field finite decimal number in the C locale. */
bool fc_csv_number(double *out, const fc_csv_field *field);

enum { FC_CSV_NUMBER_TEXT = 32 };
/** The shortest of %.15g, %.16g, %.17g that reads back to the same double; '.' whatever the locale; -0 is 0.
 *  @return its length.  @pre value is finite */
size_t fc_csv_number_format(char out[FC_CSV_NUMBER_TEXT], double value);
/** %lld.  @return its length */
size_t fc_csv_int_format(char out[FC_CSV_NUMBER_TEXT], long long value);

/** Writers of one field; a comma goes before every field but a row's first.  Numbers are printed with the
 *  shortest text that reads back to the same double; non-finite values are a programming error. */
void fc_csv_write_text(fc_file *file, const char *text);
void fc_csv_write_number(fc_file *file, double value);
void fc_csv_write_int(fc_file *file, long long value);
void fc_csv_end_row(fc_file *file);

#endif
