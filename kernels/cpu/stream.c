/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include <fleetcast/kernels/implementation.h>
#include <fleetcast/kernels/operators.h>

/* Ceilings of a CPU: the plainest loops, and the price of waking the threads. */

static int copy(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state;
  (void)queue;
  const float *restrict x = args->at[FC_STREAM_X];
  float *restrict y = args->at[FC_STREAM_Y];
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < p->c.m; i++) y[i] = x[i];
  return 0;
}

/* Sixteen integer sums a chunk: integer addition may be reordered, so the compiler vectorises it. */
static int read(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state;
  (void)queue;
  const uint32_t *x = args->at[FC_STREAM_X];
  uint32_t *sums = args->at[FC_STREAM_Y];
  uint32_t sum = 0;
#pragma omp parallel for schedule(static) reduction(+ : sum)
  for (int64_t i = 0; i < p->c.m; i++) sum += x[i];
  sums[0] = sum;
  return 0;
}

static int write(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)state;
  (void)queue;
  float *y = args->at[FC_STREAM_Y];
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < p->c.m; i++) y[i] = (float)(i % 1024);
  return 0;
}

static int start_threads(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)p;
  (void)args;
  (void)state;
  (void)queue;
#pragma omp parallel
  {
#if defined(__GNUC__)
    __asm__ volatile("");
#endif
  }
  return 0;
}

static bool by_queue_only(const fc_problem *p, const fc_machine *machine, char *why) {
  (void)machine;
  if (p->c.k == 0) return true;
  (void)snprintf(why, FC_WHY, "a CPU has no graphs");
  return false;
}

static const fc_implementation rows[] = {
    {.op = FC_BENCH_COPY, .name = "openmp", .launch = copy},
    {.op = FC_BENCH_READ, .name = "openmp", .launch = read},
    {.op = FC_BENCH_WRITE, .name = "openmp", .launch = write},
    {.op = FC_BENCH_LAUNCH, .name = "openmp", .supports = by_queue_only, .launch = start_threads},
};

extern const fc_implementations fc_cpu_stream;
const fc_implementations fc_cpu_stream = {sizeof rows / sizeof *rows, rows};
