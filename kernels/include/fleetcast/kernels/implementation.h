/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_KERNELS_IMPLEMENTATION_H
#define FC_KERNELS_IMPLEMENTATION_H

#include <fleetcast/kernels/problem.h>

/** An implementation of one operator on one backend: what is checked, then timed.  C and CUDA C++.
 *
 *  Each backend offers a table, best first; a row is tried on every case of its operator and skipped, with
 * the reason, where supports() declines. */

#ifdef __cplusplus
extern "C" {
#endif

enum { FC_WHY = 160 };

/** The device at hand, as its driver states it; unknown numbers are 0, unknown texts "". */
typedef struct fc_machine {
  char gpu[96];       /* device name: column `gpu` */
  char driver[64];    /* column `driver` */
  char library[128];  /* versions of the libraries found: column `library` */
  int compute_units;  /* SMs, cores */
  int capability;     /* CUDA: 10 major + minor; CPU: 0 */
  double cache_bytes; /* last cache */
  double memory_bytes;
  double free_bytes; /* at start */
} fc_machine;

typedef struct fc_implementation {
  fc_bench_op op;
  const char *name; /* column `impl`: "cublaslt", "wgmma", "openmp" */
  /** Can it run this case here?  When not, says why into `why` [FC_WHY].  NULL: always. */
  bool (*supports)(const fc_problem *p, const fc_machine *machine, char *why);
  /** Once for each set of arguments, before launches and outside the time: descriptors, plans, heuristics.
   *  `*state` is NULL for the first set; for each further one it is the first set's, to be kept (shared:
   * choices that do not depend on addresses) or replaced by a new one.  @return 0, or a failure told into
   * `why`.  NULL: nothing to prepare. */
  int (*prepare)(const fc_problem *p, const fc_args *args, const fc_machine *machine, void **state,
                 char *why);
  /** Queues one call.  @return 0, an error of the backend (CUDA: > 0), or minus the status of a library.  It
   * may be captured into a graph: no allocation, no synchronisation. */
  int (*launch)(const fc_problem *p, const fc_args *args, void *state, fc_queue queue);
  /** Frees what prepare made; NULL when prepare is. */
  void (*release)(void *state);
} fc_implementation;

typedef struct fc_implementations {
  size_t n;
  const fc_implementation *item;
} fc_implementations;

#ifdef __cplusplus
}
#endif

#endif
