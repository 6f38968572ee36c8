/* SPDX-License-Identifier: Apache-2.0 */
#include "report_svg.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* --- numbers and text --- */

/* Three significant digits without an exponent. */
static void put_scaled(char out[REPORT_NUMBER], double value, const char *prefix, const char *unit) {
  int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  (void)snprintf(out, REPORT_NUMBER, "%.*f %s%s", digits, value, prefix, unit);
}

void report_seconds(char out[REPORT_NUMBER], double seconds) {
  if (!(isfinite(seconds) && seconds >= 0)) {
    (void)snprintf(out, REPORT_NUMBER, "-");
    return;
  }
  if (seconds < 999.5e-9)
    put_scaled(out, seconds * 1e9, "n", "s");
  else if (seconds < 999.5e-6)
    put_scaled(out, seconds * 1e6, "u", "s");
  else if (seconds < 0.9995)
    put_scaled(out, seconds * 1e3, "m", "s");
  else
    put_scaled(out, seconds, "", "s");
}

void report_work(char out[REPORT_NUMBER], double work, const char *unit) {
  static const char *const prefix[] = {"", "k", "M", "G", "T", "P", "E"};
  size_t i = 0;
  while (i + 1 < sizeof prefix / sizeof *prefix && work >= 999.5) work /= 1000, i++;
  put_scaled(out, work, prefix[i], unit);
}

void report_escape(fc_file *file, const char *text) {
  for (const unsigned char *p = (const unsigned char *)text; *p; p++) switch (*p) {
    case '&': fc_file_printf(file, "&amp;"); break;
    case '<': fc_file_printf(file, "&lt;"); break;
    case '>': fc_file_printf(file, "&gt;"); break;
    case '"': fc_file_printf(file, "&quot;"); break;
    case '\'': fc_file_printf(file, "&#39;"); break;
    default: fc_file_printf(file, "%c", *p < ' ' || *p == 127 ? ' ' : *p); break;
    }
}

/* --- axes --- */

/* A stretch of values on a stretch of the picture; logarithmic ones hold log10. */
typedef struct {
  double low, high, from, to;
} axis;

static double at(const axis *a, double value) {
  return a->from + (value - a->low) / (a->high - a->low) * (a->to - a->from);
}

static axis log_axis(double least, double most, double from, double to) {
  if (!(least > 0 && most >= least)) least = 1, most = 10; /* nothing to show */
  double low = log10(least), high = log10(most), margin = 0.04 * (high - low) + 0.03;
  return (axis){low - margin, high + margin, from, to};
}

typedef struct {
  size_t n;
  double at[12]; /* log10 */
} ticks;

/* Powers of ten, thinned to five at most; 1, 2, 5 where fewer than two of them are in sight. */
static ticks choose_ticks(const axis *a) {
  ticks t = {0};
  int first = (int)ceil(a->low), last = (int)floor(a->high), step = 1;
  while ((last - first) / step + 1 > 5) step++;
  if (last - first >= 1) {
    for (int e = first; e <= last; e += step) t.at[t.n++] = e;
    return t;
  }
  static const double part[] = {1, 2, 5};
  for (int e = first - 1; e <= last + 1; e++)
    for (size_t i = 0; i < 3; i++) {
      double where = e + log10(part[i]);
      if (where > a->low && where < a->high && t.n < 4) t.at[t.n++] = where;
    }
  return t;
}

/* "10 us", "1 ms": a tick's label without needless digits. */
static void tick_text(char out[REPORT_NUMBER], double log_value, const char *unit) {
  static const char *const time_prefix[] = {"p", "n", "u", "m", ""};
  static const char *const work_prefix[] = {"", "k", "M", "G", "T", "P", "E"};
  bool is_time = !unit;
  int thousands = (int)floor((log_value + 1e-6) / 3);
  const char *prefix = "";
  if (is_time) {
    thousands = thousands < -4 ? -4 : thousands > 0 ? 0 : thousands;
    prefix = time_prefix[thousands + 4];
  } else {
    thousands = thousands < 0 ? 0 : thousands > 6 ? 6 : thousands;
    prefix = work_prefix[thousands];
  }
  double mantissa = pow(10, log_value - 3 * thousands);
  (void)snprintf(out, REPORT_NUMBER, "%.3g %s%s", mantissa, prefix, is_time ? "s" : unit);
}

/* A label that would touch the one before it is left out. */
static void draw_x_ticks(fc_file *f, const axis *x, double top, double bottom, const char *unit) {
  ticks t = choose_ticks(x);
  double taken = x->from - 30;
  for (size_t i = 0; i < t.n; i++) {
    char text[REPORT_NUMBER];
    double cx = at(x, t.at[i]);
    tick_text(text, t.at[i], unit);
    double half = 2.8 * (double)strlen(text), edge = x->to + 5;
    bool late = cx + half > edge;
    double left = late ? edge - 2 * half : cx - half;
    fc_file_printf(f, "<path class=g d=\"M%.1f %.1fV%.1f\"/>", cx, top, bottom);
    if (left < taken + 4) continue;
    taken = left + 2 * half;
    fc_file_printf(f, "<text x=\"%.1f\" y=\"%.1f\" class=%s>%s</text>", late ? edge : cx, bottom + 12,
                   late ? "e" : "m", text);
  }
}

static void draw_y_ticks(fc_file *f, const axis *y, double left, double right) {
  ticks t = choose_ticks(y);
  for (size_t i = 0; i < t.n; i++) {
    char text[REPORT_NUMBER];
    tick_text(text, t.at[i], NULL);
    fc_file_printf(f, "<path class=g d=\"M%.1f %.1fH%.1f\"/><text x=\"%.1f\" y=\"%.1f\" class=e>%s</text>",
                   left, at(y, t.at[i]), right, left - 4, at(y, t.at[i]) + 3, text);
  }
}

/* --- the two panels --- */

enum {
  TOP = 18,
  BOTTOM = 168,
  LEFT_1 = 46,
  RIGHT_1 = 196,
  LEFT_2 = 250,
  RIGHT_2 = 424,
  WIDTH = 430,
  HEIGHT = 186
};

static void widen(double *least, double *most, double value) {
  if (value < *least) *least = value;
  if (value > *most) *most = value;
}

static double clamp(double value, double low, double high) {
  return value < low ? low : value > high ? high : value;
}

/* The band around the diagonal, cut to the panel. */
static void draw_band(fc_file *f, const axis *x, const axis *y, double half_width) {
  double d = clamp(half_width / log(10), 0, x->high - x->low);
  double low = x->low, high = x->high;
  fc_file_printf(f, "<path class=b d=\"M%.1f %.1fL%.1f %.1fL%.1f %.1fL%.1f %.1fL%.1f %.1fL%.1f %.1fz\"/>",
                 at(x, low), at(y, low), at(x, low), at(y, low + d), at(x, high - d), at(y, high),
                 at(x, high), at(y, high), at(x, high), at(y, high - d), at(x, low + d), at(y, low));
  fc_file_printf(f, "<path class=d d=\"M%.1f %.1fL%.1f %.1f\"/>", at(x, low), at(y, low), at(x, high),
                 at(y, high));
}

static void draw_measured(fc_file *f, const report_plot *p) {
  double least = (double)INFINITY, most = 0;
  for (size_t i = 0; i < p->n; i++) {
    widen(&least, &most, p->fitted_s[i]);
    widen(&least, &most, p->measured_s[i]);
  }
  axis x = log_axis(least, most, LEFT_1, RIGHT_1), y = log_axis(least, most, BOTTOM, TOP);
  fc_file_printf(f, "<text x=\"%d\" y=\"10\" class=s>measured over fitted</text>", LEFT_1);
  draw_band(f, &x, &y, p->half_width);
  draw_x_ticks(f, &x, TOP, BOTTOM, NULL);
  draw_y_ticks(f, &y, LEFT_1, RIGHT_1);
  fc_file_printf(f, "<path class=p d=\"");
  for (size_t i = 0; i < p->n; i++)
    fc_file_printf(f, "M%.1f %.1fh0", at(&x, log10(p->fitted_s[i])), at(&y, log10(p->measured_s[i])));
  fc_file_printf(f, "\"/>");
}

/* Half the height of the residual panel: all but the farthest twentieth fits, in steps that a label can name.
 */
static double residual_reach(const report_plot *p) {
  static const double step[] = {0.02, 0.05, 0.1, 0.2, 0.5, 1, 2};
  for (size_t s = 0; s < sizeof step / sizeof *step; s++) {
    size_t beyond = 0;
    for (size_t i = 0; i < p->n; i++) beyond += fabs(p->measured_s[i] / p->fitted_s[i] - 1) > step[s];
    if (20 * beyond <= p->n && expm1(p->half_width) <= step[s]) return step[s];
  }
  return 2;
}

static void draw_residual_lines(fc_file *f, const axis *y, double reach) {
  for (int i = -1; i <= 1; i++) {
    double value = i * reach;
    fc_file_printf(f, "<path class=%s d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" class=e>%s%.0f %%</text>",
                   i ? "g" : "d", LEFT_2, at(y, value), RIGHT_2, LEFT_2 - 4, at(y, value) + 3,
                   i < 0   ? "−"
                   : i > 0 ? "+"
                           : "",
                   i ? 100 * reach : 0);
  }
}

static void draw_residuals(fc_file *f, const report_plot *p) {
  double least = (double)INFINITY, most = 0, reach = residual_reach(p);
  for (size_t i = 0; i < p->n; i++) widen(&least, &most, p->work[i]);
  axis x = log_axis(least, most, LEFT_2, RIGHT_2), y = {-1.08 * reach, 1.08 * reach, BOTTOM, TOP};
  fc_file_printf(f, "<text x=\"%d\" y=\"10\" class=s>residual over work</text>", LEFT_2);
  double up = expm1(p->half_width), down = -expm1(-p->half_width);
  double high = at(&y, clamp(up, 0, y.high)), low = at(&y, clamp(-down, y.low, 0));
  fc_file_printf(f, "<path class=b d=\"M%d %.1fH%dV%.1fH%dz\"/>", LEFT_2, high, RIGHT_2, low, LEFT_2);
  draw_x_ticks(f, &x, TOP, BOTTOM, p->work_unit);
  draw_residual_lines(f, &y, reach);
  for (int out = 0; out < 2; out++) { /* inside the panel, then those at its edge, hollow */
    size_t drawn = 0;
    for (size_t i = 0; i < p->n; i++) {
      double residual = p->measured_s[i] / p->fitted_s[i] - 1;
      if ((fabs(residual) > y.high) != (out == 1)) continue;
      double cx = at(&x, log10(p->work[i])), cy = at(&y, clamp(residual, y.low, y.high));
      if (drawn++ == 0) fc_file_printf(f, "<path class=%s d=\"", out ? "o" : "p");
      if (out)
        fc_file_printf(f, residual > 0 ? "M%.1f %.1fl2.5 4h-5z" : "M%.1f %.1fl2.5-4h-5z", cx, cy);
      else
        fc_file_printf(f, "M%.1f %.1fh0", cx, cy);
    }
    if (drawn > 0) fc_file_printf(f, "\"/>");
  }
}

void report_draw_plot(fc_file *file, const report_plot *plot) {
  fc_file_printf(file, "<svg viewBox=\"0 0 %d %d\" role=\"img\">", WIDTH, HEIGHT);
  if (plot->n > 0) {
    draw_measured(file, plot);
    draw_residuals(file, plot);
  }
  fc_file_printf(file, "</svg>");
}

void report_draw_range(fc_file *file, double median, double p90) {
  enum { ROOM = 96, MOST = 40 };
  if (!(isfinite(median) && isfinite(p90))) return;
  double m = clamp(100 * median, 0, MOST) / MOST * ROOM, q = clamp(100 * p90, 0, MOST) / MOST * ROOM;
  fc_file_printf(file,
                 "<svg class=r viewBox=\"-4 0 104 12\" width=104 height=12><path class=g d=\"M0 6H%d\"/>"
                 "<path class=l d=\"M%.1f 6H%.1f\"/><path class=q d=\"M%.1f 6h0\"/></svg>",
                 ROOM, m, q, m);
}
