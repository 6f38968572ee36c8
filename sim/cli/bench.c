/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "verbs.h"

/* `fleetcast bench` becomes fleetcast-bench, a program of its own (docs/adr/0005), which stands beside this
 * one or, where that cannot be told, on the PATH. */

enum { PATH_ROOM = 4096, WORDS_MAX = 24, NUMBER_TEXT = 24 };

static const char program[] = "fleetcast-bench";

/* "DIR/fleetcast-bench" of the folder that holds this program. */
static bool find_beside(char out[PATH_ROOM]) {
  ssize_t n = readlink("/proc/self/exe", out, PATH_ROOM - sizeof program - 1);
  if (n <= 0) return false;
  out[n] = '\0';
  char *slash = strrchr(out, '/');
  if (!slash) return false;
  memcpy(slash + 1, program, sizeof program);
  return access(out, X_OK) == 0;
}

int cli_bench(const settings *s) {
  char path[PATH_ROOM], seed[NUMBER_TEXT];
  const char *word[WORDS_MAX];
  size_t n = 0;
  word[n++] = program;
  if (s->backend) word[n++] = "--backend", word[n++] = s->backend;
  if (s->out) word[n++] = "--out", word[n++] = s->out;
  if (s->kernel) word[n++] = "--kernel", word[n++] = s->kernel;
  if (s->table) word[n++] = "--table", word[n++] = s->table;
  if (s->has_seed) {
    (void)snprintf(seed, sizeof seed, "%" PRIu64, s->seed);
    word[n++] = "--seed";
    word[n++] = seed;
  }
  if (s->quick) word[n++] = "--quick";
  if (s->check) word[n++] = "--check";
  if (s->again) word[n++] = "--again";
  if (s->quiet) word[n++] = "--quiet";
  word[n] = NULL;
  if (find_beside(path))
    (void)execv(path, (char *const *)(uintptr_t)word);
  else
    (void)execvp(program, (char *const *)(uintptr_t)word);
  (void)fprintf(stderr, "fleetcast: cannot start %s: %s\n", program, strerror(errno));
  return EXIT_FAILED;
}
