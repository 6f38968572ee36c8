/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation of a run refused once, and for good. */
#include <fleetcast/fleet/run.h>

#include <criterion/criterion.h>
#include <stdio.h>

#include "exhaust.h"
#include "random_def.h"

typedef struct {
  uint64_t seed;
  random_def scene;
} sown;

static fc_status live(void *subject) {
  sown *s = subject;
  fc_fleet_result *r;
  fc_fleet_options o = {.seed = s->seed};
  fc_status status = fc_fleet_run(&r, &s->scene.def, &o, NULL);
  cr_assert(status == FC_OK || !r);
  fc_fleet_result_free(r);
  return status;
}

static void exhaust(bool and_later) {
  static sown s;
  for (s.seed = 1; s.seed <= 12; s.seed++) {
    random_def_make(&s.scene, s.seed);
    s.scene.def.end = s.scene.def.start + 3 * FC_DAY;
    char name[32];
    (void)snprintf(name, sizeof name, "seed %llu", (unsigned long long)s.seed);
    fc_exhaust(
        &(fc_exhaustion){.life = live, .subject = &s, .name = name, .and_later = and_later, .least = 41});
  }
}

Test(memory, every_single_refusal_is_reported) {
  exhaust(false);
}

Test(memory, every_permanent_refusal_is_reported) {
  exhaust(true);
}
