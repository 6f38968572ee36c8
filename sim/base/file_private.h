/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BASE_FILE_PRIVATE_H
#define FC_BASE_FILE_PRIVATE_H

#include <fleetcast/base/file.h>

enum { FILE_BUFFER = 64 * 1024 };

struct fc_file {
  char *path;      /* what it will be called, links resolved */
  char *temporary; /* what it is called meanwhile; NULL: a device or a pipe, written straight */
  int fd;
  int error; /* first errno; 0: none */
  bool synced;
  bool mid_row; /* csv.c: the next field is not its row's first */
  void (*tap)(void *context, const void *bytes, size_t length);
  void *tap_context;
  size_t used;
  char buffer[FILE_BUFFER];
};

#endif
