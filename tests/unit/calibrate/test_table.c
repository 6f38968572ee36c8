/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/calibrate/table.h>

#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <sha2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <fleetcast/base/csv.h>

static const fc_device h100 = {.name = "h100", .scaleup_devices = 8, .node_devices = 8, .compute_units = 132};
static const fc_table_options all = {.device = &h100};

#define HEADER "kernel,impl,dtype,kv_dtype,m,n,k,latency_us\n"

/* A file of its own, "" when it cannot be made; removed by the caller. */
static const char *file_of(const char *text, size_t length) {
  static char path[4][64];
  static int turn;
  char *out = path[turn++ % 4];
  (void)snprintf(out, sizeof path[0], "/tmp/fc_table_XXXXXX");
  int fd = mkstemp(out);
  cr_assert(fd >= 0 && write(fd, text, length) == (ssize_t)length);
  (void)close(fd);
  return out;
}

static fc_status read_bytes(fc_table *out, const char *text, size_t length, const fc_table_options *options,
                            fc_diags *d) {
  const char *path = file_of(text, length);
  fc_diags_init(d);
  fc_status status = fc_table_read(out, &path, 1, options, d);
  (void)unlink(path);
  return status;
}

static fc_status read_text(fc_table *out, const char *text, fc_diags *d) {
  return read_bytes(out, text, strlen(text), &all, d);
}

static const char good[] = HEADER "gemm,b,bf16,,16,32,64,5.5\n"
                                  "gemm,a,fp8,,16,32,64,4.5\n"
                                  "gemm,a,bf16,,16,32,64,6.5\n"
                                  "gemm,b,bf16,,17,32,64,7.5\n";

static void expect_good(const fc_table *t) {
  cr_assert_eq(t->n_points, 4);
  cr_assert_eq(t->n_families, 3);
  static const char *const impl[] = {"a", "b", "a"}, *const format[] = {"bf16", "bf16", "fp8"};
  static const double us[] = {6.5, 5.5, 7.5, 4.5};
  for (size_t i = 0; i < 3; i++) {
    cr_expect_str_eq(t->family[i].impl, impl[i]);
    cr_expect_str_eq(t->family[i].format->text, format[i]);
    for (size_t k = 0; k < t->family[i].n; k++) cr_expect_eq(t->point[t->family[i].first + k].family, i);
  }
  for (size_t i = 0; i < 4; i++) cr_expect(!(fabs(t->point[i].seconds - us[i] * 1e-6) > 1e-18));
  cr_expect(t->family[1].first == 1 && t->family[1].n == 2 && t->point[2].op.m == 17);
}

Test(table, families_are_sorted_and_points_keep_the_order_of_the_file) {
  fc_table t;
  fc_diags d;
  cr_assert_eq(read_text(&t, good, &d), FC_OK);
  expect_good(&t);
  cr_expect(t.n_rows == 4 && t.n_bad == 0 && t.n_left_out == 0 && d.n == 0);
  cr_expect(t.point[0].line == 4 && t.point[1].line == 2 && t.point[2].line == 5);
  char sha[65];
  (void)SHA256Data((const uint8_t *)good, sizeof good - 1, sha);
  cr_expect_str_eq(t.sha256, sha);
  fc_table_fini(&t);
}

/* --- the same rows, written otherwise --- */

static void expect_same(const char *label, const char *text, size_t length) {
  fc_table t;
  fc_diags d;
  fc_status status = read_bytes(&t, text, length, &all, &d);
  cr_assert_eq(status, FC_OK, "%s: %s", label, d.n ? d.item[0].text : "");
  expect_good(&t);
  cr_expect_eq(d.n, 0, "%s", label);
  fc_table_fini(&t);
}

static size_t replace(char *out, const char *text, const char *by) {
  size_t n = 0;
  for (; *text; text++) {
    if (*text != '\n') {
      out[n++] = *text;
      continue;
    }
    memcpy(out + n, by, strlen(by));
    n += strlen(by);
  }
  return n;
}

Test(table, line_ends_marks_and_quotes_do_not_matter) {
  char text[1024];
  expect_same("CRLF", text, replace(text, good, "\r\n"));
  expect_same("blank lines", text, replace(text, good, "\n\n"));
  (void)snprintf(text, sizeof text, "\xEF\xBB\xBF%s", good);
  expect_same("byte order mark", text, strlen(text));
  expect_same("no last newline", good, strlen(good) - 1);
  static const char quoted[] = "\"kernel\",impl,dtype,\"note, too\",m,n,k,latency_us\n"
                               "\"gemm\",b,bf16,\"over\ntwo lines, \"\"so\"\"\",\"16\",32,64,5.5\r\n"
                               "gemm,\"a\",fp8,,16,32,64,4.5\n"
                               "gemm,a,\"bf16\",\"\",16,32,64,\"6.5\"\n"
                               "gemm,b,bf16,,17,32,64,7.5\n";
  expect_same("quotes", quoted, strlen(quoted));
  static const char moved[] = "latency_us,other,k,n,m,dtype,impl,kernel\n"
                              "5.5,,64,32,16,bf16,b,gemm\n"
                              "4.5,,64.0,3.2e1,16,fp8,a,gemm\n"
                              "+6.5,,64,32,16,bf16,a,gemm\n"
                              "7.500000000000000000000,,64,32,17,bf16,b,gemm\n";
  expect_same("columns in another order, numbers in other clothes", moved, strlen(moved));
}

static size_t pack(unsigned char *out, size_t capacity, const char *text, size_t length) {
  z_stream z = {0};
  cr_assert_eq(deflateInit2(&z, 9, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  z.next_in = (unsigned char *)(uintptr_t)text;
  z.avail_in = (uInt)length;
  z.next_out = out;
  z.avail_out = (uInt)capacity;
  cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
  size_t n = capacity - z.avail_out;
  (void)deflateEnd(&z);
  return n;
}

Test(table, gzip_is_as_plain) {
  unsigned char packed[2048];
  size_t n = pack(packed, sizeof packed, good, sizeof good - 1);
  expect_same("gzip", (const char *)packed, n);
  size_t half = 60, first = pack(packed, sizeof packed, good, half); /* two members, as cat makes them */
  n = first + pack(packed + first, sizeof packed - first, good + half, sizeof good - 1 - half);
  expect_same("two members", (const char *)packed, n);
  fc_table t;
  fc_diags d;
  cr_expect_eq(read_bytes(&t, (const char *)packed, n - 3, &all, &d), FC_E_IO);
  cr_assert_eq(d.n, 1);
  cr_expect_str_eq(d.item[0].text, "cannot be read: not a whole gzip file");
  packed[30] ^= 0x55;
  cr_expect_eq(read_bytes(&t, (const char *)packed, n, &all, &d), FC_E_IO);
}

Test(table, gzip_has_a_limit) {
  enum { N = 1 << 20 };
  char *zeros = calloc(N, 1), *bytes;
  unsigned char *packed = malloc(N);
  const char *path = file_of((const char *)packed, pack(packed, N, zeros, N));
  size_t length;
  cr_expect_eq(fc_gz_read(&bytes, &length, path, N), FC_OK);
  cr_expect(length == N && bytes[N] == '\0' && memcmp(bytes, zeros, N) == 0);
  free(bytes);
  cr_expect_eq(fc_gz_read(&bytes, &length, path, N - 1), FC_E_IO);
  cr_expect(errno == EFBIG && !bytes);
  (void)unlink(path);
  cr_expect_eq(fc_gz_read(&bytes, &length, path, N), FC_E_IO);
  cr_expect_eq(errno, ENOENT);
  free(zeros);
  free(packed);
}

/* Read by several threads it is as read by one; so is what they leave alone. */
Test(table, a_large_file_is_read_as_it_is_by_any_number_of_threads) {
  enum { N = (1 << 25) + 12345 };
  char *bytes = malloc(N), *read;
  cr_assert(bytes);
  uint32_t state = 1;
  for (size_t i = 0; i < N; i++) bytes[i] = (char)((state = state * 1664525u + 1013904223u) >> 24);
  bytes[0] = 'k'; /* not gzip */
  const char *path = file_of(bytes, N);
  for (size_t threads = 0; threads <= 5; threads++) {
    size_t length = 0;
    cr_assert_eq(fc_gz_read_by(&read, &length, path, N, threads), FC_OK);
    cr_expect(length == N && read[N] == '\0' && memcmp(read, bytes, N) == 0, "%zu threads", threads);
    free(read);
    cr_expect_eq(fc_gz_read_by(&read, &length, path, N - 1, threads), FC_E_IO);
    cr_expect(errno == EFBIG && !read);
  }
  (void)unlink(path);
  size_t length;
  cr_expect_eq(fc_gz_read_by(&read, &length, path, N, 2), FC_E_IO);
  cr_expect_eq(errno, ENOENT);
  cr_expect_eq(fc_gz_read_by(&read, &length, "/", N, 2), FC_E_IO);
  cr_expect_eq(errno, EISDIR);
  free(bytes);
}

/* --- what is wrong --- */

#define GOOD_ROW "gemm,a,bf16,,1,2,3,4\n"

static const struct {
  const char *text;
  size_t line, column;
  const char *message;
} bad[] = {
    {HEADER GOOD_ROW "gemm,a,bf16,,1,x2,3,4\n", 3, 16, "column 'n': 'x2' is not a number"},
    {HEADER GOOD_ROW "gemm,a,bf16,,1,2,3,4us\n", 3, 20, "column 'latency_us': '4us' is not a number"},
    {HEADER GOOD_ROW "gemm,a,bf16,,1,2,0x3,4\n", 3, 18, "column 'k': '0x3' is not a number"},
    {HEADER GOOD_ROW "gemm,a,bf16,,1,2,nan,4\n", 3, 18, "column 'k': 'nan' is not a number"},
    {HEADER GOOD_ROW "gemm,a,bf16,,1,2,3,1e999\n", 3, 20, "column 'latency_us': '1e999' is not a number"},
    {HEADER GOOD_ROW "gemm,a,bf16,,1,,3,4\n", 3, 16, "column 'n' is empty"},
    {HEADER GOOD_ROW "gemm,a,bf16,,1,2,3,\n", 3, 20, "column 'latency_us' is empty"},
    {HEADER GOOD_ROW "gemm,a,bf16,,1,2,3,0\n", 3, 20, "column 'latency_us': 0 is not positive"},
    {HEADER GOOD_ROW "gemm,a,bf16,,1,2,3,-4\n", 3, 20, "column 'latency_us': -4 is not positive"},
    {HEADER GOOD_ROW "gemm,a,bf61,,1,2,3,4\n", 3, 8, "'bf61' is no number format; did you mean 'bf16'?"},
    {HEADER GOOD_ROW ",a,bf16,,1,2,3,4\n", 3, 1, "column 'kernel' is empty"},
    {HEADER GOOD_ROW "gemm,a,bf16,,1,2,3\n", 3, 1, "7 fields in this row; the header has 8"},
    {HEADER GOOD_ROW "gemm,a,bf16,,1,2,3,4,5\n", 3, 22, "9 fields in this row; the header has 8"},
    {HEADER GOOD_ROW "gemm,\xC3\xA9,bf16,,1,2,3,4,\n", 3, 22, "9 fields in this row; the header has 8"},
    {HEADER GOOD_ROW "gemm,\"a,bf16,,1,2,3,4\n", 3, 6, "this quote is never closed"},
    {HEADER GOOD_ROW "gemm,\"a\"b,bf16,,1,2,3,4\n", 3, 9, "text after the closing quote; a comma is missing"},
    {HEADER GOOD_ROW "gemm,a\"b,bf16,,1,2,3,4\n", 3, 7,
     "a quote inside a field that does not begin with one"},
    {HEADER GOOD_ROW "gemm,a\rb,bf16,,1,2,3,4\n", 3, 7, "a carriage return inside a line"},
    {HEADER GOOD_ROW "gemm,\"a\"\"b\",bf16,,1,2,3,4\n", 3, 6, "column 'impl': 'a\"\"b' is not a name"},
    {HEADER GOOD_ROW "gemm,\"a\nb\",bf16,,1,x,3,4\n", 4, 12, "column 'n': 'x' is not a number"},
    {HEADER GOOD_ROW "gemm,\"a\nb\",bf16,,1,,3,4\n", 4, 12, "column 'n' is empty"},
};

Test(table, a_malformed_row_is_told_and_left_out) {
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    fc_table t;
    fc_diags d;
    cr_assert_eq(read_text(&t, bad[i].text, &d), FC_OK, "%s", bad[i].message);
    cr_expect(t.n_points == 1 && t.n_bad == 1 && t.n_rows == 2, "%s", bad[i].message);
    cr_assert_eq(d.n, 1, "%s", bad[i].message);
    cr_expect_str_eq(d.item[0].text, bad[i].message);
    cr_expect(d.item[0].at.line == bad[i].line && d.item[0].at.column == bad[i].column, "%s: %zu:%zu",
              bad[i].message, d.item[0].at.line, d.item[0].at.column);
    fc_table_fini(&t);
  }
}

static const struct {
  const char *text, *message;
  size_t line;
} refused[] = {
    {"", "the file is empty", 0},
    {"\n", "a header row is missing", 1},
    {HEADER, "no usable row: 0 read, 0 malformed, 0 left out", 0},
    {HEADER "gemm,a,bf16,,1,,3,4\n", "column 'n' is empty", 2},
    {HEADER "chain_decode,a,,,1,2,3,4\n", "no usable row: 1 read, 0 malformed, 1 left out", 0},
    {"kernl,dtype,latency_us\n", "column 'kernel' is missing; there is 'kernl'", 1},
    {"kernel,dtype,m\n", "column 'latency_us' is missing", 1},
    {"kernel,dtype,kernel\n", "column 'kernel' is there twice", 1},
};

Test(table, a_file_without_rows_is_refused) {
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    fc_table t;
    fc_diags d;
    cr_assert_eq(read_text(&t, refused[i].text, &d), FC_E_INPUT, "%s", refused[i].message);
    cr_assert(d.n >= 1);
    cr_expect_str_eq(d.item[0].text, refused[i].message);
    cr_expect_eq(d.item[0].at.line, refused[i].line);
    cr_expect(!t.point && !t.family && !t.texts);
  }
  fc_table t;
  fc_diags d;
  fc_diags_init(&d);
  const char *path = "/tmp/fc_table_that_is_not_there.csv";
  cr_expect_eq(fc_table_read(&t, &path, 1, &all, &d), FC_E_IO);
  cr_expect_eq(d.n, 1);
}

Test(table, other_kernels_and_other_states_are_left_out) {
  fc_table t;
  fc_diags d;
  static const char text[] = "kernel,dtype,m,n,k,latency_us,status,samples,iqr_us\n"
                             "gemm,bf16,1,2,3,4,ok,16,0.4\n"
                             "gemm,bf16,1,2,3,4,timeout,,\n"
                             "gemm,bf16,1,2,3,4,again,,\n"
                             "gemm,bf16,1,2,3,4,,,\n"
                             "gemm,bf16,1,2,3,,skipped: needs Hopper,,\n"
                             "gemm,bf16,1,2,3,,failed: wrong,,\n"
                             "chain_train,,,,,9,ok,,\n"
                             "ceiling_launch,fp32,,,,9,ok,,\n";
  cr_assert_eq(read_text(&t, text, &d), FC_OK);
  cr_expect(t.n_points == 4 && t.n_left_out == 4 && t.n_bad == 0 && t.n_rows == 8 && d.n == 0);
  cr_expect_str_eq(t.family[0].impl, "");
  cr_expect(!(fabs(t.point[0].log_sd - 0.4 / 1.349 / 4 / 4) > 1e-12));
  cr_expect_eq(t.point[1].log_sd, 0);
  fc_table_fini(&t);
}

Test(table, one_implementation) {
  fc_table t;
  fc_diags d;
  fc_table_options only = {.impl = "b", .device = &h100};
  cr_assert_eq(read_bytes(&t, good, sizeof good - 1, &only, &d), FC_OK);
  cr_expect(t.n_points == 2 && t.n_families == 1 && t.n_left_out == 0);
  fc_table_fini(&t);
  static const char longer[] = HEADER "gemm,trtllm,bf16,,16,32,64,5.5\ngemm,vllm,bf16,,16,32,64,5.5\n";
  only.impl = "trtlm";
  cr_assert_eq(read_bytes(&t, longer, sizeof longer - 1, &only, &d), FC_E_INPUT);
  cr_expect_str_eq(d.item[0].text, "no row has implementation 'trtlm'; did you mean 'trtllm'?");
}

Test(table, several_files_are_one) {
  const char *path[] = {file_of(good, sizeof good - 1), file_of(good, sizeof good - 1)};
  fc_table t;
  fc_diags d;
  fc_diags_init(&d);
  cr_assert_eq(fc_table_read(&t, path, 2, &all, &d), FC_OK);
  cr_expect(t.n_points == 8 && t.n_families == 3 && t.point[0].file == 0 && t.point[1].file == 1);
  fc_table_fini(&t);
  (void)unlink(path[0]);
  (void)unlink(path[1]);
}

/* --- the same complaints as the CSV reader --- */

Test(table, structure_is_judged_as_the_csv_reader_does) {
  static const char *const bodies[] = {
      "a,b\n1\n2,3\n",       "\"x\ny\",1\n\"z\"q,2\n3,4\n", "a\"b\",2\n3,4\n",   "\"a\"\"b\",\"c,d\"\n,\n",
      "1,2,3\n\"4\",5,6\n",  "a,b\r\n\r\nc,d\r\n",          "a\rb,c\nd,e\n",     "\"never,closed\nx,y\n",
      "\"a\"\r\n\"b\",c\r",  "\"a\nb\"c,d\ne,f\n",          ",\n\n,\n\"\",\"\"", "x,\"\n\n\n\",y\n1,2\n",
      "\"a\",b\rc\n\"d\",e", "\"a\"b\"\nc\",d\n1,2\n",
  };
  for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
    char text[256];
    (void)snprintf(text, sizeof text, "kernel,impl,dtype,latency_us\n");
    size_t n = strlen(text);
    for (const char *p = bodies[i]; *p; p++) text[n++] = *p;
    text[n] = '\0';
    fc_diags want, got;
    fc_diags_init(&want);
    fc_csv_reader *reader;
    cr_assert_eq(fc_csv_open(&reader, "x", text, n, &want), FC_OK);
    const fc_csv_field *row;
    while (fc_csv_next(reader, &row, &want) == FC_OK && row) {
    }
    size_t skipped = fc_csv_skipped(reader);
    fc_csv_free(reader);
    fc_table t;
    (void)read_text(&t, text, &got);
    cr_assert_geq(got.n, skipped, "body %zu", i);
    for (size_t k = 0, g = 0; k < skipped; k++, g++) {
      while (g < got.n && strcmp(got.item[g].text, want.item[k].text) != 0)
        g++; /* rows of no kernel are told too */
      cr_assert_lt(g, got.n, "body %zu: %s", i, want.item[k].text);
      cr_expect(got.item[g].at.line == want.item[k].at.line &&
                    got.item[g].at.column == want.item[k].at.column,
                "body %zu: %s at %zu:%zu, not %zu:%zu", i, want.item[k].text, got.item[g].at.line,
                got.item[g].at.column, want.item[k].at.line, want.item[k].at.column);
    }
  }
}
