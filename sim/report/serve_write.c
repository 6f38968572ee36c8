/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "engine.h"
#include "folder.h"
#include "manifest.h"
#include "serve_rows.h"
#include "serve_tables.h"

enum { LATENCY, SUMMARY, BREAKDOWN, REPLICAS, REQUESTS, TIMELINE, CLUSTER, TABLES };

static const char *const names[TABLES] = {
    [LATENCY] = "latency.csv",   [SUMMARY] = "summary.csv",   [BREAKDOWN] = "breakdown.csv",
    [REPLICAS] = "replicas.csv", [REQUESTS] = "requests.csv", [CLUSTER] = "cluster.csv",
    [TIMELINE] = "timeline.csv"};

struct fc_serve_files {
  char *path;
  fc_folder folder;
  int kind[TABLES]; /* of the folder's files, of those the last may be on demand */
  fc_rows *requests;
  table *timeline, *cluster;
};

static fc_status add_table(fc_serve_files *f, int kind, size_t threads) {
  table *t;
  fc_status status = fc_folder_add(&f->folder, names[kind], &t);
  if (status != FC_OK) return status;
  f->kind[f->folder.n - 1] = kind;
  if (kind == REQUESTS) return fc_rows_new(&f->requests, t, threads > 1 ? threads - 1 : 0);
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
  f->path = memcpy(copy, folder, size);
  fc_status status = fc_folder_open(&f->folder, f->path, why);
  for (int kind = LATENCY; kind < TABLES && status == FC_OK; kind++)
    if (is_wanted(kind, def)) status = add_table(f, kind, def->threads);
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
  if (f->requests) fc_rows_add(f->requests, def, record);
}

void fc_serve_files_stretch(fc_serve_files *f, const fc_replica_stretch *stretch) {
  if (f->timeline) fc_serve_timeline_row(f->timeline, stretch);
}

void fc_serve_files_sample(fc_serve_files *f, const fc_cluster_sample *sample) {
  if (f->cluster) fc_serve_cluster_row(f->cluster, sample);
}

void fc_serve_files_abandon(fc_serve_files *f) {
  if (!f) return;
  (void)fc_rows_end(f->requests);
  fc_folder_abandon(&f->folder);
  free(f->path);
  free(f);
}

/* --- the manifest --- */

static void add_head(fc_text *out, const fc_serve_answer *a, const fc_report_options *o) {
  fc_report_manifest_begin(out, o, "serve", a->def->name, a->def->question);
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

/* --- all of it --- */

static fc_status prepare(fc_serve_files *f, const fc_serve_answer *a) {
  fc_folder *folder = &f->folder;
  fc_status status = fc_rows_end(f->requests);
  f->requests = NULL;
  for (size_t i = 0; i < folder->n; i++) {
    table *t = &folder->t[i];
    if (f->kind[i] == LATENCY) fc_serve_latency_table(t, a);
    if (f->kind[i] == SUMMARY) fc_serve_summary_table(t, a);
    if (f->kind[i] == REPLICAS) fc_serve_replicas_table(t, a);
    if (f->kind[i] == BREAKDOWN) fc_serve_breakdown_table(t, a);
  }
  for (size_t i = 0; status == FC_OK && i < folder->n; i++) status = fc_folder_sync(folder, &folder->t[i]);
  return status;
}

static void release(fc_serve_files *f) {
  int kept = errno;
  free(f->path);
  free(f);
  errno = kept;
}

fc_status fc_serve_files_commit(fc_serve_files *f, const fc_serve_answer *answer, const fc_input *input,
                                const fc_report_options *options) {
  fc_status status = prepare(f, answer);
  if (status == FC_OK) {
    fc_text head = {0};
    add_head(&head, answer, options);
    status = fc_folder_commit(&f->folder, &head, input, options);
  }
  status = fc_folder_end(&f->folder, status);
  release(f);
  return status;
}

void fc_report_hash(char out[65], const char *path) {
  struct stat st;
  out[0] = '\0';
  if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && !SHA256File(path, out)) out[0] = '\0';
}
