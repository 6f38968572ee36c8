/* SPDX-License-Identifier: Apache-2.0 */
/* Days against cost, logarithmic, a colour a device; readable on white and in print. */
#include "train_plan_svg.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 760, HEIGHT = 440, LEFT = 70, RIGHT = 180, TOP = 54, BOTTOM = 50 };

static const char *const colours[] = {"#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2",
                                      "#edc948", "#9c755f", "#ff9da7", "#8cd17d", "#bab0ac", "#499894"};
enum { COLOURS = sizeof colours / sizeof *colours };

typedef struct {
  double low, high;
} span;

static void text_at(fc_file *f, double x, double y, const char *anchor, const char *text) {
  fc_file_printf(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
  for (const unsigned char *p = (const unsigned char *)text; *p; p++) switch (*p) {
    case '&': fc_file_printf(f, "&amp;"); break;
    case '<': fc_file_printf(f, "&lt;"); break;
    case '>': fc_file_printf(f, "&gt;"); break;
    default: fc_file_printf(f, "%c", *p < ' ' || *p == 127 ? ' ' : *p); break;
    }
  fc_file_printf(f, "</text>\n");
}

static void widen(span *s, double value) {
  s->low = fmin(s->low, value / 1.1);
  s->high = fmax(s->high, value * 1.1);
}

static double place(const span *s, double value, double from, double to) {
  return from + (to - from) * log(value / s->low) / log(s->high / s->low);
}

static double x_of(const span *s, double days) {
  return place(s, days, LEFT, WIDTH - RIGHT);
}

static double y_of(const span *s, double usd) {
  return place(s, usd, HEIGHT - BOTTOM, TOP);
}

/* Ticks at round numbers. */
static void axis(fc_file *f, const span *s, bool across) {
  static const double step[] = {1, 1.5, 2, 3, 4, 5, 6, 8};
  for (int power = -9; power < 15; power++)
    for (size_t i = 0; i < sizeof step / sizeof *step; i++) {
      double value = step[i] * pow(10, power);
      if (value < s->low || value > s->high) continue;
      char text[24];
      (void)snprintf(text, sizeof text, "%.6g", value);
      double at = across ? x_of(s, value) : y_of(s, value);
      if (across)
        fc_file_printf(f, "<path d=\"M%.1f %dV%d\" stroke=\"#ddd\"/>\n", at, TOP, HEIGHT - BOTTOM);
      else
        fc_file_printf(f, "<path d=\"M%d %.1fH%d\" stroke=\"#ddd\"/>\n", LEFT, at, WIDTH - RIGHT);
      text_at(f, across ? at : LEFT - 6, across ? HEIGHT - BOTTOM + 16 : at + 4, across ? "middle" : "end",
              text);
    }
}

/* Front from the fastest to the slowest. */
static void front_line(fc_file *f, const fc_train_search_result *r, const span *days, const span *usd) {
  double after = 0;
  bool begun = false;
  fc_file_printf(f, "<path fill=\"none\" stroke=\"#222\" stroke-dasharray=\"4 3\" d=\"");
  for (;;) {
    const fc_train_candidate *next = NULL;
    for (size_t i = 0; i < r->n; i++) {
      const fc_train_candidate *c = &r->best[i];
      if (c->front && c->wall_s > after && (!next || c->wall_s < next->wall_s)) next = c;
    }
    if (!next) break;
    fc_file_printf(f, "%s%.2f %.2f", begun ? "L" : "M", x_of(days, next->wall_s / 86400),
                   y_of(usd, next->usd / 1e6));
    begun = true;
    after = next->wall_s;
  }
  fc_file_printf(f, "\"/>\n");
}

static void dots(fc_file *f, const fc_train_plan_answer *a, const span *days, const span *usd) {
  const fc_train_search_result *r = a->result;
  for (size_t i = 0; i < r->n; i++) {
    const fc_train_candidate *c = &r->best[i];
    const char *colour = colours[c->device % COLOURS];
    fc_file_printf(f, "<circle cx=\"%.2f\" cy=\"%.2f\" r=\"%s\" stroke=\"%s\" fill=\"%s\"/>\n",
                   x_of(days, c->wall_s / 86400), y_of(usd, c->usd / 1e6), i == 0 ? "7" : "4.5", colour,
                   c->state == FC_TRAIN_FEASIBLE ? colour : "#fff");
  }
}

void fc_train_plan_front_svg(table *t, const fc_train_plan_answer *a) {
  const fc_train_search_result *r = a->result;
  span days = {1e300, 0}, usd = {1e300, 0};
  for (size_t i = 0; i < r->n; i++) {
    widen(&days, r->best[i].wall_s / 86400);
    widen(&usd, r->best[i].usd / 1e6);
  }
  fc_file *f = t->file;
  fc_file_printf(
      f,
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" "
      "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n<g fill=\"#222\">\n",
      WIDTH, HEIGHT);
  text_at(f, 12, 22, "start", a->def->name);
  text_at(f, 12, 40, "start",
          "M USD against days; dashed: nothing is cheaper and faster; hollow: outside the limits");
  if (r->n) {
    axis(f, &days, true);
    axis(f, &usd, false);
    front_line(f, r, &days, &usd);
    dots(f, a, &days, &usd);
  }
  text_at(f, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 12, "middle", "days");
  for (size_t i = 0; i < a->search->n_devices; i++) {
    double y = TOP + 20 * (double)i;
    fc_file_printf(f, "<rect x=\"%d\" y=\"%.0f\" width=\"12\" height=\"12\" fill=\"%s\"/>\n",
                   WIDTH - RIGHT + 20, y, colours[i % COLOURS]);
    text_at(f, WIDTH - RIGHT + 38, y + 10, "start", a->search->devices[i].name);
  }
  fc_file_printf(f, "</g></svg>\n");
  t->rows = 1;
}
