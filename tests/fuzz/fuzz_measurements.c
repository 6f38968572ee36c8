/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/assert.h>
#include <fleetcast/base/csv.h>
#include <fleetcast/calibrate/predict.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One fit of every kernel, so that every operator is predicted. */
static void make_profile(fc_profile *out, fc_device *device, fc_kernel_fit fit[FC_KERNEL_COUNT]) {
  static const fc_form form[FC_KERNEL_COUNT] = {
#define FORM(name, text, of) FC_FORM_##of,
      FC_KERNEL_MAP(FORM)
#undef FORM
  };
  *device = (fc_device){.name = "x",
                        .memory_bytes = 1e9,
                        .memory_bytes_per_s = 1e12,
                        .compute_units = 4,
                        .scaleup_bytes_per_s = 1e11,
                        .scaleup_devices = 8,
                        .scaleout_bytes_per_s = 1e10,
                        .node_devices = 8};
  for (int i = 0; i < FC_DTYPE_COUNT; i++) device->peak_flop_per_s[i] = 1e14;
  for (int i = 0; i < FC_KERNEL_COUNT; i++)
    fit[i] = (fc_kernel_fit){
        .kernel = (fc_kernel)i,
        .dtype = i % 2 ? FC_DTYPE_BF16 : FC_DTYPE_FP8,
        .impl = "x",
        .form = form[i],
        .coef = {.t0_s = 1e-6, .flop_per_s = 1e13, .bytes_per_s = 1e11, .net_bytes_per_s = 1e9},
        .spread_shape = 0.1};
  *out = (fc_profile){.name = "x", .device = device, .n_kernels = FC_KERNEL_COUNT, .kernels = fit};
}

/* Rows and malformed rows as the CSV reader counts them. */
static size_t count_rows(const char *bytes, size_t size, size_t *skipped) {
  fc_csv_reader *reader;
  if (fc_csv_open(&reader, "fuzz", bytes, size, NULL)) return 0;
  size_t n = 0;
  const fc_csv_field *row;
  while (fc_csv_next(reader, &row, NULL) == FC_OK && row) n++;
  *skipped = fc_csv_skipped(reader);
  fc_csv_free(reader);
  return n + *skipped;
}

/* Whatever the bytes: no crash, every row is counted once, shares are shares. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fc_device device;
  fc_kernel_fit fit[FC_KERNEL_COUNT];
  fc_profile profile;
  make_profile(&profile, &device, fit);
  fc_diags d;
  fc_diags_init(&d);
  fc_scores scores;
  fc_predict_options options = {.threads = 1};
  if (fc_predict_file(&scores, &profile, "fuzz", (const char *)data, size, &options, &d)) {
    FC_ASSERT(d.n_errors > 0 && !scores.texts);
    return 0;
  }
  size_t points = 0, skipped = 0;
  for (size_t i = 0; i < scores.n; i++) {
    const fc_score *s = &scores.score[i];
    points += s->points;
    FC_ASSERT(s->points > 0 && s->outside <= s->points && s->clamped <= s->points);
    FC_ASSERT(isnan(s->coverage) || (s->coverage >= 0 && s->coverage <= 1));
    FC_ASSERT(isnan(s->median) || (s->median >= 0 && s->median <= s->p90));
  }
  FC_ASSERT(points + scores.unmodelled + scores.malformed == scores.rows);
  FC_ASSERT(scores.malformed == d.n_errors);
  FC_ASSERT(count_rows((const char *)data, size, &skipped) == scores.rows && skipped <= scores.malformed);
  fc_scores_fini(&scores);
  return 0;
}
