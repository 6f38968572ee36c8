/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SCENARIO_SERVE_H
#define FC_SCENARIO_SERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/dist.h>
#include <fleetcast/base/series.h>
#include <fleetcast/cost/engine.h>
#include <fleetcast/cost/model.h>
#include <fleetcast/cost/plan.h>
#include <fleetcast/cost/profile.h>
#include <fleetcast/serve/cluster.h>
#include <fleetcast/serve/policy.h>
#include <fleetcast/workload/shape.h>

/** A deployment and its load, as a file of kind `serve` states them (docs/serve.md).  0 means "not stated"
 *  where a comment says what then holds; all the rest has been filled in on loading. */

/** Arrivals; FC_SERVE_ARRIVE_AUTO: as recorded where there is a trace, all at once (as `concurrency` lets
 *  them) where there is no rate but a concurrency, else Poisson.  The others are fc_arrive + 1. */
typedef enum {
  FC_SERVE_ARRIVE_AUTO,
  FC_SERVE_ARRIVE_POISSON,
  FC_SERVE_ARRIVE_GAMMA,
  FC_SERVE_ARRIVE_WEIBULL,
  FC_SERVE_ARRIVE_EVENLY,
  FC_SERVE_ARRIVE_AT_ONCE,
  FC_SERVE_ARRIVE_TRACE
} fc_serve_arrive;

/** A rate over time. */
typedef struct fc_serve_demand {
  fc_series rate_per_s;
  const fc_shape *shape; /* NULL: flat */
  double burst_sigma, burst_time_s;
  fc_time start;
  double epoch_s;
} fc_serve_demand;

typedef struct fc_serve_prefix {
  double share, zipf;
  int64_t groups;
  fc_dist tokens;
  bool adds;
} fc_serve_prefix;

typedef struct fc_serve_session {
  fc_dist turns, think_s, new_tokens, tool_s, tool_tokens;
  double tool_share;
} fc_serve_session;

/** What fc_load_def holds, in the types of a file. */
typedef struct fc_serve_traffic {
  const char *trace; /* path, relative to the file; NULL: none */
  fc_serve_arrive arrive;
  double rate_per_s, rate_scale, arrival_cv; /* rate 0: not stated */
  const fc_serve_demand *demand;             /* NULL: none */
  int64_t requests;                          /* 0: up to FC_SERVE_REQUESTS_MAX, or the trace's */
  double duration_s;                         /* 0: no limit */
  bool repeat, in_order;
  int64_t concurrency; /* 0: open loop */
  double ramp_s;
  fc_dist pause_s;
  double from_s, until_s; /* until 0: the trace's end */
  fc_dist input, output;
  double correlation;
  int64_t input_max, output_max, context_max, block_tokens;
  fc_serve_prefix prefix;
  fc_serve_session session;
} fc_serve_traffic;

/** Requests of a load that states no end, at most. */
#define FC_SERVE_REQUESTS_MAX 10000000

/** A class of requests and what it is promised; 0: no such promise. */
typedef struct fc_serve_class {
  const char *name;
  double share;
  double ttft_s, tpot_s, e2e_s;
} fc_serve_class;

/** Which operators compose iterations. */
typedef enum {
  FC_OPERATORS_MEASURED, /* the engine's, as tables have them; forms where the profile has none */
  FC_OPERATORS_FORMS     /* the profile's curated forms */
} fc_operators;

typedef enum {
  FC_ENGINE_NONE,
  FC_ENGINE_VLLM,
  FC_ENGINE_SGLANG,
  FC_ENGINE_TRTLLM,
  FC_ENGINES
} fc_engine_word;

/** Overheads beside the kernels, as fc_engine has them: what a file does not state is the engine's fitted
 * value, 0 (factors: 1) without an engine. */
typedef struct fc_serve_host {
  double glue, collective;                          /* factors */
  double step_s, request_s, token_s, eager_layer_s; /* lengthen an iteration */
  double ingress_s, egress_s;                       /* each way */
  double front_s, front_request_s, steps_ahead;     /* before the first token */
} fc_serve_host;

/** The engine that `host` describes, without formats. */
fc_engine fc_serve_host_engine(const fc_serve_host *host, fc_engine_word engine);

/** How tokens load the ranks of experts; docs/serve.md#experts. */
typedef struct fc_serve_experts {
  double skew;
  bool eplb;
  int64_t redundant;
} fc_serve_experts;

typedef struct fc_serve_engine {
  fc_engine_word engine; /* filled in: the scheduler's own */
  fc_operators operators;
  fc_serve_policy scheduler;
  int64_t block_tokens;
  int64_t kv_tokens;   /* of the whole instance; 0: what fits beside the weights */
  int64_t max_context; /* tokens of a request; 0: what the cache holds */
  bool prefix_cache;
  size_t n_acceptance;
  const double *acceptance;
  bool sample_acceptance;
  double imbalance_cv;
  const fc_serve_experts *experts; /* NULL: plan's expert_imbalance and imbalance_cv */
  bool graph_padding;
  double table_tolerance;
  fc_serve_host host;
} fc_serve_engine;

/** Prompts on instances of their own. */
typedef struct fc_serve_apart {
  fc_serve_plan plan; /* of a prefill instance */
  fc_serve_policy scheduler;
  int64_t kv_tokens; /* as above */
  int64_t prefill_replicas, decode_replicas;
  double link_bytes_per_s; /* all transfers together; 0: the network ports of the smaller side */
  double link_latency_s;
  bool link_shared;
} fc_serve_apart;

/** Several instances behind a router. */
typedef struct fc_serve_cluster {
  int64_t replicas;
  fc_route route;
  double prefix_share, guard_ratio; /* of the route by prefix */
  int64_t guard_requests;
  size_t n_length_below, n_length_share; /* of the route by length; share: one more, or none: alike */
  const double *length_below, *length_share;
  bool output_known;
  fc_scale_def scale;
  fc_failure_def failure; /* `retries` is below */
  int64_t retries;
  double load_bytes_per_s; /* of weights to an instance, cold; 0: nothing is loaded */
  double load_extra_s;
  int64_t router_queue;
  double sample_s; /* of cluster.csv */
} fc_serve_cluster;

/** When the answer is good enough. */
typedef struct fc_serve_stop {
  double width;   /* half width of every 95 % interval over its value; 0: the load runs to its end */
  double warm_up; /* share of the requests, the first ones, that is left out */
} fc_serve_stop;

typedef struct fc_serve_def {
  const char *name, *question;
  int64_t seed;
  const fc_model *model;
  const fc_profile *profile; /* with its device */
  fc_serve_plan plan;        /* complete */
  fc_serve_engine engine;
  const fc_serve_apart *apart;     /* NULL: one instance does both */
  const fc_serve_cluster *cluster; /* NULL: one instance; never with `apart` */
  fc_serve_traffic load;
  size_t n_classes;
  const fc_serve_class *classes;
  fc_serve_stop stop;
  double price_usd_per_s; /* of a device; 0: the device's market price at `date` */
  fc_time date;           /* 0: the latest that is known */
  bool requests, timeline;
} fc_serve_def;

#endif
