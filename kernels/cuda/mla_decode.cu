/* SPDX-License-Identifier: Apache-2.0 */
/** MLA_DECODE on Hopper: absorbed multi-head latent attention over a paged cache, bf16; h q query rows of
 *  a sequence share one key/value head of 576, of which the first 512 are the value.
 *
 *  A block, one a multiprocessor, holds a tile of 64 query rows and walks over its part of the pages
 *  (decode.cuh); blocks of one part and different tiles run at the same time and share pages through L2.
 *
 *    threads    384: warpgroup 0 leads, 1 follows, 232 registers each; of the third one lane loads, 40
 *    registers  O: [64 x 256] f32 a warpgroup, left half and right half: 128 a thread; scores 32; P 16
 *    shared     Q 73,728 + two pages 2 x 73,728 + P 8,192 + 1,744 of maxima, sums, barriers = 231,120 bytes
 *    loads      TMA, pieces of 64 x 64 (128-byte swizzle), a barrier each: 9 of them make Q or a page
 *
 *  O fills half of the register file, so a second tile cannot hide the softmax of the first. Instead two
 *  pages are in flight, out of step: the leader scores the even page, the follower the odd one, and each
 *  adds both pages to its own half of O. For pages a, b of a pair, the running maximum handed to and fro:
 *
 *    leader    S_a = Q K_a'   m_a, P_a          O_L = s_a O_L + P_a V_aL          O_L = s_b O_L + P_b V_bL
 *    follower  S_b = Q K_b'   O_R = s_a O_R + P_a V_aR  (meanwhile m_b, P_b)      O_R = s_b O_R + P_b V_bR
 *
 *  The owner of P multiplies from registers, the other from shared memory: one P buffer serves both, as
 *  P_b is written after the follower has used P_a, and the next P_a after the leader has used P_b. Two
 *  pages and one output are the idea of FlashMLA's "seesaw" (github.com/deepseek-ai/FlashMLA, deep-dive
 *  of 2025-04-22); here the follower takes P_a V_aR first, so that no P is ever rescaled and page a is
 *  free half a pair earlier. A page is released in three groups (rope piece: when scored; left and right
 *  half: when multiplied), each loaded again at once. With one tile (h q <= 64) memory is what limits and
 *  page b is late: then the follower takes P_a V_aR even before S_b, and page a is asked for earlier
 *  still.
 *
 *  What limits it, in cycles of a page and a tile:
 *    tensor cores   36 m64n64k16 of 32, 4 x 2 m64n256k16 of 128                                  2,176
 *    shared memory  147 KB of Q and K, 74 KB of V and P, 74 KB + 8 KB written, at 128 bytes      2,370
 *    L2             73,728 bytes at 26 (5.5 TB/s at 1.6 GHz; to be measured)                     2,840
 *    device memory  73,728 bytes at 16 (3.35 TB/s at 1.6 GHz), shared by the tiles               4,610
 *
 *  A discrete-event model of this schedule (two warpgroups, one tensor pipe, loads in order; softmax 530
 *  cycles, latency of a load 800) gives 2,730 cycles a page where L2 grants 36 bytes a cycle: 690 TFLOP/s
 *  on 132 SMs at 1.6 GHz; 645 at 26 bytes; less about 2 page times a piece (4% at b = 128, s = 4k) and
 *  the merge (4%). So modelled, not measured: 590-630 TFLOP/s for h = 128 (gate 590: the published kernel
 *  has 660) and 2.8-3.0 TB/s for h <= 64 (gate 2.7). First to look at: L2, as both tiles read every page
 *  (a cluster with multicast would halve that). */

#include "decode.cuh"

namespace {

enum {
  DK = 576,
  DV = 512,
  ROWS = 64,                 /* of a tile */
  PIECE = 64,                /* columns of a TMA box: 128 bytes */
  PIECES = DK / PIECE,       /* of a page */
  PIECE_BYTES = 64 * 128,    /* 64 rows of it */
  PAGE_BYTES = 9 * 64 * 128, /* pieces side by side */
  HALF_BYTES = 4 * 64 * 128, /* columns 0..255 */
  KS_OF_PIECE = PIECE / 16,  /* k16 steps */
  OVERHEAD = 2,              /* page times a piece costs beside its pages: an estimate (Q, O, ramp) */
  THREADS = 384,
  PAIR_THREADS = 256,
  GROUP_THREADS = 128,
};

/* groups of pieces that are released together */
enum { LEFT, RIGHT, ROPE, GROUPS };

/* named barriers */
enum { P_A_READY = 1, P_B_READY, SUMS_READY, LEADER_DONE, FOLLOWER_DONE };

struct shared_tail {
  float top[2][ROWS];    /* running maximum after page a, after page b */
  float sum[2][2][ROWS]; /* parity of the piece, warpgroup */
  uint64_t full[2][PIECES], empty[2][GROUPS];
  uint64_t q_full, q_empty;
};

enum {
  AT_Q = 0,
  AT_PAGE = PAGE_BYTES,
  AT_P = 3 * PAGE_BYTES,
  AT_TAIL = 3 * PAGE_BYTES + PIECE_BYTES,
  SHARED_BYTES = AT_TAIL + (int)sizeof(shared_tail),
};
static_assert(SHARED_BYTES <= 232448, "227 KiB a block");

/* two rows of a thread: 16 warp + lane / 4, and 8 below */
struct row_state {
  float top[2], sum[2]; /* maximum of scores; this thread's share of sum exp */
  int limit[2];         /* keys that a row sees */
  int common;           /* keys that all rows see */
};

__device__ __forceinline__ int lane_of() {
  return (int)(threadIdx.x % 32);
}

__device__ __forceinline__ int row_of(int j) {
  return (int)(threadIdx.x % 128) / 32 * 16 + lane_of() / 4 + 8 * j;
}

__device__ __forceinline__ void release(uint64_t *bar) {
  if (lane_of() == 0) fc_mbarrier_arrive(bar);
}

/* --- loading --- */

__device__ __forceinline__ void load_group(unsigned char *page, uint64_t *full, const fc_tensor_map *map,
                                           int first, int n, int y) {
  for (int i = first; i < first + n; i++) {
    fc_mbarrier_expect(&full[i], PIECE_BYTES);
    fc_tma_load_2d(page + i * PIECE_BYTES, map, &full[i], i * PIECE, y);
  }
}

/* one lane: asks for all that this block will read, in the order in which room appears */
__device__ __forceinline__ void load(const fc_decode &d, fc_decode_walk walk, unsigned char *shared,
                                     shared_tail *tail, const fc_tensor_map *map_q,
                                     const fc_tensor_map *map_page) {
  fc_decode_piece piece;
  uint32_t used = 0, pieces = 0; /* bit b: page b's room has been used an odd number of times */
  while (fc_decode_next(d, &walk, &piece)) {
    const int32_t *table = d.table + (int64_t)piece.sequence * d.max_pages;
    int next = table[piece.first];
    fc_mbarrier_wait(&tail->q_empty, (pieces & 1) ^ 1);
    fc_mbarrier_expect(&tail->q_full, PAGE_BYTES);
    for (int i = 0; i < PIECES; i++)
      fc_tma_load_3d(shared + AT_Q + i * PIECE_BYTES, map_q, &tail->q_full, i * PIECE, (int)blockIdx.x * ROWS,
                     piece.sequence);
    for (int i = piece.first; i < piece.last; i++) {
      int b = (i - piece.first) & 1, y = next * FC_PAGE;
      if (i + 1 < piece.last) next = table[i + 1]; /* known before there is room for it */
      unsigned char *page = shared + AT_PAGE + b * PAGE_BYTES;
      uint64_t *full = tail->full[b], *empty = tail->empty[b];
      uint32_t parity = (used >> b & 1) ^ 1;
      used ^= 1u << b;
      int early = b == 0 ? LEFT : RIGHT; /* each warpgroup first finishes its half of its own page */
      fc_mbarrier_wait(&empty[ROPE], parity);
      load_group(page, full, map_page, 8, 1, y);
      fc_mbarrier_wait(&empty[early], parity);
      load_group(page, full, map_page, 4 * early, 4, y);
      fc_mbarrier_wait(&empty[1 - early], parity);
      load_group(page, full, map_page, 4 * (1 - early), 4, y);
    }
    pieces++;
  }
}

/* --- arithmetic of a warpgroup --- */

/* queues S = Q K' of a page, in the order in which its pieces come; they become visible here */
template <int EARLY>
__device__ __forceinline__ void score(float (&s)[32], const unsigned char *q, const unsigned char *page,
                                      uint64_t *full, uint32_t parity) {
  uint64_t a = fc_wgmma_descriptor(q, 128, 16, 1024), b = fc_wgmma_descriptor(page, 128, 16, 1024);
#pragma unroll
  for (int i = 0; i < PIECES; i++) {
    int piece = i == 0 ? 8 : (i - 1 + 4 * EARLY) % 8;
    fc_mbarrier_wait(&full[piece], parity);
    fc_wgmma_fence(); /* behind a loop ptxas wants one, or serialises */
#pragma unroll
    for (int k = 0; k < KS_OF_PIECE; k++) {
      uint64_t at = (uint64_t)((piece * PIECE_BYTES + k * 32) >> 4);
      fc_wgmma_bf16<64>(s, a + at, b + at, (i | k) != 0);
    }
  }
  fc_wgmma_commit();
}

/* queues O += P V over the 64 keys of a page; V is half a page, its 256 columns contiguous in 4 pieces */
__device__ __forceinline__ void add_own(float (&o)[128], const uint32_t (&p)[4][4],
                                        const unsigned char *half) {
  uint64_t v = fc_wgmma_descriptor(half, 128, PIECE_BYTES, 1024);
  fc_wgmma_fence();
#pragma unroll
  for (int k = 0; k < 4; k++) fc_wgmma_bf16_ra_tn<256>(o, p[k], v + (uint64_t)(k * 16 * 128 >> 4), true);
  fc_wgmma_commit();
}

__device__ __forceinline__ void add_other(float (&o)[128], const unsigned char *p,
                                          const unsigned char *half) {
  uint64_t a = fc_wgmma_descriptor(p, 128, 16, 1024), v = fc_wgmma_descriptor(half, 128, PIECE_BYTES, 1024);
  fc_wgmma_fence();
#pragma unroll
  for (int k = 0; k < 4; k++)
    fc_wgmma_bf16_tn<256>(o, a + (uint64_t)(k * 32 >> 4), v + (uint64_t)(k * 16 * 128 >> 4), true);
  fc_wgmma_commit();
}

/* rarely needed: after the first pages a maximum seldom moves */
__device__ __forceinline__ void rescale(float (&o)[128], const float (&scale)[2]) {
  if (!__any_sync(0xffffffffu, scale[0] != 1.0f || scale[1] != 1.0f)) return;
#pragma unroll
  for (int i = 0; i < 128; i++) o[i] *= scale[(i / 2) % 2];
}

/* moves the running maximum; `scale` is what earlier sums and products shrink by */
__device__ __forceinline__ float raise_top(row_state &r, int j, float top, float c, float *scale) {
  float base = top == fc_decode_nothing() ? 0.0f : top; /* no key seen yet: exp2(-inf - 0) = 0, not NaN */
  *scale = fc_exp2((r.top[j] - base) * c);
  r.top[j] = top;
  r.sum[j] *= *scale;
  return base * c;
}

/* online softmax of the scores of keys key0 .. key0+63: P in bf16 as operand A, sums, scale; c: log2(e) /
 * sqrt(dk) */
__device__ __forceinline__ void softmax(float (&s)[32], uint32_t (&p)[4][4], row_state &r, float (&scale)[2],
                                        int key0, float c) {
  if (key0 + FC_PAGE > r.common) {
#pragma unroll
    for (int i = 0; i < 32; i++) {
      int key = key0 + 8 * (i / 4) + 2 * (lane_of() % 4) + i % 2;
      if (key >= r.limit[(i / 2) % 2]) s[i] = fc_decode_nothing();
    }
  }
#pragma unroll
  for (int j = 0; j < 2; j++) {
    float top = r.top[j];
#pragma unroll
    for (int i = 0; i < 8; i++) top = fmaxf(top, fmaxf(s[4 * i + 2 * j], s[4 * i + 2 * j + 1]));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
    float base = raise_top(r, j, top, c, &scale[j]);
#pragma unroll
    for (int i = 0; i < 8; i++) {
      float e0 = fc_exp2(s[4 * i + 2 * j] * c - base), e1 = fc_exp2(s[4 * i + 2 * j + 1] * c - base);
      r.sum[j] += e0 + e1;
      p[i / 2][i % 2 * 2 + j] = fc_pack_bf16(e0, e1);
    }
  }
}

/* hands P and the maxima to the other warpgroup; every warp of this one has finished reading the old P */
__device__ __forceinline__ void publish(const uint32_t (&p)[4][4], const row_state &r, unsigned char *to,
                                        float *top, int done, int ready) {
  int lane = lane_of(), row = (int)(threadIdx.x % 128) / 32 * 16 + lane % 16;
  fc_barrier_sync(done, GROUP_THREADS);
#pragma unroll
  for (int k = 0; k < 4; k++) fc_stmatrix_x4(to + row * 128 + ((2 * k + lane / 16) ^ (row % 8)) * 16, p[k]);
  if (lane % 4 == 0)
    for (int j = 0; j < 2; j++) top[row_of(j)] = r.top[j];
  fc_async_fence();
  fc_barrier_arrive(ready, PAIR_THREADS);
}

/* takes over the maxima that the other one has raised */
__device__ __forceinline__ void adopt(row_state &r, float (&scale)[2], const float *top, float c) {
  for (int j = 0; j < 2; j++) (void)raise_top(r, j, top[row_of(j)], c, &scale[j]);
}

__device__ __forceinline__ void begin(const fc_decode &d, const fc_decode_piece &piece, row_state &r,
                                      float (&o)[128]) {
#pragma unroll
  for (int i = 0; i < 128; i++) o[i] = 0.0f;
  for (int j = 0; j < 2; j++) {
    r.top[j] = fc_decode_nothing();
    r.sum[j] = 0.0f;
    r.limit[j] = fc_decode_limit(d, piece.length, (int)blockIdx.x * ROWS + row_of(j));
  }
  r.common = piece.length - d.q + 1;
}

/* --- results --- */

/* one of a thread's rows of half an O, bf16: neighbours swap so that each writes 8 bytes, a quad 32 in a row
 */
__device__ __forceinline__ void write_row(const float (&o)[128], int j, float inverse, uint16_t *to,
                                          bool real) {
  int odd = lane_of() % 2, quarter = lane_of() % 4 / 2;
#pragma unroll
  for (int i = 0; i < 32; i += 2) {
    uint32_t a = fc_pack_bf16(o[4 * i + 2 * j] * inverse, o[4 * i + 2 * j + 1] * inverse);
    uint32_t b = fc_pack_bf16(o[4 * i + 4 + 2 * j] * inverse, o[4 * i + 5 + 2 * j] * inverse);
    uint32_t got = __shfl_xor_sync(0xffffffffu, odd ? a : b, 1);
    uint2 v = make_uint2(odd ? got : a, odd ? b : got);
    if (real) *reinterpret_cast<uint2 *>(to + 8 * (i + odd) + 4 * quarter) = v;
  }
}

__device__ __forceinline__ void write_partial_row(const float (&o)[128], int j, float inverse, float *to,
                                                  bool real) {
  if (!real) return;
#pragma unroll
  for (int i = 0; i < 32; i++)
    *reinterpret_cast<float2 *>(to + 8 * i + 2 * (lane_of() % 4)) =
        make_float2(o[4 * i + 2 * j] * inverse, o[4 * i + 2 * j + 1] * inverse);
}

template <int SIDE>
__device__ __forceinline__ void finish(const fc_decode &d, const fc_decode_piece &piece, row_state &r,
                                       const float (&o)[128], float (*sums)[ROWS], float c) {
  for (int j = 0; j < 2; j++) {
    r.sum[j] += __shfl_xor_sync(0xffffffffu, r.sum[j], 1);
    r.sum[j] += __shfl_xor_sync(0xffffffffu, r.sum[j], 2);
    if (lane_of() % 4 == 0) sums[SIDE][row_of(j)] = r.sum[j];
  }
  fc_barrier_sync(SUMS_READY, PAIR_THREADS);
  int tile = (int)blockIdx.x, part = (int)blockIdx.y;
  bool whole = fc_decode_whole(piece), writes_lse = SIDE == 0 && lane_of() % 4 == 0;
#pragma unroll
  for (int j = 0; j < 2; j++) {
    int row = tile * ROWS + row_of(j);
    bool real = row < d.rows;
    float sum = r.sum[j] + sums[1 - SIDE][row_of(j)], inverse = sum > 0.0f ? 1.0f / sum : 0.0f;
    float lse = sum > 0.0f ? r.top[j] * c + log2f(sum) : fc_decode_nothing();
    if (whole) {
      int64_t at = real ? fc_decode_row(d, piece.sequence, 0, row) : 0;
      write_row(o, j, inverse, d.o + at * DV + SIDE * 256, real);
      if (writes_lse && real) d.lse[fc_decode_lse(d, piece.sequence, 0, row)] = lse * 0.69314718f; /* ln 2 */
    } else {
      int64_t at = fc_decode_slot(d, part, piece.first == 0, 0, tile) + row_of(j);
      write_partial_row(o, j, inverse, d.partial + at * DV + SIDE * 256, real);
      if (writes_lse) d.partial_lse[at] = lse;
    }
  }
}

/* --- the two warpgroups --- */

__device__ __forceinline__ void lead(const fc_decode &d, fc_decode_walk walk, unsigned char *shared,
                                     shared_tail *tail, float c) {
  unsigned char *a = shared + AT_PAGE, *b = a + PAGE_BYTES, *buffer = shared + AT_P;
  float o[128], s[32], scale[2];
  uint32_t p[4][4], used = 0, pieces = 0;
  row_state r;
  fc_decode_piece piece;
  while (fc_decode_next(d, &walk, &piece)) {
    begin(d, piece, r, o);
    fc_mbarrier_wait(&tail->q_full, pieces & 1);
    for (int i = piece.first; i < piece.last; i += 2) {
      score<LEFT>(s, shared + AT_Q, a, tail->full[0], used++ & 1);
      fc_wgmma_wait<0>();
      fc_wgmma_hold(s);
      release(&tail->empty[0][ROPE]);
      if (i + 2 >= piece.last) release(&tail->q_empty);
      softmax(s, p, r, scale, i * FC_PAGE, c);
      publish(p, r, buffer, tail->top[0], LEADER_DONE, P_A_READY);
      rescale(o, scale);
      add_own(o, p, a);
      fc_wgmma_wait<0>();
      fc_wgmma_hold(o);
      release(&tail->empty[0][LEFT]);
      if (i + 1 == piece.last) break;
      fc_barrier_sync(P_B_READY, PAIR_THREADS); /* what the follower saw of page b, this one sees now */
      adopt(r, scale, tail->top[1], c);
      rescale(o, scale);
      add_other(o, buffer, b);
      fc_wgmma_wait<0>();
      fc_wgmma_hold(o);
      release(&tail->empty[1][LEFT]);
    }
    finish<0>(d, piece, r, o, tail->sum[pieces & 1], c);
    pieces++;
  }
}

/* queues O_R = s_a O_R + P_a V_aR once the leader has P_a */
__device__ __forceinline__ void add_first(row_state &r, float (&o)[128], unsigned char *shared,
                                          shared_tail *tail, float c) {
  float scale[2];
  fc_barrier_sync(P_A_READY, PAIR_THREADS); /* what the leader saw of page a, this one sees now */
  adopt(r, scale, tail->top[0], c);
  rescale(o, scale);
  add_other(o, shared + AT_P, shared + AT_PAGE + HALF_BYTES);
}

/* SOON: page b is expected late, so page a goes first and is given back early */
template <bool SOON>
__device__ __forceinline__ void follow(const fc_decode &d, fc_decode_walk walk, unsigned char *shared,
                                       shared_tail *tail, float c) {
  unsigned char *b = shared + AT_PAGE + PAGE_BYTES;
  float o[128], s[32], scale[2];
  uint32_t p[4][4], used = 0, pieces = 0;
  row_state r;
  fc_decode_piece piece;
  while (fc_decode_next(d, &walk, &piece)) {
    begin(d, piece, r, o);
    fc_mbarrier_wait(&tail->q_full, pieces & 1);
    int i = piece.first + 1;
    if (i == piece.last) release(&tail->q_empty);
    for (; i < piece.last; i += 2) {
      if (SOON) {
        add_first(r, o, shared, tail, c);
        fc_wgmma_wait<0>();
        fc_wgmma_hold(o);
        release(&tail->empty[0][RIGHT]);
      }
      score<RIGHT>(s, shared + AT_Q, b, tail->full[1], used++ & 1);
      fc_wgmma_wait<0>(); /* also before O is rescaled: ptxas would wait there anyhow */
      fc_wgmma_hold(s);
      release(&tail->empty[1][ROPE]);
      if (i + 2 >= piece.last) release(&tail->q_empty);
      if (!SOON) add_first(r, o, shared, tail, c);
      softmax(s, p, r, scale, i * FC_PAGE, c);
      if (!SOON) {
        fc_wgmma_wait<0>();
        fc_wgmma_hold(o);
        release(&tail->empty[0][RIGHT]);
      }
      publish(p, r, shared + AT_P, tail->top[1], FOLLOWER_DONE, P_B_READY);
      rescale(o, scale);
      add_own(o, p, b + HALF_BYTES);
      fc_wgmma_wait<0>();
      fc_wgmma_hold(o);
      release(&tail->empty[1][RIGHT]);
    }
    if (i == piece.last) { /* a page without a partner */
      add_first(r, o, shared, tail, c);
      fc_wgmma_wait<0>();
      fc_wgmma_hold(o);
      release(&tail->empty[0][RIGHT]);
    }
    finish<1>(d, piece, r, o, tail->sum[pieces & 1], c);
    pieces++;
  }
}

/* grid: row tiles, parts */
template <bool SOON>
static __global__ void __launch_bounds__(THREADS, 1)
    mla_decode(fc_decode d, const __grid_constant__ fc_tensor_map map_q,
               const __grid_constant__ fc_tensor_map map_page) {
  FC_DYNAMIC_SHARED(unsigned char, shared);
  shared_tail *tail = reinterpret_cast<shared_tail *>(shared + AT_TAIL);
  if (threadIdx.x == 0) {
    for (int b = 0; b < 2; b++) {
      for (int i = 0; i < PIECES; i++) fc_mbarrier_init(&tail->full[b][i], 1);
      for (int i = 0; i < GROUPS; i++) fc_mbarrier_init(&tail->empty[b][i], 4); /* warps */
    }
    fc_mbarrier_init(&tail->q_full, 1);
    fc_mbarrier_init(&tail->q_empty, 8);
    fc_mbarrier_init_fence();
  }
  __syncthreads();
  fc_decode_walk walk = fc_decode_begin(d, (int)blockIdx.y);
  int warpgroup = __shfl_sync(0xffffffffu, (int)(threadIdx.x / 128), 0); /* ptxas: no divergence */
  float c = d.scale * 1.44269504f;                                       /* log2 e */
  if (warpgroup == 2) {
    fc_registers_lower<40>();
    if (threadIdx.x == 256) load(d, walk, shared, tail, &map_q, &map_page);
  } else {
    fc_registers_raise<232>();
    if (warpgroup == 0)
      lead(d, walk, shared, tail, c);
    else
      follow<SOON>(d, walk, shared, tail, c);
  }
}

/* --- the implementation --- */

struct mla_state {
  bool borrows;          /* the workspace is another state's */
  fc_tensor_map q, page; /* 64-byte aligned */
  fc_decode d;
};

bool supports(const fc_problem *p, const fc_machine *machine, char *why) {
  if (!fc_decode_supports(p, machine, why)) return false;
  if (p->c.dk == DK && p->c.dv == DV) return true;
  snprintf(why, FC_WHY, "keys of %d and values of %d only", DK, DV);
  return false;
}

void release_state(void *state) {
  if (state == NULL) return;
  mla_state *s = static_cast<mla_state *>(state);
  if (!s->borrows) fc_decode_free(s->d.partial);
  free(state);
}

int encode(mla_state *s, const fc_problem *p, const fc_args *args) {
  const int64_t bytes = DK * 2, rows = p->c.heads * p->c.q;
  const int64_t q_dim[] = {DK, rows, p->c.batch}, q_stride[] = {bytes, rows * bytes};
  const int64_t page_dim[] = {DK, p->rows[1] * FC_PAGE}, page_stride[] = {bytes};
  const int box[] = {PIECE, ROWS, 1};
  int e = fc_tensor_map_encode(&s->q, FC_ELEM_BF16, 3, args->at[FC_DECODE_Q], q_dim, q_stride, box, 128);
  if (e != 0) return e;
  return fc_tensor_map_encode(&s->page, FC_ELEM_BF16, 2, args->at[FC_DECODE_K], page_dim, page_stride, box,
                              128);
}

int prepare(const fc_problem *p, const fc_args *args, const fc_machine *machine, void **state, char *why) {
  const size_t room = (sizeof(mla_state) + 63) / 64 * 64;
  mla_state *s = static_cast<mla_state *>(aligned_alloc(64, room));
  int units = machine->compute_units > 0 ? machine->compute_units : 1;
  if (s == NULL) {
    snprintf(why, FC_WHY, "out of memory");
    return -1;
  }
  memset(static_cast<void *>(s), 0, room);
  s->d.overhead = OVERHEAD;
  if (*state != NULL) { /* a further set of arguments: calls follow one another, one workspace does for all */
    s->d.partial = static_cast<const mla_state *>(*state)->d.partial;
    s->borrows = true;
  }
  int e = encode(s, p, args);
  if (e != 0)
    snprintf(why, FC_WHY, "tensor map refused: error %d", e);
  else if ((e = fc_decode_plan(&s->d, p, args, 1, ROWS, DV, units)) != 0)
    snprintf(why, FC_WHY, "no memory for partial results");
  if (e != 0)
    release_state(s);
  else
    *state = s;
  return e;
}

int launch(const fc_problem *p, const fc_args *args, void *state, fc_queue queue) {
  (void)p, (void)args;
  const mla_state *s = static_cast<const mla_state *>(state);
  const fc_decode *d = &s->d;
  dim3 grid((unsigned)d->tiles, (unsigned)d->parts);
  int e = d->tiles == 1 /* limited by device memory */
              ? FC_LAUNCH((mla_decode<true>), grid, dim3(THREADS), SHARED_BYTES, queue, *d, s->q, s->page)
              : FC_LAUNCH((mla_decode<false>), grid, dim3(THREADS), SHARED_BYTES, queue, *d, s->q, s->page);
  if (e != 0) return e;
  return fc_decode_merge<DV>(d, queue);
}

const fc_implementation table[] = {{FC_BENCH_MLA_DECODE, "wgmma", supports, prepare, launch, release_state}};

} // namespace

extern "C" {
extern const fc_implementations fc_cuda_mla_decode;
const fc_implementations fc_cuda_mla_decode = {sizeof table / sizeof *table, table};
}
