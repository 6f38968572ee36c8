/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void hash(void *context, const void *bytes, size_t length) {
  table *t = context;
  SHA256Update(&t->sha, bytes, length);
  t->bytes += length;
}

fc_status fc_table_open(table *t, const char *folder, const char *name) {
  *t = (table){.name = name};
  size_t capacity = strlen(folder) + strlen(name) + 2;
  char *path = malloc(capacity);
  if (!path) return FC_E_NOMEM;
  (void)snprintf(path, capacity, "%s/%s", folder, name);
  fc_status status = fc_file_create(&t->file, path);
  free(path);
  if (status) return status;
  SHA256Init(&t->sha);
  fc_file_tap(t->file, hash, t);
  return FC_OK;
}

fc_status fc_table_sync(table *t) {
  fc_status status = fc_file_sync(t->file);
  (void)SHA256End(&t->sha, t->sha256);
  return status;
}

void fc_table_header(table *t, const char *columns) {
  fc_file_printf(t->file, "%s\n", columns);
}

void fc_table_text(table *t, const char *text) {
  fc_csv_write_text(t->file, text);
}

void fc_table_number(table *t, double value) {
  if (!isfinite(value)) {
    t->not_finite = true;
    value = 0; /* never read: the file is thrown away */
  }
  fc_csv_write_number(t->file, value);
}

void fc_table_int(table *t, long long value) {
  fc_csv_write_int(t->file, value);
}

void fc_table_time(table *t, fc_time at) {
  char text[FC_TIME_TEXT] = "";
  if (at >= 0) fc_time_format(text, at);
  fc_csv_write_text(t->file, text);
}

void fc_table_end_row(table *t) {
  fc_csv_end_row(t->file);
  t->rows++;
}
