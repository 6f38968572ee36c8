/* SPDX-License-Identifier: Apache-2.0 */
/* How unevenly tokens load expert-parallel ranks. */
#include <math.h>

#include <criterion/criterion.h>

#include <fleetcast/cost/busiest.h>
#include <fleetcast/serve/experts.h>

static fc_expert_def deepseek(int64_t ranks, double skew) {
  return (fc_expert_def){.experts = 256,
                         .top_k = 8,
                         .ranks = ranks,
                         .layers = 58,
                         .groups = (double)ranks,
                         .skew = skew,
                         .most_tokens = 1024,
                         .seed = 1};
}

static fc_expert_load *load_of(const fc_expert_def *d) {
  fc_expert_load *l;
  cr_assert_eq(fc_expert_load_new(&l, d), FC_OK);
  return l;
}

static double mean_of(const fc_expert_def *d, double tokens) {
  fc_expert_load *l = load_of(d);
  double mean = fc_expert_load_mean(l, tokens);
  fc_expert_load_free(l);
  return mean;
}

Test(experts, many_tokens_with_one_taste_are_even) {
  fc_expert_def d = deepseek(32, 0);
  fc_expert_load *l = load_of(&d);
  double few = fc_expert_load_mean(l, 1), many = fc_expert_load_mean(l, 1024);
  cr_assert(many >= 1 && many < 1.05, "%g", many);
  cr_assert_gt(few, many); /* chance alone loads one more than the others */
  for (int i = 0; i < 30; i++) {
    double t = pow(1.3, i);
    cr_assert_geq(fc_expert_load_mean(l, t), 1);
    cr_assert(fc_expert_load_cv(l, t) >= 0 && fc_expert_load_cv(l, t) < 0.2);
  }
  fc_expert_load_free(l);
}

Test(experts, balance_beats_chance_and_copies_beat_both) {
  for (int tokens = 16; tokens <= 1024; tokens *= 4) {
    fc_expert_def d = deepseek(32, 1.2);
    double plain = mean_of(&d, tokens);
    d.eplb = true;
    double packed = mean_of(&d, tokens);
    d.redundant = 32;
    double copied = mean_of(&d, tokens);
    cr_assert(plain > packed && packed > copied && copied >= 1, "%d tokens: %g, %g, %g", tokens, plain,
              packed, copied);
  }
}

Test(experts, more_skew_is_less_even) {
  double before = 1;
  static const double skew[] = {0, 0.3, 0.6, 1.01};
  for (size_t i = 0; i < sizeof skew / sizeof *skew; i++) {
    fc_expert_def d = deepseek(64, skew[i]);
    double mean = mean_of(&d, 256);
    cr_assert_gt(mean, before, "skew %g: %g after %g", skew[i], mean, before);
    before = mean;
  }
}

/* Experts of EP128 in decode take 0.238 ms under a power law of 1.01 and 0.060 ms balanced (public operator
 * tables): the busiest rank has at least as many times the rows, since part of the time does not grow with
 * them, and about those of the estimate that the tables are read with; copies recover most of it. */
Test(experts, ep128_of_the_operator_tables) {
  fc_expert_def d = deepseek(128, 1.01);
  double plain = mean_of(&d, 128), rows, hit, tokens = 128 * 128;
  fc_moe_busiest(&rows, &hit, tokens, 8, 256, 128, 1.01);
  double estimate = rows * 128 / (8 * tokens);
  d.eplb = true;
  d.redundant = 128;
  double copied = mean_of(&d, 128);
  cr_assert_gt(plain, 0.238 / 0.060);
  cr_assert(fabs(log(plain / estimate)) < 0.3, "%g times the mean, estimated %g", plain, estimate);
  cr_assert(copied - 1 < 0.1 * (plain - 1), "%g against %g", copied, plain);
}

Test(experts, layers_average_out) {
  fc_expert_def one = deepseek(32, 1.2), many = one;
  one.layers = 1;
  many.layers = 100;
  fc_expert_load *a = load_of(&one), *b = load_of(&many);
  cr_assert_gt(fc_expert_load_cv(a, 64), 0);
  cr_assert(fabs(fc_expert_load_cv(a, 64) / fc_expert_load_cv(b, 64) - 10) < 1e-9);
  cr_assert_eq(fc_expert_load_mean(a, 64), fc_expert_load_mean(b, 64));
  fc_expert_load_free(a);
  fc_expert_load_free(b);
}

Test(experts, seeds_differ_and_repeat) {
  fc_expert_def d = deepseek(16, 1.2), e = d;
  e.seed = 2;
  cr_assert_eq(mean_of(&d, 64), mean_of(&d, 64));
  cr_assert_neq(mean_of(&d, 64), mean_of(&e, 64));
}

Test(experts, nonsense_is_refused) {
  fc_expert_load *l;
  fc_expert_def d = deepseek(1, 1);
  cr_assert_eq(fc_expert_load_new(&l, &d), FC_E_DOMAIN);
  d = deepseek(512, 1);
  cr_assert_eq(fc_expert_load_new(&l, &d), FC_E_DOMAIN);
  d = deepseek(8, -1);
  cr_assert_eq(fc_expert_load_new(&l, &d), FC_E_DOMAIN);
  d = deepseek(8, 1);
  d.top_k = 257;
  cr_assert_eq(fc_expert_load_new(&l, &d), FC_E_DOMAIN);
  cr_assert_null(l);
}

Test(experts, shares_are_all_choices_and_none_takes_more_than_a_token_gives) {
  double share[256];
  for (int tokens = 4; tokens < 1000000; tokens *= 8)
    for (int tenths = 0; tenths < 20; tenths += 4) {
      fc_moe_popularity(share, 256, tokens, 8, 0.1 * tenths);
      double sum = 0;
      for (int i = 0; i < 256; i++) {
        cr_assert(share[i] > 0 && share[i] <= 1.0 / 8 + 1e-12);
        cr_assert(i == 0 || share[i] <= share[i - 1] * (1 + 1e-12));
        sum += share[i];
      }
      cr_assert(fabs(sum - 1) < 1e-9, "%d tokens, skew %d/10: %g", tokens, tenths, sum);
    }
}
