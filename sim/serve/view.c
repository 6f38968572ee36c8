/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/serve/view.h>

#include <string.h>

#include <fleetcast/cost/format.h>

static bool is_blackwell(const fc_device *device) {
  return device->peak_flop_per_s[FC_DTYPE_FP4] > 0;
}

void fc_serve_formats(fc_engine *e, const char *gemm, const char *experts, const char *kv,
                      const fc_model *model, const fc_device *device) {
  e->gemm = gemm;
  e->experts = experts;
  e->kv = kv;
  bool block = model->weights == FC_DTYPE_FP8; /* scales a block of 128 x 128 */
  if (strcmp(gemm, "fp8") == 0 && block) e->gemm = "fp8_block";
  if (strcmp(experts, "fp8") == 0 && block) e->experts = "fp8_block";
  if (model->weights == FC_DTYPE_FP4) {
    e->gemm = "bf16";
    e->experts = is_blackwell(device) ? "w4a8_mxfp4_mxfp8" : "w4a16_mxfp4";
  }
  if (strcmp(gemm, "int4_wo") == 0 && model->moe.experts > 0) e->gemm = "bf16";
}

void fc_serve_formats_of(fc_engine *e, const fc_serve_plan *plan, const fc_model *model,
                         const fc_device *device) {
  static const char *const text[FC_DTYPE_COUNT] = {
      [FC_DTYPE_FP8] = "fp8", [FC_DTYPE_FP4] = "nvfp4", [FC_DTYPE_INT8] = "sq"};
  const char *gemm = text[plan->gemm] ? text[plan->gemm] : "bf16";
  fc_serve_formats(e, gemm, gemm, plan->kv == FC_DTYPE_FP8 ? "fp8" : "bf16", model, device);
}

fc_status fc_serve_view_make(fc_serve_view *out, const fc_engine *engine, const fc_model *model,
                             const fc_profile *profile, bool measured) {
  *out = (fc_serve_view){.engine = *engine, .own = *profile};
  out->profile = &out->own;
  bool none = strcmp(engine->name, "none") == 0;
  out->own.iteration_host_s = engine->step_s + (none ? profile->iteration_host_s : 0);
  if (!measured || none) return FC_OK;
  fc_profile own;
  fc_status status = fc_engine_profile(&own, profile, &out->engine, model->attention.kind == FC_ATTENTION_MLA,
                                       model->moe.experts > 0, &out->arena, out->why);
  if (status == FC_E_DOMAIN) return FC_OK;
  if (status != FC_OK) return status;
  out->measured = true;
  out->own = own;
  *out->why = '\0';
  return FC_OK;
}

void fc_serve_view_free(fc_serve_view *view) {
  fc_arena_fini(&view->arena);
  *view = (fc_serve_view){0};
}

static const fc_format *format_of(const char *text) {
  return fc_format_find(text, strlen(text));
}

fc_serve_plan fc_serve_view_plan(const fc_serve_view *view, const fc_serve_plan *plan) {
  fc_serve_plan p = *plan;
  if (!view->measured) return p;
  const fc_format *gemm = format_of(view->engine.gemm);
  p.gemm = gemm ? gemm->dtype : FC_DTYPE_BF16;
  return p;
}

fc_serve_plan fc_serve_view_stored(const fc_serve_view *view, const fc_model *model,
                                   const fc_serve_plan *plan) {
  fc_serve_plan p = *plan;
  const fc_format *f = format_of(model->moe.experts > 0 ? view->engine.experts : view->engine.gemm);
  double bytes = f ? f->weight_bytes : 2;
  p.gemm = bytes < 0.8 ? FC_DTYPE_FP4 : bytes < 1.5 ? FC_DTYPE_FP8 : FC_DTYPE_BF16;
  return p;
}

void fc_serve_overheads(fc_replica_def *r, const fc_engine *e) {
  r->host_request_s = e->request_s;
  r->ingress_s = e->way_s + e->front_s;
  r->egress_s = e->way_s;
  r->front_request_s = e->front_request_s;
  r->steps_ahead = e->steps_ahead;
}
