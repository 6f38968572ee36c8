/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/units.h>

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <fleetcast/base/diag.h>
#include <fleetcast/base/time.h>

/* --- vocabulary --- */

/* Which prefixes a symbol takes. */
typedef enum { NO_PREFIX, SMALL, LARGE, BYTES } prefixes;

typedef struct {
  const char *symbol;
  prefixes accepts;
  int exp10; /* value in base units = multiplier * 10^exp10 */
  double multiplier;
  fc_dim dim;
} unit;

#define MONTH_S (FC_YEAR_S / 12)

static const unit units[] = {
    {"B", BYTES, 0, 1, {.byte = 1}},
    {"byte", BYTES, 0, 1, {.byte = 1}},
    {"bytes", BYTES, 0, 1, {.byte = 1}},
    {"bit", BYTES, 0, 0.125, {.byte = 1}},
    {"bits", BYTES, 0, 0.125, {.byte = 1}},
    {"s", SMALL, 0, 1, {.second = 1}},
    {"sec", NO_PREFIX, 0, 1, {.second = 1}},
    {"second", NO_PREFIX, 0, 1, {.second = 1}},
    {"seconds", NO_PREFIX, 0, 1, {.second = 1}},
    {"min", NO_PREFIX, 0, 60, {.second = 1}},
    {"minute", NO_PREFIX, 0, 60, {.second = 1}},
    {"minutes", NO_PREFIX, 0, 60, {.second = 1}},
    {"h", NO_PREFIX, 0, 3600, {.second = 1}},
    {"hour", NO_PREFIX, 0, 3600, {.second = 1}},
    {"hours", NO_PREFIX, 0, 3600, {.second = 1}},
    {"d", NO_PREFIX, 0, 86400, {.second = 1}},
    {"day", NO_PREFIX, 0, 86400, {.second = 1}},
    {"days", NO_PREFIX, 0, 86400, {.second = 1}},
    {"wk", NO_PREFIX, 0, 604800, {.second = 1}},
    {"week", NO_PREFIX, 0, 604800, {.second = 1}},
    {"weeks", NO_PREFIX, 0, 604800, {.second = 1}},
    {"month", NO_PREFIX, 0, MONTH_S, {.second = 1}},
    {"months", NO_PREFIX, 0, MONTH_S, {.second = 1}},
    {"yr", NO_PREFIX, 0, FC_YEAR_S, {.second = 1}},
    {"year", NO_PREFIX, 0, FC_YEAR_S, {.second = 1}},
    {"years", NO_PREFIX, 0, FC_YEAR_S, {.second = 1}},
    {"FLOP", LARGE, 0, 1, {.flop = 1}},
    {"FLOPs", LARGE, 0, 1, {.flop = 1}},
    {"FLOPS", LARGE, 0, 1, {.flop = 1, .second = -1}},
    {"OP", LARGE, 0, 1, {.flop = 1}},
    {"OPs", LARGE, 0, 1, {.flop = 1}},
    {"OPS", LARGE, 0, 1, {.flop = 1, .second = -1}},
    {"Hz", LARGE, 0, 1, {.second = -1}},
    {"J", LARGE, 0, 1, {.joule = 1}},
    {"W", LARGE, 0, 1, {.joule = 1, .second = -1}},
    {"Wh", LARGE, 0, 3600, {.joule = 1}},
    {"USD", LARGE, 0, 1, {.usd = 1}},
    {"$", NO_PREFIX, 0, 1, {.usd = 1}},
    {"token", LARGE, 0, 1, {.token = 1}},
    {"tokens", LARGE, 0, 1, {.token = 1}},
    {"tok", LARGE, 0, 1, {.token = 1}},
    {"device", NO_PREFIX, 0, 1, {.device = 1}},
    {"devices", NO_PREFIX, 0, 1, {.device = 1}},
    {"GPU", NO_PREFIX, 0, 1, {.device = 1}},
    {"GPUs", NO_PREFIX, 0, 1, {.device = 1}},
    {"chip", NO_PREFIX, 0, 1, {.device = 1}},
    {"chips", NO_PREFIX, 0, 1, {.device = 1}},
    {"accelerator", NO_PREFIX, 0, 1, {.device = 1}},
    {"accelerators", NO_PREFIX, 0, 1, {.device = 1}},
    {"request", LARGE, 0, 1, {.request = 1}},
    {"requests", LARGE, 0, 1, {.request = 1}},
    {"req", LARGE, 0, 1, {.request = 1}},
    {"user", NO_PREFIX, 0, 1, {.user = 1}},
    {"users", NO_PREFIX, 0, 1, {.user = 1}},
    {"%", NO_PREFIX, -2, 1, {0}},
    {"percent", NO_PREFIX, -2, 1, {0}},
    {"x", NO_PREFIX, 0, 1, {0}},
};
enum { N_UNITS = sizeof units / sizeof *units };

static const struct prefix {
  const char *text;
  int exp10;
  unsigned with; /* bit 1 << prefixes */
  double multiplier;
} prefix_table[] = {
    {"n", -9, 1u << SMALL, 1},
    {"u", -6, 1u << SMALL, 1},
    {"\xc2\xb5", -6, 1u << SMALL, 1}, /* MICRO SIGN */
    {"\xce\xbc", -6, 1u << SMALL, 1}, /* GREEK SMALL LETTER MU */
    {"m", -3, 1u << SMALL, 1},
    {"Ki", 0, 1u << BYTES, 0x1p10},
    {"Mi", 0, 1u << BYTES, 0x1p20},
    {"Gi", 0, 1u << BYTES, 0x1p30},
    {"Ti", 0, 1u << BYTES, 0x1p40},
    {"Pi", 0, 1u << BYTES, 0x1p50},
    {"k", 3, 1u << BYTES | 1u << LARGE, 1},
    {"M", 6, 1u << BYTES | 1u << LARGE, 1},
    {"G", 9, 1u << BYTES | 1u << LARGE, 1},
    {"T", 12, 1u << BYTES | 1u << LARGE, 1},
    {"P", 15, 1u << BYTES | 1u << LARGE, 1},
    {"E", 18, 1u << BYTES | 1u << LARGE, 1},
    {"Z", 21, 1u << BYTES | 1u << LARGE, 1},
    {"Y", 24, 1u << BYTES | 1u << LARGE, 1},
};
enum { N_PREFIXES = sizeof prefix_table / sizeof *prefix_table };

static const struct {
  const char *text;
  int exp10;
} scales[] = {
    {"k", 3},
    {"K", 3},
    {"M", 6},
    {"B", 9},
    {"G", 9},
    {"T", 12},
    {"P", 15},
    {"Q", 15},
    {"thousand", 3},
    {"million", 6},
    {"billion", 9},
    {"trillion", 12},
    {"quadrillion", 15},
};

/* What people mean when they slip; whole units first, so that 'TBs' finds 'TB/s' before 'TB'. */
static const char *const usual[] = {
    "TB/s",     "GB/s",    "MB/s",   "GB",      "TB",       "MB",           "kB",      "PB",
    "GiB",      "TiB",     "Gbit/s", "TFLOP/s", "PFLOP/s",  "GFLOP/s",      "TFLOPS",  "PFLOPS",
    "TFLOP",    "PFLOP",   "EFLOP",  "ZFLOP",   "YFLOP",    "USD/h",        "USD/kWh", "USD/yr",
    "USD",      "kWh",     "MWh",    "GWh",     "TWh",      "kW",           "MW",      "GW",
    "TW",       "W",       "us",     "ms",      "ns",       "min",          "hours",   "days",
    "weeks",    "months",  "years",  "yr",      "tokens/s", "tokens/month", "tokens",  "requests/s",
    "requests", "devices", "GPU-h",  "GPUs",    "GPU",      "chips",        "users",   "accelerators",
    "bytes",    "bits",
};
enum { N_USUAL = sizeof usual / sizeof *usual };

/* --- text --- */

typedef struct {
  const char *p, *end;
  char *why;
} cursor;

static bool fail(const cursor *c, const char *format, ...) FC_PRINTF(2, 3);

static bool fail(const cursor *c, const char *format, ...) {
  if (!c->why) return false;
  va_list args;
  va_start(args, format);
  (void)vsnprintf(c->why, FC_UNITS_TEXT, format, args);
  va_end(args);
  return false;
}

static bool is_digit(char ch) {
  return ch >= '0' && ch <= '9';
}

/* Letters, and any byte of a multi-byte character: a unit is read as a whole before it is judged. */
static bool is_symbol(char ch) {
  return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || ch == '$' || ch == '%' ||
         ((unsigned char)ch & 0x80);
}

static void skip_spaces(cursor *c) {
  while (c->p != c->end && *c->p == ' ') c->p++;
}

/* At most 40 bytes of a text for a message, never half a character. */
static int clip(const char *text, size_t length) {
  if (length <= 40) return (int)length;
  size_t n = 40;
  while (n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80) n--;
  return (int)n;
}

/* --- number --- */

enum { NUMBER_MAX = 64, EXPONENT_MAX = 100000 };

typedef struct {
  char digits[NUMBER_MAX + 1]; /* sign, digits, point: what precedes the exponent */
  long exp10;
} decimal;

static bool take_number(decimal *out, cursor *c) {
  const char *start = c->p;
  size_t digits = 0;
  if (c->p != c->end && (*c->p == '-' || *c->p == '+')) c->p++;
  for (; c->p != c->end && is_digit(*c->p); c->p++) digits++;
  if (c->p != c->end && *c->p == '.') c->p++;
  for (; c->p != c->end && (is_digit(*c->p)); c->p++) digits++;
  size_t length = (size_t)(c->p - start);
  if (digits == 0 || (c->p != c->end && (*c->p == '.' || *c->p == ',' || *c->p == '_')))
    return fail(c, "'%.*s' is not a number", clip(start, (size_t)(c->end - start)), start);
  if (length > NUMBER_MAX) return fail(c, "the number '%.40s...' has too many digits", start);
  memcpy(out->digits, start, length);
  out->digits[length] = '\0';
  out->exp10 = 0;
  /* an 'e' that no digit follows begins a unit */
  const char *e = c->p;
  if (e == c->end || (*e != 'e' && *e != 'E')) return true;
  bool negative = ++e != c->end && *e == '-';
  if (e != c->end && (*e == '-' || *e == '+')) e++;
  if (e == c->end || !is_digit(*e)) return true;
  for (; e != c->end && is_digit(*e); e++)
    if (out->exp10 < EXPONENT_MAX) out->exp10 = out->exp10 * 10 + (*e - '0');
  if (negative) out->exp10 = -out->exp10;
  c->p = e;
  return true;
}

/* --- unit --- */

/* A unit read so far; powers of ten are kept apart, so that '3.35 TB/s' is the double nearest to 3.35e12. */
typedef struct {
  long exp10;
  double numerator, denominator;
  int dim[9];
} product;

static void dim_to_array(int out[9], fc_dim d) {
  const int a[9] = {d.byte, d.second, d.flop, d.joule, d.usd, d.token, d.device, d.request, d.user};
  memcpy(out, a, sizeof a);
}

static const unit *find_symbol(const char *text, size_t length) {
  for (size_t i = 0; i < N_UNITS; i++)
    if (strlen(units[i].symbol) == length && memcmp(units[i].symbol, text, length) == 0) return &units[i];
  return NULL;
}

static const unit *find_unit(const struct prefix **prefix, const char *text, size_t length) {
  *prefix = NULL;
  const unit *u = find_symbol(text, length);
  if (u) return u;
  for (size_t i = 0; i < N_PREFIXES; i++) {
    const struct prefix *p = &prefix_table[i];
    size_t n = strlen(p->text);
    if (length <= n || memcmp(text, p->text, n) != 0) continue;
    u = find_symbol(text + n, length - n);
    if (u && (p->with & 1u << u->accepts)) {
      *prefix = p;
      return u;
    }
  }
  return NULL;
}

static bool unknown_unit(const cursor *c, const char *text, size_t length) {
  char word[49] = "";
  const char *near = NULL;
  if (length < sizeof word) {
    memcpy(word, text, length);
    word[length] = '\0';
    for (size_t i = 0; i < N_USUAL && !near; i++)
      if (strcasecmp(word, usual[i]) == 0) near = usual[i];
    for (size_t i = 0; i < N_UNITS && !near; i++)
      if (strcasecmp(word, units[i].symbol) == 0) near = units[i].symbol;
    if (!near) near = fc_diag_nearest(word, usual, N_USUAL);
  }
  if (near) return fail(c, "unknown unit '%s'; did you mean '%s'?", word, near);
  return fail(c, "unknown unit '%.*s'", clip(text, length), text);
}

enum { DIM_MAX = 9, POWER_MAX = 9 };

/* The number of "tokens/91.25 d". */
static bool take_divisor(product *out, cursor *c) {
  decimal number = {0};
  if (!take_number(&number, c)) return false;
  char joined[NUMBER_MAX + 32];
  (void)snprintf(joined, sizeof joined, "%se%ld", number.digits, number.exp10);
  double v = strtod(joined, NULL);
  if (!(v > 0)) return fail(c, "a unit cannot be divided by '%s'", number.digits);
  out->denominator *= v;
  skip_spaces(c);
  return true;
}

/* term = [prefix] symbol ["^" integer] */
static bool take_term(product *out, cursor *c, bool divide) {
  const char *start = c->p;
  while (c->p != c->end && is_symbol(*c->p)) c->p++;
  size_t length = (size_t)(c->p - start);
  if (length == 0) return fail(c, "expected a unit at '%.*s'", clip(start, (size_t)(c->end - start)), start);
  const struct prefix *prefix = NULL;
  const unit *u = find_unit(&prefix, start, length);
  if (!u) return unknown_unit(c, start, length);
  int power = 1;
  if (c->p != c->end && *c->p == '^') {
    bool negative = ++c->p != c->end && *c->p == '-';
    if (negative) c->p++;
    if (c->p == c->end || !is_digit(*c->p) || *c->p == '0' || (c->p + 1 != c->end && is_digit(c->p[1])))
      return fail(c, "the power of '%.*s' is not an integer from 1 to 9", clip(start, length), start);
    power = *c->p++ - '0';
    if (negative) power = -power;
  }
  if (divide) power = -power;
  double multiplier = u->multiplier * (prefix ? prefix->multiplier : 1);
  double *side = power > 0 ? &out->numerator : &out->denominator;
  for (int i = 0; i < abs(power); i++) *side *= multiplier;
  out->exp10 += (long)power * (u->exp10 + (prefix ? prefix->exp10 : 0));
  int dim[9];
  dim_to_array(dim, u->dim);
  for (int i = 0; i < 9; i++) {
    out->dim[i] += power * dim[i];
    if (abs(out->dim[i]) > DIM_MAX) return fail(c, "the unit's powers are out of range");
  }
  return true;
}

/* unit = [term] { ("/" [number] | "*" | "-") term }; "-" binds tighter than "/": USD/GPU-h is USD/(GPU h). */
static bool take_unit(product *out, cursor *c) {
  bool divide = false;
  if (c->p != c->end && *c->p != '/' && !take_term(out, c, divide)) return false;
  for (;;) {
    skip_spaces(c);
    if (c->p == c->end) return true;
    char op = *c->p++;
    if (op != '/' && op != '*' && op != '-')
      return fail(c, "unexpected '%.*s' after the unit", clip(c->p - 1, (size_t)(c->end - c->p + 1)),
                  c->p - 1);
    if (op != '-') divide = op == '/';
    skip_spaces(c);
    if (op == '/' && c->p != c->end && is_digit(*c->p) && !take_divisor(out, c)) return false;
    if (!take_term(out, c, divide)) return false;
  }
}

/* A scale word: "14.8 T tokens", "350 k/s", "500 k"; but "80 B" and "80 B/s" are bytes. */
static void take_scale(product *out, cursor *c) {
  const char *start = c->p;
  while (c->p != c->end && is_symbol(*c->p)) c->p++;
  size_t length = (size_t)(c->p - start);
  const char *word_end = c->p;
  skip_spaces(c);
  bool unit_follows = c->p != c->end && c->p != word_end && is_symbol(*c->p);
  bool stands = unit_follows || c->p == c->end || *c->p == '/';
  bool is_byte = length == 1 && *start == 'B' && !unit_follows;
  for (size_t i = 0; stands && !is_byte && i < sizeof scales / sizeof *scales; i++)
    if (strlen(scales[i].text) == length && memcmp(scales[i].text, start, length) == 0) {
      out->exp10 += scales[i].exp10;
      return;
    }
  c->p = start;
}

bool fc_quantity_parse(double *value, fc_dim *dim, const char *text, size_t length, char *why) {
  cursor c = {text, text + length, why};
  while (c.end != c.p && c.end[-1] == ' ') c.end--;
  skip_spaces(&c);
  if (c.p == c.end) return fail(&c, "expected a number, found nothing");
  decimal number = {0};
  product scale = {.numerator = 1, .denominator = 1};
  if (!take_number(&number, &c)) return false;
  skip_spaces(&c);
  take_scale(&scale, &c);
  if (!take_unit(&scale, &c)) return false;

  char joined[NUMBER_MAX + 32];
  (void)snprintf(joined, sizeof joined, "%se%ld", number.digits, number.exp10 + scale.exp10);
  double v = strtod(joined, NULL) * scale.numerator / scale.denominator;
  if (!isfinite(v)) return fail(&c, "'%.*s' is too large", clip(text, length), text);
  *value = v;
  const int *d = scale.dim;
  *dim = (fc_dim){(int8_t)d[0], (int8_t)d[1], (int8_t)d[2], (int8_t)d[3], (int8_t)d[4],
                  (int8_t)d[5], (int8_t)d[6], (int8_t)d[7], (int8_t)d[8]};
  return true;
}

bool fc_dim_equal(fc_dim a, fc_dim b) {
  int x[9], y[9];
  dim_to_array(x, a);
  dim_to_array(y, b);
  return memcmp(x, y, sizeof x) == 0;
}

/* --- formatting --- */

typedef enum { PLAIN, PREFIXED, WORDED } ladder;

/* The units that readers expect; the first whose dimension fits and whose `from` the value reaches. */
static const struct {
  fc_dim dim;
  ladder ladder;
  double from;
  double unit; /* base units per printed unit */
  const char *text;
} readers[] = {
    {{.byte = 1}, PREFIXED, 0, 1, "B"},
    {{.byte = 1, .second = -1}, PREFIXED, 0, 1, "B/s"},
    {{.flop = 1}, PREFIXED, 0, 1, "FLOP"},
    {{.flop = 1, .second = -1}, PREFIXED, 0, 1, "FLOP/s"},
    {{.joule = 1}, PREFIXED, 3.6e6, 3600, "Wh"},
    {{.joule = 1}, PREFIXED, 0, 1, "J"},
    {{.joule = 1, .second = -1}, PREFIXED, 0, 1, "W"},
    {{.second = 1}, PLAIN, 2 * FC_YEAR_S, FC_YEAR_S, "yr"},
    {{.second = 1}, PLAIN, 2 * 86400.0, 86400, "d"},
    {{.second = 1}, PLAIN, 3600, 3600, "h"},
    {{.second = 1}, PLAIN, 60, 60, "min"},
    {{.second = 1}, PLAIN, 1, 1, "s"},
    {{.second = 1}, PLAIN, 1e-3, 1e-3, "ms"},
    {{.second = 1}, PLAIN, 1e-6, 1e-6, "us"},
    {{.second = 1}, PLAIN, 1e-30, 1e-9, "ns"},
    {{.second = 1}, PLAIN, 0, 1, "s"},
    {{.second = -1}, PLAIN, 1, 1, "/s"},
    {{.second = -1}, PLAIN, 1 / 86400.0, 1 / 86400.0, "/d"},
    {{.second = -1}, PLAIN, 0, 1 / FC_YEAR_S, "/yr"},
    {{.usd = 1}, WORDED, 0, 1, "USD"},
    {{.usd = 1, .second = -1}, WORDED, 0, 1 / 3600.0, "USD/h"},
    {{.usd = 1, .joule = -1}, PLAIN, 0, 1 / 3.6e6, "USD/kWh"},
    {{.usd = 1, .token = -1}, PLAIN, 0, 1e-6, "USD/Mtoken"},
    {{.token = 1}, WORDED, 0, 1, "tokens"},
    {{.token = 1, .second = -1}, WORDED, 0, 1, "tokens/s"},
    {{.device = 1}, WORDED, 0, 1, "devices"},
    {{.device = 1, .second = 1}, WORDED, 0, 3600, "device-h"},
    {{.request = 1}, WORDED, 0, 1, "requests"},
    {{.request = 1, .second = -1}, WORDED, 0, 1, "requests/s"},
    {{.user = 1}, WORDED, 0, 1, "users"},
};

static const char *const base_name[9] = {"bytes",  "s",       "FLOP",     "J",    "USD",
                                         "tokens", "devices", "requests", "users"};

typedef struct {
  char *out;
  size_t used;
} text_buffer;

static void append(text_buffer *b, const char *format, ...) FC_PRINTF(2, 3);

static void append(text_buffer *b, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int n = vsnprintf(b->out + b->used, FC_UNITS_TEXT - b->used, format, args);
  va_end(args);
  if (n > 0) b->used += (size_t)n;
  if (b->used >= FC_UNITS_TEXT) b->used = FC_UNITS_TEXT - 1;
}

void fc_dim_format(char out[FC_UNITS_TEXT], fc_dim dim) {
  int d[9];
  dim_to_array(d, dim);
  text_buffer b = {out, 0};
  out[0] = '\0';
  if (fc_dim_equal(dim, FC_DIM_WATTS)) {
    append(&b, "W");
    return;
  }
  static const int order[9] = {0, 2, 3, 4, 5, 6, 7, 8, 1}; /* seconds last: "devices-s", "USD/devices/s" */
  for (int k = 0; k < 9; k++) {
    int i = order[k];
    if (d[i] <= 0) continue;
    append(&b, "%s%s", b.used ? "-" : "", base_name[i]);
    if (d[i] > 1) append(&b, "^%d", d[i]);
  }
  for (int k = 0; k < 9; k++) {
    int i = order[k];
    if (d[i] >= 0) continue;
    append(&b, "/%s", base_name[i]);
    if (d[i] < -1) append(&b, "^%d", -d[i]);
  }
  if (b.used == 0) append(&b, "a plain number");
}

static void format_laddered(char out[FC_UNITS_TEXT], double v, ladder kind, const char *text) {
  static const char *const prefix[] = {"", "k", "M", "G", "T", "P", "E", "Z", "Y"};
  static const char *const word[] = {"", "", " M", " B", " T", " Q"};
  double scale = 1;
  size_t step = 0, top = kind == PREFIXED ? 8 : kind == WORDED ? 5 : 0;
  while (step < top && fabs(v) / scale >= 999.9999999995) {
    scale *= 1000;
    step++;
  }
  if (kind == WORDED && step == 1) scale = 1; /* thousands in figures */
  const char *space = *text == '/' ? "" : " ";
  if (kind == WORDED)
    (void)snprintf(out, FC_UNITS_TEXT, "%.12g%s%s%s", v / scale, word[step], space, text);
  else
    (void)snprintf(out, FC_UNITS_TEXT, "%.12g %s%s", v / scale, prefix[step], text);
}

void fc_quantity_format(char out[FC_UNITS_TEXT], double value, fc_dim dim) {
  if (fc_dim_equal(dim, FC_DIM_NONE)) {
    (void)snprintf(out, FC_UNITS_TEXT, "%.12g", value);
    return;
  }
  for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
    if (!fc_dim_equal(readers[i].dim, dim) || fabs(value) < readers[i].from * (1 - 1e-12)) continue;
    format_laddered(out, value / readers[i].unit, readers[i].ladder, readers[i].text);
    return;
  }
  char words[FC_UNITS_TEXT];
  fc_dim_format(words, dim);
  (void)snprintf(out, FC_UNITS_TEXT, "%.12g %.*s", value, FC_UNITS_TEXT - 32, words);
}
