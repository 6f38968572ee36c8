/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SERVE_STEP_TABLE_H
#define FC_SERVE_STEP_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include <fleetcast/base/status.h>
#include <fleetcast/cost/serve_step.h>
#include <fleetcast/serve/experts.h>

/** Iteration times of one instance, tabulated once and then read in nanoseconds.
 *
 *  A pure decode iteration is a table over (batch, context); a mixed one is composed of
 *
 *      t = W(m) + head(r) + A_d(b, x) + A_p(p, y) + constant        (busy part; expert communication that two
 *                                                                    half batches hide: max of the two)
 *      m tokens of all, b decoding, r = b + prompts, x context of the decoding, p prompt tokens, y keys that
 *      one of them attends to
 *
 *  which is how L1 itself adds up.  Piecewise linear in x and y, grids refined until the error at
 *  random probes is within the tolerance or no finer grid helps; exact where L1 is linear.
 *  Constant after it is made, so shared between threads.
 *
 *  Largest error (batch to 256, prompts to 8,192, context to 131,072; held by test_step_table.c):
 *  dense 0.3 %, windowed MoE 0.5 %, MLA MoE 0.8 %, with drafts 0.9 %; two-batch overlap 1.1 to
 *  1.4 %, with drafts up to 1.6 % (both halves jump), 0.2 % in the mean. */
typedef struct fc_step_table fc_step_table;

/** Time of one iteration of the instance; must fill `seconds` and, where prefill and decode mix, its parts
 *  (what differs from their sum counts as dense). */
typedef fc_status (*fc_step_function)(const void *context, fc_serve_iteration *out,
                                      const fc_serve_load *load);

typedef struct fc_step_table_def {
  fc_step_function step;
  const void *context; /* for step; borrowed while _direct may be called */
  int64_t devices;     /* of the instance, for energy */
  int64_t groups;      /* attention groups, loaded evenly; with stages: their micro-batches */
  int64_t stages;      /* micro-batches that share a cache; 0 counts as 1 */
  int64_t max_batch;   /* requests of a group */
  int64_t max_tokens;  /* prompt tokens of a group and iteration */
  int64_t max_context; /* tokens of a request */
  double query_tokens; /* of a decoding request: 1, with speculation 1 + drafted */
  double idle_w;       /* of one device */
  /** Batches padded to captured graphs: 1, 2, 4, then multiples of 8 to 512; larger ones as they are.
   *  @source vLLM's default cudagraph_capture_sizes (1, 2, 4, 8, 16, ... 512) */
  bool graph_padding;
  double tolerance; /* largest relative error of an iteration at the probes, > 0 */
  const fc_expert_load
      *experts; /* of a model: the busiest rank by the tokens of an iteration; nullable, borrowed */
} fc_step_table_def;

/** One group, batch 256, 8,192 tokens, context 131,072, padded, tolerance 0.01. */
fc_step_table_def fc_step_table_default_def(void);

/** A model on devices; model and profile are borrowed as long as fc_step_table_direct is to be called. */
typedef struct fc_step_source {
  const fc_model *model;
  const fc_profile *profile;
  const fc_serve_plan *plan;
} fc_step_source;

/** `def` as given but for step, context, devices, groups, stages and idle_w.
 *  @return FC_OK | FC_E_NOMEM | FC_E_DOMAIN (as fc_cost_serve_iteration) */
FC_NODISCARD
fc_status fc_step_table_of_model(fc_step_table **out, const fc_step_table_def *def,
                                 const fc_step_source *source);
/** @return FC_OK | FC_E_NOMEM | FC_E_DOMAIN (a value of def, or step gave one that is negative, not finite)
 */
FC_NODISCARD
fc_status fc_step_table_new(fc_step_table **out, const fc_step_table_def *def);
void fc_step_table_free(fc_step_table *table);

/** An iteration time known exactly, for limits of queueing theory: context of fc_step_linear. */
typedef struct fc_step_coefficients {
  double base_s;
  double decode_request_s, decode_context_s; /* a decoding request; a token of its context */
  double prefill_token_s, prefill_pair_s;    /* a prompt token; one key that it attends to */
} fc_step_coefficients;
fc_status fc_step_linear(const void *coefficients, fc_serve_iteration *out, const fc_serve_load *load);

/** Work of one iteration of the instance, as a scheduler counts it. */
typedef struct fc_step_work {
  double decode;         /* requests */
  double decode_context; /* tokens, of all of them together */
  double prefill;        /* prompt tokens */
  double prompts;        /* that they belong to */
  double pairs;          /* sum over prompt tokens of the keys that each attends to: q (context + (q+1)/2) */
} fc_step_work;

/** Seconds of one iteration, from the table. */
double fc_step_table_seconds(const fc_step_table *table, const fc_step_work *work);
/** The same from the function itself, which must still be callable. */
FC_NODISCARD
fc_status fc_step_table_direct(const fc_step_table *table, fc_serve_iteration *out, const fc_step_work *work);

/** Error of the table against the function at probes that are not on the grid, measured by _new. */
typedef struct fc_step_table_error {
  double max, mean;      /* of |table/direct - 1| */
  int64_t probes, calls; /* calls of the function in all */
  int64_t bytes;         /* of the table */
} fc_step_table_error;
fc_step_table_error fc_step_table_measured_error(const fc_step_table *table);

int64_t fc_step_table_groups(const fc_step_table *table);
int64_t fc_step_table_devices(const fc_step_table *table);

#endif
