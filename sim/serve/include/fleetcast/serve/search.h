/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_SERVE_SEARCH_H
#define FC_SERVE_SEARCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/status.h>
#include <fleetcast/cost/engine.h>
#include <fleetcast/cost/model.h>
#include <fleetcast/cost/plan.h>
#include <fleetcast/cost/profile.h>
#include <fleetcast/serve/policy.h>
#include <fleetcast/serve/step_table.h>
#include <fleetcast/workload/load.h>

/** The cheapest deployment that meets an objective: devices x parallel plans x batch limits x token budgets.
 *
 *  Every candidate is first bounded by a closed form that leaves out all that only costs time (queueing,
 * empty slots, preemption): the highest rate that it could serve, so the least that it could cost. Candidates
 * are then simulated request by request in the order of that bound, the rate halved towards the highest that
 *  meets the objective, until what is left cannot be cheaper than the best by more than `margin`; then until
 * the same holds for the best of every device.  The same draws serve all candidates and rates; the rates
 * tried are a grid that does not depend on the objective, so that a looser one never lowers a candidate's
 *  rate.  The result does not depend on the number of threads.
 *
 *  With `apart` there are instances too of which x compute prompts and y decode, each with a plan of its own,
 *  the cache between them over the network ports of the smaller side.  Their closed form is the lesser of
 * what either side could do.  Of a device, plans of either side are kept that no other undercuts both in
 *  device-seconds a request and in time (of a prompt; of a token), cheapest first, and of every two of them
 *  the ratios x : y that cost least by it. */

/** @source judgement: 2 % between rates is below the closed forms' own error; 10 batches as in Law,
 *  "Simulation Modeling and Analysis", 9.5.3 (5 to 20); the t quantile is 0.975 with 9 degrees of freedom */
#define FC_SEARCH_RATE_STEP 1.02
#define FC_SEARCH_RATE_SPAN 256.0
#define FC_SEARCH_BATCHES   10
#define FC_SEARCH_T         2.262

/** Of instances apart: plans kept of either side, ratios of every two, and the most of each in one.
 *  @source judgement */
enum { FC_SEARCH_SIDES = 4, FC_SEARCH_RATIOS = 2, FC_SEARCH_RATIO_MOST = 6 };

/** A device to consider, with what runs on it. */
typedef struct fc_search_device {
  const char *name;
  const fc_profile *profile; /* how its kernels perform, or an engine's view of that; device set */
  double usd_per_s;          /* of one device, > 0 */
  fc_serve_plan wish;        /* formats, imbalance, overlap, memory fraction; 0: fc_serve_plan_complete's.
                                Its degrees are not used */
  fc_dtype stored;           /* format whose size the weights have; FP32 (0): that of the linear layers */
  int64_t devices_max;       /* of an instance; 0: a scale-up domain, but 16 at least */
  int64_t stages_max;        /* of a pipeline, tried by twos; 0: 1 */
} fc_search_device;

/** An instance whose iteration times are known otherwise: added to those that are enumerated. */
typedef struct fc_search_instance {
  const char *device;
  double usd_per_s; /* of one device, > 0 */
  fc_serve_plan plan;
  fc_step_function step;
  const void *context;                         /* of step */
  int64_t kv_blocks;                           /* of the whole instance, of the policy's block size */
  double link_bytes_per_s, kv_bytes_per_token; /* network of a device; 0: never apart */
} fc_search_instance;

typedef struct fc_search_slo {
  double ttft_s, tpot_s; /* at most, > 0 */
  double percentile;     /* of requests that must be within, [0.5, 1); 0: the mean must be */
} fc_search_slo;

typedef struct fc_search_def {
  const fc_model *model; /* of `devices` */
  size_t n_devices, n_instances;
  const fc_search_device *devices;
  const fc_search_instance *instances;
  const fc_engine *engine; /* NULL, or overheads beside the iterations */
  double token_s;          /* of the host, for a token that an iteration yields */
  fc_serve_policy policy;  /* its max_batch and token_budget are not used */
  int64_t block_tokens;    /* of the cache */
  size_t n_batches, n_budgets;
  const int64_t *max_batch;    /* [n_batches] of an attention group, ascending */
  const int64_t *token_budget; /* [n_budgets] */
  fc_load_def load;            /* an open loop; its rate, seed and limits are set by the search */
  bool apart;                  /* default false */
  double rate_per_s;           /* requests that the whole deployment must serve; 0: as many as you like, and
                                  instances need not be whole */
  fc_search_slo slo;
  int64_t devices_max; /* of the deployment; 0: any */
  double margin;       /* a candidate is dropped when its bound lies this share below a tie, [0, 1] */
  size_t keep;         /* simulated candidates at most */
  size_t front;        /* of these, for the Pareto front alone */
  uint64_t requests;   /* a run has at least so many */
  uint64_t seed;
  size_t threads;           /* 0: one a processor */
  const atomic_int *cancel; /* nullable */
  void *context;
  void (*progress)(void *context, size_t simulated, size_t most); /* nullable */
} fc_search_def;

/** vLLM's policy; batches 8 to 1,024 by fours' halves, budgets 2,048 and 8,192; margin 0.1, 96 candidates of
 *  which 12 for the front, 2,000 requests; Poisson arrivals.
 *  @source batches and budgets: powers of two up to vLLM's defaults; the rest: judgement */
fc_search_def fc_search_default_def(void);

typedef enum {
  FC_SEARCH_MET,     /* simulated, meets the objective at `rate` */
  FC_SEARCH_MISSED,  /* simulated, misses it at any rate */
  FC_SEARCH_DEARER,  /* its bound lies above the best */
  FC_SEARCH_UNTRIED, /* could be cheaper, but `keep` were simulated */
  FC_SEARCH_MEMORY,  /* weights and one request do not fit */
  FC_SEARCH_TTFT,    /* a prompt alone takes longer than the objective */
  FC_SEARCH_TPOT,    /* the smallest batch takes longer than the objective */
  FC_SEARCH_DEVICES, /* more devices than there are */
  FC_SEARCH_PROFILE, /* the profile lacks a kernel */
  FC_SEARCH_STATES
} fc_search_state;

/** "meets the objective", "no room beside the weights", ... */
const char *fc_search_state_text(fc_search_state state);

typedef enum { FC_BINDS_NOTHING, FC_BINDS_TTFT, FC_BINDS_TPOT, FC_BINDS_KV, FC_BINDS_BATCH } fc_search_binds;
const char *fc_search_binds_text(fc_search_binds binds);

/** What was simulated at one rate; `half`: half the 95 % interval, of batch means. */
typedef struct fc_search_point {
  double rate_per_s; /* of an instance */
  double ttft_s, ttft_half_s, tpot_s, tpot_half_s;
  double batch_mean, kv_share; /* of the instance: requests decoding; cache in use, over time */
  double preempted;            /* preemptions a request */
  double refused;              /* share of requests */
} fc_search_point;

typedef struct fc_search_candidate {
  const char *device;
  double usd_per_s;   /* of one device */
  fc_serve_plan plan; /* apart: of those that decode, as are max_batch and kv_blocks */
  int64_t max_batch, token_budget;
  int64_t kv_blocks;
  int64_t instance_devices;  /* = plan.devices; apart: of all that make one */
  int64_t prefills, decodes; /* apart: how many of each; else 0 */
  fc_serve_plan prefill_plan;
  int64_t prefill_kv_blocks;
  size_t option; /* candidates of one device and plan have it in common */
  fc_search_state state;
  /* by the closed form */
  double bound_rate, bound_usd_per_mtok; /* highest rate of an instance, least cost */
  double screen_ttft_s, screen_tpot_s;   /* of a prompt alone; at the bound, or at the smallest batch */
  double weight_bytes;                   /* of a device */
  /* simulated: MET and MISSED alone */
  fc_search_point at;         /* at the highest rate that meets the objective; MISSED: at the least tried */
  fc_search_point past;       /* at the next, which misses it; MET alone, its rate 0: none was found */
  double rate_low, rate_high; /* where the limit lies within, or outside, the 95 % interval */
  fc_search_binds binds;      /* what the next rate fails by */
  double instances;           /* whole where a rate is asked */
  double devices;
  double usd_per_mtok, usd_low, usd_high; /* a million output tokens at the rate asked */
  double usd_least, usd_most; /* 95 %: the simulation's and the iteration time's uncertainty together */
  double usd_full;            /* the same with every instance at its highest rate */
  double log_sd; /* of ln(iteration time) there: a measured view's as validated, of forms the profile's own */
  bool front;    /* nothing is both cheaper and faster a token */
  char why[320]; /* MET: why it lost to the best; else why it is out */
} fc_search_candidate;

enum { FC_SEARCH_NAME = 256 };
/** "8 x h100 (tp 8, batch 256, budget 8192)";
 *  apart "12 x h100 (prefill 1 x tp 4, budget 8192; decode 2 x tp 4, batch 256)" */
void fc_search_name(char out[FC_SEARCH_NAME], const fc_search_candidate *candidate);

typedef struct fc_search_result {
  size_t n;
  fc_search_candidate *candidate; /* [n] cheapest first, then the missed ones, then what was not simulated */
  size_t n_met, n_simulated;
  size_t count[FC_SEARCH_STATES];
  size_t undivided;               /* plans that do not divide the model, not among the candidates */
  double input_mean, output_mean; /* tokens of the load */
  double excess;                  /* largest simulated rate over its bound, - 1; negative: all within */
  bool proven;                    /* nothing UNTRIED: the cheapest within the margin */
  size_t runner_up;               /* best of another device or plan; n: none */
  size_t other_way;               /* best of those apart where the best is not, and the reverse; n: none */
  char answer[1024];              /* the cheapest in a sentence, or the nearest miss */
} fc_search_result;

/** @return FC_OK (also where nothing meets the objective: n_met = 0, `answer` tells) | FC_E_NOMEM
 *        | FC_E_DOMAIN (`why` [256], nullable, tells) | FC_E_CANCELLED | FC_E_LAW */
FC_NODISCARD
fc_status fc_search_run(fc_search_result *out, const fc_search_def *def, char *why);
void fc_search_result_fini(fc_search_result *result);

#endif
