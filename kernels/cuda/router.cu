/* SPDX-License-Identifier: Apache-2.0 */
#include "device.cuh"

#include <stdio.h>

/* Router and sampler.  T tokens (m), E experts (n), k experts a token; semantics: operators.h.
 * Hopper's price of a shuffle is about 25 cycles of latency and half a warp instruction a cycle: with a warp
 * for each token, 16 warps or more on a multiprocessor hide it, and 4,096 tokens take some 600 instructions
 * each: 3 us. */

enum { WARP = 32, ROUTER_THREADS = 128, CHOICES_MAX = 16, GROUPS_MAX = 32 };
#define SCALING        2.5f
#define MINUS_INFINITY __uint_as_float(0xff800000u)
#define ALL            0xffffffffu

__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int d = WARP / 2; d > 0; d /= 2) x = fmaxf(x, __shfl_xor_sync(ALL, x, d));
  return x;
}

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int d = WARP / 2; d > 0; d /= 2) x += __shfl_xor_sync(ALL, x, d);
  return x;
}

__device__ __forceinline__ float sigmoid(float x) {
  return __fdividef(1.0f, 1.0f + __expf(-x));
}

/* --- topk: lane l of a token's warp holds experts l V .. l V + V - 1, so that lanes are in order of index
 * --- */

/* Two largest of two pairs, each in order. */
__device__ __forceinline__ void merge_pairs(float &one, float &two, float one2, float two2) {
  two = fmaxf(fminf(one, one2), fmaxf(two, two2));
  one = fmaxf(one, one2);
}

/* Sum of the two best choices of the group at [from, from + size), in every lane of the `lanes` that hold it.
 */
template <int V>
__device__ __forceinline__ float group_score(const float (&choice)[V], int first, int from, int size,
                                             int lanes) {
  float one = MINUS_INFINITY, two = MINUS_INFINITY;
#pragma unroll
  for (int v = 0; v < V; v++) {
    bool mine = first + v >= from && first + v < from + size;
    merge_pairs(one, two, mine ? choice[v] : MINUS_INFINITY, MINUS_INFINITY);
  }
  for (int d = 1; d < lanes; d *= 2) {
    float one2 = __shfl_xor_sync(ALL, one, d), two2 = __shfl_xor_sync(ALL, two, d);
    merge_pairs(one, two, one2, two2);
  }
  return one + two;
}

/* Takes out the groups beyond the `kept` best.  A group spans whole lanes, a power of two of them, or else
 * its score is found by the whole warp and kept by the lane of its number. */
template <int V>
__device__ __forceinline__ void drop_groups(float (&choice)[V], int experts, int groups, int kept, int lane) {
  int size = experts / groups, lanes = size / V;
  bool whole = size % V == 0 && (lanes & (lanes - 1)) == 0 && lanes <= WARP;
  int mine = whole ? lane / lanes : lane;
  float score = MINUS_INFINITY;
  if (whole) {
    score = group_score<V>(choice, lane * V, mine * size, size, lanes);
  } else {
    for (int g = 0; g < groups; g++) {
      float s = group_score<V>(choice, lane * V, g * size, size, WARP);
      score = g == lane ? s : score;
    }
  }
  int better = 0;
  for (int g = 0; g < groups; g++) {
    float s = __shfl_sync(ALL, score, whole ? g * lanes : g);
    better += s > score || (s == score && g < mine);
  }
  uint32_t keep = __ballot_sync(ALL, better < kept);
#pragma unroll
  for (int v = 0; v < V; v++) {
    int holder = whole ? lane : (lane * V + v) / size; /* whose bit speaks for this expert */
    bool kept_here = holder < WARP && ((keep >> (holder & (WARP - 1))) & 1u);
    choice[v] = kept_here ? choice[v] : MINUS_INFINITY;
  }
}

/* The first of a lane's largest choices, after taking out `gone`. */
template <int V>
__device__ __forceinline__ void lane_best(float (&choice)[V], const float (&s)[V], int gone, float &best,
                                          int &at, float &best_s) {
  best = MINUS_INFINITY;
  at = 0;
  best_s = 0;
#pragma unroll
  for (int v = 0; v < V; v++) {
    choice[v] = v == gone ? MINUS_INFINITY : choice[v];
    bool better = choice[v] > best;
    best = better ? choice[v] : best;
    at = better ? v : at;
    best_s = better ? s[v] : best_s;
  }
}

template <int V> __device__ __forceinline__ void load_row(float (&x)[V], const float *row, int first, int n) {
  if (V % 4 == 0 && n % 4 == 0) {
#pragma unroll
    for (int v = 0; v + 3 < V; v += 4) {
      float4 q = make_float4(0, 0, 0, 0);
      if (first + v < n) q = *reinterpret_cast<const float4 *>(row + first + v);
      x[v] = q.x, x[v + 1] = q.y, x[v + 2] = q.z, x[v + 3] = q.w;
    }
    return;
  }
#pragma unroll
  for (int v = 0; v < V; v++) x[v] = first + v < n ? row[first + v] : 0;
}

template <int V>
static __global__ void __launch_bounds__(ROUTER_THREADS)
    topk_kernel(const float *logits, const float *bias, int *idx, float *w, int tokens, int experts, int k,
                int groups, int kept) {
  int token = (int)(blockIdx.x * (ROUTER_THREADS / WARP) + threadIdx.x / WARP),
      lane = (int)(threadIdx.x % WARP);
  if (token >= tokens) return;
  float s[V], choice[V];
  load_row<V>(s, logits + (size_t)token * experts, lane * V, experts);
  load_row<V>(choice, bias, lane * V, experts);
#pragma unroll
  for (int v = 0; v < V; v++) {
    s[v] = sigmoid(s[v]);
    choice[v] = lane * V + v < experts ? s[v] + choice[v] : MINUS_INFINITY;
  }
  if (groups > 1) drop_groups<V>(choice, experts, groups, kept, lane);
  float best, best_s, my_s = 0;
  int at, my_expert = 0;
  lane_best<V>(choice, s, -1, best, at, best_s);
  for (int i = 0; i < k; i++) {
    float top = warp_max(best);
    int winner =
        __ffs((int)__ballot_sync(ALL, best == top)) - 1; /* of equal ones the lowest lane: lowest index */
    int expert = __shfl_sync(ALL, lane * V + at, winner);
    float chosen = __shfl_sync(ALL, best_s, winner);
    my_expert = lane == i ? expert : my_expert;
    my_s = lane == i ? chosen : my_s;
    if (lane == winner) lane_best<V>(choice, s, at, best, at, best_s);
    __syncwarp();
  }
  float sum = warp_sum(my_s);
  if (lane >= k) return;
  idx[(size_t)token * k + lane] = my_expert;
  w[(size_t)token * k + lane] = __fdividef(my_s, sum) * SCALING;
}

static bool topk_supports(const fc_problem *p, const fc_machine *machine, char *why) {
  const fc_bench_case *c = &p->c;
  (void)machine;
  int64_t groups = c->route_groups > 1 ? c->route_groups : 1;
  int64_t kept = c->route_top > 0 && c->route_top < groups ? c->route_top : groups;
  if (c->n <= 16 * WARP && c->top_k <= CHOICES_MAX && groups <= GROUPS_MAX && c->n % groups == 0 &&
      (groups == 1 || c->n / groups >= 2) && c->top_k <= c->n / groups * kept)
    return true;
  (void)snprintf(why, FC_WHY,
                 "at most %d experts in at most %d equal groups of two or more, %d of them a token",
                 16 * WARP, GROUPS_MAX, CHOICES_MAX);
  return false;
}

template <int V> static int topk_launch(const fc_problem *p, const fc_args *a, fc_queue queue) {
  const fc_bench_case *c = &p->c;
  bool grouped = c->route_groups > 1 && c->route_top > 0 && c->route_top < c->route_groups;
  unsigned blocks = (unsigned)((c->m + ROUTER_THREADS / WARP - 1) / (ROUTER_THREADS / WARP));
  return FC_LAUNCH((topk_kernel<V>), dim3(blocks), dim3(ROUTER_THREADS), 0, queue,
                   (const float *)a->at[FC_TOPK_LOGITS], (const float *)a->at[FC_TOPK_BIAS],
                   (int *)a->at[FC_TOPK_IDX], (float *)a->at[FC_TOPK_W], (int)c->m, (int)c->n, (int)c->top_k,
                   grouped ? (int)c->route_groups : 1, (int)c->route_top);
}

static int topk(const fc_problem *p, const fc_args *a, void *state, fc_queue queue) {
  (void)state;
  if (p->c.n <= 1 * WARP) return topk_launch<1>(p, a, queue);
  if (p->c.n <= 2 * WARP) return topk_launch<2>(p, a, queue);
  if (p->c.n <= 4 * WARP) return topk_launch<4>(p, a, queue);
  if (p->c.n <= 8 * WARP) return topk_launch<8>(p, a, queue);
  return topk_launch<16>(p, a, queue);
}

/* --- topk_b: lane i < k works out the gradient of choice i, then the warp writes the row --- */

static __global__ void __launch_bounds__(ROUTER_THREADS)
    topk_b_kernel(const float *logits, const int *idx, const float *dw, float *dlogits, int tokens,
                  int experts, int k) {
  int token = (int)(blockIdx.x * (ROUTER_THREADS / WARP) + threadIdx.x / WARP),
      lane = (int)(threadIdx.x % WARP);
  if (token >= tokens) return;
  int expert = -1;
  float s = 0, d = 0;
  if (lane < k) {
    expert = idx[(size_t)token * k + lane];
    d = dw[(size_t)token * k + lane];
    s = sigmoid(logits[(size_t)token * experts + expert]);
  }
  float sum = warp_sum(s), mean = warp_sum(d * __fdividef(s, sum));
  float slope = __fdividef(SCALING, sum) * (d - mean) * (s * (1.0f - s));
  float *row = dlogits + (size_t)token * experts;
  for (int from = 0; from < experts; from += 4 * WARP) { /* uniform: every lane takes part in the shuffles */
    int first = from + lane * 4;
    float out[4] = {0, 0, 0, 0};
    for (int i = 0; i < k; i++) {
      int at = __shfl_sync(ALL, expert, i) - first;
      float value = __shfl_sync(ALL, slope, i);
#pragma unroll
      for (int v = 0; v < 4; v++) out[v] = at == v ? value : out[v];
    }
    if (experts % 4 == 0) {
      if (first < experts)
        *reinterpret_cast<float4 *>(row + first) = make_float4(out[0], out[1], out[2], out[3]);
    } else {
#pragma unroll
      for (int v = 0; v < 4; v++)
        if (first + v < experts) row[first + v] = out[v];
    }
  }
}

static int topk_b(const fc_problem *p, const fc_args *a, void *state, fc_queue queue) {
  const fc_bench_case *c = &p->c;
  (void)state;
  unsigned blocks = (unsigned)((c->m + ROUTER_THREADS / WARP - 1) / (ROUTER_THREADS / WARP));
  return FC_LAUNCH(topk_b_kernel, dim3(blocks), dim3(ROUTER_THREADS), 0, queue,
                   (const float *)a->at[FC_TOPK_LOGITS], (const int *)a->at[FC_TOPK_IDX],
                   (const float *)a->at[FC_TOPK_DW], (float *)a->at[FC_TOPK_DLOGITS], (int)c->m, (int)c->n,
                   (int)c->top_k);
}

/* --- sample: a row's slices give up their 50 largest, then one block merges them; logits are read once ---
 *
 * A logit and its index make one number, larger when the logit is larger or, of equal ones, the index lower:
 * no ties. The logit takes 32 bits, as an unsigned number in the same order; 0 stands for nothing. */

enum { SAMPLE_THREADS = 512, KEPT = 50, SLICES_MAX = 20, BINS = 2048, INDEX_BITS = 20, ROOM = 256 };
static_assert(SLICES_MAX * KEPT * 2 <= 2048, "WORK holds 2,048 words a row");
static_assert(SLICES_MAX * KEPT <= 2 * SAMPLE_THREADS, "the merge holds two candidates a thread");
#define TOP_P 0.95f

struct chooser {
  unsigned bins[BINS];
  unsigned long long list[ROOM]; /* candidates, no order */
  unsigned long long best[KEPT]; /* in order */
  unsigned warp[SAMPLE_THREADS / WARP];
  unsigned bin, above, n;
};

__device__ __forceinline__ unsigned ordered(float x) {
  unsigned u = __float_as_uint(x + 0.0f); /* -0 becomes 0: they are equal */
  return u & 0x80000000u ? ~u : u | 0x80000000u;
}

__device__ __forceinline__ float unordered(unsigned key) {
  return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

/* The highest bin such that it and those above hold `want` or more: sets c.bin, and c.above to what is above
 * it; bin 0 where all hold fewer.  Ends with all threads in step. */
__device__ __forceinline__ void find_bin(chooser &c, unsigned want) {
  int t = (int)threadIdx.x, lane = t % WARP, top = BINS - 1 - t * (BINS / SAMPLE_THREADS);
  unsigned sum = 0, upto, before = 0;
#pragma unroll
  for (int i = 0; i < BINS / SAMPLE_THREADS; i++) sum += c.bins[top - i];
  upto = sum;
#pragma unroll
  for (int d = 1; d < WARP; d *= 2) {
    unsigned lower = __shfl_up_sync(ALL, upto, d);
    upto += lane >= d ? lower : 0;
  }
  if (lane == WARP - 1) c.warp[t / WARP] = upto;
  if (t == 0) c.bin = c.above = 0;
  __syncthreads();
  for (int i = 0; i < t / WARP; i++) before += c.warp[i];
  before += upto - sum;
  if (before < want && before + sum >= want) { /* one thread */
    int i = 0;
    while (before + c.bins[top - i] < want) before += c.bins[top - i++];
    c.bin = (unsigned)(top - i);
    c.above = before;
  }
  __syncthreads();
}

__device__ __forceinline__ void clear_bins(chooser &c) {
#pragma unroll
  for (int i = 0; i < BINS / SAMPLE_THREADS; i++) c.bins[i * SAMPLE_THREADS + (int)threadIdx.x] = 0;
  if (threadIdx.x == 0) c.n = 0;
  __syncthreads();
}

/* The elements of a thread: keys in registers, indices where each kind has them. */
template <int N> struct slice_elements {
  enum { COUNT = N };
  unsigned key[N];
  int first;
  __device__ __forceinline__ int index(int i) const { return first + i / 4 * (SAMPLE_THREADS * 4) + i % 4; }
};

struct merge_elements {
  enum { COUNT = 2 };
  unsigned key[2];
  int at[2];
  __device__ __forceinline__ int index(int i) const { return at[i]; }
};

__device__ __forceinline__ unsigned reversed(int index) {
  return (1u << INDEX_BITS) - 1u - (unsigned)index;
}

/* The least that may be among the KEPT largest: keys whose leading bits, from `shift` up, are `key` or more;
 * with `exact`, of equal keys those whose reversed index has leading bits of `low` or more. */
struct least {
  unsigned key, low;
  int shift;
  bool exact;
};

template <typename E> __device__ __forceinline__ void collect(chooser &c, const E &e, least l) {
#pragma unroll
  for (int i = 0; i < E::COUNT; i++) {
    if (e.key[i] == 0) continue;
    unsigned low = reversed(e.index(i)), word = l.exact ? e.key[i] : e.key[i] >> l.shift;
    bool in = word > l.key || (word == l.key && (!l.exact || low >> l.shift >= l.low));
    if (!in) continue;
    unsigned at = atomicAdd(&c.n, 1u);
    if (at < ROOM) c.list[at] = (unsigned long long)e.key[i] << INDEX_BITS | low;
  }
  __syncthreads();
}

/* Radix selection: the key's 32 bits as digits of 11, 11 and 10, then the reversed index of equal keys as 11
 * and 9, until those that may be among the KEPT largest fit the list.  `bin`: the first digit is no lower. */
template <typename E> __device__ __forceinline__ void refine(chooser &c, const E &e, unsigned bin) {
  least l = {0, 0, 0, false};
  unsigned above = 0, n = 0;
#pragma unroll 1
  for (int step = 0; step == 0 || (n > ROOM && step < 5); step++) {
    int width = step == 2 ? 10 : (step == 4 ? 9 : 11);
    l.shift = step == 0 ? 21 : (step == 1 ? 10 : (step == 3 ? 9 : 0));
    l.exact = step >= 3;
    clear_bins(c);
#pragma unroll
    for (int i = 0; i < E::COUNT; i++) {
      unsigned word = l.exact ? reversed(e.index(i)) : e.key[i], known = l.exact ? l.low : l.key;
      unsigned digit = word >> l.shift & ((1u << width) - 1u);
      bool same = step == 0 ? digit >= bin : (step == 3 || word >> l.shift >> width == known);
      if (l.exact) same = same && e.key[i] == l.key;
      if (same && e.key[i] != 0) atomicAdd(&c.bins[digit], 1u);
    }
    __syncthreads();
    find_bin(c, KEPT - above);
    if (l.exact)
      l.low = l.low << width | c.bin;
    else
      l.key = l.key << width | c.bin;
    above += c.above;
    n = above + c.bins[c.bin];
    __syncthreads();
  }
  clear_bins(c);
  collect(c, e, l);
}

/* The KEPT largest of the block's elements, in order in c.best. @return how many, in every thread */
template <typename E> __device__ __forceinline__ int choose(chooser &c, const E &e) {
  unsigned most = 0;
#pragma unroll
  for (int i = 0; i < E::COUNT; i++) most = e.key[i] > most ? e.key[i] : most;
  clear_bins(c);
  if (most != 0) atomicAdd(&c.bins[most >> 21], 1u);
  __syncthreads();
  /* KEPT threads have an element in this bin or above: the block's KEPT largest are no lower */
  find_bin(c, KEPT);
  unsigned bin = c.bin;
  collect(c, e, least{bin, 0, 21, false});
  int n = (int)c.n, t = (int)threadIdx.x;
  if (n > ROOM) {
    __syncthreads(); /* all have read c.n before it is cleared */
    refine(c, e, bin);
    n = (int)c.n;
  }
  if (t < n) {
    unsigned long long mine = c.list[t];
    int rank = 0;
    for (int i = 0; i < n; i++) rank += c.list[i] > mine;
    if (rank < KEPT) c.best[rank] = mine;
  }
  __syncthreads();
  return n < KEPT ? n : KEPT;
}

/* grid (slices, rows); a slice is `length` elements, N a thread at most.  best [rows,1024]: key and index. */
template <int N, bool VECTORS>
static __global__ void __launch_bounds__(SAMPLE_THREADS, N <= 16 ? 2 : 1)
    slice_kernel(const float *logits, uint2 *best, int n, int length) {
  __shared__ chooser c;
  int row = (int)blockIdx.y, from = (int)blockIdx.x * length, t = (int)threadIdx.x;
  int to = from + length < n ? from + length : n;
  const float *x = logits + (size_t)row * (size_t)n;
  slice_elements<N> e;
  e.first = from + t * 4;
#pragma unroll
  for (int i = 0; i < N; i += 4) {
    int at = e.index(i);
    uint4 q = make_uint4(0, 0, 0, 0);
    if (VECTORS && at < to) q = fc_load_stream(x + at);
    e.key[i] = q.x, e.key[i + 1] = q.y, e.key[i + 2] = q.z, e.key[i + 3] = q.w;
  }
#pragma unroll
  for (int i = 0; i < N; i++) {
    float value = __uint_as_float(e.key[i]);
    if (!VECTORS && e.index(i) < to) value = x[e.index(i)];
    e.key[i] = e.index(i) < to ? ordered(value) : 0;
  }
  int found = choose(c, e);
  if (t >= KEPT) return;
  unsigned long long mine = t < found ? c.best[t] : 0;
  best[row * 1024 + (int)blockIdx.x * KEPT + t] =
      make_uint2((unsigned)(mine >> INDEX_BITS), reversed((int)(mine & ((1u << INDEX_BITS) - 1u))));
}

__device__ __forceinline__ float inclusive_sum(float x, int lane) {
#pragma unroll
  for (int d = 1; d < WARP; d *= 2) {
    float lower = __shfl_up_sync(ALL, x, d);
    x += lane >= d ? lower : 0;
  }
  return x;
}

/* Softmax, top-p and the pick by one warp: lane l has ranks 2 l and 2 l + 1. @return the rank picked */
__device__ __forceinline__ int pick(const chooser &c, int n, float u) {
  int lane = (int)threadIdx.x % WARP, cut, rank;
  float top = unordered((unsigned)(c.best[0] >> INDEX_BITS)), mass[2];
#pragma unroll
  for (int i = 0; i < 2; i++)
    mass[i] =
        2 * lane + i < n ? __expf(unordered((unsigned)(c.best[2 * lane + i] >> INDEX_BITS)) - top) : 0.0f;
  float upto1 = inclusive_sum(mass[0] + mass[1], lane), upto0 = upto1 - mass[1];
  float need = TOP_P * __shfl_sync(ALL, upto1, WARP - 1);
  /* sums grow with the rank: counting those short of the mark gives the first that reaches it */
  cut = __popc(__ballot_sync(ALL, upto0 < need && 2 * lane < n)) +
        __popc(__ballot_sync(ALL, upto1 < need && 2 * lane + 1 < n));
  cut = cut < n ? cut : n - 1;
  float at0 = __shfl_sync(ALL, upto0, cut / 2), at1 = __shfl_sync(ALL, upto1, cut / 2);
  float mark = u * (cut % 2 ? at1 : at0);
  rank = __popc(__ballot_sync(ALL, !(upto0 > mark) && 2 * lane < cut)) +
         __popc(__ballot_sync(ALL, !(upto1 > mark) && 2 * lane + 1 < cut));
  return rank;
}

static __global__ void __launch_bounds__(SAMPLE_THREADS)
    merge_kernel(const uint2 *best, const float *u, int *id, int slices) {
  __shared__ chooser c;
  int row = (int)blockIdx.x, t = (int)threadIdx.x;
  merge_elements e;
#pragma unroll
  for (int i = 0; i < 2; i++) {
    int at = i * SAMPLE_THREADS + t;
    uint2 x = make_uint2(0, 0);
    if (at < slices * KEPT) x = best[row * 1024 + at];
    e.key[i] = x.x;
    e.at[i] = (int)x.y;
  }
  int n = choose(c, e);
  if (t >= WARP) return;
  int rank = pick(c, n, u[row]);
  if (t == 0) id[row] = (int)reversed((int)(c.best[rank] & ((1u << INDEX_BITS) - 1u)));
}

static bool sample_supports(const fc_problem *p, const fc_machine *machine, char *why) {
  (void)machine;
  if (p->c.n <= (int64_t)SLICES_MAX * 32 * SAMPLE_THREADS && p->c.m <= 65535) return true;
  (void)snprintf(why, FC_WHY, "at most %d logits a row and 65535 rows", SLICES_MAX * 32 * SAMPLE_THREADS);
  return false;
}

static int sample(const fc_problem *p, const fc_args *a, void *state, fc_queue queue) {
  (void)state;
  const float *logits = (const float *)a->at[FC_SAMPLE_LOGITS];
  uint2 *best = (uint2 *)a->at[FC_SAMPLE_WORK];
  int n = (int)p->c.n, most = 16 * SAMPLE_THREADS, slices = (n + most - 1) / most;
  bool wide = slices > SLICES_MAX;
  if (wide) slices = SLICES_MAX;
  /* few rows: more and shorter slices, a quarter full at least, so that more multiprocessors read */
  int finer = (n + most / 4 - 1) / (most / 4);
  if (p->c.m * slices < 132) slices = finer < SLICES_MAX ? finer : SLICES_MAX;
  int length = (n + slices - 1) / slices;
  length = (length + 3) / 4 * 4;
  slices = (n + length - 1) / length;
  dim3 grid((unsigned)slices, (unsigned)p->c.m), block(SAMPLE_THREADS);
  int error;
  if (n % 4 == 0)
    error = wide ? FC_LAUNCH((slice_kernel<32, true>), grid, block, 0, queue, logits, best, n, length)
                 : FC_LAUNCH((slice_kernel<16, true>), grid, block, 0, queue, logits, best, n, length);
  else
    error = wide ? FC_LAUNCH((slice_kernel<32, false>), grid, block, 0, queue, logits, best, n, length)
                 : FC_LAUNCH((slice_kernel<16, false>), grid, block, 0, queue, logits, best, n, length);
  if (error) return error;
  return FC_LAUNCH(merge_kernel, dim3((unsigned)p->c.m), block, 0, queue, (const uint2 *)best,
                   (const float *)a->at[FC_SAMPLE_U], (int *)a->at[FC_SAMPLE_ID], slices);
}

static const fc_implementation items[] = {
    {FC_BENCH_TOPK, "fused", topk_supports, nullptr, topk, nullptr},
    {FC_BENCH_TOPK_B, "fused", topk_supports, nullptr, topk_b, nullptr},
    {FC_BENCH_SAMPLE, "fused", sample_supports, nullptr, sample, nullptr},
};
extern "C" const fc_implementations fc_cuda_router;
const fc_implementations fc_cuda_router = {sizeof items / sizeof *items, items};
