/* SPDX-License-Identifier: Apache-2.0 */
#include "profile_local.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/cost/anchor.h>
#include <fleetcast/cost/local.h>

/* What the file says, around what the simulator reads. */
typedef struct local_file {
  fc_local local; /* first: the profile points to it */
  size_t n_coordinates, n_length, n_rough_length;
  const char *const *coordinate;
  const double *length, *rough_length;
  double smooth, rough, own, scale, floor, support;
  const char *anchors;
  const double *weight, *scatter; /* [local.n] */
} local_file;

#define AT(member) .offset = offsetof(local_file, member)

static const fc_field fields[] = {
    {.key = "coordinates",
     .kind = FC_FIELD_TEXTS,
     AT(coordinate),
     .count_offset = offsetof(local_file, n_coordinates),
     .min_items = 1,
     .max_items = FC_LOCAL_COORDINATES,
     .required = true,
     .help = "Coordinates of the family's shapes that vary among the anchors: ln_m, wave_128x128, ..."},
    {.key = "smooth",
     .kind = FC_FIELD_NUMBER,
     AT(smooth),
     .min = 0,
     .max = 10,
     .required = true,
     .help = "Amplitude of the smooth part: standard deviation of ln(time)."},
    {.key = "rough",
     .kind = FC_FIELD_NUMBER,
     AT(rough),
     .min = 0,
     .max = 10,
     .help = "Amplitude of the rough part."},
    {.key = "own",
     .kind = FC_FIELD_NUMBER,
     AT(own),
     .min = 0,
     .max = 10,
     .help = "Amplitude of what a shape has of its own, shared with no other."},
    {.key = "length",
     .kind = FC_FIELD_NUMBERS,
     AT(length),
     .count_offset = offsetof(local_file, n_length),
     .min = 1e-6,
     .max = 1e6,
     .min_items = 1,
     .max_items = FC_LOCAL_COORDINATES,
     .required = true,
     .help = "Correlation lengths of the smooth part, one a coordinate."},
    {.key = "rough_length",
     .kind = FC_FIELD_NUMBERS,
     AT(rough_length),
     .count_offset = offsetof(local_file, n_rough_length),
     .min = 1e-6,
     .max = 1e6,
     .min_items = 1,
     .max_items = FC_LOCAL_COORDINATES,
     .required = true,
     .help = "Correlation lengths of the rough part, one a coordinate."},
    {.key = "scale",
     .kind = FC_FIELD_NUMBER,
     AT(scale),
     .min = 0,
     .max = 1e3,
     .required = true,
     .help = "Half width of the 90 % interval over the scatter nearby."},
    {.key = "floor", .kind = FC_FIELD_NUMBER, AT(floor), .min = 0, .max = 3, .help = "Least scatter."},
    {.key = "support",
     .kind = FC_FIELD_NUMBER,
     AT(support),
     .min = 0,
     .max = 1,
     .help = "Usual similarity of a shape to its nearest anchor; below it the interval is wider."},
    {.key = "anchors",
     .kind = FC_FIELD_LINES,
     AT(anchors),
     .required = true,
     .help =
         "CSV: a header of shape columns, then 'weight' and 'scatter'; a line an anchor.  A column that is "
         "left out is 0."},
};

/* These numbers belong to one fit: a distribution of one would mean nothing. */
static void check(fc_reader *r, void *object, const fc_node *map) {
  static const char *const numbers[] = {"smooth", "rough", "own", "scale", "floor", "support"};
  local_file *f = object;
  for (size_t i = 0; i < FC_COUNT_OF(numbers); i++) {
    const fc_node *node = fc_node_find(map, numbers[i]);
    if (node && node->kind == FC_NODE_MAP && fc_node_find(node, "dist"))
      (void)fc_reader_error(r, node, "'%s' cannot be a distribution", numbers[i]);
  }
  if (f->n_length != f->n_coordinates)
    (void)fc_reader_error(r, fc_node_find(map, "length"), "'length' has %zu items; there are %zu coordinates",
                          f->n_length, f->n_coordinates);
  if (f->n_rough_length != f->n_coordinates)
    (void)fc_reader_error(r, fc_node_find(map, "rough_length"),
                          "'rough_length' has %zu items; there are %zu coordinates", f->n_rough_length,
                          f->n_coordinates);
  if (!(f->smooth > 0) && !(f->rough > 0))
    (void)fc_reader_error(r, fc_node_find(map, "smooth"), "'smooth' and 'rough' are both 0");
}

const fc_schema fc_schema_local = {"local",
                                   "What a kernel's form leaves, by shape: a kriging interpolant.",
                                   sizeof(local_file),
                                   FC_COUNT_OF(fields),
                                   fields,
                                   check};

/* --- coordinates --- */

static bool find_coordinate(unsigned char *of, const fc_kernel_fit *fit, const char *word) {
  size_t n = fc_local_n_coordinates((int)fit->kernel);
  for (size_t j = 0; j < n; j++)
    if (strcmp(fc_local_coordinate_text((int)fit->kernel, j), word) == 0) {
      *of = (unsigned char)j;
      return true;
    }
  return false;
}

static bool read_coordinates(fc_reader *r, local_file *f, const fc_kernel_fit *fit, const fc_node *list) {
  const char *names[FC_LOCAL_COORDINATES];
  size_t n = fc_local_n_coordinates((int)fit->kernel);
  for (size_t j = 0; j < n; j++) names[j] = fc_local_coordinate_text((int)fit->kernel, j);
  bool ok = true;
  const fc_node *item = list->first;
  for (size_t i = 0; i < f->n_coordinates; i++, item = item->next) {
    if (!find_coordinate(&f->local.of[i], fit, item->text)) {
      const char *near = fc_diag_nearest(item->text, names, n);
      ok =
          fc_reader_error(r, item, "kernel '%s' has no coordinate '%.40s'%s%s%s", fc_kernel_text(fit->kernel),
                          item->text, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
      continue;
    }
    for (size_t k = 0; k < i && ok; k++)
      if (f->local.of[k] == f->local.of[i])
        ok = fc_reader_error(r, item, "coordinate '%.40s' is named twice", item->text);
    f->local.length[i] = (float)f->length[i];
    f->local.rough_length[i] = (float)f->rough_length[i];
  }
  f->local.n_coordinates = f->n_coordinates;
  f->local.smooth = (float)f->smooth;
  f->local.rough = (float)f->rough;
  f->local.own = (float)f->own;
  f->local.scale = (float)f->scale;
  f->local.floor = (float)f->floor;
  f->local.support = (float)f->support;
  return ok;
}

/* --- anchors: a line at a time --- */

enum { WEIGHT = FC_ANCHOR_COLUMNS_MAX, SCATTER, OPERATOR, CELLS_MAX = FC_ANCHOR_COLUMNS_MAX + 3 };

typedef struct {
  fc_reader *r;
  const fc_node *node;
  const fc_kernel_fit *fit;
  fc_anchor_columns columns;
  const char *line; /* being read */
  size_t n_lines;   /* before it */
  size_t n;
  int cell[CELLS_MAX]; /* what the i-th cell of a line is: a column's index, WEIGHT, SCATTER, OPERATOR */
} scanner;

/* Tells an error at `at`, in the line being read; always false. */
#define told(s, at, ...)                                                                                     \
  fc_reader_fail((s)->r, fc_diag_error((s)->r->diags, (s)->node->source, position(s, at), __VA_ARGS__))

static fc_pos position(const scanner *s, const char *at) {
  fc_pos from = s->node->text_at;
  if (!from.line) return s->node->at;
  return (fc_pos){from.line + s->n_lines, from.column + (size_t)(at - s->line)};
}

static const char *cell_name(const scanner *s, int cell) {
  return cell == WEIGHT     ? "weight"
         : cell == SCATTER  ? "scatter"
         : cell == OPERATOR ? "op"
                            : s->columns.column[cell].name;
}

static bool is_word(const char *text, size_t length, const char *word) {
  return strlen(word) == length && memcmp(text, word, length) == 0;
}

static int cell_of(const scanner *s, const char *text, size_t length) {
  for (size_t i = 0; i < s->columns.n; i++)
    if (is_word(text, length, s->columns.column[i].name)) return (int)i;
  if (is_word(text, length, "weight")) return WEIGHT;
  if (is_word(text, length, "scatter")) return SCATTER;
  return s->columns.op == FC_OP_COUNT && is_word(text, length, "op") ? OPERATOR : -1;
}

static bool unknown_column(scanner *s, const char *text, size_t length) {
  const char *names[CELLS_MAX];
  char word[48];
  size_t n = 0;
  for (size_t i = 0; i < s->columns.n; i++) names[n++] = s->columns.column[i].name;
  names[n++] = "weight";
  names[n++] = "scatter";
  if (s->columns.op == FC_OP_COUNT) names[n++] = "op";
  if (length >= sizeof word) length = sizeof word - 1;
  memcpy(word, text, length);
  word[length] = '\0';
  const char *near = fc_diag_nearest(word, names, n);
  return told(s, text, "'%s' is no column of an anchor of '%s'%s%s%s", word, fc_kernel_text(s->fit->kernel),
              near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static bool read_header(scanner *s) {
  const char *p = s->line;
  unsigned seen = 0;
  for (;; p++) {
    size_t length = strcspn(p, ",\n");
    int cell = cell_of(s, p, length);
    if (cell < 0) return unknown_column(s, p, length);
    if (seen & 1u << cell) return told(s, p, "column '%s' is there twice", cell_name(s, cell));
    seen |= 1u << cell;
    s->cell[s->n++] = cell;
    p += length;
    if (*p != ',') break;
  }
  static const int wanted[] = {WEIGHT, SCATTER, OPERATOR};
  for (size_t i = 0; i < FC_COUNT_OF(wanted); i++)
    if (!(seen & 1u << wanted[i]) && (wanted[i] != OPERATOR || s->columns.op == FC_OP_COUNT))
      return told(s, s->line, "the header lacks the column '%s'", cell_name(s, wanted[i]));
  return true;
}

/* A decimal number without exponent, of at most 15 digits, is exact as a quotient; the rest is strtod's. */
static const char *scan_number(double *out, const char *text) {
  static const double power[] = {1,   1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
  const char *p = text;
  bool minus = *p == '-';
  p += minus;
  const char *first = p;
  uint64_t digits = 0;
  for (; *p >= '0' && *p <= '9' && p - first < 16; p++) digits = 10 * digits + (uint64_t)(*p - '0');
  size_t n = (size_t)(p - first), fraction = 0;
  if (n && *p == '.')
    for (p++; *p >= '0' && *p <= '9' && n + fraction < 16; p++, fraction++)
      digits = 10 * digits + (uint64_t)(*p - '0');
  if (n && n + fraction <= 15 && (*p == ',' || *p == '\n' || *p == '\0')) {
    double value = (double)digits / power[fraction];
    *out = minus ? -value : value;
    return p;
  }
  if (first[0] < '0' || first[0] > '9') return text; /* "nan", "inf", "+1", ".5" */
  if (first[1] == 'x' || first[1] == 'X') return text;
  char *end;
  *out = strtod(text, &end);
  return end;
}

static bool read_cell(scanner *s, const char **p, int cell, fc_op *op, double *weight, double *scatter) {
  size_t length = strcspn(*p, ",\n");
  if (cell == OPERATOR) {
    op->id = fc_anchor_op(s->fit->kernel, *p, length);
    if (op->id == FC_OP_COUNT)
      return told(s, *p, "'%.*s' is no operator of kernel '%s'", length < 40 ? (int)length : 40, *p,
                  fc_kernel_text(s->fit->kernel));
    *p += length;
    return true;
  }
  double value = 0;
  const char *end = scan_number(&value, *p);
  if (end != *p + length || length == 0 || !isfinite(value))
    return told(s, *p, "'%s' = '%.*s' is not a number", cell_name(s, cell), length < 40 ? (int)length : 40,
                *p);
  if (cell != WEIGHT && !(value >= 0))
    return told(s, *p, "'%s' = %.*s is below 0", cell_name(s, cell), (int)length, *p);
  if (!(fabs(value) <= (cell == WEIGHT || cell == SCATTER ? 1e9 : 1e18)))
    return told(s, *p, "'%s' = %.*s is too large", cell_name(s, cell), (int)length, *p);
  if (cell == WEIGHT)
    *weight = value;
  else if (cell == SCATTER)
    *scatter = value;
  else
    fc_anchor_set(op, &s->columns.column[cell], value);
  *p = end;
  return true;
}

static bool read_anchor(scanner *s, fc_op *op, double *weight, double *scatter) {
  const char *p = s->line;
  op->id = s->columns.op;
  for (size_t i = 0; i < s->n; i++) {
    if (!read_cell(s, &p, s->cell[i], op, weight, scatter)) return false;
    if (i + 1 == s->n) break;
    if (*p != ',') return told(s, p, "an anchor has %zu values; its header has %zu columns", i + 1, s->n);
    p++;
  }
  if (*p == ',') return told(s, p, "an anchor has more values than its header's %zu columns", s->n);
  return true;
}

static size_t count_lines(const char *text) {
  size_t n = 0;
  for (; *text; n++) {
    text += strcspn(text, "\n");
    text += *text == '\n';
  }
  return n;
}

static bool next_line(scanner *s) {
  s->line += strcspn(s->line, "\n");
  s->line += *s->line == '\n';
  s->n_lines++;
  return *s->line != '\0';
}

static void read_anchors(scanner *s, local_file *f, const fc_format *format, const fc_format *kv) {
  size_t n = count_lines(f->anchors);
  if (!read_header(s)) return;
  if (n < 2) {
    (void)told(s, s->line, "there are no anchors below the header");
    return;
  }
  if (--n > FC_LOCAL_ANCHORS_MAX) {
    (void)fc_reader_error(s->r, s->node, "%zu anchors; at most %d are allowed", n, FC_LOCAL_ANCHORS_MAX);
    return;
  }
  fc_op *op = fc_reader_alloc(s->r, n, sizeof *op);
  double *weight = fc_reader_alloc(s->r, n, sizeof *weight),
         *scatter = fc_reader_alloc(s->r, n, sizeof *scatter);
  if (!op || !weight || !scatter) return;
  bool ok = true;
  for (size_t i = 0; i < n && next_line(s) && !fc_diags_full(s->r->diags); i++)
    if (read_anchor(s, &op[i], &weight[i], &scatter[i]))
      fc_anchor_complete(&op[i], s->fit->kernel, format, kv);
    else
      ok = false;
  if (!ok) return; /* told; the correction stays empty */
  f->local.n = n;
  f->local.op = op;
  f->weight = weight;
  f->scatter = scatter;
}

/* --- the whole --- */

/* The struct around; only this file makes them. */
static local_file *file_of(const fc_kernel_fit *fit) {
  return (local_file *)(uintptr_t)fit->local;
}

static const fc_node *anchors_of(const fc_node *map) {
  const fc_node *node = fc_node_find(map, "anchors");
  return node->kind == FC_NODE_MAP ? fc_node_find(node, "value") : node;
}

void fc_profile_local_check(fc_reader *r, const fc_kernel_fit *fit, const fc_format *format,
                            const fc_format *kv, const fc_node *map) {
  local_file *f = file_of(fit);
  if (f->n_length != f->n_coordinates || f->n_rough_length != f->n_coordinates) return; /* told */
  if (!read_coordinates(r, f, fit, fc_node_find(map, "coordinates"))) return;
  scanner s = {.r = r,
               .node = anchors_of(map),
               .fit = fit,
               .columns = fc_anchor_columns_of(fit->kernel),
               .line = f->anchors};
  read_anchors(&s, f, format, kv);
}

void fc_profile_local_place(fc_reader *r, const fc_kernel_fit *fit, const fc_device *device,
                            const fc_node *map) {
  local_file *f = file_of(fit);
  fc_local *local = &f->local;
  if (!local->n) return; /* in error */
  size_t lanes = fc_local_lane_floats(local->n);
  float *x = fc_reader_alloc(r, fc_local_x_floats(local->n, local->n_coordinates), sizeof *x);
  float *weight = fc_reader_alloc(r, 2 * lanes, sizeof *weight);
  if (!x || !weight) return;
  double units = device && device->compute_units > 0 ? (double)device->compute_units : 1;
  for (size_t i = 0; i < local->n; i++) {
    float at[FC_LOCAL_COORDINATES];
    size_t n = fc_local_coordinates(at, &local->op[i], units, fit);
    for (size_t j = 0; j < n; j++)
      if (!isfinite(at[j])) {
        (void)fc_reader_error(r, anchors_of(map), "anchor %zu has an empty shape", i + 1);
        return;
      }
    fc_local_put(local, x, weight, weight + lanes, i, at, f->weight[i], f->scatter[i]);
  }
  local->x = x;
  local->weight = weight;
  local->scatter = weight + lanes;
}
