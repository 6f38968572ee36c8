/* SPDX-License-Identifier: Apache-2.0 */
/* Ladder 1 of the verification: queues with a closed form.  Fixed seeds; the suite makes COMPARISONS interval
 * tests, each at 1 - 0.01 / COMPARISONS (Bonferroni), so that a right kernel fails it with probability 1 % at
 * most. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdlib.h>

#include <fleetcast/base/dist.h>
#include <fleetcast/base/rng.h>
#include <fleetcast/des/sim.h>
#include <fleetcast/des/stats.h>

enum { COMPARISONS = 30 };

static const double MEAN_NS = 1e9; /* of a service: results are in units of it */

typedef enum { M, D, HYPER, LOGNORMAL, UNIFORM } law;

/* Squared coefficient of variation. */
static double cv2_of(law l) {
  switch (l) {
  case D: return 0;
  case HYPER: return 4;
  case LOGNORMAL: return exp(1.0) - 1;
  case UNIFORM: return 1 / 3.0;
  default: return 1;
  }
}

/* Mean 1. */
static double service_of(law l, fc_rng *r) {
  /* two phases of balanced means: p = (1 + sqrt((c2 - 1) / (c2 + 1))) / 2, mean 1 / (2 p) or 1 / (2 (1 - p))
   */
  const double p = 0.88729833462074170;
  switch (l) {
  case D: return 1;
  case HYPER:
    return fc_rng_uniform(r) < p ? fc_rng_exponential(r) / (2 * p) : fc_rng_exponential(r) / (2 * (1 - p));
  case LOGNORMAL: return exp(fc_rng_normal(r) - 0.5);
  case UNIFORM: return 2 * fc_rng_uniform(r);
  default: return fc_rng_exponential(r);
  }
}

static fc_time ns(double units) {
  return (fc_time)(units * MEAN_NS + 0.5);
}

/* --- a station: c servers, room for k, first come first served --- */

typedef struct {
  law law;
  uint64_t servers, room; /* room: waiting and in service */
  double rho;             /* offered load a server */
  uint64_t customers;
} queue_case;

typedef struct {
  const queue_case *q;
  fc_rng arrival, service;
  uint64_t to_come, in_system, done, lost;
  uint64_t head, tail, ring_n; /* arrival times of those who wait */
  fc_time *ring;
  uint64_t sojourn_ns, area_ns; /* sum of sojourns; integral of the number in system: Little's two sides */
  fc_time since;
  fc_batches sojourn, accepted;
} station;

static void account(station *s, fc_time now) {
  s->area_ns += s->in_system * (uint64_t)(now - s->since);
  s->since = now;
}

static void depart(fc_sim *sim, void *subject, uint64_t arrived);

static void serve(fc_sim *sim, station *s, fc_time arrived) {
  fc_sim_at(sim, fc_sim_now(sim) + ns(service_of(s->q->law, &s->service)), 0, depart, s, (uint64_t)arrived);
}

static bool is_warm(const station *s) {
  return s->to_come <= s->q->customers - s->q->customers / 10;
}

static void depart(fc_sim *sim, void *subject, uint64_t arrived) {
  station *s = subject;
  fc_time now = fc_sim_now(sim), t = now - (fc_time)arrived;
  account(s, now);
  s->in_system--;
  s->done++;
  s->sojourn_ns += (uint64_t)t;
  if (is_warm(s)) fc_batches_add(&s->sojourn, (double)t / MEAN_NS);
  if (s->head != s->tail) serve(sim, s, s->ring[s->head++ % s->ring_n]);
}

static void arrive(fc_sim *sim, void *subject, uint64_t datum) {
  (void)datum;
  station *s = subject;
  fc_time now = fc_sim_now(sim);
  double rate = s->q->rho * (double)s->q->servers;
  if (--s->to_come) fc_sim_at(sim, now + ns(fc_rng_exponential(&s->arrival) / rate), 0, arrive, s, 0);
  bool room = s->in_system < s->q->room;
  if (is_warm(s)) fc_batches_add(&s->accepted, room);
  if (!room) {
    s->lost++;
    return;
  }
  account(s, now);
  if (s->in_system++ < s->q->servers)
    serve(sim, s, now);
  else
    s->ring[s->tail++ % s->ring_n] = now;
}

/* Stationary probabilities of M/M/c/K: p[n] ~ a^n / (min(n, c)! c^(n - c)); K = 2000 stands for infinity. */
static void mmck(const queue_case *q, double *sojourn, double *accepted) {
  double a = q->rho * (double)q->servers, p = 1, sum = 1, number = 0, last = 1;
  uint64_t top = q->room < 2000 ? q->room : 2000;
  for (uint64_t n = 1; n <= top; n++) {
    p *= a / (double)(n < q->servers ? n : q->servers);
    sum += p;
    number += (double)n * p;
    last = p;
  }
  *accepted = 1 - last / sum;
  *sojourn = number / sum / (a * *accepted);
}

static const queue_case cases[] = {
    /* M/M/1, M/M/c */
    {M, 1, 1 << 30, 0.5, 400000},
    {M, 1, 1 << 30, 0.8, 800000},
    {M, 1, 1 << 30, 0.95, 3000000},
    {M, 4, 1 << 30, 0.5, 400000},
    {M, 4, 1 << 30, 0.8, 800000},
    {M, 4, 1 << 30, 0.95, 3000000},
    {M, 50, 1 << 30, 0.95, 1500000},
    /* M/M/c/K, at and beyond saturation too */
    {M, 1, 5, 0.8, 400000},
    {M, 3, 8, 0.95, 400000},
    {M, 4, 4, 1.2, 400000},
    /* M/D/1, M/G/1 */
    {D, 1, 1 << 30, 0.5, 400000},
    {D, 1, 1 << 30, 0.8, 800000},
    {D, 1, 1 << 30, 0.95, 2000000},
    {HYPER, 1, 1 << 30, 0.5, 400000},
    {HYPER, 1, 1 << 30, 0.8, 1500000},
    {HYPER, 1, 1 << 30, 0.95, 6000000},
    {LOGNORMAL, 1, 1 << 30, 0.8, 1000000},
    {UNIFORM, 1, 1 << 30, 0.8, 800000},
};

ParameterizedTestParameters(queues, stations) {
  static size_t i[sizeof cases / sizeof *cases];
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) i[k] = k;
  return cr_make_param_array(size_t, i, sizeof i / sizeof *i);
}

ParameterizedTest(size_t *i, queues, stations) {
  const queue_case *q = &cases[*i];
  station s = {.q = q,
               .arrival = fc_rng_keyed(11, FC_STREAM_ARRIVAL, *i, 0),
               .service = fc_rng_keyed(11, FC_STREAM_SIZE, *i, 0),
               .to_come = q->customers,
               .ring_n = 1 << 16};
  s.ring = malloc(s.ring_n * sizeof *s.ring);
  fc_sim *sim;
  cr_assert_eq(fc_sim_new(&sim, 0), FC_OK);
  fc_sim_at(sim, 0, 0, arrive, &s, 0);
  cr_assert_eq(fc_sim_run(sim, FC_TIME_MAX), FC_OK);
  fc_sim_free(sim);
  free(s.ring);

  cr_assert_eq(s.done + s.lost, q->customers, "INV-2");
  cr_assert_eq(s.sojourn_ns, s.area_ns, "Little's law, in whole nanoseconds");
  double sojourn, accepted, confidence = 1 - 0.01 / COMPARISONS;
  mmck(q, &sojourn, &accepted);
  if (q->law != M) sojourn = 1 + q->rho * (1 + cv2_of(q->law)) / (2 * (1 - q->rho)); /* Pollaczek-Khinchine */
  double half = fc_batches_half_width(&s.sojourn, confidence), mean = fc_batches_mean(&s.sojourn);
  cr_assert_leq(fabs(mean - sojourn), half, "sojourn %g, theory %g +- %g", mean, sojourn, half);
  cr_assert_leq(half, 0.15 * sojourn, "an interval of %g around %g proves nothing", half, sojourn);
  if (q->room < 1 << 30) {
    half = fc_batches_half_width(&s.accepted, confidence);
    mean = fc_batches_mean(&s.accepted);
    cr_assert_leq(fabs(mean - accepted), half, "accepted %g, theory %g +- %g", mean, accepted, half);
    cr_assert_leq(half, 0.02 * accepted);
  }
}

/* --- M/G/inf: the number in system is Poisson, whatever the service --- */

typedef struct {
  fc_rng arrival, service;
  double rate;
  uint64_t in_system, samples;
  uint64_t count[64];
} delay_station;

static void leave(fc_sim *sim, void *subject, uint64_t datum) {
  (void)sim, (void)datum;
  ((delay_station *)subject)->in_system--;
}

static void enter(fc_sim *sim, void *subject, uint64_t datum) {
  delay_station *s = subject;
  s->in_system++;
  fc_time now = fc_sim_now(sim);
  fc_sim_at(sim, now + ns(fc_rng_uniform(&s->service) * 2), 0, leave, s, 0);
  fc_sim_at(sim, now + ns(fc_rng_exponential(&s->arrival) / s->rate), 0, enter, s, datum);
}

static void look(fc_sim *sim, void *subject, uint64_t datum) {
  delay_station *s = subject;
  s->count[s->in_system < 63 ? s->in_system : 63]++;
  if (--s->samples == 0) fc_sim_stop(sim);
  fc_sim_at(sim, fc_sim_now(sim) + ns(2), 0, look, s, datum);
}

/* Services last 2 at most, so that looks 2 apart are independent and the chi-square test is exact. */
Test(queues, m_g_inf_occupancy_is_poisson) {
  enum { SAMPLES = 100000 };
  const double mean = 8;
  delay_station s = {.arrival = fc_rng_keyed(12, FC_STREAM_ARRIVAL, 0, 0),
                     .service = fc_rng_keyed(12, FC_STREAM_SIZE, 0, 0),
                     .rate = mean,
                     .samples = SAMPLES};
  fc_sim *sim;
  cr_assert_eq(fc_sim_new(&sim, 0), FC_OK);
  fc_sim_at(sim, 0, 0, enter, &s, 0);
  fc_sim_at(sim, ns(2), 0, look, &s, 0);
  cr_assert_eq(fc_sim_run(sim, FC_TIME_MAX), FC_OK);
  fc_sim_free(sim);
  double p = exp(-mean), rest = 1, chi2 = 0;
  uint64_t rest_n = SAMPLES;
  for (int n = 0; n < 20; n++) {
    chi2 += pow((double)s.count[n] - SAMPLES * p, 2) / (SAMPLES * p);
    rest -= p;
    rest_n -= s.count[n];
    p *= mean / (n + 1);
  }
  chi2 += pow((double)rest_n - SAMPLES * rest, 2) / (SAMPLES * rest);
  /* 20 degrees of freedom; Wilson & Hilferty's quantile of chi-square */
  double h = 2.0 / (9 * 20), z = fc_normal_quantile(1 - 0.01 / COMPARISONS);
  cr_assert_leq(chi2, 20 * pow(1 - h + z * sqrt(h), 3), "chi2 %g", chi2);
}

/* --- M/G/1-PS: mean sojourn 1 / (1 - rho), whatever the service --- */

enum { JOBS_MAX = 4096 };

typedef struct {
  law law;
  double rho;
  uint64_t customers;
} sharing_case;

typedef struct {
  const sharing_case *q;
  fc_rng arrival, service;
  uint64_t to_come, n;
  fc_event_id next; /* the departure under way: cancelled at every arrival */
  double work;      /* that each job present has got so far, since the start */
  fc_time since;
  struct {
    double end; /* value of work at which it leaves */
    fc_time arrived;
  } job[JOBS_MAX];
  fc_batches sojourn;
} sharing;

static void advance(sharing *s, fc_time now) {
  if (s->n) s->work += (double)(now - s->since) / MEAN_NS / (double)s->n;
  s->since = now;
}

static uint64_t first_to_leave(const sharing *s) {
  uint64_t first = 0;
  for (uint64_t i = 1; i < s->n; i++)
    if (s->job[i].end < s->job[first].end) first = i;
  return first;
}

static void share_depart(fc_sim *sim, void *subject, uint64_t datum);

static void reschedule(fc_sim *sim, sharing *s) {
  bool was = fc_sim_cancel(sim, s->next);
  (void)was;
  if (s->n == 0) return;
  uint64_t i = first_to_leave(s);
  double left = fmax(0, s->job[i].end - s->work) * (double)s->n;
  s->next = fc_sim_at(sim, fc_sim_now(sim) + ns(left), 0, share_depart, s, i);
}

static void share_depart(fc_sim *sim, void *subject, uint64_t i) {
  sharing *s = subject;
  fc_time now = fc_sim_now(sim);
  advance(s, now);
  if (s->to_come < s->q->customers - s->q->customers / 10)
    fc_batches_add(&s->sojourn, (double)(now - s->job[i].arrived) / MEAN_NS);
  s->job[i] = s->job[--s->n];
  reschedule(sim, s);
}

static void share_arrive(fc_sim *sim, void *subject, uint64_t datum) {
  sharing *s = subject;
  fc_time now = fc_sim_now(sim);
  if (--s->to_come)
    fc_sim_at(sim, now + ns(fc_rng_exponential(&s->arrival) / s->q->rho), 0, share_arrive, s, datum);
  advance(s, now);
  cr_assert_lt(s->n, JOBS_MAX);
  s->job[s->n].end = s->work + service_of(s->q->law, &s->service);
  s->job[s->n++].arrived = now;
  reschedule(sim, s);
}

static const sharing_case sharings[] = {{M, 0.5, 300000},     {M, 0.8, 600000},      {M, 0.95, 3000000},
                                        {D, 0.8, 600000},     {D, 0.95, 1000000},    {HYPER, 0.5, 300000},
                                        {HYPER, 0.8, 600000}, {HYPER, 0.95, 3000000}};

ParameterizedTestParameters(queues, processor_sharing) {
  static size_t i[sizeof sharings / sizeof *sharings];
  for (size_t k = 0; k < sizeof sharings / sizeof *sharings; k++) i[k] = k;
  return cr_make_param_array(size_t, i, sizeof i / sizeof *i);
}

ParameterizedTest(size_t *i, queues, processor_sharing) {
  sharing *s = calloc(1, sizeof *s);
  s->q = &sharings[*i];
  s->arrival = fc_rng_keyed(13, FC_STREAM_ARRIVAL, *i, 0);
  s->service = fc_rng_keyed(13, FC_STREAM_SIZE, *i, 0);
  s->to_come = s->q->customers;
  fc_sim *sim;
  cr_assert_eq(fc_sim_new(&sim, 0), FC_OK);
  fc_sim_at(sim, 0, 0, share_arrive, s, 0);
  cr_assert_eq(fc_sim_run(sim, FC_TIME_MAX), FC_OK);
  cr_assert_eq(s->n, 0);
  fc_sim_free(sim);
  double theory = 1 / (1 - s->q->rho), mean = fc_batches_mean(&s->sojourn);
  double half = fc_batches_half_width(&s->sojourn, 1 - 0.01 / COMPARISONS);
  cr_assert_leq(fabs(mean - theory), half, "sojourn %g, theory %g +- %g", mean, theory, half);
  cr_assert_leq(half, 0.15 * theory, "an interval of %g around %g proves nothing", half, theory);
  free(s);
}
