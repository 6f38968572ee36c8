/* SPDX-License-Identifier: Apache-2.0 */
#include "folder.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fleetcast/base/assert.h>

#include "manifest.h"

/* --- folders --- */

/* "FOLDER/NAME" into why; errno stays. */
static void explain(fc_folder *f, const char *name) {
  int kept = errno;
  (void)snprintf(f->why, FC_REPORT_WHY, "%s%s%s", f->path, *name ? "/" : "", name);
  errno = kept;
}

static char *copy_text(const char *text) {
  size_t size = strlen(text) + 1;
  char *copy = malloc(size);
  return copy ? memcpy(copy, text, size) : NULL;
}

fc_status fc_folder_open(fc_folder *f, const char *folder, char *why) {
  *f = (fc_folder){.path = folder, .why = why};
  explain(f, "");
  char *path = copy_text(folder);
  if (!path) return FC_E_NOMEM;
  int error = 0;
  for (char *p = path + (*path == '/'); !error; p++) {
    char c = *p;
    if (c != '/' && c != '\0') continue;
    *p = '\0';
    if (*path && mkdir(path, 0777) == 0) {
      if (!f->made) f->made = strlen(path);
    } else if (*path && errno != EEXIST) {
      error = errno;
    }
    *p = c;
    if (c == '\0') break;
  }
  struct stat st;
  if (!error && stat(path, &st)) error = errno;
  if (!error && !S_ISDIR(st.st_mode)) error = ENOTDIR;
  free(path);
  errno = error;
  return error ? FC_E_IO : FC_OK;
}

/* Takes away the empty folders that fc_folder_open made. */
static void remove_made(const fc_folder *f) {
  char *path = f->made ? copy_text(f->path) : NULL;
  for (size_t n = path ? strlen(path) : 0; path && n >= f->made && n; n--) {
    if (path[n] != '/' && path[n] != '\0') continue;
    path[n] = '\0';
    if (rmdir(path) && errno != ENOENT) break;
  }
  free(path);
}

/* --- files --- */

fc_status fc_folder_add(fc_folder *f, const char *name, table **out) {
  FC_ASSERT(f->n < FC_FOLDER_FILES);
  explain(f, name);
  fc_status status = fc_table_open(*out = &f->t[f->n], f->path, name);
  if (status == FC_OK) f->n++;
  return status;
}

fc_status fc_folder_sync(fc_folder *f, table *t) {
  if (t->not_finite) {
    (void)snprintf(f->why, FC_REPORT_WHY, "INV-9: a number of %s is not finite", t->name);
    return FC_E_LAW;
  }
  explain(f, t->name);
  return fc_table_sync(t);
}

fc_status fc_folder_fill(fc_folder *f, const fc_folder_file *files, size_t n, const void *answer) {
  for (size_t i = 0; i < n; i++) {
    table *t;
    fc_status status = fc_folder_add(f, files[i].name, &t);
    if (status != FC_OK) return status;
    files[i].fill(t, answer);
    status = fc_folder_sync(f, t);
    if (status != FC_OK) return status;
  }
  return FC_OK;
}

static fc_status write_manifest(fc_folder *f, fc_text *text, const fc_input *input,
                                const fc_report_options *options) {
  explain(f, FC_FOLDER_MANIFEST);
  fc_status status = fc_report_manifest_files(text, input, options, f->t, f->n);
  if (status == FC_OK) status = fc_table_open(&f->manifest, f->path, FC_FOLDER_MANIFEST);
  if (status != FC_OK) return status;
  fc_file_write(f->manifest.file, text->bytes, text->length);
  return fc_table_sync(&f->manifest);
}

/* An older one would speak of other files than those that come now. */
static fc_status remove_manifest(fc_folder *f) {
  size_t capacity = strlen(f->path) + sizeof FC_FOLDER_MANIFEST + 1;
  char *path = malloc(capacity);
  if (!path) return FC_E_NOMEM;
  (void)snprintf(path, capacity, "%s/%s", f->path, FC_FOLDER_MANIFEST);
  explain(f, FC_FOLDER_MANIFEST);
  fc_status status = unlink(path) && errno != ENOENT ? FC_E_IO : FC_OK;
  int kept = errno;
  free(path);
  errno = kept;
  return status;
}

static fc_status name_file(fc_folder *f, table *t) {
  explain(f, t->name);
  fc_file *file = t->file;
  t->file = NULL;
  return fc_file_commit(file);
}

fc_status fc_folder_commit(fc_folder *f, fc_text *head, const fc_input *input,
                           const fc_report_options *options) {
  fc_status status =
      options->cancel && *options->cancel ? FC_E_CANCELLED : write_manifest(f, head, input, options);
  int kept = errno;
  fc_text_fini(head);
  errno = kept;
  if (status == FC_OK) status = remove_manifest(f);
  for (size_t i = 0; status == FC_OK && i < f->n; i++) status = name_file(f, &f->t[i]);
  return status == FC_OK ? name_file(f, &f->manifest) : status;
}

void fc_folder_abandon(fc_folder *f) {
  for (size_t i = 0; i < f->n; i++) fc_file_abandon(f->t[i].file);
  fc_file_abandon(f->manifest.file);
  remove_made(f);
}

fc_status fc_folder_end(fc_folder *f, fc_status status) {
  int kept = errno;
  if (status == FC_OK)
    *f->why = '\0';
  else
    fc_folder_abandon(f);
  errno = kept;
  return status;
}
