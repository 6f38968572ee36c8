/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures of a training run, each a file of its own: horizontal bars, readable on white and in print. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sheet.h"
#include "train_tables.h"

enum { WIDTH = 760, LABEL = 190, RIGHT = 110, BAR = 18, GAP = 8, TOP = 54, SEGMENTS = 16 };

static const char *const colours[] = {"#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2",
                                      "#edc948", "#9c755f", "#ff9da7", "#8cd17d", "#bab0ac", "#499894"};
enum { COLOURS = sizeof colours / sizeof *colours };

static void escape(fc_file *f, const char *text) {
  for (const unsigned char *p = (const unsigned char *)text; *p; p++) switch (*p) {
    case '&': fc_file_printf(f, "&amp;"); break;
    case '<': fc_file_printf(f, "&lt;"); break;
    case '>': fc_file_printf(f, "&gt;"); break;
    default: fc_file_printf(f, "%c", *p < ' ' || *p == 127 ? ' ' : *p); break;
    }
}

static void text_at(fc_file *f, double x, double y, const char *anchor, const char *text) {
  fc_file_printf(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
  escape(f, text);
  fc_file_printf(f, "</text>\n");
}

static void begin(fc_file *f, size_t rows, size_t legend, const char *title, const char *subtitle) {
  double height = TOP + (double)rows * (BAR + GAP) + 22 * ceil((double)legend / 4) + 24;
  fc_file_printf(
      f,
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" font-family=\"sans-serif\" "
      "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n<g fill=\"#222\">\n"
      "<g font-size=\"15\" font-weight=\"bold\">",
      WIDTH, height);
  text_at(f, 12, 22, "start", title);
  fc_file_printf(f, "</g>");
  text_at(f, 12, 40, "start", subtitle);
}

static double row_y(size_t row) {
  return TOP + (double)row * (BAR + GAP);
}

static void bar(fc_file *f, double x, double width, size_t row, const char *colour) {
  if (width > 0)
    fc_file_printf(f, "<rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%d\" fill=\"%s\"/>\n", x,
                   row_y(row), width, BAR, colour);
}

static void whisker(fc_file *f, double low, double high, size_t row) {
  double y = row_y(row) + BAR / 2.0;
  fc_file_printf(f, "<path d=\"M%.2f %.1fH%.2fM%.2f %.1fv8M%.2f %.1fv8\" stroke=\"#222\" fill=\"none\"/>\n",
                 low, y, high, low, y - 4, high, y - 4);
}

static void legend(fc_file *f, double y, const char *const *word, const bool *shown, size_t n) {
  size_t at = 0;
  for (size_t i = 0; i < n; i++) {
    if (!shown[i]) continue;
    size_t row = at / 4;
    double x = 12 + (double)(at % 4) * 185, line = y + 22 * (double)row;
    fc_file_printf(f, "<rect x=\"%.0f\" y=\"%.0f\" width=\"12\" height=\"12\" fill=\"%s\"/>\n", x, line,
                   colours[i % COLOURS]);
    text_at(f, x + 18, line + 10, "start", word[i]);
    at++;
  }
}

static void end(table *t) {
  fc_file_printf(t->file, "</g></svg>\n");
  t->rows = 1;
}

/* --- steps and held time, as shares --- */

enum { PARTS = TRAIN_PARTS - 1 };

typedef struct {
  const char *label;
  double share[SEGMENTS];
} stack;

static size_t count(const stack *s, size_t rows, size_t n, bool *shown) {
  size_t sum = 0;
  for (size_t k = 0; k < n; k++) {
    shown[k] = false;
    for (size_t i = 0; i < rows; i++) shown[k] = shown[k] || s[i].share[k] > 0;
    sum += shown[k];
  }
  return sum;
}

static void draw(fc_file *f, const stack *s, size_t row, size_t n) {
  double x = LABEL, room = WIDTH - LABEL - 20;
  text_at(f, LABEL - 8, row_y(row) + 13, "end", s->label);
  for (size_t k = 0; k < n; k++) {
    bar(f, x, s->share[k] * room, row, colours[k % COLOURS]);
    x += s->share[k] * room;
  }
}

/* Of steps; @return how many phases were composed. */
static size_t step_stacks(stack *s, const fc_train_answer *a) {
  size_t rows = 0;
  for (size_t i = 0; i < a->n_phases; i++) {
    if (!a->phase[i].composed) continue;
    s[rows] = (stack){.label = a->phase[i].name};
    for (size_t k = 0; k < PARTS; k++)
      s[rows].share[k] = fc_train_part_s(&a->phase[i].step, k) / a->phase[i].step.seconds;
    rows++;
  }
  return rows;
}

static stack held_stack(const fc_train_answer *a) {
  stack s = {.label = "held device-hours"};
  double held = 0;
  for (size_t i = 0; i < a->n_samples; i++) held += fc_train_figure_of(a, &a->sample[i], FC_TRAIN_HELD_HOURS);
  for (size_t c = 0; c < FC_HELD_COUNT; c++)
    for (size_t i = 0; i < a->n_samples; i++) s.share[c] += fc_train_sample_held(a, &a->sample[i], c) / held;
  return s;
}

fc_status fc_train_run_svg(table *t, const fc_train_answer *a) {
  stack step[FC_RECOVERY_PHASES], held = held_stack(a);
  const char *held_word[FC_HELD_COUNT];
  bool part_shown[PARTS], held_shown[FC_HELD_COUNT];
  size_t rows = step_stacks(step, a), parts = count(step, rows, PARTS, part_shown);
  size_t gap = 1 + (22 * ((parts + 3) / 4)) / (BAR + GAP); /* rows that the first legend takes */
  for (size_t c = 0; c < FC_HELD_COUNT; c++) held_word[c] = fc_held_word((fc_held)c);
  begin(t->file, rows + gap + 1, count(&held, 1, FC_HELD_COUNT, held_shown), a->def->name,
        "where a step goes, and what held devices did");
  for (size_t i = 0; i < rows; i++) draw(t->file, &step[i], i, PARTS);
  legend(t->file, row_y(rows) + 4, fc_train_part_word, part_shown, PARTS);
  draw(t->file, &held, rows + gap, FC_HELD_COUNT);
  legend(t->file, row_y(rows + gap + 1) + 4, held_word, held_shown, FC_HELD_COUNT);
  end(t);
  return FC_OK;
}

/* --- money --- */

static bool is_drawn(const fc_ledger_line *l) {
  if (l->part == FC_LEDGER_MEMO || l->view == FC_LEDGER_REPORTED) return false;
  return l->part == FC_LEDGER_TOTAL || l->median != 0 || l->high != 0;
}

fc_status fc_train_ledger_svg(table *t, const fc_train_answer *a) {
  double most = 0, room = WIDTH - LABEL - RIGHT;
  size_t rows = 0, row = 0;
  for (size_t i = 0; i < a->ledger->n; i++) {
    const fc_ledger_line *l = &a->ledger->line[i];
    if (!is_drawn(l)) continue;
    most = fmax(most, l->high);
    rows++;
  }
  begin(t->file, rows, 3, a->def->name, "USD: median, 5 to 95 %; rent view, then an owner's books");
  for (size_t i = 0; i < a->ledger->n; i++) {
    const fc_ledger_line *l = &a->ledger->line[i];
    if (!is_drawn(l) || !(most > 0)) continue;
    char label[96], value[SI_TEXT];
    (void)snprintf(label, sizeof label, "%s: %.24s", fc_ledger_view_text(l->view), l->name);
    fc_report_si(value, l->median);
    size_t colour = l->part == FC_LEDGER_TOTAL ? 0 : l->part == FC_LEDGER_LEFT_OUT ? 1 : 2;
    text_at(t->file, LABEL - 8, row_y(row) + 13, "end", label);
    bar(t->file, LABEL, l->median / most * room, row, colours[colour]);
    whisker(t->file, LABEL + l->low / most * room, LABEL + l->high / most * room, row);
    text_at(t->file, WIDTH - RIGHT + 12, row_y(row) + 13, "start", value);
    row++;
  }
  static const char *const word[] = {"sum", "not in the reported figure", "in it, or in its hourly price"};
  static const bool all[] = {true, true, true};
  legend(t->file, row_y(row) + 6, word, all, 3);
  end(t);
  return FC_OK;
}

/* --- variants --- */

static double most_hours(const fc_train_answer *a) {
  double most = 0;
  for (size_t i = 0; i < a->n_variants; i++)
    if (a->variant[i].feasible)
      most = fmax(most, a->variant[i].device_s * fc_train_spread(a->variant[i].estimate.step_log_sd));
  return most;
}

/* Device-hours, split as the step is; the part that failures cost is in all of them alike. */
fc_status fc_train_variants_svg(table *t, const fc_train_answer *a) {
  bool shown[PARTS] = {false};
  double most = most_hours(a), room = WIDTH - LABEL - RIGHT;
  begin(t->file, a->n_variants, PARTS, a->def->name,
        "device-hours of the first phase by part of the step, and their 90 % interval");
  for (size_t i = 0; i < a->n_variants; i++) {
    const fc_train_variant_answer *v = &a->variant[i];
    text_at(t->file, LABEL - 8, row_y(i) + 13, "end", v->name);
    if (!v->feasible || !(most > 0)) {
      text_at(t->file, LABEL, row_y(i) + 13, "start", "cannot be");
      continue;
    }
    char value[SI_TEXT];
    double x = LABEL, all = v->device_s / most * room, spread = fc_train_spread(v->estimate.step_log_sd);
    for (size_t k = 0; k < PARTS; k++) {
      double part = fc_train_part_s(&v->step, k) / v->step.seconds * all;
      bar(t->file, x, part, i, colours[k % COLOURS]);
      shown[k] = shown[k] || part > 0;
      x += part;
    }
    whisker(t->file, LABEL + all / spread, LABEL + all * spread, i);
    fc_report_si(value, v->device_s / 3600);
    text_at(t->file, WIDTH - RIGHT + 12, row_y(i) + 13, "start", value);
  }
  legend(t->file, row_y(a->n_variants) + 6, fc_train_part_word, shown, PARTS);
  end(t);
  return FC_OK;
}
