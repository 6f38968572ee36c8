/* SPDX-License-Identifier: Apache-2.0 */
/* What is tried: the plans of one device, count, tp, cp and pp. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/cost/train_step.h>

#include "plan_search_private.h"

/* --- choices --- */

static bool given(choices *out, const fc_train_choices *from) {
  *out = (choices){.n = from->n < CHOICES_MAX ? from->n : CHOICES_MAX};
  for (size_t i = 0; i < out->n; i++) out->value[i] = from->value[i];
  return out->n > 0;
}

static void add(choices *c, int64_t value) {
  if (c->n < CHOICES_MAX) c->value[c->n++] = value;
}

static choices powers_up_to(int64_t most) {
  choices c = {0};
  for (int64_t v = 1; v <= most; v *= 2) add(&c, v);
  return c;
}

choices fc_train_choices_tp(const search *s, const group *g) {
  choices c;
  if (given(&c, &s->def->tp)) return c;
  int64_t domain = s->def->devices[g->device].profile->device->scaleup_devices;
  return powers_up_to(domain < 1 ? 1 : domain < 8 ? domain : 8);
}

choices fc_train_choices_cp(const search *s) {
  choices c;
  if (given(&c, &s->def->cp)) return c;
  int64_t most = s->base.sequence / 4096;
  return powers_up_to(most < 1 ? 1 : most < 16 ? most : 16);
}

choices fc_train_choices_pp(const search *s, const group *g, int64_t tp, int64_t cp) {
  choices c;
  if (given(&c, &s->def->pp)) return c;
  int64_t layers = s->def->model->layers, most = layers < CHOICES_MAX ? layers : CHOICES_MAX;
  c = (choices){0};
  for (int64_t pp = 1; pp <= most; pp++)
    if (g->devices % (tp * cp) == 0 && g->devices / (tp * cp) % pp == 0) add(&c, pp);
  return c;
}

choices fc_train_choices_ep(const search *s) {
  choices c;
  if (given(&c, &s->def->ep)) return c;
  int64_t experts = s->def->model->moe.experts;
  return powers_up_to(experts < 1 ? 1 : experts < 256 ? experts : 256);
}

static choices or_else(const fc_train_choices *from, const int64_t *value, size_t n) {
  choices c;
  if (given(&c, from)) return c;
  for (size_t i = 0; i < n; i++) add(&c, value[i]);
  return c;
}

#define OR_ELSE(from, ...)                                                                                   \
  or_else(&(from), (const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

/* Where the linear layers may be narrow by the model's release. */
static choices gemm_choices(const search *s, const fc_device *device) {
  bool fp8 = s->def->model->weights == FC_DTYPE_FP8 && device->peak_flop_per_s[FC_DTYPE_FP8] > 0;
  return OR_ELSE(s->def->gemm, fp8 ? FC_DTYPE_FP8 : FC_DTYPE_BF16);
}

/* Sequences a step, as fc_train_estimate_auto rounds them. */
static choices batch_choices(const search *s, const fc_train_plan *p) {
  choices c;
  if (given(&c, &s->def->global_batch)) return c;
  int64_t shared = p->tp * p->pp * p->cp, dp = p->devices / shared, step = dp * p->micro_batch;
  if (p->devices % shared != 0 || dp < 1) step = p->micro_batch; /* to be refused */
  int64_t multiple = p->schedule == FC_SCHEDULE_INTERLEAVED ? p->pp : 2;
  double wished = s->def->batch_tokens > 0 ? s->def->batch_tokens : FC_TRAIN_BATCH_TOKENS;
  double want = wished / (double)p->sequence / (double)(step * multiple);
  int64_t n = (int64_t)fmax(1, round(want)) * multiple;
  bool dual = p->schedule == FC_SCHEDULE_DUALPIPE || p->schedule == FC_SCHEDULE_DUALPIPEV;
  if (dual && n < 2 * p->pp) n = 2 * p->pp;
  add(&c, n * step);
  return c;
}

/* --- one plan --- */

/* A unit's place in what is tried. */
typedef struct {
  const search *s;
  unit *u;
  const fc_profile *profile;
  double room_bytes;
} trial;

static void refuse(unit *u, const char *why) {
  u->count[FC_TRAIN_REFUSED]++;
  const char *end = strstr(why, " (devices "); /* the numbers of the one plan */
  size_t length = end ? (size_t)(end - why) : strlen(why);
  if (length >= FC_TRAIN_REASON) length = FC_TRAIN_REASON - 1;
  for (size_t i = 0; i < u->n_reasons; i++)
    if (strncmp(u->reason[i].text, why, length) == 0 && u->reason[i].text[length] == '\0') {
      u->reason[i].count++;
      return;
    }
  if (u->n_reasons == FC_TRAIN_REASONS) return;
  fc_train_reason *r = &u->reason[u->n_reasons++];
  (void)snprintf(r->text, sizeof r->text, "%.*s", (int)length, why);
  r->count = 1;
}

static fc_train_state state_of(const group *g, double token_s) {
  if (token_s > g->late_token_s) return FC_TRAIN_LATE;
  return token_s > g->dear_token_s ? FC_TRAIN_DEAR : FC_TRAIN_FEASIBLE;
}

static double token_s_of(const trial *t, const fc_train_plan *p) {
  fc_train_step step;
  if (fc_cost_train_step(&step, t->s->def->model, t->profile, p) != FC_OK) return (double)INFINITY;
  return step.seconds / ((double)p->global_batch * (double)p->sequence);
}

static found found_of(const unit *u, const fc_train_plan *p, double token_s) {
  return (found){.token_s = token_s,
                 .u = u,
                 .global_batch = p->global_batch,
                 .ep = (int32_t)p->ep,
                 .virtual_stages = (int32_t)p->virtual_stages,
                 .micro_batch = (int32_t)p->micro_batch,
                 .zero = (int16_t)p->zero,
                 .schedule = (int16_t)p->schedule,
                 .recompute = (int16_t)p->recompute,
                 .gemm = (int16_t)p->gemm};
}

fc_train_plan fc_train_found_plan(const search *s, const found *f) {
  fc_train_plan p = s->base;
  p.devices = f->u->of->devices;
  p.tp = f->u->tp;
  p.cp = f->u->cp;
  p.pp = f->u->pp;
  p.ep = f->ep;
  p.virtual_stages = f->virtual_stages;
  p.micro_batch = f->micro_batch;
  p.global_batch = f->global_batch;
  p.zero = f->zero;
  p.schedule = (fc_schedule)f->schedule;
  p.recompute = (fc_recompute)f->recompute;
  p.gemm = (fc_dtype)f->gemm;
  return p;
}

static void keep(unit *u, const fc_train_plan *p, double token_s) {
  if (u->n == u->capacity) {
    size_t capacity = u->capacity ? 2 * u->capacity : 64;
    found *grown = realloc(u->found, capacity * sizeof *grown);
    if (!grown) {
      u->status = FC_E_NOMEM;
      return;
    }
    u->found = grown;
    u->capacity = capacity;
  }
  u->found[u->n++] = found_of(u, p, token_s);
}

/* @return whether the plan fits, so that one that recomputes more cannot be faster */
static bool weigh(const trial *t, const fc_train_plan *p) {
  unit *u = t->u;
  fc_train_memory memory;
  fc_cost_train_memory(&memory, t->s->def->model, p);
  double lacks = memory.total_bytes - t->room_bytes;
  if (lacks > 0) {
    u->count[FC_TRAIN_MEMORY]++;
    u->leanest_bytes = fmin(u->leanest_bytes, memory.total_bytes);
    if (lacks > FC_TRAIN_NEAR_MEMORY * t->room_bytes) return false;
    double token_s = token_s_of(t, p);
    if (!(token_s < u->near.token_s)) return false;
    u->near = found_of(u, p, token_s);
    u->near_short = lacks;
    return false;
  }
  double token_s = token_s_of(t, p);
  if (isinf(token_s)) {
    u->count[FC_TRAIN_PROFILE]++;
    return false;
  }
  u->count[state_of(u->of, token_s)]++;
  keep(u, p, token_s);
  return true;
}

static void try_recompute(const trial *t, fc_train_plan p) {
  choices recompute =
      OR_ELSE(t->s->def->recompute, FC_RECOMPUTE_NONE, FC_RECOMPUTE_SELECTIVE, FC_RECOMPUTE_FULL);
  bool fits = false;
  char why[256];
  for (size_t i = 0; i < recompute.n; i++) {
    p.recompute = (fc_recompute)recompute.value[i];
    if (fits && !t->s->def->exhaustive) {
      t->u->count[FC_TRAIN_DOMINATED]++;
      continue;
    }
    if (fc_train_plan_check(t->s->def->model, &p, why) != FC_OK)
      refuse(t->u, why);
    else if (weigh(t, &p))
      fits = true;
  }
}

/* --- the loops --- */

static void try_batches(const trial *t, fc_train_plan p) {
  choices micro = OR_ELSE(t->s->def->micro_batch, 1, 2, 4), zero = OR_ELSE(t->s->def->zero, 0, 1, 2, 3);
  for (size_t i = 0; i < micro.n; i++) {
    p.micro_batch = micro.value[i];
    choices batch = batch_choices(t->s, &p);
    for (size_t k = 0; k < batch.n; k++)
      for (size_t z = 0; z < zero.n; z++) {
        p.global_batch = batch.value[k];
        p.zero = zero.value[z];
        try_recompute(t, p);
      }
  }
}

static void try_schedules(const trial *t, fc_train_plan p) {
  choices schedule = OR_ELSE(t->s->def->schedule, FC_SCHEDULE_1F1B, FC_SCHEDULE_INTERLEAVED, FC_SCHEDULE_ZB1P,
                             FC_SCHEDULE_DUALPIPE, FC_SCHEDULE_DUALPIPEV);
  choices chunks = OR_ELSE(t->s->def->virtual_stages, 2, 3, 4, 5, 6, 8);
  bool own = t->s->def->schedule.n == 0;
  for (size_t i = 0; i < schedule.n; i++) {
    p.schedule = (fc_schedule)schedule.value[i];
    p.virtual_stages = 1;
    if (own && p.pp == 1 && p.schedule != FC_SCHEDULE_1F1B) continue; /* one stage: nothing to schedule */
    if (p.schedule != FC_SCHEDULE_INTERLEAVED) {
      try_batches(t, p);
      continue;
    }
    for (size_t k = 0; k < chunks.n; k++) {
      p.virtual_stages = chunks.value[k];
      try_batches(t, p);
    }
  }
}

void fc_train_try_unit(const search *s, unit *u) {
  const fc_train_search_device *d = &s->def->devices[u->of->device];
  const fc_device *device = d->profile->device;
  trial t = {.s = s, .u = u, .profile = d->profile, .room_bytes = s->memory * device->memory_bytes};
  choices ep = fc_train_choices_ep(s), gemm = gemm_choices(s, device);
  fc_train_plan p = s->base;
  p.devices = u->of->devices;
  p.tp = u->tp;
  p.cp = u->cp;
  p.pp = u->pp;
  for (size_t g = 0; g < gemm.n; g++) {
    p.gemm = (fc_dtype)gemm.value[g];
    if (!(device->peak_flop_per_s[p.gemm] > 0)) {
      u->count[FC_TRAIN_FORMAT]++;
      continue;
    }
    for (size_t e = 0; e < ep.n; e++) {
      p.ep = ep.value[e];
      try_schedules(&t, p);
    }
  }
}
