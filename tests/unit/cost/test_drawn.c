/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include <math.h>

#include <fleetcast/cost/drawn.h>

/* Which experts an iteration reads (cost/drawn.h). */

Test(drawn, random_choice_of_equals) {
  for (double tokens = 1; tokens < 1e4; tokens *= 3) {
    double expected = 1 - pow(1 - 8.0 / 256, tokens);
    double share = fc_moe_drawn(tokens, 8, 256, 0);
    cr_assert(fabs(share - expected) < 1e-9, "%g tokens: %g, not %g", tokens, share, expected);
  }
}

Test(drawn, one_token_wakes_what_it_chooses) {
  cr_assert(fabs(fc_moe_drawn(1, 8, 256, 1.2) * 256 - 8) < 1e-9);
  cr_assert(fabs(fc_moe_drawn(1, 4, 128, 1) * 128 - 4) < 1e-9);
}

Test(drawn, grows_evenly_with_tokens) {
  double before = fc_moe_drawn(1, 8, 256, 1.2), step = 1;
  for (double tokens = 2; tokens <= 256; tokens++) {
    double share = fc_moe_drawn(tokens, 8, 256, 1.2);
    cr_assert(share > before && share <= 1, "%g tokens: %g after %g", tokens, share, before);
    cr_assert(share - before <= step, "%g tokens: a jump of %g after one of %g", tokens, share - before,
              step);
    step = share - before;
    before = share;
  }
}

Test(drawn, popularity_leaves_more_idle) {
  for (double tokens = 2; tokens < 1000; tokens *= 2) {
    double even = fc_moe_drawn(tokens, 8, 256, 0), mild = fc_moe_drawn(tokens, 8, 256, 0.6),
           strong = fc_moe_drawn(tokens, 8, 256, 1.2);
    cr_assert(even > mild && even > strong, "%g tokens: %g, %g, %g", tokens, even, mild, strong);
  }
}

Test(drawn, few_experts) {
  cr_assert(fabs(fc_moe_drawn(5, 1, 1, 1.2) - 1) < 1e-12);
  double share = fc_moe_drawn(3, 2, 8, 1.2);
  cr_assert(share > 0.25 && share < 0.75, "%g", share);
}
