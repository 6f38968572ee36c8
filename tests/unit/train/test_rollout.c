/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>

#include <fleetcast/base/rng.h>
#include <fleetcast/train/rollout.h>

enum { STEPS = 4000, LAG_MAX = 5 };

/* Step by step: rollouts begin when the pool is free and weights are new enough, updates when the last answer
 * is there. */
static double played_s(const fc_rollout_pool *p) {
  static double published[STEPS];
  double begin = 0, end = 0, half = 0;
  for (int64_t i = 0; i < STEPS; i++) {
    if (i > 0) begin += p->generate_s + p->publish_s;
    if (i > p->lag) begin = fmax(begin, published[i - p->lag - 1]);
    end = fmax(end, begin + p->wait * p->generate_s) + p->update_s;
    published[i] = end + p->publish_s;
    if (i == STEPS / 2 - 1) half = end;
  }
  return (end - half) / (0.5 * STEPS);
}

Test(rollout, the_long_run_is_the_heaviest_circuit) {
  for (uint64_t i = 0; i < 500; i++) {
    fc_rng rng = fc_rng_keyed(7, FC_STREAM_JOB, i, 0);
    fc_rollout_pool p = {.generate_s = 1 + 9 * fc_rng_uniform(&rng),
                         .wait = 1 + 2 * fc_rng_uniform(&rng),
                         .update_s = 1 + 9 * fc_rng_uniform(&rng),
                         .publish_s = fc_rng_uniform(&rng),
                         .lag = (int64_t)(fc_rng_uniform(&rng) * LAG_MAX)};
    double cycle = fc_rollout_cycle_s(&p), played = played_s(&p);
    cr_assert_float_eq(played / cycle, 1, 2e-3, "case %llu: %g, %g", (unsigned long long)i, played, cycle);
  }
}

Test(rollout, lag_hides_what_is_shorter) {
  fc_rollout_pool p = {.generate_s = 10, .wait = 1.5, .update_s = 4, .publish_s = 1};
  cr_assert_eq(fc_rollout_cycle_s(&p), 20); /* on-policy: one after the other, to the last answer */
  p.lag = 1;
  cr_assert_eq(fc_rollout_cycle_s(&p), 11); /* the pool is never idle, but for new weights */
  p.lag = 100;
  cr_assert_eq(fc_rollout_cycle_s(&p), 11);
  p.update_s = 30;
  cr_assert_eq(fc_rollout_cycle_s(&p), 30);
}
