/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/csv.h>

#include <criterion/criterion.h>

#include "chaos_malloc.h"

static fc_status read_all(size_t *n) {
  static const char text[] =
      "a,b\n1,2\n\"x\n\"\"y\"\"\",\"a longer text than the first rows had, so that it grows\"\n3,4\n";
  fc_csv_reader *r;
  const fc_csv_field *row;
  *n = 0;
  fc_status status = fc_csv_open(&r, "t", text, sizeof text - 1, NULL);
  if (status) return status;
  do {
    status = fc_csv_next(r, &row, NULL);
    *n += row != NULL;
  } while (!status && row);
  fc_csv_free(r);
  return status;
}

Test(csv, every_allocation_may_fail) {
  size_t n;
  for (size_t k = 0;; k++) {
    fc_chaos_arm(k, false);
    fc_status status = read_all(&n);
    bool fired = fc_chaos_disarm();
    cr_assert_eq(fc_chaos_live(), 0, "allocation %zu leaks", k);
    cr_assert_eq(status, fired ? FC_E_NOMEM : FC_OK, "allocation %zu", k);
    if (!fired) break;
    cr_assert_lt(k, 100);
  }
  cr_expect_eq(n, 3);
}
