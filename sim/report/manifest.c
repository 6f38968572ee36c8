/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

/* Below the longest data folder that holds it; else as given. */
static const char *relative(const char *path, const fc_report_options *o) {
  const char *best = path;
  for (size_t i = 0; i < o->n_data_dirs; i++) {
    const char *folder = o->data_dirs[i];
    size_t n = strlen(folder);
    while (n && folder[n - 1] == '/') n--;
    if (n && strncmp(path, folder, n) == 0 && path[n] == '/' && path + n + 1 > best) best = path + n + 1;
    if (strcmp(folder, ".") == 0 && strncmp(path, "./", 2) == 0 && best == path) best = path + 2;
  }
  return best;
}

void fc_report_manifest_pair(fc_text *out, const char *key, const char *value) {
  fc_text_printf(out, "%s: ", key);
  fc_text_quote(out, value ? value : "");
  fc_text_add(out, "\n");
}

static void add_member(fc_text *out, const char *key, const char *value) {
  fc_text_printf(out, "%s: ", key);
  fc_text_quote(out, value ? value : "");
}

void fc_report_manifest_asked(fc_text *out, const fc_report_options *o) {
  fc_text_printf(out, "seed: %" PRIu64 "\n", o->seed);
  fc_text_add(out, o->n_set ? "overrides:\n" : "overrides: []\n");
  for (size_t i = 0; i < o->n_set; i++) {
    fc_text_add(out, "  - ");
    fc_text_quote(out, o->set[i]);
    fc_text_add(out, "\n");
  }
}

void fc_report_manifest_begin(fc_text *out, const fc_report_options *o, const char *kind, const char *name,
                              const char *question) {
  fc_text_add(out, "# What made the files of this folder, and what they are: docs/csv.md#manifest.\n");
  fc_report_manifest_pair(out, "fleetcast", o->version);
  fc_report_manifest_pair(out, "command", o->command);
  fc_report_manifest_pair(out, kind, name);
  fc_report_manifest_pair(out, "question", question);
}

void fc_report_manifest_fleet(fc_text *out, const fc_fleet_result *result, const fc_report_options *o) {
  static const char *const buckets[] = {
      [FC_BUCKET_HOUR] = "hour", [FC_BUCKET_DAY] = "day", [FC_BUCKET_MONTH] = "month"};
  const fc_fleet_def *def = fc_fleet_result_def(result);
  char start[FC_TIME_TEXT], end[FC_TIME_TEXT];
  fc_time_format(start, def->start);
  fc_time_format(end, def->end);
  fc_report_manifest_begin(out, o, "scenario", def->name, def->question);
  fc_report_manifest_pair(out, "scope", def->scope);
  fc_text_printf(out, "start: %s\nend: %s\nbucket: %s\n", start, end, buckets[def->bucket]);
  fc_report_manifest_asked(out, o);
  fc_text_add(out, "laws_checked: [INV-1, INV-2, INV-3, INV-7, INV-9]\n");
  fc_text_printf(out, "events_executed: %" PRIu64 "\n", fc_fleet_events_executed(result));
}

static void add_outputs(fc_text *out, const table *tables, size_t n) {
  fc_text_add(out, "outputs:\n");
  for (size_t i = 0; i < n; i++)
    fc_text_printf(out, "  - {file: %s, rows: %zu, bytes: %zu, sha256: %s}\n", tables[i].name, tables[i].rows,
                   tables[i].bytes, tables[i].sha256);
}

static void add_inputs(fc_text *out, const fc_input *input, const fc_report_options *o) {
  size_t n = fc_input_n_files(input);
  fc_text_add(out, n ? "inputs:\n" : "inputs: []\n");
  for (size_t i = 0; i < n; i++) {
    const fc_input_file *f = fc_input_file_at(input, i);
    fc_text_add(out, "  - {");
    add_member(out, "path", relative(f->path, o));
    fc_text_printf(out, ", bytes: %zu, sha256: %s}\n", f->bytes, f->sha256);
  }
}

/* A figure of a profile's kernel: thousands, and each profile is listed with its hash. */
static bool is_of_kernel(const fc_input_source *s) {
  return strncmp(s->path, "profile ", 8) == 0 && strstr(s->path, ": kernels[");
}

static void add_sources(fc_text *out, const fc_input *input, const fc_report_options *o) {
  size_t n = fc_input_n_uncertain(input);
  fc_text_add(out,
              n ? "# given as distributions; this run used their medians\nuncertain:\n" : "uncertain: []\n");
  for (size_t i = 0; i < n; i++) {
    const fc_input_uncertain *u = fc_input_uncertain_at(input, i);
    fc_text_add(out, "  - {");
    add_member(out, "path", u->path);
    add_member(out, ", file", u->file ? relative(u->file, o) : "");
    fc_text_printf(out, ", line: %zu}\n", u->at.line);
  }
  n = fc_input_n_sources(input);
  size_t told = 0;
  for (size_t i = 0; i < n; i++) {
    const fc_input_source *s = fc_input_source_at(input, i);
    if (is_of_kernel(s)) continue;
    if (!told++) fc_text_add(out, "# those of kernels: in the profiles among the inputs\nsources:\n");
    fc_text_add(out, "  - {");
    add_member(out, "path", s->path);
    add_member(out, ", value", s->value);
    add_member(out, ", source", s->source);
    fc_text_add(out, "}\n");
  }
  if (!told) fc_text_add(out, "sources: []\n");
}

/* The dump as a literal block; `|2` because it may begin with blanks. */
static fc_status add_resolved(fc_text *out, const fc_input *input) {
  fc_text dump = {0};
  fc_status status = fc_input_dump(input, &dump);
  if (!status) status = fc_text_status(&dump);
  if (!status) {
    fc_text_add(out,
                "# every value that the run used, defaults included: a scenario that gives the same files\n");
    fc_text_add(out, "resolved: |2\n");
    for (char *line = dump.bytes, *end; line && *line; line = end) {
      end = line + strcspn(line, "\n");
      if (end > line) fc_text_printf(out, "  %.*s", (int)(end - line), line);
      fc_text_add(out, "\n");
      if (*end) end++;
    }
  }
  fc_text_fini(&dump);
  return status;
}

fc_status fc_report_manifest_files(fc_text *out, const fc_input *input, const fc_report_options *options,
                                   const table *tables, size_t n_tables) {
  add_outputs(out, tables, n_tables);
  if (input) {
    add_inputs(out, input, options);
    add_sources(out, input, options);
    fc_status status = add_resolved(out, input);
    if (status) return status;
  }
  return fc_text_status(out);
}
