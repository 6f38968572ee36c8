/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TRAIN_RECOVERY_H
#define FC_TRAIN_RECOVERY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/dist.h>
#include <fleetcast/base/status.h>

/** One training run as discrete events: faults, detection, restart, lost work, checkpoints, spare nodes,
 *  stragglers, planned stops.  Hundreds of replications; each device-second that is held falls into one
 *  category, and they add up to the nanosecond.  Same definition and seed, same bytes, for any number of
 * threads.  Model: docs/train.md#recovery. */

typedef enum { FC_HAZARD_DEVICE, FC_HAZARD_NODE, FC_HAZARD_RUN } fc_hazard_level;

/** Time between occurrences of one unit.  WEIBULL: a unit is new at the start and after each of its own. */
typedef enum { FC_HAZARD_EXPONENTIAL, FC_HAZARD_WEIBULL, FC_HAZARD_REGULAR } fc_hazard_law;

/** A reason why a run stops or slows down.  Faults strike all the time, also during
 * restarts and checkpoints, but not while a run waits for a node. */
typedef struct fc_hazard {
  const char *name;
  fc_hazard_level level; /* what a unit is: its number times the rate of one is the rate of all */
  fc_hazard_law law;
  double shape;      /* WEIBULL, > 0 */
  fc_dist mtbf_s;    /* mean time between occurrences of one unit, > 0; drawn once a replication */
  bool planned;      /* a checkpoint is written first, nothing is lost; skipped while the run stands still */
  double replaces;   /* share of occurrences after which the node leaves for repair */
  double systematic; /* share of occurrences that come back after the restart until they are diagnosed */
  double recurs_s;   /* mean time from restart to coming back, exponential */
  double found;      /* chance that one occurrence of a systematic fault is diagnosed, (0, 1] */
  fc_dist slowdown;  /* > 1: does not stop the run, every step takes that many times as long until found; 1 */
  fc_dist detect_s;  /* from the fault to the stop; of a straggler, until it is found; an occurrence each */
  fc_dist restart_s; /* replacing, loading, warming up; of a planned stop, all of it; an occurrence each */
} fc_hazard;

typedef struct fc_recovery_phase {
  double work_s;  /* all steps at the composed step time, nothing failing; > 0 */
  double setup_s; /* relaunch before the first step */
  double log_sd;  /* systematic uncertainty of ln(work): one draw a replication, the same in all phases */
} fc_recovery_phase;

typedef struct fc_recovery_def {
  int64_t devices;       /* of the run */
  int64_t node_devices;  /* what is replaced together; divides `devices` */
  int64_t spare_nodes;   /* held beside it */
  int64_t group_devices; /* what a run without a spare shrinks by: a data-parallel rank; 0: it waits */
  size_t n_phases;
  const fc_recovery_phase *phases; /* one after another; each ends with a checkpoint */
  size_t n_hazards;
  const fc_hazard *hazards;
  double checkpoint_s;        /* computing between checkpoints; 0: the Young/Daly optimum */
  fc_dist checkpoint_write_s; /* the run stands still; drawn once a replication */
  fc_dist checkpoint_flush_s; /* from then until it can be restored, while computing goes on; as above */
  fc_dist repair_s;           /* of a node, from the fault until it is a spare again; an occurrence each */
  size_t replications;
  size_t threads; /* 0: one */
  uint64_t seed;
  const atomic_int *cancel; /* nullable */
} fc_recovery_def;

/** What held devices do. */
#define FC_HELD_MAP(X)                                                                                       \
  X(PRODUCTIVE, "productive", "steps that were kept, at full speed")                                         \
  X(STRAGGLER, "straggler", "what a slow node added to them")                                                \
  X(CHECKPOINT, "checkpoint", "standing still for a checkpoint")                                             \
  X(LOST, "lost", "work since the last checkpoint, redone")                                                  \
  X(DETECTION, "detection", "from a fault until the run is stopped")                                         \
  X(RESTART, "restart", "loading and warming up")                                                            \
  X(PLANNED, "planned", "planned stops")                                                                     \
  X(WAITING, "waiting", "no spare node, waiting for a repair")                                               \
  X(SHRUNK, "shrunk", "left out of a run that goes on smaller")                                              \
  X(REPAIR, "repair", "nodes out for repair")                                                                \
  X(SPARE, "spare", "spare nodes")

typedef enum {
#define FC_HELD_ENUM(name, word, text) FC_HELD_##name,
  FC_HELD_MAP(FC_HELD_ENUM)
#undef FC_HELD_ENUM
      FC_HELD_COUNT
} fc_held;

const char *fc_held_word(fc_held held);
const char *fc_held_text(fc_held held);

enum { FC_RECOVERY_PHASES = 16, FC_RECOVERY_HAZARDS = 32 };

/** One replication. */
typedef struct fc_recovery_sample {
  double wall_s;
  double device_s[FC_HELD_COUNT];     /* sum: (devices + spares) * wall */
  double phase_s[FC_RECOVERY_PHASES]; /* wall time of each */
  double step_factor;                 /* composed step time times this */
  double checkpoint_s;                /* interval in use; 0: none but at the ends of phases */
  double goodput;                     /* productive share of the run's devices and time; spares not counted */
  uint64_t interruptions,
      unexpected; /* all stops; those of hazards that are neither planned nor stragglers */
  uint64_t checkpoints;
  uint64_t count[FC_RECOVERY_HAZARDS]; /* stops by hazard */
} fc_recovery_sample;

/** Everything finite, positive where it must be, units that divide?  A sentence into `why` [256], nullable.
 *  @return FC_OK | FC_E_DOMAIN */
FC_NODISCARD
fc_status fc_recovery_check(const fc_recovery_def *def, char *why);

/** Unexpected stops a second of a run with all hazards at their medians: units over mtbf, systematic faults
 *  by their mean number of occurrences 1 + systematic (1 - found) / found. */
double fc_recovery_rate(const fc_recovery_def *def);
/** Computing between checkpoints: as stated, else sqrt(2 write / rate) at the medians, at least the write.
 *  INFINITY: without unexpected stops. @source Young 1974; Daly 2006 */
double fc_recovery_interval_s(const fc_recovery_def *def);

/** @param[out] sample  [replications]
 *  @return FC_OK | FC_E_DOMAIN (`why`, as fc_recovery_check; also a run that makes no headway: failures come
 *          faster than checkpoints) | FC_E_NOMEM | FC_E_CANCELLED | FC_E_LAW (device-time did not add up) */
FC_NODISCARD
fc_status fc_recovery_run(fc_recovery_sample *sample, const fc_recovery_def *def, char *why);

/** Quantile p of n values, between order statistics as R's type 7; sorts `value`.  @pre n >= 1 */
double fc_sample_quantile(double *value, size_t n, double p);

#endif
