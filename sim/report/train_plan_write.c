/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include <fleetcast/report/train_plan.h>

#include "folder.h"
#include "manifest.h"
#include "train_tables.h"
#include "train_plan_svg.h"

/* --- the tables --- */

static const char *const schedule_words[] = {"1f1b", "interleaved", "zb1p", "dualpipe", "dualpipev"};
static const char *const recompute_words[] = {"none", "selective", "full"};

static void plan_row(table *t, const fc_train_plan_answer *a, const fc_train_candidate *c, const char *role) {
  const fc_train_estimate *e = &c->estimate;
  const fc_train_plan *p = &e->plan;
  double spread = fc_train_spread(e->step_log_sd);
  fc_table_text(t, role);
  fc_table_text(t, fc_train_state_text(c->state));
  fc_table_int(t, c->front);
  fc_table_text(t, a->search->devices[c->device].name);
  fc_table_number(t, 3600 * a->search->devices[c->device].usd_per_s);
  const int64_t degree[] = {p->devices, p->tp, p->pp, p->cp, p->ep, p->devices / (p->tp * p->pp * p->cp)};
  for (size_t i = 0; i < sizeof degree / sizeof *degree; i++) fc_table_int(t, (long long)degree[i]);
  fc_table_text(t, schedule_words[p->schedule]);
  const int64_t batch[] = {p->virtual_stages, p->micro_batch, p->global_batch, p->sequence, p->zero};
  for (size_t i = 0; i < sizeof batch / sizeof *batch; i++) fc_table_int(t, (long long)batch[i]);
  fc_table_text(t, recompute_words[p->recompute]);
  fc_table_text(t, fc_dtype_text(p->gemm));
  double days = c->wall_s / 86400;
  const double figure[] = {days,
                           days / spread,
                           days * spread,
                           c->device_s / 3600,
                           c->usd,
                           c->usd / spread,
                           c->usd * spread,
                           e->step_s,
                           c->closed_s,
                           e->step_log_sd,
                           e->tokens_per_s,
                           e->mfu,
                           e->bubble,
                           e->exposed_comm,
                           e->goodput,
                           e->watts,
                           e->memory_bytes,
                           c->short_bytes};
  for (size_t i = 0; i < sizeof figure / sizeof *figure; i++) fc_table_number(t, figure[i]);
  fc_table_text(t, c->why);
  fc_table_end_row(t);
}

static void plans_table(table *t, const fc_train_plan_answer *a) {
  const fc_train_search_result *r = a->result;
  fc_table_header(
      t, "role,state,front,device,usd_per_device_h,devices,tp,pp,cp,ep,dp,schedule,virtual_stages,"
         "micro_batch,global_batch,sequence,zero,recompute,gemm,days,days_low,days_high,device_hours,"
         "usd,usd_low,usd_high,step_s,closed_step_s,step_log_sd,tokens_per_s,mfu,bubble,exposed_comm,"
         "goodput,device_w,memory_bytes,short_bytes,why");
  for (size_t i = 0; i < r->n; i++)
    plan_row(t, a, &r->best[i], i == 0 && r->n_feasible_groups ? "best" : "best of device and count");
  if (r->runner_up.estimate.step_s > 0) plan_row(t, a, &r->runner_up, "runner-up");
  for (size_t i = 0; i < r->n_near; i++) plan_row(t, a, &r->near[i], "near miss");
}

static void counts_table(table *t, const fc_train_plan_answer *a) {
  const fc_train_search_result *r = a->result;
  fc_table_header(t, "state,reason,plans");
  for (int i = 0; i < FC_TRAIN_STATES; i++) {
    if (i == FC_TRAIN_REFUSED) continue;
    fc_table_text(t, fc_train_state_text((fc_train_state)i));
    fc_table_text(t, "");
    fc_table_int(t, (long long)r->count[i]);
    fc_table_end_row(t);
  }
  for (size_t i = 0; i < r->n_reasons; i++) {
    fc_table_text(t, fc_train_state_text(FC_TRAIN_REFUSED));
    fc_table_text(t, r->reason[i].text);
    fc_table_int(t, (long long)r->reason[i].count);
    fc_table_end_row(t);
  }
}

/* --- the folder --- */

enum { PLANS, COUNTS, FRONT_SVG, TABLES };

static fc_status manifest(table *t, const table *tables, const char *folder, const fc_train_plan_answer *a,
                          const fc_input *input, const fc_report_options *o) {
  fc_text text = {0};
  fc_text_add(&text, FC_MANIFEST_TITLE);
  fc_report_manifest_pair(&text, "fleetcast", o->version);
  fc_report_manifest_pair(&text, "command", o->command);
  fc_report_manifest_pair(&text, "train_plan", a->def->name);
  fc_report_manifest_pair(&text, "question", a->def->question);
  fc_report_manifest_asked(&text, o);
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

static fc_status prepare(table *t, const char *folder, const fc_train_plan_answer *a, char *why) {
  static const char *const names[TABLES] = {
      [PLANS] = "plans.csv", [COUNTS] = "counts.csv", [FRONT_SVG] = "front.svg"};
  static void (*const fill[TABLES])(table *, const fc_train_plan_answer *) = {
      [PLANS] = plans_table, [COUNTS] = counts_table, [FRONT_SVG] = fc_train_plan_front_svg};
  for (int i = 0; i < TABLES; i++) {
    fc_folder_explain(why, folder, names[i]);
    fc_status status = fc_table_open(&t[i], folder, names[i]);
    if (status != FC_OK) return status;
    fill[i](&t[i], a);
    if (t[i].not_finite) {
      (void)snprintf(why, FC_REPORT_WHY, "INV-9: a number of %s is not finite", names[i]);
      return FC_E_LAW;
    }
    status = fc_table_sync(&t[i]);
    if (status != FC_OK) return status;
  }
  return FC_OK;
}

fc_status fc_report_train_plan_write(const char *folder, const fc_train_plan_answer *a, const fc_input *input,
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
