/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "terminal.h"
#include "verbs.h"

/* fleetcast VERB ARGS.  Exit status: 0 ok, 1 failed run, 2 usage, 3 invalid input, 4 input/output. */

static int start(const verb *v, int argc, char **argv) {
  const char **storage = calloc(3 * (size_t)argc + 1, sizeof *storage);
  if (!storage) {
    (void)fputs("fleetcast: out of memory\n", stderr);
    return EXIT_FAILED;
  }
  settings s;
  int code = EXIT_OK;
  if (!cli_parse(&s, v, argc, argv, storage)) {
    (void)fprintf(stderr, "try: fleetcast %s --help\n", v->name);
    code = EXIT_USAGE;
  } else if (s.help) {
    cli_print_verb_help(stdout, v);
  } else {
    code = v->run(&s);
  }
  free(storage);
  return code;
}

static int dispatch(int argc, char **argv) {
  if (argc < 2) {
    cli_print_help(stderr);
    return EXIT_USAGE;
  }
  const char *name = argv[1];
  if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) name = "help";
  if (strcmp(name, "--version") == 0) name = "version";
  const verb *v = cli_verb(name);
  if (v && v->run) return start(v, argc - 2, argv + 2);
  if (v) {
    (void)fprintf(stderr, "fleetcast: '%s' is not in this version\n", name);
    return EXIT_USAGE;
  }
  const char *names[32];
  for (size_t i = 0; i < cli_n_verbs(); i++) names[i] = cli_verbs[i].name;
  cli_complain_word(name[0] == '-' ? "option" : "verb", name, names, cli_n_verbs());
  (void)fputs("try: fleetcast help\n", stderr);
  return EXIT_USAGE;
}

int main(int argc, char **argv) {
  int code = dispatch(argc, argv);
  int printed = cli_print(""); /* what printf left in the buffer */
  return code ? code : printed;
}
