/* SPDX-License-Identifier: Apache-2.0 */
#include "check.hpp"

#include <unistd.h>

/* Wrong kernels must fail, with the right words. */

/* runs `launch` with stderr in a file and looks for `words` there */
template <typename F> static bool fails_with(const char *words, F launch) {
  static char text[8192];
  FILE *file = tmpfile();
  if (file == nullptr) return false;
  fflush(stderr);
  int saved = dup(2);
  dup2(fileno(file), 2);
  int status = launch();
  fflush(stderr);
  dup2(saved, 2);
  close(saved);
  rewind(file);
  size_t n = fread(text, 1, sizeof text - 1, file);
  text[n] = 0;
  fclose(file);
  bool found = status != 0 && strstr(text, words) != nullptr;
  if (!found) printf("status %d, wanted \"%s\" in:\n%s", status, words, text);
  return found;
}

enum fault {
  FAULT_SYNC_AFTER_EXIT,
  FAULT_BARRIER_COUNTS,
  FAULT_BARRIER_SHORT,
  FAULT_WARP,
  FAULT_WARP_MIXED,
  FAULT_MBARRIER_BYTES,
  FAULT_MBARRIER_RAW,
  FAULT_MBARRIER_MANY,
  FAULT_SHARED_WRITE,
  FAULT_BULK_END,
  FAULT_BULK_ALIGN,
  FAULT_BULK_EXIT,
  FAULT_NO_INIT_FENCE,
  FAULT_TMA_ALIGN,
  FAULT_TMA_RANK,
  FAULT_STORE_EXIT,
  FAULT_STORE_FENCE,
  FAULT_WGMMA_ALIGN,
  FAULT_WGMMA_SPAN,
  FAULT_WGMMA_END,
  FAULT_WGMMA_FENCE,
  FAULT_WGMMA_EXIT,
  FAULT_WGMMA_LATE_WRITE,
  FAULT_WGMMA_PROXY,
  FAULT_WGMMA_EARLY_REUSE,
  FAULT_WGMMA_DIVERGED,
};

/* faults of threads and barriers; blocks of 64 threads, 1,024 bytes */
static void threads_fault(fault what, unsigned char *shared, uint64_t *bar) {
  int t = (int)threadIdx.x;
  switch (what) {
  case FAULT_SYNC_AFTER_EXIT:
    if (t == 40) return;
    __syncthreads();
    break;
  case FAULT_BARRIER_COUNTS: fc_barrier_sync(2, t < 32 ? 64 : 32); break;
  case FAULT_BARRIER_SHORT:
    if (t < 32) fc_barrier_sync(5, 64);
    break;
  case FAULT_WARP:
    if (t != 7) __syncwarp();
    break;
  case FAULT_WARP_MIXED:
    if (t % 2 == 0)
      __shfl_sync(0xffffffffu, t, 0);
    else
      __ballot_sync(0xffffffffu, 1);
    break;
  case FAULT_MBARRIER_BYTES:
    if (t == 0) fc_mbarrier_expect(bar, 64);
    fc_mbarrier_wait(bar, 0);
    break;
  case FAULT_MBARRIER_RAW: fc_mbarrier_wait(reinterpret_cast<uint64_t *>(shared), 0); break;
  case FAULT_MBARRIER_MANY:
    if (t == 0) fc_mbarrier_expect(bar, 16); /* one arrival, bytes to come */
    __syncthreads();
    if (t == 1) fc_mbarrier_arrive(bar);
    break;
  case FAULT_SHARED_WRITE: shared[1024 + t] = 1; break;
  default: break;
  }
}

static void copy_fault(fault what, const fc_tensor_map *map, unsigned char *shared,
                       const unsigned char *global, uint64_t *bar) {
  if (threadIdx.x != 0) return;
  switch (what) {
  case FAULT_BULK_END: fc_bulk_load(shared + 1008, global, 32, bar); break;
  case FAULT_BULK_ALIGN: fc_bulk_load(shared + 8, global, 32, bar); break;
  case FAULT_BULK_EXIT:
    fc_mbarrier_expect(bar, 32);
    fc_bulk_load(shared, global, 32, bar);
    break;
  case FAULT_TMA_ALIGN: fc_tma_load_2d(shared + 512, map, bar, 0, 0); break;
  case FAULT_TMA_RANK: fc_tma_load_3d(shared, map, bar, 0, 0, 0); break;
  case FAULT_STORE_EXIT:
    fc_tma_store_2d(map, shared, 0, 0);
    fc_tma_store_commit();
    break;
  case FAULT_STORE_FENCE:
    shared[5] = 1;
    fc_tma_store_2d(map, shared, 0, 0);
    fc_tma_store_commit();
    fc_tma_store_wait<0>();
    break;
  case FAULT_NO_INIT_FENCE:
    fc_mbarrier_init(bar, 1);
    fc_tma_load_2d(shared, map, bar, 0, 0);
    break;
  default: break;
  }
}

static __global__ void small_faults(fault what, const __grid_constant__ fc_tensor_map map,
                                    const unsigned char *global) {
  FC_DYNAMIC_SHARED(unsigned char, shared);
  __shared__ uint64_t bar;
  if (threadIdx.x == 0) {
    fc_mbarrier_init(&bar, 1);
    fc_mbarrier_init_fence();
  }
  __syncthreads();
  threads_fault(what, shared, &bar);
  copy_fault(what, &map, shared, global, &bar);
}

/* a sound wgmma of two tiles of 8 KiB but for one fault */
static __global__ void wgmma_faults(fault what, float *out) {
  FC_DYNAMIC_SHARED(unsigned char, shared);
  int t = (int)threadIdx.x;
  for (int i = t; i < 16384; i += 128) shared[i] = 0;
  if (what != FAULT_WGMMA_PROXY) fc_async_fence();
  __syncthreads();
  if (what == FAULT_WGMMA_LATE_WRITE && (t == 20 || t == 100)) shared[8192 + t] = 0x38; /* one is not first */
  unsigned char *a = what == FAULT_WGMMA_ALIGN ? shared + 128 : shared;
  unsigned char *b = shared + (what == FAULT_WGMMA_END ? 9216 : 8192);
  uint64_t da = fc_wgmma_descriptor(a, 128, 1, 1024), db = fc_wgmma_descriptor(b, 128, 1, 1024);
  if (what == FAULT_WGMMA_SPAN) da += 7;
  if (what == FAULT_WGMMA_DIVERGED && t == 64) da += 2;
  float d[32];
  if (what != FAULT_WGMMA_FENCE) fc_wgmma_fence();
  fc_wgmma_e4m3<64>(d, da, db, false);
  fc_wgmma_commit();
  if (what == FAULT_WGMMA_EXIT) return;
  if (what == FAULT_WGMMA_EARLY_REUSE && t == 3) shared[0] = 0x38;
  fc_wgmma_wait<0>();
  out[t] = d[0];
}

struct expected {
  fault what;
  const char *words;
};

int test_faults() {
  static const expected small[] = {
      {FAULT_SYNC_AFTER_EXIT, "barrier 0: 63 of 64 threads came"},
      {FAULT_BARRIER_COUNTS, "others said"},
      {FAULT_BARRIER_SHORT, "barrier 5: 32 of 64 threads came"},
      {FAULT_WARP, "mask ffffffff, came ffffff7f"},
      {FAULT_WARP_MIXED, "another collective operation"},
      {FAULT_MBARRIER_BYTES, "phase 0 lacks 0 of 1 arrivals and 64 bytes"},
      {FAULT_MBARRIER_RAW, "was not initialised"},
      {FAULT_MBARRIER_MANY, "more than its 1 arrivals"},
      {FAULT_SHARED_WRITE, "wrote byte 1024 of 1024 bytes"},
      {FAULT_BULK_END, "bytes 1008 to 1040 of 1024 bytes"},
      {FAULT_BULK_ALIGN, "not aligned to 16 bytes"},
      {FAULT_BULK_EXIT, "the block ends while 1 bulk loads"},
      {FAULT_NO_INIT_FENCE, "fc_mbarrier_init_fence is missing"},
      {FAULT_TMA_ALIGN, "not aligned to 1024 bytes"},
      {FAULT_TMA_RANK, "the map has rank 2"},
      {FAULT_STORE_EXIT, "bulk store reads shared memory"},
      {FAULT_STORE_FENCE, "without an fc_async_fence"},
  };
  static const expected wgmma[] = {
      {FAULT_WGMMA_ALIGN, "off its 1024-byte period"},
      {FAULT_WGMMA_SPAN, "run over the span"},
      {FAULT_WGMMA_END, "of 16384 bytes of dynamic shared memory"},
      {FAULT_WGMMA_FENCE, "no fc_wgmma_fence"},
      {FAULT_WGMMA_EXIT, "ends with a wgmma in flight"},
      {FAULT_WGMMA_PROXY, "without an fc_async_fence"},
      {FAULT_WGMMA_LATE_WRITE, "operands in shared memory changed"},
      {FAULT_WGMMA_EARLY_REUSE, "operands in shared memory changed"},
      {FAULT_WGMMA_DIVERGED, "threads of a warpgroup differ"},
  };
  int failures = 0;
  alignas(16) static unsigned char global[1024];
  static float out[128];
  fc_tensor_map map;
  const int64_t dim[2] = {128, 8}, stride[1] = {128};
  const int box[2] = {128, 4};
  CHECK(fc_tensor_map_encode(&map, FC_ELEM_E4M3, 2, global, dim, stride, box, 128) == 0);
  for (const expected &e : small)
    CHECK(fails_with(e.words,
                     [&] { return FC_LAUNCH(small_faults, 1, 64, 1024, nullptr, e.what, map, global); }));
  for (const expected &e : wgmma)
    CHECK(fails_with(e.words, [&] { return FC_LAUNCH(wgmma_faults, 1, 128, 16384, nullptr, e.what, out); }));
  CHECK(fails_with("no such launch",
                   [&] { return FC_LAUNCH(wgmma_faults, 1, 2048, 0, nullptr, FAULT_WARP, out); }));
  CHECK(fails_with("no such launch",
                   [&] { return FC_LAUNCH(wgmma_faults, 1, 128, 300000, nullptr, FAULT_WARP, out); }));
  /* and a sound launch after all of these */
  CHECK(FC_LAUNCH(wgmma_faults, 1, 128, 16384, nullptr, FAULT_WARP, out) == 0 && out[5] == 0.0f);
  return failures;
}
