/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_REPORT_WRITE_H
#define FC_REPORT_WRITE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <fleetcast/base/status.h>
#include <fleetcast/fleet/run.h>
#include <fleetcast/scenario/load.h>
#include <fleetcast/scenario/text.h>

/** The results of a run: a folder of CSV files with a manifest, and a page of text for a person.
 *
 *  Every file, column, metric and definition is in docs/csv.md; a test holds the two together.  Same result,
 *  same bytes: nothing here looks at the clock, the machine or the folder's name.
 *  Invariants: checks INV-1 and INV-9 on the numbers as written; INV-7 by construction (money = row * rate).
 */

enum { FC_REPORT_WHY = 512 };

typedef struct fc_report_options {
  const char *version; /* of the program */
  const char *command; /* to type again, without the output folder; for the manifest */
  uint64_t seed;
  size_t n_set; /* overrides, as given */
  const char *const *set;
  size_t n_data_dirs; /* a path below one of these is written relative to it, so that the manifest names no
                         folder of this machine */
  const char *const *data_dirs;
  const atomic_int *cancel; /* nullable */
} fc_report_options;

/** Writes all files into `folder`, which is made if need be.  Each is complete under a temporary name before
 * the first gets its own; the manifest goes away first and comes back last, so a folder with a manifest is
 * whole.
 *  @param input  what was loaded; nullable: a manifest without inputs and sources
 *  @param[out] why  [FC_REPORT_WHY] on FC_E_IO which file or folder (errno says what), on FC_E_LAW which law
 *  @return FC_OK | FC_E_IO | FC_E_NOMEM | FC_E_LAW | FC_E_CANCELLED; unless FC_OK nothing is replaced, except
 *          that a disk that fails between two renames leaves a folder without a manifest */
FC_NODISCARD
fc_status fc_report_write(const char *folder, const fc_fleet_result *result, const fc_input *input,
                          const fc_report_options *options, char *why);

/** The page: what was asked, supply, work, tokens, deployments, runs, money, and the inference share under
 * each definition.  Plain ASCII (names as given), at most 100 columns unless a name is longer.
 *  @return FC_OK | FC_E_NOMEM */
FC_NODISCARD
fc_status fc_report_page(fc_text *out, const fc_fleet_result *result, uint64_t seed);

#endif
