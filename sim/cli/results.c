/* SPDX-License-Identifier: Apache-2.0 */
#include "results.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <fleetcast/base/stop.h>

#include "terminal.h"

int cli_refuse_stdout(const settings *s, const char *verb_name) {
  if (!s->out || (strcmp(s->out, "-") != 0 && *s->out)) return EXIT_OK;
  (void)fprintf(stderr, "fleetcast: %s writes several files: -o wants a folder\n", verb_name);
  return EXIT_USAGE;
}

fc_report_options cli_report_options(const char *command, uint64_t seed, const data_dirs *data,
                                     const settings *s) {
  return (fc_report_options){.version = FC_CLI_VERSION,
                             .command = command,
                             .seed = seed,
                             .n_set = s->set.n,
                             .set = s->set.item,
                             .n_data_dirs = data->n,
                             .data_dirs = (const char *const *)data->dir,
                             .cancel = fc_stop_flag()};
}

int cli_complain(fc_status status, const char *name, const char *why) {
  if (status == FC_E_CANCELLED) return cli_die_of_signal();
  if (status == FC_E_IO) {
    (void)fprintf(stderr, "fleetcast: cannot write %s: %s\n", why, strerror(errno));
    return EXIT_IO;
  }
  (void)fprintf(stderr, "fleetcast: %s: %s%s%s\n", name, fc_status_text(status), *why ? ": " : "", why);
  return status == FC_E_DOMAIN ? EXIT_INPUT : EXIT_FAILED;
}

fc_status cli_results_begin(results *r, const char *verb_name, const char *name, uint64_t seed,
                            const data_dirs *data, const settings *s) {
  *r = (results){.name = name};
  cli_add_folder(&r->folder, s, name);
  cli_add_command(&r->command, verb_name, s);
  r->options = cli_report_options(r->command.bytes, seed, data, s);
  return fc_text_status(&r->folder) ? FC_E_NOMEM : fc_text_status(&r->command);
}

int cli_results_end(results *r, fc_status status, const settings *s) {
  int code = status == FC_OK ? cli_print(r->page.bytes) : cli_complain(status, r->name, r->why);
  if (status == FC_OK && !s->quiet) (void)fprintf(stderr, "fleetcast: results in %s/\n", r->folder.bytes);
  fc_text_fini(&r->folder);
  fc_text_fini(&r->command);
  fc_text_fini(&r->page);
  return code;
}
