/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SERVE_REPLICA_PRIVATE_H
#define FC_SERVE_REPLICA_PRIVATE_H

#include <string.h>

#include <fleetcast/base/rng.h>
#include <fleetcast/serve/replica.h>

#include "prefix.h"
#include "step_table_private.h"

/** Inside of a replica.
 *
 *  Decoding requests step together, so none is touched while it decodes: a clock of tokens (`tick`) runs, and
 *  of each only its offset (`kappa`: it holds kappa + tick tokens) and its last tick are known.  Sums over
 *  them (contexts, blocks to come by phase within a block) move with the clock. */

#define NONE UINT32_MAX /* no slot */
typedef enum { SLOT_FREE, SLOT_PREFILL, SLOT_DECODE, SLOT_REQUEUED } fc_slot_state;

/* A request in the replica. */
typedef struct fc_slot {
  fc_time arrival, admitted, first_token;
  union {
    fc_time last_token; /* while it does not decode, and has decoded */
    int64_t kappa;      /* while it decodes */
  };
  int64_t ends; /* tick after its last token */
  uint64_t number;
  uint64_t *block; /* hashes, NULL: none; the first n_held are its own in the prefix cache */
  uint32_t n_blocks, n_held, weight;
  uint32_t input, output, session, turn, slo_class;
  uint32_t generated;       /* tokens, while it does not decode */
  uint32_t target, present; /* tokens to have in the cache before it decodes; there so far */
  uint32_t cached;          /* of them from the prefix cache */
  uint32_t chunk;           /* in the iteration under way */
  uint32_t older, newer;    /* by admission */
  uint32_t next;            /* in the prefill, requeue or free list */
  uint16_t preemptions;
  uint8_t state;
} fc_slot;

typedef struct fc_end {
  int64_t tick;
  uint32_t slot;
} fc_end;

/* Whole ns and a rest in [-1e-3, 1): sums of steps keep their fractions, and one that falls short of a whole
 * ns by rounding alone counts as there. */
typedef struct fc_instant {
  fc_time ns;
  double rest;
} fc_instant;

#define FC_INSTANT_SLACK 1e-3

static inline fc_instant fc_instant_add(fc_instant t, double ns) {
  t.rest += ns;
  fc_time whole = (fc_time)(t.rest + FC_INSTANT_SLACK);
  t.ns += whole;
  t.rest -= (double)whole;
  return t;
}

typedef enum { STEP_NONE, STEP_DECODE, STEP_PREFILL, STEP_MIXED } fc_step_kind;

/* Iterations of a leap: the context of a group in the first, what each adds. */
typedef struct fc_line {
  fc_between rows;
  double x, dx, extra_ns;
} fc_line;

/* The iterations under way, decided but not yet over. */
typedef struct fc_under_way {
  fc_step_kind kind;
  int64_t n;
  double ns;
  fc_instant end;
  int64_t prefill; /* tokens */
  bool open;       /* a leap that an offer may still cut: not accounted for yet */
  bool paused;     /* decodes waited before it: gaps between tokens are longer than the iteration */
} fc_under_way;

/* Requests that got their last token at the same time: gaps after a pause. */
typedef struct fc_gap {
  fc_time at;
  int64_t n;
} fc_gap;
/* Signs of a livelock: plans in a row that came to nothing, refusals without the clock moving on. */
enum { FC_IDLE_MAX = 1000, FC_REFUSALS_MAX = 10000000 };

/* Draws one by one; of more, the sum by its normal limit. */
enum { FC_DRAWS_MAX = 8, FC_TOKENS_DRAWN = 64 };

enum { GAPS = 64 };

struct fc_replica {
  fc_replica_def def;
  const fc_step_table *table;
  uint64_t seed, entity;
  fc_rng noise;
  const fc_request_source *source; /* or offered: */
  fc_request *ring;
  size_t ring_first, ring_n, ring_capacity;
  /* behind the gate, see replica_gate.c */
  size_t ring_seen, ring_polled; /* of the ring, from its first: arrived; to be admitted */
  int64_t seen_tokens;
  int64_t look_k, wait_k, balance_k; /* decode iterations counted from */
  double one_each;                   /* newcomers that it takes until every group has one */
  double pace_ns;                    /* of the last iteration that decoded */
  fc_time until;                     /* offers are known up to here */
  fc_time ingress, egress;
  fc_request head;
  bool has_head, gated;
  bool blocked;         /* no memory for the next in line: until a request leaves */
  uint64_t *head_block; /* offered requests own theirs */

  fc_slot *slot;
  uint32_t slots, free_slot;
  uint32_t oldest, newest, prefill_first, prefill_last, requeue;
  fc_end *heap;
  size_t heap_n, heap_capacity;

  double groups, yield, yield_square, queries;
  int64_t max_running, context_most, blocks_most; /* context, blocks: of a request */
  int64_t kept_blocks;                            /* by the watermark */
  bool unit;                                      /* yield 1 */
  int64_t decoding, kappa_sum, ends_sum, outputs_sum, k, tick;
  int64_t *phase;          /* [block_tokens] decoding requests by -kappa mod block_tokens */
  int64_t prefill_to_come; /* output tokens of requests that do not decode yet */
  int64_t final_blocks;    /* that running requests will own in the end */
  int64_t own_blocks;      /* that they own now, outside the prefix cache */
  int64_t free_blocks;
  double reserve; /* share, see the policy */
  fc_prefix prefix;

  fc_instant now;
  bool started;
  int64_t running;
  fc_under_way step;
  fc_line line; /* of the leap */
  fc_gap gap[GAPS];
  int gaps;
  bool preempted_now;
  int64_t waiting, waiting_tokens, refused_in_row;

  double *decode_weight;                 /* [rows][x.n] iterations spent at a node */
  double *prefill_weight, *mixed_weight; /* [n] */
  double core_ns, cell_ns, head_ns, exposed_ns, experts_ns, host_ns, kind_ns[4];
  double kv_integral, queue_ns, batch_steps;
  int64_t decode_steps, kv_peak, batch_peak, slots_peak;
  uint64_t generated;                     /* tokens made */
  uint64_t done_prefilled;                /* prompt tokens computed for those that are over */
  uint64_t thrown, lost_out;              /* computed tokens given up; generated tokens of lost requests */
  fc_replica_result *result, *own_result; /* own: allocated here */
  char *why;                              /* nullable, [256] */
};

/* --- digests (replica_digest.c) --- */

static inline uint32_t fc_digest_bucket(double ns) {
  if (!(ns >= 1)) return 0;
  uint64_t raw;
  memcpy(&raw, &ns, sizeof raw);
  uint64_t i = (raw >> 45) - (UINT64_C(1023) << 7);
  return i < FC_DIGEST_BUCKETS - 1 ? (uint32_t)i : FC_DIGEST_BUCKETS - 1;
}
static inline double fc_digest_edge(uint32_t bucket) {
  if (!bucket) return 0;
  uint64_t raw = ((uint64_t)bucket + (UINT64_C(1023) << 7)) << 45;
  double ns;
  memcpy(&ns, &raw, sizeof ns);
  return ns;
}
void fc_digest_add_line(fc_digest *digest, double first, double step, int64_t n, uint64_t times);

/* --- memory (replica_kv.c) --- */

int64_t fc_kv_available(const fc_replica *r);
/* Blocks that `ticks` more of all decoding requests take. */
int64_t fc_kv_need(const fc_replica *r, int64_t ticks);
/* Ticks that `blocks` last for, at most `most`. */
int64_t fc_kv_ticks(const fc_replica *r, int64_t blocks, int64_t most);
void fc_kv_take(fc_replica *r, int64_t blocks);
void fc_kv_give(fc_replica *r, int64_t blocks);
static inline int64_t fc_kv_blocks_of(const fc_replica *r, int64_t tokens) {
  return (tokens + r->def.block_tokens - 1) / r->def.block_tokens;
}
/* Own blocks of a slot. */
int64_t fc_kv_own(const fc_replica *r, const fc_slot *s);
/* Its prompt is computed: what it may share goes into the prefix cache. */
FC_NODISCARD
fc_status fc_kv_publish(fc_replica *r, fc_slot *s);
/* Everything of a slot is given back. */
void fc_kv_release(fc_replica *r, fc_slot *s);

/* --- requests (replica_request.c) --- */

bool fc_feed_peek(const fc_replica *r, fc_time *visible);
/* Fills the head of the queue with the next request that has arrived.  @return false: none */
bool fc_feed_head(fc_replica *r);
void fc_feed_drop(fc_replica *r);
/* Admits the next in line if it may start now.  spare: blocks that decodes need first; room: prompt tokens
 * left to schedule; first: none is scheduled yet.  *slot: NONE if not. */
FC_NODISCARD
fc_status fc_admit(fc_replica *r, int64_t spare, int64_t room, bool first, uint32_t *slot);
bool fc_next_end(fc_replica *r, fc_end *out);
void fc_pop_end(fc_replica *r);
void fc_record_of(const fc_slot *s, fc_time finish, fc_replica_record *out);
void fc_preempt(fc_replica *r);
FC_NODISCARD
fc_status fc_join(fc_replica *r, uint32_t i);
void fc_finish(fc_replica *r, uint32_t i);
/* Takes it out of the decoding sums. */
void fc_leave_decode(fc_replica *r, fc_slot *s);
void fc_slot_free(fc_replica *r, uint32_t i);

/* --- the gate (replica_gate.c) --- */

/* Takes what has arrived into the ring, and lets it in if the policy looks at newcomers now. */
FC_NODISCARD
fc_status fc_gate_look(fc_replica *r);
/* Decode iterations until it opens by itself; INT64_MAX: nobody waits before it. */
int64_t fc_gate_steps(const fc_replica *r);

/* Time until the next one joins those who wait before it: their waits begin then, whether or not they can
 * come in; infinite: nobody is known to. */
double fc_gate_gap_ns(const fc_replica *r);

/* --- results (replica_result.c) --- */

/* Adds one replica's to a sum whose span_s is set: means are over all replicas and that span.  Not added:
 * energy, rates, client's latencies. */
void fc_replica_result_add(fc_replica_result *to, const fc_replica_result *one, double decode_share);

/* --- iterations (replica_step.c, replica_leap.c, replica_reference.c) --- */

int64_t fc_tick_at(const fc_replica *r, int64_t k);
/* Plans what comes next from a boundary; step.kind STEP_NONE: nothing to do now. */
FC_NODISCARD
fc_status fc_plan(fc_replica *r);
FC_NODISCARD
fc_status fc_apply(fc_replica *r);
/* Decodes until something is to be decided. */
void fc_leap(fc_replica *r);
void fc_leap_commit(fc_replica *r);
/* Someone was offered who may come in before it ends. */
void fc_leap_cut(fc_replica *r);
FC_NODISCARD
fc_status fc_reference_step(fc_replica *r);
double fc_host_ns(const fc_replica *r, double sequences, double tokens);
/* What a draw of the experts' imbalance adds to n iterations that spend `experts_ns` each. */
double fc_imbalance_ns(fc_replica *r, double cv, double experts_ns, int64_t n);
static inline bool fc_is_noisy(const fc_replica *r) {
  return r->def.imbalance_cv > 0 || r->def.experts;
}
/* Of an iteration of so many tokens of a group. */
static inline double fc_imbalance_cv(const fc_replica *r, double tokens) {
  return r->def.experts ? fc_expert_load_cv(r->def.experts, tokens) : r->def.imbalance_cv;
}
void fc_gaps_add(fc_replica *r, fc_time at);
bool fc_paused(const fc_replica *r);
/* Of one iteration at context x of a group. */
double fc_experts_ns(const fc_replica *r, fc_between rows, double x);

#endif
