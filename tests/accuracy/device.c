/* SPDX-License-Identifier: Apache-2.0 */
#include "data.h"

#include <stdio.h>
#include <string.h>

#include <fleetcast/scenario/load.h>

enum { DEVICES_MAX = 16 };
static fc_input *loaded[DEVICES_MAX];
static size_t n_loaded;

static const fc_device *load(const char *name, size_t length) {
  const char *dir = FC_SOURCE_DIR "/scenarios";
  char path[1024], text[512];
  (void)snprintf(path, sizeof path, "%s/devices/%.*s.yaml", dir, (int)length, name);
  fc_load_options options = {.expect = FC_INPUT_DEVICE, .n_data_dirs = 1, .data_dirs = &dir};
  fc_diags d;
  fc_diags_init(&d);
  fc_input *input = NULL;
  if (n_loaded < DEVICES_MAX && fc_input_load(&input, path, &options, &d) == FC_OK)
    return fc_input_device(loaded[n_loaded++] = input);
  for (size_t i = 0; i < d.n; i++) {
    (void)fc_diag_format(text, sizeof text, &d.item[i]);
    (void)fprintf(stderr, "%s\n", text);
  }
  return NULL;
}

const fc_device *device_of_system(const char *system) {
  size_t length = strcspn(system, "_"); /* a100_sxm: a100 */
  for (size_t i = 0; i < n_loaded; i++) {
    const char *name = fc_input_device(loaded[i])->name;
    if (strlen(name) == length && memcmp(name, system, length) == 0) return fc_input_device(loaded[i]);
  }
  return load(system, length);
}

void devices_free(void) {
  while (n_loaded > 0) fc_input_free(loaded[--n_loaded]);
}
