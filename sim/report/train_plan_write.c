/* SPDX-License-Identifier: Apache-2.0 */
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

static void plans_table(table *t, const void *answer) {
  const fc_train_plan_answer *a = answer;
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

static void counts_table(table *t, const void *answer) {
  const fc_train_plan_answer *a = answer;
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

static void front_svg(table *t, const void *answer) {
  fc_train_plan_front_svg(t, answer);
}

/* --- the folder --- */

static fc_text head(const fc_train_plan_answer *a, const fc_report_options *o) {
  fc_text text = {0};
  fc_report_manifest_begin(&text, o, "train_plan", a->def->name, a->def->question);
  fc_report_manifest_asked(&text, o);
  fc_report_manifest_pair(&text, "answer", a->result->answer);
  return text;
}

fc_status fc_report_train_plan_write(const char *folder, const fc_train_plan_answer *a, const fc_input *input,
                                     const fc_report_options *options, char *why) {
  static const fc_folder_file files[] = {
      {"plans.csv", plans_table}, {"counts.csv", counts_table}, {"front.svg", front_svg}};
  fc_folder f;
  fc_status status = fc_folder_open(&f, folder, why);
  if (status == FC_OK) status = fc_folder_fill(&f, files, sizeof files / sizeof *files, a);
  if (status == FC_OK) {
    fc_text text = head(a, options);
    status = fc_folder_commit(&f, &text, input, options);
  }
  return fc_folder_end(&f, status);
}
