/* SPDX-License-Identifier: Apache-2.0 */

/** GROUPED, GROUPED_MASKED and GEMM (one group), FP8: e4m3 operands, scales 1x128 of A and 128x128 of B,
 *  bf16 result.
 *
 *  Tile 256x128 or 128x256 (gemm.cuh), 4 stages of 128, 232 registers a consumer, 202,824 bytes of shared
 *  memory, one block per SM walking over the tiles of all groups; counts and offsets are read on the device.
 *  The result goes from registers straight to memory: a transpose inside each four lanes makes 16-byte
 *  stores that fill sectors, and rows beyond a group's count are simply not stored.
 *
 *  Limits, H100 SXM, 132 SMs.  L2 to SM: a tile has 170 FLOP a byte.  A public bf16 kernel with 192x192
 *  tiles and no multicast (96 FLOP a byte) runs at 777 TFLOP/s, so L2 gives 8.1 TB/s at least: 1,380 TFLOP/s
 *  here.  @source github.com/pranjalssh/fast.cu, README, kernel 6 at 8192^3.  Shared memory: 89 % of 1,979 =
 *  1,760.  Power and promotion: DeepGEMM's best, 1,550 (its README, April 2025).
 *   - contiguous G4 x m8192, N 4096, K 7168: 4,096 tiles = 31.03 turns of 132, the last in slices of 64 rows:
 *     99 %; epilogue and walk add about 1,500 cycles to a tile's 57,000.  Expected 1,120 - 1,300 TFLOP/s,
 *     0.96 - 1.1 of the gate (1,170).
 *   - N 7168, K 2048: the same 1,500 cycles to 16,400.  Expected 950 - 1,100.
 *   - masked G4 x m256, N 4096, K 7168: 128 tiles, one turn; 125 MB of memory, 44 us at 2.8 TB/s, and 352 MB
 *     of L2, 43 us, against 34 us of multiplying; with launch, first stage and last stores 55 - 65 us.
 *     Expected 920 - 1,090 TFLOP/s, above the gate (840).
 *  Predictions, not measurements. */

#include <stdio.h>
#include <stdlib.h>

#include "gemm.cuh"

struct grouped_shape {
  const float *scale_a, *scale_b;
  uint16_t *c;
  const int32_t *counts, *offsets; /* offsets NULL: a slab a group; counts too: slabs are full */
  int groups, n, k_blocks;
  int slab;        /* rows of A's slab: padded rows, or max_rows */
  int scale_pitch; /* floats of a row of B's scales */
};

/** A tile: `rows` of its rows count, from `row` of slab `slab`; columns from `column` of group `group`. */
struct grouped_tile {
  int group, slab, row, rows, column;
};

/** Walk over the tiles of all groups in order.  The last turn, when tiles are left for few SMs only, cuts
 *  them into slices of 64 or 128 rows: a third or a half of a tile's time instead of all of it. */
struct grouped_walk {
  int group, before; /* tiles of the groups before this one */
  int next;          /* of this block: tiles, then slices of what follows `whole` tiles */
};

struct grouped_shared {
  gemm_shared ring;
  int whole, slices; /* a tile */
};

template <bool Wide> static __device__ __forceinline__ int row_tiles_of(int count) {
  return (count + tile_shape<Wide>::rows - 1) / tile_shape<Wide>::rows;
}

static __device__ __forceinline__ int count_of(const grouped_shape &s, int group) {
  return s.counts ? __ldg(s.counts + group) : s.slab;
}

/** By one thread, for all. */
template <bool Wide>
static __device__ __forceinline__ void walk_plan(const grouped_shape &s, grouped_shared *shared) {
  constexpr int width = tile_shape<Wide>::columns;
  int tiles = 0, units = (int)gridDim.x;
  for (int group = 0; group < s.groups; group++) tiles += row_tiles_of<Wide>(count_of(s, group));
  tiles *= (s.n + width - 1) / width;
  int rest = tiles % units, slices = tile_shape<Wide>::rows / BOX_ROWS;
  while (rest * slices > units) slices /= 2;
  shared->whole = tiles - rest;
  shared->slices = slices;
}

/** @return false: no such tile, the walk is over */
template <bool Wide>
static __device__ __forceinline__ bool walk_to(grouped_walk *walk, const grouped_shape &s,
                                               const grouped_shared *shared, grouped_tile *tile) {
  constexpr int height = tile_shape<Wide>::rows, width = tile_shape<Wide>::columns;
  int column_tiles = (s.n + width - 1) / width, index = walk->next, first = 0, most = height;
  if (index >= shared->whole) {
    most = height / shared->slices;
    first = (index - shared->whole) % shared->slices * most;
    index = shared->whole + (index - shared->whole) / shared->slices;
  }
  for (; walk->group < s.groups; walk->group++) {
    int count = count_of(s, walk->group), row_tiles = row_tiles_of<Wide>(count);
    if (index < walk->before + row_tiles * column_tiles) {
      int row_tile, column_tile;
      tile_at(index - walk->before, row_tiles, column_tiles, SUPER_ROWS / height, &row_tile, &column_tile);
      int row = row_tile * height + first;
      tile->group = walk->group;
      tile->slab = s.offsets ? 0 : walk->group;
      tile->row = row + (s.offsets ? __ldg(s.offsets + walk->group) : 0);
      tile->rows = count - row < most ? count - row : most;
      tile->column = column_tile * width;
      walk->next += (int)gridDim.x;
      return tile->rows > 0; /* an empty slice is the block's last */
    }
    walk->before += row_tiles * column_tiles;
  }
  return false;
}

template <bool Wide> static __device__ __forceinline__ int panels_of(const grouped_shape &s, int column) {
  return Wide && s.n - column > 128 ? 2 : 1;
}

template <bool Wide>
static __device__ __forceinline__ void produce(const fc_tensor_map *map_a, const fc_tensor_map *map_b,
                                               const grouped_shape &s, grouped_shared *shared) {
  ring_position at = {0, 0};
  grouped_walk walk = {0, 0, (int)blockIdx.x};
  grouped_tile tile;
  fc_tma_prefetch(map_a);
  fc_tma_prefetch(map_b);
  int n_blocks = (s.n + 127) / 128;
  while (walk_to<Wide>(&walk, s, shared, &tile)) {
    int boxes = (tile.rows + BOX_ROWS - 1) / BOX_ROWS, panels = panels_of<Wide>(s, tile.column);
    int rows = boxes * BOX_ROWS < s.slab - tile.row ? boxes * BOX_ROWS : s.slab - tile.row;
    uint32_t bytes = (uint32_t)(boxes * BOX_BYTES + panels * (PANEL_BYTES + 16) + rows * 4);
    const float *scale_a = s.scale_a + (int64_t)tile.slab * s.k_blocks * s.slab + tile.row;
    const float *scale_b = s.scale_b + ((int64_t)tile.group * n_blocks + tile.column / 128) * s.scale_pitch;
    for (int block = 0; block < s.k_blocks; block++) {
      uint64_t *full = &shared->ring.full[at.slot];
      uint8_t *a = shared->ring.operands[at.slot], *b = a + tile_shape<Wide>::a_bytes;
      fc_mbarrier_wait(&shared->ring.empty[at.slot], at.phase ^ 1u);
      fc_mbarrier_expect(full, bytes);
      for (int i = 0; i < panels; i++)
        fc_tma_load_3d(b + i * PANEL_BYTES, map_b, full, block * BLOCK_K, tile.column + 128 * i, tile.group);
      for (int i = 0; i < boxes; i++)
        fc_tma_load_3d(a + i * BOX_BYTES, map_a, full, block * BLOCK_K, tile.row + BOX_ROWS * i, tile.slab);
      fc_bulk_load(shared->ring.scale_a[at.slot], scale_a + (int64_t)block * s.slab, (uint32_t)(rows * 4),
                   full);
      /* the copy's unit is 16 bytes: four inner blocks, of which the consumer takes block % 4 */
      for (int i = 0; i < panels; i++)
        fc_bulk_load(shared->ring.scale_b[at.slot] + 4 * i, scale_b + i * s.scale_pitch + block / 4 * 4, 16,
                     full);
      ring_advance(&at);
    }
  }
}

/** Words w[i] of lane l of four become words w[l] of lane i. */
static __device__ __forceinline__ void transpose_four(uint32_t (&w)[4], int lane) {
  bool odd = lane & 1, high = lane & 2;
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    uint32_t got = __shfl_xor_sync(0xffffffffu, odd ? w[i] : w[i + 1], 1);
    w[i] = odd ? got : w[i];
    w[i + 1] = odd ? w[i + 1] : got;
  }
#pragma unroll
  for (int i = 0; i < 2; i++) {
    uint32_t got = __shfl_xor_sync(0xffffffffu, high ? w[i] : w[i + 2], 2);
    w[i] = high ? got : w[i];
    w[i + 2] = high ? w[i + 2] : got;
  }
}

/** Stores one wave: 64 rows of which `rows` count, 128 columns of which `columns` exist. */
static __device__ __forceinline__ void store_wave(const float (&sum)[64], uint16_t *c, int pitch, int rows,
                                                  int columns) {
  int thread = (int)threadIdx.x % 128, lane = thread % 32;
#pragma unroll
  for (int j = 0; j < 2; j++) {
    int row = thread / 32 * 16 + lane / 4 + 8 * j;
    uint16_t *out = c + (int64_t)row * pitch;
#pragma unroll
    for (int q = 0; q < 4; q++) {
      uint32_t w[4];
#pragma unroll
      for (int i = 0; i < 4; i++)
        w[i] = fc_pack_bf16(sum[4 * (4 * q + i) + 2 * j], sum[4 * (4 * q + i) + 2 * j + 1]);
      transpose_four(w, lane);
      int column = 8 * (4 * q + lane % 4);
      if (row < rows && column < columns) *(uint4 *)(out + column) = make_uint4(w[0], w[1], w[2], w[3]);
    }
  }
}

template <bool Wide, bool Turns>
static __device__ __forceinline__ void consume(const grouped_shape &s, grouped_shared *shared) {
  ring_position at = {0, 0};
  grouped_walk walk = {0, 0, (int)blockIdx.x};
  grouped_tile tile;
  int warpgroup = (int)threadIdx.x / 128;
  if (Turns && warpgroup == 1) turn_end(1);
  while (walk_to<Wide>(&walk, s, shared, &tile)) {
    int boxes = (tile.rows + BOX_ROWS - 1) / BOX_ROWS, panels = panels_of<Wide>(s, tile.column);
    int waves = waves_of<Wide>(warpgroup, boxes, panels);
    float sum[2][64];
    tile_product<Wide, false, Turns>(sum, &shared->ring, &at, s.k_blocks, waves,
                                     waves_of<Wide>(0, boxes, panels));
    int column = tile.column + (Wide ? 128 * warpgroup : 0), first = Wide ? 0 : BOX_ROWS * warpgroup;
    constexpr int step = BOX_ROWS * (Wide ? 1 : 2);
    uint16_t *c = s.c + ((int64_t)tile.slab * s.slab + tile.row + first) * s.n + column;
    if (waves > 0) store_wave(sum[0], c, s.n, tile.rows - first, s.n - column);
    if (waves > 1) store_wave(sum[1], c + (int64_t)step * s.n, s.n, tile.rows - first - step, s.n - column);
  }
  if (Turns && warpgroup == 0) turn_begin(0); /* takes back the turn that was left over */
}

template <bool Wide, bool Turns>
static __global__ void __launch_bounds__(THREADS, 1)
    grouped(const __grid_constant__ fc_tensor_map map_a, const __grid_constant__ fc_tensor_map map_b,
            const grouped_shape shape) {
  FC_DYNAMIC_SHARED(grouped_shared, shared);
  if (threadIdx.x == CONSUMERS) walk_plan<Wide>(shape, shared);
  ring_init(&shared->ring);
  if (threadIdx.x >= CONSUMERS) {
    fc_registers_lower<PRODUCER_REGISTERS>();
    if (threadIdx.x == CONSUMERS) produce<Wide>(&map_a, &map_b, shape, shared);
  } else {
    fc_registers_raise<CONSUMER_REGISTERS>();
    consume<Wide, Turns>(shape, shared);
  }
}

/* --- host side --- */

struct grouped_plan {
  fc_tensor_map a, b;
  grouped_shape shape;
  int grid;
  bool wide;
};

static bool grouped_supports(const fc_problem *p, const fc_machine *machine, char *why) {
  const fc_bench_case *c = &p->c;
  const char *reason = NULL;
  if (machine->capability != 90)
    reason = "needs compute capability 9.0 (wgmma)";
  else if (c->dtype != FC_DTYPE_FP8)
    reason = "only FP8 operands";
  else if (c->k % 16)
    reason = "inner size not a multiple of 16: TMA rows are 16-byte aligned";
  else if (c->n % 8)
    reason = "columns not a multiple of 8: results are stored 16 bytes at a time";
  else if ((c->op == FC_BENCH_GROUPED_MASKED && c->max_rows % 4) || (c->op == FC_BENCH_GEMM && c->m % 4))
    reason = "rows of a slab not a multiple of 4: scales are copied 16 bytes at a time";
  if (reason) snprintf(why, FC_WHY, "%s", reason);
  return !reason;
}

/* Time of a tile, in full tiles: the larger of its multiplying (the waves of its busier warpgroup, of two)
 * and of its traffic (rows of operands, of 384). */
static double tile_time(int64_t rows, bool wide) {
  int64_t boxes = (rows + BOX_ROWS - 1) / BOX_ROWS;
  double multiply = (double)(wide ? boxes : (boxes + 1) / 2) / 2;
  double traffic = (double)(boxes * BOX_ROWS + (wide ? 256 : 128)) / 384;
  return multiply > traffic ? multiply : traffic;
}

/* Time of all turns, the last one sliced as walk_begin does. */
static double all_time(int64_t n, int64_t groups, int64_t rows, bool wide, int64_t units) {
  int64_t height = wide ? 128 : 256, width = wide ? 256 : 128, slices = height / BOX_ROWS;
  int64_t tiles = (rows + height - 1) / height * ((n + width - 1) / width) * groups, rest = tiles % units;
  while (rest * slices > units) slices /= 2;
  int64_t high = rows < height ? rows : height, low = rows < height / slices ? rows : height / slices;
  return (double)(tiles / units) * tile_time(high, wide) + (rest > 0 ? tile_time(low, wide) : 0);
}

/* Slabs of rows as the operator lays them out; GEMM is one full slab. */
static void grouped_shape_init(grouped_shape *s, const fc_problem *p, const fc_args *args) {
  /* both operators have A, AS, B, BS, C in this order */
  static_assert((int)FC_GEMM_C == (int)FC_GROUPED_C && (int)FC_GEMM_BS == (int)FC_GROUPED_BS, "tensor order");
  const fc_bench_case *c = &p->c;
  *s = {};
  s->scale_a = (const float *)args->at[FC_GROUPED_AS];
  s->scale_b = (const float *)args->at[FC_GROUPED_BS];
  s->c = (uint16_t *)args->at[FC_GROUPED_C];
  if (c->op != FC_BENCH_GEMM) s->counts = (const int32_t *)args->at[FC_GROUPED_COUNTS];
  if (c->op == FC_BENCH_GROUPED) s->offsets = (const int32_t *)args->at[FC_GROUPED_OFFSETS];
  s->slab = (int)(c->op == FC_BENCH_GEMM ? c->m : (c->op == FC_BENCH_GROUPED ? p->rows[0] : c->max_rows));
  s->groups = c->op == FC_BENCH_GEMM ? 1 : (int)c->groups;
  s->n = (int)c->n;
  s->k_blocks = (int)fc_blocks(c->k);
  s->scale_pitch = (int)fc_pad4(fc_blocks(c->k));
}

static int grouped_prepare(const fc_problem *p, const fc_args *args, const fc_machine *machine, void **state,
                           char *why) {
  const fc_bench_case *c = &p->c;
  grouped_plan *plan = (grouped_plan *)aligned_alloc(64, (sizeof *plan + 63) / 64 * 64);
  if (!plan) {
    snprintf(why, FC_WHY, "out of memory");
    return 1;
  }
  *state = plan;
  grouped_shape_init(&plan->shape, p, args);
  int groups = plan->shape.groups, slab = plan->shape.slab;
  plan->grid = machine->compute_units > 0 ? machine->compute_units : 1;
  /* masked: the counts stay on the device, so the slab's size stands for them */
  int64_t rows = c->op == FC_BENCH_GROUPED ? (c->m + groups - 1) / groups : slab;
  plan->wide =
      all_time(c->n, groups, rows, true, plan->grid) < all_time(c->n, groups, rows, false, plan->grid);
  int64_t slabs = c->op == FC_BENCH_GROUPED ? 1 : groups;
  int error = operand_map(&plan->a, args->at[FC_GROUPED_A], c->k, c->k, slab, slabs, BOX_ROWS);
  if (!error) error = operand_map(&plan->b, args->at[FC_GROUPED_B], c->k, c->k, c->n, groups, 128);
  if (error) snprintf(why, FC_WHY, "tensor map: error %d", error);
  return error;
}

template <bool Turns> static int launch(const grouped_plan *plan, fc_queue queue) {
  dim3 grid((unsigned)plan->grid), block(THREADS);
  if (plan->wide)
    return FC_LAUNCH((grouped<true, Turns>), grid, block, sizeof(grouped_shared), queue, plan->a, plan->b,
                     plan->shape);
  return FC_LAUNCH((grouped<false, Turns>), grid, block, sizeof(grouped_shared), queue, plan->a, plan->b,
                   plan->shape);
}

static int grouped_launch(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)p;
  (void)args;
  return launch<false>((const grouped_plan *)state, queue);
}

static int grouped_launch_turns(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)p;
  (void)args;
  return launch<true>((const grouped_plan *)state, queue);
}

static void grouped_release(void *state) {
  free(state);
}

/* "wgmma_turns": the two warpgroups take turns at the tensor cores instead of leaving the order to the
 * hardware; which is faster is for a measurement to say */
static const fc_implementation offered[] = {
    {FC_BENCH_GROUPED, "wgmma", grouped_supports, grouped_prepare, grouped_launch, grouped_release},
    {FC_BENCH_GROUPED, "wgmma_turns", grouped_supports, grouped_prepare, grouped_launch_turns,
     grouped_release},
    {FC_BENCH_GROUPED_MASKED, "wgmma", grouped_supports, grouped_prepare, grouped_launch, grouped_release},
    {FC_BENCH_GEMM, "wgmma", grouped_supports, grouped_prepare, grouped_launch, grouped_release},
};

extern "C" {
extern const fc_implementations fc_cuda_grouped;
const fc_implementations fc_cuda_grouped = {sizeof offered / sizeof *offered, offered};
}
