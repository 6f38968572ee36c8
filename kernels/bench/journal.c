/* SPDX-License-Identifier: Apache-2.0 */
#include "journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fleetcast/base/file.h>

char *fc_path_with_suffix(const char *path, const char *suffix) {
  size_t room = strlen(path) + strlen(suffix) + 1;
  char *out = malloc(room);
  if (out) (void)snprintf(out, room, "%s%s", path, suffix);
  return out;
}

bool fc_journal_is_regular(const char *path) {
  struct stat of;
  return stat(path, &of) == 0 && S_ISREG(of.st_mode);
}

static bool is_same(const char *field, const char *of_machine) {
  return strcmp(field ? field : "", of_machine) == 0;
}

/* What to do about a file that cannot be continued. */
static fc_status refuse(const char *path, bool is_out, fc_diags *d) {
  (void)fc_diag_add(d, FC_NOTE, path, (fc_pos){0}, "%s",
                    is_out ? "choose another name, or --again to replace it" : "remove it to begin anew");
  return FC_E_INPUT;
}

/* Points of an earlier pass; another machine's must not be continued.  A file that is not there, or empty,
 * has none. */
static fc_status read_earlier(const char *path, bool is_out, const fc_machine *machine, fc_rows *earlier,
                              fc_diags *d) {
  struct stat of;
  if (stat(path, &of) == 0 && of.st_size == 0) return FC_OK;
  fc_status status = fc_rows_read(earlier, path, d);
  if (status == FC_E_IO && errno == ENOENT) return FC_OK;
  if (status == FC_E_INPUT) return refuse(path, is_out, d);
  if (status) return status;
  for (size_t i = 0; i < earlier->n; i++) {
    const fc_row *row = &earlier->item[i];
    if (is_same(row->field[FC_COLUMN_gpu], machine->gpu) &&
        is_same(row->field[FC_COLUMN_driver], machine->driver))
      continue;
    (void)fc_diag_error(d, path, ((fc_pos){i + 2, 1}), "measured on another device (%s)",
                        row->field[FC_COLUMN_gpu] ? row->field[FC_COLUMN_gpu] : "unknown");
    return refuse(path, is_out, d);
  }
  return FC_OK;
}

/* Header and earlier rows anew, so that a line cut off by a kill goes away; then on from there. */
static fc_status start(fc_journal *j, const fc_rows *earlier) {
  fc_file *file;
  fc_status status = fc_file_create(&file, j->partial);
  if (status) return status;
  char *line = fc_row_header();
  for (size_t i = 0; line; i++) {
    fc_file_write(file, line, strlen(line));
    free(line);
    if (i == earlier->n) {
      status = fc_file_commit(file);
      if (status) return status;
      j->file = fopen(j->partial, "a");
      return j->file ? FC_OK : FC_E_IO;
    }
    line = fc_row_line(&earlier->item[i]);
  }
  fc_file_abandon(file);
  return FC_E_NOMEM;
}

fc_status fc_journal_open(fc_journal *j, const char *path, const fc_machine *machine, bool anew,
                          fc_rows *earlier, fc_diags *d) {
  *j = (fc_journal){0};
  *earlier = (fc_rows){0};
  if (!path) return FC_OK;
  j->path = fc_path_with_suffix(path, "");
  if (j->path && access(path, F_OK) == 0 && !fc_journal_is_regular(path))
    return FC_OK; /* a pipe keeps no journal */
  j->partial = fc_path_with_suffix(path, ".partial");
  fc_status status = j->path && j->partial ? FC_OK : FC_E_NOMEM;
  j->from_out = !status && !anew && !fc_journal_is_regular(j->partial);
  if (!status && (j->from_out || fc_journal_is_regular(j->partial)))
    status = read_earlier(j->from_out ? path : j->partial, j->from_out, machine, earlier, d);
  if (!status) status = start(j, earlier);
  if (status) {
    int error = errno;
    fc_rows_fini(earlier);
    fc_journal_close(j);
    errno = error;
  }
  return status;
}

fc_status fc_journal_add(fc_journal *j, const fc_row *row) {
  if (!j->file) return FC_OK;
  char *line = fc_row_line(row);
  if (!line) return FC_E_NOMEM;
  bool ok = fputs(line, j->file) != EOF && fflush(j->file) == 0;
  free(line);
  return ok ? FC_OK : FC_E_IO;
}

fc_status fc_journal_finish(fc_journal *j, const fc_rows *rows) {
  if (!j->path) return FC_OK;
  fc_file *file;
  fc_status status = fc_file_create(&file, j->path);
  if (status) return status;
  char *line = fc_row_header();
  for (size_t i = 0; line; i++) {
    fc_file_write(file, line, strlen(line));
    free(line);
    if (i == rows->n) {
      status = fc_file_commit(file);
      if (!status && j->partial) (void)unlink(j->partial);
      return status;
    }
    line = fc_row_line(&rows->item[i]);
  }
  fc_file_abandon(file);
  return FC_E_NOMEM;
}

void fc_journal_discard(fc_journal *j) {
  if (j->partial) (void)unlink(j->partial);
}

void fc_journal_close(fc_journal *j) {
  if (j->file) (void)fclose(j->file);
  free(j->path);
  free(j->partial);
  *j = (fc_journal){0};
}
