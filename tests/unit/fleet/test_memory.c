/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation of a run refused once, and for good. */
#include <fleetcast/fleet/run.h>

#include <criterion/criterion.h>

#include "chaos_malloc.h"
#include "random_def.h"

static void exhaust(uint64_t seed, bool and_later) {
  static random_def s;
  random_def_make(&s, seed);
  s.def.end = s.def.start + 3 * FC_DAY;
  size_t k = 0;
  for (;; k++) {
    fc_chaos_arm(k, and_later);
    fc_fleet_result *r;
    fc_fleet_options o = {.seed = seed};
    fc_status st = fc_fleet_run(&r, &s.def, &o, NULL);
    cr_assert(st == FC_OK || !r);
    fc_fleet_result_free(r);
    bool fired = fc_chaos_disarm();
    cr_assert_eq(fc_chaos_live(), 0, "allocation %zu refused: %ld blocks leaked", k, fc_chaos_live());
    cr_assert_eq(st, fired ? FC_E_NOMEM : FC_OK, "seed %llu, allocation %zu: %s", (unsigned long long)seed, k,
                 fc_status_text(st));
    if (!fired) break;
  }
  cr_assert_gt(k, 40);
}

Test(memory, every_single_refusal_is_reported) {
  for (uint64_t seed = 1; seed <= 12; seed++) exhaust(seed, false);
}

Test(memory, every_permanent_refusal_is_reported) {
  for (uint64_t seed = 1; seed <= 12; seed++) exhaust(seed, true);
}
