/* SPDX-License-Identifier: Apache-2.0 */
#include "family.h"

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* --- the profile --- */

struct fc_readiness {
  pthread_mutex_t lock;
  bool of[]; /* each predictor */
};

fc_status fc_predictors_init(fc_predictors *out, const fc_profile *profile) {
  size_t n = profile->n_kernels;
  *out = (fc_predictors){.device = profile->device, .n = n, .fit = profile->kernels};
  out->predictor = malloc((n + 1) * sizeof *out->predictor);
  out->format = malloc((n + 1) * sizeof(const fc_format *));
  out->kv_format = malloc((n + 1) * sizeof(const fc_format *));
  out->readiness = calloc(1, sizeof *out->readiness + n * sizeof(bool));
  if (out->readiness) (void)pthread_mutex_init(&out->readiness->lock, NULL);
  if (!out->predictor || !out->format || !out->kv_format || !out->readiness) {
    fc_predictors_fini(out);
    return FC_E_NOMEM;
  }
  for (size_t i = 0; i < n; i++) {
    const fc_kernel_fit *fit = &profile->kernels[i];
    const char *format = fit->format ? fit->format : fc_dtype_text(fit->dtype);
    out->format[i] = fc_format_find(format, strlen(format));
    out->kv_format[i] = fit->kv_format ? fc_format_find(fit->kv_format, strlen(fit->kv_format)) : NULL;
  }
  return FC_OK;
}

void fc_predictors_fini(fc_predictors *predictors) {
  free(predictors->predictor);
  free(predictors->format);
  free(predictors->kv_format);
  if (predictors->readiness) (void)pthread_mutex_destroy(&predictors->readiness->lock);
  free(predictors->readiness);
  *predictors = (fc_predictors){0};
}

static const fc_predictor *make_ready(const fc_predictors *p, size_t i) {
  fc_predictor *predictor = &p->predictor[i];
  (void)pthread_mutex_lock(&p->readiness->lock);
  if (!p->readiness->of[i]) fc_predictor_init(predictor, &p->fit[i], p->device);
  p->readiness->of[i] = true;
  (void)pthread_mutex_unlock(&p->readiness->lock);
  return predictor;
}

/* --- which fits answer --- */

/* How long bytes take to cross a link does not depend on what they stand for. */
static bool is_transfer(fc_op_id id) {
  return id >= FC_OP_ALL_REDUCE;
}

typedef enum { EXACT, SAME_DTYPE, ANY_DTYPE } closeness;

static bool answers(const fc_predictors *p, size_t i, const fc_measured *m, closeness close) {
  const fc_kernel_fit *fit = &p->fit[i];
  if (fit->kernel != fc_op_kernel(m->id)) return false;
  switch (close) {
  case EXACT: return p->format[i] == m->format && p->kv_format[i] == m->kv_format;
  case SAME_DTYPE: return fit->dtype == m->format->dtype;
  default: return is_transfer(m->id);
  }
}

static bool has_impl(const fc_kernel_fit *fit, const fc_slice *impl) {
  return fit->impl && impl->length > 0 && strlen(fit->impl) == impl->length &&
         memcmp(fit->impl, impl->text, impl->length) == 0;
}

static size_t choose(const fc_predictor **out, const fc_predictors *p, const fc_row_family *f,
                     closeness close, bool own_impl) {
  size_t n = 0;
  for (size_t i = 0; i < p->n; i++)
    if (answers(p, i, &f->measured, close) && (!own_impl || has_impl(&p->fit[i], &f->text[FC_MEASURE_impl])))
      out[n++] = make_ready(p, i);
  return n;
}

/* The row's own implementation where it is told, else all. */
static bool resolve(fc_row_family *f, const fc_predictors *p) {
  f->fit = malloc((p->n + 1) * sizeof(const fc_predictor *));
  if (!f->fit) return false;
  for (int close = EXACT; close <= ANY_DTYPE && f->n == 0; close++) {
    f->n = choose(f->fit, p, f, (closeness)close, true);
    if (f->n > 0) continue;
    f->n = choose(f->fit, p, f, (closeness)close, false);
    f->others = f->n > 0 && f->text[FC_MEASURE_impl].length > 0;
  }
  const fc_predictor **less = realloc((void *)f->fit, (f->n + 1) * sizeof(const fc_predictor *));
  if (less) f->fit = less;
  return true;
}

void fc_family_predict(fc_prediction *out, const fc_row_family *family, const fc_op *op, size_t n) {
  fc_predict_all(out, family->fit[0], op, n);
  for (size_t k = 1; k < family->n; k++) {
    fc_prediction other[FC_FAMILY_MANY];
    fc_predict_all(other, family->fit[k], op, n);
    for (size_t i = 0; i < n; i++)
      if (isnan(out[i].seconds) || other[i].seconds < out[i].seconds) out[i] = other[i];
  }
}

/* --- the set --- */

static uint64_t hash_of(const fc_measure_row *row) {
  uint64_t h = 0xcbf29ce484222325u;
  for (int i = 0; i < FC_KEY_TEXTS; i++) {
    const char *p = row->text[i].text;
    size_t n = row->text[i].length;
    h = (h ^ n) * 0x9e3779b97f4a7c15u;
    for (; n > 0; p += 8) {
      uint64_t word = 0;
      size_t take = n < 8 ? n : 8;
      memcpy(&word, p, take);
      h = (h ^ word) * 0x9e3779b97f4a7c15u;
      h ^= h >> 29;
      n -= take;
    }
  }
  return h;
}

static bool is_of(const fc_row_family *f, const fc_measure_row *row) {
  for (int i = 0; i < FC_KEY_TEXTS; i++) {
    const fc_slice *a = &f->text[i], *b = &row->text[i];
    if (a->length != b->length || (a->length > 0 && memcmp(a->text, b->text, a->length) != 0)) return false;
  }
  return true;
}

static size_t *slot_for(const fc_families *s, uint64_t hash, const fc_measure_row *row) {
  for (size_t i = hash & (s->n_slots - 1);; i = (i + 1) & (s->n_slots - 1)) {
    size_t *slot = &s->slot[i];
    if (*slot == 0 || (s->item[*slot - 1].hash == hash && is_of(&s->item[*slot - 1], row))) return slot;
  }
}

static bool widen(fc_families *s) {
  size_t room = s->room ? 2 * s->room : 64, n_slots = 4 * room;
  fc_row_family *item = realloc(s->item, room * sizeof *item);
  if (!item) return false;
  s->item = item;
  size_t *slot = calloc(n_slots, sizeof *slot);
  if (!slot) return false;
  free(s->slot);
  s->slot = slot;
  s->room = room;
  s->n_slots = n_slots;
  for (size_t k = 0; k < s->n; k++) {
    size_t i = item[k].hash & (n_slots - 1);
    while (slot[i]) i = (i + 1) & (n_slots - 1);
    slot[i] = k + 1;
  }
  return true;
}

fc_row_family *fc_families_at(fc_families *s, const fc_predictors *predictors, const fc_measure_row *row) {
  if (s->n > 0 && memcmp(s->asked, row->text, sizeof s->asked) == 0) return &s->item[s->last]; /* the same */
  memcpy(s->asked, row->text, sizeof s->asked);
  if (s->n > 0 && is_of(&s->item[s->last], row)) return &s->item[s->last]; /* files are sorted, mostly */
  if (s->n == s->room && !widen(s)) return NULL;
  uint64_t hash = hash_of(row);
  size_t *slot = slot_for(s, hash, row);
  if (*slot == 0) {
    fc_row_family f = {.hash = hash, .merged = SIZE_MAX};
    memcpy(f.text, row->text, sizeof f.text);
    f.known = fc_measured_find(&f.measured, row, &f.fault);
    if (f.known && !resolve(&f, predictors)) return NULL;
    s->item[s->n++] = f;
    *slot = s->n;
  }
  s->last = *slot - 1;
  return &s->item[s->last];
}

void fc_families_fini(fc_families *families) {
  for (size_t i = 0; i < families->n; i++) {
    free((void *)families->item[i].fit);
    fc_score_tally_fini(&families->item[i].tally);
  }
  free(families->item);
  free(families->slot);
  *families = (fc_families){0};
}
