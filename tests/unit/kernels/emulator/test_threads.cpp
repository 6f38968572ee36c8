/* SPDX-License-Identifier: Apache-2.0 */
#include "check.hpp"

/* Indices, shuffles, votes, barriers, atomics, and a ring of mbarriers between producer and consumers. */

static __global__ void indices(int *out) {
  int thread = (int)(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
  int block = (int)(blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z));
  out[block * (int)(blockDim.x * blockDim.y * blockDim.z) + thread] += block * 1000 + thread;
}

static int test_indices() {
  int failures = 0, *out = static_cast<int *>(calloc(12 * 24, sizeof(int)));
  CHECK(FC_LAUNCH(indices, dim3(2, 3, 2), dim3(4, 3, 2), 0, nullptr, out) == 0);
  for (int i = 0; i < 12 * 24; i++) CHECK(out[i] == i / 24 * 1000 + i % 24);
  free(out);
  return failures;
}

/* out [8][64] */
static __global__ void warp_operations(int *out) {
  int t = (int)threadIdx.x;
  out[t] = __shfl_sync(0xffffffffu, t, 5);
  out[64 + t] = __shfl_xor_sync(0xffffffffu, t, 3);
  out[128 + t] = __shfl_up_sync(0xffffffffu, t, 2, 8);
  out[192 + t] = __shfl_down_sync(0xffffffffu, t, 2, 8);
  out[256 + t] = (int)__ballot_sync(0xffffffffu, t % 3 == 0);
  /* halves of a warp part and use masks of their own, out of step */
  if (t % 32 < 16) {
    int v = t;
    for (int i = 8; i > 0; i /= 2) v += __shfl_xor_sync(0x0000ffffu, v, i);
    out[320 + t] = v;
  } else {
    out[320 + t] = __any_sync(0xffff0000u, t % 32 == 20) + 2 * __all_sync(0xffff0000u, t % 32 == 20);
  }
  out[384 + t] = fc_elect_one();
  float f = __shfl_sync(0xffffffffu, (float)t * 0.5f, t + 1);
  out[448 + t] = (int)(f * 2.0f);
}

static int test_warp() {
  int failures = 0, out[8 * 64];
  CHECK(FC_LAUNCH(warp_operations, 1, 64, 0, nullptr, out) == 0);
  for (int t = 0; t < 64; t++) {
    int lane = t % 32, warp = t / 32 * 32;
    CHECK(out[t] == warp + 5);
    CHECK(out[64 + t] == (t ^ 3));
    CHECK(out[128 + t] == (t % 8 >= 2 ? t - 2 : t));
    CHECK(out[192 + t] == (t % 8 < 6 ? t + 2 : t));
    uint32_t votes = 0;
    for (int i = 0; i < 32; i++) votes |= (uint32_t)((warp + i) % 3 == 0) << i;
    CHECK((uint32_t)out[256 + t] == votes);
    CHECK(out[320 + t] == (lane < 16 ? 16 * warp + 120 : 1));
    CHECK(out[384 + t] == (lane == 0));
    CHECK(out[448 + t] == warp + (lane + 1) % 32);
  }
  return failures;
}

/* sum over the block by a tree in shared memory, then by atomics */
static __global__ void sums(int *out) {
  __shared__ int part[256];
  int t = (int)threadIdx.x;
  part[t] = t * t;
  __syncthreads();
  for (int half = 128; half > 0; half /= 2) {
    if (t < half) part[t] += part[t + half];
    __syncthreads();
  }
  if (t == 0) out[0] = part[0];
  atomicAdd(&out[1], t * t);
  atomicMax(&out[2], t);
  atomicMin(&out[3], t);
  /* named barriers: the first half waits for the second, which only arrives */
  if (t >= 128) {
    part[t] = t;
    fc_barrier_arrive(3, 256);
  } else {
    fc_barrier_sync(3, 256);
    atomicAdd(&out[4], part[t + 128]);
  }
}

static int test_barriers() {
  int failures = 0, out[5] = {0, 0, 0, 1000, 0};
  CHECK(FC_LAUNCH(sums, 1, 256, 0, nullptr, out) == 0);
  CHECK(out[0] == 255 * 256 * 511 / 6 && out[1] == out[0] && out[2] == 255 && out[3] == 0);
  CHECK(out[4] == (128 + 255) * 64);
  return failures;
}

/* one warp copies `tiles` of 512 ints through a ring of 3 slots; two warps of consumers add each tile to out
 */
static __global__ void ring(const int *in, int *out, int tiles) {
  FC_DYNAMIC_SHARED(int, slots);
  __shared__ uint64_t full[3], empty[3];
  int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
  if (threadIdx.x == 0) {
    for (int i = 0; i < 3; i++) {
      fc_mbarrier_init(&full[i], 1);
      fc_mbarrier_init(&empty[i], 64);
    }
    fc_mbarrier_init_fence();
  }
  __syncthreads();
  if (warp == 0) {
    for (int i = 0; i < tiles && lane == 0; i++) {
      int s = i % 3;
      fc_mbarrier_wait(&empty[s], (uint32_t)(i / 3 + 1) & 1);
      fc_mbarrier_expect(&full[s], 2048);
      fc_bulk_load(slots + 512 * s, in + 512 * i, 1024, &full[s]);
      fc_bulk_load(slots + 512 * s + 256, in + 512 * i + 256, 1024, &full[s]);
    }
    return;
  }
  for (int i = 0; i < tiles; i++) {
    int s = i % 3, t = (int)threadIdx.x - 32;
    fc_mbarrier_wait(&full[s], (uint32_t)(i / 3) & 1);
    for (int j = t; j < 512; j += 64) out[512 * i + j] = slots[512 * s + j] + 1;
    fc_mbarrier_arrive(&empty[s]);
  }
}

static int test_ring() {
  enum { TILES = 20 };
  int failures = 0;
  alignas(16) static int in[TILES * 512];
  static int out[TILES * 512];
  for (int i = 0; i < TILES * 512; i++) in[i] = 3 * i;
  CHECK(FC_LAUNCH(ring, 1, 96, 3 * 2048, nullptr, in, out, (int)TILES) == 0);
  for (int i = 0; i < TILES * 512; i++) CHECK(out[i] == 3 * i + 1);
  return failures;
}

int test_threads() {
  return test_indices() + test_warp() + test_barriers() + test_ring();
}
