/* SPDX-License-Identifier: Apache-2.0 */
#include "train.h"

#include <stdlib.h>
#include <unistd.h>

#include <fleetcast/base/stop.h>

#include "results.h"
#include "terminal.h"

static int write_results(const training *t, const fc_input *input, const data_dirs *data, const settings *s) {
  results r;
  fc_status status = cli_results_begin(&r, "train", t->def->name, t->answer.seed, data, s);
  if (status == FC_OK) status = fc_report_train_write(r.folder.bytes, &t->answer, input, &r.options, r.why);
  if (status == FC_OK) status = fc_report_train_page(&r.page, &t->answer);
  return cli_results_end(&r, status, s);
}

static int train(const fc_input *input, const data_dirs *data, const settings *s) {
  char why[256] = "";
  const fc_train_def *def = fc_input_train(input);
  training *t = calloc(1, sizeof *t);
  if (!t) return cli_complain(FC_E_NOMEM, "train", "");
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
  int code = status == FC_OK ? write_results(t, input, data, s) : cli_complain(status, def->name, why);
  cli_training_free(t);
  free(t);
  return code;
}

int cli_train(const settings *s) {
  int code = cli_refuse_stdout(s, "train");
  if (code != EXIT_OK) return code;
  const char *path = s->operand.item[0];
  data_dirs data = cli_data(path, s);
  fc_input *input;
  code = cli_load(&input, path, FC_INPUT_TRAIN, &data, s);
  if (code == EXIT_OK) code = train(input, &data, s);
  fc_input_free(input);
  cli_data_free(&data);
  return code;
}
