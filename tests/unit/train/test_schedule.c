/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules pass by pass against the bubble formulas, laws of any schedule, and failing allocations. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include <fleetcast/base/rng.h>
#include <fleetcast/cost/train_step.h>
#include <fleetcast/train/schedule.h>

enum { STAGES_MAX = 64, RANKS_MAX = 16 };

static const fc_schedule all[] = {FC_SCHEDULE_1F1B, FC_SCHEDULE_INTERLEAVED, FC_SCHEDULE_ZB1P,
                                  FC_SCHEDULE_DUALPIPE, FC_SCHEDULE_DUALPIPEV};
static const char *const name[] = {"1f1b", "interleaved", "zb1p", "dualpipe", "dualpipev"};
enum { SCHEDULES = sizeof all / sizeof *all };

static void near(double got, double want, const char *what, fc_schedule s, int p, int v, int m) {
  cr_assert(fabs(got - want) <= 1e-9 * fmax(1, fabs(want)),
            "%s: %s is %.12g, expected %.12g (p %d, v %d, m %d)", name[s], what, got, want, p, v, m);
}

static fc_pipeline *open_(fc_schedule s, int p, int v, int m) {
  fc_pipeline *pipeline;
  cr_assert_eq(fc_pipeline_new(&pipeline, s, p, v, m), FC_OK, "%s p %d v %d m %d", name[s], p, v, m);
  return pipeline;
}

/* Uniform stages: `t` is of one stage, whatever a rank holds. */
static fc_pipeline_run uniform(fc_pipeline *pipeline, const fc_pipeline_pass *t, double saved) {
  fc_stage_pass stage[STAGES_MAX];
  for (int i = 0; i < STAGES_MAX; i++)
    stage[i] = (fc_stage_pass){.forward_s = t->forward_s,
                               .input_s = t->backward_s - t->weight_s,
                               .weight_s = t->weight_s,
                               .pair_forward_s = t->forward_s - saved,
                               .pair_backward_s = t->backward_s};
  fc_pipeline_run run;
  fc_pipeline_play(&run, pipeline, stage, 0, NULL);
  return run;
}

Test(schedule, one_f_one_b_idles_as_its_formula_says) {
  static const fc_pipeline_pass t = {.forward_s = 1.3, .backward_s = 2.9, .weight_s = 1.1};
  for (int p = 1; p <= RANKS_MAX; p++)
    for (int m = p; m <= 4 * p + 3; m++) {
      fc_pipeline *pipeline = open_(FC_SCHEDULE_1F1B, p, 1, m);
      fc_pipeline_run run = uniform(pipeline, &t, 0);
      double bubble = fc_pipeline_bubble_s(FC_SCHEDULE_1F1B, p, 1, &t);
      near(run.makespan_s, m * 4.2 + bubble, "makespan", FC_SCHEDULE_1F1B, p, 1, m);
      for (int r = 0; r < p; r++) {
        near(run.idle_s[r], bubble, "idle", FC_SCHEDULE_1F1B, p, 1, m);
        near(run.peak[r], p - r, "activations", FC_SCHEDULE_1F1B, p, 1, m);
      }
      fc_pipeline_free(pipeline);
    }
}

Test(schedule, interleaved_idles_as_its_formula_says) {
  static const fc_pipeline_pass t = {.forward_s = 1, .backward_s = 2, .weight_s = 1};
  for (int p = 2; p <= RANKS_MAX; p++)
    for (int v = 2; v <= 4; v++)
      for (int m = p; m <= 4 * p; m += p) {
        fc_pipeline *pipeline = open_(FC_SCHEDULE_INTERLEAVED, p, v, m);
        fc_pipeline_run run = uniform(pipeline, &t, 0);
        fc_pipeline_pass rank = {.forward_s = v, .backward_s = 2.0 * v, .weight_s = v};
        double bubble = fc_pipeline_bubble_s(FC_SCHEDULE_INTERLEAVED, p, v, &rank);
        near(run.makespan_s, m * 3.0 * v + bubble, "makespan", FC_SCHEDULE_INTERLEAVED, p, v, m);
        if (m >= 2 * p) /* arXiv:2205.05198, section 4.2.3: 1 + (p-1)/(p v) of p stages' activations */
          near(run.peak[0], v * (p + (p - 1.0) / v), "activations", FC_SCHEDULE_INTERLEAVED, p, v, m);
        fc_pipeline_free(pipeline);
      }
}

Test(schedule, zb1p_idles_as_its_formula_says) {
  static const fc_pipeline_pass t = {.forward_s = 1, .backward_s = 2, .weight_s = 1};
  for (int p = 1; p <= RANKS_MAX; p++)
    for (int m = 2 * p; m <= 5 * p + 3; m++) {
      fc_pipeline *pipeline = open_(FC_SCHEDULE_ZB1P, p, 1, m);
      fc_pipeline_run run = uniform(pipeline, &t, 0);
      double bubble = fc_pipeline_bubble_s(FC_SCHEDULE_ZB1P, p, 1, &t);
      near(run.makespan_s, m * 3.0 + bubble, "makespan", FC_SCHEDULE_ZB1P, p, 1, m);
      for (int r = 0; r < p; r++) {
        near(run.idle_s[r], bubble, "idle", FC_SCHEDULE_ZB1P, p, 1, m);
        near(run.peak[r], p, "activations", FC_SCHEDULE_ZB1P, p, 1, m);
      }
      fc_pipeline_free(pipeline);
    }
}

/* `stages` is the README's PP: the ranks of DualPipe, twice those of DualPipeV. */
static void dual(fc_schedule s, int ranks, int stages, int m, double saved) {
  fc_pipeline_pass t = {.forward_s = 1, .backward_s = 2, .weight_s = 1, .overlapped_s = 3 - saved};
  fc_pipeline *pipeline = open_(s, ranks, 1, m);
  fc_pipeline_run run = uniform(pipeline, &t, saved);
  double bubble = fc_pipeline_bubble_s(s, stages, 1, &t), passes = s == FC_SCHEDULE_DUALPIPEV ? 2.0 * m : m;
  near(run.makespan_s, (passes - stages - 1) * t.overlapped_s + (stages + 1) * 3.0 + bubble, "makespan", s,
       ranks, 1, m);
  int middle = s == FC_SCHEDULE_DUALPIPEV ? ranks - 1 : ranks / 2; /* where neither flow enters */
  near(run.idle_s[middle], bubble, "idle", s, ranks, 1, m);
  double most = 0;
  for (int r = 0; r < ranks; r++) most = fmax(most, run.peak[r]);
  near(most, stages + 1, "activations", s, ranks, 1, m);
  fc_pipeline_free(pipeline);
}

Test(schedule, dualpipe_idles_as_its_formula_says) {
  for (int p = 2; p <= RANKS_MAX; p += 2)
    for (int m = 2 * p; m <= 5 * p; m += 2)
      dual(FC_SCHEDULE_DUALPIPE, p, p, m, 0), dual(FC_SCHEDULE_DUALPIPE, p, p, m, 0.4);
  dual(FC_SCHEDULE_DUALPIPE, 16, 16, 120, 0.4);
}

Test(schedule, dualpipev_idles_as_its_formula_says) {
  for (int p = 1; p <= RANKS_MAX; p++)
    for (int m = 2 * p; m <= 5 * p; m++)
      dual(FC_SCHEDULE_DUALPIPEV, p, 2 * p, m, 0), dual(FC_SCHEDULE_DUALPIPEV, p, 2 * p, m, 0.4);
}

/* --- laws of any schedule, times drawn --- */

static void draw(fc_stage_pass *stage, double *factor, int stages, int m, fc_rng *rng) {
  for (int i = 0; i < stages; i++) {
    stage[i] = (fc_stage_pass){
        .forward_s = fc_rng_uniform(rng), .input_s = fc_rng_uniform(rng), .weight_s = fc_rng_uniform(rng)};
    stage[i].pair_forward_s = stage[i].forward_s * (0.5 + 0.5 * fc_rng_uniform(rng));
    stage[i].pair_backward_s = stage[i].input_s + stage[i].weight_s;
  }
  for (int i = 0; i < stages * m; i++) factor[i] = 1 + fc_rng_uniform(rng);
}

static void laws(fc_schedule s, int p, int v, int m, fc_rng *rng) {
  fc_pipeline *pipeline = open_(s, p, v, m);
  int stages = (int)fc_pipeline_stages(pipeline);
  fc_stage_pass stage[STAGES_MAX];
  double *factor = calloc((size_t)(stages * m), sizeof *factor);
  cr_assert_not_null(factor);
  draw(stage, factor, stages, m, rng);
  fc_pipeline_run run;
  fc_pipeline_play(&run, pipeline, stage, 0.1, factor);
  const fc_critical *c = &run.critical;
  near(c->forward_s + c->backward_s + c->weight_s + c->pair_s + c->hand_over_s, run.makespan_s,
       "critical path", s, p, v, m);
  double work = 0, one = 0, held = 0;
  for (int i = 0; i < stages; i++) {
    double pair = fmin(stage[i].forward_s, stage[i].pair_forward_s) + stage[i].input_s + stage[i].weight_s;
    for (int k = 0; k < m; k++) work += factor[i * m + k] * pair;
    one += factor[i * m] * (stage[i].forward_s + stage[i].input_s);
  }
  for (int r = 0; r < p; r++) {
    cr_assert(run.idle_s[r] >= -1e-9 && run.idle_s[r] < run.makespan_s, "%s", name[s]);
    held = fmax(held, run.peak[r]);
  }
  cr_assert(run.makespan_s >= work / p - 1e-9 && (s >= FC_SCHEDULE_DUALPIPE || run.makespan_s >= one - 1e-9));
  cr_assert(held <= stages * m && held >= 1);
  /* the same again; no hand-over is no slower; twice the times are twice the makespan */
  double before = run.makespan_s;
  fc_pipeline_play(&run, pipeline, stage, 0.1, factor);
  cr_assert_eq(run.makespan_s, before, "a run depends on the last one");
  for (int i = 0; i < stages * m; i++) factor[i] *= 2;
  fc_pipeline_play(&run, pipeline, stage, 0.2, factor);
  near(run.makespan_s, 2 * before, "doubled", s, p, v, m);
  fc_pipeline_play(&run, pipeline, stage, 0, factor);
  cr_assert_leq(run.makespan_s, 2 * before + 1e-9);
  free(factor);
  fc_pipeline_free(pipeline);
}

Test(schedule, laws_hold_for_drawn_times) {
  fc_rng rng = fc_rng_keyed(7, FC_STREAM_TEST, 0, 0);
  for (int i = 0; i < 400; i++) {
    fc_schedule s = all[i % SCHEDULES];
    int p = 1 + (int)(fc_rng_uniform(&rng) * 8), v = 1, m = 1 + (int)(fc_rng_uniform(&rng) * 30);
    if (s == FC_SCHEDULE_INTERLEAVED) v = 1 + (int)(fc_rng_uniform(&rng) * 4), m = p * (1 + m / 8);
    if (s == FC_SCHEDULE_DUALPIPE) p = 2 * p, m = 2 * p + 2 * m;
    if (s == FC_SCHEDULE_DUALPIPEV) m += 2 * p;
    laws(s, p, v, m, &rng);
  }
}

Test(schedule, a_slow_stage_sets_the_pace) {
  fc_stage_pass stage[8];
  for (int i = 0; i < 8; i++)
    stage[i] = (fc_stage_pass){
        .forward_s = 1, .input_s = 1, .weight_s = 1, .pair_forward_s = 1, .pair_backward_s = 2};
  stage[5].forward_s = 2;
  fc_pipeline *pipeline = open_(FC_SCHEDULE_1F1B, 8, 1, 64);
  fc_pipeline_run run;
  fc_pipeline_play(&run, pipeline, stage, 0, NULL);
  cr_assert(run.makespan_s >= 64 * 4 + 5 + 10 && run.makespan_s < 64 * 4 + 40, "%g", run.makespan_s);
  cr_assert(run.idle_s[5] < run.idle_s[0]);
  fc_pipeline_free(pipeline);
}

Test(schedule, refuses_what_it_cannot_order) {
  static const struct {
    fc_schedule s;
    int64_t p, v, m;
  } bad[] = {{FC_SCHEDULE_1F1B, 0, 1, 4},         {FC_SCHEDULE_1F1B, 4, 1, 0},
             {FC_SCHEDULE_1F1B, 4, 2, 4},         {FC_SCHEDULE_INTERLEAVED, 4, 2, 6},
             {FC_SCHEDULE_DUALPIPE, 3, 1, 12},    {FC_SCHEDULE_DUALPIPE, 4, 1, 6},
             {FC_SCHEDULE_DUALPIPE, 4, 1, 9},     {FC_SCHEDULE_DUALPIPEV, 4, 1, 7},
             {FC_SCHEDULE_ZB1P, -1, 1, 7},        {FC_SCHEDULE_1F1B, 1, 1, 1 << 30},
             {FC_SCHEDULE_1F1B, INT64_MAX, 1, 2}, {FC_SCHEDULE_1F1B, 4, INT64_MAX, 2}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    fc_pipeline *pipeline = (fc_pipeline *)&bad;
    cr_assert_eq(fc_pipeline_new(&pipeline, bad[i].s, bad[i].p, bad[i].v, bad[i].m), FC_E_DOMAIN, "case %zu",
                 i);
    cr_assert_null(pipeline);
  }
  fc_pipeline_free(NULL);
}
