/* SPDX-License-Identifier: Apache-2.0 */
/* How fast a replica is simulated, request by request, every metric on:
 *
 *     bench_serve [--quick] [TRACE.csv | TRACE.csv.gz]
 *
 * Llama-2-7B on one A100 80 GB, chunks of 512 tokens, batch of at most 128; 20,000 requests, Poisson 3/s, of
 * the trace (arrival_s,input_tokens,output_tokens) or else with log-normal lengths of the same means; then
 * the same requests one iteration at a time, a long run, and one on every core at once.  Repetitions
 * alternate; medians of processor time.  All must agree; exit code 1 if not. */
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <zlib.h>

#include <fleetcast/base/rng.h>
#include <fleetcast/serve/replica.h>

#include "shipped.h"

enum { REPETITIONS = 7, REQUESTS = 20000, CORES_MAX = 64 };

/* @source huggingface.co/meta-llama/Llama-2-7b-hf config.json */
static const fc_model llama_2_7b = {
    .name = "llama-2-7b",
    .layers = 32,
    .hidden = 4096,
    .vocab = 32000,
    .ffn = 11008,
    .attention = {.kind = FC_ATTENTION_GQA, .heads = 32, .kv_heads = 32, .head_dim = 128},
    .weights = FC_DTYPE_BF16};

static double cpu_s(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *x) {
  qsort(x, REPETITIONS, sizeof *x, ascending);
  return x[REPETITIONS / 2];
}

/* --- requests --- */

typedef struct {
  fc_request *request;
  uint64_t n, next, total; /* of total > n: again and again, each round later by `round` */
  fc_time round;
} trace;

static bool peek(void *context, fc_time *arrival) {
  trace *t = context;
  if (t->next >= t->total) return false;
  *arrival = t->request[t->next % t->n].arrival + (fc_time)(t->next / t->n) * t->round;
  return true;
}

static void take(void *context, fc_request *out) {
  trace *t = context;
  *out = t->request[t->next % t->n];
  out->arrival += (fc_time)(t->next / t->n) * t->round;
  out->number = t->next++;
}

static uint32_t log_normal(fc_rng *rng, double mean, double sigma, double most) {
  double x = floor(mean * exp(sigma * fc_rng_normal(rng) - 0.5 * sigma * sigma) + 0.5);
  return (uint32_t)(x < 1 ? 1 : x > most ? most : x);
}

/* Means of Azure's conversation trace, cut to the model's 4,096 tokens. */
static void synthesise(trace *t) {
  fc_rng rng = fc_rng_keyed(1, FC_STREAM_ARRIVAL, 0, 0);
  double at = 0;
  for (uint64_t i = 0; i < t->n; i++) {
    at += fc_rng_exponential(&rng) / 3;
    t->request[i] = (fc_request){.arrival = fc_time_from_s(at), .number = i};
    t->request[i].input_tokens = log_normal(&rng, 1137, 1.1, 3072);
    t->request[i].output_tokens = log_normal(&rng, 211, 0.9, 1000);
  }
}

static bool read_trace(trace *t, const char *path) {
  char line[256];
  gzFile f = gzopen(path, "rb"); /* reads plain files too */
  if (!f) return false;
  uint64_t n = 0;
  while (n < t->n && gzgets(f, line, sizeof line)) {
    char *end;
    double s = strtod(line, &end);
    if (end == line || *end != ',') continue; /* the header */
    t->request[n] = (fc_request){.arrival = fc_time_from_s(s), .number = n};
    t->request[n].input_tokens = (uint32_t)strtoul(end + 1, &end, 10);
    if (*end == ',') t->request[n++].output_tokens = (uint32_t)strtoul(end + 1, &end, 10);
  }
  t->n = n;
  (void)gzclose(f);
  return n > 0;
}

/* --- runs --- */

static double run(fc_replica_result *out, const fc_replica_def *def, trace *t) {
  t->next = 0;
  char why[256] = "";
  double start = cpu_s();
  fc_status status = fc_replica_run(out, def, &(fc_request_source){t, peek, take, NULL}, 1, why);
  double spent = cpu_s() - start;
  if (status == FC_OK) return spent;
  (void)fprintf(stderr, "bench_serve: %s: %s\n", fc_status_text(status), why);
  exit(1);
}

static void print(const fc_replica_result *r, int64_t blocks) {
  printf("  in %llu, done %llu, preempted %llu; batch %.1f (peak %.0f), cache %.1f %% (peak %.1f %%), busy "
         "%.1f %%\n",
         (unsigned long long)r->in, (unsigned long long)r->done, (unsigned long long)r->preemptions,
         r->batch_mean, r->batch_peak, 100 * r->kv_mean / (double)blocks, 100 * r->kv_peak / (double)blocks,
         100 * r->busy_s / r->span_s);
  const struct {
    const char *name;
    const fc_digest *d;
  } row[] = {{"TTFT", &r->ttft}, {"TPOT", &r->tpot}, {"ITL", &r->itl}, {"E2E", &r->e2e}};
  for (size_t i = 0; i < sizeof row / sizeof *row; i++)
    printf("  %-5s mean %9.2f ms   p50 %9.2f   p90 %9.2f   p99 %9.2f\n", row[i].name,
           1e3 * fc_digest_mean(row[i].d), 1e3 * fc_digest_quantile(row[i].d, 0.5),
           1e3 * fc_digest_quantile(row[i].d, 0.9), 1e3 * fc_digest_quantile(row[i].d, 0.99));
}

static bool close_to(double a, double b, double tolerance) {
  return fabs(a - b) <= tolerance * fabs(b);
}

static bool bench_stream(const fc_replica_def *def, trace *t, bool quick) {
  static fc_replica_result leap, slow;
  fc_replica_def reference = *def;
  reference.reference = true;
  double fast_s[REPETITIONS], slow_s[REPETITIONS], n = (double)t->n;
  t->total = t->n;
  for (int i = 0; i < REPETITIONS; i++) {
    fast_s[i] = run(&leap, def, t);
    slow_s[i] = i > 1 && quick ? slow_s[i - 1] : run(&slow, &reference, t);
  }
  double fast = n / median(fast_s), one = n / median(slow_s);
  bool same = leap.done == slow.done && leap.iterations == slow.iterations &&
              close_to(leap.ttft.sum, slow.ttft.sum, 1e-9) && close_to(leap.e2e.sum, slow.e2e.sum, 1e-9);
  print(&leap, def->kv_blocks);
  printf("  %.1f iterations a request, in %.1f evaluations\n", (double)leap.iterations / n,
         (double)leap.leaps / n);
  printf("  leaping            %10.0f requests/s (best %.0f)   %.0f bytes a resident request\n", fast,
         n / fast_s[0], leap.bytes_per_resident);
  printf("  one at a time      %10.0f requests/s               leaping / one at a time %.1f: %s\n", one,
         fast / one, same ? "equal" : "DIFFER");
  return same;
}

static bool bench_long(const fc_replica_def *def, trace *t, uint64_t requests) {
  static fc_replica_result r;
  t->total = requests;
  t->round = t->request[t->n - 1].arrival;
  double spent = run(&r, def, t);
  printf("long       n = %.0f requests: %.2f s, %.0f requests/s\n", (double)requests, spent,
         (double)requests / spent);
  return r.done == requests;
}

/* --- all cores --- */

typedef struct {
  const fc_replica_def *def;
  trace t;
  fc_replica_result result;
  fc_status status;
} job;

static void *work(void *argument) {
  job *j = argument;
  j->status = fc_replica_run(&j->result, j->def, &(fc_request_source){&j->t, peek, take, NULL}, 1, NULL);
  return NULL;
}

static double wall_s(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The same run on every core at once, over one step table: the same result on each. */
static bool bench_cores(const fc_replica_def *def, const trace *t, uint64_t requests) {
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  size_t n = cores < 1 ? 1 : cores > CORES_MAX ? CORES_MAX : (size_t)cores;
  job *jobs = calloc(n, sizeof *jobs);
  pthread_t thread[CORES_MAX];
  if (!jobs) return false;
  double start = wall_s();
  size_t started = 0;
  for (; started < n; started++) {
    jobs[started] = (job){.def = def, .t = *t};
    jobs[started].t.next = 0;
    jobs[started].t.total = requests;
    if (pthread_create(&thread[started], NULL, work, &jobs[started])) break;
  }
  for (size_t i = 0; i < started; i++) (void)pthread_join(thread[i], NULL);
  double spent = wall_s() - start;
  bool same = started == n;
  for (size_t i = 0; i < started; i++)
    same = same && jobs[i].status == FC_OK && jobs[i].result.e2e.sum == jobs[0].result.e2e.sum &&
           memcmp(jobs[i].result.e2e.count, jobs[0].result.e2e.count, sizeof jobs[0].result.e2e.count) == 0;
  printf("cores      n = %.0f requests on each of %zu threads: %.0f requests/s of wall time together, "
         "results %s\n",
         (double)requests, started, (double)requests * (double)started / spent, same ? "equal" : "DIFFER");
  free(jobs);
  return same;
}

int main(int argc, char **argv) {
  bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
  const char *path = argc > 1 + quick ? argv[1 + quick] : NULL;
  if (argc > 2 + quick) {
    (void)fprintf(stderr, "usage: bench_serve [--quick] [TRACE.csv[.gz]]\n");
    return 2;
  }
  trace t = {.n = REQUESTS};
  t.request = calloc(REQUESTS, sizeof *t.request);
  if (!t.request) return 1;
  if (!path) synthesise(&t);
  if (path && !read_trace(&t, path)) {
    (void)fprintf(stderr, "bench_serve: cannot read %s\n", path);
    free(t.request);
    return 1;
  }
  fc_serve_plan plan = {
      .devices = 1, .tp = 1, .attention_dp = 1, .ep = 1, .gemm = FC_DTYPE_BF16, .kv = FC_DTYPE_BF16};
  plan.memory_fraction = 0.9;
  fc_step_table_def td = fc_step_table_default_def();
  td.max_batch = 128;
  td.max_tokens = 4096;
  td.max_context = 4096;
  fc_replica_def def = fc_replica_default_def();
  def.policy.max_batch = 128;
  def.policy.token_budget = 512;
  const fc_profile *a100 = shipped_profile(FC_SOURCE_DIR "/scenarios", "a100");
  fc_step_table *table;
  double start = cpu_s();
  if (!a100 || fc_step_table_of_model(&table, &td, &(fc_step_source){&llama_2_7b, a100, &plan}) != FC_OK)
    return 1;
  def.steps = table;
  def.kv_blocks = fc_replica_kv_blocks(&llama_2_7b, a100->device, &plan, def.block_tokens, 4096);
  fc_step_table_error e = fc_step_table_measured_error(table);
  printf("table      %.1f ms, %.0f kB, error at most %.2f %%, mean %.3f %%, of %lld probes\n",
         1e3 * (cpu_s() - start), 1e-3 * (double)e.bytes, 100 * e.max, 100 * e.mean, (long long)e.probes);
  printf("stream     n = %llu requests, %s\n", (unsigned long long)t.n, path ? path : "log-normal lengths");
  bool ok = bench_stream(&def, &t, quick);
  ok = bench_long(&def, &t, quick ? 200000 : 10000000) && ok;
  ok = bench_cores(&def, &t, quick ? 200000 : 5000000) && ok;
  fc_step_table_free(table);
  shipped_free();
  free(t.request);
  return ok ? 0 : 1;
}
