/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "engine.h"
#include "folder.h"
#include "manifest.h"
#include "serve_tables.h"

enum { LATENCY, SUMMARY, BREAKDOWN, REPLICAS, REQUESTS, TIMELINE, CLUSTER, TABLES };

static const char *const names[TABLES] = {
    [LATENCY] = "latency.csv",   [SUMMARY] = "summary.csv",   [BREAKDOWN] = "breakdown.csv",
    [REPLICAS] = "replicas.csv", [REQUESTS] = "requests.csv", [CLUSTER] = "cluster.csv",
    [TIMELINE] = "timeline.csv"};

struct fc_serve_files {
  char *folder, *why; /* why: the caller's */
  size_t made;
  size_t n; /* tables, of those the last may be on demand */
  int kind[TABLES];
  table t[TABLES], manifest;
  table *requests, *timeline, *cluster;
};

static fc_status add_table(fc_serve_files *f, int kind) {
  fc_folder_explain(f->why, f->folder, names[kind]);
  table *t = &f->t[f->n];
  fc_status status = fc_table_open(t, f->folder, names[kind]);
  if (status != FC_OK) return status;
  f->kind[f->n++] = kind;
  if (kind == REQUESTS) fc_serve_requests_header(f->requests = t);
  if (kind == TIMELINE) fc_serve_timeline_header(f->timeline = t);
  if (kind == CLUSTER) fc_serve_cluster_header(f->cluster = t);
  return FC_OK;
}

static bool is_wanted(int kind, const fc_serve_files_def *def) {
  switch (kind) {
  case REPLICAS: return def->cluster;
  case REQUESTS: return def->requests;
  case TIMELINE: return def->timeline && !def->cluster;
  case CLUSTER: return def->timeline && def->cluster;
  default: return true;
  }
}

fc_status fc_serve_files_open(fc_serve_files **out, const char *folder, const fc_serve_files_def *def,
                              char *why) {
  *out = NULL;
  fc_serve_files *f = calloc(1, sizeof *f);
  size_t size = strlen(folder) + 1;
  char *copy = malloc(size);
  if (!f || !copy) {
    free(f);
    free(copy);
    return FC_E_NOMEM;
  }
  f->folder = memcpy(copy, folder, size);
  f->why = why;
  fc_folder_explain(why, folder, "");
  fc_status status = fc_folder_make(folder, &f->made);
  for (int kind = LATENCY; kind < TABLES && status == FC_OK; kind++)
    if (is_wanted(kind, def)) status = add_table(f, kind);
  if (status == FC_OK) {
    *out = f;
    return FC_OK;
  }
  int kept = errno;
  fc_serve_files_abandon(f);
  errno = kept;
  return status;
}

void fc_serve_files_request(fc_serve_files *f, const fc_serve_def *def, const fc_cluster_record *record) {
  if (f->requests) fc_serve_requests_row(f->requests, def, record);
}

void fc_serve_files_stretch(fc_serve_files *f, const fc_replica_stretch *stretch) {
  if (f->timeline) fc_serve_timeline_row(f->timeline, stretch);
}

void fc_serve_files_sample(fc_serve_files *f, const fc_cluster_sample *sample) {
  if (f->cluster) fc_serve_cluster_row(f->cluster, sample);
}

void fc_serve_files_abandon(fc_serve_files *f) {
  if (!f) return;
  for (size_t i = 0; i < f->n; i++) fc_file_abandon(f->t[i].file);
  fc_file_abandon(f->manifest.file);
  fc_folder_remove(f->folder, f->made);
  free(f->folder);
  free(f);
}

/* --- the manifest --- */

static void add_head(fc_text *out, const fc_serve_answer *a, const fc_report_options *o) {
  fc_text_add(out, FC_MANIFEST_TITLE);
  fc_report_manifest_pair(out, "fleetcast", o->version);
  fc_report_manifest_pair(out, "command", o->command);
  fc_report_manifest_pair(out, "serve", a->def->name);
  fc_report_manifest_pair(out, "question", a->def->question);
  fc_report_manifest_asked(out, o);
  if (a->view) fc_report_manifest_engine(out, "engine", a->view);
  if (a->prefill_view) fc_report_manifest_engine(out, "prefill_engine", a->prefill_view);
  fc_report_manifest_pair(out, "verdict", fc_serve_verdict_text(a->verdict));
  if (!a->trace) return;
  fc_text_add(out, "trace: {path: ");
  fc_text_quote(out, a->trace);
  fc_text_printf(out, ", sha256: %s, requests: %zu, malformed: %zu, out_of_order: %zu}\n", a->trace_sha256,
                 a->trace_info.requests, a->trace_info.malformed, a->trace_info.out_of_order);
}

static fc_status write_manifest(fc_serve_files *f, const fc_serve_answer *a, const fc_input *input,
                                const fc_report_options *options) {
  fc_text text = {0};
  add_head(&text, a, options);
  fc_folder_explain(f->why, f->folder, FC_FOLDER_MANIFEST);
  fc_status status = fc_report_manifest_files(&text, input, options, f->t, f->n);
  if (status == FC_OK) status = fc_table_open(&f->manifest, f->folder, FC_FOLDER_MANIFEST);
  if (status == FC_OK) {
    fc_file_write(f->manifest.file, text.bytes, text.length);
    status = fc_table_sync(&f->manifest);
  }
  int kept = errno;
  fc_text_fini(&text);
  errno = kept;
  return status;
}

/* --- all of it --- */

static fc_status prepare(fc_serve_files *f, const fc_serve_answer *a, const fc_input *input,
                         const fc_report_options *options) {
  for (size_t i = 0; i < f->n; i++) {
    if (f->kind[i] == LATENCY) fc_serve_latency_table(&f->t[i], a);
    if (f->kind[i] == SUMMARY) fc_serve_summary_table(&f->t[i], a);
    if (f->kind[i] == REPLICAS) fc_serve_replicas_table(&f->t[i], a);
    if (f->kind[i] == BREAKDOWN) fc_serve_breakdown_table(&f->t[i], a);
  }
  for (size_t i = 0; i < f->n; i++) {
    if (f->t[i].not_finite) {
      (void)snprintf(f->why, FC_REPORT_WHY, "INV-9: a number of %s is not finite", f->t[i].name);
      return FC_E_LAW;
    }
    fc_folder_explain(f->why, f->folder, f->t[i].name);
    fc_status status = fc_table_sync(&f->t[i]);
    if (status != FC_OK) return status;
  }
  if (options->cancel && *options->cancel) return FC_E_CANCELLED;
  return write_manifest(f, a, input, options);
}

fc_status fc_serve_files_commit(fc_serve_files *f, const fc_serve_answer *answer, const fc_input *input,
                                const fc_report_options *options) {
  fc_status status = prepare(f, answer, input, options);
  if (status == FC_OK) status = fc_folder_no_manifest(f->folder, f->why);
  for (size_t i = 0; status == FC_OK && i < f->n; i++) status = fc_folder_commit(&f->t[i], f->folder, f->why);
  if (status == FC_OK) status = fc_folder_commit(&f->manifest, f->folder, f->why);
  if (status == FC_OK) {
    f->made = 0;
    *f->why = '\0';
  }
  int kept = errno;
  fc_serve_files_abandon(f);
  errno = kept;
  return status;
}

void fc_report_hash(char out[65], const char *path) {
  struct stat st;
  out[0] = '\0';
  if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && !SHA256File(path, out)) out[0] = '\0';
}
