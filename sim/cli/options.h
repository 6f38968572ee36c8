/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CLI_OPTIONS_H
#define FC_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The command line: one table a verb drives parsing, help and "did you mean". */

enum { EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INPUT, EXIT_IO };

typedef enum { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER } color;

typedef struct {
  const char *const *item; /* of argv */
  size_t n;
} words;

/* What was asked. */
typedef struct {
  const char *out, *backend, *kernel, *table, *profile, *device, *impl, *base, *report, *measurements, *trace;
  bool has_seed, quiet, help, quick, check, again, by_impl, requests, timeline, no_cache;
  uint64_t seed;
  size_t jobs, anchors; /* 0: not told */
  color color;
  words set, data, operand;
} settings;

typedef enum { OPTION_FLAG, OPTION_TEXT, OPTION_SEED, OPTION_COUNT, OPTION_COLOR, OPTION_LIST } option_kind;

typedef struct {
  const char *name;
  const char *argument; /* name of its value in help; NULL for a flag */
  const char *help;
  size_t offset; /* in settings */
  option_kind kind;
  char letter; /* 0: none */
} option;

typedef struct verb {
  const char *name, *operands, *summary; /* operands as help shows them */
  size_t min_operands, max_operands;
  size_t n_options;
  const option *options;
  int (*run)(const settings *s); /* NULL: planned, not in this version */
  const char *notes;             /* below the options in help */
} verb;

extern const verb cli_verbs[];
size_t cli_n_verbs(void);
const verb *cli_verb(const char *name);

/* Parses what follows the verb.  Lists point into `storage`, which has room for 3 * argc words.
 * @return false: told on stderr */
bool cli_parse(settings *out, const verb *v, int argc, char *const *argv, const char **storage);

void cli_print_help(FILE *to);
void cli_print_verb_help(FILE *to, const verb *v);
/* "fleetcast: unknown verb 'rnu'; did you mean 'run'?" */
void cli_complain_word(const char *what, const char *word, const char *const *candidates, size_t n);

#endif
