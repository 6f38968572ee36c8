/* SPDX-License-Identifier: Apache-2.0 */
#include "train_tables.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double s_per_h = 3600, s_per_day = 86400;

static void number_if(table *t, bool known, double value) {
  if (known)
    fc_table_number(t, value);
  else
    fc_table_text(t, "");
}

/* --- step, memory, phases --- */

fc_status fc_train_step_table(table *t, const fc_train_answer *a) {
  fc_table_header(t, "phase,part,seconds,share");
  for (size_t i = 0; i < a->n_phases; i++)
    for (size_t k = 0; k < TRAIN_PARTS && a->phase[i].composed; k++) {
      double s = fc_train_part_s(&a->phase[i].step, k);
      fc_table_text(t, a->phase[i].name);
      fc_table_text(t, fc_train_part_word[k]);
      fc_table_number(t, s);
      fc_table_number(t, s / a->phase[i].step.seconds);
      fc_table_end_row(t);
    }
  return FC_OK;
}

fc_status fc_train_memory_table(table *t, const fc_train_answer *a) {
  fc_table_header(t, "phase,part,bytes,share_of_device");
  for (size_t i = 0; i < a->n_phases; i++)
    for (size_t k = 0; k < TRAIN_STORES && a->phase[i].composed; k++) {
      double bytes = fc_train_store_bytes(&a->phase[i].memory, k);
      fc_table_text(t, a->phase[i].name);
      fc_table_text(t, fc_train_store_word[k]);
      fc_table_number(t, bytes);
      fc_table_number(t, bytes / a->def->profile->device->memory_bytes);
      fc_table_end_row(t);
    }
  return FC_OK;
}

fc_status fc_train_phases_table(table *t, const fc_train_answer *a) {
  fc_table_header(
      t, "phase,composed,tokens,steps,step_s,step_low_s,step_high_s,step_cv,step_p99_over_mean,tokens_per_"
         "day,mfu,bubble_share,"
         "exposed_communication_share,rollout_share,memory_bytes,watts,goodput_closed_form,device_hours_"
         "closed_form,reported_device_hours,plan");
  for (size_t i = 0; i < a->n_phases; i++) {
    const fc_train_phase_answer *p = &a->phase[i];
    const fc_train_estimate *e = &p->estimate;
    double spread = fc_train_spread(e->step_log_sd);
    char plan[PLAN_TEXT] = "";
    if (p->composed) fc_report_train_plan(plan, &e->plan);
    fc_table_text(t, p->name);
    fc_table_int(t, p->composed);
    number_if(t, p->composed, p->tokens);
    number_if(t, p->composed, p->steps);
    number_if(t, p->composed, e->step_s);
    number_if(t, p->composed, e->step_s / spread);
    number_if(t, p->composed, e->step_s * spread);
    number_if(t, p->composed, p->step_cv);
    number_if(t, p->composed, p->step_p99);
    number_if(t, p->composed, e->tokens_per_s * s_per_day);
    number_if(t, p->composed, e->mfu);
    number_if(t, p->composed, e->bubble);
    number_if(t, p->composed, e->exposed_comm);
    number_if(t, p->composed, p->rollout_s / p->work_s);
    number_if(t, p->composed, e->memory_bytes);
    fc_table_number(t, p->watts);
    number_if(t, p->composed, e->goodput);
    number_if(t, p->closed_form_device_s > 0, p->closed_form_device_s / s_per_h);
    number_if(t, p->reported_device_s > 0, p->reported_device_s / s_per_h);
    fc_table_text(t, plan);
    fc_table_end_row(t);
  }
  return FC_OK;
}

/* --- the run --- */

typedef double sampler(const fc_train_answer *answer, const fc_recovery_sample *sample, size_t index);

static fc_status run_row(table *t, const fc_train_answer *a, const char *figure, const char *of,
                         const char *unit, sampler *sample, size_t index, double published) {
  fc_train_range r;
  fc_status status = fc_train_range_of(&r, a, sample, index);
  if (status != FC_OK) return status;
  fc_table_text(t, figure);
  fc_table_text(t, of);
  fc_table_text(t, unit);
  fc_table_number(t, r.low);
  fc_table_number(t, r.median);
  fc_table_number(t, r.high);
  number_if(t, published > 0, published);
  number_if(t, published > 0, r.median / (published > 0 ? published : 1) - 1);
  fc_table_text(t, published > 0 ? published >= r.low && published <= r.high ? "1" : "0" : "");
  fc_table_end_row(t);
  return FC_OK;
}

fc_status fc_train_run_table(table *t, const fc_train_answer *a) {
  fc_table_header(t, "figure,of,unit,low,median,high,published,error,inside");
  fc_status status = FC_OK;
  for (int i = 0; i < FC_TRAIN_FIGURES && status == FC_OK; i++) {
    fc_train_figure f = (fc_train_figure)i;
    status = run_row(t, a, fc_train_figure_word(f), "", fc_train_figure_unit(f), fc_train_sample_figure,
                     (size_t)i, fc_train_published(a, f));
  }
  for (size_t i = 0; i < a->n_phases && status == FC_OK; i++)
    status = run_row(t, a, "phase_device_hours", a->phase[i].name, "device-h", fc_train_sample_phase, i,
                     a->phase[i].reported_device_s / s_per_h);
  for (size_t i = 0; i < FC_HELD_COUNT && status == FC_OK; i++)
    status = run_row(t, a, "category_device_hours", fc_held_word((fc_held)i), "device-h",
                     fc_train_sample_held, i, 0);
  return status;
}

fc_status fc_train_stops_table(table *t, const fc_train_answer *a) {
  static const char *const level[] = {"device", "node", "run"}, *const law[] = {"exponential", "weibull",
                                                                                "regular"};
  fc_table_header(t, "cause,level,law,planned,mtbf_h,stops_low,stops_median,stops_high");
  for (size_t i = 0; i < a->recovery->n_hazards; i++) {
    const fc_hazard *h = &a->recovery->hazards[i];
    fc_train_range r;
    fc_status status = fc_train_range_of(&r, a, fc_train_sample_stops, i);
    if (status != FC_OK) return status;
    fc_table_text(t, h->name);
    fc_table_text(t, level[h->level]);
    fc_table_text(t, law[h->law]);
    fc_table_int(t, h->planned);
    fc_table_number(t, fc_dist_median(&h->mtbf_s) / s_per_h);
    fc_table_number(t, r.low);
    fc_table_number(t, r.median);
    fc_table_number(t, r.high);
    fc_table_end_row(t);
  }
  return FC_OK;
}

/* --- money --- */

/* Its own `source:`, or where the default comes from. */
static const char *source_of(const fc_train_answer *a, const fc_input *input, const fc_ledger_line *l) {
  char path[96];
  if (l->cost < 0) { /* a line of the user's own, or a sum */
    for (size_t i = 0; i < a->costs->n_others; i++) {
      if (strcmp(a->costs->others[i].name, l->name) != 0) continue;
      (void)snprintf(path, sizeof path, "ledger.others[%zu].", i);
      for (size_t k = 0; input && k < fc_input_n_sources(input); k++)
        if (strncmp(fc_input_source_at(input, k)->path, path, strlen(path)) == 0)
          return fc_input_source_at(input, k)->source;
    }
    return "";
  }
  (void)snprintf(path, sizeof path, "ledger.%s", fc_cost_key((fc_cost)l->cost));
  for (size_t k = 0; input && k < fc_input_n_sources(input); k++)
    if (strcmp(fc_input_source_at(input, k)->path, path) == 0) return fc_input_source_at(input, k)->source;
  return a->def->ledger.stated[l->cost] ? "stated without a source"
                                        : fc_cost_default_source((fc_cost)l->cost);
}

fc_status fc_train_ledger_table(table *t, const fc_train_answer *a, const fc_input *input) {
  fc_table_header(t, "view,line,part,low_usd,median_usd,high_usd,mean_usd,covers,source");
  for (size_t i = 0; i < a->ledger->n; i++) {
    const fc_ledger_line *l = &a->ledger->line[i];
    fc_table_text(t, fc_ledger_view_text(l->view));
    fc_table_text(t, l->name);
    fc_table_text(t, fc_ledger_part_text(l->part));
    fc_table_number(t, l->low);
    fc_table_number(t, l->median);
    fc_table_number(t, l->high);
    fc_table_number(t, l->mean);
    fc_table_text(t, l->covers);
    fc_table_text(t, source_of(a, input, l));
    fc_table_end_row(t);
  }
  return FC_OK;
}

fc_status fc_train_variants_table(table *t, const fc_train_answer *a) {
  fc_table_header(
      t, "variant,model,gemm,devices,feasible,step_s,tokens_per_s,mfu,memory_bytes,bubble_share,exposed_"
         "communication_share,device_hours,low_device_hours,high_device_hours,usd,over_first,plan,why");
  for (size_t i = 0; i < a->n_variants; i++) {
    const fc_train_variant_answer *v = &a->variant[i], *first = &a->variant[0];
    const fc_train_estimate *e = &v->estimate;
    bool ok = v->feasible;
    double spread = fc_train_spread(e->step_log_sd);
    char plan[PLAN_TEXT] = "";
    if (ok) fc_report_train_plan(plan, &e->plan);
    fc_table_text(t, v->name);
    fc_table_text(t, v->model);
    fc_table_text(t, ok ? fc_dtype_text(e->plan.gemm) : "");
    fc_table_int(t, (long long)a->def->variants[i].devices);
    fc_table_int(t, ok);
    number_if(t, ok, e->step_s);
    number_if(t, ok, e->tokens_per_s);
    number_if(t, ok, e->mfu);
    number_if(t, ok, e->memory_bytes);
    number_if(t, ok, e->bubble);
    number_if(t, ok, e->exposed_comm);
    number_if(t, ok, v->device_s / s_per_h);
    number_if(t, ok, v->device_s / s_per_h / spread);
    number_if(t, ok, v->device_s / s_per_h * spread);
    number_if(t, ok, v->usd);
    number_if(t, ok && first->feasible, v->device_s / (first->device_s > 0 ? first->device_s : 1));
    fc_table_text(t, plan);
    fc_table_text(t, v->why);
    fc_table_end_row(t);
  }
  return FC_OK;
}
