/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SCENARIO_TRAIN_PLAN_H
#define FC_SCENARIO_TRAIN_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/time.h>
#include <fleetcast/cost/model.h>
#include <fleetcast/cost/plan.h>
#include <fleetcast/cost/profile.h>
#include <fleetcast/train/plan_search.h>

/** What a file of kind `train_plan` asks: the cheapest or the fastest way to train a model (docs/plan.md).  0
 *  means "not stated" where a comment says what then holds; all the rest has been filled in on loading. */

/** A device to consider. */
typedef struct fc_train_plan_device {
  const fc_profile *profile; /* with its device */
  double price_usd_per_s;    /* of one device; 0: its market price at the file's date */
  size_t n_counts;
  const double *counts; /* devices of the run; n 0: whole nodes up to devices_max */
  int64_t devices_max;
} fc_train_plan_device;

/** What a plan may be; n 0: all that the search knows (train/plan_search.h). */
typedef struct fc_train_plan_choices {
  size_t n_tp, n_pp, n_cp, n_ep, n_virtual_stages, n_micro_batch, n_global_batch, n_zero;
  const double *tp, *pp, *cp, *ep, *virtual_stages, *micro_batch, *global_batch, *zero;
  size_t n_schedule, n_recompute, n_gemm;
  const char *const *schedule, *const *recompute, *const *gemm; /* words of the tables below */
  fc_train_plan base; /* what is the same for all: imbalance, overlap, launch, flags */
} fc_train_plan_choices;

typedef struct fc_train_plan_limits {
  int64_t devices; /* 0: any */
  double days_s;   /* 0: any */
  double cost_usd; /* 0: any */
  double memory;   /* share of the device's */
} fc_train_plan_limits;

typedef struct fc_train_plan_def {
  const char *name, *question;
  int64_t seed;
  const fc_model *model;
  size_t n_devices;
  const fc_train_plan_device *devices;
  double tokens;
  int64_t sequence;
  double batch_tokens;
  fc_train_plan_choices plan;
  fc_train_objective objective;
  fc_train_plan_limits limits;
  fc_failure failure; /* mtbf 0: never */
  double margin;
  fc_time date; /* of market prices; 0: the latest that is known */
} fc_train_plan_def;

/** Index of the word in fc_schedule, fc_recompute or fc_dtype; -1: none. */
int fc_train_plan_schedule(const char *word);
int fc_train_plan_recompute(const char *word);
int fc_train_plan_gemm(const char *word);

#endif
