/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/des/sim.h>

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdlib.h>

#include <fleetcast/base/rng.h>

static fc_sim *new_sim(fc_time start) {
  fc_sim *sim;
  cr_assert_eq(fc_sim_new(&sim, start), FC_OK);
  return sim;
}

static void run(fc_sim *sim, fc_time until) {
  cr_assert_eq(fc_sim_run(sim, until), FC_OK);
}

/* --- semantics, one by one --- */

typedef struct {
  size_t n;
  uint64_t datum[64];
  fc_time at[64];
} journal;

static void note(fc_sim *sim, void *subject, uint64_t datum) {
  journal *j = subject;
  j->datum[j->n] = datum;
  j->at[j->n++] = fc_sim_now(sim);
}

static void expect(const journal *j, size_t n, const uint64_t *datum) {
  cr_assert_eq(j->n, n, "%zu events, expected %zu", j->n, n);
  for (size_t i = 0; i < n; i++)
    cr_assert_eq(j->datum[i], datum[i], "event %zu: %llu, expected %llu", i, (unsigned long long)j->datum[i],
                 (unsigned long long)datum[i]);
}

Test(sim, order_is_time_then_priority_then_sequence) {
  fc_sim *sim = new_sim(0);
  journal j = {0};
  fc_sim_at(sim, 20, 0, note, &j, 6);
  fc_sim_at(sim, 10, 127, note, &j, 5);
  fc_sim_at(sim, 10, 0, note, &j, 3);
  fc_sim_at(sim, 10, 0, note, &j, 4);
  fc_sim_at(sim, 10, -128, note, &j, 2);
  fc_sim_at(sim, 5, 127, note, &j, 1);
  cr_assert_eq(fc_sim_pending(sim), 6);
  run(sim, FC_TIME_MAX);
  expect(&j, 6, (uint64_t[]){1, 2, 3, 4, 5, 6});
  cr_assert_eq(fc_sim_executed(sim), 6);
  cr_assert_eq(fc_sim_pending(sim), 0);
  cr_assert_eq(fc_sim_now(sim), 20);
  fc_sim_free(sim);
}

Test(sim, until_is_exclusive_and_sets_the_clock) {
  fc_sim *sim = new_sim(-50);
  journal j = {0};
  for (uint64_t i = 0; i < 4; i++) fc_sim_at(sim, 10 * (fc_time)i, 0, note, &j, i);
  run(sim, 20);
  expect(&j, 2, (uint64_t[]){0, 1});
  cr_assert_eq(fc_sim_now(sim), 20);
  run(sim, 20);
  run(sim, 5); /* never back */
  cr_assert_eq(fc_sim_now(sim), 20);
  expect(&j, 2, (uint64_t[]){0, 1});
  run(sim, 21);
  expect(&j, 3, (uint64_t[]){0, 1, 2});
  run(sim, 1000);
  expect(&j, 4, (uint64_t[]){0, 1, 2, 3});
  cr_assert_eq(fc_sim_now(sim), 1000);
  run(sim, FC_TIME_MAX); /* nothing left: the clock stays */
  cr_assert_eq(fc_sim_now(sim), 1000);
  fc_sim_free(sim);
}

Test(sim, ends_of_time) {
  fc_sim *sim = new_sim(INT64_MIN);
  journal j = {0};
  fc_sim_at(sim, FC_TIME_MAX, 0, note, &j, 4);
  fc_sim_at(sim, INT64_MIN, 0, note, &j, 1);
  fc_sim_at(sim, 0, 0, note, &j, 2);
  fc_sim_at(sim, FC_TIME_MAX - 1, 0, note, &j, 3);
  run(sim, INT64_MIN);
  expect(&j, 0, NULL);
  run(sim, INT64_MIN + 1);
  expect(&j, 1, (uint64_t[]){1});
  run(sim, FC_TIME_MAX);
  expect(&j, 4, (uint64_t[]){1, 2, 3, 4});
  cr_assert_eq(fc_sim_now(sim), FC_TIME_MAX);
  fc_sim_at(sim, FC_TIME_MAX, 0, note, &j, 5);
  run(sim, FC_TIME_MAX);
  expect(&j, 5, (uint64_t[]){1, 2, 3, 4, 5});
  fc_sim_free(sim);
}

static void note_and_stop(fc_sim *sim, void *subject, uint64_t datum) {
  note(sim, subject, datum);
  fc_sim_stop(sim);
}

Test(sim, stop_returns_after_the_event) {
  fc_sim *sim = new_sim(0);
  journal j = {0};
  fc_sim_at(sim, 10, 0, note_and_stop, &j, 1);
  fc_sim_at(sim, 10, 0, note, &j, 2);
  run(sim, 100);
  expect(&j, 1, (uint64_t[]){1});
  cr_assert_eq(fc_sim_now(sim), 10);
  run(sim, 100);
  expect(&j, 2, (uint64_t[]){1, 2});
  cr_assert_eq(fc_sim_now(sim), 100);
  fc_sim_free(sim);
}

Test(sim, cancel_and_stale_handles) {
  fc_sim *sim = new_sim(0);
  journal j = {0};
  cr_assert(!fc_sim_is_pending(sim, FC_EVENT_NONE));
  cr_assert(!fc_sim_cancel(sim, FC_EVENT_NONE));
  fc_event_id a = fc_sim_at(sim, 10, 0, note, &j, 1), b = fc_sim_at(sim, 20, 0, note, &j, 2);
  cr_assert(fc_sim_is_pending(sim, a));
  cr_assert(fc_sim_cancel(sim, a));
  cr_assert(!fc_sim_is_pending(sim, a));
  cr_assert(!fc_sim_cancel(sim, a));
  fc_event_id c = fc_sim_at(sim, 5, 0, note, &j, 3); /* takes the slot of a */
  cr_assert(!fc_sim_cancel(sim, a));
  cr_assert(fc_sim_is_pending(sim, c));
  cr_assert_eq(fc_sim_pending(sim), 2);
  run(sim, FC_TIME_MAX);
  expect(&j, 2, (uint64_t[]){3, 2});
  cr_assert(!fc_sim_is_pending(sim, b));
  cr_assert(!fc_sim_cancel(sim, b));
  cr_assert(!fc_sim_cancel(sim, (fc_event_id){1000000, 1}));
  fc_sim_free(sim);
  fc_sim_free(NULL);
}

static void cancel_other(fc_sim *sim, void *subject, uint64_t datum) {
  (void)datum;
  cr_assert(fc_sim_cancel(sim, *(fc_event_id *)subject));
}

Test(sim, an_event_may_cancel_one_of_its_own_time) {
  fc_sim *sim = new_sim(0);
  journal j = {0};
  fc_event_id victim;
  fc_sim_at(sim, 10, 0, cancel_other, &victim, 0);
  victim = fc_sim_at(sim, 10, 1, note, &j, 1);
  run(sim, FC_TIME_MAX);
  expect(&j, 0, NULL);
  cr_assert_eq(fc_sim_executed(sim), 1);
  fc_sim_free(sim);
}

/* --- against a naive oracle, random mixes --- */

typedef enum {
  EXPONENTIAL,
  UNIFORM,
  BIMODAL,
  TRIANGULAR,
  EQUAL,
  ZERO,
  LATTICE,
  OUTLIERS,
  BURSTS,
  MIXED,
  LAWS
} law;

static const struct {
  law law;
  size_t population; /* pending events aimed at */
  fc_time start;
} mixes[] = {
    {EXPONENTIAL, 3, 0},
    {EXPONENTIAL, 40, 0},
    {EXPONENTIAL, 400, 0},
    {EXPONENTIAL, 3000, -FC_DAY},
    {UNIFORM, 100, 0},
    {UNIFORM, 1000, 0},
    {BIMODAL, 300, 0},
    {BIMODAL, 2000, 0},
    {TRIANGULAR, 300, 0},
    {EQUAL, 20, 0},
    {EQUAL, 500, 0},
    {ZERO, 30, 0},
    {ZERO, 500, 0},
    {LATTICE, 30, 0},
    {LATTICE, 300, 0},
    {LATTICE, 3000, 0},
    {OUTLIERS, 100, 0},
    {OUTLIERS, 1000, 0},
    {OUTLIERS, 500, INT64_MIN},
    {BURSTS, 1000, 0},
    {MIXED, 50, 0},
    {MIXED, 200, 0},
    {MIXED, 2000, INT64_MIN},
    {MIXED, 1000, FC_TIME_MAX - 100000000},
};

typedef struct {
  fc_time at;
  int priority;
  fc_event_id id;
} planned; /* its index is its sequence number */

enum { EVENTS = 12000 };

typedef struct {
  fc_rng rng;
  law law;
  size_t population;
  planned event[EVENTS];
  size_t alive[EVENTS], alive_n, n; /* alive: numbers of pending events, in no order */
} world;

static fc_time increment(world *w, law l) {
  double u = fc_rng_uniform(&w->rng);
  switch (l) {
  case EXPONENTIAL: return (fc_time)(fc_rng_exponential(&w->rng) * 1e6);
  case UNIFORM: return (fc_time)(u * 2e6);
  case BIMODAL: return (fc_time)(u < 0.9 ? u * 1e3 : u * 1e9);
  case TRIANGULAR: return (fc_time)(sqrt(u) * 1e6);
  case EQUAL: return 1000;
  case ZERO: return u < 0.98 ? 0 : 1;
  case LATTICE: return 100 * (fc_time)(u * 5);
  case OUTLIERS:
    return u < 0.02 ? FC_TIME_MAX : u < 0.04 ? 292 * (fc_time)FC_YEAR_S * FC_SECOND : (fc_time)(u * 1e6);
  case BURSTS: return u < 0.05 ? FC_SECOND : (fc_time)(u * 3);
  default: return increment(w, (law)(fc_rng_u64(&w->rng) % MIXED));
  }
}

static size_t pick(world *w, size_t n) {
  return (size_t)(fc_rng_u64(&w->rng) % n);
}

static void forget(world *w, size_t number) {
  for (size_t i = 0; i < w->alive_n; i++)
    if (w->alive[i] == number) {
      w->alive[i] = w->alive[--w->alive_n];
      return;
    }
  cr_assert_fail("event %zu was not pending", number);
}

static bool precedes(const world *w, size_t a, size_t b) {
  const planned *x = &w->event[a], *y = &w->event[b];
  if (x->at != y->at) return x->at < y->at;
  if (x->priority != y->priority) return x->priority < y->priority;
  return a < b;
}

static size_t earliest(const world *w) {
  size_t best = w->alive[0];
  for (size_t i = 1; i < w->alive_n; i++)
    if (precedes(w, w->alive[i], best)) best = w->alive[i];
  return best;
}

static void check_and_go_on(fc_sim *sim, void *subject, uint64_t datum);

static void schedule(fc_sim *sim, world *w) {
  if (w->n == EVENTS) return;
  fc_time now = fc_sim_now(sim), d = increment(w, w->law);
  planned *e = &w->event[w->n];
  e->at = now > 0 && d > FC_TIME_MAX - now ? FC_TIME_MAX : now + d;
  e->priority = pick(w, 3) ? 0 : (int)pick(w, 256) - 128;
  e->id = fc_sim_at(sim, e->at, e->priority, check_and_go_on, w, w->n);
  cr_assert(fc_sim_is_pending(sim, e->id));
  w->alive[w->alive_n++] = w->n++;
}

static void cancel_any(fc_sim *sim, world *w) {
  size_t number = pick(w, w->n); /* most have run or gone: then it must be refused */
  bool was_alive = false;
  for (size_t i = 0; i < w->alive_n; i++) was_alive = was_alive || w->alive[i] == number;
  cr_assert_eq(fc_sim_cancel(sim, w->event[number].id), was_alive);
  if (was_alive) forget(w, number);
}

static void check_and_go_on(fc_sim *sim, void *subject, uint64_t datum) {
  world *w = subject;
  cr_assert_eq(earliest(w), datum, "event %llu ran before %zu", (unsigned long long)datum, earliest(w));
  cr_assert_eq(fc_sim_now(sim), w->event[datum].at);
  cr_assert(!fc_sim_is_pending(sim, w->event[datum].id));
  forget(w, datum);
  size_t births = w->alive_n < w->population ? pick(w, 4) : pick(w, 2);
  for (size_t i = 0; i < births; i++) schedule(sim, w);
  for (size_t i = pick(w, 3); i > 0; i--)
    if (w->alive_n > w->population / 2) cancel_any(sim, w);
  if (pick(w, 50) == 0) fc_sim_stop(sim);
}

ParameterizedTestParameters(sim, agrees_with_a_naive_oracle) {
  static size_t i[sizeof mixes / sizeof *mixes];
  for (size_t k = 0; k < sizeof mixes / sizeof *mixes; k++) i[k] = k;
  return cr_make_param_array(size_t, i, sizeof i / sizeof *i);
}

ParameterizedTest(size_t *i, sim, agrees_with_a_naive_oracle) {
  world *w = calloc(1, sizeof *w);
  w->rng = fc_rng_keyed(7, FC_STREAM_TEST, *i, 0);
  w->law = mixes[*i].law;
  w->population = mixes[*i].population;
  fc_sim *sim = new_sim(mixes[*i].start);
  for (size_t k = 0; k < w->population; k++) schedule(sim, w);
  for (int slices = 0; slices < 300; slices++) {
    fc_time now = fc_sim_now(sim), d = increment(w, w->law);
    fc_time until = now > 0 && d > FC_TIME_MAX - now ? now : now + d; /* outliers would end it */
    run(sim, until);
    cr_assert_eq(fc_sim_pending(sim), w->alive_n);
    cr_assert_leq(fc_sim_now(sim), until);
    /* from outside, between the last event and the next bucket of the calendar */
    for (size_t k = pick(w, 80); k > 0 && w->alive_n < 2 * w->population; k--) schedule(sim, w);
    for (size_t k = pick(w, 10); k > 0 && w->alive_n; k--) cancel_any(sim, w);
  }
  while (w->alive_n) run(sim, FC_TIME_MAX);
  cr_assert_eq(fc_sim_pending(sim), 0);
  fc_sim_free(sim);
  free(w);
}

/* --- large and degenerate sets: each would take hours if anything were quadratic --- */

enum { MILLION = 1000000 };

typedef struct {
  fc_time at;
  int priority;
  size_t sequence;
} plan;

static int by_order(const void *a, const void *b) {
  const plan *x = a, *y = b;
  if (x->at != y->at) return x->at < y->at ? -1 : 1;
  if (x->priority != y->priority) return x->priority < y->priority ? -1 : 1;
  return (x->sequence > y->sequence) - (x->sequence < y->sequence);
}

typedef struct {
  const plan *expected;
  size_t done;
} sorted_check;

static void check_next(fc_sim *sim, void *subject, uint64_t datum) {
  (void)sim;
  sorted_check *c = subject;
  cr_assert_eq(c->expected[c->done].sequence, datum);
  c->done++;
}

/* n events planned by `make`, every third cancelled again, must run in the order that qsort gives. */
static void check_sorted(size_t n, void (*make)(fc_rng *rng, plan *p)) {
  plan *p = malloc(n * sizeof *p);
  fc_event_id *id = malloc(n * sizeof *id);
  fc_rng rng = fc_rng_keyed(8, FC_STREAM_TEST, 0, 0);
  sorted_check c = {.expected = p};
  fc_sim *sim = new_sim(0);
  for (size_t i = 0; i < n; i++) {
    p[i] = (plan){.sequence = i};
    make(&rng, &p[i]);
    id[i] = fc_sim_at(sim, p[i].at, p[i].priority, check_next, &c, i);
  }
  size_t kept = 0;
  for (size_t i = 0; i < n; i++)
    if (i % 3 == 0)
      cr_assert(fc_sim_cancel(sim, id[i]));
    else
      p[kept++] = p[i];
  qsort(p, kept, sizeof *p, by_order);
  cr_assert_eq(fc_sim_pending(sim), kept);
  run(sim, FC_TIME_MAX);
  cr_assert_eq(c.done, kept);
  fc_sim_free(sim);
  free(id);
  free(p);
}

static void make_spread(fc_rng *rng, plan *p) {
  p->at = (fc_time)(fc_rng_u64(rng) >> 1);
}

static void make_equal(fc_rng *rng, plan *p) {
  (void)rng;
  p->at = 123456789;
}

static void make_equal_prioritised(fc_rng *rng, plan *p) {
  p->at = 5;
  p->priority = (int)(fc_rng_u64(rng) % 256) - 128;
}

static void make_one_outlier(fc_rng *rng, plan *p) {
  p->at = p->sequence == 1 ? 292 * (fc_time)FC_YEAR_S * FC_SECOND : (fc_time)(fc_rng_u64(rng) % 1000);
}

static void make_lattice(fc_rng *rng, plan *p) {
  p->at = (fc_time)(fc_rng_u64(rng) % 50) * FC_HOUR;
  p->priority = (int)(fc_rng_u64(rng) % 3);
}

static void make_descending(fc_rng *rng, plan *p) {
  (void)rng;
  p->at = (fc_time)(MILLION - p->sequence);
}

static void (*const makers[])(fc_rng *, plan *) = {make_spread,      make_equal,   make_equal_prioritised,
                                                   make_one_outlier, make_lattice, make_descending};

ParameterizedTestParameters(sim, a_million_in_order) {
  static size_t i[sizeof makers / sizeof *makers];
  for (size_t k = 0; k < sizeof makers / sizeof *makers; k++) i[k] = k;
  return cr_make_param_array(size_t, i, sizeof i / sizeof *i);
}

ParameterizedTest(size_t *i, sim, a_million_in_order) {
  check_sorted(MILLION, makers[*i]);
}

/* A run that stops short must not bring the calendar past the clock: what is then scheduled into the gap
 * comes first. */
Test(sim, the_gap_before_a_distant_crowd_stays_open) {
  enum { EARLY = 100, CROWD = 3000, GAP = 500 }; /* early ones: near must run empty before the crowd */
  static plan p[CROWD + GAP];
  const fc_time far = 1000000 * FC_SECOND;
  fc_rng rng = fc_rng_keyed(10, FC_STREAM_TEST, 0, 0);
  sorted_check c = {.expected = p};
  fc_sim *sim = new_sim(0);
  for (size_t i = 0; i < CROWD + GAP; i++) {
    double u = fc_rng_uniform(&rng);
    if (i == CROWD) run(sim, 1000);
    if (i == CROWD + GAP / 2) run(sim, 2000);
    p[i].sequence = i;
    p[i].at = i < EARLY   ? 9 * (fc_time)i
              : i < CROWD ? far + (fc_time)(u * 1e6)
                          : 2000 + (fc_time)exp(u * log(1e15));
    fc_sim_at(sim, p[i].at, 0, check_next, &c, i);
  }
  qsort(p, CROWD + GAP, sizeof *p, by_order);
  run(sim, FC_TIME_MAX);
  cr_assert_eq(c.done, CROWD + GAP);
  fc_sim_free(sim);
}

typedef struct {
  fc_rng rng;
  size_t left;
} storm;

static void breed(fc_sim *sim, void *subject, uint64_t datum) {
  storm *s = subject;
  (void)datum;
  if (s->left == 0) return;
  s->left--;
  fc_sim_at(sim, fc_sim_now(sim), (int)(fc_rng_u64(&s->rng) % 256) - 128, breed, s, 0);
}

Test(sim, a_million_ties_that_breed_more_of_any_priority) {
  fc_sim *sim = new_sim(0);
  storm s = {.rng = fc_rng_keyed(9, FC_STREAM_TEST, 0, 0), .left = MILLION};
  for (int i = 0; i < MILLION; i++) fc_sim_at(sim, 77, i % 256 - 128, breed, &s, 0);
  run(sim, FC_TIME_MAX);
  cr_assert_eq(fc_sim_executed(sim), 2 * MILLION);
  cr_assert_eq(fc_sim_now(sim), 77);
  fc_sim_free(sim);
}

/* --- determinism --- */

static void hash_and_hold(fc_sim *sim, void *subject, uint64_t datum) {
  uint64_t *h = subject;
  *h = (*h ^ (uint64_t)fc_sim_now(sim) ^ datum) * UINT64_C(0x100000001b3);
  fc_sim_at(sim, fc_sim_now(sim) + (fc_time)(*h >> 44), (int)(*h >> 20 & 3), hash_and_hold, subject, datum);
}

Test(sim, the_same_path_whatever_the_slicing) {
  uint64_t hash[2] = {1, 1};
  for (int sliced = 0; sliced < 2; sliced++) {
    fc_sim *sim = new_sim(0);
    for (uint64_t i = 0; i < 500; i++) fc_sim_at(sim, (fc_time)(i * i), 0, hash_and_hold, &hash[sliced], i);
    for (fc_time t = 999; sliced && t < 100 * 1000 * 1000; t += 9999) run(sim, t);
    run(sim, 100 * 1000 * 1000);
    fc_sim_free(sim);
  }
  cr_assert_eq(hash[0], hash[1]);
}
