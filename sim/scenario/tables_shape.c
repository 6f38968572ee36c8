/* SPDX-License-Identifier: Apache-2.0 */
#include "field.h"
#include "reader.h"

/* The file's list of 24 or 168 numbers, beside the shape that is made of it. */
typedef struct {
  fc_shape shape;
  const double *hours;
  size_t n_hours;
} shape_file;

#define AT(member) .offset = offsetof(shape_file, member)

static const fc_field fields[] = {
    {.key = "name",
     .kind = FC_FIELD_TEXT,
     AT(shape.name),
     .help = "Short name; default the file's name without .yaml."},
    {.key = "utc_offset",
     .kind = FC_FIELD_NUMBER,
     AT(shape.utc_offset_s),
     .dim = DIM_SECONDS,
     .min = -14 * 3600.0,
     .max = 14 * 3600.0,
     .def = "0 h",
     .example = "8 h",
     .help = "Local time minus UTC."},
    {.key = "hours",
     .kind = FC_FIELD_NUMBERS,
     AT(hours),
     .count_offset = offsetof(shape_file, n_hours),
     .min = 0,
     .max = 1e18,
     .min_items = 24,
     .max_items = 168,
     .required = true,
     .help = "Load by the hour of local time: 24 numbers (every day alike) or 168 (from Monday 00:00), of "
             "any mean."},
};

enum { HOURS = 168 };

static void check(fc_reader *r, void *object, const fc_node *map) {
  shape_file *f = object;
  const fc_node *node = fc_node_find(map, "hours");
  if (f->n_hours != 24 && f->n_hours != HOURS) {
    (void)fc_reader_error(r, node, "'hours' has %zu items; 24 or 168 are wanted", f->n_hours);
    return;
  }
  double sum = 0;
  for (size_t i = 0; i < f->n_hours; i++) sum += f->hours[i];
  if (!(sum > 0)) {
    (void)fc_reader_error(r, node, "'hours' are all 0");
    return;
  }
  for (size_t i = 0; i < HOURS; i++) f->shape.factor[i] = f->hours[i % f->n_hours] * (double)f->n_hours / sum;
}

const fc_schema fc_schema_shape = {
    "shape", "The weekly breath of a load, by the hour.", sizeof(shape_file), FC_COUNT_OF(fields), fields,
    check};
