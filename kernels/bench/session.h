/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BENCH_SESSION_H
#define FC_BENCH_SESSION_H

#include <stdatomic.h>

#include <fleetcast/base/status.h>

#include "cases.h"
#include "device.h"
#include "journal.h"
#include "measure.h"
#include "row.h"

/** A pass over the case table on one device: check, measure, write. */

typedef struct fc_session_options {
  const fc_bench_device *device;
  bool quick;
  uint64_t seed;      /* of data and order */
  const char *kernel; /* only this one; NULL: all */
  const char *out;    /* measurement file; NULL: none */
  const atomic_int *cancel;
  /** Progress; `text` says what runs now.  NULL: quiet. */
  void (*progress)(void *context, size_t done, size_t total, const char *text);
  void *context;
  /** Around each piece of work that a broken kernel could hang: `text` says what, NULL ends it.  Whoever
   * guards may append `line` to the journal and leave the process.  Nullable. */
  void (*guard)(void *context, int journal, const char *line, const char *text);
} fc_session_options;

/** What the checks of odd shapes found. */
typedef struct fc_check_counts {
  size_t passed, failed; /* problems */
  size_t skipped;        /* implementations that took none of them */
  char first_failure[FC_CHECK_TEXT + 160];
} fc_check_counts;

/** An implementation and what its checks said. */
typedef struct fc_vetted {
  const fc_implementation *impl;
  bool done, refused;
  size_t n_passed;
  char why[FC_CHECK_TEXT]; /* it was refused */
} fc_vetted;

enum { FC_VETTED_MAX = 128 };

typedef struct fc_session {
  fc_session_options options;
  fc_machine machine;
  fc_protocol protocol;
  fc_check_counts checks;
  fc_rows rows; /* finished points, in order of the table once the pass is complete */
  size_t resumed;
  size_t n_vetted;
  fc_vetted vetted[FC_VETTED_MAX];
  double best_clock_mhz;
  double largest_drift; /* of a sentinel against its first time, relative */
  double worst_ratio;   /* largest |error| / tolerance of all checks that passed */
  char *guarded;        /* the journal's line if the work in hand hangs */
  char why[FC_WHY];
} fc_session;

/** Status of a point whose kernel never came back, and of one that took the device with it: the
 * implementation is not tried again when the pass goes on. */
#define FC_STATUS_HUNG "failed: hung"
#define FC_STATUS_LOST "failed: lost the device"

/** Opens the device.  @return FC_OK | FC_E_IO: not there, s->why says why */
FC_NODISCARD
fc_status fc_session_open(fc_session *s, const fc_session_options *options);
/** Every operator's odd shapes, random and exact, against the reference. @return FC_OK (s->checks counts) |
 * FC_E_... */
FC_NODISCARD
fc_status fc_session_check(fc_session *s);
/** Takes rows of an earlier pass as done; those of another suite are kept, after the others.
 *  @return FC_OK | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_session_resume(fc_session *s, fc_rows *earlier);
/** Measures every case, finished points of `journal` excepted, and appends to it; each implementation is
 * first checked as by fc_session_check.  Where the device is lost the point says so and the pass ends: the
 * next one goes on after it.
 *  @return FC_OK | FC_E_CANCELLED | FC_E_NOMEM | FC_E_IO (told into s->why) */
FC_NODISCARD
fc_status fc_session_measure(fc_session *s, fc_journal *journal);
void fc_session_close(fc_session *s);

#endif
