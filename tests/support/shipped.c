/* SPDX-License-Identifier: Apache-2.0 */
#include "shipped.h"

#include <stdio.h>
#include <string.h>

#include <fleetcast/scenario/load.h>

enum { SHIPPED_MAX = 64 };
static struct {
  char path[512];
  fc_input *input;
} loaded[SHIPPED_MAX];
static size_t n_loaded;

static const fc_input *load(const char *dir, const char *folder, const char *name, fc_input_kind kind,
                            const char *beside) {
  char path[sizeof loaded->path], text[512];
  (void)snprintf(path, sizeof path, "%s/%s/%s.yaml", dir, folder, name);
  for (size_t i = 0; i < n_loaded; i++)
    if (strcmp(loaded[i].path, path) == 0) return loaded[i].input;
  const char *dirs[] = {dir, beside};
  fc_load_options options = {.expect = kind, .n_data_dirs = beside ? 2 : 1, .data_dirs = dirs};
  fc_diags d;
  fc_diags_init(&d);
  fc_input *input = NULL;
  fc_status status = n_loaded < SHIPPED_MAX ? fc_input_load(&input, path, &options, &d) : FC_E_NOMEM;
  if (status == FC_OK) {
    memcpy(loaded[n_loaded].path, path, sizeof path);
    return loaded[n_loaded++].input = input;
  }
  for (size_t i = 0; i < d.n; i++) {
    (void)fc_diag_format(text, sizeof text, &d.item[i]);
    (void)fprintf(stderr, "%s\n", text);
  }
  return NULL;
}

const fc_model *shipped_model(const char *dir, const char *name) {
  const fc_input *input = load(dir, "models", name, FC_INPUT_MODEL, NULL);
  return input ? fc_input_model(input) : NULL;
}

const fc_profile *shipped_profile(const char *dir, const char *name) {
  return shipped_profile_beside(dir, name, NULL);
}

const fc_profile *shipped_profile_beside(const char *dir, const char *name, const char *beside) {
  const fc_input *input = load(dir, "profiles", name, FC_INPUT_PROFILE, beside);
  return input ? fc_input_profile(input) : NULL;
}

void shipped_free(void) {
  while (n_loaded > 0) fc_input_free(loaded[--n_loaded].input);
}
