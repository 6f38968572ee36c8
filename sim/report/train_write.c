/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>

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

static fc_status manifest(table *t, const table *tables, const char *folder, const fc_train_answer *a,
                          const fc_input *input, const fc_report_options *o) {
  fc_text text = {0};
  fc_text_add(&text, FC_MANIFEST_TITLE);
  fc_report_manifest_pair(&text, "fleetcast", o->version);
  fc_report_manifest_pair(&text, "command", o->command);
  fc_report_manifest_pair(&text, "train", a->def->name);
  fc_report_manifest_pair(&text, "question", a->def->question);
  fc_report_manifest_asked(&text, o);
  fc_text_printf(&text, "replications: %zu\n", a->n_samples);
  fc_status status = fc_report_manifest_files(&text, input, o, tables, n_tables(a));
  if (status == FC_OK) status = fc_table_open(t, folder, FC_FOLDER_MANIFEST);
  if (status == FC_OK) {
    fc_file_write(t->file, text.bytes, text.length);
    status = fc_table_sync(t);
  }
  int kept = errno;
  fc_text_fini(&text);
  errno = kept;
  return status;
}

static fc_status prepare(table *t, const char *folder, const fc_train_answer *a, const fc_input *input,
                         char *why) {
  for (size_t i = 0; i < n_tables(a); i++) {
    fc_folder_explain(why, folder, names[i]);
    fc_status status = fc_table_open(&t[i], folder, names[i]);
    if (status == FC_OK) status = fill(&t[i], i, a, input);
    if (status != FC_OK) return status;
    if (t[i].not_finite) {
      (void)snprintf(why, FC_REPORT_WHY, "INV-9: a number of %s is not finite", names[i]);
      return FC_E_LAW;
    }
    status = fc_table_sync(&t[i]);
    if (status != FC_OK) return status;
  }
  return FC_OK;
}

fc_status fc_report_train_write(const char *folder, const fc_train_answer *a, const fc_input *input,
                                const fc_report_options *options, char *why) {
  table t[TABLES + 1] = {0};
  size_t made = 0;
  fc_folder_explain(why, folder, "");
  fc_status status = fc_folder_make(folder, &made);
  if (status == FC_OK) status = prepare(t, folder, a, input, why);
  if (status == FC_OK && options->cancel && *options->cancel) status = FC_E_CANCELLED;
  if (status == FC_OK) {
    fc_folder_explain(why, folder, FC_FOLDER_MANIFEST);
    status = manifest(&t[TABLES], t, folder, a, input, options);
  }
  if (status == FC_OK) status = fc_folder_no_manifest(folder, why);
  for (size_t i = 0; i <= TABLES && status == FC_OK; i++)
    if (t[i].file) status = fc_folder_commit(&t[i], folder, why);
  int kept = errno;
  if (status != FC_OK) {
    for (size_t i = 0; i <= TABLES; i++) fc_file_abandon(t[i].file);
    fc_folder_remove(folder, made);
  } else {
    *why = '\0';
  }
  errno = kept;
  return status;
}
