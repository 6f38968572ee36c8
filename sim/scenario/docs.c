/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "describe.h"

/* docs/input.md: the language in a page, then one table a mapping, from the tables that drive the parser. */

enum { SCHEMAS_MAX = 128 };

static const char *const introduction =
    "# Input files\n"
    "\n"
    "<!-- Generated from the field tables in sim/scenario/; `FC_UPDATE_DOCS=1 ctest -R scenario_docs` writes "
    "it anew. -->\n"
    "\n"
    "All input is YAML: UTF-8, one document a file, no anchors, aliases, tags or merge keys, no key twice, "
    "at most 16 MiB.\n"
    "A file says what it is by `kind`: `device`, `model`, `profile`, `shape`, `scenario`, `serve`, `plan`, "
    "`train` or "
    "`train_plan`. "
    "Whatever is "
    "wrong is told as\n"
    "`file:line:column: error: …`, up to 32 at a time; `fleetcast check FILE…` does nothing else. `fleetcast "
    "explain KEY`\n"
    "shows one entry of this page, `fleetcast schema KIND` prints a JSON Schema for editors.\n"
    "\n"
    "## Values\n"
    "\n"
    "| to say | write |\n"
    "|---|---|\n"
    "| a quantity | `3.35 TB/s`, `80 GB`, `2 USD/h`, `14.8 T tokens`, `56.3 %`, `0.087 USD/kWh`, `91.25 d` "
    "|\n"
    "| a plain number | `132`, `671 B`, `0.5`, `1e9`; things that are counted (tokens, devices) may go "
    "without unit |\n"
    "| a number and its source | `{value: 80 GB, source: \"datasheet\"}` |\n"
    "| an uncertain number | `{dist: lognormal, median: 2 USD/h, p90: 3 USD/h}`; see below |\n"
    "| a date | `2024-01-31`, `2024-01`, `2024-Q1`, `2024-01-31T12:30` (UTC) |\n"
    "| a series that never changes | `2 USD/h`, or an uncertain number |\n"
    "| dated values | `[{date: 2024-01, value: 8 USD/h}, {date: 2025-01, value: 2 USD/h}]`, straight between "
    "points |\n"
    "| with interpolation and growth | `{interp: log, points: […], growth: {factor_per_year: 3.3}}` |\n"
    "| from a start by growth | `{start: 2024-01, value: 480 T tokens/month, growth: {factor_per_year: "
    "3.3}}` |\n"
    "\n"
    "**Units.** B byte bit; s min h d day wk month yr (365.25 d; a month is a twelfth); FLOP, FLOP/s or "
    "FLOPS; J Wh W;\n"
    "USD $; token tok; device GPU chip accelerator; request req; user; % and x. Prefixes n u m for s; k M G "
    "T P E Z Y for\n"
    "bytes, FLOP, J, W, Wh, USD, tokens and requests; Ki Mi Gi Ti Pi for bytes. A scale word may stand "
    "between number and\n"
    "unit: k M B T (thousand to trillion). `/` divides by what follows up to the next `/`, `-` joins: "
    "`USD/GPU-h`.\n"
    "\n"
    "**Distributions.** `uniform` and `loguniform` want `min` and `max`; `triangular` also `mode`; `normal` "
    "wants `mean` and\n"
    "`sd`; `lognormal` wants `median` and one of `p90`, `p95`, `sigma`, or `p10` and `p90`. `min` and `max` "
    "truncate the last\n"
    "two, and so does the range of the key. A single run uses the median; an ensemble samples.\n"
    "\n"
    "**Series.** `interp` is `step` (the last point holds), `linear` (default) or `log`. Before the first "
    "point the first\n"
    "value holds; after the last one `growth` decides: `hold` (default), `exponential`, or `logistic` and "
    "`gompertz` towards a\n"
    "`ceiling`. `factor_per_year: 3.3` multiplies by 3.3 a year; `rate: 25 %/yr` is `factor_per_year: "
    "1.25`.\n"
    "\n"
    "**Everywhere.** `source` in a mapping says where its numbers come from, those of mappings inside too; "
    "the run's manifest\n"
    "lists every number with its source. `note` is for readers.\n"
    "\n"
    "**Composition.** `include: file.yaml`, or a list of files, at the top: mappings are merged key by key, "
    "the including file\n"
    "wins, lists are replaced; paths are relative to the including file. A name such as `device: h100` "
    "means\n"
    "`devices/h100.yaml` beside the file or in a data directory. `--set pools.h100.lag='30 d'` or `--set "
    "pools[0].lag='30 d'`\n"
    "changes one value.\n";

/* A table cell must not hold a bar. */
static void add_cell(fc_text *out, void (*describe)(fc_text *, const fc_field *), const fc_field *f) {
  fc_text cell = {0};
  describe(&cell, f);
  fc_text_add(out, "| ");
  for (const char *p = cell.bytes; p && *p; p++) fc_text_printf(out, *p == '|' ? "\\%c" : "%c", *p);
  fc_text_add(out, " ");
  if (cell.failed) out->failed = true;
  fc_text_fini(&cell);
}

static void add_table(fc_text *out, const fc_schema *schema) {
  fc_text_printf(out, "\n### %s\n\n%s\n\n", schema->name, schema->help);
  fc_text_add(out, "| key | type | default | range | meaning |\n|---|---|---|---|---|\n");
  for (size_t i = 0; i < schema->n; i++) {
    const fc_field *f = &schema->fields[i];
    fc_text_printf(out, "| `%s` ", f->key);
    add_cell(out, fc_describe_type, f);
    add_cell(out, fc_describe_default, f);
    add_cell(out, fc_describe_range, f);
    fc_text_printf(out, "| %s |\n", f->help);
  }
}

fc_status fc_input_docs(fc_text *out) {
  const fc_schema *done[SCHEMAS_MAX];
  size_t n_done = 0;
  fc_text_add(out, introduction);
  for (int kind = FC_INPUT_ANY + 1; kind < FC_INPUT_KINDS; kind++) {
    const fc_schema *list[SCHEMAS_MAX];
    size_t n = fc_describe_schemas(fc_schema_of((fc_input_kind)kind), list, SCHEMAS_MAX);
    fc_text_printf(out, "\n## kind: %s\n", fc_input_kind_text((fc_input_kind)kind));
    for (size_t i = 0; i < n; i++) {
      bool known = false;
      for (size_t k = 0; k < n_done && !known; k++) known = done[k] == list[i];
      if (known) continue;
      if (n_done < SCHEMAS_MAX) done[n_done++] = list[i];
      add_table(out, list[i]);
    }
  }
  return fc_text_status(out);
}
