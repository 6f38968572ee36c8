/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BENCH_ROW_H
#define FC_BENCH_ROW_H

#include <fleetcast/base/diag.h>
#include <fleetcast/base/status.h>

#include "data.h"
#include "measure.h"

/** Rows of a measurement file: the project's format (docs/kernels.md#file), every field as text. */

/** Columns in order.  `kernel` to `nodes` say what was measured, `regime`
 *  and `site` to `cache` how: together they are a point's key. */
/* clang-format off */
#define FC_COLUMN_MAP(X) \
  X(kernel) X(impl) X(dtype) X(kv_dtype) X(m) X(n) X(k) X(tokens) X(hidden) X(inter) X(experts) X(topk) X(ep) X(tp) \
  X(skew) X(batch) X(heads) X(kv_heads) X(head_dim) X(q_len) X(kv_len) X(bytes) X(gpus) X(nodes) \
  X(latency_us) X(samples) X(iqr_us) X(min_us) X(flop) X(bytes_moved) X(gpu) X(driver) X(library) X(clock_mhz) \
  X(regime) X(status) X(site) X(routing) X(cache) X(p90_us) X(dropped)
/* clang-format on */

typedef enum fc_column {
#define FC_COLUMN_ENUM(name) FC_COLUMN_##name,
  FC_COLUMN_MAP(FC_COLUMN_ENUM)
#undef FC_COLUMN_ENUM
      FC_COLUMN_COUNT
} fc_column;

const char *fc_column_text(fc_column column);

typedef struct fc_row {
  size_t order;                 /* place in the finished file */
  char *field[FC_COLUMN_COUNT]; /* NULL: empty; owned */
} fc_row;

typedef struct fc_rows {
  size_t n, capacity;
  fc_row *item;
} fc_rows;

/** Sets a field.  @return false when memory runs out */
bool fc_row_set(fc_row *row, fc_column column, const char *format, ...) FC_PRINTF(3, 4);
/** Numeric value of a field; NaN when empty. */
double fc_row_number(const fc_row *row, fc_column column);
void fc_row_fini(fc_row *row);

/** What is measured, by whom, on what: all but the result.  `kernel` is the operator's name unless given. */
bool fc_row_describe(fc_row *row, const fc_problem *p, const char *kernel, const char *impl,
                     const fc_machine *machine);
bool fc_row_result(fc_row *row, const fc_timing *t, const char *cache);

/** A point's key: fields joined; the caller's to free(); NULL when memory runs out. */
char *fc_row_key(const fc_row *row);

/** Takes the row, also when it fails.  @return FC_OK | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_rows_add(fc_rows *rows, fc_row *row);
void fc_rows_fini(fc_rows *rows);
/** How many have a status that begins so. */
size_t fc_rows_count(const fc_rows *rows, const char *status);
/** Sorts by `order`; equal ones keep theirs. */
void fc_rows_sort(fc_rows *rows);

/** Reads rows of an earlier run; a last line that was cut off is left out.
 *  @return FC_OK | FC_E_INPUT (told to d) | FC_E_IO | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_rows_read(fc_rows *out, const char *path, fc_diags *d);
/** One line of the file, with its newline; the caller's to free(). */
char *fc_row_line(const fc_row *row);
char *fc_row_header(void);

#endif
