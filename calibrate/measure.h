/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CALIBRATE_INTERNAL_MEASURE_H
#define FC_CALIBRATE_INTERNAL_MEASURE_H

#include <stdbool.h>
#include <stddef.h>

#include <fleetcast/base/csv.h>
#include <fleetcast/base/diag.h>
#include <fleetcast/base/status.h>
#include <fleetcast/calibrate/shape.h>

/** Rows of a measurement file read where they stand, and operators found once a family instead of once a row.
 */

/* --- what a row says --- */

/* Columns as one index: texts, then numbers. */
enum { FC_ROLE_COUNT = (int)FC_MEASURE_TEXT_COUNT + (int)FC_MEASURE_NUMBER_COUNT, FC_ROLE_NONE = 255 };
#define FC_ROLE_NUMBER(number) ((int)FC_MEASURE_TEXT_COUNT + (int)(number))

const char *fc_role_text(int role);

/* Why a row cannot be used, and which column is at fault (-1: none in particular). */
typedef struct fc_fault {
  int role;
  char why[FC_SHAPE_WHY];
} fc_fault;

/* What kernel, impl, dtype and kv_dtype say together. */
typedef struct fc_measured {
  size_t row; /* of the operator table: the order of reports */
  fc_op_id id;
  const fc_format *format, *kv_format;
} fc_measured;

/* @return false: told to fault; fault->role is FC_MEASURE_kernel where the kernel is not one that is modelled
 */
bool fc_measured_find(fc_measured *out, const fc_measure_row *row, fc_fault *fault);
bool fc_measured_op(fc_op *out, const fc_measured *measured, const fc_measure_row *row,
                    const fc_device *device, fc_fault *fault);

/* --- how it is written --- */

typedef struct fc_columns {
  size_t n;
  unsigned char role[FC_CSV_COLUMNS_MAX]; /* of each column; FC_ROLE_NONE: carried through */
  bool has[FC_ROLE_COUNT];
  const char *header, *header_end; /* the header row as it stands, without line end and byte order mark */
  const char *body;                /* what follows it */
  size_t body_line;
} fc_columns;

/* @param needed, n_needed  roles that must be there
 * @return FC_OK | FC_E_INPUT (told to d) | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_columns_read(fc_columns *out, const char *source, const char *bytes, size_t length,
                          const int *needed, size_t n_needed, fc_diags *d);

typedef enum fc_row_kind { FC_ROW_END, FC_ROW_GOOD, FC_ROW_BAD } fc_row_kind;

/* The same rows and the same complaints as fc_csv_next, without a copy of them. */
typedef struct fc_rows {
  const fc_columns *columns;
  const char *p, *end;
  size_t line;                     /* of p */
  bool plain;                      /* no quote, CR or NUL from p to end */
  const char *start, *stop;        /* the last row as it stands, without line end */
  size_t start_line;               /* its first line */
  const char *head;                /* texts that begin a row, with their commas: the next may begin like it */
  size_t head_length, head_fields; /* 0: none */
  fc_pos at;                       /* FC_ROW_BAD: where, and why */
  char why[FC_SHAPE_WHY];
} fc_rows;

/* Reads on from p. */
void fc_rows_init(fc_rows *out, const fc_columns *columns, const char *p, const char *end, size_t line);
/* The next row's texts and numbers; columns that the file lacks are empty.  `row` NULL: step over it; else
 * the same each time. */
fc_row_kind fc_rows_next(fc_rows *rows, fc_measure_row *row);
/* Where the column of a role begins in the last row. */
fc_pos fc_rows_position(const fc_rows *rows, int role);

/* --- files --- */

/* The text itself, or what it unpacks to when it is gzip: `*out` is then the caller's to free, else NULL.
 * @return FC_OK | FC_E_IO (errno) | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_gz_unpack(char **out, size_t *length, const char *packed, size_t packed_length,
                       size_t max_bytes);
bool fc_gz_is(const char *bytes, size_t length);

#endif
