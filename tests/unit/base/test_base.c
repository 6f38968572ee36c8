/* SPDX-License-Identifier: Apache-2.0 */
/* Arena, status, diagnostics. */
#include <fleetcast/base/arena.h>
#include <fleetcast/base/diag.h>
#include <fleetcast/base/status.h>

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

Test(status, every_status_has_a_text_of_its_own) {
  cr_assert_str_eq(fc_status_text(FC_OK), "success");
  for (int a = FC_OK; a <= FC_E_CANCELLED; a++)
    for (int b = a + 1; b <= FC_E_CANCELLED; b++)
      cr_assert_str_neq(fc_status_text((fc_status)a), fc_status_text((fc_status)b));
  cr_assert_str_eq(fc_status_text((fc_status)999), "unknown status");
}

Test(arena, blocks_are_zeroed_aligned_and_apart) {
  fc_arena arena = {0};
  unsigned char *last = NULL;
  for (size_t size = 0; size < 3000; size += 7) {
    unsigned char *p = fc_arena_alloc(&arena, size);
    cr_assert_not_null(p);
    cr_assert_neq(p, last);
    cr_assert_eq((uintptr_t)p % sizeof(max_align_t) % 16, 0);
    for (size_t i = 0; i < size; i++) cr_assert_eq(p[i], 0);
    memset(p, 0xA5, size);
    last = p;
  }
  fc_arena_fini(&arena);
  cr_assert_null(arena.head);
  fc_arena_fini(&arena);
}

Test(arena, refuses_sizes_that_overflow) {
  fc_arena arena = {0};
  cr_assert_null(fc_arena_array(&arena, SIZE_MAX / 4, 8));
  cr_assert_null(fc_arena_alloc(&arena, SIZE_MAX));
  cr_assert_null(fc_arena_text(&arena, "x", SIZE_MAX));
  cr_assert_null(arena.head);
}

Test(arena, large_blocks_and_text) {
  fc_arena arena = {0};
  char *big = fc_arena_array(&arena, 1 << 20, 3);
  cr_assert_not_null(big);
  big[(3 << 20) - 1] = 1;
  cr_assert_str_eq(fc_arena_text(&arena, "hello world", 5), "hello");
  cr_assert_str_eq(fc_arena_text(&arena, NULL, 0), "");
  fc_arena_fini(&arena);
}

static void rendered(char *out, size_t n, const fc_diags *d, size_t i) {
  (void)fc_diag_format(out, n, &d->item[i]);
}

Test(diag, renders_as_compilers_do) {
  fc_diags d;
  fc_diags_init(&d);
  cr_assert_eq(fc_diag_error(&d, "s.yaml", ((fc_pos){2, 1}), "unknown key '%s'", "gpuz"), FC_E_INPUT);
  fc_diag_warning(&d, "s.yaml", ((fc_pos){0, 0}), "no position");
  (void)fc_diag_error(&d, NULL, ((fc_pos){0, 0}), "no source");
  char text[512];
  rendered(text, sizeof text, &d, 0);
  cr_assert_str_eq(text, "s.yaml:2:1: error: unknown key 'gpuz'");
  rendered(text, sizeof text, &d, 1);
  cr_assert_str_eq(text, "s.yaml: warning: no position");
  rendered(text, sizeof text, &d, 2);
  cr_assert_str_eq(text, "error: no source");
  cr_assert_eq(d.n_errors, 2);
}

Test(diag, keeps_the_first_and_counts_the_rest) {
  fc_diags d;
  fc_diags_init(&d);
  for (size_t i = 0; i < FC_DIAG_MAX + 5; i++) {
    cr_assert_eq(fc_diags_full(&d), i >= FC_DIAG_MAX);
    (void)fc_diag_error(&d, "f", ((fc_pos){i + 1, 1}), "e%zu", i);
  }
  cr_assert_eq(d.n, FC_DIAG_MAX);
  cr_assert_eq(d.dropped, 5);
  cr_assert_eq(d.n_errors, FC_DIAG_MAX + 5);
  cr_assert_str_eq(d.item[0].text, "e0");
  cr_assert_eq(fc_diag_error(NULL, "f", ((fc_pos){1, 1}), "nobody listens"), FC_E_INPUT);
  cr_assert_not(fc_diags_full(NULL));
}

Test(diag, a_long_path_keeps_its_tail) {
  char path[400];
  memset(path, 'a', sizeof path);
  strcpy(path + sizeof path - 8, "/s.yaml");
  fc_diags d;
  fc_diags_init(&d);
  (void)fc_diag_error(&d, path, ((fc_pos){1, 1}), "x");
  size_t n = strlen(d.item[0].source);
  cr_assert_eq(n, sizeof d.item[0].source - 1);
  cr_assert_eq(strncmp(d.item[0].source, "...", 3), 0);
  cr_assert_str_eq(d.item[0].source + n - 7, "/s.yaml");
}

static const struct {
  const char *word, *nearest;
} slips[] = {
    {"gpuz", "gpus"},     {"moedl", "model"},
    {"demnad", "demand"}, {"devce", "device"},
    {"zzz", NULL},        {"", NULL},
    {"g", NULL},          {"model", "model"},
    {"polls", "pools"},   {"demand_series_x", NULL},
    {"h10", "h100"},
};

ParameterizedTestParameters(diag, nearest) {
  static size_t index[sizeof slips / sizeof *slips];
  for (size_t i = 0; i < sizeof slips / sizeof *slips; i++) index[i] = i;
  return cr_make_param_array(size_t, index, sizeof slips / sizeof *slips);
}

ParameterizedTest(size_t *i, diag, nearest) {
  static const char *const keys[] = {"gpus", "model", "demand", "device", "pools", "h20", "h100"};
  const char *got = fc_diag_nearest(slips[*i].word, keys, sizeof keys / sizeof *keys);
  if (slips[*i].nearest)
    cr_assert_str_eq(got ? got : "(none)", slips[*i].nearest);
  else
    cr_assert_null(got, "'%s' is near '%s'", slips[*i].word, got);
}
