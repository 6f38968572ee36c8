/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CLI_FIT_H
#define FC_CLI_FIT_H

#include <stdbool.h>
#include <stddef.h>

#include <fleetcast/hw/device.h>

/** The work of `fit`, shared with `calibrate`: measurement files in, profile and report out. */
typedef struct fit_job {
  const char *const *paths; /* measurement files, plain or gzip */
  size_t n_paths;
  const fc_device *device;
  const char *impl;     /* only this implementation; NULL: all, kept apart */
  const char *base;     /* profile that says what is not measured; NULL: the one that the library chooses */
  const char *out;      /* profile; "-": stdout */
  const char *report;   /* HTML page; NULL: none */
  const char *command;  /* the command line, for the provenance and the page; NULL: not told */
  size_t anchors;       /* 0: FC_FIT_ANCHORS */
  size_t jobs;          /* threads; 0: as many as the machine has */
  const char *measured; /* when: a date, for the page; NULL: not told */
  const char *backend;  /* "cpu" or "cuda", for the page; NULL: not told */
  double bench_s;       /* what measuring took; 0: not told */
  bool quiet;           /* no progress, no table, no closing remark */
} fit_job;

/** Reads, fits, writes `out` and `report` (both under a temporary name, then renamed), and prints one row a
 * kernel to stdout (to stderr when the profile goes to stdout), diagnostics and progress to stderr.  Takes
 * signals itself.
 *  @return exit status of the program */
int cli_fit_job(const fit_job *job);

#endif
