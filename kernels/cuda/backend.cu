/* SPDX-License-Identifier: Apache-2.0 */
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../bench/device.h"
#include "../bench/tables.h"

/* A CUDA device as the benchmark sees it (bench/device.h): memory, fills, graphs, clocks. */

extern "C" void fc_nvidia_versions(char *out, size_t room);

/* The process uses one device, one stream and one scratch buffer for its life. */
struct context {
  cudaStream_t stream;
  cudaEvent_t begin, end;
  void *scratch;
  size_t scratch_bytes;
  double *probe; /* on the device */
  char text[48]; /* of a library's status */
};
static context the;

static int fail_open(char *why, const char *doing, cudaError_t error) {
  snprintf(why, FC_WHY, "%s: %s", doing, cudaGetErrorString(error));
  return 1;
}

static int cuda_open(fc_machine *m, char *why) {
  int n = 0, driver = 0;
  /* without a driver the runtime says "insufficient driver" (35), without a device "no device" (100) */
  cudaError_t error = cudaGetDeviceCount(&n);
  if (error || n == 0) {
    snprintf(why, FC_WHY, "no NVIDIA GPU here (%s)", error ? cudaGetErrorString(error) : "none visible");
    return 1;
  }
  cudaDeviceProp p;
  error = cudaGetDeviceProperties(&p, 0);
  if (error) return fail_open(why, "reading the device's properties", error);
  memset(m, 0, sizeof *m);
  snprintf(m->gpu, sizeof m->gpu, "%.95s", p.name);
  cudaDriverGetVersion(&driver);
  FILE *f = fopen("/proc/driver/nvidia/version", "r");
  char line[256], number[32] = "";
  if (f && fgets(line, sizeof line, f)) { /* "NVRM version: NVIDIA ... Kernel Module  580.159.04  ..." */
    for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n"))
      if (!*number && word[0] >= '0' && word[0] <= '9' && strchr(word, '.'))
        snprintf(number, sizeof number, "%.31s", word);
  }
  if (f) fclose(f);
  snprintf(m->driver, sizeof m->driver, "%s%sCUDA %d.%d", number, *number ? ", " : "", driver / 1000,
           driver % 1000 / 10);
  fc_nvidia_versions(m->library, sizeof m->library);
  m->compute_units = p.multiProcessorCount;
  m->capability = 10 * p.major + p.minor;
  m->cache_bytes = (double)p.l2CacheSize;
  size_t free_bytes = 0, all_bytes = 0;
  error = cudaMemGetInfo(&free_bytes, &all_bytes);
  if (error) return fail_open(why, "reading the device's memory", error);
  m->memory_bytes = (double)all_bytes;
  m->free_bytes = (double)free_bytes;
  the.scratch_bytes = 2 * (size_t)p.l2CacheSize; /* what flush() overwrites */
  if (!error) error = cudaStreamCreate(&the.stream);
  if (!error) error = cudaEventCreate(&the.begin);
  if (!error) error = cudaEventCreate(&the.end);
  if (!error) error = cudaMalloc(&the.scratch, the.scratch_bytes);
  if (!error) error = cudaMalloc((void **)&the.probe, sizeof(double));
  return error ? fail_open(why, "starting", error) : 0;
}

static void cuda_close(void) {
  cudaFree(the.scratch);
  cudaFree(the.probe);
  if (the.begin) cudaEventDestroy(the.begin);
  if (the.end) cudaEventDestroy(the.end);
  if (the.stream) cudaStreamDestroy(the.stream);
  the = context();
}

static const char *cuda_text(int error) {
  if (error >= 0) return cudaGetErrorString((cudaError_t)error);
  snprintf(the.text, sizeof the.text, "a library call failed, status %d", -error);
  return the.text;
}

static int cuda_alloc(void **out, size_t bytes) {
  return cudaMalloc(out, bytes);
}

static void cuda_free(void *memory) {
  cudaFree(memory);
}

static int cuda_upload(void *device, const void *host, size_t bytes) {
  return bytes ? cudaMemcpy(device, host, bytes, cudaMemcpyHostToDevice) : 0;
}

static int cuda_download(void *host, const void *device, size_t bytes) {
  return bytes ? cudaMemcpy(host, device, bytes, cudaMemcpyDeviceToHost) : 0;
}

static int cuda_set(void *device, int byte, size_t bytes) {
  return bytes ? cudaMemset(device, byte, bytes) : 0;
}

/* --- synthetic data: the same text as on the host (formats.h) --- */

static __global__ void fill_kernel(void *at, fc_elem elem, fc_fill fill, float spread, int exact,
                                   uint64_t seed, uint64_t tensor, uint64_t n) {
  const uint64_t step = (uint64_t)gridDim.x * blockDim.x;
  for (uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
    const float x = fc_fill_value(fill, spread, exact, fc_fill_bits(seed, tensor, i));
    if (elem == FC_ELEM_F32)
      ((float *)at)[i] = x;
    else if (elem == FC_ELEM_BF16)
      ((uint16_t *)at)[i] = fc_bf16_encode(x);
    else if (elem == FC_ELEM_E4M3)
      ((uint8_t *)at)[i] = fc_e4m3_encode(x);
    else
      ((int32_t *)at)[i] = (int32_t)x;
  }
}

static int cuda_fill(void *at, const fc_tensor *t, uint64_t seed, int index, bool exact) {
  if (t->count == 0) return 0;
  fill_kernel<<<2048, 256, 0, the.stream>>>(at, t->elem, t->fill, t->spread, exact, seed, (uint64_t)index,
                                            t->count);
  cudaError_t error = cudaGetLastError();
  return error ? error : cudaStreamSynchronize(the.stream);
}

/* --- launches --- */

static int queue_one(const fc_bench_launch *l) {
  int error = l->impl->launch(l->problem, l->args, l->state, (fc_queue)the.stream);
  return error ? error : cudaGetLastError();
}

static int cuda_run(const fc_bench_launch *l) {
  int error = queue_one(l);
  return error ? error : cudaStreamSynchronize(the.stream);
}

struct recording {
  cudaGraphExec_t graph; /* NULL: queued one by one */
  const fc_bench_launch *launch;
  size_t n;
};

static int capture(recording *r) {
  cudaGraph_t graph = NULL;
  int error = cudaStreamBeginCapture(the.stream, cudaStreamCaptureModeThreadLocal);
  if (error) return error;
  for (size_t i = 0; !error && i < r->n; i++) error = queue_one(&r->launch[i]);
  cudaError_t end = cudaStreamEndCapture(the.stream, &graph);
  if (!error) error = end;
  if (!error) error = cudaGraphInstantiate(&r->graph, graph, 0);
  if (graph) cudaGraphDestroy(graph);
  if (!error) error = cudaGraphUpload(r->graph, the.stream);
  return error ? error : cudaStreamSynchronize(the.stream);
}

static int cuda_record(void **out, const fc_bench_launch *launch, size_t n, bool by_queue) {
  recording *r = (recording *)calloc(1, sizeof *r);
  if (!r) return cudaErrorMemoryAllocation;
  r->launch = launch;
  r->n = n;
  int error = by_queue ? 0 : capture(r);
  if (error) {
    (void)cudaGetLastError(); /* a failed capture is told once */
    free(r);
    return error;
  }
  *out = r;
  return 0;
}

static int cuda_replay(void *recorded, double *seconds) {
  recording *r = (recording *)recorded;
  int error = cudaEventRecord(the.begin, the.stream);
  if (!error && r->graph) error = cudaGraphLaunch(r->graph, the.stream);
  for (size_t i = 0; !error && !r->graph && i < r->n; i++) error = queue_one(&r->launch[i]);
  if (!error) error = cudaEventRecord(the.end, the.stream);
  if (!error) error = cudaEventSynchronize(the.end);
  float ms = 0;
  if (!error) error = cudaEventElapsedTime(&ms, the.begin, the.end);
  *seconds = 1e-3 * (double)ms;
  return error;
}

static void cuda_discard(void *recorded) {
  recording *r = (recording *)recorded;
  if (r->graph) cudaGraphExecDestroy(r->graph);
  free(r);
}

static int cuda_flush(void) {
  int error = cudaMemsetAsync(the.scratch, 0, the.scratch_bytes, the.stream);
  return error ? error : cudaStreamSynchronize(the.stream);
}

/* A sticky error stays: whatever asks next is refused. */
static bool cuda_alive(void) {
  void *some = NULL;
  (void)cudaGetLastError();
  if (cudaMalloc(&some, 256)) return false;
  return !cudaFree(some) && !cudaStreamSynchronize(the.stream);
}

/* --- clocks: cycles of one multiprocessor over the global timer --- */

static __device__ uint64_t global_ns(void) {
  uint64_t t;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(t));
  return t;
}

/* The global timer steps coarsely, by up to some microseconds: both ends wait for its next step. */
static __global__ void clock_kernel(double *out) {
  enum { SPAN_NS = 500000 };
  uint64_t t0 = global_ns(), t1, first = t0;
  while ((t0 = global_ns()) == first) {
  }
  const long long c0 = clock64();
  uint64_t last = t0;
  while ((t1 = global_ns()) == last || t1 - t0 < SPAN_NS) last = t1;
  const long long c1 = clock64();
  out[0] = (double)(c1 - c0) / (double)(t1 - t0) * 1e3; /* cycles a nanosecond -> MHz */
}

static double cuda_clock(void) {
  double mhz = 0;
  clock_kernel<<<1, 1, 0, the.stream>>>(the.probe);
  if (cudaGetLastError() || cudaStreamSynchronize(the.stream)) return 0;
  return cudaMemcpy(&mhz, the.probe, sizeof mhz, cudaMemcpyDeviceToHost) ? 0 : mhz;
}

extern "C" const fc_bench_device fc_bench_cuda = {
    "cuda",        cuda_open,  cuda_close, cuda_text,      cuda_alloc,     cuda_free,   cuda_upload,
    cuda_download, cuda_fill,  cuda_set,   cuda_run,       cuda_record,    cuda_replay, cuda_discard,
    cuda_flush,    cuda_alive, cuda_clock, fc_cuda_tables, FC_CUDA_TABLES, true};
