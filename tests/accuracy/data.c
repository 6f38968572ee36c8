/* SPDX-License-Identifier: Apache-2.0 */
#include "data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/file.h>
#include <fleetcast/calibrate/table.h>

#include "split.h"

static const size_t BYTES_MAX = (size_t)256 << 20;
static const char KEY_COLUMNS[] = "kernel,impl,dtype,kv_dtype,";

static size_t count_lines(const char *bytes) {
  size_t n = 0;
  for (const char *p = bytes; (p = strchr(p, '\n')); p++) n++;
  return n + 1;
}

static size_t key_length(const char *line, size_t length) {
  size_t commas = 0;
  for (size_t i = 0; i < length; i++)
    if (line[i] == ',' && ++commas == 4) return i;
  return length;
}

/** Its index; families are few, and rows of one mostly follow each other. */
static size_t family_of(data_file *file, const char *line, size_t length, size_t last) {
  size_t key = key_length(line, length);
  for (size_t k = 0; k <= file->n_families; k++) {
    size_t i = k == 0 ? last : k - 1;
    if (i < file->n_families && file->family[i].length == key && memcmp(file->family[i].key, line, key) == 0)
      return i;
  }
  file->family[file->n_families] = (data_family){.key = line, .length = key};
  return file->n_families++;
}

static bool rank_rows(data_file *file) {
  split_row *order = malloc((file->n + 1) * sizeof *order);
  if (!order) return false;
  for (size_t f = 0; f < file->n_families; f++) {
    size_t n = 0;
    for (size_t i = 0; i < file->n; i++)
      if (file->row[i].family == f) order[n++] = (split_row){file->row[i].hash, i};
    split_sort(order, n);
    for (size_t i = 0; i < n; i++) file->row[order[i].index].rank = i;
    file->family[f].n = n;
  }
  free(order);
  return true;
}

static bool cut_lines(data_file *file, uint64_t seed) {
  size_t lines = count_lines(file->bytes), last = 0;
  file->row = calloc(lines, sizeof *file->row);
  file->family = calloc(lines, sizeof *file->family);
  if (!file->row || !file->family) return false;
  for (const char *p = file->bytes; *p;) {
    const char *end = strchr(p, '\n');
    size_t length = end ? (size_t)(end - p) : strlen(p);
    const char *next = end ? end + 1 : p + length;
    if (length > 0 && p[length - 1] == '\r') length--;
    if (!file->header) {
      file->header = p;
      file->header_length = length;
    } else if (length > 0) {
      last = family_of(file, p, length, last);
      file->row[file->n++] =
          (data_row){.line = p, .length = length, .family = last, .hash = split_hash(seed, p, length)};
    }
    p = next;
  }
  return file->header && strncmp(file->header, KEY_COLUMNS, sizeof KEY_COLUMNS - 1) == 0;
}

bool data_read(data_file *out, const char *dir, const char *system, uint64_t seed) {
  *out = (data_file){.system = system};
  char path[1024];
  size_t length = 0;
  (void)snprintf(path, sizeof path, "%s/%s.csv.gz", dir, system);
  fc_status status = fc_gz_read(&out->bytes, &length, path, BYTES_MAX);
  if (status != FC_OK) {
    (void)fprintf(stderr, "%s: %s\n", path, fc_status_text(status));
    return false;
  }
  out->device = device_of_system(system);
  if (out->device && cut_lines(out, seed) && rank_rows(out)) return true;
  (void)fprintf(stderr, "%s: no device, no memory, or columns other than %s...\n", path, KEY_COLUMNS);
  data_free(out);
  return false;
}

void data_free(data_file *file) {
  free(file->row);
  free(file->family);
  free(file->bytes);
  *file = (data_file){0};
}

size_t data_write(const data_file *file, bool training, const char *path, size_t *row_of) {
  size_t n = 0;
  fc_file *out = NULL;
  if (fc_file_create(&out, path) == FC_OK) {
    fc_file_write(out, file->header, file->header_length);
    fc_file_write(out, "\n", 1);
    for (size_t i = 0; i < file->n; i++) {
      const data_row *row = &file->row[i];
      if (!(training ? row->training : row->test)) continue;
      fc_file_write(out, row->line, row->length);
      fc_file_write(out, "\n", 1);
      row_of[n++] = i;
    }
    if (fc_file_commit(out) == FC_OK) return n;
  }
  perror(path);
  return SIZE_MAX;
}

/* The field with this number, counted from 0. */
static bool field_at(const char *line, size_t length, size_t number, const char **text, size_t *n) {
  const char *end = line + length;
  for (const char *p = line; p <= end; number--) {
    const char *comma = memchr(p, ',', (size_t)(end - p));
    const char *stop = comma ? comma : end;
    if (number == 0) {
      *text = p;
      *n = (size_t)(stop - p);
      return true;
    }
    p = stop + 1;
  }
  return false;
}

bool data_field(const data_file *file, const data_row *row, const char *column, const char **text,
                size_t *length) {
  size_t wanted = strlen(column);
  for (size_t j = 0; field_at(file->header, file->header_length, j, text, length); j++)
    if (*length == wanted && memcmp(*text, column, wanted) == 0)
      return field_at(row->line, row->length, j, text, length);
  return false;
}

bool data_family_is(const data_family *family, const char *kernel) {
  size_t n = strlen(kernel);
  return family->length > n && memcmp(family->key, kernel, n) == 0 && family->key[n] == ',';
}
