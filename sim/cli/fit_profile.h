/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CLI_FIT_PROFILE_H
#define FC_CLI_FIT_PROFILE_H

#include <fleetcast/base/arena.h>
#include <fleetcast/calibrate/fit.h>
#include <fleetcast/calibrate/table.h>

#include "fit.h"
#include "verbs.h"

/* From fitted kernels to a whole profile. */

typedef struct {
  fc_profile profile;
  fc_arena arena;
  fc_input *base;     /* what is not measured comes from there; NULL: from nowhere */
  const char *origin; /* its name; NULL */
  fc_text
      overheads;  /* its keys `overheads` and `power` as they stand there, distributions and sources; empty:
                     none.  Written behind the profile, whose own are then marked as not told (contention 0) */
  size_t n_kept;  /* kernels of the base as they are */
  size_t n_moved; /* transferred to this device */
  size_t n_not_moved; /* left out: the device has nothing of the kind */
} assembled;

/* The profile that says what is not measured: --base, else that of the shipped device nearest by datasheet,
 * which may be this one.  @return an exit status */
int cli_find_base(assembled *out, const fit_job *job, const data_dirs *data, const settings *s);
/* Fitted kernels, the fastest implementation of each (kernel, dtype) first, then the base's. */
fc_status cli_assemble(assembled *out, const fit_job *job, const fc_table *table, const fc_fit_result *fit);
void cli_assembled_free(assembled *a);

#endif
