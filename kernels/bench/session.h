/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_BENCH_SESSION_H
#define FC_BENCH_SESSION_H

#include <signal.h>

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
  const volatile sig_atomic_t *cancel;
  /** Progress; `text` says what runs now.  NULL: quiet. */
  void (*progress)(void *context, size_t done, size_t total, const char *text);
  void *context;
  bool check_only;
} fc_session_options;

/** What the checks before the measurements found. */
typedef struct fc_check_counts {
  size_t passed, failed, skipped;
  char first_failure[FC_CHECK_TEXT + 160];
} fc_check_counts;

typedef struct fc_session {
  fc_session_options options;
  fc_machine machine;
  fc_protocol protocol;
  fc_check_counts checks;
  fc_rows rows; /* finished points, in order of the table once the pass is complete */
  size_t resumed;
  size_t failed_points; /* whose check failed on their own data */
  double largest_drift; /* of a sentinel against its first time, relative */
  double worst_ratio;   /* largest |error| / tolerance of all checks that passed */
  char why[FC_WHY];
} fc_session;

/** Opens the device.  @return FC_OK | FC_E_IO: not there, s->why says why */
FC_NODISCARD
fc_status fc_session_open(fc_session *s, const fc_session_options *options);
/** Every operator's odd shapes, random and exact, against the reference. @return FC_OK (s->checks counts) |
 * FC_E_... */
FC_NODISCARD
fc_status fc_session_check(fc_session *s);
/** Takes rows of an interrupted pass as done; those of another case table are left out.
 *  @return FC_OK | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_session_resume(fc_session *s, fc_rows *earlier);
/** Measures every case, finished points of `journal` excepted, and appends to it.
 *  @return FC_OK | FC_E_CANCELLED | FC_E_NOMEM | FC_E_IO (told into s->why) */
FC_NODISCARD
fc_status fc_session_measure(fc_session *s, fc_journal *journal);
void fc_session_close(fc_session *s);

#endif
