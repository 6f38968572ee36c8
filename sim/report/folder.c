/* SPDX-License-Identifier: Apache-2.0 */
#include "folder.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fleetcast/report/write.h>

void fc_folder_explain(char *why, const char *folder, const char *name) {
  int kept = errno;
  (void)snprintf(why, FC_REPORT_WHY, "%s%s%s", folder, *name ? "/" : "", name);
  errno = kept;
}

static char *copy_text(const char *text) {
  size_t size = strlen(text) + 1;
  char *copy = malloc(size);
  return copy ? memcpy(copy, text, size) : NULL;
}

/* mkdir -p.  *made is the length of the path of the first folder that was not there; 0: all were. */
fc_status fc_folder_make(const char *folder, size_t *made) {
  char *path = copy_text(folder);
  if (!path) return FC_E_NOMEM;
  *made = 0;
  int error = 0;
  for (char *p = path + (*path == '/'); !error; p++) {
    char c = *p;
    if (c != '/' && c != '\0') continue;
    *p = '\0';
    if (*path && mkdir(path, 0777) == 0) {
      if (!*made) *made = strlen(path);
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

/* Takes away the empty folders that make_folders made. */
void fc_folder_remove(const char *folder, size_t made) {
  char *path = made ? copy_text(folder) : NULL;
  for (size_t n = path ? strlen(path) : 0; path && n >= made && n; n--) {
    if (path[n] != '/' && path[n] != '\0') continue;
    path[n] = '\0';
    if (rmdir(path) && errno != ENOENT) break;
  }
  free(path);
}

fc_status fc_folder_commit(table *t, const char *folder, char *why) {
  fc_folder_explain(why, folder, t->name);
  fc_file *file = t->file;
  t->file = NULL;
  return fc_file_commit(file);
}

fc_status fc_folder_no_manifest(const char *folder, char *why) {
  size_t capacity = strlen(folder) + sizeof FC_FOLDER_MANIFEST + 1;
  char *path = malloc(capacity);
  if (!path) return FC_E_NOMEM;
  (void)snprintf(path, capacity, "%s/%s", folder, FC_FOLDER_MANIFEST);
  fc_folder_explain(why, folder, FC_FOLDER_MANIFEST);
  fc_status status = unlink(path) && errno != ENOENT ? FC_E_IO : FC_OK;
  int kept = errno;
  free(path);
  errno = kept;
  return status;
}
