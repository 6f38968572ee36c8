/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BENCH_JOURNAL_H
#define FC_BENCH_JOURNAL_H

#include <stdio.h>

#include "row.h"

/** The file OUT.partial: a point is appended when it is measured, so that an interrupted pass goes on where
 * it was. When all are there it becomes OUT, sorted, in one step. */

/** Not a pipe, a device, a folder, or nothing. */
bool fc_journal_is_regular(const char *path);
/** "OUT.partial" of OUT; the caller's to free(); NULL when memory runs out. */
char *fc_path_with_suffix(const char *path, const char *suffix);

typedef struct fc_journal {
  char *path, *partial; /* NULL path: rows are kept in memory alone; NULL partial: OUT is no regular file */
  FILE *file;
  bool from_out; /* the earlier points are OUT's own */
} fc_journal;

/** Opens.  Finished points of the same machine come back in `earlier`: those of an interrupted pass, else
 * those of OUT itself (unless `anew`), so that nothing is measured twice and nothing is lost.
 *  @return FC_OK | FC_E_INPUT (told to d: not such a file, another machine's) | FC_E_IO (errno) | FC_E_NOMEM
 */
FC_NODISCARD
fc_status fc_journal_open(fc_journal *j, const char *path, const fc_machine *machine, bool anew,
                          fc_rows *earlier, fc_diags *d);
/** @return FC_OK | FC_E_IO | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_journal_add(fc_journal *j, const fc_row *row);
/** Writes OUT and removes OUT.partial.  @return FC_OK | FC_E_IO | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_journal_finish(fc_journal *j, const fc_rows *rows);
/** Removes OUT.partial and leaves OUT as it was: nothing was added. */
void fc_journal_discard(fc_journal *j);
void fc_journal_close(fc_journal *j);

#endif
