/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_REPORT_TRAIN_H
#define FC_REPORT_TRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/cost/train_step.h>
#include <fleetcast/report/write.h>
#include <fleetcast/train/run.h>

/** What one training run takes (docs/train.md): a page for a person, a folder of CSV files and pictures.
 *  Same answer, same bytes. */

/** A phase as it was composed. */
typedef struct fc_train_phase_answer {
  const char *name;
  bool composed;              /* false: device-hours were stated; nothing below but work_s holds */
  fc_train_estimate estimate; /* at the plan's own batch */
  fc_train_step step;         /* its parts */
  fc_train_memory memory;
  double tokens, steps;
  double update_s, rollout_s;  /* of the phase: training steps, generation between them */
  double work_s;               /* their sum, nothing failing */
  double watts;                /* mean draw of a device */
  double step_cv, step_p99;    /* from step to step: spread, and the 99th percentile over the mean */
  double closed_form_device_s; /* with Daly's goodput, stragglers and planned stops left out; 0: no headway */
  double reported_device_s;    /* 0: none */
} fc_train_phase_answer;

typedef struct fc_train_variant_answer {
  const char *name, *model;
  bool feasible;
  char why[256]; /* if not */
  fc_train_estimate estimate;
  fc_train_step step;
  fc_train_memory memory;
  double tokens;   /* of the first phase */
  double device_s; /* of the first phase, with Daly's goodput */
  double usd;      /* at the median rent */
} fc_train_variant_answer;

typedef struct fc_train_answer {
  const fc_train_def *def;
  uint64_t seed;
  size_t n_phases;
  fc_train_phase_answer phase[FC_RECOVERY_PHASES];
  const fc_recovery_def *recovery;
  size_t n_samples;
  const fc_recovery_sample *sample;
  const fc_ledger_def *costs;
  const fc_ledger *ledger;
  size_t n_variants;
  const fc_train_variant_answer *variant;
} fc_train_answer;

/** 5, 50 and 95 % of a figure over the replications. */
typedef struct fc_train_range {
  double low, median, high;
} fc_train_range;

/** Figures of a run, in the order of run.csv. */
typedef enum fc_train_figure {
  FC_TRAIN_DAYS,
  FC_TRAIN_DEVICE_HOURS, /* of the run: its devices times its days; spares not counted */
  FC_TRAIN_HELD_HOURS,   /* with spares */
  FC_TRAIN_GOODPUT,
  FC_TRAIN_TOKENS_PER_DAY,
  FC_TRAIN_INTERRUPTIONS,
  FC_TRAIN_UNEXPECTED,
  FC_TRAIN_MFU,      /* of the first phase, while computing: BF16 peak, causal model FLOP */
  FC_TRAIN_MFU_WALL, /* the same over all time, stops included */
  FC_TRAIN_ENERGY,   /* facility, with the PUE's median [kWh] */
  FC_TRAIN_FIGURES
} fc_train_figure;

const char *fc_train_figure_word(fc_train_figure figure);
const char *fc_train_figure_unit(fc_train_figure figure);
/** Of one replication. */
double fc_train_figure_of(const fc_train_answer *answer, const fc_recovery_sample *sample,
                          fc_train_figure figure);
/** @param of  value of one replication.  @return FC_OK | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_train_range_of(fc_train_range *out, const fc_train_answer *answer,
                            double (*of)(const fc_train_answer *answer, const fc_recovery_sample *sample,
                                         size_t index),
                            size_t index);

/** Step, memory, run, comparison with what was published, ledger, variants.  @return FC_OK | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_report_train_page(fc_text *out, const fc_train_answer *answer);

/** step.csv, memory.csv, run.csv, interruptions.csv, ledger.csv, run.svg, ledger.svg, with variants
 *  variants.csv and variants.svg, manifest.yaml; as fc_report_write. */
FC_NODISCARD
fc_status fc_report_train_write(const char *folder, const fc_train_answer *answer, const fc_input *input,
                                const fc_report_options *options, char *why);

#endif
