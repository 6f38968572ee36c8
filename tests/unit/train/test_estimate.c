/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include <fleetcast/cost/train_step.h>
#include <fleetcast/train/run.h>

#include "fixture_models.h"

static const fc_failure llama3 = {.device_mtbf_s = 50700 * 3600.0, .restart_s = 600, .checkpoint_write_s = 5};

Test(goodput, young_daly_interval_is_the_optimum) {
  /* a scan of intervals finds its best where sqrt(2 w M) says, to first order in w / M */
  static const double write[] = {1, 5, 30}, mtbf[] = {3600, 3.1 * 3600, 24 * 3600};
  for (size_t i = 0; i < 3; i++)
    for (size_t j = 0; j < 3; j++) {
      fc_failure f = {.device_mtbf_s = mtbf[j], .restart_s = 300, .checkpoint_write_s = write[i]};
      double young = fc_train_checkpoint_s(&f, 1), best = 0, at = 0, chosen = fc_train_goodput(&f, 1);
      cr_assert_float_eq(young, sqrt(2 * write[i] * mtbf[j]), 1e-9);
      for (double x = 0.2; x < 5; x *= 1.01) {
        f.checkpoint_s = young * x;
        double g = fc_train_goodput(&f, 1);
        if (g > best) best = g, at = x;
      }
      cr_assert(fabs(at - 1) < 0.05 + sqrt(write[i] / mtbf[j]), "write %g, mtbf %g: best at %g", write[i],
                mtbf[j], at);
      cr_assert_leq(best - chosen, 1e-3 * best);
    }
}

Test(goodput, first_order_and_limits) {
  fc_failure f = {.device_mtbf_s = 1e6, .restart_s = 100, .checkpoint_s = 1000, .checkpoint_write_s = 10};
  double first = 1 - 10 / 1010.0 - (100 + 0.5 * 1010) / 1e6; /* write share, lost work, restart */
  cr_assert_float_eq(fc_train_goodput(&f, 1), first, 1e-4);
  f.device_mtbf_s = (double)INFINITY;
  cr_assert_float_eq(fc_train_goodput(&f, 1000), 1000 / 1010.0, 1e-12);
  f.checkpoint_s = 0;
  cr_assert_eq(fc_train_goodput(&f, 1000), 1, "no failures: never checkpoint");
  f = (fc_failure){.device_mtbf_s = 1e6, .restart_s = 100};
  cr_assert_float_eq(fc_train_goodput(&f, 1), exp(-1e-4), 1e-12, "free checkpoints lose restarts only");
  double before = 1;
  for (double n = 1; n < 1e6; n *= 4) {
    double g = fc_train_goodput(&llama3, n);
    cr_assert(g > 0 && g < before);
    before = g;
  }
  /* Llama 3 405B: 16,384 devices, "higher than 90 % effective training time" (arXiv:2407.21783, 3.3.4) */
  double g = fc_train_goodput(&llama3, 16384);
  cr_assert(g > 0.88 && g < 0.97, "%g", g);
}

static const fc_train_plan v3_plan = {.devices = 2048,
                                      .tp = 1,
                                      .pp = 16,
                                      .cp = 1,
                                      .ep = 64,
                                      .micro_batch = 1,
                                      .global_batch = 15360,
                                      .sequence = 4096,
                                      .zero = 1,
                                      .schedule = FC_SCHEDULE_DUALPIPE,
                                      .recompute = FC_RECOMPUTE_SELECTIVE,
                                      .gemm = FC_DTYPE_FP8,
                                      .overlap = 1};

Test(estimate, plan) {
  fc_train_estimate e;
  char why[256];
  cr_assert_eq(
      fc_train_estimate_plan(&e, &fixture_deepseek_v3, &fixture_h800_profile, &v3_plan, &llama3, why), FC_OK,
      "%s", why);
  cr_assert(e.fits);
  cr_assert_float_eq(e.tokens_per_s, 15360.0 * 4096 / e.step_s, 1e-6 * e.tokens_per_s);
  cr_assert_float_eq(e.mfu, e.flop_per_token * e.tokens_per_s / (2048 * 989e12), 1e-12);
  cr_assert(e.mfu > 0.2 && e.mfu < 0.9 && e.bubble > 0 && e.bubble < 0.2 && e.exposed_comm < 0.3);
  cr_assert(e.goodput > 0.9 && e.goodput < 1 && e.watts > 70 && e.watts < 700);
}

Test(estimate, refuses_with_a_reason) {
  fc_train_estimate e;
  char why[256] = "";
  fc_train_plan plan = v3_plan;
  plan.global_batch = 1000;
  cr_assert_eq(fc_train_estimate_plan(&e, &fixture_deepseek_v3, &fixture_h800_profile, &plan, &llama3, why),
               FC_E_DOMAIN);
  cr_assert(strstr(why, "global_batch"), "%s", why);
  fc_failure bad = {.device_mtbf_s = 0};
  cr_assert_eq(fc_train_estimate_plan(&e, &fixture_deepseek_v3, &fixture_h800_profile, &v3_plan, &bad, why),
               FC_E_DOMAIN);
  cr_assert(strstr(why, "failure"), "%s", why);
  cr_assert_eq(fc_train_estimate_auto(&e, &fixture_deepseek_v3, &fixture_h800_profile, &(fc_train_plan){0}, 8,
                                      &llama3, why),
               FC_E_INFEASIBLE);
  cr_assert(strstr(why, "GB"), "%s", why);
  cr_assert_eq(fc_train_estimate_auto(&e, &fixture_llama_8b, &fixture_h100_profile,
                                      &(fc_train_plan){.global_batch = 7}, 1024, &llama3, why),
               FC_E_INFEASIBLE);
  cr_assert(strstr(why, "divides"), "%s", why);
}

Test(estimate, automatic_fits_keeps_wishes_and_beats_a_given_plan) {
  static const struct {
    const fc_model *model;
    int64_t devices;
  } cases[] = {{&fixture_llama_8b, 8},     {&fixture_llama_8b, 1024},    {&fixture_llama_70b, 64},
               {&fixture_llama_405b, 512}, {&fixture_llama_405b, 16384}, {&fixture_deepseek_v3, 2048},
               {&fixture_kimi_k2, 2048},   {&fixture_qwen3_235b, 256},   {&fixture_gpt_oss_120b, 64},
               {&fixture_llama_8b, 1000},  {&fixture_llama_8b, 1}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fc_train_estimate e;
    char why[256];
    fc_train_plan wish = {.sequence = 8192};
    fc_status status = fc_train_estimate_auto(&e, cases[i].model, &fixture_h100_profile, &wish,
                                              cases[i].devices, &llama3, why);
    if (cases[i].devices == 1) {
      cr_assert_eq(status, FC_E_INFEASIBLE);
      continue;
    }
    cr_assert_eq(status, FC_OK, "%s on %d: %s", cases[i].model->name, (int)cases[i].devices, why);
    cr_assert(e.fits && e.plan.sequence == 8192 && e.plan.devices == cases[i].devices);
    cr_assert(e.mfu > 0.1 && e.mfu < 0.9, "%s: MFU %g", cases[i].model->name, e.mfu);
  }
  fc_train_plan wish = v3_plan;
  wish.schedule = FC_SCHEDULE_1F1B; /* free */
  wish.pp = wish.tp = wish.ep = wish.cp = 0;
  fc_train_estimate given, chosen;
  cr_assert_eq(
      fc_train_estimate_plan(&given, &fixture_deepseek_v3, &fixture_h800_profile, &v3_plan, &llama3, NULL),
      FC_OK);
  cr_assert_eq(fc_train_estimate_auto(&chosen, &fixture_deepseek_v3, &fixture_h800_profile, &wish, 2048,
                                      &llama3, NULL),
               FC_OK);
  cr_assert_leq(chosen.step_s, given.step_s * (1 + 1e-9));
  cr_assert_eq(chosen.plan.global_batch, 15360);
}

Test(estimate, more_devices_finish_sooner) { /* INV-8 for doubled fleets; batch fixed */
  double before = 0;
  for (int64_t n = 64; n <= 4096; n *= 2) {
    fc_train_estimate e;
    fc_train_plan wish = {.sequence = 8192, .global_batch = 4096};
    cr_assert_eq(
        fc_train_estimate_auto(&e, &fixture_llama_70b, &fixture_h100_profile, &wish, n, &llama3, NULL),
        FC_OK);
    cr_assert_gt(e.tokens_per_s, before);
    before = e.tokens_per_s;
  }
}
