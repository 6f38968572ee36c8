/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fleetcast/base/stop.h>
#include <fleetcast/fleet/run.h>
#include <fleetcast/report/write.h>

#include "results.h"
#include "terminal.h"

/* An interrupted program dies of its signal, so that a shell's loop stops too (docs/adr/0006). */
int cli_die_of_signal(void) {
  (void)fputs("fleetcast: interrupted; no results were written\n", stderr);
  fc_stop_die();
  return EXIT_FAILED; /* the signal was blocked */
}

/* --- the command, to type again --- */

static bool is_plain(const char *word) {
  return *word &&
         word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./=-+:,@%")] ==
             '\0';
}

void cli_add_word(fc_text *out, const char *word) {
  fc_text_add(out, " ");
  if (is_plain(word)) {
    fc_text_add(out, word);
    return;
  }
  fc_text_add(out, "'");
  for (; *word; word++) {
    if (*word == '\'')
      fc_text_add(out, "'\\''");
    else
      fc_text_printf(out, "%c", *word);
  }
  fc_text_add(out, "'");
}

/* Without folders: the scenario's is a data folder, the results' does not matter. */
void cli_add_command(fc_text *out, const char *name, const settings *s) {
  const char *path = s->operand.item[0], *slash = strrchr(path, '/');
  fc_text_printf(out, "fleetcast %s", name);
  cli_add_word(out, slash ? slash + 1 : path);
  if (s->has_seed) fc_text_printf(out, " --seed %" PRIu64, s->seed);
  for (size_t i = 0; i < s->set.n; i++) {
    fc_text_add(out, " --set");
    cli_add_word(out, s->set.item[i]);
  }
}

/* "out/NAME"; a name that is no folder's becomes one. */
void cli_add_folder(fc_text *out, const settings *s, const char *name) {
  if (s->out) {
    fc_text_add(out, s->out);
    return;
  }
  fc_text_add(out, "out/");
  for (const char *p = name; *p; p++)
    fc_text_printf(out, "%c", *p == '/' || (p == name && *p == '.') ? '-' : *p);
}

/* --- run, report --- */

/* Where capacities are kept that took simulations: $FLEETCAST_CACHE, else $XDG_CACHE_HOME/fleetcast, else
 * ~/.cache/fleetcast; empty: nowhere. */
static void add_cache(fc_text *out) {
  const char *own = getenv("FLEETCAST_CACHE"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  if (own)
    fc_text_add(out, own);
  else if (xdg && *xdg == '/')
    fc_text_printf(out, "%s/fleetcast", xdg);
  else if (home && *home == '/')
    fc_text_printf(out, "%s/.cache/fleetcast", home);
}

static void show_planned(void *context, const char *service, const char *pool, size_t simulations) {
  char what[128];
  (void)snprintf(what, sizeof what, "capacity of %.20s on %.16s: %zu simulations", service, pool,
                 simulations);
  cli_progress_note(context, what);
}

static void show_note(void *context, const char *text) {
  cli_progress_clear(context);
  (void)fprintf(stderr, "fleetcast: note: %s\n", text);
}

static int simulate(fc_fleet_result **result, const fc_fleet_def *def, uint64_t seed, const settings *s) {
  enum { WHY = 1024 };
  char why[WHY] = "";
  progress p = cli_progress(s->quiet);
  fc_text cache = {0};
  if (!s->no_cache) add_cache(&cache);
  fc_fleet_options options = {.seed = seed,
                              .progress = cli_progress_show,
                              .context = &p,
                              .cancel = fc_stop_flag(),
                              .threads = s->jobs,
                              .cache = cache.bytes && *cache.bytes ? cache.bytes : NULL,
                              .planned = show_planned,
                              .note = show_note};
  fc_status status = fc_text_status(&cache);
  if (status == FC_OK) status = fc_fleet_run(result, def, &options, why);
  fc_text_fini(&cache);
  cli_progress_clear(&p);
  if (status == FC_OK) return EXIT_OK;
  if (status == FC_E_CANCELLED) return cli_die_of_signal();
  const char *law = status == FC_E_LAW && *result ? fc_fleet_result_law(*result) : NULL;
  (void)fprintf(stderr, "fleetcast: %s: %s%s%s\n", def->name, fc_status_text(status), law || *why ? ": " : "",
                law ? law : why);
  return EXIT_FAILED;
}

static int write_results(const fc_fleet_result *result, const fc_input *input, const data_dirs *data,
                         uint64_t seed, const char *folder, const char *command, const settings *s) {
  char why[FC_REPORT_WHY];
  fc_report_options options = cli_report_options(command, seed, data, s);
  fc_status status = fc_report_write(folder, result, input, &options, why);
  switch (status) {
  case FC_OK: break;
  case FC_E_CANCELLED: return cli_die_of_signal();
  case FC_E_IO:
    (void)fprintf(stderr, "fleetcast: cannot write %s: %s\n", why, strerror(errno));
    return EXIT_IO;
  default: (void)fprintf(stderr, "fleetcast: %s: %s\n", fc_status_text(status), why); return EXIT_FAILED;
  }
  fc_text page = {0};
  int code;
  status = fc_report_page(&page, result, seed);
  if (status == FC_OK) {
    code = cli_print(page.bytes);
  } else {
    (void)fprintf(stderr, "fleetcast: %s\n", fc_status_text(status));
    code = EXIT_FAILED;
  }
  fc_text_fini(&page);
  if (!s->quiet) (void)fprintf(stderr, "fleetcast: results in %s/\n", folder);
  return code;
}

int cli_run(const settings *s) {
  int code = cli_refuse_stdout(s, "run");
  if (code != EXIT_OK) return code;
  const char *path = s->operand.item[0];
  data_dirs data = cli_data(path, s);
  fc_input *input;
  fc_fleet_result *result = NULL;
  fc_text folder = {0}, command = {0};
  code = cli_load(&input, path, FC_INPUT_SCENARIO, &data, s);
  if (code == EXIT_OK) {
    const fc_fleet_def *def = fc_input_fleet(input);
    uint64_t seed = s->has_seed ? s->seed : def->seed;
    cli_add_folder(&folder, s, def->name);
    cli_add_command(&command, "run", s);
    code = fc_text_status(&folder) || fc_text_status(&command) ? EXIT_FAILED : EXIT_OK;
    fc_stop_catch();
    if (code == EXIT_OK) code = simulate(&result, def, seed, s);
    if (code == EXIT_OK) code = write_results(result, input, &data, seed, folder.bytes, command.bytes, s);
  }
  fc_fleet_result_free(result);
  fc_input_free(input);
  fc_text_fini(&folder);
  fc_text_fini(&command);
  cli_data_free(&data);
  return code;
}
