/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TEST_DOCUMENTED_H
#define FC_TEST_DOCUMENTED_H

#include <stddef.h>

/* What docs/csv.md says of result files. */

enum { DOCUMENTED = 64, UNIT_ROOM = 32 };
typedef char documented_names[DOCUMENTED][64];
typedef char documented_units[DOCUMENTED][UNIT_ROOM];

/* docs/csv.md whole, to free(). */
char *documented_text(void);
/* The first cells, in backquotes, of the table below `heading`, and the second ones, where units are asked
 * for.  @return how many */
size_t documented(documented_names out, const char *docs, const char *heading, char (*units)[UNIT_ROOM]);
/* Are the columns of folder/file those below the heading `before` with the file's name, as "## "? */
void expect_documented_columns(const char *docs, const char *before, const char *folder, const char *file);
/* The same of the keys of manifest.yaml, of an answer without an input. */
void expect_documented_manifest(const char *docs, const char *before, const char *folder);

#endif
