/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SERVE_SURFACE_H
#define FC_SERVE_SURFACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <fleetcast/base/status.h>
#include <fleetcast/serve/capacity.h>
#include <fleetcast/serve/policy.h>
#include <fleetcast/serve/step_table.h>

/** The capacity surface: what the request-level engine (replica.h) says an instance serves within its
 *  objective, from a few simulations and an emulator between them.  Model, errors: docs/surface.md.
 *
 *  Stochastic kriging (Ankenman, Nelson & Staum 2010, doi 10.1287/opre.1090.0754) around a stylised queue
 *  (Shen, Hong & Zhang 2018, doi 10.1080/24725854.2018.1465242):
 *
 *      ln y(x) = ln trend(x; load / stretch) + b + Z(x) + e
 *
 *  y is mean TTFT or mean TPOT; the trend is the closed form (phase.h) at that load, its load axis stretched
 *  by one number; Z a Gaussian process (Matern 5/2), e the noise of one simulation, whose variance is
 *  estimated within it.  All simulations share their random numbers.  Rates are requests a second of one
 *  instance, each with its own Poisson arrivals: a router that evens out the instances would do better. */

/** Which instance: prompts alone, generation alone (prompts come with their cache), or both. */
typedef enum { FC_INSTANCE_PREFILL, FC_INSTANCE_DECODE, FC_INSTANCE_WHOLE } fc_instance;

typedef struct fc_surface_def {
  const fc_model *model;
  const fc_profile *profile; /* device set */
  fc_instance instance;
  fc_serve_plan plan;         /* whole: fc_serve_plan_complete */
  fc_serve_policy policy;     /* of the engine; max_batch and token_budget of an attention group */
  double speculative_tokens;  /* as fc_deployment */
  fc_request_shape shape;     /* lengths: log-normal, cut at FC_SURFACE_LONGEST means and at the cache */
  double kv_port_bytes_per_s; /* DECODE: network of the device that fetches a prompt's cache; 0: at once */
  uint64_t seed;
  uint32_t completions;     /* requests that a simulation looks at, at least */
  const atomic_int *cancel; /* nullable */
  /* NULL, or iteration times known otherwise, for limits of queueing theory; then model and profile are not
   * read, and kv_blocks (of 16 tokens, the whole instance) is. */
  fc_step_function step;
  const void *context; /* of step; borrowed */
  int64_t kv_blocks;
} fc_surface_def;

/** Lengths are cut at so many times their mean.  @source judgement: beyond 1 in 30,000 at cv 1 */
#define FC_SURFACE_LONGEST 16.0

/** What one simulation at one rate said.  `var`: of the logarithm of the mean, from 16 batch means (times
 *  (1 + r) / (1 - r), r the correlation of neighbours) and, for what decodes, what the chance of the offered
 *  load, (1 + cv^2) / completions, does to it by the trend's slope.  Times of a client. */
typedef struct fc_surface_run {
  double rate_per_s;       /* of the instance */
  double ttft_s, ttft_var; /* mean; 0 where the instance has none */
  double tpot_s, tpot_var;
  double in_flight;        /* requests decoding */
  double busy;             /* share of time in iterations */
  double prefill_share;    /* of that time, in iterations that carry prompts */
  double watts;            /* mean draw of one device */
  double throughput_per_s; /* requests of mean length whose work was done: tokens over their mean */
  double completions;      /* requests looked at */
  double cut;              /* share whose length was cut */
  bool overloaded;         /* requests pile up: the means are of the length of the run */
} fc_surface_run;

/** A prediction, with the emulator's own spread of ln y (kriging and what is left of the runs' noise). */
typedef struct fc_surface_value {
  double ttft_s, ttft_log_sd, tpot_s, tpot_log_sd;
  bool outside; /* the rate is outside the hull of the design: the nearest edge is answered */
} fc_surface_value;

typedef struct fc_surface fc_surface;

/** An instance with no design points.  Builds the step table.
 *  @return FC_OK | FC_E_NOMEM | FC_E_DOMAIN (a plan or lengths out of domain, a profile that lacks a kernel)
 *        | FC_E_INFEASIBLE (no room for one request) */
FC_NODISCARD
fc_status fc_surface_new(fc_surface **out, const fc_surface_def *def);
void fc_surface_free(fc_surface *surface);

/** Simulates the instance at a rate, with the random numbers of `seed`; not added to the design.
 *  @return FC_OK | FC_E_NOMEM | FC_E_CANCELLED | FC_E_INFEASIBLE | FC_E_LAW */
FC_NODISCARD
fc_status fc_surface_simulate(fc_surface_run *out, const fc_surface *surface, double rate_per_s,
                              uint64_t seed);
/** Simulates with the design's random numbers and adds the point.  A second call at a rate is no more runs.
 */
FC_NODISCARD
fc_status fc_surface_add(fc_surface *surface, double rate_per_s);
/** A point that is known already (from a cache).  @pre fewer than FC_SURFACE_POINTS */
void fc_surface_put(fc_surface *surface, const fc_surface_run *run);
enum { FC_SURFACE_POINTS = 64 };
/** Design points by rate. */
int fc_surface_points(const fc_surface *surface, const fc_surface_run **runs);

/** Fits the emulator to the design: stretch and the process's parameters by likelihood on a grid.
 *  @return FC_OK | FC_E_NOMEM | FC_E_DOMAIN (no point that is not overloaded) */
FC_NODISCARD
fc_status fc_surface_fit(fc_surface *surface);
/** @pre fitted.  Never falls with the rate. */
fc_surface_value fc_surface_at(const fc_surface *surface, double rate_per_s);
/** Largest rate within the hull at which both means, shifted by `z` of their spread, keep the objective
 *  (INFINITY: none).  0: not even at the least rate of the design.  @pre fitted */
double fc_surface_rate(const fc_surface *surface, const fc_slo *slo, double z);
/** The hull: least and largest rate of the design that is not overloaded.  @pre fitted */
void fc_surface_hull(const fc_surface *surface, double *low, double *high);

/* --- a surface over mixes too: for ensembles, whose lengths and hits vary --- */

/** What may be asked: means of lengths [tokens], share of the prompt that is cached. */
typedef struct fc_surface_box {
  double input_low, input_high, output_low, output_high, hit_low, hit_high;
} fc_surface_box;

typedef struct fc_surface_map fc_surface_map;

/** A surface over load, input, output and cache hit: `points` simulations (4 to FC_SURFACE_POINTS; 40 is
 *  plenty) on a lattice over the box, at 0.3 to 1.05 times the rate at which the closed form of that mix
 *  meets `slo`.  The definition's shape gives the spreads of lengths; its means are not read.
 *  @return FC_OK | FC_E_NOMEM | FC_E_DOMAIN (box, profile; every point piles up) | FC_E_INFEASIBLE (no room,
 *          or the closed form never meets the objective somewhere in the box) | FC_E_CANCELLED | FC_E_LAW */
FC_NODISCARD
fc_status fc_surface_map_new(fc_surface_map **out, const fc_surface_def *def, const fc_surface_box *box,
                             const fc_slo *slo, int points);
void fc_surface_map_free(fc_surface_map *map);
/** Prediction for the means of `shape` at a rate; `outside`: of the box, or of the loads that were simulated
 *  without piling up (the nearest edge is answered).  Never falls with the rate. */
fc_surface_value fc_surface_map_at(const fc_surface_map *map, const fc_request_shape *shape,
                                   double rate_per_s);
/** As fc_surface_rate, for the means of `shape`. */
double fc_surface_map_rate(const fc_surface_map *map, const fc_request_shape *shape, const fc_slo *slo,
                           double z);
/** A direct simulation, to compare with. */
FC_NODISCARD
fc_status fc_surface_map_simulate(fc_surface_run *out, const fc_surface_map *map,
                                  const fc_request_shape *shape, double rate_per_s, uint64_t seed);

/* --- the fleet's question --- */

typedef struct fc_surface_options {
  uint64_t seed;        /* a constant: an answer is looked up by it too */
  int runs_max;         /* of one instance, the check not counted; 0: FC_SURFACE_RUNS */
  double width;         /* stop when the emulator's spread of ln(rate) is below; 0: FC_SURFACE_WIDTH */
  uint32_t completions; /* as in the definition; 0: FC_SURFACE_COMPLETIONS */
  const char *cache;    /* folder of answers, made where missing; NULL: none */
  const atomic_int *cancel;
  void *context;
  void (*simulated)(void *context);              /* nullable: after each simulation */
  void (*note)(void *context, const char *text); /* nullable: a cached file that is no use */
} fc_surface_options;

/** @source judgement: the kernels' own spread is 0.2 and more */
#define FC_SURFACE_RUNS        14
#define FC_SURFACE_WIDTH       0.01
#define FC_SURFACE_COMPLETIONS 10000

/** Largest share of what a prefill instance can do when it is never idle and always full, and of the least
 *  rate at which another instance's requests pile up: as in the closed form, above it a mean says little. */
#define FC_SURFACE_LOAD_MAX    FC_SERVE_UTILISATION_MAX

/** fc_serve_capacity_solve, its rates and latencies replaced by the engine's: the plans are the closed
 *  form's, the rates the surface's, `out->surface` tells how sure.  A pure function of its arguments: the
 * same bytes whether simulated or from the cache.
 *  @return as fc_serve_capacity_solve | FC_E_NOMEM | FC_E_CANCELLED | FC_E_LAW */
FC_NODISCARD
fc_status fc_surface_capacity(fc_serve_capacity *out, const fc_model *model, const fc_profile *profile,
                              const fc_deployment *deployment, const fc_request_shape *shape,
                              const fc_slo *slo, const fc_surface_options *options, char *why);

#endif
