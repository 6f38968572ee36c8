/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BASE_STOP_H
#define FC_BASE_STOP_H

#include <signal.h>
#include <stdatomic.h>

/** Being asked to stop: SIGINT, SIGTERM, SIGHUP.  For programs, not for libraries: it is the process's one
 * flag (docs/adr/0006). */

/** Catches the three.  A second one kills at once; one that the process was started to ignore (nohup) stays
 * ignored. */
void fc_stop_catch(void);

/** 0, then the number of the signal that came: for fc_fleet_options.cancel and the like. */
const atomic_int *fc_stop_flag(void);

/** Dies of the signal that came, so that a shell's loop stops too; everything printed is flushed.  Returns
 * when the signal is blocked. */
void fc_stop_die(void);

#endif
