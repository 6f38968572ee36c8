/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/cost/format.h>

#include <string.h>

static const fc_format FORMAT[] = {
#define FORMAT_ROW(text, dtype, activation, weight) {text, FC_DTYPE_##dtype, activation, weight},
    FC_FORMAT_MAP(FORMAT_ROW)
#undef FORMAT_ROW
};

size_t fc_n_formats(void) {
  return sizeof FORMAT / sizeof *FORMAT;
}

const fc_format *fc_format_at(size_t i) {
  return &FORMAT[i];
}

const fc_format *fc_format_find(const char *text, size_t length) {
  for (size_t i = 0; i < fc_n_formats(); i++)
    if (strlen(FORMAT[i].text) == length && memcmp(FORMAT[i].text, text, length) == 0) return &FORMAT[i];
  return NULL;
}
