/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* sysconf's cache sizes */
#include "device.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef _OPENMP
#include <omp.h>
#endif
#if FC_HAVE_OPENBLAS
#include <cblas.h>
#endif

#include "tables.h"

/* The machine that this program runs on, as a device: memory is memory, a recording is a list. */

static double seconds(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void read_model(char *out, size_t room) {
  FILE *f = fopen("/proc/cpuinfo", "r");
  char line[256];
  (void)snprintf(out, room, "cpu");
  while (f && fgets(line, sizeof line, f)) {
    char *colon = strchr(line, ':');
    if (!colon || strncmp(line, "model name", 10) != 0) continue;
    line[strcspn(line, "\n")] = '\0';
    (void)snprintf(out, room, "%.90s", colon + 2);
    break;
  }
  if (f) (void)fclose(f);
}

/* Runnable processes of the last minute, 0 where the system does not say. */
static double load_average(void) {
  FILE *f = fopen("/proc/loadavg", "r");
  char line[64] = "";
  if (f && !fgets(line, sizeof line, f)) *line = '\0';
  if (f) (void)fclose(f);
  return strtod(line, NULL);
}

static int threads(void) {
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}

static int cpu_open(fc_machine *m, char *why) {
  (void)why;
  *m = (fc_machine){.compute_units = threads()};
  read_model(m->gpu, sizeof m->gpu);
#if FC_HAVE_OPENBLAS
  /* with threads of its own it competes with OpenMP's, which wait actively between calls */
  bool own_threads = openblas_get_parallel() == OPENBLAS_THREAD;
  (void)snprintf(m->library, sizeof m->library, "%.40s %s%s, %d threads, load %.1f", openblas_get_config(),
                 openblas_get_corename(), own_threads ? " (own threads)" : "", threads(), load_average());
#else
  (void)snprintf(m->library, sizeof m->library, "no OpenBLAS, %d threads, load %.1f", threads(),
                 load_average());
#endif
  m->cache_bytes = fmax(0, (double)sysconf(_SC_LEVEL3_CACHE_SIZE)); /* -1: unknown */
  m->memory_bytes = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
  m->free_bytes = (double)sysconf(_SC_AVPHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
  return 0;
}

static void cpu_close(void) {}

static const char *cpu_text(int error) {
  return error == 1 ? "out of memory" : "the call failed";
}

static int cpu_alloc(void **out, size_t bytes) {
  return posix_memalign(out, 4096, bytes) == 0 ? 0 : 1;
}

static int cpu_copy(void *to, const void *from, size_t bytes) {
  if (bytes > 0) memcpy(to, from, bytes);
  return 0;
}

/* By all threads, as the kernels: whoever writes a page first has it in his memory. */
static int cpu_set(void *at, int byte, size_t bytes) {
  enum { CHUNK = 1 << 16 };
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < bytes; i += CHUNK)
    memset((char *)at + i, byte, bytes - i < CHUNK ? bytes - i : CHUNK);
  return 0;
}

static int cpu_fill(void *at, const fc_tensor *t, uint64_t seed, int index, bool exact) {
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < t->count; i++) {
    float x = fc_fill_value(t->fill, t->spread, exact, fc_fill_bits(seed, (uint64_t)index, i));
    switch (t->elem) {
    case FC_ELEM_F32: ((float *)at)[i] = x; break;
    case FC_ELEM_BF16: ((uint16_t *)at)[i] = fc_bf16_encode(x); break;
    case FC_ELEM_E4M3: ((uint8_t *)at)[i] = fc_e4m3_encode(x); break;
    case FC_ELEM_I32: ((int32_t *)at)[i] = (int32_t)x; break;
    }
  }
  return 0;
}

static int cpu_run(const fc_bench_launch *l) {
  return l->impl->launch(l->problem, l->args, l->state, NULL);
}

typedef struct {
  const fc_bench_launch *launch;
  size_t n;
} recording;

static int cpu_record(void **out, const fc_bench_launch *launch, size_t n, bool by_queue) {
  (void)by_queue;
  recording *r = malloc(sizeof *r);
  if (!r) return 1;
  *r = (recording){launch, n};
  *out = r;
  return 0;
}

static int cpu_replay(void *recorded, double *out) {
  const recording *r = recorded;
  double start = seconds();
  for (size_t i = 0; i < r->n; i++) {
    int error = cpu_run(&r->launch[i]);
    if (error) return error;
  }
  *out = seconds() - start;
  return 0;
}

static int cpu_flush(void) {
  return 0;
}

/* A chain of dependent additions takes a cycle each on every current core.  The shortest of a few: an
 * interrupt is not a slower clock. */
static double cpu_clock(void) {
  enum { ADDITIONS = 50000, TRIALS = 5 };
  double least = (double)INFINITY;
  for (int trial = 0; trial < TRIALS; trial++) {
    uint64_t x = 1;
    double start = seconds();
    for (int i = 0; i < ADDITIONS; i++) {
      x += 3;
#if defined(__GNUC__)
      __asm__ volatile("" : "+r"(x));
#endif
    }
    least = fmin(least, seconds() - start);
  }
  return least > 0 ? ADDITIONS / least / 1e6 : 0;
}

const fc_bench_device fc_bench_cpu = {
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .text = cpu_text,
    .alloc = cpu_alloc,
    .free = free,
    .upload = cpu_copy,
    .download = cpu_copy,
    .fill = cpu_fill,
    .set = cpu_set,
    .run = cpu_run,
    .record = cpu_record,
    .replay = cpu_replay,
    .discard = free,
    .flush = cpu_flush,
    .clock_mhz = cpu_clock,
    .tables = fc_cpu_tables,
    .n_tables = FC_CPU_TABLES,
};
