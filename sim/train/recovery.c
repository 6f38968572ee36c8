/* SPDX-License-Identifier: Apache-2.0 */
/* Definitions, closed forms and the hands that run replications; the life of one is in recovery_life.c. */
#include "recovery_private.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <fleetcast/base/assert.h>

const char *fc_held_word(fc_held held) {
  static const char *const word[] = {
#define HELD_WORD(name, word, text) word,
      FC_HELD_MAP(HELD_WORD)
#undef HELD_WORD
  };
  return word[held];
}

const char *fc_held_text(fc_held held) {
  static const char *const text[] = {
#define HELD_TEXT(name, word, text) text,
      FC_HELD_MAP(HELD_TEXT)
#undef HELD_TEXT
  };
  return text[held];
}

double fc_hazard_units(const fc_recovery_def *def, const fc_hazard *hazard) {
  if (hazard->level == FC_HAZARD_RUN) return 1;
  return (double)(hazard->level == FC_HAZARD_NODE ? def->devices / def->node_devices : def->devices);
}

bool fc_hazard_is_fault(const fc_hazard *hazard) {
  return !hazard->planned && !(fc_dist_median(&hazard->slowdown) > 1);
}

/* --- checks --- */

static bool is_time(const fc_dist *d, double least) {
  if (!fc_dist_is_valid(d)) return false;
  double low = fc_dist_quantile(d, 1e-9);
  return low >= least && isfinite(fc_dist_quantile(d, 1 - 1e-9));
}

static const char *hazard_fault(const fc_hazard *h) {
  static const double least = 1e-3; /* a millisecond: anything shorter is a mistake */
  if (!fc_dist_is_valid(&h->mtbf_s) || !(fc_dist_quantile(&h->mtbf_s, 1e-9) >= least))
    return "the time between occurrences must be positive";
  if (h->law == FC_HAZARD_WEIBULL && !(h->shape >= 0.1 && h->shape <= 100))
    return "the shape must be within [0.1, 100]";
  if (h->law == FC_HAZARD_REGULAR && h->level != FC_HAZARD_RUN)
    return "what comes at regular times comes to the whole run";
  if (!(h->replaces >= 0 && h->replaces <= 1) || !(h->systematic >= 0 && h->systematic <= 1))
    return "shares must be within [0, 1]";
  if (h->systematic > 0 && !(h->found > 0 && h->found <= 1))
    return "the chance of a diagnosis must be within (0, 1]";
  if (h->systematic > 0 && !(h->recurs_s >= 1 && isfinite(h->recurs_s)))
    return "the time until a fault comes back must be at least a second";
  if (!is_time(&h->slowdown, 1)) return "a slowdown must be at least 1";
  if (!is_time(&h->detect_s, 0) || !is_time(&h->restart_s, 0))
    return "detection and restart must not be negative";
  if (fc_dist_median(&h->slowdown) > 1 && (h->planned || h->systematic > 0))
    return "a straggler is neither planned nor systematic";
  return NULL;
}

static const char *def_fault(const fc_recovery_def *d) {
  if (d->devices < 1 || d->node_devices < 1 || d->devices % d->node_devices != 0)
    return "the devices must be whole nodes";
  if (d->devices > 100000000 || d->spare_nodes < 0 || d->spare_nodes > 1000000)
    return "the spare nodes must be within [0, 1000000]";
  if (d->group_devices < 0 || d->group_devices > d->devices) return "a group must be part of the run";
  if (d->n_phases < 1 || d->n_phases > FC_RECOVERY_PHASES) return "a run has 1 to 16 phases";
  if (d->n_hazards > FC_RECOVERY_HAZARDS) return "at most 32 hazards";
  if (!(d->checkpoint_s >= 0) || !isfinite(d->checkpoint_s))
    return "the checkpoint interval must not be negative";
  if (!is_time(&d->checkpoint_write_s, 0) || !is_time(&d->checkpoint_flush_s, 0) || !is_time(&d->repair_s, 0))
    return "checkpoint and repair times must not be negative";
  if (d->replications < 1 || d->replications > 1000000) return "replications must be within [1, 1000000]";
  for (size_t i = 0; i < d->n_phases; i++) {
    const fc_recovery_phase *p = &d->phases[i];
    if (!(p->work_s >= 1e-6 && p->work_s <= 3e9))
      return "a phase must take between a microsecond and a century";
    if (!(p->setup_s >= 0 && p->setup_s <= 1e8) || !(p->log_sd >= 0 && p->log_sd <= 3))
      return "setup and uncertainty of a phase must not be negative";
  }
  return NULL;
}

fc_status fc_recovery_check(const fc_recovery_def *def, char *why) {
  if (why) *why = '\0';
  const char *fault = def_fault(def), *name = "the run";
  for (size_t i = 0; i < def->n_hazards && !fault; i++) {
    fault = hazard_fault(&def->hazards[i]);
    if (!fault && def->hazards[i].law == FC_HAZARD_WEIBULL && fc_hazard_units(def, &def->hazards[i]) > 1e6)
      fault = "units that age are followed one by one: at most a million";
    name = def->hazards[i].name;
  }
  if (!fault) return FC_OK;
  if (why) (void)snprintf(why, 256, "%.64s: %s", name ? name : "a hazard", fault);
  return FC_E_DOMAIN;
}

/* --- closed forms --- */

double fc_recovery_rate(const fc_recovery_def *def) {
  double rate = 0;
  for (size_t i = 0; i < def->n_hazards; i++) {
    const fc_hazard *h = &def->hazards[i];
    if (!fc_hazard_is_fault(h)) continue;
    double again = h->systematic > 0 ? h->systematic * (1 - h->found) / h->found : 0;
    rate += fc_hazard_units(def, h) / fc_dist_median(&h->mtbf_s) * (1 + again);
  }
  return rate;
}

double fc_recovery_interval_s(const fc_recovery_def *def) {
  if (def->checkpoint_s > 0) return def->checkpoint_s;
  double rate = fc_recovery_rate(def), write = fc_dist_median(&def->checkpoint_write_s);
  if (!(rate > 0)) return (double)INFINITY;
  return fmax(fmax(sqrt(2 * write / rate), write), 1); /* below a second steps are not divisible */
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double fc_sample_quantile(double *value, size_t n, double p) {
  FC_ASSERT(n >= 1 && p >= 0 && p <= 1);
  qsort(value, n, sizeof *value, by_value);
  double at = p * (double)(n - 1);
  size_t i = (size_t)at;
  if (i + 1 >= n) return value[n - 1];
  return value[i] + (at - (double)i) * (value[i + 1] - value[i]);
}

/* --- hands --- */

/* Replications are independent and each has a place of its own: the number of hands changes nothing. */
typedef struct {
  fc_recovery_sample *sample;
  const fc_recovery_def *def;
  atomic_size_t next;
  atomic_int status;
} pool;

static void *work(void *context) {
  pool *p = context;
  for (size_t i; (i = atomic_fetch_add(&p->next, 1)) < p->def->replications;) {
    if (atomic_load(&p->status) != FC_OK) break;
    fc_status status =
        p->def->cancel && *p->def->cancel ? FC_E_CANCELLED : fc_recovery_life(&p->sample[i], p->def, i);
    if (status != FC_OK) atomic_store(&p->status, (int)status);
  }
  return NULL;
}

fc_status fc_recovery_run(fc_recovery_sample *sample, const fc_recovery_def *def, char *why) {
  enum { MOST = 64 };
  fc_status status = fc_recovery_check(def, why);
  if (status != FC_OK) return status;
  pool p = {.sample = sample, .def = def};
  pthread_t thread[MOST];
  size_t hands = def->threads ? def->threads : 1, started = 0;
  for (; started + 1 < hands && started < MOST && started + 1 < def->replications; started++)
    if (pthread_create(&thread[started], NULL, work, &p)) break; /* fewer hands, same work */
  (void)work(&p);
  for (size_t i = 0; i < started; i++) (void)pthread_join(thread[i], NULL);
  status = (fc_status)atomic_load(&p.status);
  if (status == FC_E_INFEASIBLE) {
    if (why)
      (void)snprintf(why, 256,
                     "the run makes no headway: it takes more than a hundred times its work; "
                     "checkpoint more often, restart faster or fail less");
    return FC_E_DOMAIN;
  }
  return status;
}
