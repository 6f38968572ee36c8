/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_ACCURACY_DATA_H
#define FC_ACCURACY_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/hw/device.h>

/** A measurement file as text: its rows, the family of each (kernel, impl, dtype, kv_dtype: the first four
 * columns), and what an experiment does with each row. */

typedef struct data_row {
  const char *line; /* not terminated */
  size_t length, family;
  uint64_t hash;
  uint64_t rank;        /* among its family, by hash */
  bool training, test;  /* the part it plays in the next trial */
  bool scored, covered; /* predicted; the measured time lies within the interval */
  double error;         /* |predicted/measured - 1| */
} data_row;

typedef struct data_family {
  const char *key; /* "kernel,impl,dtype,kv_dtype"; not terminated */
  size_t length, n;
  bool chosen;
} data_family;

typedef struct data_file {
  const char *system;
  const fc_device *device;
  char *bytes;
  const char *header;
  size_t header_length;
  data_row *row;
  size_t n;
  data_family *family;
  size_t n_families;
} data_file;

/** Reads DIR/SYSTEM.csv.gz.  False: told on stderr. */
bool data_read(data_file *out, const char *dir, const char *system, uint64_t seed);
void data_free(data_file *file);

/** Writes the rows that play a part (training, or test) to `path`; `row_of[i]` is the row on line i + 2.
 *  @return how many; SIZE_MAX: told on stderr */
size_t data_write(const data_file *file, bool training, const char *path, size_t *row_of);

/** The text of a column of a row.  False: the file has no such column. */
bool data_field(const data_file *file, const data_row *row, const char *column, const char **text,
                size_t *length);
bool data_family_is(const data_family *family, const char *kernel);

/** The device of a system ("h100_sxm": h100), from scenarios/devices; lives until devices_free.  NULL: told
 * on stderr. */
const fc_device *device_of_system(const char *system);
void devices_free(void);

#endif
