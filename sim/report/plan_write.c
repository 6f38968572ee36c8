/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>

#include <fleetcast/report/plan.h>

#include "engine.h"
#include "folder.h"
#include "manifest.h"

/* --- the tables --- */

static void number_if(table *t, bool known, double value) {
  if (known)
    fc_table_number(t, value);
  else
    fc_table_text(t, "");
}

static void add_plan(table *t, const fc_search_candidate *c) {
  fc_table_text(t, c->device);
  fc_table_number(t, 3600 * c->usd_per_s);
  fc_table_int(t, (long long)c->instance_devices);
  fc_table_int(t, (long long)c->plan.tp);
  fc_table_int(t, (long long)c->plan.attention_dp);
  fc_table_int(t, (long long)c->plan.ep);
  fc_table_int(t, (long long)fc_serve_stages(&c->plan));
  fc_table_text(t, fc_dtype_text(c->plan.gemm));
  fc_table_text(t, fc_dtype_text(c->plan.kv));
  fc_table_int(t, c->plan.two_batch_overlap);
  fc_table_int(t, (long long)c->max_batch);
  fc_table_int(t, (long long)c->token_budget);
}

#define PLAN_COLUMNS                                                                                         \
  "device,usd_per_device_h,instance_devices,tp,attention_dp,ep,pp,gemm,kv,two_batch_overlap,max_batch,"      \
  "token_"                                                                                                   \
  "budget"

#define APART_COLUMNS                                                                                        \
  "prefill_instances,decode_instances,prefill_devices,prefill_tp,prefill_attention_dp,prefill_ep,prefill_pp"

/* Empty where one instance does both. */
static void add_apart(table *t, const fc_search_candidate *c) {
  const fc_serve_plan *p = &c->prefill_plan;
  const int64_t value[] = {c->prefills,
                           c->decodes,
                           p->devices,
                           p->tp,
                           p->attention_dp,
                           p->ep,
                           c->prefills ? fc_serve_stages(p) : 0};
  for (size_t i = 0; i < sizeof value / sizeof *value; i++)
    if (c->prefills)
      fc_table_int(t, (long long)value[i]);
    else
      fc_table_text(t, "");
}

static void plans_table(table *t, const void *answer) {
  const fc_plan_answer *a = answer;
  fc_table_header(
      t, "state," PLAN_COLUMNS
         ",kv_tokens,instances,devices,usd_per_mtok,usd_low,usd_high,usd_least,usd_most,usd_full,rate_per_s,"
         "rate_low_per_s,rate_high_per_s,ttft_s,ttft_half_s,tpot_s,tpot_half_s,batch_mean,kv_share,"
         "preempted,log_sd,binds,bound_rate_per_s,bound_usd_per_mtok,front,why," APART_COLUMNS);
  for (size_t i = 0; i < a->result->n; i++) {
    const fc_search_candidate *c = &a->result->candidate[i];
    bool met = c->state == FC_SEARCH_MET, run = met || c->state == FC_SEARCH_MISSED,
         bound = c->bound_rate > 0;
    fc_table_text(t, fc_search_state_text(c->state));
    add_plan(t, c);
    fc_table_int(t, (long long)c->kv_blocks * (long long)a->search->block_tokens);
    number_if(t, met, c->instances);
    number_if(t, met, c->devices);
    number_if(t, met, c->usd_per_mtok);
    number_if(t, met, c->usd_low);
    number_if(t, met && isfinite(c->usd_high), c->usd_high);
    number_if(t, met, c->usd_least);
    number_if(t, met && isfinite(c->usd_most), c->usd_most);
    number_if(t, met, c->usd_full);
    number_if(t, run, c->at.rate_per_s);
    number_if(t, met, c->rate_low);
    number_if(t, met, c->rate_high);
    number_if(t, run, c->at.ttft_s);
    number_if(t, run, c->at.ttft_half_s);
    number_if(t, run, c->at.tpot_s);
    number_if(t, run, c->at.tpot_half_s);
    number_if(t, run, c->at.batch_mean);
    number_if(t, run, c->at.kv_share);
    number_if(t, run, c->at.preempted);
    number_if(t, met, c->log_sd);
    fc_table_text(t, run ? fc_search_binds_text(c->binds) : "");
    number_if(t, bound, c->bound_rate);
    number_if(t, bound, c->bound_usd_per_mtok);
    fc_table_int(t, c->front);
    fc_table_text(t, c->why);
    add_apart(t, c);
    fc_table_end_row(t);
  }
}

static void pareto_table(table *t, const void *answer) {
  const fc_plan_answer *a = answer;
  fc_table_header(t, PLAN_COLUMNS
                  ",instances,devices,usd_per_mtok,usd_low,usd_high,usd_least,usd_most,ttft_s,tpot_s,"
                  "tokens_per_s_user,tokens_per_s_device," APART_COLUMNS);
  for (size_t i = 0; i < a->result->n_met; i++) {
    const fc_search_candidate *c = &a->result->candidate[i];
    if (!c->front) continue;
    add_plan(t, c);
    fc_table_number(t, c->instances);
    fc_table_number(t, c->devices);
    fc_table_number(t, c->usd_per_mtok);
    fc_table_number(t, c->usd_low);
    number_if(t, isfinite(c->usd_high), c->usd_high);
    fc_table_number(t, c->usd_least);
    number_if(t, isfinite(c->usd_most), c->usd_most);
    fc_table_number(t, c->at.ttft_s);
    fc_table_number(t, c->at.tpot_s);
    fc_table_number(t, 1 / c->at.tpot_s);
    fc_table_number(t, c->at.rate_per_s * a->result->output_mean / (double)c->instance_devices);
    add_apart(t, c);
    fc_table_end_row(t);
  }
}

/* --- the folder --- */

static fc_text head(const fc_plan_answer *a, const fc_report_options *o) {
  fc_text text = {0};
  fc_report_manifest_begin(&text, o, "plan", a->def->name, a->def->question);
  fc_report_manifest_asked(&text, o);
  for (size_t i = 0; a->views && i < a->search->n_devices; i++) {
    char key[32];
    (void)snprintf(key, sizeof key, "engine_%zu", i + 1);
    fc_report_manifest_engine(&text, key, &a->views[i]);
  }
  fc_report_manifest_pair(&text, "answer", a->result->answer);
  return text;
}

fc_status fc_report_plan_write(const char *folder, const fc_plan_answer *a, const fc_input *input,
                               const fc_report_options *options, char *why) {
  static const fc_folder_file files[] = {{"plans.csv", plans_table}, {"pareto.csv", pareto_table}};
  fc_folder f;
  fc_status status = fc_folder_open(&f, folder, why);
  if (status == FC_OK) status = fc_folder_fill(&f, files, sizeof files / sizeof *files, a);
  if (status == FC_OK) {
    fc_text text = head(a, options);
    status = fc_folder_commit(&f, &text, input, options);
  }
  return fc_folder_end(&f, status);
}
