/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/scenario/load.h>

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scenario_support.h"

/* --- files in memory: includes and references without a disk --- */

typedef struct {
  const char *path, *text;
} memory_file;

static fc_status read_memory(void *context, char **bytes, size_t *length, const char *path) {
  for (const memory_file *f = context; f->path; f++) {
    if (strcmp(f->path, path) != 0) continue;
    *length = strlen(f->text);
    *bytes = malloc(*length + 1);
    memcpy(*bytes, f->text, *length + 1);
    return FC_OK;
  }
  return FC_E_IO;
}

Test(scenario_load, includes_merge_below) {
  static const memory_file files[] = {
      {"d/main.yaml", "kind: device\ninclude: [low.yaml, sub/high.yaml]\nmemory: 1 GB\npower: {idle: 1 W}\n"},
      {"d/low.yaml", "vendor: low\nmemory: 2 GB\nmemory_bandwidth: 2 GB/s\npower: {tdp: 2 W, idle: 2 W}\n"
                     "rent: [{date: 2024-01, value: 2 USD/h}, {date: 2025-01, value: 2 USD/h}]\n"},
      {"d/sub/high.yaml",
       "vendor: high\ninclude: deep.yaml\npower: {tdp: 3 W}\nrent: [{date: 2024-01, value: 3 USD/h}]\n"},
      {"d/sub/deep.yaml", "kind: device\nvendor: deep\ncompute_units: 4\npeak: {bf16: 4 TFLOP/s}\n"},
      {NULL, NULL}};
  fc_input_files fs = {.read = read_memory, .context = (void *)(uintptr_t)files};
  fc_load_options options = {.files = &fs};
  fc_input *input = load_ok("d/main.yaml", &options);
  const fc_device *d = fc_input_device(input);
  cr_expect_str_eq(d->name, "main");
  cr_expect_str_eq(d->vendor, "high"); /* a later file wins */
  cr_expect_eq(d->memory_bytes, 1e9);  /* the including file wins over all */
  cr_expect_eq(d->memory_bytes_per_s, 2e9);
  cr_expect_eq(d->idle_w, 1);
  cr_expect_eq(d->tdp_w, 3); /* mappings merge key by key */
  cr_expect_eq(d->compute_units, 4);
  cr_expect_eq(d->rent_usd_per_s.n, 1); /* lists replace */
  cr_expect_eq(fc_input_n_files(input), 4);
  cr_expect_str_eq(fc_input_file_at(input, 0)->path, "d/main.yaml");
  fc_input_free(input);
}

Test(scenario_load, without_files_references_stay_open) {
  fc_input *input = parse_ok(
      "kind: profile\ndevice: alpha\nkernels:\n  - {kernel: memory, coefficients: {bandwidth: 1 TB/s}, "
      "provenance: transferred}\n",
      NULL);
  const fc_profile *p = fc_input_profile(input);
  cr_expect_null(p->device);
  cr_expect_str_eq(p->device_name, "alpha");
  cr_expect_eq(p->provenance, FC_PROVENANCE_TRANSFERRED);
  cr_expect_eq(p->kernels[0].form, FC_FORM_MEMORY);
  cr_expect_eq(p->contention, 1);
  cr_expect_null(fc_input_device(input));
  fc_input_free(input);
}

Test(scenario_load, main_file_that_is_not_there_is_io) {
  fc_diags d;
  fc_diags_init(&d);
  fc_input *input;
  cr_expect_eq(fc_input_load(&input, "/nonexistent/x.yaml", NULL, &d), FC_E_IO);
  cr_expect_null(input);
  cr_expect_eq(d.n, 1);
  char text[512];
  fc_diag_format(text, sizeof text, &d.item[0]);
  cr_expect_str_eq(text, "/nonexistent/x.yaml: error: No such file or directory");
}

Test(scenario_load, null_diagnostics_are_allowed) {
  fc_input *input;
  cr_expect_eq(fc_input_parse(&input, "x", "kind: device\nmemory: 3", 22, NULL, NULL), FC_E_INPUT);
  cr_expect_null(input);
  fc_input_free(NULL);
}

Test(scenario_load, another_kind_than_expected) {
  fc_load_options options = {.expect = FC_INPUT_SCENARIO};
  expect_error("kind: model\nlayers: 3\n", &options,
               "x.yaml:1:7: error: a model, but a scenario is wanted here");
}

/* --- overrides --- */

Test(scenario_load, overrides_reach_everywhere) {
  const char *set[] = {"memory=96 GB", "power.tdp={value: 500 W, source: test}", "rent[1].value=9 USD/h",
                       "scaleup.devices=72", "title=\"new: one\""};
  fc_load_options options = {.n_set = 5, .set = set};
  fc_input *input =
      parse_ok("kind: device\nvendor: v\npeak: {bf16: 1 PFLOP/s}\nmemory: 80 GB\nmemory_bandwidth: 3 TB/s\n"
               "compute_units: 132\npower: {tdp: 700 W}\nrent:\n  - {date: 2024-01, value: 1 USD/h}\n"
               "  - {date: 2024-02, value: 2 USD/h}\n",
               &options);
  const fc_device *d = fc_input_device(input);
  cr_expect_eq(d->memory_bytes, 96e9);
  cr_expect_eq(d->tdp_w, 500);
  cr_expect_eq(d->rent_usd_per_s.point[1].value, 9.0 / 3600);
  cr_expect_eq(d->scaleup_devices, 72);
  cr_expect_str_eq(d->title, "new: one");
  fc_input_free(input);
}

/* --- sizes --- */

Test(scenario_load, huge_files_are_refused) {
  size_t n = 16 * 1024 * 1024 + 1;
  char *text = malloc(n);
  memset(text, '#', n);
  fc_diags d;
  fc_diags_init(&d);
  fc_input *input;
  cr_expect_eq(fc_input_parse(&input, "huge.yaml", text, n, NULL, &d), FC_E_INPUT);
  cr_expect_str_eq(d.item[0].text, "16777217 bytes is more than the 16 MiB that a file may have");
  free(text);
}

static double seconds(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Each of these took libyaml's own loader, or a careless reader, seconds. */
Test(scenario_load, hostile_files_are_refused_quickly) {
  enum { N = 1024 * 1024 };
  char *text = malloc(N + 1);
  fc_input *input;
  double start = seconds();
  memset(text, '[', N);
  cr_expect_eq(fc_input_parse(&input, "x", text, N, NULL, NULL), FC_E_INPUT);
  for (size_t i = 0; i + 2 <= N; i += 2) memcpy(text + i, "- ", 2);
  cr_expect_eq(fc_input_parse(&input, "x", text, N, NULL, NULL), FC_E_INPUT);
  size_t used = (size_t)sprintf(text, "[");
  while (used + 2 < N) used += (size_t)sprintf(text + used, "1,");
  cr_expect_eq(fc_input_parse(&input, "x", text, used, NULL, NULL), FC_E_INPUT);
  used = (size_t)sprintf(text, "kind: scenario\n");
  for (int i = 0; used + 32 < N; i++) used += (size_t)sprintf(text + used, "key%d: 1\n", i);
  cr_expect_eq(fc_input_parse(&input, "x", text, used, NULL, NULL), FC_E_INPUT);
  cr_expect(seconds() - start < 20, "%g s", seconds() - start);
  free(text);
}

Test(scenario_load, at_most_32_diagnostics) {
  char text[4096];
  size_t used = (size_t)sprintf(text, "kind: device\n");
  for (int i = 0; i < 40; i++) used += (size_t)sprintf(text + used, "zzz%d: 1\n", i);
  fc_diags d;
  fc_diags_init(&d);
  fc_input *input;
  cr_expect_eq(fc_input_parse(&input, "x", text, used, NULL, &d), FC_E_INPUT);
  cr_expect_eq(d.n, FC_DIAG_MAX);
  cr_expect(d.dropped > 0);
}

/* Errors of the YAML alone fill the collector: then nothing is read, and nothing may be checked. */
Test(scenario_load, collector_full_before_reading) {
  char text[4096];
  size_t used = (size_t)sprintf(text, "kind: device\n");
  for (int i = 0; i < 40; i++) used += (size_t)sprintf(text + used, "name: x\n");
  fc_diags d;
  fc_diags_init(&d);
  fc_input *input;
  cr_expect_eq(fc_input_parse(&input, "x", text, used, NULL, &d), FC_E_INPUT);
  cr_expect_eq(d.n, FC_DIAG_MAX);
}

/* --- what ships --- */

/* Every .yaml of a folder of scenarios/ loads and reads back; the number of them. */
static size_t ships(const char *folder) {
  static const char *const dirs[] = {FC_SOURCE_DIR "/scenarios"};
  static const fc_load_options options = {.n_data_dirs = 1, .data_dirs = dirs};
  char path[512];
  size_t n = 0;
  (void)snprintf(path, sizeof path, FC_SOURCE_DIR "/scenarios/%s", folder);
  DIR *dir = opendir(path);
  cr_assert_not_null(dir, "%s", path);
  for (const struct dirent *entry; (entry = readdir(dir));) {
    size_t length = strlen(entry->d_name);
    if (length < 6 || strcmp(entry->d_name + length - 5, ".yaml") != 0) continue;
    (void)snprintf(path, sizeof path, FC_SOURCE_DIR "/scenarios/%s%s", folder, entry->d_name);
    fc_input *input = load_ok(path, &options);
    expect_round_trip(input, &options);
    fc_input_free(input);
    n++;
  }
  (void)closedir(dir);
  return n;
}

Test(scenario_load, shipped_data_loads_and_reads_back) {
  cr_expect_geq(ships("devices/"), 15);
  cr_expect_geq(ships("models/"), 5);
  cr_expect_geq(ships("shapes/"), 2);
  cr_expect_geq(ships("profiles/"), 15);
}

Test(scenario_load, shipped_scenarios_load_and_read_back) {
  cr_expect_geq(ships(""), 4);
}

Test(scenario_load, h100_is_what_its_datasheet_says) {
  fc_input *input = load_ok(FC_SOURCE_DIR "/scenarios/devices/h100.yaml", NULL);
  const fc_device *d = fc_input_device(input);
  cr_expect_eq(d->memory_bytes, 80e9);
  cr_expect_eq(d->memory_bytes_per_s, 3.35e12);
  cr_expect_eq(d->peak_flop_per_s[FC_DTYPE_FP8], 1979e12);
  cr_expect_eq(d->compute_units, 132);
  cr_expect(fc_input_n_sources(input) > 10);
  const fc_input_source *s = fc_input_source_at(input, 0);
  cr_expect_str_eq(s->path, "peak.fp32");
  cr_expect_str_eq(s->value, "67 TFLOP/s");
  cr_expect(strstr(s->source, "datasheet") != NULL);
  cr_expect_eq(strlen(fc_input_file_at(input, 0)->sha256), 64);
  fc_input_free(input);
}
