/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_REPORT_TRAIN_TABLES_H
#define FC_REPORT_TRAIN_TABLES_H

#include <fleetcast/report/train.h>

#include "table.h"

/* Parts of a step and of memory, by name; the parts of a step add up to it. */
enum { TRAIN_PARTS = 13, TRAIN_STORES = 8 };
extern const char *const fc_train_part_word[TRAIN_PARTS];
double fc_train_part_s(const fc_train_step *step, size_t part);
extern const char *const fc_train_store_word[TRAIN_STORES];
double fc_train_store_bytes(const fc_train_memory *memory, size_t store);

/* Published: the figure that an answer's is compared with; 0: none. */
double fc_train_published(const fc_train_answer *a, fc_train_figure figure);
/* Window over which stops are counted [s]; 0: the run. */
double fc_train_window_s(const fc_train_answer *a);
/* Samplers for fc_train_range_of. */
double fc_train_sample_figure(const fc_train_answer *a, const fc_recovery_sample *s, size_t figure);
double fc_train_sample_held(const fc_train_answer *a, const fc_recovery_sample *s, size_t held);
double fc_train_sample_phase(const fc_train_answer *a, const fc_recovery_sample *s, size_t phase);
double fc_train_sample_stops(const fc_train_answer *a, const fc_recovery_sample *s, size_t hazard);
/* Interval of a composed time: 5 and 95 % of a log-normal. */
double fc_train_spread(double log_sd);

/* --- files --- */

fc_status fc_train_step_table(table *t, const fc_train_answer *a);
fc_status fc_train_memory_table(table *t, const fc_train_answer *a);
fc_status fc_train_phases_table(table *t, const fc_train_answer *a);
fc_status fc_train_run_table(table *t, const fc_train_answer *a);
fc_status fc_train_stops_table(table *t, const fc_train_answer *a);
fc_status fc_train_ledger_table(table *t, const fc_train_answer *a, const fc_input *input);
fc_status fc_train_variants_table(table *t, const fc_train_answer *a);
/* Pictures (train_svg.c). */
fc_status fc_train_run_svg(table *t, const fc_train_answer *a);
fc_status fc_train_ledger_svg(table *t, const fc_train_answer *a);
fc_status fc_train_variants_svg(table *t, const fc_train_answer *a);

#endif
