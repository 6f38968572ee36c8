/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CUDA_DECODE_CUH
#define FC_CUDA_DECODE_CUH

/** What the decode attentions share: who does which pages (split-KV), and the merge of partial results.
 *
 *  The cache of a sequence is read in pages of 64 tokens; a batch has sum ceil(length/64) of them, and
 *  lengths are known on the device only. All blocks of one key/value head and row tile share that work in
 *  equal "parts": a sequence counts its pages and `overhead` units more (what starting and ending it
 *  costs, in page times); part p does units [p U, (p+1) U) of the concatenated sequences, U = ceil(units
 *  / parts). So the schedule is a prefix sum, which every warp takes by itself from the lengths (4 bytes
 *  a sequence, in L2): no kernel before the main one, no table, and the same schedule on every run.
 *
 *  A piece is what a part does of one sequence. A piece that is the whole sequence writes O and LSE;
 *  others write a normalised f32 partial O and its log2-sum-exp2 into a slot of the workspace, and
 *  fc_decode_combine weighs them. A part has at most two unfinished pieces, its first and its last: the
 *  slot is 2 part + (the piece begins its sequence).
 *
 *  Letters: rows of a key/value head = (heads/groups) q, row = token * (heads/groups) + head; a tile is
 *  what one block holds of them. Pages hold finite numbers throughout: masked keys are multiplied by 0. */

#include "device.cuh"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { FC_PAGE = 64 };

typedef struct fc_decode {
  int batch, q, heads, groups;
  int rows;      /* of a group */
  int tile_rows; /* of a block */
  int tiles;     /* of a group */
  int parts, max_pages, overhead;
  float scale; /* softmax scale */
  const int32_t *lengths, *table;
  uint16_t *o;        /* [b,q,h,dv] bf16 */
  float *lse;         /* [b,h,q] */
  float *partial;     /* [2 parts, groups, tiles, tile_rows, dv] */
  float *partial_lse; /* [2 parts, groups, tiles, tile_rows], base 2 */
} fc_decode;

/** Pages first .. last-1 of a sequence that has `pages`. */
typedef struct fc_decode_piece {
  int sequence, length, pages, first, last;
} fc_decode_piece;

/** Where a part stands: unit `unit` of `sequence`, `left` units to go. */
typedef struct fc_decode_walk {
  int sequence, unit, left;
} fc_decode_walk;

static __device__ __forceinline__ float fc_decode_nothing() {
  return fc_float_of_bits(0xff800000u); /* -infinity: the maximum, or logarithm, of nothing */
}

static __device__ __forceinline__ int fc_decode_pages(int length) {
  return (length + FC_PAGE - 1) / FC_PAGE;
}

static __device__ __forceinline__ int fc_decode_units(const fc_decode &d, int sequence) {
  return sequence < d.batch ? fc_decode_pages(d.lengths[sequence]) + d.overhead : 0;
}

/** Units of all sequences, and of those before `sequence`.  Called by whole warps. */
static __device__ __forceinline__ void fc_decode_sum(const fc_decode &d, int sequence, int *before,
                                                     int *all) {
  int lane = (int)(threadIdx.x % 32), b = 0, a = 0;
  for (int i = lane; i < d.batch; i += 32) {
    int units = fc_decode_units(d, i);
    a += units;
    b += i < sequence ? units : 0;
  }
  for (int step = 16; step > 0; step /= 2) {
    a += __shfl_xor_sync(0xffffffffu, a, step);
    b += __shfl_xor_sync(0xffffffffu, b, step);
  }
  *all = a;
  *before = b;
}

static __device__ __forceinline__ int fc_decode_share(const fc_decode &d, int all) {
  return all > 0 ? (all + d.parts - 1) / d.parts : 1;
}

/** Where part `part` begins.  Called by whole warps. */
static __device__ __forceinline__ fc_decode_walk fc_decode_begin(const fc_decode &d, int part) {
  int lane = (int)(threadIdx.x % 32), all, before;
  fc_decode_sum(d, 0, &before, &all);
  int share = fc_decode_share(d, all), target = part * share;
  fc_decode_walk walk = {d.batch, 0, 0};
  if (target >= all) return walk;
  walk.left = share < all - target ? share : all - target;
  before = 0;
  for (int base = 0; base < d.batch; base += 32) {
    int units = fc_decode_units(d, base + lane), sum = units;
    for (int step = 1; step < 32; step *= 2) {
      int below = __shfl_up_sync(0xffffffffu, sum, step);
      sum += lane >= step ? below : 0;
    }
    uint32_t beyond = __ballot_sync(0xffffffffu, before + sum > target);
    if (beyond != 0) {
      int owner = __ffs((int)beyond) - 1;
      walk.sequence = base + owner;
      walk.unit = target - before - __shfl_sync(0xffffffffu, sum - units, owner);
      break;
    }
    before += __shfl_sync(0xffffffffu, sum, 31);
  }
  return walk;
}

/** The next piece with pages; at the end of the part false, and *piece stays. */
static __device__ __forceinline__ bool fc_decode_next(const fc_decode &d, fc_decode_walk *walk,
                                                      fc_decode_piece *piece) {
  while (walk->left > 0 && walk->sequence < d.batch) {
    int length = d.lengths[walk->sequence], pages = fc_decode_pages(length);
    int rest = pages + d.overhead - walk->unit, take = rest < walk->left ? rest : walk->left;
    int first = walk->unit - d.overhead, last = first + take;
    if (last > 0) *piece = {walk->sequence, length, pages, first > 0 ? first : 0, last};
    walk->left -= take;
    walk->sequence++;
    walk->unit = 0;
    if (last > 0) return true;
  }
  return false;
}

static __device__ __forceinline__ bool fc_decode_whole(const fc_decode_piece &piece) {
  return piece.first == 0 && piece.last == piece.pages;
}

/** First row of a tile's slot in the workspace. */
static __device__ __forceinline__ int64_t fc_decode_slot(const fc_decode &d, int part, bool begins, int group,
                                                         int tile) {
  return (((int64_t)(2 * part + (begins ? 1 : 0)) * d.groups + group) * d.tiles + tile) * d.tile_rows;
}

/** Row of O [b,q,h] that row `row` of a group is. */
static __device__ __forceinline__ int64_t fc_decode_row(const fc_decode &d, int sequence, int group,
                                                        int row) {
  int heads = d.heads / d.groups;
  return ((int64_t)sequence * d.q + row / heads) * d.heads + group * heads + row % heads;
}

/** Element of LSE [b,h,q]. */
static __device__ __forceinline__ int64_t fc_decode_lse(const fc_decode &d, int sequence, int group,
                                                        int row) {
  int heads = d.heads / d.groups;
  return ((int64_t)sequence * d.heads + group * heads + row % heads) * d.q + row / heads;
}

/** Keys that row `row` of a group sees, of a sequence of `length`; rows of padding see them all. */
static __device__ __forceinline__ int fc_decode_limit(const fc_decode &d, int length, int row) {
  int token = row / (d.heads / d.groups);
  return token < d.q ? length - d.q + token + 1 : length;
}

/** Adds up D elements of the pieces first + begin, first + begin + step, ... <= last of a row: acc, and the
 *  sum of their weights 2^(lse - base).  Called by whole warps. */
template <int D>
static __device__ __forceinline__ float fc_decode_add(const fc_decode &d, int64_t row, int64_t slot_rows,
                                                      int first, int last, int begin, int step, float base,
                                                      float (&acc)[D / 32]) {
  int lane = (int)(threadIdx.x % 32);
  float sum = 0.0f;
  for (int p0 = first + begin; p0 <= last; p0 += 32 * step) {
    int mine = p0 + lane * step, n = (last - p0) / step + 1;
    float weight = 0.0f;
    if (mine <= last) weight = fc_exp2(d.partial_lse[(2 * mine + (mine == first)) * slot_rows + row] - base);
#pragma unroll 4
    for (int i = 0; i < (n < 32 ? n : 32); i++) {
      float w = __shfl_sync(0xffffffffu, weight, i);
      int p = p0 + i * step;
      const float2 *from =
          reinterpret_cast<const float2 *>(d.partial + ((2 * p + (p == first)) * slot_rows + row) * D);
#pragma unroll
      for (int k = 0; k < D / 64; k++) {
        float2 v = from[k * 32 + lane];
        acc[2 * k] += w * v.x;
        acc[2 * k + 1] += w * v.y;
      }
      sum += w;
    }
  }
  return sum;
}

/** Merges the pieces of the sequences that were split: WARPS warps a row of D elements, 1 for few pieces or 8
 *  for many (then they share the pieces and the block has one row). */
template <int D, int WARPS> static __global__ void __launch_bounds__(256) fc_decode_combine(fc_decode d) {
  __shared__ float share_of[WARPS > 1 ? WARPS : 1][D + 2];
  const float nothing = fc_decode_nothing(), ln2 = 0.69314718f;
  int lane = (int)(threadIdx.x % 32), warp = (int)(threadIdx.x / 32), of_sequence = d.groups * d.rows;
  int index = (int)blockIdx.x * (8 / WARPS) + warp / WARPS, worker = warp % WARPS;
  if (index >= d.batch * of_sequence) return;
  int sequence = index / of_sequence, group = index % of_sequence / d.rows, row = index % d.rows;
  int before, all, units = fc_decode_units(d, sequence);
  fc_decode_sum(d, sequence, &before, &all);
  int share = fc_decode_share(d, all);
  int first = (before + d.overhead) / share, last = (before + units - 1) / share;
  if (units == d.overhead) last = first - 1; /* no context: no pieces */
  if (first == last) return;                 /* one piece: written already */
  int64_t slot_rows = (int64_t)d.groups * d.tiles * d.tile_rows;
  int64_t in_slot = ((int64_t)group * d.tiles + row / d.tile_rows) * d.tile_rows + row % d.tile_rows;

  float most = nothing;
  for (int p = first + lane; p <= last; p += 32)
    most = fmaxf(most, d.partial_lse[(2 * p + (p == first)) * slot_rows + in_slot]);
  for (int step = 16; step > 0; step /= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, step));
  float base = most == nothing ? 0.0f : most;
  float acc[D / 32];
#pragma unroll
  for (int i = 0; i < D / 32; i++) acc[i] = 0.0f;
  float sum = fc_decode_add<D>(d, in_slot, slot_rows, first, last, worker, WARPS, base, acc);

  if (WARPS > 1) { /* the first warp adds up, always in the same order */
#pragma unroll
    for (int i = 0; i < D / 32; i++) share_of[worker][i * 32 + lane] = acc[i];
    if (lane == 0) share_of[worker][D] = sum;
    __syncthreads();
    if (worker != 0) return;
    for (int w = 1; w < WARPS; w++) {
#pragma unroll
      for (int i = 0; i < D / 32; i++) acc[i] += share_of[w][i * 32 + lane];
      sum += share_of[w][D];
    }
  }
  float inverse = sum > 0.0f ? 1.0f / sum : 0.0f;
  uint32_t *to = reinterpret_cast<uint32_t *>(d.o + fc_decode_row(d, sequence, group, row) * D);
#pragma unroll
  for (int k = 0; k < D / 64; k++)
    to[k * 32 + lane] = fc_pack_bf16(acc[2 * k] * inverse, acc[2 * k + 1] * inverse);
  if (lane == 0)
    d.lse[fc_decode_lse(d, sequence, group, row)] = sum > 0.0f ? (base + log2f(sum)) * ln2 : nothing;
}

/* --- host side --- */

static inline void *fc_decode_allocate(size_t bytes) {
#if defined(FC_EMULATED)
  return malloc(bytes);
#else
  void *memory = NULL;
  return cudaMalloc(&memory, bytes) == cudaSuccess ? memory : NULL;
#endif
}

static inline void fc_decode_free(void *memory) {
#if defined(FC_EMULATED)
  free(memory);
#else
  (void)cudaFree(memory);
#endif
}

/** What both decode kernels ask of a case and a device. */
static inline bool fc_decode_supports(const fc_problem *p, const fc_machine *machine, char *why) {
  const char *reason = NULL;
  if (machine->capability != 90)
    reason = "compute capability is not 9.0";
  else if (p->c.dtype != FC_DTYPE_BF16 || p->c.kv_dtype != FC_DTYPE_BF16)
    reason = "only bf16 queries and bf16 cache";
  else if (p->c.batch < 1 || p->c.heads < 1 || p->c.q < 1)
    reason = "empty";
  else if (p->rows[1] * FC_PAGE > INT32_MAX || p->c.batch * (p->rows[0] + 8) > INT32_MAX ||
           p->c.batch * p->c.heads * p->c.q > INT32_MAX / 2)
    reason = "more tokens or rows than an int counts";
  if (reason != NULL) snprintf(why, FC_WHY, "%s", reason);
  return reason == NULL;
}

/** Fills in `d`, and allocates its workspace where it has none.  Blocks for `resident` at once.  @return 0,
 * or -1: out of memory */
static inline int fc_decode_plan(fc_decode *d, const fc_problem *p, const fc_args *args, int groups,
                                 int tile_rows, int dv, int resident) {
  d->batch = (int)p->c.batch;
  d->q = (int)p->c.q;
  d->heads = (int)p->c.heads;
  d->groups = groups;
  d->rows = d->heads / groups * d->q;
  d->tile_rows = tile_rows;
  d->tiles = (d->rows + tile_rows - 1) / tile_rows;
  int columns = d->groups * d->tiles;
  d->parts = resident / columns > 0 ? resident / columns : 1;
  d->max_pages = (int)p->rows[0];
  d->scale = (float)(1.0 / sqrt((double)p->c.dk));
  d->lengths = (const int32_t *)args->at[FC_DECODE_LENGTHS];
  d->table = (const int32_t *)args->at[FC_DECODE_TABLE];
  d->o = (uint16_t *)args->at[FC_DECODE_O];
  d->lse = (float *)args->at[FC_DECODE_LSE];
  size_t rows = (size_t)2 * (size_t)d->parts * (size_t)columns * (size_t)tile_rows;
  if (d->partial == NULL) d->partial = (float *)fc_decode_allocate(rows * ((size_t)dv + 1) * sizeof(float));
  if (d->partial == NULL) return -1;
  d->partial_lse = d->partial + rows * (size_t)dv;
  return 0;
}

/** Queues the merge. */
template <int D> static inline int fc_decode_merge(const fc_decode *d, fc_queue queue) {
  unsigned rows = (unsigned)(d->batch * d->groups * d->rows);
  if (d->parts >= 8 * d->batch) /* about 8 pieces a sequence, or more */
    return FC_LAUNCH((fc_decode_combine<D, 8>), dim3(rows), dim3(256), 0, queue, *d);
  return FC_LAUNCH((fc_decode_combine<D, 1>), dim3((rows + 7) / 8), dim3(256), 0, queue, *d);
}

#endif
