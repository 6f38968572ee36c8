/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "fake_answer.h"

#include "chaos_malloc.h"

Test(serve_memory, every_allocation_of_a_study_may_fail) {
  for (size_t k = 0;; k++) {
    fc_chaos_arm(k, false);
    fc_study *s;
    fc_status status = fc_study_new(&s, &(fc_study_def){.width = 0.05});
    fc_study_free(s);
    bool fired = fc_chaos_disarm();
    cr_assert_eq(fc_chaos_live(), 0, "allocation %zu leaks", k);
    cr_assert_eq(status, fired ? FC_E_NOMEM : FC_OK, "allocation %zu", k);
    if (!fired) break;
    cr_assert_lt(k, 100);
  }
}

Test(serve_memory, every_allocation_of_the_page_may_fail) {
  fake f;
  fake_answer(&f, FAKE_CLUSTER);
  for (size_t k = 0;; k++) {
    fc_chaos_arm(k, false);
    fc_text page = {0};
    fc_status status = fc_report_serve_page(&page, &f.answer);
    fc_text_fini(&page);
    bool fired = fc_chaos_disarm();
    cr_assert_eq(fc_chaos_live(), 0, "allocation %zu leaks", k);
    cr_assert_eq(status, fired ? FC_E_NOMEM : FC_OK, "allocation %zu", k);
    if (!fired) break;
    cr_assert_lt(k, 10000);
  }
  fake_free(&f);
}

Test(serve_memory, every_allocation_of_the_files_may_fail) {
  fake f;
  fake_answer(&f, FAKE_CLUSTER);
  char folder[96], why[FC_REPORT_WHY];
  static const fc_report_options options = {.version = "0", .command = "test"};
  fake_folder(folder);
  size_t failures = 0;
  for (size_t k = 0;; k++) {
    char new[128];
    (void)snprintf(new, sizeof new, "%s/new", folder);
    fc_chaos_arm(k, false);
    fc_serve_files *files;
    fc_status status = fc_serve_files_open(
        &files, new, &(fc_serve_files_def){.requests = true, .timeline = true, .cluster = true}, why);
    if (status == FC_OK) status = fc_serve_files_commit(files, &f.answer, NULL, &options);
    bool fired = fc_chaos_disarm();
    cr_assert_eq(fc_chaos_live(), 0, "allocation %zu leaks", k);
    cr_assert_eq(status, fired ? FC_E_NOMEM : FC_OK, "allocation %zu: %s", k, fc_status_text(status));
    if (!fired) break;
    cr_assert_neq(access(new, F_OK), 0, "allocation %zu leaves a folder", k);
    failures++;
    cr_assert_lt(k, 10000);
  }
  cr_expect_gt(failures, 10);
  fake_remove(folder);
  fake_free(&f);
}
