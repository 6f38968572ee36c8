/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a job: submitted, placed, failed, preempted, done.  What it did is booked when its fate is
 * known: kept when it ends or a checkpoint holds it, lost otherwise. */
#include "parts.h"

#include <math.h>
#include <stdlib.h>

static fc_event_fn on_event;

static int64_t ns_up(double seconds) {
  fc_time t = fc_time_from_s(seconds);
  return t > 0 ? t : 1;
}

/* --- books --- */

static void book(fc_fleet *f, const fc_job *job, int line, fc_time from, fc_time to, int64_t devices) {
  fc_line_book(f, fc_line_at(f, (size_t)job->pool, fc_slot_job(f, (size_t)job->owner, line)), from, to,
               devices);
}

static double flop_of(const fc_fleet *f, const fc_job *job, int line, double device_ns) {
  return fc_line_at(f, (size_t)job->pool, fc_slot_job(f, (size_t)job->owner, line))->flop_per_device_s *
         (device_ns / 1e9);
}

/* Books a running job up to now.  `lose`: what no checkpoint holds is lost. */
static void settle(fc_fleet *f, fc_job *job, bool lose) {
  fc_time now = f->now;
  int64_t updates = job->devices - job->rollouts;
  fc_time still = now < job->resume ? now : job->resume;
  fc_time lost = 0;
  if (still > job->from) {
    book(f, job, FC_LINE_STALL, job->from, still, job->devices);
    lost = still - job->from;
  }
  if (now > job->resume) {
    fc_time done = now - job->resume, kept = done;
    if (lose && job->period_ns > 0) kept = done / job->period_ns * job->period_ns; /* none when it is never */
    fc_time cut = job->resume + kept;
    book(f, job, FC_LINE_KEPT, job->resume, cut, updates);
    book(f, job, FC_LINE_ROLLOUT, job->resume, cut, job->rollouts);
    book(f, job, FC_LINE_LOST, cut, now, job->devices);
    job->left_ns -= kept;
    job->kept_ns += kept;
    job->kept += (fc_wide)kept * job->devices;
    job->flop += flop_of(f, job, FC_LINE_KEPT, (double)kept * (double)updates) +
                 flop_of(f, job, FC_LINE_ROLLOUT, (double)kept * (double)job->rollouts);
    lost += done - kept;
  }
  job->lost += (fc_wide)lost * job->devices;
  job->from = now;
}

/* --- running --- */

/* The next thing that happens to a placed job: its end, or the failure of a device of its gang, whichever is
 * first.  Exponential failures have no memory, so that each placement may draw anew. */
static void schedule(fc_fleet *f, uint32_t j) {
  fc_job *job = &f->job[j];
  const fc_owner *owner = &f->owner[job->owner];
  double mtbf_s = owner->work[job->pool].mtbf_s;
  fc_time end = job->resume > FC_TIME_MAX - job->left_ns ? FC_TIME_MAX : job->resume + job->left_ns;
  bool fails = false;
  if (isfinite(mtbf_s)) {
    fc_rng rng = fc_rng_keyed(f->options.seed, FC_STREAM_JOB, owner->entity,
                              job->number << 20 | (uint64_t)(job->placements + job->failures));
    fc_time at = fc_time_plus_s(f->now, fc_rng_exponential(&rng) * mtbf_s / (double)job->devices);
    fails = at < end;
    if (fails) end = at;
  }
  if (end >= f->def->end) { /* nothing more within the scenario */
    job->event = FC_EVENT_NONE;
    return;
  }
  job->event =
      fc_sim_at(f->sim, end, fails ? FC_AT_FAIL : FC_AT_FINISH, on_event, f, (uint64_t)j << 1 | fails);
}

static int64_t total_on(const fc_job *job, const fc_work *work, int64_t devices) {
  if (work->device_s_per_work > 0) return ns_up(job->work * work->device_s_per_work / (double)devices);
  return ns_up(work->seconds);
}

/* Remaining work in the time of another pool or gang. */
static void convert(fc_job *job, int64_t total_ns) {
  if (job->placements == 0) {
    job->left_ns = total_ns;
  } else if (total_ns != job->total_ns) {
    double share = (double)job->left_ns / (double)job->total_ns;
    job->left_ns = llround(share * (double)total_ns);
    if (job->left_ns < 1) job->left_ns = 1;
    job->moved = true;
  }
  job->total_ns = total_ns;
}

void fc_job_place(fc_fleet *f, uint32_t j, int32_t p, int64_t devices) {
  fc_job *job = &f->job[j];
  fc_owner *owner = &f->owner[job->owner];
  fc_pool *pool = &f->pool[p];
  const fc_work *work = &owner->work[p];
  fc_list_remove(f, &owner->queue, j);
  f->n_queued[job->level]--;
  for (size_t i = 0; i < owner->n_order; i++)
    if (f->pool[owner->order[i]].hold == j) f->pool[owner->order[i]].hold = FC_NO_JOB;
  convert(job, total_on(job, work, devices));
  fc_pool_idle(f, (size_t)p, -devices);
  pool->in_jobs += devices;
  if (job->preemptible) pool->preemptible[job->level] += devices;
  fc_list_push(f, &pool->running[job->level][job->preemptible], j);
  double period_s = fc_work_period_s(work, devices);
  job->period_ns = isinf(period_s) ? FC_TIME_MAX : fc_time_from_s(period_s);
  job->pool = p;
  job->devices = devices;
  job->rollouts = llround(work->rollout_share * (double)devices);
  job->state = FC_JOB_RUNNING;
  job->from = f->now;
  job->resume = job->placements > 0 ? fc_time_plus_s(f->now, fmax(owner->failure->restart_s, 0)) : f->now;
  if (job->placements == 0) {
    job->start = f->now;
    if ((size_t)job->owner < f->def->n_runs)
      fc_fleet_event(f, "run_start", owner->name, (double)devices, "devices");
  }
  job->placements++;
  schedule(f, j);
}

/* Takes a job off its devices, `back` of which are idle now. */
static void take_off(fc_fleet *f, uint32_t j, int64_t back) {
  fc_job *job = &f->job[j];
  fc_pool *pool = &f->pool[job->pool];
  fc_sim_cancel(f->sim, job->event);
  job->event = FC_EVENT_NONE;
  fc_list_remove(f, &pool->running[job->level][job->preemptible], j);
  if (job->preemptible) pool->preemptible[job->level] -= job->devices;
  pool->in_jobs -= job->devices;
  fc_pool_idle(f, (size_t)job->pool, back);
}

void fc_job_preempt(fc_fleet *f, uint32_t j, bool graceful) {
  fc_job *job = &f->job[j];
  /* a job that never writes checkpoints is suspended, not thrown away */
  settle(f, job, !graceful && job->period_ns != FC_TIME_MAX);
  take_off(f, j, job->devices);
  job->preemptions++;
  f->n_preempted++;
  fc_job_enqueue(f, j);
}

static void finish(fc_fleet *f, uint32_t j) {
  fc_job *job = &f->job[j];
  int32_t p = job->pool;
  settle(f, job, false);
  take_off(f, j, job->devices);
  job->state = FC_JOB_DONE;
  job->end = f->now;
  if ((size_t)job->owner < f->def->n_runs)
    fc_fleet_event(f, "run_end", f->owner[job->owner].name,
                   fc_time_to_s(job->end - job->start) / fc_time_to_s(FC_DAY), "days");
  fc_queue_run(f, p);
}

/* A device of the gang fails: its work since the last checkpoint is lost; a spare takes its place, or the job
 * goes back into its queue. */
static void fail(fc_fleet *f, uint32_t j) {
  fc_job *job = &f->job[j];
  fc_owner *owner = &f->owner[job->owner];
  size_t p = (size_t)job->pool;
  fc_pool *pool = &f->pool[p];
  settle(f, job, true);
  job->failures++;
  if (!fc_pool_break(f, p)) { /* repaired at once */
    job->resume = fc_time_plus_s(f->now, fmax(owner->failure->restart_s, 0));
    schedule(f, j);
  } else if (pool->idle > 0) {
    fc_pool_idle(f, p, -1);
    job->resume = fc_time_plus_s(f->now, fmax(owner->failure->restart_s, 0));
    schedule(f, j);
  } else {
    take_off(f, j, job->devices - 1);
    fc_job_enqueue(f, j);
    fc_queue_run(f, (int32_t)p);
  }
}

static void on_event(fc_sim *sim, void *subject, uint64_t datum) {
  fc_fleet *f = subject;
  uint32_t j = (uint32_t)(datum >> 1);
  f->now = fc_sim_now(sim);
  f->job[j].event = FC_EVENT_NONE;
  if (datum & 1)
    fail(f, j);
  else
    finish(f, j);
}

/* --- arrivals --- */

static uint32_t new_job(fc_fleet *f, size_t o) {
  if (f->n_jobs == f->job_capacity) {
    size_t capacity = f->job_capacity ? 2 * f->job_capacity : 1024;
    fc_job *job = capacity < FC_NO_JOB / 2 ? realloc(f->job, capacity * sizeof *job) : NULL;
    if (!job) {
      fc_fleet_fail(f, FC_E_NOMEM);
      return FC_NO_JOB;
    }
    f->job = job;
    f->job_capacity = capacity;
  }
  fc_owner *owner = &f->owner[o];
  uint32_t j = (uint32_t)f->n_jobs++;
  f->job[j] = (fc_job){.owner = (int32_t)o,
                       .pool = -1,
                       .number = owner->submitted++,
                       .submit = f->now,
                       .start = -1,
                       .end = -1,
                       .queued_since = -1,
                       .prev = FC_NO_JOB,
                       .next = FC_NO_JOB,
                       .level = (uint8_t)owner->level,
                       .preemptible = owner->preemptible,
                       .state = FC_JOB_QUEUED};
  return j;
}

static void on_run(fc_sim *sim, void *subject, uint64_t o) {
  fc_fleet *f = subject;
  f->now = fc_sim_now(sim);
  uint32_t j = new_job(f, (size_t)o);
  if (j == FC_NO_JOB) return;
  f->job[j].want = f->def->runs[o].devices;
  fc_queue_submit(f, j);
}

static void next_arrival(fc_fleet *f, size_t o);

static void on_arrival(fc_sim *sim, void *subject, uint64_t o) {
  fc_fleet *f = subject;
  f->now = fc_sim_now(sim);
  uint32_t j = new_job(f, (size_t)o);
  if (j == FC_NO_JOB) return;
  const fc_stream_def *def = &f->def->streams[o - f->def->n_runs];
  fc_job *job = &f->job[j];
  fc_marks marks =
      fc_marks_draw(&def->work_device_s, &def->devices, f->options.seed, f->owner[o].entity, job->number);
  job->work = fmax(marks.work, 0);
  job->want = (int64_t)fmin(fmax(ceil(marks.devices - 1e-9), 1), 1e15);
  next_arrival(f, (size_t)o);
  fc_queue_submit(f, j);
}

static void next_arrival(fc_fleet *f, size_t o) {
  fc_time at;
  if (fc_arrivals_next(&f->owner[o].arrivals, f->def->end, &at))
    (void)fc_sim_at(f->sim, at, FC_AT_SUBMIT, on_arrival, f, o);
}

fc_status fc_jobs_init(fc_fleet *f) {
  const fc_fleet_def *def = f->def;
  for (size_t o = 0; o < def->n_runs; o++) {
    fc_time date = def->runs[o].date > def->start ? def->runs[o].date : def->start;
    if (date < def->end) (void)fc_sim_at(f->sim, date, FC_AT_SUBMIT, on_run, f, o);
  }
  for (size_t i = 0; i < def->n_streams; i++) {
    const fc_stream_def *stream = &def->streams[i];
    size_t o = def->n_runs + i;
    bool load = stream->rate_per_s.n == 0;
    double mean = load ? fc_dist_truncated_mean(&stream->work_device_s) : 1;
    if (!(mean > 0)) continue;
    f->owner[o].arrivals = fc_arrivals_start(load ? &stream->load_devices : &stream->rate_per_s, 1 / mean,
                                             def->start, f->options.seed, f->owner[o].entity);
    next_arrival(f, o);
  }
  return FC_OK;
}

void fc_jobs_close(fc_fleet *f) {
  for (size_t j = 0; j < f->n_jobs; j++) {
    fc_job *job = &f->job[j];
    if (job->state != FC_JOB_RUNNING) continue;
    settle(f, job, false);
    if (job->left_ns > 0) continue;
    job->state = FC_JOB_DONE; /* at the very end */
    job->end = f->now;
  }
}
