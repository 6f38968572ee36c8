/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SCENARIO_PLAN_H
#define FC_SCENARIO_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/dist.h>
#include <fleetcast/base/time.h>
#include <fleetcast/cost/model.h>
#include <fleetcast/cost/plan.h>
#include <fleetcast/cost/profile.h>
#include <fleetcast/scenario/serve.h>

/** What a file of kind `plan` asks: the cheapest deployment that meets an objective (docs/plan.md).  0 means
 *  "not stated" where a comment says what then holds; all the rest has been filled in on loading. */

/** A device to consider. */
typedef struct fc_plan_device {
  const fc_profile *profile; /* with its device */
  double price_usd_per_s;    /* of one device; 0: its market price at the plan's date */
  int64_t devices_max;       /* of an instance; 0: a scale-up domain, but 16 at least */
  int64_t stages_max;        /* of a pipeline, tried by twos */
  fc_serve_plan wish;        /* formats, imbalance, overlap, memory fraction; its degrees are not used */
} fc_plan_device;

/** The requests: an open loop. */
typedef struct fc_plan_load {
  double rate_per_s; /* of the whole deployment; 0: as many as you like */
  double arrival_cv; /* of the gaps; 1: Poisson */
  fc_dist input, output;
  int64_t input_max, output_max;
} fc_plan_load;

typedef struct fc_plan_slo {
  double ttft_s, tpot_s;
  double percentile; /* 0: the mean */
} fc_plan_slo;

typedef struct fc_plan_search {
  double margin;
  int64_t keep, front, requests;
  size_t n_batches, n_budgets;
  const double *max_batch, *token_budget; /* n 0: the search's own */
  bool apart;                             /* prefill and decode on instances of their own too */
} fc_plan_search;

typedef struct fc_plan_def {
  const char *name, *question;
  int64_t seed;
  const fc_model *model;
  fc_engine_word engine;
  fc_operators operators;
  fc_serve_host host;
  const char *policy; /* of the scheduler; NULL: the engine's, else vllm */
  size_t n_devices;
  const fc_plan_device *devices;
  fc_plan_load load;
  fc_plan_slo slo;
  int64_t devices_max; /* of the deployment; 0: any */
  fc_plan_search search;
  fc_time date; /* of market prices; 0: the latest that is known */
} fc_plan_def;

#endif
