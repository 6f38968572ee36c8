/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CALIBRATE_SHAPE_H
#define FC_CALIBRATE_SHAPE_H

#include <stdbool.h>
#include <stddef.h>

#include <fleetcast/cost/busiest.h>
#include <fleetcast/cost/format.h>
#include <fleetcast/cost/operator.h>

/** From a row of a measurement file to the operator that was timed.  Columns: docs/kernels.md#file. */

/** Columns that say what was measured and how long it took; others are carried through. */
/* clang-format off */
#define FC_MEASURE_TEXT_MAP(X) X(kernel) X(impl) X(dtype) X(kv_dtype) X(routing) X(status)
#define FC_MEASURE_NUMBER_MAP(X) \
  X(m) X(n) X(k) X(tokens) X(hidden) X(inter) X(experts) X(topk) X(ep) X(tp) X(skew) X(batch) X(heads) X(kv_heads) \
  X(head_dim) X(q_len) X(kv_len) X(bytes) X(gpus) X(nodes) X(latency_us) X(samples) X(iqr_us)
/* clang-format on */

typedef enum fc_measure_text {
#define FC_MEASURE_ENUM(name) FC_MEASURE_##name,
  FC_MEASURE_TEXT_MAP(FC_MEASURE_ENUM) FC_MEASURE_TEXT_COUNT
} fc_measure_text;

typedef enum fc_measure_number {
  FC_MEASURE_NUMBER_MAP(FC_MEASURE_ENUM) FC_MEASURE_NUMBER_COUNT
} fc_measure_number;
#undef FC_MEASURE_ENUM

typedef struct fc_slice {
  const char *text; /* borrowed, not NUL-terminated */
  size_t length;
} fc_slice;

typedef struct fc_measure_row {
  fc_slice text[FC_MEASURE_TEXT_COUNT];
  double number[FC_MEASURE_NUMBER_COUNT]; /* NaN: empty */
  size_t line;                            /* of its file, 1-based */
} fc_measure_row;

/** What was timed.  `op.units` is 0 (all of the device). */
typedef struct fc_call {
  fc_op op;
  fc_kernel kernel; /* family: that of the operator */
  const fc_format *format;
  const fc_format *kv_format; /* NULL: none */
} fc_call;

enum { FC_SHAPE_WHY = 160 };

/** @param device  for what a row leaves open: the size of a scale-up domain, devices a node
 *  @return false: the row cannot be modelled; `why` (FC_SHAPE_WHY bytes, nullable) says which column is at
 * fault */
bool fc_measure_shape(fc_call *out, const fc_measure_row *row, const fc_device *device, char *why);

#endif
