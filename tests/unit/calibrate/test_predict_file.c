/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/calibrate/predict.h>

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fleetcast/base/csv.h>
#include <fleetcast/calibrate/shape.h>
#include <fleetcast/cost/predict.h>

static fc_device device(void) {
  fc_device d = {.name = "x",
                 .memory_bytes = 80e9,
                 .memory_bytes_per_s = 3e12,
                 .l2_bytes = 50e6,
                 .compute_units = 132,
                 .scaleup_bytes_per_s = 900e9,
                 .scaleup_devices = 8,
                 .scaleout_bytes_per_s = 50e9,
                 .node_devices = 8};
  for (int i = 0; i < FC_DTYPE_COUNT; i++) d.peak_flop_per_s[i] = 1e15;
  return d;
}

static fc_kernel_fit fit_of(fc_kernel kernel, fc_dtype dtype, const char *kv, const char *impl, fc_form form,
                            double t0_s) {
  return (fc_kernel_fit){.kernel = kernel,
                         .dtype = dtype,
                         .format = dtype == FC_DTYPE_FP8 ? "fp8_block" : NULL,
                         .kv_format = kv,
                         .impl = impl,
                         .form = form,
                         .coef = {.t0_s = t0_s, .flop_per_s = 5e14, .bytes_per_s = 2e12, .half_length = 100},
                         .spread_shape = 0.2,
                         .spread_systematic = 0.1};
}

enum { FITS = 5 };

static void make_profile(fc_profile *out, fc_device *dev, fc_kernel_fit fit[FITS]) {
  *dev = device();
  fit[0] = fit_of(FC_KERNEL_GEMM, FC_DTYPE_BF16, NULL, "slow", FC_FORM_GEMM, 9e-6);
  fit[1] = fit_of(FC_KERNEL_GEMM, FC_DTYPE_BF16, NULL, "fast", FC_FORM_GEMM, 3e-6);
  fit[2] = fit_of(FC_KERNEL_GEMM, FC_DTYPE_FP8, NULL, "fast", FC_FORM_GEMM, 2e-6);
  fit[3] = fit_of(FC_KERNEL_MLA_DECODE, FC_DTYPE_BF16, "bf16", "mla", FC_FORM_ATTENTION, 5e-6);
  fit[4] = fit_of(FC_KERNEL_ALL_REDUCE, FC_DTYPE_BF16, NULL, "nccl", FC_FORM_COLLECTIVE, 8e-6);
  *out = (fc_profile){.name = "p", .device_name = "x", .device = dev, .n_kernels = FITS, .kernels = fit};
}

/* All that fc_predict_file writes; the caller's to free. */
static char *predict(fc_scores *scores, const char *text, size_t length, size_t threads, fc_diags *d) {
  fc_device dev;
  fc_kernel_fit fit[FITS];
  fc_profile profile;
  make_profile(&profile, &dev, fit);
  char path[] = "/tmp/fc_predict_XXXXXX", *bytes;
  int fd = mkstemp(path);
  cr_assert_geq(fd, 0);
  (void)close(fd);
  fc_predict_options options = {.threads = threads};
  cr_assert_eq(fc_file_create(&options.out, path), FC_OK);
  fc_diags_init(d);
  fc_status status = fc_predict_file(scores, &profile, "m.csv", text, length, &options, d);
  cr_assert_eq(status, FC_OK, "%s", d->n ? d->item[0].text : "");
  cr_assert_eq(fc_file_commit(options.out), FC_OK);
  size_t n;
  cr_assert_eq(fc_file_read(&bytes, &n, path, (size_t)1 << 30), FC_OK);
  (void)unlink(path);
  return bytes;
}

#define HEADER "kernel,impl,dtype,kv_dtype,m,n,k,batch,heads,kv_len,bytes,gpus,note,latency_us"

/* Predictions of one row, microseconds; NaN where there is none. */
static void one(double us[3], const char *row, fc_diags *d) {
  char text[512];
  (void)snprintf(text, sizeof text, "%s\n%s\n", HEADER, row);
  fc_scores scores;
  char *out = predict(&scores, text, strlen(text), 1, d), *line = strchr(out, '\n') + 1;
  size_t n = strlen(row);
  cr_assert(strncmp(line, row, n) == 0 && line[n] == ',', "%s", line);
  for (int i = 0; i < 3; i++) {
    char *end;
    line += i ? 1 : n + 1;
    us[i] = strtod(line, &end);
    if (end == line) us[i] = (double)NAN;
    line = end;
  }
  cr_assert_str_eq(line, "\n");
  fc_scores_fini(&scores);
  free(out);
}

static double directly(size_t which, const fc_op *op) {
  fc_device dev;
  fc_kernel_fit fit[FITS];
  fc_profile profile;
  make_profile(&profile, &dev, fit);
  fc_predictor p;
  fc_predictor_init(&p, &fit[which], &dev);
  fc_prediction out;
  cr_assert_eq(fc_predict(&out, &p, op), FC_OK);
  return out.seconds * 1e6;
}

static void expect_us(double got, double want) {
  cr_expect(!(fabs(got - want) > 6e-6 * want), "%.9g, not %.9g", got, want);
}

Test(predict_file, whose_fit_answers) {
  static const fc_op gemm = {.id = FC_OP_LINEAR,
                             .dtype = FC_DTYPE_BF16,
                             .m = 512,
                             .n = 512,
                             .k = 512,
                             .weight_bytes = 2,
                             .input_bytes = 2};
  double us[3];
  fc_diags d;
  one(us, "gemm,slow,bf16,,512,512,512,,,,,,,", &d);
  expect_us(us[0], directly(0, &gemm));
  cr_expect(us[1] < us[0] && us[0] < us[2]);
  one(us, "gemm,unheard-of,bf16,,512,512,512,,,,,,,", &d);
  expect_us(us[0], directly(1, &gemm)); /* the fastest */
  one(us, "gemm,slow,fp16,,512,512,512,,,,,,,", &d);
  expect_us(us[0], directly(0, &gemm)); /* no such format: same arithmetic, own implementation */
  fc_op decode = {.id = FC_OP_MLA_D,
                  .dtype = FC_DTYPE_BF16,
                  .batch = 4,
                  .heads = 16,
                  .kv_heads = 1,
                  .q = 1,
                  .s = 1024,
                  .dk = 576,
                  .dv = 512,
                  .cache_bytes = 576,
                  .weight_bytes = 2,
                  .input_bytes = 2};
  one(us, "mla_decode,x,bf16,fp8,,,,4,16,1024,,,,", &d);
  expect_us(us[0], directly(3, &decode)); /* no such cache format */
  fc_op reduce = {
      .id = FC_OP_ALL_REDUCE, .dtype = FC_DTYPE_INT8, .payload_bytes = 1e6, .ranks = 8, .domain = 8};
  one(us, "all_reduce,nccl,int8,,,,,,,,1e6,8,,", &d);
  expect_us(us[0], directly(4, &reduce)); /* bytes are bytes */
  cr_expect_eq(d.n, 0);
}

Test(predict_file, a_row_that_cannot_be_modelled_keeps_its_place) {
  static const struct {
    const char *row, *message;
    size_t column;
    bool malformed;
  } cases[] = {
      {"chain_decode,a,,,,,,,,,,,,5", "'chain_decode' is no kernel that is modelled", 1, false},
      {"mla_prefill,a,bf16,,,,,1,1,1,,,,5", "the profile has no kernel 'mla_prefill' in format 'bf16'", 1,
       false},
      {"all_reduce,a,bf16,,,,,,,,,8,,5", "column 'bytes' is empty", 26, true},
      {"gemm,a,int8,,1,2,3,,,,,,,5", "the profile has no kernel 'gemm' in format 'int8'", 1, false},
      {"gemm,a,bf15,,1,2,3,,,,,,,5", "'bf15' is no number format; did you mean 'bf16'?", 8, true},
      {"gemm,a,bf16,,1,2,,,,,,,,5", "column 'k' is empty", 18, true},
      {"gemm,a,bf16,,1,2,x,,,,,,,5", "column 'k': 'x' is not a number", 18, true},
      {"gemm,a,bf16,,1,2,3,,,,,,,0", "column 'latency_us': 0 is not positive", 26, true},
      {"gemm,a,bf16,,1,2,3,,,,,,5", "13 fields in this row; the header has 14", 1, true},
      {"gemm,\"a\"x,bf16,,1,2,3,,,,,,,5", "text after the closing quote; a comma is missing", 9, true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[512];
    (void)snprintf(text, sizeof text, HEADER "\r\ngemm,a,bf16,,1,2,3,,,,,,,\r\n\r\n%s\r\n", cases[i].row);
    fc_scores scores;
    fc_diags d;
    char *out = predict(&scores, text, strlen(text), 1, &d);
    cr_expect_eq(strncmp(out, HEADER ",predicted_us,low_us,high_us\n", strlen(HEADER) + 29), 0);
    size_t n = strlen(out), row = strlen(cases[i].row);
    cr_expect(n > row + 4 && strncmp(out + n - row - 4, cases[i].row, row) == 0, "%s", out);
    cr_expect_str_eq(out + n - 4, ",,,\n");
    cr_expect(scores.rows == 2 && scores.malformed == cases[i].malformed &&
              scores.unmodelled == !cases[i].malformed);
    cr_assert_eq(d.n, 1, "%s", cases[i].message);
    cr_expect_str_eq(d.item[0].text, cases[i].message);
    cr_expect(d.item[0].at.line == 4 && d.item[0].at.column == cases[i].column, "%s: %zu:%zu",
              cases[i].message, d.item[0].at.line, d.item[0].at.column);
    cr_expect_str_eq(d.item[0].source, "m.csv");
    fc_scores_fini(&scores);
    free(out);
  }
}

Test(predict_file, headers) {
  fc_device dev;
  fc_kernel_fit fit[FITS];
  fc_profile profile;
  make_profile(&profile, &dev, fit);
  static const struct {
    const char *text;
    fc_status status;
  } cases[] = {{"", FC_E_INPUT},
               {"kernel,m\n", FC_E_INPUT},
               {"kernel,dtype", FC_OK},
               {"kernel,dtype\n", FC_OK},
               {"\xEF\xBB\xBFkernel,dtype\n\n", FC_OK}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fc_scores scores;
    fc_diags d;
    fc_diags_init(&d);
    fc_predict_options options = {0};
    fc_status status =
        fc_predict_file(&scores, &profile, "m.csv", cases[i].text, strlen(cases[i].text), &options, &d);
    cr_expect_eq(status, cases[i].status);
    cr_expect(scores.rows == 0 && scores.n == 0 && scores.n_kernels == 0);
    fc_scores_fini(&scores);
  }
  static const char again[] = "kernel,dtype,predicted_us\n";
  fc_scores scores;
  fc_diags d;
  fc_diags_init(&d);
  fc_file *out;
  cr_assert_eq(fc_file_create(&out, "/dev/null"), FC_OK);
  fc_predict_options options = {.out = out};
  cr_expect_eq(fc_predict_file(&scores, &profile, "m.csv", again, sizeof again - 1, &options, &d),
               FC_E_INPUT);
  cr_expect_str_eq(d.item[0].text, "column 'predicted_us' is there already");
  fc_file_abandon(out);
}

/* --- many rows --- */

/* Rows of all sorts, some wrong, some over several lines: a fixed sequence. */
static char *many(size_t rows, bool quotes, size_t *length) {
  char *text = malloc(rows * 96 + 256);
  size_t n = (size_t)sprintf(text, "%s\n", HEADER);
  unsigned long x = 12345;
  for (size_t i = 0; i < rows; i++) {
    x = x * 6364136223846793005UL + 1442695040888963407UL;
    unsigned a = (unsigned)(x >> 40) % 4096 + 1, b = (unsigned)(x >> 20) % 64 + 1, kind = (unsigned)(x >> 60);
    const char *note = !quotes ? "" : kind % 3 ? "\"a, note\"" : "\"over\ntwo \"\"lines\"\"\"";
    if (kind < 6)
      n += (size_t)sprintf(text + n, "gemm,%s,bf16,,%u,%u,512,,,,,,%s,%u.%u\n", kind < 3 ? "slow" : "new", a,
                           b * 64, note, b, a);
    else if (kind < 10)
      n += (size_t)sprintf(text + n, "mla_decode,mla,bf16,bf16,,,,%u,16,%u,,,%s,%u\n", b, a, note, a + 3);
    else if (kind < 13)
      n += (size_t)sprintf(text + n, "all_reduce,nccl,bf16,,,,,,,,%u,%u,%s,%u.5\n", a * 100, b % 7 + 2, note,
                           b);
    else if (kind == 13)
      n += (size_t)sprintf(text + n, "gemm,fast,fp8_block,,%u,64,64,,,,,,%s,\n", a, note);
    else if (kind == 14)
      n += (size_t)sprintf(text + n, "moe_ffn,x,bf16,,1,1,1,,,,,,%s,4\n", note);
    else
      n += (size_t)sprintf(text + n, "gemm,\"fast\"%s,bf16,,%u\n", quotes && a % 2 ? "\"" : "", a);
  }
  *length = n;
  return text;
}

Test(predict_file, bytes_and_scores_do_not_depend_on_threads) {
  for (int quotes = 0; quotes < 2; quotes++) {
    size_t length;
    char *text = many(30000, quotes, &length), *first = NULL;
    fc_scores want = {0};
    fc_diags want_d, d;
    static const size_t threads[] = {1, 2, 3, 8, 0};
    for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
      fc_scores got;
      char *out = predict(&got, text, length, threads[t], t ? &d : &want_d);
      if (t == 0) {
        first = out;
        want = got;
        cr_expect(got.rows > 10000 && got.malformed > 500 && got.unmodelled > 500);
        continue;
      }
      cr_expect_str_eq(out, first, "%zu threads", threads[t]);
      cr_expect(got.rows == want.rows && got.malformed == want.malformed &&
                got.unmodelled == want.unmodelled);
      cr_assert_eq(got.n, want.n);
      for (size_t i = 0; i < got.n; i++) {
        const fc_score *a = &got.score[i], *b = &want.score[i];
        cr_expect(strcmp(a->impl, b->impl) == 0 && a->points == b->points &&
                  memcmp(&a->median, &b->median, 5 * sizeof(double)) == 0);
      }
      cr_assert(d.n == want_d.n && d.dropped == want_d.dropped && d.n_errors == want_d.n_errors);
      for (size_t i = 0; i < d.n; i++)
        cr_expect(strcmp(d.item[i].text, want_d.item[i].text) == 0 &&
                  d.item[i].at.line == want_d.item[i].at.line &&
                  d.item[i].at.column == want_d.item[i].at.column);
      fc_scores_fini(&got);
      free(out);
    }
    fc_scores_fini(&want);
    free(first);
    free(text);
  }
}

static int ascending(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static double quantile(float *v, size_t n, double p) {
  qsort(v, n, sizeof *v, ascending);
  double at = p * (double)(n - 1);
  size_t k = (size_t)at;
  return k + 1 < n ? (double)v[k] + (at - (double)k) * ((double)v[k + 1] - (double)v[k]) : (double)v[k];
}

/* From the written rows, which have six digits. */
Test(predict_file, scores_are_those_of_the_rows_it_writes) {
  size_t length, n = 0, within = 0;
  char *text = many(20000, false, &length);
  fc_scores scores;
  fc_diags d;
  char *out = predict(&scores, text, length, 2, &d);
  float *error = malloc(20000 * sizeof *error);
  fc_csv_reader *reader;
  cr_assert_eq(fc_csv_open(&reader, "out", out, strlen(out), NULL), FC_OK);
  ptrdiff_t p = fc_csv_column(reader, "predicted_us"), measured = fc_csv_column(reader, "latency_us");
  double sum = 0;
  for (const fc_csv_field *row; fc_csv_next(reader, &row, NULL) == FC_OK && row;) {
    double got, low, high, is;
    if (strcmp(row[0].text, "mla_decode") != 0) continue;
    cr_assert(fc_csv_number(&got, &row[p]) && fc_csv_number(&low, &row[p + 1]) &&
              fc_csv_number(&high, &row[p + 2]) && fc_csv_number(&is, &row[measured]));
    error[n++] = (float)(got / is - 1);
    sum += fabs(got / is - 1);
    within += low <= is && is <= high;
  }
  cr_assert_eq(scores.n_kernels, 3);
  const fc_score *s = &scores.kernel[1];
  cr_expect_str_eq(s->kernel, "mla_decode");
  cr_expect_eq(s->points, n);
  double bias = quantile(error, n, 0.5);
  for (size_t i = 0; i < n; i++) error[i] = fabsf(error[i]);
  cr_expect(!(fabs(s->bias - bias) > 1e-4) && !(fabs(s->mean - sum / (double)n) > 1e-4));
  cr_expect(!(fabs(s->median - quantile(error, n, 0.5)) > 1e-4) &&
            !(fabs(s->p90 - quantile(error, n, 0.9)) > 1e-4));
  cr_expect(!(fabs(s->coverage - (double)within / (double)n) > 2e-3));
  size_t points = 0, all = 0;
  for (size_t i = 0; i < scores.n; i++) points += scores.score[i].points;
  for (size_t i = 0; i < scores.n_kernels; i++) all += scores.kernel[i].points;
  cr_expect(points == all && points + scores.malformed + scores.unmodelled == scores.rows);
  for (size_t i = 0; i < scores.n; i++) /* a family without a measured time */
    if (strcmp(scores.score[i].dtype, "fp8_block") == 0)
      cr_expect(scores.score[i].points > 0 && isnan(scores.score[i].median) &&
                isnan(scores.score[i].coverage));
  fc_csv_free(reader);
  fc_scores_fini(&scores);
  free(error);
  free(out);
  free(text);
}

Test(predict_file, can_be_cancelled) {
  fc_device dev;
  fc_kernel_fit fit[FITS];
  fc_profile profile;
  make_profile(&profile, &dev, fit);
  size_t length;
  char *text = many(1000, false, &length);
  atomic_int cancel = 1;
  fc_predict_options options = {.threads = 2, .cancel = &cancel};
  fc_scores scores;
  cr_expect_eq(fc_predict_file(&scores, &profile, "m.csv", text, length, &options, NULL), FC_E_CANCELLED);
  cr_expect(!scores.score && !scores.texts);
  free(text);
}

/* --- a local correction: rows are predicted many at once, and remembered --- */

enum { ANCHORS = 44 };

typedef struct {
  fc_local local;
  float x[4096], weight[64], scatter[64];
} correction;

static void make_correction(correction *c, fc_kernel_fit *fit, double units) {
  c->local = (fc_local){.n = ANCHORS,
                        .n_coordinates = 4,
                        .of = {0, 1, 2, 8},
                        .smooth = 0.3F,
                        .rough = 0.05F,
                        .own = 0.01F,
                        .length = {2, 2, 2, 1},
                        .rough_length = {1, 1, 1, 0.5F},
                        .scale = 2,
                        .floor = 0.02F,
                        .support = 0.3F};
  cr_assert(fc_local_x_floats(ANCHORS, 4) <= 4096 && fc_local_lane_floats(ANCHORS) <= 64);
  for (size_t i = 0; i < ANCHORS; i++) {
    fc_op op = {.id = FC_OP_LINEAR, .m = (double)(i * i + 1), .n = 64.0 * (double)(i % 7 + 1), .k = 512};
    float x[FC_LOCAL_COORDINATES];
    (void)fc_local_coordinates(x, &op, units, fit);
    fc_local_put(&c->local, c->x, c->weight, c->scatter, i, x, 0.3 * sin((double)i), 0.03);
  }
  c->local.x = c->x;
  c->local.weight = c->weight;
  c->local.scatter = c->scatter;
  fit->local = &c->local;
}

static char *predict_with(const fc_profile *profile, const char *text, size_t length, size_t threads) {
  char path[] = "/tmp/fc_predict_XXXXXX", *bytes;
  int fd = mkstemp(path);
  cr_assert_geq(fd, 0);
  (void)close(fd);
  fc_predict_options options = {.threads = threads};
  fc_scores scores;
  cr_assert_eq(fc_file_create(&options.out, path), FC_OK);
  cr_assert_eq(fc_predict_file(&scores, profile, "m.csv", text, length, &options, NULL), FC_OK);
  cr_assert_eq(fc_file_commit(options.out), FC_OK);
  fc_scores_fini(&scores);
  size_t n;
  cr_assert_eq(fc_file_read(&bytes, &n, path, (size_t)1 << 30), FC_OK);
  (void)unlink(path);
  return bytes;
}

Test(predict_file, many_rows_get_what_each_gets_alone) {
  enum { SHAPES = 20000, ROUNDS = 3 }; /* the second and third round are remembered in part */
  fc_device dev;
  fc_kernel_fit fit[FITS];
  fc_profile profile;
  make_profile(&profile, &dev, fit);
  static correction c;
  make_correction(&c, &fit[0], (double)dev.compute_units);
  char *text = malloc((size_t)SHAPES * ROUNDS * 40 + 64);
  size_t n = (size_t)sprintf(text, "kernel,impl,dtype,m,n,k\n");
  for (unsigned i = 0; i < SHAPES * ROUNDS; i++) {
    unsigned shape = i % SHAPES;
    n += (size_t)sprintf(text + n, "gemm,%s,bf16,%u,%u,512\n", shape % 5 ? "slow" : "fast", shape % 3001 + 1,
                         64 * (shape / 3001 + 1));
  }
  char *all = predict_with(&profile, text, n, 1);
  static const size_t threads[] = {2, 5};
  for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
    char *again = predict_with(&profile, text, n, threads[t]);
    cr_expect_str_eq(again, all, "%zu threads", threads[t]);
    free(again);
  }
  const char *line = strchr(all, '\n') + 1, *row = strchr(text, '\n') + 1;
  for (unsigned i = 0; i < SHAPES * ROUNDS; i++, line = strchr(line, '\n') + 1, row = strchr(row, '\n') + 1) {
    if (i % 997) continue;
    char alone[256];
    int length = (int)(strchr(row, '\n') - row);
    int m = snprintf(alone, sizeof alone, "kernel,impl,dtype,m,n,k\n%.*s\n", length, row);
    char *one = predict_with(&profile, alone, (size_t)m, 1), *its = strchr(one, '\n') + 1;
    cr_assert_eq(strncmp(its, line, strlen(its)), 0, "row %u: %s", i, its);
    free(one);
  }
  free(all);
  free(text);
}

/* Rows that begin like the one before are not read again from their beginning. */
Test(predict_file, a_row_with_quotes_between_two_alike) {
  static const char text[] = "kernel,impl,dtype,m,n,k\n"
                             "gemm,slow,bf16,100,64,512\n"
                             "gemm,\"fast\",bf16,100,64,512\n"
                             "gemm,slow,bf16,100,64,512\n"
                             "gemm,slow,bf16,100,64\n"
                             "gemm,slow,bf16,\n"
                             "gemm,slow,bf16,100,64,512\n"
                             "gemm,slow,bf16,200,64,512,7\n"
                             "gemm,fast,bf16,100,64,512\n";
  fc_scores scores;
  fc_diags d;
  char *out = predict(&scores, text, strlen(text), 1, &d), *line[9], *p = strchr(out, '\n') + 1;
  size_t n = 0;
  for (; *p && n < 9; n++) {
    line[n] = p;
    p = strchr(p, '\n');
    *p++ = '\0';
  }
  cr_assert_eq(n, 8);
  cr_expect_str_eq(line[0], line[2]);
  cr_expect_str_eq(line[0], line[5]);
  cr_expect_str_neq(line[0] + strlen("gemm,slow"), line[7] + strlen("gemm,fast"));
  cr_expect_str_eq(strstr(line[1], ",bf16"), strstr(line[7], ",bf16"));
  cr_expect_eq(scores.malformed, 3);
  cr_assert_eq(d.n, 3);
  cr_expect(d.item[0].at.line == 5 && d.item[1].at.line == 6 && d.item[2].at.line == 8);
  cr_expect_eq(d.item[2].at.column, 27);
  fc_scores_fini(&scores);
  free(out);
}
