/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_WORKLOAD_TRACE_TEXT_H
#define FC_WORKLOAD_TRACE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/time.h>

/** Words and numbers inside a line: slices, not NUL-terminated. */
typedef struct {
  const char *p;
  size_t n;
} fc_slice;

bool fc_slice_is(fc_slice slice, const char *word);
/** Without blanks and tabs at either end. */
fc_slice fc_slice_trim(fc_slice slice);

enum { FC_TRACE_WHY = 120 };

/** A whole number in [least, FC_TRACE_TOKENS_MAX]; `374.0` is one.  On failure `why` says what is wrong. */
bool fc_trace_tokens(uint32_t *out, fc_slice text, uint32_t least, char why[FC_TRACE_WHY]);
/** A decimal number >= 0 of units of 10^`power` ns, up to 4e18 ns; rounded to a nanosecond, half up. */
bool fc_trace_time(fc_time *out, fc_slice text, int power, char why[FC_TRACE_WHY]);
/** `2023-11-16 18:17:03.9799600`, also with T, Z or +hh:mm. */
bool fc_trace_date(fc_time *out, fc_slice text, char why[FC_TRACE_WHY]);

#endif
