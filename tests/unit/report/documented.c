/* SPDX-License-Identifier: Apache-2.0 */
#include "documented.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "csv_rows.h"
#include "scratch.h"

char *documented_text(void) {
  return slurp(FC_SOURCE_DIR "/docs/csv.md");
}

size_t documented(documented_names out, const char *docs, const char *heading, char (*units)[UNIT_ROOM]) {
  const char *p = strstr(docs, heading);
  cr_assert(p, "docs/csv.md has no '%s'", heading);
  size_t n = 0;
  bool inside = false;
  for (p += strlen(heading); *p; p += strcspn(p, "\n"), p += *p == '\n') {
    char unit[UNIT_ROOM] = "";
    if (p[0] == '|' && p[2] == '`') {
      cr_assert_lt(n, DOCUMENTED);
      cr_assert_geq(sscanf(p, "| `%63[^`]` | %31[^|]", out[n], unit), 1);
      for (size_t k = strlen(unit); k && unit[k - 1] == ' ';) unit[--k] = '\0';
      if (units) (void)strcpy(units[n], unit);
      n++;
      inside = true;
    } else if (inside && p[0] != '|') {
      break;
    }
  }
  return n;
}

static size_t below(documented_names out, const char *docs, const char *before, const char *file) {
  char heading[64];
  (void)snprintf(heading, sizeof heading, "\n%s%s\n", before, file);
  return documented(out, docs, heading, NULL);
}

void expect_documented_columns(const char *docs, const char *before, const char *folder, const char *file) {
  documented_names names;
  size_t n = below(names, docs, before, file);
  csv *t = read_csv(scratch_path(folder, file));
  cr_assert_eq(n, t->columns, "%s: %zu columns, %zu documented", file, t->columns, n);
  for (size_t c = 0; c < n; c++) cr_expect_str_eq(names[c], t->name[c], "%s", file);
  free_csv(t);
}

void expect_documented_manifest(const char *docs, const char *before, const char *folder) {
  documented_names names;
  size_t n = below(names, docs, before, "manifest.yaml"), keys = 0;
  char *manifest = slurp(scratch_path(folder, "manifest.yaml"));
  for (const char *p = manifest; *p; p += strcspn(p, "\n"), p += *p == '\n') {
    if (!islower((unsigned char)*p)) continue;
    cr_assert_lt(keys, n);
    size_t length = strlen(names[keys]);
    cr_expect(strncmp(p, names[keys], length) == 0 && p[length] == ':', "%s: %.20s", names[keys], p);
    keys++;
  }
  cr_expect_eq(n - keys, 4, "without an input: no inputs, uncertain, sources, resolved");
  free(manifest);
}
