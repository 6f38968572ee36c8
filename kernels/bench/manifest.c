/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <fleetcast/base/csv.h>
#include <fleetcast/base/file.h>
#include <fleetcast/base/time.h>

/* A YAML scalar in double quotes. */
static void put_text(fc_file *f, const char *key, const char *text) {
  fc_file_printf(f, "%s: \"", key);
  for (const char *p = text; *p; p++) fc_file_printf(f, *p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
  fc_file_printf(f, "\"\n");
}

static void put_number(fc_file *f, const char *key, double value) {
  char text[FC_CSV_NUMBER_TEXT];
  fc_csv_number_format(text, value);
  fc_file_printf(f, "%s: %s\n", key, text);
}

static void put(fc_file *f, const char *out, const fc_session *s) {
  static const char *const kinds[] = {"ok", "timeout", "again", "skipped", "failed"};
  const fc_machine *m = &s->machine;
  const char *slash = strrchr(out, '/');
  char date[FC_TIME_TEXT];
  fc_time_format(date, (fc_time)time(NULL) * FC_SECOND);
  fc_file_printf(f, "# where %s comes from; written with it by `fleetcast bench`\n", slash ? slash + 1 : out);
  put_text(f, "finished", date);
  put_text(f, "fleetcast", FC_BENCH_VERSION);
  put_text(f, "backend", s->options.device->name);
  put_text(f, "device", m->gpu);
  put_text(f, "driver", m->driver);
  put_text(f, "library", m->library);
  fc_file_printf(f, "compute_units: %d\n", m->compute_units);
  if (m->capability > 0)
    fc_file_printf(f, "compute_capability: %d.%d\n", m->capability / 10, m->capability % 10);
  put_number(f, "cache_bytes", m->cache_bytes);
  put_number(f, "memory_bytes", m->memory_bytes);
  put_number(f, "best_clock_mhz", s->best_clock_mhz);
  put_text(f, "suite", s->options.kernel ? s->options.kernel : (s->options.quick ? "quick" : "full"));
  fc_file_printf(f, "seed: %llu\n", (unsigned long long)s->options.seed);
  fc_file_printf(f, "resumed_points: %zu\n", s->resumed);
  fc_file_printf(f, "checks: {passed: %zu, failed: %zu}\n", s->checks.passed, s->checks.failed);
  fc_file_printf(f, "points: {");
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    fc_file_printf(f, "%s%s: %zu", i > 0 ? ", " : "", kinds[i], fc_rows_count(&s->rows, kinds[i]));
  fc_file_printf(f, "}\n");
  put_number(f, "sentinel_drift", s->largest_drift);
}

fc_status fc_manifest_write(const char *out, const fc_session *s) {
  if (!fc_journal_is_regular(out)) return FC_OK;
  char *path = fc_path_with_suffix(out, ".yaml");
  if (!path) return FC_E_NOMEM;
  fc_file *f;
  fc_status status = fc_file_create(&f, path);
  free(path);
  if (status) return status;
  put(f, out, s);
  return fc_file_commit(f);
}
