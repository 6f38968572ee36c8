/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/time.h>

#include <math.h>
#include <stdio.h>

#include <fleetcast/base/assert.h>

fc_time fc_time_from_s(double seconds) {
  FC_ASSERT(!isnan(seconds));
  double ns = seconds * 1e9;
  if (ns >= 9.2e18) return FC_TIME_MAX;
  if (ns <= -9.2e18) return -FC_TIME_MAX;
  return (fc_time)llround(ns);
}

double fc_time_to_s(fc_time t) {
  return (double)t / 1e9;
}

/* Days since 1970-01-01 of a proleptic Gregorian date (H. Hinnant, "chrono-compatible low-level date
 * algorithms"): years start in March, so that the leap day is a year's last. */
static int64_t days_from_date(int64_t y, int64_t m, int64_t d) {
  y -= m <= 2;
  int64_t era = (y >= 0 ? y : y - 399) / 400;
  int64_t yoe = y - era * 400;
  int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
  int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
  return era * 146097 + doe - 719468;
}

fc_time fc_time_from_civil(fc_civil c) {
  int64_t s = ((int64_t)c.hour * 60 + c.minute) * 60 + c.second;
  return days_from_date(c.year, c.month, c.day) * FC_DAY + s * FC_SECOND;
}

fc_civil fc_time_to_civil(fc_time t) {
  int64_t days = t / FC_DAY - (t % FC_DAY < 0);
  int64_t s = (t - days * FC_DAY) / FC_SECOND;
  int64_t z = days + 719468;
  int64_t era = (z >= 0 ? z : z - 146096) / 146097;
  int64_t doe = z - era * 146097;
  int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  int64_t mp = (5 * doy + 2) / 153;
  int64_t m = mp < 10 ? mp + 3 : mp - 9;
  return (fc_civil){.year = (int32_t)(yoe + era * 400 + (m <= 2)),
                    .month = (int32_t)m,
                    .day = (int32_t)(doy - (153 * mp + 2) / 5 + 1),
                    .hour = (int32_t)(s / 3600),
                    .minute = (int32_t)(s / 60 % 60),
                    .second = (int32_t)(s % 60)};
}

/* Exactly n digits. */
static bool take_digits(int32_t *out, const char **p, const char *end, int n) {
  if (end - *p < n) return false;
  int32_t v = 0;
  for (int i = 0; i < n; i++) {
    char c = (*p)[i];
    if (c < '0' || c > '9') return false;
    v = v * 10 + (c - '0');
  }
  *p += n;
  *out = v;
  return true;
}

static bool take_char(const char **p, const char *end, char c) {
  if (*p == end || **p != c) return false;
  ++*p;
  return true;
}

static int32_t days_in_month(int32_t y, int32_t m) {
  return (int32_t)(days_from_date(m == 12 ? y + 1 : y, m == 12 ? 1 : m + 1, 1) - days_from_date(y, m, 1));
}

bool fc_time_parse(fc_time *out, const char *text, size_t length) {
  const char *p = text, *end = text + length;
  fc_civil c = {.month = 1, .day = 1};
  if (!take_digits(&c.year, &p, end, 4) || !take_char(&p, end, '-')) return false;
  if (take_char(&p, end, 'Q')) {
    int32_t quarter;
    if (!take_digits(&quarter, &p, end, 1) || quarter < 1 || quarter > 4 || p != end) return false;
    c.month = 3 * quarter - 2;
  } else {
    if (!take_digits(&c.month, &p, end, 2)) return false;
    if (p != end) {
      if (!take_char(&p, end, '-') || !take_digits(&c.day, &p, end, 2)) return false;
      if (take_char(&p, end, 'T')) {
        if (!take_digits(&c.hour, &p, end, 2) || !take_char(&p, end, ':') ||
            !take_digits(&c.minute, &p, end, 2))
          return false;
        if (take_char(&p, end, ':') && !take_digits(&c.second, &p, end, 2)) return false;
        (void)take_char(&p, end, 'Z');
      }
    }
  }
  if (p != end || c.year < 1800 || c.year > 2200 || c.month < 1 || c.month > 12 || c.day < 1 ||
      c.day > days_in_month(c.year, c.month) || c.hour > 23 || c.minute > 59 || c.second > 59)
    return false;
  *out = fc_time_from_civil(c);
  return true;
}

void fc_time_format(char *out, fc_time t) {
  fc_civil c = fc_time_to_civil(t);
  int n = snprintf(out, FC_TIME_TEXT, "%04d-%02d-%02d", (int)c.year, (int)c.month, (int)c.day);
  if (c.hour || c.minute || c.second)
    (void)snprintf(out + n, (size_t)(FC_TIME_TEXT - n), "T%02d:%02d:%02dZ", (int)c.hour, (int)c.minute,
                   (int)c.second);
}

fc_time fc_time_month_start(fc_time t, int32_t months) {
  fc_civil c = fc_time_to_civil(t);
  int32_t m = c.year * 12 + c.month - 1 + months;
  return fc_time_from_civil((fc_civil){.year = m / 12, .month = m % 12 + 1, .day = 1});
}
