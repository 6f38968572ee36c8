/* SPDX-License-Identifier: Apache-2.0 */
#define _XOPEN_SOURCE 700 /* mkdtemp */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fleetcast/report/write.h>

#include "chaos_malloc.h"
#include "fake_result.h"

Test(report, every_allocation_of_the_page_may_fail) {
  fc_fleet_result r = fake_result();
  for (size_t k = 0;; k++) {
    fc_chaos_arm(k, false);
    fc_text page = {0};
    fc_status status = fc_report_page(&page, &r, 1);
    fc_text_fini(&page);
    bool fired = fc_chaos_disarm();
    cr_assert_eq(fc_chaos_live(), 0, "allocation %zu leaks", k);
    cr_assert_eq(status, fired ? FC_E_NOMEM : FC_OK, "allocation %zu", k);
    if (!fired) break;
    cr_assert_lt(k, 10000);
  }
}

Test(report, every_allocation_of_the_files_may_fail) {
  fc_fleet_result r = fake_result();
  static const fc_report_options options = {.version = "0", .command = "test"};
  char base[] = "/tmp/fc-test-report-memory-XXXXXX", folder[64], why[FC_REPORT_WHY], path[128];
  cr_assert_not_null(mkdtemp(base));
  (void)snprintf(folder, sizeof folder, "%s/new", base);
  size_t failures = 0;
  for (size_t k = 0;; k++) {
    fc_chaos_arm(k, false);
    fc_status status = fc_report_write(folder, &r, NULL, &options, why);
    bool fired = fc_chaos_disarm();
    cr_assert_eq(fc_chaos_live(), 0, "allocation %zu leaks", k);
    cr_assert_eq(status, fired ? FC_E_NOMEM : FC_OK, "allocation %zu: %s", k, fc_status_text(status));
    if (!fired) break;
    cr_assert_neq(access(folder, F_OK), 0, "allocation %zu leaves a folder", k);
    failures++;
    cr_assert_lt(k, 10000);
  }
  cr_expect_gt(failures, 20);
  (void)snprintf(path, sizeof path, "rm -r %s", base);
  cr_expect_eq(system(path), 0);
}
