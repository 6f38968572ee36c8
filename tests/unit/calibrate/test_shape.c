/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/calibrate/shape.h>

#include <criterion/criterion.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/csv.h>
#include <fleetcast/base/file.h>

static const char *const TEXTS[] = {
#define NAME(name) #name,
    FC_MEASURE_TEXT_MAP(NAME)};
static const char *const NUMBERS[] = {FC_MEASURE_NUMBER_MAP(NAME)
#undef NAME
};

static const fc_device h100 = {.name = "h100", .scaleup_devices = 8, .node_devices = 8, .compute_units = 132};

static void set(fc_measure_row *row, const char *name, const char *value) {
  for (size_t i = 0; i < FC_MEASURE_TEXT_COUNT; i++)
    if (strcmp(name, TEXTS[i]) == 0) row->text[i] = (fc_slice){value, strlen(value)};
  for (size_t i = 0; i < FC_MEASURE_NUMBER_COUNT; i++)
    if (strcmp(name, NUMBERS[i]) == 0) row->number[i] = *value ? strtod(value, NULL) : (double)NAN;
}

/* "kernel=gemm m=1 ..." */
static fc_measure_row row_of(const char *text) {
  static char copy[512];
  fc_measure_row row = {.line = 1};
  for (size_t i = 0; i < FC_MEASURE_TEXT_COUNT; i++) row.text[i] = (fc_slice){"", 0};
  for (size_t i = 0; i < FC_MEASURE_NUMBER_COUNT; i++) row.number[i] = (double)NAN;
  (void)snprintf(copy, sizeof copy, "%s", text);
  for (char *word = copy; word && *word;) {
    char *space = strchr(word, ' '), *equals = strchr(word, '=');
    if (space) *space = '\0';
    *equals = '\0';
    set(&row, word, equals + 1);
    word = space ? space + 1 : NULL;
  }
  return row;
}

static fc_call call_of(const char *text) {
  fc_measure_row row = row_of(text);
  fc_call call;
  char why[FC_SHAPE_WHY] = "";
  cr_assert(fc_measure_shape(&call, &row, &h100, why), "%s: %s", text, why);
  return call;
}

static void expect(double got, double want) {
  cr_expect(!(fabs(got - want) > 1e-12 * fabs(want)), "%.15g, not %.15g", got, want);
}

Test(shape, gemm_takes_its_element_sizes_from_the_format) {
  fc_call c = call_of("kernel=gemm impl=x dtype=fp8_block m=3 n=5 k=7");
  cr_expect(c.op.id == FC_OP_LINEAR && c.kernel == FC_KERNEL_GEMM && c.op.dtype == FC_DTYPE_FP8 &&
            !c.kv_format);
  cr_expect(strcmp(c.format->text, "fp8_block") == 0);
  expect(c.op.m, 3);
  expect(c.op.n, 5);
  expect(c.op.k, 7);
  expect(c.op.groups, 0);
  expect(c.op.input_bytes, 1 + 4.0 / 128);
  expect(c.op.weight_bytes, 1);
  c = call_of("kernel=gemm dtype=int4_wo m=1 n=1 k=1");
  expect(c.op.input_bytes, 2);
  expect(c.op.weight_bytes, 0.5 + 2.0 / 128);
}

Test(shape, grouped_products_are_ragged_unless_balanced) {
  static const struct {
    const char *more;
    bool ragged;
  } cases[] = {{"routing=balanced skew=0", false},
               {"routing=power skew=0", true},
               {"routing=captured", true},
               {"skew=1.2", true},
               {"", false}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[256];
    (void)snprintf(text, sizeof text, "kernel=grouped_gemm_masked dtype=fp8_block m=64 n=8 k=8 experts=4%s%s",
                   *cases[i].more ? " " : "", cases[i].more);
    fc_call c = call_of(text);
    cr_expect(c.op.id == FC_OP_GROUPED_MASKED && c.op.groups == 4);
    cr_expect_eq(c.op.ragged, cases[i].ragged, "%s", text);
  }
}

Test(shape, attention) {
  fc_call c = call_of("kernel=mla_decode dtype=bf16 kv_dtype=fp8 batch=32 heads=16 kv_len=4096");
  cr_expect(c.op.id == FC_OP_MLA_D && c.op.kv_heads == 1 && c.op.q == 1 && c.op.dk == 576 && c.op.dv == 512);
  expect(c.op.cache_bytes, 576);
  cr_expect(c.kv_format && strcmp(c.kv_format->text, "fp8") == 0);
  c = call_of("kernel=mla_decode dtype=bf16 batch=32 heads=16 q_len=2 kv_len=4096");
  expect(c.op.q, 2);
  expect(c.op.cache_bytes, 1152);
  cr_expect_null(c.kv_format);
  c = call_of("kernel=mla_prefill dtype=bf16 batch=1 heads=128 q_len=512 kv_len=1024");
  cr_expect(c.op.id == FC_OP_MLA_P && c.op.kv_heads == 128 && c.op.dk == 192 && c.op.dv == 128);
  c = call_of(
      "kernel=attention_decode dtype=bf16 kv_dtype=bf16 batch=8 heads=32 kv_heads=8 head_dim=128 kv_len=99");
  expect(c.op.cache_bytes, 2 * 8 * 128 * 2);
  cr_expect(c.op.dk == 128 && c.op.dv == 128 && c.op.q == 1);
  c = call_of("kernel=mla_absorb_k dtype=bf16 tokens=3 heads=16");
  cr_expect(c.op.id == FC_OP_ABSORB_K && c.op.m == 48 && c.op.groups == 16 && c.op.n == 512 && c.op.k == 128);
  c = call_of("kernel=mla_absorb_v dtype=bf16 tokens=3 heads=16 n=16 k=64");
  cr_expect(c.op.id == FC_OP_ABSORB_V && c.op.n == 16 && c.op.k == 64);
}

Test(shape, transfers) {
  fc_call c = call_of("kernel=all_gather dtype=fp16 bytes=1024 gpus=4 nodes=1");
  cr_expect(c.op.id == FC_OP_ALL_GATHER && c.op.payload_bytes == 1024 && c.op.ranks == 4 && c.op.domain == 8);
  c = call_of("kernel=all_reduce dtype=fp16 bytes=1024 gpus=16 nodes=4");
  expect(c.op.domain, 4);
  c = call_of(
      "kernel=ep_dispatch impl=normal dtype=fp8 tokens=64 hidden=7168 experts=256 topk=8 gpus=32 nodes=4");
  cr_expect(c.op.id == FC_OP_DISPATCH && c.op.domain == 8 && c.op.ranks == 32 && c.op.top_k == 8 &&
            c.op.m == 64);
  c = call_of("kernel=ep_combine impl=low_latency dtype=bf16 tokens=64 hidden=7168 experts=256 topk=8 gpus=8 "
              "nodes=1");
  cr_expect(c.op.id == FC_OP_EP_REDUCE_LL && c.kernel == FC_KERNEL_EP_COMBINE_LL);
}

Test(shape, what_is_wrong_is_told) {
  static const struct {
    const char *row, *why;
  } cases[] = {
      {"kernel=gemm dtype=bf16 m=1 n=2", "column 'k' is empty"},
      {"kernel=gemm dtype=bf16 m=1 n=-2 k=3", "column 'n': -2 is not positive"},
      {"kernel=gemm dtype=bf16 m=1 n=0 k=3", "column 'n': 0 is not positive"},
      {"kernel=gemm dtype=bf16 m=1e16 n=1 k=3", "column 'm': 1e+16 is too large"},
      {"kernel=gemm dtype= m=1 n=2 k=3", "column 'dtype' is empty"},
      {"kernel=gemm dtype=fp8_blok m=1 n=2 k=3", "'fp8_blok' is no number format; did you mean 'fp8_block'?"},
      {"kernel=gemm dtype=gibberish m=1 n=2 k=3", "'gibberish' is no number format"},
      {"kernel=gem dtype=bf16 m=1 n=2 k=3", "'gem' is no kernel that is modelled; did you mean 'gemm'?"},
      {"kernel=chain_decode dtype=bf16", "'chain_decode' is no kernel that is modelled"},
      {"kernel= dtype=bf16", "column 'kernel' is empty"},
      {"kernel=mla_prefill dtype=bf16 heads=1 q_len=9 kv_len=8",
       "column 'kv_len': 8 is less than q_len, which it includes"},
      {"kernel=mla_decode dtype=bf16 kv_dtype=fp9 heads=1 kv_len=8",
       "'fp9' is no number format; did you mean 'fp8'?"},
      {"kernel=moe_ffn dtype=bf16 tokens=1 hidden=1 inter=1 experts=8 topk=1 skew=-1",
       "column 'skew': -1 is not positive"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fc_measure_row row = row_of(cases[i].row);
    fc_call call;
    char why[FC_SHAPE_WHY] = "";
    cr_expect_not(fc_measure_shape(&call, &row, &h100, why), "%s", cases[i].row);
    cr_expect_str_eq(why, cases[i].why);
    cr_expect_not(fc_measure_shape(&call, &row, &h100, NULL));
  }
}

/* --- our own files say their FLOP and bytes --- */

Test(shape, own_measurements_have_the_flop_that_they_say) {
  char *bytes;
  size_t length, n = 0;
  const char *path = FC_SOURCE_DIR "/kernels/results/cpu-xeon-2core/measurements.csv";
  cr_assert_eq(fc_file_read(&bytes, &length, path, 1 << 24), FC_OK);
  fc_csv_reader *reader;
  cr_assert_eq(fc_csv_open(&reader, path, bytes, length, NULL), FC_OK);
  ptrdiff_t flop = fc_csv_column(reader, "flop"), moved = fc_csv_column(reader, "bytes_moved");
  for (const fc_csv_field *field; fc_csv_next(reader, &field, NULL) == FC_OK && field;) {
    fc_measure_row row = row_of("");
    for (size_t i = 0; i < fc_csv_columns(reader); i++)
      set(&row, fc_csv_column_name(reader, i), field[i].text);
    fc_call call;
    char why[FC_SHAPE_WHY];
    const char *kernel = field[0].text;
    if (strncmp(kernel, "chain_", 6) == 0 || strcmp(kernel, "ceiling_launch") == 0) continue;
    if (strncmp(kernel, "mla_", 4) == 0 && strncmp(kernel, "mla_absorb", 10) != 0)
      continue; /* an eighth's sizes */
    cr_assert(fc_measure_shape(&call, &row, &h100, why), "%s: %s", kernel, why);
    double want_flop, want_bytes;
    cr_assert(fc_csv_number(&want_flop, &field[flop]) && fc_csv_number(&want_bytes, &field[moved]));
    cr_expect(!(fabs(fc_op_flop(&call.op) - want_flop) > 1e-12 * want_flop), "%s line %zu: FLOP", kernel,
              field[0].at.line);
    /* a product's scales were counted where the format now has them */
    cr_expect(!(fabs(fc_op_bytes(&call.op) - want_bytes) > 0.04 * want_bytes),
              "%s line %zu: bytes %g, not %g", kernel, field[0].at.line, fc_op_bytes(&call.op), want_bytes);
    n++;
  }
  cr_expect_gt(n, 250);
  fc_csv_free(reader);
  free(bytes);
}

/* --- experts --- */

Test(moe, balanced_shares_everything_out) {
  static const double tokens[] = {64, 1000, 8192}, ep[] = {1, 2, 8, 64, 256};
  for (size_t t = 0; t < 3; t++)
    for (size_t e = 0; e < 5; e++) {
      double rows, hit;
      fc_moe_busiest(&rows, &hit, tokens[t], 8, 256, ep[e], 0);
      expect(rows, fmax(tokens[t] * 8 / ep[e], 1));
      expect(hit, fmin(256 / ep[e], rows));
    }
  double rows, hit;
  fc_moe_busiest(&rows, &hit, 1, 2, 256, 64, 0);
  expect(rows, 1); /* somebody has it */
  expect(hit, 1);
}

Test(moe, busiest_has_its_share_at_least_and_all_at_most) {
  static const double skew[] = {0.6, 1, 1.01, 1.2, 2}, ep[] = {1, 2, 4, 16, 64};
  for (double tokens = 1; tokens < 1e5; tokens = floor(tokens * 1.7) + 1)
    for (size_t s = 0; s < 5; s++)
      for (size_t e = 0; e < 5; e++) {
        double rows, hit, all = tokens * 8;
        fc_moe_busiest(&rows, &hit, tokens, 8, 256, ep[e], skew[s]);
        cr_expect(rows >= fmax(all / ep[e], 1) * (1 - 1e-12) && rows <= all * (1 + 1e-12), "%g %g %g: %g",
                  tokens, skew[s], ep[e], rows);
        cr_expect(hit >= 1 && hit <= fmin(256 / ep[e], fmax(rows, 1)) * (1 + 1e-12), "%g %g %g: %g", tokens,
                  skew[s], ep[e], hit);
        if (ep[e] == 1) expect(rows, all); /* one rank has all of them */
      }
}

/* The generator has two laws; each is monotone. */
Test(moe, more_tokens_are_more_rows) {
  static const double from[] = {1, 33}, to[] = {32, 1 << 17};
  for (int law = 0; law < 2; law++)
    for (double ep = 2; ep <= 64; ep *= 4) {
      double before = 0;
      for (double tokens = from[law]; tokens <= to[law]; tokens = floor(tokens * 1.3) + 1) {
        double rows, hit;
        fc_moe_busiest(&rows, &hit, tokens, 8, 256, ep, 1.2);
        cr_expect(rows >= before, "%g tokens, ep %g: %g after %g", tokens, ep, rows, before);
        before = rows;
      }
    }
}

Test(moe, skew_loads_the_busiest) {
  for (double ep = 2; ep <= 64; ep *= 2) {
    double before = 0;
    for (double skew = 0; skew <= 1.3; skew += 0.1) {
      double rows, hit;
      fc_moe_busiest(&rows, &hit, 4096, 8, 256, ep, skew);
      cr_expect(rows >= before * (1 - 1e-9), "ep %g, skew %g: %g after %g", ep, skew, rows, before);
      before = rows;
    }
  }
}

/* Quantile (i + 1/2)/n of a density ~ x^-skew on [low, high], in other words than the code's. */
static double load(double skew, double low, double high, double u) {
  if (skew == 1) return low * pow(high / low, u);
  return pow((1 - u) * pow(low, 1 - skew) + u * pow(high, 1 - skew), 1 / (1 - skew));
}

/* One expert a rank: the busiest has the most popular one, or the largest of as many draws by their variance.
 */
static double busiest_of_one(double tokens, double topk, int experts, double skew) {
  bool many = tokens * topk > experts;
  double low = many ? 1 : 0.01, high = many ? 0.8 * tokens : 2, sum = 0, squares = 0;
  for (int i = 0; i < experts; i++) {
    double x = load(skew, low, high, (i + 0.5) / experts);
    sum += x;
    squares += x * x;
  }
  double all = tokens * topk, scale = all / sum, mean = all / experts;
  double variance = fmax(squares * scale * scale - experts * mean * mean, 0) / (experts - 1);
  double t = sqrt(-2 * log(1 - (experts - 0.375) / (experts + 0.25)));
  double draws =
      t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
  double top = load(skew, low, high, 1 - 0.5 / experts) * scale;
  return fmin(fmax(fmax(top, mean + draws * sqrt(variance)), fmax(mean, 1)), all);
}

/* Sums over many experts are integrals but for the steep end; no law and no number of experts shows it. */
Test(moe, loads_are_those_added_one_by_one) {
  static const double skews[] = {0.05, 0.5, 0.9, 0.999, 1, 1.0001, 1.01, 1.2, 1.5, 2, 3, 4, 10};
  static const int experts[] = {8, 9, 20, 31, 64, 100, 128, 160, 256, 384, 512, 1000, 4096};
  for (size_t s = 0; s < sizeof skews / sizeof *skews; s++)
    for (size_t e = 0; e < sizeof experts / sizeof *experts; e++)
      for (double tokens = 2; tokens < 2e5; tokens *= 7) {
        double rows, hit, wanted = busiest_of_one(tokens, 6, experts[e], skews[s]);
        fc_moe_busiest(&rows, &hit, tokens, 6, experts[e], experts[e], skews[s]);
        cr_expect(fabs(rows - wanted) <= 1e-9 * wanted, "%g tokens, %d experts, skew %g: %.12g, not %.12g",
                  tokens, experts[e], skews[s], rows, wanted);
      }
}

/* What is remembered is what would be computed. */
Test(moe, does_not_depend_on_what_was_asked_before) {
  double first[200], rows, hit;
  for (size_t i = 0; i < 200; i++) fc_moe_busiest(&first[i], &hit, 100 + (double)i, 8, 256, 8, 1.2);
  for (size_t i = 0; i < 20000; i++)
    fc_moe_busiest(&rows, &hit, 1000 + (double)i, 4, 64 + (double)(i % 7), 4, 1.01);
  for (size_t i = 200; i-- > 0;) {
    fc_moe_busiest(&rows, &hit, 100 + (double)i, 8, 256, 8, 1.2);
    cr_expect_eq(rows, first[i]);
  }
}

Test(moe, as_an_operator) {
  fc_call c =
      call_of("kernel=moe_ffn impl=x dtype=fp8_block tokens=1024 hidden=7168 inter=2048 experts=256 topk=8 "
              "ep=8 tp=2 skew=1.2");
  double rows, hit;
  fc_moe_busiest(&rows, &hit, 1024, 8, 256, 8, 1.2);
  cr_expect(c.op.id == FC_OP_MOE && c.op.n == 7168 && c.op.k == 1024 && c.op.experts == 32 &&
            c.op.ranks == 8);
  cr_expect(c.op.m == rows && c.op.groups == hit && c.op.tokens == 1024 && c.op.skew == 1.2 && c.op.ragged);
  expect(c.op.imbalance, rows * 8 / (1024 * 8));
}
