/* SPDX-License-Identifier: Apache-2.0 */
#include "train.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fleetcast/base/stop.h>

#include "terminal.h"
#include "verbs.h"

static int complain(fc_status status, const char *name, const char *why) {
  if (status == FC_E_CANCELLED) return cli_die_of_signal();
  if (status == FC_E_IO) {
    (void)fprintf(stderr, "fleetcast: cannot write %s: %s\n", why, strerror(errno));
    return EXIT_IO;
  }
  (void)fprintf(stderr, "fleetcast: %s: %s%s%s\n", name, fc_status_text(status), *why ? ": " : "", why);
  return status == FC_E_DOMAIN ? EXIT_INPUT : EXIT_FAILED;
}

static int write_results(const training *t, const fc_input *input, const data_dirs *data, const settings *s) {
  char why[FC_REPORT_WHY] = "";
  fc_text folder = {0}, command = {0}, page = {0};
  cli_add_folder(&folder, s, t->def->name);
  cli_add_command(&command, "train", s);
  fc_report_options options = {.version = FC_CLI_VERSION,
                               .command = command.bytes,
                               .seed = t->answer.seed,
                               .n_set = s->set.n,
                               .set = s->set.item,
                               .n_data_dirs = data->n,
                               .data_dirs = (const char *const *)data->dir,
                               .cancel = fc_stop_flag()};
  fc_status status = fc_text_status(&folder) ? FC_E_NOMEM : fc_text_status(&command);
  if (status == FC_OK) status = fc_report_train_write(folder.bytes, &t->answer, input, &options, why);
  if (status == FC_OK) status = fc_report_train_page(&page, &t->answer);
  int code = status == FC_OK ? cli_print(page.bytes) : complain(status, t->def->name, why);
  if (status == FC_OK && !s->quiet) (void)fprintf(stderr, "fleetcast: results in %s/\n", folder.bytes);
  fc_text_fini(&folder);
  fc_text_fini(&command);
  fc_text_fini(&page);
  return code;
}

static int train(const fc_input *input, const data_dirs *data, const settings *s) {
  char why[256] = "";
  const fc_train_def *def = fc_input_train(input);
  training *t = calloc(1, sizeof *t);
  if (!t) return complain(FC_E_NOMEM, "train", "");
  long processors = sysconf(_SC_NPROCESSORS_ONLN);
  size_t threads = s->jobs ? s->jobs : processors > 0 ? (size_t)processors : 1;
  fc_stop_catch();
  fc_status status = cli_training_make(t, def, s->has_seed ? s->seed : (uint64_t)def->seed, threads, why);
  progress bar = cli_progress(s->quiet);
  if (status == FC_OK) {
    cli_progress_tell(&bar, 0, "lives of the run");
    status = cli_training_run(t, why);
  }
  cli_progress_clear(&bar);
  int code = status == FC_OK ? write_results(t, input, data, s) : complain(status, def->name, why);
  cli_training_free(t);
  free(t);
  return code;
}

int cli_train(const settings *s) {
  if (s->out && (strcmp(s->out, "-") == 0 || !*s->out)) {
    (void)fputs("fleetcast: train writes several files: -o wants a folder\n", stderr);
    return EXIT_USAGE;
  }
  const char *path = s->operand.item[0];
  data_dirs data = cli_data(path, s);
  fc_input *input;
  int code = cli_load(&input, path, FC_INPUT_TRAIN, &data, s);
  if (code == EXIT_OK) code = train(input, &data, s);
  fc_input_free(input);
  cli_data_free(&data);
  return code;
}
