/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CUDA_GEMM_CUH
#define FC_CUDA_GEMM_CUH

/** Shared pieces of the FP8 matrix products with block scales: c = a b^T, a scale for every 128 of the
 *  inner size, so that each 128-deep partial product leaves the tensor cores, is scaled, and is summed in
 *  binary32 registers ("promotion": DeepSeek-V3, arXiv:2412.19437, 3.3.2).
 *
 *  One block of 384 threads per SM walks over tiles: warpgroups 0 and 1 multiply, one thread of warpgroup 2
 *  feeds a ring of STAGES stages by TMA.  A stage holds 128 of the inner size: operands of 384 rows, 48 KiB,
 *  and their scales.  Each consumer warpgroup owns 128 x 128 of the tile as two "waves" of 64 rows:
 *    tall, 256 x 128: wave i of warpgroup w has rows 64 (2 i + w) ..: a short tile busies both warpgroups
 *    wide, 128 x 256: wave i has rows 64 i .., warpgroup w has columns 128 w ..
 *  Rows of A come in boxes of 64, and boxes without a row are neither loaded nor multiplied: one kernel
 *  serves 256 rows as well as the 10 of a decoding expert.
 *
 *  Registers of a consumer: 128 sums + 64 of the wave in flight + scales and addresses, of 232; the producer
 *  keeps 40: (2 * 232 + 40) * 128 = 64,512, what 384 threads of 168 are given at launch.  Shared memory:
 *  4 * (48 KiB + 1.5 KiB) + barriers = 202,816 of 232,448 bytes.
 *
 *  Cycles of an SM for 128 of the inner size.  Tensor cores: 64 for an m64n128k32, whichever warpgroup asks:
 *  16 instructions = 1,024.  Shared memory, 128 bytes a cycle: operands 16 * 6 KiB + fill 48 KiB = 1,152, so
 *  89 % of peak is the ceiling of this tile.  L2 to SM: 48 KiB, 170 FLOP a byte.  Promotion: 64 multiply-adds
 *  of each thread a wave, about 140 cycles with their latency, while the other warpgroup's 256 run. */

#include "device.cuh"

static constexpr int BLOCK_K = 128;
static constexpr int BOX_ROWS = 64;
static constexpr int BOX_BYTES = BOX_ROWS * BLOCK_K; /* of A */
static constexpr int PANEL_BYTES = 128 * BLOCK_K;    /* 128 rows of B */
static constexpr int STAGES = 4;
static constexpr int STAGE_BYTES = 384 * BLOCK_K;
static constexpr int SCALES_A = 256, SCALES_B = 128; /* room in a stage, floats */
static constexpr int CONSUMERS = 256, THREADS = 384;
static constexpr int CONSUMER_REGISTERS = 232, PRODUCER_REGISTERS = 40;
static constexpr int SUPER_ROWS = 2048; /* rows of tiles that share a pass over the columns; see tile_at */

struct gemm_shared {
  uint8_t operands[STAGES][STAGE_BYTES]; /* A's boxes, then B's panels; 1,024-byte aligned for the swizzle */
  float scale_a[STAGES][SCALES_A];
  float scale_b[STAGES][SCALES_B];
  uint64_t full[STAGES], empty[STAGES];
};

/** Rows and columns of a tile. */
template <bool Wide> struct tile_shape {
  static constexpr int rows = Wide ? 128 : 256, columns = Wide ? 256 : 128;
  static constexpr int a_bytes = rows * BLOCK_K;
};

/** Where a role stands in the ring. */
struct ring_position {
  int slot;
  uint32_t phase;
};

static __device__ __forceinline__ void ring_advance(ring_position *at) {
  at->slot++;
  if (at->slot == STAGES) {
    at->slot = 0;
    at->phase ^= 1u;
  }
}

static __device__ __forceinline__ void ring_init(gemm_shared *shared) {
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) {
      fc_mbarrier_init(&shared->full[i], 1);
      fc_mbarrier_init(&shared->empty[i], CONSUMERS / 32); /* a warp knows only of its own reads */
    }
    fc_mbarrier_init_fence();
  }
  __syncthreads();
}

/** Place of the index-th tile of a group: row tiles advance first, within SUPER_ROWS rows, so that the
 *  tiles in flight cover about as many rows as columns and share most of what they read in L2. */
static __device__ __forceinline__ void tile_at(int index, int row_tiles, int column_tiles, int super,
                                               int *row_tile, int *column_tile) {
  int pass = index / (super * column_tiles), first = pass * super;
  int height = row_tiles - first < super ? row_tiles - first : super;
  int rest = index - pass * super * column_tiles;
  *row_tile = first + rest % height;
  *column_tile = rest / height;
}

/* turns: barrier 1 + w lets warpgroup w issue; the last of four instructions covers the hand-over */
static __device__ __forceinline__ void turn_begin(int warpgroup) {
  fc_barrier_sync(1 + warpgroup, CONSUMERS);
}
static __device__ __forceinline__ void turn_end(int warpgroup) {
  fc_barrier_arrive(2 - warpgroup, CONSUMERS);
}

/** part = 64 rows of a times 128 rows of b, 128 deep. */
template <bool Turns>
static __device__ __forceinline__ void multiply(float (&part)[64], const uint8_t *a, const uint8_t *b,
                                                int warpgroup) {
  uint64_t da = fc_wgmma_descriptor(a, 128, 0, 1024), db = fc_wgmma_descriptor(b, 128, 0, 1024);
  if (Turns) turn_begin(warpgroup);
  fc_wgmma_hold(part);
  fc_wgmma_fence();
#pragma unroll
  for (int i = 0; i < 3; i++) fc_wgmma_e4m3<128>(part, da + (uint64_t)(2 * i), db + (uint64_t)(2 * i), i > 0);
  if (Turns) fc_wgmma_commit();
  fc_wgmma_e4m3<128>(part, da + 6, db + 6, true);
  fc_wgmma_commit();
  if (Turns) {
    fc_wgmma_wait<1>();
    turn_end(warpgroup);
  }
  fc_wgmma_wait<0>();
  fc_wgmma_hold(part);
}

/** sum += scale of the row * scale of the block * part. */
static __device__ __forceinline__ void promote_block(float (&sum)[64], const float (&part)[64], float scale0,
                                                     float scale1) {
#pragma unroll
  for (int i = 0; i < 16; i++) {
    sum[4 * i] = fmaf(part[4 * i], scale0, sum[4 * i]);
    sum[4 * i + 1] = fmaf(part[4 * i + 1], scale0, sum[4 * i + 1]);
    sum[4 * i + 2] = fmaf(part[4 * i + 2], scale1, sum[4 * i + 2]);
    sum[4 * i + 3] = fmaf(part[4 * i + 3], scale1, sum[4 * i + 3]);
  }
}

/** sum += scale of the row * scale of the column * part; columns: this thread's first of eight. */
static __device__ __forceinline__ void promote_columns(float (&sum)[64], const float (&part)[64],
                                                       float scale0, float scale1, const float *columns) {
#pragma unroll
  for (int i = 0; i < 16; i++) {
    float2 column = *(const float2 *)(columns + 8 * i);
    sum[4 * i] = fmaf(part[4 * i], scale0 * column.x, sum[4 * i]);
    sum[4 * i + 1] = fmaf(part[4 * i + 1], scale0 * column.y, sum[4 * i + 1]);
    sum[4 * i + 2] = fmaf(part[4 * i + 2], scale1 * column.x, sum[4 * i + 2]);
    sum[4 * i + 3] = fmaf(part[4 * i + 3], scale1 * column.y, sum[4 * i + 3]);
  }
}

/** A consumer's pass over the inner size of one tile.  Waves: how many of this warpgroup's have rows;
 *  turns: how many turns both warpgroups take a block.  Columns: scales of B by column (1x128), else by block
 *  (128x128). */
template <int Waves, bool Wide, bool Columns, bool Turns>
static __device__ __forceinline__ void main_loop(float (&sum)[2][64], gemm_shared *shared, ring_position *at,
                                                 int k_blocks, int turns) {
  int warpgroup = (int)threadIdx.x / 128, thread = (int)threadIdx.x % 128, lane = thread % 32;
  int row = thread / 32 * 16 + lane / 4, first_box = Wide ? 0 : warpgroup;
  const int box_step = Wide ? 1 : 2;
#pragma unroll 1
  for (int block = 0; block < k_blocks; block++) {
    int slot = at->slot;
    fc_mbarrier_wait(&shared->full[slot], at->phase);
    const uint8_t *a = shared->operands[slot] + first_box * BOX_BYTES;
    const uint8_t *b =
        shared->operands[slot] + tile_shape<Wide>::a_bytes + (Wide ? warpgroup * PANEL_BYTES : 0);
    const float *rows = shared->scale_a[slot] + first_box * BOX_ROWS + row;
    const float *columns = shared->scale_b[slot] + (Columns ? 2 * (lane % 4) : 0);
    float by_block = Columns ? 1.0f : columns[(Wide ? 4 * warpgroup : 0) + block % 4];
#pragma unroll
    for (int wave = 0; wave < Waves; wave++) {
      float part[64];
      float scale0 = rows[wave * box_step * BOX_ROWS] * by_block;
      float scale1 = rows[wave * box_step * BOX_ROWS + 8] * by_block;
      multiply<Turns>(part, a + wave * box_step * BOX_BYTES, b, warpgroup);
      if (!Columns && wave == Waves - 1) {
        __syncwarp();
        if (lane == 0) fc_mbarrier_arrive(&shared->empty[slot]);
      }
      if (Columns)
        promote_columns(sum[wave], part, scale0, scale1, columns);
      else
        promote_block(sum[wave], part, scale0, scale1);
    }
    if (Turns)
      for (int i = Waves; i < turns; i++) {
        turn_begin(warpgroup);
        turn_end(warpgroup);
      }
    if (Columns || Waves == 0) {
      __syncwarp();
      if (lane == 0) fc_mbarrier_arrive(&shared->empty[slot]);
    }
    ring_advance(at);
  }
}

/** The tile's product in sum[0 .. waves). */
template <bool Wide, bool Columns, bool Turns>
static __device__ __forceinline__ void tile_product(float (&sum)[2][64], gemm_shared *shared,
                                                    ring_position *at, int k_blocks, int waves, int turns) {
#pragma unroll
  for (int i = 0; i < 64; i++) sum[0][i] = sum[1][i] = 0.0f;
  /* specialised, as registers of matrix instructions must not depend on a branch */
  if (waves == 2)
    main_loop<2, Wide, Columns, Turns>(sum, shared, at, k_blocks, turns);
  else if (waves == 1)
    main_loop<1, Wide, Columns, Turns>(sum, shared, at, k_blocks, turns);
  else
    main_loop<0, Wide, Columns, Turns>(sum, shared, at, k_blocks, turns);
}

/** Waves of a warpgroup in a tile of so many boxes of rows and panels of columns. */
template <bool Wide> static __device__ __forceinline__ int waves_of(int warpgroup, int boxes, int panels) {
  if (Wide) return warpgroup < panels ? boxes : 0;
  return (boxes + 1 - warpgroup) / 2;
}

/* --- host side --- */

/** Map of an e4m3 operand [groups, rows, inner], rows `pitch` bytes apart, read in boxes of `box_rows` x 128.
 */
static inline int operand_map(fc_tensor_map *map, const void *base, int64_t inner, int64_t pitch,
                              int64_t rows, int64_t groups, int box_rows) {
  int64_t dim[3] = {inner, rows, groups}, stride[2] = {pitch, pitch * rows};
  int box[3] = {BLOCK_K, box_rows, 1};
  return fc_tensor_map_encode(map, FC_ELEM_E4M3, 3, base, dim, stride, box, 128);
}

#endif
