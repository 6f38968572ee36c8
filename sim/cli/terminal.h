/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CLI_TERMINAL_H
#define FC_CLI_TERMINAL_H

#include <stdbool.h>
#include <time.h>

#include <fleetcast/base/diag.h>
#include <fleetcast/base/time.h>

#include "options.h"

/* stderr as people see it: diagnostics with the line they are about, and one line of progress. */

/* Colour on stderr: only on a terminal, unless asked; NO_COLOR is respected (no-color.org). */
bool cli_colored(color wish);

/* All diagnostics, each with its source line and a caret where the file can still be read. */
void cli_show_diags(const fc_diags *d, bool colored);

/* Prints to stdout and flushes, so that a full disk is told here and by its name; a closed pipe is no news to
 * anybody.  @return EXIT_OK or EXIT_IO */
int cli_print(const char *text);

/* One line, rewritten at most ten times a second; nothing unless stderr is a terminal. */
typedef struct {
  bool on, shown;
  struct timespec start, last;
} progress;

progress cli_progress(bool quiet);
/* For fc_fleet_options: `context` is the progress. */
void cli_progress_show(void *context, double share, fc_time now);
/* For fc_fit_options: what is being done, instead of a date. */
void cli_progress_tell(void *context, double share, const char *what);
/* What is being done, of which nobody knows how much there is. */
void cli_progress_note(void *context, const char *what);
void cli_progress_clear(progress *p);

#endif
