/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/des/sim.h>

#include <criterion/criterion.h>

#include "exhaust.h"

static void nothing(fc_sim *sim, void *subject, uint64_t datum) {
  (void)sim, (void)subject, (void)datum;
}

static void more(fc_sim *sim, void *subject, uint64_t datum) {
  fc_event_id last = FC_EVENT_NONE;
  for (uint64_t i = 0; i < datum; i++) {
    last = fc_sim_at(sim, fc_sim_now(sim) + (fc_time)(i * i * 977), 0, nothing, subject, 0);
    fc_sim_at(sim, fc_sim_now(sim) + 5, (int)(i % 7), nothing, subject, 0);
  }
  (void)fc_sim_cancel(sim, last);
}

/* Slots, chunks, ties and a sweep, in one life. */
static fc_status live(void *none) {
  (void)none;
  fc_sim *sim;
  fc_status st = fc_sim_new(&sim, 0);
  if (st) {
    cr_assert_null(sim);
    return st;
  }
  static fc_event_id id[4000];
  for (int i = 0; i < 4000; i++)
    id[i] = fc_sim_at(sim, i % 2 ? FC_SECOND : i * FC_MINUTE, i % 3, nothing, NULL, 0);
  for (int i = 0; i < 4000; i++)
    if (i % 5) (void)fc_sim_cancel(sim, id[i]);
  for (uint64_t i = 1; i < 20; i++) fc_sim_at(sim, (fc_time)i * FC_HOUR, 0, more, NULL, 100);
  st = fc_sim_run(sim, 5 * FC_HOUR);
  fc_status again = fc_sim_run(sim, FC_TIME_MAX);
  cr_assert(st == FC_OK || again == st, "a void run stays void");
  fc_sim_free(sim);
  return again;
}

Test(memory, every_single_refusal_is_reported) {
  fc_exhaust(&(fc_exhaustion){.life = live, .least = 10});
}

Test(memory, every_permanent_refusal_is_reported) {
  fc_exhaust(&(fc_exhaustion){.life = live, .least = 10, .and_later = true});
}

Test(memory, a_refused_event_is_none_and_changes_nothing) {
  fc_sim *sim;
  cr_assert_eq(fc_sim_new(&sim, 0), FC_OK);
  fc_chaos_arm(0, true);
  uint64_t refused = 0;
  for (int i = 0; i < 100; i++) refused += fc_sim_at(sim, i, 0, nothing, NULL, 0).index1 == 0;
  cr_assert(fc_chaos_disarm());
  cr_assert_gt(refused, 0);
  cr_assert_eq(fc_sim_pending(sim), 100 - refused);
  cr_assert_eq(fc_sim_run(sim, FC_TIME_MAX), FC_E_NOMEM);
  fc_sim_free(sim);
}

Test(memory, churn_of_schedule_and_cancel_is_bounded) {
  fc_chaos_arm((size_t)-1, false);
  fc_sim *sim;
  cr_assert_eq(fc_sim_new(&sim, 0), FC_OK);
  for (int i = 0; i < 100; i++) fc_sim_at(sim, i * FC_HOUR, 0, nothing, NULL, 0);
  for (int i = 0; i < 3000000; i++) {
    fc_event_id id = fc_sim_at(sim, i % 1000 * FC_MINUTE + i % 7, 0, nothing, NULL, 0);
    cr_assert(fc_sim_cancel(sim, id));
  }
  cr_assert_eq(fc_sim_pending(sim), 100);
  cr_assert_lt(fc_chaos_bytes(), 2u << 20, "%zu bytes", fc_chaos_bytes());
  cr_assert_eq(fc_sim_run(sim, FC_TIME_MAX), FC_OK);
  cr_assert_eq(fc_sim_executed(sim), 100);
  fc_sim_free(sim);
  (void)fc_chaos_disarm();
  cr_assert_eq(fc_chaos_live(), 0);
}

/* Entries of cancelled events whose slots were taken again: a sweep must know them from the new ones. */
Test(memory, a_sweep_drops_entries_of_reused_slots) {
  fc_chaos_arm((size_t)-1, false);
  fc_sim *sim;
  cr_assert_eq(fc_sim_new(&sim, 0), FC_OK);
  enum { N = 1000 };
  static fc_event_id id[N];
  for (int i = 0; i < N; i++) id[i] = fc_sim_at(sim, i * FC_HOUR, 0, nothing, NULL, 0);
  for (int round = 0; round < 1000; round++)
    for (int i = 0; i < N; i++) {
      cr_assert(fc_sim_cancel(sim, id[i]));
      id[i] = fc_sim_at(sim, (i + round) * FC_HOUR + round, 0, nothing, NULL, 0);
    }
  cr_assert_lt(fc_chaos_bytes(), 4u << 20, "%zu bytes", fc_chaos_bytes());
  cr_assert_eq(fc_sim_run(sim, FC_TIME_MAX), FC_OK);
  cr_assert_eq(fc_sim_executed(sim), N);
  fc_sim_free(sim);
  (void)fc_chaos_disarm();
}
