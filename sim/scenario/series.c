/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "reader.h"

/* Three ways to write a series: a number; a list of dated values; a mapping of either with interpolation and
 * growth. */

static const char *const interp_words[] = {"step", "linear", "log"};
static const char *const growth_words[] = {"hold", "exponential", "logistic", "gompertz"};

/* A value at `at`, which may be a distribution: its slot is the point itself. */
static bool read_point(fc_reader *r, const fc_field *f, const fc_node *node, fc_series_point *point) {
  fc_field number = *f;
  number.kind = FC_FIELD_NUMBER;
  return fc_read_number(r, &number, node, &point->value);
}

static bool read_dated_point(fc_reader *r, const fc_field *f, const fc_node *item, fc_series_point *point) {
  static const char *const keys[] = {"date", "value"};
  if (item->kind != FC_NODE_MAP)
    return fc_reader_error(r, item, "an item of '%s' must be a mapping {date: …, value: …}, not %s", f->key,
                           fc_node_word(item));
  if (!fc_read_known_keys(r, item, keys, 2)) return false;
  const fc_node *date = fc_node_find(item, "date"), *value = fc_node_find(item, "value");
  if (!date || !value)
    return fc_reader_error(r, item, "an item of '%s' lacks '%s'", f->key, date ? "value" : "date");
  fc_field when = {.key = "date"};
  const char *outer = r->cited;
  const fc_node *source = fc_node_find(item, "source");
  bool ok = fc_read_date(r, &when, date, &point->at);
  if (source && source->kind == FC_NODE_SCALAR) r->cited = source->text;
  size_t mark = fc_reader_enter(r, "value");
  ok = read_point(r, f, value, point) && ok;
  fc_reader_leave(r, mark);
  r->cited = outer;
  return ok;
}

static bool read_points(fc_reader *r, const fc_field *f, const fc_node *list, fc_series *out) {
  if (list->kind != FC_NODE_LIST)
    return fc_reader_error(r, list, "'points' of '%s' must be a list, not %s", f->key, fc_node_word(list));
  if (list->n == 0) return fc_reader_error(r, list, "'%s' has no points", f->key);
  fc_series_point *points = fc_reader_alloc(r, list->n, sizeof *points);
  if (!points) return false;
  bool ok = true, before_ok = false;
  size_t i = 0;
  for (const fc_node *item = list->first; item; item = item->next, i++) {
    size_t mark = fc_reader_enter_item(r, i);
    bool this_ok = read_dated_point(r, f, item, &points[i]);
    if (this_ok && before_ok && points[i].at <= points[i - 1].at) {
      char now[FC_TIME_TEXT], before[FC_TIME_TEXT];
      fc_time_format(now, points[i].at);
      fc_time_format(before, points[i - 1].at);
      ok = fc_reader_error(r, item, "the points of '%s' are not in order: %s comes after %s", f->key, now,
                           before);
    }
    before_ok = this_ok;
    ok = ok && this_ok;
    fc_reader_leave(r, mark);
  }
  out->point = points;
  out->n = list->n;
  return ok;
}

static bool read_constant(fc_reader *r, const fc_field *f, const fc_node *node, fc_time at, fc_series *out) {
  fc_series_point *point = fc_reader_alloc(r, 1, sizeof *point);
  if (!point) return false;
  point->at = at;
  if (!read_point(r, f, node, point)) return false;
  out->point = point;
  out->n = 1;
  return true;
}

static bool read_growth(fc_reader *r, const fc_field *f, const fc_node *map, fc_series *out) {
  static const char *const keys[] = {"kind", "rate", "factor_per_year", "ceiling"};
  if (map->kind != FC_NODE_MAP)
    return fc_reader_error(r, map, "'growth' must be a mapping {factor_per_year: …}, not %s",
                           fc_node_word(map));
  if (!fc_read_known_keys(r, map, keys, FC_COUNT_OF(keys))) return false;
  const char *outer = r->cited;
  const fc_node *kind = fc_node_find(map, "kind"), *source = fc_node_find(map, "source");
  const fc_node *factor = fc_node_find(map, "factor_per_year"), *rate = fc_node_find(map, "rate");
  const fc_node *ceiling = fc_node_find(map, "ceiling");
  size_t which = FC_GROWTH_EXPONENTIAL;
  fc_field word = {.key = "kind"};
  if (kind && !fc_read_word(r, &word, kind, growth_words, FC_COUNT_OF(growth_words), &which)) return false;
  out->growth = (fc_growth)which;
  if (source && source->kind == FC_NODE_SCALAR) r->cited = source->text;
  bool ok = true;
  static const fc_field as_factor = {.key = "factor_per_year", .min = 1e-6, .max = 1e6};
  static const fc_field as_rate = {.key = "rate",
                                   .dim = DIM_PER_S,
                                   .min = -0.999999 / FC_YEAR_S,
                                   .max = 1e6 / FC_YEAR_S,
                                   .example = "25 %/yr"};
  if (which == FC_GROWTH_HOLD) {
    if (factor || rate || ceiling) ok = fc_reader_error(r, map, "growth 'hold' has no rate and no ceiling");
  } else if (!factor == !rate) {
    ok = fc_reader_error(r, map, "growth wants one of 'factor_per_year' and 'rate'");
  } else if (factor) {
    size_t mark = fc_reader_enter(r, "growth.factor_per_year");
    ok = fc_read_number(r, &as_factor, factor, &out->factor_per_year);
    fc_reader_leave(r, mark);
  } else {
    double per_s;
    ok = fc_read_plain_number(r, &as_rate, rate, &per_s) && fc_check_range(r, &as_rate, rate, per_s);
    if (ok) out->factor_per_year = 1 + per_s * FC_YEAR_S;
  }
  bool saturates = which == FC_GROWTH_LOGISTIC || which == FC_GROWTH_GOMPERTZ;
  if (ok && saturates != (ceiling != NULL))
    ok = fc_reader_error(r, map, "growth '%s' %s", growth_words[which],
                         saturates ? "wants a 'ceiling'" : "has no ceiling");
  if (ok && ceiling) {
    fc_field limit = *f;
    limit.key = "ceiling";
    limit.kind = FC_FIELD_NUMBER;
    ok = fc_read_plain_number(r, &limit, ceiling, &out->ceiling) &&
         fc_check_range(r, &limit, ceiling, out->ceiling);
  }
  r->cited = outer;
  return ok;
}

static bool read_mapping(fc_reader *r, const fc_field *f, const fc_node *map, fc_series *out) {
  static const char *const keys[] = {"interp", "points", "growth", "start", "value"};
  if (!fc_read_known_keys(r, map, keys, FC_COUNT_OF(keys))) return false;
  const fc_node *points = fc_node_find(map, "points"), *start = fc_node_find(map, "start");
  const fc_node *value = fc_node_find(map, "value"), *interp = fc_node_find(map, "interp");
  const fc_node *growth = fc_node_find(map, "growth");
  if (!points == !start || !start != !value)
    return fc_reader_error(r, map, "'%s' wants a number, 'points', or 'start' and 'value'", f->key);
  if (interp) {
    size_t which;
    fc_field word = {.key = "interp"};
    if (!fc_read_word(r, &word, interp, interp_words, FC_COUNT_OF(interp_words), &which)) return false;
    out->interp = (fc_series_interp)which;
  }
  bool ok;
  if (points) {
    size_t mark = fc_reader_enter(r, "points");
    ok = read_points(r, f, points, out);
    fc_reader_leave(r, mark);
  } else {
    fc_field when = {.key = "start"};
    fc_time at;
    ok = fc_read_date(r, &when, start, &at) && read_constant(r, f, value, at, out);
  }
  if (growth) ok = read_growth(r, f, growth, out) && ok;
  return ok;
}

bool fc_read_series(fc_reader *r, const fc_field *f, const fc_node *node, fc_series *series) {
  /* in place: distributions in it register the addresses of their numbers */
  *series = (fc_series){.interp = FC_SERIES_LINEAR, .growth = FC_GROWTH_HOLD};
  const char *outer = r->cited;
  bool ok;
  bool dated = node->kind == FC_NODE_MAP && (fc_node_find(node, "points") || fc_node_find(node, "start") ||
                                             fc_node_find(node, "growth") || fc_node_find(node, "interp"));
  if (dated) {
    const fc_node *source = fc_node_find(node, "source");
    if (source && source->kind == FC_NODE_SCALAR) r->cited = source->text;
    ok = read_mapping(r, f, node, series);
  } else if (node->kind == FC_NODE_LIST) {
    ok = read_points(r, f, node, series);
  } else {
    ok = read_constant(r, f, node, 0, series);
  }
  r->cited = outer;
  if (!ok) return false;
  for (size_t i = 0; series->interp == FC_SERIES_LOG && i < series->n; i++)
    if (!(series->point[i].value > 0))
      return fc_reader_error(r, node, "'%s' is interpolated in the logarithm, so all values must be above 0",
                             f->key);
  if (fc_series_check(series) != FC_OK)
    return fc_reader_error(r, node, "'%s': points and growth do not fit together", f->key);
  return true;
}
