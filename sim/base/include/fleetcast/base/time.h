/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BASE_TIME_H
#define FC_BASE_TIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Simulated time: signed nanoseconds since 1970-01-01T00:00:00Z (292 years either way); exact, orderable.
 *  No leap seconds: every day has 86,400 s. */
typedef int64_t fc_time;

#define FC_TIME_MAX INT64_MAX
#define FC_NS       INT64_C(1)
#define FC_SECOND   (INT64_C(1000000000) * FC_NS)
#define FC_MINUTE   (60 * FC_SECOND)
#define FC_HOUR     (60 * FC_MINUTE)
#define FC_DAY      (24 * FC_HOUR)
#define FC_WEEK     (7 * FC_DAY)
/** Julian year, 365.25 days: what `yr` means as a unit and in growth rates. */
#define FC_YEAR_S   31557600.0

/** Nanoseconds of `seconds`, rounded to nearest, saturating at FC_TIME_MAX (also for +inf).
 *  @pre seconds is not NaN */
fc_time fc_time_from_s(double seconds);
double fc_time_to_s(fc_time t);

typedef struct {
  int32_t year;         /* proleptic Gregorian */
  int32_t month, day;   /* 1-12, 1-31 */
  int32_t hour, minute; /* 0-23, 0-59 */
  int32_t second;       /* 0-59 */
} fc_civil;

fc_time fc_time_from_civil(fc_civil civil);
fc_civil fc_time_to_civil(fc_time t);

/** Parses `2026-01-31`, `2026-01` (its first day), `2026-Q2` (its first day), `2026-01-31T12:30` or
 *  `2026-01-31T12:30:05`, optionally with a final `Z`.
 *  @return false (out untouched) when malformed, not on the calendar, or outside 1800..2200 */
bool fc_time_parse(fc_time *out, const char *text, size_t length);

enum { FC_TIME_TEXT = 24 };
/** `2026-01-31`, or `2026-01-31T12:30:05Z` when t is not midnight. `out` holds FC_TIME_TEXT bytes. */
void fc_time_format(char *out, fc_time t);

/** First instant of the calendar month that holds t, moved on by `months`. */
fc_time fc_time_month_start(fc_time t, int32_t months);

#endif
