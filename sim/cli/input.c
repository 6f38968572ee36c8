/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fleetcast/base/file.h>

#include "terminal.h"
#include "verbs.h"

enum { INPUT_MAX_BYTES = 64 << 20, PATH_BYTES = 4096 };

/* --- folders of data --- */

static void add_dir(data_dirs *d, const char *path, size_t length) {
  char **grown = length ? realloc(d->dir, (d->n + 1) * sizeof *grown) : NULL;
  if (!grown) return;
  d->dir = grown;
  d->dir[d->n] = strndup(path, length);
  if (d->dir[d->n]) d->n++;
}

static void add_existing(data_dirs *d, const char *path) {
  if (access(path, R_OK | X_OK) == 0) add_dir(d, path, strlen(path));
}

/* DIR of DIR/profiles/X.yaml: the file lies in a data folder itself. */
static void add_parent(data_dirs *d, const char *path) {
  static const char *const folder[] = {"devices/", "models/", "profiles/", "shapes/"};
  const char *slash = strrchr(path, '/');
  size_t length = slash ? (size_t)(slash - path) + 1 : 0;
  for (size_t i = 0; i < sizeof folder / sizeof *folder; i++) {
    size_t n = strlen(folder[i]);
    if (length < n || memcmp(path + length - n, folder[i], n) != 0) continue;
    if (length == n)
      add_dir(d, ".", 1);
    else if (path[length - n - 1] == '/')
      add_dir(d, path, length > n + 1 ? length - n - 1 : 1);
  }
}

/* An installed program finds its data wherever the installation was moved. */
static void add_beside_program(data_dirs *d) {
  char path[PATH_BYTES + 64];
  ssize_t n = readlink("/proc/self/exe", path, PATH_BYTES);
  if (n <= 0) return;
  path[n] = '\0';
  char *slash = strrchr(path, '/');
  if (!slash) return;
  (void)snprintf(slash, sizeof path - (size_t)(slash - path), "/../%s", FC_CLI_DATA_FROM_BIN);
  add_existing(d, path);
}

data_dirs cli_data(const char *path, const settings *s) {
  data_dirs d = {0};
  const char *slash = strrchr(path, '/');
  if (!slash)
    add_dir(&d, ".", 1);
  else
    add_dir(&d, path, slash == path ? 1 : (size_t)(slash - path));
  add_parent(&d, path);
  for (size_t i = 0; i < s->data.n; i++) add_dir(&d, s->data.item[i], strlen(s->data.item[i]));
  for (const char *p = getenv("FLEETCAST_DATA"); p && *p;) {
    size_t n = strcspn(p, ":");
    add_dir(&d, p, n);
    p += n + (p[n] == ':');
  }
  add_beside_program(&d);
  add_existing(&d, FC_CLI_SOURCE_DATA);
  add_existing(&d, FC_CLI_INSTALLED_DATA);
  return d;
}

void cli_data_free(data_dirs *d) {
  for (size_t i = 0; i < d->n; i++) free(d->dir[i]);
  free(d->dir);
  *d = (data_dirs){0};
}

/* --- loading --- */

static fc_status read_file(void *context, char **bytes, size_t *length, const char *path) {
  (void)context;
  return fc_file_read(bytes, length, path, INPUT_MAX_BYTES);
}

static void list_folder(void *context, const char *folder, void (*each)(void *to, const char *name),
                        void *to) {
  (void)context;
  DIR *dir = opendir(folder);
  if (!dir) return;
  for (const struct dirent *entry; (entry = readdir(dir));) each(to, entry->d_name);
  (void)closedir(dir);
}

static fc_status load_stdin(fc_input **out, fc_load_options *options, fc_diags *d) {
  static const fc_input_files files = {.read = read_file, .list = list_folder};
  char *bytes;
  size_t length;
  fc_status status = fc_file_read(&bytes, &length, "/dev/stdin", INPUT_MAX_BYTES);
  if (status) {
    (void)fc_diag_error(d, "<stdin>", ((fc_pos){0, 0}), "cannot be read");
    return status;
  }
  options->files = &files;
  status = fc_input_parse(out, "<stdin>", bytes, length, options, d);
  free(bytes);
  return status;
}

int cli_load(fc_input **out, const char *path, fc_input_kind expect, const data_dirs *data,
             const settings *s) {
  fc_diags d;
  fc_diags_init(&d);
  *out = NULL;
  fc_load_options options = {.expect = expect,
                             .n_data_dirs = data->n,
                             .data_dirs = (const char *const *)data->dir,
                             .n_set = s->set.n,
                             .set = s->set.item};
  fc_status status =
      strcmp(path, "-") == 0 ? load_stdin(out, &options, &d) : fc_input_load(out, path, &options, &d);
  cli_show_diags(&d, cli_colored(s->color));
  switch (status) {
  case FC_OK: return EXIT_OK;
  case FC_E_INPUT: return EXIT_INPUT;
  case FC_E_IO: return EXIT_IO;
  default: (void)fprintf(stderr, "fleetcast: %s: %s\n", path, fc_status_text(status)); return EXIT_FAILED;
  }
}

double cli_price_at(const fc_series *price, fc_time date) {
  if (!price->n) return 0;
  return date ? fc_series_at(price, date) : price->point[price->n - 1].value;
}
