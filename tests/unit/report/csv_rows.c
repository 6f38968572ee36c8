/* SPDX-License-Identifier: Apache-2.0 */
#include "csv_rows.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/csv.h>

char *slurp(const char *path) {
  char *bytes;
  size_t length;
  cr_assert_eq(fc_file_read(&bytes, &length, path, 16 << 20), FC_OK, "%s: %s", path, strerror(errno));
  return bytes;
}

csv *read_csv(const char *path) {
  csv *out = calloc(1, sizeof *out);
  char *bytes = slurp(path);
  fc_csv_reader *r;
  const fc_csv_field *row;
  fc_diags d;
  fc_diags_init(&d);
  cr_assert_eq(fc_csv_open(&r, path, bytes, strlen(bytes), &d), FC_OK);
  out->columns = fc_csv_columns(r);
  cr_assert_leq(out->columns, FIELDS);
  for (size_t c = 0; c < out->columns; c++) out->name[c] = strdup(fc_csv_column_name(r, c));
  while (fc_csv_next(r, &row, &d) == FC_OK && row) {
    cr_assert_lt(out->n, ROWS);
    for (size_t c = 0; c < out->columns; c++) out->field[out->n][c] = strdup(row[c].text);
    out->n++;
  }
  cr_assert_eq(fc_csv_skipped(r), 0, "%s: %s", path, d.n ? d.item[0].text : "");
  fc_csv_free(r);
  free(bytes);
  return out;
}

void free_csv(csv *t) {
  for (size_t i = 0; i < t->n; i++)
    for (size_t c = 0; c < t->columns; c++) free(t->field[i][c]);
  for (size_t c = 0; c < t->columns; c++) free(t->name[c]);
  free(t);
}

const char *get(const csv *t, size_t row, const char *column) {
  for (size_t c = 0; c < t->columns; c++)
    if (strcmp(t->name[c], column) == 0) return t->field[row][c];
  cr_assert_fail("no column %s", column);
  return NULL;
}

double number(const csv *t, size_t row, const char *column) {
  const char *text = get(t, row, column);
  fc_csv_field field = {.text = text, .length = strlen(text)};
  double v = NAN;
  cr_assert(fc_csv_number(&v, &field), "%s: %s", column, text);
  return v;
}

bool matches(const csv *t, size_t row, const char *const *pairs) {
  for (; *pairs; pairs += 2)
    if (strcmp(get(t, row, pairs[0]), pairs[1]) != 0) return false;
  return true;
}

double sum_where(const csv *t, const char *const *pairs) {
  double sum = 0;
  for (size_t i = 0; i < t->n; i++)
    if (matches(t, i, pairs)) sum += number(t, i, "value");
  return sum;
}
