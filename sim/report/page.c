/* SPDX-License-Identifier: Apache-2.0 */
#include "page.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <fleetcast/report/write.h>

static void add_head(fc_text *out, const fc_fleet_result *result, uint64_t seed) {
  static const char *const buckets[] = {
      [FC_BUCKET_HOUR] = "hourly", [FC_BUCKET_DAY] = "daily", [FC_BUCKET_MONTH] = "monthly"};
  const fc_fleet_def *def = fc_fleet_result_def(result);
  char start[FC_TIME_TEXT], end[FC_TIME_TEXT];
  fc_time_format(start, def->start);
  fc_time_format(end, def->end);
  fc_text_printf(out, "%s\n", def->name);
  if (def->question) fc_report_wrap(out, 0, def->question);
  fc_text_printf(out, "scope: %s; from %s to %s, %s rows; seed %" PRIu64 "\n",
                 def->scope && *def->scope ? def->scope : "not stated", start, end, buckets[def->bucket],
                 seed);
}

/* --- supply --- */

static double busy_share(const fc_fleet_result *result, size_t pool, const totals *sums,
                         double installed_hours) {
  const fc_account *account;
  size_t n = fc_fleet_accounts(result, &account);
  double idle = 0;
  for (size_t a = 0; a < n; a++) {
    fc_category c = account[a].category;
    if ((size_t)account[a].pool == pool &&
        (c == FC_CATEGORY_IDLE || c == FC_CATEGORY_DOWN || c == FC_CATEGORY_UNEXPLAINED))
      idle += sums->account[a].v[METRIC_DEVICE_HOURS];
  }
  return installed_hours > 0 ? fmax(0, 1 - idle / installed_hours) : 0;
}

static void add_supply(fc_text *out, const fc_fleet_result *result, const totals *sums) {
  const fc_fleet_def *def = fc_fleet_result_def(result);
  size_t buckets = fc_fleet_buckets(result);
  double first = 0, last = 0, first_h100e = 0, last_h100e = 0;
  sheet g;
  fc_text_add(out,
              "\nSUPPLY (means over the first and the last row; in use: share of installed device-hours)\n");
  fc_sheet_init(&g, "llrrrrrrr");
  static const char *const head[] = {"pool",       "device", "first",    "last",     "H100e first",
                                     "H100e last", "in use", "rent $/h", "owner $/h"};
  for (size_t i = 0; i < sizeof head / sizeof *head; i++) fc_sheet_cell(&g, "%s", head[i]);
  for (size_t p = 0; p < def->n_pools; p++) {
    pool_rates a = fc_report_rates(result, p, 0), b = fc_report_rates(result, p, buckets - 1);
    double hours = 0;
    for (size_t k = 0; k < buckets; k++) hours += fc_report_rates(result, p, k).installed_device_hours;
    fc_sheet_cell(&g, "%.18s", def->pools[p].name);
    fc_sheet_cell(&g, "%.14s", def->pools[p].profile->device->name);
    fc_sheet_si(&g, a.installed_devices);
    fc_sheet_si(&g, b.installed_devices);
    fc_sheet_si(&g, a.installed_devices * a.h100e_per_device);
    fc_sheet_si(&g, b.installed_devices * b.h100e_per_device);
    fc_sheet_cell(&g, "%.1f %%", 100 * busy_share(result, p, sums, hours));
    fc_sheet_cell(&g, "%.2f", b.rent_rate);
    fc_sheet_cell(&g, "%.2f", b.owner_rate);
    first += a.installed_devices;
    last += b.installed_devices;
    first_h100e += a.installed_devices * a.h100e_per_device;
    last_h100e += b.installed_devices * b.h100e_per_device;
  }
  if (def->n_pools > 1) {
    fc_sheet_cell(&g, "all");
    fc_sheet_cell(&g, " ");
    fc_sheet_si(&g, first);
    fc_sheet_si(&g, last);
    fc_sheet_si(&g, first_h100e);
    fc_sheet_si(&g, last_h100e);
    for (int i = 0; i < 3; i++) fc_sheet_cell(&g, " ");
  }
  fc_sheet_print(&g, out);
}

/* --- work: device-hours, energy and money by category --- */

static void add_work_row(sheet *g, const char *name, const measure *m, double all_hours) {
  fc_sheet_cell(g, "%s", name);
  fc_sheet_si(g, m->v[METRIC_DEVICE_HOURS]);
  if (all_hours > 0)
    fc_sheet_cell(g, "%.1f %%", 100 * m->v[METRIC_DEVICE_HOURS] / all_hours);
  else
    fc_sheet_cell(g, "-");
  fc_sheet_si(g, m->v[METRIC_H100E_HOURS]);
  if (m->v[METRIC_USEFUL_FLOP] > 0)
    fc_sheet_cell(g, "%.2e", m->v[METRIC_USEFUL_FLOP]);
  else
    fc_sheet_cell(g, "0");
  fc_sheet_si(g, m->v[METRIC_ENERGY] * 1e3);
  fc_sheet_si(g, m->v[METRIC_RENT_USD]);
  fc_sheet_si(g, m->v[METRIC_OWNER_USD]);
}

static void add_work(fc_text *out, const totals *sums) {
  static const char *const head[] = {"category",    "device-h",    "share",      "H100e-h",
                                     "useful FLOP", "energy (Wh)", "rent (USD)", "owner (USD)"};
  fc_text_add(out, "\nWORK, whole run (rent: market price; owner: capital + hosting + electricity)\n");
  sheet g;
  fc_sheet_init(&g, "lrrrrrrr");
  for (size_t i = 0; i < sizeof head / sizeof *head; i++) fc_sheet_cell(&g, "%s", head[i]);
  double all = sums->all.v[METRIC_DEVICE_HOURS];
  for (int c = 0; c < FC_CATEGORY_COUNT; c++)
    if (sums->category[c].v[METRIC_DEVICE_HOURS] > 0)
      add_work_row(&g, fc_category_text((fc_category)c), &sums->category[c], all);
  add_work_row(&g, "installed", &sums->all, all);
  fc_sheet_print(&g, out);
}

/* --- the inference share --- */

static const struct {
  training_id training;
  bool rl_is_inference;
  const char *text;
} readings[] = {
    {TRAINING_FINAL_RUNS, false, "final runs"},
    {TRAINING_FINAL_RUNS, true, "final runs"},
    {TRAINING_FINAL_AND_EXPERIMENTS, false, "+ experiments"},
    {TRAINING_FINAL_AND_EXPERIMENTS, true, "+ experiments"},
    {TRAINING_ALL_RND, false, "all R&D"},
    {TRAINING_ALL_RND, true, "all R&D"},
};

enum { READINGS = sizeof readings / sizeof *readings };

static void add_split_head(sheet *g) {
  static const char *const head[] = {"training is", "RL",     "useful FLOP", "device-h",
                                     "H100e-h",     "energy", "rent USD",    "owner USD"};
  fc_sheet_init(g, "llrrrrrr");
  for (size_t i = 0; i < sizeof head / sizeof *head; i++) fc_sheet_cell(g, "%s", head[i]);
}

static const metric_id split_columns[] = {METRIC_USEFUL_FLOP, METRIC_DEVICE_HOURS, METRIC_H100E_HOURS,
                                          METRIC_ENERGY,      METRIC_RENT_USD,     METRIC_OWNER_USD};

enum { SPLIT_COLUMNS = sizeof split_columns / sizeof *split_columns };

static double share_of_two(const split *s) {
  double both = s->inference + s->training;
  return both > 0 ? s->inference / both : -1; /* not defined */
}

static void put_share(sheet *g, const split *s) {
  double percent = 100 * share_of_two(s);
  if (percent < 0) {
    fc_sheet_cell(g, "-");
  } else if (!(s->training > 0)) {
    fc_sheet_cell(g, "100 %%");
  } else {
    double ratio = s->inference / s->training;
    if (ratio >= 999.5)
      fc_sheet_cell(g, "%.1f%% >999x", percent);
    else
      fc_sheet_cell(g, "%.1f%% %.*fx", percent, ratio < 9.995 ? 2 : ratio < 99.95 ? 1 : 0, ratio);
  }
}

/* What the unexplained computes nobody knows: no bounds of its FLOP. */
static void put_bounds(sheet *g, const measure category[FC_CATEGORY_COUNT], split_def def) {
  def.unexplained = UNEXPLAINED_TRAINING;
  split low = fc_report_split(category, &def);
  def.unexplained = UNEXPLAINED_INFERENCE;
  split high = fc_report_split(category, &def);
  if (share_of_two(&low) < 0 || !(category[FC_CATEGORY_UNEXPLAINED].v[def.metric] > 0))
    fc_sheet_cell(g, "-");
  else
    fc_sheet_cell(g, "%.1f-%.1f%%", 100 * share_of_two(&low), 100 * share_of_two(&high));
}

static void add_matrix(fc_text *out, const measure category[FC_CATEGORY_COUNT], bool bounds) {
  sheet g;
  add_split_head(&g);
  for (size_t r = 0; r < READINGS; r++) {
    fc_sheet_cell(&g, "%s", readings[r].text);
    fc_sheet_cell(&g, "%s", readings[r].rl_is_inference ? "infer" : "train");
    for (size_t c = 0; c < SPLIT_COLUMNS; c++) {
      split_def def = {.metric = split_columns[c],
                       .training = readings[r].training,
                       .rl_is_inference = readings[r].rl_is_inference};
      split s = fc_report_split(category, &def);
      if (bounds)
        put_bounds(&g, category, def);
      else
        put_share(&g, &s);
    }
  }
  fc_sheet_print(&g, out);
}

/* How many of the readings above meet the two claims that started the argument (../data/demand). */
static void add_claims(fc_text *out, const measure category[FC_CATEGORY_COUNT]) {
  int seventy = 0, four_and_half = 0, all = 0;
  for (size_t r = 0; r < READINGS; r++) {
    for (size_t c = 0; c < SPLIT_COLUMNS; c++) {
      split_def def = {.metric = split_columns[c],
                       .training = readings[r].training,
                       .rl_is_inference = readings[r].rl_is_inference};
      split s = fc_report_split(category, &def);
      if (share_of_two(&s) < 0) continue;
      all++;
      seventy += share_of_two(&s) >= 0.7;
      four_and_half += s.inference >= 4.5 * s.training;
    }
  }
  fc_text_printf(out,
                 "claims: 70 %% is 2.33x, reached by %d of %d readings; 4.5x is 81.8 %%, reached by %d\n",
                 seventy, all, four_and_half);
}

static void add_split(fc_text *out, const totals *sums, const totals *stock, const period *last,
                      bool several) {
  split_def widest = {.metric = METRIC_DEVICE_HOURS, .training = TRAINING_ALL_RND};
  split s = fc_report_split(sums->category, &widest);
  if (!(s.inference > 0) || !(s.training > 0)) {
    fc_text_printf(out, "\nINFERENCE SHARE: there is no %s in this run\n",
                   s.inference > 0 ? "training" : "inference");
    return;
  }
  fc_text_add(out,
              "\nINFERENCE SHARE of inference + training, whole run (share, and inference : training)\n");
  add_matrix(out, sums->category, false);
  add_claims(out, sums->category);
  if (sums->category[FC_CATEGORY_UNEXPLAINED].v[METRIC_DEVICE_HOURS] > 0) {
    fc_text_add(out, "\nThe same with `unexplained` counted as all training .. all inference\n");
    add_matrix(out, sums->category, true);
  }
  if (several) {
    fc_text_printf(out, "\nINFERENCE SHARE of the last row (stock, %s), unexplained left out\n", last->label);
    add_matrix(out, stock->category, false);
  }
  fc_text_add(out,
              "other AI in the scope, calendar years, third buckets: split.csv; definitions: docs/csv.md\n");
}

fc_status fc_report_page(fc_text *out, const fc_fleet_result *result, uint64_t seed) {
  periods ps = fc_report_periods(result);
  totals sums = {0}, stock = {0};
  fc_status status = ps.n ? FC_OK : FC_E_NOMEM;
  if (!status) status = fc_report_totals(&sums, result, &ps.at[0]);
  if (!status) status = fc_report_totals(&stock, result, &ps.at[ps.n - 1]);
  if (!status) {
    add_head(out, result, seed);
    add_supply(out, result, &sums);
    add_work(out, &sums);
    fc_page_tokens(out, result, &sums);
    fc_page_serving(out, result, &sums);
    fc_page_training(out, result, &sums);
    add_split(out, &sums, &stock, &ps.at[ps.n - 1], fc_fleet_buckets(result) > 1);
    status = fc_text_status(out);
  }
  free(sums.account);
  free(stock.account);
  free(ps.at);
  return status;
}
