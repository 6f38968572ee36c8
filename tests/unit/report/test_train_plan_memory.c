/* SPDX-License-Identifier: Apache-2.0 */
#define _XOPEN_SOURCE 700 /* mkdtemp */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "chaos_malloc.h"
#include "planned.h"

Test(train_plan_report_memory, every_allocation_of_the_page_may_fail) {
  planned p;
  planned_make(&p);
  for (size_t k = 0;; k++) {
    fc_chaos_arm(k, false);
    fc_text page = {0};
    fc_status status = fc_report_train_plan_page(&page, &p.answer);
    fc_text_fini(&page);
    bool fired = fc_chaos_disarm();
    cr_assert_eq(fc_chaos_live(), 0, "allocation %zu leaks", k);
    cr_assert_eq(status, fired ? FC_E_NOMEM : FC_OK, "allocation %zu", k);
    if (!fired) break;
    cr_assert_lt(k, 10000);
  }
  planned_free(&p);
}

Test(train_plan_report_memory, every_allocation_of_the_files_may_fail) {
  static const fc_report_options options = {.version = "0", .command = "test"};
  planned p;
  char folder[64] = "/tmp/fc-test-plan-XXXXXX", new[96], why[FC_REPORT_WHY];
  size_t failures = 0;
  planned_make(&p);
  cr_assert_not_null(mkdtemp(folder));
  (void)snprintf(new, sizeof new, "%s/new", folder);
  for (size_t k = 0;; k++) {
    fc_chaos_arm(k, false);
    fc_status status = fc_report_train_plan_write(new, &p.answer, NULL, &options, why);
    bool fired = fc_chaos_disarm();
    cr_assert_eq(fc_chaos_live(), 0, "allocation %zu leaks", k);
    cr_assert_eq(status, fired ? FC_E_NOMEM : FC_OK, "allocation %zu: %s", k, fc_status_text(status));
    if (!fired) break;
    cr_assert_neq(access(new, F_OK), 0, "allocation %zu leaves a folder", k);
    failures++;
    cr_assert_lt(k, 10000);
  }
  cr_expect_gt(failures, 5);
  (void)snprintf(why, sizeof why, "rm -r %s", folder);
  cr_expect_eq(system(why), 0);
  planned_free(&p);
}
