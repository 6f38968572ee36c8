/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <fleetcast/report/plan.h>

#include "engine.h"
#include "sheet.h"

enum { FRONT_MOST = 24 };

/* Devices whose iterations are composed alike share a line. */
static void add_engines(fc_text *out, const fc_plan_answer *a) {
  char text[ENGINE_TEXT], other[ENGINE_TEXT], line[ENGINE_TEXT + 1024];
  bool sparse = a->def->model->moe.experts > 0;
  for (size_t i = 0; i < a->search->n_devices; i++) {
    bool told = false;
    size_t n = 0;
    fc_report_operators(text, &a->views[i], sparse);
    for (size_t k = 0; k < a->search->n_devices; k++) {
      fc_report_operators(other, &a->views[k], sparse);
      if (strcmp(text, other) != 0) continue;
      if (k < i) told = true;
      n += (size_t)snprintf(line + n, n < 512 ? 512 - n : 0, "%s%.48s", n ? ", " : "",
                            a->search->devices[k].name);
      if (n > 500) n = 500;
    }
    if (told) continue;
    (void)snprintf(line + n, sizeof line - n, ": %s", text);
    fc_report_wrap(out, 0, line);
  }
  if (a->search->n_devices) {
    fc_report_overheads(text, &a->views[0]);
    fc_report_wrap(out, 0, text);
  }
}

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
  fc_text_printf(out, "; scheduler of %s; seed %" PRIu64 "\n", a->search->policy.name, a->seed);
  if (a->views) add_engines(out, a);
}

static void add_named(fc_text *out, const char *title, const fc_search_candidate *c) {
  char name[FC_SEARCH_NAME], line[1024];
  fc_search_name(name, c);
  fc_text_printf(out, "\n%s\n", title);
  (void)snprintf(line, sizeof line, "%s: %s", name, c->why);
  fc_report_wrap(out, 2, line);
}

static void head_row(sheet *g) {
  static const char *const head[] = {"deployment", "plan", "batch",  "budget",  "devices",
                                     "$/M",        "95 %", "TTFT s", "TPOT ms", "tok/s/dev"};
  for (size_t i = 0; i < sizeof head / sizeof *head; i++) fc_sheet_cell(g, "%s", head[i]);
}

static void degrees(char out[48], const fc_serve_plan *p) {
  size_t n = (size_t)snprintf(out, 48, "tp%lld", (long long)p->tp);
  if (p->attention_dp > 1) n += (size_t)snprintf(out + n, 48 - n, " dp%lld", (long long)p->attention_dp);
  if (p->ep > 1) n += (size_t)snprintf(out + n, 48 - n, " ep%lld", (long long)p->ep);
  if (p->pp > 1) (void)snprintf(out + n, 48 - n, " pp%lld", (long long)p->pp);
}

/* "1 tp4 > 2 tp4 dp2": prompts first. */
static void plans(char out[112], const fc_search_candidate *c) {
  char prefill[48], decode[48];
  degrees(decode, &c->plan);
  degrees(prefill, &c->prefill_plan);
  if (c->prefills)
    (void)snprintf(out, 112, "%lld %s > %lld %s", (long long)c->prefills, prefill, (long long)c->decodes,
                   decode);
  else
    (void)snprintf(out, 112, "%s", decode);
}

static void row(sheet *g, const fc_plan_answer *a, const fc_search_candidate *c) {
  char plan[112], most[24] = "?";
  plans(plan, c);
  if (c->rate_low > 0) (void)snprintf(most, sizeof most, "%.4f", c->usd_most);
  fc_sheet_cell(g, "%.0f x %lld %.20s", c->instances, (long long)c->instance_devices, c->device);
  fc_sheet_cell(g, "%.38s", plan);
  fc_sheet_cell(g, "%lld", (long long)c->max_batch);
  fc_sheet_cell(g, "%lld", (long long)c->token_budget);
  fc_sheet_cell(g, "%.0f", c->devices);
  fc_sheet_cell(g, "%.4f", c->usd_per_mtok);
  fc_sheet_cell(g, "%.4f-%.12s", c->usd_least, most);
  fc_sheet_cell(g, "%.3f", c->at.ttft_s);
  fc_sheet_cell(g, "%.2f", 1e3 * c->at.tpot_s);
  fc_sheet_cell(g, "%.0f", c->at.rate_per_s * a->result->output_mean / (double)c->instance_devices);
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
  if (a->search->apart) fc_text_add(out, "(plan with >: prefill > decode, instances of each)\n");
  sheet g;
  fc_sheet_init(&g, "llrrrrrrrr");
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
  for (int i = 0; i < FC_SEARCH_STATES; i++)
    if (r->count[i]) fc_text_printf(out, "%5zu  %s\n", r->count[i], fc_search_state_text((fc_search_state)i));
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
  if (r->n_met && r->other_way < r->n && r->other_way != r->runner_up)
    add_named(out,
              r->candidate[0].prefills ? "THE BEST WITHOUT DISAGGREGATION" : "THE BEST WITH DISAGGREGATION",
              &r->candidate[r->other_way]);
  add_devices(out, r);
  if (r->n_met) add_front(out, a);
  add_counts(out, a);
  return fc_text_status(out);
}
