/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/rng.h>

#include <math.h>
#include <stdbool.h>

#if defined(__GNUC__) /* the library's headers are not written for our warnings */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wconversion"
#endif
#include <Random123/philox.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include <fleetcast/base/assert.h>

#include "rng_tables.h"

enum { WORDS = 4 /* of a block */ };

fc_rng fc_rng_keyed(uint64_t seed, fc_stream component, uint64_t entity, uint64_t sample) {
  /* injective, nothing is hashed: two streams share no block before 2^128 of them are drawn */
  return (fc_rng){.key = {seed, (uint64_t)component}, .counter = {0, 0, entity, sample}, .used = WORDS};
}

/* One block at a time: two or four together measured no faster, the processor overlaps the chains by itself.
 */
static void refill(fc_rng *rng) {
  philox4x64_ctr_t at = {{rng->counter[0], rng->counter[1], rng->counter[2], rng->counter[3]}};
  philox4x64_key_t key = {{rng->key[0], rng->key[1]}};
  philox4x64_ctr_t block = philox4x64(at, key);
  for (unsigned i = 0; i < 4; i++) rng->buffer[i] = block.v[i];
  if (++rng->counter[0] == 0) rng->counter[1]++;
  rng->used = 0;
}

static inline uint64_t draw(fc_rng *rng) {
  if (rng->used == WORDS) refill(rng);
  return rng->buffer[rng->used++];
}

/* The centre of one of 2^53 cells: 0.5 is added before scaling, so that neither end is ever hit. */
static inline double uniform(fc_rng *rng) {
  return ((double)(int64_t)(draw(rng) >> 12) + 0.5) * 0x1p-52;
}

uint64_t fc_rng_u64(fc_rng *rng) {
  return draw(rng);
}

double fc_rng_uniform(fc_rng *rng) {
  return uniform(rng);
}

/* The draw that layer `i` could not settle at once; -1: rejected, draw anew. */
static double exponential_edge(fc_rng *rng, unsigned i, double x) {
  if (i == 0) return exponential_tail - log(uniform(rng)); /* memoryless: the tail is the density again */
  double y = exponential_layer[i].height +
             uniform(rng) * (exponential_layer[i - 1].height - exponential_layer[i].height);
  return y < exp(-x) ? x : -1;
}

double fc_rng_exponential(fc_rng *rng) {
  for (;;) {
    uint64_t bits = draw(rng), j = bits >> 11; /* 53 bits for the place, 8 others for the layer */
    unsigned i = (unsigned)(bits & 255);
    double x = (double)(int64_t)j * exponential_layer[i].scale;
    if (j < exponential_layer[i].inside) return x;
    x = exponential_edge(rng, i, x);
    if (x >= 0) return x;
  }
}

/* As exponential_edge, for the half normal; the tail as in Marsaglia & Tsang 2000. */
static double normal_edge(fc_rng *rng, unsigned i, double x) {
  if (i == 0) {
    double over, y;
    do {
      over = -log(uniform(rng)) / normal_tail;
      y = -log(uniform(rng));
    } while (y + y < over * over);
    return normal_tail + over;
  }
  double y = normal_layer[i].height + uniform(rng) * (normal_layer[i - 1].height - normal_layer[i].height);
  return y < exp(-0.5 * x * x) ? x : -1;
}

double fc_rng_normal(fc_rng *rng) {
  for (;;) {
    uint64_t bits = draw(rng), j = bits >> 11;
    unsigned i = (unsigned)(bits & 255);
    double sign = 1.0 - (double)(int)(bits >> 7 & 2); /* bit 8, without a branch that nobody can predict */
    double x = (double)(int64_t)j * normal_layer[i].scale;
    if (j < normal_layer[i].inside) return sign * x;
    x = normal_edge(rng, i, x);
    if (x >= 0) return sign * x;
  }
}

/* ln(k!) for k < 16 */
static const double log_factorial[16] = {0.0,
                                         0.0,
                                         0.69314718055994531,
                                         1.7917594692280550,
                                         3.1780538303479458,
                                         4.7874917427820460,
                                         6.5792512120101010,
                                         8.5251613610654147,
                                         10.604602902745251,
                                         12.801827480081469,
                                         15.104412573075516,
                                         17.502307845873887,
                                         19.987214495661885,
                                         22.552163853123423,
                                         25.191221182738680,
                                         27.899271383840890};

/* ln of the Poisson probability of k.  Loader, "Fast and accurate computation of binomial probabilities",
 * 2000: written as a deviance, for k ln(mean) - mean - ln(k!) cancels all its digits at a mean of 1e12. */
static double poisson_log_pmf(double k, double mean) {
  if (k < 16) return k * log(mean) - mean - log_factorial[(int)k];
  double e = (k - mean) / mean, k2 = k * k;
  double deviance = mean * ((1 + e) * log1p(e) - e);
  double stirling = (1.0 / 12 - (1.0 / 360 - 1.0 / (1260 * k2)) / k2) / k;
  return -deviance - stirling - 0.5 * log(6.283185307179586477 * k);
}

static uint64_t poisson_inversion(fc_rng *rng, double mean) {
  double u = uniform(rng), p = exp(-mean), k = 0;
  /* past k = 200 (mean < 30) no probability is left in double: only rounding can come here */
  while (u > p && k < 200) {
    u -= p;
    k += 1;
    p *= mean / k;
  }
  return (uint64_t)k;
}

/* Algorithm PTRS of Hoermann, "The transformed rejection method for generating Poisson random variables",
 * Insurance: Mathematics and Economics 12, 1993; his constants. */
static uint64_t poisson_ptrs(fc_rng *rng, double mean) {
  double b = 0.931 + 2.53 * sqrt(mean), a = -0.059 + 0.02483 * b;
  double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4), v_r = 0.9277 - 3.6224 / (b - 2);
  for (;;) {
    double u = uniform(rng) - 0.5, v = uniform(rng), us = 0.5 - fabs(u);
    double k = floor((2 * a / us + b) * u + mean + 0.43);
    if (us >= 0.07 && v <= v_r) return (uint64_t)k;
    if (k < 0 || (us < 0.013 && v > us)) continue;
    if (log(v * inverse_alpha / (a / (us * us) + b)) <= poisson_log_pmf(k, mean)) return (uint64_t)k;
  }
}

uint64_t fc_rng_poisson(fc_rng *rng, double mean) {
  FC_ASSERT(mean >= 0 && mean <= 1e12);
  return mean < 30 ? poisson_inversion(rng, mean) : poisson_ptrs(rng, mean);
}
