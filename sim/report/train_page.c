/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "sheet.h"
#include "train_page.h"
#include "train_tables.h"

static const double s_per_h = 3600, s_per_day = 86400, bytes_per_gb = 1e9;

static void add_head(fc_text *out, const fc_train_answer *a) {
  const fc_train_def *d = a->def;
  fc_text_printf(out, "%s\n", d->name);
  if (d->question) fc_report_wrap(out, 0, d->question);
  char held[SI_TEXT];
  fc_report_si(held, (double)a->costs->spare_devices);
  fc_text_printf(out, "%s on %lld %s", d->model->name, (long long)d->devices, d->profile->device_name);
  if (a->costs->spare_devices) fc_text_printf(out, " and %s in spare nodes", held);
  fc_text_printf(out, "; %zu lives of the run; seed %" PRIu64 "\n", a->n_samples, a->seed);
}

/* --- step --- */

static void add_steps(fc_text *out, const fc_train_answer *a) {
  fc_text_add(out,
              "\nSTEP (MFU: causal model FLOP, recomputation not counted, over the BF16 peak; +-: 90 %)\n");
  static const char *const head[] = {"phase", "step s", "+-",           "p99/mean", "tokens/day",
                                     "MFU",   "bubble", "exposed comm", "GB",       "of"};
  sheet g;
  fc_sheet_init(&g, "lrrrrrrrrr");
  for (size_t i = 0; i < sizeof head / sizeof *head; i++) fc_sheet_cell(&g, "%s", head[i]);
  for (size_t i = 0; i < a->n_phases; i++) {
    const fc_train_phase_answer *p = &a->phase[i];
    const fc_train_estimate *e = &p->estimate;
    fc_sheet_cell(&g, "%.36s", p->name);
    if (!p->composed) {
      for (int k = 0; k < 9; k++) fc_sheet_cell(&g, "%s", k ? "" : "stated");
      continue;
    }
    fc_sheet_cell(&g, "%.3g", e->step_s);
    fc_sheet_cell(&g, "x%.2f", fc_train_spread(e->step_log_sd));
    fc_sheet_cell(&g, "%.3f", p->step_p99);
    fc_sheet_si(&g, e->tokens_per_s * s_per_day);
    fc_sheet_cell(&g, "%.1f %%", 100 * e->mfu);
    fc_sheet_cell(&g, "%.1f %%", 100 * e->bubble);
    fc_sheet_cell(&g, "%.1f %%", 100 * e->exposed_comm);
    fc_sheet_cell(&g, "%.1f", e->memory_bytes / bytes_per_gb);
    fc_sheet_cell(&g, "%.0f", a->def->profile->device->memory_bytes / bytes_per_gb);
  }
  fc_sheet_print(&g, out);
  for (size_t i = 0; i < a->n_phases; i++)
    if (a->phase[i].composed && !a->phase[i].estimate.fits)
      fc_text_printf(
          out, "%s: over the memory, but within what the memory model errs by: the stated plan is taken\n",
          a->phase[i].name);
  fc_text_add(out, "plans:\n");
  for (size_t i = 0; i < a->n_phases; i++) {
    char plan[PLAN_TEXT];
    if (!a->phase[i].composed) continue;
    fc_report_train_plan(plan, &a->phase[i].estimate.plan);
    fc_text_printf(out, "  %s: %s\n", a->phase[i].name, plan);
  }
}

/* Of the first composed phase. */
static void add_parts(fc_text *out, const fc_train_answer *a) {
  const fc_train_phase_answer *p = NULL;
  for (size_t i = 0; i < a->n_phases && !p; i++)
    if (a->phase[i].composed) p = &a->phase[i];
  if (!p) return;
  fc_text_printf(out, "\nWHERE A STEP AND THE MEMORY OF THE FULLEST DEVICE GO: %s\n", p->name);
  sheet g;
  fc_sheet_init(&g, "lrrlr");
  size_t store = 0;
  for (size_t k = 0; k < TRAIN_PARTS; k++) {
    double s = fc_train_part_s(&p->step, k);
    if (s == 0) continue;
    fc_sheet_cell(&g, "%s", fc_train_part_word[k]);
    fc_sheet_cell(&g, "%.3f s", s);
    fc_sheet_cell(&g, "%.1f %%", 100 * s / p->step.seconds);
    if (store < TRAIN_STORES) {
      fc_sheet_cell(&g, "  %s", fc_train_store_word[store]);
      fc_sheet_cell(&g, "%.1f GB", fc_train_store_bytes(&p->memory, store++) / bytes_per_gb);
    } else {
      fc_sheet_cell(&g, "%s", "");
      fc_sheet_cell(&g, "%s", "");
    }
  }
  fc_sheet_print(&g, out);
}

/* --- the run --- */

typedef double sampler(const fc_train_answer *answer, const fc_recovery_sample *sample, size_t index);

typedef struct {
  fc_text *out;
  const fc_train_answer *a;
  sheet g;
  fc_status status;
} run_sheet;

static void figure(sheet *g, double value, bool share) {
  if (share)
    fc_sheet_cell(g, "%.1f %%  ", 100 * value);
  else
    fc_sheet_si(g, value);
}

static void row(run_sheet *s, const char *name, sampler *sample, size_t index, double published, bool share) {
  fc_train_range r;
  if (s->status == FC_OK) s->status = fc_train_range_of(&r, s->a, sample, index);
  if (s->status != FC_OK) return;
  fc_sheet_cell(&s->g, "%.38s", name);
  figure(&s->g, r.low, share);
  figure(&s->g, r.median, share);
  figure(&s->g, r.high, share);
  if (!(published > 0)) {
    for (int i = 0; i < 3; i++) fc_sheet_cell(&s->g, "%s", "");
    return;
  }
  figure(&s->g, published, share);
  fc_sheet_cell(&s->g, "%+.0f %%", 100 * (r.median / published - 1));
  fc_sheet_cell(&s->g, "%s", published >= r.low && published <= r.high ? "inside" : "outside");
}

static const char *figure_text(const fc_train_answer *a, fc_train_figure f) {
  bool window = fc_train_window_s(a) > 0;
  switch (f) {
  case FC_TRAIN_DAYS: return "days";
  case FC_TRAIN_DEVICE_HOURS: return "device-hours of the run";
  case FC_TRAIN_HELD_HOURS: return "  with spares";
  case FC_TRAIN_GOODPUT: return "goodput: productive share";
  case FC_TRAIN_TOKENS_PER_DAY: return "tokens/day, stops included";
  case FC_TRAIN_INTERRUPTIONS: return window ? "stops in the window" : "stops";
  case FC_TRAIN_UNEXPECTED: return window ? "  unexpected" : "  unexpected";
  case FC_TRAIN_MFU: return "MFU while computing, first phase";
  case FC_TRAIN_MFU_WALL: return "MFU over all its time";
  case FC_TRAIN_ENERGY: return "energy of the facility (kWh)";
  case FC_TRAIN_FIGURES: break;
  }
  return "";
}

static fc_status add_run(fc_text *out, const fc_train_answer *a) {
  static const char *const head[] = {"", "5 %", "median", "95 %", "published", "error", ""};
  run_sheet s = {.out = out, .a = a};
  fc_text_add(out, "\nTHE RUN (5, 50 and 95 % of its lives)\n");
  fc_sheet_init(&s.g, "lrrrrrl");
  for (size_t i = 0; i < sizeof head / sizeof *head; i++) fc_sheet_cell(&s.g, "%s", head[i]);
  for (int i = 0; i < FC_TRAIN_FIGURES; i++) {
    fc_train_figure f = (fc_train_figure)i;
    bool share = f == FC_TRAIN_GOODPUT || f == FC_TRAIN_MFU || f == FC_TRAIN_MFU_WALL;
    row(&s, figure_text(a, f), fc_train_sample_figure, (size_t)i, fc_train_published(a, f), share);
  }
  for (size_t i = 0; i < a->n_phases; i++) {
    char name[64];
    (void)snprintf(name, sizeof name, "device-h %.40s", a->phase[i].name);
    row(&s, name, fc_train_sample_phase, i, a->phase[i].reported_device_s / s_per_h, false);
  }
  fc_sheet_print(&s.g, out);
  if (fc_train_window_s(a) > 0)
    fc_text_printf(out, "stops: in %.3g days of the run\n", fc_train_window_s(a) / s_per_day);
  return s.status;
}

static void add_closed_form(fc_text *out, const fc_train_answer *a) {
  double device_s = 0, interval = a->sample[0].checkpoint_s;
  bool known = true;
  for (size_t i = 0; i < a->n_phases; i++) {
    device_s += a->phase[i].closed_form_device_s;
    known = known && a->phase[i].closed_form_device_s > 0;
  }
  char hours[SI_TEXT] = "no headway";
  if (known) fc_report_si(hours, device_s / s_per_h);
  if (interval > 0)
    fc_text_printf(out, "a checkpoint every %.1f min (%s); ", interval / 60,
                   a->recovery->checkpoint_s > 0 ? "stated" : "Young/Daly");
  else
    fc_text_add(out, "checkpoints at the ends of phases alone; ");
  fc_text_printf(out, "closed form, unexpected stops alone: %s%s\n", hours, known ? " device-h" : "");
}

static fc_status add_held(fc_text *out, const fc_train_answer *a) {
  static const char *const head[] = {"device-hours", "5 %", "median", "95 %", "share", ""};
  sheet g;
  fc_status status = FC_OK;
  double held = 0;
  for (size_t i = 0; i < a->n_samples; i++) held += fc_train_figure_of(a, &a->sample[i], FC_TRAIN_HELD_HOURS);
  fc_text_add(out, "\nWHAT HELD DEVICES DID\n");
  fc_sheet_init(&g, "lrrrrl");
  for (size_t i = 0; i < sizeof head / sizeof *head; i++) fc_sheet_cell(&g, "%s", head[i]);
  for (size_t c = 0; c < FC_HELD_COUNT && status == FC_OK; c++) {
    fc_train_range r;
    double sum = 0;
    for (size_t i = 0; i < a->n_samples; i++) sum += fc_train_sample_held(a, &a->sample[i], c);
    if (!(sum > 0)) continue;
    status = fc_train_range_of(&r, a, fc_train_sample_held, c);
    if (status != FC_OK) break;
    fc_sheet_cell(&g, "%s", fc_held_word((fc_held)c));
    fc_sheet_si(&g, r.low);
    fc_sheet_si(&g, r.median);
    fc_sheet_si(&g, r.high);
    fc_sheet_cell(&g, "%.2f %%", 100 * sum / held);
    fc_sheet_cell(&g, "%.39s", fc_held_text((fc_held)c));
  }
  fc_sheet_print(&g, out);
  return status;
}

fc_status fc_report_train_page(fc_text *out, const fc_train_answer *a) {
  add_head(out, a);
  add_steps(out, a);
  add_parts(out, a);
  fc_status status = add_run(out, a);
  add_closed_form(out, a);
  if (status == FC_OK) status = add_held(out, a);
  if (status != FC_OK) return status;
  fc_report_train_money(out, a);
  fc_report_train_variants(out, a);
  return fc_text_status(out);
}
