/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_COST_ANCHOR_H
#define FC_COST_ANCHOR_H

#include <stdbool.h>
#include <stddef.h>

#include <fleetcast/cost/format.h>
#include <fleetcast/cost/operator.h>

/** An anchor of a local correction (local.h) as columns of text: the one table that the reader and the writer
 * of profiles share.  A column is a member of fc_op under the name that measurement files give it; what
 * follows from the number format, or is the same for all of a family, is no column: fc_anchor_complete sets
 * it. */

typedef struct fc_anchor_column {
  const char *name;
  size_t offset; /* in fc_op */
  bool flag;     /* a bool, 0 or 1; else a double */
} fc_anchor_column;

typedef struct fc_anchor_columns {
  size_t n; /* at most FC_ANCHOR_COLUMNS_MAX */
  const fc_anchor_column *column;
  fc_op_id op; /* the family's operator; FC_OP_COUNT: it has several, and a column "op" tells which */
} fc_anchor_columns;

enum { FC_ANCHOR_COLUMNS_MAX = 12 };

fc_anchor_columns fc_anchor_columns_of(fc_kernel kernel);
double fc_anchor_get(const fc_op *op, const fc_anchor_column *column);
void fc_anchor_set(fc_op *op, const fc_anchor_column *column, double value);
/** The family's operator of that name (fc_op_text), or FC_OP_COUNT. */
fc_op_id fc_anchor_op(fc_kernel kernel, const char *text, size_t length);

/** Sets what is no column: `dtype`, bytes of weights, inputs and cache, sizes of MLA's heads.
 *  @pre op->id and the columns are set
 *  @param kv  format of the key/value cache; NULL: BF16 */
void fc_anchor_complete(fc_op *op, fc_kernel kernel, const fc_format *format, const fc_format *kv);

#endif
