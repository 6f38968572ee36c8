/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <fleetcast/report/plan.h>

#include "sheet.h"

enum { FRONT_MOST = 24 };

static void add_head(fc_text *out, const fc_plan_answer *a) {
  const fc_plan_def *d = a->def;
  const fc_search_slo *slo = &a->search->slo;
  char which[16] = "mean";
  if (slo->percentile > 0) (void)snprintf(which, sizeof which, "P%g", 100 * slo->percentile);
  fc_text_printf(out, "%s\n", d->name);
  if (d->question) fc_report_wrap(out, 0, d->question);
  fc_text_printf(out, "%s, %.0f tokens in and %.0f out in the mean; %s TTFT at most %.3g s, TPOT %.3g ms",
                 d->model->name, a->result->input_mean, a->result->output_mean, which, slo->ttft_s,
                 1e3 * slo->tpot_s);
  if (a->search->rate_per_s > 0) fc_text_printf(out, "; %.4g requests/s", a->search->rate_per_s);
  fc_text_printf(out, "; %s, %s; seed %" PRIu64 "\n",
                 a->search->engine ? a->search->engine->name : "no engine", a->search->policy.name, a->seed);
}

static void add_named(fc_text *out, const char *title, const fc_search_candidate *c) {
  char name[FC_SEARCH_NAME], line[1024];
  fc_search_name(name, c);
  fc_text_printf(out, "\n%s\n", title);
  (void)snprintf(line, sizeof line, "%s: %s", name, c->why);
  fc_report_wrap(out, 2, line);
}

static void head_row(sheet *g) {
  static const char *const head[] = {"deployment", "tp",  "dp", "ep",     "batch",   "budget",
                                     "devices",    "$/M", "+-", "TTFT s", "TPOT ms", "tok/s/dev"};
  for (size_t i = 0; i < sizeof head / sizeof *head; i++) fc_sheet_cell(g, "%s", head[i]);
}

static void row(sheet *g, const fc_plan_answer *a, const fc_search_candidate *c) {
  fc_sheet_cell(g, "%.0f x %lld %.20s", c->instances, (long long)c->plan.devices, c->device);
  fc_sheet_cell(g, "%lld", (long long)c->plan.tp);
  fc_sheet_cell(g, "%lld", (long long)c->plan.attention_dp);
  fc_sheet_cell(g, "%lld", (long long)c->plan.ep);
  fc_sheet_cell(g, "%lld", (long long)c->max_batch);
  fc_sheet_cell(g, "%lld", (long long)c->token_budget);
  fc_sheet_cell(g, "%.0f", c->devices);
  fc_sheet_cell(g, "%.4f", c->usd_per_mtok);
  if (c->rate_low > 0)
    fc_sheet_cell(g, "%.4f", 0.5 * (c->usd_high - c->usd_low));
  else
    fc_sheet_cell(g, "?");
  fc_sheet_cell(g, "%.3f", c->at.ttft_s);
  fc_sheet_cell(g, "%.2f", 1e3 * c->at.tpot_s);
  fc_sheet_cell(g, "%.0f", c->at.rate_per_s * a->result->output_mean / (double)c->plan.devices);
}

static bool first_of_device(const fc_search_result *r, size_t i) {
  for (size_t k = 0; k < i; k++)
    if (strcmp(r->candidate[k].device, r->candidate[i].device) == 0) return false;
  return true;
}

static void add_devices(fc_text *out, const fc_search_result *r) {
  bool told = false;
  for (size_t i = 1; i < r->n; i++) {
    if (!first_of_device(r, i)) continue;
    char name[FC_SEARCH_NAME], line[1024];
    fc_search_name(name, &r->candidate[i]);
    (void)snprintf(line, sizeof line, "%s: %s", name, r->candidate[i].why);
    if (!told) fc_text_add(out, "\nTHE BEST OF EVERY OTHER DEVICE\n");
    told = true;
    fc_report_wrap(out, 2, line);
  }
}

static void add_front(fc_text *out, const fc_plan_answer *a) {
  const fc_search_result *r = a->result;
  fc_text_add(out, "\nPARETO FRONT: nothing simulated is both cheaper and faster a token\n");
  sheet g;
  fc_sheet_init(&g, "lrrrrrrrrrrr");
  head_row(&g);
  int rows = 0;
  for (size_t i = 0; i < r->n_met && rows < FRONT_MOST; i++) {
    if (!r->candidate[i].front) continue;
    row(&g, a, &r->candidate[i]);
    rows++;
  }
  fc_sheet_print(&g, out);
}

static void add_counts(fc_text *out, const fc_plan_answer *a) {
  const fc_search_result *r = a->result;
  fc_text_printf(out, "\nCANDIDATES: %zu, %zu of them simulated\n", r->n, r->n_simulated);
  sheet g;
  fc_sheet_init(&g, "rl");
  for (int i = 0; i < FC_SEARCH_STATES; i++) {
    if (!r->count[i]) continue;
    fc_sheet_cell(&g, "%zu", r->count[i]);
    fc_sheet_cell(&g, "%.39s", fc_search_state_text((fc_search_state)i));
  }
  fc_sheet_print(&g, out);
  if (r->undivided) fc_text_printf(out, "%zu plans do not divide the model.\n", r->undivided);
  if (!r->n_met) return;
  char line[256];
  (void)snprintf(line, sizeof line,
                 r->proven
                     ? "What was not simulated cannot be cheaper, by a closed form with a margin of %.0f %%."
                     : "Not proven: some that were not simulated could be cheaper, by a closed form with a "
                       "margin of %.0f %%; search.keep raises their number.",
                 100 * a->search->margin);
  fc_report_wrap(out, 0, line);
  if (r->excess > a->search->margin)
    fc_text_printf(out, "A simulation passed its bound by %.0f %%: raise search.margin.\n", 100 * r->excess);
}

fc_status fc_report_plan_page(fc_text *out, const fc_plan_answer *a) {
  const fc_search_result *r = a->result;
  add_head(out, a);
  fc_text_add(out, "\n");
  fc_report_wrap(out, 0, r->answer);
  if (r->n_met) {
    add_named(out, "WHAT LIMITS IT", &r->candidate[0]);
    if (r->runner_up < r->n) add_named(out, "THE RUNNER-UP LOST BY", &r->candidate[r->runner_up]);
  }
  add_devices(out, r);
  if (r->n_met) add_front(out, a);
  add_counts(out, a);
  return fc_text_status(out);
}
