/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/rng.h>

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_randist.h>
#include <math.h>
#include <stdlib.h>

#include "../../../sim/base/rng_tables.h"

/* Every statistical test has a fixed seed and a false-alarm probability of 1e-6 for a generator that is
 * right: chosen once, it either holds for ever or a change of the code broke it. */
static const double ALARM = 1e-6;

static fc_rng stream(uint64_t entity) {
  return fc_rng_keyed(20260101, FC_STREAM_TEST, entity, 0);
}

/* --- Philox --- */

/* Random123 1.14, tests/kat_vectors, philox4x64 with 10 rounds: counter, key, block. */
static const struct {
  uint64_t counter[4], key[2], block[4];
} known[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x16554d9eca36314c, 0xdb20fe9d672d0fdc, 0xd7e772cee186176b, 0x7e68b68aec7ba23b}},
    {{UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX},
     {UINT64_MAX, UINT64_MAX},
     {0x87b092c3013fe90b, 0x438c3c67be8d0224, 0x9cc7d7c69cd777b6, 0xa09caebf594f0ba0}},
    {{0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89},
     {0x452821e638d01377, 0xbe5466cf34e90c6c},
     {0xa528f45403e61d95, 0x38c72dbd566e9788, 0xa5a1610e72fd18b5, 0x57bd43b5e52b7fe6}},
};

Test(rng, known_answers) {
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    fc_rng r = {.used = 4};
    for (int k = 0; k < 4; k++) r.counter[k] = known[i].counter[k];
    for (int k = 0; k < 2; k++) r.key[k] = known[i].key[k];
    for (int k = 0; k < 4; k++) cr_assert_eq(fc_rng_u64(&r), known[i].block[k], "vector %zu word %d", i, k);
  }
}

Test(rng, the_counter_carries) {
  fc_rng low = {.counter = {UINT64_MAX, 7, 1, 2}, .used = 4}, next = {.counter = {0, 8, 1, 2}, .used = 4};
  for (int k = 0; k < 4; k++) (void)fc_rng_u64(&low);
  for (int k = 0; k < 4; k++) cr_assert_eq(fc_rng_u64(&low), fc_rng_u64(&next));
}

Test(rng, a_stream_is_a_function_of_its_key_alone) {
  fc_rng a = fc_rng_keyed(1, FC_STREAM_SIZE, 2, 3), b = fc_rng_keyed(1, FC_STREAM_SIZE, 2, 3);
  fc_rng other = fc_rng_keyed(1, FC_STREAM_ARRIVAL, 2, 3);
  for (int i = 0; i < 1000; i++) {
    (void)fc_rng_exponential(&other); /* what others draw changes nothing */
    cr_assert_eq(fc_rng_u64(&a), fc_rng_u64(&b));
  }
}

/* Each part of the key alone makes another stream, uncorrelated with the first. */
Test(rng, streams_are_independent) {
  enum { N = 200000, CELLS = 16 };
  const struct {
    uint64_t seed;
    fc_stream component;
    uint64_t entity, sample;
  } key[] = {{2, 0, 0, 0}, {1, 1, 0, 0},          {1, 0, 1, 0},
             {1, 0, 0, 1}, {1, 0, UINT64_MAX, 0}, {1, 0, 0, UINT64_MAX}};
  for (size_t k = 0; k < sizeof key / sizeof *key; k++) {
    fc_rng a = fc_rng_keyed(1, (fc_stream)0, 0, 0);
    fc_rng b = fc_rng_keyed(key[k].seed, key[k].component, key[k].entity, key[k].sample);
    size_t cell[CELLS][CELLS] = {{0}};
    for (int i = 0; i < N; i++) {
      uint64_t x = fc_rng_u64(&a), y = fc_rng_u64(&b);
      cell[x >> 60][y >> 60]++;
    }
    double chi2 = 0, e = (double)N / (CELLS * CELLS);
    for (int i = 0; i < CELLS * CELLS; i++) chi2 += pow((double)cell[i / CELLS][i % CELLS] - e, 2) / e;
    cr_assert_leq(chi2, gsl_cdf_chisq_Qinv(ALARM / 6, CELLS * CELLS - 1), "pair %zu: chi2 %g", k, chi2);
  }
}

/* --- uniformity: every byte of the word, and successive pairs --- */

Test(rng, bytes_are_uniform) {
  enum { N = 400000 };
  static size_t count[8][256], pair[65536];
  fc_rng r = stream(1);
  uint64_t last = 0;
  for (int i = 0; i < N; i++) {
    uint64_t x = fc_rng_u64(&r);
    for (int b = 0; b < 8; b++) count[b][x >> 8 * b & 255]++;
    pair[(last >> 56) << 8 | x >> 56]++;
    last = x;
  }
  for (int b = 0; b < 8; b++) {
    double chi2 = 0;
    for (int v = 0; v < 256; v++) chi2 += pow((double)count[b][v] - N / 256.0, 2) / (N / 256.0);
    cr_assert_leq(chi2, gsl_cdf_chisq_Qinv(ALARM / 9, 255), "byte %d: chi2 %g", b, chi2);
    cr_assert_geq(chi2, gsl_cdf_chisq_Pinv(ALARM / 9, 255), "byte %d is too even: chi2 %g", b, chi2);
  }
  double chi2 = 0;
  for (int v = 0; v < 65536; v++) chi2 += pow((double)pair[v] - N / 65536.0, 2) / (N / 65536.0);
  cr_assert_leq(chi2, gsl_cdf_chisq_Qinv(ALARM / 9, 65535), "pairs: chi2 %g", chi2);
}

/* --- continuous variates: Kolmogorov-Smirnov, moments, tails --- */

enum { N_KS = 1000000 };

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double uniform_below(double x) {
  return x;
}

static double exponential_below(double x) {
  return -expm1(-x);
}

static const struct {
  const char *name;
  double (*draw)(fc_rng *), (*below)(double);
  double raw_moment[5]; /* of order 0..4 */
  double variance_of_power[5];
  double tail; /* beyond the last layer of the ziggurat */
} variates[] = {
    /* E[U^k] = 1/(k+1); Var[X^k] = E[X^2k] - E[X^k]^2 */
    {"uniform",
     fc_rng_uniform,
     uniform_below,
     {1, 1 / 2., 1 / 3., 1 / 4., 1 / 5.},
     {0, 1 / 12., 4 / 45., 9 / 112., 16 / 225.},
     0.999},
    {"exponential",
     fc_rng_exponential,
     exponential_below,
     {1, 1, 2, 6, 24},
     {0, 1, 20, 684, 39744},
     7.6971174701310497},
    {"normal", fc_rng_normal, gsl_cdf_ugaussian_P, {1, 0, 1, 0, 3}, {0, 1, 2, 15, 96}, 3.6541528853610088},
};

ParameterizedTestParameters(rng, variates) {
  static size_t i[sizeof variates / sizeof *variates];
  for (size_t k = 0; k < sizeof variates / sizeof *variates; k++) i[k] = k;
  return cr_make_param_array(size_t, i, sizeof i / sizeof *i);
}

ParameterizedTest(size_t *i, rng, variates) {
  fc_rng r = stream(100 + *i);
  double *x = malloc(N_KS * sizeof *x), moment[5] = {0}, beyond = 0, d = 0, n = N_KS;
  for (int k = 0; k < N_KS; k++) {
    x[k] = variates[*i].draw(&r);
    double p = 1;
    for (int m = 1; m < 5; m++) moment[m] += p *= x[k];
    beyond += x[k] > variates[*i].tail;
  }
  qsort(x, N_KS, sizeof *x, ascending);
  for (int k = 0; k < N_KS; k++) {
    double f = variates[*i].below(x[k]);
    d = fmax(d, fmax(f - k / n, (k + 1) / n - f));
  }
  /* P(sqrt(n) D > z) -> 2 exp(-2 z^2) */
  cr_assert_leq(sqrt(n) * d, sqrt(-0.5 * log(ALARM / 2)), "%s: KS %g", variates[*i].name, sqrt(n) * d);
  double z = gsl_cdf_ugaussian_Qinv(ALARM / 2);
  for (int m = 1; m < 5; m++) {
    double sd = sqrt(variates[*i].variance_of_power[m] / n);
    cr_assert_leq(fabs(moment[m] / n - variates[*i].raw_moment[m]), z * sd, "%s: moment %d is %g",
                  variates[*i].name, m, moment[m] / n);
  }
  double expected = n * (1 - variates[*i].below(variates[*i].tail));
  cr_assert_leq(fabs(beyond - expected), z * sqrt(expected) + 1, "%s: %g beyond %g, expected %g",
                variates[*i].name, beyond, variates[*i].tail, expected);
  free(x);
}

Test(rng, uniform_never_reaches_its_ends) {
  /* the extreme words, given by hand */
  fc_rng r = {.buffer = {0, UINT64_MAX}, .used = 0};
  double low = fc_rng_uniform(&r), high = fc_rng_uniform(&r);
  cr_assert_gt(low, 0);
  cr_assert_lt(high, 1);
  cr_assert_eq(low, 1 - high);
}

/* The tables again, by what defines them: all pieces of equal area. */
static void check_layers(const layer *l, double tail, double area, double (*f)(double)) {
  double above = 1, inner = 0;
  for (int i = 1; i < 256; i++) {
    double width = l[i].scale * 0x1p53;
    cr_assert_float_eq(width * (above - l[i].height), area, 1e-15, "area of layer %d", i);
    cr_assert_float_eq(f(width), l[i].height, 1e-15);
    cr_assert_float_eq((double)l[i].inside * 0x1p-53, inner / width, 1e-15, "inside of layer %d", i);
    above = l[i].height;
    inner = width;
  }
  cr_assert_float_eq(inner, tail, 1e-14);
  cr_assert_float_eq(l[0].scale * 0x1p53 * above, area, 1e-15, "area of the base");
  cr_assert_float_eq((double)l[0].inside * l[0].scale, tail, 1e-14);
}

static double exponential_density(double x) {
  return exp(-x);
}

static double normal_density(double x) {
  return exp(-x * x / 2);
}

Test(rng, ziggurat_layers_have_equal_areas) {
  check_layers(exponential_layer, exponential_tail,
               exponential_tail * exp(-exponential_tail) + exp(-exponential_tail), exponential_density);
  double r = normal_tail, beyond = /* sqrt(2 pi) */ 2.5066282746310005 * gsl_cdf_ugaussian_Q(r);
  check_layers(normal_layer, r, r * normal_density(r) + beyond, normal_density);
}

/* --- Poisson --- */

static const double means[] = {0.01, 0.5, 1, 5, 12.3, 29.99, 30, 31, 50, 100, 1000, 20000};

ParameterizedTestParameters(rng, poisson_chi_square) {
  static size_t i[sizeof means / sizeof *means];
  for (size_t k = 0; k < sizeof means / sizeof *means; k++) i[k] = k;
  return cr_make_param_array(size_t, i, sizeof i / sizeof *i);
}

/* Cells between the quantiles of 1/40 .. 39/40, those of a jump over several merged. */
ParameterizedTest(size_t *i, rng, poisson_chi_square) {
  enum { N = 300000, CELLS = 40 };
  double mean = means[*i], expected[CELLS] = {0}, chi2 = 0, sum = 0;
  size_t count[CELLS] = {0}, used = 0;
  uint64_t edge[CELLS] = {0}, low = (uint64_t)fmax(0, mean - 12 * sqrt(mean) - 12);
  for (int c = 1; c < CELLS; c++) { /* edge: first value of the next cell */
    uint64_t k = used ? edge[used - 1] - 1 : low;
    while (gsl_cdf_poisson_P((unsigned)k, mean) < (double)c / CELLS) k++;
    if (!used || k + 1 > edge[used - 1]) edge[used++] = k + 1;
  }
  double below = 0;
  for (size_t c = 0; c < used; c++) {
    expected[c] = N * (gsl_cdf_poisson_P((unsigned)edge[c] - 1, mean) - below);
    below = gsl_cdf_poisson_P((unsigned)edge[c] - 1, mean);
  }
  expected[used] = N * (1 - below);
  fc_rng r = stream(200 + *i);
  for (int k = 0; k < N; k++) {
    uint64_t x = fc_rng_poisson(&r, mean);
    size_t c = 0;
    while (c < used && x >= edge[c]) c++;
    count[c]++;
    sum += (double)x;
  }
  for (size_t c = 0; c <= used; c++) chi2 += pow((double)count[c] - expected[c], 2) / expected[c];
  cr_assert_leq(chi2, gsl_cdf_chisq_Qinv(ALARM, (double)used), "mean %g: chi2 %g of %zu", mean, chi2, used);
  cr_assert_leq(fabs(sum / N - mean), gsl_cdf_ugaussian_Qinv(ALARM / 2) * sqrt(mean / N), "mean %g: %g", mean,
                sum / N);
}

/* Where no table of probabilities is left: standardised, it must be a normal (skewness 1 / sqrt(mean)). */
Test(rng, poisson_of_large_mean) {
  static double x[200000];
  const double mean[] = {1e6, 1e9, 1e12}, n = 200000;
  for (size_t i = 0; i < 3; i++) {
    fc_rng r = stream(300 + i);
    double d = 0;
    for (size_t k = 0; k < sizeof x / sizeof *x; k++)
      x[k] = ((double)fc_rng_poisson(&r, mean[i]) + 0.5 * fc_rng_uniform(&r) - mean[i]) / sqrt(mean[i]);
    qsort(x, sizeof x / sizeof *x, sizeof *x, ascending);
    for (size_t k = 0; k < sizeof x / sizeof *x; k++)
      d = fmax(d, fabs(gsl_cdf_ugaussian_P(x[k]) - ((double)k + 0.5) / n));
    cr_assert_leq(sqrt(n) * d, sqrt(-0.5 * log(ALARM / 6)), "mean %g: KS %g", mean[i], sqrt(n) * d);
  }
}

Test(rng, poisson_limits) {
  fc_rng r = stream(400);
  for (int i = 0; i < 1000; i++) cr_assert_eq(fc_rng_poisson(&r, 0), 0);
}
