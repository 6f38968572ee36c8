/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_search_private.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *fc_train_state_text(fc_train_state state) {
#define FC_TRAIN_STATE_WORDS(name, text) [FC_TRAIN_##name] = (text),
  static const char *const word[FC_TRAIN_STATES] = {FC_TRAIN_STATE_MAP(FC_TRAIN_STATE_WORDS)};
#undef FC_TRAIN_STATE_WORDS
  return word[state];
}

/* --- the definition --- */

static const char *choices_fault(const fc_train_search_def *d) {
  const struct {
    const fc_train_choices *of;
    int64_t low, high;
  } all[] = {{&d->tp, 1, INT32_MAX},
             {&d->pp, 1, INT32_MAX},
             {&d->cp, 1, INT32_MAX},
             {&d->ep, 1, INT32_MAX},
             {&d->virtual_stages, 1, 1000},
             {&d->micro_batch, 1, INT32_MAX},
             {&d->global_batch, 1, 1000000000},
             {&d->zero, 0, 3},
             {&d->schedule, 0, SCHEDULES - 1},
             {&d->recompute, 0, FC_RECOMPUTE_FULL},
             {&d->gemm, 0, FC_DTYPE_COUNT - 1}};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    if (all[i].of->n > CHOICES_MAX) return "more choices of a degree than the search holds";
    for (size_t k = 0; k < all[i].of->n; k++)
      if (all[i].of->value[k] < all[i].low || all[i].of->value[k] > all[i].high)
        return "a degree's choice is outside its domain";
  }
  for (size_t k = 1; k < d->recompute.n; k++)
    if (d->recompute.value[k] <= d->recompute.value[k - 1]) return "recomputation must ascend";
  return NULL;
}

static bool is_amount(double value) {
  return value >= 0 && isfinite(value);
}

static const char *fault_of(const fc_train_search_def *d) {
  if (!d->model || !d->n_devices) return "no model, or no device to choose from";
  if (!(d->tokens > 0) || !isfinite(d->tokens)) return "the run must have tokens";
  if (!is_amount(d->wall_s) || !is_amount(d->usd) || !is_amount(d->batch_tokens) || d->devices_max < 0)
    return "limits and batch must not be negative";
  if (!(d->memory >= 0 && d->memory <= 1)) return "the memory's share must be within 0 to 1";
  if (!(d->margin >= 0 && d->margin <= 1)) return "margin must be within 0 to 1";
  const fc_failure *f = &d->failure;
  if (!(f->device_mtbf_s > 0) || !is_amount(f->restart_s) || !is_amount(f->checkpoint_s) ||
      !is_amount(f->checkpoint_write_s))
    return "failure times must be non-negative, the time between failures positive";
  for (size_t i = 0; i < d->n_devices; i++) {
    if (!(d->devices[i].usd_per_s > 0) || !isfinite(d->devices[i].usd_per_s))
      return "every device needs a price";
    if (!d->devices[i].n_counts) return "every device needs a count";
    for (size_t k = 0; k < d->devices[i].n_counts; k++)
      if (d->devices[i].counts[k] < 1 || d->devices[i].counts[k] > INT32_MAX)
        return "counts of devices must be at least 1";
  }
  return choices_fault(d);
}

/* --- hands --- */

/* One piece of work has a place of its own, so that the number of hands changes nothing. */
typedef struct {
  const search *s;
  void (*one)(void *context, size_t i);
  void *context;
  size_t n;
  atomic_size_t next;
} pool;

static bool is_cancelled(const search *s) {
  return s->def->cancel && *s->def->cancel;
}

static void *worker(void *context) {
  pool *p = context;
  for (;;) {
    size_t i = atomic_fetch_add(&p->next, 1);
    if (i >= p->n || is_cancelled(p->s)) return NULL;
    p->one(p->context, i);
  }
}

fc_status fc_train_search_hands(const search *s, void (*one)(void *context, size_t i), void *context,
                                size_t n) {
  enum { MOST = 64 };
  pthread_t thread[MOST];
  pool p = {.s = s, .one = one, .context = context, .n = n};
  size_t hands = s->def->threads, started = 0;
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  if (!hands) hands = online > 0 ? (size_t)online : 1;
  if (hands > n) hands = n;
  if (hands > MOST) hands = MOST;
  for (; started + 1 < hands; started++)
    if (pthread_create(&thread[started], NULL, worker, &p)) break; /* fewer hands, same work */
  (void)worker(&p);
  for (size_t i = 0; i < started; i++) (void)pthread_join(thread[i], NULL);
  return is_cancelled(s) ? FC_E_CANCELLED : FC_OK;
}

/* --- groups and units --- */

static double price_of(const search *s, const group *g) {
  return s->def->devices[g->device].usd_per_s * (double)g->devices;
}

static fc_status make_groups(search *s) {
  size_t n = 0;
  for (size_t i = 0; i < s->def->n_devices; i++) n += s->def->devices[i].n_counts;
  s->group = calloc(n + 1, sizeof *s->group);
  if (!s->group) return FC_E_NOMEM;
  for (size_t i = 0; i < s->def->n_devices; i++)
    for (size_t k = 0; k < s->def->devices[i].n_counts; k++) {
      group g = {.device = i, .devices = s->def->devices[i].counts[k]};
      if (s->def->devices_max > 0 && g.devices > s->def->devices_max) {
        s->out->count[FC_TRAIN_DEVICES]++;
        continue;
      }
      g.goodput = fc_train_goodput(&s->def->failure, (double)g.devices);
      if (!(g.goodput > 0)) {
        s->out->count[FC_TRAIN_STANDSTILL]++;
        continue;
      }
      double per_token = s->def->tokens / g.goodput;
      g.late_token_s = s->def->wall_s > 0 ? s->def->wall_s / per_token : (double)INFINITY;
      g.dear_token_s = s->def->usd > 0 ? s->def->usd / price_of(s, &g) / per_token : (double)INFINITY;
      s->group[s->n_groups++] = g;
    }
  return FC_OK;
}

/* Counts the units, or fills them in. */
static void deal_units(search *s, unit *to) {
  s->n_units = 0;
  for (size_t i = 0; i < s->n_groups; i++) {
    const group *g = &s->group[i];
    choices tp = fc_train_choices_tp(s, g), cp = fc_train_choices_cp(s);
    for (size_t a = 0; a < tp.n; a++)
      for (size_t b = 0; b < cp.n; b++) {
        choices pp = fc_train_choices_pp(s, g, tp.value[a], cp.value[b]);
        for (size_t c = 0; c < pp.n; c++) {
          if (to) to[s->n_units] = (unit){.of = g, .tp = tp.value[a], .cp = cp.value[b], .pp = pp.value[c]};
          s->n_units++;
        }
      }
  }
}

static fc_status make_units(search *s) {
  deal_units(s, NULL);
  s->unit = calloc(s->n_units + 1, sizeof *s->unit);
  if (!s->unit) return FC_E_NOMEM;
  deal_units(s, s->unit);
  for (size_t i = 0; i < s->n_units; i++)
    s->unit[i].near.token_s = s->unit[i].leanest_bytes = (double)INFINITY;
  return FC_OK;
}

static void try_one(void *context, size_t i) {
  const search *s = context;
  fc_train_try_unit(s, &s->unit[i]);
}

static int by_count(const void *a, const void *b) {
  const fc_train_reason *x = a, *y = b;
  if (x->count != y->count) return x->count > y->count ? -1 : 1;
  return strcmp(x->text, y->text);
}

static void add_reason(fc_train_search_result *out, const fc_train_reason *from) {
  for (size_t i = 0; i < out->n_reasons; i++)
    if (strcmp(out->reason[i].text, from->text) == 0) {
      out->reason[i].count += from->count;
      return;
    }
  if (out->n_reasons < FC_TRAIN_REASONS) out->reason[out->n_reasons++] = *from;
}

static void add_up(search *s) {
  fc_train_search_result *out = s->out;
  out->leanest_bytes = (double)INFINITY;
  for (size_t i = 0; i < s->n_units; i++) {
    const unit *u = &s->unit[i];
    for (int k = 0; k < FC_TRAIN_STATES; k++) out->count[k] += u->count[k];
    for (size_t k = 0; k < u->n_reasons; k++) add_reason(out, &u->reason[k]);
    double room = s->def->devices[u->of->device].profile->device->memory_bytes;
    double least = s->def->devices[out->leanest_device].profile->device->memory_bytes;
    if (u->leanest_bytes - room < out->leanest_bytes - least || isinf(out->leanest_bytes)) {
      out->leanest_bytes = u->leanest_bytes;
      out->leanest_device = u->of->device;
    }
  }
  for (int k = 0; k < FC_TRAIN_STATES; k++) out->tried += out->count[k];
  qsort(out->reason, out->n_reasons, sizeof *out->reason, by_count);
}

/* --- the search --- */

static void fill_base(search *s) {
  fc_train_plan *p = &s->base;
  *p = s->def->base;
  p->virtual_stages = 1;
  if (p->sequence < 1) p->sequence = 4096; /* as fc_train_estimate_auto */
  if (!(p->expert_imbalance >= 1)) p->expert_imbalance = 1;
  if (!(p->overlap > 0)) p->overlap = FC_TRAIN_OVERLAP;
  s->memory = s->def->memory > 0 ? s->def->memory : 1;
}

fc_status fc_train_search_run(fc_train_search_result *out, const fc_train_search_def *def, char *why) {
  *out = (fc_train_search_result){0};
  if (why) *why = '\0';
  const char *fault = fault_of(def);
  if (fault) {
    if (why) (void)snprintf(why, 256, "%s", fault);
    return FC_E_DOMAIN;
  }
  search s = {.def = def, .out = out};
  fill_base(&s);
  fc_status status = make_groups(&s);
  if (status == FC_OK) status = make_units(&s);
  if (status == FC_OK) status = fc_train_search_hands(&s, try_one, &s, s.n_units);
  for (size_t i = 0; s.unit && i < s.n_units && status == FC_OK; i++) status = s.unit[i].status;
  if (status == FC_OK) {
    add_up(&s);
    status = fc_train_search_conclude(&s);
  }
  if (status == FC_OK) fc_train_search_explain(&s);
  for (size_t i = 0; s.unit && i < s.n_units; i++) free(s.unit[i].found);
  free(s.group);
  free(s.unit);
  if (status != FC_OK) fc_train_search_result_fini(out);
  return status;
}

void fc_train_search_result_fini(fc_train_search_result *result) {
  free(result->best);
  free(result->near);
  free(result->nothing);
  *result = (fc_train_search_result){0};
}
