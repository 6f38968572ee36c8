/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SERVE_REPLICA_H
#define FC_SERVE_REPLICA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/status.h>
#include <fleetcast/base/time.h>
#include <fleetcast/serve/policy.h>
#include <fleetcast/serve/step_table.h>
#include <fleetcast/workload/request.h>

/** One serving replica, iteration by iteration: continuous batching, paged cache, preemption, prefix cache.
 *
 *  Between two instants at which its scheduler has something to decide (a request that can be admitted, a
 *  chunk of a prompt, the first end in the batch, memory running out) all iterations are alike but for a
 *  context that grows evenly: they are summed in closed form.  `reference` takes them one at a time, with
 *  counts made anew each time, to the same nanosecond.
 *  Attention groups are pooled: batch, token budget and cache are all of theirs together, evenly loaded;
 *  but a prompt is computed by its own group, whose chunk the others wait for, and must fit its share of the
 *  cache.  One thread a replica. */

/* --- statistics --- */

enum { FC_DIGEST_SUB = 128, FC_DIGEST_OCTAVES = 54, FC_DIGEST_BUCKETS = FC_DIGEST_SUB * FC_DIGEST_OCTAVES };

/** Non-negative durations in ns: 128 buckets an octave, so a quantile is within 1/128 of its value (1 ns
 *  below 128 ns). */
typedef struct fc_digest {
  uint64_t n;
  double sum, sum_squares; /* [ns], [ns^2] */
  double min, max;         /* [ns], exact; 0 when empty */
  uint64_t count[FC_DIGEST_BUCKETS];
} fc_digest;

void fc_digest_add(fc_digest *digest, double ns, uint64_t times);
void fc_digest_merge(fc_digest *digest, const fc_digest *other);
/** [s]; 0 when empty.  @pre 0 <= p <= 1 (asserted) */
double fc_digest_quantile(const fc_digest *digest, double p);
double fc_digest_mean(const fc_digest *digest); /* [s] */

/* --- what is simulated --- */

typedef enum {
  FC_REFUSED_NOT,
  FC_REFUSED_PROMPT, /* the prompt alone exceeds the cache, or max_context */
  FC_REFUSED_OUTPUT, /* prompt and output together do: it could never end */
  FC_REFUSED_EMPTY,  /* no prompt */
  FC_REFUSED_REASONS
} fc_refusal;

/** A request that is over.  Times of a client: TTFT = first_token - arrival, E2E = finish - arrival,
 *  TPOT = (E2E - TTFT) / (output_tokens - 1). */
typedef struct fc_replica_record {
  uint64_t number;
  fc_time arrival, admitted, first_token, finish; /* refused: all but arrival are the time of refusal */
  uint32_t input_tokens, output_tokens, cached_tokens;
  uint32_t preemptions, session, turn, slo_class;
  fc_refusal refused;
  fc_time front; /* of first_token and finish: what front_request_s and steps_ahead took */
} fc_replica_record;

/** A stretch of equal iterations, for a timeline. */
typedef struct fc_replica_stretch {
  fc_time start, end;
  int64_t iterations, decoding, prefill_tokens, kv_blocks; /* kv_blocks: at the end */
  int64_t context_tokens;                                  /* at the start */
} fc_replica_stretch;

typedef enum { FC_ROLE_WHOLE, FC_ROLE_PREFILL, FC_ROLE_DECODE } fc_replica_role;

typedef struct fc_replica_def {
  const fc_step_table *steps; /* borrowed while the replica lives */
  fc_serve_policy policy;
  fc_replica_role role; /* PREFILL: a request is over with its first token; DECODE: comes with its cache */
  int64_t kv_blocks;    /* of the whole instance; see fc_replica_kv_blocks */
  int64_t block_tokens; /* of one */
  int64_t max_context;  /* tokens of a request; 0: what the cache holds */
  bool prefix_cache;    /* keep blocks that requests name, least recently used first out */
  double cached_share;  /* of every prompt that comes with its cache from elsewhere, [0, 1): it takes memory
                           and is attended to, but not computed (default 0) */
  /** Tokens that an iteration yields a decoding request: 1; with speculation 1 + a1 + a1 a2 + ..., by
   *  acceptance[k], the chance that draft k+1 holds where all before it did.  n_acceptance 0: none. */
  int n_acceptance;
  double acceptance[8];
  bool sample_acceptance; /* iterations that a request needs: drawn; else the mean yield */
  /** Expert imbalance drawn each iteration: factor on the experts' part of the step time with mean 1
   *  (the plan's expert_imbalance is the mean itself) and this coefficient of variation, log-normal; 0: none.
   *  Of a leap of more than 8 iterations the sum is drawn, by its mean and variance. */
  double imbalance_cv;
  const fc_expert_load
      *experts; /* nullable: that coefficient by the tokens of an iteration, in place of it */
  /* Time on the host beside the profile's iteration_host_s; all default 0: nothing is known of it before it
   * is fitted.  The first three lengthen an iteration, the last two a request alone. */
  double host_step_s;    /* an iteration */
  double host_request_s; /* a request of an attention group in it: each has a scheduler of its own */
  double detokenise_s;   /* a token that it yields */
  double ingress_s;      /* before the scheduler sees a request: network, tokeniser */
  double egress_s;       /* from the end of an iteration until the client has the token */
  /* Before a client has its first token, beside ingress; later tokens are as late.  Loads and iterations as
   * they are when the request leaves. */
  double front_request_s; /* for each request in the replica: one process serves them all */
  double steps_ahead;     /* iterations that are queued already when a request comes */
  bool reference;         /* one iteration at a time */
  void *context;          /* of the callbacks, each nullable */
  void (*record)(void *context, const fc_replica_record *record);
  void (*stretch)(void *context, const fc_replica_stretch *stretch);
} fc_replica_def;

/** vLLM's policy, blocks of 16 tokens (vLLM's default), no prefix cache; steps and kv_blocks are to be set.
 */
fc_replica_def fc_replica_default_def(void);
/** @return FC_OK | FC_E_DOMAIN, with a sentence in why [256], nullable */
FC_NODISCARD
fc_status fc_replica_check(const fc_replica_def *def, char *why);
/** Blocks that fit beside the weights, of the whole instance; `context`: tokens of a request, which matter
 *  where layers are windowed.  0: not one. */
int64_t fc_replica_kv_blocks(const fc_model *model, const fc_device *device, const fc_serve_plan *plan,
                             int64_t block_tokens, double context);

/* --- results (large: not for the stack) --- */

/** Where time went [s], of iterations; the parts sum to busy_s. */
typedef struct fc_step_parts {
  double attention_s, dense_s, experts_s, glue_s, head_s, comm_s, launch_s, host_s;
} fc_step_parts;

typedef struct fc_replica_result {
  /* Requests and tokens: in = done + refused + in flight, checked on every run (FC_E_LAW). */
  uint64_t in, done, refused[FC_REFUSED_REASONS], in_flight;
  uint64_t input_tokens, output_tokens;                /* of the requests done */
  uint64_t cached_tokens;                              /* of prompts, when first admitted */
  uint64_t prefilled_tokens;                           /* computed, repeats included */
  uint64_t preemptions, recomputed_tokens;             /* thrown away with a preemption */
  uint64_t kv_allocated, kv_freed, kv_resident;        /* blocks: allocated = freed + resident */
  uint64_t cache_lookups, cache_hits, cache_evicted;   /* blocks of the prefix cache */
  uint64_t iterations, leaps;                          /* leaps: evaluations that took to sum them */
  fc_time start, end;                                  /* first arrival; last iteration's end */
  double span_s, busy_s, prefill_s, decode_s, mixed_s; /* busy: the sum of the three kinds of iteration */
  fc_step_parts parts;
  double energy_j;                            /* all devices, idle time included */
  double batch_mean, batch_peak;              /* decoding requests, over iterations that decode */
  double kv_mean, kv_peak;                    /* blocks in use (not: merely cached); mean over time */
  double queue_mean;                          /* requests that wait, over time */
  double requests_per_s, output_tokens_per_s; /* over the span */
  double bytes_per_resident;                  /* of memory at the peak, a request in the replica */
  double table_error;                         /* largest, of the step table */
  fc_digest ttft, tpot, itl, e2e; /* ITL: gaps between iterations that yield tokens; with speculation the
                                     tokens of one come together */
} fc_replica_result;

/* --- one replica on its own --- */

/** Runs until the source is exhausted and every request is over.
 *  @return FC_OK | FC_E_NOMEM | FC_E_DOMAIN (def) | FC_E_LAW (a law broke: our bug)
 *        | FC_E_INFEASIBLE (no progress is possible: `why` [256], nullable, tells) */
FC_NODISCARD
fc_status fc_replica_run(fc_replica_result *out, const fc_replica_def *def, const fc_request_source *source,
                         uint64_t seed, char *why);

/* --- one among several: the caller brings the requests --- */

typedef struct fc_replica fc_replica;

FC_NODISCARD
fc_status fc_replica_new(fc_replica **out, const fc_replica_def *def, uint64_t seed, uint64_t entity);
void fc_replica_free(fc_replica *replica);
/** Takes a request (its blocks are copied).  @pre arrivals never decrease, none before the last advance */
FC_NODISCARD
fc_status fc_replica_offer(fc_replica *replica, const fc_request *request);
/** Everything that ends before `until`; requests offered at `until` meet the iteration that starts then.
 *  @return as fc_replica_run */
FC_NODISCARD
fc_status fc_replica_advance(fc_replica *replica, fc_time until);
/** End of what is under way as known now; FC_TIME_MAX when idle.  An offer may bring it forward. */
fc_time fc_replica_next(const fc_replica *replica);
/** For routers and autoscalers. */
typedef struct fc_replica_state {
  int64_t waiting, running;  /* requests */
  int64_t waiting_tokens;    /* prompt tokens not yet prefilled, of all */
  int64_t kv_used, kv_total; /* blocks */
  uint64_t done;
} fc_replica_state;
fc_replica_state fc_replica_now(const fc_replica *replica);
/** Prompt tokens of `request` that the prefix cache holds now. */
int64_t fc_replica_would_hit(const fc_replica *replica, const fc_request *request);
/** Everything in it is lost, as with the machine: `lost` (nullable) is told each request; the cache is empty.
 *  They count as refused with FC_REFUSED_NOT.  @pre the last advance was to `at` */
FC_NODISCARD
fc_status fc_replica_fail(fc_replica *replica, fc_time at,
                          void (*lost)(void *context, const fc_replica_record *record), void *context);
/** Checks the laws and fills `out` as of now.  @return FC_OK | FC_E_LAW */
FC_NODISCARD
fc_status fc_replica_take_result(fc_replica_result *out, fc_replica *replica, char *why);

/** ITL samples of all replicas of a run so far, for callbacks: filled before the first one, good until the
 *  run's end. */
typedef struct fc_gaps {
  const void *run;
  void (*sum)(const void *run, fc_digest *out);
} fc_gaps;

/* --- prefill and decode apart --- */

typedef struct fc_disagg_def {
  fc_replica_def prefill, decode; /* roles are set; callbacks: `decode.record` gets whole requests */
  int64_t prefill_replicas, decode_replicas;
  double kv_bytes_per_token;
  double link_bytes_per_s; /* of all transfers together: they contend */
  double link_latency_s;   /* after the last byte left; takes no part of the link */
  bool link_shared;        /* equal shares at a time; else one after another */
  fc_gaps *gaps;           /* nullable; of the decode replicas */
} fc_disagg_def;

typedef struct fc_disagg_result {
  fc_replica_result prefill, decode; /* summed over their replicas; ttft, tpot, itl, e2e in `decode` are the
                                        client's */
  double transfer_mean_s, link_utilisation;
  uint64_t transferred_tokens;
} fc_disagg_result;

/** Prompts go to the prefill replica with the fewest prompt tokens ahead; then over the link, all of a prompt
 *  at once; then to the decode replica with the fewest requests, where they queue for memory.  A prompt's
 * blocks are free once its first token is out: that a slow link holds them longer is not modelled.  ITL does
 * not count the gap of the transfer; TPOT does.  @return as fc_replica_run */
FC_NODISCARD
fc_status fc_disagg_run(fc_disagg_result *out, const fc_disagg_def *def, const fc_request_source *source,
                        uint64_t seed, char *why);

#endif
