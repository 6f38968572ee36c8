/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_WORKLOAD_LOAD_H
#define FC_WORKLOAD_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/diag.h>
#include <fleetcast/base/dist.h>
#include <fleetcast/workload/demand.h>
#include <fleetcast/workload/request.h>
#include <fleetcast/workload/trace.h>

/** The requests that a deployment is given: replayed, or made up.
 *
 *  An *entry* is a single request or a session of several; it has a time, lengths, a class, perhaps a shared
 *  prefix.  Entry e's draws are functions of (seed, entity, e) and of what they are for, so that changing one
 *  input shifts no other: the same lengths at twice the rate, the same arrivals with other lengths.
 *
 *  Open loop: entries come at their times.  With `concurrency` N at most N entries are under way: one waits
 *  until another is done, then comes at once.  With FC_ARRIVE_AT_ONCE that is the closed loop of the
 *  benchmark clients. */

/** How the gaps between entries are drawn; the first entry comes one gap after time 0. */
typedef enum {
  FC_ARRIVE_POISSON,
  FC_ARRIVE_GAMMA,   /* gaps with coefficient of variation `arrival_cv` */
  FC_ARRIVE_WEIBULL, /* likewise */
  FC_ARRIVE_EVENLY,  /* all gaps alike */
  FC_ARRIVE_AT_ONCE, /* all at time 0, or as `concurrency` lets them */
  FC_ARRIVE_TRACE,   /* as recorded */
} fc_arrive;

/** A prompt's beginning that several entries have in common: system prompts, documents, tools. */
typedef struct fc_prefix_def {
  double share;   /* of entries that begin with one, [0, 1] (default 0) */
  size_t groups;  /* different ones, 1 to 2^20 (default 1) */
  double zipf;    /* group g (from 1) is chosen in proportion to g^-zipf; 0: evenly (default) */
  fc_dist tokens; /* length of a group's, drawn once a group (default 0).  Replaying: what the trace does
                     not say of its groups */
  bool adds;      /* true: comes on top of the drawn input; false (default): is part of it, and where it
                     is longer the input is one token longer than the prefix.  Replaying: the recorded
                     length stays, and the prefix is cut to it */
} fc_prefix_def;

/** A conversation or an agent.  The prompt of a later turn is all that was said before and what is new:
 *  prompt(n) = prompt(n-1) + output(n-1) + new tokens.  It arrives when turn n-1 is done and a delay over:
 *  a tool's run with probability `tool_share`, else a person's reading and typing.  A negative draw of a
 * delay is 0. */
typedef struct fc_session_def {
  fc_dist turns;       /* requests of a session, rounded, 1 to 65,535 (default 1: single requests) */
  fc_dist think_s;     /* delay before a person's turn [s] (default 0) */
  fc_dist new_tokens;  /* that a person adds, rounded, at least 1 (default 1) */
  double tool_share;   /* of later turns, [0, 1] (default 0) */
  fc_dist tool_s;      /* delay before a tool's turn [s] (default 0) */
  fc_dist tool_tokens; /* that a tool's answer adds, rounded, at least 1 (default 1) */
} fc_session_def;

typedef struct fc_load_def {
  uint64_t seed;
  uint64_t entity; /* tells the loads of one run apart; below 2^48 */

  /* --- when --- */
  fc_arrive arrive;
  double rate_per_s; /* entries a second, > 0.  FC_ARRIVE_TRACE: 0 (default) as recorded, else time is
                        compressed to this mean rate.  FC_ARRIVE_AT_ONCE, or with `demand`: not used */
  double rate_scale; /* a factor on all rates: 2 halves every gap, recorded ones too (default 1) */
  double arrival_cv; /* [0.05, 20]; FC_ARRIVE_GAMMA and WEIBULL alone (default 1: Poisson) */
  const fc_demand_def *demand; /* NULL, or the rate over time in place of rate_per_s, entries/s: a series, a
                                  weekly shape, dated factors, bursts; gaps are drawn in time stretched by
                                  it; not with FC_ARRIVE_TRACE or AT_ONCE; borrowed */
  fc_time demand_start;        /* date of time 0 */
  double epoch_s;              /* within one the rate is constant, its mean (default 60 s); 10^7 of them
                                  without an arrival end the load */

  /* --- how long: up to the first limit met; at least one where requests are made up --- */
  uint64_t requests; /* 0 (default): no limit */
  double duration_s; /* nothing arrives at or after it; 0 (default): no limit */
  bool repeat;       /* a trace is begun anew at its end, with other prompts of the same lengths but the same
                        prefix groups (default: the load ends) */

  /* --- the closed loop --- */
  size_t concurrency; /* entries under way at most, up to 2^24; 0 (default): open loop */
  double ramp_s;      /* the first N come evenly over it (default 0: all at once) */
  fc_dist pause_s;    /* from an entry's end to the start of one that waits for it [s] (default 0) */

  /* --- what is asked --- */
  const fc_trace *trace;  /* NULL, or recorded requests; borrowed.  FC_ARRIVE_TRACE and in_order replay them
                             whole: lengths, blocks, groups, classes; else pairs of both lengths are drawn
                             from it, in place of `input` and `output` */
  bool in_order;          /* with another `arrive`: one after the other, not drawn (default false) */
  double from_s, until_s; /* the trace's requests in [from_s, until_s) alone (default 0 and +infinity) */
  fc_dist input;          /* prompt tokens, rounded, at least 1 (default 1,024) */
  fc_dist output;         /* generated tokens, rounded, at least 0 (default 128) */
  double correlation;     /* of their normal scores, (-1, 1) (default 0) */
  uint32_t input_max;     /* longer prompts are cut, >= 1 (default 2^20) */
  uint32_t output_max;    /* longer outputs are cut (default 2^20) */
  fc_prefix_def prefix;   /* a replayed request that has blocks or a group of its own keeps those */
  fc_session_def session; /* not of replayed requests */
  uint32_t context_max;   /* prompt + output of a turn; a session that would pass it ends (default 131,072) */
  uint32_t block_tokens;  /* of made-up blocks, 0: none (default 512, as Mooncake's); they are made only where
                             prompts can have something in common */

  /* --- SLO classes: a trace's are numbered by name, all other entries by share --- */
  size_t n_classes;              /* up to 2^16; 0: all are of class 0 */
  const double *class_share;     /* [n_classes] >= 0, of any sum > 0; NULL: alike; borrowed */
  const char *const *class_name; /* [n_classes] as a trace calls them; NULL: a trace's are numbered as they
                                    appear; borrowed */
} fc_load_def;

/** Poisson, 1,024 tokens in and 128 out, single requests; a rate and a limit are to be set.
 *  @source the lengths: defaults of vLLM's `bench serve` with its random data set */
fc_load_def fc_load_default_def(void);

/** A lognormal from its mean and coefficient of variation.  @pre mean > 0, cv >= 0 */
fc_dist fc_dist_lognormal_cv(double mean, double cv);

/** Everything in its domain?  Each fault is one error told to d, under `source` and without a position, named
 *  by its field ("arrival_cv = 0 is outside [0.05, 20]").  @return FC_OK | FC_E_INPUT */
FC_NODISCARD
fc_status fc_load_check(const fc_load_def *def, const char *source, fc_diags *d);

typedef struct fc_load fc_load;

/** Copies the definition; what it points to is borrowed for the load's life.
 *  @return FC_OK | FC_E_INPUT (as fc_load_check; no request in the window; a class of the trace is not among
 *          class_name) | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_load_new(fc_load **out, const fc_load_def *def, const char *source, fc_diags *d);
void fc_load_free(fc_load *load);

/** The stream.  Requests come in order of time, also when a caller tells of an end later than it has taken
 *  arrivals: the next turn then comes at the time of the last taken.  Sessions are numbered from 1, turns
 *  from 0.  Blocks are full ones: n_blocks * block_tokens <= input_tokens.
 *  Every request taken must be told to `done` once. */
fc_request_source fc_load_source(fc_load *load);

/** FC_E_NOMEM when the stream ended because there was no room for another session; else FC_OK. */
fc_status fc_load_status(const fc_load *load);

/** Of the requests taken so far. */
typedef struct fc_load_lengths {
  double mean, sd;
  uint32_t p50, p90, p99, max; /* p..: to 0.4 %, exact below 256 */
} fc_load_lengths;

typedef struct fc_load_summary {
  uint64_t requests, entries;
  uint64_t cut;            /* requests shortened to input_max or output_max */
  uint64_t sessions_short; /* sessions that ended at context_max before their last turn */
  uint64_t input_tokens, output_tokens;
  double span_s;     /* from time 0 to the last arrival */
  double rate_per_s; /* requests / span; 0 where there is no span */
  double gap_cv;     /* of the gaps between requests; 0 below two gaps */
  fc_load_lengths input, output;
  uint64_t under_way, under_way_max; /* requests taken and not done */
} fc_load_summary;

fc_load_summary fc_load_so_far(const fc_load *load);

#endif
