/* SPDX-License-Identifier: Apache-2.0 */
#include "measure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

fc_protocol fc_protocol_default(bool gpu, bool quick) {
  /* design notes, kernels.md section 4; a CPU's points are shorter: its whole pass takes under a minute */
  fc_protocol p = {
      .replay_s = 200e-6, .window_s = 20e-3, .settle = 0.02, .warm_max_s = 0.3, .min_samples = 7};
  p.min_total_s = 20e-3;
  p.max_total_s = 0.6;
  p.max_iqr = 0.01;
  p.max_error = 0.003;
  p.rest = 4;
  p.sustained_s = 1;
  p.throttled = 0.75;
  p.clock_drift = 0.03;
  if (quick) {
    p.min_total_s = 10e-3;
    p.max_total_s = 0.25;
    p.warm_max_s = 0.1;
  }
  if (!gpu) {
    p.window_s = 2e-3;
    p.settle = 0.05;
    p.warm_max_s = 20e-3;
    p.min_samples = 5;
    p.min_total_s = quick ? 5e-3 : 10e-3;
    p.max_total_s = quick ? 30e-3 : 80e-3;
    p.max_iqr = 0.02;
    p.rest = 0;
    p.max_error = 0.01; /* a shared machine is rarely steady; many samples still know its median */
    p.sustained_s = 0.3;
    p.clock_drift = 0.1; /* neighbours of a shared machine move it more than heat does */
  }
  return p;
}

static double seconds(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double fc_sorted_quantile(const double *sorted, size_t n, double q) {
  double at = q * (double)(n - 1);
  size_t low = (size_t)at, high = low + 1 < n ? low + 1 : low;
  return sorted[low] + (at - (double)low) * (sorted[high] - sorted[low]);
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

void fc_sort(double *value, size_t n) {
  qsort(value, n, sizeof *value, ascending);
}

/* --- a run: one recording, replayed until its time is known --- */

enum { SAMPLES_MAX = 4096, LAUNCHES_MAX = 4096, TRIALS = 3 };
#define ROUND_MAX_S 10e-3 /* a replay once round all sets takes no longer */
#define TRIAL_MAX_S 0.1   /* nor is a longer one tried again: no hiccup of a machine lasts so long */

typedef struct {
  const fc_bench_device *device;
  const fc_protocol *protocol;
  const atomic_int *cancel;
  char *why;
  void *recording;
  size_t launches;            /* in the recording */
  bool flush;                 /* burst: rest between samples */
  double sample[SAMPLES_MAX]; /* seconds of a replay */
  size_t n, dropped;
} run;

static fc_status failed(run *r, int error) {
  (void)snprintf(r->why, FC_WHY, "timing: %s", r->device->text(error));
  return FC_E_IO;
}

static fc_status replay(run *r, double *took) {
  if (r->cancel && *r->cancel) return FC_E_CANCELLED;
  int error = r->device->replay(r->recording, took);
  return error ? failed(r, error) : FC_OK;
}

static void sleep_for(double s) {
  struct timespec t = {.tv_sec = (time_t)s, .tv_nsec = (long)(1e9 * (s - floor(s)))};
  (void)nanosleep(&t, NULL); /* cut short by a signal: the next look at `cancel` is near */
}

/* A burst starts from a cache of other data and a chip that has rested. */
static fc_status rest(run *r, double last) {
  if (!r->flush) return FC_OK;
  if (r->protocol->rest > 0 && last > 0) sleep_for(r->protocol->rest * last);
  int error = r->device->flush();
  return error ? failed(r, error) : FC_OK;
}

/* Until two successive windows agree. */
static fc_status warm_up(run *r) {
  bool rests = r->flush && r->protocol->rest > 0; /* then it is warmed up as it will be sampled */
  double busy_s = r->protocol->window_s / (rests ? 1 + r->protocol->rest : 1);
  double start = seconds(), last = 0;
  while (seconds() - start < r->protocol->warm_max_s) {
    double window = 0, took = 0;
    int n = 0;
    do {
      fc_status status = rests ? rest(r, took) : FC_OK;
      if (!status) status = replay(r, &took);
      if (status) return status;
      window += took;
      n++;
    } while (window < busy_s && seconds() - start < r->protocol->warm_max_s);
    double mean = window / n;
    if (last > 0 && fabs(mean - last) <= r->protocol->settle * last) break;
    last = mean;
  }
  return FC_OK;
}

static fc_status take_sample(run *r) {
  double took;
  fc_status status = rest(r, r->n > 0 ? r->sample[r->n - 1] : 0);
  if (!status) status = replay(r, &took);
  if (status) return status;
  r->sample[r->n++] = took;
  return FC_OK;
}

static bool is_settled(const run *r, double total) {
  if (r->n < (size_t)r->protocol->min_samples || total < r->protocol->min_total_s) return false;
  double sorted[SAMPLES_MAX];
  memcpy(sorted, r->sample, r->n * sizeof *sorted);
  fc_sort(sorted, r->n);
  double iqr = fc_sorted_quantile(sorted, r->n, 0.75) - fc_sorted_quantile(sorted, r->n, 0.25);
  double median = fc_sorted_quantile(sorted, r->n, 0.5);
  /* of a normal sample: sd = IQR / 1.349, standard error of the median 1.253 sd / sqrt(n) */
  double error = 0.929 * iqr / sqrt((double)r->n);
  return iqr <= r->protocol->max_iqr * median || error <= r->protocol->max_error * median;
}

static fc_status sample_burst(run *r, bool *timed_out) {
  double start = seconds(), total = 0;
  r->n = 0;
  while (!is_settled(r, total)) {
    if (r->n == SAMPLES_MAX || (r->n >= 3 && seconds() - start > r->protocol->max_total_s)) {
      *timed_out = true;
      break;
    }
    fc_status status = take_sample(r);
    if (status) return status;
    total += r->sample[r->n - 1];
  }
  return FC_OK;
}

/* Back to back; the last half counts. */
static fc_status sample_sustained(run *r) {
  double start = seconds(), half = 0;
  r->n = 0;
  while (seconds() - start < r->protocol->sustained_s && r->n < SAMPLES_MAX) {
    fc_status status = take_sample(r);
    if (status) return status;
    if (seconds() - start < r->protocol->sustained_s / 2) half = (double)r->n;
  }
  size_t first = (size_t)half < r->n ? (size_t)half : 0;
  memmove(r->sample, r->sample + first, (r->n - first) * sizeof *r->sample);
  r->n -= first;
  return FC_OK;
}

/* Samples of a chip that slowed down are not of the chip: they are dropped and counted, and the point is
 * taken once more when its clock moved. */
static fc_status sample(run *r, bool sustained, bool *timed_out, double *clock_mhz) {
  for (int attempt = 0; attempt < 2; attempt++) {
    double before = r->device->clock_mhz();
    *timed_out = false;
    fc_status status = sustained ? sample_sustained(r) : sample_burst(r, timed_out);
    if (status) return status;
    double after = r->device->clock_mhz();
    *clock_mhz = after;
    double most = fmax(before, after), least = fmin(before, after);
    bool moved = most > 0 && least < (1 - r->protocol->clock_drift) * most;
    if (sustained || !moved || attempt == 1) break;
    r->dropped += r->n;
  }
  return FC_OK;
}

static void summarise(fc_timing *out, run *r) {
  fc_sort(r->sample, r->n);
  double us = 1e6 / (double)r->launches;
  out->samples = r->n;
  out->dropped = r->dropped;
  out->median_us = us * fc_sorted_quantile(r->sample, r->n, 0.5);
  out->min_us = us * r->sample[0];
  out->p90_us = us * fc_sorted_quantile(r->sample, r->n, 0.9);
  out->iqr_us = us * (fc_sorted_quantile(r->sample, r->n, 0.75) - fc_sorted_quantile(r->sample, r->n, 0.25));
}

static fc_status time_recording(fc_timing *out, run *r, bool sustained) {
  fc_status status = warm_up(r);
  if (!status) status = sample(r, sustained, &out->timed_out, &out->clock_mhz);
  if (!status) summarise(out, r);
  return status;
}

/* How many launches fill a replay: from one of each set, timed. */
static fc_status launches_needed(run *r, const fc_bench_launch *list, size_t sets, bool by_queue,
                                 size_t *out) {
  int error = r->device->record(&r->recording, list, sets, by_queue);
  if (error) return failed(r, error);
  double round = 0, took;
  fc_status status = replay(r, &round); /* pays for page faults and module loads */
  /* the shortest: one interrupted round must not decide how all samples are taken */
  for (int i = 0; !status && i < TRIALS && (i == 0 || round < TRIAL_MAX_S); i++) {
    status = replay(r, &took);
    if (!status) round = i == 0 ? took : fmin(round, took);
  }
  r->device->discard(r->recording);
  r->recording = NULL;
  double one = round / (double)sets, need = one > 0 ? ceil(r->protocol->replay_s / one) : LAUNCHES_MAX;
  if (need < 1) need = 1;
  /* a replay goes round the sets, which keeps them cold, unless that takes too long */
  if (need < (double)sets && round <= ROUND_MAX_S) need = (double)sets;
  if (need > LAUNCHES_MAX) need = LAUNCHES_MAX;
  *out = (size_t)need;
  return status;
}

fc_status fc_measure(fc_timing *out, const fc_data *d, const fc_implementation *impl, void *const *states,
                     const fc_protocol *protocol, const atomic_int *cancel, char *why) {
  *out = (fc_timing){0};
  const fc_bench_case *c = &d->problem.c;
  run *r = calloc(1, sizeof *r);
  fc_bench_launch *list = calloc(LAUNCHES_MAX, sizeof *list);
  fc_status status = r && list ? FC_OK : FC_E_NOMEM;
  if (!status) {
    *r = (run){.device = d->device, .protocol = protocol, .cancel = cancel, .why = why};
    bool by_queue = c->op == FC_BENCH_LAUNCH && c->k == 0;
    for (size_t i = 0; i < LAUNCHES_MAX; i++) {
      size_t s = i % d->sets;
      list[i] = (fc_bench_launch){impl, &d->problem, &d->args[s], states[s]};
    }
    r->flush = !c->sustained && c->op != FC_BENCH_LAUNCH;
    status = launches_needed(r, list, d->sets, by_queue, &r->launches);
    out->went_round = r->launches >= d->sets;
    int error = status ? 0 : d->device->record(&r->recording, list, r->launches, by_queue);
    if (error) status = failed(r, error);
    if (!status) status = time_recording(out, r, c->sustained);
    if (r->recording) d->device->discard(r->recording);
  } else {
    (void)snprintf(why, FC_WHY, "out of memory");
  }
  free(list);
  free(r);
  return status;
}

fc_status fc_measure_list(fc_timing *out, const fc_bench_device *device, const fc_bench_launch *launch,
                          size_t n, const fc_protocol *protocol, const atomic_int *cancel, char *why) {
  *out = (fc_timing){0};
  run *r = calloc(1, sizeof *r);
  if (!r) {
    (void)snprintf(why, FC_WHY, "out of memory");
    return FC_E_NOMEM;
  }
  *r = (run){
      .device = device, .protocol = protocol, .cancel = cancel, .why = why, .launches = 1, .flush = true};
  int error = device->record(&r->recording, launch, n, false);
  fc_status status = error ? failed(r, error) : time_recording(out, r, false);
  if (r->recording) device->discard(r->recording);
  free(r);
  return status;
}
