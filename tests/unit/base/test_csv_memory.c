/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/csv.h>

#include <criterion/criterion.h>

#include "exhaust.h"

static fc_status read_all(void *rows) {
  static const char text[] =
      "a,b\n1,2\n\"x\n\"\"y\"\"\",\"a longer text than the first rows had, so that it grows\"\n3,4\n";
  fc_csv_reader *r;
  const fc_csv_field *row;
  size_t *n = rows;
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
  fc_exhaust(&(fc_exhaustion){.life = read_all, .subject = &n, .most = 100});
  cr_expect_eq(n, 3);
}
