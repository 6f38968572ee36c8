/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SERVE_SURFACE_PRIVATE_H
#define FC_SERVE_SURFACE_PRIVATE_H

#include <fleetcast/serve/replica.h>
#include <fleetcast/serve/surface.h>

#include "phase.h"

/* --- surface_krige.c --- */

/* ln(rate), or load and mix: the first is the load's. */
enum { FC_COORDINATES = 4 };

/* One latency's emulator at one stretch of the trend. */
typedef struct fc_emulator {
  int n;
  double x[FC_SURFACE_POINTS][FC_COORDINATES];
  double rest[FC_SURFACE_POINTS];    /* ln(y) - ln(trend) - b */
  double noise[FC_SURFACE_POINTS];   /* variance of ln(y) */
  double stretch, length, tau, base; /* tau: sd of Z; base: b */
  double chol[FC_SURFACE_POINTS][FC_SURFACE_POINTS];
  double weight[FC_SURFACE_POINTS]; /* K^-1 rest */
  double ones[FC_SURFACE_POINTS];   /* K^-1 1 */
  double ones_sum;                  /* 1' K^-1 1 */
  double likelihood;                /* restricted, logarithm; with the stretch's prior */
} fc_emulator;

/* Of all stretches that the runs leave possible, by what each is worth. */
enum { FC_STRETCHES = 41 };
#define FC_STRETCH_STEP 1.025
typedef struct fc_emulators {
  int n;
  fc_emulator *at; /* [n] */
  double *worth;   /* [n], of sum 1 */
} fc_emulators;

/* Sets n, x and noise, and y = ln(y / trend) at a stretch.  @return false: a point lies beyond what the
 * stretched queue can do */
typedef bool (*fc_emulator_points)(fc_emulator *k, double *y, const void *context, double stretch);
FC_NODISCARD
fc_status fc_emulators_fit(fc_emulators *out, fc_emulator_points points, const void *context);
/* Mean and spread of ln(y) at x; `trend`: ln(trend) there at a stretch. */
void fc_emulators_at(const fc_emulators *e, const double x[FC_COORDINATES],
                     double (*trend)(const void *context, double stretch), const void *context, double *log_y,
                     double *log_sd);
void fc_emulators_fini(fc_emulators *e);

/* --- surface_run.c --- */

enum { FC_TREND_NODES = 2048 };

struct fc_surface {
  fc_surface_def def;
  fc_phase_demand demand;
  fc_step_table *steps;
  int64_t kv_blocks;
  uint32_t input_max, output_max;
  int n;
  fc_surface_run run[FC_SURFACE_POINTS]; /* by rate */
  bool fitted;
  double low, high; /* hull */
  /* ln(trend) at TREND_STEP apart in ln(rate), filled where the hull, stretched, needs it; NAN: not yet */
  double origin, (*trend)[2]; /* [FC_TREND_NODES], ttft and tpot; origin: ln(rate) of the middle one */
  fc_emulators ttft, tpot;
};

/* --- surface_find.c --- */

/* What an instance comes to: slo, start and log_sd are given. */
typedef struct fc_surface_found {
  fc_surface *surface;
  fc_slo slo;
  double start; /* rate of the closed form */
  double most_at, most_log_sd;
  double most;   /* most that a prefill instance may be given; INFINITY: whatever it can do */
  double log_sd; /* of an iteration's time: systematic */
  int64_t runs;
  double rate; /* requests a second of the instance; 0: never within the objective */
  double rate_log_sd, surface_log_sd, error, error_sd;
  double ttft_s, tpot_s;
  fc_surface_run direct;
  const char *limit;
} fc_surface_found;

FC_NODISCARD
fc_status fc_surface_find(fc_surface_found *io, const fc_surface_def *def, const fc_surface_options *options);

/* --- surface.c --- */

/* The stylised queue at a rate, not stretched. */
FC_NODISCARD
fc_status fc_surface_trend(fc_trend *out, const fc_surface *surface, double rate_per_s);

/* --- surface_cache.c --- */

enum { FC_SURFACE_KEY = 65 };

typedef struct fc_surface_key {
  char text[FC_SURFACE_KEY]; /* hexadecimal SHA-256 */
} fc_surface_key;

/* Everything that the answer depends on.  @return FC_OK | FC_E_DOMAIN */
FC_NODISCARD
fc_status fc_surface_key_of(fc_surface_key *out, const fc_serve_capacity *closed, const fc_deployment *asked,
                            const fc_phase_demand *demand, const fc_request_shape *shape,
                            const fc_surface_options *options);
/* An answer, a refusal too. */
typedef struct fc_surface_answer {
  fc_status status; /* FC_OK or FC_E_INFEASIBLE */
  char why[256];
  fc_serve_capacity capacity;
} fc_surface_answer;

/* @return false: none, or one that is no use (told) */
bool fc_surface_cache_read(fc_surface_answer *out, const fc_surface_key *key,
                           const fc_surface_options *options);
/* A folder or file that cannot be written is no error. */
void fc_surface_cache_write(const fc_surface_answer *answer, const fc_surface_key *key,
                            const fc_surface_options *options);

#endif
