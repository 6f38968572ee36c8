/* SPDX-License-Identifier: Apache-2.0 */

/** GROUPED_WGRAD and GEMM_WGRAD (one group), FP8: e4m3 operands, scales 1x128 of both along the tokens, f32
 *  accumulate into C: c[g] += a_g b_g^T.
 *
 *  Tile 256x128 (gemm.cuh), 4 stages of 128 tokens, 232 registers a consumer, 202,816 bytes of shared
 *  memory, one block per SM walking over the tiles of all groups; token ranges are read on the device,
 *  groups without tokens are passed over.  Scales of B differ by column: a promotion reads them from shared
 *  memory as pairs and costs two operations an element, about 200 cycles a wave, still under the other
 *  warpgroup's 256.
 *
 *  The result is added in place by vector reductions that L2 performs (sm_90): registers to memory, nothing
 *  is read back and the warpgroups go on to the next tile.  While a tile multiplies, the producer has L2
 *  fetch its part of C, so that the reductions meet lines that are there.
 *
 *  Limits, H100 SXM, M 4096, N 7168, k tokens a group: multiplying 2 * 4096 * 7168 k at about 1,150 TFLOP/s =
 *  52 us per 1,024 tokens; C, read and written once, 235 MB = 84 us at 2.8 TB/s whatever k.  Below k = 1,650
 *  memory limits; above, the two overlap across the SMs but for the reductions' issue, 128 KiB a tile at an
 *  assumed 32 bytes a cycle = 4,000 cycles against 1,300 per 128 tokens.  Expected of the contiguous
 *  product's rate: k = 1,024 45 - 60 %, 2,048 75 - 80 %, 8,192 90 - 95 %.  The only product here whose
 *  speed rests on an unmeasured figure, L2's rate of vector reductions.
 *  Predictions, not measurements. */

#include <stdio.h>
#include <stdlib.h>

#include "gemm.cuh"

struct wgrad_shape {
  const float *scale_a, *scale_b;
  float *c;
  const int32_t *offsets; /* NULL: one group, all tokens */
  int groups, m, n;
  int k_blocks; /* of one group without offsets */
};

struct wgrad_tile {
  int group, row, column;
  int first_block, k_blocks; /* 128 tokens each */
};

struct wgrad_walk {
  int group, before, tile;
};

static constexpr int HEIGHT = tile_shape<false>::rows, WIDTH = tile_shape<false>::columns;

/** @return false: no such tile, the walk is over */
static __device__ __forceinline__ bool walk_to(wgrad_walk *walk, const wgrad_shape &s, wgrad_tile *tile) {
  int row_tiles = (s.m + HEIGHT - 1) / HEIGHT, column_tiles = (s.n + WIDTH - 1) / WIDTH;
  while (walk->group < s.groups) {
    int first = s.offsets ? __ldg(s.offsets + walk->group) / BLOCK_K : 0;
    int last = s.offsets ? __ldg(s.offsets + walk->group + 1) / BLOCK_K : s.k_blocks;
    int tiles = last > first ? row_tiles * column_tiles : 0;
    if (walk->tile < walk->before + tiles) {
      int row_tile, column_tile;
      tile_at(walk->tile - walk->before, row_tiles, column_tiles, SUPER_ROWS / HEIGHT, &row_tile,
              &column_tile);
      *tile = {walk->group, row_tile * HEIGHT, column_tile * WIDTH, first, last - first};
      walk->tile += (int)gridDim.x;
      return true;
    }
    walk->before += tiles;
    walk->group++;
  }
  return false;
}

static __device__ __forceinline__ int boxes_of(int rows) {
  return rows >= HEIGHT ? HEIGHT / BOX_ROWS : (rows + BOX_ROWS - 1) / BOX_ROWS;
}

static __device__ __forceinline__ void produce(const fc_tensor_map *map_a, const fc_tensor_map *map_b,
                                               const wgrad_shape &s, gemm_shared *shared) {
  ring_position at = {0, 0};
  wgrad_walk walk = {0, 0, (int)blockIdx.x};
  wgrad_tile tile;
  fc_tma_prefetch(map_a);
  fc_tma_prefetch(map_b);
  while (walk_to(&walk, s, &tile)) {
    int rows = s.m - tile.row < HEIGHT ? s.m - tile.row : HEIGHT, boxes = boxes_of(rows);
    int columns = s.n - tile.column < WIDTH ? s.n - tile.column : WIDTH, fetched = 0;
    uint32_t bytes = (uint32_t)(boxes * BOX_BYTES + PANEL_BYTES + (rows + columns) * 4);
    const float *c = s.c + ((int64_t)tile.group * s.m + tile.row) * s.n + tile.column;
    for (int block = 0; block < tile.k_blocks; block++) {
      uint64_t *full = &shared->full[at.slot];
      uint8_t *a = shared->operands[at.slot], *b = a + tile_shape<false>::a_bytes;
      int token_block = tile.first_block + block;
      fc_mbarrier_wait(&shared->empty[at.slot], at.phase ^ 1u);
      fc_mbarrier_expect(full, bytes);
      fc_tma_load_3d(b, map_b, full, token_block * BLOCK_K, tile.column, 0);
      for (int i = 0; i < boxes; i++)
        fc_tma_load_3d(a + i * BOX_BYTES, map_a, full, token_block * BLOCK_K, tile.row + BOX_ROWS * i, 0);
      fc_bulk_load(shared->scale_a[at.slot], s.scale_a + (int64_t)token_block * s.m + tile.row,
                   (uint32_t)(rows * 4), full);
      fc_bulk_load(shared->scale_b[at.slot], s.scale_b + (int64_t)token_block * s.n + tile.column,
                   (uint32_t)(columns * 4), full);
      for (int until = rows * (block + 1) / tile.k_blocks; fetched < until; fetched++)
        fc_prefetch(c + (int64_t)fetched * s.n, (uint32_t)(columns * 4));
      ring_advance(&at);
    }
  }
}

/** Adds one wave, 64 rows of which `rows` count, 128 columns of which `columns` exist, to c. */
static __device__ __forceinline__ void add_wave(const float (&sum)[64], float *c, int pitch, int rows,
                                                int columns) {
  int thread = (int)threadIdx.x % 128, lane = thread % 32;
  bool odd = lane & 1;
  int first_row = thread / 32 * 16 + lane / 4, first_column = 8 * (lane & 1) + 4 * (lane % 4 / 2);
#pragma unroll
  for (int j = 0; j < 2; j++) {
    int row = first_row + 8 * j;
    float *out = c + (int64_t)row * pitch + first_column;
    int left = row < rows ? columns - first_column : 0; /* all lanes stay for the exchange */
#pragma unroll
    for (int i = 0; i < 8; i++) {
      /* even lanes finish the first eight columns of sixteen, odd lanes the second */
      int at = 8 * i + 2 * j;
      float x0 = sum[at], y0 = sum[at + 1], x1 = sum[at + 4], y1 = sum[at + 5];
      float x = __shfl_xor_sync(0xffffffffu, odd ? x0 : x1, 1);
      float y = __shfl_xor_sync(0xffffffffu, odd ? y0 : y1, 1);
      fc_add4(16 * i < left, out + 16 * i, odd ? make_float4(x, y, x1, y1) : make_float4(x0, y0, x, y));
    }
  }
}

static __device__ __forceinline__ void consume(const wgrad_shape &s, gemm_shared *shared) {
  ring_position at = {0, 0};
  wgrad_walk walk = {0, 0, (int)blockIdx.x};
  wgrad_tile tile;
  int warpgroup = (int)threadIdx.x / 128;
  while (walk_to(&walk, s, &tile)) {
    int rows = s.m - tile.row, boxes = boxes_of(rows), waves = waves_of<false>(warpgroup, boxes, 1);
    float sum[2][64];
    tile_product<false, true, false>(sum, shared, &at, tile.k_blocks, waves, 0);
    float *c = s.c + ((int64_t)tile.group * s.m + tile.row) * s.n + tile.column;
    int first = BOX_ROWS * warpgroup, second = first + 2 * BOX_ROWS;
    if (waves > 0) add_wave(sum[0], c + (int64_t)first * s.n, s.n, rows - first, s.n - tile.column);
    if (waves > 1) add_wave(sum[1], c + (int64_t)second * s.n, s.n, rows - second, s.n - tile.column);
  }
}

static __global__ void __launch_bounds__(THREADS, 1)
    wgrad(const __grid_constant__ fc_tensor_map map_a, const __grid_constant__ fc_tensor_map map_b,
          const wgrad_shape shape) {
  FC_DYNAMIC_SHARED(gemm_shared, shared);
  ring_init(shared);
  if (threadIdx.x >= CONSUMERS) {
    fc_registers_lower<PRODUCER_REGISTERS>();
    if (threadIdx.x == CONSUMERS) produce(&map_a, &map_b, shape, shared);
  } else {
    fc_registers_raise<CONSUMER_REGISTERS>();
    consume(shape, shared);
  }
}

/* --- host side --- */

struct wgrad_plan {
  fc_tensor_map a, b;
  wgrad_shape shape;
  int grid;
};

static bool wgrad_supports(const fc_problem *p, const fc_machine *machine, char *why) {
  const fc_bench_case *c = &p->c;
  const char *reason = NULL;
  if (machine->capability != 90)
    reason = "needs compute capability 9.0 (wgmma)";
  else if (c->dtype != FC_DTYPE_FP8)
    reason = "only FP8 operands";
  else if (c->op == FC_BENCH_GEMM_WGRAD && c->k % 16)
    reason = "tokens not a multiple of 16: TMA rows are 16-byte aligned";
  else if (c->m % 4 || c->n % 4)
    reason = "rows or columns not a multiple of 4: scales are copied 16 bytes at a time";
  if (reason) snprintf(why, FC_WHY, "%s", reason);
  return !reason;
}

static int wgrad_prepare(const fc_problem *p, const fc_args *args, const fc_machine *machine, void **state,
                         char *why) {
  /* both operators have A, AS, B, BS, C in this order */
  static_assert((int)FC_GEMM_C == (int)FC_GROUPED_C && (int)FC_GEMM_BS == (int)FC_GROUPED_BS, "tensor order");
  const fc_bench_case *c = &p->c;
  bool grouped = c->op == FC_BENCH_GROUPED_WGRAD;
  wgrad_plan *plan = (wgrad_plan *)aligned_alloc(64, (sizeof *plan + 63) / 64 * 64);
  if (!plan) {
    snprintf(why, FC_WHY, "out of memory");
    return 1;
  }
  *state = plan;
  int64_t tokens = grouped ? p->rows[0] : c->k;
  wgrad_shape *s = &plan->shape;
  s->scale_a = (const float *)args->at[FC_GROUPED_AS];
  s->scale_b = (const float *)args->at[FC_GROUPED_BS];
  s->c = (float *)args->at[FC_GROUPED_C];
  s->offsets = grouped ? (const int32_t *)args->at[FC_GROUPED_OFFSETS] : NULL;
  s->groups = grouped ? (int)c->groups : 1;
  s->m = (int)c->m;
  s->n = (int)c->n;
  s->k_blocks = (int)fc_blocks(tokens);
  plan->grid = machine->compute_units > 0 ? machine->compute_units : 1;
  int error = operand_map(&plan->a, args->at[FC_GROUPED_A], tokens, tokens, c->m, 1, BOX_ROWS);
  if (!error) error = operand_map(&plan->b, args->at[FC_GROUPED_B], tokens, tokens, c->n, 1, 128);
  if (error) snprintf(why, FC_WHY, "tensor map: error %d", error);
  return error;
}

static int wgrad_launch(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)p;
  (void)args;
  const wgrad_plan *plan = (const wgrad_plan *)state;
  dim3 grid((unsigned)plan->grid), block(THREADS);
  return FC_LAUNCH(wgrad, grid, block, sizeof(gemm_shared), queue, plan->a, plan->b, plan->shape);
}

static void wgrad_release(void *state) {
  free(state);
}

static const fc_implementation offered[] = {
    {FC_BENCH_GROUPED_WGRAD, "wgmma", wgrad_supports, wgrad_prepare, wgrad_launch, wgrad_release},
    {FC_BENCH_GEMM_WGRAD, "wgmma", wgrad_supports, wgrad_prepare, wgrad_launch, wgrad_release},
};

extern "C" {
extern const fc_implementations fc_cuda_wgrad;
const fc_implementations fc_cuda_wgrad = {sizeof offered / sizeof *offered, offered};
}
