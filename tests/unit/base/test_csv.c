/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/csv.h>

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Fields of a row are joined with '|', rows with '/'; each header name is a field of the first row. */
#define T(text) (text), sizeof(text) - 1

static const struct {
  const char *label, *text;
  size_t length;
  const char *rows;
} good[] = {
    {"plain", T("a,b\n1,2\n3,4\n"), "a|b/1|2/3|4"},
    {"no final newline", T("a,b\n1,2"), "a|b/1|2"},
    {"header alone", T("a,b\n"), "a|b"},
    {"header without newline", T("a"), "a"},
    {"CRLF", T("a,b\r\n1,2\r\n"), "a|b/1|2"},
    {"CRLF without the last LF", T("a,b\r\n1,2\r"), "a|b/1|2"},
    {"byte order mark",
     T("\xEF\xBB\xBF"
       "a,b\n1,2\n"),
     "a|b/1|2"},
    {"byte order mark and quote",
     T("\xEF\xBB\xBF"
       "\"a\",b\n1,2\n"),
     "a|b/1|2"},
    {"empty fields", T("a,b,c\n,,\n1,,3\n"), "a|b|c/||/1||3"},
    {"spaces are content", T("a,b\n 1 , 2\n"), "a|b/ 1 | 2"},
    {"blank lines", T("a,b\n\n1,2\n\r\n\n"), "a|b/1|2"},
    {"a blank line is a row of one column", T("a\n1\n\n2\n"), "a/1//2"},
    {"quoted", T("\"a\",\"b\"\n\"1\",2\n"), "a|b/1|2"},
    {"quoted comma", T("a,b\n\"1,5\",2\n"), "a|b/1,5|2"},
    {"quoted quote", T("a,b\n\"say \"\"hi\"\"\",2\n"), "a|b/say \"hi\"|2"},
    {"only quotes", T("a,b\n\"\"\"\",\"\"\n"), "a|b/\"|"},
    {"quoted newline", T("a,b\n\"1\n2\",3\n4,5\n"), "a|b/1\n2|3/4|5"},
    {"quoted CR", T("a,b\n\"1\r\n2\r\",3\r\n"), "a|b/1\r\n2\r|3"},
    {"quote at the end of the file", T("a,b\n1,\"2\""), "a|b/1|2"},
    {"quote then CRLF", T("a,b\r\n1,\"2\"\r\n3,4\r\n"), "a|b/1|2/3|4"},
    {"quote, bare, empty last", T("a,b,c\n\"x\",y,\n"), "a|b|c/x|y|"},
    {"UTF-8", T("a,b\n\xC3\xA9t\xC3\xA9,\xE6\x97\xA5\n"), "a|b/\xC3\xA9t\xC3\xA9|\xE6\x97\xA5"},
    {"unnamed column", T(",b\n1,2\n"), "|b/1|2"},
};

static const struct {
  const char *label, *text;
  size_t length, line, column, skipped;
  const char *message, *rows; /* rows NULL: refused when opened */
} bad[] = {
    {"empty", T(""), 0, 0, 0, "the file is empty", NULL},
    {"only a BOM", T("\xEF\xBB\xBF"), 0, 0, 0, "the file is empty", NULL},
    {"blank header", T("\na,b\n"), 1, 1, 0, "a header row is missing", NULL},
    {"duplicate column", T("a,b,a\n"), 1, 5, 0, "column 'a' is there twice", NULL},
    {"duplicate column, quoted", T("a,\"a\"\n"), 1, 3, 0, "column 'a' is there twice", NULL},
    {"header never closed", T("a,\"b\n1,2\n"), 1, 3, 0, "this quote is never closed", NULL},
    {"too few", T("a,b,c\n1,2\n3,4,5\n"), 2, 1, 1, "2 fields in this row; the header has 3", "a|b|c/3|4|5"},
    {"one", T("a,b,c\n1\n3,4,5\n"), 2, 1, 1, "1 field in this row; the header has 3", "a|b|c/3|4|5"},
    {"too many", T("a,b\n1,22,3,4\n5,6\n"), 2, 6, 1, "4 fields in this row; the header has 2", "a|b/5|6"},
    {"too many, UTF-8", T("a,b\n\xC3\xA9\xC3\xA9,22,3\n5,6\n"), 2, 7, 1,
     "3 fields in this row; the header has 2", "a|b/5|6"},
    {"too many, quoted", T("a,b\n\"1\",22,3\n5,6\n"), 2, 8, 1, "3 fields in this row; the header has 2",
     "a|b/5|6"},
    {"NUL", T("a,b\n1,x\0y\n5,6\n"), 2, 4, 1, "a NUL byte", "a|b/5|6"},
    {"NUL after UTF-8", T("a,b\n\xC3\xA9\xC3\xA9,\0\n5,6\n"), 2, 4, 1, "a NUL byte", "a|b/5|6"},
    {"NUL in quotes", T("a,b\n1,\"x\n\0\"\n5,6\n"), 3, 1, 1, "a NUL byte", "a|b/5|6"},
    {"NUL beside quotes", T("a,b\n\"1\",\0\n5,6\n"), 2, 5, 1, "a NUL byte", "a|b/5|6"},
    {"lone CR", T("a,b\n1\r,2\n5,6\n"), 2, 2, 1, "a carriage return inside a line", "a|b/5|6"},
    {"old Mac line ends", T("a,b\r1,2\r3,4"), 1, 4, 0, "a carriage return inside a line", NULL},
    {"CR beside quotes", T("a,b\n\"1\",2\r3\n5,6\n"), 2, 6, 1, "a carriage return inside a line", "a|b/5|6"},
    {"text after a quote", T("a,b\n\"1\"x,2\n5,6\n"), 2, 4, 1,
     "text after the closing quote; a comma is missing", "a|b/5|6"},
    {"text after a quote over lines", T("a,b\n\"1\n2\"x,2\n5,6\n"), 3, 3, 1,
     "text after the closing quote; a comma is missing", "a|b/5|6"},
    {"quote inside", T("a,b\n1,2\"3\n5,6\n"), 2, 4, 1, "a quote inside a field that does not begin with one",
     "a|b/5|6"},
    {"never closed", T("a,b\n1,2\n3,\"4\n5,6\n"), 3, 3, 1, "this quote is never closed", "a|b/1|2"},
    {"never closed after a doubled one", T("a,b\n3,\"4\"\"\n"), 2, 3, 1, "this quote is never closed", "a|b"},
    {"field after a quoted newline", T("a,b\n\"1\n2\",3,4\n5,6\n"), 3, 6, 1,
     "3 fields in this row; the header has 2", "a|b/5|6"},
};

static void join(char *out, size_t capacity, const char *text, size_t length, bool first) {
  size_t used = strlen(out);
  cr_assert_lt(used + length + 2, capacity);
  if (!first) out[used++] = '|';
  memcpy(out + used, text, length);
  out[used + length] = '\0';
}

static void read_rows(char *out, size_t capacity, fc_csv_reader *r, fc_diags *d) {
  out[0] = '\0';
  for (size_t c = 0; c < fc_csv_columns(r); c++)
    join(out, capacity, fc_csv_column_name(r, c), strlen(fc_csv_column_name(r, c)), c == 0);
  const fc_csv_field *row;
  while (fc_csv_next(r, &row, d) == FC_OK && row) {
    (void)strcat(out, "/");
    for (size_t c = 0; c < fc_csv_columns(r); c++) {
      cr_expect_eq(row[c].text[row[c].length], '\0');
      join(out, capacity, row[c].text, row[c].length, c == 0);
    }
  }
}

/* Exactly `length` bytes on the heap: reading past them is caught by the address sanitizer. */
static char *exact_copy(const char *text, size_t length) {
  char *copy = malloc(length ? length : 1);
  cr_assert(copy);
  memcpy(copy, text, length);
  return copy;
}

ParameterizedTestParameters(csv, reads) {
  static size_t index[sizeof good / sizeof *good];
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) index[i] = i;
  return cr_make_param_array(size_t, index, sizeof index / sizeof *index);
}

ParameterizedTest(size_t *index, csv, reads) {
  fc_diags d;
  fc_diags_init(&d);
  fc_csv_reader *r = NULL;
  char *bytes = exact_copy(good[*index].text, good[*index].length), rows[256];
  cr_assert_eq(fc_csv_open(&r, "t.csv", bytes, good[*index].length, &d), FC_OK, "%s", good[*index].label);
  read_rows(rows, sizeof rows, r, &d);
  cr_expect_str_eq(rows, good[*index].rows, "%s: got %s", good[*index].label, rows);
  cr_expect_eq(d.n, 0);
  cr_expect_eq(fc_csv_skipped(r), 0);
  fc_csv_free(r);
  free(bytes);
}

ParameterizedTestParameters(csv, rejects) {
  static size_t index[sizeof bad / sizeof *bad];
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) index[i] = i;
  return cr_make_param_array(size_t, index, sizeof index / sizeof *index);
}

ParameterizedTest(size_t *index, csv, rejects) {
  fc_diags d;
  fc_diags_init(&d);
  fc_csv_reader *r = NULL;
  char *bytes = exact_copy(bad[*index].text, bad[*index].length), rows[256];
  fc_status status = fc_csv_open(&r, "t.csv", bytes, bad[*index].length, &d);
  if (bad[*index].rows) {
    cr_assert_eq(status, FC_OK, "%s", bad[*index].label);
    read_rows(rows, sizeof rows, r, &d);
    cr_expect_str_eq(rows, bad[*index].rows, "%s: got %s", bad[*index].label, rows);
    cr_expect_eq(fc_csv_skipped(r), bad[*index].skipped);
  } else {
    cr_expect_eq(status, FC_E_INPUT, "%s", bad[*index].label);
    cr_expect_null(r);
  }
  cr_assert_eq(d.n_errors, 1, "%s: %zu errors", bad[*index].label, d.n_errors);
  cr_expect_str_eq(d.item[0].text, bad[*index].message, "%s: %s", bad[*index].label, d.item[0].text);
  cr_expect_str_eq(d.item[0].source, "t.csv");
  cr_expect_eq(d.item[0].at.line, bad[*index].line, "%s: line %zu", bad[*index].label, d.item[0].at.line);
  cr_expect_eq(d.item[0].at.column, bad[*index].column, "%s: column %zu", bad[*index].label,
               d.item[0].at.column);
  fc_csv_free(r);
  free(bytes);
}

Test(csv, fields_know_their_position) {
  static const char text[] = "a,b,c\n\xC3\xA9,\"x\ny\",3\n\"\xC3\xA9\",5,6\n";
  fc_csv_reader *r;
  const fc_csv_field *row;
  cr_assert_eq(fc_csv_open(&r, "t", text, sizeof text - 1, NULL), FC_OK);
  cr_assert_eq(fc_csv_next(r, &row, NULL), FC_OK);
  static const fc_pos first[] = {{2, 1}, {2, 3}, {3, 4}}, second[] = {{4, 1}, {4, 5}, {4, 7}};
  for (size_t i = 0; i < 3; i++)
    cr_expect(row[i].at.line == first[i].line && row[i].at.column == first[i].column);
  cr_assert_eq(fc_csv_next(r, &row, NULL), FC_OK);
  for (size_t i = 0; i < 3; i++)
    cr_expect(row[i].at.line == second[i].line && row[i].at.column == second[i].column, "%zu: %zu:%zu", i,
              row[i].at.line, row[i].at.column);
  cr_expect_eq(fc_csv_column(r, "c"), 2);
  cr_expect_eq(fc_csv_column(r, "d"), -1);
  fc_csv_free(r);
}

Test(csv, too_many_columns_are_refused) {
  static char text[2 * (FC_CSV_COLUMNS_MAX + 1) * 5];
  size_t used = 0;
  for (int i = 0; i <= FC_CSV_COLUMNS_MAX; i++)
    used += (size_t)sprintf(text + used, "%sc%d", i ? "," : "", i);
  fc_diags d;
  fc_diags_init(&d);
  fc_csv_reader *r;
  cr_assert_eq(fc_csv_open(&r, "t", text, used, &d), FC_E_INPUT);
  cr_expect_str_eq(d.item[0].text, "more than 4096 columns");
}

Test(csv, a_long_row_of_quotes_takes_linear_time, .timeout = 10) {
  size_t n = 4 << 20, used = 0;
  char *text = malloc(n + 16);
  text[used++] = 'a';
  text[used++] = '\n';
  while (used < n) { /* a million empty quoted fields, then as many quotes that escape */
    memcpy(text + used, used < n / 2 ? "\"\"," : "\"\n\"", 3);
    used += 3;
  }
  fc_csv_reader *r;
  const fc_csv_field *row;
  cr_assert_eq(fc_csv_open(&r, "t", text, used, NULL), FC_OK);
  do cr_assert_eq(fc_csv_next(r, &row, NULL), FC_OK);
  while (row);
  cr_expect_gt(fc_csv_skipped(r), 0);
  fc_csv_free(r);
  free(text);
}

/* --- numbers --- */

static bool parse(double *out, const char *text) {
  fc_csv_field field = {.text = text, .length = strlen(text)};
  return fc_csv_number(out, &field);
}

Test(csv, numbers_are_whole_finite_decimals) {
  static const struct {
    const char *text;
    double value;
  } yes[] = {{"0", 0},
             {"1.5", 1.5},
             {"-2", -2},
             {"+3", 3},
             {".5", 0.5},
             {"5.", 5},
             {"1e3", 1000},
             {"1E-3", 0.001},
             {"1.e2", 100},
             {"1e-400", 0},
             {"0012", 12},
             {"1e308", 1e308},
             {"4.9e-324", 4.9e-324}};
  static const char *const no[] = {"",  " 1",    "1 ",    "1,5", "0x10", "inf", "nan",   "1e",        "e5",
                                   ".", "1e400", "1.2.3", "--1", "1e+",  "+",   "1_000", "\302\2401", "1f"};
  double v;
  for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
    cr_expect(parse(&v, yes[i].text), "%s", yes[i].text);
    cr_expect(v == yes[i].value, "%s gave %g", yes[i].text, v);
  }
  for (size_t i = 0; i < sizeof no / sizeof *no; i++) cr_expect_not(parse(&v, no[i]), "%s", no[i]);
  char longest[600];
  memset(longest, '0', sizeof longest);
  longest[511] = '\0';
  cr_expect(parse(&v, longest));
  longest[511] = '0';
  longest[512] = '\0';
  cr_expect_not(parse(&v, longest));
}

static const struct {
  double value;
  const char *text;
} printed[] = {{0, "0"},
               {-0.0, "0"},
               {1, "1"},
               {-17, "-17"},
               {0.1, "0.1"},
               {1.0 / 3, "0.3333333333333333"},
               {0.1 + 0.2, "0.30000000000000004"},
               {1e15, "1e+15"},
               {999999999999999, "999999999999999"},
               {1e-7, "1e-07"},
               {5e-324, "4.94065645841247e-324"},
               {1e300, "1e+300"},
               {2.5, "2.5"},
               {1234567.875, "1234567.875"},
               {9007199254740993.0, "9007199254740992"}};

Test(csv, numbers_print_short) {
  char text[FC_CSV_NUMBER_TEXT];
  for (size_t i = 0; i < sizeof printed / sizeof *printed; i++) {
    fc_csv_number_format(text, printed[i].value);
    cr_expect_str_eq(text, printed[i].text, "%s, wanted %s", text, printed[i].text);
  }
}

static uint64_t mix(uint64_t x) { /* splitmix64 */
  x += UINT64_C(0x9E3779B97F4A7C15);
  x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
  return x ^ (x >> 31);
}

static void expect_round_trips(void) {
  for (uint64_t i = 0; i < 100000; i++) {
    uint64_t bits = mix(i);
    double value, back;
    memcpy(&value, &bits, sizeof value);
    if (!isfinite(value)) continue;
    char text[FC_CSV_NUMBER_TEXT];
    fc_csv_number_format(text, value);
    cr_assert(parse(&back, text) && back == value, "%s", text);
  }
}

Test(csv, numbers_read_back) {
  expect_round_trips();
}

/* What the header promises, digit by digit. */
static void expect_as_printed(double value) {
  char text[FC_CSV_NUMBER_TEXT], want[64];
  for (int precision = 15; precision <= 17; precision++) {
    (void)snprintf(want, sizeof want, "%.*g", precision, value);
    if (!(strtod(want, NULL) < value) && !(strtod(want, NULL) > value)) break;
  }
  size_t length = fc_csv_number_format(text, value);
  cr_assert_str_eq(text, want);
  cr_assert_eq(length, strlen(want));
}

/* Seconds of whole ns, ratios, powers of two and of ten with their neighbours, halves of the last digit. */
Test(csv, numbers_are_the_shortest_that_printf_has) {
  for (uint64_t i = 1; i < 30000; i++) {
    double u = (double)(mix(i) >> 11) * 0x1p-53, scale = pow(10, (double)(mix(i + 7) % 20) - 4);
    expect_as_printed((double)(int64_t)(mix(i) >> (1 + i % 60)) / 1e9 + 1e-4);
    expect_as_printed((u + 0.1) * scale);
    expect_as_printed(-(u + 0.1) / (double)i);
    double half = (double)(mix(i) >> (12 + i % 30)) * ldexp(1, -(int)(i % 45));
    if (half < 1e15 && half > trunc(half)) expect_as_printed(half);
  }
  for (int e = -13; e < 49; e++)
    for (double v = ldexp(1, e), k = 0; k < 12; k++, v = nextafter(v, k < 6 ? 0 : 1e300))
      if (v > trunc(v)) expect_as_printed(v);
  for (int e = -4; e < 15; e++)
    for (double v = pow(10, e), k = 0; k < 40; k++, v = nextafter(v, k < 20 ? 0 : 1e300))
      if (v > trunc(v)) expect_as_printed(v);
}

Test(csv, whole_numbers_print_as_they_are) {
  static const long long values[] = {0, 7, -1, 10, 1234567890, INT64_MAX, INT64_MIN};
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    char text[FC_CSV_NUMBER_TEXT], want[FC_CSV_NUMBER_TEXT];
    (void)snprintf(want, sizeof want, "%lld", values[i]);
    cr_assert_eq(fc_csv_int_format(text, values[i]), strlen(want));
    cr_assert_str_eq(text, want);
  }
}

/* A decimal comma, where the machine has such a locale. */
Test(csv, numbers_ignore_the_locale) {
  static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "ps_AF"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (setlocale(LC_ALL, names[i])) break;
  expect_round_trips();
  char text[FC_CSV_NUMBER_TEXT];
  fc_csv_number_format(text, 2.5);
  cr_expect_str_eq(text, "2.5");
}

/* --- writing --- */

Test(csv, writes_what_it_reads) {
  char path[] = "/tmp/fc-test-csv-XXXXXX";
  cr_assert_geq(close(mkstemp(path)), 0);
  static const char *const texts[] = {"plain", "a,b",    "say \"hi\"", "two\nlines",
                                      "",      "cr\rlf", "\"",         "\xC3\xA9"};
  enum { N = sizeof texts / sizeof *texts };
  fc_file *f;
  cr_assert_eq(fc_file_create(&f, path), FC_OK);
  for (int i = 0; i < N; i++) {
    char name[16];
    (void)snprintf(name, sizeof name, "c%d", i);
    fc_csv_write_text(f, name);
  }
  fc_csv_write_text(f, "number");
  fc_csv_write_text(f, "int");
  fc_csv_end_row(f);
  for (int i = 0; i < N; i++) fc_csv_write_text(f, texts[i]);
  fc_csv_write_number(f, 0.1);
  fc_csv_write_int(f, -5);
  fc_csv_end_row(f);
  fc_csv_write_text(f, ""); /* an empty first field still takes its comma */
  for (int i = 0; i < N + 1; i++) fc_csv_write_text(f, "x");
  fc_csv_end_row(f);
  cr_assert_eq(fc_file_commit(f), FC_OK);

  char *bytes;
  size_t length;
  cr_assert_eq(fc_file_read(&bytes, &length, path, 1 << 20), FC_OK);
  cr_expect_eq(unlink(path), 0);
  fc_csv_reader *r;
  const fc_csv_field *row;
  cr_assert_eq(fc_csv_open(&r, "t", bytes, length, NULL), FC_OK);
  cr_assert_eq(fc_csv_next(r, &row, NULL), FC_OK);
  cr_assert(row);
  for (int i = 0; i < N; i++) cr_expect_str_eq(row[i].text, texts[i]);
  cr_expect_str_eq(row[N].text, "0.1");
  cr_expect_str_eq(row[N + 1].text, "-5");
  cr_assert_eq(fc_csv_next(r, &row, NULL), FC_OK);
  cr_assert(row);
  cr_expect_str_eq(row[0].text, "");
  cr_expect_eq(fc_csv_skipped(r), 0);
  fc_csv_free(r);
  free(bytes);
}
