/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include <fleetcast/base/time.h>
#include <fleetcast/train/ledger.h>

static const char *const phases[] = {"one", "two"};
static const double hour = 3600, day = 86400;

/* 100 devices and 10 spares for ten days, nine of them computing: figures that a person can check. */
static fc_ledger_def def_of(void) {
  static const double cost[FC_COST_COUNT] = {[FC_COST_RENT] = 2.0 / 3600,
                                             [FC_COST_CHIP] = 20000,
                                             [FC_COST_SERVER] = 5000,
                                             [FC_COST_NETWORK] = 10000,
                                             [FC_COST_LIFE] = 1000 * 86400.0,
                                             [FC_COST_RESIDUAL] = 0.2,
                                             [FC_COST_UTILISATION] = 0.8,
                                             [FC_COST_INTEREST] = 0.1 / (1000 * 86400.0),
                                             [FC_COST_PUE] = 1.25,
                                             [FC_COST_TARIFF] = 0.1 / 3.6e6,
                                             [FC_COST_HOSTING] = 0.2 / 3.6e6,
                                             [FC_COST_STAFF] = 1e6,
                                             [FC_COST_ABLATIONS] = 1.5,
                                             [FC_COST_FAILED] = 0.1};
  fc_ledger_def d = {.server_w = 1400,
                     .tdp_w = 700,
                     .busy_w = 500,
                     .idle_w = 100,
                     .devices = 100,
                     .spare_devices = 10,
                     .n_phases = 2,
                     .phase = phases,
                     .reported = {.device_s = 20000 * 3600.0, .usd = 50000},
                     .seed = 1};
  for (int i = 0; i < FC_COST_COUNT; i++) d.cost[i] = fc_dist_point(cost[i]);
  return d;
}

static fc_recovery_sample sample_of(void) {
  fc_recovery_sample s = {.wall_s = 10 * day, .phase_s = {8 * day, 2 * day}};
  s.device_s[FC_HELD_PRODUCTIVE] = 900 * day;
  s.device_s[FC_HELD_RESTART] = 100 * day;
  s.device_s[FC_HELD_SPARE] = 100 * day;
  return s;
}

static double of(const fc_ledger *l, fc_ledger_view view, const char *name) {
  for (size_t i = 0; i < l->n; i++)
    if (l->line[i].view == view && strcmp(l->line[i].name, name) == 0) return l->line[i].median;
  cr_assert(false, "no line '%s'", name);
  return 0;
}

Test(ledger, by_hand) {
  fc_ledger_def d = def_of();
  fc_recovery_sample s = sample_of();
  static fc_ledger l;
  char why[256];
  cr_assert_eq(fc_ledger_make(&l, &d, &s, 1, why), FC_OK, "%s", why);
  cr_expect_float_eq(of(&l, FC_LEDGER_RENT, "one"), 100 * 8 * 24 * 2, 1e-6);
  cr_expect_float_eq(of(&l, FC_LEDGER_RENT, "two"), 100 * 2 * 24 * 2, 1e-6);
  cr_expect_float_eq(of(&l, FC_LEDGER_RENT, "run"), 48000, 1e-6);
  cr_expect_float_eq(of(&l, FC_LEDGER_RENT, "spares"), 4800, 1e-6);
  cr_expect_float_eq(of(&l, FC_LEDGER_RENT, "idle"), 0.25 * 52800, 1e-6);
  cr_expect_float_eq(of(&l, FC_LEDGER_RENT, "ablations"), 72000, 1e-6);
  cr_expect_float_eq(of(&l, FC_LEDGER_RENT, "development"), 48000 + 4800 + 13200 + 72000 + 4800 + 1e6, 1e-6);
  /* 1,000 device-days of a life of 1,000 days, a fifth of the price left */
  cr_expect_float_eq(of(&l, FC_LEDGER_OWNER, "accelerators"), 16000, 1e-6);
  cr_expect_float_eq(of(&l, FC_LEDGER_OWNER, "servers"), 4000, 1e-6);
  cr_expect_float_eq(of(&l, FC_LEDGER_OWNER, "network"), 8000, 1e-6);
  cr_expect_float_eq(of(&l, FC_LEDGER_OWNER, "interest"), 35000 * 0.6 * 0.1, 1e-6);
  /* servers double a device's draw */
  double kwh = 2 * (900 * 0.5 + 100 * 0.1) * 24;
  cr_expect_float_eq(of(&l, FC_LEDGER_OWNER, "power"), kwh * 1.25 * 0.1, 1e-6);
  cr_expect_float_eq(of(&l, FC_LEDGER_OWNER, "hosting"), 1000 * 24 * 1.4 * 0.2, 1e-6);
  cr_expect_float_eq(of(&l, FC_LEDGER_OWNER, "purchase"), 110 * 35000, 1e-6);
  double standing = 0.1 * (28000 + 2100 + 6720) + 100 * 24 * 0.2 * 1.25 * 0.1; /* of 100 spare device-days */
  cr_expect_float_eq(of(&l, FC_LEDGER_OWNER, "spares"), standing, 1e-6);
  cr_expect_float_eq(of(&l, FC_LEDGER_OWNER, "idle"), 0.25 * 11 * standing, 1e-6);
  cr_expect_float_eq(fc_ledger_energy_j(&d, &s), (kwh + 100 * 0.2 * 24) * 3.6e6, 1);
}

static const fc_ledger_line *total(const fc_ledger *l, fc_ledger_view view, const char *name) {
  for (size_t i = 0; i < l->n; i++)
    if (l->line[i].view == view && strcmp(l->line[i].name, name) == 0) return &l->line[i];
  return NULL;
}

/* With distributions too: means add up to the total's mean, line by line. */
Test(ledger, lines_add_up_to_their_total) {
  enum { N = 300 };
  static fc_recovery_sample s[N];
  static fc_ledger l;
  fc_ledger_def d = def_of();
  fc_ledger_other other[] = {
      {.name = "extra", .usd = fc_dist_lognormal_p90(1e4, 1e5), .share = fc_dist_point(0.05)},
      {.name = "in it", .usd = fc_dist_point(7), .share = fc_dist_point(0), .included = true}};
  d.n_others = 2;
  d.others = other;
  d.cost[FC_COST_CHIP] = fc_dist_lognormal_p90(20000, 30000);
  d.cost[FC_COST_ABLATIONS] = (fc_dist){FC_DIST_LOGUNIFORM, 0.1, 4, 0, -HUGE_VAL, HUGE_VAL};
  d.cost[FC_COST_LIFE] = (fc_dist){FC_DIST_UNIFORM, 4 * FC_YEAR_S, 6 * FC_YEAR_S, 0, -HUGE_VAL, HUGE_VAL};
  for (size_t i = 0; i < N; i++) s[i] = sample_of();
  cr_assert_eq(fc_ledger_make(&l, &d, s, N, NULL), FC_OK);
  static const char *const top[] = {"development", "development", "reported"};
  for (int v = 0; v < FC_LEDGER_VIEWS; v++) {
    double sum = 0;
    for (size_t i = 0; i < l.n; i++) {
      const fc_ledger_line *x = &l.line[i];
      cr_assert(x->low <= x->median && x->median <= x->high, "%s", x->name);
      if (x->view == (fc_ledger_view)v && x->part != FC_LEDGER_TOTAL && x->part != FC_LEDGER_MEMO)
        sum += x->mean;
    }
    const fc_ledger_line *t = total(&l, (fc_ledger_view)v, top[v]);
    cr_assert_not_null(t);
    cr_expect_float_eq(sum, t->mean, 1e-9 * fabs(t->mean), "%s: %g, total %g",
                       fc_ledger_view_text((fc_ledger_view)v), sum, t->mean);
  }
  const fc_ledger_line *reported = total(&l, FC_LEDGER_REPORTED, "reported");
  cr_expect(reported->low == 50000 && reported->high == 50000, "what was published is no distribution");
  const fc_ledger_line *extra = total(&l, FC_LEDGER_RENT, "extra"), *in = total(&l, FC_LEDGER_RENT, "in it");
  cr_expect(extra->part == FC_LEDGER_LEFT_OUT && extra->high > extra->low && extra->cost == -1);
  cr_expect(in->part == FC_LEDGER_INCLUDED && in->mean == 7);
  /* 90 % of a log-uniform lie within its own 5 and 95 % */
  const fc_ledger_line *a = total(&l, FC_LEDGER_RENT, "ablations");
  cr_expect(a->low > 48000 * 0.1 && a->high < 48000 * 4 && a->median > 48000 * 0.4 && a->median < 48000 * 1.0,
            "%g %g %g", a->low, a->median, a->high);
}

Test(ledger, without_a_reported_figure_there_is_nothing_to_take_apart) {
  static fc_ledger l;
  fc_ledger_def d = def_of();
  fc_recovery_sample s = sample_of();
  d.reported.usd = 0;
  cr_assert_eq(fc_ledger_make(&l, &d, &s, 1, NULL), FC_OK);
  for (size_t i = 0; i < l.n; i++) cr_expect(l.line[i].view != FC_LEDGER_REPORTED);
}

/* A dearer price never makes a line cheaper. */
Test(ledger, costs_are_monotone) {
  static fc_ledger a, b;
  fc_recovery_sample s = sample_of();
  for (int c = 0; c < FC_COST_COUNT; c++) {
    fc_ledger_def d = def_of();
    cr_assert_eq(fc_ledger_make(&a, &d, &s, 1, NULL), FC_OK);
    bool less = c == FC_COST_LIFE || c == FC_COST_UTILISATION || c == FC_COST_RESIDUAL;
    d.cost[c].a *= c == FC_COST_PUE || !less ? 1.1 : 1 / 1.1;
    cr_assert_eq(fc_ledger_make(&b, &d, &s, 1, NULL), FC_OK);
    if (c == FC_COST_RESIDUAL) continue; /* less write-off, more interest */
    for (int v = FC_LEDGER_RENT; v <= FC_LEDGER_OWNER; v++)
      cr_expect_geq(of(&b, (fc_ledger_view)v, "development"), of(&a, (fc_ledger_view)v, "development"), "%s",
                    fc_cost_key((fc_cost)c));
  }
}

Test(ledger, refusals) {
  char why[256];
  fc_ledger_def good = def_of();
  cr_expect_eq(fc_ledger_check(&good, why), FC_OK);
#define REFUSED(words, ...)                                                                                  \
  do {                                                                                                       \
    fc_ledger_def d = good;                                                                                  \
    __VA_ARGS__;                                                                                             \
    cr_expect_eq(fc_ledger_check(&d, why), FC_E_DOMAIN, "%s", words);                                        \
    cr_expect(strstr(why, words), "'%s' in '%s'", words, why);                                               \
  } while (0)
  REFUSED("devices", d.devices = 0);
  REFUSED("8 lines", d.n_others = 9);
  REFUSED("rent", d.cost[FC_COST_RENT] = fc_dist_point(-1));
  REFUSED("prices", d.cost[FC_COST_NETWORK] = fc_dist_point((double)NAN));
  REFUSED("life", d.cost[FC_COST_LIFE] = fc_dist_point(hour));
  REFUSED("residual", d.cost[FC_COST_RESIDUAL] = fc_dist_point(2));
  REFUSED("utilisation", d.cost[FC_COST_UTILISATION] = fc_dist_point(0));
  REFUSED("interest", d.cost[FC_COST_INTEREST] = fc_dist_point(1));
  REFUSED("PUE", d.cost[FC_COST_PUE] = fc_dist_point(0.5));
  REFUSED("tariff", d.cost[FC_COST_TARIFF] = fc_dist_point(-1));
  REFUSED("staff", d.cost[FC_COST_DATA] = fc_dist_point(-1));
  REFUSED("shares", d.cost[FC_COST_FAILED] = fc_dist_point(-1));
  REFUSED("powers", d.busy_w = (double)INFINITY);
#undef REFUSED
}
