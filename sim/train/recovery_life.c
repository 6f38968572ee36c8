/* SPDX-License-Identifier: Apache-2.0 */
/* The life of one run.  What was computed is booked when its fate is known: kept when a checkpoint holds it,
 * lost when a fault comes first. */
#include "recovery_private.h"

#include <math.h>

#include <fleetcast/base/rng.h>
#include <fleetcast/base/time.h>
#include <fleetcast/des/sim.h>

__extension__ typedef __int128 wide; /* device-ns: 54 days of 16,384 devices pass 2^63 */

typedef enum { SETUP, COMPUTE, WRITE, DETECT, RESTART, PLANNED, WAIT } mode;

enum {
  SLOW_MOST = 64,         /* stragglers at a time; more change nothing, the slowest sets the pace */
  EVENTS_MOST = 20000000, /* of a replication: beyond, the run makes no headway */
  AT_REPAIR = -2,         /* before faults: a node that is back at that instant is a spare */
  AT_FAULT = -1,
  AT_MODE = 0,
};

typedef struct {
  fc_time work;
  wide productive, straggler;
} tally;

typedef struct {
  uint64_t id;
  double factor;
} slow_node;

typedef struct life {
  const fc_recovery_def *def;
  fc_recovery_sample *out;
  fc_sim *sim;
  fc_rng arrival[FC_RECOVERY_HAZARDS], draw[FC_RECOVERY_HAZARDS];
  double mtbf_s[FC_RECOVERY_HAZARDS];
  fc_time interval, write, flush; /* of checkpoints */
  fc_time last;                   /* booked up to here */
  mode mode;
  fc_event_id next, durable; /* end of the mode; end of a flush */
  size_t phase;
  fc_time phase_start;
  fc_time left; /* work of the phase */
  fc_time ran;  /* computing since the last checkpoint */
  tally open, flushing;
  wide held[FC_HELD_COUNT];
  int64_t broken;      /* nodes in repair */
  int64_t down_groups; /* that a shrunk run leaves out */
  bool final, synced;  /* the write ends the phase; its flush was waited for */
  mode after;          /* a write: what follows; COMPUTE as a rule */
  fc_time after_ns;
  fc_time restart_ns; /* that follows a detection or a wait */
  slow_node slow[SLOW_MOST];
  size_t n_slow;
  uint64_t slow_id;
  double z; /* of ln(step time), in standard deviations: the same in all phases */
  bool done;
} life;

static fc_event_fn on_next, on_durable, on_hazard, on_found, on_repair;

static fc_time ns_of(double seconds) {
  return fc_time_from_s(seconds < 0 ? 0 : seconds);
}

static fc_time draw_ns(fc_rng *rng, const fc_dist *dist) {
  return ns_of(fc_dist_quantile(dist, fc_rng_uniform(rng)));
}

static fc_time plus(fc_time t, fc_time d) {
  return t > FC_TIME_MAX - d ? FC_TIME_MAX : t + d;
}

/* --- devices --- */

static int64_t missing_nodes(const life *l) {
  int64_t missing = l->broken - l->def->spare_nodes;
  return missing > 0 ? missing : 0;
}

/* Groups that the missing nodes leave incomplete. */
static int64_t groups_down(const life *l) {
  const fc_recovery_def *d = l->def;
  if (d->group_devices == 0) return 0;
  return (missing_nodes(l) * d->node_devices + d->group_devices - 1) / d->group_devices;
}

static bool can_run(const life *l) {
  if (missing_nodes(l) == 0) return true;
  return l->def->group_devices > 0 && groups_down(l) * l->def->group_devices < l->def->devices;
}

static int64_t active_devices(const life *l) {
  return l->def->devices - l->down_groups * l->def->group_devices;
}

/* Step time over that of the whole run without stragglers. */
static double pace(const life *l) {
  double factor = 1;
  for (size_t i = 0; i < l->n_slow; i++) factor = fmax(factor, l->slow[i].factor);
  return factor * (double)l->def->devices / (double)active_devices(l);
}

/* --- books --- */

static void book_computing(life *l, fc_time dt, int64_t present) {
  int64_t active = active_devices(l);
  fc_time work = llround((double)dt / pace(l));
  if (work > l->left) work = l->left;
  if (work > dt) work = dt;
  wide all = (wide)active * dt, productive = (wide)work * l->def->devices;
  if (productive > all) productive = all;
  l->open.work += work;
  l->open.productive += productive;
  l->open.straggler += all - productive;
  l->held[FC_HELD_SHRUNK] += (wide)(present - active) * dt;
  l->left -= work;
  l->ran += dt;
}

/* Books everything up to now. */
static void settle(life *l) {
  static const fc_held of[] = {
      [SETUP] = FC_HELD_RESTART,    [COMPUTE] = FC_HELD_PRODUCTIVE, [WRITE] = FC_HELD_CHECKPOINT,
      [DETECT] = FC_HELD_DETECTION, [RESTART] = FC_HELD_RESTART,    [PLANNED] = FC_HELD_PLANNED,
      [WAIT] = FC_HELD_WAITING};
  const fc_recovery_def *d = l->def;
  fc_time now = fc_sim_now(l->sim), dt = now - l->last;
  l->last = now;
  if (dt == 0) return;
  int64_t missing = missing_nodes(l), spares = d->spare_nodes - (l->broken - missing);
  int64_t present = d->devices - missing * d->node_devices;
  l->held[FC_HELD_REPAIR] += (wide)(l->broken * d->node_devices) * dt;
  l->held[FC_HELD_SPARE] += (wide)(spares * d->node_devices) * dt;
  if (l->mode == COMPUTE)
    book_computing(l, dt, present);
  else
    l->held[of[l->mode]] += (wide)present * dt;
}

static void keep(life *l, tally *t) {
  l->held[FC_HELD_PRODUCTIVE] += t->productive;
  l->held[FC_HELD_STRAGGLER] += t->straggler;
  *t = (tally){0};
}

static void lose(life *l, tally *t) {
  l->held[FC_HELD_LOST] += t->productive + t->straggler;
  l->left += t->work;
  *t = (tally){0};
}

/* --- modes --- */

static void enter(life *l, mode to, fc_time ns) {
  (void)fc_sim_cancel(l->sim, l->next);
  l->next = FC_EVENT_NONE;
  l->mode = to;
  if (fc_sim_executed(l->sim) > EVENTS_MOST) fc_sim_stop(l->sim);
  if (ns < FC_TIME_MAX) l->next = fc_sim_at(l->sim, plus(fc_sim_now(l->sim), ns), AT_MODE, on_next, l, 0);
}

/* Until the phase's work is done or a checkpoint is due; one at a time is on its way. */
static void compute(life *l) {
  l->down_groups = groups_down(l);
  double need = ceil((double)l->left * pace(l));
  fc_time ns = need < 9e18 ? (fc_time)need : FC_TIME_MAX;
  if (l->interval < FC_TIME_MAX && !fc_sim_is_pending(l->sim, l->durable)) {
    fc_time due = l->interval > l->ran ? l->interval - l->ran : 0;
    if (due < ns) ns = due;
  }
  enter(l, COMPUTE, ns);
}

static void begin_write(life *l, bool final, mode after, fc_time after_ns) {
  l->final = final;
  l->synced = false;
  l->after = after;
  l->after_ns = after_ns;
  if (fc_sim_cancel(l->sim, l->durable)) { /* overtaken: this one holds all */
    l->open.work += l->flushing.work;
    l->open.productive += l->flushing.productive;
    l->open.straggler += l->flushing.straggler;
    l->flushing = (tally){0};
  }
  enter(l, WRITE, l->write);
}

/* A planned stop: a checkpoint first.  @return false: the run stands still anyway */
static bool stop_after_write(life *l, mode after, fc_time ns) {
  if (l->mode == COMPUTE) {
    settle(l);
    begin_write(l, l->left == 0, after, ns);
    return true;
  }
  if (l->mode != WRITE || l->after != COMPUTE || l->final) return false;
  l->after = after;
  l->after_ns = ns;
  return true;
}

static void begin_phase(life *l) {
  const fc_recovery_phase *p = &l->def->phases[l->phase];
  l->left = ns_of(p->work_s * exp(p->log_sd * l->z));
  if (l->left < 1) l->left = 1;
  l->phase_start = fc_sim_now(l->sim);
  l->ran = 0;
  if (p->setup_s > 0)
    enter(l, SETUP, ns_of(p->setup_s));
  else
    compute(l);
}

static void end_phase(life *l) {
  l->out->phase_s[l->phase] = fc_time_to_s(fc_sim_now(l->sim) - l->phase_start);
  if (++l->phase < l->def->n_phases) {
    begin_phase(l);
    return;
  }
  l->done = true;
  fc_sim_stop(l->sim);
}

static void written(life *l) {
  bool sync = l->final || l->after != COMPUTE;
  if (sync && !l->synced && l->flush > 0) {
    l->synced = true;
    enter(l, WRITE, l->flush);
    return;
  }
  l->out->checkpoints++;
  l->ran = 0;
  if (!sync && l->flush > 0) {
    l->flushing = l->open;
    l->open = (tally){0};
    l->durable = fc_sim_at(l->sim, plus(fc_sim_now(l->sim), l->flush), AT_MODE, on_durable, l, 0);
  } else {
    keep(l, &l->open);
  }
  if (l->final)
    end_phase(l);
  else if (l->after != COMPUTE)
    enter(l, l->after, l->after_ns);
  else
    compute(l);
}

static void on_next(fc_sim *sim, void *subject, uint64_t datum) {
  (void)sim, (void)datum;
  life *l = subject;
  settle(l);
  switch (l->mode) {
  case COMPUTE: begin_write(l, l->left == 0, COMPUTE, 0); break;
  case WRITE: written(l); break;
  case DETECT:
    if (can_run(l))
      enter(l, RESTART, l->restart_ns);
    else
      enter(l, WAIT, FC_TIME_MAX);
    break;
  case SETUP:
  case RESTART:
  case PLANNED:
  case WAIT:
    if (can_run(l)) {
      compute(l);
    } else { /* a node that a planned stop took out was the last */
      l->restart_ns = 0;
      enter(l, WAIT, FC_TIME_MAX);
    }
    break;
  }
}

static void on_durable(fc_sim *sim, void *subject, uint64_t datum) {
  (void)sim, (void)datum;
  life *l = subject;
  l->durable = FC_EVENT_NONE;
  settle(l);
  keep(l, &l->flushing);
  if (l->mode == COMPUTE) compute(l);
}

/* --- what comes from outside --- */

/* The node leaves, and comes back. */
static void replace(life *l, size_t i) {
  const fc_recovery_def *d = l->def;
  if (!(fc_rng_uniform(&l->draw[i]) < d->hazards[i].replaces)) return;
  fc_time ns = draw_ns(&l->draw[i], &d->repair_s);
  if (l->broken >= d->spare_nodes + d->devices / d->node_devices) return;
  settle(l);
  l->broken++;
  (void)fc_sim_at(l->sim, plus(fc_sim_now(l->sim), ns), AT_REPAIR, on_repair, l, i);
}

static void on_repair(fc_sim *sim, void *subject, uint64_t i) {
  (void)sim;
  life *l = subject;
  settle(l);
  l->broken--;
  if (l->mode == WAIT && can_run(l)) {
    enter(l, RESTART, l->restart_ns);
  } else if (groups_down(l) < l->down_groups) { /* grows back at a stop of its own */
    fc_time ns = draw_ns(&l->draw[i], &l->def->hazards[i].restart_s);
    if (stop_after_write(l, RESTART, ns)) l->out->interruptions++;
  }
}

enum { RECURS = 32, UNIT_SHIFT = 8 };

static void next_of(life *l, size_t i, uint64_t unit) {
  const fc_hazard *h = &l->def->hazards[i];
  double s = l->mtbf_s[i];
  if (h->law == FC_HAZARD_EXPONENTIAL) s *= fc_rng_exponential(&l->arrival[i]) / fc_hazard_units(l->def, h);
  if (h->law == FC_HAZARD_WEIBULL)
    s *= pow(fc_rng_exponential(&l->arrival[i]), 1 / h->shape) / tgamma(1 + 1 / h->shape);
  fc_time at = plus(fc_sim_now(l->sim), ns_of(s));
  if (at < FC_TIME_MAX) (void)fc_sim_at(l->sim, at, AT_FAULT, on_hazard, l, i | unit << UNIT_SHIFT);
}

static void fail(life *l, size_t i) {
  const fc_hazard *h = &l->def->hazards[i];
  fc_rng *rng = &l->draw[i];
  settle(l);
  (void)fc_sim_cancel(l->sim, l->durable);
  lose(l, &l->open);
  lose(l, &l->flushing);
  l->ran = 0;
  l->out->interruptions++;
  l->out->unexpected++;
  l->out->count[i]++;
  fc_time detect = draw_ns(rng, &h->detect_s);
  l->restart_ns = draw_ns(rng, &h->restart_s);
  enter(l, DETECT, detect);
}

/* A systematic fault comes back, its node in place, until somebody finds it. */
static void fault(life *l, size_t i, bool again) {
  const fc_hazard *h = &l->def->hazards[i];
  fc_rng *rng = &l->draw[i];
  bool systematic = again || fc_rng_uniform(rng) < h->systematic;
  fail(l, i);
  if (systematic && !(fc_rng_uniform(rng) < h->found)) {
    fc_time at = plus(plus(fc_sim_now(l->sim), l->restart_ns), ns_of(fc_rng_exponential(rng) * h->recurs_s));
    (void)fc_sim_at(l->sim, at, AT_FAULT, on_hazard, l, i | RECURS);
  } else {
    replace(l, i);
  }
}

static void slow_down(life *l, size_t i, double factor) {
  fc_time ns = draw_ns(&l->draw[i], &l->def->hazards[i].detect_s);
  uint64_t id = ++l->slow_id;
  if (l->n_slow == SLOW_MOST) return;
  settle(l);
  l->slow[l->n_slow++] = (slow_node){id, factor};
  (void)fc_sim_at(l->sim, plus(fc_sim_now(l->sim), ns), AT_FAULT, on_found, l, i | id << UNIT_SHIFT);
  if (l->mode == COMPUTE) compute(l);
}

static void on_found(fc_sim *sim, void *subject, uint64_t datum) {
  (void)sim;
  life *l = subject;
  size_t i = datum & (RECURS - 1);
  settle(l);
  for (size_t k = 0; k < l->n_slow; k++)
    if (l->slow[k].id == datum >> UNIT_SHIFT) l->slow[k] = l->slow[--l->n_slow];
  if (stop_after_write(l, RESTART, draw_ns(&l->draw[i], &l->def->hazards[i].restart_s))) {
    l->out->interruptions++;
    l->out->count[i]++;
  }
  replace(l, i);
}

static void on_hazard(fc_sim *sim, void *subject, uint64_t datum) {
  (void)sim;
  life *l = subject;
  size_t i = datum & (RECURS - 1);
  const fc_hazard *h = &l->def->hazards[i];
  bool again = datum & RECURS;
  if (!again) next_of(l, i, datum >> UNIT_SHIFT);
  if (h->planned) {
    if (stop_after_write(l, PLANNED, draw_ns(&l->draw[i], &h->restart_s))) {
      l->out->interruptions++;
      l->out->count[i]++;
    }
    return;
  }
  if (l->mode == WAIT) { /* a run that waits for a node is not struck; what is still in it comes later */
    if (again)
      (void)fc_sim_at(l->sim, plus(fc_sim_now(l->sim), ns_of(fc_rng_exponential(&l->draw[i]) * h->recurs_s)),
                      AT_FAULT, on_hazard, l, datum);
    return;
  }
  double factor = fc_dist_quantile(&h->slowdown, fc_rng_uniform(&l->draw[i]));
  if (fc_hazard_is_fault(h))
    fault(l, i, again);
  else
    slow_down(l, i, factor);
}

/* --- one replication --- */

static double once(const life *l, uint64_t entity, uint64_t replication, const fc_dist *dist) {
  fc_rng rng = fc_rng_keyed(l->def->seed, FC_STREAM_PARAMETER, entity, replication);
  return fc_dist_quantile(dist, fc_rng_uniform(&rng));
}

enum { ENTITY_STEP, ENTITY_WRITE, ENTITY_FLUSH, ENTITY_HAZARD };

/* What is drawn once: the step, the checkpoint, the rates.  @return the work to be done [s] */
static double draw_parameters(life *l, uint64_t replication) {
  const fc_recovery_def *d = l->def;
  double work_s = 0;
  fc_rng rng = fc_rng_keyed(d->seed, FC_STREAM_PARAMETER, ENTITY_STEP, replication);
  l->z = fc_rng_normal(&rng);
  l->out->step_factor = exp(d->phases[0].log_sd * l->z);
  l->write = ns_of(once(l, ENTITY_WRITE, replication, &d->checkpoint_write_s));
  l->flush = ns_of(once(l, ENTITY_FLUSH, replication, &d->checkpoint_flush_s));
  for (size_t i = 0; i < d->n_hazards; i++) {
    l->mtbf_s[i] = once(l, ENTITY_HAZARD + i, replication, &d->hazards[i].mtbf_s);
    l->arrival[i] = fc_rng_keyed(d->seed, FC_STREAM_FAILURE, i, replication);
    l->draw[i] = fc_rng_keyed(d->seed, FC_STREAM_REPAIR, i, replication);
  }
  /* whoever sets the interval knows rate and write time in the mean, not this replication's */
  double interval = fc_recovery_interval_s(d);
  l->interval = isfinite(interval) ? ns_of(interval) : FC_TIME_MAX;
  l->out->checkpoint_s = isfinite(interval) ? interval : 0;
  for (size_t i = 0; i < d->n_phases; i++)
    work_s += d->phases[i].work_s * exp(d->phases[i].log_sd * l->z) + d->phases[i].setup_s;
  return work_s;
}

static void begin(life *l) {
  const fc_recovery_def *d = l->def;
  for (size_t i = 0; i < d->n_hazards; i++) {
    bool each = d->hazards[i].law == FC_HAZARD_WEIBULL;
    uint64_t units = each ? (uint64_t)fc_hazard_units(d, &d->hazards[i]) : 1;
    for (uint64_t u = 0; u < units; u++) next_of(l, i, u);
  }
  begin_phase(l);
}

static fc_status finish(life *l) {
  const fc_recovery_def *d = l->def;
  fc_recovery_sample *s = l->out;
  if (!l->done) return FC_E_INFEASIBLE;
  wide sum = 0, held = d->devices + d->spare_nodes * d->node_devices;
  for (int c = 0; c < FC_HELD_COUNT; c++) {
    sum += l->held[c];
    s->device_s[c] = (double)l->held[c] / 1e9;
  }
  if (sum != held * l->last) return FC_E_LAW;
  s->wall_s = fc_time_to_s(l->last);
  s->goodput = s->device_s[FC_HELD_PRODUCTIVE] / ((double)d->devices * s->wall_s);
  return FC_OK;
}

fc_status fc_recovery_life(fc_recovery_sample *out, const fc_recovery_def *def, uint64_t replication) {
  static const double slack_s = 1e6, longest_s = 6e9; /* the clock holds 292 years */
  *out = (fc_recovery_sample){0};
  life l = {.def = def, .out = out, .after = COMPUTE};
  double work_s = draw_parameters(&l, replication);
  fc_status status = fc_sim_new(&l.sim, 0);
  if (status != FC_OK) return status;
  begin(&l);
  status = fc_sim_run(l.sim, ns_of(fmin(100 * work_s + slack_s, longest_s)));
  if (status == FC_OK) status = finish(&l);
  fc_sim_free(l.sim);
  return status;
}
