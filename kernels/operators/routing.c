/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/kernels/routing.h>

#include <fleetcast/base/assert.h>

#include <math.h>

/* G experts, T tokens, k pairs a token, R rows */

/* Streams of fc_fill_bits, apart from those of tensors 0 .. FC_TENSORS_MAX - 1. */
enum { STREAM_SHUFFLE = 1001, STREAM_CAPTURE, STREAM_DRAW, STREAM_SWAP };

enum { SWAP_PASSES = 4 };

/* Rows that each of the 64 experts of a layer got: OLMoE-1B-7B-0924, layer 0, 8 experts a token, 4,471 tokens
 * of 25 GSM8K questions and their answers; the most loaded has 5.1 times the mean, the least 0.3 times.
 * @source public router log KaxitPandya/cerebras-assesment2, moe_routes.jsonl, commit e89e8f6, counted by
 * expert and sorted; warm-up tokens (eight equal weights) left out.  One layer of one model on one task */
static const double captured[] = {2841, 1247, 1180, 1170, 1163, 1116, 1027, 983, 799, 777, 658, 658, 644,
                                  628,  618,  612,  597,  595,  590,  584,  574, 561, 556, 545, 542, 529,
                                  522,  510,  509,  507,  485,  478,  472,  464, 459, 458, 455, 448, 428,
                                  404,  403,  390,  389,  386,  370,  352,  350, 349, 346, 346, 344, 337,
                                  320,  316,  306,  285,  262,  257,  256,  224, 213, 197, 196, 181};

static int64_t below(uint64_t bits, int64_t n) {
  return (int64_t)((double)(bits >> 11) * 0x1p-53 * (double)n);
}

/* The i-th of g experts takes a load of the i-th of g equal parts of the sorted
 * capture, whichever the bits choose: with 64 experts the capture itself, with
 * fewer a fair sample of it, with more each load several times. */
static double captured_load(int64_t i, int64_t g, uint64_t bits) {
  int64_t n = (int64_t)(sizeof captured / sizeof *captured);
  return captured[(i * (1 << 20) + below(bits, 1 << 20)) * n / (g << 20)];
}

/* Cumulative load over the experts in shuffled places.  Whole numbers:
 * the same on machines whose pow() differs in its last bit. */
static void cumulate(const fc_bench_case *c, uint64_t seed, double *upto) {
  int64_t g = c->groups;
  for (int64_t i = 0; i < g; i++) {
    double load = c->routing == FC_ROUTING_POWER
                      ? pow((double)(i + 1), -c->skew)
                      : captured_load(i, g, fc_fill_bits(seed, STREAM_CAPTURE, (uint64_t)i)) / 4096;
    upto[i] = floor(load * 0x1p32 + 0.5);
  }
  for (int64_t i = g - 1; i > 0; i--) {
    int64_t j = below(fc_fill_bits(seed, STREAM_SHUFFLE, (uint64_t)i), i + 1);
    double other = upto[i];
    upto[i] = upto[j];
    upto[j] = other;
  }
  for (int64_t i = 1; i < g; i++) upto[i] += upto[i - 1];
}

void fc_routing_counts(const fc_bench_case *c, uint64_t seed, int64_t rows, int32_t *counts) {
  int64_t g = c->groups;
  FC_ASSERT(g >= 1 && g <= FC_ROUTING_GROUPS_MAX && rows >= 0);
  bool draw = c->routing != FC_ROUTING_BALANCED;
  for (int64_t i = 0; i < g; i++) counts[i] = draw ? 0 : (int32_t)(rows / g + (i < rows % g ? 1 : 0));
  if (!draw) return;
  double upto[FC_ROUTING_GROUPS_MAX];
  cumulate(c, seed, upto);
  for (int64_t r = 0; r < rows; r++) {
    double x = (double)(fc_fill_bits(seed, STREAM_DRAW, (uint64_t)r) >> 11) * 0x1p-53 * upto[g - 1];
    int64_t low = 0, high = g - 1; /* first expert with x < upto */
    while (low < high) {
      int64_t mid = (low + high) / 2;
      if (x < upto[mid])
        high = mid;
      else
        low = mid + 1;
    }
    counts[low]++;
  }
}

void fc_routing_counts_distinct(const fc_bench_case *c, uint64_t seed, int64_t tokens, int32_t *counts) {
  fc_routing_counts(c, seed, c->m, counts);
  int64_t excess = 0, space = 0;
  for (int64_t i = 0; i < c->groups; i++) {
    if (counts[i] > tokens) {
      excess += counts[i] - tokens;
      counts[i] = (int32_t)tokens;
    }
    space += tokens - counts[i];
  }
  /* shares of the remaining space: floor(space_i * excess / space) with both taken down as they are used, so
   * that the last one with space takes what is left */
  for (int64_t i = 0; i < c->groups && excess > 0 && space > 0; i++) {
    int64_t room = tokens - counts[i];
    int64_t moved = (int64_t)((double)room * (double)excess / (double)space);
    if (moved > room) moved = room;
    if (excess - moved > space - room) moved = excess - (space - room);
    counts[i] += (int32_t)moved;
    excess -= moved;
    space -= room;
  }
}

bool fc_routing_possible(const fc_bench_case *c, int64_t tokens) {
  int64_t most = c->top_k < c->groups ? c->top_k : c->groups;
  return c->groups >= 1 && c->groups <= FC_ROUTING_GROUPS_MAX && c->top_k >= 1 && tokens >= 1 && c->m >= 0 &&
         c->m <= tokens * most;
}

static bool has(const int32_t *token, int64_t k, int64_t except, int32_t expert) {
  bool found = false;
  for (int64_t j = 0; j < k; j++) found = found || (j != except && token[j] == expert);
  return found;
}

/* Swapping the entries of two slots keeps every expert's count; a swap that would name an expert twice is
 * left out.  Each passing state is as likely as the next: the moves are symmetric. */
static void mix(uint64_t seed, int64_t tokens, int64_t k, int32_t *idx) {
  int64_t slots = tokens * k;
  for (int64_t i = 0; i < slots * SWAP_PASSES; i++) {
    int64_t a = i % slots, b = below(fc_fill_bits(seed, STREAM_SWAP, (uint64_t)i), slots);
    int32_t x = idx[a], y = idx[b];
    if (x >= 0 && has(idx + b / k * k, k, b % k, x)) continue;
    if (y >= 0 && has(idx + a / k * k, k, a % k, y)) continue;
    idx[a] = y;
    idx[b] = x;
  }
}

void fc_routing_choose(const fc_bench_case *c, uint64_t seed, int64_t tokens, int32_t *idx) {
  int64_t k = c->top_k, dealt = 0;
  for (int64_t i = 0; i < tokens * k; i++) idx[i] = -1;
  FC_ASSERT(fc_routing_possible(c, tokens));
  int32_t counts[FC_ROUTING_GROUPS_MAX];
  fc_routing_counts_distinct(c, seed, tokens, counts);
  /* an expert's pairs go to successive tokens, round and
   * round: at most `tokens` of them, hence to distinct ones */
  for (int64_t g = 0; g < c->groups; g++)
    for (int32_t i = 0; i < counts[g]; i++, dealt++) idx[dealt % tokens * k + dealt / tokens] = (int32_t)g;
  mix(seed, tokens, k, idx);
}

int64_t fc_routing_padded(const int32_t *counts, int64_t groups, int32_t *offsets) {
  int64_t p = 0;
  for (int64_t g = 0; g < groups; g++) {
    if (offsets) offsets[g] = (int32_t)p;
    p += ((int64_t)counts[g] + FC_ROUTING_ALIGN - 1) / FC_ROUTING_ALIGN * FC_ROUTING_ALIGN;
  }
  if (offsets) offsets[groups] = (int32_t)p;
  return p;
}
