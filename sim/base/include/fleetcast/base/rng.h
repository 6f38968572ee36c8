/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BASE_RNG_H
#define FC_BASE_RNG_H

#include <stdint.h>

/** Counter-based random streams: Philox-4x64-10 (Salmon et al., SC'11; Random123 library).
 *
 *  A stream is a pure function of its key (seed, component, entity, sample), so the draws of one component
 *  never depend on what another consumed: scenario comparisons share random numbers by component, and adding
 *  a hardware type does not shift the arrivals.  Same key, same numbers, on any machine and thread. */
typedef struct fc_rng {
  uint64_t key[2];
  uint64_t counter[4]; /* next block */
  uint64_t buffer[4];
  uint32_t used; /* words of the buffer already given; 4: empty */
} fc_rng;

/** What a stream is for.  New members go at the end: the number is part of the key. */
typedef enum {
  FC_STREAM_TEST,
  FC_STREAM_ARRIVAL,
  FC_STREAM_SIZE,
  FC_STREAM_FAILURE,
  FC_STREAM_REPAIR,
  FC_STREAM_JOB,
  FC_STREAM_DEMAND,
  FC_STREAM_PARAMETER,
} fc_stream;

fc_rng fc_rng_keyed(uint64_t seed, fc_stream component, uint64_t entity, uint64_t sample);

uint64_t fc_rng_u64(fc_rng *rng);
/** Uniform in (0, 1), never 0 or 1: 53 bits, centred. */
double fc_rng_uniform(fc_rng *rng);
/** Exponential of mean 1, >= 0 (ziggurat; Marsaglia & Tsang 2000, with exact tail). */
double fc_rng_exponential(fc_rng *rng);
/** Standard normal (ziggurat, as above). */
double fc_rng_normal(fc_rng *rng);
/** Poisson of mean `mean` in [0, 1e12] (asserted): inversion below 30, transformed rejection (Hoermann 1993)
 * above. */
uint64_t fc_rng_poisson(fc_rng *rng, double mean);

#endif
