/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SERVE_CLUSTER_H
#define FC_SERVE_CLUSTER_H

#include <fleetcast/base/dist.h>
#include <fleetcast/serve/replica.h>

/** Replicas of one service behind a router, on one clock.
 *
 *  They meet only in the router, the scaler and the failures, so between arrivals each runs on its own. Every
 *  draw is a function of (seed, purpose, replica or request, which one of it): the same seed gives the same
 *  bytes.  At the same instant come first what happens to replicas, by number, then the scaler, the timeline,
 *  retries, arrivals, and last the ends of iterations, by number.  A request that comes because another one
 *  ended (closed loop) meets the iteration that starts then. */

/** Who gets a request; of equals who has been without one longest. */
typedef enum {
  FC_ROUTE_ROUND_ROBIN,
  FC_ROUTE_RANDOM,
  FC_ROUTE_LEAST_REQUESTS, /* fewest that wait or run there */
  FC_ROUTE_LEAST_TOKENS,   /* fewest prompt tokens still to be computed, then fewest requests */
  FC_ROUTE_TWO_CHOICES,    /* of two drawn at random the one with fewer requests */
  FC_ROUTE_PREFIX,         /* longest prefix in the cache, see fc_cluster_def */
  FC_ROUTE_LENGTH,         /* replicas set apart by prompt length, see below; there fewest requests */
  FC_ROUTE_LEAST_WORK,     /* least predicted time for all that it has been given and not yet finished */
  FC_ROUTES
} fc_route;

/** "round-robin", "random", "least-requests", "least-tokens", "two-choices", "prefix", "length",
 *  "least-work"; NULL outside. */
const char *fc_route_name(fc_route route);

/** What a scaler looks at, a replica: `target` is what it should be. */
typedef enum {
  FC_SCALE_NONE,
  FC_SCALE_ON_REQUESTS, /* that wait or run, at the router and in replicas */
  FC_SCALE_ON_WAITING,  /* of them, those that wait */
  FC_SCALE_ON_TOKENS,   /* prompt tokens still to be computed */
  FC_SCALE_ON_MEMORY,   /* share of the cache's blocks in use */
  FC_SCALE_ON_BUSY,     /* share of the last interval in which a replica had requests */
  FC_SCALES
} fc_scale;

/** Every interval n replicas whose metric is m a replica become ceil(n m / target), within bounds; n counts
 *  those that are up or on their way.  Down: first those that are not up yet, then those with the fewest
 *  requests, which they finish (draining).  Up: first those that are draining.
 *  @source of the rule, interval, tolerance and waits: Kubernetes HorizontalPodAutoscaler; its 300 s take the
 *  highest wish of that time, here nothing shrinks for as long after a change */
typedef struct fc_scale_def {
  fc_scale on;                   /* default FC_SCALE_NONE: `replicas` throughout */
  double target;                 /* > 0, in the metric's unit */
  int64_t replicas_min;          /* >= 0 (default 1) */
  int64_t replicas_max;          /* >= replicas_min and fc_cluster_def.replicas (default 1) */
  double interval_s;             /* > 0 (default 15) */
  double tolerance;              /* no change while |m / target - 1| is within it (default 0.1) */
  double up_wait_s, down_wait_s; /* after any change none up, none down for as long (default 0 and 300) */
  int64_t up_most, down_most;    /* replicas a change; 0: no limit (default) */
  fc_dist provision_s;           /* from the wish to a machine (default 0); a negative draw is 0 */
} fc_scale_def;

/** A replica breaks down as a whole, machine and all; its requests are gone, its cache too.  The clock to the
 *  next failure runs from when it came up.
 *  @source of the defaults of a retry: SGLang model gateway, --retry-max-retries, --retry-initial-backoff-ms
 *  (whose backoff grows, with jitter; here it is constant) */
typedef struct fc_failure_def {
  double mean_s;        /* between coming up and failing; 0: never (default) */
  double shape;         /* Weibull's, in [0.1, 10]; 1: exponential (default) */
  fc_dist repair_s;     /* until it loads its weights again; a negative draw is 0 (default 0) */
  uint32_t retries;     /* of a request by its client, beyond which it is lost (default 5) */
  double retry_after_s; /* from the failure until the client tries again (default 0.05) */
} fc_failure_def;

/** What a client was promised.  INFINITY: no limit. */
typedef struct fc_slo_class {
  const char *name; /* for tables; nullable, borrowed */
  double ttft_s;    /* > 0 */
  double tpot_s;    /* > 0; a request of one token meets it */
} fc_slo_class;

enum { FC_LENGTHS_MAX = 8 };

typedef enum {
  FC_REPLICA_OFF,          /* not ours */
  FC_REPLICA_PROVISIONING, /* wished for */
  FC_REPLICA_LOADING,      /* cold start */
  FC_REPLICA_UP,
  FC_REPLICA_DRAINING,
  FC_REPLICA_DOWN, /* failed, in repair */
  FC_REPLICA_CONDITIONS
} fc_replica_condition;

/** Of all replicas at an instant, for a timeline. */
typedef struct fc_cluster_sample {
  fc_time at;
  int64_t replicas[FC_REPLICA_CONDITIONS];
  int64_t at_router;                /* requests that wait for any replica to be up */
  int64_t retrying;                 /* whose client will try again */
  int64_t waiting, running;         /* in replicas */
  int64_t waiting_tokens, kv_used;  /* prompt tokens still to be computed; blocks */
  uint64_t in, done, refused, lost; /* so far */
} fc_cluster_sample;

typedef enum { FC_OUTCOME_DONE, FC_OUTCOME_REFUSED, FC_OUTCOME_LOST } fc_outcome;

/** A request that is over, as its client saw it: `arrival` is that of its first attempt. */
typedef struct fc_cluster_record {
  fc_replica_record request;
  fc_outcome outcome;
  int64_t replica; /* of the last attempt; -1: it reached none */
  uint32_t attempts;
  uint64_t come, under_way; /* requests so far; of them not over, this one included */
} fc_cluster_record;

typedef struct fc_cluster_def {
  fc_replica_def replica; /* each; its callbacks are not used */
  int64_t replicas;       /* at time 0, all up (default 1), at most 1e5 */
  fc_route route;         /* default FC_ROUTE_ROUND_ROBIN */

  /* FC_ROUTE_PREFIX: the longest hit of at least `prefix_share` of the prompt; below it, or when the fullest
   * replica has more than guard_requests and more than guard_ratio times what the emptiest has, fewest
   * requests.  (Defaults 0.3, 64, 1.5.)
   * @source SGLang model gateway, cache_aware: cache-threshold, balance-abs-threshold, balance-rel-threshold
   */
  double prefix_share, guard_ratio;
  int64_t guard_requests;

  /* FC_ROUTE_LENGTH: class c has prompts shorter than length_below[c], the last all others, and a share of
   * the replicas; where none of its own is up, any. */
  int n_lengths; /* 1 to FC_LENGTHS_MAX (default 1) */
  uint32_t length_below[FC_LENGTHS_MAX];
  double length_share[FC_LENGTHS_MAX]; /* > 0, of any sum (default 1) */

  /* FC_ROUTE_LEAST_WORK: the step table's time of the prompt alone, and of each output token an equal share
   * of an iteration of half the largest batch.  Output: known (an oracle), or the mean of those done. */
  bool output_known; /* default false */

  fc_scale_def scale;
  fc_failure_def failure;
  double weights_bytes;       /* cold start, after provisioning and after repair: weights over */
  double load_bytes_per_s;    /* this rate, and */
  double load_extra_s;        /* as much more: process, graphs, warm-up (default 0: nothing is loaded) */
  int64_t router_queue_limit; /* requests that may wait for a replica to be up; more are refused; 0: none may
                                 (default INT64_MAX) */

  size_t n_classes; /* 0: one without limits */
  const fc_slo_class *slo;

  /* Promised: no request of the source waits for the end of another (default false).  Replicas behind
   * round-robin or random, no scaler, no failures, no timeline, then run apart, on `threads` (default 1, at
   * most 256) with the same result for any number; and the same as on one clock, but where imbalance is
   * drawn.  The source and the callbacks stay with the caller's thread; ends are told later than requests are
   * taken: a source that ends because of what was told has given up to two windows (1,024 requests, or 128 a
   * replica) more than came by then.  Other routes look at every replica for each request, which takes about
   * as long to simulate as two threads to meet: they run on one. */
  bool open_loop;
  int threads;

  double timeline_s; /* between samples; 0: none (default) */
  fc_gaps *gaps;     /* nullable; replicas apart: as of the end of a window */
  void *context;     /* of the callbacks, each nullable */
  void (*sample)(void *context, const fc_cluster_sample *sample);
  void (*record)(void *context, const fc_cluster_record *record);
} fc_cluster_def;

/** One replica of fc_replica_default_def, which is to be completed. */
fc_cluster_def fc_cluster_default_def(void);
/** @return FC_OK | FC_E_DOMAIN, with a sentence in why [256], nullable */
FC_NODISCARD
fc_status fc_cluster_check(const fc_cluster_def *def, char *why);

/* --- results --- */

typedef struct fc_cluster_class {
  uint64_t in, done, refused, lost, in_flight;
  uint64_t within_ttft, within_tpot, within_both; /* of those done */
  uint64_t output_tokens, good_tokens;            /* of those done; of those within both */
  double attainment;                              /* within both / over; 1 where none is over */
  double goodput_per_s, good_tokens_per_s;        /* within both, over the span */
  fc_digest ttft, tpot, e2e;                      /* the client's, all attempts included */
} fc_cluster_class;

typedef struct fc_cluster_replica {
  uint64_t in, done, refused, lost; /* attempts: in = done + refused + lost + in flight */
  uint64_t starts, failures;
  uint64_t input_tokens, output_tokens, cached_tokens, preemptions, iterations;
  double seconds[FC_REPLICA_CONDITIONS]; /* sum to the span */
  double busy_s, energy_j;               /* energy: idle power while loading, up, draining or down */
  double kv_peak, batch_mean;
} fc_cluster_replica;

typedef struct fc_cluster_result {
  /* in = done + refused + lost + in flight, checked with all laws at the end (FC_E_LAW) */
  uint64_t in, done, refused, lost, in_flight;
  uint64_t attempts, retries;           /* requests given to replicas; again by clients */
  uint64_t router_refused, router_peak; /* queue at the router */
  uint64_t past_idle;                   /* given to a replica with requests while another had none */
  uint64_t scaled_up, scaled_down, failures;
  fc_time start, end; /* time 0, or an earlier first arrival; last end of anything */
  double span_s;
  double device_s[FC_REPLICA_CONDITIONS]; /* device-seconds; OFF: of those that could be */
  double total_device_s;                  /* = their sum = devices of the most replicas x span (checked) */
  double availability;                    /* up or draining / (that + loading + down); 1: never held */
  double router_wait_s;                   /* sum over requests */
  fc_replica_result total;                /* of all replicas; ttft, tpot, e2e are the clients' */
  size_t n_replicas, n_classes;
  fc_cluster_replica *by_replica; /* [n_replicas], the most there can be */
  fc_cluster_class *by_class;     /* [n_classes] */
} fc_cluster_result;

/** Frees what it points to. */
void fc_cluster_result_fini(fc_cluster_result *result);

/** Runs until the source is exhausted and every request is over.  `out` (large: not for the stack) is empty
 *  on failure; else to be ended by fc_cluster_result_fini.
 *  @return as fc_replica_run; FC_E_DOMAIN also for a request of a class that is not there */
FC_NODISCARD
fc_status fc_cluster_run(fc_cluster_result *out, const fc_cluster_def *def, const fc_request_source *source,
                         uint64_t seed, char *why);

#endif
