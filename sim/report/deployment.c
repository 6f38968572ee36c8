/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "table.h"

/* The answers of a replica and of a training step behind the fleet's: serving.csv, training.csv. */

void fc_report_serve_plan(char out[PLAN_TEXT], const fc_serve_plan *p) {
  char stages[24] = "";
  if (p->pp > 1) (void)snprintf(stages, sizeof stages, " pp%lld", (long long)p->pp);
  (void)snprintf(out, PLAN_TEXT, "tp%lld dp%lld ep%lld%s %s kv-%s%s", (long long)p->tp,
                 (long long)p->attention_dp, (long long)p->ep, stages, fc_dtype_text(p->gemm),
                 fc_dtype_text(p->kv), p->two_batch_overlap ? " two-batch-overlap" : "");
}

void fc_report_train_plan(char out[PLAN_TEXT], const fc_train_plan *p) {
  static const char *const schedule[] = {[FC_SCHEDULE_1F1B] = "1f1b",
                                         [FC_SCHEDULE_INTERLEAVED] = "interleaved",
                                         [FC_SCHEDULE_ZB1P] = "zb1p",
                                         [FC_SCHEDULE_DUALPIPE] = "dualpipe",
                                         [FC_SCHEDULE_DUALPIPEV] = "dualpipev"};
  static const char *const recompute[] = {
      [FC_RECOMPUTE_NONE] = "none", [FC_RECOMPUTE_SELECTIVE] = "selective", [FC_RECOMPUTE_FULL] = "full"};
  int64_t ranks = p->tp * p->pp * p->cp;
  (void)snprintf(
      out, PLAN_TEXT, "tp%lld pp%lld cp%lld ep%lld dp%lld zero%lld %s %s recompute-%s batch %lld x %lld",
      (long long)p->tp, (long long)p->pp, (long long)p->cp, (long long)p->ep,
      (long long)(ranks > 0 ? p->devices / ranks : 0), (long long)p->zero, schedule[p->schedule],
      fc_dtype_text(p->gemm), recompute[p->recompute], (long long)p->global_batch, (long long)p->sequence);
}

static void put_bool(table *t, bool yes) {
  fc_table_text(t, yes ? "true" : "false");
}

static void put_blanks(table *t, int n) {
  while (n-- > 0) fc_table_text(t, "");
}

static void put_surface(table *t, const fc_capacity_surface *s) {
  fc_table_int(t, s->runs);
  fc_table_number(t, s->prefill_log_sd);
  fc_table_number(t, s->decode_log_sd);
  fc_table_number(t, s->closed_prefill_tokens_per_s);
  fc_table_number(t, s->closed_decode_tokens_per_s);
  fc_table_number(t, s->direct_ttft_s);
  fc_table_number(t, s->direct_tpot_s);
  fc_table_number(t, s->prefill_error);
  fc_table_number(t, s->prefill_error_sd);
  fc_table_number(t, s->decode_error);
  fc_table_number(t, s->decode_error_sd);
  fc_table_number(t, s->cut);
}

static void put_capacity(table *t, const fc_serve_capacity *c) {
  char prefill[PLAN_TEXT], decode[PLAN_TEXT];
  fc_report_serve_plan(prefill, &c->deployment.prefill);
  fc_report_serve_plan(decode, &c->deployment.decode);
  put_bool(t, c->deployment.disaggregated);
  fc_table_text(t, c->deployment.disaggregated ? prefill : decode);
  fc_table_text(t, decode);
  fc_table_int(t, c->prefill_unit);
  fc_table_int(t, c->decode_unit);
  fc_table_number(t, c->prefill_tokens_per_s);
  fc_table_number(t, c->decode_tokens_per_s);
  fc_table_number(t, c->ttft_s);
  fc_table_number(t, c->tpot_s);
  fc_table_number(t, c->decode_batch);
  fc_table_number(t, c->kv_tokens);
  fc_table_number(t, c->prefill_utilisation);
  fc_table_number(t, c->prefill_watts);
  fc_table_number(t, c->decode_watts);
  fc_table_number(t, c->prefill_log_sd);
  fc_table_number(t, c->decode_log_sd);
  fc_table_text(t, c->prefill_limit ? c->prefill_limit : "");
  fc_table_text(t, c->decode_limit ? c->decode_limit : "");
  if (c->surface.used)
    put_surface(t, &c->surface);
  else
    put_blanks(t, 12);
}

void fc_report_serving_table(table *t, const fc_fleet_result *result) {
  fc_table_header(
      t, "service,pool,device,model,feasible,why,disaggregated,prefill_plan,decode_plan,prefill_devices,"
         "decode_devices,prefill_tokens_per_s,decode_tokens_per_s,ttft_s,tpot_s,decode_batch,kv_tokens,"
         "prefill_utilisation,prefill_w,decode_w,prefill_log_sd,decode_log_sd,prefill_limit,decode_limit,"
         "runs,prefill_surface_log_sd,decode_surface_log_sd,closed_prefill_tokens_per_s,"
         "closed_decode_tokens_per_s,direct_ttft_s,direct_tpot_s,prefill_error,prefill_error_sd,decode_error,"
         "decode_error_sd,cut");
  const fc_fleet_def *def = fc_fleet_result_def(result);
  const fc_capacity_row *row;
  size_t n = fc_fleet_capacities(result, &row);
  for (; n; n--, row++) {
    const fc_service_def *service = &def->services[row->service];
    const fc_pool_def *pool = &def->pools[row->pool];
    fc_table_text(t, service->name);
    fc_table_text(t, pool->name);
    fc_table_text(t, pool->profile->device->name);
    fc_table_text(t, service->model->name);
    put_bool(t, row->feasible);
    fc_table_text(t, row->feasible ? "" : row->why);
    if (row->feasible)
      put_capacity(t, &row->capacity);
    else
      put_blanks(t, 30);
    fc_table_end_row(t);
  }
}

run_plan fc_report_run_plan(const fc_fleet_result *result, const fc_estimate_row *row) {
  const fc_fleet_def *def = fc_fleet_result_def(result);
  const fc_train_estimate *e = &row->estimate;
  if ((size_t)row->run >= def->n_runs) {
    const fc_stream_def *stream = &def->streams[(size_t)row->run - def->n_runs];
    return (run_plan){.name = stream->name, .category = stream->category, .model = stream->model};
  }
  const fc_run_def *run = &def->runs[row->run];
  run_plan p = {.name = run->name, .category = run->category, .model = run->model, .tokens = run->tokens};
  if (!row->feasible) return p;
  if (!(p.tokens > 0) && e->flop_per_token > 0) p.tokens = run->flop / e->flop_per_token;
  double rate = e->tokens_per_s * e->goodput;
  if (rate > 0) p.days = p.tokens / rate / 86400;
  p.device_hours = p.days * 24 * (double)run->devices;
  return p;
}

static void put_estimate(table *t, const fc_train_estimate *e, const run_plan *p) {
  char plan[PLAN_TEXT];
  fc_report_train_plan(plan, &e->plan);
  fc_table_text(t, plan);
  fc_table_int(t, e->plan.devices);
  put_bool(t, e->fits);
  fc_table_number(t, e->memory_bytes / 1e9);
  fc_table_number(t, e->step_s);
  fc_table_number(t, e->step_log_sd);
  fc_table_number(t, e->tokens_per_s);
  fc_table_number(t, e->flop_per_token);
  fc_table_number(t, e->mfu);
  fc_table_number(t, e->bubble);
  fc_table_number(t, e->exposed_comm);
  fc_table_number(t, e->goodput);
  fc_table_number(t, e->watts);
  fc_table_number(t, p->tokens);
  fc_table_number(t, p->days);
  fc_table_number(t, p->device_hours);
}

void fc_report_training_table(table *t, const fc_fleet_result *result) {
  fc_table_header(
      t, "run,category,pool,device,model,feasible,why,plan,devices,fits,memory_gb,step_s,step_log_sd,"
         "tokens_per_s,flop_per_token,mfu,bubble,exposed_comm,goodput,device_w,tokens,days,"
         "device_hours");
  const fc_fleet_def *def = fc_fleet_result_def(result);
  const fc_estimate_row *row;
  size_t n = fc_fleet_estimates(result, &row);
  for (; n; n--, row++) {
    const fc_pool_def *pool = &def->pools[row->pool];
    run_plan p = fc_report_run_plan(result, row);
    fc_table_text(t, p.name);
    fc_table_text(t, fc_category_text(p.category));
    fc_table_text(t, pool->name);
    fc_table_text(t, pool->profile->device->name);
    fc_table_text(t, p.model ? p.model->name : "");
    put_bool(t, row->feasible);
    fc_table_text(t, row->feasible ? "" : row->why);
    if (row->feasible)
      put_estimate(t, &row->estimate, &p);
    else
      put_blanks(t, 16);
    fc_table_end_row(t);
  }
}
