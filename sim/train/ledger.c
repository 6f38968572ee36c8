/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/train/ledger.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <fleetcast/base/assert.h>
#include <fleetcast/base/rng.h>
#include <fleetcast/base/time.h>

const char *fc_cost_key(fc_cost cost) {
  static const char *const key[] = {
#define COST_KEY(name, key, source) key,
      FC_COST_MAP(COST_KEY)
#undef COST_KEY
  };
  return key[cost];
}

const char *fc_cost_default_source(fc_cost cost) {
  static const char *const source[] = {
#define COST_SOURCE(name, key, source) source,
      FC_COST_MAP(COST_SOURCE)
#undef COST_SOURCE
  };
  return source[cost];
}

const char *fc_ledger_view_text(fc_ledger_view view) {
  static const char *const text[] = {"rent", "owner", "reported"};
  return text[view];
}

const char *fc_ledger_part_text(fc_ledger_part part) {
  static const char *const text[] = {"included", "implicit", "left out", "total", "memo"};
  return text[part];
}

/* --- domain --- */

static bool lies(const fc_dist *d, double least, double most) {
  return fc_dist_is_valid(d) && fc_dist_quantile(d, 1e-9) >= least && fc_dist_quantile(d, 1 - 1e-9) <= most;
}

static const char *fault_of(const fc_ledger_def *d) {
  static const double most_usd = 1e13;
  const fc_dist *c = d->cost;
  if (d->devices < 1 || d->spare_devices < 0 || d->n_phases < 1 || d->n_phases > FC_RECOVERY_PHASES)
    return "no devices or phases";
  if (d->n_others > FC_LEDGER_OTHERS) return "at most 8 lines of your own";
  if (!lies(&c[FC_COST_RENT], 0, 1e3)) return "the rent must not be negative";
  if (!lies(&c[FC_COST_CHIP], 0, 1e9) || !lies(&c[FC_COST_SERVER], 0, 1e9) ||
      !lies(&c[FC_COST_NETWORK], 0, 1e9))
    return "prices must not be negative";
  if (!lies(&c[FC_COST_LIFE], 86400, 50 * FC_YEAR_S)) return "the life must be between a day and 50 years";
  if (!lies(&c[FC_COST_RESIDUAL], 0, 1)) return "the residual value must be a share";
  if (!lies(&c[FC_COST_UTILISATION], 0.01, 1)) return "the utilisation must be within [1 %, 100 %]";
  if (!lies(&c[FC_COST_INTEREST], 0, 1 / FC_YEAR_S)) return "the interest must be within [0, 100 %] a year";
  if (!lies(&c[FC_COST_PUE], 1, 10)) return "the PUE must be within [1, 10]";
  if (!lies(&c[FC_COST_TARIFF], 0, 1) || !lies(&c[FC_COST_HOSTING], 0, 1))
    return "tariff and hosting must not be negative";
  for (int i = FC_COST_STAFF; i <= FC_COST_DATA; i++)
    if (!lies(&c[i], 0, most_usd)) return "staff and data must not be negative";
  for (int i = FC_COST_ABLATIONS; i <= FC_COST_FAILED; i++)
    if (!lies(&c[i], 0, 1e3)) return "shares of the run must not be negative";
  for (size_t i = 0; i < d->n_others; i++)
    if (!lies(&d->others[i].usd, 0, most_usd) || !lies(&d->others[i].share, 0, 1e3))
      return "lines of your own must not be negative";
  if (!(d->busy_w >= 0 && d->idle_w >= 0 && d->server_w >= 0 && d->tdp_w >= 0) || !isfinite(d->busy_w))
    return "powers must not be negative";
  return NULL;
}

fc_status fc_ledger_check(const fc_ledger_def *def, char *why) {
  if (why) *why = '\0';
  const char *fault = fault_of(def);
  if (!fault) return FC_OK;
  if (why) (void)snprintf(why, 256, "%s", fault);
  return FC_E_DOMAIN;
}

/* --- lines --- */

typedef struct {
  const fc_ledger_def *def;
  fc_ledger *out;
  double *amount; /* [FC_LEDGER_LINES][n], line by line */
  size_t n, at;   /* replications; the one that is written */
  size_t line;
  double cost[FC_COST_COUNT];
} book;

/* The next line: its text the first time, its amount every time. */
static void put(book *b, fc_ledger_view view, fc_ledger_part part, const char *name, int cost, double usd,
                const char *covers) {
  FC_ASSERT(b->line < FC_LEDGER_LINES);
  if (b->at == 0) {
    fc_ledger_line *l = &b->out->line[b->line];
    *l = (fc_ledger_line){.view = view, .part = part, .covers = covers ? covers : "", .cost = cost};
    (void)snprintf(l->name, sizeof l->name, "%s", name);
  }
  b->amount[b->line++ * b->n + b->at] = usd;
}

static double overhead(const fc_ledger_def *d) {
  return d->server_w > 0 && d->tdp_w > 0 ? d->server_w / d->tdp_w : 1;
}

/* Device-seconds of the run, of spares and nodes in repair. */
static double run_s(const fc_ledger_def *d, const fc_recovery_sample *s) {
  return (double)d->devices * s->wall_s;
}

static double spare_s(const fc_ledger_def *d, const fc_recovery_sample *s) {
  return (double)d->spare_devices * s->wall_s;
}

static double busy_s(const fc_recovery_sample *s) {
  return s->device_s[FC_HELD_PRODUCTIVE] + s->device_s[FC_HELD_STRAGGLER] + s->device_s[FC_HELD_LOST];
}

double fc_ledger_energy_j(const fc_ledger_def *d, const fc_recovery_sample *s) {
  double busy = busy_s(s), all = run_s(d, s) + spare_s(d, s);
  return overhead(d) * (busy * d->busy_w + (all - busy) * d->idle_w);
}

/* What a view adds to a run: the same lines in both. */
static double put_around(book *b, fc_ledger_view view, double run, uint64_t replication) {
  const fc_ledger_def *d = b->def;
  double ablations = run * b->cost[FC_COST_ABLATIONS], failed = run * b->cost[FC_COST_FAILED];
  double sum = ablations + failed + b->cost[FC_COST_STAFF] + b->cost[FC_COST_DATA];
  put(b, view, FC_LEDGER_LEFT_OUT, "ablations", FC_COST_ABLATIONS, ablations,
      "experiments on architecture, algorithms and data before the run");
  put(b, view, FC_LEDGER_LEFT_OUT, "failed runs", FC_COST_FAILED, failed,
      "runs that were started and given up");
  put(b, view, FC_LEDGER_LEFT_OUT, "staff", FC_COST_STAFF, b->cost[FC_COST_STAFF],
      "people who developed the model");
  put(b, view, FC_LEDGER_LEFT_OUT, "data", FC_COST_DATA, b->cost[FC_COST_DATA],
      "acquiring, cleaning, labelling");
  for (size_t i = 0; i < d->n_others; i++) {
    const fc_ledger_other *o = &d->others[i];
    fc_rng rng = fc_rng_keyed(d->seed, FC_STREAM_PARAMETER, 2000 + i, replication);
    double usd = fc_dist_quantile(&o->usd, fc_rng_uniform(&rng));
    usd += run * fc_dist_quantile(&o->share, fc_rng_uniform(&rng));
    put(b, view, o->included ? FC_LEDGER_INCLUDED : FC_LEDGER_LEFT_OUT, o->name, -1, usd, o->covers);
    sum += usd;
  }
  return sum;
}

static void put_rent(book *b, const fc_recovery_sample *s, uint64_t replication) {
  const fc_ledger_def *d = b->def;
  double rent = b->cost[FC_COST_RENT], run = 0;
  for (size_t i = 0; i < d->n_phases; i++) {
    double usd = (double)d->devices * s->phase_s[i] * rent;
    put(b, FC_LEDGER_RENT, FC_LEDGER_INCLUDED, d->phase[i], FC_COST_RENT, usd,
        "its devices by the hour, stops included");
    run += usd;
  }
  put(b, FC_LEDGER_RENT, FC_LEDGER_TOTAL, "run", -1, run, "the lines above");
  double spares = spare_s(d, s) * rent, idle = (run + spares) * (1 / b->cost[FC_COST_UTILISATION] - 1);
  put(b, FC_LEDGER_RENT, FC_LEDGER_LEFT_OUT, "spares", FC_COST_RENT, spares,
      "spare nodes, and nodes in repair");
  put(b, FC_LEDGER_RENT, FC_LEDGER_LEFT_OUT, "idle", FC_COST_UTILISATION, idle,
      "a reserved cluster's time between runs; nothing where it is rented by the hour");
  double around = put_around(b, FC_LEDGER_RENT, run, replication);
  put(b, FC_LEDGER_RENT, FC_LEDGER_TOTAL, "development", -1, run + spares + idle + around,
      "all lines of this view");
}

/* An owner's cost of a device and second, by part. */
typedef struct {
  double chip, server, network, interest, hosting, idle_power;
} rates;

static rates rates_of(const book *b) {
  const double *c = b->cost;
  const fc_ledger_def *d = b->def;
  double written_off = (1 - c[FC_COST_RESIDUAL]) / c[FC_COST_LIFE];
  double capital = c[FC_COST_CHIP] + c[FC_COST_SERVER] + c[FC_COST_NETWORK];
  return (rates){.chip = c[FC_COST_CHIP] * written_off,
                 .server = c[FC_COST_SERVER] * written_off,
                 .network = c[FC_COST_NETWORK] * written_off,
                 .interest = capital * (1 + c[FC_COST_RESIDUAL]) / 2 * c[FC_COST_INTEREST],
                 .hosting = d->server_w * c[FC_COST_HOSTING],
                 .idle_power = overhead(d) * d->idle_w * c[FC_COST_PUE] * c[FC_COST_TARIFF]};
}

/* Everything that an hour of a device costs its owner.  @return the sum */
static double put_hours(book *b, fc_ledger_view view, const rates *r, double device_s, double power_usd) {
  static const char *const covers[] = {"depreciation of accelerators",
                                       "depreciation of servers",
                                       "depreciation of network and storage",
                                       "cost of the capital tied up",
                                       "electricity: devices and servers, PUE, tariff",
                                       "space, cooling, operation"};
  const double usd[] = {
      r->chip * device_s, r->server * device_s, r->network * device_s, r->interest * device_s,
      power_usd,          r->hosting * device_s};
  static const char *const name[] = {"accelerators", "servers", "network", "interest", "power", "hosting"};
  static const fc_cost cost[] = {FC_COST_CHIP,     FC_COST_SERVER, FC_COST_NETWORK,
                                 FC_COST_INTEREST, FC_COST_TARIFF, FC_COST_HOSTING};
  double sum = 0;
  for (size_t i = 0; i < sizeof usd / sizeof *usd; i++) {
    put(b, view, FC_LEDGER_IMPLICIT, name[i], (int)cost[i], usd[i], covers[i]);
    sum += usd[i];
  }
  return sum;
}

static void put_owner(book *b, const fc_recovery_sample *s, uint64_t replication) {
  const fc_ledger_def *d = b->def;
  const double *c = b->cost;
  rates r = rates_of(b);
  double busy = busy_s(s), held = run_s(d, s),
         joule = overhead(d) * (busy * d->busy_w + (held - busy) * d->idle_w);
  double power = joule * c[FC_COST_PUE] * c[FC_COST_TARIFF];
  double run = put_hours(b, FC_LEDGER_OWNER, &r, held, power);
  put(b, FC_LEDGER_OWNER, FC_LEDGER_TOTAL, "run", -1, run, "the lines above");
  double standing = r.chip + r.server + r.network + r.interest + r.hosting + r.idle_power;
  double spares = spare_s(d, s) * standing;
  double idle = (held + spare_s(d, s)) * (1 / c[FC_COST_UTILISATION] - 1) * standing;
  put(b, FC_LEDGER_OWNER, FC_LEDGER_LEFT_OUT, "spares", -1, spares, "spare nodes, and nodes in repair");
  put(b, FC_LEDGER_OWNER, FC_LEDGER_LEFT_OUT, "idle", FC_COST_UTILISATION, idle,
      "the cluster's time between runs");
  double around = put_around(b, FC_LEDGER_OWNER, run, replication);
  put(b, FC_LEDGER_OWNER, FC_LEDGER_TOTAL, "development", -1, run + spares + idle + around,
      "all lines of this view");
  double capital = c[FC_COST_CHIP] + c[FC_COST_SERVER] + c[FC_COST_NETWORK];
  put(b, FC_LEDGER_OWNER, FC_LEDGER_MEMO, "purchase", FC_COST_CHIP,
      capital * (double)(d->devices + d->spare_devices),
      "buying the cluster, run and spares; used for years, so in no sum");
}

/* The reported figure at an owner's cost of the reported hours; what is left is the landlord's. */
static void put_reported(book *b, const fc_recovery_sample *s) {
  const fc_ledger_def *d = b->def;
  if (!(d->reported.usd > 0) || !(d->reported.device_s > 0)) return;
  rates r = rates_of(b);
  double busy = busy_s(s) / run_s(d, s);
  double watts = overhead(d) * (busy * d->busy_w + (1 - busy) * d->idle_w);
  double power = d->reported.device_s * watts * b->cost[FC_COST_PUE] * b->cost[FC_COST_TARIFF];
  double sum = put_hours(b, FC_LEDGER_REPORTED, &r, d->reported.device_s, power);
  put(b, FC_LEDGER_REPORTED, FC_LEDGER_IMPLICIT, "margin", -1, d->reported.usd - sum,
      "what is left of the price: the landlord's margin, idle time and risk");
  put(b, FC_LEDGER_REPORTED, FC_LEDGER_TOTAL, "reported", -1, d->reported.usd, "the published figure");
}

/* --- all --- */

static void draw(book *b, uint64_t replication) {
  for (size_t i = 0; i < FC_COST_COUNT; i++) {
    fc_rng rng = fc_rng_keyed(b->def->seed, FC_STREAM_PARAMETER, 1000 + i, replication);
    b->cost[i] = fc_dist_quantile(&b->def->cost[i], fc_rng_uniform(&rng));
  }
}

static void summarise(fc_ledger *out, double *amount, size_t n) {
  for (size_t i = 0; i < out->n; i++) {
    double *v = &amount[i * n], sum = 0;
    for (size_t k = 0; k < n; k++) sum += v[k];
    fc_ledger_line *l = &out->line[i];
    l->mean = sum / (double)n;
    l->low = fc_sample_quantile(v, n, 0.05);
    l->median = fc_sample_quantile(v, n, 0.5);
    l->high = fc_sample_quantile(v, n, 0.95);
  }
}

fc_status fc_ledger_make(fc_ledger *out, const fc_ledger_def *def, const fc_recovery_sample *sample, size_t n,
                         char *why) {
  FC_ASSERT(n >= 1);
  fc_status status = fc_ledger_check(def, why);
  if (status != FC_OK) return status;
  *out = (fc_ledger){0};
  book b = {.def = def, .out = out, .n = n, .amount = calloc(n, FC_LEDGER_LINES * sizeof *b.amount)};
  if (!b.amount) return FC_E_NOMEM;
  for (; b.at < n; b.at++) {
    b.line = 0;
    draw(&b, b.at);
    put_rent(&b, &sample[b.at], b.at);
    put_owner(&b, &sample[b.at], b.at);
    put_reported(&b, &sample[b.at]);
  }
  out->n = b.line;
  summarise(out, b.amount, n);
  free(b.amount);
  return FC_OK;
}
