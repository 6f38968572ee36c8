/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TESTS_SCENARIO_SUPPORT_H
#define FC_TESTS_SCENARIO_SUPPORT_H

#include <fleetcast/scenario/load.h>

#include <criterion/criterion.h>
#include <string.h>

static const char *const test_data_dirs[] = {FC_SOURCE_DIR "/tests/support/data"};

static inline void show(const fc_diags *d) {
  char text[512];
  for (size_t i = 0; i < d->n; i++) {
    fc_diag_format(text, sizeof text, &d->item[i]);
    cr_log_error("%s", text);
  }
}

static inline fc_input *load_ok(const char *path, const fc_load_options *options) {
  fc_diags d;
  fc_diags_init(&d);
  fc_input *input;
  fc_status status = fc_input_load(&input, path, options, &d);
  show(&d);
  cr_assert_eq(status, FC_OK, "%s: %s", path, fc_status_text(status));
  return input;
}

static inline fc_input *parse_ok(const char *text, const fc_load_options *options) {
  fc_diags d;
  fc_diags_init(&d);
  fc_input *input;
  fc_status status = fc_input_parse(&input, "x.yaml", text, strlen(text), options, &d);
  show(&d);
  cr_assert_eq(status, FC_OK, "%s", fc_status_text(status));
  return input;
}

static inline void expect_error(const char *yaml, const fc_load_options *options, const char *rendered) {
  fc_diags d;
  fc_diags_init(&d);
  fc_input *input;
  cr_expect_eq(fc_input_parse(&input, "x.yaml", yaml, strlen(yaml), options, &d), FC_E_INPUT);
  char text[512] = "";
  if (d.n) fc_diag_format(text, sizeof text, &d.item[0]);
  cr_expect_str_eq(text, rendered);
}

/* What is dumped loads again, and dumps the same. */
static inline void expect_round_trip(const fc_input *input, const fc_load_options *options) {
  fc_text first = {0}, second = {0};
  cr_assert_eq(fc_input_dump(input, &first), FC_OK);
  fc_load_options bare = *options;
  bare.n_set = 0;
  if (!bare.files) bare.files = &fc_input_disk;
  fc_diags d;
  fc_diags_init(&d);
  fc_input *again;
  fc_status status = fc_input_parse(&again, "dump.yaml", first.bytes, first.length, &bare, &d);
  show(&d);
  cr_assert_eq(status, FC_OK, "the dump does not load:\n%s", first.bytes);
  cr_assert_eq(fc_input_dump(again, &second), FC_OK);
  cr_expect_str_eq(first.bytes, second.bytes);
  fc_input_free(again);
  fc_text_fini(&first);
  fc_text_fini(&second);
}

#endif
