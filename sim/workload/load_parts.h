/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_WORKLOAD_LOAD_PARTS_H
#define FC_WORKLOAD_LOAD_PARTS_H

#include <fleetcast/base/rng.h>
#include <fleetcast/workload/load.h>

/** The parts of a load: when entries come, what they ask, and who is under way. */

/* --- random numbers: a stream for each use and entry --- */

typedef enum {
  FC_DRAW_GAP,
  FC_DRAW_ENTRY, /* words: input, output, class, prefix */
  FC_DRAW_TURNS, /* of a session */
  FC_DRAW_TURN,  /* words: who speaks, delay, new tokens, output */
  FC_DRAW_PAUSE,
  FC_DRAW_PREFIX,
} fc_draw;

fc_rng fc_load_rng(const fc_load_def *def, fc_draw draw, uint64_t sample);
/** What tells this load's streams from those of other components. */
uint64_t fc_load_entity(const fc_load_def *def, fc_draw draw);

/** A distribution made ready for many draws: fc_dist_quantile, to rounding, but for the last 1e-12 of a
 * lognormal's probability. */
typedef struct {
  fc_dist dist;
  bool quick;                      /* a lognormal whose truncation leaves its middle */
  double low, high, z_low, z_high; /* then: the truncation as probabilities and normal scores */
} fc_sampler;

fc_sampler fc_sampler_of(const fc_dist *dist);
double fc_sampler_at(const fc_sampler *sampler, double u);
bool fc_sampler_is_point(const fc_sampler *sampler);
/** Nanoseconds of a draw in seconds; a negative one is 0. */
fc_time fc_sampler_time(const fc_sampler *sampler, double u);

/* --- arrivals --- */

typedef struct {
  const fc_load_def *def;
  fc_rng gaps;        /* of one word an entry */
  double shape, unit; /* of the gap's distribution of mean 1 */
  double factor;      /* of time: recorded, or of a constant rate [s] */
  double carry;       /* part of a nanosecond */
  fc_demand demand;   /* with def->demand */
  fc_time from, epoch_end, end;
  double epoch_rate;
  size_t first, n; /* the trace's window */
  fc_time trace_from, period;
} fc_pacer;

void fc_pacer_init(fc_pacer *pacer, const fc_load_def *def, size_t first, size_t n);
/** Time of entry e, which is the one after the last asked for.  @return false: no more come */
bool fc_pacer_next(fc_pacer *pacer, uint64_t e, fc_time *at);

/** Shape of the Weibull with this coefficient of variation. */
double fc_weibull_shape(double cv);

/* --- entries --- */

typedef struct {
  uint64_t number;
  uint32_t input, output, slo_class;
  uint32_t group;  /* UINT32_MAX: none */
  uint32_t shared; /* tokens of the prompt that are its group's */
  bool cut;
  uint32_t n_blocks; /* recorded */
  const uint64_t *block;
  uint64_t lap; /* the trace's */
} fc_entry;

typedef struct {
  const fc_load_def *def;
  fc_sampler input, output, turns, pause_s, think_s, new_tokens, tool_s, tool_tokens;
  bool whole;           /* a trace is replayed */
  bool wordless;        /* nothing of an entry is drawn */
  bool sessions;        /* there may be several turns */
  uint32_t made_tokens; /* of a made-up block; 0: none are made */
  uint64_t key;         /* of made-up hashes */
  size_t first, n;      /* the trace's window */
  double *class_sum;    /* [def->n_classes] cumulative shares, the last 1 */
  double *group_sum;    /* [def->prefix.groups] likewise; NULL: evenly */
  size_t trace_groups;
  uint32_t *group_tokens; /* [trace_groups + def->prefix.groups] */
  uint32_t *class_of;     /* of the trace's classes */
} fc_asker;

/** @return FC_OK | FC_E_NOMEM | FC_E_INPUT (told) */
FC_NODISCARD
fc_status fc_asker_init(fc_asker *asker, const fc_load_def *def, size_t first, size_t n, const char *source,
                        fc_diags *d);
void fc_asker_fini(fc_asker *asker);
void fc_asker_entry(const fc_asker *asker, uint64_t e, fc_entry *out);
uint32_t fc_asker_turns(const fc_asker *asker, uint64_t e);

/** From the end of entry e to the start of one that waits for it. */
fc_time fc_asker_pause(const fc_asker *asker, uint64_t e);

typedef struct {
  fc_time delay;
  uint32_t new_tokens, output;
} fc_turn;

/** Turn k >= 1 of session e. */
fc_turn fc_asker_turn(const fc_asker *asker, uint64_t e, uint32_t k);
/** Hashes of the full blocks of a prompt of `input` tokens.  @return how many */
uint32_t fc_asker_blocks(const fc_asker *asker, uint64_t e, uint32_t group, uint32_t shared, uint32_t input,
                         uint64_t *out);

/* --- who waits, and who is under way --- */

typedef struct {
  fc_time at;
  uint64_t order; /* among equal times */
  uint32_t slot;
} fc_waiting;

/** A binary heap, the earliest first, in storage of the caller's. */
typedef struct {
  size_t n;
  fc_waiting *item;
} fc_waiters;

void fc_waiters_push(fc_waiters *waiters, fc_waiting item);
fc_waiting fc_waiters_pop(fc_waiters *waiters);

typedef struct {
  uint64_t entry, request; /* its number; the request that is under way */
  uint32_t turn, turns, slo_class, group, shared;
  uint32_t input, output, context; /* of the turn that waits or is under way; what was said before it */
} fc_session;

/** Sessions that are alive, found by the number of the request that is under way. */
typedef struct {
  size_t n, capacity, n_buckets;
  fc_session *session; /* [capacity] */
  uint32_t *spare;     /* [capacity] free slots, the last n are not */
  uint32_t *bucket;    /* [n_buckets] slot + 1; 0: free */
  fc_waiters waiting;  /* [capacity] */
} fc_sessions;

/** Room for one more.  @return FC_OK | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_sessions_reserve(fc_sessions *sessions);
void fc_sessions_fini(fc_sessions *sessions);
/** A free slot.  @pre reserved */
uint32_t fc_sessions_begin(fc_sessions *sessions);
void fc_sessions_end(fc_sessions *sessions, uint32_t slot);
/** session[slot].request is under way. */
void fc_sessions_enter(fc_sessions *sessions, uint32_t slot);
/** The slot whose request is under way, which then is no longer.  @pre it is there */
uint32_t fc_sessions_leave(fc_sessions *sessions, uint64_t request);

/* --- what was taken --- */

enum { FC_COUNT_EXACT_BITS = 8, FC_COUNT_FINE = 128, FC_COUNTS = 256 + FC_COUNT_FINE * 24 };

typedef struct {
  double sum, squares;
  uint32_t max;
  uint32_t count[FC_COUNTS];
} fc_length_counts;

void fc_counts_add(fc_length_counts *counts, uint32_t tokens);
fc_load_lengths fc_counts_of(const fc_length_counts *counts, uint64_t n);

#endif
