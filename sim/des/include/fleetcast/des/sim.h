/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_DES_SIM_H
#define FC_DES_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/status.h>
#include <fleetcast/base/time.h>

/** The event kernel: a clock in integer nanoseconds and a calendar of pending events.
 *
 *  An event is (time, priority, action, subject, datum).  Events run in order of time; at one time in order
 * of priority, lowest number first; then in the order in which they were scheduled.  Cancelling is O(1).  The
 *  clock never runs back (INV-3).  One simulation, one thread; any number of simulations side by side.
 *  Knows nothing of GPUs. */
typedef struct fc_sim fc_sim;

/** A pending event; zero is "none".  Stale handles are recognised by their generation. */
typedef struct {
  uint32_t index1, generation;
} fc_event_id;

#define FC_EVENT_NONE ((fc_event_id){0, 0})

/** What an event does.  `subject` and `datum` are what it was scheduled with. */
typedef void fc_event_fn(fc_sim *sim, void *subject, uint64_t datum);

/** A simulation whose clock stands at `start`. */
FC_NODISCARD
fc_status fc_sim_new(fc_sim **out, fc_time start);
void fc_sim_free(fc_sim *sim);

fc_time fc_sim_now(const fc_sim *sim);
/** Events pending, events run so far. */
size_t fc_sim_pending(const fc_sim *sim);
uint64_t fc_sim_executed(const fc_sim *sim);

/** Schedules an event.  @pre when >= fc_sim_now(sim) and priority in [-128, 127] (asserted).
 *  @return its handle; FC_EVENT_NONE when memory ran out, which fc_sim_run then returns as FC_E_NOMEM */
fc_event_id fc_sim_at(fc_sim *sim, fc_time when, int priority, fc_event_fn *action, void *subject,
                      uint64_t datum);
/** Takes a pending event back.  @return false when it has run, was cancelled, or never was */
bool fc_sim_cancel(fc_sim *sim, fc_event_id event);
bool fc_sim_is_pending(const fc_sim *sim, fc_event_id event);

/** Runs every event with time < `until` (so that half-open intervals compose), then sets the clock to
 * `until`; returns early, the clock at the last event, after fc_sim_stop.  With until = FC_TIME_MAX it runs
 * until the calendar is empty and leaves the clock at the last event.
 *  @return FC_OK | FC_E_NOMEM (an event could not be scheduled: the run is void) */
FC_NODISCARD
fc_status fc_sim_run(fc_sim *sim, fc_time until);
/** Lets the running event be the last of this fc_sim_run. */
void fc_sim_stop(fc_sim *sim);

#endif
