/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TRAIN_PLAN_SEARCH_PRIVATE_H
#define FC_TRAIN_PLAN_SEARCH_PRIVATE_H

#include <fleetcast/train/plan_search.h>

enum { CHOICES_MAX = 64, SCHEDULES = FC_SCHEDULE_DUALPIPEV + 1 };

/* A degree's values, of the definition or the search's own. */
typedef struct {
  size_t n;
  int64_t value[CHOICES_MAX];
} choices;

/* A device and a count. */
typedef struct {
  size_t device;
  int64_t devices;
  double goodput;
  double late_token_s, dear_token_s; /* slower plans are past the deadline, over the budget */
} group;

typedef struct unit unit;

/* A plan that fits, timed by the closed form. */
typedef struct {
  double token_s; /* of the step, failures not counted */
  const unit *u;
  int64_t global_batch;
  int32_t ep, virtual_stages, micro_batch;
  int16_t zero, schedule, recompute, gemm;
} found;

/* All plans of a group with one tp, cp and pp: tried by one thread. */
struct unit {
  const group *of;
  int64_t tp, cp, pp;
  size_t count[FC_TRAIN_STATES];
  size_t n_reasons;
  fc_train_reason reason[FC_TRAIN_REASONS];
  double leanest_bytes;
  found near; /* token_s INFINITY: none */
  double near_short;
  size_t n, capacity;
  found *found; /* [n] */
  fc_status status;
};

typedef struct {
  const fc_train_search_def *def;
  fc_train_plan base; /* defaults filled in */
  double memory;
  size_t n_groups, n_units;
  group *group;
  unit *unit;
  fc_train_search_result *out;
} search;

/* --- plan_search.c --- */

/* Does all pieces of work, each of which has a place of its own.  @return FC_OK | FC_E_CANCELLED */
FC_NODISCARD
fc_status fc_train_search_hands(const search *s, void (*one)(void *context, size_t i), void *context,
                                size_t n);

/* --- plan_search_try.c --- */

/* Values of a degree: as given, else the search's. */
choices fc_train_choices_tp(const search *s, const group *g);
choices fc_train_choices_cp(const search *s);
choices fc_train_choices_pp(const search *s, const group *g, int64_t tp, int64_t cp);
choices fc_train_choices_ep(const search *s);
void fc_train_try_unit(const search *s, unit *u);

fc_train_plan fc_train_found_plan(const search *s, const found *f);

/* --- plan_search_final.c --- */

/* Fills in all of `out` but the words. */
FC_NODISCARD
fc_status fc_train_search_conclude(search *s);

/* --- plan_search_words.c --- */

void fc_train_search_explain(search *s);

#endif
