/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/calibrate/report.h>

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/calibrate/design.h>
#include <fleetcast/cost/predict.h>

#include "report_svg.h"

enum { OPEN_PLOTS = 12, POINTS_MAX = 400, WORST_ROWS = 15, NEXT_ROWS = 12 };

/* --- style --- */

static const char style[] =
    ":root{--bg:#fff;--fg:#1b1e23;--muted:#68707c;--line:#dfe3e8;--band:#1f6feb14;--accent:#1f5fbf;--warn:#"
    "b54708}"
    "@media(prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e4e7eb;--muted:#929ba7;--line:#2c323a;"
    "--band:#7db0ff1c;--accent:#7db0ff;--warn:#f0a35e}}"
    "*{box-sizing:border-box}body{margin:0 auto;max-width:1120px;padding:28px 24px 56px;background:var(--bg);"
    "color:var(--fg);font:14px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif}"
    "h1{font-size:22px;margin:0 0 2px}h2{font-size:15px;margin:36px 0 6px}h3{font-size:13px;margin:0 0 2px}"
    "p{margin:0 0 10px;max-width:78ch}.lead{font-size:17px;line-height:1.45;margin:14px 0 18px}"
    ".note,figcaption,th,dt{color:var(--muted)}.note{font-size:12.5px}"
    "dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(210px,1fr));gap:8px 24px;margin:0;"
    "padding:12px 0;border:solid var(--line);border-width:1px "
    "0}dt{font-size:12px}dd{margin:0;overflow-wrap:anywhere}"
    ".wide{grid-column:1/-1}code{font:12px ui-monospace,monospace}"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:12.5px}"
    "th,td{text-align:left;padding:3px 10px 3px 0;white-space:nowrap;border-bottom:1px solid var(--line)}"
    "th{font-weight:500;vertical-align:bottom}td.t{white-space:normal;min-width:22em}td.i{white-space:normal;"
    "overflow-wrap:anywhere;max-width:19em}"
    ".n{text-align:right;font-variant-numeric:tabular-nums}.w{color:var(--warn)}a{color:inherit;"
    "text-decoration-color:var(--line);text-underline-offset:3px}"
    ".grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(430px,1fr));gap:22px "
    "26px;margin-top:10px}"
    "figure{margin:0;break-inside:avoid}figcaption{font-size:12px}svg{display:block;width:100%;height:auto}"
    "svg.r{display:inline-block;width:104px;vertical-align:middle}"
    "svg text{font:9.5px system-ui,sans-serif;fill:var(--muted)}svg .m{text-anchor:middle}svg "
    ".e{text-anchor:end}"
    "path{fill:none}.g{stroke:var(--line);stroke-width:.7}.d{stroke:var(--muted);stroke-width:.7}"
    ".b{fill:var(--band)}.p{stroke:var(--accent);stroke-width:2.6;stroke-linecap:round;stroke-opacity:.75}"
    ".o{stroke:var(--accent);stroke-width:.8}.l{stroke:var(--accent);stroke-width:1.4;stroke-linecap:round}"
    ".q{stroke:var(--accent);stroke-width:5.5;stroke-linecap:round}"
    "summary{cursor:pointer;color:var(--muted);margin-top:14px}"
    "@media print{@page{margin:14mm}body{max-width:none;padding:0;font-size:11px}.scroll{overflow:visible}"
    ".grid{grid-template-columns:1fr 1fr}h2{break-after:avoid}tr{break-inside:avoid}}";

/* --- small pieces --- */

static void put_percent(fc_file *f, double share) {
  if (!isfinite(share))
    fc_file_printf(f, "-");
  else
    fc_file_printf(f, share < 0.0995 ? "%.1f %%" : "%.0f %%", 100 * share);
}

static void put_percent_cell(fc_file *f, double share, bool warn) {
  fc_file_printf(f, "<td class=\"n%s\">", warn ? " w" : "");
  put_percent(f, share);
  fc_file_printf(f, "</td>");
}

static void put_seconds(fc_file *f, double seconds) {
  char text[REPORT_NUMBER];
  report_seconds(text, seconds);
  fc_file_printf(f, "%s", text);
}

static void put_time_cell(fc_file *f, double seconds) {
  fc_file_printf(f, "<td class=n>");
  put_seconds(f, seconds);
  fc_file_printf(f, "</td>");
}

static void put_interval_cell(fc_file *f, double low_s, double high_s) {
  fc_file_printf(f, "<td class=n>");
  put_seconds(f, low_s);
  fc_file_printf(f, " to ");
  put_seconds(f, high_s);
  fc_file_printf(f, "</td>");
}

static void put_cell(fc_file *f, const char *text) {
  fc_file_printf(f, "<td>");
  report_escape(f, text ? text : "");
  fc_file_printf(f, "</td>");
}

/* "bf16", "bf16, cache fp8" */
static void put_format(fc_file *f, const fc_family *family) {
  report_escape(f, family->format ? family->format->text : "");
  if (!family->kv_format || family->kv_format == family->format) return;
  fc_file_printf(f, ", cache ");
  report_escape(f, family->kv_format->text);
}

static void put_family_cells(fc_file *f, const fc_family *family, size_t index) {
  fc_file_printf(f, "<td><a href=\"#f%zu\">%s</a></td><td>", index + 1, fc_kernel_text(family->kernel));
  put_format(f, family);
  fc_file_printf(f, "</td><td class=i>");
  report_escape(f, family->impl ? family->impl : "");
  fc_file_printf(f, "</td>");
}

/* "gemm: m 4096, n 7168, k 2048"; the operator where the kernel is a family of several */
static void put_shape(fc_file *f, const fc_op *op, const fc_family *family) {
  fc_measure_row row;
  size_t n = 0;
  fc_design_columns(&row, op, family);
  bool several = family->kernel == FC_KERNEL_MEMORY || family->kernel == FC_KERNEL_GATHER;
  if (several) fc_file_printf(f, "%s: ", fc_op_text(op->id));
  for (int c = 0; c < (int)FC_MEASURE_latency_us; c++)
    if (!isnan(row.number[c]))
      fc_file_printf(f, "%s%s %.10g", n++ ? ", " : "", fc_design_column_text((fc_measure_number)c),
                     row.number[c]);
  if (n == 0) fc_file_printf(f, "-");
}

static void begin_table(fc_file *f, const char *headings) {
  fc_file_printf(f, "<div class=scroll><table><thead><tr>%s</tr></thead><tbody>\n", headings);
}

static void end_table(fc_file *f) {
  fc_file_printf(f, "</tbody></table></div>\n");
}

static void put_fact(fc_file *f, const char *name, const char *text) {
  if (!text || !*text) return;
  fc_file_printf(f, "<div><dt>%s</dt><dd>", name);
  report_escape(f, text);
  fc_file_printf(f, "</dd></div>\n");
}

/* --- how good it is --- */

typedef struct {
  double share_key, weight;
} weighted;

static int by_key(const void *a, const void *b) {
  const weighted *x = a, *y = b;
  return (x->share_key > y->share_key) - (x->share_key < y->share_key);
}

/* Of the families, each counted by its points. */
static double typical(const fc_report_input *in, double (*of)(const fc_family_report *), weighted *room) {
  double total = 0, half = 0;
  size_t n = 0;
  for (size_t i = 0; i < in->fit->n; i++) {
    double value = of(&in->fit->report[i]);
    if (!isfinite(value)) continue;
    room[n++] = (weighted){value, (double)in->table->family[i].n};
    total += (double)in->table->family[i].n;
  }
  qsort(room, n, sizeof *room, by_key);
  for (size_t i = 0; i < n; i++) {
    half += room[i].weight;
    if (2 * half >= total) return room[i].share_key;
  }
  return (double)NAN;
}

static double median_of(const fc_family_report *r) {
  return r->median_error;
}

static double p90_of(const fc_family_report *r) {
  return r->p90_error;
}

static double mean_coverage(const fc_report_input *in) {
  double sum = 0, total = 0;
  for (size_t i = 0; i < in->fit->n; i++) {
    if (!isfinite(in->fit->report[i].coverage)) continue;
    sum += in->fit->report[i].coverage * (double)in->table->family[i].n;
    total += (double)in->table->family[i].n;
  }
  return total > 0 ? sum / total : (double)NAN;
}

/* Bounds: docs/calibrate.md#report. */
static const char *verdict(double median, double p90, double coverage) {
  bool honest = coverage >= 0.85 && coverage <= 0.97;
  if (median <= 0.05 && p90 <= 0.15 && honest) return "Good";
  if (median <= 0.10 && p90 <= 0.30 && coverage >= 0.75) return "Usable";
  return "Rough";
}

static bool is_weak(const fc_family_report *r) {
  return !(r->median_error <= 0.15) || !(r->coverage >= 0.75);
}

static void write_headline(fc_file *f, const fc_report_input *in, weighted *room) {
  double median = typical(in, median_of, room), p90 = typical(in, p90_of, room), coverage = mean_coverage(in);
  size_t weak = 0;
  for (size_t i = 0; i < in->fit->n; i++) weak += is_weak(&in->fit->report[i]);
  fc_file_printf(
      f, "<p class=lead><b>%s.</b> In a typical kernel, half of the shapes that the fit had not seen are ",
      verdict(median, p90, coverage));
  fc_file_printf(f, "predicted within ");
  put_percent(f, median);
  fc_file_printf(f, " of the measured time, nine in ten within ");
  put_percent(f, p90);
  fc_file_printf(f, "; the 90 %% intervals held ");
  put_percent(f, coverage);
  fc_file_printf(f, " of the measured times.");
  if (weak > 0) fc_file_printf(f, " %zu of %zu kernels are weaker: marked below.", weak, in->fit->n);
  fc_file_printf(f, "</p>\n");
}

/* --- header --- */

static void write_facts(fc_file *f, const fc_report_input *in) {
  char text[160];
  const fc_table *t = in->table;
  fc_file_printf(f, "<dl>\n");
  put_fact(f, "device", in->device->title ? in->device->title : in->device->name);
  put_fact(f, "backend", in->backend);
  put_fact(f, "measured", in->measured);
  (void)snprintf(text, sizeof text, "%zu read, %zu fitted", t->n_rows, t->n_points);
  put_fact(f, "rows", text);
  (void)snprintf(text, sizeof text, "%zu not timed or not modelled, %zu malformed", t->n_left_out, t->n_bad);
  put_fact(f, "rows left out", text);
  (void)snprintf(text, sizeof text, "%zu kernel families", t->n_families);
  put_fact(f, "fits", text);
  if (in->bench_s > 0 || in->fit_s > 0) {
    int n = in->bench_s > 0 ? snprintf(text, sizeof text, "%.0f s measuring, ", in->bench_s) : 0;
    (void)snprintf(text + n, sizeof text - (size_t)n, "%.1f s fitting", in->fit_s);
    put_fact(f, "time taken", text);
  }
  put_fact(f, "fleetcast", in->version);
  fc_file_printf(f, "<div class=wide><dt>measurements</dt><dd>");
  for (size_t i = 0; i < in->n_paths; i++) {
    fc_file_printf(f, i ? ", <code>" : "<code>");
    report_escape(f, in->paths[i]);
    fc_file_printf(f, "</code>");
  }
  fc_file_printf(f, " <span class=note>sha256 %.16s…</span></dd></div>\n", t->sha256);
  if (in->command) {
    fc_file_printf(f, "<div class=wide><dt>command</dt><dd><code>");
    report_escape(f, in->command);
    fc_file_printf(f, "</code></dd></div>\n");
  }
  fc_file_printf(f, "</dl>\n");
}

/* --- kernels --- */

static const char *provenance_text(fc_provenance provenance) {
  static const char *const text[] = {"measured", "published", "transferred"};
  return text[provenance];
}

static void write_kernels(fc_file *f, const fc_report_input *in) {
  fc_file_printf(
      f, "<h2>Kernel by kernel</h2>\n<p class=note>Errors are |predicted/measured − 1|; unseen: of points "
         "left out of "
         "their own fit; the form's are those of its closed formula alone. Dot: median, end of the line: "
         "90th percentile, 0 to 40 %%. Noise: how far repeats of one shape scatter; no fit can err "
         "less. Neighbours: by how much the nearest other shape disagrees, after the form.</p>\n");
  begin_table(
      f,
      "<th>kernel<th>format<th>implementation<th class=n>points<th class=n>shapes<th class=n>form<br>median"
      "<th class=n>unseen<br>median<th class=n>unseen<br>p90<th><th class=n>coverage<th class=n>noise<th "
      "class=n>neighbours<th class=n>outliers<th>provenance");
  for (size_t i = 0; i < in->fit->n; i++) {
    const fc_family_report *r = &in->fit->report[i];
    const fc_family *family = &in->table->family[i];
    fc_file_printf(f, "<tr>");
    put_family_cells(f, family, i);
    fc_file_printf(f, "<td class=n>%zu</td><td class=n>%zu</td>", family->n, r->shapes);
    put_percent_cell(f, r->form_median_error, false);
    put_percent_cell(f, r->median_error, !(r->median_error <= 0.15));
    put_percent_cell(f, r->p90_error, false);
    fc_file_printf(f, "<td>");
    report_draw_range(f, r->median_error, r->p90_error);
    fc_file_printf(f, "</td>");
    put_percent_cell(f, r->coverage, !(r->coverage >= 0.75));
    put_percent_cell(f, r->noise > 0 ? r->noise : (double)NAN, false);
    put_percent_cell(f, r->neighbour > 0 ? r->neighbour : (double)NAN, false);
    fc_file_printf(f, "<td class=n>%zu</td><td>%s</td></tr>\n", r->outliers,
                   provenance_text(in->fit->fit[i].provenance));
  }
  end_table(f);
}

/* --- plots --- */

typedef struct {
  double fitted_s[POINTS_MAX], measured_s[POINTS_MAX], work[POINTS_MAX], half_width[POINTS_MAX];
} samples;

static int by_number(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Every point of a small family, evenly spaced ones of a large one. */
static report_plot sample_family(samples *to, const fc_report_input *in, size_t index) {
  const fc_family *family = &in->table->family[index];
  fc_predictor predictor;
  fc_predictor_init(&predictor, &in->fit->fit[index], in->device);
  size_t wanted = family->n < POINTS_MAX ? family->n : POINTS_MAX;
  report_plot plot = {
      .fitted_s = to->fitted_s, .measured_s = to->measured_s, .work = to->work, .work_unit = "B"};
  double flop = 0;
  for (size_t i = 0; i < wanted; i++)
    flop += fc_op_flop(&in->table->point[family->first + i * family->n / wanted].op);
  bool by_flop = flop > 0 && family->kernel != FC_KERNEL_MEMORY && family->kernel != FC_KERNEL_GATHER;
  if (by_flop) plot.work_unit = "FLOP";
  for (size_t i = 0; i < wanted; i++) {
    const fc_point *point = &in->table->point[family->first + i * family->n / wanted];
    fc_prediction p;
    double work = by_flop ? fc_op_flop(&point->op) : fc_op_bytes(&point->op);
    if (fc_predict(&p, &predictor, &point->op) || !(p.seconds > 0) || !(point->seconds > 0)) continue;
    to->fitted_s[plot.n] = p.seconds;
    to->measured_s[plot.n] = point->seconds;
    to->work[plot.n] = work > 1 ? work : 1; /* an empty kernel does none */
    to->half_width[plot.n++] = log(p.high_s / p.seconds);
  }
  qsort(to->half_width, plot.n, sizeof *to->half_width, by_number);
  plot.half_width = plot.n > 0 ? to->half_width[plot.n / 2] : 0;
  return plot;
}

static void write_figure(fc_file *f, const fc_report_input *in, size_t index, samples *room) {
  const fc_family *family = &in->table->family[index];
  const fc_family_report *r = &in->fit->report[index];
  report_plot plot = sample_family(room, in, index);
  fc_file_printf(f, "<figure id=f%zu><h3>%s</h3><figcaption>", index + 1, fc_kernel_text(family->kernel));
  put_format(f, family);
  if (family->impl && *family->impl) {
    fc_file_printf(f, ", ");
    report_escape(f, family->impl);
  }
  if (plot.n < family->n)
    fc_file_printf(f, "; %zu of %zu points", plot.n, family->n);
  else
    fc_file_printf(f, "; %zu points", family->n);
  fc_file_printf(f, "; unseen: median ");
  put_percent(f, r->median_error);
  fc_file_printf(f, "</figcaption>");
  report_draw_plot(f, &plot);
  fc_file_printf(f, "</figure>\n");
}

static fc_status write_figures(fc_file *f, const fc_report_input *in) {
  samples *room = malloc(sizeof *room);
  if (!room) return FC_E_NOMEM;
  fc_file_printf(
      f,
      "<h2>Measured and fitted</h2>\n<p class=note>Points on the diagonal are met exactly; the band is the "
      "kernel's typical 90 %% interval. The fit has seen these points, so the table above is the stricter "
      "judge. Residuals are measured/fitted − 1; triangles lie beyond the edge.</p>\n<div class=grid>\n");
  for (size_t i = 0; i < in->fit->n; i++) {
    if (i == OPEN_PLOTS)
      fc_file_printf(f, "</div>\n<details><summary>%zu more</summary>\n<div class=grid>\n", in->fit->n - i);
    write_figure(f, in, i, room);
  }
  fc_file_printf(f, in->fit->n > OPEN_PLOTS ? "</div></details>\n" : "</div>\n");
  free(room);
  return FC_OK;
}

/* --- worst points --- */

typedef struct {
  double error; /* |ln(measured/predicted)| */
  size_t family, place;
} miss;

static int by_error(const void *a, const void *b) {
  const miss *x = a, *y = b;
  if (x->error > y->error || x->error < y->error) return x->error > y->error ? -1 : 1;
  return x->family != y->family ? (x->family > y->family) - (x->family < y->family)
                                : (x->place > y->place) - (x->place < y->place);
}

static size_t collect_misses(miss *out, const fc_report_input *in) {
  size_t n = 0;
  for (size_t i = 0; i < in->fit->n; i++)
    for (size_t j = 0; j < 5; j++) {
      const fc_family_report *r = &in->fit->report[i];
      if (r->worst[j] >= in->table->n_points || !(r->fitted_s[j] > 0)) continue;
      out[n++] = (miss){fabs(log(in->table->point[r->worst[j]].seconds / r->fitted_s[j])), i, j};
    }
  qsort(out, n, sizeof *out, by_error);
  return n;
}

static void write_miss(fc_file *f, const fc_report_input *in, const miss *m) {
  const fc_family_report *r = &in->fit->report[m->family];
  const fc_point *point = &in->table->point[r->worst[m->place]];
  const fc_family *family = &in->table->family[m->family];
  double ratio = point->seconds / r->fitted_s[m->place];
  fc_file_printf(f, "<tr><td>");
  if (in->n_paths > 1 && point->file < in->n_paths) {
    const char *path = in->paths[point->file], *slash = strrchr(path, '/');
    report_escape(f, slash ? slash + 1 : path);
    fc_file_printf(f, ":");
  }
  fc_file_printf(f, "%u</td>", (unsigned)point->line);
  put_family_cells(f, family, m->family);
  fc_file_printf(f, "<td class=t>");
  put_shape(f, &point->op, family);
  fc_file_printf(f, "</td>");
  put_time_cell(f, point->seconds);
  put_time_cell(f, r->fitted_s[m->place]);
  put_interval_cell(f, r->low_s[m->place], r->high_s[m->place]);
  bool outside = !(point->seconds >= r->low_s[m->place] && point->seconds <= r->high_s[m->place]);
  fc_file_printf(f, "<td class=\"n%s\">%.2f</td></tr>\n", outside ? " w" : "", ratio);
}

static fc_status write_worst(fc_file *f, const fc_report_input *in) {
  miss *misses = calloc(5 * in->fit->n + 1, sizeof *misses);
  if (!misses) return FC_E_NOMEM;
  size_t n = collect_misses(misses, in), shown = n < WORST_ROWS ? n : WORST_ROWS;
  if (n > 0) {
    fc_file_printf(
        f,
        "<h2>Worst points</h2>\n<p class=note>Largest ratio of measured to predicted when the point is left "
        "out of its fit; marked: outside its own interval. A lone one is often a bad measurement: measure "
        "it again before you doubt the form.</p>\n");
    begin_table(
        f, "<th>line<th>kernel<th>format<th>implementation<th>shape<th class=n>measured<th class=n>predicted"
           "<th class=n>90 % interval<th class=n>ratio");
    for (size_t i = 0; i < shown; i++) write_miss(f, in, &misses[i]);
    end_table(f);
  }
  free(misses);
  return FC_OK;
}

/* --- what to do next, what was not measured --- */

static fc_status write_next(fc_file *f, const fc_report_input *in) {
  fc_design design;
  fc_status status = fc_design_propose(&design, in->table, in->fit, in->device, NEXT_ROWS);
  if (status) return status;
  if (design.n > 0) {
    fc_file_printf(
        f,
        "<h2>Measure next</h2>\n<p class=note>Shapes whose measurement would narrow the intervals most, of "
        "%zu looked at.</p>\n",
        design.candidates);
    begin_table(
        f, "<th>kernel<th>format<th>implementation<th>shape<th class=n>predicted<th class=n>90 % interval"
           "<th class=n>high/low");
    for (size_t i = 0; i < design.n; i++) {
      const fc_proposal *p = &design.item[i];
      const fc_family *family = &in->table->family[p->family];
      fc_file_printf(f, "<tr>");
      put_family_cells(f, family, p->family);
      fc_file_printf(f, "<td class=t>");
      put_shape(f, &p->op, family);
      fc_file_printf(f, "</td>");
      put_time_cell(f, p->now.seconds);
      put_interval_cell(f, p->now.low_s, p->now.high_s);
      double ratio = p->now.high_s / p->now.low_s;
      fc_file_printf(f, "<td class=n>%.*f</td></tr>\n", ratio < 99.5 ? 2 : 0, ratio);
    }
    end_table(f);
  }
  fc_design_fini(&design);
  return FC_OK;
}

static void write_not_measured(fc_file *f, const fc_profile *profile) {
  size_t n = 0;
  for (size_t i = 0; i < profile->n_kernels; i++)
    n += profile->kernels[i].provenance != FC_PROVENANCE_MEASURED;
  fc_file_printf(f, "<h2>Not measured</h2>\n");
  if (n == 0) {
    fc_file_printf(f, "<p>Every kernel of the profile was fitted to these measurements.</p>\n");
    return;
  }
  fc_file_printf(
      f,
      "<p class=note>%zu of the profile's %zu kernels come from elsewhere; the spread is the standard "
      "deviation of their logarithm.</p>\n",
      n, profile->n_kernels);
  begin_table(f, "<th>kernel<th>format<th>implementation<th>provenance<th class=n>spread<th>source");
  for (size_t i = 0; i < profile->n_kernels; i++) {
    const fc_kernel_fit *k = &profile->kernels[i];
    if (k->provenance == FC_PROVENANCE_MEASURED) continue;
    fc_file_printf(f, "<tr><td>%s</td>", fc_kernel_text(k->kernel));
    put_cell(f, k->format ? k->format : fc_dtype_text(k->dtype));
    put_cell(f, k->impl);
    put_cell(f, provenance_text(k->provenance));
    put_percent_cell(f, hypot(k->spread_systematic, k->spread_shape), false);
    fc_file_printf(f, "<td class=t>");
    report_escape(f, k->source ? k->source : "");
    fc_file_printf(f, "</td></tr>\n");
  }
  end_table(f);
}

/* --- the page --- */

fc_status fc_calibration_report(fc_file *file, const fc_report_input *in) {
  const char *title = in->title ? in->title : in->device->title ? in->device->title : in->device->name;
  weighted *room = calloc(in->fit->n + 1, sizeof *room);
  if (!room) return FC_E_NOMEM;
  fc_file_printf(file, "<!doctype html>\n<html lang=en><head><meta charset=utf-8><title>Calibration of ");
  report_escape(file, title);
  fc_file_printf(
      file, "</title><meta name=viewport content=\"width=device-width\"><style>%s</style></head><body>\n",
      style);
  fc_file_printf(file, "<h1>");
  report_escape(file, title);
  fc_file_printf(
      file, "</h1>\n<p class=note>Calibration report of fleetcast: what this device's kernels take, and how "
            "sure that is</p>\n");
  write_headline(file, in, room);
  free(room);
  write_facts(file, in);
  write_kernels(file, in);
  fc_status status = write_figures(file, in);
  if (!status) status = write_worst(file, in);
  if (!status) status = write_next(file, in);
  if (!status && in->profile) write_not_measured(file, in->profile);
  fc_file_printf(file, "</body></html>\n");
  return status;
}
