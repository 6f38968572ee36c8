/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SERVE_CLUSTER_PRIVATE_H
#define FC_SERVE_CLUSTER_PRIVATE_H

#include <fleetcast/serve/cluster.h>

/** Inside of a cluster: its replicas by number, what happens to them next in two races, requests that must be
 *  remembered because they may come again or wait for a replica. */

/* The least of n values, of equals the one of lower rank: a tree of winners. */
typedef struct fc_entry {
  int64_t value;
  uint64_t rank; /* any, above the number in its low bits */
} fc_entry;
enum { FC_NUMBER_BITS = 20 };
typedef struct fc_race {
  fc_entry *node; /* [2 leaves], the winner at 1 */
  uint32_t leaves;
} fc_race;

struct fc_cluster;

typedef struct fc_node {
  struct fc_cluster *cluster;
  fc_replica *replica;
  uint32_t number, seat; /* seat: in `serving` */
  fc_replica_condition condition;
  int length; /* class of prompts, FC_ROUTE_LENGTH */
  fc_time since;
  fc_time ns[FC_REPLICA_CONDITIONS];
  fc_time busy_since, busy_ns; /* in this interval of the scaler */
  uint64_t wishes, starts, failures;
  uint64_t in, done, refused, lost;
  uint64_t turn; /* when it was last given one */
  int64_t work;  /* predicted [ns] of what it was given, FC_ROUTE_LEAST_WORK */
} fc_node;

/* A request under way, where it may have to be given again. */
typedef struct fc_passage {
  fc_request request;
  uint64_t *block;
  fc_time due;   /* of a retry; since when at the router */
  uint64_t next; /* number, in a queue */
  uint32_t attempts;
  bool used;
} fc_passage;

typedef struct fc_queue {
  uint64_t first, last, n;
} fc_queue;

typedef struct fc_cluster {
  fc_cluster_def def;
  const fc_request_source *source;
  fc_cluster_result *out;
  uint64_t seed;
  char *why;
  fc_status status;

  fc_time now;
  fc_node *node;
  uint32_t n, n_serving, n_idle; /* idle: of those that serve */
  uint32_t *serving;
  int64_t *outstanding;         /* [n] requests given and not over */
  fc_race load[FC_LENGTHS_MAX]; /* of those that serve, as the route counts it; by length; may be unmade */
  uint64_t turn;                /* requests given so far: who waited longest comes first of equals */
  fc_race steps, life;          /* ends of iterations; changes of condition */
  uint32_t cursor;
  double *slo_ns; /* [2 n_classes] ttft, tpot */

  bool digests; /* kept by class; else they are those of the replicas */
  bool dynamic; /* replicas come and go: passages are kept */
  fc_passage *passage;
  uint64_t passages; /* a power of two */
  fc_queue at_router, retries;

  fc_time next_scale, next_sample, last_change;
  int64_t count[FC_REPLICA_CONDITIONS];
  uint64_t integral[FC_REPLICA_CONDITIONS]; /* [ns], modulo 2^64 */
  fc_time counted;
  fc_time load_ns;

  fc_digest *gaps;          /* replicas apart: as of the last window that ran, where def.gaps is asked for */
  double mean_in, mean_out; /* sums over those done, FC_ROUTE_LEAST_WORK */
  int64_t mean_ns;          /* of a request's output */
  uint64_t idle_controls;   /* without a request moving on, for the livelock detector */
} fc_cluster;

static inline bool fc_serves(const fc_node *node) {
  return node->condition == FC_REPLICA_UP;
}

static inline uint32_t fc_entry_number(fc_entry e) {
  return (uint32_t)(e.rank & ((UINT64_C(1) << FC_NUMBER_BITS) - 1));
}

/* All INT64_MAX. */
FC_NODISCARD
fc_status fc_race_init(fc_race *race, uint32_t n);
static inline fc_entry fc_race_first(const fc_race *race) {
  return race->node[1];
}
static inline void fc_race_set_ranked(fc_race *race, uint32_t number, int64_t value, uint64_t turn) {
  fc_entry *node = race->node, best = {value, (turn << FC_NUMBER_BITS) | number};
  size_t i = (size_t)race->leaves + number;
  if (node[i].value == value && node[i].rank == best.rank) return;
  for (node[i] = best; i > 1; node[i] = best) { /* by masks: a branch here would be a coin toss */
    fc_entry other = node[i ^ 1];
    uint64_t beaten = (uint64_t)(other.value < best.value) |
                      ((uint64_t)(other.value == best.value) & (uint64_t)(other.rank < best.rank));
    best.value ^= (best.value ^ other.value) & -(int64_t)beaten;
    best.rank ^= (best.rank ^ other.rank) & -beaten;
    i /= 2;
  }
}
static inline void fc_race_set(fc_race *race, uint32_t number, int64_t value) {
  fc_race_set_ranked(race, number, value, 0);
}

/* --- routing (cluster_route.c) --- */

/* Of those that look at no replica. */
uint32_t fc_route_blind(fc_cluster *c, const fc_request *q);
/* @pre one serves */
uint32_t fc_route_choose(fc_cluster *c, const fc_request *q, uint32_t attempt);
bool fc_route_needs_load(fc_route route);
/* Its load has changed. */
void fc_route_refresh(fc_cluster *c, fc_node *node);
/* Predicted time of a request, or of its prompt [ns], >= 1. */
int64_t fc_route_work(const fc_cluster *c, uint32_t input, uint32_t output);
void fc_route_learn(fc_cluster *c, uint32_t input, uint32_t output);

/* --- requests (cluster_request.c) --- */

void fc_arrive(fc_cluster *c);
/* Its class is there?  FC_E_DOMAIN, and why. */
FC_NODISCARD
fc_status fc_class_check(fc_cluster *c, fc_request *q);
void fc_count_in(fc_cluster *c, const fc_request *q);
void fc_count_given(fc_cluster *c, fc_node *node);
void fc_count_end(fc_cluster *c, fc_node *node, const fc_replica_record *r);
void fc_record(void *context, const fc_replica_record *record);
void fc_lost(void *context, const fc_replica_record *record);
void fc_retry(fc_cluster *c);
/* A replica came up: who waits at the router goes on. */
void fc_router_flush(fc_cluster *c);
fc_time fc_retry_next(const fc_cluster *c);
uint64_t fc_in_flight(const fc_cluster *c);
/* What the replica does next has changed. */
void fc_node_refresh(fc_cluster *c, fc_node *node);

/* --- lives of replicas (cluster_life.c) --- */

void fc_condition_set(fc_cluster *c, fc_node *node, fc_replica_condition to);
void fc_come_up(fc_cluster *c, fc_node *node);
/* Its time has come, see `life`. */
void fc_life_change(fc_cluster *c, fc_node *node);
/* Drained: given back. */
void fc_leave_if_drained(fc_cluster *c, fc_node *node);
void fc_scale_now(fc_cluster *c);
void fc_sample_now(fc_cluster *c);
fc_time fc_after(fc_time t, fc_time more);

/* --- replicas apart (cluster_free.c) --- */

bool fc_runs_free(const fc_cluster *c);
void fc_run_free(fc_cluster *c);

/* --- results (cluster_result.c) --- */

/* Fills def.gaps. */
void fc_gaps_offer(fc_cluster *c);
/* Sums them as of now, while no replica runs. */
void fc_gaps_keep(fc_cluster *c);
fc_status fc_cluster_collect(fc_cluster *c);

#endif
