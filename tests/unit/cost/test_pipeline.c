/* SPDX-License-Identifier: Apache-2.0 */
/* The bubble formulas as published; tests/unit/train/test_schedule.c holds every schedule to them, pass by
 * pass. */
#include <criterion/criterion.h>
#include <math.h>

#include <fleetcast/cost/train_step.h>

static void near(double got, double want, const char *what) {
  cr_assert(fabs(got - want) <= 1e-9 * fmax(1, fabs(want)), "%s: %.12g, expected %.12g", what, got, want);
}

Test(pipeline, formulas_of_the_readme) {
  fc_pipeline_pass t = {.forward_s = 1, .backward_s = 2, .weight_s = 0.9, .overlapped_s = 2.5};
  near(fc_pipeline_bubble_s(FC_SCHEDULE_1F1B, 8, 1, &t), 7 * 3.0, "1F1B");
  near(fc_pipeline_bubble_s(FC_SCHEDULE_INTERLEAVED, 8, 4, &t), 7 * 3.0 / 4, "interleaved");
  near(fc_pipeline_bubble_s(FC_SCHEDULE_ZB1P, 8, 1, &t), 7 * (3 - 1.8), "ZB1P");
  near(fc_pipeline_bubble_s(FC_SCHEDULE_DUALPIPE, 8, 1, &t), 3 * (2.5 + 2 - 2.7), "DualPipe");
  near(fc_pipeline_bubble_s(FC_SCHEDULE_DUALPIPEV, 8, 1, &t), 3 * (2.5 + 2 - 2.7), "DualPipeV");
  near(fc_pipeline_bubble_s(FC_SCHEDULE_1F1B, 1, 1, &t), 0, "one stage");
}
