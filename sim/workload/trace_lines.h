/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_WORKLOAD_TRACE_LINES_H
#define FC_WORKLOAD_TRACE_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include <fleetcast/base/status.h>

/** The lines of a file or of bytes in memory, plain or gzip, one after the other through a buffer of fixed
 *  size. */
typedef struct fc_lines fc_lines;

typedef struct {
  const char *text; /* without its line end; not NUL-terminated; borrowed until the next one; NULL: the end */
  size_t length;
  size_t number; /* from 1 */
  bool too_long; /* its end was not kept */
} fc_line;

/** @return FC_OK | FC_E_IO (errno) | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_lines_open(fc_lines **out, const char *path);
FC_NODISCARD
fc_status fc_lines_of(fc_lines **out, const void *bytes, size_t length);
void fc_lines_free(fc_lines *lines);

/** @return FC_OK | FC_E_INPUT (the gzip data are damaged or cut off) | FC_E_IO (errno) | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_lines_next(fc_lines *lines, fc_line *out);

#endif
