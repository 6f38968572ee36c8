/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/diag.h>

void cli_complain_word(const char *what, const char *word, const char *const *candidates, size_t n) {
  const char *nearest = fc_diag_nearest(word, candidates, n);
  (void)fprintf(stderr, "fleetcast: unknown %s '%s'", what, word);
  if (nearest) (void)fprintf(stderr, "; did you mean '%s'?", nearest);
  (void)fputc('\n', stderr);
}

const verb *cli_verb(const char *name) {
  for (size_t i = 0; i < cli_n_verbs(); i++)
    if (strcmp(cli_verbs[i].name, name) == 0) return &cli_verbs[i];
  return NULL;
}

/* --- parsing --- */

enum { OPTIONS_MAX = 16, NAME_MAX_ = 24 };

static void complain_option(const verb *v, const char *text, size_t length) {
  char word[64], names[OPTIONS_MAX][NAME_MAX_];
  const char *candidates[OPTIONS_MAX];
  (void)snprintf(word, sizeof word, "%.*s", (int)length, text);
  for (size_t i = 0; i < v->n_options; i++) {
    (void)snprintf(names[i], sizeof names[i], "--%s", v->options[i].name);
    candidates[i] = names[i];
  }
  cli_complain_word("option", word, candidates, v->n_options);
}

static const option *find_long(const verb *v, const char *name, size_t length) {
  for (size_t i = 0; i < v->n_options; i++)
    if (strlen(v->options[i].name) == length && memcmp(v->options[i].name, name, length) == 0)
      return &v->options[i];
  return NULL;
}

static const option *find_letter(const verb *v, char letter) {
  for (size_t i = 0; i < v->n_options; i++)
    if (v->options[i].letter && v->options[i].letter == letter) return &v->options[i];
  return NULL;
}

static bool take_seed(settings *out, const char *value) {
  char *end;
  errno = 0;
  unsigned long long n = strtoull(value, &end, 10);
  if (*value < '0' || *value > '9' || *end || errno) {
    (void)fprintf(stderr, "fleetcast: --seed wants a whole number from 0 to 2^64 - 1, not '%s'\n", value);
    return false;
  }
  out->seed = n;
  out->has_seed = true;
  return true;
}

/* From 1. */
static bool take_count(size_t *field, const option *o, const char *value) {
  enum { MOST = 1000000 };
  char *end;
  unsigned long long n = strtoull(value, &end, 10);
  if (*value < '0' || *value > '9' || *end || n < 1 || n > MOST) {
    (void)fprintf(stderr, "fleetcast: --%s wants a whole number from 1 to %d, not '%s'\n", o->name, MOST,
                  value);
    return false;
  }
  *field = (size_t)n;
  return true;
}

static bool take_color(settings *out, const char *value) {
  static const char *const names[] = {
      [COLOR_AUTO] = "auto", [COLOR_ALWAYS] = "always", [COLOR_NEVER] = "never"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (strcmp(value, names[i]) != 0) continue;
    out->color = (color)i;
    return true;
  }
  cli_complain_word("colour", value, names, sizeof names / sizeof *names);
  return false;
}

static bool take_value(settings *out, const option *o, const char *value) {
  void *field = (char *)out + o->offset;
  switch (o->kind) {
  case OPTION_FLAG: *(bool *)field = true; return true;
  case OPTION_TEXT: *(const char **)field = value; return true;
  case OPTION_SEED: return take_seed(out, value);
  case OPTION_COUNT: return take_count(field, o, value);
  case OPTION_COLOR: return take_color(out, value);
  case OPTION_LIST: {
    words *list = field;
    ((const char **)list->item)[list->n++] = value; /* of our storage */
    return true;
  }
  }
  return false;
}

/* The value that follows: joined to the option, or the next word. */
static bool take_argument(settings *out, const option *o, const char *joined, int argc, char *const *argv,
                          int *i) {
  if (joined) return take_value(out, o, joined);
  if (*i + 1 < argc) return take_value(out, o, argv[++*i]);
  (void)fprintf(stderr, "fleetcast: --%s wants a value: %s\n", o->name, o->argument);
  return false;
}

static bool take_long(settings *out, const verb *v, int argc, char *const *argv, int *i) {
  const char *arg = argv[*i];
  size_t length = 2 + strcspn(arg + 2, "=");
  const char *joined = arg[length] ? arg + length + 1 : NULL;
  const option *o = find_long(v, arg + 2, length - 2);
  if (!o) {
    complain_option(v, arg, length);
    return false;
  }
  if (o->kind != OPTION_FLAG) return take_argument(out, o, joined, argc, argv, i);
  if (!joined) return take_value(out, o, NULL);
  (void)fprintf(stderr, "fleetcast: --%s takes no value\n", o->name);
  return false;
}

/* Letters: flags may share a dash, the last may take a value. */
static bool take_letters(settings *out, const verb *v, int argc, char *const *argv, int *i) {
  for (const char *p = argv[*i] + 1; *p; p++) {
    const option *o = find_letter(v, *p);
    if (!o) {
      char word[3] = {'-', *p, '\0'};
      complain_option(v, word, 2);
      return false;
    }
    if (o->kind != OPTION_FLAG) return take_argument(out, o, p[1] ? p + 1 : NULL, argc, argv, i);
    if (!take_value(out, o, NULL)) return false;
  }
  return true;
}

bool cli_parse(settings *out, const verb *v, int argc, char *const *argv, const char **storage) {
  *out = (settings){
      .set.item = storage, .data.item = storage + argc, .operand.item = storage + 2 * (size_t)argc};
  bool options = true;
  for (int i = 0; i < argc; i++) {
    if (options && strcmp(argv[i], "--") == 0) {
      options = false;
    } else if (options && argv[i][0] == '-' && argv[i][1]) { /* "-" alone is a file */
      if (!(argv[i][1] == '-' ? take_long : take_letters)(out, v, argc, argv, &i)) return false;
    } else {
      storage[2 * (size_t)argc + out->operand.n++] = argv[i];
    }
  }
  if (out->help) return true;
  if (out->operand.n < v->min_operands) {
    (void)fprintf(stderr, "fleetcast: %s wants %s\n", v->name, v->operands);
    return false;
  }
  if (out->operand.n > v->max_operands) {
    (void)fprintf(stderr, "fleetcast: %s: '%s' is one argument too many\n", v->name,
                  out->operand.item[v->max_operands]);
    return false;
  }
  return true;
}

/* --- help --- */

void cli_print_help(FILE *to) {
  (void)fputs(
      "usage: fleetcast VERB [ARGUMENTS]\n\n"
      "How much compute a fleet needs for inference and for training, of which hardware, at what cost.\n\n",
      to);
  for (size_t i = 0; i < cli_n_verbs(); i++)
    if (cli_verbs[i].run) (void)fprintf(to, "  %-12s %s\n", cli_verbs[i].name, cli_verbs[i].summary);
  (void)fputs("\nplanned, not in this version:\n", to);
  for (size_t i = 0; i < cli_n_verbs(); i++)
    if (!cli_verbs[i].run) (void)fprintf(to, "  %-12s %s\n", cli_verbs[i].name, cli_verbs[i].summary);
  (void)fputs(
      "\n`fleetcast VERB --help` tells more.  Results go to stdout or to -o, everything else to stderr.\n"
      "exit status: 0 ok, 1 failed run, 2 usage, 3 invalid input, 4 input/output\n",
      to);
}

void cli_print_verb_help(FILE *to, const verb *v) {
  (void)fprintf(to, "usage: fleetcast %s%s%s%s\n\n%s\n", v->name, v->n_options ? " [OPTIONS]" : "",
                *v->operands ? " " : "", v->operands, v->summary);
  if (v->n_options) (void)fputs("\noptions:\n", to);
  for (size_t i = 0; i < v->n_options; i++) {
    const option *o = &v->options[i];
    char left[64], letter[8] = "    ";
    if (o->letter) (void)snprintf(letter, sizeof letter, "-%c, ", o->letter);
    (void)snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->argument ? " " : "",
                   o->argument ? o->argument : "");
    (void)fprintf(to, "  %-27s %s\n", left, o->help);
  }
  if (v->notes) (void)fprintf(to, "\n%s", v->notes);
}
