/* SPDX-License-Identifier: Apache-2.0 */
#define _XOPEN_SOURCE 700 /* nftw, mkdtemp */
#include "scratch.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void scratch_new(char out[SCRATCH_ROOM]) {
  (void)strcpy(out, "/tmp/fc-test-XXXXXX");
  cr_assert_not_null(mkdtemp(out));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
  (void)st, (void)type, (void)at;
  return remove(path);
}

void scratch_remove(const char *folder) {
  cr_expect_eq(nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0, "%s is still there", folder);
}

const char *scratch_path(const char *folder, const char *name) {
  enum { PATHS = 8, ROOM = 256 };
  static char path[PATHS][ROOM];
  static int i;
  i = (i + 1) % PATHS;
  int n = snprintf(path[i], ROOM, "%s%s%s", folder, *name ? "/" : "", name);
  cr_assert(n > 0 && n < ROOM, "%s/%s is too long", folder, name);
  return path[i];
}
