/* SPDX-License-Identifier: Apache-2.0 */
/* Why a plan lost, in numbers. */
#include <math.h>
#include <stdio.h>

#include <fleetcast/base/dist.h>
#include <fleetcast/cost/train_step.h>

#include "plan_search_private.h"

static const char *const schedule_words[] = {"1f1b", "interleaved", "zb1p", "dualpipe", "dualpipev"};
static const char *const recompute_words[] = {"no", "selective", "full"};

/* --- names --- */

void fc_train_candidate_name(char out[FC_TRAIN_PLAN_NAME], const fc_train_search_def *def,
                             const fc_train_candidate *c) {
  const fc_train_plan *p = &c->estimate.plan;
  char degrees[96];
  int n = snprintf(degrees, sizeof degrees, "tp%lld pp%lld", (long long)p->tp, (long long)p->pp);
  if (p->cp > 1) n += snprintf(degrees + n, sizeof degrees - (size_t)n, " cp%lld", (long long)p->cp);
  if (p->ep > 1) n += snprintf(degrees + n, sizeof degrees - (size_t)n, " ep%lld", (long long)p->ep);
  if (p->pp > 1) n += snprintf(degrees + n, sizeof degrees - (size_t)n, " %s", schedule_words[p->schedule]);
  if (p->virtual_stages > 1)
    (void)snprintf(degrees + n, sizeof degrees - (size_t)n, " x %lld", (long long)p->virtual_stages);
  (void)snprintf(out, FC_TRAIN_PLAN_NAME, "%lld x %.48s (%s, mb %lld, zero %lld, %s recomputation, %s)",
                 (long long)p->devices, def->devices[c->device].name, degrees, (long long)p->micro_batch,
                 (long long)p->zero, recompute_words[p->recompute], fc_dtype_text(p->gemm));
}

/* --- what is known of a difference --- */

double fc_train_chance(const fc_train_candidate *a, const fc_train_candidate *b, double ratio) {
  double sd = hypot(a->estimate.step_log_sd, b->estimate.step_log_sd);
  if (a->device == b->device) sd = hypot(FC_TRAIN_PLAN_LOG_SD, FC_TRAIN_PLAN_LOG_SD);
  if (!(sd > 0)) return ratio > 1 ? 1 : ratio < 1 ? 0 : 0.5;
  return 0.5 * erfc(-log(ratio) / sd / sqrt(2.0));
}

/* --- parts --- */

typedef enum { PART_COMPUTE, PART_EXPOSED, PART_BUBBLE, PART_ONCE, PARTS } part;

/* Device-seconds a token of what a step is made of, failures not counted. */
typedef struct {
  double s[PARTS];
} parts;

static parts parts_of(const search *s, const fc_train_candidate *c) {
  parts out = {0};
  fc_train_step step;
  const fc_train_plan *p = &c->estimate.plan;
  if (fc_cost_train_step(&step, s->def->model, s->def->devices[c->device].profile, p) != FC_OK) return out;
  double per = (double)p->devices / ((double)p->global_batch * (double)p->sequence);
  out.s[PART_EXPOSED] = (step.comm_s + step.data_s) * per;
  out.s[PART_ONCE] = (step.optimizer_s + step.host_s) * per;
  out.s[PART_BUBBLE] = c->estimate.bubble * c->estimate.step_s * per;
  double all = c->estimate.step_s * per;
  out.s[PART_COMPUTE] = all - out.s[PART_EXPOSED] - out.s[PART_ONCE] - out.s[PART_BUBBLE];
  return out;
}

static double all_of(const parts *p) {
  double sum = 0;
  for (int i = 0; i < PARTS; i++) sum += p->s[i];
  return sum;
}

static const char *const part_words[PARTS] = {"compute, with what recomputation adds",
                                              "communication that nothing hides", "pipeline bubble",
                                              "optimizer and host"};

/* The part that costs most more than it does the best. */
static void add_parts(char *to, size_t room, const search *s, const fc_train_candidate *c,
                      const fc_train_candidate *best) {
  parts mine = parts_of(s, c), its = parts_of(s, best);
  part worst = PART_COMPUTE;
  for (int i = 0; i < PARTS; i++)
    if (mine.s[i] - its.s[i] > mine.s[worst] - its.s[worst]) worst = (part)i;
  (void)snprintf(to, room,
                 "%s takes %.3g device-us a token against %.3g; bubble %.1f %% of the step against "
                 "%.1f %%, exposed communication %.1f %% against %.1f %%, MFU %.1f %% against %.1f %%",
                 part_words[worst], 1e6 * mine.s[worst], 1e6 * its.s[worst], 100 * c->estimate.bubble,
                 100 * best->estimate.bubble, 100 * mine.s[PART_EXPOSED] / all_of(&mine),
                 100 * its.s[PART_EXPOSED] / all_of(&its), 100 * c->estimate.mfu, 100 * best->estimate.mfu);
}

/* What the plan would take if it did not recompute. */
static void add_memory(char *to, size_t room, const search *s, const fc_train_candidate *c) {
  fc_train_plan plain = c->estimate.plan;
  *to = '\0';
  if (plain.recompute == FC_RECOMPUTE_NONE) return;
  plain.recompute = FC_RECOMPUTE_NONE;
  fc_train_memory memory;
  fc_cost_train_memory(&memory, s->def->model, &plain);
  double has = s->memory * s->def->devices[c->device].profile->device->memory_bytes;
  if (memory.total_bytes > has)
    (void)snprintf(to, room, "; it must recompute: without, it needs %.1f GB of %.1f GB",
                   memory.total_bytes / 1e9, has / 1e9);
}

/* --- sentences --- */

static bool is_fastest(const search *s) {
  return s->def->objective == FC_TRAIN_FASTEST;
}

static void add_by(char *to, size_t room, const search *s, const fc_train_candidate *c,
                   const fc_train_candidate *best) {
  double days = c->wall_s / 86400, its_days = best->wall_s / 86400;
  if (is_fastest(s))
    (void)snprintf(to, room, "%.1f %% slower: %.2f days against %.2f", 100 * (days / its_days - 1), days,
                   its_days);
  else
    (void)snprintf(to, room, "%.1f %% dearer: %.4g M USD against %.4g", 100 * (c->usd / best->usd - 1),
                   c->usd / 1e6, best->usd / 1e6);
}

static void why_lost(const search *s, fc_train_candidate *c, const fc_train_candidate *best) {
  char by[96], cause[320], memory[96], known[80];
  const fc_train_search_device *d = &s->def->devices[c->device], *e = &s->def->devices[best->device];
  double ratio = is_fastest(s) ? c->wall_s / best->wall_s : c->usd / best->usd;
  double chance = fc_train_chance(best, c, ratio);
  add_by(by, sizeof by, s, c, best);
  add_memory(memory, sizeof memory, s, c);
  double mine = c->estimate.tokens_per_s / (double)c->estimate.plan.devices,
         its = best->estimate.tokens_per_s / (double)best->estimate.plan.devices;
  if (c->device != best->device)
    (void)snprintf(
        cause, sizeof cause,
        "%.4g tokens/s a device against %.4g, at %.3g USD/h against %.3g; MFU %.1f %% against %.1f %%", mine,
        its, 3600 * d->usd_per_s, 3600 * e->usd_per_s, 100 * c->estimate.mfu, 100 * best->estimate.mfu);
  else if (c->estimate.plan.devices != best->estimate.plan.devices)
    (void)snprintf(
        cause, sizeof cause,
        "%lld devices against %lld at %.4g tokens/s each against %.4g, goodput %.2f %% against %.2f %%",
        (long long)c->estimate.plan.devices, (long long)best->estimate.plan.devices, mine, its,
        100 * c->estimate.goodput, 100 * best->estimate.goodput);
  else
    add_parts(cause, sizeof cause, s, c, best);
  (void)snprintf(known, sizeof known, "; the best is better with a chance of %.0f %%%s", 100 * chance,
                 chance < 0.95 ? ": a tie within what is known" : "");
  (void)snprintf(c->why, sizeof c->why, "%s; %s%s%s", by, cause, memory, known);
}

static void why_out(const search *s, fc_train_candidate *c) {
  const fc_train_search_def *d = s->def;
  if (c->state == FC_TRAIN_LATE)
    (void)snprintf(c->why, sizeof c->why, "takes %.1f days of %.1f at most, for %.4g M USD",
                   c->wall_s / 86400, d->wall_s / 86400, c->usd / 1e6);
  else if (c->state == FC_TRAIN_DEAR)
    (void)snprintf(c->why, sizeof c->why, "costs %.4g M USD of %.4g at most, in %.1f days", c->usd / 1e6,
                   d->usd / 1e6, c->wall_s / 86400);
}

static void why_near(const search *s, fc_train_candidate *c, const fc_train_candidate *best) {
  double has = s->memory * s->def->devices[c->device].profile->device->memory_bytes;
  char gain[64] = "would be within the limits";
  if (best && is_fastest(s))
    (void)snprintf(gain, sizeof gain, "would be %.1f %% faster than the best",
                   100 * (best->wall_s / c->wall_s - 1));
  else if (best)
    (void)snprintf(gain, sizeof gain, "would be %.1f %% cheaper than the best",
                   100 * (1 - c->usd / best->usd));
  (void)snprintf(c->why, sizeof c->why, "needs %.1f GB of %.1f GB: with %.1f GB more it %s",
                 (has + c->short_bytes) / 1e9, has / 1e9, c->short_bytes / 1e9, gain);
}

static void why_best(fc_train_candidate *c) {
  (void)snprintf(
      c->why, sizeof c->why,
      "bubble %.1f %% of the step, exposed communication %.1f %%, MFU %.1f %%, goodput %.2f %%, %.1f GB of "
      "memory a device",
      100 * c->estimate.bubble, 100 * c->estimate.exposed_comm, 100 * c->estimate.mfu,
      100 * c->estimate.goodput, c->estimate.memory_bytes / 1e9);
}

static void answer_best(const search *s, const fc_train_candidate *c) {
  char name[FC_TRAIN_PLAN_NAME];
  double spread = exp(fc_normal_quantile(0.95) * c->estimate.step_log_sd);
  fc_train_candidate_name(name, s->def, c);
  (void)snprintf(
      s->out->answer, sizeof s->out->answer,
      "%s: %.1f days [%.1f, %.1f] and %.4g M USD [%.4g, %.4g], a step of %.2f s. In brackets: 5 and "
      "95 %%, by what is not known of kernels and composing them.",
      name, c->wall_s / 86400, c->wall_s / 86400 / spread, c->wall_s / 86400 * spread, c->usd / 1e6,
      c->usd / 1e6 / spread, c->usd / 1e6 * spread, c->estimate.step_s);
}

/* How far outside the limits, as a factor. */
static double miss_of(const search *s, const fc_train_candidate *c) {
  double late = s->def->wall_s > 0 ? c->wall_s / s->def->wall_s : 0;
  double dear = s->def->usd > 0 ? c->usd / s->def->usd : 0;
  return fmax(late, dear);
}

static void answer_none(const search *s) {
  fc_train_search_result *out = s->out;
  const fc_train_candidate *nearest = NULL;
  for (size_t i = 0; i < out->n; i++)
    if (!nearest || miss_of(s, &out->best[i]) < miss_of(s, nearest)) nearest = &out->best[i];
  if (nearest) {
    char name[FC_TRAIN_PLAN_NAME];
    fc_train_candidate_name(name, s->def, nearest);
    (void)snprintf(out->answer, sizeof out->answer, "Nothing is within the limits. Nearest: %s: %s.", name,
                   nearest->why);
    return;
  }
  if (isfinite(out->leanest_bytes)) {
    const fc_train_search_device *d = &s->def->devices[out->leanest_device];
    (void)snprintf(out->answer, sizeof out->answer,
                   "Nothing fits. The leanest plan needs %.1f GB a device of %s, which has %.1f GB.",
                   out->leanest_bytes / 1e9, d->name, s->memory * d->profile->device->memory_bytes / 1e9);
    return;
  }
  (void)snprintf(out->answer, sizeof out->answer, "Nothing to choose from: %s.",
                 out->n_reasons ? out->reason[0].text : "no plan at all");
}

/* Devices that have no plan. */
static void tell_nothing(const search *s, size_t device) {
  const fc_train_search_device *d = &s->def->devices[device];
  char *to = s->out->nothing[device];
  double leanest = (double)INFINITY, has = s->memory * d->profile->device->memory_bytes;
  for (size_t i = 0; i < s->out->n; i++)
    if (s->out->best[i].device == device) return;
  for (size_t i = 0; i < s->n_units; i++)
    if (s->unit[i].of->device == device) leanest = fmin(leanest, s->unit[i].leanest_bytes);
  if (isfinite(leanest))
    (void)snprintf(to, FC_TRAIN_NOTHING, "nothing fits: the leanest plan needs %.1f GB a device of %.1f GB",
                   leanest / 1e9, has / 1e9);
  else
    (void)snprintf(to, FC_TRAIN_NOTHING, "no plan can be with the counts, degrees and formats asked for");
}

void fc_train_search_explain(search *s) {
  fc_train_search_result *out = s->out;
  for (size_t d = 0; d < s->def->n_devices; d++) tell_nothing(s, d);
  const fc_train_candidate *best = &out->best[0];
  bool any = out->n_feasible_groups > 0;
  for (size_t i = 0; i < out->n; i++) {
    fc_train_candidate *c = &out->best[i];
    if (c->state != FC_TRAIN_FEASIBLE)
      why_out(s, c);
    else if (i == 0)
      why_best(c);
    else
      why_lost(s, c, best);
  }
  if (any && out->runner_up.estimate.step_s > 0) why_lost(s, &out->runner_up, best);
  for (size_t i = 0; i < out->n_near; i++) why_near(s, &out->near[i], any ? best : NULL);
  if (any)
    answer_best(s, best);
  else
    answer_none(s);
}
