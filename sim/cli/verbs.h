/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CLI_VERBS_H
#define FC_CLI_VERBS_H

#include <fleetcast/base/status.h>
#include <fleetcast/scenario/load.h>

#include "options.h"

int cli_run(const settings *s);
int cli_plan(const settings *s);
int cli_serve(const settings *s);
int cli_train(const settings *s);
int cli_check(const settings *s);
int cli_bench(const settings *s);
int cli_fit(const settings *s);
int cli_calibrate(const settings *s);
int cli_predict(const settings *s);
int cli_validate(const settings *s);
int cli_schema(const settings *s);
int cli_explain(const settings *s);
int cli_version(const settings *s);
int cli_help(const settings *s);

/* --- input files --- */

/* Where devices, models, profiles and shapes are looked for: the file's own folder, --data, FLEETCAST_DATA
 * (separated by ':'), the data installed beside the program, the source tree, the installation's folder. */
typedef struct {
  size_t n;
  char **dir; /* to cli_data_free */
} data_dirs;

data_dirs cli_data(const char *path, const settings *s);
void cli_data_free(data_dirs *d);

/* Loads `path` ("-": stdin) and shows what there is to tell.  @return an exit status */
int cli_load(fc_input **out, const char *path, fc_input_kind expect, const data_dirs *data,
             const settings *s);

/* A dated price of a file; date 0: the latest that is known; of an unset series 0. */
double cli_price_at(const fc_series *price, fc_time date);

/* --- one file from others (predict.c) --- */

/* By name or by inode; a NULL is no file. */
bool cli_is_same_file(const char *a, const char *b);
/* Is `out` (nullable) one of those read?  Told; @return EXIT_USAGE or EXIT_OK */
int cli_refuse_to_replace(const char *out, const char *const *in, size_t n);

/* --- verbs that write a folder (run.c) --- */

/* An interrupted program dies of its signal, so that a shell's loop stops too (docs/adr/0006). */
int cli_die_of_signal(void);
/* The command, to type again; without folders: the input's is a data folder, the results' does not matter. */
void cli_add_command(fc_text *out, const char *name, const settings *s);
void cli_add_word(fc_text *out, const char *word);
/* "out/NAME"; a name that is no folder's becomes one. */
void cli_add_folder(fc_text *out, const settings *s, const char *name);

#endif
