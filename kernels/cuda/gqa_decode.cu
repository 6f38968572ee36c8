/* SPDX-License-Identifier: Apache-2.0 */
/** ATTENTION_DECODE on Hopper: grouped-query attention of a few new tokens over a paged cache, bf16, keys
 *  and values of 64, 128 or 256.
 *
 *  A block holds M x 16 of the (heads/groups) q query rows that share a key/value head, and walks over
 *  its part of the pages (decode.cuh). Pages come by TMA into a ring of stages: keys, then values, in
 *  boxes of 64 tokens x 64 elements (128-byte swizzle); one thread asks, for the pages of the next
 *  sequences too, so that the ring never drains. 4 warps share a tile of 16 rows: each takes 16 keys of
 *  every page with a softmax of its own (mma.sync m16n8k16, scores and P stay in registers), so warps
 *  meet once a page, to give the stage back, and their four results are merged at the end of a sequence.
 *
 *    D, M     threads  registers  stages x bytes   merging + Q      shared bytes  blocks an SM
 *    64, 1    128      96         5 x 16,384       4,608 + 2,048    88,656        2
 *    64, 2    256      110        8 x 16,384       9,216 + 4,096    144,488       1
 *    64, 4    512      110        8 x 16,384       18,432 + 8,192   157,800       1
 *    128, 1   128      128        3 x 32,768       8,704 + 4,096    111,168       2
 *    128, 2   256      128        5 x 32,768       17,408 + 8,192   189,520       1
 *    128, 4   512      128        5 x 32,768       34,816 + 16,384  215,120       1
 *    256, 1   128      254        3 x 65,536       16,896 + 8,192   221,760       1
 *
 *  What limits it: device memory. 4 D bytes a token of a key/value head feed 4 D rows FLOP: 64 FLOP a
 *  byte at 64 rows, a fifth of the ridge. In flight are all stages but one, 112 KiB or more an SM, where
 *  3.35 TB/s x 1 us / 132 = 25 KB are needed. Expected, not measured: 85-90% of 3.35 TB/s from some 8
 *  pages a block on (target 2.7 TB/s); short batches pay about a page time to begin and to end. */

#include "decode.cuh"

namespace {

enum {
  TILE = 16,    /* rows of an mma */
  SLICES = 4,   /* of 16 keys, of a page */
  OVERHEAD = 1, /* page times that a piece costs beside its pages: an estimate (Q, merging, O) */
  BOX_BYTES = 64 * 128,
};

/* what one thread still has to ask for; in shared memory, as the registers of all threads are scarce */
struct loader {
  fc_decode_walk walk;
  fc_decode_piece piece;
  int page;
  uint32_t asked;
};

template <int D, int M, int STAGES> struct shape {
  static constexpr int threads = 32 * SLICES * M;
  static constexpr int page_bytes = FC_PAGE * D * 2;       /* of keys, and of values */
  static constexpr int words = D / 2 + 4;                  /* of a thread's result: O, maxima, sums */
  static constexpr int merge_bytes = M * words * 32 * 4;   /* one warp of each row tile */
  static constexpr int at_merge = STAGES * 2 * page_bytes; /* after the ring */
  static constexpr int at_q = at_merge + merge_bytes;
  static constexpr int at_full = at_q + M * TILE * D * 2; /* a barrier a stage */
  static constexpr int at_loader = at_full + STAGES * 8;
  static constexpr int shared_bytes = at_loader + (int)sizeof(loader);
};

/* one warp's work on 16 rows: rows lane / 4 and 8 below of the fragment */
template <int D> struct rows_state {
  float o[D / 8][4], top[2], sum[2];
  int limit[2], common;
};

__device__ __forceinline__ int lane_of() {
  return (int)(threadIdx.x % 32);
}

/* row of the group that row j of this thread is */
__device__ __forceinline__ int row_of(const fc_decode &d, int tile, int j) {
  return tile * d.tile_rows + (int)(threadIdx.x / (32 * SLICES)) * TILE + lane_of() / 4 + 8 * j;
}

/* address of 16 bytes of a [64 tokens, D] page in boxes */
__device__ __forceinline__ const unsigned char *chunk_of(const unsigned char *page, int token, int chunk) {
  return page + chunk / 8 * BOX_BYTES + token * 128 + ((chunk % 8) ^ (token % 8)) * 16;
}

/* --- loading --- */

template <int D, int M, int STAGES>
__device__ __forceinline__ void ask(const fc_decode &d, loader &l, unsigned char *shared, int group,
                                    const fc_tensor_map *map_k, const fc_tensor_map *map_v) {
  typedef shape<D, M, STAGES> S;
  if (l.page == l.piece.last) {
    if (!fc_decode_next(d, &l.walk, &l.piece)) return;
    l.page = l.piece.first;
  }
  int y = d.table[(int64_t)l.piece.sequence * d.max_pages + l.page++] * FC_PAGE,
      stage = (int)(l.asked++ % STAGES);
  uint64_t *full = reinterpret_cast<uint64_t *>(shared + S::at_full) + stage;
  unsigned char *to = shared + stage * 2 * S::page_bytes;
  fc_mbarrier_expect(full, 2 * S::page_bytes);
  for (int i = 0; i < D / 64; i++) fc_tma_load_3d(to + i * BOX_BYTES, map_k, full, i * 64, group, y);
  for (int i = 0; i < D / 64; i++)
    fc_tma_load_3d(to + S::page_bytes + i * BOX_BYTES, map_v, full, i * 64, group, y);
}

/* --- arithmetic of a warp --- */

template <int D>
__device__ __forceinline__ void begin(const fc_decode &d, const fc_decode_piece &piece, int tile,
                                      rows_state<D> &r) {
  r.common = piece.length - d.q + 1;
#pragma unroll
  for (int i = 0; i < D / 8; i++)
    for (int j = 0; j < 4; j++) r.o[i][j] = 0.0f;
  for (int j = 0; j < 2; j++) {
    r.top[j] = fc_decode_nothing();
    r.sum[j] = 0.0f;
    r.limit[j] = fc_decode_limit(d, piece.length, row_of(d, tile, j));
  }
}

/* Q as operands A, 16 bytes a lane and k16 step: the 4 warps of a row tile write a part each and read all */
template <int D>
__device__ __forceinline__ void load_q(const fc_decode &d, const fc_decode_piece &piece, int group, int tile,
                                       int slice, const uint16_t *q, uint4 *to) {
  uint32_t a[D / 64][4];
#pragma unroll
  for (int j = 0; j < 2; j++) {
    int row = row_of(d, tile, j);
    bool real = row < d.rows;
    const uint32_t *from =
        reinterpret_cast<const uint32_t *>(q + (real ? fc_decode_row(d, piece.sequence, group, row) : 0) * D +
                                           slice * (D / 4) + 2 * (lane_of() % 4));
#pragma unroll
    for (int k = 0; k < D / 64; k++) {
      a[k][j] = real ? from[8 * k] : 0;
      a[k][2 + j] = real ? from[8 * k + 4] : 0;
    }
  }
#pragma unroll
  for (int k = 0; k < D / 64; k++)
    to[(slice * (D / 64) + k) * 32 + lane_of()] = make_uint4(a[k][0], a[k][1], a[k][2], a[k][3]);
}

/* S = Q K' of 16 keys: two blocks of 8 */
template <int D>
__device__ __forceinline__ void score(const uint4 *q, const unsigned char *keys, int slice,
                                      float (&s)[2][4]) {
  int lane = lane_of(), token = 16 * slice + lane / 16 * 8 + lane % 8, chunk = lane / 8 % 2;
#pragma unroll
  for (int i = 0; i < 8; i++) s[i / 4][i % 4] = 0.0f;
#pragma unroll
  for (int k = 0; k < D / 16; k++) {
    uint32_t b[4];
    fc_ldmatrix_x4(b, chunk_of(keys, token, 2 * k + chunk));
    uint4 v = q[k * 32 + lane];
    const uint32_t a[4] = {v.x, v.y, v.z, v.w};
    const uint32_t low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
    fc_mma_bf16(s[0], a, low);
    fc_mma_bf16(s[1], a, high);
  }
}

/* the running maximum becomes `top`; @return what earlier sums and products shrink by */
template <int D> __device__ __forceinline__ float raise_top(rows_state<D> &r, int j, float top, float c) {
  float base = top == fc_decode_nothing() ? 0.0f : top; /* no key seen yet: exp2(-inf - 0) = 0, not NaN */
  float scale = fc_exp2((r.top[j] - base) * c);
  r.top[j] = top;
  r.sum[j] *= scale;
#pragma unroll
  for (int i = 0; i < D / 8; i++) {
    r.o[i][2 * j] *= scale;
    r.o[i][2 * j + 1] *= scale;
  }
  return base * c;
}

/* online softmax of the scores of keys key0 .. key0 + 15; c: log2(e) / sqrt(dk) */
template <int D>
__device__ __forceinline__ void softmax(rows_state<D> &r, float (&s)[2][4], int key0, float c,
                                        uint32_t (&p)[4]) {
  if (key0 + 16 > r.common) {
#pragma unroll
    for (int i = 0; i < 8; i++) {
      int key = key0 + 8 * (i / 4) + 2 * (lane_of() % 4) + i % 2;
      if (key >= r.limit[i / 2 % 2]) s[i / 4][i % 4] = fc_decode_nothing();
    }
  }
#pragma unroll
  for (int j = 0; j < 2; j++) {
    float top = fmaxf(fmaxf(s[0][2 * j], s[0][2 * j + 1]), fmaxf(s[1][2 * j], s[1][2 * j + 1]));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
    float base = raise_top(r, j, fmaxf(top, r.top[j]), c);
#pragma unroll
    for (int i = 0; i < 2; i++) {
      float e0 = fc_exp2(s[i][2 * j] * c - base), e1 = fc_exp2(s[i][2 * j + 1] * c - base);
      r.sum[j] += e0 + e1;
      p[2 * i + j] = fc_pack_bf16(e0, e1);
    }
  }
}

/* O += P V of 16 keys */
template <int D>
__device__ __forceinline__ void add(rows_state<D> &r, const uint32_t (&p)[4], const unsigned char *values,
                                    int slice) {
  int lane = lane_of(), token = 16 * slice + lane / 8 % 2 * 8 + lane % 8, chunk = lane / 16;
#pragma unroll
  for (int n = 0; n < D / 16; n++) {
    uint32_t b[4];
    fc_ldmatrix_x4_trans(b, chunk_of(values, token, 2 * n + chunk));
    const uint32_t low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
    fc_mma_bf16(r.o[2 * n], p, low);
    fc_mma_bf16(r.o[2 * n + 1], p, high);
  }
}

/* --- results --- */

/* adds the results of the other slices' warps to slice 0's */
template <int D> __device__ __forceinline__ void merge(rows_state<D> &r, float *room, int slice, float c) {
  room += lane_of();
  for (int from = 1; from < SLICES; from++) {
    if (slice == from) {
#pragma unroll
      for (int i = 0; i < D / 2; i++) room[32 * i] = r.o[i / 4][i % 4];
      for (int j = 0; j < 2; j++) {
        room[32 * (D / 2 + j)] = r.top[j];
        room[32 * (D / 2 + 2 + j)] = r.sum[j];
      }
    }
    __syncthreads();
    if (slice == 0) {
      float scale[2];
      for (int j = 0; j < 2; j++) {
        float top = room[32 * (D / 2 + j)], base = raise_top(r, j, fmaxf(top, r.top[j]), c);
        scale[j] = fc_exp2(top * c - base);
        r.sum[j] += scale[j] * room[32 * (D / 2 + 2 + j)];
      }
#pragma unroll
      for (int i = 0; i < D / 2; i++) r.o[i / 4][i % 4] += scale[i / 2 % 2] * room[32 * i];
    }
    __syncthreads();
  }
}

template <int D>
__device__ __forceinline__ void write(const fc_decode &d, const fc_decode_piece &piece, int group, int tile,
                                      rows_state<D> &r, float c) {
  int column = 2 * (lane_of() % 4), part = (int)blockIdx.y;
#pragma unroll
  for (int j = 0; j < 2; j++) {
    int row = row_of(d, tile, j);
    float sum = r.sum[j];
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    sum += __shfl_xor_sync(0xffffffffu, sum, 2);
    if (row >= d.rows) continue;
    float inverse = sum > 0.0f ? 1.0f / sum : 0.0f;
    float lse = sum > 0.0f ? r.top[j] * c + log2f(sum) : fc_decode_nothing();
    if (fc_decode_whole(piece)) {
      uint16_t *to = d.o + fc_decode_row(d, piece.sequence, group, row) * D + column;
#pragma unroll
      for (int i = 0; i < D / 8; i++)
        *reinterpret_cast<uint32_t *>(to + 8 * i) =
            fc_pack_bf16(r.o[i][2 * j] * inverse, r.o[i][2 * j + 1] * inverse);
      if (column == 0) d.lse[fc_decode_lse(d, piece.sequence, group, row)] = lse * 0.69314718f; /* ln 2 */
    } else {
      int64_t at = fc_decode_slot(d, part, piece.first == 0, group, tile) + row - tile * d.tile_rows;
      float *to = d.partial + at * D + column;
#pragma unroll
      for (int i = 0; i < D / 8; i++)
        *reinterpret_cast<float2 *>(to + 8 * i) =
            make_float2(r.o[i][2 * j] * inverse, r.o[i][2 * j + 1] * inverse);
      if (column == 0) d.partial_lse[at] = lse;
    }
  }
}

/* grid: groups x row tiles, parts */
template <int D, int M, int STAGES>
static __global__ void __launch_bounds__(32 * SLICES * M)
    gqa_decode(fc_decode d, const uint16_t *q, const __grid_constant__ fc_tensor_map map_k,
               const __grid_constant__ fc_tensor_map map_v) {
  typedef shape<D, M, STAGES> S;
  FC_DYNAMIC_SHARED(unsigned char, shared);
  uint64_t *full = reinterpret_cast<uint64_t *>(shared + S::at_full);
  int group = (int)blockIdx.x / d.tiles, tile = (int)blockIdx.x % d.tiles;
  int slice = (int)threadIdx.x / 32 % SLICES, row_tile = (int)threadIdx.x / (32 * SLICES);
  float c = d.scale * 1.44269504f; /* log2 e */
  fc_decode_walk walk = fc_decode_begin(d, (int)blockIdx.y);
  loader *next = reinterpret_cast<loader *>(shared + S::at_loader);
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) fc_mbarrier_init(&full[i], 1);
    fc_mbarrier_init_fence();
    *next = {walk, {0, 0, 0, 0, 0}, 0, 0};
  }
  __syncthreads();
  if (threadIdx.x == 0)
    for (int i = 0; i < STAGES; i++) ask<D, M, STAGES>(d, *next, shared, group, &map_k, &map_v);

  uint4 *row_q = reinterpret_cast<uint4 *>(shared + S::at_q) + row_tile * (D / 16) * 32;
  rows_state<D> r;
  fc_decode_piece piece;
  uint32_t stage = 0, parity = 0;
  while (fc_decode_next(d, &walk, &piece)) {
    begin(d, piece, tile, r);
    load_q<D>(d, piece, group, tile, slice, q, row_q);
    __syncthreads();
    for (int page = piece.first; page < piece.last; page++) {
      const unsigned char *keys = shared + stage * 2 * S::page_bytes;
      int key0 = page * FC_PAGE + 16 * slice;
      fc_mbarrier_wait(&full[stage], parity);
      if (key0 < piece.length) {
        float s[2][4];
        uint32_t p[4];
        score<D>(row_q, keys, slice, s);
        softmax(r, s, key0, c, p);
        add(r, p, keys + S::page_bytes, slice);
      }
      __syncthreads();
      if (threadIdx.x == 0) ask<D, M, STAGES>(d, *next, shared, group, &map_k, &map_v);
      stage = stage + 1 < STAGES ? stage + 1 : 0;
      parity ^= stage == 0 ? 1 : 0;
    }
    merge(r, reinterpret_cast<float *>(shared + S::at_merge) + row_tile * S::words * 32, slice, c);
    if (slice == 0) write(d, piece, group, tile, r, c);
  }
}

/* --- the implementation --- */

struct gqa_state {
  bool borrows;       /* the workspace is another state's */
  fc_tensor_map k, v; /* 64-byte aligned */
  fc_decode d;
};

/* row tiles of a block */
int tiles_of(const fc_problem *p) {
  int64_t rows = p->c.heads / p->c.kv_heads * p->c.q;
  return rows <= TILE || p->c.dk == 256 ? 1 : (rows <= 2 * TILE ? 2 : 4);
}

bool supports(const fc_problem *p, const fc_machine *machine, char *why) {
  if (!fc_decode_supports(p, machine, why)) return false;
  bool size = p->c.dk == p->c.dv && (p->c.dk == 64 || p->c.dk == 128 || p->c.dk == 256);
  bool groups = p->c.kv_heads > 0 && p->c.heads % p->c.kv_heads == 0;
  if (!size)
    snprintf(why, FC_WHY, "keys and values of 64, 128 or 256 only");
  else if (!groups)
    snprintf(why, FC_WHY, "query heads are no multiple of key/value heads");
  return size && groups;
}

void release_state(void *state) {
  if (state == NULL) return;
  gqa_state *s = static_cast<gqa_state *>(state);
  if (!s->borrows) fc_decode_free(s->d.partial);
  free(state);
}

int encode(fc_tensor_map *map, const fc_problem *p, const void *base) {
  const int64_t bytes = p->c.dk * 2, dim[] = {p->c.dk, p->c.kv_heads, p->rows[1] * FC_PAGE};
  const int64_t stride[] = {bytes, p->c.kv_heads * bytes};
  const int box[] = {64, 1, FC_PAGE};
  return fc_tensor_map_encode(map, FC_ELEM_BF16, 3, base, dim, stride, box, 128);
}

int prepare(const fc_problem *p, const fc_args *args, const fc_machine *machine, void **state, char *why) {
  const size_t room = (sizeof(gqa_state) + 63) / 64 * 64;
  gqa_state *s = static_cast<gqa_state *>(aligned_alloc(64, room));
  int units = machine->compute_units > 0 ? machine->compute_units : 1, tiles = tiles_of(p);
  if (s == NULL) {
    snprintf(why, FC_WHY, "out of memory");
    return -1;
  }
  memset(static_cast<void *>(s), 0, room);
  s->d.overhead = OVERHEAD;
  if (*state != NULL) { /* a further set of arguments: calls follow one another, one workspace does for all */
    s->d.partial = static_cast<const gqa_state *>(*state)->d.partial;
    s->borrows = true;
  }
  int resident = tiles == 1 && p->c.dk <= 128 ? 2 * units : units;
  int e = encode(&s->k, p, args->at[FC_DECODE_K]);
  if (e == 0) e = encode(&s->v, p, args->at[FC_DECODE_V]);
  if (e != 0)
    snprintf(why, FC_WHY, "tensor map refused: error %d", e);
  else if ((e = fc_decode_plan(&s->d, p, args, (int)p->c.kv_heads, tiles * TILE, (int)p->c.dv, resident)) !=
           0)
    snprintf(why, FC_WHY, "no memory for partial results");
  if (e != 0)
    release_state(s);
  else
    *state = s;
  return e;
}

template <int D, int M, int STAGES>
int launch_shape(const gqa_state *s, const fc_args *args, fc_queue queue) {
  typedef shape<D, M, STAGES> S;
  static_assert(S::shared_bytes <= 232448, "227 KiB a block");
  static_assert(M > 1 || D > 128 || 2 * (S::shared_bytes + 1024) <= 233472, "two blocks an SM");
  const fc_decode *d = &s->d;
  dim3 grid((unsigned)(d->groups * d->tiles), (unsigned)d->parts);
  int e = FC_LAUNCH((gqa_decode<D, M, STAGES>), grid, dim3(S::threads), S::shared_bytes, queue, *d,
                    static_cast<const uint16_t *>(args->at[FC_DECODE_Q]), s->k, s->v);
  if (e != 0) return e;
  return fc_decode_merge<D>(d, queue);
}

int launch(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  const gqa_state *s = static_cast<const gqa_state *>(state);
  int tiles = s->d.tile_rows / TILE;
  if (p->c.dk == 256) return launch_shape<256, 1, 3>(s, args, queue);
  if (p->c.dk == 64) {
    if (tiles == 1) return launch_shape<64, 1, 5>(s, args, queue);
    return tiles == 2 ? launch_shape<64, 2, 8>(s, args, queue) : launch_shape<64, 4, 8>(s, args, queue);
  }
  if (tiles == 1) return launch_shape<128, 1, 3>(s, args, queue);
  return tiles == 2 ? launch_shape<128, 2, 5>(s, args, queue) : launch_shape<128, 4, 5>(s, args, queue);
}

const fc_implementation table[] = {
    {FC_BENCH_ATTENTION_DECODE, "split-kv", supports, prepare, launch, release_state}};

} // namespace

extern "C" {
extern const fc_implementations fc_cuda_gqa_decode;
const fc_implementations fc_cuda_gqa_decode = {sizeof table / sizeof *table, table};
}
