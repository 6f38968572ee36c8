/* SPDX-License-Identifier: Apache-2.0 */
/* Measured serving cases: what must hold of any prediction, on shipped models and profiles. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <fleetcast/scenario/load.h>
#include <fleetcast/serve/case.h>

static fc_input *load(const char *folder, const char *name) {
  static const char *const dirs[] = {FC_SOURCE_DIR "/scenarios"};
  char path[512];
  fc_diags d;
  fc_diags_init(&d);
  (void)snprintf(path, sizeof path, "%s/%s/%s.yaml", dirs[0], folder, name);
  fc_input *input;
  cr_assert_eq(fc_input_load(&input, path, &(fc_load_options){.n_data_dirs = 1, .data_dirs = dirs}, &d),
               FC_OK);
  return input;
}

typedef struct {
  fc_input *model, *profile;
} scene;

static scene open_scene(const char *model, const char *profile) {
  return (scene){load("models", model), load("profiles", profile)};
}

static void close_scene(scene *s) {
  fc_input_free(s->model);
  fc_input_free(s->profile);
}

static fc_serve_case small_case(void) {
  return (fc_serve_case){.engine = "vllm",
                         .gemm = "bf16",
                         .experts = "nvfp4",
                         .input_tokens = 256,
                         .output_tokens = 64,
                         .concurrency = 4,
                         .decode = {.workers = 1, .tp = 2, .attention_dp = 1, .moe_tp = 2, .moe_ep = 1}};
}

static fc_case_answer predict(const scene *s, const fc_serve_case *c) {
  fc_case_answer a;
  char why[256];
  fc_status status =
      fc_serve_case_predict(&a, c, fc_input_model(s->model), fc_input_profile(s->profile), why);
  cr_assert_eq(status, FC_OK, "%s", why);
  cr_assert(a.tpot_low_s < a.tpot_s && a.tpot_s < a.tpot_high_s && a.tpot_low_s > 0);
  cr_assert(a.ttft_low_s < a.ttft_s && a.ttft_s < a.ttft_high_s && a.ttft_low_s > 0);
  return a;
}

Test(serve_case, more_clients_wait_longer_and_more_devices_are_faster) {
  scene s = open_scene("gpt-oss-120b", "h100");
  fc_serve_case c = small_case();
  fc_case_answer few = predict(&s, &c);
  cr_assert(few.measured, "H100 has tables of these formats");
  c.concurrency = 64;
  fc_case_answer many = predict(&s, &c);
  cr_assert(many.tpot_s > few.tpot_s && many.ttft_s > few.ttft_s);
  c.decode.tp = c.decode.moe_tp = 8;
  fc_case_answer wide = predict(&s, &c);
  cr_assert(wide.tpot_s < many.tpot_s, "%g on eight, %g on two", wide.tpot_s, many.tpot_s);
  close_scene(&s);
}

Test(serve_case, the_same_case_gives_the_same_answer) {
  scene s = open_scene("gpt-oss-120b", "h100");
  fc_serve_case c = small_case();
  fc_case_answer a = predict(&s, &c), b = predict(&s, &c);
  cr_assert_eq(a.tpot_s, b.tpot_s);
  cr_assert_eq(a.ttft_s, b.ttft_s);
  close_scene(&s);
}

Test(serve_case, workers_share_the_clients) {
  scene s = open_scene("gpt-oss-120b", "h100");
  fc_serve_case c = small_case(), two = c;
  two.concurrency = 2 * c.concurrency;
  two.decode.workers = 2;
  cr_assert_float_eq(predict(&s, &two).tpot_s, predict(&s, &c).tpot_s, 1e-12);
  close_scene(&s);
}

Test(serve_case, prefill_apart_decodes_undisturbed) {
  scene s = open_scene("gpt-oss-120b", "h100");
  fc_serve_case whole = small_case();
  whole.concurrency = 32;
  whole.input_tokens = 2048;
  fc_serve_case apart = whole;
  apart.disaggregated = true;
  apart.prefill = apart.decode;
  double together = predict(&s, &whole).tpot_s, alone = predict(&s, &apart).tpot_s;
  cr_assert(alone < together, "%g apart, %g together", alone, together);
  close_scene(&s);
}

Test(serve_case, a_device_without_tables_answers_by_forms) {
  scene s = open_scene("gpt-oss-120b", "mi300x");
  fc_serve_case c = small_case();
  c.decode.tp = c.decode.moe_tp = 1;
  fc_case_answer a = predict(&s, &c);
  cr_assert_not(a.measured);
  cr_assert(log(a.tpot_high_s / a.tpot_s) > 1.6449 * FC_CASE_TPOT_LOG_SD, "and is less sure");
  close_scene(&s);
}

static void refused(const scene *s, const fc_serve_case *c, const char *word) {
  fc_case_answer a;
  char why[256];
  cr_assert_neq(fc_serve_case_predict(&a, c, fc_input_model(s->model), fc_input_profile(s->profile), why),
                FC_OK);
  cr_assert(strstr(why, word), "'%s' does not say '%s'", why, word);
}

Test(serve_case, what_cannot_be_says_why) {
  scene s = open_scene("deepseek-r1", "h100");
  fc_serve_case c = small_case();
  c.gemm = c.experts = "fp8";
  refused(&s, &c, "no room");
  c.engine = "tgi";
  refused(&s, &c, "tgi");
  c = small_case();
  c.decode.tp = 3;
  refused(&s, &c, "tp must divide");
  c = small_case();
  c.concurrency = 0;
  refused(&s, &c, "concurrency");
  close_scene(&s);
}
