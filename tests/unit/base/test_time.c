/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/time.h>

#include <math.h>
#include <string.h>

#include <criterion/criterion.h>

static const struct {
  const char *text;
  fc_time t;
} good[] = {
    {"1970-01-01", 0},
    {"2026-11-24", INT64_C(20781) * FC_DAY},
    {"2024-02-29", INT64_C(19782) * FC_DAY},
    {"2000-02-29T23:59:59Z", INT64_C(951868799) * FC_SECOND},
    {"2025-02-27T04:00", INT64_C(1740628800) * FC_SECOND},
    {"2026-Q2", INT64_C(20544) * FC_DAY},
    {"2026-04", INT64_C(20544) * FC_DAY},
    {"1969-12-31T23:59:59", -FC_SECOND},
    {"1800-01-01", INT64_C(-62091) * FC_DAY},
};

static const char *const bad[] = {
    "",
    "2026",
    "2026-",
    "2026-13",
    "2026-00",
    "2026-02-30",
    "2023-02-29",
    "2026-1-1",
    "26-01-01",
    "2026-01-01T",
    "2026-01-01T25:00",
    "2026-01-01T12:60",
    "2026-01-01T12:00:61",
    "2026-01-01 12:00",
    "2026-Q5",
    "2026-Q0",
    "2026-Q1-01",
    "1799-12-31",
    "2201-01-01",
    "2026-01-01ZZ",
    "x026-01-01",
    "2026-01-01T12",
    "-026-01-01",
};

Test(time, parses_dates) {
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    fc_time t = 42;
    cr_assert(fc_time_parse(&t, good[i].text, strlen(good[i].text)), "%s", good[i].text);
    cr_assert_eq(t, good[i].t, "%s: %lld", good[i].text, (long long)t);
  }
}

Test(time, rejects_what_is_not_a_date) {
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    fc_time t = 42;
    cr_assert_not(fc_time_parse(&t, bad[i], strlen(bad[i])), "%s", bad[i]);
    cr_assert_eq(t, 42);
  }
}

Test(time, every_day_of_four_centuries_goes_round) {
  char text[FC_TIME_TEXT], before[FC_TIME_TEXT] = "";
  fc_time from, t;
  cr_assert(fc_time_parse(&from, "1800-01-01", 10));
  for (int64_t day = 0; day < 146097; day++) {
    fc_time at = (from / FC_DAY + day) * FC_DAY;
    fc_time_format(text, at);
    cr_assert(fc_time_parse(&t, text, strlen(text)), "%s", text);
    cr_assert_eq(t, at);
    cr_assert(strcmp(before, text) < 0);
    strcpy(before, text);
  }
  cr_assert_str_eq(text, "2199-12-31");
}

Test(time, formats_the_time_of_day_only_when_there_is_one) {
  char text[FC_TIME_TEXT];
  fc_time_format(text, FC_DAY + FC_HOUR + 2 * FC_MINUTE + 3 * FC_SECOND);
  cr_assert_str_eq(text, "1970-01-02T01:02:03Z");
}

Test(time, seconds_saturate_and_round) {
  cr_assert_eq(fc_time_from_s(1.5), 1500000000);
  cr_assert_eq(fc_time_from_s(-0.4e-9), 0);
  cr_assert_eq(fc_time_from_s(INFINITY), FC_TIME_MAX);
  cr_assert_eq(fc_time_from_s(-1e300), -FC_TIME_MAX);
  cr_assert_float_eq(fc_time_to_s(fc_time_from_s(86400.25)), 86400.25, 1e-9);
}

Test(time, month_starts) {
  fc_time t, want;
  cr_assert(fc_time_parse(&t, "2026-11-24T10:00", 16));
  cr_assert(fc_time_parse(&want, "2027-02-01", 10));
  cr_assert_eq(fc_time_month_start(t, 3), want);
  cr_assert(fc_time_parse(&want, "2025-12-01", 10));
  cr_assert_eq(fc_time_month_start(t, -11), want);
  cr_assert_eq(fc_time_month_start(want, 0), want);
}
