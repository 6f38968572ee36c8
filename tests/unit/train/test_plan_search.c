/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include <fleetcast/cost/train_step.h>
#include <fleetcast/train/plan_search.h>

#include "fixture_models.h"

static const fc_failure llama3 = {.device_mtbf_s = 50700 * 3600.0, .restart_s = 600, .checkpoint_write_s = 5};

#define H_USD_PER_S (2 / 3600.0)

/* Small enough for all graphs: two devices, three counts, few degrees. */
typedef struct {
  int64_t counts[3], batch[1], tp[2], pp[3], cp[1], chunks[2], micro[2], zero[2];
  fc_train_search_device device[2];
  fc_train_search_def def;
} scene;

static void set_scene(scene *s) {
  *s = (scene){.counts = {16, 32, 64},
               .batch = {128},
               .tp = {2, 4},
               .pp = {1, 2, 4},
               .cp = {1},
               .chunks = {2, 4},
               .micro = {1, 2},
               .zero = {0, 3}};
  s->device[0] = (fc_train_search_device){"h100", &fixture_h100_profile, 1.5 * H_USD_PER_S, 3, s->counts};
  s->device[1] = (fc_train_search_device){"h800", &fixture_h800_profile, H_USD_PER_S, 3, s->counts};
  s->def = (fc_train_search_def){.model = &fixture_llama_8b,
                                 .n_devices = 2,
                                 .devices = s->device,
                                 .tokens = 1e12,
                                 .base = {.sequence = 4096},
                                 .tp = {2, s->tp},
                                 .pp = {3, s->pp},
                                 .cp = {1, s->cp},
                                 .virtual_stages = {2, s->chunks},
                                 .micro_batch = {2, s->micro},
                                 .global_batch = {1, s->batch},
                                 .zero = {2, s->zero},
                                 .failure = llama3,
                                 .margin = 1,
                                 .threads = 1};
}

static fc_train_search_result run(const fc_train_search_def *def) {
  fc_train_search_result r;
  char why[256];
  fc_status status = fc_train_search_run(&r, def, why);
  cr_assert_eq(status, FC_OK, "%s", why);
  size_t sum = 0, reasons = 0;
  for (int i = 0; i < FC_TRAIN_STATES; i++) sum += r.count[i];
  for (size_t i = 0; i < r.n_reasons; i++) reasons += r.reason[i].count;
  cr_assert_eq(sum, r.tried);
  cr_assert_eq(reasons, r.count[FC_TRAIN_REFUSED]);
  return r;
}

/* --- against brute force --- */

typedef struct {
  double wall_s, usd;
  size_t tried, fits, refused;
} brute;

static void weigh(brute *b, const scene *s, size_t d, const fc_train_plan *p) {
  const fc_train_search_device *device = &s->device[d];
  fc_train_estimate e;
  b->tried++;
  if (fc_train_estimate_plan(&e, s->def.model, device->profile, p, &s->def.failure, NULL) != FC_OK) {
    b->refused++;
    return;
  }
  if (!e.fits) return;
  b->fits++;
  double wall = s->def.tokens / e.tokens_per_s / e.goodput;
  b->wall_s = fmin(b->wall_s, wall);
  b->usd = fmin(b->usd, wall * (double)p->devices * device->usd_per_s);
}

static void vary_rest(brute *b, const scene *s, size_t d, fc_train_plan p) {
  for (int schedule = FC_SCHEDULE_1F1B; schedule <= FC_SCHEDULE_DUALPIPEV; schedule++) {
    if (p.pp == 1 && schedule != FC_SCHEDULE_1F1B) continue;
    p.schedule = (fc_schedule)schedule;
    for (size_t v = 0; v < (schedule == FC_SCHEDULE_INTERLEAVED ? 2 : 1); v++)
      for (size_t m = 0; m < 2; m++)
        for (size_t z = 0; z < 2; z++)
          for (int r = FC_RECOMPUTE_NONE; r <= FC_RECOMPUTE_FULL; r++) {
            p.virtual_stages = schedule == FC_SCHEDULE_INTERLEAVED ? s->chunks[v] : 1;
            p.micro_batch = s->micro[m];
            p.zero = s->zero[z];
            p.recompute = (fc_recompute)r;
            weigh(b, s, d, &p);
          }
  }
}

static brute search_all(const scene *s) {
  brute b = {.wall_s = (double)INFINITY, .usd = (double)INFINITY};
  fc_train_plan p = {.cp = 1, .ep = 1, .sequence = 4096, .overlap = FC_TRAIN_OVERLAP, .expert_imbalance = 1};
  p.gemm = FC_DTYPE_BF16;
  p.global_batch = s->batch[0];
  for (size_t d = 0; d < 2; d++)
    for (size_t n = 0; n < 3; n++)
      for (size_t t = 0; t < 2; t++)
        for (size_t k = 0; k < 3; k++) {
          p.devices = s->counts[n];
          p.tp = s->tp[t];
          p.pp = s->pp[k];
          vary_rest(&b, s, d, p);
        }
  return b;
}

Test(plan_search, finds_what_brute_force_finds) {
  scene s;
  set_scene(&s);
  brute b = search_all(&s);
  s.def.exhaustive = true;
  fc_train_search_result r = run(&s.def);
  cr_expect_eq(r.tried, b.tried);
  cr_expect_eq(r.count[FC_TRAIN_REFUSED], b.refused);
  cr_expect_eq(r.count[FC_TRAIN_FEASIBLE], b.fits);
  cr_expect_eq(r.count[FC_TRAIN_MEMORY], b.tried - b.refused - b.fits);
  cr_expect_gt(r.count[FC_TRAIN_MEMORY], 0, "the scene has nothing that does not fit");
  cr_expect_float_eq(r.best[0].usd, b.usd, 1e-9 * b.usd);
  fc_train_search_result_fini(&r);
  s.def.objective = FC_TRAIN_FASTEST;
  r = run(&s.def);
  cr_expect_float_eq(r.best[0].wall_s, b.wall_s, 1e-9 * b.wall_s);
  fc_train_search_result_fini(&r);
}

static void expect_same(const fc_train_search_result *a, const fc_train_search_result *b) {
  cr_assert_eq(a->n, b->n);
  for (size_t i = 0; i < a->n; i++) {
    cr_expect_eq(a->best[i].wall_s, b->best[i].wall_s, "%zu", i);
    cr_expect_eq(a->best[i].usd, b->best[i].usd, "%zu", i);
    cr_expect_str_eq(a->best[i].why, b->best[i].why);
  }
  cr_expect_eq(a->runner_up.usd, b->runner_up.usd);
  cr_expect_str_eq(a->runner_up.why, b->runner_up.why);
  cr_expect_str_eq(a->answer, b->answer);
}

Test(plan_search, what_it_leaves_out_changes_nothing) {
  scene s;
  set_scene(&s);
  s.def.model = &fixture_llama_70b; /* recomputes */
  s.batch[0] = 256;
  s.def.exhaustive = true;
  fc_train_search_result all = run(&s.def);
  s.def.exhaustive = false;
  fc_train_search_result few = run(&s.def);
  expect_same(&all, &few);
  cr_expect_gt(few.count[FC_TRAIN_DOMINATED], 0);
  fc_train_search_result_fini(&few);
  s.def.margin = FC_TRAIN_SEARCH_MARGIN;
  few = run(&s.def);
  expect_same(&all, &few);
  cr_expect_lt(few.graphs, all.graphs);
  cr_expect_str_empty(few.nothing[0]);
  fc_train_search_result_fini(&few);
  fc_train_search_result_fini(&all);
}

Test(plan_search, threads_change_nothing) {
  scene s;
  set_scene(&s);
  fc_train_search_result one = run(&s.def);
  for (size_t threads = 2; threads <= 8; threads *= 2) {
    s.def.threads = threads;
    fc_train_search_result r = run(&s.def);
    expect_same(&one, &r);
    cr_expect_eq(r.graphs, one.graphs);
    cr_expect_arr_eq(r.count, one.count, sizeof r.count);
    fc_train_search_result_fini(&r);
  }
  fc_train_search_result_fini(&one);
}

/* --- what must follow from what --- */

Test(plan_search, front_is_the_front) {
  scene s;
  set_scene(&s);
  fc_train_search_result r = run(&s.def);
  size_t on = 0;
  cr_assert_eq(r.n, 6);
  for (size_t i = 0; i < r.n; i++) {
    bool beaten = false;
    for (size_t k = 0; k < r.n; k++)
      beaten = beaten || (r.best[k].usd < r.best[i].usd && r.best[k].wall_s < r.best[i].wall_s);
    cr_expect(!(r.best[i].front && beaten), "%zu", i);
    cr_expect(r.best[i].front || beaten, "%zu", i);
    on += r.best[i].front;
  }
  cr_expect(on > 1 && on < r.n, "%zu", on);
  cr_expect(r.best[0].front, "the cheapest is on it");
  fc_train_search_result_fini(&r);
}

Test(plan_search, more_memory_is_never_worse) {
  scene s;
  set_scene(&s);
  s.def.model = &fixture_llama_70b;
  double before = (double)INFINITY;
  bool changed = false;
  for (double share = 0.2; share <= 1; share += 0.1) {
    s.def.memory = share;
    fc_train_search_result r = run(&s.def);
    double usd = r.n_feasible_groups ? r.best[0].usd : (double)INFINITY;
    cr_expect(usd <= before, "%g of the memory: %g USD after %g", share, usd, before);
    changed = changed || usd < before;
    before = usd;
    fc_train_search_result_fini(&r);
  }
  cr_expect(changed && isfinite(before));
}

Test(plan_search, a_lower_price_never_makes_a_device_lose) {
  scene s;
  set_scene(&s);
  bool won = false, ever_lost = false;
  for (double price = 3; price > 0.3; price *= 0.8) {
    s.device[0].usd_per_s = price * H_USD_PER_S;
    fc_train_search_result r = run(&s.def);
    bool wins = r.best[0].device == 0;
    cr_expect(wins || !won, "at %g", price);
    ever_lost = ever_lost || !wins;
    won = won || wins;
    fc_train_search_result_fini(&r);
  }
  cr_expect(won && ever_lost);
}

Test(plan_search, limits) {
  scene s;
  set_scene(&s);
  fc_train_search_result open = run(&s.def);
  double cheapest = open.best[0].usd, before = (double)INFINITY;
  for (double days = 0.5; days < 4000; days *= 2) { /* a later deadline is never dearer */
    s.def.wall_s = days * 86400;
    fc_train_search_result r = run(&s.def);
    double usd = r.n_feasible_groups ? r.best[0].usd : (double)INFINITY;
    cr_expect(usd <= before && usd >= cheapest, "%g days", days);
    if (r.n_feasible_groups) cr_expect_leq(r.best[0].wall_s, s.def.wall_s);
    if (!r.n_feasible_groups) cr_expect(strstr(r.answer, "Nothing is within the limits. Nearest:"));
    before = usd;
    fc_train_search_result_fini(&r);
  }
  cr_expect_eq(before, cheapest, "no deadline at all");
  s.def.wall_s = 0;
  s.def.usd = 0.99 * cheapest;
  fc_train_search_result r = run(&s.def);
  cr_expect_eq(r.n_feasible_groups, 0);
  cr_expect_eq(r.count[FC_TRAIN_FEASIBLE], 0);
  cr_expect_eq(r.count[FC_TRAIN_DEAR], open.count[FC_TRAIN_FEASIBLE]);
  cr_expect(strstr(r.answer, "costs"), "%s", r.answer);
  fc_train_search_result_fini(&r);
  s.def.usd = 0;
  s.def.devices_max = 16;
  r = run(&s.def);
  cr_expect_eq(r.count[FC_TRAIN_DEVICES], 4);
  for (size_t i = 0; i < r.n; i++) cr_expect_eq(r.best[i].estimate.plan.devices, 16);
  fc_train_search_result_fini(&r);
  fc_train_search_result_fini(&open);
}

/* A runner-up is of another device or other degrees, and worse; its reason has numbers. */
Test(plan_search, runner_up) {
  scene s;
  set_scene(&s);
  fc_train_search_result r = run(&s.def);
  const fc_train_plan *p = &r.best[0].estimate.plan, *q = &r.runner_up.estimate.plan;
  cr_expect(r.runner_up.device != r.best[0].device || p->tp != q->tp || p->pp != q->pp);
  cr_expect_geq(r.runner_up.usd, r.best[0].usd);
  cr_expect(strstr(r.runner_up.why, "dearer"));
  cr_expect(strstr(r.runner_up.why, "chance of"));
  fc_train_search_result_fini(&r);
}

/* With exactly what a near miss lacks it is found. */
Test(plan_search, near_miss_wins_with_what_it_lacks) {
  scene s;
  set_scene(&s);
  s.def.model = &fixture_llama_70b;
  bool seen = false;
  for (double share = 0.3; share < 0.9 && !seen; share += 0.02) {
    s.def.memory = share;
    fc_train_search_result r = run(&s.def);
    for (size_t i = 0; i < r.n_near; i++) {
      const fc_train_candidate *c = &r.near[i];
      double has = s.device[c->device].profile->device->memory_bytes;
      if (share + c->short_bytes / has > 0.999) continue;
      s.def.memory = share + c->short_bytes / has + 1e-9;
      fc_train_search_result more = run(&s.def);
      cr_expect_leq(more.best[0].usd, c->usd * (1 + 1e-12));
      cr_expect(strstr(c->why, "GB more"));
      fc_train_search_result_fini(&more);
      seen = true;
    }
    fc_train_search_result_fini(&r);
  }
  cr_expect(seen, "no near miss in any scene");
}

Test(plan_search, chance_of_a_difference) {
  fc_train_candidate a = {.device = 0, .estimate = {.step_log_sd = 0.2}}, b = a;
  cr_expect_float_eq(fc_train_chance(&a, &b, 1), 0.5, 1e-12);
  double near = fc_train_chance(&a, &b, 1.1);
  cr_expect_float_eq(near + fc_train_chance(&b, &a, 1 / 1.1), 1, 1e-12);
  b.device = 1;
  cr_expect(fc_train_chance(&a, &b, 1.1) < near, "less is known of two devices than of one");
}

/* --- what cannot be --- */

Test(plan_search, nothing_fits_tells_by_how_much) {
  scene s;
  set_scene(&s);
  s.def.model = &fixture_llama_405b;
  fc_train_search_result r = run(&s.def);
  cr_expect_eq(r.n, 0);
  cr_expect(strstr(r.answer, "The leanest plan needs"), "%s", r.answer);
  cr_expect(strstr(r.nothing[0], "leanest") && strstr(r.nothing[1], "leanest"));
  fc_train_search_result_fini(&r);
  s.tp[0] = s.tp[1] = 3;
  r = run(&s.def);
  cr_expect_eq(r.count[FC_TRAIN_REFUSED], r.tried);
  cr_expect(strstr(r.answer, "must divide"), "%s", r.answer);
  cr_expect(strstr(r.nothing[0], "no plan can be"));
  fc_train_search_result_fini(&r);
}

Test(plan_search, formats_and_failures) {
  scene s;
  set_scene(&s);
  static const int64_t fp4[] = {FC_DTYPE_FP4};
  s.def.gemm = (fc_train_choices){1, fp4};
  fc_train_search_result r = run(&s.def);
  cr_expect_eq(r.count[FC_TRAIN_FORMAT], r.tried);
  fc_train_search_result_fini(&r);
  s.def.gemm = (fc_train_choices){0};
  s.def.failure.device_mtbf_s = 1;
  s.def.failure.restart_s = 1e6;
  r = run(&s.def);
  cr_expect_eq(r.count[FC_TRAIN_STANDSTILL], 6);
  cr_expect_eq(r.tried, 6);
  fc_train_search_result_fini(&r);
}

Test(plan_search, refuses_what_is_no_question) {
  fc_train_search_result r;
  char why[256];
  scene s;
#define REFUSED(change, word)                                                                                \
  do {                                                                                                       \
    set_scene(&s);                                                                                           \
    change;                                                                                                  \
    cr_expect_eq(fc_train_search_run(&r, &s.def, why), FC_E_DOMAIN, #change);                                \
    cr_expect(strstr(why, word), "%s: %s", #change, why);                                                    \
    cr_expect_null(r.best);                                                                                  \
  } while (0)
  REFUSED(s.def.tokens = (double)NAN, "tokens");
  REFUSED(s.def.n_devices = 0, "device");
  REFUSED(s.device[1].usd_per_s = 0, "price");
  REFUSED(s.device[1].n_counts = 0, "count");
  REFUSED(s.counts[0] = 0, "at least 1");
  REFUSED(s.zero[0] = 4, "domain");
  REFUSED(s.def.memory = 1.5, "memory");
  REFUSED(s.def.margin = -1, "margin");
  REFUSED(s.def.wall_s = -1, "limits");
  REFUSED(s.def.failure.device_mtbf_s = 0, "failure");
  static const int64_t twice[] = {1, 1};
  REFUSED(s.def.recompute = ((fc_train_choices){2, twice}), "ascend");
#undef REFUSED
}

Test(plan_search, can_be_interrupted) {
  static const atomic_int now = 1;
  scene s;
  set_scene(&s);
  s.def.cancel = &now;
  fc_train_search_result r;
  cr_expect_eq(fc_train_search_run(&r, &s.def, NULL), FC_E_CANCELLED);
  cr_expect_null(r.best);
}

/* What DeepSeek ran is among what is searched, and the search finds nothing worse. */
Test(plan_search, deepseek_v3_is_no_better_than_the_best) {
  static const int64_t counts[] = {2048}, batch[] = {15360}, pp[] = {8, 16};
  fc_train_search_device d = {"h800", &fixture_h800_profile, H_USD_PER_S, 1, counts};
  fc_train_search_def def = {.model = &fixture_deepseek_v3,
                             .n_devices = 1,
                             .devices = &d,
                             .tokens = 14.8e12,
                             .base = {.sequence = 4096, .overlap = 1},
                             .pp = {2, pp},
                             .global_batch = {1, batch},
                             .failure = llama3,
                             .margin = FC_TRAIN_SEARCH_MARGIN};
  fc_train_search_result r = run(&def);
  fc_train_plan ran = {.devices = 2048, .tp = 1, .pp = 16, .cp = 1, .ep = 64, .micro_batch = 1, .zero = 1};
  ran.global_batch = 15360;
  ran.sequence = 4096;
  ran.schedule = FC_SCHEDULE_DUALPIPE;
  ran.recompute = FC_RECOMPUTE_SELECTIVE;
  ran.gemm = FC_DTYPE_FP8;
  ran.overlap = 1;
  fc_train_estimate e;
  cr_assert_eq(fc_train_estimate_plan(&e, def.model, d.profile, &ran, &llama3, NULL), FC_OK);
  cr_expect(e.fits);
  cr_expect_leq(r.best[0].estimate.step_s, e.step_s);
  cr_expect_gt(r.best[0].estimate.step_s, 0.6 * e.step_s, "%g s against %g s", r.best[0].estimate.step_s,
               e.step_s);
  fc_train_search_result_fini(&r);
}
