/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_CALIBRATE_WRITE_H
#define FC_CALIBRATE_WRITE_H

#include <fleetcast/base/file.h>
#include <fleetcast/cost/profile.h>

/** Writes a profile as YAML that loads to the same profile, byte-stable: the same profile gives the same
 * bytes, and what did not change does not move.  The file is the caller's to commit. */
void fc_profile_write(fc_file *file, const fc_profile *profile, const char *command);

#endif
