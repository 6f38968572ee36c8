/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over files and folders: the corpus as an ordinary test, with any compiler. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path) {
  FILE *f = fopen(path, "rb");
  if (!f) return 0;
  size_t size = 0, capacity = 0, n;
  uint8_t *data = NULL;
  do {
    if (size == capacity) {
      capacity = capacity ? 2 * capacity : 4096;
      uint8_t *more = realloc(data, capacity);
      if (!more) break;
      data = more;
    }
    n = fread(data + size, 1, capacity - size, f);
    size += n;
  } while (n > 0);
  (void)fclose(f);
  (void)LLVMFuzzerTestOneInput(data, size);
  free(data);
  return 1;
}

static int run_path(const char *path) {
  DIR *dir = opendir(path);
  if (!dir) return run_file(path);
  int n = 0;
  for (const struct dirent *entry; (entry = readdir(dir));) {
    char name[4096];
    if (entry->d_name[0] == '.') continue;
    (void)snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
    n += run_file(name);
  }
  (void)closedir(dir);
  return n;
}

int main(int argc, char **argv) {
  int n = 0;
  for (int i = 1; i < argc; i++) n += run_path(argv[i]);
  printf("%d inputs\n", n);
  return n > 0 ? 0 : 1;
}
