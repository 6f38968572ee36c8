/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fleetcast/base/file.h>
#include <fleetcast/calibrate/shape.h>
#include <fleetcast/cost/predict.h>

static fc_measure_row empty_row(const char *kernel, const char *dtype, const char *kv) {
  fc_measure_row row = {0};
  for (size_t i = 0; i < FC_MEASURE_NUMBER_COUNT; i++) row.number[i] = (double)NAN;
  for (size_t i = 0; i < FC_MEASURE_TEXT_COUNT; i++) row.text[i] = (fc_slice){"", 0};
  row.text[FC_MEASURE_kernel] = (fc_slice){kernel, strlen(kernel)};
  row.text[FC_MEASURE_dtype] = (fc_slice){dtype, strlen(dtype)};
  row.text[FC_MEASURE_kv_dtype] = (fc_slice){kv, strlen(kv)};
  return row;
}

static fc_measure_row fake_row(size_t family, size_t i) {
  static const double sites[3][2] = {{7168, 2048}, {4096, 7168}, {24576, 1536}};
  fc_measure_row row;
  double *x;
  switch (family) {
  case 0:
    row = empty_row("gemm", "fp8_block", "");
    x = row.number;
    x[FC_MEASURE_m] = exp2((double)(i / 3) + 3);
    x[FC_MEASURE_n] = sites[i % 3][0];
    x[FC_MEASURE_k] = sites[i % 3][1];
    break;
  case 1:
    row = empty_row("attention_decode", "bf16", "fp8");
    x = row.number;
    x[FC_MEASURE_batch] = exp2((double)(i % 6));
    x[FC_MEASURE_heads] = 32;
    x[FC_MEASURE_kv_heads] = i % 2 ? 8 : 4;
    x[FC_MEASURE_head_dim] = 128;
    x[FC_MEASURE_q_len] = 1;
    x[FC_MEASURE_kv_len] = exp2((double)(i / 6) + 9);
    break;
  case 2:
    row = empty_row(i % 2 ? "norm_q" : "swiglu_q", "fp8", "");
    x = row.number;
    x[FC_MEASURE_tokens] = exp2((double)(i / 2) + 2);
    x[FC_MEASURE_hidden] = i % 2 ? 7168 : 2048;
    break;
  default:
    row = empty_row("all_reduce", "bf16", "");
    x = row.number;
    x[FC_MEASURE_bytes] = exp2((double)(i / 3) + 14);
    x[FC_MEASURE_gpus] = exp2((double)(i % 3) + 1);
    break;
  }
  return row;
}

static void fill_family(fake_fit *f, size_t index) {
  static const char *const impl[FAKE_FAMILIES] = {"<ours> & \"theirs\"", "split-kv", "fused", "nccl"};
  fc_family *family = &f->family[index];
  fc_kernel_fit *fit = &f->kernel[index];
  fc_family_report *report = &f->report[index];
  *family = (fc_family){.impl = impl[index], .first = index * FAKE_POINTS, .n = FAKE_POINTS};
  for (size_t i = 0; i < FAKE_POINTS; i++) {
    fc_measure_row row = fake_row(index, i);
    fc_call call;
    fc_point *point = &f->point[family->first + i];
    if (!fc_measure_shape(&call, &row, &f->device, NULL)) abort();
    family->kernel = call.kernel;
    family->format = call.format;
    family->kv_format = call.kv_format;
    *point = (fc_point){.op = call.op, .family = (uint32_t)index, .line = (uint32_t)(2 + i + family->first)};
  }
  static const fc_form forms[FAKE_FAMILIES] = {FC_FORM_GEMM, FC_FORM_ATTENTION, FC_FORM_MEMORY,
                                               FC_FORM_COLLECTIVE};
  *fit = (fc_kernel_fit){.kernel = family->kernel,
                         .dtype = family->format->dtype,
                         .form = forms[index],
                         .impl = impl[index],
                         .spread_shape = 0.05 * (double)(index + 1)};
  fit->format = family->format->text;
  fit->coef = (fc_coef){.t0_s = 4e-6,
                        .flop_per_s = 700e12,
                        .bytes_per_s = index == 3 ? 300e9 : 2.5e12,
                        .tile_s = 1e-6,
                        .sharpness = 3,
                        .half_length = 100,
                        .half_bytes = 1e5};
  *report = (fc_family_report){.family = family,
                               .fit = fit,
                               .median_error = 0.03,
                               .p90_error = 0.1,
                               .form_median_error = 0.07,
                               .coverage = 0.9,
                               .noise = 0.01,
                               .shapes = FAKE_POINTS};
  fc_predictor predictor;
  fc_predictor_init(&predictor, fit, &f->device);
  for (size_t i = 0; i < FAKE_POINTS; i++) {
    fc_point *point = &f->point[family->first + i];
    fc_prediction p;
    if (fc_predict(&p, &predictor, &point->op)) abort();
    point->seconds = p.seconds * exp(0.1 * sin((double)(7 * i + index)));
    if (i >= 5) continue;
    report->worst[i] = family->first + i;
    report->fitted_s[i] = p.seconds;
    report->low_s[i] = p.low_s;
    report->high_s[i] = p.high_s;
  }
}

void fake_fit_init(fake_fit *f) {
  memset(f, 0, sizeof *f);
  f->device = (fc_device){.name = "fake",
                          .title = "Fake <1> & Co",
                          .vendor = "F",
                          .memory_bytes = 80e9,
                          .memory_bytes_per_s = 3.35e12,
                          .compute_units = 132,
                          .scaleup_bytes_per_s = 900e9,
                          .scaleup_devices = 8,
                          .scaleout_bytes_per_s = 50e9,
                          .node_devices = 8,
                          .tdp_w = 700};
  f->device.peak_flop_per_s[FC_DTYPE_FP8] = 1979e12;
  f->device.peak_flop_per_s[FC_DTYPE_BF16] = 989e12;
  for (size_t i = 0; i < FAKE_FAMILIES; i++) fill_family(f, i);
  f->table = (fc_table){.n_points = FAKE_FAMILIES * FAKE_POINTS,
                        .n_families = FAKE_FAMILIES,
                        .point = f->point,
                        .family = f->family,
                        .n_rows = 100,
                        .n_left_out = 4};
  memset(f->table.sha256, 'a', 64);
  f->fit.n = FAKE_FAMILIES;
  f->fit.fit = f->kernel;
  f->fit.report = f->report;
}

char *fake_read_back(fc_file *file, const char *path) {
  char *bytes;
  size_t length;
  if (fc_file_commit(file) || fc_file_read(&bytes, &length, path, 64 << 20)) return NULL;
  (void)unlink(path);
  return bytes;
}
