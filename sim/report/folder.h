/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_REPORT_FOLDER_H
#define FC_REPORT_FOLDER_H

#include "table.h"

/* A folder of results: whole with its manifest, or not at all. */

#define FC_FOLDER_MANIFEST "manifest.yaml"

/* "FOLDER/NAME" into why; errno stays. */
void fc_folder_explain(char *why, const char *folder, const char *name);
/* mkdir -p.  *made is the length of the path of the first folder that was not there; 0: all were. */
FC_NODISCARD
fc_status fc_folder_make(const char *folder, size_t *made);
/* Takes away the empty folders that fc_folder_make made. */
void fc_folder_remove(const char *folder, size_t made);
/* Gives a synced table its name. */
FC_NODISCARD
fc_status fc_folder_commit(table *t, const char *folder, char *why);
FC_NODISCARD
fc_status fc_folder_no_manifest(const char *folder, char *why);

#endif
