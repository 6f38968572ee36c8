/* SPDX-License-Identifier: Apache-2.0 */
/* Uses the installed libraries as a stranger would: one event, one date. */
#include <fleetcast/base/time.h>
#include <fleetcast/des/sim.h>

#include <stdio.h>

static void ring(fc_sim *sim, void *subject, uint64_t datum) {
  char text[FC_TIME_TEXT];
  fc_time_format(text, fc_sim_now(sim));
  *(int *)subject += (int)datum;
  (void)printf("event at %s\n", text);
}

int main(void) {
  fc_sim *sim;
  int rung = 0;
  if (fc_sim_new(&sim, 0) != FC_OK) return 1;
  (void)fc_sim_at(sim, FC_DAY, 0, ring, &rung, 1);
  fc_status status = fc_sim_run(sim, FC_TIME_MAX);
  fc_sim_free(sim);
  return status == FC_OK && rung == 1 ? 0 : 1;
}
