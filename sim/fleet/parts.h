/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_FLEET_PARTS_H
#define FC_FLEET_PARTS_H

#include <fleetcast/serve/view.h>

#include "fleet.h"

/** What the sources of this folder do for each other.  None prints, none keeps state of its own. */

/* --- ledger.c --- */
size_t fc_slot_service(const fc_fleet *f, size_t service);
size_t fc_slot_job(const fc_fleet *f, size_t owner, int line);
size_t fc_slot_other(const fc_fleet *f, size_t other);
size_t fc_slot_down(const fc_fleet *f);
size_t fc_slot_idle(const fc_fleet *f);
fc_line *fc_line_at(const fc_fleet *f, size_t pool, size_t slot);
void fc_line_book(fc_fleet *f, fc_line *line, fc_time from, fc_time to, int64_t devices);
/** FLOP and joules of the current bucket, for serving lines. */
void fc_line_add(fc_fleet *f, fc_line *line, double flop, double joule);
void fc_fleet_fail(fc_fleet *f, fc_status status);
void fc_fleet_event(fc_fleet *f, const char *kind, const char *what, double value, const char *unit);

/** Key of a name's random streams; `twins`: how many earlier ones have the same name. */
uint64_t fc_entity(const char *name, size_t twins);
bool fc_name_equal(const char *a, const char *b);

/* --- work.c --- */
FC_NODISCARD
fc_status fc_fleet_plan_services(fc_fleet *f);
FC_NODISCARD
fc_status fc_fleet_plan_jobs(fc_fleet *f);
/** Devices of a gang on a pool: `want` rounded up to whole nodes. */
int64_t fc_work_gang(const fc_work *work, int64_t want);
/** Time between the ends of two checkpoints; 0: continuous; INFINITY: none. */
double fc_work_period_s(const fc_work *work, int64_t gang);

/* --- capacity.c --- */
/** Fills the rows of the result, whose service and pool are set. */
FC_NODISCARD
fc_status fc_fleet_solve_capacities(fc_fleet *f);
/* A pool's profile as the scenario wants `deployment` of the model composed.  `view` is freed by the caller,
 * in any case, once nothing uses `out`. */
FC_NODISCARD
fc_status fc_fleet_view(fc_serve_view *view, const fc_profile **out, const fc_fleet *f, const fc_model *model,
                        const fc_profile *profile, const fc_deployment *deployment);

/* --- pool.c --- */
FC_NODISCARD
fc_status fc_pool_init(fc_fleet *f, size_t pool);
void fc_pool_fini(fc_pool *pool);
/** Moves `delta` devices into (> 0) or out of the idle ones; books what they were. */
void fc_pool_idle(fc_fleet *f, size_t pool, int64_t delta);
/** A device leaves its gang for repair.  @return false: it is back at once */
bool fc_pool_break(fc_fleet *f, size_t pool);
/** Lots due now.  @return true when there were any */
bool fc_pool_supply(fc_fleet *f, size_t pool);
void fc_pool_repair(fc_fleet *f, size_t pool);
/** Failures of this epoch among the devices that no gang holds, all of which are idle now. */
void fc_pool_wear(fc_fleet *f, size_t pool);
void fc_pool_others(fc_fleet *f, size_t pool);
void fc_pool_release_others(fc_fleet *f, size_t pool);
void fc_pool_close(fc_fleet *f, size_t pool);

/* --- serving.c --- */
FC_NODISCARD
fc_status fc_service_init(fc_fleet *f, size_t service);
void fc_service_fini(fc_service *service);
void fc_service_epoch(fc_fleet *f, size_t service, fc_time to);
/** Fluid from the last call to now: arrivals, service, patience; energy and FLOP.  One bucket at most. */
void fc_service_advance(fc_fleet *f, size_t service);
/** Gives back all devices (counts only), then takes what is needed. */
void fc_service_release(fc_fleet *f, size_t service);
void fc_service_place(fc_fleet *f, size_t service);
/** INV-10, after a plan: no tokens wait while an instance more would fit. */
void fc_service_check(fc_fleet *f, size_t service);
void fc_service_book(fc_fleet *f, size_t service, bool all);

/* --- queue.c: who waits, who starts --- */
void fc_list_push(fc_fleet *f, fc_job_list *list, uint32_t job);
void fc_list_remove(fc_fleet *f, fc_job_list *list, uint32_t job);
void fc_job_enqueue(fc_fleet *f, uint32_t job);
/** Starts what can start, by priority, then by submission; `only`: a pool in which devices came free, -1:
 * any. */
void fc_queue_run(fc_fleet *f, int32_t only);
void fc_queue_run_level(fc_fleet *f, int level, int32_t only);
/** A new job: starts it, queues it, or finds it impossible. */
void fc_queue_submit(fc_fleet *f, uint32_t job);
/** Devices that priority `level` could have: idle and preemptible below it. */
int64_t fc_pool_available(const fc_pool *pool, int level);
/** Preempts below `level` until `devices` are idle, or nothing is left to preempt. */
void fc_pool_clear(fc_fleet *f, size_t pool, int level, int64_t devices);

/** INV-10, after a plan: no first job of a queue fits among the idle devices of a pool that is not kept from
 * it. */
void fc_queue_check(fc_fleet *f);

/* --- jobs.c --- */
FC_NODISCARD
fc_status fc_jobs_init(fc_fleet *f);
/** The devices are idle; the job leaves its queue. */
void fc_job_place(fc_fleet *f, uint32_t job, int32_t pool, int64_t devices);
/** Off its devices and back into its queue.  `graceful`: announced, a checkpoint is taken first. */
void fc_job_preempt(fc_fleet *f, uint32_t job, bool graceful);
void fc_jobs_close(fc_fleet *f);

/* --- laws.c, result.c --- */
FC_NODISCARD
fc_status fc_laws_check(fc_fleet *f);
FC_NODISCARD
fc_status fc_result_build(fc_fleet *f);

#endif
