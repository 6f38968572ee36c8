/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/scenario/load.h>

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "scenario_support.h"

#define DEVICE(memory, rest)                                                                                 \
  "kind: device\nvendor: v\npeak: {bf16: 1 PFLOP/s}\nmemory: " memory                                        \
  "\nmemory_bandwidth: 3 TB/s\ncompute_units: 132\npower: {tdp: 700 W}\n" rest

/* --- the examples of the style guide --- */

Test(scenario_values, diagnostics_as_promised) {
  expect_error("kind: device\nmemory: 0 B\n", NULL, "x.yaml:1:1: error: this device lacks the key 'vendor'");
  expect_error(DEVICE("80 GB", "node_devices: 0\n"), NULL,
               "x.yaml:8:15: error: 'node_devices' = 0 devices is outside [1, 10000]");
  expect_error(DEVICE("80 GB", "colour: red\n"), NULL, "x.yaml:8:1: error: unknown key 'colour'");
  expect_error(DEVICE("80 GB", "memroy: 3\n"), NULL,
               "x.yaml:8:1: error: unknown key 'memroy'; did you mean 'memory'?");
}

/* --- every way to write one number --- */

Test(scenario_values, one_number_in_all_its_forms) {
  static const struct {
    const char *yaml;
    double memory;
    size_t uncertain;
  } forms[] = {
      {DEVICE("80 GB", ""), 80e9, 0},
      {DEVICE("\"80 GB\"", ""), 80e9, 0},
      {DEVICE("{value: 80 GB}", ""), 80e9, 0},
      {DEVICE("{value: 80 GB, source: s, note: n}", ""), 80e9, 0},
      {DEVICE("{dist: uniform, min: 70 GB, max: 90 GB}", ""), 80e9, 1},
      {DEVICE("{dist: loguniform, min: 40 GB, max: 160 GB}", ""), 80e9, 1},
      {DEVICE("{dist: normal, mean: 80 GB, sd: 1 GB}", ""), 80e9, 1},
      {DEVICE("{dist: lognormal, median: 80 GB, p90: 90 GB}", ""), 80e9, 1},
      {DEVICE("{dist: lognormal, median: 80 GB, p95: 90 GB}", ""), 80e9, 1},
      {DEVICE("{dist: lognormal, median: 80 GB, sigma: 0.2}", ""), 80e9, 1},
      {DEVICE("{dist: lognormal, p10: 40 GB, p90: 160 GB}", ""), 80e9, 1},
      {DEVICE("{dist: triangular, min: 70 GB, mode: 80 GB, max: 90 GB}", ""), 80e9, 1},
      {DEVICE("{dist: normal, mean: 80 GB, sd: 1 GB, min: 70 GB, max: 90 GB, source: s}", ""), 80e9, 1},
      {DEVICE("{value: {dist: uniform, min: 70 GB, max: 90 GB}, source: s}", ""), 80e9, 1},
  };
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    fc_input *input = parse_ok(forms[i].yaml, NULL);
    cr_expect(fabs(fc_input_device(input)->memory_bytes / forms[i].memory - 1) < 1e-12, "form %zu: %.17g", i,
              fc_input_device(input)->memory_bytes);
    cr_expect_eq(fc_input_n_uncertain(input), forms[i].uncertain);
    fc_load_options none = {0};
    expect_round_trip(input, &none);
    fc_input_free(input);
  }
}

Test(scenario_values, billions_without_unit) {
  fc_input *input = parse_ok(
      "kind: model\nlayers: 4\nhidden: 256\nvocab: 1 k\nffn: 1024\npublished: {total: 671 B, active: 37B}\n"
      "attention: {kind: gqa, heads: 8, kv_heads: 2, head_dim: 32, window: 128 tokens, window_layers: 2}\n",
      NULL);
  const fc_model *m = fc_input_model(input);
  cr_expect_eq(m->published_total_params, 671e9);
  cr_expect_eq(m->published_active_params, 37e9);
  cr_expect_eq(m->vocab, 1000);
  cr_expect_eq(m->attention.window, 128);
  cr_expect_eq(m->weights, FC_DTYPE_BF16);
  fc_input_free(input);
}

/* --- distributions are registered, and can be set --- */

Test(scenario_values, distributions_are_listed_and_settable) {
  fc_input *input =
      parse_ok(DEVICE("{dist: uniform, min: 70 GB, max: 90 GB}",
                      "node_devices: {dist: uniform, min: 4, max: 16}\n"
                      "rent: {start: 2024-01, value: {dist: lognormal, median: 2 USD/h, p90: 3 USD/h},\n"
                      "       growth: {factor_per_year: {dist: uniform, min: 0.5, max: 0.9}}}\n"),
               NULL);
  const fc_device *d = fc_input_device(input);
  cr_assert_eq(fc_input_n_uncertain(input), 4);
  static const char *const paths[] = {"memory", "node_devices", "rent", "rent.growth.factor_per_year"};
  for (size_t i = 0; i < 4; i++) cr_expect_str_eq(fc_input_uncertain_at(input, i)->path, paths[i]);
  cr_expect_eq(fc_input_uncertain_at(input, 0)->at.line, 4);
  cr_expect_eq(fc_input_uncertain_at(input, 0)->dist.kind, FC_DIST_UNIFORM);
  fc_input_set_uncertain(input, 0, 77e9);
  cr_expect_eq(d->memory_bytes, 77e9);
  fc_input_set_uncertain(input, 1, 7.6);
  cr_expect_eq(d->node_devices, 8);
  fc_input_set_uncertain(input, 2, 5.0 / 3600);
  cr_expect_eq(d->rent_usd_per_s.point[0].value, 5.0 / 3600);
  cr_expect_eq(d->rent_usd_per_s.factor_per_year, 0.7);
  fc_input_set_uncertain(input, 3, 0.6);
  cr_expect_eq(d->rent_usd_per_s.factor_per_year, 0.6);
  fc_input_set_uncertain(input, 0, -1); /* never outside the key's range */
  cr_expect_eq(d->memory_bytes, 1e8);
  fc_input_free(input);
}

Test(scenario_values, tails_are_cut_at_the_range_of_the_key) {
  fc_input *input = parse_ok(DEVICE("{dist: normal, mean: 80 GB, sd: 100 GB}", ""), NULL);
  const fc_dist *d = &fc_input_uncertain_at(input, 0)->dist;
  cr_expect_eq(d->min, 1e8);
  cr_expect_eq(d->max, 1e14);
  cr_expect(fc_input_device(input)->memory_bytes > 80e9); /* the median of what is left */
  fc_input_free(input);
}

/* --- series --- */

Test(scenario_values, series_in_all_its_forms) {
  static const struct {
    const char *yaml;
    size_t n;
    double at_2025; /* USD/h on 2025-01-01 */
  } forms[] = {
      {DEVICE("80 GB", "rent: 2 USD/h\n"), 1, 2},
      {DEVICE("80 GB", "rent: {value: 2 USD/h, source: s}\n"), 1, 2},
      {DEVICE("80 GB", "rent: {dist: uniform, min: 1 USD/h, max: 3 USD/h}\n"), 1, 2},
      {DEVICE("80 GB",
              "rent: [{date: 2024-01-01, value: 4 USD/h}, {date: 2026-01-02, value: 2 USD/h, source: s}]\n"),
       2, 3},
      {DEVICE("80 GB", "rent: {interp: step, points: [{date: 2024-01-01, value: 4 USD/h}, {date: 2026-01-01, "
                       "value: 2 USD/h}]}\n"),
       2, 4},
      {DEVICE("80 GB", "rent: {start: 2024-01-01T18:00, value: 4 USD/h, growth: {factor_per_year: 0.5}}\n"),
       1, 2},
      {DEVICE("80 GB", "rent: {start: 2024-01-01T18:00, value: 4 USD/h, growth: {rate: -50 %/yr}}\n"), 1, 2},
      {DEVICE("80 GB", "rent: {start: 2024-01-01, value: 4 USD/h, growth: {kind: hold}}\n"), 1, 4},
  };
  fc_time when = fc_time_from_civil((fc_civil){.year = 2025, .month = 1, .day = 1});
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    fc_input *input = parse_ok(forms[i].yaml, NULL);
    const fc_series *s = &fc_input_device(input)->rent_usd_per_s;
    cr_expect_eq(s->n, forms[i].n);
    double have = 3600 * fc_series_at(s, when);
    cr_expect(fabs(have - forms[i].at_2025) < 1e-3, "form %zu: %.9g", i, have);
    fc_load_options none = {0};
    expect_round_trip(input, &none);
    fc_input_free(input);
  }
}

/* --- sources --- */

Test(scenario_values, sources_are_inherited_and_overridden) {
  fc_input *input = parse_ok(DEVICE("{value: 80 GB, source: mine}",
                                    "scaleup: {bandwidth: 900 GB/s, devices: {value: 8, source: own}}\n"
                                    "rent: [{date: 2024-01, value: 2 USD/h, source: market}]\n"
                                    "source: file\n"),
                             NULL);
  static const char *const want[][3] = {
      {"peak.bf16", "1 PFLOP/s", "file"},
      {"memory", "80 GB", "mine"},
      {"memory_bandwidth", "3 TB/s", "file"},
      {"compute_units", "132", "file"},
      {"scaleup.bandwidth", "900 GB/s", "file"},
      {"scaleup.devices", "8", "own"},
      {"power.tdp", "700 W", "file"},
      {"rent[0].value", "2 USD/h", "market"},
  };
  size_t k = 0;
  for (size_t i = 0; i < fc_input_n_sources(input); i++) {
    const fc_input_source *s = fc_input_source_at(input, i);
    if (k < 8 && strcmp(s->path, want[k][0]) == 0) {
      cr_expect_str_eq(s->value, want[k][1]);
      cr_expect_str_eq(s->source, want[k][2]);
      k++;
    }
  }
  cr_expect_eq(k, 8, "found %zu", k);
  fc_input_free(input);
}

/* --- profiles --- */

Test(scenario_values, a_profile_in_full) {
  fc_load_options options = {.n_data_dirs = 1, .data_dirs = test_data_dirs, .files = &fc_input_disk};
  fc_input *input = parse_ok(
      "kind: profile\nname: p\ndevice: alpha\nsource: \"bench of 2026\"\n"
      "measurements_sha256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
      "kernels:\n"
      "  - kernel: gemm\n    dtype: fp8\n    impl: deepgemm\n    form: gemm\n"
      "    coefficients: {t0: 5 us, flop_rate: 1.4 PFLOP/s, bandwidth: 2.8 TB/s, sharpness: 3}\n"
      "    covariance: [0.01, 0, 0.01, 0, 0.001, 0.01, 0, 0, 0, 0.01]\n"
      "    spread: {systematic: 5 %, shape: 0.1}\n    range: {min_flop: 1 MFLOP, max_flop: 10 TFLOP}\n"
      "    provenance: measured\n"
      "  - {kernel: all_reduce, coefficients: {t0: 12 us, bandwidth: 350 GB/s, half_bytes: 4 MB}, "
      "provenance: published,\n"
      "     source: nccl-tests}\n"
      "  - {kernel: attention_prefill, coefficients: {flop_rate: 600 TFLOP/s, bandwidth: 2.8 TB/s, "
      "half_length: 512},\n"
      "     provenance: transferred}\n"
      "overheads: {launch: 2 us, iteration_host: 1 ms, contention: 1.2, comm_compute_units: 20}\n"
      "power: {compute_fraction: 95 %, memory_fraction: 0.6}\n",
      &options);
  const fc_profile *p = fc_input_profile(input);
  cr_assert_not_null(p->device);
  cr_expect_str_eq(p->device->name, "alpha");
  cr_expect_eq(p->n_kernels, 3);
  cr_expect_eq(p->provenance, FC_PROVENANCE_TRANSFERRED);
  cr_expect_eq(p->kernels[0].coef.flop_per_s, 1.4e15);
  cr_expect_eq(p->kernels[0].n_covariance, 10);
  cr_expect_eq(p->kernels[0].spread_systematic, 0.05);
  cr_expect_str_eq(p->kernels[0].source, "bench of 2026");
  cr_expect_str_eq(p->kernels[1].source, "nccl-tests");
  cr_expect_eq(p->kernels[1].form, FC_FORM_COLLECTIVE);
  cr_expect_eq(p->kernels[2].form, FC_FORM_ATTENTION);
  cr_expect_eq(p->kernels[2].coef.half_length, 512);
  cr_expect_eq(p->power_compute_fraction, 0.95);
  cr_expect_eq(fc_input_n_files(input), 1); /* the device; this text is no file */
  expect_round_trip(input, &options);
  fc_input_free(input);
}
