/* SPDX-License-Identifier: Apache-2.0 */
#include "exhaust.h"

#include <criterion/criterion.h>

static const char *name_of(const fc_exhaustion *e) {
  return e->name ? e->name : "life";
}

bool fc_exhaust_at(const fc_exhaustion *e, size_t k) {
  fc_chaos_arm(k, e->and_later);
  fc_status status = e->life(e->subject);
  bool fired = fc_chaos_disarm();
  cr_assert_eq(fc_chaos_live(), 0, "%s, allocation %zu refused: %ld blocks leaked", name_of(e), k,
               fc_chaos_live());
  cr_assert_eq(status, fired ? FC_E_NOMEM : FC_OK, "%s, allocation %zu: %s", name_of(e), k,
               fc_status_text(status));
  return fired;
}

void fc_exhaust(const fc_exhaustion *e) {
  size_t k = 0, most = e->most ? e->most : 10000;
  for (; fc_exhaust_at(e, k); k++) cr_assert_lt(k, most, "%s: more than %zu allocations", name_of(e), most);
  cr_log_info("%s: %zu allocations", name_of(e), k);
  cr_assert_geq(k, e->least, "%s: only %zu allocations, the scenario visits too little", name_of(e), k);
}
