/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SERVE_SEARCH_PRIVATE_H
#define FC_SERVE_SEARCH_PRIVATE_H

#include <fleetcast/serve/search.h>

/* Moments of the load, from its own entries. */
typedef struct {
  double input, output; /* means */
  double context;       /* of a decoding request, over time: E[O (I + O / 2)] / E[O] */
  double longest;       /* prompt and output */
} fc_search_lengths;

/* A device and a plan. */
typedef struct {
  const char *device;
  double usd_per_s;
  fc_serve_plan plan;
  fc_step_source source; /* step NULL: its plan is the option's, set at use */
  fc_step_function step;
  const void *context;
  int64_t kv_blocks;
  double weight_bytes;
  double link_bytes_per_s, kv_bytes_per_token; /* network of a device */
} fc_search_option;

/* Options of an instance apart. */
typedef struct {
  size_t prefill, decode;
} fc_search_pair;

typedef struct {
  const fc_search_def *def;
  fc_search_lengths lengths;
  size_t n_options;
  fc_search_option *option;
  size_t n_pairs;
  fc_search_pair *pair; /* candidates' options from n_options on */
  fc_search_result *out;
  double *cap; /* [n] rate of an instance with no objective at all */
} fc_search;

/* --- search_plans.c --- */

/* Options of all devices, and the candidates in out, not yet bounded. */
FC_NODISCARD
fc_status fc_search_enumerate(fc_search *s);
/* Bounds candidate i by the closed form. */
void fc_search_screen(fc_search *s, size_t i);
/* Instances and USD a million output tokens at `rate` of an instance. */
double fc_search_instances(const fc_search_def *def, double rate);
double fc_search_usd(const fc_search *s, const fc_search_candidate *c, double rate);

/* Of the whole, or of those that decode. */
static inline const fc_search_option *fc_search_option_of(const fc_search *s, const fc_search_candidate *c) {
  return &s->option[c->prefills ? s->pair[c->option - s->n_options].decode : c->option];
}

/* That batches and budgets are given for: attention groups, in a pipeline their micro-batches. */
static inline double fc_search_groups(const fc_serve_plan *plan) {
  return (double)(plan->attention_dp * fc_serve_stages(plan));
}

/* --- the closed form --- */

typedef struct {
  const fc_search *s;
  const fc_search_option *option;
  fc_step_source source;
  double groups, budget; /* budget: tokens of all groups */
  bool decodes;          /* no prompts */
  bool broken;           /* the profile lacks a kernel */
} fc_search_bound;

fc_search_bound fc_search_bound_of(const fc_search *s, const fc_search_option *o, int64_t token_budget);
/* Of an iteration. */
double fc_search_iteration_s(fc_search_bound *b, double decode, double prefill);
/* Of a prompt alone. */
double fc_search_prompt_s(fc_search_bound *b);
/* Highest rate of batches up to `most` that take at most `limit_s`; 0: not even one request. */
double fc_search_best_rate(fc_search_bound *b, double most, double limit_s, double *at_s);

/* --- search_apart.c --- */

/* Candidates apart, of the options of all devices. */
FC_NODISCARD
fc_status fc_search_add_apart(fc_search *s);
void fc_search_screen_apart(fc_search *s, size_t i);

/* --- search_trial.c --- */

/* A load at a rate; requests as given. */
FC_NODISCARD
fc_status fc_search_load(fc_load **out, const fc_search_def *def, double rate, uint64_t requests, char *why);
/* Simulates candidate i. */
FC_NODISCARD
fc_status fc_search_trial(fc_search *s, size_t i);

/* --- search_words.c --- */

/* Every candidate's `why`, and the answer.  @pre ordered */
void fc_search_explain(fc_search *s);

#endif
