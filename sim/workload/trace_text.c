/* SPDX-License-Identifier: Apache-2.0 */
#include "trace_text.h"

#include <stdio.h>
#include <string.h>

#include <fleetcast/base/csv.h>
#include <fleetcast/workload/trace.h>

enum { SHOWN = 24 /* characters of a wrong text that a message repeats */ };

bool fc_slice_is(fc_slice s, const char *word) {
  return strlen(word) == s.n && memcmp(s.p, word, s.n) == 0;
}

static bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

fc_slice fc_slice_trim(fc_slice s) {
  while (s.n > 0 && is_blank(s.p[0])) {
    s.p++;
    s.n--;
  }
  while (s.n > 0 && is_blank(s.p[s.n - 1])) s.n--;
  return s;
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* `wrong` with the text, printable and short, before it */
static bool refuse(char why[FC_TRACE_WHY], fc_slice text, const char *wrong) {
  if (text.n == 0) {
    (void)snprintf(why, FC_TRACE_WHY, "is empty");
    return false;
  }
  char shown[SHOWN + 1];
  size_t n = text.n < SHOWN ? text.n : SHOWN;
  for (size_t i = 0; i < n; i++) shown[i] = text.p[i];
  for (size_t i = 0; i < n; i++)
    if (shown[i] < ' ' || shown[i] > '~') shown[i] = '?';
  shown[n] = '\0';
  (void)snprintf(why, FC_TRACE_WHY, "'%s%s' %s", shown, text.n > SHOWN ? "..." : "", wrong);
  return false;
}

bool fc_trace_tokens(uint32_t *out, fc_slice text, uint32_t least, char why[FC_TRACE_WHY]) {
  const char *p = text.p, *end = p + text.n;
  uint64_t value = 0;
  while (p < end && is_digit(*p)) {
    if (value <= FC_TRACE_TOKENS_MAX) value = value * 10 + (uint64_t)(*p - '0');
    p++;
  }
  bool whole = p > text.p;
  if (whole && p < end && *p == '.')
    for (p++; p < end && *p == '0';) p++;
  if (!whole || p != end) return refuse(why, text, "is not a whole number of tokens");
  if (value > FC_TRACE_TOKENS_MAX) return refuse(why, text, "is more than 1073741824 tokens");
  if (value < least) return refuse(why, text, "is less than one token");
  *out = (uint32_t)value;
  return true;
}

/* --- times --- */

static const int64_t ten_to[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000};
static const fc_time LATEST = INT64_C(4000000000) * FC_SECOND;

/* `.digits` in units of 10^-power: the digits past `power` round. */
static int64_t fraction(const char **p, const char *end, int power) {
  int64_t value = 0;
  int n = 0;
  for (++*p; *p < end && is_digit(**p); ++*p, n++) {
    if (n < power) value = value * 10 + (**p - '0');
    if (n == power && **p >= '5') value++;
  }
  return n < power ? value * ten_to[power - n] : value;
}

/* with an exponent: rare, so by the slow way, which knows of locales */
static bool scientific(fc_time *out, fc_slice text, int power) {
  char copy[64];
  double value;
  if (text.n >= sizeof copy) return false;
  memcpy(copy, text.p, text.n);
  copy[text.n] = '\0';
  if (!fc_csv_number(&value, &(fc_csv_field){.text = copy, .length = text.n})) return false;
  double ns = value * (double)ten_to[power];
  if (!(ns >= 0 && ns <= (double)LATEST)) return false;
  *out = fc_time_from_s(ns / 1e9);
  return true;
}

bool fc_trace_time(fc_time *out, fc_slice text, int power, char why[FC_TRACE_WHY]) {
  const char *p = text.p, *end = p + text.n;
  int64_t most = LATEST / ten_to[power], whole = 0;
  while (p < end && is_digit(*p)) {
    if (whole <= most) whole = whole * 10 + (*p - '0');
    p++;
  }
  size_t digits = (size_t)(p - text.p);
  int64_t part = 0;
  if (p < end && *p == '.') {
    part = fraction(&p, end, power);
    digits += (size_t)(p - text.p) - digits - 1;
  }
  if (digits > 0 && p < end && (*p == 'e' || *p == 'E') && scientific(out, text, power)) return true;
  if (text.n > 1 && text.p[0] == '-' && is_digit(text.p[1])) return refuse(why, text, "is before time 0");
  if (digits == 0 || p != end) return refuse(why, text, "is not a time");
  if (whole >= most) return refuse(why, text, "is too late: more than 126 years");
  *out = whole * ten_to[power] + part;
  return true;
}

/* two digits up to `most`, then `then` unless it is NUL */
static bool two(int64_t *out, const char **p, const char *end, int64_t most, char then) {
  if (end - *p < (then ? 3 : 2) || !is_digit((*p)[0]) || !is_digit((*p)[1])) return false;
  *out = ((*p)[0] - '0') * 10 + ((*p)[1] - '0');
  if (then && (*p)[2] != then) return false;
  *p += then ? 3 : 2;
  return *out <= most;
}

/* nothing, Z, or +hh:mm: local time less UTC */
static bool zone(int64_t *offset_min, const char *p, const char *end) {
  *offset_min = 0;
  if (p == end || (end - p == 1 && *p == 'Z')) return true;
  char sign = *p++;
  int64_t h, m;
  if ((sign != '+' && sign != '-') || !two(&h, &p, end, 14, ':') || !two(&m, &p, end, 59, '\0') || p != end)
    return false;
  *offset_min = (sign == '-' ? -1 : 1) * (h * 60 + m);
  return true;
}

bool fc_trace_date(fc_time *out, fc_slice text, char why[FC_TRACE_WHY]) {
  enum { DATE = 10 };
  static const char wrong[] = "is not a time like 2023-11-16 18:17:03.97996";
  const char *p = text.p + DATE, *end = text.p + text.n;
  fc_time day;
  int64_t h, m, s, part = 0, offset_min;
  if (text.n <= DATE || !fc_time_parse(&day, text.p, DATE) || (*p != ' ' && *p != 'T'))
    return refuse(why, text, wrong);
  p++;
  if (!two(&h, &p, end, 23, ':') || !two(&m, &p, end, 59, ':') || !two(&s, &p, end, 59, '\0'))
    return refuse(why, text, wrong);
  if (p < end && *p == '.') part = fraction(&p, end, 9);
  if (!zone(&offset_min, p, end)) return refuse(why, text, wrong);
  fc_time at = day + ((h * 60 + m - offset_min) * 60 + s) * FC_SECOND + part;
  if (at < 0) return refuse(why, text, "is before 1970"); /* any two are then less than 292 years apart */
  *out = at;
  return true;
}
