/* SPDX-License-Identifier: Apache-2.0 */
/* A replica whose step times are known exactly is a queue of theory.  Each 99 % interval, widened to hold
 * with Bonferroni over the suite, must contain the closed form; seeds are fixed. */
#include <math.h>

#include <criterion/criterion.h>

#include <fleetcast/base/rng.h>
#include <fleetcast/des/stats.h>

#include "test_replica_load.h"

enum { REQUESTS = 1000000, WARM = 4000, CASES = 14 };
static const double RHO[] = {0.5, 0.8, 0.9};

/* Poisson arrivals with drawn sizes, made as they are asked for. */
typedef struct {
  fc_rng arrival, size;
  double at, mean_gap;
  uint64_t n, next;
  bool decode; /* the size is output, not prompt */
  uint32_t (*draw)(fc_rng *);
  fc_batches sojourn;
} stream;

static bool peek(void *context, fc_time *arrival) {
  stream *s = context;
  *arrival = fc_time_from_s(s->at);
  return s->next < s->n;
}

static void take(void *context, fc_request *out) {
  stream *s = context;
  uint32_t size = s->draw(&s->size);
  *out = (fc_request){.arrival = fc_time_from_s(s->at), .number = s->next++};
  out->input_tokens = s->decode ? 1 : size;
  out->output_tokens = s->decode ? 1 + size : 0; /* the first comes with the prompt, free */
  s->at += fc_rng_exponential(&s->arrival) * s->mean_gap;
}

static void record(void *context, const fc_replica_record *r) {
  stream *s = context;
  cr_assert_eq(r->refused, FC_REFUSED_NOT);
  if (r->number >= WARM) fc_batches_add(&s->sojourn, fc_time_to_s(r->finish - r->arrival));
}

static fc_replica_result result;

/* Mean time in the system at a load of rho, and half its interval. */
static double sojourn(const fc_replica_def *def, stream *s, double rho, uint64_t seed, double *half) {
  *s = (stream){.arrival = fc_rng_keyed(seed, FC_STREAM_ARRIVAL, (uint64_t)(100 * rho), 0),
                .size = fc_rng_keyed(seed, FC_STREAM_SIZE, (uint64_t)(100 * rho), 0),
                .mean_gap = 1e-3 / rho,
                .n = s->n,
                .decode = s->decode,
                .draw = s->draw};
  fc_replica_def d = *def;
  d.context = s;
  d.record = record;
  char why[256] = "";
  cr_assert_eq(fc_replica_run(&result, &d, &(fc_request_source){s, peek, take, NULL}, seed, why), FC_OK, "%s",
               why);
  *half = fc_batches_half_width(&s->sojourn, 1 - 0.01 / CASES);
  return fc_batches_mean(&s->sojourn);
}

static void hold(const char *name, double rho, double mean, double half, double theory, double bias) {
  cr_assert(fabs(mean - theory) <= half + bias * theory, "%s, rho %.1f: %.6g +- %.2g s, theory %.6g s", name,
            rho, mean, half, theory);
  cr_assert(half < 0.2 * theory, "%s, rho %.1f: the interval +- %.2g s says little of %.6g s", name, rho,
            half, theory);
}

static fc_replica_def big(const fc_step_table *steps, int64_t batch) {
  fc_replica_def d = fc_replica_default_def();
  d.steps = steps;
  d.policy.max_batch = batch;
  d.policy.token_budget = 10000000;
  d.block_tokens = 64;
  d.kv_blocks = 100000000;
  return d;
}

/* --- one at a time: M/G/1 first come first served --- */

static void one_server(const char *name, double mean_tokens, double cv2, uint32_t (*draw)(fc_rng *),
                       uint64_t seed) {
  fc_step_coefficients c = {.prefill_token_s = 1e-3 / mean_tokens}; /* a mean service of 1 ms */
  fc_step_table *t = linear_table(&c, 1, 1, 1);
  fc_replica_def d = big(t, 1);
  for (size_t k = 0; k < sizeof RHO / sizeof *RHO; k++) {
    if (cv2 > 1 && RHO[k] > 0.8) break; /* needs more requests than a test may take */
    stream s = {.n = REQUESTS, .draw = draw};
    double half, mean = sojourn(&d, &s, RHO[k], seed, &half);
    hold(name, RHO[k], mean, half, 1e-3 * (1 + RHO[k] * (1 + cv2) / (2 * (1 - RHO[k]))), 1e-4);
    cr_assert(fabs(result.busy_s / result.span_s - RHO[k]) < 0.01);
  }
  fc_step_table_free(t);
}

static uint32_t thousand(fc_rng *rng) {
  (void)rng;
  return 1000;
}
/* Rounded up, so half a token longer in the mean: corrected by half. */
static uint32_t exponential(fc_rng *rng) {
  return (uint32_t)ceil(1000 * fc_rng_exponential(rng) + 1e-12);
}
static uint32_t two_points(fc_rng *rng) { /* mean 1000, cv2 = 9 */
  return fc_rng_uniform(rng) < 0.1 ? 10000 - 9 * 100 : 100;
}

Test(replica_queue, md1) {
  one_server("M/D/1", 1000, 0, thousand, 1);
}
Test(replica_queue, mm1) {
  one_server("M/M/1", 1000.5, 1, exponential, 2);
}
Test(replica_queue, mg1) {
  double mean = 0.1 * 9100 + 0.9 * 100, square = 0.1 * 9100.0 * 9100 + 0.9 * 100.0 * 100;
  one_server("M/G/1", mean, square / (mean * mean) - 1, two_points, 3);
}

/* --- everyone at once, a step as long as the batch: processor sharing, insensitive to the distribution ---
 */

static void shared_server(const char *name, uint32_t (*draw)(fc_rng *), double mean_tokens, uint64_t seed) {
  fc_step_coefficients c = {.decode_request_s = 1e-3 / mean_tokens};
  fc_step_table *t = linear_table(&c, 1, 400, 1);
  fc_replica_def d = big(t, 400);
  for (size_t k = 0; k < 2; k++) {
    stream s = {.n = REQUESTS / 4, .decode = true, .draw = draw};
    double half, mean = sojourn(&d, &s, RHO[k], seed, &half);
    /* a request first waits for the rest of a step of the others, of whom there are rho / (1 - rho); its
     * prompt then takes a step of theirs */
    double others = c.decode_request_s * RHO[k] / (1 - RHO[k]);
    hold(name, RHO[k], mean, half, 1e-3 / (1 - RHO[k]) + 1.5 * others, 2e-3);
    cr_assert(result.batch_peak < 400);
  }
  fc_step_table_free(t);
}

static uint32_t even(fc_rng *rng) {
  (void)rng;
  return 400;
}
static uint32_t geometric(fc_rng *rng) {
  return (uint32_t)ceil(400 * fc_rng_exponential(rng) + 1e-12);
}
static uint32_t skewed(fc_rng *rng) {
  return fc_rng_uniform(rng) < 0.1 ? 3100 : 100;
}

Test(replica_queue, md1_processor_sharing) {
  shared_server("M/D/1-PS", even, 400, 4);
}
Test(replica_queue, mm1_processor_sharing) {
  shared_server("M/M/1-PS", geometric, 400.5, 5);
}
Test(replica_queue, mg1_processor_sharing) {
  shared_server("M/G/1-PS", skewed, 400, 6);
}

/* --- a step as long whatever the batch: everyone is served as if alone --- */

Test(replica_queue, infinite_servers) {
  fc_step_coefficients c = {.base_s = 1e-3};
  fc_step_table *t = linear_table(&c, 1, 4000, 1);
  replica_load l = replica_load_new(50000);
  fc_rng arrival = fc_rng_keyed(7, FC_STREAM_ARRIVAL, 0, 0), size = fc_rng_keyed(7, FC_STREAM_SIZE, 0, 0);
  double at = 0, steps = 0;
  for (uint64_t i = 0; i < l.n; i++) {
    at += 1e-3 * fc_rng_exponential(&arrival);
    l.request[i].arrival = fc_time_from_s(at);
    l.request[i].output_tokens = geometric(&size);
    steps += l.request[i].output_tokens;
  }
  fc_replica_def d = big(t, 4000);
  replica_load_watch(&l, &d);
  replica_load_run(&result, &d, &l, 7);
  for (uint64_t i = 0; i < l.n; i++) { /* its steps, and the rest of the one that it came in */
    double e2e = fc_time_to_s(l.record[i].finish - l.record[i].arrival),
           own = 1e-3 * l.request[i].output_tokens;
    cr_assert(e2e >= own - 1e-8 && e2e <= own + 1e-3 + 1e-8);
  }
  /* Poisson occupancy: mean = rate x mean stay, to the spread of 50,000 draws */
  double stay = 1e-3 * (steps / (double)l.n - 1), rate = (double)l.n / result.span_s;
  cr_assert(fabs(result.batch_mean / (rate * stay) - 1) < 0.02, "%g and %g", result.batch_mean, rate * stay);
  replica_load_free(&l);
  fc_step_table_free(t);
}
