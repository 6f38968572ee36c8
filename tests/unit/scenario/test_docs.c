/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/scenario/load.h>

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* docs/input.md is what the tables say.  FC_UPDATE_DOCS=1 writes it anew. */
Test(scenario_docs, page_is_up_to_date) {
  static const char path[] = FC_SOURCE_DIR "/docs/input.md";
  fc_text text = {0};
  cr_assert_eq(fc_input_docs(&text), FC_OK);
  if (getenv("FC_UPDATE_DOCS")) {
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    (void)fputs(text.bytes, f);
    (void)fclose(f);
  }
  FILE *f = fopen(path, "r");
  cr_assert_not_null(f, "docs/input.md is missing: run with FC_UPDATE_DOCS=1");
  char *page = calloc(1, text.length + 2);
  size_t n = fread(page, 1, text.length + 1, f);
  (void)fclose(f);
  cr_expect(n == text.length && memcmp(page, text.bytes, n) == 0,
            "docs/input.md differs from what the field tables say: run with FC_UPDATE_DOCS=1");
  free(page);
  fc_text_fini(&text);
}

/* JSON is YAML: our own reader is a fair judge of its shape. */
Test(scenario_docs, schema_is_well_formed) {
  for (int kind = FC_INPUT_ANY + 1; kind < FC_INPUT_KINDS; kind++) {
    fc_text text = {0};
    cr_assert_eq(fc_input_schema((fc_input_kind)kind, &text), FC_OK);
    fc_diags d;
    fc_diags_init(&d);
    fc_input *input;
    cr_expect_eq(fc_input_parse(&input, "schema", text.bytes, text.length, NULL, &d), FC_E_INPUT);
    cr_expect_eq(d.n, 1);
    cr_expect(strstr(d.item[0].text, "does not say what it is") != NULL, "%s", d.item[0].text);
    cr_expect(strstr(text.bytes, "draft/2020-12") != NULL);
    fc_text_fini(&text);
  }
}

static const char *explained(const char *key, fc_text *text, fc_diags *d) {
  fc_text_fini(text);
  fc_diags_init(d);
  return fc_input_explain(key, text, d) == FC_OK ? text->bytes : "";
}

Test(scenario_docs, explains_keys) {
  fc_text text = {0};
  fc_diags d;
  cr_expect_str_eq(explained("scenario.pools.lag", &text, &d),
                   "scenario.pools.lag\n  From delivery (sale) to running.\n"
                   "  a time, such as '91.25 d'; default 0 s; from 0 to 5 yr; may be a distribution\n");
  cr_expect(strncmp(explained("pools[3].lag", &text, &d), "scenario.pools.lag\n", 19) == 0);
  cr_expect(strstr(explained("memory", &text, &d), "device.memory\n") != NULL);
  cr_expect(strstr(explained("memory", &text, &d), "required") != NULL);
  cr_expect(strstr(explained("heads", &text, &d), "model.attention.heads\n") != NULL);
  cr_expect_str_eq(explained("memroy", &text, &d), "");
  cr_expect_str_eq(d.item[0].text, "no key 'memroy'; did you mean 'memory'?");
  cr_expect_str_eq(explained("", &text, &d), "");
  cr_expect_str_eq(explained("emory", &text, &d), "");
  fc_text_fini(&text);
}
