/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_FLEET_FLEET_H
#define FC_FLEET_FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/rng.h>
#include <fleetcast/des/sim.h>
#include <fleetcast/fleet/run.h>
#include <fleetcast/workload/demand.h>
#include <fleetcast/workload/stream.h>

#include "grid.h"
#include "supply.h"

/** The state of one run, shared by the sources of this folder.  Semantics: docs/fleet.md.
 *
 *  Owners of jobs are the dated runs, then the streams: owner o < n_runs is run o, else stream o - n_runs.
 *  Devices of a pool are counted, not named:  installed = idle + down + in_jobs + serving + other. */

enum { FC_LEVELS = 10 };         /* priorities 0 ... 9 */
enum { FC_BACKFILL_DEPTH = 16 }; /* jobs of an owner that are looked at behind its first waiting one */
/** A waiting gang lets others pass for this long, then holds a pool: nothing that it could not preempt starts
 *  there.  Judgement: a day, so that nights and weekends can make room first. */
#define FC_BACKFILL_S    86400.0
/** Draw of devices in `other_ai`, as a share of the span from idle to TDP.  Judgement: recommenders are bound
 *  by memory. */
#define FC_OTHER_AI_DRAW 0.5

#define FC_NO_JOB        UINT32_MAX

/* Order of events at one instant. */
enum { FC_AT_FINISH = -20, FC_AT_FAIL = -10, FC_AT_TICK = 0, FC_AT_SUBMIT = 10 };

/* --- the ledger: device time by pool and slot --- */

/** Device time that draws the same power and does the same FLOP per device-second throughout, or (serving)
 *  carries its own FLOP and joules by bucket. */
typedef struct fc_line {
  fc_integral time; /* device-ns */
  double flop_per_device_s, watts;
  double *flop, *joule; /* [buckets]; NULL unless serving */
} fc_line;

/* The four lines of a job's owner on a pool. */
enum { FC_LINE_KEPT, FC_LINE_ROLLOUT, FC_LINE_LOST, FC_LINE_STALL, FC_JOB_LINES };

/* --- what L1 says --- */

/** How an owner's jobs run on a pool. */
typedef struct fc_work {
  bool listed, feasible;
  int64_t node;                 /* gangs are multiples of it */
  double seconds;               /* dated run: productive time, checkpoint writes included */
  double device_s_per_work;     /* stream: device-seconds of this pool an H100e device-second */
  double rollout_share;         /* of the gang */
  double mtbf_s;                /* between failures of one device of a gang; INFINITY: none */
  double checkpoint_s, write_s; /* as in fc_failure */
} fc_work;

/** A service on a pool. */
typedef struct fc_site {
  bool listed, feasible, split; /* split: prefill and decode on instances of their own */
  double prefill_s, decode_s;   /* device-seconds a token of the service (input + output), at efficiency 1 */
  double prefill_w, decode_w;   /* facility watts of a busy device */
  int64_t prefill_unit, decode_unit;
  int64_t prefill, decode; /* devices held; not split: all in `decode` */
  int64_t booked;          /* devices since `since`, not yet in the ledger */
  fc_time since;
  double efficiency; /* now: software growth and policies */
  double rate;       /* tokens/s of the devices held */
} fc_site;

/** Tokens that arrived evenly over [from, to) and wait. */
typedef struct fc_wait {
  fc_time from, to;
  fc_wide tokens;
} fc_wait;

typedef struct fc_service {
  int level;
  fc_demand demand;
  fc_factor *factors;
  fc_demand_epoch epoch;
  double peak_shape;
  double flop_per_token;
  fc_site *site;                        /* [pools] */
  fc_time last;                         /* fluid advanced to here */
  double arrival_carry, capacity_carry; /* fractions of a token */
  fc_wait *ring;                        /* FIFO, oldest at `head` */
  size_t n_ring, head, capacity;
  fc_wide queued, in, served, dropped;
  struct fc_service_sum {
    fc_wide in, served, dropped, queued;
    int64_t peak_devices;
  } * sum; /* [buckets] */
} fc_service;

/* --- jobs --- */

typedef struct fc_job {
  int32_t owner, pool; /* pool: last placed on; -1: never */
  uint64_t number;
  fc_time submit, start, end;
  double work;                     /* stream: H100e device-seconds */
  int64_t want, devices, rollouts; /* asked; held now or last; of them generating */
  int64_t total_ns, left_ns;       /* productive time on `pool`, and of it still to do */
  int64_t period_ns;    /* productive time between checkpoints; 0: continuous; FC_TIME_MAX: never */
  fc_time from, resume; /* booked up to `from`; stands still until `resume` */
  fc_time queued_since;
  fc_event_id event;
  uint32_t prev, next; /* in its queue or running list */
  uint32_t placements, failures, preemptions;
  uint8_t level;
  bool preemptible, moved; /* moved: its rate has changed on the way */
  fc_job_state state;
  fc_wide kept, lost; /* device-ns: productive and kept; lost or standing still */
  fc_wide kept_ns;    /* ns of `left_ns` ever done */
  double flop;
} fc_job;

typedef struct fc_job_list {
  uint32_t head, tail;
} fc_job_list;

typedef struct fc_owner {
  const char *name;
  fc_category category;
  const fc_failure *failure;
  int level;
  bool preemptible;
  uint64_t entity;
  fc_work *work; /* [pools] */
  size_t n_order;
  int32_t *order;    /* feasible pools, in order of preference */
  fc_job_list queue; /* waiting, in order of submission */
  uint32_t hint;     /* where a job last came back to; FC_NO_JOB: nowhere yet */
  fc_arrivals arrivals;
  uint64_t submitted;
  fc_wide device_ns; /* of its jobs, summed as they are booked */
} fc_owner;

typedef struct fc_pool {
  const fc_pool_def *def;
  fc_supply supply;
  size_t next_step;
  int64_t installed, idle, down, in_jobs, serving, other;
  int64_t future_peak; /* largest installed count from now on */
  fc_time idle_since, down_since;
  int64_t *others; /* [n_others] devices held now */
  fc_time *others_since;
  int64_t preemptible[FC_LEVELS];    /* devices of running preemptible jobs */
  fc_job_list running[FC_LEVELS][2]; /* [.][preemptible], in order of placement */
  uint32_t hold;                     /* job that the pool is kept for; FC_NO_JOB */
  fc_rng failures, repairs;
  int64_t *back; /* [n_back] devices whose repair ends at a slot of the repair grid */
  size_t n_back, next_back;
  int64_t debt;    /* repairs that never come back: retired meanwhile */
  double overhead; /* facility watts a device watt: server / TDP x PUE */
  double idle_w;   /* facility watts of a device that stands still */
} fc_pool;

typedef struct fc_fleet {
  const fc_fleet_def *def;
  fc_fleet_options options;
  fc_fleet_result *result;
  const fc_grid *grid; /* the result's */
  fc_sim *sim;
  fc_status status;                /* first failure; the run then stops */
  char *why;                       /* nullable, [256] */
  fc_time now, epoch_at, epoch_ns; /* epoch_at: start of the current epoch */
  fc_time next_epoch, repair_ns;
  size_t bucket; /* that holds `now` */
  fc_pool *pool;
  fc_service *service;
  size_t n_owners;
  fc_owner *owner;
  fc_line *line; /* [pools][slots] */
  size_t n_slots;
  fc_job *job;
  size_t n_jobs, job_capacity;
  size_t n_queued[FC_LEVELS];
  uint64_t n_preempted;
  double progress;   /* share at which to tell the next */
  bool ran_back;     /* INV-3 broken */
  const char *idler; /* INV-10 broken: who waited beside idle devices; NULL: nobody */
} fc_fleet;

#endif
