/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BENCH_DEVICE_H
#define FC_BENCH_DEVICE_H

#include <fleetcast/kernels/implementation.h>

/** A backend as the benchmark sees it: memory, launches, time.  One row of functions for the CPU, one for
 * CUDA; all return 0 or an error that text() puts into words. */

#ifdef __cplusplus
extern "C" {
#endif

/** One call to queue. */
typedef struct fc_bench_launch {
  const fc_implementation *impl;
  const fc_problem *problem;
  const fc_args *args;
  void *state;
} fc_bench_launch;

typedef struct fc_bench_device {
  const char *name; /* --backend */
  /** Finds the device.  @return 0, or not there, the reason in `why` [FC_WHY] */
  int (*open)(fc_machine *machine, char *why);
  void (*close)(void);
  const char *(*text)(int error);

  int (*alloc)(void **out, size_t bytes);
  void (*free)(void *memory);
  int (*upload)(void *device, const void *host, size_t bytes);
  int (*download)(void *host, const void *device, size_t bytes);
  /** Fills tensor `index` of a problem with synthetic data of `seed` (formats.h). */
  int (*fill)(void *device, const fc_tensor *tensor, uint64_t seed, int index, bool exact);
  int (*set)(void *device, int byte, size_t bytes);

  /** Runs one call and waits. */
  int (*run)(const fc_bench_launch *launch);
  /** Keeps `n` calls to be replayed in order: CUDA: a graph (by_queue: none, they are queued one by one). The
   * array of launches is the caller's and outlives the recording. */
  int (*record)(void **out, const fc_bench_launch *launch, size_t n, bool by_queue);
  /** Replays, waits, and gives the seconds that the device took. */
  int (*replay)(void *recording, double *seconds);
  void (*discard)(void *recording);

  /** Empties caches and lets the chip rest, as DeepGEMM's and FlashMLA's benchmarks do between runs. */
  int (*flush)(void);
  /** Does it still answer?  After an illegal access a CUDA context does not.  NULL: always. */
  bool (*alive)(void);
  /** Frequency of the compute units right now, 0 if unknown. */
  double (*clock_mhz)(void);

  const fc_implementations *const *tables;
  size_t n_tables;
  bool is_gpu; /* full-size shapes, weights rotate past the last cache; a CPU's last cache is too large to
                  exceed within a short run: there they rotate past the second-level one */
} fc_bench_device;

extern const fc_bench_device fc_bench_cpu;
#if FC_HAVE_CUDA
extern const fc_bench_device fc_bench_cuda;
#endif

#ifdef __cplusplus
}
#endif

#endif
