/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TRAIN_PLAN_SEARCH_H
#define FC_TRAIN_PLAN_SEARCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/status.h>
#include <fleetcast/cost/model.h>
#include <fleetcast/cost/plan.h>
#include <fleetcast/cost/profile.h>
#include <fleetcast/train/run.h>

/** The cheapest or the fastest way to train a model: devices x counts x parallel plans.  Model: docs/plan.md.
 *
 *  Every plan is checked, then weighed against the memory, then timed by the closed form.  Days and cost of
 * one device at one count both grow with the time a token alone, so that its best plan is the fastest, and
 * the Pareto front of days and cost consists of such best plans.  Nothing is left out but a plan that
 * recomputes more than another, otherwise equal one that fits: it cannot be faster.  Plans are then timed by
 * the graph of their schedule (train/step.h) in the order of the closed form, until what is left of their
 * device and count could not be the fastest even if its graph were faster by `margin`: of graphs that are
 * not, the answer is exact.  It does not depend on the number of threads. */

/** What a degree may be, in the order in which it is tried; n 0: all that the search knows. */
typedef struct fc_train_choices {
  size_t n;
  const int64_t *value;
} fc_train_choices;

/** Spread of ln(step) of one plan against another of the same model and device: what is not common to both.
 *  @source vTrain's 360 A100 steps, one device, many plans: median error 5.6 % around a median ratio of 1.004
 *  (docs/model.md#errors), over 0.6745, the median of a half-normal */
#define FC_TRAIN_PLAN_LOG_SD 0.083
/** Plans that lack at most this share of the memory are timed too, to say what more memory would bring.
 *  @source judgement: what a device's next version with more memory adds is rarely less */
#define FC_TRAIN_NEAR_MEMORY 0.1

/** A device to consider. */
typedef struct fc_train_search_device {
  const char *name;
  const fc_profile *profile; /* device set */
  double usd_per_s;          /* of one device, > 0 */
  size_t n_counts;
  const int64_t *counts; /* [n_counts] devices of the run, >= 1 */
} fc_train_search_device;

typedef enum { FC_TRAIN_CHEAPEST, FC_TRAIN_FASTEST } fc_train_objective;

typedef struct fc_train_search_def {
  const fc_model *model;
  size_t n_devices;
  const fc_train_search_device *devices;
  double tokens;                   /* of the run, > 0 */
  fc_train_plan base;              /* sequence, imbalance, overlap, launch, flags: the same for all; 0: as in
                                      fc_train_estimate_auto.  Nothing else is used */
  double batch_tokens;             /* of a step, where no global batch is given; 0: FC_TRAIN_BATCH_TOKENS */
  fc_train_choices tp;             /* powers of two within a scale-up domain, at most 8 */
  fc_train_choices pp;             /* what divides, at most 64 and the layers */
  fc_train_choices cp;             /* powers of two up to 16 that leave a rank 4,096 tokens */
  fc_train_choices ep;             /* powers of two up to 256 and the experts */
  fc_train_choices virtual_stages; /* 2 to 6 and 8, interleaved alone */
  fc_train_choices micro_batch;    /* 1, 2, 4 */
  fc_train_choices global_batch;   /* of batch_tokens */
  fc_train_choices zero;           /* 0 to 3 */
  fc_train_choices schedule;       /* fc_schedule */
  fc_train_choices recompute;      /* fc_recompute, ascending */
  fc_train_choices gemm;           /* fc_dtype; FP8 where model and device have it, else BF16 */
  fc_train_objective objective;
  int64_t devices_max; /* 0: any */
  double wall_s, usd;  /* at most; 0: any */
  double memory;       /* share of the device memory that may be used, (0, 1]; 0: 1 */
  fc_failure failure;
  double margin;   /* that a graph may be faster than its closed form, [0, 1]; 1: all graphs are played */
  bool exhaustive; /* leaves nothing out: slower, the same answer */
  size_t threads;  /* 0: one a processor */
  const atomic_int *cancel; /* nullable */
} fc_train_search_def;

/** @source judgement: twice what graphs were faster at most in the shipped searches, 2.7 % (the page tells)
 */
#define FC_TRAIN_SEARCH_MARGIN 0.05

/** What became of a plan. */
#define FC_TRAIN_STATE_MAP(X)                                                                                \
  X(FEASIBLE, "within all limits")                                                                           \
  X(LATE, "past the deadline")                                                                               \
  X(DEAR, "over the budget")                                                                                 \
  X(DOMINATED, "recomputes more than another that fits")                                                     \
  X(MEMORY, "needs more memory than there is")                                                               \
  X(DEVICES, "more devices than allowed")                                                                    \
  X(FORMAT, "the device lacks the number format")                                                            \
  X(PROFILE, "the profile lacks a kernel")                                                                   \
  X(STANDSTILL, "failures come faster than checkpoints")                                                     \
  X(REFUSED, "cannot be")

typedef enum {
#define FC_TRAIN_STATE_ENUM(name, text) FC_TRAIN_##name,
  FC_TRAIN_STATE_MAP(FC_TRAIN_STATE_ENUM)
#undef FC_TRAIN_STATE_ENUM
      FC_TRAIN_STATES
} fc_train_state;

const char *fc_train_state_text(fc_train_state state);

/** One plan, all told. */
typedef struct fc_train_candidate {
  size_t device;        /* index */
  fc_train_state state; /* FEASIBLE, LATE, DEAR; MEMORY: a near miss */
  fc_train_estimate estimate;
  double closed_s;              /* step by the closed form */
  double wall_s, device_s, usd; /* of the run, failures included */
  double short_bytes;           /* near miss: memory that is lacking */
  bool front;                   /* nothing is both cheaper and faster */
  char why[640];
} fc_train_candidate;

enum { FC_TRAIN_REASONS = 32, FC_TRAIN_REASON = 120, FC_TRAIN_PLAN_NAME = 192, FC_TRAIN_NOTHING = 160 };

/** "2048 x h800 (tp1 pp16 ep64 dualpipe, zero 1, selective recomputation, fp8)" */
void fc_train_candidate_name(char out[FC_TRAIN_PLAN_NAME], const fc_train_search_def *def,
                             const fc_train_candidate *candidate);

typedef struct fc_train_reason {
  char text[FC_TRAIN_REASON];
  size_t count;
} fc_train_reason;

typedef struct fc_train_search_result {
  size_t n;                 /* best of every device and count: within the limits first, by the objective */
  fc_train_candidate *best; /* [n] */
  fc_train_candidate runner_up; /* of another device or other degrees; estimate.step_s 0: none */
  size_t n_near;
  fc_train_candidate *near;      /* [n_near] would be better than best[0], best first; one a device */
  size_t n_feasible_groups;      /* of best[], within all limits */
  size_t tried;                  /* plans */
  size_t count[FC_TRAIN_STATES]; /* sums to tried */
  size_t n_reasons;
  fc_train_reason reason[FC_TRAIN_REASONS]; /* of REFUSED, most frequent first */
  char (*nothing)[FC_TRAIN_NOTHING];        /* [n_devices] why a device has no plan at all; "": it has */
  double leanest_bytes;                     /* least memory of a plan that does not fit */
  size_t leanest_device;
  size_t graphs;                /* plans timed by their graph */
  double graph_low, graph_high; /* least and largest graph over closed form, of these */
  char answer[1024];
} fc_train_search_result;

/** @return FC_OK (also where nothing is within the limits: n_feasible_groups = 0, `answer` tells) |
 * FC_E_NOMEM | FC_E_DOMAIN (`why` [256], nullable, tells) | FC_E_CANCELLED.  Nothing to free unless FC_OK */
FC_NODISCARD
fc_status fc_train_search_run(fc_train_search_result *out, const fc_train_search_def *def, char *why);
void fc_train_search_result_fini(fc_train_search_result *result);

/** Chance that `a` needs less time a token, or less cost, than `b`, `ratio` being b's figure over a's: normal
 * in the logarithm.  Plans of one device differ by FC_TRAIN_PLAN_LOG_SD each, of two devices by all that is
 * not known. */
double fc_train_chance(const fc_train_candidate *a, const fc_train_candidate *b, double ratio);

#endif
