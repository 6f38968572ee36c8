/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TRAIN_LEDGER_H
#define FC_TRAIN_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/dist.h>
#include <fleetcast/base/status.h>
#include <fleetcast/train/recovery.h>

/** What a run costs: at rent, in the books of an owner, and what a reported figure is made of, line by line.
 *  Every price is a distribution that is drawn once a replication, together with that replication's
 *  device-hours, so that sums have intervals of their own.  Model: docs/train.md#ledger. */

/** What is drawn: key below `ledger` of a train file, where a default comes from. */
#define FC_COST_MAP(X)                                                                                       \
  X(RENT, "rent", "market price of the device at the file's date")                                           \
  X(CHIP, "chip", "purchase price of the device at the file's date")                                         \
  X(SERVER, "server", "default: 63 % of the capital beside the chip (Cottier et al. 2024)")                  \
  X(NETWORK, "network", "default: the rest of the all-in capital")                                           \
  X(LIFE, "life", "default: 4 to 6 years, Nebius 4, Amazon and Lambda 5, Microsoft and Alphabet 6")          \
  X(RESIDUAL, "residual", "default: nothing left")                                                           \
  X(UTILISATION, "utilisation", "default: 80 %, SemiAnalysis; range an assumption")                          \
  X(INTEREST, "interest", "default: 10.25 % a year, cost of capital, SemiAnalysis")                          \
  X(PUE, "pue", "default: 1.35, SemiAnalysis")                                                               \
  X(TARIFF, "tariff", "default: 0.087 USD/kWh, SemiAnalysis")                                                \
  X(HOSTING, "hosting", "default: 150 USD/kW/month, SemiAnalysis")                                           \
  X(STAFF, "staff", "not stated: 0")                                                                         \
  X(DATA, "data", "not stated: 0")                                                                           \
  X(ABLATIONS, "ablations", "not stated: 0")                                                                 \
  X(FAILED, "failed", "not stated: 0")

typedef enum {
#define FC_COST_ENUM(name, key, source) FC_COST_##name,
  FC_COST_MAP(FC_COST_ENUM)
#undef FC_COST_ENUM
      FC_COST_COUNT
} fc_cost;

const char *fc_cost_key(fc_cost cost);
const char *fc_cost_default_source(fc_cost cost);

/** A line of the user's own. */
typedef struct fc_ledger_other {
  const char *name, *covers;
  fc_dist usd;   /* an amount */
  fc_dist share; /* of the run's cost in either view, added to it */
  bool included; /* in the reported figure? */
} fc_ledger_other;

/** A published figure; 0: not stated. */
typedef struct fc_reported {
  double device_s, usd, wall_s;
} fc_reported;

typedef struct fc_ledger_def {
  fc_dist cost[FC_COST_COUNT]; /* USD and USD/s a device, s, shares, USD/J, USD/(W s); STAFF, DATA: USD;
                                  ABLATIONS, FAILED: of the run's cost; INTEREST: 1/s */
  size_t n_others;
  const fc_ledger_other *others;
  double server_w, tdp_w; /* of a device: IT power of its share of the server; datasheet */
  double busy_w, idle_w;  /* draw of a device, computing and standing still */
  int64_t devices, spare_devices;
  size_t n_phases;
  const char *const *phase; /* names */
  fc_reported reported;
  uint64_t seed;
} fc_ledger_def;

typedef enum { FC_LEDGER_RENT, FC_LEDGER_OWNER, FC_LEDGER_REPORTED, FC_LEDGER_VIEWS } fc_ledger_view;

/** How a line stands to the reported figure. */
typedef enum {
  FC_LEDGER_INCLUDED, /* stated in it */
  FC_LEDGER_IMPLICIT, /* part of its hourly price */
  FC_LEDGER_LEFT_OUT,
  FC_LEDGER_TOTAL, /* a sum of lines above */
  FC_LEDGER_MEMO,  /* in no sum */
} fc_ledger_part;

const char *fc_ledger_view_text(fc_ledger_view view);
const char *fc_ledger_part_text(fc_ledger_part part);

enum { FC_LEDGER_LINES = 96, FC_LEDGER_NAME = 64, FC_LEDGER_OTHERS = 8 };

typedef struct fc_ledger_line {
  fc_ledger_view view;
  fc_ledger_part part;
  char name[FC_LEDGER_NAME];
  const char *covers;
  int cost;                       /* fc_cost whose source it has; -1: none, or a line of the user's own */
  double low, median, high, mean; /* USD; low and high: 5 and 95 % */
} fc_ledger_line;

typedef struct fc_ledger {
  size_t n;
  fc_ledger_line line[FC_LEDGER_LINES];
} fc_ledger;

/** Costs in their domain?  @return FC_OK | FC_E_DOMAIN (`why` [256], nullable) */
FC_NODISCARD
fc_status fc_ledger_check(const fc_ledger_def *def, char *why);

/** Lines of all replications in quantiles.  Within a replication the lines of a view add up to its totals.
 *  @pre n >= 1  @return FC_OK | FC_E_DOMAIN | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_ledger_make(fc_ledger *out, const fc_ledger_def *def, const fc_recovery_sample *sample, size_t n,
                         char *why);

/** Facility energy of a replication at PUE 1 [J]: computing at busy_w, all else at idle_w, servers on top. */
double fc_ledger_energy_j(const fc_ledger_def *def, const fc_recovery_sample *sample);

#endif
