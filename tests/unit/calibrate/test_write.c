/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/calibrate/write.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <fleetcast/cost/operator.h>

#include "profile_text.h"

/* What the writer makes of a profile; the caller's to free. */
static char *written(const fc_profile *profile, size_t *length) {
  char path[64];
  (void)snprintf(path, sizeof path, "/tmp/fleetcast-write-%ld.yaml", (long)getpid());
  fc_file *file;
  cr_assert_eq(fc_file_create(&file, path), FC_OK);
  fc_profile_write(file, profile, "fleetcast fit x.csv\nkind: scenario");
  cr_assert_eq(fc_file_commit(file), FC_OK);
  char *bytes;
  cr_assert_eq(fc_file_read(&bytes, length, path, 1 << 26), FC_OK);
  (void)unlink(path);
  return bytes;
}

/* write(load(write(p))) is write(p): what is written lost no more than its own digits. */
static void expect_stable(const fc_input *input) {
  size_t n, again_n;
  char *first = written(fc_input_profile(input), &n);
  fc_input *again = load_profile(first, n);
  char *second = written(fc_input_profile(again), &again_n);
  cr_expect_str_eq(first, second);
  fc_input_free(again);
  free(first);
  free(second);
}

Test(write, what_is_written_reads_back_and_is_written_the_same) {
  fc_input *input = load_profile(profile_text, sizeof profile_text - 1);
  expect_stable(input);
  fc_input_free(input);
}

Test(write, shipped_profiles_are_written_stably) {
  static const char *const names[] = {"a100", "b200", "h100", "mi300x", "tpu-v5p"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char path[512];
    static const char *const dirs[] = {FC_SOURCE_DIR "/scenarios"};
    fc_load_options options = {.n_data_dirs = 1, .data_dirs = dirs};
    (void)snprintf(path, sizeof path, FC_SOURCE_DIR "/scenarios/profiles/%s.yaml", names[i]);
    fc_input *input;
    cr_assert_eq(fc_input_load(&input, path, &options, NULL), FC_OK);
    fc_profile p = *fc_input_profile(input);
    p.device_name = "alpha"; /* that the tests' data folder has */
    size_t n, again_n;
    char *first = written(&p, &n);
    fc_input *again = load_profile(first, n);
    char *second = written(fc_input_profile(again), &again_n);
    cr_expect_str_eq(first, second, "%s", names[i]);
    cr_expect_eq(fc_input_profile(again)->n_kernels, p.n_kernels);
    free(first);
    free(second);
    fc_input_free(again);
    fc_input_free(input);
  }
}

Test(write, values_survive) {
  fc_input *input = load_profile(profile_text, sizeof profile_text - 1);
  size_t n;
  char *text = written(fc_input_profile(input), &n);
  fc_input *again = load_profile(text, n);
  const fc_kernel_fit *a = &fc_input_profile(input)->kernels[0], *b = &fc_input_profile(again)->kernels[0];
  cr_expect_float_eq(b->coef.t0_s, 2.289e-6, 1e-12);
  cr_expect_float_eq(b->coef.bytes_per_s, 1e12, 1);
  cr_expect_str_eq(b->impl, "a: b");
  cr_expect_str_eq(b->format, "fp8_block");
  cr_expect_str_eq(fc_input_profile(again)->source, "a \"quoted\" \\ source");
  cr_expect(b->min_flop <= a->min_flop && b->max_flop >= a->max_flop, "the range shrank");
  cr_expect(b->min_bytes <= a->min_bytes && b->max_bytes >= a->max_bytes, "the range shrank");
  cr_assert_eq(b->local->n, 3);
  cr_expect_eq(b->local->op[1].n, 2112.5);
  cr_expect_eq(b->local->op[1].weight_bytes, 1);
  cr_expect_eq(b->local->weight[0], a->local->weight[0]);
  cr_expect_eq(b->local->own, 0.01F);
  cr_expect_eq(b->points, 1234);
  cr_expect(memcmp(a->local->x, b->local->x, 3 * sizeof(float)) == 0);
  const fc_local *memory = fc_input_profile(again)->kernels[3].local;
  cr_expect_eq(memory->op[1].id, FC_OP_COPY);
  cr_expect_eq(memory->op[1].payload_bytes, 1e9);
  fc_input_free(again);
  free(text);
  fc_input_free(input);
}

static size_t lines_that_differ(const char *a, const char *b) {
  size_t n = 0;
  while (*a && *b) {
    size_t i = strcspn(a, "\n"), k = strcspn(b, "\n");
    n += i != k || memcmp(a, b, i) != 0;
    a += i + (a[i] == '\n');
    b += k + (b[k] == '\n');
  }
  return n + (*a || *b);
}

Test(write, one_coefficient_is_one_line) {
  fc_input *input = load_profile(profile_text, sizeof profile_text - 1);
  size_t n;
  char *before = written(fc_input_profile(input), &n);
  fc_kernel_fit kernels[6];
  fc_profile p = *fc_input_profile(input);
  cr_assert_eq(p.n_kernels, 6);
  memcpy(kernels, p.kernels, sizeof kernels);
  p.kernels = kernels;
  kernels[0].coef.t0_s *= 1.5;
  char *after = written(&p, &n);
  cr_expect_eq(lines_that_differ(before, after), 1);
  kernels[0].coef.t0_s /= 1.5 * (1 + 1e-9);
  free(after);
  after = written(&p, &n);
  cr_expect_str_eq(before, after); /* below the digits: nothing moves */
  free(before);
  free(after);
  fc_input_free(input);
}

/* Three digits of an almost singular matrix are indefinite: the writer mends that. */
Test(write, a_rounded_covariance_stays_one) {
  static const double v[] = {1.23456, 1.2345, 1.23444};
  fc_input *input = load_profile(profile_text, sizeof profile_text - 1);
  fc_profile p = *fc_input_profile(input);
  fc_kernel_fit kernel = p.kernels[1];
  kernel.covariance = v;
  kernel.n_covariance = 3;
  p.kernels = &kernel;
  p.n_kernels = 1;
  size_t n;
  char *text = written(&p, &n);
  fc_input *again = load_profile(text, n);
  cr_expect_eq(fc_input_profile(again)->kernels[0].n_covariance, 3);
  fc_input_free(again);
  free(text);
  fc_input_free(input);
}

/* 100 kernels of 400 anchors, a few megabytes: loading them is not to be noticed. */
Test(write, large_profiles_load_fast) {
  enum { KERNELS = 100, ANCHORS = 400 };
  fc_text text = {0};
  fc_text_add(&text, "kind: profile\ndevice: alpha\nkernels:\n");
  for (int k = 0; k < KERNELS; k++) {
    fc_text_printf(
        &text,
        "  - kernel: gemm\n    impl: i%d\n    coefficients: {flop_rate: 1 PFLOP/s, bandwidth: 1 TB/s}\n"
        "    provenance: measured\n    local:\n      coordinates: [ln_m, ln_n, ln_k, wave_128x128]\n"
        "      smooth: 0.1\n      length: [1, 1, 1, 1]\n      rough_length: [1, 1, 1, 1]\n      scale: 2\n"
        "      anchors: |\n        m,n,k,groups,ragged,weight,scatter\n",
        k);
    for (int i = 0; i < ANCHORS; i++)
      fc_text_printf(&text, "        %d,%d,%d,1,0,%.7g,%.4g\n", i * 37 + 1, 7168 + 64 * k, 18432 + i,
                     sin((double)i) / 3, 0.01 + 0.001 * (double)i);
  }
  struct timespec a, b;
  (void)clock_gettime(CLOCK_MONOTONIC, &a);
  fc_input *input = load_profile(text.bytes, text.length);
  (void)clock_gettime(CLOCK_MONOTONIC, &b);
  double s = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
  cr_log_info("%.1f MB in %.3f s", 1e-6 * (double)text.length, s);
  cr_expect_eq(fc_input_profile(input)->kernels[99].local->n, ANCHORS);
  cr_expect(s < 5, "%g s", s); /* 0.1 s without instrumentation */
  fc_input_free(input);
  fc_text_fini(&text);
}
