/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <fleetcast/base/assert.h>

#include "input.h"
#include "reader.h"

/* --- reader --- */

bool fc_reader_fail(fc_reader *r, fc_status status) {
  if (status != FC_OK && r->status != FC_E_NOMEM) r->status = status;
  return false;
}

void *fc_reader_alloc(fc_reader *r, size_t count, size_t size) {
  void *p = fc_arena_array(r->arena, count, size);
  if (!p) (void)fc_reader_fail(r, FC_E_NOMEM);
  return p;
}

size_t fc_reader_enter(fc_reader *r, const char *key) {
  size_t mark = r->path_length, room = FC_READER_PATH - mark;
  bool begins = mark == 0 || r->path[mark - 1] == ' ';
  int n = snprintf(r->path + mark, room, "%s%s", begins ? "" : ".", key);
  if (n > 0) r->path_length += (size_t)n < room ? (size_t)n : room - 1;
  return mark;
}

size_t fc_reader_enter_item(fc_reader *r, size_t i) {
  size_t mark = r->path_length, room = FC_READER_PATH - mark;
  int n = snprintf(r->path + mark, room, "[%zu]", i);
  if (n > 0) r->path_length += (size_t)n < room ? (size_t)n : room - 1;
  return mark;
}

void fc_reader_leave(fc_reader *r, size_t mark) {
  r->path_length = mark;
  r->path[mark] = '\0';
}

/* --- annotations: value, source, note --- */

bool fc_read_known_keys(fc_reader *r, const fc_node *map, const char *const *keys, size_t n) {
  bool ok = true;
  for (const fc_node *child = map->first; child; child = child->next) {
    bool known = false;
    for (size_t i = 0; i < n && !known; i++) known = strcmp(child->key, keys[i]) == 0;
    if (known) continue;
    if (strcmp(child->key, "source") == 0 || strcmp(child->key, "note") == 0) {
      if (child->kind != FC_NODE_SCALAR)
        ok = fc_reader_error(r, child, "'%s' must be a text, not %s", child->key, fc_node_word(child));
      continue;
    }
    const char *near = fc_diag_nearest(child->key, keys, n);
    if (near)
      ok = fc_reader_key_error(r, child, "unknown key '%.64s'; did you mean '%s'?", child->key, near);
    else
      ok = fc_reader_key_error(r, child, "unknown key '%.64s'", child->key);
  }
  return ok;
}

const fc_node *fc_read_unwrap(fc_reader *r, const char *key, const fc_node *node, const char **cited) {
  if (node->kind != FC_NODE_MAP) return node;
  const fc_node *source = fc_node_find(node, "source");
  if (source && source->kind == FC_NODE_SCALAR) *cited = source->text;
  const fc_node *value = fc_node_find(node, "value");
  if (!value || fc_node_find(node, "start")) return node;
  static const char *const keys[] = {"value"};
  if (!fc_read_known_keys(r, node, keys, 1)) return NULL;
  if (value->kind != FC_NODE_MAP) return value;
  if (fc_node_find(value, "value")) {
    (void)fc_reader_error(r, value, "'%s' has a value inside a value", key);
    return NULL;
  }
  return fc_read_unwrap(r, key, value, cited);
}

static void add_source(fc_reader *r, const fc_node *node, const char *cited) {
  if (!cited || node->kind != FC_NODE_SCALAR) return;
  const char *path = fc_arena_text(r->arena, r->path, r->path_length);
  fc_input_source *s = path ? fc_grown_add(&r->input->sources, r->arena, sizeof *s) : NULL;
  if (!s) {
    (void)fc_reader_fail(r, FC_E_NOMEM);
    return;
  }
  *s = (fc_input_source){path, node->text, cited};
}

/* --- numbers --- */

bool fc_field_is_counted(const fc_field *f) {
  fc_dim d = f->dim;
  bool counts = d.token >= 0 && d.device >= 0 && d.request >= 0 && d.user >= 0 &&
                d.token + d.device + d.request + d.user == 1;
  return counts && !d.byte && !d.second && !d.flop && !d.joule && !d.usd;
}

const char *fc_field_example(const fc_field *f) {
  static const struct {
    fc_dim dim;
    const char *text;
  } examples[] = {
      {DIM_BYTES, "80 GB"},
      {DIM_BYTES_PER_S, "3.35 TB/s"},
      {DIM_FLOP, "3e24 FLOP"},
      {DIM_WATTS, "700 W"},
      {DIM_FLOP_PER_S, "989 TFLOP/s"},
      {DIM_SECONDS, "5 us"},
      {DIM_PER_S, "40 /day"},
      {DIM_USD, "25000 USD"},
      {DIM_USD_PER_S, "2 USD/h"},
      {DIM_USD_PER_J, "0.087 USD/kWh"},
      {DIM_TOKENS, "14.8 T tokens"},
      {DIM_TOKENS_PER_S, "480 T tokens/month"},
      {DIM_DEVICES, "2048 devices"},
      {DIM_DEVICE_SECONDS, "2000 GPU-h"},
      {DIM_NONE, "0.5"},
  };
  if (f->example) return f->example;
  for (size_t i = 0; i < FC_COUNT_OF(examples); i++)
    if (fc_dim_equal(examples[i].dim, f->dim)) return examples[i].text;
  return "1";
}

/* "671 B" is bytes by the grammar of units, but 671e9 where a plain number is wanted. */
static bool parse_billions(double *value, const char *text, size_t length) {
  char longer[128];
  fc_dim dim;
  if (length == 0 || length > 64 || text[length - 1] != 'B') return false;
  (void)snprintf(longer, sizeof longer, "%.*s billion", (int)(length - 1), text);
  return fc_quantity_parse(value, &dim, longer, strlen(longer), NULL) && fc_dim_equal(dim, FC_DIM_NONE);
}

static bool wrong_dimension(fc_reader *r, const fc_field *f, const fc_node *node, fc_dim given) {
  char have[FC_UNITS_TEXT], want[FC_UNITS_TEXT];
  fc_dim_format(have, given);
  fc_dim_format(want, f->dim);
  if (fc_dim_equal(f->dim, FC_DIM_NONE))
    return fc_reader_error(r, node, "'%s' = %.40s is in %s, but a plain number is wanted", f->key, node->text,
                           have);
  if (fc_dim_equal(given, FC_DIM_NONE))
    return fc_reader_error(r, node, "'%s' = %.40s has no unit; %s is wanted, such as '%s'", f->key,
                           node->text, want, fc_field_example(f));
  return fc_reader_error(r, node, "'%s' = %.40s is in %s; %s is wanted, such as '%s'", f->key, node->text,
                         have, want, fc_field_example(f));
}

bool fc_read_plain_number(fc_reader *r, const fc_field *f, const fc_node *node, double *value) {
  if (node->kind != FC_NODE_SCALAR)
    return fc_reader_error(r, node, "'%s' must be a number, not %s", f->key, fc_node_word(node));
  if (f->never && strcmp(node->text, "never") == 0) {
    *value = (double)INFINITY;
    return true;
  }
  double v;
  fc_dim dim;
  char why[FC_UNITS_TEXT];
  if (!fc_quantity_parse(&v, &dim, node->text, node->length, why))
    return fc_reader_error(r, node, "'%s': %s", f->key, why);
  bool plain = fc_dim_equal(dim, FC_DIM_NONE);
  if (fc_dim_equal(f->dim, FC_DIM_NONE) && !plain && parse_billions(&v, node->text, node->length))
    plain = true;
  if (!fc_dim_equal(dim, f->dim) &&
      !(plain && (v == 0 || fc_field_is_counted(f) || fc_dim_equal(f->dim, FC_DIM_NONE))))
    return wrong_dimension(r, f, node, dim);
  *value = v;
  return true;
}

/* A limit as a reader would write it: counts as plain numbers. */
static void format_limit(char out[FC_UNITS_TEXT], const fc_field *f, double limit) {
  if (isinf(limit) || fc_dim_equal(f->dim, FC_DIM_NONE) || fc_field_is_counted(f) || limit == 0)
    (void)snprintf(out, FC_UNITS_TEXT, "%g", limit);
  else
    fc_quantity_format(out, limit, f->dim);
}

bool fc_check_range(fc_reader *r, const fc_field *f, const fc_node *node, double v) {
  bool whole = f->kind == FC_FIELD_COUNT || f->kind == FC_FIELD_INT;
  char value[FC_UNITS_TEXT], low[FC_UNITS_TEXT], high[FC_UNITS_TEXT];
  fc_quantity_format(value, v, f->dim);
  if (whole && v != floor(v))
    return fc_reader_error(r, node, "'%s' = %s is not a whole number", f->key, value);
  if ((v >= f->min && v <= f->max) || (f->never && isinf(v))) return true;
  format_limit(low, f, f->min);
  format_limit(high, f, f->max);
  if (isinf(f->max)) return fc_reader_error(r, node, "'%s' = %s is below %s", f->key, value, low);
  return fc_reader_error(r, node, "'%s' = %s is outside [%s, %s]", f->key, value, low, high);
}

static void store(fc_field_kind kind, void *target, double v) {
  if (kind == FC_FIELD_COUNT)
    *(int64_t *)target = (int64_t)v;
  else if (kind == FC_FIELD_INT)
    *(int *)target = (int)v;
  else
    *(double *)target = v;
}

static bool add_slot(fc_reader *r, const fc_field *f, const fc_node *node, const fc_dist *dist,
                     void *target) {
  const char *path = fc_arena_text(r->arena, r->path, r->path_length);
  fc_slot *slot = path ? fc_grown_add(&r->input->slots, r->arena, sizeof *slot) : NULL;
  if (!slot) return fc_reader_fail(r, FC_E_NOMEM);
  *slot = (fc_slot){.is = {path, node->source, node->at, *dist, f->dim},
                    .kind = f->kind,
                    .min = f->min,
                    .max = f->max,
                    .target = target};
  return true;
}

bool fc_read_number(fc_reader *r, const fc_field *f, const fc_node *node, void *target) {
  const char *cited = r->cited;
  node = fc_read_unwrap(r, f->key, node, &cited);
  if (!node) return false;
  double v;
  if (node->kind == FC_NODE_MAP && f->kind != FC_FIELD_INT) {
    fc_dist dist;
    const char *outer = r->cited;
    r->cited = cited;
    bool ok = fc_read_dist(r, f, node, &dist);
    r->cited = outer;
    if (!ok) return false;
    v = fc_dist_median(&dist);
    if (f->kind == FC_FIELD_COUNT) v = nearbyint(v);
    if (!add_slot(r, f, node, &dist, target)) return false;
  } else {
    if (!fc_read_plain_number(r, f, node, &v) || !fc_check_range(r, f, node, v)) return false;
    add_source(r, node, cited);
  }
  store(f->kind, target, v);
  return true;
}

void fc_input_set_uncertain(fc_input *input, size_t i, double value) {
  FC_ASSERT(i < input->slots.n && isfinite(value));
  const fc_slot *slot = (const fc_slot *)input->slots.items + i;
  double v = fmin(fmax(value, slot->min), slot->max);
  store(slot->kind, slot->target, slot->kind == FC_FIELD_COUNT ? nearbyint(v) : v);
}

/* --- distributions --- */

enum { MIN, MAX, MEAN, SD, MEDIAN, SIGMA, P10, P90, P95, MODE, N_PARAMETERS };

typedef struct {
  const fc_node *map;
  double v[N_PARAMETERS];
  unsigned given; /* bit 1 << parameter */
} parameters;

static const char *const parameter_names[] = {"min",   "max", "mean", "sd",  "median",
                                              "sigma", "p10", "p90",  "p95", "mode"};

static const struct dist_form {
  const char *name;
  fc_dist_kind kind;
  unsigned allowed;
  const char *usage;
} dist_forms[] = {
    {"uniform", FC_DIST_UNIFORM, 1u << MIN | 1u << MAX, "min and max"},
    {"loguniform", FC_DIST_LOGUNIFORM, 1u << MIN | 1u << MAX, "min and max"},
    {"normal", FC_DIST_NORMAL, 1u << MEAN | 1u << SD | 1u << MIN | 1u << MAX, "mean and sd"},
    {"lognormal", FC_DIST_LOGNORMAL,
     1u << MEDIAN | 1u << SIGMA | 1u << P10 | 1u << P90 | 1u << P95 | 1u << MIN | 1u << MAX,
     "median and one of p90, p95, sigma; or p10 and p90"},
    {"triangular", FC_DIST_TRIANGULAR, 1u << MIN | 1u << MAX | 1u << MODE, "min, mode and max"},
};

static bool read_parameters(fc_reader *r, const fc_field *f, const struct dist_form *form, parameters *p) {
  const char *keys[N_PARAMETERS + 1] = {"dist"};
  size_t n = 1;
  bool ok = true;
  for (size_t i = 0; i < N_PARAMETERS; i++) {
    if (!(form->allowed & 1u << i)) continue;
    keys[n++] = parameter_names[i];
    const fc_node *node = fc_node_find(p->map, parameter_names[i]);
    if (!node) continue;
    fc_field own = *f;
    own.key = parameter_names[i];
    own.never = false;
    if (i == SIGMA) own.dim = FC_DIM_NONE;
    p->given |= 1u << i;
    if (!fc_read_plain_number(r, &own, node, &p->v[i])) ok = false;
  }
  return fc_read_known_keys(r, p->map, keys, n) && ok;
}

static bool gave(const parameters *p, unsigned set) {
  return (p->given & set) == set;
}

/* From parameters to the form's own; false: too few or too many. */
static bool shape_dist(const parameters *p, fc_dist *d) {
  const unsigned spread = p->given & (1u << SIGMA | 1u << P90 | 1u << P95 | 1u << P10);
  switch (d->kind) {
  case FC_DIST_UNIFORM:
  case FC_DIST_LOGUNIFORM: d->a = p->v[MIN], d->b = p->v[MAX]; return gave(p, 1u << MIN | 1u << MAX);
  case FC_DIST_TRIANGULAR:
    d->a = p->v[MIN], d->b = p->v[MAX], d->c = p->v[MODE];
    return gave(p, 1u << MIN | 1u << MAX | 1u << MODE);
  case FC_DIST_NORMAL: d->a = p->v[MEAN], d->b = p->v[SD]; return gave(p, 1u << MEAN | 1u << SD);
  case FC_DIST_LOGNORMAL:
    if (!gave(p, 1u << MEDIAN)) {
      d->a = sqrt(p->v[P10] * p->v[P90]);
      d->b = log(p->v[P90] / p->v[P10]) / (2 * fc_normal_quantile(0.9));
      return spread == (1u << P10 | 1u << P90);
    }
    d->a = p->v[MEDIAN];
    d->b = spread == 1u << SIGMA ? p->v[SIGMA]
           : spread == 1u << P90 ? log(p->v[P90] / d->a) / fc_normal_quantile(0.9)
                                 : log(p->v[P95] / d->a) / fc_normal_quantile(0.95);
    return spread == 1u << SIGMA || spread == 1u << P90 || spread == 1u << P95;
  default: return false;
  }
}

/* Bounded kinds must lie within the key's range; tails of the others are cut at it. */
static bool fit_to_range(fc_reader *r, const fc_field *f, const parameters *p, fc_dist *d) {
  if (d->kind == FC_DIST_NORMAL || d->kind == FC_DIST_LOGNORMAL) {
    d->min = gave(p, 1u << MIN) ? fmax(p->v[MIN], f->min) : f->min;
    d->max = gave(p, 1u << MAX) ? fmin(p->v[MAX], f->max) : f->max;
    fc_field bound = *f;
    bound.kind = FC_FIELD_NUMBER;
    return fc_check_range(r, &bound, p->map, d->a);
  }
  fc_field bound = *f;
  bound.kind = FC_FIELD_NUMBER;
  return fc_check_range(r, &bound, p->map, d->a) && fc_check_range(r, &bound, p->map, d->b);
}

bool fc_read_dist(fc_reader *r, const fc_field *f, const fc_node *map, fc_dist *out) {
  const fc_node *word = fc_node_find(map, "dist");
  if (!word)
    return fc_reader_error(r, map, "'%s' must be a number, or a mapping with 'value' or 'dist'", f->key);
  const char *names[FC_COUNT_OF(dist_forms)];
  for (size_t i = 0; i < FC_COUNT_OF(dist_forms); i++) names[i] = dist_forms[i].name;
  size_t which;
  fc_field own = *f;
  own.key = "dist";
  if (!fc_read_word(r, &own, word, names, FC_COUNT_OF(dist_forms), &which)) return false;
  const struct dist_form *form = &dist_forms[which];
  parameters p = {.map = map};
  if (!read_parameters(r, f, form, &p)) return false;
  fc_dist d = {.kind = form->kind, .min = -(double)INFINITY, .max = (double)INFINITY};
  if (!shape_dist(&p, &d))
    return fc_reader_error(r, map, "a %s distribution wants %s", form->name, form->usage);
  if (!fit_to_range(r, f, &p, &d)) return false;
  if (!fc_dist_is_valid(&d) || !(d.min < d.max))
    return fc_reader_error(r, map,
                           "'%s': the parameters of the %s distribution are out of order or of its domain",
                           f->key, form->name);
  if (!isfinite(fc_dist_median(&d)))
    return fc_reader_error(r, map, "'%s': the truncation leaves nothing of the distribution", f->key);
  const fc_node *shown =
      fc_node_find(map, form->kind == FC_DIST_LOGNORMAL && p.given & 1u << MEDIAN ? "median" : "max");
  add_source(r, shown ? shown : word, r->cited);
  *out = d;
  return true;
}

bool fc_read_dist_or_value(fc_reader *r, const fc_field *f, const fc_node *node, fc_dist *dist) {
  const char *cited = r->cited, *outer = r->cited;
  node = fc_read_unwrap(r, f->key, node, &cited);
  if (!node) return false;
  if (node->kind == FC_NODE_MAP) {
    r->cited = cited;
    bool ok = fc_read_dist(r, f, node, dist);
    r->cited = outer;
    return ok;
  }
  double v;
  if (!fc_read_plain_number(r, f, node, &v) || !fc_check_range(r, f, node, v)) return false;
  add_source(r, node, cited);
  *dist = fc_dist_point(v);
  return true;
}

/* --- words and dates --- */

bool fc_read_word(fc_reader *r, const fc_field *f, const fc_node *node, const char *const *words, size_t n,
                  size_t *index) {
  if (node->kind != FC_NODE_SCALAR)
    return fc_reader_error(r, node, "'%s' must be a word, not %s", f->key, fc_node_word(node));
  for (size_t i = 0; i < n; i++)
    if (strcmp(node->text, words[i]) == 0) {
      *index = i;
      return true;
    }
  const char *near = fc_diag_nearest(node->text, words, n);
  if (near) return fc_reader_error(r, node, "'%s' = '%.40s'; did you mean '%s'?", f->key, node->text, near);
  char list[160] = "";
  for (size_t i = 0, used = 0; i < n && used < sizeof list; i++) {
    int k = snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", words[i]);
    if (k > 0) used += (size_t)k;
  }
  return fc_reader_error(r, node, "'%s' = '%.40s' is not one of %s", f->key, node->text, list);
}

bool fc_read_date(fc_reader *r, const fc_field *f, const fc_node *node, fc_time *out) {
  const char *cited = r->cited;
  node = fc_read_unwrap(r, f->key, node, &cited);
  if (!node) return false;
  if (node->kind != FC_NODE_SCALAR)
    return fc_reader_error(r, node, "'%s' must be a date, not %s", f->key, fc_node_word(node));
  if (!fc_time_parse(out, node->text, node->length))
    return fc_reader_error(r, node, "'%s' = '%.40s' is not a date, such as 2024-01-31, 2024-01 or 2024-Q1",
                           f->key, node->text);
  add_source(r, node, cited);
  return true;
}
