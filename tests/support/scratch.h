/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TESTS_SCRATCH_H
#define FC_TESTS_SCRATCH_H

/** A folder for what a test writes; whatever goes wrong fails the test.  Build: add support/scratch.c to the
 *  test's SOURCES. */

enum { SCRATCH_ROOM = 32 };

/** A new one below /tmp, of this process alone. */
void scratch_new(char out[SCRATCH_ROOM]);
/** With all that is in it. */
void scratch_remove(const char *folder);
/** "folder/name", or the folder where the name is empty; good for seven more calls. */
const char *scratch_path(const char *folder, const char *name);

#endif
