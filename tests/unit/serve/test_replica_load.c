/* SPDX-License-Identifier: Apache-2.0 */
#include "test_replica_load.h"

#include <stdlib.h>

#include <criterion/criterion.h>

#include <fleetcast/base/rng.h>

replica_load replica_load_new(uint64_t n) {
  replica_load l = {.n = n};
  l.request = calloc(n ? n : 1, sizeof *l.request);
  l.record = calloc(n ? n : 1, sizeof *l.record);
  cr_assert(l.request && l.record);
  for (uint64_t i = 0; i < n; i++)
    l.request[i] = (fc_request){.number = i, .input_tokens = 1, .output_tokens = 1};
  return l;
}

void replica_load_free(replica_load *l) {
  free(l->request);
  free(l->record);
  *l = (replica_load){0};
}

static bool peek(void *context, fc_time *arrival) {
  replica_load *l = context;
  if (l->next >= l->n) return false;
  *arrival = l->request[l->next].arrival;
  return true;
}

static void take(void *context, fc_request *out) {
  replica_load *l = context;
  *out = l->request[l->next++];
}

static void done(void *context, uint64_t number, fc_time at) {
  replica_load *l = context;
  cr_assert_lt(number, l->n);
  cr_assert_geq(at, l->last_done, "request %llu is over before an earlier one", (unsigned long long)number);
  l->last_done = at;
  l->done++;
}

fc_request_source replica_load_source(replica_load *l) {
  l->next = l->done = l->recorded = 0;
  l->last_done = 0;
  return (fc_request_source){l, peek, take, done};
}

static void record(void *context, const fc_replica_record *r) {
  replica_load *l = context;
  cr_assert_lt(r->number, l->n);
  l->record[r->number] = *r;
  l->recorded++;
}

void replica_load_watch(replica_load *l, fc_replica_def *def) {
  def->context = l;
  def->record = record;
}

void replica_load_run(fc_replica_result *out, const fc_replica_def *def, replica_load *l, uint64_t seed) {
  char why[256] = "";
  fc_request_source source = replica_load_source(l);
  fc_status status = fc_replica_run(out, def, &source, seed, why);
  cr_assert_eq(status, FC_OK, "%s: %s", fc_status_text(status), why);
  cr_assert_eq(l->done, l->n, "%llu of %llu were told to be over", (unsigned long long)l->done,
               (unsigned long long)l->n);
}

fc_step_table *linear_table(const fc_step_coefficients *coefficients, int64_t groups, int64_t max_batch,
                            double query_tokens) {
  fc_step_table_def def = fc_step_table_default_def();
  def.step = fc_step_linear;
  def.context = coefficients;
  def.groups = def.devices = groups;
  def.max_batch = max_batch;
  def.max_tokens = 4096;
  def.max_context = 16384;
  def.query_tokens = query_tokens;
  def.graph_padding = false;
  fc_step_table *t;
  cr_assert_eq(fc_step_table_new(&t, &def), FC_OK);
  return t;
}

fc_step_coefficients plain_coefficients(void) {
  return (fc_step_coefficients){.base_s = 2e-3,
                                .decode_request_s = 1e-5,
                                .decode_context_s = 1e-8,
                                .prefill_token_s = 1e-5,
                                .prefill_pair_s = 1e-9};
}

fc_replica_def small_replica(const fc_step_table *steps) {
  fc_replica_def d = fc_replica_default_def();
  d.steps = steps;
  d.policy.max_batch = 16;
  d.policy.token_budget = 256;
  d.kv_blocks = 400;
  return d;
}

void replica_load_random(replica_load *l, uint64_t seed, double gap_s) {
  fc_rng rng = fc_rng_keyed(seed, FC_STREAM_TEST, 0, 0);
  double at = 0;
  for (uint64_t i = 0; i < l->n; i++) {
    at += gap_s * fc_rng_exponential(&rng);
    l->request[i].arrival = fc_time_from_s(at);
    l->request[i].input_tokens = 1 + (uint32_t)(600 * fc_rng_uniform(&rng));
    l->request[i].output_tokens = (uint32_t)(200 * fc_rng_uniform(&rng));
  }
}

void replica_load_share(replica_load *l, int per_s) {
  static const uint64_t block[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  for (uint64_t i = 0; i < l->n; i++) {
    fc_request *q = &l->request[i];
    q->arrival = (fc_time)i * FC_SECOND / per_s;
    q->input_tokens = 100 + (uint32_t)(7 * i % 90);
    q->output_tokens = 30;
    q->block = block + i % 5;
    q->block_tokens = 16;
    q->n_blocks = 6;
  }
}
