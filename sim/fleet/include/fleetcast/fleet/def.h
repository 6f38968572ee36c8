/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_FLEET_DEF_H
#define FC_FLEET_DEF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/dist.h>
#include <fleetcast/base/series.h>
#include <fleetcast/base/time.h>
#include <fleetcast/cost/model.h>
#include <fleetcast/cost/profile.h>
#include <fleetcast/hw/device.h>
#include <fleetcast/serve/capacity.h>
#include <fleetcast/train/run.h>
#include <fleetcast/workload/shape.h>

/** What a scenario says, as constants: shared between any number of runs.  The comment of each field begins
 *  with its YAML key.  All pointers are borrowed (the loader's arena owns them). */

/* --- supply --- */

typedef struct fc_delivery {
  fc_time date;   /* date: first day of the delivery */
  double over_s;  /* over: spread evenly from `date` over this long; 0: all at once (default 0 s) */
  double devices; /* count: [devices], >= 0 */
} fc_delivery;

typedef struct fc_pool_def {
  const char *name;          /* name */
  const fc_profile *profile; /* profile: reference; default the profile named like `device`.
                                device: reference, required; profile->device is that device */
  size_t n_deliveries;
  const fc_delivery *deliveries; /* deliveries: list; those before the start are installed at the start */
  double lag_s;                  /* lag: from delivery (sale) to running (default 0 s) */
  double life_s;                 /* life: service life, then retired; 0: never (default 0 s) */
  double device_mtbf_s;          /* mtbf: between failures of one device (default 50,700 h, Llama 3) */
  double repair_s;               /* repair: mean time out of service (default 24 h) */
  double pue;                    /* pue: facility over IT energy (default 1.35, SemiAnalysis) */
  double tariff_usd_per_j;       /* tariff: electricity (default 0.087 USD/kWh, SemiAnalysis) */
  double hosting_usd_per_w_s;    /* hosting: colocation by IT power and time
                                    (default 150 USD/kW/month, SemiAnalysis) */
  double depreciation_s;         /* depreciation: straight-line life of the capital (default 5 yr) */
  fc_series rent_usd_per_s;      /* rent: overrides the device's market price; unset: the device's */
} fc_pool_def;

/* --- serving --- */

typedef enum { FC_SCALING_HOURLY, FC_SCALING_PEAK } fc_scaling;

typedef struct fc_service_def {
  const char *name;       /* name */
  const fc_model *model;  /* model: reference */
  fc_series tokens_per_s; /* demand: series of tokens/time, input (cached too) + output */
  fc_request_shape
      request;           /* request: {input: tokens, output: tokens, cache_hit: share, input_cv, output_cv} */
  const fc_shape *shape; /* shape: reference to a file of kind shape; none: flat */
  double burst_sigma;    /* burst: sd of an hourly log-AR(1) factor of mean 1 (default 0) */
  double burst_time_s;   /* burst_time: its correlation time, [s] (default 1 h) */
  fc_slo slo;            /* slo: {ttft: 2 s, tpot: 50 ms} */
  fc_deployment deployment; /* deployment: {disaggregated, prefill: {…plan}, decode: {…plan},
                               speculative_tokens}; absent: automatic.
                               plan keys: devices tp attention_dp ep gemm kv expert_imbalance
                               two_batch_overlap memory_fraction */
  size_t n_pools;
  const int32_t *pools;       /* pools: list of pool names, in order of preference; default all */
  fc_scaling scaling;         /* scaling: hourly (follow the hour) | peak (hold the week's peak) */
  double headroom;            /* headroom: capacity held above the forecast, share (default 0.1) */
  double patience_s;          /* patience: tokens that waited longer are dropped (default 1 h) */
  int priority;               /* priority: 0 first … 9 last (default 0) */
  double efficiency_per_year; /* efficiency: yearly factor by which software serves more tokens a device
                                 from the scenario's start (default 1) */
} fc_service_def;

/* --- training and other work --- */

#define FC_CATEGORY_MAP(X)                                                                                   \
  X(SERVING, "serving")                                                                                      \
  X(RL_ROLLOUTS, "rl_rollouts")                                                                              \
  X(PRE_TRAINING, "pre_training")                                                                            \
  X(POST_TRAINING, "post_training") /* mid- and post-training, RL updates */                                 \
  X(EXPERIMENTS, "experiments")                                                                              \
  X(FINE_TUNING, "fine_tuning")                                                                              \
  X(FAILED, "failed")     /* failed and repeated work: lost since a checkpoint, restarts */                  \
  X(OTHER_AI, "other_ai") /* recommenders, vision */                                                         \
  X(IDLE, "idle")                                                                                            \
  X(DOWN, "down")                                                                                            \
  X(UNEXPLAINED, "unexplained") /* installed, but no demand of the scenario accounts for it */

typedef enum fc_category {
#define FC_CATEGORY_ENUM(name, text) FC_CATEGORY_##name,
  FC_CATEGORY_MAP(FC_CATEGORY_ENUM)
#undef FC_CATEGORY_ENUM
      FC_CATEGORY_COUNT
} fc_category;

const char *fc_category_text(fc_category category);

/** One dated run.  Work is given as tokens of `model`, or as FLOP done with `model`'s kernels. */
typedef struct fc_run_def {
  const char *name;         /* name */
  fc_category category;     /* category: pre_training (default) | post_training | fine_tuning | experiments */
  fc_time date;             /* start: earliest start */
  const fc_model *model;    /* model: reference */
  double tokens;            /* tokens: [tokens]; 0: see flop */
  double flop;              /* flop: [FLOP] useful; 0: see tokens */
  double rollout_tokens;    /* rollout_tokens: RL generation belonging to the run [tokens] (default 0) */
  fc_request_shape rollout; /* rollout: {input, output, cache_hit} of one (default 1,000 / 4,000 / 0) */
  int64_t devices;          /* devices: gang size [devices] */
  size_t n_pools;
  const int32_t *pools; /* pools: names in order of preference; default all */
  fc_train_plan plan;   /* plan: keys tp pp cp ep virtual_stages micro_batch global_batch sequence zero
                           schedule recompute gemm expert_imbalance overlap; 0 or absent: chosen */
  fc_failure failure;   /* failure: {mtbf, restart, checkpoint, checkpoint_write}; mtbf 0: the pool's */
  int priority;         /* priority: 0 first … 9 last (default 3) */
  bool preemptible;     /* preemptible (default true) */
} fc_run_def;

/** A stream of jobs: a marked Poisson process. */
typedef struct fc_stream_def {
  const char *name;       /* name */
  fc_category category;   /* category: experiments (default) | fine_tuning | post_training */
  const fc_model *model;  /* model: reference, whose kernels stand for the work */
  fc_series rate_per_s;   /* rate: series, jobs/time ("40 /day"); or load */
  fc_series load_devices; /* load: series, mean H100-equivalents kept busy; rate = load / mean work */
  fc_dist work_device_s;  /* work: distribution, H100-equivalent device-time of a job ("2000 GPU-h") */
  fc_dist devices;        /* devices: distribution, gang size [devices], rounded to nodes */
  double rollout_share;   /* rollout_share: share of a job's devices that generate RL rollouts (default 0) */
  size_t n_pools;
  const int32_t *pools; /* pools */
  fc_failure failure;   /* failure */
  int priority;         /* priority (default 6) */
  bool preemptible;     /* preemptible (default true) */
} fc_stream_def;

/** Exogenous use of a share of pools. */
typedef struct fc_other_def {
  const char *name; /* name */
  size_t n_pools;
  const int32_t *pools; /* pools */
  fc_series share;      /* share: series, of the running devices, in [0, 1] */
} fc_other_def;

/* --- policy --- */

typedef enum {
  FC_POLICY_SCALE_DELIVERIES, /* deliveries to `pool` from `date` until `until` times `factor` (0: blocked) */
  FC_POLICY_REDIRECT,         /* the blocked share (1 - factor) goes to pool `to` instead */
  FC_POLICY_SCALE_DEMAND,     /* demand of `service` times `factor` from `date` until `until` */
  FC_POLICY_SCALE_EFFICIENCY, /* tokens a device serves, times `factor`, from `date` until `until` */
} fc_policy_kind;

typedef struct fc_policy_def {
  const char *name;    /* name */
  fc_policy_kind kind; /* kind: scale_deliveries | redirect | scale_demand | scale_efficiency */
  fc_time date, until; /* date, until (default: the end) */
  int32_t pool, to;    /* pool, to: names; -1: all / none */
  int32_t service;     /* service: name; -1: all */
  double factor;       /* factor: >= 0 */
} fc_policy_def;

/* --- the scenario --- */

typedef enum { FC_BUCKET_HOUR, FC_BUCKET_DAY, FC_BUCKET_MONTH } fc_bucket;

/** Where the rates of services come from: formulas of means, or the request-level engine (serve/surface.h).
 *  Rollouts of training are formulas' either way: they have no latency to keep. */
typedef enum { FC_SERVING_CLOSED_FORM, FC_SERVING_SURFACE } fc_serving;

/** What iterations of services and rollouts are composed of: the profile's forms, the same for every device;
 * or the fastest measured operators where a device's profile has tables (serve/view.h): truer for those, but
 * devices without tables then compare with them by forms. */
typedef enum { FC_FLEET_FORMS, FC_FLEET_MEASURED } fc_fleet_operators;

typedef struct fc_fleet_def {
  const char *name, *question, *scope; /* name, question, scope: "world GenAI", "one lab", … */
  fc_time start, end;                  /* start, end: [start, end) */
  double epoch_s;                      /* epoch: serving is re-planned this often (default 1 h) */
  uint64_t seed;                       /* seed (default 1) */
  fc_bucket bucket;                    /* bucket: hour | day | month (default): rows of timeseries.csv */
  bool residual_is_unexplained;        /* residual: idle (default) | unexplained */
  fc_serving serving;                  /* serving: surface (default) | closed_form */
  fc_fleet_operators operators;        /* operators: forms (default) | measured */
  size_t n_pools, n_services, n_runs, n_streams, n_others, n_policies;
  const fc_pool_def *pools;       /* pools: list, >= 1 */
  const fc_service_def *services; /* services */
  const fc_run_def *runs;         /* runs */
  const fc_stream_def *streams;   /* streams */
  const fc_other_def *others;     /* other_ai */
  const fc_policy_def *policies;  /* policies */
} fc_fleet_def;

#endif
