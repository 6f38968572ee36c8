/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sheet.h"
#include "train_page.h"
#include "train_tables.h"

static const double s_per_h = 3600;

static void head_row(sheet *g, const char *const *head, size_t n) {
  for (size_t i = 0; i < n; i++) fc_sheet_cell(g, "%s", head[i]);
}

static void range_cell(sheet *g, const fc_ledger_line *l) {
  char low[SI_TEXT], high[SI_TEXT];
  fc_report_si(low, l->low);
  fc_report_si(high, l->high);
  fc_sheet_cell(g, "%s to %s", low, high);
}

/* The line of another view that says the same: a phase may have any name. */
static const fc_ledger_line *twin(const fc_train_answer *a, fc_ledger_view view, const fc_ledger_line *l) {
  for (size_t i = 0; i < a->ledger->n; i++) {
    const fc_ledger_line *x = &a->ledger->line[i];
    if (x->view == view && x->part == l->part && strcmp(x->name, l->name) == 0) return x;
  }
  return NULL;
}

static bool is_nothing(const fc_ledger_line *l) {
  return l->low == 0 && l->high == 0 && l->part == FC_LEDGER_LEFT_OUT;
}

static void amount(sheet *g, const fc_ledger_line *l) {
  if (!l || is_nothing(l)) {
    fc_sheet_cell(g, "%s", l ? "not stated" : "");
    fc_sheet_cell(g, "%s", "");
    return;
  }
  fc_sheet_si(g, l->median);
  range_cell(g, l);
}

static void ledger_row(sheet *g, const fc_ledger_line *any, const fc_ledger_line *rent,
                       const fc_ledger_line *owner) {
  fc_sheet_cell(g, "%s%.34s", any->part == FC_LEDGER_TOTAL ? "= " : "", any->name);
  amount(g, rent);
  amount(g, owner);
  fc_sheet_cell(g, "%s", any->part == FC_LEDGER_TOTAL ? "" : fc_ledger_part_text(any->part));
}

/* Rent beside an owner's books: what only one of them has first, then the sums and all around the run. */
static void add_ledger(fc_text *out, const fc_train_answer *a) {
  static const char *const head[] = {"", "rent", "5 to 95 %", "owner", "5 to 95 %", "in the reported figure"};
  sheet g;
  fc_text_add(out, "\nLEDGER, USD: at rent, and in an owner's books\n");
  fc_sheet_init(&g, "lrrrrl");
  head_row(&g, head, sizeof head / sizeof *head);
  for (size_t i = 0; i < a->ledger->n; i++) {
    const fc_ledger_line *l = &a->ledger->line[i];
    if (l->view == FC_LEDGER_RENT && !twin(a, FC_LEDGER_OWNER, l)) ledger_row(&g, l, l, NULL);
  }
  for (size_t i = 0; i < a->ledger->n; i++) {
    const fc_ledger_line *l = &a->ledger->line[i];
    bool own = l->view == FC_LEDGER_OWNER && !twin(a, FC_LEDGER_RENT, l);
    if (own && l->part != FC_LEDGER_MEMO) ledger_row(&g, l, NULL, l);
  }
  for (size_t i = 0; i < a->ledger->n; i++) {
    const fc_ledger_line *l = &a->ledger->line[i], *owner = twin(a, FC_LEDGER_OWNER, l);
    if (l->view == FC_LEDGER_RENT && owner) ledger_row(&g, l, l, owner);
  }
  for (size_t i = 0; i < a->ledger->n; i++)
    if (a->ledger->line[i].part == FC_LEDGER_MEMO)
      ledger_row(&g, &a->ledger->line[i], NULL, &a->ledger->line[i]);
  fc_sheet_print(&g, out);
}

static void add_taken_apart(fc_text *out, const fc_train_answer *a) {
  static const char *const head[] = {"", "median", "5 to 95 %", "share"};
  double all = a->costs->reported.usd;
  if (!(all > 0) || !(a->costs->reported.device_s > 0)) return;
  sheet g;
  fc_text_add(
      out,
      "\nTHE REPORTED FIGURE, USD: its device-hours at an owner's cost, and what is left of its price\n");
  fc_sheet_init(&g, "lrrr");
  head_row(&g, head, sizeof head / sizeof *head);
  for (size_t i = 0; i < a->ledger->n; i++) {
    const fc_ledger_line *l = &a->ledger->line[i];
    if (l->view != FC_LEDGER_REPORTED) continue;
    fc_sheet_cell(&g, "%s%.34s", l->part == FC_LEDGER_TOTAL ? "= " : "", l->name);
    amount(&g, l);
    fc_sheet_cell(&g, "%.0f %%", 100 * l->median / all);
  }
  fc_sheet_print(&g, out);
}

static void add_reported(fc_text *out, const fc_train_answer *a) {
  const fc_train_reported *r = &a->def->reported;
  char line[1024], usd[SI_TEXT], hours[SI_TEXT];
  if (r->usd > 0) {
    fc_report_si(usd, r->usd);
    fc_report_si(hours, r->device_s / s_per_h);
    fc_text_printf(out, "published: %s USD", usd);
    if (r->device_s > 0)
      fc_text_printf(out, " for %s device-hours, %.3g USD each", hours, r->usd * s_per_h / r->device_s);
    fc_text_add(out, "\n");
  }
  if (r->includes) {
    (void)snprintf(line, sizeof line, "it includes: %.900s", r->includes);
    fc_report_wrap(out, 0, line);
  }
  if (r->excludes) {
    (void)snprintf(line, sizeof line, "it leaves out: %.900s", r->excludes);
    fc_report_wrap(out, 0, line);
  }
}

void fc_report_train_money(fc_text *out, const fc_train_answer *a) {
  add_ledger(out, a);
  add_taken_apart(out, a);
  add_reported(out, a);
}

void fc_report_train_variants(fc_text *out, const fc_train_answer *a) {
  static const char *const head[] = {"variant", "format",   "step s", "tokens/s",  "MFU",
                                     "GB",      "device-h", "USD",    "over first"};
  if (!a->n_variants) return;
  fc_text_printf(out, "\nVARIANTS: %s, composed (Daly's goodput, rent)\n", a->phase[0].name);
  sheet g;
  fc_sheet_init(&g, "llrrrrrrr");
  head_row(&g, head, sizeof head / sizeof *head);
  for (size_t i = 0; i < a->n_variants; i++) {
    const fc_train_variant_answer *v = &a->variant[i];
    fc_sheet_cell(&g, "%.36s", v->name);
    if (!v->feasible) {
      for (size_t k = 1; k < sizeof head / sizeof *head; k++)
        fc_sheet_cell(&g, "%s", k == 1 ? "cannot be" : "");
      continue;
    }
    fc_sheet_cell(&g, "%s", fc_dtype_text(v->estimate.plan.gemm));
    fc_sheet_cell(&g, "%.3g", v->estimate.step_s);
    fc_sheet_si(&g, v->estimate.tokens_per_s);
    fc_sheet_cell(&g, "%.1f %%", 100 * v->estimate.mfu);
    fc_sheet_cell(&g, "%.1f", v->estimate.memory_bytes / 1e9);
    fc_sheet_si(&g, v->device_s / s_per_h);
    fc_sheet_si(&g, v->usd);
    fc_sheet_cell(&g, "%.2f", a->variant[0].device_s > 0 ? v->device_s / a->variant[0].device_s : 0);
  }
  fc_sheet_print(&g, out);
  for (size_t i = 0; i < a->n_variants; i++) {
    const fc_train_variant_answer *v = &a->variant[i];
    char plan[PLAN_TEXT], line[512];
    if (v->feasible) fc_report_train_plan(plan, &v->estimate.plan);
    (void)snprintf(line, sizeof line, "%.48s: %.250s", v->name, v->feasible ? plan : v->why);
    fc_report_wrap(out, 2, line);
  }
  double sd = a->variant[0].feasible ? a->variant[0].estimate.step_log_sd : 0;
  if (sd > 0)
    fc_text_printf(
        out, "each is uncertain by a factor of %.2f (90 %%); most of it is common to all and leaves ratios\n",
        fc_train_spread(sd));
}
