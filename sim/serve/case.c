/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/serve/case.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/diag.h>
#include <fleetcast/cost/format.h>
#include <fleetcast/serve/view.h>
#include <fleetcast/workload/load.h>

/* 95th percentile of a standard normal */
static const double Z90 = 1.6449;
/* Requests a client, and the shortest length over the nominal one: InferenceX's benchmark client
 * (num_prompts = 10 x concurrency, random_range_ratio 0.8). */
enum { REQUESTS_A_CLIENT = 10 };
static const double SHORTEST = 0.8;
/* Chunks of prompts: max_num_batched_tokens and its likes of the three engines on large devices. */
enum { TOKEN_BUDGET = 8192 };
/* Of the step table: a tenth of what a case is off by. */
static const double TOLERANCE = 0.02;

static bool is_blackwell(const fc_device *device) {
  return device->peak_flop_per_s[FC_DTYPE_FP4] > 0;
}

static fc_dtype dtype_of(const char *format) {
  const fc_format *f = fc_format_find(format, strlen(format));
  return f ? f->dtype : FC_DTYPE_BF16;
}

/* --- how the cases were run --- */

/* @source SemiAnalysis InferenceX, benchmarks/single_node: scripts of DeepSeek and gpt-oss for 1,024 tokens
 * in and out, commit 843c625 */

static bool is_fp8_trt(const fc_serve_case *c, const fc_model *model, const fc_device *device) {
  return strcmp(c->engine, "trtllm") == 0 && model->weights == FC_DTYPE_FP8 && is_blackwell(device) &&
         strcmp(c->gemm, "fp8") == 0;
}

/* Since 3 April 2026 (Kimi-K2.5: 20th) the scripts of MiniMax and of Kimi in FP4 for vLLM on Blackwell ask
 * for what those of gpt-oss always did: --max-cudagraph-capture-size 2048; and for --max-num-batched-tokens
 * of two prompts. */
static bool is_late_vllm(const fc_serve_case *c, const fc_model *model, const fc_device *device) {
  if (strcmp(c->engine, "vllm") != 0 || !is_blackwell(device) || !c->date) return false;
  if (model->attention.kind == FC_ATTENTION_MLA)
    return strcmp(c->gemm, "nvfp4") == 0 && strcmp(c->date, "2026-04-20") >= 0;
  return model->attention.qk_norm &&
         strcmp(c->date, strcmp(c->gemm, "fp8") == 0 ? "2026-04-03" : "2026-04-08") >= 0;
}

/* enable_piecewise_cuda_graph */
static bool captures_prompts(const fc_serve_case *c, const fc_model *model, const fc_device *device) {
  if (is_fp8_trt(c, model, device)) return c->concurrency >= 64;
  return strcmp(c->engine, "trtllm") == 0 && c->decode.tp == 8 && c->decode.moe_ep == 8;
}

static void recipe_of(fc_serve_policy *p, const fc_serve_case *c, const fc_model *model,
                      const fc_device *device) {
  bool blackwell = is_blackwell(device);
  p->token_budget = TOKEN_BUDGET;
  if (is_late_vllm(c, model, device)) p->token_budget = (int64_t)(2 * c->input_tokens);
  if (strcmp(c->engine, "sglang") == 0) {
    p->token_budget = blackwell ? 16384 : 32768; /* chunked-prefill-size */
    if (blackwell && c->decode.attention_dp == 1)
      p->look_steps = c->concurrency < 16 ? 10 : 30; /* scheduler-recv-interval */
  }
  if (strcmp(c->engine, "trtllm") != 0) return;
  if (model->weights == FC_DTYPE_FP4) p->token_budget = 20000; /* gpt-oss */
  p->balance_steps =
      model->weights == FC_DTYPE_FP8 ? 60 : 50; /* attention_dp_config.timeout_iters; 50: default */
  if (!is_fp8_trt(c, model, device) || c->concurrency < 64) return;
  p->wait_steps = 40; /* batch_wait_timeout_iters */
  p->wait_share = 0.8;
}

/* SGLang's deployments over DeepEP between nodes. @source sgl-project/sglang issue 6017,
 * --enable-two-batch-overlap */
static bool overlaps(const fc_serve_case *c, const fc_case_side *side, const fc_device *device) {
  return strcmp(c->engine, "sglang") == 0 && side->moe_ep > device->scaleup_devices;
}

/* --- one kind of instance --- */

typedef struct {
  fc_serve_plan plan;
  fc_step_table *steps;
  fc_replica_def def;
} instance;

static fc_status plan_of(fc_serve_plan *out, const fc_case_side *side, const fc_engine *e,
                         const fc_model *model, char *why) {
  *out =
      (fc_serve_plan){.tp = side->tp, .attention_dp = side->attention_dp, .ep = side->moe_ep, .pp = side->pp};
  out->devices = out->tp * out->attention_dp * fc_serve_stages(out);
  if (model->moe.experts == 0 || out->ep < 1) out->ep = 1;
  out->gemm = dtype_of(e->gemm);
  out->kv = strcmp(e->kv, "fp8") == 0 ? FC_DTYPE_FP8 : FC_DTYPE_BF16;
  out->expert_imbalance = 1;
  out->memory_fraction = 0.9; /* vLLM's default gpu_memory_utilization */
  return fc_serve_plan_check(model, out, why);
}

/* Share of memory that weights and cache may use. */
static void memory_of(fc_serve_plan *stored, const fc_serve_view *view, const fc_model *model,
                      double context) {
  if (strcmp(view->engine.name, "trtllm") != 0) return;
  fc_serve_memory memory; /* free_gpu_memory_fraction: 0.9 of what the weights leave */
  fc_cost_serve_stage_memory(&memory, model, view->profile->device, stored, context);
  double left = 1 - memory.weight_bytes / view->profile->device->memory_bytes;
  stored->memory_fraction = 1 - (1 - stored->memory_fraction) * fmax(left, 0);
}

static fc_status make(instance *out, const fc_serve_case *c, const fc_case_side *side,
                      const fc_serve_view *view, const fc_model *model, double clients, char *why) {
  *out = (instance){0};
  fc_status status = plan_of(&out->plan, side, &view->engine, model, why);
  if (status) return status;
  const fc_device *device = view->profile->device;
  out->plan.two_batch_overlap = overlaps(c, side, device);
  double groups = (double)(out->plan.attention_dp * fc_serve_stages(&out->plan)),
         context = c->input_tokens + c->output_tokens;
  out->def = fc_replica_default_def();
  (void)fc_serve_policy_named(&out->def.policy, view->engine.name);
  recipe_of(&out->def.policy, c, model, device);
  fc_step_table_def table = fc_step_table_default_def();
  table.max_batch = (int64_t)fmax(1, ceil(clients / groups));
  /* no more than all prompts together: what cannot come need not be tabulated */
  table.max_tokens =
      (int64_t)fmin((double)out->def.policy.token_budget, ceil(clients / groups) * c->input_tokens);
  table.max_context = (int64_t)context + 1;
  table.tolerance = TOLERANCE;
  status = fc_step_table_of_model(
      &out->steps, &table, &(fc_step_source){.model = model, .profile = view->profile, .plan = &out->plan});
  if (status) {
    if (why && status == FC_E_DOMAIN) (void)snprintf(why, 256, "the profile lacks a kernel of this model");
    return status;
  }
  fc_serve_plan stored = fc_serve_view_stored(view, model, &out->plan);
  memory_of(&stored, view, model, context);
  out->def.policy.max_batch = table.max_batch;
  out->def.policy.token_budget = table.max_tokens;
  out->def.steps = out->steps;
  out->def.kv_blocks = fc_replica_kv_blocks(model, device, &stored, out->def.block_tokens, context);
  fc_serve_overheads(&out->def, &view->engine);
  if (out->def.kv_blocks * out->def.block_tokens >= (int64_t)context) return FC_OK;
  if (why)
    (void)snprintf(why, 256, "no room for one request beside the weights (%lld devices)",
                   (long long)out->plan.devices);
  return FC_E_INFEASIBLE;
}

/* --- the run --- */

static fc_status load_of(fc_load **out, const fc_serve_case *c, int64_t clients) {
  fc_load_def def = fc_load_default_def();
  def.arrive = FC_ARRIVE_AT_ONCE;
  def.concurrency = (size_t)clients;
  def.requests = (uint64_t)clients * REQUESTS_A_CLIENT;
  fc_dist none = {.kind = FC_DIST_UNIFORM, .min = -(double)INFINITY, .max = (double)INFINITY};
  def.input = def.output = none;
  def.input.a = SHORTEST * c->input_tokens;
  def.input.b = c->input_tokens;
  def.output.a = SHORTEST * c->output_tokens;
  def.output.b = c->output_tokens;
  def.block_tokens = 0;
  fc_diags d;
  fc_diags_init(&d);
  return fc_load_new(out, &def, "case", &d);
}

static fc_status run_whole(double *ttft, double *tpot, const instance *i, const fc_serve_case *c,
                           int64_t clients, char *why) {
  fc_load *load;
  fc_replica_result *r = calloc(1, sizeof *r);
  if (!r) return FC_E_NOMEM;
  fc_status status = load_of(&load, c, clients);
  if (!status) {
    fc_request_source source = fc_load_source(load);
    status = fc_replica_run(r, &i->def, &source, 1, why);
    fc_load_free(load);
  }
  *ttft = fc_digest_mean(&r->ttft);
  *tpot = fc_digest_mean(&r->tpot);
  free(r);
  return status;
}

static fc_status run_apart(double *ttft, double *tpot, const instance *decode, const instance *prefill,
                           const fc_serve_case *c, const fc_model *model, const fc_device *device,
                           char *why) {
  fc_disagg_result *r = calloc(1, sizeof *r);
  fc_load *load;
  if (!r) return FC_E_NOMEM;
  fc_disagg_def def = {.prefill = prefill->def, .decode = decode->def};
  def.prefill_replicas = c->prefill.workers > 0 ? c->prefill.workers : 1;
  def.decode_replicas = c->decode.workers > 0 ? c->decode.workers : 1;
  def.kv_bytes_per_token = fc_model_kv_bytes_per_token(model, decode->plan.kv);
  double devices = fmin((double)(prefill->plan.devices * def.prefill_replicas),
                        (double)(decode->plan.devices * def.decode_replicas));
  def.link_bytes_per_s = devices * device->scaleout_bytes_per_s;
  def.link_shared = true;
  fc_status status = load_of(&load, c, c->concurrency);
  if (!status) {
    fc_request_source source = fc_load_source(load);
    status = fc_disagg_run(r, &def, &source, 1, why);
    fc_load_free(load);
  }
  *ttft = fc_digest_mean(&r->decode.ttft);
  *tpot = fc_digest_mean(&r->decode.tpot);
  free(r);
  return status;
}

static void interval(double *low, double *high, double value, double log_sd) {
  *low = value * exp(-Z90 * log_sd);
  *high = value * exp(Z90 * log_sd);
}

static void answer(fc_case_answer *out, double ttft, double tpot, double log_sd) {
  out->tpot_s = tpot;
  out->ttft_s = ttft;
  interval(&out->tpot_low_s, &out->tpot_high_s, out->tpot_s, hypot(FC_CASE_TPOT_LOG_SD, log_sd));
  interval(&out->ttft_low_s, &out->ttft_high_s, out->ttft_s, hypot(FC_CASE_TTFT_LOG_SD, log_sd));
}

/* Tables of another device, moved by datasheet? */
static bool is_moved(const fc_profile *view) {
  for (size_t i = 0; i < view->n_kernels; i++)
    if (view->kernels[i].local && view->kernels[i].provenance == FC_PROVENANCE_TRANSFERRED) return true;
  return false;
}

/* The profile's own uncertainty of an iteration, where forms or moved tables compose it. */
static double spread_of(const fc_model *model, const fc_profile *profile, const fc_serve_plan *plan,
                        const fc_serve_case *c) {
  fc_serve_iteration it;
  fc_serve_load load = {.decode_requests = fmax(1, (double)c->concurrency),
                        .decode_context = c->input_tokens + c->output_tokens / 2};
  return fc_cost_serve_iteration(&it, model, profile, plan, &load) ? 0 : it.log_sd;
}

static fc_status predict(fc_case_answer *out, const fc_serve_case *c, const fc_serve_view *view,
                         const fc_model *model, char *why) {
  instance decode = {0}, prefill = {0};
  double ttft = 0, tpot = 0;
  const fc_profile *profile = view->profile;
  int64_t workers = c->disaggregated ? 1 : c->decode.workers > 0 ? c->decode.workers : 1;
  int64_t clients = (c->concurrency + workers - 1) / workers;
  fc_status status = make(&decode, c, &c->decode, view, model, (double)clients, why);
  if (!status && c->disaggregated)
    status = make(&prefill, c, &c->prefill, view, model, (double)c->concurrency, why);
  if (!status)
    status = c->disaggregated ? run_apart(&ttft, &tpot, &decode, &prefill, c, model, profile->device, why)
                              : run_whole(&ttft, &tpot, &decode, c, clients, why);
  if (!status) {
    double log_sd = view->measured && !is_moved(profile) ? 0 : spread_of(model, profile, &decode.plan, c);
    answer(out, ttft, tpot, log_sd);
  }
  fc_step_table_free(decode.steps);
  fc_step_table_free(prefill.steps);
  return status;
}

fc_status fc_serve_case_predict(fc_case_answer *out, const fc_serve_case *c, const fc_model *model,
                                const fc_profile *profile, char *why) {
  fc_engine engine;
  *out = (fc_case_answer){0};
  if (why) *why = '\0';
  if (!fc_engine_named(&engine, c->engine)) {
    if (why) (void)snprintf(why, 256, "engine '%.60s' is not known (vllm, sglang, trtllm)", c->engine);
    return FC_E_DOMAIN;
  }
  if (!(c->input_tokens >= 1) || !(c->output_tokens >= 2) || c->concurrency < 1) {
    if (why) (void)snprintf(why, 256, "needs isl >= 1, osl >= 2, concurrency >= 1");
    return FC_E_DOMAIN;
  }
  /* public configurations: FP8 caches on Blackwell and under TensorRT-LLM */
  const char *kv = is_blackwell(profile->device) || strcmp(c->engine, "trtllm") == 0 ? "fp8" : "bf16";
  fc_serve_formats(&engine, c->gemm, c->experts, kv, model, profile->device);
  if (captures_prompts(c, model, profile->device)) engine.eager_layer_s = 0;
  if (strcmp(c->engine, "vllm") == 0 &&
      (model->weights == FC_DTYPE_FP4 || is_late_vllm(c, model, profile->device)))
    engine.graph_tokens = 2048;
  fc_serve_view *view = malloc(sizeof *view); /* large */
  if (!view) return FC_E_NOMEM;
  fc_status status = fc_serve_view_make(view, &engine, model, profile, true);
  out->measured = view->measured;
  if (!status) status = predict(out, c, view, model, why);
  fc_serve_view_free(view);
  free(view);
  return status;
}
