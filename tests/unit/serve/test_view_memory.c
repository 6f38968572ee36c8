/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation refused once, and for good: an engine's view, the load of experts. */
#include <string.h>

#include <criterion/criterion.h>

#include <fleetcast/serve/experts.h>
#include <fleetcast/serve/view.h>

#include "exhaust.h"

static fc_status one_load(void *none) {
  (void)none;
  fc_expert_def d = {
      .experts = 16, .top_k = 2, .ranks = 4, .layers = 2, .groups = 4, .skew = 1, .most_tokens = 4};
  d.eplb = true;
  d.redundant = 4;
  fc_expert_load *l;
  fc_status status = fc_expert_load_new(&l, &d);
  cr_assert_eq(l != NULL, status == FC_OK);
  fc_expert_load_free(l);
  return status;
}

/* One measured product and one attention: enough for a dense model. */
static fc_status one_view(void *none) {
  (void)none;
  static const fc_local local = {0};
  static const fc_device device = {.name = "toy"};
  static const fc_model model = {.weights = FC_DTYPE_BF16};
  static const fc_kernel_fit fit[] = {
      {.kernel = FC_KERNEL_GEMM, .dtype = FC_DTYPE_BF16, .impl = "cublaslt", .local = &local},
      {.kernel = FC_KERNEL_ATTENTION_DECODE,
       .dtype = FC_DTYPE_BF16,
       .impl = "fa",
       .kv_format = "bf16",
       .local = &local}};
  static const fc_profile profile = {
      .name = "toy", .device = &device, .n_kernels = 2, .kernels = fit, .iteration_host_s = 1};
  fc_engine engine;
  cr_assert(fc_engine_named(&engine, "vllm"));
  fc_serve_formats(&engine, "bf16", "bf16", "bf16", &model, &device);
  fc_serve_view view;
  fc_status status = fc_serve_view_make(&view, &engine, &model, &profile, true);
  if (status == FC_OK) {
    cr_assert(view.measured && view.profile->engine == &view.engine && !*view.why);
    cr_assert_eq(view.profile->iteration_host_s, engine.step_s);
  }
  fc_serve_view_free(&view);
  return status;
}

static void refuse_each(fc_status (*once)(void *), size_t least) {
  for (int and_later = 0; and_later < 2; and_later++)
    fc_exhaust(&(fc_exhaustion){.life = once, .and_later = and_later, .least = least});
}

Test(view_memory, refusals_are_reported) {
  refuse_each(one_load, 8);
  refuse_each(one_view, 1);
}

Test(view_memory, forms_where_there_are_no_tables_or_no_engine) {
  static const fc_device device = {.name = "toy"};
  static const fc_model model = {.weights = FC_DTYPE_BF16};
  static const fc_profile profile = {.name = "toy", .device = &device, .iteration_host_s = 1e-3};
  fc_engine engine;
  cr_assert(fc_engine_named(&engine, "sglang"));
  fc_serve_formats(&engine, "bf16", "bf16", "bf16", &model, &device);
  fc_serve_view view;
  cr_assert_eq(fc_serve_view_make(&view, &engine, &model, &profile, true), FC_OK);
  cr_assert(!view.measured && !view.profile->engine && strstr(view.why, "no measured gemm"), "%s", view.why);
  cr_assert_eq(view.profile->iteration_host_s, engine.step_s); /* in place of the profile's */
  fc_serve_view_free(&view);
  cr_assert_eq(fc_serve_view_make(&view, &engine, &model, &profile, false), FC_OK);
  cr_assert(!view.measured && !*view.why); /* forms were asked for */
  fc_serve_view_free(&view);
  engine = (fc_engine){.name = "none", .step_s = 1e-4};
  cr_assert_eq(fc_serve_view_make(&view, &engine, &model, &profile, true), FC_OK);
  cr_assert(!view.measured);
  cr_assert_float_eq(view.profile->iteration_host_s, 1.1e-3, 1e-15); /* beside the profile's */
  fc_serve_view_free(&view);
}

Test(view_memory, formats_mean_what_the_release_says) {
  fc_device hopper = {.name = "h"}, blackwell = {.name = "b"};
  blackwell.peak_flop_per_s[FC_DTYPE_FP4] = 1e15;
  fc_model dense = {.weights = FC_DTYPE_BF16}, block = {.weights = FC_DTYPE_FP8},
           mx = {.weights = FC_DTYPE_FP4};
  block.moe.experts = mx.moe.experts = 128;
  fc_engine e = {.name = "vllm"};
  fc_serve_formats(&e, "fp8", "fp8", "fp8", &dense, &hopper);
  cr_assert_str_eq(e.gemm, "fp8");
  fc_serve_formats(&e, "fp8", "fp8", "fp8", &block, &hopper);
  cr_assert_str_eq(e.gemm, "fp8_block");
  fc_serve_formats(&e, "int4_wo", "int4_wo", "bf16", &block, &hopper);
  cr_assert(strcmp(e.gemm, "bf16") == 0 && strcmp(e.experts, "int4_wo") == 0);
  fc_serve_formats(&e, "nvfp4", "nvfp4", "fp8", &mx, &blackwell);
  cr_assert(strcmp(e.gemm, "bf16") == 0 && strcmp(e.experts, "w4a8_mxfp4_mxfp8") == 0);
  fc_serve_plan plan = {.gemm = FC_DTYPE_FP4, .kv = FC_DTYPE_FP8};
  fc_serve_formats_of(&e, &plan, &mx, &hopper);
  cr_assert(strcmp(e.experts, "w4a16_mxfp4") == 0 && strcmp(e.kv, "fp8") == 0);
  fc_serve_view view = {.engine = e, .measured = true};
  cr_assert_eq(fc_serve_view_plan(&view, &plan).gemm, FC_DTYPE_BF16);
  cr_assert_eq(fc_serve_view_stored(&view, &mx, &plan).gemm, FC_DTYPE_FP4);
}
