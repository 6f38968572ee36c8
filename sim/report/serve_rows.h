/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_REPORT_SERVE_ROWS_H
#define FC_REPORT_SERVE_ROWS_H

#include <fleetcast/report/serve.h>

#include "table.h"

/* requests.csv: a row a request, in the order in which they are told.  Rows are made into text, hashed and
 * written in chunks by threads of their own, where there are any: the same bytes for any number. */

typedef struct fc_rows fc_rows;

/* Writes the header into `t`, which is the rows' until they are ended.  Fewer threads than asked for may
 * come.  @param hands  threads beside the caller's, >= 0 */
FC_NODISCARD
fc_status fc_rows_new(fc_rows **out, table *t, size_t hands);
void fc_rows_add(fc_rows *rows, const fc_serve_def *def, const fc_cluster_record *record);
/* All rows are written, threads are gone; frees.  NULL is a no-op.  @return FC_OK | FC_E_NOMEM */
fc_status fc_rows_end(fc_rows *rows);

#endif
