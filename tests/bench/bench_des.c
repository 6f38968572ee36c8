/* SPDX-License-Identifier: Apache-2.0 */
/* How fast the event kernel is, through its public API:
 *
 *     bench_des [--quick]
 *
 * 1. M/M/1, rho = 0.9: an event an arrival, an event a departure, two exponential draws a customer; against a
 *    loop written by hand for this one model over a binary heap, with the same draws, in the same run.
 * 2. The hold model (Jones 1986): N events pending, each schedules one successor; exponential increments for
 *    N = 10^1 .. 10^6, other increments at 10^5.
 * Repetitions alternate, so that a drift of the machine's clock falls on both; medians are printed, and the
 * best for M/M/1, of processor time.  Every figure comes with a check value against theory; a check that
 * fails is exit code 1. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <fleetcast/base/rng.h>
#include <fleetcast/des/sim.h>

enum { REPETITIONS = 7, SIZES = 6 };

static const double RHO = 0.9, MEAN_SERVICE_NS = 1e9;

/* Processor time of this thread: what others run on a shared machine is no part of it. */
static double cpu_s(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(const double *x, size_t n) {
  double sorted[REPETITIONS];
  memcpy(sorted, x, n * sizeof *x);
  qsort(sorted, n, sizeof *sorted, ascending);
  return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

static double least(const double *x, size_t n) {
  double best = x[0];
  for (size_t i = 1; i < n; i++) best = x[i] < best ? x[i] : best;
  return best;
}

static fc_time exponential_ns(fc_rng *rng, double mean_ns) {
  return (fc_time)(fc_rng_exponential(rng) * mean_ns + 0.5);
}

/* --- M/M/1 --- */

typedef struct {
  fc_rng arrival, service;
  uint64_t to_come, in_system;
  uint64_t
      sojourn_ns; /* sum of departures less sum of arrivals, modulo 2^64: exact once the system is empty */
} station;

static station station_of(uint64_t customers, uint64_t sample) {
  return (station){.arrival = fc_rng_keyed(1, FC_STREAM_ARRIVAL, 0, sample),
                   .service = fc_rng_keyed(1, FC_STREAM_SIZE, 0, sample),
                   .to_come = customers};
}

static void departure(fc_sim *sim, void *subject, uint64_t datum) {
  (void)datum;
  station *s = subject;
  fc_time now = fc_sim_now(sim);
  s->sojourn_ns += (uint64_t)now;
  if (--s->in_system) fc_sim_at(sim, now + exponential_ns(&s->service, MEAN_SERVICE_NS), 0, departure, s, 0);
}

static void arrival(fc_sim *sim, void *subject, uint64_t datum) {
  (void)datum;
  station *s = subject;
  fc_time now = fc_sim_now(sim);
  s->sojourn_ns -= (uint64_t)now;
  if (--s->to_come)
    fc_sim_at(sim, now + exponential_ns(&s->arrival, MEAN_SERVICE_NS / RHO), 0, arrival, s, 0);
  if (s->in_system++ == 0)
    fc_sim_at(sim, now + exponential_ns(&s->service, MEAN_SERVICE_NS), 0, departure, s, 0);
}

/* Seconds of processor time; mean sojourn in units of the mean service in *sojourn. */
static double mm1_api(uint64_t customers, uint64_t sample, double *sojourn) {
  station s = station_of(customers, sample);
  fc_sim *sim;
  if (fc_sim_new(&sim, 0)) exit(1);
  double start = cpu_s();
  fc_sim_at(sim, exponential_ns(&s.arrival, MEAN_SERVICE_NS / RHO), 0, arrival, &s, 0);
  if (fc_sim_run(sim, FC_TIME_MAX)) exit(1);
  double spent = cpu_s() - start;
  if (fc_sim_executed(sim) != 2 * customers) exit(1);
  fc_sim_free(sim);
  *sojourn = (double)s.sojourn_ns / (double)customers / MEAN_SERVICE_NS;
  return spent;
}

typedef struct {
  fc_time at;
  bool is_arrival;
} heap_item;

typedef struct {
  size_t n;
  heap_item item[4];
} heap;

static void heap_put(heap *h, heap_item e) {
  size_t i = h->n++;
  for (; i > 0 && e.at < h->item[(i - 1) / 2].at; i = (i - 1) / 2) h->item[i] = h->item[(i - 1) / 2];
  h->item[i] = e;
}

static heap_item heap_take(heap *h) {
  heap_item first = h->item[0], e = h->item[--h->n];
  size_t i = 0;
  for (size_t child; (child = 2 * i + 1) < h->n; i = child) {
    if (child + 1 < h->n && h->item[child + 1].at < h->item[child].at) child++;
    if (e.at <= h->item[child].at) break;
    h->item[i] = h->item[child];
  }
  h->item[i] = e;
  return first;
}

static double mm1_hand(uint64_t customers, uint64_t sample, double *sojourn) {
  station s = station_of(customers, sample);
  heap h = {0};
  double start = cpu_s();
  heap_put(&h, (heap_item){exponential_ns(&s.arrival, MEAN_SERVICE_NS / RHO), true});
  while (h.n) {
    heap_item e = heap_take(&h);
    if (e.is_arrival) {
      s.sojourn_ns -= (uint64_t)e.at;
      if (--s.to_come)
        heap_put(&h, (heap_item){e.at + exponential_ns(&s.arrival, MEAN_SERVICE_NS / RHO), true});
      if (s.in_system++ == 0)
        heap_put(&h, (heap_item){e.at + exponential_ns(&s.service, MEAN_SERVICE_NS), false});
    } else {
      s.sojourn_ns += (uint64_t)e.at;
      if (--s.in_system) heap_put(&h, (heap_item){e.at + exponential_ns(&s.service, MEAN_SERVICE_NS), false});
    }
  }
  double spent = cpu_s() - start;
  *sojourn = (double)s.sojourn_ns / (double)customers / MEAN_SERVICE_NS;
  return spent;
}

static bool bench_mm1(bool quick) {
  uint64_t customers = quick ? 1000000 : 10000000;
  double api[REPETITIONS], hand[REPETITIONS], total = 0, sojourn, same;
  bool ok = true;
  for (uint64_t r = 0; r < REPETITIONS; r++) {
    api[r] = mm1_api(customers, r, &sojourn);
    hand[r] = mm1_hand(customers, r, &same);
    ok = ok && sojourn == same; /* the same draws, hence the same path to the last nanosecond */
    total += sojourn;
  }
  double mean = total / REPETITIONS, theory = 1 / (1 - RHO), n = (double)customers;
  double per_s = n / median(api, REPETITIONS), hand_per_s = n / median(hand, REPETITIONS);
  /* the mean of n sojourns has about sd = theory sqrt(2 (1 + rho) / (1 - rho)^2 / n); four of them allowed */
  double allowed = 4 * sqrt(2 * (1 + RHO) / ((1 - RHO) * (1 - RHO)) / (n * REPETITIONS));
  ok = ok && fabs(mean / theory - 1) <= allowed;
  printf("M/M/1      n = %.0f customers x %d, rho = %.1f\n", n, REPETITIONS, RHO);
  printf("  general API        %8.2f M customers/s (best %.2f)   %.2f M events/s   %.1f ns a customer\n",
         per_s / 1e6, n / least(api, REPETITIONS) / 1e6, 2 * per_s / 1e6, 1e9 / per_s);
  printf("  hand-written heap  %8.2f M customers/s (best %.2f)   API / hand-written %.2f\n", hand_per_s / 1e6,
         n / least(hand, REPETITIONS) / 1e6, per_s / hand_per_s);
  printf("  check: mean sojourn %.4f services, theory %.4f, allowed +- %.2f %%, both paths %s: %s\n", mean,
         theory, 100 * allowed, sojourn == same ? "equal" : "DIFFER", ok ? "ok" : "FAILED");
  return ok;
}

/* --- hold --- */

typedef enum { EXPONENTIAL, UNIFORM, BIMODAL, TRIANGULAR, EQUAL, KINDS } increment;

static const char *const increment_name[KINDS] = {"exponential", "uniform 0..2", "bimodal 0.1|9.1",
                                                  "triangular 0..1.5", "all equal"};

typedef struct {
  fc_rng rng;
  increment kind;
  uint64_t left;
  double sum_s;
} holder;

/* Mean 1 s each; the classics of Jones 1986 and of Roenngren & Ayani 1997. */
static double draw_s(holder *h) {
  switch (h->kind) {
  case UNIFORM: return 2 * fc_rng_uniform(&h->rng);
  case BIMODAL: return fc_rng_uniform(&h->rng) * 0.2 + (fc_rng_uniform(&h->rng) < 0.9 ? 0 : 9);
  case TRIANGULAR: return 1.5 * sqrt(fc_rng_uniform(&h->rng));
  case EQUAL: return 1;
  default: return fc_rng_exponential(&h->rng);
  }
}

static void hold(fc_sim *sim, void *subject, uint64_t datum) {
  holder *h = subject;
  double s = draw_s(h);
  h->sum_s += s;
  fc_sim_at(sim, fc_sim_now(sim) + (fc_time)(s * 1e9), 0, hold, h, datum);
  if (--h->left == 0) fc_sim_stop(sim);
}

/* Seconds a hold, of `holds` of them after as many to settle. */
static double hold_s(increment kind, size_t pending, uint64_t holds, double *mean) {
  holder h = {.rng = fc_rng_keyed(2, FC_STREAM_TEST, pending, 0), .kind = kind};
  fc_sim *sim;
  if (fc_sim_new(&sim, 0)) exit(1);
  for (size_t i = 0; i < pending; i++) fc_sim_at(sim, (fc_time)(draw_s(&h) * 1e9), 0, hold, &h, i);
  h.left = holds;
  if (fc_sim_run(sim, FC_TIME_MAX)) exit(1);
  h.left = holds;
  h.sum_s = 0;
  double start = cpu_s();
  if (fc_sim_run(sim, FC_TIME_MAX)) exit(1);
  double spent = cpu_s() - start;
  if (fc_sim_pending(sim) != pending) exit(1);
  fc_sim_free(sim);
  *mean = h.sum_s / (double)holds;
  return spent / (double)holds;
}

static bool bench_hold(bool quick) {
  double t[SIZES][REPETITIONS], mean, worst = 0;
  uint64_t holds = quick ? 1000000 : 4000000;
  for (int r = 0; r < REPETITIONS; r++) {
    size_t pending = 10;
    for (int i = 0; i < SIZES; i++, pending *= 10) {
      t[i][r] = hold_s(EXPONENTIAL, pending, holds, &mean);
      if (fabs(mean - 1) > worst) worst = fabs(mean - 1);
    }
  }
  /* the increments that the simulation really used; sd of their mean is 1 / sqrt(n), five of them allowed */
  double allowed = 5 / sqrt((double)holds);
  bool ok = worst <= allowed;
  printf("hold       n = %.0f holds x %d, exponential increments\n", (double)holds, REPETITIONS);
  double first = median(t[0], REPETITIONS);
  for (int i = 0; i < SIZES; i++)
    printf("  10^%d pending        %8.1f ns a hold   %5.2f x 10^1\n", i + 1, 1e9 * median(t[i], REPETITIONS),
           median(t[i], REPETITIONS) / first);
  printf("  check: mean increment off by %.3f %% at most, allowed %.3f %%: %s\n", 100 * worst, 100 * allowed,
         ok ? "ok" : "FAILED");
  printf("hold       10^5 pending, by increment\n");
  for (increment k = EXPONENTIAL; k < KINDS; k++) {
    for (int r = 0; r < REPETITIONS; r++) t[0][r] = hold_s(k, 100000, holds / 4, &mean);
    printf("  %-18s %8.1f ns a hold   mean increment %.3f\n", increment_name[k],
           1e9 * median(t[0], REPETITIONS), mean);
    ok = ok && fabs(mean - 1) < 20 / sqrt((double)holds);
  }
  return ok;
}

static void print_machine(void) {
  char line[256];
  FILE *f = fopen("/proc/cpuinfo", "r");
  while (f && fgets(line, sizeof line, f))
    if (strncmp(line, "model name", 10) == 0) {
      printf("machine    %s", strchr(line, ':') + 2);
      break;
    }
  if (f) (void)fclose(f);
}

int main(int argc, char **argv) {
  bool quick = argc == 2 && strcmp(argv[1], "--quick") == 0;
  if (argc > 2 || (argc == 2 && !quick)) {
    (void)fprintf(stderr, "usage: bench_des [--quick]\n");
    return 2;
  }
  print_machine();
  bool mm1 = bench_mm1(quick), hold_ok = bench_hold(quick);
  return mm1 && hold_ok ? 0 : 1;
}
