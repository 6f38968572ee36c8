/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/workload/trace.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <zlib.h>

#define AZURE "TIMESTAMP,ContextTokens,GeneratedTokens\n"
#define OWN   "arrival_s,input_tokens,output_tokens\n"

static fc_trace *parse(const char *text, fc_diags *d) {
  fc_trace *t;
  fc_diags_init(d);
  fc_status status = fc_trace_parse(&t, "t", text, strlen(text), d);
  cr_assert_eq(status == FC_OK, t != NULL);
  cr_assert(status == FC_OK || status == FC_E_INPUT);
  cr_assert_eq(status == FC_E_INPUT, d->n_errors > 0);
  return t;
}

static fc_trace *good(const char *text) {
  fc_diags d;
  fc_trace *t = parse(text, &d);
  cr_assert(t && d.n == 0, "%s", d.n ? d.item[0].text : "");
  return t;
}

static void expect_row(const fc_trace *t, size_t i, fc_time at, uint32_t input, uint32_t output) {
  fc_trace_row row = fc_trace_at(t, i);
  cr_assert(row.arrival == at && row.input_tokens == input && row.output_tokens == output,
            "row %zu: %lld ns, %u, %u", i, (long long)row.arrival, row.input_tokens, row.output_tokens);
}

/* --- good files --- */

Test(trace, azure_counts_from_its_first_request) {
  fc_trace *t = good(AZURE "2023-11-16 18:15:46.6805900,374,44\n"
                           "2023-11-16 18:15:50.9951690,396,109\n"
                           "2023-11-17 00:00:00,1,0\n");
  const fc_trace_info *a = fc_trace_about(t);
  cr_assert(a->format == FC_TRACE_AZURE && a->requests == 3 && a->malformed == 0 && a->block_tokens == 0);
  fc_time start;
  cr_assert(fc_time_parse(&start, "2023-11-16T18:15:46", 19));
  cr_assert_eq(a->start, start + 680590000);
  expect_row(t, 0, 0, 374, 44);
  expect_row(t, 1, INT64_C(4314579000), 396, 109);
  expect_row(t, 2, a->span, 1, 0);
  cr_assert_eq(a->start + a->span, start + (5 * 3600 + 44 * 60 + 14) * FC_SECOND);
  fc_trace_free(t);
}

Test(trace, azure_of_2024_states_its_zone) {
  fc_trace *t = good(AZURE "2024-05-12 00:00:00.001163+00:00,2162,5\n"
                           "2024-05-12T00:00:01Z,3,4\n"
                           "2024-05-12 02:00:02.5+02:00,5,6\n"
                           "2024-05-11 18:30:03-05:30,7,8\n");
  expect_row(t, 1, 998837000, 3, 4);
  expect_row(t, 2, 2498837000, 5, 6);
  expect_row(t, 3, 2998837000, 7, 8);
  fc_trace_free(t);
}

Test(trace, own_format_is_exact_to_a_nanosecond) {
  fc_trace *t = good("\xEF\xBB\xBFoutput_tokens, arrival_s ,input_tokens\r\n"
                     "64,0.340020096,1211\r\n"
                     "\r\n"
                     "0,0.3480000005,\"1\"\r\n"
                     "7,1e2,374.0\n"
                     " 8 , 3000000000.999999999 , 2 ");
  cr_assert_eq(fc_trace_about(t)->format, FC_TRACE_OWN);
  expect_row(t, 0, 340020096, 1211, 64);
  expect_row(t, 1, 348000001, 1, 0);
  expect_row(t, 2, 100 * FC_SECOND, 374, 7);
  expect_row(t, 3, INT64_C(3000000000999999999), 2, 8);
  fc_trace_free(t);
}

Test(trace, own_format_names_groups_and_classes) {
  fc_trace *t = good("arrival_s,input_tokens,output_tokens,prefix_group,prefix_tokens,class\n"
                     "0,10,1,system,8,chat\n"
                     "1,20,2,,,\n"
                     "2,30,3,\"a, \"\"b\"\"\",,batch\n"
                     "3,40,4,system,,chat\n");
  const fc_trace_info *a = fc_trace_about(t);
  cr_assert(a->groups == 2 && a->classes == 2);
  cr_assert_str_eq(fc_trace_group_name(t, 0), "system");
  cr_assert_str_eq(fc_trace_group_name(t, 1), "a, \"b\"");
  cr_assert_str_eq(fc_trace_class_name(t, 1), "batch");
  cr_assert(fc_trace_group_tokens(t, 0) == 8 && fc_trace_group_tokens(t, 1) == 0);
  static const uint32_t group[] = {0, UINT32_MAX, 1, 0}, class[] = {0, FC_TRACE_NONE, 1, 0};
  for (size_t i = 0; i < 4; i++) {
    fc_trace_row row = fc_trace_at(t, i);
    cr_assert(row.group == group[i] && row.slo_class == class[i] && row.n_blocks == 0, "row %zu", i);
  }
  fc_trace_free(t);
}

Test(trace, mooncake_hashes_name_whole_prefixes) {
  fc_trace *t =
      good("{\"timestamp\": 0, \"input_length\": 1100, \"output_length\": 500, \"hash_ids\": [0, 1, 2]}\n"
           "\n"
           "{\"hash_ids\": [0, 1, 7, 8], \"note\": {\"a\": [1, \"]\\\"\"]}, \"output_length\": 5, "
           "\"input_length\": 2048, \"timestamp\": 27482.5}\n"
           " {\"timestamp\":30000,\"input_length\":1024,\"output_length\":0,\"hash_ids\":[1,0]}\r\n"
           "{\"timestamp\": 30001, \"input_length\": 3, \"output_length\": 4}");
  const fc_trace_info *a = fc_trace_about(t);
  cr_assert(a->format == FC_TRACE_MOONCAKE && a->requests == 4 && a->block_tokens == 512 &&
            a->blocks == 2 + 4 + 2);
  expect_row(t, 1, INT64_C(27482500000), 2048, 5);
  fc_trace_row x = fc_trace_at(t, 0), y = fc_trace_at(t, 1), z = fc_trace_at(t, 2), none = fc_trace_at(t, 3);
  cr_assert(x.n_blocks == 2 && y.n_blocks == 4 && z.n_blocks == 2 && none.n_blocks == 0);
  cr_assert(x.block[0] == y.block[0] && x.block[1] == y.block[1]);
  cr_assert(z.block[0] != x.block[0] && z.block[0] != x.block[1], "block 1 in first place is another prefix");
  cr_assert(z.block[1] != x.block[1] && z.block[1] != x.block[0]);
  fc_trace_free(t);
}

Test(trace, rows_out_of_order_are_sorted_stably_and_noted) {
  fc_diags d;
  fc_trace *t = parse(OWN "5,1,1\n3,2,2\n5,3,3\n3,4,4\n1,5,5\n9,6,6\n9,7,7\n", &d);
  cr_assert(d.n == 1 && d.n_errors == 0 && d.item[0].severity == FC_NOTE);
  cr_assert_eq(d.item[0].at.line, 3);
  cr_assert_str_eq(d.item[0].text, "3 rows are earlier than the row before; sorted by time");
  static const uint32_t order[] = {5, 2, 4, 1, 3, 6, 7};
  for (size_t i = 0; i < 7; i++) cr_assert_eq(fc_trace_at(t, i).input_tokens, order[i], "row %zu", i);
  cr_assert_eq(fc_trace_about(t)->out_of_order, 3);
  cr_assert_eq(fc_trace_about(t)->span, 8 * FC_SECOND);
  fc_trace_free(t);
}

/* --- malformed rows --- */

static const struct bad_row {
  const char *text;
  size_t line, column;
  const char *why;
} bad_rows[] = {
    {OWN "0,1,1\n1,2\n", 3, 1, "2 fields in this row; the header has 3"},
    {OWN "0,1,1\n1,2,3,4\n", 3, 7, "4 fields in this row; the header has 3"},
    {OWN "0,1,1\n\n\nx,2,3\n", 5, 1, "arrival_s 'x' is not a time"},
    {OWN "0,1,1\n-1,2,3\n", 3, 1, "arrival_s '-1' is before time 0"},
    {OWN "0,1,1\n5e9,2,3\n", 3, 1, "arrival_s '5e9' is not a time"},
    {OWN "0,1,1\n5000000000,2,3\n", 3, 1, "arrival_s '5000000000' is too late: more than 126 years"},
    {OWN "0,1,1\nnan,2,3\n", 3, 1, "arrival_s 'nan' is not a time"},
    {OWN "0,1,1\n,2,3\n", 3, 1, "arrival_s is empty"},
    {OWN "0,1,1\n1,,3\n", 3, 3, "input_tokens is empty"},
    {OWN "0,1,1\n1,0,3\n", 3, 3, "input_tokens '0' is less than one token"},
    {OWN "0,1,1\n1,2.5,3\n", 3, 3, "input_tokens '2.5' is not a whole number of tokens"},
    {OWN "0,1,1\n1,99999999999999999999,3\n", 3, 3,
     "input_tokens '99999999999999999999' is more than 1073741824 tokens"},
    {OWN "0,1,1\n1, 2,-3\n", 3, 6, "output_tokens '-3' is not a whole number of tokens"},
    {OWN "0,1,1\n1,2,\"3\n", 3, 5, "a quote is never closed, or text follows it"},
    {OWN "0,1,1\n1,\"2\"x,3\n", 3, 6, "a quote is never closed, or text follows it"},
    {OWN "0,1,1\n1,2,\xC3\xA4\xC3\xB6 and a good deal more than that\n", 3, 5,
     "output_tokens '???? and a good deal mor...' is not a whole number of tokens"},
    {"arrival_s,input_tokens,output_tokens,prefix_group,prefix_tokens\n0,9,1,\xC3\xA4,5\n1,9,3,\xC3\xA4,6\n",
     3, 9, "prefix_tokens of group '\xC3\xA4' was 5, here it is 6"},
    {"arrival_s,input_tokens,output_tokens,prefix_group,prefix_tokens\n0,9,1,a,5\n1,9,3,,6\n", 3, 8,
     "prefix_tokens needs a prefix_group"},
    {"arrival_s,input_tokens,output_tokens,prefix_group,prefix_tokens\n0,9,1,a,5\n1,9,3,a,5x\n", 3, 9,
     "prefix_tokens '5x' is not a whole number of tokens"},
    {AZURE "2023-11-16 18:15:46,1,1\n2023-02-29 18:15:46,2,3\n", 3, 1,
     "TIMESTAMP '2023-02-29 18:15:46' is not a time like 2023-11-16 18:17:03.97996"},
    {AZURE "2023-11-16 18:15:46,1,1\n2023-11-16 24:15:46,2,3\n", 3, 1,
     "TIMESTAMP '2023-11-16 24:15:46' is not a time like 2023-11-16 18:17:03.97996"},
    {AZURE "2023-11-16 18:15:46,1,1\n1969-11-16 23:15:46,2,3\n", 3, 1,
     "TIMESTAMP '1969-11-16 23:15:46' is before 1970"},
    {AZURE "2023-11-16 18:15:46,1,1\n17,2,3\n", 3, 1,
     "TIMESTAMP '17' is not a time like 2023-11-16 18:17:03.97996"},
#define FINE "{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 1, \"hash_ids\": []}\n"
    {FINE "{\"timestamp\": 0, \"input_length\": 1}\n", 2, 1, "'output_length' is missing"},
    {FINE "{\"timestamp\": 0, \"input_lenght\": 1, \"output_length\": 1}\n", 2, 19,
     "unknown key 'input_lenght'; did you mean 'input_length'?"},
    {FINE "{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 1, \"hash_id\": []}\n", 2, 58,
     "unknown key 'hash_id'; did you mean 'hash_ids'?"},
    {FINE "{\"timestamp\": 0, \"input_length\": 0, \"output_length\": 1}\n", 2, 34,
     "input_length '0' is less than one token"},
    {FINE "{\"timestamp\": 0, \"timestamp\": 0}\n", 2, 19, "this key is there twice"},
    {FINE "{\"timestamp\": 0, \"input_length\": 513, \"output_length\": 1, \"hash_ids\": [1, 2, 3]}\n", 2, 71,
     "3 hash_ids; 513 tokens fill 2 blocks"},
    {FINE "{\"timestamp\": 0, \"input_length\": 513, \"output_length\": 1, \"hash_ids\": [1, -2]}\n", 2, 75,
     "a hash id is a whole number below 2^64"},
    {FINE "{\"timestamp\": 0, \"hash_ids\": [1, ]}\n", 2, 34, "a hash id is missing here"},
    {FINE "{\"timestamp\": 0, \"hash_ids\": 1}\n", 2, 30, "'[' is missing here"},
    {FINE "{\"timestamp\": 0, \"hash_ids\": [1\n", 2, 32, "']' is missing here"},
    {FINE "{\"timestamp\": 0} x\n", 2, 18, "text after the object"},
    {FINE "{\"timestamp\n", 2, 2, "this quote is never closed"},
    {FINE "{\"x\": [}\n", 2, 8, "closes what was not opened"},
    {FINE "{\"x\": [1\n", 2, 9, "the line ends inside a value"},
    {FINE "{\"x\": }\n", 2, 7, "a value is missing here"},
    {FINE "{\"x\": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n", 2, 39, "nested more than 32 deep"},
    {FINE "arrival_s,input_tokens,output_tokens\n", 2, 1, "'{' is missing here"},
};

ParameterizedTestParameters(trace, bad_rows_are_told_and_skipped) {
  enum { N = sizeof bad_rows / sizeof *bad_rows };
  static size_t i[N];
  for (size_t k = 0; k < N; k++) i[k] = k;
  return cr_make_param_array(size_t, i, N);
}

ParameterizedTest(const size_t *i, trace, bad_rows_are_told_and_skipped) {
  const struct bad_row *c = &bad_rows[*i];
  fc_diags d;
  fc_trace *t = parse(c->text, &d);
  cr_assert(t && d.n == 1 && d.item[0].severity == FC_WARNING, "%s", c->text);
  cr_assert_str_eq(d.item[0].source, "t");
  char text[256];
  (void)snprintf(text, sizeof text, "row skipped: %s", c->why);
  cr_assert_str_eq(d.item[0].text, text);
  cr_assert(d.item[0].at.line == c->line && d.item[0].at.column == c->column, "%s: %zu:%zu", text,
            d.item[0].at.line, d.item[0].at.column);
  cr_assert(fc_trace_about(t)->malformed == 1 && fc_trace_about(t)->requests == 1);
  fc_trace_free(t);
}

Test(trace, ten_bad_rows_are_told_and_then_how_many_more) {
  static char text[4096];
  size_t n = (size_t)snprintf(text, sizeof text, "%s", OWN);
  for (int i = 0; i < 50; i++)
    n += (size_t)snprintf(text + n, sizeof text - n, i % 2 ? "%d,oops,3\n" : "%d,2,3\n", i);
  fc_diags d;
  fc_trace *t = parse(text, &d);
  cr_assert(t && d.n == FC_TRACE_TOLD + 1 && d.n_errors == 0 && d.dropped == 0);
  for (size_t i = 0; i < FC_TRACE_TOLD; i++) cr_assert_eq(d.item[i].at.line, 3 + 2 * i);
  cr_assert_str_eq(d.item[FC_TRACE_TOLD].text, "15 more malformed rows were skipped, 25 in all");
  cr_assert(fc_trace_about(t)->malformed == 25 && fc_trace_about(t)->requests == 25);
  fc_trace_free(t);
}

/* Names outgrow their tables; one more class than a row can name is refused. */
Test(trace, many_names_are_kept_apart) {
  enum { NAMES = FC_TRACE_NONE + 1, ROOM = NAMES * 48 };
  char *text = malloc(ROOM), name[32];
  cr_assert_not_null(text);
  size_t n = (size_t)snprintf(text, ROOM, "arrival_s,input_tokens,output_tokens,prefix_group,class\n");
  for (int i = 0; i < NAMES; i++)
    n += (size_t)snprintf(text + n, ROOM - n, "%d,1,1,g%d,class %d\n", i, i % 1000, i);
  fc_diags d;
  fc_trace *t = parse(text, &d);
  cr_assert(t && d.n == 1 && d.item[0].at.line == NAMES + 1);
  cr_assert_str_eq(d.item[0].text, "row skipped: class is one too many: there are 65535 others");
  cr_assert_eq(fc_trace_about(t)->groups, 1000);
  for (size_t i = 0; i < NAMES - 1; i++) {
    fc_trace_row row = fc_trace_at(t, i);
    (void)snprintf(name, sizeof name, "class %zu", i);
    cr_assert(row.group == i % 1000 && strcmp(fc_trace_class_name(t, row.slo_class), name) == 0, "row %zu",
              i);
  }
  fc_trace_free(t);
  free(text);
}

Test(trace, a_line_without_end_is_one_bad_row) {
  static const size_t lengths[] = {FC_TRACE_LINE_MAX - 5, FC_TRACE_LINE_MAX - 4, 3 * FC_TRACE_LINE_MAX};
  char *text = malloc(4 * FC_TRACE_LINE_MAX);
  cr_assert_not_null(text);
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    size_t n = (size_t)sprintf(text, OWN "1,");
    memset(text + n, '0', lengths[i]);
    n += lengths[i];
    n += (size_t)sprintf(text + n, "2,3\n5,6,7\nx\n");
    fc_diags d;
    fc_diags_init(&d);
    fc_trace *t;
    cr_assert_eq(fc_trace_parse(&t, "t", text, n, &d), FC_OK);
    bool fits = lengths[i] + 5 <= FC_TRACE_LINE_MAX;
    cr_assert_eq(fc_trace_about(t)->requests, fits ? 2 : 1);
    cr_assert_eq(fc_trace_about(t)->malformed, fits ? 1 : 2);
    cr_assert_eq(d.item[0].at.line, fits ? 4 : 2);
    cr_assert_eq(d.item[d.n - 1].at.line, 4, "the lines after it are still counted");
    expect_row(t, fits ? 1 : 0, 5 * FC_SECOND, 6, 7);
    fc_trace_free(t);
  }
  free(text);
}

/* --- files that are refused --- */

static const struct bad_file {
  const char *text;
  size_t line, column;
  const char *why;
} bad_files[] = {
    {"", 0, 0, "the file is empty"},
    {"\n \n\xEF\xBB\xBF\n", 3, 1,
     "this is no trace: its first line is neither a JSON object nor a header with 'arrival_s' or "
     "'TIMESTAMP'"},
    {"\n \n", 0, 0, "the file is empty"},
    {OWN, 0, 0, "there is no request in it"},
    {"hello\n1,2,3\n", 1, 1,
     "this is no trace: its first line is neither a JSON object nor a header with 'arrival_s' or "
     "'TIMESTAMP'"},
    {"arrival_s,input_token,output_tokens\n1,2,3\n", 1, 11,
     "unknown column 'input_token'; did you mean 'input_tokens'?"},
    {"TIMESTAMP,ContextToken,GeneratedTokens\n", 1, 11,
     "unknown column 'ContextToken'; did you mean 'ContextTokens'?"},
    {OWN "\"x\n", 0, 0, "not one of its 1 rows can be read"},
    {"arrival_s,input_tokens\n", 1, 1, "column 'output_tokens' is missing"},
    {"arrival_s,input_tokens,output_tokens,arrival_s\n1,2,3,4\n", 1, 38, "column 'arrival_s' is there twice"},
    {"\narrival_s,input_tokens,output_tokens,prefix_grup\n1,2,3,4\n", 2, 38,
     "unknown column 'prefix_grup'; did you mean 'prefix_group'?"},
    {"arrival_s,\"input_tokens\n", 1, 11, "a quote is never closed, or text follows it"},
    {"\narrival_s,b,c,d,e,f,g,h,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,\n", 2, 1,
     "more than 64 columns"},
    {"{}\n{}\n", 0, 0, "not one of its 2 rows can be read"},
};

ParameterizedTestParameters(trace, bad_files_are_refused) {
  enum { N = sizeof bad_files / sizeof *bad_files };
  static size_t i[N];
  for (size_t k = 0; k < N; k++) i[k] = k;
  return cr_make_param_array(size_t, i, N);
}

ParameterizedTest(const size_t *i, trace, bad_files_are_refused) {
  const struct bad_file *c = &bad_files[*i];
  fc_diags d;
  cr_assert_null(parse(c->text, &d));
  bool told = false;
  for (size_t k = 0; k < d.n; k++)
    told = told || (d.item[k].severity == FC_ERROR && strcmp(d.item[k].text, c->why) == 0 &&
                    d.item[k].at.line == c->line && d.item[k].at.column == c->column);
  cr_assert(told, "%s: %zu:%zu: %s", c->why, d.item[0].at.line, d.item[0].at.column, d.item[0].text);
  fc_trace *t;
  cr_assert_eq(fc_trace_parse(&t, "t", c->text, strlen(c->text), NULL), FC_E_INPUT, "also told to nobody");
}

Test(trace, a_column_that_is_not_ours_is_told) {
  fc_diags d;
  fc_trace *t = parse("arrival_s,ttft_ms,input_tokens,output_tokens\n1,2,3,4\n", &d);
  cr_assert(t && d.n == 1 && d.item[0].severity == FC_WARNING && d.item[0].at.column == 11);
  cr_assert_str_eq(d.item[0].text, "column 'ttft_ms' is not used");
  expect_row(t, 0, FC_SECOND, 3, 4);
  fc_trace_free(t);
}

Test(trace, a_missing_file_says_why) {
  fc_trace *t;
  fc_diags d;
  fc_diags_init(&d);
  cr_assert_eq(fc_trace_read(&t, "no/such/trace.csv", &d), FC_E_IO);
  cr_assert(errno == ENOENT && !t && d.n == 0);
  cr_assert_eq(fc_trace_read(&t, "tests", &d), FC_E_IO);
  cr_assert_eq(errno, EISDIR);
}

/* --- gzip --- */

static size_t pack(unsigned char *out, size_t room, const char *text, size_t length) {
  z_stream z = {0};
  cr_assert_eq(deflateInit2(&z, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  z.next_in = (unsigned char *)(uintptr_t)text;
  z.avail_in = (uInt)length;
  z.next_out = out;
  z.avail_out = (uInt)room;
  cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
  (void)deflateEnd(&z);
  return room - z.avail_out;
}

enum { LONG = 300000 /* rows: several buffers of text */ };

static char *long_text(size_t *length) {
  char *text = malloc((size_t)LONG * 32);
  cr_assert_not_null(text);
  size_t n = (size_t)sprintf(text, "%s", OWN);
  for (int i = 0; i < LONG; i++) n += (size_t)sprintf(text + n, "%d.5,%d,%d\n", i, i % 4096 + 1, i % 7);
  *length = n;
  return text;
}

static void expect_long(const fc_trace *t) {
  cr_assert_eq(fc_trace_about(t)->requests, LONG);
  for (int i = 0; i < LONG; i += 997)
    expect_row(t, (size_t)i, i * FC_SECOND + FC_SECOND / 2, (uint32_t)(i % 4096 + 1), (uint32_t)(i % 7));
}

Test(trace, gzip_of_several_members_is_one_text) {
  size_t length;
  char *text = long_text(&length);
  unsigned char *packed = malloc(length);
  cr_assert_not_null(packed);
  size_t half = length / 2 + 3, n = pack(packed, length, text, half); /* inside a row */
  n += pack(packed + n, length - n, text + half, length - half);
  fc_trace *t;
  cr_assert_eq(fc_trace_parse(&t, "t", packed, n, NULL), FC_OK);
  expect_long(t);
  fc_trace_free(t);
  char path[] = "/tmp/fc_trace_XXXXXX";
  int file = mkstemp(path);
  cr_assert(file >= 0 && write(file, packed, n) == (ssize_t)n && close(file) == 0);
  cr_assert_eq(fc_trace_read(&t, path, NULL), FC_OK);
  expect_long(t);
  fc_trace_free(t);
  (void)unlink(path);
  cr_assert_eq(fc_trace_parse(&t, "t", text, length, NULL), FC_OK);
  expect_long(t);
  fc_trace_free(t);
  free(packed);
  free(text);
}

Test(trace, damaged_gzip_is_told_where) {
  char text[] = OWN "0,1,1\n1,2,2\n";
  unsigned char packed[256];
  size_t n = pack(packed, sizeof packed, text, sizeof text - 1);
  fc_diags d;
  fc_trace *t;
  for (size_t cut = 2; cut < n; cut++) {
    fc_diags_init(&d);
    cr_assert_eq(fc_trace_parse(&t, "t", packed, cut, &d), FC_E_INPUT, "%zu of %zu bytes", cut, n);
    cr_assert(d.n == 1 && d.item[0].at.line >= 1 && d.item[0].at.line <= 4);
    cr_assert_str_eq(d.item[0].text, "the gzip data are damaged or cut off here");
  }
  packed[n - 6] ^= 1; /* its checksum */
  fc_diags_init(&d);
  cr_assert_eq(fc_trace_parse(&t, "t", packed, n, &d), FC_E_INPUT);
  cr_assert_eq(d.n, 1);
}

/* --- the public traces, where they are at hand --- */

static fc_trace *shipped(const char *name) {
  char path[512];
  (void)snprintf(path, sizeof path, "%s/traces/%s", FC_SHARED_DATA, name);
  fc_diags d;
  fc_diags_init(&d);
  fc_trace *t;
  fc_status status = fc_trace_read(&t, path, &d);
  if (status == FC_E_IO && errno == ENOENT) cr_skip_test("%s is not here", path);
  cr_assert(status == FC_OK && d.n == 0, "%s", d.n ? d.item[0].text : fc_status_text(status));
  return t;
}

static double mean_input(const fc_trace *t) {
  double sum = 0;
  size_t n = fc_trace_about(t)->requests;
  for (size_t i = 0; i < n; i++) sum += fc_trace_at(t, i).input_tokens;
  return sum / (double)n;
}

/* Counts and means computed apart from this reader, by a script over the text. */
Test(shared_traces, azure_of_2023_is_read_whole) {
  fc_trace *conv = shipped("azure2023_conv.csv.gz"), *code = shipped("azure2023_code.csv.gz");
  cr_assert_eq(fc_trace_about(conv)->requests, 19366);
  cr_assert_float_eq(mean_input(conv), 1154.6974078281523, 1e-9);
  cr_assert_eq(fc_trace_about(code)->requests, 8819);
  cr_assert_float_eq(mean_input(code), 2047.848282118154, 1e-9);
  fc_trace_free(conv);
  fc_trace_free(code);
}

Test(shared_traces, mooncake_reuse_is_what_its_hashes_say) {
  fc_trace *t = shipped("mooncake_fast25_conversation_trace.jsonl.gz");
  const fc_trace_info *a = fc_trace_about(t);
  cr_assert(a->requests == 12031 && a->span == INT64_C(3536999) * 1000000);
  enum { SLOTS = 1 << 20 };
  uint64_t *seen = calloc(SLOTS, sizeof *seen);
  cr_assert_not_null(seen);
  double tokens = 0, reused = 0;
  for (size_t i = 0; i < a->requests; i++) {
    fc_trace_row row = fc_trace_at(t, i);
    tokens += row.input_tokens;
    for (uint32_t b = 0; b < row.n_blocks; b++) {
      size_t s = row.block[b] & (SLOTS - 1);
      while (seen[s] && seen[s] != row.block[b]) s = (s + 1) & (SLOTS - 1);
      if (seen[s]) reused += 512;
      seen[s] = row.block[b];
    }
  }
  free(seen);
  cr_assert_float_eq(reused / tokens, 0.373379905854133, 1e-12);
  fc_trace_free(t);
}
