/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/cost/engine.h>

#include <stdio.h>
#include <string.h>

#include <fleetcast/cost/format.h>

/* --- engines and their overheads --- */

/* graph_tokens: vLLM captures up to 512 tokens unless told (VllmConfig, max_cudagraph_capture_size).
 * shared_tokens: vLLM pull requests 26440 and 28406 (256); SGLang's DUAL_STREAM_TOKEN_THRESHOLD (1,024);
 * TensorRT-LLM in graphs, taken for up to 512.  fuses_shared: SGLang pull requests 4918 and, not under expert
 * parallelism, 7180.
 *
 * The others are fitted to a fifth (61) of 306 public serving measurements (AIConfigurator's silicon sample
 * joined to InferenceX configurations, Apache-2.0), H100, H200 and B200, every pair of model and system
 * alike: docs/validate.md#overheads, with their errors on the rest.  step_s is a prior, as overlap schedulers
 * leave; way_s an assumption, of the order of a local HTTP request. */
#define OF_ALL .expert_skew = 1.2, .collective = 1, .step_s = 0.2e-3, .way_s = 5e-3, .steps_ahead = 1.2

static const fc_engine engines[] = {
    {OF_ALL, .name = "vllm", .request_s = 12e-6, .glue = 0.6, .eager_layer_s = 1.5e-3,
     .eager_plain_s = 0.9e-3, .graph_tokens = 512, .shared_tokens = 256, .front_s = 4e-3,
     .front_request_s = 0.5e-3},
    {OF_ALL, .name = "sglang", .request_s = 15e-6, .glue = 0.3, .eager_layer_s = 2e-3, .shared_tokens = 1024,
     .fuses_shared = true, .front_s = 60e-3, .front_request_s = 0.7e-3},
    {OF_ALL, .name = "trtllm", .request_s = 6e-6, .glue = 0.45, .eager_layer_s = 2.2e-3, .shared_tokens = 512,
     .front_s = 9e-3, .front_request_s = 0.27e-3},
};

enum { ENGINES = sizeof engines / sizeof *engines };

bool fc_engine_named(fc_engine *out, const char *name) {
  for (size_t i = 0; i < ENGINES; i++) {
    if (strcmp(engines[i].name, name) != 0) continue;
    *out = engines[i];
    out->gemm = out->experts = out->kv = "bf16";
    return true;
  }
  return false;
}

const char *fc_engine_name(size_t i) {
  return i < ENGINES ? engines[i].name : NULL;
}

const fc_format *fc_engine_experts(const fc_engine *engine) {
  return fc_format_find(engine->experts, strlen(engine->experts));
}

/* --- which kernels remain --- */

static const char *format_of(const fc_kernel_fit *fit) {
  return fit->format ? fit->format : fc_dtype_text(fit->dtype);
}

static bool is_of(const fc_kernel_fit *fit, const char *format) {
  return strcmp(format_of(fit), format) == 0;
}

/* Our own benchmark's kernels are no engine's; layers without a gate, or with another activation, are no
 * model's here. */
static bool is_foreign(const char *impl) {
  static const char *const foreign[] = {"fleetcast:", "nongated", "situ_as_silu", "deepep_"};
  for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
    if (strstr(impl, foreign[i])) return true;
  return false;
}

/* Its own experts' kernels, and those that TensorRT-LLM generates, which the others call through FlashInfer.
 */
static bool is_own_experts(const char *impl, const char *engine) {
  size_t n = strlen(engine);
  if (strncmp(impl, engine, n) == 0 && impl[n] == ':') return true;
  return strcmp(engine, "trtllm") == 0 && strstr(impl, "flashinfer_trtllm") != NULL;
}

static bool is_collective(fc_kernel kernel) {
  return kernel == FC_KERNEL_ALL_REDUCE || kernel == FC_KERNEL_ALL_GATHER ||
         kernel == FC_KERNEL_REDUCE_SCATTER;
}

static bool is_attention(fc_kernel kernel) {
  return kernel == FC_KERNEL_ATTENTION_PREFILL || kernel == FC_KERNEL_ATTENTION_DECODE ||
         kernel == FC_KERNEL_MLA_PREFILL || kernel == FC_KERNEL_MLA_DECODE;
}

/* Is it measured, in a format of the deployment? */
static bool fits_formats(const fc_kernel_fit *fit, const fc_engine *e) {
  if (!fit->local || !fit->impl || is_foreign(fit->impl)) return false;
  if (fit->kernel == FC_KERNEL_GEMM) return is_of(fit, e->gemm) || is_of(fit, "bf16");
  if (fit->kernel == FC_KERNEL_MOE_FFN) return is_of(fit, e->experts);
  if (fit->kernel == FC_KERNEL_MLA_ABSORB_K || fit->kernel == FC_KERNEL_MLA_ABSORB_V)
    return is_of(fit, "bf16");
  if (is_attention(fit->kernel))
    return is_of(fit, "bf16") && fit->kv_format && strcmp(fit->kv_format, e->kv) == 0;
  if (is_collective(fit->kernel)) return is_of(fit, "fp16") || is_of(fit, "bf16");
  return false;
}

static bool has(const fc_profile *from, const fc_engine *e, fc_kernel kernel, bool own) {
  for (size_t i = 0; i < from->n_kernels; i++) {
    const fc_kernel_fit *fit = &from->kernels[i];
    if (fit->kernel == kernel && fits_formats(fit, e) && (!own || is_own_experts(fit->impl, e->name)))
      return true;
  }
  return false;
}

/* The measured ones where there are any; else those that steps are composed of otherwise. */
static bool remains(const fc_kernel_fit *fit, const fc_profile *from, const fc_engine *e) {
  if (fit->kernel == FC_KERNEL_MOE_FFN && fits_formats(fit, e))
    return is_own_experts(fit->impl, e->name) || !has(from, e, FC_KERNEL_MOE_FFN, true);
  return has(from, e, fit->kernel, false) ? fits_formats(fit, e) : !fit->local;
}

fc_status fc_engine_profile(fc_profile *out, const fc_profile *from, const fc_engine *engine, bool mla,
                            bool sparse, fc_arena *arena, char *why) {
  const fc_kernel needed[] = {FC_KERNEL_GEMM, mla ? FC_KERNEL_MLA_DECODE : FC_KERNEL_ATTENTION_DECODE,
                              sparse ? FC_KERNEL_MOE_FFN : FC_KERNEL_GEMM};
  for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
    if (has(from, engine, needed[i], false)) continue;
    if (why)
      (void)snprintf(why, 256, "profile %.60s has no measured %s in %s", from->name,
                     fc_kernel_text(needed[i]),
                     needed[i] == FC_KERNEL_GEMM      ? engine->gemm
                     : needed[i] == FC_KERNEL_MOE_FFN ? engine->experts
                                                      : engine->kv);
    return FC_E_DOMAIN;
  }
  fc_kernel_fit *kept = fc_arena_array(arena, from->n_kernels + 1, sizeof *kept);
  if (!kept) return FC_E_NOMEM;
  *out = *from;
  out->n_kernels = 0;
  /* candidates of a kernel and format lie together: the meter walks along them */
  for (int kernel = 0; kernel < FC_KERNEL_COUNT; kernel++)
    for (int dtype = 0; dtype < FC_DTYPE_COUNT; dtype++)
      for (size_t i = 0; i < from->n_kernels; i++) {
        const fc_kernel_fit *fit = &from->kernels[i];
        if ((int)fit->kernel == kernel && (int)fit->dtype == dtype && remains(fit, from, engine))
          kept[out->n_kernels++] = *fit;
      }
  out->kernels = kept;
  out->engine = engine;
  out->launch_s = engine->glue * from->launch_s;
  out->iteration_host_s = engine->step_s;
  return FC_OK;
}
