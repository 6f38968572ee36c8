/* SPDX-License-Identifier: Apache-2.0 */
#include "device.cuh"

#include <stdio.h>

/* Rows to experts and back.  T tokens (k), R rows (m), H hidden (n), G experts, P padded rows, k' = top_k
 * choices.
 *
 * permute is three launches, none of which needs a number from the host or waits for another block: parts of
 * the tokens are counted; every part then sums the counts of all parts before it (a few 10 KB from the L2
 * cache), ranks its pairs in order of token, and moves the scales; last, each token's row is read once and
 * written to its places. The order is by token whatever the schedule, since ranks come from counts alone. */

enum { WARP = 32, THREADS = 256, WARPS = THREADS / WARP, GROUPS_MAX = 256, CHOICES_MAX = 16, ALIGN = 128 };
enum { PART_TOKENS = 64, PARTS = 128, PAIRS_MAX = 2048, WORK = 65536, BATCH = 8 };
#define ALL 0xffffffffu

/* --- permute: count --- */

static __global__ void __launch_bounds__(THREADS)
    count_kernel(const int *idx, int *hist, int pairs, int part_pairs, int groups) {
  __shared__ int count[GROUPS_MAX];
  int t = (int)threadIdx.x, from = (int)blockIdx.x * part_pairs;
  int to = from + part_pairs < pairs ? from + part_pairs : pairs;
  if (t < groups) count[t] = 0;
  __syncthreads();
  for (int i = from + t; i < to; i += THREADS) {
    int g = idx[i];
    if (g >= 0) atomicAdd(&count[g], 1);
  }
  __syncthreads();
  if (t < groups) hist[(int)blockIdx.x * groups + t] = count[t];
}

/* --- permute: place --- */

struct placing {
  int total[GROUPS_MAX]; /* rows of each expert */
  int first[GROUPS_MAX]; /* rows in the parts before; then the part's first row */
  int own[GROUPS_MAX];   /* rows of this part; then where they start in the lists */
  int warp[WARPS][GROUPS_MAX];
  int row[PAIRS_MAX], token[PAIRS_MAX]; /* the part's pairs by expert, then token */
  unsigned short rank[PAIRS_MAX];       /* among the warp's pairs of the same expert */
  int pairs;
};

/* Exclusive prefix sums by the first warp of a block, over ceil to multiples of `align`. @return the total
 * (first warp) */
__device__ __forceinline__ int prefix(const int *in, int *out, int n, int align, bool add) {
  int lane = (int)threadIdx.x, carry = 0;
  for (int from = 0; from < n; from += WARP) {
    int value = from + lane < n ? (in[from + lane] + align - 1) / align * align : 0, upto = value;
#pragma unroll
    for (int d = 1; d < WARP; d *= 2) {
      int lower = __shfl_up_sync(ALL, upto, d);
      upto += lane >= d ? lower : 0;
    }
    if (from + lane < n) out[from + lane] = (add ? out[from + lane] : 0) + carry + upto - value;
    carry += __shfl_sync(ALL, upto, WARP - 1);
  }
  return carry;
}

/* Rows of each expert in all parts, and in the parts before `part`. */
__device__ __forceinline__ void sum_parts(placing &s, const int *hist, int parts, int groups, int part) {
  int t = (int)threadIdx.x, sets = THREADS / groups, g = t % groups;
  int total = 0, before = 0;
  for (int i = t / groups; i < parts && t / groups < sets; i += sets) {
    int n = __ldg(hist + i * groups + g);
    total += n;
    before += i < part ? n : 0;
  }
  if (total) atomicAdd(&s.total[g], total);
  if (before) atomicAdd(&s.first[g], before);
}

/* Ranks the pairs of one warp, a run of the part's: 32 at a time, those of the same expert found by one vote
 * a bit. */
__device__ __forceinline__ void rank_pairs(placing &s, const int *idx, int n, int run, int groups) {
  int lane = (int)threadIdx.x % WARP, warp = (int)threadIdx.x / WARP;
  for (int from = warp * run; from < (warp + 1) * run; from += WARP) {
    int i = from + lane, g = i < n ? idx[i] : -1;
    uint32_t same = __ballot_sync(ALL, g >= 0);
    for (int bit = 1; bit < groups; bit *= 2) {
      uint32_t vote = __ballot_sync(ALL, g & bit);
      same &= g & bit ? vote : ~vote;
    }
    int rank = __popc(same & ((1u << lane) - 1u));
    int before = g >= 0 ? s.warp[warp][g] : 0;
    __syncwarp();
    if (g >= 0) s.rank[i] = (unsigned short)(before + rank);
    if (g >= 0 && rank == 0) s.warp[warp][g] = before + __popc(same);
    __syncwarp();
  }
}

/* Where each of the part's pairs goes; fills the lists. */
__device__ __forceinline__ void list_pairs(placing &s, const int *idx, int *row, int from, int n, int run,
                                           int choices) {
  for (int i = (int)threadIdx.x; i < n; i += THREADS) {
    int g = idx[i], r = -1;
    if (g >= 0) {
      int rank = s.warp[i / run][g] + s.rank[i];
      r = s.first[g] + rank;
      s.row[s.own[g] + rank] = r;
      s.token[s.own[g] + rank] = (from + i) / choices;
    }
    if (row) row[i] = r;
  }
}

/* Scales [blocks,T] to [blocks,P]: neighbouring threads write neighbouring rows of an expert. */
__device__ __forceinline__ void move_scales(const placing &s, const float *xs, float *ys, int blocks,
                                            int tokens, int padded) {
  int step = (int)gridDim.y;
  for (int i = (int)threadIdx.x; i < s.pairs; i += THREADS) {
    const float *from = xs + s.token[i];
    float *to = ys + s.row[i];
    for (int b = (int)blockIdx.y; b < blocks; b += 4 * step) {
      float v[4];
#pragma unroll
      for (int j = 0; j < 4; j++)
        if (b + j * step < blocks) v[j] = __ldg(from + (size_t)(b + j * step) * (size_t)tokens);
#pragma unroll
      for (int j = 0; j < 4; j++)
        if (b + j * step < blocks) to[(size_t)(b + j * step) * (size_t)padded] = v[j];
    }
  }
}

struct shape {
  int tokens, choices, groups, blocks, padded, part_pairs;
};

/* grid (parts, shares of the scales) */
static __global__ void __launch_bounds__(THREADS)
    place_kernel(const int *idx, const int *hist, const float *xs, float *ys, int *row, int *counts,
                 int *offsets, shape d) {
  __shared__ placing s;
  int t = (int)threadIdx.x, part = (int)blockIdx.x, from = part * d.part_pairs;
  int n = d.tokens * d.choices - from < d.part_pairs ? d.tokens * d.choices - from : d.part_pairs;
  int run = (n + THREADS - 1) / THREADS * WARP; /* pairs a warp, whole rounds */
  if (t < d.groups) {
    s.total[t] = s.first[t] = 0;
    for (int w = 0; w < WARPS; w++) s.warp[w][t] = 0;
  }
  __syncthreads();
  sum_parts(s, hist, (int)gridDim.x, d.groups, part);
  rank_pairs(s, idx + from, n, run, d.groups);
  __syncthreads();
  if (t < d.groups) {
    int before = 0;
    for (int w = 0; w < WARPS; w++) {
      int own = s.warp[w][t];
      s.warp[w][t] = before;
      before += own;
    }
    s.own[t] = before;
  }
  bool first = part == 0 && blockIdx.y == 0;
  if (first && t < d.groups) counts[t] = s.total[t];
  __syncthreads();
  if (t < WARP) {
    int padded = prefix(s.total, s.first, d.groups, ALIGN, true),
        pairs = prefix(s.own, s.own, d.groups, 1, false);
    if (t == 0) s.pairs = pairs;
    if (first && t == 0) offsets[d.groups] = padded;
  }
  __syncthreads();
  if (first && t < d.groups)
    offsets[t] = s.first[t]; /* no parts before the first: its rows start the expert's */
  list_pairs(s, idx + from, blockIdx.y == 0 ? row + from : nullptr, from, n, run, d.choices);
  __syncthreads();
  move_scales(s, xs, ys, d.blocks, d.tokens, d.padded);
}

/* --- permute: copy; one block a token, 16 bytes a thread at a time --- */

static __global__ void __launch_bounds__(THREADS)
    copy_kernel(const uint4 *x, const int *row, uint4 *y, int choices, int vectors) {
  int token = (int)blockIdx.x;
  int to[CHOICES_MAX];
#pragma unroll
  for (int j = 0; j < CHOICES_MAX; j++) to[j] = j < choices ? __ldg(row + token * choices + j) : -1;
#pragma unroll 2
  for (int v = (int)threadIdx.x; v < vectors; v += (int)blockDim.x) {
    uint4 q = fc_load_stream(x + (size_t)token * (size_t)vectors + v);
#pragma unroll
    for (int j = 0; j < CHOICES_MAX; j++)
      if (to[j] >= 0) y[(size_t)to[j] * (size_t)vectors + v] = q;
  }
}

/* Threads of a block that goes over `vectors` words in whole strides, nearly. */
static int block_for(int64_t vectors) {
  int64_t strides = (vectors + THREADS - 1) / THREADS, each = (vectors + strides - 1) / strides;
  return (int)((each + WARP - 1) / WARP * WARP);
}

static bool routable(const fc_problem *p, char *why, int multiple) {
  const fc_bench_case *c = &p->c;
  int64_t most = c->top_k < c->groups ? c->top_k : c->groups;
  if (c->groups >= 1 && c->groups <= GROUPS_MAX && c->top_k >= 1 && c->top_k <= CHOICES_MAX &&
      c->m <= c->k * most && c->n % multiple == 0 && c->k * c->top_k < (int64_t)1 << 30)
    return true;
  (void)snprintf(why, FC_WHY, "at most %d experts here, %d a token, rows of whole 16-byte words", GROUPS_MAX,
                 CHOICES_MAX);
  return false;
}

/* Tokens of a part: few enough parts that reading all their counts is cheap, and its pairs fit the lists. */
static int64_t part_tokens(const fc_bench_case *c) {
  int64_t tokens = (c->k + PARTS - 1) / PARTS, most = PAIRS_MAX / c->top_k;
  tokens = tokens > PART_TOKENS ? tokens : (int64_t)PART_TOKENS;
  return tokens < most ? tokens : most;
}

static int64_t parts_of(const fc_bench_case *c) {
  return (c->k + part_tokens(c) - 1) / part_tokens(c);
}

static bool permute_supports(const fc_problem *p, const fc_machine *machine, char *why) {
  (void)machine;
  if (!routable(p, why, 16)) return false;
  if (parts_of(&p->c) * p->c.groups <= WORK) return true;
  (void)snprintf(why, FC_WHY, "more tokens than %d counts can hold", WORK);
  return false;
}

static int permute(const fc_problem *p, const fc_args *a, void *state, fc_queue queue) {
  (void)state;
  const fc_bench_case *c = &p->c;
  int64_t parts = parts_of(c), blocks = fc_blocks(c->n),
          shares = 264 / parts; /* two blocks a multiprocessor */
  shares = shares < 1 ? 1 : (shares > 8 ? 8 : shares);
  shares = shares < blocks ? shares : blocks;
  shape d = {(int)c->k,   (int)c->top_k,   (int)c->groups,
             (int)blocks, (int)p->rows[0], (int)(part_tokens(c) * c->top_k)};
  const int *idx = (const int *)a->at[FC_PERMUTE_IDX];
  int *hist = (int *)a->at[FC_PERMUTE_WORK], *row = (int *)a->at[FC_PERMUTE_ROW];
  int error = FC_LAUNCH(count_kernel, dim3((unsigned)parts), dim3(THREADS), 0, queue, idx, hist,
                        d.tokens * d.choices, d.part_pairs, d.groups);
  if (error) return error;
  error = FC_LAUNCH(place_kernel, dim3((unsigned)parts, (unsigned)shares), dim3(THREADS), 0, queue, idx,
                    (const int *)hist, (const float *)a->at[FC_PERMUTE_XS], (float *)a->at[FC_PERMUTE_YS],
                    row, (int *)a->at[FC_PERMUTE_COUNTS], (int *)a->at[FC_PERMUTE_OFFSETS], d);
  if (error) return error;
  return FC_LAUNCH(copy_kernel, dim3((unsigned)c->k), dim3((unsigned)block_for(c->n / 16)), 0, queue,
                   (const uint4 *)a->at[FC_PERMUTE_X], (const int *)row, (uint4 *)a->at[FC_PERMUTE_Y],
                   d.choices, (int)(c->n / 16));
}

/* --- combine: a thread sums eight columns of one token, all its rows in flight --- */

__device__ __forceinline__ void unpack(float (&x)[8], uint4 q) {
  const uint32_t word[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    x[2 * i] = __uint_as_float(word[i] << 16);
    x[2 * i + 1] = __uint_as_float(word[i] & 0xffff0000u);
  }
}

__device__ __forceinline__ uint4 pack(const float (&x)[8]) {
  return make_uint4(fc_pack_bf16(x[0], x[1]), fc_pack_bf16(x[2], x[3]), fc_pack_bf16(x[4], x[5]),
                    fc_pack_bf16(x[6], x[7]));
}

/* grid (shares of the columns, tokens) */
template <bool WEIGHTED>
static __global__ void __launch_bounds__(THREADS)
    combine_kernel(const uint4 *y, const int *row, const float *w, uint4 *out, int choices, int vectors) {
  int token = (int)blockIdx.y, v = (int)(blockIdx.x * blockDim.x + threadIdx.x);
  if (v >= vectors) return;
  float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
  for (int from = 0; from < choices; from += BATCH) {
    int at[BATCH];
    float weight[BATCH];
    uint4 q[BATCH];
#pragma unroll
    for (int j = 0; j < BATCH; j++) {
      bool there = from + j < choices;
      at[j] = there ? __ldg(row + token * choices + from + j) : -1;
      weight[j] = WEIGHTED && there ? __ldg(w + token * choices + from + j) : 1.0f;
    }
#pragma unroll
    for (int j = 0; j < BATCH; j++)
      if (at[j] >= 0) q[j] = fc_load_stream(y + (size_t)at[j] * (size_t)vectors + v);
#pragma unroll
    for (int j = 0; j < BATCH; j++) {
      if (at[j] < 0) continue;
      float x[8];
      unpack(x, q[j]);
#pragma unroll
      for (int i = 0; i < 8; i++) sum[i] = WEIGHTED ? sum[i] + weight[j] * x[i] : sum[i] + x[i];
    }
  }
  out[(size_t)token * (size_t)vectors + v] = pack(sum);
}

static bool combine_supports(const fc_problem *p, const fc_machine *machine, char *why) {
  (void)machine;
  if (!routable(p, why, 8)) return false;
  if (p->c.k <= 65535) return true;
  (void)snprintf(why, FC_WHY, "at most 65535 tokens");
  return false;
}

static int combine(const fc_problem *p, const fc_args *a, void *state, fc_queue queue) {
  (void)state;
  const fc_bench_case *c = &p->c;
  int vectors = (int)(c->n / 8), block = block_for(vectors);
  dim3 grid((unsigned)((vectors + block - 1) / block), (unsigned)c->k);
  const uint4 *y = (const uint4 *)a->at[FC_COMBINE_Y];
  const int *row = (const int *)a->at[FC_COMBINE_ROW];
  const float *w = (const float *)a->at[FC_COMBINE_W];
  uint4 *out = (uint4 *)a->at[FC_COMBINE_OUT];
  if (c->op == FC_BENCH_COMBINE)
    return FC_LAUNCH((combine_kernel<true>), grid, dim3((unsigned)block), 0, queue, y, row, w, out,
                     (int)c->top_k, vectors);
  return FC_LAUNCH((combine_kernel<false>), grid, dim3((unsigned)block), 0, queue, y, row, w, out,
                   (int)c->top_k, vectors);
}

/* --- combine_b: one block a token --- */

static __global__ void __launch_bounds__(THREADS)
    combine_b_kernel(const uint4 *y, const int *row, const float *w, const uint4 *dout, uint4 *dy, float *dw,
                     int choices, int vectors) {
  __shared__ float partial[WARPS][BATCH];
  int token = (int)blockIdx.x, t = (int)threadIdx.x, lane = t % WARP;
  for (int from = 0; from < choices; from += BATCH) {
    int at[BATCH];
    float weight[BATCH], dot[BATCH];
#pragma unroll
    for (int j = 0; j < BATCH; j++) {
      bool there = from + j < choices;
      at[j] = there ? __ldg(row + token * choices + from + j) : -1;
      weight[j] = there ? __ldg(w + token * choices + from + j) : 0.0f;
      dot[j] = 0;
    }
    for (int v = t; v < vectors; v += (int)blockDim.x) {
      float d[8];
      uint4 q[BATCH], dq = __ldg(dout + (size_t)token * (size_t)vectors + v);
#pragma unroll
      for (int j = 0; j < BATCH; j++)
        if (at[j] >= 0) q[j] = fc_load_stream(y + (size_t)at[j] * (size_t)vectors + v);
      unpack(d, dq);
#pragma unroll
      for (int j = 0; j < BATCH; j++) {
        if (at[j] < 0) continue;
        float x[8], scaled[8];
        unpack(x, q[j]);
#pragma unroll
        for (int i = 0; i < 8; i++) {
          dot[j] += d[i] * x[i];
          scaled[i] = weight[j] * d[i];
        }
        dy[(size_t)at[j] * (size_t)vectors + v] = pack(scaled);
      }
    }
#pragma unroll
    for (int j = 0; j < BATCH; j++) {
#pragma unroll
      for (int s = WARP / 2; s > 0; s /= 2) dot[j] += __shfl_xor_sync(ALL, dot[j], s);
      if (lane == 0) partial[t / WARP][j] = dot[j];
    }
    __syncthreads();
    if (t < BATCH && from + t < choices) {
      float sum = 0;
      for (int i = 0; i < (int)blockDim.x / WARP; i++) sum += partial[i][t];
      dw[token * choices + from + t] = sum;
    }
    __syncthreads();
  }
}

static int combine_b(const fc_problem *p, const fc_args *a, void *state, fc_queue queue) {
  (void)state;
  const fc_bench_case *c = &p->c;
  return FC_LAUNCH(combine_b_kernel, dim3((unsigned)c->k), dim3((unsigned)block_for(c->n / 8)), 0, queue,
                   (const uint4 *)a->at[FC_COMBINE_Y], (const int *)a->at[FC_COMBINE_ROW],
                   (const float *)a->at[FC_COMBINE_W], (const uint4 *)a->at[FC_COMBINE_DOUT],
                   (uint4 *)a->at[FC_COMBINE_DY], (float *)a->at[FC_COMBINE_DW], (int)c->top_k,
                   (int)(c->n / 8));
}

static const fc_implementation items[] = {
    {FC_BENCH_PERMUTE, "fused", permute_supports, nullptr, permute, nullptr},
    {FC_BENCH_PERMUTE_B, "fused", combine_supports, nullptr, combine, nullptr},
    {FC_BENCH_COMBINE, "fused", combine_supports, nullptr, combine, nullptr},
    {FC_BENCH_COMBINE_B, "fused", combine_supports, nullptr, combine_b, nullptr},
};
extern "C" const fc_implementations fc_cuda_permute;
const fc_implementations fc_cuda_permute = {sizeof items / sizeof *items, items};
