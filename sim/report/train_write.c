/* SPDX-License-Identifier: Apache-2.0 */
#include "folder.h"
#include "manifest.h"
#include "train_tables.h"

enum { STEP, MEMORY, PHASES, RUN, STOPS, LEDGER, RUN_SVG, LEDGER_SVG, VARIANTS, VARIANTS_SVG, TABLES };

static const char *const names[TABLES] = {[STEP] = "step.csv",           [MEMORY] = "memory.csv",
                                          [PHASES] = "phases.csv",       [RUN] = "run.csv",
                                          [STOPS] = "interruptions.csv", [LEDGER] = "ledger.csv",
                                          [RUN_SVG] = "run.svg",         [LEDGER_SVG] = "ledger.svg",
                                          [VARIANTS] = "variants.csv",   [VARIANTS_SVG] = "variants.svg"};

static size_t n_tables(const fc_train_answer *a) {
  return a->n_variants ? TABLES : VARIANTS;
}

static fc_status fill(table *t, size_t which, const fc_train_answer *a, const fc_input *input) {
  switch (which) {
  case STEP: return fc_train_step_table(t, a);
  case MEMORY: return fc_train_memory_table(t, a);
  case PHASES: return fc_train_phases_table(t, a);
  case RUN: return fc_train_run_table(t, a);
  case STOPS: return fc_train_stops_table(t, a);
  case LEDGER: return fc_train_ledger_table(t, a, input);
  case RUN_SVG: return fc_train_run_svg(t, a);
  case LEDGER_SVG: return fc_train_ledger_svg(t, a);
  case VARIANTS: return fc_train_variants_table(t, a);
  default: return fc_train_variants_svg(t, a);
  }
}

static fc_text head(const fc_train_answer *a, const fc_report_options *o) {
  fc_text text = {0};
  fc_report_manifest_begin(&text, o, "train", a->def->name, a->def->question);
  fc_report_manifest_asked(&text, o);
  fc_text_printf(&text, "replications: %zu\n", a->n_samples);
  return text;
}

static fc_status prepare(fc_folder *f, const fc_train_answer *a, const fc_input *input) {
  for (size_t i = 0; i < n_tables(a); i++) {
    table *t;
    fc_status status = fc_folder_add(f, names[i], &t);
    if (status == FC_OK) status = fill(t, i, a, input);
    if (status == FC_OK) status = fc_folder_sync(f, t);
    if (status != FC_OK) return status;
  }
  return FC_OK;
}

fc_status fc_report_train_write(const char *folder, const fc_train_answer *a, const fc_input *input,
                                const fc_report_options *options, char *why) {
  fc_folder f;
  fc_status status = fc_folder_open(&f, folder, why);
  if (status == FC_OK) status = prepare(&f, a, input);
  if (status == FC_OK) {
    fc_text text = head(a, options);
    status = fc_folder_commit(&f, &text, input, options);
  }
  return fc_folder_end(&f, status);
}
