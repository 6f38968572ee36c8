/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BASE_FILE_H
#define FC_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include <fleetcast/base/status.h>

/** Files: read whole under a size cap; written whole or not at all. */

/** Reads a regular file (or a pipe) whole; the text is NUL-terminated past `*length`.
 *  @param[out] bytes  the caller's, to free(); NULL on failure
 *  @param max_bytes   a larger file is refused
 *  @return FC_OK | FC_E_IO (errno says why; EFBIG: over the cap) | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_file_read(char **bytes, size_t *length, const char *path, size_t max_bytes);

/** An output file under construction.  Writes go to a buffer, then to `path` with a temporary suffix; only
 *  fc_file_commit gives it its name (fsync, rename).  The first error sticks and is returned at commit, so
 *  that writers need not check every field.  Abandoned or killed, it leaves no `path`.  A device, a pipe or a
 *  terminal is written straight: it has no name to keep. */
typedef struct fc_file fc_file;

FC_NODISCARD
fc_status fc_file_create(fc_file **out, const char *path);
/** Writes `length` bytes. */
void fc_file_write(fc_file *file, const void *bytes, size_t length);
void fc_file_printf(fc_file *file, const char *format, ...) FC_PRINTF(2, 3);
/** Shows every byte to `tap` before it is written: for a hash.  Set it before the first write. */
void fc_file_tap(fc_file *file, void (*tap)(void *context, const void *bytes, size_t length), void *context);
/** Brings all to the disk under the temporary name, so that commit has only to rename: several files are
 *  synced first, then committed, and a full disk spoils none.  @return FC_OK | FC_E_IO | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_file_sync(fc_file *file);
/** Flushes, syncs, renames and frees.  NULL is FC_OK.  @return FC_OK | FC_E_IO (errno kept; nothing left) */
FC_NODISCARD
fc_status fc_file_commit(fc_file *file);
/** Throws the file away and frees.  NULL is a no-op. */
void fc_file_abandon(fc_file *file);

#endif
