/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_REPORT_SERVE_TABLES_H
#define FC_REPORT_SERVE_TABLES_H

#include <fleetcast/report/serve.h>

#include "table.h"

/* What each file of a serving run holds. */

void fc_serve_requests_header(table *t);
void fc_serve_timeline_header(table *t);
void fc_serve_timeline_row(table *t, const fc_replica_stretch *stretch);
void fc_serve_cluster_header(table *t);
void fc_serve_cluster_row(table *t, const fc_cluster_sample *sample);
void fc_serve_replicas_table(table *t, const fc_serve_answer *answer);
void fc_serve_latency_table(table *t, const fc_serve_answer *answer);
void fc_serve_summary_table(table *t, const fc_serve_answer *answer);
void fc_serve_breakdown_table(table *t, const fc_serve_answer *answer);

const char *fc_serve_refusal_text(fc_refusal refusal);
const char *fc_serve_verdict_text(fc_verdict verdict);

enum { SERVE_PARTS = 8 };
/* Part i of an iteration, by name and in seconds. */
const char *fc_serve_part(const fc_step_parts *parts, int i, double *seconds);

/* --- derived numbers --- */

/* Requests refused for a reason, all instances. */
uint64_t fc_serve_refused(const fc_serve_answer *answer, fc_refusal refusal);
const char *fc_serve_condition_text(fc_replica_condition condition);
/* Mean draw of a device [W], all iterations and the time between them. */
double fc_serve_watts(const fc_serve_answer *answer);
/* USD for a million of `per_s` a second of the whole deployment; inverse: low and high change places. */
fc_interval fc_serve_price(const fc_serve_answer *answer, fc_interval per_s);

#endif
