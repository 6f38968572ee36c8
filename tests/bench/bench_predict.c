/* SPDX-License-Identifier: Apache-2.0 */
/* How many rows of a measurement file `predict` answers a second, no shape twice, with the shipped H100
 * profile: on one thread, on all, from file to file, over the same calls one by one, and over reading and
 * copying the rows alone. Usage: bench_predict [ROWS | --quick] */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <fleetcast/calibrate/predict.h>
#include <fleetcast/calibrate/table.h>
#include <fleetcast/cost/predict.h>

#include "shipped.h"

#define HEADER                                                                                               \
  "kernel,impl,dtype,kv_dtype,m,n,k,tokens,hidden,inter,experts,topk,ep,tp,skew,batch,heads,kv_heads,"       \
  "head_dim,q_len,kv_len,bytes,gpus,nodes,latency_us\n"
enum { ROW_BYTES = 160 };

static double now_s(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int gemm(char *out, unsigned i) {
  return sprintf(out, "gemm,vllm,bf16,,%u,%u,%u,,,,,,,,,,,,,,,,,,%u\n", i % 4093 + 1,
                 64 * (i / 4093 % 509 + 1), 64 * (i % 127 + 1), i % 999 + 1);
}

static int gemm_of_any(char *out, unsigned i) { /* the fastest implementation counts */
  return sprintf(out, "gemm,,bf16,,%u,%u,%u,,,,,,,,,,,,,,,,,,%u\n", i % 4093 + 1, 64 * (i / 4093 % 509 + 1),
                 64 * (i % 127 + 1), i % 999 + 1);
}

static int moe(char *out, unsigned i) {
  return sprintf(out, "moe_ffn,vllm:vllm_fused_moe,bf16,,,,,%u,%u,%u,%u,%u,%u,1,%s,,,,,,,,,,%u\n",
                 i % 4093 + 1, 128 * (i / 4093 % 61 + 1), 128 * (i % 31 + 1), 8 << i % 6, 1 + i % 7,
                 1 << i % 3, i % 2 ? "1.01" : "0", i % 999 + 1);
}

static int decode(char *out, unsigned i) {
  return sprintf(out, "attention_decode,trtllm:torch_flow,bf16,bf16,,,,,,,,,,,,%u,%u,%u,128,1,%u,,,,%u\n",
                 i / 65521 + 1, 8 * (i % 13 + 1), 1 << i % 4, i % 65521 + 1, i % 999 + 1);
}

static int prefill(char *out, unsigned i) {
  return sprintf(out, "attention_prefill,trtllm:torch_flow,bf16,bf16,,,,,,,,,,,,%u,%u,%u,128,%u,%u,,,,%u\n",
                 i / 16381 + 1, 8 * (i % 13 + 1), 1 << i % 4, i % 16381 + 1, i % 16381 + 1, i % 999 + 1);
}

static int all_reduce(char *out, unsigned i) {
  return sprintf(out, "all_reduce,nccl,fp16,,,,,,,,,,,,,,,,,,,%u,%u,1,%u\n", 256 + 16 * i, 2 << i % 3,
                 i % 999 + 1);
}

typedef struct {
  const char *name;
  int (*row)(char *out, unsigned i);
  fc_kernel kernel;
  const char *impl;
} family;

/* Seconds of the whole file, written to `to`; negative: it failed. */
static double whole(const fc_profile *profile, const char *text, size_t length, size_t threads,
                    const char *to) {
  fc_predict_options options = {.threads = threads};
  fc_scores scores;
  double start = now_s();
  if (fc_file_create(&options.out, to)) return -1;
  fc_status status = fc_predict_file(&scores, profile, "bench", text, length, &options, NULL);
  if (fc_file_commit(options.out)) status = FC_E_IO;
  double spent = now_s() - start;
  bool good = !status && scores.malformed == 0 && scores.unmodelled == 0;
  if (!status) fc_scores_fini(&scores);
  return good ? spent : -1;
}

/* Seconds of reading and predicting it, on all threads. */
static double file_to_file(const fc_profile *profile, const char *from, const char *to) {
  char *text;
  size_t length;
  double start = now_s();
  if (fc_gz_read_by(&text, &length, from, (size_t)1 << 32, 0)) return -1;
  double read_s = now_s() - start, rest_s = whole(profile, text, length, 0, to);
  free(text);
  return rest_s > 0 ? read_s + rest_s : -1;
}

static double with_files(const fc_profile *profile, const char *text, size_t length) {
  char from[64], to[64];
  (void)snprintf(from, sizeof from, "/tmp/fleetcast-bench-%ld.in", (long)getpid());
  (void)snprintf(to, sizeof to, "/tmp/fleetcast-bench-%ld.out", (long)getpid());
  fc_file *file;
  if (fc_file_create(&file, from)) return -1;
  fc_file_write(file, text, length);
  double spent = fc_file_commit(file) ? -1 : file_to_file(profile, from, to);
  (void)unlink(from);
  (void)unlink(to);
  return spent;
}

/* Seconds a call, one by one, of shapes about the family's anchors. */
static double one_by_one(const fc_profile *profile, const family *f, size_t n) {
  const fc_kernel_fit *fit = NULL;
  for (size_t i = 0; i < profile->n_kernels && !fit; i++)
    if (profile->kernels[i].local && profile->kernels[i].kernel == f->kernel &&
        strcmp(profile->kernels[i].impl, f->impl) == 0)
      fit = &profile->kernels[i];
  if (!fit) return -1;
  fc_predictor p;
  fc_predictor_init(&p, fit, profile->device);
  double start = now_s(), sum = 0;
  for (size_t i = 0; i < n; i++) {
    fc_op op = fit->local->op[i % fit->local->n];
    op.m *= 1 + (double)(i % 1021) / 4096;
    op.s *= 1 + (double)(i % 1021) / 4096;
    op.payload_bytes *= 1 + (double)(i % 1021) / 4096;
    fc_prediction out;
    if (fc_predict(&out, &p, &op) == FC_OK) sum += out.seconds;
  }
  return sum > 0 ? (now_s() - start) / (double)n : -1;
}

/* Seconds to step over the rows once and copy them: less work on a file there is not. */
static double copied(const char *text, size_t length, char *to) {
  double start = now_s();
  size_t n = 0;
  for (const char *p = text; p < text + length; n++) {
    const char *end = memchr(p, '\n', (size_t)(text + length - p));
    memcpy(to, p, (size_t)(end + 1 - p));
    to += end + 1 - p;
    p = end + 1;
  }
  return n > 0 ? now_s() - start : -1;
}

static int run(const fc_profile *profile, const family *f, size_t rows, char *text, char *room) {
  size_t length = (size_t)sprintf(text, "%s", HEADER);
  for (size_t i = 0; i < rows; i++) length += (size_t)f->row(text + length, (unsigned)i);
  double copy_s = copied(text, length, room), alone_s = one_by_one(profile, f, rows / 20 + 1);
  double one_s = whole(profile, text, length, 1, "/dev/null"),
         all_s = whole(profile, text, length, 0, "/dev/null"), file_s = with_files(profile, text, length);
  if (!(one_s > 0 && all_s > 0 && file_s > 0 && alone_s > 0)) {
    (void)printf("%s: failed\n", f->name);
    return 1;
  }
  double n = (double)rows;
  (void)printf(
      "%-18s %10.0f rows/s one thread  %10.0f all (x %.2f)  %10.0f file to file  x %.1f over calls one by "
      "one  %.0f times a copy of the rows\n",
      f->name, n / one_s, n / all_s, one_s / all_s, n / file_s, alone_s * n / one_s, one_s / copy_s);
  return 0;
}

int main(int argc, char **argv) {
  static const family families[] = {
      {"gemm", gemm, FC_KERNEL_GEMM, "vllm"},
      {"gemm of any impl", gemm_of_any, FC_KERNEL_GEMM, "vllm"},
      {"moe_ffn", moe, FC_KERNEL_MOE_FFN, "vllm:vllm_fused_moe"},
      {"attention_decode", decode, FC_KERNEL_ATTENTION_DECODE, "trtllm:torch_flow"},
      {"attention_prefill", prefill, FC_KERNEL_ATTENTION_PREFILL, "trtllm:torch_flow"},
      {"all_reduce", all_reduce, FC_KERNEL_ALL_REDUCE, "nccl"}};
  bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
  size_t rows = quick ? 20000 : argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 1000000;
  if (rows < 1000 || rows > 2000000) {
    (void)fprintf(stderr, "bench_predict: 1000 to 2000000 rows\n");
    return 2;
  }
  const fc_profile *profile = shipped_profile(FC_SOURCE_DIR "/scenarios", "h100");
  char *text = malloc(rows * ROW_BYTES + sizeof HEADER), *room = malloc(rows * ROW_BYTES + sizeof HEADER);
  int failed = !profile || !text || !room;
  if (room) memset(room, 0, rows * ROW_BYTES + sizeof HEADER); /* its pages are there */
  (void)printf("predict, %zu distinct rows, %ld processors\n", rows, sysconf(_SC_NPROCESSORS_ONLN));
  for (size_t i = 0; i < sizeof families / sizeof *families && !failed; i++)
    failed = run(profile, &families[i], rows, text, room);
  free(text);
  free(room);
  shipped_free();
  return failed;
}
