/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SCENARIO_TRAIN_H
#define FC_SCENARIO_TRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/dist.h>
#include <fleetcast/base/time.h>
#include <fleetcast/cost/model.h>
#include <fleetcast/cost/plan.h>
#include <fleetcast/cost/profile.h>
#include <fleetcast/serve/capacity.h>
#include <fleetcast/train/ledger.h>
#include <fleetcast/train/recovery.h>

/** One training run, as a file of kind `train` states it (docs/train.md).  0 means "not stated" where a
 *  comment says what then holds; all the rest has been filled in on loading. */

/** A stretch of the batch-size ramp. */
typedef struct fc_train_ramp {
  double until_tokens; /* of the phase */
  int64_t global_batch;
} fc_train_ramp;

/** Generation within reinforcement learning: on the run's own devices between the updates, or on some of them
 *  while the others train. */
typedef struct fc_train_rollouts {
  double tokens; /* generated in the phase */
  fc_request_shape shape;
  fc_slo slo;
  fc_deployment deployment;
  double wait;      /* time of a batch over that of its mean: the longest answer ends it; >= 1 */
  int64_t devices;  /* of the run's, that generate only; 0: all, between the updates */
  int64_t lag;      /* updates that the generating weights may be behind; with `devices` */
  double publish_s; /* new weights to them; 0: every device its share through its port */
} fc_train_rollouts;

typedef struct fc_train_phase {
  const char *name;
  double tokens;   /* trained on; 0: `device_s` is stated instead */
  double device_s; /* stated, not composed; 0: composed */
  double setup_s;
  double reported_device_s; /* 0: none */
  fc_train_plan plan;       /* of this phase; 0: chosen */
  size_t n_ramp;
  const fc_train_ramp *ramp;
  const fc_train_rollouts *rollouts; /* NULL: none */
} fc_train_phase;

/** The run with another model, device or plan: composed, not simulated. */
typedef struct fc_train_variant {
  const char *name;
  const fc_model *model;
  const fc_profile *profile;
  int64_t devices;
  fc_train_plan plan; /* of the first phase; 0: chosen */
} fc_train_variant;

typedef struct fc_train_recovery {
  double checkpoint_s; /* 0: the Young/Daly optimum */
  fc_dist write_s, flush_s, detect_s, restart_s, repair_s;
  int64_t spare_nodes;
  bool shrinks;
} fc_train_recovery;

typedef struct fc_train_ledger {
  fc_dist cost[FC_COST_COUNT]; /* RENT, CHIP, SERVER, NETWORK 0: of the device */
  bool stated[FC_COST_COUNT];  /* in the file */
  size_t n_others;
  const fc_ledger_other *others;
} fc_train_ledger;

/** What was published about the run; 0: nothing. */
typedef struct fc_train_reported {
  double device_s, usd, wall_s, goodput, mfu;
  double interruptions, unexpected, window_s; /* counted over so long; 0: over the run */
  const char *includes, *excludes;
} fc_train_reported;

typedef struct fc_train_def {
  const char *name, *question;
  int64_t seed;
  const fc_model *model;
  const fc_profile *profile; /* with its device */
  int64_t devices;
  fc_train_plan plan; /* what the phases take over */
  size_t n_phases;
  const fc_train_phase *phases;
  size_t n_hazards;
  const fc_hazard *hazards;
  fc_train_recovery recovery;
  fc_train_ledger ledger;
  fc_train_reported reported;
  size_t n_variants;
  const fc_train_variant *variants;
  int64_t replications;
  fc_time date; /* of prices; 0: the latest that is known */
} fc_train_def;

#endif
