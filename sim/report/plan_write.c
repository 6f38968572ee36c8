/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
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
  fc_table_int(t, (long long)c->plan.devices);
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

static void plans_table(table *t, const fc_plan_answer *a) {
  fc_table_header(
      t, "state," PLAN_COLUMNS
         ",kv_tokens,instances,devices,usd_per_mtok,usd_low,usd_high,usd_least,usd_most,usd_full,rate_per_s,"
         "rate_low_per_s,rate_high_per_s,ttft_s,ttft_half_s,tpot_s,tpot_half_s,batch_mean,kv_share,"
         "preempted,log_sd,binds,bound_rate_per_s,bound_usd_per_mtok,front,why");
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
    fc_table_end_row(t);
  }
}

static void pareto_table(table *t, const fc_plan_answer *a) {
  fc_table_header(t, PLAN_COLUMNS
                  ",instances,devices,usd_per_mtok,usd_low,usd_high,usd_least,usd_most,ttft_s,tpot_s,"
                  "tokens_per_s_user,tokens_per_s_device");
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
    fc_table_number(t, c->at.rate_per_s * a->result->output_mean / (double)c->plan.devices);
    fc_table_end_row(t);
  }
}

/* --- the folder --- */

enum { PLANS, PARETO, TABLES };

static fc_status manifest(table *t, const table *tables, const char *folder, const fc_plan_answer *a,
                          const fc_input *input, const fc_report_options *o) {
  fc_text text = {0};
  fc_text_add(&text, FC_MANIFEST_TITLE);
  fc_report_manifest_pair(&text, "fleetcast", o->version);
  fc_report_manifest_pair(&text, "command", o->command);
  fc_report_manifest_pair(&text, "plan", a->def->name);
  fc_report_manifest_pair(&text, "question", a->def->question);
  fc_report_manifest_asked(&text, o);
  for (size_t i = 0; a->views && i < a->search->n_devices; i++) {
    char key[32];
    (void)snprintf(key, sizeof key, "engine_%zu", i + 1);
    fc_report_manifest_engine(&text, key, &a->views[i]);
  }
  fc_report_manifest_pair(&text, "answer", a->result->answer);
  fc_status status = fc_report_manifest_files(&text, input, o, tables, TABLES);
  if (status == FC_OK) status = fc_table_open(t, folder, FC_FOLDER_MANIFEST);
  if (status == FC_OK) {
    fc_file_write(t->file, text.bytes, text.length);
    status = fc_table_sync(t);
  }
  int kept = errno;
  fc_text_fini(&text);
  errno = kept;
  return status;
}

static fc_status prepare(table *t, const char *folder, const fc_plan_answer *a, char *why) {
  static const char *const names[TABLES] = {[PLANS] = "plans.csv", [PARETO] = "pareto.csv"};
  for (int i = 0; i < TABLES; i++) {
    fc_folder_explain(why, folder, names[i]);
    fc_status status = fc_table_open(&t[i], folder, names[i]);
    if (status != FC_OK) return status;
    if (i == PLANS)
      plans_table(&t[i], a);
    else
      pareto_table(&t[i], a);
    if (t[i].not_finite) {
      (void)snprintf(why, FC_REPORT_WHY, "INV-9: a number of %s is not finite", names[i]);
      return FC_E_LAW;
    }
    status = fc_table_sync(&t[i]);
    if (status != FC_OK) return status;
  }
  return FC_OK;
}

fc_status fc_report_plan_write(const char *folder, const fc_plan_answer *a, const fc_input *input,
                               const fc_report_options *options, char *why) {
  table t[TABLES + 1] = {0};
  size_t made = 0;
  fc_folder_explain(why, folder, "");
  fc_status status = fc_folder_make(folder, &made);
  if (status == FC_OK) status = prepare(t, folder, a, why);
  if (status == FC_OK && options->cancel && *options->cancel) status = FC_E_CANCELLED;
  if (status == FC_OK) {
    fc_folder_explain(why, folder, FC_FOLDER_MANIFEST);
    status = manifest(&t[TABLES], t, folder, a, input, options);
  }
  if (status == FC_OK) status = fc_folder_no_manifest(folder, why);
  for (int i = 0; i <= TABLES && status == FC_OK; i++) status = fc_folder_commit(&t[i], folder, why);
  int kept = errno;
  if (status != FC_OK) {
    for (int i = 0; i <= TABLES; i++) fc_file_abandon(t[i].file);
    fc_folder_remove(folder, made);
  } else {
    *why = '\0';
  }
  errno = kept;
  return status;
}
