/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <fleetcast/cost/format.h>
#include <fleetcast/serve/case.h>

#include "serve.h"
#include "verbs.h"

enum { CONTEXT_MAX = 131072 }; /* of the step table, where nothing smaller holds */

/* Whose operators, in the plan's formats. */
static fc_status make_view(fc_serve_view *out, const fc_serve_def *def, const fc_serve_plan *plan) {
  const fc_serve_engine *e = &def->engine;
  fc_engine engine = fc_serve_host_engine(&e->host, e->engine);
  fc_serve_formats_of(&engine, plan, def->model, def->profile->device);
  if (e->experts) engine.expert_skew = e->experts->skew;
  return fc_serve_view_make(out, &engine, def->model, def->profile, e->operators == FC_OPERATORS_MEASURED);
}

static double expert_layers(const fc_model *model) {
  return (double)(model->layers - model->dense_layers);
}

static fc_status make_experts(fc_expert_load **out, const fc_replica_def *r, const fc_serve_def *def,
                              const fc_serve_plan *plan, uint64_t seed) {
  const fc_serve_experts *e = def->engine.experts;
  if (!e || plan->ep < 2) return FC_OK;
  const fc_moe *moe = &def->model->moe;
  double most = (double)r->policy.token_budget + (double)r->policy.max_batch * (1 + (double)r->n_acceptance);
  fc_expert_def d = {.experts = moe->experts, .top_k = moe->active, .ranks = plan->ep};
  d.layers = (int64_t)expert_layers(def->model);
  d.groups = plan->ep > plan->tp ? (double)plan->ep / (double)plan->tp : 1;
  d.skew = e->skew;
  d.eplb = e->eplb;
  d.redundant = e->redundant;
  d.most_tokens = most;
  d.seed = seed;
  return fc_expert_load_new(out, &d);
}

/* Plan whose memory leaves room for redundant experts: gate, up and down of each, on the ranks of a stage. */
static fc_serve_plan with_copies(const fc_serve_def *def, const fc_serve_plan *plan) {
  fc_serve_plan p = *plan;
  const fc_serve_experts *e = def->engine.experts;
  if (!e || plan->ep < 2) return p;
  const char *text = fc_dtype_text(plan->gemm);
  const fc_format *format = fc_format_find(text, strlen(text));
  double split = plan->tp > plan->ep ? (double)plan->tp : (double)plan->ep;
  double bytes = 3 * (double)def->model->hidden * (double)def->model->moe.inter *
                 (format ? format->weight_bytes : 2) * expert_layers(def->model) * (double)e->redundant /
                 split / (double)fc_serve_stages(plan);
  p.memory_fraction = fmax(0, p.memory_fraction - bytes / def->profile->device->memory_bytes);
  return p;
}

static fc_status make_steps(fc_step_table **steps, const fc_replica_def *r, const fc_serve_view *view,
                            const fc_serve_def *def, const fc_serve_plan *plan, char *why) {
  const fc_serve_engine *e = &def->engine;
  fc_step_table_def t = fc_step_table_default_def();
  int64_t held = r->kv_blocks / plan->attention_dp * e->block_tokens;
  t.max_batch = r->policy.max_batch;
  t.max_tokens = r->policy.token_budget;
  t.max_context = held < CONTEXT_MAX ? held : CONTEXT_MAX;
  if (e->max_context > 0 && e->max_context < held) t.max_context = e->max_context;
  if (!r->policy.chunked && t.max_context > t.max_tokens) t.max_tokens = t.max_context; /* prompts go whole */
  t.query_tokens = 1 + (double)r->n_acceptance;
  t.graph_padding = e->graph_padding;
  t.tolerance = e->table_tolerance;
  t.experts = r->experts;
  fc_serve_plan stepped = fc_serve_view_plan(view, plan);
  fc_step_source source = {.model = def->model, .profile = view->profile, .plan = &stepped};
  fc_status status = fc_step_table_of_model(steps, &t, &source);
  if (status != FC_OK)
    (void)snprintf(why, 256,
                   "no step time of %s on %lld %s: the profile lacks a kernel, or the plan does not divide",
                   def->model->name, (long long)plan->devices, def->profile->device->name);
  return status;
}

/* Where an instance goes. */
typedef struct {
  fc_replica_def *def;
  fc_step_table **steps;
  fc_serve_view *view;
  fc_expert_load **experts;
} instance;

static fc_status no_room(const fc_serve_def *def, const fc_serve_plan *plan, double context, char *why) {
  fc_serve_memory m;
  const fc_device *device = def->profile->device;
  fc_cost_serve_stage_memory(&m, def->model, device, plan, context);
  (void)snprintf(why, 256,
                 "no room for the cache: %s on %lld %s, weights %.1f GB of the %.1f GB that may be used",
                 def->model->name, (long long)plan->devices, device->name, m.weight_bytes / 1e9,
                 device->memory_bytes * plan->memory_fraction / 1e9);
  return FC_E_INFEASIBLE;
}

/* One instance: memory, limits, step times. */
static fc_status make_instance(const instance *to, const fc_serve_def *def, const fc_serve_plan *plan,
                               const fc_serve_policy *policy, int64_t kv_tokens, double context,
                               bool speculates, char *why) {
  const fc_serve_engine *e = &def->engine;
  fc_replica_def *out = to->def;
  *out = fc_replica_default_def();
  out->policy = *policy;
  out->block_tokens = e->block_tokens;
  fc_serve_plan held = with_copies(def, plan);
  out->kv_blocks =
      kv_tokens > 0 ? kv_tokens / e->block_tokens
                    : fc_replica_kv_blocks(def->model, def->profile->device, &held, e->block_tokens, context);
  if (out->kv_blocks < plan->attention_dp * fc_serve_stages(plan)) return no_room(def, &held, context, why);
  out->max_context = e->max_context;
  out->prefix_cache = e->prefix_cache;
  out->n_acceptance = speculates ? (int)e->n_acceptance : 0;
  for (int i = 0; i < out->n_acceptance; i++) out->acceptance[i] = e->acceptance[i];
  out->sample_acceptance = e->sample_acceptance;
  out->imbalance_cv = e->imbalance_cv;
  fc_status status = make_view(to->view, def, plan);
  if (status == FC_OK) status = make_experts(to->experts, out, def, plan, (uint64_t)def->seed);
  out->experts = *to->experts;
  if (status == FC_OK) status = make_steps(to->steps, out, to->view, def, plan, why);
  if (status != FC_OK) return status;
  out->detokenise_s = e->host.token_s;
  fc_serve_overheads(out, &to->view->engine);
  out->steps = *to->steps;
  return fc_replica_check(out, why);
}

static double default_link(const fc_serve_def *def) {
  const fc_serve_apart *a = def->apart;
  int64_t here = a->prefill_replicas * a->plan.devices, there = a->decode_replicas * def->plan.devices;
  return def->profile->device->scaleout_bytes_per_s * (double)(here < there ? here : there);
}

/* What is promised counts in goodput; the cluster's own count of it is not used, nor is a promise of E2E. */
static void put_classes(deployment *d) {
  fc_cluster_def *c = &d->cluster;
  c->n_classes = d->def->n_classes;
  c->slo = c->n_classes ? d->slo : NULL;
  for (size_t i = 0; i < c->n_classes; i++) {
    const fc_serve_class *from = &d->def->classes[i];
    d->slo[i] = (fc_slo_class){.name = from->name,
                               .ttft_s = from->ttft_s > 0 ? from->ttft_s : HUGE_VAL,
                               .tpot_s = from->tpot_s > 0 ? from->tpot_s : HUGE_VAL};
  }
}

static fc_status make_cluster(deployment *d, char *why) {
  const fc_serve_cluster *from = d->def->cluster;
  fc_cluster_def *c = &d->cluster;
  *c = fc_cluster_default_def();
  c->replica = d->replica;
  c->replicas = from->replicas;
  c->route = from->route;
  c->prefix_share = from->prefix_share;
  c->guard_ratio = from->guard_ratio;
  c->guard_requests = from->guard_requests;
  c->n_lengths = (int)from->n_length_below + 1;
  for (size_t i = 0; i < from->n_length_below; i++) c->length_below[i] = (uint32_t)from->length_below[i];
  for (size_t i = 0; i < from->n_length_share; i++) c->length_share[i] = from->length_share[i];
  c->output_known = from->output_known;
  c->scale = from->scale;
  c->failure = from->failure;
  c->failure.retries = (uint32_t)from->retries;
  c->router_queue_limit = from->router_queue;
  if (from->load_bytes_per_s > 0) {
    fc_serve_memory m;
    fc_cost_serve_stage_memory(&m, d->def->model, d->def->profile->device, &d->def->plan, 1);
    c->weights_bytes = m.weight_bytes * (double)d->def->plan.devices;
    c->load_bytes_per_s = from->load_bytes_per_s;
  }
  c->load_extra_s = from->load_extra_s;
  put_classes(d);
  d->devices = from->replicas * d->def->plan.devices;
  return fc_cluster_check(c, why);
}

fc_status cli_deployment_make(deployment *d, const fc_serve_def *def, double context, char *why) {
  *d = (deployment){.def = def, .devices = def->plan.devices};
  fc_status status =
      make_instance(&(instance){&d->replica, &d->steps, &d->view, &d->experts}, def, &def->plan,
                    &def->engine.scheduler, def->engine.kv_tokens, context, true, why);
  const fc_serve_apart *a = def->apart;
  if (status == FC_OK && def->cluster) return make_cluster(d, why);
  if (status != FC_OK || !a) return status;
  status =
      make_instance(&(instance){&d->apart.prefill, &d->prefill_steps, &d->prefill_view, &d->prefill_experts},
                    def, &a->plan, &a->scheduler, a->kv_tokens, context, false, why);
  d->apart.decode = d->replica;
  d->apart.prefill_replicas = a->prefill_replicas;
  d->apart.decode_replicas = a->decode_replicas;
  d->apart.kv_bytes_per_token = fc_model_kv_bytes_per_token(def->model, def->plan.kv);
  d->apart.link_bytes_per_s = a->link_bytes_per_s > 0 ? a->link_bytes_per_s : default_link(def);
  d->apart.link_latency_s = a->link_latency_s;
  d->apart.link_shared = a->link_shared;
  d->prefill_devices = a->prefill_replicas * a->plan.devices;
  d->devices = d->prefill_devices + a->decode_replicas * def->plan.devices;
  return status;
}

void cli_deployment_free(deployment *d) {
  fc_step_table_free(d->steps);
  fc_step_table_free(d->prefill_steps);
  fc_expert_load_free(d->experts);
  fc_expert_load_free(d->prefill_experts);
  fc_serve_view_free(&d->view);
  fc_serve_view_free(&d->prefill_view);
}

static double log_sd(const fc_serve_view *view, const fc_step_table *t, const fc_step_work *work) {
  fc_serve_iteration it;
  if (view->measured) return FC_CASE_TPOT_LOG_SD;
  return fc_step_table_direct(t, &it, work) == FC_OK ? it.log_sd : 0;
}

void cli_deployment_log_sd(const deployment *d, const fc_replica_result *r, double input, double *decode,
                           double *prefill) {
  const fc_step_table *p = d->prefill_steps ? d->prefill_steps : d->steps;
  const fc_serve_policy *policy = d->prefill_steps ? &d->apart.prefill.policy : &d->replica.policy;
  double groups = (double)fc_step_table_groups(d->steps), replicas = 1;
  if (d->prefill_steps) replicas = (double)d->apart.decode_replicas;
  if (d->def->cluster) replicas = (double)(d->cluster.replicas > 0 ? d->cluster.replicas : 1);
  double batch = fmax(groups, r->batch_mean), held = r->kv_mean * (double)d->replica.block_tokens / replicas;
  *decode = log_sd(&d->view, d->steps, &(fc_step_work){.decode = batch, .decode_context = fmax(batch, held)});
  double tokens = fmax(1, fmin(input, (double)policy->token_budget));
  groups = (double)fc_step_table_groups(p);
  *prefill = log_sd(&d->view, p,
                    &(fc_step_work){.prefill = groups * tokens,
                                    .prompts = groups,
                                    .pairs = groups * tokens * 0.5 * (tokens + 1)});
}

double cli_deployment_price(const fc_serve_def *def) {
  if (def->price_usd_per_s > 0) return def->price_usd_per_s;
  return cli_price_at(&def->profile->device->rent_usd_per_s, def->date);
}
