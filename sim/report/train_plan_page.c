/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>

#include <fleetcast/report/train_plan.h>

#include "sheet.h"
#include "train_tables.h"

enum { ROWS_MOST = 40, LINE = 1024 };

static const double s_per_day = 86400;

static void add_limits(fc_text *out, const fc_train_search_def *d) {
  fc_text_printf(out, "%s", d->objective == FC_TRAIN_FASTEST ? "fastest" : "cheapest");
  if (d->wall_s > 0) fc_text_printf(out, ", within %.4g days", d->wall_s / s_per_day);
  if (d->usd > 0) fc_text_printf(out, ", within %.4g M USD", d->usd / 1e6);
  if (d->devices_max > 0) fc_text_printf(out, ", within %lld devices", (long long)d->devices_max);
  if (d->memory < 1) fc_text_printf(out, ", within %.3g %% of the memory", 100 * d->memory);
}

static void add_head(fc_text *out, const fc_train_plan_answer *a) {
  const fc_train_search_def *d = a->search;
  fc_text_printf(out, "%s\n", a->def->name);
  if (a->def->question) fc_report_wrap(out, 0, a->def->question);
  fc_text_printf(out, "%s, %.4g T tokens in sequences of %lld; ", d->model->name, d->tokens / 1e12,
                 (long long)d->base.sequence);
  add_limits(out, d);
  if (isinf(d->failure.device_mtbf_s))
    fc_text_add(out, "; nothing fails\n");
  else
    fc_text_printf(out, "; a device fails every %.0f h\n", d->failure.device_mtbf_s / 3600);
}

static void add_named(fc_text *out, const fc_train_plan_answer *a, const fc_train_candidate *c) {
  char name[FC_TRAIN_PLAN_NAME], line[LINE];
  fc_train_candidate_name(name, a->search, c);
  (void)snprintf(line, sizeof line, "%s: %s", name, c->why);
  fc_report_wrap(out, 2, line);
}

static bool first_of_device(const fc_train_search_result *r, size_t i) {
  for (size_t k = 0; k < i; k++)
    if (r->best[k].device == r->best[i].device) return false;
  return true;
}

static void add_devices(fc_text *out, const fc_train_plan_answer *a) {
  const fc_train_search_result *r = a->result;
  bool told = false;
  for (size_t i = r->n_feasible_groups ? 1 : 0; i < r->n; i++) {
    if (!first_of_device(r, i)) continue;
    if (!told) fc_text_add(out, "\nTHE BEST OF EVERY OTHER DEVICE\n");
    told = true;
    add_named(out, a, &r->best[i]);
  }
  for (size_t d = 0; d < a->search->n_devices; d++) {
    if (!*r->nothing[d]) continue;
    if (!told) fc_text_add(out, "\nTHE BEST OF EVERY OTHER DEVICE\n");
    told = true;
    fc_text_printf(out, "  %s: %s\n", a->search->devices[d].name, r->nothing[d]);
  }
}

static void plan_cell(sheet *g, const fc_train_plan *p) {
  char text[SHEET_CELL];
  int n = snprintf(text, sizeof text, "tp%lld pp%lld", (long long)p->tp, (long long)p->pp);
  if (p->cp > 1 && n < SHEET_CELL)
    n += snprintf(text + n, sizeof text - (size_t)n, " cp%lld", (long long)p->cp);
  if (p->ep > 1 && n < SHEET_CELL)
    (void)snprintf(text + n, sizeof text - (size_t)n, " ep%lld", (long long)p->ep);
  fc_sheet_cell(g, "%s", text);
}

static void row(sheet *g, const fc_train_plan_answer *a, const fc_train_candidate *c) {
  double spread = fc_train_spread(c->estimate.step_log_sd);
  fc_sheet_cell(g, "%s", c->front ? "*" : "");
  fc_sheet_cell(g, "%lld x %.20s", (long long)c->estimate.plan.devices, a->search->devices[c->device].name);
  plan_cell(g, &c->estimate.plan);
  fc_sheet_cell(g, "%.1f", c->wall_s / s_per_day);
  fc_sheet_cell(g, "%.1f-%.1f", c->wall_s / s_per_day / spread, c->wall_s / s_per_day * spread);
  fc_sheet_cell(g, "%.3f", c->usd / 1e6);
  fc_sheet_cell(g, "%.2f-%.2f", c->usd / 1e6 / spread, c->usd / 1e6 * spread);
  fc_sheet_cell(g, "%.1f %%", 100 * c->estimate.mfu);
  fc_sheet_cell(g, "%.1f %%", 100 * c->estimate.bubble);
  fc_sheet_cell(g, "%.1f %%", 100 * c->estimate.exposed_comm);
  fc_sheet_cell(g, "%.0f", c->estimate.memory_bytes / 1e9);
  fc_sheet_cell(g, "%s", c->state == FC_TRAIN_LATE ? "late" : c->state == FC_TRAIN_DEAR ? "over budget" : "");
}

static void add_table(fc_text *out, const fc_train_plan_answer *a) {
  static const char *const head[] = {"",       "devices", "degrees", "days",    "5-95 %", "M USD",
                                     "5-95 %", "MFU",     "bubble",  "exposed", "GB",     ""};
  fc_text_add(out, "\nTHE BEST PLAN OF EVERY DEVICE AND COUNT (*: nothing is both cheaper and faster)\n");
  sheet g;
  fc_sheet_init(&g, "lllrrrrrrrrl");
  for (size_t i = 0; i < sizeof head / sizeof *head; i++) fc_sheet_cell(&g, "%s", head[i]);
  size_t shown = 0;
  for (size_t i = 0; i < a->result->n; i++) {
    if (i >= ROWS_MOST && !a->result->best[i].front) continue;
    row(&g, a, &a->result->best[i]);
    shown++;
  }
  fc_sheet_print(&g, out);
  if (shown < a->result->n) fc_text_printf(out, "%zu more in plans.csv.\n", a->result->n - shown);
}

static void add_counts(fc_text *out, const fc_train_plan_answer *a) {
  const fc_train_search_result *r = a->result;
  char line[LINE];
  fc_text_printf(out, "\nPLANS: %zu tried, %zu of them by the graph of their schedule\n", r->tried,
                 r->graphs);
  for (int i = 0; i < FC_TRAIN_STATES; i++)
    if (r->count[i]) fc_text_printf(out, "%9zu  %s\n", r->count[i], fc_train_state_text((fc_train_state)i));
  for (size_t i = 0; i < r->n_reasons; i++)
    fc_text_printf(out, "%9s  %zu: %s\n", "", r->reason[i].count, r->reason[i].text);
  if (!r->graphs) return;
  (void)snprintf(
      line, sizeof line,
      "What was not timed by its graph cannot be the best, by a closed form with a margin of %.3g %%; "
      "graphs took %.1f to %.1f %% more than their closed form.",
      100 * a->search->margin, 100 * (r->graph_low - 1), 100 * (r->graph_high - 1));
  fc_report_wrap(out, 0, line);
  if (r->graph_low < 1 - a->search->margin) fc_text_add(out, "A graph passed the margin: raise it.\n");
}

static void add_near(fc_text *out, const fc_train_plan_answer *a) {
  for (size_t i = 0; i < a->result->n_near; i++) {
    if (i == 0) fc_text_add(out, "\nNEAR MISSES: what a little more memory would bring\n");
    add_named(out, a, &a->result->near[i]);
  }
}

fc_status fc_report_train_plan_page(fc_text *out, const fc_train_plan_answer *a) {
  const fc_train_search_result *r = a->result;
  add_head(out, a);
  fc_text_add(out, "\n");
  fc_report_wrap(out, 0, r->answer);
  if (r->n_feasible_groups) {
    fc_text_add(out, "\nWHAT LIMITS IT\n");
    add_named(out, a, &r->best[0]);
    if (r->runner_up.estimate.step_s > 0) {
      fc_text_add(out, "\nTHE RUNNER-UP LOST BY\n");
      add_named(out, a, &r->runner_up);
    }
  }
  add_devices(out, a);
  add_near(out, a);
  if (r->n) add_table(out, a);
  add_counts(out, a);
  return fc_text_status(out);
}
