/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CALIBRATE_TABLE_H
#define FC_CALIBRATE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/diag.h>
#include <fleetcast/base/status.h>
#include <fleetcast/calibrate/shape.h>

/** Measurement files, plain or gzip, as points grouped into families: kernel x format x key/value format x
 *  implementation. */

typedef struct fc_point {
  fc_op op;
  double seconds;
  double log_sd;   /* of the median, from samples and IQR; 0: not told */
  uint32_t family; /* index into families */
  uint32_t file, line;
} fc_point;

typedef struct fc_family {
  fc_kernel kernel;
  const fc_format *format, *kv_format; /* kv NULL: none */
  const char *impl;                    /* owned by the table; "" when the file names none */
  size_t first, n;                     /* its points lie together, in file order */
} fc_family;

typedef struct fc_table {
  size_t n_points, n_families;
  fc_point *point;
  fc_family *family; /* sorted: kernel, format, kv format, impl */
  size_t n_rows;     /* data rows read */
  size_t
      n_left_out; /* rows whose status is neither ok nor timeout nor again, or whose kernel is not modelled */
  size_t n_bad;   /* malformed rows, each told to the diagnostics */
  char sha256[65]; /* of all files' bytes (as stored), in order */
  void *texts;     /* owner of the strings */
} fc_table;

typedef struct fc_table_options {
  const char *impl; /* only this implementation; NULL: all, kept apart */
  const fc_device *device;
} fc_table_options;

/** Reads all files.  A malformed row (bad number, missing column value, latency that is not positive) is a
 * diagnostic with file, line and column; it is counted and left out, unless every row is.
 *  @return FC_OK | FC_E_INPUT (no usable row, no such column, no such --impl: nearest told) | FC_E_IO |
 * FC_E_NOMEM */
FC_NODISCARD
fc_status fc_table_read(fc_table *out, const char *const *paths, size_t n_paths,
                        const fc_table_options *options, fc_diags *d);
void fc_table_fini(fc_table *table);

/** Bytes of a file, unpacked if it is gzip.  @return as fc_file_read */
FC_NODISCARD
fc_status fc_gz_read(char **bytes, size_t *length, const char *path, size_t max_bytes);
/** The same, a large file by several threads; 0: as many as the machine has. */
FC_NODISCARD
fc_status fc_gz_read_by(char **bytes, size_t *length, const char *path, size_t max_bytes, size_t threads);

#endif
