/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_REPORT_FOLDER_H
#define FC_REPORT_FOLDER_H

#include <fleetcast/report/write.h>

#include "table.h"

/* A folder of results: whole with its manifest, or not at all.  Open it, add, fill and sync its files,
 * commit, and end it whatever came of these. */

#define FC_FOLDER_MANIFEST "manifest.yaml"
enum { FC_FOLDER_FILES = 12 }; /* at most, the manifest not counted */

typedef struct {
  const char *path; /* the caller's, as is why */
  char *why;        /* [FC_REPORT_WHY]: what is being written, or what is wrong with it */
  size_t made;      /* length of the path of the first folder that was not there; 0: all were */
  size_t n;
  table t[FC_FOLDER_FILES], manifest; /* under temporary names */
} fc_folder;

/* mkdir -p.  To be ended also where this fails. */
FC_NODISCARD
fc_status fc_folder_open(fc_folder *f, const char *path, char *why);
/* One more file, the next of t. */
FC_NODISCARD
fc_status fc_folder_add(fc_folder *f, const char *name, table **out);
/* FC_E_LAW where a number of it is not finite. */
FC_NODISCARD
fc_status fc_folder_sync(fc_folder *f, table *t);

/* A file of an answer, and what writes it. */
typedef struct {
  const char *name;
  void (*fill)(table *t, const void *answer);
} fc_folder_file;

/* Adds, fills and syncs each in turn. */
FC_NODISCARD
fc_status fc_folder_fill(fc_folder *f, const fc_folder_file *files, size_t n, const void *answer);

/* Writes the manifest, headed by `head`, then gives all files their names, the manifest's last.
 * @pre every file is synced.  Frees head. */
FC_NODISCARD
fc_status fc_folder_commit(fc_folder *f, fc_text *head, const fc_input *input,
                           const fc_report_options *options);
/* Throws away files that have no name yet, and the folders that were made for them. */
void fc_folder_abandon(fc_folder *f);
/* Abandons all where status is not FC_OK, else empties why; gives status back, errno stays. */
FC_NODISCARD
fc_status fc_folder_end(fc_folder *f, fc_status status);

#endif
