/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include <fleetcast/kernels/routing.h>

static int64_t sum(const int32_t *x, int64_t n) {
  int64_t s = 0;
  for (int64_t i = 0; i < n; i++) s += x[i];
  return s;
}

static int64_t most(const int32_t *x, int64_t n) {
  int64_t m = 0;
  for (int64_t i = 0; i < n; i++) m = x[i] > m ? x[i] : m;
  return m;
}

Test(routing, counts_sum_to_the_rows) {
  static const fc_routing all[] = {FC_ROUTING_BALANCED, FC_ROUTING_POWER, FC_ROUTING_CAPTURED};
  for (int r = 0; r < 3; r++)
    for (int64_t groups = 1; groups <= 256; groups *= 2)
      for (int64_t rows = 0; rows < 5000; rows += 617) {
        fc_bench_case c = {.groups = groups, .routing = all[r], .skew = 1.2};
        int32_t counts[FC_ROUTING_GROUPS_MAX], offsets[FC_ROUTING_GROUPS_MAX + 1];
        fc_routing_counts(&c, 7, rows, counts);
        cr_assert_eq(sum(counts, groups), rows);
        if (r == 0) cr_assert(most(counts, groups) <= rows / groups + 1, "balanced");
        int64_t padded = fc_routing_padded(counts, groups, offsets);
        cr_assert_eq(padded, offsets[groups]);
        for (int64_t g = 0; g < groups; g++)
          cr_assert(offsets[g] % FC_ROUTING_ALIGN == 0 && offsets[g + 1] - offsets[g] >= counts[g]);
      }
}

/* Load of the busiest expert, as drawn, against its expectation:
 * share * rows, within five standard deviations. */
Test(routing, a_power_law_has_its_head) {
  enum { G = 32, ROWS = 100000 };
  static const double skews[] = {0, 1.01, 1.2};
  for (int i = 0; i < 3; i++) {
    double total = 0;
    for (int g = 1; g <= G; g++) total += pow(g, -skews[i]);
    fc_bench_case c = {.groups = G, .routing = FC_ROUTING_POWER, .skew = skews[i]};
    int32_t counts[G];
    fc_routing_counts(&c, 11, ROWS, counts);
    double want = ROWS / total, sd = sqrt(ROWS * (1 / total) * (1 - 1 / total));
    double got = (double)most(counts, G);
    /* without a skew the busiest of 32 equals lies some deviations above the mean */
    cr_assert(got > want - 5 * sd && got < want + 5 * sd, "skew %g: busiest %g, expected %g +- %g", skews[i],
              got, want, sd);
  }
}

Test(routing, chosen_experts_are_distinct_and_as_many_as_asked) {
  fc_bench_case c = {.groups = 32, .top_k = 8, .m = 500, .k = 100, .routing = FC_ROUTING_POWER, .skew = 1.01};
  cr_assert(fc_routing_possible(&c, c.k));
  int32_t *idx = malloc(sizeof *idx * 800), want[32], got[32] = {0};
  cr_assert(idx);
  fc_routing_choose(&c, 3, c.k, idx);
  fc_routing_counts_distinct(&c, 3, c.k, want);
  int64_t local = 0;
  for (int t = 0; t < 100; t++)
    for (int i = 0; i < 8; i++) {
      int32_t e = idx[8 * t + i];
      cr_assert(e >= -1 && e < 32);
      if (e < 0) continue;
      local++;
      got[e]++;
      for (int j = 0; j < i; j++) cr_assert_neq(idx[8 * t + j], e, "token %d has expert %d twice", t, e);
    }
  cr_assert_eq(local, c.m);
  cr_assert_arr_eq(got, want, sizeof got);
  free(idx);
  c.m = 801;
  cr_assert_not(fc_routing_possible(&c, c.k));
}

Test(routing, the_seed_decides) {
  fc_bench_case c = {.groups = 16, .routing = FC_ROUTING_CAPTURED};
  int32_t a[16], b[16], other[16];
  fc_routing_counts(&c, 1, 4096, a);
  fc_routing_counts(&c, 1, 4096, b);
  fc_routing_counts(&c, 2, 4096, other);
  cr_assert_arr_eq(a, b, sizeof a);
  int differ = 0;
  for (int i = 0; i < 16; i++) differ += a[i] != other[i];
  cr_assert(differ > 0);
}
