/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CLI_RESULTS_H
#define FC_CLI_RESULTS_H

#include <fleetcast/report/write.h>

#include "verbs.h"

/* A folder of results and a page on stdout. */

/* Is -o stdout, or nothing?  Told; @return EXIT_USAGE or EXIT_OK */
int cli_refuse_stdout(const settings *s, const char *verb_name);
/* What is reported beside an answer.  `command` and the pointers of data and s stay the caller's. */
fc_report_options cli_report_options(const char *command, uint64_t seed, const data_dirs *data,
                                     const settings *s);
/* Tells; why is a file on FC_E_IO.  @return an exit status */
int cli_complain(fc_status status, const char *name, const char *why);

/* Begin, write and fill the page while all is well, end whatever came of it. */
typedef struct {
  const char *name; /* of what was asked; the caller's */
  fc_text folder, command, page;
  fc_report_options options;
  char why[FC_REPORT_WHY];
} results;

FC_NODISCARD
fc_status cli_results_begin(results *r, const char *verb_name, const char *name, uint64_t seed,
                            const data_dirs *data, const settings *s);
/* Prints the page and where the results are, or tells what is wrong.  @return an exit status */
int cli_results_end(results *r, fc_status status, const settings *s);

#endif
