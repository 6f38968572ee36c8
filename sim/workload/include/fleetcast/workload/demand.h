/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_WORKLOAD_DEMAND_H
#define FC_WORKLOAD_DEMAND_H

#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/rng.h>
#include <fleetcast/base/series.h>
#include <fleetcast/base/time.h>
#include <fleetcast/workload/shape.h>

/** The load of one service, epoch by epoch:
 *
 *      demand(epoch) = mean of the series x mean of the weekly shape x mean of the dated factors x burst
 *
 *  The burst is a log-AR(1) process of mean 1 with correlation exp(-dt / burst_s), on a random stream of its
 *  own: b = exp(sigma x - sigma^2/2), x standard normal and stationary from the first epoch on. */

/** A factor in [from, until); 1 outside. */
typedef struct fc_factor {
  fc_time from, until;
  double factor;
} fc_factor;

/** Mean over [from, to) of the product of `n` factors.  @pre from < to */
double fc_factors_mean(const fc_factor *factors, size_t n, fc_time from, fc_time to);

typedef struct fc_demand_def {
  const fc_series *rate; /* tokens/s; borrowed */
  const fc_shape *shape; /* NULL: flat; borrowed */
  double burst_sigma;    /* sd of ln(burst); 0: none */
  double burst_s;        /* its correlation time [s]; 0: independent epochs */
  size_t n_factors;
  const fc_factor *factors; /* borrowed */
} fc_demand_def;

typedef struct fc_demand {
  fc_demand_def def;
  fc_rng rng;
  double x; /* state of the burst */
} fc_demand;

/** What a planner knows of an epoch before it, and what comes. */
typedef struct fc_demand_epoch {
  double level;    /* series x factors: the day's mean [tokens/s] */
  double forecast; /* expected load given the bursts so far [tokens/s] */
  double actual;   /* [tokens/s] */
} fc_demand_epoch;

/** @param entity  distinguishes services: part of the key of the random stream */
fc_demand fc_demand_start(const fc_demand_def *def, uint64_t seed, uint64_t entity);
/** The next epoch, [from, to).  One normal draw when burst_sigma > 0, none otherwise.  @pre from < to */
fc_demand_epoch fc_demand_next(fc_demand *demand, fc_time from, fc_time to);

#endif
