/* SPDX-License-Identifier: Apache-2.0 */
/* What the page and the tables of a training run have in common. */
#include "train_tables.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const double s_per_h = 3600, s_per_day = 86400, j_per_kwh = 3.6e6;

/* --- parts --- */

const char *const fc_train_part_word[TRAIN_PARTS] = {
    "attention", "dense",         "experts",   "glue", "head",  "launch", "communication",
    "bubble",    "data parallel", "optimizer", "host", "other", "step"};

double fc_train_part_s(const fc_train_step *s, size_t part) {
  const double v[] = {s->attention_s, s->dense_s,  s->experts_s, s->glue_s,      s->head_s, s->launch_s,
                      s->comm_s,      s->bubble_s, s->data_s,    s->optimizer_s, s->host_s};
  enum { NAMED = sizeof v / sizeof *v };
  if (part < NAMED) return v[part];
  if (part == TRAIN_PARTS - 1) return s->seconds;
  double sum = 0;
  for (size_t i = 0; i < NAMED; i++) sum += v[i];
  double rest = s->seconds - sum; /* what the step has beside the named parts */
  return fabs(rest) < 1e-9 * s->seconds ? 0 : rest;
}

const char *const fc_train_store_word[TRAIN_STORES] = {"weights", "gradients",     "optimizer", "activations",
                                                       "buffers", "fragmentation", "other",     "all"};

/* "other" is what the total has beside the named ones. */
double fc_train_store_bytes(const fc_train_memory *m, size_t store) {
  const double v[] = {m->weight_bytes,     m->gradient_bytes, m->optimizer_bytes,
                      m->activation_bytes, m->buffer_bytes,   m->fragment_bytes};
  enum { NAMED = sizeof v / sizeof *v };
  if (store < NAMED) return v[store];
  double rest = m->total_bytes;
  for (size_t i = 0; i < NAMED && store == NAMED; i++) rest -= v[i];
  return rest;
}

/* --- figures --- */

static const struct {
  const char *word, *unit;
} figures[FC_TRAIN_FIGURES] = {
    [FC_TRAIN_DAYS] = {"days", "d"},
    [FC_TRAIN_DEVICE_HOURS] = {"device_hours", "device-h"},
    [FC_TRAIN_HELD_HOURS] = {"held_device_hours", "device-h"},
    [FC_TRAIN_GOODPUT] = {"goodput", ""},
    [FC_TRAIN_TOKENS_PER_DAY] = {"tokens_per_day", "tokens/d"},
    [FC_TRAIN_INTERRUPTIONS] = {"interruptions", ""},
    [FC_TRAIN_UNEXPECTED] = {"unexpected", ""},
    [FC_TRAIN_MFU] = {"mfu", ""},
    [FC_TRAIN_MFU_WALL] = {"mfu_wall", ""},
    [FC_TRAIN_ENERGY] = {"energy", "kWh"},
};

const char *fc_train_figure_word(fc_train_figure figure) {
  return figures[figure].word;
}

const char *fc_train_figure_unit(fc_train_figure figure) {
  return figures[figure].unit;
}

double fc_train_window_s(const fc_train_answer *a) {
  return a->def->reported.window_s;
}

/* Of what was counted over a whole life. */
static double in_window(const fc_train_answer *a, const fc_recovery_sample *s, double count) {
  double window = fc_train_window_s(a);
  return window > 0 ? count * window / s->wall_s : count;
}

static const fc_train_phase_answer *first_composed(const fc_train_answer *a) {
  for (size_t i = 0; i < a->n_phases; i++)
    if (a->phase[i].composed) return &a->phase[i];
  return NULL;
}

/* Of the first composed phase: while computing, or over its wall time. */
static double mfu_of(const fc_train_answer *a, const fc_recovery_sample *s, bool wall) {
  const fc_train_phase_answer *p = first_composed(a);
  if (!p) return 0;
  const fc_device *d = a->def->profile->device;
  double peak = d->peak_flop_per_s[FC_DTYPE_BF16];
  if (!(peak > 0)) peak = d->peak_flop_per_s[FC_DTYPE_FP8];
  double flop = p->estimate.flop_per_token * p->tokens;
  double seconds = wall ? s->phase_s[p - a->phase] : p->update_s * s->step_factor;
  return peak > 0 ? flop / (seconds * peak * (double)a->def->devices) : 0;
}

double fc_train_figure_of(const fc_train_answer *a, const fc_recovery_sample *s, fc_train_figure figure) {
  double devices = (double)a->def->devices, tokens = 0;
  switch (figure) {
  case FC_TRAIN_DAYS: return s->wall_s / s_per_day;
  case FC_TRAIN_DEVICE_HOURS: return devices * s->wall_s / s_per_h;
  case FC_TRAIN_HELD_HOURS: return (devices + (double)a->costs->spare_devices) * s->wall_s / s_per_h;
  case FC_TRAIN_GOODPUT: return s->goodput;
  case FC_TRAIN_TOKENS_PER_DAY:
    for (size_t i = 0; i < a->n_phases; i++) tokens += a->phase[i].tokens;
    return tokens / s->wall_s * s_per_day;
  case FC_TRAIN_INTERRUPTIONS: return in_window(a, s, (double)s->interruptions);
  case FC_TRAIN_UNEXPECTED: return in_window(a, s, (double)s->unexpected);
  case FC_TRAIN_MFU: return mfu_of(a, s, false);
  case FC_TRAIN_MFU_WALL: return mfu_of(a, s, true);
  case FC_TRAIN_ENERGY:
    return fc_ledger_energy_j(a->costs, s) * fc_dist_median(&a->costs->cost[FC_COST_PUE]) / j_per_kwh;
  case FC_TRAIN_FIGURES: break;
  }
  return 0;
}

double fc_train_published(const fc_train_answer *a, fc_train_figure figure) {
  const fc_train_reported *r = &a->def->reported;
  switch (figure) {
  case FC_TRAIN_DAYS: return r->wall_s / s_per_day;
  case FC_TRAIN_DEVICE_HOURS: return r->device_s / s_per_h;
  case FC_TRAIN_GOODPUT: return r->goodput;
  case FC_TRAIN_INTERRUPTIONS: return r->interruptions;
  case FC_TRAIN_UNEXPECTED: return r->unexpected;
  case FC_TRAIN_MFU: return r->mfu;
  default: return 0;
  }
}

double fc_train_sample_figure(const fc_train_answer *a, const fc_recovery_sample *s, size_t figure) {
  return fc_train_figure_of(a, s, (fc_train_figure)figure);
}

double fc_train_sample_held(const fc_train_answer *a, const fc_recovery_sample *s, size_t held) {
  (void)a;
  return s->device_s[held] / s_per_h;
}

double fc_train_sample_phase(const fc_train_answer *a, const fc_recovery_sample *s, size_t phase) {
  return (double)a->def->devices * s->phase_s[phase] / s_per_h;
}

double fc_train_sample_stops(const fc_train_answer *a, const fc_recovery_sample *s, size_t hazard) {
  return in_window(a, s, (double)s->count[hazard]);
}

fc_status fc_train_range_of(fc_train_range *out, const fc_train_answer *a,
                            double (*of)(const fc_train_answer *answer, const fc_recovery_sample *sample,
                                         size_t index),
                            size_t index) {
  double *v = malloc(a->n_samples * sizeof *v);
  if (!v) return FC_E_NOMEM;
  for (size_t i = 0; i < a->n_samples; i++) v[i] = of(a, &a->sample[i], index);
  out->low = fc_sample_quantile(v, a->n_samples, 0.05);
  out->median = fc_sample_quantile(v, a->n_samples, 0.5);
  out->high = fc_sample_quantile(v, a->n_samples, 0.95);
  free(v);
  return FC_OK;
}

double fc_train_spread(double log_sd) {
  return exp(fc_normal_quantile(0.95) * log_sd);
}
